/* Options that say what the machine is. */
#include <stdio.h>
#include <string.h>
#include "../../mmu/layout.h"
#include "../../monitor/sandbox.h"
#include "../../translator/host_cpu.h"
#include "options_handlers.h"
#include "property_values.h"
#include "../version.h"

#define MIB (UINT64_C(1) << 20)

/* Texts go where they are kept; an empty one would only show up later as a strange file name. */
static int keep(struct parser *p, const char **where) {
  if (!*p->value) return options_complain(p, "the value is empty");
  *where = p->value;
  return OPTIONS_OK;
}
int handle_kernel(struct parser *p) { return keep(p, &p->o->kernel); }
int handle_initrd(struct parser *p) { return keep(p, &p->o->initrd); }
int handle_append(struct parser *p) { return p->o->append = p->value, OPTIONS_OK; }
int handle_cpu(struct parser *p) { /* understood by cpu_model_parse(), monitor/cpuid.c */
  if (strcmp(p->value, "host") && strncmp(p->value, "host,", 5)) return keep(p, &p->o->cpu);
  p->o->cpu = NULL;
  options_warn(p, "there is no KVM to hand through the host's CPU: the guest finds bt's own, 'max'");
  return OPTIONS_OK;
}
int handle_name(struct parser *p) { return p->o->name = p->value, OPTIONS_OK; }
int handle_pidfile(struct parser *p) { return keep(p, &p->o->pidfile); }
int handle_noshutdown(struct parser *p) { return p->o->no_shutdown = true, OPTIONS_OK; }
int handle_nodefaults(struct parser *p) { return p->o->nodefaults = true, OPTIONS_OK; }
int handle_nographic(struct parser *p) { return p->o->nographic = true, OPTIONS_OK; }
int handle_stopped(struct parser *p) { return p->o->stopped = true, OPTIONS_OK; }
int handle_noreboot(struct parser *p) { return p->o->no_reboot = true, OPTIONS_OK; }
int handle_noacpi(struct parser *p) { return p->o->acpi = false, OPTIONS_OK; }
int handle_nohpet(struct parser *p) { return p->o->hpet = false, OPTIONS_OK; }
int handle_daemonize(struct parser *p) { return p->o->daemonize = true, OPTIONS_OK; }
int handle_ignored(struct parser *p) { return OPTIONS_OK; }
int handle_kvm(struct parser *p) { return options_warn(p, "there is no KVM in bt: it translates"), OPTIONS_OK; }

int handle_help(struct parser *p) { return options_print_help(stdout), OPTIONS_DONE; }
int handle_version(struct parser *p) { return printf("bt %s\n", BT_VERSION), OPTIONS_DONE; }

static int memory_size(struct parser *p, const char *text) {
  uint64_t bytes;
  if (!value_size(text, MIB, &bytes)) return options_complain(p, "not a size (256, 256M, 1G, size=256M)");
  if (bytes < 16 * MIB) return options_complain(p, "too little: a machine has 16 MiB or more");
  if (bytes > MMU_RAM_MAX) return options_complain(p, "too much: a machine has 3 GiB at most");
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
      return options_complain(p, "not a size (256, 256M, 1G, size=256M)");
    more |= !size;
  }
  if (bad || first) return options_complain(p, "not a size (256, 256M, 1G, size=256M)");
  if (more) options_warn(p, "memory cannot be added while the guest runs");
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
    if (!known) return options_complain(p, "no such property");
    if (!value_number(s.value ? s.value : s.text, 4096, &n)) return options_complain(p, "not a number of CPUs");
    if (n != 1) return options_complain(p, "bt has one CPU");
  }
  return bad || !*p->value ? options_complain(p, "not a number of CPUs") : OPTIONS_OK;
}

