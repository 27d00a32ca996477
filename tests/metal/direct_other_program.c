/* Where one program ends another begins, at the same addresses: where the one's code led to is no way into the other's. (There a
 * selector would be loaded, in the middle of an instruction; code for which that cannot be excluded is translated, and a loop in
 * and out of it took a thousand times as long. By the time-stamp counter, roughly: the best of ten.) */
#include "lib/metal.h"

enum { MIDDLE = 0x11 /* in the second page */ };

static uint32_t best(uint32_t at) {
  uint32_t least = ~0u;
  for (unsigned i = 0; i < 10; i++) {
    struct context c = context_user((void *)at);
    c.ebx = at + 4096;
    uint64_t begin = rdtsc();
    run(&c);
    uint32_t took = (uint32_t)((rdtsc() - begin) >> 10);
    if (took < least) least = took;
    if (c.vector != 0x7f || c.eax != 0x8ec08e) panic("it went elsewhere");
  }
  return least;
}

static uint8_t *page_of_returns(void) { return memset(page_alloc(), 0xc3, 4096); }

static void map_program(uint32_t at, const uint8_t *first, const uint8_t *second) {
  map(at, (uint32_t)first, PG_P | PG_U);
  map(at + 4096, (uint32_t)second, PG_P | PG_U);
}

void test_main(void) {
  paging_on();
  uint32_t a = TEST_LINEAR + 0x800000, b = TEST_LINEAR + 0xa00000;
  uint8_t *first = page_of_returns(), *second = page_of_returns(), *loop = page_of_returns(), *callee = page_of_returns();
  /* leads to the middle, as the other program's code does not */
  COPY_CODE(first,
            "push eax\n mov esi, 1000\n 1: dec esi\n jnz 1b\n call ebx\n cmp esi, 1\n .byte 0x0f, 0x84, 0, 0, 0, 0\n pop esi");
  for (unsigned i = 0; i < 64; i++)
    if (first[i] == 0x0f && first[i + 1] == 0x84) *(uint32_t *)&first[i + 2] = 4096 + MIDDLE - (i + 6);
  memcpy(second, "\xb8\x8e\xc0\x8e\0\xc3", 6); /* mov eax, 8ec08eh; ret */
  COPY_CODE(loop, "push eax\n mov edx, 2000\n lea ebx, [ebx + 16]\n 1: call ebx\n dec edx\n jnz 1b\n pop esi");
  memcpy(callee + MIDDLE - 1, "\xb8\x8e\xc0\x8e\0\xc3", 6); /* mov es, ax in its middle */
  map_program(a, first, second);
  best(a);
  map_program(a, loop, callee);
  map_program(b, memcpy(page_alloc(), loop, 4096), memcpy(page_alloc(), callee, 4096));
  uint32_t again = best(a), fast = best(b);
  print("as fast: %d\n", again < fast * 8 + 1000);
  if (again >= fast * 8 + 1000) print("%d and %d thousand cycles\n", again, fast);
}
