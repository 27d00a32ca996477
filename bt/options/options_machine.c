/* Options that say what the machine is. */
#include <string.h>
#include "options_handlers.h"
#include "../version.h"

#define MIB (UINT64_C(1) << 20)

/* Texts go where they are kept; an empty one would only show up later as a strange file name. */
static int keep(struct parser *p, const char **where) {
  if (!*p->value) return complain(p, "the value is empty");
  *where = p->value;
  return OPTIONS_OK;
}
int handle_kernel(struct parser *p) { return keep(p, &p->o->kernel); }
int handle_initrd(struct parser *p) { return keep(p, &p->o->initrd); }
int handle_append(struct parser *p) { return p->o->append = p->value, OPTIONS_OK; }
int handle_cpu(struct parser *p) { /* understood by cpu_model_parse(), monitor/cpuid.c */
  if (strcmp(p->value, "host") && strncmp(p->value, "host,", 5)) return keep(p, &p->o->cpu);
  p->o->cpu = NULL;
  warn(p, "there is no KVM to hand through the host's CPU: the guest finds bt's own, 'max'");
  return OPTIONS_OK;
}
int handle_name(struct parser *p) { return p->o->name = p->value, OPTIONS_OK; }
int handle_pidfile(struct parser *p) { return keep(p, &p->o->pidfile); }
int handle_noshutdown(struct parser *p) { return p->o->no_shutdown = true, OPTIONS_OK; }
int handle_nodefaults(struct parser *p) { return p->o->nodefaults = true, OPTIONS_OK; }
int handle_nographic(struct parser *p) { return p->o->nographic = true, OPTIONS_OK; }
int handle_noreboot(struct parser *p) { return p->o->no_reboot = true, OPTIONS_OK; }
int handle_noacpi(struct parser *p) { return p->o->acpi = false, OPTIONS_OK; }
int handle_nohpet(struct parser *p) { return p->o->hpet = false, OPTIONS_OK; }
int handle_daemonize(struct parser *p) { return p->o->daemonize = true, OPTIONS_OK; }
int handle_ignored(struct parser *p) { return OPTIONS_OK; }
int handle_kvm(struct parser *p) { return warn(p, "there is no KVM in bt: it translates"), OPTIONS_OK; }

int handle_help(struct parser *p) { return options_print_help(stdout), OPTIONS_DONE; }
int handle_version(struct parser *p) { return printf("bt %s\n", BT_VERSION), OPTIONS_DONE; }

static int memory_size(struct parser *p, const char *text) {
  uint64_t bytes;
  if (!value_size(text, MIB, &bytes)) return complain(p, "not a size (256, 256M, 1G, size=256M)");
  if (bytes < 16 * MIB) return complain(p, "too little: a machine has 16 MiB or more");
  if (bytes > 3072 * MIB) return complain(p, "too much: a machine has 3 GiB at most");
  p->o->ram_size = (bytes + MIB - 1) / MIB * MIB;
  return OPTIONS_OK;
}
int handle_memory(struct parser *p) {
  struct suboption s;
  bool bad = false, first = true, more = false;
  for (const char *cursor = p->value; value_next(&cursor, &s, &bad); first = false) {
    bool size = s.value ? !strcmp(s.key, "size") : first;
    if (size && memory_size(p, s.value ? s.value : s.text) != OPTIONS_OK) return OPTIONS_BAD;
    if (!size && (!s.value || (strcmp(s.key, "slots") && strcmp(s.key, "maxmem"))))
      return complain(p, "not a size (256, 256M, 1G, size=256M)");
    more |= !size;
  }
  if (bad || first) return complain(p, "not a size (256, 256M, 1G, size=256M)");
  if (more) warn(p, "memory cannot be added while the guest runs");
  return OPTIONS_OK;
}

