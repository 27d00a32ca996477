/* Inline code of string instructions (D2).
 *
 * The host's own instruction on host pointers, so that DF needs no look: ESI and EDI become pointers, move as DF says, and become
 * offsets again (x + ~a + 1 = x - a, without flags). */
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

void emit_string(struct block *b) {
  struct host_code *c = &b->code;
  const struct insn *insn = &block_step(b)->insn;
  if (insn->rep) {
    emit_rep(b);
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
