/* Descriptor-table registers (LGDT.. STR) and the instructions that only look at selectors (ARPL LAR LSL VERR VERW). */
#include "exec.h"
#include "segment.h"

static int done_zf(struct vcpu *v, const struct insn *i, bool zf) {
  v->s.flags = (v->s.flags & ~(uint32_t)FLAG_ZF) | (zf ? FLAG_ZF : 0);
  return exec_done(v, i);
}

static int read_rm16(struct vcpu *v, const struct insn *i, uint16_t *out) {
  if (i->has_mem) return seg_read(v, i->seg, insn_offset(v, i), 2, out);
  *out = (uint16_t)v->s.gpr[i->rm & 7];
  return EXEC_NEXT;
}

/* SLDT and STR: a register destination is zero-extended to the operand size, memory takes 16 bits. */
static int store_selector(struct vcpu *v, const struct insn *i, uint16_t selector) {
  if (!vcpu_protected(v)) return fault_raise(v, VEC_UD);
  if (i->has_mem) TRY(seg_write(v, i->seg, insn_offset(v, i), 2, &selector));
  else reg_write(v, i->rm, i->operand_size, selector);
  return exec_done(v, i);
}

int x_sldt(struct vcpu *v, const struct insn *i) { return store_selector(v, i, v->ldt.selector); }
int x_str(struct vcpu *v, const struct insn *i) { return store_selector(v, i, v->tr.selector); }

/* All six bytes whatever the operand size: the 24-bit form is the 286's alone. */
static int store_table(struct vcpu *v, const struct insn *i, const struct dtable *table) {
  uint8_t image[6];
  if (!i->has_mem) return fault_raise(v, VEC_UD);
  store16(image, (uint16_t)table->limit);
  store32(image + 2, table->base);
  TRY(seg_write(v, i->seg, insn_offset(v, i), 6, image));
  return exec_done(v, i);
}

int x_sgdt(struct vcpu *v, const struct insn *i) { return store_table(v, i, &v->gdt); }
int x_sidt(struct vcpu *v, const struct insn *i) { return store_table(v, i, &v->idt); }

static int load_table(struct vcpu *v, const struct insn *i, struct dtable *table) {
  uint8_t image[6] = {0};
  if (!i->has_mem) return fault_raise(v, VEC_UD);
  if (v->cpl != 0) return fault_raise_error(v, VEC_GP, 0);
  TRY(seg_read(v, i->seg, insn_offset(v, i), 6, image));
  table->limit = load16(image);
  table->base = load32(image + 2) & (i->operand_size == 4 ? 0xffffffffu : 0xffffffu);
  v->s.gdt_host = v->s.ivt_host = 0;
  return exec_done(v, i);
}

int x_lgdt(struct vcpu *v, const struct insn *i) { return load_table(v, i, &v->gdt); }
int x_lidt(struct vcpu *v, const struct insn *i) { return load_table(v, i, &v->idt); }

/* The checks that LLDT and LTR share: #UD outside of protected mode, CPL 0, a GDT selector. */
static int system_selector(struct vcpu *v, const struct insn *i, uint16_t *selector) {
  if (!vcpu_protected(v)) return fault_raise(v, VEC_UD);
  if (v->cpl != 0) return fault_raise_error(v, VEC_GP, 0);
  TRY(read_rm16(v, i, selector));
  return !selector_is_null(*selector) && (*selector & 4) ? segment_fault(v, VEC_GP, *selector, 0) : EXEC_NEXT;
}

int x_lldt(struct vcpu *v, const struct insn *i) {
  uint16_t selector = 0;
  struct descriptor d;
  TRY(system_selector(v, i, &selector));
  if (selector_is_null(selector)) {
    v->ldt = segment_null(selector);
    return exec_done(v, i);
  }
  TRY(desc_read(v, selector, VEC_GP, 0, &d));
  if (!desc_is_system(&d) || desc_type(&d) != SYS_LDT) return segment_fault(v, VEC_GP, selector, 0);
  if (!desc_present(&d)) return segment_fault(v, VEC_NP, selector, 0);
  v->ldt = desc_segment(&d, selector);
  return exec_done(v, i);
}

