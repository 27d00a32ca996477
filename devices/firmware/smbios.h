/* The SMBIOS tables of the machine that pc.c puts together (smbios.c): what QEMU gives a firmware as etc/smbios/smbios-tables and
 * -anchor. */
#pragma once
#include "blob.h"
#include "../pc.h"

struct smbios {
  struct blob tables, anchor;
  unsigned count, largest; /* structures; the largest one's bytes */
};

/* The anchor is for tables at the physical address `tables_at`. Pure. */
void smbios_build(struct smbios *out, uint32_t tables_at, const struct pc_config *config, uint64_t ram_size);
