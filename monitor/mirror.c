/* Mirrors: their mappings, and which address spaces have one. */
#define _GNU_SOURCE
#include "mirror.h"
#include "direct.h"
#include <asm/prctl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
  KERNELS = MIRRORS - 1,
  KERNEL_PAGE = MMU_KERNEL_HALF >> MMU_PAGE_BITS, /* below are those that can be a user's and a space's own */
  PAGES = 1 << 20,
  AHEAD = 32,          /* pages that are looked at on either side of one that is mapped */
  HUGE_PAGES = 512,    /* or all of these, in ring 0 */
  MAPS_MOST = 6000,    /* of one mirror; each may split another, and a process has 65,530 at most */
  MAPS_KERNEL = 20000, /* of the kernel's, which lasts */
  NO_BASE = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
};

_Thread_local const uint8_t *mirrors_in_gs;

struct mirrors *mirrors_create(uint64_t tsc_hz, bool fast_gs) {
  struct mirrors *x = calloc(1, sizeof *x);
  if (x) x->ram_fd = -1, x->unpaged_long = tsc_hz / 500, x->fast_gs = fast_gs;
  return x;
}

static void close_mirror(struct mirrors *x, struct mirror *r) {
  if (r->base) x->spaces[r->space].mirror = 0;
  if (r->base) munmap(r->base, MIRROR_BYTES);
  if (r->pages) munmap(r->pages, PAGES * sizeof *r->pages);
  if (r->base == mirrors_in_gs) mirrors_in_gs = NULL;
  *r = (struct mirror){0};
}

void mirrors_destroy(struct mirrors *x) {
  if (!x) return;
  for (unsigned i = 0; i < MIRRORS; i++) close_mirror(x, &x->mirrors[i]);
  free(x);
}

void mirrors_forget(struct monitor *m) {
  struct mirrors *x = m->mirrors;
  if (!x) return;
  for (unsigned i = 0; i < MIRRORS; i++) close_mirror(x, &x->mirrors[i]);
}

/* ---- mappings ------------------------------------------------------------------------------------------------------ */

static uint8_t *place(const struct mirror *r, uint32_t page) { return r->base + ((uint64_t)page << MMU_PAGE_BITS); }

static bool unmap(struct mirror *r, uint32_t page, uint32_t count) {
  uint64_t size = (uint64_t)count << MMU_PAGE_BITS;
  return mmap(place(r, page), size, PROT_NONE, NO_BASE | MAP_FIXED, -1, 0) != MAP_FAILED;
}

static uint32_t mapped(const struct mirror *r, uint32_t page) { return r->pages[page] & MIRROR_PAGE; }

static void set_mapped(struct mirror *r, uint32_t page, uint32_t what) {
  r->pages[page] = (r->pages[page] & ~MIRROR_PAGE) | what;
}

static void note_move(struct mirror *r, uint32_t page) {
  if (r->space == MMU_SPACE_SHARED && r->pages[page] >> MIRROR_MOVES_SHIFT < MIRROR_MOVES)
    r->pages[page] += 1u << MIRROR_MOVES_SHIFT;
}

/* What may be mapped at a page now, as in struct mirror.pages. */
static uint32_t allowed(const struct monitor *m, uint32_t page) {
  uint32_t frame;
  unsigned entries = mmu_entries(m->v->mmu_cpu, m->v->cpl == 3, page, &frame);
  unsigned protection = entries & 1 << MMU_WRITE ? PROT_READ | PROT_WRITE : entries & 1 << MMU_READ ? PROT_READ : 0;
  return protection ? frame << MIRROR_FRAME_SHIFT | protection : 0;
}

/* What is to be. */
static uint32_t wanted(const struct monitor *m, uint32_t page) { return mirrors_covers(m, page) ? allowed(m, page) : 0; }

