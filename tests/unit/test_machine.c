// A whole machine in the test's process: ends and statuses, resets, sleeping in HLT, input, two machines at once. The guests are
// a few instructions each, below. Run only this: build/unit/test_machine
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
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include "bt/machine.h"
#include "bt/stats.h"
#include "fixed_entries.h"

/* Guests: Multiboot images ("a.out kludge") of one page at 1 MiB. AT gives a label's guest address. */
#define GUEST(name, code) \
  __asm__(".pushsection .rodata\n .code32\n .balign 16\n .globl guest_" #name "\n guest_" #name ":\n" \
          " .long 0x1badb002, 0x10000, -(0x1badb002 + 0x10000), 0x100000, 0x100000, 0x101000, 0x102000, 0x100020\n" \
          " .set base_" #name ", guest_" #name "\n" code "\n .org guest_" #name " + 4096\n .code64\n .popsection\n"); \
  extern const uint8_t guest_##name[4096]
#define EXIT(value) " mov $" #value ", %al\n out %al, $0xf4\n 9: hlt\n jmp 9b\n"

GUEST(exit5, EXIT(5));
GUEST(halt, "1: cli\n hlt\n jmp 1b\n");
GUEST(spin, "1: jmp 1b\n");
/* RAM outlives a reset: the third time around it ends. */
GUEST(reset_thrice, " incl 0x300000\n cmpl $3, 0x300000\n jae 1f\n lidt 3f - base_reset_thrice + 0x100000\n ud2\n 1:" EXIT(6)
  "3: .long 0, 0\n");
GUEST(reset_port, " incl 0x300000\n cmpl $3, 0x300000\n jae 1f\n mov $0xfe, %al\n out %al, $0x64\n 2: hlt\n jmp 2b\n 1:" EXIT(6));
/* S5 by the PM1a control register, where the FADT says that it is. */
GUEST(power_off, " mov $0x604, %dx\n mov $0x2000, %ax\n out %ax, %dx\n 1: hlt\n jmp 1b\n");
/* Counts 100 ticks of a 200 Hz PIT in HLT: PIC, PIT, one gate. Ends with 7. */
GUEST(ticks,
  " lidt 3f - base_ticks + 0x100000\n xor %ebx, %ebx\n"
  " mov $0x11, %al\n out %al, $0x20\n mov $0x20, %al\n out %al, $0x21\n mov $4, %al\n out %al, $0x21\n mov $1, %al\n"
  " out %al, $0x21\n mov $0xfe, %al\n out %al, $0x21\n"
  " mov $0x34, %al\n out %al, $0x43\n mov $0x4e, %al\n out %al, $0x40\n mov $0x17, %al\n out %al, $0x40\n sti\n"
  "1: hlt\n cmp $100, %ebx\n jb 1b\n" EXIT(7)
  "2: inc %ebx\n push %eax\n mov $0x20, %al\n out %al, $0x20\n pop %eax\n iret\n"
  ".balign 8\n3: .word 0x107\n .long 4f - base_ticks + 0x100000\n .balign 8\n 4: .fill 32, 8, 0\n"
  ".word 2b - base_ticks, 0x08, 0x8e00, 0x10\n");
/* Echoes COM1 (8 bits) by polling; 'q' ends with 8. */
GUEST(echo, " mov $0x3fb, %dx\n mov $3, %al\n out %al, %dx\n 1: mov $0x3fd, %dx\n in %dx, %al\n test $1, %al\n jz 1b\n"
  " mov $0x3f8, %dx\n in %dx, %al\n cmp $'q', %al\n je 2f\n out %al, %dx\n jmp 1b\n 2:" EXIT(8));

struct fixture {
  char folder[32], path[64];
  struct bt_options o;
  struct machine *m;
};
static void make(struct fixture *f, const uint8_t image[4096]) {
  char error[ERROR_TEXT];
  struct bt_options o = f->o;
  strcpy(f->folder, "/tmp/bt-machine-XXXXXX");
  assert_non_null(mkdtemp(f->folder));
  snprintf(f->path, sizeof f->path, "%s/k", f->folder);
  FILE *k = fopen(f->path, "w");
  assert_int_equal(fwrite(image, 1, 4096, k), 4096);
  fclose(k);
  o.ram_size = 16 << 20, o.kernel = f->path, o.acpi = o.hpet = true;
  if (!o.entries) o.entries = &fixed_debug_exit;
  if (!o.monitor.icount_shift) o.monitor.icount_shift = -1;
  f->o = o;
  f->m = machine_create(&f->o, NULL, error);
  if (!f->m) fail_msg("%s", error);
}
static void unmake(struct fixture *f) {
  machine_destroy(f->m);
  unlink(f->path);
  rmdir(f->folder);
}
static void assert_end(struct fixture *f, enum end_kind kind, int status) {
  const struct machine_end *end = machine_run(f->m);
  if (end->kind != kind || end->status != status) fail_msg("ended by %d with status %d: %s", end->kind, end->status, end->reason);
}

static void debug_exit_status(void **state) {
  struct fixture f = {0};
  make(&f, guest_exit5);
  assert_end(&f, END_DEBUG_EXIT, 11);
  unmake(&f);
}
static void triple_fault_resets(void **state) {
  struct fixture f = {0};
  make(&f, guest_reset_thrice);
  assert_end(&f, END_DEBUG_EXIT, 13);
  unmake(&f);
}
static void keyboard_controller_resets(void **state) {
  struct fixture f = {0};
  make(&f, guest_reset_port);
  assert_end(&f, END_DEBUG_EXIT, 13);
  unmake(&f);
}
static void no_reboot_ends_with_0(void **state) {
  const uint8_t *const images[] = {guest_reset_thrice, guest_reset_port};
  for (unsigned i = 0; i < 2; i++) {
    struct fixture f = {.o.no_reboot = true};
    make(&f, images[i]);
    assert_end(&f, END_RESET, 0);
    unmake(&f);
  }
}

/* ---- time ---- */

/* The host's timer goes off as soon as it is armed, before the monitor has SIGUSR1: nothing but machine_run() itself can then
 * make the guest look. */
static void stop_at_deadline(void *opaque) { machine_finish(opaque, END_QUIT, 0); }
static void sigusr1_before_the_monitor_listens(void **state) {
  struct fixture f = {0};
  struct clock_timer timer;
  make(&f, guest_spin);
  clock_timer_init(&timer, "due", stop_at_deadline, f.m);
  clock_timer_set(f.m->clock, &timer, clock_now(f.m->clock));
  alarm(20);
  assert_end(&f, END_QUIT, 0);
  alarm(0);
  unmake(&f);
}

static double seconds(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}
/* 100 ticks of 5 ms: half a second, nearly all of it asleep. */
static void hlt_sleeps_and_wakes_in_time(void **state) {
  struct fixture f = {0};
  make(&f, guest_ticks);
  double wall = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_THREAD_CPUTIME_ID);
  assert_end(&f, END_DEBUG_EXIT, 15);
  wall = seconds(CLOCK_MONOTONIC) - wall, cpu = seconds(CLOCK_THREAD_CPUTIME_ID) - cpu;
  if (wall < 0.45 || wall > 10) fail_msg("100 ticks of 5 ms took %.3f s", wall); /* a busy host wakes late */
  if (cpu > 0.2) fail_msg("an idle guest used %.3f s of CPU in %.3f s", cpu, wall);
  unmake(&f);
}
/* Counted time does not wait, and two runs are the same to the last instruction. */
static void icount_skips_and_repeats(void **state) {
  uint64_t count[2];
  double wall = seconds(CLOCK_MONOTONIC);
  for (int i = 0; i < 2; i++) {
    struct fixture f = {.o.monitor.icount_shift = 1};
    make(&f, guest_ticks);
    assert_end(&f, END_DEBUG_EXIT, 15);
    count[i] = monitor_insn_count(f.m->monitor);
    unmake(&f);
  }
  assert_true(count[0] > 100);
  assert_int_equal(count[0], count[1]);
  assert_true(seconds(CLOCK_MONOTONIC) - wall < 0.5);
}

