/* Access to guest memory by physical address: the one way for stores that traces must see (D3). What an address means is map.c's.
 */
#include "private.h"

/* ---- devices ---- */

/* The largest naturally aligned piece at `addr` that fits. */
static unsigned piece_size(uint64_t addr, unsigned size) {
  unsigned piece = 4;
  while (piece > size || (addr & (piece - 1))) piece >>= 1;
  return piece;
}

static void before_io(struct mmu *m, const struct mmu_area *window) {
  if (m->config.before_io && (!window->plain || m->config.log_io)) m->config.before_io(m->config.opaque);
}

static void log_io(struct mmu *m, uint64_t addr, unsigned size, uint32_t value, bool write) {
  if (m->config.log_io) m->config.log_io(m->config.opaque, to_gpa(addr), size, value, write);
}

static bool frame_write(struct mmu *m, uint32_t frame, unsigned offset, const void *from, unsigned size);

static uint32_t stores_frame(const struct range *r, uint64_t addr) {
  return r->stores_frame + (uint32_t)((addr >> MMU_PAGE_BITS) - (r->start >> MMU_PAGE_BITS));
}

/* One piece of an access that is not all one memory. */
static uint32_t read_piece(struct mmu *m, uint64_t addr, unsigned size) {
  const struct range *r = mmu_range_at(m, addr);
  uint32_t value = 0xffffffffu;
  if (!r) return value;
  if (r->frame != NO_FRAME) {
    bytes_copy_small(&value, frame_host(m, range_frame(r, addr)) + addr % MMU_PAGE, size);
    return value;
  }
  const struct mmu_area *window = r->area;
  if (!window->ops->read) return value;
  uint64_t offset = addr - window->base;
  m->counters.io_reads++;
  before_io(m, window);
  value = window->ops->read(window->opaque, offset, size); /* from here on `window` may be gone */
  log_io(m, addr, size, value, false);
  return value;
}

