/* A character back end on the host (devices/backend.h): the terminal, a file, a socket. One that is multiplexed has up to four
 * front ends, of which one has the focus, and the escapes of a console (console.h), which move the focus on.
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
/* What the front end of `owner` (any pointer that is its own) connects to; the same each time it is asked for. The first has the
 * focus. patient: what it writes while the host takes nothing is waited for; else it is kept in memory, and lost when that is too
 * much. NULL: there is no room for one more - one without multiplexing, CHARDEV_FRONTS with - or no memory. */
struct char_backend *chardev_attach(struct chardev *c, const void *owner, bool patient);
/* A person may be typing there: the terminal, a socket, not a file or a pipe. */
bool chardev_is_interactive(const struct chardev *c);
bool chardev_needs_crlf(const struct chardev *c); /* what is shown there goes through no terminal's driver of this host */
bool chardev_has_focus(const struct chardev *c, const struct char_backend *b); /* before the loop runs */
void chardev_describe(const struct chardev *c, char *out, size_t size);        /* "unix:PATH,server=on" */
const char *chardev_id(const struct chardev *c);
/* CHARDEV_VC, before the loop runs: the socket at whose other end it is, the caller's from here on; once it is closed what is
 * written vanishes. -1: it is no such page, or has been taken. */
int chardev_take_page(struct chardev *c);
/* After loop_stop(). NULL: nothing happens. */
void chardev_destroy(struct chardev *c);

/* vCPU thread. */
void chardev_flush(struct chardev *c); /* hands on what there is of a line */
void chardev_offer(struct chardev *c); /* the front end may have room for what waits: it was reset or loaded */
/* Throws away what waits for patient front ends, so that more is read (for an escape behind it). */
void chardev_discard(struct chardev *c);
/* Waits until everything is written; after chardev_cancel() for a second at most. */
void chardev_drain(struct chardev *c);
/* Any thread: a vCPU that waits for room goes on, what it writes from now on may be dropped. */
void chardev_cancel(struct chardev *c);
