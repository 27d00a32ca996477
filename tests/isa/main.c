/* tests/isa: generated instruction cases, each run on the host CPU in 32-bit mode and under the translator, and compared:
 * registers, defined flags, memory, x87/MMX/SSE state, vector, error code and address of faults.
 *
 * Cases are numbered; number and seed make a case, whatever runs beside it. Of twelve, two are a sequence with two states; the
 * others go round the opcode table. */
#include "monitor/sandbox.h"
#include "axes.h"
#include "reference.h"
#include "sequence.h"
#include "monitor/monitor.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
  BATCH = 60,
  PERIOD = 12,
  SEQUENCES = 2 /* of a period: the same code with two states */,
  DEFAULT_CASES = 120000,
  DEFAULT_AXIS_CASES = 12000,
  MAX_SHOWN = 10
};

struct run {
  uint64_t seed;
  uint32_t cases, axis_cases;
  const char *axis, *only;
  int64_t one;      /* --case, or -1 */
  const char *kept; /* --kept */
  bool sabotage, list, quiet;
  unsigned show;
  struct native *native;       /* the host CPU in this process; NULL: it runs no 32-bit code */
  struct reference *reference; /* then: the same by code written anew */
  struct listing listings[BATCH], spare;
  uint64_t unreachable; /* cases that the reference cannot run */
  const struct opcode_row *rows[2048], *sequence_rows[2048];
  unsigned row_count, sequence_row_count;
  uint64_t passed, failed, wavering, faults, shown;
  uint64_t vectors[32];
  uint8_t background[DATA_SIZE];
  struct isa_case cases_of[BATCH];
  struct outcome native_of[BATCH], guest_of[BATCH];
};

/* ---- making cases ---------------------------------------------------------------------------------------------- */

static void choose_rows(struct run *run) {
  unsigned count;
  const struct opcode_row *rows = insn_rows(&count);
  for (unsigned i = 0; i < count && run->row_count < 2048; i++) {
    if (row_left_out(&rows[i])) continue;
    run->rows[run->row_count++] = &rows[i];
    if (sequence_takes(&rows[i])) run->sequence_rows[run->sequence_row_count++] = &rows[i];
  }
}

static void list_rows(void) {
  unsigned count, taken = 0;
  const struct opcode_row *rows = insn_rows(&count);
  for (unsigned i = 0; i < count; i++) {
    const char *why = row_left_out(&rows[i]);
    if (!why) {
      taken++;
      continue;
    }
    printf("%s%02X /%d  %-24s %-14s %s\n", (const char *[]){"", "0F ", "0F 38 ", "0F 3A ", ""}[rows[i].map & 3], rows[i].opcode,
           rows[i].reg, rows[i].mnemonic, op_kind_name(rows[i].kind), why);
  }
  printf("%u of %u rows are tested\n", taken, count);
}

static bool make_case(struct run *run, struct isa_case *c, uint32_t number) {
  uint32_t period = number / PERIOD, phase = number % PERIOD;
  if (phase >= PERIOD - SEQUENCES) {
    if (run->only && strcmp(run->only, "sequence")) return false;
    sequence_make(c, run->seed, period, phase - (PERIOD - SEQUENCES), run->sequence_rows, run->sequence_row_count);
    c->number = number;
    return true;
  }
  const struct opcode_row *row = run->rows[(period * (PERIOD - SEQUENCES) + phase) % run->row_count];
  if (run->only && strcmp(run->only, row->mnemonic)) return false;
  single_make(c, run->seed, number, row, !run->native);
  return true;
}

/* ---- judging --------------------------------------------------------------------------------------------------- */

static void show_failure(struct run *run, unsigned axis, unsigned i, const char *why) {
  const struct isa_case *c = &run->cases_of[i];
  if (run->shown++ >= run->show) return;
  printf("FAILED %s, case %u on axis %s: %s\n", c->name, c->number, isa_axes[axis].name, why);
  if (run->quiet) return;
  outcome_report(c, &run->native_of[i], &run->guest_of[i]);
  if (c->is_kept) printf("  again: isa_cases --kept=%s --axis=%s\n", c->name, isa_axes[axis].name);
  else
    printf("  again: isa_cases --seed=%llu --axis=%s --case=%u\n", (unsigned long long)run->seed, isa_axes[axis].name, c->number);
}

static void ask_host(struct run *run, const struct isa_case *c, struct outcome *out) {
  if (run->native) {
    native_run(run->native, c, out);
    return;
  }
  listing_make(&run->spare, c);
  if (reference_add(run->reference, c, &run->spare)) reference_start(run->reference), reference_wait(run->reference, out);
}

/* Whether the host contradicts itself: asked again, it always says what the translator said. Hosts have been seen to lose
 * EFLAGS.NT when they were interrupted, once in some hundred thousand cases. */
static bool host_wavers(struct run *run, unsigned axis, unsigned i) {
  char text[160];
  struct outcome again;
  const struct isa_case *c = &run->cases_of[i];
  for (unsigned round = 0; round < 3; round++) {
    ask_host(run, c, &again);
    if (outcome_compare(c, &again, &run->guest_of[i], run->background, isa_axes[axis].options.exact_flags, text, sizeof text))
      return false;
  }
  return true;
}

