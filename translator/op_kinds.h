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
  IF_STACK32 = 1 << 0, /* SS is flat, of 32 bits and not watched */
  IF_CS_FLAT = 1 << 1,
  IF_IOPL = 1 << 2, /* CPL <= IOPL */
  IF_UP = 1 << 3,   /* EFLAGS.DF is clear */
  IF_NO_STEP = 1 << 4,
  IF_NO_V86 = 1 << 5,
  IF_TSC = 1 << 6,      /* the guest may read its TSC, which runs as the host's does */
  IF_SEGMENTS = 1 << 7, /* segment loads that change nothing are told by their descriptor: protected mode */
  /* of the instruction */
  IF_OPERAND32 = 1 << 8,
  IF_ADDRESS32 = 1 << 9,
  IF_MEMORY = 1 << 10,      /* its memory operand, if it has one, is in a segment that is checked inline */
  IF_IN_MEMORY = 1 << 11,   /* it has one */
  IF_IN_REGISTER = 1 << 12, /* it has none */
  IF_FPU = 1 << 13,         /* CR0 and CR4 let it use what it uses of x87, MMX, SSE */
  IF_BIT_STRING = 1 << 14,  /* a bit offset may move the address: no limit and no alignment to be checked */
  IF_STRING = 1 << 15,      /* strings: on flat segments, and of REP loops only what string_inline() says */
  IF_NOT_SS = 1 << 16,      /* loads another segment register than SS, whose load shadows the next instruction */
  /* often together */
  IF_STACK = IF_STACK32 | IF_OPERAND32,
  IF_SAME_SEGMENT = IF_SEGMENTS | IF_NOT_SS,
  IF_OF_MODE = IF_OPERAND32 - 1
};

enum kind_trait {
  KIND_INLINE = 1 << 0,          /* has inline code: set for rows INLINE() */
  KIND_JUMPS = 1 << 1,           /* leaves the block, so it is the last instruction of one */
  KIND_USES_R11 = 1 << 2,        /* its inline code needs R11, so that no window may be there */
  KIND_STRING = 1 << 3,          /* addresses memory by ESI or EDI; REP is a prefix of it */
  KIND_SYSTEM_REGISTER = 1 << 4, /* moves a control or debug register: ModRM.mod means nothing */
  KIND_IN_RUN = 1 << 5,   /* stands in rows of callouts at the entries and exits of kernels, and changes neither CS nor CPL */
  KIND_ENDS_RUN = 1 << 6, /* stands at the end of such a row */
};