static void *quit_later(void *opaque) {
  struct timespec t = {0, 200 * 1000000L};
  nanosleep(&t, NULL);
  machine_quit(opaque);
  return NULL;
}
static void quit_reaches(const uint8_t *image, double most_cpu) {
  struct fixture f = {0};
  pthread_t other;
  make(&f, image);
  double cpu = seconds(CLOCK_THREAD_CPUTIME_ID), wall = seconds(CLOCK_MONOTONIC);
  pthread_create(&other, NULL, quit_later, f.m);
  assert_end(&f, END_QUIT, 0);
  pthread_join(other, NULL);
  assert_true(seconds(CLOCK_MONOTONIC) - wall < 1.0);
  assert_true(seconds(CLOCK_THREAD_CPUTIME_ID) - cpu < most_cpu);
  unmake(&f);
}
static void quit_reaches_a_halted_guest(void **state) { quit_reaches(guest_halt, 0.05); }
static void quit_reaches_a_spinning_guest(void **state) { quit_reaches(guest_spin, 1.0); }

/* -no-shutdown: a guest that is done leaves a machine that stays, at rest, until it is quit. */
static void no_shutdown_stays_until_it_is_quit(void **state) {
  const struct {
    const uint8_t *image;
    bool no_reboot;
  } rows[] = {{guest_power_off, false}, {guest_reset_port, true}};
  for (unsigned i = 0; i < 2; i++) {
    struct fixture f = {.o = {.no_shutdown = true, .no_reboot = rows[i].no_reboot}};
    pthread_t other;
    make(&f, rows[i].image);
    double cpu = seconds(CLOCK_THREAD_CPUTIME_ID), wall = seconds(CLOCK_MONOTONIC);
    pthread_create(&other, NULL, quit_later, f.m);
    assert_end(&f, END_QUIT, 0);
    pthread_join(other, NULL);
    assert_true(seconds(CLOCK_MONOTONIC) - wall >= 0.15);
    assert_true(seconds(CLOCK_THREAD_CPUTIME_ID) - cpu < 0.05);
    unmake(&f);
  }
}
static void power_off_and_debug_exit_end_it(void **state) {
  struct fixture f = {0};
  make(&f, guest_power_off);
  assert_end(&f, END_POWER_OFF, 0);
  unmake(&f);
  f = (struct fixture){.o.no_shutdown = true}; /* isa-debug-exit is no shutdown, as in QEMU */
  make(&f, guest_exit5);
  assert_end(&f, END_DEBUG_EXIT, 11);
  unmake(&f);
}

