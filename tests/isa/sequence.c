/* Cases of several instructions: what windows, hoisted checks, ESP folding, flag liveness, inlined strings, chains and returns
 * are about.
 *
 * The maker follows which registers hold a known value (REG_FIXED) and makes addresses of those alone, so that no access goes
 * astray on the host. An instruction that would spoil that - ESP unknown, an undefined flag read - is taken back. Tainted flags
 * are those without a defined value. */
#include "sequence.h"
#include <string.h>

static bool chance(struct sequence *q, unsigned percent) { return random_chance(&q->m.random, percent); }
static uint32_t below(struct sequence *q, uint32_t n) { return random_below(&q->m.random, n); }
static struct isa_case *of(struct sequence *q) { return q->m.c; }
static uint32_t here(struct sequence *q) { return sequence_here(q); }
static bool known(const struct sequence *q, unsigned reg) { return sequence_knows(q, reg); }
static bool full(struct sequence *q) { return sequence_is_full(q); }

/* ---- single instructions --------------------------------------------------------------------------------------- */

static unsigned size_of_memory(const struct opcode_row *row) {
  static const uint8_t bytes[SZ_COUNT] = {[SZ_B] = 1, [SZ_W] = 2, [SZ_D] = 4, [SZ_Q] = 8, [SZ_DQ] = 16, [SZ_T] = 10, [SZ_V] = 4};
  for (unsigned i = 0; i < 3; i++) {
    unsigned class = row_operand(row, i)->class;
    if (class == OC_GPR_MEM || class == OC_MEM || class == OC_MMX_MEM || class == OC_XMM_MEM || class == OC_ADDRESS)
      return bytes[row_operand(row, i)->width];
  }
  return 4;
}

static void draw_memory(struct sequence *q, struct encoding *e) {
  unsigned size = size_of_memory(e->row), field = e->modrm & 0x38;
  struct address a = maker_address(&q->m, maker_target(&q->m, size ? size : 4), size ? size : 4);
  e->modrm = a.modrm | (uint8_t)field;
  e->sib = a.sib, e->has_sib = a.has_sib;
  e->disp = a.disp, e->disp_size = a.disp_size;
  e->address16 = a.small, e->override = a.override;
}

/* Does it like pointers for a destination? Mostly others are taken, so that addresses last. */
static unsigned draw_field(struct sequence *q) {
  unsigned r = below(q, 8);
  for (unsigned i = 0; i < 3 && known(q, r) && chance(q, 80); i++) r = below(q, 8);
  return r;
}

bool sequence_add_row(struct sequence *q, const struct opcode_row *row, unsigned memory_percent) {
  struct encoding e = {.row = row};
  uint8_t bytes[16];
  bool free66 =
    row->size_form == SIZE_EFFECTIVE && (row->prefix == PREFIX_ANY || row->prefix == PREFIX_NO_REP || row->prefix >= 0xf2);
  e.operand16 = free66 && chance(q, 10);
  if (row->modrm) {
    bool memory = row->mod3 == 0 || (row->mod3 < 0 && chance(q, memory_percent));
    e.has_modrm = true;
    e.modrm = (uint8_t)((row->reg >= 0 ? (unsigned)row->reg : draw_field(q)) << 3);
    if (memory) draw_memory(q, &e);
    else e.modrm |= (uint8_t)(0xc0 | (row->rm >= 0 ? (unsigned)row->rm : draw_field(q)));
    e.lock = memory && row->lock && chance(q, 4);
  }
  e.imm_size = encode_imm_size(row, e.operand16, false);
  for (unsigned i = 0; i < 8; i += 4) value_store(e.imm + i, value_integer(&q->m.random), 4);
  if (row->kind == OP_MOV_MOFFS) value_store(e.imm, maker_target(&q->m, 4), 4);
  if (row->count == COUNT_IMM && chance(q, 80)) e.imm[e.imm_size - 1] &= 31;
  return sequence_add(q, bytes, encode(&q->m, &e, bytes));
}

bool sequence_takes(const struct opcode_row *row) {
  if (row->map == 1 && row->opcode == 0x0d) return false; /* PREFETCHW of a register: CPUs differ */
  switch ((enum op_kind)row->kind) {
  case OP_COPY:
  case OP_LEA:
  case OP_NOP:
  case OP_INCDEC_REG:
  case OP_MOV_MOFFS:
  case OP_BCD:
  case OP_PUSH_REG:
  case OP_PUSH_IMM:
  case OP_PUSH_MEM:
  case OP_PUSHF:
  case OP_POP_REG:
  case OP_MOV_FROM_SEG:
  case OP_MOVS:
  case OP_STOS:
  case OP_LODS:
  case OP_CMPS:
  case OP_SCAS: return true;
  default: return false;
  }
}

