/* What tr_translate() makes of anything must be well-formed: whole guest instructions; host code that decodes from end to end,
 * whose branches land on instructions, that addresses known host memory only (I4) and leaves the monitor's registers alone; sites
 * that say what is there, in the guest's order. For test_translate.c and tests/fuzz/guided/fuzz_translate.c: each says what
 * becomes of a failure. */
#pragma once
#include "translate_rig.h"
#include "mmu/layout.h"

/* What is being tested, for the message of a failure. */
struct trial {
  struct translation t;
  struct host_text text;
  uint8_t bytes[512];
  unsigned size, number;
  uint32_t page_left;
  uint32_t starts[TR_MAX_INSNS + 1]; /* guest offsets of the instructions, and of the end */
  struct insn insns[TR_MAX_INSNS];
};

static inline void describe(const struct trial *c, uint32_t at, const char *what) {
  fprintf(stderr, "trial %u: %s at %x; mode %llx options %x max %u eip %x page_left %u of %u:", c->number, what, at,
          (unsigned long long)c->t.rq.mode.bits, c->t.rq.options, c->t.rq.max_insns, c->t.rq.eip, c->page_left, c->size);
  for (unsigned i = 0; i < c->size; i++) fprintf(stderr, " %02x", c->bytes[i]);
  fprintf(stderr, "\nhost:");
  for (uint32_t i = 0; i < c->t.r.code_size && c->t.r.code_size <= TR_MAX_CODE; i++) fprintf(stderr, " %02x", c->t.rq.code[i]);
  fprintf(stderr, "\n");
}

/* Does not return. */
static void translate_failed(const char *what) __attribute__((noreturn));
#define CHECK(condition, at) \
  do { \
    if (!(condition)) { \
      describe(c, at, #condition); \
      translate_failed(#condition); \
    } \
  } while (0)

/* ---- what the guest's side must be ---------------------------------------------------------------------------------- */

/* The result covers whole instructions. Lengths by Zydis; where it knows no instruction or another, ours must end the block as
 * undefined. */
static inline void check_guest(struct trial *c) {
  const struct tr_request *rq = &c->t.rq;
  const struct tr_result *res = &c->t.r;
  ZydisDecoder d;
  bool code32 = rq->mode.bits & TR_CODE32;
  ZydisDecoderInit(&d, code32 ? ZYDIS_MACHINE_MODE_LEGACY_32 : ZYDIS_MACHINE_MODE_LEGACY_16,
                   code32 ? ZYDIS_STACK_WIDTH_32 : ZYDIS_STACK_WIDTH_16);
  ZydisDecoderEnableMode(&d, ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE); /* NOPs of CPUs that lack them */
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
    bool known =
      ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&d, NULL, c->bytes + at, c->size - at, &z)) && z.length == c->insns[i].length;
    if (!known) CHECK(i == res->insns - 1 && (c->insns[i].kind == OP_UD || c->insns[i].kind == OP_TODO), at);
    at += c->insns[i].length;
  }
  c->starts[res->insns] = at;
  CHECK(res->guest_size == at && at <= c->size, at);
  CHECK(at <= c->page_left || (res->insns == 1 && res->straddles), at);
  CHECK(!(rq->mode.bits & TR_STEP) || res->insns <= 1, at);
}

/* ---- what the host's side must be ----------------------------------------------------------------------------------- */

static inline unsigned whole(ZydisRegister reg) {
  return (unsigned)ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg);
}

static inline bool is_call(const struct host_insn *h) { return h->i.mnemonic == ZYDIS_MNEMONIC_CALL; }
static inline bool is_ret(const struct host_insn *h) { return h->i.mnemonic == ZYDIS_MNEMONIC_RET; }

static inline bool guest_writes_esp(const struct trial *c) {
  for (unsigned i = 0; i < c->t.r.insns; i++)
    if (c->insns[i].regs_written >> REG_ESP & 1) return true;
  return false;
}

