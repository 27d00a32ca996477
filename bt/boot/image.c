#include "image.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../options/values.h"

static bool fail(char error[ERROR_TEXT], const char *path, const char *what) {
  char name[128];
  snprintf(error, ERROR_TEXT, "%s: %s", value_printable(name, path), what);
  return false;
}

void image_free(struct image *image) {
  free(image->bytes);
  *image = (struct image){0};
}

/* Room for at least one more byte than there is; grows by half, or at once to what fstat() promised. */
static bool grow(struct image *image, size_t *room, size_t hint) {
  if (image->size < *room) return true;
  size_t wanted = *room ? *room + *room / 2 : hint + 1;
  uint8_t *bytes = realloc(image->bytes, wanted);
  if (!bytes) return false;
  image->bytes = bytes;
  *room = wanted;
  return true;
}

static bool read_all(struct image *image, int fd, const char *path, uint64_t max, size_t hint, char error[ERROR_TEXT]) {
  size_t room = 0;
  for (;;) {
    if (!grow(image, &room, hint)) return fail(error, path, "not enough memory to read it");
    ssize_t n = read(fd, image->bytes + image->size, room - image->size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(error, path, strerror(errno));
    if (n == 0) return image->size ? true : fail(error, path, "the file is empty");
    image->size += (size_t)n;
    if (image->size > max) return fail(error, path, "the file is too large for this machine");
  }
}

bool image_read(struct image *image, const char *path, uint64_t max, char error[ERROR_TEXT]) {
  *image = (struct image){0};
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (fd < 0) return fail(error, path, strerror(errno));
  struct stat st;
  size_t hint = 64 << 10;
  bool ok = true;
  if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
    hint = (size_t)st.st_size;
    if ((uint64_t)st.st_size > max) ok = fail(error, path, "the file is too large for this machine");
  }
  ok = ok && read_all(image, fd, path, max, hint, error);
  close(fd);
  if (!ok) image_free(image);
  return ok;
}
