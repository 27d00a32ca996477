/* RDTSC never goes back and does go on; CR4.TSD; it agrees roughly with the PIT (within a factor of two over 50 ms). */
#include "lib/metal.h"

static uint16_t pit_count(void) {
  outb(0x43, 0);
  uint8_t low = inb(0x40);
  return (uint16_t)(low | inb(0x40) << 8);
}

static uint64_t tsc_for_pit(unsigned clocks) {
  outb(0x43, 0x34);
  outb(0x40, 0);
  outb(0x40, 0);
  uint64_t start = rdtsc();
  uint16_t last = pit_count();
  for (unsigned done = 0; done < clocks;) {
    uint16_t now = pit_count();
    done += (uint16_t)(last - now);
    last = now;
  }
  return rdtsc() - start;
}

void test_main(void) {
  uint64_t last = rdtsc(), first = last;
  unsigned back = 0;
  for (unsigned i = 0; i < 20000; i++) {
    uint64_t now = rdtsc();
    if (now < last) back++;
    last = now;
  }
  print("backwards: %d, advanced: %d\n", back, last > first);
  uint32_t a = (uint32_t)(tsc_for_pit(60000) >> 10), b = (uint32_t)(tsc_for_pit(60000) >> 10);
  print("rate steady: %s\n", a < 2 * b && b < 2 * a ? "yes" : "NO");
  set_cr4(get_cr4() | CR4_TSD);
  try_user("tsd user", CODE("nop\n rdtsc"));
  try_kernel("tsd kernel", CODE("rdtsc"));
  set_cr4(get_cr4() & ~(uint32_t)CR4_TSD);
  try_user("user", CODE("rdtsc"));
}
