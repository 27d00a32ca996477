/* Runs a program under limits of the host:  limited LIMIT... -- PROGRAM ARGUMENT...   A limit is one argument of words:
 *
 *   rlimit NAME N      both limits of setrlimit(2); soft NAME N: the soft one only
 *   refuse CALL ERRNO  a system call fails so (seccomp; several may be given)
 *   refuse execmem     no new executable memory: shared, anonymous, or by mprotect (as SELinux's execmem and execmod)
 *   close FD           a standard descriptor
 *   group DIRECTORY    into this control group
 *   empty DIRECTORY    an empty read-only file system over it; full DIRECTORY: one that has no room; readonly: no file system can
 *   be written
 *
 * Mounts are in a name space of its own. Status 77 where this host does not let us set a limit (one line says which), else the
 * program's. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { UNABLE = 77, WRONG = 78, FILTER_MAX = 128 };

#define LIMITS(X) \
  X(AS) \
  X(CORE) \
  X(CPU) \
  X(DATA) \
  X(FSIZE) \
  X(MEMLOCK) \
  X(NOFILE) \
  X(NPROC) \
  X(SIGPENDING) \
  X(STACK)
#define CALLS(X) \
  X(clone) \
  X(clone3) \
  X(eventfd2) \
  X(ftruncate) \
  X(futex) \
  X(madvise) \
  X(memfd_create) \
  X(modify_ldt) \
  X(mremap) \
  X(perf_event_open) \
  X(pipe2) \
  X(prctl) \
  X(prlimit64) \
  X(seccomp) \
  X(sigaltstack) \
  X(sysinfo) \
  X(timer_create)
#define ERRORS(X) \
  X(EACCES) \
  X(EAGAIN) \
  X(EINVAL) \
  X(EMFILE) \
  X(ENOMEM) \
  X(ENOSYS) \
  X(EPERM)
struct name {
  const char *name;
  int number;
};
static const struct name limits[] =
  {
#define LIMIT(name) {#name, RLIMIT_##name},
    LIMITS(LIMIT)},
                         calls[] =
                           {
#define CALL(name) {#name, SYS_##name},
                             CALLS(CALL)},
                         errors[] = {
#define ERROR(name) {#name, name},
                           ERRORS(ERROR)};

struct filter {
  struct sock_filter code[FILTER_MAX];
  unsigned short count;
};

static void die(int status, const char *what) {
  fprintf(stderr, "limited: %s: %s\n", what, status == WRONG ? "not understood" : strerror(errno));
  exit(status);
}
static int look_up(const struct name *names, size_t size, const char *name) {
  for (size_t i = 0; i < size / sizeof *names; i++)
    if (name && !strcmp(names[i].name, name)) return names[i].number;
  die(WRONG, name ? name : "a word is missing");
  return 0;
}

static void set_limit(const char *name, const char *value, bool hard) {
  int resource = look_up(limits, sizeof limits, name);
  struct rlimit limit;
  if (!value || getrlimit((__rlimit_resource_t)resource, &limit) < 0) die(WRONG, name);
  limit.rlim_cur = strtoull(value, NULL, 0);
  if (hard) limit.rlim_max = limit.rlim_cur;
  if (setrlimit((__rlimit_resource_t)resource, &limit) < 0) die(UNABLE, name);
}

/* ---- seccomp ---- */

static void emit(struct filter *f, uint16_t code, uint32_t k, uint8_t yes, uint8_t no) {
  if (f->count == FILTER_MAX) die(WRONG, "too much is refused");
  f->code[f->count++] = (struct sock_filter)BPF_JUMP(code, k, yes, no);
}
static void load(struct filter *f, size_t at) { emit(f, BPF_LD | BPF_W | BPF_ABS, (uint32_t)at, 0, 0); }
static void answer(struct filter *f, int error) { emit(f, BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error, 0, 0); }
static size_t argument(unsigned i) { return offsetof(struct seccomp_data, args) + 8 * i; }

