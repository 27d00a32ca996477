/* Code that a program writes into a page of data and calls; there is an instruction in it that must not run as it is. */
#include "lib/metal.h"

void test_main(void) {
  paging_on();
  uint8_t *data = page_alloc(), *code = page_alloc();
  COPY_CODE(code, "push eax\n mov esi, 300\n 1: mov dword ptr [ebx], 0xc35816\n dec esi\n jnz 1b\n call ebx\n pop ecx");
  for (unsigned i = 0; i < 3; i++) {
    struct context c = context_user(code);
    c.ebx = (uint32_t)data + 0x400;
    run(&c);
    print("%d: %s eax=%x\n", i, vector_name(c.vector), c.eax & 0xffff);
  }
}