/* ---- input ---- */

/* COM1 on a socket that listens. */
struct socket_port {
  char path[64];
  struct option_pair pairs[5];
  struct option_entry chardev;
};
static const struct option_entry *socket_port(struct socket_port *s, const char *mux) {
  snprintf(s->path, sizeof s->path, "/tmp/bt-machine-%d", (int)getpid());
  const struct option_pair pairs[5] = {{"backend", "socket"}, {"path", s->path}, {"server", "on"}, {"wait", "off"}, {"mux", mux}};
  memcpy(s->pairs, pairs, sizeof pairs);
  s->chardev = (struct option_entry){"chardev", "-chardev", "", "serial0", s->pairs, 5, &fixed_port};
  return &s->chardev;
}

static int connect_to(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strcpy(address.sun_path, path);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  return connect(fd, (struct sockaddr *)&address, sizeof address) == 0 ? fd : -1;
}
struct talker {
  int fd;
  uint8_t seen[10000];
  size_t count;
};
static void *talk(void *opaque) {
  struct talker *t = opaque;
  uint8_t bytes[sizeof t->seen];
  for (unsigned i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)("0123456789abcdef"[i * 7 >> 3 & 15]);
  if (write(t->fd, bytes, sizeof bytes) != sizeof bytes) return NULL;
  while (t->count < sizeof t->seen) {
    ssize_t n = read(t->fd, t->seen + t->count, sizeof t->seen - t->count);
    if (n <= 0) return NULL;
    t->count += (size_t)n;
  }
  if (memcmp(t->seen, bytes, sizeof bytes)) t->count = 0;
  if (write(t->fd, "q", 1) != 1) return NULL;
  return NULL;
}
/* Far more at once than the UART and our queue hold: the guest sees every byte, in order. */
static void pasted_text_arrives_whole(void **state) {
  struct socket_port port;
  struct fixture f = {.o.entries = socket_port(&port, "off")};
  struct talker t = {0};
  pthread_t other;
  make(&f, guest_echo);
  t.fd = connect_to(port.path);
  assert_true(t.fd >= 0);
  pthread_create(&other, NULL, talk, &t);
  assert_end(&f, END_DEBUG_EXIT, 17);
  pthread_join(other, NULL);
  assert_int_equal(t.count, sizeof t.seen);
  close(t.fd);
  unmake(&f);
}

