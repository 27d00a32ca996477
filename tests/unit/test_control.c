// Every command of the monitor on a machine in the test's process, whose guest is some instructions; standing still and going on;
// random lines. Run only this: build/unit/test_control
// link: bt_program
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include "bt/control/command.h"
#include "bt/control/control.h"
#include "bt/machine.h"
#include "fixed_entries.h"

#define GUEST(name, code) \
  __asm__(".pushsection .rodata\n .code32\n .balign 16\n .globl guest_" #name "\n guest_" #name ":\n" \
          " .long 0x1badb002, 0x10000, -(0x1badb002 + 0x10000), 0x100000, 0x100000, 0x101000, 0x102000, 0x100020\n" \
          " .set base_" #name ", guest_" #name "\n" code "\n .org guest_" #name " + 4096\n .code64\n .popsection\n"); \
  extern const uint8_t guest_##name[4096]
/* Counts in EBX for ever. */
GUEST(count, "1: inc %ebx\n jmp 1b\n");
GUEST(halt, "1: cli\n hlt\n jmp 1b\n");
/* Counts at 300000h whenever the PM timer is another. */
GUEST(timer, " mov $0x608, %dx\n 1: in %dx, %eax\n cmp %eax, %ecx\n je 1b\n mov %eax, %ecx\n incl 0x300000\n jmp 1b\n");
GUEST(power_off, " incl 0x300000\n mov $0x604, %dx\n mov $0x2000, %ax\n out %ax, %dx\n 1: hlt\n jmp 1b\n");

/* ---- a machine with a monitor whose other end is the test ---- */

struct fixture {
  struct char_backend back; /* first */
  char folder[32], path[64];
  struct bt_options o;
  struct machine *m;
  struct text said;
  pthread_t thread;
};
static void hear(struct char_backend *b, const uint8_t *bytes, unsigned n) {
  text_put(&((struct fixture *)b)->said, (const char *)bytes, n);
}
static const struct char_ops ops = {.write = hear};

static void make(struct fixture *f, const uint8_t image[4096]) {
  char error[ERROR_TEXT];
  strcpy(f->folder, "/tmp/bt-control-XXXXXX");
  assert_non_null(mkdtemp(f->folder));
  snprintf(f->path, sizeof f->path, "%s/k", f->folder);
  FILE *k = fopen(f->path, "w");
  assert_int_equal(fwrite(image, 1, 4096, k), 4096);
  fclose(k);
  f->o.ram_size = 16 << 20, f->o.kernel = f->path, f->o.acpi = f->o.hpet = true;
  f->o.entries = &fixed_serial;
  f->o.monitor.icount_shift = -1;
  f->o.name = "the machine's name";
  f->m = machine_create(&f->o, NULL, error);
  if (!f->m) fail_msg("%s", error);
  f->back.ops = &ops;
  f->m->controls = controls_create(f->m);
  const struct control_place place = {.back = &f->back};
  assert_true(f->m->controls && controls_add(f->m->controls, &place));
}
static void unmake(struct fixture *f) {
  machine_destroy(f->m);
  text_free(&f->said);
  unlink(f->path);
  rmdir(f->folder);
}

/* vCPU thread: a line, as its back end would hand it over; what was said, without the prompt behind it. */
static const char *tell(struct fixture *f, const char *line) {
  const struct char_front *front = &f->back.front;
  text_clear(&f->said);
  for (; *line; line++) front->receive(front->opaque, (const uint8_t *)line, 1);
  front->receive(front->opaque, (const uint8_t *)"\n", 1);
  if (f->said.size >= 5) f->said.bytes[f->said.size -= 5] = 0;
  return text_string(&f->said);
}
static void says(struct fixture *f, const char *line, const char *part) {
  const char *said = tell(f, line);
  if (strstr(said, part)) return;
  print_error("'%s': there is no '%s' in what was said:\n", line, part);
  fputs(said, stderr);
  fail();
}

static void *run(void *opaque) {
  machine_run(((struct fixture *)opaque)->m);
  return NULL;
}
static void start(struct fixture *f) { assert_int_equal(pthread_create(&f->thread, NULL, run, f), 0); }
static void nap(int ms) {
  struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
  nanosleep(&t, NULL);
}

/* From another thread: the line is run by a post, as input is. */
struct told {
  struct fixture *f;
  const char *line;
  char said[4096];
  atomic_bool done;
};
static void tell_now(void *opaque) {
  struct told *t = opaque;
  snprintf(t->said, sizeof t->said, "%s", tell(t->f, t->line));
  atomic_store(&t->done, true);
}
static const char *ask(struct fixture *f, const char *line) {
  static struct told t;
  t.f = f, t.line = line;
  atomic_store(&t.done, false);
  assert_true(machine_post(f->m, tell_now, &t));
  for (int i = 0; i < 5000 && !atomic_load(&t.done); i++) nap(1);
  if (!atomic_load(&t.done)) fail_msg("no answer to '%s'", line);
  return t.said;
}
static unsigned long number(struct fixture *f, const char *line) { return strtoul(ask(f, line), NULL, 0); }
static void end(struct fixture *f) {
  machine_quit(f->m);
  pthread_join(f->thread, NULL);
}

/* ---- what is shown ---- */

static void every_row_has_what_it_needs(void **state) {
  const struct command *const lists[] = {help_commands,  machine_commands, memory_commands, input_commands,
                                         media_commands, missing_commands, cpu_infos,       page_infos,
                                         chip_infos,     map_infos,        machine_infos,   missing_infos};
  for (unsigned i = 0; i < sizeof lists / sizeof lists[0]; i++)
    for (const struct command *row = lists[i]; row->name; row++) {
      if (!row->run != !!row->refused) fail_msg("%s: it can be done, or it says why not", row->name);
      if (row->run && (!row->help || !row->takes)) fail_msg("%s has no help", row->name);
      if (strlen(row->name) > 30 || strchr(row->name, ' ')) fail_msg("%s is no name", row->name);
    }
}

static void commands_show_the_machine(void **state) {
  struct fixture f = {0};
  static const char *const rows[][2] = {
    {"info registers", "EIP=00100020 EFL=00000002 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=0"},
    {"info registers -a", "CS =0008 00000000 ffffffff 00cf9b00 DPL=0 CS32 [-RA]"},
    {"info mem", "PG disabled"},
    {"info tlb", "PG disabled"},
    {"info pic", "pic0: irr="},
    {"info lapic", "SPIV"},
    {"info irq", "Interrupts taken"},
    {"info pci", "8086:7000"},
    {"info mtree", "03f8-03ff"},
    {"info qtree", "dev: isa-serial"},
    {"info status", "VM status: running"},
    {"info name", "the machine's name"},
    {"info chardev", "serial0: filename=null"},
    {"info cpus", "* CPU #0"},
    {"info jit", "translations"},
    {"info mice", "PS/2"},
    {"info memory_size_summary", "base memory: 16777216"},
    {"info roms", ""},
    {"info block", ""},
    {"info blockstats", ""},
    {"eject nosuch", "Device 'nosuch' not found"},
    {"change nosuch /tmp/x", "Device 'nosuch' not found"},
    {"system_wakeup", "no S3"},
    {"info history", "0: 'info registers'"},
    {"info", "info pic  -- "},
    {"help", "quit|q  -- quit the emulator"},
    {"? x", "x /fmt addr -- virtual memory dump"},
    {"help savevm", "cannot be saved"},
    {"x/4xw 0x100000", "00100000: 0x1badb002 0x00010000"},
    {"xp/4xb 0x100000", "0000000000100000: 0x02 0xb0 0xad 0x1b"},
    {"x/2i 0x100020", "0x00100020:  43 "},
    {"p/x $eip+1", "0x100021"},
    {"p $ebx", "0x9500"},
    {"sum 0x100000 4", ""},
    {"gva2gpa 0x1234", "gpa: 0x1234"},
    {"i/xb 0x64", "portb[0x0064] = 0x1"},
    {"nosuchcommand", "unknown command: 'nosuchcommand'"},
    {"info nosuchthing", "unknown command: 'info nosuchthing'"},
    {"", ""},
    {"   ", ""},
    {"stop now", "extraneous characters"},
    {"x/4xw", "unexpected end of expression"},
    {"migrate tcp:x", "cannot be saved"},
    {"log int,nosuch", "Log items"},
    {"screendump x -f gif", "the format is ppm or png"},
    {"screendump", "string expected"},
    {"sendkey a-nokey", "invalid parameter: nokey"},
    {"sendkey a 99999", "0 to 10000 ms"},
    {"sendkey -", "invalid parameter"},
    {"mouse_move 1 2 3", ""},
    {"mouse_button 7", ""},
    {"mouse_set 0", ""},
    {"nmi", ""},
  };
  make(&f, guest_count);
  for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) says(&f, rows[i][0], rows[i][1]);
  unmake(&f);
}

