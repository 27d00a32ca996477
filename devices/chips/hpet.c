/* High precision event timers. Intel, IA-PC HPET specification 1.0a; the chip is as QEMU's on this machine: 100 MHz, three 64-bit
 * timers, each periodic, routed to I/O APIC pin 2, no FSB messages.
 *
 * Owns nothing that moves: the main counter is guest ns / 10 from where it started, so it agrees with TSC, PM timer, 8254 and
 * local APIC, and reading it is a subtraction and a division. A timer has a clock timer only while it can interrupt or set its
 * status bit.
 * With legacy replacement timer 0 is IRQ 0 (I/O APIC pin 2) and timer 1 is IRQ 8, and pc.c takes the 8254 and the RTC off these
 * lines.
 * Interrupts: edge-triggered ones are a low pulse that ends high (the 8259 forgets a request whose line falls); level-triggered
 * ones last until the status bit is cleared. Catch-up after a stall is the 8254's: periodic matches that are overdue are
 * delivered one by one, at least a quarter of a period apart, because kernels count the ticks of this timer against the TSC when
 * they look whether interrupts work; what is older than a second is dropped. Interrupts are never closer than MIN_GAP.
 * Deviations: a comparator that the counter passed less than LATE ago when it was written matches at once, so that a guest whose
 * CPU was held up between reading the counter and writing it does not wait for a whole round. Any line can be chosen, as in QEMU.
 */
#include "hpet.h"

enum {
  REG_ID = 0x00,
  REG_PERIOD = 0x04,
  REG_CONFIG = 0x10,
  REG_STATUS = 0x20,
  REG_COUNTER = 0xf0,
  REG_TIMER = 0x100,
  TIMER_SIZE = 0x20,
  TIMERS_END = REG_TIMER + HPET_TIMERS * TIMER_SIZE
};
enum { TIMER_CONFIG = 0x00, TIMER_ROUTES = 0x04, TIMER_CMP = 0x08 };
enum { ENABLE = 1, LEGACY = 2 };
enum {
  T_LEVEL = 1 << 1,
  T_ENABLE = 1 << 2,
  T_PERIODIC = 1 << 3,
  T_CAPABLE = 1 << 4 | 1 << 5 /* periodic, 64 bits */,
  T_SETVAL = 1 << 6,
  T_32BIT = 1 << 8,
  T_ROUTE_SHIFT = 9,
  T_ROUTE = 31 << T_ROUTE_SHIFT
};
enum { T_WRITABLE = T_LEVEL | T_ENABLE | T_PERIODIC | T_SETVAL | T_32BIT | T_ROUTE };
enum { ROUTES = 1 << 2, LINES = 24, RTC_LINE = 8 };
enum {
  NS_PER_TICK = 10,
  FS_PER_TICK = 10000000,
  TICKS_PER_SECOND = 100000000,
  MIN_GAP = 10000 /* ns */,
  LATE = 1 << 24 /* ticks */
};
#define FOREVER (1ull << 58) /* ticks: nobody waits 91 years, and their ns fit 64 bits */

static const struct field fields[] = {
#define TIMER(n) \
  FIELD(hpet, timer[n].config), FIELD(hpet, timer[n].line), FIELD(hpet, timer[n].cmp), FIELD(hpet, timer[n].period), \
    FIELD(hpet, timer[n].due), FIELD_TIMER(hpet, timer[n].timer)
  FIELD(hpet, config), FIELD(hpet, status), FIELD(hpet, counter), FIELD(hpet, started), TIMER(0), TIMER(1), TIMER(2), FIELD_END
#undef TIMER
};

/* ---- the counter ---- */

static uint64_t counter_at(const struct hpet *s, int64_t now) {
  return s->config & ENABLE ? s->counter + (uint64_t)(now - s->started) / NS_PER_TICK : s->counter;
}

/* Guest ns at which the running counter reaches a value; INT64_MAX: not in our time. */
static int64_t reached_at(const struct hpet *s, uint64_t value) {
  uint64_t ticks = value - s->counter;
  return ticks < FOREVER ? s->started + (int64_t)(ticks * NS_PER_TICK) : INT64_MAX;
}

