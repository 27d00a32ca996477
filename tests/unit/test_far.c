// sources: monitor/segment.c monitor/selector.c monitor/frame.c monitor/far.c monitor/iret.c monitor/task.c monitor/deliver.c
// sources: monitor/vcpu.c
/* Far jumps, calls and returns, IRET, SYSENTER and SYSEXIT. To run one test: test_far NAME (a cmocka filter). */
#include "vcpu_world.h"

static struct insn far_insn(uint16_t selector, uint32_t offset, unsigned size) {
  struct insn i = an_insn(size);
  i.imm2 = selector;
  i.imm = offset;
  return i;
}
static int jump(uint16_t selector, uint32_t offset) {
  struct insn i = far_insn(selector, offset, 4);
  return x_jmp_far_imm(v, &i);
}
static int call(uint16_t selector, uint32_t offset) {
  struct insn i = far_insn(selector, offset, 4);
  return x_call_far_imm(v, &i);
}
static void gate(unsigned type, unsigned dpl, uint16_t selector, unsigned count) {
  put_gate(GDT_AT + GATE, selector, 0x12345, type, dpl, count);
}

/* Every row is checked with JMP and with CALL; nothing may have changed. */
static void code_segment_checks(void **state) {
  static const struct {
    uint8_t cpl;
    uint16_t selector;
    uint32_t offset;
    enum vector vector;
    uint32_t error;
  } rows[] = {
    {0, 0, 0, VEC_GP, 0},
    {0, 3, 0, VEC_GP, 0},
    {0, BEYOND, 0, VEC_GP, BEYOND},
    {0, DATA0, 0, VEC_GP, DATA0},
    {0, CODE3, 0, VEC_GP, CODE3 & ~3},
    {3, CODE0, 0, VEC_GP, CODE0},
    {0, CODE0 | 1, 0, VEC_GP, CODE0},
    {0, ABSENT_CODE, 0, VEC_NP, ABSENT_CODE},
    {0, SHORT_CODE, 0x1000, VEC_GP, 0},
    {0, LDT_SEL, 0, VEC_GP, LDT_SEL},
    {0, TSS_SEL, 0, VEC_GP, TSS_SEL},
    {3, TSS2_SEL, 0, VEC_GP, TSS2_SEL},
    {0, TSS2_SEL | 1, 0, VEC_GP, TSS2_SEL},
  };
  for (unsigned k = 0; k < sizeof rows / sizeof rows[0]; k++)
    for (unsigned calls = 0; calls < 2; calls++) {
      go_ring(rows[k].cpl);
      struct tr_state before = v->s;
      assert_fault((calls ? call : jump)(rows[k].selector, rows[k].offset), rows[k].vector, rows[k].error);
      assert_memory_equal(&before, &v->s, sizeof before);
    }
}

static void jump_loads_cs(void **state) {
  gdt(CODE0_16, 0x10000, 0xffff, 0x009a);
  assert_next(jump(CODE0_16, 0x1234));
  assert_int_equal(v->s.eip, 0x1234);
  assert_int_equal(v->s.seg[SEG_CS].base, 0x10000);
  assert_int_equal(type_byte(CODE0_16), 0x9b);
  go_ring(3);
  assert_next(jump(CONFORMING0, 0x42)); /* conforming: CPL stays and shows in CS */
  assert_int_equal(v->s.seg[SEG_CS].selector, CONFORMING0 | 3);
  assert_int_equal(v->cpl, 3);
  go_ring(3);
  assert_next(jump(CODE3 & ~3, 0x42)); /* an RPL below CPL is fine */
  assert_int_equal(v->s.seg[SEG_CS].selector, CODE3);
}

static void far_pointer_in_memory(void **state) {
  struct insn i = an_insn(2);
  i.has_mem = true;
  i.disp = 0x20000;
  put16(0x20000, 0x8765);
  put16(0x20002, CODE0);
  assert_next(x_jmp_far_mem(v, &i));
  assert_int_equal(v->s.eip, 0x8765);
  i.operand_size = 4;
  put32(0x20000, 0x18765);
  put16(0x20004, CODE0);
  assert_next(x_call_far_mem(v, &i));
  assert_int_equal(v->s.eip, 0x18765);
  assert_int_equal(get32(STACK0 - 8), 0x8767);
  assert_int_equal(get32(STACK0 - 4), CODE0);
}

