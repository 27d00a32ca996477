#define _GNU_SOURCE
#include "terminal.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
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

/* ---- what is said meanwhile ---- */

enum { HELD = 1 << 20 };

/* A file that does not grow, so that a log without end does not eat the host's memory. */
static int open_held(void) {
  int fd = isatty(STDERR_FILENO) ? memfd_create("bt-messages", MFD_CLOEXEC | MFD_ALLOW_SEALING) : -1;
  if (fd < 0) return -1;
  if (ftruncate(fd, HELD) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_GROW) == 0) return fd;
  close(fd);
  return -1;
}

/* All descriptors of the file share its position: that is where the last message ends. */
static void say_held(int held, int to) {
  char bytes[4096];
  off_t end = lseek(held, 0, SEEK_CUR);
  for (off_t at = 0; at < end;) {
    ssize_t n = pread(held, bytes, end - at < (off_t)sizeof bytes ? (size_t)(end - at) : sizeof bytes, at);
    if (n <= 0 || write(to, bytes, (size_t)n) < 0) return;
    at += n;
  }
}

static void hold(struct terminal *t) {
  if (t->held < 0 || (t->before = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3)) < 0) return;
  dup2(t->held, STDERR_FILENO);
}

/* The keeper has said it where the terminal was not given back. */
static void release(struct terminal *t) {
  if (t->before >= 0) {
    dup2(t->before, STDERR_FILENO);
    close(t->before);
    if (t->given_back || t->keeper <= 0) say_held(t->held, STDERR_FILENO);
  }
  if (t->held >= 0) close(t->held);
  t->before = t->held = -1;
}

/* ---- the keeper ---- */

/* What the keeper is told, by one write() that is smaller than PIPE_BUF: whole, or not at all. A byte behind it: the text is not
 * needed any more. */
struct keeper_message {
  struct termios raw;
  char farewell[TERMINAL_FAREWELL];
};

/* In a session of its own: the terminal's signals do not reach it, and it may set the terminal's modes from the background. */
static void keep(const struct terminal *t, int pipe_end) {
  struct keeper_message m;
  char byte;
  setsid();
  prctl(PR_SET_NAME, "bt-terminal");
  int ignored[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGTTOU, SIGTTIN, SIGPIPE, SIGUSR1};
  for (unsigned i = 0; i < sizeof ignored / sizeof ignored[0]; i++) signal(ignored[i], SIG_IGN);
  int fd = dup2(t->fd, 0);
  pipe_end = dup2(pipe_end, 1);
  /* whoever waits for our standard output to end must not wait for the keeper */
  int held = t->held >= 0 ? dup2(t->held, 2) : -1;
  close_range(held < 0 ? 2 : 3, ~0u, 0);
  ssize_t told, n;
  do told = read(pipe_end, &m, sizeof m);
  while (told < 0 && errno == EINTR);
  bool given_back = false;
  do {
    n = read(pipe_end, &byte, 1);
    given_back |= n > 0;
  } while (n > 0 || (n < 0 && errno == EINTR));
  if (told != sizeof m) _exit(0);
  put_back(fd, &m.raw, &t->saved);
  if (given_back || !*m.farewell) _exit(0);
  if (write(fd, m.farewell, strnlen(m.farewell, sizeof m.farewell)) < 0) _exit(0); /* the terminal is gone */
  if (held >= 0) say_held(held, fd);
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

void terminal_open(struct terminal *t, int fd, bool screen) {
  *t = (struct terminal){.fd = fd, .keeper_pipe = -1, .keeper = -1, .held = -1, .before = -1};
  t->is_terminal = isatty(fd) && tcgetattr(fd, &t->saved) == 0;
  if (t->is_terminal && screen) t->held = open_held();
  if (t->is_terminal) start_keeper(t);
}

/* The modes are set: as the terminal took them they are what is to be undone. */
static void tell_keeper(struct terminal *t, const char *farewell) {
  struct keeper_message m = {.raw = t->raw};
  tcgetattr(t->fd, &m.raw);
  t->raw = m.raw;
  t->raw_now = true;
  if (t->keeper_pipe < 0) return;
  strncpy(m.farewell, farewell, sizeof m.farewell - 1);
  ssize_t sent = write(t->keeper_pipe, &m, sizeof m);
  (void)sent; /* the keeper is gone: nothing to be done */
}

void terminal_taken(struct terminal *t, const char *farewell) {
  if (!t->is_terminal) return;
  tell_keeper(t, farewell);
  hold(t);
}

void terminal_given_back(struct terminal *t) {
  t->given_back = true;
  if (t->raw_now && t->keeper_pipe >= 0 && write(t->keeper_pipe, "", 1) < 0) {} /* it is gone */
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
  tell_keeper(t, "");
}

void terminal_again(const struct terminal *t) {
  /* in the background it would stop us again */
  if (t->raw_now && tcgetpgrp(t->fd) == getpgrp()) tcsetattr(t->fd, TCSANOW, &t->raw);
}

void terminal_close(struct terminal *t) {
  if (t->raw_now && tcgetpgrp(t->fd) == getpgrp()) put_back(t->fd, &t->raw, &t->saved);
  t->raw_now = false;
  if (t->keeper_pipe >= 0) {
    close(t->keeper_pipe);
    t->keeper_pipe = -1;
    while (waitpid(t->keeper, NULL, 0) < 0 && errno == EINTR) {}
  }
  release(t);
}
