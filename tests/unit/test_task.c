// sources: monitor/segment.c monitor/selector.c monitor/frame.c monitor/far.c monitor/iret.c monitor/task.c monitor/deliver.c
// sources: monitor/vcpu.c
/* Task switches, and a fuzz of everything that transfers control. To run one test: test_task NAME (a cmocka filter). */
#include "vcpu_world.h"

enum { NEW_EIP = 0x23456, NEW_CR3 = 0x77000 };

/* A ring 3 task in TSS2 and a ring 0 one in the 16-bit TSS. */
static void make_tasks(void) {
  static const uint16_t segs[] = {DATA3, CODE3, DATA3, DATA3, LDT_DATA3, 0};
  static const uint16_t segs16[] = {DATA0, CODE0_16, DATA0_16, DATA0};
  put32(TSS2_AT + 0x1c, NEW_CR3);
  put32(TSS2_AT + 0x20, NEW_EIP);
  put32(TSS2_AT + 0x24, FLAG_IF | FLAG_CF | 2);
  for (uint32_t k = 0; k < 8; k++) put32(TSS2_AT + 0x28 + 4 * k, k == REG_ESP ? STACK3 : 0xa0000000u + k);
  for (uint32_t k = 0; k < 6; k++) put32(TSS2_AT + 0x48 + 4 * k, segs[k]);
  put16(TSS2_AT + 0x60, LDT_SEL);
  put32(TSS2_AT + 4, STACK0);
  put16(TSS2_AT + 8, DATA0);
  put16(TSS16_AT + 0x0e, 0x5678);
  put16(TSS16_AT + 0x10, FLAG_ZF | 2);
  for (uint32_t k = 0; k < 8; k++) put16(TSS16_AT + 0x12 + 2 * k, k == REG_ESP ? 0x7000 : 0xb000 + k);
  for (uint32_t k = 0; k < 4; k++) put16(TSS16_AT + 0x22 + 2 * k, segs16[k]);
}

static int new_tasks(void **state) {
  new_world(state);
  make_tasks();
  for (uint32_t k = 0; k < 8; k++) v->s.gpr[k] = k == REG_ESP ? STACK0 : 0xc0000000u + k;
  return 0;
}

static int far_to(uint16_t selector, bool calls) {
  struct insn i = an_insn(4);
  i.imm2 = selector;
  return calls ? x_call_far_imm(v, &i) : x_jmp_far_imm(v, &i);
}

static void assert_in_new_task(void) {
  assert_int_equal(v->s.eip, NEW_EIP);
  assert_int_equal(v->cpl, 3);
  assert_int_equal(v->tr.selector, TSS2_SEL);
  assert_int_equal(v->tr.base, TSS2_AT);
  assert_int_equal(v->tr.attr, 0x8b);
  assert_int_equal(v->ldt.selector, LDT_SEL);
  assert_int_equal(v->s.seg[SEG_FS].base, 0x20000);
  assert_int_equal(v->s.seg[SEG_GS].usable, 0);
  assert_int_equal(v->s.gpr[REG_ESP], v->fault.has_error ? STACK3 - 4 : STACK3);
  assert_int_equal(v->s.gpr[REG_EDI], 0xa0000007u);
  assert_true(v->cr0 & CR0_TS);
  assert_int_equal(type_byte(TSS2_SEL), 0x8b);
}

static void assert_old_task_saved(uint32_t eip, uint32_t eflags) {
  assert_int_equal(get32(TSS_AT + 0x20), eip);
  assert_int_equal(get32(TSS_AT + 0x24), eflags);
  assert_int_equal(get32(TSS_AT + 0x28), 0xc0000000u);
  assert_int_equal(get32(TSS_AT + 0x28 + 4 * REG_ESP), STACK0);
  assert_int_equal(get32(TSS_AT + 0x48 + 4 * SEG_CS), 0xeeee0000u | CODE0); /* the reserved half is kept */
  assert_int_equal(get32(TSS_AT + 0x5c), DATA0);
}

