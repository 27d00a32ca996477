/* A program that does little but system calls and page faults, and never ends.
 * BTARGS: --user=direct
 * ENDS: never */
#include "../lib/metal.h"

static uint8_t *frame;
static void remap(struct frame *f) {
  map(TEST_LINEAR + (f->eax & 255) * 0x100000, (uint32_t)frame, f->eax & 256 ? 0 : PG_P | PG_W | PG_U);
  f->eax++;
}
void test_main(void) {
  paging_on();
  uint8_t *code = page_alloc();
  frame = page_alloc();
  handlers[0x80] = remap;
  gate_reset(0x80, 3);
  COPY_CODE(code, "1: mov edx, eax\n and edx, 255\n shl edx, 20\n int 0x80\n test eax, 256\n jnz 1b\n"
                  "mov ecx, [edx + 0x40000000]\n jmp 1b");
  for (;;) {
    struct context c = context_user(code);
    run(&c);
  }
}
