/* What the monitor shows of interrupt controllers, as QEMU's `info pic` and `info lapic` lay it out. */
#include "../../devices/chips/i8259.h"
#include "../../devices/chips/ioapic.h"
#include <string.h>
#include "../machine.h"
#include "command.h"

/* The state of a chip by the name of its record; NULL: this machine has none. */
static const void *find_chip(const struct command_call *call, const char *name) {
  unsigned count;
  const struct device *devices = pc_devices(call->machine->pc, &count);
  for (unsigned i = 0; i < count; i++)
    if (!strcmp(devices[i].name, name)) return devices[i].state;
  return NULL;
}

static const char *const modes[] = {"fixed", "lowest", "SMI", "...", "NMI", "INIT", "SIPI", "ExtINT"};

/* ---- 8259s and I/O APIC ---- */

static void show_pins(struct text *out, const char *name, uint32_t pins) {
  text_printf(out, "  %-8s", name);
  for (unsigned i = 0; i < IOAPIC_PINS; i++)
    if (pins >> i & 1) text_printf(out, " %u", i);
  text_printf(out, "%s\n", pins ? "" : " (none)");
}

static void show_ioapic(struct text *out, const struct ioapic *s) {
  uint32_t remote = 0, waiting = 0;
  text_printf(out, "ioapic0: ver=0x11 id=0x%02x sel=0x%02x\n", s->id, s->index);
  for (unsigned i = 0; i < IOAPIC_PINS; i++) {
    uint64_t e = s->entry[i];
    remote |= (uint32_t)(e >> 14 & 1) << i;
    if (!(e >> 16 & 1)) waiting |= (e >> 15 & 1 ? s->lines : s->edges) & 1u << i;
    text_printf(out, "  pin %-2u 0x%016llx dest=%llx vec=%-3llu %s %-5s %-6s %-6s %s\n", i, (unsigned long long)e,
                (unsigned long long)e >> 56, (unsigned long long)e & 0xff, e >> 13 & 1 ? "active-lo" : "active-hi",
                e >> 15 & 1 ? "level" : "edge", e >> 16 & 1 ? "masked" : "", modes[e >> 8 & 7],
                e >> 11 & 1 ? "logical" : "physical");
  }
  show_pins(out, "IRR", waiting);
  show_pins(out, "Remote IRR", remote);
}

/* hprio: the level of highest priority (data sheet 231468: the one behind the lowest). */
static void show_pic(struct text *out, unsigned number, const struct i8259_chip *c) {
  text_printf(out, "pic%u: irr=%02x imr=%02x isr=%02x hprio=%u irq_base=%02x rr_sel=%u elcr=%02x fnm=%u\n", number, c->irr,
              c->imr, c->isr, (c->lowest + 1) & 7, c->icw2 & 0xf8, c->read_isr, c->elcr, c->icw4 >> 4 & 1);
}

static void info_pic(struct command_call *call) {
  const struct ioapic *ioapic = find_chip(call, "ioapic");
  const struct i8259 *pic = find_chip(call, "i8259");
  if (ioapic) show_ioapic(call->out, ioapic);
  if (pic) show_pic(call->out, 1, &pic->chip[1]), show_pic(call->out, 0, &pic->chip[0]);
}

/* ---- interrupts that were taken ---- */

/* The IRQ that a vector stands for by the 8259s' or the I/O APIC's programming now; -1: none. */
static int irq_of(const struct command_call *call, unsigned vector) {
  const struct ioapic *ioapic = find_chip(call, "ioapic");
  const struct i8259 *pic = find_chip(call, "i8259");
  for (unsigned i = 0; ioapic && i < IOAPIC_PINS; i++)
    if (!(ioapic->entry[i] >> 16 & 1) && (ioapic->entry[i] & 0xff) == vector) return i == 2 ? 0 : (int)i;
  for (unsigned i = 0; pic && i < 16; i++)
    if ((pic->chip[i / 8].icw2 & 0xf8u) + i % 8 == vector) return (int)i;
  return -1;
}

