/* The identity translation: the guest's instruction with its register numbers, prefixes and memory operand rewritten (D1).
 *
 * Two encodings cannot be kept as they are: AH CH DH BH are unreachable beside a REX prefix, so such an instruction borrows RDI
 * for its address (or for ESP), and 82h, which 64-bit mode lacks, becomes 80h. */
#include "block.h"
#include "opcodes.h"

struct gpr_fields {
  bool reg, rm, opcode, high;
}; /* which fields name general registers; `high`: one of them is AH CH DH BH */

static struct gpr_fields find_gpr_fields(const struct insn *insn) {
  struct gpr_fields f = {0};
  unsigned op = insn_opcode(insn);
  for (unsigned i = 0; i < 4; i++) {
    const struct operand_info *o = row_operand(insn->row, i);
    bool byte = o->width == SZ_B;
    switch (o->class) {
    case OC_GPR:
      if (byte) f.high |= insn->reg >= 4;
      else f.reg = true;
      break;
    case OC_GPR_MEM:
    case OC_GPR_RM:
      if (insn->mod != 3 && o->class == OC_GPR_MEM) break;
      if (byte) f.high |= insn->rm >= 4;
      else f.rm = true;
      break;
    case OC_OPCODE_GPR:
      if (byte) f.high |= (op & 7) >= 4;
      else f.opcode = true;
      break;
    default: break;
    }
  }
  return f;
}

unsigned copy_size(const struct insn *insn) { return insn->operand_size == 2 ? HO_16 : 0; }

unsigned copy_opcode(const struct insn *insn) {
  static const unsigned escapes[] = {0, 0x0f00, 0x0f3800, 0x0f3a00};
  unsigned op = escapes[insn->row->map] | (insn->row->alias == ALIAS_OF_80 ? 0x80 : insn_opcode(insn));
  if (insn->lock) op |= HO_LOCK;
  if (insn->mandatory == 0x66 || (insn->operand_size == 2 && insn->row->fpu == FPU_NONE)) op |= HO_16;
  if (insn->mandatory == 0xf2) op |= HO_REPNE;
  if (insn->mandatory == 0xf3) op |= HO_REP;
  return op;
}

static void immediate(struct host_code *c, const struct insn *insn) {
#ifdef BT_BROKEN
  /* -DBT_BROKEN=ON: one rule is wrong, SAR Ev,Ib shifts by another count. What must be found by all that claims to
   * find such things */
  if (insn->row->map == 0 && insn_opcode(insn) == 0xc1 && insn->reg == 7) {
    host_bytes(c, (uint8_t[]){insn->bytes[insn->imm_offset] ^ 1}, 1);
    return;
  }
#endif
  if (insn->imm_size) host_bytes(c, insn->bytes + insn->imm_offset, insn->imm_size);
}

/* ModRM.reg as an extension of the opcode. */
static unsigned extension(const struct insn *insn) { return insn->row->alias == ALIAS_OF_REG_0 ? 0 : insn->reg; }

static void with_memory(struct host_code *c, const struct insn *insn, struct gpr_fields f, struct host_mem m, uint32_t *host_at) {
  unsigned reg = f.reg ? host_reg(insn->reg) : extension(insn);
  bool borrow = f.high && host_needs_rex(reg, m);
  if (borrow) {
    host_lea64(c, H_R8, m);
    host_xchg64(c, H_RDI, H_R8);
    m = hm(H_RDI, 0);
  }
  *host_at = host_here(c);
  host_op_mem(c, copy_opcode(insn), reg, m);
  immediate(c, insn);
  if (borrow) host_xchg64(c, H_RDI, H_R8);
}

static void with_registers(struct host_code *c, const struct insn *insn, struct gpr_fields f, uint32_t *host_at) {
  unsigned reg = f.reg ? host_reg(insn->reg) : extension(insn), rm = f.rm ? host_reg(insn->rm) : insn->rm;
  bool modrm = insn->modrm_offset != 0;
  bool esp = modrm && (reg == H_R15 || rm == H_R15), borrow = esp && f.high;
  if (borrow) {
    host_xchg64(c, H_RDI, H_R15);
    reg = reg == H_R15 ? H_RDI : reg;
    rm = rm == H_R15 ? H_RDI : rm;
  }
  *host_at = host_here(c);
  unsigned op = copy_opcode(insn);
  if (f.opcode) host_op_plus(c, op & ~7u, host_reg(op & 7));
  else if (modrm) host_op_reg(c, op, reg, rm);
  else host_op(c, op);
  immediate(c, insn);
  if (borrow) host_xchg64(c, H_RDI, H_R15);
}

void copy_insn(struct host_code *c, const struct insn *insn, const struct host_mem *m, uint32_t *host_at) {
  struct gpr_fields f = find_gpr_fields(insn);
  if (m) with_memory(c, insn, f, *m, host_at);
  else with_registers(c, insn, f, host_at);
}

bool copy_borrows(const struct insn *insn, bool by_r8) {
  return insn->has_mem && (by_r8 || insn->base == REG_ESP) && find_gpr_fields(insn).high;
}

bool copy_may_fault(const struct insn *insn) {
  return insn->row->fpu != FPU_NONE || insn->row->does == DOES_DIVIDE; /* #MF, #XM, #GP by alignment or MXCSR */
}

uint32_t tr_write_thunk(const struct insn *insn, uint8_t *code, uint32_t offset, const struct tr_stubs *stubs, uint32_t site,
                        uint32_t *fault_offset) {
  struct host_code c = {.start = code, .at = code, .end = code + TR_THUNK_SIZE, .offset = offset};
  host_load64(&c, H_R8, HM_STATE(scratch[0]));
  struct host_mem m = hm(H_R8, 0);
  copy_insn(&c, insn, insn->has_mem ? &m : NULL, fault_offset);
  host_push_imm(&c, site); /* TR_EXIT_SIZE bytes with the JMP */
  host_patch(&c, host_jmp(&c), stubs->exit);
  return (uint32_t)(c.at - c.start);
}
