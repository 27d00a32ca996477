/* What a machine's firmware is, and what it is told: the machine (bt/) makes it of the command line and of files, the PC gives it
 * to the guest (bios_rom.c, fw_cfg.c, cmos.c). */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "boot_order.h"

struct firmware_file { /* as fw_cfg shows it */
  const char *name;    /* "genroms/ipxe.rom": less than 56 characters */
  const uint8_t *bytes;
  uint32_t size;
  uint32_t bootindex; /* an option ROM's; BOOT_NOWHERE: none */
};

enum { BIOS_UNIT = 64 << 10, BIOS_MAX = 16 << 20 /* what is above the chips' windows (../map.h), by QEMU's unit */ };
enum firmware_switch { FIRMWARE_UNSAID, FIRMWARE_OFF, FIRMWARE_ON };

/* Everything is the machine's and outlives the PC. */
struct firmware_config {
  const uint8_t *bios; /* the ROM, of whole BIOS_UNITs */
  uint32_t bios_size;
  const struct firmware_file *files; /* beside those that the PC makes itself */
  unsigned file_count;
  const char *boot_order, *boot_once; /* letters of -boot: a, b (floppy), c (disk), d (CD), n, o, p (network); NULL: not said */
  enum firmware_switch boot_menu, boot_strict;
  int32_t splash_time, reboot_timeout; /* ms; below 0: not said, for ever */
  bool no_screen;                      /* -nographic: the firmware's text goes to the first serial port */
  bool floppy_unchecked;               /* -no-fd-bootchk */
};
