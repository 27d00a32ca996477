/* The list of options, from which -help and the manual page (manual.c) are made, and the loop over argv. What a value means:
 * options_machine.c (the machine), options_firmware.c (what a BIOS boots), options_drives.c, options_devices.c and
 * options_backends.c (devices and their back ends), options_axes.c (logs, statistics, the axes of the translator), options_qemu.c
 * (what does nothing here). */
#include "options.h"
#include <stdarg.h>
#include <string.h>
#include "options_handlers.h"

enum argument {
  ARG_NONE,
  ARG_VALUE,    /* the next argument, as QEMU's */
  ARG_EQUALS,   /* --name=VALUE or --name VALUE: ours */
  ARG_OURS,     /* --name */
  ARG_OPTIONAL, /* --name or --name=VALUE: ours */
};
struct option_row {
  const char *name; /* NULL: `help` is the heading of the rows below */
  enum argument argument;
  const char *value, *help; /* of -help; help NULL: another name for the row above */
  option_handler *handler;
};

static const struct option_row rows[] = {
  {NULL, ARG_NONE, "", "General", NULL},
  {"h", ARG_NONE, "", "print this text", handle_help},
  {"help", ARG_NONE, "", NULL, handle_help},
  {"version", ARG_NONE, "", "print the version", handle_version},
  {NULL, ARG_NONE, "", "What is booted", NULL},
  {"kernel", ARG_VALUE, "FILE", "boot this kernel: bzImage, Multiboot 1, or an ELF file with a PVH note", handle_kernel},
  {"initrd", ARG_VALUE, "FILE", "initial RAM disk; with Multiboot: 'FILE ARGUMENTS,FILE ARGUMENTS' modules", handle_initrd},
  {"append", ARG_VALUE, "TEXT", "the kernel's command line", handle_append},
  {"bios", ARG_VALUE, "FILE", "the firmware that is run where there is no -kernel (default: SeaBIOS's bios-256k.bin)",
   handle_bios},
  {"L", ARG_VALUE, "DIR", "look for firmware in DIR first (up to 16 times); 'help' lists where", handle_folder},
  {"option-rom", ARG_VALUE, "FILE", "an option ROM for the firmware to run", handle_option_rom},
  {"boot", ARG_VALUE, "[order=]acdn[,once=D][,menu=on]...",
   "what the firmware boots: a: floppy, c: disk, d: CD, n: network; once=: the first time; also splash-time=MS, reboot-timeout=MS, "
   "splash=FILE, strict=on",
   handle_boot},
  {"no-fd-bootchk", ARG_NONE, "", "boot floppies whose first sector has no signature, too", handle_nofdbootchk},
  {NULL, ARG_NONE, "", "Disks", NULL},
  {"hda", ARG_VALUE, "FILE", "the first disk of the first IDE bus; a FILE by itself is one, too", handle_disk},
  {"hdb", ARG_VALUE, "FILE", "the second disk of the first IDE bus", handle_disk},
  {"hdc", ARG_VALUE, "FILE", "the first disk of the second IDE bus, in -cdrom's place", handle_disk},
  {"hdd", ARG_VALUE, "FILE", "the second disk of the second IDE bus", handle_disk},
  {"cdrom", ARG_VALUE, "FILE", "the CD in the first drive of the second IDE bus", handle_disk},
  {"fda", ARG_VALUE, "FILE", "the floppy in the first drive (A:)", handle_disk},
  {"fdb", ARG_VALUE, "FILE", "the floppy in the second drive (B:)", handle_disk},
  {"drive", ARG_VALUE, "file=FILE[,if=ide|floppy|none][,KEY=VALUE]...",
   "a drive and its medium; 'help' lists the keys, format=help the formats", handle_drive},
  {"snapshot", ARG_NONE, "", "what is written to any drive is gone when bt ends", handle_snapshot},
  {NULL, ARG_NONE, "", "The machine", NULL},
  {"m", ARG_VALUE, "[size=]N[K|M|G]", "guest RAM, in MiB without a suffix: 16M to 3G (default 128M)", handle_memory},
  {"cpu", ARG_VALUE, "MODEL[,+X][,-X]", "CPU model and features to add or take away; 'help' lists them", handle_cpu},
  {"smp", ARG_VALUE, "1", "number of CPUs: one", handle_smp},
  {"machine", ARG_VALUE, "pc[,accel=tcg][,acpi=on|off][,hpet=on|off]", "the machine: pc is the one there is", handle_machine},
  {"M", ARG_VALUE, "", NULL, handle_machine},
  {"accel", ARG_VALUE, "tcg[,tb-size=N][,split-wx=off]",
   "tcg, with N MiB of code cache (K: N KiB); split-wx=off: one mapping "
   "of it, writable or executable by turns; one-insn-per-tb=on as -singlestep; 'help' says what this host offers",
   handle_accel},
  {"enable-kvm", ARG_NONE, "", "warns, and goes on translating", handle_kvm},
  {"no-acpi", ARG_NONE, "", "no ACPI tables", handle_noacpi},
  {"no-hpet", ARG_NONE, "", "no high precision event timers", handle_nohpet},
  {"rtc", ARG_VALUE, "[base=utc|localtime|DATE][,clock=host|rt|vm][,driftfix=none|slew]",
   "what the clock chip shows at the start (DATE: 2006-06-17T16:01:21); slew: none of its periodic interrupts is left out",
   handle_rtc},
  {"icount", ARG_VALUE, "[shift=]N", "deterministic time: an instruction takes 2^N ns", handle_icount},
  {NULL, ARG_NONE, "", "Devices", NULL},
  {"serial", ARG_VALUE,
   "stdio|mon:stdio|file:F|pipe:F|pty|unix:P[,server=on][,wait=off]|tcp:H:P[,server=on][,wait=off]|null|none",
   "backend of the next serial port (up to four); mon: a monitor shares it; chardev:ID is one of -chardev's", handle_serial},
  {"chardev", ARG_VALUE, "stdio|file|pipe|pty|socket|null,id=ID[,KEY=VALUE]...",
   "a back end for -serial, -mon and -device to name; 'help' lists them, 'NAME,help' what each has", handle_chardev},
  {"debugcon", ARG_VALUE, "stdio|file:F|unix:P|null", "text that the guest writes to port E9h (-device isa-debugcon)",
   handle_debugcon},
  {"nographic", ARG_NONE, "",
   "no display; serial port and monitor on the terminal, Ctrl-A c goes from one to the other (Ctrl-A h lists more)",
   handle_nographic},
  {"echr", ARG_VALUE, "N", "the escape character in place of Ctrl-A (1)", handle_echr},
  {"device", ARG_VALUE, "NAME[,KEY=VALUE]...", "add a device; 'help' lists them, 'NAME,help' what each has", handle_device},
  {"global", ARG_VALUE, "NAME.KEY=VALUE", "a property of every device NAME that is not given its own", handle_global},
  {"usbdevice", ARG_VALUE, "tablet|mouse|keyboard", "warns: there is no USB yet", handle_usbdevice},
  {"nodefaults", ARG_NONE, "", "only the devices that are asked for", handle_nodefaults},
  {"display", ARG_VALUE, "curses|none",
   "where the screen is: in this terminal, text alone (Alt-0: menu; so without a word, where there is a terminal and no -kernel); or "
   "nowhere. Others warn",
   handle_display},
  {"curses", ARG_NONE, "", "as -display curses", handle_curses},
  {"vga", ARG_VALUE, "std|none", "the display adapter: a VGA with Bochs' extensions, or none (default: std)", handle_vga},
  {"monitor", ARG_VALUE, "stdio|unix:P[,server=on][,wait=off]|tcp:H:P|pty|none",
   "a command line to the machine there, as -serial's backends; 'help' lists commands", handle_monitor},
  {"mon", ARG_VALUE, "[chardev=]ID[,mode=readline]", "the same on one of -chardev's", handle_mon},
  {"parallel", ARG_VALUE, "stdio|file:F|pipe:F|pty|unix:P[,server=on][,wait=off]|tcp:H:P|null|none",
   "what the next parallel port prints to (up to three; without a word LPT1 prints to null)", handle_parallel},
  {"net", ARG_VALUE, "none", "there is no network yet", handle_net},
  {"nic", ARG_VALUE, "none", NULL, handle_net},
  {NULL, ARG_NONE, "", "The program", NULL},
  {"S", ARG_NONE, "", "the guest does not start before the monitor's 'cont'", handle_stopped},
  {"no-reboot", ARG_NONE, "", "a reset or triple fault ends the program (status 0)", handle_noreboot},
  {"no-shutdown", ARG_NONE, "", "a guest that powers off stops, and bt stays: Ctrl-A x or SIGTERM ends it", handle_noshutdown},
  {"action", ARG_VALUE, "reboot=reset|shutdown[,shutdown=poweroff|pause]",
   "reboot=shutdown is -no-reboot, shutdown=pause -no-shutdown", handle_action},
  {"name", ARG_VALUE, "TEXT", "name of the machine", handle_name},
  {"pidfile", ARG_VALUE, "FILE", "write the process id there", handle_pidfile},
  {"daemonize", ARG_NONE, "", "go into the background once the machine is made", handle_daemonize},
  {"d", ARG_VALUE, "ITEM,...", "log these; 'help' lists them", handle_log},
  {"D", ARG_VALUE, "FILE", "log to FILE in place of stderr", handle_logfile},
  {NULL, ARG_NONE, "", "QEMU's, for command lines that have them", NULL},
  {"k", ARG_VALUE, "LAYOUT", "accepted, without effect here", handle_ignored},
  {"no-user-config", ARG_NONE, "", NULL, handle_ignored},
  {"poll-sleep", ARG_EQUALS, "auto|MS",
   "a guest that asks its BIOS for a key without end (GRUB's menu, DOS programs) sleeps between two questions: auto (default), where it is proven that its "
   "loop does nothing but ask; MS: so many milliseconds each time, which makes slow what computes between such questions; 0: never",
   handle_poll_sleep},
  {NULL, ARG_NONE, "", "The translator, and what can be seen of it", NULL},
  {"singlestep", ARG_NONE, "", "one instruction a block", handle_singlestep},
  {"stats", ARG_OPTIONAL, "json", "print every counter at the end, on stderr", handle_stats},
  {"symbols", ARG_EQUALS, "FILE", "names for logs: a System.map or an ELF file with symbols", handle_symbols},
  {"user", ARG_EQUALS, "auto|translate|direct",
   "how user code runs: translated; on the CPU itself, in a process of its own; or (auto) so where a program computes "
   "and the host can",
   handle_user},
  {"host", ARG_EQUALS, "native|baseline|NAME,...",
   "which features of the host's CPU are used: all, none, or these; 'help' "
   "lists them",
   handle_host},
  {"without", ARG_EQUALS, "NAME,...", "leave out optimisations; 'help' lists them", handle_without},
  {"exact-flags", ARG_OURS, "", "every flag is kept, dead ones too", handle_exact_flags},
  {"eager", ARG_OURS, "", "every site is translated as those are that have proved costly", handle_eager},
  {"flush-every", ARG_EQUALS, "N", "flush the code cache every N blocks", handle_flush_every},
  {"paranoid", ARG_EQUALS, "N", "rederive everything that is cached every N blocks and compare", handle_paranoid},
  {"irq-jitter", ARG_EQUALS, "SEED", "take interrupts at times drawn from SEED", handle_irq_jitter},
};
enum { ROWS = sizeof rows / sizeof rows[0] };

