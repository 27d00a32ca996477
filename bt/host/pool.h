/* A few threads for what may block: reading and writing files. Work is taken in the order in which it was handed over, and is
 * done by several threads at once. Threads begin when work finds all others busy, and sleep when there is none. */
#pragma once
#include <stdbool.h>

struct pool;
struct pool_work {                       /* memory of who hands it over */
  void (*function)(struct pool_work *w); /* in a thread of the pool; w may be used anew from here on */
  struct pool_work *next;                /* the pool's */
};
/* `threads` at most, one of them at once. NULL: errno says why. */
struct pool *pool_create(unsigned threads);
void pool_add(struct pool *p, struct pool_work *w); /* any thread; cannot fail */
/* Does what is left and ends the threads. NULL: nothing happens. */
void pool_destroy(struct pool *p);
