/* The guest's addresses as types, so that one is not taken for another; and its pages. Both may have 64 bits.
 *
 * Linear addresses are added up by gla_add() alone: they wrap as the guest's CPU wraps them, which gla_wrap() knows. What are
 * offsets in segments, EIP and registers (bases, CR2, DR0-3) are numbers; to_gla() makes an address of one. */
#pragma once
#include <stdint.h>

enum { MMU_PAGE_BITS = 12, MMU_PAGE = 1 << MMU_PAGE_BITS };

typedef struct {
  uint64_t v;
} gla; /* guest linear address */
typedef struct {
  uint64_t v;
} gpa; /* guest physical address */
static inline gla to_gla(uint64_t v) { return (gla){v}; }
static inline gpa to_gpa(uint64_t v) { return (gpa){v}; }

static inline gla gla_wrap(uint64_t v) { return to_gla((uint32_t)v); } /* a CPU of 32 bits: modulo 4 GiB */
static inline gla gla_add(gla a, uint64_t n) { return gla_wrap(a.v + n); }
static inline uint64_t gla_distance(gla from, gla to) { return gla_wrap(to.v - from.v).v; } /* upwards */
static inline uint64_t gla_page(gla a) { return a.v >> MMU_PAGE_BITS; }
static inline uint32_t gla_in_page(gla a) { return (uint32_t)a.v & (MMU_PAGE - 1); }
