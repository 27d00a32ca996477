/* MC146818 real-time clock and its CMOS memory (ports 70h, 71h). */
#pragma once
#include "../bus.h"

struct mc146818 {
  uint8_t cmos[128];         /* 0-9 and 32h hold the alarm and, while B.SET stops the clock, the time */
  uint8_t index, nmi_masked; /* port 70h */
  uint8_t weekday_shift;     /* days that the guest set the weekday off from the date's */
  uint8_t irq;               /* level of IRQ 8 as `out` heard it last */
  int64_t set_seconds;       /* the calendar, in seconds since 1970, showed this ... */
  int64_t set_at;            /* ... from this guest ns on */
  int64_t flags_at;          /* guest ns up to which register C's flags have been worked out */
  uint32_t owed;             /* periods that were not told */
  bool slew;                 /* each period is to be told */
  struct clock_timer timer;
  struct clock *clock;
  struct irq_line out;
};

struct device mc146818_init(struct mc146818 *s, struct io_bus *io, struct clock *clock, uint64_t ram_size, bool slew,
                            struct irq_line out);
