/* The physical map: areas of memory and windows of devices, and what each physical address means (struct mmu_area of mmu.h).
 *
 * Frames are numbers in one space over all memory: the host memory of all areas lies in one reservation, so that a frame's host
 * address is a sum, and an area owns a run of frames wherever it is shown. Main RAM has frames 0 on, so that where nothing lies
 * over it a page's number is its frame's: frame_at() looks at FRAME_COVERED and is done. Everything else is looked up in
 * `ranges`, which is what areas come to when levels and order have been decided: sorted, disjoint, made anew at each change.
 *
 * A change compares the old ranges with the new ones. What was memory and is not the same any more is marked, and one walk over
 * the spaces drops what derives from it (mmu_spaces_remapped()). Blocks of code live as long as their frames. */
#include "private.h"

enum { AREAS_A_CHUNK = 64 };

struct area_chunk {
  struct area_chunk *next;
  struct mmu_area areas[AREAS_A_CHUNK];
};

/* ---- what areas come to ---- */

static uint64_t area_end(const struct mmu_area *a) { return a->base + a->size; }
static bool area_covers(const struct mmu_area *a, uint64_t addr) { return a->shown && addr - a->base < a->size; }
static bool lies_over(const struct mmu_area *a, const struct mmu_area *b) {
  return a->level != b->level ? a->level > b->level : a->order > b->order;
}

/* The uppermost area at `addr` that lies below `limit` (NULL: of all). */
static struct mmu_area *area_below(struct mmu *m, uint64_t addr, const struct mmu_area *limit) {
  struct mmu_area *top = NULL;
  for (struct mmu_area *a = m->areas; a; a = a->next)
    if (area_covers(a, addr) && (!limit || lies_over(limit, a)) && (!top || lies_over(a, top))) top = a;
  return top;
}

/* Who takes stores where `top` takes reads; NULL: nobody. */
static struct mmu_area *stores_of(struct mmu *m, struct mmu_area *top, uint64_t addr) {
  while (top && top->stores == MMU_STORES_BELOW) top = area_below(m, addr, top);
  return top && top->stores == MMU_STORES_KEPT ? top : NULL;
}

static uint32_t frame_in(const struct mmu_area *a, uint64_t addr) {
  return a && a->kind == AREA_MEMORY ? a->frame + (uint32_t)((addr - a->base) >> MMU_PAGE_BITS) : NO_FRAME;
}

static void point_add(struct mmu *m, unsigned *count, uint64_t point) {
  unsigned i = *count;
  for (; i && m->points[i - 1] >= point; i--) {
    if (m->points[i - 1] == point) return;
  }
  for (unsigned k = *count; k > i; k--) m->points[k] = m->points[k - 1];
  m->points[i] = point;
  ++*count;
}

/* Where [start, end) goes on as the range before it does, it becomes part of that. */
static void range_add(struct mmu *m, struct map *map, uint64_t start, uint64_t end) {
  struct mmu_area *area = area_below(m, start, NULL);
  if (!area) return;
  struct mmu_area *stores = stores_of(m, area, start);
  struct range *last = map->count ? &map->ranges[map->count - 1] : NULL;
  if (last && last->end == start && last->area == area && last->stores == stores) {
    last->end = end;
    return;
  }
  map->ranges[map->count++] = (struct range){.start = start,
                                             .end = end,
                                             .area = area,
                                             .stores = stores,
                                             .frame = frame_in(area, start),
                                             .stores_frame = frame_in(stores, start)};
}

static void map_make(struct mmu *m, struct map *map) {
  unsigned points = 0;
  map->count = 0;
  for (struct mmu_area *a = m->areas; a; a = a->next)
    if (a->shown) point_add(m, &points, a->base), point_add(m, &points, area_end(a));
  for (unsigned i = 1; i < points; i++) range_add(m, map, m->points[i - 1], m->points[i]);
}

/* ---- looking up ---- */

