// link: bt_translator Zydis
/* The opcode table and insn_decode() against an independent reading of the same bytes: Zydis' full decode, which is generated
 * from another table and of which decode.c uses no more than displacement, immediates and length. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <Zydis/Zydis.h>
#include "../../translator/opcodes.h"

enum { ALL_FLAGS = FLAGS_ARITH | FLAG_DF, MAX_COMPLAINTS = 20 };
static const uint64_t ALL_FEATURES = ~0ull;

/* ---- the table ------------------------------------------------------------------------------------------------------- */

static bool is_prefix(unsigned byte) {
  return byte == 0x26 || byte == 0x2e || byte == 0x36 || byte == 0x3e || (byte >= 0x64 && byte <= 0x67) || byte == 0xf0 || byte == 0xf2 || byte == 0xf3;
}

/* Its own reading of the first columns. */
static bool row_covers(const struct opcode_row *row, unsigned map, unsigned opcode, unsigned modrm, unsigned prefix) {
  if (row->map != map || row->opcode != opcode) return false;
  if (row->reg >= 0 && row->reg != (int)(modrm >> 3 & 7)) return false;
  if (row->mod3 >= 0 && row->mod3 != (modrm >> 6 == 3)) return false;
  if (row->rm >= 0 && row->rm != (int)(modrm & 7)) return false;
  if (row->prefix == 1) return prefix == 0;
  if (row->prefix == 2) return prefix != 0xf2 && prefix != 0xf3;
  return row->prefix == 0 || row->prefix == prefix;
}

static const unsigned mandatory[] = {0, 0x66, 0xf2, 0xf3};

/* The index finds, for every opcode, ModRM byte and prefix, the one row that a search of the whole table finds; every row is found
 * by something; no two rows cover one encoding. */
static void rows_are_indexed_and_disjoint(void **state) {
  (void)state;
  unsigned count;
  const struct opcode_row *rows = insn_rows(&count);
  uint8_t *found = calloc(count, 1);
  assert_non_null(found);
  unsigned start = 1;
  for (unsigned key = 0; key < 4 * 256; key++) {
    unsigned map = key >> 8, opcode = key & 0xff, first = 0, n = 0;
    for (unsigned i = start; i < count; i++)
      if (rows[i].map == map && rows[i].opcode == opcode) {
        if (!n++) first = i;
        assert_int_equal(i, first + n - 1);   /* rows of one opcode stand together */
        assert_int_equal(rows[i].modrm, opcode_has_modrm(map, opcode));
      }
    for (unsigned k = 0; k < 4 * 256; k++) {
      unsigned modrm = k & 0xff, prefix = mandatory[k >> 8], hits = 0, hit = 0;
      for (unsigned i = first; i < first + n; i++)
        if (row_covers(&rows[i], map, opcode, modrm, prefix)) hit = i, hits++;
      if (hits > 1) fail_msg("map %u opcode %02x modrm %02x prefix %02x: %u rows", map, opcode, modrm, prefix, hits);
      assert_ptr_equal(opcode_find(map, opcode, modrm, prefix), &rows[hit]);
      found[hit] = 1;
    }
  }
  for (unsigned i = 0; i < count; i++)
    if (!found[i]) fail_msg("row %u (%u %02x %s) is never reached", i, rows[i].map, rows[i].opcode, rows[i].mnemonic);
  free(found);
}

static void every_opcode_has_a_row(void **state) {
  (void)state;
  unsigned count;
  const struct opcode_row *rows = insn_rows(&count);
  for (unsigned key = 0; key < 2 * 256; key++) {
    unsigned map = key >> 8, opcode = key & 0xff, n = 0;
    if (map == 0 && (is_prefix(opcode) || opcode == 0x0f)) continue;
    if (map == 1 && (opcode == 0x38 || opcode == 0x3a)) continue;
    for (unsigned i = 0; i < count; i++) n += rows[i].map == map && rows[i].opcode == opcode;
    if (!n) fail_msg("map %u opcode %02x has no row", map, opcode);
  }
}

