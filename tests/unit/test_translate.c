// link: bt_translator
// timeout: 120
/* tr_translate() is pure, keeps to its buffers, and what it makes is well-formed: over random bytes and random instructions in
 * all modes and options, the host code decodes from end to end, branches land on instructions, only known host memory is
 * addressed, the monitor's registers are left alone, and the sites say what is there. test_expect.c looks at what is made of
 * given instructions. Run only this: build/unit/test_translate (CMOCKA_TEST_FILTER=CASE for one case; BT_TEST_SEED=N for other
 * cases, BT_TEST_CASES=N for more). */
#include <setjmp.h>
#include <stdarg.h>
#include "translate_check.h"
#include <cmocka.h>

static void translate_failed(const char *what) {
  fail_msg("%s", what);
  abort();
}

struct random {
  uint64_t state;
};
static uint32_t next(struct random *r) {
  r->state = r->state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(r->state >> 33);
}
static uint32_t below(struct random *r, uint32_t n) { return next(r) % n; }
static bool one_in(struct random *r, uint32_t n) { return below(r, n) == 0; }
static unsigned setting(const char *name, unsigned otherwise) {
  return getenv(name) ? (unsigned)strtoul(getenv(name), NULL, 0) : otherwise;
}

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
    bool common = row->kind == OP_COPY || row->kind == OP_LEA || row->kind == OP_PUSH_REG || row->kind == OP_POP_REG ||
                  row->kind == OP_INCDEC_REG;
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

static uint64_t random_mode(struct random *r) {
  uint64_t bits = RIG_FLAT;
  if (one_in(r, 3)) return (uint64_t)below(r, 2) << 32 | (next(r) << 1 ^ next(r));
  if (one_in(r, 4)) bits |= TR_MIRROR;
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
  for (; wanted &&
         insn_decode(&insn, c->bytes + at, c->size - at, (struct insn_mode){c->t.rq.mode.bits & TR_CODE32, ~0ull}) == INSN_OK;
       wanted--)
    if ((at += insn.length) > 100) break;
  c->bytes[at] = one_in(r, 4) ? 0xe2 : 0x70 | below(r, 16); /* LOOP, Jcc */
  c->bytes[at + 1] = (uint8_t) - (int)(at + 2);
  c->size = at + 2;
}

/* Three of four addresses have a thunk, in frames that are as many as pages. */
static const uint8_t *thunk_at(void *opaque, uint32_t linear, uint32_t size, uint32_t *frame) {
  static const uint8_t thunks[][4] = {{0x8b, 0x04, 0x24, 0xc3}, {0x8b, 0x1c, 0x24, 0xc3}, {0x8b, 0x3c, 0x24, 0xc3}};
  *frame = linear >> 12;
  return linear % 4 == 3 ? NULL : thunks[linear % 4];
}

static void make_trial(struct random *r, struct trial *c) {
  struct tr_request *rq = &c->t.rq;
  rq->mode.bits = random_mode(r);
  rq->options = one_in(r, 2) ? 0 : next(r) & TR_ALL_OPTIONS;
  if (one_in(r, 3)) rq->options = TR_REAL_TSC;
  rq->max_insns = one_in(r, 3) ? 1 + below(r, TR_MAX_INSNS) : TR_MAX_INSNS;
  rq->features = one_in(r, 8) ? next(r) * 0x10001ull : ~0ull;
  bool junk = one_in(r, 4);
  for (c->size = 0; c->size < 400;) {
    if (junk) c->bytes[c->size++] = (uint8_t)next(r);
    else if (one_in(r, 60))
      c->bytes[c->size] = 0xe8, memcpy(c->bytes + c->size + 1, &(uint32_t){below(r, 8192)}, 4), c->size += 5;
    else c->size += random_insn(r, c->bytes + c->size, rq->mode.bits & TR_CODE32);
    if (one_in(r, 60)) break;
  }
  if (one_in(r, 10)) c->size = 1 + below(r, c->size);
  else if (!junk && one_in(r, 3)) add_loop(r, c);
  c->page_left = c->size;
  if (one_in(r, 5)) c->page_left = 1 + below(r, c->size < 14 ? c->size : 14); /* the first may straddle */
  if (c->size > c->page_left + 15) c->size = c->page_left + 15;
  rq->cs_base = rq->mode.bits & TR_CS_FLAT ? 0 : next(r) & ~0xfffu;
  rq->eip = (one_in(r, 3) ? 0xfffff000u : next(r) << 12) + 4096 - c->page_left;
  rq->cs_limit = 0xffffffff;
  if (!(rq->mode.bits & TR_CS_FLAT) && !one_in(r, 3)) {
    rq->eip &= 0xffff, rq->cs_base &= 0xff000, rq->cs_limit = one_in(r, 3) ? rq->eip + c->size : 0xffff;
  }
  rq->frame2 = below(r, 1 << 20);
  rq->code_at = thunk_at;
}

