/* Page-table entries edited and invalidated: the next access uses the new one, for reads, writes and fetches, by INVLPG and by
 * MOV CR3, at both levels, and through tables reached in odd ways. */
#include "lib/metal.h"

#define A TEST_LINEAR
typedef uint32_t (*function)(void);
static uint32_t frames[8];
static uint32_t read_a(void) { return *(volatile uint32_t *)A; }

void test_main(void) {
  paging_on();
  for (unsigned i = 0; i < 8; i++) {
    frames[i] = (uint32_t)page_alloc();
    *(uint32_t *)frames[i] = 0x1000 + i;
    ((uint8_t *)frames[i])[16] = 0xb8; /* mov eax, i; ret */
    *(uint32_t *)(frames[i] + 17) = 0x2000 + i;
    ((uint8_t *)frames[i])[21] = 0xc3;
  }
  uint32_t sum = 0;
  for (unsigned i = 0; i < 300; i++) {
    map(A, frames[i % 7], 7);
    sum = sum * 3 + read_a();
    sum = sum * 3 + ((function)(A + 16))();
    *(volatile uint32_t *)(A + 64) = i;
    sum += ((uint32_t *)frames[i % 7])[16];
  }
  print("remap: %X\n", sum);
  volatile uint32_t *pte = pte_of(get_cr3(), A);
  for (unsigned i = 0; i < 50; i++) {
    *pte = frames[i % 5] | 7;
    set_cr3(get_cr3());
    sum = sum * 3 + read_a() + ((function)(A + 16))();
  }
  print("by cr3: %X\n", sum);
  *pte = 0;
  invlpg(A + 0x123);
  try_kernel("removed", CODE("mov eax, [0x40000000]"));
  *pte = frames[1] | 7; /* absent to present needs no INVLPG (4.10.4.3) */
  print("present again: %x\n", read_a());
  *pte = frames[1] | 5;
  invlpg(A);
  try_kernel("made read-only", CODE("mov [0x40000000], eax"));
  *pte = frames[1] | 3;
  invlpg(A);
  try_user("made supervisor", CODE("mov eax, [0x40000000]"));
  *pte = frames[1] | 7;
  invlpg(A);
  try_user("made user", CODE("mov [0x40000010], eax"));
  /* The directory entry: another table. */
  uint32_t *pde = (uint32_t *)get_cr3() + (A >> 22), *table2 = page_alloc();
  for (unsigned i = 0; i < 8; i++) table2[i] = frames[i] | 7;
  uint32_t old = *pde;
  *pde = (uint32_t)table2 | 7;
  set_cr3(get_cr3());
  for (unsigned i = 0; i < 8; i++) print("table 2 page %d: %x\n", i, *(volatile uint32_t *)(A + i * 4096));
  *pde = old;
  set_cr3(get_cr3());
  print("table 1 again: %x\n", read_a());
  /* A recursive slot: the directory as a table; entries edited through it. */
  ((uint32_t *)get_cr3())[1023] = get_cr3() | 7;
  set_cr3(get_cr3());
  volatile uint32_t *window = (uint32_t *)0xffc00000;
  for (unsigned i = 0; i < 20; i++) {
    window[A >> 12] = frames[i % 8] | 7;
    invlpg(A);
    sum = sum * 3 + read_a();
  }
  print("recursive slot: %X\n", sum);
  /* One table page used by two directory entries. */
  ((uint32_t *)get_cr3())[(A >> 22) + 1] = ((uint32_t *)get_cr3())[A >> 22];
  set_cr3(get_cr3());
  *pte = frames[4] | 7;
  invlpg(A);
  invlpg(A + 0x400000);
  print("one table twice: %x %x\n", read_a(), *(volatile uint32_t *)(A + 0x400000));
  /* Tables written by string instructions, unaligned stores and RMW. */
  uint32_t *pt = (uint32_t *)((uint32_t)pte & ~0xfffu);
  uint32_t entries[4] = {frames[3] | 7, frames[2] | 7, frames[1] | 7, frames[0] | 7};
  memcpy(pt, entries, sizeof entries);
  for (unsigned i = 0; i < 4; i++) invlpg(A + i * 4096);
  print("by rep movs: %x %x %x %x\n", read_a(), *(volatile uint32_t *)(A + 0x1000), *(volatile uint32_t *)(A + 0x2000),
        *(volatile uint32_t *)(A + 0x3000));
  __asm__ volatile("xchg %0,%1" : "+r"(entries[3]), "+m"(*pt));
  invlpg(A);
  print("by xchg: %x\n", read_a());
  *(volatile uint8_t *)pt &= 0xfe;
  invlpg(A);
  try_kernel("by a byte", CODE("mov eax, [0x40000000]"));
}
