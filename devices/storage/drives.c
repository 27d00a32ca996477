/* -device ide-hd and ide-cd: where a drive is put, and what its properties make of it. Owns the drives' structs and their rows
 * in the list of devices; the channels are the controller's (devices/chips/piix3_ide.c).
 */
#include "drives.h"
#include <stdio.h>
#include <string.h>
#include "ata.h"
#include "atapi.h"

/* ---- a place on a channel ---- */

enum { ANY = UINT32_MAX };

/* By bus=ide.N (checked) and unit=, where they are given; else the first that is free. */
static const char *find_unit(const struct device_place *place, const char *bus, uint32_t unit, struct ide_channel **c,
                             unsigned *n) {
  for (unsigned i = 0; i < IDE_CHANNELS * IDE_UNITS; i++) {
    *c = &place->ide[i / IDE_UNITS];
    *n = i % IDE_UNITS;
    bool wanted = (!bus || bus[4] == (char)('0' + i / IDE_UNITS)) && (unit == ANY || unit == *n);
    if (wanted && !(*c)->unit[*n].drive) return NULL;
  }
  return "an IDE drive is there already: a bus has two units";
}

/* Like QEMU's: hda's is 1, hdc's 3. */
static const char *serial_number(const struct device_place *place, const struct ide_drive *d, const char *given, char own[20]) {
  unsigned number = (unsigned)(d->channel - place->ide) * IDE_UNITS + (unsigned)(d->unit - d->channel->unit);
  snprintf(own, 20, "QM%05u", number + 1);
  return given ? given : d->block && d->block->serial ? d->block->serial : own;
}

/* As firmware is told of the place (QEMU's path of it). NULL, or what is wrong. */
static const char *tell_boot_order(const struct device_place *place, const struct ide_channel *c, unsigned number,
                                   uint32_t index) {
  char path[64];
  snprintf(path, sizeof path, "/pci@i0cf8/ide@1,1/drive@%u/disk@%u", (unsigned)(c - place->ide), number);
  return place->boot_path(place->opaque, index, path);
}

static void attach(struct ide_drive *d, struct ide_channel *c, unsigned number) {
  d->channel = c;
  d->unit = &c->unit[number];
  d->unit->drive = d;
  ide_unit_reset(c, number);
}

static void detach(struct ide_drive *d) {
  d->unit->drive = NULL;
  block_connect(d->block, NULL);
}

/* ---- ide-hd ---- */

struct hd {
  struct ata_disk disk; /* first */
  char serial[20];
};

static const struct field hd_fields[] = {IDE_DRIVE_FIELDS(ata_disk, drive),
                                         FIELD(ata_disk, current_heads),
                                         FIELD(ata_disk, current_sectors),
                                         FIELD(ata_disk, multiple),
                                         FIELD(ata_disk, transfer_mode),
                                         FIELD(ata_disk, write_cache),
                                         FIELD(ata_disk, smart),
                                         FIELD(ata_disk, smart_autosave),
                                         FIELD(ata_disk, command),
                                         FIELD(ata_disk, wide),
                                         FIELD(ata_disk, block),
                                         FIELD_END};

static const struct property hd_properties[] = {
  PROPERTY(PROPERTY_DRIVE, ide_hd_properties, drive, "drive", NULL, "the disk"),
  PROPERTY(PROPERTY_TEXT, ide_hd_properties, bus, "bus", NULL, "ide.0 or ide.1; without: the first with room"),
  PROPERTY_RANGE(PROPERTY_NUMBER, ide_hd_properties, unit, "unit", 0, 1, NULL,
                 "0 master, 1 slave; without: the first that is free"),
  PROPERTY(PROPERTY_TEXT, ide_hd_properties, serial, "serial", NULL, "serial number, up to 20 letters"),
  PROPERTY(PROPERTY_TEXT, ide_hd_properties, model, "model", "QEMU HARDDISK", "name, up to 40 letters"),
  PROPERTY(PROPERTY_TEXT, ide_hd_properties, version, "ver", "2.5+", "firmware, up to 8 letters"),
  PROPERTY(PROPERTY_NUMBER, ide_hd_properties, wwn, "wwn", "0", "world wide name (0: none)"),
  PROPERTY(PROPERTY_NUMBER, ide_hd_properties, bootindex, "bootindex", NULL, "a BIOS tries the lowest first"),
  PROPERTY_RANGE(PROPERTY_NUMBER, ide_hd_properties, cylinders, "cyls", 1, 65535, NULL, "cylinders; without: by the size"),
  PROPERTY_RANGE(PROPERTY_NUMBER, ide_hd_properties, heads, "heads", 1, 16, NULL, "heads"),
  PROPERTY_RANGE(PROPERTY_NUMBER, ide_hd_properties, sectors, "secs", 1, 255, NULL, "sectors a track"),
  PROPERTY_RANGE(PROPERTY_SIZE, ide_hd_properties, logical_block_size, "logical_block_size", 512, 512, "512",
                 "there is no other"),
  PROPERTY_RANGE(PROPERTY_SIZE, ide_hd_properties, physical_block_size, "physical_block_size", 512, 32768, "512",
                 "a power of two"),
  PROPERTY_END,
};

