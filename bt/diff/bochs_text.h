/* What Bochs' debugger and its log print, line by line. Nothing here knows of the process; the guest cannot print into this
 * text. */
#pragma once
#include "qemu_text.h"
#include "reference.h"

enum bochs_word {
  BOCHS_OTHER,      /* nothing that is needed */
  BOCHS_INSN,       /* trace: an instruction is about to run (not when it cannot be fetched): `insn`, selector:eip */
  BOCHS_MEMORY,     /* trace-mem: an access by a linear address: `write`, physical, size, value (of at most 8 bytes) */
  BOCHS_EXCEPTION,  /* raised: vector, error; what is delivered is the next BOCHS_DELIVERY */
  BOCHS_PAGE_FAULT, /* `value`: its linear address; comes before the exception */
  BOCHS_DELIVERY,   /* begins to be delivered: vector, type */
  BOCHS_CPUID,      /* at reset: `cpuid` */
  BOCHS_RAM,        /* at the start: `value` is where its guest's RAM lies in its memory */
  BOCHS_RESET,      /* the guest's machine is reset */
  BOCHS_TRIPLE,     /* an exception without resolution */
  BOCHS_PANIC,      /* `text`: Bochs cannot or should not go on */
};
enum bochs_type {
  TYPE_EXTERNAL = 0,
  TYPE_NMI = 2,
  TYPE_EXCEPTION = 3,
  TYPE_SOFTWARE = 4 /* INT n */,
  TYPE_INT1 = 5,
  TYPE_TRAP = 6 /* INT3, INTO */
};

struct bochs_line {
  enum bochs_word word;
  struct ref_insn insn; /* linear is not known here */
  uint16_t selector;
  uint32_t eip;
  bool write;
  uint64_t physical, value;
  unsigned size;
  uint8_t vector, type;
  uint16_t error;
  struct ref_cpuid cpuid;
  struct line text;
};
void bochs_text_line(struct line line, struct bochs_line *out);

/* Registers from what `r`, `sreg`, `creg`, `dreg`, `fp` and `sse` print, in any order. A bit for each group that was there to its
 * last line. */
enum {
  BOCHS_GENERAL = 1,
  BOCHS_SEGMENTS = 2,
  BOCHS_CONTROL = 4,
  BOCHS_DEBUG = 8,
  BOCHS_FPU = 16,
  BOCHS_SSE = 32,
  BOCHS_SYSTEM = BOCHS_SEGMENTS | BOCHS_CONTROL | BOCHS_DEBUG
};
unsigned bochs_text_registers(const char *text, size_t size, struct ref_cpu *cpu);

/* MSRs from `show "cpu0.MSR"`. */
void bochs_text_msrs(const char *text, size_t size, struct ref_start *start);