/* Columns that contradict each other. */
static void rows_are_consistent(void **state) {
  (void)state;
  unsigned count;
  const struct opcode_row *rows = insn_rows(&count);
  for (unsigned i = 0; i < count; i++) {
    const struct opcode_row *r = &rows[i];
    unsigned memory = 0;
    for (unsigned k = 0; k < 3; k++) {
      unsigned class = row_operand(r, k)->class;
      if (class == OC_MEM) assert_int_equal(r->mod3, 0);
      if (class == OC_MMX_RM || class == OC_XMM_RM) assert_int_equal(r->mod3, 1);
      if (r->operands[k] == OPERAND_M) assert_int_equal(r->mod3, r->kind == OP_LEA ? 0 : r->mod3);
      memory += class == OC_MEM || class == OC_GPR_MEM || class == OC_MMX_MEM || class == OC_XMM_MEM || class == OC_MOFFS;
    }
    assert_true(memory <= 1);
    if (r->kind != OP_UD) assert_int_equal(memory != 0, r->access != ACCESS_NONE);
    assert_int_equal(r->flags_written & r->flags_undefined, 0);
    assert_int_equal((r->flags_read | r->flags_written | r->flags_undefined) & ~ALL_FLAGS, 0);
    if (r->rm >= 0) assert_int_equal(r->mod3, 1);
    if (r->lock) assert_int_equal(r->access, ACCESS_RW);
    assert_true(r->kind < OP_KIND_COUNT && r->kind != OP_TODO);
    if (r->fpu == FPU_MMX || r->fpu == FPU_SSE) assert_int_not_equal(r->feature, FEAT_ALWAYS);
  }
}

/* ---- the other decoder ------------------------------------------------------------------------------------------------ */

struct other {
  ZyanStatus status;
  ZydisDecodedInstruction z;
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
  bool in_set;   /* accepted, and of a kind that our CPUs have */
};

static bool extension_in_set(const ZydisDecodedInstruction *z) {
  if (z->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY) return false;
  switch (z->meta.isa_ext) {
  case ZYDIS_ISA_EXT_BASE: case ZYDIS_ISA_EXT_X87: case ZYDIS_ISA_EXT_MMX: case ZYDIS_ISA_EXT_SSE: case ZYDIS_ISA_EXT_SSE2: case ZYDIS_ISA_EXT_SSE3:
  case ZYDIS_ISA_EXT_SSSE3: case ZYDIS_ISA_EXT_SSE4: case ZYDIS_ISA_EXT_MOVBE: case ZYDIS_ISA_EXT_CLFSH: case ZYDIS_ISA_EXT_PAUSE: case ZYDIS_ISA_EXT_RDTSCP:
    break;
  case ZYDIS_ISA_EXT_AMD3DNOW_PREFETCH: case ZYDIS_ISA_EXT_PREFETCHWT1: return true;   /* 0F0D: a hint to us */
  default: return z->meta.isa_set == ZYDIS_ISA_SET_PREFETCH_NOP;
  }
  switch (z->mnemonic) {
  case ZYDIS_MNEMONIC_UD0: case ZYDIS_MNEMONIC_UD1: case ZYDIS_MNEMONIC_UD2:
  case ZYDIS_MNEMONIC_RSM:                                        /* outside of SMM */
  case ZYDIS_MNEMONIC_SYSCALL: case ZYDIS_MNEMONIC_SYSRET:
    return false;
  default: return true;
  }
}

static ZydisDecoder other_decoder(bool code32) {
  ZydisDecoder d;
  ZydisDecoderInit(&d, code32 ? ZYDIS_MACHINE_MODE_LEGACY_32 : ZYDIS_MACHINE_MODE_LEGACY_16, code32 ? ZYDIS_STACK_WIDTH_32 : ZYDIS_STACK_WIDTH_16);
  static const ZydisDecoderMode off[] = {ZYDIS_DECODER_MODE_KNC, ZYDIS_DECODER_MODE_MPX, ZYDIS_DECODER_MODE_CET, ZYDIS_DECODER_MODE_LZCNT,
                                         ZYDIS_DECODER_MODE_TZCNT, ZYDIS_DECODER_MODE_WBNOINVD, ZYDIS_DECODER_MODE_CLDEMOTE};
  for (unsigned i = 0; i < sizeof off / sizeof *off; i++) ZydisDecoderEnableMode(&d, off[i], ZYAN_FALSE);
  return d;
}

