/* A steady timer loop, for the monitor's statistics: 200 ticks at 1 kHz over user code that computes. */
#include "lib/metal.h"

static volatile unsigned ticks;
static void tick(struct frame *f) {
  ticks++;
  irq_eoi(0);
}

void test_main(void) {
  paging_on();
  handlers[VEC_IRQ0] = tick;
  irq_mask(0xfffe);
  outb(0x43, 0x34);
  outb(0x40, 1193 & 0xff);
  outb(0x40, 1193 >> 8);
  struct context c = context_user(CODE("1: imul eax, eax, 69069\n inc eax\n cmp dword ptr [ebx], 200\n jb 1b"));
  c.ebx = (uint32_t)&ticks;
  c.eflags |= FL_IF;
  run(&c);
  irq_mask(0xffff);
  print("timer: %s\n", vector_name(c.vector));
}
