/* A machine's I/O thread: it waits for descriptors, times and the ends of child processes, and calls who asked for them.
 *
 * Everything below but loop_stop() and loop_destroy() may be called from any thread, callbacks included. Callbacks run in the
 * loop's thread, one at a time, without the loop's lock. What they find for the guest they hand to the vCPU thread (post.h).
 * Watches, timers and children belong to who adds them, and stay where they are until they are removed; the loop keeps links.
 * Invariants: L1. nothing is waited for by looking again and again: a loop that nothing happens to sleeps. L2. When
 * loop_remove(), loop_timer_cancel() or loop_child_remove() returns, the callback neither runs nor will. So whoever calls one of
 * them outside the loop's thread must not hold a lock that the callback takes. */
#pragma once
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct loop;

struct loop_watch {
  int fd;       /* -1: nothing to wait for at the moment */
  short events; /* POLLIN, POLLOUT; 0: as if fd were -1, a hang-up is not told either */
  void (*ready)(void *opaque, short events);
  void *opaque;
  struct loop_watch *next; /* the loop's, as what follows */
  bool listed;
};

struct loop_timer {
  void (*due)(void *opaque);
  void *opaque;
  int64_t at; /* the loop's, as what follows */
  uint64_t number;
  struct loop_timer *next;
  bool listed;
};

struct loop_child {
  pid_t pid; /* a child of this process that nobody else waits for */
  void (*ended)(void *opaque, int status /* as of waitpid(); -1: somebody else has waited for it */);
  void *opaque;
  struct loop *loop; /* the loop's, as what follows */
  struct loop_watch watch;
  struct loop_timer timer; /* where the host's kernel has no pidfd_open(), 20 times a second */
  bool watched;
};

/* NULL: errno says why. No thread yet. */
struct loop *loop_create(void);
/* The thread, which takes no signal but those that stop a process for its terminal's sake. False: errno says why. */
bool loop_start(struct loop *l);
bool loop_started(const struct loop *l); /* and not stopped */
/* Ends the thread, for good. False: it has been stuck in a callback for a second (a write that blocks), and goes on using the
 * loop and what is watched: all of that must be left as it is. */
bool loop_stop(struct loop *l);
/* After loop_stop() that was true, or without a thread. Watches that are still listed are forgotten. NULL: nothing happens. */
void loop_destroy(struct loop *l);

/* Starts waiting as w->fd and w->events say. False: not enough memory, nothing is added. */
bool loop_add(struct loop *l, struct loop_watch *w);
/* Waits for this from now on. An event that has been seen and not been told yet is not told if it is no longer asked for. */
void loop_change(struct loop *l, struct loop_watch *w, int fd, short events);
void loop_remove(struct loop *l, struct loop_watch *w); /* one that is not listed: nothing happens */

int64_t loop_now(void); /* CLOCK_MONOTONIC, ns */
/* Calls t->due once, at loop_now() == `at` or as soon as it can after that; replaces what was set. */
void loop_timer_set(struct loop *l, struct loop_timer *t, int64_t at);
void loop_timer_cancel(struct loop *l, struct loop_timer *t);

/* Calls c->ended once, when the child has ended (it is reaped then). False: not enough memory or descriptors. */
bool loop_child_add(struct loop *l, struct loop_child *c);
void loop_child_remove(struct loop *l, struct loop_child *c); /* not told any more, and not reaped */

/* Waits until everything that was ready or due when it was called has been served, for `patience` ns at most: false when that was
 * not enough. True without a thread. Not from a callback. */
bool loop_quiesce(struct loop *l, int64_t patience);
