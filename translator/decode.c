/* insn_decode(): bytes -> struct insn. Pure; no mutable state.
 *
 * Three steps. Prefixes, opcode and ModRM are read here, because they choose the row and because most undefined encodings are
 * known after them. Zydis' raw decode (no operands, no formatter) then gives displacement, immediates and length. The rest is
 * derived from the row's operand columns.
 *
 * Invariants: 1. no byte at or beyond `len` is read, and none beyond the fifteenth; 2. every row but those of kind OP_UD is
 * accepted by Zydis in both code sizes (tests/unit/test_decode.c), so a rejection is an undefined encoding. */
#include "opcodes.h"
#include <Zydis/Zydis.h>
#include <string.h>

enum { MAX_LENGTH = 15 };

/* Minimal mode: raw fields only. CET, MPX, LZCNT, TZCNT, CLDEMOTE and KNC stay off: their encodings are hints, BSF and BSR to the
 * CPUs that we model. In 32-bit code 66h always makes branches 16-bit, on Intel's CPUs too, so the AMD mode does not matter. */
static const ZydisDecoder decoders[2] = {
  {.machine_mode = ZYDIS_MACHINE_MODE_LEGACY_16,
   .stack_width = ZYDIS_STACK_WIDTH_16,
   .decoder_mode = {[ZYDIS_DECODER_MODE_MINIMAL] = ZYAN_TRUE}},
  {.machine_mode = ZYDIS_MACHINE_MODE_LEGACY_32,
   .stack_width = ZYDIS_STACK_WIDTH_32,
   .decoder_mode = {[ZYDIS_DECODER_MODE_MINIMAL] = ZYAN_TRUE}},
};

struct prefixes {
  bool lock, operand, address;
  uint8_t rep; /* the last of F2h, F3h */
  uint8_t seg; /* the last override */
};

/* Bytes of prefixes (SDM vol. 2, 2.1.1); `limit` when there is nothing else. */
static unsigned scan_prefixes(struct prefixes *p, const uint8_t *bytes, unsigned limit) {
  *p = (struct prefixes){.seg = SEG_NONE};
  for (unsigned i = 0; i < limit; i++) {
    switch (bytes[i]) {
    case 0x26: p->seg = SEG_ES; break;
    case 0x2e: p->seg = SEG_CS; break;
    case 0x36: p->seg = SEG_SS; break;
    case 0x3e: p->seg = SEG_DS; break;
    case 0x64: p->seg = SEG_FS; break;
    case 0x65: p->seg = SEG_GS; break;
    case 0x66: p->operand = true; break;
    case 0x67: p->address = true; break;
    case 0xf0: p->lock = true; break;
    case 0xf2:
    case 0xf3: p->rep = bytes[i]; break;
    default: return i;
    }
  }
  return limit;
}

/* Finds the row; *at moves from the first byte after the prefixes to the byte after opcode and ModRM. False: bytes ran out. */
static bool find_row(struct insn *out, const struct prefixes *p, const uint8_t *bytes, unsigned limit, unsigned *at) {
  unsigned map = 0, i = *at, modrm = 0;
  if (i >= limit) return false;
  if (bytes[i] == 0x0f) {
    if (++i >= limit) return false;
    map = bytes[i] == 0x38 ? 2 : bytes[i] == 0x3a ? 3 : 1;
    if (map > 1 && ++i >= limit) return false;
  }
  out->opcode_offset = (uint8_t)i;
  unsigned opcode = bytes[i++];
  if (opcode_has_modrm(map, opcode)) {
    if (i >= limit) return false;
    out->modrm_offset = (uint8_t)i;
    modrm = bytes[i++];
    out->mod = modrm >> 6;
    out->reg = modrm >> 3 & 7;
    out->rm = modrm & 7;
  }
  out->row = opcode_find(map, opcode, modrm, p->rep ? p->rep : p->operand ? 0x66 : 0);
  if (kind_has(out->row->kind, KIND_SYSTEM_REGISTER)) out->mod = 3; /* SDM vol. 2, MOV - Move to/from Control Registers */
  *at = i;
  return true;
}

/* Selector and control register numbers that do not exist (SDM vol. 2, MOV, and MOV - Move to/from Control Registers). */
static bool register_exists(const struct insn *out) {
  for (unsigned i = 0; i < 2; i++) {
    switch (row_operand(out->row, i)->class) {
    case OC_SREG:
      if (out->reg > SEG_GS || (i == 0 && out->reg == SEG_CS)) return false;
      break;
    case OC_CREG:
      if (out->reg == 1 || out->reg > 4) return false;
      break;
    }
  }
  return true;
}

