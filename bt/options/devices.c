#include "devices.h"
#include <string.h>
#include "drives.h"
#include "options.h"

/* ---- character back ends ---- */

static const struct property null_rows[] = {
  PROPERTY(PROPERTY_BOOL, chardev_option, mux, "mux", "off",
           "escapes of a console (Ctrl-A h lists them), and several may share it"),
  PROPERTY_END,
};
static const struct property stdio_rows[] = {
  PROPERTY(PROPERTY_BOOL, chardev_option, mux, "mux", "off",
           "escapes of a console (Ctrl-A h lists them), and several may share it"),
  PROPERTY(PROPERTY_BOOL, chardev_option, signal, "signal", "on", "Ctrl-C and its like are for bt, not for the guest"),
  PROPERTY_END,
};
static const struct property file_rows[] = {
  PROPERTY(PROPERTY_TEXT, chardev_option, path, "path", NULL, "the file"),
  PROPERTY(PROPERTY_BOOL, chardev_option, append, "append", "off", "goes on behind what is there"),
  PROPERTY_END,
};
static const struct property pipe_rows[] = {
  PROPERTY(PROPERTY_TEXT, chardev_option, path, "path", NULL, "FIFOs PATH.in and PATH.out, else PATH for both ways"),
  PROPERTY(PROPERTY_BOOL, chardev_option, mux, "mux", "off",
           "escapes of a console (Ctrl-A h lists them), and several may share it"),
  PROPERTY_END,
};
static const struct property pty_rows[] = {
  PROPERTY(PROPERTY_BOOL, chardev_option, mux, "mux", "off",
           "escapes of a console (Ctrl-A h lists them), and several may share it"),
  PROPERTY_END,
};
static const struct property socket_rows[] = {
  PROPERTY(PROPERTY_TEXT, chardev_option, path, "path", NULL, "the Unix socket"),
  PROPERTY(PROPERTY_TEXT, chardev_option, host, "host", NULL, "TCP: whom to connect to; a server: where to listen"),
  PROPERTY(PROPERTY_TEXT, chardev_option, port, "port", NULL, "TCP: the port; a server: 0 is any"),
  PROPERTY(PROPERTY_BOOL, chardev_option, server, "server", "off", "listens, and takes one client after the other"),
  PROPERTY(PROPERTY_BOOL, chardev_option, wait, "wait", "on", "a server: starts when somebody has connected"),
  PROPERTY(PROPERTY_BOOL, chardev_option, nodelay, "nodelay", "off", "TCP: small packets leave at once"),
  PROPERTY(PROPERTY_BOOL, chardev_option, ipv4, "ipv4", "off", "TCP: IPv4 only"),
  PROPERTY(PROPERTY_BOOL, chardev_option, ipv6, "ipv6", "off", "TCP: IPv6 only"),
  PROPERTY(PROPERTY_BOOL, chardev_option, telnet, "telnet", "off", "there is no telnet: off"),
  PROPERTY_RANGE(PROPERTY_NUMBER, chardev_option, reconnect, "reconnect", 0, UINT64_MAX, "0", "a client does not try again: 0"),
  PROPERTY(PROPERTY_BOOL, chardev_option, mux, "mux", "off",
           "escapes of a console (Ctrl-A h lists them), and several may share it"),
  PROPERTY_END,
};
static const struct chardev_type {
  const char *name, *help;
  const struct property *rows;
} chardev_types[] = {
  [CHARDEV_NULL] = {"null", "bytes vanish, none arrive", null_rows},
  [CHARDEV_STDIO] = {"stdio", "the terminal, or what standard input and output are", stdio_rows},
  [CHARDEV_FILE] = {"file", "a file that is written", file_rows},
  [CHARDEV_PIPE] = {"pipe", "FIFOs, which must be there", pipe_rows},
  [CHARDEV_PTY] = {"pty", "a pseudo-terminal, whose name is told", pty_rows},
  [CHARDEV_VC] = {"vc", "a page of text beside the screen in the terminal (-display curses): Alt-2, Alt-3, ...", null_rows},
  [CHARDEV_SOCKET] = {"socket", "a Unix socket, or TCP", socket_rows},
};
enum { KINDS = sizeof chardev_types / sizeof chardev_types[0] };

static unsigned find_kind(const char *name) {
  unsigned i = 0;
  while (i < KINDS && (!name || strcmp(chardev_types[i].name, name))) i++;
  return i;
}

static bool fail(char error[PROPERTY_ERROR], const char *why) { return snprintf(error, PROPERTY_ERROR, "%s", why), false; }

