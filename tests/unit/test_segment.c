// sources: monitor/segment.c monitor/selector.c monitor/frame.c monitor/far.c monitor/iret.c monitor/task.c monitor/deliver.c
// sources: monitor/vcpu.c
/* Segment registers, selectors and EFLAGS. To run one test: test_segment NAME (a cmocka filter). */
#include "vcpu_world.h"

static int load(unsigned seg, uint16_t selector) {
  struct insn i = an_insn(4);
  i.reg = (uint8_t)seg;
  i.rm = REG_ECX;
  v->s.gpr[REG_ECX] = 0xabcd0000u | selector;
  return x_mov_to_seg(v, &i);
}

static void load_flat_data(void **state) {
  w.writes = 0;
  assert_next(load(SEG_ES, DATA3));
  assert_int_equal(v->s.eip, CODE + 2);
  assert_int_equal(v->s.seg[SEG_ES].selector, DATA3);
  assert_int_equal(v->s.seg[SEG_ES].limit, 0xffffffffu);
  assert_int_equal(v->s.seg[SEG_ES].attr, 0xc0f3);
  assert_int_equal(w.writes, 0); /* accessed already */
}

static void load_sets_accessed_bit(void **state) {
  gdt(DATA3, 0x123456, 0x1234, 0x40f2);
  assert_next(load(SEG_FS, DATA3));
  assert_int_equal(type_byte(DATA3), 0xf3);
  assert_int_equal(v->s.seg[SEG_FS].base, 0x123456);
  assert_int_equal(v->s.seg[SEG_FS].limit, 0x1234);
  assert_int_equal(v->s.seg[SEG_FS].attr, 0x40f3);
  assert_true(v->mode_dirty);
}

static void load_accessed_bit_page_fault_changes_nothing(void **state) {
  gdt(DATA3, 0, 0xfffff, 0xc0f2);
  w.pages[GDT_AT >> 12] = PAGE_UNWRITABLE;
  assert_fault(load(SEG_FS, DATA3), VEC_PF, 2);
  assert_int_equal(v->fault.cr2.v, GDT_AT + (DATA3 & ~7) + 5);
  assert_int_equal(v->s.seg[SEG_FS].selector, DATA0);
  assert_int_equal(v->s.eip, CODE);
}

static void load_null_is_not_usable(void **state) {
  for (unsigned selector = 0; selector < 4; selector++) {
    assert_next(load(SEG_GS, (uint16_t)selector));
    assert_int_equal(v->s.seg[SEG_GS].usable, 0);
    assert_int_equal(v->s.seg[SEG_GS].selector, selector);
    assert_fault(load(SEG_SS, (uint16_t)selector), VEC_GP, 0);
  }
}

static void load_data_checks(void **state) {
  assert_fault(load(SEG_DS, BEYOND), VEC_GP, BEYOND);
  assert_fault(load(SEG_DS, TSS_SEL), VEC_GP, TSS_SEL);
  assert_fault(load(SEG_DS, EXEC_ONLY), VEC_GP, EXEC_ONLY);
  assert_fault(load(SEG_DS, ABSENT3), VEC_NP, ABSENT3 & ~3);
  assert_fault(load(SEG_DS, DATA0 | 3), VEC_GP, DATA0); /* RPL over DPL */
  assert_next(load(SEG_DS, CODE0));                     /* readable code */
  assert_next(load(SEG_DS, READ_ONLY));
  go_ring(3);
  assert_fault(load(SEG_DS, DATA0), VEC_GP, DATA0); /* CPL over DPL */
  assert_fault(load(SEG_DS, DATA1), VEC_GP, DATA1 & ~3);
  assert_next(load(SEG_DS, CONFORMING0 | 3)); /* conforming code: no privilege */
  assert_int_equal(load(SEG_CS, CODE3), EXEC_FAULT);
  assert_int_equal(v->fault.vector, VEC_UD);
}

static void load_limit_of_table_is_exact(void **state) {
  v->gdt.limit = (DATA3 | 7) - 1;
  assert_fault(load(SEG_DS, DATA3), VEC_GP, DATA3 & ~3);
  v->gdt.limit = DATA3 | 7;
  assert_next(load(SEG_DS, DATA3));
}

