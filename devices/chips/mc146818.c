/* Real-time clock and CMOS memory. Motorola MC146818A data sheet; the PC's use of the memory bytes as SeaBIOS and Linux read it.
 *
 * Owns the calendar, as seconds since 1970 that were right at one guest time: registers, UIP and the flags of register C are
 * computed from the guest clock when somebody looks. The timer is armed only for a flag whose interrupt is enabled and that is
 * not already set;
 * IRQ 8 stays high until register C is read, so after a stall all missed periods, seconds and alarms are one interrupt each (as
 * on the chip), unless the user wants each period to be told (-rtc driftfix=slew: guests that count ticks): then what was missed
 * is owed, up to a second of it, and paid a quarter of a period after register C was read. The calendar survives a reset, as with
 * a battery. It starts at the clock's epoch (-rtc base=). 37h is the century, too, as on a PS/2. Deviations: a change of B.DM or
 * B.24 changes how the running calendar reads at once (the chip wants the time set anew); the square wave pin and daylight saving
 * do not exist.
 */
#include "mc146818.h"

enum {
  SECONDS,
  SECONDS_ALARM,
  MINUTES,
  MINUTES_ALARM,
  HOURS,
  HOURS_ALARM,
  WEEKDAY,
  DAY,
  MONTH,
  YEAR,
  REG_A,
  REG_B,
  REG_C,
  REG_D
};
enum { CENTURY = 0x32, PS2_CENTURY = 0x37, PM = 0x80, DONT_CARE = 0xc0 };
enum { A_UIP = 0x80, A_DIVIDER = 0x70, A_DIVIDER_RESET = 0x60, A_RATE = 0x0f };
enum { B_SET = 0x80, B_PIE = 0x40, B_AIE = 0x20, B_UIE = 0x10, B_BINARY = 0x04, B_24H = 0x02 };
enum { C_IRQF = 0x80, C_PF = 0x40, C_AF = 0x20, C_UF = 0x10, D_VALID = 0x80 };
enum { CRYSTAL_HZ = 32768, DAY_SECONDS = 86400 };
#define NS_PER_S 1000000000ll
#define UPDATE_NS 2228000ll        /* UIP is high for tBUC (244 us) and the update cycle (1984 us) before each second */
#define MAX_SECONDS 253402300799ll /* 9999-12-31 23:59:59 */

static const struct field fields[] = {FIELD_ARRAY(mc146818, cmos),
                                      FIELD(mc146818, index),
                                      FIELD(mc146818, nmi_masked),
                                      FIELD(mc146818, weekday_shift),
                                      FIELD(mc146818, irq),
                                      FIELD(mc146818, set_seconds),
                                      FIELD(mc146818, set_at),
                                      FIELD(mc146818, flags_at),
                                      FIELD(mc146818, owed),
                                      FIELD_TIMER(mc146818, timer),
                                      FIELD_END};

/* ---- calendar ---- */

/* Days since 1970-01-01 of a date whose month and day may be out of range. Years begin in March here, so that the leap day is
 * their last. */
static int64_t days_of(int64_t year, int64_t month, int64_t day) {
  year += (month - 1) / 12;
  month = (month - 1) % 12 + 1;
  if (month < 1) {
    month += 12;
    year--;
  }
  if (month < 3) {
    month += 12;
    year--;
  }
  return 365 * year + year / 4 - year / 100 + year / 400 + (153 * (month - 3) + 2) / 5 + day - 1 - 719468;
}

struct date {
  int64_t year;
  unsigned month, day;
};

static struct date date_of(int64_t days) {
  struct date d = {.year = 1970 + days / 366, .month = 12, .day = 1};
  while (days_of(d.year + 1, 1, 1) <= days) d.year++;
  while (d.month > 1 && days_of(d.year, d.month, 1) > days) d.month--;
  d.day = (unsigned)(days - days_of(d.year, d.month, 1)) + 1;
  return d;
}

static uint8_t encode(const struct mc146818 *s, unsigned n) {
  return (uint8_t)(s->cmos[REG_B] & B_BINARY ? n : n / 10 % 10 << 4 | n % 10);
}

static unsigned decode(const struct mc146818 *s, uint8_t v) { return s->cmos[REG_B] & B_BINARY ? v : (v >> 4) * 10u + (v & 15u); }

static uint8_t encode_hour(const struct mc146818 *s, unsigned hour) {
  if (s->cmos[REG_B] & B_24H) return encode(s, hour);
  return encode(s, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? PM : 0);
}

static unsigned decode_hour(const struct mc146818 *s, uint8_t v) {
  if (s->cmos[REG_B] & B_24H) return decode(s, v);
  return decode(s, v & 0x7f) % 12 + (v & PM ? 12 : 0);
}

/* ---- time ---- */

