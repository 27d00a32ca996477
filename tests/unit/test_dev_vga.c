// The VGA's registers, its memory window against a straightforward model, and the card on its bus. Run only this:
// build/unit/test_dev_vga
// link: bt_devices bt_mmu
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "devices/chips/pci.h"
#include "devices/display/vga.h"
#include "devices/display/vga_state.h"
#include "devices/firmware/handover.h"
#include "mmu/mmu.h"

enum { SLOT = 2 << 3, WINDOW = 0xa0000, TEXT = 0xb8000, VRAM = 0xe0000000, REGISTERS = 0xe1000000 };

struct board {
  struct mmu *mmu;
  struct clock *clock;
  struct io_bus *io;
  struct pci pci;
  struct device bus, card;
  struct vga state, *vga; /* the same */
  struct display_backend screen;
};

static uint8_t rom[VGA_ROM];

static struct board *make(void) {
  struct board *b = calloc(1, sizeof *b);
  const char *error;
  b->mmu = mmu_create(&(struct mmu_config){.ram_size = 8 << 20}, &error);
  assert_non_null(b->mmu);
  b->clock = clock_create(0, 0);
  b->io = io_bus_create();
  b->bus = pci_init(&b->pci, b->io, b->mmu, (struct irq_line){0});
  for (unsigned i = 0; i < sizeof rom; i++) rom[i] = (uint8_t)(i * 7 + (i >> 8));
  const struct vga_config config = {&b->screen, rom, sizeof rom};
  b->card = vga_init(&b->state, &config, SLOT, &b->pci, b->io, b->mmu, b->clock);
  assert_non_null(b->card.name);
  b->vga = &b->state;
  return b;
}
static void unmake(struct board *b) {
  b->card.destroy(b->card.state);
  b->bus.destroy(b->bus.state);
  assert_null(mmu_check(b->mmu));
  assert_null(b->screen.front.copy);
  io_bus_destroy(b->io);
  mmu_destroy(b->mmu);
  clock_destroy(b->clock);
  free(b);
}
static int setup(void **state) { return *state = make(), 0; }
static int teardown(void **state) { return unmake(*state), 0; }

static uint8_t in(struct board *b, uint16_t port) { return (uint8_t)io_bus_read(b->io, port, 1); }
static void out(struct board *b, uint16_t port, uint8_t value) { io_bus_write(b->io, port, 1, value); }
static void out16(struct board *b, uint16_t port, uint16_t value) { io_bus_write(b->io, port, 2, value); }
static void set(struct board *b, uint16_t port, uint8_t index, uint8_t value) { out16(b, port, (uint16_t)(value << 8 | index)); }
static uint8_t get(struct board *b, uint16_t port, uint8_t index) { return out(b, port, index), in(b, port + 1); }
static void vbe(struct board *b, uint16_t index, uint16_t value) { out16(b, 0x1ce, index), out16(b, 0x1cf, value); }
static uint16_t vbe_get(struct board *b, uint16_t index) {
  out16(b, 0x1ce, index);
  return (uint16_t)io_bus_read(b->io, 0x1cf, 2);
}
static void poke(struct board *b, uint64_t at, uint8_t value) { mmu_phys_write(b->mmu, to_gpa(at), &value, 1); }
static uint8_t peek(struct board *b, uint64_t at) {
  uint8_t value;
  mmu_phys_read(b->mmu, to_gpa(at), &value, 1);
  return value;
}
static uint32_t dword(struct board *b, uint32_t n) { return b->vga->dwords[n]; }
static void config(struct board *b, unsigned reg, uint32_t value) {
  io_bus_write(b->io, 0xcf8, 4, 0x80000000u | SLOT << 8 | reg);
  io_bus_write(b->io, 0xcfc, 4, value);
}
static uint32_t config_of(struct board *b, unsigned reg) {
  io_bus_write(b->io, 0xcf8, 4, 0x80000000u | SLOT << 8 | reg);
  return io_bus_read(b->io, 0xcfc, 4);
}

/* ---- registers ---- */

static void registers_have_the_bits_that_there_are(void **state) {
  static const uint8_t sequencer[8] = {0x03, 0x3d, 0x0f, 0x3f, 0x0e};
  static const uint8_t graphics[16] = {0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff};
  struct board *b = *state;
  for (uint8_t i = 0; i < 8; i++) set(b, 0x3c4, i, 0xff), assert_int_equal(get(b, 0x3c4, i), sequencer[i]);
  for (uint8_t i = 0; i < 16; i++) set(b, 0x3ce, i, 0xff), assert_int_equal(get(b, 0x3ce, i), graphics[i]);
  out(b, 0x3c2, 0x67);
  assert_int_equal(in(b, 0x3cc), 0x67);
  for (unsigned i = 0; i < 256; i++) {
    out16(b, 0x3d4, (uint16_t)(0xff00 | i));
    if (i != 0x11 && i > 7) assert_int_equal(in(b, 0x3d5), i < 25 ? 0xff : 0);
  }
}

