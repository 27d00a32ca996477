/* Faults that nest in every way: handlers that fault, a #DF handler that faults after returning, stacks that run out.
 * ENDS: any */
#include "lib/metal.h"

void test_main(void) {
  paging_on();
  gate_df_task();
  for (unsigned i = 0; i < 1000; i++) {
    struct context c = context_kernel(CODE("mov esp, 0x40000800\n push eax"));
    run(&c);
    if (c.vector != 8) print("round %d: %s\n", i, vector_name(c.vector));
  }
  print("a thousand double faults\n");
  idt[14] = make_gate(SEL_KCODE, 0x40000000, ACC_INT, 0); /* the handler's page is absent: faults until the stack is out */
  struct context c = context_kernel(CODE("mov eax, [0x40000000]"));
  run(&c);
  print("recursive: %s\n", vector_name(c.vector));
}
