/* Execution in device space (the local APIC's page): there is no code to translate.
 * ENDS: any */
#include "lib/metal.h"

void test_main(void) {
  print("jumping to fee00000\n");
  struct context c = context_kernel((void *)0xfee00000);
  run(&c);
  print("came back: %s\n", vector_name(c.vector));
}
