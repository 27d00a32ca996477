/* The opcode table: one row for every opcode of the 32-bit instruction set up to SSE4.2 (SDM vol. 2, appendix A), and a
 * constant index over it.
 *
 * Obligations for whoever adds a row:
 *  1. A row says what the instruction does, in the manual's notation; what is derived from operands (ModRM, memory access
 *     and size, register sets) is not said again. Implicit registers are: IMPLICIT(read, written).
 *  2. Rows of one opcode stand together, and no two of them match the same bytes.
 *  3. Opcodes that a 32-bit CPU of this class lacks are rows of kind UD with their name; encodings that the maps leave blank
 *     need no row when only the mandatory prefix tells them from a row ("(undefined)" serves).
 *  4. COPY means: the same instruction in 64-bit code does the same to 32-bit registers and one memory operand. If it touches
 *     anything else - the stack, a selector, EIP, a second memory operand, more than XMM0-7 - it is another kind.
 *  5. What planner, emitter and slow paths know of an opcode beyond its kind is a column (does, alias, quiet, aligned).
 *  6. tests/unit/test_decode.c compares every row with an independent decoder; a deliberate difference is listed there. */
#include "opcodes.h"
#include <stddef.h>

const struct kind_info op_kind_infos[OP_KIND_COUNT] = {
#define KIND_INFO_INLINE(kind, run, emit, when, traits, stack, help) {when, KIND_INLINE | (traits), stack},
#define KIND_INFO_CALLOUT(kind, run, traits, help) {IF_ANY, traits, 0},
  OP_KINDS(KIND_INFO_INLINE, KIND_INFO_CALLOUT)
#undef KIND_INFO_INLINE
#undef KIND_INFO_CALLOUT
};

const struct operand_info operand_infos[OPERAND_COUNT] = {
#define OPERAND_INFO(code, class, width, detail) {class, width, detail},
  OPERANDS(OPERAND_INFO)
#undef OPERAND_INFO
};
/* The same, for constant expressions. */
enum {
#define OPERAND_CLASS(code, class, width, detail) CLASS_##code = class, WIDTH_##code = width,
  OPERANDS(OPERAND_CLASS)
#undef OPERAND_CLASS
};

/* ---- the rows' first column: opcode, ModRM.reg, mod = 3, ModRM.rm, mandatory prefix ---- */
#define OP(opcode) (opcode, -1, -1, -1, PREFIX_ANY)
#define GRP(opcode, reg) (opcode, reg, -1, -1, PREFIX_ANY)
#define MEM(opcode, reg) (opcode, reg, 0, -1, PREFIX_ANY)
#define REG(opcode, reg) (opcode, reg, 1, -1, PREFIX_ANY)
#define RM(opcode, reg, rm) (opcode, reg, 1, rm, PREFIX_ANY)
#define PFX(prefix, opcode) (opcode, -1, -1, -1, prefix)
#define PMEM(prefix, opcode) (opcode, -1, 0, -1, prefix)
#define PREG(prefix, opcode) (opcode, -1, 1, -1, prefix)
#define PMEMR(prefix, opcode, reg) (opcode, reg, 0, -1, prefix)
#define PREGR(prefix, opcode, reg) (opcode, reg, 1, -1, prefix)

/* ---- flags: read, written, undefined ---- */
enum { fC = FLAG_CF, fP = FLAG_PF, fA = FLAG_AF, fZ = FLAG_ZF, fS = FLAG_SF, fO = FLAG_OF, fD = FLAG_DF, OSZAPC = FLAGS_ARITH };
#define FL(read, written, undefined) .flags_read = read, .flags_written = written, .flags_undefined = undefined
#define FL_NONE FL(0, 0, 0)
#define FL_ADD FL(0, OSZAPC, 0)
#define FL_ADC FL(fC, OSZAPC, 0)
#define FL_LOGIC FL(0, OSZAPC & ~fA, fA)
#define FL_INC FL(0, OSZAPC & ~fC, 0)
#define FL_MUL FL(0, fO | fC, fS | fZ | fA | fP)
#define FL_DIV FL(0, 0, OSZAPC)
#define FL_DAA FL(fA | fC, OSZAPC & ~fO, fO)
#define FL_AAA FL(fA, fA | fC, fO | fS | fZ | fP)
#define FL_BT FL(0, fC, fO | fS | fA | fP)
#define FL_ZF FL(0, fZ, 0)
#define FL_STRING FL(fD, 0, 0)
#define FL_READ_ALL FL(OSZAPC | fD, 0, 0)
#define FL_WRITE_ALL FL(0, OSZAPC | fD, 0)

