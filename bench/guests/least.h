/* What images that time a loop share. */
#pragma once
#include "lib/metal.h"

enum { LOOPS = 65536 };

/* Cycles of one of LOOPS rounds, the least of five times, from these registers on; the snippet counts the rounds. */
static uint32_t least_cycles(struct context given) {
  uint32_t best = ~0u;
  for (unsigned time = 0; time < 5; time++) {
    struct context c = given;
    uint64_t start = rdtsc();
    run(&c);
    uint32_t each = (uint32_t)((rdtsc() - start) / LOOPS);
    if (each < best) best = each;
  }
  return best;
}