static inline void check_written(const struct trial *c, const struct host_insn *h, const ZydisDecodedOperand *o) {
  ZydisMnemonic m = h->i.mnemonic;
  bool swap =
    m == ZYDIS_MNEMONIC_XCHG && whole(h->op[0].reg.value) + whole(h->op[1].reg.value) == ZYDIS_REGISTER_RDI + ZYDIS_REGISTER_R15;
  switch (whole(o->reg.value)) {
  case ZYDIS_REGISTER_R13:
  case ZYDIS_REGISTER_R14: CHECK(!"the vCPU or table register is written", h->at); break;
  case ZYDIS_REGISTER_R12:
    CHECK(m == ZYDIS_MNEMONIC_LEA && h->op[1].mem.base == ZYDIS_REGISTER_R12 && (c->t.rq.options & TR_COUNT), h->at);
    break;
  case ZYDIS_REGISTER_R15: CHECK(m == ZYDIS_MNEMONIC_LEA || swap || guest_writes_esp(c), h->at); break;
  case ZYDIS_REGISTER_RSP:
    CHECK(m == ZYDIS_MNEMONIC_PUSHFQ || is_call(h) || is_ret(h) ||
            (m == ZYDIS_MNEMONIC_PUSH && h->op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE) ||
            (m == ZYDIS_MNEMONIC_POP && h->op[0].reg.value == ZYDIS_REGISTER_R9),
          h->at);
    break;
  case ZYDIS_REGISTER_CS:
  case ZYDIS_REGISTER_DS:
  case ZYDIS_REGISTER_ES:
  case ZYDIS_REGISTER_SS:
  case ZYDIS_REGISTER_FS:
  case ZYDIS_REGISTER_GS: CHECK(!"a segment register is written", h->at); break;
  default: break;
  }
}

/* An access at GS + 32 bits, by registers of the guest's, or by R8, which has a segment's base in it. */
static inline void check_mirrored(const struct trial *c, const struct host_insn *h, const ZydisDecodedOperand *o) {
  CHECK(c->t.rq.mode.bits & TR_MIRROR && !(c->t.rq.options & TR_NO_MIRROR), h->at);
  CHECK(h->i.address_width == 32, h->at);
  const ZydisRegister regs[] = {o->mem.base, o->mem.index};
  if (o->mem.base == ZYDIS_REGISTER_R8D) {
    CHECK(o->mem.index == ZYDIS_REGISTER_NONE && !o->mem.disp.value && h[-1].i.mnemonic == ZYDIS_MNEMONIC_LEA, h->at);
    return;
  }
  for (unsigned i = 0; i < 2; i++)
    CHECK(regs[i] == ZYDIS_REGISTER_NONE || regs[i] == ZYDIS_REGISTER_R15D || whole(regs[i]) <= ZYDIS_REGISTER_RDI, h->at);
}

/* I4: everything goes through the vCPU's state, the table, or a pointer that was made of an entry. */
static inline void check_memory(const struct trial *c, const struct host_insn *h, const ZydisDecodedOperand *o) {
  ZydisRegister base = o->mem.base, index = o->mem.index;
  int64_t disp = o->mem.disp.has_displacement ? o->mem.disp.value : 0;
  bool string = h->i.meta.category == ZYDIS_CATEGORY_STRINGOP, r89 = index == ZYDIS_REGISTER_R8 || index == ZYDIS_REGISTER_R9;
  CHECK(o->mem.segment != ZYDIS_REGISTER_FS, h->at);
  if (o->mem.segment == ZYDIS_REGISTER_GS) return check_mirrored(c, h, o);
  switch (base) {
  case ZYDIS_REGISTER_R13:
    if (index == ZYDIS_REGISTER_R11) CHECK(o->mem.scale == 8 && (disp == TR_HASH_OFFSET || disp == TR_HASH_OFFSET + 8), h->at);
    else CHECK(index == ZYDIS_REGISTER_NONE && disp >= 0 && disp + o->size / 8 <= (int64_t)sizeof(struct tr_state), h->at);
    break;
  case ZYDIS_REGISTER_R14:
    if (index == ZYDIS_REGISTER_NONE) CHECK(disp >= MMU_FETCH_ARRAY && disp < MMU_TABLE_SIZE && (disp & 7) == 4, h->at);
    else CHECK(r89 && o->mem.scale == 8 && (disp == MMU_READ_ARRAY || disp == MMU_WRITE_ARRAY || disp == MMU_FETCH_ARRAY), h->at);
    break;
  case ZYDIS_REGISTER_R12:
    CHECK(index == ZYDIS_REGISTER_NONE && disp == 0 && h->i.mnemonic == ZYDIS_MNEMONIC_MOV && !(c->t.rq.options & TR_COUNT),
          h->at);
    break;
  case ZYDIS_REGISTER_R10:
  case ZYDIS_REGISTER_R11:
    /* a window, or with a vector's number the table that INT reads */
    if (index == ZYDIS_REGISTER_NONE) CHECK(disp >= 0 && disp < 1024, h->at);
    else CHECK(index == ZYDIS_REGISTER_R8 && o->mem.scale == 1 && disp == 0, h->at);
    break;
  case ZYDIS_REGISTER_R9: CHECK(index == ZYDIS_REGISTER_R8 && o->mem.scale == 1 && disp == 0, h->at); break;
  case ZYDIS_REGISTER_R8:
    /* a far pointer's selector lies behind its offset; PUSHA's words behind each other */
    CHECK((index == ZYDIS_REGISTER_NONE && disp >= 0 && disp <= 28) || (index == ZYDIS_REGISTER_R9 && disp == 0), h->at);
    break;
  case ZYDIS_REGISTER_RDI:
    CHECK(string || (h > c->text.insn && h[-1].i.mnemonic == ZYDIS_MNEMONIC_XCHG && index == ZYDIS_REGISTER_NONE && disp == 0),
          h->at);
    break;
  case ZYDIS_REGISTER_RSI: CHECK(string, h->at); break;
  case ZYDIS_REGISTER_RSP: CHECK(o->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN, h->at); break;
  default: CHECK(!"memory through another register", h->at);
  }
}

