/* A drive: the block back end (devices/backend.h, D16) that -drive makes, with an image as its medium or none (block_image.h).
 *
 * Owns its image, what is known of its requests, and what happens at errors of the host (werror=, rerror=). A request goes to a
 * thread of the pool, which carries it out and posts it back; what ends in the page cache (page_cache.h) is done at once and
 * posted. Invariants: R1. done() is called once for each request, in the vCPU thread, never before block_submit() returns. R2.
 * What stopped the machine is tried again before anything that the guest submits later: the guest does not run meanwhile. R3. A
 * medium is taken out with no request under way. */
#pragma once
#include "../../devices/backend.h"
#include "../boot/image.h"
#include "../options/drives.h"
#include "pool.h"
#include "post.h"

struct loop;
struct block_drive;
struct block_drive_host {
  struct pool **pool; /* made when the first medium needs it; whoever hands this over ends it */
  struct post_queue *posts;
  struct loop *loop;
  void *opaque;
  /* vCPU thread: the machine is to stop; block_drive_resume() is due when it goes on. `reason` is a line for people. NULL:
   * nothing can stop, errors are reported to the guest. */
  void (*stop)(void *opaque, const char *reason);
};
struct block_drive_info {
  const char *id, *file, *format; /* file NULL: it is empty */
  bool read_only, snapshot, locked, tray_open, has_front;
  bool can_change; /* its front end takes other media */
  uint64_t size;
  struct {
    uint64_t reads, writes, flushes, bytes_read, bytes_written, errors;
  } count;
};

/* Opens the image, if it has one. What `option` and `host` point to must outlive it. NULL: `error` says why. */
struct block_drive *block_drive_create(const struct drive_option *option, const struct block_drive_host *host,
                                       char error[ERROR_TEXT]);
struct block_backend *block_drive_backend(struct block_drive *d);
const char *block_drive_id(const struct block_drive *d);
struct block_drive_info block_drive_info(const struct block_drive *d); /* texts: until the medium changes */
/* Any thread. Waits until no thread works for it; what a server keeps it waiting for is given up after `patience` ns. */
void block_drive_settle(struct block_drive *d, int64_t patience);
/* After pool_destroy(): no request is under way. NULL: nothing happens. */
void block_drive_destroy(struct block_drive *d);

/* ---- vCPU thread, between two guest instructions (commands of people) ---- */

/* Takes the medium out. False: `error` says why: the guest has it locked (and is told that somebody wants it, unless `force`),
 * the drive keeps its medium, a request waits for the machine to go on. One that is empty already: true. */
bool block_drive_eject(struct block_drive *d, bool force, char error[ERROR_TEXT]);
/* Takes the medium out and puts `file` in, which is opened first: when it cannot be, the old one stays. format NULL: what it
 * looks like. */
bool block_drive_change(struct block_drive *d, const char *file, const char *format, bool read_only, bool force,
                        char error[ERROR_TEXT]);
/* The machine goes on: what stopped it is tried again. */
void block_drive_resume(struct block_drive *d);
bool block_drive_waits(const struct block_drive *d); /* something stopped the machine */
