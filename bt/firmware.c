/* What a BIOS would have left in memory for a kernel that is loaded without one: interrupt vectors that do nothing, the few words of
 * the BIOS data area that kernels read, a flat GDT for the entry, and a reset vector that resets. There are no BIOS services. */
#include <string.h>
#include "boot.h"

enum { ROM = 0xf0000, DUMMY_IRET = 0xff53 /* as in the IBM PC's BIOS */ };

static void write_vectors(const struct boot_memory *mem) {
  uint8_t *ivt = mem->at(mem->opaque, 0, 0x400), *iret = mem->at(mem->opaque, ROM + DUMMY_IRET, 1);
  if (!ivt || !iret) return;
  for (unsigned i = 0; i < 256; i++) put32(ivt + 4 * i, (uint32_t)ROM << 12 | DUMMY_IRET);   /* F000:FF53 */
  *iret = 0xcf;
}

/* The BIOS data area: COM1's base, the EBDA's segment, KiB of conventional memory. Linux keeps away from what these say. */
static void write_bios_data(const struct boot_memory *mem) {
  uint8_t *bda = mem->at(mem->opaque, 0x400, 0x100), *ebda = mem->at(mem->opaque, BOOT_EBDA, BOOT_HOLE - BOOT_EBDA);
  if (!bda || !ebda) return;
  memset(bda, 0, 0x100);
  memset(ebda, 0, BOOT_HOLE - BOOT_EBDA);
  put16(bda, 0x3f8);
  put16(bda + 0x0e, BOOT_EBDA >> 4);
  put16(bda + 0x13, BOOT_EBDA >> 10);
  ebda[0] = (BOOT_HOLE - BOOT_EBDA) >> 10;
}

/* F000:FFF0, where the CPU starts and where old ways of rebooting jump to: ask the keyboard controller for a reset. */
static void write_reset_vector(const struct boot_memory *mem) {
  static const uint8_t code[16] = {
    0xb0, 0xfe,        /* mov al, 0xfe */
    0xe6, 0x64,        /* out 0x64, al */
    0xf4,              /* hlt */
    0xeb, 0xfd,        /* jmp to the hlt */
  };
  boot_copy(mem, ROM + 0xfff0, code, sizeof code);
}

static void write_gdt(const struct boot_memory *mem) {
  uint8_t gdt[32] = {0};
  put64(gdt + BOOT_CS, UINT64_C(0x00cf9b000000ffff));
  put64(gdt + BOOT_DS, UINT64_C(0x00cf93000000ffff));
  boot_copy(mem, BOOT_GDT, gdt, sizeof gdt);
}

void firmware_write(const struct boot_memory *mem) {
  write_vectors(mem);
  write_bios_data(mem);
  write_reset_vector(mem);
  write_gdt(mem);
}
