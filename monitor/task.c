/* Task management in hardware: switches between 16- and 32-bit TSSs, and the stacks that a TSS holds for inner levels.
 * SDM vol. 3A, chapter 7; the steps are those of 7.3, the checks those of table 7-1.
 *
 * Up to the switch everything is probed first (I1). From step 12 on the new task is the current one and faults are its own. */
#include "exec.h"
#include "segment.h"

/* SDM vol. 3A, figures 7-2 and 7-10. */
enum {
  TSS32_CR3 = 0x1c,
  TSS32_EIP = 0x20,
  TSS32_SEGS = 0x48,
  TSS32_LDT = 0x60,
  TSS32_TRAP = 0x64,
  TSS32_LIMIT = 0x67,
  TSS32_SAVED = TSS32_LDT - TSS32_EIP
};
enum { TSS16_IP = 0x0e, TSS16_SEGS = 0x22, TSS16_LDT = 0x2a, TSS16_LIMIT = 0x2b, TSS16_SAVED = TSS16_LDT - TSS16_IP };
enum { DR6_BT = 1 << 15, DR7_LOCAL = 0x155 }; /* L0-L3 and LE */

struct task_image {
  uint32_t cr3, eip, eflags, gpr[8];
  uint16_t seg[6], ldt;
  bool wide, trap;
};

static bool tss_is_wide(const struct tr_segment *tr) { return tr->attr & SYS_32BIT; }

int task_inner_stack(struct vcpu *v, unsigned dpl, uint32_t ext, struct inner_stack *out) {
  bool wide = tss_is_wide(&v->tr);
  uint32_t at = wide ? dpl * 8 + 4 : dpl * 4 + 2, size = wide ? 8 : 4;
  uint8_t image[8];
  if (!v->tr.usable || at + size - 1 > v->tr.limit) return segment_fault(v, VEC_TS, v->tr.selector, ext);
  TRY(mem_read(v, segment_linear(&v->tr, at), size, MEM_SYSTEM, image));
  out->esp = wide ? load32(image) : load16(image);
  uint16_t selector = load16(image + size / 2);
  TRY(segment_check_stack(v, selector, dpl, VEC_TS, ext, &out->ss));
  out->seg = desc_segment(&out->ss, selector);
  return EXEC_NEXT;
}

int task_check_tss(struct vcpu *v, uint16_t selector, bool busy, enum vector vector, uint32_t ext, struct descriptor *tss) {
  if (selector_is_null(selector) || (selector & 4)) return segment_fault(v, vector, selector, ext);
  TRY(desc_read(v, selector, vector, ext, tss));
  unsigned want = busy ? SYS_TSS16_BUSY : SYS_TSS16;
  if (!desc_is_system(tss) || (desc_type(tss) & ~(unsigned)SYS_32BIT) != want) return segment_fault(v, vector, selector, ext);
  return desc_present(tss) ? EXEC_NEXT : segment_fault(v, VEC_NP, selector, ext);
}

int task_check_eip(struct vcpu *v, uint32_t ext) {
  return v->s.eip > v->s.seg[SEG_CS].limit ? fault_raise_error(v, VEC_GP, ext) : EXEC_NEXT;
}

/* The byte with the type, in the GDT, of the current task's descriptor. */
static gla current_type_byte(const struct vcpu *v) { return dtable_linear(&v->gdt, (v->tr.selector & 0xfff8u) + 5); }

/* Step 6: everything that the switch itself touches is there (and writable). */
static int task_probe(struct vcpu *v, const struct descriptor *tss, enum task_cause cause, uint32_t ext) {
  bool wide = gate_is_32bit(tss), old_wide = tss_is_wide(&v->tr);
  gla base = to_gla(desc_base(tss));
  if (desc_limit(tss) < (wide ? TSS32_LIMIT : TSS16_LIMIT)) return segment_fault(v, VEC_TS, tss->selector, ext);
  if (!v->tr.usable || v->tr.limit < (old_wide ? TSS32_LIMIT : TSS16_LIMIT)) return segment_fault(v, VEC_TS, v->tr.selector, ext);
  TRY(mem_probe_read(v, base, (wide ? TSS32_LIMIT : TSS16_LIMIT) + 1, MEM_SYSTEM));
  TRY(mem_probe_write(v, segment_linear(&v->tr, old_wide ? TSS32_EIP : TSS16_IP), old_wide ? TSS32_SAVED : TSS16_SAVED,
                      MEM_SYSTEM));
  if (cause == TASK_CALL) TRY(mem_probe_write(v, base, 2, MEM_SYSTEM));
  if (cause != TASK_IRET) TRY(mem_probe_write(v, gla_add(tss->linear, 5), 1, MEM_SYSTEM));
  if (cause != TASK_CALL) TRY(mem_probe_write(v, current_type_byte(v), 1, MEM_SYSTEM));
  return EXEC_NEXT;
}

