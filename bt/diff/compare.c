#include "compare.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

__attribute__((format(printf, 2, 3))) static void differ(struct differences *out, const char *format, ...) {
  va_list a;
  va_start(a, format);
  int n = vsnprintf(out->text + out->used, sizeof out->text - out->used, format, a);
  va_end(a);
  out->count++;
  if (n > 0) out->used = out->used + (size_t)n < sizeof out->text ? out->used + (size_t)n : sizeof out->text - 1;
}

static void word(struct differences *out, const char *name, uint64_t ours, uint64_t theirs) {
  if (ours != theirs) differ(out, "  %-9s bt %08" PRIx64 "  reference %08" PRIx64 "\n", name, ours, theirs);
}

/* ---- flags ---- */

static void flags(struct vcpu *v, const struct ref_cpu *ref, uint32_t undefined, const struct opcode_row *undefined_by,
                  struct deviations *d, struct differences *out) {
  uint32_t ours = vcpu_eflags(v), difference = ours ^ ref->eflags;
  if (!difference) return;
  if (difference & FLAG_RF && deviations_explain(d, DEV_resume_flag)) ours ^= FLAG_RF;
  if (undefined_by && deviation_is_cmpxchg8b(undefined_by) && d->reference != REF_QEMU) undefined = 0;
  if (difference & undefined & FLAGS_ARITH) {
    deviations_count_flags(d, undefined_by, difference & undefined & FLAGS_ARITH);
    ours ^= difference & undefined & FLAGS_ARITH;
    v->s.flags ^= difference & undefined & FLAGS_ARITH;
  }
  word(out, "EFLAGS", ours, ref->eflags);
}

/* ---- segments ---- */

/* The one that a reset leaves in CS: data, to be written and accessed, where QEMU's is code. */
static bool is_reset_code(const char *name, uint16_t ours, uint16_t theirs) {
  enum { DATA = 0x93, CODE = 0x9b, TYPE = 0xff };
  return !strcmp(name, "CS") && (ours & TYPE) == DATA && (theirs & TYPE) == CODE;
}

static void segment(const char *name, const struct tr_segment *ours, const struct ref_segment *theirs, bool protected,
                    struct deviations *d, struct differences *out) {
  enum { ACCESSED = 1, BUSY = 2, TYPE = 15, SYSTEM_NOT = 0x10, ATTRIBUTES = 0xc0ff /* G, D/B, P, DPL, S, type */ };
  char label[24];
  if (ours->selector != theirs->selector) return word(out, name, ours->selector, theirs->selector);
  if (protected && !(ours->selector & 0xfffc)) {
    if (ours->base != theirs->base || (ours->usable && ours->limit != theirs->limit)) deviations_explain(d, DEV_null_segment);
    return;
  }
  snprintf(label, sizeof label, "%s.base", name);
  word(out, label, ours->base, theirs->base);
  snprintf(label, sizeof label, "%s.limit", name);
  word(out, label, ours->limit, theirs->limit);
  if (!protected) return;
  uint16_t ignored = ours->attr & SYSTEM_NOT ? ACCESSED : BUSY;
  if ((ours->attr ^ theirs->attr) & ignored) deviations_explain(d, ignored == BUSY ? DEV_tr_busy : DEV_segment_accessed);
  if (is_reset_code(name, ours->attr, theirs->attr) && deviations_explain(d, DEV_reset_code)) ignored = TYPE;
  snprintf(label, sizeof label, "%s.attr", name);
  word(out, label, ours->attr & ATTRIBUTES & ~ignored, theirs->attr & ATTRIBUTES & ~ignored);
}

static void segments(const struct vcpu *v, const struct ref_cpu *ref, struct deviations *d, struct differences *out) {
  static const char names[6][3] = {"ES", "CS", "SS", "DS", "FS", "GS"};
  for (unsigned i = 0; i < 6; i++) segment(names[i], &v->s.seg[i], &ref->seg[i], vcpu_protected(v), d, out);
  segment("LDTR", &v->ldt, &ref->ldt, true, d, out);
  segment("TR", &v->tr, &ref->tr, v->tr.selector, d, out);
  word(out, "GDT.base", v->gdt.base, ref->gdt.base);
  word(out, "GDT.limit", v->gdt.limit, ref->gdt.limit);
  word(out, "IDT.base", v->idt.base, ref->idt.base);
  word(out, "IDT.limit", v->idt.limit, ref->idt.limit);
}

