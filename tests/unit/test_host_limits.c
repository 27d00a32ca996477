// Resource limits and control groups, as the host tells of them. Run only this: build/unit/test_host_limits
// sources: bt/host/host_limits.c
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "bt/host/host_limits.h"

/* ---- control groups: files as the kernel would have them, below a directory of the test's ---- */

struct tree {
  char top[32], proc[64], sys[64];
};

static void put(const struct tree *t, const char *path, const char *text) {
  char command[300], whole[200];
  snprintf(whole, sizeof whole, "%s/%s", t->top, path);
  snprintf(command, sizeof command, "mkdir -p $(dirname %s)", whole);
  assert_int_equal(system(command), 0);
  FILE *f = fopen(whole, "w");
  assert_non_null(f);
  fputs(text, f);
  fclose(f);
}
static void plant(struct tree *t, const char *groups) {
  strcpy(t->top, "/tmp/bt-limits-XXXXXX");
  assert_non_null(mkdtemp(t->top));
  snprintf(t->proc, sizeof t->proc, "%s/proc", t->top);
  snprintf(t->sys, sizeof t->sys, "%s/sys", t->top);
  if (groups) put(t, "proc/self/cgroup", groups);
}
static void fell(struct tree *t) {
  char command[100];
  snprintf(command, sizeof command, "rm -r %s", t->top);
  assert_int_equal(system(command), 0);
}
static void assert_memory(struct tree *t, uint64_t bytes) {
  assert_int_equal(host_limits_group_memory(t->proc, t->sys), bytes);
  fell(t);
}

static void the_tightest_of_all_groups_above(void **state) {
  struct tree t;
  plant(&t, "0::/user.slice/app/job\n");
  put(&t, "sys/user.slice/app/job/memory.max", "max\n");
  put(&t, "sys/user.slice/app/memory.max", "268435456\n");
  put(&t, "sys/user.slice/memory.max", "536870912\n");
  assert_memory(&t, 256 << 20);
}
static void version_1_is_a_line_of_its_own(void **state) {
  struct tree t;
  plant(&t, "5:cpu:/other\n4:memory:/a/b\n0::/\n");
  put(&t, "sys/memory/a/b/memory.limit_in_bytes", "100000000\n");
  put(&t, "sys/memory/memory.limit_in_bytes", "9223372036854771712\n");
  put(&t, "sys/memory/other/memory.limit_in_bytes", "5\n");
  assert_memory(&t, 100000000);
}
/* A container's own path, as the host has it, is not there: its root is. */
static void a_path_that_is_the_hosts(void **state) {
  struct tree t;
  plant(&t, "4:memory:/docker/0123456789abcdef\n");
  put(&t, "sys/memory/memory.limit_in_bytes", "67108864\n");
  assert_memory(&t, 64 << 20);
}
static void nothing_known_is_no_limit(void **state) {
  static const char *const texts[] = {
    NULL, "", "0::/\n", "garbage", "0:", "::::\n", "4:memory\n", "4:memory:\n", "0::/x/../../../../../../y\n"};
  for (unsigned i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    struct tree t;
    plant(&t, texts[i]);
    if (!texts[i]) put(&t, "empty", "");
    put(&t, "sys/memory.max", "max\n");
    assert_memory(&t, UINT64_MAX);
  }
  char long_line[5000];
  memset(long_line, '/', sizeof long_line - 1);
  memcpy(long_line, "0::", 3);
  long_line[sizeof long_line - 1] = 0;
  struct tree t;
  plant(&t, long_line);
  assert_memory(&t, UINT64_MAX);
}

/* ---- resource limits: each in a process of its own ---- */

static void lower(int resource, rlim_t soft, rlim_t hard) {
  struct rlimit limit = {soft, hard};
  if (setrlimit((__rlimit_resource_t)resource, &limit) < 0) _exit(99);
}
#define IN_A_CHILD(body) \
  do { \
    int status_; \
    pid_t child_ = fork(); \
    if (!child_) { \
      body; \
      _exit(98); \
    } \
    assert_int_equal(waitpid(child_, &status_, 0), child_); \
    assert_true(WIFEXITED(status_)); \
    assert_int_equal(WEXITSTATUS(status_), 0); \
  } while (0)

static int raised(int resource, rlim_t at_least) {
  char error[ERROR_TEXT];
  struct rlimit now;
  if (!host_limits_prepare(error)) return 1;
  getrlimit((__rlimit_resource_t)resource, &now);
  return now.rlim_cur < at_least;
}
static int refused(const char *says) {
  char error[ERROR_TEXT] = "";
  return host_limits_prepare(error) || !strstr(error, says);
}
static int hinted(const char *hint) {
  char text[96];
  return strcmp(host_limits_memory_hint(text), hint) != 0;
}

static void soft_limits_are_raised(void **state) {
  IN_A_CHILD(lower(RLIMIT_NOFILE, 5, 1000); _exit(raised(RLIMIT_NOFILE, 20)));
  IN_A_CHILD(lower(RLIMIT_STACK, 65536, 8 << 20); _exit(raised(RLIMIT_STACK, 200 << 10)));
}
static void hard_limits_are_a_line(void **state) {
  IN_A_CHILD(lower(RLIMIT_NOFILE, 4, 8); _exit(refused("ulimit -n: 8 open files are too few")));
  IN_A_CHILD(lower(RLIMIT_STACK, 65536, 131072); _exit(refused("ulimit -s: a stack of 128 KiB is too small")));
}
static void memory_limits_are_hinted_at(void **state) {
  struct rlimit space, data;
  /* ours already */
  if (getrlimit(RLIMIT_AS, &space) < 0 || getrlimit(RLIMIT_DATA, &data) < 0 || space.rlim_cur != RLIM_INFINITY ||
      data.rlim_cur != RLIM_INFINITY)
    skip();
  IN_A_CHILD(_exit(hinted("")));
  IN_A_CHILD(lower(RLIMIT_DATA, 1u << 30, 1u << 30); _exit(hinted(" (ulimit -d allows 1024 MiB)")));
}
static void too_large_a_file_is_no_signal(void **state) {
  char error[ERROR_TEXT];
  IN_A_CHILD(host_limits_prepare(error); raise(SIGXFSZ); _exit(0));
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_tightest_of_all_groups_above), cmocka_unit_test(version_1_is_a_line_of_its_own),
    cmocka_unit_test(a_path_that_is_the_hosts),         cmocka_unit_test(nothing_known_is_no_limit),
    cmocka_unit_test(soft_limits_are_raised),           cmocka_unit_test(hard_limits_are_a_line),
    cmocka_unit_test(memory_limits_are_hinted_at),      cmocka_unit_test(too_large_a_file_is_no_signal),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
