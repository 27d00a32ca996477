/* A case's 32-bit code as 64-bit code that does the same, for hosts that run no 32-bit code (SDM vol. 2, 2.2.1; vol. 1, 3.6.1).
 *
 * Memory operands get an address-size prefix, so that addresses wrap at 4 GiB; a displacement alone gets a SIB byte, since its
 * ModRM form means RIP-relative; INC and DEC of 40h-4Fh become FFh; branches get 32-bit displacements. FS and GS have base 0 in
 * the runner. What touches the stack or a selector, or does not exist there, has no such form: those rows are left out with the
 * reason. */
#include "listing.h"
#include "values.h"
#include <string.h>

enum { MOST = 32 /* bytes of one instruction with room to spare */ };

static const char *kind_left_out(enum op_kind kind) {
  switch (kind) {
  case OP_PUSH_REG:
  case OP_PUSH_IMM:
  case OP_PUSH_MEM:
  case OP_POP_REG:
  case OP_POP_MEM:
  case OP_PUSHF:
  case OP_POPF:
  case OP_ENTER:
  case OP_LEAVE:
  case OP_CALL_REL:
  case OP_CALL_IND:
  case OP_RET: return "stack slots have eight bytes in 64-bit mode";
  case OP_PUSHA:
  case OP_POPA:
  case OP_BCD:
  case OP_BOUND:
  case OP_INTO:
  case OP_ARPL: return "not in 64-bit mode";
  case OP_PUSH_SEG:
  case OP_POP_SEG:
  case OP_MOV_FROM_SEG:
  case OP_MOV_TO_SEG:
  case OP_LOAD_FAR:
  case OP_LAR:
  case OP_LSL:
  case OP_VERR:
  case OP_VERW: return "selectors are others in 64-bit mode";
  case OP_JMP_FAR_IMM:
  case OP_JMP_FAR_MEM:
  case OP_CALL_FAR_IMM:
  case OP_CALL_FAR_MEM:
  case OP_RETF:
  case OP_IRET: return "far transfers are others in 64-bit mode";
  case OP_FXSAVE: return "stores sixteen XMM registers in 64-bit mode";
  case OP_INT: return "gates of an x86-64 kernel are others";
  default: return NULL;
  }
}

const char *recode_row_left_out(const struct opcode_row *row) {
  if (row->kind == OP_JMP_IND && row->mod3 == 0) return "loads eight bytes in 64-bit mode";
  return kind_left_out(row->kind);
}

static bool is_prefix(uint8_t b) {
  return b == 0xf0 || b == 0xf2 || b == 0xf3 || b == 0x66 || b == 0x67 || b == 0x64 || b == 0x65 || b == 0x26 || b == 0x2e ||
         b == 0x36 || b == 0x3e;
}
static bool is_flat_prefix(uint8_t b) { return b == 0x67 || b == 0x26 || b == 0x2e || b == 0x36 || b == 0x3e; }
static bool is_loop(const struct insn *i) { return i->kind >= OP_LOOP && i->kind <= OP_JCXZ; }
static bool is_string(const struct insn *i) { return i->kind >= OP_MOVS && i->kind <= OP_OUTS; }
static bool has_address(const struct insn *i) {
  return i->has_ea || is_loop(i) || is_string(i) || (i->modrm_offset && i->bytes[i->modrm_offset] < 0xc0);
}

/* Prefixes that mean something there. */
static unsigned put_prefixes(const struct insn *i, uint8_t *to, unsigned *from) {
  unsigned n = 0;
  if (has_address(i)) to[n++] = 0x67;
  for (*from = 0; is_prefix(i->bytes[*from]); ++*from)
    if (!is_flat_prefix(i->bytes[*from])) to[n++] = i->bytes[*from];
  return n;
}

/* Everything but branches. */
static unsigned put_plain(const struct insn *i, uint8_t *to) {
  unsigned from, n = put_prefixes(i, to, &from);
  if (i->kind == OP_INCDEC_REG) {
    unsigned op = i->bytes[i->opcode_offset];
    to[n++] = 0xff, to[n++] = (uint8_t)(0xc0 | (op & 15));
    return n;
  }
  while (from <= i->opcode_offset) to[n++] = i->bytes[from++];
  if (i->row->map == 0 && to[n - 1] == 0x82) to[n - 1] = 0x80;
  if (i->modrm_offset && (i->bytes[i->modrm_offset] & 0xc7) == 5) { to[n++] = (uint8_t)(i->bytes[from++] - 1), to[n++] = 0x25; }
  memcpy(to + n, i->bytes + from, i->length - from);
  return n + i->length - from;
}

/* With the displacement still open: the last four bytes, or the last one. */
static unsigned put_branch(const struct insn *i, uint8_t *to) {
  unsigned op = i->bytes[i->opcode_offset], n = 0;
  if (is_loop(i)) to[n++] = 0x67, to[n++] = (uint8_t)op, to[n++] = 0;
  else if (i->kind == OP_JMP_REL) to[n++] = 0xe9, n += 4;
  else to[n++] = 0x0f, to[n++] = (uint8_t)(0x80 | (op & 15)), n += 4;
  return n;
}

static bool is_relative(const struct insn *i) { return i->kind == OP_JCC || i->kind == OP_JMP_REL || is_loop(i); }

