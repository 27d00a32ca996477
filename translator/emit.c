/* Inline code of what is neither stack, string nor jump: copies, moves with an encoding of their own, bit strings, IF, the TSC.
 * One function a kind (op_kinds.h). */
#include "block.h"

void emit_callout(struct block *b) {
  unsigned site = block_callout_site(b);
  block_exit_here(b, site);
  b->pending = 0;
}

static bool names_esp(const struct insn *insn) { /* as a register operand, not as the base of its address */
  uint8_t regs = insn->regs_read | insn->regs_written;
  if (!(regs >> REG_ESP & 1)) return false;
  if (!(insn->has_ea && insn->base == REG_ESP)) return true;
  if (insn->regs_written >> REG_ESP & 1) return true;
  return insn->modrm_offset && insn->mod != 3 && insn->reg == REG_ESP; /* may be an opcode extension: a flush is only slower */
}

/* ADD/SUB ESP, imm with dead flags (of a 16-bit stack SP), and MOV r, ESP: no need to bring R15 up to date. */
static bool fold_esp(struct block *b, const struct step *s) {
  const struct insn *insn = &s->insn;
  unsigned to = insn->operand_reg[0], from = insn->operand_reg[1], does = insn->row->does;
  if (block_option(b, TR_NO_FOLD) || insn->operand_size != (b->stack16 ? 2 : 4) || to == REG_NONE) return false;
  if ((does == DOES_ADD_IMM || does == DOES_SUB_IMM) && to == REG_ESP) {
    int32_t n = b->stack16 ? (int16_t)insn->imm : (int32_t)insn->imm;
    if (s->live_after || block_option(b, TR_EXACT_FLAGS) || (uint32_t)n + 4096 > 8192) return false;
    block_move_esp(b, does == DOES_ADD_IMM ? n : -n);
    return true;
  }
  if (does != DOES_MOV || from != REG_ESP || to == REG_ESP || !b->pending || b->stack16) return false;
  host_lea(&b->code, to, hm(H_R15, b->pending));
  return true;
}

/* MOV ESP, r forgets what was pending; of a 16-bit stack MOV SP, r does, too. */
static bool sets_esp_only(const struct block *b, const struct insn *insn) {
  unsigned to = insn->operand_reg[0], from = insn->operand_reg[1];
  bool whole = insn->operand_size == 4 || (insn->operand_size == 2 && b->stack16);
  return insn->row->does == DOES_MOV && whole && to == REG_ESP && from != REG_NONE && from != REG_ESP;
}

/* Where a division has faulted its divisor is compared with 0: the host's signal takes microseconds. (A quotient that is too
 * large is left to the host.) No flag: the fault's are those of before. */
static void check_divisor(struct block *b, const struct host_mem *m) {
  const struct insn *insn = &block_step(b)->insn;
  struct host_code *c = &b->code;
  struct host_mem kept = HM_STATE(scratch[3]);
  struct cold *divide = block_cold(b, COLD_EXIT, 0, block_site(b, TR_SITE_DIVIDE));
  host_store64(c, kept, H_RCX);
  unsigned load = insn->operand_size == 1 ? HO_MOVZXb : insn->operand_size == 2 ? HO_MOVZXw : HO_MOV;
  if (m) host_op_mem(c, load, H_RCX, *m);
  else host_op_reg(c, load, H_RCX, insn->operand_size == 1 ? insn->rm : host_reg(insn->rm));
  uint8_t *zero = host_jrcxz8(c);
  host_load64(c, H_RCX, kept);
  uint8_t *other = host_jmp8(c);
  host_bind8(c, zero);
  host_load64(c, H_RCX, kept);
  divide->jump = host_jmp(c);
  host_bind8(c, other);
}

void emit_copy(struct block *b) {
  struct step *s = block_step(b);
  const struct insn *insn = &s->insn;
  if (insn->row->does == (block_mode(b, TR_DOWN) ? DOES_STD : DOES_CLD)) return; /* DF is so already */
  if (fold_esp(b, s)) return;
  if (sets_esp_only(b, insn)) b->pending = 0;
  else if (names_esp(insn)) block_flush_esp(b);
  struct host_mem m;
  if (insn->has_mem) m = access_mem(b);
  if (insn->row->does == DOES_DIVIDE && block_option(b, TR_CHECK_DIVISORS)) check_divisor(b, insn->has_mem ? &m : NULL);
  unsigned site = TR_MAX_SITES;
  if (copy_may_fault(insn) && !(insn->has_mem && m.mirrored)) { /* the mirror's site is for these, too */
    site = block_site(b, TR_SITE_FAULT);
    block_cold(b, COLD_EXIT, 0, site);
  }
  uint32_t host_at;
  copy_insn(&b->code, insn, insn->has_mem ? &m : NULL, &host_at);
  if (site != TR_MAX_SITES) b->rq->sites[site].host = host_at;
}

