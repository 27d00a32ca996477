/* What the targets of tests/fuzz/guided share: the entry that libFuzzer (or replay.c) calls, a reader of the input, and how a
 * target complains. */
#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Returns 0. Whatever is wrong ends the process by abort() or a sanitizer. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition, ...) \
  do { \
    if (!(condition)) guided_failed(#condition, __VA_ARGS__); \
  } while (0)
__attribute__((noreturn, format(printf, 2, 3))) static inline void guided_failed(const char *condition, const char *format, ...) {
  va_list args;
  va_start(args, format);
  fprintf(stderr, "WRONG: not %s: ", condition);
  vfprintf(stderr, format, args);
  fputc('\n', stderr);
  va_end(args);
  abort();
}

/* A message for the user: one line of text, not empty. */
static inline void require_one_line(const char *text) {
  REQUIRE(text && *text, "no message");
  for (const char *p = text; *p; p++) REQUIRE((unsigned char)*p >= 0x20 && *p != 0x7f, "a control character in \"%s\"", text);
}

struct input {
  const uint8_t *at;
  size_t left;
};
/* At most n bytes; *got: how many there were. */
static inline const uint8_t *input_take(struct input *in, size_t n, size_t *got) {
  const uint8_t *at = in->at;
  *got = n < in->left ? n : in->left;
  in->at += *got, in->left -= *got;
  return at;
}
/* Little-endian, of 1 to 8 bytes; those that are missing are zero. */
static inline uint64_t input_number(struct input *in, unsigned bytes) {
  size_t got;
  uint64_t v = 0;
  const uint8_t *at = input_take(in, bytes, &got);
  for (size_t i = 0; i < got; i++) v |= (uint64_t)at[i] << (8 * i);
  return v;
}
/* The next n bytes as a string, to be freed; a zero byte ends it early. */
static inline char *input_text(struct input *in, size_t n) {
  size_t got;
  const uint8_t *at = input_take(in, n, &got);
  char *text = strndup(got ? (const char *)at : "", got);
  if (!text) abort();
  return text;
}
