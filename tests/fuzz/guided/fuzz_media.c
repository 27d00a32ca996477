/* What bt makes of an image's bytes and size: the format that it looks like, a disk's geometry by its partitions, a floppy's
 * format. The input: 1 of the name's length, 8 of the size in sectors, the name, the first bytes. */
#include "guided.h"
#include "bt/host/block_probe.h"
#include "bt/options/drives.h"
#include "devices/storage/drives.h"
#include "devices/storage/floppy.h"

enum { DISK_SECTOR = 512 };

static void probe(const uint8_t *bytes, size_t size, const char *name) {
  const char *format = block_probe(bytes, size < BLOCK_PROBE ? size : BLOCK_PROBE, name), *known;
  bool found = !strcmp(format, "luks"); /* refused by name */
  for (unsigned i = 0; !found && (known = drive_format_at(i)); i++) found = !strcmp(known, format);
  REQUIRE(found, "'%s' is no format of -drive", format);
}

static void count(uint64_t sectors, const uint8_t *mbr) {
  struct ide_geometry g = ide_guess_geometry(sectors, mbr);
  REQUIRE(g.cylinders - 1 < 65535 && g.heads - 1 < 16 && g.sectors - 1 < 63, "%u cylinders, %u heads, %u sectors", g.cylinders,
          g.heads, g.sectors);
  REQUIRE(g.translation <= IDE_TRANSLATION_RECHS, "translation %u", g.translation);
}

static void insert(uint64_t sectors, unsigned type) {
  static const struct block_ops none = {.submit = NULL};
  struct block_backend b = {.ops = &none, .present = true, .size = sectors * DISK_SECTOR};
  struct floppy_drive d;
  floppy_attach(&d, (enum floppy_type)(type % (FLOPPY_AUTO + 1)), &b);
  REQUIRE(d.type != FLOPPY_AUTO && floppy_has_medium(&d) == (sectors != 0), "%llu sectors", (unsigned long long)sectors);
  for (unsigned c = 0; c < 90; c += 1 + c / 8)
    for (unsigned h = 0; h < 3; h++)
      for (unsigned s = 0; s < 70; s += 1 + s / 4) {
        uint32_t at = floppy_lba(&d, c, h, s);
        REQUIRE(at == UINT32_MAX || at < sectors, "sector %u/%u/%u at %u of %llu", c, h, s, at, (unsigned long long)sectors);
      }
  b.present = false, b.size = 0;
  floppy_changed(&d);
  REQUIRE(!floppy_has_medium(&d), "a medium that has been taken out");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct input in = {data, size};
  size_t length = input_number(&in, 1) % 32, n;
  uint64_t sectors = input_number(&in, 8) % ((UINT64_MAX >> 9) + 1);
  char *name = input_text(&in, length);
  const uint8_t *at = input_take(&in, in.left, &n);
  uint8_t mbr[DISK_SECTOR] = {0}, *bytes = malloc(n + !n);
  if (!bytes) abort();
  memcpy(bytes, at, n);
  probe(bytes, n, name), probe(bytes, n, NULL);
  memcpy(mbr, bytes, n < sizeof mbr ? n : sizeof mbr);
  if (sectors) count(sectors, NULL), count(sectors, mbr);
  insert(sectors % 8000, (unsigned)length), insert(sectors >> 20, (unsigned)length);
  free(bytes), free(name);
  return 0;
}
