/* Code memory in the host's huge pages, as it comes into use: a guest's tick at rest finds all caches cold, and what it runs is
 * spread over some hundred pages of code (idle Debian: 5 to 10 % less CPU time). A memfd gets none by itself on most hosts;
 * Linux 6.1 collects one on request (MADV_COLLAPSE), whatever its settings say. Where that cannot be had everything works the
 * same. With one mapping (protect.c) there are none, since changes of rights would split them.
 *
 * May run while guest x87/SSE state is live (D7): no libc. */
#include "private.h"
#include <sys/syscall.h>

enum { COLLAPSE = 25 /* MADV_COLLAPSE */ };

static long collapse(void *at, uint64_t size) {
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "0"((long)SYS_madvise), "D"(at), "S"(size), "d"((long)COLLAPSE)
                   : "rcx", "r11", "memory");
  return result;
}

/* One of its pages has to be there. Once for each: what fails now (no memory) is not tried again. */
void tcache_use(struct tcache *t, uint32_t offset) {
  uint32_t n = offset / HUGE_PAGE;
  uint64_t *word = &t->huge[n / 64], bit = 1ull << n % 64;
  if (t->single || *word & bit || (n + 1ull) * HUGE_PAGE > t->size) return;
  *word |= bit;
  volatile uint8_t *byte = t->writable + offset;
  *byte = *byte;
  if (collapse(t->executable + (uint64_t)n * HUGE_PAGE, HUGE_PAGE)) return;
  t->huge_pages++;
}
