/* Host instructions by name, and the register assignment (D1). host.c is the only file that places host bytes and knows how they
 * are encoded; names of opcodes are the manual's (SDM vol. 2, appendix A). */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "insn.h"
#include "state.h"

/* Host registers. Guest EAX..EDI less ESP live in the registers of the same number. */
enum {
  H_RAX,
  H_RCX,
  H_RDX,
  H_RBX,
  H_RSP,
  H_RBP,
  H_RSI,
  H_RDI,
  H_R8,  /* scratch: linear address of an access, target of an indirect jump */
  H_R9,  /* scratch: shadow entry */
  H_R10, /* window */
  H_R11, /* window or scratch (saved RAX while flags are kept) */
  H_R12, /* safepoint pointer, or instructions left (-icount) */
  H_R13, /* struct tr_state */
  H_R14, /* current shadow table */
  H_R15, /* guest ESP */
  H_NONE = 0xff
};
enum { H_AH = 4 }; /* of byte instructions without REX */
static inline unsigned host_reg(unsigned guest) { return guest == REG_ESP ? H_R15 : guest; }

struct host_mem {
  uint8_t base, index, scale;
  int32_t disp;
  bool mirrored; /* at GS + the 32-bit sum of the rest */
};               /* H_NONE: absent */
static inline struct host_mem hm(unsigned base, int32_t disp) { return (struct host_mem){base, H_NONE, 0, disp, false}; }
static inline struct host_mem hm_index(unsigned base, unsigned index, unsigned scale, int32_t disp) {
  return (struct host_mem){base, index, scale, disp, false};
}
#define HM_STATE(member) hm(H_R13, (int32_t)offsetof(struct tr_state, member))

/* A run of host code being written. Overflow is sticky and stops writing: nothing is written past `end`. */
struct host_code {
  uint8_t *start, *at, *end;
  uint32_t offset;
  bool overflow;
};
static inline uint32_t host_here(const struct host_code *c) { return c->offset + (uint32_t)(c->at - c->start); }

/* Opcodes, as 0xNN, 0x0FNN or 0x0F38NN. A trailing `to`: the r/m operand is what is written; b: of bytes. */
enum host_op {
  HO_PUSH = 0x50, /* + register */
  HO_POP = 0x58,  /* + register */
  HO_PUSHi = 0x68,
  HO_CMP = 0x3b,
  HO_JCC8 = 0x70, /* + condition */
  HO_ALUi = 0x81,
  HO_ALUi8 = 0x83,
  HO_TEST = 0x85,
  HO_XCHG = 0x87,
  HO_MOVtob = 0x88,
  HO_MOVto = 0x89,
  HO_MOVb = 0x8a,
  HO_MOV = 0x8b,
  HO_LEA = 0x8d,
  HO_POPto = 0x8f,
  HO_PUSHF = 0x9c,
  HO_SAHF = 0x9e,
  HO_LAHF = 0x9f,
  HO_MOVi = 0xb8, /* + register */
  HO_SHIFTi = 0xc1,
  HO_RET = 0xc3,
  HO_MOVito = 0xc7,
  HO_INT3 = 0xcc,
  HO_JRCXZ8 = 0xe3,
  HO_CALL = 0xe8,
  HO_JMP = 0xe9,
  HO_JMP8 = 0xeb,
  HO_GROUP3b = 0xf6,
  HO_GROUP3 = 0xf7,
  HO_CLD = 0xfc,
  HO_STD = 0xfd,
  HO_GROUP5 = 0xff,
  HO_RDTSC = 0x0f31,
  HO_BSWAP = 0x0fc8, /* + register */
  HO_JCC = 0x0f80,   /* + condition */
  HO_SETCC = 0x0f90, /* + condition */
  HO_MOVZXb = 0x0fb6,
  HO_MOVZXw = 0x0fb7,
  HO_MOVSXw = 0x0fbf,
  HO_LFENCE = 0x0faee8,
  /* What stands before an opcode, to be added to it (or to a group's operation). None: 32 bits. */
  HO_64 = 1 << 24,
  HO_16 = 1 << 25,
  HO_LOCK = 1 << 26,
  HO_REPNE = 1 << 27,
  HO_REP = 1 << 28,
};
/* Operations of opcode groups, in ModRM.reg. */
enum host_alu { HOg_ADD, HOg_OR, HOg_ADC, HOg_SBB, HOg_AND, HOg_SUB, HOg_XOR, HOg_CMP };
enum host_shift { HOg_SHL = 4, HOg_SHR = 5, HOg_SAR = 7 };
enum { HOg_TEST = 0, HOg_NOT = 2 };                           /* HO_GROUP3 */
enum { HOg_INC = 0, HOg_DEC = 1, HOg_CALL = 2, HOg_JMP = 4 }; /* HO_GROUP5 */
enum { CC_O, CC_NO, CC_C, CC_NC, CC_Z, CC_NZ, CC_BE, CC_A, CC_S, CC_NS, CC_P, CC_NP, CC_L, CC_GE, CC_LE, CC_G };

/* ---- any instruction ---- */
/* Without a ModRM byte; with the opcode + a register; with a register (or a group's operation) and memory, or another register,
 * in ModRM. What is written comes first wherever the name of a function says what it does. */
void host_op(struct host_code *c, unsigned op);
void host_op_plus(struct host_code *c, unsigned op, unsigned reg);
void host_op_mem(struct host_code *c, unsigned op, unsigned reg, struct host_mem m);
void host_op_reg(struct host_code *c, unsigned op, unsigned reg, unsigned rm);
/* Immediates of copied instructions. */
void host_bytes(struct host_code *c, const uint8_t *bytes, unsigned n);
/* A byte register of 4-7 is AH..BH, and not to be had, beside a REX prefix: is there one? */
static inline bool host_needs_rex(unsigned reg, struct host_mem m) {
  return reg > 7 || (m.index != H_NONE && m.index > 7) || (m.base != H_NONE && m.base > 7);
}

