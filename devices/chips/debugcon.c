/* isa-debugcon: a port whose written bytes go to a back end (QEMU's, from Bochs' port E9h). Reads give a constant by which a
 * guest sees that somebody listens: SeaBIOS writes its log to port 402h if that is E9h. Input is not taken.
 */
#include "debugcon.h"

struct debugcon {
  struct char_backend *backend;
  uint8_t readback;
};

static const struct field fields[] = {FIELD_END};

static const struct property properties[] = {
  PROPERTY_RANGE(PROPERTY_NUMBER, debugcon_properties, iobase, "iobase", 0, 0xffff, "0xe9", "its port"),
  PROPERTY_RANGE(PROPERTY_NUMBER, debugcon_properties, readback, "readback", 0, 0xff, "0xe9", "what reading it gives"),
  PROPERTY(PROPERTY_CHARDEV, debugcon_properties, chardev, "chardev", NULL, "where its text goes"),
  PROPERTY_END,
};

static uint32_t read(void *dev, uint16_t offset, unsigned size) { return ((struct debugcon *)dev)->readback; }

static void write(void *dev, uint16_t offset, unsigned size, uint32_t value) {
  char_write(((struct debugcon *)dev)->backend, &(uint8_t){(uint8_t)value}, 1);
}

static void reset(void *state) { (void)state; }
static void destroy(void *state) { char_connect(((struct debugcon *)state)->backend, NULL); }

/* Nobody takes input: what arrives is thrown away, so that keys like the escape character's are read. */
static unsigned can_receive(void *opaque) { return UINT32_MAX; }
static void receive(void *opaque, const uint8_t *bytes, unsigned n) {}

static const char *make(void *state, const void *properties_, const struct device_place *place, struct device *out) {
  static const struct io_ops ops = {read, write, 1};
  const struct debugcon_properties *p = properties_;
  struct debugcon *s = state;
  *s = (struct debugcon){.backend = p->chardev, .readback = (uint8_t)p->readback};
  if (!s->backend) return "isa-debugcon needs a chardev=";
  char_connect(s->backend, &(struct char_front){.opaque = s, .can_receive = can_receive, .receive = receive});
  io_bus_add(place->io, (uint16_t)p->iobase, 1, &ops, s, "debugcon");
  *out = (struct device){.name = "debugcon", .state = s, .fields = fields, .reset = reset, .destroy = destroy};
  return NULL;
}

static const char *check(const void *properties_) {
  return ((const struct debugcon_properties *)properties_)->chardev ? NULL : "it needs a chardev= for its text";
}

const struct device_type debugcon_type = {
  .name = "isa-debugcon",
  .help = "a port for a guest's debug text",
  .properties = properties,
  .properties_size = sizeof(struct debugcon_properties),
  .state_size = sizeof(struct debugcon),
  .check = check,
  .make = make,
};