static void other_decode(struct other *o, const ZydisDecoder *d, const uint8_t *bytes, unsigned len) {
  o->status = ZydisDecoderDecodeFull(d, bytes, len, &o->z, o->operands);
  o->in_set = ZYAN_SUCCESS(o->status) && extension_in_set(&o->z);
}

static unsigned other_gpr(ZydisRegister reg) {
  ZydisRegister wide = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LEGACY_32, reg);
  return wide >= ZYDIS_REGISTER_EAX && wide <= ZYDIS_REGISTER_EDI ? wide - ZYDIS_REGISTER_EAX : REG_NONE;
}

static unsigned other_seg(ZydisRegister reg) { return reg >= ZYDIS_REGISTER_ES && reg <= ZYDIS_REGISTER_GS ? reg - ZYDIS_REGISTER_ES : SEG_NONE; }

/* The register sets by our rules: a partial or conditional write keeps the old value, so it reads as well. */
static void other_registers(const struct other *o, unsigned *read, unsigned *written) {
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
      if ((p->actions & ZYDIS_OPERAND_ACTION_CONDWRITE) || ZydisRegisterGetWidth(ZYDIS_MACHINE_MODE_LEGACY_32, p->reg.value) < 32) *read |= 1u << reg;
    }
  }
}

static const ZydisDecodedOperand *other_memory(const struct other *o) {
  for (unsigned i = 0; i < o->z.operand_count; i++) {
    const ZydisDecodedOperand *p = &o->operands[i];
    if (p->type == ZYDIS_OPERAND_TYPE_MEMORY && (p->encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM || p->encoding == ZYDIS_OPERAND_ENCODING_DISP16_32_64)) return p;
    if (p->type == ZYDIS_OPERAND_TYPE_MEMORY && (o->z.mnemonic == ZYDIS_MNEMONIC_XLAT || o->z.mnemonic == ZYDIS_MNEMONIC_MASKMOVQ || o->z.mnemonic == ZYDIS_MNEMONIC_MASKMOVDQU)) return p;
  }
  return NULL;
}

/* ---- comparing -------------------------------------------------------------------------------------------------------- */

static unsigned complaints;
static void complain(const uint8_t *bytes, unsigned n, bool code32, const struct insn *i, const struct other *o, const char *what, long ours, long theirs) {
  if (complaints++ >= MAX_COMPLAINTS) return;
  char hex[64] = "";
  for (unsigned k = 0; k < n; k++) snprintf(hex + 3 * k, 4, "%02x ", bytes[k]);
  print_error("%s %s (%s, theirs %s): %s ours %lx theirs %lx\n", code32 ? "32" : "16", hex, i->row->mnemonic,
              ZYAN_SUCCESS(o->status) ? ZydisMnemonicGetString(o->z.mnemonic) : "rejected", what, ours, theirs);
}
#define SAME(what, ours, theirs) do { long a_ = (long)(ours), b_ = (long)(theirs); if (a_ != b_) complain(bytes, i->length, code32, i, o, what, a_, b_); } while (0)

struct flag_sets { unsigned read, written, undefined; };

/* Deliberate differences in flags, each applied to the other decoder's answer:
 *  - shifts: theirs depends on the opcode alone and calls OF undefined always. The manual defines it for a count of one; nothing is written
 *    for a count of zero; a count in CL may be zero, so old flags survive. tests/unit/test_decode_host.c has the CPU's own answer;
 *  - SBB: theirs calls AF undefined; the manual says that it is set;
 *  - INT, INT1, INT3, INTO: push all of EFLAGS;
 *  - REP CMPS, REP SCAS: leave the flags when eCX is zero. */
static void adjust_flags(const struct insn *i, const struct other *o, struct flag_sets *f) {
  unsigned count = i->row->count == COUNT_ONE ? 1 : i->imm & 31;
  if (i->row->count == COUNT_CL) f->read |= f->written | f->undefined;
  else if (i->row->count != COUNT_NONE && count == 0) *f = (struct flag_sets){0, 0, 0};
  else if (i->row->count != COUNT_NONE && count == 1) f->undefined &= ~(unsigned)FLAG_OF, f->written |= FLAG_OF;
  switch (o->z.mnemonic) {
  case ZYDIS_MNEMONIC_SBB: f->undefined &= ~(unsigned)FLAG_AF, f->written |= FLAG_AF; break;
  case ZYDIS_MNEMONIC_INT: case ZYDIS_MNEMONIC_INT1: case ZYDIS_MNEMONIC_INT3: case ZYDIS_MNEMONIC_INTO: f->read |= ALL_FLAGS; break;
  default: break;
  }
  if (i->rep && (i->kind == OP_CMPS || i->kind == OP_SCAS)) f->read |= f->written;
}

