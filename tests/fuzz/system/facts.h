/* What `fuzz_system --facts` says of an instruction, for the rows of deviations/: bt's own decoder's word (translator/insn.h), in
 * a form that instructions.py takes from here (layout.py). */
#pragma once
#include <stdint.h>
#include "layout.h"

#define CODE_SIZE (SLOTS * SLOT_SIZE) /* what is asked for at once: a program's slots */

enum { NO_REGISTER = 0xff };

struct instruction_facts {
  uint16_t opcode;                     /* 0fxx in the maps behind 0Fh; where there are prefixes only, one of them */
  uint8_t length;                      /* 0: it is too long to be one */
  uint8_t prefixes;                    /* bytes */
  uint8_t mod, reg, rm;                /* mod is 3, too, where there is no ModRM byte, and where it does not count (MOV CR) */
  uint8_t access;                      /* to memory by ModRM: ACCESS_* of insn.h */
  uint8_t base, index, scale, address; /* of the operand that ModRM names: REG_* of insn.h; bytes of an address, 2 or 4 */
  uint32_t displacement;               /* likewise, or MOV's to and from an absolute offset */
  uint32_t immediate;                  /* the first one */
  int32_t relative;                    /* how far it jumps from its end, 0: it does not */
};

/* `facts`: 2 * CODE_SIZE of them, for each offset in the code first as 16-bit and then as 32-bit code. NOPs follow the code. */
void facts_of_code(struct instruction_facts *facts, const uint8_t code[CODE_SIZE]);
