/* 200 values of CR3 in turn, several times over: more than a pool of shadow tables holds, so that tables are recycled. */
#include "lib/metal.h"

enum { SPACES = 200 };
#define A TEST_LINEAR

void test_main(void) {
  uint32_t shared = paging_create(), *cr3 = page_alloc(), *frame = page_alloc(), sum = 0, wrong = 0;
  for (unsigned s = 0; s < SPACES; s++) {
    uint32_t *directory = page_alloc();
    memcpy(directory, (void *)shared, 64); /* RAM's tables are common */
    cr3[s] = (uint32_t)directory;
    frame[s] = (uint32_t)page_alloc();
    *pte_of(cr3[s], A) = frame[s] | 7;
    *pte_of(cr3[s], A + 0x1000 + 0x1000 * (s % 16)) = frame[s] | 7;
    *(uint32_t *)frame[s] = s;
    memcpy((void *)(frame[s] + 16), "\xb8\x00\x00\x00\x00\xc3", 6);
    *(uint32_t *)(frame[s] + 17) = s * 3;
  }
  set_cr3(cr3[0]);
  set_cr0(get_cr0() | CR0_PG | CR0_WP);
  for (unsigned round = 0; round < 6; round++)
    for (unsigned i = 0; i < SPACES; i++) {
      unsigned s = (i * 37 + round * 11) % SPACES;
      set_cr3(cr3[s]);
      volatile uint32_t *at = (uint32_t *)A;
      if (*at != s + round * 1000) wrong++;
      *at = s + (round + 1) * 1000;
      uint32_t r = ((uint32_t(*)(void))(A + 16))();
      if (r != s * 3) wrong++;
      sum = sum * 31 + r + *(volatile uint32_t *)(A + 0x1000 + 0x1000 * (s % 16));
    }
  print("wrong: %d sum %X\n", wrong, sum);
  /* Absent pages stay absent in each. */
  for (unsigned s = 0; s < SPACES; s += 41) {
    set_cr3(cr3[s]);
    print("space %d ", s);
    try_kernel("absent", CODE("mov eax, [0x40020000]"));
  }
}
