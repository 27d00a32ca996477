/* How a disk counts in cylinders, heads and sectors where nobody says. Pure. The rules are QEMU 7.2's, as SeaBIOS and images that
 * were installed under QEMU expect them.
 */
#include "ata.h"

enum { MBR_TABLE = 446, MBR_ENTRY = 16, MBR_SIGNATURE = 510, MOST_CYLINDERS = 16383, LARGE_TRACKS = 131072 };

/* Partitions end at the end of a cylinder, so the first that has an end tells heads and sectors, as some BIOS counted them. */
static bool guess_by_partitions(const uint8_t *mbr, uint64_t total, struct ide_geometry *g) {
  if (mbr[MBR_SIGNATURE] != 0x55 || mbr[MBR_SIGNATURE + 1] != 0xaa) return false;
  for (unsigned i = 0; i < 4; i++) {
    const uint8_t *entry = mbr + MBR_TABLE + i * MBR_ENTRY;
    uint32_t size = entry[12] | (uint32_t)entry[13] << 8 | (uint32_t)entry[14] << 16 | (uint32_t)entry[15] << 24;
    uint32_t heads = entry[5] + 1u, sectors = entry[6] & 63;
    if (!size || !entry[5] || !sectors) continue;
    uint64_t cylinders = total / (heads * sectors);
    if (cylinders < 1 || cylinders > MOST_CYLINDERS) continue;
    *g = (struct ide_geometry){(uint32_t)cylinders, heads, sectors, IDE_TRANSLATION_NONE};
    return true;
  }
  return false;
}

static struct ide_geometry usual(uint64_t total) {
  uint64_t cylinders = total / (16 * 63);
  cylinders = cylinders < 2 ? 2 : cylinders > MOST_CYLINDERS ? MOST_CYLINDERS : cylinders;
  bool fits = cylinders <= 1024; /* what INT 13h can say */
  return (struct ide_geometry){(uint32_t)cylinders, 16, 63, fits ? IDE_TRANSLATION_NONE : IDE_TRANSLATION_LBA};
}

struct ide_geometry ide_guess_geometry(uint64_t sectors, const uint8_t *mbr) {
  struct ide_geometry found, g = usual(sectors);
  if (!mbr || !guess_by_partitions(mbr, sectors, &found)) return g;
  if (found.heads <= 16) return found;
  g.translation = (uint64_t)found.cylinders * found.heads <= LARGE_TRACKS ? IDE_TRANSLATION_LARGE : IDE_TRANSLATION_LBA;
  return g;
}

bool ide_disk_geometry(const struct ide_channel *channels, unsigned number, struct ide_geometry *out) {
  const struct ide_drive *d = channels[number / IDE_UNITS % IDE_CHANNELS].unit[number % IDE_UNITS].drive;
  if (!d || d->kind != &ata_kind) return false;
  *out = ((const struct ata_disk *)d)->geometry;
  return true;
}
