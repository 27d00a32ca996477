/* fuzz_isa: the command line, batches, and the last line. fuzz.h says what it is; docs/testing.md how to use it.
 *
 * Seed and number make a case; the background of the data pages belongs to a batch of numbers. The reference works on a batch
 * while the guest does. */
#define _GNU_SOURCE
#include "monitor/sandbox.h"
#include "fuzz.h"
#include "monitor/vcpu.h"
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
  BATCH = 256,
  MAX_KEPT = 8,
  AXIS_PART = 10 /* axes but the first get that part of the instructions */,
  MEASURE_BATCHES = 40,
  CODE_CACHE = 1 << 20 /* every case is new code: a larger one is only slower */
};

struct bench {
  struct reference *reference;
  struct guest *guest;
  unsigned axis;
  uint64_t background_seed;
  uint8_t background[DATA_SIZE];
};

struct run {
  uint64_t seed, count; /* instructions on the first axis */
  double seconds;       /* 0: count decides */
  const char *axes;     /* "all", "none" or a name */
  bool qemu, emulated;  /* the reference is QEMU, as a process or as the host's CPU: its deviations are known */
  bool sabotage, rows_shown;
  int64_t show; /* --show: this case only, with all that is known of it */
  struct bench bench;
  struct stream_rows rows;
  struct coverage coverage;
  uint64_t cases, failed, passed, unreachable, explained, kept, wavering, astray;
  uint64_t deviations[MAX_DEVIATIONS];
  uint64_t vectors[32];
  unsigned batch;
  bool damaged[BATCH];
  uint32_t quiet[BATCH], faulting[BATCH]; /* numbers of cases of each kind, for the two speeds */
  unsigned quiet_count, faulting_count;
  struct isa_case cases_of[BATCH];
  struct listing listings[BATCH];
  struct outcome reference_of[BATCH], guest_of[BATCH];
};

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- both sides ------------------------------------------------------------------------------------------------ */

static void set_background(struct bench *b, uint64_t seed) {
  b->background_seed = seed;
  memory_make_background(b->background, seed);
  reference_set_background(b->reference, b->background);
  guest_set_background(b->guest, b->background);
}

static bool open_guest(struct bench *b, unsigned axis) {
  const char *error;
  b->axis = axis;
  struct monitor_options options = isa_axes[axis].options;
  if (!options.code_size) options.code_size = CODE_CACHE;
  b->guest = guest_create(&options, &error);
  if (!b->guest) {
    printf("FAILED axis %s: %s\n", isa_axes[axis].name, error);
    return false;
  }
  guest_allow_code_writes(b->guest);
  guest_forget_ldt(b->guest);
  return true;
}

static const char *compare(struct bench *b, const struct isa_case *c, const struct outcome *n, const struct outcome *g,
                           char *text, size_t size) {
  return outcome_compare(c, n, g, b->background, isa_axes[b->axis].options.exact_flags, text, size);
}

/* One case by itself; false: the reference cannot run it. */
static bool run_one(struct bench *b, const struct isa_case *c, struct listing *l, struct outcome *n, struct outcome *g) {
  listing_make(l, c);
  if (!reference_add(b->reference, c, l)) return false;
  reference_start(b->reference);
  guest_run(b->guest, c, 1, g);
  reference_wait(b->reference, n);
  return true;
}

const char *bench_try(struct bench *b, const struct isa_case *c, char *text, size_t size) {
  struct listing l;
  struct outcome n, g;
  return run_one(b, c, &l, &n, &g) ? compare(b, c, &n, &g, text, size) : NULL;
}

/* ---- failures -------------------------------------------------------------------------------------------------- */

static bool kept_path(const struct run *run, const struct isa_case *c, char *path, size_t size) {
  char self[PATH_MAX];
  ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
  if (n <= 0) return false;
  self[n] = 0;
  const char *folder = dirname(self);
  snprintf(path, size, "%s/isa-kept", folder);
  if (mkdir(path, 0777) && errno != EEXIST) return false;
  int length = snprintf(path, size, "%s/isa-kept/seed_%llu_case_%u.case", folder, (unsigned long long)run->seed, c->number);
  return length > 0 && (size_t)length < size;
}