static void load_from_ldt(void **state) {
  assert_next(load(SEG_DS, LDT_DATA3));
  assert_int_equal(v->s.seg[SEG_DS].base, 0x20000);
  assert_fault(load(SEG_DS, 0x27), VEC_GP, 0x24); /* beyond its limit */
  v->ldt.usable = 0;
  assert_fault(load(SEG_DS, LDT_DATA3), VEC_GP, 4);
}

static void load_stack_checks(void **state) {
  assert_fault(load(SEG_SS, BEYOND), VEC_GP, BEYOND);
  assert_fault(load(SEG_SS, DATA0 | 3), VEC_GP, DATA0);  /* RPL */
  assert_fault(load(SEG_SS, DATA3), VEC_GP, DATA3 & ~3); /* DPL */
  assert_fault(load(SEG_SS, READ_ONLY), VEC_GP, READ_ONLY);
  assert_fault(load(SEG_SS, CODE0), VEC_GP, CODE0);
  assert_false(v->inhibit_irq);
  gdt(DATA0_16, 0, 0xffff, 0x0013);
  assert_fault(load(SEG_SS, DATA0_16), VEC_SS, DATA0_16);
  gdt(DATA0_16, 0, 0xffff, 0x0093);
  assert_next(load(SEG_SS, DATA0_16));
  assert_true(v->inhibit_irq && v->inhibit_db);
  assert_int_equal(vcpu_stack_mask(v), 0xffff);
}

static void same_flat_segment_keeps_the_mode(void **state) {
  assert_next(load(SEG_ES, DATA0));
  assert_false(v->mode_dirty);
  assert_next(load(SEG_ES, DATA0_16));
  assert_true(v->mode_dirty);
}

static void unreal_mode_keeps_the_limit(void **state) {
  go_real();
  v->s.seg[SEG_DS] = (struct tr_segment){0, 0xffffffffu, 8, 0xc093, 1};
  assert_next(load(SEG_DS, 0x1234));
  assert_int_equal(v->s.seg[SEG_DS].base, 0x12340);
  assert_int_equal(v->s.seg[SEG_DS].limit, 0xffffffffu);
  v->s.seg[SEG_ES] = (struct tr_segment){0};
  assert_next(load(SEG_ES, 0x2000));
  assert_int_equal(v->s.seg[SEG_ES].limit, 0xffff);
  assert_int_equal(v->s.seg[SEG_ES].usable, 1);
}

static void v86_load(void **state) {
  go_v86(0);
  assert_next(load(SEG_SS, 0x4321));
  assert_int_equal(v->s.seg[SEG_SS].base, 0x43210);
  assert_int_equal(v->s.seg[SEG_SS].attr, 0xf3);
  assert_int_equal(v->s.seg[SEG_SS].limit, 0xffff);
}

static void mov_from_seg_sizes(void **state) {
  struct insn i = an_insn(4);
  i.reg = SEG_DS;
  i.rm = REG_EBX;
  v->s.gpr[REG_EBX] = 0xffffffffu;
  assert_next(x_mov_from_seg(v, &i));
  assert_int_equal(v->s.gpr[REG_EBX], DATA0);
  i.operand_size = 2;
  v->s.gpr[REG_EBX] = 0xffffffffu;
  assert_next(x_mov_from_seg(v, &i));
  assert_int_equal(v->s.gpr[REG_EBX], 0xffff0000u | DATA0);
  i.operand_size = 4;
  i.has_mem = true;
  i.disp = 0x20000;
  put32(0x20000, 0xeeeeeeeeu);
  assert_next(x_mov_from_seg(v, &i));
  assert_int_equal(get32(0x20000), 0xeeee0000u | DATA0);
  i.reg = 6;
  assert_int_equal(x_mov_from_seg(v, &i), EXEC_FAULT);
  assert_int_equal(v->fault.vector, VEC_UD);
}

