/* Starting and ending a QEMU process.
 *
 * It gets six descriptors of ours: the sockets of QMP and of the debugger's stub, the pipe of its log, a memfd for what it
 * prints, a memfd that is the guest's RAM, and /dev/null. It dies with the thread that started it (PR_SET_PDEATHSIG). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "child.h"
#include "qemu.h"

enum { PIPE_SIZE = 1 << 20, MAX_ARGUMENTS = 200, TEXT = 160 };

/* Its side. */
struct ends {
  int qmp, gdb, log, output, null, ram;
};

bool qemu_fail(struct qemu *q, const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(q->error, sizeof q->error, format, args);
  va_end(args);
  return false;
}

/* ---- -cpu ---- */

/* What QEMU's model shows and bt's does not is taken off (VME, MCE, MCA, MONITOR, CX16, 3DNow!, 64-bit mode; ACPI and SS say
 * nothing of instructions). Then the feature words of leaves 1 and 80000001h are equal bit for bit. */
#define LESS ",-hypervisor,-vme,-mce,-mca,-acpi,-ss"
static const struct {
  const char *bt, *qemu;
} cpus[] = {
  {"486", "486" LESS},
  {"pentium", "pentium" LESS},
  {"pentium2", "pentium2" LESS},
  {"pentium3", "pentium3" LESS},
  {"n270", "n270,-monitor,-syscall" LESS},
  {"max", "n270,stepping=10,+sse4.1,+sse4.2,+popcnt,+rdtscp,-monitor,-syscall" LESS},
  {"coreduo", "coreduo,-monitor" LESS},
  {"core2duo", "core2duo,-lm,-syscall,-monitor,-cx16" LESS},
  {"qemu32", "qemu32,-cx16" LESS},
  {"athlon", "athlon,-mmxext,-3dnow,-3dnowext" LESS},
  {"kvm32", "kvm32" LESS},
};

const char *ref_qemu_cpu(const char *bt_model) {
  for (size_t n = 0; n < sizeof cpus / sizeof cpus[0]; n++)
    if (!strcmp(cpus[n].bt, bt_model)) return cpus[n].qemu;
  return NULL;
}

/* ---- arguments ---- */

struct arguments {
  const char *list[MAX_ARGUMENTS + 1];
  unsigned count;
  char text[6][TEXT]; /* what it has of its own */
};

static void add(struct arguments *a, const char *argument) {
  if (a->count < MAX_ARGUMENTS) a->list[a->count++] = argument;
}

static void add_all(struct arguments *a, const char *const *list) {
  while (list && *list) add(a, *list++);
}

static bool given(const struct ref_options *o, const char *name) {
  for (const char *const *a = o->arguments; a && *a; a++)
    if (!strcmp(*a, name)) return true;
  return false;
}

/* Repeatable: time is counted in instructions and jumps ahead when the guest is idle, the date is fixed, random numbers have a
 * seed. Like bt: no SMM, no patching of the guest's APIC accesses. */
static bool make_arguments(struct arguments *a, const struct ref_options *o, const struct ends *e, const char *const *extra) {
  static const char *const fixed[] = {"-S",
                                      "-accel",
                                      "tcg",
                                      "-nodefaults",
                                      "-vga",
                                      "none",
                                      "-display",
                                      "none",
                                      "-serial",
                                      "null",
                                      "-parallel",
                                      "none",
                                      "-no-reboot",
                                      "-seed",
                                      "1",
                                      "-global",
                                      "apic-common.vapic=off",
                                      "-chardev",
                                      NULL};
  add(a, o->program);
  add_all(a, fixed);
  snprintf(a->text[0], TEXT, "socket,id=bt-qmp,fd=%d", e->qmp);
  snprintf(a->text[1], TEXT, "socket,id=bt-gdb,fd=%d", e->gdb);
  snprintf(a->text[2], TEXT, "/proc/self/fd/%d", e->log);
  snprintf(a->text[3], TEXT, "memory-backend-file,id=bt-ram,size=%llu,share=on,mem-path=/proc/self/fd/%d",
           (unsigned long long)o->ram_size, e->ram);
  snprintf(a->text[4], TEXT, "shift=%u,sleep=off", o->icount_shift);
  const char *const ours[] = {a->text[0],       "-mon",     "chardev=bt-qmp,mode=control",
                              "-chardev",       a->text[1], "-gdb",
                              "chardev:bt-gdb", "-D",       a->text[2],
                              "-object",        a->text[3], "-icount",
                              a->text[4],       NULL};
  add_all(a, ours);
  add_all(a, o->arguments);
  const char *const last[] = {"-machine", "memory-backend=bt-ram,smm=off", "-cpu", o->cpu, NULL};
  add_all(a, last);
  if (!given(o, "-rtc")) {
    add(a, "-rtc");
    add(a, "base=2020-01-01T00:00:00,clock=vm");
  }
  add_all(a, extra);
  return a->count < MAX_ARGUMENTS;
}