static bool is_string(unsigned kind) { return kind >= OP_MOVS && kind <= OP_OUTS; }
static bool rare(const struct opcode_row *row) { /* FP state is seldom what sequences are about; divisions mostly end them */
  bool divides = row->map == 0 && (row->opcode == 0xf6 || row->opcode == 0xf7) && row->reg >= 6;
  return row->fpu != FPU_NONE || divides;
}

static bool add_random(struct sequence *q) {
  for (unsigned i = 0; i < 40; i++) {
    const struct opcode_row *row = q->rows[below(q, q->row_count)];
    if (is_string(row->kind) || (rare(row) && chance(q, 85))) continue;
    if (sequence_add_row(q, row, 60)) return true;
  }
  return false;
}

/* The instructions that windows are made of: MOV, ADD, CMP, TEST with a base register. */
static bool add_plain(struct sequence *q) {
  static const uint8_t opcodes[] = {0x01, 0x03, 0x29, 0x2b, 0x39, 0x3b, 0x85, 0x88, 0x89, 0x89,
                                    0x8a, 0x8b, 0x8b, 0x81, 0x83, 0xc7, 0x11, 0x13, 0xff};
  unsigned opcode = RANDOM_OF(&q->m.random, opcodes);
  const struct opcode_row *row = opcode_find(0, opcode, opcode == 0xff || opcode == 0xc7 ? 0 : below(q, 8) << 3, 0);
  return sequence_add_row(q, row, 80);
}

static bool add_stack(struct sequence *q) {
  unsigned r = below(q, 8);
  switch (below(q, 6)) {
  case 0:
  case 1: return ADD(q, 0x50 + r);
  case 2: return ADD(q, 0x58 + r);
  case 3: return ADD(q, 0x68, IMM32(value_integer(&q->m.random)));
  case 4: return ADD(q, 0x6a, (uint8_t)below(q, 256));
  default: return sequence_add_row(q, opcode_find(0, 0xff, 6 << 3, 0), 100);
  }
}

/* Pointers moved by constants. */
static bool add_pointer(struct sequence *q) {
  unsigned r = below(q, 8), by = below(q, 12) * (chance(q, 70) ? 4 : 1), down = below(q, 2);
  if (!known(q, r)) return false;
  switch (below(q, 6)) {
  case 0: return ADD(q, (down ? 0x48 : 0x40) + r);
  case 1: return ADD(q, 0x83, 0xc0 | down * 5 << 3 | r, (uint8_t)by);
  case 2: return ADD(q, 0x8d, 0x44 | r << 3, 0x20 | r, (uint8_t)by); /* LEA r,[r+by] with a SIB, which ESP needs */
  case 3: return ADD(q, 0x8b, 0xc0 | (unsigned)(uint8_t[]){REG_EBX, REG_EBP, REG_ESI, REG_EDI}[below(q, 4)] << 3 | r);
  case 4: return ADD(q, 0x83, 0xc0 | down * 5 << 3 | REG_ESP, (uint8_t)(by & ~3u));
  default:
    return ADD(q, 0x8d, 0x44 | (unsigned)(uint8_t[]){REG_EBX, REG_EBP, REG_ESI, REG_EDI}[below(q, 4)] << 3, 0x20 | r,
               (uint8_t)by);
  }
}

static bool in_data(struct sequence *q, unsigned reg) { return known(q, reg) && q->m.now[reg] - of(q)->region < DATA_SIZE; }

static bool add_string(struct sequence *q) {
  static const uint8_t opcodes[] = {0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf};
  unsigned opcode = RANDOM_OF(&q->m.random, opcodes);
  bool source = opcode <= 0xa7 || opcode == 0xac || opcode == 0xad, target = opcode < 0xac || opcode > 0xad;
  of(q)->rep_flags_choice |= opcode == 0xa6 || opcode == 0xa7 || opcode >= 0xae;
  if ((source && !in_data(q, REG_ESI)) || (target && !in_data(q, REG_EDI))) return false;
  if (!chance(q, 50) || q->held || q->no_stack) return chance(q, 15) ? ADD(q, 0x66, opcode) : ADD(q, opcode);
  struct sequence before = *q;
  unsigned size = of(q)->code_size;
  if (ADD(q, 0xb9, IMM32(below(q, 20))) && ADD(q, opcode >= 0xa6 && chance(q, 50) ? 0xf2 : 0xf3, opcode)) return true;
  *q = before, of(q)->code_size = size;
  return false;
}

