/* Work that any thread hands to the vCPU thread, which does it at its next safepoint, in the order in which it was handed over
 * (D11).
 *
 * A post is memory of whoever posts it (a request holds its own), so posting needs no memory, cannot fail, and the queue has no
 * bound of its own: there are as many posts in it as there are requests under way. post_call() makes one, for what has no memory.
 * What is posted while posts are done is done at the next safepoint: a chain of posts cannot keep the guest from running. */
#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct post {
  void (*function)(void *argument);
  void *argument;
  struct post *next; /* the queue's, as what follows */
  bool queued, allocated;
};

struct post_queue {
  pthread_mutex_t lock;
  struct post *first, **end;
  atomic_bool waiting; /* first != NULL */
  void (*kick)(void *opaque);
  void *opaque;
};

/* `kick` is called, in the posting thread, when the queue was empty: it brings the vCPU thread to a safepoint, out of HLT too. */
void post_queue_init(struct post_queue *q, void (*kick)(void *opaque), void *opaque);
/* What waits is forgotten. Nobody posts any more. */
void post_queue_destroy(struct post_queue *q);
/* Any thread. One that is queued already stays where it is, and is done once. It may be posted anew as soon as it is being done,
 * and is not touched any more then. */
void post_add(struct post_queue *q, struct post *p);
/* Any thread: function(argument), once. False: not enough memory, nothing was posted. */
bool post_call(struct post_queue *q, void (*function)(void *argument), void *argument);
/* vCPU thread: takes it out of the queue. False: it is not there. */
bool post_remove(struct post_queue *q, struct post *p);
/* vCPU thread: cheap; true: post_run() has something to do. */
static inline bool post_waits(const struct post_queue *q) { return atomic_load_explicit(&q->waiting, memory_order_acquire); }
/* vCPU thread: does what is queued now. */
void post_run(struct post_queue *q);
