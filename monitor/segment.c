/* Segment registers: descriptors read and checked, and the instructions that move selectors. SDM vol. 3A, chapters 3 and 5;
 * MOV, POP and LDS in vol. 2. Linux reloads DS..GS on every kernel entry and exit, so a load of a present, accessed
 * descriptor is one 8-byte read and no write. */
#include "exec.h"
#include "segment.h"

int desc_lookup(struct vcpu *v, uint16_t selector, struct descriptor *d, bool *found) {
  gla base = dtable_linear(&v->gdt, 0);
  uint32_t limit = v->gdt.limit;
  if (selector & 4) {
    base = segment_linear(&v->ldt, 0);
    limit = v->ldt.limit;
  }
  *found = (selector | 7u) <= limit && (!(selector & 4) || v->ldt.usable);
  if (!*found) return EXEC_NEXT;
  uint64_t raw = 0;
  d->selector = selector;
  d->linear = gla_add(base, selector & 0xfff8u);
  TRY(mem_read(v, d->linear, 8, MEM_SYSTEM, &raw));
  d->low = (uint32_t)raw;
  d->high = (uint32_t)(raw >> 32);
  return EXEC_NEXT;
}

int desc_read(struct vcpu *v, uint16_t selector, enum vector vector, uint32_t ext, struct descriptor *d) {
  bool found;
  TRY(desc_lookup(v, selector, d, &found));
  return found ? EXEC_NEXT : segment_fault(v, vector, selector, ext);
}

struct tr_segment desc_segment(const struct descriptor *d, uint16_t selector) {
  uint16_t attr = d->high >> 8 & 0xf0ff;
  if (attr & ATTR_S) attr |= ATTR_ACCESSED;
  return (struct tr_segment){.base = desc_base(d), .limit = desc_limit(d), .selector = selector, .attr = attr, .usable = 1};
}

struct tr_segment segment_null(uint16_t selector) {
  return (struct tr_segment){.selector = selector};
}

struct tr_segment segment_v86(uint16_t selector) {
  return (struct tr_segment){.base = (uint32_t)selector << 4, .limit = 0xffff, .selector = selector, .attr = 0xf3, .usable = 1};
}

/* Real mode keeps the limit and the attributes that protected mode left ("unreal" mode) - but CS becomes what it is after reset,
 * and a register that was null gets what reset gave it, because a real CPU keeps the old limit there too. */
struct tr_segment segment_real(const struct vcpu *v, unsigned seg, uint16_t selector) {
  if (vcpu_v86(v)) return segment_v86(selector);
  struct tr_segment s = v->s.seg[seg];
  s.base = (uint32_t)selector << 4;
  s.selector = selector;
  if (!s.usable) {
    s.limit = 0xffff;
    s.attr = 0x93;
  } else if (seg == SEG_CS) {
    s.attr = (s.attr & (ATTR_BIG | ATTR_G)) | 0x93;
  }
  s.usable = 1;
  return s;
}

int desc_probe_accessed_slow(struct vcpu *v, const struct descriptor *d) {
  return mem_probe_write(v, gla_add(d->linear, 5), 1, MEM_SYSTEM);
}

void desc_set_accessed_slow(struct vcpu *v, const struct descriptor *d) {
  uint8_t byte = (uint8_t)((d->high | DESC_ACCESSED) >> 8);
  (void)mem_write(v, gla_add(d->linear, 5), 1, MEM_SYSTEM, &byte); /* probed before: it cannot fault */
}

int segment_check_stack(struct vcpu *v, uint16_t selector, unsigned cpl, enum vector vector, uint32_t ext, struct descriptor *d) {
  if (selector_is_null(selector)) return fault_raise_error(v, vector, ext);
  TRY(desc_read(v, selector, vector, ext, d));
  if (selector_rpl(selector) != cpl || desc_dpl(d) != cpl || !desc_is_writable_data(d))
    return segment_fault(v, vector, selector, ext);
  return desc_present(d) ? EXEC_NEXT : segment_fault(v, VEC_SS, selector, ext);
}

int segment_check_data(struct vcpu *v, uint16_t selector, unsigned cpl, enum vector vector, uint32_t ext, struct descriptor *d) {
  TRY(desc_read(v, selector, vector, ext, d));
  if (!desc_is_readable(d)) return segment_fault(v, vector, selector, ext);
  bool conforming = desc_is_code(d) && desc_is_conforming(d);
  if (!conforming && (selector_rpl(selector) > desc_dpl(d) || cpl > desc_dpl(d))) return segment_fault(v, vector, selector, ext);
  return desc_present(d) ? EXEC_NEXT : segment_fault(v, VEC_NP, selector, ext);
}

