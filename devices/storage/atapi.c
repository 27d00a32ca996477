/* ATAPI CD and DVD drives: packets, what they do, the tray and the medium. ATA-7 volume 1, 6.24 (PACKET) and volume 2, 9.8;
 * MMC-3 and SPC-2 (packets, sense data), SFF-8020i for what DOS's drivers do.
 *
 * Owns sense data, the tray and its lock, and what the guest has not been told of a change of medium: "not ready" once, then
 * "unit attention" once, so that guests notice which look at either. A medium in an open tray is none. The back end decides what
 * is in the drive (struct block_front), this file when the guest hears of it.
 * Missing: audio and subchannels, MODE SELECT, multisession, writing.
 */
#include "atapi.h"
#include <errno.h>
#include <string.h>
#include "ata.h"

enum { FEATURE_DMA = 1, FEATURE_OVERLAP = 2 };
enum { REASON_COMMAND = 1, REASON_TO_HOST = 2 }; /* in the count register */
enum { NO_SENSE = 0, NOT_READY = 2, MEDIUM_ERROR = 3, ILLEGAL_REQUEST = 5, UNIT_ATTENTION = 6 };
enum {
  UNRECOVERED_READ = 0x11,
  INVALID_COMMAND = 0x20,
  OUT_OF_RANGE = 0x21,
  INVALID_FIELD = 0x24,
  MEDIUM_CHANGED = 0x28,
  SAVING_NOT_SUPPORTED = 0x39,
  MEDIUM_NOT_PRESENT = 0x3a,
  REMOVAL_PREVENTED = 0x53
};

static struct atapi_cd *cd(struct ide_drive *d) { return (struct atapi_cd *)d; }
static uint8_t *regs(struct atapi_cd *s) { return s->drive.unit->reg; }

/* ---- the medium ---- */

bool atapi_has_medium(const struct atapi_cd *s) {
  const struct block_backend *b = s->drive.block;
  return b && b->present && !s->tray_open && b->size >= CD_SECTOR;
}

