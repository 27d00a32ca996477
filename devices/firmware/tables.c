/* Where in F0000h-FFFFFh each table lies that a BIOS would leave there. What is in them: acpi.c, mp_table.c, smbios.c. Kernels
 * look for their anchors ("RSD PTR ", "_MP_", "_SM_") at multiples of 16.
 */
#include "tables.h"
#include "acpi.h"
#include "mp_table.h"
#include "smbios.h"

static void write_blob(struct mmu *mmu, uint32_t at, const struct blob *b, uint32_t end) {
  if (!b->overflow && b->size <= end - at) mmu_dma_write(mmu, to_gpa(at), b->bytes, b->size);
}

gpa tables_write(struct mmu *mmu, const struct pc_config *config) {
  struct smbios smbios;
  struct blob mp;
  if (config->apic) { /* without one there is nothing to route to, and no processor entry */
    mp_table_build(&mp, TABLES_MP, config);
    write_blob(mmu, TABLES_MP, &mp, TABLES_SMBIOS_ANCHOR);
  }
  smbios_build(&smbios, TABLES_SMBIOS, config, mmu_ram_size(mmu));
  write_blob(mmu, TABLES_SMBIOS, &smbios.tables, TABLES_END);
  write_blob(mmu, TABLES_SMBIOS_ANCHOR, &smbios.anchor, TABLES_SMBIOS);
  return config->acpi ? acpi_write(mmu, config) : to_gpa(0);
}
