/* What drivers of disks, CDs and floppies do, and what none does: task files, packets, bus masters, the floppy controller's
 * commands, the 8237As; with DMA to and from anywhere. */
#include "writer.h"

/* Where a transfer's memory may lie: RAM, its last bytes and those behind it, chips, ROM, tables that are being read. */
uint32_t some_dma_address(struct generator *g) {
  struct random *r = &g->r;
  switch (random_below(r, 9)) {
  case 0: return (uint32_t)g->ram_size - random_below(r, 3) * 0x800 - random_below(r, 32);
  case 1: return (uint32_t)g->ram_size + random_below(r, 0x10000);
  case 2: return 0u - random_below(r, 0x2000);
  case 3: return 0xa0000 + random_below(r, 0x60000);
  case 4: return RANDOM_OF(r, ((const uint32_t[]){0xfee00000, 0xfec00000, 0xfed00000, 0xfd000000, 0xfebf0000, 0xffff0000}));
  case 5: return g->chunks[random_below(r, G_CHUNK_COUNT)] + random_below(r, 64); /* code that runs */
  default: return some_address(g);
  }
}

/* ---- IDE ---- */

enum { PRIMARY = 0x1f0, SECONDARY = 0x170, CONTROL = 0x206, BUS_MASTER = 0xc040, BSY = 0x80, DRQ = 8 };

static unsigned some_channel(struct generator *g) { return random_chance(&g->r, 50) ? PRIMARY : SECONDARY; }

static void move_data(struct generator *g, struct writer *w, unsigned base) {
  struct random *r = &g->r;
  bool in = random_chance(r, 65);
  if (random_chance(r, 20)) {
    for (unsigned n = 1 + random_below(r, 4); n > 0; n--) in_port(w, base, 1u << random_below(r, 3));
    return;
  }
  rep_port(w, base, 1u << random_below(r, 3), in, random_chance(r, 60) ? G_DATA + random_below(r, 0x4000) : some_dma_address(g),
           random_chance(r, 60) ? 256 : random_below(r, 1200));
}

/* A table of up to four pieces, some of which are the table. */
static void write_prds(struct generator *g, struct writer *w, uint32_t table) {
  for (unsigned i = 0, n = 1 + random_below(&g->r, 4); i < n; i++) {
    uint32_t to = random_chance(&g->r, 15)   ? table
                  : random_chance(&g->r, 50) ? G_DATA + random_below(&g->r, 0x4000)
                                             : some_dma_address(g);
    uint32_t size = random_chance(&g->r, 60) ? 0x200u << random_below(&g->r, 5) : random_32(&g->r) & 0xffff;
    mov_mem(w, table + 8 * i, to),
      mov_mem(w, table + 8 * i + 4, size | (i + 1 == n && random_chance(&g->r, 85) ? 0x80000000 : 0));
  }
}

static uint32_t some_table(struct generator *g) {
  static const uint32_t tables[] = {G_DATA, G_DATA + 0x1000, G_DATA + 0xffc};
  if (random_chance(&g->r, 70)) return RANDOM_OF(&g->r, tables);
  return random_chance(&g->r, 50) ? (uint32_t)g->ram_size - 8 * random_below(&g->r, 3) : some_dma_address(g) & ~3u;
}

/* The engine is started, looked at and perhaps stopped in the middle, or its function is taken away from memory. */
static void bus_master(struct generator *g, struct writer *w) {
  struct random *r = &g->r;
  unsigned ports = BUS_MASTER + 8 * random_below(r, 2), direction = random_chance(r, 60) ? 8 : 0;
  uint32_t table = some_table(g);
  if (random_chance(r, 70)) write_prds(g, w, table);
  if (random_chance(r, 90)) out_port(w, ports + 4, 4, table);
  if (random_chance(r, 60)) out8(w, ports + 2, random_chance(r, 70) ? 6 : random_32(r));
  out8(w, ports, direction | (random_chance(r, 90) ? 1 : 0));
  if (random_chance(r, 40)) wait_port(w, ports + 2, 1, false, 1 + random_below(r, 100));
  if (random_chance(r, 15)) config_write(w, 0x09, 4, 2, random_below(r, 8));
  if (random_chance(r, 40)) out8(w, ports, random_chance(r, 70) ? direction : random_32(r));
}

