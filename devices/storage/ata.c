/* ATA disks: what their commands do. ATA-7 (T13/1532D) volume 1, chapter 6; CHS, RECALIBRATE and the like as ATA-3 had them.
 *
 * Owns the translation from registers to sectors, and what SET FEATURES, SET MULTIPLE and INITIALIZE DEVICE PARAMETERS have
 * set. A command that reaches beyond the end is aborted before anything is moved, as QEMU does it; a host's error is UNC (reads)
 * or ABRT (writes), with the address of the bad sector in the registers. With the write cache off each write is on the medium
 * when it is done. Power modes take nothing and change nothing: CHECK POWER MODE always says "active". Missing: security, HPA,
 * NCQ and TCQ, streaming, TRIM, READ and WRITE LONG, READ and WRITE BUFFER (all aborted, none announced).
 */
#include "ata.h"
#include <errno.h>
#include <string.h>

/* Of which kind a transfer is, beside its direction. */
enum { BY_DMA = 1, WIDE = 2, MULTIPLE = 4 };

static struct ata_disk *disk(struct ide_drive *d) { return (struct ata_disk *)d; }
static uint8_t *regs(struct ata_disk *s) { return s->drive.unit->reg; }

static void succeed(struct ata_disk *s) { ide_end_irq(&s->drive, 0); }
static void abort_command(struct ata_disk *s) { ide_end_irq(&s->drive, ATA_ABRT); }

/* ---- addresses ---- */

static bool chs_address(struct ata_disk *s, uint64_t *sector) {
  const uint8_t *r = regs(s);
  uint32_t cylinder = r[IDE_MID] | (uint32_t)r[IDE_HIGH] << 8, head = r[IDE_DEVICE] & DEVICE_HEAD;
  *sector = ((uint64_t)cylinder * s->current_heads + head) * s->current_sectors + r[IDE_LOW] - 1;
  return head < s->current_heads && r[IDE_LOW] && r[IDE_LOW] <= s->current_sectors;
}

/* The first sector that the registers name; false: there can be none such. */
static bool address(struct ata_disk *s, uint64_t *sector) {
  const uint8_t *r = regs(s), *p = s->drive.unit->previous;
  if (!(r[IDE_DEVICE] & DEVICE_LBA)) return chs_address(s, sector);
  *sector = r[IDE_LOW] | (uint64_t)r[IDE_MID] << 8 | (uint64_t)r[IDE_HIGH] << 16;
  if (s->wide) *sector |= (uint64_t)p[IDE_LOW] << 24 | (uint64_t)p[IDE_MID] << 32 | (uint64_t)p[IDE_HIGH] << 40;
  else *sector |= (uint64_t)(r[IDE_DEVICE] & DEVICE_HEAD) << 24;
  return true;
}

static uint32_t count(struct ata_disk *s) {
  uint32_t n = regs(s)[IDE_COUNT];
  if (s->wide) n |= (uint32_t)s->drive.unit->previous[IDE_COUNT] << 8;
  return n ? n : s->wide ? 0x10000 : 0x100;
}

/* Registers name `sector` in the way in which the command did. */
static void show_address(struct ata_disk *s, uint64_t sector) {
  uint8_t *r = regs(s), *p = s->drive.unit->previous;
  uint32_t track = (uint32_t)(sector / s->current_sectors), head = track % s->current_heads, cylinder = track / s->current_heads;
  if (r[IDE_DEVICE] & DEVICE_LBA) {
    r[IDE_LOW] = (uint8_t)sector, r[IDE_MID] = (uint8_t)(sector >> 8), r[IDE_HIGH] = (uint8_t)(sector >> 16);
    if (!s->wide) r[IDE_DEVICE] = (r[IDE_DEVICE] & ~DEVICE_HEAD) | (sector >> 24 & DEVICE_HEAD);
    else p[IDE_LOW] = (uint8_t)(sector >> 24), p[IDE_MID] = (uint8_t)(sector >> 32), p[IDE_HIGH] = (uint8_t)(sector >> 40);
    return;
  }
  r[IDE_LOW] = (uint8_t)(sector % s->current_sectors + 1);
  r[IDE_MID] = (uint8_t)cylinder, r[IDE_HIGH] = (uint8_t)(cylinder >> 8);
  r[IDE_DEVICE] = (uint8_t)((r[IDE_DEVICE] & ~DEVICE_HEAD) | head);
}

