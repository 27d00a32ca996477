#define _GNU_SOURCE
#include "loop.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { NS = 1000000000, CHILD_PERIOD = NS / 20 };

/* What one poll() waits for: slot 0 is the eventfd. */
struct asked {
  struct pollfd *fds;
  struct loop_watch **watches; /* NULL: removed meanwhile */
};

struct loop {
  pthread_mutex_t lock;
  pthread_cond_t served;   /* a callback or a round has ended */
  pthread_t thread;        /* once it runs */
  bool started, in_thread; /* in_thread: it has begun, and knows itself by `thread` */
  bool stop;
  int wake; /* eventfd: the thread looks again at what to wait for */
  struct loop_watch *watches;
  struct loop_timer *timers;
  uint64_t timers_set;            /* loop_timer_set() so far */
  unsigned watch_count, capacity; /* of `asked`, or of `larger` where there is one */
  struct asked asked, larger;     /* larger: made by loop_add(), for the thread to take before its next poll() */
  unsigned asked_count;
  void *running;                    /* the watch or timer whose callback runs */
  uint64_t round_asked, round_done; /* loop_quiesce() */
};

int64_t loop_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * NS + t.tv_nsec;
}

/* ---- the calling thread's side; the lock is held ---- */

static bool inside(const struct loop *l) { return l->in_thread && pthread_equal(pthread_self(), l->thread); }

static void wake(struct loop *l) {
  uint64_t one = 1;
  if (!l->started || inside(l)) return;
  while (write(l->wake, &one, sizeof one) < 0 && errno == EINTR) {}
}

/* L2. */
static void wait_while_running(struct loop *l, const void *what) {
  while (l->running == what && !inside(l)) pthread_cond_wait(&l->served, &l->lock);
}

static bool make_asked(struct asked *a, unsigned capacity) {
  a->fds = malloc(capacity * sizeof *a->fds);
  a->watches = malloc(capacity * sizeof *a->watches);
  if (a->fds && a->watches) return true;
  free(a->fds), free(a->watches);
  *a = (struct asked){0};
  return false;
}
static void free_asked(struct asked *a) {
  free(a->fds), free(a->watches);
  *a = (struct asked){0};
}

static bool make_room(struct loop *l) {
  if (l->watch_count + 1 < l->capacity) return true;
  struct asked larger;
  if (!make_asked(&larger, 2 * l->capacity)) return false;
  free_asked(&l->larger);
  l->larger = larger, l->capacity *= 2;
  return true;
}

bool loop_add(struct loop *l, struct loop_watch *w) {
  pthread_mutex_lock(&l->lock);
  bool room = make_room(l);
  if (room) {
    w->next = l->watches, w->listed = true;
    l->watches = w;
    l->watch_count++;
    wake(l);
  }
  pthread_mutex_unlock(&l->lock);
  return room;
}

void loop_change(struct loop *l, struct loop_watch *w, int fd, short events) {
  pthread_mutex_lock(&l->lock);
  bool changed = w->fd != fd || w->events != events;
  w->fd = fd, w->events = events;
  if (changed) wake(l);
  pthread_mutex_unlock(&l->lock);
}

void loop_remove(struct loop *l, struct loop_watch *w) {
  pthread_mutex_lock(&l->lock);
  if (w->listed) {
    struct loop_watch **at = &l->watches;
    while (*at != w) at = &(*at)->next;
    *at = w->next, w->listed = false;
    l->watch_count--;
    for (unsigned i = 0; i < l->asked_count; i++)
      if (l->asked.watches[i] == w) l->asked.watches[i] = NULL;
    wake(l); /* its descriptor may be closed and mean another file in a moment */
  }
  wait_while_running(l, w);
  pthread_mutex_unlock(&l->lock);
}

static void unlist_timer(struct loop *l, struct loop_timer *t) {
  if (!t->listed) return;
  struct loop_timer **at = &l->timers;
  while (*at != t) at = &(*at)->next;
  *at = t->next, t->listed = false;
}

void loop_timer_set(struct loop *l, struct loop_timer *t, int64_t at) {
  pthread_mutex_lock(&l->lock);
  unlist_timer(l, t);
  t->at = at, t->number = ++l->timers_set, t->next = l->timers, t->listed = true;
  l->timers = t;
  wake(l);
  pthread_mutex_unlock(&l->lock);
}

