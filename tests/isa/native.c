/* The host CPU's side: 32-bit code inside this 64-bit process, in compatibility mode (CS 23h), with code and data mapped where
 * cases want them.
 *
 * An exit is a far jump to a 64-bit code segment; a fault comes back as a signal, whose frame has vector, error code, CR2 and all
 * state but the data selectors (native_stub.S notes those). One `struct native` can exist at a time, because the addresses are
 * fixed and because a signal handler has no other way to find it: native_current is the one static variable of these tests. */
#define _GNU_SOURCE
#include "case.h"
#include "native_layout.h"
#include <asm/prctl.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

struct native_control {
  uint32_t gpr[8], eflags;
  uint8_t exit;
  uint16_t selectors[6];
  uint32_t mxcsr;
  uint32_t active;
  struct {
    uint64_t rip, cs, rflags, rsp, ss;
  } frame;
  uint64_t host_rsp, fs_base;
  const void *leave;
  uint8_t fx[FX_SIZE] __attribute__((aligned(64)));
  /* of a fault */
  bool faulted, ticked; /* ticked: the watchdog ended it */
  uint8_t vector;
  uint32_t error, cr2, eip;
};
#define ASSERT_AT(member, offset) _Static_assert(offsetof(struct native_control, member) == offset, #member)
ASSERT_AT(gpr, NC_GPR);
ASSERT_AT(eflags, NC_EFLAGS);
ASSERT_AT(exit, NC_EXIT);
ASSERT_AT(selectors, NC_SELECTORS);
ASSERT_AT(mxcsr, NC_MXCSR);
ASSERT_AT(active, NC_ACTIVE);
ASSERT_AT(frame, NC_FRAME);
ASSERT_AT(host_rsp, NC_HOST_RSP);
ASSERT_AT(fs_base, NC_FS_BASE);
ASSERT_AT(leave, NC_LEAVE);
ASSERT_AT(fx, NC_FX);

struct native {
  struct native_control control;
  int code_fd, data_fd;
  uint8_t *code, *data; /* writable views */
  struct memory memory;
  const uint8_t *background;
  uint32_t written, written_size; /* of the last case's code, to be wiped */
  uint8_t *signal_stack;
  stack_t old_stack;
  struct sigaction old_actions[8];
};
struct native_control *native_current;
void native_enter(struct native_control *);
extern const char native_leave[], native_resume[];
void native_signal(int, siginfo_t *, void *);
void native_caught(int number, siginfo_t *info, ucontext_t *uc);

static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGVTALRM};
enum { SIGNAL_COUNT = sizeof signals / sizeof *signals, SIGNAL_STACK = 64 << 10, FILLER = 0xf4 /* HLT: #GP */, ENTRY_SIZE = 16 };

/* ---- faults ---------------------------------------------------------------------------------------------------- */

static void note_fault(struct native_control *k, const ucontext_t *uc) {
  static const uint8_t order[8] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI};
  const greg_t *g = uc->uc_mcontext.gregs;
  for (unsigned i = 0; i < 8; i++) k->gpr[i] = (uint32_t)g[order[i]];
  k->eflags = (uint32_t)g[REG_EFL];
  k->eip = (uint32_t)g[REG_RIP];
  k->vector = (uint8_t)g[REG_TRAPNO];
  k->error = (uint32_t)g[REG_ERR];
  k->cr2 = (uint32_t)g[REG_CR2];
  k->selectors[SEG_SS] = (uint16_t)(g[REG_CSGSFS] >> 48);
  k->selectors[SEG_CS] = (uint16_t)g[REG_CSGSFS];
  memcpy(k->fx, uc->uc_mcontext.fpregs, FX_SIZE);
  k->faulted = true;
}

/* Called by native_signal with the C ABI's segments. A fault outside 32-bit code is this program's own; a tick of the watchdog
 * ends the case wherever it is, as the selectors are gone. */
void native_caught(int number, siginfo_t *info, ucontext_t *uc) {
  struct native_control *k = native_current;
  greg_t *g = uc->uc_mcontext.gregs;
  bool tick = number == SIGVTALRM;
  if (tick && (!k || !k->active)) return;
  if (!tick && (!k || !k->active || (uint64_t)g[REG_RIP] >> 32)) {
    fprintf(stderr, "isa: signal %d at %llx, address %p: not of 32-bit code\n", number, (unsigned long long)g[REG_RIP],
            info->si_addr);
    signal(number, SIG_DFL);
    return;
  }
  note_fault(k, uc);
  k->ticked = tick;
  g[REG_RIP] = (greg_t)(uintptr_t)native_resume;
  g[REG_RSP] = (greg_t)k->host_rsp;
  g[REG_R15] = (greg_t)(uintptr_t)k;
  g[REG_EFL] = 2;
  g[REG_CSGSFS] = (greg_t)(0x2bull << 48 | 0x33);
}