/* ---- moves: no flags; of 32 bits, which leave the upper half of a register zero, unless the name says otherwise ---- */
static inline void host_mov(struct host_code *c, unsigned to, unsigned from) { host_op_reg(c, HO_MOVto, from, to); }
static inline void host_mov64(struct host_code *c, unsigned to, unsigned from) { host_op_reg(c, HO_64 | HO_MOVto, from, to); }
static inline void host_movzx16(struct host_code *c, unsigned to, unsigned from) { host_op_reg(c, HO_MOVZXw, to, from); }
static inline void host_load(struct host_code *c, unsigned to, struct host_mem m) { host_op_mem(c, HO_MOV, to, m); }
static inline void host_load64(struct host_code *c, unsigned to, struct host_mem m) { host_op_mem(c, HO_64 | HO_MOV, to, m); }
static inline void host_load16(struct host_code *c, unsigned to, struct host_mem m) { host_op_mem(c, HO_MOVZXw, to, m); }
static inline void host_store(struct host_code *c, struct host_mem m, unsigned from) { host_op_mem(c, HO_MOVto, from, m); }
static inline void host_store64(struct host_code *c, struct host_mem m, unsigned from) {
  host_op_mem(c, HO_64 | HO_MOVto, from, m);
}
static inline void host_lea(struct host_code *c, unsigned to, struct host_mem m) { host_op_mem(c, HO_LEA, to, m); }
static inline void host_lea64(struct host_code *c, unsigned to, struct host_mem m) { host_op_mem(c, HO_64 | HO_LEA, to, m); }
static inline void host_xchg64(struct host_code *c, unsigned a, unsigned b) { host_op_reg(c, HO_64 | HO_XCHG, a, b); }
static inline void host_not64(struct host_code *c, unsigned reg) { host_op_reg(c, HO_64 | HO_GROUP3, HOg_NOT, reg); }
void host_mov_imm(struct host_code *c, unsigned to, uint32_t imm);
void host_store_imm(struct host_code *c, struct host_mem m, uint32_t imm);
void host_store_imm16(struct host_code *c, struct host_mem m, uint32_t imm);
void host_push_imm(struct host_code *c, uint32_t imm);
static inline void host_push(struct host_code *c, unsigned reg) { host_op_plus(c, HO_PUSH, reg); }
static inline void host_pop(struct host_code *c, unsigned reg) { host_op_plus(c, HO_POP, reg); }

/* ---- arithmetic: writes flags. `op`: enum host_alu or host_shift, with HO_64 where it is not of 32 bits ---- */
void host_alu(struct host_code *c, unsigned op, unsigned to, unsigned from);
void host_alu_mem(struct host_code *c, unsigned op, unsigned to, struct host_mem m);
void host_alu_imm(struct host_code *c, unsigned op, unsigned to, int32_t imm);
void host_shift_imm(struct host_code *c, unsigned op, unsigned to, unsigned n);
void host_shrx(struct host_code *c, unsigned to, unsigned from, unsigned count); /* BMI2; of 32 bits, touches no flag */
static inline void host_test64(struct host_code *c, unsigned reg) { host_op_reg(c, HO_64 | HO_TEST, reg, reg); } /* is it zero? */
void host_test_imm(struct host_code *c, unsigned reg, uint32_t imm);
void host_test_imm8(struct host_code *c, unsigned reg, unsigned imm); /* the register's low byte */

/* ---- flags: OSZAPC in AX, by LAHF and SETO, and back (PUSHFQ and POPFQ were measured at six times the cost) ---- */
void host_save_flags(struct host_code *c);
void host_restore_flags(struct host_code *c);
/* OSZAPC from an image of EFLAGS that both EAX and `reg` hold; changes both. */
void host_flags_from_image(struct host_code *c, unsigned reg);

/* ---- jumps ---- */
/* With a rel32 to be set by host_patch(): return its code offset. */
uint32_t host_jmp(struct host_code *c);
uint32_t host_call(struct host_code *c);
uint32_t host_jcc(struct host_code *c, unsigned cc);
void host_patch(struct host_code *c, uint32_t at, uint32_t target); /* both code offsets */
/* With a rel8 to be bound to what follows by host_bind8(). */
uint8_t *host_jrcxz8(struct host_code *c);
uint8_t *host_jmp8(struct host_code *c);
uint8_t *host_jcc8(struct host_code *c, unsigned cc);
void host_bind8(struct host_code *c, uint8_t *at);
/* The inline hash of indirect jumps (state.h): looks up the EIP in R8, whose page's number is in R9; `cs_key`: its CS counts,
 * too. Key = fetch entry of the target's page + EIP + mode; the table holds negated keys, so a sum of zero is a hit. An unmapped
 * page has entry 0, which no stored key was made with. What is written runs on where nothing was found; the rel8 that is returned
 * is to be bound to where RCX is brought back from R10 and HM_HASHED_CODE jumped to. Clobbers R9 and R11; no flags. */
uint8_t *host_look_up(struct host_code *c, bool cs_key);
#define HM_HASHED_CODE hm_index(H_R13, H_R11, 3, TR_HASH_OFFSET + 8)
/* A short JMP back to code at `target`, if that is not too far: false, and nothing is written. NULL is too far. */
bool host_jmp_back(struct host_code *c, const uint8_t *target);
