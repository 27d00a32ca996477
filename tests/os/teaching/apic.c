/* The local APIC's timer and the I/O APIC's redirections (SDM vol. 3A, chapter 11; 82093AA data sheet). */
#include "kernel.h"

enum {
  LAPIC_TPR = 0x80,
  LAPIC_EOI = 0xb0,
  LAPIC_SVR = 0xf0,
  LAPIC_ESR = 0x280,
  LAPIC_TIMER = 0x320,
  LAPIC_LINT0 = 0x350,
  LAPIC_LINT1 = 0x360,
  LAPIC_ERROR = 0x370,
  LAPIC_INITIAL = 0x380,
  LAPIC_DIVIDE = 0x3e0
};
enum { ENABLE = 0x100, PERIODIC = 0x20000, MASKED = 0x10000, DIVIDE_BY_1 = 0x0b, TIMER_COUNT = 10000000 };
enum { IOAPIC_ID, IOAPIC_VERSION, IOAPIC_TABLE = 0x10 };

static volatile uint32_t *lapic, *ioapic;

static void lapic_write(unsigned offset, uint32_t value) {
  lapic[offset / 4] = value;
  (void)lapic[0x20 / 4]; /* waits for the write, by reading */
}

void lapic_start(uint32_t base) {
  lapic = (uint32_t *)base;
  lapic_write(LAPIC_SVR, ENABLE | VECTOR_SPURIOUS);
  lapic_write(LAPIC_DIVIDE, DIVIDE_BY_1);
  lapic_write(LAPIC_TIMER, PERIODIC | VECTOR_TIMER);
  lapic_write(LAPIC_INITIAL, TIMER_COUNT);
  lapic_write(LAPIC_LINT0, MASKED);
  lapic_write(LAPIC_LINT1, MASKED);
  lapic_write(LAPIC_ERROR, MASKED);
  lapic_write(LAPIC_ESR, 0);
  lapic_write(LAPIC_EOI, 0);
  lapic_write(LAPIC_TPR, 0);
}

void lapic_eoi(void) { lapic_write(LAPIC_EOI, 0); }

static uint32_t ioapic_read(unsigned reg) { return ioapic[0] = reg, ioapic[4]; }
static void ioapic_write(unsigned reg, uint32_t value) { ioapic[0] = reg, ioapic[4] = value; }

void ioapic_start(uint32_t base, unsigned id) {
  ioapic = (uint32_t *)base;
  if (ioapic_read(IOAPIC_ID) >> 24 != id) panic("the I/O APIC has another id than the MP table says");
  unsigned last = ioapic_read(IOAPIC_VERSION) >> 16 & 0xff;
  for (unsigned pin = 0; pin <= last; pin++) ioapic_disable(pin);
  print("ioapic: %d inputs\n", last + 1);
}

void ioapic_enable(unsigned pin, unsigned vector) {
  ioapic_write(IOAPIC_TABLE + 2 * pin + 1, 0); /* edge, active high, to local APIC 0 */
  ioapic_write(IOAPIC_TABLE + 2 * pin, vector);
}

void ioapic_disable(unsigned pin) { ioapic_write(IOAPIC_TABLE + 2 * pin, MASKED); }
