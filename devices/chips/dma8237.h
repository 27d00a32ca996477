/* The PC's two 8237A DMA controllers and their page registers. */
#pragma once
#include "../bus.h"
#include "../isa_dma.h"

struct dma8237_chip {
  uint16_t base[8], current[8]; /* address, count of channel 0, ... of channel 3 */
  uint8_t mode[4], command, mask, flip_flop;
  uint8_t request;  /* bit by channel: by software, */
  uint8_t dreq;     /* by the channel's device */
  uint8_t finished; /* bit by channel: terminal count reached since the status was read */
};
struct dma8237 {
  struct dma8237_chip chip[2]; /* channels 0 to 3, of bytes; 4 to 7, of words, of which 4 cascades the first chip */
  uint8_t page[16];            /* ports 80h-8Fh; 80h is the POST code and everybody's delay port */
  struct isa_dma_user user[8];
  struct mmu *mmu;
};
struct device dma8237_init(struct dma8237 *s, struct io_bus *io, struct mmu *mmu);
/* Channel `n` of 0 to 7 for a device, which is made after the controller and ended before it. */
struct isa_dma dma8237_channel(struct dma8237 *s, unsigned n);
