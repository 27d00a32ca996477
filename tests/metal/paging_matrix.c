/* Every combination of U/S and R/W at both levels, CR0.WP, page size, privilege and access: allowed or #PF with which error
 * code (SDM vol. 3A, 4.6 and 4.7), and what A and D bits the tables have afterwards (4.8). */
#include "lib/metal.h"

#define WINDOW (TEST_LINEAR + 0x400000)

static uint32_t *pde, *pte;
static uint8_t *big; /* 4 MiB-aligned frame for large pages */

static const char *access_code[3];
static const char *const access_name[3] = {"read", "write", "fetch"};

static void attempt(bool large, unsigned pde_flags, unsigned pte_flags, bool user, unsigned access) {
  *pde = (large ? (uint32_t)big | PG_PS : (uint32_t)pte & ~0xfffu) | pde_flags;
  *pte = (large ? 0 : (uint32_t)big) | pte_flags;
  set_cr3(get_cr3());
  struct context c = user ? context_user(access_code[access]) : context_kernel(access_code[access]);
  c.ebx = WINDOW;
  run(&c);
  print(" %s", access_name[access]);
  if (c.vector == VEC_DONE) print("=ok");
  else print("=%s/%x", vector_name(c.vector), c.error);
  if (c.vector == 14 && c.cr2 != WINDOW) print("!cr2=%X", c.cr2);
  /* Whether a walk that ends in a fault has set A above its end is the processor's affair (4.8). */
  print("[%c%c%c]", c.vector == VEC_DONE && (*pde & PG_A) ? 'A' : '-', *(large ? pde : pte) & PG_A ? 'a' : '-',
        *(large ? pde : pte) & PG_D ? 'd' : '-');
}

static void row(bool large, unsigned pde_flags, unsigned pte_flags) {
  for (unsigned user = 0; user < 2; user++) {
    print("%s wp=%d pde=%x pte=%x %s:", large ? "4M" : "4K", get_cr0() >> 16 & 1, pde_flags, pte_flags, user ? "user" : "kernel");
    for (unsigned access = 0; access < 3; access++) attempt(large, pde_flags, pte_flags, user, access);
    print("\n");
  }
}

void test_main(void) {
  access_code[0] = CODE("mov eax, [ebx]");
  access_code[1] = CODE("mov [ebx + 0], ebx\n nop");
  access_code[2] = CODE("call ebx");
  paging_on();
  set_cr4(get_cr4() | CR4_PSE);
  big = (uint8_t *)(32 << 20);
  uint32_t cr3 = get_cr3();
  pte = pte_of(cr3, WINDOW);
  pde = (uint32_t *)cr3 + (WINDOW >> 22);
  for (unsigned wp = 0; wp < 2; wp++) {
    set_cr0((get_cr0() & ~(uint32_t)CR0_WP) | (wp ? (uint32_t)CR0_WP : 0));
    for (unsigned d = 0; d < 8; d++)
      for (unsigned t = 0; t < 8; t++) {
        COPY_CODE(big, "ret\n nop\n nop\n nop");
        if (!(d & 1) && t) continue;
        row(false, d, t);
      }
    for (unsigned d = 0; d < 8; d++) {
      COPY_CODE(big, "ret\n nop\n nop\n nop");
      row(true, d, 0);
    }
  }
  set_cr4(get_cr4() & ~(uint32_t)CR4_PSE);
  /* Without CR4.PSE the PS bit means nothing: the entry points to a page table. */
  *pde = ((uint32_t)pte & ~0xfffu) | 7 | PG_PS;
  *pte = (uint32_t)big | 7;
  set_cr3(cr3);
  *(volatile uint32_t *)big = 0x12345678;
  print("ps ignored: %X\n", *(volatile uint32_t *)WINDOW);
}
