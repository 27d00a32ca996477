/* The command `bt diff`. */
#pragma once
#include <stdio.h>

/* argv[0] is "diff". Exit status: 0 no unexplained divergence, 1 bad command line or no reference, 2 a divergence, 4 the run could not go on. */
int diff_main(int argc, char **argv, FILE *out, FILE *err);
