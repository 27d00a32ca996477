/* A file that bt writes for whoever asked for it while the guest runs: a picture, a piece of memory, a log. */
#pragma once
#include <stdio.h>

/* Creates or empties it. The stream is the caller's, who closes it. NULL: errno says why, output_file_problem() in words. */
FILE *output_file_open(const char *path);

/* An errno of opening, writing or closing. */
const char *output_file_problem(int error);
