/* Returns to the same and to outer levels: IRET in all its forms, what RETF shares with it, and SYSENTER/SYSEXIT.
 * SDM vol. 2, IRET, RET, SYSENTER, SYSEXIT; vol. 3A, 6.12 and 20.2. IRET to an outer level ends every system call, interrupt and
 * page fault of a guest: two stack reads, two descriptors, no write. */
#include "exec.h"
#include "segment.h"

static int check_outer_stack(struct vcpu *v, struct return_frame *r, uint32_t depth, unsigned width) {
  uint32_t words[2];
  TRY(frame_read(v, depth, words, 2, width));
  r->esp = words[0];
  r->ss = (uint16_t)words[1];
  TRY(segment_check_stack(v, r->ss, selector_rpl(r->cs), VEC_GP, 0, &r->stack));
  return desc_probe_accessed(v, &r->stack);
}

int return_check(struct vcpu *v, struct return_frame *r, uint32_t depth, unsigned width, uint32_t release) {
  struct descriptor *code = &r->code;
  unsigned rpl = selector_rpl(r->cs);
  if (selector_is_null(r->cs)) return fault_raise_error(v, VEC_GP, 0);
  TRY(desc_read(v, r->cs, VEC_GP, 0, code));
  if (!desc_is_code(code) || rpl < v->cpl || (desc_is_conforming(code) ? desc_dpl(code) > rpl : desc_dpl(code) != rpl))
    return segment_fault(v, VEC_GP, r->cs, 0);
  if (!desc_present(code)) return segment_fault(v, VEC_NP, r->cs, 0);
  r->outer = rpl > v->cpl;
  r->esp = v->s.gpr[REG_ESP] + depth;
  if (r->outer) {
    TRY(check_outer_stack(v, r, depth, width));
    r->esp += release;
  }
  if (r->eip > desc_limit(code)) return fault_raise_error(v, VEC_GP, 0);
  return desc_probe_accessed(v, code);
}

/* A data segment of an inner level must not stay loaded (SDM vol. 3A, 5.8.6). */
static void drop_inner_segment(struct vcpu *v, unsigned seg) {
  const struct tr_segment *s = &v->s.seg[seg];
  bool conforming_code = (s->attr & (ATTR_CODE | ATTR_CONFORMING)) == (ATTR_CODE | ATTR_CONFORMING);
  if (s->usable && (unsigned)(s->attr >> 5 & 3) < v->cpl && !conforming_code) segment_commit(v, seg, segment_null(0));
}

void return_commit(struct vcpu *v, const struct return_frame *r) {
  desc_set_accessed(v, &r->code);
  segment_commit(v, SEG_CS, desc_segment(&r->code, r->cs));
  v->s.eip = r->eip;
  if (r->outer) {
    desc_set_accessed(v, &r->stack);
    segment_commit(v, SEG_SS, desc_segment(&r->stack, r->ss));
    vcpu_set_cpl(v, selector_rpl(r->cs));
    drop_inner_segment(v, SEG_ES);
    drop_inner_segment(v, SEG_DS);
    drop_inner_segment(v, SEG_FS);
    drop_inner_segment(v, SEG_GS);
  }
  vcpu_set_sp(v, r->esp);
}

/* EFLAGS after an IRET of the current level that pops `image`. VM is not among them: only RETURN-TO-VIRTUAL-8086-MODE sets it. */
static uint32_t iret_eflags(const struct vcpu *v, uint32_t image, unsigned width) {
  uint32_t mask = FLAGS_ARITH | FLAG_DF | FLAG_TF | FLAG_NT | FLAG_RF | FLAG_AC | FLAG_ID;
  if (v->cpl <= vcpu_iopl(v)) mask |= FLAG_IF;
  if (v->cpl == 0) mask |= FLAG_IOPL | (vcpu_protected(v) ? FLAG_VIF | FLAG_VIP : 0);
  if (width == 2) mask &= 0xffff;
  return (vcpu_eflags(v) & ~mask) | (image & mask);
}

static int iret_real(struct vcpu *v, unsigned width) {
  uint32_t words[3];
  if (vcpu_v86(v) && vcpu_iopl(v) < 3) return fault_raise_error(v, VEC_GP, 0);
  TRY(frame_read(v, 0, words, 3, width));
  TRY(far_real(v, (uint16_t)words[1], words[0]));
  vcpu_set_sp(v, v->s.gpr[REG_ESP] + 3 * width);
  vcpu_set_eflags(v, iret_eflags(v, words[2], width));
  return EXEC_NEXT;
}

