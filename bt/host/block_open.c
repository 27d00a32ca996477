/* Which image a drive's file= and format= mean (block_image.h): bt reads files and devices itself, libnbd what is at an NBD
 * server, and for all else there is a program that serves it: qemu-nbd for other formats and QEMU's other places, nbdkit for web
 * servers and for folders. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../options/values.h"
#include "block_image.h"
#include "block_probe.h"
#include "block_server.h"

void *block_fail(char error[ERROR_TEXT], const char *name, const char *format, ...) {
  char printable[128];
  va_list args;
  int n = snprintf(error, ERROR_TEXT, "%s: ", value_printable(printable, name));
  va_start(args, format);
  vsnprintf(error + n, ERROR_TEXT - (size_t)n, format, args);
  va_end(args);
  return NULL;
}

struct opening {
  const struct drive_option *drive;
  const char *file;
  bool read_only;
  struct loop *loop;
  char *error;
};

static bool begins(const char *text, const char *with) { return !strncmp(text, with, strlen(with)); }

/* "word://" or "word:" of a place that is no file. */
static bool is_url(const char *file) {
  size_t n = strspn(file, "abcdefghijklmnopqrstuvwxyz0123456789+-.");
  return n > 1 && (begins(file + n, "://") || begins(file, "json:"));
}

/* ---- programs ---- */

/* Formats of others. A name with a leading slash is no URL to it. */
static struct block_image *by_qemu(const struct opening *o, const char *format) {
  const char *cache = o->drive->direct ? "--cache=none" : o->drive->no_flush ? "--cache=unsafe" : "--cache=writeback";
  char *whole = is_url(o->file) ? strdup(o->file) : realpath(o->file, NULL);
  if (!whole) return block_fail(o->error, o->file, "%s", strerror(errno));
  struct block_helper helper = {{"qemu-nbd", "--shared=8", "--format", format, cache,
                                 o->drive->discard ? "--discard=unmap" : "--discard=ignore", "--", whole, NULL},
                                "qemu-utils"};
  if (o->read_only) helper.arguments[6] = "--read-only", helper.arguments[7] = "--", helper.arguments[8] = whole;
  struct block_image *made = block_nbd_open(o->file, NULL, &helper, o->read_only, format, o->loop, o->error);
  free(whole);
  return made;
}

static struct block_image *by_curl(const struct opening *o) {
  char url[4096];
  if ((size_t)snprintf(url, sizeof url, "url=%s", o->file) >= sizeof url)
    return block_fail(o->error, o->file, "the name is too long");
  const struct block_helper helper = {{"nbdkit", "--exit-with-parent", "--readonly", "curl", url, NULL}, "nbdkit"};
  return block_nbd_open(o->file, NULL, &helper, true, "raw", o->loop, o->error);
}

/* Bytes of a disk for a folder's files, in clusters of 16 KiB as nbdkit's: 2 GiB at least, without which there would be too few
 * clusters for FAT32 too (65525; Microsoft's FAT specification, 3.5: their number is what tells the kinds apart). A power of two:
 * of some other sizes nbdkit 1.32 dies (an assertion, at 2049M). */
static uint64_t room_for(const char *folder) {
  enum { CLUSTER = 16384 };
  char *const roots[] = {(char *)folder, NULL};
  uint64_t sum = 0, size = UINT64_C(2) << 30;
  FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
  for (FTSENT *e; walk && (e = fts_read(walk));)
    if (e->fts_info == FTS_F || e->fts_info == FTS_D) sum += ((uint64_t)e->fts_statp->st_size / CLUSTER + 1) * CLUSTER;
  if (walk) fts_close(walk);
  while (size - size / 4 < sum && size < UINT64_C(1) << 40) size *= 2;
  return size;
}

