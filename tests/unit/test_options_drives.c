// -drive and its short forms: what they mean, where drives go, what is refused. Run only this: build/unit/test_options_drives
// link: bt_program
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "bt/options/devices.h"
#include "bt/options/drives.h"
#include "bt/options/options.h"
#include "devices/backend.h"

/* In place of devices/device_types.c: devices that take drives and do nothing with them. */
struct front_properties {
  struct block_backend *drive;
  const char *bus;
  uint8_t unit;
};
static const struct property rows[] = {PROPERTY(PROPERTY_DRIVE, front_properties, drive, "drive", NULL, "x"),
                                       PROPERTY(PROPERTY_TEXT, front_properties, bus, "bus", NULL, "x"),
                                       PROPERTY(PROPERTY_NUMBER, front_properties, unit, "unit", NULL, "x"), PROPERTY_END};
static const struct device_type types[] = {
  {.name = "ide-hd", .help = "", .properties = rows, .properties_size = sizeof(struct front_properties)},
  {.name = "ide-cd", .help = "", .properties = rows, .properties_size = sizeof(struct front_properties)},
  {.name = "floppy", .help = "", .properties = rows, .properties_size = sizeof(struct front_properties)},
  {.name = "isa-serial", .help = "", .properties = rows, .properties_size = sizeof(struct front_properties)},
};
static bool without_disks; /* a bt that has none of them */
const struct device_type *device_type_at(unsigned i) { return i < 4 ? &types[i] : NULL; }
const struct device_type *device_type_find(const char *name) {
  for (unsigned i = 0; i < 4 && !without_disks; i++)
    if (!strcmp(types[i].name, name)) return &types[i];
  return NULL;
}

static char said[4096];
static struct bt_options parsed;

/* Words up to NULL, behind `-kernel k -serial none`. */
static int parse_words(char **words) {
  char *argv[64] = {"bt", "-kernel", "k", "-serial", "none"};
  int argc = 5;
  for (; *words && argc < 63; words++) argv[argc++] = *words;
  memset(said, 0, sizeof said);
  options_free(&parsed);
  FILE *err = fmemopen(said, sizeof said - 1, "w");
  int result = options_parse(&parsed, argc, argv, err);
  fclose(err);
  if (result != OPTIONS_OK) parsed.entries = NULL;
  return result;
}
#define PARSE(...) parse_words((char *[]){__VA_ARGS__, NULL})
#define GOOD(...) \
  do { \
    if (PARSE(__VA_ARGS__) != OPTIONS_OK) fail_msg("%s", said); \
  } while (0)
#define BAD(text, ...) \
  do { \
    assert_int_equal(PARSE(__VA_ARGS__), OPTIONS_BAD); \
    if (!strstr(said, text)) fail_msg("'%s', not '%s'", said, text); \
  } while (0)

static struct drive_option drive(const char *id) {
  struct drive_option d = {0};
  char error[PROPERTY_ERROR];
  const struct option_entry *e = entry_find(parsed.entries, "drive", id);
  if (!e) fail_msg("there is no drive %s", id);
  if (!drive_option_read(e, parsed.snapshot, &d, error)) fail_msg("%s", error);
  return d;
}
/* "DRIVER DRIVE BUS UNIT" of all -devices, one behind the other. */
static const char *fronts(void) {
  static char text[512];
  text[0] = 0;
  ENTRIES_OF(parsed.entries, "device", e) {
    const char *bus = entry_value(e, "bus");
    if (!entry_value(e, "drive")) continue;
    sprintf(text + strlen(text), "%s%s %s %s %s", *text ? "; " : "", entry_value(e, "driver"), entry_value(e, "drive"),
            bus ? bus : "-", entry_value(e, "unit"));
  }
  return text;
}

static void short_forms_are_drives(void **state) {
  GOOD("-hda", "a,b.img", "-hdb", "b", "-hdd", "d", "-cdrom", "c.iso", "-fda", "f", "-fdb", "g");
  assert_string_equal(fronts(), "ide-hd ide0-hd0 ide.0 0; ide-hd ide0-hd1 ide.0 1; ide-hd ide1-hd1 ide.1 1; "
                                "ide-cd ide1-cd0 ide.1 0; floppy floppy0 - 0; floppy floppy1 - 1");
  assert_string_equal(drive("ide0-hd0").file, "a,b.img");
  assert_true(drive("ide1-cd0").is_cdrom && drive("ide1-cd0").read_only && !drive("ide0-hd0").read_only);
  GOOD("disk.img");
  assert_string_equal(drive("ide0-hd0").file, "disk.img");
}

static void a_pc_has_an_empty_cd_and_an_empty_floppy_drive(void **state) {
  GOOD("-nographic");
  assert_string_equal(fronts(), "ide-cd ide1-cd0 ide.1 0; floppy floppy0 - 0");
  assert_null(drive("ide1-cd0").file);
  GOOD("-nodefaults");
  assert_string_equal(fronts(), "");
  GOOD("-hdc", "x", "-fda", "y");
  assert_string_equal(fronts(), "ide-hd ide1-hd0 ide.1 0; floppy floppy0 - 0");
  GOOD("-drive", "if=none,id=x,media=cdrom", "-device", "ide-cd,drive=x,bus=ide.0,unit=0");
  assert_string_equal(fronts(), "ide-cd x ide.0 0; floppy floppy0 - 0"); /* as QEMU's: an IDE device of one's own, no CD */
}

