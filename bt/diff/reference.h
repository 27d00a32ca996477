/* The reference of `bt diff`: another emulator that runs the same guest, seen as a stream of events in the guest's program order.
 *
 * reference.c: which one. child.c: another process. QEMU: qemu_reference.c (events), qemu_process.c (the process and its
 * monitors), qemu_log.c (text of its log -> events), qemu_capture.c (state at the start). Bochs: bochs_reference.c (events),
 * bochs_process.c (the process), bochs_text.c (what its debugger prints), bochs_start.c (bringing it to the start). One thread
 * uses a reference; nothing is file-static. Addresses are the guest's; the RAM pointer is the host's. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ref_segment {
  uint16_t selector, attr; /* attr as struct tr_segment's: descriptor bits 40-55 less the limit */
  uint32_t base, limit;    /* limit in bytes */
};

struct ref_cpu {
  uint32_t gpr[8];           /* by REG_* */
  uint32_t eip, eflags;      /* eip: offset in CS */
  struct ref_segment seg[6]; /* by SEG_* */
  struct ref_segment ldt, tr;
  struct {
    uint32_t base, limit;
  } gdt, idt;
  uint32_t cr0, cr2, cr3, cr4, dr[8]; /* dr 0-3, 6, 7 */
  uint64_t efer;
  uint8_t cpl;
  bool inhibit_irq; /* shadow of STI or MOV SS */
  bool halted, a20;
  bool has_fp;     /* fx is there: only at the start, in REF_STOPPED, and with ref_options.fp in every block */
  uint8_t fx[512]; /* FXSAVE image, 32-bit layout; FIP, FDP, FOP are zero where the reference does not say */
};

struct ref_insn {
  uint32_t linear;
  uint8_t length, bytes[15];
};                 /* bytes as the reference's in_asm shows them */
struct ref_insns { /* the instructions of a block, as the reference translated it; lives as long as the reference */
  unsigned count;
  struct ref_insn insn[];
};

enum ref_kind {
  REF_BLOCK, /* a block is about to run: `cpu` before it, `insns`. Only blocks that did run (one that was announced and then
              * abandoned before its first instruction, "Stopped execution of TB chain", is left out). A block may end early: by
              * an exception (next event), or because the reference went on with a block of one instruction (`single`) at one of
              * its later addresses */
  /* raised in the block before (also INT n, INT3, INTO: software) and delivered; `cpu` at it, EIP as it will be pushed */
  REF_EXCEPTION,
  /* external interrupt or NMI (vector 2) delivered at the boundary after the block before; `cpu` at it (EIP as it will be
   * pushed) */
  REF_INTERRUPT,
  /* port or MMIO read of the block before, in order; as the device saw it (size may be a part of the access, or more) */
  REF_READ,
  REF_WRITE,   /* likewise */
  REF_STOPPED, /* after ref_pause(): the last block has run, `cpu` (with FP) is the state behind it */
  /* the guest ended: power-off, reset under -no-reboot, debug exit; `status` of the process, `text` says what is known */
  REF_END,
  REF_ERROR, /* the reference cannot go on (died, log not understood...): `text` */
};

enum { REF_TEXT = 560 }; /* why a reference cannot go on, and the last words of its program */
struct ref_event {
  enum ref_kind kind;
  struct ref_cpu cpu;
  const struct ref_insns *insns;
  bool single;              /* BLOCK: the reference limited it to one instruction */
  uint8_t vector;           /* EXCEPTION, INTERRUPT */
  bool software, has_error; /* software: cpu.eip is that of the INT instruction itself */
  bool failed;              /* EXCEPTION, INTERRUPT: its delivery raised the exception that is the next event */
  bool no_cpu; /* EXCEPTION, INTERRUPT: `cpu` is not known (real mode: the log has no registers, and does not show INT n at all).
                * BLOCK: nothing but CS:EIP is known (Bochs, right behind an interrupt) */
  uint32_t error; /* EXCEPTION; CR2 of a page fault is in cpu.cr2 */
  bool port;      /* READ, WRITE: a port, else MMIO */
  uint64_t address, value;
  unsigned size;
  char device[24]; /* the reference's name for what answered */
  int status;      /* END */
  char text[REF_TEXT];
};

