/* What a drive costs over pread(): reads of 4 KiB at random, one after the other, and of 128 KiB in order. The vCPU looks for
 * posts all the time, as a guest that runs does at its safepoints. The best of several rounds; the file is in the page cache
 * after the first unless cache=none. No VM.
 *
 *   bench_block FILE [KEY=VALUE,...]      properties of -drive; FILE has 8 MiB or more */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "../bt/host/block_drive.h"
#include "../bt/host/loop.h"

enum { ROUNDS = 5, RANDOM = 4096, LARGE = 128 << 10, COUNT = 20000, NS = 1000000000 };

struct bench {
  struct block_backend *b;
  struct post_queue posts;
  unsigned done;
  int fd; /* >= 0: pread() in the drive's place */
  uint64_t size;
  uint8_t *bytes;
};
static void kick(void *opaque) { (void)opaque; }
static void note(struct block_request *r, int error) {
  if (error) fprintf(stderr, "error %d\n", error), exit(1);
  ((struct bench *)r->opaque)->done++;
}

static void read_one(struct bench *x, uint64_t at, size_t size) {
  struct block_piece piece = {x->bytes, size};
  struct block_request r = {
    .operation = BLOCK_READ, .at = at, .size = size, .pieces = &piece, .piece_count = 1, .done = note, .opaque = x};
  unsigned before = x->done;
  if (x->fd >= 0) {
    if (pread(x->fd, x->bytes, size, (off_t)at) != (ssize_t)size) perror("pread"), exit(1);
    return;
  }
  block_submit(x->b, &r);
  while (x->done == before)
    if (post_waits(&x->posts)) post_run(&x->posts);
}

/* ns a request. */
static double round_of(struct bench *x, size_t size, bool random) {
  unsigned count = random ? COUNT : (unsigned)(x->size / size < 2000 ? x->size / size : 2000), seed = 1;
  int64_t begun = loop_now();
  for (unsigned i = 0; i < count; i++)
    read_one(x, random ? (uint64_t)rand_r(&seed) % (x->size / size) * size : i % (x->size / size) * size, size);
  return (double)(loop_now() - begun) / count;
}

static double best(struct bench *x, size_t size, bool random) {
  double least = 1e18;
  for (unsigned i = 0; i < ROUNDS; i++) {
    double now = round_of(x, size, random);
    if (now < least) least = now;
  }
  return least;
}

int main(int argc, char **argv) {
  char text[4096], error[PROPERTY_ERROR];
  const struct option_entry *list = NULL;
  const char *problem;
  struct drive_option option;
  struct bench x = {.fd = -1, .bytes = aligned_alloc(4096, LARGE)};
  if (argc < 2) return fprintf(stderr, "usage: bench_block FILE [KEY=VALUE,...]\n"), 1;
  snprintf(text, sizeof text, "file=%s,if=none,id=d%s%s", argv[1], argc > 2 ? "," : "", argc > 2 ? argv[2] : "");
  if (!entry_add(&list, "drive", "-drive", "", text, &problem)) return fprintf(stderr, "%s\n", problem), 1;
  if (!drive_option_read(list, false, &option, error)) return fprintf(stderr, "%s\n", error), 1;
  post_queue_init(&x.posts, kick, NULL);
  struct pool *pool = NULL;
  const struct block_drive_host host = {.pool = &pool, .posts = &x.posts, .loop = loop_create()};
  struct block_drive *drive = block_drive_create(&option, &host, error);
  if (!drive) return fprintf(stderr, "%s\n", error), 1;
  x.b = block_drive_backend(drive), x.size = x.b->size;
  double random = best(&x, RANDOM, true), large = best(&x, LARGE, false);
  printf("drive   4 KiB at random %8.2f us   128 KiB in order %8.2f us, %6.0f MB/s\n", random / 1e3, large / 1e3,
         LARGE / large * 1e3);
  x.fd = open(argv[1], O_RDONLY);
  random = best(&x, RANDOM, true), large = best(&x, LARGE, false);
  printf("pread() 4 KiB at random %8.2f us   128 KiB in order %8.2f us, %6.0f MB/s\n", random / 1e3, large / 1e3,
         LARGE / large * 1e3);
  close(x.fd);
  pool_destroy(pool);
  post_queue_destroy(&x.posts);
  block_drive_destroy(drive);
  loop_destroy(host.loop);
  entry_free_all(&list);
  free(x.bytes);
  return 0;
}
