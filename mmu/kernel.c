/* The shared kernel half: the last quarter of every space's arrays aliases one memfd, so that what one process's kernel touches
 * needs no walk in the next (D2).
 *
 * canon[] holds, for each directory index of the quarter, the entry that the shared shadow entries there were derived through.
 * Only the current space must agree with it (M4); a space is compared when it becomes current and something has changed since.
 * Where it disagrees and the shared slot is in use, the slot is first handed over (its entries dropped); a slot that is contested
 * again and again becomes private in the spaces that disagree: own pages mapped over the alias, 6 mmaps of 3 us each. */
#include "private.h"

static bool is_large(const struct space *s, uint64_t pde) { return (pde & PTE_PS) && (s->bits & (MODE_PAE | MODE_PSE)); }

/* `pde` derives at least what `canon` does: equal in all that a walk looks at, with A set, and D where canon has it. D of an
 * entry that points to a table, AVL, G and the caching bits do not matter. */
bool mmu_kernel_agrees(const struct space *s, uint64_t canon, uint64_t pde) {
  uint64_t differs = (canon ^ pde) & ~(uint64_t)(PTE_AVL | PTE_G | PTE_PWT | PTE_PCD | PTE_D);
  return !differs && (pde & PTE_A) && (!is_large(s, canon) || !(canon & ~pde & PTE_D));
}

/* A current space, through `pde`, is about to fill a shared slot. */
void mmu_kernel_adopt(struct mmu *m, struct space *s, unsigned slot, uint64_t pde) {
  unsigned index = canon_index(s, slot);
  uint64_t canon = m->canon[index];
  bool dirtied = (pde & ~canon & PTE_D) && is_large(s, pde); /* write entries may follow: others need D too */
  if (canon && !dirtied && mmu_kernel_agrees(s, canon, pde)) return;
  m->canon[index] = pde;
  m->canon_used[index / 64] |= 1ull << (index % 64);
  s->version = ++m->canon_version;
}

static unsigned index_slot(const struct space *s, unsigned index) {
  return KERNEL_SLOT + (s->bits & MODE_PAE ? index : index * 2);
}

/* The shared slot is given up: its entries die and it is nobody's. */
void mmu_kernel_release(struct mmu *m, unsigned index) {
  struct space *shared = mmu_shared(m);
  unsigned slot = index_slot(shared, index);
  if (shared->slots[slot].frame) mmu_table_unlink(m, shared, slot);
  mmu_slot_drop(m, shared, slot, KINDS_ALL);
  if (!(shared->bits & MODE_PAE)) mmu_slot_drop(m, shared, slot + 1, KINDS_ALL);
  m->canon[index] = 0;
  m->canon_used[index / 64] &= ~(1ull << (index % 64));
  m->canon_version++;
  for (unsigned i = 0; i < MMU_CPUS; i++) {
    struct space *s = m->cpus[i].current;
    if (s && !s->recheck && s->version == m->canon_version - 1) s->version = m->canon_version; /* unused: disagrees with nobody */
  }
}

/* Slots of `s` are its own from now on; space_select() tells. */
static void mark_private(struct mmu *m, struct space *s, unsigned first, unsigned count) {
  for (unsigned k = first; k < first + count; k++) {
    s->nprivate += !(s->private[k / 64] >> (k % 64) & 1);
    s->private[k / 64] |= 1ull << (k % 64);
  }
  m->counters.unshared++;
  m->unshared = true;
}

/* All of the half becomes the space's own. Entries in slots that were private already die, as their pages are replaced. */
static void make_all_private(struct mmu *m, struct space *s) {
  if (s->nprivate == KERNEL_SLOTS) return;
  for (unsigned k = 0; s->nprivate && k < KERNEL_SLOTS; k++)
    if (s->private[k / 64] >> (k % 64) & 1) {
      struct slot *slot = &s->slots[KERNEL_SLOT + k];
      if (slot->frame) mmu_table_unlink(m, s, KERNEL_SLOT + k);
      mmu_slot_drop(m, s, KERNEL_SLOT + k, KINDS_ALL);
      m->table_pages -= kinds_count(slot->touched);
      slot->touched = 0;
    }
  if (!mmu_host_unshare(m, s, 0, KERNEL_SLOTS)) __builtin_trap(); /* replacing whole mappings needs no new ones */
  mark_private(m, s, 0, KERNEL_SLOTS);
}

