/* Makes a failing case small: what is not needed for the same difference goes. Instructions become NOPs, so that no address
 * moves; then NOPs at both ends are cut off. Every step is tried on both sides and kept only if they still differ in the same way
 * and no undefined flag is read. */
#include "fuzz.h"
#include <ctype.h>
#include <string.h>

struct search {
  struct bench *bench;
  struct isa_case *best;
  char kind[64]; /* the difference, up to its first number */
};

static void kind_of(const char *text, char *kind, size_t size) {
  size_t n = 0;
  while (text[n] && !(isdigit((unsigned char)text[n]) && n && text[n - 1] == ' ') && n + 1 < size) kind[n] = text[n], n++;
  kind[n] = 0;
}

static bool still_differs(struct search *s, struct isa_case *c) {
  char text[160], kind[64];
  struct listing l;
  uint32_t at_end, ever;
  listing_make(&l, c);
  if (!listing_follow_flags(&l, &at_end, &ever)) return false;
  c->flags_compared = FLAGS_ARITH & ~at_end, c->fault_flags = FLAGS_ARITH & ~ever;
  const char *differ = bench_try(s->bench, c, text, sizeof text);
  if (!differ) return false;
  kind_of(differ, kind, sizeof kind);
  return strcmp(kind, s->kind) == 0;
}

/* Takes the changed case if it still fails. */
static bool accept(struct search *s, struct isa_case *c) {
  if (!still_differs(s, c)) return false;
  *s->best = *c;
  return true;
}

static bool drop_instructions(struct search *s) {
  bool any = false;
  struct listing l;
  struct isa_case c;
  listing_make(&l, s->best);
  for (unsigned i = 0; i < l.count; i++) {
    if (l.list[i].insn.kind == OP_NOP && l.list[i].insn.length == 1) continue;
    c = *s->best;
    memset(c.code + l.list[i].at, 0x90, l.list[i].insn.length);
    any |= accept(s, &c);
  }
  return any;
}

/* A prefix changes places with those before it and becomes a NOP in front. */
static bool drop_prefixes(struct search *s) {
  bool any = false;
  struct listing l;
  struct isa_case c;
  listing_make(&l, s->best);
  for (unsigned i = 0; i < l.count; i++) {
    unsigned at = l.list[i].at, count = l.list[i].insn.opcode_offset;
    for (unsigned k = 0; k < count; k++) {
      c = *s->best;
      if (c.code[at + k] == 0x0f) break;
      memmove(c.code + at + 1, c.code + at, k), c.code[at] = 0x90;
      any |= accept(s, &c);
    }
  }
  return any;
}

static bool simplify_registers(struct search *s) {
  bool any = false;
  for (unsigned r = 0; r < 8; r++) {
    static const uint32_t simple[] = {0, 1};
    for (unsigned i = 0; i < 2 && s->best->gpr[r] > 1; i++) {
      struct isa_case c = *s->best;
      c.gpr[r] = simple[i];
      any |= accept(s, &c);
    }
  }
  for (unsigned bit = 0; bit < 22; bit++) {
    struct isa_case c = *s->best;
    if (!(c.eflags >> bit & 1)) continue;
    c.eflags &= ~(1u << bit);
    any |= accept(s, &c);
  }
  return any;
}

static bool simplify_fx(struct search *s) {
  enum { FX_FCW = 0, FX_MXCSR = 24, FX_FIRST = 32, FX_END = 288 };
  struct isa_case c = *s->best;
  bool any = false;
  value_store(c.fx + FX_FCW, 0x37f, 2), memset(c.fx + 2, 0, 6), value_store(c.fx + FX_MXCSR, 0x1f80, 4);
  if (memcmp(c.fx, s->best->fx, FX_FIRST)) any |= accept(s, &c);
  for (unsigned at = FX_FIRST; at < FX_END; at += 16) {
    c = *s->best;
    memset(c.fx + at, 0, 16);
    if (memcmp(c.fx + at, s->best->fx + at, 16)) any |= accept(s, &c);
  }
  return any;
}

static bool simplify_memory(struct search *s) {
  bool any = false;
  for (unsigned i = 0; i < s->best->patch_count;) {
    struct isa_case c = *s->best;
    c.patch_count--;
    memmove(c.patches + i, c.patches + i + 1, (c.patch_count - i) * sizeof *c.patches);
    if (accept(s, &c)) any = true;
    else i++;
  }
  return any;
}

/* Immediates and displacements: each byte to zero. */
static bool simplify_immediates(struct search *s) {
  bool any = false;
  struct listing l;
  listing_make(&l, s->best);
  for (unsigned i = 0; i < l.count; i++) {
    const struct listed *n = &l.list[i];
    for (unsigned k = n->insn.imm_offset; k && k < n->insn.length; k++) {
      struct isa_case c = *s->best;
      if (!c.code[n->at + k]) continue;
      c.code[n->at + k] = 0;
      any |= accept(s, &c);
    }
  }
  return any;
}

static void cut_ends(struct search *s) {
  struct isa_case c = *s->best;
  while (c.code_size > 1 && c.code[0] == 0x90 && c.start == c.code_at)
    memmove(c.code, c.code + 1, --c.code_size), c.code_at++, c.start++;
  accept(s, &c);
  c = *s->best;
  while (c.code_size > 1 && c.code[c.code_size - 1] == 0x90 && c.exit_at[0] == c.code_at + c.code_size)
    c.code_size--, c.exit_at[0]--;
  accept(s, &c);
}

void minimise(struct bench *b, struct isa_case *c) {
  char text[160];
  struct search s = {.bench = b, .best = c};
  const char *differ = bench_try(b, c, text, sizeof text);
  if (!differ) return;
  kind_of(differ, s.kind, sizeof s.kind);
  for (unsigned round = 0; round < 6; round++) {
    bool any = drop_instructions(&s);
    any |= drop_prefixes(&s);
    any |= simplify_registers(&s);
    any |= simplify_fx(&s);
    any |= simplify_memory(&s);
    any |= simplify_immediates(&s);
    if (!any) break;
  }
  cut_ends(&s);
}