/* A machine that stays after the guest's end reads on: a Ctrl-A x behind more than its queue holds, which no guest takes out. */
static void *paste_and_quit(void *opaque) {
  const int *fd = opaque;
  struct timespec t = {0, 100 * 1000000L};
  static uint8_t bytes[50000];
  nanosleep(&t, NULL);
  memset(bytes, 'a', sizeof bytes);
  memcpy(bytes + sizeof bytes - 2, "\001x", 2);
  for (size_t done = 0; done < sizeof bytes;) {
    ssize_t n = write(*fd, bytes + done, sizeof bytes - done);
    if (n <= 0) break;
    done += (size_t)n;
  }
  return NULL;
}
static void the_escape_is_read_when_the_guest_is_done(void **state) {
  struct socket_port port;
  struct fixture f = {.o = {.no_shutdown = true, .escape = 1, .entries = socket_port(&port, "on")}};
  pthread_t other;
  make(&f, guest_power_off);
  int fd = connect_to(port.path);
  assert_true(fd >= 0);
  pthread_create(&other, NULL, paste_and_quit, &fd);
  alarm(20);
  assert_end(&f, END_QUIT, 0);
  alarm(0);
  pthread_join(other, NULL);
  close(fd);
  unmake(&f);
}

/* ---- other threads' work ---- */

struct poster {
  struct machine *m;
  pthread_t vcpu;
  unsigned done;
  bool other_thread, busy;
};
static void one_of_three(void *opaque) {
  struct poster *p = opaque;
  p->other_thread |= !pthread_equal(pthread_self(), p->vcpu);
  if (++p->done == 3) machine_finish(p->m, END_DEBUG_EXIT, 21);
}
static void *post_three(void *opaque) {
  struct poster *p = opaque;
  for (int i = 0; i < 3; i++) {
    struct timespec t = {0, 30 * 1000000L};
    nanosleep(&t, NULL);
    if (!machine_post(p->m, one_of_three, p)) abort();
  }
  return NULL;
}
static void posts_reach(const uint8_t *image, int icount) {
  struct fixture f = {.o.monitor.icount_shift = icount};
  pthread_t other;
  make(&f, image);
  struct poster p = {.m = f.m, .vcpu = pthread_self()};
  pthread_create(&other, NULL, post_three, &p);
  alarm(20);
  assert_end(&f, END_DEBUG_EXIT, 21);
  alarm(0);
  pthread_join(other, NULL);
  assert_false(p.other_thread);
  unmake(&f);
}
static void posts_reach_a_halted_guest(void **state) { posts_reach(guest_halt, -1); }
static void posts_reach_a_spinning_guest(void **state) { posts_reach(guest_spin, -1); }
static void posts_reach_a_halted_guest_under_icount(void **state) { posts_reach(guest_halt, 1); }
static void posts_before_the_run_are_not_lost(void **state) {
  for (int icount = -1; icount <= 1; icount += 2) {
    struct fixture f = {.o.monitor.icount_shift = icount};
    make(&f, guest_halt);
    struct poster p = {.m = f.m, .vcpu = pthread_self(), .done = 2};
    assert_true(machine_post(f.m, one_of_three, &p));
    alarm(20);
    assert_end(&f, END_DEBUG_EXIT, 21);
    alarm(0);
    unmake(&f);
  }
}

/* A chip whose back end's completion comes later, from another thread. */
static struct poster *busy_one; /* a device's state is its own */
static bool is_busy(void *opaque) { return busy_one && busy_one->busy; }
static void completed(void *opaque) { ((struct poster *)opaque)->busy = false; }
static void *complete_later(void *opaque) {
  struct poster *p = opaque;
  struct timespec t = {0, 200 * 1000000L};
  nanosleep(&t, NULL);
  if (!machine_post(p->m, completed, p)) abort();
  return NULL;
}
static void quiesce_waits_for_what_is_under_way(void **state) {
  struct fixture f = {0};
  unsigned count;
  pthread_t other;
  make(&f, guest_halt);
  struct poster p = {.m = f.m, .vcpu = pthread_self(), .busy = true};
  busy_one = &p;
  ((struct device *)pc_devices(f.m->pc, &count))[0].busy = is_busy;
  pthread_create(&other, NULL, complete_later, &p);
  double cpu = seconds(CLOCK_THREAD_CPUTIME_ID);
  assert_true(machine_quiesce(f.m));
  assert_false(p.busy);
  assert_true(seconds(CLOCK_THREAD_CPUTIME_ID) - cpu < 0.05); /* it slept */
  pthread_join(other, NULL);
  busy_one = NULL;
  assert_true(machine_quiesce(f.m));
  unmake(&f);
}

/* ---- machines are values ---- */