static const struct range *range_in(const struct map *map, uint64_t addr) {
  unsigned low = 0, high = map->count;
  while (low < high) {
    unsigned middle = (low + high) / 2;
    if (map->ranges[middle].end <= addr) low = middle + 1;
    else high = middle;
  }
  return low < map->count && map->ranges[low].start <= addr ? &map->ranges[low] : NULL;
}

/* A device's registers are asked for again and again: the last range that was found is tried first. */
const struct range *mmu_range_at(struct mmu *m, uint64_t addr) {
  const struct map *map = m->map;
  if (m->last_range < map->count) {
    const struct range *r = &map->ranges[m->last_range];
    if (addr >= r->start && addr < r->end) return r;
  }
  const struct range *found = range_in(map, addr);
  if (found) m->last_range = (unsigned)(found - map->ranges);
  return found;
}

static bool whole_page(const struct range *r, uint64_t addr) {
  uint64_t page = addr & ~(uint64_t)(MMU_PAGE - 1);
  return r && page >= r->start && page + MMU_PAGE <= r->end;
}

/* frame_at() where main RAM is not simply itself. */
uint32_t mmu_frame_search(struct mmu *m, uint64_t addr) {
  const struct range *r = mmu_range_at(m, addr);
  return whole_page(r, addr) ? range_frame(r, addr) : NO_FRAME;
}

/* stores_kept(), likewise. */
bool mmu_stores_search(struct mmu *m, uint64_t addr) {
  const struct range *r = mmu_range_at(m, addr);
  return r && r->stores == r->area;
}

/* ---- changes ---- */

/* The end of what is alike from `at` on: a range's end, or the start of the next one. */
static uint64_t alike_until(const struct map *map, uint64_t at) {
  for (unsigned i = 0; i < map->count; i++) {
    if (at < map->ranges[i].start) return map->ranges[i].start;
    if (at < map->ranges[i].end) return map->ranges[i].end;
  }
  return UINT64_MAX;
}

/* Devices have no entries, so that only memory tells one meaning of an address from another. */
static bool means_same(const struct range *a, const struct range *b, uint64_t at) {
  uint32_t frame = a ? range_frame(a, at) : NO_FRAME, other = b ? range_frame(b, at) : NO_FRAME;
  if (frame != other) return false;
  return frame == NO_FRAME || (a->stores == a->area) == (b->stores == b->area);
}

static bool mark_dying(struct mmu *m, const struct range *old, uint64_t start, uint64_t end) {
  if (!old || old->frame == NO_FRAME) return false;
  uint32_t last = range_frame(old, end - 1);
  for (uint32_t frame = range_frame(old, start); frame <= last; frame++) m->frames[frame].flags |= FRAME_DYING;
  return true;
}

/* Which pages of main RAM are themselves now. A page that two ranges share is not. */
static void mark_covered(struct mmu *m, const struct range *new, uint64_t start, uint64_t end) {
  for (uint64_t page = start >> MMU_PAGE_BITS; page < m->ram_frames && page << MMU_PAGE_BITS < end; page++) {
    struct frame *f = &m->frames[page];
    uint64_t addr = page << MMU_PAGE_BITS;
    bool itself = whole_page(new, addr) && range_frame(new, addr) == page && new->stores == new->area;
    f->flags = (uint8_t)(itself ? f->flags & ~FRAME_COVERED : f->flags | FRAME_COVERED);
  }
}

/* What a change does to [start, end), which has another meaning than before. */
typedef bool changed_fn(struct mmu *m, const struct range *before, const struct range *now, uint64_t start, uint64_t end);

static bool mark_changed(struct mmu *m, const struct range *before, const struct range *now, uint64_t start, uint64_t end) {
  mark_covered(m, now, start, end);
  return mark_dying(m, before, start, end);
}

