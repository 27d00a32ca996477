/* Shadow entries: filling them, and the only places where they die (with mmu_writers_drop() in trace.c).
 *
 * An entry's death is told with the number of its address space, whichever that is. */
#include "private.h"

void mmu_entry_fill(struct mmu *m, struct space *s, unsigned user, uint32_t page, uint32_t frame, unsigned kinds) {
  struct slot *slot = &s->slots[page / SLOT_PAGES];
  unsigned bits = user ? kinds << KIND_USER_SHIFT : kinds;
  uint64_t addend = (uint64_t)frame_host(m, frame) - ((uint64_t)page << MMU_PAGE_BITS);
  uint64_t *entry = entry_at(s, user, 0, page);
  if (m->ram_fd >= 0 && frame < m->ram_frames) mmu_host_use(m, frame);
  if (kinds & KIND_WRITE) { /* first, since it may drop the frame's other entries to make room */
    mmu_writer_add(m, &m->frames[frame], frame, (uint32_t)(s - m->spaces) << 21 | user << 20 | page);
    entry[ARRAY_PAGES] = addend;
  }
  slot->lines |= 1ull << (page / 8 % 64);
  slot->kinds |= (uint8_t)bits;
  if (bits & ~slot->touched) {
    m->table_pages += kinds_count(bits & ~slot->touched);
    slot->touched |= (uint8_t)bits;
  }
  s->used[page / SLOT_PAGES / 64] |= 1ull << (page / SLOT_PAGES % 64);
  if (kinds & KIND_READ) entry[0] = addend;
  if (kinds & KIND_FETCH) entry[2 * ARRAY_PAGES] = ((uint64_t)frame + 1) << 32;
  m->counters.fills += (kinds & 1) + (kinds >> 1 & 1) + (kinds >> 2);
}

void mmu_note_drop(struct mmu *m, struct space *s, uint32_t page, bool fetch) {
  m->drops++;
  void (*dropped)(void *, uint32_t, uint32_t) = fetch ? m->config.fetch_dropped : m->config.data_dropped;
  if (dropped) dropped(m->config.opaque, space_number(m, s), page);
}

void mmu_entry_drop(struct mmu *m, struct space *s, uint32_t page, unsigned kinds) {
  struct slot *slot = &s->slots[page / SLOT_PAGES];
  if (!(slot->lines >> (page / 8 % 64) & 1)) return;
  for (unsigned left = slot->kinds & kinds; left; left &= left - 1) {
    unsigned kind = (unsigned)__builtin_ctz(left);
    uint64_t *entry = entry_at(s, kind >= KIND_USER_SHIFT, kind % 3, page);
    if (!*entry) continue;
    *entry = 0;
    mmu_note_drop(m, s, page, kind % 3 == 2);
  }
}

/* One array's eight entries: a cache line. */
static void line_drop(struct mmu *m, struct space *s, uint32_t page, unsigned kind) {
  uint64_t *entry = entry_at(s, kind >= KIND_USER_SHIFT, kind % 3, page);
  for (unsigned i = 0; i < 8; i++) {
    if (!entry[i]) continue;
    entry[i] = 0;
    mmu_note_drop(m, s, page + i, kind % 3 == 2);
  }
}

/* Costs what was filled: only lines and arrays that had entries are looked at. */
void mmu_slot_drop(struct mmu *m, struct space *s, unsigned index, unsigned kinds) {
  struct slot *slot = &s->slots[index];
  unsigned dying = slot->kinds & kinds;
  if (!dying) return;
  slot->kinds &= (uint8_t)~dying;
  for (uint64_t lines = slot->lines; lines; lines &= lines - 1) {
    uint32_t page = index * SLOT_PAGES + (unsigned)__builtin_ctzll(lines) * 8;
    for (unsigned left = dying; left; left &= left - 1) line_drop(m, s, page, (unsigned)__builtin_ctz(left));
  }
  if (slot->kinds) return;
  slot->lines = 0;
  if (!slot->frame) s->used[index / 64] &= ~(1ull << (index % 64));
}

static uint32_t entry_frame(struct mmu *m, uint64_t entry, uint32_t page, unsigned array) {
  if (array == 2) return mmu_fetch_frame(entry);
  return host_frame(m, (const uint8_t *)(entry + ((uint64_t)page << MMU_PAGE_BITS)));
}

unsigned mmu_entries(struct mmu_cpu *cpu, bool user, uint32_t page, uint32_t *frame) {
  struct mmu *m = cpu->m;
  struct space *s = slot_owner(m, cpu->current, page / SLOT_PAGES);
  unsigned found = 0;
  for (unsigned array = 0; array < 3; array++) {
    uint64_t entry = *entry_at(s, user, array, page);
    if (!entry) continue;
    *frame = entry_frame(m, entry, page, array);
    if (*frame >= m->ram_frames) return 0;
    found |= 1u << array;
  }
  return found;
}

/* The slot's entries that point into frames marked FRAME_DYING. */
void mmu_slot_drop_dying(struct mmu *m, struct space *s, unsigned index) {
  struct slot *slot = &s->slots[index];
  for (uint64_t lines = slot->lines; lines; lines &= lines - 1) {
    uint32_t page = index * SLOT_PAGES + (unsigned)__builtin_ctzll(lines) * 8;
    for (unsigned left = slot->kinds; left; left &= left - 1) {
      unsigned kind = (unsigned)__builtin_ctz(left), array = kind % 3;
      uint64_t *entry = entry_at(s, kind >= KIND_USER_SHIFT, array, page);
      for (unsigned i = 0; i < 8; i++) {
        if (!entry[i] || !(m->frames[entry_frame(m, entry[i], page + i, array)].flags & FRAME_DYING)) continue;
        entry[i] = 0;
        mmu_note_drop(m, s, page + i, array == 2);
      }
    }
  }
}

/* The slot's fetch entries leave the current view without dying (another space's kernel slot takes their place). */
void mmu_report_fetches(struct mmu *m, struct space *s, unsigned index) {
  struct slot *slot = &s->slots[index];
  unsigned kinds = slot->kinds & KINDS_FETCH;
  if (!kinds || !m->config.fetch_dropped) return;
  for (uint64_t lines = slot->lines; lines; lines &= lines - 1) {
    uint32_t page = index * SLOT_PAGES + (unsigned)__builtin_ctzll(lines) * 8;
    for (unsigned i = 0; i < 16; i++)
      if ((kinds >> (i / 8 * KIND_USER_SHIFT) & KIND_FETCH) && *entry_at(s, i / 8, 2, page + i % 8))
        m->config.fetch_dropped(m->config.opaque, space_number(m, s), page + i % 8);
  }
}
