/* The closed list of what an opcode row can ask for, and all that is known of each kind: a new kind is a row here. The translator
 * emits some kinds inline where the mode allows it; the monitor's exec_insn() has one function for every kind but COPY, LEA and
 * NOP (a copied instruction is run as itself on a buffer when its operand is not plain RAM, so nothing copied ever needs a second
 * implementation). */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* What must be true for a kind to be inline; all else, and what is never inline, is run by the monitor. */
enum inline_condition {
  IF_ANY = 0, /* always */
  /* of the mode, the same for all instructions of a block */
  IF_STACK = 1 << 0, /* SS is checked inline and not watched */
  IF_IOPL = 1 << 1,  /* CPL <= IOPL */
  IF_UP = 1 << 2,    /* EFLAGS.DF is clear */
  IF_NO_STEP = 1 << 3,
  IF_FLAGS = 1 << 4, /* PUSHF is allowed: not in V86 mode, or with IOPL 3 */
  IF_TSC = 1 << 5,   /* the guest may read its TSC, which runs as the host's does */
  IF_REAL = 1 << 6,
  IF_NO_NMI = 1 << 7, /* IRET has no NMI to let in again */
  IF_STACK16 = 1 << 8,
  IF_PROTECTED = 1 << 9, /* neither real mode nor V86 */
  IF_OF_MODE = (1 << 10) - 1,
  /* of the instruction */
  IF_ADDRESS32 = 1 << 10,
  IF_MEMORY = 1 << 11,      /* its memory operand, if it has one, is in a segment that is checked inline */
  IF_IN_MEMORY = 1 << 12,   /* it has one */
  IF_IN_REGISTER = 1 << 13, /* it has none */
  IF_FPU = 1 << 14,         /* CR0 and CR4 let it use what it uses of x87, MMX, SSE */
  IF_BIT_STRING = 1 << 15,  /* a bit offset may move the address: no limit and no alignment to be checked */
  IF_STRING = 1 << 16,      /* strings: on flat segments, and of REP loops only what string_inline() says */
  IF_SEGMENT = 1 << 17,     /* its segment register is loaded inline: plan.c, segment_load_inline() */
  IF_FAR_DATA = 1 << 18,    /* the same of LDS and its like: real mode and V86 */
  IF_FAR = 1 << 19,         /* far transfers of real mode and V86, of a 16-bit EIP */
  IF_ENTER = 1 << 20,       /* a frame of no outer levels and few bytes */
};

enum kind_trait {
  KIND_INLINE = 1 << 0,          /* has inline code: set for rows INLINE() */
  KIND_JUMPS = 1 << 1,           /* leaves the block, so it is the last instruction of one */
  KIND_USES_R11 = 1 << 2,        /* its inline code needs R11, so that no window may be there */
  KIND_STRING = 1 << 3,          /* addresses memory by ESI or EDI; REP is a prefix of it */
  KIND_SYSTEM_REGISTER = 1 << 4, /* moves a control or debug register: ModRM.mod means nothing */
  KIND_IN_RUN = 1 << 5,   /* stands in rows of callouts at the entries and exits of kernels, and changes neither CS nor CPL */
  KIND_ENDS_RUN = 1 << 6, /* stands at the end of such a row */
  KIND_RELATIVE = 1 << 7, /* jumps to an EIP that its bytes tell */
  KIND_POPS = 1 << 8,     /* accesses the stack, whatever it does to ESP */
  KIND_FRAME = 1 << 9,    /* pushes or pops several words at once */
};

/* INLINE(KIND, monitor's function x_..(), translator's emit_..(), conditions, traits, change of ESP in words of the operand size,
 * "what it is")
 * CALLOUT(KIND, monitor's function x_..(), traits, "what it is") */
