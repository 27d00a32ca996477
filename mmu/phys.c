/* The physical map, and access to guest memory by physical address: the one way for stores that traces must see (D3).
 *
 * [0, A0000) RAM, [A0000, C0000) nothing, [C0000, size) RAM of which parts may be made read-only; windows of devices lie over all
 * of it. All of RAM is one run of host memory, so that a guest physical address below the RAM size is an offset into it. */
#include "private.h"

enum { HOLE_START = 0xa0, HOLE_END = 0xc0 }; /* frames: the VGA window */

uint64_t mmu_ram_size(const struct mmu *m) { return m->config.ram_size; }

void *mmu_ram_pointer(struct mmu *m, gpa addr, uint64_t size) {
  uint64_t limit = m->config.ram_size, hole = (uint64_t)HOLE_START << MMU_PAGE_BITS, end = (uint64_t)HOLE_END << MMU_PAGE_BITS;
  if (addr.v > limit || size > limit - addr.v) return NULL;
  if (addr.v < end && addr.v + size > hole) return NULL;
  return m->ram + addr.v;
}

/* ---- windows ---- */

const struct io_window *mmu_window_at(const struct mmu *m, uint64_t addr) {
  for (unsigned i = 0; i < m->nwindows; i++)
    if (addr - m->windows[i].base < m->windows[i].size) return &m->windows[i];
  return NULL;
}

static bool over_ram(const struct mmu *m, uint64_t base) { return base >> MMU_PAGE_BITS < m->nframes; }

/* Which RAM frames lie under windows. The holes have no entries, so only real RAM that changes needs everything derived anew. */
static void mark_windows(struct mmu *m) {
  bool changed = false;
  for (uint32_t i = 0; i < m->nframes; i++) {
    struct frame *f = &m->frames[i];
    if (f->flags & FRAME_IO) f->flags &= (uint8_t)~FRAME_IO, changed |= !(f->flags & FRAME_HOLE);
  }
  for (unsigned w = 0; w < m->nwindows; w++)
    for (uint64_t i = m->windows[w].base >> MMU_PAGE_BITS;
         i < m->nframes && i << MMU_PAGE_BITS < m->windows[w].base + m->windows[w].size; i++) {
      m->frames[i].flags |= FRAME_IO;
      changed |= !(m->frames[i].flags & FRAME_HOLE);
    }
  if (changed) mmu_rebuild_all(m);
}

void mmu_add_io(struct mmu *m, gpa base, uint64_t size, const struct mmu_io_ops *ops, void *opaque) {
  if (!size) return;
  if (m->nwindows == IO_WINDOWS) __builtin_trap(); /* the machine's list of devices is fixed and far shorter */
  m->windows[m->nwindows++] = (struct io_window){.base = base.v, .size = size, .ops = ops, .opaque = opaque};
  if (over_ram(m, base.v)) mark_windows(m);
}

void mmu_remove_io(struct mmu *m, gpa base) {
  for (unsigned i = 0; i < m->nwindows; i++) {
    if (m->windows[i].base != base.v) continue;
    m->windows[i] = m->windows[--m->nwindows];
    if (over_ram(m, base.v)) mark_windows(m);
    return;
  }
}

void mmu_set_read_only(struct mmu *m, gpa base, uint64_t size, bool read_only) {
  for (uint64_t i = base.v >> MMU_PAGE_BITS; i < m->nframes && i << MMU_PAGE_BITS < base.v + size; i++) {
    struct frame *f = &m->frames[i];
    if (!read_only) {
      f->flags &= (uint8_t)~FRAME_ROM;
      continue;
    }
    f->flags |= FRAME_ROM;
    mmu_writers_drop(m, f, (uint32_t)i);
  }
}

/* ---- devices ---- */

/* The largest naturally aligned piece at `addr` that fits. */
static unsigned piece_size(uint64_t addr, unsigned size) {
  unsigned piece = 4;
  while (piece > size || (addr & (piece - 1))) piece >>= 1;
  return piece;
}

static void before_io(struct mmu *m) {
  if (m->config.before_io) m->config.before_io(m->config.opaque);
}

static void log_io(struct mmu *m, uint64_t addr, unsigned size, uint32_t value, bool write) {
  if (m->config.log_io) m->config.log_io(m->config.opaque, to_gpa(addr), size, value, write);
}

