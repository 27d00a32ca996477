/* Options that make entries (entries.h): -device, -chardev, -global, and -serial, a short form of the first two
 * (options_backends.c). */
#include <stdlib.h>
#include <string.h>
#include "devices.h"
#include "options_handlers.h"

enum { SERIAL_PORTS = 4, PARALLEL_PORTS = 3 };

/* ---- making entries ---- */

/* `elements` NULL: the value as it was written. The new entry, or NULL after a complaint. */
static const struct option_entry *add_entry(struct parser *p, const char *group, const char *elements) {
  const char *problem;
  const struct option_entry **list = &p->o->entries, *last = NULL;
  if (!entry_add(list, group, p->option, p->value, elements ? elements : p->value, &problem))
    return options_complain(p, "%s", problem), NULL;
  for (const struct option_entry *e = *list; e; e = e->next) last = e;
  const struct option_entry *same = last->id ? entry_find(*list, group, last->id) : NULL;
  if (same && same != last) return options_complain(p, "there is a -%s with that id already", group), NULL;
  return last;
}

const struct option_entry *options_add_entry(struct parser *p, const char *group, const char *elements) {
  return add_entry(p, group, elements);
}
int options_keyed(struct parser *p, const char *group) { return add_entry(p, group, NULL) ? OPTIONS_OK : OPTIONS_BAD; }

char *options_escape(const char *head, const char *text) {
  char *made = malloc(strlen(head) + 2 * strlen(text) + 1), *to = made;
  if (!made) return NULL;
  to += sprintf(to, "%s", head);
  for (; *text; text++) {
    if (*text == ',') *to++ = ',';
    *to++ = *text;
  }
  *to = 0;
  return made;
}

/* ---- character back ends ---- */

static int check_chardev(struct parser *p, const struct option_entry *e) {
  struct chardev_option read;
  char error[PROPERTY_ERROR];
  if (!e) return OPTIONS_BAD;
  return chardev_option_read(e, &read, error) ? OPTIONS_OK : options_complain(p, "%s", error);
}

int options_entry(struct parser *p, const char *group, const char *elements) {
  const struct option_entry *e = add_entry(p, group, elements);
  if (e && !strcmp(group, "chardev")) return check_chardev(p, e);
  return e ? OPTIONS_OK : OPTIONS_BAD;
}

int handle_chardev(struct parser *p) {
  const struct option_entry *e = add_entry(p, "chardev", NULL);
  if (e && entry_asks_help(e)) return chardev_help(entry_value(e, "backend"), stdout), OPTIONS_DONE;
  return check_chardev(p, e);
}

/* What -serial and -parallel have in common: a device a port, and its back end, of that id and a number. */
struct port_kind {
  const char *driver, *id;
};
static const struct port_kind serial_kind = {"isa-serial", "serial"}, parallel_kind = {"isa-parallel", "parallel"};

static int make_port(struct parser *p, const struct port_kind *kind, unsigned index, const char *chardev) {
  char head[64];
  snprintf(head, sizeof head, "%s,index=%u,chardev=", kind->driver, index);
  char *elements = options_escape(head, chardev);
  if (!elements) return options_complain(p, "not enough memory");
  const struct option_entry *e = add_entry(p, "device", elements);
  free(elements);
  return e ? OPTIONS_OK : OPTIONS_BAD;
}

static int add_port(struct parser *p, const struct port_kind *kind, unsigned index, const char *text) {
  char id[16];
  if (!strcmp(text, "none")) return OPTIONS_OK;
  if (!strncmp(text, "chardev:", 8)) return make_port(p, kind, index, text + 8);
  snprintf(id, sizeof id, "%s%u", kind->id, index);
  int result = options_backend(p, text, id);
  return result == OPTIONS_OK ? make_port(p, kind, index, id) : result;
}

int handle_serial(struct parser *p) {
  if (p->serial_count == SERIAL_PORTS) return options_complain(p, "there are four serial ports");
  p->serial_default = false;
  return add_port(p, &serial_kind, p->serial_count++, p->value);
}

int handle_parallel(struct parser *p) {
  if (p->parallel_count == PARALLEL_PORTS) return options_complain(p, "there are three parallel ports");
  p->parallel_default = false;
  return add_port(p, &parallel_kind, p->parallel_count++, p->value);
}

