// sources: monitor/segment.c monitor/selector.c monitor/frame.c monitor/far.c monitor/iret.c monitor/task.c monitor/deliver.c
// sources: monitor/vcpu.c
/* Exceptions and interrupts through gates and the vector table. To run one test: test_deliver NAME (a cmocka filter). */
#include "vcpu_world.h"

static int raise(enum vector vector, bool has_error, uint32_t error) {
  v->fault = (struct fault){.vector = (uint8_t)vector, .has_error = has_error, .error = error, .cr2 = {0x1234567}};
  return deliver_fault(v);
}

static void fault_same_level_32(void **state) {
  vcpu_set_eflags(v, FLAG_IF | FLAG_TF | FLAG_NT | FLAG_CF);
  assert_next(raise(VEC_GP, true, 0x58));
  assert_int_equal(v->s.gpr[REG_ESP], STACK0 - 16);
  assert_int_equal(get32(STACK0 - 16), 0x58);
  assert_int_equal(get32(STACK0 - 12), CODE);
  assert_int_equal(get32(STACK0 - 8), CODE0);
  assert_int_equal(get32(STACK0 - 4), (FLAG_IF | FLAG_TF | FLAG_NT | FLAG_CF | FLAG_RF | 2));
  assert_int_equal(vcpu_eflags(v), FLAG_CF | 2);
  assert_int_equal(v->s.eip, HANDLER + VEC_GP);
  assert_int_equal(v->s.seg[SEG_CS].selector, CODE0);
}

static void trap_gate_keeps_if(void **state) {
  idt(VEC_UD, CODE0, SYS_TRAP32, 0);
  assert_next(raise(VEC_UD, false, 0));
  assert_int_equal(v->s.if_flag, FLAG_IF);
  assert_int_equal(v->s.gpr[REG_ESP], STACK0 - 12);
}

static void page_fault_from_ring3(void **state) {
  go_ring(3);
  v->mode_dirty = false;
  assert_next(raise(VEC_PF, true, 6));
  assert_int_equal(v->cr2, 0x1234567);
  assert_int_equal(v->cpl, 0);
  assert_true(v->mode_dirty);
  assert_int_equal(v->s.seg[SEG_SS].selector, DATA0);
  assert_int_equal(v->s.seg[SEG_DS].selector, DATA3); /* left alone */
  assert_int_equal(v->s.gpr[REG_ESP], STACK0 - 24);
  static const uint32_t frame[] = {6, CODE, CODE3, FLAG_IF | FLAG_RF | 2, STACK3, DATA3};
  assert_memory_equal(w.mem + STACK0 - 24, frame, sizeof frame);
}

static void interrupt_from_ring3_pushes_no_rf(void **state) {
  go_ring(3);
  v->halted = v->inhibit_irq = true;
  assert_next(deliver_interrupt(v, 0x30));
  static const uint32_t frame[] = {CODE, CODE3, FLAG_IF | 2, STACK3, DATA3};
  assert_memory_equal(w.mem + STACK0 - 20, frame, sizeof frame);
  assert_int_equal(v->s.eip, HANDLER + 0x30);
  assert_false(v->halted || v->inhibit_irq || v->s.if_flag);
}

static void gate_16_bit_to_ring1(void **state) {
  go_ring(3);
  idt(0x30, CODE1, SYS_INT16, 0);
  put32(IDT_AT + 8 * 0x30 + 4, get32(IDT_AT + 8 * 0x30 + 4) | 0xdead0000u); /* not part of a 16-bit gate's offset */
  assert_next(deliver_interrupt(v, 0x30));
  assert_int_equal(v->cpl, 1);
  assert_int_equal(v->s.eip, (HANDLER + 0x30) & 0xffff);
  assert_int_equal(v->s.gpr[REG_ESP], STACK1 - 10);
  static const uint16_t frame[] = {CODE & 0xffff, CODE3, FLAG_IF | 2, STACK3 & 0xffff, DATA3};
  assert_memory_equal(w.mem + STACK1 - 10, frame, sizeof frame);
  assert_int_equal(v->s.seg[SEG_CS].selector, CODE1);
}

static void conforming_handler_stays_at_cpl3(void **state) {
  go_ring(3);
  idt(0x30, CONFORMING0, SYS_INT32, 0);
  assert_next(deliver_interrupt(v, 0x30));
  assert_int_equal(v->cpl, 3);
  assert_int_equal(v->s.seg[SEG_CS].selector, CONFORMING0 | 3);
  assert_int_equal(v->s.gpr[REG_ESP], STACK3 - 12);
}

