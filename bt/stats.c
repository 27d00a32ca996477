#include "stats.h"
#include <inttypes.h>
#include <string.h>

struct row {
  const char *group, *name, *help;
  uint64_t value;
};
typedef void visit(const struct row *row, void *opaque);

/* All counters in order: what the lists of mmu.h and monitor.h name, then the callouts by kind (those that happened). */
static void each(struct machine *m, visit *to, void *opaque) {
  const struct mmu_counters *mmu = mmu_get_counters(m->mmu);
  const struct monitor_counters *monitor = monitor_get_counters(m->monitor);
  to(&(struct row){"machine", "guest_ns", "guest time", (uint64_t)clock_peek(m->clock)}, opaque);
  to(&(struct row){"machine", "instructions", "guest instructions (-icount)", monitor_insn_count(m->monitor)}, opaque);
#define MONITOR_ROW(name, help) to(&(struct row){"monitor", #name, help, monitor->name}, opaque);
  MONITOR_COUNTERS(MONITOR_ROW)
#undef MONITOR_ROW
#define MMU_ROW(name, help) to(&(struct row){"mmu", #name, help, mmu->name}, opaque);
  MMU_COUNTERS(MMU_ROW)
#undef MMU_ROW
  for (unsigned i = 0; i < OP_KIND_COUNT; i++)
    if (monitor->callout_kind[i])
      to(&(struct row){"callout", op_kind_name(i), "instructions of this kind run by the monitor", monitor->callout_kind[i]},
         opaque);
}

static void print_text(const struct row *r, void *opaque) {
  fprintf(opaque, "%-8s %-18s %14" PRIu64 "  %s\n", r->group, r->name, r->value, r->help);
}

struct json {
  FILE *out;
  const char *group;
};
static void print_json(const struct row *r, void *opaque) {
  struct json *j = opaque;
  if (!j->group || strcmp(j->group, r->group))
    fprintf(j->out, "%s\"%s\": {\"%s\": %" PRIu64, j->group ? "}, " : "", r->group, r->name, r->value);
  else fprintf(j->out, ", \"%s\": %" PRIu64, r->name, r->value);
  j->group = r->group;
}

void stats_print(struct machine *m, bool json, FILE *out) {
  struct json j = {out, NULL};
  const char *reason, *how = monitor_user_code(m->monitor, &reason);
  if (!json) {
    fprintf(out, "user code runs %s%s%s\n", how, reason ? ": " : "", reason ? reason : "");
    each(m, print_text, out);
    return;
  }
  fputc('{', out);
  each(m, print_json, &j);
  fputs("}}\n", out);
}
