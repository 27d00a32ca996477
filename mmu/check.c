/* mmu_check(): the invariants M1..M7 of private.h as code, for --paranoid and tests. Slow (every touched slot of every space). */
#include "private.h"

/* What one slot's entries are compared with. */
struct view {
  struct mmu *m;
  const struct space *s;
  unsigned slot;
  uint64_t pde;
  uint8_t *pde_at;
};

static const char *check_write_entry(const struct view *v, const struct walk *w, uint32_t frame, unsigned user, uint32_t page) {
  struct mmu *m = v->m;
  const struct frame *f = &m->frames[frame];
  if (f->traces) return "a write entry to a traced frame";
  if (!stores_kept(m, w->addr)) return "a write entry to memory that does not take stores";
  if (!(w->pte & PTE_D)) return "a write entry to a page that is not dirty";
  uint32_t key = (uint32_t)(v->s - m->spaces) << 21 | user << 20 | page;
  return mmu_writer_known(m, f, key) ? NULL : "a write entry that its frame does not know of";
}

static const char *check_link(const struct view *v, const struct walk *w) {
  struct mmu *m = v->m;
  if (w->large) return NULL;
  if (!w->pte_at) return "an entry derived through a page table that is not memory";
  uint32_t table = host_frame(m, w->pte_at);
  if (v->s->slots[link_of_slot(v->s, v->slot)].frame != table + 1)
    return "an entry derived through a page table that is not linked";
  return m->frames[table].traces & MMU_TRACE_PAGE_TABLE ? NULL : "a linked page table without a trace";
}

static const char *check_entry(const struct view *v, uint32_t page, unsigned user, unsigned array, uint64_t entry) {
  static const enum mmu_access access[3] = {MMU_READ, MMU_WRITE, MMU_FETCH};
  struct mmu *m = v->m;
  struct walk w = {.pde_at = v->pde_at,
                   .pde = PTE_A,
                   .pte = PTE_A | PTE_D,
                   .large = true,
                   .user = true,
                   .write = true,
                   .addr = ((uint64_t)page << MMU_PAGE_BITS) & a20_mask(v->s)};
  if (v->s->bits & MODE_PAGING) {
    w = (struct walk){.pde_at = v->pde_at};
    if (mmu_walk(m, v->s, page << MMU_PAGE_BITS, v->pde, &w) != WALK_DONE) return "an entry for a page that is not present";
  }
  if (!mmu_walk_allows(v->s, &w, access[array], user)) return "an entry for an access that is not allowed";
  if (!(w.pde & w.pte & PTE_A)) return "an entry without accessed bits";
  uint32_t frame = frame_at(m, w.addr);
  if (frame == NO_FRAME) return "an entry for what is not memory";
  uint64_t addend = (uint64_t)frame_host(m, frame) - ((uint64_t)page << MMU_PAGE_BITS);
  if (entry != (array == 2 ? (frame + 1ull) << 32 : addend)) return "an entry that points to another frame";
  const char *wrong = check_link(v, &w);
  return !wrong && array == 1 ? check_write_entry(v, &w, frame, user, page) : wrong;
}

static const char *check_array(const struct view *v, unsigned user, unsigned array) {
  const struct slot *slot = &v->s->slots[v->slot];
  const char *wrong = NULL;
  for (unsigned i = 0; i < SLOT_PAGES && !wrong; i++) {
    uint32_t page = v->slot * SLOT_PAGES + i;
    uint64_t entry = *entry_at(v->s, user, array, page);
    if (!entry) continue;
    if (!(slot->kinds >> (array + KIND_USER_SHIFT * user) & 1) || !(slot->lines >> (i / 8) & 1))
      return "an entry that its slot does not know of";
    wrong = check_entry(v, page, user, array, entry);
  }
  return wrong;
}

