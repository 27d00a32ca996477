/* Cutting text into lines and numbers, without copies. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct line {
  const char *text;
  size_t length;
};

/* The line at *at, less its end; *at moves behind it. False: its end is not there yet. */
static inline bool text_line(const char **at, const char *end, struct line *line) {
  const char *stop = *at < end ? memchr(*at, '\n', (size_t)(end - *at)) : NULL;
  if (!stop) return false;
  *line = (struct line){*at, (size_t)(stop - *at)};
  *at = stop + 1;
  return true;
}

static inline bool line_starts(struct line line, const char *with) {
  size_t length = strlen(with);
  return line.length >= length && !memcmp(line.text, with, length);
}

/* Value of a hexadecimal digit, or 16. */
static inline unsigned text_digit(char c) {
  if (c >= '0' && c <= '9') return (unsigned)(c - '0');
  c |= 0x20;
  return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10) : 16;
}

/* `digits` hexadecimal digits at `text`; false if one of them is not. */
static inline bool text_hex(const char *text, unsigned digits, uint64_t *value) {
  uint64_t v = 0;
  unsigned wrong = 0;
  for (unsigned n = 0; n < digits; n++) {
    unsigned digit = text_digit(text[n]);
    wrong |= digit & 16;
    v = v << 4 | (digit & 15);
  }
  *value = v;
  return !wrong;
}

/* A hexadecimal number of any length up to 16 digits at line->text, which moves behind it. */
static inline bool line_number(struct line *line, uint64_t *value) {
  unsigned digits = 0;
  while (digits < line->length && digits < 17 && text_digit(line->text[digits]) < 16) digits++;
  if (!digits || digits > 16 || !text_hex(line->text, digits, value)) return false;
  line->text += digits;
  line->length -= digits;
  return true;
}

/* Skips `with` if the line goes on with it. */
static inline bool line_skip(struct line *line, const char *with) {
  if (!line_starts(*line, with)) return false;
  line->text += strlen(with);
  line->length -= strlen(with);
  return true;
}
