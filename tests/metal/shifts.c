/* Shifts and rotates of all kinds and counts, by immediates too: results and defined flags. tests/diff finds the wrong rule of a
 * build with BT_BROKEN here. */
#include "lib/metal.h"

static uint32_t sum;

static void fold(uint32_t result, uint8_t flags) { sum = ((sum << 5 | sum >> 27) ^ result ^ (uint32_t)flags << 8) * 16777619; }

/* One count, as an immediate. Flags that are not defined for it are not read: AF never is, OF only for counts of 1. */
#define SHIFT(name, count) \
  do { \
    uint32_t eax = value; \
    uint8_t carry, overflow = 0; \
    if (count == 1) \
      __asm__ volatile("bt $7, %0\n " name " $1, %0\n setc %1\n seto %2" : "+r"(eax), "=&q"(carry), "=&q"(overflow) : : "cc"); \
    else __asm__ volatile("bt $7, %0\n " name " $" #count ", %0\n setc %1" : "+r"(eax), "=&q"(carry) : : "cc"); \
    fold(eax, carry | overflow << 1); \
  } while (0)
#define SHIFTS(name) \
  do { \
    sum = 0; \
    for (uint32_t i = 0, value = 1; i < 500; i++, value = value * 1664525 + 1013904223) { \
      SHIFT(name, 1); \
      SHIFT(name, 3); \
      SHIFT(name, 9); \
      SHIFT(name, 30); \
    } \
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
