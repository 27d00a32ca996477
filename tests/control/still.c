/* A guest that stands still for tests/control/run: known registers, page tables with something of everything, bytes to look at,
 * and a HLT with interrupts off. It is asked to begin by the monitor's `cont`, and says "ready" on COM1. */
#include "lib/metal.h"

enum { ROOM = 0xd0000000, BYTES = 0x300000 };
static const char text[] = "bytes to look at: \x7f\n'\\";

static void map_some_of_everything(void) {
  map(ROOM, BYTES, PG_P);
  map(ROOM + 0x1000, BYTES, PG_P | PG_W);
  map(ROOM + 0x2000, BYTES, PG_P | PG_W | PG_U);
  map(ROOM + 0x3000, BYTES, PG_P | PG_U | 1 << 3 | 1 << 4 | 1 << 8);
  map(ROOM + 0x5000, BYTES + 0x1000, PG_P | PG_W);
}

void test_main(void) {
  for (unsigned i = 0; i < sizeof text; i++) ((volatile char *)BYTES)[i] = text[i];
  for (unsigned i = 0; i < 256; i++) ((volatile uint8_t *)BYTES)[256 + i] = (uint8_t)(i * 7);
  paging_on();
  set_cr4(get_cr4() | CR4_PSE);
  map_some_of_everything();
  ((volatile uint32_t *)(get_cr3() & ~0xfffu))[0xe0000000u >> 22] = 0 | PG_P | PG_W | PG_PS;
  print("ready\n");
  __asm__ volatile("mov $0x1111, %%eax\n mov $0x2222, %%ebx\n mov $0x3333, %%ecx\n mov $0xffff, %%edx\n mov $0x5555, %%esi\n"
                   "mov $0x6666, %%edi\n fninit\n fld1\n fldpi\n cli\n 1: hlt\n jmp 1b"
                   :
                   :
                   : "eax", "ebx", "ecx", "edx", "esi", "edi", "memory");
}