/* LEA r, [r + 0], which fills up to an aligned address. */
static bool is_padding(const struct insn *insn) {
  return insn->base == insn->reg && insn->index == REG_NONE && !insn->disp && insn->operand_size == 4 && insn->address_size == 4;
}

void emit_lea(struct block *b) {
  const struct insn *insn = &block_step(b)->insn;
  struct host_code *c = &b->code;
  bool to_esp = insn->reg == REG_ESP;
  if (to_esp && insn->base == REG_ESP && insn->index == REG_NONE && insn->operand_size == 4 && insn->address_size == 4 &&
      !b->stack16 && insn->disp > -4096 && insn->disp < 4096) {
    block_move_esp(b, insn->disp);
    return;
  }
  if (to_esp && insn->operand_size == 2 && !b->stack16) block_flush_esp(b);
  access_flush_base(b);
  unsigned to = insn->operand_size == 4 ? host_reg(insn->reg) : H_R8;
  if (!is_padding(insn)) access_effective_address(b, to);
  if (to == H_R8) host_op_reg(c, HO_16 | HO_MOVto, H_R8, host_reg(insn->reg));
  if (to_esp) b->pending = 0;
}

void emit_incdec(struct block *b) {
  const struct insn *insn = &block_step(b)->insn;
  unsigned reg = insn->operand_reg[0];
  if (reg == REG_ESP) block_flush_esp(b);
  host_op_reg(&b->code, HO_GROUP5 | copy_size(insn), insn->row->does == DOES_DEC ? HOg_DEC : HOg_INC, host_reg(reg));
}

void emit_moffs(struct block *b) {
  const struct insn *insn = &block_step(b)->insn;
  struct host_mem m = access_mem(b);
  bool store = insn->access & ACCESS_W;
  unsigned op = insn->operand_size == 1 ? store ? HO_MOVtob : HO_MOVb : store ? HO_MOVto : HO_MOV;
  host_op_mem(&b->code, op | copy_size(insn), H_RAX, m);
}

void emit_nop(struct block *b) { (void)b; }

void emit_xlat(struct block *b) { host_op_mem(&b->code, HO_MOVb, H_RAX, access_mem(b)); }

void emit_bt_mem(struct block *b) {
  const struct insn *insn = &block_step(b)->insn;
  struct host_code *c = &b->code;
  if (insn->reg == REG_ESP) block_flush_esp(b);
  struct host_mem m = access_bit(b);
  host_op_mem(c, copy_opcode(insn), H_R9, m);
}

void emit_cli(struct block *b) { host_store_imm(&b->code, HM_STATE(if_flag), 0); }

/* An interrupt that waits already goes by way of the monitor, which knows STI's shadow. Any later one finds it in the site at
 * which the block is left (TR_ACCESS_SHADOW); an STI that ends its block is the monitor's (plan.c). */
void emit_sti(struct block *b) {
  struct host_code *c = &b->code;
  struct cold *waits = block_cold(b, COLD_EXIT, 0, block_callout_site(b));
  host_mov64(c, H_R8, H_RCX);
  host_load(c, H_RCX, HM_STATE(irq_pending));
  uint8_t *none = host_jrcxz8(c);
  host_mov64(c, H_RCX, H_R8);
  waits->jump = host_jmp(c);
  host_bind8(c, none);
  host_mov64(c, H_RCX, H_R8);
  host_store_imm(c, HM_STATE(if_flag), FLAG_IF);
}

/* EDX:EAX = host TSC + offset (D9). Time is not read while something is asked for: a CPU that was away from its guest may have
 * time to take back first (clock.c). So the safepoint stands right before RDTSC, where signals.c finds it. R11 is the guest's EAX
 * there, R8 its flags. */
void emit_rdtsc(struct block *b) {
  struct host_code *c = &b->code;
  host_mov64(c, H_R11, H_RAX);
  host_save_flags(c);
  host_mov(c, H_R8, H_RAX);
  bool aux = block_step(b)->insn.kind == OP_RDTSCP;
  if (aux) host_op(c, HO_LFENCE); /* it waits for what came before */
  branch_time_safepoint(b);
  host_op(c, HO_RDTSC);
  host_shift_imm(c, HO_64 | HOg_SHL, H_RDX, 32);
  host_alu(c, HO_64 | HOg_OR, H_RAX, H_RDX);
  host_alu_mem(c, HO_64 | HOg_ADD, H_RAX, HM_STATE(tsc_offset));
  host_mov64(c, H_RDX, H_RAX);
  host_shift_imm(c, HO_64 | HOg_SHR, H_RDX, 32);
  host_mov(c, H_R9, H_RAX);
  host_mov(c, H_RAX, H_R8);
  host_restore_flags(c);
  host_mov(c, H_RAX, H_R9);
  if (aux) host_load(c, H_RCX, HM_STATE(tsc_aux));
}
