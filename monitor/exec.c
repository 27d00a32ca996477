/* The table from instruction kind to its function, and what all of them have in common: FPU availability and the rule that a
 * fault leaves no data breakpoint pending. Called by the run loop for every callout and every instruction that is not copied. */
#include "exec.h"

typedef int exec_function(struct vcpu *v, const struct insn *i);
/* A kind whose function is missing does not link. COPY, LEA and NOP have none: they are the translator's own. */
#define x_none NULL
#define EXEC_ROW(kind, name, ...) [OP_##kind] = x_##name,
static exec_function *const functions[OP_KIND_COUNT] = {OP_KINDS(EXEC_ROW, EXEC_ROW)};

int fpu_check(struct vcpu *v, enum fpu_need need) {
  bool em = v->cr0 & CR0_EM, ts = v->cr0 & CR0_TS;
  switch (need) {
  case FPU_NONE: break;
  case FPU_X87:
  case FPU_FXSAVE:
    if (em || ts) return fault_raise(v, VEC_NM);
    break;
  case FPU_WAIT:
    if (ts && v->cr0 & CR0_MP) return fault_raise(v, VEC_NM);
    break;
  case FPU_SSE:
    if (!(v->cr4 & CR4_OSFXSR)) return fault_raise(v, VEC_UD);
    __attribute__((fallthrough));
  case FPU_MMX:
    if (em) return fault_raise(v, VEC_UD);
    if (ts) return fault_raise(v, VEC_NM);
    break;
  }
  return EXEC_NEXT;
}

int exec_insn(struct vcpu *v, const struct insn *insn) {
  exec_function *run = functions[insn->kind];
  if (!run) __builtin_trap(); /* our own bug: a copied instruction never comes here */
  if (insn->row->fpu && insn->kind != OP_UD && insn->kind != OP_TODO && fpu_check(v, insn->row->fpu) != EXEC_NEXT)
    return EXEC_FAULT;
  uint32_t pending_db = v->pending_db;
  int result = run(v, insn);
  if (result == EXEC_FAULT && !v->fault.trap) v->pending_db = pending_db; /* the access that a breakpoint saw has not happened */
  return result;
}

int x_ud(struct vcpu *v, const struct insn *i) { return fault_raise(v, VEC_UD); }

/* Nothing that any CPUID model advertises; so the guest cannot tell it from an opcode that does not exist. */
int x_todo(struct vcpu *v, const struct insn *i) { return fault_raise(v, VEC_UD); }