static void push_pop_seg_wraps_a_16_bit_stack(void **state) {
  struct insn i = an_insn(2);
  force_segment(SEG_SS, DATA0_16);
  v->s.gpr[REG_ESP] = 0x55550000;
  i.sreg = SEG_ES;
  assert_next(x_push_seg(v, &i));
  assert_int_equal(v->s.gpr[REG_ESP], 0x5555fffe);
  assert_int_equal(get16(0xfffe), DATA0);
  i.sreg = SEG_FS;
  put16(0xfffe, DATA3);
  assert_next(x_pop_seg(v, &i));
  assert_int_equal(v->s.gpr[REG_ESP], 0x55550000);
  assert_int_equal(v->s.seg[SEG_FS].selector, DATA3);
}

static void pop_ss_releases_by_the_old_stack(void **state) {
  struct insn i = an_insn(4);
  i.sreg = SEG_SS;
  put32(STACK0, 0xffff0000u | DATA0_16);
  assert_next(x_pop_seg(v, &i));
  assert_int_equal(v->s.gpr[REG_ESP], STACK0 + 4);
  assert_int_equal(v->s.seg[SEG_SS].selector, DATA0_16);
  assert_true(v->inhibit_irq && v->inhibit_db);
}

static void pop_seg_fault_keeps_esp(void **state) {
  struct insn i = an_insn(4);
  i.sreg = SEG_DS;
  put32(STACK0, BEYOND);
  assert_fault(x_pop_seg(v, &i), VEC_GP, BEYOND);
  assert_int_equal(v->s.gpr[REG_ESP], STACK0);
}

static void load_far_pointers(void **state) {
  static const uint8_t forms[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};
  for (unsigned k = 0; k < 4; k++) {
    struct insn i = an_insn(4);
    i.has_mem = true;
    i.disp = 0x20000;
    i.reg = REG_EDI;
    i.sreg = forms[k];
    put32(0x20000, 0x11223344);
    put16(0x20004, DATA3);
    assert_next(x_load_far(v, &i));
    assert_int_equal(v->s.gpr[REG_EDI], 0x11223344);
    assert_int_equal(v->s.seg[forms[k]].selector, DATA3);
    put16(0x20002, BEYOND);
    i.operand_size = 2;
    v->s.gpr[REG_EDI] = 7;
    assert_fault(x_load_far(v, &i), VEC_GP, BEYOND);
    assert_int_equal(v->s.gpr[REG_EDI], 7);
  }
}

/* ---- selector.c ---- */

static struct insn with_selector(uint16_t selector) {
  struct insn i = an_insn(4);
  i.reg = REG_EAX;
  i.rm = REG_ECX;
  v->s.gpr[REG_ECX] = selector;
  v->s.gpr[REG_EAX] = 0xdeadbeef;
  v->s.flags = 0;
  return i;
}

static void lar_and_lsl(void **state) {
  static const struct {
    uint16_t selector;
    uint8_t cpl, lar, lsl;
  } rows[] = {
    {CODE0, 0, 1, 1}, {DATA3, 3, 1, 1},   {DATA0, 3, 0, 0},     {DATA0 | 3, 0, 0, 0}, {CONFORMING0, 3, 1, 1},
    {0, 0, 0, 0},     {BEYOND, 0, 0, 0},  {TSS_SEL, 0, 1, 1},   {TSS16_SEL, 0, 1, 1}, {LDT_SEL, 0, 1, 1},
    {GATE, 0, 1, 0},  {ABSENT3, 3, 1, 1}, {TASK_GATE, 0, 1, 0},
  };
  put_gate(GDT_AT + GATE, CODE0, HANDLER, SYS_CALL32, 3, 0);
  put_gate(GDT_AT + TASK_GATE, TSS2_SEL, 0, SYS_TASK_GATE, 3, 0);
  for (unsigned k = 0; k < sizeof rows / sizeof rows[0]; k++) {
    go_ring(rows[k].cpl);
    uint32_t high = get32(GDT_AT + (rows[k].selector & 0xfff8) + 4);
    struct insn i = with_selector(rows[k].selector);
    assert_next(x_lar(v, &i));
    assert_int_equal(v->s.flags & FLAG_ZF, rows[k].lar ? FLAG_ZF : 0);
    assert_int_equal(v->s.gpr[REG_EAX], rows[k].lar ? high & 0xf0ff00 : 0xdeadbeef);
    i = with_selector(rows[k].selector);
    assert_next(x_lsl(v, &i));
    assert_int_equal(v->s.flags & FLAG_ZF, rows[k].lsl ? FLAG_ZF : 0);
    assert_int_equal(v->s.gpr[REG_EAX] != 0xdeadbeef, rows[k].lsl);
  }
  for (unsigned type = 0; type < 16; type++) { /* SDM vol. 2, tables 3-53 and 3-56 */
    go_ring(0);
    gdt(GATE, 0, 0xfff, 0x80 | type);
    struct insn i = with_selector(GATE);
    assert_next(x_lar(v, &i));
    assert_int_equal(!!(v->s.flags & FLAG_ZF), 0x1a3e >> type & 1);
    i = with_selector(GATE);
    assert_next(x_lsl(v, &i));
    assert_int_equal(!!(v->s.flags & FLAG_ZF), 0x0a0e >> type & 1);
  }
}

