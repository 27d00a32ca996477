/* Every port read in three sizes, then written with odd values, but for those that would end or reset the machine.
 * ENDS: any */
#include "lib/metal.h"

static bool ends_the_machine(uint32_t p) {
  return (p >= 0xf1 && p <= 0xf7) || (p >= 0x5f && p <= 0x64) || (p >= 0x8f && p <= 0x92) || (p >= 0xcf5 && p <= 0xcff) ||
         (p >= 0x3f5 && p <= 0x3ff) || (p >= 0x600 && p < 0x700) || (p >= 0xb000 && p < 0xb100) || (p >= 0x500 && p < 0x520);
}

void test_main(void) {
  print("reading\n");
  uint32_t sum = 0;
  for (uint32_t p = 0; p < 0x10000; p++) sum += inb((uint16_t)p) + inw((uint16_t)p) + inl((uint16_t)p);
  print("writing %d\n", sum != 1);
  for (uint32_t p = 0; p < 0x10000; p++)
    if (!ends_the_machine(p)) {
      outb((uint16_t)p, (uint8_t)(p * 5 + 1));
      outw((uint16_t)p, (uint16_t)(p * 3));
      outl((uint16_t)p, ~p);
    }
  print("done\n");
}
