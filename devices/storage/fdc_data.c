/* The floppy controller's commands that move data: READ, WRITE, READ TRACK, VERIFY, SCAN, FORMAT, READ ID. Data sheets of the
 * 82077AA (290166) and, for SCAN, of the 8272A.
 *
 * Owns the transfer (struct fdc_transfer), the window between image and controller, and the one request that can be under way.
 * A transfer is a walk through stages (fdc_go_on()): each does what can be done at once, and waits for the guest (its DMA channel
 * masked, or no DMA at all) or for the back end; whoever comes next calls fdc_go_on() again. The guest runs on meanwhile.
 *
 * Reads bring the rest of a cylinder into the window, and the next ones find it there; writes gather in it. Before a transfer
 * waits for the guest what is gathered goes to the image, so that the window is no state: it can be forgotten whenever no request
 * is under way. Where a request of several sectors fails, each is tried by itself, for the guest must hear of the right one. What
 * has been taken from the guest reaches the image even when the command is reset in the middle.
 *
 * An error of the host is a CRC error of the data field (ST1.DE, ST2.DD); a sector that the image does not have is one that is
 * not found (ST1.ND); no medium, another rate, or FM is a track without an address mark (ST1.MA), and ends the command, as in
 * QEMU, where an empty drive would have the chip wait for an index pulse for ever.
 */
#include "fdc.h"
#include <string.h>

enum { ST1_NO_MARK = 1 << 0, ST1_PROTECTED = 1 << 1, ST1_NO_DATA = 1 << 2, ST1_DATA_ERROR = 1 << 5, ST1_END = 1 << 7 };
enum { ST2_UNSATISFIED = 1 << 2, ST2_EQUAL = 1 << 3, ST2_WRONG_CYLINDER = 1 << 4, ST2_DATA_ERROR = 1 << 5, ST2_MARK = 1 << 6 };
enum { MT = 1 << 7, MFM = 1 << 6, SK = 1 << 5, EC = 1 << 7, HEAD = 1 << 2 };
enum { SIZE_512 = 2 /* N */, ID_BYTES = 4, OPCODE = 0x1f, SCAN_LOW = 0x19, SCAN_HIGH = 0x1d, READ_ID = 0x0a };

static bool writes(const struct fdc_transfer *t) { return t->kind == FDC_WRITE || t->kind == FDC_FORMAT; }

/* ---- the end ---- */

/* The transfer ends with this status behind what it has written. */
static bool conclude(struct fdc *s, uint8_t st0, uint8_t st1, uint8_t st2) {
  struct fdc_transfer *t = &s->transfer;
  t->st0 |= st0, t->st1 |= st1, t->st2 |= st2;
  t->stage = FDC_ENDING;
  return true;
}
static bool fail(struct fdc *s, uint8_t st1, uint8_t st2) { return conclude(s, ST0_ABNORMAL, st1, st2); }

static void finish(struct fdc *s) {
  struct fdc_transfer *t = &s->transfer;
  const uint8_t bytes[FDC_DATA_RESULT] = {(uint8_t)(t->st0 | t->head << 2 | t->unit), t->st1, t->st2, t->c, t->h, t->r, t->n};
  memcpy(s->fifo, bytes, sizeof bytes);
  t->stage = FDC_IDLE;
  fdc_result_interrupt(s, sizeof bytes, !(t->st0 & ST0_ABNORMAL) && (t->opcode & OPCODE) != READ_ID);
}

/* ---- the window and the image ---- */

static bool window_has(const struct fdc *s, uint32_t lba) {
  const struct fdc_window *w = &s->window;
  return w->unit == s->transfer.unit && w->medium == s->drive[w->unit].media && lba - w->first < w->clean;
}

static bool window_is_dirty(const struct fdc *s) { return s->window.clean < s->window.count; }

