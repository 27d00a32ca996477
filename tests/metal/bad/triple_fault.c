/* No IDT, then an exception: shutdown, which under -no-reboot ends the program as on QEMU.
 * ENDS: status 0 */
#include "lib/metal.h"

void test_main(void) {
  struct {
    uint16_t limit;
    uint32_t base;
  } __attribute__((packed)) none = {0, 0};
  print("about to shut down\n");
  __asm__ volatile("lidt %0\n int3" : : "m"(none));
}