static void crtc_registers_0_to_7_can_be_locked(void **state) {
  struct board *b = *state;
  out(b, 0x3c2, 0x67);
  set(b, 0x3d4, 0x11, 0), set(b, 0x3d4, 0, 0x5f), set(b, 0x3d4, 7, 0x1f);
  set(b, 0x3d4, 0x11, 0x80), set(b, 0x3d4, 0, 0x11), set(b, 0x3d4, 7, 0xe0);
  assert_int_equal(get(b, 0x3d4, 0), 0x5f);
  assert_int_equal(get(b, 0x3d4, 7), 0x0f); /* bit 4 is the line compare's */
  set(b, 0x3d4, 0x0e, 0x12), set(b, 0x3d4, 0x0f, 0x34);
  assert_int_equal(get(b, 0x3d4, 0x0e) << 8 | get(b, 0x3d4, 0x0f), 0x1234);
}

static void crtc_is_at_3b4_or_at_3d4(void **state) {
  struct board *b = *state;
  out(b, 0x3c2, 0x66);
  set(b, 0x3b4, 0x0e, 0x42);
  assert_int_equal(get(b, 0x3b4, 0x0e), 0x42);
  assert_int_equal(in(b, 0x3d5), 0xff), assert_int_equal(in(b, 0x3da), 0xff);
  out(b, 0x3c2, 0x67);
  assert_int_equal(get(b, 0x3d4, 0x0e), 0x42);
  assert_int_equal(in(b, 0x3b5), 0xff), assert_int_equal(in(b, 0x3ba), 0xff);
}

static void attribute_port_is_index_and_data_by_turns(void **state) {
  struct board *b = *state;
  out(b, 0x3c2, 0x67);
  in(b, 0x3da);
  out(b, 0x3c0, 0x03), out(b, 0x3c0, 0xff), out(b, 0x3c0, 0x10), out(b, 0x3c0, 0xff);
  out(b, 0x3c0, 0x23);
  assert_int_equal(in(b, 0x3c1), 0x3f);
  in(b, 0x3da); /* index again */
  assert_int_equal(in(b, 0x3c0), 0x23);
  out(b, 0x3c0, 0x10);
  assert_int_equal(in(b, 0x3c1), 0xef);
  out(b, 0x3c0, 0), in(b, 0x3da);
  out(b, 0x3c0, 0x1f), out(b, 0x3c0, 0xff); /* no such register */
  assert_int_equal(in(b, 0x3c1), 0);
}

static void dac_goes_on_by_itself(void **state) {
  struct board *b = *state;
  out(b, 0x3c8, 254);
  for (uint8_t i = 1; i <= 9; i++) out(b, 0x3c9, i); /* 254, 255, 0 */
  assert_int_equal(in(b, 0x3c8), 1);
  assert_int_equal(in(b, 0x3c7), 0);
  out(b, 0x3c7, 255);
  assert_int_equal(in(b, 0x3c7), 3);
  for (uint8_t i = 4; i <= 9; i++) assert_int_equal(in(b, 0x3c9), i);
  assert_int_equal(in(b, 0x3c6), 0xff);
  out(b, 0x3c6, 0x0f);
  assert_int_equal(in(b, 0x3c6), 0x0f);
}

/* Programs that wait for a CGA's retrace before each cell of text do not wait long. */
static void in_text_modes_the_status_toggles(void **state) {
  struct board *b = *state;
  vga_leave_as_bios(b->vga);
  unsigned first = in(b, 0x3da);
  for (unsigned i = 0; i < 10; i++) {
    assert_int_equal(in(b, 0x3da), first ^ 9);
    assert_int_equal(in(b, 0x3da), first);
  }
}

/* 70 retraces a second in a graphics mode of 400 lines, by the guest's clock, of two lines each. */
static void retrace_follows_the_guests_clock(void **state) {
  struct board *b = *state;
  enum { STEP = 5000 };
  unsigned rises = 0, in_retrace = 0, last = 8;
  vga_leave_as_bios(b->vga);
  out(b, 0x3ce, 6), out(b, 0x3cf, 0x0f);
  for (int64_t t = 0; t < 1000000000; t += STEP) {
    clock_skip_to(b->clock, clock_now(b->clock) + STEP);
    unsigned now = in(b, 0x3da) & 8;
    rises += now && !last, in_retrace += now != 0, last = now;
  }
  assert_in_range(rises, 69, 71);
  assert_in_range(in_retrace, 70 * 2 * 31777 / STEP * 9 / 10, 70 * 2 * 31777 / STEP * 11 / 10);
}

