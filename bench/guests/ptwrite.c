/* Cycles for one page-table write with INVLPG and the access that uses it, in a warm loop, by RDTSC. */
#include "lib/metal.h"

enum { PAGES = 64, ROUNDS = 200 };

void test_main(void) {
  paging_on();
  uint32_t frames[2] = {(uint32_t)page_alloc_run(PAGES), (uint32_t)page_alloc_run(PAGES)};
  volatile uint32_t *pte = pte_of(get_cr3(), TEST_LINEAR);
  uint64_t best[3] = {~0ull, ~0ull, ~0ull};
  uint32_t sum = 0;
  for (unsigned round = 0; round < ROUNDS; round++) {
    uint32_t frame = frames[round & 1];
    uint64_t start = rdtsc();
    for (unsigned i = 0; i < PAGES; i++) pte[i] = (frame + i * 4096) | 7;
    uint64_t written = rdtsc();
    for (unsigned i = 0; i < PAGES; i++) invlpg(TEST_LINEAR + i * 4096);
    uint64_t flushed = rdtsc();
    for (unsigned i = 0; i < PAGES; i++) sum += *(volatile uint32_t *)(TEST_LINEAR + i * 4096);
    uint64_t used = rdtsc(), times[3] = {written - start, flushed - written, used - flushed};
    for (unsigned k = 0; k < 3; k++)
      if (times[k] < best[k]) best[k] = times[k];
  }
  print("page-table write: %d cycles\ninvlpg: %d cycles\nfirst access after: %d cycles\nsum: %d\n", (uint32_t)best[0] / PAGES,
        (uint32_t)best[1] / PAGES, (uint32_t)best[2] / PAGES, sum);
}
