/* The least that works: Multiboot entry, COM1, debug exit. */
#include "lib/metal.h"

void test_main(void) {
  print("hello: world\n");
  print("cr0: pe=%d pg=%d\n", get_cr0() & 1, get_cr0() >> 31);
}
