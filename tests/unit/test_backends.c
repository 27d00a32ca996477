// Back ends other than characters: raw block devices and their pool of threads, the null ones. Run only this:
// build/unit/test_backends
// sources: bt/host/block_raw.c bt/host/pool.c bt/host/post.c bt/host/null_backends.c bt/options/values.c monitor/clock.c
// link: pthread
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "bt/host/block_raw.h"
#include "bt/host/null_backends.h"

enum { SIZE = 1 << 20 };

struct disk {
  char path[32];
  struct pool *pool;
  struct post_queue posts;
  struct block_backend *b;
  atomic_int kicks;
  unsigned done; /* vCPU thread */
  int error;     /* of the last */
};
static void note_kick(void *opaque) { atomic_fetch_add(&((struct disk *)opaque)->kicks, 1); }
static void note_done(struct block_request *r, int error) {
  struct disk *d = r->opaque;
  d->done++, d->error = error;
}
static void nap(void) {
  struct timespec t = {0, 200000};
  nanosleep(&t, NULL);
}

static void open_disk(struct disk *d, bool read_only) {
  char error[ERROR_TEXT];
  *d = (struct disk){.path = "/tmp/bt-block-XXXXXX"};
  int fd = mkstemp(d->path);
  for (unsigned i = 0; i < SIZE / 4; i++) assert_int_equal(write(fd, &i, 4), 4);
  close(fd);
  post_queue_init(&d->posts, note_kick, d);
  d->pool = pool_create(4);
  assert_non_null(d->pool);
  d->b = block_raw_create(d->path, read_only, d->pool, &d->posts, error);
  if (!d->b) fail_msg("%s", error);
}
static void close_disk(struct disk *d) {
  pool_destroy(d->pool);
  post_queue_destroy(&d->posts);
  block_raw_destroy(d->b);
  unlink(d->path);
}

/* Submits, and waits as a vCPU that has safepoints. Returns the error. */
static int carry_out(struct disk *d, struct block_request *r) {
  unsigned before = d->done;
  r->done = note_done, r->opaque = d;
  block_submit(d->b, r);
  assert_int_equal(d->done, before); /* never before it returns */
  for (int i = 0; i < 50000 && d->done == before; i++) nap(), post_run(&d->posts);
  assert_int_equal(d->done, before + 1);
  return d->error;
}
static int simple(struct disk *d, enum block_operation operation, uint64_t at, void *bytes, size_t size) {
  struct block_piece piece = {bytes, size};
  struct block_request r = {.operation = operation, .at = at, .size = size, .pieces = &piece, .piece_count = 1};
  return carry_out(d, &r);
}

static void pieces_are_one_run_of_bytes(void **state) {
  enum { PIECES = 150 }; /* more than go into one call */
  static uint8_t out[PIECES][700], in[PIECES * 700];
  struct block_piece pieces[PIECES];
  struct disk d;
  uint64_t total = 0;
  open_disk(&d, false);
  assert_int_equal(d.b->size, SIZE);
  for (unsigned i = 0; i < PIECES; i++) {
    pieces[i] = (struct block_piece){out[i], (i * 37) % 700}; /* empty ones, too */
    for (unsigned k = 0; k < pieces[i].size; k++) out[i][k] = (uint8_t)((total + k) * 11 >> 2);
    total += pieces[i].size;
  }
  struct block_request r = {
    .operation = BLOCK_WRITE, .fua = true, .at = 512, .size = total, .pieces = pieces, .piece_count = PIECES};
  assert_int_equal(carry_out(&d, &r), 0);
  assert_int_equal(simple(&d, BLOCK_READ, 512, in, total), 0);
  for (uint64_t i = 0; i < total; i++) assert_int_equal(in[i], (uint8_t)(i * 11 >> 2));
  memset(out, 0, sizeof out);
  r.operation = BLOCK_READ, r.fua = false;
  assert_int_equal(carry_out(&d, &r), 0);
  total = 0;
  for (unsigned i = 0; i < PIECES; total += pieces[i++].size)
    for (unsigned k = 0; k < pieces[i].size; k++) assert_int_equal(out[i][k], (uint8_t)((total + k) * 11 >> 2));
  uint32_t word;
  assert_int_equal(simple(&d, BLOCK_READ, 508, &word, 4), 0);
  assert_int_equal(word, 508 / 4); /* what lies before it is as it was */
  close_disk(&d);
}

