/* Leaving a block: direct jumps that chain, indirect ones that look their target up, safepoints and interrupt checks (D4, D6).
 * Nothing here touches flags. */
#include "block.h"
#include "../mmu/layout.h"

static uint32_t step_end(const struct block *b) { return b->at + b->steps[b->index].insn.length; }
static uint32_t next_eip(const struct block *b) { return b->rq->eip + step_end(b); }

/* Where a direct jump leads to: far ones name their CS. */
struct target {
  uint32_t eip, cs_base;
};
static struct target near_target(const struct block *b, uint32_t eip) { return (struct target){eip, b->rq->cs_base}; }
static uint32_t linear(struct target t) { return t.eip + t.cs_base; }

/* Of a straddling instruction, too: its second page was compared at the entry. */
static bool chains_freely(const struct block *b, uint32_t target) {
  return tr_chains_freely(b->rq->mode, b->rq->eip + b->rq->cs_base, target);
}

static bool may_chain(const struct block *b) {
  return !block_mode(b, TR_STEP | TR_NO_CHAIN) && !plan_changes_direction(b, &b->steps[b->index].insn);
}

/* Behind the last byte of 4 GiB comes the first: the one way back that no safepoint is before. */
static bool runs_around(const struct block *b, uint32_t eip) { return eip == next_eip(b) && eip < b->rq->eip; }

/* What lies beyond CS.limit is the next fetch's #GP (SDM vol. 3A, 5.3): the dispatcher raises it. */
static bool jump_chains(const struct block *b, uint32_t eip) {
  return may_chain(b) && eip <= b->rq->cs_limit && !runs_around(b, eip);
}

bool branch_chains_freely(const struct block *b, uint32_t eip) {
  return jump_chains(b, eip) && chains_freely(b, linear(near_target(b, eip)));
}

static unsigned jump_site(struct block *b, uint32_t target) {
  unsigned site = block_site(b, TR_SITE_JUMP);
  b->rq->sites[site].target = target;
  b->rq->sites[site].index = b->index + 1;
  return site;
}

/* Chaining compares the target page's fetch entry with the frame that the jump was bound to, in the displacement of an LEA. */
static void guarded_jump(struct block *b, struct target target, unsigned site, bool calls) {
  struct host_code *c = &b->code;
  host_mov64(c, H_R8, H_RCX);
  host_load(c, H_RCX, access_fetch_frame(linear(target) >> 12));
  host_lea(c, H_RCX, hm(H_RCX, 0x7fffffff)); /* no frame is that: unbound */
  b->rq->sites[site].guard = host_here(c) - 4;
  uint8_t *same = host_jrcxz8(c);
  host_mov64(c, H_RCX, H_R8);
  struct cold *other = block_cold(b, calls ? COLD_CALL : COLD_EXIT, host_jmp(c), site);
  host_bind8(c, same);
  host_mov64(c, H_RCX, H_R8);
  b->rq->sites[site].host = other->jump2 = calls ? host_call(c) : host_jmp(c);
  other->back = host_here(c);
}

/* `calls`: by a host CALL, behind which the return site is to follow. */
static void transfer(struct block *b, struct target target, bool calls) {
  block_flush_esp(b);
  unsigned site = jump_site(b, target.eip);
  if (!jump_chains(b, target.eip)) {
    b->rq->sites[site].kind = TR_SITE_END;
    block_exit_here(b, site);
    return;
  }
  if (!chains_freely(b, linear(target))) {
    guarded_jump(b, target, site, calls);
    return;
  }
  uint32_t jump = calls ? host_call(&b->code) : host_jmp(&b->code);
  b->rq->sites[site].host = jump;
  block_cold(b, COLD_JUMP, jump, site);
}

static void jump_to(struct block *b, struct target target) { transfer(b, target, false); }

void branch_jump(struct block *b, uint32_t eip) { jump_to(b, near_target(b, eip)); }

/* -icount: what the block has been charged for and does not run is given back on the way out. */
static void leave(struct block *b, unsigned cc, uint32_t target) {
  block_flush_esp(b);
  uint32_t taken = host_jcc(&b->code, cc);
  unsigned site = jump_site(b, target);
  b->rq->sites[site].host = taken;
  block_cold(b, block_option(b, TR_COUNT) ? COLD_PLAIN : COLD_JUMP, taken, site);
}