static void jmp_to_a_tss(void **state) {
  put32(TSS_AT + 0x48 + 4 * SEG_CS, 0xeeeeeeeeu);
  v->dr[7] = 0x7ff;
  assert_next(far_to(TSS2_SEL, false));
  assert_in_new_task();
  assert_old_task_saved(CODE + 2, FLAG_IF | 2);
  assert_int_equal(vcpu_eflags(v), FLAG_IF | FLAG_CF | 2);
  assert_int_equal(type_byte(TSS_SEL), 0x89);
  assert_int_equal(v->dr[7], 0x7ff & ~0x155);
  assert_int_equal(w.paging_changes, 0);
  assert_int_equal(v->pending_db, 0);
}

static void call_links_and_iret_returns(void **state) {
  struct insn i = an_insn(4);
  put32(TSS_AT + 0x48 + 4 * SEG_CS, 0xeeeeeeeeu);
  v->cr0 |= CR0_PG;
  put32(TSS_AT + 0x1c, 0x11000);
  assert_next(far_to(TSS2_SEL, true));
  assert_in_new_task();
  assert_old_task_saved(CODE + 2, FLAG_IF | 2);
  assert_int_equal(v->cr3, NEW_CR3);
  assert_int_equal(w.paging_changes, 1);
  assert_int_equal(vcpu_eflags(v), FLAG_IF | FLAG_CF | FLAG_NT | 2);
  assert_int_equal(type_byte(TSS_SEL), 0x8b);
  assert_int_equal(get16(TSS2_AT), TSS_SEL);
  v->s.eip += 0x10;
  assert_next(x_iret(v, &i));
  assert_int_equal(v->s.eip, CODE + 2);
  assert_int_equal(v->cpl, 0);
  assert_int_equal(v->tr.selector, TSS_SEL);
  assert_int_equal(vcpu_eflags(v), FLAG_IF | 2);
  assert_int_equal(type_byte(TSS2_SEL), 0x89);
  assert_int_equal(type_byte(TSS_SEL), 0x8b);
  assert_int_equal(get32(TSS2_AT + 0x20), NEW_EIP + 0x12);
  assert_int_equal(get32(TSS2_AT + 0x24), FLAG_IF | FLAG_CF | 2); /* NT cleared in the image */
  assert_int_equal(v->s.gpr[REG_EBX], 0xc0000003u);
  assert_int_equal(v->cr3, 0x11000);
}

static void task_gate_in_gdt(void **state) {
  put_gate(GDT_AT + TASK_GATE, TSS2_SEL, 0, SYS_TASK_GATE, 0, 0);
  go_ring(3);
  assert_fault(far_to(TASK_GATE, true), VEC_GP, TASK_GATE);
  go_ring(0);
  assert_fault(far_to(TASK_GATE | 1, true), VEC_GP, TASK_GATE);
  forget_present(GDT_AT + TASK_GATE);
  assert_fault(far_to(TASK_GATE, true), VEC_NP, TASK_GATE);
  put_gate(GDT_AT + TASK_GATE, TSS_SEL, 0, SYS_TASK_GATE, 0, 0);
  assert_fault(far_to(TASK_GATE, true), VEC_GP, TSS_SEL); /* busy */
  put_gate(GDT_AT + TASK_GATE, TSS2_SEL, 0, SYS_TASK_GATE, 0, 0);
  forget_present(GDT_AT + TSS2_SEL);
  assert_fault(far_to(TASK_GATE, true), VEC_NP, TSS2_SEL);
  gdt(TSS2_SEL, TSS2_AT, 0x67, 0x89);
  assert_next(far_to(TASK_GATE, true));
  assert_int_equal(v->tr.selector, TSS2_SEL);
}

static void faults_before_the_switch_change_nothing(void **state) {
  static const struct {
    uint32_t page;
    uint8_t how;
    uint32_t error;
  } pages[] = {
    {TSS2_AT, PAGE_UNREADABLE, 0}, {TSS_AT, PAGE_UNWRITABLE, 2}, {TSS2_AT, PAGE_UNWRITABLE, 2}, {GDT_AT, PAGE_UNWRITABLE, 2}};
  static struct world before;
  for (unsigned k = 0; k < 5; k++) {
    new_tasks(NULL);
    if (k < 4) w.pages[pages[k].page >> 12] = pages[k].how;
    else gdt(TSS2_SEL, TSS2_AT, 0x66, 0x89);
    before = w;
    assert_fault(far_to(TSS2_SEL, true), k < 4 ? VEC_PF : VEC_TS, k < 4 ? pages[k].error : TSS2_SEL);
    before.v.fault = v->fault;
    assert_memory_equal(before.mem, w.mem, MEMORY);
    assert_memory_equal(&before.v, v, sizeof *v);
  }
}

