/* Page-table builders. Tables live in RAM that is mapped to itself, so they are edited directly. */
#include "metal.h"

enum { ARENA = 8 << 20, RAM_END = 64 << 20 };

static uint32_t arena_next = ARENA;

void *page_alloc_run(unsigned pages) {
  uint32_t page = arena_next;
  if (page + pages * 4096 > RAM_END) panic("out of pages");
  arena_next += pages * 4096;
  return memset((void *)page, 0, pages * 4096);
}

void *page_alloc(void) { return page_alloc_run(1); }

uint32_t *pte_of(uint32_t cr3, uint32_t linear) {
  uint32_t *pde = (uint32_t *)(cr3 & ~0xfffu) + (linear >> 22);
  if (!(*pde & PG_P)) *pde = (uint32_t)page_alloc() | PG_P | PG_W | PG_U;
  return (uint32_t *)(*pde & ~0xfffu) + (linear >> 12 & 1023);
}

uint32_t paging_create(void) {
  uint32_t cr3 = (uint32_t)page_alloc();
  for (uint32_t a = 0; a < RAM_END; a += 4096) *pte_of(cr3, a) = a | PG_P | PG_W | PG_U;
  return cr3;
}

void paging_on(void) {
  set_cr3(paging_create());
  set_cr0(get_cr0() | CR0_PG | CR0_WP);
  tss_df.cr3 = get_cr3();
}

void map(uint32_t linear, uint32_t physical, uint32_t flags) {
  *(volatile uint32_t *)pte_of(get_cr3(), linear) = physical | flags;
  invlpg(linear);
}

/* PDPTEs have no W or U bit (SDM vol. 3A, 4.4.1): bits 1-2 are reserved. */
uint32_t pae_create(void) {
  uint64_t *pdpt = page_alloc();
  for (unsigned i = 0; i < 4; i++) pdpt[i] = (uint32_t)page_alloc() | PG_P;
  for (uint32_t a = 0; a < RAM_END; a += 2 << 20) *pae_pde_of((uint32_t)pdpt, a) = a | PG_P | PG_W | PG_U | PG_PS;
  return (uint32_t)pdpt;
}

void pae_on(bool nx) {
  set_cr3(pae_create());
  set_cr4(get_cr4() | CR4_PAE);
  if (nx) write_msr(0xc0000080, read_msr(0xc0000080) | 1 << 11);
  set_cr0(get_cr0() | CR0_PG | CR0_WP);
  tss_df.cr3 = get_cr3();
}

uint64_t *pae_pde_of(uint32_t cr3, uint32_t linear) {
  uint64_t *pdpt = (uint64_t *)(cr3 & ~31u);
  return (uint64_t *)((uint32_t)pdpt[linear >> 30] & ~0xfffu) + (linear >> 21 & 511);
}

uint64_t *pae_pte_of(uint32_t cr3, uint32_t linear) {
  uint64_t *pde = pae_pde_of(cr3, linear);
  if (!(*pde & PG_P)) *pde = (uint32_t)page_alloc() | PG_P | PG_W | PG_U;
  return (uint64_t *)((uint32_t)*pde & ~0xfffu) + (linear >> 12 & 511);
}
