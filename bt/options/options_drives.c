/* -drive, and what is short for it: -hda to -hdd, -cdrom, -fda, -fdb, a file name by itself. Each makes an entry of the group
 * drive that says its bus, unit and id; when all options are known, those that hang on IDE or on the floppy controller get the
 * -device that they stand for, and the drives that a PC has without a word are added. Order, names and complaints follow
 * QEMU 7.2's. */
#include <stdlib.h>
#include <string.h>
#include "devices.h"
#include "drives.h"
#include "options_handlers.h"

/* ---- places ---- */

static bool is_taken(const struct parser *p, const struct drive_option *wanted, uint32_t bus, uint32_t unit) {
  ENTRIES_OF(p->o->entries, "drive", e) {
    struct drive_option other;
    char error[PROPERTY_ERROR];
    if (drive_option_read(e, false, &other, error) && other.interface == wanted->interface && other.bus == bus &&
        other.unit == unit)
      return true;
  }
  return false;
}

/* Where it goes: the first free place from what is said on. False after a complaint. */
static bool find_place(struct parser *p, struct drive_option *d) {
  uint32_t units = d->interface == DRIVE_IDE ? DRIVE_IDE_UNITS : UINT32_MAX;
  uint32_t bus = d->bus == UINT32_MAX ? 0 : d->bus, unit = d->unit == UINT32_MAX ? 0 : d->unit;
  if (d->unit != UINT32_MAX && is_taken(p, d, bus, unit))
    return options_complain(p, "there is a drive with bus=%u, unit=%u already", bus, unit), false;
  while (is_taken(p, d, bus, unit))
    if (++unit == units) unit = 0, bus++;
  d->bus = bus, d->unit = unit;
  if (d->interface == DRIVE_IDE && bus >= DRIVE_IDE_BUSES)
    return options_complain(p, "there are two IDE buses, with two drives each"), false;
  if (d->interface == DRIVE_FLOPPY && (bus || unit >= DRIVE_FLOPPY_UNITS))
    return options_complain(p, "there are two floppy drives"), false;
  return true;
}

/* What names a drive that has no id=: as QEMU's monitor knows them. */
static void name_drive(const struct drive_option *d, char id[40]) {
  if (d->interface == DRIVE_IDE) snprintf(id, 40, "ide%u-%s%u", d->bus, d->is_cdrom ? "cd" : "hd", d->unit);
  else snprintf(id, 40, "%s%u", d->interface == DRIVE_FLOPPY ? "floppy" : "none", d->unit);
}

/* ---- entries ---- */

static int no_memory(const struct parser *p) { return options_complain(p, "not enough memory"); }

/* The entry, with where it goes written behind it. */
static int add_placed(struct parser *p, const struct drive_option *d, const char *elements) {
  size_t room = strlen(elements) + 80;
  char *text = malloc(room), id[40];
  if (!text) return no_memory(p);
  name_drive(d, id);
  int n = snprintf(text, room, "%s%sbus=%u,unit=%u", elements, *elements ? "," : "", d->bus, d->unit);
  if (!d->id) snprintf(text + n, room - (size_t)n, ",id=%s", id);
  const struct option_entry *made = options_add_entry(p, "drive", text);
  free(text);
  return made ? OPTIONS_OK : OPTIONS_BAD;
}

static void list_formats(void) {
  for (unsigned i = 0; drive_format_at(i); i++) printf("%s%s", i ? " " : "", drive_format_at(i));
  putchar('\n');
}

static int check_drive(struct parser *p, const struct option_entry *e, const char *elements) {
  struct drive_option d;
  char error[PROPERTY_ERROR];
  const char *format = entry_value(e, "format");
  if (entry_value(e, "help")) return properties_help(drive_properties(), stdout), OPTIONS_DONE;
  if (format && (!strcmp(format, "help") || !strcmp(format, "?"))) return list_formats(), OPTIONS_DONE;
  if (entry_value(e, "index") && (entry_value(e, "bus") || entry_value(e, "unit")))
    return options_complain(p, "index= cannot be used with bus= and unit=");
  if (!drive_option_read(e, false, &d, error)) return options_complain(p, "%s", error);
  return find_place(p, &d) ? add_placed(p, &d, elements) : OPTIONS_BAD;
}

