/* Traces, and the write entries that each frame must lose when it gets one (D3, M3).
 *
 * A frame names its write entries by key. Keys are not taken back when an entry dies by other means: whether one is live is
 * seen from the entry itself, which then points into the frame. So page-table edits and recycled spaces cost nothing here,
 * and stale keys are replaced when room is needed. */
#include "private.h"

static struct space *key_space(struct mmu *m, uint32_t key) { return &m->spaces[key >> 21]; }

static uint64_t *key_entry(struct mmu *m, uint32_t key) {
  return entry_at(key_space(m, key), key >> 20 & 1, 1, key & (ARRAY_PAGES - 1));
}

static bool key_live(struct mmu *m, uint32_t frame, uint32_t key) {
  uint64_t linear = (uint64_t)(key & (ARRAY_PAGES - 1)) << MMU_PAGE_BITS;
  return *key_entry(m, key) + linear == (uint64_t)frame_host(m, frame);
}

static uint32_t node_take(struct mmu *m) {
  uint32_t n = m->nodes_free;
  if (n) m->nodes_free = m->nodes[n].next;
  else if (m->nodes_made + 1 < m->nnodes) n = ++m->nodes_made;
  return n;
}

/* Slow half of mmu_writer_add(): the three places in the frame are taken. */
static void writer_add_slowly(struct mmu *m, struct frame *f, uint32_t frame, uint32_t key) {
  unsigned count = 3;
  for (uint32_t n = f->more; n; n = m->nodes[n].next, count++)
    if (m->nodes[n].key == key) return;
  for (unsigned i = 0; i < 3; i++)
    if (!key_live(m, frame, f->writers[i])) {
      f->writers[i] = key;
      return;
    }
  for (uint32_t n = f->more; n; n = m->nodes[n].next)
    if (!key_live(m, frame, m->nodes[n].key)) {
      m->nodes[n].key = key;
      return;
    }
  uint32_t n = count < WRITERS_MAX ? node_take(m) : 0;
  if (!n) { /* memory and time are bounded: the others come back when they are used */
    mmu_writers_drop(m, f, frame);
    f->writers[0] = key;
    return;
  }
  m->nodes[n] = (struct node){.key = key, .next = f->more};
  f->more = n;
}

void mmu_writer_add(struct mmu *m, struct frame *f, uint32_t frame, uint32_t key) {
  for (unsigned i = 0; i < 3; i++) {
    if (f->writers[i] == key) return;
    if (!f->writers[i]) {
      f->writers[i] = key;
      return;
    }
  }
  writer_add_slowly(m, f, frame, key);
}

bool mmu_writer_known(struct mmu *m, const struct frame *f, uint32_t key) {
  for (unsigned i = 0; i < 3; i++)
    if (f->writers[i] == key) return true;
  for (uint32_t n = f->more; n; n = m->nodes[n].next)
    if (m->nodes[n].key == key) return true;
  return false;
}

static void key_drop(struct mmu *m, uint32_t frame, uint32_t key) {
  if (!key_live(m, frame, key)) return;
  *key_entry(m, key) = 0;
  mmu_note_drop(m, key_space(m, key), key & (ARRAY_PAGES - 1), false);
}

void mmu_writers_drop(struct mmu *m, struct frame *f, uint32_t frame) {
  for (unsigned i = 0; i < 3 && f->writers[i]; i++) {
    key_drop(m, frame, f->writers[i]);
    f->writers[i] = 0;
  }
  while (f->more) {
    uint32_t n = f->more;
    key_drop(m, frame, m->nodes[n].key);
    f->more = m->nodes[n].next;
    m->nodes[n].next = m->nodes_free;
    m->nodes_free = n;
  }
}

void mmu_frame_trace(struct mmu *m, uint32_t frame, enum mmu_trace kind) {
  struct frame *f = &m->frames[frame];
  f->traces |= (uint8_t)kind;
  mmu_writers_drop(m, f, frame);
}

void mmu_trace_code(struct mmu *m, uint32_t frame, uint64_t granules) {
  if (frame >= m->nframes) return;
  m->frames[frame].granules |= granules;
  mmu_frame_trace(m, frame, MMU_TRACE_CODE);
}

void mmu_untrace_code(struct mmu *m, uint32_t frame) {
  if (frame >= m->nframes) return;
  m->frames[frame].granules = 0;
  m->frames[frame].traces &= (uint8_t)~MMU_TRACE_CODE;
}

void mmu_drop(struct mmu_cpu *cpu, gla addr) {
  uint32_t page = (uint32_t)addr.v >> MMU_PAGE_BITS;
  mmu_entry_drop(cpu->m, slot_owner(cpu->m, cpu->current, page / SLOT_PAGES), page, KINDS_ALL);
}
