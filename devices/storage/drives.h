/* Disks and CDs on an IDE channel, as the command line and pc.c see them: -device ide-hd, ide-cd (drives.c). */
#pragma once
#include "../device_type.h"

/* How a disk of cylinders, heads and sectors counts, and how a BIOS shows it to DOS (QEMU's and SeaBIOS's numbers). */
enum ide_translation { IDE_TRANSLATION_NONE, IDE_TRANSLATION_LBA, IDE_TRANSLATION_LARGE, IDE_TRANSLATION_RECHS };
struct ide_geometry {
  uint32_t cylinders, heads, sectors; /* 1 to 65535, 1 to 16, 1 to 63 */
  enum ide_translation translation;
};
/* What a disk of so many sectors of 512 bytes has where nobody says; mbr: its first sector, by whose partitions an old system may
 * have settled it, or NULL. */
struct ide_geometry ide_guess_geometry(uint64_t sectors, const uint8_t *mbr);
/* Of disk `number`, 0 to 3: hda to hdd. `channels` are the controller's two. False: there is no disk. */
struct ide_channel;
bool ide_disk_geometry(const struct ide_channel *channels, unsigned number, struct ide_geometry *out);

struct ide_hd_properties {
  struct block_backend *drive;
  const char *bus, *serial, *model, *version;
  uint64_t wwn;
  uint32_t unit, bootindex, cylinders, heads, sectors, logical_block_size, physical_block_size;
};
struct ide_cd_properties {
  struct block_backend *drive;
  const char *bus, *serial, *model, *version;
  uint64_t wwn;
  uint32_t unit, bootindex;
};
extern const struct device_type ide_hd_type, ide_cd_type;
