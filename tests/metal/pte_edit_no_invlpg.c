/* Entries edited without invalidation: the old and the new translation are both allowed until then (SDM vol. 3A, 4.10.2.3), any
 * other outcome is not, and invalidation settles it. */
#include "lib/metal.h"

#define A TEST_LINEAR

void test_main(void) {
  paging_on();
  uint32_t first = (uint32_t)page_alloc(), second = (uint32_t)page_alloc();
  *(uint32_t *)first = 0x111;
  *(uint32_t *)second = 0x222;
  map(A, first, 7);
  volatile uint32_t *pte = pte_of(get_cr3(), A), *at = (uint32_t *)A;
  unsigned bad = 0, settled = 0;
  for (unsigned i = 0; i < 200; i++) {
    (void)*at;
    *pte = (i & 1 ? first : second) | 7;
    uint32_t v = *at;
    if (v != 0x111 && v != 0x222) bad++;
    invlpg(A);
    if (*at == (i & 1 ? 0x111u : 0x222u)) settled++;
  }
  print("remapped: bad=%d settled=%d\n", bad, settled);
  map(A, first, 7);
  (void)*at;
  *pte = first | 5;
  struct context c = context_user(CODE("mov dword ptr [0x40000000], 0x333"));
  run(&c);
  bool wrote = *(uint32_t *)first == 0x333, faulted = c.vector == 14 && c.error == 7;
  print("made read-only: %s\n", wrote != faulted ? "one of the two" : "WRONG");
  invlpg(A);
  try_user("after invlpg", CODE("mov dword ptr [0x40000000], 0x444"));
  /* From less to more rights: a stale entry may fault once, and the fault itself invalidates (4.10.4.1). */
  map(A, first, 5);
  (void)*at;
  *pte = first | 7;
  unsigned tries = 0;
  do {
    c = context_user(CODE("mov dword ptr [0x40000000], 0x555"));
    run(&c);
  } while (c.vector == 14 && ++tries < 3);
  print("made writable: %s %x\n", tries <= 1 ? "within one fault" : "WRONG", *(uint32_t *)first);
}
