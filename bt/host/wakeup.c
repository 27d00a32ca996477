#define _GNU_SOURCE
#include "wakeup.h"
#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

enum {
  EARLY_NS = 50000, /* host and guest clock may differ by this at a deadline: the timer counts as fired */
  /* between two signals, so that a guest runs whose deadlines are nearer together than that */
  APART_NS = 20000,
  MOST_APART_NS = 1000000,
};

void wakeup_init(struct wakeup *w, struct clock *clock, bool counted) {
  *w = (struct wakeup){.clock = clock, .counted = counted, .armed = INT64_MAX, .apart = APART_NS};
}

bool wakeup_attach(struct wakeup *w) {
  w->armed = INT64_MAX;
  if (w->counted || w->has_timer) return true;
  struct sigevent to = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1};
  to.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
  prctl(PR_SET_TIMERSLACK, 1); /* the sleep in HLT ends on time, too */
  w->has_timer = timer_create(CLOCK_MONOTONIC, &to, &w->timer) == 0;
  return w->has_timer;
}
void wakeup_detach(struct wakeup *w) {
  if (w->has_timer) timer_delete(w->timer);
  w->has_timer = false;
}

/* Signals come no nearer together than what one takes, whatever the host: under strace that is 300 us. */
static void keep_apart(struct wakeup *w, int64_t now) {
  int64_t took = now - w->armed;
  if (took > w->apart) w->apart = 2 * w->apart < MOST_APART_NS ? 2 * w->apart : MOST_APART_NS;
  else if (took < w->apart / 4 && w->apart > APART_NS) w->apart /= 2;
  w->not_before = now + w->apart;
}

void wakeup_arm(struct wakeup *w) {
  if (!w->has_timer) return;
  int64_t deadline = clock_next_deadline(w->clock);
  if (deadline == INT64_MAX && w->armed == INT64_MAX) return;
  int64_t now = clock_now(w->clock);
  if (w->armed <= now) keep_apart(w, now);
  /* gone off, or set by a clock that has been moved since */
  if (w->armed <= now + EARLY_NS || w->behind != clock_behind(w->clock)) w->armed = INT64_MAX;
  w->behind = clock_behind(w->clock);
  if (deadline < w->not_before && w->not_before <= now + MOST_APART_NS) deadline = w->not_before;
  if (deadline >= w->armed) return;
  int64_t wait = deadline > now ? deadline - now : 1; /* 0 would disarm */
  struct itimerspec when = {.it_value = {.tv_sec = wait / 1000000000, .tv_nsec = wait % 1000000000}};
  timer_settime(w->timer, 0, &when, NULL);
  w->armed = deadline;
}

void wakeup_forget(struct wakeup *w) { w->armed = INT64_MAX; }

/* A sleep has a timeout of its own: the signal would only wake us a second time, and is the dearer of the two. So the timer is
 * put off to a little before the deadline that a periodic interrupt will have next: it need not be set again after the sleep,
 * only by a guest that is still awake then. A guest whose last sleep was cut short (it waits for a disk) is likely to be awake
 * again before its deadline: then the timer stays as it is. */
static void put_off(struct wakeup *w, int64_t deadline) {
  int64_t period = deadline - w->slept_to, more = period - period / 16;
  if (w->cut_short) return;
  w->slept_to = deadline;
  if (!w->has_timer || w->armed == INT64_MAX || w->armed > deadline + EARLY_NS) return;
  bool periodic = period > 8 * EARLY_NS && period < 1000000000;
  w->armed = periodic ? deadline + more : INT64_MAX;
  int64_t wait = periodic ? w->armed - clock_now(w->clock) : 0; /* 0 disarms */
  struct itimerspec when = {.it_value = {.tv_sec = wait / 1000000000, .tv_nsec = wait % 1000000000}};
  timer_settime(w->timer, 0, &when, NULL);
}

/* Of the time since `before` what was sleep, and not waiting for a CPU behind it. */
static int64_t slept(struct wakeup *w, int64_t before, int64_t deadline) {
  int64_t now = clock_peek(w->clock);
  return (now < deadline ? now : deadline) - before;
}

/* A kick between the caller's last look and the sleep leaves `kicked` set: it cannot be lost. Who kicks sets `kicked` before it
 * looks at `asleep`, we the other way round: one of us sees what the other did. */
static long sleep_unless_kicked(struct wakeup *w, const struct timespec *timeout) {
  long result = 0;
  atomic_store(&w->asleep, 1);
  if (!atomic_load(&w->kicked)) result = syscall(SYS_futex, &w->kicked, FUTEX_WAIT_PRIVATE, 0, timeout, NULL, 0);
  atomic_store(&w->asleep, 0);
  return result;
}

void wakeup_sleep(struct wakeup *w) {
  int64_t deadline = clock_next_deadline(w->clock);
  if (w->counted && deadline != INT64_MAX) {
    clock_skip_to(w->clock, deadline);
    return;
  }
  int64_t wait = deadline == INT64_MAX ? 0 : deadline - clock_now(w->clock);
  if (deadline != INT64_MAX && wait <= 0) return;
  int64_t given = clock_catch_up(w->clock, deadline == INT64_MAX ? INT64_MAX : wait);
  if (deadline != INT64_MAX && (wait -= given) <= 0) return;
  if (deadline != INT64_MAX) put_off(w, deadline);
  struct timespec timeout = {.tv_sec = wait / 1000000000, .tv_nsec = wait % 1000000000};
  int64_t before = clock_now(w->clock);
  sleep_unless_kicked(w, deadline == INT64_MAX ? NULL : &timeout);
  clock_slept(w->clock, slept(w, before, deadline));
  w->cut_short = atomic_exchange(&w->kicked, 0);
}

bool wakeup_wait(struct wakeup *w, int64_t patience) {
  struct timespec timeout = {.tv_sec = patience / 1000000000, .tv_nsec = patience % 1000000000}, *limit = &timeout;
  if (patience == INT64_MAX) limit = NULL;
  long result = 0;
  while (!atomic_load(&w->kicked) && !(result < 0 && errno == ETIMEDOUT)) result = sleep_unless_kicked(w, limit);
  return atomic_exchange(&w->kicked, 0);
}

bool wakeup_kick(struct wakeup *w) {
  atomic_store(&w->kicked, 1);
  if (!atomic_load(&w->asleep)) return false;
  syscall(SYS_futex, &w->kicked, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
  return true;
}

void wakeup_heed(struct wakeup *w) {
  if (atomic_load(&w->kicked)) atomic_store(&w->kicked, 0);
}
