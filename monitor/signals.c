/* Host signals of the vCPU thread: faults of translated code (SIGSEGV, SIGFPE, SIGILL, SIGBUS), and the kick (SIGUSR1).
 *
 * A fault inside code memory is either a safepoint (R12 points to an unreadable page), an instruction at which the guest's own
 * would fault (a FAULT site), or a thunk. Each has an exit: the handler moves RIP there and the exit stub stores the guest's
 * state as after any other exit. Anything else is our bug. */
#define _GNU_SOURCE
#include "direct.h"
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

/* Handlers belong to the process: the first machine installs them, the last puts the old ones back. */
static pthread_mutex_t users_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned users;
static struct sigaction old_actions[5];
static __thread struct monitor *current; /* whose guest this thread runs: a signal handler has no other way to know */
static const int signals[] = {SIGSEGV, SIGFPE, SIGILL, SIGBUS, SIGUSR1};
enum { SIGNAL_COUNT = sizeof signals / sizeof signals[0], SIGNAL_STACK = 64 << 10 };

/* Between a safepoint and the RDTSC that it stands before (translator/emit.c). Code memory ends in cold stubs: two bytes more
 * can be read. */
static bool before_rdtsc(struct monitor *m, uint32_t at) {
  if (at < TR_SAFEPOINT_SIZE) return false;
  const uint8_t *code = tcache_address(m->code.tcache, at);
  return code[0] == 0x0f && code[1] == 0x31 && tcache_site_at(m->code.tcache, at - TR_SAFEPOINT_SIZE);
}

static void kicked(struct monitor *m, ucontext_t *uc) {
  m->kicked = 1;
  if (monitor_counted(m)) return;
  if (m->direct) sandbox_interrupt(m->direct->running);
  m->v->s.safepoint = m->poison;
  uint32_t at = tcache_offset(m->code.tcache, (uint64_t)uc->uc_mcontext.gregs[REG_RIP]);
  const struct tr_stubs *stubs = tcache_stubs(m->code.tcache);
  if (before_rdtsc(m, at)) uc->uc_mcontext.gregs[REG_RIP] -= TR_SAFEPOINT_SIZE; /* its safepoint is run again */
  /* elsewhere R12 is the C code's */
  if (at >= stubs->underflow || (at && at == stubs->enter_jump)) uc->uc_mcontext.gregs[REG_R12] = (greg_t)m->poison;
}

/* A host CALL (or the PUSH of an exit) found translated code's stack full: its newer half moves to the bottom, the returns of the
 * older one will be looked up. */
static bool stack_full(struct monitor *m, const siginfo_t *info, ucontext_t *uc) {
  uint64_t bottom = m->v->s.code_stack, at = (uint64_t)uc->uc_mcontext.gregs[REG_RSP], low = bottom + 8 - TR_STACK_BYTES;
  if ((uint64_t)(uintptr_t)info->si_addr + 8 != low || at != low) return false;
  uint64_t half = TR_STACK_BYTES / 2;
  memmove((void *)(uintptr_t)(bottom - half), (void *)(uintptr_t)at, half);
  uc->uc_mcontext.gregs[REG_RSP] = (greg_t)(bottom - half);
  m->counters.stacks_full++;
  return true;
}

static bool guest_fault(struct monitor *m, int number, siginfo_t *info, ucontext_t *uc) {
  uint32_t at = tcache_offset(m->code.tcache, (uint64_t)uc->uc_mcontext.gregs[REG_RIP]);
  if (!at) return false;
  m->counters.signals++;
  if (number == SIGSEGV && stack_full(m, info, uc)) return true;
  m->host_signal = number, m->host_code = info->si_code, m->host_vector = (int)uc->uc_mcontext.gregs[REG_TRAPNO];
  m->host_address = (uint64_t)(uintptr_t)info->si_addr;
  const struct tr_stubs *stubs = tcache_stubs(m->code.tcache);
  uint32_t leave;
  if (at == stubs->underflow_safepoint) {
    m->kicked = 1; /* a kick in the midst of a poll leaves the poison alone */
    leave = stubs->underflow_exit;
  } else if (m->thunk_fault && at == m->thunk_fault) {
    m->thunk_faulted = true;
    leave = m->thunk_exit;
  } else {
    struct tr_site *site = tcache_site_at(m->code.tcache, at);
    if (!site) return false;
    leave = site->cold;
  }
  uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)tcache_address(m->code.tcache, leave);
  return true;
}

