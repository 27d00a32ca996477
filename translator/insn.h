/* A decoded guest instruction: Zydis' raw parse joined with our opcode row. Pure: bytes in, value out. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "op_kinds.h"

enum { REG_EAX, REG_ECX, REG_EDX, REG_EBX, REG_ESP, REG_EBP, REG_ESI, REG_EDI, REG_NONE = 0xff };
enum { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_NONE = 0xff }; /* the order of the Sreg field */

/* EFLAGS bits, Intel SDM vol. 1, 3.4.3. */
enum {
  FLAG_CF = 1 << 0,
  FLAG_PF = 1 << 2,
  FLAG_AF = 1 << 4,
  FLAG_ZF = 1 << 6,
  FLAG_SF = 1 << 7,
  FLAG_TF = 1 << 8,
  FLAG_IF = 1 << 9,
  FLAG_DF = 1 << 10,
  FLAG_OF = 1 << 11,
  FLAG_IOPL = 3 << 12,
  FLAG_NT = 1 << 14,
  FLAG_RF = 1 << 16,
  FLAG_VM = 1 << 17,
  FLAG_AC = 1 << 18,
  FLAG_VIF = 1 << 19,
  FLAG_VIP = 1 << 20,
  FLAG_ID = 1 << 21,
  FLAGS_ARITH = FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF,
};

/* One opcode, one row. opcodes.c holds them all, in the order of the manual's opcode maps (SDM vol. 2, appendix A).
 * Obligations for whoever adds a row: docs/hacking.md. */