static void verr_and_verw(void **state) {
  static const struct {
    uint16_t selector;
    uint8_t cpl, r, w;
  } rows[] = {
    {DATA3, 3, 1, 1}, {DATA0, 3, 0, 0},       {READ_ONLY, 0, 1, 0}, {EXEC_ONLY, 0, 0, 0},
    {CODE0, 0, 1, 0}, {CONFORMING0, 3, 1, 0}, {TSS_SEL, 0, 0, 0},   {0, 0, 0, 0},
  };
  for (unsigned k = 0; k < sizeof rows / sizeof rows[0]; k++) {
    go_ring(rows[k].cpl);
    struct insn i = with_selector(rows[k].selector);
    assert_next(x_verr(v, &i));
    assert_int_equal(!!(v->s.flags & FLAG_ZF), rows[k].r);
    assert_next(x_verw(v, &i));
    assert_int_equal(!!(v->s.flags & FLAG_ZF), rows[k].w);
  }
}

static void arpl_raises_rpl_only(void **state) {
  struct insn i = an_insn(2);
  i.rm = REG_EAX;
  i.reg = REG_EDX;
  v->s.gpr[REG_EAX] = 0x99990010;
  v->s.gpr[REG_EDX] = 3;
  assert_next(x_arpl(v, &i));
  assert_int_equal(v->s.gpr[REG_EAX], 0x99990013);
  assert_true(v->s.flags & FLAG_ZF);
  v->s.gpr[REG_EDX] = 1;
  assert_next(x_arpl(v, &i));
  assert_int_equal(v->s.gpr[REG_EAX], 0x99990013);
  assert_false(v->s.flags & FLAG_ZF);
}

static void protected_only_instructions_are_ud(void **state) {
  static int (*const only[])(struct vcpu *, const struct insn *) = {x_arpl, x_lar, x_lsl,  x_verr, x_verw,
                                                                    x_lldt, x_ltr, x_sldt, x_str};
  struct insn i = an_insn(4);
  for (unsigned mode = 0; mode < 2; mode++) {
    if (mode) go_real();
    else go_v86(3);
    for (unsigned k = 0; k < sizeof only / sizeof only[0]; k++) {
      assert_int_equal(only[k](v, &i), EXEC_FAULT);
      assert_int_equal(v->fault.vector, VEC_UD);
      assert_false(v->fault.has_error);
    }
    vcpu_set_eflags(v, 0);
  }
}

static void lldt_checks(void **state) {
  struct insn i = with_selector(0);
  assert_next(x_lldt(v, &i));
  assert_int_equal(v->ldt.usable, 0);
  i = with_selector(LDT_DATA3);
  assert_fault(x_lldt(v, &i), VEC_GP, 4);
  i = with_selector(BEYOND);
  assert_fault(x_lldt(v, &i), VEC_GP, BEYOND);
  i = with_selector(TSS_SEL);
  assert_fault(x_lldt(v, &i), VEC_GP, TSS_SEL);
  i = with_selector(LDT_SEL);
  forget_present(GDT_AT + LDT_SEL);
  assert_fault(x_lldt(v, &i), VEC_NP, LDT_SEL);
  gdt(LDT_SEL, LDT_AT, 0x1f, 0x82);
  assert_next(x_lldt(v, &i));
  assert_int_equal(v->ldt.base, LDT_AT);
  go_ring(3);
  assert_fault(x_lldt(v, &i), VEC_GP, 0);
}

