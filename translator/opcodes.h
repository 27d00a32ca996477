/* The opcode table's private side: what decode.c and the tests need beyond insn.h.
 *
 * Rows are written once, in the opcodes_*.inc files, in the manual's notation (SDM vol. 2, appendix A.2). Every enumerator here
 * is one such operand code; its descriptor says where the operand is encoded and how wide it is, and everything that can be
 * derived from that - ModRM presence, register sets, access and size of the memory operand, immediate bytes - is derived. */
#pragma once
#include "insn.h"

/* Where an operand lives. From OC_GPR_MEM on, the operand is in the ModRM byte. */
enum operand_class {
  OC_NONE,
  OC_IMM,
  OC_IMM_SIGNED,
  OC_REL,
  OC_PTR,
  OC_MOFFS,
  OC_ONE,
  OC_SRC_STRING,
  OC_DST_STRING,
  OC_FIXED_GPR /* detail: REG_* */,
  OC_OPCODE_GPR,
  OC_FIXED_SEG /* detail: SEG_* */,
  OC_FIXED_XMM,
  OC_ST0,
  OC_STI,
  OC_GPR_MEM,
  OC_GPR,
  OC_GPR_RM,
  OC_MEM,
  OC_ADDRESS /* memory form whose address is computed but not accessed */,
  OC_SREG,
  OC_CREG,
  OC_DREG,
  OC_MMX,
  OC_MMX_MEM,
  OC_MMX_RM,
  OC_XMM,
  OC_XMM_MEM /* detail: 1 = 16-byte alignment required */,
  OC_XMM_RM,
};

/* How wide it is in memory; SZ_V, SZ_P, SZ_A, SZ_ENV and SZ_SAVE depend on the operand size. */
enum operand_width { SZ_0, SZ_B, SZ_W, SZ_D, SZ_Q, SZ_DQ, SZ_T, SZ_S, SZ_V, SZ_P, SZ_A, SZ_ENV, SZ_SAVE, SZ_FX, SZ_COUNT };

/* X(CODE, class, width, detail). The manual's codes, and these of our own:
 *  NO - no operand; Ibs - a byte sign-extended to the operand size; one - the constant of D0h/D1h;
 *  a trailing U - a 16-byte form that may be unaligned (MOVUPS, LDDQU, PCMPxSTRx);
 *  M - address only (LEA, INVLPG); Eh - register or address of a hint, neither used; Mt - m80; Menv, Msave, Mfx - FLDENV's,
 *  FSAVE's and FXSAVE's images.
 * Operands in ModRM come last, after OPERAND_FIRST_MODRM: the macros of opcodes.c rely on it. */