/* MOV AL, [RAX]: where the page is unreadable the handler goes on behind it. */
void signals_probe(const void *unreadable);
__asm__(".pushsection .text\n .globl signals_probe\n signals_probe:\n movb (%rdi), %al\n ret\n .popsection");
enum { PROBE_SIZE = 2 };

static bool probe_fault(int number, ucontext_t *uc) {
  greg_t *rip = &uc->uc_mcontext.gregs[REG_RIP];
  if (number != SIGSEGV || *rip != (greg_t)(uintptr_t)signals_probe) return false;
  *rip += PROBE_SIZE;
  return true;
}

uint64_t signals_fault_ns(struct monitor *m) {
  uint64_t least = UINT64_MAX;
  for (unsigned i = 0; i < 16; i++) {
    uint64_t begun = clock_host_ns();
    signals_probe((const void *)(uintptr_t)(m->poison & ~31ull));
    uint64_t took = clock_host_ns() - begun;
    if (took < least) least = took;
  }
  return least;
}

static void handler(int number, siginfo_t *info, void *context) {
  struct monitor *m = current;
  if (m && number == SIGUSR1) {
    kicked(m, context);
    return;
  }
  if (number == SIGUSR1 || (m && (guest_fault(m, number, info, context) || probe_fault(number, context)))) return;
  report_crash(m, number, info, context);
  struct sigaction dfl = {.sa_handler = SIG_DFL};
  sigaction(number, &dfl, NULL); /* the instruction faults again and the process dies of it */
}

const char *signals_install(struct monitor *m) {
  stack_t stack = {.ss_size = SIGNAL_STACK};
  stack.ss_sp = mmap(NULL, SIGNAL_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (stack.ss_sp == MAP_FAILED || sigaltstack(&stack, &m->old_stack)) return "no alternate signal stack";
  m->signal_stack = stack.ss_sp;
  m->outer = current;
  current = m;
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  sigemptyset(&action.sa_mask);
  sigaddset(&action.sa_mask, SIGUSR1); /* in a handler that goes back to translated code (stack_full()) a kick would be lost */
  int failed = 0;
  pthread_mutex_lock(&users_lock);
  for (unsigned i = 0; i < SIGNAL_COUNT && users == 0; i++) failed |= sigaction(signals[i], &action, &old_actions[i]);
  users++;
  pthread_mutex_unlock(&users_lock);
  /* From here on a kick is a signal. Sequentially consistent, and so is the load in monitor_kick(): of the two threads, one sees
   * what the other has stored before it looked (`kicked` and `tid`), or the kick would be lost in both store buffers. */
  atomic_store(&m->tid, (int)syscall(SYS_gettid));
  return failed ? "cannot install signal handlers" : NULL;
}

void signals_restore(struct monitor *m) {
  atomic_store(&m->tid, 0);
  pthread_mutex_lock(&users_lock);
  users--;
  for (unsigned i = 0; i < SIGNAL_COUNT && users == 0; i++) sigaction(signals[i], &old_actions[i], NULL);
  pthread_mutex_unlock(&users_lock);
  sigaltstack(&m->old_stack, NULL);
  munmap(m->signal_stack, SIGNAL_STACK);
  current = m->outer;
}

const char *monitor_hold_signals(struct monitor *m, bool hold) {
  if (hold == m->holds_signals) return NULL;
  if (!hold) signals_restore(m);
  const char *failed = hold ? signals_install(m) : NULL;
  m->holds_signals = hold && !failed;
  return failed;
}

/* What runs is C code: R12 is loaded anew when it is left. */
void monitor_kick_from_code(struct monitor *m) {
  if (current != m) return monitor_kick(m);
  m->kicked = 1;
  if (!monitor_counted(m)) m->v->s.safepoint = m->poison;
}

void monitor_kick(struct monitor *m) {
  m->kicked = 1;
  atomic_thread_fence(memory_order_seq_cst);
  int tid = atomic_load(&m->tid);
  if (tid) syscall(SYS_tgkill, getpid(), tid, SIGUSR1);
}