/* ---- memory: against a model that is one switch after the other in the order of the manual ---- */

struct model {
  uint8_t plane[4][0x10000], latch[4], seq[5], gfx[9];
};
static uint8_t bit_of(unsigned value, unsigned plane) { return value >> plane & 1 ? 0xff : 0; }

static void model_write(struct model *m, uint16_t at, uint8_t value) {
  bool odd_even = m->gfx[5] & 0x10;
  for (unsigned p = 0; p < 4; p++) {
    uint8_t rotated = (uint8_t)(value >> (m->gfx[3] & 7) | value << (8 - (m->gfx[3] & 7))), mask = m->gfx[8], data = 0;
    if (!(m->seq[2] >> p & 1) || (odd_even && (at & 1) != (p & 1))) continue;
    switch (m->gfx[5] & 3) {
    case 0: data = m->gfx[1] >> p & 1 ? bit_of(m->gfx[0], p) : rotated; break;
    case 1: m->plane[p][odd_even ? at / 2 : at] = m->latch[p]; continue;
    case 2: data = bit_of(value, p); break;
    case 3: data = bit_of(m->gfx[0], p), mask &= rotated; break;
    }
    switch (m->gfx[3] >> 3) {
    case 1: data &= m->latch[p]; break;
    case 2: data |= m->latch[p]; break;
    case 3: data ^= m->latch[p]; break;
    }
    m->plane[p][odd_even ? at / 2 : at] = (uint8_t)((data & mask) | (m->latch[p] & ~mask));
  }
}

static uint8_t model_read(struct model *m, uint16_t at) {
  bool odd_even = m->gfx[5] & 0x10;
  uint8_t equal = 0xff;
  for (unsigned p = 0; p < 4; p++) m->latch[p] = m->plane[p][odd_even ? at / 2 : at];
  if (!(m->gfx[5] & 8)) return m->latch[odd_even ? (m->gfx[4] & 2) | (at & 1) : m->gfx[4] & 3];
  for (unsigned p = 0; p < 4; p++)
    if (m->gfx[7] >> p & 1) equal &= (uint8_t) ~(m->latch[p] ^ bit_of(m->gfx[2], p));
  return equal;
}

static uint32_t random_word(void) {
  static uint64_t seed = 88172645463325252ull; /* of the test alone */
  seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
  return (uint32_t)(seed >> 16);
}

/* Registers that the planes' window looks at; the neutral values of text and of mode 12h are as likely as all others together. */
static void random_register(struct board *b, struct model *m) {
  static const uint8_t neutral[9] = {0, 0, 0, 0, 0, 0, 0, 15, 0xff};
  static const uint8_t bits[9] = {0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x1b, 0, 0x0f, 0xff};
  uint8_t i = (uint8_t)(random_word() % 9), value = (uint8_t)random_word();
  if (i == 6) {
    m->seq[2] = random_word() & 1 ? (random_word() & 1 ? 15 : 3) : value & 15;
    set(b, 0x3c4, 2, m->seq[2]);
    return;
  }
  m->gfx[i] = random_word() & 1 ? neutral[i] : value & bits[i];
  if (i == 5 && random_word() & 1) m->gfx[5] |= 0x10;
  set(b, 0x3ce, i, m->gfx[i]);
}

/* In CELLS reads through memory load no latches, which is a deviation that is named: the model is told of it. */
static void random_access(struct board *b, struct model *m, uint64_t base, uint32_t size) {
  uint32_t word = random_word(), at = word % size;
  unsigned bytes = 1u << (word >> 30 & 1);
  at &= ~(bytes - 1);
  if (random_word() & 1) {
    uint16_t value = (uint16_t)random_word();
    mmu_phys_write(b->mmu, to_gpa(base + at), &value, bytes);
    for (unsigned i = 0; i < bytes; i++) model_write(m, (uint16_t)(at + i), (uint8_t)(value >> 8 * i));
    return;
  }
  uint8_t latch[4], got[2];
  memcpy(latch, m->latch, 4);
  mmu_phys_read(b->mmu, to_gpa(base + at), got, bytes);
  for (unsigned i = 0; i < bytes; i++) assert_int_equal(got[i], model_read(m, (uint16_t)(at + i)));
  if (b->vga->window.layout == WINDOW_CELLS) memcpy(m->latch, latch, 4);
}

static void compare_planes(struct board *b, const struct model *m) {
  set(b, 0x3ce, 5, m->gfx[5] & ~0x10 & 0x0f); /* planes come back from the cells */
  for (uint32_t n = 0; n < 0x10000; n++)
    for (unsigned p = 0; p < 4; p++)
      if ((dword(b, n) >> 8 * p & 0xff) != m->plane[p][n])
        fail_msg("dword %x is %08x, plane %u has %02x", n, dword(b, n), p, m->plane[p][n]);
  set(b, 0x3ce, 5, m->gfx[5]);
}

