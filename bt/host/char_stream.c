#define _GNU_SOURCE
#include "char_stream.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>
#include "../options/values.h"

void char_stream_init(struct char_stream *h) { *h = (struct char_stream){.in = -1, .out = -1, .listener = -1, .hold = -1}; }

bool char_stream_fail(const struct char_stream *h, char error[ERROR_TEXT], const char *what, const char *name, const char *why) {
  char shown[128];
  snprintf(error, ERROR_TEXT, "%s %s%s: %s", h->option, what, value_printable(shown, name), why);
  return false;
}

/* A descriptor of our own for the same terminal or pipe, so that O_NONBLOCK is ours alone (S2). Regular files never block, and
 * must share their position with the shell's other programs: those are only duplicated. *blocking: it could not be had. */
static int open_again(int fd, int mode, bool *blocking) {
  struct stat st;
  char link[32];
  *blocking = false;
  if (fstat(fd, &st) < 0) return -1;
  if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) return fcntl(fd, F_DUPFD_CLOEXEC, 3);
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  int own = S_ISSOCK(st.st_mode) ? -1 : open(link, mode | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  *blocking = own < 0 && !S_ISSOCK(st.st_mode);
  return own >= 0 ? own : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

static bool is_socket(int fd) {
  struct stat st;
  return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

static bool open_stdio(struct char_stream *h, char error[ERROR_TEXT]) {
  bool ignored;
  h->in = open_again(STDIN_FILENO, O_RDONLY, &ignored);
  h->out = open_again(STDOUT_FILENO, O_WRONLY, &h->blocking);
  if (h->out < 0) return char_stream_fail(h, error, "stdio", "", strerror(errno));
  h->interactive = isatty(STDIN_FILENO);
  h->in_socket = is_socket(h->in);
  h->out_socket = is_socket(h->out);
  return true;
}

static bool open_file(struct char_stream *h, const struct chardev_option *option, char error[ERROR_TEXT]) {
  h->out = open(option->path, O_WRONLY | O_CREAT | (option->append ? O_APPEND : O_TRUNC) | O_CLOEXEC | O_NOCTTY, 0666);
  if (h->out < 0) return char_stream_fail(h, error, "file:", option->path, strerror(errno));
  fcntl(h->out, F_SETFL, O_NONBLOCK | (option->append ? O_APPEND : 0)); /* a terminal or FIFO; ours alone */
  return true;
}

/* Both ends of a FIFO are ours too, so that it goes on when who is at the other end goes (Linux lets one open it so). */
static int open_fifo(const char *path, const char *suffix) {
  char name[4096];
  struct stat st;
  if (snprintf(name, sizeof name, "%s%s", path, suffix) >= (int)sizeof name) return errno = ENAMETOOLONG, -1;
  int fd = open(name, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
  if (fd < 0 || (fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode))) return fd;
  close(fd);
  return errno = EINVAL, -1;
}

static bool open_pipe(struct char_stream *h, const struct chardev_option *option, char error[ERROR_TEXT]) {
  h->in = open_fifo(option->path, ".in");
  h->out = open_fifo(option->path, ".out");
  if (h->in >= 0 && h->out >= 0) return true;
  if (h->in >= 0) close(h->in);
  if (h->out >= 0) close(h->out);
  h->in = h->out = open_fifo(option->path, "");
  if (h->in >= 0) return true;
  return char_stream_fail(h, error, "pipe:", option->path,
                          errno == EINVAL ? "it is no FIFO (mkfifo makes one)" : strerror(errno));
}

/* The other side is held open here, or each client that goes would be the end of it. What nobody reads there is taken away by the
 * kernel's line discipline only as far as it has room; the rest waits, as for any reader that is slow. */
static bool open_pty(struct char_stream *h, const struct chardev_option *option, char error[ERROR_TEXT]) {
  struct termios modes;
  h->in = h->out = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
  const char *name = h->in >= 0 && grantpt(h->in) == 0 && unlockpt(h->in) == 0 ? ptsname(h->in) : NULL;
  if (name) h->hold = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (h->hold < 0) return char_stream_fail(h, error, "pty", "", strerror(errno));
  if (tcgetattr(h->hold, &modes) == 0) cfmakeraw(&modes), tcsetattr(h->hold, TCSANOW, &modes);
  h->interactive = true;
  fprintf(stderr, "bt: char device redirected to %s (label %s)\n", name, option->id ? option->id : "");
  return true;
}

static bool open_vc(struct char_stream *h, char error[ERROR_TEXT]) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) return char_stream_fail(h, error, "vc", "", strerror(errno));
  h->in = h->out = ends[0], h->hold = ends[1];
  h->in_socket = h->out_socket = h->interactive = true;
  return true;
}