/* Read once by itself, to see what it says. */
static int add_drive(struct parser *p, const char *elements) {
  const struct option_entry *list = NULL;
  const char *problem;
  if (!entry_add(&list, "drive", p->option, p->value, elements, &problem)) return options_complain(p, "%s", problem);
  int result = check_drive(p, list, elements);
  entry_free_all(&list);
  return result;
}

int handle_drive(struct parser *p) { return add_drive(p, p->value); }

/* `head` and the file's name, with its commas doubled. */
static int add_file(struct parser *p, const char *head) {
  char *elements = options_escape(head, p->value);
  if (!elements) return no_memory(p);
  int result = add_drive(p, elements);
  free(elements);
  return result;
}

int handle_disk(struct parser *p) {
  static const struct {
    const char *name, *head;
  } disks[] = {
    {"hda", "index=0,media=disk,file="}, {"hdb", "index=1,media=disk,file="},    {"hdc", "index=2,media=disk,file="},
    {"hdd", "index=3,media=disk,file="}, {"cdrom", "index=2,media=cdrom,file="}, {"fda", "if=floppy,index=0,file="},
    {"fdb", "if=floppy,index=1,file="},
  };
  const char *name = p->option + strspn(p->option, "-");
  for (unsigned i = 0; i < sizeof disks / sizeof disks[0]; i++)
    if (!strcmp(disks[i].name, name)) return add_file(p, disks[i].head);
  return options_complain(p, "no such drive");
}

int options_bare_file(struct parser *p) { return add_file(p, "index=0,media=disk,file="); }
int handle_snapshot(struct parser *p) { return p->o->snapshot = true, OPTIONS_OK; }

/* ---- when all options have been read ---- */

static bool has_device(const struct parser *p, const char *names) {
  ENTRIES_OF(p->o->entries, "device", e) {
    const char *driver = entry_value(e, "driver");
    const char *found = driver && *driver ? strstr(names, driver) : NULL;
    size_t length = driver ? strlen(driver) : 0;
    if (found && (found == names || found[-1] == ' ') && (!found[length] || found[length] == ' ')) return true;
  }
  return false;
}

/* A CD drive and a floppy drive, both empty, as QEMU's PC has them. */
static int add_defaults(struct parser *p) {
  const struct drive_option cd = {.interface = DRIVE_IDE}, floppy = {.interface = DRIVE_FLOPPY};
  bool wants_cd = device_type_find("ide-cd") && !has_device(p, "ide-cd ide-hd") && !is_taken(p, &cd, 1, 0);
  bool wants_floppy = device_type_find("floppy") && !has_device(p, "floppy isa-fdc") && !is_taken(p, &floppy, 0, 0);
  int result = OPTIONS_OK;
  if (p->o->nodefaults) return OPTIONS_OK;
  p->option = "-drive", p->value = "index=2,media=cdrom (there without a word, -nodefaults leaves it out)";
  if (wants_cd) result = add_drive(p, "index=2,media=cdrom");
  p->value = "if=floppy,index=0 (there without a word, -nodefaults leaves it out)";
  return wants_floppy && result == OPTIONS_OK ? add_drive(p, "if=floppy,index=0") : result;
}

/* The -device that a drive stands for. */
static int add_front(struct parser *p, const struct drive_option *d) {
  bool floppy = d->interface == DRIVE_FLOPPY;
  char head[80];
  const char *driver = floppy ? "floppy" : d->is_cdrom ? "ide-cd" : "ide-hd";
  if (!device_type_find(driver)) return options_complain(p, "bt has no %s drives yet", floppy ? "floppy" : "IDE");
  if (floppy) snprintf(head, sizeof head, "%s,unit=%u,drive=", driver, d->unit);
  else snprintf(head, sizeof head, "%s,bus=ide.%u,unit=%u,drive=", driver, d->bus, d->unit);
  char *elements = options_escape(head, d->id);
  if (!elements) return no_memory(p);
  const struct option_entry *made = options_add_entry(p, "device", elements);
  free(elements);
  return made ? OPTIONS_OK : OPTIONS_BAD;
}

int options_finish_drives(struct parser *p) {
  int result = add_defaults(p);
  ENTRIES_OF(p->o->entries, "drive", e) {
    struct drive_option d;
    char error[PROPERTY_ERROR];
    if (result != OPTIONS_OK) break;
    p->option = e->option, p->value = e->text;
    if (!drive_option_read(e, p->o->snapshot, &d, error)) return options_complain(p, "%s", error);
    if (d.interface != DRIVE_NONE) result = add_front(p, &d);
  }
  return result;
}
