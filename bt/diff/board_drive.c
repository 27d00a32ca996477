/* A block back end (devices/backend.h) without threads: a request is carried out when board.c says so, in its thread. Flushes and
 * discards do nothing, since what is written lies over the image in memory of the host (block_overlay.c). */
#include "board_drive.h"
#include <errno.h>
#include <stdlib.h>
#include "../boot/boot.h"

static void submit(struct block_backend *b, struct block_request *r) { ((struct board_drive *)b)->waiting = r; }

static int carry_out(struct board_drive *d, const struct block_request *r) {
  struct iovec pieces[BLOCK_PIECES];
  if (r->piece_count > BLOCK_PIECES || r->at > d->image->size || r->size > d->image->size - r->at) return EINVAL;
  for (unsigned i = 0; i < r->piece_count; i++) pieces[i] = (struct iovec){r->pieces[i].bytes, r->pieces[i].size};
  switch (r->operation) {
  case BLOCK_READ: return d->image->ops->read(d->image, r->at, r->size, pieces, r->piece_count);
  case BLOCK_WRITE: return d->image->ops->write(d->image, r->at, r->size, pieces, r->piece_count, false);
  default: return 0;
  }
}

bool board_drive_serve(struct board_drive *d) {
  struct block_request *r = d ? d->waiting : NULL;
  if (!r) return false;
  d->waiting = NULL;
  r->done(r, carry_out(d, r));
  return true;
}

struct board_drive *board_drive_open(const struct drive_option *option, struct loop *loop, char error[ERROR_TEXT]) {
  static const struct block_ops ops = {.submit = submit};
  struct board_drive *d = calloc(1, sizeof *d);
  if (!d) return boot_fail(error, "not enough memory"), NULL;
  d->option = *option;
  d->option.snapshot = true;
  d->image = block_open(&d->option, loop, error);
  if (!d->image) return free(d), NULL;
  d->backend = (struct block_backend){.ops = &ops, .present = true, .size = d->image->size, .read_only = option->read_only};
  return d;
}

void board_drive_close(struct board_drive *d) {
  if (d) block_close(d->image);
  free(d);
}
