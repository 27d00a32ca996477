/* Direct execution of guest user code (DESIGN.md D8): which address spaces run in a sandbox, what is mapped there, and what
 * becomes of its exits. The sandbox's mappings are one more shadow of the guest's page tables: what is mapped there is mapped in
 * the current space's user table, so whatever drops an entry there is told here, and before the sandbox runs again its page is
 * looked at anew.
 *
 * An exit that is not for a page is not interpreted: the state that it came with is the guest's, and the instruction at EIP is
 * run once more, translated, and raises what it raises. */
#pragma once
#include "private.h"
#include "sandbox.h"

enum { DIRECT_CONTEXTS = 8, DIRECT_WAITING = 512, DIRECT_CODE_PAGES = 2048, DIRECT_SPACES = 2048, DIRECT_COPIES = 4096 };
/* In struct direct_context.pages, beside PROT_* in the low three bits: the entry that it was made of has died since. */
enum {
  DIRECT_STALE = 8,
  DIRECT_FRAME_SHIFT = 4,
  DIRECT_FRAMES = (1 << 20) - 1,
  DIRECT_COPY = 1 << 24 /* not the frame, a copy of it */
};
/* What is known of a frame's code, in struct direct.code. */
enum { CODE_UNKNOWN, CODE_FIT, CODE_COPIED /* fit but for some instructions */, CODE_UNFIT };

/* An address space's sandbox. */
struct direct_context {
  struct sandbox *sandbox; /* NULL: free */
  uint32_t space;          /* its number in the mmu; 0: none any more */
  uint64_t used;
  uint32_t *pages; /* by linear page: frame << 4 | DIRECT_STALE | PROT_*; 0: not mapped */
  uint32_t waiting[DIRECT_WAITING], code_pages[DIRECT_CODE_PAGES];
  unsigned waits, code_count, maps;
  bool all_stale; /* of more pages than `waiting` has room for, or of code */
  struct {
    uint32_t base, limit;
  } segments[SANDBOX_LDT_ENTRIES];
  unsigned segment_count, segment_next;
  uint32_t segments_chosen; /* bits: by the state that is being given */
  uint64_t entries; /* to user mode, when it came back with what it could not do itself; 0: it was asked to come back */
  /* since it was looked at last whether it pays */
  unsigned exits;
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
  unsigned copies;
  int copy_fd;
  uint8_t *copy_pages;
  bool cpuid_faults, sse; /* of the host; CR4.OSFXSR, when code was looked through */
  bool step;              /* the next instruction is run translated */
  struct direct_context contexts[DIRECT_CONTEXTS];
  struct direct_space spaces[DIRECT_SPACES];
  struct sandbox *volatile running;      /* for the signal handler */
  uint64_t cost;                         /* ns that an exit and the way back take here, at least */
  uint64_t sampled, entries_then, spent; /* ns, since `sampled`, for what a program did that left its sandbox */
  uint32_t space_then, uses;
};

/* NULL: no memory. */
struct direct *direct_create(void);
void direct_destroy(struct direct *d);
/* At a boundary, in user mode of an address space that is wanted: runs guest code in its sandbox until something is to be done
 * here. False: it is run translated. */
bool direct_run(struct monitor *m);
/* At a poll: does the guest compute? */
void direct_sample(struct monitor *m);
/* Nothing that was derived from guest state is good any more. */
void direct_forget(struct monitor *m);

/* ---- what may be called with the guest's x87/SSE state live ---- */

static inline bool direct_promoted(const struct direct_space *s) { return s->promoted && !s->rests; }
static inline bool direct_wanted(const struct monitor *m) {
  const struct direct *d = m->direct;
  return d && !d->missing && (m->options.user == USER_DIRECT || direct_promoted(&d->spaces[mmu_space(m->v->mmu_cpu)]));
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

/* The frame's code may be another now, or is not traced any more. True: it was known, so that all of the frame was traced. */
static inline bool direct_code_changed(struct direct *d, uint32_t frame) {
  if (!d || !d->code || frame >= d->frames || d->code[frame] == CODE_UNKNOWN) return false;
  d->code[frame] = CODE_UNKNOWN;
  if (d->changes[frame] < UINT8_MAX) d->changes[frame]++;
  for (unsigned i = 0; i < DIRECT_CONTEXTS; i++) {
    struct direct_context *c = &d->contexts[i];
    for (unsigned k = 0; k < c->code_count; k++)
      if ((c->pages[c->code_pages[k]] >> DIRECT_FRAME_SHIFT & DIRECT_FRAMES) == frame) direct_stale(c, c->code_pages[k]);
  }
  return true;
}
