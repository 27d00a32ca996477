/* Making and unmaking a monitor: its memory, its trace cache, its options. */
#define _GNU_SOURCE
#include "direct.h"
#include "mirror.h"
#include "round.h"
#include "../translator/host_cpu.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* One mapping: a guard page, translated code's stack, a guard page (poison), a readable page, and in one huge page, where the
 * host has them, the hash and the vCPU. */
enum {
  PAGE = 4096,
  HUGE_PAGE = 2 << 20,
  HASH_BYTES = TR_HASH_ENTRIES * (int)sizeof(struct tr_hash_entry),
  BEFORE_HASH = PAGE + TR_STACK_BYTES + 2 * PAGE
};
_Static_assert(HASH_BYTES + sizeof(struct vcpu) <= HUGE_PAGE, "the hash and the vCPU share a huge page");
_Static_assert(HASH_BYTES == -TR_HASH_OFFSET, "the hash lies right below struct tr_state");
_Static_assert(offsetof(struct vcpu, s) == 0, "R13 points to struct tr_state and struct vcpu");

static bool map_memory(struct monitor *m) {
  m->memory_size = BEFORE_HASH + 2 * HUGE_PAGE;
  m->memory = mmap(NULL, m->memory_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (m->memory == MAP_FAILED) {
    m->memory = NULL;
    return false;
  }
  uint8_t *hash = m->memory + BEFORE_HASH;
  hash += -(uintptr_t)hash & (HUGE_PAGE - 1);
  uint8_t *readable = hash - PAGE, *poison = readable - PAGE, *below_stack = poison - TR_STACK_BYTES - PAGE;
  if (mprotect(below_stack, PAGE, PROT_NONE) || mprotect(poison, PAGE, PROT_NONE)) return false;
  madvise(hash, HUGE_PAGE, MADV_HUGEPAGE);
  /* + 12: R12 is a shift count too */
  m->poison = (uint64_t)(uintptr_t)poison + 12, m->readable = (uint64_t)(uintptr_t)readable + 12;
  m->v = (struct vcpu *)(void *)(hash + HASH_BYTES);
  m->v->s.hash = (struct tr_hash_entry *)(void *)hash;
  m->v->s.code_stack = m->v->s.code_rsp = (uint64_t)(uintptr_t)poison - 8;
  m->v->s.safepoint = m->readable;
  m->v->s.stack_page = 1ull << 40;
  return true;
}

static unsigned translator_options(const struct monitor_options *o) {
  unsigned bits = o->without & TR_NO_OPTIMISATIONS;
  if (o->exact_flags) bits |= TR_EXACT_FLAGS;
  if (o->eager && !(bits & TR_NO_DIVISORS)) bits |= TR_CHECK_DIVISORS;
  if (!(host_cpu_features() & ~o->host_hidden & 1u << HOST_BMI2)) bits |= TR_NO_SHRX;
  bits |= o->icount_shift >= 0 ? TR_COUNT : TR_REAL_TSC;
  return bits;
}

/* The fraction nearest to hz / 1 GHz whose numerator, times the crystal's kHz, fits the 32 bits that Linux multiplies in
 * (continued fractions). */
static void tsc_ratio(uint32_t ratio[2], uint64_t hz) {
  uint64_t a = hz, b = 1000000000, p0 = 0, p1 = 1, q0 = 1, q1 = 0;
  while (b) {
    uint64_t n = a / b, p = n * p1 + p0, q = n * q1 + q0, rest = a % b;
    if (p > 4294 || q > 4294) break;
    p0 = p1, p1 = p, q0 = q1, q1 = q, a = b, b = rest;
  }
  ratio[0] = (uint32_t)p1, ratio[1] = (uint32_t)q1;
}

static bool make_rest(struct monitor *m) {
  if (!m->options.poll_sleep || monitor_counted(m)) return true;
  m->rest = calloc(1, sizeof *m->rest);
  if (m->rest && m->options.poll_sleep == POLL_SLEEP_AUTO) m->rest->round = calloc(1, round_size());
  return m->rest && (m->rest->round || m->options.poll_sleep != POLL_SLEEP_AUTO);
}

/* Whoever wants to see or count each instruction has it translated. */
static bool make_direct(struct monitor *m, const char **error) {
  const struct monitor_options *o = &m->options;
  if (o->user == USER_TRANSLATE || monitor_counted(m) || o->one_insn || o->no_chain || o->irq_jitter) return true;
  if (o->user == USER_DIRECT && (*error = sandbox_probe(&(uint64_t){0}))) return false;
  return (m->direct = direct_create()) != NULL;
}

static bool make_mirrors(struct monitor *m) {
  const struct monitor_options *o = &m->options;
  if (o->without & TR_NO_MIRROR || monitor_counted(m) || o->one_insn || o->no_chain || o->irq_jitter) return true;
  bool fast_gs = host_cpu_features() & ~o->host_hidden & 1u << HOST_FSGSBASE;
  return (m->mirrors = mirrors_create(clock_tsc_hz(m->clock), fast_gs)) != NULL;
}

struct monitor *monitor_create(struct machine *machine, struct mmu *mmu, struct clock *clock, const struct cpu_model *model,
                               uint64_t features, const struct monitor_options *options, const char **error) {
  if (!host_cpu_supported(error)) return NULL;
  struct monitor *m = calloc(1, sizeof *m);
  *error = "no memory for the virtual CPU";
  if (!m) return NULL;
  m->machine = machine, m->mmu = mmu, m->clock = clock, m->options = *options, m->stop_at = UINT64_MAX;
  if (options->log & (1u << LOG_exec | 1u << LOG_nochain)) m->options.no_chain = true;
  m->code.translate_options = translator_options(&m->options);
  if (m->options.no_chain) m->code.translate_options |= TR_NO_HASH;
  m->jitter_state = options->irq_jitter_seed * 2 + 1;
  if (!make_rest(m) || !make_direct(m, error) || !make_mirrors(m) || !map_memory(m)) {
    monitor_destroy(m);
    return NULL;
  }
  m->code.tcache =
    tcache_create(options->code_size ? options->code_size : 64 << 20, options->single_map, run_block_died, m, error);
  if (!m->code.tcache) {
    monitor_destroy(m);
    return NULL;
  }
  m->code.enter =
    (void (*)(struct tr_state *, const void *))(uintptr_t)tcache_address(m->code.tcache, tcache_stubs(m->code.tcache)->enter);
  const struct tr_stubs *stubs = tcache_stubs(m->code.tcache);
  *(const void **)(uintptr_t)m->v->s.code_stack =
    tcache_address(m->code.tcache, monitor_counted(m) ? stubs->underflow_counted : stubs->underflow);
  m->v->machine = machine, m->v->monitor = m, m->v->mmu = mmu, m->v->mmu_cpu = mmu_cpu(mmu, 0), m->v->model = model,
  m->v->features = features;
  m->v->tells_pauses = m->rest;
  tsc_ratio(m->v->tsc_ratio, clock_tsc_hz(clock));
  clock_publish_tsc(clock, &m->v->s.tsc_offset);
  monitor_reset(m);
  return m;
}

void monitor_destroy(struct monitor *m) {
  if (!m) return;
  if (m->v && m->v->fp_live) vcpu_park_fp(m->v);
  clock_publish_tsc(m->clock, NULL);
  tcache_destroy(m->code.tcache);
  direct_destroy(m->direct);
  mirrors_destroy(m->mirrors);
  if (m->memory) munmap(m->memory, m->memory_size);
  if (m->rest) free(m->rest->round);
  free(m->rest);
  free(m);
}

void monitor_set_log(struct monitor *m, uint32_t log) {
  bool no_chain = log & (1u << LOG_exec | 1u << LOG_nochain);
  m->options.log = log;
  if (m->options.no_chain == no_chain) return;
  m->options.no_chain = no_chain;
  m->code.translate_options = translator_options(&m->options) | (no_chain ? TR_NO_HASH : 0);
  run_flush(m);
  m->v->mode_dirty = true;
}
