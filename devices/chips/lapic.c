/* Local APIC. Intel SDM vol. 3A, chapter 11 (10 before 2023). One CPU, xAPIC mode, no TSC deadline.
 *
 * Owns the registers at IA32_APIC_BASE, the pending (IRR), in-service (ISR) and trigger-mode (TMR) bits, and the timer. The timer
 * runs at 1 GHz before the divider: a tick is a nanosecond of guest time, so it agrees with PIT, PM timer and TSC exactly; the
 * current count is computed when read. After a stall a periodic timer delivers one interrupt and goes on with the next period
 * that is still to come; interrupts are never closer than MIN_GAP. A change of the timer's mode goes on from the current count,
 * and a one-shot count that has reached 0 stays there, whatever the mode, until the initial count is written (11.5.4; QEMU
 * computes the new mode's count anew). Moving the base onto RAM or another chip leaves the registers out of the physical map.
 * Deviation: after reset LINT0 is ExtINT and not masked, though the APIC is software-disabled, as the boot processor's is in QEMU
 * (11.4.7.1 says masked): a BIOS that does not know of it gets its interrupts. Software-disabling later masks every LVT as the
 * manual says.
 * Missing: SMI (no SMM), x2APIC, arbitration (one CPU), lowest-priority arbitration likewise.
 */
#include "lapic.h"
#include "../map.h"

/* offset / 16 */
enum {
  REG_ID = 0x02,
  REG_VERSION,
  REG_TPR = 0x08,
  REG_APR,
  REG_PPR,
  REG_EOI,
  REG_RRD,
  REG_LDR,
  REG_DFR,
  REG_SVR,
  REG_ISR,
  REG_TMR = 0x18,
  REG_IRR = 0x20,
  REG_ESR = 0x28,
  REG_ICR_LOW = 0x30,
  REG_ICR_HIGH,
  REG_LVT,
  REG_INITIAL = 0x38,
  REG_CURRENT,
  REG_DIVIDE = 0x3e
};
enum { VERSION = 0x14 | (LVT_COUNT - 1) << 16 };
enum { SVR_ENABLE = 1 << 8, SVR_BITS = 0x3ff };
enum { LVT_MASKED = 1 << 16, LVT_LEVEL = 1 << 15, LVT_REMOTE_IRR = 1 << 14, LVT_PERIODIC = 1 << 17, LVT_KEPT = LVT_REMOTE_IRR };
enum { ICR_LOGICAL = 1 << 11, ICR_ASSERT = 1 << 14, ICR_LEVEL = 1 << 15, ICR_BITS = 0xccfff };
enum { ESR_SEND_ILLEGAL = 1 << 5, ESR_RECEIVE_ILLEGAL = 1 << 6, ESR_REGISTER = 1 << 7 };
enum { BASE_BSP = 1 << 8, BASE_ENABLE = 1 << 11, MIN_GAP = 10000 /* ns */ };
#define BASE_ADDRESS 0xffffff000ull

static const uint32_t lvt_bits[LVT_COUNT] = {0x300ff, 0x107ff, 0x107ff, 0x1a7ff, 0x1a7ff, 0x100ff};

static const struct field fields[] = {
  FIELD(lapic, base),       FIELD(lapic, id),        FIELD(lapic, tpr),         FIELD(lapic, ldr),
  FIELD(lapic, dfr),        FIELD(lapic, svr),       FIELD(lapic, esr),         FIELD(lapic, esr_latched),
  FIELD_ARRAY(lapic, icr),  FIELD_ARRAY(lapic, lvt), FIELD(lapic, initial),     FIELD(lapic, divide),
  FIELD(lapic, expired),    FIELD_ARRAY(lapic, isr), FIELD_ARRAY(lapic, tmr),   FIELD_ARRAY(lapic, irr),
  FIELD_ARRAY(lapic, lint), FIELD(lapic, start),     FIELD_TIMER(lapic, timer), FIELD_END};

/* ---- vectors ---- */

static int highest(const uint32_t bits[8]) {
  for (int word = 7; word >= 0; word--)
    if (bits[word]) return word * 32 + 31 - __builtin_clz(bits[word]);
  return -1;
}