static void compare_flags(const uint8_t *bytes, bool code32, const struct insn *i, const struct other *o) {
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
static void compare_registers(const uint8_t *bytes, bool code32, const struct insn *i, const struct other *o) {
  unsigned read, written;
  other_registers(o, &read, &written);
  if (i->kind == OP_INT || i->kind == OP_INT1 || i->kind == OP_INT3 || i->kind == OP_INTO) read |= 1 << REG_ESP, written |= 1 << REG_ESP;
  if (i->kind == OP_CMPS) written |= 1 << REG_ESI | 1 << REG_EDI;
  if (i->kind == OP_SCAS || i->kind == OP_INS) written |= 1 << REG_EDI;
  if (i->kind == OP_OUTS) written |= 1 << REG_ESI;
  if (o->z.mnemonic == ZYDIS_MNEMONIC_BSF || o->z.mnemonic == ZYDIS_MNEMONIC_BSR) read |= 1u << i->reg;
  if (i->kind == OP_NOP && i->modrm_offset) read &= (i->base == REG_NONE ? 0 : 1u << i->base) | (i->index == REG_NONE ? 0 : 1u << i->index);
  SAME("registers read", i->regs_read, read);
  SAME("registers written", i->regs_written, written);
}

/* Deliberate differences in memory operands: hints and INVLPG access nothing (theirs calls that a read); CLFLUSH reads a byte for protection's
 * sake (theirs: the line); LEA's segment means nothing. */
static void compare_memory(const uint8_t *bytes, bool code32, const struct insn *i, const struct other *o) {
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
  unsigned access = (m->actions & ZYDIS_OPERAND_ACTION_MASK_READ ? ACCESS_R : 0) | (m->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE ? ACCESS_W : 0);
  SAME("access", i->access, access);
  SAME("memory size", i->mem_size, i->kind == OP_CLFLUSH ? 1 : m->size / 8);
}

/* Bytes that the operand columns say follow ModRM and displacement. */
static unsigned column_bytes(const struct insn *i) {
  unsigned bytes = 0, v = i->operand_size == 2 ? 2 : 4;
  for (unsigned k = 0; k < 3; k++) {
    const struct operand_info *o = row_operand(i->row, k);
    if (o->class < OC_IMM || o->class > OC_PTR) continue;
    bytes += o->width == SZ_B ? 1 : o->width == SZ_W ? 2 : o->width == SZ_P ? v + 2 : v;
  }
  return bytes;
}

static void compare_immediates(const uint8_t *bytes, bool code32, const struct insn *i, const struct other *o) {
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
    if (p->type != ZYDIS_OPERAND_TYPE_IMMEDIATE || (!size && !p->imm.is_relative)) continue;   /* the 1 of D0 and D1 */
    uint32_t mask = i->operand_size == 1 ? 0xff : i->operand_size == 2 ? 0xffff : ~0u;
    if (p->imm.is_relative) SAME("displacement", i->rel, p->imm.value.s);
    else if (!visible++) SAME("immediate", i->imm & mask, (uint32_t)p->imm.value.u & mask);
    else SAME("second immediate", i->imm2, p->imm.value.u);
  }
}

