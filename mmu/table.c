/* Page tables under trace (D3): which frames hold them, and what a store to one does to the entries derived from it.
 *
 * A link says "this frame is the page table behind this slot of this space" (or a page directory of it) and is found from both
 * ends: slot.frame, and the list at frame.links. Linked frames carry MMU_TRACE_PAGE_TABLE, so that every store to one arrives in
 * mmu_table_stored() with the old bytes. What it does is decided per entry from the bits that changed: gaining rights drops
 * nothing, losing W or D drops write entries only, and so on. */
#include "private.h"

static void list_add(struct mmu *m, struct frame *f, uint32_t id) {
  struct slot *slot = link_slot(m, id);
  slot->prev = 0;
  slot->next = f->links;
  if (f->links) link_slot(m, f->links)->prev = id;
  f->links = id;
}

static void list_remove(struct mmu *m, struct frame *f, uint32_t id) {
  struct slot *slot = link_slot(m, id);
  if (slot->prev) link_slot(m, slot->prev)->next = slot->next;
  else f->links = slot->next;
  if (slot->next) link_slot(m, slot->next)->prev = slot->prev;
}

/* `slot` is the even one of a pair without PAE, or PD_LINK + n for a directory. */
void mmu_table_link(struct mmu *m, struct space *s, unsigned slot, uint32_t frame) {
  struct frame *f = &m->frames[frame];
  if (s->slots[slot].frame) mmu_table_unlink(m, s, slot);
  if (slot < PD_LINK) {
    if (f->pt_links >= PT_LINKS_MAX) mmu_table_unlink_all(m, f);
    f->pt_links++;
    s->used[slot / 64] |= 1ull << (slot % 64);
  }
  s->slots[slot].frame = frame + 1;
  list_add(m, f, link_id(m, s, slot));
  if (!(f->traces & MMU_TRACE_PAGE_TABLE)) {
    f->pt_writes = 0;
    mmu_frame_trace(m, frame, MMU_TRACE_PAGE_TABLE);
  }
}

/* Drops what was derived through a page table (not a directory) as well: without the link nobody would see its stores. */
void mmu_table_unlink(struct mmu *m, struct space *s, unsigned slot) {
  uint32_t frame = s->slots[slot].frame - 1;
  struct frame *f = &m->frames[frame];
  list_remove(m, f, link_id(m, s, slot));
  s->slots[slot].frame = 0;
  if (slot < PD_LINK) {
    f->pt_links--;
    if (!s->slots[slot].kinds) s->used[slot / 64] &= ~(1ull << (slot % 64));
    mmu_slot_drop(m, s, slot, KINDS_ALL);
    if (!(s->bits & MODE_PAE)) mmu_slot_drop(m, s, slot + 1, KINDS_ALL);
  }
  if (!f->links) f->traces &= (uint8_t)~MMU_TRACE_PAGE_TABLE;
}

/* Every slot that the frame is the page table of; its links as a directory stay. */
void mmu_table_unlink_all(struct mmu *m, struct frame *f) {
  for (uint32_t id = f->links, next; id; id = next) {
    next = link_slot(m, id)->next;
    if ((id & 4095) < PD_LINK) mmu_table_unlink(m, &m->spaces[id >> 12], id & 4095);
  }
}

/* Which entries die when a present entry changes from `old` to `new`. */
static unsigned lost_kinds(const struct space *s, uint64_t old, uint64_t new, bool directory) {
  uint64_t changed = old ^ new, gone = old & ~new;
  bool nx = s->bits & MODE_NX;
  bool leaf = !directory || ((old & PTE_PS) && (s->bits & (MODE_PAE | MODE_PSE))); /* D means nothing above */
  if (!(old & PTE_P)) return 0;
  if ((changed & ~0xfffull & ~(nx ? PTE_NX : 0)) || (gone & (PTE_P | PTE_A)) || (directory && (changed & PTE_PS)))
    return KINDS_ALL;
  unsigned kinds = 0;
  if (gone & (leaf ? PTE_W | PTE_D : PTE_W)) kinds |= KINDS_WRITE;
  if (gone & PTE_U) kinds |= KINDS_USER;
  if (changed & new &PTE_NX) kinds |= KINDS_FETCH;
  return kinds;
}

static uint64_t entry_of(const uint8_t *bytes, bool pae) { return pae ? *(const uint64_t *)bytes : *(const uint32_t *)bytes; }

/* The space on whose behalf an entry may be filled at once: the one that last faulted on the page (with separate page tables for
 * user and kernel it is not the current one), or the current one. */
static struct space *prefill_space(struct mmu *m, const struct mmu_cpu *cpu, struct space *s, unsigned slot, bool faulted) {
  if (s == mmu_shared(m)) return slot_private(cpu->current, slot) || s->bits != cpu->current->bits ? NULL : cpu->current;
  return s == cpu->current || (faulted && s == cpu->fault_space && slot < KERNEL_SLOT) ? s : NULL;
}

