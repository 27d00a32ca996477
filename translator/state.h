/* The part of the vCPU that translated code reads and writes, at [R13 + offset]. The monitor embeds it as the first
 * member of struct vcpu. Offsets used by emitted code come from offsetof() alone. */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct tr_segment {
  uint32_t base;  /* linear */
  uint32_t limit; /* last valid offset of an expand-up segment, in bytes (granularity applied) */
  uint16_t selector;
  uint16_t attr;   /* descriptor bits 40-55 less the limit: type 0-3, S 4, DPL 5-6, P 7, AVL 12, L 13, D/B 14, G 15 */
  uint32_t usable; /* 0: a null selector was loaded (or the descriptor is not present) */
};

/* One entry of the indirect-branch hash, indexed by the low 16 bits of the target's EIP: the code for
 * key = fetch entry of the target's page + EIP + mode_key + cs_key, stored negated so that LEA + JRCXZ can compare without flags.
 * cs_key is the selector with its bytes swapped, in the upper half, where CS is a TR_SEG_REAL, whose EIPs have 16 bits; else
 * zero. The fetch entry in the key makes an entry die by itself when its page is mapped elsewhere. The table lies right below
 * struct tr_state, at a constant negative distance from R13. */
struct tr_hash_entry {
  uint64_t negated_key;
  const void *code;
};
enum { TR_HASH_ENTRIES = 1 << 16, TR_HASH_OFFSET = -(TR_HASH_ENTRIES * 16) };
static inline unsigned tr_hash_index(uint32_t eip) { return eip & (TR_HASH_ENTRIES - 1); }

enum {
  TR_STACK_BYTES = 64 << 10
}; /* of translated code's own stack, up to the address at its bottom; below it nothing is mapped */

/* Emitted code reaches the first 128 bytes by displacements of one: what every access uses is there. */
struct tr_state {
  uint32_t gpr[8];      /* by REG_*; valid while C code runs, live in host registers in translated code */
  uint32_t eip;         /* offset in CS; valid while C code runs */
  uint32_t flags;       /* OSZAPC and DF; valid while C code runs */
  uint32_t if_flag;     /* FLAG_IF or 0: the virtual interrupt flag */
  uint32_t sys_flags;   /* every other EFLAGS bit: TF IOPL NT RF VM AC VIF VIP ID and the constant bit 1 */
  uint32_t irq_pending; /* FLAG_IF or 0: an interrupt waits for IF */
  uint32_t cs_key;      /* as mode_key; apart, since far transfers store it inline and what was just stored is loaded whole */
  uint64_t table;       /* R14: host address of the current shadow table's read array */
  /* R12: readable while nothing is asked for, in an unreadable page when something is; & 31 == 12 (SHRX count) */
  uint64_t safepoint;
  int32_t refill_budget;      /* refills of kept addends until a block that refills is taken to do so too often */
  uint32_t tsc_aux;           /* IA32_TSC_AUX, for RDTSCP */
  struct tr_hash_entry *hash; /* the same table for C code */
  uint64_t mode_key;          /* added to (fetch entry + eip) to make a hash key */
  uint64_t tsc_offset;        /* guest TSC = host TSC + this, where they run at one rate */
  int64_t insns_left;         /* -icount: instructions until the next deadline */
  uint64_t stack_page;        /* linear address of the stack page that host_page belongs to, or 1 << 40 */
  uint64_t stack_host;
  uint64_t monitor_rsp; /* where the exit stub puts the monitor's stack */
  /* Translated code's own stack, of host return addresses: where it is now, and its bottom, at which lies the address of
   * tr_stubs.underflow */
  uint64_t code_rsp, code_stack;
  uint64_t scratch[4];
  uint64_t windows[2];  /* R10 and R11, kept over a slow access that resumes */
  uint64_t exit_linear; /* slow access: the linear address that missed */
  uint64_t site;        /* of the last exit from translated code, sign-extended from 32 bits */
  struct tr_segment seg[6];
  /* descriptor in GDT memory that seg[] was loaded from; 0: look it up. Only of DPL 3, which any CPL may load, or at CPL 0 */
  uint64_t seg_raw[6];
  uint64_t gdt_host; /* host address of the GDT's first page's part; 0: ask */
  uint64_t ivt_host; /* host address of real mode's interrupt vector table, which lies in one page; 0: ask */
};
_Static_assert(offsetof(struct tr_state, stack_host) < 128, "of each push and pop");
