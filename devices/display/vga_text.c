/* Text: the copy's cells, and cells as dots. IBM PS/2 Hardware Interface Technical Reference, "Alphanumeric Modes". Pure.
 *
 * A cell is a dword: character (plane 0), attribute (plane 1); fonts are in plane 2, 32 bytes a glyph. The split by line compare
 * is at whole rows. Dots of 40-column text are 2 wide, as in QEMU's pictures, and the characters whose eighth dot is repeated
 * begin with B0h, as in QEMU (IBM's with C0h). */
#include "vga_state.h"
#include "vga_draw.h"

enum { CURSOR_OFF = 32, LINE = 0x1f, FIRST_BOX = 0xb0, LAST_BOX = 0xdf, FONT_STRIDE = 32 };

static struct display_geometry text_geometry(const struct vga_mode *m) {
  return (struct display_geometry){.width = m->width,
                                   .height = m->height,
                                   .columns = (uint16_t)(m->width / m->cell_width),
                                   .rows = (uint16_t)(m->height / m->cell_height),
                                   .cell_width = (uint8_t)m->cell_width,
                                   .cell_height = (uint8_t)m->cell_height};
}

static struct display_cell cell_of(const struct vga_registers *r, uint8_t character, uint8_t attribute) {
  struct display_cell c = {character, attribute & 15, attribute >> 4, 0};
  bool blink = r->attr[ATTR_MODE] & ATTR_BLINK, two_fonts = r->seq[SEQ_FONTS] >> 4 == 1 || r->seq[SEQ_FONTS] >> 4 == 2 ||
                                                            (r->seq[SEQ_FONTS] & 3) != (r->seq[SEQ_FONTS] >> 2 & 3);
  if (blink) c.background &= 7;
  if (blink && attribute & 0x80) c.flags |= DISPLAY_BLINKS;
  if (two_fonts && attribute & 8) c.flags |= DISPLAY_FONT_B;
  if (r->attr[ATTR_MODE] & ATTR_MONO && (attribute & 7) == 1) c.flags |= DISPLAY_UNDERLINED;
  return c;
}

/* The dword of a row's first cell. */
static uint32_t row_start(const struct vga_registers *r, const struct vga_mode *m, unsigned row) {
  unsigned scan;
  struct vga_registers whole = {.crtc[CRTC_SCAN] = r->crtc[CRTC_SCAN] & LINE};
  return vga_line(&whole, m, row * m->cell_height, &scan);
}

void vga_text_row(const struct vga_copy *c, const struct vga_mode *m, unsigned row, unsigned columns,
                  struct display_cell *cells) {
  uint32_t dword = row_start(&c->r, m, row);
  for (unsigned i = 0; i < columns; i++) {
    const uint8_t *at = c->memory + (dword + i) % VGA_DWORDS * 4;
    cells[i] = cell_of(&c->r, at[0], at[1]);
  }
}

/* Where on the screen it is, if it is: looked for row by row, since lines may overlap and the screen may be split. */
struct display_cursor vga_cursor(const struct vga_registers *r, const struct vga_mode *m, unsigned columns, unsigned rows) {
  uint32_t at = (uint32_t)r->crtc[CRTC_CURSOR] << 8 | r->crtc[CRTC_CURSOR + 1];
  struct display_cursor c = {.first = r->crtc[CRTC_CURSOR_START] & LINE, .last = r->crtc[CRTC_CURSOR_END] & LINE};
  if (c.last >= m->cell_height) c.last = (uint8_t)(m->cell_height - 1);
  if (r->crtc[CRTC_CURSOR_START] & CURSOR_OFF || c.first > c.last) return c;
  for (unsigned row = 0; row < rows && !c.shown; row++) {
    uint32_t column = at - row_start(r, m, row);
    if (column < columns) c.shown = true, c.column = (uint16_t)column, c.row = (uint16_t)row;
  }
  return c;
}

/* The display is off: nothing on black. */
static void hide(struct display_text *text) {
  for (size_t i = 0; i < (size_t)text->geometry.columns * text->geometry.rows; i++)
    text->cells[i] = (struct display_cell){' ', 0, 0, 0};
  text->palette[0] = 0;
  text->cursor.shown = false;
}