static void refuse(struct filter *f, const char *call, const char *error) {
  load(f, offsetof(struct seccomp_data, nr));
  emit(f, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)look_up(calls, sizeof calls, call), 0, 1);
  answer(f, look_up(errors, sizeof errors, error));
}
/* mmap(2) of executable memory that is no private file's (those are libraries), mprotect(2) to executable. */
static void refuse_execmem(struct filter *f) {
  load(f, offsetof(struct seccomp_data, nr));
  emit(f, BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 0, 5);
  load(f, argument(2));
  emit(f, BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 0, 3);
  load(f, argument(3));
  emit(f, BPF_JMP | BPF_JSET | BPF_K, MAP_SHARED | MAP_ANONYMOUS, 0, 1);
  answer(f, EACCES);
  load(f, offsetof(struct seccomp_data, nr));
  emit(f, BPF_JMP | BPF_JEQ | BPF_K, SYS_mprotect, 0, 3);
  load(f, argument(2));
  emit(f, BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 0, 1);
  answer(f, EACCES);
}
static void begin_filter(struct filter *f) {
  f->count = 0;
  load(f, offsetof(struct seccomp_data, arch));
  emit(f, BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0);
  emit(f, BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
}
static void install(struct filter *f) {
  emit(f, BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
  struct sock_fprog program = {f->count, f->code};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
    die(UNABLE, "seccomp");
}

/* ---- file systems and groups ---- */

static void own_mounts(void) {
  if (unshare(CLONE_NEWNS) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0) die(UNABLE, "unshare");
  if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) die(UNABLE, "private mounts");
}
static void cover(const char *directory, bool full) {
  char path[300];
  if (!directory || mount("none", directory, "tmpfs", full ? 0 : MS_RDONLY, "size=4096") < 0)
    die(UNABLE, directory ? directory : "a directory is missing");
  if (!full) return;
  snprintf(path, sizeof path, "%s/filler", directory);
  int fd = open(path, O_CREAT | O_WRONLY, 0600);
  static const char page[4096];
  while (fd >= 0 && write(fd, page, sizeof page) > 0) {}
}
static void read_only(void) {
  struct statvfs st; /* flags that the mount has may not be taken away from a user name space */
  unsigned long keep = statvfs("/", &st) == 0 ? st.f_flag & (ST_NODEV | ST_NOSUID | ST_NOEXEC | ST_NOATIME | ST_RELATIME) : 0;
  if (mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | keep, NULL) < 0) die(UNABLE, "read-only");
}
static void join(const char *directory) {
  char path[300];
  snprintf(path, sizeof path, "%s/cgroup.procs", directory ? directory : "");
  FILE *f = fopen(path, "w");
  if (!f || fprintf(f, "%d\n", (int)getpid()) < 0 || fclose(f)) die(UNABLE, path);
}

/* ---- words ---- */

static void apply(char *limit, struct filter *f, bool *mounts) {
  char whole[200], *rest, *word = strtok_r(limit, " ", &rest), *first = strtok_r(NULL, " ", &rest),
                          *second = strtok_r(NULL, " ", &rest);
  snprintf(whole, sizeof whole, "%s %s", word ? word : "", first ? first : "");
  if (!word) die(WRONG, "an empty limit");
  bool covers = !strcmp(word, "empty") || !strcmp(word, "full"), reads = !strcmp(word, "readonly");
  if ((covers || reads) && !*mounts) own_mounts(), *mounts = true;
  if (!strcmp(word, "rlimit") || !strcmp(word, "soft")) set_limit(first, second, *word == 'r');
  else if (!strcmp(word, "refuse") && first && !strcmp(first, "execmem")) refuse_execmem(f);
  else if (!strcmp(word, "refuse")) refuse(f, first, second);
  else if (!strcmp(word, "close") && first) close(atoi(first));
  else if (!strcmp(word, "group")) join(first);
  else if (covers) cover(first, *word == 'f');
  else if (reads) read_only();
  else die(WRONG, whole);
}

int main(int argc, char **argv) {
  struct filter f;
  bool mounts = false;
  int i = 1;
  begin_filter(&f);
  unsigned short none = f.count;
  for (; i < argc && strcmp(argv[i], "--"); i++) apply(argv[i], &f, &mounts);
  if (i + 1 >= argc) die(WRONG, "no program");
  if (f.count > none) install(&f);
  execv(argv[i + 1], argv + i + 1);
  die(WRONG, argv[i + 1]);
}
