/* Where the arrays of a shadow table lie, and where the kernel's half begins, for emitted code (mmu.h has the whole story). */
#pragma once
enum {
  MMU_READ_ARRAY = 0,
  MMU_WRITE_ARRAY = 8 << 20,
  MMU_FETCH_ARRAY = 16 << 20,
  MMU_TABLE_SIZE = 24 << 20,
  MMU_PAGE_MASK = 4095
};
/* From here on address spaces share what their page directories agree on; supervisor code chains freely there. */
#define MMU_KERNEL_HALF 0xc0000000u
#define MMU_RAM_MAX (3ull << 30)
