/* Random streams. Two kinds of case:
 *
 *  - A subject, which is every row of the table in turn with the operands that tests/isa makes for it (boundary values, memory
 *  that faults, crosses
 *    pages or is read-only, prefixes), with instructions before it that leave alone what it needs, and behind it.
 *  - A free stream of up to 24 pieces: rows of one pool and now and then of another, addresses that are computed from unknown
 *  values, forward
 *    branches and loops, code that changes itself; with frames, calls and returns where the reference runs those.
 *
 * What is known of registers is followed while code is made, so that addresses mean something (sequence.h); undefined flags are
 * never read. */
#include "fuzz.h"
#include <string.h>

static bool chance(struct sequence *q, unsigned percent) { return random_chance(&q->m.random, percent); }
static uint32_t below(struct sequence *q, uint32_t n) { return random_below(&q->m.random, n); }

/* ---- rows ------------------------------------------------------------------------------------------------------ */

static enum pool_kind pool_of(const struct opcode_row *row) {
  switch ((enum fpu_need)row->fpu) {
  case FPU_X87:
  case FPU_WAIT: return POOL_X87;
  case FPU_MMX: return POOL_MMX;
  case FPU_SSE: return POOL_SSE;
  default: return POOL_INTEGER;
  }
}

void stream_choose_rows(struct stream_rows *to, const struct reference *r) {
  unsigned count;
  const struct opcode_row *rows = insn_rows(&count);
  memset(to, 0, sizeof *to);
  to->stack = reference_kind(r) != REFERENCE_NATIVE64;
  for (unsigned i = 0; i < count; i++) {
    if (row_left_out(&rows[i]) || reference_row_left_out(r, &rows[i])) continue;
    to->all[to->all_count++] = &rows[i];
    enum pool_kind pool = pool_of(&rows[i]);
    if (sequence_takes(&rows[i])) to->pool[pool][to->pool_count[pool]++] = &rows[i];
  }
}

/* ---- pieces ---------------------------------------------------------------------------------------------------- */

struct stream {
  struct sequence q;
  const struct stream_rows *rows;
  enum pool_kind pool; /* most of the stream is of it */
};

static void add_drawn(struct stream *s) {
  enum pool_kind pool = chance(&s->q, 75) ? s->pool : below(&s->q, POOL_COUNT);
  for (unsigned i = 0; i < 8; i++) {
    const struct opcode_row *row = s->rows->pool[pool][below(&s->q, s->rows->pool_count[pool])];
    bool divides = row->map == 0 && (row->opcode == 0xf6 || row->opcode == 0xf7) && row->reg >= 6;
    if (divides && chance(&s->q, 85)) continue; /* they mostly end the case */
    if (sequence_add_row(&s->q, row, 50)) return;
  }
}

/* AND r, mask; op r2, [r + data]: an address that depends on what ran before. */
static void add_masked(struct stream *s) {
  static const uint8_t opcodes[] = {0x00, 0x01, 0x02, 0x03, 0x09, 0x0b, 0x11, 0x13, 0x19, 0x1b, 0x21, 0x28, 0x29,
                                    0x2b, 0x31, 0x33, 0x38, 0x39, 0x3b, 0x85, 0x87, 0x88, 0x89, 0x8a, 0x8b};
  static const uint16_t masks[] = {0x1fff, 0x1ffc, 0x1ff0, 0xffc, 0xff0, 0x7ff};
  struct sequence *q = &s->q;
  unsigned base = below(q, 8), mask = RANDOM_OF(&q->m.random, masks), reg = below(q, 8);
  uint32_t at = q->m.c->region + (chance(q, 10) ? below(q, DATA_SIZE - 2 * PAGE) : 0);
  if (base == REG_ESP || base == reg || (q->held >> base & 1)) return;
  if (ADD(q, 0x81, 0xe0 | base, IMM32(mask))) ADD(q, RANDOM_OF(&q->m.random, opcodes), 0x80 | reg << 3 | base, IMM32(at));
}

/* An instruction with an immediate of four bytes that a store may change; returns where the immediate is, or 0. */
static uint32_t add_target(struct sequence *q, unsigned *reg) {
  static const uint8_t regs[] = {REG_EAX, REG_ECX, REG_EDX, REG_EBX, REG_EBP, REG_ESI, REG_EDI};
  uint32_t value = value_integer(&q->m.random);
  *reg = RANDOM_OF(&q->m.random, regs);
  bool added = chance(q, 40)   ? ADD(q, 0xb8 | *reg, IMM32(value))
               : chance(q, 50) ? ADD(q, 0x81, 0xc0 | below(q, 8) << 3 | *reg, IMM32(value))
                               : ADD(q, 0x69, 0xc0 | *reg << 3 | *reg, IMM32(value));
  return added ? sequence_here(q) - 4 : 0;
}

