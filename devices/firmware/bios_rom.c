/* The BIOS's ROM: its last byte is at FFFFFFFFh, where the CPU starts 16 bytes below. What of it is shown below 1 MiB is the host
 * bridge's affair (i440fx.c). Stores to it are lost: it is no flash memory, so a firmware that keeps its settings there (OVMF's
 * variables) finds that they do not stay; missing: flash (-pflash).
 */
#include "bios_rom.h"
#include <string.h>

#define TOP 0x100000000ull

static const struct field fields[] = {FIELD_END};

/* A ROM has no other state than its bytes, and is saved with RAM. */
static void reset(void *state) { (void)state; }

static void destroy(void *state) {
  struct bios_rom *s = state;
  mmu_remove_area(s->mmu, s->area);
}

struct device bios_rom_init(struct bios_rom *s, struct mmu *mmu, const struct firmware_config *config) {
  *s = (struct bios_rom){.mmu = mmu};
  s->area = mmu_add_memory(mmu, to_gpa(TOP - config->bios_size), config->bios_size, MMU_READ_ONLY | MMU_LEVEL(MMU_LEVEL_ROM));
  if (!s->area) return (struct device){0};
  memcpy(mmu_frame_pointer(mmu, mmu_area_frame(s->area)), config->bios, config->bios_size);
  return (struct device){"bios", s, fields, reset, 0, destroy, 0};
}
