#define _GNU_SOURCE
#include "block_drive.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "block_image.h"
#include "block_probe.h"

enum { NOW = 512 << 10 /* bytes that are moved at once at most: 100 us at 5 GB/s */, POOL_THREADS = 8 };
struct under_way;
struct block_drive {
  struct block_backend backend;
  struct drive_option option; /* of the medium that is in it */
  char *file, *format;        /* of a medium that was put in later; else NULL */
  struct block_drive_host host;
  struct block_image *image; /* NULL: it is empty */
  uint8_t first_sector[512];
  struct under_way *first, **end; /* all that have not been told, oldest first */
  bool told;                      /* of an error, on stderr: once */
  unsigned held;                  /* requests that wait for the machine to go on */
  pthread_mutex_t lock;           /* of `working` */
  pthread_cond_t idle;
  unsigned working; /* requests that threads have */
  struct {
    uint64_t reads, writes, flushes, bytes_read, bytes_written, errors;
  } count;
};

/* What a request holds for us. */
struct under_way {
  struct pool_work work;
  struct post post;
  struct block_drive *drive;
  struct under_way *next;
  int error;
  bool held; /* threads are done with it: it waits for block_drive_resume() */
};
_Static_assert(sizeof(struct under_way) <= sizeof(((struct block_request *)0)->backend), "struct block_request has room for it");

static struct under_way *under_way(struct block_request *r) { return (struct under_way *)r->backend; }
static struct block_request *request_of(struct under_way *u) {
  return (struct block_request *)((char *)u - offsetof(struct block_request, backend));
}

/* ---- in a thread of the pool ---- */

/* The pieces behind the first `skip` bytes, as many as fit; *size is what they have together. */
static unsigned gather(const struct block_request *r, uint64_t skip, struct iovec out[BLOCK_PIECES], uint64_t *size) {
  unsigned n = 0;
  *size = 0;
  for (unsigned i = 0; i < r->piece_count && n < BLOCK_PIECES; i++) {
    const struct block_piece *piece = &r->pieces[i];
    if (skip >= piece->size) {
      skip -= piece->size;
      continue;
    }
    out[n++] = (struct iovec){piece->bytes + skip, piece->size - skip};
    *size += piece->size - skip;
    skip = 0;
  }
  return n;
}

static int transfer(struct block_image *image, const struct block_request *r, bool fua) {
  struct iovec pieces[BLOCK_PIECES];
  int error = 0;
  for (uint64_t done = 0, size; !error && done < r->size; done += size) {
    unsigned n = gather(r, done, pieces, &size);
    if (r->operation == BLOCK_READ) error = image->ops->read(image, r->at + done, size, pieces, n);
    else error = image->ops->write(image, r->at + done, size, pieces, n, fua);
  }
  return error;
}

/* Would the guest make a raw image look like one of another format, which the next who guesses would take it for? */
static bool disguises(const struct block_image *image, const struct block_request *r) {
  uint8_t sector[BLOCK_SECTOR];
  size_t have = 0;
  if (!image->guessed || r->at || r->operation != BLOCK_WRITE) return false;
  for (unsigned i = 0; i < r->piece_count && have < sizeof sector; i++) {
    size_t here = r->pieces[i].size < sizeof sector - have ? r->pieces[i].size : sizeof sector - have;
    if (here) memcpy(sector + have, r->pieces[i].bytes, here);
    have += here;
  }
  return strcmp(block_probe(sector, have, NULL), "raw");
}

/* Is what it writes on the medium when it is done? */
static bool is_through(const struct block_drive *d, const struct block_request *r) { return r->fua || !d->backend.write_cache; }

static int carry_out(struct block_drive *d, const struct block_request *r) {
  struct block_image *image = d->image;
  switch (r->operation) {
  case BLOCK_READ: return transfer(image, r, false);
  case BLOCK_WRITE: return disguises(image, r) ? EPERM : transfer(image, r, is_through(d, r));
  case BLOCK_FLUSH: return image->ops->flush(image);
  case BLOCK_DISCARD: return image->ops->discard ? image->ops->discard(image, r->at, r->size) : ENOTSUP;
  }
  return EINVAL;
}

static void work(struct pool_work *w) {
  struct under_way *u = (struct under_way *)w;
  struct block_drive *d = u->drive;
  u->error = carry_out(d, request_of(u));
  pthread_mutex_lock(&d->lock);
  post_add(d->host.posts, &u->post); /* under the lock: who finds no thread working finds all posts made */
  if (!--d->working) pthread_cond_broadcast(&d->idle);
  pthread_mutex_unlock(&d->lock);
}