static bool make_private(struct mmu *m, struct space *s, unsigned index) {
  unsigned slot = index_slot(s, index), count = s->bits & MODE_PAE ? 1 : 2;
  if (s->nprivate + count > PRIVATE_MAX) {
    make_all_private(m, s);
    return true;
  }
  if (!mmu_host_unshare(m, s, slot - KERNEL_SLOT, count)) return false;
  mark_private(m, s, slot - KERNEL_SLOT, count);
  return true;
}

/* Without PAE a directory entry covers two slots, which are private together. */
static bool private_in_pairs(const struct space *s) {
  for (unsigned i = 0; i < KERNEL_SLOTS / 64; i++)
    if ((s->private[i] ^ s->private[i] >> 1) & 0x5555555555555555ull) return false;
  return true;
}

bool mmu_kernel_is_shared(const struct mmu_cpu *cpu) { return !cpu->current->nprivate; }

/* A space just given a root: tables as mapped for the root before, which a private slot here and there does not hurt. */
void mmu_kernel_prepare(struct mmu *m, struct space *s) {
  if (!(s->bits & MODE_PAGING)) {
    make_all_private(m, s);
    return;
  }
  if (s->nprivate <= PRIVATE_MAX && ((s->bits & MODE_PAE) || private_in_pairs(s))) return;
  if (!mmu_host_share(m, s)) {
    make_all_private(m, s);
    return;
  }
  for (unsigned k = 0; k < KERNEL_SLOTS; k++) {
    m->table_pages -= kinds_count(s->slots[KERNEL_SLOT + k].touched);
    s->slots[KERNEL_SLOT + k].touched = 0;
  }
  for (unsigned i = 0; i < KERNEL_SLOTS / 64; i++) s->private[i] = 0;
  s->nprivate = 0;
}

/* The shared half is of one mode at a time. */
static bool take_over(struct mmu *m, struct space *s) {
  struct space *shared = mmu_shared(m);
  bool used = false;
  for (unsigned i = 0; i < KERNEL_SLOTS / 64; i++) used |= m->canon_used[i] != 0;
  if (used && ++m->takeovers > TAKEOVER_MAX) {
    m->takeovers = TAKEOVER_MAX;
    return false;
  }
  for (unsigned i = 0; used && i < KERNEL_SLOTS; i++)
    if (m->canon[i]) mmu_kernel_release(m, i);
  m->canon_bits = shared->bits = s->bits;
  m->canon_version++;
  return true;
}

static void resolve(struct mmu *m, struct space *s, unsigned index) {
  struct space *shared = mmu_shared(m);
  unsigned slot = index_slot(shared, index);
  bool filled = shared->slots[slot].kinds || (!(shared->bits & MODE_PAE) && shared->slots[slot + 1].kinds);
  if (filled && m->contest[index] < CONTEST_MAX) m->contest[index]++;
  else if (filled && make_private(m, s, index)) return;
  mmu_kernel_release(m, index);
}

/* `s` becomes current and may disagree with the shared half. */
void mmu_kernel_enter(struct mmu *m, struct space *s) {
  if (s->nprivate < KERNEL_SLOTS && s->bits != m->canon_bits && !take_over(m, s)) make_all_private(m, s);
  for (unsigned word = 0; s->nprivate < KERNEL_SLOTS && word < KERNEL_SLOTS / 64; word++)
    for (uint64_t left = m->canon_used[word]; left; left &= left - 1) {
      unsigned index = word * 64 + (unsigned)__builtin_ctzll(left), slot = index_slot(s, index);
      uint8_t *at;
      if (!slot_private(s, slot) && !mmu_kernel_agrees(s, m->canon[index], mmu_read_pde(s, slot, &at))) resolve(m, s, index);
    }
  s->recheck = false;
  s->version = m->canon_version;
}

/* Kernel slots that `from` and `to` see differently: chains there are bound without a compare, so that the fetch entries that
 * leave the view must be told of as if they had died. */
void mmu_kernel_leave(struct mmu *m, struct space *from, struct space *to) {
  for (unsigned word = 0; word < KERNEL_SLOTS / 64; word++) {
    for (uint64_t left = from->private[word] | to->private[word]; left; left &= left - 1) {
      unsigned slot = KERNEL_SLOT + word * 64 + (unsigned)__builtin_ctzll(left);
      struct space *owner = slot_owner(m, from, slot);
      if (owner->used[slot / 64] >> (slot % 64) & 1) mmu_report_fetches(m, owner, slot);
    }
  }
}