static void files_that_cannot_be_written(void **state) {
  struct fixture f = {0};
  make(&f, guest_count);
  says(&f, "memsave 0 16 /nonexistent/x", "Could not open '/nonexistent/x': No such file");
  says(&f, "pmemsave 0 16 /dev/full", "No space left");
  says(&f, "pmemsave 0 0x200000000 /dev/null", "4 GiB at most");
  says(&f, "logfile /nonexistent/x", "No such file");
  says(&f, "logfile /dev/null", "");
  unmake(&f);
}

/* The log can be turned on and off under a running guest, chains and hash too. */
static void log_while_it_runs(void **state) {
  struct fixture f = {0};
  char *seen = NULL;
  make(&f, guest_count);
  char path[96], line[128];
  snprintf(path, sizeof path, "%s/log", f.folder);
  snprintf(line, sizeof line, "logfile %s", path);
  start(&f);
  ask(&f, line);
  ask(&f, "log exec,nochain");
  nap(20);
  ask(&f, "log none");
  unsigned long before = number(&f, "p $ebx");
  nap(20);
  assert_true(number(&f, "p $ebx") > before);
  end(&f);
  unmake(&f);
  FILE *log = fopen(path, "r");
  size_t size = 0;
  assert_true(log && getline(&seen, &size, log) > 0);
  assert_non_null(strstr(seen, "Trace 0008:001000"));
  free(seen), fclose(log), unlink(path), rmdir(f.folder);
}