/* Step 9. The upper halves of the selectors' slots are reserved and keep what is in them. */
static int save_task32(struct vcpu *v, uint32_t eip, uint32_t eflags) {
  uint8_t block[TSS32_SAVED];
  TRY(mem_read(v, segment_linear(&v->tr, TSS32_EIP), sizeof block, MEM_SYSTEM, block));
  store32(block, eip);
  store32(block + 4, eflags);
  for (unsigned k = 0; k < 8; k++) store32(block + 8 + 4 * k, v->s.gpr[k]);
  for (unsigned k = 0; k < 6; k++) store16(block + TSS32_SEGS - TSS32_EIP + 4 * k, v->s.seg[k].selector);
  return mem_write(v, segment_linear(&v->tr, TSS32_EIP), sizeof block, MEM_SYSTEM, block);
}

static int save_task16(struct vcpu *v, uint32_t eip, uint32_t eflags) {
  uint8_t block[TSS16_SAVED];
  store16(block, (uint16_t)eip);
  store16(block + 2, (uint16_t)eflags);
  for (unsigned k = 0; k < 8; k++) store16(block + 4 + 2 * k, (uint16_t)v->s.gpr[k]);
  for (unsigned k = 0; k < 4; k++) store16(block + TSS16_SEGS - TSS16_IP + 2 * k, v->s.seg[k].selector);
  return mem_write(v, segment_linear(&v->tr, TSS16_IP), sizeof block, MEM_SYSTEM, block);
}

static int read_task32(struct vcpu *v, gla base, struct task_image *t) {
  uint8_t image[TSS32_LIMIT + 1];
  TRY(mem_read(v, base, sizeof image, MEM_SYSTEM, image));
  t->cr3 = load32(image + TSS32_CR3);
  t->eip = load32(image + TSS32_EIP);
  t->eflags = load32(image + TSS32_EIP + 4);
  for (unsigned k = 0; k < 8; k++) t->gpr[k] = load32(image + TSS32_EIP + 8 + 4 * k);
  for (unsigned k = 0; k < 6; k++) t->seg[k] = load16(image + TSS32_SEGS + 4 * k);
  t->ldt = load16(image + TSS32_LDT);
  t->trap = image[TSS32_TRAP] & 1;
  t->wide = true;
  return EXEC_NEXT;
}

/* A 286 task: FS and GS become null; the registers' upper halves are all ones, as on the CPUs where QEMU looked. */
static int read_task16(struct vcpu *v, gla base, struct task_image *t) {
  uint8_t image[TSS16_LIMIT + 1];
  TRY(mem_read(v, base, sizeof image, MEM_SYSTEM, image));
  t->cr3 = 0;
  t->eip = load16(image + TSS16_IP);
  t->eflags = load16(image + TSS16_IP + 2);
  for (unsigned k = 0; k < 8; k++) t->gpr[k] = 0xffff0000u | load16(image + TSS16_IP + 4 + 2 * k);
  for (unsigned k = 0; k < 4; k++) t->seg[k] = load16(image + TSS16_SEGS + 2 * k);
  t->seg[SEG_FS] = t->seg[SEG_GS] = 0;
  t->ldt = load16(image + TSS16_LDT);
  t->trap = t->wide = false;
  return EXEC_NEXT;
}

/* Steps 7 to 11: memory. Everything was probed. */
static int task_write_memory(struct vcpu *v, const struct descriptor *tss, enum task_cause cause, uint32_t eip, uint32_t eflags) {
  uint8_t type;
  if (cause != TASK_CALL) {
    TRY(mem_read(v, current_type_byte(v), 1, MEM_SYSTEM, &type));
    type &= (uint8_t)~SYS_BUSY;
    TRY(mem_write(v, current_type_byte(v), 1, MEM_SYSTEM, &type));
  }
  TRY(tss_is_wide(&v->tr) ? save_task32(v, eip, eflags) : save_task16(v, eip, eflags));
  if (cause == TASK_CALL) TRY(mem_write(v, to_gla(desc_base(tss)), 2, MEM_SYSTEM, &v->tr.selector));
  if (cause != TASK_IRET) {
    type = (uint8_t)(tss->high >> 8 | SYS_BUSY);
    TRY(mem_write(v, gla_add(tss->linear, 5), 1, MEM_SYSTEM, &type));
  }
  return EXEC_NEXT;
}

/* ---- the new task: segments, in its own context ---- */

