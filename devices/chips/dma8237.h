/* The register file of the PC's two 8237A DMA controllers and its page registers. No transfers. */
#pragma once
#include "../bus.h"

struct dma8237_chip {
  uint16_t base[8], current[8]; /* address, count of channel 0, ... of channel 3 */
  uint8_t mode[4], command, mask, request, flip_flop;
};
struct dma8237 {
  struct dma8237_chip chip[2];
  uint8_t page[16]; /* ports 80h-8Fh; 80h is the POST code and everybody's delay port */
};
struct device dma8237_init(struct dma8237 *s, struct io_bus *io);
