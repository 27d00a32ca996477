/* The x87 error line of the PC/AT: FERR# raises IRQ 13, a write to port F0h clears the latch. */
#include "port92.h"

static const struct field fields[] = {FIELD(ferr, level), FIELD(ferr, irq), FIELD_END};

static void drive(struct ferr *s, bool irq) {
  if (irq == s->irq) return;
  s->irq = irq;
  irq_set(&s->out, irq);
}

void ferr_set(struct ferr *s, bool level) {
  bool rise = level && !s->level;
  s->level = level;
  if (rise || !level) drive(s, level);
}

static void write(void *dev, uint16_t offset, unsigned size, uint32_t value) { drive(dev, false); }

static void reset(void *state) {
  struct ferr *s = state;
  s->level = 0;
  drive(s, false);
}

static void loaded(void *state) {
  struct ferr *s = state;
  s->irq = s->irq != 0;
  irq_set(&s->out, s->irq);
}

struct device ferr_init(struct ferr *s, struct io_bus *io, struct irq_line out) {
  static const struct io_ops ops = {0, write, 1};
  *s = (struct ferr){.out = out};
  io_bus_add(io, 0xf0, 2, &ops, s, "ferr");
  return (struct device){"ferr", s, fields, reset, loaded, 0, 0};
}
