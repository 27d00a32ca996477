/* What -chardev, -serial, -device and -global say together: character back ends and devices, from the entries of the command
 * line. Pure. */
#pragma once
#include "../../devices/device_type.h"
#include "entries.h"
#include "property_values.h"

/* ---- character back ends ---- */

enum { SOCKET_PATH_MAX = 107 /* sun_path, without its end */ };
enum { CHARDEV_FRONTS = 4 /* that share one with mux=on; QEMU's too */ };
enum chardev_kind {
  CHARDEV_NULL, /* bytes vanish, nothing arrives */
  CHARDEV_STDIO,
  CHARDEV_FILE,   /* output only */
  CHARDEV_PIPE,   /* FIFOs */
  CHARDEV_PTY,    /* a pseudo-terminal */
  CHARDEV_VC,     /* a page of text beside the screen (-display curses) */
  CHARDEV_SOCKET, /* of the Unix domain or TCP, as client or server */
};
struct chardev_option {
  const char *id, *option; /* option: "-serial", "-chardev"; for messages */
  enum chardev_kind kind;
  bool mux;                /* Ctrl-A escapes, and up to four front ends */
  bool signal;             /* CHARDEV_STDIO: Ctrl-C and its like are signals, not the guest's */
  bool append;             /* CHARDEV_FILE */
  bool server, wait;       /* CHARDEV_SOCKET: listen; do not start before somebody has connected */
  bool nodelay, telnet;    /* of TCP; telnet is refused */
  bool ipv4, ipv6;         /* of TCP: not the other kind */
  uint64_t reconnect;      /* refused but for 0 */
  const char *path;        /* CHARDEV_FILE, CHARDEV_PIPE, CHARDEV_SOCKET; texts are as long as the entries */
  const char *host, *port; /* CHARDEV_SOCKET of TCP, which has no path; host NULL or empty: this one, a server's: every address */
};
/* False: `error` says what is wrong with the entry, a -chardev's. */
bool chardev_option_read(const struct option_entry *e, struct chardev_option *out, char error[PROPERTY_ERROR]);
void chardev_help(const char *backend, FILE *out); /* NULL, or one that does not exist: the list of them */

/* ---- devices ---- */

struct help_line;
/* Devices and back ends with their properties for the manual page, as options_help_line() (options.h). */
bool devices_help_line(unsigned i, struct help_line *line);

/* The type of a -device entry; NULL: bt has none of that name. */
const struct device_type *device_entry_type(const struct option_entry *e);
/* Fills in `values` (type->properties_size bytes): what the type has without a word, -global, the entry's own. */
bool device_entry_read(const struct option_entry *list, const struct option_entry *e, void *values,
                       const struct property_world *world, char error[PROPERTY_ERROR]);
void device_help(const struct device_type *type, FILE *out); /* NULL: the list of them */