static void random_stores(struct board *b, uint8_t map, uint64_t base, uint32_t size, unsigned rounds) {
  struct model *m = calloc(1, sizeof *m);
  unsigned cells = 0;
  out(b, 0x3c2, 0x67);
  set(b, 0x3c4, 4, 6), set(b, 0x3ce, 6, map);
  for (unsigned i = 0; i < 5; i++) m->seq[i] = b->vga->r.seq[i];
  for (unsigned i = 0; i < 9; i++) m->gfx[i] = b->vga->r.gfx[i];
  for (uint32_t i = 0; i < size; i += 2) model_write(m, (uint16_t)i, 0); /* what is there */
  for (unsigned i = 0; i < rounds; i++) {
    if (random_word() % 8 == 0) random_register(b, m);
    random_access(b, m, base, size);
    cells += b->vga->window.layout == WINDOW_CELLS;
    if (i % (rounds / 4) == 0) compare_planes(b, m);
  }
  compare_planes(b, m);
  if (base == TEXT) assert_in_range(cells, rounds / 1000, rounds); /* both ways were tried */
  free(m);
}

static void planes_are_written_and_read_as_the_manual_says(void **state) { random_stores(*state, 5, WINDOW, 0x10000, 400000); }
static void cells_are_planes_0_and_1(void **state) { random_stores(*state, 0x0f, TEXT, 0x8000, 400000); }

static void map_select_says_where_the_window_is(void **state) {
  static const struct {
    uint32_t first, last;
  } maps[] = {{0xa0000, 0xbffff}, {0xa0000, 0xaffff}, {0xb0000, 0xb7fff}, {0xb8000, 0xbffff}};
  struct board *b = *state;
  set(b, 0x3c4, 4, 6), set(b, 0x3c4, 2, 15), set(b, 0x3ce, 8, 0xff);
  for (uint8_t map = 0; map < 4; map++) {
    out(b, 0x3c2, 0x67), set(b, 0x3ce, 6, (uint8_t)(map << 2 | 1));
    for (uint32_t at = 0xa0000; at < 0xc0000; at += 0x7fff) {
      bool inside = at >= maps[map].first && at <= maps[map].last;
      poke(b, at, 0x5a);
      assert_int_equal(peek(b, at), inside ? 0x5a : 0xff);
      if (inside) assert_int_equal(dword(b, at - maps[map].first), 0x5a5a5a5a);
    }
    out(b, 0x3c2, 0x65); /* no RAM for the CPU */
    assert_int_equal(peek(b, maps[map].first), 0xff);
  }
}

static void chain_4_is_memory_in_a_row(void **state) {
  struct board *b = *state;
  out(b, 0x3c2, 0x63);
  set(b, 0x3c4, 4, 0x0e), set(b, 0x3c4, 2, 15), set(b, 0x3ce, 6, 5), set(b, 0x3ce, 8, 0xff), set(b, 0x3ce, 5, 0x40);
  assert_int_equal(b->vga->window.layout, WINDOW_LINEAR);
  for (uint32_t i = 0; i < 0x10000; i++) poke(b, WINDOW + i, (uint8_t)(i * 3));
  assert_int_equal(dword(b, 0x3fff), 0xfdfaf7f4);
  set(b, 0x3c4, 2, 5); /* planes 0 and 2 alone */
  assert_int_equal(b->vga->window.layout, WINDOW_PLANES);
  for (uint32_t i = 0; i < 4; i++) poke(b, WINDOW + i, 0xee);
  assert_int_equal(dword(b, 0), 0x09ee03ee);
  assert_int_equal(peek(b, WINDOW + 3), 9);
  set(b, 0x3c4, 4, 6), set(b, 0x3c4, 2, 2); /* mode X */
  poke(b, WINDOW + 1, 0x77);
  assert_int_equal(dword(b, 1), 0x1512770c);
}

/* ---- VBE ---- */

static void vbe_mode_of(struct board *b, uint16_t width, uint16_t height, uint16_t bits, uint16_t more) {
  vbe(b, 4, 0), vbe(b, 1, width), vbe(b, 2, height), vbe(b, 3, bits), vbe(b, 4, 1 | more);
}

