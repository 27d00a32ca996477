/* ACPI tables of the machine that pc.c puts together. */
#pragma once
#include "tables.h"

/* RSDP; RSDT, FADT, FACS, DSDT, with an APIC MADT, and with an HPET its table. */
void acpi_make(struct tables *t, const struct pc_config *config);
