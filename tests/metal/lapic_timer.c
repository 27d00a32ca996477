/* The local APIC's timer: one-shot and periodic interrupts, masking, the current count, priorities by TPR, self IPI, EOI. */
#include "lib/metal.h"

enum {
  APIC = 0xfee00000u,
  ID = 0x20,
  VERSION = 0x30,
  TPR = 0x80,
  PPR = 0xa0,
  EOI = 0xb0,
  SVR = 0xf0,
  ISR = 0x100,
  IRR = 0x200,
  ICR = 0x300,
  LVT_TIMER = 0x320,
  LVT_LINT0 = 0x350,
  INITIAL = 0x380,
  CURRENT = 0x390,
  DIVIDE = 0x3e0,
  VECTOR = 0x70
};
static uint32_t get(uint32_t reg) { return *(volatile uint32_t *)(APIC + reg); }
static void set(uint32_t reg, uint32_t value) { *(volatile uint32_t *)(APIC + reg) = value; }

static volatile unsigned fired, other;
static void timer(struct frame *f) {
  fired++;
  set(EOI, 0);
}
static void ipi(struct frame *f) {
  other++;
  set(EOI, 0);
}

static void wait(volatile unsigned *counter, unsigned n) {
  while (*counter < n) __asm__ volatile("sti\n hlt\n cli");
}

void test_main(void) {
  handlers[VECTOR] = timer;
  handlers[0x91] = ipi;
  print("base: %x\n", (uint32_t)read_msr(0x1b) & 0xfffff900);
  print("id %x version %x\n", get(ID) >> 24, get(VERSION) & 0xff);
  set(SVR, 0x1ff);
  set(TPR, 0);
  set(DIVIDE, 0x0b);
  set(LVT_TIMER, VECTOR);
  set(INITIAL, 100000);
  wait(&fired, 1);
  print("one-shot: %d current %x\n", fired, get(CURRENT));
  set(LVT_TIMER, VECTOR | 1 << 17);
  set(INITIAL, 200000);
  wait(&fired, 11);
  print("periodic: 10 more\n");
  set(LVT_TIMER, VECTOR | 1 << 16);
  set(INITIAL, 1000000);
  uint32_t first = get(CURRENT);
  for (volatile unsigned i = 0; i < 10000; i++) {}
  print("counts down: %d\n", get(CURRENT) < first || get(CURRENT) == 0);
  set(INITIAL, 0);
  fired = 0;
  /* A self IPI waits behind TPR, then comes. */
  set(TPR, 0xa0);
  set(ICR, 0x00040091);
  __asm__ volatile("sti\n nop\n nop\n cli" ::: "memory");
  print("behind tpr: %d irr %x\n", other, get(IRR + 0x40) >> 17 & 1);
  set(TPR, 0);
  irq_window(&other, 0);
  print("after tpr: %d isr %x\n", other, get(ISR + 0x40));
  print("ppr: %x\n", get(PPR));
  set(LVT_LINT0, 0x10700);
  print("lint0: %x\n", get(LVT_LINT0) & 0x10700);
  /* Disabled by the global bit: CPUID says so and the page is ordinary memory space again. */
  uint32_t r[4];
  cpuid(1, 0, r);
  print("cpuid apic: %d\n", r[3] >> 9 & 1);
}
