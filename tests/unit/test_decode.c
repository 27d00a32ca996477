// link: bt_translator Zydis
/* The opcode table, and insn_decode() against an independent reading of the same bytes (decode_check.h). */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "decode_check.h"

/* ---- the table ------------------------------------------------------------------------------------------------------- */

static bool is_prefix(unsigned byte) {
  return byte == 0x26 || byte == 0x2e || byte == 0x36 || byte == 0x3e || (byte >= 0x64 && byte <= 0x67) || byte == 0xf0 ||
         byte == 0xf2 || byte == 0xf3;
}

/* Its own reading of the first columns. */
static bool row_covers(const struct opcode_row *row, unsigned map, unsigned opcode, unsigned modrm, unsigned prefix) {
  if (row->map != map || row->opcode != opcode) return false;
  if (row->reg >= 0 && row->reg != (int)(modrm >> 3 & 7)) return false;
  if (row->mod3 >= 0 && row->mod3 != (modrm >> 6 == 3)) return false;
  if (row->rm >= 0 && row->rm != (int)(modrm & 7)) return false;
  if (row->prefix == 1) return prefix == 0;
  if (row->prefix == 2) return prefix != 0xf2 && prefix != 0xf3;
  return row->prefix == 0 || row->prefix == prefix;
}

static const unsigned mandatory[] = {0, 0x66, 0xf2, 0xf3};

/* The index finds, for every opcode, ModRM byte and prefix, the one row that a search of the whole table finds; every row is
 * found by something; no two rows cover one encoding. */
static void rows_are_indexed_and_disjoint(void **state) {
  (void)state;
  unsigned count;
  const struct opcode_row *rows = insn_rows(&count);
  uint8_t *found = calloc(count, 1);
  assert_non_null(found);
  unsigned start = 1;
  for (unsigned key = 0; key < 4 * 256; key++) {
    unsigned map = key >> 8, opcode = key & 0xff, first = 0, n = 0;
    for (unsigned i = start; i < count; i++)
      if (rows[i].map == map && rows[i].opcode == opcode) {
        if (!n++) first = i;
        assert_int_equal(i, first + n - 1); /* rows of one opcode stand together */
        assert_int_equal(rows[i].modrm, opcode_has_modrm(map, opcode));
      }
    for (unsigned k = 0; k < 4 * 256; k++) {
      unsigned modrm = k & 0xff, prefix = mandatory[k >> 8], hits = 0, hit = 0;
      for (unsigned i = first; i < first + n; i++)
        if (row_covers(&rows[i], map, opcode, modrm, prefix)) hit = i, hits++;
      if (hits > 1) fail_msg("map %u opcode %02x modrm %02x prefix %02x: %u rows", map, opcode, modrm, prefix, hits);
      assert_ptr_equal(opcode_find(map, opcode, modrm, prefix), &rows[hit]);
      found[hit] = 1;
    }
  }
  for (unsigned i = 0; i < count; i++)
    if (!found[i]) fail_msg("row %u (%u %02x %s) is never reached", i, rows[i].map, rows[i].opcode, rows[i].mnemonic);
  free(found);
}

static void every_opcode_has_a_row(void **state) {
  (void)state;
  unsigned count;
  const struct opcode_row *rows = insn_rows(&count);
  for (unsigned key = 0; key < 2 * 256; key++) {
    unsigned map = key >> 8, opcode = key & 0xff, n = 0;
    if (map == 0 && (is_prefix(opcode) || opcode == 0x0f)) continue;
    if (map == 1 && (opcode == 0x38 || opcode == 0x3a)) continue;
    for (unsigned i = 0; i < count; i++) n += rows[i].map == map && rows[i].opcode == opcode;
    if (!n) fail_msg("map %u opcode %02x has no row", map, opcode);
  }
}