static const char *unfit_text(const char *bus, const char *serial, const char *model, const char *version) {
  if (bus && strcmp(bus, "ide.0") && strcmp(bus, "ide.1")) return "bus= is ide.0 or ide.1";
  if (serial && strlen(serial) > 20) return "serial= has up to 20 letters";
  if (strlen(model) > 40) return "model= has up to 40 letters";
  return strlen(version) > 8 ? "ver= has up to 8 letters" : NULL;
}

static const char *hd_check(const void *properties) {
  const struct ide_hd_properties *p = properties;
  unsigned given = (p->cylinders != ANY) + (p->heads != ANY) + (p->sectors != ANY);
  if (given && given < 3) return "cyls=, heads= and secs= are given together";
  if (p->physical_block_size & (p->physical_block_size - 1)) return "physical_block_size= is a power of two";
  return unfit_text(p->bus, p->serial, p->model, p->version);
}

static struct ide_geometry shape(uint32_t cylinders, uint32_t heads, uint32_t sectors) {
  bool fits = cylinders <= 1024 && sectors <= 63; /* what INT 13h can say */
  return (struct ide_geometry){cylinders, heads, sectors, fits ? IDE_TRANSLATION_NONE : IDE_TRANSLATION_LBA};
}

static struct ide_geometry geometry(const struct ide_hd_properties *p, const struct block_backend *b) {
  const struct block_geometry *said = &b->geometry;
  bool good = said->cylinders - 1 < 65535 && said->heads - 1 < 16 && said->sectors - 1 < 255;
  if (p->cylinders != ANY) return shape(p->cylinders, p->heads, p->sectors);
  if (good) return shape(said->cylinders, said->heads, said->sectors);
  return ide_guess_geometry(b->size / ATA_SECTOR, b->first_sector);
}

static void hd_reset(void *state) {
  struct ata_disk *s = state;
  ata_power_on(s);
}
static void hd_loaded(void *state) { ata_loaded(state); }
static void hd_destroy(void *state) { detach(&((struct hd *)state)->disk.drive); }
static bool hd_busy(void *state) { return ((struct hd *)state)->disk.drive.under_way; }

static const char *hd_make(void *state, const void *properties, const struct device_place *place, struct device *out) {
  const struct ide_hd_properties *p = properties;
  const struct block_front front = {.opaque = state};
  struct hd *s = state;
  struct ide_channel *c;
  unsigned number;
  if (!p->drive) return "ide-hd: it needs a drive=";
  if (p->drive->size < ATA_SECTOR) return "ide-hd: a hard disk needs a medium, and that has no sector";
  if (p->drive->read_only) return "ide-hd: a hard disk can be written to, and its drive= is read-only";
  const char *error = find_unit(place, p->bus, p->unit, &c, &number);
  if (!error) error = tell_boot_order(place, c, number, p->bootindex);
  if (error) return error;
  s->disk.properties = p;
  s->disk.sectors = p->drive->size / ATA_SECTOR;
  s->disk.geometry = geometry(p, p->drive);
  ide_drive_init(&s->disk.drive, &ata_kind, p->drive, ATA_SECTOR);
  attach(&s->disk.drive, c, number);
  s->disk.serial = serial_number(place, &s->disk.drive, p->serial, s->serial);
  block_connect(p->drive, &front);
  ata_power_on(&s->disk);
  *out = (struct device){"ide-hd", s, hd_fields, hd_reset, hd_loaded, hd_destroy, hd_busy};
  return NULL;
}