/* Everything that loading a data or stack register can raise, and its cache; nothing is changed but the accessed bit, which
 * therefore has to come last. */
static int segment_prepare(struct vcpu *v, unsigned seg, uint16_t selector, struct tr_segment *out) {
  struct descriptor d;
  if (!vcpu_protected(v)) {
    *out = segment_real(v, seg, selector);
    return EXEC_NEXT;
  }
  if (seg != SEG_SS && selector_is_null(selector)) {
    *out = segment_null(selector);
    return EXEC_NEXT;
  }
  if (seg == SEG_SS) TRY(segment_check_stack(v, selector, v->cpl, VEC_GP, 0, &d));
  else TRY(segment_check_data(v, selector, v->cpl, VEC_GP, 0, &d));
  TRY(desc_probe_accessed(v, &d));
  desc_set_accessed(v, &d);
  *out = desc_segment(&d, selector);
  return EXEC_NEXT;
}

int segment_load(struct vcpu *v, unsigned seg, uint16_t selector) {
  struct tr_segment value;
  TRY(segment_prepare(v, seg, selector, &value));
  segment_commit(v, seg, value);
  return EXEC_NEXT;
}

/* MOV SS and POP SS hold interrupts and debug traps off for one instruction (SDM vol. 3A, 6.8.3); LSS does not. */
static void shadow_of_ss(struct vcpu *v, unsigned seg) {
  if (seg == SEG_SS) v->inhibit_irq = v->inhibit_db = true;
}

int x_mov_to_seg(struct vcpu *v, const struct insn *i) {
  uint16_t selector = (uint16_t)v->s.gpr[i->rm & 7];
  struct tr_segment value;
  if (i->reg > SEG_GS || i->reg == SEG_CS) return fault_raise(v, VEC_UD);
  if (i->has_mem) TRY(seg_read(v, i->seg, insn_offset(v, i), 2, &selector));
  TRY(segment_prepare(v, i->reg, selector, &value));
  segment_commit(v, i->reg, value);
  shadow_of_ss(v, i->reg);
  return exec_done(v, i);
}

int x_mov_from_seg(struct vcpu *v, const struct insn *i) {
  if (i->reg > SEG_GS) return fault_raise(v, VEC_UD);
  uint16_t selector = v->s.seg[i->reg].selector;
  if (i->has_mem) TRY(seg_write(v, i->seg, insn_offset(v, i), 2, &selector));
  else reg_write(v, i->rm, i->operand_size, selector);
  return exec_done(v, i);
}

int x_load_far(struct vcpu *v, const struct insn *i) {
  uint8_t pointer[6] = {0};
  struct tr_segment value;
  unsigned seg = i->sreg, size = i->operand_size;
  if (!i->has_mem || seg > SEG_GS) return fault_raise(v, VEC_UD);
  /* two accesses, as #AC sees them: m16:16 need not be aligned to four */
  TRY(seg_read(v, i->seg, insn_offset(v, i), size, pointer));
  TRY(seg_read(v, i->seg, insn_offset(v, i) + size, 2, pointer + size));
  TRY(segment_prepare(v, seg, load16(pointer + size), &value));
  segment_commit(v, seg, value);
  reg_write(v, i->reg, size, size == 4 ? load32(pointer) : load16(pointer));
  return exec_done(v, i);
}

/* A 32-bit push writes the selector zero-extended, as Intel did before the Core family and as QEMU does. */
int x_push_seg(struct vcpu *v, const struct insn *i) {
  unsigned seg = i->sreg;
  if (seg > SEG_GS) return fault_raise(v, VEC_UD);
  uint32_t word = v->s.seg[seg].selector, esp = (v->s.gpr[REG_ESP] - i->operand_size) & vcpu_stack_mask(v);
  TRY(seg_write(v, SEG_SS, esp, i->operand_size, &word));
  vcpu_set_sp(v, esp);
  return exec_done(v, i);
}

int x_pop_seg(struct vcpu *v, const struct insn *i) {
  unsigned seg = i->sreg;
  uint32_t word = 0, esp = v->s.gpr[REG_ESP];
  struct tr_segment value;
  if (seg > SEG_GS || seg == SEG_CS) return fault_raise(v, VEC_UD);
  TRY(seg_read(v, SEG_SS, esp & vcpu_stack_mask(v), i->operand_size, &word));
  TRY(segment_prepare(v, seg, (uint16_t)word, &value));
  vcpu_set_sp(v, esp + i->operand_size); /* by the old SS.B */
  segment_commit(v, seg, value);
  shadow_of_ss(v, seg);
  return exec_done(v, i);
}
