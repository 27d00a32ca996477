#include "screen.h"
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct screen {
  struct display_backend backend;
  struct post_queue *posts;
  struct post post;
  pthread_mutex_t lock;
  pthread_cond_t copied;
  uint64_t asked, answered; /* updates that were wanted, and how many of them a copy was taken for */
};

/* vCPU thread. Whoever asked before the copy began is answered by it. */
void screen_copy(struct screen *s) {
  pthread_mutex_lock(&s->lock);
  uint64_t asked = s->asked;
  if (s->backend.front.copy) s->backend.front.copy(s->backend.front.opaque);
  s->answered = asked;
  pthread_cond_broadcast(&s->copied);
  pthread_mutex_unlock(&s->lock);
}

static void copy_posted(void *opaque) { screen_copy(opaque); }

static struct timespec time_in(unsigned ms) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  t.tv_sec += ms / 1000, t.tv_nsec += ms % 1000 * 1000000L;
  if (t.tv_nsec >= 1000000000L) t.tv_sec++, t.tv_nsec -= 1000000000L;
  return t;
}

bool screen_update(struct screen *s, unsigned ms) {
  const struct timespec end = time_in(ms);
  int failed = 0;
  pthread_mutex_lock(&s->lock);
  uint64_t mine = ++s->asked;
  pthread_mutex_unlock(&s->lock);
  post_add(s->posts, &s->post);
  pthread_mutex_lock(&s->lock);
  while (s->answered < mine && !failed) failed = pthread_cond_timedwait(&s->copied, &s->lock, &end);
  bool answered = s->answered >= mine;
  pthread_mutex_unlock(&s->lock);
  return answered;
}

uint64_t screen_cells(struct screen *s, uint64_t since, struct display_text *text) {
  const struct display_front *front = &s->backend.front;
  text->geometry = (struct display_geometry){0};
  pthread_mutex_lock(&s->lock);
  uint64_t number = front->cells ? front->cells(front->opaque, since, text) : since;
  pthread_mutex_unlock(&s->lock);
  return number;
}

uint64_t screen_pixels(struct screen *s, uint64_t since, struct display_pixels *pixels) {
  const struct display_front *front = &s->backend.front;
  pixels->geometry = (struct display_geometry){0};
  pixels->first = pixels->count = 0;
  pthread_mutex_lock(&s->lock);
  uint64_t number = front->pixels ? front->pixels(front->opaque, since, pixels) : since;
  pthread_mutex_unlock(&s->lock);
  return number;
}

struct display_backend *screen_backend(struct screen *s) {
  return &s->backend;
}

struct screen *screen_create(struct post_queue *posts) {
  struct screen *s = calloc(1, sizeof *s);
  pthread_condattr_t monotonic;
  if (!s) return NULL;
  s->posts = posts;
  s->post = (struct post){.function = copy_posted, .argument = s};
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_mutex_init(&s->lock, NULL);
  pthread_cond_init(&s->copied, &monotonic);
  pthread_condattr_destroy(&monotonic);
  return s;
}

void screen_destroy(struct screen *s) {
  if (!s) return;
  pthread_cond_destroy(&s->copied);
  pthread_mutex_destroy(&s->lock);
  free(s);
}