static void task_file(struct generator *g, struct writer *w, unsigned base, unsigned unit) {
  struct random *r = &g->r;
  out8(w, base + 6, (random_chance(r, 70) ? 0xe0 : 0xa0) | unit << 4 | (random_chance(r, 20) ? random_below(r, 16) : 0));
  if (random_chance(r, 40)) out8(w, base + 1, random_chance(r, 50) ? random_below(r, 8) : random_32(r));
  if (random_chance(r, 10)) out8(w, base + 2, random_32(r)); /* of 48 bits: the high byte */
  out8(w, base + 2, random_chance(r, 80) ? random_below(r, 9) : random_32(r));
  out8(w, base + 3, random_chance(r, 80) ? random_below(r, 64) : random_32(r));
  out8(w, base + 4, random_chance(r, 85) ? random_below(r, 3) : random_32(r));
  out8(w, base + 5, random_chance(r, 90) ? 0 : random_32(r));
}

static void ata(struct generator *g, struct writer *w) {
  static const uint8_t commands[] = {0x20, 0x20, 0x21, 0x24, 0x25, 0x25, 0x29, 0x30, 0x30, 0x34, 0x35, 0x39, 0x40,
                                     0x42, 0x70, 0x90, 0x91, 0xa1, 0xb0, 0xc4, 0xc5, 0xc6, 0xc8, 0xc8, 0xca, 0xca,
                                     0xe0, 0xe1, 0xe2, 0xe3, 0xe5, 0xe6, 0xe7, 0xea, 0xec, 0xec, 0xef, 0xf8, 0xf9,
                                     0x27, 0x37, 0x08, 0x10, 0x06, 0x3d, 0xce, 0xf5, 0xc9, 0xcb, 0x00};
  struct random *r = &g->r;
  unsigned base = some_channel(g);
  task_file(g, w, base, random_below(r, 2));
  out8(w, base + 7, random_chance(r, 95) ? RANDOM_OF(r, commands) : random_32(r));
  if (random_chance(r, 50)) wait_port(w, base + (random_chance(r, 70) ? 7 : CONTROL), BSY, false, 1 + random_below(r, 200));
  if (random_chance(r, 50)) move_data(g, w, base);
}

static void ata_dma(struct generator *g, struct writer *w) {
  static const uint8_t commands[] = {0xc8, 0xca, 0x25, 0x35, 0xc8};
  struct random *r = &g->r;
  unsigned base = some_channel(g), unit = random_below(r, 2), ports = base == PRIMARY ? BUS_MASTER : BUS_MASTER + 8;
  uint32_t table = some_table(g);
  if (random_chance(r, 75))
    mov_mem(w, table, random_chance(r, 50) ? G_DATA + 0x2000 : some_dma_address(g)), mov_mem(w, table + 4, 0x80000000 | 0x400);
  out_port(w, ports + 4, 4, table);
  out8(w, base + 6, 0xe0 | unit << 4), out8(w, base + 2, random_below(r, 9)), out8(w, base + 7, RANDOM_OF(r, commands));
  out8(w, ports, random_chance(r, 70) ? 9 : 1);
  if (random_chance(r, 50)) wait_port(w, ports + 2, 1, false, 1 + random_below(r, 200));
  if (random_chance(r, 50)) out8(w, ports, 0);
}

