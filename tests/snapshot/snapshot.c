/* Saves a counted machine at random points of its run, loads the state into a second machine of the same process, lets both go on
 * and compares them: every field table, all of RAM, what they wrote to the serial port, how they end and after how many
 * instructions (D10).
 *
 *   snapshot [--points=N] [--seed=S] [--whole] BT-ARGUMENT...
 *       at N random instruction counts (default 10): save A, load into a new B, compare; then both run to the next point - the
 *       last one to the end - and are compared there. Being equal in everything, A stands for B from there on; --whole lets each
 *       B run to the end itself.
 *   snapshot --against=BT-ARGUMENT... [--points=N] BT-ARGUMENT...
 *       runs two machines that differ in one more argument, compares them at N evenly spaced counts and closes in on the first
 *       count after which they differ. Options that must not change what a guest sees (--without=windows, -singlestep, tb-size)
 *       are tried this way.
 *
 * BT-ARGUMENT...: bt's, with -icount shift=N; the first serial port is taken. Exit status: 0 equal, 1 not, 2 could not be
 * tried. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "bt/snapshot.h"

enum { MAX_ARGS = 64, MAX_POINTS = 10000, STATUS_DIFFER = 1, STATUS_BAD = 2 };

struct task {
  int argc, against;
  char *argv[MAX_ARGS]; /* bt's arguments; those of --against behind them */
  char folder[64];      /* for serial output */
  unsigned points;
  uint64_t seed;
  bool whole;
  unsigned made; /* machines, so that each has a file of its own */
};

/* A machine with the file that its serial port writes. */
struct guest {
  struct bt_options options;
  char serial_option[128];
  const char *path; /* in serial_option */
  struct machine *m;
};

static void die(struct task *t, const char *what, const char *why) {
  fprintf(stderr, "snapshot: %s: %s\n", what, why);
  if (*t->folder) rmdir(t->folder);
  exit(STATUS_BAD);
}

static void make(struct task *t, struct guest *g, bool against) {
  char error[ERROR_TEXT], *argv[2 * MAX_ARGS] = {"bt"};
  int argc = 1;
  for (int i = 0; i < t->argc + (against ? t->against : 0); i++) argv[argc++] = t->argv[i];
  snprintf(g->serial_option, sizeof g->serial_option, "file:%s/%u", t->folder, t->made++);
  g->path = g->serial_option + strlen("file:");
  char *rest[] = {"-display", "none", "-serial", g->serial_option, "-no-reboot"};
  for (unsigned i = 0; i < sizeof rest / sizeof rest[0]; i++) argv[argc++] = rest[i];
  if (options_parse(&g->options, argc, argv, stderr) != OPTIONS_OK) die(t, "arguments", "see above");
  if (g->options.monitor.icount_shift < 0) die(t, "arguments", "-icount shift=N is needed");
  g->m = machine_create(&g->options, NULL, error);
  if (!g->m) die(t, "machine", error);
}

static void unmake(struct guest *g) {
  machine_destroy(g->m);
  options_free(&g->options);
  unlink(g->path);
  g->m = NULL;
}

static uint64_t count_of(const struct guest *g) { return monitor_insn_count(g->m->monitor); }

/* ---- serial output ---- */

static off_t output_size(const struct guest *g) {
  struct stat st;
  return stat(g->path, &st) == 0 ? st.st_size : -1;
}

/* A's bytes from `from` on against all of B's. */
static bool same_output(const struct guest *a, off_t from, const struct guest *b) {
  char x[4096], y[4096];
  off_t size = output_size(b), at = 0;
  bool same = output_size(a) - from == size;
  int in_a = open(a->path, O_RDONLY), in_b = open(b->path, O_RDONLY);
  while (same && at < size) {
    ssize_t n = pread(in_b, y, sizeof y, at);
    same = n > 0 && pread(in_a, x, (size_t)n, from + at) == n && !memcmp(x, y, (size_t)n);
    at += n > 0 ? n : 0;
  }
  close(in_a);
  close(in_b);
  if (!same)
    fprintf(stderr, "snapshot: the serial output differs: %lld bytes, %lld bytes\n", (long long)(output_size(a) - from),
            (long long)size);
  return same;
}

