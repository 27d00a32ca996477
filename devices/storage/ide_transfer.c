/* The data of an IDE drive's command, on their way through its buffer (ide.h, enum ide_phase). What the bus master takes out of
 * the guest's RAM the back end takes from there itself: a command is one request then.
 *
 * Owns the one request that a drive has at the back end, and what is in the buffer. The guest runs on while the back end works:
 * PIO shows BSY meanwhile, DMA stays where it is. A request is as large as buffer and command allow; one that fails is tried
 * again sector by sector, so that the guest is told which one is bad, and gets those before it.
 * Invariants: at <= block_end <= filled <= IDE_BUFFER while PIO moves bytes; nothing but done() goes on with a command whose
 * request is under way.
 */
#include "ide.h"
#include <errno.h>
#include <string.h>

enum { TRANSFER_STATUS = ATA_DRDY | ATA_DSC | ATA_DRQ };

static uint32_t least(uint64_t a, uint32_t b) { return a < b ? (uint32_t)a : b; }

void ide_stop(struct ide_drive *d) {
  d->phase = IDE_IDLE;
  d->at = d->block_end = d->filled = 0;
  d->left = 0;
  d->direct = d->direct_done = 0;
  d->most = IDE_BUFFER;
  d->fua = false;
}

/* ---- requests ---- */

static void submit(struct ide_drive *d, enum block_operation operation, uint32_t size, unsigned pieces) {
  if (!d->block) return d->kind->failed(d, ENOMEDIUM);
  d->request.operation = operation;
  d->request.fua = operation == BLOCK_WRITE && d->fua;
  d->request.at = d->position;
  d->request.size = size;
  d->request.piece_count = pieces;
  d->under_way = true;
  if (!(d->phase == IDE_DMA_IN || d->phase == IDE_DMA_OUT)) d->unit->status = ATA_BSY | ATA_DRDY | ATA_DSC;
  block_submit(d->block, &d->request);
}

static void transfer(struct ide_drive *d, enum block_operation operation, uint32_t at, uint32_t size) {
  d->buffer_piece = (struct block_piece){d->buffer + at, size};
  d->request.pieces = &d->buffer_piece;
  submit(d, operation, size, 1);
}
static void fetch(struct ide_drive *d) { transfer(d, BLOCK_READ, 0, least(d->left, d->most)); }
static void store(struct ide_drive *d) { transfer(d, BLOCK_WRITE, d->at, least(d->filled - d->at, d->most)); }

void ide_flush(struct ide_drive *d) {
  d->phase = IDE_IDLE;
  d->position = 0;
  submit(d, BLOCK_FLUSH, 0, 0);
}

/* ---- PIO ---- */

static void offer(struct ide_drive *d, bool interrupt) {
  d->kind->offer(d);
  d->unit->status = TRANSFER_STATUS;
  if (interrupt) ide_set_irq(d->channel, true);
}

static void block_read(struct ide_drive *d) {
  d->unit->status &= (uint8_t)~ATA_DRQ;
  if (d->at < d->filled) offer(d, true);
  else if (d->left) fetch(d);
  else d->kind->finished(d);
}

uint32_t ide_data_read(struct ide_drive *d, unsigned size) {
  uint32_t value = 0;
  if (d->phase != IDE_PIO_IN || !(d->unit->status & ATA_DRQ)) return 0;
  if (size > d->block_end - d->at) size = d->block_end - d->at;
  memcpy(&value, d->buffer + d->at, size);
  d->at += size;
  if (d->at == d->block_end) block_read(d);
  return value;
}

void ide_data_write(struct ide_drive *d, unsigned size, uint32_t value) {
  if (d->phase != IDE_PIO_OUT || !(d->unit->status & ATA_DRQ)) return;
  if (size > d->block_end - d->at) size = d->block_end - d->at;
  memcpy(d->buffer + d->at, &value, size);
  d->at += size;
  if (d->at < d->block_end) return;
  d->unit->status &= (uint8_t)~ATA_DRQ;
  d->kind->taken(d);
}

void ide_expect(struct ide_drive *d, uint32_t size) {
  d->phase = IDE_PIO_OUT;
  d->at = 0;
  d->filled = d->block_end = size;
  d->unit->status = TRANSFER_STATUS;
}

