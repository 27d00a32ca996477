/* Starting and ending a QEMU process.
 *
 * It gets six descriptors of ours: the sockets of QMP and of the debugger's stub, the pipe of its log, a memfd for what it prints, a memfd that
 * is the guest's RAM, and /dev/null. It dies with the thread that started it (PR_SET_PDEATHSIG). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "qemu.h"

enum { PIPE_SIZE = 1 << 20, MAX_ARGUMENTS = 200, TEXT = 160 };

/* The child's side. */
struct child { int qmp, gdb, log, output, null, ram, failed[2]; };

bool qemu_fail(struct qemu *q, const char *format, ...)
{
  va_list args;
  va_start(args, format);
  vsnprintf(q->error, sizeof q->error, format, args);
  va_end(args);
  return false;
}

/* ---- -cpu ---- */

/* What QEMU's model shows and bt's does not is taken off (VME, MCE, MCA, MONITOR, CX16, 3DNow!, 64-bit mode; ACPI and SS say nothing of
 * instructions). Then the feature words of leaves 1 and 80000001h are equal bit for bit. */
#define LESS ",-hypervisor,-vme,-mce,-mca,-acpi,-ss"
static const struct { const char *bt, *qemu; } cpus[] = {
  { "486", "486" LESS },
  { "pentium", "pentium" LESS },
  { "pentium2", "pentium2" LESS },
  { "pentium3", "pentium3" LESS },
  { "n270", "n270,-monitor,-syscall" LESS },
  { "max", "n270,stepping=10,+sse4.1,+sse4.2,+popcnt,+rdtscp,-monitor,-syscall" LESS },
  { "coreduo", "coreduo,-monitor" LESS },
  { "core2duo", "core2duo,-lm,-syscall,-monitor,-cx16" LESS },
  { "qemu32", "qemu32,-cx16" LESS },
  { "athlon", "athlon,-mmxext,-3dnow,-3dnowext" LESS },
  { "kvm32", "kvm32" LESS },
};

const char *ref_qemu_cpu(const char *bt_model)
{
  for (size_t n = 0; n < sizeof cpus / sizeof cpus[0]; n++)
    if (!strcmp(cpus[n].bt, bt_model))
      return cpus[n].qemu;
  return NULL;
}

/* ---- arguments ---- */

struct arguments { const char *list[MAX_ARGUMENTS + 1]; unsigned count; char text[6][TEXT]; };

static void add(struct arguments *a, const char *argument)
{
  if (a->count < MAX_ARGUMENTS)
    a->list[a->count++] = argument;
}

static void add_all(struct arguments *a, const char *const *list)
{
  while (list && *list)
    add(a, *list++);
}

static bool given(const struct ref_options *o, const char *name)
{
  for (const char *const *a = o->arguments; a && *a; a++)
    if (!strcmp(*a, name))
      return true;
  return false;
}

/* Repeatable: time is counted in instructions and jumps ahead when the guest is idle, the date is fixed, random numbers have a seed.
 * Like bt: no SMM, no patching of the guest's APIC accesses. */
static bool make_arguments(struct arguments *a, const struct ref_options *o, const struct child *c, const char *const *extra)
{
  static const char *const fixed[] = { "-S", "-accel", "tcg", "-nodefaults", "-vga", "none", "-display", "none", "-serial", "null",
    "-parallel", "none", "-no-reboot", "-seed", "1", "-icount", "shift=0,sleep=off", "-global", "apic-common.vapic=off", "-chardev", NULL };
  add(a, o->program);
  add_all(a, fixed);
  snprintf(a->text[0], TEXT, "socket,id=bt-qmp,fd=%d", c->qmp);
  snprintf(a->text[1], TEXT, "socket,id=bt-gdb,fd=%d", c->gdb);
  snprintf(a->text[2], TEXT, "/proc/self/fd/%d", c->log);
  snprintf(a->text[3], TEXT, "memory-backend-file,id=bt-ram,size=%llu,share=on,mem-path=/proc/self/fd/%d", (unsigned long long)o->ram_size, c->ram);
  const char *const ours[] = { a->text[0], "-mon", "chardev=bt-qmp,mode=control", "-chardev", a->text[1], "-gdb", "chardev:bt-gdb",
    "-D", a->text[2], "-object", a->text[3], NULL };
  add_all(a, ours);
  add_all(a, o->arguments);
  const char *const last[] = { "-machine", "memory-backend=bt-ram,smm=off", "-cpu", o->cpu, NULL };
  add_all(a, last);
  if (!given(o, "-rtc")) {
    add(a, "-rtc");
    add(a, "base=2020-01-01T00:00:00,clock=vm");
  }
  add_all(a, extra);
  return a->count < MAX_ARGUMENTS;
}

/* ---- the process ---- */

static void close_all(struct child *c)
{
  int *const fds[] = { &c->qmp, &c->gdb, &c->log, &c->output, &c->null, &c->ram, &c->failed[0], &c->failed[1] };
  for (size_t n = 0; n < sizeof fds / sizeof fds[0]; n++) {
    if (*fds[n] >= 0)
      close(*fds[n]);
    *fds[n] = -1;
  }
}

