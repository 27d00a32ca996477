/* Sandboxes: making the process, ordering its system calls, entering and leaving guest code. */
#define _GNU_SOURCE
#include "sandbox.h"
#include "sandbox_stub.h"
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/ucontext.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef ARCH_SET_CPUID
#define ARCH_SET_CPUID 0x1012
#endif
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif

enum { USER32_CS = 0x23, EFLAGS_GUEST = 0x200cd5 /* OSZAPC, DF, ID */, EFLAGS_ALWAYS = 0x202 };
static const uint64_t USER_END = 0x7ffffffff000; /* of addresses that a process may map without asking for more */

static const int caught[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGUSR1};

struct sandbox {
  pid_t pid, guest; /* the process, which is its mapper; the thread of guest code */
  int listener, mapper_listener, files[2];
  int pid_fd;    /* the process's */
  uint8_t *stub; /* STUB_BYTES, shared with the process, at the same address there */
  struct stub_control *control;
  struct stub_orders *orders;
  uint64_t id, mapper_id; /* of the notifications that they are parked in */
  unsigned calls;         /* orders that wait */
  bool parked, hides_cpuid;
  atomic_bool running;
};

/* ---- in the new process, before it is the guest's: no libc but bare system calls ---- */

static long call(long nr, long a, long b, long c, long d) { return syscall(nr, a, b, c, d, 0, 0); }

static bool set_handlers(const struct sandbox *s) {
  struct { /* the kernel's own: <signal.h> has glibc's */
    uint64_t handler, flags, restorer, mask;
  } action = {(uint64_t)(uintptr_t)s->stub + stub_offset(stub_handler), SA_SIGINFO | SA_ONSTACK | 0x04000000 /* SA_RESTORER */,
              (uint64_t)(uintptr_t)s->stub + stub_offset(stub_restorer), ~0ull};
  for (unsigned i = 0; i < sizeof caught / sizeof *caught; i++)
    if (call(SYS_rt_sigaction, caught[i], (long)&action, 0, 8)) return false;
  return true;
}

/* All signals but the handler's. */
static uint64_t not_caught(void) {
  uint64_t blocked = ~0ull;
  for (unsigned i = 0; i < sizeof caught / sizeof *caught; i++) blocked &= ~(1ull << (caught[i] - 1));
  return blocked;
}

static bool block_signals(bool guest) {
  uint64_t blocked = guest ? not_caught() : ~0ull;
  return !call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&blocked, 0, 8);
}

/* What of the parent's is still known to the kernel by address, and would be written to. */
static void forget_addresses(void) {
  if (__rseq_size) {
    char *at = (char *)__builtin_thread_pointer() + __rseq_offset;
    call(SYS_rseq, (long)at, 32, 1 /* RSEQ_FLAG_UNREGISTER */, RSEQ_SIG);
  }
  call(SYS_set_robust_list, 0, 24, 0, 0);
  call(SYS_set_tid_address, 0, 0, 0, 0);
}

static long install(const struct sock_filter *code, unsigned count) {
  struct sock_fprog program = {(unsigned short)count, (struct sock_filter *)(uintptr_t)code};
  return call(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, (long)&program, 0);
}

/* Of guest code: a return from a signal is the only call that is let through. What 32-bit gates are used for comes back as
 * SIGSYS; all else is told of. */
static long filter_guest(void) {
  const struct sock_filter code[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
  };
  return install(code, sizeof code / sizeof *code);
}

/* Of the mapper: what changes the memory and the LDT of its process, and closes files. */
static long filter_mapper(void) {
  const struct sock_filter code[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sched_yield, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 4, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_munmap, 3, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_modify_ldt, 2, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close_range, 1, 0),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  return install(code, sizeof code / sizeof *code);
}

static int child_fails(struct sandbox *s, int wrong) {
  s->control->wrong = wrong;
  call(SYS_exit_group, 1, 0, 0, 0);
  return 0;
}

static int guest_thread(void *opaque) {
  struct sandbox *s = opaque;
  stack_t stack = {.ss_sp = s->stub + STUB_STACK_AT, .ss_size = STUB_STACK_BYTES};
  if (call(SYS_sigaltstack, (long)&stack, 0, 0, 0) || !block_signals(true)) return child_fails(s, STUB_NO_SIGNALS);
  s->control->guest = (int)call(SYS_gettid, 0, 0, 0, 0);
  long listener = filter_guest();
  if (listener < 0) return child_fails(s, STUB_NO_SECCOMP);
  s->control->guest_listener = (int)listener + 1;
  call(SYS_close_range, 0, ~0u, CLOSE_RANGE_UNSHARE, 0); /* the monitor lets it */
  ((void (*)(void))(uintptr_t)(s->stub + stub_offset(stub_start)))();
  return 0;
}