static void submit(struct fdc *s, enum block_operation operation, uint16_t at, uint16_t count) {
  struct fdc_window *w = &s->window;
  s->piece = (struct block_piece){w->bytes + at * FLOPPY_SECTOR, (size_t)count * FLOPPY_SECTOR};
  s->request.operation = operation;
  s->request.at = (uint64_t)(w->first + at) * FLOPPY_SECTOR;
  s->request.size = s->piece.size;
  s->waiting = true;
  block_submit(s->drive[w->unit].backend, &s->request);
}

/* From the sector on to the end of its cylinder, or of the image. */
static void submit_read(struct fdc *s) {
  const struct fdc_transfer *t = &s->transfer;
  const struct floppy_drive *d = &s->drive[t->unit];
  uint32_t cylinder = (uint32_t)d->format.sectors * d->format.heads;
  uint32_t end = (t->lba / cylinder + 1) * cylinder, image = (uint32_t)(d->backend->size / FLOPPY_SECTOR);
  uint32_t count = s->narrow ? 1 : (end < image ? end : image) - t->lba;
  s->window.unit = t->unit, s->window.medium = d->media, s->window.first = t->lba;
  s->window.count = s->window.clean = 0;
  submit(s, BLOCK_READ, 0, (uint16_t)(count > FDC_WINDOW ? FDC_WINDOW : count));
}

static void submit_write(struct fdc *s) {
  const struct fdc_window *w = &s->window;
  submit(s, BLOCK_WRITE, w->clean, s->narrow ? 1 : w->count - w->clean);
}

/* The sector that could not be written, for the result. */
static void name_lost_sector(struct fdc *s) {
  struct fdc_transfer *t = &s->transfer;
  const struct floppy_format *f = &s->drive[s->window.unit].format;
  uint32_t lba = s->window.first + s->window.clean;
  if (!f->sectors || t->kind == FDC_FORMAT) return;
  t->r = (uint8_t)(lba % f->sectors + 1);
  t->head = t->h = (uint8_t)(lba / f->sectors % f->heads);
}

static void done(struct block_request *r, int error) {
  struct fdc *s = r->opaque;
  struct fdc_window *w = &s->window;
  uint16_t count = (uint16_t)(r->size / FLOPPY_SECTOR);
  bool abandoned = s->abandoned;
  s->waiting = s->abandoned = false;
  if (!error && r->operation == BLOCK_READ) w->count = w->clean = count;
  else if (!error) w->clean = (uint16_t)(w->clean + count);
  else if (count > 1) s->narrow = true; /* once more, one by one */
  else {
    if (!abandoned && r->operation == BLOCK_WRITE) name_lost_sector(s);
    w->count = w->clean = 0;
    if (!abandoned && s->transfer.stage != FDC_IDLE) fail(s, ST1_DATA_ERROR, ST2_DATA_ERROR);
  }
  if (abandoned && window_is_dirty(s)) {
    submit_write(s);
    s->abandoned = true;
  } else if (abandoned) s->narrow = false;
  fdc_go_on(s);
}

/* ---- which sector ---- */

/* What is wrong before any sector is looked for: a bit of ST1. */
static uint8_t track_unfit(struct fdc *s, const struct fdc_transfer *t) {
  const struct floppy_drive *d = fdc_drive(s, t->unit);
  if (!d || !floppy_has_medium(d) || !(t->opcode & MFM) || !floppy_reads_at(d, s->dsr & 3)) return ST1_NO_MARK;
  if (t->head >= d->format.heads) return ST1_NO_MARK;
  if (s->pcn[t->unit] >= d->format.cylinders && !floppy_is_over(d, s->pcn[t->unit], s->pcn[t->unit] / 2)) return ST1_NO_MARK;
  return writes(t) && floppy_is_protected(d) ? ST1_PROTECTED : 0;
}