/* One piece of an access that is not all RAM. */
static uint32_t read_piece(struct mmu *m, uint64_t addr, unsigned size) {
  const struct io_window *w = mmu_window_at(m, addr);
  uint32_t value = 0xffffffffu;
  if (w && w->ops->read) {
    struct io_window window = *w; /* the device may move its own window */
    m->counters.io_reads++;
    before_io(m);
    value = window.ops->read(window.opaque, addr - window.base, size);
    log_io(m, addr, size, value, false);
    return value;
  }
  if (!w && over_ram(m, addr) && !(m->frames[addr >> MMU_PAGE_BITS].flags & FRAME_HOLE)) {
    bytes_copy_small(&value, m->ram + addr, size);
    return value;
  }
  return value;
}

static bool memory_write(struct mmu *m, uint64_t addr, const void *from, unsigned size);

static bool write_piece(struct mmu *m, uint64_t addr, unsigned size, uint32_t value) {
  const struct io_window *w = mmu_window_at(m, addr);
  if (w && w->ops->write) {
    struct io_window window = *w;
    m->counters.io_writes++;
    before_io(m);
    log_io(m, addr, size, value, true);
    window.ops->write(window.opaque, addr - window.base, size, value);
    return false;
  }
  if (!w && over_ram(m, addr) && !(m->frames[addr >> MMU_PAGE_BITS].flags & FRAME_HOLE))
    return memory_write(m, addr, &value, size);
  return false;
}

static void io_read(struct mmu *m, uint64_t addr, uint8_t *to, unsigned size) {
  while (size) {
    unsigned piece = piece_size(addr, size);
    uint32_t value = read_piece(m, addr, piece);
    bytes_copy_small(to, &value, piece);
    addr += piece, to += piece, size -= piece;
  }
}

static bool io_write(struct mmu *m, uint64_t addr, const uint8_t *from, unsigned size) {
  uint64_t drops = m->drops;
  bool dropped = false;
  while (size) {
    unsigned piece = piece_size(addr, size);
    uint32_t value = 0;
    bytes_copy_small(&value, from, piece);
    dropped |= write_piece(m, addr, piece, value);
    addr += piece, from += piece, size -= piece;
  }
  return dropped || m->drops != drops; /* a device may have moved its window */
}

/* ---- memory ---- */

static uint64_t granules_of(unsigned offset, unsigned size) {
  unsigned first = offset / 64, last = (offset + size - 1) / 64;
  return (~0ull << first) & (~0ull >> (63 - last));
}

/* Code traces: the blocks read from the bytes about to change die first. True: some did. */
bool mmu_code_stored(struct mmu *m, uint32_t frame, unsigned offset, unsigned size) {
  if (size > MMU_PAGE - offset) size = MMU_PAGE - offset;
  uint64_t hit = m->frames[frame].granules & granules_of(offset, size);
  m->counters.code_stores++;
  if (!hit) return false;
  m->counters.code_kills++;
  if (m->config.code_written) m->config.code_written(m->config.opaque, frame, hit);
  return true;
}

/* A store to a page table in pieces of 64 bytes, each compared with what was there. */
static void table_write(struct mmu *m, uint32_t frame, unsigned offset, const uint8_t *from, unsigned size) {
  uint8_t *page = frame_host(m, frame);
  while (size) {
    unsigned piece = size < 64 ? size : 64, start = offset & ~7u;
    uint64_t old[10];
    for (unsigned i = 0; start + i * 8 < offset + piece; i++) old[i] = *(uint64_t *)(page + start + i * 8);
    bytes_copy_small(page + offset, from, piece);
    if (m->frames[frame].traces & MMU_TRACE_PAGE_TABLE) /* an earlier piece may have ended it */
      mmu_table_stored(m, frame, offset, piece, old);
    offset += piece, from += piece, size -= piece;
  }
}