static bool row_allowed(const struct insn *out, struct insn_mode mode) {
  const struct opcode_row *row = out->row;
  if (row->kind == OP_UD) return false;
  if (row->feature && !(mode.features >> row->feature & 1)) return false;
  if (out->lock && !(row->lock && out->mod != 3)) return false;
  return register_exists(out);
}

static void set_sizes(struct insn *out, const struct prefixes *p, struct insn_mode mode) {
  const struct opcode_row *row = out->row;
  out->mandatory = row->prefix >= 0x66 ? row->prefix : 0;
  out->operand_size = row->size_form == SIZE_BYTE ? 1 : row->size_form == SIZE_NONE || mode.code32 != p->operand ? 4 : 2;
  out->address_size = mode.code32 != p->address ? 4 : 2;
  if (kind_has(row->kind, KIND_STRING)) out->rep = p->rep;
}

/* SDM vol. 2, table 2-1. */
static void set_address_16(struct insn *out) {
  static const uint8_t base[8] = {REG_EBX, REG_EBX, REG_EBP, REG_EBP, REG_ESI, REG_EDI, REG_EBP, REG_EBX};
  static const uint8_t index[8] = {REG_ESI, REG_EDI, REG_ESI, REG_EDI, REG_NONE, REG_NONE, REG_NONE, REG_NONE};
  if (out->mod == 0 && out->rm == 6) return;
  out->base = base[out->rm];
  out->index = index[out->rm];
}

/* SDM vol. 2, tables 2-2 and 2-3. */
static void set_address_32(struct insn *out, const ZydisDecodedInstruction *z) {
  if (out->rm != 4) {
    if (out->mod || out->rm != 5) out->base = out->rm;
    return;
  }
  if (out->mod || z->raw.sib.base != 5) out->base = z->raw.sib.base;
  if (z->raw.sib.index != 4) {
    out->index = z->raw.sib.index;
    out->scale = z->raw.sib.scale;
  }
}

static unsigned width_bytes(unsigned width, unsigned operand_size) {
  static const uint16_t bytes[SZ_COUNT][2] = {
    [SZ_B] = {1, 1},     [SZ_W] = {2, 2},       [SZ_D] = {4, 4},      [SZ_Q] = {8, 8}, [SZ_DQ] = {16, 16},
    [SZ_T] = {10, 10},   [SZ_S] = {6, 6},       [SZ_V] = {2, 4},      [SZ_P] = {4, 6}, [SZ_A] = {4, 8},
    [SZ_ENV] = {14, 28}, [SZ_SAVE] = {94, 108}, [SZ_FX] = {512, 512},
  };
  return bytes[width][operand_size == 4];
}

static bool class_in_memory(unsigned class) {
  return class == OC_GPR_MEM || class == OC_MEM || class == OC_MMX_MEM || class == OC_XMM_MEM || class == OC_MOFFS;
}

/* The implicit operands of XLAT (at seg:[eBX + AL]; AL is left to whoever runs it) and MASKMOV (at seg:[eDI]). */
static void set_implicit_memory(struct insn *out) {
  out->has_mem = out->has_ea = true;
  out->base = out->row->kind == OP_XLAT ? REG_EBX : REG_EDI;
  out->access = out->row->kind == OP_XLAT ? ACCESS_R : ACCESS_W;
  out->mem_size = out->row->kind == OP_XLAT ? 1 : (uint16_t)width_bytes(row_operand(out->row, 0)->width, 4);
}

