/* A copy of the card as pixels. Pure, but for the caller's buffer; which pixels follow from which registers is vga_modes.c's.
 *
 * In VBE modes only lines in pages that have changed are drawn. Otherwise a picture is small, and one change draws all of it. */
#include <string.h>
#include "vga_draw.h"

enum { DWORDS_A_LINE = 256 * 2 + 2 };

/* ---- graphics by the VGA's registers: eight pixels (or four) a dword ---- */

static const uint8_t *dword_at(const struct vga_copy *c, uint32_t dword) { return c->memory + dword % VGA_DWORDS * 4; }

static void draw_16(const uint8_t *planes, const uint32_t *palette, uint32_t *to) {
  for (int bit = 7; bit >= 0; bit--)
    *to++ =
      palette[(planes[0] >> bit & 1) | (planes[1] >> bit & 1) << 1 | (planes[2] >> bit & 1) << 2 | (planes[3] >> bit & 1) << 3];
}

/* Pixels are two bits, in planes 0 and 1 by turns; 2 and 3 have two more. */
static void draw_cga(const uint8_t *planes, const uint32_t *palette, uint32_t *to) {
  for (unsigned plane = 0; plane < 2; plane++)
    for (int bit = 6; bit >= 0; bit -= 2) *to++ = palette[(planes[plane] >> bit & 3) | (planes[plane + 2] >> bit & 3) << 2];
}

static void draw_256(const uint8_t *bytes, const uint32_t *palette, uint32_t *to) {
  for (unsigned i = 0; i < 4; i++) to[i] = palette[bytes[i]];
}

/* `count` pixels from `dword` on. `to` has room for a dword's more. */
static void draw_pixels(const struct vga_copy *c, const struct vga_draw *d, uint32_t dword, unsigned count, uint32_t *to) {
  unsigned step = d->mode.kind == VGA_256_COLOURS ? 4 : 8;
  for (unsigned x = 0; x < count; x += step, dword++) {
    const uint8_t *at = dword_at(c, dword);
    if (d->mode.kind == VGA_256_COLOURS) draw_256(at, d->palette, to + x);
    else if (d->mode.kind == VGA_CGA) draw_cga(at, d->palette, to + x);
    else draw_16(at, d->palette, to + x);
  }
}

static void draw_graphics_line(const struct vga_copy *c, const struct vga_draw *d, uint32_t y, uint32_t *to) {
  uint32_t pixels[DWORDS_A_LINE * 8];
  const struct vga_mode *m = &d->mode;
  unsigned pan = y > m->compare && m->pan_top_only ? 0 : m->pan, count = m->width / m->repeat;
  draw_pixels(c, d, vga_pixel_line(&c->r, m, y), count + pan, pixels);
  for (unsigned x = 0; x < m->width; x++) to[x] = pixels[x / m->repeat + pan];
}

/* ---- VBE ---- */

static uint32_t five_to_eight(uint32_t v) { return (v & 31) << 3 | (v & 31) >> 2; }
static uint32_t six_to_eight(uint32_t v) { return (v & 63) << 2 | (v & 63) >> 4; }
static uint32_t word_at(const uint8_t *at) { return at[0] | (uint32_t)at[1] << 8; }

/* The three lowest bits stay clear, as in QEMU. */
static uint32_t colour_15(uint32_t v) { return (v >> 10 & 31) << 19 | (v >> 5 & 31) << 11 | (v & 31) << 3; }
static uint32_t colour_16(uint32_t v) { return five_to_eight(v >> 11) << 16 | six_to_eight(v >> 5) << 8 | five_to_eight(v); }

static void draw_vbe_planes(const struct vga_draw *d, const uint8_t *from, uint32_t *to) {
  for (uint32_t x = 0; x < d->vbe.width; x += 8) draw_16(from + x / 2, d->palette, to + x);
}

