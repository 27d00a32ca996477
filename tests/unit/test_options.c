// The command line. Run only this: build/unit/test_options
// sources: bt/options.c bt/options_machine.c bt/options_axes.c bt/options_qemu.c bt/values.c
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <unistd.h>
#include "bt/options.h"
#include "bt/values.h"

static char said[4096];   /* what the last parse() printed */

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
#define GOOD(...) do { struct bt_options good; assert_int_equal(PARSE(&good, "-kernel", "k", __VA_ARGS__), OPTIONS_OK); assert_string_equal(said, ""); } while (0)

/* One line, ended, that begins with "bt: " and holds `part`. */
static void assert_one_line(const char *part) {
  if (strncmp(said, "bt: ", 4)) fail_msg("said %s", said);
  assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1);
  if (!strstr(said, part)) fail_msg("'%s' does not say '%s'", said, part);
}
#define BAD(part, ...) do { struct bt_options bad; assert_int_equal(PARSE(&bad, __VA_ARGS__), OPTIONS_BAD); assert_one_line(part); } while (0)

static void a_whole_qemu_command_line(void **state) {
  struct bt_options o;
  assert_int_equal(PARSE(&o, "-accel", "tcg,thread=single,tb-size=32", "-machine", "pc,acpi=on", "-cpu", "n270,-sse3", "-m", "256", "-kernel", "vmlinuz",
                         "-initrd", "rd", "-append", "console=ttyS0 panic=-1", "-nographic", "-no-reboot", "-nodefaults", "-serial", "mon:stdio", "-monitor",
                         "none", "-net", "none", "-vga", "none", "-rtc", "base=utc", "-smp", "1", "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-d",
                         "int,guest_errors", "-D", "log", "-name", "x", "--stats=json"), OPTIONS_OK);
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
  static const struct { const char *text; uint64_t mib; } good[] = {
    {"256", 256}, {"256M", 256}, {"1G", 1024}, {"size=32m", 32}, {"1.5G", 1536}, {"3072", 3072}, {"3G", 3072}, {"16", 16}, {"20000K", 20}, {"0.5g", 512}};
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
  assert_int_equal(PARSE(&o, "-kernel", "k", "-serial", "stdio", "-serial", "file:a,b", "-serial", "unix:/tmp/s,server=on,wait=off", "-serial", "none"), OPTIONS_OK);
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
  assert_int_equal(PARSE(&o, "-kernel", "k", "-singlestep", "-d", "nochain", "-accel", "tcg,tb-size=256K", "-icount", "shift=3,sleep=off", "--flush-every=7",
                         "--irq-jitter=12", "--exact-flags", "--paranoid", "1000", "--without=windows,hoist", "--user=translate", "--symbols=m"), OPTIONS_OK);
  assert_true(o.monitor.one_insn && o.monitor.no_chain && o.monitor.exact_flags && o.monitor.irq_jitter);
  assert_int_equal(o.monitor.code_size, 256 << 10);
  assert_int_equal(o.monitor.icount_shift, 3);
  assert_int_equal(o.monitor.flush_every, 7);
  assert_int_equal(o.monitor.irq_jitter_seed, 12);
  assert_int_equal(o.monitor.paranoid, 1000);
  assert_int_equal(o.monitor.without, 1u << OPT_windows | 1u << OPT_hoist);
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
  static const struct { char *option, *value; bool hpet; } hpet[] = {{"-machine", "pc", true}, {"-machine", "hpet=off", false}, {"-M", "pc,hpet=on", true}};
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
  BAD("no such device", "-device", "virtio-blk");
  BAD("iobase", "-device", "isa-debug-exit,iobase=0x10000");
  BAD("end at 0xffff", "-device", "isa-debug-exit,iobase=0xffff,iosize=4");
  BAD("'none' only", "-vga", "std");
  BAD("'none' only", "-net", "user");
}

static void what_qemu_has_and_bt_lacks_is_refused_by_name(void **state) {
  BAD("-hda: QEMU has this option", "-hda", "disk.img");
  BAD("-gdb: QEMU has this option", "-gdb", "tcp::1234");
  BAD("--drive: QEMU has this option", "--drive", "file=x");
  BAD("no such option", "-frobnicate");
  BAD("no such option", "-m=256");
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
  static const char *const words[] = {"-m", "-serial", "-device", "-accel", "-icount", "-d", "--without=", "--stats=", "-machine", "-smp", "-append", "-kernel",
    "-rtc", "-echr", "--user", "-action", "unix:", "isa-debug-exit,", "tcg,", "shift=", "=", ",", "size=", "1", "99999999999999999999", "K", "on", "help,", "-", "\n", "\xff"};
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
    cmocka_unit_test(a_whole_qemu_command_line), cmocka_unit_test(every_option_with_two_dashes), cmocka_unit_test(memory_sizes),
    cmocka_unit_test(serial_ports), cmocka_unit_test(serial_defaults), cmocka_unit_test(axes), cmocka_unit_test(accelerators_and_machines),
    cmocka_unit_test(what_qemu_has_and_bt_lacks_is_refused_by_name), cmocka_unit_test(what_contradicts_itself),
    cmocka_unit_test(cpu_help_needs_no_kernel), cmocka_unit_test(help_lists_what_is_understood), cmocka_unit_test(doubled_commas),
    cmocka_unit_test(random_words),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