/* INLINE(KIND, monitor's function x_..(), translator's emit_..(), conditions, traits, change of ESP, "what it is")
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
  INLINE(PUSH_REG, push_reg, push_reg, IF_STACK, 0, -4, "") \
  INLINE(PUSH_IMM, push_imm, push_imm, IF_STACK, 0, -4, "") \
  INLINE(PUSH_MEM, push_mem, push_mem, IF_STACK | IF_MEMORY | IF_IN_MEMORY, KIND_USES_R11, -4, "") \
  INLINE(POP_REG, pop_reg, pop_reg, IF_STACK, 0, 4, "") \
  CALLOUT(POP_MEM, pop_mem, 0, "") \
  CALLOUT(PUSHA, pusha, KIND_IN_RUN, "") \
  CALLOUT(POPA, popa, KIND_IN_RUN, "") \
  INLINE(PUSHF, pushf, pushf, IF_STACK | IF_NO_V86, KIND_USES_R11, -4, "") \
  INLINE(POPF, popf, popf, IF_STACK | IF_IOPL | IF_NO_V86 | IF_NO_STEP | IF_UP, KIND_USES_R11, 4, "") \
  CALLOUT(ENTER, enter, 0, "") \
  INLINE(LEAVE, leave, leave, IF_STACK, 0, 0, "") \
  INLINE(PUSH_SEG, push_seg, push_seg, IF_STACK, KIND_USES_R11, -4, "") \
  INLINE(POP_SEG, pop_seg, pop_seg, IF_STACK | IF_SAME_SEGMENT, KIND_USES_R11 | KIND_IN_RUN, 4, "") \
  INLINE(MOV_FROM_SEG, mov_from_seg, mov_from_seg, IF_IN_REGISTER, 0, 0, "MOV Ev,Sw") \
  INLINE(MOV_TO_SEG, mov_to_seg, mov_to_seg, IF_IN_REGISTER | IF_SAME_SEGMENT, KIND_USES_R11 | KIND_IN_RUN, 0, "MOV Sw,Ew") \
  CALLOUT(LOAD_FAR, load_far, 0, "LDS LES LFS LGS LSS") \
  INLINE(JCC, jcc, jcc, IF_OPERAND32 | IF_CS_FLAT, KIND_JUMPS, 0, "") \
  INLINE(JMP_REL, jmp_rel, jump, IF_OPERAND32 | IF_CS_FLAT, KIND_JUMPS, 0, "") \
  INLINE(JMP_IND, jmp_ind, jmp_ind, IF_OPERAND32 | IF_CS_FLAT | IF_MEMORY, KIND_JUMPS, 0, "FF /4") \
  CALLOUT(JMP_FAR_IMM, jmp_far_imm, 0, "EA") \
  CALLOUT(JMP_FAR_MEM, jmp_far_mem, 0, "FF /5") \
  INLINE(CALL_REL, call_rel, call_rel, IF_STACK | IF_CS_FLAT, KIND_JUMPS, -4, "") \
  INLINE(CALL_IND, call_ind, call_ind, IF_STACK | IF_CS_FLAT | IF_MEMORY, KIND_JUMPS | KIND_USES_R11, -4, "FF /2") \
  CALLOUT(CALL_FAR_IMM, call_far_imm, 0, "9A") \
  CALLOUT(CALL_FAR_MEM, call_far_mem, 0, "FF /3") \
  INLINE(RET, ret, ret, IF_STACK | IF_CS_FLAT, KIND_JUMPS, 0, "C3, C2 iw") \
  CALLOUT(RETF, retf, 0, "CB, CA iw") \
  CALLOUT(IRET, iret, KIND_ENDS_RUN, "") \
  INLINE(LOOP, loop, loop, IF_OPERAND32 | IF_ADDRESS32 | IF_CS_FLAT, KIND_JUMPS, 0, "E2") \
  CALLOUT(LOOPE, loope, 0, "E1") \
  CALLOUT(LOOPNE, loopne, 0, "E0") \
  INLINE(JCXZ, jcxz, loop, IF_OPERAND32 | IF_ADDRESS32 | IF_CS_FLAT, KIND_JUMPS, 0, "E3") \
  CALLOUT(INT, int, 0, "CD ib") \
  CALLOUT(INT3, int3, 0, "CC") \
  CALLOUT(INTO, into, 0, "CE") \
  CALLOUT(INT1, int1, 0, "F1") \
  CALLOUT(BOUND, bound, 0, "62") \
  INLINE(MOVS, movs, string, IF_STRING, KIND_STRING | KIND_USES_R11, 0, "") \
  INLINE(CMPS, cmps, string, IF_STRING, KIND_STRING | KIND_USES_R11, 0, "") \
  INLINE(STOS, stos, string, IF_STRING, KIND_STRING | KIND_USES_R11, 0, "") \
  INLINE(LODS, lods, string, IF_STRING, KIND_STRING, 0, "") \
  INLINE(SCAS, scas, string, IF_STRING, KIND_STRING, 0, "") \
  CALLOUT(INS, ins, KIND_STRING, "") \
  CALLOUT(OUTS, outs, KIND_STRING, "") \
  CALLOUT(IN, in, 0, "E4 E5 EC ED") \
  CALLOUT(OUT, out, 0, "E6 E7 EE EF") \
  INLINE(CLI, cli, cli, IF_IOPL | IF_NO_STEP, 0, 0, "") \
  INLINE(STI, sti, sti, IF_IOPL | IF_NO_STEP, 0, 0, "") \
  CALLOUT(HLT, hlt, 0, "") \
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
  uint32_t when;  /* enum inline_condition: all of them */
  uint8_t traits; /* enum kind_trait */
  int8_t stack;   /* what its inline code adds to ESP, but for LEAVE and RET */
};
extern const struct kind_info op_kind_infos[OP_KIND_COUNT];
static inline bool kind_has(unsigned kind, unsigned traits) { return op_kind_infos[kind].traits & traits; } /* any of them */
