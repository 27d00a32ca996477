// The command line. Run only this: build/unit/test_options
// link: bt_program
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <fcntl.h>
#include <unistd.h>
#include "bt/options/devices.h"
#include "bt/options/options.h"
#include "bt/options/values.h"
#include "devices/chips/debugcon.h"
#include "devices/chips/parallel.h"
#include "devices/chips/port92.h"
#include "devices/chips/uart16550.h"

static char said[4096]; /* what the last parse() printed */

/* The entries of the last parse() but one are freed by the next: tests look at what they have just parsed. */
static const struct option_entry *parsed;

/* Parses "bt" and the words up to NULL. */
static int parse_words(struct bt_options *o, char **words) {
  char *argv[64] = {"bt"};
  int argc = 1;
  for (; *words && argc < 63; words++) argv[argc++] = *words;
  memset(said, 0, sizeof said);
  entry_free_all(&parsed);
  FILE *err = fmemopen(said, sizeof said - 1, "w");
  int result = options_parse(o, argc, argv, err);
  fclose(err);
  parsed = o->entries;
  return result;
}
/* Devices without those that drives stand for (test_options_drives.c). */
static const struct option_entry *nth(const struct bt_options *o, const char *group, unsigned n) {
  ENTRIES_OF(o->entries, group, e)
  if (!entry_value(e, "drive") && !n--) return e;
  return NULL;
}
/* The back end of -chardev or -serial number n, as it will be made; kind -1: there is none. */
static struct chardev_option chardev(const struct bt_options *o, unsigned n) {
  struct chardev_option c = {.kind = (enum chardev_kind) - 1};
  char error[PROPERTY_ERROR];
  const struct option_entry *e = nth(o, "chardev", n);
  if (e && !chardev_option_read(e, &c, error)) fail_msg("%s", error);
  return c;
}
static void *find_entry(void *opaque, enum property_type type, const char *id) {
  return (void *)entry_find(opaque, "chardev", id);
}
/* Into `values`: the properties of device number n. Its name; NULL: there is none. */
static const char *device(const struct bt_options *o, unsigned n, void *values) {
  const struct property_world world = {find_entry, (void *)o->entries};
  char error[PROPERTY_ERROR];
  const struct option_entry *e = nth(o, "device", n);
  if (e && !device_entry_read(o->entries, e, values, &world, error)) fail_msg("%s", error);
  return e ? device_entry_type(e)->name : NULL;
}
#define PARSE(o, ...) parse_words(o, (char *[]){__VA_ARGS__, NULL})
#define GOOD(...) \
  do { \
    struct bt_options good; \
    assert_int_equal(PARSE(&good, "-kernel", "k", __VA_ARGS__), OPTIONS_OK); \
    assert_string_equal(said, ""); \
  } while (0)

/* One line, ended, that begins with "bt: " and holds `part`. */
static void assert_one_line(const char *part) {
  if (strncmp(said, "bt: ", 4)) fail_msg("said %s", said);
  assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1);
  if (!strstr(said, part)) fail_msg("'%s' does not say '%s'", said, part);
}
#define WARNS(part, ...) \
  do { \
    struct bt_options w; \
    assert_int_equal(PARSE(&w, "-kernel", "k", __VA_ARGS__), OPTIONS_OK); \
    assert_one_line("bt: warning: "); \
    assert_one_line(part); \
  } while (0)
#define BAD(part, ...) \
  do { \
    struct bt_options bad; \
    assert_int_equal(PARSE(&bad, __VA_ARGS__), OPTIONS_BAD); \
    assert_one_line(part); \
  } while (0)

static void a_whole_qemu_command_line(void **state) {
  struct bt_options o;
  assert_int_equal(PARSE(&o, "-accel", "tcg,thread=single,tb-size=32", "-machine", "pc,acpi=on", "-cpu", "n270,-sse3", "-m",
                         "256", "-kernel", "vmlinuz", "-initrd", "rd", "-append", "console=ttyS0 panic=-1", "-nographic",
                         "-no-reboot", "-nodefaults", "-serial", "mon:stdio", "-monitor", "none", "-net", "none", "-vga", "none",
                         "-rtc", "base=utc", "-smp", "1", "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-d",
                         "int,guest_errors", "-D", "log", "-name", "x", "--stats=json"),
                   OPTIONS_OK);
  assert_string_equal(said, "");
  assert_int_equal(o.ram_size, 256 << 20);
  assert_int_equal(o.monitor.code_size, 32 << 20);
  assert_string_equal(o.kernel, "vmlinuz");
  assert_string_equal(o.initrd, "rd");
  assert_string_equal(o.append, "console=ttyS0 panic=-1");
  assert_string_equal(o.cpu, "n270,-sse3");
  assert_true(o.nographic && o.no_reboot && o.nodefaults && o.acpi && o.stats && o.stats_json);
  struct debug_exit_properties exit;
  assert_string_equal(device(&o, 1, &exit), "isa-debug-exit");
  assert_int_equal(exit.iobase, 0xf4);
  assert_int_equal(exit.iosize, 4);
  assert_int_equal(chardev(&o, 0).kind, CHARDEV_STDIO);
  assert_true(chardev(&o, 0).mux && !chardev(&o, 0).signal);
  assert_int_equal(o.monitor.log, 1u << LOG_int | 1u << LOG_guest_errors);
  assert_int_equal(o.monitor.icount_shift, -1);
}

static void every_option_with_two_dashes(void **state) {
  struct bt_options o;
  assert_int_equal(PARSE(&o, "--kernel", "k", "--m", "64", "--nographic", "--no-reboot", "--serial", "null"), OPTIONS_OK);
  assert_int_equal(o.ram_size, 64 << 20);
}

