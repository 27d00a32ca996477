/* The line that a person types: keys of a terminal in, lines out, with history and completion. Pure.
 *
 * Without `echo` (a pipe, a program) bytes are taken as they come up to the end of a line, and nothing is shown; tabs and escapes
 * mean nothing then. Keys: arrows, Home, End, Delete, Backspace; Ctrl-A, E (ends of the line), B, F (a character), P, N
 * (history), D (delete), K (to the end), U (all), W (a word), L (shows it anew), C and G (gives the line up). */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "text.h"

enum { EDITOR_LINE = 4095, EDITOR_HISTORY = 64 };
struct editor {
  bool echo;
  const char *prompt;
  /* Tab: puts what the word before the cursor can become (ended by 0 each) into `words`; `line` ends with that word. NULL: there
   * is no completion. */
  void (*complete)(void *opaque, const char *line, struct text *words);
  void *opaque;
  char line[EDITOR_LINE + 1]; /* ended */
  unsigned length, cursor;
  uint8_t escape[8], escape_count; /* an escape sequence so far */
  bool after_cr;                   /* the LF of CR LF is no second line */
  bool too_long;                   /* what came did not fit; the line is given up at its end */
  char *history[EDITOR_HISTORY];   /* oldest first */
  unsigned history_count, history_at;
};
void editor_init(struct editor *e, bool echo, const char *prompt);
void editor_free(struct editor *e);
/* One byte. True: e->line is a whole line, editor_next() is due; what is to be shown is put into `out` either way. */
bool editor_feed(struct editor *e, uint8_t byte, struct text *out);
/* The line has been dealt with: it is remembered and emptied, and the prompt shown. */
void editor_next(struct editor *e, struct text *out);
void editor_forget(struct editor *e);                       /* what was typed of the line; somebody else sits there now */
void editor_show(const struct editor *e, struct text *out); /* the prompt, and the line as it is */
