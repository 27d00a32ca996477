/* Opening and writing it holds nobody up for long, whatever its name stands for: a pipe that nobody reads is an error at once,
 * and what has taken nothing for STALLED_MS (a pipe whose reader sleeps, a terminal that was stopped) takes nothing any more.
 * Signals, by which the vCPU's thread is called all the time, interrupt no writing. A file of a file system is written by stdio
 * itself. */
#define _GNU_SOURCE
#include "output_file.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { STALLED_MS = 2000 };
struct output {
  int fd;
  bool stalled;
};

static int64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* False: it has room for nothing, for too long. */
static bool wait_for_room(struct output *o) {
  struct pollfd fd = {.fd = o->fd, .events = POLLOUT};
  const int64_t end = now_ms() + STALLED_MS;
  for (int64_t left = STALLED_MS; left > 0; left = end - now_ms())
    if (poll(&fd, 1, (int)left) > 0) return true;
  return o->stalled = true, false;
}

/* What stdio wants of a cookie: 0 is an error, and errno its reason. */
static ssize_t put(void *cookie, const char *bytes, size_t size) {
  struct output *o = cookie;
  for (size_t done = 0; done < size;) {
    if (o->stalled) return errno = ETIMEDOUT, 0;
    ssize_t n = write(o->fd, bytes + done, size - done);
    if (n > 0) done += (size_t)n;
    else if (n < 0 && errno == EAGAIN) wait_for_room(o);
    else if (n == 0 || errno != EINTR) return 0;
  }
  return (ssize_t)size;
}

static int end(void *cookie) {
  struct output *o = cookie;
  int result = close(o->fd);
  free(o);
  return result;
}

static FILE *open_special(int fd) {
  struct output *o = malloc(sizeof *o);
  if (!o) return NULL;
  *o = (struct output){.fd = fd};
  FILE *made = fopencookie(o, "w", (cookie_io_functions_t){.write = put, .close = end});
  if (!made) free(o);
  return made;
}

FILE *output_file_open(const char *path) {
  struct stat st;
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0666);
  if (fd < 0) return NULL;
  FILE *made = fstat(fd, &st) < 0 ? NULL : S_ISREG(st.st_mode) ? fdopen(fd, "w") : open_special(fd);
  if (made) return made;
  int error = errno;
  close(fd);
  return errno = error, NULL;
}

const char *output_file_problem(int error) {
  switch (error) {
  case ENXIO: return "nobody reads the other end of this pipe";
  case ETIMEDOUT: return "nobody takes what is written there";
  default: return strerror(error);
  }
}
