/* How option values are written: numbers, sizes, lists of KEY=VALUE. Pure. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Decimal or 0x..., nothing after it, at most `max`. */
bool value_number(const char *text, uint64_t max, uint64_t *out);
/* A size with an optional fraction and suffix (K M G T, either case), as QEMU's; without a suffix it counts `unit` bytes. */
bool value_size(const char *text, uint64_t unit, uint64_t *bytes);
/* "2024-02-28T23:59:58" or "2024-02-28", of 1970 to 9999: seconds since 1970. */
bool value_date(const char *text, int64_t *seconds);
bool value_switch(const char *text, bool *on); /* on, off, yes, no, true, false, y, n */

/* One element of "a=b,c,d=e"; a doubled comma is a comma, as QEMU has it. */
struct suboption {
  char text[160];    /* the whole element */
  char key[40];      /* before '='; the whole element when there is none */
  const char *value; /* inside text; NULL: no '=' */
};
/* False at the end. *bad: an element is too long to mean anything (the caller complains). */
bool value_next(const char **cursor, struct suboption *s, bool *bad);

/* `text` for a message of one line: at most 100 characters, control characters as '?'. Into `out`. */
const char *value_printable(char out[128], const char *text);
