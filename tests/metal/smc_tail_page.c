/* An instruction that straddles two pages changes by stores to either page, and by a change of either mapping. */
#include "lib/metal.h"

typedef uint32_t (*function)(void);

void test_main(void) {
  paging_on();
  uint8_t *head = page_alloc(), *tail = page_alloc(), *other = page_alloc();
  map(TEST_LINEAR, (uint32_t)head, 7);
  map(TEST_LINEAR + 4096, (uint32_t)tail, 7);
  static const uint8_t code[] = {0x90, 0xb8, 0x11, 0x22, 0x33, 0x44, 0x90, 0xc3}; /* nop; mov eax,44332211h; nop; ret */
  for (unsigned split = 1; split < sizeof code; split++) {
    uint8_t *at = (uint8_t *)TEST_LINEAR + 4096 - split;
    function f = (function)at;
    memcpy(at, code, sizeof code);
    print("split %d:", split);
    print(" %x", f());
    at[5] = 0x55; /* last byte of the immediate */
    print(" %x", f());
    at[2] = 0x66; /* first byte */
    print(" %x", f());
    if (split < 6) { /* through the frames' own addresses */
      tail[5 - split] = 0x77;
      print(" %x", f());
    }
    if (split > 2) {
      head[4096 - split + 2] = 0x88;
      print(" %x", f());
    }
    memcpy(other, tail, 4096); /* another frame for the tail */
    if (split < 6) other[5 - split] = 0x99;
    map(TEST_LINEAR + 4096, (uint32_t)other, 7);
    print(" %x", f());
    map(TEST_LINEAR + 4096, (uint32_t)tail, 7);
    print(" %x", f());
    *pte_of(get_cr3(), TEST_LINEAR + 4096) = 0; /* the tail's page absent: the fetch faults there */
    invlpg(TEST_LINEAR + 4096);
    struct context c = context_kernel(at);
    run(&c);
    print(" ");
    report_end(&c, at);
    map(TEST_LINEAR + 4096, (uint32_t)tail, 7);
    print(" %x\n", f());
  }
}
