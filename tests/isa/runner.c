/* The sandboxed process that runs cases on a CPU: freestanding, no libc, compiled for 32-bit and for 64-bit mode (runner.h;
 * tests/isa/CMakeLists.txt).
 *
 * It maps code and data where cases want them and works through batches without a system call but for the futex between two
 * batches. A case ends by a jump to runner_leaves, or by a signal, from whose handler the next case goes on without returning to
 * the kernel. After set-up seccomp allows the futex and the end of the process, so that no random code can do more than die. In
 * 64-bit mode nothing but cases' memory lies below 4 GiB. */
#include "runner.h"
#include "runner_layout.h"
#include "runner_system.h"

struct runner_control {
  uint32_t gpr[8], eflags, start, exit, mxcsr;
  uint64_t host_sp;
  uint64_t frame[5];
  uint64_t leave[MAX_EXITS];
  uint8_t fx[FX_SIZE] __attribute__((aligned(64)));
  uint16_t selector[6]; /* 32-bit mode: at an exit */
};
#define ASSERT_AT(member, offset) _Static_assert(offsetof(struct runner_control, member) == offset, #member)
ASSERT_AT(eflags, RC_EFLAGS);
ASSERT_AT(start, RC_START);
ASSERT_AT(exit, RC_EXIT);
ASSERT_AT(mxcsr, RC_MXCSR);
ASSERT_AT(host_sp, RC_HOST_SP);
ASSERT_AT(frame, RC_FRAME);
ASSERT_AT(leave, RC_LEAVE);
ASSERT_AT(fx, RC_FX);
ASSERT_AT(selector, RC_SELECTOR);

struct runner_control runner_control; /* the stub's; with what follows, this process's only state */
static struct runner_shared *shared;
static uint8_t *view;           /* the data pages, all writable */
static struct outcome *outcome; /* of the running case */
static uint8_t signal_stack[64 << 10] __attribute__((aligned(64)));

void runner_enter(struct runner_control *);
void runner_signal(void);
void runner_main(void);
void runner_caught(int number, const void *info, const struct frame_context *c);
extern const uint8_t runner_leaves[];
enum { LEAVE_SIZE = 16, FILLER = 0xf4 };

/* The compiler calls these by itself. */
void *memcpy(void *to, const void *from, size_t n) {
  void *start = to;
  __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
  return start;
}
void *memset(void *to, int value, size_t n) {
  void *start = to;
  __asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(value) : "memory");
  return start;
}

/* ---- set-up ---------------------------------------------------------------------------------------------------- */

static void *map(uintptr_t at, size_t size, int prot, int flags, int fd, uint32_t offset) {
  return (void *)system_call(SYS_mmap_, (long)at, (long)size, prot, flags | (at ? MAP_FIXED_ : 0), fd,
                             (long)(offset >> MMAP_OFFSET_SHIFT));
}
static bool mapped(const void *p) { return (uintptr_t)p < (uintptr_t)-4096; }

/* The memory file: struct runner_shared, then the data pages. */
static bool map_data(uint32_t at, uint32_t offset) {
  for (unsigned i = 0; i < DATA_PAGES; i++) {
    if (DATA_MAP[i] == '-') continue;
    int prot = DATA_MAP[i] == 'w' ? PROT_READ_ | PROT_WRITE_ : PROT_READ_;
    if (!mapped(map(at + i * PAGE, PAGE, prot, MAP_SHARED_ | MAP_POPULATE_, RUNNER_FD, offset + i * PAGE))) return false;
  }
  return true;
}

