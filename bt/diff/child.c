#define _GNU_SOURCE
#include "child.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Between fork and exec: system calls only. An exec that fails is told through `failed`. */
static void become(const struct child_start *s, int failed, pid_t parent) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  signal(SIGPIPE, SIG_DFL);
  setsid();
  if (s->own_network && unshare(CLONE_NEWNET))
    (void)!unshare(CLONE_NEWUSER | CLONE_NEWNET); /* refused: it can be seen on the network */
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);
  for (size_t n = 0; n < s->kept_count; n++) fcntl(s->kept[n], F_SETFD, 0);
  dup2(s->in, 0);
  dup2(s->out, 1);
  dup2(s->out, 2);
  execvp(s->arguments[0], (char *const *)s->arguments);
  int error = errno;
  (void)!write(failed, &error, sizeof error);
  _exit(127);
}

pid_t child_start(const struct child_start *s, char *text, size_t size) {
  int failed[2], error = 0;
  const char *program = s->arguments[0];
  pid_t parent = getpid(), pid;
  if (pipe2(failed, O_CLOEXEC)) return snprintf(text, size, "pipe: %s", strerror(errno)), 0;
  pid = fork();
  if (!pid) become(s, failed[1], parent);
  if (pid < 0) snprintf(text, size, "fork: %s", strerror(errno));
  close(failed[1]);
  if (pid > 0 && read(failed[0], &error, sizeof error) == sizeof error) { /* hung up by a successful exec */
    child_kill(&pid, &(int){0});
    if (error == ENOENT && !strchr(program, '/')) snprintf(text, size, "%s is not on PATH: %s", program, s->hint);
    else snprintf(text, size, "cannot run %s: %s", program, strerror(error));
  }
  close(failed[0]);
  return pid < 0 ? 0 : pid;
}

void child_kill(pid_t *pid, int *status) {
  if (!*pid) return;
  kill(*pid, SIGKILL);
  while (waitpid(*pid, status, 0) < 0 && errno == EINTR)
    ;
  *pid = 0;
}

void child_close(int *const *fds, size_t count) {
  for (size_t n = 0; n < count; n++) {
    if (*fds[n] >= 0) close(*fds[n]);
    *fds[n] = -1;
  }
}