void loop_timer_cancel(struct loop *l, struct loop_timer *t) {
  pthread_mutex_lock(&l->lock);
  unlist_timer(l, t);
  wait_while_running(l, t);
  unlist_timer(l, t); /* its callback may have set it again */
  pthread_mutex_unlock(&l->lock);
}

static struct timespec realtime_after(int64_t ns) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  int64_t sum = t.tv_nsec + ns % NS;
  return (struct timespec){t.tv_sec + ns / NS + sum / NS, sum % NS};
}

/* It waits for a round that begins after the request, and does not sleep. */
bool loop_quiesce(struct loop *l, int64_t patience) {
  struct timespec end = realtime_after(patience);
  pthread_mutex_lock(&l->lock);
  uint64_t round = ++l->round_asked;
  bool good = true;
  wake(l);
  while (good && l->started && l->round_done < round) good = pthread_cond_timedwait(&l->served, &l->lock, &end) != ETIMEDOUT;
  pthread_mutex_unlock(&l->lock);
  return good;
}

/* ---- children ---- */

static void child_ended(struct loop_child *c, int status) {
  if (c->watched) {
    loop_remove(c->loop, &c->watch);
    close(c->watch.fd);
  }
  c->watched = false;
  c->ended(c->opaque, status);
}

static void look_for_end(struct loop_child *c) {
  int status = -1;
  pid_t gone;
  do gone = waitpid(c->pid, &status, WNOHANG);
  while (gone < 0 && errno == EINTR);
  if (gone) child_ended(c, gone < 0 ? -1 : status);
  else if (!c->watched) loop_timer_set(c->loop, &c->timer, loop_now() + CHILD_PERIOD);
}
static void child_ready(void *opaque, short events) { look_for_end(opaque); }
static void child_due(void *opaque) { look_for_end(opaque); }

bool loop_child_add(struct loop *l, struct loop_child *c) {
  int fd = (int)syscall(SYS_pidfd_open, c->pid, 0);
  c->loop = l;
  c->timer = (struct loop_timer){.due = child_due, .opaque = c};
  c->watch = (struct loop_watch){.fd = fd, .events = POLLIN, .ready = child_ready, .opaque = c};
  c->watched = fd >= 0;
  if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM)) return false;
  if (fd < 0) return loop_timer_set(l, &c->timer, loop_now()), true;
  if (loop_add(l, &c->watch)) return true;
  close(fd);
  return c->watched = false;
}

void loop_child_remove(struct loop *l, struct loop_child *c) {
  loop_timer_cancel(l, &c->timer);
  loop_remove(l, &c->watch);
  if (c->watched) close(c->watch.fd);
  c->watched = false;
}

/* ---- the thread ---- */

static int64_t next_time(const struct loop *l) {
  int64_t first = INT64_MAX;
  for (const struct loop_timer *t = l->timers; t; t = t->next)
    if (t->at < first) first = t->at;
  return first;
}

/* What to wait for, and until when. The lock is held. */
static int64_t ask(struct loop *l) {
  if (l->larger.fds) {
    free_asked(&l->asked);
    l->asked = l->larger, l->larger = (struct asked){0};
  }
  unsigned n = 0;
  l->asked.fds[n] = (struct pollfd){.fd = l->wake, .events = POLLIN};
  l->asked.watches[n++] = NULL;
  for (struct loop_watch *w = l->watches; w; w = w->next) {
    if (w->fd < 0 || !w->events) continue;
    l->asked.fds[n] = (struct pollfd){.fd = w->fd, .events = w->events};
    l->asked.watches[n++] = w;
  }
  l->asked_count = n;
  return next_time(l);
}

static void wait_until(struct loop *l, int64_t at) {
  int64_t wait = at == INT64_MAX ? 0 : at - loop_now();
  struct timespec time = {.tv_sec = wait > 0 ? wait / NS : 0, .tv_nsec = wait > 0 ? wait % NS : 0};
  if (ppoll(l->asked.fds, l->asked_count, at == INT64_MAX ? NULL : &time, NULL) < 0) {} /* a signal: no events */
}

