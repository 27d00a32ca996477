/* What a BIOS has done to the chips when it starts a kernel (handover.c). */
#pragma once
#include "../bus.h"

/* For machines without a firmware, right after a reset. Everything is written through the buses, as a BIOS does it, and only to
 * what is found there. */
void handover_write(struct io_bus *io, struct mmu *mmu);
/* The VGA in slot `devfn`, which is there: its regions are placed and decoded. */
void handover_place_vga(struct io_bus *io, uint8_t devfn);
