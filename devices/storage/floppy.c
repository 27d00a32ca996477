/* Floppy drives, and the formats of what is in them.
 *
 * Owns the table of formats: a medium has the one of its size, for an image says nothing else of itself. An image of a size that
 * no format has is one of 1.44M, or of 2.88M if it is larger than that, which ends early: hobbyists' boot sectors are such. Rates
 * are QEMU's, which SeaBIOS looks for: 300 kbit/s for nine sectors on 5.25", since drives of 1.2M turn at 360 a minute, but 250
 * for eight. Any medium is read in any drive that has its rate, whatever its size in inches.
 *
 * Missing: deleted data marks, sectors of other sizes than 512 bytes, tracks of their own formats (images cannot say so).
 */
#include "floppy.h"
#include <stdio.h>
#include <string.h>

static const struct floppy_format formats[] = {
  /* clang-format off */
  {8, 40, 1, FLOPPY_360K},   /* 160K */
  {9, 40, 1, FLOPPY_360K},   /* 180K */
  {8, 40, 2, FLOPPY_360K},   /* 320K */
  {9, 40, 2, FLOPPY_360K},   /* 360K */
  {10, 41, 2, FLOPPY_360K}, {10, 42, 2, FLOPPY_360K},
  {9, 80, 2, FLOPPY_720K},
  {10, 80, 2, FLOPPY_720K}, {10, 82, 2, FLOPPY_720K}, {10, 83, 2, FLOPPY_720K}, {13, 80, 2, FLOPPY_720K}, {14, 80, 2, FLOPPY_720K},
  {11, 80, 2, FLOPPY_720K},
  {15, 80, 2, FLOPPY_1200K},
  {18, 80, 2, FLOPPY_1440K},
  {18, 82, 2, FLOPPY_1440K}, {18, 83, 2, FLOPPY_1440K}, {20, 80, 2, FLOPPY_1440K},
  {21, 80, 2, FLOPPY_1440K}, /* 1.68M: Microsoft's DMF */
  {21, 82, 2, FLOPPY_1440K}, {21, 83, 2, FLOPPY_1440K}, {22, 80, 2, FLOPPY_1440K}, {23, 80, 2, FLOPPY_1440K},
  {24, 80, 2, FLOPPY_1440K},
  {36, 80, 2, FLOPPY_2880K},
  {39, 80, 2, FLOPPY_2880K}, {40, 80, 2, FLOPPY_2880K}, {44, 80, 2, FLOPPY_2880K}, {FLOPPY_MOST_SECTORS, 80, 2, FLOPPY_2880K},
  /* clang-format on */
};

static uint32_t sectors_of(const struct floppy_format *f) { return (uint32_t)f->sectors * f->cylinders * f->heads; }

static struct floppy_format format_of(const struct block_backend *b) {
  static const struct floppy_format none = {0}, ordinary = {18, 80, 2, FLOPPY_1440K}, large = {36, 80, 2, FLOPPY_2880K};
  if (!b || !b->present || !b->size) return none;
  uint64_t sectors = b->size / FLOPPY_SECTOR;
  for (unsigned i = 0; i < sizeof formats / sizeof *formats; i++)
    if (sectors_of(&formats[i]) == sectors) return formats[i];
  return sectors < sectors_of(&ordinary) ? ordinary : large;
}

/* A machine has drives of 1.2M where it has media of 360K: those read both. */
static enum floppy_type type_for(const struct floppy_format *f) {
  switch (f->type) {
  case FLOPPY_360K: return FLOPPY_1200K;
  case FLOPPY_720K: return FLOPPY_1440K;
  case FLOPPY_NONE: return FLOPPY_2880K;
  default: return f->type;
  }
}

void floppy_attach(struct floppy_drive *d, enum floppy_type type, struct block_backend *backend) {
  struct floppy_format format = format_of(backend);
  *d =
    (struct floppy_drive){.attached = true, .type = type, .backend = backend, .format = format, .changed = 1, .next_sector = 1};
  if (type == FLOPPY_AUTO) d->type = type_for(&format);
}

void floppy_changed(struct floppy_drive *d) {
  d->format = format_of(d->backend);
  d->media++;
  d->changed = 1;
  d->next_sector = 1;
}

