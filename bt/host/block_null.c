/* null-co:// and null-aio:// as QEMU's: a disk of a size and nothing else, for trying what a guest's own side takes. Reads give
 * zeros (QEMU's, without read-zeroes=on, whatever was in memory), writes vanish. */
#include <stdlib.h>
#include <string.h>
#include "block_image.h"

static int read_image(struct block_image *i, uint64_t at, uint64_t size, const struct iovec *to, unsigned count) {
  for (unsigned n = 0; n < count; n++) memset(to[n].iov_base, 0, to[n].iov_len);
  return 0;
}
static int write_image(struct block_image *i, uint64_t at, uint64_t size, const struct iovec *from, unsigned count, bool fua) {
  return 0;
}
static int flush(struct block_image *i) { return 0; }
static int discard(struct block_image *i, uint64_t at, uint64_t size) { return 0; }
static bool read_now(struct block_image *i, uint64_t at, uint64_t size, const struct iovec *to, unsigned count) {
  return !read_image(i, at, size, to, count);
}
static bool write_now(struct block_image *i, uint64_t at, uint64_t size, const struct iovec *from, unsigned count) {
  return true;
}
static void destroy(struct block_image *i) { free(i); }

struct block_image *block_null_open(uint64_t size, char error[ERROR_TEXT]) {
  static const struct block_image_ops ops = {read_image, write_image, flush, discard, read_now, write_now, NULL, destroy};
  struct block_image *made = calloc(1, sizeof *made);
  if (!made) return block_fail(error, "null-co://", "not enough memory");
  *made = (struct block_image){.ops = &ops, .size = size / BLOCK_SECTOR * BLOCK_SECTOR, .format = "raw"};
  return made;
}
