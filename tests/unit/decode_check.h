/* insn_decode() against an independent reading of the same bytes: Zydis' full decode, which is generated from another table and
 * of which decode.c uses no more than displacement, immediates and length. What differs by design stands above the function that
 * allows for it. For test_decode.c and tests/fuzz/guided/fuzz_decode.c: compare() prints what differs, and counts it in
 * `complaints`. */
#pragma once
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <Zydis/Zydis.h>
#include "translator/opcodes.h"

enum { ALL_FLAGS = FLAGS_ARITH | FLAG_DF, MAX_COMPLAINTS = 20 };
static const uint64_t ALL_FEATURES = ~0ull;

/* ---- the other decoder ------------------------------------------------------------------------------------------------ */

struct other {
  ZyanStatus status;
  ZydisDecodedInstruction z;
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
  bool in_set; /* accepted, and of a kind that our CPUs have */
};

static inline bool extension_in_set(const ZydisDecodedInstruction *z) {
  if (z->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY) return false;
  switch (z->meta.isa_ext) {
  case ZYDIS_ISA_EXT_BASE:
  case ZYDIS_ISA_EXT_X87:
  case ZYDIS_ISA_EXT_MMX:
  case ZYDIS_ISA_EXT_SSE:
  case ZYDIS_ISA_EXT_SSE2:
  case ZYDIS_ISA_EXT_SSE3:
  case ZYDIS_ISA_EXT_SSSE3:
  case ZYDIS_ISA_EXT_SSE4:
  case ZYDIS_ISA_EXT_MOVBE:
  case ZYDIS_ISA_EXT_CLFSH:
  case ZYDIS_ISA_EXT_PAUSE:
  case ZYDIS_ISA_EXT_RDTSCP: break;
  case ZYDIS_ISA_EXT_AMD3DNOW_PREFETCH:
  case ZYDIS_ISA_EXT_PREFETCHWT1: return true; /* 0F0D: a hint to us */
  default: return z->meta.isa_set == ZYDIS_ISA_SET_PREFETCH_NOP;
  }
  switch (z->mnemonic) {
  case ZYDIS_MNEMONIC_UD0:
  case ZYDIS_MNEMONIC_UD1:
  case ZYDIS_MNEMONIC_UD2:
  case ZYDIS_MNEMONIC_RSM: /* outside of SMM */
  case ZYDIS_MNEMONIC_SYSCALL:
  case ZYDIS_MNEMONIC_SYSRET: return false;
  default: return true;
  }
}

static inline ZydisDecoder other_decoder(bool code32) {
  ZydisDecoder d;
  ZydisDecoderInit(&d, code32 ? ZYDIS_MACHINE_MODE_LEGACY_32 : ZYDIS_MACHINE_MODE_LEGACY_16,
                   code32 ? ZYDIS_STACK_WIDTH_32 : ZYDIS_STACK_WIDTH_16);
  static const ZydisDecoderMode off[] = {ZYDIS_DECODER_MODE_KNC,     ZYDIS_DECODER_MODE_MPX,   ZYDIS_DECODER_MODE_CET,
                                         ZYDIS_DECODER_MODE_LZCNT,   ZYDIS_DECODER_MODE_TZCNT, ZYDIS_DECODER_MODE_WBNOINVD,
                                         ZYDIS_DECODER_MODE_CLDEMOTE};
  for (unsigned i = 0; i < sizeof off / sizeof *off; i++) ZydisDecoderEnableMode(&d, off[i], ZYAN_FALSE);
  return d;
}

static inline void other_decode(struct other *o, const ZydisDecoder *d, const uint8_t *bytes, unsigned len) {
  o->status = ZydisDecoderDecodeFull(d, bytes, len, &o->z, o->operands);
  o->in_set = ZYAN_SUCCESS(o->status) && extension_in_set(&o->z);
}

static inline unsigned other_gpr(ZydisRegister reg) {
  ZydisRegister wide = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LEGACY_32, reg);
  return wide >= ZYDIS_REGISTER_EAX && wide <= ZYDIS_REGISTER_EDI ? wide - ZYDIS_REGISTER_EAX : REG_NONE;
}

