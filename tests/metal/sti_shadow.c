/* STI holds interrupts off for one more instruction, but only when IF was clear; POPF and IRET do not
 * (SDM vol. 2, STI; vol. 3A, 6.8.1). An interrupt is pending all the time: the 8259 is given IRQ 0 by the PIT.
 * SKIP: --irq-jitter */
#include "lib/metal.h"

/* Waits, with IF clear, until IRQ 0 is in the 8259's request register. */
static void make_pending(void) {
  irq_mask(0xfffe);
  outb(0x43, 0x30); /* channel 0, mode 0: one interrupt */
  outb(0x40, 100);
  outb(0x40, 0);
  outb(0x20, 0x0a); /* OCW3: read IRR */
  while (!(inb(0x20) & 1)) {}
}

static void one(const char *label, const char *code, uint32_t flags) {
  make_pending();
  struct context c = context_kernel(code);
  c.eflags |= flags;
  run(&c);
  irq_mask(0xffff);
  if (c.vector == VEC_IRQ0) irq_eoi(0);
  report(label, &c, code);
  if (c.vector != VEC_IRQ0) { /* not taken: take it away */
    c = context_kernel(CODE("nop"));
    outb(0x20, 0x20);
    outb(0x43, 0x30);
  }
}

void test_main(void) {
  one("sti nop", CODE("nop\n sti\n nop\n nop\n nop"), 0);
  one("sti cli", CODE("sti\n cli\n nop\n nop"), 0);
  one("sti hlt", CODE("sti\n hlt\n nop"), 0);
  one("sti ret", CODE("push offset 1f\n sti\n ret\n nop\n 1: nop\n nop"), 0);
  one("sti jump", CODE("sti\n jmp 1f\n nop\n 1: nop\n nop"), 0);
  one("popf", CODE("push 0x202\n popfd\n nop\n nop"), 0);
  one("iret", CODE("push 0x202\n push cs\n push offset 1f\n iretd\n nop\n 1: nop\n nop"), 0);
  one("sti load", CODE("sti\n mov eax, [esp]\n nop\n nop"), 0);
}
