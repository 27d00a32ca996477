/* Inline code of string instructions (D2).
 *
 * In flat segments the host's own instruction on host pointers, so that DF needs no look: ESI and EDI become pointers, move as DF
 * says, and become offsets again (x + ~a + 1 = x - a, without flags). In others, or at 16-bit offsets, what it is made of: a
 * load, a store or a compare, and SI and DI that move by themselves. */
#include "block.h"
#include "../mmu/layout.h"

static void to_offset(struct host_code *c, unsigned reg, unsigned addend) {
  host_not64(c, addend);
  host_lea(c, reg, hm_index(reg, addend, 0, 1));
}

/* Leaves the addend of [reg .. reg + R11D), if that lies in one page with an entry, in `addend`. */
static void rep_side(struct block *b, unsigned reg, unsigned addend, bool write, struct cold *slow) {
  struct host_code *c = &b->code;
  host_mov(c, addend, reg);
  host_alu_imm(c, HOg_AND, addend, MMU_PAGE_MASK);
  host_lea(c, addend, hm_index(addend, H_R11, 0, 0));
  host_alu_imm(c, HOg_CMP, addend, 4096);
  slow->jump = host_jcc(c, CC_A);
  access_page_number(b, addend, reg);
  host_load64(c, addend, access_shadow_entry(addend, write));
  host_test64(c, addend);
  slow->jump2 = host_jcc(c, CC_Z);
}

static struct cold *rep_slow(struct block *b, unsigned site, enum saved_flags saved) {
  struct cold *slow = block_cold(b, COLD_EXIT, 0, site);
  slow->saved = saved;
  return slow;
}

/* REP MOVS/STOS with DF clear: the host's own, when each side is one mapped page; the monitor otherwise. */
static void emit_rep(struct block *b) {
  struct host_code *c = &b->code;
  const struct insn *insn = &block_step(b)->insn;
  unsigned size = insn->operand_size, log = size == 4 ? 2 : size - 1, site = block_callout_site(b);
  bool movs = insn->kind == OP_MOVS;
  enum saved_flags saved = block_step(b)->live_before ? access_save_flags(b) : SAVED_NONE;
  struct cold *slow = rep_slow(b, site, saved);
  host_alu_imm(c, HOg_CMP, H_RCX, (int32_t)(4096 / size));
  slow->jump = host_jcc(c, CC_A);
  host_lea(c, H_R11, hm_index(H_NONE, H_RCX, log, 0));
  if (movs) rep_side(b, H_RSI, H_R8, false, rep_slow(b, site, saved));
  rep_side(b, H_RDI, H_R9, true, rep_slow(b, site, saved));
  access_restore_flags(b, saved);
  if (movs) host_lea64(c, H_RSI, hm_index(H_RSI, H_R8, 0, 0));
  host_lea64(c, H_RDI, hm_index(H_RDI, H_R9, 0, 0));
  host_op(c, HO_REP | copy_opcode(insn));
  if (movs) to_offset(c, H_RSI, H_R8);
  to_offset(c, H_RDI, H_R9);
}

/* R11 = bytes from [reg] to its page's end, if that is less than R11 has. */
static void nearer_end(struct block *b, unsigned reg, unsigned scratch) {
  struct host_code *c = &b->code;
  host_mov(c, scratch, reg);
  host_alu_imm(c, HOg_OR, scratch, ~MMU_PAGE_MASK);
  host_alu(c, HOg_CMP, scratch, H_R11); /* both are offset - 4096 */
  uint8_t *farther = host_jcc8(c, CC_BE);
  host_mov(c, H_R11, scratch);
  host_bind8(c, farther);
}

static void compared_page(struct block *b, unsigned reg, unsigned addend, struct cold *slow) {
  struct host_code *c = &b->code;
  access_page_number(b, addend, reg);
  host_load64(c, addend, access_shadow_entry(addend, false));
  host_test64(c, addend);
  slow->jump2 = host_jcc(c, CC_Z);
}

/* REP CMPS and SCAS with DF clear: the host's own, as far as the nearer page's end. Where that does not decide it the monitor
 * goes on, as it does at an element that lies in two pages. */
