/* Boundary and random values: integers, floating point in three sizes, x87/SSE state. */
#pragma once
#include "random.h"

static inline void value_store(uint8_t *to, uint64_t value, unsigned size) {
  for (unsigned i = 0; i < size; i++) to[i] = (uint8_t)(value >> 8 * i);
}
uint32_t value_integer(struct random *r);
void value_float32(struct random *r, uint8_t *to); /* 4 bytes */
void value_float64(struct random *r, uint8_t *to); /* 8 bytes */
void value_float80(struct random *r, uint8_t *to); /* 10 bytes */
void value_bcd80(struct random *r, uint8_t *to);   /* 10 bytes, for FBLD */
void value_vector(struct random *r, uint8_t *to);  /* 16 bytes */
/* An FXSAVE image (SDM vol. 1, table 10-2) that FXRSTOR accepts. `use`: 0 neither, 1 x87 or MMX, 2 SSE: what the case is
 * about. */
enum { FX_FOR_NONE, FX_FOR_X87, FX_FOR_SSE };
void value_fx(struct random *r, uint8_t *image, int use);
