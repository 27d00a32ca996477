/* Events: exceptions, software interrupts, external interrupts and NMIs through the IDT or the real-mode vector table.
 * SDM vol. 3A, chapter 6 and 20.1.4, 20.3; vol. 2, INT n. Also the instructions that raise events: INT, INT3, INTO, INT1, BOUND.
 *
 * An attempt to deliver either succeeds or changes nothing (but for a task gate, after whose switch a fault is the new task's)
 * and leaves a second fault; deliver() then decides by table 6-5 what becomes of the pair, in a loop with a bound: a real CPU
 * can be made to raise benign faults for ever (#AC on its own stack), this one shuts down (I6). */
#include "exec.h"
#include "segment.h"

enum { ERROR_IDT = 2, DR6_BD = 1 << 13, DR7_GD = 1 << 13, MAX_NESTING = 16 };

/* One attempt. */
struct event {
  uint8_t vector;
  bool exception; /* counts for table 6-5: not an interrupt, not INT n */
  bool software;  /* INT n, INT3, INTO: the gate's DPL is checked */
  bool has_error;
  uint32_t error;
  uint32_t ext;         /* bit 0 of the error codes of what goes wrong meanwhile */
  uint32_t eip, eflags; /* as they are pushed */
};

static uint16_t idt_error(const struct event *e) { return (uint16_t)(e->vector << 3 | ERROR_IDT | e->ext); }

/* ---- real mode (20.1.4) ---- */

static int deliver_real(struct vcpu *v, const struct event *e) {
  uint32_t pointer = 0, words[3] = {e->eip, v->s.seg[SEG_CS].selector, e->eflags};
  struct stack st = stack_current(v, 0);
  if (e->vector * 4u + 3 > v->idt.limit) return fault_raise_error(v, VEC_GP, idt_error(e));
  TRY(mem_read(v, dtable_linear(&v->idt, e->vector * 4u), 4, MEM_SYSTEM, &pointer));
  TRY(frame_reserve(v, &st, 3, 2));
  TRY(frame_store(v, &st, words, 3, 2));
  vcpu_set_sp(v, st.esp);
  segment_commit(v, SEG_CS, segment_real(v, SEG_CS, (uint16_t)(pointer >> 16)));
  v->s.eip = pointer & 0xffff;
  vcpu_set_eflags(v, vcpu_eflags(v) & ~(uint32_t)(FLAG_IF | FLAG_TF | FLAG_AC | FLAG_RF));
  return EXEC_NEXT;
}

/* ---- interrupt and trap gates (6.12.1) ---- */

static void enter_handler(struct vcpu *v, const struct descriptor *gate, const struct descriptor *code, unsigned cpl) {
  uint32_t sys = v->s.sys_flags & ~(uint32_t)(FLAG_TF | FLAG_NT | FLAG_VM | FLAG_RF);
  v->mode_dirty |= sys != v->s.sys_flags;
  v->s.sys_flags = sys;
  if (!(desc_type(gate) & 1)) /* interrupt gates are the even types */
    v->s.if_flag = 0;
  desc_set_accessed(v, code);
  segment_commit(v, SEG_CS, desc_segment(code, (uint16_t)((code->selector & 0xfffc) | cpl)));
  vcpu_set_cpl(v, cpl);
  v->s.eip = gate_offset(gate);
}

/* [error] EIP CS EFLAGS; returns the number of words. */
static unsigned return_words(const struct vcpu *v, const struct event *e, uint32_t *words) {
  unsigned n = 0;
  if (e->has_error) words[n++] = e->error;
  words[n++] = e->eip;
  words[n++] = v->s.seg[SEG_CS].selector;
  words[n++] = e->eflags;
  return n;
}

static int deliver_same(struct vcpu *v, const struct event *e, const struct descriptor *gate, const struct descriptor *code) {
  uint32_t words[4];
  unsigned n = return_words(v, e, words), width = gate_is_32bit(gate) ? 4 : 2;
  struct stack st = stack_current(v, e->ext);
  TRY(frame_reserve(v, &st, n, width));
  if (gate_offset(gate) > desc_limit(code)) return fault_raise_error(v, VEC_GP, e->ext);
  TRY(desc_probe_accessed(v, code));
  TRY(frame_store(v, &st, words, n, width));
  vcpu_set_sp(v, st.esp);
  enter_handler(v, gate, code, v->cpl);
  return EXEC_NEXT;
}

