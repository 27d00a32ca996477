/* What drivers of the other chips do, and what none does: registers at random, the firmware's switches of memory, BARs anywhere,
 * the VGA's modes and memory. */
#include "writer.h"

/* ---- timers, interrupts, keyboard ---- */

static void port(struct generator *g, struct writer *w) {
  static const uint16_t ports[] = {0x20,  0x21,  0xa0,  0xa1,  0x4d0, 0x4d1, 0x40,  0x41,  0x42,  0x43,  0x43,   0x61,
                                   0x60,  0x60,  0x64,  0x64,  0x70,  0x71,  0x71,  0x80,  0x92,  0xf0,  0xf1,   0x3f8,
                                   0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fe, 0x3ff, 0x600, 0x602, 0x604, 0x608, 0xafe0, 0xb2,
                                   0xb3,  0,     8,     0x3f2, 0x3f4, 0x3f5, 0x3f5, 0x3f7, 4,     5,     0xa,    0xb,
                                   0xd,   0xc0,  0xd0,  0xde,  0x81,  0xcf8, 0xcf9, 0xcfb, 0xcfc, 0xcfd, 0xcff};
  static const uint8_t forms[] = {0xee, 0xee, 0xee, 0xef, 0xec, 0xed};
  unsigned value = random_below(&g->r, 256),
           number = random_chance(&g->r, 97) ? RANDOM_OF(&g->r, ports) : random_below(&g->r, 0x10000);
  if (number == 0x64 && random_chance(&g->r, 60)) { /* the i8042's own commands, less often its reset */
    static const uint8_t commands[] = {0x20, 0x60, 0xa7, 0xa8, 0xa9, 0xaa, 0xab, 0xad,
                                       0xae, 0xd0, 0xd1, 0xd2, 0xd3, 0xd4, 0xdd, 0xdf};
    value = RANDOM_OF(&g->r, commands);
  }
  if ((number == 0xcf9 || number == 0x92) && random_chance(&g->r, 80)) value &= number == 0x92 ? ~1u : ~4u;
  mov_reg(w, 2, number), mov_reg(w, 0, value | (random_chance(&g->r, 20) ? random_32(&g->r) & ~255u : 0));
  if (random_chance(&g->r, 10)) emit8(w, 0x66);
  emit8(w, RANDOM_OF(&g->r, forms));
}
static void apic(struct generator *g, struct writer *w) {
  static const uint32_t registers[] = {0x20,  0x80,  0xb0,  0xd0,  0xe0,  0xf0,  0xf0,  0x280, 0x300, 0x300,
                                       0x310, 0x320, 0x320, 0x350, 0x360, 0x370, 0x380, 0x380, 0x3e0};
  uint32_t value =
    random_chance(&g->r, 60) ? random_below(&g->r, 0x200) | (random_chance(&g->r, 30) ? 0x20000 : 0) : random_32(&g->r);
  if (random_chance(&g->r, 30)) {
    mov_mem(w, 0xfec00000, random_below(&g->r, 0x42)),
      mov_mem(w, 0xfec00010, random_chance(&g->r, 70) ? value & ~0x10000u : value);
    return;
  }
  mov_mem(w, 0xfee00000 + (random_chance(&g->r, 85) ? RANDOM_OF(&g->r, registers) : random_below(&g->r, 0x400) & ~15u), value);
}
static void hpet(struct generator *g, struct writer *w) {
  static const uint32_t registers[] = {0x10,  0x10,  0x20,  0xf0,  0xf4,  0x100, 0x108, 0x108,
                                       0x10c, 0x120, 0x128, 0x128, 0x12c, 0x140, 0x148};
  uint32_t value = random_chance(&g->r, 60) ? random_below(&g->r, 0x200) : random_32(&g->r);
  mov_mem(w, 0xfed00000 + (random_chance(&g->r, 85) ? RANDOM_OF(&g->r, registers) : random_below(&g->r, 0x200) & ~3u), value);
  if (random_chance(&g->r, 30)) mov_mem(w, 0xfed00010, random_below(&g->r, 4));
}
static void apic_on(struct generator *g, struct writer *w) {
  uint32_t vector = random_chance(&g->r, 90) ? 0x20 + random_below(&g->r, 0xe0) : random_below(&g->r, 0x20),
           modes = random_chance(&g->r, 70) ? 0 : random_below(&g->r, 8) << 8;
  mov_mem(w, 0xfee000f0, 0x1ff);
  if (random_chance(&g->r, 60))
    mov_mem(w, 0xfee00320, vector | random_below(&g->r, 2) << 17), mov_mem(w, 0xfee003e0, random_below(&g->r, 16)),
      mov_mem(w, 0xfee00380, random_below(&g->r, 2000));
  else mov_mem(w, 0xfee00300, vector | modes | random_below(&g->r, 4) << 18 | (random_32(&g->r) & 0xc800));
  if (random_chance(&g->r, 20))
    mov_mem(w, 0xfee00350 + 16 * random_below(&g->r, 2), vector | modes | (random_32(&g->r) & 0xa000));
  emit8(w, 0xfb);
}
static void mouse_and_keyboard(struct generator *g, struct writer *w) {
  static const uint8_t bytes[] = {0xff, 0xf6, 0xf5, 0xf4, 0xf3, 0xf2, 0xf0, 0xee, 0xed, 0xeb, 0xea,
                                  0xe9, 0xe8, 0xe7, 0xe6, 0xfe, 0,    1,    3,    0x64, 0xc8, 0x50};
  static const uint8_t commands[] = {0xd4, 0xd4, 0xd4, 0xd2, 0xd3, 0x60, 0xa8, 0xae, 0x20};
  if (random_chance(&g->r, 75)) emit8(w, 0xb0), emit8(w, RANDOM_OF(&g->r, commands)), emit8(w, 0xe6), emit8(w, 0x64);
  for (unsigned n = 1 + random_below(&g->r, 3); n > 0; n--)
    emit8(w, 0xb0), emit8(w, random_chance(&g->r, 85) ? RANDOM_OF(&g->r, bytes) : random_32(&g->r)), emit8(w, 0xe6),
      emit8(w, 0x60);
  if (random_chance(&g->r, 70)) emit8(w, 0xe4), emit8(w, 0x60), emit8(w, 0xe4), emit8(w, 0x64);
}
static void pic_and_timer(struct generator *g, struct writer *w) {
  static const uint8_t init[] = {0xb0, 0x11, 0xe6, 0x20, 0xb0, 0x20, 0xe6, 0x21, 0xb0,
                                 0x04, 0xe6, 0x21, 0xb0, 0x01, 0xe6, 0x21, 0xb0};
  for (unsigned i = 0; i < sizeof init; i++) emit8(w, init[i]);
  emit8(w, random_chance(&g->r, 70) ? 0 : random_32(&g->r)), emit8(w, 0xe6), emit8(w, 0x21);
  emit8(w, 0xb0), emit8(w, 0x30 | random_below(&g->r, 8) << 1), emit8(w, 0xe6), emit8(w, 0x43);
  emit8(w, 0xb0), emit8(w, random_32(&g->r)), emit8(w, 0xe6), emit8(w, 0x40), emit8(w, 0xb0), emit8(w, random_below(&g->r, 3)),
    emit8(w, 0xe6), emit8(w, 0x40), emit8(w, 0xfb);
}

