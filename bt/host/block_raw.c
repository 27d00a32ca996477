/* An image that is a file or a block device of the host, whose bytes are the disk's (block_image.h). Owns its descriptor and its
 * locks; nothing but the page cache lies between a request and the file, and with cache=none not even that.
 *
 * Beginning and end: a size that is no multiple of a sector is rounded up, as in QEMU; the missing bytes read as zeros and come
 * to be when they are written. A file that somebody cuts off meanwhile has no more bytes: that is EIO, not zeros; one that grows
 * keeps the size that it had. The host's error of a flush is told once by the host: here every flush behind it fails, since
 * nobody knows what was lost. Missing: discards of block devices (ENOTSUP), io_uring (container profiles refuse it), growing
 * while the guest runs. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "block_image.h"
#include "block_lock.h"
#include "block_probe.h"
#include "page_cache.h"

enum { BOUNCE = 1 << 20, LARGEST_ALIGNMENT = 4096 };
struct raw {
  struct block_image image;
  int fd;
  uint64_t file_size; /* when it was opened */
  bool unsafe, discards;
  atomic_bool lost; /* a flush has failed */
  struct page_cache cache;
  uint32_t alignment;    /* of offsets, sizes and buffers; 1: the page cache is between */
  pthread_rwlock_t edge; /* alignment > 1: who reads, changes and writes a block is alone among the writers */
};

unsigned block_cut(const struct iovec *pieces, unsigned count, uint64_t skip, uint64_t size, struct iovec *out) {
  unsigned n = 0;
  for (unsigned i = 0; i < count && size; i++) {
    if (skip >= pieces[i].iov_len) {
      skip -= pieces[i].iov_len;
      continue;
    }
    size_t here = pieces[i].iov_len - skip < size ? pieces[i].iov_len - skip : size;
    out[n++] = (struct iovec){(uint8_t *)pieces[i].iov_base + skip, here};
    size -= here, skip = 0;
  }
  return n;
}

/* ---- through the page cache ---- */

static void clear(const struct iovec *pieces, unsigned count) {
  for (unsigned i = 0; i < count; i++) memset(pieces[i].iov_base, 0, pieces[i].iov_len);
}

static int transfer(struct raw *raw, bool write, uint64_t at, uint64_t size, const struct iovec *pieces, unsigned count,
                    int flags) {
  struct iovec rest[BLOCK_PIECES];
  for (uint64_t done = 0; done < size;) {
    unsigned n = block_cut(pieces, count, done, size - done, rest);
    off_t from = (off_t)(at + done);
    ssize_t moved = write ? pwritev2(raw->fd, rest, (int)n, from, flags) : preadv(raw->fd, rest, (int)n, from);
    if (moved < 0 && errno == EINTR) continue;
    if (moved < 0) return errno;
    if (!moved && !write && at + done >= raw->file_size) return clear(rest, n), 0; /* the rest of the last sector */
    if (!moved) return EIO;
    done += (uint64_t)moved;
  }
  return 0;
}

static int sync_data(struct raw *raw) {
  if (raw->unsafe) return 0;
  if (atomic_load(&raw->lost)) return EIO;
  if (fdatasync(raw->fd) == 0 || errno == EROFS || errno == EINVAL) return 0;
  int error = errno;
  atomic_store(&raw->lost, true);
  return error;
}

/* ---- past the page cache: whole aligned blocks ---- */

static bool is_aligned(const struct raw *raw, uint64_t at, uint64_t size, const struct iovec *pieces, unsigned count) {
  uint64_t bits = at | size;
  for (unsigned i = 0; i < count; i++) bits |= (uintptr_t)pieces[i].iov_base | pieces[i].iov_len;
  return !(bits & (raw->alignment - 1));
}

static void copy_pieces(const struct iovec *pieces, unsigned count, uint8_t *bounce, bool to_bounce) {
  for (unsigned i = 0; i < count; bounce += pieces[i++].iov_len)
    if (to_bounce) memcpy(bounce, pieces[i].iov_base, pieces[i].iov_len);
    else memcpy(pieces[i].iov_base, bounce, pieces[i].iov_len);
}

