/* The crash fuzzer (I6): whatever a guest does, bt neither crashes nor hangs nor loses its wits. Cases run one after another in a
 * process of their own; when that dies, is silent for too long or complains, the case has failed and another process goes on with
 * the next.
 *
 *   fuzz_crash [--seconds N] [--seed S] [--count N]   cases from seeds S, S+1, ... (S: 1), for N seconds or N cases
 *   fuzz_crash --only SEED                            this one, in this process
 *   fuzz_crash --dump SEED                            prints it as text
 *   fuzz_crash --run FILE...                          cases from texts (tests/fuzz/kept)
 *   fuzz_crash --minimise FILE                        prints a shorter text that fails as well
 * Last line: "N passed, N failed, 0 skipped". */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "case.h"
#include "../../../bt/machine.h"

enum {
  PATIENCE_MS = 200 /* of CPU time: then the machine is told to quit */,
  WAIT_MS = 1500 /* or of real time, on a host that is busy, or with a guest that sleeps */,
  HANG_MS = 30000 /* then the process is killed */,
  BATCH = 400,
  STATUS_WRONG = 3,
  REPORT = 6000
};

/* Between the worker and the process that watches it. */
struct shared {
  _Atomic uint64_t seed, started_ms, done, impatient;
  char wrong[256];
};
static uint64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t used_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- the worker: ends machines that take long, which guests may (REP over 4 GiB), but hanging they may not ---- */

static pthread_mutex_t watch_lock = PTHREAD_MUTEX_INITIALIZER;
static struct machine *watched;
static uint64_t watched_since, watched_used;
static _Atomic bool storm; /* kicks all the time */
static struct shared *progress;

static void watch(struct machine *m) {
  pthread_mutex_lock(&watch_lock);
  watched = m, watched_since = now_ms(), watched_used = used_ms();
  pthread_mutex_unlock(&watch_lock);
}
static void *watcher(void *unused) {
  (void)unused;
  for (;;) {
    usleep(storm ? 20 : 20000);
    pthread_mutex_lock(&watch_lock);
    if (watched && storm) monitor_kick(watched->monitor);
    if (watched && (now_ms() - watched_since > WAIT_MS || used_ms() - watched_used > PATIENCE_MS)) {
      machine_quit(watched);
      watched = NULL;
      progress->impatient++;
    }
    pthread_mutex_unlock(&watch_lock);
  }
  return NULL;
}

static void start_watching(void) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, watcher, NULL)) exit(1);
  pthread_detach(thread);
}

static void run_one(const struct fuzz_case *c) {
  progress->started_ms = now_ms();
  storm = c->storm;
  const char *wrong = case_run(c, watch);
  if (wrong) {
    snprintf(progress->wrong, sizeof progress->wrong, "%s", wrong);
    _exit(STATUS_WRONG);
  }
}

/* ---- the process that watches ---- */

struct outcome {
  bool failed;
  char why[320];
};

/* Runs `work` in a child; its stderr goes to the memfd `report`. */
static struct outcome in_child(void (*work)(void *), void *argument, int report) {
  struct outcome o = {0};
  int status = 0;
  bool hung = false;
  progress->wrong[0] = 0, progress->started_ms = now_ms();
  if (ftruncate(report, 0) || lseek(report, 0, SEEK_SET)) perror("report");
  fflush(stdout);
  pid_t child = fork();
  if (child < 0) perror("fork"), exit(1);
  if (child == 0) {
    dup2(report, 2);
    start_watching();
    work(argument);
    exit(0);
  }
  while (waitpid(child, &status, WNOHANG) == 0) {
    usleep(5000);
    if (hung || now_ms() - progress->started_ms < HANG_MS) continue;
    hung = true;
    kill(child, SIGKILL);
  }
  if (hung) snprintf(o.why, sizeof o.why, "hangs: deaf to machine_quit()");
  else if (WIFSIGNALED(status))
    snprintf(o.why, sizeof o.why, "died of signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
  else if (WEXITSTATUS(status) == STATUS_WRONG) snprintf(o.why, sizeof o.why, "%s", progress->wrong);
  else if (WEXITSTATUS(status))
    snprintf(o.why, sizeof o.why, "ended with status %d (a sanitizer's report?)", WEXITSTATUS(status));
  o.failed = o.why[0];
  return o;
}

static void show_report(int report) {
  char text[REPORT + 1];
  ssize_t n = pread(report, text, REPORT, 0);
  if (n <= 0) return;
  text[n] = 0;
  for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) printf("  | %s\n", line);
}

