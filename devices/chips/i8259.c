/* 8259A pair (ports 20h, A0h) and ELCR (4D0h, 4D1h). Intel 8259A data sheet (231468); 82371SB data sheet for the ELCR.
 *
 * Owns the 15 ISA interrupt requests on their way to INTR. Everything is settled at once: after each change settle() derives the
 * slave's INT, the master's IR2 from it, and the master's INT; there is no INTR that goes away between the CPU's look and its
 * acknowledge.
 * IRR follows the lines: a request must stay high until its acknowledge. One that had raised INT and falls before leaves INT
 * high, and the acknowledge answers with the vector of IR7 and puts nothing in service (data sheet, "edge triggered mode"; Bochs
 * does so, QEMU keeps the edge). So a chip of ours that pulses its line ends the pulse high: see fire() in i8254.c.
 * Deliberate deviations:
 *  - A level request that goes away takes INT with it, and so does the mask for one that was withdrawn: no spurious interrupt
 *  that
 *    no line was ever to blame for.
 *  - IR2 of the master follows the slave's INT instead of latching it, for the same reason.
 *  - Before the last ICW the chip holds INT low. 8080 mode (ICW4.uPM = 0) is treated as 8086 mode; buffered mode and the cascade
 *  ids
 *    have no effect, the wiring is fixed.
 */
#include "i8259.h"

enum { MASTER, SLAVE, CASCADE = 2, ELCR_MASTER = 0xf8, ELCR_SLAVE = 0xde };
enum { ICW1_IC4 = 1, ICW1_SINGLE = 2, ICW1_LTIM = 8, ICW1 = 0x10 };
enum { ICW4_AEOI = 2, ICW4_SFNM = 0x10 };
enum { OCW3 = 8, OCW3_READ_ISR = 1, OCW3_READ = 2, OCW3_POLL = 4, OCW3_SMM = 0x20, OCW3_ESMM = 0x40 };
enum {
  EOI_CLEAR_ROTATE_AEOI,
  EOI,
  EOI_NOP,
  EOI_SPECIFIC,
  EOI_SET_ROTATE_AEOI,
  EOI_ROTATE,
  EOI_SET_PRIORITY,
  EOI_ROTATE_SPECIFIC
};

static const struct field fields[] = {
#define CHIP(n) \
  FIELD(i8259, chip[n].lines), FIELD(i8259, chip[n].irr), FIELD(i8259, chip[n].withdrawn), FIELD(i8259, chip[n].isr), \
    FIELD(i8259, chip[n].imr), FIELD(i8259, chip[n].elcr), FIELD(i8259, chip[n].icw1), FIELD(i8259, chip[n].icw2), \
    FIELD(i8259, chip[n].icw3), FIELD(i8259, chip[n].icw4), FIELD(i8259, chip[n].step), FIELD(i8259, chip[n].lowest), \
    FIELD(i8259, chip[n].read_isr), FIELD(i8259, chip[n].poll), FIELD(i8259, chip[n].special_mask), \
    FIELD(i8259, chip[n].rotate_on_aeoi)
  CHIP(0), CHIP(1), FIELD(i8259, intr), FIELD_END
#undef CHIP
};

/* ---- priorities ---- */

/* Level of the highest priority among `requests`; 8 when there is none. */
static unsigned first(const struct i8259_chip *c, uint8_t requests) {
  for (unsigned i = 1; i <= 8; i++) {
    unsigned level = (c->lowest + i) & 7;
    if (requests >> level & 1) return level;
  }
  return 8;
}

static unsigned rank(const struct i8259_chip *c, unsigned level) { return level == 8 ? 8 : (level - c->lowest - 1) & 7; }

static bool level_triggered(const struct i8259_chip *c, unsigned level) {
  return (c->icw1 & ICW1_LTIM) || (c->elcr >> level & 1);
}

/* The request that makes INT high; 8: none. Special mask mode: what is in service and masked does not hold others back. Special
 * fully nested mode: the slave may interrupt itself. */
static unsigned pending(const struct i8259_chip *c, bool master) {
  if (c->step) return 8;
  uint8_t blocking = c->isr;
  if (c->special_mask) blocking &= (uint8_t)~c->imr;
  if (master && (c->icw4 & ICW4_SFNM)) blocking &= (uint8_t) ~(1 << CASCADE);
  unsigned request = first(c, c->irr & (uint8_t)~c->imr);
  return rank(c, request) < rank(c, first(c, blocking)) ? request : 8;
}

