/* Inline code of what pushes or pops, and of segment registers (D7), in every operand size and on every stack that is checked
 * inline: flat, or 16-bit ones in segments with a base, on which SP wraps around (block_add_esp()). */
#include "block.h"

static unsigned operand_bytes(const struct block *b) { return b->steps[b->index].insn.operand_size; }

/* A move of the current instruction's operand size, which leaves the rest of a register alone. */
static void load_operand(struct block *b, unsigned to, struct host_mem m) {
  host_op_mem(&b->code, HO_MOV | copy_size(&block_step(b)->insn), to, m);
}
static void store_operand(struct block *b, struct host_mem m, unsigned from) {
  host_op_mem(&b->code, HO_MOVto | copy_size(&block_step(b)->insn), from, m);
}
/* ... whose value is in the whole register. */
static void load_value(struct block *b, unsigned to, struct host_mem m) {
  if (operand_bytes(b) == 2) host_load16(&b->code, to, m);
  else host_load(&b->code, to, m);
}

static struct host_mem pushed(struct block *b) { return access_stack(b, -(int32_t)operand_bytes(b)); }
static void moved_down(struct block *b) { block_move_esp(b, -(int32_t)operand_bytes(b)); }

void emit_push_reg(struct block *b) {
  unsigned reg = block_step(b)->insn.operand_reg[0], from = host_reg(reg);
  if (reg == REG_ESP) {
    if (b->stack16) block_flush_esp(b);
    host_lea(&b->code, from = H_R11, hm(H_R15, b->pending));
  }
  store_operand(b, pushed(b), from);
  moved_down(b);
}

void emit_push_imm(struct block *b) {
  struct host_mem m = pushed(b);
  if (operand_bytes(b) == 2) host_store_imm16(&b->code, m, block_step(b)->insn.imm);
  else host_store_imm(&b->code, m, block_step(b)->insn.imm);
  moved_down(b);
}

void emit_push_mem(struct block *b) {
  load_value(b, H_R11, access_mem(b));
  store_operand(b, pushed(b), H_R11);
  moved_down(b);
}

/* A 32-bit push has zero in the upper half: x_push_seg(). */
void emit_push_seg(struct block *b) {
  host_load16(&b->code, H_R11, access_segment_selector(block_step(b)->insn.sreg));
  store_operand(b, pushed(b), H_R11);
  moved_down(b);
}

/* What was popped wins over the increment, whose upper half a 16-bit POP SP leaves. */
static void pop_esp(struct block *b) {
  struct host_code *c = &b->code;
  if (operand_bytes(b) == 4) {
    host_load(c, H_R15, access_stack(b, 0));
  } else {
    host_load16(c, H_R8, access_stack(b, 0));
    if (!b->stack16) block_move_esp(b, 2), block_flush_esp(b);
    host_op_reg(c, HO_16 | HO_MOVto, H_R8, H_R15);
  }
  b->pending = 0;
}

void emit_pop_reg(struct block *b) {
  unsigned reg = block_step(b)->insn.operand_reg[0];
  if (reg == REG_ESP) {
    pop_esp(b);
    return;
  }
  load_operand(b, host_reg(reg), access_stack(b, 0));
  block_move_esp(b, (int32_t)operand_bytes(b));
}

/* EDI first, ESP as it was: from the lowest address up (SDM vol. 2, PUSHA). */
void emit_pusha(struct block *b) {
  int32_t size = (int32_t)operand_bytes(b);
  block_flush_esp(b);
  host_lea64(&b->code, H_R8, access_stack(b, -8 * size));
  for (unsigned r = 0; r < 8; r++) store_operand(b, hm(H_R8, (int32_t)(7 - r) * size), host_reg(r));
  block_move_esp(b, -8 * size);
}

void emit_popa(struct block *b) {
  int32_t size = (int32_t)operand_bytes(b);
  host_lea64(&b->code, H_R8, access_stack(b, 0));
  for (unsigned r = 0; r < 8; r++)
    if (r != REG_ESP) load_operand(b, host_reg(r), hm(H_R8, (int32_t)(7 - r) * size));
  block_move_esp(b, 8 * size);
}

