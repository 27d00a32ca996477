/* A loop whose only way back is from the last byte of 4 GiB to the first, by no jump: interrupts end it all the same. */
#include "lib/metal.h"

static volatile unsigned ticks;
static void tick(struct frame *f) {
  irq_eoi(0);
  if (++ticks == 3) f->eip = (uint32_t)CODE("nop");
}

static void loop(const char *label, struct context c) {
  ticks = 0;
  c.eflags |= FL_IF;
  run(&c);
  print("%s: %s\n", label, vector_name(c.vector));
}

void test_main(void) {
  handlers[VEC_IRQ0] = tick;
  irq_mask(0xfffe);
  outb(0x43, 0x34), outb(0x40, 1193 & 0xff), outb(0x40, 1193 >> 8);
  paging_on();
  uint8_t *last = page_alloc(), *first = page_alloc();
  map(0xfffff000, (uint32_t)last, 7);
  map(0, (uint32_t)first, 7);
  memset(last, 0x90, 4096), memset(first, 0x90, 4096);
  COPY_CODE(first + 0x10, "mov edx, 0xffffff00\n .byte 0xe9\n .long 0xfffffee6"); /* JMP FFFFFF00h */
  loop("ring 0", context_kernel((const char *)0x10));
  loop("ring 3", context_user((const char *)0x10));
  last[0xffe] = 0x74, last[0xfff] = 2; /* JZ, not taken */
  loop("behind jz", context_user((const char *)0x10));
  last[0xffd] = 0x90, last[0xffe] = 0x66, last[0xfff] = 0x8d; /* LEA AX, [EAX], of both pages */
  first[0] = 0;
  loop("of both pages", context_user((const char *)0x10));
}
