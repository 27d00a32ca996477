/* Local APIC of the one CPU. */
#pragma once
#include "../bus.h"

enum { LVT_TIMER, LVT_THERMAL, LVT_PERFORMANCE, LVT_LINT0, LVT_LINT1, LVT_ERROR, LVT_COUNT };
enum apic_mode { APIC_FIXED, APIC_LOWEST, APIC_SMI, APIC_RESERVED, APIC_NMI, APIC_INIT, APIC_STARTUP, APIC_EXTINT };

struct lapic_wires {
  void *opaque;
  void (*changed)(void *opaque); /* what lapic_pending() or lapic_accepts_extint() says may have changed */
  void (*nmi)(void *opaque);
  void (*init)(void *opaque);
  void (*eoi)(void *opaque, uint8_t vector); /* EOI of a level-triggered interrupt, broadcast to the I/O APIC */
};

struct lapic {
  uint64_t base;   /* IA32_APIC_BASE */
  uint64_t mapped; /* where the registers are in the physical map; 0: nowhere */
  uint32_t id, tpr, ldr, dfr, svr, esr, esr_latched, icr[2], lvt[LVT_COUNT], initial, divide;
  uint32_t isr[8], tmr[8], irr[8];
  uint8_t expired; /* a one-shot count ended and the mode was changed: 0 until `initial` is written */
  uint8_t lint[2]; /* levels of the pins */
  int64_t start;   /* guest ns at which the timer held `initial` */
  struct clock_timer timer;
  struct clock *clock;
  struct mmu *mmu;
  struct lapic_wires wires;
};

struct device lapic_init(struct lapic *s, struct mmu *mmu, struct clock *clock, struct lapic_wires wires);
void lapic_set_base(struct lapic *s, uint64_t value);
void lapic_set_lint(struct lapic *s, unsigned pin, bool level);
bool lapic_accepts_extint(const struct lapic *s); /* the 8259's INTR goes straight to the CPU */
int lapic_pending(const struct lapic *s);         /* vector that the CPU may take now; -1: none */
int lapic_ack(struct lapic *s);
bool lapic_matches(const struct lapic *s, uint8_t destination, bool logical);
/* An interrupt message; false when it was not accepted (local APIC off). */
bool lapic_deliver(struct lapic *s, enum apic_mode mode, uint8_t vector, bool level);
