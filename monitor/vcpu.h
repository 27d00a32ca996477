/* The virtual CPU: architectural state (Intel SDM vol. 3A, chapter 2) and how the monitor's parts see it.
 *
 * Everything under monitor/ except clock.c is compiled -mgeneral-regs-only and calls nothing of libc, because the guest's
 * x87/SSE state may be live in the host's registers while it runs (D7). Code that needs libc or the FPU - devices, logging,
 * Zydis - is reached through vcpu_park_fp(), which saves that state once; the next entry to translated code restores it. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "../mmu/address.h"
#include "../translator/insn.h"
#include "../translator/state.h"

enum {
  CR0_PE = 1u << 0,
  CR0_MP = 1u << 1,
  CR0_EM = 1u << 2,
  CR0_TS = 1u << 3,
  CR0_ET = 1u << 4,
  CR0_NE = 1u << 5,
  CR0_WP = 1u << 16,
  CR0_AM = 1u << 18,
  CR0_NW = 1u << 29,
  CR0_CD = 1u << 30,
  CR0_PG = 1u << 31
};
enum {
  CR4_VME = 1u << 0,
  CR4_PVI = 1u << 1,
  CR4_TSD = 1u << 2,
  CR4_DE = 1u << 3,
  CR4_PSE = 1u << 4,
  CR4_PAE = 1u << 5,
  CR4_MCE = 1u << 6,
  CR4_PGE = 1u << 7,
  CR4_PCE = 1u << 8,
  CR4_OSFXSR = 1u << 9,
  CR4_OSXMMEXCPT = 1u << 10
};
enum { EFER_NXE = 1u << 11 };
enum vector {
  VEC_DE,
  VEC_DB,
  VEC_NMI,
  VEC_BP,
  VEC_OF,
  VEC_BR,
  VEC_UD,
  VEC_NM,
  VEC_DF,
  VEC_CSO,
  VEC_TS,
  VEC_NP,
  VEC_SS,
  VEC_GP,
  VEC_PF,
  VEC_MF = 16,
  VEC_AC,
  VEC_MC,
  VEC_XM
};

/* An architectural fault is a value: whoever finds one fills v->fault and returns EXEC_FAULT; only the run loop delivers. */
struct fault {
  uint8_t vector;
  bool has_error;
  uint32_t error;
  gla cr2;        /* VEC_PF: becomes CR2 at delivery */
  uint32_t dr6;   /* VEC_DB: bits to set in DR6 at delivery */
  bool trap;      /* reported after the instruction (v->s.eip is already the next one): #BP, #OF, trap #DB */
  bool software;  /* INT n, INT3, INTO: gate DPL is checked and RF is not set in the image */
  uint8_t length; /* software: of the instruction, so that a fault of its delivery is reported at it */
};
enum exec_result {
  EXEC_NEXT,  /* done: EIP is that of the next instruction */
  EXEC_FAULT, /* v->fault is to be delivered; nothing else has changed (but for REP iterations done and for traps) */
  EXEC_AGAIN, /* a REP instruction stopped after some iterations to let an interrupt in; EIP still at it */
  EXEC_HALT,  /* HLT: EIP after it */
  EXEC_PAUSE, /* done, and was a PAUSE that the run loop wants to know of */
  EXEC_STOP,  /* vm_stop() was called */
};

struct dtable {
  uint32_t base, limit;
};
struct sysseg {
  struct tr_segment seg;
}; /* LDTR, TR: attr.type tells 16/32 bit and busy */

/* FXSAVE image (SDM vol. 1, 10.5.1), legacy 32-bit layout on the guest's side. */
struct fp_image {
  uint8_t bytes[512];
} __attribute__((aligned(64)));

/* A CPUID model (cpuid.c). */
struct cpu_model {
  const char *name; /* QEMU's model name */
  char vendor[13];
  uint32_t signature; /* CPUID.1 EAX: family, model, stepping */
  uint32_t max_leaf, max_extended;
  uint64_t features; /* bit per enum cpu_feature */
  const char *brand;
};

