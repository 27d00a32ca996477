/* Address spaces: a space is a root (page directories) with the mode bits that change a walk, and owns two shadow tables.
 *
 * A pool of them is kept; MOV CR3 to a known one is a hash lookup and forgets nothing, because traces keep it coherent while it
 * is away. The least recently used is recycled by clearing what was filled. */
#include "private.h"

static unsigned mode_bits(const struct mmu_mode *mode) {
  unsigned bits = mode->a20 ? MODE_A20 : 0;
  if (!mode->paging) return bits;
  bits |= MODE_PAGING | (mode->wp ? MODE_WP : 0);
  if (mode->pae) return bits | MODE_PAE | (mode->nx ? MODE_NX : 0);
  return bits | (mode->pse ? MODE_PSE : 0);
}

/* SDM vol. 3A, 4.4.1. A table that is not in memory reads as all ones, which has reserved bits set. */
static bool read_pdptes(struct mmu *m, const struct mmu_mode *mode, uint64_t pdptes[4]) {
  uint64_t addr = mode->cr3 & ~0x1full;
  if (!mode->a20) addr &= ~A20_BIT;
  const uint64_t *from = (const uint64_t *)memory_at(m, addr);
  if (!from) return false;
  for (unsigned i = 0; i < 4; i++) {
    pdptes[i] = from[i] & PTE_P ? from[i] : 0;
    if (pdptes[i] & PDPTE_RESERVED) return false;
    if (pdptes[i]) pdptes[i] = (pdptes[i] & PAE_ADDRESS) | PTE_P;
  }
  return true;
}

static unsigned key_hash(unsigned bits, const uint64_t key[4]) {
  uint64_t h = (key[0] ^ key[1] << 1 ^ key[2] << 2 ^ key[3] << 3) >> MMU_PAGE_BITS;
  return (unsigned)(h ^ h >> 8 ^ h >> 17 ^ bits * 5) % BUCKETS;
}

static bool key_is(const struct space *s, unsigned bits, const uint64_t key[4]) {
  return s->bits == bits && s->key[0] == key[0] && s->key[1] == key[1] && s->key[2] == key[2] && s->key[3] == key[3];
}

static struct space *space_find(struct mmu *m, unsigned bits, const uint64_t key[4]) {
  for (unsigned i = m->buckets[key_hash(bits, key)]; i; i = m->spaces[i].hash_next)
    if (key_is(&m->spaces[i], bits, key)) return &m->spaces[i];
  return NULL;
}

static void hash_add(struct mmu *m, struct space *s) {
  uint16_t *head = &m->buckets[key_hash(s->bits, s->key)];
  s->hash_next = *head;
  *head = (uint16_t)(s - m->spaces);
}

static void hash_remove(struct mmu *m, struct space *s) {
  uint16_t *at = &m->buckets[key_hash(s->bits, s->key)];
  while (*at != (uint16_t)(s - m->spaces)) at = &m->spaces[*at].hash_next;
  *at = s->hash_next;
}

/* Everything derived dies; links of page tables go, those of directories stay. */
static void space_clear(struct mmu *m, struct space *s) {
  for (unsigned word = 0; word < SLOTS / 64; word++)
    for (uint64_t left = s->used[word]; left; left &= left - 1) {
      unsigned slot = word * 64 + (unsigned)__builtin_ctzll(left);
      if (s->slots[slot].frame) mmu_table_unlink(m, s, slot);
      mmu_slot_drop(m, s, slot, KINDS_ALL);
    }
}

static void unlink_directories(struct mmu *m, struct space *s) {
  for (unsigned i = 0; i < 4; i++) {
    s->pd[i] = NULL;
    if (s->slots[PD_LINK + i].frame) mmu_table_unlink(m, s, PD_LINK + i);
  }
}

/* Where the directories are in host memory; they are traced from here on (M2). */
static void find_directories(struct mmu *m, struct space *s) {
  unlink_directories(m, s);
  for (unsigned i = 0; i < 4; i++) {
    uint64_t addr = s->key[i] & ~1ull & a20_mask(s);
    s->pd[i] = s->key[i] ? memory_at(m, addr) : NULL;
    if (s->pd[i]) mmu_table_link(m, s, PD_LINK + i, host_frame(m, s->pd[i]));
  }
}