/* Obligation 4 above the table: what is copied touches registers, flags, x87/SSE state and one memory operand. Theirs lists whatever else. */
static void compare_kind(const uint8_t *bytes, bool code32, const struct insn *i, const struct other *o) {
  bool other_state = (o->z.attributes & ZYDIS_ATTRIB_IS_PRIVILEGED) != 0 || o->z.meta.category == ZYDIS_CATEGORY_IO || o->z.meta.branch_type != 0;
  unsigned memory = 0;
  for (unsigned k = 0; k < o->z.operand_count; k++) {
    const ZydisDecodedOperand *p = &o->operands[k];
    if (p->type == ZYDIS_OPERAND_TYPE_MEMORY && ++memory && p->encoding != ZYDIS_OPERAND_ENCODING_MODRM_RM) other_state = true;
    if (p->type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
    ZydisRegisterClass class = ZydisRegisterGetClass(p->reg.value);
    if (class == ZYDIS_REGCLASS_SEGMENT || class == ZYDIS_REGCLASS_CONTROL || class == ZYDIS_REGCLASS_DEBUG || class == ZYDIS_REGCLASS_IP || class == ZYDIS_REGCLASS_TABLE)
      other_state = true;
  }
  bool runs_here = i->kind == OP_COPY || i->kind == OP_LEA || i->kind == OP_NOP;
  if (runs_here) SAME("copied although it touches more", other_state || memory > 1, false);
  SAME("lock allowed", i->row->lock && i->mod != 3, (o->z.attributes & ZYDIS_ATTRIB_ACCEPTS_LOCK) != 0 && i->mod != 3);
}

/* Instructions on MMX registers that came with SSE (SDM vol. 2; theirs puts some of them with MMX). */
static bool came_with_sse(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
  case ZYDIS_MNEMONIC_PAVGB: case ZYDIS_MNEMONIC_PAVGW: case ZYDIS_MNEMONIC_PEXTRW: case ZYDIS_MNEMONIC_PINSRW: case ZYDIS_MNEMONIC_PMAXSW:
  case ZYDIS_MNEMONIC_PMAXUB: case ZYDIS_MNEMONIC_PMINSW: case ZYDIS_MNEMONIC_PMINUB: case ZYDIS_MNEMONIC_PMULHUW: case ZYDIS_MNEMONIC_PSADBW:
  case ZYDIS_MNEMONIC_PSHUFW: case ZYDIS_MNEMONIC_MOVNTQ: case ZYDIS_MNEMONIC_MASKMOVQ: return true;
  default: return false;
  }
}

/* Which feature an instruction asks for, by theirs' instruction sets; FEAT_COUNT where those say nothing. */
static unsigned feature_of(const struct other *o) {
  switch (o->z.meta.isa_set) {
  case ZYDIS_ISA_SET_PENTIUMMMX: return came_with_sse(o->z.mnemonic) ? FEAT_SSE : FEAT_MMX;
  case ZYDIS_ISA_SET_SSE: case ZYDIS_ISA_SET_SSEMXCSR: case ZYDIS_ISA_SET_SSE_PREFETCH: return FEAT_SSE;
  case ZYDIS_ISA_SET_SSE2: case ZYDIS_ISA_SET_SSE2MMX: return FEAT_SSE2;
  case ZYDIS_ISA_SET_SSE3: case ZYDIS_ISA_SET_SSE3X87: return FEAT_SSE3;
  case ZYDIS_ISA_SET_SSSE3: case ZYDIS_ISA_SET_SSSE3MMX: return FEAT_SSSE3;
  case ZYDIS_ISA_SET_SSE4: return FEAT_SSE41;
  case ZYDIS_ISA_SET_SSE42: return FEAT_SSE42;
  case ZYDIS_ISA_SET_POPCNT: return FEAT_POPCNT;
  case ZYDIS_ISA_SET_MOVBE: return FEAT_MOVBE;
  case ZYDIS_ISA_SET_CMOV: case ZYDIS_ISA_SET_FCMOV: return FEAT_CMOV;
  case ZYDIS_ISA_SET_FXSAVE: return FEAT_FXSR;
  case ZYDIS_ISA_SET_CLFSH: return FEAT_CLFLUSH;
  case ZYDIS_ISA_SET_RDTSCP: return FEAT_RDTSCP;
  default: return FEAT_COUNT;
  }
}