static void set_bit(uint32_t bits[8], uint8_t n, bool on) {
  bits[n / 32] = on ? bits[n / 32] | 1u << n % 32 : bits[n / 32] & ~(1u << n % 32);
}

static bool on(const struct lapic *s) { return s->base & BASE_ENABLE; }
static bool software_enabled(const struct lapic *s) { return on(s) && (s->svr & SVR_ENABLE); }

static uint32_t processor_priority(const struct lapic *s) {
  int in_service = highest(s->isr);
  uint32_t isrv = in_service < 0 ? 0 : (uint32_t)in_service & 0xf0;
  return (s->tpr & 0xf0) >= isrv ? s->tpr : isrv;
}

int lapic_pending(const struct lapic *s) {
  if (!software_enabled(s)) return -1;
  int vector = highest(s->irr);
  return vector >= 0 && ((uint32_t)vector & 0xf0) > (processor_priority(s) & 0xf0) ? vector : -1;
}

int lapic_ack(struct lapic *s) {
  int vector = lapic_pending(s);
  if (vector < 0) return -1;
  set_bit(s->irr, (uint8_t)vector, false);
  set_bit(s->isr, (uint8_t)vector, true);
  s->wires.changed(s->wires.opaque);
  return vector;
}

static bool accept(struct lapic *s, uint8_t vector, bool level);

static void error(struct lapic *s, uint32_t bit) {
  bool news = !(s->esr & bit);
  s->esr |= bit;
  if (news && !(s->lvt[LVT_ERROR] & LVT_MASKED) && (s->lvt[LVT_ERROR] & 0xff) >= 16) /* an illegal vector here must not recurse */
    accept(s, (uint8_t)s->lvt[LVT_ERROR], false);
}

static bool accept(struct lapic *s, uint8_t vector, bool level) {
  if (!software_enabled(s)) return false;
  if (vector < 16) {
    error(s, ESR_RECEIVE_ILLEGAL);
    return true;
  }
  set_bit(s->irr, vector, true);
  set_bit(s->tmr, vector, level);
  s->wires.changed(s->wires.opaque);
  return true;
}

/* ---- messages ---- */

bool lapic_matches(const struct lapic *s, uint8_t destination, bool logical) {
  if (!on(s)) return false;
  if (destination == 0xff) return true;
  if (!logical) return destination == s->id >> 24;
  uint8_t own = (uint8_t)(s->ldr >> 24);
  if (s->dfr >> 28 == 0xf) return own & destination;
  return own >> 4 == destination >> 4 && (own & destination & 0x0f);
}

static void init_reset(struct lapic *s);

bool lapic_deliver(struct lapic *s, enum apic_mode mode, uint8_t vector, bool level) {
  switch (mode) {
  case APIC_FIXED:
  case APIC_LOWEST: return accept(s, vector, level);
  case APIC_NMI: s->wires.nmi(s->wires.opaque); return true;
  case APIC_INIT:
    init_reset(s);
    s->wires.init(s->wires.opaque);
    return true;
  default: return true; /* start-up: the CPU is not waiting for one; SMI: no SMM; ExtINT: by wire, see ioapic.c */
  }
}

static void send_ipi(struct lapic *s) {
  uint32_t low = s->icr[0], shorthand = low >> 18 & 3, mode = low >> 8 & 7;
  bool to_us = shorthand ? shorthand != 3 : lapic_matches(s, (uint8_t)(s->icr[1] >> 24), low & ICR_LOGICAL);
  if (mode == APIC_INIT && (low & ICR_LEVEL) && !(low & ICR_ASSERT)) return; /* INIT level de-assert: sets arbitration ids */
  if ((mode == APIC_FIXED || mode == APIC_LOWEST) && (low & 0xff) < 16) {
    error(s, ESR_SEND_ILLEGAL);
    return;
  }
  if (to_us) lapic_deliver(s, mode, (uint8_t)low, false);
}

/* ---- LINT pins ---- */

bool lapic_accepts_extint(const struct lapic *s) {
  return !on(s) || (!(s->lvt[LVT_LINT0] & LVT_MASKED) && (s->lvt[LVT_LINT0] >> 8 & 7) == APIC_EXTINT);
}

