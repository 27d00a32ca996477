/* tests/fuzz/isa: random instruction streams, a reference CPU against the translator. Cases are those of tests/isa (case.h), so
 * that what makes, runs, compares and keeps them is shared. */
#pragma once
#include "tests/isa/axes.h"
#include "tests/isa/reference.h"
#include "tests/isa/sequence.h"

/* ---- stream.c ---- */
enum pool_kind { POOL_INTEGER, POOL_X87, POOL_MMX, POOL_SSE, POOL_COUNT };
enum { MAX_ROWS = 2048 };
struct stream_rows {
  const struct opcode_row *all[MAX_ROWS]; /* each is the subject of a case in turn */
  unsigned all_count;
  const struct opcode_row *pool[POOL_COUNT][MAX_ROWS]; /* what is drawn around it */
  unsigned pool_count[POOL_COUNT];
  bool stack; /* the reference runs stack instructions, calls and returns */
};
void stream_choose_rows(struct stream_rows *rows, const struct reference *r);
/* Number and seed make a case. */
void stream_make(struct isa_case *c, uint64_t seed, uint32_t number, const struct stream_rows *rows);

/* ---- coverage.c: which rows ran ---- */
struct coverage {
  uint64_t hits[MAX_ROWS];                /* by place in the opcode table */
  uint64_t instructions, quiet, faulting; /* all that ran; of cases without and with a fault */
};
void coverage_add(struct coverage *v, const struct listing *l, const struct isa_case *c, const struct outcome *o);
/* Prints what was not hit and why; returns how many rows should have been. */
unsigned coverage_report(const struct coverage *v, const struct reference *r, bool verbose, unsigned *hit);

/* ---- deviations.c: where QEMU is known to differ from a CPU ---- */
/* The row of its table that explains a difference, or -1. */
int deviation_find(const struct isa_case *c, const struct listing *l, const struct outcome *reference,
                   const struct outcome *guest);
void deviation_report(const uint64_t *hits);
enum { MAX_DEVIATIONS = 24 };

/* ---- minimise.c ---- */
struct bench; /* main.c: the two sides */
/* What differs, or NULL; also when the reference cannot run the case. */
const char *bench_try(struct bench *b, const struct isa_case *c, char *text, size_t size);
/* Leaves out and simplifies whatever is not needed for the same difference. */
void minimise(struct bench *b, struct isa_case *c);
