/* A loop with interrupts off for ever: the machine must still be stoppable from outside.
 * ENDS: never */
#include "lib/metal.h"

void test_main(void) {
  print("spinning\n");
  __asm__ volatile("cli\n 1: jmp 1b");
}
