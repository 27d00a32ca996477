/* The stubs between the C run loop and translated code (D1), and the one below translated code's host returns (D4). */
#include "host.h"
#include "translator.h"

static const uint8_t callee_saved[] = {H_RBX, H_RBP, H_R12, H_R13, H_R14, H_R15};

static struct host_mem gpr_slot(unsigned guest) { return hm(H_R13, (int32_t)(offsetof(struct tr_state, gpr) + 4 * guest)); }

/* PUSH number; JMP exit - no CALL, or the RET below would be mispredicted (25-50 cycles an exit). On translated code's own stack;
 * guest registers and flags live. */
static void write_exit(struct host_code *c) {
  for (unsigned r = 0; r < 8; r++) host_store(c, gpr_slot(r), host_reg(r));
  host_op_mem(c, HO_POPto, 0, HM_STATE(site));
  host_op(c, HO_PUSHF);
  host_pop(c, H_RAX);
  host_alu_imm(c, HOg_AND, H_RAX, FLAGS_ARITH | FLAG_DF);
  host_store(c, HM_STATE(flags), H_RAX);
  host_store64(c, HM_STATE(exit_linear), H_R8);
  host_store64(c, HM_STATE(windows[0]), H_R10);
  host_store64(c, HM_STATE(windows[1]), H_R11);
  host_store64(c, HM_STATE(insns_left), H_R12);
  host_store64(c, HM_STATE(code_rsp), H_RSP);
  host_load64(c, H_RSP, HM_STATE(monitor_rsp));
  host_op(c, HO_CLD);
  for (unsigned i = sizeof callee_saved; i-- > 0;) host_pop(c, callee_saved[i]);
  host_op(c, HO_RET);
}

/* void enter(struct tr_state *state, const void *code) */
static void write_enter(struct host_code *c, uint32_t *jump) {
  for (unsigned i = 0; i < sizeof callee_saved; i++) host_push(c, callee_saved[i]);
  host_mov64(c, H_R13, H_RDI);
  host_mov64(c, H_R8, H_RSI);
  host_store64(c, HM_STATE(monitor_rsp), H_RSP);
  host_load64(c, H_RSP, HM_STATE(code_rsp));
  host_load64(c, H_R14, HM_STATE(table));
  host_load64(c, H_R10, HM_STATE(windows[0]));
  host_load64(c, H_R11, HM_STATE(windows[1]));
  host_load(c, H_RAX, HM_STATE(flags));
  host_test_imm(c, H_RAX, FLAG_DF);
  uint8_t *clear = host_jcc8(c, CC_Z);
  host_op(c, HO_STD);
  host_bind8(c, clear);
  host_mov(c, H_RCX, H_RAX);
  host_flags_from_image(c, H_RCX);
  for (unsigned r = 0; r < 8; r++) host_load(c, host_reg(r), gpr_slot(r));
  host_load64(c, H_R12, HM_STATE(safepoint)); /* last: see tr_stubs.enter_jump */
  *jump = host_here(c);
  host_op_reg(c, HO_GROUP5, HOg_JMP, H_R8);
}

/* A return for which the host's stack has no address: R8 is its EIP, flags are live. The address at the bottom stays. */
static void write_underflow(struct host_code *c, struct tr_stubs *stubs, bool counted) {
  host_lea64(c, H_RSP, hm(H_RSP, -8));
  if (!counted) {
    stubs->underflow_safepoint = host_here(c);
    host_load(c, H_R9, hm(H_R12, 0));
  }
  host_mov64(c, H_R11, H_RAX);
  host_save_flags(c);
  host_mov(c, H_R9, H_R8);
  host_shift_imm(c, HOg_SHR, H_R9, 12);
  host_restore_flags(c);
  host_mov64(c, H_RAX, H_R11);
  uint8_t *hit = host_look_up(c, false);
  if (!counted) stubs->underflow_exit = host_here(c);
  host_push_imm(c, TR_UNDERFLOW);
  host_patch(c, host_jmp(c), stubs->exit);
  host_bind8(c, hit);
  host_mov64(c, H_RCX, H_R10);
  host_op_mem(c, HO_GROUP5, HOg_JMP, HM_HASHED_CODE);
}

static void align(struct host_code *c) {
  while (c->at < c->end && (host_here(c) & 63)) host_op(c, HO_INT3);
}

void tr_write_stubs(uint8_t *code, struct tr_stubs *stubs) {
  struct host_code c = {.start = code, .at = code, .end = code + 4096, .offset = 0};
  stubs->exit = host_here(&c);
  write_exit(&c);
  align(&c);
  stubs->enter = host_here(&c);
  write_enter(&c, &stubs->enter_jump);
  align(&c);
  stubs->underflow = host_here(&c);
  write_underflow(&c, stubs, false);
  align(&c);
  stubs->underflow_counted = host_here(&c);
  write_underflow(&c, stubs, true);
  align(&c);
  stubs->size = host_here(&c);
}
