/* The MP table of the machine that pc.c puts together (mp_table.c). */
#pragma once
#include "tables.h"

/* Floating pointer and, behind it, the configuration table. */
void mp_table_make(struct tables *t, const struct pc_config *config);