static int deliver_inner(struct vcpu *v, const struct event *e, const struct descriptor *gate, const struct descriptor *code) {
  static const uint8_t v86_order[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};
  uint32_t words[10];
  unsigned n = return_words(v, e, words), width = gate_is_32bit(gate) ? 4 : 2, dpl = desc_dpl(code);
  bool from_v86 = vcpu_v86(v);
  struct inner_stack inner;
  TRY(task_inner_stack(v, dpl, e->ext, &inner));
  words[n++] = v->s.gpr[REG_ESP];
  words[n++] = v->s.seg[SEG_SS].selector;
  for (unsigned k = 0; from_v86 && k < 4; k++) words[n++] = v->s.seg[v86_order[k]].selector;
  struct stack st = {&inner.seg, inner.esp, MEM_SYSTEM, (inner.seg.selector & 0xfffcu) | e->ext};
  TRY(frame_reserve(v, &st, n, width));
  if (gate_offset(gate) > desc_limit(code)) return fault_raise_error(v, VEC_GP, e->ext);
  TRY(desc_probe_accessed(v, code));
  TRY(desc_probe_accessed(v, &inner.ss));
  TRY(frame_store(v, &st, words, n, width));
  desc_set_accessed(v, &inner.ss);
  segment_commit(v, SEG_SS, inner.seg);
  vcpu_set_sp(v, st.esp);
  for (unsigned k = 0; from_v86 && k < 4; k++) segment_commit(v, v86_order[k], segment_null(0));
  enter_handler(v, gate, code, dpl);
  return EXEC_NEXT;
}

static int deliver_gate(struct vcpu *v, const struct event *e, const struct descriptor *gate) {
  uint16_t selector = gate_selector(gate);
  struct descriptor code;
  if (selector_is_null(selector)) return fault_raise_error(v, VEC_GP, e->ext);
  TRY(desc_read(v, selector, VEC_GP, e->ext, &code));
  if (!desc_is_code(&code) || desc_dpl(&code) > v->cpl) return segment_fault(v, VEC_GP, selector, e->ext);
  if (!desc_present(&code)) return segment_fault(v, VEC_NP, selector, e->ext);
  bool inner = !desc_is_conforming(&code) && desc_dpl(&code) < v->cpl;
  if (vcpu_v86(v) && (!inner || desc_dpl(&code) != 0)) /* 20.3.1: V86 leaves to level 0 only */
    return segment_fault(v, VEC_GP, selector, e->ext);
  return inner ? deliver_inner(v, e, gate, &code) : deliver_same(v, e, gate, &code);
}

/* ---- task gates (6.12.2) ---- */

static int deliver_task(struct vcpu *v, const struct event *e, const struct descriptor *gate) {
  struct descriptor tss;
  TRY(task_check_tss(v, gate_selector(gate), false, VEC_GP, e->ext, &tss));
  TRY(task_switch(v, &tss, TASK_CALL, e->ext, e->eip, e->eflags));
  if (e->has_error) {
    unsigned width = v->tr.attr & SYS_32BIT ? 4 : 2;
    struct stack st = stack_current(v, e->ext);
    TRY(frame_reserve(v, &st, 1, width));
    TRY(frame_store(v, &st, &e->error, 1, width));
    vcpu_set_sp(v, st.esp);
  }
  return task_check_eip(v, e->ext);
}

static int deliver_protected(struct vcpu *v, const struct event *e) {
  const unsigned gates = 1 << SYS_TASK_GATE | 1 << SYS_INT16 | 1 << SYS_TRAP16 | 1 << SYS_INT32 | 1u << SYS_TRAP32;
  struct descriptor gate = {0};
  uint64_t raw = 0;
  if (e->vector * 8u + 7 > v->idt.limit) return fault_raise_error(v, VEC_GP, idt_error(e));
  TRY(mem_read(v, dtable_linear(&v->idt, e->vector * 8u), 8, MEM_SYSTEM, &raw));
  gate.low = (uint32_t)raw;
  gate.high = (uint32_t)(raw >> 32);
  if (!desc_is_system(&gate) || !(gates >> desc_type(&gate) & 1)) return fault_raise_error(v, VEC_GP, idt_error(e));
  if (e->software && desc_dpl(&gate) < v->cpl) return fault_raise_error(v, VEC_GP, idt_error(e));
  if (!desc_present(&gate)) return fault_raise_error(v, VEC_NP, idt_error(e));
  return desc_type(&gate) == SYS_TASK_GATE ? deliver_task(v, e, &gate) : deliver_gate(v, e, &gate);
}

/* ---- what becomes of a fault, and of a second one (6.15, table 6-5) ---- */

/* RF in the image (17.3.1.1): set by faults, so that the restarted instruction does not hit its breakpoint again, but not by the
 * breakpoint itself; traps and aborts push what is there, and a software interrupt is a finished instruction. */
static uint32_t pushed_eflags(const struct vcpu *v, const struct fault *f) {
  uint32_t eflags = vcpu_eflags(v);
  if (f->software) return eflags & ~(uint32_t)FLAG_RF;
  if (f->trap || f->vector == VEC_DF || f->vector == VEC_MC || (f->vector == VEC_DB && !(f->dr6 & DR6_BD))) return eflags;
  return eflags | FLAG_RF;
}

/* What v->fault does by being recognised, delivered or not: CR2 and DR6. */
static struct event recognise_fault(struct vcpu *v) {
  const struct fault *f = &v->fault;
  if (f->vector == VEC_PF) v->cr2 = (uint32_t)f->cr2.v;
  if (f->vector == VEC_DB) v->dr[6] |= f->dr6;
  struct event e = {.vector = f->vector,
                    .exception = !f->software,
                    .software = f->software,
                    .has_error = f->has_error,
                    .error = f->error,
                    .ext = !f->software,
                    .eip = v->s.eip,
                    .eflags = pushed_eflags(v, f)};
  if (f->software) /* from here on EIP is where a fault of the delivery is reported: exec_next_eip() undone */
    v->s.eip -= f->length;
  return e;
}

