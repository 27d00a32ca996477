// link: bt_monitor
/* Stack instructions and near branches. Run only one: its name as argument. */
#include "exec_mock.h"

enum { SP = 0x8000 }; /* the fixture's ESP: a page boundary, so that pushes and pops fall into different pages */

static void push_and_pop_registers(void **state) {
  struct fixture *f = *state;
  for (unsigned size = 2; size <= 4; size += 2)
    for (unsigned r = 0; r < 8; r++) {
      struct insn push = insn_make(OP_PUSH_REG, 0x50 + r, size), pop = insn_make(OP_POP_REG, 0x58 + (r ^ 1), size);
      for (unsigned k = 0; k < 8; k++) f->v.s.gpr[k] = 0x11111111 * (k + 1);
      f->v.s.gpr[REG_ESP] = SP;
      f->v.s.eip = CODE;
      uint32_t value = f->v.s.gpr[r], other = f->v.s.gpr[r ^ 1];
      run_ok(f, &push);
      assert_int_equal(f->v.s.gpr[REG_ESP], SP - size);
      assert_int_equal(size == 4 ? ram32(f, SP - 4) : ram16(f, SP - 2), value & size_mask(size)); /* PUSH ESP: the old value */
      assert_int_equal(f->v.s.eip, CODE + 2);
      run_ok(f, &pop);
      uint32_t expected = size == 4 ? value : (((r ^ 1) == REG_ESP ? SP : other) & 0xffff0000) | (value & 0xffff);
      assert_int_equal(f->v.s.gpr[r ^ 1], expected);
      if ((r ^ 1) != REG_ESP) assert_int_equal(f->v.s.gpr[REG_ESP], SP);
    }
}

static void push_faults_change_nothing(void **state) {
  struct fixture *f = *state;
  struct insn push = insn_make(OP_PUSH_IMM, 0x68, 4);
  push.imm = 0x12345678;
  f->v.s.gpr[REG_ESP] = SP + 2;
  run_faults_on_pages(f, &push, (unsigned[]){7, 8}, (uint32_t[]){0x7ffe, 0x8000}, (uint32_t[]){2, 2}, 2);
  f->v.s.seg[SEG_SS].limit = SP;
  run_fault(f, &push, VEC_SS, 0);
  f->v.s.seg[SEG_SS].limit = SP + 1;
  run_ok(f, &push);
  assert_int_equal(ram32(f, SP - 2), 0x12345678);
}

static void push_and_pop_memory(void **state) {
  struct fixture *f = *state;
  struct insn push = insn_mem(OP_PUSH_MEM, 0xff, 4, REG_ESP, 8), pop = insn_mem(OP_POP_MEM, 0x8f, 4, REG_ESP, 8);
  uint32_t value = ram32(f, SP + 8);
  run_faults_on_pages(f, &push, (unsigned[]){8, 7}, (uint32_t[]){SP + 8, SP - 4}, (uint32_t[]){0, 2}, 2);
  run_ok(f, &push);
  assert_int_equal(ram32(f, SP - 4), value);
  run_ok(f, &pop); /* the address uses the incremented ESP */
  assert_int_equal(ram32(f, SP + 8), value);
  assert_int_equal(f->v.s.gpr[REG_ESP], SP);
  pop.base = REG_EBX;
  pop.seg = SEG_DS;
  f->v.s.gpr[REG_EBX] = 0x5ffe - 8;
  run_faults_on_pages(f, &pop, (unsigned[]){8, 5, 6}, (uint32_t[]){SP, 0x5ffe, 0x6000}, (uint32_t[]){0, 2, 2}, 3);
  push = insn_make(OP_PUSH_MEM, 0xff, 2); /* FF /6 with a register */
  push.mod = 3;
  push.rm = REG_EBX;
  run_ok(f, &push);
  assert_int_equal(ram16(f, SP - 2), 0x5ff6);
}

static void sp_wraps_in_16_bit_stacks(void **state) {
  struct fixture *f = *state;
  struct insn push = insn_make(OP_PUSH_REG, 0x53, 2), pop = insn_make(OP_POP_REG, 0x59, 2);
  set_16bit(f, SEG_SS, 0x10000);
  f->v.s.gpr[REG_EBX] = 0xbeef;
  f->v.s.gpr[REG_ESP] = 0xabcd0000;
  run_ok(f, &push);
  assert_int_equal(f->v.s.gpr[REG_ESP], 0xabcdfffe);
  assert_int_equal(ram16(f, 0x1fffe), 0xbeef);
  run_ok(f, &pop);
  assert_int_equal(f->v.s.gpr[REG_ESP], 0xabcd0000);
  assert_int_equal(f->v.s.gpr[REG_ECX], 0xbeef);
  f->v.s.gpr[REG_ESP] = 1;
  run_fault(f, &push, VEC_SS, 0); /* bytes FFFFh and 10000h */
}