static bool unmark_dying(struct mmu *m, const struct range *before, const struct range *now, uint64_t start, uint64_t end) {
  if (!before || before->frame == NO_FRAME) return false;
  uint32_t last = range_frame(before, end - 1);
  for (uint32_t frame = range_frame(before, start); frame <= last; frame++) m->frames[frame].flags &= (uint8_t)~FRAME_DYING;
  return false;
}

/* How far from `at` on, up to `next`, the new meaning differs from the old one; `at`: not at all. A page of the same memory that
 * is cut in pieces, or not any more (a window under a ROM may do that to where its stores go), has entries only when it is whole.
 */
static uint64_t changed_until(const struct range *before, const struct range *now, uint64_t at, uint64_t next) {
  if (!means_same(before, now, at)) return next;
  if (whole_page(before, at) == whole_page(now, at)) return at;
  uint64_t page_end = (at | (MMU_PAGE - 1)) + 1;
  return page_end < next ? page_end : next;
}

/* Compares piece by piece; true: `changed` has said so of one. */
static bool each_change(struct mmu *m, const struct map *old, const struct map *new, changed_fn *changed) {
  bool any = false;
  for (uint64_t at = 0, next; at != UINT64_MAX; at = next) {
    uint64_t until = alike_until(new, at);
    next = alike_until(old, at);
    if (until < next) next = until;
    if (next == UINT64_MAX) break;
    const struct range *before = range_in(old, at), *now = range_in(new, at);
    uint64_t end = changed_until(before, now, at, next);
    if (end == at) continue;
    any |= changed(m, before, now, at, end);
  }
  return any;
}

static void map_changed(struct mmu *m) {
  if (m->changing) {
    m->change_waits = true;
    return;
  }
  struct map *old = m->map, *new = old == &m->maps[0] ? &m->maps[1] : &m->maps[0];
  map_make(m, new);
  m->map = new;
  m->last_range = 0;
  m->plain = (struct mmu_plain){0};
  bool dying = each_change(m, old, new, mark_changed);
  m->counters.map_changes++;
  mmu_spaces_remapped(m, dying);
  if (dying) each_change(m, old, new, unmark_dying);
}

void mmu_change_begin(struct mmu *m) { m->changing++; }

void mmu_change_end(struct mmu *m) {
  if (--m->changing || !m->change_waits) return;
  m->change_waits = false;
  map_changed(m);
}

/* ---- areas ---- */

/* Room for the ranges of one area more: each has two ends, and so at most two ranges more than without it. */
static bool reserve_ranges(struct mmu *m) {
  unsigned wanted = 2 * (m->nareas + 1) + 1;
  if (wanted <= m->map_room) return true;
  unsigned room = m->map_room ? m->map_room * 2 : 256;
  struct range *ranges[2] = {mmu_host_take(room * sizeof(struct range)), mmu_host_take(room * sizeof(struct range))};
  uint64_t *points = mmu_host_take(room * sizeof *points);
  if (!ranges[0] || !ranges[1] || !points) {
    for (unsigned i = 0; i < 2; i++) mmu_host_give(ranges[i], room * sizeof(struct range));
    mmu_host_give(points, room * sizeof *points);
    return false;
  }
  for (unsigned i = 0; i < 2; i++) {
    if (m->maps[i].count) bytes_copy(ranges[i], m->maps[i].ranges, m->maps[i].count * sizeof(struct range));
    mmu_host_give(m->maps[i].ranges, m->map_room * sizeof(struct range));
    m->maps[i].ranges = ranges[i];
  }
  mmu_host_give(m->points, m->map_room * sizeof *points);
  m->points = points;
  m->map_room = room;
  return true;
}

static struct mmu_area *area_take(struct mmu *m) {
  if (!reserve_ranges(m)) return NULL;
  if (!m->areas_free) {
    struct area_chunk *chunk = mmu_host_take(sizeof *chunk);
    if (!chunk) return NULL;
    chunk->next = m->area_chunks;
    m->area_chunks = chunk;
    for (unsigned i = 0; i < AREAS_A_CHUNK; i++) {
      chunk->areas[i].next = m->areas_free;
      m->areas_free = &chunk->areas[i];
    }
  }
  struct mmu_area *a = m->areas_free;
  m->areas_free = a->next;
  *a = (struct mmu_area){.next = m->areas, .order = ++m->area_order, .fd = -1};
  m->areas = a;
  m->nareas++;
  return a;
}

