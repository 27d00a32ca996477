/* libnbd (LGPL), loaded when the first image needs it: a bt that opens files starts without its dozen of libraries, and where the
 * package is not installed. */
#pragma once
#include <libnbd.h>
#include <stdbool.h>
#include "../boot/image.h"

#define NBD_CALLS(X) \
  X(create) \
  X(close) \
  X(get_error) \
  X(get_errno) \
  X(aio_connect_unix) \
  X(aio_connect_uri) \
  X(aio_is_connecting) \
  X(aio_is_ready) \
  X(aio_get_fd) \
  X(poll) \
  X(get_size) \
  X(get_block_size) \
  X(is_read_only) \
  X(can_flush) \
  X(can_fua) \
  X(can_trim) \
  X(can_multi_conn) \
  X(pread) \
  X(pwrite) \
  X(flush) \
  X(trim)
struct nbd_library {
  void *handle;
#define NBD_MEMBER(name) __typeof__(nbd_##name) *name;
  NBD_CALLS(NBD_MEMBER)
#undef NBD_MEMBER
};
/* False: `why` says what is missing. nbd_library_close() is due in any case. */
bool nbd_library_open(struct nbd_library *l, char why[ERROR_TEXT]);
void nbd_library_close(struct nbd_library *l);