void floppy_stepped(struct floppy_drive *d) {
  if (floppy_has_medium(d)) d->changed = 0;
}

bool floppy_reads_at(const struct floppy_drive *d, enum floppy_rate rate) {
  bool slow = d->type == FLOPPY_360K || d->type == FLOPPY_720K;
  switch (d->format.type) {
  case FLOPPY_360K:
    if (d->type == FLOPPY_360K) return rate == FLOPPY_250K || rate == FLOPPY_300K;
    return rate == (d->type == FLOPPY_1200K && d->format.sectors != 8 ? FLOPPY_300K : FLOPPY_250K);
  case FLOPPY_720K: return d->type != FLOPPY_360K && rate == FLOPPY_250K;
  case FLOPPY_1200K:
  case FLOPPY_1440K: return !slow && rate == FLOPPY_500K;
  case FLOPPY_2880K: return d->type == FLOPPY_2880K && rate == FLOPPY_1M;
  default: return false;
  }
}

bool floppy_is_over(const struct floppy_drive *d, unsigned at, unsigned c) {
  bool twice = d->format.type == FLOPPY_360K && d->type != FLOPPY_360K;
  return at == c || (twice && at == 2 * c);
}

uint32_t floppy_lba(const struct floppy_drive *d, unsigned cylinder, unsigned head, unsigned sector) {
  const struct floppy_format *f = &d->format;
  if (cylinder >= f->cylinders || head >= f->heads || sector - 1 >= f->sectors) return UINT32_MAX;
  uint32_t lba = (cylinder * f->heads + head) * f->sectors + sector - 1;
  return lba < d->backend->size / FLOPPY_SECTOR ? lba : UINT32_MAX;
}

/* ---- -device floppy ---- */

static const struct property properties[] = {
  PROPERTY(PROPERTY_DRIVE, floppy_properties, drive, "drive", NULL, "what is in it; without, it stays empty"),
  PROPERTY_RANGE(PROPERTY_NUMBER, floppy_properties, unit, "unit", 0, 1, NULL, "0: A:, 1: B:"),
  PROPERTY_RANGE(PROPERTY_NUMBER, floppy_properties, bootindex, "bootindex", 0, UINT32_MAX - 1, NULL,
                 "its place in the firmware's order"),
  PROPERTY(PROPERTY_TEXT, floppy_properties, drive_type, "drive-type", "auto",
           "360, 120, 720, 144, 288 (capacity), or by the medium"),
  PROPERTY_END,
};

/* FLOPPY_NONE: there is no such type. QEMU's names, and two that it lacks. */
static enum floppy_type type_named(const char *name) {
  static const struct {
    const char *name;
    enum floppy_type type;
  } names[] = {{"auto", FLOPPY_AUTO}, {"360", FLOPPY_360K},  {"120", FLOPPY_1200K},
               {"720", FLOPPY_720K},  {"144", FLOPPY_1440K}, {"288", FLOPPY_2880K}};
  for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
    if (!strcmp(names[i].name, name)) return names[i].type;
  return FLOPPY_NONE;
}

static const char *check(const void *properties_) {
  const struct floppy_properties *p = properties_;
  return type_named(p->drive_type) == FLOPPY_NONE ? "drive-type is 360, 120, 720, 144, 288 or auto" : NULL;
}

static void reset(void *state) { (void)state; }

/* All of a drive's state is in the controller. */
static const char *make(void *state, const void *properties_, const struct device_place *place, struct device *out) {
  static const struct field none[] = {FIELD_END};
  const struct floppy_properties *p = properties_;
  uint32_t unit = p->unit;
  char path[64];
  const char *error = place->floppy(place->opaque, &unit, type_named(p->drive_type), p->drive);
  if (error) return error;
  *out = (struct device){.name = "floppy", .state = state, .fields = none, .reset = reset};
  snprintf(path, sizeof path, "/pci@i0cf8/isa@1/fdc@03f0/floppy@%u", unit);
  return place->boot_path(place->opaque, p->bootindex, path);
}

const struct device_type floppy_type = {
  .name = "floppy",
  .help = "a floppy drive",
  .properties = properties,
  .properties_size = sizeof(struct floppy_properties),
  .state_size = 1,
  .check = check,
  .make = make,
};