static void speaker(struct generator *g, struct writer *w) { /* channel 2, whose gate is a bit of port 61h */
  struct random *r = &g->r;
  out8(w, 0x43, 0xb0 | random_below(r, 8) << 1 | random_below(r, 2)), out8(w, 0x42, random_32(r)),
    out8(w, 0x42, random_below(r, 3));
  for (unsigned n = random_below(r, 5); n > 0; n--) out8(w, 0x61, random_below(r, 4));
  for (unsigned n = random_below(r, 3); n > 0; n--)
    out8(w, 0x43, random_chance(r, 50) ? 0xc0 | random_below(r, 64) : random_below(r, 4) << 6),
      in_port(w, 0x40 + random_below(r, 3), 1);
}
static void mouse_on(struct generator *g, struct writer *w) {
  static const uint8_t wheel[] = {0xf3, 200, 0xf3, 100, 0xf3, 80, 0xf2};
  out8(w, 0x64, 0xa8), out8(w, 0x64, 0x60), out8(w, 0x60, 0x47);
  for (unsigned i = 0; random_chance(&g->r, 60) && i < sizeof wheel; i++) out8(w, 0x64, 0xd4), out8(w, 0x60, wheel[i]);
  out8(w, 0x64, 0xd4), out8(w, 0x60, random_chance(&g->r, 80) ? 0xf4 : 0xf0);
}
static void serial_loop(struct generator *g, struct writer *w) { /* it hears itself */
  unsigned base = 0x3f8 - (random_below(&g->r, 2) << 8);
  out8(w, base + 3, 3), out8(w, base + 2, random_chance(&g->r, 70) ? 0xc7 & ~(random_below(&g->r, 4) << 6) : random_32(&g->r)),
    out8(w, base + 4, 0x10 | random_below(&g->r, 16));
  out8(w, base + 1, random_below(&g->r, 16)), rep_port(w, base, 1, false, G_DATA, random_below(&g->r, 40)),
    rep_port(w, base, 1, true, G_DATA, random_below(&g->r, 40));
  in_port(w, base + 2, 1), in_port(w, base + 5, 1);
}

