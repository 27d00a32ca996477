/* Shifts and rotates of all kinds and counts, by immediates too: results and defined flags. tests/diff finds the wrong rule of a build with BT_BROKEN here. */
#include "lib/metal.h"

static uint32_t sum;

static void fold(uint32_t result, uint32_t flags, uint32_t defined) { sum = ((sum << 5 | sum >> 27) ^ result ^ (flags & defined) << 8) * 16777619; }

/* One count, as an immediate: AF is never defined, OF only for counts of 1. */
#define SHIFT(name, count) do { \
    uint32_t eax = value, flags = 2 | (value & FL_CF); \
    __asm__ volatile("push %1\n popf\n " name " $" #count ", %0\n pushf\n pop %1" : "+a"(eax), "+r"(flags) : : "cc"); \
    fold(eax, flags, FL_CF | (count == 1 ? FL_OF : 0)); \
  } while (0)
#define SHIFTS(name) do { \
    sum = 0; \
    for (uint32_t i = 0, value = 1; i < 500; i++, value = value * 1664525 + 1013904223) { SHIFT(name, 1); SHIFT(name, 3); SHIFT(name, 9); SHIFT(name, 30); } \
    print("%s: %X\n", name, sum); \
  } while (0)

void test_main(void) {
  SHIFTS("roll");
  SHIFTS("rorl");
  SHIFTS("rcll");
  SHIFTS("rcrl");
  SHIFTS("shll");
  SHIFTS("shrl");
  SHIFTS("sarl");
}
