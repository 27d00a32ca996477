/* Planning a block: decodes it, finds which flags are live where, follows registers that change by constants, and decides which
 * accesses share a window and where its check goes (D2). Emits nothing. */
#include "block.h"
#include <stdlib.h>

bool plan_stack_inline(const struct block *b) {
  return tr_seg_class(b->rq->mode, SEG_SS) != TR_SEG_SLOW && !block_mode(b, TR_WATCH);
}

bool plan_esp_holds(const struct block *b, bool narrow, bool index) { return !index && (narrow || !b->stack16); }

bool plan_shadows(const struct insn *insn) {
  return insn->kind == OP_STI || ((insn->kind == OP_MOV_TO_SEG || insn->kind == OP_POP_SEG) && insn->sreg == SEG_SS);
}

enum { MOST_FRAME = 2048 /* bytes that an inline ENTER looks at */ };

static bool reads_far_pointer(unsigned kind) { return kind == OP_LOAD_FAR || kind == OP_JMP_FAR_MEM || kind == OP_CALL_FAR_MEM; }

static bool is_frame(unsigned kind) { return kind_has(kind, KIND_FRAME); }

/* What the instruction's inline code adds to ESP, but for ENTER, LEAVE and returns. */
static int stack_change(const struct insn *insn) { return op_kind_infos[insn->kind].stack * (int)insn->operand_size; }

unsigned plan_stack_bytes(const struct insn *insn) {
  switch (insn->kind) {
  case OP_RETF: return 2u * insn->operand_size;
  case OP_IRET: return 3u * insn->operand_size;
  case OP_ENTER: return insn->operand_size + (insn->imm & 0xffff); /* all of the frame: it is looked at to its end */
  default: return is_frame(insn->kind) ? (unsigned)abs(stack_change(insn)) : insn->operand_size;
  }
}

/* A 16-bit operand size cuts EIP to 16 bits (SDM vol. 2, Jcc, JMP, CALL). */
uint32_t plan_target(const struct block *b, uint32_t at, const struct insn *insn) {
  uint32_t target = b->rq->eip + at + insn->length + (uint32_t)insn->rel;
  return insn->operand_size == 2 ? target & 0xffff : target;
}

static bool mode_allows_memory(const struct block *b, const struct insn *insn) {
  if (insn->seg == SEG_CS && (insn->access & ACCESS_W) && !block_mode(b, TR_REAL | TR_V86)) return false; /* #GP */
  return !block_mode(b, TR_WATCH) && tr_seg_class(b->rq->mode, insn->seg) != TR_SEG_SLOW;
}

/* x87/SSE use that CR0 and CR4 make a fault (SDM vol. 3A, 2.5): the monitor raises it. */
static bool fpu_faults(const struct block *b, const struct insn *insn) {
  if (block_mode(b, TR_NO_FP)) return insn->row->fpu != FPU_NONE;
  bool em = block_mode(b, TR_EM), ts = block_mode(b, TR_TS), mp = block_mode(b, TR_MP);
  switch (insn->row->fpu) {
  case FPU_NONE: return false;
  case FPU_WAIT: return mp && ts;
  case FPU_SSE: return em || ts || !block_mode(b, TR_OSFXSR);
  default: return em || ts;
  }
}

/* On flat segments: single ones, and but for LODS REP loops that go up, as far as one page a side goes. Others run page-wise in
 * the monitor. So do comparisons where every flag counts: one that faults shows the flags of before the instruction (SDM vol. 2,
 * REP), and those are gone behind the first page. */
static bool string_inline(const struct block *b, const struct insn *insn) {
  bool compares = insn->kind == OP_CMPS || insn->kind == OP_SCAS;
  if (insn->rep && (block_mode(b, TR_DOWN | TR_STEP) || block_option(b, TR_COUNT) || insn->kind == OP_LODS)) return false;
  if (insn->rep && compares && block_option(b, TR_EXACT_FLAGS)) return false;
  enum tr_seg_class to = tr_seg_class(b->rq->mode, SEG_ES), from = tr_seg_class(b->rq->mode, insn->seg);
  if (to == TR_SEG_SLOW || from == TR_SEG_SLOW || block_mode(b, TR_WATCH | TR_ALIGN) || block_option(b, TR_NO_STRINGS))
    return false;
  return !insn->rep || (to == TR_SEG_FLAT && from == TR_SEG_FLAT && insn->address_size == 4);
}