static bool add_flags(struct sequence *q) {
  uint32_t image = (random_32(&q->m.random) & (FLAGS_ARITH | FLAG_ID)) | (q->down ? FLAG_DF : 0) | FLAG_IF | 2;
  if (q->no_stack) return false;
  switch (below(q, 4)) {
  case 0: return ADD(q, 0x9c);
  case 1: return !(q->tainted) && ADD(q, 0x9c) && add_plain(q) && ADD(q, 0x58 + below(q, 4));
  case 2: return ADD(q, q->down ? 0xfc : 0xfd);
  default: /* PUSH imm; POPF */
    RAW(q, 0x68, IMM32(image), 0x9d);
    q->tainted = 0;
    return true;
  }
}

static bool draw_simple(struct sequence *q) {
  unsigned kind = below(q, 100);
  if (kind < 30) return add_random(q);
  if (kind < 62) return add_plain(q);
  if (kind < 82) return q->no_stack ? add_plain(q) : add_stack(q);
  if (kind < 92) return add_pointer(q);
  if (kind < 97) return add_string(q);
  return add_flags(q);
}

void sequence_add_simple(struct sequence *q) { draw_simple(q); }

static void add_some(struct sequence *q, unsigned most) {
  for (unsigned n = below(q, most + 1); n && !full(q); n--) sequence_add_simple(q);
}

/* ---- structures ------------------------------------------------------------------------------------------------ */

/* What is known whichever way was taken. */
static void merge(struct sequence *q, const struct sequence *other) {
  for (unsigned r = 0; r < 8; r++)
    if (!known(q, r) || other->m.reg_state[r] != REG_FIXED || q->m.now[r] != other->m.now[r]) sequence_forget(q, r);
  q->tainted |= other->tainted;
}

static uint16_t condition_flags(unsigned cc) {
  static const uint16_t flags[8] = {FLAG_OF, FLAG_CF, FLAG_ZF,           FLAG_CF | FLAG_ZF,
                                    FLAG_SF, FLAG_PF, FLAG_SF | FLAG_OF, FLAG_SF | FLAG_OF | FLAG_ZF};
  return flags[cc >> 1];
}

/* Jcc over one to three instructions, with a short or a near displacement. */
static void add_skip(struct sequence *q) {
  unsigned cc = below(q, 16), length = chance(q, 60) ? 2 : 6;
  if (condition_flags(cc) & q->tainted) return;
  struct sequence before = *q;
  unsigned at = of(q)->code_size;
  if (length == 2) RAW(q, 0x70 + cc, 0);
  else RAW(q, 0x0f, 0x80 + cc, IMM32(0));
  q->flags_read |= condition_flags(cc);
  bool outer = q->no_stack;
  q->no_stack = true;
  add_some(q, 3);
  q->no_stack = outer;
  unsigned over = of(q)->code_size - at - length;
  if (length == 2) of(q)->code[at + 1] = (uint8_t)over;
  else value_store(of(q)->code + at + 2, over, 4);
  merge(q, &before);
}

static uint8_t known_registers(const struct sequence *q) {
  uint8_t set = 0;
  for (unsigned r = 0; r < 8; r++) set |= (uint8_t)(known(q, r) << r);
  return set;
}

/* MOV ECX, n; body; DEC ECX, JNZ or LOOP. */
static void add_loop(struct sequence *q) {
  struct sequence before = *q;
  unsigned size = of(q)->code_size, count = 2 + below(q, 3);
  if (q->held || q->no_stack || full(q) || !ADD(q, 0xb9, IMM32(count))) return;
  unsigned top = of(q)->code_size;
  struct sequence start = *q;
  q->held = known_registers(q), q->no_stack = true, q->ever_tainted = q->flags_read = 0;
  for (unsigned n = 1 + below(q, 3); n && !full(q); n--) sequence_add_simple(q);
  bool reads_undefined = (q->ever_tainted | start.tainted) & q->flags_read,
       counts = known(q, REG_ECX) && q->m.now[REG_ECX] == count;
  if (reads_undefined || !counts) { /* a second pass might see what the first left, or never end */
    *q = before, of(q)->code_size = size;
    return;
  }
  bool loop = chance(q, 40);
  if (loop) RAW(q, 0xe2, (uint8_t)(top - of(q)->code_size - 2));
  else RAW(q, 0x49, 0x75, (uint8_t)(top - of(q)->code_size - 3));
  if (!loop) q->tainted &= FLAG_CF;
  q->held = start.held, q->no_stack = start.no_stack, q->ever_tainted |= start.ever_tainted, q->flags_read |= start.flags_read;
  merge(q, &start);
  sequence_know(q, REG_ECX, 0);
}