/* Its vendor: AMD's CPUs differ in a few things that are no feature's. */
static inline bool cpu_model_is_amd(const struct cpu_model *model) { return model->vendor[0] == 'A'; }

/* What CPUID answers in place of the model (bt diff: what the other emulator answers). The first that fits EAX and ECX, else EAX
 * alone, else the highest basic leaf, as CPUs of Intel's do (SDM vol. 2, CPUID). */
struct cpuid_answer {
  uint32_t leaf, subleaf, eax, ebx, ecx, edx;
};

enum { MODEL_MSRS = 96 };

struct vcpu {
  struct tr_state s; /* first: R13 points here */
  uint8_t cpl;       /* 0 in real mode, 3 in V86 */
  bool mode_dirty;   /* set by whoever changes a segment, CPL, CR0, CR4, DR7 or a system flag: the block key must be made anew */
  /* shadow of MOV SS, POP SS, STI: no interrupt (and after MOV SS no #DB) before the next instruction is done */
  bool inhibit_irq;
  bool inhibit_db;
  bool halted;
  bool nmi_pending, nmi_blocked; /* blocked from NMI delivery to the next IRET */
  bool fp_live;                  /* the guest's x87/SSE state is in the host's registers, not in fp */
  bool tells_pauses;             /* PAUSE of real and V86 mode is EXEC_PAUSE */
  uint32_t outs;                 /* OUTs, but to the 8259s' first ports, for whoever wants to know whether there were any */
  /* Told of all that C code reads and writes for the guest, before it does (round.c): memory at `host`; NULL: a device, a port,
   * nothing at all, or a task switch. NULL: nobody. Translated code tells nobody. */
  void (*accessed)(struct vcpu *v, const uint8_t *host, unsigned size, bool write);
  void *accessed_opaque;
  /* The bytes of a page that are about to be stored, where code may be: blocks read from others of its granule live on. Size 0:
   * it is not known so exactly. */
  struct {
    uint16_t offset, size;
    bool by_insn; /* that is run for itself (slow.c), not as a part of a callout */
  } store;
  struct tr_segment ldt, tr;
  struct dtable gdt, idt;
  uint32_t cr0, cr2, cr3, cr4;
  uint64_t efer;
  uint32_t dr[8];      /* 0-3, 6, 7 used */
  uint32_t pending_db; /* DR6 bits of trap #DBs due after the current instruction */
  uint32_t sysenter_cs, sysenter_esp, sysenter_eip;
  uint64_t apic_base, pat, mtrr[32], misc_enable, ucode_rev;
  uint64_t model_msrs[MODEL_MSRS]; /* what the family's registers hold (msr_models.c) */
  struct fault fault;
  struct fp_image fp;      /* valid while !fp_live */
  uint32_t fp_fip, fp_fdp; /* guest's last x87 instruction and operand: never a host address (I4) */
  uint16_t fp_fcs, fp_fds, fp_fop;
  struct plain_ports { /* see monitor_set_plain_ports() */
    uint16_t base, count;
    bool (*write)(void *opaque, uint16_t port, unsigned size, uint32_t value);
    void *opaque;
  } plain_ports;
  const struct cpu_model *model;
  uint64_t features;                        /* model's, after -cpu MODEL,+x,-y: bit per enum cpu_feature */
  const struct cpuid_answer *cpuid_answers; /* `cpuid_count` of them, not owned; NULL: the model's */
  unsigned cpuid_count;
  bool unknown_msrs;     /* RDMSR of a register that does not exist reads 0 and WRMSR does nothing, as in QEMU; else #GP(0) */
  uint32_t tsc_ratio[2]; /* CPUID 15h: TSC ticks to ticks of the 1 GHz crystal clock; 0, 0: unknown */
  bool ferr;             /* x87 error line for CR0.NE = 0 (IRQ 13) */
  bool a20_masked;       /* the PC holds A20 low (port 92h, i8042): set by the machine, part of vcpu_paging_changed()'s mode */
  struct machine *machine;
  struct monitor *monitor; /* NULL in unit tests */
  struct mmu *mmu;
  struct mmu_cpu *mmu_cpu; /* what of it is this CPU's */
  /* a store of this instruction dropped or traced something: do not return into translated code; the run loop clears it */
  bool dropped;
};

