/* 8254 programmable interval timer. Intel 82C54 data sheet (231244).
 *
 * Owns nothing that moves: a channel is the tick at which its counter was loaded, and count, OUT and null count are computed from
 * the guest clock whenever somebody looks, so that readings agree with TSC, PM timer and local APIC to the tick. Channel 0
 * has a timer, at each rise of OUT, and channel 2 at the end of a one-shot: kernels wait for that in a loop to see how fast other
 * clocks are, and a deadline is what guest time stands still at when the CPU is away (clock.c). IRQ 0 then gets a low pulse and a
 * rise (the 8259 latches edges, so the half period for which mode 3 is low is not shown to it). Catch-up after a stall: rises
 * that are overdue are delivered one by one, at least a quarter of a period apart, until the schedule is met again; what is older
 * than a second is dropped. Rises are never closer than MIN_GAP, whatever the guest programs. Deviation: mode 3 takes a count
 * that is written while counting at the end of the period, not of the half period.
 */
#include "i8254.h"

enum { GATE2 = 1, SPEAKER_BITS = 0x0f, REFRESH = 0x10, OUT2 = 0x20 };
enum { STATUS_OUT = 0x80, STATUS_NULL = 0x40 };
enum { REFRESH_TICKS = 18 }; /* channel 1's period in every BIOS: 15.1 us */
enum { MIN_GAP = 10000 };    /* ns between two interrupts */
#define MAX_DEBT PIT_HZ      /* ticks */

static const struct field fields[] = {
#define CHANNEL(n) \
  FIELD(i8254, channel[n].mode), FIELD(i8254, channel[n].mode_written), FIELD(i8254, channel[n].bcd), \
    FIELD(i8254, channel[n].access), FIELD(i8254, channel[n].gate), FIELD(i8254, channel[n].state), \
    FIELD(i8254, channel[n].write_high), FIELD(i8254, channel[n].read_high), FIELD(i8254, channel[n].write_low), \
    FIELD(i8254, channel[n].latched), FIELD(i8254, channel[n].status_latched), FIELD(i8254, channel[n].status), \
    FIELD(i8254, channel[n].latched_count), FIELD(i8254, channel[n].reload), FIELD(i8254, channel[n].next_reload), \
    FIELD(i8254, channel[n].start), FIELD(i8254, channel[n].held)
  CHANNEL(0),
  CHANNEL(1),
  CHANNEL(2),
  FIELD(i8254, connected),
  FIELD(i8254, speaker),
  FIELD(i8254, due),
  FIELD_TIMER(i8254, timer),
  FIELD_END
#undef CHANNEL
};

/* ---- a channel at a tick ---- */

static uint64_t tick_now(const struct i8254 *s) { return clock_ns_to_ticks(clock_now(s->clock), PIT_HZ); }

static bool periodic(const struct pit_channel *c) { return c->mode == 2 || c->mode == 3; }
static bool triggered_by_gate(const struct pit_channel *c) { return c->mode == 1 || c->mode == 5; }

static uint64_t elapsed(const struct pit_channel *c, uint64_t now) {
  if (c->state == PIT_STOP) return c->held;
  return now > c->start ? now - c->start : 0;
}

/* A count written to a running rate generator takes over at the end of a period. */
static void switch_period(struct pit_channel *c, uint64_t now) {
  if (!periodic(c) || c->state != PIT_RUN || !c->next_reload || now < c->start + c->reload) return;
  uint64_t periods = c->next_reload == c->reload ? (now - c->start) / c->reload : 1;
  c->start += periods * c->reload;
  c->reload = c->next_reload;
  c->next_reload = 0;
}

static bool out_at(const struct pit_channel *c, uint64_t now) {
  uint64_t e = elapsed(c, now);
  if (c->state == PIT_IDLE || c->state == PIT_WAIT) return c->mode != 0;
  switch (c->mode) {
  case 0:
  case 1: return e >= c->reload && now >= c->start;
  case 2: return c->state == PIT_STOP || e % c->reload != c->reload - 1;
  case 3: return c->state == PIT_STOP || e % c->reload < (c->reload + 1) / 2;
  default: return e != c->reload;
  }
}

/* Mode 3 counts by two and twice a period; an odd count is loaded as the even one below it, and its high half is one tick
 * longer. */
