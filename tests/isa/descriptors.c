/* The LDT that both sides have: modify_ldt() for this process, the same eight bytes for the guest. Linux marks every entry
 * accessed, DPL 3. */
#define _GNU_SOURCE
#include "case.h"
#include <asm/ldt.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { CONTENTS_DATA, CONTENTS_EXPAND_DOWN, CONTENTS_CODE };

static const struct user_desc entries[LDT_COUNT] = {
  [LDT_FLAT] = {.limit = 0xfffff, .seg_32bit = 1, .limit_in_pages = 1, .useable = 1},
  [LDT_BASED] = {.base_addr = DATA_LOW, .limit = 0xfffff, .seg_32bit = 1, .limit_in_pages = 1},
  [LDT_LIMITED] = {.base_addr = DATA_LOW, .limit = DATA_SIZE - 1 - PAGE / 2, .seg_32bit = 1},
  [LDT_SMALL] = {.base_addr = DATA_LOW + PAGE / 2, .limit = 0x7ff, .seg_32bit = 1},
  [LDT_READ_ONLY] = {.limit = 0xfffff, .seg_32bit = 1, .limit_in_pages = 1, .read_exec_only = 1},
  [LDT_EXPAND_DOWN] =
    {.base_addr = DATA_LOW - PAGE, .limit = 1, .limit_in_pages = 1, .seg_32bit = 1, .contents = CONTENTS_EXPAND_DOWN},
  [LDT_16BIT] = {.base_addr = DATA_LOW, .limit = 0xffff},
  [LDT_CODE_DATA] = {.limit = 0xfffff, .seg_32bit = 1, .limit_in_pages = 1, .contents = CONTENTS_CODE},
  [LDT_ABSENT] = {.limit = 0xfffff, .seg_32bit = 1, .limit_in_pages = 1, .seg_not_present = 1},
  [LDT_CODE] = {.limit = 0xfffff, .seg_32bit = 1, .limit_in_pages = 1, .contents = CONTENTS_CODE},
};

/* Linux' fill_ldt(), by SDM vol. 3A, 3.4.5. */
uint64_t descriptor_ldt(unsigned index) {
  const struct user_desc *d = &entries[index];
  uint64_t type = 1 | !d->read_exec_only << 1 | d->contents << 2, high = type | 1 << 4 | 3 << 5 | !d->seg_not_present << 7;
  uint64_t flags = (uint64_t)d->useable | d->seg_32bit << 2 | d->limit_in_pages << 3;
  uint64_t low = (d->limit & 0xffff) | (uint64_t)(d->base_addr & 0xffffff) << 16;
  return low | high << 40 | (uint64_t)(d->limit >> 16 & 15) << 48 | flags << 52 | (uint64_t)(d->base_addr >> 24) << 56;
}

uint32_t descriptor_base(uint16_t selector) {
  return selector & 4 && selector >> 3 < LDT_COUNT ? entries[selector >> 3].base_addr : 0;
}

bool descriptor_install_native(void) {
  for (unsigned i = 0; i < LDT_COUNT; i++) {
    struct user_desc d = entries[i];
    d.entry_number = i;
    if (syscall(SYS_modify_ldt, 0x11, &d, sizeof d)) return false;
  }
  return true;
}
