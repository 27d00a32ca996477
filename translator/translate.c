/* tr_translate(): plans a block, then emits it, the cold code behind all of the hot. */
#include "block.h"

typedef void emitter(struct block *b);
static emitter *const emitters[OP_KIND_COUNT] = {
#define EMIT_INLINE(kind, run, emit, ...) [OP_##kind] = emit_##emit,
#define EMIT_CALLOUT(kind, ...) [OP_##kind] = emit_callout,
  OP_KINDS(EMIT_INLINE, EMIT_CALLOUT)
#undef EMIT_INLINE
#undef EMIT_CALLOUT
};

static void emit_step(struct block *b) {
  const struct step *s = block_step(b);
  emitter *emit = s->callout ? emit_callout : emitters[s->insn.kind];
  emit(b);
}

/* -icount: R12 -= instructions; below zero the block is not begun. The sign is taken from memory so that no flag is touched. */
static void count_prologue(struct block *b) {
  struct host_code *c = &b->code;
  unsigned site = block_site(b, TR_SITE_COUNT);
  host_lea64(c, H_R12, hm(H_R12, -(int32_t)b->n));
  host_store64(c, HM_STATE(insns_left), H_R12);
  host_mov64(c, H_R8, H_RCX);
  struct host_mem high = HM_STATE(insns_left);
  high.disp += 4;
  host_load(c, H_RCX, high);
  uint8_t *enough = host_jrcxz8(c);
  host_mov64(c, H_RCX, H_R8);
  block_cold(b, COLD_EXIT, host_jmp(c), site);
  host_bind8(c, enough);
  host_mov64(c, H_RCX, H_R8);
}

/* Leaves by `site` unless the page is mapped to the frame. No flag is touched. */
static void compare_page(struct block *b, uint32_t page, uint32_t frame, int cold, unsigned site) {
  struct host_code *c = &b->code;
  host_mov64(c, H_R8, H_RCX);
  host_load(c, H_RCX, access_fetch_frame(page & 0xfffff));
  host_lea(c, H_RCX, hm(H_RCX, -(int32_t)(frame + 1)));
  uint8_t *same = host_jrcxz8(c);
  host_mov64(c, H_RCX, H_R8);
  block_cold(b, cold, host_jmp(c), site);
  host_bind8(c, same);
  host_mov64(c, H_RCX, H_R8);
}

/* An instruction that straddles two pages was translated from both: its block runs only while the second is mapped as it was. */
static void straddle_prologue(struct block *b) {
  compare_page(b, ((b->rq->eip + b->rq->cs_base) >> 12) + 1, b->rq->frame2, COLD_EXIT, block_site(b, TR_SITE_STRADDLE));
}

/* So was a block with an inlined thunk from that one's page. Compared here and not at the call: what is called instead may read
 * flags that this block takes for dead. The plain block makes the call. */
static void thunk_prologue(struct block *b) {
  const struct tr_result *r = b->result;
  if (!r->thunk_frame || r->thunk >> 12 == b->rq->eip >> 12) return;
  compare_page(b, r->thunk >> 12, r->thunk_frame - 1, COLD_PLAIN, block_site(b, TR_SITE_PLAIN));
}

static void emit_hot(struct block *b) {
  if (block_option(b, TR_COUNT)) count_prologue(b);
  if (b->result->straddles) straddle_prologue(b);
  thunk_prologue(b);
  access_window_checks(b, true);
  access_forget_addends(b);
  b->loop_entry = host_here(&b->code);
  for (;; b->index++) {
    access_window_checks(b, false);
    branch_early_safepoint(b);
    emit_step(b);
    if (b->index == b->n - 1) break;
    b->at += block_step(b)->insn.length;
  }
  const struct step *last = block_step(b);
  if (!last->callout && !kind_has(last->insn.kind, KIND_JUMPS)) branch_jump(b, b->rq->eip + b->at + last->insn.length);
  b->at += last->insn.length;
  b->result->code_size = (uint32_t)(b->code.at - b->code.start);
}

static void emit_cold(struct block *b) {
  uint8_t *cold = b->rq->cold;
  b->code = (struct host_code){.start = cold, .at = cold, .end = cold + TR_MAX_COLD, .offset = b->rq->cold_offset};
  b->exit_jump = NULL;
  block_cold_stubs(b);
  b->result->cold_size = (uint32_t)(b->code.at - b->code.start);
}

static void start(struct block *b, const struct tr_request *rq, struct tr_result *result) {
  memset(b, 0, offsetof(struct block, steps));
  b->n = b->window_count = b->cold_count = b->site_count = b->index = 0;
  b->too_many = b->self_loop = false;
  b->pending = 0, b->at = 0, b->exit_jump = NULL;
  memset(b->busy, 0, sizeof b->busy);
  memset(result, 0, sizeof *result);
  b->rq = rq, b->result = result;
  b->code = (struct host_code){.start = rq->code, .at = rq->code, .end = rq->code + TR_MAX_CODE, .offset = rq->offset};
}

void tr_translate(const struct tr_request *request, struct tr_result *result) {
  struct tr_request rq = *request;
  struct block b;
  for (;;) {
    start(&b, &rq, result);
    plan_block(&b);
    if (!b.n) return;
    emit_hot(&b);
    if (!b.code.overflow) emit_cold(&b);
    if (!b.too_many && !b.code.overflow) break;
    rq.max_insns = b.n / 2; /* one instruction always fits: TR_MAX_CODE, TR_MAX_COLD and TR_MAX_SITES are sized for it */
  }
  result->guest_size = b.at, result->insns = b.n, result->site_count = b.site_count;
  result->entry = rq.offset;
}

const char *tr_site_name(enum tr_site_kind kind) {
  static const char *const names[] = {
#define SITE_NAME(name, help) #name,
    TR_SITES(SITE_NAME)
#undef SITE_NAME
  };
  return kind < TR_SITE_KINDS ? names[kind] : "?";
}