static void show_progress(struct ata_disk *s) {
  uint32_t left = (uint32_t)(s->drive.left / ATA_SECTOR);
  show_address(s, s->drive.position / ATA_SECTOR);
  regs(s)[IDE_COUNT] = (uint8_t)left;
  if (s->wide) s->drive.unit->previous[IDE_COUNT] = (uint8_t)(left >> 8);
}

/* The command's sectors become d->position and d->left. False: they are not all there, and the command has ended. */
static bool locate(struct ata_disk *s, uint32_t sectors) {
  uint64_t first;
  bool there = address(s, &first) && first < s->sectors && sectors <= s->sectors - first;
  if (!there) return abort_command(s), false;
  s->drive.position = first * ATA_SECTOR;
  s->drive.left = (uint64_t)sectors * ATA_SECTOR;
  return true;
}

/* ---- reading and writing ---- */

/* False: the command has ended. */
static bool prepare(struct ata_disk *s, uint8_t how) {
  s->wide = (how & WIDE) != 0;
  if (how & MULTIPLE && !s->multiple) return abort_command(s), false;
  s->block = how & MULTIPLE ? s->multiple * ATA_SECTOR : ATA_SECTOR;
  return locate(s, count(s));
}

static void read_sectors(struct ata_disk *s, uint8_t how) {
  if (prepare(s, how)) ide_begin_in(&s->drive, how & BY_DMA);
}

static void write_sectors(struct ata_disk *s, uint8_t how) {
  if (!prepare(s, how)) return;
  if (s->drive.block->read_only) return abort_command(s);
  s->drive.fua = !s->write_cache;
  ide_begin_out(&s->drive, how & BY_DMA);
}

static void verify_sectors(struct ata_disk *s, uint8_t how) {
  if (prepare(s, how)) ide_begin_verify(&s->drive);
}

static void seek(struct ata_disk *s, uint8_t how) {
  s->wide = false;
  if (!locate(s, 1)) return;
  s->drive.left = 0;
  succeed(s);
}

static void recalibrate(struct ata_disk *s, uint8_t how) { succeed(s); }
static void flush(struct ata_disk *s, uint8_t how) { ide_flush(&s->drive); }

/* ---- identity and settings ---- */

static void reply(struct ata_disk *s) {
  s->block = ATA_SECTOR;
  ide_begin_reply(&s->drive, ATA_SECTOR, false);
}

static void identify(struct ata_disk *s, uint8_t how) {
  memset(s->drive.buffer, 0, ATA_SECTOR);
  ata_identify(s, s->drive.buffer);
  reply(s);
}

static void set_multiple(struct ata_disk *s, uint8_t how) {
  uint8_t n = regs(s)[IDE_COUNT];
  if (n > ATA_MOST_MULTIPLE || n & (n - 1)) return abort_command(s);
  s->multiple = n;
  succeed(s);
}

/* INITIALIZE DEVICE PARAMETERS: how CHS addresses count from now on. */
static void set_geometry(struct ata_disk *s, uint8_t how) {
  if (!regs(s)[IDE_COUNT]) return abort_command(s);
  s->current_heads = (uint8_t)((regs(s)[IDE_DEVICE] & DEVICE_HEAD) + 1);
  s->current_sectors = regs(s)[IDE_COUNT];
  succeed(s);
}

static void read_native_max(struct ata_disk *s, uint8_t how) {
  uint64_t last = s->sectors - 1;
  s->wide = (how & WIDE) != 0;
  if (!s->wide && last >= ATA_LBA28_SECTORS) last = ATA_LBA28_SECTORS - 1;
  show_address(s, last);
  succeed(s);
}

static void check_power(struct ata_disk *s, uint8_t how) {
  regs(s)[IDE_COUNT] = 0xff; /* active or idle */
  succeed(s);
}
static void change_power(struct ata_disk *s, uint8_t how) {
  succeed(s);
  s->drive.unit->status = ATA_DRDY; /* no seek was completed, as in QEMU */
}

