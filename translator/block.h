/* What the parts of the translator share while one block is made: plan.c fills it from the guest's bytes, translate.c and what it
 * calls emit from it. Private to translator/. */
#pragma once
#include "host.h"
#include "translator.h"

/* A register's value as the planner knows it: an unknown `version` plus a constant. Version 0 is the number zero. */
struct value {
  uint16_t version;
  int32_t k;
};

/* Two addresses with equal keys differ by a constant. `segment`: 0 for flat ones, else KEY_SEGMENT(). `narrow`: of 16 bits; base
 * and index are versions of the registers' low halves. */
struct address_key {
  uint16_t base, index, segment;
  uint8_t scale;
  bool narrow;
};
/* `loads`: of that segment register so far in the block. */
#define KEY_SEGMENT(seg, loads) ((uint16_t)(1 + (seg) + 8 * (loads)))
static inline unsigned key_segment(uint16_t segment) { return (segment - 1u) & 7; }

enum { NO_WINDOW = 0xff, MAX_WINDOWS = 24, WINDOW_SPAN = 256 };

struct access {
  bool present, keyed;
  uint8_t access; /* ACCESS_* */
  uint16_t size;  /* of the operand, or of the window */
  uint8_t window; /* index, or NO_WINDOW: checked by itself */
  uint8_t addend; /* in a self-loop: register that keeps the last addend from round to round (H_NONE: none) */
  bool frame;     /* words that are aligned each by itself: no alignment of the whole is to be expected */
  uint8_t since;  /* step of the last load of its segment register, + 1 */
  struct address_key key;
  int32_t offset; /* constant part, relative to key */
};
enum { ACC_MEM, ACC_STACK, ACC_COUNT }; /* ModRM (or implicit) operand; push/pop/call/ret/leave side */

struct step {
  struct insn insn;
  struct access acc[ACC_COUNT];
  struct value before[8]; /* registers before the instruction */
  struct value low[8];    /* their low halves, modulo 2^16; unless block.narrow all unknown and not to be used */
  uint16_t live_before;   /* arithmetic flags whose values are needed at or after it */
  uint16_t live_after;
  bool callout; /* the monitor runs it; ends the block */
  bool ends;    /* last instruction of the block */
  bool leaves;  /* a conditional jump behind which the block goes on */
  bool uses_r11;
};

/* One check for several accesses (D2): host pointer to key + lo in `reg`, from step `check` to step `last`. */
struct window {
  struct address_key key;
  int32_t lo, hi;
  uint8_t check, first, last, count, reg, since;
  bool write, flags_live;
  bool invariant; /* of a loop onto the block's own start: checked before the loop, held through it */
};

struct cold { /* emitted after the hot code, and apart from it */
  enum { COLD_EXIT, COLD_ACCESS, COLD_PLAIN, COLD_JUMP, COLD_REFILL, COLD_STACK, COLD_CALL, COLD_TARGET, COLD_MIRROR } kind;
  uint32_t jump;  /* rel32 that leads here; 0: none */
  uint32_t jump2; /* more of them */
  uint32_t jump3, jump4;
  uint32_t odd;    /* COLD_ACCESS: one for an operand that is not aligned, which goes `back` if it lies in one page; 0: none */
  uint32_t back;   /* COLD_CALL, COLD_TARGET: the return site */
  uint32_t site;   /* index in the block's sites */
  int32_t pending; /* ESP change to commit first */
  uint16_t size;
  uint8_t seg;    /* COLD_ACCESS with `odd`: the TR_SEG_REAL whose limit it may exceed, or SEG_NONE */
  uint8_t saved;  /* enum saved_flags at the check */
  uint32_t start; /* code offset, once emitted */
  uint8_t addend; /* COLD_REFILL, COLD_STACK: the register, and whether it wants a write entry */
  bool write;
  struct host_mem at; /* COLD_MIRROR: the operand */
};
enum saved_flags { SAVED_NONE, SAVED_R11, SAVED_MEMORY };

