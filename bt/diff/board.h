/* The chips of our side's machine in `bt diff` that change the memory map (board.c). */
#pragma once
#include "../../devices/chips/i440fx.h"
#include "../../devices/firmware/bios_rom.h"
#include "../boot/roms.h"

struct board {
  struct roms roms;
  struct io_bus *io;
  struct pci pci;
  struct bios_rom bios;
  struct i440fx host;
  struct device devices[3];
  unsigned count;
};

/* For a machine without a -kernel, as after a reset. False: `error`; board_close() in either case. */
bool board_open(struct board *b, const struct bt_options *options, struct mmu *mmu, char error[ERROR_TEXT]);
void board_close(struct board *b);
/* Of our side's guest, whatever the port. */
void board_write(struct board *b, uint16_t port, unsigned size, uint32_t value);
