/* A file, whole, in memory. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ERROR_TEXT = 256 }; /* every loader's error is one line of at most this */

struct image {
  uint8_t *bytes;
  size_t size;
};
/* Reads `path`, a regular file, a pipe or a device, of 1 to `max` bytes. False: `error` says what is wrong, path included. */
bool image_read(struct image *image, const char *path, uint64_t max, char error[ERROR_TEXT]);
void image_free(struct image *image);
