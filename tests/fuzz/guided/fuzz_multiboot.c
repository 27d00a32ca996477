/* Multiboot 1 with modules: the information structure and all that it points to lies in RAM, each apart from the other and from
 * the kernel, and is what the command line and the files say. The input: loader.h. */
#include "loader.h"
#include <elf.h>

enum { EXTENTS = 600 };
struct extent {
  uint64_t at, end;
  const char *what;
};
struct extents {
  struct extent list[EXTENTS];
  unsigned count;
};

static void add(const struct loaded *l, struct extents *e, uint64_t at, uint64_t size, const char *what) {
  REQUIRE(size && loader_in_ram(l, at, size), "%s at %llx size %llx", what, (unsigned long long)at, (unsigned long long)size);
  for (unsigned i = 0; i < e->count; i++)
    REQUIRE(at >= e->list[i].end || at + size <= e->list[i].at, "%s at %llx overlaps %s", what, (unsigned long long)at,
            e->list[i].what);
  if (e->count < EXTENTS) e->list[e->count++] = (struct extent){at, at + size, what};
}

static void add_text(const struct loaded *l, struct extents *e, uint64_t at, const char *text, const char *what) {
  add(l, e, at, strlen(text) + 1, what);
  loader_require_text(l, at, text, what);
}

/* "a.out kludge": the header says where the file's bytes are. */
static void add_kludge(const struct loaded *l, struct extents *e, size_t header) {
  const uint8_t *h = l->kernel + header;
  uint32_t load = get32(h + 16), load_end = get32(h + 20), bss_end = get32(h + 24);
  uint64_t offset = header - (get32(h + 12) - load), size = load_end ? load_end - load : l->kernel_size - offset;
  REQUIRE(offset <= l->kernel_size && size <= l->kernel_size - offset && l->cpu.eip == get32(h + 28), "file offset %llx",
          (unsigned long long)offset);
  if (size) add(l, e, load, size, "the kernel");
  loader_require_bytes(l, load, l->kernel + offset, size, "the kernel");
  if (bss_end <= load + size) return;
  add(l, e, load + size, bss_end - load - size, "the kernel's zeros");
  loader_require_zeros(l, load + size, bss_end - load - size, "the kernel's zeros");
}

/* An ELF kernel's segments, which may overlap one another. */
static void check_apart_from_segments(const struct loaded *l, const struct extents *e) {
  Elf32_Ehdr eh;
  Elf32_Phdr ph;
  memcpy(&eh, l->kernel, sizeof eh);
  for (unsigned i = 0; i < eh.e_phnum && eh.e_phnum != PN_XNUM; i++) {
    memcpy(&ph, l->kernel + eh.e_phoff + i * sizeof ph, sizeof ph);
    if (ph.p_type != PT_LOAD) continue;
    for (unsigned k = 0; k < e->count; k++)
      REQUIRE(e->list[k].at >= (uint64_t)ph.p_paddr + ph.p_memsz || e->list[k].end <= ph.p_paddr, "%s overlaps segment %u",
              e->list[k].what, i);
  }
}

static void check_modules(const struct loaded *l, struct extents *e, const uint8_t *info) {
  unsigned count = l->files.module_count;
  REQUIRE(!(get32(info) & 8) == !count, "flags %x with %u modules", get32(info), count);
  if (!count) return;
  REQUIRE(get32(info + 20) == count, "%u modules, not %u", get32(info + 20), count);
  uint32_t list = get32(info + 24);
  add(l, e, list, 16ull * count, "the module list");
  for (unsigned i = 0; i < count; i++) {
    const struct boot_module *m = &l->files.modules[i];
    const uint8_t *entry = l->ram + list + 16 * i;
    uint32_t start = get32(entry);
    REQUIRE(!(start & 0xfff) && get32(entry + 4) - start == m->image.size, "module %u at %x", i, start);
    add(l, e, start, m->image.size, "a module");
    loader_require_bytes(l, start, m->image.bytes, m->image.size, "a module");
    add_text(l, e, get32(entry + 8), m->text, "a module's text");
  }
}

static void check(const struct loaded *l) {
  static struct extents e;
  size_t header;
  if (l->files.kind != BOOT_MULTIBOOT) return;
  e.count = 0;
  REQUIRE(l->cpu.eax == 0x2badb002 && multiboot_find(&l->files.kernel, &header), "EAX %x", l->cpu.eax);
  bool kludge = get32(l->kernel + header + 4) & 1 << 16;
  if (kludge) add_kludge(l, &e, header);
  const uint8_t *info = l->ram + l->cpu.ebx;
  add(l, &e, l->cpu.ebx, 120, "the information");
  REQUIRE(get32(info + 8) == (l->ram_size - BOOT_HIGH) / 1024, "upper memory %x", get32(info + 8));
  char *cmdline;
  if (asprintf(&cmdline, "kernel%s%s", *l->files.append ? " " : "", l->files.append) < 0) abort();
  add_text(l, &e, get32(info + 16), cmdline, "the command line");
  free(cmdline);
  add(l, &e, get32(info + 48), get32(info + 44), "the memory map");
  check_modules(l, &e, info);
  if (!kludge) check_apart_from_segments(l, &e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) { return loader_run(data, size, check), 0; }
