/* A page of code that becomes one of data: stores to it are as fast as before. (By the time-stamp counter, roughly: the best of
 * ten times, since the host has other things to do.) */
#include "lib/metal.h"

static uint32_t stores(uint8_t *code, uint32_t at) {
  struct context c = context_user(code);
  c.ebx = at;
  uint64_t begin = rdtsc();
  run(&c);
  return (uint32_t)((rdtsc() - begin) >> 10);
}

static uint32_t best(uint32_t at) {
  uint32_t least = ~0u;
  uint8_t *code = page_alloc();
  COPY_CODE(code, "push eax\n mov ecx, 20000\n 1: mov [ebx + 128], ecx\n dec ecx\n jnz 1b\n pop eax");
  for (unsigned i = 0; i < 10; i++) {
    uint32_t took = stores(code, at);
    if (took < least) least = took;
  }
  return least;
}

void test_main(void) {
  paging_on();
  uint8_t *frame = page_alloc(), *other = page_alloc();
  uint32_t a = TEST_LINEAR + 0x800000, b = TEST_LINEAR + 0x900000;
  map(a, (uint32_t)frame, PG_P | PG_W | PG_U);
  map(b, (uint32_t)other, PG_P | PG_W | PG_U);
  uint8_t *caller = page_alloc();
  COPY_CODE(caller, "push eax\n mov esi, 1000\n 1: dec esi\n jnz 1b\n call ebx\n pop eax");
  for (unsigned i = 0; i < 4; i++) { /* from the second time on it is run, and not translated */
    memcpy(frame, "\xb8\1\0\0\0\xc3", 6);
    struct context c = context_user(caller);
    c.ebx = a;
    run(&c);
  }
  *(volatile uint32_t *)frame = 0, *(volatile uint32_t *)(frame + 4) = 0;
  uint32_t fast = best(b), slow = best(a);
  print("as fast: %d\n", slow < fast * 8 + 1000);
  if (slow >= fast * 8 + 1000) print("%d and %d thousand cycles\n", fast, slow);
}
