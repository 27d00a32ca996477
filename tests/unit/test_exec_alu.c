// link: bt_monitor
/* BCD, INC/DEC, MOV with absolute offsets, XLAT, bit tests in memory. Run only one: its name as argument. */
#include "exec_mock.h"

/* DAA and DAS as the manual's pseudo-code writes them (SDM vol. 2), step by step. */
static void manual_das_daa(bool subtract, uint8_t *al, bool *cf, bool *af) {
  uint8_t old_al = *al;
  bool old_cf = *cf;
  *cf = false;
  if ((*al & 15) > 9 || *af) {
    int wide = subtract ? *al - 6 : *al + 6;
    *al = (uint8_t)wide;
    *cf = old_cf || wide < 0 || wide > 0xff;
    *af = true;
  } else *af = false;
  if (old_al > 0x99 || old_cf) {
    *al = (uint8_t)(subtract ? *al - 0x60 : *al + 0x60);
    *cf = true;
  } else if (!subtract) *cf = false;
}

static uint32_t sign_zero_parity(uint8_t r) {
  return (r & 0x80 ? FLAG_SF : 0) | (r ? 0 : FLAG_ZF) | (__builtin_parity(r) ? 0 : FLAG_PF);
}

static void daa_das_all_inputs(void **state) {
  struct fixture *f = *state;
  for (unsigned n = 0; n < 2 * 256 * 4; n++) {
    bool subtract = n >> 10 & 1, cf = n >> 8 & 1, af = n >> 9 & 1;
    uint8_t al = (uint8_t)n;
    struct insn i = insn_make(OP_BCD, subtract ? 0x2f : 0x27, 4);
    f->v.s.gpr[REG_EAX] = 0xaabbcc00 | al;
    f->v.s.flags = (cf ? FLAG_CF : 0) | (af ? FLAG_AF : 0) | FLAG_OF | FLAG_DF;
    run_ok(f, &i);
    manual_das_daa(subtract, &al, &cf, &af);
    assert_int_equal(f->v.s.gpr[REG_EAX], 0xaabbcc00 | al);
    assert_int_equal(f->v.s.flags, (cf ? FLAG_CF : 0) | (af ? FLAG_AF : 0) | FLAG_DF | sign_zero_parity(al));
  }
}

static void ascii_adjusts(void **state) {
  struct fixture *f = *state;
  static const struct {
    uint8_t opcode, imm;
    uint16_t ax;
    uint32_t flags;
    uint16_t result;
    uint32_t after;
  } rows[] = {
    {0x37, 0, 0x0105, 0, 0x0105, 0},
    {0x37, 0, 0x000a, 0, 0x0100, FLAG_AF | FLAG_CF},
    {0x37, 0, 0x00ff, 0, 0x0205, FLAG_AF | FLAG_CF},
    {0x37, 0, 0x0103, FLAG_AF | FLAG_ZF, 0x0209, FLAG_AF | FLAG_CF | FLAG_ZF},
    {0x3f, 0, 0x0205, FLAG_CF, 0x0205, 0},
    {0x3f, 0, 0x0200, FLAG_AF, 0x000a, FLAG_AF | FLAG_CF},
    {0x3f, 0, 0x01ff, 0, 0x0009, FLAG_AF | FLAG_CF},
    {0xd4, 10, 0xff4f, FLAG_CF, 0x0709, FLAG_PF},
    {0xd4, 16, 0x00f0, 0, 0x0f00, FLAG_ZF | FLAG_PF},
    {0xd5, 10, 0x0709, FLAG_CF | FLAG_OF, 0x004f, 0},
    {0xd5, 10, 0xff0a, 0, 0x0000, FLAG_ZF | FLAG_PF},
    {0xd6, 0, 0x1234, FLAG_CF | FLAG_OF, 0x12ff, FLAG_CF | FLAG_OF},
    {0xd6, 0, 0x1234, FLAG_SF, 0x1200, FLAG_SF},
  };
  for (unsigned n = 0; n < sizeof rows / sizeof rows[0]; n++) {
    struct insn i = insn_make(OP_BCD, rows[n].opcode, 4);
    i.imm = rows[n].imm;
    f->v.s.gpr[REG_EAX] = 0x55550000 | rows[n].ax;
    f->v.s.flags = rows[n].flags;
    run_ok(f, &i);
    assert_int_equal(f->v.s.gpr[REG_EAX], 0x55550000 | rows[n].result);
    assert_int_equal(f->v.s.flags, rows[n].after);
  }
  struct insn aam = insn_make(OP_BCD, 0xd4, 4);
  run_fault(f, &aam, VEC_DE, 0);
  assert_false(f->v.fault.has_error);
}