/* Pages in a row, of frames in a row: `what` is the first one's. */
static bool map_pages(struct monitor *m, struct mirror *r, uint32_t page, uint32_t count, uint32_t what) {
  uint64_t size = (uint64_t)count << MMU_PAGE_BITS, offset = (uint64_t)(what >> MIRROR_FRAME_SHIFT) << MMU_PAGE_BITS;
  int flags = MAP_SHARED | MAP_FIXED | MAP_POPULATE, protection = (int)(what & (PROT_READ | PROT_WRITE));
  for (uint32_t i = 0; i < count; i++) set_mapped(r, page + i, what + (i << MIRROR_FRAME_SHIFT));
  m->counters.mirror_maps++, r->maps++;
  return mmap(place(r, page), size, protection, flags, m->mirrors->ram_fd, (off_t)offset) != MAP_FAILED;
}

/* Pages that are not mapped, from `page` to `end`, where they may be. */
static bool map_range(struct monitor *m, struct mirror *r, uint32_t page, uint32_t end) {
  while (page < end) {
    uint32_t count = 1, what = mapped(r, page) ? 0 : wanted(m, page);
    while (what && page + count < end && !mapped(r, page + count) &&
           wanted(m, page + count) == what + (count << MIRROR_FRAME_SHIFT))
      count++;
    if (what && !map_pages(m, r, page, count, what)) return false;
    page += count;
  }
  return true;
}

/* A page that is mapped, and of whose entries one has died. */
static bool look_again(struct monitor *m, struct mirror *r, uint32_t page) {
  uint32_t old = mapped(r, page) & ~(uint32_t)MIRROR_STALE, new = wanted(m, page);
  set_mapped(r, page, new);
  if (new == old) return true;
  if (new >> MIRROR_FRAME_SHIFT != old >> MIRROR_FRAME_SHIFT) note_move(r, page);
  if (new) return map_pages(m, r, page, 1, new);
  m->counters.mirror_maps++, r->maps++;
  return unmap(r, page, 1);
}

static bool empty(struct mirror *r) {
  madvise(r->pages, PAGES * sizeof *r->pages, MADV_DONTNEED);
  r->waits = r->maps = 0, r->all_stale = false;
  return unmap(r, 0, PAGES);
}

static bool bring_up_to_date(struct monitor *m, struct mirror *r) {
  if (r->all_stale || r->maps > (r->space == MMU_SPACE_SHARED ? MAPS_KERNEL : MAPS_MOST)) return empty(r);
  while (r->waits)
    if (!look_again(m, r, r->waiting[--r->waits])) return false;
  return true;
}

/* Without one for a while, and for longer each time. */
static void give_up(struct monitor *m, struct mirror *r) {
  typeof(m->mirrors->spaces[0]) *s = &m->mirrors->spaces[r->space];
  if (s->given_up < 8) s->given_up++;
  s->not_before = clock_host_ns() + (20000000ull << s->given_up);
  close_mirror(m->mirrors, r);
  m->counters.mirrors_given_up++;
  m->v->mode_dirty = true;
}

static bool is_mapped(const struct mirror *r, uint32_t page, bool write) {
  return !(r->pages[page] & MIRROR_STALE) && r->pages[page] & (write ? PROT_WRITE : PROT_READ);
}

/* The guest was told that a page is missing, and comes back: its table may have an entry of it already. */
static void meet(struct monitor *m, struct mirror *r) {
  uint32_t page = r->awaited - 1;
  r->awaited = 0;
  mirrors_want(m, page, r->awaits_write);
}

void mirrors_settle(struct monitor *m) {
  struct mirrors *x = m->mirrors;
  struct mirror *r = mirrors_current(m);
  uint64_t begun = r->waits || r->all_stale || r->awaited ? clock_host_ns() : 0;
  if (!bring_up_to_date(m, r)) return give_up(m, r);
  if (r->awaited) meet(m, r);
  if (!r->base) return;
  if (begun) r->credit -= (int64_t)(clock_host_ns() - begun);
  r->used = ++x->turn;
  if (r->base == mirrors_in_gs) return;
  if (syscall(SYS_arch_prctl, ARCH_SET_GS, r->base)) return give_up(m, r);
  mirrors_in_gs = r->base;
}