static void keep(struct run *run, const struct isa_case *c, const char *why) {
  struct bench *b = &run->bench;
  char path[PATH_MAX], comment[320], text[160];
  struct isa_case small = *c;
  struct listing l;
  struct outcome n, g;
  small.background = b->background_seed;
  minimise(b, &small);
  bool again = run_one(b, &small, &l, &n, &g);
  const char *differ = again ? compare(b, &small, &n, &g, text, sizeof text) : NULL;
  printf("FAILED %s, case %u on axis %s: %s\n", c->name, c->number, isa_axes[b->axis].name, why);
  if (differ) printf("made small: %s\n", differ);
  else printf("it did not fail when run by itself\n");
  outcome_report(differ ? &small : c, differ ? &n : &run->reference_of[c - run->cases_of],
                 differ ? &g : &run->guest_of[c - run->cases_of]);
  snprintf(comment, sizeof comment, "Found by fuzz_isa --seed %llu --show %u, axis %s: %s", (unsigned long long)run->seed,
           c->number, isa_axes[b->axis].name, why);
  if (kept_path(run, c, path, sizeof path) && kept_write(path, &small, comment))
    printf("  kept as %s: rename it for the sin and move it to tests/isa/kept\n", path);
}

/* Whether the reference contradicts itself while the translator does not: hosts have been seen to lose EFLAGS.NT when they were
 * interrupted, and a case that went astray may have written into the runner's copy of the background. */
static bool reference_wavers(struct run *run, unsigned i) {
  char text[160];
  struct bench *b = &run->bench;
  struct listing l;
  struct outcome n, g;
  const struct isa_case *c = &run->cases_of[i];
  reference_set_background(b->reference, b->background);
  for (unsigned round = 0; round < 3; round++)
    if (!run_one(b, c, &l, &n, &g) || compare(b, c, &n, &g, text, sizeof text) ||
        compare(b, c, &g, &run->guest_of[i], text, sizeof text))
      return false;
  return true;
}

/* The bytes of an exit are each side's own. A case that reads them (it knows its own address by a CALL to the next instruction,
 * or copies all that lies about) is one whose outcome under bt is another where the exit is made of other bytes. */
static bool reads_its_exit(struct bench *b, const struct isa_case *c) {
  char text[160];
  struct outcome usual, other;
  guest_run(b->guest, c, 1, &usual);
  guest_other_exits(b->guest, true);
  guest_run(b->guest, c, 1, &other);
  guest_other_exits(b->guest, false);
  return compare(b, c, &usual, &other, text, sizeof text);
}

/* MOV EAX from the exit, and from the code before it, which both sides have alike. */
static bool readers_are_told(struct run *run) {
  struct isa_case *c = &run->cases_of[0];
  set_background(&run->bench, 0);
  stream_make(c, run->seed, 0, &run->rows);
  for (unsigned i = 0; i < 6; i++) c->selector[i] = i == SEG_CS ? SEL_CODE : SEL_DATA;
  memset(c->exit_at, 0, sizeof c->exit_at);
  c->code_size = 5, c->start = c->code_at, c->exit_at[0] = c->code_at + 5, c->eflags = 0;
  c->code[0] = 0xa1;
  memcpy(c->code + 1, &c->exit_at[0], 4);
  bool told = reads_its_exit(&run->bench, c);
  memcpy(c->code + 1, &c->code_at, 4);
  return told && !reads_its_exit(&run->bench, c);
}

static void judge(struct run *run, unsigned i) {
  char text[160];
  struct bench *b = &run->bench;
  const struct isa_case *c = &run->cases_of[i];
  struct outcome *n = &run->reference_of[i], *g = &run->guest_of[i];
  run->cases++;
  if (n->end == END_FAULT) run->vectors[n->vector & 31]++;
  if (run->sabotage && !outcome_damage(c, n, g, random_mix(run->seed ^ c->number))) return;
  const char *differ = compare(b, c, n, g, text, sizeof text);
  if (run->sabotage) differ = differ ? NULL : "a change was not noticed";
  int row = differ && run->qemu && !run->sabotage ? deviation_find(c, &run->listings[i], n, g) : -1;
  if (row >= 0) {
    run->deviations[row]++, run->explained++;
    coverage_add(&run->coverage, &run->listings[i], c, n);
    return;
  }
  if (differ && !run->sabotage && g->end == END_FAULT && g->vector == VEC_PF &&
      (reference_owns(b->reference, g->cr2) || guest_owns(g->cr2))) {
    run->astray++;
    return;
  }
  if (differ && !run->sabotage && reads_its_exit(b, c)) {
    run->astray++;
    return;
  }
  if (differ && !run->sabotage && reference_wavers(run, i)) {
    printf("case %u: the reference contradicts itself (%s)\n", c->number, differ);
    run->wavering++;
    return;
  }
  if (differ) {
    run->failed++;
    if (run->sabotage) printf("FAILED case %u: %s\n", c->number, differ);
    else if (run->kept++ < MAX_KEPT) keep(run, c, differ);
    return;
  }
  run->passed++;
  coverage_add(&run->coverage, &run->listings[i], c, n);
}

