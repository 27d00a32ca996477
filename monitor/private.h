/* Private to the run loop's files (run.c, slow.c, mode.c, signals.c, report.c). */
#pragma once
#include <signal.h>
#include <stdatomic.h>
#include "../tcache/tcache.h"
#include "monitor.h"
#include "rest.h"

/* Decoded instructions of the slow paths, with the thunk that runs them on a buffer. Found by address, believed only if the bytes
 * agree. */
struct slow_insn {
  gla linear;
  uint32_t generation;        /* of the tcache, that `thunk` belongs to */
  uint32_t thunk, thunk_exit; /* code-memory offsets; 0: none */
  uint32_t room;              /* that it was given for a thunk, of this instruction or of what was there before */
  uint16_t thunk_fault;       /* from `thunk` on: 96 bytes in all */
  bool valid, code32;
  struct insn insn;
};
enum { RUN_RETRY = EXEC_STOP + 1 /* nothing was done: dispatch again */, RUN_UNFIT /* ... by another block */ };
enum { REFILLS = 20000 /* allowed between two polls */ };
enum { COSTLY_BITS = 11, COSTLY = 1 << COSTLY_BITS };
enum { SLOW_INSNS = 512, RECENT = 32, NO_SITE = 0xffffffffu };

/* Code that keeps being written (selfmod.c). */
enum { SELFMOD_SLOTS = 64 };
struct selfmod {
  bool active; /* some byte has become unstable */
  struct unstable_byte {
    uint32_t frame;
    uint16_t offset;
    uint8_t kills;
  } bytes[SELFMOD_SLOTS];
  struct unstable_insn {
    uint32_t frame;
    uint16_t offset, byte; /* in the page: of the instruction, and of its unstable byte */
    uint16_t left;         /* how often it is still run without a block; 0: none */
  } insns[SELFMOD_SLOTS];
};

/* What is the trace cache's, whichever CPU runs its code: what is translated, how, and the numbers of modes in hash keys. */
struct code {
  struct tcache *tcache;
  unsigned translate_options; /* of optimisations.h */
  void (*enter)(struct tr_state *, const void *);
  uint64_t blocks_since_flush;
  struct mode_id { /* what each hash mode id stands for: mode bits, and a CS that is not told by the rest of the key */
    uint64_t bits;
    uint32_t cs_base, cs_limit;
  } mode_ids[2048];
  unsigned mode_count;
  struct {
    uint64_t key;
    struct mode_id id;
  } mode_cache[16];        /* key + 1; 0: empty */
  struct costly {          /* costly.c */
    uint32_t eip, options; /* TR_NO_ADDENDS, TR_NO_MIRROR, TR_CHECK_DIVISORS */
    /* accesses that faulted in the mirror, and when (ns) the first of some did */
    unsigned faults;
    uint64_t since;
    unsigned stores; /* of those, to what is traced */
    /* checks its accesses until then (0: not, or for good) */
    uint64_t until;
    struct tc_key left;
    uint8_t times;
  } costly[COSTLY];
  uint64_t costly_until; /* the first of these `until`; 0: none */
};

/* The rest is a CPU's. */
struct monitor {
  struct vcpu *v; /* in `memory` */
  struct mmu *mmu;
  struct code code;
  struct clock *clock;
  struct machine *machine;
  struct monitor_options options;
  struct monitor_counters counters;
  struct tr_mode mode; /* of the current state, when !v->mode_dirty */
  struct {
    uint32_t cr0, cr4, dr7, bits;
    bool no_chain, looked;
  } system;          /* mode.c: what those registers, when they were looked at last, make of the mode */
  bool intr;         /* INTR pin */
  bool fp_used;      /* ring 0 or 16-bit code has used x87/SSE lately */
  unsigned fp_loads; /* of that state since */
  bool mid_rep;      /* the last round left a REP instruction between two iterations */
  bool dropped;      /* something derived died since this was cleared */
  volatile sig_atomic_t kicked;
  bool exit_requested, running, holds_signals;
  bool (*on_exception)(void *opaque, const struct fault *fault);
  void *on_exception_opaque;
  const char *stop_reason;
  atomic_int tid; /* of the thread that runs it; 0: a kick needs no signal, whoever comes to run it looks at `kicked` first */
  uint64_t readable, poison; /* what s.safepoint points to */
  uint8_t *memory;
  uint64_t memory_size;
  /* host faults in translated code (signals.c fills them) */
  int host_signal, host_code, host_vector /* of the CPU exception behind it */;
  uint64_t host_address;
  uint32_t thunk_fault, thunk_exit; /* while a thunk runs: where it may fault and where it leaves; 0: none runs */
  bool thunk_faulted;
  bool polled; /* before the instruction that is run next, which has waited for that (monitor_polls_first()) */
  /* -icount */
  uint64_t count;     /* instructions run, without those of the block being run */
  uint64_t stop_at;   /* monitor_run() returns when `count` gets there; UINT64_MAX: never */
  int64_t count_left; /* given to the block being run */
  uint64_t blocks_since_check;
  uint64_t jitter_state;
  unsigned jitter_delay;
  struct slow_insn slow[SLOW_INSNS];
  struct selfmod selfmod;
  struct direct *direct;   /* NULL: user code is always translated */
  struct mirrors *mirrors; /* NULL: it never loads from a mirror */
  uint64_t user_entries;   /* changes to user mode */
  struct rest *rest;       /* NULL: a guest that polls its BIOS never sleeps */
  struct {
    uint32_t eip, cs_base;
    uint64_t mode;
  } recent[RECENT];
  unsigned recent_at;
  stack_t old_stack;
  void *signal_stack;
  struct monitor *outer; /* the one that this thread ran before (two machines in one process) */
};

