/* Execution past the end of RAM, where reads give all ones: FF FF is #UD.
 * ENDS: any */
#include "lib/metal.h"

void test_main(void) {
  struct context c = context_kernel((void *)(80 << 20));
  run(&c);
  print("past ram: %s\n", vector_name(c.vector));
  c = context_kernel((void *)((64 << 20) - 1)); /* the last byte of RAM starts an instruction that goes on beyond */
  *(volatile uint8_t *)((64 << 20) - 1) = 0x05;
  run(&c);
  print("straddling the end: %s\n", vector_name(c.vector));
  c = context_kernel((void *)0xffffffff); /* wraps to 0 */
  run(&c);
  print("top of memory: %s\n", vector_name(c.vector));
}