static uint32_t host_incdec(uint32_t value, unsigned size, bool decrement, uint32_t *flags) {
  uint64_t image = *flags | 2;
  uint64_t x = value;
#define STEP(insn) \
  __asm__ volatile("lea -128(%%rsp), %%rsp; push %1; popfq; " insn " ; pushfq; pop %1; lea 128(%%rsp), %%rsp" \
                   : "+r"(x), "+r"(image) \
                   : \
                   : "cc", "memory")
  if (size == 4 && decrement) STEP("decl %k0");
  else if (size == 4) STEP("incl %k0");
  else if (decrement) STEP("decw %w0");
  else STEP("incw %w0");
#undef STEP
  *flags = (uint32_t)image & FLAGS_ARITH;
  return (uint32_t)x;
}

static void incdec_like_the_host(void **state) {
  struct fixture *f = *state;
  static const uint32_t values[] = {0,      1,       0xf,        0x10,       0x7fff,     0x8000,
                                    0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff, 0x12345678};
  for (unsigned n = 0; n < sizeof values / sizeof values[0]; n++)
    for (unsigned op = 0; op < 16; op++)
      for (unsigned size = 2; size <= 4; size += 2)
        for (unsigned carry = 0; carry < 2; carry++) {
          struct insn i = insn_make(OP_INCDEC_REG, 0x40 + op, size);
          uint32_t flags = carry;
          f->v.s.gpr[op & 7] = values[n];
          f->v.s.flags = FLAG_DF | carry;
          run_ok(f, &i);
          assert_int_equal(f->v.s.gpr[op & 7], host_incdec(values[n], size, op & 8, &flags));
          assert_int_equal(f->v.s.flags, flags | FLAG_DF);
        }
}

static void mov_moffs_and_xlat(void **state) {
  struct fixture *f = *state;
  for (unsigned size = 1; size <= 4; size *= 2) {
    struct insn load = insn_mem(OP_MOV_MOFFS, size == 1 ? 0xa0 : 0xa1, size == 1 ? 4 : size, REG_NONE, 0x4fff), store = load;
    store.bytes[0] |= 2;
    store.disp = 0x6fff;
    f->v.s.gpr[REG_EAX] = 0xdeadbeef;
    run_faults_on_pages(f, &load, (unsigned[]){4}, (uint32_t[]){0x4fff}, (uint32_t[]){0}, 1);
    run_ok(f, &load);
    assert_int_equal(f->v.s.gpr[REG_EAX], (0xdeadbeef & ~size_mask(size)) | (ram32(f, 0x4fff) & size_mask(size)));
    run_faults_on_pages(f, &store, (unsigned[]){6}, (uint32_t[]){0x6fff}, (uint32_t[]){2}, 1);
    uint32_t beyond = ram32(f, 0x6fff + size);
    run_ok(f, &store);
    assert_memory_equal(f->mmu.ram + 0x6fff, &f->v.s.gpr[REG_EAX], size);
    assert_int_equal(ram32(f, 0x6fff + size), beyond);
  }
  struct insn xlat = insn_mem(OP_XLAT, 0xd7, 4, REG_EBX, 0);
  f->v.s.gpr[REG_EBX] = 0x4f80;
  f->v.s.gpr[REG_EAX] = 0x11223380;
  run_faults_on_pages(f, &xlat, (unsigned[]){5}, (uint32_t[]){0x5000}, (uint32_t[]){0}, 1);
  run_ok(f, &xlat);
  assert_int_equal(f->v.s.gpr[REG_EAX], 0x11223300 | f->mmu.ram[0x5000]);
  xlat.address_size = 2;
  f->v.s.gpr[REG_EBX] = 0x1fff0;
  f->v.s.gpr[REG_EAX] = 0x20;
  run_ok(f, &xlat);
  assert_int_equal(f->v.s.gpr[REG_EAX], f->mmu.ram[0x10]);
}