static void anything_translates(void **state) {
  struct trial *c = calloc(1, sizeof *c);
  struct random r = {setting("BT_TEST_SEED", 1)};
  unsigned cases = setting("BT_TEST_CASES", 60000), insns = 0, long_ones = 0, straddling = 0, thunks = 0,
           kinds[TR_SITE_KINDS] = {0};
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
    insns += c->t.r.insns, long_ones += c->t.r.insns > 20, straddling += c->t.r.straddles, thunks += c->t.r.thunk_frame != 0;
    for (uint32_t i = 0; i < c->t.r.site_count; i++) kinds[c->t.rq.sites[i].kind]++;
  }
  for (unsigned i = 0; i < TR_SITE_KINDS; i++) /* the generator reaches all there is */
    if (!kinds[i] && cases >= 60000) fail_msg("no site of kind %s was ever made", tr_site_name(i));
  assert_true(cases < 60000 ||
              (insns > 4 * cases && long_ones > cases / 100 && straddling > cases / 100 && thunks > cases / 100));
  translation_free(&c->t);
  free(c);
}

/* The longest code an instruction can give, 48 times over: the translator must take fewer, not overrun. */
static void the_worst_blocks_fit(void **state) {
  static const uint8_t worst[][12] = {{3, 0x00, 0x24, 0x8d},
                                      {4, 0xff, 0x74, 0x24, 0x7f},
                                      {3, 0x66, 0x01, 0x0b},
                                      {5, 0xf0, 0x0f, 0xc7, 0x4c, 0x24},
                                      {1, 0xa4},
                                      {2, 0xf3, 0xa5},
                                      {2, 0x66, 0xa7},
                                      {1, 0x9c},
                                      {4, 0x0f, 0xae, 0x54, 0x24},
                                      {7, 0xd9, 0x84, 0x8d, 1, 2, 3, 4},
                                      {8, 0x0f, 0x58, 0x84, 0x8d, 1, 2, 3, 4},
                                      {3, 0x10, 0x64, 0x8d},
                                      {1, 0x0e}};
  struct trial *c = calloc(1, sizeof *c);
  struct random r = {99};
  assert_non_null(c);
  translation_make(&c->t);
  for (unsigned w = 0; w < sizeof worst / sizeof *worst; w++)
    for (unsigned n = 0; n < 3000; n++) {
      c->number = n;
      c->t.rq.mode.bits = random_mode(&r) & ~(uint64_t)(TR_STEP | TR_WATCH);
      if (n % 3 == 0) c->t.rq.mode.bits = (RIG_FLAT & ~RIG_FLAT_SEGMENTS) | 0xfffu << TR_SEG_SHIFT; /* every segment limited */
      if (n % 3 == 1) c->t.rq.mode.bits |= TR_ALIGN;
      c->t.rq.options = next(&r) & TR_ALL_OPTIONS;
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
  static const uint8_t mov[] = {0x90, 0xb8, 1, 2, 3, 4}, too_long[] = {0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
                                                                       0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90};
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
    assert_true(size <= 128 && fault_at >= 0x4000 && fault_at < 0x4000 + size - TR_EXIT_SIZE);
    memcpy(&site, code.at + size - 9, 4);
    assert_true(code.at[size - TR_EXIT_SIZE] == 0x68 && site == 77);
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
    bool writes = op[0].type == ZYDIS_OPERAND_TYPE_REGISTER && whole(op[0].reg.value) == ZYDIS_REGISTER_R12 &&
                  (op[0].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE);
    if (writes) loads++, loaded_at = at + i.length;
    if (at == stubs.enter_jump) assert_int_equal(i.mnemonic, ZYDIS_MNEMONIC_JMP);
  }
  assert_int_equal(loads, 1);
  assert_int_equal(loaded_at, stubs.enter_jump);
}

/* Its return site compares with EIP 80000000h, whose negation as a signed number overflowed (seen with -DBT_SANITIZE=ON). */
static void a_call_that_ends_at_2_gib(void **state) {
  static const uint8_t call[] = {0xe8, 0x00, 0xff, 0xff, 0xff}, compare[] = {0x41, 0x8d, 0x88, 0x00, 0x00, 0x00, 0x80};
  struct translation t;
  unsigned found = 0;
  translation_make(&t);
  t.rq.eip = 0x7ffffffb;
  translation_run(&t, call, sizeof call, 0);
  for (uint32_t at = 0; at + sizeof compare <= t.r.code_size; at++) found += !memcmp(t.rq.code + at, compare, sizeof compare);
  assert_int_equal(found, 1); /* LEA ECX, [R8 - 80000000h] */
  translation_free(&t);
}

int main(void) {
  const char *filter = getenv("CMOCKA_TEST_FILTER");
  if (filter) cmocka_set_test_filter(filter);
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(anything_translates),     cmocka_unit_test(the_worst_blocks_fit),
    cmocka_unit_test(incomplete_instructions), cmocka_unit_test(a_call_that_ends_at_2_gib),
    cmocka_unit_test(thunks_are_small),        cmocka_unit_test(the_stubs_load_r12_last),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
