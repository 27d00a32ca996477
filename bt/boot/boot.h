/* Loading a kernel without a BIOS: from files to bytes in guest RAM and the CPU's state at the kernel's entry.
 *
 * The loaders know nothing of the machine: memory is asked for by physical address through struct boot_memory, the outcome is a
 * struct boot_cpu. All of a file's bytes are untrusted: each loader checks every offset against the file and every address
 * against RAM, and bounds the work by the sizes of both.
 *
 * Low memory as the loaders leave it (a Multiboot or ELF kernel may be loaded over it):
 *   00000 interrupt vectors   00400 BIOS data   07C00 stack, downwards   09500 Multiboot information   10000 PVH start info
 *   90000 Linux's zero page   91000 command line   9FC00 extended BIOS data   F0000 ACPI tables   F8000 MP table, SMBIOS
 *   FFD00 GDTs, FFFF0 reset vector
 * Nothing that Linux needs lies between 2000h and 90000h: the decompressors of 2.4 and 2.6.12 use that as a buffer. The GDTs are
 * in the firmware's range, as QEMU's are, so that a kernel that clears low memory still has them. */
#pragma once
#include "image.h"

enum {
  BOOT_STACK = 0x7c00,
  BOOT_MULTIBOOT_INFO = 0x9500 /* QEMU's place */,
  BOOT_PVH_INFO = 0x10000,
  BOOT_ZERO_PAGE = 0x90000,
  BOOT_CMDLINE = 0x91000,
  BOOT_CMDLINE_MAX = 0xe000,
  BOOT_EBDA = 0x9fc00,
  BOOT_HOLE = 0xa0000,
  BOOT_HIGH = 0x100000,
};

/* A GDT at entry, and the selectors of its flat segments. */
struct boot_gdt {
  uint32_t at;
  uint16_t limit, cs, ds;
};
extern const struct boot_gdt boot_gdt_linux; /* Documentation/x86/boot.rst: __BOOT_CS 10h, __BOOT_DS 18h */
/* 08h and 10h: the Specification leaves them open, kernels rely on QEMU's and GRUB's */
extern const struct boot_gdt boot_gdt_multiboot;

/* What of the machine a firmware tells kernels. */
struct boot_platform {
  uint64_t rsdp;        /* of the ACPI tables; 0: none */
  uint16_t serial[4];   /* ports of COM1..; 0: not there */
  uint16_t parallel[3]; /* of LPT1.. */
  unsigned floppies;    /* drives */
  bool vga;             /* there is one, in text mode 3 */
  uint32_t day_seconds; /* what the RTC shows, since midnight */
};

struct boot_memory {
  void *(*at)(void *opaque, uint64_t addr, uint64_t size); /* NULL unless it is all one run of RAM; never for size 0 */
  void *opaque;
  uint64_t size; /* RAM's end */
};

enum { RANGE_RAM = 1, RANGE_RESERVED = 2, RANGE_COUNT = 4 };
struct boot_range {
  uint64_t base, size;
  uint32_t type;
};
/* The PC's memory map, by E820's types. */
void boot_memory_map(uint64_t ram_size, struct boot_range out[RANGE_COUNT]);

/* At entry: protected mode, paging and interrupts off, CS and data segments of `gdt`, 4 GiB flat, EBP = EDI = ECX = EDX = 0. */
struct boot_cpu {
  uint32_t eip, eax, ebx, esi, esp;
  struct boot_gdt gdt;
};

enum boot_kind { BOOT_UNKNOWN, BOOT_LINUX, BOOT_MULTIBOOT, BOOT_ELF };
struct boot_module {
  struct image image;
  char *text; /* Multiboot's string: "FILE ARGUMENTS" */
};
/* What -kernel, -initrd and -append name, read. */
struct boot_files {
  enum boot_kind kind;
  struct image kernel;
  const char *kernel_name, *append; /* append: never NULL */
  struct boot_module *modules;
  unsigned module_count;
};
/* False: `error` says why; *f is to be freed either way. */
bool boot_files_read(struct boot_files *f, const char *kernel, const char *initrd, const char *append, uint64_t ram_size,
                     char error[ERROR_TEXT]);
void boot_files_free(struct boot_files *f);

/* Writes what a BIOS leaves behind, then the kernel. */
bool boot_load(const struct boot_files *f, const struct boot_memory *mem, const struct boot_platform *platform,
               struct boot_cpu *cpu, char error[ERROR_TEXT]);

/* ---- between the loaders ---- */
enum boot_kind boot_detect(const struct image *kernel);
bool boot_fail(char error[ERROR_TEXT], const char *format, ...) __attribute__((format(printf, 2, 3))); /* returns false */
bool boot_linux(const struct boot_files *f, const struct boot_memory *mem, const struct boot_platform *platform,
                struct boot_cpu *cpu, char error[ERROR_TEXT]);
bool boot_multiboot(const struct boot_files *f, const struct boot_memory *mem, struct boot_cpu *cpu, char error[ERROR_TEXT]);
bool boot_pvh(const struct boot_files *f, const struct boot_memory *mem, uint64_t rsdp, struct boot_cpu *cpu,
              char error[ERROR_TEXT]);
bool multiboot_find(const struct image *kernel, size_t *offset);
void firmware_write(const struct boot_memory *mem, const struct boot_platform *platform);

/* Copies to guest RAM; false when it does not fit there. size 0 is fine. */
bool boot_copy(const struct boot_memory *mem, uint64_t addr, const void *from, uint64_t size);
bool boot_zero(const struct boot_memory *mem, uint64_t addr, uint64_t size);
/* Highest page-aligned place for `size` bytes that ends at or below `end` and begins at or above `floor`; 0: none. */
uint64_t boot_place_high(uint64_t floor, uint64_t end, uint64_t size);

/* A 32-bit x86 ELF image (boot_elf.c). */
struct boot_elf {
  uint32_t entry;               /* physical */
  uint64_t low, high;           /* of all that was loaded */
  uint64_t base_low, base_high; /* of what was loaded below 640 KiB; base_high 0: nothing was */
  bool has_pvh;
  uint32_t pvh_entry;
};
/* Notes that [from, to) was loaded. */
void boot_elf_note(struct boot_elf *out, uint64_t from, uint64_t to);
bool boot_elf_load(const struct image *file, const struct boot_memory *mem, struct boot_elf *out, char error[ERROR_TEXT]);

/* Little-endian fields of images and tables. */
static inline uint16_t get16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }
static inline uint32_t get32(const uint8_t *p) { return get16(p) | (uint32_t)get16(p + 2) << 16; }
static inline uint64_t get64(const uint8_t *p) { return get32(p) | (uint64_t)get32(p + 4) << 32; }
static inline void put16(uint8_t *p, uint16_t v) { p[0] = (uint8_t)v, p[1] = (uint8_t)(v >> 8); }
static inline void put32(uint8_t *p, uint32_t v) { put16(p, (uint16_t)v), put16(p + 2, (uint16_t)(v >> 16)); }
static inline void put64(uint8_t *p, uint64_t v) { put32(p, (uint32_t)v), put32(p + 4, (uint32_t)(v >> 32)); }