/* Without paging, and in large pages that have been accessed, nothing is marked by a walk, so that pages get their entries before
 * they are asked for. */
static void fill_ahead(struct monitor *m, uint32_t first, uint32_t end) {
  if (mirrors_in_kernel(m)) {
    mmu_fill_large(m->v->mmu_cpu, first, end - first);
    return;
  }
  struct mmu_result r;
  for (uint32_t page = first; page < end; page++) {
    gla at = to_gla((uint64_t)page << MMU_PAGE_BITS);
    if (wanted(m, page)) continue;
    mmu_translate(m->v->mmu_cpu, at, MMU_WRITE, false, &r);
    if (!r.filled) mmu_translate(m->v->mmu_cpu, at, MMU_READ, false, &r);
  }
}

static bool map_around(struct monitor *m, struct mirror *r, uint32_t page) {
  uint32_t first = page > r->first + AHEAD ? page - AHEAD : r->first, end = page + AHEAD < r->end ? page + AHEAD : r->end;
  if (!r->user) first = page & ~(HUGE_PAGES - 1u), end = first + HUGE_PAGES, fill_ahead(m, first, end);
  return (!mapped(r, page) || look_again(m, r, page)) && map_range(m, r, first, end);
}

bool mirrors_map(struct monitor *m, uint32_t page, bool write) {
  struct mirror *r = mirrors_current(m);
  uint64_t begun = clock_host_ns();
  bool broken = is_mapped(r, page, write); /* and the host has not mapped it */
  m->counters.mirror_faults++;
  if (broken || !bring_up_to_date(m, r) || !map_around(m, r, page) || !is_mapped(r, page, write)) {
    give_up(m, r);
    return false;
  }
  r->credit -= (int64_t)(clock_host_ns() - begun);
  return true;
}

void mirrors_want(struct monitor *m, uint32_t page, bool write) {
  struct mirror *r = mirrors_current(m);
  if (!r || page < r->first || page >= r->end || is_mapped(r, page, write) ||
      !(wanted(m, page) & (write ? PROT_WRITE : PROT_READ)))
    return;
  if (!map_around(m, r, page)) give_up(m, r);
}

const char *mirrors_check(const struct monitor *m) {
  const struct mirror *r = mirrors_current(m);
  if (mirrors_in_kernel(m) && !mmu_kernel_is_shared(m->v->mmu_cpu)) return NULL; /* this space has no use for it */
  for (uint32_t page = r ? r->first : 0; r && page < r->end; page++) {
    uint32_t is = mapped(r, page), may = is ? allowed(m, page) : 0;
    if (!is || is & MIRROR_STALE) continue; /* gone before it is used */
    if (is >> MIRROR_FRAME_SHIFT != may >> MIRROR_FRAME_SHIFT || is & ~may & 7)
      return "a mirror has what the page tables do not allow";
  }
  return NULL;
}

/* ---- which address spaces have one --------------------------------------------------------------------------------- */

/* The first time: RAM becomes what can be mapped a second time. */
static bool begin(struct monitor *m) {
  struct mirrors *x = m->mirrors;
  if (!x->begun) x->fault_ns = signals_fault_ns(m), x->missing = mmu_share_ram(m->mmu, &x->ram_fd);
  x->begun = true;
  return !x->missing;
}

/* At a place where the host's huge pages can be mapped. */
static uint8_t *reserve(void) {
  enum { HUGE = HUGE_PAGES << MMU_PAGE_BITS };
  uint8_t *room = mmap(NULL, MIRROR_BYTES + HUGE, PROT_NONE, NO_BASE, -1, 0);
  if (room == MAP_FAILED) return MAP_FAILED;
  uint8_t *base = (uint8_t *)(((uintptr_t)room + HUGE - 1) & ~(uintptr_t)(HUGE - 1));
  if (base > room) munmap(room, (size_t)(base - room));
  if (base < room + HUGE) munmap(base + MIRROR_BYTES, (size_t)(room + HUGE - base));
  return base;
}

