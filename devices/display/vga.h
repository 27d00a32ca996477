/* The standard VGA: a PCI card (1234:1111, QEMU's and Bochs' "std") with 16 MiB of video memory, the registers and modes of IBM's
 * VGA and the Bochs VBE extensions. vga.c says where what is. */
#pragma once
#include "../backend.h"
#include "../bus.h"
#include "../chips/pci.h"

struct vga;
struct vga_config {
  struct display_backend *screen; /* NULL: nobody ever shows it */
  const uint8_t *rom;             /* its BIOS, at most 64 KiB; it is copied. NULL: the card has none */
  uint32_t rom_size;
};
/* In slot `devfn`. *s (vga_state.h) is the caller's, and stays until the bus has been destroyed. No name: the host has no memory
 * for the card's. */
struct device vga_init(struct vga *s, const struct vga_config *config, uint8_t devfn, struct pci *pci, struct io_bus *io,
                       struct mmu *mmu, struct clock *clock);
/* What its BIOS leaves, where none is run (-kernel): text mode 3, an empty screen, and of the BIOS's ROM the font. */
void vga_leave_as_bios(struct vga *s);