/* Columns that contradict each other. */
static void rows_are_consistent(void **state) {
  (void)state;
  unsigned count;
  const struct opcode_row *rows = insn_rows(&count);
  for (unsigned i = 0; i < count; i++) {
    const struct opcode_row *r = &rows[i];
    unsigned memory = 0;
    for (unsigned k = 0; k < 3; k++) {
      unsigned class = row_operand(r, k)->class;
      if (class == OC_MEM) assert_int_equal(r->mod3, 0);
      if (class == OC_MMX_RM || class == OC_XMM_RM) assert_int_equal(r->mod3, 1);
      if (r->operands[k] == OPERAND_M) assert_int_equal(r->mod3, r->kind == OP_LEA ? 0 : r->mod3);
      memory += class == OC_MEM || class == OC_GPR_MEM || class == OC_MMX_MEM || class == OC_XMM_MEM || class == OC_MOFFS;
    }
    assert_true(memory <= 1);
    if (r->kind != OP_UD) assert_int_equal(memory != 0, r->access != ACCESS_NONE);
    assert_int_equal(r->flags_written & r->flags_undefined, 0);
    assert_int_equal((r->flags_read | r->flags_written | r->flags_undefined) & ~ALL_FLAGS, 0);
    if (r->rm >= 0) assert_int_equal(r->mod3, 1);
    if (r->lock) assert_int_equal(r->access, ACCESS_RW);
    assert_true(r->kind < OP_KIND_COUNT && r->kind != OP_TODO);
    if (r->fpu == FPU_MMX || r->fpu == FPU_SSE) assert_int_not_equal(r->feature, FEAT_ALWAYS);
  }
}

/* ---- all encodings ----------------------------------------------------------------------------------------------------- */

static uint64_t random_state;
static uint32_t random32(void) { /* xorshift64*: the same cases in every run */
  random_state ^= random_state >> 12;
  random_state ^= random_state << 25;
  random_state ^= random_state >> 27;
  return (uint32_t)(random_state * 0x2545f4914f6cdd1dull >> 32);
}

static const char *const prefix_sets[] = {"",         "\x66", "\x67", "\xf2",         "\xf3",         "\x66\xf3",
                                          "\xf2\x66", "\xf0", "\x64", "\x36\x67\x66", "\xf3\xf2\x2e", "\xf0\x66\xf2"};

static void compare_map(const ZydisDecoder *d, bool code32, const char *prefixes, unsigned map) {
  static const char *const escapes[] = {"", "\x0f", "\x0f\x38", "\x0f\x3a"};
  uint8_t bytes[32];
  unsigned n = (unsigned)strlen(prefixes), e = (unsigned)strlen(escapes[map]);
  memcpy(bytes, prefixes, n);
  memcpy(bytes + n, escapes[map], e);
  for (unsigned k = 0; k < 256 * 256; k++) {
    if (map == 0 && (is_prefix(k >> 8) || k >> 8 == 0x0f)) continue;
    if (map == 1 && (k >> 8 == 0x38 || k >> 8 == 0x3a)) continue;
    bytes[n + e] = (uint8_t)(k >> 8);
    bytes[n + e + 1] = (uint8_t)k;
    for (unsigned i = n + e + 2; i < 20; i++) bytes[i] = (uint8_t)random32();
    compare(d, bytes, 20, code32);
  }
}

static void all_opcodes_match(void **state) {
  (void)state;
  complaints = 0;
  random_state = 88172645463325252ull;
  for (unsigned code32 = 0; code32 < 2; code32++) {
    ZydisDecoder d = other_decoder(code32);
    for (unsigned p = 0; p < sizeof prefix_sets / sizeof *prefix_sets; p++)
      for (unsigned map = 0; map < 4; map++) compare_map(&d, code32, prefix_sets[p], map);
  }
  assert_int_equal(complaints, 0);
}

