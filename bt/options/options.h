/* The command line as a value. Parsing is pure: it opens no file, asks the host nothing and keeps nothing but pointers into argv
 * and the list of entries, so that it can be fuzzed. Names are QEMU's wherever the meaning is. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include "../../devices/firmware/firmware.h"
#include "../../monitor/monitor.h"
#include "entries.h"

enum rtc_base { RTC_UTC, RTC_LOCAL_TIME, RTC_DATE };

/* DISPLAY_DEFAULT: in the terminal, if there is one that nothing else uses, and a screen, and no -kernel. */
enum bt_display { DISPLAY_DEFAULT, DISPLAY_NONE, DISPLAY_CURSES };

enum { FIRMWARE_FOLDERS = 16, OPTION_ROMS = 16 };

struct option_rom {
  const char *path;
  uint32_t bootindex; /* UINT32_MAX: none */
};

/* -boot: what the firmware is told (devices/firmware/firmware.h). */
struct boot_options {
  const char *order, *once, *splash; /* NULL: not said */
  enum firmware_switch menu, strict;
  int32_t splash_time, reboot_timeout; /* ms; -1: not said, never */
  bool floppy_unchecked;
};

struct bt_options {
  uint64_t ram_size;                    /* bytes, whole MiB */
  const char *kernel, *initrd, *append; /* NULL: not given */
  const char *bios;                     /* NULL: the usual one, where there is no kernel */
  const char *folders[FIRMWARE_FOLDERS];
  struct option_rom option_roms[OPTION_ROMS];
  unsigned folder_count, option_rom_count;
  struct boot_options boot;
  const char *cpu;                    /* "MODEL,+x,-y"; NULL: the default model */
  const struct option_entry *entries; /* -device, -chardev and so on, also what -serial stands for; checked (devices.h) */
  uint8_t escape;                     /* of the console: Ctrl-A, or -echr */
  bool snapshot;                      /* what is written to any drive is gone at the end */
  bool nographic, nodefaults, no_reboot, acpi, hpet, daemonize;
  bool vga; /* there is a standard VGA */
  const char *log_file, *symbols, *pidfile, *name;
  bool stopped;           /* -S: the machine begins standing still */
  enum rtc_base rtc_base; /* what the clock chip shows at the machine's start: the host's time, or ... */
  int64_t rtc_date;       /* ... RTC_DATE: this, in seconds since 1970 */
  bool rtc_slew;          /* driftfix=slew */
  enum bt_display display;
  bool no_shutdown; /* a guest that has ended leaves a machine that stays */
  bool stats, stats_json;
  struct monitor_options monitor;
};

enum { OPTIONS_OK, OPTIONS_BAD, OPTIONS_DONE };
/* OPTIONS_OK; OPTIONS_BAD after one line on `err`; OPTIONS_DONE when the command line asked for a text (-help, -version, -d
 * help), which has been printed on stdout. Warnings go to `err` too. `argv` must outlive `o`; after OPTIONS_OK options_free() is
 * due. */
int options_parse(struct bt_options *o, int argc, char **argv, FILE *err);
void options_free(struct bt_options *o); /* its entries */
/* -cpu help: the models are the monitor's to list. Nothing else of `o` is checked then. */
static inline bool options_cpu_help(const struct bt_options *o) {
  return o->cpu && (!__builtin_strcmp(o->cpu, "help") || !__builtin_strcmp(o->cpu, "?"));
}
void options_print_help(FILE *out);

/* A line of -help or of the manual page: an option, in parts, or the heading of those that follow. */
struct help_line {
  const char *heading; /* NULL: an option. Otherwise the rest is empty */
  const char *dashes, *name;
  const char *before, *value, *after; /* " FILE", "=N", "[=json]", in parts; empty without a value */
  const char *help;                   /* NULL: another name for the option above */
};
bool options_help_line(unsigned i, struct help_line *line); /* false: there are less than i + 1 */
/* "--name=VALUE" */
static inline void help_line_tag(const struct help_line *l, char *out, size_t size) {
  snprintf(out, size, "%s%s%s%s%s", l->dashes, l->name, l->before, l->value, l->after);
}
