/* The local APIC timer's mode is changed while it counts or after it has: the count goes on, and where a one-shot has ended it
 * stays at 0 until the initial count is written (SDM vol. 3A, 11.5.4). QEMU computes what the count would be had it always run in
 * the new mode.
 * EXPECT: expired, then periodic: 0
 * EXPECT: periodic, then one-shot: counts 1 ends 1 */
#include "lib/metal.h"

enum {
  APIC = 0xfee00000u,
  SVR = 0xf0,
  LVT_TIMER = 0x320,
  INITIAL = 0x380,
  CURRENT = 0x390,
  DIVIDE = 0x3e0,
  VECTOR = 0x70,
  MASKED = 1 << 16,
  PERIODIC = 1 << 17
};
static uint32_t get(uint32_t reg) { return *(volatile uint32_t *)(APIC + reg); }
static void set(uint32_t reg, uint32_t value) { *(volatile uint32_t *)(APIC + reg) = value; }

/* All that the count is seen to be. */
static uint32_t seen(void) {
  uint32_t all = 0;
  for (unsigned i = 0; i < 20000; i++) all |= get(CURRENT);
  return all;
}

void test_main(void) {
  set(SVR, 0x1ff);
  set(DIVIDE, 0x0b);
  set(LVT_TIMER, VECTOR | MASKED);
  set(INITIAL, 1000);
  while (get(CURRENT)) {}
  set(LVT_TIMER, VECTOR | MASKED | PERIODIC);
  print("expired, then periodic: %x\n", seen());
  set(INITIAL, 1000);
  print("until the count is written: %d\n", seen() != 0);
  set(INITIAL, 50000000); /* 50 ms: two periods pass, and the third ends as a one-shot */
  uint32_t last = get(CURRENT), now;
  for (unsigned wraps = 0; wraps < 2; last = now) wraps += (now = get(CURRENT)) > last;
  set(LVT_TIMER, VECTOR | MASKED);
  bool counts = get(CURRENT) != 0;
  while (get(CURRENT)) {}
  print("periodic, then one-shot: counts %d ends %d\n", counts, seen() == 0);
}
