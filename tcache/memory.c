/* Maps code memory (twice: I3) and the tables. The only file of tcache/ that calls the host. */
#define _GNU_SOURCE
#include "private.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static void *reserve(uint64_t size) {   /* zero, taken as needed; used from the start on, so huge pages waste little */
  void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p != MAP_FAILED) madvise(p, size, MADV_HUGEPAGE);
  return p == MAP_FAILED ? NULL : p;
}

static bool map_code(struct tcache *t, const char **error) {
  int fd = memfd_create("bt-code", MFD_CLOEXEC);
  if (fd < 0 && (errno == EMFILE || errno == ENFILE)) *error = "no file descriptor is left for the code cache";
  if (fd < 0) return false;
  void *w = MAP_FAILED, *x = MAP_FAILED;
  if (ftruncate(fd, t->size) == 0) {
    w = mmap(NULL, t->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    x = mmap(NULL, t->size, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_NORESERVE, fd, 0);
  }
  close(fd);
  t->writable = w == MAP_FAILED ? NULL : w;
  t->executable = x == MAP_FAILED ? NULL : x;
  return t->writable && t->executable;
}

static bool map_tables(struct tcache *t) {
  t->block_max = t->size / 64 + 64, t->site_max = t->size / 16 + 2 * TR_MAX_SITES, t->callout_max = t->size / 64 + 2 * TR_MAX_INSNS;
  t->blocks = reserve((uint64_t)t->block_max * sizeof *t->blocks);
  t->sites = reserve((uint64_t)t->site_max * sizeof *t->sites);
  t->callouts = reserve((uint64_t)t->callout_max * sizeof *t->callouts);
  t->hash = reserve(HASH_HEADS * 4ull), t->by_frame = reserve(FRAMES * 4ull), t->by_page = reserve(PAGES * 4ull);
  return t->blocks && t->sites && t->callouts && t->hash && t->by_frame && t->by_page;
}

struct tcache *tcache_create(uint64_t code_size, void (*died)(void *, const struct tc_block *), void *opaque, const char **error) {
  struct tcache *t = calloc(1, sizeof *t);
  *error = "no memory for the code cache";
  if (!t) return NULL;
  if (code_size < 64 << 10) code_size = 64 << 10;
  if (code_size > 1u << 30) code_size = 1u << 30;
  t->size = (uint32_t)((code_size + 4095) & ~4095ull);
  t->died = died, t->opaque = opaque;
  if (!map_code(t, error) || !map_tables(t)) { tcache_destroy(t); return NULL; }
  tr_write_stubs(t->writable, &t->stubs);
  t->used = t->stubs_end = (t->stubs.size + 63) & ~63u;
  t->cold_start = t->cold_used = t->size / 8 * 5 & ~63u;
  return t;
}

static void unmap(void *p, uint64_t size) { if (p) munmap(p, size); }

void tcache_destroy(struct tcache *t) {
  if (!t) return;
  unmap(t->writable, t->size), unmap(t->executable, t->size);
  unmap(t->blocks, (uint64_t)t->block_max * sizeof *t->blocks);
  unmap(t->sites, (uint64_t)t->site_max * sizeof *t->sites);
  unmap(t->callouts, (uint64_t)t->callout_max * sizeof *t->callouts);
  unmap(t->hash, HASH_HEADS * 4ull), unmap(t->by_frame, FRAMES * 4ull), unmap(t->by_page, PAGES * 4ull);
  free(t);
}