static void say(const struct parser *p, const char *kind, const char *format, va_list args) {
  char value[128], option[128];
  fprintf(p->err, "bt: %s%s%s", kind, *p->option == '-' ? "" : "--", value_printable(option, p->option));
  if (p->value) fprintf(p->err, " %s", value_printable(value, p->value));
  fputs(": ", p->err);
  vfprintf(p->err, format, args);
  fputc('\n', p->err);
}
int options_complain(const struct parser *p, const char *format, ...) {
  va_list args;
  va_start(args, format);
  say(p, "", format, args);
  va_end(args);
  return OPTIONS_BAD;
}
void options_warn(const struct parser *p, const char *format, ...) {
  va_list args;
  va_start(args, format);
  say(p, "warning: ", format, args);
  va_end(args);
}

bool options_help_line(unsigned i, struct help_line *line) {
  if (i >= ROWS) return false;
  const struct option_row *r = &rows[i];
  bool ours = r->argument >= ARG_EQUALS, optional = r->argument == ARG_OPTIONAL, valued = *r->value;
  if (!r->name) *line = (struct help_line){r->help, "", "", "", "", "", ""};
  else
    *line = (struct help_line){.dashes = ours ? "--" : "-",
                               .name = r->name,
                               .before = !valued    ? ""
                                         : optional ? "[="
                                         : ours     ? "="
                                                    : " ",
                               .value = r->value,
                               .after = valued && optional ? "]" : "",
                               .help = r->help};
  return true;
}