static inline bool monitor_counted(const struct monitor *m) { return m->options.icount_shift >= 0; }
/* Something was asked for, and a device that is asked for the time now might tell of some in which the CPU was away (clock.c,
 * "busy hosts"): the poll comes first. Once: behind a poll the instruction is run, whatever was asked for since, or deadlines
 * that are nearer together than a poll takes would keep the guest where it is. -icount polls at exact instructions. */
static inline bool monitor_polls_first(struct monitor *m) {
  if (!m->kicked || m->polled || monitor_counted(m)) return false;
  return m->polled = true;
}
static inline gla monitor_linear_eip(const struct monitor *m) { return segment_linear(&m->v->s.seg[SEG_CS], m->v->s.eip); }

/* mode.c */
void mode_update(struct monitor *m);                 /* after v->mode_dirty */
uint64_t mode_key(struct monitor *m, uint64_t bits); /* of the current CS: see state.h */
bool mode_watches_code(const struct vcpu *v);

/* signals.c */
const char *signals_install(struct monitor *m); /* NULL or what failed */
void signals_restore(struct monitor *m);
uint64_t signals_fault_ns(struct monitor *m); /* what a fault of the host takes at least, with its handler; installed; FP parked
                                               */

/* slow.c */
/* Runs one instruction at EIP without a block. Returns enum exec_result. */
int slow_step(struct monitor *m);
/* An access check failed at `site`. May resume translated code; true when it did and left again (s.site is new). */
bool slow_access(struct monitor *m, struct tr_site *site, int *result);
/* A load found its page missing in the mirror; as slow_access(). */
bool slow_mirror(struct monitor *m, struct tr_site *site, int *result);
int slow_callout(struct monitor *m, const struct insn *insn);
/* Real mode: keeps the vector table's host address, if the whole of it is there in one page, so that the next INT n need not come
 * to the monitor (emit_int). */
void slow_remember_vectors(struct monitor *m);
int slow_host_fault(struct monitor *m, struct tr_site *site);

/* costly.c */
uint32_t costly_options(struct monitor *m, uint32_t eip);          /* TR_*: that blocks at the EIP are made with, too */
void costly_addends(struct monitor *m, const struct tc_block *b);  /* addends that the block keeps change too often */
void costly_division(struct monitor *m, const struct tc_key *key); /* one of the block's has raised #DE */
/* An access in the mirror has faulted at `site`. Its block checks its accesses for a while if that happens often, and for good if
 * it is of a device, of the kernel's half, or of memory that is no RAM. As slow_access(). */
bool costly_mirror_fault(struct monitor *m, struct tr_site *site, int *result);
void costly_sample(struct monitor *m); /* at a poll: such blocks come back to the mirror */

/* selfmod.c */
void selfmod_killed(struct monitor *m, uint32_t frame, unsigned offset); /* blocks died of a store to that byte of the frame */
/* Bytes from `offset` to the next unstable one of the frame; UINT32_MAX: there is none. */
uint32_t selfmod_next(const struct monitor *m, uint32_t frame, unsigned offset);
/* The instruction at `offset` has the unstable byte in it. */
void selfmod_add(struct monitor *m, uint32_t frame, unsigned offset, unsigned byte);
/* Is the instruction at `offset` run without a block, this time? */
bool selfmod_run(struct monitor *m, uint32_t frame, unsigned offset);

/* run.c */
void run_enter(struct monitor *m, const void *code);
void run_load_fp(struct monitor *m); /* the guest's x87/SSE state is in the host's registers from here on */
void run_flush(struct monitor *m);
void run_block_died(void *opaque, const struct tc_block *b); /* the trace cache's callback: its entry in the hash goes, too */
void run_tell_clock(struct monitor *m); /* -icount: how many instructions are done; the state must be settled */
/* Guest state as it is at `site`: EIP, ESP, instruction count. */
void run_settle(struct monitor *m, const struct tr_site *site);

/* report.c: compiled plainly, FP parked */
void report_block(struct monitor *m, const struct tc_block *b, const struct tr_request *rq);
void report_exec(struct monitor *m, uint32_t eip);
void report_stop(struct monitor *m, const char *reason);
void report_crash(struct monitor *m, int number, siginfo_t *info, void *context); /* our bug: what is known, to stderr */
void report_mmu(struct monitor *m, const char *what, uint32_t a, uint32_t b);     /* -d mmu; parks the FP state itself */
void report_fault(struct monitor *m, const char *what, int vector);               /* -d int */