/* ---- PCI: where things are ---- */

static void fill(struct writer *w, uint32_t at, uint32_t count) {
  emit8(w, 0xfc), mov_reg(w, 7, at), mov_reg(w, 1, count);
  if (w->sixteen) emit8(w, 0x67);
  emit8(w, 0xf3), emit8(w, 0xaa);
}
static void copy(struct writer *w, uint32_t from, uint32_t to, uint32_t count) {
  emit8(w, 0xfc), mov_reg(w, 6, from), mov_reg(w, 7, to), mov_reg(w, 1, count);
  if (w->sixteen) emit8(w, 0x67);
  emit8(w, 0xf3), emit8(w, 0xa4);
}

static unsigned some_function(struct generator *g) {
  static const uint8_t functions[] = {0, 0x08, 0x09, 0x0b, 0x10, 0x10, 0x18, 0x09};
  return random_chance(&g->r, 95) ? RANDOM_OF(&g->r, functions) : random_below(&g->r, 256);
}
/* Over RAM, chips, ROM, each other, the top of what there is; I/O over the interrupt controller, IDE, PCI itself. */
static uint32_t some_bar(struct generator *g) {
  static const uint32_t places[] = {0,          0x100000,   0xa0000,    0xc0000,    0xf0000,    0x10000,    0x200000,
                                    0x800000,   0xe0000000, 0xe0000000, 0xe1000000, 0xfd000000, 0xfebf0000, 0xfec00000,
                                    0xfed00000, 0xfee00000, 0xfff00000, 0xffff0000, 0xff000000, 0xfffff000, 0xffffffff};
  static const uint16_t ports[] = {0,     0x20,  0x40,  0x60,  0x70,   0xa0,   0x1f0,  0x170,  0x3c0,
                                   0x3f0, 0x510, 0x600, 0xcf8, 0xc000, 0xc040, 0xc041, 0xfff0, 0xffff};
  return random_chance(&g->r, 50) ? RANDOM_OF(&g->r, places) | (random_chance(&g->r, 10) ? random_below(&g->r, 16) : 0)
                                  : RANDOM_OF(&g->r, ports) | 1u;
}
static void pci(struct generator *g, struct writer *w) {
  static const uint8_t registers[] = {0x04, 0x04, 0x10, 0x10, 0x14, 0x18, 0x20, 0x20, 0x30,
                                      0x3c, 0x40, 0x44, 0x4e, 0x60, 0x63, 0x80, 0x06, 0x0c};
  struct random *r = &g->r;
  for (unsigned n = 1 + random_below(r, 3); n > 0; n--) {
    unsigned at = random_chance(r, 85) ? RANDOM_OF(r, registers) : random_below(r, 256), function = some_function(g);
    uint32_t v = at >= 0x10 && at <= 0x30 ? some_bar(g) | (at == 0x30) : at == 4 ? random_below(r, 8) : random_32(r);
    if (random_chance(r, 10)) config_address(w, function, at), in_port(w, 0xcfc + (at & 3), 1u << random_below(r, 3));
    else config_write(w, function, at, random_chance(r, 80) ? 4 : 1u << random_below(r, 2), v);
  }
}
static void pci_raw(struct generator *g, struct writer *w) {
  out_port(w, 0xcf8, 4, 0x80000000 | random_below(&g->r, random_chance(&g->r, 85) ? 0x2000 : 0x1000000));
  unsigned at = 0xcfc + (random_chance(&g->r, 70) ? 0 : random_below(&g->r, 4)), size = 1u << random_below(&g->r, 3);
  if (random_chance(&g->r, 60)) out_port(w, at, size, random_32(&g->r));
  else in_port(w, at, size);
}
/* As a BIOS does it: everything in its place and on. */
static void place_cards(struct generator *g, struct writer *w) {
  (void)g;
  config_write(w, 0x09, 0x20, 4, 0xc041), config_write(w, 0x09, 0x04, 2, 5);
  config_write(w, 0x10, 0x10, 4, 0xfd000000), config_write(w, 0x10, 0x18, 4, 0xfebf0000), config_write(w, 0x10, 0x04, 2, 3);
  config_write(w, 0x09, 0x40, 4, 0x80008000);
}
static void card_rom(struct generator *g, struct writer *w) {
  config_write(w, 0x10, 4, 2, 3), config_write(w, 0x10, 0x30, 4, 0xfe000001),
    copy(w, 0xfe000000 + random_below(&g->r, 0x11000), G_DATA, random_below(&g->r, 64));
}
static void use_card(struct generator *g, struct writer *w) { /* tests/unit/example_card.c, behind the VGA */
  struct random *r = &g->r;
  if (random_chance(r, 40))
    config_write(w, 0x18, 0x10, 4, 0xd001), config_write(w, 0x18, 0x14, 4, random_chance(r, 60) ? 0xfc000000 : some_bar(g)),
      config_write(w, 0x18, 4, 2, 7);
  for (unsigned n = 1 + random_below(r, 4); n > 0; n--)
    out_port(w, 0xd000 + 4 * random_below(r, 4), random_chance(r, 80) ? 4 : 1,
             random_chance(r, 80) ? random_below(r, 20) : random_32(r));
  if (random_chance(r, 40)) in_port(w, 0xd000 + random_below(r, 16), 4);
  if (random_chance(r, 30)) mov_mem(w, 0xfc000000 + random_below(r, 0x10000), random_32(r));
}