static void memory_sizes(void **state) {
  static const struct {
    const char *text;
    uint64_t mib;
  } good[] = {{"256", 256},   {"256M", 256}, {"1G", 1024}, {"size=32m", 32}, {"1.5G", 1536},
              {"3072", 3072}, {"3G", 3072},  {"16", 16},   {"20000K", 20},   {"0.5g", 512}};
  struct bt_options o;
  for (unsigned i = 0; i < sizeof good / sizeof good[0]; i++) {
    assert_int_equal(PARSE(&o, "-kernel", "k", "-m", (char *)good[i].text), OPTIONS_OK);
    assert_int_equal(o.ram_size, good[i].mib << 20);
  }
  assert_int_equal(PARSE(&o, "-kernel", "k"), OPTIONS_OK);
  assert_int_equal(o.ram_size, 128 << 20);
  BAD("16 MiB", "-m", "15");
  BAD("3 GiB", "-m", "64G");
  BAD("3 GiB", "-m", "3073");
  BAD("size", "-m", "-1");
  BAD("size", "-m", "");
  BAD("size", "-m", "12Q");
  BAD("size", "-m", "99999999999999999999999999");
  BAD("needs a value", "-m");
}

/* From device number n on there are only those that a machine has anyway: drives. */
static void no_more_ports(const struct bt_options *o, unsigned n) {
  for (const struct option_entry *e; (e = nth(o, "device", n)); n++)
    if (strstr(entry_value(e, "driver"), "isa-serial") || strstr(entry_value(e, "driver"), "isa-parallel"))
      fail_msg("device %u is %s", n, entry_value(e, "driver"));
}

static void serial_ports(void **state) {
  struct bt_options o;
  struct uart16550_properties port;
  assert_int_equal(PARSE(&o, "-kernel", "k", "-serial", "stdio", "-serial", "file:a,b", "-serial", "none", "-serial",
                         "unix:/tmp/s,server=on,wait=off"),
                   OPTIONS_OK);
  assert_int_equal(chardev(&o, 0).kind, CHARDEV_STDIO);
  assert_true(!chardev(&o, 0).mux && chardev(&o, 0).signal);
  assert_int_equal(chardev(&o, 1).kind, CHARDEV_FILE);
  assert_string_equal(chardev(&o, 1).path, "a,b");
  assert_string_equal(chardev(&o, 2).path, "/tmp/s");
  assert_true(chardev(&o, 2).server && !chardev(&o, 2).wait);
  assert_string_equal(nth(&o, "chardev", 3)->id, "parallel0"); /* what is there by default */
  assert_null(nth(&o, "chardev", 4));
  static const unsigned indices[] = {0, 1, 3};
  for (unsigned i = 0; i < 3; i++) {
    assert_string_equal(device(&o, i, &port), "isa-serial");
    assert_int_equal(port.index, indices[i]);
    assert_ptr_equal(port.chardev, nth(&o, "chardev", i));
  }
  no_more_ports(&o, 4);
  assert_int_equal(PARSE(&o, "-kernel", "k", "-serial", "unix:/tmp/s,server,nowait"), OPTIONS_OK);
  assert_true(chardev(&o, 0).server && !chardev(&o, 0).wait);
  assert_int_equal(PARSE(&o, "-kernel", "k", "-serial", "unix:a,,b"), OPTIONS_OK);
  assert_string_equal(chardev(&o, 0).path, "a,b");
  BAD("four", "-serial", "null", "-serial", "null", "-serial", "null", "-serial", "null", "-serial", "null");
  BAD("only one port", "-kernel", "k", "-serial", "stdio", "-serial", "mon:stdio");
  BAD("no such backend", "-serial", "udp:localhost:1");
  BAD("HOST:PORT", "-serial", "tcp:localhost");
  BAD("telnet", "-serial", "telnet:localhost:1,server=on");
  BAD("no such backend", "-serial", "file:");
  BAD("characters", "-serial", "unix:");
  BAD("no property 'color'; it has path, host, port, server, wait, nodelay, ipv4, ipv6, telnet, reconnect, mux", "-serial",
      "unix:p,color=red");
  BAD("-serial chardev:c: chardev=c: there is no -chardev with that id", "-serial", "chardev:c");
}

/* QEMU's defaults: a window's console without -nographic, the terminal with it, nothing with -nodefaults or where a port is asked
 * for otherwise. */
static void serial_defaults(void **state) {
  struct bt_options o;
  PARSE(&o, "-kernel", "k");
  assert_int_equal(chardev(&o, 0).kind, CHARDEV_NULL);
  assert_string_equal(nth(&o, "device", 1)->pairs[0].value, "isa-parallel");
  no_more_ports(&o, 2);
  PARSE(&o, "-kernel", "k", "-nographic");
  assert_int_equal(chardev(&o, 0).kind, CHARDEV_STDIO);
  assert_true(chardev(&o, 0).mux);
  PARSE(&o, "-nodefaults", "-nographic", "-kernel", "k");
  assert_null(o.entries);
  PARSE(&o, "-nographic", "-serial", "file:f", "-kernel", "k");
  assert_int_equal(chardev(&o, 0).kind, CHARDEV_FILE);
  assert_int_equal(chardev(&o, 2).kind, CHARDEV_STDIO); /* the monitor's */
  assert_null(nth(&o, "chardev", 3));
  PARSE(&o, "-nographic", "-device", "isa-serial", "-device", "isa-parallel", "-kernel", "k");
  assert_null(nth(&o, "chardev", 1));
  no_more_ports(&o, 2);
}

static void parallel_ports(void **state) {
  struct bt_options o;
  struct parallel_properties port;
  PARSE(&o, "-kernel", "k", "-nodefaults", "-parallel", "file:paper,1", "-parallel", "none", "-parallel", "unix:p,server=on");
  assert_string_equal(said, "");
  assert_string_equal(device(&o, 0, &port), "isa-parallel");
  assert_int_equal(port.index, 0);
  assert_string_equal(device(&o, 1, &port), "isa-parallel");
  assert_int_equal(port.index, 2);
  assert_string_equal(chardev(&o, 0).path, "paper,1");
  assert_true(chardev(&o, 1).server);
  no_more_ports(&o, 2);
  PARSE(&o, "-kernel", "k", "-parallel", "none");
  assert_string_equal(device(&o, 0, &(struct uart16550_properties){0}), "isa-serial");
  no_more_ports(&o, 1);
  BAD("three parallel ports", "-parallel", "null", "-parallel", "null", "-parallel", "null", "-parallel", "null");
  BAD("no such backend", "-parallel", "udp:localhost:1");
  BAD("-parallel chardev:c: chardev=c: there is no -chardev with that id", "-kernel", "k", "-parallel", "chardev:c");
  BAD("only one port", "-kernel", "k", "-serial", "stdio", "-parallel", "stdio");
  BAD("index=3: it is a number from 0 to 2", "-kernel", "k", "-device", "isa-parallel,index=3");
}