/* The lock is held, and let go of while the callback runs. */
static void call(struct loop *l, struct loop_watch *w, struct loop_timer *t, short events) {
  l->running = w ? (void *)w : t;
  pthread_mutex_unlock(&l->lock);
  if (w) w->ready(w->opaque, events);
  else t->due(t->opaque);
  pthread_mutex_lock(&l->lock);
  l->running = NULL;
  pthread_cond_broadcast(&l->served);
}

static void serve_watches(struct loop *l) {
  uint64_t drained;
  if (l->asked.fds[0].revents && read(l->wake, &drained, sizeof drained) < 0) {}
  for (unsigned i = 1; i < l->asked_count && !l->stop; i++) {
    struct loop_watch *w = l->asked.watches[i];
    if (!w || w->fd != l->asked.fds[i].fd || !w->events) continue;
    short events = l->asked.fds[i].revents & (w->events | POLLERR | POLLHUP | POLLNVAL);
    if (events) call(l, w, NULL, events);
  }
  l->asked_count = 0;
}

static struct loop_timer *first_due(const struct loop *l, int64_t now, uint64_t last) {
  struct loop_timer *first = NULL;
  for (struct loop_timer *t = l->timers; t; t = t->next)
    if (t->at <= now && t->number <= last && (!first || t->at < first->at)) first = t;
  return first;
}

/* One that its callback sets again, to a time that has passed, waits for the next round: descriptors are served between. */
static void serve_timers(struct loop *l) {
  struct loop_timer *t;
  int64_t now = loop_now();
  for (uint64_t last = l->timers_set; !l->stop && (t = first_due(l, now, last));) {
    unlist_timer(l, t);
    call(l, NULL, t, 0);
  }
}

static void *run(void *opaque) {
  struct loop *l = opaque;
  pthread_mutex_lock(&l->lock);
  l->thread = pthread_self(), l->in_thread = true;
  while (!l->stop) {
    uint64_t round = l->round_asked;
    int64_t at = ask(l);
    if (round != l->round_done) at = 0; /* somebody waits for this round: its wake-up may be spent */
    pthread_mutex_unlock(&l->lock);
    wait_until(l, at);
    pthread_mutex_lock(&l->lock);
    serve_watches(l);
    if (l->timers) serve_timers(l);
    l->round_done = round;
    pthread_cond_broadcast(&l->served);
  }
  pthread_mutex_unlock(&l->lock);
  return NULL;
}

/* ---- beginning and end ---- */

struct loop *loop_create(void) {
  enum { FIRST = 8 };
  struct loop *l = calloc(1, sizeof *l);
  if (!l) return NULL;
  l->capacity = FIRST;
  l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (l->wake < 0 || !make_asked(&l->asked, FIRST)) {
    int failed = errno;
    if (l->wake >= 0) close(l->wake);
    free(l);
    return errno = failed, NULL;
  }
  pthread_mutex_init(&l->lock, NULL);
  pthread_cond_init(&l->served, NULL);
  return l;
}

bool loop_start(struct loop *l) {
  enum { STACK = 512 << 10 }; /* with room for the sanitizers' redzones */
  sigset_t all, old;
  sigfillset(&all);
  int stops[] = {SIGTSTP, SIGTTIN, SIGTTOU};
  for (unsigned i = 0; i < 3; i++) sigdelset(&all, stops[i]);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  pthread_attr_t small; /* else it reserves as much as ulimit -s says, or is given as little */
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, STACK);
  pthread_mutex_lock(&l->lock);
  int failed = pthread_create(&l->thread, &small, run, l);
  l->started = !failed;
  pthread_mutex_unlock(&l->lock);
  pthread_attr_destroy(&small);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  errno = failed;
  return !failed;
}

bool loop_started(const struct loop *l) { return l->started; }

bool loop_stop(struct loop *l) {
  if (!l->started) return true;
  struct timespec end = realtime_after(NS);
  pthread_mutex_lock(&l->lock);
  l->stop = true;
  wake(l);
  pthread_mutex_unlock(&l->lock);
  if (pthread_timedjoin_np(l->thread, NULL, &end) != 0) return false;
  l->started = l->in_thread = false;
  return true;
}

void loop_destroy(struct loop *l) {
  if (!l) return;
  free_asked(&l->asked), free_asked(&l->larger);
  close(l->wake);
  pthread_cond_destroy(&l->served);
  pthread_mutex_destroy(&l->lock);
  free(l);
}