static inline bool leaves(const struct host_insn *h) { return h->i.mnemonic == ZYDIS_MNEMONIC_JMP || is_ret(h); }

/* Nothing that traps to the host's kernel or reads its state. */
static inline bool harmless(const struct host_insn *h) {
  switch (h->i.mnemonic) {
  case ZYDIS_MNEMONIC_RDTSC:
  case ZYDIS_MNEMONIC_LFENCE: return true;
  case ZYDIS_MNEMONIC_CPUID:
  case ZYDIS_MNEMONIC_UD2:
  case ZYDIS_MNEMONIC_SMSW:
  case ZYDIS_MNEMONIC_SGDT:
  case ZYDIS_MNEMONIC_SIDT:
  case ZYDIS_MNEMONIC_SLDT:
  case ZYDIS_MNEMONIC_STR:
  case ZYDIS_MNEMONIC_RDTSCP:
  case ZYDIS_MNEMONIC_XGETBV:
  case ZYDIS_MNEMONIC_POPFQ:
  case ZYDIS_MNEMONIC_RDPMC: return false;
  default: break;
  }
  if (h->i.attributes & ZYDIS_ATTRIB_IS_PRIVILEGED) return false;
  switch (h->i.meta.category) {
  case ZYDIS_CATEGORY_INTERRUPT:
  case ZYDIS_CATEGORY_IO:
  case ZYDIS_CATEGORY_IOSTRINGOP:
  case ZYDIS_CATEGORY_SYSCALL:
  case ZYDIS_CATEGORY_SYSRET:
  case ZYDIS_CATEGORY_SYSTEM:
  case ZYDIS_CATEGORY_SEGOP:
  case ZYDIS_CATEGORY_RDRAND:
  case ZYDIS_CATEGORY_RDSEED:
  case ZYDIS_CATEGORY_XSAVE: return false;
  default: return true;
  }
}

/* The site's index in PUSH number; JMP to the exit stub, or to another such JMP; NO_EXIT for anything else. */
enum { NO_EXIT = 0x7fffffff };
static inline uint32_t exit_number(struct trial *c, const struct host_insn *h) {
  if (h->i.mnemonic != ZYDIS_MNEMONIC_PUSH || h->op[0].type != ZYDIS_OPERAND_TYPE_IMMEDIATE || !h[1].branch) return NO_EXIT;
  const struct host_insn *jump = host_is_exit(h + 1) ? h + 1 : host_at(&c->text, h[1].target);
  return jump && host_is_exit(jump) ? (uint32_t)h->op[0].imm.value.u - RIG_FIRST_SITE : NO_EXIT;
}

static inline bool is_rcx_saved(const struct host_insn *h, ZydisRegister to, ZydisRegister from) {
  return h->i.mnemonic == ZYDIS_MNEMONIC_MOV && h->op[0].reg.value == to && h->op[1].reg.value == from;
}