static void set_transfer_mode(struct ata_disk *s) {
  uint8_t mode = regs(s)[IDE_COUNT];
  if (!ata_mode_exists(mode)) return abort_command(s);
  s->transfer_mode = mode;
  succeed(s);
}

/* ATA-7, 6.54. What is off has been written before it says that it is off. */
static void set_features(struct ata_disk *s, uint8_t how) {
  switch (regs(s)[IDE_FEATURE]) {
  case 0x03: return set_transfer_mode(s);
  case 0x02: s->write_cache = true; return succeed(s);
  case 0x82: s->write_cache = false; return flush(s, 0);
  case 0xaa: /* read look-ahead on */
  case 0x55: /* off */
  case 0x05: /* advanced power management on */
  case 0x85: /* off */
  case 0x42: /* acoustic management on */
  case 0xc2: /* off */
  case 0x66: /* keep settings over a software reset */
  case 0xcc: /* do not */
  case 0x67: /* old drives' */
  case 0x69:
  case 0x96:
  case 0x9a: return succeed(s);
  default: return abort_command(s);
  }
}

/* ---- SMART (ATA-7, 6.55): a disk that is well ---- */

enum { SMART_MID = 0x4f, SMART_HIGH = 0xc2, SMART_ENABLE = 0xd8 };

static void smart_log(struct ata_disk *s) {
  uint8_t *data = s->drive.buffer, log = regs(s)[IDE_LOW], sum = 0;
  if (log > 1) return abort_command(s); /* directory; summary of errors: there are none */
  data[0] = 1;                          /* version */
  for (unsigned i = 0; log && i < ATA_SECTOR - 1; i++) sum += data[i];
  if (log) data[ATA_SECTOR - 1] = (uint8_t)-sum;
  reply(s);
}

static void smart(struct ata_disk *s, uint8_t how) {
  uint8_t *r = regs(s);
  if (r[IDE_MID] != SMART_MID || r[IDE_HIGH] != SMART_HIGH || (!s->smart && r[IDE_FEATURE] != SMART_ENABLE))
    return abort_command(s);
  memset(s->drive.buffer, 0, ATA_SECTOR);
  switch (r[IDE_FEATURE]) {
  case 0xd0: ata_smart_values(s, s->drive.buffer); return reply(s);
  case 0xd1: ata_smart_thresholds(s->drive.buffer); return reply(s);
  case 0xd2: s->smart_autosave = r[IDE_COUNT] != 0; return succeed(s);
  case 0xd4: return succeed(s); /* a test off-line, which has found nothing */
  case 0xd5: return smart_log(s);
  case SMART_ENABLE: s->smart = true; return succeed(s);
  case 0xd9: s->smart = false; return succeed(s);
  case 0xda: return succeed(s); /* status: the registers stay as they are */
  default: return abort_command(s);
  }
}

/* ---- the list ---- */

static const struct {
  uint8_t first, last;
  void (*run)(struct ata_disk *s, uint8_t how);
  uint8_t how;
} commands[] = {
  /* clang-format off */
  {0x10, 0x1f, recalibrate, 0},
  {0x20, 0x21, read_sectors, 0},
  {0x24, 0x24, read_sectors, WIDE},
  {0x25, 0x25, read_sectors, BY_DMA | WIDE},
  {0x27, 0x27, read_native_max, WIDE},
  {0x29, 0x29, read_sectors, MULTIPLE | WIDE},
  {0x30, 0x31, write_sectors, 0},
  {0x34, 0x34, write_sectors, WIDE},
  {0x35, 0x35, write_sectors, BY_DMA | WIDE},
  {0x39, 0x39, write_sectors, MULTIPLE | WIDE},
  {0x3c, 0x3c, write_sectors, 0},                 /* WRITE VERIFY */
  {0x40, 0x41, verify_sectors, 0},
  {0x42, 0x42, verify_sectors, WIDE},
  {0x70, 0x7f, seek, 0},
  {0x91, 0x91, set_geometry, 0},
  {0x94, 0x97, change_power, 0},                  /* STANDBY IMMEDIATE, IDLE IMMEDIATE, STANDBY, IDLE */
  {0x98, 0x98, check_power, 0},
  {0x99, 0x99, change_power, 0},                  /* SLEEP */
  {0xb0, 0xb0, smart, 0},
  {0xc4, 0xc4, read_sectors, MULTIPLE},
  {0xc5, 0xc5, write_sectors, MULTIPLE},
  {0xc6, 0xc6, set_multiple, 0},
  {0xc8, 0xc9, read_sectors, BY_DMA},
  {0xca, 0xcb, write_sectors, BY_DMA},
  {0xe0, 0xe3, change_power, 0},
  {0xe5, 0xe5, check_power, 0},
  {0xe6, 0xe6, change_power, 0},
  {0xe7, 0xe7, flush, 0},
  {0xea, 0xea, flush, WIDE},
  {0xec, 0xec, identify, 0},
  {0xef, 0xef, set_features, 0},
  {0xf8, 0xf8, read_native_max, 0},
  /* clang-format on */
};

