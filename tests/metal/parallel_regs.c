/* The parallel port: registers, strobe, Busy and ACK as a driver that polls sees them, the interrupt and its acknowledgement. */
#include "lib/metal.h"

enum { DATA = 0x378, STATUS, CONTROL };
enum { STROBE = 1, RUN = 0x0c, IRQ = 0x10, INPUT = 0x20 };

static unsigned fired;
static void printed(struct frame *f) {
  fired++;
  inb(STATUS);
  irq_eoi(7);
}

static void show(const char *what) { print("%s: data %x control %x status %x\n", what, inb(DATA), inb(CONTROL), inb(STATUS)); }

void test_main(void) {
  print("lpt1: %x\n", *(volatile uint16_t *)0x408);
  print("printers: %d\n", *(volatile uint16_t *)0x410 >> 14);
  outb(CONTROL, 0);
  show("in reset");
  outb(CONTROL, RUN);
  show("selected");
  outb(DATA, 0xaa);
  outb(CONTROL, 0xff);
  outb(CONTROL, INPUT | RUN);
  show("turned round");
  outb(CONTROL, RUN);
  show("as before");
  for (unsigned i = 0; i < 3; i++) inb(STATUS); /* whatever the last strobe left */
  outb(DATA, 'x');
  outb(CONTROL, RUN | STROBE);
  print("strobe: %x %x\n", inb(STATUS), inb(STATUS));
  outb(CONTROL, RUN);
  print("behind it: %x", inb(STATUS));
  print(" %x", inb(STATUS));
  print(" %x", inb(STATUS));
  print(" %x\n", inb(STATUS));
  outb(CONTROL, STROBE | 4);
  print("not selected: %x\n", inb(STATUS));
  outb(CONTROL, STROBE | 8);
  print("strobe in reset: %x\n", inb(STATUS));
  handlers[VEC_IRQ0 + 7] = printed;
  outb(CONTROL, RUN | IRQ);
  irq_mask((uint16_t) ~(1 << 7));
  __asm__ volatile("sti\n nop\n nop\n cli");
  fired = 0;
  for (unsigned i = 0; i < 5; i++) {
    outb(CONTROL, RUN | IRQ | STROBE);
    outb(CONTROL, RUN | IRQ);
    __asm__ volatile("sti\n nop\n nop\n cli");
  }
  irq_mask(0xffff);
  print("interrupts: %d\n", fired);
}
