/* What makers of several instructions share: what is known of registers and flags while code is made (follow.c), and the pieces
 * that they are made of (sequence.c). Used by sequence.c and by the streams of tests/fuzz/isa. */
#pragma once
#include "make.h"

struct sequence {
  struct maker m;
  const struct opcode_row *const *rows;
  unsigned row_count;
  uint16_t tainted, ever_tainted, flags_read;
  bool down;      /* EFLAGS.DF */
  bool returns;   /* by an address that the body may have overwritten, by an absolute address in a shifted state */
  bool no_stack;  /* inside a skipped part or a loop: ESP must stay */
  bool no_stores; /* what follows relies on memory as it is */
  uint8_t frozen; /* registers that must not be written */
  uint8_t held;   /* registers that must stay known (loops) */
  uint32_t slot;  /* of the return address while a function's body is made, else 0: stores stay away from it */
};

/* follow.c */
void sequence_know(struct sequence *q, unsigned reg, uint32_t value);
void sequence_forget(struct sequence *q, unsigned reg);
/* Follows what is known through an instruction. False: it wrote registers in a way that is not followed. */
bool sequence_follow(struct sequence *q, const struct insn *i);
/* Adds an instruction; false, and nothing is changed, when it would spoil what must be known. */
bool sequence_add(struct sequence *q, const uint8_t *bytes, unsigned length);
/* Bytes whose effect the caller follows. */
void sequence_raw(struct sequence *q, const uint8_t *bytes, unsigned length);
#define ADD(q, ...) sequence_add(q, (const uint8_t[]){__VA_ARGS__}, sizeof(const uint8_t[]){__VA_ARGS__})
#define RAW(q, ...) sequence_raw(q, (const uint8_t[]){__VA_ARGS__}, sizeof(const uint8_t[]){__VA_ARGS__})
#define IMM32(v) (uint8_t)(v), (uint8_t)((v) >> 8), (uint8_t)((v) >> 16), (uint8_t)((v) >> 24)

static inline bool sequence_knows(const struct sequence *q, unsigned reg) { return q->m.reg_state[reg] == REG_FIXED; }
static inline bool sequence_is_full(const struct sequence *q) { return q->m.c->code_size > MAX_CODE - 64; }
static inline uint32_t sequence_here(const struct sequence *q) { return q->m.c->code_at + q->m.c->code_size; }

/* sequence.c */
/* Instructions that are drawn at random; jumps, calls and stack frames are built. */
bool sequence_takes(const struct opcode_row *row);
bool sequence_add_row(struct sequence *q, const struct opcode_row *row, unsigned memory_percent);
void sequence_add_simple(struct sequence *q);
void sequence_add_structure(struct sequence *q); /* skips, loops; frames, calls and returns where the stack may be used */
void sequence_set_pointers(struct sequence *q);