static void area_free(struct mmu *m, struct mmu_area *a) {
  struct mmu_area **at = &m->areas;
  while (*at != a) at = &(*at)->next;
  *at = a->next;
  *a = (struct mmu_area){.next = m->areas_free};
  m->areas_free = a;
  m->nareas--;
}

/* The map knows nothing beyond 2^36; an area that would reach out of it, or wrap, is cut off there. Memory lies on whole pages.
 */
static void area_place(struct mmu_area *a, uint64_t base) {
  if (a->kind == AREA_MEMORY) base &= ~(uint64_t)(MMU_PAGE - 1);
  if (base > MMU_PHYSICAL_SIZE) base = MMU_PHYSICAL_SIZE;
  a->base = base;
  a->size = a->whole < MMU_PHYSICAL_SIZE - base ? a->whole : MMU_PHYSICAL_SIZE - base;
}

static void area_set(struct mmu_area *a, uint64_t base, uint64_t size, unsigned flags) {
  a->whole = size;
  a->level = (uint8_t)(flags >> 8);
  a->stores = flags & MMU_READ_ONLY ? MMU_STORES_DROPPED : MMU_STORES_KEPT;
  area_place(a, base);
  a->shown = !(flags & MMU_HIDDEN);
}

/* A run of free frames between guards; NO_FRAME: there is none. Large areas may have huge pages. */
static uint32_t frames_find(struct mmu *m, uint32_t count) {
  uint32_t align = count >= 512 ? 512 : 1, at = m->ram_frames + 1;
  for (bool moved = true; moved;) {
    moved = false;
    at = (at + align - 1) & ~(align - 1);
    for (const struct mmu_area *a = m->areas; a; a = a->next) {
      if (!a->owned || a->frame > at + count || at > a->frame + a->owned) continue;
      at = a->frame + a->owned + 1;
      moved = true;
    }
  }
  return count < m->nframes && at < m->nframes - count ? at : NO_FRAME;
}

struct mmu_area *mmu_add_memory(struct mmu *m, gpa base, uint64_t size, unsigned flags) {
  uint64_t count = (size + MMU_PAGE - 1) >> MMU_PAGE_BITS;
  if (!count || count >= m->nframes) return NULL;
  uint32_t frame = frames_find(m, (uint32_t)count);
  struct mmu_area *a = frame != NO_FRAME ? area_take(m) : NULL;
  if (!a) return NULL;
  a->frame = frame;
  if (!mmu_host_back(m, a, (uint32_t)count, flags & MMU_SHARED)) {
    area_free(m, a);
    return NULL;
  }
  a->owned = (uint32_t)count;
  area_set(a, base.v, count << MMU_PAGE_BITS, flags);
  if (a->shown) map_changed(m);
  return a;
}

struct mmu_area *mmu_add_alias(struct mmu *m, struct mmu_area *of, uint64_t offset, uint64_t size, gpa base, unsigned flags) {
  if (of->kind != AREA_MEMORY || of->orphan || !size || (offset | size) % MMU_PAGE) return NULL;
  if (offset > of->whole || size > of->whole - offset) return NULL;
  struct mmu_area *a = area_take(m);
  if (!a) return NULL;
  a->of = of->of ? of->of : of;
  a->frame = of->frame + (uint32_t)(offset >> MMU_PAGE_BITS);
  area_set(a, base.v, size, flags);
  if (a->shown) map_changed(m);
  return a;
}