static bool make_ram(struct qemu *q, struct child *c, uint64_t size)
{
  c->ram = memfd_create("bt-guest-ram", MFD_CLOEXEC);
  if (c->ram < 0 || ftruncate(c->ram, (off_t)size))
    return qemu_fail(q, "cannot make %llu bytes of shared memory: %s", (unsigned long long)size, strerror(errno));
  void *ram = mmap(NULL, size, PROT_READ, MAP_SHARED, c->ram, 0);
  if (ram == MAP_FAILED)
    return qemu_fail(q, "cannot map %llu bytes of shared memory: %s", (unsigned long long)size, strerror(errno));
  q->ram = ram;
  q->ram_size = size;
  return true;
}

static bool make_channels(struct qemu *q, struct child *c)
{
  int qmp[2], gdb[2], log[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, qmp))
    return qemu_fail(q, "socketpair: %s", strerror(errno));
  q->qmp = qmp[0];
  c->qmp = qmp[1];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, gdb))
    return qemu_fail(q, "socketpair: %s", strerror(errno));
  q->gdb = gdb[0];
  c->gdb = gdb[1];
  if (pipe2(log, O_CLOEXEC))
    return qemu_fail(q, "pipe: %s", strerror(errno));
  q->log = log[0];
  c->log = log[1];
  fcntl(q->log, F_SETFL, O_NONBLOCK);
  fcntl(q->log, F_SETPIPE_SZ, PIPE_SIZE);   /* a smaller one works too */
  q->output = memfd_create("bt-qemu-output", MFD_CLOEXEC);
  c->output = fcntl(q->output, F_DUPFD_CLOEXEC, 0);
  c->null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (q->output < 0 || c->output < 0 || c->null < 0 || pipe2(c->failed, O_CLOEXEC))
    return qemu_fail(q, "cannot open descriptors: %s", strerror(errno));
  fcntl(q->output, F_SETFL, O_APPEND);
  return true;
}

/* Between fork and exec: system calls only. */
static void become_qemu(const struct child *c, const char *const *arguments, pid_t parent)
{
  const int kept[] = { c->qmp, c->gdb, c->log, c->ram };
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  signal(SIGPIPE, SIG_DFL);
  setsid();
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent)
    _exit(1);
  for (size_t n = 0; n < sizeof kept / sizeof kept[0]; n++)
    fcntl(kept[n], F_SETFD, 0);
  dup2(c->null, 0);
  dup2(c->output, 1);
  dup2(c->output, 2);
  execvp(arguments[0], (char *const *)arguments);
  int error = errno;
  (void)!write(c->failed[1], &error, sizeof error);
  _exit(127);
}

static bool start_process(struct qemu *q, const struct ref_options *o, struct child *c, const struct arguments *a)
{
  int error;
  pid_t parent = getpid();
  q->pid = fork();
  if (q->pid < 0)
    return q->pid = 0, qemu_fail(q, "fork: %s", strerror(errno));
  if (!q->pid)
    become_qemu(c, a->list, parent);
  close(c->failed[1]);
  c->failed[1] = -1;
  if (read(c->failed[0], &error, sizeof error) != sizeof error)
    return true;
  if (error == ENOENT && !strchr(o->program, '/'))
    return qemu_fail(q, "%s is not on PATH: install qemu-system-x86, or say --qemu PROGRAM", o->program);
  return qemu_fail(q, "cannot run %s: %s", o->program, strerror(error));
}

bool qemu_launch(struct qemu *q, const struct ref_options *o, const char *const *extra)
{
  struct child c = { -1, -1, -1, -1, -1, -1, { -1, -1 } };
  struct arguments a = { .count = 0 };
  *q = (struct qemu){ .qmp = -1, .gdb = -1, .log = -1, .output = -1 };
  bool started = make_ram(q, &c, o->ram_size) && make_channels(q, &c) &&
                 (make_arguments(&a, o, &c, extra) || qemu_fail(q, "too many arguments for QEMU")) && start_process(q, o, &c, &a);
  close_all(&c);
  return started && qemu_greeting(q);
}

bool qemu_reap(struct qemu *q, int milliseconds)
{
  for (; q->pid; milliseconds--) {
    pid_t done = waitpid(q->pid, &q->status, WNOHANG);
    if (done == q->pid || (done < 0 && errno == ECHILD))
      q->pid = 0;
    else if (milliseconds <= 0)
      return false;
    else
      nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
  }
  return true;
}

void qemu_shut(struct qemu *q)
{
  if (q->pid) {
    kill(q->pid, SIGKILL);
    while (waitpid(q->pid, &q->status, 0) < 0 && errno == EINTR)
      ;
    q->pid = 0;
  }
  int *const fds[] = { &q->qmp, &q->gdb, &q->log, &q->output };
  for (size_t n = 0; n < sizeof fds / sizeof fds[0]; n++) {
    if (*fds[n] >= 0)
      close(*fds[n]);
    *fds[n] = -1;
  }
  if (q->ram)
    munmap((void *)q->ram, q->ram_size);
  q->ram = NULL;
  free(q->heard);
  q->heard = NULL;
  json_object_put(q->reply);
  q->reply = NULL;
}

void qemu_last_words(const struct qemu *q, char *line, size_t size)
{
  char text[1024];
  off_t end = q->output < 0 ? 0 : lseek(q->output, 0, SEEK_END);
  off_t from = end > (off_t)sizeof text ? end - (off_t)sizeof text : 0;
  ssize_t got = end > 0 ? pread(q->output, text, sizeof text, from) : 0;
  while (got > 0 && (text[got - 1] == '\n' || text[got - 1] == '\r'))
    got--;
  ssize_t start = got;
  while (start > 0 && text[start - 1] != '\n')
    start--;
  snprintf(line, size, "%.*s", (int)(got - start), text + start);
}
