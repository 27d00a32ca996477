#include "symbols.h"
#include <elf.h>
#include <gelf.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { FAR = 1 << 20, NAME_MAX_KEPT = 127 };

struct symbol {
  uint32_t addr, name;
};
struct symbols {
  struct symbol *list;
  unsigned count, room;
  char *names; /* all of them, each ended by 0 */
  size_t names_size, names_room;
};

void symbols_free(struct symbols *s) {
  if (!s) return;
  free(s->list);
  free(s->names);
  free(s);
}

static bool make_room(void **block, size_t *room, size_t needed) {
  if (needed <= *room) return true;
  size_t wanted = needed + needed / 2 + 4096;
  void *grown = realloc(*block, wanted);
  if (!grown) return false;
  *block = grown;
  *room = wanted;
  return true;
}

static bool add(struct symbols *s, uint32_t addr, const char *name, size_t length) {
  if (length > NAME_MAX_KEPT) length = NAME_MAX_KEPT;
  size_t bytes = s->room * sizeof *s->list;
  bool ok = s->names_size + length + 1 < UINT32_MAX &&
            make_room((void **)&s->names, &s->names_room, s->names_size + length + 1) &&
            make_room((void **)&s->list, &bytes, (s->count + 1) * sizeof *s->list);
  if (!ok) return false;
  s->room = (unsigned)(bytes / sizeof *s->list);
  s->list[s->count++] = (struct symbol){addr, (uint32_t)s->names_size};
  memcpy(s->names + s->names_size, name, length);
  s->names[s->names_size + length] = 0;
  s->names_size += length + 1;
  return true;
}

static int by_address(const void *a, const void *b) {
  const struct symbol *x = a, *y = b;
  return x->addr != y->addr ? (x->addr > y->addr) - (x->addr < y->addr) : (x->name > y->name) - (x->name < y->name);
}
static struct symbols *finished(struct symbols *s) {
  if (s && s->count) return qsort(s->list, s->count, sizeof *s->list, by_address), s;
  symbols_free(s);
  return NULL;
}

/* ---- ELF ---- */

static void add_table(struct symbols *s, const struct image *file, const GElf_Shdr *table, const GElf_Shdr *strings) {
  if (table->sh_offset > file->size || table->sh_size > file->size - table->sh_offset) return;
  if (strings->sh_offset > file->size || strings->sh_size > file->size - strings->sh_offset) return;
  const char *names = (const char *)file->bytes + strings->sh_offset;
  for (uint64_t at = 0; table->sh_size - at >= sizeof(Elf32_Sym); at += sizeof(Elf32_Sym)) {
    Elf32_Sym symbol;
    memcpy(&symbol, file->bytes + table->sh_offset + at, sizeof symbol);
    unsigned type = ELF32_ST_TYPE(symbol.st_info);
    if (symbol.st_shndx == SHN_UNDEF || symbol.st_shndx == SHN_ABS ||
        (type != STT_FUNC && type != STT_NOTYPE && type != STT_OBJECT))
      continue;
    if (symbol.st_name >= strings->sh_size) continue;
    size_t length = strnlen(names + symbol.st_name, strings->sh_size - symbol.st_name);
    if (length && !add(s, symbol.st_value, names + symbol.st_name, length)) return;
  }
}

static void add_sections(struct symbols *s, Elf *elf, const struct image *file) {
  size_t count = 0;
  if (elf_getshdrnum(elf, &count) != 0 || !elf32_getehdr(elf)) return;
  for (size_t i = 1; i < count; i++) {
    Elf_Scn *section = elf_getscn(elf, i);
    GElf_Shdr table, strings;
    if (!section || !gelf_getshdr(section, &table) || table.sh_type != SHT_SYMTAB) continue;
    Elf_Scn *linked = elf_getscn(elf, table.sh_link);
    if (linked && gelf_getshdr(linked, &strings) && strings.sh_type == SHT_STRTAB) return add_table(s, file, &table, &strings);
  }
}

struct symbols *symbols_from_elf(const struct image *file) {
  if (file->size < sizeof(Elf32_Ehdr) || memcmp(file->bytes, ELFMAG, SELFMAG) || file->bytes[EI_CLASS] != ELFCLASS32) return NULL;
  if (elf_version(EV_CURRENT) == EV_NONE) return NULL;
  struct symbols *s = calloc(1, sizeof *s);
  Elf *elf = s ? elf_memory((char *)file->bytes, file->size) : NULL;
  if (elf) {
    add_sections(s, elf, file);
    elf_end(elf);
  }
  return finished(s);
}

/* ---- System.map: "c1000000 T name" lines ---- */

static const uint8_t *parse_line(struct symbols *s, const uint8_t *line, const uint8_t *end) {
  const uint8_t *stop = memchr(line, '\n', (size_t)(end - line)), *p = line;
  if (!stop) stop = end;
  uint64_t addr = 0;
  for (; p < stop && p - line < 16; p++) {
    unsigned digit = *p >= '0' && *p <= '9' ? *p - (unsigned)'0' : *p >= 'a' && *p <= 'f' ? *p - 'a' + 10u : 16;
    if (digit > 15) break;
    addr = addr << 4 | digit;
  }
  bool good = p > line && addr <= UINT32_MAX && stop - p > 3 && p[0] == ' ' && p[2] == ' ' && p[1] != 'A' && p[1] != 'a';
  if (good) add(s, (uint32_t)addr, (const char *)p + 3, (size_t)(stop - p - 3));
  return stop < end ? stop + 1 : end;
}

static struct symbols *from_map(const struct image *file) {
  struct symbols *s = calloc(1, sizeof *s);
  const uint8_t *end = file->bytes + file->size;
  for (const uint8_t *p = file->bytes; s && p < end;) p = parse_line(s, p, end);
  return finished(s);
}

struct symbols *symbols_from_file(const struct image *file) {
  struct symbols *s = symbols_from_elf(file);
  return s ? s : from_map(file);
}

const char *symbols_find(const struct symbols *s, uint32_t addr, uint32_t *offset) {
  unsigned low = 0, high = s->count; /* list[0..low) is at or below addr, list[high..) above */
  while (low < high) {
    unsigned middle = low + (high - low) / 2;
    if (s->list[middle].addr <= addr) low = middle + 1;
    else high = middle;
  }
  if (!low || addr - s->list[low - 1].addr > FAR) return NULL;
  *offset = addr - s->list[low - 1].addr;
  return s->names + s->list[low - 1].name;
}