int handle_smp(struct parser *p) {
  static const char *const keys[] = {"cpus", "maxcpus", "sockets", "dies", "clusters", "cores", "threads"};
  struct suboption s;
  bool bad = false;
  for (const char *cursor = p->value; value_next(&cursor, &s, &bad);) {
    bool known = !s.value;
    for (unsigned i = 0; s.value && i < sizeof keys / sizeof keys[0]; i++) known |= !strcmp(s.key, keys[i]);
    uint64_t n;
    if (!known) return complain(p, "no such property");
    if (!value_number(s.value ? s.value : s.text, 4096, &n)) return complain(p, "not a number of CPUs");
    if (n != 1) return complain(p, "bt has one CPU");
  }
  return bad || !*p->value ? complain(p, "not a number of CPUs") : OPTIONS_OK;
}

/* tcg, or one that we have not and replace; NULL-terminated in *name. */
static int accelerator(struct parser *p, const char *name) {
  static const char *const others[] = {"kvm", "xen", "hax", "hvf", "whpx", "nvmm"};
  if (!strcmp(name, "tcg")) return OPTIONS_OK;
  size_t first = strcspn(name, ":");
  for (unsigned i = 0; i < sizeof others / sizeof others[0]; i++)
    if (strlen(others[i]) == first && !strncmp(name, others[i], first)) {
      if (!name[first]) warn(p, "there is no %s in bt: it translates", others[i]);
      return name[first] ? accelerator(p, name + first + 1) : OPTIONS_OK;
    }
  return complain(p, "no such accelerator (there is: tcg)");
}

/* Properties of -machine that change nothing here when they have this value (NULL: any). */
static const struct {
  const char *key, *value;
} machine_trivial[] = {
  {"usb", "off"},
  {"vmport", NULL},
  {"smm", NULL},
  {"graphics", "off"},
  {"mem-merge", NULL},
  {"dump-guest-core", NULL},
  {"kernel-irqchip", NULL},
  {"kernel_irqchip", NULL},
  {"nvdimm", "off"},
  {"sata", "off"},
  {"i8042", "on"},
  {"pit", "on"},
  {"pic", "on"},
  {"serial", "on"},
  {"rtc", "on"},
  {"graphics", "on"},
  {"pcspk-audiodev", NULL},
  {"suppress-vmdesc", NULL},
  {"igd-passthru", "off"},
};
static int machine_property(struct parser *p, const struct suboption *s) {
  if (!strcmp(s->key, "accel")) return accelerator(p, s->value);
  if (!strcmp(s->key, "acpi")) return value_switch(s->value, &p->o->acpi) ? OPTIONS_OK : complain(p, "acpi is on or off");
  if (!strcmp(s->key, "hpet")) return value_switch(s->value, &p->o->hpet) ? OPTIONS_OK : complain(p, "hpet is on or off");
  for (unsigned i = 0; i < sizeof machine_trivial / sizeof machine_trivial[0]; i++)
    if (!strcmp(s->key, machine_trivial[i].key) && (!machine_trivial[i].value || !strcmp(s->value, machine_trivial[i].value)))
      return OPTIONS_OK;
  if (strcmp(s->key, "usb") || strcmp(s->value, "on")) return complain(p, "bt's machine has no such property or value");
  warn(p, "there is no USB controller yet: the guest has the PS/2 keyboard and mouse");
  return OPTIONS_OK;
}
int handle_machine(struct parser *p) {
  struct suboption s;
  bool bad = false, first = true;
  if (!strcmp(p->value, "help") || !strcmp(p->value, "?"))
    return puts("pc    the PC with an i440FX host bridge (pc-i440fx-* too)"), OPTIONS_DONE;
  for (const char *cursor = p->value; value_next(&cursor, &s, &bad); first = false) {
    const char *type = !s.value && first ? s.text : s.value && !strcmp(s.key, "type") ? s.value : NULL;
    if (type && strcmp(type, "pc") && strncmp(type, "pc-i440fx-", 10)) return complain(p, "no such machine (there is: pc)");
    if (type) continue;
    if (!s.value) return complain(p, "a property needs a value");
    int result = machine_property(p, &s);
    if (result != OPTIONS_OK) return result;
  }
  return bad ? complain(p, "too long") : OPTIONS_OK;
}