static void drive_lint(struct lapic *s, unsigned pin, bool rise) {
  uint32_t *lvt = &s->lvt[LVT_LINT0 + pin];
  unsigned mode = *lvt >> 8 & 7;
  if (!s->lint[pin] || (*lvt & LVT_MASKED) || !on(s)) return;
  if (mode == APIC_NMI && rise) s->wires.nmi(s->wires.opaque);
  if (mode != APIC_FIXED) return;
  if (!(*lvt & LVT_LEVEL) || pin == 1) { /* LINT1 is always edge-triggered */
    if (rise) accept(s, (uint8_t)*lvt, false);
  } else if (!(*lvt & LVT_REMOTE_IRR) && accept(s, (uint8_t)*lvt, true)) {
    *lvt |= LVT_REMOTE_IRR;
  }
}

void lapic_set_lint(struct lapic *s, unsigned pin, bool level) {
  bool rise = level && !s->lint[pin];
  s->lint[pin] = level;
  drive_lint(s, pin, rise);
}

/* ---- end of interrupt ---- */

static void end_of_interrupt(struct lapic *s) {
  int vector = highest(s->isr);
  if (vector < 0) return;
  set_bit(s->isr, (uint8_t)vector, false);
  if (s->tmr[vector / 32] >> vector % 32 & 1) {
    for (unsigned pin = 0; pin < 2; pin++) {
      uint32_t *lvt = &s->lvt[LVT_LINT0 + pin];
      if ((*lvt & LVT_REMOTE_IRR) && (*lvt & 0xff) == (uint32_t)vector) {
        *lvt &= ~(uint32_t)LVT_REMOTE_IRR;
        drive_lint(s, pin, false);
      }
    }
    s->wires.eoi(s->wires.opaque, (uint8_t)vector);
  }
  s->wires.changed(s->wires.opaque);
}

/* ---- timer ---- */

/* Divide configuration (figure 11-10): bits 3, 1, 0 are log2 of the divisor less one, 111 is one. */
static unsigned divider_bits(const struct lapic *s) { return ((s->divide & 3) + (s->divide >> 1 & 4) + 1) & 7; }

static int64_t period_ns(const struct lapic *s) { return (int64_t)((uint64_t)s->initial << divider_bits(s)); }

static uint32_t current_count(const struct lapic *s, int64_t now) {
  if (!s->initial || s->expired) return 0;
  uint64_t ticks = (now > s->start ? (uint64_t)(now - s->start) : 0) >> divider_bits(s);
  if (s->lvt[LVT_TIMER] & LVT_PERIODIC) return s->initial - (uint32_t)(ticks % s->initial);
  return ticks >= s->initial ? 0 : s->initial - (uint32_t)ticks;
}

static void arm(struct lapic *s, int64_t now, int64_t not_before) {
  int64_t at = INT64_MAX, period = period_ns(s);
  bool periodic = s->lvt[LVT_TIMER] & LVT_PERIODIC;
  if (period && !s->expired && on(s) && !(s->lvt[LVT_TIMER] & LVT_MASKED)) {
    int64_t passed = now > s->start ? now - s->start : 0;
    if (periodic) at = s->start + (passed / period + 1) * period;
    else if (passed < period) at = s->start + period;
    if (at < not_before) at = not_before;
  }
  clock_timer_set(s->clock, &s->timer, at);
}

static void fire(void *opaque) {
  struct lapic *s = opaque;
  int64_t now = clock_now(s->clock);
  accept(s, (uint8_t)s->lvt[LVT_TIMER], false);
  if (s->lvt[LVT_TIMER] & LVT_PERIODIC) arm(s, now, now + MIN_GAP);
}

/* What was due before the guest changes the timer has happened. */
static void catch_up(struct lapic *s, int64_t now) {
  if (s->timer.deadline <= now) {
    clock_timer_cancel(s->clock, &s->timer);
    fire(s);
  }
}

/* The count goes on in the new mode: from the period that is running, or not at all where a one-shot has ended. */
static void change_mode(struct lapic *s, uint32_t lvt, int64_t now) {
  if (s->initial && (lvt ^ s->lvt[LVT_TIMER]) & LVT_PERIODIC) {
    uint32_t left = current_count(s, now);
    s->expired = left == 0;
    if (left) s->start = now - (int64_t)((uint64_t)(s->initial - left) << divider_bits(s));
  }
  s->lvt[LVT_TIMER] = lvt;
}

