// link: bt_program
// timeout: 60
/* The vCPU thread's timer and its sleep: whatever is put off while it sleeps, no deadline passes without a signal while it is
 * awake. Run only this: build/unit/test_wakeup. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "bt/host/wakeup.h"

enum { PERIOD = 4000000 };

static volatile sig_atomic_t kicked;
static void kick_self(int number) { kicked = 1; }

struct ticker {
  struct clock *clock;
  struct clock_timer timer;
  struct wakeup wakeup;
  int64_t next;
  unsigned ticks;
};
static void tick(void *opaque) {
  struct ticker *t = opaque;
  t->ticks++;
  clock_timer_set(t->clock, &t->timer, t->next += PERIOD);
}

static void start(struct ticker *t) {
  struct sigaction action = {.sa_handler = kick_self};
  sigaction(SIGUSR1, &action, NULL);
  *t = (struct ticker){.clock = clock_create(-1, 0)};
  wakeup_init(&t->wakeup, t->clock, false);
  assert_true(wakeup_attach(&t->wakeup));
  clock_timer_init(&t->timer, "tick", tick, t);
  clock_timer_set(t->clock, &t->timer, t->next = clock_now(t->clock) + PERIOD);
  wakeup_arm(&t->wakeup);
}

static void end(struct ticker *t) {
  wakeup_detach(&t->wakeup);
  clock_timer_cancel(t->clock, &t->timer);
  clock_destroy(t->clock);
}

/* As the machine's: awake behind it, the timer is set, for the next deadline or before it. */
static void poll(struct ticker *t) {
  struct itimerspec set;
  kicked = 0;
  clock_run(t->clock);
  wakeup_arm(&t->wakeup);
  assert_true(t->wakeup.armed <= clock_next_deadline(t->clock) || t->wakeup.armed <= t->wakeup.not_before);
  assert_int_equal(timer_gettime(t->wakeup.timer, &set), 0);
  assert_true(set.it_value.tv_sec || set.it_value.tv_nsec || kicked);
}

static void sleep_ticks(struct ticker *t, unsigned n) {
  for (unsigned until = t->ticks + n; t->ticks < until;) {
    wakeup_sleep(&t->wakeup);
    poll(t);
  }
}

/* Awake for `n` ticks: time is only looked at when a signal comes, as the run loop does. A lost one makes this hang. */
static void stay_awake(struct ticker *t, unsigned n) {
  alarm(50);
  for (unsigned until = t->ticks + n; t->ticks < until; poll(t)) {
    while (!kicked && t->timer.deadline > clock_now(t->clock) - 1000000000)
      ;
    if (!kicked) fail_msg("no signal for a second behind a deadline");
  }
}

static void deadlines_signal_behind_sleeps(void **state) {
  struct ticker t;
  start(&t);
  for (unsigned round = 0; round < 4; round++) {
    stay_awake(&t, 1 + round);
    sleep_ticks(&t, 1 + round * 2);
  }
  stay_awake(&t, 2);
  end(&t);
}

static void *kick(void *opaque) {
  usleep(PERIOD / 4000);
  wakeup_kick(&((struct ticker *)opaque)->wakeup);
  return NULL;
}

/* A kick ends the sleep before the deadline, which the timer was put off behind. */
static void deadline_signals_behind_a_kick(void **state) {
  for (unsigned round = 0; round < 10; round++) {
    struct ticker t;
    pthread_t kicker;
    start(&t);
    sleep_ticks(&t, 3);
    assert_int_equal(pthread_create(&kicker, NULL, kick, &t), 0);
    wakeup_sleep(&t.wakeup);
    poll(&t);
    stay_awake(&t, 1);
    pthread_join(kicker, NULL);
    end(&t);
  }
}

/* A nearer deadline than the one that the timer is armed for. */
static void nearer_deadline_signals(void **state) {
  struct ticker t;
  start(&t);
  sleep_ticks(&t, 3);
  clock_timer_set(t.clock, &t.timer, clock_now(t.clock) + PERIOD / 8);
  wakeup_arm(&t.wakeup);
  stay_awake(&t, 1);
  end(&t);
}