/* ---- what a firmware switches: ROM and RAM, A20, SMRAM ---- */

static void call_near(struct generator *g, struct writer *w, uint32_t to) { /* what it is may come back by RET, or by a fault */
  (void)g;
  if (w->sixteen) return;
  mov_reg(w, 2, to), emit8(w, 0xff), emit8(w, 0xd2);
}
static void pam(struct generator *g, struct writer *w) {
  struct random *r = &g->r;
  uint32_t at = 0xc0000 + random_below(r, 0x40000);
  for (unsigned n = 1 + random_below(r, 2); n > 0; n--)
    config_write(w, 0, random_chance(r, 50) ? 0x59 : 0x5a + random_below(r, 6), 1,
                 random_chance(r, 60) ? random_below(r, 4) * 0x11 : random_32(r));
  if (random_chance(r, 40)) copy(w, some_chunk(g), at, 1 + random_below(r, 300));
  if (random_chance(r, 30)) mov_mem(w, at, random_32(r));
  if (random_chance(r, 30)) mov_mem(w, at, 0xc3c3c3c3), call_near(g, w, at);
  else if (random_chance(r, 20)) call_near(g, w, 0xf0000 + random_below(r, 0x10000));
}
static void smram(struct generator *g, struct writer *w) {
  struct random *r = &g->r;
  config_write(w, 0, 0x72, 1, random_chance(r, 60) ? 0x4a : random_32(r));
  if (random_chance(r, 60)) mov_mem(w, 0xa0000 + random_below(r, 0x20000), 0xc3c3c3c3);
  if (random_chance(r, 40)) call_near(g, w, 0xa0000 + random_below(r, 0x20000));
  if (random_chance(r, 70)) config_write(w, 0, 0x72, 1, 0x0a);
}
/* The gate goes while code, data and page tables are in use on both of its sides. */
static void a20(struct generator *g, struct writer *w) {
  struct random *r = &g->r;
  uint32_t at = 0x100000u << random_below(r, 2);
  if (random_chance(r, 70)) out8(w, 0x92, random_below(r, 2) << 1);
  else out8(w, 0x64, random_chance(r, 50) ? 0xdd : 0xdf);
  mov_mem(w, at + random_below(r, 0x1000), random_chance(r, 50) ? 0xc3c3c3c3 : random_32(r));
  if (random_chance(r, 30)) call_near(g, w, at + some_chunk(g));
  if (random_chance(r, 70)) out8(w, 0x92, 2);
}

