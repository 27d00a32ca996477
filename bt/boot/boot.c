#include "boot.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../options/values.h"

bool boot_fail(char error[ERROR_TEXT], const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(error, ERROR_TEXT, format, args);
  va_end(args);
  return false;
}

bool boot_copy(const struct boot_memory *mem, uint64_t addr, const void *from, uint64_t size) {
  if (!size) return true;
  void *to = mem->at(mem->opaque, addr, size);
  if (to) memcpy(to, from, size);
  return to;
}

bool boot_zero(const struct boot_memory *mem, uint64_t addr, uint64_t size) {
  if (!size) return true;
  void *to = mem->at(mem->opaque, addr, size);
  if (to) memset(to, 0, size);
  return to;
}

uint64_t boot_place_high(uint64_t floor, uint64_t end, uint64_t size) {
  if (size > end) return 0;
  uint64_t at = (end - size) & ~UINT64_C(0xfff);
  return at >= floor ? at : 0;
}

void boot_memory_map(uint64_t ram_size, struct boot_range out[RANGE_COUNT]) {
  out[0] = (struct boot_range){0, BOOT_EBDA, RANGE_RAM};
  out[1] = (struct boot_range){BOOT_EBDA, BOOT_HOLE - BOOT_EBDA, RANGE_RESERVED};
  out[2] = (struct boot_range){0xe0000, BOOT_HIGH - 0xe0000, RANGE_RESERVED}; /* where a BIOS would be, and our ACPI tables are */
  out[3] = (struct boot_range){BOOT_HIGH, ram_size - BOOT_HIGH, RANGE_RAM};
}

/* An image whose first sector a BIOS would run, be it a disk's or a kernel's of boot protocol 1 (no header: everything from its
 * first sector on is run). */
static bool is_boot_sector(const struct image *kernel) { return kernel->size >= 512 && get16(kernel->bytes + 0x1fe) == 0xaa55; }

/* QEMU's order: a bzImage may hold anything else in its first 8 KiB. */
enum boot_kind boot_detect(const struct image *kernel) {
  size_t offset;
  if (kernel->size >= 0x206 && is_boot_sector(kernel) && !memcmp(kernel->bytes + 0x202, "HdrS", 4)) return BOOT_LINUX;
  if (multiboot_find(kernel, &offset)) return BOOT_MULTIBOOT;
  if (kernel->size >= 4 && !memcmp(kernel->bytes, "\177ELF", 4)) return BOOT_ELF;
  return BOOT_UNKNOWN;
}

/* One element of Multiboot's -initrd, "FILE ARGUMENTS", from *cursor to the next single comma; NULL at the end or without memory.
 */
static char *next_module(const char **cursor) {
  const char *p = *cursor;
  char *text = *p ? malloc(strlen(p) + 1) : NULL;
  size_t n = 0;
  if (!text) return NULL;
  for (; *p; text[n++] = *p++)
    if (*p == ',' && *++p != ',') break;
  text[n] = 0;
  *cursor = p;
  return text;
}

static bool read_module(struct boot_files *f, char *text, size_t name_length, uint64_t max, char error[ERROR_TEXT]) {
  struct boot_module *grown = realloc(f->modules, (f->module_count + 1) * sizeof *grown);
  if (grown) f->modules = grown;
  char *name = strndup(text, name_length);
  bool ok = grown && name;
  if (!ok) boot_fail(error, "-initrd: not enough memory");
  if (ok) {
    struct boot_module *m = &f->modules[f->module_count++];
    *m = (struct boot_module){.text = text};
    ok = image_read(&m->image, name, max, error);
  } else free(text);
  free(name);
  return ok;
}

static bool read_modules(struct boot_files *f, const char *initrd, uint64_t max, char error[ERROR_TEXT]) {
  if (f->kind != BOOT_MULTIBOOT) {
    char *text = strdup(initrd);
    return text ? read_module(f, text, strlen(text), max, error) : boot_fail(error, "-initrd: not enough memory");
  }
  char *text;
  while ((text = next_module(&initrd)))
    if (!read_module(f, text, strcspn(text, " "), max, error)) return false;
  return true;
}

bool boot_files_read(struct boot_files *f, const char *kernel, const char *initrd, const char *append, uint64_t ram_size,
                     char error[ERROR_TEXT]) {
  *f = (struct boot_files){.kernel_name = kernel, .append = append ? append : ""};
  if (!image_read(&f->kernel, kernel, UINT64_C(1) << 30, error)) return false;
  f->kind = boot_detect(&f->kernel);
  if (f->kind == BOOT_UNKNOWN) {
    char name[128];
    const char *what = is_boot_sector(&f->kernel)
                         ? "boots by itself, by a BIOS, as disks do and kernels of before Linux 1.3.73: give it to -hda or -fda"
                         : "not a kernel (neither bzImage, Multiboot nor ELF)";
    return boot_fail(error, "%s: %s", value_printable(name, kernel), what);
  }
  return !initrd || read_modules(f, initrd, ram_size, error);
}

void boot_files_free(struct boot_files *f) {
  image_free(&f->kernel);
  for (unsigned i = 0; i < f->module_count; i++) {
    image_free(&f->modules[i].image);
    free(f->modules[i].text);
  }
  free(f->modules);
  *f = (struct boot_files){0};
}

bool boot_load(const struct boot_files *f, const struct boot_memory *mem, const struct boot_platform *platform,
               struct boot_cpu *cpu, char error[ERROR_TEXT]) {
  char why[ERROR_TEXT];
  firmware_write(mem, platform);
  *cpu = (struct boot_cpu){.esp = BOOT_STACK, .gdt = f->kind == BOOT_MULTIBOOT ? boot_gdt_multiboot : boot_gdt_linux};
  bool ok = f->kind == BOOT_LINUX       ? boot_linux(f, mem, platform, cpu, why)
            : f->kind == BOOT_MULTIBOOT ? boot_multiboot(f, mem, cpu, why)
                                        : boot_pvh(f, mem, platform->rsdp, cpu, why);
  char name[128];
  return ok || boot_fail(error, "%s: %.140s", value_printable(name, f->kernel_name), why);
}