enum fault_class { BENIGN, CONTRIBUTORY, PAGE_FAULT, DOUBLE_FAULT };

static enum fault_class class_of(const struct event *e) {
  const unsigned contributory = 1 << VEC_DE | 1 << VEC_TS | 1 << VEC_NP | 1 << VEC_SS | 1 << VEC_GP;
  if (!e->exception || e->vector > 31) return BENIGN;
  if (e->vector == VEC_DF) return DOUBLE_FAULT;
  if (e->vector == VEC_PF) return PAGE_FAULT;
  return contributory >> e->vector & 1 ? CONTRIBUTORY : BENIGN;
}

static bool makes_double_fault(enum fault_class first, enum fault_class second) {
  return first == CONTRIBUTORY ? second == CONTRIBUTORY : first == PAGE_FAULT && second != BENIGN;
}

static int shut_down(struct vcpu *v) {
  vcpu_park_fp(v);
  machine_triple_fault(v->machine);
  return EXEC_STOP;
}

static void delivered(struct vcpu *v, const struct event *e) {
  v->halted = v->inhibit_irq = v->inhibit_db = false;
  if (e->exception && e->vector == VEC_DB && (v->dr[7] & DR7_GD)) { /* 17.2.4: the handler may use the debug registers */
    v->dr[7] &= ~(uint32_t)DR7_GD;
    v->mode_dirty = true;
  }
}

static int deliver(struct vcpu *v, struct event e) {
  for (unsigned round = 0; round < MAX_NESTING; round++) {
    int result = vcpu_real_mode(v) ? deliver_real(v, &e) : deliver_protected(v, &e);
    if (result == EXEC_NEXT) delivered(v, &e);
    if (result != EXEC_FAULT) return result;
    struct event second = recognise_fault(v);
    if (class_of(&e) == DOUBLE_FAULT && class_of(&second) != BENIGN) return shut_down(v);
    if (makes_double_fault(class_of(&e), class_of(&second))) {
      fault_raise_error(v, VEC_DF, 0);
      second = recognise_fault(v);
    }
    e = second;
  }
  return shut_down(v);
}

int deliver_fault(struct vcpu *v) { return deliver(v, recognise_fault(v)); }

int deliver_interrupt(struct vcpu *v, uint8_t vector) {
  return deliver(v, (struct event){.vector = vector, .ext = 1, .eip = v->s.eip, .eflags = vcpu_eflags(v)});
}

int deliver_nmi(struct vcpu *v) {
  v->nmi_pending = false;
  v->nmi_blocked = v->mode_dirty = true;
  return deliver_interrupt(v, VEC_NMI);
}

/* ---- instructions that raise events ---- */

static int software_interrupt(struct vcpu *v, const struct insn *i, uint8_t vector) {
  v->fault = (struct fault){.vector = vector, .trap = true, .software = true, .length = i->length};
  v->s.eip = exec_next_eip(v, i);
  return EXEC_FAULT;
}

/* In V86 mode INT n, but neither INT3 nor INTO, depends on IOPL (20.3). */
int x_int(struct vcpu *v, const struct insn *i) {
  if (vcpu_v86(v) && vcpu_iopl(v) < 3) return fault_raise_error(v, VEC_GP, 0);
  return software_interrupt(v, i, (uint8_t)i->imm);
}

int x_int3(struct vcpu *v, const struct insn *i) { return software_interrupt(v, i, VEC_BP); }

int x_into(struct vcpu *v, const struct insn *i) {
  if (v->s.flags & FLAG_OF) return software_interrupt(v, i, VEC_OF);
  return exec_done(v, i);
}

/* ICEBP: a #DB trap that sets nothing in DR6 and does not look at the gate's DPL. */
int x_int1(struct vcpu *v, const struct insn *i) {
  v->fault = (struct fault){.vector = VEC_DB, .trap = true};
  v->s.eip = exec_next_eip(v, i);
  return EXEC_FAULT;
}

int x_bound(struct vcpu *v, const struct insn *i) {
  uint8_t bounds[8] = {0};
  unsigned size = i->operand_size;
  if (!i->has_mem) return fault_raise(v, VEC_UD);
  TRY(seg_read(v, i->seg, insn_offset(v, i), size, bounds)); /* two accesses: each has its alignment (#AC) and its limit */
  TRY(seg_read(v, i->seg, insn_offset(v, i) + size, size, bounds + size));
  int32_t low = size == 4 ? (int32_t)load32(bounds) : (int16_t)load16(bounds);
  int32_t high = size == 4 ? (int32_t)load32(bounds + 4) : (int16_t)load16(bounds + 2);
  int32_t index = size == 4 ? (int32_t)v->s.gpr[i->reg] : (int16_t)v->s.gpr[i->reg];
  if (index < low || index > high) return fault_raise(v, VEC_BR);
  return exec_done(v, i);
}
