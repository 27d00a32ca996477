/* Far JMP, CALL and RET: code segments, call gates (with a change of stack), task gates and TSSs. SDM vol. 2, JMP, CALL, RET;
 * vol. 3A, 5.8 and 7.2. The order of the checks is the manual's. */
#include "exec.h"
#include "segment.h"

int far_real(struct vcpu *v, uint16_t selector, uint32_t offset) {
  struct tr_segment cs = segment_real(v, SEG_CS, selector);
  if (offset > cs.limit) return fault_raise_error(v, VEC_GP, 0);
  segment_commit(v, SEG_CS, cs);
  v->s.eip = offset;
  return EXEC_NEXT;
}

static void commit_code(struct vcpu *v, const struct descriptor *code, unsigned cpl, uint32_t eip) {
  desc_set_accessed(v, code);
  segment_commit(v, SEG_CS, desc_segment(code, (uint16_t)((code->selector & 0xfffc) | cpl)));
  vcpu_set_cpl(v, cpl);
  v->s.eip = eip;
}

/* A code segment named by the instruction itself: it never changes the privilege. */
static int check_code(struct vcpu *v, const struct descriptor *code) {
  bool allowed =
    desc_is_conforming(code) ? desc_dpl(code) <= v->cpl : selector_rpl(code->selector) <= v->cpl && desc_dpl(code) == v->cpl;
  if (!allowed) return segment_fault(v, VEC_GP, code->selector, 0);
  return desc_present(code) ? EXEC_NEXT : segment_fault(v, VEC_NP, code->selector, 0);
}

static int check_gate_privilege(struct vcpu *v, const struct descriptor *gate) {
  if (desc_dpl(gate) < v->cpl || desc_dpl(gate) < selector_rpl(gate->selector))
    return segment_fault(v, VEC_GP, gate->selector, 0);
  return EXEC_NEXT;
}

/* A call gate and the code segment behind it, which JMP may not use to get to an inner level. */
static int check_call_gate(struct vcpu *v, const struct descriptor *gate, bool jump, struct descriptor *code) {
  uint16_t selector = gate_selector(gate);
  TRY(check_gate_privilege(v, gate));
  if (!desc_present(gate)) return segment_fault(v, VEC_NP, gate->selector, 0);
  if (selector_is_null(selector)) return fault_raise_error(v, VEC_GP, 0);
  TRY(desc_read(v, selector, VEC_GP, 0, code));
  if (!desc_is_code(code) || desc_dpl(code) > v->cpl || (jump && !desc_is_conforming(code) && desc_dpl(code) != v->cpl))
    return segment_fault(v, VEC_GP, selector, 0);
  return desc_present(code) ? EXEC_NEXT : segment_fault(v, VEC_NP, selector, 0);
}

/* JMP or CALL to a task gate or a TSS. */
static int far_task(struct vcpu *v, const struct insn *i, const struct descriptor *d, enum task_cause cause) {
  struct descriptor tss = *d;
  TRY(check_gate_privilege(v, d));
  if (desc_type(d) == SYS_TASK_GATE) {
    if (!desc_present(d)) return segment_fault(v, VEC_NP, d->selector, 0);
    TRY(task_check_tss(v, gate_selector(d), false, VEC_GP, 0, &tss));
  } else {
    if (d->selector & 4) return segment_fault(v, VEC_GP, d->selector, 0);
    if (!desc_present(d)) return segment_fault(v, VEC_NP, d->selector, 0);
  }
  TRY(task_switch(v, &tss, cause, 0, exec_next_eip(v, i), vcpu_eflags(v)));
  return task_check_eip(v, 0);
}

/* ---- JMP ---- */

static int jump_to(struct vcpu *v, const struct descriptor *code, uint32_t eip) {
  if (eip > desc_limit(code)) return fault_raise_error(v, VEC_GP, 0);
  TRY(desc_probe_accessed(v, code));
  commit_code(v, code, v->cpl, eip);
  return EXEC_NEXT;
}

static int far_jump(struct vcpu *v, const struct insn *i, uint16_t selector, uint32_t offset) {
  struct descriptor d, code;
  if (!vcpu_protected(v)) return far_real(v, selector, offset);
  if (selector_is_null(selector)) return fault_raise_error(v, VEC_GP, 0);
  TRY(desc_read(v, selector, VEC_GP, 0, &d));
  if (desc_is_code(&d)) {
    TRY(check_code(v, &d));
    return jump_to(v, &d, offset);
  }
  switch (desc_is_system(&d) ? desc_type(&d) : 0) {
  case SYS_CALL16:
  case SYS_CALL32: TRY(check_call_gate(v, &d, true, &code)); return jump_to(v, &code, gate_offset(&d));
  case SYS_TASK_GATE:
  case SYS_TSS16:
  case SYS_TSS32: return far_task(v, i, &d, TASK_JMP);
  default: return segment_fault(v, VEC_GP, selector, 0);
  }
}

/* ---- CALL ---- */

static int call_real(struct vcpu *v, const struct insn *i, uint16_t selector, uint32_t offset) {
  uint32_t words[2] = {exec_next_eip(v, i), v->s.seg[SEG_CS].selector};
  struct stack st = stack_current(v, 0);
  TRY(frame_reserve(v, &st, 2, i->operand_size));
  if (offset > segment_real(v, SEG_CS, selector).limit) return fault_raise_error(v, VEC_GP, 0);
  TRY(frame_store(v, &st, words, 2, i->operand_size));
  vcpu_set_sp(v, st.esp);
  return far_real(v, selector, offset);
}

