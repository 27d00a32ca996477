/* Which pages were written, for those who ask (a screen, a saved state, a migration), each for itself.
 *
 * A page is paid for once a collection: it carries MMU_TRACE_DIRTY while somebody's bit for it is clear. The first store, whoever
 * makes it, comes to mmu_dirty_stored(), which sets everybody's bit and takes the trace away; from then on stores are inline
 * again, until a collection clears a bit. Pages that nobody watches have no trace and cost nothing. */
#include "private.h"

struct mmu_dirty {
  struct mmu_dirty *next;
  uint32_t first, count; /* frames; none when their area is gone */
  uint32_t words;        /* of `written` */
  uint64_t written[];    /* since the last collection */
};

static uint64_t dirty_bytes(const struct mmu_dirty *d) { return sizeof *d + d->words * sizeof d->written[0]; }
static bool dirty_covers(const struct mmu_dirty *d, uint32_t frame) { return frame - d->first < d->count; }
static bool dirty_has(const struct mmu_dirty *d, uint32_t frame) {
  return d->written[(frame - d->first) / 64] >> ((frame - d->first) % 64) & 1;
}

bool mmu_dirty_awaits(const struct mmu *m, uint32_t frame) {
  for (const struct mmu_dirty *d = m->dirty; d; d = d->next)
    if (dirty_covers(d, frame) && !dirty_has(d, frame)) return true;
  return false;
}

/* A frame with MMU_TRACE_DIRTY is about to be written, or has been. */
void mmu_dirty_stored(struct mmu *m, uint32_t frame) {
  m->frames[frame].traces &= (uint8_t)~MMU_TRACE_DIRTY;
  m->counters.dirtied++;
  for (struct mmu_dirty *d = m->dirty; d; d = d->next)
    if (dirty_covers(d, frame)) d->written[(frame - d->first) / 64] |= 1ull << ((frame - d->first) % 64);
}

struct mmu_dirty *mmu_dirty_start(struct mmu *m, const struct mmu_area *area, uint64_t offset, uint64_t size) {
  if (area->kind != AREA_MEMORY || area->orphan || !size || offset >= area->whole || size > area->whole - offset) return NULL;
  uint32_t first = (uint32_t)(offset >> MMU_PAGE_BITS), last = (uint32_t)((offset + size - 1) >> MMU_PAGE_BITS);
  uint32_t words = (last - first) / 64 + 1;
  struct mmu_dirty *d = mmu_host_take(sizeof *d + words * sizeof d->written[0]);
  if (!d) return NULL;
  d->first = area->frame + first;
  d->count = last - first + 1;
  d->words = words;
  d->next = m->dirty;
  m->dirty = d;
  for (uint32_t i = 0; i < d->count; i++) mmu_frame_trace(m, d->first + i, MMU_TRACE_DIRTY);
  return d;
}

uint64_t mmu_dirty_collect(struct mmu *m, struct mmu_dirty *d, uint64_t *bitmap) {
  uint64_t pages = 0;
  for (uint32_t word = 0; word < d->words; word++) {
    bitmap[word] = d->written[word];
    d->written[word] = 0;
    for (uint64_t left = bitmap[word]; left; left &= left - 1, pages++)
      mmu_frame_trace(m, d->first + word * 64 + (uint32_t)__builtin_ctzll(left), MMU_TRACE_DIRTY);
  }
  return pages;
}

void mmu_dirty_stop(struct mmu *m, struct mmu_dirty *d) {
  struct mmu_dirty **at = &m->dirty;
  while (*at != d) at = &(*at)->next;
  *at = d->next;
  for (uint32_t frame = d->first; frame < d->first + d->count; frame++)
    if ((m->frames[frame].traces & MMU_TRACE_DIRTY) && !mmu_dirty_awaits(m, frame))
      m->frames[frame].traces &= (uint8_t)~MMU_TRACE_DIRTY;
  mmu_host_give(d, dirty_bytes(d));
}

/* Traces are gone, and RAM is about to be another: all of it counts as written. */
void mmu_dirty_all(struct mmu *m) {
  for (struct mmu_dirty *d = m->dirty; d; d = d->next)
    for (uint32_t i = 0; i < d->count; i++) d->written[i / 64] |= 1ull << (i % 64);
}

/* These frames will be others' soon. */
void mmu_dirty_forget(struct mmu *m, uint32_t frame, uint32_t count) {
  for (struct mmu_dirty *d = m->dirty; d; d = d->next) {
    if (d->first - frame >= count) continue;
    d->count = 0;
    for (uint32_t word = 0; word < d->words; word++) d->written[word] = 0;
  }
}

void mmu_dirty_free(struct mmu *m) {
  for (struct mmu_dirty *d = m->dirty, *next; d; d = next) {
    next = d->next;
    mmu_host_give(d, dirty_bytes(d));
  }
}