static bool can(const struct insn *i) {
  if (recode_row_left_out(i->row) || (has_address(i) && i->address_size != 4)) return false;
  if (is_relative(i)) return i->operand_size == 4 && !i->lock;
  if (i->kind == OP_JMP_IND) return i->mod == 3 && i->operand_size == 4;
  if (i->has_mem && i->seg == SEG_CS && (i->access & ACCESS_W)) return false; /* not writable in 32-bit mode */
  return true;
}

/* ---- the whole ------------------------------------------------------------------------------------------------- */

static bool to_new(const struct recoded *r, const struct isa_case *c, const struct listing *l, uint32_t old, uint32_t *new) {
  for (unsigned i = 0; i < MAX_EXITS; i++)
    if (c->exit_at[i] && c->exit_at[i] == old) {
      *new = r->exit_at[i];
      return true;
    }
  int at = listing_find(l, c, old);
  if (at < 0) return false;
  *new = r->at + r->new_at[at];
  return true;
}

static bool fix_branch(struct recoded *r, const struct isa_case *c, const struct listing *l, unsigned k) {
  const struct listed *n = &l->list[k];
  uint32_t target, old = c->code_at + n->at + n->insn.length + (uint32_t)n->insn.rel;
  if (!to_new(r, c, l, old, &target)) return false;
  int32_t rel = (int32_t)(target - (r->at + r->new_at[k + 1]));
  uint8_t *end = r->code + r->new_at[k + 1];
  if (!is_loop(&n->insn)) {
    value_store(end - 4, (uint32_t)rel, 4);
    return true;
  }
  end[-1] = (uint8_t)rel;
  return rel >= -128 && rel <= 127;
}

/* An absolute address inside the code: a byte of an immediate, counted from its instruction's end. */
static bool fix_code_address(struct recoded *r, const struct isa_case *c, const struct listing *l, unsigned k) {
  const struct insn *i = &l->list[k].insn;
  uint32_t offset = (uint32_t)i->disp - c->code_at;
  if (!i->has_ea || i->base != REG_NONE || i->index != REG_NONE || offset >= c->code_size) return true;
  if (!i->modrm_offset || c->eflags & FLAG_AC) return false; /* it is aligned otherwise there */
  for (unsigned t = 0; t < l->count; t++) {
    const struct listed *n = &l->list[t];
    if (offset < n->at || offset >= n->at + n->insn.length) continue;
    if (!n->insn.imm_offset || offset < n->at + (unsigned)n->insn.imm_offset || n->insn.kind != OP_COPY) return false;
    uint32_t new = r->at + r->new_at[t + 1] - (n->at + n->insn.length - offset);
    value_store(r->code + r->new_at[k + 1] - i->imm_size - 4, new, 4);
    return true;
  }
  return false;
}

/* Exits keep their places where they can: a register may hold one. */
static bool place(struct recoded *r, const struct isa_case *c) {
  uint32_t room = r->size + (MAX_EXITS + 1) * 8;
  r->at = c->code_at + room < CODE_END ? c->code_at : CODE_AT + 0x80;
  if (r->at + room >= CODE_END) return false;
  for (unsigned i = 0; i < MAX_EXITS; i++) {
    uint32_t old = c->exit_at[i];
    bool clear = i && old && (old + EXIT_BYTES <= r->at || (old >= r->at + room && old + EXIT_BYTES <= CODE_END));
    r->exit_at[i] = !old ? 0 : clear ? old : r->at + r->size + 8 * i;
  }
  return true;
}

bool recode(struct recoded *r, const struct isa_case *c, const struct listing *l) {
  if (!l->whole || l->cut || c->may_stray || !c->exit_at[0]) return false; /* what follows the code would be elsewhere */
  for (unsigned i = 0; i < 6; i++)
    if (c->selector[i] != (i == SEG_CS ? SEL_CODE : SEL_DATA)) return false;
  r->size = 0;
  for (unsigned k = 0; k < l->count; k++) {
    const struct insn *i = &l->list[k].insn;
    if (!can(i) || r->size + MOST > sizeof r->code - MOST) return false;
    r->new_at[k] = (uint16_t)r->size;
    unsigned n = is_relative(i) ? put_branch(i, r->code + r->size) : put_plain(i, r->code + r->size);
    if (n > 15) return false;
    r->size += n;
  }
  r->new_at[l->count] = (uint16_t)r->size;
  if (!place(r, c)) return false;
  for (unsigned k = 0; k < l->count; k++) {
    const struct insn *i = &l->list[k].insn;
    if (is_relative(i) ? !fix_branch(r, c, l, k) : !fix_code_address(r, c, l, k)) return false;
    if (i->kind == OP_JMP_IND && r->exit_at[1] != c->exit_at[1]) return false;
  }
  return true;
}

bool recode_find_eip(const struct recoded *r, const struct isa_case *c, const struct listing *l, uint32_t *eip) {
  for (unsigned i = 0; i < MAX_EXITS; i++)
    if (r->exit_at[i] && r->exit_at[i] == *eip) {
      *eip = c->exit_at[i];
      return true;
    }
  for (unsigned k = 0; k < l->count; k++)
    if (r->at + r->new_at[k] == *eip) {
      *eip = c->code_at + l->list[k].at;
      return true;
    }
  return false;
}
