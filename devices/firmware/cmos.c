/* What a PC's CMOS memory tells its firmware of drives and of the order in which they are booted: the bytes as IBM's AT has them,
 * and QEMU's, which SeaBIOS reads (src/hw/rtc.h, src/hw/floppy.c, src/block.c, src/boot.c). The memory's size is the clock chip's
 * own (chips/mc146818.c). Missing: what a guest stores there itself, which is lost with the machine.
 */
#include "cmos.h"
#include <string.h>

enum {
  FLOPPIES = 0x10,
  DISK_TYPES = 0x12,
  EQUIPMENT = 0x14,
  DISK_TYPE_C = 0x19,
  GEOMETRY_C = 0x1b,
  GEOMETRY_D = 0x24,
  CHECKSUM = 0x2e,
  BOOT_THIRD = 0x38, /* high half; bit 0: floppies without a signature are started */
  TRANSLATION = 0x39,
  BOOT_FIRST = 0x3d, /* low half; the second in the high one */
};
enum { SUMMED_FROM = 0x10, USER_DEFINED = 47 /* the type of a disk whose geometry stands beside it */ };

static void put_checksum(uint8_t cmos[128]) {
  unsigned sum = 0;
  for (unsigned i = SUMMED_FROM; i < CHECKSUM; i++) sum += cmos[i];
  cmos[CHECKSUM] = (uint8_t)(sum >> 8);
  cmos[CHECKSUM + 1] = (uint8_t)sum;
}

/* Equipment: bit 0: there are drives; bits 6 and 7: how many, less one. */
void cmos_set_floppies(uint8_t cmos[128], enum cmos_floppy a, enum cmos_floppy b) {
  unsigned drives = (a != CMOS_NO_FLOPPY) + (b != CMOS_NO_FLOPPY);
  cmos[FLOPPIES] = (uint8_t)(a << 4 | b);
  cmos[EQUIPMENT] = (uint8_t)((cmos[EQUIPMENT] & ~0xc1u) | (drives ? 1 | (drives - 1) << 6 : 0));
  put_checksum(cmos);
}

/* Cylinders, heads, write precompensation: none (FFFFh), control (bit 3: more than eight heads), landing zone, sectors. */
static void put_geometry(uint8_t *at, const struct cmos_disk *d) {
  memset(at, 0, 9);
  if (!d->sectors) return;
  at[0] = (uint8_t)d->cylinders, at[1] = (uint8_t)(d->cylinders >> 8);
  at[2] = d->heads;
  at[3] = at[4] = 0xff;
  at[5] = (uint8_t)(0xc0 | (d->heads > 8) << 3);
  at[6] = at[0], at[7] = at[1];
  at[8] = d->sectors;
}

void cmos_set_disks(uint8_t cmos[128], const struct cmos_disk disks[4]) {
  bool c = disks[0].sectors, d = disks[1].sectors;
  cmos[DISK_TYPES] = (uint8_t)((c ? 0xf0 : 0) | (d ? 0x0f : 0)); /* the type itself is behind, as it is above 14 */
  cmos[DISK_TYPE_C] = c ? USER_DEFINED : 0;
  cmos[DISK_TYPE_C + 1] = d ? USER_DEFINED : 0;
  put_geometry(cmos + GEOMETRY_C, &disks[0]);
  put_geometry(cmos + GEOMETRY_D, &disks[1]);
  cmos[TRANSLATION] = 0;
  for (unsigned i = 0; i < 4; i++) cmos[TRANSLATION] |= (uint8_t)((disks[i].sectors ? disks[i].translation & 3u : 0) << 2 * i);
  put_checksum(cmos);
}

static unsigned boot_code(char letter) {
  switch (letter) {
  case 'a':
  case 'b': return 1;
  case 'c': return 2;
  case 'd': return 3;
  case 'n': return 4;
  default: return 0; /* others a PC's firmware knows nothing of */
  }
}

void cmos_set_boot(uint8_t cmos[128], const char *order, bool floppy_unchecked) {
  unsigned code[3] = {0};
  if (!order) order = "cad";
  for (unsigned i = 0; i < 3 && order[i]; i++) code[i] = boot_code(order[i]);
  cmos[BOOT_FIRST] = (uint8_t)(code[1] << 4 | code[0]);
  cmos[BOOT_THIRD] = (uint8_t)(code[2] << 4 | floppy_unchecked);
}