static int aligned(struct raw *raw, bool write, uint64_t at, uint64_t size, uint8_t *bytes, int flags) {
  struct iovec piece = {bytes, size};
  return transfer(raw, write, at, size, &piece, 1, flags);
}

/* A part of a request of at most BOUNCE bytes, whose blocks are whole in the bounce buffer. The caller has `edge`. */
static int bounce_part(struct raw *raw, bool write, uint64_t at, uint64_t size, const struct iovec *pieces, unsigned count,
                       uint8_t *bounce, int flags) {
  const uint64_t mask = raw->alignment - 1, first = at & ~mask, end = (at + size + mask) & ~mask;
  int error = 0;
  if (!write || at != first) error = aligned(raw, false, first, write ? raw->alignment : end - first, bounce, 0);
  if (!error && write && at + size != end && (at == first || end - first > raw->alignment))
    error = aligned(raw, false, end - raw->alignment, raw->alignment, bounce + (end - first - raw->alignment), 0);
  if (error) return error;
  copy_pieces(pieces, count, bounce + (at - first), write);
  return write ? aligned(raw, true, first, end - first, bounce, flags) : 0;
}

static int bounced(struct raw *raw, bool write, uint64_t at, uint64_t size, const struct iovec *pieces, unsigned count,
                   int flags) {
  uint8_t *bounce = aligned_alloc(LARGEST_ALIGNMENT, BOUNCE + 2 * LARGEST_ALIGNMENT);
  struct iovec part[BLOCK_PIECES];
  int error = bounce ? 0 : ENOMEM;
  if (write) pthread_rwlock_wrlock(&raw->edge);
  for (uint64_t done = 0; !error && done < size; done += BOUNCE) {
    uint64_t here = size - done < BOUNCE ? size - done : BOUNCE;
    unsigned n = block_cut(pieces, count, done, here, part);
    error = bounce_part(raw, write, at + done, here, part, n, bounce, flags);
  }
  if (write) pthread_rwlock_unlock(&raw->edge);
  free(bounce);
  return error;
}

static int direct(struct raw *raw, bool write, uint64_t at, uint64_t size, const struct iovec *pieces, unsigned count,
                  int flags) {
  if (!is_aligned(raw, at, size, pieces, count)) return bounced(raw, write, at, size, pieces, count, flags);
  if (write) pthread_rwlock_rdlock(&raw->edge);
  int error = transfer(raw, write, at, size, pieces, count, flags);
  if (write) pthread_rwlock_unlock(&raw->edge);
  return error;
}

/* ---- operations ---- */

static int move(struct raw *raw, bool write, uint64_t at, uint64_t size, const struct iovec *pieces, unsigned count, int flags) {
  return raw->alignment > 1 ? direct(raw, write, at, size, pieces, count, flags)
                            : transfer(raw, write, at, size, pieces, count, flags);
}

static int read_image(struct block_image *i, uint64_t at, uint64_t size, const struct iovec *to, unsigned count) {
  return move((struct raw *)i, false, at, size, to, count, 0);
}

static int write_image(struct block_image *i, uint64_t at, uint64_t size, const struct iovec *from, unsigned count, bool fua) {
  struct raw *raw = (struct raw *)i;
  int error = move(raw, true, at, size, from, count, fua && !raw->unsafe ? RWF_DSYNC : 0);
  if (!fua || error != EOPNOTSUPP) return error;
  error = move(raw, true, at, size, from, count, 0);
  return error ? error : sync_data(raw);
}

static int flush(struct block_image *i) { return sync_data((struct raw *)i); }

static int discard(struct block_image *i, uint64_t at, uint64_t size) {
  struct raw *raw = (struct raw *)i;
  if (!raw->discards) return 0; /* discard=ignore */
  while (size && fallocate(raw->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)size) < 0)
    if (errno != EINTR) return errno == EOPNOTSUPP || errno == ENODEV ? ENOTSUP : errno;
  return 0;
}

