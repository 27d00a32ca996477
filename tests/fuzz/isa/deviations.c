/* Where qemu-i386 is known to differ from a CPU. A difference that a row explains is counted under it and is no failure of ours;
 * one that no row explains is. Rows were found by running --reference qemu and reading the manual: each says why QEMU is wrong,
 * or which choice it takes. */
#include "fuzz.h"
#include "monitor/vcpu.h"
#include <stdio.h>
#include <string.h>

struct question {
  const struct isa_case *c;
  const struct listing *l;
  const struct outcome *qemu, *guest;
};

static bool has(const struct question *q, bool (*test)(const struct insn *)) {
  for (unsigned i = 0; i < q->l->count; i++)
    if (test(&q->l->list[i].insn)) return true;
  return false;
}
static bool is_x87(const struct insn *i) { return i->row->fpu == FPU_X87 || i->row->fpu == FPU_WAIT; }
static bool is_mmx(const struct insn *i) { return i->row->fpu == FPU_MMX; }
static bool has_mmx_operand(const struct insn *i) {
  return i->row->fpu == FPU_SSE && i->row->map == 1 && (i->row->opcode == 0x2a || (i->row->opcode & 0xfe) == 0x2c);
}
static bool is_enter(const struct insn *i) { return i->kind == OP_ENTER || i->kind == OP_PUSHA || i->kind == OP_POPA; }
static bool is_estimate(const struct insn *i) { return i->row->map == 1 && (i->row->opcode == 0x52 || i->row->opcode == 0x53); }
static bool is_sse(const struct insn *i) { return i->row->fpu == FPU_SSE; }
static bool is_gate(const struct insn *i) {
  return i->kind == OP_INT || i->kind == OP_INT1 || i->kind == OP_INT3 || i->kind == OP_INTO;
}
static bool is_port(const struct insn *i) {
  return i->kind == OP_IN || i->kind == OP_OUT || i->kind == OP_INS || i->kind == OP_OUTS || i->kind == OP_CLI ||
         i->kind == OP_STI;
}
static bool is_locked(const struct insn *i) { return i->lock; }
static bool is_selector(const struct insn *i) {
  return (i->kind >= OP_ARPL && i->kind <= OP_VERW) || i->kind == OP_PUSH_SEG || i->kind == OP_POP_SEG ||
         i->kind == OP_MOV_FROM_SEG || i->kind == OP_MOV_TO_SEG || i->kind == OP_LOAD_FAR;
}
static bool is_far(const struct insn *i) {
  return i->kind == OP_RETF || i->kind == OP_IRET || i->kind == OP_CALL_FAR_IMM || i->kind == OP_CALL_FAR_MEM ||
         i->kind == OP_JMP_FAR_IMM || i->kind == OP_JMP_FAR_MEM;
}
static bool is_flags(const struct insn *i) { return i->kind == OP_POPF || i->kind == OP_PUSHF; }
static bool is_fx(const struct insn *i) { return i->kind >= OP_FXSAVE && i->kind <= OP_FRSTOR; }
static bool is_aligned(const struct insn *i) { return insn_requires_alignment(i); }

static bool is_undefined_result(const struct insn *i) { /* BSWAP r16; SHLD and SHRD of 16 bits by more than 16 */
  bool swap = i->row->map == 1 && (i->row->opcode & 0xf8) == 0xc8, shift = i->row->map == 1 && (i->row->opcode & 0xf6) == 0xa4;
  return i->operand_size == 2 && (swap || shift);
}
static bool is_cmpxchg8b(const struct insn *i) { return i->row->map == 1 && i->row->opcode == 0xc7; }
static bool is_bit_scan(const struct insn *i) { return i->row->map == 1 && (i->row->opcode & 0xfe) == 0xbc; }

static bool faults(const struct outcome *o, unsigned vector) { return o->end == END_FAULT && o->vector == vector; }

