/* The chips of our side's machine in `bt diff` that change memory, for a guest that starts in its firmware (board.c). */
#pragma once
#include "../../devices/chips/dma8237.h"
#include "../../devices/chips/i440fx.h"
#include "../../devices/firmware/bios_rom.h"
#include "../../devices/storage/fdc.h"
#include "../boot/roms.h"
#include "board_drive.h"

struct board {
  struct roms roms;
  struct io_bus *io;
  struct clock *clock; /* goes on as the chips want it, so that nothing is ever under way */
  struct pci pci;
  struct bios_rom bios;
  struct i440fx host;
  struct dma8237 dma;
  struct fdc fdc;
  struct loop *loop; /* for their images; it has no thread */
  struct board_drive *floppies[FDC_DRIVES];
  struct device devices[5];
  unsigned count;
};

/* For a machine without a -kernel, as after a reset. False: `error`; board_close() in either case. */
bool board_open(struct board *b, const struct bt_options *options, struct mmu *mmu, char error[ERROR_TEXT]);
void board_close(struct board *b);
/* What our side's guest does, whatever the port: all that follows of it for memory is done when they return. */
void board_read(struct board *b, uint16_t port, unsigned size);
void board_write(struct board *b, uint16_t port, unsigned size, uint32_t value);