/* ---- comparing ---- */

static bool same_end(const struct guest *a, const struct guest *b) {
  const struct machine_end *x = &a->m->end, *y = &b->m->end;
  if (x->kind == y->kind && x->status == y->status && !strcmp(x->reason, y->reason)) return true;
  fprintf(stderr, "snapshot: they end differently: kind %d status %d %s, kind %d status %d %s\n", x->kind, x->status, x->reason,
          y->kind, y->status, y->reason);
  return false;
}

static bool same_state(const struct guest *a, const struct guest *b) {
  char text[256];
  if (machine_compare(a->m, b->m, text, sizeof text)) return true;
  fprintf(stderr, "snapshot: %s\n", text);
  return false;
}

/* ---- points ---- */

static uint64_t next_random(uint64_t *state) { /* splitmix64 */
  uint64_t z = *state += 0x9e3779b97f4a7c15;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}
static int by_value(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return x < y ? -1 : x > y;
}

/* The run without any stop: how long it is, and what it writes. Others must be equal to it. */
static void reference_run(struct task *t, struct guest *g) {
  make(t, g, false);
  machine_run(g->m);
  printf("reference: %" PRIu64 " instructions, %lld bytes of output, ended by %d with status %d %s\n", count_of(g),
         (long long)output_size(g), g->m->end.kind, g->m->end.status, g->m->end.reason);
}

/* ---- save and load ---- */

/* B goes on from A's saved state, to `next`; then A does. */
static bool try_point(struct task *t, struct guest *a, uint64_t next) {
  struct state_buffer state = {0};
  struct guest b;
  off_t from = output_size(a);
  make(t, &b, false);
  if (machine_save(a->m, &state) < 0) die(t, "save", "not enough memory");
  const char *error = machine_load(b.m, state.bytes, state.size);
  free(state.bytes);
  if (error) fprintf(stderr, "snapshot: load: %s\n", error);
  bool same = !error && same_state(a, &b);
  if (same) {
    machine_run_to(b.m, next);
    machine_run_to(a->m, next);
    same = same_state(a, &b) && same_end(a, &b) && same_output(a, from, &b);
  }
  unmake(&b);
  return same;
}

/* B goes on from A's saved state, to the end, and has to be as the reference. */
static bool try_whole(struct task *t, struct guest *a, const struct guest *reference) {
  struct state_buffer state = {0};
  struct guest b;
  off_t from = output_size(a);
  make(t, &b, false);
  if (machine_save(a->m, &state) < 0) die(t, "save", "not enough memory");
  const char *error = machine_load(b.m, state.bytes, state.size);
  free(state.bytes);
  if (error) fprintf(stderr, "snapshot: load: %s\n", error);
  else machine_run(b.m);
  bool same = !error && same_state(reference, &b) && same_end(reference, &b) && same_output(reference, from, &b);
  unmake(&b);
  return same;
}

static int save_and_load(struct task *t) {
  static uint64_t points[MAX_POINTS + 1];
  struct guest reference, a;
  reference_run(t, &reference);
  uint64_t total = count_of(&reference), seed = t->seed;
  for (unsigned i = 0; i < t->points; i++) points[i] = next_random(&seed) % total;
  qsort(points, t->points, sizeof points[0], by_value);
  points[t->points] = UINT64_MAX;
  make(t, &a, false);
  unsigned tried = 0;
  bool same = true;
  for (; tried < t->points && same; tried++) {
    if (machine_run_to(a.m, points[tried])) same = t->whole ? try_whole(t, &a, &reference) : try_point(t, &a, points[tried + 1]);
    if (!same)
      fprintf(stderr, "snapshot: ... after %" PRIu64 " instructions (point %u, seed %" PRIu64 ")\n", points[tried], tried,
              t->seed);
  }
  machine_run(a.m);
  same = same && same_state(&reference, &a) && same_end(&reference, &a) && same_output(&reference, 0, &a);
  printf("%u points: %s\n", tried, same ? "all equal" : "DIFFERENT");
  unmake(&a);
  unmake(&reference);
  return same ? 0 : STATUS_DIFFER;
}