/* The sixteen conditions in the order of their codes (SDM vol. 2, appendix B.1.4.7). */
#define CONDITIONS(X) \
  X(0, "O", FL(fO, 0, 0)) \
  X(1, "NO", FL(fO, 0, 0)) \
  X(2, "B", FL(fC, 0, 0)) \
  X(3, "NB", FL(fC, 0, 0)) \
  X(4, "Z", FL(fZ, 0, 0)) \
  X(5, "NZ", FL(fZ, 0, 0)) \
  X(6, "BE", FL(fC | fZ, 0, 0)) \
  X(7, "NBE", FL(fC | fZ, 0, 0)) \
  X(8, "S", FL(fS, 0, 0)) \
  X(9, "NS", FL(fS, 0, 0)) \
  X(10, "P", FL(fP, 0, 0)) \
  X(11, "NP", FL(fP, 0, 0)) \
  X(12, "L", FL(fS | fO, 0, 0)) \
  X(13, "NL", FL(fS | fO, 0, 0)) \
  X(14, "LE", FL(fS | fO | fZ, 0, 0)) \
  X(15, "NLE", FL(fS | fO | fZ, 0, 0))

/* ---- rare columns ---- */
enum {
  rA = 1 << REG_EAX,
  rC = 1 << REG_ECX,
  rD = 1 << REG_EDX,
  rB = 1 << REG_EBX,
  rSP = 1 << REG_ESP,
  rBP = 1 << REG_EBP,
  rSI = 1 << REG_ESI,
  rDI = 1 << REG_EDI,
  rALL = 0xff
};
#define IMPLICIT(read, written) .regs_read = read, .regs_written = written
#define STACK IMPLICIT(rSP, rSP)

/* ---- rows that share columns ---- */
#define UD_REGS(opcode, reg) ROW(GRP(opcode, reg), "(reserved)", NO, NO, NO, UD, NONE, FL_NONE)
#define UD_REGS7(opcode, name) \
  ROW(GRP(opcode, 1), name, NO, NO, NO, UD, NONE, FL_NONE) \
  ROW(GRP(opcode, 2), name, NO, NO, NO, UD, NONE, FL_NONE) \
  ROW(GRP(opcode, 3), name, NO, NO, NO, UD, NONE, FL_NONE) \
  ROW(GRP(opcode, 4), name, NO, NO, NO, UD, NONE, FL_NONE) \
  ROW(GRP(opcode, 5), name, NO, NO, NO, UD, NONE, FL_NONE) \
  ROW(GRP(opcode, 6), name, NO, NO, NO, UD, NONE, FL_NONE) \
  ROW(GRP(opcode, 7), name, NO, NO, NO, UD, NONE, FL_NONE)
#define UD_RM(opcode, reg, rm) ROW(RM(opcode, reg, rm), "(reserved)", NO, NO, NO, UD, NONE, FL_NONE)
#define MMX(where, name, o0, o1, o2, dest) ROW(where, name, o0, o1, o2, COPY, dest, FL_NONE, .fpu = FPU_MMX, .feature = FEAT_MMX)
#define MMX_SSE(where, name, o0, o1, o2, dest) \
  ROW(where, name, o0, o1, o2, COPY, dest, FL_NONE, .fpu = FPU_MMX, .feature = FEAT_SSE)
#define MMX_SSE2(where, name, o0, o1, o2, dest) \
  ROW(where, name, o0, o1, o2, COPY, dest, FL_NONE, .fpu = FPU_MMX, .feature = FEAT_SSE2)