static void pusha_popa_round_trip(void **state) {
  struct fixture *f = *state;
  for (unsigned size = 2; size <= 4; size += 2) {
    struct insn pusha = insn_make(OP_PUSHA, 0x60, size), popa = insn_make(OP_POPA, 0x61, size);
    for (unsigned k = 0; k < 8; k++) f->v.s.gpr[k] = 0x01020304 * (k + 1);
    f->v.s.gpr[REG_ESP] = SP + 4 * size;
    uint32_t before[8];
    memcpy(before, f->v.s.gpr, sizeof before);
    /* the first word pushed there */
    run_faults_on_pages(f, &pusha, (unsigned[]){7, 8}, (uint32_t[]){SP - size, SP + 3 * size}, (uint32_t[]){2, 2}, 2);
    run_ok(f, &pusha);
    assert_int_equal(f->v.s.gpr[REG_ESP], SP - 4 * size);
    for (unsigned k = 0; k < 8; k++)
      assert_int_equal(size == 4 ? ram32(f, SP + 12 - 4 * k) : ram16(f, SP + 6 - 2 * k), before[k] & size_mask(size));
    for (unsigned k = 0; k < 8; k++)
      if (k != REG_ESP) f->v.s.gpr[k] = 0;
    run_faults_on_pages(f, &popa, (unsigned[]){7, 8}, (uint32_t[]){SP - 4 * size, SP}, (uint32_t[]){0, 0}, 2);
    run_ok(f, &popa);
    for (unsigned k = 0; k < 8; k++) assert_int_equal(f->v.s.gpr[k], k == REG_ESP ? before[k] : before[k] & size_mask(size));
  }
}

static void pusha_wraps_around_sp(void **state) {
  struct fixture *f = *state;
  struct insn pusha = insn_make(OP_PUSHA, 0x60, 2), popa = insn_make(OP_POPA, 0x61, 2);
  set_16bit(f, SEG_SS, 0x10000);
  f->v.s.gpr[REG_ESP] = 6;
  f->v.s.gpr[REG_EAX] = 0xaaaa;
  f->v.s.gpr[REG_EDI] = 0xdddd;
  set_page(f, 0x1f, PAGE_READ_ONLY);
  run_fault(f, &pusha, VEC_PF, 3);
  set_page(f, 0x1f, PAGE_RAM);
  run_ok(f, &pusha);
  assert_int_equal(f->v.s.gpr[REG_ESP] & 0xffff, 0xfff6);
  assert_int_equal(ram16(f, 0x10004), 0xaaaa);
  assert_int_equal(ram16(f, 0x1fff6), 0xdddd);
  f->v.s.gpr[REG_EAX] = f->v.s.gpr[REG_EDI] = 0;
  run_ok(f, &popa);
  assert_int_equal(f->v.s.gpr[REG_EAX], 0xaaaa);
  assert_int_equal(f->v.s.gpr[REG_EDI], 0xdddd);
  assert_int_equal(f->v.s.gpr[REG_ESP], 6);
}

static void enter_and_leave(void **state) {
  struct fixture *f = *state;
  struct insn enter = insn_make(OP_ENTER, 0xc8, 4), leave = insn_make(OP_LEAVE, 0xc9, 4);
  enter.imm = 0x20;
  f->v.s.gpr[REG_EBP] = 0x9000;
  run_ok(f, &enter);
  assert_int_equal(f->v.s.gpr[REG_EBP], SP - 4);
  assert_int_equal(f->v.s.gpr[REG_ESP], SP - 4 - 0x20);
  assert_int_equal(ram32(f, SP - 4), 0x9000);
  run_ok(f, &leave);
  assert_int_equal(f->v.s.gpr[REG_EBP], 0x9000);
  assert_int_equal(f->v.s.gpr[REG_ESP], SP);
  enter.imm2 = 3 + 32; /* modulo 32 */
  run_ok(f, &enter);
  assert_int_equal(f->v.s.gpr[REG_ESP], SP - 16 - 0x20);
  assert_int_equal(ram32(f, SP - 8), ram32(f, 0x9000 - 4));
  assert_int_equal(ram32(f, SP - 12), ram32(f, 0x9000 - 8));
  assert_int_equal(ram32(f, SP - 16), SP - 4);
  assert_int_equal(f->v.s.gpr[REG_EBP], SP - 4);
}