/* PUSH EBP; MOV EBP, ESP; SUB ESP, n; ...; LEAVE - or ENTER. */
static void add_frame(struct sequence *q) {
  unsigned room = below(q, 8) * 4, state = q->m.reg_state[REG_EBP];
  uint32_t ebp = q->m.now[REG_EBP], esp = q->m.now[REG_ESP];
  if (q->no_stack || esp - 64 - of(q)->region >= DATA_SIZE) return;
  /* one that faults may have stored EBP */
  if (chance(q, 20)) RAW(q, 0xc8, (uint8_t)room, 0, 0), of(q)->fault_memory_ignored = true;
  else RAW(q, 0x55, 0x8b, 0xec, 0x83, 0xec, (uint8_t)room), q->tainted = 0;
  sequence_know(q, REG_EBP, esp - 4), q->m.now[REG_ESP] = esp - 4 - room;
  q->held = 1 << REG_EBP;
  add_some(q, 4);
  q->held = 0;
  bool moved = q->m.now[REG_EBP] != esp - 4;
  if (moved) RAW(q, 0x8d, 0xad, IMM32(esp - 4 - q->m.now[REG_EBP])); /* LEA EBP, [EBP + back] */
  RAW(q, 0xc9);
  q->m.reg_state[REG_EBP] = (uint8_t)state, q->m.now[REG_EBP] = ebp, q->m.now[REG_ESP] = esp;
  /* Its slot may have been written meanwhile. */
  sequence_forget(q, REG_EBP);
}

/* JMP over; F: body; RET; over: [arguments;] CALL F, direct, through a register, or through memory. */
static void add_call(struct sequence *q) {
  struct isa_case *c = of(q);
  unsigned arguments = below(q, 3);
  uint32_t esp = q->m.now[REG_ESP];
  if (q->no_stack || q->held || full(q) || esp - 64 - c->region >= DATA_SIZE) return;
  unsigned jump = c->code_size;
  RAW(q, 0xeb, 0);
  uint32_t function = here(q);
  q->m.now[REG_ESP] = esp - 4 * arguments - 4;
  q->no_stack = true, q->slot = esp - 4 * arguments - 4;
  add_some(q, 3);
  q->no_stack = false, q->slot = 0;
  q->returns = true;
  if (arguments) RAW(q, 0xc2, (uint8_t)(4 * arguments), 0);
  else RAW(q, 0xc3);
  c->code[jump + 1] = (uint8_t)(c->code_size - jump - 2);
  q->m.now[REG_ESP] = esp;
  for (unsigned i = 0; i < arguments; i++) RAW(q, 0x6a, (uint8_t)i);
  if (chance(q, 60)) RAW(q, 0xe8, IMM32(function - (here(q) + 5)));
  else if (chance(q, 50))
    RAW(q, 0x68, IMM32(function), 0xff, 0x14, 0x24, 0x83, 0xc4, 0x04), q->tainted = 0; /* PUSH F; CALL [ESP]; ADD ESP, 4 */
  else RAW(q, 0x68, IMM32(here(q) + 11), 0x68, IMM32(function), 0xc3);                 /* PUSH back; PUSH F; RET */
}

/* CALL next; POP r: position-independent code. PUSH next; RET. */
static void add_here(struct sequence *q) {
  unsigned r = (unsigned[]){REG_EAX, REG_ECX, REG_EDX, REG_EBX}[below(q, 4)];
  if (q->no_stack) return;
  if (chance(q, 60)) RAW(q, 0xe8, 0, 0, 0, 0, 0x58 + r), sequence_forget(q, r);
  else RAW(q, 0x68, IMM32(here(q) + 6), 0xc3);
}

