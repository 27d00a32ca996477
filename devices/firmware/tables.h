/* The tables by which kernels find out about the machine (tables.c). */
#pragma once
#include "../pc.h"

enum {
  TABLES_ACPI = 0xf0000,
  TABLES_ACPI_END = 0xf8000,
  TABLES_MP = 0xf8000,
  TABLES_SMBIOS_ANCHOR = 0xf9000,
  TABLES_SMBIOS = 0xf9020,
  TABLES_END = 0xfa000
};

/* Writes ACPI's, MP's and SMBIOS' tables into F0000h-FFFFFh; returns the RSDP's address, 0 where there is none. */
gpa tables_write(struct mmu *mmu, const struct pc_config *config);