static void judge(struct run *run, unsigned axis, unsigned i) {
  char text[160];
  const struct isa_case *c = &run->cases_of[i];
  const struct outcome *n = &run->native_of[i];
  if (run->sabotage && !outcome_damage(c, n, &run->guest_of[i], random_mix(run->seed ^ c->number))) return;
  const char *differ =
    outcome_compare(c, n, &run->guest_of[i], run->background, isa_axes[axis].options.exact_flags, text, sizeof text);
  if (run->sabotage) differ = differ ? NULL : "a change was not noticed";
  if (n->end == END_FAULT) run->faults++, run->vectors[n->vector & 31]++;
  if (!differ) {
    run->passed++;
    return;
  }
  if (!run->sabotage && host_wavers(run, axis, i)) {
    printf("case %u: the host contradicts itself (%s)\n", c->number, differ);
    run->wavering++;
    return;
  }
  run->failed++;
  show_failure(run, axis, i, differ);
}

/* Cases that it cannot run go out of the batch; returns how many are left. */
static unsigned run_reference(struct run *run, unsigned count) {
  unsigned left = 0;
  for (unsigned i = 0; i < count; i++) {
    if (left != i) run->cases_of[left] = run->cases_of[i];
    listing_make(&run->listings[left], &run->cases_of[left]);
    if (reference_add(run->reference, &run->cases_of[left], &run->listings[left])) left++;
    else run->unreachable++;
  }
  reference_start(run->reference);
  reference_wait(run->reference, run->native_of);
  return left;
}

static void run_batch(struct run *run, struct guest *g, unsigned axis, unsigned count) {
  if (!count) return;
  if (run->native)
    for (unsigned i = 0; i < count; i++) native_run(run->native, &run->cases_of[i], &run->native_of[i]);
  else count = run_reference(run, count);
  if (!count) return;
  guest_run(g, run->cases_of, count, run->guest_of);
  for (unsigned i = 0; i < count; i++) judge(run, axis, i);
}

static void set_background(struct run *run, struct guest *g, uint64_t seed) {
  memory_make_background(run->background, seed);
  if (run->native) native_set_background(run->native, run->background);
  else reference_set_background(run->reference, run->background);
  guest_set_background(g, run->background);
}

static void run_kept(struct run *run, struct guest *g, unsigned axis) {
  for (unsigned i = 0; kept_make(&run->cases_of[0], i); i++) {
    set_background(run, g, run->cases_of[0].background);
    if (run->kept && strcmp(run->kept, run->cases_of[0].name) && strcmp(run->kept, "all")) continue;
    run_batch(run, g, axis, 1);
  }
}

/* Cases [from, from + BATCH), which share a background. */
static void run_range(struct run *run, struct guest *g, unsigned axis, uint32_t from, uint32_t end) {
  unsigned count = 0;
  set_background(run, g, random_mix(run->seed) + from / BATCH);
  for (uint32_t n = from; n < end; n++) {
    if (run->one >= 0 && n != (uint32_t)run->one) continue;
    if (make_case(run, &run->cases_of[count], n)) count++;
  }
  run_batch(run, g, axis, count);
}

static bool run_axis(struct run *run, unsigned axis) {
  const char *error, *missing = isa_axes[axis].options.user == USER_DIRECT ? sandbox_probe(&(uint64_t){0}) : NULL;
  if (missing) { /* tests/host runs it in an emulated host */
    printf("skipped axis %s: %s\n", isa_axes[axis].name, missing);
    return true;
  }
  struct guest *g = guest_create(&isa_axes[axis].options, &error);
  if (!g) {
    printf("FAILED axis %s: %s\n", isa_axes[axis].name, error);
    return false;
  }
  uint64_t failed = run->failed, passed = run->passed;
  uint32_t cases = axis == 0 || run->axis ? run->cases : run->axis_cases;
  /* Each axis has cases of its own, so that together they cover more; the first has 0 to N. */
  uint32_t first = axis == 0 || run->axis ? 0 : (DEFAULT_CASES + axis * run->axis_cases) / BATCH * BATCH;
  if (run->one < 0) run_kept(run, g, axis);
  if (run->one >= 0) run_range(run, g, axis, (uint32_t)run->one / BATCH * BATCH, (uint32_t)run->one + 1);
  else if (!run->kept)
    for (uint32_t n = first; n < first + cases; n += BATCH)
      run_range(run, g, axis, n, n + BATCH < first + cases ? n + BATCH : first + cases);
  if (isa_axes[axis].options.user == USER_DIRECT && run->one < 0 && !run->kept && guest_direct_exits(g) < cases / 2) {
    printf("FAILED axis %s: of %u cases %llu came back from a sandbox\n", isa_axes[axis].name, cases,
           (unsigned long long)guest_direct_exits(g));
    run->failed++;
  }
  if (isa_axes[axis].options.eager && run->one < 0 && !run->kept && !guest_mirror_faults(g)) {
    printf("FAILED axis %s: nothing ran in a mirror\n", isa_axes[axis].name);
    run->failed++;
  }
  guest_destroy(g);
  printf("axis %s: %llu passed, %llu failed\n", isa_axes[axis].name, (unsigned long long)(run->passed - passed),
         (unsigned long long)(run->failed - failed));
  fflush(stdout);
  return true;
}

