/* The 8259 pair: masks, request and service registers, polling, priorities, special mask, auto EOI, the elcr. */
#include "lib/metal.h"

static uint8_t in_service(uint16_t port) {
  outb(port, 0x0b);
  return inb(port);
}
static uint8_t requested(uint16_t port) {
  outb(port, 0x0a);
  return inb(port);
}

static void one_shot(void) {
  outb(0x43, 0x30);
  outb(0x40, 50);
  outb(0x40, 0);
  while (!(requested(0x20) & 1)) {}
}

static unsigned isr_inside;
static volatile unsigned noted;
static void note(struct frame *f) {
  isr_inside = in_service(0x20);
  noted++;
}
static void window(void) { irq_window(&noted, noted); }

void test_main(void) {
  for (unsigned i = 0; i < 8; i++) {
    outb(0x21, (uint8_t)(1 << i));
    outb(0xa1, (uint8_t) ~(1 << i));
    print("mask %d: %x %x\n", i, inb(0x21), inb(0xa1));
  }
  irq_mask(0xfffe);
  one_shot();
  print("request: irr %x isr %x\n", requested(0x20) & 1, in_service(0x20));
  handlers[VEC_IRQ0] = note;
  window();
  print("in handler: isr %x\n", isr_inside);
  print("before eoi: irr %x isr %x\n", requested(0x20) & 1, in_service(0x20));
  outb(0x20, 0x60); /* specific EOI, IRQ 0 */
  print("after eoi: isr %x\n", in_service(0x20));
  one_shot();
  outb(0x20, 0x0c); /* poll */
  uint8_t poll = inb(0x20);
  print("poll: %x isr %x\n", poll, in_service(0x20));
  outb(0x20, 0x20);
  outb(0x20, 0x0c);
  print("poll with nothing: %x\n", inb(0x20) & 0x80);
  /* An interrupt in service holds back its own level until EOI. */
  one_shot();
  isr_inside = 0;
  window();
  outb(0x43, 0x30);
  outb(0x40, 50);
  outb(0x40, 0);
  while (!(requested(0x20) & 1)) {}
  isr_inside = 0;
  __asm__ volatile("sti\n nop\n nop\n cli");
  print("held back: %d\n", isr_inside);
  outb(0x20, 0x20);
  window();
  print("then delivered: %x\n", isr_inside);
  outb(0x20, 0x20);
  /* Auto EOI: ICW4 bit 1. */
  outb(0x20, 0x11);
  outb(0x21, VEC_IRQ0);
  outb(0x21, 4);
  outb(0x21, 3);
  outb(0x21, 0xfe);
  one_shot();
  window();
  print("auto eoi: isr after %x\n", in_service(0x20));
  /* Another vector base. */
  outb(0x20, 0x11);
  outb(0x21, 0x60);
  outb(0x21, 4);
  outb(0x21, 1);
  outb(0x21, 0xfe);
  handlers[0x60] = note;
  isr_inside = 0;
  one_shot();
  window();
  print("vector 60: isr %x\n", isr_inside);
  outb(0x20, 0x20);
  outb(0x4d0, 0xff);
  outb(0x4d1, 0xff);
  print("elcr: %x %x\n", inb(0x4d0), inb(0x4d1));
}