static void the_clock_chips_time(void **state) {
  struct bt_options o;
  PARSE(&o, "-kernel", "k");
  assert_true(o.rtc_base == RTC_UTC && !o.rtc_slew);
  PARSE(&o, "-kernel", "k", "-rtc", "base=localtime,clock=vm,driftfix=slew");
  assert_string_equal(said, "");
  assert_true(o.rtc_base == RTC_LOCAL_TIME && o.rtc_slew);
  static const struct {
    char *value;
    int64_t seconds;
  } dates[] = {{"base=2006-06-17T16:01:21", 1150560081},
               {"base=1970-01-01", 0},
               {"base=2024-02-29", 1709164800},
               {"base=9999-12-31T23:59:59,clock=rt,driftfix=none", 253402300799}};
  for (unsigned i = 0; i < sizeof dates / sizeof dates[0]; i++) {
    assert_int_equal(PARSE(&o, "-kernel", "k", "-rtc", dates[i].value), OPTIONS_OK);
    assert_true(o.rtc_base == RTC_DATE && o.rtc_date == dates[i].seconds);
  }
  static char *const wrong[] = {"base=",
                                "base",
                                "base=yesterday",
                                "base=1969-12-31",
                                "base=2023-02-29",
                                "base=2024-13-01",
                                "base=2024-00-10",
                                "base=2024-01-00",
                                "base=2024-01-01T24:00:00",
                                "base=2024-01-01T00:00:60",
                                "base=2024-1-1",
                                "base=2024-01-01T00:00:00Z",
                                "clock=sun",
                                "driftfix=maybe",
                                "colour=red",
                                ""};
  for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) BAD("-rtc", "-kernel", "k", "-rtc", wrong[i]);
}

static void the_screen_in_the_terminal(void **state) {
  struct bt_options o;
  GOOD("-display", "curses");
  PARSE(&o, "-kernel", "k", "-curses"); /* monitor and serial port are pages beside it */
  assert_true(chardev(&o, 0).kind == CHARDEV_VC && chardev(&o, 1).kind == CHARDEV_VC);
  assert_string_equal(entry_value(nth(&o, "mon", 0), "chardev"), nth(&o, "chardev", 0)->id);
  PARSE(&o, "-vga", "std", "-serial", "null");
  assert_int_equal(chardev(&o, 0).kind, CHARDEV_NULL);
  assert_int_equal(chardev(&o, 1).kind, CHARDEV_VC);
  PARSE(&o, "-vga", "std", "-display", "none");
  assert_int_equal(chardev(&o, 0).kind, CHARDEV_NULL);
  assert_null(nth(&o, "mon", 0));
  PARSE(&o, "-kernel", "k");
  assert_int_equal(o.display, DISPLAY_DEFAULT);
  PARSE(&o, "-kernel", "k", "-vnc", ":1");
  assert_int_equal(o.display, DISPLAY_NONE);
  PARSE(&o, "-kernel", "k", "-curses");
  assert_int_equal(o.display, DISPLAY_CURSES);
  PARSE(&o, "-kernel", "k", "-display", "type=curses,charset=CP437");
  assert_int_equal(o.display, DISPLAY_CURSES);
  PARSE(&o, "-kernel", "k", "-curses", "-display", "none");
  assert_int_equal(o.display, DISPLAY_NONE);
  BAD("the terminal is the screen's", "-kernel", "k", "-curses", "-serial", "stdio");
  BAD("the terminal is the screen's", "-kernel", "k", "-curses", "-nographic");
  BAD("-daemonize: the screen is in the terminal", "-kernel", "k", "-curses", "-daemonize");
}

/* -nographic has one on the serial port's terminal, "mon:" too; -monitor and -mon make others. */
static void monitors(void **state) {
  struct bt_options o;
  PARSE(&o, "-kernel", "k");
  assert_null(nth(&o, "mon", 0));
  PARSE(&o, "-kernel", "k", "-nographic");
  assert_string_equal(entry_value(nth(&o, "mon", 0), "chardev"), "serial0");
  assert_null(nth(&o, "mon", 1));
  PARSE(&o, "-kernel", "k", "-nographic", "-monitor", "none");
  assert_null(nth(&o, "mon", 0));
  assert_int_equal(chardev(&o, 0).kind, CHARDEV_STDIO);
  assert_false(chardev(&o, 0).mux);
  PARSE(&o, "-kernel", "k", "-serial", "mon:unix:/tmp/s,server=on,wait=off");
  assert_true(chardev(&o, 0).mux && chardev(&o, 0).server);
  assert_string_equal(entry_value(nth(&o, "mon", 0), "chardev"), "serial0");
  PARSE(&o, "-kernel", "k", "-monitor", "tcp:[::1]:4444,server=on,wait=off", "-monitor", "tcp::4444");
  assert_string_equal(chardev(&o, 0).host, "::1");
  assert_string_equal(chardev(&o, 0).port, "4444");
  assert_true(chardev(&o, 0).server && !chardev(&o, 0).wait);
  assert_string_equal(chardev(&o, 1).host, "");
  assert_string_equal(entry_value(nth(&o, "mon", 1), "chardev"), "compat_monitor1");
  PARSE(&o, "-kernel", "k", "-chardev", "pipe,path=/p,id=a", "-mon", "a", "-chardev", "pty,id=b", "-monitor", "chardev:b", "-S");
  assert_int_equal(chardev(&o, 0).kind, CHARDEV_PIPE);
  assert_string_equal(entry_value(nth(&o, "mon", 1), "chardev"), "b");
  assert_true(o.stopped);
  BAD("there is no -chardev with id=x", "-kernel", "k", "-mon", "chardev=x");
  BAD("no QMP", "-kernel", "k", "-chardev", "null,id=x", "-mon", "x,mode=control");
  BAD("it has chardev=, mode=, pretty=", "-kernel", "k", "-chardev", "null,id=x", "-mon", "x,color=red");
  BAD("mux=on", "-kernel", "k", "-chardev", "null,id=x", "-mon", "x", "-mon", "x");
  BAD("a path= or a port=", "-chardev", "socket,id=x,path=p,port=1");
  BAD("it needs a port=", "-chardev", "socket,id=x,host=h");
  BAD("reconnect=0", "-chardev", "socket,id=x,path=p,reconnect=5");
  BAD("only one port or monitor", "-kernel", "k", "-serial", "stdio", "-monitor", "stdio");
}

