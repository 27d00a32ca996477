/* A text that grows: what a command says. Without memory it is cut, and the command goes on. Pure. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct text {
  char *bytes; /* ended by 0 once something was put into it; NULL: empty */
  size_t size, capacity;
};
void text_put(struct text *t, const char *bytes, size_t n);
void text_printf(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static inline const char *text_string(const struct text *t) { return t->bytes ? t->bytes : ""; }
void text_clear(struct text *t); /* empty, its memory kept */
void text_free(struct text *t);
