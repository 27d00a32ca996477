/* What all emitters of a block share: sites, exits, ESP changes that are folded, and the cold code, which lies apart from the
 * hot. */
#include "block.h"

unsigned block_site(struct block *b, enum tr_site_kind kind) {
  if (b->site_count == TR_MAX_SITES - 1) {
    b->too_many = true;
    return b->site_count;
  }
  struct tr_site *s = &b->rq->sites[b->site_count];
  *s =
    (struct tr_site){.kind = kind, .insn_offset = (uint16_t)b->at, .index = (uint8_t)b->index, .esp_delta = (int16_t)b->pending};
  if (b->index && plan_shadows(&b->steps[b->index - 1].insn)) s->access = TR_ACCESS_SHADOW;
  return b->site_count++;
}

unsigned block_callout_site(struct block *b) {
  unsigned site = block_site(b, TR_SITE_CALLOUT);
  b->rq->sites[site].target = b->result->callout_count;
  b->rq->callouts[b->result->callout_count++] = block_step(b)->insn;
  return site;
}

struct cold *block_cold(struct block *b, int kind, uint32_t jump, unsigned site) {
  if (b->cold_count == TR_MAX_SITES - 1) b->too_many = true;
  else b->cold_count++;
  struct cold *k = &b->cold[b->cold_count - 1];
  *k = (struct cold){.kind = kind, .jump = jump, .site = site, .pending = b->pending, .seg = SEG_NONE};
  return k;
}

/* R15 += n; of a 16-bit stack the low half alone, which wraps around (SDM vol. 1, 6.2.3). No flags. */
void block_add_esp(struct block *b, int32_t n) {
  struct host_code *c = &b->code;
  host_lea(c, b->stack16 ? H_R9 : H_R15, hm(H_R15, n));
  if (b->stack16) host_op_reg(c, HO_16 | HO_MOVto, H_R9, H_R15);
}

void block_flush_esp(struct block *b) {
  if (b->pending) block_add_esp(b, b->pending);
  b->pending = 0;
}

void block_move_esp(struct block *b, int32_t change) {
  b->pending += change;
  if (block_option(b, TR_NO_FOLD) || b->pending > 8192 || b->pending < -8192) block_flush_esp(b);
}

static void exit_by(struct block *b, unsigned site) {
  struct host_code *c = &b->code;
  host_push_imm(c, b->rq->first_site + site);
  if (host_jmp_back(c, b->exit_jump)) return;
  b->exit_jump = c->at;
  host_patch(c, host_jmp(c), 0 /* the exit stub: see tr_write_stubs */);
}

void block_exit_here(struct block *b, unsigned site) {
  b->rq->sites[site].cold = host_here(&b->code);
  exit_by(b, site);
}

/* ---- cold code ------------------------------------------------------------------------------------------------- */

static void bind(struct block *b, const struct cold *k) {
  uint32_t here = host_here(&b->code);
  if (k->jump) host_patch(&b->code, k->jump, here);
  if (k->jump2) host_patch(&b->code, k->jump2, here);
  if (k->jump3) host_patch(&b->code, k->jump3, here);
  if (k->jump4) host_patch(&b->code, k->jump4, here);
}

/* Runs on into the access's stub where the operand lies in two pages, or beyond FFFFh. */
static void check_crossing(struct block *b, const struct cold *k) {
  struct host_code *c = &b->code;
  uint8_t *beyond = NULL;
  host_patch(c, k->odd, host_here(c));
  if (k->seg != SEG_NONE) {
    host_mov(c, H_R9, H_R8);
    host_alu_mem(c, HOg_SUB, H_R9, access_segment_base(k->seg));
    host_alu_imm(c, HOg_CMP, H_R9, 0x10000 - k->size);
    beyond = host_jcc8(c, CC_A);
  }
  host_mov(c, H_R9, H_R8);
  host_alu_imm(c, HOg_AND, H_R9, 4095);
  host_alu_imm(c, HOg_CMP, H_R9, 4096 - k->size);
  host_patch(c, host_jcc(c, CC_BE), k->back);
  if (beyond) host_bind8(c, beyond);
}

static void cold_refill(struct block *b, const struct cold *k) {
  unsigned given_up = block_site(b, TR_SITE_REFILL);
  struct tr_site *s = &b->rq->sites[given_up];
  s->insn_offset = b->rq->sites[k->site].insn_offset, s->index = b->rq->sites[k->site].index,
  s->esp_delta = b->rq->sites[k->site].esp_delta;
  s->access = b->rq->sites[k->site].access & TR_ACCESS_SHADOW;
  bind(b, k);
  access_cold_refill(b, k, given_up);
}

/* The window's PLAIN stub was recorded right before it, so it is there already. */
static void cold_stack(struct block *b, const struct cold *k) {
  bind(b, k);
  access_cold_stack(b, k, k[-1].start);
}

/* A jump that is chained to the plain block: ESP and the instruction count are exact from here on. */
static void chained_to_plain(struct block *b, const struct cold *k, struct tr_site *site) {
  struct host_code *c = &b->code;
  if (k->pending) block_add_esp(b, k->pending);
  if (block_option(b, TR_COUNT)) {
    host_lea64(c, H_R12, hm(H_R12, (int32_t)b->n - site->index));
    site->index = b->n;
  }
  site->esp_delta = 0;
  site->host = host_jmp(c);
  host_patch(c, site->host, host_here(c));
}

static void cold_exit(struct block *b, const struct cold *k) {
  struct tr_site *site = &b->rq->sites[k->site];
  if (k->odd) check_crossing(b, k);
  bind(b, k);
  uint32_t start = host_here(&b->code);
  access_restore_flags(b, k->saved);
  if (k->kind == COLD_PLAIN && !block_mode(b, TR_NO_CHAIN)) chained_to_plain(b, k, site);
  /* a host fault leads there: nothing has been restored */
  site->cold = site->kind == TR_SITE_SAFEPOINT ? start : host_here(&b->code);
  exit_by(b, k->site);
}

/* A host fault leads there, with the operand's address still to be told. */
static void cold_mirror(struct block *b, const struct cold *k) {
  struct host_mem m = k->at;
  m.mirrored = false;
  b->rq->sites[k->site].cold = host_here(&b->code);
  host_lea(&b->code, H_R8, m);
  exit_by(b, k->site);
}

void block_cold_call(struct block *b, const struct cold *k) {
  struct host_code *c = &b->code;
  uint32_t call = host_call(c);
  host_patch(c, host_jmp(c), k->back);
  host_patch(c, call, host_here(c));
  if (k->jump2) host_patch(c, k->jump2, host_here(c));
  block_exit_here(b, k->site);
}

static void cold_call(struct block *b, const struct cold *k) {
  host_patch(&b->code, k->jump, host_here(&b->code));
  block_cold_call(b, k);
}

void block_cold_stubs(struct block *b) {
  for (unsigned i = 0; i < b->cold_count; i++) {
    struct cold *k = &b->cold[i];
    k->start = host_here(&b->code);
    if (k->kind == COLD_STACK) cold_stack(b, k);
    else if (k->kind == COLD_REFILL) cold_refill(b, k);
    else if (k->kind == COLD_CALL) cold_call(b, k);
    else if (k->kind == COLD_MIRROR) cold_mirror(b, k);
    else if (k->kind == COLD_TARGET) branch_cold_target(b, k);
    else cold_exit(b, k);
  }
}
