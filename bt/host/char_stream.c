#define _GNU_SOURCE
#include "char_stream.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "../options/values.h"

void char_stream_init(struct char_stream *h) { *h = (struct char_stream){.in = -1, .out = -1, .listener = -1}; }

static bool fail(const struct char_stream *h, char error[ERROR_TEXT], const char *what, const char *path, const char *why) {
  char name[128];
  snprintf(error, ERROR_TEXT, "%s %s%s: %s", h->option, what, value_printable(name, path), why);
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
  if (h->out < 0) return fail(h, error, "stdio", "", strerror(errno));
  h->in_socket = is_socket(h->in);
  h->out_socket = is_socket(h->out);
  return true;
}

static bool open_unix(struct char_stream *h, const struct chardev_option *option, char error[ERROR_TEXT]) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  memcpy(address.sun_path, option->path, strnlen(option->path, sizeof address.sun_path - 1));
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  h->in_socket = h->out_socket = true;
  if (fd < 0) return fail(h, error, "unix:", option->path, strerror(errno));
  if (!option->server) {
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
      fail(h, error, "unix:", option->path, strerror(errno));
      close(fd);
      return false;
    }
    h->in = h->out = fd;
    return true;
  }
  struct stat st;
  if (stat(option->path, &st) == 0 && S_ISSOCK(st.st_mode)) unlink(option->path); /* left over from an earlier run */
  h->listener = fd;
  if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 1) < 0)
    return fail(h, error, "unix:", option->path, strerror(errno));
  strcpy(h->path, option->path);
  if (!option->wait) return true;
  fprintf(stderr, "bt: waiting for a connection on %s\n", option->path);
  do h->in = h->out = accept4(h->listener, NULL, NULL, SOCK_CLOEXEC);
  while (h->in < 0 && (errno == EINTR || errno == ECONNABORTED));
  return h->in >= 0 ? true : fail(h, error, "unix:", option->path, strerror(errno));
}

bool char_stream_open(struct char_stream *h, const struct chardev_option *option, char error[ERROR_TEXT]) {
  h->option = option->option;
  switch (option->kind) {
  case CHARDEV_NULL: return true;
  case CHARDEV_STDIO: return open_stdio(h, error);
  case CHARDEV_SOCKET: return open_unix(h, option, error);
  case CHARDEV_FILE:
    h->out = open(option->path, O_WRONLY | O_CREAT | (option->append ? O_APPEND : O_TRUNC) | O_CLOEXEC | O_NOCTTY, 0666);
    if (h->out < 0) return fail(h, error, "file:", option->path, strerror(errno));
    /* a terminal or FIFO; ours alone */
    fcntl(h->out, F_SETFL, O_NONBLOCK | (option->append ? O_APPEND : 0));
    return true;
  }
  return false;
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
  if (*h->path) unlink(h->path);
  h->listener = -1;
}