static void hand_over(struct block_drive *d, struct under_way *u) {
  u->work = (struct pool_work){.function = work};
  pthread_mutex_lock(&d->lock);
  d->working++;
  pthread_mutex_unlock(&d->lock);
  pool_add(*d->host.pool, &u->work);
}

/* ---- in the vCPU thread: what becomes of errors ---- */

static bool is_full(int error) { return error == ENOSPC || error == EDQUOT || error == EFBIG; }

/* What was asked for cannot be, or there is nothing to ask: no policy makes that another error. */
static bool is_guests(int error) { return error == EINVAL || error == EROFS || error == ENOTSUP || error == ENOMEDIUM; }

static enum drive_policy policy_of(const struct block_drive *d, const struct block_request *r, int error) {
  enum drive_policy policy = r->operation == BLOCK_READ ? d->option.read_policy : d->option.write_policy;
  if (policy == POLICY_ENOSPC) policy = is_full(error) ? POLICY_STOP : POLICY_REPORT;
  return error == EPERM || (policy == POLICY_STOP && !d->host.stop) ? POLICY_REPORT : policy;
}

static void put_words(const struct block_drive *d, const struct block_request *r, int error, char out[ERROR_TEXT]) {
  static const char *const doing[] = {
    [BLOCK_READ] = "reading", [BLOCK_WRITE] = "writing", [BLOCK_FLUSH] = "flushing", [BLOCK_DISCARD] = "discarding"};
  const char *why = error == EPERM ? "the image would look like one of another format, so that is refused (format=raw allows it)"
                                   : strerror(error);
  bool there = d->image && d->image->overlay && r->operation == BLOCK_WRITE;
  block_fail(out, d->option.file, "drive %.40s: %s%s: %s", d->option.id, doing[r->operation],
             there ? " into TMPDIR or /var/tmp" : "", why);
}

/* True: the request waits for the machine to go on. */
static bool holds(struct block_drive *d, struct under_way *u) {
  char words[ERROR_TEXT];
  struct block_request *r = request_of(u);
  d->count.errors++;
  if (is_guests(u->error)) return false;
  enum drive_policy policy = policy_of(d, r, u->error);
  put_words(d, r, u->error, words);
  if (policy == POLICY_IGNORE) u->error = 0;
  if (policy == POLICY_STOP) {
    u->held = true, d->held++;
    d->host.stop(d->host.opaque, words);
    return true;
  }
  if (!d->told) d->told = true, fprintf(stderr, "bt: %s\n", words);
  return false;
}

/* ---- requests ---- */

static void enlist(struct block_drive *d, struct under_way *u) {
  *d->end = u;
  d->end = &u->next;
}

static void unlist(struct block_drive *d, struct under_way *u) {
  struct under_way **at = &d->first;
  while (*at != u) at = &(*at)->next;
  *at = u->next;
  if (d->end == &u->next) d->end = at;
}

static void note(struct block_drive *d, const struct block_request *r) {
  if (r->operation == BLOCK_READ && r->size) d->count.reads++, d->count.bytes_read += r->size;
  if (r->operation == BLOCK_WRITE) d->count.writes++, d->count.bytes_written += r->size;
  if (r->operation == BLOCK_FLUSH) d->count.flushes++;
}

/* Threads are done with it. */
static void finish(void *argument) {
  struct under_way *u = argument;
  struct block_drive *d = u->drive;
  struct block_request *r = request_of(u);
  if (u->error && holds(d, u)) return;
  if (!u->error) note(d, r);
  unlist(d, u);
  r->done(r, u->error);
}

/* 0, or what is wrong with a request, whatever the front end let the guest ask for. */
static int unfit(const struct block_drive *d, const struct block_request *r) {
  uint64_t sum = 0;
  const struct block_backend *b = &d->backend;
  if (!d->image) return ENOMEDIUM;
  if (r->operation == BLOCK_FLUSH) return 0;
  if (r->at > b->size || r->size > b->size - r->at) return EINVAL;
  if (r->operation != BLOCK_READ && b->read_only) return EROFS;
  if (r->operation == BLOCK_DISCARD) return 0;
  for (unsigned i = 0; i < r->piece_count; i++) sum += r->pieces[i].size;
  return sum == r->size ? 0 : EINVAL;
}