/* tcg, or one that we have not and replace; NULL-terminated in *name. */
static int accelerator(struct parser *p, const char *name) {
  static const char *const others[] = {"kvm", "xen", "hax", "hvf", "whpx", "nvmm"};
  if (!strcmp(name, "tcg")) return OPTIONS_OK;
  size_t first = strcspn(name, ":");
  for (unsigned i = 0; i < sizeof others / sizeof others[0]; i++)
    if (strlen(others[i]) == first && !strncmp(name, others[i], first)) {
      if (!name[first]) options_warn(p, "there is no %s in bt: it translates", others[i]);
      return name[first] ? accelerator(p, name + first + 1) : OPTIONS_OK;
    }
  return options_complain(p, "no such accelerator (there is: tcg)");
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
  {"fd-bootchk", NULL},
  {"max-ram-below-4g", NULL},
  {"smbios-entry-point-type", "32"},
  {"smbus", "off"},
};
/* Those that do something, beside `accel`. */
static const struct property machine_rows[] = {
  PROPERTY(PROPERTY_BOOL, bt_options, acpi, "acpi", "on", "ACPI tables and power management"),
  PROPERTY(PROPERTY_BOOL, bt_options, hpet, "hpet", "on", "high precision event timers"),
  PROPERTY_END,
};
static int machine_property(struct parser *p, const char *key, const char *value) {
  char error[PROPERTY_ERROR];
  if (!strcmp(key, "type")) {
    if (!strcmp(value, "pc") || !strncmp(value, "pc-i440fx-", 10)) return OPTIONS_OK;
    return options_complain(p, "no such machine (there is: pc)");
  }
  if (!strcmp(key, "accel")) return accelerator(p, value);
  for (unsigned i = 0; i < sizeof machine_trivial / sizeof machine_trivial[0]; i++)
    if (!strcmp(key, machine_trivial[i].key) && (!machine_trivial[i].value || !strcmp(value, machine_trivial[i].value)))
      return OPTIONS_OK;
  if (!strcmp(key, "usb") && !strcmp(value, "on"))
    return options_warn(p, "there is no USB controller yet: the guest has the PS/2 keyboard and mouse"), OPTIONS_OK;
  for (unsigned i = 0; i < sizeof machine_trivial / sizeof machine_trivial[0]; i++)
    if (!strcmp(key, machine_trivial[i].key))
      return options_complain(p, "bt's machine has %s=%s only", key, machine_trivial[i].value);
  return properties_set(machine_rows, p->o, key, value, NULL, error) ? OPTIONS_OK : options_complain(p, "%s", error);
}
int handle_machine(struct parser *p) {
  int result = options_keyed(p, "machine");
  const struct option_entry *e = NULL;
  ENTRIES_OF(p->o->entries, "machine", last) e = last;
  if (result != OPTIONS_OK) return result;
  if (entry_asks_help(e)) {
    puts("pc    the PC with an i440FX host bridge (pc-i440fx-* too)");
    return properties_help(machine_rows, stdout), OPTIONS_DONE;
  }
  for (unsigned i = 0; i < e->count && result == OPTIONS_OK; i++)
    result = machine_property(p, e->pairs[i].key, e->pairs[i].value);
  return result;
}

