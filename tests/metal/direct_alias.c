/* A program writes code through another mapping of its page, which is written beside code in the page, too (a copy of which runs
 * in a sandbox: there is a load of a selector in it). */
#include "lib/metal.h"

void test_main(void) {
  paging_on();
  uint8_t *frame = page_alloc(), *code = page_alloc(), *as_new = page_alloc();
  uint32_t a = TEST_LINEAR + 0x800000, b = TEST_LINEAR + 0x900000;
  map(a, (uint32_t)frame, PG_P | PG_U);
  map(b, (uint32_t)frame, PG_P | PG_W | PG_U);
  COPY_CODE(frame, "mov eax, 1\n cmp eax, 7\n jz 1f\n ret\n 1: mov ds, ax\n ret");
  memcpy(as_new, frame, 4096);
  COPY_CODE(code, "push eax\n mov esi, 1000\n 1: dec esi\n jnz 1b\n mov byte ptr [ebx + 1], 1\n mov byte ptr [ebx + 1], 1\n"
                  "mov esi, 1000\n 1: dec esi\n jnz 1b\n"
                  "call ecx\n mov edx, eax\n mov byte ptr [ebx + 1], 2\n call ecx\n pop esi");
  for (unsigned i = 0; i < 16; i++) {
    struct context c = context_user(code);
    c.ecx = a, c.ebx = b;
    uint8_t *to = frame, *from = as_new;
    uint32_t count = 1024;
    __asm__ volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
    run(&c);
    print("%d: %s eax=%x edx=%x\n", i, vector_name(c.vector), c.eax, c.edx);
  }
}
