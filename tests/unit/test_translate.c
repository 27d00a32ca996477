// link: bt_translator
// timeout: 120
/* tr_translate() is pure, keeps to its buffers, and what it makes is well-formed: over random bytes and random instructions in all modes and options, the
 * host code decodes from end to end, branches land on instructions, only known host memory is addressed, the monitor's registers are left alone, and the
 * sites say what is there. test_expect.c looks at what is made of given instructions. Run only this: build/unit/test_translate
 * (CMOCKA_TEST_FILTER=CASE for one case; BT_TEST_SEED=N for other cases, BT_TEST_CASES=N for more). */
#include "translate_rig.h"
#include "mmu/layout.h"

struct random { uint64_t state; };
static uint32_t next(struct random *r) {
  r->state = r->state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(r->state >> 33);
}
static uint32_t below(struct random *r, uint32_t n) { return next(r) % n; }
static bool one_in(struct random *r, uint32_t n) { return below(r, n) == 0; }
static unsigned setting(const char *name, unsigned otherwise) { return getenv(name) ? (unsigned)strtoul(getenv(name), NULL, 0) : otherwise; }

/* What is being tested, for the message of a failure. */
struct trial {
  struct translation t;
  struct host_text text;
  uint8_t bytes[512];
  unsigned size, number;
  uint32_t page_left;
  uint32_t starts[TR_MAX_INSNS + 1];   /* guest offsets of the instructions, and of the end */
  struct insn insns[TR_MAX_INSNS];
};

static void describe(const struct trial *c, uint32_t at, const char *what) {
  fprintf(stderr, "trial %u: %s at %x; mode %x options %x max %u eip %x page_left %u of %u:", c->number, what, at, c->t.rq.mode.bits, c->t.rq.options,
          c->t.rq.max_insns, c->t.rq.eip, c->page_left, c->size);
  for (unsigned i = 0; i < c->size; i++) fprintf(stderr, " %02x", c->bytes[i]);
  fprintf(stderr, "\nhost:");
  for (uint32_t i = 0; i < c->t.r.code_size && c->t.r.code_size <= TR_MAX_CODE; i++) fprintf(stderr, " %02x", c->t.rq.code[i]);
  fprintf(stderr, "\n");
}
#define CHECK(condition, at) do { if (!(condition)) { describe(c, at, #condition); fail_msg("%s", #condition); } } while (0)

/* ---- making guests ------------------------------------------------------------------------------------------------ */

/* One instruction that decodes, from the opcode table; mostly of a kind that does not end its block. */
static unsigned random_insn(struct random *r, uint8_t out[16], bool code32) {
  static const uint8_t prefixes[] = {0x66, 0x67, 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x2e, 0x64, 0x36, 0x26};
  unsigned count;
  const struct opcode_row *rows = insn_rows(&count);
  for (;;) {
    const struct opcode_row *row = &rows[below(r, count)];
    uint8_t b[24];
    unsigned n = 0;
    bool common = row->kind == OP_COPY || row->kind == OP_LEA || row->kind == OP_PUSH_REG || row->kind == OP_POP_REG || row->kind == OP_INCDEC_REG;
    if (!common && !one_in(r, 12)) continue;
    if ((row->fpu != FPU_NONE || row->map) && !one_in(r, 3)) continue;
    if (one_in(r, 6)) b[n++] = prefixes[below(r, sizeof prefixes)];
    if (row->prefix > 2) b[n++] = row->prefix;
    if (row->map) b[n++] = 0x0f;
    if (row->map > 1) b[n++] = row->map == 2 ? 0x38 : 0x3a;
    b[n++] = row->opcode;
    unsigned modrm = below(r, 256);
    if (row->reg >= 0) modrm = (modrm & ~0x38u) | (unsigned)row->reg << 3;
    if (row->mod3 == 1) modrm |= 0xc0;
    if (row->rm >= 0 && row->mod3 == 1) modrm = (modrm & ~7u) | (unsigned)row->rm;
    if (row->modrm) b[n++] = (uint8_t)modrm;
    while (n < sizeof b) b[n++] = one_in(r, 3) ? (uint8_t)next(r) : (uint8_t)below(r, 16);
    struct insn insn;
    if (insn_decode(&insn, b, 15, (struct insn_mode){.code32 = code32, .features = ~0ull}) != INSN_OK) continue;
    memcpy(out, b, insn.length);
    return insn.length;
  }
}