#define OP_KINDS(INLINE, CALLOUT) \
  INLINE(COPY, none, copy, IF_MEMORY | IF_FPU, 0, 0, "runs as itself; registers and the ModRM memory operand are rewritten") \
  INLINE(LEA, none, lea, IF_ANY, 0, 0, "address arithmetic, no access") \
  INLINE(NOP, none, nop, IF_ANY, 0, 0, "does nothing (NOP, hints, PREFETCHh)") \
  CALLOUT(UD, ud, 0, "architecturally undefined or not offered by any CPUID model: #UD") \
  CALLOUT(TODO, todo, 0, "not done yet: #UD; no CPUID model may advertise it") \
  INLINE(INCDEC_REG, incdec_reg, incdec, IF_ANY, 0, 0, "40h-4Fh INC/DEC r (REX bytes in 64-bit code)") \
  INLINE(MOV_MOFFS, mov_moffs, moffs, IF_MEMORY, 0, 0, "A0h-A3h MOV with an absolute offset") \
  INLINE(XLAT, xlat, xlat, IF_MEMORY, 0, 0, "XLATB") \
  INLINE(BT_MEM, bt_mem, bt_mem, IF_MEMORY | IF_ADDRESS32 | IF_BIT_STRING, 0, 0, "BTx m,r: the bit offset moves the address") \
  CALLOUT(BCD, bcd, 0, "DAA DAS AAA AAS AAM AAD SALC") \
  INLINE(PUSH_REG, push_reg, push_reg, IF_STACK, 0, -1, "") \
  INLINE(PUSH_IMM, push_imm, push_imm, IF_STACK, 0, -1, "") \
  INLINE(PUSH_MEM, push_mem, push_mem, IF_STACK | IF_MEMORY | IF_IN_MEMORY, KIND_USES_R11, -1, "") \
  INLINE(POP_REG, pop_reg, pop_reg, IF_STACK, 0, 1, "") \
  CALLOUT(POP_MEM, pop_mem, 0, "") \
  INLINE(PUSHA, pusha, pusha, IF_STACK | IF_STACK16, KIND_FRAME | KIND_IN_RUN, -8, "") \
  INLINE(POPA, popa, popa, IF_STACK | IF_STACK16, KIND_FRAME | KIND_IN_RUN, 8, "") \
  INLINE(PUSHF, pushf, pushf, IF_STACK | IF_FLAGS, KIND_USES_R11, -1, "") \
  INLINE(POPF, popf, popf, IF_STACK | IF_IOPL | IF_NO_STEP | IF_UP, KIND_USES_R11, 1, "") \
  INLINE(ENTER, enter, enter, IF_STACK | IF_STACK16 | IF_ENTER, KIND_FRAME | KIND_POPS, 0, "") \
  INLINE(LEAVE, leave, leave, IF_STACK, KIND_POPS, 0, "") \
  INLINE(PUSH_SEG, push_seg, push_seg, IF_STACK, KIND_USES_R11, -1, "") \
  INLINE(POP_SEG, pop_seg, pop_seg, IF_STACK | IF_SEGMENT, KIND_USES_R11 | KIND_IN_RUN, 1, "") \
  INLINE(MOV_FROM_SEG, mov_from_seg, mov_from_seg, IF_MEMORY, KIND_USES_R11, 0, "MOV Ev,Sw") \
  INLINE(MOV_TO_SEG, mov_to_seg, mov_to_seg, IF_MEMORY | IF_SEGMENT, KIND_USES_R11 | KIND_IN_RUN, 0, "MOV Sw,Ew") \
  INLINE(LOAD_FAR, load_far, load_far, IF_MEMORY | IF_IN_MEMORY | IF_FAR_DATA, 0, 0, "LDS LES LFS LGS LSS") \
  INLINE(JCC, jcc, jcc, IF_ANY, KIND_JUMPS | KIND_RELATIVE, 0, "") \
  INLINE(JMP_REL, jmp_rel, jump, IF_ANY, KIND_JUMPS | KIND_RELATIVE, 0, "") \
  INLINE(JMP_IND, jmp_ind, jmp_ind, IF_MEMORY, KIND_JUMPS, 0, "FF /4") \
  INLINE(JMP_FAR_IMM, jmp_far_imm, jmp_far_imm, IF_FAR, KIND_JUMPS, 0, "EA") \
  INLINE(JMP_FAR_MEM, jmp_far_mem, jmp_far_mem, IF_FAR | IF_MEMORY, KIND_JUMPS | KIND_USES_R11, 0, "FF /5") \
  INLINE(CALL_REL, call_rel, call_rel, IF_STACK, KIND_JUMPS | KIND_RELATIVE, -1, "") \
  INLINE(CALL_PC, call_rel, call_pc, IF_STACK, 0, 0, "what the planner makes of a CALL_REL to MOV REG, [ESP]; RET") \
  INLINE(CALL_IND, call_ind, call_ind, IF_STACK | IF_MEMORY, KIND_JUMPS | KIND_USES_R11, -1, "FF /2") \
  INLINE(CALL_FAR_IMM, call_far_imm, call_far_imm, IF_STACK | IF_FAR, KIND_JUMPS | KIND_FRAME, -2, "9A") \
  INLINE(CALL_FAR_MEM, call_far_mem, call_far_mem, IF_STACK | IF_FAR | IF_MEMORY, KIND_JUMPS | KIND_FRAME | KIND_USES_R11, -2, \
         "FF /3") \
  INLINE(RET, ret, ret, IF_STACK, KIND_JUMPS | KIND_POPS, 0, "C3, C2 iw") \
  INLINE(RETF, retf, retf, IF_STACK | IF_FAR, KIND_JUMPS | KIND_POPS | KIND_FRAME | KIND_USES_R11, 0, "CB, CA iw") \
  INLINE(IRET, iret, iret, IF_STACK | IF_FAR | IF_IOPL | IF_NO_STEP | IF_UP | IF_NO_NMI, \
         KIND_JUMPS | KIND_POPS | KIND_FRAME | KIND_USES_R11 | KIND_ENDS_RUN, 0, "") \
  INLINE(LOOP, loop, loop, IF_ANY, KIND_JUMPS | KIND_RELATIVE, 0, "E2") \
  INLINE(LOOPE, loope, loop, IF_ANY, KIND_JUMPS | KIND_RELATIVE, 0, "E1") \
  INLINE(LOOPNE, loopne, loop, IF_ANY, KIND_JUMPS | KIND_RELATIVE, 0, "E0") \
  INLINE(JCXZ, jcxz, jcxz, IF_ANY, KIND_JUMPS | KIND_RELATIVE, 0, "E3") \
  INLINE(INT, int, int, IF_STACK | IF_FAR | IF_REAL | IF_NO_STEP, KIND_JUMPS | KIND_FRAME | KIND_USES_R11, -3, "CD ib") \
  CALLOUT(INT3, int3, 0, "CC") \
  CALLOUT(INTO, into, 0, "CE") \
  CALLOUT(INT1, int1, 0, "F1") \
  CALLOUT(BOUND, bound, 0, "62") \
  INLINE(MOVS, movs, string, IF_STRING, KIND_STRING | KIND_USES_R11, 0, "") \
  INLINE(CMPS, cmps, string, IF_STRING, KIND_STRING | KIND_USES_R11, 0, "") \
  INLINE(STOS, stos, string, IF_STRING, KIND_STRING | KIND_USES_R11, 0, "") \
  INLINE(LODS, lods, string, IF_STRING, KIND_STRING, 0, "") \
  INLINE(SCAS, scas, string, IF_STRING, KIND_STRING | KIND_USES_R11, 0, "") \
  CALLOUT(INS, ins, KIND_STRING, "") \
  CALLOUT(OUTS, outs, KIND_STRING, "") \
  CALLOUT(IN, in, 0, "E4 E5 EC ED") \
  CALLOUT(OUT, out, 0, "E6 E7 EE EF") \
  INLINE(CLI, cli, cli, IF_IOPL | IF_NO_STEP, 0, 0, "") \
  INLINE(STI, sti, sti, IF_IOPL | IF_NO_STEP, 0, 0, "") \
  CALLOUT(HLT, hlt, 0, "") \
  INLINE(PAUSE, pause, copy, IF_PROTECTED, 0, 0, "F3 90; that of a BIOS is the monitor's, which may be told to sleep then") \
  CALLOUT(ARPL, arpl, 0, "63") \
  CALLOUT(LAR, lar, 0, "") \
  CALLOUT(LSL, lsl, 0, "") \
  CALLOUT(VERR, verr, 0, "") \
  CALLOUT(VERW, verw, 0, "") \
  CALLOUT(LGDT, lgdt, 0, "") \
  CALLOUT(LIDT, lidt, 0, "") \
  CALLOUT(SGDT, sgdt, 0, "") \
  CALLOUT(SIDT, sidt, 0, "") \
  CALLOUT(LLDT, lldt, 0, "") \
  CALLOUT(LTR, ltr, 0, "") \
  CALLOUT(SLDT, sldt, 0, "") \
  CALLOUT(STR, str, 0, "") \
  CALLOUT(LMSW, lmsw, 0, "") \
  CALLOUT(SMSW, smsw, 0, "") \
  CALLOUT(CLTS, clts, 0, "") \
  CALLOUT(MOV_FROM_CR, mov_from_cr, KIND_SYSTEM_REGISTER, "") \
  CALLOUT(MOV_TO_CR, mov_to_cr, KIND_SYSTEM_REGISTER, "") \
  CALLOUT(MOV_FROM_DR, mov_from_dr, KIND_SYSTEM_REGISTER, "") \
  CALLOUT(MOV_TO_DR, mov_to_dr, KIND_SYSTEM_REGISTER, "") \
  CALLOUT(INVLPG, invlpg, 0, "") \
  CALLOUT(INVD, invd, 0, "INVD and WBINVD") \
  CALLOUT(CLFLUSH, clflush, 0, "CLFLUSH m8") \
  CALLOUT(RDMSR, rdmsr, 0, "") \
  CALLOUT(WRMSR, wrmsr, 0, "") \
  CALLOUT(RDPMC, rdpmc, 0, "") \
  CALLOUT(CPUID, cpuid, 0, "") \
  INLINE(RDTSC, rdtsc, rdtsc, IF_TSC, KIND_USES_R11, 0, "") \
  INLINE(RDTSCP, rdtscp, rdtsc, IF_TSC, KIND_USES_R11, 0, "") \
  CALLOUT(SYSENTER, sysenter, 0, "") \
  CALLOUT(SYSEXIT, sysexit, 0, "") \
  CALLOUT(FXSAVE, fxsave, 0, "") \
  CALLOUT(FXRSTOR, fxrstor, 0, "") \
  CALLOUT(FNSTENV, fnstenv, 0, "") \
  CALLOUT(FLDENV, fldenv, 0, "") \
  CALLOUT(FNSAVE, fnsave, 0, "") \
  CALLOUT(FRSTOR, frstor, 0, "") \
  CALLOUT(FPU_MODE, fpu_mode, 0, "FNINIT and FNCLEX: also reset the vCPU's own x87 pointers") \
  CALLOUT(MASKMOV, maskmov, 0, "MASKMOVQ MASKMOVDQU: implicit store at seg:[eDI]")

enum op_kind {
#define OP_KIND_ENUM(kind, ...) OP_##kind,
  OP_KINDS(OP_KIND_ENUM, OP_KIND_ENUM) OP_KIND_COUNT
};
#undef OP_KIND_ENUM

struct kind_info {
  uint32_t when;   /* enum inline_condition: all of them */
  uint16_t traits; /* enum kind_trait */
  int8_t stack;    /* words that its inline code adds to ESP, but for LEAVE and returns */
};
extern const struct kind_info op_kind_infos[OP_KIND_COUNT];
static inline bool kind_has(unsigned kind, unsigned traits) { return op_kind_infos[kind].traits & traits; } /* any of them */