/* ---- keyed options ---- */

static void assert_pair(const struct option_entry *e, unsigned i, const char *key, const char *value) {
  assert_true(i < e->count);
  assert_string_equal(e->pairs[i].key, key);
  assert_string_equal(e->pairs[i].value, value);
}
static void entries_are_read_as_qemu_reads_them(void **state) {
  const struct option_entry *list = NULL, *e;
  const char *problem;
  static char longest[100000];
  memset(longest, 'x', sizeof longest - 1);
  memcpy(longest, "path=", 5);
  assert_true(
    entry_add(&list, "chardev", "-chardev", "", "socket,id=c-1.a,path=a,,b,,,server,nowait,key=v=w,e=,,,key=2", &problem));
  e = list;
  assert_string_equal(e->id, "c-1.a");
  assert_pair(e, 0, "backend", "socket");
  assert_pair(e, 1, "path", "a,b,");
  assert_pair(e, 2, "server", "on");
  assert_pair(e, 3, "wait", "off");
  assert_pair(e, 4, "key", "v=w");
  assert_pair(e, 5, "e", ",");
  assert_pair(e, 6, "key", "2");
  assert_int_equal(e->count, 7);
  assert_string_equal(entry_value(e, "key"), "2");
  assert_null(entry_value(e, "absent"));
  assert_true(entry_add(&list, "drive", "-drive", "", "snapshot,file=x", &problem)); /* no implied key */
  assert_pair(e->next, 0, "snapshot", "on");
  assert_true(entry_add(&list, "drive", "-drive", "", longest, &problem));
  assert_int_equal(strlen(e->next->next->pairs[0].value), sizeof longest - 1 - 5);
  assert_true(entry_add(&list, "device", "-device", "", "", &problem));
  assert_int_equal(e->next->next->next->count, 0);
  assert_true(entry_add(&list, "device", "-device", "", "x,", &problem));
  assert_int_equal(nth(&(struct bt_options){.entries = list}, "device", 1)->count, 1);
  assert_false(entry_add(&list, "device", "-device", "", "x,=1", &problem));
  assert_false(entry_add(&list, "device", "-device", "", "x,no", &problem));
  assert_false(entry_add(&list, "device", "-device", "", "x,id=7up", &problem));
  assert_false(entry_add(&list, "device", "-device", "", "x,id=", &problem));
  entry_free_all(&list);
  assert_null(list);
}

static void keyed_serial_ports(void **state) {
  struct bt_options o;
  struct uart16550_properties port;
  struct chardev_option c;
  assert_int_equal(PARSE(&o, "-kernel", "k", "-device", "isa-serial,chardev=late,index=2,iobase=0x2000,irq=10", "-chardev",
                         "socket,id=late,path=/tmp/s,server=on,wait=off", "-chardev", "stdio,id=t,mux=on", "-serial",
                         "chardev:t"),
                   OPTIONS_OK);
  assert_string_equal(said, "");
  assert_string_equal(device(&o, 0, &port), "isa-serial");
  assert_true(port.index == 2 && port.iobase == 0x2000 && port.irq == 10);
  assert_ptr_equal(port.chardev, nth(&o, "chardev", 0));
  assert_string_equal(device(&o, 1, &port), "isa-serial");
  assert_true(port.index == 0 && port.iobase == UINT32_MAX);
  c = chardev(&o, 1);
  assert_true(c.kind == CHARDEV_STDIO && c.mux && c.signal);
  assert_string_equal(c.id, "t");
  c = chardev(&o, 0);
  assert_true(c.kind == CHARDEV_SOCKET && c.server && !c.wait);
  BAD("it needs an id=", "-chardev", "stdio");
  BAD("it needs a path=", "-chardev", "file,id=f");
  BAD("characters", "-chardev", "socket,id=s");
  BAD("no such backend (stdio, file, pipe, pty, vc, socket, null)", "-chardev", "udp,id=u");
  BAD("no property 'size'; it has path, append", "-chardev", "file,id=f,path=p,size=3");
  BAD("append=maybe: it is on or off", "-chardev", "file,id=f,path=p,append=maybe");
  BAD("there is a -chardev with that id already", "-chardev", "null,id=a", "-chardev", "null,id=a");
  BAD("chardev=x: there is no -chardev with that id", "-kernel", "k", "-device", "isa-serial,chardev=x");
  BAD("another device has that -chardev", "-kernel", "k", "-chardev", "null,id=a", "-device", "isa-serial,chardev=a", "-device",
      "isa-serial,chardev=a");
  BAD("another device has that -chardev", "-kernel", "k", "-chardev", "null,id=a", "-global", "isa-serial.chardev=a", "-device",
      "isa-serial", "-device", "isa-serial");
  BAD("another device has that -chardev", "-kernel", "k", "-chardev", "null,id=a", "-device", "isa-serial", "-serial",
      "chardev:a", "-global", "isa-serial.chardev=a");
  BAD("-device isa-serial,foo=1: no property 'foo'; it has index, iobase, irq, chardev", "-kernel", "k", "-device",
      "isa-serial,foo=1");
  BAD("index=4: it is a number from 0 to 3", "-kernel", "k", "-device", "isa-serial,index=4");
  BAD("irq=1: it is a number from 3 to 15", "-kernel", "k", "-device", "isa-serial,irq=1");
  BAD("only one port", "-kernel", "k", "-serial", "stdio", "-chardev", "stdio,id=s");
  BAD("a port or monitor is on the terminal", "-kernel", "k", "-chardev", "stdio,id=s", "-daemonize");
}

