/* Direct execution of guest user code (DESIGN.md D8): which address spaces run in a sandbox, what is mapped there, and what
 * becomes of its exits. The sandbox's mappings are one more shadow of the guest's page tables: what is mapped there is mapped in
 * the current space's user table, so whatever drops an entry there is told here, and before the sandbox runs again its page is
 * looked at anew.
 *
 * An exit that is not for a page is not interpreted: the state that it came with is the guest's, and the instruction at EIP is
 * run once more, translated, and raises what it raises. */
#pragma once
#include "look.h"
#include "private.h"
#include "sandbox.h"

enum {
  DIRECT_CONTEXTS = 16,
  DIRECT_WAITING = 512,
  DIRECT_CODE_PAGES = 2048,
  DIRECT_SPACES = 2048,
  DIRECT_COPIES = 4096,
  DIRECT_LOOKED = 16384,
  DIRECT_TARGETS = 1 << 16,
  DIRECT_WAYS = 8192
};
/* In struct direct_context.pages, beside PROT_* in the low three bits: the entry that it was made of has died since. */
enum {
  DIRECT_STALE = 8,
  DIRECT_FRAME_SHIFT = 4,
  DIRECT_FRAMES = (1 << 20) - 1,
  DIRECT_COPY = 1 << 24 /* not the frame, a copy of it */
};
/* What is known of a frame's code, in struct direct.code. */
enum {
  CODE_UNKNOWN,
  CODE_AGAIN /* it was, and is to be looked at once more */,
  CODE_FIT,
  CODE_COPIED /* fit but for some instructions */,
  CODE_UNFIT
};

/* An address space's sandbox. */
struct direct_context {
  struct sandbox *sandbox; /* NULL: free */
  uint32_t space;          /* its number in the mmu; 0: none any more */
  int thread;              /* that made the sandbox, and with which it dies */
  uint64_t used;           /* last, ns */
  uint32_t *pages;         /* by linear page: frame << 4 | DIRECT_STALE | PROT_*; 0: not mapped */
  uint32_t waiting[DIRECT_WAITING], code_pages[DIRECT_CODE_PAGES];
  unsigned waits, code_count, code_mapped /* pages that may run */, maps;
  uint32_t *targets; /* linear addresses that its code leads to from other pages; 0: free */
  unsigned target_count;
  bool all_stale; /* of more pages than `waiting` has room for, or of code */
  struct {
    uint32_t base, limit;
  } segments[SANDBOX_LDT_ENTRIES];
  unsigned segment_count, segment_next;
  uint32_t segments_chosen; /* bits: by the state that is being given */
  uint32_t missed;          /* page of a fault for which it came back; 0: none */
  uint64_t entries;         /* to user mode, when it came back with what it could not do itself; 0: it was asked to come back */
  /* since it was looked at last whether it pays */
  unsigned exits, warm;
  uint64_t ns;
};

/* What is known of an address space, by its number. */
struct direct_space {
  uint8_t context; /* number + 1 */
  bool promoted;
  bool rests;              /* it has entered its kernel by itself: translated until it computes again */
  uint8_t streak, demoted; /* samples in a row that found it computing; how often it was sent back */
  uint64_t not_before;     /* promoted again, ns */
};

struct direct {
  const char *missing; /* what this host lacks; NULL: nothing is known to be */
  bool begun;
  int ram_fd;
  uint32_t frames;         /* of main RAM */
  uint8_t *code, *changes; /* by frame; how often its code was another */
  uint16_t *copy_of;       /* by frame: number + 1 of its copy */
  unsigned copies, looked;
  uint16_t *seen_of; /* by frame: number + 1 in `seen`, of what was looked through of it */
  uint64_t (*seen)[LOOK_PAGE / 64];
  struct look look;
  const struct direct_context *look_context; /* and look_page: of what `look` was made just now; NULL: of anything */
  uint32_t look_page;
  uint32_t ways[DIRECT_WAYS]; /* linear addresses that are still to be noted */
  unsigned way_count;
  bool faulted; /* an exit ended in a fault of the guest's */
  int copy_fd;
  uint8_t *copy_pages;
  bool cpuid_faults, sse; /* of the host; CR4.OSFXSR, when code was looked through */
  bool step;              /* the next instruction is run translated */
  struct direct_context contexts[DIRECT_CONTEXTS];
  struct direct_space spaces[DIRECT_SPACES];
  struct sandbox *volatile running;      /* for the signal handler */
  uint64_t cost;                         /* ns that an exit and the way back take here, at least */
  uint64_t sampled, entries_then, spent; /* ns; on ways in and out and on mappings, less what is paid back at each sample */
  uint32_t space_then;
};