static uint32_t square_count(const struct pit_channel *c, uint64_t e) {
  uint32_t phase = (uint32_t)(e % c->reload), half = (c->reload + 1) / 2;
  if (phase >= half) phase -= half;
  return (c->reload & ~1u) - 2 * phase;
}

static uint16_t to_bcd(uint32_t n) { return (uint16_t)(n % 10 | n / 10 % 10 << 4 | n / 100 % 10 << 8 | n / 1000 % 10 << 12); }

static uint16_t count_at(const struct pit_channel *c, uint64_t now) {
  uint64_t e = elapsed(c, now);
  uint32_t wrap = c->bcd ? 10000 : 0x10000, count;
  if (c->state == PIT_IDLE || c->state == PIT_WAIT) count = c->reload;
  else if (c->mode == 3) count = square_count(c, e);
  else if (c->mode == 2) count = c->reload - (uint32_t)(e % c->reload);
  else count = (uint32_t)((c->reload % wrap + wrap - e % wrap) % wrap);
  return c->bcd ? to_bcd(count) : (uint16_t)count;
}

static bool null_count(const struct pit_channel *c, uint64_t now) {
  return c->state == PIT_IDLE || c->state == PIT_WAIT || c->next_reload || (c->state == PIT_RUN && now < c->start);
}

/* ---- IRQ 0 ---- */

/* Tick of the next rise of OUT after `now`; UINT64_MAX: none to come. */
static uint64_t next_rise(const struct pit_channel *c, uint64_t now) {
  if (c->state != PIT_RUN) return UINT64_MAX;
  uint64_t e = elapsed(c, now), n = c->reload;
  if (periodic(c)) return c->start + (now < c->start ? n : (e / n + 1) * n);
  uint64_t rise = c->start + n + (c->mode >= 4);
  return rise > now ? rise : UINT64_MAX;
}

static void arm(struct i8254 *s, int64_t not_before) {
  int64_t at = INT64_MAX;
  if (s->due != UINT64_MAX) {
    at = clock_ticks_to_ns(s->due, PIT_HZ);
    if (at < not_before) at = not_before;
  }
  clock_timer_set(s->clock, &s->timer, at);
}

static void schedule(struct i8254 *s, uint64_t now) {
  s->due = s->connected ? next_rise(&s->channel[0], now) : UINT64_MAX;
  arm(s, clock_now(s->clock));
}

static void fire(void *opaque) {
  struct i8254 *s = opaque;
  struct pit_channel *c = &s->channel[0];
  uint64_t now = tick_now(s);
  irq_set(&s->irq0, false);
  irq_set(&s->irq0, true);
  uint64_t from = s->due;
  if (from > now || now - from > MAX_DEBT) from = now; /* a second behind: the rest is not made up for */
  switch_period(c, from);
  s->due = next_rise(c, from);
  int64_t gap = clock_ticks_to_ns(c->reload, PIT_HZ) / 4;
  arm(s, clock_now(s->clock) + (gap > MIN_GAP ? gap : MIN_GAP));
}

static void seen(void *opaque) { (void)opaque; }

static void schedule_polled(struct i8254 *s, uint64_t now) {
  const struct pit_channel *c = &s->channel[2];
  uint64_t rise = periodic(c) ? UINT64_MAX : next_rise(c, now);
  bool far = rise == UINT64_MAX || rise - now > 2 * 0x10000; /* none, or what a file says */
  clock_timer_set(s->clock, &s->polled, far ? INT64_MAX : clock_ticks_to_ns(rise, PIT_HZ));
}

/* After every change of a channel. OUT0 is low only where mode 0 or a one-shot holds it. */
static void changed(struct i8254 *s, unsigned n, uint64_t now) {
  if (n == 2) schedule_polled(s, now);
  if (n != 0) return;
  irq_set(&s->irq0, s->connected && out_at(&s->channel[0], now));
  schedule(s, now);
}

void i8254_connect(struct i8254 *s, bool on) {
  if (s->connected == on) return;
  s->connected = on;
  changed(s, 0, tick_now(s));
}

/* ---- writes ---- */

static void load_count(struct pit_channel *c, uint16_t value, uint64_t now) {
  uint32_t count = value;
  if (c->bcd)
    count = (value >> 12) % 10 * 1000u + (value >> 8 & 15) % 10 * 100u + (value >> 4 & 15) % 10 * 10u + (value & 15) % 10;
  if (!count) count = c->bcd ? 10000 : 0x10000;
  if ((periodic(c) && c->state == PIT_RUN) || (triggered_by_gate(c) && c->state == PIT_RUN)) {
    c->next_reload = count;
    return;
  }
  c->reload = count;
  c->next_reload = 0;
  c->held = 0;
  c->start = now + 1; /* loaded by the CLK pulse after the write */
  c->state = triggered_by_gate(c) ? PIT_WAIT : c->gate ? PIT_RUN : PIT_STOP;
}