static void set_memory(struct insn *out, const struct prefixes *p, const ZydisDecodedInstruction *z) {
  const struct opcode_row *row = out->row;
  out->base = out->index = REG_NONE;
  for (unsigned i = 0; i < 3; i++) {
    const struct operand_info *o = row_operand(row, i);
    if (o->class != OC_ADDRESS && !class_in_memory(o->class)) continue;
    if (o->class != OC_MOFFS && out->mod == 3) continue;
    out->has_ea = true;
    out->has_mem = o->class != OC_ADDRESS;
    out->access = row->access;
    out->mem_size = (uint16_t)width_bytes(o->width, out->operand_size);
    out->disp = (int32_t)z->raw.disp.value;
    if (o->class == OC_MOFFS) break;
    if (out->address_size == 2) set_address_16(out);
    else set_address_32(out, z);
    break;
  }
  if (row->kind == OP_XLAT || row->kind == OP_MASKMOV) set_implicit_memory(out);
  bool stack = out->base == REG_EBP || out->base == REG_ESP;
  out->seg = out->has_ea ? stack ? SEG_SS : SEG_DS : kind_has(row->kind, KIND_STRING) ? SEG_DS : SEG_NONE;
  if (out->seg != SEG_NONE && p->seg != SEG_NONE) out->seg = p->seg;
  /* Their only memory operand is ES:[eDI], which no prefix moves. */
  if (row->kind == OP_STOS || row->kind == OP_SCAS || row->kind == OP_INS) out->seg = SEG_ES;
}

static uint32_t load_immediate(const uint8_t *at, unsigned size) {
  uint32_t value = 0;
  for (unsigned i = 0; i < size; i++) value |= (uint32_t)at[i] << 8 * i;
  return value;
}

static int32_t sign_extend(uint32_t value, unsigned size) {
  unsigned shift = 32 - 8 * size;
  return (int32_t)(value << shift) >> shift;
}

static void set_immediates(struct insn *out, const ZydisDecodedInstruction *z) {
  unsigned k = 0;
  for (unsigned i = 0; i < 3 && k < 2; i++) {
    const struct operand_info *o = row_operand(out->row, i);
    if (o->class < OC_IMM || o->class > OC_PTR) continue;
    unsigned offset = z->raw.imm[k].offset, size = z->raw.imm[k].size / 8;
    uint32_t value = load_immediate(out->bytes + offset, size);
    if (o->class == OC_REL) {
      out->rel = sign_extend(value, size);
      return;
    }
    if (o->class == OC_IMM_SIGNED) value = (uint32_t)sign_extend(value, size) & (out->operand_size == 2 ? 0xffffu : ~0u);
    if (k == 0) out->imm = value, out->imm_offset = (uint8_t)offset;
    else out->imm2 = (uint16_t)value;
    out->imm_size += (uint8_t)size;
    k++;
    if (o->class == OC_PTR) { /* the offset; the selector follows */
      out->imm2 = (uint16_t)load_immediate(out->bytes + offset + size, 2);
      out->imm_size += 2;
    }
  }
}

/* A register operand's number by REG_*, or REG_NONE. Byte registers 4-7 are the second bytes of 0-3. */
static unsigned operand_register(const struct insn *out, const struct operand_info *o) {
  unsigned reg;
  switch (o->class) {
  case OC_FIXED_GPR: return o->detail;
  case OC_OPCODE_GPR: reg = insn_opcode(out) & 7; break;
  case OC_GPR: reg = out->reg; break;
  case OC_GPR_RM: reg = out->rm; break;
  case OC_GPR_MEM:
    if (out->mod != 3) return REG_NONE;
    reg = out->rm;
    break;
  default: return REG_NONE;
  }
  return o->width == SZ_B ? reg & 3 : reg;
}

/* LES C4, LDS C5, LSS 0F B2, LFS 0F B4, LGS 0F B5. */
static uint8_t far_pointer_segment(unsigned opcode) {
  switch (opcode) {
  case 0xc4: return SEG_ES;
  case 0xc5: return SEG_DS;
  case 0xb2: return SEG_SS;
  case 0xb4: return SEG_FS;
  default: return SEG_GS;
  }
}

/* A register of which only a part is written keeps the rest: it counts as read as well, and so does one that is written on a
 * condition. */