static int load_ldt(struct vcpu *v, uint16_t selector, uint32_t ext) {
  struct descriptor d;
  if (selector_is_null(selector)) return EXEC_NEXT;
  if (selector & 4) return segment_fault(v, VEC_TS, selector, ext);
  TRY(desc_read(v, selector, VEC_TS, ext, &d));
  if (!desc_is_system(&d) || desc_type(&d) != SYS_LDT || !desc_present(&d)) return segment_fault(v, VEC_TS, selector, ext);
  v->ldt = desc_segment(&d, selector);
  return EXEC_NEXT;
}

static int load_code(struct vcpu *v, uint16_t selector, uint32_t ext) {
  struct descriptor d;
  unsigned rpl = selector_rpl(selector);
  if (selector_is_null(selector)) return fault_raise_error(v, VEC_TS, ext);
  TRY(desc_read(v, selector, VEC_TS, ext, &d));
  if (!desc_is_code(&d) || (desc_is_conforming(&d) ? desc_dpl(&d) > rpl : desc_dpl(&d) != rpl))
    return segment_fault(v, VEC_TS, selector, ext);
  if (!desc_present(&d)) return segment_fault(v, VEC_NP, selector, ext);
  TRY(desc_probe_accessed(v, &d));
  desc_set_accessed(v, &d);
  v->s.seg[SEG_CS] = desc_segment(&d, selector);
  return EXEC_NEXT;
}

static int load_data(struct vcpu *v, unsigned seg, uint16_t selector, uint32_t ext) {
  struct descriptor d;
  if (seg != SEG_SS && selector_is_null(selector)) return EXEC_NEXT;
  if (seg == SEG_SS) TRY(segment_check_stack(v, selector, v->cpl, VEC_TS, ext, &d));
  else TRY(segment_check_data(v, selector, v->cpl, VEC_TS, ext, &d));
  TRY(desc_probe_accessed(v, &d));
  desc_set_accessed(v, &d);
  v->s.seg[seg] = desc_segment(&d, selector);
  return EXEC_NEXT;
}

static int load_segments(struct vcpu *v, const struct task_image *t, uint32_t ext) {
  static const uint8_t order[] = {SEG_SS, SEG_ES, SEG_DS, SEG_FS, SEG_GS};
  TRY(load_ldt(v, t->ldt, ext));
  if (vcpu_v86(v)) return EXEC_NEXT;
  TRY(load_code(v, t->seg[SEG_CS], ext));
  for (unsigned k = 0; k < sizeof order; k++) TRY(load_data(v, order[k], t->seg[order[k]], ext));
  return EXEC_NEXT;
}

/* Steps 12 to 14. Until its descriptor has passed the checks a segment register holds its selector and is unusable. */
static int task_enter(struct vcpu *v, const struct task_image *t, uint32_t ext) {
  v->cr0 |= CR0_TS;
  v->dr[7] &= ~(uint32_t)DR7_LOCAL;
  v->s.eip = t->eip;
  vcpu_set_eflags(v, t->eflags);
  for (unsigned k = 0; k < 8; k++) v->s.gpr[k] = t->gpr[k];
  for (unsigned k = 0; k < 6; k++) {
    v->s.seg[k] = vcpu_v86(v) ? segment_v86(t->seg[k]) : segment_null(t->seg[k]);
    v->s.seg_raw[k] = 0;
  }
  v->ldt = segment_null(t->ldt);
  v->cpl = (uint8_t)(vcpu_v86(v) ? 3 : selector_rpl(t->seg[SEG_CS]));
  v->mode_dirty = true;
  if (t->trap) v->pending_db |= DR6_BT;
  if (t->wide && (v->cr0 & CR0_PG)) {
    uint32_t old = v->cr3;
    v->cr3 = t->cr3;
    int result = vcpu_paging_changed(v);
    if (result != EXEC_NEXT) {
      v->cr3 = old;
      return result;
    }
  }
  return load_segments(v, t, ext);
}

int task_switch(struct vcpu *v, const struct descriptor *tss, enum task_cause cause, uint32_t ext, uint32_t saved_eip,
                uint32_t saved_eflags) {
  struct task_image t = {0};
  if (v->accessed) v->accessed(v, NULL, 0, true); /* it stores and loads registers that no row names */
  TRY(task_probe(v, tss, cause, ext));
  TRY(task_write_memory(v, tss, cause, saved_eip, saved_eflags));
  gla base = to_gla(desc_base(tss));
  TRY(gate_is_32bit(tss) ? read_task32(v, base, &t) : read_task16(v, base, &t));
  if (cause == TASK_CALL) t.eflags |= FLAG_NT;
  v->tr = desc_segment(tss, tss->selector);
  v->tr.attr |= SYS_BUSY;
  return task_enter(v, &t, ext);
}