static void faults_after_the_switch_are_the_new_tasks(void **state) {
  static const struct {
    uint32_t at;
    uint16_t value;
    enum vector vector;
    uint32_t error;
  } rows[] = {
    {0x60, BEYOND, VEC_TS, BEYOND},
    {0x60, LDT_DATA3, VEC_TS, 4},
    {0x60, DATA0, VEC_TS, DATA0},
    {0x4c, 0, VEC_TS, 0},
    {0x4c, BEYOND, VEC_TS, BEYOND},
    {0x4c, DATA3, VEC_TS, DATA3 & ~3},
    {0x4c, CODE0 | 3, VEC_TS, CODE0},
    {0x4c, ABSENT_CODE, VEC_NP, ABSENT_CODE},
    {0x50, 0, VEC_TS, 0},
    {0x50, DATA0, VEC_TS, DATA0},
    {0x50, DATA3 & ~3, VEC_TS, DATA3 & ~3},
    {0x50, ABSENT3, VEC_SS, ABSENT3 & ~3},
    {0x54, DATA0, VEC_TS, DATA0},
    {0x54, EXEC_ONLY, VEC_TS, EXEC_ONLY},
    {0x54, ABSENT3, VEC_NP, ABSENT3 & ~3},
    {0x58, BEYOND, VEC_TS, BEYOND},
    {0x5c, TSS_SEL, VEC_TS, TSS_SEL},
  };
  for (unsigned k = 0; k < sizeof rows / sizeof rows[0]; k++) {
    new_tasks(NULL);
    put16(TSS2_AT + rows[k].at, rows[k].value);
    assert_fault(far_to(TSS2_SEL, true), rows[k].vector, rows[k].error);
    assert_int_equal(v->s.eip, NEW_EIP);
    assert_int_equal(v->tr.selector, TSS2_SEL);
    assert_int_equal(get32(TSS_AT + 0x20), CODE + 2);
  }
  new_tasks(NULL);
  put32(TSS2_AT + 0x4c, SHORT_CODE); /* ring 0, EIP beyond its limit */
  put32(TSS2_AT + 0x50, DATA0);
  assert_fault(far_to(TSS2_SEL, false), VEC_GP, 0);
  new_tasks(NULL);
  v->cr0 |= CR0_PG;
  w.bad_pdptes = true;
  assert_fault(far_to(TSS2_SEL, false), VEC_GP, 0);
  assert_int_equal(v->cr3, 0);
}

static void iret_link_checks(void **state) {
  static const struct {
    uint16_t link;
    enum vector vector;
    uint32_t error;
  } rows[] = {{0, VEC_TS, 0},
              {BEYOND, VEC_TS, BEYOND},
              {LDT_DATA3, VEC_TS, 4},
              {TSS2_SEL, VEC_TS, TSS2_SEL} /* not busy */,
              {CODE0, VEC_TS, CODE0}};
  struct insn i = an_insn(4);
  vcpu_set_eflags(v, FLAG_NT);
  for (unsigned k = 0; k < sizeof rows / sizeof rows[0]; k++) {
    put16(TSS_AT, rows[k].link);
    assert_fault(x_iret(v, &i), rows[k].vector, rows[k].error);
    assert_int_equal(v->s.eip, CODE);
  }
  put16(TSS_AT, TSS2_SEL);
  gdt(TSS2_SEL, TSS2_AT, 0x67, 0x0b);
  assert_fault(x_iret(v, &i), VEC_NP, TSS2_SEL);
}

static void interrupt_task_gate_with_error_code(void **state) {
  put_gate(IDT_AT + 8 * VEC_DF, TSS2_SEL, 0, SYS_TASK_GATE, 0, 0);
  v->fault = (struct fault){.vector = VEC_DF, .has_error = true};
  assert_next(deliver_fault(v));
  assert_in_new_task();
  assert_int_equal(get32(STACK3 - 4), 0);
  assert_int_equal(get32(TSS_AT + 0x20), CODE); /* of the fault, not the next */
  assert_true(v->s.sys_flags & FLAG_NT);
  assert_int_equal(get16(TSS2_AT), TSS_SEL);
}

