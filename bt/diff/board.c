/* The chips of our side's machine in `bt diff` that change the memory map, for a guest that starts in its firmware: the BIOS's
 * ROM, and the host bridge, which shows it below 1 MiB and takes it away (PAM). What they answer is the reference's, as of all
 * devices: they only hear what the guest writes to PCI's configuration ports. Missing: BARs, behind which a card would have
 * memory.
 */
#include "board.h"
#include "../boot/boot.h"

enum { CONFIG_FIRST = 0xcf8, CONFIG_LAST = 0xcff };

static bool keep(struct board *b, struct device device) {
  if (device.name) b->devices[b->count++] = device;
  return device.name;
}

bool board_open(struct board *b, const struct bt_options *options, struct mmu *mmu, char error[ERROR_TEXT]) {
  *b = (struct board){.io = io_bus_create()};
  if (!roms_read(&b->roms, options, error)) return false;
  bool made = b->io && keep(b, pci_init(&b->pci, b->io, mmu, (struct irq_line){0})) &&
              keep(b, bios_rom_init(&b->bios, mmu, &b->roms.config)) &&
              keep(b, i440fx_init(&b->host, &b->pci, mmu, b->bios.area));
  if (!made) return boot_fail(error, "not enough memory");
  mmu_set_area_level(mmu, b->bios.area, MMU_LEVEL_IO + 1); /* over the window of what the reference answers */
  return true;
}

void board_close(struct board *b) {
  while (b->count) {
    const struct device *d = &b->devices[--b->count];
    if (d->destroy) d->destroy(d->state);
  }
  if (b->io) io_bus_destroy(b->io);
  roms_free(&b->roms);
}

void board_write(struct board *b, uint16_t port, unsigned size, uint32_t value) {
  if (port >= CONFIG_FIRST && port <= CONFIG_LAST) io_bus_write(b->io, port, size, value);
}
