/* The monitor: the vCPU's run loop over translated code, and all that happens when translated code is left. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "vcpu.h"
#include "clock.h"
#include "../mmu/mmu.h"
#include "../translator/optimisations.h"

/* -d ITEMS (QEMU's names where the meaning is the same). */
#define LOG_ITEMS(X) \
  X(in_asm, "guest code of each block when it is translated") \
  X(out_asm, "host code of each block beside the guest's") \
  X(int, "interrupts and exceptions as they are delivered") \
  X(exec, "each block before it runs (implies nochain)") \
  X(cpu, "registers before each block (with exec)") \
  X(mmu, "page faults, address spaces, traces") \
  X(io, "port and MMIO accesses") \
  X(direct, "address spaces that begin and cease to run directly, and code that does not (--user)") \
  X(unimp, "what a guest asked for and does not exist") \
  X(guest_errors, "what a guest did wrong") \
  X(nochain, "no chaining: every block comes back to the dispatcher")
enum log_item {
#define LOG_ENUM(name, help) LOG_##name,
  LOG_ITEMS(LOG_ENUM) LOG_COUNT
};
#undef LOG_ENUM

enum { POLL_SLEEP_AUTO = -1 };
enum user_choice { USER_TRANSLATE, USER_DIRECT, USER_AUTO };
struct monitor_options {
  uint64_t code_size; /* bytes of code cache; 0: default 64 MiB, of which pages are touched as needed */
  bool single_map;    /* code memory has one mapping, writable or executable by turns (split-wx=off) */
  bool one_insn;      /* -singlestep */
  bool no_chain;
  bool exact_flags;
  bool eager;           /* every site is made as those are that have proved costly */
  uint64_t flush_every; /* blocks; 0: never */
  uint64_t paranoid;    /* blocks between rederivations; 0: never */
  bool irq_jitter;
  uint64_t irq_jitter_seed;
  /* ns that a guest which polls its BIOS for keys sleeps each time; 0: it does not; POLL_SLEEP_AUTO: where that is proven to cost
   * it nothing (rest.h); never in counted mode */
  int64_t poll_sleep;
  enum user_choice user; /* how user code runs (--user) */
  int icount_shift;      /* < 0: off */
  uint32_t without;      /* TR_NO_*: bit per enum optimisation */
  uint32_t host_hidden;  /* bit per enum host_feature: not to be used, as if the host had it not (--host) */
  uint32_t host_wanted;  /* the same: was asked for by name, so that a host without it is an error */
  uint32_t log;          /* bit per enum log_item */
};

struct monitor;
/* NULL and *error (a literal) on a host failure. `machine` is passed to every machine_*() below and in vcpu.h. */
struct monitor *monitor_create(struct machine *machine, struct mmu *mmu, struct clock *clock, const struct cpu_model *model,
                               uint64_t features, const struct monitor_options *options, const char **error);
void monitor_destroy(struct monitor *m);
struct vcpu *monitor_vcpu(struct monitor *m);
/* The mmu callbacks that monitor needs, to be put in mmu_config with opaque = the monitor: since the mmu is made first, the
 * machine forwards them. */
void monitor_code_written(struct monitor *m, uint32_t frame, uint64_t granules);
void monitor_fetch_dropped(struct monitor *m, uint32_t space, uint32_t page);
void monitor_data_dropped(struct monitor *m, uint32_t space, uint32_t page);
void monitor_unshared(struct monitor *m);
void monitor_before_io(struct monitor *m);
void monitor_reset(struct monitor *m);    /* vCPU to its reset state, code cache flushed; INTR is low */
void monitor_init_cpu(struct monitor *m); /* likewise, to that of INIT */
/* Runs the guest in the calling thread until monitor_exit() or vm_stop(). Owns SIGSEGV, SIGFPE, SIGILL, SIGBUS, SIGTRAP and
 * SIGUSR1 of this thread meanwhile (an alternate stack is its own). Returns NULL after monitor_exit(), else vm_stop()'s
 * reason. */
const char *monitor_run(struct monitor *m);
/* For many short runs in one thread: takes what monitor_run() needs of its signals now, and keeps it until told otherwise. NULL
 * or what failed. */
const char *monitor_hold_signals(struct monitor *m, bool hold);
void monitor_exit(struct monitor *m); /* vCPU thread: leave monitor_run() at the next boundary */
/* Async-signal-safe, any thread: machine_poll() is called at the next safepoint, within microseconds. Also wakes a halted vCPU.
 * From a signal handler on the vCPU's own thread only while SIGUSR1 is blocked: its handler has to see the code that was
 * interrupted. */
void monitor_kick(struct monitor *m);
/* The same for any thread, but for no signal handler: in the vCPU's own thread (a device, a post) it costs no signal. */
void monitor_kick_from_code(struct monitor *m);
void monitor_set_log(struct monitor *m, uint32_t log); /* vCPU thread, at a safepoint: bit per enum log_item */
void monitor_set_intr(struct monitor *m, bool level);  /* vCPU thread (devices run there): the INTR pin */
void monitor_nmi(struct monitor *m);
/* Writes to these ports are offered to `write` first, with the guest's x87/SSE state live (it is compiled without x87/SSE and
 * libc, D7), and asks for no time; false: machine_io_write() does it. `ports` NULL: none. */
void monitor_set_plain_ports(struct monitor *m, const struct plain_ports *ports);
uint64_t monitor_insn_count(const struct monitor *m); /* -icount */
/* -icount: monitor_run() returns (NULL) once, at the boundary after instruction number `count`, before anything that is due there
 * happens; at once where that has passed. UINT64_MAX: never. */
