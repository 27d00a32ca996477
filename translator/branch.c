/* Leaving a block: direct jumps that chain, indirect ones that look their target up, safepoints and interrupt checks (D4, D6).
 * Nothing here touches flags. */
#include "block.h"
#include "../mmu/layout.h"

static uint32_t step_end(const struct block *b) { return b->at + b->steps[b->index].insn.length; }

/* Whether a jump from this block may go to linear `target` without comparing the page's mapping: inside one page, and between
 * pages of the shared kernel half in supervisor mode. */
static bool chains_freely(const struct block *b, uint32_t target) {
  uint32_t here = b->rq->eip; /* of a straddling instruction, too: its second page was compared at the entry */
  if (here >> 12 == target >> 12) return true;
  return !block_mode(b, TR_USER) && here >= MMU_KERNEL_HALF && target >= MMU_KERNEL_HALF;
}

static unsigned jump_site(struct block *b, uint32_t target) {
  unsigned site = block_site(b, TR_SITE_JUMP);
  b->rq->sites[site].target = target;
  b->rq->sites[site].index = b->index + 1;
  return site;
}

/* Chaining compares the target page's fetch entry with the frame that the jump was bound to, in the displacement of an LEA. */
static void guarded_jump(struct block *b, uint32_t target, unsigned site) {
  struct host_code *c = &b->code;
  host_mov64(c, H_R8, H_RCX);
  host_load(c, H_RCX, access_fetch_frame(target >> 12));
  host_lea(c, H_RCX, hm(H_RCX, 0x7fffffff)); /* no frame is that: unbound */
  b->rq->sites[site].guard = host_here(c) - 4;
  uint8_t *same = host_jrcxz8(c);
  host_mov64(c, H_RCX, H_R8);
  struct cold *other = block_cold(b, COLD_EXIT, host_jmp(c), site);
  host_bind8(c, same);
  host_mov64(c, H_RCX, H_R8);
  b->rq->sites[site].host = other->jump2 = host_jmp(c);
}

static bool may_chain(const struct block *b) {
  return block_mode(b, TR_CS_FLAT) && !block_mode(b, TR_STEP | TR_NO_CHAIN) &&
         !plan_changes_direction(b, &b->steps[b->index].insn);
}

void branch_jump(struct block *b, uint32_t target) {
  block_flush_esp(b);
  unsigned site = jump_site(b, target);
  if (!may_chain(b)) {
    b->rq->sites[site].kind = TR_SITE_END;
    block_exit_here(b, site);
    return;
  }
  if (!chains_freely(b, target)) {
    guarded_jump(b, target, site);
    return;
  }
  uint32_t jump = host_jmp(&b->code);
  b->rq->sites[site].host = jump;
  block_cold(b, COLD_JUMP, jump, site);
}

void branch_conditional(struct block *b, unsigned cc, uint32_t target) {
  uint32_t next = b->rq->eip + step_end(b);
  block_flush_esp(b);
  uint32_t taken = host_jcc(&b->code, cc);
  if (b->self_loop && target == b->rq->eip) { /* a round more: behind the checks that hold for all rounds */
    host_patch(&b->code, taken, b->loop_entry);
    branch_jump(b, next);
    return;
  }
  if (may_chain(b) && chains_freely(b, target)) {
    unsigned site = jump_site(b, target);
    b->rq->sites[site].host = taken;
    block_cold(b, COLD_JUMP, taken, site);
    branch_jump(b, next);
    return;
  }
  branch_jump(b, next);
  host_patch(&b->code, taken, host_here(&b->code));
  branch_jump(b, target);
}

static void safepoint(struct block *b, enum saved_flags saved) {
  if (block_option(b, TR_COUNT)) return;
  unsigned site = block_site(b, TR_SITE_SAFEPOINT);
  b->rq->sites[site].host = host_here(&b->code);
  host_load(&b->code, H_R9, hm(H_R12, 0));
  block_cold(b, COLD_EXIT, 0, site)->saved = saved;
}

/* The dispatcher polls between two steps. */
void branch_safepoint(struct block *b) {
  if (!block_mode(b, TR_STEP)) safepoint(b, SAVED_NONE);
}

/* But a kick may come behind that poll, and time is not read before it is heeded. */
void branch_time_safepoint(struct block *b) { safepoint(b, SAVED_R11); }

/* After POPF, which leaves IF & irq_pending in R8: an interrupt that waited for IF is taken now. */
void branch_irq_check(struct block *b) {
  struct host_code *c = &b->code;
  unsigned site = block_site(b, TR_SITE_IRQ);
  struct tr_site *s = &b->rq->sites[site];
  s->insn_offset = (uint16_t)step_end(b);
  s->index = b->index + 1, s->access = 0;
  host_mov64(c, H_R9, H_RCX);
  host_mov(c, H_RCX, H_R8);
  uint8_t *none = host_jrcxz8(c);
  host_mov64(c, H_RCX, H_R9);
  block_cold(b, COLD_EXIT, host_jmp(c), site);
  host_bind8(c, none);
  host_mov64(c, H_RCX, H_R9);
}

/* Key = fetch entry of the target's page + EIP + mode; the table holds negated keys, so a sum of zero is a hit (state.h). An
 * unmapped page has entry 0, which no stored key was made with. */