/* A host CALL is followed by the return site of the block's last instruction, or by a JMP to it; a RET is that instruction's, or
 * the return site's for another EIP. */
static inline void check_host_stack(struct trial *c, const struct host_insn *h, const struct host_insn *behind_hot) {
  const struct translation *t = &c->t;
  const struct insn *last = &c->insns[t->r.insns - 1];
  CHECK((t->rq.mode.bits & TR_CS_FLAT) && !(t->rq.mode.bits & (TR_REAL | TR_V86 | TR_STEP | TR_NO_CHAIN)), h->at);
  CHECK(!(t->rq.options & (TR_NO_HASH | TR_NO_RETURNS)) && last->operand_size == 4, h->at);
  if (is_ret(h)) {
    CHECK(h->i.length == 1 &&
            (last->kind == OP_RET ? h + 1 == behind_hot : is_rcx_saved(h - 1, ZYDIS_REGISTER_RCX, ZYDIS_REGISTER_R10)),
          h->at);
    return;
  }
  CHECK(last->kind == OP_CALL_REL || last->kind == OP_CALL_IND, h->at);
  const struct host_insn *site = h + 1;
  if (site->branch && site->i.mnemonic == ZYDIS_MNEMONIC_JMP) site = host_at(&c->text, site->target);
  CHECK(site && is_rcx_saved(site, ZYDIS_REGISTER_R10, ZYDIS_REGISTER_RCX) && site[1].i.mnemonic == ZYDIS_MNEMONIC_LEA, h->at);
  CHECK((uint32_t)site[1].op[1].mem.disp.value == -(t->rq.eip + t->r.guest_size) && site[1].op[1].mem.base == ZYDIS_REGISTER_R8,
        h->at);
}

static inline void check_host(struct trial *c) {
  struct translation *t = &c->t;
  uint32_t at;
  CHECK(t->r.code_size <= TR_MAX_CODE && t->r.cold_size <= TR_MAX_COLD && t->r.site_count <= TR_MAX_SITES &&
          t->r.callout_count <= TR_MAX_INSNS,
        0);
  CHECK(host_decode(t, &c->text, &at), at);
  const struct host_insn *behind_hot = t->r.cold_size ? host_at(&c->text, RIG_COLD) : &c->text.insn[c->text.count];
  CHECK(t->r.entry == RIG_OFFSET && leaves(&c->text.insn[c->text.count - 1]), at);
  CHECK(behind_hot && t->r.code_size && leaves(behind_hot - 1), t->r.code_size);
  for (unsigned i = 0; i < c->text.count; i++) {
    const struct host_insn *h = &c->text.insn[i];
    CHECK(harmless(h), h->at);
    if (is_call(h) || is_ret(h)) check_host_stack(c, h, behind_hot);
    if (host_is_exit(h) || h->i.mnemonic == ZYDIS_MNEMONIC_PUSH)
      CHECK(i + 1 < c->text.count + host_is_exit(h) && exit_number(c, h - host_is_exit(h)) < t->r.site_count, h->at);
    else if (h->branch) CHECK(host_at(&c->text, h->target), h->at);
    else if (h->i.mnemonic == ZYDIS_MNEMONIC_JMP || is_call(h)) CHECK(h->op[0].mem.base == ZYDIS_REGISTER_R13, h->at);
    for (unsigned k = 0; k < h->i.operand_count; k++) {
      const ZydisDecodedOperand *o = &h->op[k];
      if (o->type == ZYDIS_OPERAND_TYPE_REGISTER && (o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)) check_written(c, h, o);
      if (o->type == ZYDIS_OPERAND_TYPE_MEMORY && o->mem.type == ZYDIS_MEMOP_TYPE_MEM) check_memory(c, h, o);
    }
  }
}

/* ---- sites ---------------------------------------------------------------------------------------------------------- */