static void write_count(struct i8254 *s, unsigned n, uint8_t value) {
  struct pit_channel *c = &s->channel[n];
  uint64_t now = tick_now(s);
  switch_period(c, now);
  if (c->access == 3 && !c->write_high) {
    c->write_low = value;
    c->write_high = 1;
    if (c->mode == 0) { /* the first byte stops the count and lowers OUT */
      c->state = PIT_IDLE;
      changed(s, n, now);
    }
    return;
  }
  c->write_high = 0;
  load_count(c, c->access == 1 ? value : (uint16_t)(value << 8 | (c->access == 3 ? c->write_low : 0)), now);
  changed(s, n, now);
}

static void latch_count(struct pit_channel *c, uint64_t now) {
  if (c->latched) return; /* a second latch command is ignored until the first is read */
  c->latched_count = count_at(c, now);
  c->latched = c->access == 3 ? 2 : 1;
  c->read_high = 0;
}

static void latch_status(struct pit_channel *c, uint64_t now) {
  if (c->status_latched) return;
  c->status = (uint8_t)((out_at(c, now) ? STATUS_OUT : 0) | (null_count(c, now) ? STATUS_NULL : 0) | c->access << 4 |
                        c->mode_written << 1 | c->bcd);
  c->status_latched = 1;
}

static void read_back(struct i8254 *s, uint8_t command, uint64_t now) {
  for (unsigned n = 0; n < 3; n++) {
    if (!(command >> (n + 1) & 1)) continue;
    switch_period(&s->channel[n], now);
    if (!(command & 0x20)) latch_count(&s->channel[n], now);
    if (!(command & 0x10)) latch_status(&s->channel[n], now);
  }
}

static void write_control(struct i8254 *s, uint8_t value) {
  uint64_t now = tick_now(s);
  unsigned n = value >> 6, access = value >> 4 & 3, mode = value >> 1 & 7;
  if (n == 3) {
    read_back(s, value, now);
    return;
  }
  struct pit_channel *c = &s->channel[n];
  switch_period(c, now);
  if (!access) {
    latch_count(c, now);
    return;
  }
  uint32_t reload = c->reload;
  *c = (struct pit_channel){.mode = (uint8_t)(mode > 5 ? mode - 4 : mode),
                            .mode_written = (uint8_t)mode,
                            .bcd = value & 1,
                            .access = (uint8_t)access,
                            .gate = c->gate,
                            .reload = reload,
                            .state = PIT_IDLE};
  changed(s, n, now);
}

/* ---- reads ---- */

static uint8_t read_latch(struct pit_channel *c) {
  uint8_t byte = c->access == 2 || (c->access == 3 && c->latched == 1) ? c->latched_count >> 8 : c->latched_count & 0xff;
  c->latched--;
  return byte;
}

static uint8_t read_count(struct i8254 *s, struct pit_channel *c) {
  if (c->status_latched) {
    c->status_latched = 0;
    return c->status;
  }
  if (c->latched) return read_latch(c);
  uint64_t now = tick_now(s);
  switch_period(c, now);
  uint16_t count = count_at(c, now);
  bool high = c->access == 2 || (c->access == 3 && c->read_high);
  if (c->access == 3) c->read_high ^= 1;
  return (uint8_t)(high ? count >> 8 : count);
}

static uint32_t read(void *dev, uint16_t offset, unsigned size) {
  struct i8254 *s = dev;
  return offset < 3 ? read_count(s, &s->channel[offset]) : 0xff; /* the control word cannot be read */
}

static void write(void *dev, uint16_t offset, unsigned size, uint32_t value) {
  struct i8254 *s = dev;
  if (s->timer.deadline <= clock_now(s->clock)) { /* a rise that was due before this write has happened */
    clock_timer_cancel(s->clock, &s->timer);
    fire(s);
  }
  if (offset < 3) write_count(dev, offset, (uint8_t)value);
  else write_control(dev, (uint8_t)value);
}

/* ---- port 61h ---- */