/* ---- standing still ---- */

static void stop_and_cont(void **state) {
  struct fixture f = {0};
  make(&f, guest_count);
  start(&f);
  unsigned long first = number(&f, "p $ebx");
  nap(10);
  unsigned long second = number(&f, "p $ebx");
  assert_true(first != second);
  ask(&f, "stop");
  assert_non_null(strstr(ask(&f, "info status"), "VM status: paused\n"));
  first = number(&f, "p $ebx");
  nap(10);
  assert_int_equal(number(&f, "p $ebx"), first);
  ask(&f, "stop"); /* twice is once */
  ask(&f, "cont");
  assert_non_null(strstr(ask(&f, "info status"), "running"));
  nap(10);
  assert_true(number(&f, "p $ebx") != first);
  end(&f);
  unmake(&f);
}

/* Timers, TSC and devices' time stand; deadlines come as long after `cont` as they were before `stop`. */
static void late(void *opaque) { *(int64_t *)opaque = loop_now(); }
static void clock_stands_still_while_stopped(void **state) {
  struct fixture f = {0};
  struct clock_timer timer;
  int64_t fired = 0, began = loop_now();
  make(&f, guest_halt);
  clock_timer_init(&timer, "test", late, &fired);
  clock_timer_set(f.m->clock, &timer, clock_now(f.m->clock) + 100000000);
  start(&f);
  ask(&f, "stop");
  int64_t now = clock_now(f.m->clock);
  uint64_t tsc = clock_tsc(f.m->clock);
  nap(300);
  assert_int_equal(clock_now(f.m->clock), now);
  assert_int_equal(clock_tsc(f.m->clock), tsc);
  assert_int_equal(fired, 0);
  ask(&f, "cont");
  for (int i = 0; i < 2000 && !fired; i++) ask(&f, "info status"), nap(1);
  if (fired - began < 350000000 || fired - began > 20000000000) fail_msg("fired after %lld ns", (long long)(fired - began));
  assert_true(clock_now(f.m->clock) - now < fired - began);
  end(&f);
  clock_timer_cancel(f.m->clock, &timer);
  unmake(&f);
}

