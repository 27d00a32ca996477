/* ELF kernels with a PVH note: what was loaded against program headers that are read here anew, and the x86/HVM direct boot ABI.
 * The input: loader.h. */
#include <elf.h>
#include "loader.h"

/* The last segment, which nothing may have overwritten: its bytes, and zeros behind them. */
static void check_last_segment(const struct loaded *l) {
  Elf32_Ehdr eh;
  Elf32_Phdr ph, last = {.p_type = PT_NULL};
  memcpy(&eh, l->kernel, sizeof eh);
  REQUIRE(eh.e_ident[EI_CLASS] == ELFCLASS32 && eh.e_ident[EI_DATA] == ELFDATA2LSB && eh.e_machine == EM_386, "not for this CPU");
  for (unsigned i = 0; i < eh.e_phnum && eh.e_phnum != PN_XNUM; i++) {
    REQUIRE(eh.e_phoff + (i + 1) * sizeof ph <= l->kernel_size, "program header %u is not in the file", i);
    memcpy(&ph, l->kernel + eh.e_phoff + i * sizeof ph, sizeof ph);
    if (ph.p_type == PT_LOAD && ph.p_memsz) last = ph;
  }
  if (last.p_type != PT_LOAD) return;
  loader_require_bytes(l, last.p_paddr, l->kernel + last.p_offset, last.p_filesz, "the last segment");
  REQUIRE(loader_in_ram(l, last.p_paddr, last.p_memsz), "the last segment ends at %x", last.p_paddr + last.p_memsz);
  loader_require_zeros(l, last.p_paddr + last.p_filesz, last.p_memsz - last.p_filesz, "the last segment's zeros");
}

static void check_module(const struct loaded *l, const uint8_t *info) {
  REQUIRE(get32(info + 12) == (l->files.module_count != 0) && l->files.module_count <= 1, "%u modules", get32(info + 12));
  if (!l->files.module_count) return;
  uint64_t list = get64(info + 16);
  REQUIRE(loader_in_ram(l, list, 32), "the module list at %llx", (unsigned long long)list);
  const struct image *initrd = &l->files.modules[0].image;
  REQUIRE(get64(l->ram + list + 8) == initrd->size, "the initrd's size");
  loader_require_bytes(l, get64(l->ram + list), initrd->bytes, initrd->size, "the initrd");
}

static void check(const struct loaded *l) {
  if (l->files.kind != BOOT_ELF) return;
  check_last_segment(l);
  const uint8_t *info = l->ram + l->cpu.ebx;
  REQUIRE(loader_in_ram(l, l->cpu.ebx, 56) && get32(info) == 0x336ec578 && get32(info + 4) == 1, "start information at %x",
          l->cpu.ebx);
  REQUIRE(get64(info + 32) == LOADER_RSDP && get32(info + 48) == RANGE_COUNT, "RSDP or memory map");
  const uint8_t *map = l->ram + get64(info + 40) + 24 * 3;
  REQUIRE(get64(map) == BOOT_HIGH && get64(map + 8) == l->ram_size - BOOT_HIGH, "the memory map");
  loader_require_text(l, get64(info + 24), l->files.append, "the command line");
  check_module(l, info);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) { return loader_run(data, size, check), 0; }