bool char_stream_open(struct char_stream *h, const struct chardev_option *option, char error[ERROR_TEXT]) {
  h->option = option->option;
  switch (option->kind) {
  case CHARDEV_NULL: return true;
  case CHARDEV_STDIO: return open_stdio(h, error);
  case CHARDEV_SOCKET: return char_socket_open(h, option, error);
  case CHARDEV_PIPE: return open_pipe(h, option, error);
  case CHARDEV_PTY: return open_pty(h, option, error);
  case CHARDEV_VC: return open_vc(h, error);
  case CHARDEV_FILE: return open_file(h, option, error);
  }
  return false;
}

void char_stream_describe(const struct chardev_option *option, char *out, size_t size) {
  const char *server = option->server ? ",server=on" : "";
  switch (option->kind) {
  case CHARDEV_NULL: snprintf(out, size, "null"); break;
  case CHARDEV_STDIO: snprintf(out, size, "%s", option->mux ? "mux" : "stdio"); break;
  case CHARDEV_FILE: snprintf(out, size, "file:%s", option->path); break;
  case CHARDEV_PIPE: snprintf(out, size, "pipe:%s", option->path); break;
  case CHARDEV_PTY: snprintf(out, size, "pty"); break;
  case CHARDEV_VC: snprintf(out, size, "vc"); break;
  case CHARDEV_SOCKET:
    if (option->path) snprintf(out, size, "unix:%s%s", option->path, server);
    else snprintf(out, size, "tcp:%s:%s%s", option->host ? option->host : "", option->port, server);
    break;
  }
}

/* The connection or pipe has ended. */
static void hang_up(struct char_stream *h) {
  int out = h->out, in = h->in;
  __atomic_store_n(&h->out, -1, __ATOMIC_RELAXED);
  h->in = -1;
  if (out >= 0) close(out);
  if (in >= 0 && in != out) close(in);
}
static void end_input(struct char_stream *h) {
  if (h->in == h->out) return hang_up(h);
  close(h->in);
  h->in = -1;
}
static void end_output(struct char_stream *h, int error) {
  if (error != EPIPE && error != ECONNRESET && !h->complained)
    fprintf(stderr, "bt: %s: output is lost: %s\n", h->option, strerror(error));
  h->complained = true;
  int out = h->out;
  __atomic_store_n(&h->out, -1, __ATOMIC_RELAXED);
  if (h->in == out) h->in = -1;
  close(out);
}

unsigned char_stream_write(struct char_stream *h, const uint8_t *bytes, unsigned n) {
  unsigned done = 0;
  while (done < n && h->out >= 0) {
    ssize_t k =
      h->out_socket ? send(h->out, bytes + done, n - done, MSG_DONTWAIT | MSG_NOSIGNAL) : write(h->out, bytes + done, n - done);
    if (k > 0) done += (unsigned)k;
    else if (k < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
    else if (k < 0 && errno != EINTR) end_output(h, errno);
    else if (k == 0) break;
  }
  return done;
}

/* One that cannot be had for want of descriptors or memory stays in the queue, and the listener readable. */
static void take_client(struct char_stream *h) {
  int fd = accept4(h->listener, NULL, NULL, SOCK_CLOEXEC);
  h->lacks = fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM);
  if (fd < 0) return;
  h->in = fd;
  __atomic_store_n(&h->out, fd, __ATOMIC_RELAXED);
}

unsigned char_stream_read(struct char_stream *h, uint8_t *to, unsigned max) {
  if (h->in < 0) return take_client(h), 0;
  ssize_t n = max ? h->in_socket ? recv(h->in, to, max, MSG_DONTWAIT) : read(h->in, to, max) : 0;
  if (n > 0) return (unsigned)n;
  if (max && (n == 0 || (errno != EAGAIN && errno != EINTR))) end_input(h);
  return 0;
}

void char_stream_close(struct char_stream *h) {
  hang_up(h);
  if (h->listener >= 0) close(h->listener);
  if (h->hold >= 0) close(h->hold);
  if (*h->path) unlink(h->path);
  h->listener = h->hold = -1;
}
