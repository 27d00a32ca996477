/* Cells become characters and colours of the terminal.
 *
 * The sixteen colours of text are the terminal's own sixteen, chosen by the nearest of the VGA's default palette to what the
 * guest's palette holds; a terminal with eight has bold for the bright ones in front, and no bright background. Characters are
 * code page 437's, whatever font the guest has loaded; a terminal without UTF-8 gets what ASCII has for them. A terminal that is
 * larger shows the screen in its middle, a smaller one the part with the cursor.
 */
#define _XOPEN_SOURCE_EXTENDED
#define NCURSES_NOMACROS
#include "curses_picture.h"
#include <curses.h>
#include <langinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>
#include "cp437.h"

enum { GREY = 7, BRIGHT = 8 };

/* ---- colours ---- */

/* VGA has blue in bit 0 and red in bit 2, terminals have them the other way round. */
static int terminal_colour(unsigned vga) { return (int)((vga & 0xa) | (vga & 1) << 2 | (vga >> 2 & 1)); }

/* Pair 0 cannot be chosen, so it is the one that a terminal has by itself: grey on black. */
static short pair_of(const struct picture *p, unsigned foreground, unsigned background) {
  unsigned n = (unsigned)p->colours;
  return (short)(((foreground % n) ^ GREY) * n + background % n);
}

static void begin_colours(struct picture *p) {
  if (!has_colors() || start_color() == ERR) return;
  p->colours = COLORS >= 16 && COLOR_PAIRS >= 256 ? 16 : COLORS >= 8 && COLOR_PAIRS >= 64 ? 8 : 0;
  if (!p->colours) return;
  assume_default_colors(terminal_colour(GREY), 0);
  for (unsigned f = 0; f < (unsigned)p->colours; f++)
    for (unsigned b = 0; b < (unsigned)p->colours; b++)
      if (pair_of(p, f, b)) init_pair(pair_of(p, f, b), (short)terminal_colour(f), (short)terminal_colour(b));
}

static int distance(uint32_t a, uint32_t b) {
  int sum = 0;
  for (unsigned shift = 0; shift < 24; shift += 8) {
    int d = (int)(a >> shift & 0xff) - (int)(b >> shift & 0xff);
    sum += d * d;
  }
  return sum;
}

/* What of the sixteen each entry of the guest's palette is nearest to. */
static void match_palette(const uint32_t palette[16], uint8_t out[16]) {
  static const uint32_t vga[16] = {0x000000, 0x0000aa, 0x00aa00, 0x00aaaa, 0xaa0000, 0xaa00aa, 0xaa5500, 0xaaaaaa,
                                   0x555555, 0x5555ff, 0x55ff55, 0x55ffff, 0xff5555, 0xff55ff, 0xffff55, 0xffffff};
  for (unsigned i = 0; i < 16; i++) {
    unsigned best = i;
    for (unsigned k = 0; k < 16; k++)
      if (distance(vga[k], palette[i]) < distance(vga[best], palette[i])) best = k;
    out[i] = (uint8_t)best;
  }
}

/* ---- cells ---- */

static void put_cell(const struct picture *p, int y, int x, const struct display_cell *cell, const uint8_t colours[16]) {
  unsigned foreground = colours[cell->foreground & 15], background = colours[cell->background & 15];
  wchar_t text[2] = {p->utf8 ? cp437_unicode[cell->character] : (wchar_t)cp437_ascii(cell->character), 0};
  attr_t attributes = (cell->flags & DISPLAY_BLINKS ? A_BLINK : 0) | (cell->flags & DISPLAY_UNDERLINED ? A_UNDERLINE : 0);
  if (p->colours < 16 && foreground >= BRIGHT) attributes |= A_BOLD;
  if (!p->colours && background % BRIGHT) attributes |= A_REVERSE;
  cchar_t drawn;
  if (setcchar(&drawn, text, attributes, p->colours ? pair_of(p, foreground, background) : 0, NULL) == OK)
    mvadd_wch(y, x, &drawn);
}

/* Where the first cell of `cells` comes in `room`: above 0 in its middle, below 0 what is cut off so that `cursor` is seen. */
static int offset(int room, int cells, int cursor) {
  if (cells <= room) return (room - cells) / 2;
  int first = cursor < room ? 0 : cursor - room + 1;
  return first > cells - room ? room - cells : -first;
}

