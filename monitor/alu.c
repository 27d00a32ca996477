/* The integer instructions that 64-bit mode lacks or encodes otherwise: BCD arithmetic, INC and DEC by 40h-4Fh, MOV with an
 * absolute offset, XLAT; and the bit tests whose offset moves the address. */
#include "exec.h"

/* SF, ZF and PF of a result. */
static uint32_t flags_of_result(uint32_t value, unsigned size) {
  uint32_t flags = flags_of_compare(value, 0, size);
  return flags & (FLAG_SF | FLAG_ZF | FLAG_PF);
}

int x_incdec_reg(struct vcpu *v, const struct insn *i) {
  unsigned opcode = i->bytes[i->opcode_offset], reg = opcode & 7, size = i->operand_size;
  bool decrement = opcode & 8;
  uint32_t old = reg_read(v, reg, size), value = (decrement ? old - 1 : old + 1) & size_mask(size);
  uint32_t sign = 1u << (size * 8 - 1), flags = flags_of_result(value, size) | (v->s.flags & FLAG_CF);
  if ((old ^ value) & 0x10) flags |= FLAG_AF;
  if (decrement ? old == sign : value == sign) flags |= FLAG_OF;
  reg_write(v, reg, size, value);
  flags_set_arith(v, flags);
  return exec_done(v, i);
}

int x_mov_moffs(struct vcpu *v, const struct insn *i) {
  unsigned opcode = i->bytes[i->opcode_offset], size = opcode & 1 ? i->operand_size : 1;
  uint32_t value = reg_read(v, REG_EAX, size), offset = insn_offset(v, i);
  if (opcode & 2) return seg_write(v, i->seg, offset, size, &value) == EXEC_NEXT ? exec_done(v, i) : EXEC_FAULT;
  if (seg_read(v, i->seg, offset, size, &value) != EXEC_NEXT) return EXEC_FAULT;
  reg_write(v, REG_EAX, size, value);
  return exec_done(v, i);
}

int x_xlat(struct vcpu *v, const struct insn *i) {
  uint32_t offset = v->s.gpr[REG_EBX] + (v->s.gpr[REG_EAX] & 0xff), value = 0;
  if (seg_read(v, i->seg, offset & size_mask(i->address_size), 1, &value) != EXEC_NEXT) return EXEC_FAULT;
  reg_write(v, REG_EAX, 1, value);
  return exec_done(v, i);
}

/* SDM vol. 2, 3.1.1.9 "Bit(BitBase, BitOffset)": a signed bit offset selects the word or doubleword. The write is probed first,
 * so that a page fault says "write", as the locked bus cycle does. ZF and the rest stay as they are on every known CPU. */
int x_bt_mem(struct vcpu *v, const struct insn *i) {
  enum { BT, BTS, BTR, BTC };
  unsigned operation = i->bytes[i->opcode_offset] >> 3 & 3, size = i->operand_size, shift = size == 2 ? 4 : 5;
  uint32_t bit = reg_read(v, i->reg, size), value = 0;
  int32_t moved = size == 2 ? (int16_t)bit : (int32_t)bit;
  uint32_t offset = (insn_offset(v, i) + (uint32_t)(moved >> shift) * size) & (i->address_size == 2 ? 0xffffu : 0xffffffffu);
  uint32_t mask = 1u << (bit & (size * 8 - 1));
  if (operation != BT && seg_probe_write(v, i->seg, offset, size) != EXEC_NEXT) return EXEC_FAULT;
  if (seg_read(v, i->seg, offset, size, &value) != EXEC_NEXT) return EXEC_FAULT;
  uint32_t changed = operation == BTS ? value | mask : operation == BTR ? value & ~mask : value ^ mask;
  if (operation != BT && seg_write(v, i->seg, offset, size, &changed) != EXEC_NEXT) return EXEC_FAULT;
  v->s.flags = (v->s.flags & ~FLAG_CF) | (value & mask ? FLAG_CF : 0);
  return exec_done(v, i);
}

/* ---- BCD (SDM vol. 2; undefined flags as noted at each) ---- */

/* OF is undefined: cleared. */
static void decimal_adjust(struct vcpu *v, bool subtract) {
  uint32_t al = v->s.gpr[REG_EAX] & 0xff, old = al, flags = 0;
  bool carry = v->s.flags & FLAG_CF;
  if ((al & 15) > 9 || v->s.flags & FLAG_AF) {
    flags |= FLAG_AF;
    if (subtract ? old < 6 : old > 0xf9) flags |= FLAG_CF;
    al = subtract ? al - 6 : al + 6;
    if (carry) flags |= FLAG_CF;
  }
  if (old > 0x99 || carry) {
    al = subtract ? al - 0x60 : al + 0x60;
    flags |= FLAG_CF;
  } else if (!subtract) flags &= ~FLAG_CF;
  reg_write(v, REG_EAX, 1, al);
  flags_set_arith(v, flags | flags_of_result(al & 0xff, 1));
}

/* OF, SF, ZF, PF are undefined: kept. */
static void ascii_adjust(struct vcpu *v, bool subtract) {
  uint32_t ax = v->s.gpr[REG_EAX] & 0xffff;
  bool adjust = (ax & 15) > 9 || v->s.flags & FLAG_AF;
  if (adjust) ax = subtract ? ax - 0x106 : ax + 0x106; /* 386 and later: AX as a whole */
  reg_write(v, REG_EAX, 2, ax & 0xff0f);
  v->s.flags = (v->s.flags & ~(FLAG_AF | FLAG_CF)) | (adjust ? FLAG_AF | FLAG_CF : 0);
}

/* OF, AF, CF are undefined: cleared. */
static int ascii_multiply(struct vcpu *v, const struct insn *i) {
  uint32_t base = i->imm & 0xff, al = v->s.gpr[REG_EAX] & 0xff;
  if (!base) return fault_raise(v, VEC_DE);
  reg_write(v, REG_EAX, 2, (al / base) << 8 | al % base);
  flags_set_arith(v, flags_of_result(al % base, 1));
  return EXEC_NEXT;
}

static void ascii_divide(struct vcpu *v, const struct insn *i) {
  uint32_t ax = v->s.gpr[REG_EAX];
  uint32_t al = ((ax & 0xff) + (ax >> 8 & 0xff) * (i->imm & 0xff)) & 0xff;
  reg_write(v, REG_EAX, 2, al);
  flags_set_arith(v, flags_of_result(al, 1));
}

int x_bcd(struct vcpu *v, const struct insn *i) {
  switch (i->bytes[i->opcode_offset]) {
  case 0x27: decimal_adjust(v, false); break;
  case 0x2f: decimal_adjust(v, true); break;
  case 0x37: ascii_adjust(v, false); break;
  case 0x3f: ascii_adjust(v, true); break;
  case 0xd4:
    if (ascii_multiply(v, i) != EXEC_NEXT) return EXEC_FAULT;
    break;
  case 0xd5: ascii_divide(v, i); break;
  case 0xd6: reg_write(v, REG_EAX, 1, v->s.flags & FLAG_CF ? 0xff : 0); break; /* SALC: no flags */
  default: return fault_raise(v, VEC_UD);
  }
  return exec_done(v, i);
}
