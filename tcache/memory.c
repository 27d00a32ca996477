/* Maps code memory (twice, where that can be: I3) and the tables. With protect.c the only file of tcache/ that calls the host. */
#define _GNU_SOURCE
#include "private.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void *reserve(uint64_t size) { /* zero, taken as needed; used from the start on, so huge pages waste little */
  void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p != MAP_FAILED) madvise(p, size, MADV_HUGEPAGE);
  return p == MAP_FAILED ? NULL : p;
}

static void unmap(void *p, uint64_t size) {
  if (p) munmap(p, size);
}

static void unmap_code(struct tcache *t) {
  unmap(t->executable, t->size);
  if (!t->single) unmap(t->writable, t->size);
  t->writable = t->executable = NULL;
}

/* MOV EAX, imm32; RET at the start of code memory gives the imm32 that was written last. */
static bool shows_changes(struct tcache *t) {
  for (uint32_t n = 1; n <= 2; n++) {
    uint8_t code[] = {0xb8, (uint8_t)n, 0, 0, 0, 0xc3};
    memcpy(tcache_writable(t, 0, sizeof code), code, sizeof code);
    tcache_close(t);
    if (((uint32_t(*)(void))(uintptr_t)t->executable)() != n) return false;
  }
  return true;
}

/* At a place for huge pages. */
static void *map_file(int fd, uint64_t size, int rights) {
  uint8_t *room = mmap(NULL, size + HUGE_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (room == MAP_FAILED) return MAP_FAILED;
  uint8_t *at = (uint8_t *)(((uintptr_t)room + HUGE_PAGE - 1) & ~(uintptr_t)(HUGE_PAGE - 1));
  void *p = mmap(at, size, rights, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd, 0);
  int error = errno;
  if (p == MAP_FAILED) munmap(room, size + HUGE_PAGE);
  else if (at > room) munmap(room, (size_t)(at - room));
  if (p != MAP_FAILED && at < room + HUGE_PAGE) munmap(at + size, (size_t)(room + HUGE_PAGE - at));
  return errno = error, p;
}

static bool map_twice(struct tcache *t) {
  int fd = memfd_create("bt-code", MFD_CLOEXEC);
  if (fd < 0) return false;
  void *w = MAP_FAILED, *x = MAP_FAILED;
  if (ftruncate(fd, t->size) == 0) {
    w = map_file(fd, t->size, PROT_READ | PROT_WRITE);
    x = map_file(fd, t->size, PROT_READ | PROT_EXEC);
  }
  close(fd);
  t->single = false;
  t->writable = w == MAP_FAILED ? NULL : w;
  t->executable = x == MAP_FAILED ? NULL : x;
  if (t->writable && t->executable && shows_changes(t)) return true;
  unmap_code(t);
  return false;
}

/* The rights that protect.c will ask for are asked for here first: what refuses them must not do so later. */
static bool map_once(struct tcache *t, const char **error) {
  uint8_t *p = mmap(NULL, t->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) return false;
  t->single = true;
  t->writable = t->executable = p;
  *error = "the host lets no memory be executed (a seccomp filter, SELinux or the like)";
  if (mprotect(p, t->size, PROT_READ | PROT_EXEC) == 0 && mprotect(p, 4096, PROT_READ | PROT_WRITE) == 0 &&
      mprotect(p, 4096, PROT_READ | PROT_EXEC) == 0 && shows_changes(t))
    return true;
  unmap_code(t);
  return false;
}

static bool map_code(struct tcache *t, bool single, const char **error) {
  errno = 0;
  if (!single && map_twice(t)) return true;
  return errno != ENOMEM && map_once(t, error); /* where address space is short a smaller cache serves better than a slower one */
}

static bool map_tables(struct tcache *t) {
  t->block_max = t->size / 64 + 64, t->site_max = t->size / 16 + 2 * TR_MAX_SITES,
  t->callout_max = t->size / 64 + 2 * TR_MAX_INSNS;
  t->blocks = reserve((uint64_t)t->block_max * sizeof *t->blocks);
  t->sites = reserve((uint64_t)t->site_max * sizeof *t->sites);
  t->callouts = reserve((uint64_t)t->callout_max * sizeof *t->callouts);
  t->hash = reserve(HASH_HEADS * 4ull), t->by_frame = reserve(FRAMES * 4ull), t->by_page = reserve(PAGES * 4ull);
  return t->blocks && t->sites && t->callouts && t->hash && t->by_frame && t->by_page;
}

struct tcache *tcache_create(uint64_t code_size, bool single, void (*died)(void *, const struct tc_block *), void *opaque,
                             const char **error) {
  struct tcache *t = calloc(1, sizeof *t);
  *error = "no memory for the code cache";
  if (!t) return NULL;
  if (code_size < 64 << 10) code_size = 64 << 10;
  if (code_size > CODE_MOST) code_size = CODE_MOST;
  t->size = (uint32_t)((code_size + 4095) & ~4095ull);
  t->died = died, t->opaque = opaque;
  if (!map_code(t, single, error)) {
    tcache_destroy(t);
    return NULL;
  }
  *error = "no memory for the code cache";
  if (!map_tables(t)) {
    tcache_destroy(t);
    return NULL;
  }
  tr_write_stubs(tcache_writable(t, 0, 4096), &t->stubs);
  t->used = t->stubs_end = (t->stubs.size + 63) & ~63u;
  t->cold_start = t->cold_used = t->size / 8 * 5 & ~63u;
  return t;
}

void tcache_destroy(struct tcache *t) {
  if (!t) return;
  unmap_code(t);
  unmap(t->blocks, (uint64_t)t->block_max * sizeof *t->blocks);
  unmap(t->sites, (uint64_t)t->site_max * sizeof *t->sites);
  unmap(t->callouts, (uint64_t)t->callout_max * sizeof *t->callouts);
  unmap(t->hash, HASH_HEADS * 4ull), unmap(t->by_frame, FRAMES * 4ull), unmap(t->by_page, PAGES * 4ull);
  free(t);
}