/* The JMP, CALL or Jcc whose rel32 lies at `host` leads to `cold` until it is chained. */
static inline void check_patchable(struct trial *c, const struct tr_site *s) {
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
static inline void check_apart(struct trial *c, const struct host_insn *cold) {
  CHECK(cold > c->text.insn && leaves(cold - 1), cold->at);
}

static inline void check_site_insn(struct trial *c, const struct tr_site *s) {
  bool next_one = s->kind == TR_SITE_JUMP || s->kind == TR_SITE_INDIRECT || s->kind == TR_SITE_END;
  bool counted_plain = s->kind == TR_SITE_PLAIN && (c->t.rq.options & TR_COUNT);
  CHECK(s->index <= c->t.r.insns && s->insn_offset <= c->t.r.guest_size, s->cold - RIG_OFFSET);
  if (counted_plain) return;
  CHECK(!next_one || s->index > 0, s->cold - RIG_OFFSET);
  unsigned at = s->index - next_one;
  /* -icount: a jump out of the midst of a block has given back what it has not run */
  if (s->kind == TR_SITE_JUMP && (c->t.rq.options & TR_COUNT) && s->index == c->t.r.insns)
    while (at && c->starts[at] > s->insn_offset) at--;
  CHECK(s->insn_offset == c->starts[at], s->cold - RIG_OFFSET);
  if (!next_one) return;
  const struct insn *last = &c->insns[at];
  uint32_t behind = c->t.rq.eip + c->starts[at] + last->length;
  CHECK(at == c->t.r.insns - 1 || (last->kind == OP_JCC && last->rel > 0 && s->target != behind), s->cold - RIG_OFFSET);
  CHECK(s->esp_delta == 0, s->cold - RIG_OFFSET);
  uint32_t mask = last->operand_size == 2 ? 0xffff : 0xffffffff; /* of jumps: SDM vol. 2, Jcc */
  bool far = last->kind == OP_JMP_FAR_IMM || last->kind == OP_CALL_FAR_IMM;
  if (s->kind != TR_SITE_INDIRECT)
    CHECK(s->target == behind || s->target == ((behind + (uint32_t)last->rel) & mask) || (far && s->target == last->imm),
          s->cold - RIG_OFFSET);
  /* What lies beyond CS.limit is reached by the dispatcher alone. */
  CHECK(s->kind != TR_SITE_JUMP || s->target <= c->t.rq.cs_limit, s->cold - RIG_OFFSET);
}

/* Sites at which hot code is left or faults stand in it in the order of the guest's instructions. */
static inline void check_order(struct trial *c) {
  const struct tr_site *last = NULL;
  for (uint32_t i = 0; i < c->t.r.site_count; i++) {
    const struct tr_site *s = &c->t.rq.sites[i];
    if (s->kind != TR_SITE_ACCESS && s->kind != TR_SITE_FAULT && s->kind != TR_SITE_SAFEPOINT) continue;
    if (s->host - RIG_OFFSET >= c->t.r.code_size) continue;
    if (last)
      CHECK(last->host <= s->host && last->index <= s->index && last->insn_offset <= s->insn_offset, s->host - RIG_OFFSET);
    last = s;
  }
}

/* The site of an access in the mirror is that access, and its exit begins with LEA R8D of the same address. */
static inline void check_mirror_site(const struct trial *c, const struct tr_site *s, const struct host_insn *cold) {
  const struct host_insn *h = host_at((struct host_text *)&c->text, s->host - RIG_OFFSET);
  CHECK(h && cold->i.mnemonic == ZYDIS_MNEMONIC_LEA && cold->op[0].reg.value == ZYDIS_REGISTER_R8D, s->host - RIG_OFFSET);
  CHECK(s->target <= s->host && host_at((struct host_text *)&c->text, s->target - RIG_OFFSET), s->host - RIG_OFFSET);
  const ZydisDecodedOperand *o = h->op, *lea = &cold->op[1];
  while (o < h->op + h->i.operand_count && (o->type != ZYDIS_OPERAND_TYPE_MEMORY || o->mem.segment != ZYDIS_REGISTER_GS)) o++;
  CHECK(o < h->op + h->i.operand_count && o->size / 8 == s->size, h->at);
  CHECK(!(o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) == !(s->access & ACCESS_W), h->at);
  CHECK(o->mem.disp.value == lea->mem.disp.value && o->mem.scale == lea->mem.scale, h->at);
  CHECK(whole(o->mem.base) == whole(lea->mem.base) && whole(o->mem.index) == whole(lea->mem.index), h->at);
}

/* RDTSC's safepoint has the flags in AH and AL and the guest's EAX in R11: ADD AL, 7Fh; SAHF; MOV RAX, R11 come before its
 * PUSH. */
static inline const struct host_insn *behind_restored(const struct tr_site *s, const struct host_insn *cold) {
  if (s->kind == TR_SITE_MIRROR) return cold + 1;
  return s->kind == TR_SITE_SAFEPOINT && cold->i.mnemonic == ZYDIS_MNEMONIC_ADD && cold[1].i.mnemonic == ZYDIS_MNEMONIC_SAHF
           ? cold + 3
           : cold;
}

static inline void check_sites(struct trial *c) {
  const struct tr_result *r = &c->t.r;
  for (uint32_t i = 0; i < r->site_count; i++) {
    const struct tr_site *s = &c->t.rq.sites[i];
    const struct host_insn *cold = host_at(&c->text, s->cold - RIG_OFFSET), *h;
    CHECK(s->kind < TR_SITE_KINDS, i);
    check_site_insn(c, s);
    CHECK(cold && exit_number(c, behind_restored(s, cold)) == i, s->cold - RIG_OFFSET);
    switch (s->kind) {
    case TR_SITE_ACCESS:
    case TR_SITE_FAULT: CHECK(host_at(&c->text, s->host - RIG_OFFSET), s->host - RIG_OFFSET); break;
    case TR_SITE_MIRROR: check_mirror_site(c, s, cold); break;
    case TR_SITE_SAFEPOINT:
      h = host_at(&c->text, s->host - RIG_OFFSET);
      CHECK(h && h->op[1].type == ZYDIS_OPERAND_TYPE_MEMORY && h->op[1].mem.base == ZYDIS_REGISTER_R12, s->host - RIG_OFFSET);
      break;
    case TR_SITE_JUMP: check_patchable(c, s); break;
    case TR_SITE_INDIRECT:
      if (!s->host) break;
      check_patchable(c, s);
      h = host_at(&c->text, s->target - 1 - RIG_OFFSET); /* to the exit until a target is known; then to what is behind it */
      CHECK(h && h->i.mnemonic == ZYDIS_MNEMONIC_JMP && h->i.length == 5 && host_at(&c->text, h->at + 5), i);
      CHECK(is_call(host_at(&c->text, h->target)) && host_at(&c->text, h->target)->target == s->cold - RIG_OFFSET, i);
      break;
    case TR_SITE_PLAIN:
      if (s->host) check_patchable(c, s);
      break;
    case TR_SITE_CALLOUT:
      CHECK(s->target < r->callout_count && s->index < r->insns, i);
      CHECK(!memcmp(c->t.rq.callouts[s->target].bytes, c->bytes + s->insn_offset, c->t.rq.callouts[s->target].length), i);
      break;
    default: break;
    }
    if (s->kind == TR_SITE_SAFEPOINT || s->kind == TR_SITE_FAULT || s->kind == TR_SITE_MIRROR || s->kind == TR_SITE_COUNT ||
        s->kind == TR_SITE_STRADDLE)
      check_apart(c, cold);
  }
  check_order(c);
}

/* The same request gives the same result, whatever the buffers held before. */
static inline void check_pure(struct trial *c) {
  static uint8_t code[RIG_COLD + TR_MAX_COLD];
  static struct tr_site sites[TR_MAX_SITES];
  static struct insn callouts[TR_MAX_INSNS];
  struct tr_request rq = c->t.rq;
  struct tr_result r;
  memset(code, 0xcc, sizeof code), memset(sites, 0xaa, sizeof sites);
  rq.code = code, rq.cold = code + RIG_COLD, rq.sites = sites, rq.callouts = callouts;
  tr_translate(&rq, &r);
  CHECK(!memcmp(&r, &c->t.r, sizeof r), 0);
  CHECK(!memcmp(code, c->t.rq.code, r.code_size) && !memcmp(rq.cold, c->t.rq.cold, r.cold_size), 0);
  CHECK(!memcmp(sites, c->t.rq.sites, r.site_count * sizeof *sites), 0);
  /* nothing behind what it reports, but for what a longer block left there that did not fit */
  for (uint32_t i = r.code_size; i < sizeof code; i++)
    if (i >= TR_MAX_CODE && i < RIG_COLD) CHECK(code[i] == 0xcc, i);
    else if (r.insns == rq.max_insns && (i < RIG_COLD || i >= RIG_COLD + r.cold_size)) CHECK(code[i] == 0xcc, i);
}