static const char *unfit_socket(const struct chardev_option *c, size_t length) {
  if (c->telnet) return "bt speaks no telnet: take telnet=off, and socat or nc as the client";
  if (c->reconnect) return "a client does not connect again: take reconnect=0, or server=on";
  if (c->port && c->path) return "it has a path= or a port=, not both";
  if (c->port) return *c->port ? NULL : "a port is a number or a service's name";
  if (c->host && *c->host) return "it needs a port=";
  return !length || length > SOCKET_PATH_MAX ? "a socket's path has 1 to 107 characters" : NULL;
}

static const char *unfit(const struct chardev_option *c) {
  if (!c->id) return "it needs an id=, which devices name it by";
  size_t length = c->path ? strlen(c->path) : 0;
  if ((c->kind == CHARDEV_FILE || c->kind == CHARDEV_PIPE) && !length) return "it needs a path=";
  return c->kind == CHARDEV_SOCKET ? unfit_socket(c, length) : NULL;
}

bool chardev_option_read(const struct option_entry *e, struct chardev_option *out, char error[PROPERTY_ERROR]) {
  unsigned kind = find_kind(entry_value(e, "backend"));
  if (kind == KINDS) return fail(error, "no such backend (stdio, file, pipe, pty, vc, socket, null)");
  *out = (struct chardev_option){.id = e->id, .option = e->option, .kind = (enum chardev_kind)kind};
  properties_clear(chardev_types[kind].rows, out);
  if (!properties_set_all(chardev_types[kind].rows, out, e, "backend", NULL, error)) return false;
  const char *why = unfit(out);
  return why ? fail(error, why) : true;
}

void chardev_help(const char *backend, FILE *out) {
  unsigned kind = find_kind(backend);
  if (kind < KINDS) fprintf(out, "%s: %s\n", chardev_types[kind].name, chardev_types[kind].help);
  if (kind < KINDS) return properties_help(chardev_types[kind].rows, out);
  for (unsigned i = 0; i < KINDS; i++) fprintf(out, "%-16s %s\n", chardev_types[i].name, chardev_types[i].help);
}

/* ---- devices ---- */

const struct device_type *device_entry_type(const struct option_entry *e) {
  const char *driver = entry_value(e, "driver");
  return driver ? device_type_find(driver) : NULL;
}

/* `driver.property=value` of -global, for every device of the type. */
static bool set_globals(const struct option_entry *list, const struct device_type *type, void *values,
                        const struct property_world *world, char error[PROPERTY_ERROR]) {
  ENTRIES_OF(list, "global", g)
  if (!strcmp(entry_value(g, "driver"), type->name) &&
      !properties_set(type->properties, values, entry_value(g, "property"), entry_value(g, "value"), world, error))
    return false;
  return true;
}

bool device_entry_read(const struct option_entry *list, const struct option_entry *e, void *values,
                       const struct property_world *world, char error[PROPERTY_ERROR]) {
  const struct device_type *type = device_entry_type(e);
  if (!type) return fail(error, "bt has no such device ('help' lists them)");
  memset(values, 0, type->properties_size);
  properties_clear(type->properties, values);
  if (!set_globals(list, type, values, world, error)) return false;
  if (!properties_set_all(type->properties, values, e, "driver", world, error)) return false;
  const char *why = type->check ? type->check(values) : NULL;
  return why ? fail(error, why) : true;
}

void device_help(const struct device_type *type, FILE *out) {
  if (type) fprintf(out, "%s: %s\n", type->name, type->help);
  if (type) return properties_help(type->properties, out);
  for (unsigned i = 0; (type = device_type_at(i)); i++) fprintf(out, "%-16s %s\n", type->name, type->help);
}

/* ---- for the manual page ---- */

/* Line i of a table and its rows: the name, then a property a line. False: *i is what is left behind them. */
static bool table_line(unsigned *i, const char *option, const char *name, const char *help, const struct property *rows,
                       struct help_line *line) {
  if (!*i)
    return *line = (struct help_line){.dashes = "-", .name = option, .before = " ", .value = name, .after = "", .help = help},
           true;
  for (--*i; rows->name && *i; rows++) --*i;
  if (!rows->name) return false;
  *line = (struct help_line){
    .dashes = "", .name = rows->name, .before = "=", .value = property_kind(rows), .after = "", .help = rows->help};
  return true;
}

bool devices_help_line(unsigned i, struct help_line *line) {
  const struct device_type *type;
  for (unsigned n = 0; (type = device_type_at(n)); n++)
    if (table_line(&i, "device", type->name, type->help, type->properties, line)) return true;
  for (unsigned n = 0; n < KINDS; n++)
    if (table_line(&i, "chardev", chardev_types[n].name, chardev_types[n].help, chardev_types[n].rows, line)) return true;
  if (table_line(&i, "drive", "[KEY=VALUE]...", "a drive and its medium", drive_properties(), line)) return true;
  return false;
}
