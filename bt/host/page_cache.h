/* Reads and writes of a file that end in the host's page cache: copies, done at once in the vCPU thread, where a thread's turn
 * and the guest's way into HLT and out of it would cost more than the copy does.
 *
 * The vCPU must not wait for a medium. Reads never do: preadv2(2) with RWF_NOWAIT (Linux 4.14); tmpfs does not know it, and has
 * no medium. Writes with RWF_NOWAIT are known to few file systems, not to ext4. There a write to whole pages, or to pages that
 * are in the cache, waits only where the host holds writers back because too much is not yet on its disks. Nobody can ask before;
 * but one that took long is the last for a thousand times as long. Only on file systems of this machine's own: behind others is a
 * server that may be gone. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct page_cache {
  int fd;                             /* the caller's; without O_DIRECT */
  bool is_local, in_memory;           /* its file system (of this machine); a block device is local */
  bool refuses_reads, refuses_writes; /* the host knows no RWF_NOWAIT there */
  int64_t not_before;                 /* ns of CLOCK_MONOTONIC: writes go to threads until then */
};
void page_cache_init(struct page_cache *c, int fd);
/* `size` is that of the pieces together, not 0. True: all of it is done. False: nothing is known of what was asked for, somebody
 * who may wait does it (again). */
bool page_cache_read(struct page_cache *c, uint64_t at, uint64_t size, const struct iovec *to, unsigned count);
bool page_cache_write(struct page_cache *c, uint64_t at, uint64_t size, const struct iovec *from, unsigned count);
/* For tests: a write has taken so long. */
void page_cache_took(struct page_cache *c, int64_t ns);
