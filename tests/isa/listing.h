/* A case's code as instructions: what tells how many ran, which rows they are of, whether what they read is defined; and what
 * recode.c goes by. */
#pragma once
#include "case.h"

enum { MAX_LISTED = 160 };
struct listed {
  struct insn insn;
  uint16_t at;  /* offset in code[] */
  bool perhaps; /* a branch may go around it */
};
struct listing {
  unsigned count;
  bool cut;   /* ends in the middle of an instruction, at the end of the code pages */
  bool whole; /* all of the code was decoded */
  struct listed list[MAX_LISTED];
};

void listing_make(struct listing *l, const struct isa_case *c);
/* The instruction at this address or, where there is none, -1. */
int listing_find(const struct listing *l, const struct isa_case *c, uint32_t eip);
/* The listed instructions before this one ran, but for those that a branch may have left out. The one that faulted is among
 * them. */
unsigned listing_end(const struct listing *l, const struct isa_case *c, const struct outcome *o);
/* Tells which arithmetic flags hold defined values at the end, and at any fault. False: the code reads one that does not. */
bool listing_follow_flags(const struct listing *l, uint32_t *at_end, uint32_t *ever);

/* ---- recode.c: the same code for 64-bit mode ---- */
struct recoded {
  uint8_t code[1024];
  unsigned size;
  uint32_t at; /* where it has to lie */
  uint32_t exit_at[MAX_EXITS];
  uint16_t new_at[MAX_LISTED + 1]; /* of each listed instruction, and of the end */
};
/* Why no instruction of this row can be given to 64-bit code, or NULL. */
const char *recode_row_left_out(const struct opcode_row *row);
bool recode(struct recoded *to, const struct isa_case *c, const struct listing *l);
/* 64-bit EIP to the case's; false: it is not at an instruction's start. */
bool recode_find_eip(const struct recoded *r, const struct isa_case *c, const struct listing *l, uint32_t *eip);
