/* The driver's side of the runner process: starts it, hands batches over, and notices when a case hangs or kills it
 * (reference.h). */
#define _GNU_SOURCE
#include "reference.h"
#include "runner.h"
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct reference {
  enum reference_kind kind;
  bool emulated; /* the host's CPU is QEMU's */
  pid_t pid;     /* 0: none */
  int fd;
  size_t size;
  struct runner_shared *shared;
  unsigned count;
  const struct isa_case *cases[RUNNER_BATCH];
  const struct listing *listings[RUNNER_BATCH];
  struct recoded recoded[RUNNER_BATCH]; /* 64-bit mode only */
};
enum { POLL_MS = 200, HANG_POLLS = 10 /* two seconds in one case */ };

/* ---- the process ----------------------------------------------------------------------------------------------- */

static void wait_for(uint32_t *word, uint32_t while_value) {
  const struct timespec limit = {.tv_nsec = POLL_MS * 1000000};
  syscall(SYS_futex, word, FUTEX_WAIT, while_value, &limit, NULL, 0);
}

static bool is_alive(struct reference *r) {
  int status;
  if (!r->pid || waitpid(r->pid, &status, WNOHANG) != r->pid) return r->pid != 0;
  if (WIFEXITED(status) && WEXITSTATUS(status) == RUNNER_BROKEN) {
    fprintf(stderr, "isa: the runner faulted outside of a case\n");
    exit(2);
  }
  r->pid = 0;
  return r->pid != 0;
}

static void stop(struct reference *r) {
  if (r->pid) kill(r->pid, SIGKILL), waitpid(r->pid, NULL, 0);
  r->pid = 0;
}

/* Runners lie in the build's isa folder, beside or one up from the driver's. */
static bool runner_path(enum reference_kind kind, char *path, size_t size) {
  char self[PATH_MAX];
  ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
  if (n <= 0) return false;
  self[n] = 0;
  int length = snprintf(path, size, "%s/../isa/isa_runner%s", dirname(self), kind == REFERENCE_NATIVE64 ? "64" : "32");
  return length > 0 && (size_t)length < size && access(path, X_OK) == 0;
}

static bool start(struct reference *r) {
  char path[PATH_MAX], *no_environment[] = {NULL};
  if (!runner_path(r->kind, path, sizeof path)) return false;
  char *direct[] = {path, NULL}, *emulated[] = {"qemu-i386", path, NULL};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, r->fd, RUNNER_FD);
  r->shared->ready = 0, r->shared->fresh = 1;
  pid_t pid;
  int error = r->kind == REFERENCE_QEMU ? posix_spawnp(&pid, emulated[0], &actions, NULL, emulated, no_environment)
                                        : posix_spawn(&pid, path, &actions, NULL, direct, no_environment);
  posix_spawn_file_actions_destroy(&actions);
  if (error) return false;
  r->pid = pid;
  while (!__atomic_load_n(&r->shared->ready, __ATOMIC_ACQUIRE)) {
    if (!is_alive(r)) return false;
    wait_for(&r->shared->ready, 0);
  }
  return r->shared->error == RUNNER_OK;
}

static bool make_shared(struct reference *r) {
  size_t whole = (sizeof *r->shared + PAGE - 1) & ~(size_t)(PAGE - 1);
  r->size = whole + DATA_SIZE;
  int fd = memfd_create("isa-runner", 0);
  if (fd < 0) return false;
  r->fd = fcntl(fd, F_DUPFD_CLOEXEC, 16); /* not where the runner expects it: dup2() onto itself would keep it closed */
  close(fd);
  if (r->fd < 0 || ftruncate(r->fd, (off_t)r->size)) return false;
  r->shared = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0);
  if (r->shared == MAP_FAILED) r->shared = NULL;
  return r->shared != NULL;
}

void reference_destroy(struct reference *r) {
  if (!r) return;
  stop(r);
  if (r->shared) munmap(r->shared, r->size - DATA_SIZE);
  if (r->fd >= 0) close(r->fd);
  free(r);
}