/* ---- one machine against another ---- */

/* Runs both over points in (low, high]; narrows the two to where they are last equal and first differ. True: equal all along. */
static bool narrow(struct task *t, uint64_t *low, uint64_t *high) {
  struct guest a, b;
  uint64_t from = *low, step = (*high - from) / t->points + 1;
  bool same = true;
  make(t, &a, false);
  make(t, &b, true);
  for (uint64_t at = from; same; at = at + step < *high ? at + step : *high) {
    machine_run_to(a.m, at);
    machine_run_to(b.m, at);
    same = same_state(&a, &b) && same_end(&a, &b) && same_output(&a, 0, &b);
    *(same ? low : high) = at;
    if (at == *high) break;
  }
  unmake(&a);
  unmake(&b);
  return same;
}

static int against(struct task *t) {
  struct guest reference;
  reference_run(t, &reference);
  uint64_t low = 0, high = count_of(&reference) + 1; /* one more: neither may go on */
  unmake(&reference);
  if (narrow(t, &low, &high)) {
    printf("equal at %u points and at the end\n", t->points);
    return 0;
  }
  while (high - low > 1 && !narrow(t, &low, &high))
    printf("equal after %" PRIu64 " instructions, different after %" PRIu64 "\n", low, high);
  printf("DIFFERENT%s\n", high - low > 1 ? "; machines that stop more often are equal: blocks near a stop are single "
                                           "instructions"
                                         : "");
  return STATUS_DIFFER;
}

/* ---- arguments ---- */

static char *value_of(char *arg, const char *name) {
  size_t n = strlen(name);
  return !strncmp(arg, name, n) && arg[n] == '=' ? arg + n + 1 : NULL;
}

static int parse(struct task *t, int argc, char **argv) {
  char *extra[MAX_ARGS], *v;
  for (int i = 1; i < argc; i++) {
    if ((v = value_of(argv[i], "--points"))) t->points = (unsigned)strtoul(v, NULL, 0);
    else if ((v = value_of(argv[i], "--seed"))) t->seed = strtoull(v, NULL, 0);
    else if (!strcmp(argv[i], "--whole")) t->whole = true;
    else if ((v = value_of(argv[i], "--against"))) extra[t->against++] = v;
    else t->argv[t->argc++] = argv[i];
    if (t->argc + t->against >= MAX_ARGS - 1) return STATUS_BAD;
  }
  memcpy(t->argv + t->argc, extra, sizeof extra[0] * (size_t)t->against);
  return t->argc && t->points && t->points <= MAX_POINTS ? 0 : STATUS_BAD;
}

int main(int argc, char **argv) {
  struct task t = {.points = 10, .seed = 1};
  if (parse(&t, argc, argv)) {
    fputs("usage: snapshot [--points=N] [--seed=S] [--whole | --against=BT-ARGUMENT...] BT-ARGUMENT...\n", stderr);
    return STATUS_BAD;
  }
  const char *tmp = getenv("TMPDIR");
  char folder[64];
  snprintf(folder, sizeof folder, "%s/bt-snapshot-XXXXXX", tmp && strlen(tmp) < 40 ? tmp : "/tmp");
  if (!mkdtemp(folder)) die(&t, folder, strerror(errno));
  strcpy(t.folder, folder);
  int status = t.against ? against(&t) : save_and_load(&t);
  rmdir(t.folder);
  return status;
}