static void int_n_through_a_task_gate_fails_in_the_new_task(void **state) {
  struct insn i = an_insn(4);
  put_gate(IDT_AT + 8 * 0x80, TSS2_SEL, 0, SYS_TASK_GATE, 0, 0);
  put16(TSS2_AT + 0x54, BEYOND); /* DS */
  i.imm = 0x80;
  assert_int_equal(x_int(v, &i), EXEC_FAULT);
  assert_next(deliver_fault(v));
  assert_int_equal(get32(TSS_AT + 0x20), CODE + 2);
  assert_int_equal(v->s.eip, HANDLER + VEC_TS);
  assert_int_equal(get32(STACK0 - 24), BEYOND);
  assert_int_equal(get32(STACK0 - 20), NEW_EIP);
}

/* What goes wrong in a task that an external interrupt switched to has EXT set. */
static void interrupt_into_a_broken_task_has_ext(void **state) {
  static const struct {
    uint32_t at;
    uint16_t value;
    enum vector vector;
    uint32_t error;
  } rows[] = {
    {0x60, BEYOND, VEC_TS, BEYOND},
    {0x60, DATA3, VEC_TS, DATA3 & ~3},
    {0x60, LDT_DATA3, VEC_TS, 4},
    {0x4c, BEYOND | 3, VEC_TS, BEYOND},
    {0x4c, DATA3, VEC_TS, DATA3 & ~3},
    {0x4c, ABSENT_CODE | 3, VEC_NP, ABSENT_CODE},
    {0x4c, 3, VEC_TS, 0},
    {0x50, BEYOND, VEC_TS, BEYOND},
    {0x50, ABSENT3, VEC_SS, ABSENT3 & ~3},
    {0x54, BEYOND, VEC_TS, BEYOND},
    {0x54, EXEC_ONLY, VEC_TS, EXEC_ONLY},
    {0x54, ABSENT3, VEC_NP, ABSENT3 & ~3},
  };
  for (unsigned k = 0; k < sizeof rows / sizeof rows[0]; k++) {
    new_tasks(NULL);
    put_gate(IDT_AT + 8 * 0x30, TSS2_SEL, 0, SYS_TASK_GATE, 0, 0);
    gdt(ABSENT_CODE, 0, 0xfffff, 0xc07b); /* ring 3, which leaves for a stack that is there */
    put16(TSS2_AT + rows[k].at, rows[k].value);
    assert_next(deliver_interrupt(v, 0x30));
    assert_int_equal(v->s.eip, HANDLER + rows[k].vector);
    assert_int_equal(get32(v->s.gpr[REG_ESP]), rows[k].error | 1);
  }
}

static void ldt_of_the_new_task_must_be_present(void **state) {
  forget_present(GDT_AT + LDT_SEL);
  assert_fault(far_to(TSS2_SEL, false), VEC_TS, LDT_SEL);
  new_tasks(NULL);
  v->tr.limit = 0x66; /* no room to save the old one */
  assert_fault(far_to(TSS2_SEL, false), VEC_TS, TSS_SEL);
  assert_int_equal(v->tr.selector, TSS_SEL);
}

static void switch_to_a_286_task_and_back(void **state) {
  struct insn i = an_insn(2);
  put32(TSS_AT + 0x48 + 4 * SEG_CS, 0xeeeeeeeeu);
  assert_next(far_to(TSS16_SEL, true));
  assert_old_task_saved(CODE + 2, FLAG_IF | 2);
  assert_int_equal(v->s.eip, 0x5678);
  assert_int_equal(v->s.gpr[REG_EDX], 0xffffb002u);
  assert_int_equal(v->s.seg[SEG_SS].selector, DATA0_16);
  assert_int_equal(v->s.seg[SEG_GS].usable, 0);
  assert_int_equal(v->ldt.usable, 0);
  assert_int_equal(vcpu_eflags(v), FLAG_ZF | FLAG_NT | 2);
  assert_int_equal(type_byte(TSS16_SEL), 0x83);
  assert_int_equal(get16(TSS16_AT), TSS_SEL);
  v->s.gpr[REG_ECX] = 0x1234;
  assert_next(x_iret(v, &i));
  assert_int_equal(v->s.eip, CODE + 2);
  assert_int_equal(get16(TSS16_AT + 0x0e), 0x567a);
  assert_int_equal(get16(TSS16_AT + 0x14), 0x1234);
  assert_int_equal(get16(TSS16_AT + 0x24), CODE0_16);
  assert_int_equal(type_byte(TSS16_SEL), 0x81);
}