/* QEMU (TCG, 7.2) lets IRET in ring 3 set VM, and has far calls store to the stack as ring 0 does: the kernel of a host that it
 * emulates does not survive the one, and kills the runner for the other. */
static bool is_emulated(void) {
  unsigned eax, name[3], ecx, edx;
  if (!__get_cpuid(1, &eax, name, &ecx, &edx) || !(ecx >> 31)) return false;
  __cpuid(0x40000000, eax, name[0], name[1], name[2]);
  return !memcmp(name, "TCGTCGTCGTCG", sizeof name);
}
static bool harms_emulated_host(const struct opcode_row *row) {
  return row->kind == OP_IRET || row->kind == OP_CALL_FAR_IMM || row->kind == OP_CALL_FAR_MEM;
}

struct reference *reference_create(enum reference_kind kind, const char **error) {
  struct reference *r = calloc(1, sizeof *r);
  *error = "no memory";
  if (!r) return NULL;
  r->kind = kind, r->fd = -1, r->emulated = kind != REFERENCE_QEMU && is_emulated();
  if (make_shared(r)) {
    r->shared->may_be_open = kind == REFERENCE_QEMU;
    *error = kind == REFERENCE_QEMU       ? "qemu-i386 is not there (Debian: qemu-user), or does not run the runner"
             : kind == REFERENCE_NATIVE32 ? "this host runs no 32-bit code"
                                          : "this host does not let the runner map its memory or shut itself in";
    if (start(r)) return r;
  }
  reference_destroy(r);
  return NULL;
}

struct reference *reference_create_host(const char **error) {
  struct reference *r = reference_create(REFERENCE_NATIVE32, error);
  return r ? r : reference_create(REFERENCE_NATIVE64, error);
}

/* ---- what it can do -------------------------------------------------------------------------------------------- */

const char *reference_name(const struct reference *r) {
  static const char *const names[] = {"the host CPU in 32-bit mode", "the host CPU in 64-bit mode, code written anew",
                                      "QEMU (qemu-i386)"};
  return names[r->kind];
}
enum reference_kind reference_kind(const struct reference *r) { return r->kind; }