static uint32_t random_mode(struct random *r) {
  uint32_t bits = RIG_FLAT;
  if (one_in(r, 3)) return next(r) << 1 ^ next(r);
  if (one_in(r, 4)) bits ^= 1u << below(r, 32);
  if (one_in(r, 4)) bits ^= TR_USER;
  if (one_in(r, 8)) bits ^= TR_CODE32 | TR_STACK32;
  if (one_in(r, 8)) bits |= TR_PLAIN;
  return bits;
}

/* A few of the instructions, and a jump back onto the first. */
static void add_loop(struct random *r, struct trial *c) {
  uint32_t at = 0, wanted = 1 + below(r, 12);
  struct insn insn;
  for (; wanted && insn_decode(&insn, c->bytes + at, c->size - at, (struct insn_mode){c->t.rq.mode.bits & TR_CODE32, ~0ull}) == INSN_OK; wanted--)
    if ((at += insn.length) > 100) break;
  c->bytes[at] = one_in(r, 4) ? 0xe2 : 0x70 | below(r, 16);   /* LOOP, Jcc */
  c->bytes[at + 1] = (uint8_t)-(int)(at + 2);
  c->size = at + 2;
}

static void make_trial(struct random *r, struct trial *c) {
  struct tr_request *rq = &c->t.rq;
  rq->mode.bits = random_mode(r);
  rq->options = one_in(r, 2) ? 0 : next(r) & 0x7fff & ~64u;
  if (one_in(r, 3)) rq->options = TR_REAL_TSC;
  rq->max_insns = one_in(r, 3) ? 1 + below(r, TR_MAX_INSNS) : TR_MAX_INSNS;
  rq->features = one_in(r, 8) ? next(r) * 0x10001ull : ~0ull;
  bool junk = one_in(r, 4);
  for (c->size = 0; c->size < 400;) {
    if (junk) c->bytes[c->size++] = (uint8_t)next(r);
    else c->size += random_insn(r, c->bytes + c->size, rq->mode.bits & TR_CODE32);
    if (one_in(r, 60)) break;
  }
  if (one_in(r, 10)) c->size = 1 + below(r, c->size);
  else if (!junk && one_in(r, 3)) add_loop(r, c);
  c->page_left = c->size;
  if (one_in(r, 5)) c->page_left = 1 + below(r, c->size < 14 ? c->size : 14);     /* the first may straddle */
  if (c->size > c->page_left + 15) c->size = c->page_left + 15;
  rq->cs_base = rq->mode.bits & TR_CS_FLAT ? 0 : next(r) & ~0xfffu;
  rq->eip = (one_in(r, 3) ? 0xfffff000u : next(r) << 12) + 4096 - c->page_left;
  rq->frame2 = below(r, 1 << 20);
}

/* ---- what the guest's side must be ---------------------------------------------------------------------------------- */

