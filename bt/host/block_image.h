/* Images: what can be the medium of a drive (block_drive.h). A file or block device of the host (block_raw.c), a server
 * (block_nbd.c), nothing (block_null.c), and what keeps writes away from another one (block_overlay.c); block_open.c makes them
 * of what file= and format= say.
 *
 * Threads: made, destroyed and asked read_now() and write_now() in the vCPU thread; all else in the pool's, several at once.
 * Operations wait for the host, and return 0 or an errno; the drive above has checked bounds and rights. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/uio.h>
#include "../boot/image.h"
#include "../options/drives.h"

enum { BLOCK_PIECES = 64 /* of one call at most */, BLOCK_SECTOR = 512, BLOCK_NAME = 160 };
struct loop;
struct block_image;
struct block_image_ops {
  /* `size` is that of the pieces together, not 0. */
  int (*read)(struct block_image *i, uint64_t at, uint64_t size, const struct iovec *to, unsigned count);
  /* fua: what is written is on the medium when this returns. */
  int (*write)(struct block_image *i, uint64_t at, uint64_t size, const struct iovec *from, unsigned count, bool fua);
  int (*flush)(struct block_image *i);
  int (*discard)(struct block_image *i, uint64_t at, uint64_t size); /* NULL: ENOTSUP */
  /* vCPU thread: reads what needs no waiting for. True: all of it. NULL: there is no such thing. */
  bool (*read_now)(struct block_image *i, uint64_t at, uint64_t size, const struct iovec *to, unsigned count);
  /* The same for writes (without fua). False: any part of it may have been written, or none; it is to be written (again). */
  bool (*write_now)(struct block_image *i, uint64_t at, uint64_t size, const struct iovec *from, unsigned count);
  /* Any thread: what waits for a server gives up with an error, now and from now on. NULL: it never waits for long. */
  void (*cancel)(struct block_image *i);
  void (*destroy)(struct block_image *i); /* no operation is going on */
};
struct block_image {
  const struct block_image_ops *ops;
  uint64_t size; /* bytes, a multiple of BLOCK_SECTOR */
  bool read_only;
  /* Its format was guessed, raw: a write to its first sector that would make it look like another one is refused (block_probe.h),
   * since whoever guesses next would do as the guest says. */
  bool guessed;
  const char *format; /* "raw", "qcow2": for people */
  bool overlay;       /* what is written stays in a file of $TMPDIR or /var/tmp */
};

/* The part of a list of pieces that begins `skip` bytes in and is `size` long (or to the end): into `out`, which has room for
 * `count`. Returns how many. */
unsigned block_cut(const struct iovec *pieces, unsigned count, uint64_t skip, uint64_t size, struct iovec *out);

/* An image of what a drive's options name. `drive` must outlive it. NULL: `error` says why, beginning with the file's name. */
struct block_image *block_open(const struct drive_option *drive, struct loop *loop, char error[ERROR_TEXT]);
static inline void block_close(struct block_image *i) {
  if (i) i->ops->destroy(i);
}

/* ---- the kinds of them, for block_open.c and tests ---- */

/* A file or block device whose bytes are the disk's, locked as QEMU locks it (block_lock.h). */
struct block_image *block_raw_open(const char *path, const struct drive_option *drive, bool read_only, char error[ERROR_TEXT]);
/* Writes stay in an unlinked file; `base` is read, and is the overlay's own from here on (closed with it, or on failure). */
struct block_image *block_overlay_open(struct block_image *base, char error[ERROR_TEXT]);
/* null-co://: `size` bytes of zeros, in which writes vanish. */
struct block_image *block_null_open(uint64_t size, char error[ERROR_TEXT]);
/* A server's export by its URI, or (uri NULL) one that a program of `helper` serves: started for it and ended with it. `name` is
 * for messages. */
struct block_helper;
struct block_image *block_nbd_open(const char *name, const char *uri, const struct block_helper *helper, bool read_only,
                                   const char *format, struct loop *loop, char error[ERROR_TEXT]);

/* "NAME: WHY" into error. Returns NULL. */
void *block_fail(char error[ERROR_TEXT], const char *name, const char *format, ...) __attribute__((format(printf, 3, 4)));