static inline unsigned other_seg(ZydisRegister reg) {
  return reg >= ZYDIS_REGISTER_ES && reg <= ZYDIS_REGISTER_GS ? reg - ZYDIS_REGISTER_ES : SEG_NONE;
}

/* The register sets by our rules: a partial or conditional write keeps the old value, so it reads as well. */
static inline void other_registers(const struct other *o, unsigned *read, unsigned *written) {
  *read = *written = 0;
  for (unsigned i = 0; i < o->z.operand_count; i++) {
    const ZydisDecodedOperand *p = &o->operands[i];
    if (p->type == ZYDIS_OPERAND_TYPE_MEMORY) {
      unsigned base = other_gpr(p->mem.base), index = other_gpr(p->mem.index);
      if (base != REG_NONE) *read |= 1u << base;
      if (index != REG_NONE) *read |= 1u << index;
    }
    if (p->type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
    unsigned reg = other_gpr(p->reg.value);
    if (reg == REG_NONE) continue;
    if (p->actions & (ZYDIS_OPERAND_ACTION_READ | ZYDIS_OPERAND_ACTION_CONDREAD)) *read |= 1u << reg;
    if (p->actions & (ZYDIS_OPERAND_ACTION_WRITE | ZYDIS_OPERAND_ACTION_CONDWRITE)) {
      *written |= 1u << reg;
      if ((p->actions & ZYDIS_OPERAND_ACTION_CONDWRITE) || ZydisRegisterGetWidth(ZYDIS_MACHINE_MODE_LEGACY_32, p->reg.value) < 32)
        *read |= 1u << reg;
    }
  }
}

static inline const ZydisDecodedOperand *other_memory(const struct other *o) {
  for (unsigned i = 0; i < o->z.operand_count; i++) {
    const ZydisDecodedOperand *p = &o->operands[i];
    if (p->type == ZYDIS_OPERAND_TYPE_MEMORY &&
        (p->encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM || p->encoding == ZYDIS_OPERAND_ENCODING_DISP16_32_64))
      return p;
    if (p->type == ZYDIS_OPERAND_TYPE_MEMORY &&
        (o->z.mnemonic == ZYDIS_MNEMONIC_XLAT || o->z.mnemonic == ZYDIS_MNEMONIC_MASKMOVQ ||
         o->z.mnemonic == ZYDIS_MNEMONIC_MASKMOVDQU))
      return p;
  }
  return NULL;
}

/* ---- comparing -------------------------------------------------------------------------------------------------------- */

static unsigned complaints;
static inline void complain(const uint8_t *bytes, unsigned n, bool code32, const struct insn *i, const struct other *o,
                            const char *what, long ours, long theirs) {
  if (complaints++ >= MAX_COMPLAINTS) return;
  char hex[64] = "";
  for (unsigned k = 0; k < n; k++) snprintf(hex + 3 * k, 4, "%02x ", bytes[k]);
  fprintf(stderr, "%s %s (%s, theirs %s): %s ours %lx theirs %lx\n", code32 ? "32" : "16", hex, i->row->mnemonic,
          ZYAN_SUCCESS(o->status) ? ZydisMnemonicGetString(o->z.mnemonic) : "rejected", what, ours, theirs);
}
#define SAME(what, ours, theirs) \
  do { \
    long a_ = (long)(ours), b_ = (long)(theirs); \
    if (a_ != b_) complain(bytes, i->length, code32, i, o, what, a_, b_); \
  } while (0)

struct flag_sets {
  unsigned read, written, undefined;
};

/* Deliberate differences in flags, each applied to the other decoder's answer:
 *  - shifts: theirs depends on the opcode alone and calls OF undefined always. The manual defines it for a count of one; nothing
 *  is written
 *    for a count of zero; a count in CL may be zero, so old flags survive. tests/unit/test_decode_host.c has the CPU's own
 *    answer;
 *  - SBB: theirs calls AF undefined; the manual says that it is set;
 *  - INT, INT1, INT3, INTO: push all of EFLAGS;
 *  - REP CMPS, REP SCAS: leave the flags when eCX is zero. */
static inline void adjust_flags(const struct insn *i, const struct other *o, struct flag_sets *f) {
  unsigned count = i->row->count == COUNT_ONE ? 1 : i->imm & 31;
  if (i->row->count == COUNT_CL) f->read |= f->written | f->undefined;
  else if (i->row->count != COUNT_NONE && count == 0) *f = (struct flag_sets){0, 0, 0};
  else if (i->row->count != COUNT_NONE && count == 1) f->undefined &= ~(unsigned)FLAG_OF, f->written |= FLAG_OF;
  switch (o->z.mnemonic) {
  case ZYDIS_MNEMONIC_SBB: f->undefined &= ~(unsigned)FLAG_AF, f->written |= FLAG_AF; break;
  case ZYDIS_MNEMONIC_INT:
  case ZYDIS_MNEMONIC_INT1:
  case ZYDIS_MNEMONIC_INT3:
  case ZYDIS_MNEMONIC_INTO: f->read |= ALL_FLAGS; break;
  default: break;
  }
  if (i->rep && (i->kind == OP_CMPS || i->kind == OP_SCAS)) f->read |= f->written;
}

static inline void compare_flags(const uint8_t *bytes, bool code32, const struct insn *i, const struct other *o) {
  const ZydisAccessedFlags *c = o->z.cpu_flags;
  struct flag_sets f = {0, 0, 0};
  if (c) f = (struct flag_sets){c->tested & ALL_FLAGS, (c->modified | c->set_0 | c->set_1) & ALL_FLAGS, c->undefined & ALL_FLAGS};
  adjust_flags(i, o, &f);
  SAME("flags read", i->flags_read, f.read);
  SAME("flags written", i->flags_written, f.written);
  SAME("flags undefined", i->flags_undefined, f.undefined);
}

/* Deliberate differences in registers:
 *  - INT, INT1, INT3, INTO push: theirs leaves the stack out;
 *  - string instructions move eSI and eDI: theirs counts these as read only in all but MOVS, STOS and LODS;
 *  - BSF, BSR: the destination stays when the source is zero, on every CPU, whatever the manual leaves undefined;
 *  - a hint's register operand is not read. */
static inline void compare_registers(const uint8_t *bytes, bool code32, const struct insn *i, const struct other *o) {
  unsigned read, written;
  other_registers(o, &read, &written);
  if (i->kind == OP_INT || i->kind == OP_INT1 || i->kind == OP_INT3 || i->kind == OP_INTO)
    read |= 1 << REG_ESP, written |= 1 << REG_ESP;
  if (i->kind == OP_CMPS) written |= 1 << REG_ESI | 1 << REG_EDI;
  if (i->kind == OP_SCAS || i->kind == OP_INS) written |= 1 << REG_EDI;
  if (i->kind == OP_OUTS) written |= 1 << REG_ESI;
  if (o->z.mnemonic == ZYDIS_MNEMONIC_BSF || o->z.mnemonic == ZYDIS_MNEMONIC_BSR) read |= 1u << i->reg;
  if (i->kind == OP_NOP && i->modrm_offset)
    read &= (i->base == REG_NONE ? 0 : 1u << i->base) | (i->index == REG_NONE ? 0 : 1u << i->index);
  SAME("registers read", i->regs_read, read);
  SAME("registers written", i->regs_written, written);
}

/* Deliberate differences in memory operands: hints and INVLPG access nothing (theirs calls that a read); CLFLUSH reads a byte for
 * protection's sake (theirs: the line); LEA's segment means nothing. */
static inline void compare_memory(const uint8_t *bytes, bool code32, const struct insn *i, const struct other *o) {
  const ZydisDecodedOperand *m = other_memory(o);
  bool accessed = m && m->mem.type == ZYDIS_MEMOP_TYPE_MEM && i->kind != OP_NOP && i->kind != OP_INVLPG;
  SAME("has ea", i->has_ea, m != NULL);
  SAME("has mem", i->has_mem, accessed);
  if (!m || !i->has_ea) return;
  SAME("base", i->base, other_gpr(m->mem.base));
  SAME("index", i->index, other_gpr(m->mem.index));
  SAME("scale", i->index == REG_NONE ? 0 : 1 << i->scale, i->index == REG_NONE ? 0 : m->mem.scale);
  SAME("disp", (uint32_t)i->disp, (uint32_t)(m->mem.disp.has_displacement ? m->mem.disp.value : 0));
  if (i->kind != OP_LEA) SAME("segment", i->seg, other_seg(m->mem.segment));
  if (!accessed) return;
  unsigned access =
    (m->actions & ZYDIS_OPERAND_ACTION_MASK_READ ? ACCESS_R : 0) | (m->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE ? ACCESS_W : 0);
  SAME("access", i->access, access);
  SAME("memory size", i->mem_size, i->kind == OP_CLFLUSH ? 1 : m->size / 8);
}

/* Bytes that the operand columns say follow ModRM and displacement. */
static inline unsigned column_bytes(const struct insn *i) {
  unsigned bytes = 0, v = i->operand_size == 2 ? 2 : 4;
  for (unsigned k = 0; k < 3; k++) {
    const struct operand_info *o = row_operand(i->row, k);
    if (o->class < OC_IMM || o->class > OC_PTR) continue;
    bytes += o->width == SZ_B ? 1 : o->width == SZ_W ? 2 : o->width == SZ_P ? v + 2 : v;
  }
  return bytes;
}

static inline void compare_immediates(const uint8_t *bytes, bool code32, const struct insn *i, const struct other *o) {
  unsigned size = 0, relative = 0, visible = 0;
  for (unsigned k = 0; k < 2; k++) *(o->z.raw.imm[k].is_relative ? &relative : &size) += o->z.raw.imm[k].size / 8;
  SAME("immediate bytes", i->imm_size, size);
  if (i->kind != OP_MOV_MOFFS) SAME("bytes by the operand columns", column_bytes(i), size + relative);
  for (unsigned k = 0; k < o->z.operand_count_visible; k++) {
    const ZydisDecodedOperand *p = &o->operands[k];
    if (p->type == ZYDIS_OPERAND_TYPE_POINTER) {
      SAME("far offset", i->imm, p->ptr.offset);
      SAME("far selector", i->imm2, p->ptr.segment);
    }
    if (p->type != ZYDIS_OPERAND_TYPE_IMMEDIATE || (!size && !p->imm.is_relative)) continue; /* the 1 of D0 and D1 */
    uint32_t mask = i->operand_size == 1 ? 0xff : i->operand_size == 2 ? 0xffff : ~0u;
    if (p->imm.is_relative) SAME("displacement", i->rel, p->imm.value.s);
    else if (!visible++) SAME("immediate", i->imm & mask, (uint32_t)p->imm.value.u & mask);
    else SAME("second immediate", i->imm2, p->imm.value.u);
  }
}

/* Obligation 4 above the table: what is copied touches registers, flags, x87/SSE state and one memory operand. Theirs lists
 * whatever else. */
static inline void compare_kind(const uint8_t *bytes, bool code32, const struct insn *i, const struct other *o) {
  bool other_state =
    (o->z.attributes & ZYDIS_ATTRIB_IS_PRIVILEGED) != 0 || o->z.meta.category == ZYDIS_CATEGORY_IO || o->z.meta.branch_type != 0;
  unsigned memory = 0;
  for (unsigned k = 0; k < o->z.operand_count; k++) {
    const ZydisDecodedOperand *p = &o->operands[k];
    if (p->type == ZYDIS_OPERAND_TYPE_MEMORY && ++memory && p->encoding != ZYDIS_OPERAND_ENCODING_MODRM_RM) other_state = true;
    if (p->type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
    ZydisRegisterClass class = ZydisRegisterGetClass(p->reg.value);
    if (class == ZYDIS_REGCLASS_SEGMENT || class == ZYDIS_REGCLASS_CONTROL || class == ZYDIS_REGCLASS_DEBUG ||
        class == ZYDIS_REGCLASS_IP || class == ZYDIS_REGCLASS_TABLE)
      other_state = true;
  }
  bool runs_here = i->kind == OP_COPY || i->kind == OP_LEA || i->kind == OP_NOP;
  if (runs_here) SAME("copied although it touches more", other_state || memory > 1, false);
  SAME("lock allowed", i->row->lock && i->mod != 3, (o->z.attributes & ZYDIS_ATTRIB_ACCEPTS_LOCK) != 0 && i->mod != 3);
}

/* Instructions on MMX registers that came with SSE (SDM vol. 2; theirs puts some of them with MMX). */
static inline bool came_with_sse(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
  case ZYDIS_MNEMONIC_PAVGB:
  case ZYDIS_MNEMONIC_PAVGW:
  case ZYDIS_MNEMONIC_PEXTRW:
  case ZYDIS_MNEMONIC_PINSRW:
  case ZYDIS_MNEMONIC_PMAXSW:
  case ZYDIS_MNEMONIC_PMAXUB:
  case ZYDIS_MNEMONIC_PMINSW:
  case ZYDIS_MNEMONIC_PMINUB:
  case ZYDIS_MNEMONIC_PMULHUW:
  case ZYDIS_MNEMONIC_PSADBW:
  case ZYDIS_MNEMONIC_PSHUFW:
  case ZYDIS_MNEMONIC_MOVNTQ:
  case ZYDIS_MNEMONIC_MASKMOVQ: return true;
  default: return false;
  }
}

/* Which feature an instruction asks for, by theirs' instruction sets; FEAT_COUNT where those say nothing. */
static inline unsigned feature_of(const struct other *o) {
  switch (o->z.meta.isa_set) {
  case ZYDIS_ISA_SET_PENTIUMMMX: return came_with_sse(o->z.mnemonic) ? FEAT_SSE : FEAT_MMX;
  case ZYDIS_ISA_SET_SSE:
  case ZYDIS_ISA_SET_SSEMXCSR:
  case ZYDIS_ISA_SET_SSE_PREFETCH: return FEAT_SSE;
  case ZYDIS_ISA_SET_SSE2:
  case ZYDIS_ISA_SET_SSE2MMX: return FEAT_SSE2;
  case ZYDIS_ISA_SET_SSE3:
  case ZYDIS_ISA_SET_SSE3X87: return FEAT_SSE3;
  case ZYDIS_ISA_SET_SSSE3:
  case ZYDIS_ISA_SET_SSSE3MMX: return FEAT_SSSE3;
  case ZYDIS_ISA_SET_SSE4: return FEAT_SSE41;
  case ZYDIS_ISA_SET_SSE42: return FEAT_SSE42;
  case ZYDIS_ISA_SET_POPCNT: return FEAT_POPCNT;
  case ZYDIS_ISA_SET_MOVBE: return FEAT_MOVBE;
  case ZYDIS_ISA_SET_CMOV:
  case ZYDIS_ISA_SET_FCMOV: return FEAT_CMOV;
  case ZYDIS_ISA_SET_FXSAVE: return FEAT_FXSR;
  case ZYDIS_ISA_SET_CLFSH: return FEAT_CLFLUSH;
  case ZYDIS_ISA_SET_RDTSCP: return FEAT_RDTSCP;
  default: return FEAT_COUNT;
  }
}

static inline void compare_feature(const uint8_t *bytes, bool code32, const struct insn *i, const struct other *o) {
  unsigned theirs = feature_of(o);
  if (theirs != FEAT_COUNT && i->kind != OP_RDPMC) SAME("feature", i->row->feature, theirs);
  bool xmm = false, mmx = false;
  for (unsigned k = 0; k < o->z.operand_count; k++) {
    if (o->operands[k].type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
    ZydisRegisterClass class = ZydisRegisterGetClass(o->operands[k].reg.value);
    xmm |= class == ZYDIS_REGCLASS_XMM;
    mmx |= class == ZYDIS_REGCLASS_MMX;
  }
  /* between XMM (or memory) and MMX or general registers */
  bool converts = o->z.meta.category == ZYDIS_CATEGORY_CONVERT && o->z.meta.isa_ext != ZYDIS_ISA_EXT_BASE;
  unsigned need = FPU_NONE;
  if (xmm || converts || o->z.meta.isa_set == ZYDIS_ISA_SET_SSEMXCSR) need = FPU_SSE;
  else if (mmx || o->z.mnemonic == ZYDIS_MNEMONIC_EMMS) need = FPU_MMX;
  else if (o->z.meta.isa_set == ZYDIS_ISA_SET_FXSAVE) need = FPU_FXSAVE;
  else if (o->z.mnemonic == ZYDIS_MNEMONIC_FWAIT) need = FPU_WAIT;
  else if (o->z.meta.isa_ext == ZYDIS_ISA_EXT_X87 || o->z.mnemonic == ZYDIS_MNEMONIC_FISTTP) need = FPU_X87;
  SAME("fpu need", i->row->fpu, need);
}

/* Deliberate differences in the number of operands: our columns name what theirs leaves out as implied (all of string
 * instructions, the accumulator of CBW and CWD, ST(0) of one-operand x87 forms, XMM0 of BLENDV); theirs counts the register that
 * a hint ignores. */
static inline void compare_operands(const uint8_t *bytes, bool code32, const struct insn *i, const struct other *o) {
  unsigned columns = 0, implied = 0, theirs = o->z.operand_count_visible;
  for (; columns < 4 && row_operand(i->row, columns)->class != OC_NONE; columns++) {
    unsigned class = row_operand(i->row, columns)->class;
    implied +=
      class == OC_SRC_STRING || class == OC_DST_STRING || class == OC_FIXED_GPR || class == OC_FIXED_XMM || class == OC_ST0;
  }
  if (i->kind == OP_NOP && i->modrm_offset && theirs == columns + 1) theirs--;
  if (theirs < columns && theirs >= columns - implied) theirs = columns;
  SAME("operands", columns, theirs);
  SAME("lock", i->lock, (o->z.attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0);
}

static inline void compare(const ZydisDecoder *d, const uint8_t *bytes, unsigned len, bool code32) {
  struct insn insn, *i = &insn;
  struct other other, *o = &other;
  enum insn_error error = insn_decode(i, bytes, len, (struct insn_mode){.code32 = code32, .features = ALL_FEATURES});
  other_decode(o, d, bytes, len);
  if (error != INSN_OK) {
    bool more = o->status == ZYDIS_STATUS_NO_MORE_DATA || o->status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG;
    if (!more || error != (len < 15 ? INSN_TOO_SHORT : INSN_TOO_LONG)) {
      i->row = insn_rows(&(unsigned){0});
      complain(bytes, len, code32, i, o, "error", error, (long)o->status);
    }
    return;
  }
  if (!o->in_set || i->kind == OP_UD) {
    /* known before all bytes were there */
    if ((o->status == ZYDIS_STATUS_NO_MORE_DATA || o->status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG) && i->kind == OP_UD) return;
    SAME("defined", i->kind != OP_UD, o->in_set);
    return;
  }
  SAME("length", i->length, o->z.length);
  SAME("opcode", i->bytes[i->opcode_offset], o->z.opcode);
  SAME("modrm", i->modrm_offset, o->z.raw.modrm.offset);
  if (i->row->size_form == SIZE_EFFECTIVE && i->kind != OP_NOP && i->kind != OP_INVLPG)
    SAME("operand size", i->operand_size, o->z.operand_width / 8);
  SAME("address size", i->address_size, o->z.address_width / 8);
  SAME("rep", i->rep != 0, (o->z.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)) != 0);
  SAME("bytes", memcmp(i->bytes, bytes, i->length), 0);
  compare_registers(bytes, code32, i, o);
  compare_flags(bytes, code32, i, o);
  compare_memory(bytes, code32, i, o);
  compare_immediates(bytes, code32, i, o);
  compare_kind(bytes, code32, i, o);
  compare_operands(bytes, code32, i, o);
  compare_feature(bytes, code32, i, o);
}
