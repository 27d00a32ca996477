/* 32-bit x86 ELF images: program headers to RAM, and the PVH entry note. libelf finds the headers; every offset in them is
 * checked here against the file, every address against RAM. */
#include <elf.h>
#include <gelf.h>
#include <string.h>
#include "boot.h"

enum { NOTE_PHYS32_ENTRY = 18 /* XEN_ELFNOTE_PHYS32_ENTRY */, MAX_HEADERS = 4096, MAX_NOTES = 64 << 10 };

static bool in_file(const struct image *file, uint64_t offset, uint64_t size) {
  return offset <= file->size && size <= file->size - offset;
}

static uint64_t align_up(uint64_t n, uint64_t to) { return (n + to - 1) & ~(to - 1); }

/* Notes of one PT_NOTE segment: name size, descriptor size, type, name, descriptor, the last two padded. */
static void find_pvh_note(const struct image *file, const GElf_Phdr *ph, struct boot_elf *out) {
  if (ph->p_filesz > MAX_NOTES || !in_file(file, ph->p_offset, ph->p_filesz)) return;
  const uint8_t *note = file->bytes + ph->p_offset;
  uint64_t left = ph->p_filesz, align = ph->p_align == 8 ? 8 : 4;
  while (left >= 12) {
    uint64_t name = get32(note), desc = get32(note + 4), at = 12 + align_up(name, align), size = at + align_up(desc, align);
    if (at > left || desc > left - at) return;
    if (get32(note + 8) == NOTE_PHYS32_ENTRY && name == 4 && !memcmp(note + 12, "Xen", 4) && desc >= 4) {
      out->has_pvh = true;
      out->pvh_entry = get32(note + at);
    }
    if (size > left) return;
    note += size;
    left -= size;
  }
}

void boot_elf_note(struct boot_elf *out, uint64_t from, uint64_t to) {
  if (from < out->low) out->low = from;
  if (to > out->high) out->high = to;
  if (from >= BOOT_HOLE) return;
  if (!out->base_high || from < out->base_low) out->base_low = from;
  if (to > out->base_high) out->base_high = to;
}

/* A segment without bytes in the file may have any p_offset: ld before 2.40 gives a .bss one behind the file's end. */
static bool load_segment(const struct image *file, const struct boot_memory *mem, const GElf_Phdr *ph, struct boot_elf *out,
                         char error[ERROR_TEXT]) {
  if (ph->p_filesz > ph->p_memsz || (ph->p_filesz && !in_file(file, ph->p_offset, ph->p_filesz)))
    return boot_fail(error, "the ELF file is damaged or truncated");
  const uint8_t *bytes = ph->p_filesz ? file->bytes + ph->p_offset : NULL;
  if (!ph->p_memsz) return true;
  uint64_t end = ph->p_paddr + ph->p_memsz; /* of 32-bit numbers */
  if (!boot_copy(mem, ph->p_paddr, bytes, ph->p_filesz) ||
      !boot_zero(mem, ph->p_paddr + ph->p_filesz, ph->p_memsz - ph->p_filesz))
    return boot_fail(error, "a segment at %#llx-%#llx does not fit in RAM (-m)", (unsigned long long)ph->p_paddr,
                     (unsigned long long)end);
  boot_elf_note(out, ph->p_paddr, end);
  return true;
}

/* Some images give the entry as a virtual address: it is then moved with the code segment that holds it. */
static void move_entry(const GElf_Phdr *ph, uint32_t entry, struct boot_elf *out) {
  if (ph->p_flags & PF_X && ph->p_vaddr != ph->p_paddr && entry >= ph->p_vaddr && entry - ph->p_vaddr < ph->p_filesz)
    out->entry = (uint32_t)(entry - ph->p_vaddr + ph->p_paddr);
}

static bool load_headers(Elf *elf, const struct image *file, const struct boot_memory *mem, struct boot_elf *out,
                         char error[ERROR_TEXT]) {
  const Elf32_Ehdr *eh = elf32_getehdr(elf);
  if (!eh || eh->e_machine != EM_386 || eh->e_ident[EI_DATA] != ELFDATA2LSB)
    return boot_fail(error, "an ELF file, but not a 32-bit x86 one");
  size_t count = 0;
  if (elf_getphdrnum(elf, &count) != 0 || !count || count > MAX_HEADERS)
    return boot_fail(error, "an ELF file without program headers, or a damaged one");
  uint64_t total = 0;
  out->entry = eh->e_entry;
  for (size_t i = 0; i < count; i++) {
    GElf_Phdr ph;
    if (!gelf_getphdr(elf, (int)i, &ph)) return boot_fail(error, "the ELF file is damaged or truncated");
    if (ph.p_type == PT_NOTE) find_pvh_note(file, &ph, out);
    if (ph.p_type != PT_LOAD) continue;
    total += ph.p_memsz;
    if (total > mem->size) return boot_fail(error, "needs %llu MiB of RAM (-m)", (unsigned long long)total >> 20);
    if (!load_segment(file, mem, &ph, out, error)) return false;
    move_entry(&ph, eh->e_entry, out);
  }
  return out->high ? true : boot_fail(error, "an ELF file with nothing to load");
}

bool boot_elf_load(const struct image *file, const struct boot_memory *mem, struct boot_elf *out, char error[ERROR_TEXT]) {
  *out = (struct boot_elf){.low = UINT64_MAX};
  if (file->size >= 5 && file->bytes[EI_CLASS] == ELFCLASS64)
    return boot_fail(error, "a 64-bit ELF file: bt runs 32-bit kernels");
  if (elf_version(EV_CURRENT) == EV_NONE) return boot_fail(error, "libelf is too old");
  Elf *elf = elf_memory((char *)file->bytes, file->size);
  bool ok =
    elf && elf_kind(elf) == ELF_K_ELF ? load_headers(elf, file, mem, out, error) : boot_fail(error, "the ELF file is damaged");
  if (elf) elf_end(elf);
  return ok;
}
