/* Planning a block: decodes it, finds which flags are live where, follows registers that change by constants, and decides which
 * accesses share a window and where its check goes (D2). Emits nothing. */
#include "block.h"

bool plan_stack_inline(const struct block *b) {
  enum tr_seg_class ss = tr_seg_class(b->rq->mode, SEG_SS);
  return block_mode(b, TR_STACK32) && ss == TR_SEG_FLAT && !block_mode(b, TR_WATCH);
}

static bool mode_allows_memory(const struct block *b, const struct insn *insn) {
  if (insn->seg == SEG_CS && (insn->access & ACCESS_W) && !block_mode(b, TR_REAL | TR_V86)) return false; /* #GP */
  return !block_mode(b, TR_WATCH) && tr_seg_class(b->rq->mode, insn->seg) != TR_SEG_SLOW;
}

/* x87/SSE use that CR0 and CR4 make a fault (SDM vol. 3A, 2.5): the monitor raises it. */
static bool fpu_faults(const struct block *b, const struct insn *insn) {
  bool em = block_mode(b, TR_EM), ts = block_mode(b, TR_TS), mp = block_mode(b, TR_MP);
  switch (insn->row->fpu) {
  case FPU_NONE: return false;
  case FPU_WAIT: return mp && ts;
  case FPU_SSE: return em || ts || !block_mode(b, TR_OSFXSR);
  default: return em || ts;
  }
}

/* On flat segments: single ones, and REP MOVS and REP STOS that go up and stay in one page a side. Other REP loops run page-wise
 * in the monitor. */
static bool string_inline(const struct block *b, const struct insn *insn) {
  if (insn->rep &&
      (block_mode(b, TR_DOWN | TR_STEP) || block_option(b, TR_COUNT) || (insn->kind != OP_MOVS && insn->kind != OP_STOS)))
    return false;
  bool flat = tr_seg_class(b->rq->mode, SEG_ES) == TR_SEG_FLAT && tr_seg_class(b->rq->mode, insn->seg) == TR_SEG_FLAT;
  return flat && insn->address_size == 4 && !block_mode(b, TR_WATCH | TR_ALIGN) && !block_option(b, TR_NO_STRINGS);
}

/* Conditions of op_kinds.h that hold for every instruction of the block. */
static unsigned mode_conditions(const struct block *b) {
  unsigned c = 0;
  if (plan_stack_inline(b)) c |= IF_STACK32;
  if (block_mode(b, TR_CS_FLAT)) c |= IF_CS_FLAT;
  if (block_mode(b, TR_IOPL_OK)) c |= IF_IOPL;
  if (!block_mode(b, TR_DOWN)) c |= IF_UP;
  if (!block_mode(b, TR_STEP)) c |= IF_NO_STEP;
  if (!block_mode(b, TR_V86)) c |= IF_NO_V86;
  if (block_option(b, TR_REAL_TSC) && !block_mode(b, TR_TSD)) c |= IF_TSC;
  if (!block_mode(b, TR_REAL | TR_V86) && !block_option(b, TR_NO_SEGCACHE)) c |= IF_SEGMENTS;
  return c;
}

static bool insn_condition_holds(const struct block *b, const struct insn *insn, enum inline_condition condition) {
  switch (condition) {
  case IF_OPERAND32: return insn->operand_size == 4;
  case IF_ADDRESS32: return insn->address_size == 4;
  case IF_MEMORY: return !insn->has_mem || mode_allows_memory(b, insn);
  case IF_IN_MEMORY: return insn->has_mem;
  case IF_IN_REGISTER: return !insn->has_mem;
  case IF_FPU: return !fpu_faults(b, insn);
  case IF_BIT_STRING: return tr_seg_class(b->rq->mode, insn->seg) != TR_SEG_LIMITED && !block_mode(b, TR_ALIGN);
  case IF_STRING: return string_inline(b, insn);
  case IF_NOT_SS: return insn->sreg != SEG_SS;
  default: return false;
  }
}

/* Does the block have inline code for the instruction in this mode? All else is run by the monitor. */
static bool emits_inline(const struct block *b, const struct insn *insn) {
  unsigned when = op_kind_infos[insn->kind].when;
  if (!kind_has(insn->kind, KIND_INLINE) || (when & IF_OF_MODE & ~b->conditions)) return false;
  for (when &= ~(unsigned)IF_OF_MODE; when; when &= when - 1)
    if (!insn_condition_holds(b, insn, (enum inline_condition)(when & -when))) return false;
  return true;
}