static void stack_16_bit_wraps_while_pushing(void **state) {
  force_segment(SEG_SS, DATA0_16);
  v->s.gpr[REG_ESP] = 0x77770004;
  assert_next(deliver_interrupt(v, 0x30));
  assert_int_equal(v->s.gpr[REG_ESP], 0x7777fff8);
  assert_int_equal(get32(0xfff8), CODE);
  assert_int_equal(get32(0xfffc), CODE0);
  assert_int_equal(get32(0), FLAG_IF | 2);
}

/* What delivering `vector` runs into is delivered in its place: its vector and error code are on the stack. */
static void assert_nested(int result, enum vector vector, uint32_t error) {
  assert_int_equal(result, EXEC_NEXT);
  assert_int_equal(v->s.eip, HANDLER + vector);
  assert_int_equal(get32(v->s.gpr[REG_ESP]), error);
}

static void interrupt_gate_checks(void **state) {
  static const struct {
    uint16_t code;
    unsigned type;
    enum vector vector;
    uint32_t error;
  } rows[] = {
    {CODE0, SYS_CALL32, VEC_GP, 0x183},
    {CODE0, 0, VEC_GP, 0x183},
    {0, SYS_INT32, VEC_GP, 1},
    {BEYOND, SYS_INT32, VEC_GP, BEYOND | 1},
    {DATA0, SYS_INT32, VEC_GP, DATA0 | 1},
    {CODE3, SYS_INT32, VEC_GP, (CODE3 & ~3) | 1},
    {ABSENT_CODE, SYS_INT32, VEC_NP, ABSENT_CODE | 1},
    {TSS_SEL, SYS_INT32, VEC_GP, TSS_SEL | 1},
    {SHORT_CODE, SYS_INT32, VEC_GP, 1},
    {TSS_SEL, SYS_TASK_GATE, VEC_GP, TSS_SEL | 1},
    {0, SYS_TASK_GATE, VEC_GP, 1},
    {LDT_DATA3, SYS_TASK_GATE, VEC_GP, 5},
  };
  for (unsigned k = 0; k < sizeof rows / sizeof rows[0]; k++) {
    new_world(NULL);
    idt(0x30, rows[k].code, rows[k].type, 0);
    assert_nested(deliver_interrupt(v, 0x30), rows[k].vector, rows[k].error);
    assert_int_equal(get32(v->s.gpr[REG_ESP] + 4), CODE);
  }
  new_world(NULL);
  forget_present(IDT_AT + 8 * 0x30);
  assert_nested(deliver_interrupt(v, 0x30), VEC_NP, 0x183);
  new_world(NULL);
  v->idt.limit = 8 * 0x30 + 6;
  assert_nested(deliver_interrupt(v, 0x30), VEC_GP, 0x183);
  v->idt.limit = 8 * 0x30 + 7;
  assert_next(deliver_interrupt(v, 0x30));
  assert_int_equal(v->s.eip, HANDLER + 0x30);
}

static void inner_stack_checks(void **state) {
  static const struct {
    uint16_t ss;
    enum vector vector;
    uint32_t error;
  } rows[] = {
    {0, VEC_TS, 1},
    {BEYOND | 1, VEC_TS, BEYOND | 1},
    {DATA0, VEC_TS, DATA0 | 1},
    {DATA1 & ~3, VEC_TS, (DATA1 & ~3) | 1},
    {CODE1, VEC_TS, (CODE1 & ~3) | 1},
    {(ABSENT3 & ~3) | 1, VEC_SS, (ABSENT3 & ~3) | 1},
  };
  for (unsigned k = 0; k < sizeof rows / sizeof rows[0]; k++) {
    new_world(NULL);
    gdt(ABSENT3, 0, 0xfffff, 0xc033); /* DPL 1 here */
    go_ring(3);
    idt(0x30, CODE1, SYS_INT32, 0);
    put16(TSS_AT + 16, rows[k].ss);
    assert_nested(deliver_interrupt(v, 0x30), rows[k].vector, rows[k].error);
    assert_int_equal(get32(v->s.gpr[REG_ESP] + 8), CODE3);
  }
}

static void tss_too_short_for_the_stack(void **state) {
  go_ring(3);
  idt(0x30, CODE1, SYS_INT32, 0);
  v->tr.limit = 18; /* SS1 ends at 17, its slot at 19 */
  assert_nested(deliver_interrupt(v, 0x30), VEC_TS, TSS_SEL | 1);
  go_ring(3);
  v->tr.limit = 19;
  assert_next(deliver_interrupt(v, 0x30));
  assert_int_equal(v->cpl, 1);
}

