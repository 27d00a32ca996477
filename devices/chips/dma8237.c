/* 8237A DMA controllers (ports 00h-0Fh, C0h-DFh) and page registers (80h-8Fh). Intel 8237A data sheet.
 *
 * Only what probing drivers look at: registers keep what is written, the byte pointer flip-flop works, the mask is all ones after
 * a reset or master clear. Missing: transfers. No device asks for any, so terminal count and request bits never come up.
 */
#include "dma8237.h"

enum { COMMAND = 8, REQUEST, MASK_ONE, MODE, CLEAR_FLIP_FLOP, MASTER_CLEAR, CLEAR_MASK, MASK_ALL };

static const struct field fields[] = {
#define CHIP(n) \
  FIELD_ARRAY(dma8237, chip[n].base), FIELD_ARRAY(dma8237, chip[n].current), FIELD_ARRAY(dma8237, chip[n].mode), \
    FIELD(dma8237, chip[n].command), FIELD(dma8237, chip[n].mask), FIELD(dma8237, chip[n].request), \
    FIELD(dma8237, chip[n].flip_flop)
  CHIP(0), CHIP(1), FIELD_ARRAY(dma8237, page), FIELD_END
#undef CHIP
};

static void master_clear(struct dma8237_chip *c) {
  c->command = c->request = c->flip_flop = 0;
  c->mask = 0x0f;
}

static uint8_t chip_read(struct dma8237_chip *c, unsigned reg) {
  if (reg >= 8)
    return reg == MASK_ALL ? c->mask | 0xf0 : 0; /* status: nothing requested, no terminal count; temporary register: 0 */
  uint8_t value = (uint8_t)(c->current[reg] >> (c->flip_flop ? 8 : 0));
  c->flip_flop ^= 1;
  return value;
}

static void write_word(struct dma8237_chip *c, unsigned reg, uint8_t value) {
  unsigned shift = c->flip_flop ? 8 : 0;
  c->base[reg] = (uint16_t)((c->base[reg] & ~(0xff << shift)) | value << shift);
  c->current[reg] = c->base[reg];
  c->flip_flop ^= 1;
}

static void chip_write(struct dma8237_chip *c, unsigned reg, uint8_t value) {
  uint8_t bit = (uint8_t)(1 << (value & 3));
  switch (reg) {
  case COMMAND: c->command = value; break;
  case REQUEST: c->request = value & 4 ? c->request | bit : c->request & (uint8_t)~bit; break;
  case MASK_ONE: c->mask = value & 4 ? c->mask | bit : c->mask & (uint8_t)~bit; break;
  case MODE: c->mode[value & 3] = value; break;
  case CLEAR_FLIP_FLOP: c->flip_flop = 0; break;
  case MASTER_CLEAR: master_clear(c); break;
  case CLEAR_MASK: c->mask = 0; break;
  case MASK_ALL: c->mask = value & 0x0f; break;
  default: write_word(c, reg, value);
  }
}

static uint32_t read_first(void *dev, uint16_t offset, unsigned size) {
  return chip_read(&((struct dma8237 *)dev)->chip[0], offset & 15);
}
static uint32_t read_second(void *dev, uint16_t offset, unsigned size) {
  return chip_read(&((struct dma8237 *)dev)->chip[1], offset >> 1 & 15);
}
static void write_first(void *dev, uint16_t offset, unsigned size, uint32_t v) {
  chip_write(&((struct dma8237 *)dev)->chip[0], offset & 15, (uint8_t)v);
}
static void write_second(void *dev, uint16_t offset, unsigned size, uint32_t v) {
  chip_write(&((struct dma8237 *)dev)->chip[1], offset >> 1 & 15, (uint8_t)v);
}
static uint32_t read_page(void *dev, uint16_t offset, unsigned size) { return ((struct dma8237 *)dev)->page[offset & 15]; }
static void write_page(void *dev, uint16_t offset, unsigned size, uint32_t v) {
  ((struct dma8237 *)dev)->page[offset & 15] = (uint8_t)v;
}

static void reset(void *state) {
  struct dma8237 *s = state;
  master_clear(&s->chip[0]);
  master_clear(&s->chip[1]);
}

static void loaded(void *state) {
  struct dma8237 *s = state;
  for (unsigned i = 0; i < 2; i++) {
    s->chip[i].flip_flop &= 1;
    s->chip[i].mask &= 0x0f;
  }
}

struct device dma8237_init(struct dma8237 *s, struct io_bus *io) {
  static const struct io_ops first = {read_first, write_first, 1}, second = {read_second, write_second, 1},
                             page = {read_page, write_page, 1};
  *s = (struct dma8237){0};
  reset(s);
  io_bus_add(io, 0x00, 16, &first, s, "dma-1");
  io_bus_add(io, 0xc0, 32, &second, s, "dma-2");
  io_bus_add(io, 0x80, 16, &page, s, "dma-page");
  return (struct device){"dma8237", s, fields, reset, loaded, 0, 0};
}