void mmu_space_forget(struct mmu *m, struct space *s) {
  if (!s->live) return;
  space_clear(m, s);
  unlink_directories(m, s);
  hash_remove(m, s);
  s->live = false;
  for (unsigned i = 0; i < MMU_CPUS; i++)
    if (m->cpus[i].fault_space == s) m->cpus[i].fault_page = 0;
}

static bool directories_moved(struct mmu *m, const struct space *s) {
  for (unsigned i = 0; i < 4; i++)
    if (s->pd[i] != (s->key[i] ? memory_at(m, s->key[i] & ~1ull & a20_mask(s)) : NULL)) return true;
  return false;
}

static void space_drop_dying(struct mmu *m, struct space *s) {
  for (unsigned word = 0; word < SLOTS / 64; word++)
    for (uint64_t left = s->used[word]; left; left &= left - 1) {
      unsigned slot = word * 64 + (unsigned)__builtin_ctzll(left);
      uint32_t table = s->slots[slot].frame;
      if (table && (m->frames[table - 1].flags & FRAME_DYING)) mmu_table_unlink(m, s, slot);
      mmu_slot_drop_dying(m, s, slot);
    }
}

/* The physical map has changed. `dying`: frames marked FRAME_DYING are not where they were, or do not take stores as they did:
 * what derives from them goes. A space whose directory is another now starts anew. */
void mmu_spaces_remapped(struct mmu *m, bool dying) {
  for (unsigned i = 0; i < MMU_CPUS; i++) m->cpus[i].fault_page = 0;
  for (unsigned i = 0; dying && i <= m->made; i++) space_drop_dying(m, &m->spaces[i]);
  for (unsigned i = 1; i <= m->made; i++) {
    struct space *s = &m->spaces[i];
    if (!s->live || !directories_moved(m, s)) continue;
    space_clear(m, s);
    for (unsigned k = 0; is_current(m, s) && k < KERNEL_SLOTS; k++)
      if (m->canon[k]) mmu_kernel_release(m, k);
    find_directories(m, s);
    s->recheck = true;
  }
}

static struct space *least_used(struct mmu *m, bool want_live) {
  struct space *found = NULL;
  for (unsigned i = 1; i <= m->made; i++) {
    struct space *s = &m->spaces[i];
    if (!is_current(m, s) && s->live == want_live && (!found || s->last_used < found->last_used)) found = s;
  }
  return found;
}

/* A space without a root: one given up, a new one, or the least recently used. */
static struct space *space_take(struct mmu *m) {
  struct space *s = least_used(m, false);
  if (s) return s;
  if (m->made < m->pool && mmu_host_make_table(m, &m->spaces[m->made + 1])) return &m->spaces[++m->made];
  s = least_used(m, true); /* there is one: mmu_create() makes two */
  m->counters.roots_recycled++;
  mmu_space_forget(m, s);
  return s;
}

static uint64_t touched_pages(const struct space *s) {
  uint64_t pages = 0;
  for (unsigned i = 0; i < SLOTS; i++) pages += kinds_count(s->slots[i].touched);
  return pages;
}

/* Old spaces give their memory back while the tables take more than their budget. */
static void trim(struct mmu *m) {
  while (m->table_pages > TABLE_PAGES_MAX) {
    struct space *victim = NULL;
    for (unsigned i = 1; i <= m->made; i++) {
      struct space *s = &m->spaces[i];
      if (!is_current(m, s) && (!victim || s->last_used < victim->last_used) && touched_pages(s)) victim = s;
    }
    if (!victim) return;
    mmu_space_forget(m, victim);
    m->table_pages -= touched_pages(victim);
    mmu_host_release_table(victim);
  }
}