/* fat:[floppy:][12:|16:|32:][rw:]FOLDER. What is made of it is a disk with one partition, FAT32 whatever is asked for. */
static struct block_image *by_folder(const struct opening *o) {
  char dir[4096], size[40];
  struct stat st;
  const char *folder = o->file + strlen("fat:");
  for (bool more = true; more;) {
    more = begins(folder, "12:") || begins(folder, "16:") || begins(folder, "32:");
    if (begins(folder, "rw:"))
      return block_fail(o->error, o->file,
                        "bt writes into no folder of the host: without rw:, what the guest writes is gone at the end");
    if (begins(folder, "floppy:")) return block_fail(o->error, o->file, "bt makes hard disks of folders, no floppies");
    folder += more ? 3 : 0;
  }
  if (stat(folder, &st) < 0) return block_fail(o->error, o->file, "%s", strerror(errno));
  if (!S_ISDIR(st.st_mode)) return block_fail(o->error, o->file, "it is no folder");
  if ((size_t)snprintf(dir, sizeof dir, "dir=%s", folder) >= sizeof dir)
    return block_fail(o->error, o->file, "the name is too long");
  snprintf(size, sizeof size, "size=%llu", (unsigned long long)room_for(folder));
  const struct block_helper helper = {{"nbdkit", "--exit-with-parent", "--readonly", "floppy", dir, size, NULL}, "nbdkit"};
  struct block_image *made = block_nbd_open(o->file, NULL, &helper, true, "raw", o->loop, o->error);
  return made && !o->drive->read_only && !o->drive->snapshot ? block_overlay_open(made, o->error) : made;
}

/* ---- servers ---- */

/* nbd:HOST:PORT[:exportname=NAME], nbd:unix:PATH[:exportname=NAME]: as QEMU wrote them before there were URIs. */
static struct block_image *by_old_address(const struct opening *o) {
  char uri[4096], place[2048];
  const char *address = o->file + strlen("nbd:"), *name = strstr(address, ":exportname=");
  size_t length = name ? (size_t)(name - address) : strlen(address);
  if (length >= sizeof place || strlen(address) >= sizeof place) return block_fail(o->error, o->file, "the name is too long");
  memcpy(place, address, length), place[length] = 0;
  name = name ? name + strlen(":exportname=") : "";
  if (begins(place, "unix:")) snprintf(uri, sizeof uri, "nbd+unix:///%s?socket=%s", name, place + strlen("unix:"));
  else snprintf(uri, sizeof uri, "nbd://%s/%s", place, name);
  return block_nbd_open(o->file, uri, NULL, o->read_only, "raw", o->loop, o->error);
}

static struct block_image *by_url(const struct opening *o, bool raw) {
  const char *file = o->file;
  if (raw && (begins(file, "nbd://") || begins(file, "nbds://") || begins(file, "nbd+unix://") || begins(file, "nbds+unix://")))
    return block_nbd_open(file, file, NULL, o->read_only, "raw", o->loop, o->error);
  if (raw && (begins(file, "http://") || begins(file, "https://"))) return by_curl(o);
  return by_qemu(o, o->drive->format ? o->drive->format : "raw");
}

/* ---- files ---- */

static const char *guess(const struct opening *o) {
  uint8_t bytes[BLOCK_PROBE];
  int fd = open(o->file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  ssize_t n = fd < 0 ? -1 : pread(fd, bytes, sizeof bytes, 0);
  if (fd >= 0) close(fd);
  return n < 0 ? "raw" : block_probe(bytes, (size_t)n, o->file); /* what is wrong with it, opening it says */
}

static struct block_image *by_file(struct opening *o) {
  if (begins(o->file, "file:")) o->file += strlen("file:");
  const char *format = o->drive->format ? o->drive->format : guess(o);
  if (!strcmp(format, "luks")) return block_fail(o->error, o->file, "an encrypted image: bt opens none");
  if (strcmp(format, "raw")) return by_qemu(o, format);
  struct block_image *made = block_raw_open(o->file, o->drive, o->read_only, o->error);
  if (made) made->guessed = !o->drive->format;
  return made;
}

static struct block_image *open_base(struct opening *o) {
  bool raw = !o->drive->format || !strcmp(o->drive->format, "raw");
  if (begins(o->file, "null-co://") || begins(o->file, "null-aio://")) return block_null_open(o->drive->null_size, o->error);
  if (begins(o->file, "fat:")) return by_folder(o);
  if (is_url(o->file)) return by_url(o, raw);
  return begins(o->file, "nbd:") ? by_old_address(o) : by_file(o);
}

struct block_image *block_open(const struct drive_option *drive, struct loop *loop, char error[ERROR_TEXT]) {
  struct opening o = {drive, drive->file, drive->read_only || drive->snapshot, loop, error};
  struct block_image *made = open_base(&o);
  if (!made) return NULL;
  if (drive->snapshot) return block_overlay_open(made, error);
  if (!made->read_only || drive->read_only) return made;
  block_close(made);
  return block_fail(error, drive->file, "it can only be read: readonly=on, or snapshot=on for what is gone at the end");
}
