/* I3 where code memory has one mapping only: its pages are either writable or executable. What is written to is opened first, and
 * closed when translated code is entered again. That is two system calls a run of writes, so it is for hosts on which a memfd
 * cannot be had or cannot be executed, or whose CPU is emulated by something that looks for changed code by address (qemu-user)
 * and so misses what is written through another mapping.
 *
 * May run while guest x87/SSE state is live (D7): no libc. */
#include "private.h"
#include <sys/mman.h>
#include <sys/syscall.h>

/* It has succeeded on this very memory when the cache was made, and splits no more than 2 * OPEN_RUNS mappings. */
static void protect(struct tcache *t, struct tc_run run, int rights) {
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "0"((long)SYS_mprotect), "D"(t->executable + run.from), "S"((long)(run.to - run.from)), "d"((long)rights)
                   : "rcx", "r11", "memory");
  if (result) __builtin_trap();
}

static bool is_open(const struct tcache *t, struct tc_run want) {
  for (unsigned i = 0; i < t->open_count; i++)
    if (t->open[i].from <= want.from && want.to <= t->open[i].to) return true;
  return false;
}

uint8_t *tcache_writable(struct tcache *t, uint32_t offset, uint32_t size) {
  struct tc_run want = {offset & ~4095u, (offset + size + 4095) & ~4095u};
  if (!t->single || is_open(t, want)) return t->writable + offset;
  if (t->open_count == OPEN_RUNS) { /* what is open stays so: a block may be half written */
    want = (struct tc_run){0, t->size};
    t->open_count = 0;
  }
  protect(t, want, PROT_READ | PROT_WRITE);
  t->open[t->open_count++] = want;
  return t->writable + offset;
}

void tcache_close(struct tcache *t) {
  while (t->open_count) protect(t, t->open[--t->open_count], PROT_READ | PROT_EXEC);
}