/* Its port is E9h, or what -global isa-debugcon.iobase says. */
int handle_debugcon(struct parser *p) {
  int result = options_backend(p, p->value, "debugcon");
  return result == OPTIONS_OK && !add_entry(p, "device", "isa-debugcon,chardev=debugcon") ? OPTIONS_BAD : result;
}

/* ---- devices ---- */

int handle_device(struct parser *p) {
  const struct option_entry *e = add_entry(p, "device", NULL);
  if (!e) return OPTIONS_BAD;
  const char *driver = entry_value(e, "driver");
  const struct device_type *type = device_entry_type(e);
  if (entry_asks_help(e) && (type || !strcmp(driver ? driver : "", "help") || !strcmp(driver ? driver : "", "?")))
    return device_help(type, stdout), OPTIONS_DONE;
  if (!type) return qemu_device(p, driver ? driver : "");
  unsigned count = 0;
  ENTRIES_OF(p->o->entries, "device", other) count += device_entry_type(other) == type;
  if (type->single && count > 1) return options_complain(p, "there is one already");
  if (!strcmp(type->name, serial_kind.driver)) p->serial_default = false;
  if (!strcmp(type->name, parallel_kind.driver)) p->parallel_default = false;
  return OPTIONS_OK;
}

/* driver.property=value, whose value is all of the rest; or driver=,property=,value=. */
int handle_global(struct parser *p) {
  const char *dot = strchr(p->value, '.'), *equals = strchr(p->value, '=');
  const struct option_entry *e;
  if (dot && equals && dot < equals) {
    size_t driver = (size_t)(dot - p->value), property = (size_t)(equals - dot - 1);
    char *head = malloc(strlen(p->value) + 32), *elements = NULL;
    if (head) sprintf(head, "driver=%.*s,property=%.*s,value=", (int)driver, p->value, (int)property, dot + 1);
    if (head) elements = options_escape(head, equals + 1);
    e = elements ? add_entry(p, "global", elements) : NULL;
    if (!elements) options_complain(p, "not enough memory");
    free(head), free(elements);
  } else e = add_entry(p, "global", NULL);
  if (!e) return OPTIONS_BAD;
  if (entry_value(e, "driver") && entry_value(e, "property") && entry_value(e, "value")) return OPTIONS_OK;
  return options_complain(p, "it is DEVICE.PROPERTY=VALUE");
}

/* ---- when all options have been read ---- */

/* Backends are found by the option that makes them, once; the entry stands for what will be made of it. */
static void *find_backend(void *opaque, enum property_type type, const char *id) {
  const struct parser *p = opaque;
  const char *group = type == PROPERTY_CHARDEV ? "chardev" : type == PROPERTY_DRIVE ? "drive" : "netdev";
  return (void *)entry_find(p->o->entries, group, id);
}

/* The id of a device's back end, named by `key`: its own, or what -global says for its type; NULL: none. */
static const char *backend_of(const struct option_entry *list, const struct option_entry *e, const char *key) {
  const struct device_type *type = device_entry_type(e);
  const char *id = type ? entry_value(e, key) : NULL;
  if (!type || id) return id;
  ENTRIES_OF(list, "global", g)
  if (!strcmp(entry_value(g, "driver"), type->name) && !strcmp(entry_value(g, "property"), key)) id = entry_value(g, "value");
  return id;
}

/* Another device has that drive. */
static bool drive_is_taken(const struct option_entry *list, const struct option_entry *e) {
  const char *id = backend_of(list, e, "drive");
  ENTRIES_OF(list, "device", before) {
    if (before == e) break;
    const char *its = backend_of(list, before, "drive");
    if (id && its && !strcmp(id, its)) return true;
  }
  return false;
}

/* The chardev that an entry's front end is on: a device's, or a monitor's; NULL: none. */
static const char *chardev_used(const struct option_entry *list, const struct option_entry *e) {
  if (!strcmp(e->group, "mon")) return entry_value(e, "chardev");
  return !strcmp(e->group, "device") ? backend_of(list, e, "chardev") : NULL;
}

/* As many front ends as it can have are on it before this one. */
static bool chardev_is_taken(const struct option_entry *list, const struct option_entry *e) {
  const char *id = chardev_used(list, e);
  const struct option_entry *chardev = id ? entry_find(list, "chardev", id) : NULL;
  struct chardev_option option;
  char error[PROPERTY_ERROR];
  unsigned before = 0;
  if (!chardev || !chardev_option_read(chardev, &option, error)) return false;
  for (const struct option_entry *other = list; other != e; other = other->next) {
    const char *its = chardev_used(list, other);
    before += its && !strcmp(id, its);
  }
  return before >= (option.mux ? CHARDEV_FRONTS : 1u);
}