/* EFLAGS as the guest would push it, and its inverse (all bits; no privilege rules applied). */
uint32_t vcpu_eflags(const struct vcpu *v);
void vcpu_set_eflags(struct vcpu *v, uint32_t eflags); /* sets mode_dirty when a system flag changed */
static inline bool vcpu_real_mode(const struct vcpu *v) { return !(v->cr0 & CR0_PE); }
static inline bool vcpu_v86(const struct vcpu *v) { return v->s.sys_flags & FLAG_VM; }
static inline bool vcpu_protected(const struct vcpu *v) { return (v->cr0 & CR0_PE) && !(v->s.sys_flags & FLAG_VM); }
static inline unsigned vcpu_iopl(const struct vcpu *v) { return v->s.sys_flags >> 12 & 3; }
/* The host's return addresses, which were pushed for this mode, table and fetch entries, are no good any more (D4). */
static inline void vcpu_forget_returns(struct vcpu *v) { v->s.code_rsp = v->s.code_stack; }
/* 0xffffffff for a 32-bit stack segment, 0xffff for a 16-bit one (SS.B). */
static inline uint32_t vcpu_stack_mask(const struct vcpu *v) { return v->s.seg[SEG_SS].attr & 1 << 14 ? 0xffffffffu : 0xffffu; }

void vcpu_reset(struct vcpu *v);     /* SDM vol. 3A, table 9-1 */
void vcpu_init(struct vcpu *v);      /* the same table, INIT */
void vcpu_park_fp(struct vcpu *v);   /* host FPU to the C ABI's state; guest's into v->fp. Idempotent, cheap when parked */
void vcpu_unpark_fp(struct vcpu *v); /* the inverse: the guest's state into the host's registers */
/* The parked state becomes that of a 64-bit FXSAVE image, or of its first `size` bytes, whose pointers are not the guest's. */
void vcpu_take_fp(struct vcpu *v, const uint8_t *image, size_t size);
/* v->fp, parked and from somewhere else (a saved state), becomes what FXRSTOR would have made of it: ES, B, reserved bits */
void vcpu_settle_fp(struct vcpu *v);
void vcpu_reset_fp(struct vcpu *v);   /* x87/SSE state after power-up (fpu.c); drops a live one */
int vcpu_mtrr_index(uint32_t msr);    /* of vcpu.mtrr; -1: that is none */
void vcpu_reset_msrs(struct vcpu *v); /* PAT, MTRRs, MISC_ENABLE, microcode revision, EFER... after power-up (msr.c) */
void vm_stop(struct vcpu *v, const char *reason); /* sticky: the first reason is kept; `reason` is a literal */

/* Where an offset lies in a segment, unchecked; 0: its base. */
static inline gla segment_linear(const struct tr_segment *s, uint32_t offset) { return gla_add(to_gla(s->base), offset); }
/* ... and in the GDT or IDT. */
static inline gla dtable_linear(const struct dtable *t, uint32_t offset) { return gla_add(to_gla(t->base), offset); }

/* Fills v->fault and returns EXEC_FAULT: inline, so that the compiler, too, knows that a caller's results are not looked at
 * then. */
void fault_fill(struct vcpu *v, enum vector vector, bool has_error, uint32_t error);
/* no error code */
static inline int fault_raise(struct vcpu *v, enum vector vector) { return fault_fill(v, vector, false, 0), EXEC_FAULT; }
static inline int fault_raise_error(struct vcpu *v, enum vector vector, uint32_t error) {
  return fault_fill(v, vector, true, error), EXEC_FAULT;
}
static inline int fault_raise_page(struct vcpu *v, gla linear, uint32_t error) {
  return fault_fill(v, VEC_PF, true, error), v->fault.cr2 = linear, EXEC_FAULT;
}