#define SSE(where, name, o0, o1, o2, dest, ...) \
  ROW(where, name, o0, o1, o2, COPY, dest, FL_NONE, .fpu = FPU_SSE, .feature = FEAT_SSE, __VA_ARGS__)
#define SSE2(where, name, o0, o1, o2, dest, ...) \
  ROW(where, name, o0, o1, o2, COPY, dest, FL_NONE, .fpu = FPU_SSE, .feature = FEAT_SSE2, __VA_ARGS__)
#define SSE3(where, name, o0, o1, o2, dest, ...) \
  ROW(where, name, o0, o1, o2, COPY, dest, FL_NONE, .fpu = FPU_SSE, .feature = FEAT_SSE3, __VA_ARGS__)
#define SSE41(where, name, o0, o1, o2, dest, ...) \
  ROW(where, name, o0, o1, o2, COPY, dest, FL_NONE, .fpu = FPU_SSE, .feature = FEAT_SSE41, __VA_ARGS__)
#define SSE42(where, name, o0, o1, o2, dest, ...) \
  ROW(where, name, o0, o1, o2, COPY, dest, FL_NONE, .fpu = FPU_SSE, .feature = FEAT_SSE42, __VA_ARGS__)

/* ---- the table ----
 * ROW(where, mnemonic, operand, operand, operand, KIND, what is done to the first operand, flags, rare columns...) */
#define CLASS_IS(o, class) (+CLASS_##o == +class)
#define IN_MEMORY(o) \
  (CLASS_IS(o, OC_GPR_MEM) || CLASS_IS(o, OC_MEM) || CLASS_IS(o, OC_MMX_MEM) || CLASS_IS(o, OC_XMM_MEM) || CLASS_IS(o, OC_MOFFS))
#define IN_MODRM(o) (OPERAND_##o >= OPERAND_FIRST_MODRM)
#define IS_BYTE(o) (+WIDTH_##o == +SZ_B && !CLASS_IS(o, OC_IMM) && !CLASS_IS(o, OC_IMM_SIGNED) && !CLASS_IS(o, OC_REL))
#define IS_SIZED(o) (+WIDTH_##o == +SZ_V)
#define IS_32(o) (OPERAND_##o == OPERAND_Gd || OPERAND_##o == OPERAND_Rd)
/* Copies without an operand of that size have no operand size; nor have moves of system registers. */
#define SIZE_FORM(kind, o0, o1) \
  ((IS_BYTE(o0) || IS_BYTE(o1)) && !IS_SIZED(o0) && !IS_SIZED(o1) && !IS_32(o0) ? SIZE_BYTE \
   : kind == OP_MASKMOV || (kind == OP_COPY && !IS_SIZED(o0) && !IS_SIZED(o1)) || CLASS_IS(o0, OC_CREG) || \
       CLASS_IS(o0, OC_DREG) || CLASS_IS(o1, OC_CREG) || CLASS_IS(o1, OC_DREG) \
     ? SIZE_NONE \
     : SIZE_EFFECTIVE)
#define WHERE(opcode_, reg_, mod3_, rm_, prefix_) \
  .map = MAP, .opcode = opcode_, .reg = reg_, .mod3 = mod3_, .rm = rm_, .prefix = prefix_