/* NULL: no memory. */
struct direct *direct_create(void);
void direct_destroy(struct direct *d);
/* At a boundary where it is wanted: runs guest code in its sandbox until something is to be done
 * here. False: it is run translated. */
bool direct_run(struct monitor *m);
/* At a poll: does the guest compute? */
void direct_sample(struct monitor *m);
/* Nothing that was derived from guest state is good any more. */
void direct_forget(struct monitor *m);

/* ---- what may be called with the guest's x87/SSE state live ---- */

/* Not so is what a sandbox cannot give: it is run translated. */
static inline bool direct_eligible(const struct monitor *m) {
  const struct vcpu *v = m->v;
  enum { MUST = TR_USER | TR_CODE32 | TR_STACK32 | TR_CS_FLAT };
  enum { MUST_NOT = TR_IOPL_OK | TR_EM | TR_TS | TR_ALIGN | TR_STEP | TR_WATCH | TR_V86 | TR_REAL | TR_NO_CHAIN | TR_IN_NMI };
  if ((m->mode.bits & (MUST | MUST_NOT)) != MUST) return false;
  if (tr_seg_class(m->mode, SEG_CS) != TR_SEG_FLAT || tr_seg_class(m->mode, SEG_SS) != TR_SEG_FLAT) return false;
  if (!v->s.if_flag || vcpu_iopl(v) || v->s.sys_flags & (FLAG_TF | FLAG_AC | FLAG_NT | FLAG_RF | FLAG_VIF | FLAG_VIP))
    return false;
  return !v->accessed && !v->pending_db && !m->on_exception && v->s.eip < MMU_KERNEL_HALF;
}

static inline bool direct_wanted(const struct monitor *m) {
  const struct direct *d = m->direct;
  if (!d || d->missing) return false;
  const struct direct_space *s = &d->spaces[mmu_space(m->v->mmu_cpu)];
  return (m->options.user == USER_DIRECT || (s->promoted && !s->rests)) && direct_eligible(m);
}

/* Is the current space's user code translated, though it computes? There is no sandbox, or it did not pay. */
static inline bool direct_fails(const struct monitor *m) {
  const struct direct *d = m->direct;
  if (!d || d->missing) return true;
  const struct direct_space *s = &d->spaces[mmu_space(m->v->mmu_cpu)];
  return s->demoted || s->rests;
}

static inline void direct_stale(struct direct_context *c, uint32_t page) {
  if (!c->pages[page] || c->pages[page] & DIRECT_STALE) return;
  c->pages[page] |= DIRECT_STALE;
  if (c->waits == DIRECT_WAITING) c->all_stale = true;
  else c->waiting[c->waits++] = page;
}

/* An entry of the page died in an address space. */
static inline void direct_dropped(struct direct *d, uint32_t space, uint32_t page) {
  if (!d || !d->spaces[space].context) return;
  direct_stale(&d->contexts[d->spaces[space].context - 1], page);
}

static inline bool direct_frame_is(const struct direct_context *c, uint32_t page, uint32_t frame) {
  return (c->pages[page] >> DIRECT_FRAME_SHIFT & DIRECT_FRAMES) == frame;
}

/* The frame is looked at once more before its code runs again. */
static inline void direct_look_again(struct direct *d, uint32_t frame) {
  d->code[frame] = CODE_AGAIN;
  for (unsigned i = 0; i < DIRECT_CONTEXTS; i++) {
    struct direct_context *c = &d->contexts[i];
    for (unsigned k = 0; k < c->code_count; k++)
      if (direct_frame_is(c, c->code_pages[k], frame)) direct_stale(c, c->code_pages[k]);
  }
}

/* The frame's code may be another now, or is not traced any more. True: it was known, so that all of the frame was traced. */
static inline bool direct_code_changed(struct direct *d, uint32_t frame) {
  if (!d || !d->code || frame >= d->frames || d->code[frame] == CODE_UNKNOWN) return false;
  if (d->changes[frame] < UINT8_MAX) d->changes[frame]++;
  d->code[frame] = CODE_UNKNOWN;
  for (unsigned i = 0; i < DIRECT_CONTEXTS; i++) { /* where it led to is not known any more */
    struct direct_context *c = &d->contexts[i];
    for (unsigned k = 0; k < c->code_count && !c->all_stale; k++) c->all_stale = direct_frame_is(c, c->code_pages[k], frame);
  }
  return true;
}