static void properties_of_all_devices_of_a_kind(void **state) {
  struct bt_options o;
  struct debug_exit_properties exit;
  assert_int_equal(PARSE(&o, "-kernel", "k", "-nodefaults", "-device", "isa-debug-exit,iosize=4", "-global",
                         "isa-debug-exit.iosize=1", "-global", "driver=isa-debug-exit,property=iobase,value=0xf4"),
                   OPTIONS_OK);
  device(&o, 0, &exit);
  assert_int_equal(exit.iobase, 0xf4);
  assert_int_equal(exit.iosize, 4); /* its own goes first */
  PARSE(&o, "-kernel", "k", "-nodefaults", "-device", "isa-debug-exit");
  device(&o, 0, &exit);
  assert_true(exit.iobase == 0x501 && exit.iosize == 2);
  BAD("no property 'foo'; it has iobase, iosize", "-kernel", "k", "-global", "isa-debug-exit.foo=1");
  BAD("iosize=9: it is a number from 1 to 4", "-kernel", "k", "-global", "isa-debug-exit.iosize=9");
  BAD("DEVICE.PROPERTY=VALUE", "-kernel", "k", "-global", "isa-debug-exit");
  BAD("DEVICE.PROPERTY=VALUE", "-kernel", "k", "-global", "a=b.c");
  WARNS("-global PIIX4_PM.disable_s3=1: there is no such device", "-global", "PIIX4_PM.disable_s3=1");
  BAD("there is one already", "-kernel", "k", "-device", "isa-debug-exit", "-device", "isa-debug-exit");
}

/* What -device, -chardev 'help' and 'NAME,help' print names every row. */
static void help_of_devices_names_the_rows(void **state) {
  char text[4096] = {0};
  FILE *f = fmemopen(text, sizeof text - 1, "w");
  device_help(NULL, f);
  chardev_help(NULL, f);
  for (unsigned i = 0; device_type_at(i); i++) device_help(device_type_at(i), f);
  fclose(f);
  for (unsigned i = 0; device_type_at(i); i++) {
    assert_non_null(strstr(text, device_type_at(i)->name));
    for (const struct property *row = device_type_at(i)->properties; row->name; row++) assert_non_null(strstr(text, row->name));
  }
  assert_non_null(strstr(text, "(default 0x501)"));
  assert_non_null(strstr(text, "socket"));
  /* asked for on the command line, it is printed on standard output: not in a test's way */
  struct bt_options o;
  fflush(stdout);
  int out = dup(1), null = open("/dev/null", O_WRONLY);
  dup2(null, 1);
  int results[] = {PARSE(&o, "-device", "help"),  PARSE(&o, "-device", "isa-serial,help"), PARSE(&o, "-device", "?"),
                   PARSE(&o, "-chardev", "help"), PARSE(&o, "-chardev", "socket,help"),    PARSE(&o, "-machine", "help")};
  fflush(stdout);
  dup2(out, 1);
  close(out), close(null);
  for (unsigned i = 0; i < sizeof results / sizeof results[0]; i++) assert_int_equal(results[i], OPTIONS_DONE);
}

static void axes(void **state) {
  struct bt_options o;
  assert_int_equal(PARSE(&o, "-kernel", "k", "-singlestep", "-d", "nochain", "-accel", "tcg,tb-size=256K", "-icount",
                         "shift=3,sleep=off", "--flush-every=7", "--irq-jitter=12", "--exact-flags", "--paranoid", "1000",
                         "--without=windows,hoist", "--user=translate", "--symbols=m"),
                   OPTIONS_OK);
  assert_true(o.monitor.one_insn && o.monitor.no_chain && o.monitor.exact_flags && o.monitor.irq_jitter);
  assert_int_equal(o.monitor.code_size, 256 << 10);
  assert_int_equal(o.monitor.icount_shift, 3);
  assert_int_equal(o.monitor.flush_every, 7);
  assert_int_equal(o.monitor.irq_jitter_seed, 12);
  assert_int_equal(o.monitor.paranoid, 1000);
  assert_int_equal(o.monitor.without, TR_NO_WINDOWS | TR_NO_HOIST);
  PARSE(&o, "-kernel", "k", "-d", "exec");
  assert_true(o.monitor.no_chain);
  assert_int_equal(o.monitor.poll_sleep, POLL_SLEEP_AUTO);
  PARSE(&o, "-kernel", "k", "--poll-sleep=20");
  assert_int_equal(o.monitor.poll_sleep, 20000000);
  PARSE(&o, "-kernel", "k", "--poll-sleep=0");
  assert_int_equal(o.monitor.poll_sleep, 0);
  PARSE(&o, "-kernel", "k", "--poll-sleep=0", "--poll-sleep=auto");
  assert_int_equal(o.monitor.poll_sleep, POLL_SLEEP_AUTO);
  GOOD("-icount", "shift=3", "--poll-sleep=auto");
  WARNS("warning: --poll-sleep: under -icount", "-icount", "shift=3", "--poll-sleep=20");
  BAD("auto, or 0 to 50", "--poll-sleep=51");
  BAD("auto, or 0 to 50", "--poll-sleep=automatic");
  BAD("'windoze'", "--without=windoze");
  BAD("translate, direct or auto", "--user=native");
  BAD("not a number", "--paranoid=x");
  BAD("shift", "-icount", "auto");
  BAD("shift", "-icount", "shift=11");
  BAD("'op_opt'", "-d", "int,op_opt");
  BAD("'help' lists", "-d", "");
}

