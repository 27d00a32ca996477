/* I/O APIC. Intel 82093AA data sheet (290566).
 *
 * Owns the redirection table and, per pin, its level and an edge not yet delivered. Pins are asserted = high whatever the
 * polarity bit says: wiring and ACPI tables agree on active high. Pin 0 is the 8259's INTR, pin 2 IRQ 0, the others their ISA
 * IRQ.
 * Deviation: an edge on a masked pin is kept while the line stays high and delivered when the mask goes (the data sheet loses
 * it): a guest that masks around a device's interrupt must not lose a line that never falls again.
 */
#include "ioapic.h"
#include "../map.h"

enum { VERSION = 0x11 | (IOAPIC_PINS - 1) << 16 };
enum { REG_ID, REG_VERSION, REG_ARBITRATION, REG_TABLE = 0x10 };
enum {
  ENTRY_LOGICAL = 1 << 11,
  ENTRY_STATUS = 1 << 12,
  ENTRY_REMOTE_IRR = 1 << 14,
  ENTRY_LEVEL = 1 << 15,
  ENTRY_MASKED = 1 << 16
};
enum { SELECT = 0x00, DATA = 0x10 };
#define WRITABLE 0xff0000000001afffull
#define READ_ONLY ((uint64_t)(ENTRY_STATUS | ENTRY_REMOTE_IRR))

static const struct field fields[] = {FIELD(ioapic, id),    FIELD(ioapic, index),       FIELD(ioapic, lines),
                                      FIELD(ioapic, edges), FIELD_ARRAY(ioapic, entry), FIELD_END};

static enum apic_mode mode_of(uint64_t entry) { return (enum apic_mode)(entry >> 8 & 7); }

/* Sends what a pin has to send. */
static void service(struct ioapic *s, unsigned pin) {
  uint64_t *entry = &s->entry[pin];
  uint32_t bit = 1u << pin;
  bool level = (*entry & ENTRY_LEVEL) && (mode_of(*entry) == APIC_FIXED || mode_of(*entry) == APIC_LOWEST);
  if ((*entry & ENTRY_MASKED) || mode_of(*entry) == APIC_EXTINT) return;
  if (level ? !(s->lines & bit) || (*entry & ENTRY_REMOTE_IRR) : !(s->edges & bit)) return;
  s->edges &= ~bit;
  if (level) *entry |= ENTRY_REMOTE_IRR; /* before sending: the receiver may look */
  if (!s->wires.send(s->wires.opaque, (uint8_t)(*entry >> 56), *entry & ENTRY_LOGICAL, mode_of(*entry), (uint8_t)*entry, level))
    *entry &= ~(uint64_t)ENTRY_REMOTE_IRR;
}

void ioapic_set_irq(struct ioapic *s, unsigned pin, bool level) {
  if (pin >= IOAPIC_PINS) return;
  uint32_t bit = 1u << pin;
  if (!level) {
    s->lines &= ~bit;
    s->edges &= ~bit;
    return;
  }
  if (!(s->lines & bit)) s->edges |= bit;
  s->lines |= bit;
  service(s, pin);
}

void ioapic_eoi(struct ioapic *s, uint8_t vector) {
  for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
    uint64_t *entry = &s->entry[pin];
    if (!(*entry & ENTRY_REMOTE_IRR) || (uint8_t)*entry != vector) continue;
    *entry &= ~(uint64_t)ENTRY_REMOTE_IRR;
    service(s, pin);
  }
}

bool ioapic_extint(const struct ioapic *s) {
  return (s->lines & 1) && !(s->entry[0] & ENTRY_MASKED) && mode_of(s->entry[0]) == APIC_EXTINT;
}

/* ---- registers ---- */

static uint32_t read_register(const struct ioapic *s) {
  if (s->index == REG_ID || s->index == REG_ARBITRATION) return (uint32_t)s->id << 24;
  if (s->index == REG_VERSION) return VERSION;
  if (s->index < REG_TABLE || s->index >= REG_TABLE + 2 * IOAPIC_PINS) return 0;
  return (uint32_t)(s->entry[(s->index - REG_TABLE) / 2] >> (s->index & 1 ? 32 : 0));
}

static void write_entry(struct ioapic *s, unsigned pin, bool high, uint32_t value) {
  uint64_t *entry = &s->entry[pin], kept = high ? 0xffffffffull : 0xffffffffull << 32;
  uint64_t mask = WRITABLE & ~kept;
  *entry = (*entry & ~mask) | ((uint64_t)value << (high ? 32 : 0) & mask);
  if (!(*entry & ENTRY_LEVEL)) *entry &= ~(uint64_t)ENTRY_REMOTE_IRR; /* how drivers of chips without an EOI register clear it */
  service(s, pin);
}

static void write_register(struct ioapic *s, uint32_t value) {
  if (s->index == REG_ID) s->id = value >> 24 & 15;
  else if (s->index >= REG_TABLE && s->index < REG_TABLE + 2 * IOAPIC_PINS)
    write_entry(s, (s->index - REG_TABLE) / 2u, s->index & 1, value);
}

static uint32_t mmio_read(void *opaque, uint64_t offset, unsigned size) {
  const struct ioapic *s = opaque;
  if ((offset & 15) + size > 4) return 0;
  uint32_t value = (offset & ~15ull) == SELECT ? s->index : (offset & ~15ull) == DATA ? read_register(s) : 0;
  return value >> 8 * (offset & 3);
}

static void mmio_write(void *opaque, uint64_t offset, unsigned size, uint32_t value) {
  struct ioapic *s = opaque;
  if (offset == SELECT) s->index = (uint8_t)value;
  else if (offset == DATA && size == 4) {
    write_register(s, value);
    s->wires.changed(s->wires.opaque);
  }
}

/* ---- life ---- */

static void reset(void *state) {
  struct ioapic *s = state;
  s->id = s->index = 0;
  s->edges = 0;
  for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) s->entry[pin] = ENTRY_MASKED;
}

static void loaded(void *state) {
  struct ioapic *s = state;
  s->id &= 15;
  s->lines &= (1u << IOAPIC_PINS) - 1;
  s->edges &= s->lines;
  for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) s->entry[pin] &= WRITABLE | READ_ONLY;
}

static void destroy(void *state) { mmu_remove_io(((struct ioapic *)state)->mmu, to_gpa(IOAPIC_BASE)); }

struct device ioapic_init(struct ioapic *s, struct mmu *mmu, struct ioapic_wires wires) {
  static const struct mmu_io_ops ops = {mmio_read, mmio_write};
  *s = (struct ioapic){.mmu = mmu, .wires = wires};
  reset(s);
  mmu_add_io(mmu, to_gpa(IOAPIC_BASE), CHIP_WINDOW, &ops, s);
  return (struct device){"ioapic", s, fields, reset, loaded, destroy, 0};
}