static void *run_thread(void *opaque) {
  struct fixture *f = opaque;
  return (void *)(intptr_t)machine_run(f->m)->status;
}
static void two_machines_at_once(void **state) {
  struct fixture f[2] = {0};
  pthread_t threads[2];
  void *status[2];
  make(&f[0], guest_ticks);
  make(&f[1], guest_ticks);
  for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, run_thread, &f[i]);
  for (int i = 0; i < 2; i++) pthread_join(threads[i], &status[i]);
  for (int i = 0; i < 2; i++) {
    assert_int_equal((intptr_t)status[i], 15);
    unmake(&f[i]);
  }
}

/* Signal handlers belong to the process: the machine that came first may go first. */
static void the_other_machine_may_end_first(void **state) {
  struct fixture f[2] = {0};
  struct timespec t = {0, 150 * 1000000L};
  pthread_t threads[2];
  void *status;
  make(&f[0], guest_ticks);
  make(&f[1], guest_spin);
  pthread_create(&threads[0], NULL, run_thread, &f[0]);
  nanosleep(&t, NULL);
  pthread_create(&threads[1], NULL, run_thread, &f[1]);
  pthread_join(threads[0], &status);
  assert_int_equal((intptr_t)status, 15);
  machine_quit(f[1].m);
  pthread_join(threads[1], &status);
  assert_int_equal((intptr_t)status, 0);
  unmake(&f[0]);
  unmake(&f[1]);
}

/* Every counter of the lists is there, once, and the braces match. */
static void statistics_name_every_counter(void **state) {
  static char text[1 << 16];
  struct fixture f = {0};
  make(&f, guest_exit5);
  machine_run(f.m);
  for (int json = 0; json < 2; json++) {
    memset(text, 0, sizeof text);
    FILE *out = fmemopen(text, sizeof text - 1, "w");
    stats_print(f.m, json, out);
    fclose(out);
#define NAMED(name, help) assert_non_null(strstr(text, json ? "\"" #name "\": " : " " #name " "));
    MMU_COUNTERS(NAMED)
    MONITOR_COUNTERS(NAMED)
#undef NAMED
  }
  int depth = 0;
  for (char *p = text; *p; p++) depth += (*p == '{') - (*p == '}');
  assert_int_equal(depth, 0);
  assert_null(strchr(strchr(text, '\n') + 1, '\n'));
  unmake(&f);
}

/* What cannot be made says why. */
static void refusals(void **state) {
  char error[ERROR_TEXT];
  struct bt_options o = {.ram_size = 16 << 20, .kernel = "/nonexistent", .acpi = true, .hpet = true, .monitor.icount_shift = -1};
  assert_null(machine_create(&o, NULL, error));
  assert_non_null(strstr(error, "/nonexistent"));
  o.ram_size = UINT64_C(1) << 50;
  assert_null(machine_create(&o, NULL, error));
  assert_non_null(strstr(error, "host"));
  struct fixture f = {0};
  make(&f, guest_exit5);
  o = f.o, o.cpu = "nonsense";
  assert_null(machine_create(&o, NULL, error));
  assert_non_null(strstr(error, "-cpu"));
  o = f.o, o.log_file = "/nonexistent/log";
  assert_null(machine_create(&o, NULL, error));
  assert_non_null(strstr(error, "-D"));
  unmake(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(debug_exit_status),
    cmocka_unit_test(triple_fault_resets),
    cmocka_unit_test(keyboard_controller_resets),
    cmocka_unit_test(sigusr1_before_the_monitor_listens),
    cmocka_unit_test(no_reboot_ends_with_0),
    cmocka_unit_test(hlt_sleeps_and_wakes_in_time),
    cmocka_unit_test(icount_skips_and_repeats),
    cmocka_unit_test(quit_reaches_a_halted_guest),
    cmocka_unit_test(quit_reaches_a_spinning_guest),
    cmocka_unit_test(pasted_text_arrives_whole),
    cmocka_unit_test(no_shutdown_stays_until_it_is_quit),
    cmocka_unit_test(power_off_and_debug_exit_end_it),
    cmocka_unit_test(the_escape_is_read_when_the_guest_is_done),
    cmocka_unit_test(posts_reach_a_halted_guest),
    cmocka_unit_test(posts_reach_a_spinning_guest),
    cmocka_unit_test(posts_reach_a_halted_guest_under_icount),
    cmocka_unit_test(posts_before_the_run_are_not_lost),
    cmocka_unit_test(quiesce_waits_for_what_is_under_way),
    cmocka_unit_test(two_machines_at_once),
    cmocka_unit_test(the_other_machine_may_end_first),
    cmocka_unit_test(statistics_name_every_counter),
    cmocka_unit_test(refusals),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
