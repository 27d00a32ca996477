/* What the VGA's BIOS leaves when a kernel is started, for -kernel, where none is run: text mode 3 on an empty screen, through
 * the card's ports as a BIOS does it. Values: the mode table of the VGA BIOS 1.16.2 (SeaBIOS) in QEMU 7.2, read back in a guest.
 * The 8x16 font is taken out of the card's ROM; without a ROM there is none, and only who reads cells sees text. */
#include <string.h>
#include "vga_state.h"

enum {
  ATTR_PORT = 0,
  MISC_PORT = 2,
  SEQ_PORT = 4,
  DAC_MASK_PORT = 6,
  DAC_PORT = 8,
  GFX_PORT = 14,
  CRTC_PORT = 0x14,
  STATUS_PORT = 0x1a
};
enum { FONT_SIZE = 256 * 16, GLYPH = 16, GLYPH_ROOM = 32, BLANK = 0x0720, ACTIVE_COLOURS = 64 };

static const uint8_t seq[SEQ_COUNT] = {0x03, 0x00, 0x03, 0x00, 0x02};
static const uint8_t gfx[GFX_COUNT] = {0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0e, 0x0f, 0xff};
static const uint8_t attr[ATTR_COUNT] = {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3a,
                                         0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x0c, 0x00, 0x0f, 0x08, 0x00};
static const uint8_t crtc[CRTC_COUNT] = {0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00,
                                         0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff};

/* The face of code 1, which follows the blank of code 0: that the ROM has its font there is all that is known of it. */
static const uint8_t *find_font(const struct vga *s) {
  static const uint8_t face[2 * GLYPH] = {[GLYPH] = 0, 0, 0x7e, 0x81, 0xa5, 0x81, 0x81, 0xbd, 0x99, 0x81, 0x81, 0x7e};
  for (uint32_t at = 0; s->rom && at + FONT_SIZE <= s->rom_size; at++)
    if (!memcmp(s->rom + at, face, sizeof face)) return s->rom + at;
  return NULL;
}

/* Into plane 2, a dword's byte 2. */
static void load_font(struct vga *s) {
  const uint8_t *font = find_font(s);
  uint32_t page[MMU_PAGE / 4];
  enum { GLYPHS_A_PAGE = MMU_PAGE / 4 / GLYPH_ROOM };
  for (unsigned first = 0; font && first < 256; first += GLYPHS_A_PAGE) {
    uint32_t dword = first * GLYPH_ROOM;
    memcpy(page, s->dwords + dword, MMU_PAGE);
    for (unsigned i = 0; i < MMU_PAGE / 4; i++) {
      unsigned line = i % GLYPH_ROOM, glyph = first + i / GLYPH_ROOM;
      page[i] = (page[i] & ~0xff0000u) | (line < GLYPH ? (uint32_t)font[glyph * GLYPH + line] << 16 : 0);
    }
    mmu_area_write(s->mmu, s->function.area[VGA_BAR], (uint64_t)dword * 4, page, MMU_PAGE);
  }
}

static void clear_screen(struct vga *s) {
  uint16_t page[MMU_PAGE / 2];
  for (unsigned i = 0; i < MMU_PAGE / 2; i++) page[i] = BLANK;
  for (uint32_t at = 0; at < VGA_CELLS; at += MMU_PAGE) mmu_area_write(s->mmu, s->cells, at, page, MMU_PAGE);
}

/* EGA's 64 colours: bits 0-2 are two thirds of blue, green and red, bits 3-5 one third. */
static void load_palette(struct vga *s) {
  vga_port_write(s, DAC_MASK_PORT, 0xff);
  vga_port_write(s, DAC_PORT, 0);
  for (unsigned i = 0; i < ACTIVE_COLOURS; i++)
    for (unsigned bit = 3; bit-- > 0;)
      vga_port_write(s, DAC_PORT + 1, (uint8_t)((i >> bit & 1) * 0x2a + (i >> (bit + 3) & 1) * 0x15));
}

static void write_indexed(struct vga *s, unsigned port, const uint8_t *values, unsigned count) {
  for (unsigned i = 0; i < count; i++) vga_port_write(s, port, (uint8_t)i), vga_port_write(s, port + 1, values[i]);
  vga_port_write(s, port, 0);
}

static void write_attributes(struct vga *s) {
  vga_port_read(s, STATUS_PORT);
  for (unsigned i = 0; i < ATTR_COUNT; i++) vga_port_write(s, ATTR_PORT, (uint8_t)i), vga_port_write(s, ATTR_PORT, attr[i]);
  vga_port_write(s, ATTR_PORT, ATTR_ON);
  vga_port_read(s, STATUS_PORT);
}

void vga_leave_as_bios(struct vga *s) {
  load_font(s);
  load_palette(s);
  vga_port_write(s, MISC_PORT, 0x67);
  write_indexed(s, SEQ_PORT, seq, SEQ_COUNT);
  write_indexed(s, GFX_PORT, gfx, GFX_COUNT);
  write_indexed(s, CRTC_PORT, crtc, CRTC_COUNT);
  write_attributes(s);
  clear_screen(s);
}
