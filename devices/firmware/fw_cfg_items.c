/* What a machine tells its firmware by fw_cfg: the items and files of QEMU 7.2's pc, by its names, as SeaBIOS (src/fw/paravirt.c,
 * src/boot.c), U-Boot and OVMF ask for them.
 *
 * ACPI tables are given as files and steps (tables.h), which become etc/table-loader's commands here; the MP table SeaBIOS makes
 * itself. Not there, beside what belongs to devices that are not: the legacy items that files have replaced (ACPI_TABLES,
 * SMBIOS_ENTRIES, E820_TABLE), etc/tpm/log, genroms/kvmvapic.bin, which patches 32-bit Windows for KVM.
 */
#include "fw_cfg.h"
#include <string.h>
#include "../chips/hpet.h"
#include "../map.h"
#include "tables.h"

/* ---- numbers ---- */

enum { ID_FILES = 1, ID_DMA = 2, UUID_SIZE = 16 };

static void add_numbers(struct fw_cfg *s, const struct pc_config *config) {
  static const uint8_t no_uuid[UUID_SIZE];
  static const uint64_t no_nodes[2]; /* NUMA: how many; then a CPU's each */
  fw_cfg_add(s, FW_CFG_SIGNATURE, "QEMU", 4);
  fw_cfg_add_number(s, FW_CFG_ID, ID_FILES | ID_DMA, 4);
  fw_cfg_add(s, FW_CFG_UUID, no_uuid, sizeof no_uuid);
  fw_cfg_add_number(s, FW_CFG_RAM_SIZE, mmu_ram_size(s->mmu), 8);
  fw_cfg_add_number(s, FW_CFG_NOGRAPHIC, config->firmware->no_screen, 2);
  fw_cfg_add_number(s, FW_CFG_NB_CPUS, 1, 2);
  fw_cfg_add(s, FW_CFG_NUMA, no_nodes, sizeof no_nodes);
  fw_cfg_add_number(s, FW_CFG_BOOT_MENU, config->firmware->boot_menu == FIRMWARE_ON, 2);
  fw_cfg_add_number(s, FW_CFG_MAX_CPUS, 1, 2);
  fw_cfg_add_number(s, FW_CFG_IRQ0_OVERRIDE, 1, 4); /* IRQ 0 is the I/O APIC's pin 2 */
}

/* hw/timer/hpet.h of QEMU: a count of blocks, then for eight of them id, address, shortest period, page protection. */
static void add_hpet(struct fw_cfg *s, const struct pc_config *config) {
  enum { ENTRY = 15, ENTRIES = 8 };
  uint8_t blocks[1 + ENTRIES * ENTRY] = {config->hpet};
  if (config->hpet) {
    memcpy(blocks + 1, &(uint32_t){HPET_BLOCK_ID}, 4);
    memcpy(blocks + 5, &(uint64_t){HPET_BASE}, 8);
  }
  fw_cfg_add(s, FW_CFG_HPET, blocks, sizeof blocks);
}

/* ---- memory map ---- */

enum { E820_RAM = 1 };

static void add_memory_map(struct fw_cfg *s) {
  uint8_t entry[20] = {0}; /* base, size, type; RAM ends below 4 GiB (mmu/layout.h), and holes in it are the firmware's to say */
  uint64_t size = mmu_ram_size(s->mmu);
  memcpy(entry + 8, &size, 8);
  entry[16] = E820_RAM;
  fw_cfg_add_file(s, "etc/e820", entry, sizeof entry);
}

/* ---- tables ---- */

static const char *const table_names[TABLE_FILES] = {
  [FILE_RSDP] = "etc/acpi/rsdp",
  [FILE_ACPI] = "etc/acpi/tables",
  [FILE_SMBIOS_ANCHOR] = "etc/smbios/smbios-anchor",
  [FILE_SMBIOS] = "etc/smbios/smbios-tables",
};

/* A command of etc/table-loader: 128 bytes, little-endian (SeaBIOS, src/fw/romfile_loader.h). SMBIOS files need none: their place
 * in memory is SeaBIOS's own affair. */
enum { COMMAND = 128, COMMAND_ALLOCATE = 1, COMMAND_POINTER, COMMAND_CHECKSUM, ZONE_HIGH = 1, ZONE_F_SEGMENT = 2 };

