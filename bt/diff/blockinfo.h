/* What lock-step has to know of a block that the reference ran, decoded once: its instructions, flags that it leaves undefined,
 * and how it ends.
 *
 * The instructions are cut anew out of the block's bytes: QEMU 7.2's listing loses its step in blocks of more than 1 KiB. */
#pragma once
#include <stdbool.h>
#include "../../translator/insn.h"
#include "reference.h"

struct block_info {
  const struct ref_insns *key;
  struct ref_insns *insns;     /* cut anew; owned */
  uint16_t undefined, defined; /* arithmetic flags: left undefined by the last that wrote them; defined likewise */
  const struct opcode_row *undefined_by;
  bool rep;          /* the last is a string instruction with REP: the reference runs an iteration a block */
  bool rep_wide;     /* its counter is ECX, not CX */
  uint8_t rep_while; /* F3, F2: it compares, and goes on while ZF is 1, 0; else 0 */
  bool reads_tsc;    /* the last is RDTSC or RDTSCP */
  bool shows_msr;    /* what an RDMSR of it read stands in EDX:EAX behind it */
  bool branches;     /* the last may go on anywhere, the block's own instructions included */
  uint8_t last_kind; /* enum op_kind */
};

struct block_infos {
  struct block_info *slots;
  size_t count, capacity;
};
/* Of the block `key` in a 16- or 32-bit code segment on a CPU with `features`; valid to the next call. NULL: no memory. */
const struct block_info *block_info(struct block_infos *all, const struct ref_insns *key, struct insn_mode mode);
/* The flags' part for the first `count` instructions only. */
void block_info_flags(struct block_info *info, const struct ref_insns *insns, unsigned count, struct insn_mode mode);
void block_infos_free(struct block_infos *all);
