/* --stats: every counter there is, as text or JSON (I7). */
#pragma once
#include <stdio.h>
#include "machine.h"
void stats_print(struct machine *m, bool json, FILE *out);