static bool at_once(struct block_drive *d, const struct block_request *r) {
  struct iovec pieces[BLOCK_PIECES];
  const struct block_image_ops *ops = d->image->ops;
  bool write = r->operation == BLOCK_WRITE;
  if (r->operation == BLOCK_READ && !r->size) return true;
  if (r->size > NOW || (write ? !ops->write_now || is_through(d, r) : r->operation != BLOCK_READ || !ops->read_now)) return false;
  if (write && disguises(d->image, r)) return false;
  for (uint64_t done = 0, size; done < r->size; done += size) {
    unsigned n = gather(r, done, pieces, &size);
    if (!(write ? ops->write_now : ops->read_now)(d->image, r->at + done, size, pieces, n)) return false;
  }
  return true;
}

/* What does not fit is no error here: submit() finds it, too. */
static bool read_now(struct block_backend *b, uint64_t at, uint64_t size, const struct block_piece *pieces, unsigned count) {
  struct block_drive *d = (struct block_drive *)b;
  const struct block_request r = {.operation = BLOCK_READ, .at = at, .size = size, .pieces = pieces, .piece_count = count};
  if (!size || unfit(d, &r) || !at_once(d, &r)) return false;
  note(d, &r);
  return true;
}

/* Even what is refused, or done at once, is told later. */
static void submit(struct block_backend *b, struct block_request *r) {
  struct block_drive *d = (struct block_drive *)b;
  struct under_way *u = under_way(r);
  *u = (struct under_way){.post = {.function = finish, .argument = u}, .drive = d};
  enlist(d, u);
  u->error = unfit(d, r);
  if (u->error || at_once(d, r)) post_add(d->host.posts, &u->post);
  else hand_over(d, u);
}

/* In the order in which they were submitted. */
void block_drive_resume(struct block_drive *d) {
  for (struct under_way *u = d->first, *next; u && d->held; u = next) {
    next = u->next;
    if (!u->held) continue;
    u->held = false, d->held--, u->error = 0;
    hand_over(d, u);
  }
}
bool block_drive_waits(const struct block_drive *d) { return d->held; }

/* ---- other media ---- */

static bool wait_until(struct block_drive *d, int64_t patience) {
  struct timespec end;
  clock_gettime(CLOCK_REALTIME, &end);
  end.tv_sec += patience / 1000000000, end.tv_nsec += patience % 1000000000;
  if (end.tv_nsec >= 1000000000) end.tv_sec++, end.tv_nsec -= 1000000000;
  pthread_mutex_lock(&d->lock);
  int result = 0;
  while (d->working && result != ETIMEDOUT) result = pthread_cond_timedwait(&d->idle, &d->lock, &end);
  bool done = !d->working;
  pthread_mutex_unlock(&d->lock);
  return done;
}

void block_drive_settle(struct block_drive *d, int64_t patience) {
  if (wait_until(d, patience) || !d->image || !d->image->ops->cancel) return;
  d->image->ops->cancel(d->image);
  wait_until(d, patience);
}

/* All that is under way is done and told, also what the front end submits on being told. R3. */
static bool drain(struct block_drive *d, char error[ERROR_TEXT]) {
  const int64_t patience = INT64_C(10) * 1000000000;
  if (d->held) return block_fail(error, d->option.id, "a request waits for the machine to go on ('cont')"), false;
  while (d->first) {
    struct under_way *u = d->first;
    if (!wait_until(d, patience)) return block_fail(error, d->option.id, "the host does not end a request"), false;
    if (post_remove(d->host.posts, &u->post)) finish(u);
    if (d->held) return block_fail(error, d->option.id, "a request has failed and waits for the machine to go on"), false;
  }
  return true;
}

/* The image that `option` names, and threads for it. NULL: `error` says why. */
static struct block_image *open_medium(struct block_drive *d, const struct drive_option *option, char error[ERROR_TEXT]) {
  if (!*d->host.pool) *d->host.pool = pool_create(POOL_THREADS);
  if (!*d->host.pool) return block_fail(error, option->file, "no thread for it: %s", strerror(errno));
  return block_open(option, d->host.loop, error);
}

static void set_medium(struct block_drive *d, struct block_image *image) {
  struct block_backend *b = &d->backend;
  d->image = image;
  b->present = image, b->size = image ? image->size : 0;
  b->read_only = image ? d->option.read_only || image->read_only : d->option.is_cdrom;
}

static void tell_front(struct block_drive *d, bool loaded) {
  d->backend.tray_open = !loaded;
  if (d->backend.front.medium) d->backend.front.medium(d->backend.front.opaque, loaded);
}

static bool can_change(const struct block_drive *d) { return d->backend.front.medium || !d->backend.front.opaque; }

