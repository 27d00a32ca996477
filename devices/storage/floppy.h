/* Floppy drives and what is in them: types of drives, formats of media, -device floppy. The controller is fdc.h. */
#pragma once
#include "../backend.h"
#include "../bus.h"
#include "../device_type.h"

enum { FLOPPY_SECTOR = 512, FLOPPY_MOST_SECTORS = 48, FLOPPY_HEADS = 2 /* of any format */ };
enum floppy_type { /* the number is CMOS byte 10h's, and INT 13h's */
                   FLOPPY_NONE,
                   FLOPPY_360K,
                   FLOPPY_1200K,
                   FLOPPY_720K,
                   FLOPPY_1440K,
                   FLOPPY_2880K,
                   FLOPPY_AUTO /* by the medium that is in it when it is made; without one FLOPPY_2880K, which reads all of 3.5"
                                */
};
enum floppy_rate { FLOPPY_500K, FLOPPY_300K, FLOPPY_250K, FLOPPY_1M }; /* bits a second, as DSR and CCR say it */

struct floppy_format {
  uint8_t sectors, cylinders, heads; /* sectors of a track; 0: no medium */
  enum floppy_type type;             /* of the drive that it is for */
};

struct floppy_drive {
  bool attached;
  enum floppy_type type;
  struct block_backend *backend; /* NULL: never has a medium */
  struct floppy_format format;   /* follows from the medium */
  uint32_t media;                /* how many there have been */
  /* State. */
  uint8_t changed;     /* DSKCHG: the medium was taken out, and no step pulse has come since there is one again */
  uint8_t next_sector; /* the head will see this one next (READ ID) */
};

struct floppy_properties {
  struct block_backend *drive;
  uint32_t unit; /* UINT32_MAX: the first that is free */
  uint32_t bootindex;
  const char *drive_type;
};
extern const struct device_type floppy_type;

/* Leaves it as after power-on; `type` may be FLOPPY_AUTO. */
void floppy_attach(struct floppy_drive *d, enum floppy_type type, struct block_backend *backend);
/* The back end says that there is another medium now, or none. */
void floppy_changed(struct floppy_drive *d);
/* The head moved by at least one cylinder. */
void floppy_stepped(struct floppy_drive *d);
static inline bool floppy_has_medium(const struct floppy_drive *d) { return d->format.sectors; }
/* An empty drive says so, too, as QEMU's does. */
static inline bool floppy_is_protected(const struct floppy_drive *d) { return !floppy_has_medium(d) || d->backend->read_only; }
/* Can the medium be read at that rate? */
bool floppy_reads_at(const struct floppy_drive *d, enum floppy_rate rate);
/* Is a head at position `at` over cylinder `c` of the medium? A drive of 80 cylinders may step twice for each of 40. */
bool floppy_is_over(const struct floppy_drive *d, unsigned at, unsigned c);
/* The sector's number in the image, from 0; UINT32_MAX: the medium has no such sector, or the image ends before it. */
uint32_t floppy_lba(const struct floppy_drive *d, unsigned cylinder, unsigned head, unsigned sector /* from 1 */);