void branch_conditional(struct block *b, unsigned cc, uint32_t target) {
  if (block_step(b)->leaves) return leave(b, cc, target);
  uint32_t next = b->rq->eip + step_end(b);
  block_flush_esp(b);
  uint32_t taken = host_jcc(&b->code, cc);
  if (b->self_loop && target == b->rq->eip) { /* a round more: behind the checks that hold for all rounds */
    host_patch(&b->code, taken, b->loop_entry);
    branch_jump(b, next);
    return;
  }
  if (jump_chains(b, target) && chains_freely(b, linear(near_target(b, target)))) {
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

/* An EIP in `reg` that may lie beyond CS.limit is compared with it before anything is changed: #GP at the jump, the monitor's. In
 * real mode one of 16 bits never does. */
static void check_target(struct block *b, unsigned reg) {
  struct host_code *c = &b->code;
  enum tr_seg_class cs = tr_seg_class(b->rq->mode, SEG_CS);
  if (b->rq->cs_limit == 0xffffffff || (cs == TR_SEG_REAL && block_step(b)->insn.operand_size == 2)) return;
  unsigned site = block_callout_site(b);
  enum saved_flags saved = access_save_flags(b);
  host_alu_imm(c, HOg_CMP, reg, (int32_t)b->rq->cs_limit);
  block_cold(b, COLD_EXIT, host_jcc(c, CC_A), site)->saved = saved;
  access_restore_flags(b, saved);
}

/* ---- indirect jumps, calls and returns (D4) --------------------------------------------------------------------- */

/* Near calls and returns of flat 32-bit code, whose key is a mode's alone. The monitor forgets the host's return addresses with
 * every other mode and table, every drop of a fetch entry and every block's death. */
static bool uses_host_stack(const struct block *b) {
  return block_mode(b, TR_CS_FLAT) && !block_mode(b, TR_REAL | TR_V86) && b->steps[b->index].insn.operand_size == 4 &&
         may_chain(b) && !block_option(b, TR_NO_HASH | TR_NO_RETURNS);
}

/* Behind a host CALL: a host RET leads here, with the EIP that the guest returns to in R8. If it is another, the address was that
 * of a call which the guest left in another way (longjmp(), a switch of stacks, POP): the next is tried. */
static void return_site(struct block *b) {
  struct host_code *c = &b->code;
  uint32_t eip = next_eip(b);
  host_mov64(c, H_R10, H_RCX);
  host_lea(c, H_RCX, hm(H_R8, (int32_t)-eip));
  uint8_t *here = host_jrcxz8(c);
  host_mov64(c, H_RCX, H_R10);
  host_op(c, HO_RET);
  host_bind8(c, here);
  host_mov64(c, H_RCX, H_R10);
  branch_jump(b, eip);
}

/* The EIP in R8 in the hash: runs on where it is not there. What is returned is to be bound to go_hashed(). */
static uint8_t *look_up(struct block *b) {
  struct host_code *c = &b->code;
  unsigned at = H_R8;
  if (!block_mode(b, TR_CS_FLAT)) {
    host_load(c, at = H_R10, access_segment_base(SEG_CS));
    host_lea(c, H_R10, hm_index(H_R10, H_R8, 0, 0));
  }
  access_page_number_keeping_flags(b, H_R9, at);
  return host_look_up(c, tr_seg_class(b->rq->mode, SEG_CS) == TR_SEG_REAL);
}
static void go_hashed(struct block *b, uint8_t *hit, bool calls) {
  host_bind8(&b->code, hit);
  host_mov64(&b->code, H_RCX, H_R10);
  host_op_mem(&b->code, HO_GROUP5, calls ? HOg_CALL : HOg_JMP, HM_HASHED_CODE);
}

/* Most calls through a register or memory have one target. What R8 is compared with is the first one that may be chained to
 * freely; other targets are looked up, out of line. */
static void expect_target(struct block *b, unsigned site) {
  struct host_code *c = &b->code;
  host_mov64(c, H_R10, H_RCX);
  host_lea(c, H_RCX, hm(H_R8, 0x7fffffff));
  b->rq->sites[site].guard = host_here(c) - 4;
  uint8_t *same = host_jrcxz8(c);
  host_mov64(c, H_RCX, H_R10);
  struct cold *other = block_cold(b, COLD_TARGET, host_jmp(c), site);
  host_bind8(c, same);
  host_mov64(c, H_RCX, H_R10);
  b->rq->sites[site].host = other->jump2 = host_call(c);
  other->back = host_here(c);
  return_site(b);
}

/* Its other targets. The jump in front leads to the exit until the first one is known, then to what follows it. */
void branch_cold_target(struct block *b, const struct cold *k) {
  struct host_code *c = &b->code;
  host_patch(c, k->jump, host_here(c));
  uint32_t unknown = b->rq->sites[k->site].target = host_jmp(c);
  uint8_t *hit = look_up(b);
  host_patch(c, unknown, host_here(c));
  block_cold_call(b, k);
  go_hashed(b, hit, true);
  host_patch(c, host_jmp(c), k->back);
}

/* To the EIP in R8; `calls`: by a host CALL. */
static void indirect(struct block *b, bool calls) {
  struct host_code *c = &b->code;
  block_flush_esp(b);
  unsigned site = block_site(b, TR_SITE_INDIRECT);
  b->rq->sites[site].index = b->index + 1;
  if (!may_chain(b) || block_option(b, TR_NO_HASH)) {
    block_exit_here(b, site);
    return;
  }
  if (calls && !block_option(b, TR_NO_TARGETS)) return expect_target(b, site);
  uint8_t *hit = look_up(b);
  struct cold *miss = block_cold(b, calls ? COLD_CALL : COLD_EXIT, host_jmp(c), site);
  go_hashed(b, hit, calls);
  miss->back = host_here(c);
  if (calls) return_site(b);
}

void branch_indirect(struct block *b) { indirect(b, false); }

/* ---- one kind each --------------------------------------------------------------------------------------------- */

static uint32_t branch_target(const struct block *b) { return plan_target(b, b->at, &b->steps[b->index].insn); }
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

/* Jumps to `zero` or to `otherwise` by eCX in the address size, with no flag touched: they have no rel32 form, LOOP is slow, and
 * of CX the host's 64-bit code has none. */
static void branch_on_count(struct block *b, uint32_t zero, uint32_t otherwise, bool loops) {
  struct host_code *c = &b->code;
  bool narrow = block_step(b)->insn.address_size == 2;
  if (narrow) {
    host_mov64(c, H_R9, H_RCX);
    host_movzx16(c, H_RCX, H_RCX);
  }
  uint8_t *is_zero = host_jrcxz8(c);
  if (narrow) host_mov64(c, H_RCX, H_R9);
  uint32_t not_zero = host_jmp(c);
  host_bind8(c, is_zero);
  if (narrow) host_mov64(c, H_RCX, H_R9);
  branch_jump(b, zero);
  if (loops && b->self_loop) {
    host_patch(c, not_zero, b->loop_entry);
    return;
  }
  host_patch(c, not_zero, host_here(c));
  branch_jump(b, otherwise);
}

void emit_jcxz(struct block *b) {
  branch_safepoint(b);
  block_flush_esp(b);
  branch_on_count(b, branch_target(b), next_eip(b), false);
}

/* LOOPE and LOOPNE leave for the next instruction by ZF first. */
void emit_loop(struct block *b) {
  struct host_code *c = &b->code;
  unsigned kind = block_step(b)->insn.kind;
  branch_safepoint(b);
  block_flush_esp(b);
  if (block_step(b)->insn.address_size == 2) {
    host_lea(c, H_R9, hm(H_RCX, -1));
    host_op_reg(c, HO_16 | HO_MOVto, H_R9, H_RCX);
  } else {
    host_lea(c, H_RCX, hm(H_RCX, -1));
  }
  if (kind == OP_LOOP) {
    branch_on_count(b, next_eip(b), branch_target(b), true);
    return;
  }
  uint32_t leave = host_jcc(c, kind == OP_LOOPE ? CC_NZ : CC_Z);
  branch_on_count(b, next_eip(b), branch_target(b), false);
  host_patch(c, leave, host_here(c));
  branch_jump(b, next_eip(b));
}

static void push_next_eip(struct block *b) {
  unsigned size = block_step(b)->insn.operand_size;
  struct host_mem m = access_stack(b, -(int32_t)size);
  if (size == 2) host_store_imm16(&b->code, m, next_eip(b));
  else host_store_imm(&b->code, m, next_eip(b));
  block_move_esp(b, -(int32_t)size);
}

void emit_call_rel(struct block *b) {
  uint32_t target = branch_target(b);
  if (backward(b)) branch_safepoint(b);
  push_next_eip(b);
  bool calls = uses_host_stack(b) && target != next_eip(b); /* to the next instruction: to learn its own address */
  transfer(b, near_target(b, target), calls);
  if (calls) return_site(b);
}

/* The return address stays below the stack, as RET leaves it. */
void emit_call_pc(struct block *b) {
  const struct insn *insn = &block_step(b)->insn;
  host_store_imm(&b->code, access_stack(b, -(int32_t)insn->operand_size), insn->imm);
  host_mov_imm(&b->code, host_reg(insn->operand_reg[0]), insn->imm);
}

static void load_value(struct block *b, unsigned to, struct host_mem m) {
  if (block_step(b)->insn.operand_size == 2) host_load16(&b->code, to, m);
  else host_load(&b->code, to, m);
}

static void load_target(struct block *b, unsigned to) {
  const struct insn *insn = &block_step(b)->insn;
  if (insn->has_mem) {
    load_value(b, to, access_mem(b));
  } else {
    if (insn->rm == REG_ESP) block_flush_esp(b);
    if (insn->operand_size == 2) host_movzx16(&b->code, to, host_reg(insn->rm));
    else host_mov(&b->code, to, host_reg(insn->rm));
  }
  check_target(b, to);
}

void emit_jmp_ind(struct block *b) {
  branch_safepoint(b);
  load_target(b, H_R8);
  branch_indirect(b);
}

void emit_call_ind(struct block *b) {
  branch_safepoint(b);
  load_target(b, H_R11);
  push_next_eip(b);
  host_mov(&b->code, H_R8, H_R11);
  indirect(b, uses_host_stack(b));
}

static int32_t released(const struct insn *insn) { return insn->imm_size ? (int32_t)(insn->imm & 0xffff) : 0; }

/* What RET takes was put there right before it, by PUSH or MOV [ESP] (a retpoline): a jump, and the host's addresses stay for
 * those who were called. */
static bool ret_jumps(const struct block *b) {
  if (!b->index) return false;
  const struct insn *insn = &b->steps[b->index - 1].insn;
  if (insn->kind == OP_PUSH_REG || insn->kind == OP_PUSH_IMM || insn->kind == OP_PUSH_MEM) return true;
  bool stores = insn->kind == OP_COPY && insn->row->does == DOES_MOV && insn->has_mem && insn->access == ACCESS_W;
  return stores && insn->base == REG_ESP && insn->index == REG_NONE && insn->disp == 0;
}

void emit_ret(struct block *b) {
  const struct insn *insn = &block_step(b)->insn;
  /* with a safepoint below its stack alone: it returns no oftener than it was called */
  bool host = uses_host_stack(b) && !ret_jumps(b);
  if (!host) branch_safepoint(b);
  load_value(b, H_R8, access_stack(b, 0));
  check_target(b, H_R8);
  block_move_esp(b, (int32_t)insn->operand_size + released(insn));
  if (!host) return branch_indirect(b);
  block_flush_esp(b);
  host_op(&b->code, HO_RET);
}

/* ---- far ones, of real mode and V86: EIP has 16 bits, and CS loads as other segment registers do ------------------- */

static struct target far_target(const struct insn *insn) {
  return (struct target){insn->imm & 0xffff, (uint32_t)insn->imm2 << 4};
}

static void jump_far(struct block *b, const struct insn *insn) {
  stack_load_cs_imm(b, insn->imm2);
  jump_to(b, far_target(insn));
}

/* To selector R9 and EIP R8, each loaded by itself: a load of both words together would wait for two stores. */
static void jump_far_indirect(struct block *b) {
  stack_load_cs(b, H_R9);
  branch_indirect(b);
}

static void far_pointer_at_r8(struct block *b) {
  host_load16(&b->code, H_R9, hm(H_R8, 2));
  host_load16(&b->code, H_R8, hm(H_R8, 0));
}

/* The far pointer in R11. */
static void jump_far_pointer(struct block *b) {
  struct host_code *c = &b->code;
  struct host_mem selector = HM_STATE(scratch[2]);
  host_store(c, selector, H_R11);
  selector.disp += 2;
  host_movzx16(c, H_R8, H_R11);
  host_load16(c, H_R9, selector);
  jump_far_indirect(b);
}

/* CS and EIP of the next instruction to [at]; clobbers R9. */
static void push_far_at(struct block *b, unsigned at) {
  struct host_code *c = &b->code;
  host_load16(c, H_R9, access_segment_selector(SEG_CS));
  host_op_mem(c, HO_16 | HO_MOVto, H_R9, hm(at, 2));
  host_store_imm16(c, hm(at, 0), next_eip(b));
}

static void push_far(struct block *b) {
  host_lea64(&b->code, H_R8, access_stack(b, -4));
  push_far_at(b, H_R8);
  block_move_esp(b, -4);
}

void emit_jmp_far_imm(struct block *b) {
  branch_safepoint(b);
  jump_far(b, &block_step(b)->insn);
}

void emit_call_far_imm(struct block *b) {
  branch_safepoint(b);
  push_far(b);
  block_flush_esp(b);
  jump_far(b, &block_step(b)->insn);
}

void emit_jmp_far_mem(struct block *b) {
  branch_safepoint(b);
  host_load(&b->code, H_R11, access_mem(b));
  block_flush_esp(b);
  jump_far_pointer(b);
}

void emit_call_far_mem(struct block *b) {
  branch_safepoint(b);
  host_load(&b->code, H_R11, access_mem(b));
  push_far(b);
  block_flush_esp(b);
  jump_far_pointer(b);
}

/* Real mode's (SDM vol. 3A, 20.1.4). TF is clear, RF and AC are cleared in the image that stays. R11 keeps EAX, R10 is free: it
 * is the last instruction. */
void emit_int(struct block *b) {
  struct host_code *c = &b->code;
  branch_safepoint(b);
  host_lea64(c, H_R8, access_stack(b, -6));
  struct cold *slow = block_cold(b, COLD_EXIT, 0, block_callout_site(b));
  slow->saved = SAVED_R11;
  host_mov64(c, H_R11, H_RAX);
  host_op(c, HO_PUSHF); /* on the code stack */
  host_save_flags(c);
  host_pop(c, H_R9);
  host_load64(c, H_R10, HM_STATE(ivt_host));
  host_test64(c, H_R10);
  slow->jump = host_jcc(c, CC_Z);
  host_load(c, H_R10, hm(H_R10, (int32_t)(block_step(b)->insn.imm & 0xff) * 4));
  host_alu_imm(c, HOg_AND, H_R9, FLAGS_ARITH | FLAG_DF);
  host_alu_mem(c, HOg_OR, H_R9, HM_STATE(if_flag));
  host_alu_mem(c, HOg_OR, H_R9, HM_STATE(sys_flags));
  host_op_mem(c, HO_16 | HO_MOVto, H_R9, hm(H_R8, 4));
  push_far_at(b, H_R8);
  host_store_imm(c, HM_STATE(if_flag), 0);
  host_load(c, H_R9, HM_STATE(sys_flags));
  host_alu_imm(c, HOg_AND, H_R9, ~(FLAG_AC | FLAG_RF));
  host_store(c, HM_STATE(sys_flags), H_R9);
  host_restore_flags(c);
  host_mov64(c, H_RAX, H_R11);
  block_move_esp(b, -6);
  block_flush_esp(b);
  host_mov(c, H_R11, H_R10);
  jump_far_pointer(b);
}

/* IRET of real mode and V86 that changes no system flag but IF, and lets no interrupt in; any other is the monitor's. */
void emit_iret(struct block *b) {
  struct host_code *c = &b->code;
  branch_safepoint(b);
  host_lea64(c, H_R8, access_stack(b, 0));
  unsigned site = block_callout_site(b);
  struct cold *slow = block_cold(b, COLD_EXIT, 0, site), *interrupt = block_cold(b, COLD_EXIT, 0, site);
  host_load16(c, H_R9, hm(H_R8, 4));
  host_load(c, H_R10, HM_STATE(sys_flags));
  host_alu(c, HOg_XOR, H_R10, H_R9);
  host_test_imm(c, H_R10, FLAG_TF | FLAG_IOPL | FLAG_NT);
  slow->jump = host_jcc(c, CC_NZ);
  host_test_imm(c, H_R9, FLAG_DF);
  slow->jump2 = host_jcc(c, CC_NZ);
  host_load(c, H_R10, HM_STATE(irq_pending));
  host_alu(c, HOg_AND, H_R10, H_R9);
  interrupt->jump = host_jcc(c, CC_NZ);
  host_op(c, HO_CLD);
  host_mov(c, H_R10, H_R9);
  host_alu_imm(c, HOg_AND, H_R10, FLAG_IF);
  host_store(c, HM_STATE(if_flag), H_R10);
  host_mov64(c, H_R10, H_RAX);
  host_mov(c, H_RAX, H_R9);
  host_flags_from_image(c, H_R9);
  host_mov64(c, H_RAX, H_R10);
  block_move_esp(b, 6);
  block_flush_esp(b);
  far_pointer_at_r8(b);
  jump_far_indirect(b);
}

void emit_retf(struct block *b) {
  branch_safepoint(b);
  host_lea64(&b->code, H_R8, access_stack(b, 0));
  block_move_esp(b, 4 + released(&block_step(b)->insn));
  block_flush_esp(b);
  far_pointer_at_r8(b);
  jump_far_indirect(b);
}
