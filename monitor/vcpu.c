/* The virtual CPU's reset state, its EFLAGS and faults as values, and the instructions that move EFLAGS. */
#include "exec.h"
#include "segment.h"

enum {
  FLAGS_USER = FLAGS_ARITH | FLAG_DF, /* tr_state.flags */
  /* tr_state.sys_flags */
  FLAGS_SYSTEM = FLAG_TF | FLAG_IOPL | FLAG_NT | FLAG_RF | FLAG_VM | FLAG_AC | FLAG_VIF | FLAG_VIP | FLAG_ID,
  FLAG_ALWAYS = 2,
};

uint32_t vcpu_eflags(const struct vcpu *v) { return v->s.flags | v->s.if_flag | v->s.sys_flags; }

/* AC came with the 486 and ID with CPUID: where the model has none, the bit stays clear, which is how systems tell. */
static uint32_t offered_flags(const struct vcpu *v) {
  uint32_t mask = FLAGS_SYSTEM;
  if (!(v->features >> FEAT_CPUID & 1)) mask &= ~(uint32_t)FLAG_ID;
  if (!(v->features >> FEAT_I486 & 1)) mask &= ~(uint32_t)FLAG_AC;
  return mask;
}

void vcpu_set_eflags(struct vcpu *v, uint32_t eflags) {
  uint32_t sys = (eflags & offered_flags(v)) | FLAG_ALWAYS;
  v->mode_dirty |= sys != v->s.sys_flags;
  v->s.sys_flags = sys;
  v->s.if_flag = eflags & FLAG_IF;
  v->s.flags = eflags & FLAGS_USER;
}

void fault_fill(struct vcpu *v, enum vector vector, bool has_error, uint32_t error) {
  v->fault = (struct fault){.vector = (uint8_t)vector, .has_error = has_error, .error = error};
}

static void reset_segments(struct vcpu *v) {
  for (unsigned seg = 0; seg < 6; seg++) {
    v->s.seg[seg] = (struct tr_segment){.limit = 0xffff, .attr = 0x93, .usable = 1};
    v->s.seg_raw[seg] = 0;
  }
  v->s.seg[SEG_CS].selector = 0xf000;
  v->s.seg[SEG_CS].base = 0xffff0000u;
  v->ldt = (struct tr_segment){.limit = 0xffff, .attr = ATTR_P | SYS_LDT, .usable = 1};
  v->tr = (struct tr_segment){.limit = 0xffff, .attr = ATTR_P | SYS_TSS32_BUSY, .usable = 1};
  v->gdt = v->idt = (struct dtable){.limit = 0xffff};
}

/* What power-up and INIT have in common. */
static void reset_common(struct vcpu *v) {
  for (unsigned r = 0; r < 8; r++) v->s.gpr[r] = v->dr[r] = 0;
  v->s.gpr[REG_EDX] = v->model ? v->model->signature : 0;
  v->s.eip = 0xfff0;
  reset_segments(v);
  v->cr2 = v->cr3 = v->cr4 = 0;
  v->dr[6] = 0xffff0ff0u;
  v->dr[7] = 0x400;
  v->cpl = 0;
  v->inhibit_irq = v->inhibit_db = v->halted = v->nmi_pending = v->nmi_blocked = v->dropped = false;
  v->pending_db = 0;
  v->fault = (struct fault){0};
  vcpu_set_eflags(v, 0);
  v->mode_dirty = true;
}

/* The state after power-up. What belongs to the host (tables, code, the machine) is left alone. */
void vcpu_reset(struct vcpu *v) {
  reset_common(v);
  v->cr0 = CR0_CD | CR0_NW | CR0_ET;
  v->ferr = false;
  vcpu_reset_msrs(v);
  vcpu_reset_fp(v);
}

/* Caches, x87/SSE state and most MSRs are as they were; EFER is cleared, as 32-bit code could not undo what it says. */
void vcpu_init(struct vcpu *v) {
  uint32_t caches = v->cr0 & (CR0_CD | CR0_NW);
  reset_common(v);
  v->cr0 = caches | CR0_ET;
  v->efer = 0;
}

/* ---- instructions ---------------------------------------------------------------------------------------------- */

/* CLI and STI need CPL <= IOPL; in V86 mode CPL is 3, so that this is the V86 rule as well (no VME, no PVI). */
static bool iopl_allows(const struct vcpu *v) { return v->cpl <= vcpu_iopl(v); }

int x_cli(struct vcpu *v, const struct insn *i) {
  if (!iopl_allows(v)) return fault_raise_error(v, VEC_GP, 0);
  v->s.if_flag = 0;
  return exec_done(v, i);
}

int x_sti(struct vcpu *v, const struct insn *i) {
  if (!iopl_allows(v)) return fault_raise_error(v, VEC_GP, 0);
  if (!v->s.if_flag) v->inhibit_irq = true;
  v->s.if_flag = FLAG_IF;
  return exec_done(v, i);
}

int x_pushf(struct vcpu *v, const struct insn *i) {
  if (vcpu_v86(v) && vcpu_iopl(v) < 3) return fault_raise_error(v, VEC_GP, 0);
  uint32_t image = vcpu_eflags(v) & ~(uint32_t)(FLAG_VM | FLAG_RF),
           esp = (v->s.gpr[REG_ESP] - i->operand_size) & vcpu_stack_mask(v);
  TRY(seg_write(v, SEG_SS, esp, i->operand_size, &image));
  vcpu_set_sp(v, esp);
  return exec_done(v, i);
}

/* SDM vol. 2, table 4-16: what each privilege may change. RF is cleared. */
int x_popf(struct vcpu *v, const struct insn *i) {
  uint32_t image = 0, mask = FLAGS_USER | FLAG_TF | FLAG_NT | FLAG_AC | FLAG_ID;
  if (vcpu_v86(v) && vcpu_iopl(v) < 3) return fault_raise_error(v, VEC_GP, 0);
  TRY(seg_read(v, SEG_SS, v->s.gpr[REG_ESP] & vcpu_stack_mask(v), i->operand_size, &image));
  if (iopl_allows(v)) mask |= FLAG_IF;
  if (v->cpl == 0) mask |= FLAG_IOPL;
  if (i->operand_size == 2) mask &= 0xffff;
  vcpu_set_eflags(v, ((vcpu_eflags(v) & ~mask) | (image & mask)) & ~(uint32_t)FLAG_RF);
  vcpu_set_sp(v, v->s.gpr[REG_ESP] + i->operand_size);
  return exec_done(v, i);
}
