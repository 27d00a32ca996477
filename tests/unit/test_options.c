// The command line. Run only this: build/unit/test_options
// sources: bt/options/options.c bt/options/options_machine.c bt/options/options_axes.c bt/options/options_qemu.c bt/options/values.c
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <unistd.h>
#include "bt/options/options.h"
#include "bt/options/values.h"

static char said[4096]; /* what the last parse() printed */

/* Parses "bt" and the words up to NULL. */
static int parse_words(struct bt_options *o, char **words) {
  char *argv[64] = {"bt"};
  int argc = 1;
  for (; *words && argc < 63; words++) argv[argc++] = *words;
  memset(said, 0, sizeof said);
  FILE *err = fmemopen(said, sizeof said - 1, "w");
  int result = options_parse(o, argc, argv, err);
  fclose(err);
  return result;
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
  assert_true(o.nographic && o.no_reboot && o.nodefaults && o.acpi && o.debug_exit && o.stats && o.stats_json);
  assert_int_equal(o.debug_exit_base, 0xf4);
  assert_int_equal(o.debug_exit_size, 4);
  assert_int_equal(o.serial[0].kind, SERIAL_STDIO);
  assert_true(o.serial[0].mux);
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

static void serial_ports(void **state) {
  struct bt_options o;
  assert_int_equal(PARSE(&o, "-kernel", "k", "-serial", "stdio", "-serial", "file:a,b", "-serial",
                         "unix:/tmp/s,server=on,wait=off", "-serial", "none"),
                   OPTIONS_OK);
  assert_int_equal(o.serial[0].kind, SERIAL_STDIO);
  assert_false(o.serial[0].mux);
  assert_string_equal(o.serial[1].file, "a,b");
  assert_string_equal(o.serial[2].path, "/tmp/s");
  assert_true(o.serial[2].server && !o.serial[2].wait);
  assert_int_equal(o.serial[3].kind, SERIAL_NONE);
  assert_int_equal(PARSE(&o, "-kernel", "k", "-serial", "unix:/tmp/s,server,nowait"), OPTIONS_OK);
  assert_true(o.serial[0].server && !o.serial[0].wait);
  assert_int_equal(PARSE(&o, "-kernel", "k", "-serial", "unix:a,,b"), OPTIONS_OK);
  assert_string_equal(o.serial[0].path, "a,b");
  BAD("four", "-serial", "null", "-serial", "null", "-serial", "null", "-serial", "null", "-serial", "null");
  BAD("only one port", "-kernel", "k", "-serial", "stdio", "-serial", "mon:stdio");
  BAD("no such backend", "-serial", "tcp:localhost:1");
  BAD("no such backend", "-serial", "file:");
  BAD("characters", "-serial", "unix:");
  BAD("server and wait", "-serial", "unix:p,color=red");
}

/* QEMU's defaults: a window's console without -nographic, the terminal with it, nothing with -nodefaults. */
static void serial_defaults(void **state) {
  struct bt_options o;
  PARSE(&o, "-kernel", "k");
  assert_int_equal(o.serial[0].kind, SERIAL_NULL);
  assert_int_equal(o.serial[1].kind, SERIAL_NONE);
  PARSE(&o, "-kernel", "k", "-nographic");
  assert_int_equal(o.serial[0].kind, SERIAL_STDIO);
  assert_true(o.serial[0].mux);
  PARSE(&o, "-nodefaults", "-nographic", "-kernel", "k");
  assert_int_equal(o.serial[0].kind, SERIAL_NONE);
  PARSE(&o, "-nographic", "-serial", "file:f", "-kernel", "k");
  assert_int_equal(o.serial[0].kind, SERIAL_FILE);
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
  BAD("'windoze'", "--without=windoze");
  BAD("not done yet", "--user=auto");
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
  BAD("hpet is on or off", "-machine", "pc,hpet=maybe");
  BAD("no such machine", "-machine", "q35");
  BAD("no such property", "-M", "pc,colour=red");
  BAD("one CPU", "-smp", "4");
  BAD("number of CPUs", "-smp", "");
  BAD("accelerator", "-accel", "magic");
  BAD("64K", "-accel", "tcg,tb-size=1K");
  BAD("no such device", "-device", "flux-capacitor");
  BAD("iobase", "-device", "isa-debug-exit,iobase=0x10000");
  BAD("end at 0xffff", "-device", "isa-debug-exit,iobase=0xffff,iosize=4");
  GOOD("-machine", "pc,usb=off,graphics=off,igd-passthru=off");
  WARNS("USB", "-machine", "pc,usb=on");
  WARNS("memory cannot be added", "-m", "256,slots=2,maxmem=1G");
  BAD("size", "-m", "slots=2,colour=red");
}

/* A guest runs the same without: one line, once, and on it goes. */
static void what_the_guest_does_not_need_warns_once(void **state) {
  WARNS("-full-screen: there is no screen yet", "-full-screen");
  static char *const displays[] = {"gtk", "sdl,gl=on", "curses", "vnc=:1", "egl-headless", "spice-app", "cocoa", "dbus,p2p=on"};
  for (unsigned i = 0; i < sizeof displays / sizeof displays[0]; i++) WARNS("runs without", "-display", displays[i]);
  static char *const adapters[] = {"std", "cirrus", "vmware", "qxl", "virtio"};
  for (unsigned i = 0; i < sizeof adapters / sizeof adapters[0]; i++) WARNS("no display adapter yet", "-vga", adapters[i]);
  static char *const devices[] = {"usb-tablet", "qemu-xhci,id=x", "driver=VGA,vgamem_mb=16",
                                  "AC97",       "virtio-rng-pci", "ich9-usb-ehci1"};
  for (unsigned i = 0; i < sizeof devices / sizeof devices[0]; i++) WARNS("warning: -device", "-device", devices[i]);
  static char *const more[][2] = {{"-usbdevice", "tablet"},
                                  {"-soundhw", "ac97"},
                                  {"-audiodev", "none,id=a"},
                                  {"-audio", "pa"},
                                  {"-netdev", "user,id=n"},
                                  {"-g", "800x600x32"},
                                  {"-uuid", "1"},
                                  {"-smbios", "type=1"},
                                  {"-global", "a.b=c"},
                                  {"-sandbox", "on"},
                                  {"-msg", "timestamp=on"},
                                  {"-vnc", ":1"},
                                  {"-spice", "port=1"},
                                  {"-monitor", "stdio"},
                                  {"-parallel", "file:p"},
                                  {"-rtc", "base=localtime"},
                                  {"-rtc", "base=2020-01-01T00:00:00,clock=vm"},
                                  {"-accel", "kvm"},
                                  {"-machine", "accel=kvm"},
                                  {"-cpu", "host"},
                                  {"-cpu", "host,kvm=off"}};
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
  BAD("-hda disk.img: bt has no disks yet", "-hda", "disk.img");
  BAD("--drive file=x: bt has no disks yet", "--drive", "file=x");
  BAD("no disks", "-cdrom", "x.iso");
  BAD("no disks", "-device", "virtio-blk-pci,drive=d");
  BAD("stub for a debugger", "-gdb", "tcp::1234");
  BAD("stub for a debugger", "-s");
  BAD("leave it out", "-S");
  BAD("no QMP", "-qmp", "unix:q,server");
  BAD("no firmware", "-bios", "b.bin");
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
  BAD("disk", "disk.img");
  BAD("disk", "");
  BAD("disk", "-");
}

static void what_contradicts_itself(void **state) {
  BAD("nothing to boot", "-m", "64");
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
    cmocka_unit_test(axes),
    cmocka_unit_test(accelerators_and_machines),
    cmocka_unit_test(what_the_guest_does_not_need_warns_once),
    cmocka_unit_test(what_changes_nothing_is_silent),
    cmocka_unit_test(every_option_of_qemu_has_a_row),
    cmocka_unit_test(no_shutdown_and_its_action),
    cmocka_unit_test(what_qemu_has_and_the_guest_needs_is_refused),
    cmocka_unit_test(what_contradicts_itself),
    cmocka_unit_test(cpu_help_needs_no_kernel),
    cmocka_unit_test(help_lists_what_is_understood),
    cmocka_unit_test(doubled_commas),
    cmocka_unit_test(random_words),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