bool block_drive_eject(struct block_drive *d, bool force, char error[ERROR_TEXT]) {
  const struct block_front *front = &d->backend.front;
  if (!can_change(d)) return block_fail(error, d->option.id, "its medium cannot be taken out"), false;
  if (d->backend.locked && !force) {
    if (front->eject_wanted) front->eject_wanted(front->opaque);
    return block_fail(error, d->option.id, "the guest has it locked and was asked to let go of it (by force: eject -f)"), false;
  }
  if (!drain(d, error)) return false;
  if (!d->image) return true;
  block_close(d->image);
  set_medium(d, NULL);
  d->option.file = NULL;
  tell_front(d, false);
  return true;
}

/* The drive's own copies of what is said while it runs; those before are let go of. */
static bool keep(struct block_drive *d, struct drive_option *o, const char *file, const char *format) {
  char *file_copy = strdup(file), *format_copy = format ? strdup(format) : NULL;
  if (!file_copy || (format && !format_copy)) return free(file_copy), free(format_copy), false;
  o->file = file_copy, o->format = format_copy;
  return true;
}

bool block_drive_change(struct block_drive *d, const char *file, const char *format, bool read_only, bool force,
                        char error[ERROR_TEXT]) {
  struct drive_option next = d->option;
  next.read_only = read_only || d->option.is_cdrom;
  if (!can_change(d)) return block_fail(error, d->option.id, "its medium cannot be changed"), false;
  if (!keep(d, &next, file, format)) return block_fail(error, d->option.id, "not enough memory"), false;
  struct block_image *image = open_medium(d, &next, error);
  if (!image || !block_drive_eject(d, force, error)) {
    block_close(image);
    return free((char *)next.file), free((char *)next.format), false;
  }
  free(d->file), free(d->format);
  d->file = (char *)next.file, d->format = (char *)next.format, d->option = next, d->told = false;
  set_medium(d, image);
  tell_front(d, true);
  return true;
}

struct block_drive_info block_drive_info(const struct block_drive *d) {
  const struct block_backend *b = &d->backend;
  struct block_drive_info info = {.id = d->option.id,
                                  .file = d->image ? d->option.file : NULL,
                                  .format = d->image ? d->image->format : NULL,
                                  .read_only = b->read_only,
                                  .snapshot = d->option.snapshot,
                                  .locked = b->locked,
                                  .tray_open = b->tray_open,
                                  .has_front = b->front.opaque,
                                  .can_change = can_change(d),
                                  .size = b->size};
  memcpy(&info.count, &d->count, sizeof info.count);
  return info;
}

/* ---- beginning and end ---- */

/* For a disk's geometry, which its partitions may tell. What cannot be read is the guest's affair when it reads it. */
static void read_first_sector(struct block_drive *d) {
  const struct iovec to = {d->first_sector, sizeof d->first_sector};
  if (!d->image || d->option.is_cdrom || d->image->size < to.iov_len) return;
  if (d->image->ops->read(d->image, 0, to.iov_len, &to, 1) == 0) d->backend.first_sector = d->first_sector;
}

struct block_drive *block_drive_create(const struct drive_option *option, const struct block_drive_host *host,
                                       char error[ERROR_TEXT]) {
  static const struct block_ops ops = {submit, read_now};
  struct block_drive *d = calloc(1, sizeof *d);
  if (!d) return block_fail(error, option->id, "not enough memory");
  *d = (struct block_drive){.option = *option, .host = *host, .end = &d->first};
  d->backend = (struct block_backend){
    .ops = &ops, .write_cache = option->write_cache, .is_cdrom = option->is_cdrom, .serial = option->serial};
  d->backend.geometry = (struct block_geometry){option->cylinders, option->heads, option->sectors};
  pthread_mutex_init(&d->lock, NULL);
  pthread_cond_init(&d->idle, NULL);
  struct block_image *image = option->file ? open_medium(d, option, error) : NULL;
  set_medium(d, image);
  read_first_sector(d);
  if (image || !option->file) return d;
  block_drive_destroy(d);
  return NULL;
}

struct block_backend *block_drive_backend(struct block_drive *d) {
  return &d->backend;
}
const char *block_drive_id(const struct block_drive *d) { return d->option.id; }

void block_drive_destroy(struct block_drive *d) {
  if (!d) return;
  block_close(d->image);
  pthread_cond_destroy(&d->idle);
  pthread_mutex_destroy(&d->lock);
  free(d->file), free(d->format);
  free(d);
}