/* CLD and STD: DF is part of the mode, so one that changes it ends the block. */
bool plan_changes_direction(const struct block *b, const struct insn *insn) {
  return insn->kind == OP_COPY && insn->row->does == (block_mode(b, TR_DOWN) ? DOES_CLD : DOES_STD);
}

static bool uses_r11(const struct insn *insn) {
  if (insn->kind == OP_PUSH_REG) return insn->operand_reg[0] == REG_ESP;
  return kind_has(insn->kind, KIND_USES_R11);
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
    if (at + s->insn.length > rq->page_left) {
      if (b->n) break;
      b->result->straddles = true;
    }
    b->n++;
    at += s->insn.length;
    s->callout = !emits_inline(b, &s->insn);
    s->uses_r11 = uses_r11(&s->insn);
    s->ends = s->callout || kind_has(s->insn.kind, KIND_JUMPS) || plan_changes_direction(b, &s->insn);
    if (s->ends) break;
  }
  if (!b->n) return;
  struct step *last = &b->steps[b->n - 1];
  last->ends = true;
  last->callout |= last->insn.kind == OP_STI; /* its shadow falls into another block */
}

static void find_live_flags(struct block *b) {
  bool all = block_option(b, TR_EXACT_FLAGS | TR_NO_LIVENESS);
  uint16_t live = FLAGS_ARITH;
  for (unsigned i = b->n; i-- > 0;) {
    struct step *s = &b->steps[i];
    const struct insn *insn = &s->insn;
    if (s->ends || s->callout) live = FLAGS_ARITH;
    s->live_after = live;
    live = (live & ~(insn->flags_written | insn->flags_undefined)) | insn->flags_read;
    if (s->callout || all) live = FLAGS_ARITH;
    live &= FLAGS_ARITH;
    s->live_before = live;
  }
}

/* ---- values ---------------------------------------------------------------------------------------------------- */

struct tracker {
  struct value reg[8];
  uint16_t next;
  uint8_t birth[8 + 8 * TR_MAX_INSNS + 2];
};

static void forget(struct tracker *t, unsigned reg, unsigned step) {
  t->birth[t->next] = step + 1;
  t->reg[reg] = (struct value){t->next++, 0};
}

static int32_t sum(int32_t a, int32_t b) { return (int32_t)((uint32_t)a + (uint32_t)b); } /* registers wrap */