uint64_t vga_render_cells(const struct vga_copy *copy, uint64_t since, struct display_text *text) {
  const struct vga_mode m = vga_mode(&copy->r);
  struct display_geometry *g = &text->geometry;
  *g = vga_geometry(copy);
  if (!g->columns || copy->number == since || text->capacity < (size_t)g->columns * g->rows) return since;
  vga_palette_16(&copy->r, text->palette);
  text->cursor = vga_cursor(&copy->r, &m, g->columns, g->rows);
  for (unsigned row = 0; row < g->rows; row++) vga_text_row(copy, &m, row, g->columns, text->cells + row * g->columns);
  if (m.kind == VGA_BLANK) hide(text);
  return copy->number;
}

struct display_geometry vga_text_geometry(const struct vga_registers *r) {
  const struct vga_mode m = vga_mode(r);
  return text_geometry(&m);
}

/* ---- dots ---- */

/* Of the character map select register: A is for attributes with bit 3 clear. Bytes of plane 2. */
static uint32_t font_offset(const struct vga_registers *r, bool b) {
  uint8_t v = b ? (uint8_t)(r->seq[SEQ_FONTS] >> 2 & 3) | (r->seq[SEQ_FONTS] >> 3 & 4)
                : (uint8_t)(r->seq[SEQ_FONTS] & 3) | (r->seq[SEQ_FONTS] >> 2 & 4);
  return (v & 3) * 0x4000u + (v >> 2) * 0x2000u;
}

/* Bit 8: the leftmost dot of nine. */
static unsigned glyph_line(const struct vga_copy *c, const struct display_cell *cell, unsigned line, bool nine) {
  uint32_t font = font_offset(&c->r, cell->flags & DISPLAY_FONT_B);
  uint8_t bits = c->memory[(font + cell->character * FONT_STRIDE + line) % VGA_DWORDS * 4 + 2];
  bool joined = c->r.attr[ATTR_MODE] & ATTR_LINE_GRAPHICS && cell->character >= FIRST_BOX && cell->character <= LAST_BOX;
  return (unsigned)bits << 1 | (nine && joined ? bits & 1 : 0);
}

static unsigned shown_dots(const struct vga_copy *c, const struct vga_mode *m, const struct display_cell *cell, unsigned line,
                           unsigned how) {
  if (cell->flags & DISPLAY_BLINKS && how & DISPLAY_NO_BLINK) return 0;
  if (cell->flags & DISPLAY_UNDERLINED && line == (c->r.crtc[CRTC_UNDERLINE] & LINE)) return 0x1ff;
  return glyph_line(c, cell, line, m->cell_width == 9);
}

static void draw_dots(uint32_t *to, unsigned dots, unsigned width, uint32_t foreground, uint32_t background) {
  unsigned repeat = width == 16 ? 2 : 1;
  for (unsigned x = 0; x < width; x++) to[x] = dots >> (8 - x / repeat) & 1 ? foreground : background;
}

static bool under_cursor(const struct display_cursor *cursor, unsigned row, unsigned column, unsigned line, unsigned how) {
  return cursor->shown && !(how & (DISPLAY_NO_BLINK | DISPLAY_NO_CURSOR)) && cursor->row == row && cursor->column == column &&
         line >= cursor->first && line <= cursor->last;
}

void vga_draw_text_line(const struct vga_copy *c, const struct vga_draw *d, uint32_t y, uint32_t *to) {
  const struct vga_mode *m = &d->mode;
  unsigned row = y / m->cell_height, line = y % m->cell_height, columns = m->width / m->cell_width;
  struct display_cell cells[256];
  vga_text_row(c, m, row, columns, cells);
  for (unsigned i = 0; i < columns; i++, to += m->cell_width) {
    unsigned dots = under_cursor(&d->cursor, row, i, line, d->how) ? 0x1ff : shown_dots(c, m, &cells[i], line, d->how);
    draw_dots(to, dots, m->cell_width, d->palette[cells[i].foreground], d->palette[cells[i].background]);
  }
}