/* A deadline that is past when it is set, and the timer armed for it. */
static void overdue(struct ticker *t) {
  clock_timer_set(t->clock, &t->timer, clock_now(t->clock) - 1000);
  wakeup_arm(&t->wakeup);
}

/* `count` signals are dealt with `ns` behind what the timer was armed for. The clock is moved by hand: no load of the host tells.
 */
static void signals_take(struct ticker *t, int64_t ns, unsigned count) {
  for (; count; count--) {
    clock_skip_to(t->clock, t->wakeup.armed + ns);
    overdue(t);
    assert_true(t->wakeup.armed == clock_now(t->clock) + t->wakeup.apart);
  }
}

/* Deadlines each of which is past when the timer is set (a PIT at 25 kHz on a host where a signal takes 40 us): the timer is
 * never set nearer than what the last signal took to be dealt with, and no nearer than before when a device sets another deadline
 * meanwhile. Also where that is more than signals are ever kept apart. */
static void signals_keep_apart(void **state) {
  struct ticker t = {.clock = clock_create(0, 0)};
  struct itimerspec set;
  assert_int_not_equal(signal(SIGUSR1, SIG_IGN), SIG_ERR);
  wakeup_init(&t.wakeup, t.clock, false);
  assert_true(wakeup_attach(&t.wakeup));
  clock_timer_init(&t.timer, "tick", tick, &t);
  clock_skip_to(t.clock, PERIOD);
  overdue(&t);
  signals_take(&t, 300000, 8);
  assert_in_range(t.wakeup.apart, 300000, 600000);
  for (int64_t first = t.wakeup.armed, again = 0; again < 3; again++) {
    clock_skip_to(t.clock, clock_now(t.clock) + 10000);
    overdue(&t);
    assert_int_equal(t.wakeup.armed, first);
  }
  signals_take(&t, 5000000, 8);
  assert_int_equal(t.wakeup.apart, 1000000);
  assert_int_equal(timer_gettime(t.wakeup.timer, &set), 0);
  assert_int_equal(set.it_value.tv_sec, 0);
  assert_in_range(set.it_value.tv_nsec, 0, 1000000);
  signals_take(&t, 2000, 20); /* quick again */
  assert_in_range(t.wakeup.apart, 10000, 20000);
  end(&t);
}

/* Without a deadline a sleep ends by a kick only, and one that came before it counts. */
static void kick_before_the_sleep_counts(void **state) {
  struct ticker t;
  start(&t);
  clock_timer_cancel(t.clock, &t.timer);
  alarm(50);
  wakeup_kick(&t.wakeup);
  wakeup_sleep(&t.wakeup);
  end(&t);
}

static int64_t host_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ll + t.tv_nsec;
}

/* What a busy host kept from a guest is over at once where the guest waits: its sleeps end early until it is not behind any
 * more. */
static void a_waiting_guest_is_given_its_time_back(void **state) {
  struct ticker t;
  start(&t);
  clock_settle(t.clock);
  for (int64_t until = host_ns() + 60000000; host_ns() < until;) usleep(1000); /* away; a signal may end one of these */
  clock_settle(t.clock);
  int64_t behind = clock_behind(t.clock), guest = clock_now(t.clock), host = host_ns();
  assert_true(behind > 30000000);
  for (unsigned n = 0; clock_behind(t.clock) && n < 500; n++) sleep_ticks(&t, 1);
  assert_int_equal(clock_behind(t.clock), 0);
  /* the two may be read at different times on a busy host */
  assert_true(clock_now(t.clock) - guest - (host_ns() - host) > behind / 2);
  end(&t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(deadlines_signal_behind_sleeps), cmocka_unit_test(deadline_signals_behind_a_kick),
    cmocka_unit_test(nearer_deadline_signals),        cmocka_unit_test(signals_keep_apart),
    cmocka_unit_test(kick_before_the_sleep_counts),   cmocka_unit_test(a_waiting_guest_is_given_its_time_back),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
