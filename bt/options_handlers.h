/* Between options.c (the table and the loop) and the files that understand the values. */
#pragma once
#include "options.h"
#include "values.h"

struct parser {
  struct bt_options *o;
  FILE *err;
  const char *option;     /* as it was written, dashes included */
  const char *value;      /* NULL for options without one */
  bool serial_default;    /* no -serial yet */
};

/* One handler an option of the table. True: understood. False: the complaint has been printed. */
typedef int option_handler(struct parser *p);   /* OPTIONS_* */

/* "bt: -m 5Q: TEXT", one line whatever the value holds. Returns OPTIONS_BAD. */
int complain(const struct parser *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
void warn(const struct parser *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define OPTION_HANDLERS(X) X(memory) X(kernel) X(initrd) X(append) X(cpu) X(machine) X(accel) X(smp) X(rtc) X(icount) X(kvm) \
  X(serial) X(device) X(display) X(nographic) X(nodefaults) X(none_only) X(none_or_null) X(echr) X(noreboot) X(action) X(noacpi) X(nohpet) X(ignored) \
  X(log) X(logfile) X(name) X(pidfile) X(daemonize) X(version) X(help) \
  X(stats) X(singlestep) X(flush_every) X(irq_jitter) X(exact_flags) X(paranoid) X(host) X(without) X(user) X(symbols)
#define HANDLER_DECL(name) option_handler handle_##name;
OPTION_HANDLERS(HANDLER_DECL)
#undef HANDLER_DECL