/* ---- guest memory from C (guestmem.c). All return EXEC_NEXT or EXEC_FAULT with v->fault filled; nothing is changed
 * on a fault (a write that crosses a page translates both halves first). MMIO is dispatched. ------------------- */
enum mem_priv {
  MEM_CPL /* as the current CPL */,
  MEM_SYSTEM /* implicit supervisor access: descriptor tables, TSS, stack switch */,
  MEM_USER
};
int mem_read(struct vcpu *v, gla linear, unsigned size, enum mem_priv priv, void *out); /* 1 <= size <= 512 */
int mem_write(struct vcpu *v, gla linear, unsigned size, enum mem_priv priv, const void *data);
int mem_probe_write(struct vcpu *v, gla linear, unsigned size, enum mem_priv priv); /* raises what the write would */
int mem_probe_read(struct vcpu *v, gla linear, unsigned size, enum mem_priv priv);
/* seg:offset, with type, limit and null checks (D5): #SS for SEG_SS, else #GP, error code 0; then as mem_*(MEM_CPL).
 * `write` probing included: seg_check only translates seg:offset to a linear address. */
int seg_check(struct vcpu *v, unsigned seg, uint32_t offset, unsigned size, bool write, gla *linear);
int seg_read(struct vcpu *v, unsigned seg, uint32_t offset, unsigned size, void *out);
int seg_write(struct vcpu *v, unsigned seg, uint32_t offset, unsigned size, const void *data);
int seg_probe_write(struct vcpu *v, unsigned seg, uint32_t offset, unsigned size);
/* Effective address of the memory operand: offset in insn->seg, truncated to the address size. */
uint32_t insn_offset(const struct vcpu *v, const struct insn *insn);

/* ---- the architecture in C ------------------------------------------------------------------------------------ */
/* Runs exactly one instruction of any kind but COPY, LEA, NOP. v->s.eip is its address on entry. */
int exec_insn(struct vcpu *v, const struct insn *insn); /* exec.c */
/* Delivers v->fault / an external interrupt / an NMI through the IDT (or IVT), nested faults and #DF included.
 * Returns EXEC_NEXT, or EXEC_STOP on a triple fault (machine_triple_fault() was called). */
int deliver_fault(struct vcpu *v); /* deliver.c */
int deliver_interrupt(struct vcpu *v, uint8_t vector);
int deliver_nmi(struct vcpu *v);

/* ---- what the monitor asks of the machine (implemented in bt/ or by a test's mock) ------------------------------ */
uint32_t machine_io_read(struct machine *m, uint16_t port, unsigned size);
void machine_io_write(struct machine *m, uint16_t port, unsigned size, uint32_t value);
void machine_triple_fault(struct machine *m); /* resets or powers off */
uint64_t machine_tsc(struct machine *m);
void machine_set_tsc(struct machine *m, uint64_t value);
uint64_t machine_apic_base(struct machine *m);
void machine_set_apic_base(struct machine *m, uint64_t value);
void machine_set_ferr(struct machine *m, bool level); /* x87 error to IRQ 13 */
/* Paging state changed (CR0, CR3, CR4, EFER): tells the MMU; returns EXEC_FAULT (#GP) for bad PDPTEs. */
int vcpu_paging_changed(struct vcpu *v);
/* A saved state was loaded: as vcpu_paging_changed(), but the PDPTE registers stay as the state has them (mmu_pdptes()). */
void vcpu_paging_loaded(struct vcpu *v);
/* The field table of struct vcpu, and what makes loaded values unfit for a CPU (NULL: nothing). fields.c. */
const struct field *vcpu_fields(void);
const char *vcpu_unfit(const struct vcpu *v);