static void set_registers(struct insn *out) {
  const struct opcode_row *row = out->row;
  unsigned read = row->regs_read, written = row->regs_written;
  if (out->operand_size == 2 && (row->operands[0] == OPERAND_Ev || row->kind == OP_POPA)) read |= written; /* MUL, DIV: DX */
  for (unsigned i = 0; i < 3; i++) {
    const struct operand_info *o = row_operand(row, i);
    unsigned reg = operand_register(out, o), access = i == 0 ? row->dest : i == 1 && row->second ? row->second : ACCESS_R;
    if (i < 2) out->operand_reg[i] = (uint8_t)reg;
    if (o->class == OC_SREG) out->sreg = out->reg;
    if (o->class == OC_FIXED_SEG) out->sreg = o->detail;
    if (reg == REG_NONE) continue;
    if (access & ACCESS_W) {
      written |= 1u << reg;
      if (width_bytes(o->width, out->operand_size) < 4) access |= ACCESS_R;
    }
    if (access & ACCESS_R) read |= 1u << reg;
  }
  if (row->kind == OP_LOAD_FAR) out->sreg = far_pointer_segment(insn_opcode(out));
  if (out->base != REG_NONE) read |= 1u << out->base;
  if (out->index != REG_NONE) read |= 1u << out->index;
  if (out->rep) {
    written |= 1u << REG_ECX;
    read |= written; /* nothing is written when eCX is zero */
  }
  out->regs_read = (uint8_t)read;
  out->regs_written = (uint8_t)written;
}

/* Shifts write nothing when the count is zero, and OF only when it is one; REP CMPS and SCAS write nothing when eCX is zero.
 * Flags that are only perhaps written stay live: they count as read. */
static void set_flags(struct insn *out) {
  const struct opcode_row *row = out->row;
  unsigned read = row->flags_read, written = row->flags_written, undefined = row->flags_undefined;
  if (row->count == COUNT_CL || (row->count == COUNT_IMM && (out->imm & 31) > 1)) {
    undefined |= written & FLAG_OF;
    written &= ~(unsigned)FLAG_OF;
  }
  if (row->count == COUNT_IMM && !(out->imm & 31)) read = written = undefined = 0;
  if (row->count == COUNT_CL || (out->rep && written)) read |= written | undefined;
  out->flags_read = (uint16_t)read;
  out->flags_written = (uint16_t)written;
  out->flags_undefined = (uint16_t)undefined;
}

/* False: bytes ran out, or would with all fifteen (a fetch from the next page faults before the length is an error). */
static bool decode_defined(struct insn *out, const struct prefixes *p, const uint8_t *bytes, unsigned limit,
                           struct insn_mode mode) {
  ZydisDecodedInstruction z;
  ZyanStatus status = ZydisDecoderDecodeInstruction(&decoders[mode.code32], NULL, bytes, limit, &z);
  if (status == ZYDIS_STATUS_NO_MORE_DATA || status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG) return false;
  if (!ZYAN_SUCCESS(status)) {
    out->kind = OP_UD;
    return true;
  }
  out->length = z.length;
  memcpy(out->bytes, bytes, z.length);
  set_memory(out, p, &z);
  set_immediates(out, &z);
  set_registers(out);
  set_flags(out);
  return true;
}

enum insn_error insn_decode(struct insn *out, const uint8_t *bytes, unsigned len, struct insn_mode mode) {
  unsigned limit = len < MAX_LENGTH ? len : MAX_LENGTH;
  enum insn_error too_short = len < MAX_LENGTH ? INSN_TOO_SHORT : INSN_TOO_LONG;
  struct prefixes p;
  *out =
    (struct insn){.operand_reg = {REG_NONE, REG_NONE}, .sreg = SEG_NONE, .base = REG_NONE, .index = REG_NONE, .seg = SEG_NONE};
  unsigned at = scan_prefixes(&p, bytes, limit);
  if (!find_row(out, &p, bytes, limit, &at)) return too_short;
  out->lock = p.lock;
  out->kind = out->row->kind;
  out->length = (uint8_t)at;
  memcpy(out->bytes, bytes, at);
  set_sizes(out, &p, mode);
  if (!row_allowed(out, mode)) {
    out->kind = OP_UD;
    return INSN_OK;
  }
  return decode_defined(out, &p, bytes, limit, mode) ? INSN_OK : too_short;
}

bool insn_requires_alignment(const struct insn *insn) {
  if (!insn->has_mem) return false;
  for (unsigned i = 0; i < 3; i++) {
    const struct operand_info *o = row_operand(insn->row, i);
    if ((o->class == OC_MEM || o->class == OC_XMM_MEM) && o->detail) return true;
  }
  return false;
}

/* Conversions from an SSE operand to an MMX register wait as MMX instructions do. */
bool insn_waits(const struct insn *insn) {
  switch ((enum fpu_need)insn->row->fpu) {
  case FPU_MMX: return true;
  case FPU_SSE: return row_operand(insn->row, 0)->class == OC_MMX;
  case FPU_X87: return !insn->row->quiet;
  default: return false;
  }
}
