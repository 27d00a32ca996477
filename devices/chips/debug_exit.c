/* isa-debug-exit: a write ends the machine; what the value means for the exit status is bt's affair. Reads are zero, as
 * QEMU's. */
#include "port92.h"

static const struct field fields[] = {FIELD_END};

static uint32_t read(void *dev, uint16_t offset, unsigned size) { return 0; }

static void write(void *dev, uint16_t offset, unsigned size, uint32_t value) {
  struct debug_exit *s = dev;
  if (s->exit) s->exit(s->opaque, value);
}

static void reset(void *state) { (void)state; }

struct device debug_exit_init(struct debug_exit *s, struct io_bus *io, uint16_t base, uint16_t size,
                              void (*exit)(void *, uint32_t), void *opaque) {
  static const struct io_ops ops = {read, write, 4};
  *s = (struct debug_exit){.exit = exit, .opaque = opaque};
  io_bus_add(io, base, size, &ops, s, "debug-exit");
  return (struct device){"debug-exit", s, fields, reset, 0, 0, 0};
}
