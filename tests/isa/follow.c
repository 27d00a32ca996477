/* What is known while code is made: which registers hold which value, which flags have none that is defined. An instruction that
 * would spoil what must be known - ESP unknown, an undefined flag read - is not added (sequence.h). */
#include "sequence.h"
#include <string.h>

static struct isa_case *of(struct sequence *q) { return q->m.c; }
static bool known(const struct sequence *q, unsigned reg) { return sequence_knows(q, reg); }

void sequence_know(struct sequence *q, unsigned reg, uint32_t value) { q->m.reg_state[reg] = REG_FIXED, q->m.now[reg] = value; }
void sequence_forget(struct sequence *q, unsigned reg) { q->m.reg_state[reg] = REG_UNKNOWN; }

/* ---- following what an instruction does ------------------------------------------------------------------------ */

static bool follow_lea(struct sequence *q, const struct insn *i) {
  if (i->operand_size != 4 || i->address_size != 4) return false;
  if ((i->base != REG_NONE && !known(q, i->base)) || (i->index != REG_NONE && !known(q, i->index))) return false;
  uint32_t value = (uint32_t)i->disp + (i->base == REG_NONE ? 0 : q->m.now[i->base]) +
                   (i->index == REG_NONE ? 0 : q->m.now[i->index] << i->scale);
  sequence_know(q, i->reg, value);
  return true;
}

/* Moves and additions of constants between whole registers. */
static bool follow_copy(struct sequence *q, const struct insn *i) {
  unsigned op = i->bytes[i->opcode_offset];
  if (i->row->map || i->operand_size != 4) return false;
  if ((op & 0xf8) == 0xb8) {
    sequence_know(q, op & 7, i->imm);
    return true;
  }
  if (!i->modrm_offset || i->mod != 3) return false;
  if ((op == 0x81 || op == 0x83) && (i->reg == 0 || i->reg == 5) && known(q, i->rm)) {
    sequence_know(q, i->rm, q->m.now[i->rm] + (i->reg == 0 ? i->imm : -i->imm));
    return true;
  }
  unsigned to = op == 0x89 ? i->rm : i->reg, from = op == 0x89 ? i->reg : i->rm;
  if ((op != 0x89 && op != 0x8b) || !known(q, from)) return false;
  sequence_know(q, to, q->m.now[from]);
  return true;
}

static bool follow_string(struct sequence *q, const struct insn *i) {
  unsigned size = i->bytes[i->opcode_offset] & 1 ? i->operand_size : 1, kind = i->kind;
  bool repeats = i->rep, compares = kind == OP_CMPS || kind == OP_SCAS;
  if (repeats && (compares || !known(q, REG_ECX))) return false;
  uint32_t by = size * (repeats ? q->m.now[REG_ECX] : 1) * (q->down ? -1u : 1u);
  if (kind != OP_STOS && kind != OP_SCAS) sequence_know(q, REG_ESI, q->m.now[REG_ESI] + by);
  if (kind != OP_LODS) sequence_know(q, REG_EDI, q->m.now[REG_EDI] + by);
  if (kind == OP_LODS) sequence_forget(q, REG_EAX);
  if (repeats) sequence_know(q, REG_ECX, 0);
  return true;
}

bool sequence_follow(struct sequence *q, const struct insn *i) {
  unsigned op = i->bytes[i->opcode_offset];
  switch ((enum op_kind)i->kind) {
  case OP_PUSH_REG:
  case OP_PUSH_IMM:
  case OP_PUSH_MEM:
  case OP_PUSHF: q->m.now[REG_ESP] -= i->operand_size; return true;
  case OP_POP_REG: sequence_forget(q, op & 7), q->m.now[REG_ESP] += i->operand_size; return true;
  case OP_LEA: return follow_lea(q, i);
  case OP_INCDEC_REG:
    if (i->operand_size != 4 || !known(q, op & 7)) return false;
    q->m.now[op & 7] += op & 8 ? -1u : 1u;
    return true;
  case OP_MOVS:
  case OP_STOS:
  case OP_LODS:
  case OP_CMPS:
  case OP_SCAS: return follow_string(q, i);
  case OP_COPY: return follow_copy(q, i);
  default: return false;
  }
}

/* Does it store near the return address? A state that is shifted moves all addresses, but for absolute ones. */
static bool stores_near_slot(const struct sequence *q, const struct insn *i) {
  enum { NEAR = 160 };
  if (!q->slot) return false;
  uint32_t at = (uint32_t)i->disp;
  if (i->kind == OP_MOVS || i->kind == OP_STOS) at = q->m.now[REG_EDI];
  else if (!(i->access & ACCESS_W)) return false;
  if (i->base != REG_NONE) at += q->m.now[i->base];
  if (i->index != REG_NONE) at += q->m.now[i->index] << i->scale;
  return at - q->slot + NEAR < 2 * NEAR;
}

static bool stores(const struct insn *i) {
  return (i->access & ACCESS_W) || i->kind == OP_MOVS || i->kind == OP_STOS || i->kind == OP_MASKMOV ||
         (i->regs_written >> REG_ESP & 1);
}

bool sequence_add(struct sequence *q, const uint8_t *bytes, unsigned length) {
  struct sequence before = *q;
  struct isa_case *c = of(q);
  struct insn insn;
  struct insn_mode mode = {.code32 = true, .features = guest_features()};
  if (insn_decode(&insn, bytes, length, mode) != INSN_OK || insn.length != length || c->code_size + length > MAX_CODE - 32)
    return false;
  bool pops_esp = insn.kind == OP_POP_REG && (insn.bytes[insn.opcode_offset] & 7) == REG_ESP;
  if ((insn.regs_written & q->frozen) || (q->no_stores && stores(&insn))) return false;
  if ((insn.flags_read & q->tainted) || insn.kind == OP_UD || pops_esp || stores_near_slot(q, &insn)) return false;
  if (!sequence_follow(q, &insn))
    for (unsigned r = 0; r < 8; r++)
      if (insn.regs_written >> r & 1) sequence_forget(q, r);
  q->flags_read |= insn.flags_read;
  q->tainted = (uint16_t)((q->tainted & ~insn.flags_written) | insn.flags_undefined);
  q->ever_tainted |= q->tainted;
  if (insn.row->map == 0 && (insn.bytes[insn.opcode_offset] & 0xfe) == 0xfc) q->down = insn.bytes[insn.opcode_offset] & 1;
  bool spoilt = !known(q, REG_ESP) || q->m.now[REG_ESP] - c->region >= DATA_SIZE ||
                (q->no_stack && (q->m.now[REG_ESP] != before.m.now[REG_ESP] || q->down != before.down));
  for (unsigned r = 0; r < 8; r++)
    if (q->held >> r & 1) spoilt |= !known(q, r) || q->m.now[r] - before.m.now[r] + 8 > 16;
  if (spoilt) {
    *q = before;
    return false;
  }
  c->ac_choice |= case_has_ac_choice(insn.row);
  memcpy(c->code + c->code_size, bytes, length);
  c->code_size += length;
  return true;
}

void sequence_raw(struct sequence *q, const uint8_t *bytes, unsigned length) {
  struct isa_case *c = of(q);
  memcpy(c->code + c->code_size, bytes, length);
  c->code_size += length;
}