static void call_and_retf_same_level(void **state) {
  struct insn i = an_insn(4);
  assert_next(call(CODE0, 0x4321));
  assert_int_equal(v->s.gpr[REG_ESP], STACK0 - 8);
  assert_int_equal(get32(STACK0 - 8), CODE + 2);
  i.imm = 0x10;
  i.imm_size = 2;
  assert_next(x_retf(v, &i));
  assert_int_equal(v->s.eip, CODE + 2);
  assert_int_equal(v->s.gpr[REG_ESP], STACK0 + 0x10);
}

static void call_stack_faults(void **state) {
  w.pages[(STACK0 - 1) >> 12] = PAGE_UNWRITABLE;
  assert_fault(call(CODE0, 0), VEC_PF, 2);
  assert_int_equal(v->s.gpr[REG_ESP], STACK0);
  v->s.seg[SEG_SS].limit = STACK0 - 2;
  assert_fault(call(CODE0, 0), VEC_SS, 0);
  assert_fault(call(SHORT_CODE, 0x1000), VEC_SS, 0); /* the stack before EIP */
}

static void call_gate_checks(void **state) {
  static const struct {
    uint8_t cpl, dpl;
    uint16_t rpl, code;
    enum vector vector;
    uint32_t error;
  } rows[] = {
    {3, 0, 0, CODE0, VEC_GP, GATE},
    {0, 0, 3, CODE0, VEC_GP, GATE},
    {0, 3, 0, 0, VEC_GP, 0},
    {0, 3, 0, BEYOND, VEC_GP, BEYOND},
    {0, 3, 0, DATA0, VEC_GP, DATA0},
    {0, 3, 0, CODE3, VEC_GP, CODE3 & ~3},
    {0, 3, 0, ABSENT_CODE, VEC_NP, ABSENT_CODE},
    {0, 3, 0, SHORT_CODE, VEC_GP, 0},
  };
  for (unsigned k = 0; k < sizeof rows / sizeof rows[0]; k++)
    for (unsigned calls = 0; calls < 2; calls++) {
      go_ring(rows[k].cpl);
      gate(SYS_CALL32, rows[k].dpl, rows[k].code, 0);
      assert_fault((calls ? call : jump)(GATE | rows[k].rpl, 0), rows[k].vector, rows[k].error);
    }
  gate(SYS_CALL32, 3, CODE0, 0);
  forget_present(GDT_AT + GATE);
  assert_fault(call(GATE, 0), VEC_NP, GATE);
  gate(SYS_CALL32, 3, CODE0, 0);
  go_ring(3);
  assert_fault(jump(GATE, 0), VEC_GP, CODE0); /* JMP never goes inward */
  gate(SYS_INT32, 3, CODE0, 0);
  assert_fault(call(GATE, 0), VEC_GP, GATE);
}

static void call_gate_inner_copies_parameters(void **state) {
  go_ring(3);
  gate(SYS_CALL32, 3, CODE1 & ~3, 3);
  for (uint32_t k = 0; k < 3; k++) put32(STACK3 + 4 * k, 0xaaaa0000u + k);
  assert_next(call(GATE | 3, 0xffffffff));
  static const uint32_t frame[] = {CODE + 2, CODE3, 0xaaaa0000u, 0xaaaa0001u, 0xaaaa0002u, STACK3, DATA3};
  assert_memory_equal(w.mem + STACK1 - 28, frame, sizeof frame);
  assert_int_equal(v->s.gpr[REG_ESP], STACK1 - 28);
  assert_int_equal(v->cpl, 1);
  assert_int_equal(v->s.eip, 0x12345);
  assert_int_equal(v->s.seg[SEG_CS].selector, CODE1);
  assert_int_equal(v->s.seg[SEG_SS].selector, DATA1);
  struct insn i = an_insn(4);
  i.imm = 12;
  i.imm_size = 2;
  force_segment(SEG_FS, DATA1);
  assert_next(x_retf(v, &i));
  assert_int_equal(v->cpl, 3);
  assert_int_equal(v->s.gpr[REG_ESP], STACK3 + 12);
  assert_int_equal(v->s.eip, CODE + 2);
  assert_int_equal(v->s.seg[SEG_FS].usable, 0); /* ring 1's must go */
  assert_int_equal(v->s.seg[SEG_FS].selector, 0);
  assert_int_equal(v->s.seg[SEG_DS].usable, 1);
}