static void enter_faults(void **state) {
  struct fixture *f = *state;
  struct insn enter = insn_make(OP_ENTER, 0xc8, 4), leave = insn_make(OP_LEAVE, 0xc9, 4);
  enter.imm = 0x1000;
  enter.imm2 = 2;
  f->v.s.gpr[REG_EBP] = 0x9000;
  /* the page of the old frame is read, two pages are written: the second by the check of the final stack pointer */
  run_faults_on_pages(f, &enter, (unsigned[]){7, 6}, (uint32_t[]){SP - 4, SP - 12 - 0x1000}, (uint32_t[]){2, 2}, 2);
  f->v.s.gpr[REG_EBP] = 0xa000;
  run_faults_on_pages(f, &enter, (unsigned[]){9}, (uint32_t[]){0x9ffc}, (uint32_t[]){0}, 1);
  run_faults_on_pages(f, &leave, (unsigned[]){10}, (uint32_t[]){0xa000}, (uint32_t[]){0}, 1);
  set_16bit(f, SEG_SS, 0);
  f->v.s.gpr[REG_EBP] = 0x1234a000;
  f->v.s.gpr[REG_ESP] = 0x56788000;
  leave.operand_size = 2;
  run_ok(f, &leave);
  assert_int_equal(f->v.s.gpr[REG_ESP], 0x5678a002);
  assert_int_equal(f->v.s.gpr[REG_EBP], 0x12340000 | ram16(f, 0xa000));
}

static void call_and_ret(void **state) {
  struct fixture *f = *state;
  struct insn call = insn_make(OP_CALL_REL, 0xe8, 4), ret = insn_make(OP_RET, 0xc2, 4);
  call.length = 5;
  call.rel = -0x20;
  ret.imm = 0xfff8;
  ret.imm_size = 2;
  run_faults_on_pages(f, &call, (unsigned[]){7}, (uint32_t[]){SP - 4}, (uint32_t[]){2}, 1);
  run_ok(f, &call);
  assert_int_equal(f->v.s.eip, CODE + 5 - 0x20);
  assert_int_equal(ram32(f, SP - 4), CODE + 5);
  run_faults_on_pages(f, &ret, (unsigned[]){7}, (uint32_t[]){SP - 4}, (uint32_t[]){0}, 1);
  run_ok(f, &ret);
  assert_int_equal(f->v.s.eip, CODE + 5);
  assert_int_equal(f->v.s.gpr[REG_ESP], SP + 0xfff8);
  call.operand_size = 2;
  f->v.s.gpr[REG_ESP] = SP;
  f->v.s.eip = 0x1fff0;
  run_ok(f, &call); /* the target is cut to 16 bits, the pushed address too */
  assert_int_equal(f->v.s.eip, 0x1fff5 - 0x20 - 0x10000);
  assert_int_equal(f->v.s.gpr[REG_ESP], SP - 2);
  assert_int_equal(ram16(f, SP - 2), 0xfff5);
}

static void branches_beyond_cs_limit(void **state) {
  struct fixture *f = *state;
  struct insn call = insn_make(OP_CALL_REL, 0xe8, 4), jmp = insn_make(OP_JMP_REL, 0xe9, 4), ret = insn_make(OP_RET, 0xc3, 4);
  struct insn ind = insn_make(OP_CALL_IND, 0xff, 4), jcc = insn_make(OP_JCC, 0x74, 4), loop = insn_make(OP_LOOP, 0xe2, 4);
  f->v.s.seg[SEG_CS].limit = 0x1fff;
  call.rel = jmp.rel = jcc.rel = loop.rel = 0x1000;
  ind.mod = 3;
  ind.rm = REG_EBX;
  f->v.s.gpr[REG_EBX] = 0x2000;
  set_ram(f, SP, 0x2000, 4);
  f->v.s.flags = FLAG_ZF;
  f->v.s.gpr[REG_ECX] = 5;
  run_fault(f, &call, VEC_GP, 0);
  run_fault(f, &jmp, VEC_GP, 0);
  run_fault(f, &ret, VEC_GP, 0);
  run_fault(f, &ind, VEC_GP, 0);
  run_fault(f, &jcc, VEC_GP, 0);
  run_fault(f, &loop, VEC_GP, 0);
  f->v.s.flags = 0;
  run_ok(f, &jcc);
  f->v.s.gpr[REG_EBX] = 0x1fff;
  run_ok(f, &ind);
  assert_int_equal(f->v.s.eip, 0x1fff);
}

static void jump_through_memory(void **state) {
  struct fixture *f = *state;
  struct insn jmp = insn_mem(OP_JMP_IND, 0xff, 2, REG_EBX, 0);
  f->v.s.gpr[REG_EBX] = 0x5fff;
  run_faults_on_pages(f, &jmp, (unsigned[]){5, 6}, (uint32_t[]){0x5fff, 0x6000}, (uint32_t[]){0, 0}, 2);
  run_ok(f, &jmp);
  assert_int_equal(f->v.s.eip, ram16(f, 0x5fff));
}