static bool traced_write(struct mmu *m, struct frame *f, uint64_t addr, const void *from, unsigned size) {
  uint32_t frame = (uint32_t)(addr >> MMU_PAGE_BITS);
  unsigned offset = addr % MMU_PAGE;
  uint64_t drops = m->drops;
  bool killed = (f->traces & MMU_TRACE_CODE) && mmu_code_stored(m, frame, offset, size);
  if (f->traces & MMU_TRACE_PAGE_TABLE) table_write(m, frame, offset, from, size);
  else bytes_copy_small(m->ram + addr, from, size);
  return killed || m->drops != drops;
}

/* Within one page that is RAM or ROM. */
static bool memory_write(struct mmu *m, uint64_t addr, const void *from, unsigned size) {
  struct frame *f = &m->frames[addr >> MMU_PAGE_BITS];
  if (f->flags & FRAME_ROM) return false;
  if (f->traces) return traced_write(m, f, addr, from, size);
  bytes_copy_small(m->ram + addr, from, size);
  return false;
}

static uint64_t page_part(uint64_t addr, uint64_t size) {
  uint64_t room = MMU_PAGE - addr % MMU_PAGE;
  return size < room ? size : room;
}

void mmu_phys_read(struct mmu *m, gpa addr, void *to, unsigned size) {
  unsigned part = (unsigned)page_part(addr.v, size);
  if (memory_at(m, addr.v)) bytes_copy_small(to, m->ram + addr.v, part);
  else io_read(m, addr.v, to, part);
  if (part < size) /* callers do not do that, but no guest input may take us beyond RAM */
    mmu_phys_read(m, to_gpa(addr.v + part), (uint8_t *)to + part, size - part);
}

bool mmu_phys_write(struct mmu *m, gpa addr, const void *from, unsigned size) {
  unsigned part = (unsigned)page_part(addr.v, size);
  if (!size) return false;
  bool dropped = memory_at(m, addr.v) ? memory_write(m, addr.v, from, part) : io_write(m, addr.v, from, part);
  if (part < size) dropped |= mmu_phys_write(m, to_gpa(addr.v + part), (const uint8_t *)from + part, size - part);
  return dropped;
}

void mmu_dma_read(struct mmu *m, gpa addr, void *to, uint64_t size) {
  uint8_t *at = to;
  for (uint64_t part; size; addr.v += part, at += part, size -= part) {
    part = page_part(addr.v, size);
    if (memory_at(m, addr.v)) bytes_copy(at, m->ram + addr.v, part);
    else bytes_fill(at, 0xff, part);
  }
}

void mmu_dma_write(struct mmu *m, gpa addr, const void *from, uint64_t size) {
  const uint8_t *at = from;
  for (uint64_t part; size; addr.v += part, at += part, size -= part) {
    part = page_part(addr.v, size);
    if (memory_at(m, addr.v)) memory_write(m, addr.v, at, (unsigned)part);
  }
}

/* ---- instructions run in place ---- */

bool mmu_traced_store_begin(struct mmu *m, gpa addr, unsigned size) {
  if (!size || !memory_at(m, addr.v)) return false;
  uint32_t frame = (uint32_t)(addr.v >> MMU_PAGE_BITS);
  struct frame *f = &m->frames[frame];
  bool dropped = false;
  if (f->traces & MMU_TRACE_CODE) dropped = mmu_code_stored(m, frame, addr.v % MMU_PAGE, size);
  if (!(f->traces & MMU_TRACE_PAGE_TABLE)) return dropped;
  if (size > PENDING_BYTES) __builtin_trap(); /* no instruction stores that much */
  uint64_t start = addr.v & ~7ull;
  for (unsigned i = 0; start + i * 8 < addr.v + size; i++) m->pending[i] = *(uint64_t *)(m->ram + start + i * 8);
  return true;
}

bool mmu_traced_store_end(struct mmu *m, gpa addr, unsigned size) {
  if (!size || !memory_at(m, addr.v)) return false;
  uint32_t frame = (uint32_t)(addr.v >> MMU_PAGE_BITS);
  uint64_t drops = m->drops;
  if (m->frames[frame].traces & MMU_TRACE_PAGE_TABLE) mmu_table_stored(m, frame, addr.v % MMU_PAGE, size, m->pending);
  return m->drops != drops;
}

/* ---- start ---- */

void mmu_phys_init(struct mmu *m) {
  for (uint32_t i = HOLE_START; i < HOLE_END && i < m->nframes; i++) m->frames[i].flags = FRAME_HOLE;
}
