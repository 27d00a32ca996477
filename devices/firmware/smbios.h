/* The SMBIOS tables of the machine that pc.c puts together (smbios.c): what QEMU gives a firmware as etc/smbios/smbios-tables and
 * -anchor. */
#pragma once
#include "tables.h"

/* The structures, and the entry point. ram_size: bytes. */
void smbios_make(struct tables *t, const struct pc_config *config, uint64_t ram_size);