const struct device_type ide_hd_type = {.name = "ide-hd",
                                        .help = "hard disk on an IDE channel",
                                        .properties = hd_properties,
                                        .properties_size = sizeof(struct ide_hd_properties),
                                        .state_size = sizeof(struct hd),
                                        .check = hd_check,
                                        .make = hd_make};

/* ---- ide-cd ---- */

struct cd {
  struct atapi_cd cd; /* first */
  char serial[20];
};

static const struct field cd_fields[] = {IDE_DRIVE_FIELDS(atapi_cd, drive),
                                         FIELD(atapi_cd, transfer_mode),
                                         FIELD(atapi_cd, sense_key),
                                         FIELD(atapi_cd, sense_code),
                                         FIELD(atapi_cd, change),
                                         FIELD(atapi_cd, new_medium),
                                         FIELD(atapi_cd, eject_wanted),
                                         FIELD(atapi_cd, locked),
                                         FIELD(atapi_cd, tray_open),
                                         FIELD_ARRAY(atapi_cd, packet),
                                         FIELD(atapi_cd, is_packet),
                                         FIELD(atapi_cd, dma),
                                         FIELD(atapi_cd, raw),
                                         FIELD(atapi_cd, limit),
                                         FIELD_END};

static const struct property cd_properties[] = {
  PROPERTY(PROPERTY_DRIVE, ide_cd_properties, drive, "drive", NULL, "what is in it; without: a drive that stays empty"),
  PROPERTY(PROPERTY_TEXT, ide_cd_properties, bus, "bus", NULL, "ide.0 or ide.1; without: the first with room"),
  PROPERTY_RANGE(PROPERTY_NUMBER, ide_cd_properties, unit, "unit", 0, 1, NULL,
                 "0 master, 1 slave; without: the first that is free"),
  PROPERTY(PROPERTY_TEXT, ide_cd_properties, serial, "serial", NULL, "serial number, up to 20 letters"),
  PROPERTY(PROPERTY_TEXT, ide_cd_properties, model, "model", "QEMU DVD-ROM", "name, up to 40 letters"),
  PROPERTY(PROPERTY_TEXT, ide_cd_properties, version, "ver", "2.5+", "firmware, up to 8 letters"),
  PROPERTY(PROPERTY_NUMBER, ide_cd_properties, wwn, "wwn", "0", "world wide name (0: none)"),
  PROPERTY(PROPERTY_NUMBER, ide_cd_properties, bootindex, "bootindex", NULL, "a BIOS tries the lowest first"),
  PROPERTY_END,
};

static const char *cd_check(const void *properties) {
  const struct ide_cd_properties *p = properties;
  return unfit_text(p->bus, p->serial, p->model, p->version);
}

static void cd_reset(void *state) { atapi_power_on(state); }
static void cd_loaded(void *state) { atapi_loaded(state); }
static void cd_destroy(void *state) { detach(&((struct cd *)state)->cd.drive); }
static bool cd_busy(void *state) { return ((struct cd *)state)->cd.drive.under_way; }

static const char *cd_make(void *state, const void *properties, const struct device_place *place, struct device *out) {
  const struct ide_cd_properties *p = properties;
  const struct block_front front = {.opaque = state, .medium = atapi_medium, .eject_wanted = atapi_eject_wanted};
  struct cd *s = state;
  struct ide_channel *c;
  unsigned number;
  const char *error = find_unit(place, p->bus, p->unit, &c, &number);
  if (!error) error = tell_boot_order(place, c, number, p->bootindex);
  if (error) return error;
  s->cd.properties = p;
  ide_drive_init(&s->cd.drive, &atapi_kind, p->drive, CD_SECTOR);
  attach(&s->cd.drive, c, number);
  s->cd.serial = serial_number(place, &s->cd.drive, p->serial, s->serial);
  block_connect(p->drive, &front);
  atapi_power_on(&s->cd);
  *out = (struct device){"ide-cd", s, cd_fields, cd_reset, cd_loaded, cd_destroy, cd_busy};
  return NULL;
}

const struct device_type ide_cd_type = {.name = "ide-cd",
                                        .help = "CD or DVD drive on an IDE channel",
                                        .properties = cd_properties,
                                        .properties_size = sizeof(struct ide_cd_properties),
                                        .state_size = sizeof(struct cd),
                                        .check = cd_check,
                                        .make = cd_make};