bool compare_cpu(struct vcpu *v, const struct ref_cpu *ref, uint32_t undefined, const struct opcode_row *undefined_by,
                 struct deviations *d, struct differences *out) {
  static const char registers[8][4] = {"EAX", "ECX", "EDX", "EBX", "ESP", "EBP", "ESI", "EDI"};
  out->count = 0, out->used = 0, out->text[0] = 0;
  for (unsigned i = 0; i < 8; i++) word(out, registers[i], v->s.gpr[i], ref->gpr[i]);
  word(out, "EIP", v->s.eip, ref->eip);
  flags(v, ref, undefined, undefined_by, d, out);
  word(out, "CPL", v->cpl, ref->cpl);
  segments(v, ref, d, out);
  word(out, "CR0", v->cr0, ref->cr0);
  word(out, "CR2", v->cr2, ref->cr2);
  word(out, "CR3", v->cr3, ref->cr3);
  word(out, "CR4", v->cr4, ref->cr4);
  word(out, "EFER", v->efer, ref->efer);
  for (unsigned i = 0; i < 8; i++)
    if (i < 4 || i > 5) word(out, (const char[8][4]){"DR0", "DR1", "DR2", "DR3", "", "", "DR6", "DR7"}[i], v->dr[i], ref->dr[i]);
  return !out->count;
}

/* ---- x87 and SSE ---- */

static uint32_t field16(const uint8_t *fx, unsigned at) { return fx[at] | (uint32_t)fx[at + 1] << 8; }
static uint32_t field32(const uint8_t *fx, unsigned at) { return field16(fx, at) | field16(fx, at + 2) << 16; }

static void image(struct differences *out, const char *name, unsigned number, const uint8_t *ours, const uint8_t *theirs,
                  unsigned size) {
  char text[2][40];
  if (!memcmp(ours, theirs, size)) return;
  for (unsigned i = 0; i < size; i++) {
    snprintf(text[0] + 2 * i, 3, "%02x", ours[size - 1 - i]);
    snprintf(text[1] + 2 * i, 3, "%02x", theirs[size - 1 - i]);
  }
  differ(out, "  %s%u%*s bt %s  reference %s\n", name, number, 8 - (int)strlen(name), "", text[0], text[1]);
}

bool compare_fp(struct vcpu *v, const struct ref_cpu *ref, struct deviations *d, struct differences *out) {
  enum { FCW = 0, FSW = 2, FTW = 4, FIP = 8, MXCSR = 24, ST = 32, XMM = 160 };
  const uint8_t *ours = v->fp.bytes, *theirs = ref->fx;
  out->count = 0, out->used = 0, out->text[0] = 0;
  word(out, "FCW", field16(ours, FCW), field16(theirs, FCW));
  word(out, "FSW", field16(ours, FSW), field16(theirs, FSW));
  word(out, "FTW", ours[FTW], theirs[FTW]);
  word(out, "MXCSR", field32(ours, MXCSR), field32(theirs, MXCSR));
  if (memcmp(ours + FIP, theirs + FIP, 16)) deviations_explain(d, DEV_fp_pointers);
  for (unsigned i = 0; i < 8; i++) {
    if (ours[FTW] >> ((i + (field16(ours, FSW) >> 11)) & 7) & 1)
      image(out, "ST", i, ours + ST + 16 * i, theirs + ST + 16 * i, 10);
    image(out, "XMM", i, ours + XMM + 16 * i, theirs + XMM + 16 * i, 16);
  }
  return !out->count;
}

/* ---- memory ---- */

