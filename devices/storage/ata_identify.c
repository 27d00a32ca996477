/* What an ATA disk says of itself: IDENTIFY DEVICE's 256 words (ATA-7, 6.17), SMART's attributes. Pure. Words are
 * as QEMU 7.2 has them, names too: udev makes of model and serial number what images from QEMU's machines have in their fstab.
 */
#include "ata.h"
#include <string.h>

void ata_put_word(uint8_t *data, unsigned word, unsigned value) {
  data[2 * word] = (uint8_t)value;
  data[2 * word + 1] = (uint8_t)(value >> 8);
}

static void put_words(uint8_t *data, unsigned word, unsigned words, uint64_t value) {
  for (unsigned i = 0; i < words; i++) ata_put_word(data, word + i, (uint16_t)(value >> 16 * i));
}

void ata_put_text(uint8_t *data, unsigned word, unsigned words, const char *text) {
  for (unsigned i = 0; i < 2 * words; i++) data[(2 * word + i) ^ 1] = *text ? (uint8_t)*text++ : ' ';
}

/* ---- transfer modes: SET FEATURES 03h, bits 7:3 what, 2:0 which ---- */

enum { PIO_DEFAULT, PIO_FLOW, SINGLE_WORD, MULTI_WORD = 4, ULTRA = 8 };

bool ata_mode_exists(uint8_t mode) {
  unsigned which = mode & 7;
  switch (mode >> 3) {
  case PIO_DEFAULT: return which <= 1;
  case PIO_FLOW: return which <= 4;
  case SINGLE_WORD:
  case MULTI_WORD: return which <= 2;
  case ULTRA: return which <= 5;
  default: return false;
  }
}

/* UDMA 5 is what is chosen where nobody has: a BIOS would have set it. */
void ata_put_modes(uint8_t *data, uint8_t mode) {
  unsigned what = mode >> 3, chosen = 0x100u << (mode & 7);
  if (mode == ATA_NO_MODE) what = ULTRA, chosen = 0x100 << 5;
  ata_put_word(data, 62, 0x07 | (what == SINGLE_WORD ? chosen : 0));
  ata_put_word(data, 63, 0x07 | (what == MULTI_WORD ? chosen : 0));
  ata_put_word(data, 88, 0x3f | (what == ULTRA ? chosen : 0));
}

/* ---- IDENTIFY DEVICE ---- */

static void put_geometry(const struct ata_disk *s, uint8_t *data) {
  uint32_t track = (uint32_t)s->current_heads * s->current_sectors;
  uint64_t cylinders = s->sectors / track > 0xffff ? 0xffff : s->sectors / track;
  ata_put_word(data, 1, s->geometry.cylinders);
  ata_put_word(data, 3, s->geometry.heads);
  ata_put_word(data, 4, ATA_SECTOR * s->geometry.sectors);
  ata_put_word(data, 5, ATA_SECTOR);
  ata_put_word(data, 6, s->geometry.sectors);
  ata_put_word(data, 53, 7); /* words 54 to 58, 64 to 70 and 88 mean something */
  ata_put_word(data, 54, (unsigned)cylinders);
  ata_put_word(data, 55, s->current_heads);
  ata_put_word(data, 56, s->current_sectors);
  put_words(data, 57, 2, cylinders * track);
}

static void put_size(const struct ata_disk *s, uint8_t *data) {
  uint64_t sectors28 = s->sectors < ATA_LBA28_SECTORS ? s->sectors : ATA_LBA28_SECTORS - 1;
  uint32_t physical = s->properties->physical_block_size;
  put_words(data, 60, 2, sectors28);
  put_words(data, 100, 4, s->sectors);
  ata_put_word(data, 106, 0x6000 | (unsigned)__builtin_ctz(physical / ATA_SECTOR));
}

/* Words 82 to 87: what there is, and what of it is on. */
static void put_features(const struct ata_disk *s, uint8_t *data) {
  enum { SMART = 1, WRITE_CACHE = 1 << 5, NOP = 1 << 14 };
  enum { LBA48 = 1 << 10, FLUSH = 1 << 12, FLUSH_EXT = 1 << 13, VALID = 1 << 14, WWN = 1 << 8 };
  unsigned wwn = s->properties->wwn ? WWN : 0;
  ata_put_word(data, 82, NOP | WRITE_CACHE | SMART);
  ata_put_word(data, 83, VALID | FLUSH_EXT | FLUSH | LBA48);
  ata_put_word(data, 84, VALID | wwn);
  ata_put_word(data, 85, NOP | (s->write_cache ? WRITE_CACHE : 0) | (s->smart ? SMART : 0));
  ata_put_word(data, 86, FLUSH_EXT | FLUSH | LBA48);
  ata_put_word(data, 87, VALID | wwn);
  for (unsigned i = 0; i < 4 && wwn; i++) ata_put_word(data, 108 + i, (uint16_t)(s->properties->wwn >> (48 - 16 * i)));
}