/* What the sanitizers do not see: descriptors and mappings of ours that a machine left behind. */
static unsigned host_things(void) {
  char line[512];
  unsigned n = 0;
  DIR *fds = opendir("/proc/self/fd");
  while (fds && readdir(fds)) n++;
  if (fds) closedir(fds);
  FILE *maps = fopen("/proc/self/maps", "r");
  while (maps && fgets(line, sizeof line, maps)) n += strstr(line, "memfd:") != NULL;
  if (maps) fclose(maps);
  return n;
}

struct range {
  uint64_t next, end, deadline_ms;
};
static void run_range(void *argument) {
  struct range *r = argument;
  unsigned before = host_things();
  for (uint64_t seed = r->next; seed < r->end && now_ms() < r->deadline_ms; seed++) {
    struct fuzz_case c;
    progress->seed = seed;
    case_generate(&c, seed);
    run_one(&c);
    case_free(&c);
    progress->done++;
  }
  if (host_things() == before) return;
  snprintf(progress->wrong, sizeof progress->wrong, "descriptors or memory files leak: %u before, %u after", before,
           host_things());
  _exit(STATUS_WRONG);
}

static int fuzz(uint64_t seed, uint64_t count, uint64_t seconds, int report) {
  struct range r = {.next = seed, .deadline_ms = seconds ? now_ms() + seconds * 1000 : UINT64_MAX};
  unsigned failed = 0;
  while (r.next < seed + count && now_ms() < r.deadline_ms && failed < 20) {
    r.end = r.next + BATCH < seed + count ? r.next + BATCH : seed + count;
    progress->seed = r.next;
    uint64_t before = progress->done;
    struct outcome o = in_child(run_range, &r, report);
    if (o.failed) {
      bool at_exit = progress->done - before == r.end - r.next; /* a leak of one of them, seen at the end */
      printf("FAILED %s%" PRIu64 ": %s\n", at_exit ? "up to seed " : "seed ", (uint64_t)progress->seed, o.why);
      show_report(report);
      failed++;
    }
    r.next = progress->seed + 1;
  }
  printf("seeds %" PRIu64 " to %" PRIu64 ", %" PRIu64 " had to be told to quit\n", seed, r.next - 1,
         (uint64_t)progress->impatient);
  printf("%" PRIu64 " passed, %u failed, 0 skipped\n", (uint64_t)progress->done, failed);
  return failed != 0;
}

/* ---- texts ---- */

static bool read_file(struct fuzz_case *c, const char *path) {
  FILE *in = fopen(path, "r");
  bool good = in && case_read(c, in);
  if (!good) fprintf(stderr, "%s: no case: %s\n", path, in ? "see above" : strerror(errno));
  if (in) fclose(in);
  return good;
}
static void run_text(void *argument) { run_one(argument); }

static int run_files(char **paths, int report) {
  unsigned passed = 0, failed = 0;
  for (; *paths; paths++) {
    struct fuzz_case c;
    struct outcome o = {.failed = true, .why = "not a case"};
    if (read_file(&c, *paths)) o = in_child(run_text, &c, report);
    printf("%s %s%s%s\n", o.failed ? "FAILED" : "ok", *paths, o.failed ? ": " : "", o.why);
    if (o.failed) show_report(report), failed++;
    else passed++;
    case_free(&c);
  }
  printf("%u passed, %u failed, 0 skipped\n", passed, failed);
  return failed != 0;
}