static void call_gate_16_bit(void **state) {
  go_ring(3);
  gate(SYS_CALL16, 3, CODE0, 2);
  put16(STACK3, 0x1111);
  put16(STACK3 + 2, 0x2222);
  assert_next(call(GATE | 3, 0));
  static const uint16_t frame[] = {(CODE + 2) & 0xffff, CODE3, 0x1111, 0x2222, STACK3, DATA3};
  assert_memory_equal(w.mem + STACK0 - 12, frame, sizeof frame);
  assert_int_equal(v->s.eip, 0x2345);
  assert_int_equal(v->s.gpr[REG_ESP], STACK0 - 12);
}

static void call_gate_31_parameters(void **state) {
  go_ring(3);
  gate(SYS_CALL32, 3, CODE0, 31);
  for (uint32_t k = 0; k < 31; k++) put32(STACK3 + 4 * k, k);
  assert_next(call(GATE | 3, 0));
  assert_int_equal(v->s.gpr[REG_ESP], STACK0 - 35 * 4);
  assert_memory_equal(w.mem + STACK0 - 33 * 4, w.mem + STACK3, 31 * 4);
}

static void call_gate_inner_stack_checks(void **state) {
  go_ring(3);
  gate(SYS_CALL32, 3, CODE1 & ~3, 0);
  put16(TSS_AT + 16, DATA0);
  assert_fault(call(GATE | 3, 0), VEC_TS, DATA0);
  put16(TSS_AT + 16, DATA1);
  gdt(DATA1, 0, 0xfff, 0x40b3);
  assert_fault(call(GATE | 3, 0), VEC_SS, DATA1 & ~3);
  assert_int_equal(v->cpl, 3);
}

static void call_gate_conforming_keeps_the_stack(void **state) {
  go_ring(3);
  gate(SYS_CALL32, 3, CONFORMING0, 5);
  assert_next(call(GATE | 3, 0));
  assert_int_equal(v->cpl, 3);
  assert_int_equal(v->s.gpr[REG_ESP], STACK3 - 8); /* no parameters copied */
}

/* ---- returns: RETF and IRET share these ---- */

static void put_frame(uint32_t eip, uint16_t cs, uint32_t eflags, uint32_t esp, uint16_t ss, bool iret) {
  uint32_t at = v->s.gpr[REG_ESP];
  put32(at, eip);
  put32(at + 4, cs);
  if (iret) {
    put32(at + 8, eflags);
    at += 4;
  }
  put32(at + 8, esp);
  put32(at + 12, ss);
}

static void return_checks(void **state) {
  static const struct {
    uint8_t cpl;
    uint16_t cs, ss;
    uint32_t eip;
    enum vector vector;
    uint32_t error;
  } rows[] = {
    {0, 0, 0, 0, VEC_GP, 0},
    {0, BEYOND, 0, 0, VEC_GP, BEYOND},
    {0, DATA0, 0, 0, VEC_GP, DATA0},
    {3, CODE0, 0, 0, VEC_GP, CODE0},
    {0, CODE3 & ~3, 0, 0, VEC_GP, CODE3 & ~3},
    {0, CODE0 | 3, 0, 0, VEC_GP, CODE0},
    {0, ABSENT_CODE, 0, 0, VEC_NP, ABSENT_CODE},
    {0, SHORT_CODE, 0, 0x1000, VEC_GP, 0},
    {0, CODE3, 0, 0, VEC_GP, 0},
    {0, CODE3, BEYOND | 3, 0, VEC_GP, BEYOND},
    {0, CODE3, DATA0, 0, VEC_GP, DATA0},
    {0, CODE3, DATA3 & ~3, 0, VEC_GP, DATA3 & ~3},
    {0, CODE3, CODE3, 0, VEC_GP, CODE3 & ~3},
    {0, CODE3, ABSENT3, 0, VEC_SS, ABSENT3 & ~3},
    {0, CONFORMING0 | 1, DATA0, 0, VEC_GP, DATA0},
    {0, TSS_SEL, 0, 0, VEC_GP, TSS_SEL},
  };
  struct insn i = an_insn(4);
  for (unsigned k = 0; k < sizeof rows / sizeof rows[0]; k++)
    for (unsigned iret = 0; iret < 2; iret++) {
      go_ring(rows[k].cpl);
      put_frame(rows[k].eip, rows[k].cs, 0, STACK3, rows[k].ss, iret);
      struct tr_state before = v->s;
      assert_fault((iret ? x_iret : x_retf)(v, &i), rows[k].vector, rows[k].error);
      assert_memory_equal(&before, &v->s, sizeof before);
    }
}

