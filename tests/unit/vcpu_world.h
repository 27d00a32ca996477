/* A world for tests of the protected-mode architecture: 256 KiB of flat memory with descriptor tables built by hand, pages that
 * can be taken away, and mocks of everything that the code under test asks of guestmem.c and of the machine. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "../../monitor/exec.h"
#include "../../monitor/segment.h"

enum { MEMORY = 1 << 18, PAGES = MEMORY >> 12, PAGE_UNREADABLE = 1, PAGE_UNWRITABLE = 2 };
enum {
  GDT_AT = 0x1000,
  IDT_AT = 0x2000,
  LDT_AT = 0x3000,
  TSS_AT = 0x4000,
  TSS2_AT = 0x5000,
  TSS16_AT = 0x6000,
  STACK0 = 0x8000,
  STACK1 = 0xa000,
  STACK3 = 0xc000,
  CODE = 0x10000,
  HANDLER = 0x11000
};
/* Selectors, with the RPL that their privilege uses. */
enum {
  CODE0 = 0x08,
  DATA0 = 0x10,
  CODE3 = 0x1b,
  DATA3 = 0x23,
  TSS_SEL = 0x28,
  TSS2_SEL = 0x30,
  TSS16_SEL = 0x38,
  CODE1 = 0x41,
  DATA1 = 0x49,
  CONFORMING0 = 0x50,
  LDT_SEL = 0x58,
  CODE0_16 = 0x60,
  DATA0_16 = 0x68,
  ABSENT3 = 0x73,
  EXEC_ONLY = 0x78,
  READ_ONLY = 0x80,
  GATE = 0x88,
  ABSENT_CODE = 0x90,
  SHORT_CODE = 0x98,
  TASK_GATE = 0xa0,
  GDT_LIMIT = 0xff,
  BEYOND = 0x100,
  LDT_DATA3 = 0x07
};

struct world {
  struct vcpu v;
  uint8_t mem[MEMORY];
  uint8_t pages[PAGES];
  unsigned triple_faults, paging_changes, writes;
  bool bad_pdptes;
};
static struct world w;
static struct vcpu *const v = &w.v;

/* ---- memory ---- */

static int mock_access(struct vcpu *c, gla linear, unsigned size, bool write, enum mem_priv priv) {
  for (unsigned k = 0; k < size; k++) {
    uint32_t at = (uint32_t)gla_add(linear, k).v;
    if (at >= MEMORY || w.pages[at >> 12] & (write ? PAGE_UNREADABLE | PAGE_UNWRITABLE : PAGE_UNREADABLE)) {
      bool user = priv == MEM_USER || (priv == MEM_CPL && c->cpl == 3);
      fault_raise_error(c, VEC_PF, (write ? 2 : 0) | (user ? 4 : 0));
      c->fault.cr2 = to_gla(at);
      return EXEC_FAULT;
    }
  }
  return EXEC_NEXT;
}
int mem_probe_read(struct vcpu *c, gla linear, unsigned size, enum mem_priv priv) {
  return mock_access(c, linear, size, false, priv);
}
int mem_probe_write(struct vcpu *c, gla linear, unsigned size, enum mem_priv priv) {
  return mock_access(c, linear, size, true, priv);
}
int mem_read(struct vcpu *c, gla linear, unsigned size, enum mem_priv priv, void *out) {
  TRY(mock_access(c, linear, size, false, priv));
  memcpy(out, w.mem + linear.v, size);
  return EXEC_NEXT;
}
int mem_write(struct vcpu *c, gla linear, unsigned size, enum mem_priv priv, const void *data) {
  TRY(mock_access(c, linear, size, true, priv));
  memcpy(w.mem + linear.v, data, size);
  w.writes++;
  return EXEC_NEXT;
}
int seg_check(struct vcpu *c, unsigned seg, uint32_t offset, unsigned size, bool write, gla *linear) {
  const struct tr_segment *s = &c->s.seg[seg];
  uint32_t last = offset + size - 1;
  bool down = (s->attr & (ATTR_CODE | ATTR_EXPAND_DOWN)) == ATTR_EXPAND_DOWN;
  bool fits =
    last >= offset && (down ? offset > s->limit && last <= (s->attr & ATTR_BIG ? 0xffffffffu : 0xffffu) : last <= s->limit);
  bool type =
    !vcpu_protected(c) || (write ? (s->attr & (ATTR_CODE | ATTR_WRITABLE)) == ATTR_WRITABLE : (s->attr & 10) != ATTR_CODE);
  if (!fits || !type || !s->usable) return fault_raise_error(c, seg == SEG_SS ? VEC_SS : VEC_GP, 0);
  *linear = segment_linear(s, offset);
  return EXEC_NEXT;
}
int seg_read(struct vcpu *c, unsigned seg, uint32_t offset, unsigned size, void *out) {
  gla linear;
  TRY(seg_check(c, seg, offset, size, false, &linear));
  return mem_read(c, linear, size, MEM_CPL, out);
}
int seg_write(struct vcpu *c, unsigned seg, uint32_t offset, unsigned size, const void *data) {
  gla linear;
  TRY(seg_check(c, seg, offset, size, true, &linear));
  return mem_write(c, linear, size, MEM_CPL, data);
}
uint32_t insn_offset(const struct vcpu *c, const struct insn *i) { return (uint32_t)i->disp; }