/* In real mode and V86 a load moves the base of its segment register, and nothing else that a block depends on: inline, but for
 * SS where its shadow would be seen. In protected mode one that changes nothing. */
static bool segment_load_inline(const struct block *b, const struct insn *insn, unsigned seg) {
  if (seg == SEG_NONE) return false;
  if (block_mode(b, TR_REAL | TR_V86)) {
    enum tr_seg_class class = tr_seg_class(b->rq->mode, seg);
    if (seg == SEG_SS && block_mode(b, TR_STEP | TR_WATCH)) return false;
    return (class == TR_SEG_REAL || class == TR_SEG_BASED) && !(insn->has_mem && block_mode(b, TR_ALIGN));
  }
  return seg != SEG_SS && !insn->has_mem && !block_option(b, TR_NO_SEGCACHE);
}

/* Real mode's and V86's far transfers, with a 16-bit EIP, which is within the limit whatever it is. */
static bool far_inline(const struct block *b, const struct insn *insn) {
  return tr_seg_class(b->rq->mode, SEG_CS) == TR_SEG_REAL && insn->operand_size == 2 && !block_mode(b, TR_ALIGN);
}

/* Conditions of op_kinds.h that hold for every instruction of the block. */
static unsigned mode_conditions(const struct block *b) {
  unsigned c = 0;
  if (plan_stack_inline(b)) c |= IF_STACK;
  if (block_mode(b, TR_IOPL_OK)) c |= IF_IOPL;
  if (!block_mode(b, TR_DOWN)) c |= IF_UP;
  if (!block_mode(b, TR_STEP)) c |= IF_NO_STEP;
  if (!block_mode(b, TR_REAL | TR_V86)) c |= IF_PROTECTED;
  if (!block_mode(b, TR_V86) || block_mode(b, TR_IOPL_OK)) c |= IF_FLAGS;
  if (block_mode(b, TR_REAL) && !block_option(b, TR_COUNT)) c |= IF_REAL; /* an INT n that the monitor runs does not count */
  if (!block_mode(b, TR_IN_NMI)) c |= IF_NO_NMI;
  if (b->stack16 && !block_mode(b, TR_ALIGN)) c |= IF_STACK16;
  if (block_option(b, TR_REAL_TSC) && !block_mode(b, TR_TSD)) c |= IF_TSC;
  return c;
}

static bool insn_condition_holds(const struct block *b, const struct insn *insn, enum inline_condition condition) {
  switch (condition) {
  case IF_ADDRESS32: return insn->address_size == 4;
  case IF_MEMORY: return !insn->has_mem || mode_allows_memory(b, insn);
  case IF_IN_MEMORY: return insn->has_mem;
  case IF_IN_REGISTER: return !insn->has_mem;
  case IF_FPU: return !fpu_faults(b, insn);
  case IF_BIT_STRING: return tr_seg_class(b->rq->mode, insn->seg) < TR_SEG_LIMITED && !block_mode(b, TR_ALIGN);
  case IF_STRING: return string_inline(b, insn);
  case IF_SEGMENT: return segment_load_inline(b, insn, insn->sreg);
  case IF_FAR: return far_inline(b, insn);
  case IF_ENTER: return insn->imm2 % 32 == 0 && (insn->imm & 0xffff) < MOST_FRAME;
  case IF_FAR_DATA: return block_mode(b, TR_REAL | TR_V86) && segment_load_inline(b, insn, insn->sreg);
  default: return false;
  }
}

/* A relative jump out of the segment is #GP at the jump: the monitor's. */
static bool target_inline(const struct block *b, uint32_t at, const struct insn *insn) {
  return plan_target(b, at, insn) <= b->rq->cs_limit;
}