/* Random bytes of random length, half of them with a few prefixes in front. */
static void random_bytes_match(void **state) {
  (void)state;
  static const uint8_t prefixes[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x0f};
  complaints = 0;
  random_state = 1234567;
  ZydisDecoder d[2] = {other_decoder(false), other_decoder(true)};
  for (unsigned k = 0; k < 500000; k++) {
    unsigned len = random32() % 20, from = random32() & 1 ? random32() % 15 : 0;
    uint8_t *bytes = malloc(len + 1); /* exactly len bytes for the sanitizer to guard */
    assert_non_null(bytes);
    for (unsigned i = 0; i < len; i++) bytes[i] = i < from ? prefixes[random32() % sizeof prefixes] : (uint8_t)random32();
    bytes = realloc(bytes, len ? len : 1);
    compare(&d[k & 1], bytes, len, k & 1);
    free(bytes);
  }
  assert_int_equal(complaints, 0);
}

/* ---- rules that the other decoder does not know ------------------------------------------------------------------------- */

static struct insn decoded(bool code32, uint64_t features, const char *bytes, unsigned len, enum insn_error expected) {
  struct insn insn;
  assert_int_equal(insn_decode(&insn, (const uint8_t *)bytes, len, (struct insn_mode){.code32 = code32, .features = features}),
                   expected);
  return insn;
}
#define DECODE(code32, text) decoded(code32, ALL_FEATURES, text, sizeof text - 1, INSN_OK)

/* Every row that names a feature is undefined without it, and only then. */
static void missing_feature_is_undefined(void **state) {
  (void)state;
  unsigned count;
  const struct opcode_row *rows = insn_rows(&count);
  static const char *const escapes[] = {"", "\x0f", "\x0f\x38", "\x0f\x3a"};
  for (unsigned n = 1; n < count; n++) {
    const struct opcode_row *r = &rows[n];
    if (r->kind == OP_UD) continue;
    char bytes[24] = "";
    unsigned at = 0;
    if (r->prefix >= 0x66) bytes[at++] = (char)r->prefix;
    for (const char *e = escapes[r->map]; *e; e++) bytes[at++] = *e;
    bytes[at++] = (char)r->opcode;
    bytes[at++] = (char)((r->mod3 == 1 ? 0xc0 : 0) | (r->reg > 0 ? r->reg << 3 : 0) | (r->rm > 0 ? r->rm : 0));
    struct insn with = decoded(true, 1ull << r->feature, bytes, 20, INSN_OK),
                without = decoded(true, ~(1ull << r->feature), bytes, 20, INSN_OK);
    assert_ptr_equal(with.row, r);
    assert_int_equal(with.kind, r->kind);
    assert_int_equal(without.kind, r->feature ? OP_UD : r->kind);
  }
}

/* A defined instruction asks for more bytes until it has all of them, and gives the same answer however many follow. */
static void every_truncation_is_too_short(void **state) {
  (void)state;
  random_state = 99;
  for (unsigned k = 0; k < 200000; k++) {
    uint8_t bytes[15];
    struct insn whole, part;
    struct insn_mode mode = {.code32 = k & 1, .features = ALL_FEATURES};
    for (unsigned i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)random32();
    if (insn_decode(&whole, bytes, sizeof bytes, mode) != INSN_OK || whole.kind == OP_UD) continue;
    for (unsigned len = 0; len < whole.length; len++) assert_int_equal(insn_decode(&part, bytes, len, mode), INSN_TOO_SHORT);
    assert_int_equal(insn_decode(&part, bytes, whole.length, mode), INSN_OK);
    assert_memory_equal(&part, &whole, sizeof whole);
  }
}

static void fifteen_bytes_are_the_limit(void **state) {
  (void)state;
  char bytes[20];
  for (unsigned n = 10; n <= 15; n++) { /* n prefixes, then ADD eAX,Iz: n + 5 bytes */
    memset(bytes, 0x3e, n);
    memcpy(bytes + n, "\x05\x01\x02\x03\x04", 5);
    struct insn i = decoded(true, ALL_FEATURES, bytes, n + 5, n == 10 ? INSN_OK : INSN_TOO_LONG);
    if (n == 10) assert_int_equal(i.length, 15);
    decoded(true, ALL_FEATURES, bytes, 14, INSN_TOO_SHORT);
  }
}