static void switch_to_a_v86_task_with_debug_trap(void **state) {
  put32(TSS2_AT + 0x24, FLAG_VM | FLAG_IF | 2);
  put16(TSS2_AT + 0x64, 1);
  put16(TSS2_AT + 0x4c, 0x2000);
  put32(TSS2_AT + 0x20, 0x10);
  assert_next(far_to(TSS2_SEL, false));
  assert_true(vcpu_v86(v));
  assert_int_equal(v->s.seg[SEG_CS].base, 0x20000);
  assert_int_equal(v->cpl, 3);
  assert_int_equal(v->pending_db, 1 << 15);
}

/* ---- fuzz: whatever the tables hold, a fault changes nothing (I1) and nothing crashes (I6) ---- */

static uint64_t random_state;
static uint32_t random32(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return (uint32_t)(random_state >> 16);
}
static uint16_t random_selector(void) {
  static const uint16_t useful[] = {CODE0,    DATA0,     CODE3, DATA3,     CODE1,       DATA1,
                                    TSS2_SEL, TSS16_SEL, GATE,  TASK_GATE, CONFORMING0, LDT_DATA3};
  if (random32() % 4) return useful[random32() % (sizeof useful / sizeof useful[0])];
  return (uint16_t)((random32() % 0x108 & ~4u) | (random32() % 8 == 0 ? 4 : 0));
}

/* Plausible descriptors: mostly present, of every type, with bases in or just out of memory. */
static void random_descriptor(uint32_t at) {
  uint32_t r = random32(), attr = (r & 0x1f) | (r >> 5 & 3) << 5 | (r >> 7 & 7 ? 0x80 : 0) | (r >> 10 & 1 ? 0x4000 : 0) |
                                  (r >> 11 & 1 ? 0x8000 : 0);
  uint32_t base = r >> 12 & 1 ? 0 : random32() % (MEMORY + 0x4000);
  if (attr & ATTR_S) put_descriptor(at, base, r >> 13 & 3 ? 0xfffff : random32() & 0xfffff, attr);
  else if (r >> 15 & 1) put_gate(at, random_selector(), random32() & 0x1ffff, attr & 15, attr >> 5 & 3, random32() & 31);
  else put_descriptor(at, random32() % MEMORY, random32() % 0x100, attr & 0xff);
}

static void random_world(void) {
  new_tasks(NULL);
  put_gate(GDT_AT + GATE, random_selector(), HANDLER, random32() % 4 ? SYS_CALL32 : SYS_CALL16, 3, random32() & 31);
  put_gate(GDT_AT + TASK_GATE, random32() % 2 ? TSS2_SEL : TSS16_SEL, 0, SYS_TASK_GATE, 3, 0);
  for (uint32_t k = 1; k < 32; k++)
    if (random32() % 16 == 0) random_descriptor(GDT_AT + 8 * k);
  for (uint32_t k = 0; k < 64; k++)
    if (random32() % 4 == 0)
      put_gate(IDT_AT + 8 * k, random_selector(), random32() & 0x1ffff,
               (unsigned[]){SYS_TASK_GATE, SYS_INT16, SYS_TRAP16, SYS_INT32, SYS_TRAP32}[random32() % 5], random32() & 3, 0);
  unsigned ring = (unsigned[]){0, 0, 1, 3, 3}[random32() % 5];
  if (random32() % 6 == 0) go_v86(random32() & 3);
  else if (random32() % 12 == 0) go_real();
  else go_ring(ring);
  for (uint32_t at = STACK0 - 64; at < STACK0 + 64; at += 4) {
    put32(at, random32() % 2 ? random_selector() : random32());
    put32(at - STACK0 + STACK3, random32() % 2 ? random_selector() : random32());
    put32(at - STACK0 + STACK1, random32() % 2 ? random_selector() : random32() & 0xffff);
  }
  for (uint32_t at = 0; at < 0x68; at += 4)
    if (random32() % 32 == 0) put32(TSS2_AT + at, random32() % 2 ? random_selector() : random32());
  put16(TSS_AT, random_selector());
  if (random32() % 8 == 0) v->s.gpr[REG_ESP] = random32() % 16;
  if (random32() % 4 == 0) v->s.sys_flags |= random32() & (FLAG_NT | FLAG_TF | FLAG_RF | FLAG_IOPL);
  for (unsigned k = random32() % 5 == 0 ? random32() % 3 : 0; k > 0; k--) w.pages[random32() % 16] = (uint8_t)(random32() & 3);
}