static void no_room_on_the_inner_stack(void **state) {
  go_ring(3);
  idt(0x30, CODE1, SYS_INT32, 0);
  gdt(DATA1, 0, 0xfff, 0x40b3); /* limit far below ESP1 */
  assert_nested(deliver_interrupt(v, 0x30), VEC_SS, (DATA1 & ~3) | 1);
}

static void inner_stack_16_bit_tss(void **state) {
  go_ring(3);
  v->tr = (struct tr_segment){TSS16_AT, 0x2b, TSS16_SEL, 0x83, 1};
  put16(TSS16_AT + 2, 0x7000);
  put16(TSS16_AT + 4, DATA0_16);
  v->s.gpr[REG_ESP] = 0x5555c000;
  assert_next(deliver_interrupt(v, 0x30));
  assert_int_equal(v->s.gpr[REG_ESP], 0x55557000 - 20);
  assert_int_equal(get32(0x7000 - 8), 0x5555c000);
}

/* ---- software interrupts ---- */

static int software(unsigned vector) {
  struct insn i = an_insn(4);
  i.imm = vector;
  int result = x_int(v, &i);
  return result == EXEC_FAULT ? deliver_fault(v) : result;
}

static void int_pushes_the_next_instruction(void **state) {
  go_ring(3);
  idt(0x80, CODE0, SYS_TRAP32, 3);
  vcpu_set_eflags(v, FLAG_IF | FLAG_RF);
  assert_next(software(0x80));
  assert_int_equal(get32(STACK0 - 20), CODE + 2);
  assert_int_equal(get32(STACK0 - 12), FLAG_IF | 2); /* no RF */
  assert_int_equal(v->s.if_flag, FLAG_IF);
}

static void int_gate_dpl(void **state) {
  go_ring(3);
  assert_nested(software(0x80), VEC_GP, 0x402);         /* EXT clear */
  assert_int_equal(get32(v->s.gpr[REG_ESP] + 4), CODE); /* the INT itself */
  assert_int_equal(get32(v->s.gpr[REG_ESP] + 12), FLAG_IF | FLAG_RF | 2);
}

static void int_absent_gate_has_no_ext(void **state) {
  forget_present(IDT_AT + 8 * 0x80);
  assert_nested(software(0x80), VEC_NP, 0x402);
  new_world(NULL);
  idt(0x80, ABSENT_CODE, SYS_INT32, 0);
  assert_nested(software(0x80), VEC_NP, ABSENT_CODE);
}

static void int3_into_int1(void **state) {
  struct insn i = an_insn(4);
  i.length = 1;
  assert_next(x_into(v, &i));
  assert_int_equal(v->s.eip, CODE + 1);
  v->s.eip = CODE;
  v->s.flags = FLAG_OF;
  assert_int_equal(x_into(v, &i), EXEC_FAULT);
  assert_next(deliver_fault(v));
  assert_int_equal(v->s.eip, HANDLER + VEC_OF);
  assert_int_equal(get32(v->s.gpr[REG_ESP]), CODE + 1);
  go_ring(3);
  assert_int_equal(x_int3(v, &i), EXEC_FAULT);
  assert_nested(deliver_fault(v), VEC_GP, VEC_BP << 3 | 2);
  go_ring(3);
  assert_int_equal(x_int1(v, &i), EXEC_FAULT); /* privileged event: DPL 0 gate is fine */
  assert_next(deliver_fault(v));
  assert_int_equal(v->s.eip, HANDLER + VEC_DB);
  assert_int_equal(get32(v->s.gpr[REG_ESP]), CODE + 1);
}

static void bound_is_signed(void **state) {
  static const struct {
    uint32_t index;
    unsigned size;
    int result;
  } rows[] = {{0xfffffff0u, 4, EXEC_NEXT},  {0x10, 4, EXEC_NEXT},       {0x11, 4, EXEC_FAULT},
              {0xffffffefu, 4, EXEC_FAULT}, {0x7fff0005, 2, EXEC_NEXT}, {0x7fff8000, 2, EXEC_FAULT}};
  struct insn i = an_insn(4);
  i.has_mem = true;
  i.disp = 0x20000;
  for (unsigned k = 0; k < sizeof rows / sizeof rows[0]; k++) {
    i.operand_size = (uint8_t)rows[k].size;
    put32(0x20000, rows[k].size == 4 ? 0xfffffff0u : 0x0010fff0);
    put32(0x20004, 0x10);
    v->s.gpr[REG_EAX] = rows[k].index;
    v->s.eip = CODE;
    assert_int_equal(x_bound(v, &i), rows[k].result);
    if (rows[k].result == EXEC_FAULT) assert_int_equal(v->fault.vector, VEC_BR);
  }
}