/* An interrupt before each block but the first (ATA-7, 9.6): the host waits for that by looking. */
void ide_gathered(struct ide_drive *d) {
  if (d->at < d->filled) return offer(d, true);
  d->at = 0;
  store(d);
}

/* ---- DMA ---- */

/* As QEMU, and as data sheet 2.7.2 has it for a table that is used up: not active, and no interrupt. */
static void table_too_short(struct ide_drive *d) {
  ide_dma_end(d->channel, true);
  ide_end(d, 0);
}

static void all_moved(struct ide_drive *d) {
  ide_dma_end(d->channel, false);
  d->kind->finished(d);
}

/* What the host has in memory goes from there straight to where the descriptors say, in parts between which the guest runs. That
 * it is there is told as if it had been asked for. False: not so. */
static bool fetch_directly(struct ide_drive *d) {
  enum { PART = 256 << 10 };
  const struct ide_dma before = d->channel->dma;
  uint32_t wanted = least(d->left, PART);
  if (!d->block || d->most < IDE_BUFFER || (d->kind->changes && d->kind->changes(d))) return false;
  unsigned count = ide_dma_pieces(d->channel, true, d->piece, IDE_PIECES, wanted);
  if (!count) return false;
  if (!block_read_now(d->block, d->position, wanted, d->piece, count)) return d->channel->dma = before, false;
  d->direct = wanted;
  d->request.pieces = d->piece;
  submit(d, BLOCK_READ, 0, 0);
  return true;
}

static void pump_in(struct ide_drive *d) {
  uint32_t ready = d->filled - d->at, moved = ide_dma_put(d->channel, d->buffer + d->at, ready);
  d->at += moved;
  if (moved < ready) table_too_short(d);
  else if (!d->left) all_moved(d);
  else if (!fetch_directly(d)) fetch(d);
}

/* All at once, straight from where they are. False: not so. */
static bool store_directly(struct ide_drive *d) {
  uint32_t wanted = least(d->left, IDE_PIECES * 4096);
  unsigned count = ide_dma_pieces(d->channel, false, d->piece, IDE_PIECES, wanted);
  if (!count) return false;
  d->direct = wanted;
  d->direct_done = 0;
  d->request.pieces = d->piece;
  submit(d, BLOCK_WRITE, wanted, count);
  return true;
}

/* The pieces' next bytes, after they have failed together: through the buffer. */
static void store_pieces(struct ide_drive *d) {
  uint32_t wanted = least(d->direct - d->direct_done, IDE_BUFFER), skip = d->direct_done, done = 0;
  for (const struct block_piece *p = d->piece; done < wanted; skip -= least(p->size, skip), p++) {
    if (skip >= p->size) continue;
    uint32_t n = least(p->size - skip, wanted - done);
    memcpy(d->buffer + done, p->bytes + skip, n);
    done += n;
  }
  d->direct_done += wanted;
  d->at = 0;
  d->filled = wanted;
  store(d);
}

static void pump_out(struct ide_drive *d) {
  uint32_t wanted = least(d->left, IDE_BUFFER);
  if (d->direct_done < d->direct) return store_pieces(d);
  d->direct = d->direct_done = 0;
  if (store_directly(d)) return;
  if (ide_dma_get(d->channel, d->buffer, wanted) < wanted) return table_too_short(d);
  d->at = 0;
  d->filled = wanted;
  store(d);
}

void ide_pump(struct ide_drive *d) {
  if (d->under_way || !ide_dma_active(d->channel)) return;
  if (d->phase == IDE_DMA_IN) pump_in(d);
  else if (d->phase == IDE_DMA_OUT) pump_out(d);
}

/* ---- what the back end has done ---- */

static void read_done(struct ide_drive *d, uint32_t size) {
  d->position += size + d->direct;
  d->left -= size + d->direct;
  d->at = d->direct = 0;
  d->filled = size && d->kind->arrived ? d->kind->arrived(d, size) : size;
  if (d->phase == IDE_PIO_IN) offer(d, true);
  else ide_pump(d);
}

