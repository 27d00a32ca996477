/* Linear decoding of a case's code (listing.h). Cases are made of whole instructions one behind the other, so that this sees all of them. */
#include "listing.h"

static bool is_branch(const struct insn *i) {
  return i->kind == OP_JCC || i->kind == OP_JMP_REL || (i->kind >= OP_LOOP && i->kind <= OP_JCXZ);
}

void listing_make(struct listing *l, const struct isa_case *c) {
  const struct insn_mode mode = {.code32 = true, .features = guest_features()};
  unsigned at = 0, skipped_to = 0;
  l->count = 0, l->cut = false;
  while (at < c->code_size && l->count < MAX_LISTED) {
    struct listed *n = &l->list[l->count];
    if (insn_decode(&n->insn, c->code + at, c->code_size - at, mode) != INSN_OK) { l->cut = true; break; }
    n->at = (uint16_t)at, n->perhaps = at < skipped_to;
    at += n->insn.length;
    if (is_branch(&n->insn) && n->insn.rel > 0 && at + (unsigned)n->insn.rel > skipped_to) skipped_to = at + (unsigned)n->insn.rel;
    l->count++;
  }
  l->whole = at == c->code_size;
}

int listing_find(const struct listing *l, const struct isa_case *c, uint32_t eip) {
  unsigned low = 0, high = l->count, at = eip - c->code_at;
  while (low < high) {
    unsigned middle = (low + high) / 2;
    if (l->list[middle].at == at) return (int)middle;
    if (l->list[middle].at < at) low = middle + 1; else high = middle;
  }
  return -1;
}

unsigned listing_ran(const struct listing *l, const struct isa_case *c, const struct outcome *o) {
  unsigned ran = 0, end = l->count;
  if (o->end == END_FAULT) {
    int at = listing_find(l, c, o->eip);
    end = at >= 0 ? (unsigned)at + 1 : 0;              /* elsewhere: a trap behind the code, or gone astray */
  }
  for (unsigned i = 0; i < end; i++) ran += !l->list[i].perhaps;
  return ran;
}

bool listing_follow_flags(const struct listing *l, uint32_t *at_end, uint32_t *ever) {
  uint32_t tainted = 0, all_read = 0, all_tainted = 0;
  bool loops = false;
  for (unsigned i = 0; i < l->count; i++) {
    const struct insn *insn = &l->list[i].insn;
    if (insn->flags_read & tainted) return false;
    all_read |= insn->flags_read;
    if (!l->list[i].perhaps) tainted &= ~(uint32_t)insn->flags_written;
    tainted |= insn->flags_undefined;
    all_tainted |= tainted;
    loops |= is_branch(insn) && insn->rel < 0;
  }
  *at_end = tainted, *ever = all_tainted;
  return !(loops && (all_read & all_tainted));
}