/* ---- lines ---- */

static unsigned index_of(const struct hpet_timer *t) { return (unsigned)(t - t->chip->timer); }

static uint8_t route_of(const struct hpet_timer *t) {
  unsigned n = index_of(t);
  if (n < 2 && (t->chip->config & LEGACY)) return n ? RTC_LINE : 0;
  return (uint8_t)((t->config & T_ROUTE) >> T_ROUTE_SHIFT);
}

/* A line is high while any timer holds it. */
static void drive(struct hpet *s, uint8_t line) {
  bool high = false;
  for (unsigned n = 0; n < HPET_TIMERS; n++) high |= s->timer[n].line == line;
  if (line < LINES) s->line.set(s->line.opaque, line, high);
}

static void release(struct hpet_timer *t) {
  uint8_t line = t->line;
  t->line = HPET_NO_LINE;
  drive(t->chip, line);
}

static void interrupt(struct hpet_timer *t) {
  if (t->config & T_LEVEL) t->chip->status |= 1u << index_of(t);
  if (!(t->config & T_ENABLE)) return; /* 2.3.8, Tn_INT_ENB_CNF: only the status bit then */
  if (!(t->config & T_LEVEL) || t->line != route_of(t)) release(t);
  t->line = route_of(t);
  drive(t->chip, t->line);
}

/* ---- timers ---- */

static uint64_t mask_of(const struct hpet_timer *t) { return t->config & T_32BIT ? 0xffffffffull : UINT64_MAX; }
static bool periodic(const struct hpet_timer *t) { return (t->config & T_PERIODIC) && t->period; }

/* Ticks from the counter's value to the next match, 1 to 2^32 or 2^64 - 1. A periodic comparator that is not ahead has gone on by
 * whole periods. */
static uint64_t ahead(struct hpet_timer *t, uint64_t now) {
  uint64_t mask = mask_of(t), behind = (now - t->cmp) & mask;
  if (periodic(t) && behind <= mask >> 1) t->cmp = (t->cmp + (behind / t->period + 1) * t->period) & mask;
  uint64_t ticks = (t->cmp - now) & mask;
  return ticks ? ticks : mask == UINT64_MAX ? mask : mask + 1;
}

/* What is too far away stays so: a sum that wraps would lie in the past. */
static uint64_t next_due(struct hpet_timer *t, uint64_t now) {
  uint64_t ticks = ahead(t, now);
  return now + (ticks < FOREVER ? ticks : FOREVER);
}

static void arm(struct hpet_timer *t, int64_t not_before) {
  struct hpet *s = t->chip;
  int64_t at = INT64_MAX;
  if ((s->config & ENABLE) && (t->config & (T_ENABLE | T_LEVEL))) {
    at = reached_at(s, t->due);
    if (at < not_before) at = not_before;
  }
  clock_timer_set(s->clock, &t->timer, at);
}

static void schedule(struct hpet_timer *t, int64_t now) {
  t->due = next_due(t, counter_at(t->chip, now));
  arm(t, now);
}

static void fire(void *opaque) {
  struct hpet_timer *t = opaque;
  int64_t now = clock_now(t->chip->clock), gap = MIN_GAP;
  uint64_t count = counter_at(t->chip, now);
  interrupt(t);
  if (!periodic(t) || count - t->due > TICKS_PER_SECOND) {
    t->due = next_due(t, count); /* one-shot: when the low half comes round again (2.3.9.2.1) */
  } else {
    t->due += t->period;
    if (t->period < TICKS_PER_SECOND && (int64_t)t->period * NS_PER_TICK / 4 > gap) gap = (int64_t)t->period * NS_PER_TICK / 4;
  }
  arm(t, now + gap);
}

/* What was due before the guest changes something has happened. */
static void catch_up(struct hpet *s, int64_t now) {
  for (unsigned n = 0; n < HPET_TIMERS; n++)
    if (s->timer[n].timer.deadline <= now) {
      clock_timer_cancel(s->clock, &s->timer[n].timer);
      fire(&s->timer[n]);
    }
}

/* ---- writes ---- */

