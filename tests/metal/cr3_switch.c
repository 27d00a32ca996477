/* Address spaces in turn: what is mapped differs, what is global stays valid, code at one address differs. */
#include "lib/metal.h"

enum { SPACES = 12 };
#define A TEST_LINEAR
typedef uint32_t (*function)(void);

void test_main(void) {
  paging_on();
  uint32_t cr3[SPACES], sum = 0;
  for (unsigned s = 0; s < SPACES; s++) {
    cr3[s] = paging_create();
    uint8_t *frame = page_alloc();
    frame[0] = 0xb8;
    *(uint32_t *)(frame + 1) = s * 0x11;
    frame[5] = 0xc3;
    *(uint32_t *)(frame + 64) = 0x100 + s;
    *pte_of(cr3[s], A) = (uint32_t)frame | 7;
    if (s % 3 == 0) *pte_of(cr3[s], A + 4096) = (uint32_t)frame | 5;
  }
  for (unsigned i = 0; i < 600; i++) {
    unsigned s = (i * 7 + i / 5) % SPACES;
    set_cr3(cr3[s]);
    sum = sum * 5 + ((function)A)() + *(volatile uint32_t *)(A + 64);
    *(volatile uint32_t *)(A + 68) += i;
    sum += *(volatile uint32_t *)(A + 68);
  }
  print("spaces: %X\n", sum);
  for (unsigned s = 0; s < SPACES; s++) {
    set_cr3(cr3[s]);
    print("space %d ", s);
    try_user("second page", CODE("mov eax, [0x40001040]"));
  }
  /* Edits of a table that is not current are seen when it becomes current. */
  for (unsigned i = 0; i < 30; i++) {
    unsigned s = i % SPACES, t = (i + 5) % SPACES;
    set_cr3(cr3[s]);
    uint32_t *frame = (uint32_t *)(*pte_of(cr3[t], A) & ~0xfffu);
    frame[16] = 0x5000 + i;
    *pte_of(cr3[t], A + 0x7000) = (uint32_t)frame | 7;
    set_cr3(cr3[t]);
    sum = sum * 5 + *(volatile uint32_t *)(A + 0x7040);
    *pte_of(cr3[t], A + 0x7000) = 0;
    set_cr3(cr3[t]);
  }
  print("edited while away: %X\n", sum);
  /* Global pages outlive MOV CR3 only as a permission: an edit needs INVLPG or a change of CR4.PGE (4.10.4.1). */
  set_cr4(get_cr4() | CR4_PGE);
  map(A, *pte_of(cr3[1], A) & ~0xfffu, 7 | PG_G);
  (void)*(volatile uint32_t *)A;
  *pte_of(get_cr3(), A) = 0;
  set_cr4(get_cr4() & ~(uint32_t)CR4_PGE);
  try_kernel("global gone after PGE change", CODE("mov eax, [0x40000000]"));
}
