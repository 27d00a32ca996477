#include "editor.h"
#include <stdlib.h>
#include <string.h>

void editor_init(struct editor *e, bool echo, const char *prompt) { *e = (struct editor){.echo = echo, .prompt = prompt}; }

void editor_free(struct editor *e) {
  for (unsigned i = 0; i < e->history_count; i++) free(e->history[i]);
  e->history_count = 0;
}

/* ---- what is shown ---- */

static void say(const struct editor *e, struct text *out, const char *text) {
  if (e->echo) text_put(out, text, strlen(text));
}

/* The terminal's cursor stands at column `from` of the line: shows the line from there on and goes to e->cursor. */
static void redraw(const struct editor *e, unsigned from, struct text *out) {
  if (!e->echo) return;
  text_put(out, e->line + from, e->length - from);
  say(e, out, "\033[K");
  if (e->length > e->cursor) text_printf(out, "\033[%uD", e->length - e->cursor);
}

static void move_to(struct editor *e, unsigned to, struct text *out) {
  if (e->echo && to < e->cursor) text_printf(out, "\033[%uD", e->cursor - to);
  if (e->echo && to > e->cursor) text_printf(out, "\033[%uC", to - e->cursor);
  e->cursor = to;
}

void editor_show(const struct editor *e, struct text *out) {
  text_put(out, e->prompt, strlen(e->prompt));
  redraw(e, 0, out);
}

/* ---- changing it ---- */

static void insert(struct editor *e, const char *bytes, unsigned n, struct text *out) {
  if (n > EDITOR_LINE - e->length) {
    e->too_long = true;
    return;
  }
  unsigned from = e->cursor;
  bool at_end = from == e->length;
  memmove(e->line + from + n, e->line + from, e->length - from + 1);
  memcpy(e->line + from, bytes, n);
  e->length += n, e->cursor += n;
  if (at_end && e->echo) text_put(out, bytes, n);
  else redraw(e, from, out);
}

/* Takes [from, to) out; the cursor is at one of the two, and is at `from` then. */
static void cut(struct editor *e, unsigned from, unsigned to, struct text *out) {
  if (from >= to) return;
  move_to(e, from, out);
  memmove(e->line + from, e->line + to, e->length - to + 1);
  e->length -= to - from;
  redraw(e, from, out);
}

static void set_line(struct editor *e, const char *text, struct text *out) {
  move_to(e, 0, out);
  e->length = e->cursor = (unsigned)strlen(text);
  memcpy(e->line, text, e->length + 1);
  redraw(e, 0, out);
}

static unsigned word_start(const struct editor *e) {
  unsigned at = e->cursor;
  while (at && e->line[at - 1] == ' ') at--;
  while (at && e->line[at - 1] != ' ') at--;
  return at;
}

/* ---- history ---- */

static void remember(struct editor *e) {
  const char *last = e->history_count ? e->history[e->history_count - 1] : "";
  if (!e->length || !strcmp(last, e->line)) return;
  char *copy = strdup(e->line);
  if (!copy) return;
  if (e->history_count == EDITOR_HISTORY) {
    free(e->history[0]);
    memmove(e->history, e->history + 1, sizeof e->history - sizeof e->history[0]);
    e->history_count--;
  }
  e->history[e->history_count++] = copy;
}

static void go_back(struct editor *e, bool back, struct text *out) {
  if (back && e->history_at) set_line(e, e->history[--e->history_at], out);
  if (back || e->history_at == e->history_count) return;
  e->history_at++;
  set_line(e, e->history_at < e->history_count ? e->history[e->history_at] : "", out);
}

/* ---- completion ---- */

/* How many letters all of the words have in common. */
static size_t common_start(const struct text *words) {
  size_t common = strlen(words->bytes);
  for (const char *w = words->bytes; w < words->bytes + words->size; w += strlen(w) + 1)
    for (size_t i = 0; i < common; i++)
      if (w[i] != words->bytes[i]) common = i;
  return common;
}

static void list(const struct text *words, struct text *out) {
  unsigned column = 0;
  for (const char *w = words->bytes; w < words->bytes + words->size; w += strlen(w) + 1) {
    if (column && column + strlen(w) > 76) text_put(out, "\n", 1), column = 0;
    text_printf(out, "%-15s ", w);
    column += strlen(w) < 15 ? 16 : (unsigned)strlen(w) + 1;
  }
  text_put(out, "\n", 1);
}

