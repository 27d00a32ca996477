/* options_parse() and all that it hands values to: the input is a command line, a word a line. It is understood, or refused with
 * one line; what is understood is within bounds. */
#include "guided.h"
#include "devices/chips/port92.h"
#include "bt/options/devices.h"
#include "bt/options/drives.h"
#include "bt/options/options.h"

enum { WORDS = 64 };

static void require_kept(const char *text) { REQUIRE(!text || strlen(text) < 1 << 20, "a text that is not of the command line"); }

static void *find_entry(void *opaque, enum property_type type, const char *id) {
  REQUIRE(type == PROPERTY_CHARDEV || type == PROPERTY_DRIVE, "a device with a back end of kind %d", (int)type);
  return (void *)entry_find(opaque, type == PROPERTY_DRIVE ? "drive" : "chardev", id);
}

/* What was understood can be made. */
static void check_entries(const struct bt_options *o) {
  const struct property_world world = {find_entry, (void *)o->entries};
  char error[PROPERTY_ERROR];
  ENTRIES_OF(o->entries, "chardev", e) {
    struct chardev_option c;
    REQUIRE(e->id && chardev_option_read(e, &c, error), "%s", error);
    REQUIRE(c.kind != CHARDEV_FILE || *c.path, "a file without a name");
    REQUIRE(c.kind != CHARDEV_PIPE || *c.path, "FIFOs without a name");
    if (c.kind == CHARDEV_SOCKET && c.path)
      REQUIRE(*c.path && strlen(c.path) <= SOCKET_PATH_MAX && !c.port, "a path of %zu", strlen(c.path));
    if (c.kind == CHARDEV_SOCKET && !c.path) REQUIRE(c.port && *c.port && !c.telnet, "a socket that is nowhere");
  }
  ENTRIES_OF(o->entries, "mon", e)
  REQUIRE(entry_find(o->entries, "chardev", entry_value(e, "chardev")), "a monitor on nothing");
  ENTRIES_OF(o->entries, "drive", e) {
    struct drive_option d;
    REQUIRE(e->id && drive_option_read(e, o->snapshot, &d, error), "%s", error);
    REQUIRE(d.interface != DRIVE_IDE || (d.bus < DRIVE_IDE_BUSES && d.unit < DRIVE_IDE_UNITS), "an IDE disk at %u, %u", d.bus,
            d.unit);
    REQUIRE(d.interface != DRIVE_FLOPPY || (!d.bus && d.unit < DRIVE_FLOPPY_UNITS), "a floppy drive at %u, %u", d.bus, d.unit);
    REQUIRE(d.file || d.interface != DRIVE_IDE || d.is_cdrom, "an IDE disk without a file");
  }
  ENTRIES_OF(o->entries, "device", e) {
    union {
      struct debug_exit_properties exit;
      uint64_t room[32];
    } values;
    const struct device_type *type = device_entry_type(e);
    if (!type) continue;
    REQUIRE(type->properties_size <= sizeof values, "%s has large properties", type->name);
    REQUIRE(device_entry_read(o->entries, e, &values, &world, error), "%s", error);
    if (type == &debug_exit_type)
      REQUIRE(values.exit.iobase + values.exit.iosize <= 0x10000 && values.exit.iosize - 1 < 4, "isa-debug-exit");
  }
}

static void check_understood(const struct bt_options *o) {
  require_kept(o->kernel), require_kept(o->initrd), require_kept(o->append), require_kept(o->cpu);
  require_kept(o->log_file), require_kept(o->symbols), require_kept(o->pidfile), require_kept(o->name);
  if (options_cpu_help(o)) return;
  REQUIRE(!o->kernel || *o->kernel, "a kernel without a name");
  REQUIRE(o->kernel || !(o->initrd || o->append), "an initrd without a kernel");
  REQUIRE(!o->bios || *o->bios, "a BIOS without a name");
  REQUIRE(o->folder_count <= FIRMWARE_FOLDERS && o->option_rom_count <= OPTION_ROMS, "too many");
  for (unsigned i = 0; i < o->option_rom_count; i++) REQUIRE(*o->option_roms[i].path, "an option ROM without a name");
  REQUIRE(o->boot.splash_time >= -1 && o->boot.splash_time <= 65535 && o->boot.reboot_timeout >= -1, "times of -boot");
  REQUIRE(o->ram_size >= 16u << 20 && o->ram_size <= 3ull << 30 && !(o->ram_size & 0xfffff), "RAM of %llu",
          (unsigned long long)o->ram_size);
  check_entries(o);
  REQUIRE(o->rtc_base != RTC_DATE || (o->rtc_date >= 0 && o->rtc_date <= 253402300799), "-rtc base=%lld", (long long)o->rtc_date);
  const struct monitor_options *m = &o->monitor;
  REQUIRE(m->icount_shift >= -1 && m->icount_shift <= 10, "-icount %d", m->icount_shift);
  REQUIRE(m->code_size <= 1u << 30 && !(m->code_size && m->code_size < 64 << 10), "code cache of %zu", (size_t)m->code_size);
  REQUIRE(!(m->log & ~(uint32_t)((1ull << LOG_COUNT) - 1)) && !(m->without & ~(uint32_t)((1ull << OPT_COUNT) - 1)),
          "-d %x --without %x", m->log, m->without);
}

/* Warnings, and a complaint as the last line when there is one. */
static void check_said(char *said, bool complained) {
  unsigned lines = 0;
  for (char *line = said, *end; *line; line = end + 1) {
    end = strchr(line, '\n');
    REQUIRE(end, "the line \"%s\" does not end", line);
    *end = 0;
    require_one_line(line);
    REQUIRE(!strncmp(line, "bt: ", 4), "who says \"%s\"", line);
    if (strncmp(line, "bt: warning: ", 13)) lines++;
  }
  REQUIRE(lines == complained, "%u complaints", lines);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct input in = {data, size};
  struct bt_options o;
  char *text = input_text(&in, size), *argv[WORDS + 2] = {"bt"}, *said = NULL;
  int argc = 1;
  for (char *p = text; size && p && argc <= WORDS;) argv[argc++] = strsep(&p, "\n");
  size_t length;
  FILE *err = open_memstream(&said, &length);
  if (!err) abort();
  int result = options_parse(&o, argc, argv, err);
  fclose(err);
  REQUIRE(result == OPTIONS_OK || result == OPTIONS_BAD || result == OPTIONS_DONE, "result %d", result);
  check_said(said, result == OPTIONS_BAD);
  if (result == OPTIONS_OK) {
    check_understood(&o);
    options_free(&o);
  }
  free(said);
  free(text);
  return 0;
}
