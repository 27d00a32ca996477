/* What `bt diff` prints: the table of a run, and the account of a divergence. */
#pragma once
#include "lockstep.h"

void report_run(const struct lockstep *l, double seconds, FILE *out);
/* Why, where, both register files, the last blocks with their guest code and our host code. */
void report_divergence(struct lockstep *l, FILE *out);