static bool make(struct mirror *r) {
  uint8_t *base = reserve();
  if (base == MAP_FAILED) return false;
  uint32_t *pages = mmap(NULL, PAGES * sizeof *r->pages, PROT_READ | PROT_WRITE, NO_BASE, -1, 0);
  if (pages == MAP_FAILED) {
    munmap(base, MIRROR_BYTES);
    return false;
  }
  r->base = base, r->pages = pages;
  return true;
}

void mirrors_open(struct monitor *m) {
  enum { CREDIT_NS = 20000000 };
  struct mirrors *x = m->mirrors;
  struct mirror *r = &x->mirrors[0];
  uint32_t space = mirrors_space(m);
  if (x->spaces[space].mirror || clock_host_ns() < x->spaces[space].not_before) return;
  for (unsigned i = 1; i < KERNELS; i++)
    if (x->mirrors[i].used < r->used) r = &x->mirrors[i];
  bool kernels = space == MMU_SPACE_SHARED;
  if (kernels) r = &x->mirrors[KERNELS];
  close_mirror(x, r);
  bool made = make(r);
  for (unsigned i = 0; !made && i < MIRRORS; i++) /* another's address space may do */
    if (x->mirrors[i].base) close_mirror(x, &x->mirrors[i]), made = make(r);
  if (!made) x->missing = "no address space for a mirror of the guest's memory";
  if (!made || !begin(m)) {
    close_mirror(x, r);
    return;
  }
  r->first = kernels ? KERNEL_PAGE : 0, r->end = kernels ? PAGES : KERNEL_PAGE;
  r->space = space, r->user = m->v->cpl == 3, r->credit = CREDIT_NS, r->used = ++x->turn;
  x->spaces[space].mirror = (uint8_t)(r - x->mirrors + 1);
  m->counters.mirrors++;
  m->v->mode_dirty = true;
}

/* An eighth of the time may go into faults. */
static void pay(struct monitor *m, struct mirror *r, uint64_t passed) {
  enum { PART = 8, MOST_NS = 50000000 };
  if (!r->base) return;
  r->credit += (int64_t)(passed / PART);
  if (r->credit > MOST_NS) r->credit = MOST_NS;
  if (r->credit < 0 && !m->options.eager) give_up(m, r);
}

void mirrors_sample(struct monitor *m) {
  enum {
    SAMPLE_NS = 1000000,
    STREAK = 3,
    FIRST = 8 /* which makes RAM another */,
    RING_0 = 1 /* which seldom lasts, or seldom changes */
  };
  struct mirrors *x = m->mirrors;
  bool user = m->v->cpl == 3;
  if (!x) return;
  uint64_t now = clock_host_ns(), passed = now - x->sampled;
  if (passed < SAMPLE_NS) return;
  x->sampled = now;
  for (unsigned i = 0; i < MIRRORS && m->v->cr0 & CR0_PG; i++) /* the kernel is unpacked */
    if (x->mirrors[i].base && !x->mirrors[i].user && i != KERNELS) close_mirror(x, &x->mirrors[i]);
  pay(m, &x->mirrors[KERNELS], passed); /* wherever a poll finds the guest */
  bool computes = mirrors_fit(m, m->mode.bits);
  struct mirror *r = mirrors_current(m);
  if (r && computes && r != &x->mirrors[KERNELS]) pay(m, r, passed);
  if (r) return;
  typeof(x->spaces[0]) *s = &x->spaces[mirrors_space(m)];
  if (!computes) s->streak = 0;
  else if (x->missing || (user && !direct_fails(m))) return;
  else if (++s->streak >= (!user ? RING_0 : x->begun ? STREAK : FIRST)) s->streak = 0, mirrors_open(m);
}
