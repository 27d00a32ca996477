/* What a BIOS would have left in memory for a kernel that is loaded without one: interrupt vectors that do nothing, the BIOS data
 * area, flat GDTs for the entry, and a reset vector that resets. There are no BIOS services. What it leaves in the chips is
 * devices/firmware/handover.c's; ACPI, MP and SMBIOS tables are tables.c's there. Values: SeaBIOS 1.16.2 under
 * QEMU 7.2, dumped at a kernel's entry. */
#include <string.h>
#include "boot.h"

enum { ROM = 0xf0000, DUMMY_IRET = 0xff53 /* as in the IBM PC's BIOS */ };

static void write_vectors(const struct boot_memory *mem) {
  uint8_t *ivt = mem->at(mem->opaque, 0, 0x400), *iret = mem->at(mem->opaque, ROM + DUMMY_IRET, 1);
  if (!ivt || !iret) return;
  for (unsigned i = 0; i < 256; i++) put32(ivt + 4 * i, (uint32_t)ROM << 12 | DUMMY_IRET); /* F000:FF53 */
  *iret = 0xcf;
}

/* Words of the BIOS data area (segment 40h) as SeaBIOS leaves them on QEMU's PC with its VGA in text mode 3; what is not here is
 * zero. */
static const struct {
  uint8_t at, size;
  uint16_t value;
} bios_words[] = {
  {0x0e, 2, BOOT_EBDA >> 4},  /* segment of the EBDA */
  {0x13, 2, BOOT_EBDA >> 10}, /* KiB of conventional memory */
  {0x1a, 2, 0x1e},            /* keyboard buffer: head, tail; its bounds at 80h */
  {0x1c, 2, 0x1e},
  {0x49, 1, 3}, /* video mode: text, 80 columns, colour */
  {0x4a, 2, 80},
  {0x4c, 2, 0x1000}, /* bytes of a page */
  {0x60, 2, 0x0607}, /* cursor's last and first line */
  {0x63, 2, 0x3d4},  /* CRTC */
  {0x76, 1, 0xc0},   /* fixed disks: none (75h), control byte */
  {0x78, 1, 0x14},   /* time-outs of LPT1, COM1 */
  {0x7c, 1, 0x0a},
  {0x80, 2, 0x1e},
  {0x82, 2, 0x3e},
  {0x84, 1, 24}, /* rows - 1 */
  {0x85, 2, 16}, /* lines of a character */
  {0x87, 1, 0x60},
  {0x88, 1, 0xf9},
  {0x89, 1, 0x51}, /* VGA: what there is, switches */
  {0x96, 1, 0x10}, /* a keyboard of 101 keys */
};
enum {
  EQUIPMENT = 0x10,
  EQUIPMENT_FLOPPY = 1 << 0,
  EQUIPMENT_FPU = 1 << 1,
  EQUIPMENT_MOUSE = 1 << 2,
  EQUIPMENT_COLOUR_80 = 2 << 4,
  EQUIPMENT_FLOPPY_SHIFT = 6, /* drives less one */
  EQUIPMENT_SERIAL_SHIFT = 9,
  EQUIPMENT_PARALLEL_SHIFT = 14,
  PARALLEL_PORTS = 8,
  TICKS = 0x6c
};

/* COM and LPT ports in order without gaps (the BIOS numbers those that it finds), equipment, ticks of 18.2 Hz since midnight. */
static void write_found(uint8_t *bda, const struct boot_platform *platform) {
  unsigned ports = 0, printers = 0;
  for (unsigned i = 0; i < 4; i++)
    if (platform->serial[i]) put16(bda + 2 * ports++, platform->serial[i]);
  for (unsigned i = 0; i < 3; i++)
    if (platform->parallel[i]) put16(bda + PARALLEL_PORTS + 2 * printers++, platform->parallel[i]);
  unsigned floppies = platform->floppies ? EQUIPMENT_FLOPPY | (platform->floppies - 1) << EQUIPMENT_FLOPPY_SHIFT : 0;
  put16(bda + EQUIPMENT, (uint16_t)(EQUIPMENT_FPU | EQUIPMENT_MOUSE | EQUIPMENT_COLOUR_80 | floppies |
                                    ports << EQUIPMENT_SERIAL_SHIFT | printers << EQUIPMENT_PARALLEL_SHIFT));
  put32(bda + TICKS, (uint32_t)(platform->day_seconds * UINT64_C(1193182) / 65536));
}

/* The BIOS data area, and the EBDA, whose first byte is its size in KiB. Kernels keep away from what these say, and read what
 * they find. */
static void write_bios_data(const struct boot_memory *mem, const struct boot_platform *platform) {
  uint8_t *bda = mem->at(mem->opaque, 0x400, 0x100), *ebda = mem->at(mem->opaque, BOOT_EBDA, BOOT_HOLE - BOOT_EBDA);
  if (!bda || !ebda) return;
  memset(bda, 0, 0x100);
  memset(ebda, 0, BOOT_HOLE - BOOT_EBDA);
  for (unsigned i = 0; i < sizeof bios_words / sizeof *bios_words; i++) {
    if (bios_words[i].size == 2) put16(bda + bios_words[i].at, bios_words[i].value);
    else bda[bios_words[i].at] = (uint8_t)bios_words[i].value;
  }
  write_found(bda, platform);
  ebda[0] = (BOOT_HOLE - BOOT_EBDA) >> 10;
}

/* F000:FFF0, where the CPU starts and where old ways of rebooting jump to: ask the keyboard controller for a reset. */
static void write_reset_vector(const struct boot_memory *mem) {
  static const uint8_t code[16] = {
    0xb0, 0xfe, /* mov al, 0xfe */
    0xe6, 0x64, /* out 0x64, al */
    0xf4,       /* hlt */
    0xeb, 0xfd, /* jmp to the hlt */
  };
  boot_copy(mem, ROM + 0xfff0, code, sizeof code);
}

/* Both GDTs, with code and data marked accessed: loading a segment register writes nothing to the firmware's range. */
static void write_gdts(const struct boot_memory *mem) {
  static const struct boot_gdt *const both[] = {&boot_gdt_linux, &boot_gdt_multiboot};
  for (unsigned i = 0; i < 2; i++) {
    uint8_t gdt[64] = {0};
    put64(gdt + both[i]->cs, UINT64_C(0x00cf9b000000ffff));
    put64(gdt + both[i]->ds, UINT64_C(0x00cf93000000ffff));
    boot_copy(mem, both[i]->at, gdt, both[i]->limit + 1u);
  }
}

const struct boot_gdt boot_gdt_linux = {0xffd00, 0x1f, 0x10, 0x18}, boot_gdt_multiboot = {0xffd40, 0x27, 0x08, 0x10};

void firmware_write(const struct boot_memory *mem, const struct boot_platform *platform) {
  write_vectors(mem);
  write_bios_data(mem, platform);
  write_reset_vector(mem);
  write_gdts(mem);
}
