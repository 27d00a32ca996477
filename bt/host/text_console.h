/* What a text console (-chardev vc) shows: characters in, a page of them out, as a terminal without colours would have it. Pure.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum { CONSOLE_ROWS = 24, CONSOLE_COLUMNS = 80 };
struct text_console {
  uint16_t cells[CONSOLE_ROWS][CONSOLE_COLUMNS]; /* Unicode */
  unsigned row, column;                          /* column CONSOLE_COLUMNS: the next character begins a line */
  char escape[16];                               /* a sequence so far, from its Escape on */
  unsigned length;
  uint32_t utf8; /* a character of several bytes so far, and how many are to come */
  unsigned utf8_left;
};
void text_console_clear(struct text_console *t);
void text_console_put(struct text_console *t, const uint8_t *bytes, unsigned n);