struct mmu_area *mmu_add_io(struct mmu *m, gpa base, uint64_t size, const struct mmu_io_ops *ops, void *opaque) {
  struct mmu_area *a = size ? area_take(m) : NULL;
  if (!a) return NULL;
  a->kind = AREA_IO;
  a->ops = ops;
  a->opaque = opaque;
  area_set(a, base.v, size, MMU_LEVEL(MMU_LEVEL_IO));
  if (a->shown) map_changed(m);
  return a;
}

void mmu_set_io_plain(struct mmu_area *a) { a->plain = true; }

/* The one that was found last is kept until the map changes. */
static const struct mmu_plain *plain_search(struct mmu *m, uint64_t addr) {
  const struct range *r = mmu_range_at(m, addr);
  if (!r || r->area != r->stores || r->area->kind != AREA_IO || !r->area->plain || m->config.log_io) return NULL;
  m->plain = (struct mmu_plain){r->start, r->end - r->start, r->area->base, r->area->ops, r->area->opaque};
  return &m->plain;
}

const struct mmu_plain *mmu_plain_at(struct mmu_cpu *cpu, gla linear, unsigned size, uint64_t *offset) {
  struct mmu *m = cpu->m;
  if (cpu->current->bits & MODE_PAGING) return NULL;
  uint64_t addr = linear.v & a20_mask(cpu->current);
  const struct mmu_plain *p = addr - m->plain.start < m->plain.size ? &m->plain : plain_search(m, addr);
  if (!p || addr + size > p->start + p->size) return NULL;
  *offset = addr - p->base;
  return p;
}

void mmu_move_area(struct mmu *m, struct mmu_area *a, gpa base) {
  uint64_t was = a->base;
  area_place(a, base.v);
  if (a->base == was) return;
  if (a->shown) map_changed(m);
}

void mmu_show_area(struct mmu *m, struct mmu_area *a, bool shown) {
  shown &= !a->orphan;
  if (a->shown == shown) return;
  a->shown = shown;
  map_changed(m);
}

void mmu_set_area_stores(struct mmu *m, struct mmu_area *a, enum mmu_stores stores) {
  if (a->stores == stores) return;
  a->stores = (uint8_t)stores;
  if (a->shown) map_changed(m);
}

void mmu_set_area_level(struct mmu *m, struct mmu_area *a, unsigned level) {
  if (a->level == level) return;
  a->level = (uint8_t)level;
  if (a->shown) map_changed(m);
}

/* What its frames were known for: code, and who wrote to them. (Page tables and entries went with the map.) */
static void frames_forget(struct mmu *m, uint32_t frame, uint32_t count) {
  mmu_dirty_forget(m, frame, count);
  for (uint32_t i = frame; i < frame + count; i++) {
    struct frame *f = &m->frames[i];
    if ((f->traces & MMU_TRACE_CODE) && m->config.code_written) m->config.code_written(m->config.opaque, i, ~0ull);
    mmu_writers_drop(m, f, i);
    *f = (struct frame){0};
  }
}

void mmu_remove_area(struct mmu *m, struct mmu_area *a) {
  unsigned changing = m->changing;
  m->changing = 1;
  mmu_show_area(m, a, false);
  for (struct mmu_area *alias = m->areas; alias && a->owned; alias = alias->next)
    if (alias->of == a) {
      mmu_show_area(m, alias, false);
      alias->orphan = true;
    }
  m->changing = 0; /* the memory goes now, so the map cannot wait for the end of a larger change */
  if (m->change_waits) {
    m->change_waits = false;
    map_changed(m);
  }
  m->changing = changing;
  if (a->owned) {
    frames_forget(m, a->frame, a->owned);
    mmu_host_unback(m, a);
  }
  area_free(m, a);
}

void mmu_remove_io(struct mmu *m, gpa base) {
  for (struct mmu_area *a = m->areas; a; a = a->next)
    if (a->kind == AREA_IO && a->base == base.v) {
      mmu_remove_area(m, a);
      return;
    }
}

/* ---- main RAM ---- */

enum { HOLE_START = 0xa0000, HOLE_END = 0xc0000 }; /* the VGA window */