static void emit_rep_compare(struct block *b) {
  struct host_code *c = &b->code;
  const struct insn *insn = &block_step(b)->insn;
  unsigned log = insn->operand_size == 4 ? 2 : insn->operand_size - 1, site = block_callout_site(b);
  bool cmps = insn->kind == OP_CMPS, equal = insn->rep == 0xf3;
  enum saved_flags saved = access_save_flags(b);
  struct cold *slow = rep_slow(b, site, saved);
  host_mov(c, H_R11, H_RDI);
  host_alu_imm(c, HOg_OR, H_R11, ~MMU_PAGE_MASK);
  if (cmps) nearer_end(b, H_RSI, H_R8);
  host_not64(c, H_R11);
  host_lea(c, H_R11, hm(H_R11, 1));
  if (log) host_shift_imm(c, HOg_SHR, H_R11, log);
  host_alu(c, HOg_CMP, H_R11, H_RCX);
  uint8_t *fewer = host_jcc8(c, CC_BE);
  host_mov(c, H_R11, H_RCX);
  host_bind8(c, fewer);
  host_test64(c, H_R11);
  slow->jump = host_jcc(c, CC_Z);
  compared_page(b, H_RDI, H_R9, slow);
  if (cmps) compared_page(b, H_RSI, H_R8, rep_slow(b, site, saved));
  host_alu(c, HOg_SUB, H_RCX, H_R11);
  host_xchg64(c, H_RCX, H_R11);
  access_restore_flags(b, saved);
  if (cmps) host_lea64(c, H_RSI, hm_index(H_RSI, H_R8, 0, 0));
  host_lea64(c, H_RDI, hm_index(H_RDI, H_R9, 0, 0));
  host_op(c, (equal ? HO_REP : HO_REPNE) | copy_opcode(insn));
  if (cmps) to_offset(c, H_RSI, H_R8);
  to_offset(c, H_RDI, H_R9);
  host_lea(c, H_RCX, hm_index(H_RCX, H_R11, 0, 0));
  uint8_t *counted = host_jrcxz8(c);
  block_cold(b, COLD_EXIT, host_jcc(c, equal ? CC_Z : CC_NZ), site);
  host_bind8(c, counted);
}

static bool flat_string(const struct block *b, const struct insn *insn) {
  return insn->address_size == 4 && tr_seg_class(b->rq->mode, SEG_ES) == TR_SEG_FLAT &&
         tr_seg_class(b->rq->mode, insn->seg) == TR_SEG_FLAT;
}

/* SI or DI goes on to the next element, by the address size. No flags; clobbers R8. */
static void next_element(struct block *b, unsigned reg) {
  const struct insn *insn = &block_step(b)->insn;
  int32_t step = block_mode(b, TR_DOWN) ? -(int32_t)insn->operand_size : (int32_t)insn->operand_size;
  bool narrow = insn->address_size == 2;
  host_lea(&b->code, narrow ? H_R8 : reg, hm(reg, step));
  if (narrow) host_op_reg(&b->code, HO_16 | HO_MOVto, H_R8, reg);
}

/* Moves, and compares, of the operand size: the opcodes of bytes are one less. */
static unsigned element_op(const struct insn *insn, unsigned op) {
  return insn->operand_size == 1 ? op - 1 : op | copy_size(insn);
}

/* The element that is read first is in R11, and so is one that is to be stored; all checks come before anything changes. */
static void string_in_segments(struct block *b) {
  struct host_code *c = &b->code;
  const struct insn *insn = &block_step(b)->insn;
  unsigned kind = insn->kind, size = insn->operand_size;
  bool source = kind == OP_MOVS || kind == OP_CMPS || kind == OP_LODS, store = kind == OP_MOVS || kind == OP_STOS;
  struct host_mem m = hm_index(H_R9, H_R8, 0, 0);
  if (source) {
    access_in_segment(b, insn->seg, H_RSI, size, ACCESS_R);
    host_op_mem(c, element_op(insn, HO_MOV), kind == OP_LODS ? H_RAX : H_R11, m);
  }
  if (kind != OP_LODS) {
    access_in_segment(b, SEG_ES, H_RDI, size, store ? ACCESS_W : ACCESS_R);
    unsigned with = kind == OP_MOVS || kind == OP_CMPS ? H_R11 : H_RAX;
    host_op_mem(c, element_op(insn, store ? HO_MOVto : HO_CMP), with, m);
    next_element(b, H_RDI);
  }
  if (source) next_element(b, H_RSI);
}

void emit_string(struct block *b) {
  struct host_code *c = &b->code;
  const struct insn *insn = &block_step(b)->insn;
  if (insn->rep) {
    if (insn->kind == OP_CMPS || insn->kind == OP_SCAS) emit_rep_compare(b);
    else emit_rep(b);
    return;
  }
  if (!flat_string(b, insn)) {
    string_in_segments(b);
    return;
  }
  unsigned size = insn->operand_size;
  bool two = insn->kind == OP_MOVS || insn->kind == OP_CMPS, source = two || insn->kind == OP_LODS;
  bool store = insn->kind == OP_MOVS || insn->kind == OP_STOS;
  if (source) access_at_register(b, H_RSI, size, ACCESS_R);
  if (two) host_mov64(c, H_R11, H_R9);
  if (insn->kind != OP_LODS) access_at_register(b, H_RDI, size, store ? ACCESS_W : ACCESS_R);
  unsigned from = two ? H_R11 : H_R9;
  if (source) host_lea64(c, H_RSI, hm_index(H_RSI, from, 0, 0));
  if (insn->kind != OP_LODS) host_lea64(c, H_RDI, hm_index(H_RDI, H_R9, 0, 0));
  host_op(c, copy_opcode(insn));
  if (source) to_offset(c, H_RSI, from);
  if (insn->kind != OP_LODS) to_offset(c, H_RDI, H_R9);
}
