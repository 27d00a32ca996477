/* The 8254 interval timer (ports 40h-43h) and port 61h, its gate and speaker. */
#pragma once
#include "../bus.h"

#define PIT_HZ 1193182u

enum pit_state {
  PIT_IDLE /* mode set, no count yet */,
  PIT_WAIT /* modes 1, 5: for a trigger */,
  PIT_RUN,
  PIT_STOP /* gate low */
};

struct pit_channel {
  uint8_t mode, bcd, access; /* access: 1 low byte, 2 high byte, 3 low then high */
  uint8_t mode_written;      /* as the status shows it: 6 and 7 are modes 2 and 3 */
  uint8_t gate;
  uint8_t state;                 /* enum pit_state */
  uint8_t write_high, read_high; /* access 3: the next byte is the high one */
  uint8_t write_low;             /* access 3: the low byte that waits for its high one */
  uint8_t latched;               /* bytes of latched_count still to be read */
  uint8_t status_latched, status;
  uint16_t latched_count;
  uint32_t reload;      /* 1..10000h */
  uint32_t next_reload; /* modes 1, 2, 3, 5: written while counting; 0: none */
  uint64_t start;       /* PIT tick at which `reload` was in the counter */
  uint64_t held;        /* PIT_STOP: ticks counted before the gate fell */
};
struct i8254 {
  struct pit_channel channel[3];
  uint8_t connected; /* OUT0 is wired to IRQ 0: not while the HPET replaces it */
  uint8_t speaker;   /* port 61h bits 0-3 */
  uint64_t due;      /* PIT tick of the next rise of OUT0 */
  struct clock_timer timer;
  struct clock_timer polled; /* channel 2's one-shot ends (nothing happens then) */
  struct clock *clock;
  struct irq_line irq0;
};

struct device i8254_init(struct i8254 *s, struct io_bus *io, struct clock *clock, struct irq_line irq0);
/* Takes OUT0 off IRQ 0 and back; while it is off nothing is timed. */
void i8254_connect(struct i8254 *s, bool on);
