/* A steady system-call loop, for the monitor's statistics: 100000 rounds of INT 80h and back; callouts must not exceed what
 * the round needs (tests assert on --stats of this image). */
#include "lib/metal.h"

void test_main(void) {
  const char *handler = CODE("inc eax\n iretd");
  idt[0x80] = make_gate(SEL_KCODE, (uint32_t)handler, ACC_TRAP | ACC_DPL3, 0);
  paging_on();
  struct context c = context_user(CODE("mov ecx, 100000\n 1: int 0x80\n add ebx, eax\n dec ecx\n jnz 1b"));
  run(&c);
  print("syscalls: %s %d sum %X\n", vector_name(c.vector), c.eax, c.ebx);
}