/* ---- batches --------------------------------------------------------------------------------------------------- */

/* Adds case `number` to the batch, if the reference can run it. */
static void add_case(struct run *run, uint32_t number) {
  unsigned i = run->batch;
  stream_make(&run->cases_of[i], run->seed, number, &run->rows);
  listing_make(&run->listings[i], &run->cases_of[i]);
  if (reference_add(run->bench.reference, &run->cases_of[i], &run->listings[i])) run->batch++;
  else run->unreachable++;
}

static void run_batch(struct run *run) {
  struct bench *b = &run->bench;
  if (!run->batch) return;
  reference_start(b->reference);
  guest_run(b->guest, run->cases_of, run->batch, run->guest_of);
  reference_wait(b->reference, run->reference_of);
}

static void note_kind(struct run *run, unsigned i) {
  bool fault = run->reference_of[i].end == END_FAULT;
  if (fault && run->faulting_count < BATCH) run->faulting[run->faulting_count++] = run->cases_of[i].number;
  if (!fault && run->quiet_count < BATCH) run->quiet[run->quiet_count++] = run->cases_of[i].number;
}

/* Numbers [from, from + BATCH), which share a background. */
static void run_range(struct run *run, uint32_t from) {
  set_background(&run->bench, random_mix(run->seed) + from / BATCH);
  run->batch = 0;
  for (uint32_t n = from; n < from + BATCH; n++) add_case(run, n);
  run_batch(run);
  if (from < 4 * BATCH)
    for (unsigned i = 0; i < run->batch; i++) note_kind(run, i);
  unsigned count = run->batch;
  for (unsigned i = 0; i < count; i++) judge(run, i);
}

static void run_axis(struct run *run, unsigned axis, uint64_t count, double until) {
  uint64_t before = run->coverage.instructions, failed = run->failed;
  double start = now();
  /* Each axis has cases of its own, so that together they cover more. */
  uint32_t n = axis ? 0x40000000u + axis * 0x04000000u : 0;
  const char *missing = isa_axes[axis].options.user == USER_DIRECT ? sandbox_probe(&(uint64_t){0}) : NULL;
  if (missing) {
    printf("skipped axis %s: %s\n", isa_axes[axis].name, missing);
    return;
  }
  if (!open_guest(&run->bench, axis)) {
    run->failed++;
    return;
  }
  if (run->sabotage && !readers_are_told(run)) {
    printf("FAILED axis %s: a case that reads the bytes of its exit was not told from one that reads others\n",
           isa_axes[axis].name);
    run->failed++;
  }
  for (; until > 0 ? now() < until : run->coverage.instructions - before < count; n += BATCH) {
    run_range(run, n);
    if (run->failed - failed > 200) {
      printf("axis %s: given up after 200 failures\n", isa_axes[axis].name);
      break;
    }
  }
  if (isa_axes[axis].options.user == USER_DIRECT && !guest_direct_exits(run->bench.guest)) {
    printf("FAILED axis %s: nothing ran in a sandbox\n", isa_axes[axis].name);
    run->failed++;
  }
  if (isa_axes[axis].options.eager && !guest_mirror_faults(run->bench.guest)) {
    printf("FAILED axis %s: nothing ran in a mirror\n", isa_axes[axis].name);
    run->failed++;
  }
  guest_destroy(run->bench.guest);
  uint64_t ran = run->coverage.instructions - before;
  printf("axis %s: %llu instructions, %llu failed, %.0f instructions a second\n", isa_axes[axis].name, (unsigned long long)ran,
         (unsigned long long)(run->failed - failed), (double)ran / (now() - start));
  fflush(stdout);
}

