/* Facts of instructions (facts.h), by insn_decode(). Rows ask for more than it says of undefined encodings, which QEMU does not
 * find undefined, or not before it has accessed their operand: LOCK is left away, and what is undefined behind its ModRM byte has
 * the operand that a MOV with the same byte has. */
#include <string.h>
#include "facts.h"
#include "../../../translator/insn.h"

enum { NOP = 0x90, LOCK = 0xf0, MOV_LOAD = 0x8b, ESCAPE = 0x0f, MOST = 15 };

static enum insn_error decode(struct insn *insn, const uint8_t *bytes, bool code32) {
  return insn_decode(insn, bytes, MOST, (struct insn_mode){code32, ~(uint64_t)0});
}

static bool is_prefix(uint8_t byte) {
  static const uint8_t prefixes[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, LOCK, 0xf2, 0xf3};
  return memchr(prefixes, byte, sizeof prefixes) != NULL;
}

/* Copies MOST bytes without LOCK. Returns how many bytes of prefixes there are, among them `*locks` of LOCK. */
static unsigned copy_without_lock(uint8_t copy[MOST], const uint8_t *bytes, unsigned *locks) {
  unsigned prefixes = 0, used = 0;
  for (; prefixes < MOST && is_prefix(bytes[prefixes]); prefixes++)
    if (bytes[prefixes] != LOCK) copy[used++] = bytes[prefixes];
  *locks = prefixes - used;
  memcpy(copy + used, bytes + prefixes, MOST - used);
  return prefixes;
}

/* The operand of an undefined encoding, and its length without an immediate. `prefixes`: bytes of them in `bytes`. */
static void find_operand(struct insn *insn, const uint8_t *bytes, unsigned prefixes, bool code32) {
  uint8_t load[2 * MOST];
  memcpy(load, bytes, prefixes);
  load[prefixes] = MOV_LOAD;
  memcpy(load + prefixes + 1, bytes + insn->modrm_offset, MOST - insn->modrm_offset);
  struct insn mov;
  if (decode(&mov, load, code32) != INSN_OK) return;
  insn->base = mov.base, insn->index = mov.index, insn->scale = mov.scale, insn->disp = mov.disp;
  insn->length = (uint8_t)(insn->modrm_offset + mov.length - (prefixes + 1));
}

static void describe(struct instruction_facts *f, const uint8_t *bytes, bool code32) {
  uint8_t copy[MOST];
  unsigned locks, prefixes = copy_without_lock(copy, bytes, &locks);
  struct insn insn;
  decode(&insn, copy, code32);
  if (insn.modrm_offset && insn.mod != 3 && !insn.has_ea) find_operand(&insn, copy, prefixes - locks, code32);
  const uint8_t *opcode = bytes + (prefixes < MOST ? prefixes : 0);
  *f = (struct instruction_facts){
    .opcode = *opcode == ESCAPE ? (uint16_t)(ESCAPE << 8 | opcode[1]) : *opcode,
    .length = (uint8_t)(insn.length ? insn.length + locks : 0),
    .prefixes = (uint8_t)prefixes,
    .mod = insn.modrm_offset ? insn.mod : 3,
    .reg = insn.reg,
    .rm = insn.rm,
    .access = insn.modrm_offset && insn.has_mem ? insn.access : ACCESS_NONE,
    .base = insn.base,
    .index = insn.index,
    .scale = insn.scale,
    .address = insn.address_size,
    .displacement = (uint32_t)insn.disp,
    .immediate = insn.imm,
    .relative = insn.rel,
  };
}

void facts_of_code(struct instruction_facts *facts, const uint8_t code[CODE_SIZE]) {
  uint8_t padded[CODE_SIZE + 2 * MOST]; /* an opcode may lie behind MOST bytes of prefixes */
  memcpy(padded, code, CODE_SIZE);
  memset(padded + CODE_SIZE, NOP, 2 * MOST);
  for (unsigned at = 0; at < CODE_SIZE; at++)
    for (unsigned code32 = 0; code32 < 2; code32++) describe(facts++, padded + at, code32);
}