/* ---- a second fault ---- */

static void contributory_pair_is_a_double_fault(void **state) {
  forget_present(IDT_AT + 8 * VEC_GP);
  assert_nested(raise(VEC_GP, true, 0x10), VEC_DF, 0);
  assert_int_equal(get32(v->s.gpr[REG_ESP] + 4), CODE);
}

static void page_fault_then_page_fault(void **state) {
  idt(VEC_DF, CODE0, SYS_INT32, 0);
  go_ring(3);
  put32(IDT_AT + 8 * VEC_PF, (uint32_t)CODE1 << 16); /* its handler runs on a stack that is not there */
  put32(TSS_AT + 12, 0x3e000);
  w.pages[0x3d] = PAGE_UNWRITABLE;
  assert_nested(raise(VEC_PF, true, 4), VEC_DF, 0);
  assert_int_equal(v->cr2, 0x3e000 - 4); /* the second one's, and of the first word pushed */
  assert_int_equal(v->s.gpr[REG_ESP], STACK0 - 24);
}

static void benign_then_page_fault_is_serial(void **state) {
  go_ring(3);
  put32(IDT_AT + 8 * VEC_UD, (uint32_t)CODE1 << 16);
  put32(TSS_AT + 12, 0x3e000);
  w.pages[0x3d] = PAGE_UNWRITABLE;
  assert_nested(raise(VEC_UD, false, 0), VEC_PF, 2);
  assert_int_equal(v->cr2, 0x3e000 - 4);
}

static void triple_fault(void **state) {
  v->idt.limit = 0;
  assert_int_equal(raise(VEC_GP, true, 0), EXEC_STOP);
  assert_int_equal(w.triple_faults, 1);
  new_world(NULL);
  w.pages[(STACK0 - 1) >> 12] = PAGE_UNWRITABLE;
  assert_int_equal(deliver_interrupt(v, 0x30), EXEC_STOP);
  assert_int_equal(w.triple_faults, 1);
  assert_int_equal(v->s.gpr[REG_ESP], STACK0);
}

static void alignment_checks_do_not_nest_for_ever(void **state) {
  go_ring(3);
  v->cr0 |= CR0_AM;
  vcpu_set_eflags(v, FLAG_AC);
  v->s.gpr[REG_ESP] = STACK3 - 2;
  idt(VEC_AC, CONFORMING0, SYS_INT32, 0);
  assert_int_equal(raise(VEC_AC, true, 0), EXEC_STOP);
  assert_int_equal(w.triple_faults, 1);
}

static void debug_exceptions(void **state) {
  v->dr[7] |= 1 << 13;
  v->dr[6] = 0xffff0ff0u;
  v->fault = (struct fault){.vector = VEC_DB, .dr6 = 1 << 14, .trap = true};
  assert_next(deliver_fault(v));
  assert_int_equal(v->dr[6], 0xffff4ff0u);
  assert_int_equal(v->dr[7], 0x400);
  assert_int_equal(get32(v->s.gpr[REG_ESP] + 8), FLAG_IF | 2);
  v->fault = (struct fault){.vector = VEC_DB, .dr6 = 1}; /* instruction breakpoint: a fault without RF */
  assert_next(deliver_fault(v));
  assert_false(get32(v->s.gpr[REG_ESP] + 8) & FLAG_RF);
  v->fault = (struct fault){.vector = VEC_DB, .dr6 = 1 << 13};
  assert_next(deliver_fault(v));
  assert_true(get32(v->s.gpr[REG_ESP] + 8) & FLAG_RF);
}

static void nmi_blocks_until_iret(void **state) {
  struct insn i = an_insn(4);
  v->nmi_pending = true;
  assert_next(deliver_nmi(v));
  assert_int_equal(v->s.eip, HANDLER + 2);
  assert_true(v->nmi_blocked && !v->nmi_pending);
  assert_next(x_iret(v, &i));
  assert_false(v->nmi_blocked);
  assert_int_equal(v->s.eip, CODE);
}

/* ---- V86 and real mode ---- */

static void v86_interrupt(void **state) {
  go_v86(0);
  assert_next(deliver_interrupt(v, 0x30));
  static const uint32_t frame[] = {0x123, 0x101, FLAG_VM | FLAG_IF | 2, 0x800, 0x102, 0x100, 0x103, 0x104, 0x105};
  assert_memory_equal(w.mem + STACK0 - 36, frame, sizeof frame);
  assert_int_equal(v->s.gpr[REG_ESP], STACK0 - 36);
  assert_int_equal(v->cpl, 0);
  assert_false(vcpu_v86(v));
  for (unsigned seg = 0; seg < 6; seg++) assert_int_equal(v->s.seg[seg].usable, seg == SEG_CS || seg == SEG_SS);
}