static bool map_all(void) {
  bool wide = sizeof(void *) == 8;
  uint32_t size = (sizeof *shared + PAGE - 1) & ~(PAGE - 1);
  shared = map(wide ? 0 : RUNNER_SHARED_AT, size, PROT_READ_ | PROT_WRITE_, MAP_SHARED_ | MAP_POPULATE_, RUNNER_FD, 0);
  view = map(wide ? 0 : RUNNER_VIEW_AT, DATA_SIZE, PROT_READ_ | PROT_WRITE_, MAP_SHARED_ | MAP_POPULATE_, RUNNER_FD, size);
  if (!mapped(shared) || !mapped(view)) system_call(SYS_exit_group_, RUNNER_NO_MEMORY, 0, 0, 0, 0, 0);
  void *code =
    map(CODE_AT, CODE_PAGES * PAGE, PROT_READ_ | PROT_WRITE_ | PROT_EXEC_, MAP_PRIVATE_ | MAP_ANONYMOUS_ | MAP_POPULATE_, -1, 0);
  if (mapped(code)) memset(code, FILLER, CODE_PAGES * PAGE);
  /* empty and there, as the guest's */
  bool entry = mapped(map(ENTRY_AT, PAGE, PROT_READ_ | PROT_EXEC_, MAP_PRIVATE_ | MAP_ANONYMOUS_ | MAP_POPULATE_, -1, 0));
  return mapped(code) && entry && map_data(DATA_LOW, size) && map_data(DATA_HIGH, size);
}

#ifndef __x86_64__
/* The stack that the kernel gave us grows by itself where random code touches it, and lies where cases may reach; so does the
 * vDSO. */
static void unmap_rest(void) { system_call(SYS_munmap_, (long)0xd4000000u, 0xffffe000 - 0xd4000000u, 0, 0, 0, 0); }
#else
static void unmap_rest(void) {}
#endif

static bool install_signals(void) {
  static const uint8_t signals[] = {4 /* ILL */, 5 /* TRAP */, 7 /* BUS */, 8 /* FPE */, 11 /* SEGV */};
  struct kernel_stack stack = {.sp = signal_stack, .size = sizeof signal_stack};
  if (system_call(SYS_sigaltstack_, (long)&stack, 0, 0, 0, 0, 0)) return false;
  struct kernel_sigaction action = {
    .handler = runner_signal, .flags = SA_SIGINFO_ | SA_ONSTACK_ | SA_NODEFER_ | SA_RESTORER_, .restorer = runner_signal};
  for (unsigned i = 0; i < sizeof signals; i++)
    if (system_call(SYS_rt_sigaction_, signals[i], (long)&action, 0, 8, 0, 0)) return false;
  return true;
}

static bool install_sandbox(void) {
  static const struct filter_step steps[] = {
    {BPF_LOAD, 0, 0, 4 /* seccomp_data.arch */},
    {BPF_IF_EQUAL, 0, 3, SECCOMP_ARCH},
    {BPF_LOAD, 0, 0, 0 /* .nr */},
    {BPF_IF_EQUAL, 2, 0, SYS_futex_},
    {BPF_IF_EQUAL, 1, 0, SYS_exit_group_},
    {BPF_RETURN, 0, 0, SECCOMP_KILL},
    {BPF_RETURN, 0, 0, SECCOMP_ALLOW},
  };
  const struct filter_program program = {sizeof steps / sizeof *steps, steps};
  if (system_call(SYS_prctl_, PR_SET_NO_NEW_PRIVS_, 1, 0, 0, 0, 0)) return false;
  return system_call(SYS_prctl_, PR_SET_SECCOMP_, SECCOMP_MODE_FILTER_, (long)&program, 0, 0, 0) == 0;
}

/* ---- one case -------------------------------------------------------------------------------------------------- */

#ifdef __x86_64__
static void note_selectors(const struct frame_context *c, struct outcome *out) {} /* the driver knows better */
static void note_fx(const struct frame_context *c, struct outcome *out) { memcpy(out->fx, c->fpstate, FX_SIZE); }
#else
/* ST registers and tags of an FSAVE image, as FXSAVE would have them: what an emulator's frame has instead. */
static void convert_fsave(const uint8_t *from, uint8_t *fx) {
  fx[0] = from[0], fx[1] = from[1], fx[2] = from[4], fx[3] = from[5], fx[4] = 0;
  for (unsigned i = 0; i < 8; i++) {
    if ((from[8 + i / 4] >> i % 4 * 2 & 3) != 3) fx[4] |= (uint8_t)(1 << i);
    memcpy(fx + 32 + 16 * i, from + 28 + 10 * i, 10);
  }
}

static void note_selectors(const struct frame_context *c, struct outcome *out) {
  const uint32_t selectors[6] = {c->es, c->cs, c->ss, c->ds, c->fs, c->gs};
  for (unsigned i = 0; i < 6; i++) out->selector[i] = (uint16_t)selectors[i];
}