void options_print_help(FILE *out) {
  struct help_line line;
  fputs("usage: bt [options] [disk image]   runs a 16- and 32-bit x86 PC in user space; options have one dash or two\n", out);
  for (unsigned i = 0; options_help_line(i, &line); i++) {
    char left[128];
    if (line.heading) {
      fprintf(out, "\n%s:\n", line.heading);
      continue;
    }
    help_line_tag(&line, left, sizeof left);
    if (!line.help) fprintf(out, "  %s\n", left);
    else if (strlen(left) > 36) fprintf(out, "  %s\n  %36s  %s\n", left, "", line.help);
    else fprintf(out, "  %-36s  %s\n", left, line.help);
  }
  fputs("\nQEMU's other options are taken where that does no harm, with a line that says what is not there, and refused where "
        "the guest would miss it.\n"
        "status: 0 power-off (and a reset under -no-reboot), VALUE*2+1 by isa-debug-exit, 1 bad command line or file,\n"
        "4 a machine that had to stop\n",
        out);
}

/* The row of "-name", "--name" or "--name=value" (*value set); NULL: none. */
static const struct option_row *find_row(const char *argument, const char **value) {
  const char *name = argument + 1 + (argument[1] == '-');
  size_t length = strcspn(name, "=");
  for (unsigned i = 0; i < ROWS; i++) {
    const struct option_row *r = &rows[i];
    if (!r->name || strlen(r->name) != length || strncmp(r->name, name, length)) continue;
    if (name[length] && r->argument != ARG_EQUALS && r->argument != ARG_OPTIONAL) return NULL;
    *value = name[length] ? name + length + 1 : NULL;
    return r;
  }
  return NULL;
}

