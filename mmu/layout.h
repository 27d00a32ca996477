/* Where the arrays of a shadow table lie, for emitted code (mmu.h has the whole story). */
#pragma once
enum {
  MMU_READ_ARRAY = 0,
  MMU_WRITE_ARRAY = 8 << 20,
  MMU_FETCH_ARRAY = 16 << 20,
  MMU_TABLE_SIZE = 24 << 20,
  MMU_PAGE_MASK = 4095
};
#define MMU_RAM_MAX (3ull << 30)