int x_ltr(struct vcpu *v, const struct insn *i) {
  uint16_t selector = 0;
  struct descriptor d;
  TRY(system_selector(v, i, &selector));
  if (selector_is_null(selector)) return fault_raise_error(v, VEC_GP, 0);
  TRY(desc_read(v, selector, VEC_GP, 0, &d));
  if (!desc_is_system(&d) || (desc_type(&d) != SYS_TSS16 && desc_type(&d) != SYS_TSS32))
    return segment_fault(v, VEC_GP, selector, 0);
  if (!desc_present(&d)) return segment_fault(v, VEC_NP, selector, 0);
  d.high |= SYS_BUSY << 8;
  uint8_t busy = (uint8_t)(d.high >> 8);
  TRY(mem_write(v, gla_add(d.linear, 5), 1, MEM_SYSTEM, &busy));
  v->tr = desc_segment(&d, selector);
  return exec_done(v, i);
}

int x_arpl(struct vcpu *v, const struct insn *i) {
  uint16_t dest = 0, source = (uint16_t)v->s.gpr[i->reg & 7];
  if (!vcpu_protected(v)) return fault_raise(v, VEC_UD);
  TRY(read_rm16(v, i, &dest));
  if (selector_rpl(dest) >= selector_rpl(source)) return done_zf(v, i, false);
  dest = (uint16_t)((dest & ~3) | selector_rpl(source));
  if (i->has_mem) TRY(seg_write(v, i->seg, insn_offset(v, i), 2, &dest));
  else reg_write(v, i->rm, 2, dest);
  return done_zf(v, i, true);
}

/* The descriptor that LAR, LSL, VERR and VERW look at; *visible says that it exists and that privilege lets it be seen
 * (conforming code is seen by all). */
static int look_at_selector(struct vcpu *v, const struct insn *i, struct descriptor *d, bool *visible) {
  uint16_t selector = 0;
  *visible = false;
  if (!vcpu_protected(v)) return fault_raise(v, VEC_UD);
  TRY(read_rm16(v, i, &selector));
  if (selector_is_null(selector)) return EXEC_NEXT;
  TRY(desc_lookup(v, selector, d, visible));
  if (*visible && !(desc_is_code(d) && desc_is_conforming(d)))
    *visible = desc_dpl(d) >= v->cpl && desc_dpl(d) >= selector_rpl(selector);
  return EXEC_NEXT;
}

int x_lar(struct vcpu *v, const struct insn *i) {
  const unsigned valid = 1 << SYS_TSS16 | 1 << SYS_LDT | 1 << SYS_TSS16_BUSY | 1 << SYS_CALL16 | 1 << SYS_TASK_GATE |
                         1 << SYS_TSS32 | 1 << SYS_TSS32_BUSY | 1 << SYS_CALL32;
  struct descriptor d;
  bool visible;
  TRY(look_at_selector(v, i, &d, &visible));
  if (!visible || (desc_is_system(&d) && !(valid >> desc_type(&d) & 1))) return done_zf(v, i, false);
  reg_write(v, i->reg, i->operand_size, d.high & 0xf0ff00);
  return done_zf(v, i, true);
}

int x_lsl(struct vcpu *v, const struct insn *i) {
  const unsigned valid = 1 << SYS_TSS16 | 1 << SYS_LDT | 1 << SYS_TSS16_BUSY | 1 << SYS_TSS32 | 1 << SYS_TSS32_BUSY;
  struct descriptor d;
  bool visible;
  TRY(look_at_selector(v, i, &d, &visible));
  if (!visible || (desc_is_system(&d) && !(valid >> desc_type(&d) & 1))) return done_zf(v, i, false);
  reg_write(v, i->reg, i->operand_size, desc_limit(&d));
  return done_zf(v, i, true);
}

int x_verr(struct vcpu *v, const struct insn *i) {
  struct descriptor d;
  bool visible;
  TRY(look_at_selector(v, i, &d, &visible));
  return done_zf(v, i, visible && desc_is_readable(&d));
}

int x_verw(struct vcpu *v, const struct insn *i) {
  struct descriptor d;
  bool visible;
  TRY(look_at_selector(v, i, &d, &visible));
  return done_zf(v, i, visible && desc_is_writable_data(&d));
}
