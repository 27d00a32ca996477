#define _GNU_SOURCE
#include "page_cache.h"
#include <errno.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, LONG = 2000000 /* ns */, RARELY = 1000 };

/* statfs(2): those of this machine's disks, and of its memory. */
static bool is_one_of(uint32_t type, const uint32_t *types, unsigned count) {
  for (unsigned i = 0; i < count; i++)
    if (types[i] == type) return true;
  return false;
}
static const uint32_t memory[] = {0x01021994 /* tmpfs */, 0x858458f6 /* ramfs */};
static const uint32_t disks[] = {
  0xef53 /* ext2, ext3, ext4 */, 0x58465342 /* XFS */, 0x9123683e /* btrfs */,  0xf2f52010 /* F2FS */,
  0x2fc12fc1 /* ZFS */,          0x3153464a /* JFS */, 0x52654973 /* Reiser */, 0x794c7630 /* overlayfs */};

/* What statfs(2) says of a block device is said of /dev, which is in memory. */
static bool is_device(int fd) {
  struct stat s;
  return fstat(fd, &s) == 0 && S_ISBLK(s.st_mode);
}

void page_cache_init(struct page_cache *c, int fd) {
  struct statfs s;
  bool device = is_device(fd);
  uint32_t type = device || fstatfs(fd, &s) < 0 ? 0 : (uint32_t)s.f_type;
  *c = (struct page_cache){.fd = fd, .in_memory = is_one_of(type, memory, sizeof memory / sizeof memory[0])};
  c->is_local = c->in_memory || device || is_one_of(type, disks, sizeof disks / sizeof disks[0]);
}

static int64_t host_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static bool is_unknown(int error) { return error == EOPNOTSUPP || error == ENOSYS || error == EINVAL; }

bool page_cache_read(struct page_cache *c, uint64_t at, uint64_t size, const struct iovec *to, unsigned count) {
  ssize_t moved = c->refuses_reads ? 0 : preadv2(c->fd, to, (int)count, (off_t)at, RWF_NOWAIT);
  if (moved < 0 && is_unknown(errno)) c->refuses_reads = true;
  if (c->refuses_reads && c->in_memory) moved = preadv(c->fd, to, (int)count, (off_t)at);
  return moved >= 0 && (uint64_t)moved == size;
}

/* A page that is written in part must be there, or a disk is asked for it. */
static bool has_page(struct page_cache *c, uint64_t at) {
  uint8_t byte;
  const struct iovec to = {&byte, 1};
  return !(at % PAGE) || c->in_memory || page_cache_read(c, at / PAGE * PAGE, 1, &to, 1);
}

void page_cache_took(struct page_cache *c, int64_t ns) {
  if (ns > LONG) c->not_before = host_now() + RARELY * ns;
}

static bool write_timed(struct page_cache *c, uint64_t at, uint64_t size, const struct iovec *from, unsigned count) {
  int64_t before = host_now();
  if (!c->is_local || before < c->not_before || !has_page(c, at) || !has_page(c, at + size)) return false;
  ssize_t moved = pwritev(c->fd, from, (int)count, (off_t)at);
  page_cache_took(c, host_now() - before);
  return moved >= 0 && (uint64_t)moved == size;
}

bool page_cache_write(struct page_cache *c, uint64_t at, uint64_t size, const struct iovec *from, unsigned count) {
  ssize_t moved = c->refuses_writes ? 0 : pwritev2(c->fd, from, (int)count, (off_t)at, RWF_NOWAIT);
  if (moved < 0 && is_unknown(errno)) c->refuses_writes = true;
  if (c->refuses_writes) return write_timed(c, at, size, from, count);
  return moved >= 0 && (uint64_t)moved == size;
}