void branch_indirect(struct block *b) {
  struct host_code *c = &b->code;
  block_flush_esp(b);
  unsigned site = block_site(b, TR_SITE_INDIRECT);
  b->rq->sites[site].index = b->index + 1;
  if (!may_chain(b) || block_option(b, TR_NO_HASH)) {
    block_exit_here(b, site);
    return;
  }
  access_page_number_keeping_flags(b, H_R9, H_R8);
  host_load64(c, H_R9, hm_index(H_R14, H_R9, 3, MMU_FETCH_ARRAY));
  host_movzx16(c, H_R11, H_R8);
  host_lea64(c, H_R11, hm_index(H_R11, H_R11, 0, 0));
  host_lea64(c, H_R9, hm_index(H_R9, H_R8, 0, 0));
  host_mov64(c, H_R10, H_RCX);
  host_load64(c, H_RCX, HM_STATE(mode_key));
  host_lea64(c, H_R9, hm_index(H_R9, H_RCX, 0, 0));
  host_load64(c, H_RCX, hm_index(H_R13, H_R11, 3, TR_HASH_OFFSET));
  host_lea64(c, H_RCX, hm_index(H_RCX, H_R9, 0, 0));
  uint8_t *hit = host_jrcxz8(c);
  host_mov64(c, H_RCX, H_R10);
  block_cold(b, COLD_EXIT, host_jmp(c), site);
  host_bind8(c, hit);
  host_mov64(c, H_RCX, H_R10);
  host_op_mem(c, HO_GROUP5, HOg_JMP, hm_index(H_R13, H_R11, 3, TR_HASH_OFFSET + 8));
}

/* ---- one kind each --------------------------------------------------------------------------------------------- */

static uint32_t branch_target(const struct block *b) {
  const struct insn *insn = &b->steps[b->index].insn;
  return b->rq->eip + b->at + insn->length + (uint32_t)insn->rel;
}
static bool backward(const struct block *b) { return branch_target(b) <= b->rq->eip + b->at; }

/* The host fuses a compare with the conditional jump behind it: the safepoint goes before both. */
static bool compare_before(const struct block *b) {
  const struct insn *insn = b->index ? &b->steps[b->index - 1].insn : NULL;
  return insn && (insn->kind == OP_COPY || insn->kind == OP_INCDEC_REG) && !insn->has_mem && (insn->flags_written & FLAG_ZF);
}

void branch_early_safepoint(struct block *b) {
  if (b->index + 2 != b->n || b->steps[b->n - 1].insn.kind != OP_JCC || b->steps[b->n - 1].callout) return;
  b->index++, b->at += b->steps[b->index - 1].insn.length;
  bool early = backward(b) && compare_before(b);
  b->index--, b->at -= b->steps[b->index].insn.length;
  if (early) branch_safepoint(b);
}

void emit_jump(struct block *b) {
  if (backward(b)) branch_safepoint(b);
  branch_jump(b, branch_target(b));
}

void emit_jcc(struct block *b) {
  if (backward(b) && !compare_before(b)) branch_safepoint(b);
  branch_conditional(b, insn_condition(&block_step(b)->insn), branch_target(b));
}

/* LOOP and JeCXZ have no rel32 form and LOOP is slow: LEA and JRCXZ, which touch no flag. */
void emit_loop(struct block *b) {
  struct host_code *c = &b->code;
  bool loop = block_step(b)->insn.kind == OP_LOOP;
  uint32_t target = branch_target(b), next = b->rq->eip + b->at + block_step(b)->insn.length;
  branch_safepoint(b);
  block_flush_esp(b);
  if (loop) host_lea(c, H_RCX, hm(H_RCX, -1));
  uint8_t *zero = host_jrcxz8(c);
  uint32_t not_zero = host_jmp(c);
  host_bind8(c, zero);
  branch_jump(b, loop ? next : target);
  if (loop && b->self_loop) {
    host_patch(c, not_zero, b->loop_entry);
    return;
  }
  host_patch(c, not_zero, host_here(c));
  branch_jump(b, loop ? target : next);
}

void emit_call_rel(struct block *b) {
  uint32_t target = branch_target(b);
  if (backward(b)) branch_safepoint(b);
  host_store_imm(&b->code, access_stack(b, -4), b->rq->eip + b->at + block_step(b)->insn.length);
  block_move_esp(b, -4);
  branch_jump(b, target);
}

static void load_target(struct block *b, unsigned to) {
  const struct insn *insn = &block_step(b)->insn;
  if (insn->has_mem) {
    host_load(&b->code, to, access_mem(b));
    return;
  }
  if (insn->rm == REG_ESP) block_flush_esp(b);
  host_mov(&b->code, to, host_reg(insn->rm));
}

void emit_jmp_ind(struct block *b) {
  branch_safepoint(b);
  load_target(b, H_R8);
  branch_indirect(b);
}

void emit_call_ind(struct block *b) {
  branch_safepoint(b);
  load_target(b, H_R11);
  host_store_imm(&b->code, access_stack(b, -4), b->rq->eip + b->at + block_step(b)->insn.length);
  block_move_esp(b, -4);
  host_mov(&b->code, H_R8, H_R11);
  branch_indirect(b);
}

void emit_ret(struct block *b) {
  branch_safepoint(b);
  host_load(&b->code, H_R8, access_stack(b, 0));
  block_move_esp(b, 4 + (int32_t)(block_step(b)->insn.imm & 0xffff));
  branch_indirect(b);
}
