#include "post.h"
#include <stdlib.h>

void post_queue_init(struct post_queue *q, void (*kick)(void *opaque), void *opaque) {
  *q = (struct post_queue){.end = &q->first, .kick = kick, .opaque = opaque};
  pthread_mutex_init(&q->lock, NULL);
}

void post_queue_destroy(struct post_queue *q) {
  for (struct post *p = q->first, *next; p; p = next) {
    next = p->next;
    if (p->allocated) free(p);
  }
  pthread_mutex_destroy(&q->lock);
}

/* The kick is outside the lock, since it may be a signal to this very thread. */
void post_add(struct post_queue *q, struct post *p) {
  pthread_mutex_lock(&q->lock);
  bool was_empty = !q->first;
  if (!p->queued) {
    p->queued = true, p->next = NULL;
    *q->end = p;
    q->end = &p->next;
  }
  atomic_store_explicit(&q->waiting, true, memory_order_release);
  pthread_mutex_unlock(&q->lock);
  if (was_empty) q->kick(q->opaque);
}

bool post_call(struct post_queue *q, void (*function)(void *argument), void *argument) {
  struct post *p = malloc(sizeof *p);
  if (!p) return false;
  *p = (struct post){.function = function, .argument = argument, .allocated = true};
  post_add(q, p);
  return true;
}

bool post_remove(struct post_queue *q, struct post *p) {
  pthread_mutex_lock(&q->lock);
  bool was = p->queued;
  struct post **at = &q->first;
  while (was && *at != p) at = &(*at)->next;
  if (was && !(*at = p->next)) q->end = at;
  if (!q->first) atomic_store_explicit(&q->waiting, false, memory_order_release);
  p->queued = false;
  pthread_mutex_unlock(&q->lock);
  return was;
}

/* Takes the oldest; NULL: there is none any more. */
static struct post *take(struct post_queue *q) {
  pthread_mutex_lock(&q->lock);
  struct post *p = q->first;
  if (p) q->first = p->next, p->queued = false;
  if (!q->first) q->end = &q->first, atomic_store_explicit(&q->waiting, false, memory_order_release);
  pthread_mutex_unlock(&q->lock);
  return p;
}

static unsigned count(struct post_queue *q) {
  unsigned n = 0;
  pthread_mutex_lock(&q->lock);
  for (const struct post *p = q->first; p; p = p->next) n++;
  pthread_mutex_unlock(&q->lock);
  return n;
}

/* One by one, so that a post that is posted again while an older one is done keeps its place, and one that is done may be freed
 * by its function. What was posted meanwhile is left, with another kick: the queue was not empty, so it has had none. A function
 * may remove others. */
void post_run(struct post_queue *q) {
  if (!post_waits(q)) return;
  for (unsigned n = count(q); n; n--) {
    struct post *p = take(q);
    if (!p) return;
    void (*function)(void *) = p->function;
    void *argument = p->argument;
    if (p->allocated) free(p);
    function(argument);
  }
  if (post_waits(q)) q->kick(q->opaque);
}