/* To code that runs at the current privilege, directly or through a gate; `width` is the operand's or the gate's. */
static int call_same(struct vcpu *v, const struct insn *i, const struct descriptor *code, uint32_t eip, unsigned width) {
  uint32_t words[2] = {exec_next_eip(v, i), v->s.seg[SEG_CS].selector};
  struct stack st = stack_current(v, 0);
  TRY(frame_reserve(v, &st, 2, width));
  if (eip > desc_limit(code)) return fault_raise_error(v, VEC_GP, 0);
  TRY(desc_probe_accessed(v, code));
  TRY(frame_store(v, &st, words, 2, width));
  vcpu_set_sp(v, st.esp);
  commit_code(v, code, v->cpl, eip);
  return EXEC_NEXT;
}

/* Through a gate to an inner level: the parameters are copied from the outer stack between the two far pointers. */
static int call_inner(struct vcpu *v, const struct insn *i, const struct descriptor *gate, const struct descriptor *code) {
  uint32_t words[FRAME_WORDS], eip = gate_offset(gate);
  unsigned count = gate->high & 31, width = gate_is_32bit(gate) ? 4 : 2, dpl = desc_dpl(code);
  struct inner_stack inner;
  TRY(task_inner_stack(v, dpl, 0, &inner));
  struct stack st = {&inner.seg, inner.esp, MEM_SYSTEM, inner.seg.selector & 0xfffc};
  TRY(frame_reserve(v, &st, count + 4, width));
  if (eip > desc_limit(code)) return fault_raise_error(v, VEC_GP, 0);
  if (count) TRY(frame_read(v, 0, words + 2, count, width));
  words[0] = exec_next_eip(v, i);
  words[1] = v->s.seg[SEG_CS].selector;
  words[count + 2] = v->s.gpr[REG_ESP];
  words[count + 3] = v->s.seg[SEG_SS].selector;
  TRY(desc_probe_accessed(v, code));
  TRY(desc_probe_accessed(v, &inner.ss));
  TRY(frame_store(v, &st, words, count + 4, width));
  desc_set_accessed(v, &inner.ss);
  segment_commit(v, SEG_SS, inner.seg);
  vcpu_set_sp(v, st.esp);
  commit_code(v, code, dpl, eip);
  return EXEC_NEXT;
}

static int call_gate(struct vcpu *v, const struct insn *i, const struct descriptor *gate) {
  struct descriptor code;
  TRY(check_call_gate(v, gate, false, &code));
  if (!desc_is_conforming(&code) && desc_dpl(&code) < v->cpl) return call_inner(v, i, gate, &code);
  return call_same(v, i, &code, gate_offset(gate), gate_is_32bit(gate) ? 4 : 2);
}

static int far_call(struct vcpu *v, const struct insn *i, uint16_t selector, uint32_t offset) {
  struct descriptor d;
  if (!vcpu_protected(v)) return call_real(v, i, selector, offset);
  if (selector_is_null(selector)) return fault_raise_error(v, VEC_GP, 0);
  TRY(desc_read(v, selector, VEC_GP, 0, &d));
  if (desc_is_code(&d)) {
    TRY(check_code(v, &d));
    return call_same(v, i, &d, offset, i->operand_size);
  }
  switch (desc_is_system(&d) ? desc_type(&d) : 0) {
  case SYS_CALL16:
  case SYS_CALL32: return call_gate(v, i, &d);
  case SYS_TASK_GATE:
  case SYS_TSS16:
  case SYS_TSS32: return far_task(v, i, &d, TASK_CALL);
  default: return segment_fault(v, VEC_GP, selector, 0);
  }
}

/* ---- the instructions ---- */

static uint32_t imm_offset(const struct insn *i) { return i->operand_size == 4 ? i->imm : i->imm & 0xffff; }

static int read_pointer(struct vcpu *v, const struct insn *i, uint16_t *selector, uint32_t *offset) {
  uint8_t pointer[6] = {0};
  unsigned size = i->operand_size;
  if (!i->has_mem) return fault_raise(v, VEC_UD);
  /* two accesses, as #AC sees them: m16:16 need not be aligned to four */
  TRY(seg_read(v, i->seg, insn_offset(v, i), size, pointer));
  TRY(seg_read(v, i->seg, insn_offset(v, i) + size, 2, pointer + size));
  *selector = load16(pointer + size);
  *offset = size == 4 ? load32(pointer) : load16(pointer);
  return EXEC_NEXT;
}

int x_jmp_far_imm(struct vcpu *v, const struct insn *i) { return far_jump(v, i, i->imm2, imm_offset(i)); }
int x_call_far_imm(struct vcpu *v, const struct insn *i) { return far_call(v, i, i->imm2, imm_offset(i)); }

int x_jmp_far_mem(struct vcpu *v, const struct insn *i) {
  uint16_t selector = 0;
  uint32_t offset = 0;
  TRY(read_pointer(v, i, &selector, &offset));
  return far_jump(v, i, selector, offset);
}

int x_call_far_mem(struct vcpu *v, const struct insn *i) {
  uint16_t selector = 0;
  uint32_t offset = 0;
  TRY(read_pointer(v, i, &selector, &offset));
  return far_call(v, i, selector, offset);
}

int x_retf(struct vcpu *v, const struct insn *i) {
  unsigned width = i->operand_size;
  uint32_t words[2], release = i->imm_size ? i->imm & 0xffff : 0, depth = 2 * width + release;
  struct return_frame r;
  TRY(frame_read(v, 0, words, 2, width));
  r.eip = words[0];
  r.cs = (uint16_t)words[1];
  if (!vcpu_protected(v)) {
    TRY(far_real(v, r.cs, r.eip));
    vcpu_set_sp(v, v->s.gpr[REG_ESP] + depth);
    return EXEC_NEXT;
  }
  TRY(return_check(v, &r, depth, width, release));
  return_commit(v, &r);
  return EXEC_NEXT;
}