static struct space *space_make(struct mmu *m, unsigned bits, const uint64_t key[4]) {
  struct space *s = space_take(m);
  m->counters.roots_new++;
  s->bits = (uint8_t)bits;
  for (unsigned i = 0; i < 4; i++) s->key[i] = key[i];
  s->live = s->recheck = true;
  s->version = 0;
  s->pd_writes = 0;
  mmu_kernel_prepare(m, s);
  find_directories(m, s);
  hash_add(m, s);
  return s;
}

static void tell_unshared(struct mmu *m) {
  m->unshared = false;
  if (m->config.unshared) m->config.unshared(m->config.opaque);
}

static void space_select(struct mmu_cpu *cpu, unsigned bits, const uint64_t key[4]) {
  struct mmu *m = cpu->m;
  struct space *s = space_find(m, bits, key);
  if (s) m->counters.roots_known++;
  else s = space_make(m, bits, key);
  s->last_used = ++m->use_clock;
  s->pd_writes = 0;
  if (s->recheck || s->version != m->canon_version) mmu_kernel_enter(m, s);
  if (m->unshared) tell_unshared(m);
  if (s == cpu->current) return;
  if (cpu->current && (cpu->current->nprivate | s->nprivate)) mmu_kernel_leave(m, cpu->current, s);
  cpu->current = s;
  if (m->table_pages > TABLE_PAGES_MAX) trim(m);
}

bool mmu_set_mode(struct mmu_cpu *cpu, const struct mmu_mode *mode, bool load_pdptes) {
  unsigned bits = mode_bits(mode);
  uint64_t key[4] = {0, 0, 0, 0};
  if ((bits & MODE_PAE) && load_pdptes) {
    if (!read_pdptes(cpu->m, mode, key)) return false;
    for (unsigned i = 0; i < 4; i++) cpu->pdptes[i] = key[i];
  } else if (bits & MODE_PAE) {
    for (unsigned i = 0; i < 4; i++) key[i] = cpu->pdptes[i];
  } else if (bits & MODE_PAGING) {
    key[0] = (mode->cr3 & ~0xfffull) | 1;
  }
  space_select(cpu, bits, key);
  return true;
}

struct mmu_cpu *mmu_cpu(struct mmu *m, unsigned number) {
  return &m->cpus[number];
}

uint64_t *mmu_pdptes(struct mmu_cpu *cpu) { return cpu->pdptes; }

uint32_t mmu_space(const struct mmu_cpu *cpu) { return space_number(cpu->m, cpu->current); }

uint64_t *mmu_table(struct mmu_cpu *cpu, bool user) { return (uint64_t *)cpu->current->table[user]; }

/* Traces keep every entry coherent with the guest's tables, so there is nothing stale to flush. */
void mmu_invlpg(struct mmu_cpu *cpu, gla addr) { (void)cpu, (void)addr; }
void mmu_flush(struct mmu_cpu *cpu, bool global) { (void)cpu, (void)global; }

void mmu_reset(struct mmu *m) {
  static const uint64_t none[4];
  space_clear(m, mmu_shared(m));
  for (unsigned i = 0; i < KERNEL_SLOTS; i++) {
    if (m->canon[i]) mmu_kernel_release(m, i);
    m->contest[i] = 0;
  }
  for (unsigned i = 1; i <= m->made; i++) mmu_space_forget(m, &m->spaces[i]);
  for (const struct mmu_area *a = m->areas; a; a = a->next)
    for (uint32_t i = a->frame; i < a->frame + a->owned; i++) {
      struct frame *f = &m->frames[i];
      if (!f->traces) continue;
      f->traces = 0;
      f->granules = 0;
    }
  mmu_dirty_all(m);
  m->takeovers = 0;
  for (unsigned n = 0; n < MMU_CPUS; n++) {
    struct mmu_cpu *cpu = &m->cpus[n];
    cpu->m = m;
    cpu->current = NULL;
    for (unsigned i = 0; i < 4; i++) cpu->pdptes[i] = 0;
    space_select(cpu, MODE_A20, none);
  }
}

const struct mmu_counters *mmu_get_counters(const struct mmu *m) { return &m->counters; }
