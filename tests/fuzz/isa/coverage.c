/* Which rows of the opcode table ran on both sides, counted by instruction, not by case: what a branch may have left out does not
 * count. */
#include "fuzz.h"
#include <stdio.h>

void coverage_add(struct coverage *v, const struct listing *l, const struct isa_case *c, const struct outcome *o) {
  unsigned count;
  const struct opcode_row *rows = insn_rows(&count);
  bool fault = o->end == END_FAULT;
  int first = listing_find(l, c, c->start);
  unsigned ran = 0, end = listing_end(l, c, o);
  for (unsigned i = first > 0 ? (unsigned)first : 0; i < end; i++) {
    if (l->list[i].perhaps) continue;
    v->hits[l->list[i].insn.row - rows]++;
    ran++;
  }
  v->instructions += ran;
  if (fault) v->faulting += ran != 0;
  else v->quiet += ran;
}

static void print_row(const struct opcode_row *row, const char *why) {
  static const char *const maps[] = {"", "0F ", "0F 38 ", "0F 3A "};
  printf("  %s%02X", maps[row->map & 3], row->opcode);
  if (row->reg >= 0) printf(" /%d", row->reg);
  printf(" %s (%s): %s\n", row->mnemonic, op_kind_name(row->kind), why);
}

unsigned coverage_report(const struct coverage *v, const struct reference *r, bool verbose, unsigned *hit) {
  unsigned count, missed = 0, left = 0, unreachable = 0;
  const struct opcode_row *rows = insn_rows(&count);
  *hit = 0;
  for (unsigned i = 0; i < count; i++) {
    const char *why = row_left_out(&rows[i]), *cannot = why ? NULL : reference_row_left_out(r, &rows[i]);
    if (v->hits[i]) {
      ++*hit;
      continue;
    }
    if (why) left++;
    else if (cannot) unreachable++;
    else missed++;
    if (verbose || (!why && !cannot)) print_row(&rows[i], why ? why : cannot ? cannot : "was never hit");
  }
  printf("rows: %u hit, %u never hit, %u not reachable on this host, %u left out with a reason (--rows lists them)\n", *hit,
         missed, unreachable, left);
  return missed;
}
