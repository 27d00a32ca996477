#define _GNU_SOURCE
#include "host_limits.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* a boot takes 40 KiB and 9; the rest is for four serial sockets, logs, and what libc does */
enum { STACK_NEEDED = 256 << 10, FILES_NEEDED = 24 };

/* The soft limit is raised as far as it must be and may be. */
static bool at_least(int resource, rlim_t needed, rlim_t *has) {
  struct rlimit limit;
  *has = RLIM_INFINITY;
  if (getrlimit(resource, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= needed) return true;
  limit.rlim_cur = limit.rlim_max == RLIM_INFINITY || limit.rlim_max > needed ? needed : limit.rlim_max;
  *has = limit.rlim_cur;
  return setrlimit(resource, &limit) == 0 && limit.rlim_cur >= needed;
}

bool host_limits_prepare(char error[ERROR_TEXT]) {
  rlim_t has;
  signal(SIGXFSZ, SIG_IGN);
  if (!at_least(RLIMIT_STACK, STACK_NEEDED, &has))
    return snprintf(error, ERROR_TEXT, "ulimit -s: a stack of %llu KiB is too small: bt needs %d", (unsigned long long)has >> 10,
                    STACK_NEEDED >> 10),
           false;
  if (!at_least(RLIMIT_NOFILE, FILES_NEEDED, &has))
    return snprintf(error, ERROR_TEXT, "ulimit -n: %llu open files are too few: bt needs %d", (unsigned long long)has,
                    FILES_NEEDED),
           false;
  return true;
}

const char *host_limits_memory_hint(char out[96]) {
  static const struct {
    int resource;
    char letter;
  } limits[] = {{RLIMIT_AS, 'v'}, {RLIMIT_DATA, 'd'}};
  struct rlimit limit;
  *out = 0;
  for (unsigned i = 0; i < sizeof limits / sizeof limits[0]; i++)
    if (getrlimit(limits[i].resource, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && !*out)
      snprintf(out, 96, " (ulimit -%c allows %llu MiB)", limits[i].letter, (unsigned long long)limit.rlim_cur >> 20);
  return out;
}

/* ---- memory control groups ---- */

static uint64_t read_number(const char *path) { /* "max", a missing file, anything odd: no limit */
  char text[32] = "";
  unsigned long long n = UINT64_MAX;
  FILE *f = fopen(path, "re");
  if (!f) return UINT64_MAX;
  if (!fgets(text, sizeof text, f) || sscanf(text, "%llu", &n) != 1) n = UINT64_MAX;
  fclose(f);
  return n;
}

/* The least of `file` in a group's directory and in all that it lies in. In a container the path may be the host's, of which only
 * the end is there. */
static uint64_t tightest(const char *base, char *group, const char *file) {
  char path[600];
  uint64_t least = UINT64_MAX;
  for (;;) {
    snprintf(path, sizeof path, "%s%s/%s", base, group, file);
    uint64_t n = read_number(path);
    if (n < least) least = n;
    char *slash = strrchr(group, '/');
    if (!slash) return least;
    *slash = 0;
  }
}

/* A line of /proc/self/cgroup: "HIERARCHY:CONTROLLERS:PATH", where version 2 has number 0 and no controllers (cgroups(7)). */
static uint64_t group_line(const char *sys, char *line) {
  char base[300], *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
  if (!path) return UINT64_MAX;
  *controllers++ = 0, *path++ = 0;
  path[strcspn(path, "\n")] = 0;
  if (!*controllers && !strcmp(line, "0")) return tightest(sys, path, "memory.max");
  if (strcmp(controllers, "memory")) return UINT64_MAX;
  snprintf(base, sizeof base, "%s/memory", sys);
  return tightest(base, path, "memory.limit_in_bytes");
}

uint64_t host_limits_group_memory(const char *proc, const char *sys) {
  char path[300], line[512];
  uint64_t least = UINT64_MAX;
  snprintf(path, sizeof path, "%s/self/cgroup", proc);
  FILE *f = fopen(path, "re");
  while (f && fgets(line, sizeof line, f)) {
    uint64_t n = group_line(sys, line);
    if (n < least) least = n;
  }
  if (f) fclose(f);
  return least;
}
