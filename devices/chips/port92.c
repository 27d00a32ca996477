/* Port 92h: fast A20 and fast reset. PS/2 Hardware Interface Technical Reference, "System Control Port A".
 *
 * The PC has one A20 gate; this port and the keyboard controller both move it and both show where it stands, the last writer
 * wins.
 */
#include "port92.h"

enum { FAST_RESET = 1, A20 = 2, STORED = 0x0a };

static const struct field fields[] = {FIELD(port92, value), FIELD_END};

static uint32_t read(void *dev, uint16_t offset, unsigned size) { return ((struct port92 *)dev)->value; }

static void write(void *dev, uint16_t offset, unsigned size, uint32_t value) {
  struct port92 *s = dev;
  bool pulse = value & ~(uint32_t)s->value & FAST_RESET;
  s->value = value & (STORED | FAST_RESET);
  irq_set(&s->a20_out, s->value & A20);
  if (pulse) irq_set(&s->reset_out, true);
}

void port92_set_a20(struct port92 *s, bool on) { s->value = (s->value & (uint8_t)~A20) | (on ? A20 : 0); }

static void reset(void *state) {
  struct port92 *s = state;
  s->value = A20;
}

static void loaded(void *state) {
  struct port92 *s = state;
  s->value &= STORED | FAST_RESET;
}

struct device port92_init(struct port92 *s, struct io_bus *io, struct irq_line a20, struct irq_line reset_out) {
  static const struct io_ops ops = {read, write, 1};
  *s = (struct port92){.value = A20, .a20_out = a20, .reset_out = reset_out};
  io_bus_add(io, 0x92, 1, &ops, s, "port92");
  return (struct device){"port92", s, fields, reset, loaded, 0, 0};
}
