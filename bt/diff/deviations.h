/* Where a reference or the manual leave room: differences that `bt diff` explains, counts and goes on after. Anything else is a
 * divergence. X(name, against which reference it is explained: QEMU, BOCHS or ANY, what differs, why, where the manual says
 * so) */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include "../../translator/insn.h"
#include "reference.h"

#define DEVIATIONS(X) \
  X(undefined_flags, ANY, "arithmetic flags that an instruction leaves undefined (counted by instruction below)", \
    "each CPU leaves its own; bt's are the host's. They are made equal after they were counted", \
    "vol. 2, \"Flags Affected\" of the instruction") \
  X(cmpxchg8b_flags, QEMU, "arithmetic flags but ZF after CMPXCHG8B", \
    "QEMU 7.2 takes them from before the last instruction that wrote flags; made equal after they were counted", \
    "vol. 2, CMPXCHG8B, \"Flags Affected\"") \
  X(accessed_late, ANY, "bit 5 (accessed) of a paging-structure entry", \
    "a TLB may keep an entry whose bit was cleared; each side sets it at its next walk", "vol. 3A, 4.10.2.2 and 4.8") \
  X(accessed_early, QEMU, \
    "bit 5 (accessed) of the entries of a page that an instruction would read and write but may not " \
    "write", \
    "QEMU reads the operand, which marks them, before it finds that it may not be written; bt's entries are then marked, too", \
    "vol. 3A, 4.8") \
  X(dirty_late, ANY, "bit 6 (dirty) of a page-table entry, likewise", "as accessed_late", "vol. 3A, 4.8") \
  X(segment_accessed, ANY, "bit 0 of a segment's cached type", \
    "whether the cached copy shows the accessed bit that the load has just set cannot be seen by software", "vol. 3A, 3.4.5.1") \
  X(descriptor_accessed, QEMU, "bit 8 (accessed) of a code segment's descriptor in memory", \
    "QEMU 7.2 does not set it for far transfers", "vol. 3A, 3.4.5.1") \
  X(gate_accessed, QEMU, "the same of the code segment that a gate leads to, and of the stack segment that the TSS names", \
    "QEMU 7.2 does not set it when it delivers interrupts and exceptions; bt's memory is then made equal", \
    "vol. 3A, 3.4.5.1 and 6.12.1") \
  X(breakpoint_after_ss, QEMU, "a code breakpoint on the instruction behind MOV SS or POP SS", \
    "QEMU 7.2 delivers it; Intel's CPUs, and bt on their models, go on as if RF were 1. bt's is then delivered, too", \
    "vol. 3A, 6.8.3") \
  X(reset_code, QEMU, "the type in CS's cached attributes between a reset and the first load of CS in protected mode", \
    "CPUs begin with a data segment's, and run it; QEMU 7.2 begins with a code segment's", "vol. 3A, table 9-1") \
  X(tr_busy, ANY, "bit 1 (busy) of the task register's cached type", \
    "LTR and a task switch mark the descriptor in memory; the cached copy cannot be seen by software", "vol. 3A, 7.2.4") \
  X(resume_flag, QEMU, "RF in the EFLAGS image that a fault pushes, and between instructions", \
    "QEMU 7.2 pushes it clear; bt's image is then made equal", "vol. 3B, 17.3.1.1") \
  X(resume_flag_gd, BOCHS, "RF in the EFLAGS image of the debug exception for DR7.GD", \
    "Bochs pushes it clear for all debug exceptions; bt's image is then made equal", "vol. 3B, 17.3.1.1") \
  X(null_segment, ANY, "base and limit behind a null selector", "not usable before the next load", "vol. 3A, 3.4.2") \
  X(fp_pointers, ANY, "FIP, FDP, FOP and their selectors", \
    "bt does not track them for copied x87 instructions (README, " \
    "quirks)", \
    "vol. 1, 8.1.8") \
  X(fxsave_reserved, QEMU, "the six bytes behind each x87 register in an FXSAVE image", \
    "reserved: CPUs write zeros, QEMU leaves what was there; bt's memory is then made equal", "vol. 1, 10.5.1") \
  X(unread_mmio, QEMU, "MMIO reads of which QEMU logs nothing", "nothing is at that address: 0 in QEMU", "-") \
  X(unknown_msrs, QEMU, "RDMSR and WRMSR of registers that bt lacks", \
    "QEMU reads 0 and ignores the write; bt without `diff` raises #GP(0)", "vol. 2, RDMSR") \
  X(selector_push, BOCHS, "the upper half of a doubleword to which PUSH wrote a selector", \
    "Bochs writes 16 bits only, as Atoms do; bt writes zeros above them. bt's memory is then made equal", "vol. 2, PUSH")
enum deviation {
#define DEVIATION_ENUM(name, who, what, why, where) DEV_##name,
  DEVIATIONS(DEVIATION_ENUM) DEV_COUNT
};
#undef DEVIATION_ENUM

struct deviations {
  enum ref_emulator reference;
  uint64_t hits[DEV_COUNT];
  struct {
    const struct opcode_row *row;
    uint32_t flags;
    uint64_t hits;
  } flags[64]; /* of undefined_flags, by instruction */
  unsigned flag_rows;
};
/* Of the row cmpxchg8b_flags? */
static inline bool deviation_is_cmpxchg8b(const struct opcode_row *row) {
  return row->map == 1 && row->opcode == 0xc7 && row->reg == 1;
}
/* A difference of this kind: true, and counted, where it is explained against d->reference. */
bool deviations_explain(struct deviations *d, enum deviation which);
/* A difference in `flags`, last left undefined by an instruction of `row`. */
void deviations_count_flags(struct deviations *d, const struct opcode_row *row, uint32_t flags);
/* All rows with their hits; those without too, when `all`. */
void deviations_print(const struct deviations *d, bool all, FILE *out);