struct opcode_row {
  uint8_t map; /* 0: one byte, 1: 0Fh, 2: 0F38h, 3: 0F3Ah */
  uint8_t opcode;
  int8_t reg;     /* ModRM.reg it is restricted to, or -1 */
  int8_t mod3;    /* 1: only ModRM.mod = 3, 0: only memory, -1: both */
  int8_t rm;      /* with mod3: ModRM.rm it is restricted to (x87), or -1 */
  uint8_t prefix; /* mandatory prefix: 0 none/any, 0x66, 0xF2, 0xF3, 1 meaning "none of them", or 2 "neither F2 nor F3" */
  const char *mnemonic;
  uint8_t operands[4];      /* enum operand of opcodes.h: the manual's notation, Eb Gv Iz ... */
  uint8_t kind;             /* enum op_kind */
  uint8_t access;           /* of the ModRM memory operand: 0 none, ACCESS_R, ACCESS_W, ACCESS_RW */
  uint8_t lock;             /* 1: a LOCK prefix is allowed on its memory form */
  uint8_t fpu;              /* enum fpu_need: which CR0/CR4 bits make it #NM or #UD */
  uint8_t feature;          /* enum cpu_feature that CPUID must advertise, else #UD; 0: every model */
  uint16_t flags_read;      /* arithmetic flags and DF */
  uint16_t flags_written;   /* set, cleared or modified */
  uint16_t flags_undefined; /* disjoint from flags_written: left with no architectural value, so the old one is gone as well */
  /* Below: what the manual's operand columns do not say. */
  uint8_t dest;   /* ACCESS_* of operands[0], register or memory */
  uint8_t second; /* ACCESS_* of operands[1] where it is more than read (XCHG, XADD), else 0; later operands are read */
  uint8_t regs_read, regs_written; /* implicit registers, a bit per REG_* */
  uint8_t count;                   /* enum shift_count of opcodes.h */
  uint8_t modrm;                   /* 1: a ModRM byte follows the opcode */
  uint8_t size_form;               /* enum size_form of opcodes.h: how prefixes decide the operand size */
  uint8_t does : 4;                /* enum row_does */
  uint8_t alias : 2;               /* enum row_alias */
  uint8_t quiet : 1;               /* 1: an x87 instruction that reports no exception that is pending (SDM vol. 1, 8.7.1) */
  uint8_t aligned : 1;             /* 1: its alignment is checked whatever MXCSR.MM says (APM vol. 1, 4.3.2) */
};
/* What the planner, the emitter or the monitor wants to know of some opcodes, whose kind does not say it. */
enum row_does {
  DOES_ANYTHING,
  DOES_MOV,     /* between registers and memory, or an immediate by ModRM */
  DOES_MOV_IMM, /* to the register that the opcode names */
  DOES_ADD_IMM, /* in group 80h-83h */
  DOES_SUB_IMM,
  DOES_XOR,
  DOES_INC, /* of the register that the opcode names */
  DOES_DEC,
  DOES_DIVIDE, /* #DE */
  DOES_CLD,
  DOES_STD,
};
/* Encodings that not every 64-bit host has; a copy is written as what they are an alias of. */
enum row_alias { ALIAS_NONE, ALIAS_OF_80 /* 82h */, ALIAS_OF_REG_0 /* ModRM.reg 1 */ };
enum { ACCESS_NONE, ACCESS_R = 1, ACCESS_W = 2, ACCESS_RW = 3 };
enum fpu_need {
  FPU_NONE,
  FPU_X87,    /* #NM if CR0.EM or CR0.TS */
  FPU_WAIT,   /* 9Bh: #NM if CR0.MP and CR0.TS */
  FPU_MMX,    /* #UD if CR0.EM, #NM if CR0.TS */
  FPU_SSE,    /* #UD if CR0.EM or not CR4.OSFXSR, #NM if CR0.TS */
  FPU_FXSAVE, /* #NM if CR0.EM or CR0.TS; no CR4.OSFXSR needed */
};
/* X(NAME, "QEMU's feature name") - what a CPUID model can leave out and a row can require */
#define CPU_FEATURES(X) \
  X(ALWAYS, "") \
  X(FPU, "fpu") \
  X(VME, "vme") \
  X(DE, "de") \
  X(PSE, "pse") \
  X(TSC, "tsc") \
  X(MSR, "msr") \
  X(PAE, "pae") \
  X(CX8, "cx8") \
  X(APIC, "apic") \
  X(SEP, "sep") \
  X(MTRR, "mtrr") \
  X(PGE, "pge") \
  X(CMOV, "cmov") \
  X(PAT, "pat") \
  X(PSE36, "pse36") \
  X(CLFLUSH, "clflush") \
  X(MMX, "mmx") \
  X(FXSR, "fxsr") \
  X(SSE, "sse") \
  X(SSE2, "sse2") \
  X(SSE3, "sse3") \
  X(SSSE3, "ssse3") \
  X(SSE41, "sse4.1") \
  X(SSE42, "sse4.2") \
  X(MOVBE, "movbe") \
  X(POPCNT, "popcnt") \
  X(NX, "nx") \
  X(RDTSCP, "rdtscp") \
  X(LAHF, "lahf_lm") \
  X(CPUID, "cpuid") \
  X(I486, "i486") \
  X(NOPL, "nopl")
enum cpu_feature {
#define CPU_FEATURE_ENUM(name, text) FEAT_##name,
  CPU_FEATURES(CPU_FEATURE_ENUM) FEAT_COUNT
};
#undef CPU_FEATURE_ENUM

/* What a decode depends on, besides the bytes. */
struct insn_mode {
  bool code32;       /* CS.D */
  uint64_t features; /* bit per enum cpu_feature */
};

