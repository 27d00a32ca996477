#include "text.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool make_room(struct text *t, size_t n) {
  if (n < t->capacity && t->size < t->capacity - n) return true;
  size_t capacity = t->capacity ? t->capacity : 256;
  while (capacity <= t->size + n) capacity *= 2;
  char *more = realloc(t->bytes, capacity);
  if (!more) return false;
  t->bytes = more, t->capacity = capacity;
  return true;
}

void text_put(struct text *t, const char *bytes, size_t n) {
  if (!make_room(t, n)) return;
  memcpy(t->bytes + t->size, bytes, n);
  t->size += n;
  t->bytes[t->size] = 0;
}

void text_printf(struct text *t, const char *format, ...) {
  va_list args;
  va_start(args, format);
  int n = vsnprintf(NULL, 0, format, args);
  va_end(args);
  if (n < 0 || !make_room(t, (size_t)n)) return;
  va_start(args, format);
  vsnprintf(t->bytes + t->size, (size_t)n + 1, format, args);
  va_end(args);
  t->size += (size_t)n;
}

void text_clear(struct text *t) {
  t->size = 0;
  if (t->bytes) *t->bytes = 0;
}

void text_free(struct text *t) {
  free(t->bytes);
  *t = (struct text){0};
}