static void note_fx(const struct frame_context *c, struct outcome *out) {
  enum { MAGIC = 110, EXTENDED = 112 };
  memcpy(out->fx, runner_control.fx, FX_SIZE);
  if (!c->fpstate) return;
  if (c->fpstate[MAGIC] == 0xff) convert_fsave(c->fpstate, out->fx);
  else memcpy(out->fx, c->fpstate + EXTENDED, FX_SIZE);
}
#endif

/* qemu-i386 leaves out the vector (-1): what signal and si_code tell. */
static uint8_t vector_of(int number, int code, uint32_t trapno) {
  enum { ILL = 4, TRAP = 5, BUS = 7, FPE = 8, FROM_KERNEL = 128, INT_DIVIDE = 1 };
  if (trapno < 32) return (uint8_t)trapno;
  switch (number) {
  case ILL: return 6;
  case TRAP: return code == FROM_KERNEL ? 3 : 1;
  case BUS: return 17;
  case FPE: return code == INT_DIVIDE ? 0 : 16;
  default: return code == FROM_KERNEL ? 13 : 14;
  }
}

/* Called by the stub's signal handler. */
void runner_caught(int number, const void *info, const struct frame_context *c) {
  struct outcome *out = outcome;
  if (!out) system_call(SYS_exit_group_, RUNNER_BROKEN, 0, 0, 0, 0, 0); /* not in a case: the runner's own bug */
  out->end = END_FAULT, out->vector = vector_of(number, ((const int *)info)[2], (uint32_t)c->trapno),
  out->error = (uint32_t)c->err, out->cr2 = (uint32_t)c->cr2;
  out->eip = (uint32_t)c->eip, out->eflags = (uint32_t)c->eflags;
  const uint32_t gpr[8] = {(uint32_t)c->eax, (uint32_t)c->ecx, (uint32_t)c->edx, (uint32_t)c->ebx,
                           (uint32_t)c->esp, (uint32_t)c->ebp, (uint32_t)c->esi, (uint32_t)c->edi};
  memcpy(out->gpr, gpr, sizeof gpr);
  note_selectors(c, out);
  note_fx(c, out);
}

static void put_code(const struct runner_case *c) {
  static uint32_t written = CODE_AT, end = CODE_AT;
  memset((void *)(uintptr_t)written, FILLER, end - written);
  uint32_t low = c->code_at, high = c->code_at + c->code_size;
  memcpy((void *)(uintptr_t)low, c->code, c->code_size);
  for (unsigned i = 0; i < MAX_EXITS; i++) {
    if (!c->exit_at[i]) continue;
    uint8_t *p = (uint8_t *)(uintptr_t)c->exit_at[i];
#ifdef __x86_64__
    const uint8_t jump[EXIT_BYTES] = {0x41, 0xff, 0xa7, (uint8_t)(RC_LEAVE + 8 * i), 0, 0, 0}; /* JMP [R15 + leave[i]] */
    runner_control.leave[i] = (uint64_t)(runner_leaves + LEAVE_SIZE * i);
#else
    uint32_t to = (uint32_t)(runner_leaves + LEAVE_SIZE * i) - (c->exit_at[i] + 5);
    const uint8_t jump[EXIT_BYTES] = {0xe9,   (uint8_t)to, (uint8_t)(to >> 8), (uint8_t)(to >> 16), (uint8_t)(to >> 24),
                                      FILLER, FILLER};
#endif
    memcpy(p, jump, EXIT_BYTES);
    if (c->exit_at[i] < low) low = c->exit_at[i];
    if (c->exit_at[i] + EXIT_BYTES > high) high = c->exit_at[i] + EXIT_BYTES;
  }
  written = low, end = high;
}

static void apply_patches(const struct runner_case *c) {
  for (unsigned i = 0; i < c->patch_count; i++) {
    const struct patch *p = &c->patches[i];
    for (unsigned k = 0; k < p->size; k++) {
      unsigned at = p->offset + k;
      if (at < DATA_SIZE && DATA_MAP[at / PAGE] != '-') view[at] = c->pool[p->at + k];
    }
  }
}

