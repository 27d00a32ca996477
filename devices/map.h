/* Where in the physical map the chips answer that every PC has at a fixed place: the only list of these addresses. A kernel hears
 * of them by the ACPI and MP tables. */
#pragma once

#define IOAPIC_BASE 0xfec00000ull
#define HPET_BASE 0xfed00000ull
#define LAPIC_BASE 0xfee00000ull /* after a reset: IA32_APIC_BASE moves it */
#define CHIPS_START IOAPIC_BASE
#define CHIPS_END 0xfef00000ull /* nothing that a guest can move is decoded between the two */
enum { CHIP_WINDOW = 0x1000 };  /* each of them has a page */
