#include "values.h"
#include <string.h>

uint32_t value_integer(struct random *r) {
  static const uint32_t edges[] = {0,          1,          2,          3,          7,          8,          15,
                                   16,         31,         32,         33,         63,         0x7f,       0x80,
                                   0x81,       0xff,       0x100,      0x7fff,     0x8000,     0x8001,     0xffff,
                                   0x10000,    0x7ffffffe, 0x7fffffff, 0x80000000, 0x80000001, 0xfffffffe, 0xffffffff,
                                   0xffffff80, 0xffff8000, 0x99999999, 0x0f0f0f0f, 0x00ff00ff};
  switch (random_below(r, 6)) {
  case 0:
  case 1: return RANDOM_OF(r, edges);
  case 2: return 1u << random_below(r, 32);
  case 3: return (uint32_t) - (int32_t)random_below(r, 256);
  case 4: return random_below(r, 256);
  default: return random_32(r);
  }
}

void value_float32(struct random *r, uint8_t *to) {
  static const uint32_t edges[] = {0,          0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000, 0x7fc00000,
                                   0xffc00000, 0x7f800001, 0xffa00001, 0x00000001, 0x807fffff, 0x00800000, 0x7f7fffff,
                                   0x4f000000, 0xcf000000, 0x4effffff, 0x3f000000, 0x40490fdb, 0x3effffff};
  uint32_t v = random_chance(r, 60)   ? RANDOM_OF(r, edges)
               : random_chance(r, 50) ? random_32(r)
                                      : 0x3f800000u + random_below(r, 0x04000000) - 0x02000000;
  value_store(to, v, 4);
}

void value_float64(struct random *r, uint8_t *to) {
  static const uint64_t edges[] = {0,
                                   0x8000000000000000,
                                   0x3ff0000000000000,
                                   0xbff0000000000000,
                                   0x7ff0000000000000,
                                   0xfff0000000000000,
                                   0x7ff8000000000000,
                                   0x7ff0000000000001,
                                   0xfff4000000000001,
                                   1,
                                   0x800fffffffffffff,
                                   0x0010000000000000,
                                   0x7fefffffffffffff,
                                   0x41e0000000000000,
                                   0xc1e0000000000000,
                                   0x41dfffffffc00000,
                                   0x3fe0000000000000,
                                   0x400921fb54442d18,
                                   0x43e0000000000000,
                                   0x47efffffe0000001};
  uint64_t v = random_chance(r, 60)   ? RANDOM_OF(r, edges)
               : random_chance(r, 50) ? random_64(r)
                                      : 0x3ff0000000000000 + (random_64(r) >> 8) - (1ull << 55);
  value_store(to, v, 8);
}

void value_float80(struct random *r, uint8_t *to) {
  /* zero, one, infinity, quiet and signalling NaN, indefinite, denormal, pseudo-denormal, unnormal, pseudo-infinity, pi, 2^63,
   * 10^18 */
  static const struct {
    uint64_t significand;
    uint16_t exponent;
  } edges[] = {{0, 0},
               {0x8000000000000000, 0x3fff},
               {0x8000000000000000, 0x7fff},
               {0xc000000000000000, 0x7fff},
               {0x8000000000000001, 0x7fff},
               {0xc000000000000000, 0xffff},
               {1, 0},
               {0x8000000000000000, 0},
               {0x4000000000000000, 0x4000},
               {0, 0x7fff},
               {0xc90fdaa22168c235, 0x4000},
               {0x8000000000000000, 0x403e},
               {0xde0b6b3a76400000, 0x403a},
               {0xffffffffffffffff, 0x7ffe},
               {0x8000000000000000, 1},
               {0x8000000000000000, 0x3ffe}};
  uint64_t s;
  uint16_t e;
  if (random_chance(r, 50)) {
    unsigned i = random_below(r, sizeof edges / sizeof *edges);
    s = edges[i].significand, e = edges[i].exponent ^ (random_chance(r, 30) ? 0x8000 : 0);
  } else {
    s = random_64(r) | 1ull << 63;
    e = (uint16_t)(random_chance(r, 80) ? 0x3fff + random_below(r, 80) - 40 : random_32(r)) ^ (random_chance(r, 50) ? 0x8000 : 0);
  }
  value_store(to, s, 8), value_store(to + 8, e, 2);
}

void value_bcd80(struct random *r, uint8_t *to) {
  for (unsigned i = 0; i < 9; i++) to[i] = (uint8_t)(random_below(r, 10) << 4 | random_below(r, 10));
  to[9] = random_chance(r, 50) ? 0x80 : 0;
}

void value_vector(struct random *r, uint8_t *to) {
  switch (random_below(r, 5)) {
  case 0:
  case 1:
    for (unsigned i = 0; i < 16; i += 4) value_float32(r, to + i);
    break;
  case 2:
  case 3:
    for (unsigned i = 0; i < 16; i += 8) value_float64(r, to + i);
    break;
  default:
    for (unsigned i = 0; i < 16; i += 4) value_store(to + i, value_integer(r), 4);
  }
}

enum { FX_FCW = 0, FX_FSW = 2, FX_TAG = 4, FX_MXCSR = 24, FX_MXCSR_MASK = 28, FX_ST = 32, FX_XMM = 160 };

static uint16_t control_word(struct random *r, bool exotic) {
  unsigned fcw = 0x37f;
  if (exotic || random_chance(r, 20)) fcw = 0x7f | random_below(r, 4) << 8 | random_below(r, 4) << 10;
  if (exotic && random_chance(r, 40)) fcw &= ~random_below(r, 64);
  return (uint16_t)(fcw | 0x40);
}

static uint16_t status_word(struct random *r, bool exotic) {
  unsigned fsw = random_below(r, 8) << 11;
  if (exotic || random_chance(r, 10)) fsw |= (random_32(r) & 0x4700);
  if (exotic && random_chance(r, 25)) fsw |= random_below(r, 64);
  return (uint16_t)fsw;
}

static uint32_t mxcsr(struct random *r, bool exotic) {
  uint32_t v = 0x1f80;
  if (exotic) v |= random_below(r, 4) << 13 | (random_chance(r, 30) ? 0x8000 : 0) | (random_chance(r, 30) ? 0x40 : 0);
  if (exotic && random_chance(r, 40)) v &= ~(random_below(r, 64) << 7);
  if (exotic && random_chance(r, 30)) v |= random_below(r, 64);
  return v;
}

void value_fx(struct random *r, uint8_t *image, int use) {
  memset(image, 0, 512);
  value_store(image + FX_FCW, control_word(r, use == FX_FOR_X87 && random_chance(r, 50)), 2);
  value_store(image + FX_FSW, status_word(r, use == FX_FOR_X87 && random_chance(r, 50)), 2);
  image[FX_TAG] = (uint8_t)(random_chance(r, 60) ? 0xff : random_chance(r, 30) ? 0 : random_32(r));
  value_store(image + FX_MXCSR, mxcsr(r, use == FX_FOR_SSE && random_chance(r, 50)), 4);
  value_store(image + FX_MXCSR_MASK, 0xffff, 4);
  for (unsigned i = 0; i < 8; i++) {
    if (use == FX_FOR_X87 || i < 2) value_float80(r, image + FX_ST + 16 * i);
    else value_store(image + FX_ST + 16 * i, random_64(r), 8), value_store(image + FX_ST + 16 * i + 8, 0xffff, 2);
    value_vector(r, image + FX_XMM + 16 * i);
  }
}