static int check_global(struct parser *p, const struct option_entry *g) {
  const struct device_type *type = device_type_find(entry_value(g, "driver"));
  const struct property_world world = {find_backend, p};
  char error[PROPERTY_ERROR];
  if (!type) return options_warn(p, "there is no such device: left as it is"), OPTIONS_OK;
  void *values = calloc(1, type->properties_size);
  bool good =
    values && properties_set(type->properties, values, entry_value(g, "property"), entry_value(g, "value"), &world, error);
  free(values);
  return good ? OPTIONS_OK : options_complain(p, "%s", values ? error : "not enough memory");
}

static int check_device(struct parser *p, const struct option_entry *e) {
  const struct device_type *type = device_entry_type(e);
  const struct property_world world = {find_backend, p};
  char error[PROPERTY_ERROR];
  if (!type) return OPTIONS_OK; /* has been warned of */
  void *values = calloc(1, type->properties_size);
  bool good = values && device_entry_read(p->o->entries, e, values, &world, error);
  free(values);
  if (!good) return options_complain(p, "%s", values ? error : "not enough memory");
  return drive_is_taken(p->o->entries, e) ? options_complain(p, "another device has that -drive") : OPTIONS_OK;
}

static int check_entry(struct parser *p, const struct option_entry *e) {
  int result = OPTIONS_OK;
  p->option = e->option, p->value = e->text;
  if (!strcmp(e->group, "global")) result = check_global(p, e);
  if (!strcmp(e->group, "device")) result = check_device(p, e);
  if (!strcmp(e->group, "mon")) result = options_check_monitor(p, e);
  if (result == OPTIONS_OK && chardev_is_taken(p->o->entries, e))
    return options_complain(p, "another device has that -chardev (with mux=on four can share it)");
  return result;
}

static int check_terminal(struct parser *p) {
  unsigned stdio = 0;
  ENTRIES_OF(p->o->entries, "chardev", e) {
    if (strcmp(entry_value(e, "backend"), "stdio")) continue;
    p->option = e->option, p->value = NULL;
    if (stdio++) return options_complain(p, "only one port or monitor can be on the terminal");
    if (p->o->daemonize) return p->option = "-daemonize", options_complain(p, "a port or monitor is on the terminal");
    if (p->o->display == DISPLAY_CURSES) return options_complain(p, "the terminal is the screen's (-display curses)");
  }
  p->option = "-daemonize", p->value = NULL;
  return p->o->daemonize && p->o->display == DISPLAY_CURSES ? options_complain(p, "the screen is in the terminal") : OPTIONS_OK;
}

/* QEMU's defaults without -nographic are pages beside the screen, where there may be one. */
static int add_defaults(struct parser *p) {
  const struct bt_options *o = p->o;
  bool pages = !o->nographic && !o->daemonize && (o->display == DISPLAY_CURSES || (o->display == DISPLAY_DEFAULT && !o->kernel));
  bool serial = p->serial_default && !o->nodefaults, monitor = p->monitor_default && !o->nodefaults && (o->nographic || pages);
  int result = OPTIONS_OK;
  p->option = "-monitor", p->value = "vc"; /* the first page */
  if (monitor && pages) result = handle_monitor(p);
  if (result != OPTIONS_OK) return result;
  p->option = "-serial", p->value = pages ? "vc" : !o->nographic ? "null" : monitor ? "mon:stdio" : "stdio";
  if (serial) result = add_port(p, &serial_kind, 0, p->value);
  p->option = "-parallel", p->value = "null";
  if (p->parallel_default && !p->o->nodefaults && result == OPTIONS_OK) result = add_port(p, &parallel_kind, 0, p->value);
  p->option = "-monitor", p->value = "stdio";
  return monitor && !pages && !serial && result == OPTIONS_OK ? handle_monitor(p) : result;
}

int options_finish_devices(struct parser *p) {
  int result = add_defaults(p);
  if (p->o->nodefaults && !p->vga_said) p->o->vga = false;
  if (result == OPTIONS_OK) result = options_finish_drives(p);
  for (const struct option_entry *e = p->o->entries; e && result == OPTIONS_OK; e = e->next) result = check_entry(p, e);
  return result == OPTIONS_OK ? check_terminal(p) : result;
}