static void compare_feature(const uint8_t *bytes, bool code32, const struct insn *i, const struct other *o) {
  unsigned theirs = feature_of(o);
  if (theirs != FEAT_COUNT && i->kind != OP_RDPMC) SAME("feature", i->row->feature, theirs);
  bool xmm = false, mmx = false;
  for (unsigned k = 0; k < o->z.operand_count; k++) {
    if (o->operands[k].type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
    ZydisRegisterClass class = ZydisRegisterGetClass(o->operands[k].reg.value);
    xmm |= class == ZYDIS_REGCLASS_XMM;
    mmx |= class == ZYDIS_REGCLASS_MMX;
  }
  bool converts = o->z.meta.category == ZYDIS_CATEGORY_CONVERT && o->z.meta.isa_ext != ZYDIS_ISA_EXT_BASE;   /* between XMM (or memory) and MMX or general registers */
  unsigned need = FPU_NONE;
  if (xmm || converts || o->z.meta.isa_set == ZYDIS_ISA_SET_SSEMXCSR) need = FPU_SSE;
  else if (mmx || o->z.mnemonic == ZYDIS_MNEMONIC_EMMS) need = FPU_MMX;
  else if (o->z.meta.isa_set == ZYDIS_ISA_SET_FXSAVE) need = FPU_FXSAVE;
  else if (o->z.mnemonic == ZYDIS_MNEMONIC_FWAIT) need = FPU_WAIT;
  else if (o->z.meta.isa_ext == ZYDIS_ISA_EXT_X87 || o->z.mnemonic == ZYDIS_MNEMONIC_FISTTP) need = FPU_X87;
  SAME("fpu need", i->row->fpu, need);
}

static void compare(const ZydisDecoder *d, const uint8_t *bytes, unsigned len, bool code32) {
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
    if ((o->status == ZYDIS_STATUS_NO_MORE_DATA || o->status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG) && i->kind == OP_UD) return;   /* known before all bytes were there */
    SAME("defined", i->kind != OP_UD, o->in_set);
    return;
  }
  SAME("length", i->length, o->z.length);
  SAME("opcode", i->bytes[i->opcode_offset], o->z.opcode);
  SAME("modrm", i->modrm_offset, o->z.raw.modrm.offset);
  if (i->row->size_form == SIZE_EFFECTIVE && i->kind != OP_NOP && i->kind != OP_INVLPG) SAME("operand size", i->operand_size, o->z.operand_width / 8);
  SAME("address size", i->address_size, o->z.address_width / 8);
  SAME("rep", i->rep != 0, (o->z.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)) != 0);
  SAME("bytes", memcmp(i->bytes, bytes, i->length), 0);
  compare_registers(bytes, code32, i, o);
  compare_flags(bytes, code32, i, o);
  compare_memory(bytes, code32, i, o);
  compare_immediates(bytes, code32, i, o);
  compare_kind(bytes, code32, i, o);
  compare_feature(bytes, code32, i, o);
}

static uint64_t random_state;
static uint32_t random32(void) {   /* xorshift64*: the same cases in every run */
  random_state ^= random_state >> 12;
  random_state ^= random_state << 25;
  random_state ^= random_state >> 27;
  return (uint32_t)(random_state * 0x2545f4914f6cdd1dull >> 32);
}

static const char *const prefix_sets[] = {"", "\x66", "\x67", "\xf2", "\xf3", "\x66\xf3", "\xf2\x66", "\xf0", "\x64", "\x36\x67\x66", "\xf3\xf2\x2e", "\xf0\x66\xf2"};

static void compare_map(const ZydisDecoder *d, bool code32, const char *prefixes, unsigned map) {
  static const char *const escapes[] = {"", "\x0f", "\x0f\x38", "\x0f\x3a"};
  uint8_t bytes[32];
  unsigned n = (unsigned)strlen(prefixes), e = (unsigned)strlen(escapes[map]);
  memcpy(bytes, prefixes, n);
  memcpy(bytes + n, escapes[map], e);
  for (unsigned k = 0; k < 256 * 256; k++) {
    if (map == 0 && (is_prefix(k >> 8) || k >> 8 == 0x0f)) continue;
    if (map == 1 && (k >> 8 == 0x38 || k >> 8 == 0x3a)) continue;
    bytes[n + e] = (uint8_t)(k >> 8);
    bytes[n + e + 1] = (uint8_t)k;
    for (unsigned i = n + e + 2; i < 20; i++) bytes[i] = (uint8_t)random32();
    compare(d, bytes, 20, code32);
  }
}

static void all_opcodes_match(void **state) {
  (void)state;
  complaints = 0;
  random_state = 88172645463325252ull;
  for (unsigned code32 = 0; code32 < 2; code32++) {
    ZydisDecoder d = other_decoder(code32);
    for (unsigned p = 0; p < sizeof prefix_sets / sizeof *prefix_sets; p++)
      for (unsigned map = 0; map < 4; map++) compare_map(&d, code32, prefix_sets[p], map);
  }
  assert_int_equal(complaints, 0);
}

