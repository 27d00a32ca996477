/* A block back end (devices/backend.h, D16): a file or block device of the host whose bytes are the disk's.
 *
 * Requests go to a pool of threads, which read and write the request's buffers by preadv() and pwritev(), and are posted to the
 * vCPU thread when they are done. A flush is fdatasync(), a discard a hole. The file is locked against other machines (and QEMU)
 * while it is open: shared where it is read-only. Missing: direct I/O, discards of block devices (ENOTSUP), images that grow. */
#pragma once
#include "../../devices/backend.h"
#include "../boot/image.h"
#include "pool.h"
#include "post.h"

/* Both must outlive it. NULL: `error` says why, beginning with `path`. */
struct block_backend *block_raw_create(const char *path, bool read_only, struct pool *pool, struct post_queue *posts,
                                       char error[ERROR_TEXT]);
/* After pool_destroy(): no request is under way. NULL: nothing happens. */
void block_raw_destroy(struct block_backend *b);
