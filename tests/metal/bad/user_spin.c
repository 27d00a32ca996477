/* A program that loops for ever, with a system call now and then: it is left alone, and SIGTERM ends bt.
 * BTARGS: --user=direct
 * ENDS: never */
#include "../lib/metal.h"

static void nothing(struct frame *f) { f->eax++; }
void test_main(void) {
  paging_on();
  uint8_t *code = page_alloc();
  handlers[0x80] = nothing;
  gate_reset(0x80, 3);
  COPY_CODE(code, "1: mov ecx, 100000000\n 2: dec ecx\n jnz 2b\n int 0x80\n jmp 1b");
  struct context c = context_user(code);
  run(&c);
}