/* What only 16-bit operands or segments that are not flat ask for: --without=code16. */
static bool is_code16(const struct block *b, const struct insn *insn) {
  bool flat_stack = block_mode(b, TR_STACK32) && tr_seg_class(b->rq->mode, SEG_SS) == TR_SEG_FLAT && insn->operand_size == 4;
  bool jumps = kind_has(insn->kind, KIND_JUMPS), stack = op_kind_infos[insn->kind].when & IF_STACK;
  if (insn->kind == OP_MOV_TO_SEG || insn->kind == OP_POP_SEG || insn->kind == OP_LOAD_FAR)
    return block_mode(b, TR_REAL | TR_V86) || (stack && !flat_stack);
  return (stack && !flat_stack) || (jumps && (!block_mode(b, TR_CS_FLAT) || insn->operand_size == 2)) ||
         (kind_has(insn->kind, KIND_STRING) && (block_mode(b, TR_REAL | TR_V86) || insn->address_size == 2));
}

/* Does the block have inline code for the instruction in this mode? All else is run by the monitor. */
static bool emits_inline(const struct block *b, uint32_t at, const struct insn *insn) {
  unsigned when = op_kind_infos[insn->kind].when;
  if (!kind_has(insn->kind, KIND_INLINE) || (when & IF_OF_MODE & ~b->conditions)) return false;
  if (kind_has(insn->kind, KIND_RELATIVE) && !target_inline(b, at, insn)) return false;
  if (block_option(b, TR_NO_CODE16) && is_code16(b, insn)) return false;
  for (when &= ~(unsigned)IF_OF_MODE; when; when &= when - 1)
    if (!insn_condition_holds(b, insn, (enum inline_condition)(when & -when))) return false;
  return true;
}

/* CLD and STD: DF is part of the mode, so one that changes it ends the block. */
bool plan_changes_direction(const struct block *b, const struct insn *insn) {
  return insn->kind == OP_COPY && insn->row->does == (block_mode(b, TR_DOWN) ? DOES_CLD : DOES_STD);
}

/* MOV REG, [ESP]; RET: by calling it position-independent code learns its own address (__x86.get_pc_thunk.bx and the like). */
static unsigned thunk_register(const uint8_t *code) {
  enum { MOV = 0x8b, AT_SIB = 4, ESP = 0x24, RET = 0xc3 };
  unsigned reg = code[1] >> 3;
  bool loads = code[0] == MOV && (code[1] & 0xc7) == AT_SIB && code[2] == ESP && code[3] == RET;
  return loads && reg != REG_ESP ? reg : REG_NONE;
}

/* One thunk a block; no other page's where that page could not be compared first (TR_PLAIN is what goes on where it differs). */
static bool may_inline_thunk(const struct block *b, uint32_t target) {
  enum { FLAT = TR_CS_FLAT | TR_CODE32 | TR_STACK32 };
  bool same_page = target >> 12 == b->rq->eip >> 12;
  if ((b->rq->mode.bits & FLAT) != FLAT || block_mode(b, TR_REAL | TR_V86 | TR_STEP | TR_NO_CHAIN)) return false;
  if (block_option(b, TR_NO_THUNKS | TR_COUNT) || !b->rq->code_at || b->result->straddles) return false;
  if (block_mode(b, TR_PLAIN) && !same_page) return false;
  return !b->result->thunk_frame || b->result->thunk == target;
}

/* A call of one becomes a store of the return address and a load of it: the block goes on behind. */
static void inline_thunk(struct block *b, uint32_t at, struct insn *insn) {
  uint32_t target = plan_target(b, at, insn), frame;
  if (insn->kind != OP_CALL_REL || insn->operand_size != 4 || !may_inline_thunk(b, target)) return;
  const uint8_t *code = b->rq->code_at(b->rq->opaque, target, TR_PC_THUNK_SIZE, &frame);
  unsigned reg = code ? thunk_register(code) : REG_NONE;
  if (reg == REG_NONE) return;
  b->result->thunk = target, b->result->thunk_frame = frame + 1;
  insn->kind = OP_CALL_PC, insn->imm = b->rq->eip + at + insn->length;
  insn->operand_reg[0] = (uint8_t)reg, insn->regs_written = (uint8_t)(1u << reg);
}

