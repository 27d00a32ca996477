#define _GNU_SOURCE
#include "block_lock.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include "block_image.h"

/* Two groups of bytes, one byte of each for a way of using an image: who uses it so has a read lock on USED + way, who lets
 * nobody else use it so, one on REFUSED + way. What one is about to do is in the way of another where that other holds the byte
 * of the other group. Seen in /proc/locks of QEMU 7.2: a disk that is written has 100, 101 and 201, one that is read 100, 201 and
 * 203. */
enum { USED = 100, REFUSED = 200 };
enum way { READ, WRITE, WRITE_UNCHANGED, RESIZE, WAYS };
static const char *const names[WAYS] = {"consistent read", "write", "write unchanged", "resize"};

static bool set(int fd, short type, off_t byte) {
  struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
  return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

/* Does anybody else hold it? */
static bool is_held(int fd, off_t byte) {
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
  return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

/* First all locks are taken, then all others looked for: of two that begin at once, one sees the other, or both do. */
bool block_lock(int fd, bool read_only, const char *path, char error[ERROR_TEXT]) {
  unsigned uses = read_only ? 1u << READ : 1u << READ | 1u << WRITE;
  unsigned refuses = read_only ? 1u << WRITE | 1u << RESIZE : 1u << WRITE;
  for (unsigned way = 0; way < WAYS; way++) {
    if (uses >> way & 1 && !set(fd, F_RDLCK, USED + way) && errno != EAGAIN && errno != EACCES) return true;
    if (refuses >> way & 1 && !set(fd, F_RDLCK, REFUSED + way) && errno != EAGAIN && errno != EACCES) return true;
  }
  for (unsigned way = 0; way < WAYS; way++) {
    bool uses_refused = uses >> way & 1 && is_held(fd, REFUSED + way),
         refuses_used = refuses >> way & 1 && is_held(fd, USED + way);
    if (uses_refused || refuses_used)
      return block_fail(error, path, "Failed to get %s\"%s\" lock: Is another process using the image?",
                        uses_refused ? "" : "shared ", names[way]),
             false;
  }
  return true;
}
