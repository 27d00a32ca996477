/* Tables as files and steps, and -kernel's loader for them.
 *
 * Owns where in F0000h-FFFFFh each file lies that a BIOS would leave there. What is in them: acpi.c, mp_table.c, smbios.c, which
 * append bytes and say which of them are pointers and sums. Kernels look for their anchors ("RSD PTR ", "_MP_", "_SM_") at
 * multiples of 16. A firmware that is run gets the same files and steps by fw_cfg (fw_cfg_items.c) and places them itself.
 */
#include "tables.h"
#include "acpi.h"
#include "mp_table.h"
#include "smbios.h"
#include <stdlib.h>
#include <string.h>

static const struct {
  uint32_t at, end;
} area[TABLE_FILES] = {
  [FILE_RSDP] = {0xf0000, 0xf0040},          [FILE_ACPI] = {0xf0040, 0xf8000},   [FILE_MP] = {0xf8000, 0xf9000},
  [FILE_SMBIOS_ANCHOR] = {0xf9000, 0xf9020}, [FILE_SMBIOS] = {0xf9020, 0xfa000},
};

/* ---- making ---- */

static void add_step(struct tables *t, struct table_step step) {
  if (t->steps == TABLE_STEPS) t->failed = true;
  else t->step[t->steps++] = step;
}

uint32_t tables_append(struct tables *t, enum table_file file, const void *bytes, size_t size, uint32_t align) {
  size_t has = t->file[file].size, at = (has + align - 1) & ~(size_t)(align - 1);
  uint8_t *more = t->failed ? NULL : realloc(t->file[file].bytes, at + size);
  if (!more) {
    t->failed = true;
    return 0;
  }
  if (!has) add_step(t, (struct table_step){.kind = STEP_ALLOCATE, .file = file, .size = align});
  memset(more + has, 0, at - has);
  memcpy(more + at, bytes, size);
  t->file[file].bytes = more;
  t->file[file].size = at + size;
  return (uint32_t)at;
}

static bool inside(struct tables *t, enum table_file file, uint32_t offset, uint32_t size) {
  if (!t->failed && (offset > t->file[file].size || size > t->file[file].size - offset)) t->failed = true;
  return !t->failed;
}

void tables_pointer(struct tables *t, enum table_file file, uint32_t offset, uint32_t size, enum table_file target, uint32_t at) {
  if (!inside(t, file, offset, size)) return;
  memset(t->file[file].bytes + offset, 0, size);
  memcpy(t->file[file].bytes + offset, &at, 4);
  add_step(t, (struct table_step){.kind = STEP_POINTER, .file = file, .target = target, .offset = offset, .size = size});
}

void tables_checksum(struct tables *t, enum table_file file, uint32_t start, uint32_t size, uint32_t offset) {
  if (!inside(t, file, start, size) || !inside(t, file, offset, 1)) return;
  t->file[file].bytes[offset] = 0;
  add_step(t, (struct table_step){.kind = STEP_CHECKSUM, .file = file, .offset = offset, .size = size, .start = start});
}

void tables_make(struct tables *t, const struct pc_config *config) {
  *t = (struct tables){0};
  if (config->acpi) acpi_make(t, config);
  if (config->apic) mp_table_make(t, config); /* without one there is nothing to route to, and no processor entry */
  smbios_make(t, config, mmu_ram_size(config->mmu));
}

void tables_free(struct tables *t) {
  for (unsigned i = 0; i < TABLE_FILES; i++) free(t->file[i].bytes);
  *t = (struct tables){0};
}

/* ---- placing ---- */

static void add_address(uint8_t *at, uint32_t size, uint32_t address) {
  uint64_t value = 0;
  memcpy(&value, at, size);
  value += address;
  memcpy(at, &value, size);
}

static uint8_t checksum(const uint8_t *bytes, uint32_t n) {
  uint8_t sum = 0;
  for (uint32_t i = 0; i < n; i++) sum = (uint8_t)(sum + bytes[i]);
  return (uint8_t)-sum;
}

void tables_place(struct tables *t, const uint32_t address[TABLE_FILES]) {
  for (unsigned i = 0; i < t->steps && !t->failed; i++) {
    const struct table_step *s = &t->step[i];
    uint8_t *bytes = t->file[s->file].bytes;
    if (s->kind == STEP_POINTER) add_address(bytes + s->offset, s->size, address[s->target]);
    if (s->kind == STEP_CHECKSUM) bytes[s->offset] = checksum(bytes + s->start, s->size);
  }
}

/* ---- -kernel ---- */

gpa tables_write(struct mmu *mmu, const struct pc_config *config) {
  struct tables t;
  uint32_t address[TABLE_FILES];
  tables_make(&t, config);
  for (unsigned i = 0; i < TABLE_FILES; i++) {
    address[i] = area[i].at;
    if (t.file[i].size > area[i].end - area[i].at) t.failed = true;
  }
  tables_place(&t, address);
  for (unsigned i = 0; i < TABLE_FILES && !t.failed; i++)
    if (t.file[i].bytes) mmu_dma_write(mmu, to_gpa(area[i].at), t.file[i].bytes, t.file[i].size);
  gpa rsdp = to_gpa(t.failed || !t.file[FILE_RSDP].bytes ? 0 : area[FILE_RSDP].at);
  tables_free(&t);
  return rsdp;
}