static bool read_now(struct block_image *i, uint64_t at, uint64_t size, const struct iovec *to, unsigned count) {
  struct raw *raw = (struct raw *)i;
  return raw->alignment == 1 && page_cache_read(&raw->cache, at, size, to, count);
}
static bool write_now(struct block_image *i, uint64_t at, uint64_t size, const struct iovec *from, unsigned count) {
  struct raw *raw = (struct raw *)i;
  return raw->alignment == 1 && page_cache_write(&raw->cache, at, size, from, count);
}

static void destroy(struct block_image *i) {
  struct raw *raw = (struct raw *)i;
  if (raw->fd >= 0) close(raw->fd);
  pthread_rwlock_destroy(&raw->edge);
  free(raw);
}

/* ---- opening ---- */

/* The smallest that the host takes: a disk's sectors have 512 bytes or 4096. */
static bool find_alignment(struct raw *raw, const char *path, char error[ERROR_TEXT]) {
  uint8_t *bytes = aligned_alloc(LARGEST_ALIGNMENT, 2 * LARGEST_ALIGNMENT);
  ssize_t got = -1;
  for (raw->alignment = BLOCK_SECTOR; bytes && raw->alignment <= LARGEST_ALIGNMENT; raw->alignment *= 2) {
    got = pread(raw->fd, bytes + raw->alignment, raw->alignment, 0);
    if (got >= 0 || errno != EINVAL) break;
  }
  free(bytes);
  if (!bytes || got < 0) return block_fail(error, path, "%s", bytes ? strerror(errno) : "not enough memory"), false;
  if (!(raw->file_size % raw->alignment)) return true;
  return block_fail(error, path, "cache=none and directsync need a size that is a multiple of %u", raw->alignment), false;
}

static bool open_file(struct raw *raw, const char *path, const struct drive_option *drive, char error[ERROR_TEXT]) {
  struct stat st;
  int flags = (raw->image.read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (drive->direct ? O_DIRECT : 0);
  raw->fd = open(path, flags);
  if (raw->fd < 0 && errno == EINVAL && drive->direct)
    return block_fail(error, path, "this file system knows no cache=none and directsync (O_DIRECT)"), false;
  if (raw->fd < 0 && !raw->image.read_only && (errno == EACCES || errno == EPERM || errno == EROFS))
    return block_fail(error, path, "%s (readonly=on or snapshot=on needs no right to write)", strerror(errno)), false;
  if (raw->fd < 0 || fstat(raw->fd, &st) < 0) return block_fail(error, path, "%s", strerror(errno)), false;
  if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) return block_fail(error, path, "neither a file nor a block device"), false;
  off_t size = lseek(raw->fd, 0, SEEK_END);
  if (size < 0) return block_fail(error, path, "%s", strerror(errno)), false;
  raw->file_size = (uint64_t)size;
  raw->image.size = (raw->file_size + BLOCK_SECTOR - 1) / BLOCK_SECTOR * BLOCK_SECTOR;
  if (drive->locking && !block_lock(raw->fd, raw->image.read_only, path, error)) return false;
  return drive->direct ? find_alignment(raw, path, error) : true;
}

struct block_image *block_raw_open(const char *path, const struct drive_option *drive, bool read_only, char error[ERROR_TEXT]) {
  static const struct block_image_ops ops = {read_image, write_image, flush, discard, read_now, write_now, NULL, destroy};
  struct raw *raw = calloc(1, sizeof *raw);
  if (!raw) return block_fail(error, path, "not enough memory");
  *raw = (struct raw){.image = {.ops = &ops, .read_only = read_only, .format = "raw"},
                      .fd = -1,
                      .unsafe = drive->no_flush,
                      .discards = drive->discard,
                      .alignment = 1};
  pthread_rwlock_init(&raw->edge, NULL);
  bool opened = open_file(raw, path, drive, error);
  page_cache_init(&raw->cache, raw->fd);
  if (opened) return &raw->image;
  destroy(&raw->image);
  return NULL;
}