struct insn {
  const struct opcode_row *row; /* never NULL after insn_decode() returned 0 */
  uint8_t bytes[15], length;
  uint8_t opcode_offset; /* of the opcode byte itself (after prefixes and 0F/0F38/0F3A escapes) in bytes[] */
  uint8_t modrm_offset;  /* 0 when there is no ModRM */
  uint8_t imm_offset;    /* 0 when there is no immediate */
  uint8_t imm_size;      /* bytes of all immediates */
  uint8_t kind;          /* enum op_kind: row->kind, or OP_UD when a prefix, feature or LOCK rule forbids it */
  /* 2 or 4: the effective operand size; 1 for byte forms; 4 where there is none (66h means nothing, or is part of the opcode) */
  uint8_t operand_size;
  uint8_t address_size; /* 2 or 4 */
  uint8_t rep;          /* 0, 0xF3 or 0xF2, for string instructions only */
  bool lock;
  uint8_t mandatory;    /* 0, 0x66, 0xF2, 0xF3: the prefix that is part of the opcode */
  uint8_t mod, reg, rm; /* ModRM fields */
  /* memory operand (ModRM, moffs, or the implicit one of XLAT and MASKMOV); has_mem false for LEA too */
  bool has_mem; /* accesses memory through seg:ea */
  bool has_ea;  /* has_mem, or LEA/INVLPG/NOP Ev: base.. are filled in */
  uint8_t seg;  /* effective segment, override and SS default applied; for strings: the source segment, ES if there is none */
  uint8_t base, index; /* REG_*; 16-bit forms use EBX/EBP and ESI/EDI, taken modulo 64 KiB; XLAT's AL is not an index here */
  uint8_t scale;       /* log2 */
  uint8_t access;      /* ACCESS_* of the memory operand */
  int32_t disp;
  uint16_t mem_size; /* bytes of the memory operand: 1 2 4 6 8 10 14 16 28 94 108 512 */
  uint16_t imm2;     /* selector of ptr16:16/32, nesting level of ENTER */
  uint32_t imm;      /* first immediate, sign-extended to the operand size (no further) as the opcode says; moffs is in disp */
  int32_t rel;       /* branch displacement, sign-extended */
  uint8_t operand_reg[2]; /* the general register that is the row's operand 0, 1, by REG_* (AH is EAX); REG_NONE: none */
  /* whole-register sets, a bit per REG_*; implicit operands (string counters, ESP of pushes, EDX:EAX...) included. A register
   * that is written in part or on a condition is in both sets. */
  uint8_t regs_read, regs_written;
  uint16_t flags_read, flags_written, flags_undefined; /* row's, refined by count-zero shifts, REP and so on */
  uint8_t sreg; /* segment register operand (PUSH and POP Sreg, MOV; LDS and its like load it), or SEG_NONE */
};

enum insn_error { INSN_OK, INSN_TOO_SHORT /* needs more bytes than given */, INSN_TOO_LONG /* over 15 bytes: #GP(0) */ };

/* Decodes one instruction of at most `len` bytes. Undefined encodings decode to a row of kind OP_UD with the length that
 * is needed to know so. Never reads past `len`. Never fails otherwise. */
enum insn_error insn_decode(struct insn *out, const uint8_t *bytes, unsigned len, struct insn_mode mode);

/* The memory operand raises #GP(0) when it is not 16-byte aligned (SDM vol. 2, 2.4: exception types 1, 2 and 4; FXSAVE,
 * FXRSTOR). */
bool insn_requires_alignment(const struct insn *insn);

/* It reports an x87 exception that is pending before anything else. FNSTCW and FNSTSW do not wait; the others of that kind have
 * no memory operand. */
bool insn_waits(const struct insn *insn);
static inline unsigned insn_opcode(const struct insn *insn) { return insn->bytes[insn->opcode_offset]; }
/* Jcc, SETcc, CMOVcc: the condition, CC_* of the host, too (SDM vol. 2, appendix B.1.4.7). */
static inline unsigned insn_condition(const struct insn *insn) { return insn_opcode(insn) & 15; }

/* enum op_kind of the one-byte opcodes and those behind 0Fh, for those that have one row. Prefixes are OP_COPY. */
extern const uint8_t op_kind_of_opcode[2][256];
/* All rows, for tests and for documentation. */
const struct opcode_row *insn_rows(unsigned *count);
const char *op_kind_name(enum op_kind kind);