/* A store into the immediate of an instruction further on. */
static void add_self_change(struct stream *s) {
  struct sequence *q = &s->q, before = *q;
  struct isa_case *c = q->m.c;
  unsigned size = c->code_size, reg, kind = below(q, 3);
  uint32_t value = value_integer(&q->m.random);
  if (q->held || sequence_is_full(q)) return;
  if (kind == 0) RAW(q, 0xc6, 0x05, IMM32(0u), (uint8_t)value);
  else if (kind == 1) RAW(q, 0xc7, 0x05, IMM32(0u), IMM32(value));
  else RAW(q, 0x89, 0x05 | below(q, 8) << 3, IMM32(0u));
  unsigned hole = size + 2;
  for (unsigned n = below(q, 4); n; n--) add_drawn(s);
  uint32_t at = add_target(q, &reg);
  if (!at) {
    *q = before, c->code_size = size;
    return;
  }
  value_store(c->code + hole, kind == 0 ? at + below(q, 4) : at, 4);
  sequence_forget(q, reg);
}

/* A loop whose body changes its own immediate: MOV ECX, n; top: op r, imm; ADD dword [imm], k; DEC ECX; JNZ top. */
static void add_changing_loop(struct stream *s) {
  struct sequence *q = &s->q;
  if (q->held || (q->tainted & FLAG_CF) || sequence_is_full(q) || (q->frozen >> REG_ECX & 1)) return;
  unsigned r = chance(q, 50) ? REG_EAX : REG_EBX, op = (unsigned)(uint8_t[]){0, 1, 4, 5, 6}[below(q, 5)];
  RAW(q, 0xb9, IMM32(2 + below(q, 6)));
  uint32_t top = sequence_here(q);
  RAW(q, 0x81, 0xc0 | op << 3 | r, IMM32(value_integer(&q->m.random)));
  uint32_t at = sequence_here(q) - 4;
  RAW(q, 0x81, 0x05, IMM32(at), IMM32(below(q, 9) * 0x01010101u));
  RAW(q, 0x49, 0x75, (uint8_t)(top - (sequence_here(q) + 3)));
  q->tainted = 0;
  sequence_forget(q, r), sequence_know(q, REG_ECX, 0);
}

static void add_piece(struct stream *s) {
  unsigned kind = below(&s->q, 100);
  if (kind < 58) add_drawn(s);
  else if (kind < 74) sequence_add_simple(&s->q);
  else if (kind < 82) add_masked(s);
  else if (kind < 92) sequence_add_structure(&s->q);
  else if (kind < 98) add_self_change(s);
  else add_changing_loop(s);
}

/* ---- the two kinds --------------------------------------------------------------------------------------------- */

/* What the flags' definedness comes to, and what a choice about one instruction means for a whole stream. */
static void finish(struct isa_case *c) {
  struct listing l;
  uint32_t at_end, ever;
  listing_make(&l, c);
  if (!listing_follow_flags(&l, &at_end, &ever)) at_end = ever = FLAGS_ARITH;
  c->flags_compared &= ~at_end, c->fault_flags &= ~ever;
  for (unsigned i = 0; i < l.count; i++) {
    const struct insn *insn = &l.list[i].insn;
    if (c->eflags & FLAG_AC && case_has_ac_choice(insn->row)) c->ac_choice = true, c->subject = 0;
    c->rep_flags_choice |= insn->rep && (insn->kind == OP_CMPS || insn->kind == OP_SCAS);
  }
}

static void make_free(struct stream *s) {
  struct sequence *q = &s->q;
  struct isa_case *c = q->m.c;
  case_start(c, &q->m.random, chance(q, 15) ? DATA_HIGH : DATA_LOW);
  c->is_sequence = c->fault_top_ignored = true, c->subject = 0;
  case_set_name(c, "stream");
  static const int uses[POOL_COUNT] = {FX_FOR_NONE, FX_FOR_X87, FX_FOR_X87, FX_FOR_SSE};
  case_set_default_state(&q->m, chance(q, 40) ? uses[s->pool] : FX_FOR_NONE);
  c->eflags &= ~(uint32_t)(chance(q, 85) ? FLAG_AC : 0);
  q->down = c->eflags & FLAG_DF;
  c->code_at = chance(q, 12) ? CODE_AT + PAGE - below(q, 90) : CODE_AT + 0x80 + below(q, PAGE - 0x280);
  c->start = c->code_at;
  sequence_set_pointers(q);
  for (unsigned n = 1 + below(q, 24); n && !sequence_is_full(q); n--) add_piece(s);
  if (q->returns) {
    c->may_stray = true;
    memset(c->code + c->code_size, 0x90, 15), c->code_size += 15;
  }
  c->exit_at[0] = sequence_here(q);
}