/* Random bytes of random length, half of them with a few prefixes in front. */
static void random_bytes_match(void **state) {
  (void)state;
  static const uint8_t prefixes[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x0f};
  complaints = 0;
  random_state = 1234567;
  ZydisDecoder d[2] = {other_decoder(false), other_decoder(true)};
  for (unsigned k = 0; k < 500000; k++) {
    unsigned len = random32() % 20, from = random32() & 1 ? random32() % 15 : 0;
    uint8_t *bytes = malloc(len + 1);   /* exactly len bytes for the sanitizer to guard */
    assert_non_null(bytes);
    for (unsigned i = 0; i < len; i++) bytes[i] = i < from ? prefixes[random32() % sizeof prefixes] : (uint8_t)random32();
    bytes = realloc(bytes, len ? len : 1);
    compare(&d[k & 1], bytes, len, k & 1);
    free(bytes);
  }
  assert_int_equal(complaints, 0);
}

/* ---- rules that the other decoder does not know ------------------------------------------------------------------------- */

static struct insn decoded(bool code32, uint64_t features, const char *bytes, unsigned len, enum insn_error expected) {
  struct insn insn;
  assert_int_equal(insn_decode(&insn, (const uint8_t *)bytes, len, (struct insn_mode){.code32 = code32, .features = features}), expected);
  return insn;
}
#define DECODE(code32, text) decoded(code32, ALL_FEATURES, text, sizeof text - 1, INSN_OK)

/* Every row that names a feature is undefined without it, and only then. */
static void missing_feature_is_undefined(void **state) {
  (void)state;
  unsigned count;
  const struct opcode_row *rows = insn_rows(&count);
  static const char *const escapes[] = {"", "\x0f", "\x0f\x38", "\x0f\x3a"};
  for (unsigned n = 1; n < count; n++) {
    const struct opcode_row *r = &rows[n];
    if (r->kind == OP_UD) continue;
    char bytes[24] = "";
    unsigned at = 0;
    if (r->prefix >= 0x66) bytes[at++] = (char)r->prefix;
    for (const char *e = escapes[r->map]; *e; e++) bytes[at++] = *e;
    bytes[at++] = (char)r->opcode;
    bytes[at++] = (char)((r->mod3 == 1 ? 0xc0 : 0) | (r->reg > 0 ? r->reg << 3 : 0) | (r->rm > 0 ? r->rm : 0));
    struct insn with = decoded(true, 1ull << r->feature, bytes, 20, INSN_OK), without = decoded(true, ~(1ull << r->feature), bytes, 20, INSN_OK);
    assert_ptr_equal(with.row, r);
    assert_int_equal(with.kind, r->kind);
    assert_int_equal(without.kind, r->feature ? OP_UD : r->kind);
  }
}

/* A defined instruction asks for more bytes until it has all of them, and gives the same answer however many follow. */
static void every_truncation_is_too_short(void **state) {
  (void)state;
  random_state = 99;
  for (unsigned k = 0; k < 200000; k++) {
    uint8_t bytes[15];
    struct insn whole, part;
    struct insn_mode mode = {.code32 = k & 1, .features = ALL_FEATURES};
    for (unsigned i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)random32();
    if (insn_decode(&whole, bytes, sizeof bytes, mode) != INSN_OK || whole.kind == OP_UD) continue;
    for (unsigned len = 0; len < whole.length; len++) assert_int_equal(insn_decode(&part, bytes, len, mode), INSN_TOO_SHORT);
    assert_int_equal(insn_decode(&part, bytes, whole.length, mode), INSN_OK);
    assert_memory_equal(&part, &whole, sizeof whole);
  }
}

static void fifteen_bytes_are_the_limit(void **state) {
  (void)state;
  char bytes[20];
  for (unsigned n = 10; n <= 15; n++) {   /* n prefixes, then ADD eAX,Iz: n + 5 bytes */
    memset(bytes, 0x3e, n);
    memcpy(bytes + n, "\x05\x01\x02\x03\x04", 5);
    struct insn i = decoded(true, ALL_FEATURES, bytes, n + 5, n == 10 ? INSN_OK : INSN_TOO_LONG);
    if (n == 10) assert_int_equal(i.length, 15);
    decoded(true, ALL_FEATURES, bytes, 14, INSN_TOO_SHORT);
  }
}