static bool run_axes(struct run *run) {
  bool all = !strcmp(run->axes, "all"), none = !strcmp(run->axes, "none"), found = false;
  double start = now();
  for (unsigned i = 0; i < ISA_AXIS_COUNT; i++) {
    bool named = !all && !none && !strcmp(run->axes, isa_axes[i].name);
    if (!(all || (none && i == 0) || named)) continue;
    found = true;
    double part = i == 0 || named ? (all ? 0.4 : 1) : 0.6 / (ISA_AXIS_COUNT - 1);
    uint64_t count = i == 0 || named ? run->count : run->count / AXIS_PART;
    run_axis(run, i, count, run->seconds > 0 ? (start = i ? now() : start) + run->seconds * part : 0);
  }
  if (!found) printf("there is no axis %s\n", run->axes);
  return found;
}

/* ---- speeds ---------------------------------------------------------------------------------------------------- */

/* Of both processes: what one core would need. */
static double cpu_time(const struct run *run) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9 + reference_cpu_time(run->bench.reference);
}

/* Made, run on both sides and compared again: instructions of cases of one kind for each second of CPU time. */
static double measure(struct run *run, const uint32_t *numbers, unsigned count, bool fault) {
  static struct coverage ran;
  char text[160];
  memset(&ran, 0, sizeof ran);
  if (!count || !open_guest(&run->bench, 0)) return 0;
  set_background(&run->bench, 0);
  double start = cpu_time(run);
  for (unsigned round = 0; round < MEASURE_BATCHES; round++) {
    run->batch = 0;
    for (unsigned i = 0; i < count; i++) add_case(run, numbers[i]);
    run_batch(run);
    for (unsigned i = 0; i < run->batch; i++) {
      (void)compare(&run->bench, &run->cases_of[i], &run->reference_of[i], &run->guest_of[i], text, sizeof text);
      coverage_add(&ran, &run->listings[i], &run->cases_of[i], &run->reference_of[i]);
    }
  }
  double took = cpu_time(run) - start;
  guest_destroy(run->bench.guest);
  return (double)(fault ? ran.faulting : ran.quiet) / took;
}

static void print_speeds(struct run *run) {
  double quiet = measure(run, run->quiet, run->quiet_count, false),
         faulting = measure(run, run->faulting, run->faulting_count, true);
  printf("speed on one core (CPU time of both sides): %.0f instructions that do not fault a second, %.0f that fault\n", quiet,
         faulting);
}

/* ---- one case -------------------------------------------------------------------------------------------------- */

static int show_one(struct run *run) {
  char text[160];
  struct listing l;
  struct outcome n, g;
  unsigned axis = 0;
  for (unsigned i = 0; i < ISA_AXIS_COUNT; i++)
    if (!strcmp(run->axes, isa_axes[i].name)) axis = i;
  if (!open_guest(&run->bench, axis)) return 2;
  set_background(&run->bench, random_mix(run->seed) + (uint32_t)run->show / BATCH);
  struct isa_case *c = &run->cases_of[0];
  stream_make(c, run->seed, (uint32_t)run->show, &run->rows);
  memset(&n, 0, sizeof n), memset(&g, 0, sizeof g);
  bool can = run_one(&run->bench, c, &l, &n, &g);
  outcome_report(c, &n, &g);
  const char *differ = can ? compare(&run->bench, c, &n, &g, text, sizeof text) : NULL;
  if (differ && reads_its_exit(&run->bench, c))
    differ = NULL, printf("it reads the bytes of its exit, which are each side's own\n");
  else printf("%s\n", !can ? "the reference cannot run it" : differ ? differ : "both sides agree");
  guest_destroy(run->bench.guest);
  printf("%d passed, %d failed, %d skipped\n", can && !differ, differ != NULL, !can);
  return differ != NULL;
}

/* ---- command line ---------------------------------------------------------------------------------------------- */

static const char usage[] =
  "fuzz_isa: random instruction streams, the host CPU (or QEMU) against the translator\n"
  "  --seed N            of all cases (1)\n"
  "  --count N           instructions on the first axis (5000000); the others get a tenth each\n"
  "  --seconds S         time in place of a count\n"
  "  --axes all|NAME|none   all of the monitor's switches, one, or only the default (none)\n"
  "  --reference host|qemu|emulated  (host); emulated: the host's CPU, which is QEMU's\n"
  "  --show CASE         runs one case and prints it with both outcomes\n"
  "  --rows              lists the opcode rows that were not hit, with the reasons\n"
  "  --sabotage          changes each of the translator's outcomes: passes if every change is noticed\n";

