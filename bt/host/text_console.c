/* The sequences are those that line editors and shells use: cursor moves, clearing of lines and of the page. Others, colours
 * among them, are read over. */
#include "text_console.h"
#include <stdlib.h>
#include <string.h>

enum { ESCAPE = 27 };

static void blank(struct text_console *t, unsigned row, unsigned from, unsigned to) {
  for (unsigned i = from; i < to && i < CONSOLE_COLUMNS; i++) t->cells[row][i] = ' ';
}

void text_console_clear(struct text_console *t) {
  *t = (struct text_console){0};
  for (unsigned row = 0; row < CONSOLE_ROWS; row++) blank(t, row, 0, CONSOLE_COLUMNS);
}

static void line_feed(struct text_console *t) {
  if (t->row < CONSOLE_ROWS - 1) {
    t->row++;
    return;
  }
  memmove(t->cells[0], t->cells[1], sizeof t->cells - sizeof t->cells[0]);
  blank(t, CONSOLE_ROWS - 1, 0, CONSOLE_COLUMNS);
}

static void put(struct text_console *t, uint32_t character) {
  if (t->column == CONSOLE_COLUMNS) {
    t->column = 0;
    line_feed(t);
  }
  t->cells[t->row][t->column++] = character < 0xffff ? (uint16_t)character : '?';
}

/* ---- sequences ---- */

static unsigned limited(unsigned value, unsigned most) { return value < most ? value : most; }

static void go(struct text_console *t, unsigned row, unsigned column) {
  t->row = limited(row, CONSOLE_ROWS - 1);
  t->column = limited(column, CONSOLE_COLUMNS - 1);
}

static void clear_page(struct text_console *t, unsigned what) {
  unsigned first = what ? 0 : t->row + 1, end = what == 1 ? t->row : CONSOLE_ROWS;
  for (unsigned row = first; row < end; row++) blank(t, row, 0, CONSOLE_COLUMNS);
  if (!what) blank(t, t->row, t->column, CONSOLE_COLUMNS);
  if (what == 1) blank(t, t->row, 0, t->column + 1);
}

/* "[5;10" and its end. */
static void sequence(struct text_console *t, const char *text, char end) {
  unsigned first = limited((unsigned)strtoul(text + 1, NULL, 10), CONSOLE_COLUMNS), n = first ? first : 1;
  const char *semicolon = strchr(text, ';');
  unsigned second = semicolon ? limited((unsigned)strtoul(semicolon + 1, NULL, 10), CONSOLE_COLUMNS) : 0;
  switch (end) {
  case 'A': go(t, t->row > n ? t->row - n : 0, t->column); break;
  case 'B': go(t, t->row + n, t->column); break;
  case 'C': go(t, t->row, t->column + n); break;
  case 'D': go(t, t->row, t->column > n ? t->column - n : 0); break;
  case 'G': go(t, t->row, n - 1); break;
  case 'H':
  case 'f': go(t, n - 1, second ? second - 1 : 0); break;
  case 'J': clear_page(t, first); break;
  case 'K': blank(t, t->row, first ? 0 : t->column, first == 1 ? t->column + 1 : CONSOLE_COLUMNS); break;
  }
}

/* One that does not end is given up. */
static void escaped(struct text_console *t, char c) {
  t->escape[t->length++] = c;
  bool control = t->escape[1] == '[', over = control ? t->length > 2 && c >= '@' : !strchr("()]#", t->escape[1]) || t->length > 2;
  if (!over && t->length < sizeof t->escape - 1) return;
  t->escape[t->length - 1] = 0;
  if (control && over) sequence(t, t->escape + 1, c);
  t->length = 0;
}

/* ---- bytes ---- */

static void control(struct text_console *t, uint8_t c) {
  switch (c) {
  case '\r': t->column = 0; break;
  case '\n': line_feed(t); break;
  case '\b': t->column -= t->column > 0; break;
  case '\t': t->column = limited((t->column | 7) + 1, CONSOLE_COLUMNS - 1); break;
  case ESCAPE: t->escape[t->length++] = ESCAPE; break;
  }
}

static void put_byte(struct text_console *t, uint8_t c) {
  if (t->length) {
    escaped(t, (char)c);
  } else if (c < ' ' || c == 127) {
    t->utf8_left = 0;
    control(t, c);
  } else if (c < 0x80) {
    t->utf8_left = 0;
    put(t, c);
  } else if (c >= 0xc0) {
    t->utf8_left = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
    t->utf8 = c & (0x3fu >> t->utf8_left);
  } else if (!t->utf8_left) {
    put(t, '?'); /* of none */
  } else {
    t->utf8 = t->utf8 << 6 | (c & 0x3f);
    if (!--t->utf8_left) put(t, t->utf8 < 0xa0 ? '?' : t->utf8);
  }
}

void text_console_put(struct text_console *t, const uint8_t *bytes, unsigned n) {
  for (unsigned i = 0; i < n; i++) put_byte(t, bytes[i]);
}