static void return_stack_limits(void **state) {
  struct insn i = an_insn(4);
  put_frame(CODE, CODE3, 0, STACK3, DATA3, true);
  v->s.seg[SEG_SS].limit = STACK0 + 10;
  assert_fault(x_iret(v, &i), VEC_SS, 0);
  v->s.seg[SEG_SS].limit = STACK0 + 18; /* EIP, CS, EFLAGS and ESP, not all of SS */
  assert_fault(x_iret(v, &i), VEC_SS, 0);
  v->s.seg[SEG_SS].limit = STACK0 + 19;
  assert_next(x_iret(v, &i));
}

static void iret_to_ring3(void **state) {
  struct insn i = an_insn(4);
  force_segment(SEG_FS, CODE0);
  force_segment(SEG_GS, CONFORMING0);
  force_segment(SEG_ES, DATA3);
  w.writes = 0;
  v->mode_dirty = false;
  put_frame(0x1234, CODE3, 0xffffffffu & ~(uint32_t)FLAG_VM, STACK3, DATA3, true);
  assert_next(x_iret(v, &i));
  assert_int_equal(v->cpl, 3);
  assert_int_equal(v->s.eip, 0x1234);
  assert_int_equal(v->s.gpr[REG_ESP], STACK3);
  assert_int_equal(vcpu_eflags(v), 0x3d7fd7);
  assert_int_equal(w.writes, 0);
  assert_true(v->mode_dirty);
  assert_int_equal(v->s.seg[SEG_DS].usable, 0); /* ring 0 data */
  assert_int_equal(v->s.seg[SEG_FS].usable, 0); /* ring 0 code */
  assert_int_equal(v->s.seg[SEG_GS].usable, 1); /* conforming */
  assert_int_equal(v->s.seg[SEG_ES].usable, 1);
}

static void iret_to_a_16_bit_stack_leaks_esp(void **state) {
  struct insn i = an_insn(4);
  gdt(DATA3, 0, 0xffff, 0x00f3);
  v->s.gpr[REG_ESP] = 0x18000;
  put_frame(0x1234, CODE3, 2, 0x99991234, DATA3, true);
  assert_next(x_iret(v, &i));
  assert_int_equal(v->s.gpr[REG_ESP], 0x11234);
}

static void iret_privilege_of_flags(void **state) {
  struct insn i = an_insn(4);
  go_ring(3);
  vcpu_set_eflags(v, FLAG_IF);
  put_frame(0x1234, CODE3, 0xfffdffffu & ~(uint32_t)(FLAG_IF | FLAG_NT), 0, 0, true);
  assert_next(x_iret(v, &i));
  assert_int_equal(vcpu_eflags(v), (FLAGS_ARITH | FLAG_DF | FLAG_TF | FLAG_RF | FLAG_AC | FLAG_ID | FLAG_IF | 2));
  vcpu_set_eflags(v, FLAG_IF | FLAG_IOPL);
  v->s.gpr[REG_ESP] = STACK3;
  put_frame(0x1234, CODE3, FLAG_VM, 0, 0, true); /* VM means nothing at CPL 3 */
  assert_next(x_iret(v, &i));
  assert_int_equal(vcpu_eflags(v), FLAG_IOPL | 2);
}

static void iret_16_bit_keeps_the_upper_flags(void **state) {
  struct insn i = an_insn(2);
  vcpu_set_eflags(v, FLAG_AC | FLAG_CF);
  put16(STACK0, 0x8001);
  put16(STACK0 + 2, CODE0);
  put16(STACK0 + 4, FLAG_ZF);
  assert_next(x_iret(v, &i));
  assert_int_equal(v->s.eip, 0x8001);
  assert_int_equal(v->s.gpr[REG_ESP], STACK0 + 6);
  assert_int_equal(vcpu_eflags(v), FLAG_AC | FLAG_ZF | 2);
}

static void iret_same_flat_segment_keeps_the_mode(void **state) {
  struct insn i = an_insn(4);
  put_frame(0x1234, CODE0, FLAG_IF | 2, 0, 0, true);
  assert_next(x_iret(v, &i));
  assert_false(v->mode_dirty);
}