static bool divider_reset(const struct mc146818 *s) { return (s->cmos[REG_A] & A_DIVIDER_RESET) == A_DIVIDER_RESET; }
static bool running(const struct mc146818 *s) { return !(s->cmos[REG_B] & B_SET) && !divider_reset(s); }
static int64_t since_set(const struct mc146818 *s, int64_t now) { return now > s->set_at ? now - s->set_at : 0; }
static int64_t seconds_at(const struct mc146818 *s, int64_t now) { return s->set_seconds + since_set(s, now) / NS_PER_S; }

/* The time registers of one moment, as the guest reads them. */
static uint8_t time_register(const struct mc146818 *s, unsigned reg, int64_t t) {
  int64_t days = t / DAY_SECONDS;
  unsigned second = (unsigned)(t % DAY_SECONDS);
  switch (reg) {
  case SECONDS: return encode(s, second % 60);
  case MINUTES: return encode(s, second / 60 % 60);
  case HOURS: return encode_hour(s, second / 3600);
  case WEEKDAY: return encode(s, (unsigned)((days + 4 + s->weekday_shift) % 7) + 1);
  case DAY: return encode(s, date_of(days).day);
  case MONTH: return encode(s, date_of(days).month);
  case YEAR: return encode(s, (unsigned)(date_of(days).year % 100));
  default: return encode(s, (unsigned)(date_of(days).year / 100));
  }
}

static bool is_time(unsigned reg) {
  return reg == SECONDS || reg == MINUTES || reg == HOURS || (reg >= WEEKDAY && reg <= YEAR) || reg == CENTURY;
}

static void freeze(struct mc146818 *s, int64_t now) {
  int64_t t = seconds_at(s, now);
  for (unsigned reg = 0; reg <= CENTURY; reg++)
    if (is_time(reg)) s->cmos[reg] = time_register(s, reg, t);
}

/* The registers become the calendar; the phase within the second stays as it is. */
static void thaw(struct mc146818 *s, int64_t now) {
  int64_t days =
    days_of(decode(s, s->cmos[CENTURY]) * 100 + decode(s, s->cmos[YEAR]), decode(s, s->cmos[MONTH]), decode(s, s->cmos[DAY]));
  int64_t t =
    days * DAY_SECONDS + decode_hour(s, s->cmos[HOURS]) * 3600 + decode(s, s->cmos[MINUTES]) * 60 + decode(s, s->cmos[SECONDS]);
  s->set_seconds = t < 0 ? 0 : t > MAX_SECONDS ? MAX_SECONDS : t;
  s->set_at += since_set(s, now) / NS_PER_S * NS_PER_S;
  int64_t weekday = decode(s, s->cmos[WEEKDAY]) + 6 - (s->set_seconds / DAY_SECONDS + 4) % 7;
  s->weekday_shift = (uint8_t)(weekday % 7);
}

/* ---- register C ---- */

/* Length of the periodic interrupt in crystal ticks (table 5: rates 1 and 2 are those of 8 and 9); 0: off. */
static unsigned period(const struct mc146818 *s) {
  unsigned rate = s->cmos[REG_A] & A_RATE;
  if (!rate || divider_reset(s)) return 0;
  return 1u << ((rate < 3 ? rate + 7 : rate) - 1);
}

static uint64_t crystal_ticks(const struct mc146818 *s, int64_t ns) { return clock_ns_to_ticks(since_set(s, ns), CRYSTAL_HZ); }

static bool alarm_matches(uint8_t alarm, unsigned wanted, unsigned is) { return alarm >= DONT_CARE || wanted == is; }

/* First second after t at which the alarm goes off; INT64_MAX: never. */
static int64_t next_alarm(const struct mc146818 *s, int64_t t) {
  unsigned hour = decode_hour(s, s->cmos[HOURS_ALARM]), minute = decode(s, s->cmos[MINUTES_ALARM]),
           second = decode(s, s->cmos[SECONDS_ALARM]);
  for (int64_t at = t + 1; at <= t + DAY_SECONDS;) {
    unsigned of_day = (unsigned)(at % DAY_SECONDS);
    if (!alarm_matches(s->cmos[HOURS_ALARM], hour, of_day / 3600)) at += 3600 - of_day % 3600;
    else if (!alarm_matches(s->cmos[MINUTES_ALARM], minute, of_day / 60 % 60)) at += 60 - of_day % 60;
    else if (!alarm_matches(s->cmos[SECONDS_ALARM], second, of_day % 60)) at++;
    else return at;
  }
  return INT64_MAX;
}

/* So many periods have ended: one of them is told by PF, unless that is set still. */
static void count_periods(struct mc146818 *s, uint64_t ended, unsigned p) {
  uint64_t missed = ended - !(s->cmos[REG_C] & C_PF), most = CRYSTAL_HZ / p;
  s->cmos[REG_C] |= C_PF;
  if (!s->slew || !(s->cmos[REG_B] & B_PIE)) return;
  s->owed = missed >= most || s->owed + missed > most ? (uint32_t)most : s->owed + (uint32_t)missed;
}