static void write_done(struct ide_drive *d, uint32_t size) {
  d->position += size;
  d->left -= size;
  if (d->request.pieces == d->piece) d->direct = 0;
  else if ((d->at += size) < d->filled) return store(d);
  if (!d->left) return d->phase == IDE_DMA_OUT ? all_moved(d) : d->kind->finished(d);
  d->at = 0;
  d->filled = least(d->left, IDE_BUFFER);
  if (d->phase == IDE_PIO_OUT) offer(d, true);
  else ide_pump(d);
}

static void verified(struct ide_drive *d, uint32_t size) {
  d->position += size;
  d->left -= size;
  if (d->left) fetch(d);
  else d->kind->finished(d);
}

/* To be tried again by sectors? */
static bool retry(struct ide_drive *d) {
  if (d->request.size <= d->sector) return false;
  d->most = d->sector;
  if (d->request.operation == BLOCK_READ) fetch(d);
  else if (d->request.pieces == d->piece) store_pieces(d);
  else store(d);
  return true;
}

static void failed(struct ide_drive *d, int error) {
  if (retry(d)) return;
  if (d->phase == IDE_DMA_IN || d->phase == IDE_DMA_OUT) ide_dma_end(d->channel, true);
  d->kind->failed(d, error);
}

/* Posted to the vCPU's thread. */
static void done(struct block_request *r, int error) {
  struct ide_drive *d = r->opaque;
  uint32_t size = (uint32_t)r->size;
  d->under_way = false;
  if (d->reset_wanted) {
    d->reset_wanted = false;
    return ide_unit_reset(d->channel, (unsigned)(d->unit - d->channel->unit));
  }
  if (error) return failed(d, error);
  switch (d->phase) {
  case IDE_PIO_IN:
  case IDE_DMA_IN: return read_done(d, size);
  case IDE_PIO_OUT:
  case IDE_DMA_OUT: return write_done(d, size);
  case IDE_VERIFY: return verified(d, size);
  default: return d->kind->finished(d);
  }
}

/* ---- beginnings ---- */

/* DMA: the drive has what it needs, and waits for the bus master, which may be waiting for the drive. */
static void wait_for_bus_master(struct ide_drive *d) {
  d->unit->status = TRANSFER_STATUS;
  ide_pump(d);
}

void ide_begin_in(struct ide_drive *d, bool dma) {
  d->phase = dma ? IDE_DMA_IN : IDE_PIO_IN;
  d->at = d->filled = 0;
  if (dma) wait_for_bus_master(d);
  else fetch(d);
}

void ide_begin_reply(struct ide_drive *d, uint32_t size, bool dma) {
  d->phase = dma ? IDE_DMA_IN : IDE_PIO_IN;
  d->left = d->at = 0;
  d->filled = size;
  if (dma) wait_for_bus_master(d);
  else offer(d, true);
}

void ide_begin_out(struct ide_drive *d, bool dma) {
  d->phase = dma ? IDE_DMA_OUT : IDE_PIO_OUT;
  d->at = 0;
  d->filled = least(d->left, IDE_BUFFER);
  if (dma) wait_for_bus_master(d);
  else offer(d, false);
}

void ide_begin_verify(struct ide_drive *d) {
  d->phase = IDE_VERIFY;
  fetch(d);
}

/* ---- life ---- */

void ide_drive_init(struct ide_drive *d, const struct ide_kind *kind, struct block_backend *block, uint32_t sector) {
  d->kind = kind;
  d->block = block;
  d->sector = sector;
  d->request = (struct block_request){.done = done, .opaque = d};
  ide_stop(d);
}

/* Of a file's values only those that could lead out of the buffer matter. */
void ide_drive_loaded(struct ide_drive *d) {
  bool within = d->filled <= IDE_BUFFER && d->block_end <= IDE_BUFFER && d->at <= d->filled;
  bool pio = d->phase == IDE_PIO_IN || d->phase == IDE_PIO_OUT;
  if (d->phase >= IDE_PHASES || !within || (pio && (d->at > d->block_end || d->block_end > d->filled))) ide_stop(d);
  if (d->most < d->sector || d->most > IDE_BUFFER) d->most = IDE_BUFFER;
  d->under_way = d->reset_wanted = false;
  d->direct = d->direct_done = 0;
}
