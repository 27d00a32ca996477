/* What gets a program out of a loop or out of HLT: an NMI 50 ms after its start, from the 8254 by IRQ 0, the 8259 and the local
 * APIC's LINT0 in NMI mode. A program of the ordinary kind is over in a hundredth of that. Bochs' LINT0 leads nowhere: there it
 * is the I/O APIC's pin 2 in NMI mode, and the 8259 is masked. */
#include "guest.h"

enum { PIT_HZ = 1193182, LIMIT = PIT_HZ / 20, APIC_SPURIOUS = 0xfee000f0, APIC_LINT0 = 0xfee00350, LVT_NMI = 4 << 8 };
enum { IOAPIC_INDEX = 0xfec00000, IOAPIC_DATA = 0xfec00010, IOAPIC_PIN2 = 0x14 };

volatile uint32_t watchdog_expired;
bool in_bochs;
void take_nmi(void);

static void apic_write(uint32_t at, uint32_t v) { *(volatile uint32_t *)at = v; }

void watchdog_arm(void) {
  outb(0x43, 0x30);
  outb(0x40, LIMIT & 255);
  outb(0x40, LIMIT >> 8);
}

bool watchdog_fired(void) { return inb(0x20) & 1; } /* the 8259's request register */

/* After an NMI the 8259 still has its request: only a new initialization takes it back. */
void watchdog_reset(void) {
  outb(0x21, 0xff); /* first: each change at the 8259 is another NMI while a request waits */
  watchdog_arm();
  static const uint8_t words[2][4] = {{0x11, 0x20, 4, 1}, {0x11, 0x28, 2, 1}};
  for (unsigned chip = 0; chip < 2; chip++)
    for (unsigned i = 0; i < 4; i++) outb((chip ? 0xa0 : 0x20) + (i > 0), words[chip][i]);
  outb(0xa1, 0xff);
  if (!in_bochs) outb(0x21, 0xfe);
  apic_write(APIC_SPURIOUS, 0x1ff);
  if (in_bochs) apic_write(IOAPIC_INDEX, IOAPIC_PIN2), apic_write(IOAPIC_DATA, LVT_NMI);
  else apic_write(APIC_LINT0, LVT_NMI);
  take_nmi();
  watchdog_expired = 0;
}