/* Register changes whose result is a constant away from something known. True when handled. */
static bool follow_copy(struct tracker *t, const struct insn *insn) {
  unsigned to = insn->operand_reg[0], from = insn->operand_reg[1];
  if (insn->operand_size != 4 || to == REG_NONE) return false;
  if (insn->kind == OP_LEA) {
    if (insn->address_size != 4 || insn->index != REG_NONE) return false;
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

static void follow(struct tracker *t, const struct insn *insn, unsigned step) {
  if (follow_copy(t, insn)) return;
  int change = op_kind_infos[insn->kind].stack;
  if (insn->kind == OP_LEAVE) {
    struct value frame = t->reg[REG_EBP];
    forget(t, REG_EBP, step);
    t->reg[REG_ESP] = (struct value){frame.version, sum(frame.k, 4)};
    return;
  }
  t->reg[REG_ESP].k = sum(t->reg[REG_ESP].k, change);
  for (unsigned r = 0; r < 8; r++) {
    if (!(insn->regs_written >> r & 1)) continue;
    bool popped = insn->kind == OP_POP_REG && insn->operand_reg[0] == REG_ESP;
    if (r == REG_ESP && change && !popped) continue;
    forget(t, r, step);
  }
}

/* ---- accesses -------------------------------------------------------------------------------------------------- */

static void key_mem(struct block *b, struct step *s) {
  const struct insn *insn = &s->insn;
  struct access *a = &s->acc[ACC_MEM];
  enum tr_seg_class class = tr_seg_class(b->rq->mode, insn->seg);
  if (insn->address_size != 4 || insn->kind == OP_XLAT || insn->kind == OP_BT_MEM ||
      (class != TR_SEG_FLAT && class != TR_SEG_BASED))
    return;
  struct value base = insn->base == REG_NONE ? (struct value){0, 0} : s->before[insn->base];
  struct value index = insn->index == REG_NONE ? (struct value){0, 0} : s->before[insn->index];
  a->keyed = true;
  a->key =
    (struct address_key){base.version, index.version, index.version ? insn->scale : 0, class == TR_SEG_FLAT ? 0 : 1 + insn->seg};
  a->offset = (int32_t)((uint32_t)base.k + ((uint32_t)index.k << insn->scale) + (uint32_t)insn->disp);
}

static void stack_slot(struct step *s) {
  const struct insn *insn = &s->insn;
  struct access *a = &s->acc[ACC_STACK];
  int change = op_kind_infos[insn->kind].stack;
  struct value at = s->before[REG_ESP];
  if (insn->kind == OP_LEAVE) at = s->before[REG_EBP];
  else if (insn->kind != OP_RET && !change) return;
  *a = (struct access){
    .present = true, .keyed = true, .access = change < 0 ? ACCESS_W : ACCESS_R, .size = 4, .window = NO_WINDOW, .addend = H_NONE};
  a->key.base = at.version;
  a->offset = sum(at.k, change < 0 ? change : 0);
}

static void find_accesses(struct block *b, struct tracker *t) {
  for (unsigned r = 0; r < 8; r++) t->reg[r] = (struct value){(uint16_t)(r + 1), 0};
  t->next = 9;
  for (unsigned i = 0; i < b->n; i++) {
    struct step *s = &b->steps[i];
    memcpy(s->before, t->reg, sizeof s->before);
    if (s->callout) continue;
    if (s->insn.has_mem) {
      s->acc[ACC_MEM] = (struct access){
        .present = true, .access = s->insn.access, .size = s->insn.mem_size, .window = NO_WINDOW, .addend = H_NONE};
      key_mem(b, s);
    }
    stack_slot(s);
    follow(t, &s->insn, i);
  }
}

/* ---- windows --------------------------------------------------------------------------------------------------- */

static bool same_key(struct address_key x, struct address_key y) {
  return x.base == y.base && x.index == y.index && x.scale == y.scale && x.segment == y.segment;
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
                                                .write = (a->access & ACCESS_W) != 0};
  a->window = b->window_count++;
}

/* The latest step at or before the window's first access where its check clobbers no live flag; -1 if there is none. */
static int check_position(const struct block *b, const struct tracker *t, const struct window *w) {
  for (int p = w->first; p >= 0 && p >= t->birth[w->key.base] && p >= t->birth[w->key.index]; p--) {
    if (b->steps[p].live_before == 0) return p;
    if (block_option(b, TR_NO_HOIST)) break;
  }
  return -1;
}

/* A register must hold the key's versions at the check: they may since have been overwritten by a copy. */
static bool versions_held(const struct block *b, const struct window *w, unsigned p) {
  bool base = w->key.base == 0, index = w->key.index == 0;
  for (unsigned r = 0; r < 8; r++) {
    base |= b->steps[p].before[r].version == w->key.base;
    index |= b->steps[p].before[r].version == w->key.index && r != REG_ESP;
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
  uint32_t at = b->rq->eip;
  if (b->steps[b->n - 1].callout || (last->kind != OP_JCC && last->kind != OP_LOOP) || b->result->straddles) return false;
  if (!block_mode(b, TR_CS_FLAT) || block_mode(b, TR_STEP | TR_NO_CHAIN | TR_PLAIN) || block_option(b, TR_COUNT | TR_NO_LOOPS))
    return false;
  for (unsigned i = 0; i < b->n; i++) at += b->steps[i].insn.length;
  return at + (uint32_t)last->rel == b->rq->eip;
}

/* Is the version what its register holds at the start of every round? */
static bool unchanged(const struct tracker *t, unsigned version) {
  return version == 0 || (version <= 8 && t->reg[version - 1].version == version && t->reg[version - 1].k == 0);
}

static bool place_invariant(struct block *b, const struct tracker *t, struct window *w) {
  if (!b->self_loop || !unchanged(t, w->key.base) || !unchanged(t, w->key.index)) return false;
  if (w->key.index == 1 + REG_ESP) return false;
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
    for (unsigned k = 0; k < ACC_COUNT; k++) join_window(b, i, &b->steps[i].acc[k]);
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
  decode(b);
  find_live_flags(b);
  find_accesses(b, &t);
  b->self_loop = b->n && loops_to_start(b);
  make_windows(b, &t);
  keep_addends(b);
}