static void accelerators_and_machines(void **state) {
  struct bt_options o;
  GOOD("-machine", "pc-i440fx-7.2,usb=off,vmport=off,accel=tcg");
  GOOD("-M", "type=pc");
  GOOD("-action", "reboot=shutdown,panic=none");
  GOOD("-nic", "none", "-boot", "c", "-k", "de", "-no-hpet", "-parallel", "null", "-echr", "20", "-display", "none");
  assert_int_equal(PARSE(&o, "-kernel", "k", "-enable-kvm"), OPTIONS_OK);
  assert_one_line("warning");
  assert_int_equal(PARSE(&o, "-kernel", "k", "-machine", "pc,accel=kvm"), OPTIONS_OK);
  assert_one_line("warning");
  GOOD("-machine", "pc,accel=kvm:tcg");
  assert_int_equal(PARSE(&o, "-kernel", "k", "-no-acpi"), OPTIONS_OK);
  assert_false(o.acpi);
  static const struct {
    char *option, *value;
    bool hpet;
  } hpet[] = {{"-machine", "pc", true}, {"-machine", "hpet=off", false}, {"-M", "pc,hpet=on", true}};
  for (unsigned i = 0; i < sizeof hpet / sizeof hpet[0]; i++) {
    assert_int_equal(PARSE(&o, "-kernel", "k", hpet[i].option, hpet[i].value), OPTIONS_OK);
    assert_int_equal(o.hpet, hpet[i].hpet);
  }
  assert_int_equal(PARSE(&o, "-kernel", "k", "-no-hpet"), OPTIONS_OK);
  assert_false(o.hpet);
  BAD("hpet=maybe: it is on or off", "-machine", "pc,hpet=maybe");
  BAD("no such machine", "-machine", "q35");
  BAD("no property 'colour'; it has acpi, hpet", "-M", "pc,colour=red");
  GOOD("-M", "pc,smm,noigd-passthru"); /* short forms */
  BAD("bt's machine has pit=on only", "-M", "pc,pit=off");
  BAD("one CPU", "-smp", "4");
  BAD("number of CPUs", "-smp", "");
  BAD("accelerator", "-accel", "magic");
  BAD("64K", "-accel", "tcg,tb-size=1K");
  BAD("no such device", "-device", "flux-capacitor");
  BAD("iobase=0x10000: it is a number from 0 to 0xffff", "-device", "isa-debug-exit,iobase=0x10000");
  BAD("end at 0xffff", "-device", "isa-debug-exit,iobase=0xffff,iosize=4");
  GOOD("-machine", "pc,usb=off,graphics=off,igd-passthru=off");
  WARNS("USB", "-machine", "pc,usb=on");
  WARNS("memory cannot be added", "-m", "256,slots=2,maxmem=1G");
  BAD("size", "-m", "slots=2,colour=red");
}

/* A guest runs the same without: one line, once, and on it goes. */
static void what_the_guest_does_not_need_warns_once(void **state) {
  WARNS("-full-screen: there is no window yet", "-full-screen");
  static char *const displays[] = {"gtk", "sdl,gl=on", "vnc=:1", "egl-headless", "spice-app", "cocoa", "dbus,p2p=on"};
  for (unsigned i = 0; i < sizeof displays / sizeof displays[0]; i++) WARNS("runs without", "-display", displays[i]);
  static char *const adapters[] = {"cirrus", "vmware", "qxl", "virtio"};
  for (unsigned i = 0; i < sizeof adapters / sizeof adapters[0]; i++)
    BAD("-vga std is what every system has a driver for", "-kernel", "k", "-vga", adapters[i]);
  static char *const devices[] = {"usb-tablet", "qemu-xhci,id=x", "driver=VGA,vgamem_mb=16",
                                  "AC97",       "virtio-rng-pci", "ich9-usb-ehci1"};
  for (unsigned i = 0; i < sizeof devices / sizeof devices[0]; i++) WARNS("warning: -device", "-device", devices[i]);
  static char *const more[][2] = {{"-usbdevice", "tablet"}, {"-soundhw", "ac97"},     {"-audiodev", "none,id=a"},
                                  {"-audio", "pa"},         {"-netdev", "user,id=n"}, {"-g", "800x600x32"},
                                  {"-uuid", "1"},           {"-smbios", "type=1"},    {"-global", "a.b=c"},
                                  {"-sandbox", "on"},       {"-msg", "timestamp=on"}, {"-vnc", ":1"},
                                  {"-spice", "port=1"},     {"-accel", "kvm"},        {"-machine", "accel=kvm"},
                                  {"-cpu", "host"},         {"-cpu", "host,kvm=off"}};
  for (unsigned i = 0; i < sizeof more / sizeof more[0]; i++) WARNS(more[i][0], more[i][0], more[i][1]);
  WARNS("-usb:", "-usb", "-usb", "-usb");
  BAD("no such display", "-kernel", "k", "-display", "crt");
  BAD("no such display adapter", "-kernel", "k", "-vga", "");
  BAD("no such backend", "-kernel", "k", "-monitor", "carrier-pigeon");
  BAD("no such network", "-kernel", "k", "-net", "");
}

/* Without a word: a machine like ours is so anyway. */
static void what_changes_nothing_is_silent(void **state) {
  GOOD("-snapshot", "-no-fd-bootchk", "-no-user-config", "-only-migratable", "-win2k-hack", "-async-teardown",
       "-enable-sync-profile");
  GOOD("-compat", "deprecated-input=accept", "-watchdog-action", "none", "-vga", "none", "-display", "none", "-net", "none",
       "-monitor", "null");
  GOOD("-boot", "order=c,menu=off", "-k", "en-us", "-smp", "1", "-m", "size=256M", "-rtc", "base=utc,clock=host,driftfix=slew");
}