static bool by_alignment(const struct question *q) { return q->c->eflags & FLAG_AC; }
static bool by_x87(const struct question *q) {
  return has(q, is_x87) || has(q, is_mmx) || has(q, has_mmx_operand) || has(q, is_fx);
}
static bool by_x87_summary(const struct question *q) { /* bits 7 and 15 alone */
  return memcmp(q->qemu->fx, q->guest->fx, 2) == 0 && (q->qemu->fx[2] ^ q->guest->fx[2]) == 0x80 &&
         (q->qemu->fx[3] ^ q->guest->fx[3]) == 0x80;
}
static bool by_estimate(const struct question *q) { return has(q, is_estimate); }
static bool by_xm(const struct question *q) {
  return has(q, is_sse) && (faults(q->guest, VEC_XM) || memcmp(q->qemu->fx + 24, q->guest->fx + 24, 4) != 0);
}
static bool by_sse_nan(const struct question *q) {
  return has(q, is_sse) && memcmp(q->qemu->fx + 160, q->guest->fx + 160, 128) != 0;
}
static bool by_sse_alignment(const struct question *q) { return has(q, is_aligned) && faults(q->guest, VEC_GP); }
static bool by_gate(const struct question *q) { return has(q, is_gate); }
static bool by_selector(const struct question *q) { return has(q, is_selector) || has(q, is_far); }
static bool by_system_flags(const struct question *q) { return has(q, is_flags) || (q->c->eflags & (FLAG_NT | FLAG_ID)); }
static bool by_lock(const struct question *q) { return has(q, is_locked); }
static bool by_enter(const struct question *q) { return has(q, is_enter); }
static bool by_port(const struct question *q) { return has(q, is_port); }
static bool by_undefined_result(const struct question *q) { return has(q, is_undefined_result) || has(q, is_bit_scan); }
static bool by_cmpxchg8b(const struct question *q) { return has(q, is_cmpxchg8b); }
static bool by_end(const struct question *q) { return q->qemu->end == END_HANG || q->qemu->end == END_STOPPED; }
static bool by_rf(const struct question *q) {
  return q->guest->end == END_FAULT && q->qemu->end == END_FAULT && q->qemu->vector == q->guest->vector &&
         q->qemu->eip == q->guest->eip;
}
static bool by_length(const struct question *q) { return faults(q->guest, VEC_UD) || faults(q->qemu, VEC_UD); }

/* The first that fits counts; the more particular ones come first. */
static const struct {
  const char *what;
  bool (*explains)(const struct question *q);
} table[] = {
  {"#AC does not exist in qemu-i386 (EFLAGS.AC is set)", by_alignment},
  {"qemu-i386 itself hung or died", by_end},
  {"results without a defined value: BSWAP r16, SHLD and SHRD of words by more than 16, BSF and BSR of zero",
   by_undefined_result},
  {"CMPXCHG8B: QEMU 7.2 writes flags other than ZF", by_cmpxchg8b},
  {"INT n, INT1, INT3, INTO: the process gets a signal whose EIP and vector are QEMU's own", by_gate},
  {"RCPPS, RSQRTPS: QEMU computes exactly, CPUs estimate", by_estimate},
  {"segment loads and far transfers: no limits, no types, selectors of qemu-i386's own GDT", by_selector},
  {"x87 and MMX: precision of transcendentals, precision control, unmasked exceptions, TOP and tags", by_x87},
  {"x87: ES and B do not follow from what FXRSTOR loads", by_x87_summary},
  {"SSE exceptions: MXCSR status bits and #XM are not QEMU's, whose LDMXCSR takes reserved bits, too", by_xm},
  {"16-byte alignment of SSE operands is not checked before QEMU 7.2's own list of instructions", by_sse_alignment},
  {"SSE results: which NaN is taken, denormals-are-zero", by_sse_nan},
  {"PUSHF, POPF: IF, NT, ID as QEMU's user mode keeps them", by_system_flags},
  {"LOCK before what may not have it: no #UD", by_lock},
  {"ENTER, PUSHA, POPA: which slot faults, and whether ENTER looks at the new top of the stack", by_enter},
  {"ports and IF at IOPL 0: the process's own rights", by_port},
  {"undefined opcodes and prefixes", by_length},
  {"a fault's frame: RF, error code, which part of a page-crossing operand faults, memory stored before", by_rf},
};
enum { COUNT = sizeof table / sizeof *table };
_Static_assert(+COUNT <= +MAX_DEVIATIONS, "main.c counts them");

int deviation_find(const struct isa_case *c, const struct listing *l, const struct outcome *reference,
                   const struct outcome *guest) {
  const struct question q = {c, l, reference, guest};
  for (unsigned i = 0; i < COUNT; i++)
    if (table[i].explains(&q)) return (int)i;
  return -1;
}

void deviation_report(const uint64_t *hits) {
  printf("QEMU's known deviations:\n");
  for (unsigned i = 0; i < COUNT; i++) printf("  %8llu  %s\n", (unsigned long long)hits[i], table[i].what);
}