/* Instructions before the subject that leave alone what it reads. */
static void add_prefix(struct stream *s, const struct insn *subject) {
  struct sequence *q = &s->q;
  struct isa_case *c = q->m.c;
  uint8_t bytes[16];
  unsigned size = c->code_size;
  if (c->code_at < CODE_AT + 0x80 || size > sizeof bytes || c->eflags & FLAG_TF) return;
  memcpy(bytes, c->code, size);
  struct sequence before = *q;
  c->code_size = 0;
  q->no_stack = q->no_stores = true;
  q->frozen = subject->regs_read | 1 << REG_ESP;
  for (unsigned n = 1 + below(q, 5); n && c->code_size < 24; n--) add_drawn(s);
  bool spoilt = (q->tainted & subject->flags_read) || c->code_size > 40;
  if (spoilt) *q = before, c->code_size = 0;
  else c->code_at -= c->code_size, c->start = c->code_at;
  memcpy(c->code + c->code_size, bytes, size);
  c->code_size += size;
  q->no_stores = false, q->frozen = 0, q->no_stack = !s->rows->stack;
}

/* Whether what the subject leaves behind is defined, and known well enough to go on. */
static bool can_go_on(const struct isa_case *c, const struct insn *i) {
  switch ((enum op_kind)i->kind) {
  case OP_UD:
  case OP_POPF:
  case OP_IRET:
  case OP_MOV_TO_SEG:
  case OP_POP_SEG:
  case OP_LOAD_FAR:
  case OP_LAR:
  case OP_FNSTENV:
  case OP_FNSAVE:
  case OP_FXSAVE:
  case OP_JMP_IND:
  case OP_JMP_REL:
  case OP_JMP_FAR_IMM:
  case OP_JMP_FAR_MEM:
  case OP_CALL_FAR_IMM:
  case OP_CALL_FAR_MEM:
  case OP_RETF: return false;
  default: break;
  }
  bool stack = (i->regs_written >> REG_ESP & 1) && i->kind != OP_PUSH_REG && i->kind != OP_PUSH_IMM && i->kind != OP_PUSH_MEM &&
               i->kind != OP_PUSHF;
  uint32_t end = c->code_at + c->code_size;
  return !stack && !c->ignored_count && c->exit_at[0] == end && end + 0x100 < CODE_END && !(c->eflags & FLAG_TF) &&
         c->gpr[REG_ESP] - c->region < DATA_SIZE;
}

static void add_suffix(struct stream *s, const struct insn *subject) {
  struct sequence *q = &s->q;
  struct isa_case *c = q->m.c;
  unsigned most = c->exit_at[1] > c->code_at ? 40 : 120;
  if (!can_go_on(c, subject)) return;
  if (!sequence_follow(q, subject))
    for (unsigned r = 0; r < 8; r++)
      if (subject->regs_written >> r & 1) sequence_forget(q, r);
  q->tainted = (uint16_t)((q->tainted & ~subject->flags_written) | subject->flags_undefined);
  unsigned limit = c->code_size + most - 16;
  for (unsigned n = 1 + below(q, 8); n && c->code_size < limit; n--) {
    struct sequence before = *q;
    unsigned size = c->code_size;
    add_drawn(s);
    if (c->code_size > limit) *q = before, c->code_size = size;
  }
  c->exit_at[0] = sequence_here(q);
}

static void make_around(struct stream *s, uint64_t seed, uint32_t number, const struct opcode_row *row) {
  struct sequence *q = &s->q;
  struct isa_case *c = q->m.c;
  struct insn subject;
  const struct insn_mode mode = {.code32 = true, .features = guest_features()};
  single_make(c, seed, number, row, true);
  if (insn_decode(&subject, c->code, c->code_size, mode) != INSN_OK) return; /* cut by the end of the code pages */
  for (unsigned r = 0; r < 8; r++) q->m.reg_state[r] = REG_FIXED, q->m.now[r] = c->gpr[r];
  q->down = c->eflags & FLAG_DF;
  if (q->m.now[REG_ESP] - c->region >= DATA_SIZE) return;
  unsigned alone = c->code_size;
  if (chance(q, 55)) add_prefix(s, &subject);
  if (chance(q, 60)) add_suffix(s, &subject);
  if (c->code_size == alone) return;
  c->fault_flags = FLAGS_ARITH;
  finish(c);
}

void stream_make(struct isa_case *c, uint64_t seed, uint32_t number, const struct stream_rows *rows) {
  struct stream s = {
    .q =
      {.m = {.random = random_start(seed, 0xf0220000000000ull + number), .c = c, .tame = true, .flat = true, .wide_only = true}},
    .rows = rows};
  s.pool = chance(&s.q, 55) ? POOL_INTEGER : below(&s.q, POOL_COUNT);
  s.q.no_stack = !rows->stack;
  s.q.rows = rows->pool[s.pool], s.q.row_count = rows->pool_count[s.pool];
  if (number % 3 == 0) {
    const struct opcode_row *row = rows->all[number / 3 % rows->all_count];
    s.pool = chance(&s.q, 60) ? pool_of(row) : s.pool;
    make_around(&s, seed, number, row);
  } else {
    make_free(&s);
    finish(c);
  }
  c->number = number;
}