static struct insn random_insn(void) {
  struct insn i = an_insn(random32() % 2 ? 4 : 2);
  i.has_mem = random32() % 2;
  i.seg = SEG_DS;
  i.disp = random32() % 4 ? STACK0 - 8 : (int32_t)(random32() % MEMORY);
  i.reg = random32() & 7;
  i.rm = random32() & 7;
  i.imm = random32() & 0x1ffff;
  i.imm2 = random_selector();
  i.imm_size = random32() % 2 ? 2 : 0;
  i.sreg = random32() & 7;
  return i;
}

static void fuzz_faults_change_nothing(void **state) {
  static int (*const functions[])(struct vcpu *, const struct insn *) = {
    x_mov_to_seg, x_mov_from_seg, x_load_far, x_push_seg, x_pop_seg, x_jmp_far_imm, x_jmp_far_mem, x_call_far_imm, x_call_far_mem,
    x_retf,       x_iret,         x_int,      x_bound,    x_arpl,    x_lar,         x_lsl,         x_verr,         x_verw,
    x_lgdt,       x_lidt,         x_sgdt,     x_sidt,     x_lldt,    x_ltr,         x_sldt,        x_str,          x_sysenter,
    x_sysexit,    x_cli,          x_sti,      x_pushf,    x_popf,    x_iret,        x_retf,        x_call_far_imm, x_jmp_far_imm};
  static struct world before;
  unsigned faults = 0, successes = 0, switches = 0, stops = 0;
  random_state = 0x9e3779b97f4a7c15ull;
  for (unsigned round = 0; round < 12000; round++) {
    random_world();
    struct insn i = random_insn();
    for (unsigned r = 0; r < 8; r++)
      if (r != REG_ESP && random32() % 2) v->s.gpr[r] = random_selector();
    before = w;
    int result = functions[random32() % (sizeof functions / sizeof functions[0])](v, &i);
    bool switched = v->cr0 & CR0_TS;
    switches += switched;
    successes += result == EXEC_NEXT;
    faults += result == EXEC_FAULT;
    if (result != EXEC_FAULT) continue;
    if (!v->fault.trap && !switched) {
      before.v.fault = v->fault;
      before.v.nmi_blocked = v->nmi_blocked;
      assert_memory_equal(&before.v, v, sizeof *v);
      assert_memory_equal(before.mem, w.mem, MEMORY);
    }
    result = deliver_fault(v);
    assert_true(result == EXEC_NEXT || (result == EXEC_STOP && w.triple_faults == 1));
    stops += result == EXEC_STOP;
  }
  print_message("%u faults, %u successes, %u switches, %u shutdowns\n", faults, successes, switches, stops);
  assert_true(faults > 2000 && successes > 1000 && switches > 100 && stops > 20); /* the fuzz reaches what it is for */
}

#define task_test(name) cmocka_unit_test_setup(name, new_tasks)
int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
    task_test(jmp_to_a_tss),
    task_test(call_links_and_iret_returns),
    task_test(task_gate_in_gdt),
    task_test(faults_before_the_switch_change_nothing),
    task_test(faults_after_the_switch_are_the_new_tasks),
    task_test(iret_link_checks),
    task_test(interrupt_task_gate_with_error_code),
    task_test(int_n_through_a_task_gate_fails_in_the_new_task),
    task_test(interrupt_into_a_broken_task_has_ext),
    task_test(ldt_of_the_new_task_must_be_present),
    task_test(switch_to_a_286_task_and_back),
    task_test(switch_to_a_v86_task_with_debug_trap),
    task_test(fuzz_faults_change_nothing),
  };
  if (argc > 1) cmocka_set_test_filter(argv[1]);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
