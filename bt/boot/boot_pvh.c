/* A Linux vmlinux (or another ELF kernel) by its PVH entry note: the x86/HVM direct boot ABI (Xen's docs/misc/pvh.pandoc), as
 * QEMU boots it: EBX = struct hvm_start_info. */
#include <string.h>
#include "boot.h"

enum { START_MAGIC = 0x336ec578, INFO_MODULES = 0x100, INFO_MEMORY = 0x200 };

static bool load_initrd(const struct boot_files *f, const struct boot_memory *mem, const struct boot_elf *elf, uint8_t *info,
                        char error[ERROR_TEXT]) {
  if (!f->module_count) return true;
  const struct image *initrd = &f->modules[0].image;
  uint64_t end = mem->size < 0x38000000 ? mem->size : 0x38000000; /* as QEMU: where an i386 kernel has it mapped */
  uint64_t at = boot_place_high(elf->high, end, initrd->size);
  if (!at || !boot_copy(mem, at, initrd->bytes, initrd->size))
    return boot_fail(error, "the initrd does not fit in RAM beside the kernel (-m)");
  put32(info + 12, 1);
  put64(info + 16, BOOT_PVH_INFO + INFO_MODULES);
  put64(info + INFO_MODULES, at);
  put64(info + INFO_MODULES + 8, initrd->size);
  return true;
}

static void write_memory_map(uint8_t *info, uint64_t ram_size) {
  struct boot_range ranges[RANGE_COUNT];
  boot_memory_map(ram_size, ranges);
  for (unsigned i = 0; i < RANGE_COUNT; i++) {
    uint8_t *entry = info + INFO_MEMORY + 24 * i;
    put64(entry, ranges[i].base);
    put64(entry + 8, ranges[i].size);
    put32(entry + 16, ranges[i].type);
  }
  put64(info + 40, BOOT_PVH_INFO + INFO_MEMORY);
  put32(info + 48, RANGE_COUNT);
}

bool boot_pvh(const struct boot_files *f, const struct boot_memory *mem, uint64_t rsdp, struct boot_cpu *cpu,
              char error[ERROR_TEXT]) {
  struct boot_elf elf;
  if (!boot_elf_load(&f->kernel, mem, &elf, error)) return false;
  if (!elf.has_pvh) return boot_fail(error, "an ELF file with neither a PVH note nor a Multiboot header");
  if (elf.low < BOOT_HIGH) return boot_fail(error, "a PVH kernel that loads below 1 MiB is not supported");
  size_t length = strlen(f->append);
  if (length >= BOOT_CMDLINE_MAX) return boot_fail(error, "-append is too long");
  uint8_t info[INFO_MEMORY + 24 * RANGE_COUNT] = {0};
  put32(info, START_MAGIC);
  put32(info + 4, 1);
  put64(info + 24, BOOT_CMDLINE);
  put64(info + 32, rsdp);
  write_memory_map(info, mem->size);
  if (!load_initrd(f, mem, &elf, info, error)) return false;
  if (!boot_copy(mem, BOOT_CMDLINE, f->append, length + 1) || !boot_copy(mem, BOOT_PVH_INFO, info, sizeof info))
    return boot_fail(error, "no RAM for the start information");
  cpu->eip = elf.pvh_entry;
  cpu->ebx = BOOT_PVH_INFO;
  return true;
}