static void write_timer(struct lapic *s, unsigned reg, uint32_t value) {
  int64_t now = clock_now(s->clock);
  catch_up(s, now);
  if (reg == REG_INITIAL) {
    s->initial = value;
    s->start = now;
    s->expired = 0;
  } else if (reg == REG_DIVIDE) {
    uint32_t done = s->initial - current_count(s, now);
    s->divide = value & 0x0b;
    s->start = now - (int64_t)((uint64_t)done << divider_bits(s));
  } else {
    change_mode(s, value, now);
  }
  arm(s, now, 0);
}

/* ---- registers ---- */

static void write_lvt(struct lapic *s, unsigned n, uint32_t value) {
  value = (value & lvt_bits[n]) | (s->lvt[n] & LVT_KEPT);
  if (!(s->svr & SVR_ENABLE)) value |= LVT_MASKED;
  if (n == LVT_TIMER) {
    write_timer(s, REG_LVT, value);
    return;
  }
  if (!(value & LVT_LEVEL)) value &= ~(uint32_t)LVT_REMOTE_IRR;
  s->lvt[n] = value;
  if (n == LVT_LINT0 || n == LVT_LINT1) drive_lint(s, n - LVT_LINT0, false);
}

static void write_svr(struct lapic *s, uint32_t value) {
  s->svr = value & SVR_BITS;
  if (value & SVR_ENABLE) return;
  for (unsigned n = 0; n < LVT_COUNT; n++) s->lvt[n] |= LVT_MASKED;
  arm(s, clock_now(s->clock), 0);
}

static void write_register(struct lapic *s, unsigned reg, uint32_t value) {
  switch (reg) {
  case REG_ID: s->id = value & 0xff000000; break;
  case REG_TPR: s->tpr = value & 0xff; break;
  case REG_EOI: end_of_interrupt(s); break;
  case REG_LDR: s->ldr = value & 0xff000000; break;
  case REG_DFR: s->dfr = value | 0x0fffffff; break;
  case REG_SVR: write_svr(s, value); break;
  case REG_ESR:
    s->esr_latched = s->esr;
    s->esr = 0;
    break;
  case REG_ICR_LOW:
    s->icr[0] = value & ICR_BITS;
    send_ipi(s);
    break;
  case REG_ICR_HIGH: s->icr[1] = value & 0xff000000; break;
  case REG_LVT ... REG_LVT + LVT_COUNT - 1: write_lvt(s, reg - REG_LVT, value); break;
  case REG_INITIAL:
  case REG_DIVIDE: write_timer(s, reg, value); break;
  case REG_VERSION:
  case REG_APR:
  case REG_PPR:
  case REG_RRD:
  case REG_ISR ... REG_IRR + 7:
  case REG_CURRENT: break;
  default: error(s, ESR_REGISTER);
  }
  s->wires.changed(s->wires.opaque);
}

static uint32_t read_register(struct lapic *s, unsigned reg) {
  switch (reg) {
  case REG_ID: return s->id;
  case REG_VERSION: return VERSION;
  case REG_TPR: return s->tpr;
  case REG_PPR: return processor_priority(s);
  case REG_LDR: return s->ldr;
  case REG_DFR: return s->dfr;
  case REG_SVR: return s->svr;
  case REG_ISR ... REG_ISR + 7: return s->isr[reg - REG_ISR];
  case REG_TMR ... REG_TMR + 7: return s->tmr[reg - REG_TMR];
  case REG_IRR ... REG_IRR + 7: return s->irr[reg - REG_IRR];
  case REG_ESR: return s->esr_latched;
  case REG_ICR_LOW: return s->icr[0];
  case REG_ICR_HIGH: return s->icr[1];
  case REG_LVT ... REG_LVT + LVT_COUNT - 1: return s->lvt[reg - REG_LVT];
  case REG_INITIAL: return s->initial;
  case REG_CURRENT: return current_count(s, clock_now(s->clock));
  case REG_DIVIDE: return s->divide;
  case REG_APR:
  case REG_EOI:
  case REG_RRD: return 0;
  }
  error(s, ESR_REGISTER);
  return 0;
}