static void ltr_marks_busy(void **state) {
  struct insn i = with_selector(0);
  assert_fault(x_ltr(v, &i), VEC_GP, 0);
  i = with_selector(TSS_SEL);
  assert_fault(x_ltr(v, &i), VEC_GP, TSS_SEL); /* busy */
  i = with_selector(TSS2_SEL);
  w.pages[GDT_AT >> 12] = PAGE_UNWRITABLE;
  assert_fault(x_ltr(v, &i), VEC_PF, 2);
  assert_int_equal(v->tr.selector, TSS_SEL);
  w.pages[GDT_AT >> 12] = 0;
  assert_next(x_ltr(v, &i));
  assert_int_equal(type_byte(TSS2_SEL), 0x8b);
  assert_int_equal(v->tr.selector, TSS2_SEL);
  assert_int_equal(v->tr.base, TSS2_AT);
  i = with_selector(0);
  assert_next(x_str(v, &i));
  assert_int_equal(v->s.gpr[REG_ECX], TSS2_SEL);
}

static void table_registers(void **state) {
  struct insn i = an_insn(2);
  i.has_mem = true;
  i.disp = 0x20000;
  put16(0x20000, 0x1234);
  put32(0x20002, 0x89abcdef);
  assert_next(x_lidt(v, &i));
  assert_int_equal(v->idt.base, 0xabcdef); /* 24 bits */
  i.operand_size = 4;
  assert_next(x_lgdt(v, &i));
  assert_int_equal(v->gdt.base, 0x89abcdef);
  assert_int_equal(v->gdt.limit, 0x1234);
  i.disp = 0x20010;
  assert_next(x_sgdt(v, &i));
  assert_memory_equal(w.mem + 0x20000, w.mem + 0x20010, 6);
  v->cpl = 3;
  assert_fault(x_lgdt(v, &i), VEC_GP, 0);
}

/* ---- EFLAGS ---- */

static uint32_t popf(uint32_t image, unsigned size) {
  struct insn i = an_insn(size);
  put32(v->s.gpr[REG_ESP], image);
  assert_next(x_popf(v, &i));
  v->s.gpr[REG_ESP] -= size;
  return vcpu_eflags(v);
}

static void popf_if_in_ring3(void **state) {
  const uint32_t everything = 0xffffffffu;
  vcpu_set_eflags(v, 0);
  assert_int_equal(popf(everything, 4),
                   (FLAGS_ARITH | FLAG_DF | FLAG_TF | FLAG_IF | FLAG_IOPL | FLAG_NT | FLAG_AC | FLAG_ID | 2));
  assert_int_equal(popf(0, 2), (FLAG_AC | FLAG_ID | 2));
  go_ring(3);
  vcpu_set_eflags(v, 0);
  assert_int_equal(popf(everything, 4), (FLAGS_ARITH | FLAG_DF | FLAG_TF | FLAG_NT | FLAG_AC | FLAG_ID | 2));
  vcpu_set_eflags(v, FLAG_IF);
  assert_int_equal(popf(0, 4), FLAG_IF | 2);
  vcpu_set_eflags(v, FLAG_IF | FLAG_IOPL);
  assert_int_equal(popf(0, 4), FLAG_IOPL | 2);
  vcpu_set_eflags(v, FLAG_VIP | FLAG_RF);
  assert_int_equal(popf(0, 4), FLAG_VIP | 2);
}

static void pushf_hides_rf_and_vm(void **state) {
  struct insn i = an_insn(4);
  vcpu_set_eflags(v, FLAG_RF | FLAG_IF | FLAG_CF);
  assert_next(x_pushf(v, &i));
  assert_int_equal(get32(STACK0 - 4), FLAG_IF | FLAG_CF | 2);
  assert_int_equal(v->s.gpr[REG_ESP], STACK0 - 4);
  go_v86(0);
  assert_fault(x_pushf(v, &i), VEC_GP, 0);
  assert_fault(x_popf(v, &i), VEC_GP, 0);
  go_v86(3);
  assert_next(x_pushf(v, &i));
}

