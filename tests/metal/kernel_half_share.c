/* Kernel-half page tables shared by several directories: an edit in a shared table holds in all; a directory that goes its own
 * way there differs; user halves stay apart. */
#include "lib/metal.h"

enum { SPACES = 6 };
#define K 0xd0000000u

static uint32_t cr3[SPACES];
static uint32_t read_at(uint32_t linear) { return *(volatile uint32_t *)linear; }

void test_main(void) {
  uint32_t frames[8], common = paging_create(), sum = 0;
  for (unsigned i = 0; i < 8; i++) {
    frames[i] = (uint32_t)page_alloc();
    *(uint32_t *)frames[i] = 0x700 + i;
    memcpy((void *)(frames[i] + 16), "\xb8\x00\x00\x00\x00\xc3", 6);
    *(uint32_t *)(frames[i] + 17) = 0x800 + i;
  }
  uint32_t *k = pte_of(common, K);
  *k = frames[0] | 3;
  for (unsigned s = 0; s < SPACES; s++) {
    cr3[s] = (uint32_t)page_alloc();
    memcpy((void *)cr3[s], (void *)common, 4096);
  }
  set_cr3(cr3[0]);
  set_cr0(get_cr0() | CR0_PG | CR0_WP);
  for (unsigned i = 0; i < 120; i++) {
    set_cr3(cr3[i % SPACES]);
    if (i % 5 == 0) {
      *k = frames[i / 5 % 7] | 3;
      invlpg(K);
    }
    sum = sum * 7 + read_at(K) + ((uint32_t(*)(void))(K + 16))();
  }
  print("shared edits: %X\n", sum);
  /* Space 2 gets a table of its own for that slot. */
  uint32_t *own = page_alloc();
  own[0] = frames[7] | 3;
  ((uint32_t *)cr3[2])[K >> 22] = (uint32_t)own | 3;
  for (unsigned s = 0; s < SPACES; s++) {
    set_cr3(cr3[s]);
    print("space %d: %x %x\n", s, read_at(K), ((uint32_t(*)(void))(K + 16))());
  }
  /* A new kernel slot appears in one directory only; the others fault (and would be synced by their handlers). */
  ((uint32_t *)cr3[1])[(K >> 22) + 1] = (uint32_t)own | 3;
  for (unsigned s = 0; s < 3; s++) {
    set_cr3(cr3[s]);
    print("space %d ", s);
    try_kernel("new slot", CODE("mov eax, [0xd0400000]"));
  }
  ((uint32_t *)cr3[2])[(K >> 22) + 1] = (uint32_t)own | 3;
  try_kernel("synced", CODE("mov eax, [0xd0400000]"));
  /* User access to the kernel half faults everywhere. */
  try_user("user", CODE("mov eax, [0xd0000000]"));
  set_cr3(cr3[0]);
  try_user("user", CODE("mov eax, [0xd0000000]"));
}