void sequence_add_structure(struct sequence *q) {
  switch (below(q, 6)) {
  case 0:
  case 1: add_skip(q); break;
  case 2: add_loop(q); break;
  case 3: add_frame(q); break;
  case 4: add_call(q); break;
  default: add_here(q);
  }
}

/* ---- the state ------------------------------------------------------------------------------------------------- */

void sequence_set_pointers(struct sequence *q) {
  struct isa_case *c = of(q);
  uint32_t stack = c->region + STACK_PAGE * PAGE;
  unsigned kind = below(q, 100);
  uint32_t esp = kind < 70   ? stack + 0x400 + 4 * below(q, 0x500)
                 : kind < 92 ? stack + PAGE + 4 * below(q, 16) - 32
                             : stack + 4 * below(q, 16);
  if (chance(q, 4)) esp += 1 + below(q, 3);
  maker_fix(&q->m, REG_ESP, esp);
  for (unsigned r = 0; r < 8; r++) {
    if (r == REG_ESP) continue;
    bool pointer = chance(q, r == REG_EBX || r >= REG_EBP ? 70 : 12);
    maker_fix(&q->m, r,
              !pointer                        ? value_integer(&q->m.random)
              : r == REG_EBP && chance(q, 50) ? esp + 4 * below(q, 12)
                                              : maker_target(&q->m, 16));
    if (!pointer) sequence_forget(q, r);
  }
}

/* Another state for the same code: values anew, pointers shifted a little, so that checks meet other alignments and pages. */
static void vary_state(struct sequence *q, const struct sequence *start, unsigned state, uint64_t seed) {
  static const int8_t shifts[] = {0, 0, 4, -4, 1, 8, -8, 16, 64, -64, 2};
  struct random r = random_start(seed, 0x5ea7e + state);
  struct isa_case *c = of(q);
  if (!state) return;
  uint32_t shift = (uint32_t)RANDOM_OF(&r, shifts);
  for (unsigned i = 0; i < 8; i++) {
    if (start->m.reg_state[i] == REG_FIXED) c->gpr[i] += shift;
    else c->gpr[i] = value_integer(&r);
  }
  c->eflags = (c->eflags & ~(uint32_t)FLAGS_ARITH) | (random_32(&r) & FLAGS_ARITH);
}

void sequence_make(struct isa_case *c, uint64_t seed, uint32_t number, unsigned state, const struct opcode_row *const *rows,
                   unsigned row_count) {
  uint64_t stream = 0x5e9000000000ull + number;
  struct sequence q = {.m = {.random = random_start(seed, stream), .c = c, .tame = true, .flat = true, .wide_only = true},
                       .rows = rows,
                       .row_count = row_count};
  uint32_t region = DATA_LOW;
#ifndef __SANITIZE_ADDRESS__
  if (chance(&q, 15)) region = DATA_HIGH;
#endif
  case_start(c, &q.m.random, region);
  c->is_sequence = c->fault_top_ignored = true;
  case_set_name(c, "sequence");
  case_set_default_state(&q.m, FX_FOR_NONE);
  c->eflags &= ~(uint32_t)(chance(&q, 70) ? FLAG_AC : 0);
  q.down = c->eflags & FLAG_DF;
  c->code_at = CODE_AT + 0x80 + below(&q, PAGE - 0x280);
  if (chance(&q, 15)) c->code_at = CODE_AT + PAGE - below(&q, 60);
  c->start = c->code_at;
  sequence_set_pointers(&q);
  struct sequence start = q;
  for (unsigned n = 2 + below(&q, 11); n && !full(&q); n--)
    if (chance(&q, 22)) sequence_add_structure(&q);
    else sequence_add_simple(&q);
  unsigned cc = below(&q, 16);
  if (chance(&q, 25) && !(condition_flags(cc) & q.tainted)) {
    c->exit_at[1] = c->code_at - 0x20;
    RAW(&q, 0x0f, 0x80 + cc, IMM32(c->exit_at[1] - (here(&q) + 6)));
  }
  /* A return that went astray may end in the middle of the last instruction: what it then decodes is the same on both sides. */
  c->may_stray = q.returns;
  if (q.returns) memset(c->code + c->code_size, 0x90, 15), c->code_size += 15;
  c->exit_at[0] = here(&q);
  c->flags_compared &= ~(uint32_t)q.tainted;
  c->fault_flags &= ~(uint32_t)q.ever_tainted;
  vary_state(&q, &start, state, seed ^ stream);
}