static void what_cannot_be_is_an_error(void **state) {
  struct disk d;
  uint8_t bytes[1024];
  struct block_piece piece = {bytes, 1024};
  open_disk(&d, false);
  assert_int_equal(simple(&d, BLOCK_READ, SIZE - 512, bytes, 1024), EINVAL);
  assert_int_equal(simple(&d, BLOCK_WRITE, UINT64_MAX - 100, bytes, 512), EINVAL);
  assert_int_equal(simple(&d, BLOCK_READ, SIZE, bytes, 0), 0);
  struct block_request lies = {.operation = BLOCK_READ, .size = 512, .pieces = &piece, .piece_count = 1};
  assert_int_equal(carry_out(&d, &lies), EINVAL);
  assert_int_equal(truncate(d.path, SIZE / 2), 0); /* by somebody else */
  assert_int_equal(simple(&d, BLOCK_READ, SIZE / 2 - 512, bytes, 1024), EIO);
  assert_int_equal(simple(&d, BLOCK_READ, SIZE / 2 - 512, bytes, 512), 0);
  close_disk(&d);
  open_disk(&d, true);
  assert_true(d.b->read_only);
  assert_int_equal(simple(&d, BLOCK_WRITE, 0, bytes, 512), EROFS);
  assert_int_equal(simple(&d, BLOCK_READ, 0, bytes, 512), 0);
  struct block_request flush = {.operation = BLOCK_FLUSH};
  assert_int_equal(carry_out(&d, &flush), 0);
  close_disk(&d);
}

static void discard_makes_a_hole(void **state) {
  struct disk d;
  struct stat before, after;
  uint32_t words[2];
  open_disk(&d, false);
  struct block_request flush = {.operation = BLOCK_FLUSH}, r = {.operation = BLOCK_DISCARD, .at = 65536, .size = 65536};
  assert_int_equal(carry_out(&d, &flush), 0);
  assert_int_equal(stat(d.path, &before), 0);
  int error = carry_out(&d, &r);
  if (error == 0) { /* ENOTSUP: that file system has no holes */
    assert_int_equal(simple(&d, BLOCK_READ, 65536 - 4, words, 8), 0);
    assert_int_equal(words[0], 65536 / 4 - 1);
    assert_int_equal(words[1], 0);
    assert_int_equal(stat(d.path, &after), 0);
    assert_true(after.st_size == SIZE && after.st_blocks < before.st_blocks);
  } else assert_int_equal(error, ENOTSUP);
  close_disk(&d);
}

/* All at once, each with its own place: every one is done, once, with its own bytes. */
static void many_requests_at_once(void **state) {
  enum { MANY = 400 };
  static struct block_request r[MANY];
  static struct block_piece piece[MANY];
  static uint32_t words[MANY][128];
  struct disk d;
  open_disk(&d, false);
  for (unsigned i = 0; i < MANY; i++) {
    piece[i] = (struct block_piece){(uint8_t *)words[i], sizeof words[i]};
    r[i] = (struct block_request){.operation = i % 2 ? BLOCK_WRITE : BLOCK_READ,
                                  .at = i * 512,
                                  .size = 512,
                                  .pieces = &piece[i],
                                  .piece_count = 1,
                                  .done = note_done,
                                  .opaque = &d};
    if (i % 2) memset(words[i], (int)i, sizeof words[i]);
    block_submit(d.b, &r[i]);
  }
  for (int i = 0; i < 50000 && d.done < MANY; i++) {
    if (atomic_exchange(&d.kicks, 0)) post_run(&d.posts);
    else nap();
  }
  assert_int_equal(d.done, MANY);
  for (unsigned i = 0; i < MANY; i++) {
    uint32_t there[128];
    if (i % 2) assert_int_equal(simple(&d, BLOCK_READ, i * 512, there, 512), 0);
    if (i % 2) assert_memory_equal(there, words[i], 512);
    else assert_int_equal(words[i][5], i * 128 + 5);
  }
  close_disk(&d);
}

