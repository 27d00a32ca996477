/* The BIOS's ROM at the top of 4 GiB (bios_rom.c). */
#pragma once
#include "../bus.h"
#include "firmware.h"

struct bios_rom {
  struct mmu *mmu;
  struct mmu_area *area;
};

/* No name: the host has no memory for it. */
struct device bios_rom_init(struct bios_rom *s, struct mmu *mmu, const struct firmware_config *config);