void monitor_stop_at(struct monitor *m, uint64_t count);
/* Somebody who follows the run, exception by exception (bt diff): `exception` is called with FP parked, before each delivery of a
 * fault, trap or software interrupt, and returns whether monitor_run() shall return right after it. Interrupts are told by
 * machine_ack_interrupt(). NULL: nobody. */
void monitor_on_exception(struct monitor *m, bool (*exception)(void *opaque, const struct fault *fault), void *opaque);
/* Between two monitor_run(): delivers an external interrupt (2: NMI) here and now, whatever INTR says. False, and nothing done,
 * where the CPU would not take it: IF clear, or in the shadow of STI or MOV SS. */
bool monitor_interrupt(struct monitor *m, uint8_t vector);
/* Guest and host code of the blocks that the dispatcher ran last, newest first, to machine_log(). Not while it runs. */
void monitor_report_recent(struct monitor *m, unsigned blocks);
/* The run loop's own state beside the vCPU's, which monitor_fields() describes; monitor_loaded() after a change of either.
 * fields.c. */
void *monitor_state(struct monitor *m);
const struct field *monitor_fields(void);
void monitor_loaded(struct monitor *m);

/* ---- implemented by bt/machine.c (or a test's mock); always called with FP parked, in the vCPU thread ---- */
void machine_poll(struct machine *m);         /* run due timers, take completions of other threads */
int machine_ack_interrupt(struct machine *m); /* vector, or -1 when it went away */
/* HLT with nothing to do: sleep until the next deadline or a kick (whichever first), then poll. */
void machine_idle(struct machine *m);
void machine_doze(struct machine *m, int64_t ns); /* the same, but for at most so long */
void machine_log(struct machine *m, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Symbol for a guest linear address, or NULL; *offset from it. */
const char *machine_symbol(struct machine *m, gla linear, uint32_t *offset);

#define MONITOR_COUNTERS(X) \
  X(dispatches, "returns to the dispatcher") \
  X(translations, "blocks translated") \
  X(translated_insns, "guest instructions translated") \
  X(translated_bytes, "... their bytes") \
  X(hot_bytes, "bytes of host code made of them") \
  X(cold_bytes, "... and of cold stubs") \
  X(translate_ns, "nanoseconds spent translating") \
  X(flushes, "code cache flushes") \
  X(chains, "jumps chained") \
  X(slow_fill, "slow accesses that filled an entry") \
  X(slow_cross, "accesses that crossed a page") \
  X(slow_io, "accesses to MMIO") \
  X(slow_traced, "stores to traced RAM") \
  X(slow_fault, "accesses that faulted") \
  X(window_misses, "windows whose check failed") \
  X(callouts, "instructions run by the monitor") \
  X(hash_misses, "indirect branches not in the hash") \
  X(lookups, "block table lookups") \
  X(faults, "exceptions delivered") \
  X(interrupts, "external interrupts delivered") \
  X(safepoints, "safepoints taken") \
  X(halts, "HLT") \
  X(looks, "rounds of a loop that polls the BIOS that were looked at (--poll-sleep=auto)") \
  X(proofs, "... that did nothing but ask") \
  X(dozes, "sleeps between polls of the BIOS (--poll-sleep)") \
  X(refills, "blocks whose kept addends changed too often") \
  X(thunks, "blocks with an inlined thunk that loads its return address") \
  X(divisors, "blocks that compare divisors since a division faulted") \
  X(signals, "host signals in translated code") \
  X(stacks_full, "host stacks of return addresses that ran full") \
  X(code_kills, "blocks killed by stores") \
  X(fp_parks, "x87/SSE state saved for C code") \
  X(bounces, "instructions run on a bounce buffer") \
  X(tables, "changes of shadow table") \
  X(direct_contexts, "address spaces that were given a sandbox (--user)") \
  X(direct_promotions, "address spaces that were found computing") \
  X(direct_demotions, "... and were sent back, since they left their sandbox too often") \
  X(direct_rests, "... and were translated for a while, since they entered their kernel by themselves") \
  X(direct_entries, "times that user code was run directly") \
  X(direct_exits, "exits of a sandbox") \
  X(direct_page_exits, "... for a page") \
  X(direct_call_exits, "... for INT 80h") \
  X(direct_repairs, "... after a load of a segment register that no look had found") \
  X(direct_maps, "mappings of sandboxes made or changed") \
  X(direct_looks, "pages of code looked through before they run directly") \
  X(direct_unfit, "... and found to hold what must be translated") \
  X(direct_ns, "nanoseconds in sandboxes, with the way in and out") \
  X(mirrors, "address spaces that were given a mirror, in which their accesses are made") \
  X(mirrors_given_up, "... and had it taken away, since it cost too much") \
  X(mirror_faults, "accesses whose page was missing in the mirror") \
  X(mirror_maps, "mappings of mirrors made or changed") \
  X(mirror_leaves, "blocks that do without, since one of their accesses faults")
struct monitor_counters {
#define MONITOR_COUNTER(name, help) uint64_t name;
  MONITOR_COUNTERS(MONITOR_COUNTER)
#undef MONITOR_COUNTER
  uint64_t callout_kind[OP_KIND_COUNT];
};
const struct monitor_counters *monitor_get_counters(const struct monitor *m);
/* How user code runs, for people; *reason: why it is not as it was asked for, or NULL. Literals. */
const char *monitor_user_code(const struct monitor *m, const char **reason);