/* ---- command line ---------------------------------------------------------------------------------------------- */

static const char usage[] = "isa_cases: generated instruction cases, host CPU against translator\n"
                            "  --seed=N      of all cases (default 1)\n"
                            "  --cases=N     on the default axis (default 120000, a sixth of them sequences)\n"
                            "  --axis-cases=N  on each other axis (default 12000)\n"
                            "  --axis=NAME   this axis alone, with --cases cases\n"
                            "  --case=N      this case alone\n"
                            "  --only=NAME   cases of this mnemonic (as in the opcode table), or \"sequence\"\n"
                            "  --kept=NAME   this kept case alone, or \"all\" of them\n"
                            "  --sabotage    damages every outcome: a case passes when that is noticed\n"
                            "  --show=N      failures shown (default 10); --quiet: a line each\n"
                            "  --list        rows that are left out, and why; axes\n";

static bool option(const char *arg, const char *name, const char **value) {
  size_t n = strlen(name);
  if (strncmp(arg, name, n) || arg[n] != '=') return false;
  *value = arg + n + 1;
  return true;
}

static bool parse(struct run *run, int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    const char *value;
    if (option(argv[i], "--seed", &value)) run->seed = strtoull(value, NULL, 0);
    else if (option(argv[i], "--cases", &value)) run->cases = (uint32_t)strtoul(value, NULL, 0);
    else if (option(argv[i], "--axis-cases", &value)) run->axis_cases = (uint32_t)strtoul(value, NULL, 0);
    else if (option(argv[i], "--axis", &value)) run->axis = value;
    else if (option(argv[i], "--case", &value)) run->one = strtoll(value, NULL, 0);
    else if (option(argv[i], "--only", &value)) run->only = value;
    else if (option(argv[i], "--kept", &value)) run->kept = value;
    else if (option(argv[i], "--show", &value)) run->show = (unsigned)strtoul(value, NULL, 0);
    else if (!strcmp(argv[i], "--sabotage")) run->sabotage = true;
    else if (!strcmp(argv[i], "--quiet")) run->quiet = true;
    else if (!strcmp(argv[i], "--list")) run->list = true;
    else return false;
  }
  return true;
}

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void summary(const struct run *run, double took) {
  printf("seed %llu, %u rows; %llu cases faulted:", (unsigned long long)run->seed, run->row_count,
         (unsigned long long)run->faults);
  for (unsigned i = 0; i < 32; i++)
    if (run->vectors[i]) printf(" #%u %llu", i, (unsigned long long)run->vectors[i]);
  if (run->reference)
    printf("\nreference: %s; %llu cases were left out, as it has no such code", reference_name(run->reference),
           (unsigned long long)run->unreachable);
  if (run->wavering) printf("\n%llu cases for which the host has no steady answer", (unsigned long long)run->wavering);
  printf("\n%.0f cases a second\n", (double)(run->passed + run->failed) / took);
  printf("%llu passed, %llu failed\n", (unsigned long long)run->passed, (unsigned long long)run->failed);
}

static bool run_all(struct run *run) {
  bool ran = false;
  for (unsigned i = 0; i < ISA_AXIS_COUNT; i++) {
    if (run->axis ? strcmp(run->axis, isa_axes[i].name) != 0 : run->one >= 0 && i) continue;
    ran = true;
    if (!run_axis(run, i)) run->failed++;
  }
  return ran;
}

int main(int argc, char **argv) {
  const char *error;
  struct run *run = aligned_alloc(64, (sizeof *run + 63) & ~(size_t)63);
  if (!run) return 2;
  memset(run, 0, sizeof *run);
  *run = (struct run){.seed = 1, .cases = DEFAULT_CASES, .axis_cases = DEFAULT_AXIS_CASES, .one = -1, .show = MAX_SHOWN};
  if (!parse(run, argc, argv)) {
    fputs(usage, stderr);
    free(run);
    return 2;
  }
  if (run->list) {
    list_rows();
    for (unsigned i = 0; i < ISA_AXIS_COUNT; i++) printf("axis %s\n", isa_axes[i].name);
    free(run);
    return 0;
  }
  run->native = native_create(&error);
  if (!run->native) run->reference = reference_create_host(&error);
  if (!run->native && !run->reference) {
    printf("skipped isa: %s\n0 passed, 0 failed, 1 skipped\n", error);
    free(run);
    return 77;
  }
  choose_rows(run);
  double start = seconds();
  bool ran = run_all(run);
  if (!ran) printf("there is no axis %s\n", run->axis);
  else summary(run, seconds() - start);
  int status = !ran || run->failed || !run->passed || run->wavering > 2 + run->passed / 20000;
  native_destroy(run->native);
  reference_destroy(run->reference);
  free(run);
  return status;
}
