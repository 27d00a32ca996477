/* What the makers of cases share (encode.c, operands.c, single.c, sequence.c). */
#pragma once
#include "case.h"
#include "random.h"
#include "values.h"

/* What is known of a register while code is made. */
enum reg_state {
  REG_FREE,    /* still to be chosen: single instructions */
  REG_FIXED,   /* holds `now` */
  REG_UNKNOWN, /* depends on what ran before: no address may be made of it */
};

struct maker {
  struct random random;
  struct isa_case *c;
  uint8_t reg_state[8];
  uint32_t now[8];
  bool tame;      /* sequences: memory operands mostly hit, prefixes are rare */
  bool flat;      /* no address but through flat segments */
  bool wide_only; /* no 67h */
};

/* A memory operand as it is encoded. */
struct address {
  uint8_t modrm, sib;  /* reg field 0 */
  bool has_sib, small; /* small: 16-bit addressing */
  uint8_t override;    /* prefix byte or 0 */
  unsigned disp_size;
  uint32_t disp;
  uint32_t linear; /* what it comes to */
};

/* ---- operands.c ---- */
void maker_fix(struct maker *m, unsigned reg, uint32_t value); /* this register shall start with (single) or holds this value */
/* A linear address for an access of `size`: mostly good, sometimes across pages, absent or read-only. */
uint32_t maker_target(struct maker *m, unsigned size);
uint32_t maker_good_target(struct maker *m, unsigned size); /* inside one writable page */
/* Chooses a form of address for `target`; where registers are already fixed it may come to another address. */
struct address maker_address(struct maker *m, uint32_t target, unsigned size);
void maker_poke(struct maker *m, uint32_t linear, const void *bytes, unsigned size); /* memory at the start, where there is any */
void maker_poke32(struct maker *m, uint32_t linear, uint32_t value, unsigned size);
void maker_ignore(struct maker *m, uint32_t linear, uint32_t size);
uint16_t maker_selector(struct maker *m, unsigned seg); /* of a data segment, mostly flat */

/* ---- encode.c ---- */
struct encoding {
  const struct opcode_row *row;
  bool operand16, address16, lock;
  uint8_t rep, override;
  bool has_modrm;
  uint8_t modrm, sib;
  bool has_sib;
  unsigned disp_size;
  uint32_t disp;
  unsigned opcode_low; /* register in the opcode's low bits, where the row is the first of eight */
  uint8_t imm[8];
  unsigned imm_size;
};
unsigned encode(struct maker *m, const struct encoding *e, uint8_t *to); /* bytes written, at most 15 */
unsigned encode_imm_size(const struct opcode_row *row, bool operand16, bool address16);

/* ---- makers ---- */
enum { OPERAND_REGISTER, OPERAND_MEMORY };
void case_start(struct isa_case *c, struct random *random, uint32_t region);
void case_set_default_state(struct maker *m, int fx_use);
bool case_has_ac_choice(const struct opcode_row *row);
int case_fx_use(const struct opcode_row *row);
void single_make(struct isa_case *c, uint64_t seed, uint32_t number, const struct opcode_row *row,
                 bool flat /* no segments but the flat ones, no 16-bit addresses */);
/* `state`: which of the states that the same code is run with. */
void sequence_make(struct isa_case *c, uint64_t seed, uint32_t number, unsigned state, const struct opcode_row *const *rows,
                   unsigned row_count);

/* ---- kept.c: its table, then the files of tests/isa/kept ---- */
bool kept_make(struct isa_case *c, unsigned index);