/* The INT output: a request, or one that was withdrawn and not acknowledged. */
static bool int_high(const struct i8259_chip *c, bool master) {
  return pending(c, master) != 8 || (!c->step && (c->withdrawn & (uint8_t)~c->imr));
}

static void set_line(struct i8259_chip *c, unsigned level, bool high) {
  uint8_t bit = (uint8_t)(1 << level);
  if (!high) c->irr &= (uint8_t)~bit;
  else if (level_triggered(c, level) || !(c->lines & bit)) {
    c->irr |= bit;
    c->withdrawn &= (uint8_t)~bit;
  }
  c->lines = high ? c->lines | bit : c->lines & (uint8_t)~bit;
}

static void settle(struct i8259 *s) {
  struct i8259_chip *master = &s->chip[MASTER], *slave = &s->chip[SLAVE];
  slave->withdrawn &= (uint8_t)~slave->imr;
  master->withdrawn &= (uint8_t)~master->imr;
  set_line(master, CASCADE, int_high(slave, false));
  uint8_t intr = int_high(master, true);
  if (intr == s->intr) return;
  s->intr = intr;
  irq_set(&s->out, intr);
}

void i8259_set_irq(struct i8259 *s, unsigned irq, bool level) {
  if (irq > 15 || irq == CASCADE) return;
  struct i8259_chip *c = &s->chip[irq >> 3];
  if (!level && !level_triggered(c, irq & 7) && pending(c, irq < 8) == (irq & 7)) c->withdrawn |= (uint8_t)(1 << (irq & 7));
  set_line(c, irq & 7, level);
  settle(s);
}

/* ---- acknowledge ---- */

static void take(struct i8259_chip *c, unsigned level) {
  uint8_t bit = (uint8_t)(1 << level);
  if (!level_triggered(c, level)) c->irr &= (uint8_t)~bit;
  if (!(c->icw4 & ICW4_AEOI)) c->isr |= bit;
  else if (c->rotate_on_aeoi) c->lowest = (uint8_t)level;
}

uint8_t i8259_ack(struct i8259 *s) {
  struct i8259_chip *c = &s->chip[MASTER];
  unsigned level = pending(c, true);
  c->withdrawn = 0;
  if (level == CASCADE) {
    take(c, CASCADE);
    c->lines &= (uint8_t) ~(1 << CASCADE); /* the slave's INT drops during INTA: what it still wants makes a new edge */
    c = &s->chip[SLAVE];
    level = pending(c, false);
    c->withdrawn = 0;
  }
  if (level == 8) level = 7; /* spurious: the vector of IR7, and nothing in service */
  else take(c, level);
  uint8_t vector = (c->icw2 & 0xf8) | (uint8_t)level;
  settle(s);
  return vector;
}

static uint8_t poll_chip(struct i8259 *s, unsigned which) {
  struct i8259_chip *c = &s->chip[which];
  unsigned level = pending(c, which == MASTER);
  c->poll = c->withdrawn = 0;
  if (level != 8) take(c, level);
  settle(s);
  return level == 8 ? 0 : 0x80 | (uint8_t)level;
}

/* ---- commands ---- */

static void start_init(struct i8259_chip *c, uint8_t value) {
  c->icw1 = value;
  c->step = 2;
  c->imr = c->isr = 0;
  c->irr = c->withdrawn = 0;
  for (unsigned level = 0; level < 8; level++) /* edges must come anew, levels count at once */
    if (level_triggered(c, level)) c->irr |= c->lines & 1 << level;
  c->lowest = 7;
  c->special_mask = c->read_isr = c->poll = c->rotate_on_aeoi = 0;
  if (!(value & ICW1_IC4)) c->icw4 = 0;
}

static void write_ocw2(struct i8259_chip *c, uint8_t value) {
  unsigned level = value & 7, command = value >> 5;
  unsigned serviced = first(c, c->special_mask ? c->isr & (uint8_t)~c->imr : c->isr);
  switch (command) {
  case EOI:
  case EOI_ROTATE:
    if (serviced == 8) break;
    c->isr &= (uint8_t) ~(1 << serviced);
    if (command == EOI_ROTATE) c->lowest = (uint8_t)serviced;
    break;
  case EOI_SPECIFIC: c->isr &= (uint8_t) ~(1 << level); break;
  case EOI_ROTATE_SPECIFIC:
    c->isr &= (uint8_t) ~(1 << level);
    c->lowest = (uint8_t)level;
    break;
  case EOI_SET_PRIORITY: c->lowest = (uint8_t)level; break;
  case EOI_SET_ROTATE_AEOI: c->rotate_on_aeoi = 1; break;
  case EOI_CLEAR_ROTATE_AEOI: c->rotate_on_aeoi = 0; break;
  case EOI_NOP: break;
  }
}