/* Every option that qemu-system-i386 7.2 -help lists is known here, and asks for a value where QEMU's does. */
static void every_option_of_qemu_has_a_row(void **state) {
  static const char with[] =
    "D L accel acpitable action add-fd append audio audiodev bios blockdev boot cdrom chardev chroot "
    "compat cpu d debugcon device dfilter display "
    "drive dtb dump-vmstate echr fda fdb fsdev fw_cfg gdb global hda hdb hdc hdd icount incoming initrd iscsi k kernel loadvm m "
    "machine M mem-path mon monitor msg mtdblock "
    "name net netdev nic numa object option-rom overcommit parallel pflash pidfile plugin qmp qmp-pretty readconfig rotate rtc "
    "runas sandbox sd seed serial set smbios smp "
    "spice tpmdev trace usbdevice uuid vga virtfs vnc watchdog-action xen-domid";
  static const char without[] =
    "S s async-teardown audio-help daemonize enable-kvm enable-sync-profile full-screen no-acpi "
    "no-fd-bootchk no-hpet no-reboot no-shutdown "
    "no-user-config nodefaults nographic only-migratable portrait preconfig singlestep snapshot usb win2k-hack xen-attach "
    "xen-domid-restrict mem-prealloc";
  const char *const lists[] = {with, without};
  for (unsigned i = 0; i < 2; i++) {
    char words[sizeof with], option[32];
    strcpy(words, lists[i]);
    for (char *word = strtok(words, " "); word; word = strtok(NULL, " ")) {
      struct bt_options o;
      snprintf(option, sizeof option, "-%s", word);
      PARSE(&o, "-kernel", "k", option);
      if (strstr(said, "no such option")) fail_msg("%s: %s", option, said);
      if (!!strstr(said, "needs a value") != !i)
        fail_msg("%s: %s a value: %s", option, i ? "asks for" : "does not ask for", said);
    }
  }
}

static void no_shutdown_and_its_action(void **state) {
  struct bt_options o;
  PARSE(&o, "-kernel", "k");
  assert_false(o.no_shutdown);
  PARSE(&o, "-kernel", "k", "-no-shutdown");
  assert_true(o.no_shutdown);
  PARSE(&o, "-kernel", "k", "-action", "shutdown=pause,reboot=shutdown");
  assert_true(o.no_shutdown && o.no_reboot);
  PARSE(&o, "-kernel", "k", "-no-shutdown", "-action", "shutdown=poweroff");
  assert_false(o.no_shutdown);
}

/* What a guest would miss, and what others would wait for. */
static void what_qemu_has_and_the_guest_needs_is_refused(void **state) {
  BAD("no such disk", "-device", "virtio-blk-pci,drive=d");
  BAD("-drive file=FILE", "-blockdev", "driver=file,filename=x,node-name=d");
  BAD("stub for a debugger", "-gdb", "tcp::1234");
  BAD("stub for a debugger", "-s");
  BAD("no QMP", "-qmp", "unix:q,server");
  BAD("no flash memory", "-pflash", "b.bin");
  BAD("no network", "-net", "user,hostfwd=tcp::2222-:22");
  BAD("no network", "-nic", "user");
  BAD("no network", "-device", "e1000,netdev=n");
  BAD("tb-size=N", "-tb-size", "64");
  BAD("needs a value", "-cdrom");
  BAD("no such option", "-frobnicate");
  BAD("the value is the next word (-m VALUE)", "-m=256");
  BAD("did you mean -nographic?", "-kernel", "k", "-nografic");
  BAD("did you mean -kernel?", "-kenrel", "k");
  BAD("did you mean -full-screen?", "-fullscreen");
  BAD("no such option (-help", "-zz");
  BAD("no file name", "");
  BAD("no file name", "-");
}

/* What the firmware is and is told; without a kernel it is run. */
static void firmware_and_what_it_boots(void **state) {
  struct bt_options o;
  assert_int_equal(parse_words(&o, (char *[]){NULL}), OPTIONS_BAD);
  assert_one_line("nothing to boot");
  assert_int_equal(PARSE(&o, "-m", "64"), OPTIONS_OK);
  assert_true(!o.kernel && !o.bios && !o.boot.order && o.boot.splash_time == -1 && o.boot.reboot_timeout == -1);
  assert_int_equal(PARSE(&o, "-bios", "b", "-L", "x", "-L", "y,z", "-boot", "da", "-boot", "menu=on,once=c,strict", "-option-rom",
                         "a.rom", "-option-rom", "romfile=b.rom,bootindex=3", "-no-fd-bootchk"),
                   OPTIONS_OK);
  assert_string_equal(o.bios, "b");
  assert_int_equal(o.folder_count, 2);
  assert_string_equal(o.folders[1], "y,z");
  assert_string_equal(o.boot.order, "da");
  assert_string_equal(o.boot.once, "c");
  assert_true(o.boot.menu == FIRMWARE_ON && o.boot.strict == FIRMWARE_ON && o.boot.floppy_unchecked);
  assert_int_equal(o.option_rom_count, 2);
  assert_string_equal(o.option_roms[1].path, "b.rom");
  assert_true(o.option_roms[0].bootindex == UINT32_MAX && o.option_roms[1].bootindex == 3);
  assert_int_equal(PARSE(&o, "-boot", "order=n,splash-time=65535,reboot-timeout=-1,splash=s.bmp,menu=off"), OPTIONS_OK);
  assert_true(o.boot.splash_time == 65535 && o.boot.reboot_timeout == -1 && o.boot.menu == FIRMWARE_OFF);
  assert_string_equal(o.boot.splash, "s.bmp");
  BAD("'z' is no drive", "-boot", "az");
  BAD("twice", "-boot", "once=cc");
  BAD("on or off", "-boot", "menu=maybe");
  BAD("65535", "-boot", "splash-time=65536");
  BAD("65535", "-boot", "reboot-timeout=-2");
  BAD("there are order", "-boot", "colour=red");
  BAD("no property 'men?u': there", "-boot", "men\1u=on"); /* one line, whatever the key */
  BAD("names no file", "-option-rom", "bootindex=1");
  BAD("no property", "-option-rom", "a.rom,colour=red");
  BAD("empty", "-bios", "");
  BAD("empty", "-L", "");
  PARSE(&o, "-kernel", "k", "-bios", "b");
  assert_one_line("without firmware");
}