/* The sector at c, h, r under the head of the transfer: its place in the image. False: the transfer fails. */
static bool find(struct fdc *s) {
  struct fdc_transfer *t = &s->transfer;
  uint8_t unfit = track_unfit(s, t);
  if (unfit) return fail(s, unfit, 0), false;
  const struct floppy_drive *d = &s->drive[t->unit];
  if (!floppy_is_over(d, s->pcn[t->unit], t->c)) return fail(s, ST1_NO_DATA, ST2_WRONG_CYLINDER), false;
  t->lba = t->h == t->head && t->n == SIZE_512 ? floppy_lba(d, t->c, t->head, t->r) : UINT32_MAX;
  if (t->lba == UINT32_MAX) return fail(s, ST1_NO_DATA, 0), false;
  return true;
}

/* READ TRACK takes them as they pass, whatever their number, and tells at the end whether the one that was named was among them.
 */
static bool find_passing(struct fdc *s) {
  struct fdc_transfer *t = &s->transfer;
  uint8_t unfit = track_unfit(s, t);
  if (unfit) return fail(s, unfit, 0), false;
  const struct floppy_drive *d = &s->drive[t->unit];
  unsigned c = floppy_is_over(d, s->pcn[t->unit], t->c) ? t->c : s->pcn[t->unit];
  if (c != t->c || t->h != t->head || t->n != SIZE_512) t->st1 |= ST1_NO_DATA;
  t->lba = floppy_lba(d, c, t->head, t->physical % d->format.sectors + 1u);
  if (t->lba == UINT32_MAX) return fail(s, ST1_NO_MARK, 0), false;
  return true;
}

/* ---- stages: each true, if the next one can be gone to at once ---- */

static bool enter(struct fdc_transfer *t, enum fdc_stage stage, uint16_t size) {
  t->stage = (uint8_t)stage;
  t->at = 0;
  t->size = size;
  return true;
}

static bool load(struct fdc *s) {
  struct fdc_transfer *t = &s->transfer;
  if (s->waiting) return false;
  if (!window_has(s, t->lba)) return submit_read(s), false;
  memcpy(t->sector, s->window.bytes + (t->lba - s->window.first) * FLOPPY_SECTOR, FLOPPY_SECTOR);
  return enter(t, t->kind == FDC_VERIFY ? FDC_NEXT : FDC_MOVE, FLOPPY_SECTOR);
}

/* SCAN: FFh from either side agrees with everything. */
static void compare(struct fdc_transfer *t, const uint8_t *bytes, unsigned n) {
  for (unsigned i = 0; i < n; i++) {
    uint8_t host = bytes[i], disk = t->sector[t->at + i], kind = t->opcode & OPCODE;
    if (host == disk || host == 0xff || disk == 0xff) continue;
    t->unequal = 1;
    t->unmet |= kind == SCAN_LOW ? disk > host : kind == SCAN_HIGH ? disk < host : 1;
  }
}

static unsigned exchange_by_dma(struct fdc *s) {
  struct fdc_transfer *t = &s->transfer;
  uint8_t bytes[FLOPPY_SECTOR], *at = t->sector + t->at;
  unsigned left = t->size - t->at, n;
  bool last;
  if (fdc_data_is_read(s)) n = isa_dma_to_memory(&s->dma, at, left, &last);
  else n = isa_dma_from_memory(&s->dma, t->kind == FDC_SCAN ? bytes : at, left, &last);
  if (t->kind == FDC_SCAN) compare(t, bytes, n);
  t->last |= last;
  return n;
}

/* All of a sector has been moved, or as much as the guest wanted: the rest of one that is written is zeros. */
static bool moved(struct fdc_transfer *t) {
  bool cut_off = t->at < t->size;
  if (cut_off && t->kind == FDC_WRITE) memset(t->sector + t->at, 0, (size_t)(t->size - t->at));
  if (cut_off && t->kind == FDC_FORMAT) return enter(t, FDC_NEXT, 0); /* half an ID is none */
  return enter(t, writes(t) ? FDC_STORE : FDC_NEXT, t->size);
}

