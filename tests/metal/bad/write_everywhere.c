/* Stores to every 64 KiB of the physical address space but this image and the local APIC - ROM, holes, device space - in sizes 1,
 * 2, 4, and reads back; then over its own code.
 * ENDS: any */
#include "lib/metal.h"

void test_main(void) {
  print("writing everywhere\n");
  uint32_t sum = 0;
  for (uint32_t page = 0; page < 0x10000; page++) {
    uint32_t a = page << 16;
    if (a >= 0x100000 && a < 0x200000) continue;
    if (a == 0) continue;
    *(volatile uint8_t *)(a + 1) = 0x5a;
    *(volatile uint16_t *)(a + 0xffe) = 0x1234;
    *(volatile uint32_t *)(a + 0x2000) = 0xdeadbeef;
    *(volatile uint32_t *)(a + 0x2ffe) = 0xcafebabe; /* crosses a page */
    sum += *(volatile uint8_t *)(a + 1) + *(volatile uint32_t *)(a + 0x2000) + *(volatile uint32_t *)(a + 0x2ffe);
  }
  print("read back %d\n", sum != 0);
  __asm__ volatile("mov $0x100000,%%edi\n mov $0x80000,%%ecx\n mov $0xffffffff,%%eax\n rep stosl"
                   :
                   :
                   : "edi", "ecx", "eax", "memory");
}
