/* snapshot=on: an image whose writes stay in an unlinked file, in front of one that is only read (block_image.h). The file is as
 * large as the image, with holes, so that a sector has one place in both; a bit a sector says in which it is. So no write has to
 * read anything first. What is in it is gone when bt ends: a flush has nothing to do.
 *
 * The file is in $TMPDIR or, as QEMU's, in /var/tmp. Missing: `commit`, which would write it into the image. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "block_image.h"
#include "page_cache.h"

struct overlay {
  struct block_image image;
  struct block_image *base;
  int fd;
  struct page_cache cache;
  _Atomic uint64_t *written; /* a bit a sector; taken from the host as it is touched */
  size_t map_size;
};

/* ---- which sectors are here ---- */

static bool is_here(const struct overlay *o, uint64_t sector) {
  return atomic_load_explicit(&o->written[sector / 64], memory_order_acquire) >> sector % 64 & 1;
}

/* How many bytes from `at` on, `size` at most, lie where the first sector does, and where that is. */
static uint64_t run(const struct overlay *o, uint64_t at, uint64_t size, bool *is) {
  uint64_t sector = at / BLOCK_SECTOR, end = (at + size + BLOCK_SECTOR - 1) / BLOCK_SECTOR;
  bool here = *is = is_here(o, sector);
  while (++sector < end) {
    if (!(sector % 64) && end - sector >= 64 &&
        atomic_load_explicit(&o->written[sector / 64], memory_order_acquire) == (here ? UINT64_MAX : 0))
      sector += 63;
    else if (is_here(o, sector) != here) break;
  }
  uint64_t bytes = sector * BLOCK_SECTOR - at;
  return bytes < size ? bytes : size;
}

static void mark(struct overlay *o, uint64_t at, uint64_t size) {
  for (uint64_t sector = at / BLOCK_SECTOR, end = (at + size) / BLOCK_SECTOR; sector < end;) {
    uint64_t left = end - sector, here = 64 - sector % 64 < left ? 64 - sector % 64 : left;
    atomic_fetch_or_explicit(&o->written[sector / 64], (here == 64 ? UINT64_MAX : (UINT64_C(1) << here) - 1) << sector % 64,
                             memory_order_release);
    sector += here;
  }
}

/* ---- operations ---- */

static int move(struct overlay *o, bool write, uint64_t at, uint64_t size, const struct iovec *pieces, unsigned count) {
  struct iovec rest[BLOCK_PIECES];
  for (uint64_t done = 0; done < size;) {
    unsigned n = block_cut(pieces, count, done, size - done, rest);
    off_t from = (off_t)(at + done);
    ssize_t moved = write ? pwritev(o->fd, rest, (int)n, from) : preadv(o->fd, rest, (int)n, from);
    if (moved < 0 && errno == EINTR) continue;
    if (moved <= 0) return moved < 0 ? errno : EIO;
    done += (uint64_t)moved;
  }
  return 0;
}

static int read_image(struct block_image *i, uint64_t at, uint64_t size, const struct iovec *to, unsigned count) {
  struct overlay *o = (struct overlay *)i;
  struct iovec part[BLOCK_PIECES];
  int error = 0;
  bool here;
  for (uint64_t done = 0, bytes; !error && done < size; done += bytes) {
    bytes = run(o, at + done, size - done, &here);
    unsigned n = block_cut(to, count, done, bytes, part);
    if (here) error = move(o, false, at + done, bytes, part, n);
    else error = o->base->ops->read(o->base, at + done, bytes, part, n);
  }
  return error;
}

/* A sector that is written in part (no front end does that) is taken over whole first. */
static int take_over(struct overlay *o, uint64_t at) {
  uint8_t bytes[BLOCK_SECTOR];
  const struct iovec piece = {bytes, sizeof bytes};
  uint64_t first = at / BLOCK_SECTOR * BLOCK_SECTOR;
  if (at == first || is_here(o, at / BLOCK_SECTOR)) return 0;
  int error = o->base->ops->read(o->base, first, sizeof bytes, &piece, 1);
  if (!error) error = move(o, true, first, sizeof bytes, &piece, 1);
  if (!error) mark(o, first, sizeof bytes);
  return error;
}

