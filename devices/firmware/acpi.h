/* ACPI tables of the machine that pc.c puts together. */
#pragma once
#include "../pc.h"

/* Writes RSDP, RSDT, FADT, FACS, DSDT, with an APIC MADT, and with an HPET its table into F0000h-F7FFFh; returns the RSDP's
 * address, 0 when they do not fit. */
gpa acpi_write(struct mmu *mmu, const struct pc_config *config);