/* The result covers whole instructions. Lengths by Zydis; where it knows no instruction or another, ours must end the block as undefined. */
static void check_guest(struct trial *c) {
  const struct tr_request *rq = &c->t.rq;
  const struct tr_result *res = &c->t.r;
  ZydisDecoder d;
  bool code32 = rq->mode.bits & TR_CODE32;
  ZydisDecoderInit(&d, code32 ? ZYDIS_MACHINE_MODE_LEGACY_32 : ZYDIS_MACHINE_MODE_LEGACY_16, code32 ? ZYDIS_STACK_WIDTH_32 : ZYDIS_STACK_WIDTH_16);
  ZydisDecoderEnableMode(&d, ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);       /* NOPs of CPUs that lack them */
  ZydisDecoderEnableMode(&d, ZYDIS_DECODER_MODE_CET, ZYAN_FALSE);
  ZydisDecoderEnableMode(&d, ZYDIS_DECODER_MODE_CLDEMOTE, ZYAN_FALSE);
  CHECK(res->insns <= rq->max_insns && res->insns <= TR_MAX_INSNS, 0);
  CHECK(!res->too_short || !res->insns, 0);
  uint32_t at = 0;
  for (unsigned i = 0; i < res->insns; i++) {
    ZydisDecodedInstruction z;
    c->starts[i] = at;
    CHECK(at < c->size, at);
    CHECK(insn_decode(&c->insns[i], c->bytes + at, c->size - at, (struct insn_mode){code32, rq->features}) == INSN_OK, at);
    bool known = ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&d, NULL, c->bytes + at, c->size - at, &z)) && z.length == c->insns[i].length;
    if (!known) CHECK(i == res->insns - 1 && (c->insns[i].kind == OP_UD || c->insns[i].kind == OP_TODO), at);
    at += c->insns[i].length;
  }
  c->starts[res->insns] = at;
  CHECK(res->guest_size == at && at <= c->size, at);
  CHECK(at <= c->page_left || (res->insns == 1 && res->straddles), at);
  CHECK(!(rq->mode.bits & TR_STEP) || res->insns <= 1, at);
}

/* ---- what the host's side must be ----------------------------------------------------------------------------------- */

static unsigned whole(ZydisRegister reg) { return (unsigned)ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg); }

static bool guest_writes_esp(const struct trial *c) {
  for (unsigned i = 0; i < c->t.r.insns; i++)
    if (c->insns[i].regs_written >> REG_ESP & 1) return true;
  return false;
}

static void check_written(const struct trial *c, const struct host_insn *h, const ZydisDecodedOperand *o) {
  ZydisMnemonic m = h->i.mnemonic;
  bool swap = m == ZYDIS_MNEMONIC_XCHG && whole(h->op[0].reg.value) + whole(h->op[1].reg.value) == ZYDIS_REGISTER_RDI + ZYDIS_REGISTER_R15;
  switch (whole(o->reg.value)) {
  case ZYDIS_REGISTER_R13: case ZYDIS_REGISTER_R14: CHECK(!"the vCPU or table register is written", h->at); break;
  case ZYDIS_REGISTER_R12: CHECK(m == ZYDIS_MNEMONIC_LEA && h->op[1].mem.base == ZYDIS_REGISTER_R12 && (c->t.rq.options & TR_COUNT), h->at); break;
  case ZYDIS_REGISTER_R15: CHECK(m == ZYDIS_MNEMONIC_LEA || swap || guest_writes_esp(c), h->at); break;
  case ZYDIS_REGISTER_RSP: CHECK(m == ZYDIS_MNEMONIC_PUSHFQ || (m == ZYDIS_MNEMONIC_POP && h->op[0].reg.value == ZYDIS_REGISTER_R9), h->at); break;
  case ZYDIS_REGISTER_CS: case ZYDIS_REGISTER_DS: case ZYDIS_REGISTER_ES: case ZYDIS_REGISTER_SS: case ZYDIS_REGISTER_FS: case ZYDIS_REGISTER_GS:
    CHECK(!"a segment register is written", h->at); break;
  default: break;
  }
}

