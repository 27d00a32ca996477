/* Mirrors (DESIGN.md D8): code that computes, where it does not run on the CPU itself, works in its memory without checks and
 * without a look at the shadow table: user code, and that of ring 0, without paging (kernels unpack themselves so) or in the
 * kernel half of all address spaces. A mirror is 4 GiB of address space in which pages of the guest's RAM are mapped a second
 * time at the guest's own linear addresses; translated code of the mode TR_MIRROR addresses it by GS. As a sandbox's, its
 * mappings are one more shadow of the shadow table: a page is there only while that table has an entry for it, with that entry's
 * rights, so that whatever drops an entry is told here, and what is stale goes before such code runs again. An access that its
 * page's rights do not allow faults, and goes the way of one whose check failed (slow.c); a block that faults often checks
 * (costly.c).
 *
 * FP is parked wherever nothing else is said. */
#pragma once
#include "private.h"

enum { MIRRORS = 5 /* the last one is the kernel's */, MIRROR_WAITING = 512, MIRROR_SPACES = 2048 };
/* 4 GiB, and what an access at their end reaches beyond them. */
#define MIRROR_BYTES ((1ull << 32) + MMU_PAGE)
/* In struct mirror.pages: PROT_* in the low three bits, 0: not mapped; the entry that it was made of has died since; its frame;
 * how often a kernel has had it lead elsewhere: where its windows on other memory are, no mapping lasts, and there are none at
 * last. */
enum { MIRROR_STALE = 8, MIRROR_FRAME_SHIFT = 4, MIRROR_MOVES_SHIFT = 28, MIRROR_MOVES = 15 };
#define MIRROR_PAGE ((1u << MIRROR_MOVES_SHIFT) - 1) /* all but the last of these */

/* An address space's. */
struct mirror {
  uint8_t *base;       /* NULL: free */
  uint32_t *pages;     /* by linear page: as above */
  uint32_t space;      /* its number in the mmu; MMU_SPACE_SHARED: the kernel half's, in all of them */
  bool user;           /* of the two tables, the user's */
  uint32_t first, end; /* pages that it may have */
  uint64_t used;       /* when, by `turn` */
  uint32_t waiting[MIRROR_WAITING];
  unsigned waits, maps;
  bool all_stale;   /* more pages than `waiting` has room for */
  int64_t credit;   /* ns that faults may still take */
  uint32_t awaited; /* a page whose fault the guest was told of, + 1 */
  bool awaits_write;
};

struct mirrors {
  const char *missing; /* what this host lacks; NULL: nothing is known to be */
  bool fast_gs;        /* it has WRGSBASE, so that GS may change at each entry to a kernel and each return */
  bool begun;
  int ram_fd;
  uint64_t turn;
  struct mirror mirrors[MIRRORS];
  uint64_t fault_ns; /* that a fault of the host and the way back take here */
  struct {
    uint8_t mirror; /* number + 1 */
    uint8_t streak, given_up;
    uint64_t not_before; /* a mirror again, ns */
  } spaces[MIRROR_SPACES];
  /* host TSC: ring 0 without paging has run since, without a longer pause than `unpaged_long`; and was seen last */
  uint64_t unpaged_since, unpaged_last, unpaged_long;
  uint64_t sampled; /* ns */
};
/* What GS has in this thread, which may run several machines, one within another's callback; NULL: no mirror's base. */
extern _Thread_local const uint8_t *mirrors_in_gs;

/* fast_gs: WRGSBASE may be used. NULL: no memory. */
struct mirrors *mirrors_create(uint64_t tsc_hz, bool fast_gs);
void mirrors_destroy(struct mirrors *x);
/* At a poll: does the guest compute? */
void mirrors_sample(struct monitor *m);
/* The current space gets one, whether it computes or not (--eager). */
void mirrors_open(struct monitor *m);
/* --paranoid: is each page of the current mirror what its entries say now? NULL, or what is wrong (a literal). */
const char *mirrors_check(const struct monitor *m);
/* Nothing that was derived from guest state is good any more. */
void mirrors_forget(struct monitor *m);
/* Before translated code of the mode TR_MIRROR runs: what is stale goes, GS gets its base. */
void mirrors_settle(struct monitor *m);
/* An access has faulted whose page has the entry that it wants: maps that page, and its neighbours that have entries. False: the
 * host does not, and the space has no mirror any more. */
bool mirrors_map(struct monitor *m, uint32_t page, bool write);
/* The same of a page that may have no entry, or be mapped already. */
void mirrors_want(struct monitor *m, uint32_t page, bool write);

/* ---- what may be called with the guest's x87/SSE state live ---- */