/* ---- the machine ---- */

void vcpu_park_fp(struct vcpu *c) {}
void vcpu_reset_fp(struct vcpu *c) {}
void vcpu_reset_msrs(struct vcpu *c) {}
void machine_triple_fault(struct machine *m) { w.triple_faults++; }
int vcpu_paging_changed(struct vcpu *c) {
  w.paging_changes++;
  return w.bad_pdptes ? fault_raise_error(c, VEC_GP, 0) : EXEC_NEXT;
}

/* ---- building tables ---- */

static inline void put16(uint32_t at, uint32_t value) { store16(w.mem + at, (uint16_t)value); }
static inline void put32(uint32_t at, uint32_t value) { store32(w.mem + at, value); }
static inline uint32_t get16(uint32_t at) { return load16(w.mem + at); }
static inline uint32_t get32(uint32_t at) { return load32(w.mem + at); }

/* attr as in tr_segment; the limit is the raw 20-bit one. */
static inline void put_descriptor(uint32_t at, uint32_t base, uint32_t limit, uint32_t attr) {
  put32(at, base << 16 | (limit & 0xffff));
  put32(at + 4, (base >> 16 & 0xff) | attr << 8 | (limit & 0xf0000) | (base & 0xff000000u));
}
static inline void gdt(uint16_t selector, uint32_t base, uint32_t limit, uint32_t attr) {
  put_descriptor(GDT_AT + (selector & 0xfff8), base, limit, attr);
}
static inline void put_gate(uint32_t at, uint16_t selector, uint32_t offset, unsigned type, unsigned dpl, unsigned count) {
  put32(at, (uint32_t)selector << 16 | (offset & 0xffff));
  put32(at + 4, (offset & 0xffff0000u) | (0x80 | dpl << 5 | type) << 8 | count);
}
static inline void idt(unsigned vector, uint16_t selector, unsigned type, unsigned dpl) {
  put_gate(IDT_AT + 8 * vector, selector, HANDLER + vector, type, dpl, 0);
}
static inline void forget_present(uint32_t descriptor_at) { w.mem[descriptor_at + 5] &= 0x7f; }
static inline uint8_t type_byte(uint16_t selector) { return w.mem[GDT_AT + (selector & 0xfff8) + 5]; }

/* Registers as if `selector` had been loaded, without the code under test. */
static inline void force_segment(unsigned seg, uint16_t selector) {
  uint32_t at = (selector & 4 ? LDT_AT : GDT_AT) + (selector & 0xfff8), low = get32(at), high = get32(at + 4);
  uint32_t limit = (low & 0xffff) | (high & 0xf0000);
  v->s.seg[seg] = (struct tr_segment){low >> 16 | (high & 0xff) << 16 | (high & 0xff000000u),
                                      high >> 23 & 1 ? limit << 12 | 0xfff : limit, selector, (uint16_t)(high >> 8 & 0xf0ff), 1};
}
static inline void go_ring(unsigned cpl) {
  static const uint16_t code[] = {CODE0, CODE1, 0, CODE3}, data[] = {DATA0, DATA1, 0, DATA3};
  static const uint32_t stack[] = {STACK0, STACK1, 0, STACK3};
  v->cpl = (uint8_t)cpl;
  for (unsigned seg = 0; seg < 6; seg++) force_segment(seg, seg == SEG_CS ? code[cpl] : data[cpl]);
  v->s.gpr[REG_ESP] = stack[cpl];
  v->s.eip = CODE;
}
static inline void go_real(void) {
  v->cr0 &= ~(uint32_t)CR0_PE;
  v->cpl = 0;
  for (unsigned seg = 0; seg < 6; seg++) v->s.seg[seg] = (struct tr_segment){0, 0xffff, 0, 0x93, 1};
  v->s.gpr[REG_ESP] = STACK0;
  v->s.eip = 0x100;
  v->idt = (struct dtable){0, 0x3ff};
}
static inline void go_v86(unsigned iopl) {
  v->cpl = 3;
  vcpu_set_eflags(v, FLAG_VM | FLAG_IF | iopl << 12);
  for (unsigned seg = 0; seg < 6; seg++)
    v->s.seg[seg] = (struct tr_segment){(0x100 + seg) << 4, 0xffff, (uint16_t)(0x100 + seg), 0xf3, 1};
  v->s.gpr[REG_ESP] = 0x800;
  v->s.eip = 0x123;
}

