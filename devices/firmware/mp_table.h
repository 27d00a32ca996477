/* The MP table of the machine that pc.c puts together (mp_table.c). */
#pragma once
#include "blob.h"
#include "../pc.h"

/* Floating pointer and, behind it, the configuration table, for the 16-byte aligned physical address `at`. Pure. */
void mp_table_build(struct blob *out, uint32_t at, const struct pc_config *config);
