/* Instructions that idioms are made of, for code of either size: what writer.sixteen says. Inside the generator alone. */
#pragma once
#include "case.h"

/* The prefix that makes it a 32-bit or a 16-bit operation. */
static inline void operand_size(struct writer *w, bool wide) {
  if (w->sixteen == wide) emit8(w, 0x66);
}
static inline void mov_reg(struct writer *w, unsigned reg, uint32_t v) {
  operand_size(w, true), emit8(w, 0xb8 | reg), emit32(w, v);
}
static inline void push_imm(struct writer *w, uint32_t v) { operand_size(w, true), emit8(w, 0x68), emit32(w, v); }
static inline void mov_mem(struct writer *w, uint32_t at, uint32_t v) {
  operand_size(w, true);
  if (w->sixteen) emit8(w, 0x67);
  emit8(w, 0xc7), emit8(w, 0x05), emit32(w, at), emit32(w, v);
}
static inline void mov_to_cr(struct writer *w, unsigned cr) { emit8(w, 0x0f), emit8(w, 0x22), emit8(w, 0xc0 | cr << 3); }
static inline void mov_dx(struct writer *w, unsigned port) { operand_size(w, false), emit8(w, 0xba), emit16(w, port); }

/* IN or OUT by DX of 1, 2 or 4 bytes. */
static inline void port_op(struct writer *w, unsigned opcode, unsigned size) {
  if (size > 1) operand_size(w, size == 4);
  emit8(w, opcode | (size > 1));
}
static inline void out_port(struct writer *w, unsigned port, unsigned size, uint32_t v) {
  mov_dx(w, port);
  if (size == 1) emit8(w, 0xb0), emit8(w, v);
  else if (size == 2) operand_size(w, false), emit8(w, 0xb8), emit16(w, v);
  else mov_reg(w, 0, v);
  port_op(w, 0xee, size);
}
static inline void out8(struct writer *w, unsigned port, uint32_t v) { out_port(w, port, 1, v); }
static inline void in_port(struct writer *w, unsigned port, unsigned size) { mov_dx(w, port), port_op(w, 0xec, size); }

/* REP INS to, or OUTS from, [at]. */
static inline void rep_port(struct writer *w, unsigned port, unsigned size, bool in, uint32_t at, uint32_t count) {
  mov_reg(w, in ? 7 : 6, at), mov_reg(w, 1, count), mov_dx(w, port);
  if (w->sixteen) emit8(w, 0x67);
  emit8(w, 0xf3), port_op(w, in ? 0x6c : 0x6e, size);
}

/* Reads the port until no bit of the mask is set (`set`: one is), but not for ever. */
static inline void wait_port(struct writer *w, unsigned port, unsigned mask, bool set, unsigned times) {
  mov_reg(w, 1, times), mov_dx(w, port), emit8(w, 0xec), emit8(w, 0xa8), emit8(w, mask);
  emit8(w, set ? 0xe1 : 0xe0), emit8(w, 0u - 5); /* LOOPE, LOOPNE */
}
static inline void config_address(struct writer *w, unsigned devfn, unsigned reg) {
  out_port(w, 0xcf8, 4, 0x80000000u | devfn << 8 | (reg & 0xfc));
}
static inline void config_write(struct writer *w, unsigned devfn, unsigned reg, unsigned size, uint32_t v) {
  config_address(w, devfn, reg), out_port(w, 0xcfc + (reg & 3), size, v);
}

/* One of a list, by weight. */
typedef void idiom(struct generator *g, struct writer *w);
struct idiom_row {
  idiom *write;
  unsigned weight;
};
void write_one_of(struct generator *g, struct writer *w, const struct idiom_row *rows, unsigned count); /* idioms.c */

uint32_t some_chunk(struct generator *g); /* idioms.c */
