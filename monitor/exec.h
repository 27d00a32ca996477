/* The instructions in C: one function a kind, and what those functions share. Private to monitor/; others call exec_insn().
 *
 * int x_KIND(v, i): v->s.eip is the instruction's own address on entry, and the next one's when EXEC_NEXT is returned. On
 * EXEC_FAULT nothing has changed (I1). exec.c has the table. */
#pragma once
#include "bytes.h"
#include "vcpu.h"

#define EXEC_DECLARE(kind, name, ...) int x_##name(struct vcpu *v, const struct insn *i);
OP_KINDS(EXEC_DECLARE, EXEC_DECLARE)
#undef EXEC_DECLARE

/* #NM, #UD or nothing, as the row's fpu need and CR0/CR4 say (SDM vol. 3A, 2.5 and table 9-3). */
int fpu_check(struct vcpu *v, enum fpu_need need);
/* May the current privilege do I/O on [port, port + size)? IOPL, then the TSS bitmap (SDM vol. 1, 19.5). */
int io_check(struct vcpu *v, uint16_t port, unsigned size);
/* Port access after io_check(): I/O breakpoints noted, FP parked. */
uint32_t io_read(struct vcpu *v, uint16_t port, unsigned size);
void io_write(struct vcpu *v, uint16_t port, unsigned size, uint32_t value);
/* As seg_probe_write(), for a read: raises what seg_read() would, reads nothing. */
int seg_probe_read(struct vcpu *v, unsigned seg, uint32_t offset, unsigned size);
/* Does any of DR0-3 watch data or ports? */
bool db_armed(const struct vcpu *v);

static inline uint32_t size_mask(unsigned size) { return size == 4 ? 0xffffffffu : size == 2 ? 0xffffu : 0xffu; }

static inline uint32_t reg_read(const struct vcpu *v, unsigned reg, unsigned size) {
  if (size == 1) return v->s.gpr[reg & 3] >> (reg & 4 ? 8 : 0) & 0xff;
  return v->s.gpr[reg] & size_mask(size);
}

static inline void reg_write(struct vcpu *v, unsigned reg, unsigned size, uint32_t value) {
  unsigned shift = size == 1 && reg & 4 ? 8 : 0;
  uint32_t mask = size_mask(size) << shift;
  uint32_t *r = &v->s.gpr[size == 1 ? reg & 3 : reg];
  *r = (*r & ~mask) | (value << shift & mask);
}

/* In 16-bit code too: only branches have 16 bits. What lies beyond the limit is the next fetch's #GP (SDM vol. 3A, 5.3). */
static inline uint32_t exec_next_eip(const struct vcpu *v, const struct insn *i) { return v->s.eip + i->length; }

static inline int exec_done(struct vcpu *v, const struct insn *i) {
  v->s.eip = exec_next_eip(v, i);
  return EXEC_NEXT;
}

/* The arithmetic flags of `a - b`, from the host's own comparison. */
static inline uint32_t flags_of_compare(uint32_t a, uint32_t b, unsigned size) {
  uint64_t ah = 0;
  uint8_t of;
  switch (size) { /* neither LAHF nor SETO changes the flags */
  case 1: __asm__("cmpb %b3, %b2; lahf; seto %1" : "+a"(ah), "=&q"(of) : "q"(a), "q"(b) : "cc"); break;
  case 2: __asm__("cmpw %w3, %w2; lahf; seto %1" : "+a"(ah), "=&q"(of) : "q"(a), "q"(b) : "cc"); break;
  default: __asm__("cmpl %k3, %k2; lahf; seto %1" : "+a"(ah), "=&q"(of) : "q"(a), "q"(b) : "cc"); break;
  }
  return (ah >> 8 & (FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF)) | (of ? FLAG_OF : 0);
}

static inline void flags_set_arith(struct vcpu *v, uint32_t flags) {
  v->s.flags = (v->s.flags & ~FLAGS_ARITH) | (flags & FLAGS_ARITH);
}