static void cli_sti_iopl(void **state) {
  struct insn i = an_insn(4);
  assert_next(x_cli(v, &i));
  assert_int_equal(v->s.if_flag, 0);
  assert_next(x_sti(v, &i));
  assert_true(v->inhibit_irq && !v->inhibit_db);
  v->inhibit_irq = false;
  assert_next(x_sti(v, &i));
  assert_false(v->inhibit_irq); /* IF was set: no shadow */
  go_ring(3);
  assert_fault(x_cli(v, &i), VEC_GP, 0);
  assert_fault(x_sti(v, &i), VEC_GP, 0);
  go_v86(2);
  assert_fault(x_cli(v, &i), VEC_GP, 0);
  go_v86(3);
  assert_next(x_cli(v, &i));
}

static void old_models_lack_ac_and_id(void **state) {
  v->features = 0;
  vcpu_set_eflags(v, 0xffffffffu);
  assert_false(vcpu_eflags(v) & (FLAG_AC | FLAG_ID));
  v->features = 1ull << FEAT_I486;
  vcpu_set_eflags(v, 0xffffffffu);
  assert_int_equal(vcpu_eflags(v) & (FLAG_AC | FLAG_ID), FLAG_AC);
}

static void reset_state(void **state) {
  struct cpu_model model = {.signature = 0x106ca};
  memset(v->s.gpr, 0xff, sizeof v->s.gpr);
  memset(v->dr, 0xff, sizeof v->dr);
  v->cr0 = v->cr3 = v->cr4 = v->pending_db = 0xffffffffu;
  v->halted = v->nmi_blocked = v->inhibit_irq = true;
  go_v86(3);
  v->model = &model;
  vcpu_reset(v);
  assert_int_equal(v->s.eip, 0xfff0);
  assert_int_equal(v->s.seg[SEG_CS].base, 0xffff0000u);
  assert_int_equal(v->s.seg[SEG_CS].selector, 0xf000);
  assert_int_equal(v->s.seg[SEG_GS].limit, 0xffff);
  assert_int_equal(v->s.gpr[REG_EDX], 0x106ca);
  assert_int_equal(v->s.gpr[REG_EAX] | v->s.gpr[REG_ESP], 0);
  assert_int_equal(vcpu_eflags(v), 2);
  assert_int_equal(v->cr0, 0x60000010);
  assert_int_equal(v->dr[6], 0xffff0ff0u);
  assert_int_equal(v->dr[7], 0x400);
  assert_false(v->halted || v->nmi_blocked || v->inhibit_irq || v->cpl);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
    world_test(load_flat_data),
    world_test(load_sets_accessed_bit),
    world_test(load_accessed_bit_page_fault_changes_nothing),
    world_test(load_null_is_not_usable),
    world_test(load_data_checks),
    world_test(load_limit_of_table_is_exact),
    world_test(load_from_ldt),
    world_test(load_stack_checks),
    world_test(same_flat_segment_keeps_the_mode),
    world_test(unreal_mode_keeps_the_limit),
    world_test(v86_load),
    world_test(mov_from_seg_sizes),
    world_test(push_pop_seg_wraps_a_16_bit_stack),
    world_test(pop_ss_releases_by_the_old_stack),
    world_test(pop_seg_fault_keeps_esp),
    world_test(load_far_pointers),
    world_test(lar_and_lsl),
    world_test(verr_and_verw),
    world_test(arpl_raises_rpl_only),
    world_test(protected_only_instructions_are_ud),
    world_test(lldt_checks),
    world_test(ltr_marks_busy),
    world_test(table_registers),
    world_test(popf_if_in_ring3),
    world_test(pushf_hides_rf_and_vm),
    world_test(cli_sti_iopl),
    world_test(old_models_lack_ac_and_id),
    world_test(reset_state),
  };
  if (argc > 1) cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
