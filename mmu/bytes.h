/* Byte copies and fills without libc: the compiler may not turn these into memcpy()/memset() calls, because the callers run
 * while the guest's x87/SSE state is live in the host's registers (D7). */
#pragma once
#include <stddef.h>
#include <stdint.h>

static inline void bytes_copy(void *to, const void *from, uint64_t size) {
  __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
}

static inline void bytes_fill(void *to, uint8_t value, uint64_t size) {
  __asm__ volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(value) : "memory");
}

static inline void bytes_zero(void *to, uint64_t size) { bytes_fill(to, 0, size); }

/* Guest-sized copies: one move where the size is one of a register's, as REP MOVSB costs 30 cycles to start. The host
 * access is single, so that an aligned guest store is seen whole. */
static inline void bytes_copy_small(void *to, const void *from, uint64_t size) {
  typedef uint16_t __attribute__((may_alias, aligned(1))) u16;
  typedef uint32_t __attribute__((may_alias, aligned(1))) u32;
  typedef uint64_t __attribute__((may_alias, aligned(1))) u64;
  switch (size) {
  case 1: *(volatile uint8_t *)to = *(const volatile uint8_t *)from; break;
  case 2: *(volatile u16 *)to = *(const volatile u16 *)from; break;
  case 4: *(volatile u32 *)to = *(const volatile u32 *)from; break;
  case 8: *(volatile u64 *)to = *(const volatile u64 *)from; break;
  default: bytes_copy(to, from, size);
  }
}