/* I4: everything goes through the vCPU's state, the table, or a pointer that was made of an entry. */
static void check_memory(const struct trial *c, const struct host_insn *h, const ZydisDecodedOperand *o) {
  ZydisRegister base = o->mem.base, index = o->mem.index;
  int64_t disp = o->mem.disp.has_displacement ? o->mem.disp.value : 0;
  bool string = h->i.meta.category == ZYDIS_CATEGORY_STRINGOP, r89 = index == ZYDIS_REGISTER_R8 || index == ZYDIS_REGISTER_R9;
  CHECK(o->mem.segment != ZYDIS_REGISTER_FS && o->mem.segment != ZYDIS_REGISTER_GS, h->at);
  switch (base) {
  case ZYDIS_REGISTER_R13:
    if (index == ZYDIS_REGISTER_R11) CHECK(o->mem.scale == 8 && (disp == TR_HASH_OFFSET || disp == TR_HASH_OFFSET + 8), h->at);
    else CHECK(index == ZYDIS_REGISTER_NONE && disp >= 0 && disp + o->size / 8 <= (int64_t)sizeof(struct tr_state), h->at);
    break;
  case ZYDIS_REGISTER_R14:
    if (index == ZYDIS_REGISTER_NONE) CHECK(disp >= MMU_FETCH_ARRAY && disp < MMU_TABLE_SIZE && (disp & 7) == 4, h->at);
    else CHECK(r89 && o->mem.scale == 8 && (disp == MMU_READ_ARRAY || disp == MMU_WRITE_ARRAY || disp == MMU_FETCH_ARRAY), h->at);
    break;
  case ZYDIS_REGISTER_R12: CHECK(index == ZYDIS_REGISTER_NONE && disp == 0 && h->i.mnemonic == ZYDIS_MNEMONIC_MOV && !(c->t.rq.options & TR_COUNT), h->at); break;
  case ZYDIS_REGISTER_R10: case ZYDIS_REGISTER_R11:
    if (index == ZYDIS_REGISTER_NONE) CHECK(disp >= 0 && disp < 256 + 64, h->at);
    else CHECK(index == ZYDIS_REGISTER_R8 && o->mem.scale == 1 && disp == 0, h->at);
    break;
  case ZYDIS_REGISTER_R9: CHECK(index == ZYDIS_REGISTER_R8 && o->mem.scale == 1 && disp == 0, h->at); break;
  case ZYDIS_REGISTER_R8: CHECK((index == ZYDIS_REGISTER_NONE || index == ZYDIS_REGISTER_R9) && disp == 0, h->at); break;
  case ZYDIS_REGISTER_RDI: CHECK(string || (h > c->text.insn && h[-1].i.mnemonic == ZYDIS_MNEMONIC_XCHG && index == ZYDIS_REGISTER_NONE && disp == 0), h->at); break;
  case ZYDIS_REGISTER_RSI: CHECK(string, h->at); break;
  case ZYDIS_REGISTER_RSP: CHECK(o->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN, h->at); break;
  default: CHECK(!"memory through another register", h->at);
  }
}

static bool leaves(const struct host_insn *h) { return h->i.mnemonic == ZYDIS_MNEMONIC_JMP; }

/* Nothing that traps to the host's kernel or reads its state. */
static bool harmless(const struct host_insn *h) {
  switch (h->i.mnemonic) {
  case ZYDIS_MNEMONIC_RDTSC: case ZYDIS_MNEMONIC_LFENCE: return true;
  case ZYDIS_MNEMONIC_CPUID: case ZYDIS_MNEMONIC_UD2: case ZYDIS_MNEMONIC_SMSW: case ZYDIS_MNEMONIC_SGDT: case ZYDIS_MNEMONIC_SIDT: case ZYDIS_MNEMONIC_SLDT:
  case ZYDIS_MNEMONIC_STR: case ZYDIS_MNEMONIC_RDTSCP: case ZYDIS_MNEMONIC_XGETBV: case ZYDIS_MNEMONIC_POPFQ: case ZYDIS_MNEMONIC_RDPMC: return false;
  default: break;
  }
  if (h->i.attributes & ZYDIS_ATTRIB_IS_PRIVILEGED) return false;
  switch (h->i.meta.category) {
  case ZYDIS_CATEGORY_CALL: case ZYDIS_CATEGORY_RET: case ZYDIS_CATEGORY_INTERRUPT: case ZYDIS_CATEGORY_IO: case ZYDIS_CATEGORY_IOSTRINGOP:
  case ZYDIS_CATEGORY_SYSCALL: case ZYDIS_CATEGORY_SYSRET: case ZYDIS_CATEGORY_SYSTEM: case ZYDIS_CATEGORY_SEGOP: case ZYDIS_CATEGORY_RDRAND:
  case ZYDIS_CATEGORY_RDSEED: case ZYDIS_CATEGORY_XSAVE: return false;
  default: return true;
  }
}