#define WHERE_IN_MODRM(opcode_, reg_, mod3_, rm_, prefix_) ((reg_) >= 0 || (mod3_) >= 0)
#define ROW(where, name, o0, o1, o2, kind_, dest_, ...) \
  {WHERE where, \
   .mnemonic = name, \
   .operands = {OPERAND_##o0, OPERAND_##o1, OPERAND_##o2}, \
   .kind = OP_##kind_, \
   .dest = ACCESS_##dest_, \
   .access = IN_MEMORY(o0)                    ? ACCESS_##dest_ \
             : IN_MEMORY(o1) || IN_MEMORY(o2) ? ACCESS_R \
                                              : ACCESS_NONE, \
   .modrm = WHERE_IN_MODRM where || IN_MODRM(o0) || IN_MODRM(o1) || IN_MODRM(o2), \
   .size_form = SIZE_FORM(OP_##kind_, o0, o1), \
   __VA_ARGS__},

/* The first row serves whatever no other row covers. */
static const struct opcode_row rows[] = {
  {.map = 0xff, .reg = -1, .mod3 = -1, .rm = -1, .mnemonic = "(undefined)", .kind = OP_UD},
#include "opcodes_1byte.inc"
#include "opcodes_x87.inc"
#include "opcodes_0f.inc"
#include "opcodes_3byte.inc"
};

/* ---- the index: for each map, opcode, mod = 3 and reg, the last row that may match; its alternatives (mandatory prefixes,
 * ModRM.rm) are the rows before it, at most a few of the same opcode. Made by expanding the rows again: the compiler lets
 * a later initialiser of an element win. ---- */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init"
#undef ROW
#define ROW(where, ...) INDEX_RANGE where = __COUNTER__ - ROW_COUNTER_BASE,
/* clang-format off */
#define INDEX_RANGE(opcode_, reg_, mod3_, rm_, prefix_) \
  [MAP][opcode_][(mod3_) < 0 ? 0 : (mod3_) ... (mod3_) < 0 ? 1 : (mod3_)][(reg_) < 0 ? 0 : (reg_) ... (reg_) < 0 ? 7 : (reg_)]
/* clang-format on */
enum { ROW_COUNTER_BASE = __COUNTER__ }; /* the first row gets number 1 */
static const uint16_t last_row[4][256][2][8] = {
#include "opcodes_1byte.inc"
#include "opcodes_x87.inc"
#include "opcodes_0f.inc"
#include "opcodes_3byte.inc"
};
_Static_assert(__COUNTER__ - ROW_COUNTER_BASE == sizeof rows / sizeof *rows, "the index was made from the same rows");

#undef ROW
#define ROW(where, name, o0, o1, o2, kind, ...) KIND_OF where = OP_##kind,
#define KIND_OF(opcode_, ...) [MAP][opcode_]
const uint8_t op_kind_of_opcode[2][256] = {
#include "opcodes_1byte.inc"
#include "opcodes_0f.inc"
};
#pragma GCC diagnostic pop

static bool prefix_matches(unsigned wanted, unsigned prefix) {
  switch (wanted) {
  case PREFIX_ANY: return true;
  case PREFIX_NONE: return prefix == 0;
  case PREFIX_NO_REP: return prefix == 0 || prefix == 0x66;
  default: return prefix == wanted;
  }
}

static bool row_matches(const struct opcode_row *row, unsigned modrm, unsigned prefix) {
  return prefix_matches(row->prefix, prefix) && (row->mod3 < 0 || row->mod3 == (modrm >= 0xc0)) &&
         (row->reg < 0 || (unsigned)row->reg == (modrm >> 3 & 7)) && (row->rm < 0 || (unsigned)row->rm == (modrm & 7));
}

const struct opcode_row *opcode_find(unsigned map, unsigned opcode, unsigned modrm, unsigned prefix) {
  const struct opcode_row *row = &rows[last_row[map][opcode][modrm >= 0xc0][modrm >> 3 & 7]];
  for (; row->map == map && row->opcode == opcode; row--)
    if (row_matches(row, modrm, prefix)) return row;
  return rows;
}

bool opcode_has_modrm(unsigned map, unsigned opcode) {
  /* Groups may leave holes: look at both ends. */
  const uint16_t(*by_mod)[8] = last_row[map][opcode];
  for (unsigned mod3 = 0; mod3 < 2; mod3++)
    for (unsigned reg = 0; reg < 8; reg++)
      if (by_mod[mod3][reg]) return rows[by_mod[mod3][reg]].modrm;
  return false;
}

const struct opcode_row *insn_rows(unsigned *count) {
  *count = sizeof rows / sizeof *rows;
  return rows;
}

const char *op_kind_name(enum op_kind kind) {
  static const char *const names[] = {
#define OP_KIND_NAME(name, ...) #name,
    OP_KINDS(OP_KIND_NAME, OP_KIND_NAME)
#undef OP_KIND_NAME
  };
  return (unsigned)kind < OP_KIND_COUNT ? names[kind] : "?";
}