static int write_image(struct block_image *i, uint64_t at, uint64_t size, const struct iovec *from, unsigned count, bool fua) {
  struct overlay *o = (struct overlay *)i;
  int error = take_over(o, at);
  if (!error) error = take_over(o, at + size);
  if (!error) error = move(o, true, at, size, from, count);
  if (!error) mark(o, at, size);
  return error;
}

static int flush(struct block_image *i) { return 0; }
static int discard(struct block_image *i, uint64_t at, uint64_t size) { return 0; } /* what is there may stay there */

static bool read_now(struct block_image *i, uint64_t at, uint64_t size, const struct iovec *to, unsigned count) {
  struct overlay *o = (struct overlay *)i;
  bool here;
  if (run(o, at, size, &here) < size) return false;
  if (!here) return o->base->ops->read_now && o->base->ops->read_now(o->base, at, size, to, count);
  return page_cache_read(&o->cache, at, size, to, count);
}

static bool write_now(struct block_image *i, uint64_t at, uint64_t size, const struct iovec *from, unsigned count) {
  struct overlay *o = (struct overlay *)i;
  if ((at | size) % BLOCK_SECTOR || !page_cache_write(&o->cache, at, size, from, count)) return false;
  mark(o, at, size);
  return true;
}

static void cancel(struct block_image *i) {
  struct block_image *base = ((struct overlay *)i)->base;
  if (base->ops->cancel) base->ops->cancel(base);
}

static void destroy(struct block_image *i) {
  struct overlay *o = (struct overlay *)i;
  block_close(o->base);
  if (o->written) munmap((void *)o->written, o->map_size);
  if (o->fd >= 0) close(o->fd);
  free(o);
}

/* ---- opening ---- */

/* Where nobody sees it: without a name from the beginning, or (not all file systems can) from right behind it. */
static int open_unlinked(const char *folder) {
  char path[4096];
  int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, 0600);
  if (fd >= 0 || (size_t)snprintf(path, sizeof path, "%s/bt-XXXXXX", folder) >= sizeof path) return fd;
  fd = mkostemp(path, O_CLOEXEC);
  if (fd >= 0) unlink(path);
  return fd;
}

static bool prepare(struct overlay *o, char error[ERROR_TEXT]) {
  const char *folder = getenv("TMPDIR");
  if (!folder || !*folder) folder = "/var/tmp";
  o->fd = open_unlinked(folder);
  if (o->fd < 0 || ftruncate(o->fd, (off_t)o->image.size) < 0)
    return block_fail(error, folder, "no room for what snapshot=on keeps: %s (TMPDIR names another folder)", strerror(errno)),
           false;
  page_cache_init(&o->cache, o->fd);
  o->map_size = (o->image.size / BLOCK_SECTOR + 63) / 64 * 8 + 8;
  void *map = mmap(NULL, o->map_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (map == MAP_FAILED) return block_fail(error, folder, "not enough memory for snapshot=on"), false;
  o->written = map;
  return true;
}

struct block_image *block_overlay_open(struct block_image *base, char error[ERROR_TEXT]) {
  static const struct block_image_ops ops = {read_image, write_image, flush, discard, read_now, write_now, cancel, destroy};
  struct overlay *o = calloc(1, sizeof *o);
  if (!o) return block_close(base), block_fail(error, "snapshot", "not enough memory");
  *o =
    (struct overlay){.image = {.ops = &ops, .size = base->size, .format = base->format, .overlay = true}, .base = base, .fd = -1};
  if (prepare(o, error)) return &o->image;
  destroy(&o->image);
  return NULL;
}
