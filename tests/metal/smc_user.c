/* Ring 3 patches its own code, on its stack, across pages, and data lies beside code that runs (one 64-byte granule and
 * others). */
#include "lib/metal.h"

static void report_edx(const char *label, const char *code, uint32_t ecx) {
  struct context c = context_user(code);
  c.ecx = ecx;
  run(&c);
  print("%s: ", label);
  report_end(&c, code);
  print(" edx=%x\n", c.edx);
}

void test_main(void) {
  paging_on();
  report_edx("trampoline on the stack",
             CODE("3: mov eax, ecx\n shl eax, 8\n mov al, 0xb8\n push 0xc3000000\n push eax\n"
                  " call esp\n add esp, 8\n add edx, eax\n dec ecx\n jnz 3b"),
             50);
  report_edx("counter in the same granule",
             CODE("jmp 3f\n .balign 4\n 1: .long 0\n 3: inc dword ptr [1b]\n mov edx, [1b]\n"
                  " dec ecx\n jnz 3b"),
             3000);
  report_edx("counter in the next granule",
             CODE("jmp 3f\n .balign 64\n 1: .long 0\n .balign 64\n 3: inc dword ptr [1b]\n"
                  " mov edx, [1b]\n dec ecx\n jnz 3b"),
             3000);
  report_edx("store across two pages of code",
             CODE("jmp 3f\n .balign 4096\n .skip 4095 - 32, 0x90\n 1: .skip 32, 0x90\n mov al, 1\n"
                  " .byte 0x90, 0xc3, 0x90, 0x90\n 3: lea ebx, [1b + 32]\n"
                  "call 1b\n add edx, eax\n mov dword ptr [ebx - 2], 0xb0909090\n mov [ebx + 2], cl\n"
                  " mov word ptr [ebx + 3], 0xc390\n call 1b\n add edx, eax\n dec ecx\n jnz 3b"),
             40);
}