/* ---- fw_cfg ---- */

static void fw_cfg(struct generator *g, struct writer *w) {
  struct random *r = &g->r;
  out_port(w, 0x510, 2,
           random_chance(r, 50)   ? random_below(r, 0x30)
           : random_chance(r, 90) ? 0x8000 | random_below(r, 2) << 15 | random_below(r, 40)
                                  : random_32(r));
  if (random_chance(r, 70))
    rep_port(w, 0x511, 1, random_chance(r, 90), random_chance(r, 70) ? G_DATA : some_dma_address(g), random_below(r, 5000));
  else in_port(w, 0x510 + random_below(r, 12), 1u << random_below(r, 3));
}
static void fw_cfg_dma(struct generator *g, struct writer *w) {
  struct random *r = &g->r;
  uint32_t at = random_chance(r, 70) ? G_DATA + random_below(r, 0x1000) : some_dma_address(g),
           to = random_chance(r, 30) ? at : some_dma_address(g);
  uint32_t key = random_chance(r, 50) ? random_below(r, 0x30) : 0x20 + random_below(r, 30),
           control = key << 16 | (random_chance(r, 80) ? 8 : 0) | 1u << random_below(r, 5);
  mov_mem(w, at, __builtin_bswap32(control));
  mov_mem(w, at + 4, random_chance(r, 70) ? __builtin_bswap32(random_below(r, 0x3000)) : random_32(r));
  mov_mem(w, at + 8, random_chance(r, 90) ? 0 : random_32(r)), mov_mem(w, at + 12, __builtin_bswap32(to));
  if (random_chance(r, 50)) out_port(w, 0x514, 4, random_chance(r, 80) ? 0 : random_32(r));
  out_port(w, 0x518, 4, __builtin_bswap32(at));
}

/* ---- VGA ---- */