/* How many letters were left out, put in, changed or swapped with the next, and at most `limit` + 1: optimal string alignment. */
static unsigned typing_errors(const char *a, const char *b, unsigned limit) {
  enum { LONGEST = 24 };
  unsigned table[LONGEST + 1][LONGEST + 1], n = (unsigned)strlen(a), m = (unsigned)strlen(b);
  if (n > LONGEST || m > LONGEST) return limit + 1;
  for (unsigned i = 0; i <= n; i++)
    for (unsigned k = 0; k <= m; k++) {
      unsigned best = i ? k ? table[i - 1][k - 1] + (a[i - 1] != b[k - 1]) : i : k;
      if (i && k && table[i - 1][k] + 1 < best) best = table[i - 1][k] + 1;
      if (i && k && table[i][k - 1] + 1 < best) best = table[i][k - 1] + 1;
      if (i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1] && table[i - 2][k - 2] + 1 < best)
        best = table[i - 2][k - 2] + 1;
      table[i][k] = best;
    }
  return table[n][m];
}

/* The option that was probably meant; NULL where none is near. */
static const char *nearest(const char *name) {
  unsigned length = (unsigned)strlen(name), best = length < 3 ? 0 : length < 6 ? 1 : 2;
  const char *found = NULL, *other;
  for (unsigned i = 0; i < ROWS; i++) {
    if (!rows[i].name) continue; /* a heading */
    unsigned errors = typing_errors(name, rows[i].name, best);
    if (errors < best + !found) best = errors, found = rows[i].name;
  }
  for (unsigned i = 0; (other = qemu_option_name(i)); i++) {
    unsigned errors = typing_errors(name, other, best);
    if (errors < best + !found) best = errors, found = other;
  }
  return found;
}