static bool move(struct fdc *s) {
  struct fdc_transfer *t = &s->transfer;
  if (s->waiting) return false;
  if (fdc_uses_dma(s)) {
    s->dreq = 1;
    fdc_update_lines(s);
    if (s->asked) t->at = (uint16_t)(t->at + exchange_by_dma(s));
  }
  if (t->at == t->size || t->last) return moved(t);
  if (window_is_dirty(s)) return submit_write(s), false;
  if (!fdc_uses_dma(s) && !t->at) fdc_set_interrupt(s, true);
  return false;
}

/* FORMAT: the ID that has come becomes the sector that it asks for. */
static bool format_sector(struct fdc *s) {
  struct fdc_transfer *t = &s->transfer;
  t->c = t->sector[0], t->h = t->sector[1], t->r = t->sector[2], t->n = t->sector[3];
  memset(t->sector, t->step, sizeof t->sector); /* the filler */
  return find(s);
}

static bool store(struct fdc *s) {
  struct fdc_transfer *t = &s->transfer;
  struct fdc_window *w = &s->window;
  if (s->waiting) return false;
  if (t->kind == FDC_FORMAT && t->size == ID_BYTES) {
    if (!format_sector(s)) return true;
    t->size = FLOPPY_SECTOR;
  }
  bool follows = window_is_dirty(s) && t->lba == w->first + w->count;
  if (window_is_dirty(s) && (!follows || w->count == FDC_WINDOW)) return submit_write(s), false;
  if (!follows) {
    w->unit = t->unit, w->medium = s->drive[t->unit].media, w->first = t->lba;
    w->count = w->clean = 0;
  }
  memcpy(w->bytes + w->count++ * FLOPPY_SECTOR, t->sector, FLOPPY_SECTOR);
  return enter(t, FDC_NEXT, 0);
}

/* The ID of the sector behind this one (table 5-6). False: it was the last. */
static bool advance(struct fdc_transfer *t, unsigned step) {
  if (t->r + step <= t->eot) {
    t->r = (uint8_t)(t->r + step);
    return true;
  }
  bool second_side = t->opcode & MT && !t->head;
  t->r = 1;
  if (t->opcode & MT) t->h ^= 1;
  if (!second_side) t->c++;
  else t->head = 1;
  return second_side;
}

static bool next_id(struct fdc *s) {
  struct fdc_transfer *t = &s->transfer;
  if (t->last || !--t->left) return conclude(s, 0, 0, 0);
  return enter(t, FDC_MOVE, ID_BYTES);
}

static bool next_passing(struct fdc *s) {
  struct fdc_transfer *t = &s->transfer;
  t->physical++;
  t->r++;
  if (t->last) return conclude(s, 0, 0, 0);
  if (t->physical >= t->eot) return fail(s, ST1_END, 0);
  if (find_passing(s)) enter(t, FDC_LOAD, FLOPPY_SECTOR);
  return true;
}

static bool next_to_scan(struct fdc *s) {
  struct fdc_transfer *t = &s->transfer;
  if (!t->unmet) return conclude(s, 0, 0, t->unequal ? 0 : ST2_EQUAL);
  t->unequal = t->unmet = 0;
  bool more = advance(t, t->step);
  if (!more || t->last) return conclude(s, 0, 0, ST2_UNSATISFIED);
  if (find(s)) enter(t, FDC_LOAD, FLOPPY_SECTOR);
  return true;
}

static bool next(struct fdc *s) {
  struct fdc_transfer *t = &s->transfer;
  if (t->kind == FDC_FORMAT) return next_id(s);
  if (t->kind == FDC_READ_TRACK) return next_passing(s);
  if (t->kind == FDC_SCAN) return next_to_scan(s);
  if (t->kind == FDC_READ_DELETED && !(t->opcode & SK)) return conclude(s, 0, 0, ST2_MARK); /* it was an ordinary sector */
  bool counted_out = t->left && !--t->left, more = advance(t, 1);
  if (t->last || counted_out) return conclude(s, 0, 0, 0);
  if (!more && t->kind == FDC_VERIFY && !t->left) return conclude(s, 0, 0, 0);
  if (!more) return fail(s, ST1_END, 0);
  if (find(s)) enter(t, writes(t) ? FDC_MOVE : FDC_LOAD, FLOPPY_SECTOR);
  return true;
}