static void child(struct sandbox *s, pid_t parent) {
  enum { THREAD = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM };
  static uint8_t boot_stack[16 << 10] __attribute__((aligned(16)));
  struct rlimit none = {0};
  forget_addresses();
  block_signals(false);
  call(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0);
  if (call(SYS_getppid, 0, 0, 0, 0) != parent) call(SYS_exit_group, 1, 0, 0, 0);
  call(SYS_prlimit64, 0, RLIMIT_CORE, (long)&none, 0);
  s->control->hides_cpuid = call(SYS_arch_prctl, ARCH_SET_CPUID, 0, 0, 0) == 0;
  if (call(SYS_prctl, PR_SET_TSC, PR_TSC_SIGSEGV, 0, 0)) child_fails(s, STUB_NO_TSC);
  if (!set_handlers(s) || call(SYS_mprotect, (long)s->stub, STUB_CODE_BYTES, PROT_READ | PROT_EXEC, 0) ||
      call(SYS_mprotect, (long)s->orders, STUB_STACK_AT - STUB_ORDERS_AT, PROT_READ, 0))
    child_fails(s, STUB_NO_SIGNALS);
  if (call(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0)) child_fails(s, STUB_NO_SECCOMP);
  if (clone(guest_thread, boot_stack + sizeof boot_stack, THREAD, s) < 0) child_fails(s, STUB_NO_THREAD);
  while (!s->control->guest_listener) call(SYS_sched_yield, 0, 0, 0, 0);
  long listener = filter_mapper();
  if (listener < 0) child_fails(s, STUB_NO_SECCOMP);
  s->control->mapper_listener = (int)listener + 1;
  ((void (*)(void))(uintptr_t)(s->stub + stub_offset(stub_mapper)))();
}

/* ---- what they ask, and the answers ---- */

static bool has_died(const struct sandbox *s) {
  siginfo_t info = {0};
  return waitid(P_PID, (id_t)s->pid, &info, WEXITED | WNOHANG | WNOWAIT) || info.si_pid;
}

/* Once it was asked to come back it has so long: 64-bit code can block the signal, and be waited for for ever. */
enum { PATIENCE_MS = 3000 };
static int64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Waits for a thread's next system call. `asked`: see sandbox_run(), or NULL. Before Linux 6.11 a listener alone would wait for
 * ever when the process has died. */
static bool receive(const struct sandbox *s, int listener, struct seccomp_notif *notif, const volatile int *asked) {
  struct pollfd either[] = {{.fd = listener, .events = POLLIN}, {.fd = s->pid_fd, .events = POLLIN}};
  int64_t deadline = 0;
  for (;;) {
    *notif = (struct seccomp_notif){0};
    if (asked && *asked) {
      if (!deadline) deadline = now_ms() + PATIENCE_MS;
      if (now_ms() >= deadline) return false;
    }
    int ready = poll(either, 2, 1000); /* a signal right before this is seen a second later */
    if (ready > 0 && !(either[0].revents & POLLIN)) return false;
    if (ready > 0 && !ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, notif)) return notif->data.arch == AUDIT_ARCH_X86_64;
    if ((ready && errno != EINTR && errno != ENOENT) || has_died(s)) return false;
  }
}

static bool answer(int listener, uint64_t id, uint32_t flags) {
  struct seccomp_notif_resp response = {.id = id, .flags = flags};
  return !ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
}

/* Lets a parked thread go on. One that was stopped meanwhile (SIGSTOP, a debugger, a frozen cgroup, a host that slept) has made
 * its call once more. */
static bool unpark(const struct sandbox *s, int listener, uint64_t id) {
  struct seccomp_notif notif = {.id = id};
  while (!answer(listener, notif.id, 0))
    if (errno != ENOENT || has_died(s) || !receive(s, listener, &notif, NULL) || notif.data.nr != SYS_sched_yield) return false;
  return true;
}

/* Of the signals' handler, on its own stack, with the signals blocked that were when it was made. (64-bit code that knows nothing
 * of the stub's address cannot claim that, so that what it has changed is not there for another program.) */