static bool uses_r11(const struct block *b, const struct insn *insn) {
  if (insn->kind == OP_PUSH_REG) return insn->operand_reg[0] == REG_ESP;
  if (insn->kind == OP_MOV_FROM_SEG) return insn->has_mem;
  if (insn->kind == OP_MOV_TO_SEG || insn->kind == OP_POP_SEG) return !block_mode(b, TR_REAL | TR_V86);
  return kind_has(insn->kind, KIND_USES_R11);
}

/* A forward conditional jump that needs no look at its target's page: the block goes on behind it. */
static bool falls_through(const struct block *b, uint32_t at, const struct insn *insn) {
  if (insn->kind != OP_JCC || block_option(b, TR_NO_FALLTHROUGH) || block_mode(b, TR_STEP | TR_NO_CHAIN)) return false;
  uint32_t target = plan_target(b, at, insn);
  return insn->rel > 0 && target > b->rq->eip + at && branch_chains_freely(b, target);
}

/* Decodes up to the end of the block. */
static void decode(struct block *b) {
  const struct tr_request *rq = b->rq;
  struct insn_mode mode = {.code32 = block_mode(b, TR_CODE32), .features = rq->features};
  unsigned max = rq->max_insns < TR_MAX_INSNS ? rq->max_insns : TR_MAX_INSNS;
  if (block_mode(b, TR_STEP)) max = 1;
  uint32_t at = 0;
  b->conditions = mode_conditions(b);
  while (b->n < max && at < rq->page_left) {
    struct step *s = &b->steps[b->n];
    *s = (struct step){0};
    enum insn_error error = insn_decode(&s->insn, rq->bytes + at, rq->available - at, mode);
    if (error == INSN_TOO_SHORT || (error == INSN_TOO_LONG)) {
      if (b->n == 0 && error == INSN_TOO_SHORT) b->result->too_short = true;
      if (b->n == 0 && error == INSN_TOO_LONG) b->result->fault = 13;
      break;
    }
    if (at + s->insn.length > rq->unstable) {
      b->result->unstable = !b->n;
      break;
    }
    if (at + s->insn.length > rq->page_left) {
      if (b->n) break;
      b->result->straddles = true;
    }
    b->n++;
    s->callout = !emits_inline(b, at, &s->insn);
    if (!s->callout) inline_thunk(b, at, &s->insn);
    at += s->insn.length;
    s->uses_r11 = uses_r11(b, &s->insn);
    s->leaves = !s->callout && falls_through(b, at - s->insn.length, &s->insn);
    s->ends = s->callout || (kind_has(s->insn.kind, KIND_JUMPS) && !s->leaves) || plan_changes_direction(b, &s->insn);
    if (s->ends) break;
  }
  if (!b->n) return;
  struct step *last = &b->steps[b->n - 1];
  last->ends = true, last->leaves = false;
  last->callout |= plan_shadows(&last->insn); /* its shadow falls into another block */
}

static void find_live_flags(struct block *b) {
  bool all = block_option(b, TR_EXACT_FLAGS | TR_NO_LIVENESS);
  uint16_t live = FLAGS_ARITH;
  for (unsigned i = b->n; i-- > 0;) {
    struct step *s = &b->steps[i];
    const struct insn *insn = &s->insn;
    if (s->ends || s->leaves || s->callout) live = FLAGS_ARITH;
    s->live_after = live;
    live = (live & ~(insn->flags_written | insn->flags_undefined)) | insn->flags_read;
    if (s->callout || all) live = FLAGS_ARITH;
    live &= FLAGS_ARITH;
    s->live_before = live;
  }
}

/* ---- values ---------------------------------------------------------------------------------------------------- */

/* Registers, or their low halves. */
struct values {
  struct value reg[8];
  uint16_t next;
  uint8_t birth[8 + 8 * TR_MAX_INSNS + 2];
};
struct tracker {
  struct values whole, low;
  uint8_t loads[6], loaded[6]; /* of each segment register: how often so far, and at which step last, + 1 */
};

