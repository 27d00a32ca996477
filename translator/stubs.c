/* The two stubs between the C run loop and translated code (D1). */
#include "host.h"
#include "translator.h"

static const uint8_t callee_saved[] = {H_RBX, H_RBP, H_R12, H_R13, H_R14, H_R15};

static void push(struct host_code *c, unsigned reg) {
  if (reg > 7) host_8(c, 0x41);
  host_8(c, 0x50 | (reg & 7));
}
static void pop(struct host_code *c, unsigned reg) {
  if (reg > 7) host_8(c, 0x41);
  host_8(c, 0x58 | (reg & 7));
}

static struct host_mem gpr_slot(unsigned guest) { return hm(H_R13, (int32_t)(offsetof(struct tr_state, gpr) + 4 * guest)); }

/* PUSH number; JMP exit - no CALL, or the RET below would be mispredicted (25-50 cycles an exit). On translated code's own stack;
 * guest registers and flags live. */
static void write_exit(struct host_code *c) {
  for (unsigned r = 0; r < 8; r++) host_op_mem(c, false, 0x89, host_reg(r), gpr_slot(r));
  host_8(c, 0x41), host_8(c, 0x8f), host_modrm_mem(c, 0, HM_STATE(site)); /* POP [R13 + site] */
  host_8(c, 0x9c);                                                        /* PUSHFQ */
  host_8(c, 0x58);                                                        /* POP RAX */
  host_alu_imm(c, false, 4, H_RAX, FLAGS_ARITH | FLAG_DF);
  host_op_mem(c, false, 0x89, H_RAX, HM_STATE(flags));
  host_op_mem(c, true, 0x89, H_R8, HM_STATE(exit_linear));
  host_op_mem(c, true, 0x89, H_R10, HM_STATE(windows[0]));
  host_op_mem(c, true, 0x89, H_R11, HM_STATE(windows[1]));
  host_op_mem(c, true, 0x89, H_R12, HM_STATE(insns_left));
  host_op_mem(c, true, 0x8b, H_RSP, HM_STATE(monitor_rsp));
  host_8(c, 0xfc); /* CLD */
  for (unsigned i = sizeof callee_saved; i-- > 0;) pop(c, callee_saved[i]);
  host_8(c, 0xc3);
}

/* void enter(struct tr_state *state, const void *code) */
static void write_enter(struct host_code *c, uint32_t *jump) {
  for (unsigned i = 0; i < sizeof callee_saved; i++) push(c, callee_saved[i]);
  host_op_reg(c, true, 0x89, H_RDI, H_R13);
  host_op_reg(c, true, 0x89, H_RSI, H_R8);
  host_op_mem(c, true, 0x89, H_RSP, HM_STATE(monitor_rsp));
  host_op_mem(c, true, 0x8b, H_RSP, HM_STATE(code_rsp));
  host_op_mem(c, true, 0x8b, H_R14, HM_STATE(table));
  host_op_mem(c, true, 0x8b, H_R10, HM_STATE(windows[0]));
  host_op_mem(c, true, 0x8b, H_R11, HM_STATE(windows[1]));
  host_op_mem(c, false, 0x8b, H_RAX, HM_STATE(flags));
  host_op_reg(c, false, 0xf7, 0, H_RAX), host_32(c, FLAG_DF);
  uint8_t *clear = host_jcc8(c, CC_Z);
  host_8(c, 0xfd); /* STD */
  host_bind8(c, clear);
  host_op_reg(c, false, 0x89, H_RAX, H_RCX);
  host_8(c, 0x88), host_8(c, 0xc4); /* MOV AH, AL */
  host_shift_imm(c, false, 5, H_RCX, 11);
  host_alu_imm(c, false, 4, H_RCX, 1);
  host_8(c, 0x88), host_8(c, 0xc8);                  /* MOV AL, CL */
  host_8(c, 0x04), host_8(c, 0x7f), host_8(c, 0x9e); /* ADD AL, 7Fh; SAHF */
  for (unsigned r = 0; r < 8; r++) host_op_mem(c, false, 0x8b, host_reg(r), gpr_slot(r));
  host_op_mem(c, true, 0x8b, H_R12, HM_STATE(safepoint)); /* last: see tr_stubs.enter_jump */
  *jump = host_here(c);
  host_8(c, 0x41), host_8(c, 0xff), host_8(c, 0xe0); /* JMP R8 */
}

void tr_write_stubs(uint8_t *code, struct tr_stubs *stubs) {
  struct host_code c = {.start = code, .at = code, .end = code + 4096, .offset = 0};
  stubs->exit = host_here(&c);
  write_exit(&c);
  while (c.at < c.end && (host_here(&c) & 63)) host_8(&c, 0xcc);
  stubs->enter = host_here(&c);
  write_enter(&c, &stubs->enter_jump);
  while (c.at < c.end && (host_here(&c) & 63)) host_8(&c, 0xcc);
  stubs->size = host_here(&c);
}
