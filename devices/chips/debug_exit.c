/* isa-debug-exit: a write ends the machine; what the value means for the exit status is bt's affair. Reads are zero, as
 * QEMU's. */
#include "port92.h"

struct debug_exit {
  void (*exit)(void *opaque, uint32_t value);
  void *opaque;
};

static const struct field fields[] = {FIELD_END};

static const struct property properties[] = {
  PROPERTY_RANGE(PROPERTY_NUMBER, debug_exit_properties, iobase, "iobase", 0, 0xffff, "0x501", "its first port"),
  PROPERTY_RANGE(PROPERTY_NUMBER, debug_exit_properties, iosize, "iosize", 1, 4, "2", "how many ports it has"),
  PROPERTY_END,
};

static uint32_t read(void *dev, uint16_t offset, unsigned size) { return 0; }

static void write(void *dev, uint16_t offset, unsigned size, uint32_t value) {
  struct debug_exit *s = dev;
  s->exit(s->opaque, value);
}

static void reset(void *state) { (void)state; }

static const char *check(const void *properties_) {
  const struct debug_exit_properties *p = properties_;
  return p->iobase + p->iosize > 0x10000 ? "the ports end at 0xffff" : NULL;
}

static const char *make(void *state, const void *properties_, const struct device_place *place, struct device *out) {
  static const struct io_ops ops = {read, write, 4};
  const struct debug_exit_properties *p = properties_;
  struct debug_exit *s = state;
  *s = (struct debug_exit){.exit = place->debug_exit, .opaque = place->opaque};
  io_bus_add(place->io, (uint16_t)p->iobase, (uint16_t)p->iosize, &ops, s, "debug-exit");
  *out = (struct device){.name = "debug-exit", .state = s, .fields = fields, .reset = reset};
  return NULL;
}

const struct device_type debug_exit_type = {
  .name = "isa-debug-exit",
  .help = "a write ends the program, with status VALUE * 2 + 1",
  .properties = properties,
  .properties_size = sizeof(struct debug_exit_properties),
  .state_size = sizeof(struct debug_exit),
  .single = true,
  .check = check,
  .make = make,
};
