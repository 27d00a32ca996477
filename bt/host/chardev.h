/* A character back end on the host (devices/backend.h): the terminal, a file, a socket; with the escapes of a console where it is
 * multiplexed.
 *
 * Output: the vCPU thread writes at once, without blocking; what the host does not take is queued and the loop goes on with it.
 * When the queue is full the vCPU waits: nothing is lost. Input: the loop reads no more than the queue holds, and posts; the vCPU
 * thread gives the front end what it has room for.
 * Invariants: S1. bytes leave in the order in which they were written. S2. A host descriptor that we share with others (the
 * terminal, a pipe of the shell's) never changes its O_NONBLOCK. S3. Nothing that happens to a descriptor ends the machine or
 * keeps a thread spinning. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "../../devices/backend.h"
#include "../boot/image.h"
#include "../options/devices.h"
#include "loop.h"
#include "post.h"

struct chardev;
struct chardev_host {
  struct loop *loop;
  struct post_queue *posts;
  uint8_t escape; /* of multiplexed ones */
  void *opaque;
  void (*quit)(void *opaque); /* the loop's thread: Ctrl-A x */
  void (*held)(void *opaque); /* vCPU thread: a part of a line waits for chardev_flush() */
};

/* Opens it (a socket that waits for its client: until one has come). What `host` points to, and texts of `option`, must outlive
 * it. NULL: `error` says why. */
struct chardev *chardev_create(const struct chardev_option *option, const struct chardev_host *host, char error[ERROR_TEXT]);
struct char_backend *chardev_backend(struct chardev *c);
const char *chardev_id(const struct chardev *c);
/* After loop_stop(). NULL: nothing happens. */
void chardev_destroy(struct chardev *c);

/* vCPU thread. */
void chardev_flush(struct chardev *c);   /* hands on what there is of a line */
void chardev_offer(struct chardev *c);   /* the front end may have room for what waits: it was reset or loaded */
void chardev_discard(struct chardev *c); /* throws away what waits, so that more is read (for an escape behind it) */
/* Waits until everything is written; after chardev_cancel() for a second at most. */
void chardev_drain(struct chardev *c);
/* Any thread: a vCPU that waits for room goes on, what it writes from now on may be dropped. */
void chardev_cancel(struct chardev *c);