static void vbe_sizes_are_made_to_fit(void **state) {
  struct board *b = *state;
  assert_int_equal(vbe_get(b, 0), 0xb0c5);
  vbe(b, 0, 0xb0c2), assert_int_equal(vbe_get(b, 0), 0xb0c2);
  vbe(b, 0, 0x1234), assert_int_equal(vbe_get(b, 0), 0xb0c2);
  assert_int_equal(vbe_get(b, 10), 256); /* 16 MiB */
  vbe(b, 4, 2);
  assert_int_equal(vbe_get(b, 1), 16000), assert_int_equal(vbe_get(b, 2), 12000), assert_int_equal(vbe_get(b, 3), 32);
  vbe_mode_of(b, 1923, 0xffff, 32, 0);
  assert_int_equal(vbe_get(b, 1), 1920), assert_int_equal(vbe_get(b, 2), (16 << 20) / 7680);
  vbe_mode_of(b, 0, 0, 7, 0);
  assert_int_equal(vbe_get(b, 1), 8), assert_int_equal(vbe_get(b, 2), 1), assert_int_equal(vbe_get(b, 3), 8);
  vbe_mode_of(b, 640, 480, 16, 0);
  vbe(b, 6, 1024), vbe(b, 9, 7000), vbe(b, 8, 100);
  assert_int_equal(vbe_get(b, 6), 1024), assert_int_equal(vbe_get(b, 7), 8192), assert_int_equal(vbe_get(b, 9), 7000);
  assert_int_equal(vbe_get(b, 8), 100);
  vbe(b, 9, 8000); /* the last line would not be there */
  assert_int_equal(vbe_get(b, 9), 0);
}

static void vbe_memory_is_seen_through_banks_and_bar(void **state) {
  struct board *b = *state;
  out(b, 0x3c2, 0x67);
  config(b, 0x10, VRAM), config(b, 0x04, 2);
  poke(b, VRAM + 0x30005, 0x99);
  vbe_mode_of(b, 1024, 768, 8, 0x80); /* memory is kept */
  assert_int_equal(peek(b, VRAM + 0x30005), 0x99);
  vbe(b, 5, 3);
  assert_int_equal(peek(b, WINDOW + 5), 0x99);
  poke(b, WINDOW + 6, 0x42);
  assert_int_equal(peek(b, VRAM + 0x30006), 0x42);
  vbe(b, 5, 0xffff);
  poke(b, WINDOW + 0xffff, 0x17);
  assert_int_equal(peek(b, VRAM + VGA_MEMORY - 1), 0x17);
  vbe_mode_of(b, 1024, 768, 8, 0);
  assert_int_equal(peek(b, VRAM + 0x30005), 0);
  assert_int_equal(peek(b, VRAM + VGA_MEMORY - 1), 0x17); /* behind the picture */
}

static void registers_are_in_bar_2_too(void **state) {
  struct board *b = *state;
  uint16_t id;
  uint8_t sum = 0;
  config(b, 0x18, REGISTERS), config(b, 0x04, 2);
  poke(b, REGISTERS + 0x402, 0x67); /* 3C2h */
  assert_int_equal(peek(b, REGISTERS + 0x40c), 0x67);
  mmu_phys_read(b->mmu, to_gpa(REGISTERS + 0x500), &id, 2);
  assert_int_equal(id, 0xb0c5);
  uint16_t width = 800;
  mmu_phys_write(b->mmu, to_gpa(REGISTERS + 0x502), &width, 2);
  assert_int_equal(vbe_get(b, 1), 800);
  uint32_t endian;
  mmu_phys_read(b->mmu, to_gpa(REGISTERS + 0x604), &endian, 4);
  assert_int_equal(endian, 0x1e1e1e1e);
  for (unsigned i = 0; i < 128; i++) sum = (uint8_t)(sum + peek(b, REGISTERS + i));
  assert_int_equal(sum, 0);
  assert_int_equal(peek(b, REGISTERS + 1), 0xff);
}

/* ---- the card ---- */

/* It has no BAR for its ports, but a firmware takes a card whose I/O cannot be enabled for no VGA, and runs no BIOS of its. */
static void the_command_register_has_the_ports_bit(void **state) {
  struct board *b = *state;
  config(b, 0x04, 3);
  assert_int_equal(config_of(b, 0x04) & 3, 3);
}

static void the_rom_is_read_and_never_written(void **state) {
  struct board *b = *state;
  assert_int_equal(config_of(b, 0), 0x11111234);
  config(b, 0x30, 0xffffffff);
  assert_int_equal(config_of(b, 0x30), 0xffff0001);
  config(b, 0x30, 0xe2000001), config(b, 0x04, 2);
  for (unsigned i = 0; i < sizeof rom; i += 777) {
    poke(b, 0xe2000000 + i, 0xcc);
    assert_int_equal(peek(b, 0xe2000000 + i), rom[i]);
  }
}