/* The site's index in MOV [site], number; NO_EXIT for anything else. */
enum { NO_EXIT = 0x7fffffff };
static uint32_t exit_number(const struct trial *c, const struct host_insn *h) {
  bool move = h->i.mnemonic == ZYDIS_MNEMONIC_MOV && h->op[0].type == ZYDIS_OPERAND_TYPE_MEMORY && h->op[0].mem.base == ZYDIS_REGISTER_R13 &&
              h->op[0].mem.disp.value == (int64_t)offsetof(struct tr_state, site) && h->op[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
  return move && host_is_exit(h + 1) ? (uint32_t)h->op[1].imm.value.u - RIG_FIRST_SITE : NO_EXIT;
}

static void check_host(struct trial *c) {
  struct translation *t = &c->t;
  uint32_t at;
  CHECK(t->r.code_size <= TR_MAX_CODE && t->r.site_count <= TR_MAX_SITES && t->r.callout_count <= TR_MAX_INSNS, 0);
  CHECK(host_decode(t, &c->text, &at), at);
  const struct host_insn *behind_hot = t->r.hot_size == t->r.code_size ? &c->text.insn[c->text.count] : host_at(&c->text, t->r.hot_size);
  CHECK(t->r.entry == RIG_OFFSET && leaves(&c->text.insn[c->text.count - 1]), at);
  CHECK(behind_hot && t->r.hot_size && leaves(behind_hot - 1), t->r.hot_size);
  for (unsigned i = 0; i < c->text.count; i++) {
    const struct host_insn *h = &c->text.insn[i];
    CHECK(harmless(h), h->at);
    if (host_is_exit(h)) CHECK(i > 0 && exit_number(c, h - 1) < t->r.site_count, h->at);
    else if (h->branch) CHECK(host_at(&c->text, h->target), h->at);
    else if (h->i.mnemonic == ZYDIS_MNEMONIC_JMP) CHECK(h->op[0].mem.base == ZYDIS_REGISTER_R13, h->at);
    for (unsigned k = 0; k < h->i.operand_count; k++) {
      const ZydisDecodedOperand *o = &h->op[k];
      if (o->type == ZYDIS_OPERAND_TYPE_REGISTER && (o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)) check_written(c, h, o);
      if (o->type == ZYDIS_OPERAND_TYPE_MEMORY && o->mem.type == ZYDIS_MEMOP_TYPE_MEM) check_memory(c, h, o);
    }
  }
}

/* ---- sites ---------------------------------------------------------------------------------------------------------- */

/* The JMP or Jcc whose rel32 lies at `host` leads to `cold` until it is chained. */
static void check_patchable(struct trial *c, const struct tr_site *s) {
  uint32_t at = s->host - RIG_OFFSET;
  const struct host_insn *jump = host_at(&c->text, at - 1);
  if (!jump || jump->i.length != 5) jump = host_at(&c->text, at - 2);
  CHECK(jump && jump->branch && jump->at + jump->i.length == at + 4, at);
  CHECK(jump->target == s->cold - RIG_OFFSET || host_at(&c->text, jump->target)->branch || s->kind == TR_SITE_JUMP, at);
  if (!s->guard) return;
  uint32_t unbound;
  memcpy(&unbound, c->t.rq.code + s->guard - RIG_OFFSET, 4);
  CHECK(unbound == 0x7fffffff, s->guard - RIG_OFFSET);
}

/* Nothing runs into a cold stub from above. */
static void check_apart(struct trial *c, const struct host_insn *cold) { CHECK(cold > c->text.insn && leaves(cold - 1), cold->at); }

static void check_site_insn(struct trial *c, const struct tr_site *s) {
  bool next_one = s->kind == TR_SITE_JUMP || s->kind == TR_SITE_INDIRECT || s->kind == TR_SITE_END;
  bool counted_plain = s->kind == TR_SITE_PLAIN && (c->t.rq.options & TR_COUNT);
  CHECK(s->index <= c->t.r.insns && s->insn_offset <= c->t.r.guest_size, s->cold - RIG_OFFSET);
  if (counted_plain) return;
  CHECK(!next_one || s->index > 0, s->cold - RIG_OFFSET);
  CHECK(s->insn_offset == c->starts[s->index - next_one], s->cold - RIG_OFFSET);
  if (!next_one) return;
  const struct insn *last = &c->insns[c->t.r.insns - 1];
  uint32_t behind = c->t.rq.eip + c->t.r.guest_size;
  CHECK(s->esp_delta == 0, s->cold - RIG_OFFSET);
  if (s->kind != TR_SITE_INDIRECT) CHECK(s->target == behind || s->target == behind + (uint32_t)last->rel, s->cold - RIG_OFFSET);
}

static void check_sites(struct trial *c) {
  const struct tr_result *r = &c->t.r;
  for (uint32_t i = 0; i < r->site_count; i++) {
    const struct tr_site *s = &c->t.rq.sites[i];
    const struct host_insn *cold = host_at(&c->text, s->cold - RIG_OFFSET);
    CHECK(s->kind < TR_SITE_THUNK, i);
    check_site_insn(c, s);
    CHECK(cold && exit_number(c, cold) == i, s->cold - RIG_OFFSET);
    switch (s->kind) {
    case TR_SITE_ACCESS: case TR_SITE_FAULT: CHECK(host_at(&c->text, s->host - RIG_OFFSET), s->host - RIG_OFFSET); break;
    case TR_SITE_SAFEPOINT: {
      const struct host_insn *h = host_at(&c->text, s->host - RIG_OFFSET);
      CHECK(h && h->op[1].type == ZYDIS_OPERAND_TYPE_MEMORY && h->op[1].mem.base == ZYDIS_REGISTER_R12, s->host - RIG_OFFSET);
      break;
    }
    case TR_SITE_JUMP: check_patchable(c, s); break;
    case TR_SITE_PLAIN: if (s->host) check_patchable(c, s); break;
    case TR_SITE_CALLOUT: CHECK(s->target < r->callout_count && s->index < r->insns, i);
      CHECK(!memcmp(c->t.rq.callouts[s->target].bytes, c->bytes + s->insn_offset, c->t.rq.callouts[s->target].length), i); break;
    default: break;
    }
    if (s->kind == TR_SITE_SAFEPOINT || s->kind == TR_SITE_FAULT || s->kind == TR_SITE_COUNT || s->kind == TR_SITE_STRADDLE) check_apart(c, cold);
  }
}

/* The same request gives the same result, whatever the buffers held before. */
static void check_pure(struct trial *c) {
  static uint8_t code[TR_MAX_CODE];
  static struct tr_site sites[TR_MAX_SITES];
  static struct insn callouts[TR_MAX_INSNS];
  struct tr_request rq = c->t.rq;
  struct tr_result r;
  memset(code, 0xcc, sizeof code), memset(sites, 0xaa, sizeof sites);
  rq.code = code, rq.sites = sites, rq.callouts = callouts;
  tr_translate(&rq, &r);
  CHECK(!memcmp(&r, &c->t.r, sizeof r), 0);
  CHECK(!memcmp(code, c->t.rq.code, r.code_size), 0);
  CHECK(!memcmp(sites, c->t.rq.sites, r.site_count * sizeof *sites), 0);
  for (uint32_t i = r.code_size; i < TR_MAX_CODE && r.insns == rq.max_insns; i++) CHECK(code[i] == 0xcc, i);   /* nothing behind what it reports */
}

static void anything_translates(void **state) {
  struct trial *c = calloc(1, sizeof *c);
  struct random r = {setting("BT_TEST_SEED", 1)};
  unsigned cases = setting("BT_TEST_CASES", 60000), insns = 0, long_ones = 0, straddling = 0, kinds[TR_SITE_KINDS] = {0};
  assert_non_null(c);
  translation_make(&c->t);
  for (c->number = 0; c->number < cases; c->number++) {
    make_trial(&r, c);
    translation_run(&c->t, c->bytes, c->size, c->page_left);
    check_guest(c);
    if (!c->t.r.insns) continue;
    check_host(c);
    check_sites(c);
    if (c->number % 8 == 0) check_pure(c);
    insns += c->t.r.insns, long_ones += c->t.r.insns > 20, straddling += c->t.r.straddles;
    for (uint32_t i = 0; i < c->t.r.site_count; i++) kinds[c->t.rq.sites[i].kind]++;
  }
  for (unsigned i = 0; i < TR_SITE_THUNK; i++)   /* the generator reaches all there is */
    if (!kinds[i] && cases >= 60000) fail_msg("no site of kind %s was ever made", tr_site_name(i));
  assert_true(cases < 60000 || (insns > 4 * cases && long_ones > cases / 100 && straddling > cases / 100));
  translation_free(&c->t);
  free(c);
}

/* The longest code an instruction can give, 48 times over: the translator must take fewer, not overrun. */
static void the_worst_blocks_fit(void **state) {
  static const uint8_t worst[][12] = {
    {3, 0x00, 0x24, 0x8d}, {4, 0xff, 0x74, 0x24, 0x7f}, {3, 0x66, 0x01, 0x0b}, {5, 0xf0, 0x0f, 0xc7, 0x4c, 0x24}, {1, 0xa4}, {2, 0xf3, 0xa5}, {2, 0x66, 0xa7},
    {1, 0x9c}, {4, 0x0f, 0xae, 0x54, 0x24}, {7, 0xd9, 0x84, 0x8d, 1, 2, 3, 4}, {8, 0x0f, 0x58, 0x84, 0x8d, 1, 2, 3, 4}, {3, 0x10, 0x64, 0x8d}, {1, 0x0e}};
  struct trial *c = calloc(1, sizeof *c);
  struct random r = {99};
  assert_non_null(c);
  translation_make(&c->t);
  for (unsigned w = 0; w < sizeof worst / sizeof *worst; w++)
    for (unsigned n = 0; n < 3000; n++) {
      c->number = n;
      c->t.rq.mode.bits = random_mode(&r) & ~(uint32_t)(TR_STEP | TR_WATCH);
      if (n % 3 == 0) c->t.rq.mode.bits = (RIG_FLAT & ~RIG_FLAT_SEGMENTS) | 0xfffu << TR_SEG_SHIFT;   /* every segment limited */
      if (n % 3 == 1) c->t.rq.mode.bits |= TR_ALIGN;
      c->t.rq.options = next(&r) & 0x7fff & ~64u;
      c->t.rq.max_insns = TR_MAX_INSNS;
      c->size = 0;
      for (unsigned i = 0; i < TR_MAX_INSNS; i++) memcpy(c->bytes + c->size, worst[w] + 1, worst[w][0]), c->size += worst[w][0];
      c->page_left = c->size;
      translation_run(&c->t, c->bytes, c->size, 0);
      assert_true(c->t.r.insns > 0);
      check_guest(c), check_host(c);
    }
  translation_free(&c->t);
  free(c);
}

/* What does not fit into the bytes that there are: nothing, and the reason. */
static void incomplete_instructions(void **state) {
  struct translation t;
  static const uint8_t mov[] = {0x90, 0xb8, 1, 2, 3, 4}, too_long[] = {0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90};
  translation_make(&t);
  for (unsigned n = 1; n < 5; n++) {
    translation_run(&t, mov + 1, n, 0);
    assert_true(t.r.too_short && !t.r.insns && !t.r.code_size);
    translation_run(&t, mov, 1 + n, 0);
    assert_true(!t.r.too_short && t.r.insns == 1 && t.r.guest_size == 1);
    translation_run(&t, mov + 1, 5, n);
    assert_true(t.r.insns == 1 && t.r.straddles && t.r.guest_size == 5);
    translation_run(&t, mov, 6, 1 + n);
    assert_true(t.r.insns == 1 && !t.r.straddles && t.r.guest_size == 1);
  }
  translation_run(&t, too_long, 15, 0);
  assert_true(!t.r.insns && (t.r.fault == 13 || t.r.too_short));
  translation_run(&t, too_long, 16, 0);
  assert_true(!t.r.insns && t.r.fault == 13);
  translation_free(&t);
}

/* A thunk runs one copied instruction on a buffer: R8 is its address, and it stays within 128 bytes. */
static void thunks_are_small(void **state) {
  struct random r = {5};
  struct tr_stubs stubs = {.exit = 0x100, .enter = 0x200, .size = 0x300};
  struct fence code = fence_make(128);
  for (unsigned n = 0; n < 20000;) {
    uint8_t bytes[16];
    struct insn insn;
    uint32_t fault_at = 0, size, site;
    unsigned length = random_insn(&r, bytes, true);
    assert_int_equal(insn_decode(&insn, bytes, length, (struct insn_mode){true, ~0ull}), INSN_OK);
    if (insn.kind != OP_COPY) continue;
    n++;
    size = tr_write_thunk(&insn, code.at, 0x4000, &stubs, 77, &fault_at);
    assert_true(size <= 128 && fault_at >= 0x4000 && fault_at < 0x4000 + size - 13);
    memcpy(&site, code.at + size - 9, 4);
    assert_int_equal(site, 77);
    int32_t rel;
    memcpy(&rel, code.at + size - 4, 4);
    assert_true(code.at[size - 5] == 0xe9 && 0x4000 + size + (uint32_t)rel == stubs.exit);
  }
}

/* Between enter_jump and the jump itself nothing touches R12; before it R12 is the C caller's. */
static void the_stubs_load_r12_last(void **state) {
  uint8_t code[4096];
  struct tr_stubs stubs;
  ZydisDecoder d;
  ZydisDecodedInstruction i;
  ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
  tr_write_stubs(code, &stubs);
  ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
  uint32_t at = stubs.enter, loads = 0, loaded_at = 0;
  for (; at <= stubs.enter_jump; at += i.length) {
    assert_true(ZYAN_SUCCESS(ZydisDecoderDecodeFull(&d, code + at, stubs.size - at, &i, op)));
    bool writes = op[0].type == ZYDIS_OPERAND_TYPE_REGISTER && whole(op[0].reg.value) == ZYDIS_REGISTER_R12 && (op[0].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE);
    if (writes) loads++, loaded_at = at + i.length;
    if (at == stubs.enter_jump) assert_int_equal(i.mnemonic, ZYDIS_MNEMONIC_JMP);
  }
  assert_int_equal(loads, 1);
  assert_int_equal(loaded_at, stubs.enter_jump);
}

int main(void) {
  const char *filter = getenv("CMOCKA_TEST_FILTER");
  if (filter) cmocka_set_test_filter(filter);
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(anything_translates),
    cmocka_unit_test(the_worst_blocks_fit),
    cmocka_unit_test(incomplete_instructions),
    cmocka_unit_test(thunks_are_small),
    cmocka_unit_test(the_stubs_load_r12_last),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
