/* The closed list of what an opcode row can ask for. The translator's emitter inlines some kinds; the monitor's
 * exec_insn() has one function for every kind but COPY, LEA and NOP (a copied instruction is run as itself on a
 * buffer when its operand is not plain RAM, so nothing copied ever needs a second implementation).
 * X(KIND, "what it is") */
#pragma once
#define OP_KINDS(X) \
  X(COPY, "runs as itself; register numbers and the ModRM memory operand are rewritten") \
  X(LEA, "address arithmetic, no access") \
  X(NOP, "does nothing (NOP, hints, PREFETCHh)") \
  X(UD, "architecturally undefined or not offered by any CPUID model: #UD") \
  X(TODO, "not done yet: #UD; no CPUID model may advertise it") \
  X(INCDEC_REG, "40h-4Fh INC/DEC r (REX bytes in 64-bit code)") \
  X(MOV_MOFFS, "A0h-A3h MOV with an absolute offset") \
  X(XLAT, "XLATB") \
  X(BT_MEM, "BT/BTS/BTR/BTC m,r: the bit offset moves the address") \
  X(BCD, "DAA DAS AAA AAS AAM AAD SALC") \
  X(PUSH_REG, "") \
  X(PUSH_IMM, "") \
  X(PUSH_MEM, "") \
  X(POP_REG, "") \
  X(POP_MEM, "") \
  X(PUSHA, "") \
  X(POPA, "") \
  X(PUSHF, "") \
  X(POPF, "") \
  X(ENTER, "") \
  X(LEAVE, "") \
  X(PUSH_SEG, "") \
  X(POP_SEG, "") \
  X(MOV_FROM_SEG, "MOV Ev,Sw") \
  X(MOV_TO_SEG, "MOV Sw,Ew") \
  X(LOAD_FAR, "LDS LES LFS LGS LSS") \
  X(JCC, "") \
  X(JMP_REL, "") \
  X(JMP_IND, "FF /4") \
  X(JMP_FAR_IMM, "EA") \
  X(JMP_FAR_MEM, "FF /5") \
  X(CALL_REL, "") \
  X(CALL_IND, "FF /2") \
  X(CALL_FAR_IMM, "9A") \
  X(CALL_FAR_MEM, "FF /3") \
  X(RET, "C3, C2 iw") \
  X(RETF, "CB, CA iw") \
  X(IRET, "") \
  X(LOOP, "E2") \
  X(LOOPE, "E1") \
  X(LOOPNE, "E0") \
  X(JCXZ, "E3") \
  X(INT, "CD ib") \
  X(INT3, "CC") \
  X(INTO, "CE") \
  X(INT1, "F1") \
  X(BOUND, "62") \
  X(MOVS, "") \
  X(CMPS, "") \
  X(STOS, "") \
  X(LODS, "") \
  X(SCAS, "") \
  X(INS, "") \
  X(OUTS, "") \
  X(IN, "E4 E5 EC ED") \
  X(OUT, "E6 E7 EE EF") \
  X(CLI, "") \
  X(STI, "") \
  X(HLT, "") \
  X(ARPL, "63") \
  X(LAR, "") \
  X(LSL, "") \
  X(VERR, "") \
  X(VERW, "") \
  X(LGDT, "") \
  X(LIDT, "") \
  X(SGDT, "") \
  X(SIDT, "") \
  X(LLDT, "") \
  X(LTR, "") \
  X(SLDT, "") \
  X(STR, "") \
  X(LMSW, "") \
  X(SMSW, "") \
  X(CLTS, "") \
  X(MOV_FROM_CR, "") \
  X(MOV_TO_CR, "") \
  X(MOV_FROM_DR, "") \
  X(MOV_TO_DR, "") \
  X(INVLPG, "") \
  X(INVD, "INVD and WBINVD") \
  X(CLFLUSH, "CLFLUSH m8") \
  X(RDMSR, "") \
  X(WRMSR, "") \
  X(RDPMC, "") \
  X(CPUID, "") \
  X(RDTSC, "") \
  X(RDTSCP, "") \
  X(SYSENTER, "") \
  X(SYSEXIT, "") \
  X(FXSAVE, "") \
  X(FXRSTOR, "") \
  X(FNSTENV, "") \
  X(FLDENV, "") \
  X(FNSAVE, "") \
  X(FRSTOR, "") \
  X(FPU_MODE, "FNINIT and FNCLEX: also reset the vCPU's own x87 pointers") \
  X(MASKMOV, "MASKMOVQ MASKMOVDQU: implicit store at seg:[eDI]")

enum op_kind {
#define OP_KIND_ENUM(kind, help) OP_##kind,
  OP_KINDS(OP_KIND_ENUM) OP_KIND_COUNT
};
#undef OP_KIND_ENUM