static bool fails(struct fuzz_case *c, int report) { return in_child(run_text, c, report).failed; }

/* Leaves out runs of patches, long ones first. */
static void drop_patches(struct fuzz_case *c, int report) {
  struct patch *old = malloc((c->count + 1) * sizeof *old);
  for (unsigned n = c->count / 2 ? c->count / 2 : 1; old && n > 0; n /= 2) {
    for (unsigned at = 0; at < c->count;) {
      unsigned count = c->count, gone = at + n < count ? n : count - at;
      memcpy(old, c->patches, count * sizeof *old);
      memmove(c->patches + at, c->patches + at + gone, (count - at - gone) * sizeof *old);
      c->count = count - gone;
      if (fails(c, report)) continue;
      memcpy(c->patches, old, count * sizeof *old);
      c->count = count, at += n;
    }
  }
  free(old);
}

static int minimise(const char *path, int report) {
  struct fuzz_case c, plain;
  if (!read_file(&c, path) || !fails(&c, report)) return fprintf(stderr, "%s does not fail\n", path), 1;
  drop_patches(&c, report);
#define SIMPLER(member, value) (plain = c, plain.member = (value), fails(&plain, report) ? (void)(c.member = (value)) : (void)0)
  SIMPLER(log, 0), SIMPLER(jitter, 0), SIMPLER(paranoid, 0), SIMPLER(flush_every, 0), SIMPLER(without, 0),
    SIMPLER(exact_flags, false), SIMPLER(no_chain, false);
  SIMPLER(one_insn, false), SIMPLER(save, false), SIMPLER(acpi, false), SIMPLER(no_reboot, true), SIMPLER(code_size, 0),
    SIMPLER(icount, 0), SIMPLER(ram_mib, 2), SIMPLER(host, 0), SIMPLER(stops, 0);
  for (unsigned part = 1; part < PART_ALL; part *= 2) SIMPLER(parts, c.parts & ~part);
  for (uint64_t limit = 16; limit < c.limit; limit *= 2) SIMPLER(limit, limit);
  drop_patches(&c, report);
  printf("# %s\n", in_child(run_text, &c, report).why);
  case_print(&c, stdout);
  case_free(&c);
  return 0;
}

static int run_here(uint64_t seed, bool dump) {
  struct fuzz_case c;
  case_generate(&c, seed);
  if (dump) case_print(&c, stdout);
  else {
    start_watching();
    const char *wrong = case_run(&c, watch);
    printf("%s\n", wrong ? wrong : "ok");
    case_free(&c);
    return wrong != NULL;
  }
  case_free(&c);
  return 0;
}

int main(int argc, char **argv) {
  uint64_t seed = 1, count = UINT64_MAX, seconds = 0;
  int report = memfd_create("report", 0);
  progress = mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (report < 0 || progress == MAP_FAILED) return perror("mmap"), 1;
  for (int i = 1; i + 1 < argc; i += 2) {
    uint64_t value = strtoull(argv[i + 1], NULL, 0);
    if (!strcmp(argv[i], "--run")) return run_files(argv + i + 1, report);
    else if (!strcmp(argv[i], "--minimise")) return minimise(argv[i + 1], report);
    else if (!strcmp(argv[i], "--only")) return run_here(value, false);
    else if (!strcmp(argv[i], "--dump")) return run_here(value, true);
    else if (!strcmp(argv[i], "--seed")) seed = value;
    else if (!strcmp(argv[i], "--count")) count = value;
    else if (!strcmp(argv[i], "--seconds")) seconds = value;
    else return fprintf(stderr, "%s? see the head of tests/fuzz/crash/main.c\n", argv[i]), 1;
  }
  if (count == UINT64_MAX) count = seconds ? UINT64_MAX - seed : 1000;
  return fuzz(seed, count, seconds, report);
}