/* A level does not outlast what it is enabled by; an edge that waits at the 8259 does. */
static void quiet(struct hpet_timer *t, bool enabled) {
  if (enabled || !(t->config & T_LEVEL)) return;
  t->chip->status &= ~(1u << index_of(t));
  release(t);
}

static void write_config(struct hpet *s, uint32_t value, int64_t now) {
  uint32_t changed = (s->config ^ value) & (ENABLE | LEGACY);
  if (changed & ENABLE) {
    s->counter = counter_at(s, now);
    s->started = now;
  }
  for (unsigned n = 0; n < 2 && (changed & LEGACY); n++) release(&s->timer[n]);
  s->config ^= changed;
  if (changed & LEGACY) irq_set(&s->legacy, s->config & LEGACY);
  for (unsigned n = 0; n < HPET_TIMERS && (changed & ENABLE); n++) {
    quiet(&s->timer[n], s->config & ENABLE);
    schedule(&s->timer[n], now);
  }
}

static void write_status(struct hpet *s, uint32_t value) {
  value &= s->status;
  s->status &= ~value;
  for (unsigned n = 0; n < HPET_TIMERS; n++)
    if (value >> n & 1) release(&s->timer[n]);
}

static void write_counter(struct hpet *s, bool high, uint32_t value) {
  if (s->config & ENABLE) return; /* 2.3.7: software writes it while it stands */
  s->counter = high ? (uint64_t)value << 32 | (uint32_t)s->counter : (s->counter & 0xffffffffull << 32) | value;
}

static void write_timer_config(struct hpet_timer *t, uint32_t value, int64_t now) {
  uint32_t old = t->config;
  t->config = (value & T_WRITABLE) | T_CAPABLE;
  if (t->config & T_32BIT) {
    t->cmp = (uint32_t)t->cmp;
    t->period = (uint32_t)t->period;
  }
  if ((old ^ t->config) & (T_LEVEL | T_ROUTE)) {
    t->chip->status &= ~(1u << index_of(t));
    release(t);
  }
  quiet(t, !(old & ~t->config & T_ENABLE));
  if ((old ^ t->config) & (T_ENABLE | T_LEVEL | T_PERIODIC | T_32BIT)) schedule(t, now);
}

/* Half of a comparator. In periodic mode this is the period; the first write with VAL_SET is the comparator too (2.3.9.2.2), as
 * in QEMU. */
static void write_cmp(struct hpet_timer *t, bool high, uint32_t value, int64_t now) {
  uint64_t kept = high ? 0xffffffffull : 0xffffffffull << 32, part = high ? (uint64_t)value << 32 : value;
  if (high && (t->config & T_32BIT)) return;
  if (!(t->config & T_PERIODIC) || (t->config & T_SETVAL)) t->cmp = (t->cmp & kept) | part;
  if (t->config & T_PERIODIC) t->period = ((t->period & kept) | part) & mask_of(t) >> 1;
  t->config &= ~(uint32_t)T_SETVAL;
  uint64_t count = counter_at(t->chip, now);
  if (!periodic(t) && ((count - t->cmp) & mask_of(t)) < LATE) {
    t->due = count;
    arm(t, now);
  } else {
    schedule(t, now);
  }
}

static void write_timer(struct hpet_timer *t, unsigned reg, uint32_t value, int64_t now) {
  if (reg == TIMER_CONFIG) write_timer_config(t, value, now);
  else if (reg == TIMER_CMP || reg == TIMER_CMP + 4) write_cmp(t, reg != TIMER_CMP, value, now);
}

static void mmio_write(void *opaque, uint64_t offset, unsigned size, uint32_t value) {
  struct hpet *s = opaque;
  int64_t now = clock_now(s->clock);
  if (size != 4) return; /* 2.3.1: 32 or 64 bits at once */
  catch_up(s, now);
  switch (offset) {
  case REG_CONFIG: write_config(s, value, now); break;
  case REG_STATUS: write_status(s, value); break;
  case REG_COUNTER:
  case REG_COUNTER + 4: write_counter(s, offset != REG_COUNTER, value); break;
  case REG_TIMER ... TIMERS_END - 1:
    write_timer(&s->timer[(offset - REG_TIMER) / TIMER_SIZE], offset % TIMER_SIZE, value, now);
    break;
  default: break;
  }
}

