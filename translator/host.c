/* x86-64 encodings. Owns nothing; see host.h. */
#include "host.h"

static void opcode_bytes(struct host_code *c, unsigned opcode) {
  if (opcode > 0xffff) host_8(c, opcode >> 16);
  if (opcode > 0xff) host_8(c, opcode >> 8);
  host_8(c, opcode);
}

static void rex(struct host_code *c, bool w, unsigned bits) {
  if (w || bits) host_8(c, 0x40 | w << 3 | bits);
}

void host_modrm_mem(struct host_code *c, unsigned reg, struct host_mem m) {
  reg = (reg & 7) << 3;
  bool sib = m.index != H_NONE || (m.base != H_NONE && (m.base & 7) == H_RSP);
  if (m.base == H_NONE) { /* [index*scale + disp32] or [disp32], both through SIB (no RIP-relative form) */
    host_8(c, reg | 4);
    host_8(c, m.scale << 6 | (m.index == H_NONE ? 4 : m.index & 7) << 3 | 5);
    host_32(c, (uint32_t)m.disp);
    return;
  }
  unsigned mod = m.disp == 0 && (m.base & 7) != H_RBP ? 0 : m.disp == (int8_t)m.disp ? 1 : 2;
  host_8(c, mod << 6 | reg | (sib ? 4 : m.base & 7));
  if (sib) host_8(c, m.scale << 6 | (m.index == H_NONE ? 4 : m.index & 7) << 3 | (m.base & 7));
  if (mod == 1) host_8(c, (uint32_t)m.disp);
  if (mod == 2) host_32(c, (uint32_t)m.disp);
}

void host_op_mem(struct host_code *c, bool w, unsigned opcode, unsigned reg, struct host_mem m) {
  rex(c, w, host_rex_mem(reg, m));
  opcode_bytes(c, opcode);
  host_modrm_mem(c, reg, m);
}

void host_op_reg(struct host_code *c, bool w, unsigned opcode, unsigned reg, unsigned rm) {
  rex(c, w, (reg >> 3 & 1) << 2 | (rm >> 3 & 1));
  opcode_bytes(c, opcode);
  host_8(c, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

void host_alu_imm(struct host_code *c, bool w, unsigned ext, unsigned rm, int32_t imm) {
  bool small = imm == (int8_t)imm;
  host_op_reg(c, w, small ? 0x83 : 0x81, ext, rm);
  if (small) host_8(c, (uint32_t)imm);
  else host_32(c, (uint32_t)imm);
}

void host_mov_imm(struct host_code *c, unsigned reg, uint32_t imm) {
  rex(c, false, reg >> 3);
  host_8(c, 0xb8 | (reg & 7));
  host_32(c, imm);
}

void host_mov_mem_imm(struct host_code *c, struct host_mem m, uint32_t imm) {
  host_op_mem(c, false, 0xc7, 0, m);
  host_32(c, imm);
}

void host_shift_imm(struct host_code *c, bool w, unsigned ext, unsigned rm, unsigned n) {
  host_op_reg(c, w, 0xc1, ext, rm);
  host_8(c, n);
}

void host_shrx(struct host_code *c, unsigned dst, unsigned src, unsigned count) { /* VEX.LZ.F2.0F38.W0 F7 /r */
  host_8(c, 0xc4);
  host_8(c, (dst < 8) << 7 | 1 << 6 | (src < 8) << 5 | 2);
  host_8(c, (~count & 15) << 3 | 3);
  host_8(c, 0xf7);
  host_8(c, 0xc0 | (dst & 7) << 3 | (src & 7));
}

uint32_t host_jump(struct host_code *c, int cc) {
  if (cc < 0) host_8(c, cc == -1 ? 0xe9 : 0xe8);
  else {
    host_8(c, 0x0f);
    host_8(c, 0x80 | (unsigned)cc);
  }
  uint32_t at = host_here(c);
  host_32(c, 0);
  return at;
}

void host_patch(struct host_code *c, uint32_t at, uint32_t target) {
  uint8_t *p = c->start + (int32_t)(at - c->offset); /* hot jumps are patched while the cold stubs are written */
  if (c->overflow) return;
  uint32_t rel = target - (at + 4);
  memcpy(p, &rel, 4);
}

static uint8_t *rel8(struct host_code *c) {
  host_8(c, 0);
  return c->at - 1;
}
uint8_t *host_jrcxz(struct host_code *c) {
  host_8(c, 0xe3);
  return rel8(c);
}
uint8_t *host_jmp8(struct host_code *c) {
  host_8(c, 0xeb);
  return rel8(c);
}
uint8_t *host_jcc8(struct host_code *c, unsigned cc) {
  host_8(c, 0x70 | cc);
  return rel8(c);
}
void host_bind8(struct host_code *c, uint8_t *at) { *at = (uint8_t)(c->at - (at + 1)); }