static void begins_stopped(void **state) {
  struct fixture f = {.o.stopped = true};
  make(&f, guest_count);
  start(&f);
  assert_non_null(strstr(ask(&f, "info status"), "paused (prelaunch)"));
  assert_int_equal(number(&f, "p $eip"), 0x100020);
  ask(&f, "c");
  nap(5);
  assert_true(number(&f, "p $ebx") != 0x9500);
  end(&f);
  unmake(&f);
}

static void io_errors_pause(void *opaque) { machine_pause(opaque, PAUSE_IO_ERROR); }
static void a_disk_error_stops_it_until_cont(void **state) {
  struct fixture f = {0};
  make(&f, guest_count);
  start(&f);
  assert_true(machine_post(f.m, io_errors_pause, f.m));
  assert_non_null(strstr(ask(&f, "info status"), "paused (io-error)"));
  ask(&f, "stop");
  assert_non_null(strstr(ask(&f, "info status"), "paused (io-error)"));
  ask(&f, "cont");
  assert_non_null(strstr(ask(&f, "info status"), "running"));
  end(&f);
  unmake(&f);
}

static void shut_down_until_a_reset(void **state) {
  struct fixture f = {.o.no_shutdown = true};
  make(&f, guest_power_off);
  start(&f);
  for (int i = 0; i < 2000 && !strstr(ask(&f, "info status"), "shutdown"); i++) nap(1);
  assert_non_null(strstr(ask(&f, "cont"), "Resetting the Virtual Machine is required"));
  assert_int_equal(strtoul(ask(&f, "xp/xw 0x300000") + 18, NULL, 0), 1);
  ask(&f, "system_reset");
  assert_non_null(strstr(ask(&f, "info status"), "VM status: paused\n"));
  assert_int_equal(number(&f, "p $eip"), 0x100020);
  ask(&f, "cont");
  for (int i = 0; i < 2000 && !strstr(ask(&f, "info status"), "shutdown"); i++) nap(1);
  assert_int_equal(strtoul(ask(&f, "xp/xw 0x300000") + 18, NULL, 0), 2);
  end(&f);
  assert_int_equal(f.m->end.kind, END_QUIT);
  unmake(&f);
}

static void reset_while_it_runs_and_quit(void **state) {
  struct fixture f = {0};
  make(&f, guest_count);
  start(&f);
  nap(5);
  ask(&f, "system_reset");
  assert_non_null(strstr(ask(&f, "info status"), "running"));
  ask(&f, "quit");
  pthread_join(f.thread, NULL);
  assert_int_equal(f.m->end.kind, END_QUIT);
  unmake(&f);
}

/* ---- keys and the mouse ---- */

/* What waits in the keyboard controller, a byte each time; -1: nothing. */
static int keyboard_byte(struct fixture *f) {
  for (int i = 0; i < 100; i++) {
    if (io_bus_read(f->m->ports, 0x64, 1) & 1) return (int)io_bus_read(f->m->ports, 0x60, 1);
    nap(1), clock_run(f->m->clock);
  }
  return -1;
}
static void keys_are_pressed_held_and_let_go(void **state) {
  struct fixture f = {0};
  make(&f, guest_halt);
  io_bus_write(f.m->ports, 0x60, 1, 0xf4);
  assert_int_equal(keyboard_byte(&f), 0xfa);
  int64_t before = clock_now(f.m->clock);
  says(&f, "sendkey ctrl-a 50", "");
  static const int bytes[] = {0x1d, 0x1e, 0x9e, 0x9d}; /* set 1, by the controller's translation */
  for (unsigned i = 0; i < 4; i++) {
    int byte = keyboard_byte(&f);
    if (byte != bytes[i]) fail_msg("byte %u is %#x", i, byte);
    if (i == 2) assert_true(clock_now(f.m->clock) - before >= 50000000);
  }
  says(&f, "sendkey x 1", ""), says(&f, "sendkey y 1", ""); /* one after the other */
  static const int more[] = {0x2d, 0xad, 0x15, 0x95};
  for (unsigned i = 0; i < 4; i++) assert_int_equal(keyboard_byte(&f), more[i]);
  for (int i = 0; i < 1000; i++) tell(&f, "sendkey a-b-c-d-e 1000");
  says(&f, "sendkey a-b-c-d-e 1000", "not typed yet");
  unmake(&f); /* with keys that are still held */
}