static void write_ocw3(struct i8259_chip *c, uint8_t value) {
  if (value & OCW3_READ) c->read_isr = value & OCW3_READ_ISR;
  if (value & OCW3_ESMM) c->special_mask = (value & OCW3_SMM) != 0;
  c->poll = (value & OCW3_POLL) != 0;
}

/* The odd port: the mask, or the next initialisation word. */
static void write_data(struct i8259_chip *c, uint8_t value) {
  switch (c->step) {
  case 2:
    c->icw2 = value;
    c->step = !(c->icw1 & ICW1_SINGLE) ? 3 : c->icw1 & ICW1_IC4 ? 4 : 0;
    break;
  case 3:
    c->icw3 = value;
    c->step = c->icw1 & ICW1_IC4 ? 4 : 0;
    break;
  case 4:
    c->icw4 = value;
    c->step = 0;
    break;
  default: c->imr = value;
  }
}

static uint32_t chip_read(struct i8259 *s, unsigned which, uint16_t offset) {
  struct i8259_chip *c = &s->chip[which];
  if (c->poll) return poll_chip(s, which);
  if (offset) return c->imr;
  return c->read_isr ? c->isr : c->irr;
}

static void chip_write(struct i8259 *s, unsigned which, uint16_t offset, uint8_t value) {
  struct i8259_chip *c = &s->chip[which];
  if (offset) write_data(c, value);
  else if (value & ICW1) start_init(c, value);
  else if (value & OCW3) write_ocw3(c, value);
  else write_ocw2(c, value);
  settle(s);
}

static uint32_t master_read(void *dev, uint16_t offset, unsigned size) { return chip_read(dev, MASTER, offset); }
static uint32_t slave_read(void *dev, uint16_t offset, unsigned size) { return chip_read(dev, SLAVE, offset); }
static void master_write(void *dev, uint16_t offset, unsigned size, uint32_t value) {
  chip_write(dev, MASTER, offset, (uint8_t)value);
}
static void slave_write(void *dev, uint16_t offset, unsigned size, uint32_t value) {
  chip_write(dev, SLAVE, offset, (uint8_t)value);
}

static uint32_t elcr_read(void *dev, uint16_t offset, unsigned size) {
  struct i8259 *s = dev;
  return s->chip[offset & 1].elcr;
}

static void elcr_write(void *dev, uint16_t offset, unsigned size, uint32_t value) {
  struct i8259 *s = dev;
  struct i8259_chip *c = &s->chip[offset & 1];
  c->elcr = (uint8_t)value & (offset & 1 ? ELCR_SLAVE : ELCR_MASTER);
  for (unsigned level = 0; level < 8; level++)
    if (c->elcr >> level & 1) set_line(c, level, c->lines >> level & 1);
  settle(s);
}

/* ---- life ---- */

/* The data sheet leaves the state after power-on open, and nothing works before the ICWs; all zeros, as in QEMU. The lines belong
 * to the devices and stay. */
static void reset(void *state) {
  struct i8259 *s = state;
  for (unsigned which = 0; which < 2; which++) {
    uint8_t lines = s->chip[which].lines;
    s->chip[which] = (struct i8259_chip){.lines = lines, .lowest = 7};
  }
  settle(s);
}

static void loaded(void *state) {
  struct i8259 *s = state;
  for (unsigned which = 0; which < 2; which++) {
    struct i8259_chip *c = &s->chip[which];
    c->lowest &= 7;
    c->step = c->step > 4 || c->step == 1 ? 0 : c->step;
    c->elcr &= which ? ELCR_SLAVE : ELCR_MASTER;
  }
  s->intr = s->intr != 0;
  irq_set(&s->out, s->intr);
  settle(s);
}

struct device i8259_init(struct i8259 *s, struct io_bus *io, struct irq_line out) {
  static const struct io_ops master_ops = {master_read, master_write, 1}, slave_ops = {slave_read, slave_write, 1},
                             elcr_ops = {elcr_read, elcr_write, 1};
  *s = (struct i8259){.out = out};
  reset(s);
  io_bus_add(io, 0x20, 2, &master_ops, s, "pic-master");
  io_bus_add(io, 0xa0, 2, &slave_ops, s, "pic-slave");
  io_bus_add(io, 0x4d0, 2, &elcr_ops, s, "elcr");
  return (struct device){"i8259", s, fields, reset, loaded, 0, 0};
}