/* ---- the process ---- */

static void close_all(struct ends *e) {
  child_close((int *const[]){&e->qmp, &e->gdb, &e->log, &e->output, &e->null, &e->ram}, 6);
}

static bool make_ram(struct qemu *q, struct ends *e, uint64_t size) {
  e->ram = memfd_create("bt-guest-ram", MFD_CLOEXEC);
  if (e->ram < 0 || ftruncate(e->ram, (off_t)size))
    return qemu_fail(q, "cannot make %llu bytes of shared memory: %s", (unsigned long long)size, strerror(errno));
  void *ram = mmap(NULL, size, PROT_READ, MAP_SHARED, e->ram, 0);
  if (ram == MAP_FAILED)
    return qemu_fail(q, "cannot map %llu bytes of shared memory: %s", (unsigned long long)size, strerror(errno));
  q->ram = ram;
  q->ram_size = size;
  return true;
}

static bool make_channels(struct qemu *q, struct ends *e) {
  int qmp[2], gdb[2], log[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, qmp)) return qemu_fail(q, "socketpair: %s", strerror(errno));
  q->qmp = qmp[0];
  e->qmp = qmp[1];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, gdb)) return qemu_fail(q, "socketpair: %s", strerror(errno));
  q->gdb = gdb[0];
  e->gdb = gdb[1];
  if (pipe2(log, O_CLOEXEC)) return qemu_fail(q, "pipe: %s", strerror(errno));
  q->log = log[0];
  e->log = log[1];
  fcntl(q->log, F_SETFL, O_NONBLOCK);
  fcntl(q->log, F_SETPIPE_SZ, PIPE_SIZE); /* a smaller one works too */
  q->output = memfd_create("bt-qemu-output", MFD_CLOEXEC);
  e->output = fcntl(q->output, F_DUPFD_CLOEXEC, 0);
  e->null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (q->output < 0 || e->output < 0 || e->null < 0) return qemu_fail(q, "cannot open descriptors: %s", strerror(errno));
  fcntl(q->output, F_SETFL, O_APPEND);
  return true;
}

static bool start_process(struct qemu *q, const struct ends *e, const struct arguments *a) {
  const int kept[] = {e->qmp, e->gdb, e->log, e->ram};
  struct child_start start = {.arguments = a->list,
                              .hint = "install qemu-system-x86, or say --qemu=PROGRAM",
                              .in = e->null,
                              .out = e->output,
                              .kept = kept,
                              .kept_count = 4};
  q->pid = child_start(&start, q->error, sizeof q->error);
  return q->pid != 0;
}

bool qemu_launch(struct qemu *q, const struct ref_options *o, const char *const *extra) {
  struct ends e = {-1, -1, -1, -1, -1, -1};
  struct arguments a = {.count = 0};
  *q = (struct qemu){.qmp = -1, .gdb = -1, .log = -1, .output = -1};
  q->icount_shift = o->icount_shift;
  bool started = make_ram(q, &e, o->ram_size) && make_channels(q, &e) &&
                 (make_arguments(&a, o, &e, extra) || qemu_fail(q, "too many arguments for QEMU")) && start_process(q, &e, &a);
  close_all(&e);
  return started && qemu_greeting(q);
}

bool qemu_reap(struct qemu *q, int milliseconds) {
  for (; q->pid; milliseconds--) {
    pid_t done = waitpid(q->pid, &q->status, WNOHANG);
    if (done == q->pid || (done < 0 && errno == ECHILD)) q->pid = 0;
    else if (milliseconds <= 0) return false;
    else nanosleep(&(struct timespec){0, 1000000}, NULL);
  }
  return true;
}

void qemu_shut(struct qemu *q) {
  child_kill(&q->pid, &q->status);
  child_close((int *const[]){&q->qmp, &q->gdb, &q->log, &q->output}, 4);
  if (q->ram) munmap((void *)q->ram, q->ram_size);
  q->ram = NULL;
  free(q->heard);
  q->heard = NULL;
  json_object_put(q->reply);
  q->reply = NULL;
}

void qemu_last_words(const struct qemu *q, char *line, size_t size) {
  char text[1024];
  off_t end = q->output < 0 ? 0 : lseek(q->output, 0, SEEK_END);
  off_t from = end > (off_t)sizeof text ? end - (off_t)sizeof text : 0;
  ssize_t got = end > 0 ? pread(q->output, text, sizeof text, from) : 0;
  while (got > 0 && (text[got - 1] == '\n' || text[got - 1] == '\r')) got--;
  ssize_t start = got;
  while (start > 0 && text[start - 1] != '\n') start--;
  snprintf(line, size, "%.*s", (int)(got - start), text + start);
}
