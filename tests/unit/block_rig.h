/* For tests of drives (bt/host/block_drive.h): one with its pool, loop and post queue, and a vCPU that has safepoints. */
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "bt/host/block_drive.h"
#include "bt/host/loop.h"

enum { SIZE = 1 << 20 };
struct disk {
  char path[64];
  const struct option_entry *entries;
  struct pool *pool;
  struct loop *loop;
  struct post_queue posts;
  struct block_drive *drive;
  struct block_backend *b;
  atomic_int kicks;
  unsigned done, stops; /* vCPU thread */
  int error;            /* of the last */
  char reason[ERROR_TEXT];
};

static inline void note_kick(void *opaque) { atomic_fetch_add(&((struct disk *)opaque)->kicks, 1); }
static inline void note_stop(void *opaque, const char *reason) {
  struct disk *d = opaque;
  d->stops++;
  snprintf(d->reason, sizeof d->reason, "%s", reason);
}
static inline void note_done(struct block_request *r, int error) {
  struct disk *d = r->opaque;
  d->done++, d->error = error;
}
static inline void nap(void) {
  struct timespec t = {0, 200000};
  nanosleep(&t, NULL);
}

/* Where flushes take no time, if O_DIRECT is known there (tmpfs since Linux 6.6); what is tested does not depend on it. */
static inline const char *test_folder(void) {
  int fd = open("/dev/shm", O_TMPFILE | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);
  if (fd >= 0) close(fd);
  return fd >= 0 ? "/dev/shm" : "/tmp";
}

/* A file of SIZE bytes whose words are their own numbers. */
static inline void make_file(char path[64]) {
  snprintf(path, 64, "%s/bt-block-XXXXXX", test_folder());
  uint32_t *words = malloc(SIZE);
  for (unsigned i = 0; i < SIZE / 4; i++) words[i] = i;
  int fd = mkstemp(path);
  assert_int_equal(write(fd, words, SIZE), SIZE);
  close(fd), free(words);
}

/* A drive as -drive `text` makes it (if=none,id=d are added). False: `error`. */
static inline bool try_drive(struct disk *d, const char *text, char error[ERROR_TEXT]) {
  char whole[512], why[PROPERTY_ERROR];
  const char *problem;
  struct drive_option option;
  snprintf(whole, sizeof whole, "%s,if=none,id=d", text);
  assert_true(entry_add(&d->entries, "drive", "-drive", text, whole, &problem));
  if (!drive_option_read(d->entries, false, &option, why)) fail_msg("%s", why);
  post_queue_init(&d->posts, note_kick, d);
  d->pool = pool_create(4), d->loop = loop_create();
  assert_true(d->pool && d->loop && loop_start(d->loop));
  const struct block_drive_host host = {.pool = &d->pool, .posts = &d->posts, .loop = d->loop, .opaque = d, .stop = note_stop};
  d->drive = block_drive_create(&option, &host, error);
  d->b = d->drive ? block_drive_backend(d->drive) : NULL;
  return d->drive;
}

/* On a file of its own: "file=PATH,TEXT". */
static inline void open_disk(struct disk *d, const char *text) {
  char error[ERROR_TEXT], whole[256];
  *d = (struct disk){0};
  make_file(d->path);
  snprintf(whole, sizeof whole, "file=%s,%s", d->path, text);
  if (!try_drive(d, whole, error)) fail_msg("%s", error);
}

/* In the order of machine_destroy(). */
static inline void close_drive(struct disk *d) {
  loop_stop(d->loop);
  if (d->drive) block_drive_settle(d->drive, 500000000);
  pool_destroy(d->pool);
  post_queue_destroy(&d->posts);
  block_drive_destroy(d->drive);
  loop_destroy(d->loop);
  entry_free_all(&d->entries);
}
static inline void close_disk(struct disk *d) {
  close_drive(d);
  if (*d->path) unlink(d->path);
}

/* Waits as a vCPU that has safepoints, until `count` are done. */
static inline void wait_done(struct disk *d, unsigned count) {
  for (int i = 0; i < 100000 && d->done < count; i++) nap(), post_run(&d->posts);
  assert_int_equal(d->done, count);
}

/* Submits and waits. Returns the error. */
static inline int carry_out(struct disk *d, struct block_request *r) {
  unsigned before = d->done;
  r->done = note_done, r->opaque = d;
  block_submit(d->b, r);
  assert_int_equal(d->done, before); /* never before it returns */
  wait_done(d, before + 1);
  return d->error;
}
static inline int simple(struct disk *d, enum block_operation operation, uint64_t at, void *bytes, size_t size) {
  struct block_piece piece = {bytes, size};
  struct block_request r = {.operation = operation, .at = at, .size = size, .pieces = &piece, .piece_count = 1};
  return carry_out(d, &r);
}
