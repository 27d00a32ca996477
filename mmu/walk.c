/* Translation: the guest's page walk (SDM vol. 3A, 4.3 and 4.4), its faults, accessed and dirty bits, and what gets filled.
 *
 * Not done: processors without PSE-36 (their 4 MiB entries have bits 21:13 reserved; ours 21:17) or with a MAXPHYADDR other than
 * 36; PAT as a reserved bit where there is no PAT. Tables in MMIO or outside of memory read as all ones instead of asking the
 * device. */
#include "private.h"

/* The page-directory entry that covers a slot; all ones where the directory is not in memory. */
uint64_t mmu_read_pde(const struct space *s, unsigned slot, uint8_t **at) {
  if (s->bits & MODE_PAE) {
    uint8_t *pd = s->pd[slot / 512];
    *at = pd ? pd + slot % 512 * 8 : NULL;
    return pd ? __atomic_load_n((uint64_t *)*at, __ATOMIC_RELAXED) : s->key[slot / 512] ? ~0ull : 0;
  }
  uint8_t *pd = s->pd[0];
  *at = pd ? pd + slot / 2 * 4 : NULL;
  return pd ? __atomic_load_n((uint32_t *)*at, __ATOMIC_RELAXED) : 0xffffffffu;
}

static enum walk_result walk_legacy(struct mmu *m, const struct space *s, uint32_t la, uint32_t pde, struct walk *w) {
  if (!(pde & PTE_P)) return WALK_ABSENT;
  uint32_t pte = pde;
  w->large = (pde & PTE_PS) && (s->bits & MODE_PSE);
  if (w->large) {
    if (pde & PSE_RESERVED) return WALK_RESERVED;
    w->addr = ((uint64_t)(pde & 0x1e000) << 19) | (pde & 0xffc00000u) | (la & 0x3ff000);
    w->pte_at = w->pde_at;
  } else {
    w->pte_addr = ((pde & ~0xfffu) & a20_mask(s)) + (la >> 12 & 1023) * 4;
    w->pte_at = memory_at(m, w->pte_addr);
    pte = w->pte_at ? __atomic_load_n((uint32_t *)w->pte_at, __ATOMIC_RELAXED) : 0xffffffffu;
    if (!(pte & PTE_P)) return WALK_ABSENT;
    w->addr = pte & ~0xfffu;
  }
  w->pte = pte;
  w->nx = false;
  return WALK_DONE;
}

static enum walk_result walk_pae(struct mmu *m, const struct space *s, uint32_t la, uint64_t pde, struct walk *w) {
  uint64_t reserved = PAE_RESERVED | (s->bits & MODE_NX ? 0 : PTE_NX);
  if (!(pde & PTE_P)) return WALK_ABSENT;
  uint64_t pte = pde;
  w->large = pde & PTE_PS;
  if (pde & (reserved | (w->large ? PAE_LARGE_RESERVED : 0))) return WALK_RESERVED;
  if (w->large) {
    w->addr = (pde & PAE_ADDRESS & ~0x1fffffull) | (la & 0x1ff000);
    w->pte_at = w->pde_at;
  } else {
    w->pte_addr = (pde & PAE_ADDRESS & a20_mask(s)) + (la >> 12 & 511) * 8;
    w->pte_at = memory_at(m, w->pte_addr);
    pte = w->pte_at ? __atomic_load_n((uint64_t *)w->pte_at, __ATOMIC_RELAXED) : ~0ull;
    if (!(pte & PTE_P)) return WALK_ABSENT;
    if (pte & reserved) return WALK_RESERVED;
    w->addr = pte & PAE_ADDRESS;
  }
  w->pte = pte;
  w->nx = (pde | pte) & PTE_NX;
  return WALK_DONE;
}

