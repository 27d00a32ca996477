/* What registers mean for a picture: sizes, addresses, palettes. Pure; of the card's registers and of a copy's. IBM PS/2 Hardware
 * Interface Technical Reference, "CRT Controller Registers", "Attribute Controller Registers"; sizes as QEMU's pictures have
 * them, so that dots of half the rate count twice.
 *
 * The CRTC counts character lines: `row` of them is behind the start address, and of each it shows `scan` 0 up to the maximum
 * scan line. In CGA's modes bits of the scan line take the place of address bits 13 and 14, in hardware's byte addresses; a dword
 * here is a byte of a plane in byte mode, two in word mode. */
#include "vga_draw.h"

enum { SCAN_LINES = 0x1f, DOUBLE_SCAN = 0x80, MODE_KEEPS_13 = 1, MODE_KEEPS_14 = 2, MODE_BYTES = 0x40 };

/* ---- VBE ---- */

struct vbe_mode vbe_mode(const struct vga_registers *r) {
  const uint16_t *v = r->vbe;
  unsigned stored = v[VBE_BITS] == 15 ? 16 : v[VBE_BITS];
  struct vbe_mode m = {.on = v[VBE_ENABLE] & VBE_ENABLED, .width = v[VBE_WIDTH], .height = v[VBE_HEIGHT], .bits = v[VBE_BITS]};
  m.line_bytes = v[VBE_VIRTUAL_WIDTH] * stored / 8;
  m.start = v[VBE_Y] * m.line_bytes + v[VBE_X] * stored / 8;
  if (m.bits == 4) m.start &= ~3u; /* whole dwords */
  return m;
}

/* ---- the VGA's own ---- */

uint32_t vga_crtc_lines(const struct vga_registers *r) {
  uint8_t over = r->crtc[CRTC_OVERFLOW];
  return (r->crtc[CRTC_DISPLAY_END] | (uint32_t)(over >> 1 & 1) << 8 | (uint32_t)(over >> 6 & 1) << 9) + 1;
}

static uint32_t line_compare(const uint8_t *crtc) {
  return crtc[CRTC_LINE_COMPARE] | (uint32_t)(crtc[CRTC_OVERFLOW] >> 4 & 1) << 8 | (uint32_t)(crtc[CRTC_SCAN] >> 6 & 1) << 9;
}

static void text_mode(const struct vga_registers *r, struct vga_mode *m) {
  m->kind = VGA_TEXT;
  m->cell_height = (r->crtc[CRTC_SCAN] & SCAN_LINES) + 1u;
  m->cell_width = m->repeat == 2 ? 16 : r->seq[SEQ_CLOCK] & CLOCK_8_DOTS ? 8 : 9;
  m->width = (r->crtc[CRTC_COLUMNS] + 1u) * m->cell_width;
  m->height -= m->height % m->cell_height;
  m->repeat = m->pan = 0;
}

static void graphics_mode(const struct vga_registers *r, struct vga_mode *m) {
  unsigned shift = r->gfx[GFX_MODE] >> MODE_SHIFT & 3;
  m->kind = shift >= 2 ? VGA_256_COLOURS : shift ? VGA_CGA : VGA_16_COLOURS;
  m->width = (r->crtc[CRTC_COLUMNS] + 1u) * 8 * (shift >= 2 ? 1 : m->repeat);
  m->pan = r->attr[ATTR_PAN] & 7;
  if (shift >= 2) m->repeat = 2, m->pan >>= 1;
}

struct vga_mode vga_mode(const struct vga_registers *r) {
  const uint8_t *crtc = r->crtc;
  struct vga_mode m = {.repeat = r->seq[SEQ_CLOCK] & CLOCK_HALF ? 2 : 1, .height = vga_crtc_lines(r)};
  m.start = (crtc[CRTC_START] << 8 | crtc[CRTC_START + 1]) + (crtc[CRTC_PRESET] >> 5 & 3u);
  m.line_dwords = crtc[CRTC_OFFSET] * 2u;
  m.compare = line_compare(crtc);
  m.pan_top_only = r->attr[ATTR_MODE] & ATTR_PAN_TOP_ONLY;
  if (r->gfx[GFX_MISC] & MISC_GRAPHICS) graphics_mode(r, &m);
  else text_mode(r, &m);
  if (!r->attr_on || r->seq[SEQ_CLOCK] & CLOCK_SCREEN_OFF) m.kind = VGA_BLANK;
  return m;
}

/* Address bit 13, say, of hardware is bit 13 of a dword's number where the counter counts bytes, 12 where it counts words. */
static uint32_t with_scan_bits(const struct vga_registers *r, uint32_t dword, unsigned scan) {
  uint8_t mode = r->crtc[CRTC_MODE];
  unsigned shift = mode & MODE_BYTES ? 13 : 12;
  if (!(mode & MODE_KEEPS_13)) dword = (dword & ~(1u << shift)) | (scan & 1) << shift;
  if (!(mode & MODE_KEEPS_14)) dword = (dword & ~(2u << shift)) | (scan >> 1 & 1) << (shift + 1);
  return dword % VGA_DWORDS;
}

/* Behind the line compare the picture goes on with address 0, as a new one. */
uint32_t vga_line(const struct vga_registers *r, const struct vga_mode *m, uint32_t y, unsigned *scan) {
  uint8_t lines = r->crtc[CRTC_SCAN];
  bool split = y > m->compare;
  uint32_t line = (split ? y - m->compare - 1 : y) >> (lines & DOUBLE_SCAN ? 1 : 0), a_row = (lines & SCAN_LINES) + 1u;
  if (!split) line += r->crtc[CRTC_PRESET] & SCAN_LINES;
  *scan = line % a_row;
  return (split ? 0 : m->start) + line / a_row * m->line_dwords;
}

/* The first dword of a graphics line. */
uint32_t vga_pixel_line(const struct vga_registers *r, const struct vga_mode *m, uint32_t y) {
  unsigned scan;
  uint32_t dword = vga_line(r, m, y, &scan);
  return with_scan_bits(r, dword, scan);
}

/* ---- palettes ---- */

/* Six bits become eight as QEMU makes them; 8-bit mode has them already. */
static uint32_t dac_colour(const struct vga_registers *r, uint8_t index) {
  const uint8_t *entry = r->dac + (index & r->dac_mask) * 3;
  uint32_t colour = 0;
  for (unsigned i = 0; i < 3; i++) {
    uint8_t c = entry[i] & 0x3f, low = c & 1;
    colour = colour << 8 | (r->vbe[VBE_ENABLE] & VBE_8_BIT_DAC ? entry[i] : (uint8_t)(c << 2 | low << 1 | low));
  }
  return colour;
}

void vga_palette_256(const struct vga_registers *r, uint32_t palette[256]) {
  for (unsigned i = 0; i < 256; i++) palette[i] = dac_colour(r, (uint8_t)i);
}

void vga_palette_16(const struct vga_registers *r, uint32_t palette[16]) {
  uint8_t colour = r->attr[ATTR_COLOUR];
  for (unsigned i = 0; i < 16; i++) {
    uint8_t v = r->attr[i & r->attr[ATTR_PLANES]];
    v = r->attr[ATTR_MODE] & ATTR_COLOUR_54 ? (uint8_t)(colour << 4 | (v & 0x0f)) : (uint8_t)((colour & 0x0c) << 4 | (v & 0x3f));
    palette[i] = dac_colour(r, v);
  }
}