/* What a drive looks at first is as it should be. */
static void fit_packet(struct generator *g, uint8_t cdb[12]) {
  static const uint8_t pages[] = {1, 0x0d, 0x0e, 0x1a, 0x2a, 0x2a, 0x3f, 0x3e};
  struct random *r = &g->r;
  switch (cdb[0]) {
  case 0x1a:
  case 0x15:
    cdb[1] = (uint8_t)(random_below(r, 2) << 3 | random_below(r, 2) << 4), cdb[2] = RANDOM_OF(r, pages),
    cdb[4] = (uint8_t)random_32(r);
    break;
  case 0x55:
  case 0x5a: cdb[2] = (uint8_t)(RANDOM_OF(r, pages) | random_below(r, 4) << 6), cdb[7] = 0; break;
  case 0x43:
    cdb[1] = (uint8_t)(random_below(r, 2) << 1), cdb[2] = (uint8_t)random_below(r, 6), cdb[6] = (uint8_t)random_below(r, 3),
    cdb[7] = 0;
    break;
  case 0x46: cdb[1] = (uint8_t)random_below(r, 3), cdb[2] = 0, cdb[3] = (uint8_t)random_below(r, 32); break;
  case 0x4a: cdb[1] = 1, cdb[4] = (uint8_t)(1u << random_below(r, 8)), cdb[7] = 0; break;
  case 0x42: cdb[1] = (uint8_t)(random_below(r, 2) << 1), cdb[2] = 0x40, cdb[3] = (uint8_t)random_below(r, 4), cdb[7] = 0; break;
  case 0x12:
    cdb[1] = (uint8_t)random_below(r, 2), cdb[2] = (uint8_t)(random_chance(r, 50) ? 0 : 0x83), cdb[4] = (uint8_t)random_32(r);
    break;
  case 0xbe:
    cdb[2] = cdb[3] = cdb[4] = 0, cdb[5] = (uint8_t)random_below(r, 20), cdb[6] = cdb[7] = 0,
    cdb[8] = (uint8_t)random_below(r, 5), cdb[9] = random_chance(r, 50) ? 0x10 : 0xf8;
    break;
  case 0xad: cdb[7] = (uint8_t)random_below(r, 5), cdb[8] = 0; break;
  case 0x28:
  case 0xa8: cdb[2] = cdb[3] = cdb[4] = 0, cdb[5] = (uint8_t)random_below(r, 20); break;
  default: break;
  }
}

/* A packet of a CD's, with a length that need not be the block's. */
static void packet(struct generator *g, struct writer *w) {
  static const uint8_t commands[] = {0x00, 0x03, 0x12, 0x15, 0x1a, 0x1b, 0x1e, 0x23, 0x25, 0x28, 0x28, 0x2b, 0x2f,
                                     0x35, 0x42, 0x43, 0x43, 0x44, 0x45, 0x46, 0x4a, 0x4b, 0x4e, 0x51, 0x52, 0x55,
                                     0x5a, 0xa8, 0xa8, 0xad, 0xb9, 0xbb, 0xbd, 0xbe, 0xbe, 0xa4, 0xac, 0xa1};
  struct random *r = &g->r;
  unsigned base = random_chance(r, 80) ? SECONDARY : PRIMARY, limit = random_chance(r, 60) ? 0x800 : random_32(r) & 0xffff;
  uint32_t bytes[3] = {random_chance(r, 70) ? random_32(r) & 0x03ff0000 : random_32(r),
                       random_chance(r, 60) ? random_32(r) & 0x3f0f0000 : random_32(r),
                       random_chance(r, 50) ? random_32(r) & 0xffff : random_32(r)};
  bytes[0] = (bytes[0] & ~0xffu) | (random_chance(r, 95) ? RANDOM_OF(r, commands) : random_below(r, 256));
  if (random_chance(r, 75)) fit_packet(g, (uint8_t *)bytes);
  for (unsigned i = 0; i < 3; i++) mov_mem(w, G_DATA + 0x7000 + 4 * i, bytes[i]);
  out8(w, base + 6, 0xa0 | random_below(r, 2) << 4);
  out8(w, base + 1, random_chance(r, 70) ? 0 : random_below(r, 4)); /* bit 0: by DMA */
  out8(w, base + 4, limit), out8(w, base + 5, limit >> 8), out8(w, base + 7, 0xa0);
  if (random_chance(r, 30)) wait_port(w, base + 7, BSY, false, 1 + random_below(r, 50));
  rep_port(w, base, 2, false, G_DATA + 0x7000, random_chance(r, 90) ? 6 : random_below(r, 20));
  if (random_chance(r, 60)) wait_port(w, base + 7, BSY, false, 1 + random_below(r, 200));
  if (random_chance(r, 50)) rep_port(w, base, 2, true, G_DATA, random_chance(r, 60) ? limit / 2 % 0x500 : random_below(r, 1500));
}

/* It begins with what the drive wants to be read first, a new medium or an error of before. */
static void sense(struct generator *g, struct writer *w) {
  (void)g;
  mov_mem(w, G_DATA + 0x7000, 3), mov_mem(w, G_DATA + 0x7004, 18), mov_mem(w, G_DATA + 0x7008, 0);
  out8(w, SECONDARY + 6, 0xa0), out8(w, SECONDARY + 5, 0x08), out8(w, SECONDARY + 7, 0xa0);
  rep_port(w, SECONDARY, 2, false, G_DATA + 0x7000, 6), rep_port(w, SECONDARY, 2, true, G_DATA, 9);
}