static void forget(struct values *t, unsigned reg, unsigned step) {
  t->birth[t->next] = step + 1;
  t->reg[reg] = (struct value){t->next++, 0};
}

static int32_t sum(int32_t a, int32_t b) { return (int32_t)((uint32_t)a + (uint32_t)b); } /* registers wrap */

/* Register changes whose result is a constant away from something known; `low`: of low halves. True when handled. */
static bool follow_copy(struct values *t, const struct insn *insn, bool low) {
  unsigned to = insn->operand_reg[0], from = insn->operand_reg[1];
  if ((low ? insn->operand_size < 2 : insn->operand_size != 4) || to == REG_NONE) return false;
  if (insn->kind == OP_CALL_PC) {
    t->reg[to] = (struct value){0, (int32_t)insn->imm};
    return true;
  }
  if (insn->kind == OP_LEA) {
    if ((!low && insn->address_size != 4) || insn->index != REG_NONE) return false;
    struct value base = insn->base == REG_NONE ? (struct value){0, 0} : t->reg[insn->base];
    t->reg[to] = (struct value){base.version, sum(base.k, insn->disp)};
    return true;
  }
  struct value *r = &t->reg[to];
  switch ((enum row_does)insn->row->does) {
  case DOES_INC: r->k = sum(r->k, 1); return true;
  case DOES_DEC: r->k = sum(r->k, -1); return true;
  case DOES_ADD_IMM: r->k = sum(r->k, (int32_t)insn->imm); return true;
  case DOES_SUB_IMM: r->k = sum(r->k, (int32_t)-insn->imm); return true;
  case DOES_MOV_IMM: *r = (struct value){0, (int32_t)insn->imm}; return true;
  case DOES_MOV:
    if (from == REG_NONE) return false;
    *r = t->reg[from];
    return true;
  case DOES_XOR:
    if (from != to) return false;
    *r = (struct value){0, 0};
    return true;
  default: return false;
  }
}

/* `stack`: the stack pointer is one of these values, so that pushes and pops change it by constants. */
static void follow_values(struct values *t, const struct insn *insn, unsigned step, bool low, bool stack) {
  if (follow_copy(t, insn, low)) return;
  int change = stack_change(insn);
  bool popped = insn->kind == OP_POP_REG && insn->operand_reg[0] == REG_ESP;
  if (insn->kind == OP_LEAVE && stack) {
    struct value frame = t->reg[REG_EBP];
    forget(t, REG_EBP, step);
    t->reg[REG_ESP] = (struct value){frame.version, sum(frame.k, (int)insn->operand_size)};
    return;
  }
  if (stack) t->reg[REG_ESP].k = sum(t->reg[REG_ESP].k, change);
  for (unsigned r = 0; r < 8; r++) {
    if (!(insn->regs_written >> r & 1)) continue;
    if (r == REG_ESP && change && stack && !popped) continue;
    forget(t, r, step);
  }
}

static void follow(const struct block *b, struct tracker *t, const struct insn *insn, unsigned step) {
  follow_values(&t->whole, insn, step, false, !b->stack16);
  if (b->narrow) follow_values(&t->low, insn, step, true, true);
  bool loads = insn->kind == OP_LOAD_FAR || insn->kind == OP_MOV_TO_SEG || insn->kind == OP_POP_SEG;
  unsigned seg = loads ? insn->sreg : SEG_NONE;
  if (seg != SEG_NONE) t->loads[seg]++, t->loaded[seg] = (uint8_t)(step + 1);
}

/* ---- accesses -------------------------------------------------------------------------------------------------- */

/* May accesses in the segment share a window? `narrow`: at 16-bit offsets. */
static bool segment_keyed(const struct block *b, enum tr_seg_class class, bool narrow) {
  if (class == TR_SEG_SLOW) return false;
  return narrow ? b->narrow : class != TR_SEG_LIMITED;
}