/* Frames 0 to ram_frames - 1 are backed. Nothing derives from anything yet. */
bool mmu_map_init(struct mmu *m) {
  uint64_t size = m->config.ram_size;
  struct mmu_area *ram = area_take(m);
  if (!ram) return false;
  m->maps[0].count = m->maps[1].count = 0;
  m->map = &m->maps[0];
  ram->owned = m->ram_frames;
  ram->fd = m->ram_fd;
  area_set(ram, 0, size, MMU_HIDDEN);
  m->ram_area = ram;
  struct mmu_area *low = mmu_add_alias(m, ram, 0, HOLE_START, to_gpa(0), MMU_HIDDEN);
  struct mmu_area *high = low ? mmu_add_alias(m, ram, HOLE_END, size - HOLE_END, to_gpa(HOLE_END), MMU_HIDDEN) : NULL;
  if (!high) return false;
  low->shown = high->shown = true;
  map_make(m, m->map);
  for (unsigned i = HOLE_START >> MMU_PAGE_BITS; i < HOLE_END >> MMU_PAGE_BITS; i++) m->frames[i].flags = FRAME_COVERED;
  return true;
}

void mmu_map_free(struct mmu *m) {
  for (const struct mmu_area *a = m->areas; a; a = a->next)
    if (a->owned) mmu_host_close(a->fd);
  for (struct area_chunk *chunk = m->area_chunks, *next; chunk; chunk = next) {
    next = chunk->next;
    mmu_host_give(chunk, sizeof *chunk);
  }
  for (unsigned i = 0; i < 2; i++) mmu_host_give(m->maps[i].ranges, m->map_room * sizeof(struct range));
  mmu_host_give(m->points, m->map_room * sizeof *m->points);
}

struct mmu_area *mmu_ram_area(struct mmu *m) {
  return m->ram_area;
}
uint64_t mmu_ram_size(const struct mmu *m) { return m->config.ram_size; }
uint32_t mmu_area_frame(const struct mmu_area *a) { return a->kind == AREA_MEMORY ? a->frame : NO_FRAME; }
uint64_t mmu_area_size(const struct mmu_area *a) { return a->whole; }
gpa mmu_area_base(const struct mmu_area *a) { return to_gpa(a->base); }
int mmu_area_fd(const struct mmu_area *a) { return a->of ? -1 : a->fd; }

bool mmu_map_range(const struct mmu *m, unsigned i, struct mmu_map_range *range) {
  if (i >= m->map->count) return false;
  const struct range *r = &m->map->ranges[i];
  const struct mmu_area *whose = r->area->of ? r->area->of : r->area;
  range->start = r->start, range->end = r->end, range->area = whose, range->level = r->area->level;
  range->kind = r->frame == NO_FRAME ? MMU_IO : r->stores == r->area ? MMU_RAM : MMU_ROM;
  range->offset = r->frame == NO_FRAME ? r->start - r->area->base : (uint64_t)(r->frame - whose->frame) << MMU_PAGE_BITS;
  return true;
}

uint32_t mmu_next_frame(const struct mmu *m, uint32_t frame) {
  if (frame < m->ram_frames) return frame;
  uint32_t next = MMU_NO_FRAME;
  for (const struct mmu_area *a = m->areas; a; a = a->next) {
    uint32_t first = a->frame > frame ? a->frame : frame;
    if (a->owned && frame < a->frame + a->owned && first < next) next = first;
  }
  return next;
}

void *mmu_frame_pointer(struct mmu *m, uint32_t frame) { return frame < m->nframes ? frame_host(m, frame) : NULL; }

void *mmu_ram_pointer(struct mmu *m, gpa addr, uint64_t size) {
  uint64_t limit = m->config.ram_size;
  if (addr.v > limit || size > limit - addr.v) return NULL;
  if (addr.v < HOLE_END && addr.v + size > HOLE_START) return NULL;
  return m->memory + addr.v;
}