static bool write_piece(struct mmu *m, uint64_t addr, unsigned size, uint32_t value) {
  const struct range *r = mmu_range_at(m, addr);
  if (!r || !r->stores) return false;
  if (r->stores_frame != NO_FRAME) return frame_write(m, stores_frame(r, addr), addr % MMU_PAGE, &value, size);
  const struct mmu_area *window = r->stores;
  if (!window->ops->write) return false;
  uint64_t offset = addr - window->base;
  m->counters.io_writes++;
  before_io(m, window);
  log_io(m, addr, size, value, true);
  window->ops->write(window->opaque, offset, size, value);
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
  return dropped || m->drops != drops; /* a device may have moved an area */
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

static bool traced_write(struct mmu *m, uint32_t frame, unsigned offset, const void *from, unsigned size) {
  const struct frame *f = &m->frames[frame];
  uint64_t drops = m->drops;
  if (f->traces & MMU_TRACE_DIRTY) mmu_dirty_stored(m, frame);
  bool killed = (f->traces & MMU_TRACE_CODE) && mmu_code_stored(m, frame, offset, size);
  if (f->traces & MMU_TRACE_PAGE_TABLE) table_write(m, frame, offset, from, size);
  else bytes_copy_small(frame_host(m, frame) + offset, from, size);
  return killed || m->drops != drops;
}

static bool frame_write(struct mmu *m, uint32_t frame, unsigned offset, const void *from, unsigned size) {
  if (m->frames[frame].traces) return traced_write(m, frame, offset, from, size);
  bytes_copy_small(frame_host(m, frame) + offset, from, size);
  return false;
}

/* Within one page. */
static bool page_write(struct mmu *m, uint64_t addr, const void *from, unsigned size) {
  uint64_t page = addr >> MMU_PAGE_BITS;
  if (is_plain_ram(m, page)) return frame_write(m, (uint32_t)page, addr % MMU_PAGE, from, size);
  const struct range *r = mmu_range_at(m, addr);
  if (!r || addr + size > r->end || (r->stores && r->stores_frame == NO_FRAME)) return io_write(m, addr, from, size);
  return r->stores && frame_write(m, stores_frame(r, addr), addr % MMU_PAGE, from, size);
}

static uint64_t page_part(uint64_t addr, uint64_t size) {
  uint64_t room = MMU_PAGE - addr % MMU_PAGE;
  return size < room ? size : room;
}

void mmu_phys_read(struct mmu *m, gpa addr, void *to, unsigned size) {
  unsigned part = (unsigned)page_part(addr.v, size);
  const uint8_t *host = memory_at(m, addr.v);
  if (host) bytes_copy_small(to, host, part);
  else io_read(m, addr.v, to, part);
  if (part < size) /* callers do not do that, but no guest input may take us beyond memory */
    mmu_phys_read(m, to_gpa(addr.v + part), (uint8_t *)to + part, size - part);
}

bool mmu_phys_write(struct mmu *m, gpa addr, const void *from, unsigned size) {
  unsigned part = (unsigned)page_part(addr.v, size);
  if (!size) return false;
  bool dropped = page_write(m, addr.v, from, part);
  if (part < size) dropped |= mmu_phys_write(m, to_gpa(addr.v + part), (const uint8_t *)from + part, size - part);
  return dropped;
}

/* As much of [addr, addr+size) as is of one meaning and in one page. *r: NULL: plain RAM, or nothing. */
static uint64_t dma_part(struct mmu *m, uint64_t addr, uint64_t size, const struct range **r) {
  uint64_t part = page_part(addr, size);
  *r = is_plain_ram(m, addr >> MMU_PAGE_BITS) ? NULL : mmu_range_at(m, addr);
  return *r && part > (*r)->end - addr ? (*r)->end - addr : part;
}

void mmu_dma_read(struct mmu *m, gpa addr, void *to, uint64_t size) {
  uint8_t *at = to;
  const struct range *r;
  for (uint64_t part; size; addr.v += part, at += part, size -= part) {
    part = dma_part(m, addr.v, size, &r);
    uint64_t page = addr.v >> MMU_PAGE_BITS;
    uint32_t frame = r ? range_frame(r, addr.v) : is_plain_ram(m, page) ? (uint32_t)page : NO_FRAME;
    if (frame != NO_FRAME) bytes_copy(at, frame_host(m, frame) + addr.v % MMU_PAGE, part);
    else bytes_fill(at, 0xff, part);
  }
}

void mmu_area_write(struct mmu *m, const struct mmu_area *area, uint64_t offset, const void *from, uint64_t size) {
  const uint8_t *at = from;
  if (area->kind != AREA_MEMORY || area->orphan || offset > area->whole || size > area->whole - offset)
    __builtin_trap(); /* a device's own bug */
  for (uint64_t part; size; offset += part, at += part, size -= part) {
    part = page_part(offset, size);
    frame_write(m, area->frame + (uint32_t)(offset >> MMU_PAGE_BITS), offset % MMU_PAGE, at, (unsigned)part);
  }
}

void mmu_dma_write(struct mmu *m, gpa addr, const void *from, uint64_t size) {
  const uint8_t *at = from;
  const struct range *r;
  for (uint64_t part; size; addr.v += part, at += part, size -= part) {
    part = dma_part(m, addr.v, size, &r);
    uint64_t page = addr.v >> MMU_PAGE_BITS;
    if (is_plain_ram(m, page)) frame_write(m, (uint32_t)page, addr.v % MMU_PAGE, at, (unsigned)part);
    else if (r && r->stores_frame != NO_FRAME) frame_write(m, stores_frame(r, addr.v), addr.v % MMU_PAGE, at, (unsigned)part);
  }
}

static bool claim_frame(struct mmu *m, uint32_t frame, unsigned offset, unsigned size) {
  const struct frame *f = &m->frames[frame];
  if (f->traces & MMU_TRACE_PAGE_TABLE) return false;
  if (f->traces & MMU_TRACE_DIRTY) mmu_dirty_stored(m, frame);
  if (f->traces & MMU_TRACE_CODE) mmu_code_stored(m, frame, offset, size);
  return true;
}

uint8_t *mmu_dma_claim(struct mmu *m, gpa addr, uint64_t size) {
  uint64_t end = addr.v + size, part;
  if (!size || end < size) return NULL;
  for (uint64_t at = addr.v; at < end; at += part) {
    part = page_part(at, end - at);
    if (!is_plain_ram(m, at >> MMU_PAGE_BITS)) return NULL;
    if (!claim_frame(m, (uint32_t)(at >> MMU_PAGE_BITS), at % MMU_PAGE, (unsigned)part)) return NULL;
  }
  return (uint8_t *)frame_host(m, (uint32_t)(addr.v >> MMU_PAGE_BITS)) + addr.v % MMU_PAGE;
}

/* ---- instructions run in place ---- */

bool mmu_traced_store_begin(struct mmu_cpu *cpu, gpa addr, unsigned size) {
  struct mmu *m = cpu->m;
  uint32_t frame = size && stores_kept(m, addr.v) ? frame_at(m, addr.v) : NO_FRAME;
  if (frame == NO_FRAME) return false;
  const struct frame *f = &m->frames[frame];
  bool dropped = false;
  if (f->traces & MMU_TRACE_DIRTY) mmu_dirty_stored(m, frame);
  if (f->traces & MMU_TRACE_CODE) dropped = mmu_code_stored(m, frame, addr.v % MMU_PAGE, size);
  if (!(f->traces & MMU_TRACE_PAGE_TABLE)) return dropped;
  if (size > PENDING_BYTES) __builtin_trap(); /* no instruction stores that much */
  unsigned start = addr.v % MMU_PAGE & ~7u;
  const uint8_t *page = frame_host(m, frame);
  for (unsigned i = 0; start + i * 8 < addr.v % MMU_PAGE + size; i++) cpu->pending[i] = *(const uint64_t *)(page + start + i * 8);
  return true;
}

bool mmu_traced_store_end(struct mmu_cpu *cpu, gpa addr, unsigned size) {
  struct mmu *m = cpu->m;
  uint32_t frame = size && stores_kept(m, addr.v) ? frame_at(m, addr.v) : NO_FRAME;
  if (frame == NO_FRAME) return false;
  uint64_t drops = m->drops;
  if (m->frames[frame].traces & MMU_TRACE_PAGE_TABLE) mmu_table_stored(m, frame, addr.v % MMU_PAGE, size, cpu->pending);
  return m->drops != drops;
}
