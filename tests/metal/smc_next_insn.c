/* The instruction right after the store is the one that changes, for every kind of store. */
#include "lib/metal.h"

static void patch(const char *label, const char *code) {
  struct context c = context_kernel(code);
  c.eax = 0x42424242; /* INC EDX, four times */
  for (unsigned i = 0; i < 3; i++) {
    run(&c);
    print("%s %d: ", label, i);
    report_end(&c, code);
    print(" edx=%x\n", c.edx);
    c.eip = (uint32_t)code;
    c.eax = i ? 0x42424242 : 0x4a4a4a4a; /* second round: DEC EDX */
    c.esp = 0;
    c.eflags = 2;
  }
}

uint32_t smc_source;

void test_main(void) {
  patch("mov byte", CODE("mov [1f], al\n 1: nop"));
  patch("mov dword", CODE("mov [1f], eax\n 1: nop\n nop\n nop\n nop"));
  patch("mov word odd", CODE("mov [1f + 1], ax\n 1: nop\n nop\n nop\n nop"));
  patch("stosb", CODE("mov edi, offset 1f\n stosb\n 1: nop"));
  patch("rep stosb", CODE("mov edi, offset 1f\n mov ecx, 8\n rep stosb\n 1: nop\n nop\n nop\n nop\n nop\n nop\n nop\n nop"));
  patch("rep movsd", CODE("mov [smc_source], eax\n mov esi, offset smc_source\n mov edi, offset 1f\n mov ecx, 1\n rep movsd\n"
                          " 1: nop\n nop\n nop\n nop"));
  patch("xchg", CODE("xchg [1f], eax\n 1: nop\n nop\n nop\n nop"));
  patch("cmpxchg", CODE("mov ecx, eax\n mov eax, [1f]\n lock cmpxchg [1f], ecx\n 1: nop\n nop\n nop\n nop"));
  patch("push", CODE("mov ebx, esp\n mov esp, offset 1f + 4\n push eax\n 1: nop\n nop\n nop\n nop\n mov esp, ebx"));
  patch("call", CODE("mov ebx, esp\n mov esp, offset 1f + 4\n call 2f\n 2: mov esp, ebx\n mov [1f], eax\n 1: nop\n nop\n nop\n"
                     " nop"));
  patch("pop", CODE("push eax\n pop dword ptr [1f]\n 1: nop\n nop\n nop\n nop"));
  patch("fist", CODE("mov [smc_source], eax\n fild dword ptr [smc_source]\n fistp dword ptr [1f]\n 1: nop\n nop\n nop\n nop"));
  patch("bts", CODE("and eax, 8\n mov byte ptr [1f], 0x42\n or [1f], al\n 1: nop"));
}