static bool ending(struct fdc *s) {
  if (s->waiting) return false;
  if (window_is_dirty(s)) return submit_write(s), false;
  finish(s);
  return false;
}

void fdc_go_on(struct fdc *s) {
  static bool (*const stages[FDC_STAGES])(struct fdc *) = {
    [FDC_LOAD] = load, [FDC_MOVE] = move, [FDC_STORE] = store, [FDC_NEXT] = next, [FDC_ENDING] = ending};
  struct fdc_transfer *t = &s->transfer;
  if (s->running) return;
  s->running = true;
  while (t->stage != FDC_IDLE && stages[t->stage](s)) {}
  s->running = false;
  if (t->stage == FDC_MOVE || !s->dreq) return;
  s->dreq = 0;
  fdc_update_lines(s);
}

/* ---- without DMA ---- */

bool fdc_data_is_read(const struct fdc *s) {
  uint8_t kind = s->transfer.kind;
  return kind == FDC_READ || kind == FDC_READ_DELETED || kind == FDC_READ_TRACK;
}

bool fdc_data_ready(const struct fdc *s) { return s->transfer.stage == FDC_MOVE && !s->waiting && !fdc_uses_dma(s); }

/* One byte more. INT says that the FIFO wants service again: each byte without a FIFO, else as many as the threshold leaves. */
static void exchanged(struct fdc *s) {
  struct fdc_transfer *t = &s->transfer;
  unsigned burst = s->config & CONFIG_NO_FIFO ? 1 : FDC_FIFO - (s->config & CONFIG_THRESHOLD);
  t->at++;
  fdc_set_interrupt(s, false);
  if (t->at == t->size) fdc_go_on(s);
  else if (t->at % burst == 0) fdc_set_interrupt(s, true);
}

uint8_t fdc_data_read(struct fdc *s) {
  uint8_t value = s->transfer.sector[s->transfer.at];
  exchanged(s);
  return value;
}

void fdc_data_write(struct fdc *s, uint8_t value) {
  struct fdc_transfer *t = &s->transfer;
  if (t->kind == FDC_SCAN) compare(t, &value, 1);
  else t->sector[t->at] = value;
  exchanged(s);
}

/* ---- commands ---- */

static void begin(struct fdc *s, enum fdc_kind kind) {
  fdc_end_seeks(s);
  s->transfer = (struct fdc_transfer){.kind = (uint8_t)kind, .opcode = s->fifo[0]};
  s->transfer.unit = s->fifo[1] & 3;
  s->transfer.head = s->fifo[1] & HEAD ? 1 : 0;
  s->phase = FDC_EXECUTION;
  if (!s->waiting) s->narrow = false;
}

/* Parameters of all but FORMAT and READ ID; the heads go where CONFIGURE lets them. */
static void begin_at_sector(struct fdc *s, enum fdc_kind kind) {
  struct fdc_transfer *t = &s->transfer;
  begin(s, kind);
  t->c = s->fifo[2], t->h = s->fifo[3], t->r = s->fifo[4], t->n = s->fifo[5], t->eot = s->fifo[6];
  s->eot_or_sc = t->eot;
  const struct floppy_drive *d = fdc_drive(s, t->unit);
  if (!d || !(s->config & CONFIG_EIS) || floppy_is_over(d, s->pcn[t->unit], t->c)) return;
  fdc_step_to(s, t->unit, t->c);
  t->st0 |= ST0_SEEK_END;
}

static void first_sector(struct fdc *s) {
  struct fdc_transfer *t = &s->transfer;
  if (find(s)) enter(t, writes(t) ? FDC_MOVE : FDC_LOAD, FLOPPY_SECTOR);
  fdc_go_on(s);
}

void fdc_read(struct fdc *s) {
  begin_at_sector(s, FDC_READ);
  first_sector(s);
}

