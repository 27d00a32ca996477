/* An ATA disk (ata.c), and what it says of itself (ata_identify.c). */
#pragma once
#include "drives.h"
#include "ide.h"

enum { ATA_SECTOR = 512, ATA_MOST_MULTIPLE = 16 };
enum { ATA_LBA28_SECTORS = 1 << 28, ATA_NO_MODE = 0 };

struct ata_disk {
  struct ide_drive drive; /* first */
  const struct ide_hd_properties *properties;
  const char *serial;
  uint64_t sectors;
  struct ide_geometry geometry;           /* what it has without INITIALIZE DEVICE PARAMETERS */
  uint8_t current_heads, current_sectors; /* and with it */
  uint8_t multiple;                       /* sectors a block; 0: READ and WRITE MULTIPLE are off */
  uint8_t transfer_mode;                  /* as SET FEATURES had it in its count register */
  uint8_t write_cache, smart, smart_autosave;
  /* of the command that is under way */
  uint8_t command, wide; /* wide: 48-bit addresses */
  uint32_t block;        /* bytes for each DRQ */
};

extern const struct ide_kind ata_kind;
void ata_power_on(struct ata_disk *s); /* settings as from the factory */
void ata_loaded(struct ata_disk *s);

/* 512 bytes, all zeroed: IDENTIFY DEVICE's data. */
void ata_identify(const struct ata_disk *s, uint8_t out[ATA_SECTOR]);
/* Of SMART: the attributes' values or thresholds, with their checksum. */
void ata_smart_values(const struct ata_disk *s, uint8_t out[ATA_SECTOR]);
void ata_smart_thresholds(uint8_t out[ATA_SECTOR]);
/* Words of IDENTIFY (PACKET) DEVICE: text has its bytes swapped and is padded with blanks; modes are words 62, 63 and 88 by what
 * SET FEATURES chose last (ATA_NO_MODE: nothing). */
void ata_put_word(uint8_t *data, unsigned word, unsigned value);
void ata_put_text(uint8_t *data, unsigned word, unsigned words, const char *text);
void ata_put_modes(uint8_t *data, uint8_t transfer_mode);
/* Is it one that ata_put_modes() can show? */
bool ata_mode_exists(uint8_t transfer_mode);