/* Key and offset of an access at base + index * 2^scale + disp. */
static void key_address(const struct block *b, const struct tracker *t, struct access *a, unsigned seg, bool narrow,
                        struct value base, struct value index, unsigned scale, int32_t disp) {
  enum tr_seg_class class = tr_seg_class(b->rq->mode, seg);
  if (!segment_keyed(b, class, narrow)) return;
  a->keyed = true;
  a->key = (struct address_key){.base = base.version,
                                .index = index.version,
                                .scale = (uint8_t)(index.version ? scale : 0),
                                .segment = class == TR_SEG_FLAT ? 0 : KEY_SEGMENT(seg, t->loads[seg]),
                                .narrow = narrow};
  a->since = t->loaded[seg];
  a->offset = (int32_t)((uint32_t)base.k + ((uint32_t)index.k << scale) + (uint32_t)disp);
  if (narrow) a->offset = (int16_t)a->offset;
}

static void key_mem(struct block *b, const struct tracker *t, struct step *s) {
  const struct insn *insn = &s->insn;
  bool narrow = insn->address_size == 2;
  const struct value *regs = narrow ? s->low : s->before, zero = {0, 0};
  if (insn->kind == OP_XLAT || insn->kind == OP_BT_MEM) return;
  key_address(b, t, &s->acc[ACC_MEM], insn->seg, narrow, insn->base == REG_NONE ? zero : regs[insn->base],
              insn->index == REG_NONE ? zero : regs[insn->index], insn->scale, insn->disp);
}

static void stack_slot(const struct block *b, const struct tracker *t, struct step *s) {
  const struct insn *insn = &s->insn;
  struct access *a = &s->acc[ACC_STACK];
  bool writes = insn->kind == OP_ENTER || insn->kind == OP_CALL_PC;
  int change = writes ? -(int)plan_stack_bytes(insn) : stack_change(insn);
  const struct value *regs = b->stack16 ? s->low : s->before;
  struct value at = regs[insn->kind == OP_LEAVE ? REG_EBP : REG_ESP];
  if (!kind_has(insn->kind, KIND_POPS) && !change) return;
  *a = (struct access){.present = true,
                       .access = change < 0 ? ACCESS_W : ACCESS_R,
                       .size = (uint16_t)plan_stack_bytes(insn),
                       .window = NO_WINDOW,
                       .addend = H_NONE,
                       .frame = is_frame(insn->kind)};
  key_address(b, t, a, SEG_SS, b->stack16, at, (struct value){0, 0}, 0, change < 0 ? change : 0);
}

static void start_values(struct values *t) {
  for (unsigned r = 0; r < 8; r++) t->reg[r] = (struct value){(uint16_t)(r + 1), 0};
  t->next = 9;
}

static void find_accesses(struct block *b, struct tracker *t) {
  start_values(&t->whole), start_values(&t->low);
  for (unsigned i = 0; i < b->n; i++) {
    struct step *s = &b->steps[i];
    memcpy(s->before, t->whole.reg, sizeof s->before);
    if (b->narrow) memcpy(s->low, t->low.reg, sizeof s->low);
    if (s->callout) continue;
    if (s->insn.has_mem) {
      s->acc[ACC_MEM] = (struct access){.present = true,
                                        .access = s->insn.access,
                                        .size = s->insn.mem_size,
                                        .window = NO_WINDOW,
                                        .addend = H_NONE,
                                        .frame = reads_far_pointer(s->insn.kind)};
      key_mem(b, t, s);
    }
    stack_slot(b, t, s);
    follow(b, t, &s->insn, i);
  }
}

/* ---- windows --------------------------------------------------------------------------------------------------- */

static bool same_key(struct address_key x, struct address_key y) {
  return x.base == y.base && x.index == y.index && x.scale == y.scale && x.segment == y.segment && x.narrow == y.narrow;
}

