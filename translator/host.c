/* x86-64 encodings. Owns nothing; see host.h. */
#include "host.h"
#include "../mmu/layout.h"

static void byte(struct host_code *c, unsigned v) {
  if (c->at < c->end) *c->at++ = (uint8_t)v;
  else c->overflow = true;
}
static void imm32(struct host_code *c, uint32_t v) {
  for (int i = 0; i < 4; i++) byte(c, v >> 8 * i);
}
void host_bytes(struct host_code *c, const uint8_t *bytes, unsigned n) {
  while (n--) byte(c, *bytes++);
}

/* ---- prefixes, opcode, ModRM ----------------------------------------------------------------------------------- */

static void legacy_prefixes(struct host_code *c, unsigned op) {
  if (op & HO_LOCK) byte(c, 0xf0);
  if (op & HO_16) byte(c, 0x66);
  if (op & HO_REPNE) byte(c, 0xf2);
  if (op & HO_REP) byte(c, 0xf3);
}

/* `bits`: REX.R, X and B. */
static void prefixes_and_opcode(struct host_code *c, unsigned op, unsigned bits) {
  if (op & (HO_LOCK | HO_16 | HO_REPNE | HO_REP)) legacy_prefixes(c, op);
  if (op & HO_64) bits |= 8;
  if (bits) byte(c, 0x40 | bits);
  if (op & 0xff0000) byte(c, op >> 16);
  if (op & 0xffff00) byte(c, op >> 8);
  byte(c, op);
}

static unsigned rex_of_mem(unsigned reg, struct host_mem m) {
  return (reg >> 3 & 1) << 2 | (m.index == H_NONE ? 0 : m.index >> 3 & 1) << 1 | (m.base == H_NONE ? 0 : m.base >> 3 & 1);
}

static void modrm_reg(struct host_code *c, unsigned reg, unsigned rm) { byte(c, 0xc0 | (reg & 7) << 3 | (rm & 7)); }

/* ModRM, SIB and displacement (SDM vol. 2, tables 2-2 and 2-3). */
static void modrm_mem(struct host_code *c, unsigned reg, struct host_mem m) {
  reg = (reg & 7) << 3;
  bool sib = m.index != H_NONE || (m.base != H_NONE && (m.base & 7) == H_RSP);
  if (m.base == H_NONE) { /* [index*scale + disp32] or [disp32], both through SIB (no RIP-relative form) */
    byte(c, reg | 4);
    byte(c, m.scale << 6 | (m.index == H_NONE ? 4 : m.index & 7) << 3 | 5);
    imm32(c, (uint32_t)m.disp);
    return;
  }
  unsigned mod = m.disp == 0 && (m.base & 7) != H_RBP ? 0 : m.disp == (int8_t)m.disp ? 1 : 2;
  byte(c, mod << 6 | reg | (sib ? 4 : m.base & 7));
  if (sib) byte(c, m.scale << 6 | (m.index == H_NONE ? 4 : m.index & 7) << 3 | (m.base & 7));
  if (mod == 1) byte(c, (uint32_t)m.disp);
  if (mod == 2) imm32(c, (uint32_t)m.disp);
}

void host_op(struct host_code *c, unsigned op) { prefixes_and_opcode(c, op, 0); }
void host_op_plus(struct host_code *c, unsigned op, unsigned reg) { prefixes_and_opcode(c, op | (reg & 7), reg >> 3); }

void host_op_mem(struct host_code *c, unsigned op, unsigned reg, struct host_mem m) {
  if (m.mirrored) host_bytes(c, (const uint8_t[]){0x65, 0x67}, 2); /* GS, addresses of 32 bits */
  prefixes_and_opcode(c, op, rex_of_mem(reg, m));
  modrm_mem(c, reg, m);
}

void host_op_reg(struct host_code *c, unsigned op, unsigned reg, unsigned rm) {
  prefixes_and_opcode(c, op, (reg >> 3 & 1) << 2 | (rm >> 3 & 1));
  modrm_reg(c, reg, rm);
}

/* ---- immediates ------------------------------------------------------------------------------------------------ */

void host_mov_imm(struct host_code *c, unsigned to, uint32_t imm) {
  host_op_plus(c, HO_MOVi, to);
  imm32(c, imm);
}

void host_store_imm(struct host_code *c, struct host_mem m, uint32_t imm) {
  host_op_mem(c, HO_MOVito, 0, m);
  imm32(c, imm);
}

void host_store_imm16(struct host_code *c, struct host_mem m, uint32_t imm) {
  host_op_mem(c, HO_16 | HO_MOVito, 0, m);
  byte(c, imm);
  byte(c, imm >> 8);
}

void host_push_imm(struct host_code *c, uint32_t imm) {
  host_op(c, HO_PUSHi);
  imm32(c, imm);
}

/* ---- arithmetic ------------------------------------------------------------------------------------------------ */

enum { OPERATION = 7, REG_FROM_RM = 3, RM_FROM_REG = 1 }; /* bits of the one-byte map's first half */

void host_alu(struct host_code *c, unsigned op, unsigned to, unsigned from) {
  host_op_reg(c, (op & HO_64) | (op & OPERATION) << 3 | RM_FROM_REG, from, to);
}

void host_alu_mem(struct host_code *c, unsigned op, unsigned to, struct host_mem m) {
  host_op_mem(c, (op & HO_64) | (op & OPERATION) << 3 | REG_FROM_RM, to, m);
}

