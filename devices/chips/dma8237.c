/* 8237A DMA controllers (ports 00h-0Fh, C0h-DFh) and page registers (80h-8Fh). Intel 8237A data sheet; the page registers and the
 * second chip's word addresses as in IBM's AT technical reference.
 *
 * Owns the registers of both chips, which channel asks for service, and who stands behind it. A transfer is as fast as its
 * device: a device that asks is acknowledged as soon as its channel may run, and moves what it has at once. So single, demand and
 * block mode are the same to see. Addresses wrap within their 64 KiB (128 KiB of words), since the page register is no counter.
 * Requests by software (block mode only, as on the chip) run to the terminal count with nobody behind them: memory that they
 * write gets FFh.
 *
 * Deviations: channels 0 to 3 do not need channel 4 to be a cascade and unmasked, which QEMU's do not either. Memory-to-memory
 * transfers are refused, as PCs cannot do them (channel 0 has no page of its own for the second address). Priorities, timing and
 * the senses of DREQ and DACK are kept in the command register and have no effect. Port 0Fh reads as the mask (a PIIX3; the chip
 * has nothing there).
 */
#include "dma8237.h"
#include <string.h>

enum { COMMAND = 8, REQUEST, MASK_ONE, MODE, CLEAR_FLIP_FLOP, MASTER_CLEAR, CLEAR_MASK, MASK_ALL };
enum { COMMAND_MEMORY_TO_MEMORY = 1 << 0, COMMAND_DISABLE = 1 << 2 };
enum { MODE_WRITE = 1 << 2, MODE_READ = 1 << 3, MODE_TRANSFER = MODE_WRITE | MODE_READ /* neither: verify */ };
enum { MODE_AUTO_INIT = 1 << 4, MODE_DECREMENT = 1 << 5, MODE_KIND = 3 << 6, MODE_BLOCK = 2 << 6, MODE_CASCADE = 3 << 6 };
enum { SET_BIT = 4 /* of the request and single mask registers: set the bit of channel 0-3, else clear it */ };
enum { ADDRESS = 0, COUNT = 1 };

static const struct field fields[] = {
#define CHIP(n) \
  FIELD_ARRAY(dma8237, chip[n].base), FIELD_ARRAY(dma8237, chip[n].current), FIELD_ARRAY(dma8237, chip[n].mode), \
    FIELD(dma8237, chip[n].command), FIELD(dma8237, chip[n].mask), FIELD(dma8237, chip[n].flip_flop), \
    FIELD(dma8237, chip[n].request), FIELD(dma8237, chip[n].dreq), FIELD(dma8237, chip[n].finished)
  CHIP(0), CHIP(1), FIELD_ARRAY(dma8237, page), FIELD_END
#undef CHIP
};

/* ---- transfers ---- */

static struct dma8237_chip *chip_of(struct dma8237 *s, unsigned channel) { return &s->chip[channel / 4]; }
static unsigned unit_of(unsigned channel) { return channel < 4 ? 1 : 2; }

/* May a device's request be served? */
static bool runs(struct dma8237 *s, unsigned channel) {
  const struct dma8237_chip *c = chip_of(s, channel);
  unsigned n = channel % 4;
  return !(c->command & COMMAND_DISABLE) && !(c->mask >> n & 1) && (c->mode[n] & MODE_KIND) != MODE_CASCADE;
}

/* The port of each channel's page register, less 80h; channel 0's also serves memory refresh. */
static const uint8_t page_of[8] = {0x7, 0x3, 0x1, 0x2, 0xf, 0xb, 0x9, 0xa};

static gpa address_of(struct dma8237 *s, unsigned channel) {
  uint64_t address = chip_of(s, channel)->current[2 * (channel % 4) + ADDRESS], page = s->page[page_of[channel]];
  return channel < 4 ? to_gpa(page << 16 | address) : to_gpa((page & 0xfe) << 16 | address << 1);
}

/* How many units can be moved by one access to memory: to the terminal count, and to where the address wraps. */
static uint32_t run_length(const struct dma8237_chip *c, unsigned n, uint32_t wanted) {
  uint32_t most = (uint32_t)c->current[2 * n + COUNT] + 1, to_end = 0x10000u - c->current[2 * n + ADDRESS];
  if (c->mode[n] & MODE_DECREMENT) to_end = 1;
  if (wanted < most) most = wanted;
  return most < to_end ? most : to_end;
}

