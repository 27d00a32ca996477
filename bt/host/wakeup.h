/* How the vCPU thread is woken in time: one POSIX timer that sends it SIGUSR1 (the monitor's kick) while it runs guest code, and
 * a futex with a timeout while it sleeps in HLT.
 *
 * Deadlines may be nearer together than a signal takes (25 kHz of a PIT that plays sound, on a host where it takes 20 us): behind
 * one signal the next keeps a distance that grows with what they take, so that the guest runs between them. What has come
 * meanwhile is done all at once.
 *
 * The timer is armed only when the next deadline is earlier than what it is armed for: a wake-up too early finds nothing due and
 * costs 2 us, a timer_settime() for each reprogramming of a guest's timer would cost more. In counted mode there is no timer at
 * all. */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#include "../../monitor/clock.h"

struct wakeup {
  struct clock *clock;
  bool counted; /* -icount */
  bool has_timer;
  timer_t timer;
  int64_t armed;           /* guest ns; INT64_MAX: not armed */
  int64_t apart;           /* ns between two signals at least */
  int64_t not_before;      /* guest ns of the next at the earliest */
  int64_t behind;          /* clock_behind() when it was armed */
  int64_t slept_to;        /* the deadline of the last sleep */
  bool cut_short;          /* it was ended by a kick */
  _Atomic uint32_t kicked; /* futex: another thread wants the sleep to end */
  _Atomic uint32_t asleep; /* the vCPU thread is about to wait for that, or waits */
};
void wakeup_init(struct wakeup *w, struct clock *clock, bool counted);
/* From here to wakeup_detach() deadlines signal the calling thread. False: the host has no timer left. */
bool wakeup_attach(struct wakeup *w);
void wakeup_detach(struct wakeup *w);
/* vCPU thread: deadlines have changed, or time has passed. */
void wakeup_arm(struct wakeup *w);
/* vCPU thread: the guest's clock has stood still (clock_stop()): what was armed means nothing any more. */
void wakeup_forget(struct wakeup *w);
/* vCPU thread: until the next deadline, a signal, or wakeup_kick() since the last sleep. Counted mode: moves time to the
 * deadline. */
void wakeup_sleep(struct wakeup *w);
/* vCPU thread: until wakeup_kick() since the last sleep, whatever the guest's time is, for `patience` ns (INT64_MAX: for ever; a
 * signal begins it anew). False: there was none. */
bool wakeup_wait(struct wakeup *w, int64_t patience);
/* Any thread. True: the vCPU thread was asleep, or about to be, and is woken: it looks at all there is to do without being told
 * otherwise. False: it has to be told where it runs. */
bool wakeup_kick(struct wakeup *w);
/* vCPU thread: what it was kicked for until now is about to be done. */
void wakeup_heed(struct wakeup *w);
