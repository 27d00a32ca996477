/* Runs one case in this process, and looks at what is left. */
#include <stdlib.h>
#include <string.h>
#include "case.h"
#include "../../../bt/machine.h"
#include "../../../bt/snapshot.h"

/* Guest time that the case ends at, and when the next NMI is due. */
struct times {
  struct machine *m;
  struct clock_timer end, nmi;
  int64_t period;
};
enum { USER_PERIOD = 1500 /* instructions or microseconds between a user's commands */ };
enum { CHUNKS_MOST = 3 * G_CHUNK_COUNT }; /* more is the same again; above all resets, which take a millisecond */
static void end_of_time(void *opaque) { machine_quit(((struct times *)opaque)->m); }
static void nmi_due(void *opaque) {
  struct times *t = opaque;
  const uint32_t *counter = mmu_ram_pointer(t->m->mmu, to_gpa(G_COUNTER), 4);
  if (*counter > CHUNKS_MOST) return end_of_time(t);
  monitor_nmi(t->m->monitor);
  clock_timer_set(t->m->clock, &t->nmi, clock_now(t->m->clock) + t->period);
}
static int64_t to_ns(const struct fuzz_case *c, uint64_t units) {
  return c->icount < 0 ? (int64_t)units * 1000 : (int64_t)(units << c->icount);
}
static void start_times(struct times *t, const struct fuzz_case *c) {
  int64_t now = clock_now(t->m->clock);
  t->period = to_ns(c, c->nmi);
  clock_timer_init(&t->end, "end", end_of_time, t);
  clock_timer_init(&t->nmi, "nmi", nmi_due, t);
  clock_timer_set(t->m->clock, &t->end, now + to_ns(c, c->limit));
  if (c->nmi) clock_timer_set(t->m->clock, &t->nmi, now + t->period);
}

static void set_axes(struct bt_options *o, const struct fuzz_case *c) {
  o->ram_size = (uint64_t)c->ram_mib << 20;
  o->cpu = c->cpu;
  o->no_reboot = c->no_reboot;
  o->acpi = c->acpi;
  o->log_file = "/dev/null";
  o->monitor = (struct monitor_options){.code_size = c->code_size,
                                        .one_insn = c->one_insn,
                                        .no_chain = c->no_chain,
                                        .exact_flags = c->exact_flags,
                                        .flush_every = c->flush_every,
                                        .paranoid = c->paranoid,
                                        .irq_jitter = c->jitter != 0,
                                        .irq_jitter_seed = c->jitter,
                                        .icount_shift = c->icount,
                                        .without = c->without,
                                        .log = c->log};
}

static void write_ram(struct machine *m, const struct fuzz_case *c) {
  uint64_t size = mmu_ram_size(m->mmu);
  base_write(mmu_ram_pointer(m->mmu, to_gpa(0), 0xa0000), size);
  for (unsigned i = 0; i < c->count; i++) {
    const struct patch *p = &c->patches[i];
    uint8_t *to = mmu_ram_pointer(m->mmu, to_gpa(p->at), p->size);
    if (to) memcpy(to, p->bytes, p->size);
  }
}

/* What was saved is accepted, and is the same when saved again. */
static const char *save_and_load(struct machine *m) {
  struct state_buffer first = {0}, second = {0};
  const char *wrong = machine_save(m, &first) ? "a state could not be saved" : machine_load(m, first.bytes, first.size);
  if (!wrong) wrong = machine_save(m, &second) ? "a state could not be saved again" : NULL;
  if (!wrong && (first.size != second.size || memcmp(first.bytes, second.bytes, first.size)))
    wrong = "a state differs after save and load";
  free(first.bytes), free(second.bytes);
  return wrong;
}

static const char *look_at(struct machine *m, const struct fuzz_case *c) {
  if (m->end.kind == END_STOPPED) {
    static char reason[ERROR_TEXT];
    strcpy(reason, m->end.reason);
    return reason;
  }
  const char *wrong = mmu_check(m->mmu);
  if (!wrong) wrong = vcpu_unfit(monitor_vcpu(m->monitor));
  if (!wrong && c->save) wrong = save_and_load(m);
  return wrong ? wrong : mmu_check(m->mmu);
}

/* Under -icount: with stops on the way, at which the machine is saved and loaded with whatever its chips are at. */
static const char *run_counted(struct machine *m, const struct fuzz_case *c) {
  const char *wrong = NULL;
  for (unsigned i = 1; i <= c->stops && !wrong; i++) {
    if (!machine_run_to(m, c->limit * i / (c->stops + 1))) return NULL;
    wrong = save_and_load(m);
  }
  if (!wrong) machine_run_to(m, c->limit);
  return wrong;
}

static const char *run_machine(struct machine *m, const struct fuzz_case *c, const struct parts *parts,
                               void (*watch)(struct machine *)) {
  const char *wrong = NULL;
  struct times times = {.m = m};
  struct user *user = c->host ? user_start(m, c->host, to_ns(c, USER_PERIOD), parts) : NULL;
  start_times(&times, c);
  watch(m);
  if (c->icount >= 0) wrong = run_counted(m, c);
  else machine_run(m);
  watch(NULL);
  clock_timer_cancel(m->clock, &times.end);
  clock_timer_cancel(m->clock, &times.nmi);
  user_stop(user);
  return wrong ? wrong : look_at(m, c);
}

const char *case_run(const struct fuzz_case *c, void (*watch)(struct machine *)) {
  char error[ERROR_TEXT];
  const char *wrong = "the machine cannot be made";
  struct bt_options o;
  struct parts parts;
  if (!parts_make(&parts, c, &o)) return wrong;
  set_axes(&o, c);
  struct machine *m = machine_create(&o, NULL, error);
  if (m) write_ram(m, c), wrong = run_machine(m, c, &parts, watch);
  else fprintf(stderr, "%s\n", error);
  machine_destroy(m);
  parts_free(&parts, &o);
  return wrong;
}
