/* HLT with interrupts off: asleep for ever, without burning the host's CPU.
 * ENDS: never */
#include "lib/metal.h"

void test_main(void) {
  print("halting\n");
  __asm__ volatile("cli\n hlt");
}
