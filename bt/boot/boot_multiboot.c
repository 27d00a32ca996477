/* Multiboot 1 (GNU's Multiboot Specification 0.6.96): ELF images and the "a.out kludge", modules, memory map. A video mode that
 * the kernel asks for (flag 2) is not set, as in QEMU, and the information leaves out which one there is. Symbols (information
 * flags 4 and 5) and drives are not passed. */
#include <string.h>
#include "boot.h"
#include "../version.h"

enum { SEARCH = 8192, HEADER_MAGIC = 0x1badb002, LOADER_MAGIC = 0x2badb002 };
enum { FLAG_PAGE_ALIGN = 1 << 0, FLAG_MEMORY = 1 << 1, FLAG_VIDEO = 1 << 2, FLAG_KLUDGE = 1 << 16 };
enum {
  INFO_MEMORY = 1 << 0,
  INFO_BOOT_DEVICE = 1 << 1,
  INFO_CMDLINE = 1 << 2,
  INFO_MODS = 1 << 3,
  INFO_MMAP = 1 << 6,
  INFO_LOADER = 1 << 9
};
enum { INFO_SIZE = 120, MAP_ENTRY = 24, MODULE_ENTRY = 16 };

bool multiboot_find(const struct image *kernel, size_t *offset) {
  for (size_t at = 0; at + 12 <= kernel->size && at + 12 <= SEARCH; at += 4) {
    const uint8_t *h = kernel->bytes + at;
    if (get32(h) == HEADER_MAGIC && HEADER_MAGIC + get32(h + 4) + get32(h + 8) == 0) return *offset = at, true;
  }
  return false;
}

/* 3.1.3: the header says itself where the bytes go. */
static bool load_kludge(const struct image *kernel, size_t header, const struct boot_memory *mem, struct boot_elf *out,
                        char error[ERROR_TEXT]) {
  if (kernel->size - header < 32) return boot_fail(error, "the Multiboot header is truncated");
  const uint8_t *h = kernel->bytes + header;
  uint32_t header_addr = get32(h + 12), load = get32(h + 16), load_end = get32(h + 20), bss_end = get32(h + 24);
  uint64_t before = (uint64_t)header_addr - load;
  if (header_addr < load || before > header) return boot_fail(error, "the Multiboot header's addresses make no sense");
  uint64_t offset = header - before, size = load_end ? (uint64_t)load_end - load : kernel->size - offset;
  if ((load_end && load_end < load) || size > kernel->size - offset) return boot_fail(error, "the Multiboot kernel is truncated");
  uint64_t end = load + size;
  if (!boot_copy(mem, load, kernel->bytes + offset, size) || (bss_end > end && !boot_zero(mem, end, bss_end - end)))
    return boot_fail(error, "the kernel does not fit in RAM (-m)");
  *out = (struct boot_elf){.entry = get32(h + 28), .low = UINT64_MAX};
  boot_elf_note(out, load, bss_end > end ? bss_end : end);
  return true;
}

/* Takes RAM upwards, from `next` to `end` (but not across the hole at 640 KiB). */
struct space {
  const struct boot_memory *mem;
  uint64_t next, end;
};
static uint64_t take(struct space *s, uint64_t size, uint64_t align) {
  uint64_t at = (s->next + align - 1) & ~(align - 1);
  if (at < BOOT_HIGH && at + size > BOOT_EBDA) at = BOOT_HIGH;
  if (at + size > s->end) return 0;
  s->next = at + size;
  return at;
}
/* Room for `size` bytes, and its host address. */
static uint8_t *reserve(struct space *s, uint64_t size, uint64_t align, uint32_t *guest) {
  uint64_t at = take(s, size, align);
  *guest = (uint32_t)at;
  return at ? s->mem->at(s->mem->opaque, at, size) : NULL;
}
static bool put_string(struct space *s, uint32_t *guest, const char *a, const char *between, const char *b) {
  size_t na = strlen(a), nm = strlen(between), nb = strlen(b);
  uint8_t *to = reserve(s, na + nm + nb + 1, 4, guest);
  if (!to) return false;
  memcpy(to, a, na);
  memcpy(to + na, between, nm);
  memcpy(to + na + nm, b, nb + 1);
  return true;
}

/* The modules go behind the kernel, from a page's start each; their list and strings to the information. */
static bool put_modules(const struct boot_files *f, struct space *s, struct space *behind, uint8_t *info) {
  if (!f->module_count) return true;
  uint32_t table_at, at, text;
  uint8_t *table = reserve(s, (uint64_t)f->module_count * MODULE_ENTRY, 4, &table_at);
  if (!table) return false;
  memset(table, 0, (size_t)f->module_count * MODULE_ENTRY);
  for (unsigned i = 0; i < f->module_count; i++) {
    const struct boot_module *m = &f->modules[i];
    uint8_t *to = reserve(behind, m->image.size, 4096, &at);
    if (!to || !put_string(s, &text, m->text, "", "")) return false;
    memcpy(to, m->image.bytes, m->image.size);
    put32(table + MODULE_ENTRY * i, at);
    put32(table + MODULE_ENTRY * i + 4, at + (uint32_t)m->image.size);
    put32(table + MODULE_ENTRY * i + 8, text);
  }
  put32(info + 20, f->module_count);
  put32(info + 24, table_at);
  return true;
}

