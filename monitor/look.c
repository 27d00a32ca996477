/* Looking through code: see look.h. */
#include "look.h"
#include "../translator/insn.h"
#include <string.h>

/* What reads or loads selectors and the tables behind them, leaves by a gate, or is not offered by the CPU's model. (What faults
 * in user mode may run: it is asked for translated then.) */
static bool is_foreign(const struct look *l, const struct insn *insn) {
  if (!l->sse && insn->row->fpu == FPU_SSE) return true; /* CR4.OSFXSR is clear: #UD */
  switch (insn->kind) {
  case OP_UD: return !(insn->row->map == 1 && (insn->row->opcode == 0x0b || insn->row->opcode == 0xb9));
  case OP_CPUID: return !l->cpuid_faults;
  case OP_TODO:
  case OP_PUSH_SEG:
  case OP_POP_SEG:
  case OP_MOV_FROM_SEG:
  case OP_MOV_TO_SEG:
  case OP_LOAD_FAR:
  case OP_JMP_FAR_IMM:
  case OP_JMP_FAR_MEM:
  case OP_CALL_FAR_IMM:
  case OP_CALL_FAR_MEM:
  case OP_RETF:
  case OP_IRET:
  case OP_LAR:
  case OP_LSL:
  case OP_VERR:
  case OP_VERW:
  case OP_SGDT:
  case OP_SIDT:
  case OP_SLDT:
  case OP_STR:
  case OP_SMSW:
  case OP_SYSENTER:
  case OP_SYSEXIT: return true;
  case OP_COPY: { /* BSF and BSR with a prefix that makes them TZCNT and LZCNT on the host */
    if (insn->row->map != 1 || (insn->row->opcode | 1) != 0xbd) return false;
    for (unsigned i = 0; i < insn->opcode_offset; i++)
      if (insn->bytes[i] == 0xf3) return true;
    return false;
  }
  default: return false;
  }
}

/* Bytes between functions are tables, too: these kinds programs do not have. A selector that was loaded is seen at the next exit.
 */
static bool is_likely_data(const struct insn *insn) {
  return insn->kind != OP_CPUID && insn->kind != OP_SYSENTER && insn->kind != OP_MOV_FROM_SEG;
}

void look_from(struct look *l, uint32_t offset) {
  if (offset >= LOOK_PAGE || (l->seen[offset / 64] >> offset % 64 & 1)) return;
  l->seen[offset / 64] |= 1ull << offset % 64;
  l->todo[l->count++] = (uint16_t)offset;
}

static void look_to(struct look *l, uint32_t offset, bool sure) {
  if (offset < LOOK_PAGE) look_from(l, offset);
  else if (sure && l->target_count < LOOK_TARGETS) l->targets[l->target_count++] = l->linear + offset;
}

enum decoded { WHOLE, CUT /* by the page's end, before its opcode */, NONE };
static enum decoded decode(const struct look *l, unsigned offset, struct insn *insn) {
  uint8_t last[32] = {0};
  unsigned left = LOOK_PAGE - offset;
  const uint8_t *bytes = l->bytes + offset;
  if (left < 15) {
    memcpy(last, bytes, left);
    if (l->next) memcpy(last + left, l->next, 15);
    bytes = last;
  }
  if (insn_decode(insn, bytes, 15, (struct insn_mode){true, l->features}) != INSN_OK) return NONE;
  return l->next || insn->opcode_offset < left ? WHOLE : CUT;
}

static bool add_foreign(struct look *l, unsigned offset) {
  if (l->foreign_count == LOOK_FOREIGN) return false;
  l->foreign[l->foreign_count++] = (uint16_t)offset;
  return true;
}

/* Is a byte that is to be changed a part of what begins before it? Ways that do not agree on where instructions begin. */
static bool foreign_overlap(const struct look *l) {
  for (unsigned i = 0; i < l->foreign_count; i++)
    for (unsigned back = 1; back < 15 && back <= l->foreign[i]; back++) {
      unsigned offset = l->foreign[i] - back;
      struct insn insn;
      if ((l->seen[offset / 64] >> offset % 64 & 1) && decode(l, offset, &insn) != NONE && insn.length > back) return true;
    }
  return false;
}

enum certainty {
  SURE,        /* from every place where code is known to be entered, along direct jumps */
  BEHIND_CALL, /* on from there behind calls, where a call that does not return may have its data */
  UNSURE       /* behind what ends a way, as far as that can be decoded, where functions come one after the other: tables, too */
};

/* What is foreign can be kept from running only where it is sure to be code. */
static bool look_through(struct look *l, enum certainty how) {
  while (l->count) {
    unsigned offset = l->todo[--l->count];
    struct insn insn;
    l->unfit = (uint16_t)offset;
    enum decoded what = decode(l, offset, &insn);
    if (what != WHOLE) {
      if (how == BEHIND_CALL || (how == SURE && !add_foreign(l, offset))) return false;
      continue;
    }
    bool foreign = is_foreign(l, &insn), call = insn.kind == OP_CALL_REL || insn.kind == OP_CALL_IND;
    /* behind a call, two bytes of an opcode are taken for code */
    bool code = how == SURE || (how == BEHIND_CALL && (insn.row->map != 0 || insn_opcode(&insn) == 0xc7 /* XBEGIN */));
    if (foreign && (code ? !add_foreign(l, offset) : how == BEHIND_CALL || !is_likely_data(&insn))) return false;
    bool ends =
      insn.kind == OP_UD || (foreign && how == UNSURE) ||
      (how != UNSURE && (insn.kind == OP_JMP_REL || insn.kind == OP_JMP_IND || insn.kind == OP_RET || insn.kind == OP_HLT));
    uint32_t next = offset + insn.length;
    if (kind_has(insn.kind, KIND_RELATIVE)) look_to(l, next + (uint32_t)insn.rel, how != UNSURE);
    if (ends) continue;
    if (call && how == SURE && next < LOOK_PAGE) l->behind_calls[l->behind_count++] = (uint16_t)next;
    else look_to(l, next, how != UNSURE);
  }
  if (how != SURE) return true;
  while (l->behind_count) look_from(l, l->behind_calls[--l->behind_count]);
  return look_through(l, BEHIND_CALL);
}

bool look_at_page(struct look *l) {
  uint64_t sure[LOOK_PAGE / 64];
  bool fit = look_through(l, SURE) && l->target_count < LOOK_TARGETS && !foreign_overlap(l);
  memcpy(sure, l->seen, sizeof sure);
  /* behind each instruction that was seen and whose successor was not */
  for (unsigned offset = 0; fit && offset < LOOK_PAGE; offset++) {
    struct insn insn;
    if (!(l->seen[offset / 64] >> offset % 64 & 1) || decode(l, offset, &insn) != WHOLE) continue;
    look_from(l, offset + insn.length);
    fit = look_through(l, UNSURE);
  }
  memcpy(l->seen, sure, sizeof sure);
  return fit;
}

bool look_for_ways(struct look *l) { return look_through(l, SURE); }