static void command(struct ide_drive *d, uint8_t code) {
  struct ata_disk *s = disk(d);
  s->command = code;
  for (unsigned i = 0; i < sizeof commands / sizeof *commands; i++)
    if (code >= commands[i].first && code <= commands[i].last) return commands[i].run(s, commands[i].how);
  abort_command(s);
}

/* ---- in the middle of a command ---- */

static void offer(struct ide_drive *d) {
  uint32_t left = d->filled - d->at, block = disk(d)->block;
  d->block_end = d->at + (left < block ? left : block);
}

static bool moved_sectors(const struct ata_disk *s) {
  return s->command < 0x90 || (s->command >= 0xc4 && s->command < 0xd0 && s->command != 0xc6);
}

/* Reads by PIO end with their last block: the interrupt was before it (ATA-7, 9.5). */
static void finished(struct ide_drive *d) {
  struct ata_disk *s = disk(d);
  bool quiet = d->phase == IDE_PIO_IN;
  if (moved_sectors(s) && d->phase != IDE_VERIFY) show_progress(s);
  if (quiet) ide_end(d, 0);
  else succeed(s);
}

static void failed(struct ide_drive *d, int error) {
  struct ata_disk *s = disk(d);
  bool reading = d->request.operation == BLOCK_READ;
  if (moved_sectors(s)) show_progress(s);
  ide_end_irq(d, reading ? ATA_UNC : ATA_ABRT);
}

/* A software reset leaves the settings (ATA-7, 6.54: 66h and CCh are not told apart, as in QEMU), but not the block of READ
 * MULTIPLE. */
static void reset(struct ide_drive *d) { disk(d)->multiple = ATA_MOST_MULTIPLE; }

const struct ide_kind ata_kind = {
  .command = command,
  .reset = reset,
  .status = ATA_DRDY | ATA_DSC,
  .offer = offer,
  .taken = ide_gathered,
  .finished = finished,
  .failed = failed,
};

/* ---- life ---- */

void ata_power_on(struct ata_disk *s) {
  s->current_heads = (uint8_t)s->geometry.heads;
  s->current_sectors = (uint8_t)s->geometry.sectors;
  s->multiple = ATA_MOST_MULTIPLE;
  s->block = ATA_SECTOR; /* as the first command finds it: never none */
  s->transfer_mode = ATA_NO_MODE;
  s->write_cache = s->drive.block->write_cache; /* cache=writethrough is a drive whose cache is off */
  s->smart = s->smart_autosave = true;
}

void ata_loaded(struct ata_disk *s) {
  ide_drive_loaded(&s->drive);
  if (!s->current_heads || s->current_heads > 16) s->current_heads = (uint8_t)s->geometry.heads;
  if (!s->current_sectors) s->current_sectors = (uint8_t)s->geometry.sectors;
  if (s->multiple > ATA_MOST_MULTIPLE || s->multiple & (s->multiple - 1)) s->multiple = ATA_MOST_MULTIPLE;
  if (!s->block || s->block % ATA_SECTOR || s->block > ATA_MOST_MULTIPLE * ATA_SECTOR) s->block = ATA_SECTOR;
  if (!ata_mode_exists(s->transfer_mode)) s->transfer_mode = ATA_NO_MODE;
}
