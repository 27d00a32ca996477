/* A store into a later instruction of the running block is seen by it (SDM vol. 3A, 8.1.3; docs/design.md I5). */
#include "lib/metal.h"

static void sum(const char *label, const char *code) {
  struct context c = context_kernel(code);
  c.ecx = 200;
  run(&c);
  print("%s: ", label);
  report_end(&c, code);
  print(" edx=%x ecx=%x\n", c.edx, c.ecx);
}

void test_main(void) {
  sum("immediate", CODE("3: mov [1f + 1], cl\n xor ebx, ebx\n 1: mov al, 0\n movzx eax, al\n add edx, eax\n dec ecx\n jnz 3b"));
  sum("opcode", CODE("3: mov al, 0x42\n test cl, 1\n jz 2f\n mov al, 0x4a\n 2: mov [1f], al\n nop\n 1: inc edx\n add edx, 3\n"
                     " dec ecx\n jnz 3b"));
  sum("displacement", CODE("3: and cl, 0xff\n mov al, cl\n and al, 1\n mov [1f + 1], al\n 1: jmp 2f\n 2: inc edx\n add edx, 5\n"
                           " dec ecx\n jnz 3b"));
  sum("dword", CODE("3: mov [1f + 1], ecx\n 1: mov eax, 0\n add edx, eax\n dec ecx\n jnz 3b"));
  sum("own bytes",
      CODE("3: mov [3b + 2], ecx\n 1: add edx, [3b + 2]\n mov dword ptr [3b + 2], offset 3b + 2\n dec ecx\n jnz 3b"));
  sum("behind", CODE("mov eax, 7\n 3: add edx, 1\n mov [3b + 2], al\n inc al\n dec ecx\n jnz 3b"));
  sum("by rmw", CODE("3: add byte ptr [1f + 1], 3\n 1: mov al, 0\n movzx eax, al\n add edx, eax\n dec ecx\n jnz 3b"));
  sum("by lock", CODE("3: lock xadd [1f + 1], ecx\n 1: mov eax, 0\n mov ecx, [1b + 1]\n add edx, eax\n and ecx, 0xff\n dec ecx\n"
                      " jnz 3b\n mov dword ptr [1b + 1], 0"));
}
