/* The HPET: what its registers read after reset and keep of what is written, the counter, one-shot and periodic interrupts as IRQ
 * 0 and IRQ 8 (legacy replacement) and by the I/O APIC's pin 2, levels and their status bits.
 * FSB messages are not offered: their enable bit and address stay 0 (IA-PC HPET specification 1.0a, 2.3.8). QEMU keeps what is
 * written there.
 * EXPECT: timer 2, all ones: 00003f7e
 * EXPECT: timer 2, message address: 0
 * SKIP: --irq-jitter */
#include "lib/metal.h"

enum {
  HPET = 0xfed00000u,
  CONFIG = 0x10,
  STATUS = 0x20,
  COUNTER = 0xf0,
  T0 = 0x100,
  T1 = 0x120,
  T2 = 0x140,
  CMP = 8,
  ROUTE = 0x10
};
enum { LEVEL = 1 << 1, ENABLE = 1 << 2, PERIODIC = 1 << 3, SETVAL = 1 << 6, BITS_32 = 1 << 8, PIN_2 = 2 << 9 };
enum { APIC = 0xfee00000u, IOAPIC = 0xfec00000u, VECTOR = 0x70, MS = 100000 };
static uint32_t get(uint32_t reg) { return *(volatile uint32_t *)(HPET + reg); }
static void set(uint32_t reg, uint32_t value) { *(volatile uint32_t *)(HPET + reg) = value; }

static volatile unsigned fired[2], pin;
static void irq0(struct frame *f) {
  fired[0]++;
  irq_eoi(0);
}
static void irq8(struct frame *f) {
  fired[1]++;
  set(STATUS, 2);
  irq_eoi(8);
}
static void pin_2(struct frame *f) {
  pin++;
  *(volatile uint32_t *)(APIC + 0xb0) = 0;
}

static void wait(const volatile unsigned *counter, unsigned n) {
  while (*counter < n) __asm__ volatile("sti\n hlt\n cli");
}

static void registers(void) {
  print("id: %X %X\n", get(0), get(4));
  print("global: %x %x %x\n", get(CONFIG), get(STATUS), get(COUNTER));
  for (unsigned t = 0; t < 4; t++) {
    uint32_t at = T0 + 0x20 * t;
    print("timer %d after reset: %x %x %x %x\n", t, get(at), get(at + 4), get(at + CMP), get(at + CMP + 4));
  }
  set(CONFIG, 0xfffffffc);
  set(0, 0);
  set(4, 1);
  set(T2 + 4, 0xff);
  print("not writable: %x %X %X %x\n", get(CONFIG), get(0), get(4), get(T2 + 4));
  set(T2, 0xffffffff);
  print("timer 2, all ones: %X\n", get(T2));
  set(T2 + ROUTE, 0x12345678);
  print("timer 2, message address: %x\n", get(T2 + ROUTE));
  set(T2, 0);
  set(T2 + CMP, 0x1234);
  set(T2 + CMP + 4, 0x5678);
  print("comparator: %x %x\n", get(T2 + CMP), get(T2 + CMP + 4));
  set(T2, BITS_32);
  print("comparator of 32 bits: %x %x\n", get(T2 + CMP), get(T2 + CMP + 4));
}

static void counter(void) {
  set(COUNTER, 0xfffffff0);
  set(COUNTER + 4, 7);
  set(CONFIG, 1);
  while (get(COUNTER) >= 0xfffffff0) {}
  set(CONFIG, 0);
  uint32_t low = get(COUNTER), high = get(COUNTER + 4);
  for (volatile unsigned i = 0; i < 10000; i++) {}
  print("counts over 32 bits: %d %d, stands: %d\n", high, low < 0xfffffff0, get(COUNTER) == low);
}

static void legacy(void) {
  set(COUNTER, 0);
  set(COUNTER + 4, 0);
  set(CONFIG, 3);
  irq_mask((uint16_t) ~(1 << 0 | 1 << 2 | 1 << 8));
  set(T0, ENABLE | BITS_32);
  set(T0 + CMP, get(COUNTER) + MS);
  wait(&fired[0], 1);
  print("one-shot: irq 0 %d\n", fired[0]);
  set(T0, ENABLE | BITS_32 | PERIODIC | SETVAL);
  uint32_t start = get(COUNTER);
  set(T0 + CMP, start + MS);
  set(T0 + CMP, 2 * MS);
  print("val_set clears itself: %d\n", !(get(T0) & SETVAL));
  wait(&fired[0], 11);
  print("periodic: ten in 19 ms %d\n", get(COUNTER) - start >= 19 * MS);
  set(T0, 0);
  set(T1, ENABLE | LEVEL | BITS_32);
  outb(0x4d1, inb(0x4d1) & 0xfe);
  set(T1 + CMP, get(COUNTER) + MS);
  wait(&fired[1], 1);
  print("level: irq 8 %d, status %x\n", fired[1], get(STATUS));
  set(T1, 0);
  set(CONFIG, 0);
}

static void by_pin_2(void) {
  irq_mask(0xffff);
  *(volatile uint32_t *)(APIC + 0xf0) = 0x1ff;
  *(volatile uint32_t *)IOAPIC = 0x14;
  *(volatile uint32_t *)(IOAPIC + 0x10) = VECTOR;
  set(CONFIG, 1);
  set(T2, ENABLE | BITS_32 | PIN_2);
  set(T2 + CMP, get(COUNTER) + MS);
  wait(&pin, 1);
  print("pin 2: %d\n", pin);
}

void test_main(void) {
  handlers[VEC_IRQ0] = irq0;
  handlers[VEC_IRQ0 + 8] = irq8;
  handlers[VECTOR] = pin_2;
  registers();
  counter();
  legacy();
  by_pin_2();
}