uint32_t atapi_sectors(const struct atapi_cd *s) {
  uint64_t n = atapi_has_medium(s) ? s->drive.block->size / CD_SECTOR : 0;
  return n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

bool atapi_is_dvd(const struct atapi_cd *s) {
  enum { CD_MOST = 80 * 60 * 75 }; /* 80 minutes */
  return atapi_sectors(s) > CD_MOST;
}

/* The back end looks at these. */
static void set_tray(struct atapi_cd *s, bool open, bool locked) {
  s->tray_open = open;
  s->locked = locked;
  if (s->drive.block) s->drive.block->tray_open = open, s->drive.block->locked = locked;
}

void atapi_medium(void *opaque, bool loaded) {
  struct atapi_cd *s = opaque;
  s->tray_open = s->drive.block->tray_open;
  s->change = CD_GONE;
  s->new_medium = loaded;
  s->eject_wanted = false;
}

void atapi_eject_wanted(void *opaque) { ((struct atapi_cd *)opaque)->eject_wanted = true; }

/* ---- how a packet ends ---- */

static void end(struct atapi_cd *s, uint8_t error) {
  regs(s)[IDE_COUNT] = (regs(s)[IDE_COUNT] & ~7) | REASON_COMMAND | REASON_TO_HOST;
  ide_end_irq(&s->drive, error);
}
static void succeed(struct atapi_cd *s) { end(s, 0); }

/* The error register has the sense key too. */
static void check(struct atapi_cd *s, uint8_t key, uint8_t code) {
  s->sense_key = key;
  s->sense_code = code;
  end(s, (uint8_t)(key << 4));
}

static void abort_command(struct atapi_cd *s) { ide_end_irq(&s->drive, ATA_ABRT); }

/* buffer[0, size), of which the guest wants no more than `room`. */
static void reply(struct atapi_cd *s, uint32_t size, uint32_t room) {
  if (size > room) size = room;
  if (!size) return succeed(s);
  ide_begin_reply(&s->drive, size, s->dma);
}

static void reply_or_refuse(struct atapi_cd *s, uint32_t size, uint32_t room) {
  if (size) reply(s, size, room);
  else check(s, ILLEGAL_REQUEST, INVALID_FIELD);
}

/* ---- packets ---- */

static void test_unit_ready(struct atapi_cd *s) { succeed(s); }
static void set_speed(struct atapi_cd *s) { succeed(s); }

static void request_sense(struct atapi_cd *s) {
  uint8_t *data = s->drive.buffer;
  data[0] = 0x70;
  data[2] = s->sense_key;
  data[7] = 10;
  data[12] = s->sense_code;
  s->sense_key = s->sense_code = NO_SENSE;
  reply(s, 18, s->packet[4]);
}

static void inquiry(struct atapi_cd *s) {
  reply_or_refuse(s, atapi_inquiry(s, s->drive.buffer), s->packet[1] & 1 ? atapi_get16(s->packet + 3) : s->packet[4]);
}

static void mode_sense(struct atapi_cd *s) {
  if (s->packet[2] >> 6 == 3) return check(s, ILLEGAL_REQUEST, SAVING_NOT_SUPPORTED);
  reply_or_refuse(s, atapi_mode_sense(s, s->drive.buffer), atapi_get16(s->packet + 7));
}

static void read_toc(struct atapi_cd *s) { reply_or_refuse(s, atapi_read_toc(s, s->drive.buffer), atapi_get16(s->packet + 7)); }

static void get_configuration(struct atapi_cd *s) {
  reply_or_refuse(s, atapi_configuration(s, s->drive.buffer), atapi_get16(s->packet + 7));
}

static void get_event_status(struct atapi_cd *s) {
  reply_or_refuse(s, atapi_event_status(s, s->drive.buffer), atapi_get16(s->packet + 7));
}

static void read_disc_information(struct atapi_cd *s) {
  reply_or_refuse(s, atapi_disc_information(s, s->drive.buffer), atapi_get16(s->packet + 7));
}

static void read_dvd_structure(struct atapi_cd *s) {
  reply_or_refuse(s, atapi_dvd_structure(s, s->drive.buffer), atapi_get16(s->packet + 8));
}

static void read_capacity(struct atapi_cd *s) {
  atapi_put32(s->drive.buffer, atapi_sectors(s) - 1);
  atapi_put32(s->drive.buffer + 4, CD_SECTOR);
  reply(s, 8, 8);
}

static void mechanism_status(struct atapi_cd *s) {
  s->drive.buffer[1] = s->tray_open ? 0x10 : 0;
  s->drive.buffer[5] = 1;
  reply(s, 8, atapi_get16(s->packet + 8));
}

/* The tray: MMC-3, 5.30 (START STOP UNIT), 5.17. */
static void start_stop(struct atapi_cd *s) {
  bool start = s->packet[4] & 1, load_or_eject = s->packet[4] & 2, was_open = s->tray_open;
  if (s->packet[4] >> 4 || !load_or_eject) return succeed(s); /* a power condition, or the motor */
  if (!start && !was_open && s->locked) {
    bool there = atapi_has_medium(s);
    return check(s, there ? NOT_READY : ILLEGAL_REQUEST, REMOVAL_PREVENTED);
  }
  set_tray(s, !start, s->locked);
  if (was_open && start && atapi_has_medium(s)) s->new_medium = true, s->change = CD_CHANGED;
  succeed(s);
}

static void prevent_allow(struct atapi_cd *s) {
  set_tray(s, s->tray_open, s->packet[4] & 1);
  succeed(s);
}

static void seek(struct atapi_cd *s) {
  if (atapi_get32(s->packet + 2) >= atapi_sectors(s)) return check(s, ILLEGAL_REQUEST, OUT_OF_RANGE);
  succeed(s);
}

/* ---- sectors ---- */

static void read_sectors(struct atapi_cd *s, uint32_t first, uint32_t count, bool raw) {
  uint32_t there = atapi_sectors(s);
  if (!count) return succeed(s);
  if (first >= there || count > there - first) return check(s, ILLEGAL_REQUEST, OUT_OF_RANGE);
  s->raw = raw;
  s->drive.position = (uint64_t)first * CD_SECTOR;
  s->drive.left = (uint64_t)count * CD_SECTOR;
  if (raw) s->drive.most = IDE_BUFFER / CD_RAW_SECTOR * CD_SECTOR;
  ide_begin_in(&s->drive, s->dma);
}

static void read_10(struct atapi_cd *s) { read_sectors(s, atapi_get32(s->packet + 2), atapi_get16(s->packet + 7), false); }
static void read_12(struct atapi_cd *s) { read_sectors(s, atapi_get32(s->packet + 2), atapi_get32(s->packet + 6), false); }

static void read_cd(struct atapi_cd *s) {
  enum { NOTHING = 0x00, USER_DATA = 0x10, ALL = 0xf8 };
  uint32_t count = atapi_get32(s->packet + 5) & 0xffffff;
  switch (s->packet[9] & 0xf8) {
  case NOTHING: return succeed(s);
  case USER_DATA: return read_sectors(s, atapi_get32(s->packet + 2), count, false);
  case ALL: return read_sectors(s, atapi_get32(s->packet + 2), count, true);
  default: return check(s, ILLEGAL_REQUEST, INVALID_FIELD);
  }
}

static bool changes(const struct ide_drive *d) { return ((const struct atapi_cd *)d)->raw; }

/* From the last on, since they grow into their places. */
static uint32_t arrived(struct ide_drive *d, uint32_t size) {
  uint8_t sector[CD_SECTOR];
  uint32_t first = (uint32_t)((d->position - size) / CD_SECTOR);
  if (!cd(d)->raw) return size;
  for (uint32_t i = size / CD_SECTOR; i-- > 0;) {
    memcpy(sector, d->buffer + (size_t)i * CD_SECTOR, CD_SECTOR);
    atapi_make_raw(d->buffer + (size_t)i * CD_RAW_SECTOR, sector, first + i);
  }
  return size / CD_SECTOR * CD_RAW_SECTOR;
}

/* ---- the list ---- */

enum { ALWAYS = 1 /* even with a unit attention to tell */, MEDIUM = 2, NO_DATA = 4 };
static const struct {
  uint8_t code, needs;
  void (*run)(struct atapi_cd *s);
} packets[] = {
  /* clang-format off */
  {0x00, MEDIUM | NO_DATA, test_unit_ready},
  {0x03, ALWAYS,           request_sense},
  {0x12, ALWAYS,           inquiry},
  {0x1b, NO_DATA,          start_stop},
  {0x1e, NO_DATA,          prevent_allow},
  {0x25, MEDIUM,           read_capacity},
  {0x28, MEDIUM,           read_10},
  {0x2b, MEDIUM | NO_DATA, seek},
  {0x43, MEDIUM,           read_toc},
  {0x46, ALWAYS,           get_configuration},
  {0x4a, ALWAYS,           get_event_status},
  {0x51, MEDIUM,           read_disc_information},
  {0x5a, 0,                mode_sense},
  {0xa8, MEDIUM,           read_12},
  {0xad, MEDIUM,           read_dvd_structure},
  {0xbb, NO_DATA,          set_speed},
  {0xbd, 0,                mechanism_status},
  {0xbe, MEDIUM,           read_cd},
  /* clang-format on */
};

/* Has a change of the medium to be told first? */
static bool tell_change(struct atapi_cd *s) {
  if (!s->change || (s->change == CD_CHANGED && !atapi_has_medium(s))) return false;
  if (s->change == CD_GONE) {
    s->change = CD_CHANGED;
    check(s, NOT_READY, MEDIUM_NOT_PRESENT);
    return true;
  }
  s->change = CD_SAME;
  check(s, UNIT_ATTENTION, MEDIUM_CHANGED);
  return true;
}

static void run_packet(struct atapi_cd *s) {
  unsigned i = 0;
  while (i < sizeof packets / sizeof *packets && packets[i].code != s->packet[0]) i++;
  if (i == sizeof packets / sizeof *packets) return check(s, ILLEGAL_REQUEST, INVALID_COMMAND);
  bool limited = regs(s)[IDE_MID] | regs(s)[IDE_HIGH];
  uint8_t needs = packets[i].needs;
  if (!(needs & NO_DATA) && !s->dma && !limited) return abort_command(s); /* it could send nothing: ATA-7, 6.24.4 */
  if (!(needs & ALWAYS)) {
    if (tell_change(s)) return;
    s->sense_key = s->sense_code = NO_SENSE;
  }
  if (needs & MEDIUM && !atapi_has_medium(s)) return check(s, NOT_READY, MEDIUM_NOT_PRESENT);
  packets[i].run(s);
}

/* The packet is there. */
static void taken(struct ide_drive *d) {
  struct atapi_cd *s = cd(d);
  memcpy(s->packet, d->buffer, CD_PACKET);
  ide_stop(d);
  d->unit->status = ATA_BSY | ATA_DRDY;
  memset(d->buffer, 0, CD_REPLY);
  run_packet(s);
}

/* ---- blocks of data ---- */

/* As many bytes as the host has allowed, even if more are to follow. The next command finds its limit in the registers: they hold
 * the block's size now, which the host's driver writes anew (ATA-7, 6.24.5). */
static void offer(struct ide_drive *d) {
  struct atapi_cd *s = cd(d);
  uint32_t size = d->filled - d->at;
  if (s->is_packet && size > s->limit) size = s->limit;
  d->block_end = d->at + size;
  if (!s->is_packet) return;
  regs(s)[IDE_MID] = (uint8_t)size;
  regs(s)[IDE_HIGH] = (uint8_t)(size >> 8);
  regs(s)[IDE_COUNT] = (regs(s)[IDE_COUNT] & ~7) | REASON_TO_HOST;
}

/* Packets end with an interrupt of their own; IDENTIFY's data do not. */
static void finished(struct ide_drive *d) {
  if (cd(d)->is_packet) succeed(cd(d));
  else ide_end(d, 0);
}

static void failed(struct ide_drive *d, int error) {
  if (error == ENOMEDIUM) check(cd(d), NOT_READY, MEDIUM_NOT_PRESENT);
  else check(cd(d), MEDIUM_ERROR, UNRECOVERED_READ);
}

/* ---- ATA commands ---- */

static void packet(struct atapi_cd *s) {
  uint8_t *r = regs(s), feature = r[IDE_FEATURE];
  uint32_t limit = r[IDE_MID] | (uint32_t)r[IDE_HIGH] << 8;
  if (feature & FEATURE_OVERLAP) return abort_command(s);
  s->dma = feature & FEATURE_DMA;
  s->limit = (uint16_t)(limit > 1 ? limit & 0xfffe : 2);
  s->is_packet = true;
  r[IDE_COUNT] = REASON_COMMAND;
  ide_expect(&s->drive, CD_PACKET);
}

static void identify(struct atapi_cd *s) {
  s->is_packet = false;
  memset(s->drive.buffer, 0, ATA_SECTOR);
  atapi_identify(s, s->drive.buffer);
  ide_begin_reply(&s->drive, ATA_SECTOR, false);
}

static void set_features(struct atapi_cd *s) {
  enum { TRANSFER_MODE = 3 };
  uint8_t mode = regs(s)[IDE_COUNT];
  if (regs(s)[IDE_FEATURE] != TRANSFER_MODE) return ide_end_irq(&s->drive, 0);
  if (!ata_mode_exists(mode)) return abort_command(s);
  s->transfer_mode = mode;
  ide_end_irq(&s->drive, 0);
}

/* What a disk would do: the drive shows who it is instead (ATA-7, 6.17.8). */
static void no_disk(struct atapi_cd *s) {
  ide_show_signature(s->drive.unit);
  abort_command(s);
}

static void command(struct ide_drive *d, uint8_t code) {
  struct atapi_cd *s = cd(d);
  switch (code) {
  case 0xa0: return packet(s);
  case 0xa1: return identify(s);
  case 0xef: return set_features(s);
  case 0x20: /* READ SECTORS, IDENTIFY DEVICE */
  case 0xec: return no_disk(s);
  case 0x98:
  case 0xe5: regs(s)[IDE_COUNT] = 0xff; return ide_end_irq(d, 0); /* CHECK POWER MODE: active */
  case 0x94:
  case 0x95:
  case 0x96:
  case 0x97:
  case 0x99:
  case 0xe0: /* other power modes; FLUSH CACHE */
  case 0xe1:
  case 0xe2:
  case 0xe3:
  case 0xe6:
  case 0xe7: return ide_end_irq(d, 0);
  default: return abort_command(s);
  }
}

/* ---- life ---- */

static void reset(struct ide_drive *d) { cd(d)->sense_key = cd(d)->sense_code = NO_SENSE; }

const struct ide_kind atapi_kind = {
  .command = command,
  .reset = reset,
  .mid = 0x14,
  .high = 0xeb,
  .offer = offer,
  .taken = taken,
  .arrived = arrived,
  .changes = changes,
  .finished = finished,
  .failed = failed,
};

void atapi_power_on(struct atapi_cd *s) {
  s->transfer_mode = ATA_NO_MODE;
  s->sense_key = s->sense_code = NO_SENSE;
  s->change = CD_SAME;
  s->limit = 2;
  s->new_medium = s->eject_wanted = false;
  set_tray(s, s->tray_open, false);
}

void atapi_loaded(struct atapi_cd *s) {
  ide_drive_loaded(&s->drive);
  if (!ata_mode_exists(s->transfer_mode)) s->transfer_mode = ATA_NO_MODE;
  if (s->change > CD_CHANGED) s->change = CD_SAME;
  if (s->limit < 2) s->limit = 2;
  set_tray(s, s->tray_open != 0, s->locked != 0);
}