static void put_timing(const struct ata_disk *s, uint8_t *data) {
  enum { NS_120 = 120 };
  ata_put_word(data, 51, 0x200);
  ata_put_word(data, 52, 0x200);
  ata_put_word(data, 64, 3); /* PIO 3 and 4 */
  for (unsigned word = 65; word <= 68; word++) ata_put_word(data, word, NS_120);
  ata_put_modes(data, s->transfer_mode);
  ata_put_word(data, 93, 0x6001); /* passed its tests at reset, and sees a cable of 80 wires */
}

void ata_identify(const struct ata_disk *s, uint8_t data[ATA_SECTOR]) {
  enum { FIXED = 0x0040, DMA = 1 << 8, LBA = 1 << 9, IORDY = 1 << 11 };
  ata_put_word(data, 0, FIXED);
  put_geometry(s, data);
  ata_put_text(data, 10, 10, s->serial);
  ata_put_word(data, 20, 3); /* 20 to 22: a buffer of 512 sectors, as old drives tell it */
  ata_put_word(data, 21, 512);
  ata_put_word(data, 22, 4);
  ata_put_text(data, 23, 4, s->properties->version);
  ata_put_text(data, 27, 20, s->properties->model);
  ata_put_word(data, 47, 0x8000 | ATA_MOST_MULTIPLE);
  ata_put_word(data, 48, 1); /* 32 bits at a time */
  ata_put_word(data, 49, IORDY | LBA | DMA);
  ata_put_word(data, 59, s->multiple ? 0x100 | s->multiple : 0);
  put_size(s, data);
  put_timing(s, data);
  ata_put_word(data, 80, 0xf0); /* ATA-4 to ATA-7 */
  ata_put_word(data, 81, 0x16);
  put_features(s, data);
}

/* ---- SMART ---- */

enum { ENTRY = 12, FIRST_ENTRY = 2 };

/* Attributes that are always well, and what would be too bad. */
static const struct {
  uint8_t id, flags, value, worst;
  uint16_t raw;
  uint8_t threshold;
} attributes[] = {
  {1, 3, 100, 100, 0, 6},     /* raw read error rate */
  {3, 3, 100, 100, 16, 0},    /* spin up */
  {4, 2, 100, 100, 100, 20},  /* starts and stops */
  {5, 3, 100, 100, 0, 36},    /* sectors that were replaced */
  {9, 3, 100, 100, 1, 0},     /* hours on */
  {12, 3, 100, 100, 0, 0},    /* power cycles */
  {190, 3, 69, 69, 0x1f, 50}, /* degrees */
};
enum { ATTRIBUTES = sizeof attributes / sizeof *attributes };

static void put_checksum(uint8_t data[ATA_SECTOR]) {
  uint8_t sum = 0;
  for (unsigned i = 0; i < ATA_SECTOR - 1; i++) sum += data[i];
  data[ATA_SECTOR - 1] = (uint8_t)-sum;
}

void ata_smart_values(const struct ata_disk *s, uint8_t data[ATA_SECTOR]) {
  data[0] = 1;
  for (unsigned i = 0; i < ATTRIBUTES; i++) {
    uint8_t *entry = data + FIRST_ENTRY + i * ENTRY;
    entry[0] = attributes[i].id;
    entry[1] = attributes[i].flags;
    entry[3] = attributes[i].value;
    entry[4] = attributes[i].worst;
    entry[5] = (uint8_t)attributes[i].raw;
    entry[6] = (uint8_t)(attributes[i].raw >> 8);
  }
  data[362] = s->smart_autosave ? 0x82 : 0x02; /* data collected off-line: done without an error */
  data[364] = 0x20;                            /* it takes so many seconds */
  data[367] = 1 << 4 | 1 << 3 | 1;             /* what it can: off-line at once, self-tests */
  data[368] = 0x03;                            /* attributes are saved */
  data[370] = 1;                               /* it has logs */
  data[372] = 2, data[373] = 54;               /* minutes that tests would take */
  put_checksum(data);
}

void ata_smart_thresholds(uint8_t data[ATA_SECTOR]) {
  data[0] = 1;
  for (unsigned i = 0; i < ATTRIBUTES; i++) {
    data[FIRST_ENTRY + i * ENTRY] = attributes[i].id;
    data[FIRST_ENTRY + i * ENTRY + 1] = attributes[i].threshold;
  }
  put_checksum(data);
}