/* Counts `units`; true at the terminal count. */
static bool count(struct dma8237_chip *c, unsigned n, uint32_t units) {
  bool last = c->current[2 * n + COUNT] < units;
  c->current[2 * n + COUNT] = (uint16_t)(c->current[2 * n + COUNT] - units);
  c->current[2 * n + ADDRESS] = (uint16_t)(c->current[2 * n + ADDRESS] + (c->mode[n] & MODE_DECREMENT ? -units : units));
  if (!last) return false;
  c->finished |= (uint8_t)(1 << n);
  c->request &= (uint8_t) ~(1 << n);
  if (c->mode[n] & MODE_AUTO_INIT) memcpy(&c->current[2 * n], &c->base[2 * n], sizeof(uint16_t[2]));
  else c->mask |= (uint8_t)(1 << n);
  return true;
}

static void move(struct dma8237 *s, unsigned channel, uint8_t *bytes, uint32_t size) {
  switch (chip_of(s, channel)->mode[channel % 4] & MODE_TRANSFER) {
  case MODE_WRITE: mmu_dma_write(s->mmu, address_of(s, channel), bytes, size); break;
  case MODE_READ: mmu_dma_read(s->mmu, address_of(s, channel), bytes, size); break;
  }
}

/* A channel that verifies goes along with either direction. */
static bool fits(uint8_t mode, enum isa_dma_direction direction) {
  uint8_t is = mode & MODE_TRANSFER;
  return !is || is == (direction == ISA_DMA_TO_MEMORY ? MODE_WRITE : MODE_READ);
}

static unsigned transfer(void *opaque, unsigned channel, enum isa_dma_direction direction, uint8_t *bytes, unsigned size,
                         bool *last) {
  struct dma8237 *s = opaque;
  struct dma8237_chip *c = chip_of(s, channel);
  unsigned n = channel % 4, unit = unit_of(channel), done = 0;
  if (!runs(s, channel) || !fits(c->mode[n], direction)) return 0;
  if (direction == ISA_DMA_FROM_MEMORY && !(c->mode[n] & MODE_TRANSFER)) memset(bytes, 0xff, size);
  while (!*last && size - done >= unit) {
    uint32_t units = run_length(c, n, (size - done) / unit);
    move(s, channel, bytes + done, units * unit);
    *last = count(c, n, units);
    done += units * unit;
  }
  return done;
}

/* The device is told again where it still asks: what moved meanwhile may have left the channel free. */
static void acknowledge(struct dma8237 *s, unsigned channel) {
  const struct isa_dma_user *user = &s->user[channel];
  if (chip_of(s, channel)->dreq >> channel % 4 & 1 && user->acknowledge && runs(s, channel)) user->acknowledge(user->opaque);
}

static void request(void *opaque, unsigned channel, bool level) {
  struct dma8237_chip *c = chip_of(opaque, channel);
  uint8_t bit = (uint8_t)(1 << channel % 4);
  c->dreq = level ? c->dreq | bit : c->dreq & (uint8_t)~bit;
  if (level) acknowledge(opaque, channel);
}

static void connect(void *opaque, unsigned channel, const struct isa_dma_user *user) {
  struct dma8237 *s = opaque;
  s->user[channel] = user ? *user : (struct isa_dma_user){0};
}

/* A block that software asked for: nobody drives the bus. */
static void run_block(struct dma8237 *s, unsigned channel) {
  uint8_t floating[512];
  struct dma8237_chip *c = chip_of(s, channel);
  unsigned n = channel % 4, unit = unit_of(channel);
  if (c->command & COMMAND_DISABLE || (c->mode[n] & MODE_KIND) != MODE_BLOCK) return;
  if (!n && c->command & COMMAND_MEMORY_TO_MEMORY) return;
  for (bool last = false; !last;) {
    uint32_t units = run_length(c, n, sizeof floating / unit);
    memset(floating, 0xff, sizeof floating);
    move(s, channel, floating, units * unit);
    last = count(c, n, units);
  }
}