static void a_bios_leaves_an_empty_text_screen(void **state) {
  struct board *b = *state;
  vga_leave_as_bios(b->vga);
  for (unsigned i = 0; i < 0x8000; i += 2) {
    assert_int_equal(peek(b, TEXT + i), ' ');
    assert_int_equal(peek(b, TEXT + i + 1), 7);
  }
  assert_int_equal(get(b, 0x3d4, 1), 0x4f);
  assert_int_equal(in(b, 0x3c0), 0x20);
  b->card.reset(b->card.state);
  assert_int_equal(in(b, 0x3cc), 0);
  assert_int_equal(in(b, 0x3d5), 0xff);
  vga_leave_as_bios(b->vga);
  assert_int_equal(peek(b, TEXT), ' ');
}

static void save(struct board *b, struct state_buffer *to) { fields_save(to, b->card.fields, b->card.state); }

static void a_saved_card_goes_on(void **state) {
  struct board *b = *state, *other = make();
  struct state_buffer saved = {0};
  vga_leave_as_bios(b->vga);
  poke(b, TEXT + 100, 'x');
  out(b, 0x3c8, 7), out(b, 0x3c9, 1), out(b, 0x3c0, 0x11);
  config(b, 0x10, VRAM), config(b, 0x04, 2);
  save(b, &saved);
  for (uint32_t frame = mmu_next_frame(b->mmu, 0); frame != MMU_NO_FRAME; frame = mmu_next_frame(b->mmu, frame + 1))
    memcpy(mmu_frame_pointer(other->mmu, frame), mmu_frame_pointer(b->mmu, frame), MMU_PAGE);
  struct state_reader r = {saved.bytes, saved.size, NULL};
  fields_load(&r, other->card.fields, other->card.state);
  assert_null(r.error);
  other->card.loaded(other->card.state);
  assert_int_equal(peek(other, TEXT + 100), 'x');
  assert_int_equal(peek(other, TEXT), ' ');
  out(other, 0x3c0, 0x55), out(other, 0x3c9, 2), out(other, 0x3c9, 3); /* both in the middle of something */
  assert_int_equal(in(other, 0x3c1), 0x55);
  out(other, 0x3c7, 7);
  assert_int_equal(in(other, 0x3c9), 1), assert_int_equal(in(other, 0x3c9), 2);
  set(other, 0x3ce, 5, 0);
  assert_int_equal(dword(other, 50) & 0xff, 'x');
  free(saved.bytes);
  unmake(other);
}

/* ---- what a screen copies ---- */

static uint64_t number_of(struct board *b, uint32_t *pixel) {
  static uint32_t pixels[720 * 400];
  struct display_pixels p = {.pixels = pixels, .stride = 720, .capacity = 720 * 400};
  b->screen.front.copy(b->screen.front.opaque);
  uint64_t number = b->screen.front.pixels(b->screen.front.opaque, 0, &p);
  if (pixel) *pixel = pixels[0];
  return number;
}

static void only_what_changes_is_new(void **state) {
  struct board *b = *state;
  uint32_t pixel;
  vga_leave_as_bios(b->vga);
  uint64_t first = number_of(b, &pixel);
  assert_int_equal(pixel, 0);
  assert_int_equal(number_of(b, NULL), first);
  poke(b, TEXT + 1, 0x47);
  assert_int_equal(number_of(b, &pixel), first + 1);
  assert_int_equal(pixel, 0xa80000);
  assert_int_equal(number_of(b, NULL), first + 1);
  out(b, 0x3c8, 4), out(b, 0x3c9, 0x3f), out(b, 0x3c9, 0), out(b, 0x3c9, 0);
  assert_int_equal(number_of(b, &pixel), first + 2);
  assert_int_equal(pixel, 0xff0000);
}

static void cells_have_colours_and_a_cursor(void **state) {
  struct board *b = *state;
  static struct display_cell cells[80 * 25];
  struct display_text text = {.cells = cells, .capacity = 80 * 25};
  vga_leave_as_bios(b->vga);
  poke(b, TEXT + 162, 'A'), poke(b, TEXT + 163, 0x9e);
  set(b, 0x3d4, 0x0e, 0), set(b, 0x3d4, 0x0f, 83);
  b->screen.front.copy(b->screen.front.opaque);
  assert_int_equal(b->screen.front.cells(b->screen.front.opaque, 0, &text), 1);
  assert_int_equal(text.geometry.columns, 80), assert_int_equal(text.geometry.rows, 25);
  assert_int_equal(text.geometry.width, 720), assert_int_equal(text.geometry.cell_height, 16);
  assert_int_equal(cells[81].character, 'A');
  assert_int_equal(cells[81].foreground, 14), assert_int_equal(cells[81].background, 1);
  assert_int_equal(cells[81].flags, DISPLAY_BLINKS);
  assert_int_equal(text.palette[14], 0xfcfc57 | 0x030300); /* yellow: 3Fh is FFh, 15h is 57h */
  assert_true(text.cursor.shown);
  assert_int_equal(text.cursor.column, 3), assert_int_equal(text.cursor.row, 1);
  assert_int_equal(text.cursor.first, 13), assert_int_equal(text.cursor.last, 14);
  text.capacity = 10;
  assert_int_equal(b->screen.front.cells(b->screen.front.opaque, 0, &text), 0);
  vbe_mode_of(b, 640, 480, 32, 0);
  b->screen.front.copy(b->screen.front.opaque);
  assert_int_equal(b->screen.front.cells(b->screen.front.opaque, 0, &text), 0);
  assert_int_equal(text.geometry.columns, 0), assert_int_equal(text.geometry.width, 640);
}