/* 11.4.1: 32-bit accesses at multiples of 16. Narrower reads see their part of the register, all else is without effect. */
static uint32_t mmio_read(void *opaque, uint64_t offset, unsigned size) {
  if ((offset & 15) + size > 4) return 0;
  return read_register(opaque, offset >> 4 & 0xff) >> 8 * (offset & 3);
}

static void mmio_write(void *opaque, uint64_t offset, unsigned size, uint32_t value) {
  if (!(offset & 15) && size == 4) write_register(opaque, offset >> 4 & 0xff, value);
}

/* ---- life ---- */

static void init_reset(struct lapic *s) {
  uint64_t base = s->base;
  clock_timer_cancel(s->clock, &s->timer);
  s->tpr = s->ldr = s->esr = s->esr_latched = s->icr[0] = s->icr[1] = s->initial = s->divide = s->expired = 0;
  s->dfr = 0xffffffff;
  s->svr = 0xff;
  for (unsigned i = 0; i < 8; i++) s->isr[i] = s->tmr[i] = s->irr[i] = 0;
  for (unsigned n = 0; n < LVT_COUNT; n++) s->lvt[n] = LVT_MASKED;
  s->lvt[LVT_LINT0] = APIC_EXTINT << 8;
  s->base = base;
  s->start = clock_now(s->clock);
  s->wires.changed(s->wires.opaque);
}

static void map(struct lapic *s) {
  static const struct mmu_io_ops ops = {mmio_read, mmio_write};
  uint64_t base = s->base & BASE_ADDRESS;
  bool taken = base == IOAPIC_BASE || base == HPET_BASE;
  bool free = base >= mmu_ram_size(s->mmu) && base >= 1 << 20 && base + CHIP_WINDOW <= 0x100000000ull && !taken;
  uint64_t wanted = on(s) && free ? base : 0;
  if (wanted == s->mapped) return;
  if (s->mapped) mmu_remove_io(s->mmu, to_gpa(s->mapped));
  s->mapped = wanted;
  if (wanted) mmu_add_io(s->mmu, to_gpa(wanted), CHIP_WINDOW, &ops, s);
}

void lapic_set_base(struct lapic *s, uint64_t value) {
  bool was_on = on(s);
  s->base = (value & (BASE_ADDRESS | BASE_ENABLE)) | BASE_BSP;
  map(s);
  if (was_on && !on(s)) init_reset(s); /* 11.4.3: its state is lost */
  s->wires.changed(s->wires.opaque);
}

static void reset(void *state) {
  struct lapic *s = state;
  s->base = LAPIC_BASE | BASE_ENABLE | BASE_BSP;
  s->id = 0;
  init_reset(s);
  map(s);
}

static void loaded(void *state) {
  struct lapic *s = state;
  int64_t now = clock_now(s->clock);
  s->base &= BASE_ADDRESS | BASE_ENABLE | BASE_BSP;
  s->divide &= 0x0b;
  s->expired = s->expired != 0;
  s->lint[0] = s->lint[0] != 0;
  s->lint[1] = s->lint[1] != 0;
  if (s->start > now || s->start < -(1ll << 40)) /* 2^32 ticks of 128 ns lie in between at most */
    s->start = now;
  for (unsigned n = 0; n < LVT_COUNT; n++) s->lvt[n] &= lvt_bits[n] | LVT_KEPT;
  map(s);
  clock_timer_set(s->clock, &s->timer, s->timer.deadline);
  s->wires.changed(s->wires.opaque);
}

static void destroy(void *state) {
  struct lapic *s = state;
  clock_timer_cancel(s->clock, &s->timer);
  if (s->mapped) mmu_remove_io(s->mmu, to_gpa(s->mapped));
}

struct device lapic_init(struct lapic *s, struct mmu *mmu, struct clock *clock, struct lapic_wires wires) {
  *s = (struct lapic){.clock = clock, .mmu = mmu, .wires = wires};
  clock_timer_init(&s->timer, "lapic", fire, s);
  reset(s);
  return (struct device){"lapic", s, fields, reset, loaded, destroy, 0};
}