struct block {
  const struct tr_request *rq;
  struct tr_result *result;
  struct host_code code; /* the hot code, then the cold stubs */
  uint8_t *exit_jump;    /* the last JMP to the exit stub: later exits near it jump there; NULL: none yet */
  struct step steps[TR_MAX_INSNS];
  unsigned n;
  struct window windows[MAX_WINDOWS];
  unsigned window_count;
  uint8_t busy[2][TR_MAX_INSNS]; /* R10, R11 held by a window at step i */
  struct cold cold[TR_MAX_SITES];
  unsigned cold_count;
  unsigned site_count;
  bool too_many;   /* ran out of sites or cold stubs: try again with fewer instructions */
  int32_t pending; /* guest ESP - R15 while emitting */
  uint32_t at;     /* guest offset of the step being emitted */
  unsigned index;
  unsigned conditions; /* IF_* of op_kinds.h that the mode fulfils */
  bool self_loop;      /* the last instruction may jump to the first */
  bool narrow;         /* 16-bit code or stack: low halves of registers are followed */
  bool stack16;        /* SS.B is clear: the stack pointer is the low half of R15 */
  uint32_t loop_entry; /* code offset behind the checks of invariant windows */
};

static inline struct step *block_step(struct block *b) { return &b->steps[b->index]; } /* the one being emitted */
static inline bool block_option(const struct block *b, unsigned bit) { return b->rq->options & bit; }
static inline bool block_mode(const struct block *b, uint64_t bit) { return b->rq->mode.bits & bit; }
/* plan.c */
void plan_block(struct block *b);
/* STD, or CLD while DF is set: the mode after it is another */
bool plan_changes_direction(const struct block *b, const struct insn *insn);
/* May ESP stand for a value in a window's address? Not as an index, and of a 16-bit stack only its low half. */
bool plan_esp_holds(const struct block *b, bool narrow, bool index);
bool plan_stack_inline(const struct block *b);      /* stack instructions are emitted inline in this mode */
unsigned plan_stack_bytes(const struct insn *insn); /* that it pushes, pops or, of a far pointer, both words together */
bool plan_shadows(const struct insn *insn);         /* holds interrupts back from the next: STI, loads of SS */
uint32_t plan_target(const struct block *b, uint32_t at, const struct insn *insn); /* EIP of a relative jump at block offset at */

/* access.c */
/* Emits the check of one access of the current step (unless a window covers it) and returns the host operand. Clobbers R8, R9;
 * flags are kept when they are live. The linear address is that of the ModRM operand, or of the stack slot at guest ESP +
 * stack_offset. */
struct host_mem access_mem(struct block *b);
struct host_mem access_bit(struct block *b); /* BT m,r and its like; the rest of the bit offset is in R9 */
struct host_mem access_stack(struct block *b, int32_t stack_offset);
void access_at_register(struct block *b, unsigned reg, unsigned size, unsigned access);
/* The check of segment:offset, the offset of the instruction's address size in register `reg`: the host operand is [R9 + R8]. */
void access_in_segment(struct block *b, unsigned seg, unsigned reg, unsigned size, unsigned access);
/* A segment register's members; dst += its base, by R9 (dst is another register). */
struct host_mem access_segment_base(unsigned seg);
struct host_mem access_segment_limit(unsigned seg);
struct host_mem access_segment_selector(unsigned seg);
void access_page_number(struct block *b, unsigned dst, unsigned src);               /* dst = src >> 12; flags are free */
void access_page_number_keeping_flags(struct block *b, unsigned dst, unsigned src); /* R11 is free */
void access_forget_addends(struct block *b);
void access_cold_stack(struct block *b, const struct cold *k, uint32_t fail);
void access_cold_refill(struct block *b, const struct cold *k, unsigned given_up);
/* those whose check belongs before the current step; or before the loop */
void access_window_checks(struct block *b, bool invariant);
/* Is the access (ACC_*) one in the mirror, which needs no check? */
bool access_mirrored(const struct block *b, const struct step *s, unsigned which);
/* The shadow entry of the page whose number is in register `page`; the half of a page's fetch entry that holds its frame, + 1. */
struct host_mem access_shadow_entry(unsigned page, bool write);
struct host_mem access_fetch_frame(uint32_t page);
void access_flush_base(struct block *b);                      /* before an address that is computed from ESP */
void access_effective_address(struct block *b, unsigned dst); /* offset in the segment, address size applied; touches no flag */
enum saved_flags access_save_flags(struct block *b);
void access_restore_flags(struct block *b, enum saved_flags saved);

