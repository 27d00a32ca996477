/* What a PC's CMOS memory tells its firmware (cmos.c). All functions write to the 128 bytes behind ports 70h and 71h, and put the
 * checksum right. */
#pragma once
#include "firmware.h"

/* Types of drives, as the two halves of byte 10h have them. */
enum cmos_floppy { CMOS_NO_FLOPPY, CMOS_360K, CMOS_1200K, CMOS_720K, CMOS_1440K, CMOS_2880K };
/* The drives that the floppy controller has; also the equipment byte. */
void cmos_set_floppies(uint8_t cmos[128], enum cmos_floppy a, enum cmos_floppy b);

enum cmos_translation { CMOS_NO_TRANSLATION, CMOS_LBA, CMOS_LARGE, CMOS_RECHS };
struct cmos_disk { /* an IDE hard disk: its geometry as the disk itself tells it */
  uint16_t cylinders;
  uint8_t heads, sectors; /* sectors 0: there is no such disk */
  enum cmos_translation translation;
};
/* The four of both channels, in their order. */
void cmos_set_disks(uint8_t cmos[128], const struct cmos_disk disks[4]);

/* The letters of -boot order= (NULL: "cad", QEMU's), and whether a floppy without a boot sector's signature is started too. */
void cmos_set_boot(uint8_t cmos[128], const char *order, bool floppy_unchecked);