/* `pde` is what mmu_read_pde() gave (w->pde_at set by it), or the shared half's canonical entry. */
enum walk_result mmu_walk(struct mmu *m, const struct space *s, uint32_t la, uint64_t pde, struct walk *w) {
  w->pde = pde;
  enum walk_result result = s->bits & MODE_PAE ? walk_pae(m, s, la, pde, w) : walk_legacy(m, s, la, (uint32_t)pde, w);
  if (result != WALK_DONE) return result;
  w->addr &= a20_mask(s);
  w->user = w->pde & w->pte & PTE_U;
  w->write = w->pde & w->pte & PTE_W;
  return WALK_DONE;
}

/* SDM vol. 3A, 4.6. */
bool mmu_walk_allows(const struct space *s, const struct walk *w, enum mmu_access access, bool user) {
  if (user && !w->user) return false;
  if (access == MMU_WRITE) return w->write || (!user && !(s->bits & MODE_WP));
  return access != MMU_FETCH || !w->nx;
}

/* What lies at w->addr. */
static void walk_locate(struct mmu *m, struct walk *w) {
  uint64_t page = w->addr >> MMU_PAGE_BITS;
  if (is_plain_ram(m, page)) {
    w->frame = (uint32_t)page;
    w->kept = true;
    return;
  }
  w->frame = mmu_frame_search(m, w->addr);
  w->kept = mmu_stores_search(m, w->addr);
}

/* Which entries the access may fill: a store's read entry too, and a load's write entry where the page is dirty already. Where it
 * leads is memory. */
unsigned mmu_walk_kinds(struct mmu *m, const struct space *s, const struct walk *w, enum mmu_access access, bool user) {
  if (access == MMU_FETCH) return KIND_FETCH;
  bool writable = w->kept && !m->frames[w->frame].traces && (w->pte & PTE_D) && mmu_walk_allows(s, w, MMU_WRITE, user);
  return writable ? KIND_READ | KIND_WRITE : KIND_READ;
}

static void identity_walk(const struct space *s, uint32_t la, struct walk *w) {
  *w = (struct walk){
    .addr = la & ~0xfffu & a20_mask(s), .pte = PTE_D | PTE_A, .pde = PTE_A, .large = true, .user = true, .write = true};
}

static uint32_t fault_error(const struct space *s, enum walk_result walked, enum mmu_access access, bool user) {
  uint32_t error = walked == WALK_ABSENT ? 0 : 1;
  if (walked == WALK_RESERVED) error |= 8;
  if (access == MMU_WRITE) error |= 2;
  if (user) error |= 4;
  if (access == MMU_FETCH && (s->bits & MODE_NX)) error |= 16;
  return error;
}

static void describe(struct mmu *m, const struct walk *w, uint32_t la, struct mmu_result *result) {
  uint64_t addr = w->addr | (la & 0xfff);
  *result = (struct mmu_result){.addr = to_gpa(addr), .kind = MMU_NOTHING};
  if (w->frame != NO_FRAME) {
    result->kind = w->kept ? MMU_RAM : MMU_ROM;
    result->host = frame_host(m, w->frame) + addr % MMU_PAGE;
    result->traces = m->frames[w->frame].traces;
  } else if (mmu_range_at(m, addr)) {
    result->kind = MMU_IO;
  }
}

enum marked { MARK_KEPT, MARK_LOST, MARK_RETRY };

/* Where the directory entry of `la` is. */
static uint64_t pde_address(const struct space *s, uint32_t la) {
  if (s->bits & MODE_PAE) return (s->key[la >> 30] & ~1ull & a20_mask(s)) + (la >> 21 & 511) * 8;
  return (s->key[0] & ~1ull & a20_mask(s)) + (la >> 22) * 4;
}

/* Sets bits in an entry by compare-and-swap, as another vCPU or a device may be changing it. MARK_LOST: stores do not get there.
 */