static bool put_memory_map(struct space *s, uint8_t *info) {
  struct boot_range ranges[RANGE_COUNT];
  uint32_t at;
  uint8_t *map = reserve(s, MAP_ENTRY * RANGE_COUNT, 4, &at);
  if (!map) return false;
  boot_memory_map(s->mem->size, ranges);
  for (unsigned i = 0; i < RANGE_COUNT; i++) {
    uint8_t *entry = map + MAP_ENTRY * i;
    put32(entry, MAP_ENTRY - 4);
    put64(entry + 4, ranges[i].base);
    put64(entry + 12, ranges[i].size);
    put32(entry + 20, ranges[i].type);
  }
  put32(info + 4, BOOT_EBDA >> 10);
  put32(info + 8, (uint32_t)((s->mem->size - BOOT_HIGH) >> 10));
  put32(info + 44, MAP_ENTRY * RANGE_COUNT);
  put32(info + 48, at);
  return true;
}

static uint64_t string_room(const char *text) { return (strlen(text) + 4) & ~UINT64_C(3); }

/* No less than put_information() takes, without the modules themselves. */
static uint64_t information_room(const struct boot_files *f) {
  uint64_t room =
    INFO_SIZE + MAP_ENTRY * RANGE_COUNT + string_room(f->kernel_name) + string_room(f->append) + string_room("bt " BT_VERSION);
  for (unsigned i = 0; i < f->module_count; i++) room += MODULE_ENTRY + string_room(f->modules[i].text);
  return room;
}

/* The information lies where QEMU's does, below or above what of the kernel is there, and at the end of RAM where none of that
 * has room; not behind the kernel's end, where many kernels have their heap or their page tables before they have read it. */
static bool find_information_space(const struct boot_memory *mem, const struct boot_elf *kernel, uint64_t room, struct space *s) {
  uint64_t from = BOOT_MULTIBOOT_INFO, to = BOOT_EBDA;
  if (kernel->base_high && kernel->base_low < to && kernel->base_high > from) {
    if (kernel->base_low >= from + room) to = kernel->base_low;
    else from = (kernel->base_high + 3) & ~UINT64_C(3);
  }
  if (from + room > to) {
    from = boot_place_high(kernel->high > BOOT_HIGH ? kernel->high : BOOT_HIGH, mem->size, room);
    to = from + room;
  }
  *s = (struct space){mem, from, to};
  return from;
}

static bool put_information(const struct boot_files *f, struct space *s, struct space *behind, uint32_t *at) {
  uint32_t text;
  uint8_t *info = reserve(s, INFO_SIZE, 4, at);
  if (!info) return false;
  memset(info, 0, INFO_SIZE);
  put32(info, INFO_MEMORY | INFO_BOOT_DEVICE | INFO_CMDLINE | INFO_MMAP | INFO_LOADER | (f->module_count ? INFO_MODS : 0));
  put32(info + 12, 0x8000ffff); /* the first disk, no partition: QEMU's value */
  if (!put_string(s, &text, f->kernel_name, *f->append ? " " : "", f->append)) return false;
  put32(info + 16, text);
  if (!put_string(s, &text, "bt ", BT_VERSION, "")) return false;
  put32(info + 64, text);
  return put_memory_map(s, info) && put_modules(f, s, behind, info);
}

bool boot_multiboot(const struct boot_files *f, const struct boot_memory *mem, struct boot_cpu *cpu, char error[ERROR_TEXT]) {
  size_t header;
  struct boot_elf loaded;
  if (!multiboot_find(&f->kernel, &header)) return boot_fail(error, "no Multiboot header");
  uint32_t flags = get32(f->kernel.bytes + header + 4);
  if (flags & 0xffff & ~(FLAG_PAGE_ALIGN | FLAG_MEMORY | FLAG_VIDEO))
    return boot_fail(error, "the Multiboot header requires what bt does not know (flags %#x)", flags);
  bool ok =
    flags & FLAG_KLUDGE ? load_kludge(&f->kernel, header, mem, &loaded, error) : boot_elf_load(&f->kernel, mem, &loaded, error);
  if (!ok) return false;
  /* a kernel in low memory: not over the information, nor over the hole */
  struct space s, behind = {mem, loaded.high > BOOT_HIGH ? loaded.high : BOOT_HIGH, mem->size};
  if (!find_information_space(mem, &loaded, information_room(f), &s))
    return boot_fail(error, "no RAM for the Multiboot information (-m)");
  if (s.next >= BOOT_HIGH) behind.end = s.next;
  if (!put_information(f, &s, &behind, &cpu->ebx))
    return boot_fail(error, "the modules do not fit in RAM beside the kernel (-m)");
  cpu->eip = loaded.entry;
  cpu->eax = LOADER_MAGIC;
  return true;
}