static void v86_int_needs_iopl3(void **state) {
  struct insn i = an_insn(2);
  go_v86(2);
  i.imm = 0x21;
  assert_fault(x_int(v, &i), VEC_GP, 0);
  assert_int_equal(v->s.eip, 0x123);
  assert_int_equal(x_int3(v, &i), EXEC_FAULT);
  assert_int_equal(v->fault.vector, VEC_BP);
  go_v86(3);
  idt(0x21, CODE0, SYS_INT32, 3);
  assert_next(software(0x21));
  assert_int_equal(get32(STACK0 - 36), 0x125);
}

static void v86_leaves_to_level_0_only(void **state) {
  go_v86(3);
  idt(0x30, CODE1, SYS_INT32, 0);
  assert_nested(deliver_interrupt(v, 0x30), VEC_GP, (CODE1 & ~3) | 1);
  new_world(NULL);
  go_v86(3);
  idt(0x30, CONFORMING0, SYS_INT32, 0);
  assert_nested(deliver_interrupt(v, 0x30), VEC_GP, CONFORMING0 | 1);
}

static void real_mode_vector_table(void **state) {
  go_real();
  vcpu_set_eflags(v, FLAG_IF | FLAG_TF | FLAG_AC | FLAG_ZF);
  put32(0x30 * 4, 0x20001234);
  v->s.seg[SEG_CS].selector = 0x777;
  assert_next(deliver_interrupt(v, 0x30));
  assert_int_equal(v->s.eip, 0x1234);
  assert_int_equal(v->s.seg[SEG_CS].base, 0x20000);
  assert_int_equal(v->s.gpr[REG_ESP], STACK0 - 6);
  assert_int_equal(get16(STACK0 - 6), 0x100);
  assert_int_equal(get16(STACK0 - 4), 0x777);
  assert_int_equal(get16(STACK0 - 2), FLAG_IF | FLAG_TF | FLAG_ZF | 2);
  assert_int_equal(vcpu_eflags(v), FLAG_ZF | 2);
}

static void real_mode_has_no_error_codes(void **state) {
  go_real();
  put32(VEC_GP * 4, 0x20001234);
  assert_next(raise(VEC_GP, true, 0));
  assert_int_equal(v->s.gpr[REG_ESP], STACK0 - 6);
}

static void real_mode_short_table(void **state) {
  go_real();
  v->idt.limit = 0x30 * 4 + 2;
  put32(VEC_GP * 4, 0x30000001);
  assert_next(deliver_interrupt(v, 0x30));
  assert_int_equal(v->s.seg[SEG_CS].selector, 0x3000);
  go_real();
  v->idt.limit = 0x30 * 4 + 3;
  put32(0x30 * 4, 0x20001234);
  assert_next(deliver_interrupt(v, 0x30));
  assert_int_equal(v->s.seg[SEG_CS].selector, 0x2000);
  v->s.gpr[REG_ESP] = 1; /* a word at FFFFh does not fit: #SS, #DF, shutdown */
  assert_int_equal(deliver_interrupt(v, 0), EXEC_STOP);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
    world_test(fault_same_level_32),
    world_test(trap_gate_keeps_if),
    world_test(page_fault_from_ring3),
    world_test(interrupt_from_ring3_pushes_no_rf),
    world_test(gate_16_bit_to_ring1),
    world_test(conforming_handler_stays_at_cpl3),
    world_test(stack_16_bit_wraps_while_pushing),
    world_test(interrupt_gate_checks),
    world_test(inner_stack_checks),
    world_test(tss_too_short_for_the_stack),
    world_test(no_room_on_the_inner_stack),
    world_test(inner_stack_16_bit_tss),
    world_test(int_pushes_the_next_instruction),
    world_test(int_gate_dpl),
    world_test(int_absent_gate_has_no_ext),
    world_test(int3_into_int1),
    world_test(bound_is_signed),
    world_test(contributory_pair_is_a_double_fault),
    world_test(page_fault_then_page_fault),
    world_test(benign_then_page_fault_is_serial),
    world_test(triple_fault),
    world_test(alignment_checks_do_not_nest_for_ever),
    world_test(debug_exceptions),
    world_test(nmi_blocks_until_iret),
    world_test(v86_interrupt),
    world_test(v86_int_needs_iopl3),
    world_test(v86_leaves_to_level_0_only),
    world_test(real_mode_vector_table),
    world_test(real_mode_has_no_error_codes),
    world_test(real_mode_short_table),
  };
  if (argc > 1) cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