/* Brings register C up to `now`. Must be called before anything that it depends on changes. */
static void settle(struct mc146818 *s, int64_t now) {
  unsigned p = period(s);
  uint64_t ended = p ? crystal_ticks(s, now) / p - crystal_ticks(s, s->flags_at) / p : 0;
  if (ended) count_periods(s, ended, p);
  int64_t before = seconds_at(s, s->flags_at), t = seconds_at(s, now);
  if (running(s) && t != before) {
    s->cmos[REG_C] |= C_UF;
    if (next_alarm(s, before) <= t) s->cmos[REG_C] |= C_AF;
  }
  s->flags_at = now;
}

static int64_t second_to_ns(const struct mc146818 *s, int64_t t) {
  return t == INT64_MAX ? INT64_MAX : s->set_at + (t - s->set_seconds) * NS_PER_S;
}

static int64_t quarter_ns(unsigned p) { return (int64_t)p * NS_PER_S / CRYSTAL_HZ / 4; }

static void arm(struct mc146818 *s, int64_t now) {
  uint8_t wanted = s->cmos[REG_B] & (uint8_t)~s->cmos[REG_C];
  int64_t at = INT64_MAX, t = seconds_at(s, now);
  unsigned p = period(s);
  if ((wanted & B_PIE) && p) at = s->set_at + clock_ticks_to_ns((crystal_ticks(s, now) / p + 1) * p, CRYSTAL_HZ);
  if ((wanted & B_PIE) && p && s->owed && now + quarter_ns(p) < at) at = now + quarter_ns(p);
  if ((wanted & B_UIE) && running(s) && second_to_ns(s, t + 1) < at) at = second_to_ns(s, t + 1);
  if ((wanted & B_AIE) && running(s) && second_to_ns(s, next_alarm(s, t)) < at) at = second_to_ns(s, next_alarm(s, t));
  clock_timer_set(s->clock, &s->timer, at);
}

static void update_irq(struct mc146818 *s, int64_t now) {
  uint8_t irq = (s->cmos[REG_C] & s->cmos[REG_B] & (B_PIE | B_AIE | B_UIE)) != 0;
  arm(s, now);
  if (irq == s->irq) return;
  s->irq = irq;
  irq_set(&s->out, irq);
}

static void fire(void *opaque) {
  struct mc146818 *s = opaque;
  int64_t now = clock_now(s->clock);
  settle(s, now);
  if (s->owed && !(s->cmos[REG_C] & C_PF)) {
    s->cmos[REG_C] |= C_PF;
    s->owed--;
  }
  update_irq(s, now);
}

/* ---- ports ---- */

static unsigned selected(const struct mc146818 *s) { return s->index == PS2_CENTURY ? CENTURY : s->index; }

static uint8_t read_a(const struct mc146818 *s, int64_t now) {
  bool updating = running(s) && since_set(s, now) % NS_PER_S >= NS_PER_S - UPDATE_NS;
  return (s->cmos[REG_A] & 0x7f) | (updating ? A_UIP : 0);
}

static uint8_t read_c(struct mc146818 *s, int64_t now) {
  settle(s, now);
  uint8_t value = s->cmos[REG_C];
  if (value & s->cmos[REG_B] & (B_PIE | B_AIE | B_UIE)) value |= C_IRQF;
  s->cmos[REG_C] = 0;
  update_irq(s, now);
  return value;
}

static uint32_t read(void *dev, uint16_t offset, unsigned size) {
  struct mc146818 *s = dev;
  int64_t now = clock_now(s->clock);
  if (!offset) return 0xff; /* port 70h is write-only */
  unsigned reg = selected(s);
  switch (reg) {
  case REG_A: return read_a(s, now);
  case REG_C: return read_c(s, now);
  case REG_D: return D_VALID;
  }
  if (is_time(reg) && running(s)) return time_register(s, reg, seconds_at(s, now));
  return s->cmos[reg];
}

static void write_a(struct mc146818 *s, uint8_t value, int64_t now) {
  bool was_running = running(s), was_reset = divider_reset(s);
  if (was_running && (value & A_DIVIDER_RESET) == A_DIVIDER_RESET) freeze(s, now);
  if ((value ^ s->cmos[REG_A]) & (A_RATE | A_DIVIDER)) s->owed = 0;
  s->cmos[REG_A] = value & 0x7f;
  if (!was_reset || divider_reset(s)) return;
  s->set_at = now - NS_PER_S / 2; /* out of divider reset, the first update follows half a second later */
  if (running(s)) thaw(s, now);
}