static inline void make_tables(void) {
  static const uint16_t stacks[] = {DATA0, DATA1};
  gdt(CODE0, 0, 0xfffff, 0xc09b);
  gdt(DATA0, 0, 0xfffff, 0xc093);
  gdt(CODE3, 0, 0xfffff, 0xc0fb);
  gdt(DATA3, 0, 0xfffff, 0xc0f3);
  gdt(CODE1, 0, 0xfffff, 0xc0bb);
  gdt(DATA1, 0, 0xfffff, 0xc0b3);
  gdt(CONFORMING0, 0, 0xfffff, 0xc09f);
  gdt(CODE0_16, 0, 0xffff, 0x009b);
  gdt(DATA0_16, 0, 0xffff, 0x0093);
  gdt(ABSENT3, 0, 0xfffff, 0xc073);
  gdt(EXEC_ONLY, 0, 0xfffff, 0xc099);
  gdt(READ_ONLY, 0, 0xfffff, 0xc091);
  gdt(ABSENT_CODE, 0, 0xfffff, 0xc01b);
  gdt(SHORT_CODE, 0, 0xfff, 0x409b);
  gdt(TSS_SEL, TSS_AT, 0x67, 0x8b);
  gdt(TSS2_SEL, TSS2_AT, 0x67, 0x89);
  gdt(TSS16_SEL, TSS16_AT, 0x2b, 0x81);
  gdt(LDT_SEL, LDT_AT, 0x1f, 0x82);
  put_descriptor(LDT_AT, 0x20000, 0xfff, 0x40f3); /* LDT_DATA3 */
  for (unsigned vector = 0; vector < 256; vector++) idt(vector, CODE0, SYS_INT32, 0);
  for (unsigned dpl = 0; dpl < 2; dpl++) {
    put32(TSS_AT + 4 + 8 * dpl, dpl ? STACK1 : STACK0);
    put32(TSS_AT + 8 + 8 * dpl, stacks[dpl]);
  }
}

static int new_world(void **state) {
  memset(&w, 0, sizeof w);
  v->features = UINT64_MAX;
  v->cr0 = CR0_PE | CR0_ET;
  v->dr[7] = 0x400;
  make_tables();
  v->gdt = (struct dtable){GDT_AT, GDT_LIMIT};
  v->idt = (struct dtable){IDT_AT, 0x7ff};
  v->ldt = (struct tr_segment){LDT_AT, 0x1f, LDT_SEL, 0x82, 1};
  v->tr = (struct tr_segment){TSS_AT, 0x67, TSS_SEL, 0x8b, 1};
  vcpu_set_eflags(v, FLAG_IF);
  go_ring(0);
  v->mode_dirty = false;
  return 0;
}

/* ---- instructions and what is expected of them ---- */

static inline struct insn an_insn(unsigned operand_size) {
  return (struct insn){.length = 2, .operand_size = (uint8_t)operand_size, .address_size = 4, .seg = SEG_DS};
}

#define assert_fault(call, vec, code) \
  do { \
    assert_int_equal((call), EXEC_FAULT); \
    assert_int_equal(v->fault.vector, (vec)); \
    assert_true(v->fault.has_error); \
    assert_int_equal(v->fault.error, (code)); \
  } while (0)
#define assert_next(call) assert_int_equal((call), EXEC_NEXT)

#define world_test(name) cmocka_unit_test_setup(name, new_world)
