/* Intel 440FX: host bridge and memory controller, function 00:00.0 (i440fx.c). */
#pragma once
#include "pci.h"

enum { I440FX_SEGMENTS = 13 }; /* C0000h-EFFFFh by 16 KiB, then F0000h-FFFFFh */

struct i440fx {
  struct pci_function function;
  struct mmu *mmu;
  struct mmu_area *socket;                   /* ones, where there is no BIOS */
  struct mmu_area *rom[I440FX_SEGMENTS];     /* what reads find that PAM keeps from RAM */
  struct mmu_area *guarded[I440FX_SEGMENTS]; /* RAM whose stores PAM keeps from it */
  struct mmu_area *smram;                    /* RAM in the place of the VGA's window */
};

/* bios: the ROM, of whole 64 KiB, which stays longer than the bridge; NULL: none. No name: the host has no memory for the areas.
 */
struct device i440fx_init(struct i440fx *s, struct pci *pci, struct mmu *mmu, struct mmu_area *bios);