static void vga_index(struct generator *g, struct writer *w) {
  static const struct {
    uint16_t port;
    uint8_t count;
  } sets[] = {{0x3c4, 8}, {0x3c4, 5}, {0x3ce, 9}, {0x3ce, 9}, {0x3d4, 25}, {0x3d4, 25}, {0x3b4, 25}};
  struct random *r = &g->r;
  if (random_chance(r, 30)) out_port(w, 0x3d4, 2, 0x0011);
  for (unsigned n = 1 + random_below(r, 8); n > 0; n--) {
    unsigned set = random_below(r, sizeof sets / sizeof *sets);
    uint32_t index = random_chance(r, 95) ? random_below(r, sets[set].count) : random_below(r, 256);
    out_port(w, sets[set].port, 2, index | random_32(r) << 8);
    if (random_chance(r, 10)) in_port(w, sets[set].port + 1, 1);
  }
}
/* Modes of the BIOS, as far as what memory is like in them goes: SR2, SR4, GR5, GR6. */
static void vga_mode(struct generator *g, struct writer *w) {
  static const uint8_t modes[][4] = {{3, 2, 0x10, 0x0e}, {15, 6, 0, 5},      {15, 6, 1, 5},   {15, 6, 2, 5}, {15, 6, 3, 5},
                                     {15, 14, 0x40, 5},  {3, 2, 0x30, 0x0f}, {1, 6, 0, 0x0d}, {15, 6, 8, 1}, {4, 6, 0, 4}};
  const uint8_t *m = modes[random_below(&g->r, sizeof modes / sizeof *modes)];
  out_port(w, 0x3c4, 2, 2u | (uint32_t)m[0] << 8), out_port(w, 0x3c4, 2, 4u | (uint32_t)m[1] << 8);
  out_port(w, 0x3ce, 2, 5u | (uint32_t)m[2] << 8), out_port(w, 0x3ce, 2, 6u | (uint32_t)m[3] << 8);
  if (random_chance(&g->r, 50)) out8(w, 0x3c2, 0x67 ^ random_below(&g->r, 2));
}
static void vga_ports(struct generator *g, struct writer *w) {
  struct random *r = &g->r;
  switch (random_below(r, 5)) {
  case 0:
    in_port(w, random_chance(r, 80) ? 0x3da : 0x3ba, 1), out8(w, 0x3c0, random_below(r, 64)), out8(w, 0x3c0, random_32(r)),
      out8(w, 0x3c0, 0x20);
    break;
  case 1: out8(w, 0x3c8, random_32(r)), rep_port(w, 0x3c9, 1, random_chance(r, 30), G_DATA, random_below(r, 800)); break;
  case 2: out8(w, 0x3b0 + random_below(r, 48), random_32(r)); break;
  case 3: in_port(w, 0x3b0 + random_below(r, 48), 1u << random_below(r, 3)); break;
  default:
    rep_port(w, RANDOM_OF(r, ((const uint16_t[]){0x3c5, 0x3cf, 0x3d5, 0x3c0, 0x3c9, 0x1cf, 0x3c7})), 1, random_chance(r, 50),
             G_DATA, random_below(r, 400));
    break;
  }
}
static void vbe(struct generator *g, struct writer *w) {
  struct random *r = &g->r;
  static const uint16_t sizes[] = {640, 480, 800, 1, 8, 0, 1024, 16000, 0xffff, 4096, 12000};
  static const uint16_t bits[] = {4, 8, 15, 16, 24, 32, 7};
  for (unsigned n = 1 + random_below(r, 6); n > 0; n--) {
    unsigned index = random_below(r, random_chance(r, 95) ? 11 : 256);
    out_port(w, 0x1ce, 2, index);
    if (random_chance(r, 10)) in_port(w, 0x1cf, 2);
    else
      out_port(w, 0x1cf, 2,
               index == 3             ? RANDOM_OF(r, bits)
               : index == 4           ? random_32(r) & 0xe1
               : random_chance(r, 70) ? RANDOM_OF(r, sizes)
                                      : random_32(r));
  }
  if (random_chance(r, 40)) out_port(w, 0x1ce, 2, 4), out_port(w, 0x1cf, 2, 1 | (random_32(r) & 0xc0));
}
static void vga_memory(struct generator *g, struct writer *w) {
  struct random *r = &g->r;
  uint32_t at = random_chance(r, 80) ? 0xa0000 + random_below(r, 0x20000) : 0xfd000000 + random_below(r, 0x1000000),
           other = 0xa0000 + random_below(r, 0x20000);
  uint32_t count = random_below(r, random_chance(r, 80) ? 600 : 0x11000);
  switch (random_below(r, 6)) {
  case 0: fill(w, at, count); break;
  case 1: copy(w, other, at, count); break;
  case 2: copy(w, G_DATA, at, count); break;
  case 3: copy(w, at, G_DATA, count % 0x4000); break;
  case 4: mov_mem(w, at, random_32(r)); break;
  default: mov_mem(w, at, 0xc3c3c3c3), call_near(g, w, at); break;
  }
}
static void vga_window(struct generator *g, struct writer *w) { /* BAR 2 */
  uint32_t at = 0xfebf0000 + random_below(&g->r, 0x700);
  for (unsigned n = 1 + random_below(&g->r, 4); n > 0; n--)
    mov_mem(w, random_chance(&g->r, 50) ? at & ~1u : 0xfebf0400 + 2 * random_below(&g->r, 150), random_32(&g->r));
}