static void tzcnt_runs_as_bsf(void **state) {
  (void)state;
  struct insn i = DECODE(true, "\xf3\x0f\xbc\xc1");
  assert_string_equal(i.row->mnemonic, "BSF");
  assert_int_equal(i.mandatory, 0);
  i = DECODE(true, "\xf3\x0f\xb8\xc1");
  assert_string_equal(i.row->mnemonic, "POPCNT");
  assert_int_equal(i.mandatory, 0xf3);
  i = DECODE(true, "\xf3\x0f\x1e\xfb");   /* ENDBR32 */
  assert_int_equal(i.kind, OP_NOP);
}

static void system_register_moves_ignore_mod(void **state) {
  (void)state;
  struct insn i = DECODE(true, "\x0f\x20\x04");   /* would be a SIB form */
  assert_int_equal(i.kind, OP_MOV_FROM_CR);
  assert_int_equal(i.length, 3);
  assert_int_equal(i.mod, 3);
  assert_false(i.has_ea);
  assert_int_equal(i.regs_written, 1 << REG_ESP);
  i = DECODE(true, "\x0f\x22\xc8");   /* CR1 */
  assert_int_equal(i.kind, OP_UD);
  i = DECODE(true, "\x8e\xc8");         /* MOV CS */
  assert_int_equal(i.kind, OP_UD);
  i = DECODE(true, "\x8c\xc8");
  assert_int_equal(i.kind, OP_MOV_FROM_SEG);
}

/* A copy that has no operand size never asks for a 66h: in 16-bit code it would be another instruction. */
static void unsized_copies_stay_unprefixed(void **state) {
  (void)state;
  assert_int_equal(DECODE(false, "\x0f\x28\xc1").operand_size, 4);   /* MOVAPS: 66h would make it MOVAPD */
  assert_int_equal(DECODE(false, "\x0f\xc3\x07").operand_size, 4);   /* MOVNTI: 66h would be #UD */
  assert_int_equal(DECODE(false, "\x0f\xae\xe8").operand_size, 4);   /* LFENCE */
  assert_int_equal(DECODE(false, "\x0f\xc7\x0f").operand_size, 4);   /* CMPXCHG8B */
  assert_int_equal(DECODE(false, "\x01\xc1").operand_size, 2);
  assert_int_equal(DECODE(false, "\x66\x01\xc1").operand_size, 4);
  assert_int_equal(DECODE(true, "\x66\xf3\x0f\xb8\xc1").operand_size, 2);
}

static void implicit_memory_has_its_segment(void **state) {
  (void)state;
  struct insn i = DECODE(true, "\x64\xd7");   /* XLAT FS: */
  assert_true(i.has_mem && i.seg == SEG_FS && i.base == REG_EBX && i.mem_size == 1 && i.access == ACCESS_R);
  i = DECODE(true, "\x65\x0f\xf7\xc1");     /* MASKMOVQ GS: */
  assert_true(i.has_mem && i.seg == SEG_GS && i.base == REG_EDI && i.mem_size == 8 && i.access == ACCESS_W);
  i = DECODE(true, "\x64\xa4");               /* MOVS ES:,FS: */
  assert_true(!i.has_mem && i.seg == SEG_FS);
  i = DECODE(true, "\x64\xaa");               /* STOS knows no override */
  assert_true(!i.has_mem && i.seg == SEG_ES);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(rows_are_indexed_and_disjoint),
    cmocka_unit_test(every_opcode_has_a_row),
    cmocka_unit_test(rows_are_consistent),
    cmocka_unit_test(all_opcodes_match),
    cmocka_unit_test(random_bytes_match),
    cmocka_unit_test(missing_feature_is_undefined),
    cmocka_unit_test(every_truncation_is_too_short),
    cmocka_unit_test(fifteen_bytes_are_the_limit),
    cmocka_unit_test(tzcnt_runs_as_bsf),
    cmocka_unit_test(system_register_moves_ignore_mod),
    cmocka_unit_test(unsized_copies_stay_unprefixed),
    cmocka_unit_test(implicit_memory_has_its_segment),
  };
  return cmocka_run_group_tests_name("decode", tests, NULL, NULL);
}