/* ---- reads ---- */

static uint64_t read_cmp(struct hpet *s, struct hpet_timer *t) {
  if (periodic(t) && (s->config & ENABLE)) ahead(t, counter_at(s, clock_now(s->clock)));
  return t->cmp;
}

static uint32_t read_timer(struct hpet *s, struct hpet_timer *t, unsigned reg) {
  switch (reg) {
  case TIMER_CONFIG: return t->config;
  case TIMER_ROUTES: return ROUTES;
  case TIMER_CMP: return (uint32_t)read_cmp(s, t);
  case TIMER_CMP + 4: return (uint32_t)(read_cmp(s, t) >> 32);
  default: return 0; /* no FSB messages */
  }
}

static uint32_t read_register(struct hpet *s, uint64_t reg) {
  switch (reg) {
  case REG_COUNTER: return (uint32_t)counter_at(s, clock_now(s->clock));
  case REG_COUNTER + 4: return (uint32_t)(counter_at(s, clock_now(s->clock)) >> 32);
  case REG_ID: return HPET_BLOCK_ID;
  case REG_PERIOD: return FS_PER_TICK;
  case REG_CONFIG: return s->config;
  case REG_STATUS: return s->status;
  case REG_TIMER ... TIMERS_END - 1: return read_timer(s, &s->timer[(reg - REG_TIMER) / TIMER_SIZE], reg % TIMER_SIZE);
  default: return 0;
  }
}

static uint32_t mmio_read(void *opaque, uint64_t offset, unsigned size) {
  return read_register(opaque, offset & ~3ull) >> 8 * (offset & 3);
}

/* ---- life ---- */

static void reset(void *state) {
  struct hpet *s = state;
  write_config(s, 0, clock_now(s->clock));
  s->status = 0;
  s->counter = 0;
  s->started = 0;
  for (unsigned n = 0; n < HPET_TIMERS; n++) {
    struct hpet_timer *t = &s->timer[n];
    release(t);
    clock_timer_cancel(s->clock, &t->timer);
    t->config = T_CAPABLE;
    t->cmp = UINT64_MAX;
    t->period = t->due = 0;
  }
}

static void loaded(void *state) {
  struct hpet *s = state;
  int64_t now = clock_now(s->clock);
  s->config &= ENABLE | LEGACY;
  s->status &= (1 << HPET_TIMERS) - 1;
  if (s->started > now || s->started < 0) s->started = now;
  for (unsigned n = 0; n < HPET_TIMERS; n++) {
    struct hpet_timer *t = &s->timer[n];
    t->config = (t->config & T_WRITABLE) | T_CAPABLE;
    t->line = t->line < LINES ? t->line : HPET_NO_LINE;
    t->cmp &= mask_of(t);
    t->period &= mask_of(t) >> 1;
    clock_timer_set(s->clock, &t->timer, t->timer.deadline);
  }
}

static void destroy(void *state) {
  struct hpet *s = state;
  for (unsigned n = 0; n < HPET_TIMERS; n++) clock_timer_cancel(s->clock, &s->timer[n].timer);
  mmu_remove_io(s->mmu, to_gpa(HPET_BASE));
}

struct device hpet_init(struct hpet *s, struct mmu *mmu, struct clock *clock, struct irq_line line, struct irq_line legacy) {
  static const struct mmu_io_ops ops = {mmio_read, mmio_write};
  static const char *const names[HPET_TIMERS] = {"hpet0", "hpet1", "hpet2"};
  *s = (struct hpet){.clock = clock, .mmu = mmu, .line = line, .legacy = legacy};
  for (unsigned n = 0; n < HPET_TIMERS; n++) {
    s->timer[n].chip = s;
    s->timer[n].line = HPET_NO_LINE;
    clock_timer_init(&s->timer[n].timer, names[n], fire, &s->timer[n]);
  }
  reset(s);
  mmu_add_io(mmu, to_gpa(HPET_BASE), CHIP_WINDOW, &ops, s);
  return (struct device){"hpet", s, fields, reset, loaded, destroy, 0};
}
