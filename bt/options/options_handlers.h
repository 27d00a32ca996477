/* Between options.c (the table and the loop) and the files that understand the values. */
#pragma once
#include "options.h"
#include "values.h"

struct parser {
  struct bt_options *o;
  FILE *err;
  const char *option;                    /* as it was written, dashes included */
  const char *value;                     /* NULL for options without one */
  bool alone;                            /* no options at all */
  bool serial_default, parallel_default; /* no such port yet */
  bool vga_said;                         /* -vga */
  unsigned serial_count, parallel_count; /* -serial, -parallel options */
  bool monitor_default;                  /* no -monitor, no -mon yet */
  unsigned monitor_count;
  uint64_t warned[2]; /* by row of options_qemu.c */
};

/* One handler an option of the table. True: understood. False: the complaint has been printed. */
typedef int option_handler(struct parser *p); /* OPTIONS_* */

/* "bt: -m 5Q: TEXT", one line whatever the value holds. Returns OPTIONS_BAD. */
int options_complain(const struct parser *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
void options_warn(const struct parser *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define OPTION_HANDLERS(X) \
  X(memory) \
  X(kernel) \
  X(initrd) \
  X(append) \
  X(bios) \
  X(folder) \
  X(option_rom) \
  X(boot) \
  X(nofdbootchk) \
  X(debugcon) \
  X(cpu) \
  X(machine) \
  X(accel) \
  X(smp) \
  X(rtc) \
  X(icount) \
  X(kvm) \
  X(serial) \
  X(chardev) \
  X(global) \
  X(device) \
  X(drive) \
  X(disk) \
  X(snapshot) \
  X(display) \
  X(curses) \
  X(vga) \
  X(monitor) \
  X(mon) \
  X(stopped) \
  X(parallel) \
  X(net) \
  X(usbdevice) \
  X(nographic) \
  X(nodefaults) \
  X(echr) \
  X(noreboot) \
  X(noshutdown) \
  X(action) \
  X(noacpi) \
  X(nohpet) \
  X(ignored) \
  X(log) \
  X(logfile) \
  X(name) \
  X(pidfile) \
  X(daemonize) \
  X(version) \
  X(help) \
  X(stats) \
  X(singlestep) \
  X(flush_every) \
  X(irq_jitter) \
  X(poll_sleep) \
  X(exact_flags) \
  X(eager) \
  X(paranoid) \
  X(host) \
  X(without) \
  X(user) \
  X(symbols)
#define HANDLER_DECL(name) option_handler handle_##name;
OPTION_HANDLERS(HANDLER_DECL)
#undef HANDLER_DECL

/* ---- options_devices.c ---- */
/* The value as an entry of that group, if it is well-formed. */
int options_keyed(struct parser *p, const char *group);
/* An entry of that group from `elements` (NULL: from the value as it was written); NULL after a complaint. */
const struct option_entry *options_add_entry(struct parser *p, const char *group, const char *elements);
/* "HEADTEXT", commas of TEXT doubled. The caller frees it; NULL: no memory. */
char *options_escape(const char *head, const char *text);
/* The same, checked where it is a -chardev's. */
int options_entry(struct parser *p, const char *group, const char *elements);
/* Default devices; then all entries are checked, with globals and back ends. */
int options_finish_devices(struct parser *p);

/* ---- options_drives.c ---- */
int options_bare_file(struct parser *p);     /* an argument that is no option: the first disk */
int options_finish_drives(struct parser *p); /* the drives that every PC has, and the -device that each drive stands for */

/* ---- options_backends.c ---- */
/* The back end that a short form stands for (-serial's: "unix:P,server=on"; not none, nor chardev:ID), as a -chardev of that id;
 * "mon:" makes a monitor on it, too. */
int options_backend(struct parser *p, const char *text, const char *id);
int options_check_monitor(struct parser *p, const struct option_entry *e);

/* ---- options_qemu.c: what QEMU has and bt does not ---- */
struct qemu_option;
const struct qemu_option *qemu_option_find(const char *name); /* without dashes; NULL: QEMU has none of that name */
bool qemu_option_has_value(const struct qemu_option *row);
const char *qemu_option_name(unsigned i); /* NULL behind the last */
int qemu_option_apply(struct parser *p, const struct qemu_option *row);
int qemu_device(struct parser *p, const char *driver); /* -device of a driver that bt lacks */