double reference_cpu_time(const struct reference *r) {
  clockid_t clock;
  struct timespec t = {0};
  if (!r->pid || clock_getcpuclockid(r->pid, &clock) || clock_gettime(clock, &t)) return 0;
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

const char *reference_row_left_out(const struct reference *r, const struct opcode_row *row) {
  if (r->emulated && harms_emulated_host(row)) return "the host is emulated, and QEMU does it to its kernel's harm";
  return r->kind == REFERENCE_NATIVE64 ? recode_row_left_out(row) : NULL;
}

bool reference_owns(const struct reference *r, uint32_t linear) {
  enum { PROGRAM = 0x08048000, PROGRAM_SIZE = 1 << 20 }; /* where ld puts a static 32-bit program */
  return r->kind != REFERENCE_NATIVE64 &&
         (linear - PROGRAM < PROGRAM_SIZE || (linear >= RUNNER_VIEW_AT && linear < RUNNER_SHARED_AT + sizeof *r->shared));
}

void reference_set_background(struct reference *r, const uint8_t *background) {
  memcpy(r->shared->background, background, DATA_SIZE);
  r->shared->fresh = 1;
}

/* ---- batches --------------------------------------------------------------------------------------------------- */

static bool put_as_it_is(struct runner_case *to, const struct isa_case *c) {
  if (c->eflags & FLAG_TF) return false; /* the stub cannot load it together with EIP */
  for (unsigned i = 0; i < 6; i++)
    if (c->selector[i] != (i == SEG_CS ? SEL_CODE : SEL_DATA)) return false;
  to->start = c->start, to->code_at = c->code_at, to->code_size = c->code_size;
  memcpy(to->exit_at, c->exit_at, sizeof to->exit_at);
  memcpy(to->code, c->code, c->code_size);
  return true;
}

static bool put_recoded(struct runner_case *to, const struct recoded *r, const struct isa_case *c, const struct listing *l) {
  int start = listing_find(l, c, c->start);
  if (start < 0) return false;
  to->start = r->at + r->new_at[start], to->code_at = r->at, to->code_size = r->size;
  memcpy(to->exit_at, r->exit_at, sizeof to->exit_at);
  memcpy(to->code, r->code, r->size);
  return true;
}

bool reference_add(struct reference *r, const struct isa_case *c, const struct listing *l) {
  if (r->count == RUNNER_BATCH) return false;
  for (unsigned i = 0; r->emulated && i < l->count; i++)
    if (harms_emulated_host(l->list[i].insn.row)) return false;
  struct runner_case *to = &r->shared->cases[r->count];
  if (r->kind == REFERENCE_NATIVE64) {
    struct recoded *recoded = &r->recoded[r->count];
    if (!recode(recoded, c, l) || !put_recoded(to, recoded, c, l)) return false;
  } else if (!put_as_it_is(to, c)) return false;
  memcpy(to->gpr, c->gpr, sizeof to->gpr);
  to->eflags = c->eflags | FLAG_IF | 2;
  memcpy(to->fx, c->fx, FX_SIZE);
  to->patch_count = c->patch_count;
  memcpy(to->patches, c->patches, c->patch_count * sizeof *c->patches);
  memcpy(to->pool, c->pool, c->pool_used);
  r->cases[r->count] = c, r->listings[r->count] = l;
  r->count++;
  return true;
}

void reference_start(struct reference *r) {
  struct runner_shared *s = r->shared;
  if (!r->count) return;
  s->count = r->count, s->current = 0;
  __atomic_store_n(&s->request, s->request + 1, __ATOMIC_RELEASE);
  syscall(SYS_futex, &s->request, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* The case that is running gets this end; a new runner goes on behind it. */
static bool give_up_case(struct reference *r, enum end_kind end) {
  struct runner_shared *s = r->shared;
  stop(r);
  memset(&s->out[s->current], 0, sizeof s->out[0]);
  s->out[s->current].end = (uint8_t)end;
  s->current++;
  return start(r);
}

static void wait_until_done(struct reference *r) {
  struct runner_shared *s = r->shared;
  uint32_t last = 0;
  unsigned polls = 0;
  for (uint32_t done; (done = __atomic_load_n(&s->done, __ATOMIC_ACQUIRE)) != s->request;) {
    wait_for(&s->done, done);
    uint32_t at = __atomic_load_n(&s->current, __ATOMIC_ACQUIRE);
    if (at != last) last = at, polls = 0;
    bool alive = is_alive(r);
    if (alive && ++polls < HANG_POLLS) continue;
    if (__atomic_load_n(&s->done, __ATOMIC_ACQUIRE) == s->request) break;
    polls = 0;
    if (!give_up_case(r, alive ? END_HANG : END_STOPPED)) {
      fprintf(stderr, "isa: the runner does not start again\n");
      exit(2);
    }
  }
}

/* What 64-bit mode shows otherwise. */
static void translate_outcome(struct reference *r, unsigned i, struct outcome *out) {
  const struct isa_case *c = r->cases[i];
  if (r->kind != REFERENCE_QEMU) outcome_mend_int1(c, out);
  if (r->kind != REFERENCE_NATIVE64) return;
  for (unsigned s = 0; s < 6; s++) out->selector[s] = c->selector[s];
  if (out->end != END_FAULT) return;
  if (!recode_find_eip(&r->recoded[i], c, r->listings[i], &out->eip)) out->end = END_STOPPED;
}

void reference_wait(struct reference *r, struct outcome *out) {
  if (!r->count) return;
  wait_until_done(r);
  for (unsigned i = 0; i < r->count; i++) {
    const struct outcome *from = &r->shared->out[i];
    memcpy(&out[i], from, offsetof(struct outcome, lines) + from->line_count * sizeof *from->lines);
    translate_outcome(r, i, &out[i]);
  }
  r->count = 0;
}
