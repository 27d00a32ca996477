/* The order of -device bootindex=, which a firmware reads as the file bootorder (boot_order.c). */
#pragma once
#include <stdint.h>

enum { BOOT_PATH = 160, BOOT_PLACES = 32, BOOT_NOWHERE = UINT32_MAX /* no bootindex */ };
struct boot_order {
  struct boot_place {
    uint32_t index;
    char path[BOOT_PATH];
  } place[BOOT_PLACES];
  unsigned count;
};

/* `path`: the device by its OpenFirmware name, as QEMU writes it ("/pci@i0cf8/ide@1,1/drive@0/disk@0"). NULL, or what is wrong, a
 * literal. */
const char *boot_order_add(struct boot_order *o, uint32_t index, const char *path);
/* A line for each, the lowest index first. `text`: BOOT_PLACES * BOOT_PATH + 1 bytes are enough. */
void boot_order_text(struct boot_order *o, char *text);