static bool install_signals(struct native *n) {
  n->signal_stack = mmap(NULL, SIGNAL_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (n->signal_stack == MAP_FAILED) {
    n->signal_stack = NULL;
    return false;
  }
  stack_t stack = {.ss_sp = n->signal_stack, .ss_size = SIGNAL_STACK};
  if (sigaltstack(&stack, &n->old_stack)) return false;
  struct sigaction action = {.sa_sigaction = native_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
  sigfillset(&action.sa_mask);
  for (unsigned i = 0; i < SIGNAL_COUNT; i++) sigaction(signals[i], &action, &n->old_actions[i]);
  const struct itimerval every = {.it_interval.tv_sec = 1, .it_value.tv_sec = 1};
  return setitimer(ITIMER_VIRTUAL, &every, NULL) == 0;
}

/* ---- memory ---------------------------------------------------------------------------------------------------- */

static bool map_at(uint32_t at, size_t size, int prot, int fd, off_t offset) {
  void *p = mmap((void *)(uintptr_t)at, size, prot, MAP_SHARED | MAP_FIXED_NOREPLACE | MAP_POPULATE, fd, offset);
  if (p == MAP_FAILED) return false;
  if (p == (void *)(uintptr_t)at) return true;
  munmap(p, size); /* a kernel that does not know MAP_FIXED_NOREPLACE */
  return false;
}

/* Entry k: notes exit k, then native_leave. MOV BYTE [R15 + NC_EXIT], k; JMP [R15 + NC_LEAVE]. */
static void write_entries(uint8_t *page) {
  static const uint8_t entry[ENTRY_SIZE] = {0x41, 0xc6, 0x87, NC_EXIT, 0, 0, 0, 0, 0x41, 0xff, 0xa7, NC_LEAVE, 0, 0, 0};
  for (unsigned i = 0; i < MAX_EXITS; i++) {
    memcpy(page + i * ENTRY_SIZE, entry, ENTRY_SIZE);
    page[i * ENTRY_SIZE + 7] = (uint8_t)i;
  }
}

static bool map_code(struct native *n) {
  size_t size = (1 + CODE_PAGES) * PAGE;
  n->code_fd = memfd_create("isa-code", 0);
  if (n->code_fd < 0 || ftruncate(n->code_fd, (off_t)size)) return false;
  n->code = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, n->code_fd, 0);
  if (n->code == MAP_FAILED) {
    n->code = NULL;
    return false;
  }
  memset(n->code, FILLER, size);
  write_entries(n->code);
  return map_at(ENTRY_AT, size, PROT_READ | PROT_EXEC, n->code_fd, 0);
}

static bool map_data(struct native *n) {
  n->data_fd = memfd_create("isa-data", 0);
  if (n->data_fd < 0 || ftruncate(n->data_fd, DATA_SIZE)) return false;
  n->data = mmap(NULL, DATA_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, n->data_fd, 0);
  if (n->data == MAP_FAILED) {
    n->data = NULL;
    return false;
  }
  for (unsigned i = 0; i < DATA_PAGES; i++) {
    if (DATA_MAP[i] == '-') continue;
    n->memory.page[i] = n->data + i * PAGE;
    int prot = DATA_MAP[i] == 'w' ? PROT_READ | PROT_WRITE : PROT_READ;
    if (!map_at(DATA_LOW + i * PAGE, PAGE, prot, n->data_fd, (off_t)i * PAGE)) return false;
#ifndef __SANITIZE_ADDRESS__ /* the sanitizer's shadow lies there */
    if (!map_at(DATA_HIGH + i * PAGE, PAGE, prot, n->data_fd, (off_t)i * PAGE)) return false;
#endif
  }
  return true;
}

void native_destroy(struct native *n) {
  if (!n) return;
  if (n->signal_stack) {
    const struct itimerval never = {0};
    setitimer(ITIMER_VIRTUAL, &never, NULL);
    for (unsigned i = 0; i < SIGNAL_COUNT; i++) sigaction(signals[i], &n->old_actions[i], NULL);
    sigaltstack(&n->old_stack, NULL);
    munmap(n->signal_stack, SIGNAL_STACK);
  }
  if (n->code) munmap(n->code, (1 + CODE_PAGES) * PAGE), munmap((void *)(uintptr_t)ENTRY_AT, (1 + CODE_PAGES) * PAGE);
  if (n->data) munmap(n->data, DATA_SIZE);
  for (unsigned i = 0; i < DATA_PAGES; i++) {
    if (!n->memory.page[i]) continue;
    munmap((void *)(uintptr_t)(DATA_LOW + i * PAGE), PAGE);
#ifndef __SANITIZE_ADDRESS__
    munmap((void *)(uintptr_t)(DATA_HIGH + i * PAGE), PAGE);
#endif
  }
  if (n->code_fd >= 0) close(n->code_fd);
  if (n->data_fd >= 0) close(n->data_fd);
  native_current = NULL;
  free(n);
}

/* ---- running --------------------------------------------------------------------------------------------------- */

void native_set_background(struct native *n, const uint8_t *background) {
  n->background = background;
  memory_fill(&n->memory, background);
}

static void put_code(struct native *n, const struct isa_case *c) {
  memset(n->code + n->written, FILLER, n->written_size);
  memcpy(n->code + (c->code_at - ENTRY_AT), c->code, c->code_size);
  uint32_t low = c->code_at - ENTRY_AT, high = low + c->code_size;
  for (unsigned i = 0; i < MAX_EXITS; i++) {
    if (!c->exit_at[i]) continue;
    uint32_t at = c->exit_at[i] - ENTRY_AT, entry = ENTRY_AT + i * ENTRY_SIZE;
    uint8_t *p = n->code + at;
    p[0] = 0xea, p[5] = 0x33, p[6] = 0; /* JMP 33h:entry */
    memcpy(p + 1, &entry, 4);
    if (at < low) low = at;
    if (at + EXIT_BYTES > high) high = at + EXIT_BYTES;
  }
  n->written = low, n->written_size = high - low;
}

static void fill_outcome(struct native *n, struct outcome *out) {
  const struct native_control *k = &n->control;
  out->end = k->ticked ? END_HANG : k->faulted ? END_FAULT : END_EXIT;
  out->exit = k->exit;
  out->vector = k->vector, out->error = k->error, out->cr2 = k->cr2, out->eip = k->eip;
  memcpy(out->gpr, k->gpr, sizeof out->gpr);
  out->eflags = k->eflags;
  memcpy(out->selector, k->selectors, sizeof out->selector);
  memcpy(out->fx, k->fx, FX_SIZE);
}

static void run_once(struct native *n, const struct isa_case *c, struct outcome *out) {
  struct native_control *k = &n->control;
  memory_apply(&n->memory, c);
  memcpy(k->gpr, c->gpr, sizeof k->gpr);
  memcpy(k->selectors, c->selector, sizeof k->selectors);
  memcpy(k->fx, c->fx, FX_SIZE);
  k->frame.rip = c->start, k->frame.cs = c->selector[SEG_CS], k->frame.rflags = c->eflags | FLAG_IF | 2,
  k->frame.rsp = c->gpr[REG_ESP], k->frame.ss = c->selector[SEG_SS];
  k->faulted = k->ticked = false, k->exit = 0, k->vector = 0, k->error = k->cr2 = k->eip = 0;
  native_enter(k);
  fill_outcome(n, out);
  memory_collect(&n->memory, n->background, out);
}

/* A tick may hit a case that would have ended: it gets a second of its own then. */
void native_run(struct native *n, const struct isa_case *c, struct outcome *out) {
  put_code(n, c);
  run_once(n, c, out);
  if (out->end == END_HANG) run_once(n, c, out);
}

/* Whether this kernel runs 32-bit code at all: user code segment 23h (IA32 emulation), read back by LAR. */
static bool have_code32(void) {
  uint32_t rights = 0, selector = SEL_CODE;
  uint8_t ok;
  __asm__("lar %2, %0; setz %1" : "+r"(rights), "=qm"(ok) : "r"(selector) : "cc");
  return ok && (rights & 0xf800) == 0xf800 && (rights >> 22 & 1); /* present, DPL 3, code; D */
}

struct native *native_create(const char **error) {
  *error = "this host's kernel has no 32-bit user code segment (IA32 emulation is off)";
  if (!have_code32()) return NULL;
  *error = "the host refuses modify_ldt()";
  if (!descriptor_install_native()) return NULL;
  struct native *n = aligned_alloc(64, (sizeof *n + 63) & ~(size_t)63);
  *error = "no memory";
  if (!n) return NULL;
  memset(n, 0, sizeof *n);
  n->code_fd = n->data_fd = -1;
  *error = "the addresses of code and data are not free in this process";
  if (!map_code(n) || !map_data(n) || !install_signals(n)) {
    native_destroy(n);
    return NULL;
  }
  n->control.mxcsr = 0x1f80;
  n->control.leave = native_leave;
  syscall(SYS_arch_prctl, ARCH_GET_FS, &n->control.fs_base);
  native_current = &n->control;
  return n;
}
