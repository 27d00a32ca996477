/* A program that jumps to the host's 64-bit code segment, by an instruction that hides in two others, so that no look at its page
 * finds it. Translated it gets the #GP that its GDT gives; in a sandbox it leaves what can be told, and the machine stops with a
 * line that says so.
 * BTARGS: --user=direct
 * (Status 4; or 1, as translated, where the page happened to be looked through at that very instruction.)
 * ENDS: any */
#include "../lib/metal.h"

void test_main(void) {
  paging_on();
  /* at 1: far jump to 33h:[3]; 3 is a loop in both modes */
  struct context c = context_user(CODE("mov eax, offset 1f + 1\n jmp eax\n"
                                       "1: .byte 0xb8, 0xea\n .long 3f\n .byte 0x33, 0x00, 0x90\n"
                                       "3: jmp 3b"));
  for (unsigned i = 0; i < 3; i++) run(&c);
}