static void draw_vbe_line(const struct vga_copy *c, const struct vga_draw *d, uint32_t y, uint32_t *to) {
  const uint8_t *from = c->memory + d->vbe.start + (uint64_t)y * d->vbe.line_bytes;
  uint32_t width = d->vbe.width;
  switch (d->vbe.bits) {
  case 4: draw_vbe_planes(d, from, to); break;
  case 8:
    for (uint32_t x = 0; x < width; x++) to[x] = d->palette[from[x]];
    break;
  case 15:
    for (uint32_t x = 0; x < width; x++) to[x] = colour_15(word_at(from + 2 * x));
    break;
  case 16:
    for (uint32_t x = 0; x < width; x++) to[x] = colour_16(word_at(from + 2 * x));
    break;
  case 24:
    for (uint32_t x = 0; x < width; x++) to[x] = word_at(from + 3 * x) | (uint32_t)from[3 * x + 2] << 16;
    break;
  default:
    for (uint32_t x = 0; x < width; x++) to[x] = word_at(from + 4 * x) | (uint32_t)from[4 * x + 2] << 16;
  }
}

/* ---- lines ---- */

static void draw_line(const struct vga_copy *c, const struct vga_draw *d, uint32_t y, uint32_t *to, uint32_t width) {
  if (d->mode.kind == VGA_BLANK) memset(to, 0, width * sizeof *to);
  else if (d->vbe.on) draw_vbe_line(c, d, y, to);
  else if (d->mode.kind == VGA_TEXT) vga_draw_text_line(c, d, y, to);
  else draw_graphics_line(c, d, y, to);
}

static bool line_changed(const struct vga_copy *c, const struct vga_draw *d, uint32_t y, uint64_t since) {
  if (c->registers_at > since || !d->vbe.on || d->how & DISPLAY_ALL) return true;
  uint64_t at = d->vbe.start + (uint64_t)y * d->vbe.line_bytes, end = at + d->vbe.line_bytes - 1;
  for (uint64_t page = at / MMU_PAGE; page <= end / MMU_PAGE && page < VGA_PAGES; page++)
    if (c->page_at[page] > since) return true;
  return false;
}

struct display_geometry vga_geometry(const struct vga_copy *copy) {
  const struct vbe_mode vbe = vbe_mode(&copy->r);
  const struct vga_mode m = vga_mode(&copy->r);
  if (!copy->number) return (struct display_geometry){0};
  if (vbe.on) return (struct display_geometry){.width = vbe.width, .height = vbe.height};
  if (m.cell_height) return vga_text_geometry(&copy->r);
  return (struct display_geometry){.width = m.width, .height = m.height};
}

static void prepare(const struct vga_copy *c, const struct display_geometry *g, struct vga_draw *d) {
  d->vbe = vbe_mode(&c->r);
  d->mode = vga_mode(&c->r);
  bool many = d->vbe.on ? d->vbe.bits == 8 : d->mode.kind == VGA_256_COLOURS;
  if (many) vga_palette_256(&c->r, d->palette);
  else vga_palette_16(&c->r, d->palette);
  if (g->columns) d->cursor = vga_cursor(&c->r, &d->mode, g->columns, g->rows);
}

uint64_t vga_render_pixels(const struct vga_copy *copy, uint64_t since, struct display_pixels *p) {
  struct vga_draw d = {.how = p->how};
  const struct display_geometry *g = &p->geometry;
  p->geometry = vga_geometry(copy);
  p->first = p->count = 0;
  bool all = p->how & DISPLAY_ALL, fits = p->stride >= g->width && p->capacity >= p->stride * g->height;
  if (!copy->number || (copy->number == since && !all) || !fits) return since;
  prepare(copy, g, &d);
  for (uint32_t y = 0; y < g->height; y++) {
    if (!line_changed(copy, &d, y, since)) continue;
    draw_line(copy, &d, y, p->pixels + y * p->stride, g->width);
    if (!p->count) p->first = y;
    p->count = y - p->first + 1;
  }
  return copy->number;
}