/* Ring 0 with paging: its mirror is one for all address spaces, which share their kernel half. */
static inline bool mirrors_in_kernel(const struct monitor *m) { return m->v->cpl == 0 && m->v->cr0 & CR0_PG; }

static inline uint32_t mirrors_space(const struct monitor *m) {
  return mirrors_in_kernel(m) ? MMU_SPACE_SHARED : mmu_space(m->v->mmu_cpu);
}

static inline struct mirror *mirrors_current(const struct monitor *m) {
  struct mirrors *x = m->mirrors;
  uint8_t number = x ? x->spaces[mirrors_space(m)].mirror : 0;
  return number && x->mirrors[number - 1].user == (m->v->cpl == 3) ? &x->mirrors[number - 1] : NULL;
}

/* Not so is code whose accesses are checked for more than that their page is there. */
static inline bool mirrors_fit(const struct monitor *m, uint64_t bits) {
  enum { MUST = TR_CODE32 | TR_STACK32 | TR_CS_FLAT };
  enum { MUST_NOT = TR_ALIGN | TR_STEP | TR_WATCH | TR_V86 | TR_REAL | TR_NO_CHAIN };
  if ((bits & (MUST | MUST_NOT)) != MUST) return false;
  if (mirrors_in_kernel(m)) return m->mirrors && m->mirrors->fast_gs && mmu_kernel_is_shared(m->v->mmu_cpu);
  return m->v->cpl == 3 || m->v->cpl == 0;
}

/* Of code that would fit, without a mirror: is it to have one at once? Without paging that is after some milliseconds, since
 * polls may be rarer and such code does not last. */
static inline bool mirrors_due(const struct monitor *m) {
  struct mirrors *x = m->mirrors;
  if (m->options.eager) return true;
  if (m->v->cpl == 3 || x->missing || x->spaces[mirrors_space(m)].given_up) return false;
  if (mirrors_in_kernel(m) && gla_page(monitor_linear_eip(m)) < MMU_KERNEL_HALF >> MMU_PAGE_BITS) return false;
  uint64_t now = __builtin_ia32_rdtsc();
  if (now - x->unpaged_last > x->unpaged_long) x->unpaged_since = now;
  x->unpaged_last = now;
  return now - x->unpaged_since > x->unpaged_long;
}

/* May the current mirror have the page? */
static inline bool mirrors_covers(const struct monitor *m, uint32_t page) {
  const struct mirror *r = mirrors_current(m);
  return r && page >= r->first && page < r->end && r->pages[page] >> MIRROR_MOVES_SHIFT < MIRROR_MOVES;
}

/* Is the page mapped there, at least for loads? */
static inline bool mirrors_may_be_read(const struct monitor *m, uint32_t page) {
  const struct mirror *r = mirrors_current(m);
  return r && r->pages[page] & MIRROR_PAGE;
}

/* Is the host's address in the current mirror? */
static inline bool mirrors_hit(const struct monitor *m, uint64_t address) {
  const struct mirror *r = mirrors_current(m);
  return r && address - (uint64_t)(uintptr_t)r->base < MIRROR_BYTES;
}

/* GS gets the current mirror's base, where that is cheap. */
static inline void mirrors_load_gs(const struct monitor *m) {
  const struct mirror *r = mirrors_current(m);
  if (!r || r->base == mirrors_in_gs || !m->mirrors->fast_gs) return;
  __asm__ volatile("wrgsbase %0" : : "r"(r->base));
  mirrors_in_gs = r->base;
}

/* Is there anything for mirrors_settle() to do? */
static inline bool mirrors_unsettled(const struct monitor *m) {
  const struct mirror *r = mirrors_current(m);
  return r && (r->base != mirrors_in_gs || r->waits || r->all_stale || r->awaited);
}

/* The guest is told that the page is missing. */
static inline void mirrors_await(const struct monitor *m, uint32_t page, bool write) {
  struct mirror *r = mirrors_current(m);
  if (r) r->awaited = page + 1, r->awaits_write = write;
}

/* A fault of the host. */
static inline void mirrors_charge(const struct monitor *m) {
  struct mirror *r = mirrors_current(m);
  if (r) r->credit -= (int64_t)m->mirrors->fault_ns;
}

/* An entry of the page died in an address space. */
static inline void mirrors_dropped(struct mirrors *x, uint32_t space, uint32_t page) {
  if (!x || !x->spaces[space].mirror) return;
  struct mirror *r = &x->mirrors[x->spaces[space].mirror - 1];
  if (page < r->first || page >= r->end || !(r->pages[page] & MIRROR_PAGE) || r->pages[page] & MIRROR_STALE) return;
  r->pages[page] |= MIRROR_STALE;
  if (r->waits == MIRROR_WAITING) r->all_stale = true;
  else r->waiting[r->waits++] = page;
}