static void only_lines_that_were_written_are_drawn(void **state) {
  static uint32_t pixels[640 * 480];
  struct board *b = *state;
  struct display_pixels p = {.pixels = pixels, .stride = 640, .capacity = 640 * 480};
  const struct display_front *front = &b->screen.front;
  config(b, 0x10, VRAM), config(b, 0x04, 2);
  vbe_mode_of(b, 640, 480, 32, 0);
  front->copy(front->opaque);
  uint64_t first = front->pixels(front->opaque, 0, &p);
  assert_int_equal(p.count, 480);
  in(b, 0x3da), out(b, 0x3c0, 0x20), out(b, 0x3c2, 0x67); /* on */
  front->copy(front->opaque);
  uint64_t second = front->pixels(front->opaque, first, &p);
  assert_int_equal(second, first + 1);
  poke(b, VRAM + 100 * 2560 + 4, 0x55), poke(b, VRAM + 100 * 2560 + 6, 0x77), poke(b, VRAM + (4 << 20), 1);
  front->copy(front->opaque);
  assert_int_equal(front->pixels(front->opaque, second, &p), second + 1);
  assert_in_range(p.first, 97, 100), assert_in_range(p.count, 1, 6); /* of one page */
  assert_int_equal(pixels[100 * 640 + 1], 0x770055);
  poke(b, VRAM + (4 << 20), 2); /* nobody sees it */
  front->copy(front->opaque);
  assert_int_equal(front->pixels(front->opaque, second + 1, &p), second + 1);
}

/* An OUT that parks nothing does what one through the bus does, or says that it has not. */
static void fast_ports_do_what_the_bus_does(void **state) {
  struct board *b = *state, *other = make();
  static const uint16_t ports[] = {0x3c4, 0x3c5, 0x3ce, 0x3cf, 0x3c6, 0x3cc};
  unsigned fast = 0;
  out(b, 0x3c2, 0x67), out(other, 0x3c2, 0x67);
  for (unsigned i = 0; i < 200000; i++) {
    uint16_t port = ports[random_word() % 6];
    unsigned size = 1u << random_word() % 2;
    uint32_t value = random_word() & 0x1f0f;
    if (random_word() & 1) value |= 0x0e06; /* the registers that the window depends on */
    if (vga_fast_port_write(b->vga, port, size, value)) fast++;
    else io_bus_write(b->io, port, size, value);
    io_bus_write(other->io, port, size, value);
    assert_memory_equal(&b->vga->r, &other->vga->r, sizeof b->vga->r);
    assert_int_equal(b->vga->seq_index, other->vga->seq_index), assert_int_equal(b->vga->gfx_index, other->vga->gfx_index);
    assert_int_equal(b->vga->window.layout, other->vga->window.layout);
    assert_int_equal(b->vga->window.start, other->vga->window.start),
      assert_int_equal(b->vga->window.size, other->vga->window.size);
    assert_int_equal(b->vga->window.chain_4, other->vga->window.chain_4);
    assert_int_equal(b->vga->window.odd_even, other->vga->window.odd_even);
  }
  assert_in_range(fast, 60000, 199999);
  io_bus_add(b->io, 0x3ce, 2, &(struct io_ops){0}, b, "over it"); /* somebody's BAR */
  assert_false(vga_fast_port_write(b->vga, 0x3ce, 2, 0xff08));
  io_bus_remove(b->io, 0x3ce, 2);
  unmake(other);
}