static void places_are_taken_in_order(void **state) {
  GOOD("-drive", "file=a", "-drive", "file=b", "-drive", "file=c", "-drive", "file=d", "-drive", "file=e,if=none", "-drive",
       "file=f,if=none");
  assert_string_equal(fronts(),
                      "ide-hd ide0-hd0 ide.0 0; ide-hd ide0-hd1 ide.0 1; ide-hd ide1-hd0 ide.1 0; ide-hd ide1-hd1 ide.1 1; "
                      "floppy floppy0 - 0");
  assert_string_equal(drive("none1").file, "f");
  GOOD("-drive", "file=a,bus=1,unit=1", "-drive", "file=b,bus=1", "-drive", "file=c,index=1,id=mine", "-nodefaults");
  assert_string_equal(fronts(), "ide-hd ide1-hd1 ide.1 1; ide-hd ide1-hd0 ide.1 0; ide-hd mine ide.0 1");
  BAD("bus=0, unit=0 already", "-hda", "a", "-drive", "file=b,index=0");
  BAD("two IDE buses", "-hda", "a", "-hdb", "b", "-hdc", "c", "-hdd", "d", "-drive", "file=e");
  BAD("two IDE buses", "-drive", "file=e,index=4");
  BAD("two IDE buses", "-drive", "file=e,bus=2");
  BAD("a bus has two", "-drive", "file=e,unit=2");
  BAD("two floppy drives", "-drive", "if=floppy,index=2");
  BAD("cannot be used with", "-drive", "file=e,index=0,unit=0");
  BAD("that id already", "-drive", "file=e,id=a,if=none", "-drive", "file=f,id=a");
  BAD("another device has that -drive", "-hda", "x", "-device", "ide-hd,drive=ide0-hd0");
  BAD("there is no -drive with that id", "-device", "ide-hd,drive=nothing");
}

static void cache_modes(void **state) {
  const struct {
    const char *text;
    bool direct, write_cache, no_flush;
  } modes[] = {
    {"file=x", false, true, false},
    {"file=x,cache=writeback", false, true, false},
    {"file=x,cache=none", true, true, false},
    {"file=x,cache=writethrough", false, false, false},
    {"file=x,cache=directsync", true, false, false},
    {"file=x,cache=unsafe", false, true, true},
    {"file=x,cache.direct=on,cache.writeback=off", true, false, false},
    {"file=x,cache=unsafe,cache.no-flush=off", false, true, false},
  };
  for (unsigned i = 0; i < sizeof modes / sizeof modes[0]; i++) {
    GOOD("-drive", (char *)modes[i].text);
    struct drive_option d = drive("ide0-hd0");
    if (d.direct != modes[i].direct || d.write_cache != modes[i].write_cache || d.no_flush != modes[i].no_flush)
      fail_msg("%s", modes[i].text);
  }
  BAD("cache=sometimes: it is writeback", "-drive", "file=x,cache=sometimes");
}

static void properties(void **state) {
  GOOD(
    "-drive",
    "file=x,format=vhd,werror=stop,rerror=ignore,discard=unmap,serial=S1,cyls=100,heads=16,secs=63,aio=io_uring,file.locking=off");
  struct drive_option d = drive("ide0-hd0");
  assert_string_equal(d.format, "vpc");
  assert_string_equal(d.serial, "S1");
  assert_true(d.write_policy == POLICY_STOP && d.read_policy == POLICY_IGNORE && d.discard && !d.locking);
  assert_true(d.cylinders == 100 && d.heads == 16 && d.sectors == 63);
  GOOD("-drive", "file=x");
  d = drive("ide0-hd0");
  assert_true(d.write_policy == POLICY_ENOSPC && d.read_policy == POLICY_REPORT && !d.discard && d.locking && !d.format &&
              !d.cylinders);
  GOOD("-drive", "driver=null-co,size=2G");
  d = drive("ide0-hd0");
  assert_true(!strcmp(d.file, "null-co://") && d.null_size == UINT64_C(2) << 30);
  BAD("no property 'colour'", "-drive", "file=x,colour=red");
  BAD("format=help", "-drive", "file=x,format=papyrus");
  BAD("no encrypted", "-drive", "file=x,format=luks");
  BAD("werror=never", "-drive", "file=x,werror=never");
  BAD("rerror=enospc", "-drive", "file=x,rerror=enospc");
  BAD("media=tape", "-drive", "file=x,media=tape");
  BAD("if=virtio: bt has nothing of the kind", "-drive", "file=x,if=virtio");
  BAD("a disk needs a file=", "-drive", "media=disk");
  BAD("a disk needs a file=", "-hda", "");
}

static void snapshots(void **state) {
  GOOD("-hda", "x", "-snapshot", "-drive", "file=y,snapshot=off", "-cdrom", "z");
  assert_true(drive("ide0-hd0").snapshot && !drive("ide0-hd1").snapshot && !drive("ide1-cd0").snapshot);
  GOOD("-hda", "x");
  assert_false(drive("ide0-hd0").snapshot);
}

static void what_has_no_controller_is_refused(void **state) {
  without_disks = true;
  BAD("-hda x: bt has no IDE drives yet", "-hda", "x");
  BAD("no floppy drives yet", "-fda", "x");
  GOOD("-drive", "file=x,if=none,id=d");
  assert_string_equal(fronts(), "");
  without_disks = false;
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(short_forms_are_drives),
    cmocka_unit_test(a_pc_has_an_empty_cd_and_an_empty_floppy_drive),
    cmocka_unit_test(places_are_taken_in_order),
    cmocka_unit_test(cache_modes),
    cmocka_unit_test(properties),
    cmocka_unit_test(snapshots),
    cmocka_unit_test(what_has_no_controller_is_refused),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  options_free(&parsed);
  return failed;
}