/* Against the host's own BT/BTS/BTR/BTC on a buffer of the same bytes. */
static void bit_tests_like_the_host(void **state) {
  struct fixture *f = *state;
  uint8_t copy[0x200];
  srand(2);
  for (unsigned n = 0; n < 4000; n++) {
    unsigned operation = n & 3, size = n & 4 ? 2 : 4;
    int32_t bit = rand() % 2000 - 1000;
    struct insn i = insn_mem(OP_BT_MEM, 0xa3 | operation << 3, size, REG_EBX, 0x10);
    uint8_t carry = 0;
    i.reg = REG_ECX;
    f->v.s.gpr[REG_EBX] = 0x5000 - 0x10;
    f->v.s.gpr[REG_ECX] = size == 2 ? ((uint32_t)bit & 0xffff) | 0xabcd0000 : (uint32_t)bit;
    memcpy(copy, f->mmu.ram + 0x4f00, sizeof copy);
    void *base = copy + 0x100;
    int64_t wide = bit;
#define HOST(op) __asm__ volatile(op "q %2, (%1); setc %0" : "=q"(carry) : "r"(base), "r"(wide) : "cc", "memory")
    switch (operation) {
    case 0: HOST("bt"); break;
    case 1: HOST("bts"); break;
    case 2: HOST("btr"); break;
    default: HOST("btc");
    }
#undef HOST
    f->v.s.flags = FLAG_ZF | FLAG_OF | (n & 8 ? FLAG_CF : 0);
    run_ok(f, &i);
    assert_int_equal(f->v.s.flags, FLAG_ZF | FLAG_OF | (carry ? FLAG_CF : 0));
    assert_memory_equal(copy, f->mmu.ram + 0x4f00, sizeof copy);
  }
}

static void bit_test_faults(void **state) {
  struct fixture *f = *state;
  struct insn bt = insn_mem(OP_BT_MEM, 0xa3, 4, REG_EBX, 0), bts = insn_mem(OP_BT_MEM, 0xab, 4, REG_EBX, 0);
  bt.reg = bts.reg = REG_ECX;
  f->v.s.gpr[REG_EBX] = 0x5000;
  f->v.s.gpr[REG_ECX] = 0xffffffff; /* the doubleword below */
  run_faults_on_pages(f, &bt, (unsigned[]){4}, (uint32_t[]){0x4ffc}, (uint32_t[]){0}, 1);
  run_faults_on_pages(f, &bts, (unsigned[]){4}, (uint32_t[]){0x4ffc}, (uint32_t[]){2}, 1);
  set_page(f, 4, PAGE_READ_ONLY);
  run_fault(f, &bts, VEC_PF, 3);
  run_ok(f, &bt);
  f->v.s.gpr[REG_ECX] = 0x80000000; /* 256 MiB below, modulo 4 GiB */
  run_fault(f, &bt, VEC_PF, 0);
  assert_int_equal(f->v.fault.cr2.v, 0xf0005000);
}

static const struct CMUnitTest tests[] = {
  EXEC_TEST(daa_das_all_inputs), EXEC_TEST(ascii_adjusts),           EXEC_TEST(incdec_like_the_host),
  EXEC_TEST(mov_moffs_and_xlat), EXEC_TEST(bit_tests_like_the_host), EXEC_TEST(bit_test_faults),
};
EXEC_MAIN(tests)
