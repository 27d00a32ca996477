/* An edge request of the 8259 that goes away before its acknowledge: IRR follows the line, and what the CPU then takes is the
 * vector of IR7 of that chip, with nothing in service (8259A data sheet, 231468; Bochs does so, QEMU delivers the edge).
 * EXPECT: request withdrawn: irr 0
 * EXPECT: taken: vector 7 of the second chip, 1 time, isr 0 4
 * EXPECT: after eoi: isr 0 0
 * SKIP: --irq-jitter */
#include "lib/metal.h"

static void rtc(uint8_t index, uint8_t value) {
  outb(0x70, index);
  outb(0x71, value);
}
static uint8_t status_c(void) {
  outb(0x70, 0x0c);
  return inb(0x71);
}
static uint8_t requested(uint16_t port) {
  outb(port, 0x0a);
  return inb(port);
}
static uint8_t in_service(uint16_t port) {
  outb(port, 0x0b);
  return inb(port);
}

static volatile unsigned taken[2];
static unsigned isr[2];
static void note(unsigned which) {
  taken[which]++;
  isr[0] = in_service(0xa0);
  isr[1] = in_service(0x20);
}
static void irq8(struct frame *f) { note(0); }
static void irq15(struct frame *f) { note(1); }

void test_main(void) {
  handlers[VEC_IRQ0 + 8] = irq8;
  handlers[VEC_IRQ0 + 15] = irq15;
  rtc(0x0a, 0x26);
  rtc(0x0b, 0x42); /* 1024 Hz */
  status_c();
  irq_mask((uint16_t) ~(1 << 8 | 1 << 2));
  while (!(requested(0xa0) & 1)) {}
  print("request waits: irr 1\n");
  rtc(0x0b, 2);
  status_c();
  print("request withdrawn: irr %x\n", requested(0xa0) & 1);
  irq_window(&taken[1], 0);
  print("taken: vector %d of the second chip, %d time, isr %x %x\n", taken[1] ? 7 : 0, taken[0] + taken[1], isr[0], isr[1]);
  outb(0x20, 0x62);
  if (taken[0]) outb(0xa0, 0x60);
  print("after eoi: isr %x %x\n", in_service(0xa0), in_service(0x20));
}
