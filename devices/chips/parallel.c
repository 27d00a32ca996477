/* Parallel port (LPT). IBM PC/AT Technical Reference, "Printer adapter"; IEEE 1284-1994, compatibility mode; the bidirectional
 * data port of the PS/2.
 *
 * Owns three registers and the printer's answers. A byte goes to the back end when the strobe falls (bit 0 of the control
 * register is set) while the printer is selected and not held in reset; Busy is seen from then on. As QEMU's printer, ours goes
 * on as it is looked at: the first status read behind the strobe shows Busy, the second ACK, the third that it is ready again - a
 * driver that polls finds each step, however fast it is. The interrupt comes with the strobe's end and goes with a status read.
 * The printer is always there, has paper, and takes all. Missing: EPP and ECP. Nobody sends anything to the PC: with the data
 * lines turned round they read as ones.
 */
#include "parallel.h"

enum { DATA, STATUS, CONTROL, REGISTERS };
enum {
  STATUS_TIMEOUT = 1,
  STATUS_NO_ERROR = 8,
  STATUS_SELECTED = 0x10,
  STATUS_ACK = 0x40 /* high: no ACK now */,
  STATUS_READY = 0x80
};
enum {
  CONTROL_STROBE = 1,
  CONTROL_NO_RESET = 4,
  CONTROL_SELECT = 8,
  CONTROL_IRQ = 0x10,
  CONTROL_INPUT = 0x20,
  CONTROL_ONES = 0xc0
};
enum { IDLE = STATUS_READY | STATUS_ACK | STATUS_SELECTED | STATUS_NO_ERROR };

static const struct field fields[] = {FIELD(parallel, data), FIELD(parallel, status), FIELD(parallel, control),
                                      FIELD(parallel, irq), FIELD_END};

static const struct property properties[] = {
  PROPERTY_RANGE(PROPERTY_NUMBER, parallel_properties, index, "index", 0, 2, NULL,
                 "which of three: 0 is LPT1 (default: the next)"),
  PROPERTY_RANGE(PROPERTY_NUMBER, parallel_properties, iobase, "iobase", 0, 0xfff8, NULL, "its first port (default: by index)"),
  PROPERTY_RANGE(PROPERTY_NUMBER, parallel_properties, irq, "irq", 3, 15, NULL, "its interrupt (default: 7)"),
  PROPERTY(PROPERTY_CHARDEV, parallel_properties, chardev, "chardev", NULL, "where what is printed goes"),
  PROPERTY_END,
};

static void set_irq(struct parallel *s, bool level) {
  if (s->irq == level) return;
  s->irq = level;
  irq_set(&s->out, level);
}

/* ---- registers ---- */

/* What the printer does after a byte, a step a look. */
static void step(struct parallel *s) {
  if (s->status & STATUS_READY || s->control & CONTROL_STROBE) return;
  if (s->status & STATUS_ACK) s->status &= (uint8_t)~STATUS_ACK;
  else s->status |= STATUS_ACK | STATUS_READY;
}

static uint8_t read_status(struct parallel *s) {
  uint8_t value = s->status;
  step(s);
  set_irq(s, false);
  return value;
}

static uint32_t read(void *dev, uint16_t offset, unsigned size) {
  struct parallel *s = dev;
  switch (offset) {
  case DATA: return s->control & CONTROL_INPUT ? 0xff : s->data;
  case STATUS: return read_status(s);
  default: return s->control;
  }
}

static void write_control(struct parallel *s, uint8_t value) {
  uint8_t before = s->control;
  s->control = value | CONTROL_ONES;
  if (!(value & CONTROL_NO_RESET)) {
    s->status = IDLE;
  } else if (value & CONTROL_SELECT) {
    if (value & ~before & CONTROL_STROBE) char_write(s->backend, &s->data, 1);
    if (value & CONTROL_STROBE) s->status &= (uint8_t)~STATUS_READY;
    else if (before & CONTROL_IRQ) set_irq(s, true);
  }
}

static void write(void *dev, uint16_t offset, unsigned size, uint32_t value) {
  struct parallel *s = dev;
  if (offset == DATA) s->data = (uint8_t)value;
  else if (offset == CONTROL) write_control(s, (uint8_t)value);
}

/* ---- life ---- */

static void reset(void *state) {
  struct parallel *s = state;
  s->data = 0xff;
  s->status = IDLE | STATUS_TIMEOUT;
  s->control = CONTROL_SELECT | CONTROL_NO_RESET;
  set_irq(s, false);
}

static void loaded(void *state) {
  struct parallel *s = state;
  s->irq = s->irq != 0;
  irq_set(&s->out, s->irq);
}

static void destroy(void *state) { char_connect(((struct parallel *)state)->backend, NULL); }

static const char *make(void *state, const void *properties_, const struct device_place *place, struct device *out) {
  static const char *const names[] = {"lpt1", "lpt2", "lpt3"};
  static const struct io_ops ops = {read, write, 1};
  struct parallel_properties p = *(const struct parallel_properties *)properties_;
  struct parallel *s = state;
  int port = place->lpt_port(place->opaque, p.index, &p.iobase, &p.irq);
  if (port < 0)
    return p.index == UINT32_MAX ? "there are three parallel ports" : "there is a parallel port of that index already";
  *s = (struct parallel){.backend = p.chardev, .out = place->isa_irq(place->opaque, p.irq)};
  reset(s);
  char_connect(s->backend, &(struct char_front){.opaque = s}); /* input waits for ever: a printer has none */
  io_bus_add(place->io, (uint16_t)p.iobase, REGISTERS, &ops, s, names[port]);
  *out = (struct device){names[port], s, fields, reset, loaded, destroy, 0};
  return NULL;
}

const struct device_type parallel_type = {
  .name = "isa-parallel",
  .help = "a parallel port with a printer on it",
  .properties = properties,
  .properties_size = sizeof(struct parallel_properties),
  .state_size = sizeof(struct parallel),
  .make = make,
};
