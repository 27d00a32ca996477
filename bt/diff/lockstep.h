/* One run of `bt diff`: our side follows the reference's events and stops where the two differ. */
#pragma once
#include "compare.h"

struct lockstep_options {
  uint64_t every;        /* instructions between two comparisons (at block ends); 0: at every block */
  uint64_t fine_from;    /* from this instruction on, every block */
  uint64_t max_insns;    /* 0: to the guest's end */
  uint64_t memory_every; /* instructions between two comparisons of RAM and FP state; 0: only at the end */
  bool fp;               /* the reference tells FP state in every block: compared too */
};

enum lockstep_end { LOCKSTEP_DONE /* max_insns */, LOCKSTEP_GUEST_END, LOCKSTEP_DIVERGED, LOCKSTEP_FAILED /* `why` */ };

struct lockstep_counts {
  uint64_t insns, blocks, compares, ram_compares, exceptions[32], software, syscalls /* INT 80h and SYSENTER */, interrupts,
    reads, writes;
};

struct lockstep {
  struct reference *ref;
  struct replay replay;
  struct lockstep_options options;
  struct lockstep_counts counts;
  struct deviations deviations;
  struct block_infos infos;
  enum lockstep_end end;
  char why[REF_TEXT]; /* in one line: what diverged or failed */
  struct differences differences;
  uint64_t good, bad;             /* LOCKSTEP_DIVERGED: equal after `good` instructions, not after `bad` */
  struct ref_event current, next; /* the block that our side is about to run, and what comes after its unit */
  struct ref_event before;        /* the last block that was compared and equal */
  uint64_t owed;                  /* instructions that the reference has run and our side has not */
  uint16_t undefined;             /* flags that they leave undefined */
  const struct opcode_row *undefined_by;
  uint64_t compared_at, ram_at;
  bool pausing;
  const struct ref_event *expected; /* exception that our side is to raise now */
  bool raised, wrong;               /* it did; not as expected */
  bool untold;                      /* it is behind an INT n of which the reference tells nothing */
  gla unmarked[2];                  /* the upper halves of descriptors that the delivery at hand will mark accessed */
  unsigned unmarked_count;
};

/* `l->ref`, `l->replay` and `l->options` are set, both sides are at `start`. Runs to an end; l->end says which. */
void lockstep_run(struct lockstep *l, const struct ref_cpu *start);
void lockstep_free(struct lockstep *l); /* its own memory; neither ref nor replay */