static void put_cells(struct picture *p, bool cleared) {
  const struct display_text *t = &p->text;
  int rows = t->geometry.rows, columns = t->geometry.columns;
  int top = offset(LINES, rows, t->cursor.row), left = offset(COLS, columns, t->cursor.column);
  uint8_t colours[16];
  match_palette(t->palette, colours);
  for (int row = 0; row < rows; row++)
    for (int column = 0; column < columns; column++)
      if (row + top >= 0 && row + top < LINES && column + left >= 0 && column + left < COLS)
        put_cell(p, row + top, column + left, &t->cells[row * columns + column], colours);
  if (cleared && top > 0) mvaddstr(LINES - 1, 0, "Alt-0: menu");
  curs_set(!t->cursor.shown ? 0 : t->cursor.last - t->cursor.first >= t->geometry.cell_height / 2 ? 2 : 1);
  move(t->cursor.shown ? t->cursor.row + top : LINES - 1, t->cursor.shown ? t->cursor.column + left : COLS - 1);
}

/* ---- what there is to show ---- */

/* One line in the middle. */
static void say(const char *line) {
  int length = (int)strlen(line);
  erase();
  curs_set(0);
  mvaddnstr(LINES / 2, length < COLS ? (COLS - length) / 2 : 0, line, COLS);
  mvaddstr(LINES - 1, 0, "Alt-0: menu");
  refresh();
}

static bool same_geometry(const struct display_geometry *a, const struct display_geometry *b) {
  return a->width == b->width && a->height == b->height && a->columns == b->columns && a->rows == b->rows;
}

static bool has_room(struct display_text *t) {
  size_t wanted = (size_t)t->geometry.columns * t->geometry.rows;
  if (wanted <= t->capacity) return true;
  struct display_cell *cells = realloc(t->cells, wanted * sizeof *cells);
  if (cells) t->cells = cells, t->capacity = wanted;
  return cells;
}

/* Graphics, or no picture at all. */
static bool show_words(struct picture *p, bool changed) {
  const struct display_geometry *g = &p->text.geometry;
  char line[64];
  if (p->drawn && !changed) return false;
  if (g->width) snprintf(line, sizeof line, "%u x %u Graphic mode", g->width, g->height);
  say(g->width ? line : "the screen is off");
  return p->drawn = true;
}

bool picture_show(struct picture *p, struct screen *screen) {
  const struct display_geometry before = p->text.geometry;
  uint64_t since = p->drawn ? p->number : 0, number = screen_cells(screen, since, &p->text);
  if (number == since && p->text.geometry.columns && !has_room(&p->text)) return false; /* the host has no memory now */
  bool changed = !same_geometry(&before, &p->text.geometry);
  if (number == since && p->text.geometry.columns && changed) number = screen_cells(screen, 0, &p->text);
  if (!p->text.geometry.columns) return show_words(p, changed);
  if (number == since) return false;
  bool clear = !p->drawn || changed;
  if (clear) erase();
  p->number = number;
  put_cells(p, clear);
  refresh();
  return p->drawn = true;
}

bool picture_page(struct picture *p, const struct text_console *t) {
  if (p->drawn) return false;
  int top = offset(LINES, CONSOLE_ROWS, (int)t->row);
  erase();
  for (int row = 0; row < CONSOLE_ROWS; row++)
    for (int column = 0; column < CONSOLE_COLUMNS && column < COLS; column++) {
      uint16_t character = t->cells[row][column];
      wchar_t text[2] = {character < 0x80 || p->utf8 ? (wchar_t)character : L'?', 0};
      cchar_t drawn;
      if (character != ' ' && row + top >= 0 && row + top < LINES && setcchar(&drawn, text, 0, 0, NULL) == OK)
        mvadd_wch(row + top, column, &drawn);
    }
  curs_set(1);
  move((int)t->row + top, t->column < (unsigned)COLS ? (int)t->column : COLS - 1);
  refresh();
  return p->drawn = true;
}

bool picture_menu(struct picture *p) {
  static const char *const lines[] = {"Alt-1   the guest's screen",
                                      "Alt-2 and on: the monitor and serial ports, where they are pages (vc)",
                                      "d       Ctrl-Alt-Del",
                                      "p       Print Screen",
                                      "b       Ctrl-Break",
                                      "q       end the machine",
                                      "others  back"};
  if (p->drawn) return false;
  erase();
  curs_set(0);
  for (int i = 0; i < (int)(sizeof lines / sizeof lines[0]); i++) mvaddnstr(1 + i, 2, lines[i], COLS > 2 ? COLS - 2 : 0);
  refresh();
  return p->drawn = true;
}

/* ---- life ---- */

void picture_forget(struct picture *p) { p->drawn = false; }

void picture_begin(struct picture *p) {
  p->utf8 = !strcmp(nl_langinfo(CODESET), "UTF-8");
  begin_colours(p);
}

void picture_end(struct picture *p) { free(p->text.cells); }