static void iret_to_v86_and_back(void **state) {
  static const uint32_t frame[] = {0x123, 0x1001, FLAG_VM | FLAG_IF | 2, 0x800, 0x1002, 0x1003, 0x1004, 0x1005, 0x1006};
  static const uint8_t order[] = {SEG_CS, SEG_SS, SEG_ES, SEG_DS, SEG_FS, SEG_GS};
  struct insn i = an_insn(4);
  v->s.gpr[REG_ESP] = STACK0 - 36;
  memcpy(w.mem + STACK0 - 36, frame, sizeof frame);
  assert_next(x_iret(v, &i));
  assert_true(vcpu_v86(v));
  assert_int_equal(v->cpl, 3);
  assert_int_equal(v->s.gpr[REG_ESP], 0x800);
  for (unsigned k = 0; k < 6; k++) {
    assert_int_equal(v->s.seg[order[k]].base, (0x1001 + k) << 4);
    assert_int_equal(v->s.seg[order[k]].attr, 0xf3);
  }
  memset(w.mem + STACK0 - 36, 0, 36);
  assert_next(deliver_interrupt(v, 0x30));
  assert_memory_equal(w.mem + STACK0 - 36, frame, sizeof frame);
  put32(STACK0 - 36, 0x10000); /* EIP beyond 64 KiB */
  assert_fault(x_iret(v, &i), VEC_GP, 0);
}

static void iret_in_v86(void **state) {
  struct insn i = an_insn(2);
  go_v86(2);
  v->nmi_blocked = true;
  assert_fault(x_iret(v, &i), VEC_GP, 0);
  assert_false(v->nmi_blocked);
  go_v86(3);
  put16(0x1020 + 0x800, 0x4444);
  put16(0x1020 + 0x802, 0x5555);
  put16(0x1020 + 0x804, 0x0fd7 & ~FLAG_IF); /* IOPL 0 in the image */
  assert_next(x_iret(v, &i));
  assert_int_equal(v->s.eip, 0x4444);
  assert_int_equal(v->s.seg[SEG_CS].base, 0x55550);
  assert_int_equal(vcpu_iopl(v), 3);
  assert_true(vcpu_v86(v) && !v->s.if_flag);
  assert_int_equal(v->s.gpr[REG_ESP], 0x806);
}

static void real_mode_far(void **state) {
  struct insn i = far_insn(0x1234, 0x99995678, 2);
  go_real();
  v->s.seg[SEG_CS].selector = 0x70;
  assert_next(x_call_far_imm(v, &i));
  assert_int_equal(v->s.eip, 0x5678);
  assert_int_equal(v->s.seg[SEG_CS].base, 0x12340);
  assert_int_equal(get16(STACK0 - 4), 0x102);
  assert_int_equal(get16(STACK0 - 2), 0x70);
  assert_next(x_retf(v, &i));
  assert_int_equal(v->s.eip, 0x102);
  assert_int_equal(v->s.gpr[REG_ESP], STACK0);
  i = far_insn(0x1234, 0x10000, 4);
  assert_fault(x_jmp_far_imm(v, &i), VEC_GP, 0);
  assert_fault(x_call_far_imm(v, &i), VEC_GP, 0);
  assert_int_equal(v->s.gpr[REG_ESP], STACK0);
}

static void leaving_protected_mode(void **state) {
  struct insn i = far_insn(0xf000, 0xfff0, 2);
  v->cr0 &= ~(uint32_t)CR0_PE;
  force_segment(SEG_CS, CODE0_16);
  assert_next(x_jmp_far_imm(v, &i));
  assert_int_equal(v->s.seg[SEG_CS].base, 0xf0000);
  assert_int_equal(v->s.seg[SEG_CS].attr, 0x93);
}

static void limits_are_the_last_valid_byte(void **state) {
  struct insn i = an_insn(4);
  assert_next(jump(SHORT_CODE, 0xfff));
  go_ring(0);
  assert_next(call(SHORT_CODE, 0xfff));
  go_ring(0);
  put_frame(0xfff, SHORT_CODE, 2, 0, 0, true);
  assert_next(x_iret(v, &i));
  go_ring(0);
  v->s.gpr[REG_ESP] = STACK0 - 36;
  memset(w.mem + STACK0 - 36, 0, 36);
  put_frame(0xffff, 0, FLAG_VM | 2, 0, 0, true);
  assert_next(x_iret(v, &i));
  assert_true(vcpu_v86(v));
}

