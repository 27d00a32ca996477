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
  unsigned op = insn->bytes[insn->opcode_offset];
  for (unsigned i = 0; i < 4; i++) {
    const struct operand_info *o = row_operand(insn->row, i);
    bool byte = o->width == SZ_B;
    switch (o->class) {
    case OC_GPR:
      if (byte && o->class == OC_GPR) f.high |= insn->reg >= 4;
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

static void legacy_prefixes(struct host_code *c, const struct insn *insn) {
  if (insn->lock) host_8(c, 0xf0);
  if (insn->mandatory == 0x66 || (insn->operand_size == 2 && insn->row->fpu == FPU_NONE)) host_8(c, 0x66);
  if (insn->mandatory == 0xf2 || insn->mandatory == 0xf3) host_8(c, insn->mandatory);
}

static void opcode_and_escapes(struct host_code *c, const struct insn *insn) {
  unsigned op = insn->bytes[insn->opcode_offset];
  if (insn->row->map > 0) host_8(c, 0x0f);
  if (insn->row->map == 2) host_8(c, 0x38);
  if (insn->row->map == 3) host_8(c, 0x3a);
  host_8(c, insn->row->map == 0 && op == 0x82 ? 0x80 : op);
}

static void immediate(struct host_code *c, const struct insn *insn) {
#ifdef BT_BROKEN
  /* -DBT_BROKEN=ON: one rule is wrong, SAR Ev,Ib shifts by another count. What must be found by all that claims to
   * find such things */
  if (insn->row->map == 0 && insn->bytes[insn->opcode_offset] == 0xc1 && insn->reg == 7) {
    host_8(c, insn->bytes[insn->imm_offset] ^ 1);
    return;
  }
#endif
  if (insn->imm_size) host_bytes(c, insn->bytes + insn->imm_offset, insn->imm_size);
}

/* ModRM.reg as an extension of the opcode. F6 /1 and F7 /1 are TEST on every CPU, documented by AMD alone; not every emulator of
 * one has them. */
static unsigned extension(const struct insn *insn) {
  bool test = insn->row->map == 0 && (insn->bytes[insn->opcode_offset] & 0xfe) == 0xf6 && insn->reg == 1;
  return test ? 0 : insn->reg;
}

static void with_memory(struct host_code *c, const struct insn *insn, struct gpr_fields f, struct host_mem m, uint32_t *host_at) {
  unsigned reg = f.reg ? host_reg(insn->reg) : extension(insn);
  bool borrow = f.high && host_rex_mem(reg, m);
  if (borrow) {
    host_op_mem(c, true, 0x8d, H_R8, m);
    host_op_reg(c, true, 0x87, H_RDI, H_R8);
    m = hm(H_RDI, 0);
  }
  *host_at = host_here(c);
  legacy_prefixes(c, insn);
  unsigned rex = host_rex_mem(reg, m);
  if (rex) host_8(c, 0x40 | rex);
  opcode_and_escapes(c, insn);
  host_modrm_mem(c, reg, m);
  immediate(c, insn);
  if (borrow) host_op_reg(c, true, 0x87, H_RDI, H_R8);
}

static void with_registers(struct host_code *c, const struct insn *insn, struct gpr_fields f, uint32_t *host_at) {
  unsigned reg = f.reg ? host_reg(insn->reg) : extension(insn), rm = f.rm ? host_reg(insn->rm) : insn->rm;
  bool modrm = insn->modrm_offset != 0;
  bool esp = modrm && (reg == H_R15 || rm == H_R15), borrow = esp && f.high;
  if (borrow) {
    host_op_reg(c, true, 0x87, H_RDI, H_R15);
    reg = reg == H_R15 ? H_RDI : reg;
    rm = rm == H_R15 ? H_RDI : rm;
  }
  *host_at = host_here(c);
  legacy_prefixes(c, insn);
  unsigned op_reg = insn->bytes[insn->opcode_offset] & 7;
  if (f.opcode && op_reg == REG_ESP) { /* XCHG eAX,ESP; MOV ESP,imm; BSWAP ESP */
    host_8(c, 0x41);
    if (insn->row->map == 1) host_8(c, 0x0f);
    host_8(c, (insn->bytes[insn->opcode_offset] & ~7u) | (H_R15 & 7));
    immediate(c, insn);
    return;
  }
  unsigned rex = modrm ? (reg >> 3 & 1) << 2 | (rm >> 3 & 1) : 0;
  if (rex) host_8(c, 0x40 | rex);
  opcode_and_escapes(c, insn);
  if (modrm) host_8(c, 0xc0 | (reg & 7) << 3 | (rm & 7));
  immediate(c, insn);
  if (borrow) host_op_reg(c, true, 0x87, H_RDI, H_R15);
}

void copy_insn(struct host_code *c, const struct insn *insn, const struct host_mem *m, uint32_t *host_at) {
  struct gpr_fields f = find_gpr_fields(insn);
  if (m) with_memory(c, insn, f, *m, host_at);
  else with_registers(c, insn, f, host_at);
}

bool copy_may_fault(const struct insn *insn) {
  if (insn->row->fpu != FPU_NONE) return true; /* #MF, #XM, #GP by alignment or MXCSR */
  unsigned op = insn->bytes[insn->opcode_offset];
  return insn->row->map == 0 && (op == 0xf6 || op == 0xf7) && insn->reg >= 6; /* DIV, IDIV */
}

uint32_t tr_write_thunk(const struct insn *insn, uint8_t *code, uint32_t offset, const struct tr_stubs *stubs, uint32_t site,
                        uint32_t *fault_offset) {
  struct host_code c = {.start = code, .at = code, .end = code + TR_THUNK_SIZE, .offset = offset};
  host_op_mem(&c, true, 0x8b, H_R8, HM_STATE(scratch[0]));
  struct host_mem m = hm(H_R8, 0);
  copy_insn(&c, insn, insn->has_mem ? &m : NULL, fault_offset);
  host_8(&c, 0x68), host_32(&c, site); /* PUSH: TR_EXIT_SIZE bytes with the JMP */
  host_patch(&c, host_jump(&c, -1), stubs->exit);
  return (uint32_t)(c.at - c.start);
}