static void tzcnt_runs_as_bsf(void **state) {
  (void)state;
  struct insn i = DECODE(true, "\xf3\x0f\xbc\xc1");
  assert_string_equal(i.row->mnemonic, "BSF");
  assert_int_equal(i.mandatory, 0);
  i = DECODE(true, "\xf3\x0f\xb8\xc1");
  assert_string_equal(i.row->mnemonic, "POPCNT");
  assert_int_equal(i.mandatory, 0xf3);
  i = DECODE(true, "\xf3\x0f\x1e\xfb"); /* ENDBR32 */
  assert_int_equal(i.kind, OP_NOP);
}

static void system_register_moves_ignore_mod(void **state) {
  (void)state;
  struct insn i = DECODE(true, "\x0f\x20\x04"); /* would be a SIB form */
  assert_int_equal(i.kind, OP_MOV_FROM_CR);
  assert_int_equal(i.length, 3);
  assert_int_equal(i.mod, 3);
  assert_false(i.has_ea);
  assert_int_equal(i.regs_written, 1 << REG_ESP);
  i = DECODE(true, "\x0f\x22\xc8"); /* CR1 */
  assert_int_equal(i.kind, OP_UD);
  i = DECODE(true, "\x8e\xc8"); /* MOV CS */
  assert_int_equal(i.kind, OP_UD);
  i = DECODE(true, "\x8c\xc8");
  assert_int_equal(i.kind, OP_MOV_FROM_SEG);
}

/* A copy that has no operand size never asks for a 66h: in 16-bit code it would be another instruction. */
static void unsized_copies_stay_unprefixed(void **state) {
  (void)state;
  assert_int_equal(DECODE(false, "\x0f\x28\xc1").operand_size, 4); /* MOVAPS: 66h would make it MOVAPD */
  assert_int_equal(DECODE(false, "\x0f\xc3\x07").operand_size, 4); /* MOVNTI: 66h would be #UD */
  assert_int_equal(DECODE(false, "\x0f\xae\xe8").operand_size, 4); /* LFENCE */
  assert_int_equal(DECODE(false, "\x0f\xc7\x0f").operand_size, 4); /* CMPXCHG8B */
  assert_int_equal(DECODE(false, "\x01\xc1").operand_size, 2);
  assert_int_equal(DECODE(false, "\x66\x01\xc1").operand_size, 4);
  assert_int_equal(DECODE(true, "\x66\xf3\x0f\xb8\xc1").operand_size, 2);
}

static void implicit_memory_has_its_segment(void **state) {
  (void)state;
  struct insn i = DECODE(true, "\x64\xd7"); /* XLAT FS: */
  assert_true(i.has_mem && i.seg == SEG_FS && i.base == REG_EBX && i.mem_size == 1 && i.access == ACCESS_R);
  i = DECODE(true, "\x65\x0f\xf7\xc1"); /* MASKMOVQ GS: */
  assert_true(i.has_mem && i.seg == SEG_GS && i.base == REG_EDI && i.mem_size == 8 && i.access == ACCESS_W);
  i = DECODE(true, "\x64\xa4"); /* MOVS ES:,FS: */
  assert_true(!i.has_mem && i.seg == SEG_FS);
  i = DECODE(true, "\x64\xaa"); /* STOS knows no override */
  assert_true(!i.has_mem && i.seg == SEG_ES);
}

