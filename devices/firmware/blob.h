/* A table for guests, put together byte by byte: little-endian fields and texts of a fixed width. What does not fit is left out
 * and remembered. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BLOB_SIZE = 2048 };
struct blob {
  uint8_t bytes[BLOB_SIZE];
  size_t size;
  bool overflow; /* the blob is good for nothing */
};

static inline void blob_put(struct blob *b, uint64_t value, unsigned size) {
  if (size > BLOB_SIZE - b->size) {
    b->overflow = true;
    return;
  }
  for (unsigned i = 0; i < size; i++) b->bytes[b->size++] = (uint8_t)(value >> 8 * i);
}

static inline void blob_zeros(struct blob *b, unsigned size) {
  for (unsigned i = 0; i < size; i++) blob_put(b, 0, 1);
}

/* The text's first `width` characters, padded with `pad`. */
static inline void blob_text(struct blob *b, const char *text, unsigned width, char pad) {
  for (unsigned i = 0; i < width; i++) blob_put(b, (uint8_t)(*text ? *text++ : pad), 1);
}