/* tb-size counts MiB, as QEMU's; with a suffix it is ours and exact. */
static int code_size(struct parser *p, const char *value) {
  uint64_t bytes;
  if (!value_size(value, MIB, &bytes)) return options_complain(p, "tb-size is a size");
  if (bytes > 1024 * MIB) return options_complain(p, "tb-size is 1 GiB at most");
  if (bytes && bytes < 64 << 10) return options_complain(p, "tb-size is 64K at least");
  p->o->monitor.code_size = bytes;
  return OPTIONS_OK;
}
static int accel_property(struct parser *p, const struct suboption *s) {
  bool on;
  if (!strcmp(s->key, "tb-size")) return code_size(p, s->value);
  if (!strcmp(s->key, "thread"))
    return !strcmp(s->value, "single") || !strcmp(s->value, "multi") ? OPTIONS_OK
                                                                     : options_complain(p, "thread is single or multi");
  if (!strcmp(s->key, "one-insn-per-tb"))
    return value_switch(s->value, &p->o->monitor.one_insn) ? OPTIONS_OK : options_complain(p, "on or off");
  if (!strcmp(s->key, "split-wx"))
    return value_switch(s->value, &on) ? p->o->monitor.single_map = !on, OPTIONS_OK : options_complain(p, "on or off");
  return options_complain(p, "no such property");
}
/* The one name, as QEMU prints it, and what this host offers it. */
static void accel_help(void) {
  uint64_t cost;
  const char *missing = sandbox_probe(&cost);
  puts("tcg");
  for (unsigned i = 0; i < HOST_FEATURE_COUNT; i++)
    printf("  %-13s %s: %s\n", host_feature_name((enum host_feature)i), host_cpu_features() >> i & 1 ? "yes" : "no",
           host_feature_help((enum host_feature)i));
  if (missing) printf("  %-13s no: %s\n", "--user=direct", missing);
  else printf("  %-13s yes: leaving a sandbox and coming back takes %.1f us\n", "--user=direct", (double)cost / 1000);
}
int handle_accel(struct parser *p) {
  struct suboption s;
  bool bad = false, first = true;
  if (!strcmp(p->value, "help") || !strcmp(p->value, "?")) return accel_help(), OPTIONS_DONE;
  for (const char *cursor = p->value; value_next(&cursor, &s, &bad); first = false) {
    const char *name = !s.value && first ? s.text : s.value && !strcmp(s.key, "accel") ? s.value : NULL;
    int result = name ? accelerator(p, name) : s.value ? accel_property(p, &s) : options_complain(p, "a property needs a value");
    if (result != OPTIONS_OK) return result;
  }
  return bad || first ? options_complain(p, "no such accelerator (there is: tcg)") : OPTIONS_OK;
}

static int rtc_property(struct parser *p, const char *key, const char *value) {
  struct bt_options *o = p->o;
  if (!strcmp(key, "base")) {
    o->rtc_base = !strcmp(value, "utc") ? RTC_UTC : !strcmp(value, "localtime") ? RTC_LOCAL_TIME : RTC_DATE;
    if (o->rtc_base != RTC_DATE || value_date(value, &o->rtc_date)) return OPTIONS_OK;
    return options_complain(p, "base is utc, localtime or a date from 1970 on (2006-06-17T16:01:21, 2006-06-17)");
  }
  if (!strcmp(key, "clock")) /* all clocks of a machine are one, which goes as the host's does */
    return !strcmp(value, "host") || !strcmp(value, "rt") || !strcmp(value, "vm")
             ? OPTIONS_OK
             : options_complain(p, "clock is host, rt or vm");
  if (strcmp(key, "driftfix")) return options_complain(p, "the clock chip has base=, clock= and driftfix=");
  if (strcmp(value, "slew") && strcmp(value, "none")) return options_complain(p, "driftfix is none or slew");
  o->rtc_slew = !strcmp(value, "slew");
  return OPTIONS_OK;
}
int handle_rtc(struct parser *p) {
  struct suboption s;
  bool bad = false, first = true;
  for (const char *cursor = p->value; value_next(&cursor, &s, &bad); first = false) {
    int result = rtc_property(p, s.key, s.value ? s.value : "");
    if (result != OPTIONS_OK) return result;
  }
  return bad || first ? options_complain(p, bad ? "too long" : "the clock chip has base=, clock= and driftfix=") : OPTIONS_OK;
}

int handle_echr(struct parser *p) {
  uint64_t n;
  if (!value_number(p->value, 255, &n)) return options_complain(p, "a character code is 0 to 255");
  p->o->escape = (uint8_t)n;
  return OPTIONS_OK;
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
      return options_complain(p, "bt knows reboot=reset|shutdown and shutdown=poweroff|pause");
  }
  return bad ? options_complain(p, "too long") : OPTIONS_OK;
}