static void join_window(struct block *b, unsigned step, struct access *a) {
  if (!a->present || !a->keyed || a->size == 0 || a->size > 64) return;
  for (unsigned w = 0; w < b->window_count; w++) {
    struct window *win = &b->windows[w];
    int64_t lo = win->lo < a->offset ? win->lo : a->offset,
            hi = win->hi > (int64_t)a->offset + a->size ? win->hi : (int64_t)a->offset + a->size;
    if (!same_key(win->key, a->key) || hi - lo > WINDOW_SPAN || hi > INT32_MAX) continue;
    win->lo = (int32_t)lo, win->hi = (int32_t)hi, win->last = step, win->count++;
    win->write |= (a->access & ACCESS_W) != 0;
    a->window = w;
    return;
  }
  if (b->window_count == MAX_WINDOWS || (int64_t)a->offset + a->size > INT32_MAX) return;
  b->windows[b->window_count] = (struct window){.key = a->key,
                                                .lo = a->offset,
                                                .hi = a->offset + a->size,
                                                .check = step,
                                                .first = step,
                                                .last = step,
                                                .count = 1,
                                                .reg = H_NONE,
                                                .since = a->since,
                                                .write = (a->access & ACCESS_W) != 0};
  a->window = b->window_count++;
}

/* The latest step at or before the window's first access where its check clobbers no live flag; -1 if there is none. */
static int check_position(const struct block *b, const struct tracker *t, const struct window *w) {
  const uint8_t *birth = w->key.narrow ? t->low.birth : t->whole.birth;
  for (int p = w->first; p >= 0 && p >= birth[w->key.base] && p >= birth[w->key.index] && p >= w->since; p--) {
    if (b->steps[p].live_before == 0) return p;
    if (block_option(b, TR_NO_HOIST) || (p && b->steps[p - 1].leaves)) break; /* what is behind a jump may not be meant */
  }
  return -1;
}

/* A register must hold the key's versions at the check: they may since have been overwritten by a copy. */
static bool versions_held(const struct block *b, const struct window *w, unsigned p) {
  bool base = w->key.base == 0, index = w->key.index == 0;
  const struct value *regs = w->key.narrow ? b->steps[p].low : b->steps[p].before;
  for (unsigned r = 0; r < 8; r++) {
    base |= regs[r].version == w->key.base && (r != REG_ESP || plan_esp_holds(b, w->key.narrow, false));
    index |= regs[r].version == w->key.index && r != REG_ESP;
  }
  return base && index;
}

static bool register_free(const struct block *b, unsigned which, unsigned from, unsigned to) {
  for (unsigned i = from; i <= to; i++)
    if (b->busy[which][i] || (which == 1 && b->steps[i].uses_r11)) return false;
  return true;
}

/* Does the block jump back onto its own start, and may its back edge skip the entry? -icount's prologue counts every round. */
static bool loops_to_start(const struct block *b) {
  const struct insn *last = &b->steps[b->n - 1].insn;
  uint32_t at = 0;
  if (b->steps[b->n - 1].callout || (last->kind != OP_JCC && last->kind != OP_LOOP) || b->result->straddles) return false;
  if (block_mode(b, TR_STEP | TR_NO_CHAIN | TR_PLAIN) || block_option(b, TR_COUNT | TR_NO_LOOPS)) return false;
  for (unsigned i = 0; i < b->n - 1; i++) at += b->steps[i].insn.length;
  return plan_target(b, at, last) == b->rq->eip;
}

/* Is the version what its register holds at the start of every round? */
static bool unchanged(const struct values *t, unsigned version) {
  return version == 0 || (version <= 8 && t->reg[version - 1].version == version && t->reg[version - 1].k == 0);
}

static bool place_invariant(struct block *b, const struct tracker *t, struct window *w) {
  const struct values *values = w->key.narrow ? &t->low : &t->whole;
  if (!b->self_loop || !unchanged(values, w->key.base) || !unchanged(values, w->key.index)) return false;
  if (w->key.index == 1 + REG_ESP || (w->key.base == 1 + REG_ESP && !plan_esp_holds(b, w->key.narrow, false))) return false;
  if (w->key.segment && t->loads[key_segment(w->key.segment)]) return false;
  for (unsigned which = 0; which < 2; which++) {
    if (!register_free(b, which, 0, b->n - 1)) continue;
    memset(b->busy[which], 1, b->n);
    w->reg = H_R10 + which, w->check = 0, w->invariant = true;
    w->flags_live = b->steps[0].live_before != 0;
    return true;
  }
  return false;
}