/* copy.c */
/* The instruction itself with its memory operand replaced by *m (NULL: it has none). Records a fault site when the host may
 * fault. */
void copy_insn(struct host_code *c, const struct insn *insn, const struct host_mem *m, uint32_t *host_at);
bool copy_may_fault(const struct insn *insn);
/* Is RDI borrowed for its address, which ESP is in, or R8 altogether, beside one of AH to BH? */
bool copy_borrows(const struct insn *insn, bool by_r8);
unsigned copy_opcode(const struct insn *insn); /* HO_*: the instruction's own, with its prefixes but for REP */
unsigned copy_size(const struct insn *insn);   /* HO_16 where its operands have 16 bits, else 0 */

/* block.c */
unsigned block_site(struct block *b, enum tr_site_kind kind); /* index in the request's sites */
unsigned block_callout_site(struct block *b);                 /* one at which the monitor runs the current instruction */
struct cold *block_cold(struct block *b, int kind, uint32_t jump, unsigned site);
/* ESP moves by `change`: folded into the displacements of what follows, until R15 is brought up to date. */
void block_move_esp(struct block *b, int32_t change);
void block_flush_esp(struct block *b); /* clobbers R9 where SS is of 16 bits */
void block_add_esp(struct block *b, int32_t n);
void block_exit_here(struct block *b, unsigned site); /* PUSH site number; JMP exit */
/* The exit of a call whose target the monitor finds: its return address is pushed all the same. */
void block_cold_call(struct block *b, const struct cold *k);
void block_cold_stubs(struct block *b); /* all of them, into b->code */

/* branch.c */
void branch_jump(struct block *b, uint32_t target); /* leaves the block for EIP target */
void branch_conditional(struct block *b, unsigned cc, uint32_t target);
bool branch_chains_freely(const struct block *b, uint32_t eip); /* no page's mapping has to be compared */
void branch_cold_target(struct block *b, const struct cold *k);
void branch_indirect(struct block *b);       /* to the EIP in R8 */
void branch_safepoint(struct block *b);      /* before the current instruction */
void branch_time_safepoint(struct block *b); /* right before RDTSC, in steps too; RAX holds the flags, R11 the guest's EAX */
/* before the current instruction, if the one behind it ends the block by a jump that wants one and is fused with it */
void branch_early_safepoint(struct block *b);
void branch_irq_check(struct block *b); /* after the current instruction, at the next */

/* stack.c */
/* CS of real mode and V86 becomes the selector in `reg`, of which nothing is left, nor of R10. No flags. */
void stack_load_cs(struct block *b, unsigned reg);
void stack_load_cs_imm(struct block *b, uint16_t selector);

/* emit.c, stack.c, strings.c, branch.c: the inline code of the current step, a function for the kinds that name it in op_kinds.h.
 */
void emit_callout(struct block *b);
#define EMIT_INLINE(kind, run, emit, ...) void emit_##emit(struct block *b);
#define EMIT_CALLOUT(...)
OP_KINDS(EMIT_INLINE, EMIT_CALLOUT)
#undef EMIT_INLINE
#undef EMIT_CALLOUT
