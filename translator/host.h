/* Placing host bytes: the only file (with host.c) that knows x86-64 encodings, and the register assignment (D1). */
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
static inline unsigned host_reg(unsigned guest) { return guest == REG_ESP ? H_R15 : guest; }

struct host_mem {
  uint8_t base, index, scale;
  int32_t disp;
}; /* H_NONE: absent */
static inline struct host_mem hm(unsigned base, int32_t disp) { return (struct host_mem){base, H_NONE, 0, disp}; }
static inline struct host_mem hm_index(unsigned base, unsigned index, unsigned scale, int32_t disp) {
  return (struct host_mem){base, index, scale, disp};
}
#define HM_STATE(member) hm(H_R13, (int32_t)offsetof(struct tr_state, member))

/* A run of host code being written. Overflow is sticky and stops writing: nothing is written past `end`. */
struct host_code {
  uint8_t *start, *at, *end;
  uint32_t offset;
  bool overflow;
};
static inline uint32_t host_here(const struct host_code *c) { return c->offset + (uint32_t)(c->at - c->start); }
static inline void host_8(struct host_code *c, unsigned v) {
  if (c->at < c->end) *c->at++ = (uint8_t)v;
  else c->overflow = true;
}
static inline void host_32(struct host_code *c, uint32_t v) {
  for (int i = 0; i < 4; i++) host_8(c, v >> 8 * i);
}
static inline void host_bytes(struct host_code *c, const uint8_t *b, unsigned n) {
  while (n--) host_8(c, *b++);
}

/* Opcodes are given as 0xNN, 0x0FNN, 0x0F38NN; `w`: REX.W. */
void host_op_mem(struct host_code *c, bool w, unsigned opcode, unsigned reg, struct host_mem m);
void host_op_reg(struct host_code *c, bool w, unsigned opcode, unsigned reg, unsigned rm);
/* 81h/83h group: ext 0 ADD 1 OR 4 AND 5 SUB 6 XOR 7 CMP. */
void host_alu_imm(struct host_code *c, bool w, unsigned ext, unsigned rm, int32_t imm);
void host_mov_imm(struct host_code *c, unsigned reg, uint32_t imm);          /* 32-bit, zero-extends; touches no flag */
void host_mov_mem_imm(struct host_code *c, struct host_mem m, uint32_t imm); /* 32-bit */
void host_shift_imm(struct host_code *c, bool w, unsigned ext, unsigned rm, unsigned n); /* 4 SHL 5 SHR 7 SAR */
void host_shrx(struct host_code *c, unsigned dst, unsigned src, unsigned count);         /* BMI2, no flags */
/* ModRM (and SIB, displacement) for a memory operand; the REX bits it needs are host_rex_bits(). */
void host_modrm_mem(struct host_code *c, unsigned reg, struct host_mem m);
static inline unsigned host_rex_mem(unsigned reg, struct host_mem m) {
  return (reg >> 3 & 1) << 2 | (m.index == H_NONE ? 0 : m.index >> 3 & 1) << 1 | (m.base == H_NONE ? 0 : m.base >> 3 & 1);
}
/* Jumps with a rel32 to be set later: returns the code offset of the rel32. cc: 0-15, or -1 for JMP, -2 for CALL. */
uint32_t host_jump(struct host_code *c, int cc);
void host_patch(struct host_code *c, uint32_t at, uint32_t target); /* both code offsets */
uint8_t *host_jrcxz(struct host_code *c);                           /* rel8 to be bound by host_bind8 */
uint8_t *host_jmp8(struct host_code *c);
uint8_t *host_jcc8(struct host_code *c, unsigned cc);
void host_bind8(struct host_code *c, uint8_t *at);
enum { CC_O, CC_NO, CC_C, CC_NC, CC_Z, CC_NZ, CC_BE, CC_A, CC_S, CC_NS, CC_P, CC_NP, CC_L, CC_GE, CC_LE, CC_G };