static bool is_handler(const struct sandbox *s, const struct seccomp_notif *notif) {
  const struct seccomp_data *d = &notif->data;
  uint64_t stub = (uint64_t)(uintptr_t)s->stub, never = 1ull << (SIGKILL - 1) | 1ull << (SIGSTOP - 1);
  return d->nr == SYS_sched_yield && d->instruction_pointer == stub + stub_offset(stub_parked) &&
         d->args[0] - (stub + STUB_STACK_AT) < STUB_STACK_BYTES && d->args[1] == (not_caught() & ~never);
}

/* The thread of guest code stands still from here on. It may call nothing else. */
static bool park(struct sandbox *s, const volatile int *asked) {
  struct seccomp_notif notif;
  s->parked = receive(s, s->listener, &notif, asked) && is_handler(s, &notif);
  s->id = notif.id;
  return s->parked;
}

static bool mapper_parks(struct sandbox *s, uint64_t *result) {
  struct seccomp_notif notif;
  if (!receive(s, s->mapper_listener, &notif, NULL) || notif.data.nr != SYS_sched_yield) return false;
  s->mapper_id = notif.id, *result = notif.data.args[0];
  return true;
}

/* Has the calls made that wait. False: the host refused one, or the process has died. */
static bool flush(struct sandbox *s) {
  uint64_t result;
  if (!s->calls) return true;
  s->orders->calls = s->calls, s->calls = 0;
  return unpark(s, s->mapper_listener, s->mapper_id) && mapper_parks(s, &result) && !result;
}

/* Has a system call made before guest code runs again. */
static bool ordered(struct sandbox *s, long nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f) {
  if (s->calls == STUB_CALLS && !flush(s)) return false;
  s->orders->call[s->calls++] = (struct stub_call){(uint64_t)nr, {a, b, c, d, e, f}};
  return true;
}

/* ---- making one ---- */

/* Waits for what it says of itself. */
static const char *started(const struct sandbox *s, const volatile int *what) {
  static const char *const wrong[] = {[STUB_NO_TSC] = "RDTSC cannot be made to fault (PR_SET_TSC)",
                                      [STUB_NO_SIGNALS] = "signal handlers cannot be set in a process of its own",
                                      [STUB_NO_SECCOMP] = "no seccomp filters with user notification (Linux 5.5)",
                                      [STUB_NO_THREAD] = "no second thread"};
  while (!*what) {
    int number = s->control->wrong;
    if (number > 0 && number <= STUB_NO_THREAD) return wrong[number];
    if (has_died(s) && !*what) return "a sandbox's process died as it was made";
    sched_yield();
  }
  return NULL;
}

/* A table of descriptors of its own, with two in it, and its own memory alone. */
static bool strip(struct sandbox *s) {
  int a = s->files[0], b = s->files[1];
  uint64_t stub = (uint64_t)(uintptr_t)s->stub, end = stub + STUB_BYTES;
  unsigned low = (unsigned)(b >= 0 && b < a ? b : a), high = (unsigned)(b > a ? b : a);
  return (low == 0 || ordered(s, SYS_close_range, 0, low - 1, CLOSE_RANGE_UNSHARE, 0, 0, 0)) &&
         (high - low < 2 || ordered(s, SYS_close_range, low + 1, high - 1, CLOSE_RANGE_UNSHARE, 0, 0, 0)) &&
         ordered(s, SYS_close_range, high + 1, ~0u, CLOSE_RANGE_UNSHARE, 0, 0, 0) &&
         ordered(s, SYS_munmap, 0, stub, 0, 0, 0, 0) && ordered(s, SYS_munmap, end, USER_END - end, 0, 0, 0, 0) && flush(s);
}

static const char *make_process(struct sandbox *s) {
  static const char died[] = "a sandbox's process died as it was made";
  struct seccomp_notif notif;
  uint64_t result;
  pid_t parent = getpid();
  s->pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
  if (s->pid == 0) child(s, parent);
  if (s->pid < 0) return s->pid = 0, "no process for a sandbox";
  s->pid_fd = (int)syscall(SYS_pidfd_open, s->pid, 0);
  const char *wrong = started(s, &s->control->guest_listener);
  if (wrong) return wrong;
  s->listener = s->control->guest_listener - 1, s->guest = s->control->guest;
  if ((wrong = started(s, &s->control->mapper_listener))) return wrong;
  s->mapper_listener = s->control->mapper_listener - 1;
  if (!receive(s, s->listener, &notif, NULL) || notif.data.nr != SYS_close_range ||
      !answer(s->listener, notif.id, SECCOMP_USER_NOTIF_FLAG_CONTINUE) || !park(s, NULL))
    return died;
  return mapper_parks(s, &result) && strip(s) ? NULL : died;
}