#define OPERANDS(X) \
  X(NO, OC_NONE, SZ_0, 0) \
  X(Ib, OC_IMM, SZ_B, 0) \
  X(Ibs, OC_IMM_SIGNED, SZ_B, 0) \
  X(Iw, OC_IMM, SZ_W, 0) \
  X(Iz, OC_IMM, SZ_V, 0) \
  X(Jb, OC_REL, SZ_B, 0) \
  X(Jz, OC_REL, SZ_V, 0) \
  X(Ap, OC_PTR, SZ_P, 0) \
  X(one, OC_ONE, SZ_0, 0) \
  X(Ob, OC_MOFFS, SZ_B, 0) \
  X(Ov, OC_MOFFS, SZ_V, 0) \
  X(Xb, OC_SRC_STRING, SZ_B, 0) \
  X(Xv, OC_SRC_STRING, SZ_V, 0) \
  X(Yb, OC_DST_STRING, SZ_B, 0) \
  X(Yv, OC_DST_STRING, SZ_V, 0) \
  X(AL, OC_FIXED_GPR, SZ_B, REG_EAX) \
  X(AX, OC_FIXED_GPR, SZ_W, REG_EAX) \
  X(eAX, OC_FIXED_GPR, SZ_V, REG_EAX) \
  X(CL, OC_FIXED_GPR, SZ_B, REG_ECX) \
  X(DX, OC_FIXED_GPR, SZ_W, REG_EDX) \
  X(eDX, OC_FIXED_GPR, SZ_V, REG_EDX) \
  X(Zb, OC_OPCODE_GPR, SZ_B, 0) \
  X(Zv, OC_OPCODE_GPR, SZ_V, 0) \
  X(ES, OC_FIXED_SEG, SZ_W, SEG_ES) \
  X(CS, OC_FIXED_SEG, SZ_W, SEG_CS) \
  X(SS, OC_FIXED_SEG, SZ_W, SEG_SS) \
  X(DS, OC_FIXED_SEG, SZ_W, SEG_DS) \
  X(FS, OC_FIXED_SEG, SZ_W, SEG_FS) \
  X(GS, OC_FIXED_SEG, SZ_W, SEG_GS) \
  X(XMM0, OC_FIXED_XMM, SZ_DQ, 0) \
  X(ST0, OC_ST0, SZ_T, 0) \
  X(STi, OC_STI, SZ_T, 0) \
  X(Eb, OC_GPR_MEM, SZ_B, 0) \
  X(Ew, OC_GPR_MEM, SZ_W, 0) \
  X(Ed, OC_GPR_MEM, SZ_D, 0) \
  X(Ev, OC_GPR_MEM, SZ_V, 0) \
  X(Gb, OC_GPR, SZ_B, 0) \
  X(Gw, OC_GPR, SZ_W, 0) \
  X(Gd, OC_GPR, SZ_D, 0) \
  X(Gv, OC_GPR, SZ_V, 0) \
  X(Rd, OC_GPR_RM, SZ_D, 0) \
  X(Rv, OC_GPR_RM, SZ_V, 0) \
  X(M, OC_ADDRESS, SZ_0, 0) \
  X(Eh, OC_ADDRESS, SZ_0, 0) \
  X(Mb, OC_MEM, SZ_B, 0) \
  X(Mw, OC_MEM, SZ_W, 0) \
  X(Md, OC_MEM, SZ_D, 0) \
  X(Mv, OC_MEM, SZ_V, 0) \
  X(Mq, OC_MEM, SZ_Q, 0) \
  X(Mp, OC_MEM, SZ_P, 0) \
  X(Ma, OC_MEM, SZ_A, 0) \
  X(Ms, OC_MEM, SZ_S, 0) \
  X(Mt, OC_MEM, SZ_T, 0) \
  X(Menv, OC_MEM, SZ_ENV, 0) \
  X(Msave, OC_MEM, SZ_SAVE, 0) \
  X(Mfx, OC_MEM, SZ_FX, 1) \
  X(Sw, OC_SREG, SZ_W, 0) \
  X(Cd, OC_CREG, SZ_D, 0) \
  X(Dd, OC_DREG, SZ_D, 0) \
  X(Pq, OC_MMX, SZ_Q, 0) \
  X(Qd, OC_MMX_MEM, SZ_D, 0) \
  X(Qq, OC_MMX_MEM, SZ_Q, 0) \
  X(Nq, OC_MMX_RM, SZ_Q, 0) \
  X(Vq, OC_XMM, SZ_Q, 0) \
  X(Vss, OC_XMM, SZ_D, 0) \
  X(Vsd, OC_XMM, SZ_Q, 0) \
  X(Vps, OC_XMM, SZ_DQ, 0) \
  X(Vpd, OC_XMM, SZ_DQ, 0) \
  X(Vdq, OC_XMM, SZ_DQ, 0) \
  X(Ww, OC_XMM_MEM, SZ_W, 0) \
  X(Wd, OC_XMM_MEM, SZ_D, 0) \
  X(Wq, OC_XMM_MEM, SZ_Q, 0) \
  X(Wss, OC_XMM_MEM, SZ_D, 0) \
  X(Wsd, OC_XMM_MEM, SZ_Q, 0) \
  X(Wps, OC_XMM_MEM, SZ_DQ, 1) \
  X(Wpd, OC_XMM_MEM, SZ_DQ, 1) \
  X(Wdq, OC_XMM_MEM, SZ_DQ, 1) \
  X(WpsU, OC_XMM_MEM, SZ_DQ, 0) \
  X(WpdU, OC_XMM_MEM, SZ_DQ, 0) \
  X(WdqU, OC_XMM_MEM, SZ_DQ, 0) \
  X(Mps, OC_MEM, SZ_DQ, 1) \
  X(Mpd, OC_MEM, SZ_DQ, 1) \
  X(Mdq, OC_MEM, SZ_DQ, 1) \
  X(MdqU, OC_MEM, SZ_DQ, 0) \
  X(Uq, OC_XMM_RM, SZ_Q, 0) \
  X(Udq, OC_XMM_RM, SZ_DQ, 0) \
  X(Ups, OC_XMM_RM, SZ_DQ, 0) \
  X(Upd, OC_XMM_RM, SZ_DQ, 0)
enum operand {
#define OPERAND_ENUM(code, class, width, detail) OPERAND_##code,
  OPERANDS(OPERAND_ENUM) OPERAND_COUNT,
  OPERAND_FIRST_MODRM = OPERAND_Eb
};
#undef OPERAND_ENUM
struct operand_info {
  uint8_t class, width, detail;
};
extern const struct operand_info operand_infos[OPERAND_COUNT];

/* Where a shift's count comes from: decides whether it writes flags at all (SDM vol. 2, SAL/SAR/SHL/SHR, RCL/.., SHLD/SHRD). */
enum shift_count { COUNT_NONE, COUNT_ONE, COUNT_IMM, COUNT_CL };

enum size_form {
  SIZE_EFFECTIVE, /* CS.D and 66h */
  SIZE_BYTE,      /* one byte */
  SIZE_NONE,      /* no operand size: 66h is ignored, picks another row or is undefined. A copy must not get one. */
};

/* Beyond the values in insn.h, a row's prefix column may say: */
enum { PREFIX_ANY = 0, PREFIX_NONE = 1, PREFIX_NO_REP = 2 /* neither F2h nor F3h; 66h is the operand size */ };

/* The row for an opcode. `modrm` is ignored by opcodes that have none. `prefix` is the effective mandatory prefix: the last of
 * F2h/F3h, else 66h, else 0. Never NULL: combinations that no row covers give the row named "(undefined)". */
const struct opcode_row *opcode_find(unsigned map, unsigned opcode, unsigned modrm, unsigned prefix);
/* Some row of that opcode: all of them agree on whether a ModRM byte follows (tested). */
bool opcode_has_modrm(unsigned map, unsigned opcode);

static inline const struct operand_info *row_operand(const struct opcode_row *row, unsigned i) {
  return &operand_infos[row->operands[i]];
}