static void info_irq(struct command_call *call) {
  text_printf(call->out, "Interrupts taken, by vector:\n");
  for (unsigned vector = 0; vector < 256; vector++) {
    uint64_t taken = call->machine->interrupts[vector];
    int irq = irq_of(call, vector);
    if (!taken) continue;
    text_printf(call->out, "%4u: %llu", vector, (unsigned long long)taken);
    if (irq >= 0) text_printf(call->out, " (IRQ %d)", irq);
    text_put(call->out, "\n", 1);
  }
}

/* ---- local APIC ---- */

static void show_lvt(struct text *out, const char *name, uint32_t lvt, bool timer) {
  unsigned mode = lvt >> 8 & 7;
  text_printf(out, "%s\t 0x%08x %s %-5s %-6s %-4s %-12s %-6s", name, lvt, lvt >> 13 & 1 ? "active-lo" : "active-hi",
              lvt >> 15 & 1 ? "level" : "edge", lvt >> 16 & 1 ? "masked" : "", lvt >> 12 & 1 ? "pend" : "",
              timer ? lvt >> 17 & 1 ? "periodic" : "one-shot" : "",
              timer  ? "Fixed"
              : mode ? modes[mode]
                     : "Fixed");
  if (timer || mode == APIC_FIXED) text_printf(out, " (vec %u)", lvt & 0xff);
  text_put(out, "\n", 1);
}

static void show_vectors(struct text *out, const char *name, const uint32_t bits[8], const uint32_t levels[8]) {
  bool any = false;
  text_printf(out, "%s\t ", name);
  for (unsigned i = 0; i < 256; i++) {
    if (!(bits[i / 32] >> i % 32 & 1)) continue;
    text_printf(out, "%u%s ", i, levels && levels[i / 32] >> i % 32 & 1 ? "(level)" : "");
    any = true;
  }
  text_printf(out, any ? "\n" : "(none)\n");
}

static void info_lapic(struct command_call *call) {
  static const struct {
    const char *name;
    uint8_t lvt;
  } rows[] = {{"LVT0", LVT_LINT0},   {"LVT1", LVT_LINT1},      {"LVTPC", LVT_PERFORMANCE},
              {"LVTERR", LVT_ERROR}, {"LVTTHMR", LVT_THERMAL}, {"LVTT", LVT_TIMER}};
  const struct lapic *s = find_chip(call, "lapic");
  struct text *out = call->out;
  if (!s) return command_fail(call, "this CPU has no local APIC");
  text_printf(out, "dumping local APIC state for CPU 0\n\n");
  for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++)
    show_lvt(out, rows[i].name, s->lvt[rows[i].lvt], rows[i].lvt == LVT_TIMER);
  unsigned shift = ((s->divide & 3) | (s->divide >> 1 & 4)) + 1;
  text_printf(out, "Timer\t DCR=0x%x (divide by %u) initial_count = %u\n", s->divide, 1u << (shift & 7), s->initial);
  text_printf(out, "SPIV\t 0x%08x APIC %s, focus=%s, spurious vec %u\n", s->svr, s->svr >> 8 & 1 ? "enabled" : "disabled",
              s->svr >> 9 & 1 ? "on" : "off", s->svr & 0xff);
  text_printf(out, "ICR\t 0x%08x %s\nICR2\t 0x%08x\nESR\t 0x%08x\n", s->icr[0], s->icr[0] >> 11 & 1 ? "logical" : "physical",
              s->icr[1], s->esr);
  show_vectors(out, "ISR", s->isr, NULL);
  show_vectors(out, "IRR", s->irr, s->tmr);
  text_printf(out, "\nTPR 0x%02x DFR 0x%02x LDR 0x%02x\n", s->tpr, s->dfr >> 28, s->ldr >> 24);
}

const struct command chip_infos[] = {COMMAND("pic", NULL, "", "show the interrupt controllers", info_pic),
                                     COMMAND("irq", NULL, "", "show how many interrupts were taken", info_irq),
                                     COMMAND("lapic", NULL, "", "show the local APIC", info_lapic), COMMANDS_END};