static void write_b(struct mc146818 *s, uint8_t value, int64_t now) {
  bool was_running = running(s);
  if (was_running && (value & B_SET)) freeze(s, now);
  s->cmos[REG_B] = value & B_SET ? value & (uint8_t)~B_UIE : value;
  if (!(value & B_PIE)) s->owed = 0;
  if (!was_running && running(s)) thaw(s, now);
}

static void write_register(struct mc146818 *s, unsigned reg, uint8_t value, int64_t now) {
  if (!is_time(reg) || !running(s)) {
    s->cmos[reg] = value;
    return;
  }
  freeze(s, now);
  s->cmos[reg] = value;
  thaw(s, now);
}

static void write(void *dev, uint16_t offset, unsigned size, uint32_t value) {
  struct mc146818 *s = dev;
  int64_t now = clock_now(s->clock);
  if (!offset) {
    s->index = value & 0x7f;
    s->nmi_masked = value >> 7 & 1;
    return;
  }
  settle(s, now);
  switch (s->index) {
  case REG_A: write_a(s, (uint8_t)value, now); break;
  case REG_B: write_b(s, (uint8_t)value, now); break;
  case REG_C:
  case REG_D: break;
  default: write_register(s, selected(s), (uint8_t)value, now);
  }
  s->flags_at = now;
  update_irq(s, now);
}

/* ---- life ---- */

static void put16(struct mc146818 *s, unsigned at, uint64_t value) {
  if (value > 0xffff) value = 0xffff;
  s->cmos[at] = value & 0xff;
  s->cmos[at + 1] = (uint8_t)(value >> 8);
}

/* Where a BIOS and old kernels look for the memory's size and for the equipment. */
static void fill_memory(struct mc146818 *s, uint64_t ram_size) {
  uint64_t above_1m = ram_size > 1 << 20 ? (ram_size - (1 << 20)) >> 10 : 0;
  s->cmos[0x14] = 0x02;     /* x87; a display with a ROM of its own; no diskette: floppies are firmware/cmos.c's */
  put16(s, 0x15, 640);      /* KiB below 1 MiB */
  put16(s, 0x17, above_1m); /* KiB above 1 MiB, as set up and as found */
  put16(s, 0x30, above_1m);
  put16(s, 0x34, ram_size > 16 << 20 ? (ram_size - (16 << 20)) >> 16 : 0); /* 64 KiB above 16 MiB */
  unsigned sum = 0;
  for (unsigned i = 0x10; i < 0x2e; i++) sum += s->cmos[i];
  s->cmos[0x2e] = (uint8_t)(sum >> 8);
  s->cmos[0x2f] = (uint8_t)sum;
}

/* RESET: interrupts off and the flags cleared; the calendar and the memory stay. */
static void reset(void *state) {
  struct mc146818 *s = state;
  int64_t now = clock_now(s->clock);
  settle(s, now);
  s->cmos[REG_B] &= (uint8_t) ~(B_PIE | B_AIE | B_UIE | 0x08);
  s->cmos[REG_C] = 0;
  s->nmi_masked = 0;
  s->owed = 0;
  update_irq(s, now);
}

static int64_t clamp(int64_t v, int64_t most) { return v < 0 ? 0 : v > most ? most : v; }

static void loaded(void *state) {
  struct mc146818 *s = state;
  int64_t now = clock_now(s->clock);
  s->index &= 0x7f;
  s->weekday_shift %= 7;
  s->set_seconds = clamp(s->set_seconds, MAX_SECONDS);
  if (s->set_at > now || s->set_at < -NS_PER_S) s->set_at = now;
  s->flags_at = s->flags_at > now || s->flags_at < s->set_at ? now : s->flags_at;
  s->irq = s->irq != 0;
  s->owed = period(s) && s->slew ? s->owed % (CRYSTAL_HZ / period(s) + 1) : 0;
  irq_set(&s->out, s->irq);
  clock_timer_set(s->clock, &s->timer, s->timer.deadline);
}

static void destroy(void *state) {
  struct mc146818 *s = state;
  clock_timer_cancel(s->clock, &s->timer);
}

struct device mc146818_init(struct mc146818 *s, struct io_bus *io, struct clock *clock, uint64_t ram_size, bool slew,
                            struct irq_line out) {
  static const struct io_ops ops = {read, write, 1};
  *s = (struct mc146818){.clock = clock, .slew = slew, .out = out, .set_seconds = clamp(clock_epoch(clock), MAX_SECONDS)};
  s->cmos[REG_A] = 0x26; /* 32.768 kHz, 1024 Hz, as in QEMU; a battery keeps it */
  s->cmos[REG_B] = B_24H;
  clock_timer_init(&s->timer, "rtc", fire, s);
  fill_memory(s, ram_size);
  io_bus_add(io, 0x70, 2, &ops, s, "rtc");
  return (struct device){"mc146818", s, fields, reset, loaded, destroy, 0};
}