/* Of no outer levels: all of the frame may be written, so the store that the manual makes at its end cannot fault. */
void emit_enter(struct block *b) {
  struct host_code *c = &b->code;
  int32_t size = (int32_t)operand_bytes(b), locals = (int32_t)(block_step(b)->insn.imm & 0xffff);
  struct host_mem m = access_stack(b, -(size + locals));
  m.disp += locals;
  host_lea64(c, H_R8, m);
  store_operand(b, hm(H_R8, 0), H_RBP);
  block_move_esp(b, -size);
  block_flush_esp(b);
  host_op_reg(c, HO_MOVto | copy_size(&block_step(b)->insn), H_R15, H_RBP);
  block_move_esp(b, -locals);
}

void emit_leave(struct block *b) {
  struct host_code *c = &b->code;
  struct host_mem m = access_stack(b, 0);
  int32_t size = (int32_t)operand_bytes(b);
  if (m.mirrored) { /* which may fault */
    load_operand(b, H_R8, m);
    host_lea(c, H_R15, hm(H_RBP, size));
    host_op_reg(c, HO_MOVto | copy_size(&block_step(b)->insn), H_R8, H_RBP);
  } else if (b->stack16) {
    load_value(b, H_R8, m);
    host_lea(c, H_R9, hm(H_RBP, size));
    host_op_reg(c, HO_16 | HO_MOVto, H_R9, H_R15);
    host_op_reg(c, HO_MOVto | copy_size(&block_step(b)->insn), H_R8, H_RBP);
  } else {
    host_lea(c, H_R15, hm(H_RBP, size));
    load_operand(b, H_RBP, m);
  }
  b->pending = 0;
}

/* ---- segment registers ------------------------------------------------------------------------------------------- */

void emit_mov_from_seg(struct block *b) {
  const struct insn *insn = &block_step(b)->insn;
  struct host_mem selector = access_segment_selector(insn->sreg);
  if (insn->has_mem) {
    host_load16(&b->code, H_R11, selector);
    host_op_mem(&b->code, HO_16 | HO_MOVto, H_R11, access_mem(b));
    return;
  }
  if (insn->rm == REG_ESP) block_flush_esp(b);
  host_load16(&b->code, H_R8, selector);
  host_op_reg(&b->code, HO_MOVto | copy_size(insn), H_R8, host_reg(insn->rm));
}

static bool real_segments(const struct block *b) { return block_mode(b, TR_REAL | TR_V86); }

/* Base and selector, from the selector in `reg`, of which nothing is left: all that real mode and V86 load (SDM vol. 3A, 20.1.1).
 * No flags. */
static void real_segment(struct block *b, unsigned seg, unsigned reg) {
  struct host_code *c = &b->code;
  host_op_mem(c, HO_16 | HO_MOVto, reg, access_segment_selector(seg));
  host_lea(c, reg, hm_index(reg, reg, 0, 0));
  host_lea(c, reg, hm_index(H_NONE, reg, 3, 0));
  host_store(c, access_segment_base(seg), reg);
}

/* CS likewise: its selector is a part of keys in the hash (state.h). */
void stack_load_cs(struct block *b, unsigned reg) {
  struct host_code *c = &b->code;
  host_mov(c, H_R10, reg);
  host_op_plus(c, HO_BSWAP, H_R10);
  host_store(c, HM_STATE(cs_key), H_R10);
  real_segment(b, SEG_CS, reg);
}

void stack_load_cs_imm(struct block *b, uint16_t selector) {
  struct host_code *c = &b->code;
  host_store_imm(c, HM_STATE(cs_key), __builtin_bswap32(selector));
  host_store_imm16(c, access_segment_selector(SEG_CS), selector);
  host_store_imm(c, access_segment_base(SEG_CS), (uint32_t)selector << 4);
}

/* The selector in R9 is the one that is loaded, and its descriptor in the GDT is still what it was then: nothing to do. All else
 * is the monitor's (D7). Clobbers R8, R11, flags. */
