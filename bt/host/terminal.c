#define _GNU_SOURCE
#include "terminal.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static bool same_modes(const struct termios *a, const struct termios *b) {
  return a->c_iflag == b->c_iflag && a->c_oflag == b->c_oflag && a->c_cflag == b->c_cflag && a->c_lflag == b->c_lflag &&
         !memcmp(a->c_cc, b->c_cc, sizeof a->c_cc);
}

/* Back to the saved modes, unless somebody else (a shell that has taken over) has changed ours. */
static void put_back(int fd, const struct termios *raw, const struct termios *saved) {
  struct termios now;
  if (tcgetattr(fd, &now) == 0 && same_modes(&now, raw)) tcsetattr(fd, TCSANOW, saved);
}

/* In a session of its own: the terminal's signals do not reach it, and it may set the terminal's modes from the background. */
static void keep(const struct terminal *t, int pipe_end) {
  struct termios raw;
  char byte;
  setsid();
  prctl(PR_SET_NAME, "bt-terminal");
  int ignored[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGTTOU, SIGTTIN, SIGPIPE, SIGUSR1};
  for (unsigned i = 0; i < sizeof ignored / sizeof ignored[0]; i++) signal(ignored[i], SIG_IGN);
  int fd = dup2(t->fd, 0);
  pipe_end = dup2(pipe_end, 1);
  close_range(2, ~0u, 0); /* whoever waits for our standard output to end must not wait for the keeper */
  ssize_t told, n;
  do told = read(pipe_end, &raw, sizeof raw); /* one write() of ours, smaller than PIPE_BUF: whole, or the end */
  while (told < 0 && errno == EINTR);
  do n = read(pipe_end, &byte, 1);
  while (n > 0 || (n < 0 && errno == EINTR));
  if (told == sizeof raw) put_back(fd, &raw, &t->saved);
  _exit(0);
}

static void start_keeper(struct terminal *t) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return;
  /* Blocked over the fork and for all of the keeper's life: a SIGHUP before its setsid() would be the end of it. */
  sigset_t all, before;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, &before);
  t->keeper = fork();
  if (t->keeper != 0) sigprocmask(SIG_SETMASK, &before, NULL);
  if (t->keeper == 0) {
    close(ends[1]);
    keep(t, ends[0]);
  }
  close(ends[0]);
  if (t->keeper < 0) {
    close(ends[1]);
    return;
  }
  t->keeper_pipe = ends[1];
}

void terminal_open(struct terminal *t, int fd) {
  *t = (struct terminal){.fd = fd, .keeper_pipe = -1, .keeper = -1};
  t->is_terminal = isatty(fd) && tcgetattr(fd, &t->saved) == 0;
  if (t->is_terminal) start_keeper(t);
}

void terminal_make_raw(struct terminal *t, bool signals) {
  if (!t->is_terminal) return;
  t->raw = t->saved;
  t->raw.c_iflag &= ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
  t->raw.c_oflag |= OPOST;
  t->raw.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | IEXTEN | (signals ? 0 : ISIG));
  t->raw.c_cflag = (t->raw.c_cflag & ~(tcflag_t)(CSIZE | PARENB)) | CS8;
  t->raw.c_cc[VMIN] = 1;
  t->raw.c_cc[VTIME] = 0;
  if (tcsetattr(t->fd, TCSANOW, &t->raw) < 0) return;
  struct termios taken = t->raw;
  tcgetattr(t->fd, &taken); /* as the terminal took it */
  t->raw = taken;
  t->raw_now = true;
  if (t->keeper_pipe < 0) return;
  ssize_t sent = write(t->keeper_pipe, &taken, sizeof taken);
  (void)sent; /* the keeper is gone: nothing to be done */
}

void terminal_again(const struct terminal *t) {
  /* in the background it would stop us again */
  if (t->raw_now && tcgetpgrp(t->fd) == getpgrp()) tcsetattr(t->fd, TCSANOW, &t->raw);
}

void terminal_close(struct terminal *t) {
  if (t->raw_now && tcgetpgrp(t->fd) == getpgrp()) put_back(t->fd, &t->raw, &t->saved);
  t->raw_now = false;
  if (t->keeper_pipe < 0) return;
  close(t->keeper_pipe);
  t->keeper_pipe = -1;
  while (waitpid(t->keeper, NULL, 0) < 0 && errno == EINTR) {}
}
