/* The command `bt diff`. */
#pragma once
#include <stdio.h>
#include "../options/options.h"

/* argv[0] is "diff". Exit status: 0 no unexplained divergence, 1 bad command line or no reference, 2 a divergence, 4 the run
 * could not go on. */
int diff_main(int argc, char **argv, FILE *out, FILE *err);
/* A line of its -help, for the manual page: false: there are less than i + 1. */
bool diff_help_line(unsigned i, struct help_line *line);