struct sandbox *sandbox_open(int ram_fd, int copies_fd, const char **error) {
  struct sandbox *s = calloc(1, sizeof *s);
  *error = "no memory for a sandbox";
  if (!s) return NULL;
  s->listener = s->mapper_listener = s->pid_fd = -1, s->files[SANDBOX_RAM] = ram_fd, s->files[SANDBOX_COPIES] = copies_fd;
  s->stub = mmap(NULL, STUB_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (s->stub == MAP_FAILED) {
    free(s);
    return NULL;
  }
  memcpy(s->stub, stub_code, (size_t)(stub_code_end - stub_code));
  s->control = (struct stub_control *)(void *)(s->stub + STUB_CONTROL_AT);
  s->orders = (struct stub_orders *)(void *)(s->stub + STUB_ORDERS_AT);
  if ((*error = make_process(s))) {
    sandbox_close(s);
    return NULL;
  }
  s->hides_cpuid = s->control->hides_cpuid;
  /* Linux 6.6; without, it is slower */
  ioctl(s->listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
  ioctl(s->mapper_listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
  return s;
}

void sandbox_close(struct sandbox *s) {
  if (!s) return;
  if (s->pid > 0) {
    kill(s->pid, SIGKILL);
    while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR) continue;
  }
  if (s->listener >= 0) close(s->listener);
  if (s->mapper_listener >= 0) close(s->mapper_listener);
  if (s->pid_fd >= 0) close(s->pid_fd);
  munmap(s->stub, STUB_BYTES);
  free(s);
}

bool sandbox_hides_cpuid(const struct sandbox *s) { return s->hides_cpuid; }

/* ---- its memory and segments ---- */

enum { PAGE = 4096, GUEST_PAGES = 1 << 20 };
static bool within(uint32_t page, uint32_t count) { return page < GUEST_PAGES && count <= GUEST_PAGES - page; }

bool sandbox_map(struct sandbox *s, uint32_t page, uint32_t count, enum sandbox_file file, uint64_t offset, int protection) {
  return within(page, count) &&
         ordered(s, SYS_mmap, (uint64_t)page * PAGE, (uint64_t)count * PAGE, (uint64_t)(unsigned)protection,
                 MAP_SHARED | MAP_FIXED | MAP_POPULATE, (uint64_t)(unsigned)s->files[file], offset);
}
bool sandbox_unmap(struct sandbox *s, uint32_t page, uint32_t count) {
  return within(page, count) && ordered(s, SYS_munmap, (uint64_t)page * PAGE, (uint64_t)count * PAGE, 0, 0, 0, 0);
}

bool sandbox_segment(struct sandbox *s, unsigned entry, uint32_t base, uint32_t limit) {
  bool pages = limit > 0xfffff;
  if (entry >= SANDBOX_LDT_ENTRIES || (pages && (limit & 0xfff) != 0xfff)) return false;
  uint32_t *descriptor = s->orders->descriptor[entry];
  descriptor[0] = entry, descriptor[1] = base, descriptor[2] = pages ? limit >> 12 : limit;
  descriptor[3] = 1 /* 32 bits */ | (uint32_t)pages << 4 | 1 << 6 /* useable */;
  return ordered(s, SYS_modify_ldt, 0x11, (uint64_t)(uintptr_t)descriptor, 16, 0, 0, 0);
}

/* ---- running ---- */

static const uint8_t gregs_of[8] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI};

static void load_state(struct stub_control *c, const struct sandbox_state *state) {
  for (unsigned i = 0; i < 8; i++) c->gregs[gregs_of[i]] = state->gpr[i];
  c->gregs[REG_RIP] = state->eip;
  c->gregs[REG_EFL] = (state->eflags & EFLAGS_GUEST) | EFLAGS_ALWAYS;
  c->gregs[REG_CSGSFS] = USER32_CS | (uint64_t)SANDBOX_FLAT_DATA << 48;
  c->selectors[0] = state->es, c->selectors[1] = state->ds, c->selectors[2] = state->fs, c->selectors[3] = state->gs;
  memcpy(c->fp, state->fp, SANDBOX_FP_BYTES);
}

static void store_state(const struct stub_control *c, struct sandbox_state *state, struct sandbox_exit *exit) {
  for (unsigned i = 0; i < 8; i++) state->gpr[i] = (uint32_t)c->gregs[gregs_of[i]];
  state->eip = (uint32_t)c->gregs[REG_RIP];
  state->eflags = (uint32_t)c->gregs[REG_EFL];
  state->es = (uint16_t)c->selectors[0], state->ds = (uint16_t)c->selectors[1];
  state->fs = (uint16_t)c->selectors[2], state->gs = (uint16_t)c->selectors[3];
  memcpy(state->fp, c->fp, SANDBOX_FP_BYTES);
  exit->signal = (int)c->signal, exit->vector = (unsigned)c->gregs[REG_TRAPNO], exit->error = (uint32_t)c->gregs[REG_ERR];
  exit->address = c->gregs[REG_CR2];
  exit->left = (c->gregs[REG_CSGSFS] & 0xffff) != USER32_CS;
  exit->call = c->signal == SIGSYS;
}

bool sandbox_run(struct sandbox *s, struct sandbox_state *state, struct sandbox_exit *exit, const volatile int *asked) {
  if (!s->parked || !flush(s)) return false;
  load_state(s->control, state);
  atomic_store(&s->running, true);
  if (*asked) {
    atomic_store(&s->running, false);
    *exit = (struct sandbox_exit){.signal = SIGUSR1};
    return true;
  }
  bool good = unpark(s, s->listener, s->id) && park(s, asked);
  atomic_store(&s->running, false);
  if (good) store_state(s->control, state, exit);
  return good;
}

/* A signal that comes while it is parked is taken as soon as it returns to the guest: its handler blocks all. */
void sandbox_interrupt(struct sandbox *s) {
  if (s && atomic_load(&s->running)) syscall(SYS_tgkill, s->pid, s->guest, SIGUSR1);
}

/* Some instructions, through a segment of its own, up to a breakpoint; several times. */
static const char *try_out(struct sandbox *s, uint64_t *cost) {
  enum { AT = 0x10000, TIMES = 12 };
  const int never = 0;
  struct sandbox_exit exit;
  errno = 0; /* what fails from here on is a call of the sandbox's */
  if (!sandbox_segment(s, 1, AT + 128, 0xfff) || !flush(s)) return "no segments of one's own (modify_ldt)";
  if (!sandbox_map(s, AT / PAGE, 1, SANDBOX_RAM, 0, PROT_READ | PROT_EXEC) || !flush(s))
    return "no memory can be mapped in a sandbox";
  *cost = UINT64_MAX;
  for (unsigned i = 0; i < TIMES; i++) {
    struct sandbox_state state = {.eip = AT,
                                  .gs = sandbox_ldt_selector(1),
                                  .es = SANDBOX_FLAT_DATA,
                                  .ds = SANDBOX_FLAT_DATA,
                                  .fp = {0x7f, 3, [24] = 0x80, 0x1f}};
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    if (!sandbox_run(s, &state, &exit, &never) || exit.signal != SIGTRAP || state.gpr[0] != 0x12345679)
      return "32-bit code does not run on this host";
    clock_gettime(CLOCK_MONOTONIC, &end);
    uint64_t took = (uint64_t)(end.tv_sec - begin.tv_sec) * 1000000000u + (uint64_t)end.tv_nsec - (uint64_t)begin.tv_nsec;
    if (took < *cost) *cost = took;
  }
  return NULL;
}

const char *sandbox_probe(uint64_t *cost) {
  static const uint8_t code[] = {0xb8, 0x78, 0x56, 0x34, 0x12,       /* mov eax, 12345678h */
                                 0x65, 0x03, 0x05, 4,    0,    0, 0, /* add eax, gs:[4] */
                                 0xcc};
  const char *error = "no memfd";
  int fd = memfd_create("sandbox-probe", MFD_CLOEXEC);
  if (fd >= 0 && !ftruncate(fd, PAGE) && pwrite(fd, code, sizeof code, 0) == sizeof code && pwrite(fd, "\1", 1, 132) == 1) {
    struct sandbox *s = sandbox_open(fd, -1, &error);
    if (s) error = try_out(s, cost);
    sandbox_close(s);
  }
  if (fd >= 0) close(fd);
  return error;
}
