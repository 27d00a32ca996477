#define _GNU_SOURCE
#include "block_raw.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include "../options/values.h"

struct raw {
  struct block_backend backend;
  int fd;
  struct pool *pool;
  struct post_queue *posts;
};

/* What a request holds for us. */
struct under_way {
  struct pool_work work;
  struct post post;
  struct raw *raw;
  int error;
};
_Static_assert(sizeof(struct under_way) <= sizeof(((struct block_request *)0)->backend), "struct block_request has room for it");

static struct under_way *under_way(struct block_request *r) { return (struct under_way *)r->backend; }
static struct block_request *request_of(struct under_way *u) {
  return (struct block_request *)((char *)u - offsetof(struct block_request, backend));
}

/* ---- in a thread of the pool ---- */

/* The pieces behind the first `done` bytes, as many as fit. Returns how many. */
static int gather(const struct block_request *r, uint64_t done, struct iovec *out, unsigned max) {
  unsigned n = 0;
  for (unsigned i = 0; i < r->piece_count && n < max; i++) {
    const struct block_piece *piece = &r->pieces[i];
    if (done >= piece->size) {
      done -= piece->size;
      continue;
    }
    out[n++] = (struct iovec){piece->bytes + done, piece->size - done};
    done = 0;
  }
  return (int)n;
}

/* A file that somebody has cut off has no more bytes: that is a disk error, not zeros. */
static int transfer(struct raw *raw, const struct block_request *r) {
  enum { AT_ONCE = 64 };
  struct iovec pieces[AT_ONCE];
  for (uint64_t done = 0; done < r->size;) {
    int n = gather(r, done, pieces, AT_ONCE);
    off_t at = (off_t)(r->at + done);
    ssize_t moved =
      r->operation == BLOCK_READ ? preadv(raw->fd, pieces, n, at) : pwritev2(raw->fd, pieces, n, at, r->fua ? RWF_DSYNC : 0);
    if (moved < 0 && errno == EINTR) continue;
    if (moved <= 0) return moved < 0 ? errno : EIO;
    done += (uint64_t)moved;
  }
  return 0;
}

static int discard(struct raw *raw, const struct block_request *r) {
  int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  while (r->size && fallocate(raw->fd, mode, (off_t)r->at, (off_t)r->size) < 0)
    if (errno != EINTR) return errno == EOPNOTSUPP || errno == ENODEV ? ENOTSUP : errno;
  return 0;
}

static int carry_out(struct raw *raw, const struct block_request *r) {
  switch (r->operation) {
  case BLOCK_READ:
  case BLOCK_WRITE: return transfer(raw, r);
  case BLOCK_FLUSH: return fdatasync(raw->fd) < 0 && errno != EROFS && errno != EINVAL ? errno : 0;
  case BLOCK_DISCARD: return discard(raw, r);
  }
  return EINVAL;
}

static void work(struct pool_work *w) {
  struct under_way *u = (struct under_way *)w;
  u->error = carry_out(u->raw, request_of(u));
  post_add(u->raw->posts, &u->post);
}

/* ---- in the vCPU thread ---- */

static void done(void *argument) {
  struct under_way *u = argument;
  struct block_request *r = request_of(u);
  r->done(r, u->error);
}

/* 0, or what is wrong with a request, whatever the front end let the guest ask for. */
static int unfit(const struct block_backend *b, const struct block_request *r) {
  uint64_t sum = 0;
  if (r->operation == BLOCK_FLUSH) return 0;
  if (r->at > b->size || r->size > b->size - r->at) return EINVAL;
  if (r->operation != BLOCK_READ && b->read_only) return EROFS;
  if (r->operation == BLOCK_DISCARD) return 0;
  for (unsigned i = 0; i < r->piece_count; i++) sum += r->pieces[i].size;
  return sum == r->size ? 0 : EINVAL;
}

/* Even what is refused is done later, never before this returns. */
static void submit(struct block_backend *b, struct block_request *r) {
  struct raw *raw = (struct raw *)b;
  struct under_way *u = under_way(r);
  *u = (struct under_way){.work = {.function = work}, .post = {.function = done, .argument = u}, .raw = raw};
  u->error = unfit(b, r);
  if (u->error) post_add(raw->posts, &u->post);
  else pool_add(raw->pool, &u->work);
}

/* ---- beginning and end ---- */

static bool fail(char error[ERROR_TEXT], const char *path, const char *why) {
  char name[128];
  snprintf(error, ERROR_TEXT, "%s: %s", value_printable(name, path), why);
  return false;
}

static bool lock(struct raw *raw, const char *path, char error[ERROR_TEXT]) {
  struct flock whole = {.l_type = raw->backend.read_only ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET};
  if (fcntl(raw->fd, F_OFD_SETLK, &whole) == 0 || (errno != EAGAIN && errno != EACCES))
    return true; /* not every file system can */
  return fail(error, path, "another machine has it open");
}

static bool open_file(struct raw *raw, const char *path, char error[ERROR_TEXT]) {
  struct stat st;
  raw->fd = open(path, (raw->backend.read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (raw->fd < 0 || fstat(raw->fd, &st) < 0) return fail(error, path, strerror(errno));
  if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) return fail(error, path, "neither a file nor a block device");
  off_t size = lseek(raw->fd, 0, SEEK_END);
  if (size < 0) return fail(error, path, strerror(errno));
  raw->backend.size = (uint64_t)size;
  return lock(raw, path, error);
}

struct block_backend *block_raw_create(const char *path, bool read_only, struct pool *pool, struct post_queue *posts,
                                       char error[ERROR_TEXT]) {
  static const struct block_ops ops = {submit};
  struct raw *raw = calloc(1, sizeof *raw);
  if (!raw) return fail(error, path, "not enough memory"), NULL;
  *raw = (struct raw){.backend = {.ops = &ops, .present = true, .read_only = read_only, .write_cache = true},
                      .fd = -1,
                      .pool = pool,
                      .posts = posts};
  if (open_file(raw, path, error)) return &raw->backend;
  block_raw_destroy(&raw->backend);
  return NULL;
}

void block_raw_destroy(struct block_backend *b) {
  struct raw *raw = (struct raw *)b;
  if (!raw) return;
  if (raw->fd >= 0) close(raw->fd);
  free(raw);
}
