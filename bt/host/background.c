#define _GNU_SOURCE
#include "background.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../options/values.h"

/* In the process that the user started. */
static void wait_until_ready(int fd) {
  char byte;
  ssize_t n;
  do n = read(fd, &byte, 1);
  while (n < 0 && errno == EINTR);
  _exit(n == 1 ? 0 : 1);
}

int background_start(void) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return -1;
  pid_t child = fork();
  if (child < 0) return -1;
  if (child > 0) {
    close(ends[1]);
    wait_until_ready(ends[0]);
  }
  close(ends[0]);
  setsid();
  child = fork(); /* no session leader: no terminal can become ours */
  if (child > 0) _exit(0);
  return child < 0 ? -1 : ends[1];
}

void background_ready(int tell) {
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; null >= 0 && fd <= 2; fd++) dup2(null, fd);
  if (chdir("/") < 0 || write(tell, "", 1) < 0) {}
  close(tell);
}

int pidfile_create(const char *path, char error[ERROR_TEXT]) {
  char name[128], text[32];
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  bool ok = fd >= 0 && lockf(fd, F_TLOCK, 0) == 0 && ftruncate(fd, 0) == 0;
  int length = snprintf(text, sizeof text, "%d\n", (int)getpid());
  if (ok && write(fd, text, (size_t)length) == length) return fd;
  int failed = errno;
  if (ok) unlink(path); /* locked, so ours: no half a file is left */
  errno = failed;
  snprintf(error, ERROR_TEXT, "-pidfile: %s: %s", value_printable(name, path),
           errno == EAGAIN || errno == EACCES ? "in use, or not allowed" : strerror(errno));
  if (fd >= 0) close(fd);
  return -1;
}

void pidfile_remove(int fd, const char *path) {
  if (fd < 0) return;
  unlink(path);
  close(fd);
}