struct ref_cpuid {
  uint32_t leaf, subleaf, eax, ebx, ecx, edx;
};
struct ref_msr {
  uint32_t number;
  uint64_t value;
};

struct ref_start { /* the machine at the start */
  struct ref_cpu cpu;
  struct ref_msr msrs[64]; /* those that the reference knows: SYSENTER_*, PAT, MTRRs, MISC_ENABLE, APIC_BASE, TSC... */
  unsigned msr_count;
  struct ref_cpuid cpuid[64]; /* every leaf (and subleaf of 4, 7, 0Bh, 0Dh...) that the guest could ask for */
  unsigned cpuid_count;
  uint8_t upper[0x60000];    /* A0000-FFFFF as the CPU reads it: video memory, ROMs, shadow RAM */
  bool video_is_ram;         /* A0000-BFFFF: no adapter, and the chipset shows the RAM behind it */
  bool ignores_unknown_msrs; /* RDMSR of what is not there reads 0, WRMSR does nothing; else #GP(0) */
  uint64_t blocks_before;    /* 0 if unknown: how far the start is into the run */
};

enum ref_emulator { REF_QEMU, REF_BOCHS };

/* the machine at the kernel's entry, for a reference that cannot load kernels: 32-bit protected mode, flat, no paging */
struct ref_boot {
  const uint8_t *ram; /* ram_size bytes, physical 0 onwards */
  uint32_t eip, eax, ebx, esi, esp;
  uint16_t exit_port, exit_size; /* of isa-debug-exit, which such a reference does not have; size 0: none */
};

enum ref_from { REF_FROM_RESET, REF_FROM_ADDRESS, REF_FROM_RING3 };

struct ref_options {
  enum ref_emulator emulator;
  struct ref_boot boot; /* Bochs */
  const char *program;  /* qemu-system-i386, bochs, or a path */
  /* the machine: -m, -kernel, ..., NULL at the end; no -d, -D, -accel, -icount, -cpu, -display, -serial */
  const char *const *arguments;
  const char *cpu; /* for -cpu */
  uint64_t ram_size;
  unsigned icount_shift; /* QEMU: an instruction takes 2^N ns */
  enum ref_from from;
  uint32_t address;     /* REF_FROM_ADDRESS: linear */
  bool one_insn;        /* every block is one instruction */
  bool fp;              /* x87 and SSE registers in every block */
  bool mmio_writes;     /* REF_WRITE events are wanted */
  const char *keep_log; /* a copy of the raw log goes here; NULL: none */
};

struct reference;
/* Starts it and runs it to the start. NULL: error says why, in one line. `start` is filled. From then on events flow. */
struct reference *ref_open(const struct ref_options *options, struct ref_start *start, char *error, size_t error_size);
/* The next event; waits for it. After REF_END or REF_ERROR the same comes again. */
void ref_next(struct reference *r, struct ref_event *event);
/* Asks for a pause; REF_STOPPED comes some (thousands of) events later. RAM then stands still until ref_resume(). */
void ref_pause(struct reference *r);
void ref_resume(struct reference *r);
/* Guest RAM from guest physical address 0, ram_size bytes, read-only: only looked at at the start (before the first ref_next())
 * and between REF_STOPPED and ref_resume(). QEMU's is shared with its process; Bochs' is a copy, and A0000-FFFFF of it mean
 * nothing. */
const uint8_t *ref_ram(const struct reference *r);
/* The reference's version line, for reports. */
const char *ref_version(const struct reference *r);
/* QEMU's -cpu for a model of bt's with the features that bt has (static text). */
const char *ref_qemu_cpu(const char *bt_model);
/* Bochs' model that is nearest to one of bt's, and bt's less what that does not have (static text). */
const char *ref_bochs_cpu(const char *bt_model, const char **less);
void ref_close(struct reference *r); /* ends the process; NULL is fine */