/* What planner, emitter and monitor ask for in place of opcode bytes. Registers are operands in the row's order. */
static void facts_in_place_of_opcode_bytes(void **state) {
  (void)state;
  static const struct {
    const char *bytes;
    unsigned length, does, alias, reg0, reg1, sreg;
    bool waits, aligned;
  } cases[] = {
    {"\x89\xe5", 2, DOES_MOV, 0, REG_EBP, REG_ESP, SEG_NONE, false, false},          /* MOV EBP, ESP */
    {"\x8b\xe5", 2, DOES_MOV, 0, REG_ESP, REG_EBP, SEG_NONE, false, false},          /* MOV ESP, EBP */
    {"\x89\x03", 2, DOES_MOV, 0, REG_NONE, REG_EAX, SEG_NONE, false, false},         /* MOV [EBX], EAX */
    {"\x88\xe3", 2, DOES_MOV, 0, REG_EBX, REG_EAX, SEG_NONE, false, false},          /* MOV BL, AH */
    {"\xa1\0\0\0\0", 5, DOES_MOV, 0, REG_EAX, REG_NONE, SEG_NONE, false, false},     /* MOV EAX, [0] */
    {"\xc7\xc4\0\0\0\0", 6, DOES_MOV, 0, REG_ESP, REG_NONE, SEG_NONE, false, false}, /* MOV ESP, 0 by ModRM */
    {"\xbc\0\0\0\0", 5, DOES_MOV_IMM, 0, REG_ESP, REG_NONE, SEG_NONE, false, false},
    {"\x83\xc4\x08", 3, DOES_ADD_IMM, 0, REG_ESP, REG_NONE, SEG_NONE, false, false},
    {"\x82\xec\x08", 3, DOES_SUB_IMM, ALIAS_OF_80, REG_EAX, REG_NONE, SEG_NONE, false, false}, /* SUB AH, 8 */
    {"\x82\x0b\x08", 3, DOES_ANYTHING, ALIAS_OF_80, REG_NONE, REG_NONE, SEG_NONE, false, false},
    {"\x31\xc0", 2, DOES_XOR, 0, REG_EAX, REG_EAX, SEG_NONE, false, false},
    {"\x44", 1, DOES_INC, 0, REG_ESP, REG_NONE, SEG_NONE, false, false},
    {"\x4c", 1, DOES_DEC, 0, REG_ESP, REG_NONE, SEG_NONE, false, false},
    {"\xf7\xf9", 2, DOES_DIVIDE, 0, REG_ECX, REG_NONE, SEG_NONE, false, false},
    {"\xf6\xc9\x01", 3, DOES_ANYTHING, ALIAS_OF_REG_0, REG_ECX, REG_NONE, SEG_NONE, false, false}, /* TEST CL, 1 */
    {"\xfc", 1, DOES_CLD, 0, REG_NONE, REG_NONE, SEG_NONE, false, false},
    {"\xfd", 1, DOES_STD, 0, REG_NONE, REG_NONE, SEG_NONE, false, false},
    {"\x16", 1, DOES_ANYTHING, 0, REG_NONE, REG_NONE, SEG_SS, false, false},                  /* PUSH SS */
    {"\x0f\xa9", 2, DOES_ANYTHING, 0, REG_NONE, REG_NONE, SEG_GS, false, false},              /* POP GS */
    {"\x8e\xd8", 2, DOES_ANYTHING, 0, REG_NONE, REG_EAX, SEG_DS, false, false},               /* MOV DS, EAX */
    {"\x8c\xe1", 2, DOES_ANYTHING, 0, REG_ECX, REG_NONE, SEG_FS, false, false},               /* MOV ECX, FS */
    {"\xc4\x03", 2, DOES_ANYTHING, 0, REG_EAX, REG_NONE, SEG_ES, false, false},               /* LES EAX, [EBX] */
    {"\xc5\x03", 2, DOES_ANYTHING, 0, REG_EAX, REG_NONE, SEG_DS, false, false},               /* LDS */
    {"\x0f\xb2\x03", 3, DOES_ANYTHING, 0, REG_EAX, REG_NONE, SEG_SS, false, false},           /* LSS */
    {"\x0f\xb4\x03", 3, DOES_ANYTHING, 0, REG_EAX, REG_NONE, SEG_FS, false, false},           /* LFS */
    {"\x0f\xb5\x03", 3, DOES_ANYTHING, 0, REG_EAX, REG_NONE, SEG_GS, false, false},           /* LGS */
    {"\xd9\x03", 2, DOES_ANYTHING, 0, REG_NONE, REG_NONE, SEG_NONE, true, false},             /* FLD */
    {"\xd9\x3b", 2, DOES_ANYTHING, 0, REG_NONE, REG_NONE, SEG_NONE, false, false},            /* FNSTCW */
    {"\xdd\x3b", 2, DOES_ANYTHING, 0, REG_NONE, REG_NONE, SEG_NONE, false, false},            /* FNSTSW */
    {"\x0f\x2d\x03", 3, DOES_ANYTHING, 0, REG_NONE, REG_NONE, SEG_NONE, true, false},         /* CVTPS2PI MM0, [EBX] */
    {"\x0f\x2a\x03", 3, DOES_ANYTHING, 0, REG_NONE, REG_NONE, SEG_NONE, false, false},        /* CVTPI2PS XMM0, [EBX] */
    {"\xf3\x0f\x2d\x03", 4, DOES_ANYTHING, 0, REG_EAX, REG_NONE, SEG_NONE, false, false},     /* CVTSS2SI EAX, [EBX] */
    {"\x66\x0f\x6f\x03", 4, DOES_ANYTHING, 0, REG_NONE, REG_NONE, SEG_NONE, false, true},     /* MOVDQA */
    {"\x66\x0f\x38\x2a\x03", 5, DOES_ANYTHING, 0, REG_NONE, REG_NONE, SEG_NONE, false, true}, /* MOVNTDQA */
    {"\x0f\x58\x03", 3, DOES_ANYTHING, 0, REG_NONE, REG_NONE, SEG_NONE, false, false},        /* ADDPS */
  };
  for (unsigned n = 0; n < sizeof cases / sizeof *cases; n++) {
    struct insn i = decoded(true, ~0ull, cases[n].bytes, cases[n].length, INSN_OK);
    bool same = i.row->does == cases[n].does && i.row->alias == cases[n].alias && i.operand_reg[0] == cases[n].reg0 &&
                i.operand_reg[1] == cases[n].reg1 && i.sreg == cases[n].sreg && insn_waits(&i) == cases[n].waits &&
                i.row->aligned == cases[n].aligned;
    if (!same)
      fail_msg("case %u: does %u alias %u registers %u %u segment %u waits %u aligned %u", n, i.row->does, i.row->alias,
               i.operand_reg[0], i.operand_reg[1], i.sreg, insn_waits(&i), i.row->aligned);
  }
}