/* tb-size counts MiB, as QEMU's; with a suffix it is ours and exact. */
static int code_size(struct parser *p, const char *value) {
  uint64_t bytes;
  if (!value_size(value, MIB, &bytes)) return complain(p, "tb-size is a size");
  if (bytes > 1024 * MIB) return complain(p, "tb-size is 1 GiB at most");
  if (bytes && bytes < 64 << 10) return complain(p, "tb-size is 64K at least");
  p->o->monitor.code_size = bytes;
  return OPTIONS_OK;
}
static int accel_property(struct parser *p, const struct suboption *s) {
  bool on;
  if (!strcmp(s->key, "tb-size")) return code_size(p, s->value);
  if (!strcmp(s->key, "thread"))
    return !strcmp(s->value, "single") || !strcmp(s->value, "multi") ? OPTIONS_OK : complain(p, "thread is single or multi");
  if (!strcmp(s->key, "one-insn-per-tb"))
    return value_switch(s->value, &p->o->monitor.one_insn) ? OPTIONS_OK : complain(p, "on or off");
  if (!strcmp(s->key, "split-wx"))
    return value_switch(s->value, &on) ? p->o->monitor.single_map = !on, OPTIONS_OK : complain(p, "on or off");
  return complain(p, "no such property");
}
int handle_accel(struct parser *p) {
  struct suboption s;
  bool bad = false, first = true;
  if (!strcmp(p->value, "help") || !strcmp(p->value, "?")) return puts("tcg"), OPTIONS_DONE;
  for (const char *cursor = p->value; value_next(&cursor, &s, &bad); first = false) {
    const char *name = !s.value && first ? s.text : s.value && !strcmp(s.key, "accel") ? s.value : NULL;
    int result = name ? accelerator(p, name) : s.value ? accel_property(p, &s) : complain(p, "a property needs a value");
    if (result != OPTIONS_OK) return result;
  }
  return bad || first ? complain(p, "no such accelerator (there is: tcg)") : OPTIONS_OK;
}

int handle_rtc(struct parser *p) {
  struct suboption s;
  bool bad = false, date = false, clock = false;
  for (const char *cursor = p->value; value_next(&cursor, &s, &bad);) {
    const char *value = s.value ? s.value : "";
    bool base = !strcmp(s.key, "base") && *value,
         source = !strcmp(s.key, "clock") && (!strcmp(value, "host") || !strcmp(value, "rt") || !strcmp(value, "vm"));
    if (!base && !source && strcmp(s.key, "driftfix")) return complain(p, "the clock chip has base=utc and clock=host");
    date |= base && strcmp(value, "utc");
    clock |= source && strcmp(value, "host");
  }
  if (bad || !*p->value) return complain(p, bad ? "too long" : "the clock chip has base=utc and clock=host");
  if (date) warn(p, "the clock chip shows UTC, and the host's date");
  else if (clock) warn(p, "the clock chip goes with the host's clock");
  return OPTIONS_OK;
}