static bool parse(struct run *run, int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
    if (!strcmp(name, "--sabotage")) {
      run->sabotage = true;
      continue;
    }
    if (!strcmp(name, "--rows")) {
      run->rows_shown = true;
      continue;
    }
    if (!value) return false;
    i++;
    if (!strcmp(name, "--seed")) run->seed = strtoull(value, NULL, 0);
    else if (!strcmp(name, "--count")) run->count = strtoull(value, NULL, 0);
    else if (!strcmp(name, "--seconds")) run->seconds = strtod(value, NULL);
    else if (!strcmp(name, "--axes")) run->axes = value;
    else if (!strcmp(name, "--show")) run->show = strtoll(value, NULL, 0);
    else if (!strcmp(name, "--reference") && !strcmp(value, "host")) run->qemu = run->emulated = false;
    else if (!strcmp(name, "--reference") && !strcmp(value, "qemu")) run->qemu = true, run->emulated = false;
    else if (!strcmp(name, "--reference") && !strcmp(value, "emulated")) run->qemu = run->emulated = true;
    else return false;
  }
  return true;
}

static int report(struct run *run, double took) {
  unsigned hit = 0, missed = 0;
  const struct coverage *v = &run->coverage;
  printf("reference: %s\n", reference_name(run->bench.reference));
  if (!run->sabotage) missed = coverage_report(v, run->bench.reference, run->rows_shown, &hit);
  if (run->qemu) deviation_report(run->deviations);
  printf("seed %llu: %llu cases (%llu more that the reference has no code for), %llu instructions, %llu of them faulted; %.0f a "
         "second\n",
         (unsigned long long)run->seed, (unsigned long long)run->cases, (unsigned long long)run->unreachable,
         (unsigned long long)v->instructions, (unsigned long long)v->faulting, (double)v->instructions / took);
  printf("faults:");
  for (unsigned i = 0; i < 32; i++)
    if (run->vectors[i]) printf(" #%u %llu", i, (unsigned long long)run->vectors[i]);
  printf("\n%llu divergences", (unsigned long long)run->failed);
  if (run->qemu) printf(", %llu that QEMU's table explains", (unsigned long long)run->explained);
  if (run->astray) printf(", %llu that met one side's own memory or code", (unsigned long long)run->astray);
  if (run->wavering) printf(", %llu cases in which the reference contradicts itself", (unsigned long long)run->wavering);
  printf("\n");
  if (run->astray + run->wavering > 20 + run->cases / 1000)
    printf("FAILED fuzz-isa: too many cases were excused\n"), run->failed++;
  if (!run->sabotage && !run->qemu) print_speeds(run);
  if (!run->sabotage)
    printf("summary fuzz-isa%s | %llu | %u opcode rows, %u missed | %llu\n", run->qemu ? " (QEMU)" : "",
           (unsigned long long)v->instructions, hit, missed, (unsigned long long)run->failed);
  if (missed) printf("FAILED coverage: %u opcode rows were never hit\n", missed);
  printf("%llu passed, %llu failed, 0 skipped\n", (unsigned long long)run->passed,
         (unsigned long long)run->failed + (missed != 0));
  return run->failed || missed || !run->passed;
}

int main(int argc, char **argv) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  const char *error;
  struct run *run = aligned_alloc(64, (sizeof *run + 63) & ~(size_t)63);
  if (!run) return 2;
  memset(run, 0, sizeof *run);
  run->seed = 1, run->count = 5000000, run->axes = "none", run->show = -1;
  if (!parse(run, argc, argv)) {
    fputs(usage, stderr);
    free(run);
    return 2;
  }
  struct bench *b = &run->bench;
  b->reference = run->qemu && !run->emulated ? reference_create(REFERENCE_QEMU, &error) : reference_create_host(&error);
  if (!b->reference) {
    printf("skipped fuzz-isa: %s\n0 passed, 0 failed, 1 skipped\n", error);
    free(run);
    return 77;
  }
  printf("reference: %s\n", reference_name(b->reference));
  stream_choose_rows(&run->rows, b->reference);
  double start = now();
  int status = run->show >= 0 ? show_one(run) : !run_axes(run) ? 2 : report(run, now() - start);
  reference_destroy(b->reference);
  free(run);
  return status;
}