/* ---- ports ---- */

/* Every port that is read or written by strings, with memory anywhere. */
static void string_port(struct generator *g, struct writer *w) {
  static const uint16_t ports[] = {0x1f0, 0x170, 0x3f5, 0x511, 0x60, 0x3f8, 0x378, 0x3c9, 0x3c5,  0x1cf, 0xcfc,
                                   0x402, 0x71,  0x40,  0x21,  0x61, 0xb2,  0x3da, 0x92,  0xc040, 0x604};
  rep_port(w, RANDOM_OF(&g->r, ports), 1u << random_below(&g->r, 3), random_chance(&g->r, 60), some_dma_address(g),
           random_below(&g->r, 700));
}
static void simple_ports(struct generator *g, struct writer *w) {
  static const uint16_t bases[] = {0x378, 0x278, 0x3bc, 0x402, 0x3f8, 0x2f8, 0x3e8,  0x2e8, 0x70,   0x40,
                                   0x20,  0xa0,  0x4d0, 0x60,  0xf0,  0x600, 0xafe0, 0xb2,  0xc040, 0xd000};
  struct random *r = &g->r;
  unsigned base = RANDOM_OF(r, bases);
  for (unsigned n = 1 + random_below(r, 6); n > 0; n--) {
    unsigned at = base + random_below(r, 8), size = random_chance(r, 80) ? 1 : 1u << random_below(r, 3);
    if (at == 0x604 || at == 0x605) continue; /* sleeps for ever, above */
    if (random_chance(r, 65)) out_port(w, at, size, random_32(r));
    else in_port(w, at, size);
  }
}
static void cmos(struct generator *g, struct writer *w) {
  for (unsigned n = 1 + random_below(&g->r, 4); n > 0; n--) {
    out8(w, 0x70, random_chance(&g->r, 60) ? random_below(&g->r, 14) : random_below(&g->r, 256));
    if (random_chance(&g->r, 70)) out8(w, 0x71, random_32(&g->r));
    else in_port(w, 0x71, 1);
  }
}
static void any_port(struct generator *g, struct writer *w) {
  for (unsigned n = 1 + random_below(&g->r, 4); n > 0; n--) {
    unsigned at = random_below(&g->r, 0x10000), size = 1u << random_below(&g->r, 3);
    if (random_chance(&g->r, 60)) out_port(w, at, size, random_32(&g->r));
    else in_port(w, at, size);
  }
}

void write_chip_idiom(struct generator *g, struct writer *w) {
  static const struct idiom_row rows[] = {
    {port, 12},    {pci_raw, 2}, {apic, 5}, {hpet, 4}, {pic_and_timer, 4}, {apic_on, 4}, {mouse_and_keyboard, 3},
    {any_port, 1}, {cmos, 1}};
  write_one_of(g, w, rows, sizeof rows / sizeof *rows);
}

void write_card_idiom(struct generator *g, struct writer *w) {
  static const struct idiom_row rows[] = {{pci, 6},         {pci_raw, 1},     {place_cards, 4}, {use_card, 4},    {pam, 5},
                                          {smram, 3},       {a20, 3},         {fw_cfg, 3},      {fw_cfg_dma, 4},  {vga_index, 8},
                                          {vga_mode, 6},    {vga_ports, 5},   {vbe, 6},         {vga_memory, 12}, {vga_window, 2},
                                          {cmos, 2},        {speaker, 2},     {mouse_on, 2},    {serial_loop, 2}, {card_rom, 1},
                                          {string_port, 6}, {simple_ports, 6}};
  write_one_of(g, w, rows, sizeof rows / sizeof *rows);
}
