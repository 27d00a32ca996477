/* HPET: main counter, three timers, legacy replacement (FED00000h). */
#pragma once
#include "../bus.h"
#include "../map.h"

enum { HPET_TIMERS = 3, HPET_NO_LINE = 0xff };
#define HPET_BLOCK_ID \
  0x8086a201u /* vendor 8086h, legacy replacement, 64-bit counter, three timers, revision 1: registers and ACPI table agree */

struct hpet;
struct hpet_timer {
  uint32_t config; /* low half of the configuration register */
  uint8_t line;    /* the interrupt line that it holds high; HPET_NO_LINE: none */
  uint64_t cmp;    /* comparator: the next match, in periodic mode as of the last look */
  uint64_t period;
  uint64_t due; /* counter value of the next interrupt that is owed */
  struct clock_timer timer;
  struct hpet *chip;
};
struct hpet {
  uint32_t config, status;
  uint64_t counter; /* main counter while it stands, and as it was when it started */
  int64_t started;  /* guest ns at which it started */
  struct hpet_timer timer[HPET_TIMERS];
  struct clock *clock;
  struct mmu *mmu;
  /* line: `n` is given with each call, a GSI (0: IRQ 0); legacy: 8254 and RTC are off IRQ 0 and 8 */
  struct irq_line line, legacy;
};

struct device hpet_init(struct hpet *s, struct mmu *mmu, struct clock *clock, struct irq_line line, struct irq_line legacy);