/* op_kind_of_opcode[] says of an opcode with one row what that row says, and of a prefix nothing. */
static void kinds_by_opcode_are_the_rows(void **state) {
  (void)state;
  unsigned count;
  const struct opcode_row *rows = insn_rows(&count);
  for (unsigned map = 0; map < 2; map++)
    for (unsigned opcode = 0; opcode < 256; opcode++) {
      unsigned found = 0, kind = OP_COPY;
      for (unsigned i = 0; i < count; i++)
        if (rows[i].map == map && rows[i].opcode == opcode) found++, kind = rows[i].kind;
      if (found < 2) assert_int_equal(op_kind_of_opcode[map][opcode], kind);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(rows_are_indexed_and_disjoint),
    cmocka_unit_test(every_opcode_has_a_row),
    cmocka_unit_test(rows_are_consistent),
    cmocka_unit_test(all_opcodes_match),
    cmocka_unit_test(random_bytes_match),
    cmocka_unit_test(missing_feature_is_undefined),
    cmocka_unit_test(every_truncation_is_too_short),
    cmocka_unit_test(fifteen_bytes_are_the_limit),
    cmocka_unit_test(tzcnt_runs_as_bsf),
    cmocka_unit_test(system_register_moves_ignore_mod),
    cmocka_unit_test(unsized_copies_stay_unprefixed),
    cmocka_unit_test(implicit_memory_has_its_segment),
    cmocka_unit_test(facts_in_place_of_opcode_bytes),
    cmocka_unit_test(kinds_by_opcode_are_the_rows),
  };
  return cmocka_run_group_tests_name("decode", tests, NULL, NULL);
}