/* ---- ports ---- */

static void master_clear(struct dma8237_chip *c) {
  c->command = c->request = c->finished = c->flip_flop = 0;
  c->mask = 0x0f;
}

static uint8_t read_status(struct dma8237_chip *c) {
  uint8_t value = (uint8_t)((c->request | c->dreq) << 4 | c->finished);
  c->finished = 0;
  return value;
}

static uint8_t chip_read(struct dma8237 *s, unsigned which, unsigned reg) {
  struct dma8237_chip *c = &s->chip[which];
  if (reg == COMMAND) return read_status(c);
  if (reg > COMMAND) return reg == MASK_ALL ? c->mask | 0xf0 : 0; /* 0Dh, the temporary register: never used */
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

static void chip_write(struct dma8237 *s, unsigned which, unsigned reg, uint8_t value) {
  struct dma8237_chip *c = &s->chip[which];
  uint8_t bit = (uint8_t)(1 << (value & 3));
  switch (reg) {
  case COMMAND: c->command = value; break;
  case REQUEST:
    c->request = value & SET_BIT ? c->request | bit : c->request & (uint8_t)~bit;
    if (value & SET_BIT) run_block(s, which * 4 + (value & 3));
    break;
  case MASK_ONE: c->mask = value & SET_BIT ? c->mask | bit : c->mask & (uint8_t)~bit; break;
  case MODE: c->mode[value & 3] = value; break;
  case CLEAR_FLIP_FLOP: c->flip_flop = 0; break;
  case MASTER_CLEAR: master_clear(c); break;
  case CLEAR_MASK: c->mask = 0; break;
  case MASK_ALL: c->mask = value & 0x0f; break;
  default: write_word(c, reg, value); return;
  }
  for (unsigned n = 0; c->dreq && n < 4; n++) acknowledge(s, which * 4 + n);
}

static uint32_t read_first(void *dev, uint16_t offset, unsigned size) { return chip_read(dev, 0, offset & 15); }
static uint32_t read_second(void *dev, uint16_t offset, unsigned size) { return chip_read(dev, 1, offset >> 1 & 15); }
static void write_first(void *dev, uint16_t offset, unsigned size, uint32_t v) { chip_write(dev, 0, offset & 15, (uint8_t)v); }
static void write_second(void *dev, uint16_t offset, unsigned size, uint32_t v) {
  chip_write(dev, 1, offset >> 1 & 15, (uint8_t)v);
}
static uint32_t read_page(void *dev, uint16_t offset, unsigned size) { return ((struct dma8237 *)dev)->page[offset & 15]; }
static void write_page(void *dev, uint16_t offset, unsigned size, uint32_t v) {
  ((struct dma8237 *)dev)->page[offset & 15] = (uint8_t)v;
}

/* ---- life ---- */

/* Modes, addresses and pages stay, as on the chip. Devices lower their own requests. */
static void reset(void *state) {
  struct dma8237 *s = state;
  master_clear(&s->chip[0]);
  master_clear(&s->chip[1]);
}

static void loaded(void *state) {
  struct dma8237 *s = state;
  for (unsigned i = 0; i < 2; i++) {
    struct dma8237_chip *c = &s->chip[i];
    c->flip_flop &= 1;
    c->mask &= 0x0f, c->request &= 0x0f, c->dreq &= 0x0f, c->finished &= 0x0f;
  }
}

struct device dma8237_init(struct dma8237 *s, struct io_bus *io, struct mmu *mmu) {
  static const struct io_ops first = {read_first, write_first, 1}, second = {read_second, write_second, 1},
                             page = {read_page, write_page, 1};
  *s = (struct dma8237){.mmu = mmu};
  reset(s);
  io_bus_add(io, 0x00, 16, &first, s, "dma-1");
  io_bus_add(io, 0xc0, 32, &second, s, "dma-2");
  io_bus_add(io, 0x80, 16, &page, s, "dma-page");
  return (struct device){"dma8237", s, fields, reset, loaded, 0, 0};
}

struct isa_dma dma8237_channel(struct dma8237 *s, unsigned n) {
  return (struct isa_dma){s, n, connect, request, transfer};
}