static bool place_window(struct block *b, const struct tracker *t, struct window *w) {
  if (place_invariant(b, t, w)) return true;
  int p = check_position(b, t, w);
  if (p < 0 && w->count < 2) return false; /* LAHF and back around a single check is as good */
  w->flags_live = p < 0;
  w->check = p < 0 ? w->first : (unsigned)p;
  if (w->count < 2 && w->check == w->first) return false; /* nothing gained over a single check */
  if (!versions_held(b, w, w->check)) return false;
  for (unsigned which = 0; which < 2; which++) {
    if (!register_free(b, which, w->check, w->last)) continue;
    for (unsigned i = w->check; i <= w->last; i++) b->busy[which][i] = 1;
    w->reg = H_R10 + which;
    return true;
  }
  return false;
}

static void make_windows(struct block *b, struct tracker *t) {
  if (block_mode(b, TR_PLAIN | TR_STEP | TR_ALIGN) || block_option(b, TR_NO_WINDOWS)) return;
  for (unsigned i = 0; i < b->n; i++)
    for (unsigned k = 0; k < ACC_COUNT; k++)
      if (!access_mirrored(b, &b->steps[i], k)) join_window(b, i, &b->steps[i].acc[k]);
  for (unsigned rank = 4; rank > 0; rank--) /* those that serve most accesses first */
    for (unsigned w = 0; w < b->window_count; w++) {
      unsigned count = b->windows[w].count;
      if (rank == 4 ? count >= 4 : count == rank) place_window(b, t, &b->windows[w]);
    }
  for (unsigned i = 0; i < b->n; i++)
    for (unsigned k = 0; k < ACC_COUNT; k++) {
      struct access *a = &b->steps[i].acc[k];
      if (a->present && a->window != NO_WINDOW && b->windows[a->window].reg == H_NONE) a->window = NO_WINDOW;
    }
}

/* ---- addends kept from round to round ----------------------------------------------------------------------------- */

/* How much a site's latency matters: a table lookup, then a pointer that was itself loaded, then the rest. */
static unsigned latency_rank(const struct block *b, const struct step *s) {
  const struct access *a = &s->acc[ACC_MEM];
  if (!a->present || a->window != NO_WINDOW || a->addend != H_NONE || !a->keyed || a->size > 64) return 0;
  if (access_mirrored(b, s, ACC_MEM)) return 0;
  if (s->insn.index != REG_NONE) return 3;
  for (unsigned i = 0; i < b->n; i++)
    if (b->steps[i].insn.has_mem && b->steps[i].insn.kind == OP_COPY && s->insn.base != REG_NONE &&
        (b->steps[i].insn.regs_written >> s->insn.base & 1))
      return 2;
  return 1;
}

/* In a self-loop a register that is still free compares the shadow entry with the last addend instead of loading it: the access
 * no longer waits for the table (an 8-cycle chain). Sites whose pages change too often lose by it: they count their refills and
 * are given up. */
static void keep_addends(struct block *b) {
  if (!b->self_loop || block_option(b, TR_NO_ADDENDS | TR_NO_WINDOWS) || block_mode(b, TR_ALIGN)) return;
  for (unsigned which = 0; which < 2; which++) {
    struct step *best = NULL;
    unsigned rank = 0;
    if (!register_free(b, which, 0, b->n - 1)) continue;
    for (unsigned i = 0; i < b->n; i++)
      if (latency_rank(b, &b->steps[i]) > rank) best = &b->steps[i], rank = latency_rank(b, best);
    if (!best) return;
    best->acc[ACC_MEM].addend = H_R10 + which;
    memset(b->busy[which], 1, b->n);
  }
}

void plan_block(struct block *b) {
  struct tracker t = {0};
  b->stack16 = !block_mode(b, TR_STACK32);
  b->narrow = (b->stack16 || !block_mode(b, TR_CODE32)) && !block_option(b, TR_NO_CODE16);
  decode(b);
  find_live_flags(b);
  find_accesses(b, &t);
  b->self_loop = b->n && loops_to_start(b);
  make_windows(b, &t);
  keep_addends(b);
}