static const char *check_slot(struct mmu *m, const struct space *s, unsigned slot) {
  struct view v = {.m = m, .s = s, .slot = slot};
  const char *wrong = NULL;
  if (s == mmu_shared(m)) v.pde = m->canon[canon_index(s, slot)];
  else if (s->bits & MODE_PAGING) v.pde = mmu_read_pde(s, slot, &v.pde_at);
  uint8_t touched = s->slots[slot].touched;
  for (unsigned kind = 0; kind < 6 && !wrong; kind++)
    if (touched >> kind & 1) wrong = check_array(&v, kind >= KIND_USER_SHIFT, kind % 3);
  if (!wrong && s->slots[slot].kinds && !(s->used[slot / 64] >> (slot % 64) & 1))
    return "a slot with entries that its space does not know of";
  return wrong;
}

static const char *check_directories(struct mmu *m, const struct space *s) {
  for (unsigned i = 0; i < 4; i++) {
    uint32_t frame = s->slots[PD_LINK + i].frame;
    if (!s->pd[i] != !frame) return "a page directory that is not linked";
    if (frame && (frame_host(m, frame - 1) != s->pd[i] || !(m->frames[frame - 1].traces & MMU_TRACE_PAGE_TABLE)))
      return "a page directory without a trace";
  }
  return NULL;
}

/* M4. */
static const char *check_agreement(struct mmu *m, const struct space *s) {
  for (unsigned slot = KERNEL_SLOT; slot < SLOTS; slot++) {
    uint8_t *at;
    if (slot_private(s, slot)) continue;
    if (s->bits != m->canon_bits) return "a space shares the kernel half of another mode";
    uint64_t canon = m->canon[canon_index(s, slot)];
    if (canon && !mmu_kernel_agrees(s, canon, mmu_read_pde(s, slot, &at)))
      return "the current space shares a kernel slot that it disagrees with";
    if (!canon && mmu_shared(m)->slots[slot].kinds) return "an unused kernel slot has entries";
  }
  return NULL;
}

static const char *check_space(struct mmu *m, const struct space *s) {
  const char *wrong = s == mmu_shared(m) ? NULL : check_directories(m, s);
  for (unsigned slot = 0; slot < SLOTS && !wrong; slot++)
    if (s->slots[slot].touched) wrong = check_slot(m, s, slot);
  return wrong;
}

static const char *check_frame(struct mmu *m, const struct frame *f) {
  if (!(f->traces & MMU_TRACE_DIRTY) != !mmu_dirty_awaits(m, (uint32_t)(f - m->frames)))
    return "a frame whose first store is awaited and would not be seen, or is not";
  unsigned links = 0;
  uint32_t before = 0;
  for (uint32_t id = f->links; id; id = link_slot(m, id)->next) {
    if (link_slot(m, id)->frame != (uint32_t)(f - m->frames) + 1 || link_slot(m, id)->prev != before)
      return "a broken list of links";
    links += (id & 4095) < PD_LINK;
    before = id;
  }
  if (links != f->pt_links) return "a wrong count of links";
  return !f->links == !(f->traces & MMU_TRACE_PAGE_TABLE) ? NULL : "a page-table trace without links, or links without it";
}

/* That frame_at()'s short way tells what the map does. */
static const char *check_covered(struct mmu *m) {
  for (uint64_t page = 0; page < m->ram_frames; page++) {
    uint64_t addr = page << MMU_PAGE_BITS;
    bool itself = mmu_frame_search(m, addr) == page && mmu_stores_search(m, addr);
    if (itself != is_plain_ram(m, page)) return "a page of RAM that is wrongly taken for itself, or is not";
    if (m->frames[page].flags & FRAME_DYING) return "a frame that stayed marked behind a change of the map";
  }
  return NULL;
}

const char *mmu_check(struct mmu *m) {
  const char *wrong = NULL;
  for (unsigned i = 0; i < MMU_CPUS && !wrong; i++) wrong = check_agreement(m, m->cpus[i].current);
  for (unsigned i = 0; i <= m->made && !wrong; i++) wrong = check_space(m, &m->spaces[i]);
  for (const struct mmu_area *a = m->areas; a && !wrong; a = a->next)
    for (uint32_t i = a->frame; i < a->frame + a->owned && !wrong; i++) wrong = check_frame(m, &m->frames[i]);
  return wrong ? wrong : check_covered(m);
}
