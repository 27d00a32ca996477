#include "deviations.h"
#include <inttypes.h>

enum { QEMU = 1 << REF_QEMU, BOCHS = 1 << REF_BOCHS, ANY = QEMU | BOCHS };

static const struct {
  const char *name;
  unsigned who;
  const char *what, *why, *where;
} rows[] = {
#define DEVIATION_ROW(name, who, what, why, where) {#name, who, what, why, where},
  DEVIATIONS(DEVIATION_ROW)
#undef DEVIATION_ROW
};

bool deviations_explain(struct deviations *d, enum deviation which) {
  bool explained = rows[which].who >> d->reference & 1;
  d->hits[which] += explained;
  return explained;
}

void deviations_count_flags(struct deviations *d, const struct opcode_row *row, uint32_t flags) {
  unsigned i = 0;
  if (row && deviation_is_cmpxchg8b(row)) {
    d->hits[DEV_cmpxchg8b_flags]++;
    return;
  }
  d->hits[DEV_undefined_flags]++;
  while (i < d->flag_rows && d->flags[i].row != row) i++;
  if (i == sizeof d->flags / sizeof d->flags[0]) return;
  if (i == d->flag_rows) d->flags[d->flag_rows++].row = row;
  d->flags[i].flags |= flags;
  d->flags[i].hits++;
}

static void print_flag_names(uint32_t flags, FILE *out) {
  static const struct {
    uint32_t bit;
    const char *name;
  } names[] = {{FLAG_OF, "OF"}, {FLAG_SF, "SF"}, {FLAG_ZF, "ZF"}, {FLAG_AF, "AF"}, {FLAG_PF, "PF"}, {FLAG_CF, "CF"}};
  for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
    if (flags & names[i].bit) fprintf(out, " %s", names[i].name);
}

void deviations_print(const struct deviations *d, bool all, FILE *out) {
  static const char who[][8] = {[1 << REF_QEMU] = "QEMU", [1 << REF_BOCHS] = "Bochs", [ANY] = "any"};
  for (unsigned i = 0; i < DEV_COUNT; i++)
    if (all || d->hits[i])
      fprintf(out, "  %-19s %-5s %10" PRIu64 "  %s: %s (SDM %s)\n", rows[i].name, who[rows[i].who], d->hits[i], rows[i].what,
              rows[i].why, rows[i].where);
  for (unsigned i = 0; i < d->flag_rows; i++) {
    fprintf(out, "    %-23s %10" PRIu64 " ", d->flags[i].row ? d->flags[i].row->mnemonic : "?", d->flags[i].hits);
    print_flag_names(d->flags[i].flags, out);
    fputc('\n', out);
  }
}