static enum marked set_bits(struct mmu *m, const struct space *s, uint8_t *at, uint64_t addr, uint64_t *entry, uint64_t bits) {
  if (!at || !stores_kept(m, addr)) return MARK_LOST;
  uint32_t frame = host_frame(m, at);
  if (m->frames[frame].traces & MMU_TRACE_DIRTY) mmu_dirty_stored(m, frame);
  if (m->frames[frame].traces & MMU_TRACE_CODE) /* a page table that is also code: I5 holds for our stores too */
    mmu_code_stored(m, frame, addr % MMU_PAGE, 8);
  bool done;
  if (s->bits & MODE_PAE) {
    uint64_t old = *entry;
    done = __atomic_compare_exchange_n((uint64_t *)at, &old, old | bits, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
  } else {
    uint32_t old = (uint32_t)*entry;
    done = __atomic_compare_exchange_n((uint32_t *)at, &old, old | (uint32_t)bits, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
  }
  if (!done) return MARK_RETRY;
  *entry |= bits;
  return MARK_KEPT;
}

static enum marked mark_pde(struct mmu *m, const struct space *s, uint32_t la, struct walk *w, uint64_t bits) {
  if ((w->pde & bits) == bits) return MARK_KEPT;
  return set_bits(m, s, w->pde_at, pde_address(s, la), &w->pde, bits);
}

static enum marked mark_pte(struct mmu *m, const struct space *s, struct walk *w, uint64_t bits) {
  return (w->pte & bits) == bits ? MARK_KEPT : set_bits(m, s, w->pte_at, w->pte_addr, &w->pte, bits);
}

/* Accessed and dirty bits of an access that happens (SDM vol. 3A, 4.8). */
static enum marked mark_walk(struct mmu *m, const struct space *s, uint32_t la, struct walk *w, enum mmu_access access) {
  uint64_t leaf = PTE_A | (access == MMU_WRITE ? PTE_D : 0);
  if (w->large) {
    enum marked marked = mark_pde(m, s, la, w, leaf);
    w->pte = w->pde;
    return marked;
  }
  enum marked upper = mark_pde(m, s, la, w, PTE_A);
  if (upper == MARK_RETRY) return upper;
  enum marked lower = mark_pte(m, s, w, leaf);
  return lower == MARK_KEPT ? upper : lower;
}

/* Fills what the walk allows, linking and tracing the page table that it came through (M2). A store is taken as done, so that its
 * entry can be. Which kinds were filled. */
static unsigned fill(struct mmu *m, struct space *s, const struct walk *w, uint32_t page, enum mmu_access access, bool user) {
  unsigned slot = page / SLOT_PAGES;
  struct space *owner = slot_owner(m, s, slot);
  if (owner != s) mmu_kernel_adopt(m, s, slot, w->pde);
  if (!w->large) {
    uint32_t table = host_frame(m, w->pte_at);
    unsigned link = link_of_slot(s, slot);
    if (owner->slots[link].frame != table + 1) mmu_table_link(m, owner, link, table);
    m->frames[table].pt_writes = 0;
  }
  if (access == MMU_WRITE && w->kept && (m->frames[w->frame].traces & MMU_TRACE_DIRTY)) mmu_dirty_stored(m, w->frame);
  unsigned kinds = mmu_walk_kinds(m, s, w, access, user);
  mmu_entry_fill(m, owner, user, page, w->frame, kinds);
  return kinds;
}

static bool found_fault(struct mmu_cpu *cpu, uint32_t la, enum walk_result walked, enum mmu_access access, bool user,
                        struct mmu_result *result) {
  cpu->m->counters.faults++;
  cpu->fault_space = cpu->current;
  cpu->fault_page = (la >> MMU_PAGE_BITS) + 1;
  cpu->fault_access = (uint8_t)access;
  cpu->fault_user = user;
  result->error = fault_error(cpu->current, walked, access, user);
  result->filled = false;
  return false;
}

bool mmu_translate(struct mmu_cpu *cpu, gla addr, enum mmu_access access, bool user, struct mmu_result *result) {
  struct mmu *m = cpu->m;
  struct space *s = cpu->current;
  uint32_t la = (uint32_t)addr.v;
  struct walk w;
  enum marked marked = MARK_KEPT;
  m->counters.walks++;
  if (!(s->bits & MODE_PAGING)) {
    identity_walk(s, la, &w);
  } else {
    do {
      uint64_t pde = mmu_read_pde(s, la >> 21, &w.pde_at);
      enum walk_result walked = mmu_walk(m, s, la, pde, &w);
      if (walked != WALK_DONE || !mmu_walk_allows(s, &w, access, user)) return found_fault(cpu, la, walked, access, user, result);
      marked = mark_walk(m, s, la, &w, access);
    } while (marked == MARK_RETRY);
  }
  unsigned kinds = 0;
  walk_locate(m, &w);
  if (w.frame != NO_FRAME && marked == MARK_KEPT && (!(s->bits & MODE_PAGING) || (w.pde_at && w.pte_at)))
    kinds = fill(m, s, &w, la >> MMU_PAGE_BITS, access, user);
  describe(m, &w, la, result);
  result->filled = kinds >> access & 1;
  return true;
}

void mmu_fill_large(struct mmu_cpu *cpu, uint32_t first, uint32_t count) {
  struct mmu *m = cpu->m;
  struct space *s = cpu->current;
  struct walk w;
  for (uint32_t page = first; page < first + count && s->bits & MODE_PAGING; page++) {
    struct space *owner = slot_owner(m, s, page / SLOT_PAGES);
    if (*entry_at(owner, 0, 0, page)) continue;
    uint64_t pde = mmu_read_pde(s, page / SLOT_PAGES, &w.pde_at);
    if (mmu_walk(m, s, page << MMU_PAGE_BITS, pde, &w) != WALK_DONE || !w.pde_at || !w.large || !(w.pde & PTE_A)) return;
    walk_locate(m, &w);
    if (w.frame < m->ram_frames) fill(m, s, &w, page, MMU_READ, false);
  }
}

bool mmu_peek(struct mmu_cpu *cpu, gla addr, enum mmu_access access, bool user, struct mmu_result *result) {
  struct mmu *m = cpu->m;
  struct space *s = cpu->current;
  uint32_t la = (uint32_t)addr.v;
  struct walk w;
  if (!(s->bits & MODE_PAGING)) {
    identity_walk(s, la, &w);
  } else {
    uint64_t pde = mmu_read_pde(s, la >> 21, &w.pde_at);
    enum walk_result walked = mmu_walk(m, s, la, pde, &w);
    if (walked != WALK_DONE || !mmu_walk_allows(s, &w, access, user)) {
      result->error = fault_error(s, walked, access, user);
      result->filled = false;
      return false;
    }
  }
  walk_locate(m, &w);
  describe(m, &w, la, result);
  return true;
}

/* An entry of page table `table`, through which `s` walks, has just become present: fill what the access that faulted will ask
 * for (or else a load by the page's own privilege), if that needs no A or D bit set. True: for the access that faulted, `cpu`'s.
 */
bool mmu_prefill(struct mmu *m, struct mmu_cpu *cpu, struct space *s, uint32_t page, uint32_t table) {
  struct walk w;
  bool faulted = cpu->fault_page == page + 1 && cpu->fault_space == s;
  uint64_t pde = mmu_read_pde(s, page / SLOT_PAGES, &w.pde_at);
  if (mmu_walk(m, s, page << MMU_PAGE_BITS, pde, &w) != WALK_DONE || !w.pde_at || !w.pte_at || w.large ||
      !(w.pde & w.pte & PTE_A))
    return false;
  struct space *owner = slot_owner(m, s, page / SLOT_PAGES);
  bool user = faulted ? cpu->fault_user : w.user;
  enum mmu_access access = faulted ? cpu->fault_access : MMU_READ;
  if (owner->slots[link_of_slot(s, page / SLOT_PAGES)].frame != table + 1 || !mmu_walk_allows(s, &w, access, user)) return false;
  if (host_frame(m, w.pte_at) != table) /* the directory entry changed in the same store */
    return false;
  walk_locate(m, &w);
  if (w.frame != NO_FRAME) {
    mmu_entry_fill(m, owner, user, page, w.frame, mmu_walk_kinds(m, s, &w, access, user));
    m->counters.pt_prefills++;
  }
  if (faulted) cpu->fault_page = 0;
  return faulted;
}
