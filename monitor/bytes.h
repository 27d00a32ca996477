/* Copies, fills and unaligned loads for code that may call nothing of libc and touch no vector register (D7). */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bytes_u16 {
  uint16_t v;
} __attribute__((packed, may_alias));
struct bytes_u32 {
  uint32_t v;
} __attribute__((packed, may_alias));
struct bytes_u64 {
  uint64_t v;
} __attribute__((packed, may_alias));

static inline uint16_t load16(const void *p) { return ((const struct bytes_u16 *)p)->v; }
static inline uint32_t load32(const void *p) { return ((const struct bytes_u32 *)p)->v; }
static inline uint64_t load64(const void *p) { return ((const struct bytes_u64 *)p)->v; }
static inline void store16(void *p, uint16_t v) { ((struct bytes_u16 *)p)->v = v; }
static inline void store32(void *p, uint32_t v) { ((struct bytes_u32 *)p)->v = v; }
static inline void store64(void *p, uint64_t v) { ((struct bytes_u64 *)p)->v = v; }

/* The sizes of guest operands take one move: it is also what makes an aligned guest access single. Stack frames (12 to 32 bytes)
 * are copied by moves, since REP MOVSB takes some 30 cycles to start. Inline assembly, so that the compiler cannot make it a call
 * of memcpy. */
static inline void bytes_copy(void *to, const void *from, size_t n) {
  switch (n) {
  case 1: *(uint8_t *)to = *(const uint8_t *)from; return;
  case 2: store16(to, load16(from)); return;
  case 4: store32(to, load32(from)); return;
  case 8: store64(to, load64(from)); return;
  }
  if (n <= 64) {
    uint8_t *t = (uint8_t *)to;
    const uint8_t *f = (const uint8_t *)from;
    for (; n >= 8; n -= 8, t += 8, f += 8) store64(t, load64(f));
    if (n & 4) {
      store32(t, load32(f));
      t += 4, f += 4;
    }
    if (n & 2) {
      store16(t, load16(f));
      t += 2, f += 2;
    }
    if (n & 1) *t = *f;
    return;
  }
  __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
}

static inline void bytes_fill(void *to, uint8_t value, size_t n) {
  __asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(value) : "memory");
}

static inline bool bytes_equal(const void *a, const void *b, size_t n) {
  const uint8_t *x = a, *y = b;
  for (size_t i = 0; i < n; i++)
    if (x[i] != y[i]) return false;
  return true;
}