static void smart(struct generator *g, struct writer *w) {
  out8(w, PRIMARY + 6, 0xa0 | random_below(&g->r, 2) << 4), out8(w, PRIMARY + 1, 0xd0 + random_below(&g->r, 11));
  out8(w, PRIMARY + 3, random_below(&g->r, 3)), out8(w, PRIMARY + 4, 0x4f), out8(w, PRIMARY + 5, 0xc2),
    out8(w, PRIMARY + 7, 0xb0);
  if (random_chance(&g->r, 60)) rep_port(w, PRIMARY, 2, true, G_DATA, 256);
}
static void set_features(struct generator *g, struct writer *w) {
  static const uint8_t features[] = {3, 3, 2, 0x82, 0x82, 0xaa, 0x55, 5, 0x42, 0x66, 0xcc, 0x10};
  unsigned base = some_channel(g);
  out8(w, base + 6, 0xa0 | random_below(&g->r, 2) << 4), out8(w, base + 1, RANDOM_OF(&g->r, features));
  out8(w, base + 2, random_chance(&g->r, 70) ? random_below(&g->r, 0x48) : random_32(&g->r)), out8(w, base + 7, 0xef);
  if (random_chance(&g->r, 50))
    out8(w, base + 2, random_below(&g->r, 33)), out8(w, base + 7, random_chance(&g->r, 50) ? 0xc6 : 0x91);
}

static void ide_control(struct generator *g, struct writer *w) {
  unsigned base = some_channel(g);
  switch (random_below(&g->r, 5)) {
  case 0: out8(w, base + CONTROL, 4), out8(w, base + CONTROL, 0); break; /* reset */
  case 1: out8(w, base + CONTROL, random_32(&g->r)); break;
  case 2: out8(w, base + 7, random_chance(&g->r, 50) ? 0x08 : 0x90); break;
  case 3: in_port(w, base + 7, 1), in_port(w, base + 1, 1); break;
  default: move_data(g, w, base); break;
  }
}

/* ---- 8237A ---- */

static void program_channel(struct generator *g, struct writer *w, unsigned channel, unsigned mode, uint32_t address,
                            unsigned count) {
  static const uint8_t pages[] = {0x87, 0x83, 0x81, 0x82, 0x8f, 0x8b, 0x89, 0x8a};
  unsigned wide = channel > 3, shift = wide, base = wide ? 0xc0 : 0, n = channel & 3;
  out8(w, base + (0xa << shift), 4 | n), out8(w, base + (0xc << shift), 0), out8(w, base + (0xb << shift), mode | n);
  out8(w, base + (2 * n << shift), address >> shift), out8(w, base + (2 * n << shift), address >> (8 + shift));
  out8(w, pages[channel], address >> 16);
  out8(w, base + ((2 * n + 1) << shift), count), out8(w, base + ((2 * n + 1) << shift), count >> 8);
  if (random_chance(&g->r, 90)) out8(w, base + (0xa << shift), n);
}
static void isa_dma(struct generator *g, struct writer *w) {
  struct random *r = &g->r;
  unsigned channel = random_chance(r, 70) ? 2 : random_below(r, 8);
  if (random_chance(r, 60)) program_channel(g, w, channel, random_32(r) & 0xfc, some_dma_address(g), random_32(r));
  else
    for (unsigned n = 1 + random_below(r, 6); n > 0; n--) {
      unsigned port = random_chance(r, 40)   ? random_below(r, 16)
                      : random_chance(r, 50) ? 0xc0 + random_below(r, 32)
                                             : 0x80 + random_below(r, 16);
      if (random_chance(r, 75)) out8(w, port, random_32(r));
      else in_port(w, port, 1);
    }
}

/* ---- floppies ---- */

static void fdc_bytes(struct writer *w, const uint8_t *bytes, unsigned count) {
  mov_dx(w, 0x3f5);
  for (unsigned i = 0; i < count; i++) emit8(w, 0xb0), emit8(w, bytes[i]), emit8(w, 0xee);
}