static int unknown(const struct parser *p) {
  char name[64];
  snprintf(name, sizeof name, "%s", p->option + 1 + (p->option[1] == '-'));
  char *equals = strchr(name, '=');
  const char *meant = nearest(name);
  if (equals) {
    *equals = 0;
    for (unsigned i = 0; i < ROWS; i++)
      if (rows[i].name && !strcmp(rows[i].name, name) && rows[i].argument == ARG_VALUE)
        return options_complain(p, "no such option: the value is the next word (-%s VALUE)", name);
  }
  if (meant) return options_complain(p, "no such option; did you mean -%s? (-help lists them)", meant);
  return options_complain(p, "no such option (-help lists them)");
}

/* An option that only QEMU has. */
static int parse_qemu(struct parser *p, const struct qemu_option *row, int argc, char **argv, int *i) {
  if (qemu_option_has_value(row)) {
    if (*i + 1 >= argc) return options_complain(p, "needs a value");
    p->value = argv[++*i];
  }
  const char *name = p->option + 1 + (p->option[1] == '-'), *implied;
  if (entry_group(name, &implied) && options_keyed(p, name) != OPTIONS_OK) return OPTIONS_BAD;
  return qemu_option_apply(p, row);
}

/* One option, from argv[*i]; *i is left at its last word. */
static int parse_one(struct parser *p, int argc, char **argv, int *i) {
  p->option = argv[*i];
  p->value = NULL;
  if (p->option[0] != '-' || !p->option[1]) {
    p->option = "-hda", p->value = argv[*i];
    return *p->value && strcmp(p->value, "-") ? options_bare_file(p) : options_complain(p, "that is no file name");
  }
  const char *value = NULL;
  const struct option_row *row = find_row(p->option, &value);
  const struct qemu_option *other = row ? NULL : qemu_option_find(p->option + 1 + (p->option[1] == '-'));
  if (!row) return other ? parse_qemu(p, other, argc, argv, i) : unknown(p);
  if (!value && (row->argument == ARG_VALUE || row->argument == ARG_EQUALS)) {
    if (*i + 1 >= argc) return options_complain(p, "needs a value");
    value = argv[++*i];
  }
  p->option = row->argument == ARG_EQUALS || row->argument == ARG_OPTIONAL ? row->name : p->option;
  p->value = value;
  return row->handler(p);
}

/* What follows from all options together, whatever their order. */
static int finish(struct parser *p) {
  struct bt_options *o = p->o;
  if (options_cpu_help(o)) return OPTIONS_OK;
  if (options_finish_devices(p) != OPTIONS_OK) return OPTIONS_BAD;
  const char *problem = !o->kernel && o->append   ? "-append is for -kernel"
                        : !o->kernel && o->initrd ? "-initrd is for -kernel"
                        : p->alone ? "nothing to boot: give a -kernel, or something for its BIOS (-help lists the options)"
                                   : NULL;
  if (!problem && o->kernel && o->bios) fprintf(p->err, "bt: warning: -bios: a -kernel is started without firmware\n");
  if (!problem && o->monitor.poll_sleep > 0 && o->monitor.icount_shift >= 0)
    fprintf(p->err, "bt: warning: --poll-sleep: under -icount a guest sleeps at HLT only\n");
  if (!problem) return OPTIONS_OK;
  fprintf(p->err, "bt: %s\n", problem);
  return OPTIONS_BAD;
}

int options_parse(struct bt_options *o, int argc, char **argv, FILE *err) {
  *o = (struct bt_options){.ram_size = UINT64_C(128) << 20,
                           .acpi = true,
                           .hpet = true,
                           .vga = true,
                           .escape = 1,
                           .boot = {.splash_time = -1, .reboot_timeout = -1},
                           .monitor = {.icount_shift = -1, .poll_sleep = POLL_SLEEP_AUTO, .user = USER_AUTO}};
  struct parser p = {
    .o = o, .err = err, .serial_default = true, .parallel_default = true, .monitor_default = true, .alone = argc <= 1};
  int result = OPTIONS_OK;
  for (int i = 1; i < argc && result == OPTIONS_OK; i++) result = parse_one(&p, argc, argv, &i);
  if (result == OPTIONS_OK) result = finish(&p);
  if (result != OPTIONS_OK) options_free(o);
  return result;
}

void options_free(struct bt_options *o) { entry_free_all(&o->entries); }