static void debugcon_is_a_device_with_a_back_end(void **state) {
  struct bt_options o;
  struct debugcon_properties p;
  assert_int_equal(PARSE(&o, "-debugcon", "file:a,b", "-global", "isa-debugcon.iobase=0x402", "-nodefaults"), OPTIONS_OK);
  assert_string_equal(device(&o, 0, &p), "isa-debugcon");
  assert_true(p.iobase == 0x402 && p.readback == 0xe9 && p.chardev);
  assert_string_equal(chardev(&o, 0).path, "a,b");
  BAD("no such backend", "-debugcon", "carrier-pigeon");
  BAD("that id already", "-debugcon", "null", "-debugcon", "null");
  BAD("needs a chardev=", "-device", "isa-debugcon");
  BAD("one port or monitor can be on the terminal", "-debugcon", "stdio", "-serial", "stdio");
}

static void what_contradicts_itself(void **state) {
  BAD("-append", "-append", "x");
  BAD("-initrd", "-initrd", "x");
  BAD("-daemonize", "-kernel", "k", "-nographic", "-daemonize");
  BAD("empty", "-kernel", "");
  BAD("no such option", "-kernel", "k", "-\n\nbt: x");
}

/* -cpu help needs no kernel: the program lists the models. */
static void cpu_help_needs_no_kernel(void **state) {
  struct bt_options o;
  assert_int_equal(PARSE(&o, "-cpu", "help"), OPTIONS_OK);
  assert_true(options_cpu_help(&o));
}

/* Help names every option, and the table knows what it names. */
static void help_lists_what_is_understood(void **state) {
  static char text[16384];
  FILE *f = fmemopen(text, sizeof text, "w");
  options_print_help(f);
  fclose(f);
  unsigned found = 0;
  for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
    char name[64];
    if (sscanf(line, "  %63[-a-zA-Z]", name) != 1 || name[0] != '-') continue;
    found++;
    struct bt_options o;
    if (!strcmp(name, "-h") || !strcmp(name, "-help") || !strcmp(name, "-version")) continue;
    PARSE(&o, name, "\x01");
    assert_null(strstr(said, "no such option"));
  }
  assert_true(found > 40);
}

static void doubled_commas(void **state) {
  struct suboption s;
  bool bad = false;
  const char *text = "a=b,,c,d";
  assert_true(value_next(&text, &s, &bad));
  assert_string_equal(s.key, "a");
  assert_string_equal(s.value, "b,c");
  assert_true(value_next(&text, &s, &bad));
  assert_string_equal(s.text, "d");
  assert_null(s.value);
  assert_false(value_next(&text, &s, &bad));
  assert_false(bad);
}

/* Any words at all: an answer, and for a refusal one line. Sanitizers watch. */
static void random_words(void **state) {
  static const char *const words[] = {"-m",
                                      "-serial",
                                      "-device",
                                      "-accel",
                                      "-icount",
                                      "-d",
                                      "--without=",
                                      "--stats=",
                                      "-machine",
                                      "-smp",
                                      "-append",
                                      "-kernel",
                                      "-display",
                                      "-vga",
                                      "-usb",
                                      "-netdev",
                                      "-nografic",
                                      "-m=",
                                      "slots=",
                                      "vnc=",
                                      "-rtc",
                                      "-echr",
                                      "--user",
                                      "-action",
                                      "unix:",
                                      "isa-debug-exit,",
                                      "isa-serial,",
                                      "-chardev",
                                      "-global",
                                      "-drive",
                                      "socket,",
                                      "file,",
                                      "id=a",
                                      "chardev=",
                                      "path=",
                                      "isa-serial.",
                                      "tcg,",
                                      "shift=",
                                      "=",
                                      ",",
                                      "size=",
                                      "1",
                                      "99999999999999999999",
                                      "K",
                                      "on",
                                      "help,",
                                      "-",
                                      "\n",
                                      "\xff"};
  srand(1);
  for (int round = 0; round < 20000; round++) {
    char text[12][400];
    char *list[13] = {0};
    int n = rand() % 12;
    for (int i = 0; i < n; i++) {
      text[i][0] = 0;
      for (int k = rand() % 5; k >= 0; k--) strcat(text[i], words[rand() % (int)(sizeof words / sizeof words[0])]);
      if (rand() % 20 == 0) memset(text[i] + strlen(text[i]), 'a' + rand() % 4, 300), text[i][399] = 0;
      list[i] = text[i];
      text[i][390] = 0;
    }
    struct bt_options o;
    int result = parse_words(&o, list);
    if (result == OPTIONS_BAD) {
      char *last = strrchr(said, '\n');
      assert_non_null(last);
      assert_int_equal(last[1], 0);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_whole_qemu_command_line),
    cmocka_unit_test(every_option_with_two_dashes),
    cmocka_unit_test(memory_sizes),
    cmocka_unit_test(serial_ports),
    cmocka_unit_test(serial_defaults),
    cmocka_unit_test(monitors),
    cmocka_unit_test(parallel_ports),
    cmocka_unit_test(the_clock_chips_time),
    cmocka_unit_test(the_screen_in_the_terminal),
    cmocka_unit_test(entries_are_read_as_qemu_reads_them),
    cmocka_unit_test(keyed_serial_ports),
    cmocka_unit_test(properties_of_all_devices_of_a_kind),
    cmocka_unit_test(help_of_devices_names_the_rows),
    cmocka_unit_test(axes),
    cmocka_unit_test(accelerators_and_machines),
    cmocka_unit_test(what_the_guest_does_not_need_warns_once),
    cmocka_unit_test(what_changes_nothing_is_silent),
    cmocka_unit_test(every_option_of_qemu_has_a_row),
    cmocka_unit_test(no_shutdown_and_its_action),
    cmocka_unit_test(what_qemu_has_and_the_guest_needs_is_refused),
    cmocka_unit_test(firmware_and_what_it_boots),
    cmocka_unit_test(debugcon_is_a_device_with_a_back_end),
    cmocka_unit_test(what_contradicts_itself),
    cmocka_unit_test(cpu_help_needs_no_kernel),
    cmocka_unit_test(help_lists_what_is_understood),
    cmocka_unit_test(doubled_commas),
    cmocka_unit_test(random_words),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