static void fdc_command(struct generator *g, struct writer *w) {
  static const struct {
    uint8_t command, parameters;
  } rows[] = {{0x46, 8}, {0xe6, 8}, {0x45, 8}, {0xc5, 8}, {0x4a, 1}, {0x4d, 5}, {0x0f, 2}, {0x0f, 2},  {0x07, 1},
              {0x08, 0}, {0x08, 0}, {0x03, 2}, {0x03, 2}, {0x42, 8}, {0xcc, 8}, {0xc9, 8}, {0x51, 8},  {0x59, 8},
              {0x5d, 8}, {0x56, 8}, {0x04, 1}, {0x10, 0}, {0x0e, 0}, {0x13, 3}, {0x12, 1}, {0x14, 0},  {0x94, 0},
              {0x17, 1}, {0x18, 0}, {0x8f, 2}, {0xcf, 2}, {0x33, 1}, {0x8e, 5}, {0x2e, 0}, {0x4e, 15}, {0xcd, 10}};
  struct random *r = &g->r;
  unsigned row = random_below(r, sizeof rows / sizeof *rows), unit = random_below(r, random_chance(r, 85) ? 2 : 4);
  uint8_t bytes[16] = {rows[row].command, (uint8_t)(random_below(r, 2) << 2 | unit)};
  for (unsigned i = 2; i < sizeof bytes; i++) bytes[i] = (uint8_t)(random_chance(r, 60) ? random_below(r, 20) : random_32(r));
  if (rows[row].parameters == 8)
    bytes[2] = (uint8_t)random_below(r, random_chance(r, 80) ? 2 : 90), bytes[3] = bytes[1] >> 2,
    bytes[5] = (uint8_t)(random_chance(r, 85) ? 2 : random_below(r, 9)), bytes[6] = random_chance(r, 70) ? 18 : bytes[6];
  if (random_chance(r, 25)) bytes[0] = (uint8_t)(bytes[0] ^ 1u << random_below(r, 8));
  if (random_chance(r, 50)) out8(w, 0x3f2, (random_chance(r, 85) ? 0x3c : random_32(r) & 0xf8) | (unit & 3));
  if (random_chance(r, 30)) rep_port(w, 0x3f5, 1, true, G_DATA, 10); /* a result of before */
  if (random_chance(r, 60))
    out8(w, 0x3f7, random_chance(r, 85) ? unit << 1 : random_below(r, 4)); /* the rate of what is in that drive */
  if (random_chance(r, 50))
    program_channel(g, w, 2,
                    random_chance(r, 45)   ? 0x44
                    : random_chance(r, 80) ? 0x48
                                           : random_32(r) & 0xfc,
                    some_dma_address(g), random_chance(r, 60) ? 511 : random_32(r));
  fdc_bytes(w, bytes, random_chance(r, 90) ? rows[row].parameters + 1u : random_below(r, 16));
  if (random_chance(r, 30)) wait_port(w, 0x3f4, 0x80, true, 1 + random_below(r, 100));
  if (random_chance(r, 40)) rep_port(w, 0x3f5, 1, true, G_DATA, random_chance(r, 50) ? 7 : random_below(r, 600));
}

static void fdc_port(struct generator *g, struct writer *w) {
  struct random *r = &g->r;
  switch (random_below(r, 6)) {
  case 0: out8(w, 0x3f2, 0), out8(w, 0x3f2, 0x1c); break;                                        /* reset, drive A on */
  case 1: out8(w, 0x3f4, random_chance(r, 50) ? 0x80 : random_32(r)); break;                     /* DSR */
  case 2: fdc_bytes(w, (const uint8_t[]){3, 0xaf, (uint8_t)(2 | random_below(r, 2))}, 3); break; /* with or without DMA */
  case 3: rep_port(w, 0x3f5, 1, random_chance(r, 50), G_DATA, random_below(r, 600)); break;
  case 4:
    out8(w, 0x3f2, 0x1c | random_below(r, 2)), fdc_bytes(w, (const uint8_t[]){7, (uint8_t)random_below(r, 2), 8}, 3),
      rep_port(w, 0x3f5, 1, true, G_DATA, 3);
    break;
  default:
    (random_chance(r, 50) ? out8(w, 0x3f0 + random_below(r, 8), random_32(r)) : in_port(w, 0x3f0 + random_below(r, 8), 1));
    break;
  }
}

void write_disk_idiom(struct generator *g, struct writer *w) {
  static const struct idiom_row rows[] = {{ata, 10},    {ata_dma, 10},     {packet, 12},    {sense, 3},
                                          {smart, 2},   {set_features, 2}, {bus_master, 5}, {ide_control, 4},
                                          {isa_dma, 4}, {fdc_command, 14}, {fdc_port, 4}};
  write_one_of(g, w, rows, sizeof rows / sizeof *rows);
}