static void set_gate(struct pit_channel *c, uint8_t gate, uint64_t now) {
  bool rise = gate && !c->gate;
  if (gate == c->gate) return;
  switch_period(c, now);
  c->gate = gate;
  if (c->state == PIT_IDLE) return;
  if (triggered_by_gate(c)) {
    if (!rise) return;
  } else if (!rise) {
    c->held = elapsed(c, now);
    c->state = PIT_STOP;
    return;
  } else if (!periodic(c)) {
    c->start = now - c->held; /* modes 0 and 4 go on from where they were; unsigned: `held` may exceed `now` after a load */
    c->state = PIT_RUN;
    return;
  }
  if (c->next_reload) c->reload = c->next_reload;
  c->next_reload = 0;
  c->start = now + 1;
  c->state = PIT_RUN;
}

static uint32_t read_61(void *dev, uint16_t offset, unsigned size) {
  struct i8254 *s = dev;
  uint64_t now = tick_now(s);
  switch_period(&s->channel[2], now);
  return s->speaker | (now / REFRESH_TICKS & 1 ? REFRESH : 0u) | (out_at(&s->channel[2], now) ? OUT2 : 0u);
}

static void write_61(void *dev, uint16_t offset, unsigned size, uint32_t value) {
  struct i8254 *s = dev;
  uint64_t now = tick_now(s);
  s->speaker = value & SPEAKER_BITS;
  set_gate(&s->channel[2], value & GATE2, now);
  changed(s, 2, now);
}

/* ---- life ---- */

/* The data sheet leaves it open; as in QEMU all three channels are in mode 3 with the longest count, and the third one's gate is
 * low. */
static void reset(void *state) {
  struct i8254 *s = state;
  uint64_t now = tick_now(s);
  for (unsigned n = 0; n < 2; n++)
    s->channel[n] = (struct pit_channel){
      .mode = 3, .mode_written = 3, .access = 3, .gate = 1, .reload = 0x10000, .start = now, .state = PIT_RUN};
  s->channel[2] =
    (struct pit_channel){.mode = 3, .mode_written = 3, .access = 3, .gate = 0, .reload = 0x10000, .state = PIT_IDLE};
  s->speaker = 0;
  s->connected = 1;
  changed(s, 0, now);
  changed(s, 2, now);
}

static void loaded(void *state) {
  struct i8254 *s = state;
  for (unsigned n = 0; n < 3; n++) {
    struct pit_channel *c = &s->channel[n];
    c->mode = c->mode > 5 ? 0 : c->mode;
    c->mode_written = (c->mode == 2 || c->mode == 3) && c->mode_written == c->mode + 4 ? c->mode_written : c->mode;
    c->bcd &= 1;
    c->access = c->access & 3 ? c->access & 3 : 3;
    c->gate = n < 2 ? 1 : c->gate & 1;
    c->state &= 3;
    c->write_high &= 1;
    c->read_high &= 1;
    c->latched = c->latched > 2 ? 2 : c->latched;
    c->reload = c->reload - 1 < 0x10000 ? c->reload : 0x10000;
    c->next_reload = c->next_reload <= 0x10000 ? c->next_reload : 0;
    c->start &= UINT64_MAX >> 8; /* ticks stay far from where their sum with a count, or their ns, would wrap */
    c->held &= UINT64_MAX >> 8;
  }
  if (s->due != UINT64_MAX) s->due &= UINT64_MAX >> 20;
  s->speaker &= SPEAKER_BITS;
  s->connected = s->connected != 0;
  clock_timer_set(s->clock, &s->timer, s->timer.deadline);
  schedule_polled(s, tick_now(s));
}

static void destroy(void *state) {
  struct i8254 *s = state;
  clock_timer_cancel(s->clock, &s->timer);
  clock_timer_cancel(s->clock, &s->polled);
}

struct device i8254_init(struct i8254 *s, struct io_bus *io, struct clock *clock, struct irq_line irq0) {
  static const struct io_ops ops = {read, write, 1}, port_61 = {read_61, write_61, 1};
  *s = (struct i8254){.clock = clock, .irq0 = irq0};
  clock_timer_init(&s->timer, "pit", fire, s);
  clock_timer_init(&s->polled, "pit channel 2", seen, s);
  reset(s);
  io_bus_add(io, 0x40, 4, &ops, s, "pit");
  io_bus_add(io, 0x61, 1, &port_61, s, "port61");
  return (struct device){"i8254", s, fields, reset, loaded, destroy, 0};
}