static void frames_are_alignment_checked_by_word(void **state) {
  struct insn i = an_insn(4);
  go_ring(3);
  v->cr0 |= CR0_AM;
  vcpu_set_eflags(v, FLAG_AC);
  v->s.gpr[REG_ESP] = STACK3 + 4; /* two words: no multiple of 8 is needed */
  put_frame(CODE, CODE3, 0, 0, 0, false);
  assert_next(x_retf(v, &i));
  v->s.gpr[REG_ESP] = STACK3 + 2;
  assert_fault(call(CODE3, 0), VEC_AC, 0);
  v->cr0 &= ~(uint32_t)CR0_AM;
  assert_next(call(CODE3, 0));
}

static void expand_down_stack(void **state) {
  gdt(DATA0_16, 0, 0x7fff, 0x0097); /* valid: 8000h-FFFFh */
  force_segment(SEG_SS, DATA0_16);
  v->s.gpr[REG_ESP] = 0x8008;
  assert_next(call(CODE0, 0));
  assert_fault(call(CODE0, 0), VEC_SS, 0);
  v->s.gpr[REG_ESP] = 0x10000;
  assert_next(call(CODE0, 0));
  assert_int_equal(v->s.gpr[REG_ESP], 0x1fff8);
}

static void sysenter_sysexit(void **state) {
  struct insn i = an_insn(4);
  go_ring(3);
  assert_fault(x_sysenter(v, &i), VEC_GP, 0);
  v->sysenter_cs = 0x60 | 3;
  v->sysenter_esp = 0x12340;
  v->sysenter_eip = 0x56780;
  vcpu_set_eflags(v, FLAG_IF | FLAG_TF | FLAG_CF);
  assert_next(x_sysenter(v, &i));
  assert_int_equal(v->cpl, 0);
  assert_int_equal(v->s.seg[SEG_CS].selector, 0x60);
  assert_int_equal(v->s.seg[SEG_CS].attr, 0xc09b);
  assert_int_equal(v->s.seg[SEG_SS].selector, 0x68);
  assert_int_equal(v->s.gpr[REG_ESP], 0x12340);
  assert_int_equal(v->s.eip, 0x56780);
  assert_int_equal(vcpu_eflags(v), FLAG_TF | FLAG_CF | 2);
  v->s.gpr[REG_ECX] = 0x777;
  v->s.gpr[REG_EDX] = 0x888;
  assert_next(x_sysexit(v, &i));
  assert_int_equal(v->cpl, 3);
  assert_int_equal(v->s.seg[SEG_CS].selector, 0x73);
  assert_int_equal(v->s.seg[SEG_CS].attr, 0xc0fb);
  assert_int_equal(v->s.seg[SEG_SS].selector, 0x7b);
  assert_int_equal(v->s.seg[SEG_SS].attr, 0xc0f3);
  assert_int_equal(v->s.eip, 0x888);
  assert_int_equal(v->s.gpr[REG_ESP], 0x777);
  assert_fault(x_sysexit(v, &i), VEC_GP, 0);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
    world_test(code_segment_checks),
    world_test(jump_loads_cs),
    world_test(far_pointer_in_memory),
    world_test(call_and_retf_same_level),
    world_test(call_stack_faults),
    world_test(call_gate_checks),
    world_test(call_gate_inner_copies_parameters),
    world_test(call_gate_16_bit),
    world_test(call_gate_31_parameters),
    world_test(call_gate_inner_stack_checks),
    world_test(call_gate_conforming_keeps_the_stack),
    world_test(return_checks),
    world_test(return_stack_limits),
    world_test(iret_to_ring3),
    world_test(iret_to_a_16_bit_stack_leaks_esp),
    world_test(iret_privilege_of_flags),
    world_test(iret_16_bit_keeps_the_upper_flags),
    world_test(iret_same_flat_segment_keeps_the_mode),
    world_test(iret_to_v86_and_back),
    world_test(iret_in_v86),
    world_test(real_mode_far),
    world_test(leaving_protected_mode),
    world_test(limits_are_the_last_valid_byte),
    world_test(frames_are_alignment_checked_by_word),
    world_test(expand_down_stack),
    world_test(sysenter_sysexit),
  };
  if (argc > 1) cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
