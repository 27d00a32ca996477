#include "pool.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

struct pool {
  pthread_mutex_t lock;
  pthread_cond_t more; /* work, or the end */
  struct pool_work *first, **end;
  unsigned queued, idle, count, most;
  bool stop;
  pthread_t threads[]; /* `most` */
};

static struct pool_work *next_work(struct pool *p) {
  p->idle++;
  while (!p->first && !p->stop) pthread_cond_wait(&p->more, &p->lock);
  p->idle--;
  struct pool_work *w = p->first;
  if (!w) return NULL;
  p->first = w->next, p->queued--;
  if (!p->first) p->end = &p->first;
  return w;
}

static void *run(void *opaque) {
  struct pool *p = opaque;
  struct pool_work *w;
  pthread_mutex_lock(&p->lock);
  while ((w = next_work(p))) {
    pthread_mutex_unlock(&p->lock);
    w->function(w);
    pthread_mutex_lock(&p->lock);
  }
  pthread_mutex_unlock(&p->lock);
  return NULL;
}

/* The lock is held. It takes no signals: the process's are the vCPU thread's. */
static int begin_thread(struct pool *p) {
  enum { STACK = 256 << 10 };
  sigset_t all, old;
  pthread_attr_t small;
  sigfillset(&all);
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, STACK);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  int failed = pthread_create(&p->threads[p->count], &small, run, p);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  pthread_attr_destroy(&small);
  p->count += !failed;
  return failed;
}

void pool_add(struct pool *p, struct pool_work *w) {
  pthread_mutex_lock(&p->lock);
  w->next = NULL;
  *p->end = w;
  p->end = &w->next;
  /* a host that gives no more threads leaves it to those that there are */
  if (++p->queued > p->idle && p->count < p->most) begin_thread(p);
  pthread_cond_signal(&p->more);
  pthread_mutex_unlock(&p->lock);
}

struct pool *pool_create(unsigned threads) {
  struct pool *p = calloc(1, sizeof *p + threads * sizeof p->threads[0]);
  if (!p) return NULL;
  p->most = threads, p->end = &p->first;
  pthread_mutex_init(&p->lock, NULL);
  pthread_cond_init(&p->more, NULL);
  pthread_mutex_lock(&p->lock);
  int failed = begin_thread(p);
  pthread_mutex_unlock(&p->lock);
  if (!failed) return p;
  pool_destroy(p);
  return errno = failed, NULL;
}

void pool_destroy(struct pool *p) {
  if (!p) return;
  pthread_mutex_lock(&p->lock);
  p->stop = true;
  pthread_cond_broadcast(&p->more);
  pthread_mutex_unlock(&p->lock);
  for (unsigned i = 0; i < p->count; i++) pthread_join(p->threads[i], NULL);
  pthread_cond_destroy(&p->more);
  pthread_mutex_destroy(&p->lock);
  free(p);
}