/* All sixteen conditions against the host's own SETcc, for all flags. */
static bool host_condition(unsigned code, uint32_t flags) {
  uint64_t image = flags | 2;
  uint8_t r[16];
  /* below the red zone: LEA keeps the flags */
#define SET(n, cc) \
  __asm__("lea -128(%%rsp), %%rsp; push %1; popfq; set" cc " %0; lea 128(%%rsp), %%rsp" : "=q"(r[n]) : "r"(image) : "cc")
  SET(0, "o");
  SET(1, "no");
  SET(2, "b");
  SET(3, "nb");
  SET(4, "z");
  SET(5, "nz");
  SET(6, "be");
  SET(7, "nbe");
  SET(8, "s");
  SET(9, "ns");
  SET(10, "p");
  SET(11, "np");
  SET(12, "l");
  SET(13, "nl");
  SET(14, "le");
  SET(15, "nle");
#undef SET
  return r[code];
}

static void conditions_like_the_host(void **state) {
  struct fixture *f = *state;
  static const uint32_t bits[5] = {FLAG_CF, FLAG_PF, FLAG_ZF, FLAG_SF, FLAG_OF};
  for (unsigned code = 0; code < 16; code++)
    for (unsigned set = 0; set < 32; set++) {
      struct insn jcc = insn_make(OP_JCC, 0x80 + code, 4);
      jcc.rel = 0x100;
      f->v.s.flags = 0;
      for (unsigned b = 0; b < 5; b++) f->v.s.flags |= set >> b & 1 ? bits[b] : 0;
      f->v.s.eip = CODE;
      run_ok(f, &jcc);
      assert_int_equal(f->v.s.eip, CODE + 2 + (host_condition(code, f->v.s.flags) ? 0x100 : 0));
    }
}

static void loops_and_jcxz(void **state) {
  struct fixture *f = *state;
  static const struct {
    enum op_kind kind;
    uint32_t ecx, flags;
    unsigned address_size;
    bool taken;
    uint32_t after;
  } rows[] = {
    {OP_LOOP, 2, 0, 4, true, 1},
    {OP_LOOP, 1, 0, 4, false, 0},
    {OP_LOOP, 0, 0, 4, true, 0xffffffff},
    {OP_LOOP, 0x10001, 0, 2, false, 0x10000},
    {OP_LOOP, 0x10000, 0, 2, true, 0x1ffff},
    {OP_LOOPE, 2, FLAG_ZF, 4, true, 1},
    {OP_LOOPE, 2, 0, 4, false, 1},
    {OP_LOOPNE, 2, FLAG_ZF, 4, false, 1},
    {OP_LOOPNE, 2, 0, 4, true, 1},
    {OP_JCXZ, 0x10000, 0, 4, false, 0x10000},
    {OP_JCXZ, 0x10000, 0, 2, true, 0x10000},
    {OP_JCXZ, 0, 0, 4, true, 0},
  };
  for (unsigned n = 0; n < sizeof rows / sizeof rows[0]; n++) {
    struct insn i = insn_make(rows[n].kind, 0xe2, 4);
    i.rel = 0x40;
    i.address_size = (uint8_t)rows[n].address_size;
    f->v.s.eip = CODE;
    f->v.s.gpr[REG_ECX] = rows[n].ecx;
    f->v.s.flags = rows[n].flags;
    run_ok(f, &i);
    assert_int_equal(f->v.s.eip, CODE + 2 + (rows[n].taken ? 0x40 : 0));
    assert_int_equal(f->v.s.gpr[REG_ECX], rows[n].after);
    assert_int_equal(f->v.s.flags, rows[n].flags);
  }
}

/* Beyond a limit of 64 KiB the next fetch is #GP (SDM vol. 3B, 22, "segment wraparound"); beyond 64 KiB of a larger segment
 * execution goes on. */
static void eip_has_32_bits_in_16_bit_code(void **state) {
  struct fixture *f = *state;
  struct insn push = insn_make(OP_PUSH_REG, 0x50, 2);
  set_16bit(f, SEG_CS, 0);
  f->v.s.eip = 0xfffe;
  run_ok(f, &push);
  assert_int_equal(f->v.s.eip, 0x10000);
}

static const struct CMUnitTest tests[] = {
  EXEC_TEST(push_and_pop_registers), EXEC_TEST(push_faults_change_nothing),
  EXEC_TEST(push_and_pop_memory),    EXEC_TEST(sp_wraps_in_16_bit_stacks),
  EXEC_TEST(pusha_popa_round_trip),  EXEC_TEST(pusha_wraps_around_sp),
  EXEC_TEST(enter_and_leave),        EXEC_TEST(enter_faults),
  EXEC_TEST(call_and_ret),           EXEC_TEST(branches_beyond_cs_limit),
  EXEC_TEST(jump_through_memory),    EXEC_TEST(conditions_like_the_host),
  EXEC_TEST(loops_and_jcxz),         EXEC_TEST(eip_has_32_bits_in_16_bit_code),
};
EXEC_MAIN(tests)
