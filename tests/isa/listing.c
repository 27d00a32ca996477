/* Linear decoding of a case's code (listing.h). Cases are made of whole instructions one behind the other, so that this sees all
 * of them. */
#include "listing.h"

enum { VEC_TRAP_DB = 1, VEC_TRAP_BP = 3, VEC_TRAP_OF = 4 };

static bool is_branch(const struct insn *i) {
  return i->kind == OP_JCC || i->kind == OP_JMP_REL || (i->kind >= OP_LOOP && i->kind <= OP_JCXZ);
}

void listing_make(struct listing *l, const struct isa_case *c) {
  const struct insn_mode mode = {.code32 = true, .features = guest_features()};
  unsigned at = 0, skipped_to = 0;
  l->count = 0, l->cut = false;
  while (at < c->code_size && l->count < MAX_LISTED) {
    struct listed *n = &l->list[l->count];
    if (insn_decode(&n->insn, c->code + at, c->code_size - at, mode) != INSN_OK) {
      l->cut = true;
      break;
    }
    n->at = (uint16_t)at, n->perhaps = at < skipped_to;
    at += n->insn.length;
    if (is_branch(&n->insn) && n->insn.rel > 0 && at + (unsigned)n->insn.rel > skipped_to)
      skipped_to = at + (unsigned)n->insn.rel;
    l->count++;
  }
  l->whole = at == c->code_size;
}

int listing_find(const struct listing *l, const struct isa_case *c, uint32_t eip) {
  unsigned low = 0, high = l->count, at = eip - c->code_at;
  while (low < high) {
    unsigned middle = (low + high) / 2;
    if (l->list[middle].at == at) return (int)middle;
    if (l->list[middle].at < at) low = middle + 1;
    else high = middle;
  }
  return -1;
}

static int find_end(const struct listing *l, const struct isa_case *c, uint32_t eip) {
  for (unsigned i = 0; i < l->count; i++)
    if (c->code_at + l->list[i].at + l->list[i].insn.length == eip) return (int)i;
  return -1;
}

unsigned listing_end(const struct listing *l, const struct isa_case *c, const struct outcome *o) {
  /* EIP is behind the instruction */
  bool trap = o->vector == VEC_TRAP_DB || o->vector == VEC_TRAP_BP || o->vector == VEC_TRAP_OF;
  int last = o->end != END_FAULT ? -1 : trap ? find_end(l, c, o->eip) : listing_find(l, c, o->eip);
  if (o->end == END_FAULT) return (unsigned)(last + 1); /* elsewhere: gone astray, nothing counts */
  int subject = o->exit && c->subject ? listing_find(l, c, c->subject) : -1;
  return subject >= 0 ? (unsigned)subject + 1 : l->count; /* the subject jumped */
}

bool listing_follow_flags(const struct listing *l, uint32_t *at_end, uint32_t *ever) {
  uint32_t tainted = 0, all_read = 0, all_tainted = 0, leaving = 0;
  bool loops = false;
  for (unsigned i = 0; i < l->count; i++) {
    const struct insn *insn = &l->list[i].insn;
    if (insn->flags_read & tainted) return false;
    all_read |= insn->flags_read;
    if (!l->list[i].perhaps) tainted &= ~(uint32_t)insn->flags_written;
    tainted |= insn->flags_undefined;
    all_tainted |= tainted;
    uint32_t target = l->list[i].at + insn->length + (uint32_t)insn->rel;
    bool leaves = is_branch(insn) && target >= l->list[l->count - 1].at + l->list[l->count - 1].insn.length;
    if (leaves) leaving |= tainted; /* by another exit, perhaps */
    loops |= is_branch(insn) && insn->rel < 0 && !leaves;
  }
  *at_end = tainted | leaving, *ever = all_tainted;
  return !(loops && (all_read & all_tainted));
}