/* The one whose last fault was on the page, or else the first. */
static struct mmu_cpu *prefill_cpu(struct mmu *m, uint32_t page) {
  for (unsigned i = 1; i < MMU_CPUS; i++)
    if (m->cpus[i].fault_page == page + 1) return &m->cpus[i];
  return &m->cpus[0];
}

static void page_entry_changed(struct mmu *m, struct space *s, unsigned slot, uint32_t frame, unsigned index, uint64_t old,
                               uint64_t new) {
  uint32_t page = slot * SLOT_PAGES + index;
  unsigned lost = lost_kinds(s, old, new, false);
  if (lost) mmu_entry_drop(m, s, page, lost);
  struct mmu_cpu *cpu = prefill_cpu(m, page);
  bool faulted = cpu->fault_page == page + 1;
  if ((new &(PTE_P | PTE_A)) != (PTE_P | PTE_A) || ((old & PTE_P) && !faulted)) return;
  struct space *walker = prefill_space(m, cpu, s, slot, faulted);
  if (walker && mmu_prefill(m, cpu, walker, page, frame)) m->frames[frame].pt_writes = 0;
}

/* One slot (or pair) of `s` loses what the directory entry lost. */
static void directory_entry_lost(struct mmu *m, struct space *s, unsigned slot, unsigned lost) {
  if (lost == KINDS_ALL && s->slots[slot].frame) mmu_table_unlink(m, s, slot);
  mmu_slot_drop(m, s, slot, lost);
  if (!(s->bits & MODE_PAE)) mmu_slot_drop(m, s, slot + 1, lost);
}

static void directory_entry_changed(struct mmu *m, struct space *s, unsigned slot, uint64_t old, uint64_t new) {
  bool kernel = slot >= KERNEL_SLOT;
  if (!is_current(m, s)) s->pd_writes += kernel ? 1 : 4;
  if (kernel && !slot_private(s, slot)) {
    unsigned index = canon_index(s, slot);
    if (!is_current(m, s)) {
      s->recheck = true;
      return;
    }
    if (!m->canon[index] || mmu_kernel_agrees(s, m->canon[index], new)) return;
    unsigned lost = lost_kinds(s, m->canon[index], new, true);
    if (lost == KINDS_ALL) {
      mmu_kernel_release(m, index);
      return;
    }
    directory_entry_lost(m, mmu_shared(m), slot, lost);
    m->canon[index] = new;
    s->version = ++m->canon_version;
    return;
  }
  unsigned lost = lost_kinds(s, old, new, true);
  if (lost) directory_entry_lost(m, s, slot, lost);
}

/* The store as one link sees it. */
static void link_stored(struct mmu *m, uint32_t id, uint32_t frame, unsigned offset, unsigned size, const uint64_t *old) {
  struct space *s = &m->spaces[id >> 12];
  unsigned slot = id & 4095;
  bool pae = s->bits & MODE_PAE;
  unsigned shift = pae ? 3 : 2, start = offset & ~7u;
  for (unsigned i = offset >> shift; i <= (offset + size - 1) >> shift; i++) {
    uint64_t before = entry_of((const uint8_t *)old + (i << shift) - start, pae);
    uint64_t now = entry_of(frame_host(m, frame) + (i << shift), pae);
    if (slot < PD_LINK) {
      if (before != now) page_entry_changed(m, s, slot, frame, i, before, now);
    } else if (before != now) {
      directory_entry_changed(m, s, pae ? (slot - PD_LINK) * 512 + i : i * 2, before, now);
    } else if (!is_current(m, s)) {
      s->pd_writes += 1; /* clearing what is clear: the frame may have become something else */
    }
  }
}

/* Spaces whose directory is written to as data and that are not current: their frame was reused. */
static void forget_reused(struct mmu *m, struct frame *f) {
  for (uint32_t id = f->links; id;) {
    struct space *s = &m->spaces[id >> 12];
    bool reused = (id & 4095) >= PD_LINK && !is_current(m, s) && s->pd_writes > PD_REUSED;
    if (reused) {
      m->counters.pt_untraced++;
      mmu_space_forget(m, s);
    }
    id = reused ? f->links : link_slot(m, id)->next;
  }
}

/* A store has hit [offset, offset+size) of a traced frame; `old`: the bytes before, from offset & ~7 on. A link of a directory
 * may take other links of this very list away, but never itself: so `next` is read after the work. */
void mmu_table_stored(struct mmu *m, uint32_t frame, unsigned offset, unsigned size, const uint64_t *old) {
  struct frame *f = &m->frames[frame];
  uint64_t drops = m->drops;
  bool directory = false;
  m->counters.pt_writes++;
  for (uint32_t id = f->links; id; id = link_slot(m, id)->next) {
    directory |= (id & 4095) >= PD_LINK;
    link_stored(m, id, frame, offset, size, old);
  }
  if (directory) forget_reused(m, f);
  if (f->pt_links && ++f->pt_writes > PT_WRITES_MAX) {
    m->counters.pt_untraced++;
    f->pt_writes = 0;
    mmu_table_unlink_all(m, f);
  }
  m->counters.pt_drops += m->drops - drops;
}