/* Where a doubleword looks like an entry of a paging structure and differs in nothing but bits that may be late. */
static bool late_bits(struct machine *m, uint64_t at, uint32_t ours, uint32_t theirs, struct deviations *d) {
  enum { PRESENT = 1, ACCESSED = 0x20, DIRTY = 0x40 };
  uint32_t difference = ours ^ theirs;
  if (difference & ~(uint32_t)(ACCESSED | DIRTY) || !(ours & PRESENT)) return false;
  if (difference & ACCESSED) deviations_explain(d, DEV_accessed_late);
  if (difference & DIRTY) deviations_explain(d, DEV_dirty_late);
  mmu_dma_write(m->mmu, to_gpa(at), &theirs, sizeof theirs);
  return true;
}

/* The upper half of a present code segment's descriptor. */
static bool descriptor_accessed(struct machine *m, uint64_t at, uint32_t ours, uint32_t theirs, struct deviations *d) {
  enum { ACCESSED = 0x100, CODE_SEGMENT = 0x9800 };
  if ((ours ^ theirs) != ACCESSED || !(ours & ACCESSED) || (ours & CODE_SEGMENT) != CODE_SEGMENT || !(at & 4)) return false;
  if (!deviations_explain(d, DEV_descriptor_accessed)) return false;
  mmu_dma_write(m->mmu, to_gpa(at), &theirs, sizeof theirs);
  return true;
}

/* Is there an FXSAVE image around a doubleword, in one of whose x87 registers it is the 9th to 16th byte? The image is known by
 * its MXCSR_MASK. */
static bool in_x87_register(struct machine *m, uint64_t at) {
  enum { FX_MXCSR = 24, FX_MXCSR_MASK = 28, FX_ST = 32, REGISTERS = 8, MASK = 0xffff };
  uint64_t slot = at & ~UINT64_C(15);
  for (unsigned n = 0; n < REGISTERS && slot >= FX_ST + 16 * n; n++) {
    const uint8_t *image = mmu_ram_pointer(m->mmu, to_gpa(slot - FX_ST - 16 * n), FX_ST);
    if (image && field32(image, FX_MXCSR_MASK) == MASK && field32(image, FX_MXCSR) <= MASK) return true;
  }
  return false;
}

static bool fxsave_reserved(struct machine *m, uint64_t at, uint32_t ours, uint32_t theirs, struct deviations *d) {
  bool upper = (at & 15) == 12 && !ours, middle = (at & 15) == 8 && !(ours >> 16) && (uint16_t)ours == (uint16_t)theirs;
  if (!(upper || middle) || !in_x87_register(m, at) || !deviations_explain(d, DEV_fxsave_reserved)) return false;
  mmu_dma_write(m->mmu, to_gpa(at), &theirs, sizeof theirs);
  return true;
}

static void compare_page(struct machine *m, uint64_t at, const uint8_t *ours, const uint8_t *theirs, struct deviations *d,
                         struct differences *out) {
  for (unsigned i = 0; i < MMU_PAGE && out->count < 32; i += 4) {
    uint32_t a, b;
    memcpy(&a, ours + i, 4);
    memcpy(&b, theirs + i, 4);
    if (a != b && !late_bits(m, at + i, a, b, d) && !descriptor_accessed(m, at + i, a, b, d) &&
        !fxsave_reserved(m, at + i, a, b, d))
      differ(out, "  memory    bt %08x  reference %08x  at physical %08" PRIx64 "\n", a, b, at + i);
  }
}

static void compare_range(struct machine *m, const uint8_t *ram, uint64_t from, uint64_t to, struct deviations *d,
                          struct differences *out) {
  for (; from < to; from += MMU_PAGE) {
    const uint8_t *ours = mmu_ram_pointer(m->mmu, to_gpa(from), MMU_PAGE);
    if (memcmp(ours, ram + from, MMU_PAGE)) compare_page(m, from, ours, ram + from, d, out);
  }
}

bool compare_ram(struct machine *m, const uint8_t *ram, struct deviations *d, struct differences *out) {
  out->count = 0, out->used = 0, out->text[0] = 0;
  compare_range(m, ram, 0, 0xa0000, d, out);
  compare_range(m, ram, 0x100000, m->options->ram_size, d, out);
  return !out->count;
}