static void complete(struct editor *e, struct text *out) {
  char before[EDITOR_LINE + 1];
  struct text words = {0};
  if (!e->complete) return;
  memcpy(before, e->line, e->cursor);
  before[e->cursor] = 0;
  const char *space = strrchr(before, ' ');
  size_t typed = strlen(space ? space + 1 : before);
  e->complete(e->opaque, before, &words);
  if (words.size) {
    size_t common = common_start(&words);
    bool only = strlen(words.bytes) + 1 == words.size;
    if (common > typed) insert(e, words.bytes + typed, (unsigned)(common - typed), out);
    if (only) insert(e, " ", 1, out);
    else if (common <= typed) text_put(out, "\n", 1), list(&words, out), editor_show(e, out);
  }
  text_free(&words);
}

/* ---- keys ---- */

static void left(struct editor *e, struct text *out) {
  if (e->cursor) move_to(e, e->cursor - 1, out);
}
static void right(struct editor *e, struct text *out) {
  if (e->cursor < e->length) move_to(e, e->cursor + 1, out);
}
static void delete_here(struct editor *e, struct text *out) {
  if (e->cursor < e->length) cut(e, e->cursor, e->cursor + 1, out);
}

/* CSI and SS3 sequences as xterm, the Linux console and rxvt send them; others are swallowed. */
static void run_escape(struct editor *e, uint8_t last, struct text *out) {
  switch (last) {
  case 'A': go_back(e, true, out); break;
  case 'B': go_back(e, false, out); break;
  case 'C': right(e, out); break;
  case 'D': left(e, out); break;
  case 'H': move_to(e, 0, out); break;
  case 'F': move_to(e, e->length, out); break;
  case '~':
    if (e->escape[2] == '1' || e->escape[2] == '7') move_to(e, 0, out);
    if (e->escape[2] == '4' || e->escape[2] == '8') move_to(e, e->length, out);
    if (e->escape[2] == '3') delete_here(e, out);
    break;
  default: break;
  }
}

/* ESC [ digits ; digits LETTER, or ESC O LETTER. */
static void escape_byte(struct editor *e, uint8_t byte, struct text *out) {
  bool begun = e->escape_count > 1;
  if (e->escape_count == 1 && byte != '[' && byte != 'O') {
    e->escape_count = 0;
    return;
  }
  if (e->escape_count < sizeof e->escape) e->escape[e->escape_count++] = byte;
  if (!begun || byte < 0x40) return;
  if (e->escape_count < sizeof e->escape) run_escape(e, byte, out);
  memset(e->escape, 0, sizeof e->escape);
  e->escape_count = 0;
}

#define CONTROL(letter) (letter & 31)
static void control_key(struct editor *e, uint8_t byte, struct text *out) {
  switch (byte) {
  case CONTROL('A'): move_to(e, 0, out); break;
  case CONTROL('E'): move_to(e, e->length, out); break;
  case CONTROL('B'): left(e, out); break;
  case CONTROL('F'): right(e, out); break;
  case CONTROL('P'): go_back(e, true, out); break;
  case CONTROL('N'): go_back(e, false, out); break;
  case CONTROL('D'): delete_here(e, out); break;
  case CONTROL('K'): cut(e, e->cursor, e->length, out); break;
  case CONTROL('U'): set_line(e, "", out); break;
  case CONTROL('W'): cut(e, word_start(e), e->cursor, out); break;
  case CONTROL('L'): say(e, out, "\033[H\033[2J"), editor_show(e, out); break;
  case CONTROL('I'): complete(e, out); break;
  case CONTROL('H'):
  case 0x7f:
    if (e->cursor) cut(e, e->cursor - 1, e->cursor, out);
    break;
  case CONTROL('C'):
  case CONTROL('G'): say(e, out, "\n"), editor_forget(e), editor_show(e, out); break;
  case 033: e->escape[0] = byte, e->escape_count = 1; break;
  default: break;
  }
}

bool editor_feed(struct editor *e, uint8_t byte, struct text *out) {
  bool again = byte == '\n' && e->after_cr;
  e->after_cr = byte == '\r';
  if (again) return false;
  if (byte == '\r' || byte == '\n') {
    e->escape_count = 0;
    say(e, out, "\n");
    return true;
  }
  if (e->escape_count) escape_byte(e, byte, out);
  else if (byte >= ' ' && byte != 0x7f) insert(e, (const char *)&byte, 1, out);
  else if (e->echo) control_key(e, byte, out);
  else if (byte == '\t') insert(e, " ", 1, out);
  return false;
}

void editor_forget(struct editor *e) {
  e->length = e->cursor = 0, *e->line = 0, e->escape_count = 0;
  e->too_long = e->after_cr = false;
  e->history_at = e->history_count;
}

void editor_next(struct editor *e, struct text *out) {
  bool after_cr = e->after_cr;
  if (!e->too_long) remember(e);
  editor_forget(e);
  e->after_cr = after_cr;
  editor_show(e, out);
}