static int iret_to_v86(struct vcpu *v) {
  static const uint8_t order[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};
  uint32_t words[9]; /* EIP CS EFLAGS ESP SS ES DS FS GS */
  TRY(frame_read(v, 0, words, 9, 4));
  if (words[0] > 0xffff) return fault_raise_error(v, VEC_GP, 0);
  vcpu_set_eflags(v, words[2]);
  vcpu_set_cpl(v, 3);
  segment_commit(v, SEG_CS, segment_v86((uint16_t)words[1]));
  segment_commit(v, SEG_SS, segment_v86((uint16_t)words[4]));
  for (unsigned k = 0; k < 4; k++) segment_commit(v, order[k], segment_v86((uint16_t)words[5 + k]));
  v->s.eip = words[0];
  v->s.gpr[REG_ESP] = words[3];
  return EXEC_NEXT;
}

/* NT: back to the task that the current TSS's link names. */
static int iret_task(struct vcpu *v, const struct insn *i) {
  uint16_t link = 0;
  struct descriptor tss;
  TRY(mem_read(v, segment_linear(&v->tr, 0), 2, MEM_SYSTEM, &link));
  TRY(task_check_tss(v, link, true, VEC_TS, 0, &tss));
  TRY(task_switch(v, &tss, TASK_IRET, 0, exec_next_eip(v, i), vcpu_eflags(v) & ~(uint32_t)FLAG_NT));
  return task_check_eip(v, 0);
}

int x_iret(struct vcpu *v, const struct insn *i) {
  unsigned width = i->operand_size;
  uint32_t words[3];
  struct return_frame r;
  v->mode_dirty |= v->nmi_blocked;
  v->nmi_blocked = false; /* even if it faults (SDM vol. 3A, 6.7.1) */
  if (!vcpu_protected(v)) return iret_real(v, width);
  if (v->s.sys_flags & FLAG_NT) return iret_task(v, i);
  TRY(frame_read(v, 0, words, 3, width));
  if (width == 4 && (words[2] & FLAG_VM) && v->cpl == 0) return iret_to_v86(v);
  r.eip = words[0];
  r.cs = (uint16_t)words[1];
  TRY(return_check(v, &r, 3 * width, width, 0));
  uint32_t eflags = iret_eflags(v, words[2], width); /* by the privilege before */
  return_commit(v, &r);
  vcpu_set_eflags(v, eflags);
  return EXEC_NEXT;
}

/* ---- fast system calls: segments are what the manual fixes, no descriptor is read ---- */

static void flat_segments(struct vcpu *v, uint16_t code, unsigned cpl) {
  uint16_t dpl = (uint16_t)(cpl << 5);
  uint16_t cs = (uint16_t)(code | cpl), ss = (uint16_t)((code + 8) | cpl);
  segment_commit(v, SEG_CS, (struct tr_segment){.limit = 0xffffffffu, .selector = cs, .attr = 0xc09b | dpl, .usable = 1});
  segment_commit(v, SEG_SS, (struct tr_segment){.limit = 0xffffffffu, .selector = ss, .attr = 0xc093 | dpl, .usable = 1});
  vcpu_set_cpl(v, cpl);
}

int x_sysenter(struct vcpu *v, const struct insn *i) {
  if (vcpu_real_mode(v) || selector_is_null((uint16_t)v->sysenter_cs)) return fault_raise_error(v, VEC_GP, 0);
  uint32_t sys = v->s.sys_flags & ~(uint32_t)FLAG_VM;
  v->mode_dirty |= sys != v->s.sys_flags;
  v->s.sys_flags = sys;
  v->s.if_flag = 0;
  flat_segments(v, v->sysenter_cs & 0xfffc, 0);
  v->s.gpr[REG_ESP] = v->sysenter_esp;
  v->s.eip = v->sysenter_eip;
  return EXEC_NEXT;
}

int x_sysexit(struct vcpu *v, const struct insn *i) {
  if (vcpu_real_mode(v) || selector_is_null((uint16_t)v->sysenter_cs) || v->cpl != 0) return fault_raise_error(v, VEC_GP, 0);
  flat_segments(v, (uint16_t)((v->sysenter_cs & 0xfffc) + 16), 3);
  v->s.gpr[REG_ESP] = v->s.gpr[REG_ECX];
  v->s.eip = v->s.gpr[REG_EDX];
  return EXEC_NEXT;
}