/* The machine ends with requests under way: they are carried out, nobody is told. */
static void the_end_waits_for_writes(void **state) {
  static struct block_request r[32];
  static uint8_t bytes[512];
  struct block_piece piece = {bytes, 512};
  struct disk d;
  memset(bytes, 0xa5, sizeof bytes);
  open_disk(&d, false);
  for (unsigned i = 0; i < 32; i++) {
    r[i] = (struct block_request){
      .operation = BLOCK_WRITE, .at = i * 4096, .size = 512, .pieces = &piece, .piece_count = 1, .done = note_done, .opaque = &d};
    block_submit(d.b, &r[i]);
  }
  pool_destroy(d.pool);
  d.pool = NULL;
  int fd = open(d.path, O_RDONLY);
  for (unsigned i = 0; i < 32; i++) {
    uint8_t seen = 0;
    assert_int_equal(pread(fd, &seen, 1, i * 4096 + 511), 1);
    assert_int_equal(seen, 0xa5);
  }
  assert_int_equal(d.done, 0);
  close(fd);
  close_disk(&d);
}

static void files_that_are_no_disks(void **state) {
  char error[ERROR_TEXT];
  struct disk d;
  open_disk(&d, false);
  assert_null(block_raw_create("/tmp", true, d.pool, &d.posts, error));
  assert_non_null(strstr(error, "/tmp: neither a file"));
  assert_null(block_raw_create("/nonexistent/disk", false, d.pool, &d.posts, error));
  assert_non_null(strstr(error, "/nonexistent/disk: No such file"));
  assert_null(block_raw_create("/dev/null", false, d.pool, &d.posts, error));
  assert_null(block_raw_create(d.path, false, d.pool, &d.posts, error));
  assert_non_null(strstr(error, "another machine"));
  close_disk(&d);
  open_disk(&d, true);
  struct block_backend *second = block_raw_create(d.path, true, d.pool, &d.posts, error); /* readers share it */
  assert_non_null(second);
  block_raw_destroy(second);
  close_disk(&d);
}

/* ---- those behind which there is nothing ---- */

struct listener {
  struct null_sound sound;
  unsigned calls, frames, stop_after;
};
static unsigned need_samples(void *opaque, uint8_t *to, unsigned frames) {
  struct listener *l = opaque;
  assert_null(to);
  l->calls++, l->frames += frames;
  if (l->calls == l->stop_after) l->sound.backend.ops->stop(&l->sound.backend);
  return frames;
}
static void advance(struct clock *clock, int64_t ns) {
  int64_t target = clock_now(clock) + ns;
  while (clock_next_deadline(clock) <= target) {
    clock_skip_to(clock, clock_next_deadline(clock));
    clock_run(clock);
  }
  clock_skip_to(clock, target);
}
static void null_sound_takes_its_time(void **state) {
  struct clock *clock = clock_create(0, 0);
  struct listener l = {.stop_after = 0};
  const struct sound_format format = {22050, 2, 2};
  null_sound_init(&l.sound, clock);
  l.sound.backend.front = (struct sound_front){&l, need_samples};
  advance(clock, 1000000000);
  assert_int_equal(l.calls, 0);
  l.sound.backend.ops->start(&l.sound.backend, &format);
  advance(clock, 1000000000);
  assert_int_equal(l.calls, 100);
  assert_int_equal(l.frames, 22050);
  l.stop_after = 103;
  advance(clock, 1000000000);
  assert_int_equal(l.calls, 103);
  l.sound.backend.ops->start(&l.sound.backend, &format); /* and then the vCPU is away for an hour */
  l.frames = 0;
  clock_skip_to(clock, clock_now(clock) + 3600 * INT64_C(1000000000));
  clock_run(clock);
  assert_int_equal(l.frames, 22050);
  null_sound_close(&l.sound);
  clock_destroy(clock);
}
static void null_network_swallows(void **state) {
  struct network_backend network;
  null_network_init(&network);
  network.ops->send(&network, (const uint8_t *)"frame", 5);
  assert_null(network.ops->accept);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(pieces_are_one_run_of_bytes), cmocka_unit_test(what_cannot_be_is_an_error),
    cmocka_unit_test(discard_makes_a_hole),        cmocka_unit_test(many_requests_at_once),
    cmocka_unit_test(the_end_waits_for_writes),    cmocka_unit_test(files_that_are_no_disks),
    cmocka_unit_test(null_sound_takes_its_time),   cmocka_unit_test(null_network_swallows),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