void host_alu_imm(struct host_code *c, unsigned op, unsigned to, int32_t imm) {
  bool small = imm == (int8_t)imm;
  host_op_reg(c, (op & HO_64) | (small ? HO_ALUi8 : HO_ALUi), op & OPERATION, to);
  if (small) byte(c, (uint32_t)imm);
  else imm32(c, (uint32_t)imm);
}

void host_shift_imm(struct host_code *c, unsigned op, unsigned to, unsigned n) {
  host_op_reg(c, (op & HO_64) | HO_SHIFTi, op & OPERATION, to);
  byte(c, n);
}

void host_shrx(struct host_code *c, unsigned to, unsigned from, unsigned count) { /* VEX.LZ.F2.0F38.W0 F7 /r */
  byte(c, 0xc4);
  byte(c, (to < 8) << 7 | 1 << 6 | (from < 8) << 5 | 2);
  byte(c, (~count & 15) << 3 | 3);
  byte(c, 0xf7);
  modrm_reg(c, to, from);
}

void host_test_imm(struct host_code *c, unsigned reg, uint32_t imm) {
  host_op_reg(c, HO_GROUP3, HOg_TEST, reg);
  imm32(c, imm);
}

void host_test_imm8(struct host_code *c, unsigned reg, unsigned imm) {
  host_op_reg(c, HO_GROUP3b, HOg_TEST, reg);
  byte(c, imm);
}

/* ---- flags ----------------------------------------------------------------------------------------------------- */

void host_save_flags(struct host_code *c) {
  host_op(c, HO_LAHF);
  host_op_reg(c, HO_SETCC | CC_O, 0, H_RAX);
}

static void add_al(struct host_code *c, unsigned imm) {
  byte(c, 0x04);
  byte(c, imm);
}

void host_restore_flags(struct host_code *c) {
  add_al(c, 0x7f); /* overflows when AL is 1 */
  host_op(c, HO_SAHF);
}

void host_flags_from_image(struct host_code *c, unsigned reg) {
  host_op_reg(c, HO_MOVtob, H_RAX, H_AH);
  host_shift_imm(c, HOg_SHR, reg, 11); /* OF */
  host_alu_imm(c, HOg_AND, reg, 1);
  host_op_reg(c, HO_MOVtob, reg, H_RAX);
  host_restore_flags(c);
}

/* ---- jumps ----------------------------------------------------------------------------------------------------- */

static uint32_t rel32(struct host_code *c) {
  uint32_t at = host_here(c);
  imm32(c, 0);
  return at;
}
uint32_t host_jmp(struct host_code *c) {
  host_op(c, HO_JMP);
  return rel32(c);
}
uint32_t host_call(struct host_code *c) {
  host_op(c, HO_CALL);
  return rel32(c);
}
uint32_t host_jcc(struct host_code *c, unsigned cc) {
  host_op(c, HO_JCC | cc);
  return rel32(c);
}

void host_patch(struct host_code *c, uint32_t at, uint32_t target) {
  uint8_t *p = c->start + (int32_t)(at - c->offset); /* hot jumps are patched while the cold stubs are written */
  if (c->overflow) return;
  uint32_t rel = target - (at + 4);
  memcpy(p, &rel, 4);
}

static uint8_t *rel8(struct host_code *c) {
  byte(c, 0);
  return c->at - 1;
}
uint8_t *host_jrcxz8(struct host_code *c) {
  host_op(c, HO_JRCXZ8);
  return rel8(c);
}
uint8_t *host_jmp8(struct host_code *c) {
  host_op(c, HO_JMP8);
  return rel8(c);
}
uint8_t *host_jcc8(struct host_code *c, unsigned cc) {
  host_op(c, HO_JCC8 | cc);
  return rel8(c);
}
void host_bind8(struct host_code *c, uint8_t *at) { *at = (uint8_t)(c->at - (at + 1)); }

bool host_jmp_back(struct host_code *c, const uint8_t *target) {
  if (!target || c->at + 2 - target > 128) return false;
  host_op(c, HO_JMP8);
  byte(c, (unsigned)(target - (c->at + 1)));
  return true;
}

uint8_t *host_look_up(struct host_code *c, bool cs_key) {
  host_load64(c, H_R9, hm_index(H_R14, H_R9, 3, MMU_FETCH_ARRAY));
  host_movzx16(c, H_R11, H_R8);
  host_lea64(c, H_R11, hm_index(H_R11, H_R11, 0, 0));
  host_lea64(c, H_R9, hm_index(H_R9, H_R8, 0, 0));
  host_mov64(c, H_R10, H_RCX);
  host_load64(c, H_RCX, HM_STATE(mode_key));
  host_lea64(c, H_R9, hm_index(H_R9, H_RCX, 0, 0));
  if (cs_key) {
    host_load(c, H_RCX, HM_STATE(cs_key));
    host_lea64(c, H_R9, hm_index(H_R9, H_RCX, 0, 0));
  }
  host_load64(c, H_RCX, hm_index(H_R13, H_R11, 3, TR_HASH_OFFSET));
  host_lea64(c, H_RCX, hm_index(H_RCX, H_R9, 0, 0));
  uint8_t *hit = host_jrcxz8(c);
  host_mov64(c, H_RCX, H_R10);
  return hit;
}