/* A line differs? Four words of a vector type at a time: this is most of what a case costs here. */
typedef long long words __attribute__((vector_size(16), aligned(16)));
static bool line_differs(const uint8_t *a, const uint8_t *b) {
  const words *x = (const words *)a, *y = (const words *)b;
  words d = (x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]);
  return d[0] | d[1];
}

static void collect(struct outcome *out) {
  for (uint32_t at = 0; at < DATA_SIZE; at += LINE) {
    if (DATA_MAP[at / PAGE] == '-') {
      at += PAGE - LINE;
      continue;
    }
    if (!line_differs(view + at, shared->background + at)) continue;
    if (out->line_count < MAX_LINES) {
      struct line *l = &out->lines[out->line_count++];
      l->offset = at;
      memcpy(l->bytes, view + at, LINE);
    } else out->overflowed = true;
    memcpy(view + at, shared->background + at, LINE);
  }
}

static void run_case(const struct runner_case *c, struct outcome *out) {
  struct runner_control *k = &runner_control;
  memset(out, 0, offsetof(struct outcome, lines));
  put_code(c);
  apply_patches(c);
  memcpy(k->gpr, c->gpr, sizeof k->gpr);
  memcpy(k->fx, c->fx, FX_SIZE);
  k->eflags = c->eflags, k->start = c->start;
  const uint64_t frame[5] = {c->start, 0x33, c->eflags, c->gpr[REG_ESP], 0x2b};
  memcpy(k->frame, frame, sizeof frame);
  outcome = out;
  runner_enter(k);
  outcome = NULL;
  if (out->end != END_FAULT) {
    out->end = END_EXIT, out->exit = (uint8_t)k->exit, out->eflags = k->eflags;
    memcpy(out->gpr, k->gpr, sizeof out->gpr);
    memcpy(out->selector, k->selector, sizeof out->selector);
    memcpy(out->fx, k->fx, FX_SIZE);
  }
  collect(out);
}

/* ---- batches --------------------------------------------------------------------------------------------------- */

static void fill_data(void) {
  for (unsigned i = 0; i < DATA_PAGES; i++)
    if (DATA_MAP[i] != '-') memcpy(view + i * PAGE, shared->background + i * PAGE, PAGE);
}

static void serve(void) {
  uint32_t served = __atomic_load_n(&shared->done, __ATOMIC_ACQUIRE);
  for (;;) {
    uint32_t request;
    while ((request = __atomic_load_n(&shared->request, __ATOMIC_ACQUIRE)) == served)
      system_call(SYS_futex_, (long)&shared->request, FUTEX_WAIT_, (long)served, 0, 0, 0);
    if (shared->fresh) fill_data(), shared->fresh = 0;
    for (uint32_t i = shared->current; i < shared->count; i++) {
      __atomic_store_n(&shared->current, i, __ATOMIC_RELEASE);
      run_case(&shared->cases[i], &shared->out[i]);
    }
    served = request;
    __atomic_store_n(&shared->done, served, __ATOMIC_RELEASE);
    system_call(SYS_futex_, (long)&shared->done, FUTEX_WAKE_, 1, 0, 0, 0);
  }
}

static enum runner_error set_up(void) {
  system_call(SYS_prctl_, PR_SET_PDEATHSIG_, SIGKILL_, 0, 0, 0, 0); /* nobody would end it */
  if (!map_all()) return RUNNER_NO_MEMORY;
  if (!install_signals()) return RUNNER_NO_SIGNALS;
  if (!shared->may_be_open) unmap_rest();
  runner_control.mxcsr = 0x1f80;
  shared->sandboxed = install_sandbox();
  return shared->sandboxed || shared->may_be_open ? RUNNER_OK : RUNNER_NO_SANDBOX;
}

void runner_main(void) {
  shared = NULL;
  enum runner_error error = set_up();
  shared->error = error;
  __atomic_store_n(&shared->ready, 1, __ATOMIC_RELEASE);
  system_call(SYS_futex_, (long)&shared->ready, FUTEX_WAKE_, 1, 0, 0, 0);
  if (error == RUNNER_OK) serve();
  system_call(SYS_exit_group_, (long)error, 0, 0, 0, 0, 0);
}