/* All sectors of an image are ordinary ones: without SK the first is read, and the end; with it all are passed over. */
void fdc_read_deleted(struct fdc *s) {
  bool skips = s->fifo[0] & SK;
  begin_at_sector(s, skips ? FDC_VERIFY : FDC_READ_DELETED);
  if (skips) s->transfer.st2 |= ST2_MARK;
  first_sector(s);
}

void fdc_write(struct fdc *s) {
  begin_at_sector(s, FDC_WRITE);
  first_sector(s);
}

void fdc_read_track(struct fdc *s) {
  begin_at_sector(s, FDC_READ_TRACK);
  if (find_passing(s)) enter(&s->transfer, FDC_LOAD, FLOPPY_SECTOR);
  fdc_go_on(s);
}

void fdc_verify(struct fdc *s) {
  begin_at_sector(s, FDC_VERIFY);
  if (s->fifo[1] & EC) s->transfer.left = s->fifo[8] ? s->fifo[8] : 256;
  first_sector(s);
}

void fdc_scan(struct fdc *s) {
  begin_at_sector(s, FDC_SCAN);
  s->transfer.step = s->fifo[8] == 2 ? 2 : 1;
  first_sector(s);
}

/* From where the head is; the IDs come from the guest. */
void fdc_format(struct fdc *s) {
  struct fdc_transfer *t = &s->transfer;
  begin(s, FDC_FORMAT);
  t->n = s->fifo[2];
  t->left = s->eot_or_sc = s->fifo[3];
  t->step = s->fifo[5];
  uint8_t unfit = track_unfit(s, t);
  if (unfit) fail(s, unfit, 0);
  else if (!t->left) conclude(s, 0, 0, 0);
  else enter(t, FDC_MOVE, ID_BYTES);
  fdc_go_on(s);
}

/* The IDs pass one by one with each command, as if it took a sector's time. */
void fdc_read_id(struct fdc *s) {
  struct fdc_transfer *t = &s->transfer;
  begin(s, FDC_READ);
  t->stage = FDC_ENDING;
  uint8_t unfit = track_unfit(s, t);
  if (unfit) fail(s, unfit, 0);
  else {
    struct floppy_drive *d = &s->drive[t->unit];
    t->c = s->pcn[t->unit] < d->format.cylinders ? s->pcn[t->unit] : s->pcn[t->unit] / 2;
    t->h = t->head, t->n = SIZE_512;
    t->r = (uint8_t)((d->next_sector - 1u) % d->format.sectors + 1);
    d->next_sector = (uint8_t)(t->r % d->format.sectors + 1);
  }
  fdc_go_on(s);
}

/* ---- life ---- */

static void acknowledge(void *opaque) { fdc_go_on(opaque); }

void fdc_data_abort(struct fdc *s) {
  s->transfer = (struct fdc_transfer){0};
  s->abandoned = s->waiting;
}

void fdc_data_loaded(struct fdc *s) {
  struct fdc_transfer *t = &s->transfer;
  t->kind %= FDC_KINDS;
  t->unit &= 3, t->head &= 1, t->last &= 1;
  t->step = t->kind == FDC_SCAN && t->step != 2 ? 1 : t->step;
  if (t->size > FLOPPY_SECTOR) t->size = FLOPPY_SECTOR;
  if (t->at > t->size) t->at = t->size;
  s->window.count = s->window.clean = 0;
  /* No other stage waits for the guest, and there was no request. */
  if (t->stage != FDC_MOVE || s->phase != FDC_EXECUTION || !t->size || !fdc_drive(s, t->unit)) t->stage = FDC_IDLE;
  for (unsigned unit = 0; unit < FDC_DRIVES; unit++)
    if (!s->drive[unit].next_sector) s->drive[unit].next_sector = 1;
}

void fdc_data_init(struct fdc *s) {
  s->request = (struct block_request){.pieces = &s->piece, .piece_count = 1, .done = done, .opaque = s};
  isa_dma_connect(&s->dma, &(struct isa_dma_user){acknowledge, s});
}
