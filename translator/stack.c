/* Inline code of what pushes or pops, and of segment registers (D7): 32-bit operands on a flat 32-bit stack. */
#include "block.h"

void emit_push_reg(struct block *b) {
  unsigned reg = block_step(b)->insn.operand_reg[0], from = host_reg(reg);
  if (reg == REG_ESP) host_lea(&b->code, from = H_R11, hm(H_R15, b->pending));
  host_store(&b->code, access_stack(b, -4), from);
  block_move_esp(b, -4);
}

void emit_push_imm(struct block *b) {
  host_store_imm(&b->code, access_stack(b, -4), block_step(b)->insn.imm);
  block_move_esp(b, -4);
}

void emit_push_mem(struct block *b) {
  host_load(&b->code, H_R11, access_mem(b));
  host_store(&b->code, access_stack(b, -4), H_R11);
  block_move_esp(b, -4);
}

static struct host_mem selector(unsigned seg) {
  return hm(H_R13,
            (int32_t)(offsetof(struct tr_state, seg) + seg * sizeof(struct tr_segment) + offsetof(struct tr_segment, selector)));
}

void emit_push_seg(struct block *b) {
  host_load16(&b->code, H_R11, selector(block_step(b)->insn.sreg));
  host_store(&b->code, access_stack(b, -4), H_R11);
  block_move_esp(b, -4);
}

void emit_pop_reg(struct block *b) {
  unsigned reg = block_step(b)->insn.operand_reg[0];
  host_load(&b->code, host_reg(reg), access_stack(b, 0));
  if (reg == REG_ESP) b->pending = 0;
  else block_move_esp(b, 4);
}

void emit_leave(struct block *b) {
  struct host_mem m = access_stack(b, 0);
  host_lea(&b->code, H_R15, hm(H_RBP, 4));
  host_load(&b->code, H_RBP, m);
  b->pending = 0;
}

void emit_mov_from_seg(struct block *b) {
  const struct insn *insn = &block_step(b)->insn;
  host_load16(&b->code, H_R8, selector(insn->sreg));
  if (insn->rm == REG_ESP) block_flush_esp(b);
  host_op_reg(&b->code, HO_MOVto | copy_size(insn), H_R8, host_reg(insn->rm));
}

/* The selector in R9 is the one that is loaded, and its descriptor in the GDT is still what it was then: nothing to do. All else
 * is the monitor's (D7). Clobbers R8, R11, flags. */
static void same_segment(struct block *b, unsigned seg, enum saved_flags saved) {
  struct host_code *c = &b->code;
  struct cold *other = block_cold(b, COLD_EXIT, 0, block_callout_site(b)), *changed = block_cold(b, COLD_EXIT, 0, other->site);
  other->saved = changed->saved = saved;
  host_load16(c, H_R8, selector(seg));
  host_alu(c, HOg_CMP, H_R9, H_R8);
  other->jump = host_jcc(c, CC_NZ);
  host_load64(c, H_R8, HM_STATE(gdt_host));
  host_test64(c, H_R8);
  other->jump2 = host_jcc(c, CC_Z);
  host_alu_imm(c, HOg_AND, H_R9, 0xfff8);
  host_load64(c, H_R8, hm_index(H_R8, H_R9, 0, 0));
  host_alu_mem(c, HO_64 | HOg_CMP, H_R8, hm(H_R13, (int32_t)(offsetof(struct tr_state, seg_raw) + 8 * seg)));
  changed->jump = host_jcc(c, CC_NZ);
}

void emit_mov_to_seg(struct block *b) {
  const struct insn *insn = &block_step(b)->insn;
  if (insn->rm == REG_ESP) block_flush_esp(b);
  host_movzx16(&b->code, H_R9, host_reg(insn->rm));
  enum saved_flags saved = block_step(b)->live_before ? access_save_flags(b) : SAVED_NONE;
  same_segment(b, insn->sreg, saved);
  access_restore_flags(b, saved);
}

void emit_pop_seg(struct block *b) {
  host_load16(&b->code, H_R9, access_stack(b, 0));
  enum saved_flags saved = block_step(b)->live_before ? access_save_flags(b) : SAVED_NONE;
  same_segment(b, block_step(b)->insn.sreg, saved);
  access_restore_flags(b, saved);
  block_move_esp(b, 4);
}

/* SDM vol. 2, PUSHF: VM and RF are cleared in the image. */
void emit_pushf(struct block *b) {
  struct host_code *c = &b->code;
  bool window = block_step(b)->acc[ACC_STACK].window != NO_WINDOW;
  struct host_mem m = access_stack(b, -4);
  if (!window) host_lea64(c, H_R8, m), m = hm(H_R8, 0);
  host_mov64(c, H_R11, H_RAX);
  host_op(c, HO_PUSHF); /* on the code stack */
  host_save_flags(c);
  host_pop(c, H_R9);
  host_alu_imm(c, HOg_AND, H_R9, FLAGS_ARITH | FLAG_DF);
  host_alu_mem(c, HOg_OR, H_R9, HM_STATE(if_flag));
  host_alu_mem(c, HOg_OR, H_R9, HM_STATE(sys_flags));
  host_alu_imm(c, HOg_AND, H_R9, ~(FLAG_RF | FLAG_VM));
  host_store(c, m, H_R9);
  host_restore_flags(c);
  host_mov64(c, H_RAX, H_R11);
  block_move_esp(b, -4);
}

/* POPF that changes no system flag but IF; any other goes to the monitor (SDM vol. 2, POPF). */
void emit_popf(struct block *b) {
  struct host_code *c = &b->code;
  enum { SYSTEM = FLAG_TF | FLAG_IOPL | FLAG_NT | FLAG_AC | FLAG_ID };
  host_load(c, H_R9, access_stack(b, 0));
  struct cold *slow = block_cold(b, COLD_EXIT, 0, block_callout_site(b));
  host_load(c, H_R8, HM_STATE(sys_flags));
  host_alu(c, HOg_XOR, H_R8, H_R9);
  host_test_imm(c, H_R8, SYSTEM);
  slow->jump = host_jcc(c, CC_NZ);
  host_test_imm(c, H_R9, FLAG_DF);
  slow->jump2 = host_jcc(c, CC_NZ);
  host_op(c, HO_CLD);
  host_mov(c, H_R8, H_R9);
  host_alu_imm(c, HOg_AND, H_R8, FLAG_IF);
  host_store(c, HM_STATE(if_flag), H_R8);
  host_alu_mem(c, HOg_AND, H_R8, HM_STATE(irq_pending));
  host_mov64(c, H_R11, H_RAX);
  host_mov(c, H_RAX, H_R9);
  host_flags_from_image(c, H_R9);
  host_mov64(c, H_RAX, H_R11);
  block_move_esp(b, 4);
  branch_irq_check(b);
}