static bool for_loader(const struct table_step *step) { return step->file == FILE_RSDP || step->file == FILE_ACPI; }

static void put_u32(uint8_t *at, uint32_t value) { memcpy(at, &value, 4); }

static void put_command(uint8_t *at, const struct table_step *step) {
  static const uint8_t commands[] = {
    [STEP_ALLOCATE] = COMMAND_ALLOCATE, [STEP_POINTER] = COMMAND_POINTER, [STEP_CHECKSUM] = COMMAND_CHECKSUM};
  uint8_t *rest = at + 4 + FW_CFG_NAME;
  put_u32(at, commands[step->kind]);
  strcpy((char *)at + 4, table_names[step->file]);
  switch (step->kind) {
  case STEP_ALLOCATE:
    put_u32(rest, step->size);
    rest[4] = step->file == FILE_RSDP ? ZONE_F_SEGMENT : ZONE_HIGH;
    break;
  case STEP_POINTER:
    strcpy((char *)rest, table_names[step->target]);
    put_u32(rest + FW_CFG_NAME, step->offset);
    rest[FW_CFG_NAME + 4] = (uint8_t)step->size;
    break;
  case STEP_CHECKSUM:
    put_u32(rest, step->offset);
    put_u32(rest + 4, step->start);
    put_u32(rest + 8, step->size);
    break;
  }
}

static void add_tables(struct fw_cfg *s, const struct pc_config *config) {
  struct tables t;
  uint8_t script[TABLE_STEPS * COMMAND] = {0};
  uint32_t size = 0;
  tables_make(&t, config);
  s->failed |= t.failed;
  for (unsigned i = 0; i < TABLE_FILES; i++)
    if (table_names[i] && t.file[i].bytes) fw_cfg_add_file(s, table_names[i], t.file[i].bytes, (uint32_t)t.file[i].size);
  for (unsigned i = 0; i < t.steps; i++)
    if (for_loader(&t.step[i])) put_command(script + size, &t.step[i]), size += COMMAND;
  if (size) fw_cfg_add_file(s, "etc/table-loader", script, size);
  tables_free(&t);
}

/* ---- booting ---- */

/* `order` is boot_order_text()'s. The file ends in a zero, where it is not empty; "HALT" is for a firmware that shall try nothing
 * else. */
static void add_order(struct fw_cfg *s, const struct firmware_config *f, const char *order) {
  char text[BOOT_PLACES * BOOT_PATH + sizeof "HALT"] = "";
  size_t n = strlen(order);
  memcpy(text, order, n + 1);
  while (n && text[n - 1] == '\n') text[--n] = 0;
  if (f->boot_strict == FIRMWARE_ON) strcpy(text + n, n ? "\nHALT" : "HALT");
  fw_cfg_add_file(s, "bootorder", text, *text ? (uint32_t)strlen(text) + 1 : 0);
}

static void add_booting(struct fw_cfg *s, const struct firmware_config *f, const char *order) {
  add_order(s, f, order);
  fw_cfg_add_file(s, "etc/boot-fail-wait", &f->reboot_timeout, 4);
  if (f->splash_time >= 0) fw_cfg_add_file(s, "etc/boot-menu-wait", &f->splash_time, 2);
}

/* A byte for each of S0 to S5: what SLP_TYP is, and 80h where there is that state: off alone, beside running. */
static void add_sleep_states(struct fw_cfg *s) {
  static const uint8_t states[6] = {0x80, 0, 0, 1, 2, 0x80};
  fw_cfg_add_file(s, "etc/system-states", states, sizeof states);
}

bool fw_cfg_fill(struct fw_cfg *s, const struct pc_config *config, const char *bootorder) {
  const struct firmware_config *f = config->firmware;
  add_numbers(s, config);
  add_hpet(s, config);
  add_memory_map(s);
  add_tables(s, config);
  add_booting(s, f, bootorder);
  add_sleep_states(s);
  for (unsigned i = 0; i < f->file_count; i++) fw_cfg_add_file(s, f->files[i].name, f->files[i].bytes, f->files[i].size);
  return fw_cfg_finish(s);
}
