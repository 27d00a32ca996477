/* Makes, runs and destroys a machine COUNT times in one process and tells what stays behind: open descriptors, mappings, threads
 * and resident memory, all read from /proc, after the first few rounds (in which libraries take what they keep) and at the end.
 *
 *   leak_machines COUNT END ARGUMENT...     END: debug-exit, power-off, or fails (the machine cannot be made); the arguments are
 *   bt's
 *
 * Exit status: 0 nothing grew; 1 something did, or a machine ended otherwise than END; 2 bad arguments. tests/leak/run has the
 * rows. */
#define _GNU_SOURCE
#include <dirent.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "bt/machine.h"
#include "bt/options/options.h"

enum { WARM_UP = 5, RSS_MARGIN_KB = 512 };

struct usage {
  long descriptors, threads, mappings, rss_kb;
};

static long entries(const char *folder) {
  long n = 0;
  DIR *d = opendir(folder);
  if (!d) return -1;
  for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
  closedir(d);
  return n;
}

static long lines(const char *path) {
  long n = 0;
  FILE *f = fopen(path, "re");
  if (!f) return -1;
  for (int c; (c = getc(f)) != EOF;) n += c == '\n';
  fclose(f);
  return n;
}

static long resident_kb(void) {
  long size = 0, pages = -1;
  FILE *f = fopen("/proc/self/statm", "re");
  if (!f || fscanf(f, "%ld %ld", &size, &pages) != 2) pages = -1;
  if (f) fclose(f);
  return pages < 0 ? -1 : pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static struct usage usage_now(void) {
  malloc_trim(0);
  return (struct usage){entries("/proc/self/fd"), entries("/proc/self/task"), lines("/proc/self/maps"), resident_kb()};
}

static void print_usage(unsigned round, const struct usage *u) {
  printf("after %u: %ld descriptors, %ld threads, %ld mappings, %ld KiB resident\n", round, u->descriptors, u->threads,
         u->mappings, u->rss_kb);
}

static bool grew(const char *what, long before, long after, long margin) {
  if (before >= 0 && after <= before + margin) return false;
  printf("GREW %s: %ld to %ld (margin %ld)\n", what, before, after, margin);
  return true;
}

/* One life. False: it ended otherwise. */
static bool live(const struct bt_options *options, enum end_kind wanted) {
  char error[ERROR_TEXT] = "";
  struct machine *m = machine_create(options, NULL, error);
  if (!m) {
    if (wanted != END_NONE) printf("WRONG the machine could not be made: %s\n", error);
    return wanted == END_NONE && error[0];
  }
  const struct machine_end *end = wanted == END_NONE ? &m->end : machine_run(m);
  bool good = wanted != END_NONE && end->kind == wanted;
  if (!good) printf("WRONG the machine ended in way %d: %s\n", (int)end->kind, end->reason);
  machine_destroy(m);
  return good;
}

static bool parse_end(const char *name, enum end_kind *end) {
  static const struct {
    const char *name;
    enum end_kind end;
  } ends[] = {{"debug-exit", END_DEBUG_EXIT}, {"power-off", END_POWER_OFF}, {"fails", END_NONE}};
  for (unsigned i = 0; i < sizeof ends / sizeof ends[0]; i++)
    if (!strcmp(ends[i].name, name)) return *end = ends[i].end, true;
  return false;
}

int main(int argc, char **argv) {
  struct bt_options options;
  enum end_kind end;
  unsigned count = argc > 2 ? (unsigned)strtoul(argv[1], NULL, 10) : 0;
  if (!count || count > 100000 || !parse_end(argv[2], &end)) {
    fprintf(stderr, "usage: leak_machines COUNT debug-exit|power-off|fails ARGUMENT...\n");
    return 2;
  }
  argv[2] = argv[0];
  if (options_parse(&options, argc - 2, argv + 2, stderr) != OPTIONS_OK) return 2;
  signal(SIGPIPE, SIG_IGN);
  unsigned warm = count > 2 * WARM_UP ? WARM_UP : 1;
  struct usage before = {0}, after;
  for (unsigned round = 0; round < warm + count; round++) {
    if (round == warm) before = usage_now(), print_usage(round, &before);
    if (!live(&options, end)) return 1;
  }
  options_free(&options);
  after = usage_now();
  print_usage(warm + count, &after);
  bool bad = grew("descriptors", before.descriptors, after.descriptors, 0);
  bad |= grew("threads", before.threads, after.threads, 0);
  bad |= grew("mappings", before.mappings, after.mappings, 0);
  bad |= grew("memory in KiB", before.rss_kb, after.rss_kb, RSS_MARGIN_KB);
  return bad;
}