static void same_segment(struct block *b, unsigned seg, enum saved_flags saved) {
  struct host_code *c = &b->code;
  struct cold *other = block_cold(b, COLD_EXIT, 0, block_callout_site(b)), *changed = block_cold(b, COLD_EXIT, 0, other->site);
  other->saved = changed->saved = saved;
  host_load16(c, H_R8, access_segment_selector(seg));
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

/* The selector is in R9. */
static void load_segment(struct block *b) {
  unsigned seg = block_step(b)->insn.sreg;
  if (real_segments(b)) {
    real_segment(b, seg, H_R9);
    return;
  }
  enum saved_flags saved = block_step(b)->live_before ? access_save_flags(b) : SAVED_NONE;
  same_segment(b, seg, saved);
  access_restore_flags(b, saved);
}

void emit_mov_to_seg(struct block *b) {
  const struct insn *insn = &block_step(b)->insn;
  if (insn->has_mem) {
    host_load16(&b->code, H_R9, access_mem(b));
  } else {
    if (insn->rm == REG_ESP) block_flush_esp(b);
    host_movzx16(&b->code, H_R9, host_reg(insn->rm));
  }
  load_segment(b);
}

void emit_pop_seg(struct block *b) {
  host_load16(&b->code, H_R9, access_stack(b, 0));
  load_segment(b);
  block_move_esp(b, (int32_t)operand_bytes(b));
}

/* The selector lies behind the offset. */
void emit_load_far(struct block *b) {
  const struct insn *insn = &block_step(b)->insn;
  if (insn->reg == REG_ESP) block_flush_esp(b);
  struct host_mem m = access_mem(b);
  host_lea64(&b->code, H_R8, m);
  host_load16(&b->code, H_R9, hm(H_R8, insn->operand_size));
  load_operand(b, host_reg(insn->reg), hm(H_R8, 0));
  real_segment(b, insn->sreg, H_R9);
}

/* ---- flags ------------------------------------------------------------------------------------------------------- */

/* SDM vol. 2, PUSHF: VM and RF are cleared in the image. */
void emit_pushf(struct block *b) {
  struct host_code *c = &b->code;
  bool window = block_step(b)->acc[ACC_STACK].window != NO_WINDOW;
  struct host_mem m = pushed(b);
  if (!window) host_lea64(c, H_R8, m), m = hm(H_R8, 0);
  host_mov64(c, H_R11, H_RAX);
  host_op(c, HO_PUSHF); /* on the code stack */
  host_save_flags(c);
  host_pop(c, H_R9);
  host_alu_imm(c, HOg_AND, H_R9, FLAGS_ARITH | FLAG_DF);
  host_alu_mem(c, HOg_OR, H_R9, HM_STATE(if_flag));
  host_alu_mem(c, HOg_OR, H_R9, HM_STATE(sys_flags));
  host_alu_imm(c, HOg_AND, H_R9, ~(FLAG_RF | FLAG_VM));
  store_operand(b, m, H_R9);
  host_restore_flags(c);
  host_mov64(c, H_RAX, H_R11);
  moved_down(b);
}

/* POPF that changes no system flag but IF; any other goes to the monitor (SDM vol. 2, POPF). */
void emit_popf(struct block *b) {
  struct host_code *c = &b->code;
  enum { SYSTEM = FLAG_TF | FLAG_IOPL | FLAG_NT | FLAG_AC | FLAG_ID };
  bool word = operand_bytes(b) == 2; /* the upper half of EFLAGS stays */
  load_value(b, H_R9, access_stack(b, 0));
  struct cold *slow = block_cold(b, COLD_EXIT, 0, block_callout_site(b));
  host_load(c, H_R8, HM_STATE(sys_flags));
  host_alu(c, HOg_XOR, H_R8, H_R9);
  host_test_imm(c, H_R8, word ? SYSTEM & 0xffff : SYSTEM);
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
  block_move_esp(b, (int32_t)operand_bytes(b));
  branch_irq_check(b);
}
