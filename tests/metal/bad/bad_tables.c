/* Page tables, descriptor tables and a stack in places where there is no memory, or in device space.
 * ENDS: any */
#include "lib/metal.h"

void test_main(void) {
  paging_on();
  uint32_t good = get_cr3(), *pde = (uint32_t *)good + (TEST_LINEAR >> 22);
  static const uint32_t places[] = {0xfffff000, 0xfee00000, 0xfec00000, 0x10000000, 0x000b8000, 0x000f0000, 0x03fff000};
  for (unsigned i = 0; i < sizeof places / sizeof *places; i++) {
    *pde = places[i] | 7; /* a page table there */
    set_cr3(good);
    print("table at %X: ", places[i]);
    struct context c = context_user(CODE("mov eax, [0x40000000]"));
    run(&c);
    print("%s", vector_name(c.vector));
    c = context_user(CODE("mov [0x40000000], eax"));
    run(&c);
    print(" %s", vector_name(c.vector));
    *pde = 0;
    map(TEST_LINEAR + 0x400000, places[i], 7); /* a page there */
    c = context_user(CODE("mov eax, 0x40400000\n jmp eax"));
    run(&c);
    print(" %s\n", vector_name(c.vector));
  }
  print("descriptor table in nothing\n");
  struct {
    uint16_t limit;
    uint32_t base;
  } __attribute__((packed)) odd = {0xffff, 0xf0000000};
  __asm__ volatile("lgdt %0\n mov %1,%%fs" : : "m"(odd), "r"(0x18));
}