/* Three bytes a packet: buttons and signs, right, up. */
static void the_mouse_moves_and_clicks(void **state) {
  struct fixture f = {0};
  make(&f, guest_halt);
  io_bus_write(f.m->ports, 0x64, 1, 0xa8), io_bus_write(f.m->ports, 0x64, 1, 0xd4), io_bus_write(f.m->ports, 0x60, 1, 0xf4);
  assert_int_equal(keyboard_byte(&f), 0xfa);
  says(&f, "mouse_move 5 -3", "");
  static const int moved[] = {0x08, 5, 3}, clicked[] = {0x0c, 0, 0};
  for (unsigned i = 0; i < 3; i++) assert_int_equal(keyboard_byte(&f), moved[i]);
  says(&f, "mouse_button 2", ""); /* the middle one */
  for (unsigned i = 0; i < 3; i++) assert_int_equal(keyboard_byte(&f), clicked[i]);
  unmake(&f);
}

/* ---- random lines ---- */

static void random_line(char *line, unsigned size) {
  static const char *const words[] = {
    "x",    "xp",   "p",   "info", "registers", "mem",        "tlb",  "mtree",       "/4xw ",        "/20i ",   "$eip",   "$esp",
    "0x10", "i/xb", "o",   "help", "sendkey",   "a-b",        "stop", "cont",        "log",          "none",    "pci",    "lapic",
    "-f",   "\"",   "'a'", "(",    ")",         "mouse_move", "-1",   "99999999999", "system_reset", "gva2gpa", "sum 0 9"};
  *line = 0;
  for (int n = rand() % 6; n >= 0; n--) {
    const char *word = words[(unsigned)rand() % (sizeof words / sizeof words[0])];
    if (strlen(line) + strlen(word) + 2 < size) strcat(line, word), strcat(line, rand() & 1 ? " " : "");
  }
  if (rand() % 4 == 0 && *line) line[(unsigned)rand() % strlen(line)] = (char)(1 + rand() % 255);
}

static void random_lines_do_no_harm(void **state) {
  struct fixture f = {0};
  char line[256];
  make(&f, guest_timer);
  srand(11);
  start(&f);
  for (int i = 0; i < 3000; i++) {
    random_line(line, sizeof line);
    ask(&f, line);
  }
  ask(&f, "cont");
  ask(&f, "log none");
  assert_non_null(strstr(ask(&f, "info status"), "VM status"));
  end(&f);
  unmake(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(every_row_has_what_it_needs),
                                     cmocka_unit_test(commands_show_the_machine),
                                     cmocka_unit_test(files_that_cannot_be_written),
                                     cmocka_unit_test(log_while_it_runs),
                                     cmocka_unit_test(stop_and_cont),
                                     cmocka_unit_test(clock_stands_still_while_stopped),
                                     cmocka_unit_test(begins_stopped),
                                     cmocka_unit_test(a_disk_error_stops_it_until_cont),
                                     cmocka_unit_test(shut_down_until_a_reset),
                                     cmocka_unit_test(reset_while_it_runs_and_quit),
                                     cmocka_unit_test(keys_are_pressed_held_and_let_go),
                                     cmocka_unit_test(the_mouse_moves_and_clicks),
                                     cmocka_unit_test(random_lines_do_no_harm)};
  cmocka_set_test_filter(getenv("CMOCKA_TEST_FILTER"));
  return cmocka_run_group_tests(tests, NULL, NULL);
}