/* ---- serial ports ---- */
static int serial_unix(struct parser *p, struct serial_option *port, const char *text) {
  struct suboption s;
  bool bad = false, on = false;
  if (!value_next(&text, &s, &bad) || !*s.text || strlen(s.text) >= sizeof port->path)
    return complain(p, "a socket's path has 1 to 107 characters");
  strcpy(port->path, s.text);
  port->kind = SERIAL_UNIX;
  port->wait = true;
  while (value_next(&text, &s, &bad)) {
    bool no = !s.value && !strncmp(s.key, "no", 2); /* QEMU's short forms: server, nowait */
    const char *key = no ? s.key + 2 : s.key;
    if (strcmp(key, "server") && strcmp(key, "wait")) return complain(p, "a socket has the properties server and wait");
    if (s.value && !value_switch(s.value, &on)) return complain(p, "on or off");
    if (!s.value) on = !no;
    *(*key == 's' ? &port->server : &port->wait) = on;
  }
  return bad ? complain(p, "too long") : OPTIONS_OK;
}
int handle_serial(struct parser *p) {
  struct bt_options *o = p->o;
  const char *text = p->value;
  if (o->serial_count == SERIAL_PORTS) return complain(p, "there are four serial ports");
  p->serial_default = false;
  struct serial_option *port = &o->serial[o->serial_count++];
  bool mux = !strncmp(text, "mon:", 4);
  if (mux && strcmp(text, "mon:stdio")) return complain(p, "mon: goes with stdio only");
  if (mux) text += 4;
  port->mux = mux;
  if (!strcmp(text, "stdio")) port->kind = SERIAL_STDIO;
  else if (!strcmp(text, "none")) port->kind = SERIAL_NONE;
  else if (!strcmp(text, "null") || !strcmp(text, "vc") || !strncmp(text, "vc:", 3)) port->kind = SERIAL_NULL;
  else if (!strncmp(text, "file:", 5) && text[5]) port->kind = SERIAL_FILE, port->file = text + 5;
  else if (!strncmp(text, "unix:", 5)) return serial_unix(p, port, text + 5);
  else return complain(p, "no such backend (stdio, mon:stdio, file:F, unix:P, null, none)");
  return OPTIONS_OK;
}
int handle_echr(struct parser *p) {
  uint64_t n;
  if (!value_number(p->value, 255, &n)) return complain(p, "a character code is 0 to 255");
  p->o->escape = (uint8_t)n;
  return OPTIONS_OK;
}

/* ---- devices ---- */
static int debug_exit_property(struct parser *p, const struct suboption *s) {
  uint64_t n;
  bool base = !strcmp(s->key, "iobase"), size = !strcmp(s->key, "iosize");
  if (!strcmp(s->key, "id")) return OPTIONS_OK;
  if (!base && !size) return complain(p, "isa-debug-exit has the properties iobase and iosize");
  if (!s->value || !value_number(s->value, base ? 0xffff : 4, &n) || (size && n == 0))
    return complain(p, base ? "iobase is a port" : "iosize is 1 to 4");
  *(base ? &p->o->debug_exit_base : &p->o->debug_exit_size) = (uint16_t)n;
  return OPTIONS_OK;
}
int handle_device(struct parser *p) {
  struct suboption s;
  bool bad = false;
  if (!strcmp(p->value, "help") || !strcmp(p->value, "?"))
    return puts("isa-debug-exit    iobase=PORT (0x501), iosize=BYTES (2)"), OPTIONS_DONE;
  const char *cursor = p->value;
  if (!value_next(&cursor, &s, &bad)) return complain(p, "no such device ('help' lists them)");
  const char *driver = s.value && !strcmp(s.key, "driver") ? s.value : s.text;
  if (strcmp(driver, "isa-debug-exit")) return qemu_device(p, driver);
  if (p->o->debug_exit) return complain(p, "there is one already");
  p->o->debug_exit = true;
  while (value_next(&cursor, &s, &bad)) {
    int result = debug_exit_property(p, &s);
    if (result != OPTIONS_OK) return result;
  }
  if (p->o->debug_exit_base + p->o->debug_exit_size > 0x10000) return complain(p, "the ports end at 0xffff");
  return bad ? complain(p, "too long") : OPTIONS_OK;
}

int handle_action(struct parser *p) {
  struct suboption s;
  bool bad = false;
  for (const char *cursor = p->value; value_next(&cursor, &s, &bad);) {
    const char *value = s.value ? s.value : "";
    if (!strcmp(s.key, "reboot") && !strcmp(value, "shutdown")) p->o->no_reboot = true;
    else if (!strcmp(s.key, "reboot") && !strcmp(value, "reset")) p->o->no_reboot = false;
    else if (!strcmp(s.text, "shutdown=pause")) p->o->no_shutdown = true;
    else if (!strcmp(s.text, "shutdown=poweroff")) p->o->no_shutdown = false;
    else if (strcmp(s.key, "panic") && strcmp(s.key, "watchdog")) /* no device tells of these */
      return complain(p, "bt knows reboot=reset|shutdown and shutdown=poweroff|pause");
  }
  return bad ? complain(p, "too long") : OPTIONS_OK;
}