/* The planes are as near as memory where nothing lies over them and paging is off; cells and chain-4 are memory. */
static void planes_are_a_plain_window(void **state) {
  struct board *b = *state;
  struct mmu_cpu *cpu = mmu_cpu(b->mmu, 0);
  uint64_t offset;
  const struct mmu_mode real = {.a20 = true};
  assert_true(mmu_set_mode(cpu, &real, false));
  out(b, 0x3c2, 0x67), set(b, 0x3c4, 4, 6), set(b, 0x3ce, 6, 5), set(b, 0x3ce, 8, 0xff), set(b, 0x3c4, 2, 15);
  const struct mmu_plain *p = mmu_plain_at(cpu, to_gla(WINDOW + 0x123), 2, &offset);
  assert_non_null(p);
  assert_int_equal(offset, 0x123);
  p->ops->write(p->opaque, offset, 2, 0x55aa);
  assert_int_equal(dword(b, 0x123), 0xaaaaaaaa), assert_int_equal(dword(b, 0x124), 0x55555555);
  assert_null(mmu_plain_at(cpu, to_gla(WINDOW - 1), 2, &offset));
  assert_null(mmu_plain_at(cpu, to_gla(0xc0000 - 1), 2, &offset));
  set(b, 0x3c4, 4, 14); /* chain-4 */
  assert_null(mmu_plain_at(cpu, to_gla(WINDOW + 0x123), 2, &offset));
  assert_non_null(mmu_plain_at(cpu, to_gla(0xb0000), 2, &offset)); /* beside it nothing answers, but the device says so */
  set(b, 0x3c4, 4, 6);
  const struct mmu_mode paged = {.paging = true, .a20 = true, .cr3 = 0x1000};
  assert_true(mmu_set_mode(cpu, &paged, false));
  assert_null(mmu_plain_at(cpu, to_gla(WINDOW + 0x123), 2, &offset));
  assert_true(mmu_set_mode(cpu, &real, false));
}

/* ---- random accesses: nothing that a guest writes leads out of memory ---- */

static void random_guest(void **state) {
  struct board *b = *state;
  static uint32_t pixels[1 << 20];
  static struct display_cell cells[1 << 16];
  config(b, 0x10, VRAM), config(b, 0x18, REGISTERS), config(b, 0x04, 2);
  for (unsigned i = 0; i < 300000; i++) {
    uint32_t r = random_word(), value = random_word();
    static const uint16_t ports[] = {0x3b4, 0x3b5, 0x3ba, 0x3c0, 0x3c1, 0x3c2, 0x3c4, 0x3c5, 0x3c6, 0x3c7, 0x3c8,
                                     0x3c9, 0x3ce, 0x3cf, 0x3d4, 0x3d5, 0x3da, 0x1ce, 0x1cf, 0x1d0, 0x1d1};
    uint16_t port = ports[r % (sizeof ports / sizeof *ports)];
    unsigned size = 1u << (r >> 8) % 3;
    switch (r >> 16 & 7) {
    case 0: io_bus_read(b->io, port, size); break;
    case 1: vbe(b, (uint16_t)(r >> 20 & 15), (uint16_t)(value >> (value & 15))); break;
    case 2:
    case 3: mmu_phys_write(b->mmu, to_gpa(WINDOW + (value & 0x1ffff)), &r, size); break;
    case 4: mmu_phys_read(b->mmu, to_gpa(WINDOW + (value & 0x1ffff)), &value, size); break;
    case 5: mmu_phys_write(b->mmu, to_gpa(REGISTERS + (value & 0x7ff)), &r, size); break;
    default: io_bus_write(b->io, port, size, value & 0x80 ? value : value & 0x1f0f);
    }
    if (i % 200) continue;
    struct display_pixels p = {.pixels = pixels, .stride = 1024, .capacity = 1 << 20, .how = value & 7};
    struct display_text t = {.cells = cells, .capacity = 1 << 16};
    b->screen.front.copy(b->screen.front.opaque);
    b->screen.front.pixels(b->screen.front.opaque, value & 1 ? 0 : i / 400, &p);
    b->screen.front.cells(b->screen.front.opaque, 0, &t);
  }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void) {
  const struct CMUnitTest tests[] = {
    TEST(registers_have_the_bits_that_there_are),
    TEST(crtc_registers_0_to_7_can_be_locked),
    TEST(crtc_is_at_3b4_or_at_3d4),
    TEST(attribute_port_is_index_and_data_by_turns),
    TEST(dac_goes_on_by_itself),
    TEST(in_text_modes_the_status_toggles),
    TEST(retrace_follows_the_guests_clock),
    TEST(planes_are_written_and_read_as_the_manual_says),
    TEST(cells_are_planes_0_and_1),
    TEST(map_select_says_where_the_window_is),
    TEST(chain_4_is_memory_in_a_row),
    TEST(vbe_sizes_are_made_to_fit),
    TEST(vbe_memory_is_seen_through_banks_and_bar),
    TEST(registers_are_in_bar_2_too),
    TEST(the_command_register_has_the_ports_bit),
    TEST(the_rom_is_read_and_never_written),
    TEST(a_bios_leaves_an_empty_text_screen),
    TEST(a_saved_card_goes_on),
    TEST(only_what_changes_is_new),
    TEST(cells_have_colours_and_a_cursor),
    TEST(only_lines_that_were_written_are_drawn),
    TEST(fast_ports_do_what_the_bus_does),
    TEST(planes_are_a_plain_window),
    TEST(random_guest),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
