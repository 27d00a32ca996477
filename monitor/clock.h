/* The guest clock: the one source of time (D9). TSC, PIT, HPET, RTC, ACPI PM timer and LAPIC timer all derive from it.
 *
 * Two modes. Real: guest nanoseconds follow the host's TSC, calibrated once against CLOCK_MONOTONIC. Counted (-icount shift=N):
 * every guest instruction is 2^N ns; HLT jumps to the next deadline; nothing depends on the host. Catch-up after a stall: guest
 * time never stands still in real mode, so a device whose period passed more than once delivers what it can (policy stated in
 * each device). */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct clock;
struct clock_timer {
  int64_t deadline;           /* guest ns; INT64_MAX: not armed */
  void (*fire)(void *opaque); /* called once, in the vCPU thread, FP parked, when now >= deadline; may set itself again */
  void *opaque;
  const char *name;
  struct clock_timer *next; /* sorted list of armed timers */
};

struct clock *clock_create(int icount_shift /* < 0: real time */, uint64_t tsc_hz /* counted mode; 0: default 1 GHz */);
void clock_destroy(struct clock *c);
uint64_t clock_host_ns(void);              /* the host's CLOCK_MONOTONIC, which no guest knows of; FP parked */
int64_t clock_peek(const struct clock *c); /* the same where neither guest nor device will know of it (clock_settle()) */
int64_t clock_now(struct clock *c); /* guest ns since the machine started; real mode: settles first (clock_settle()) if a deadline
                                       has long been missed */
uint64_t clock_tsc(struct clock *c); /* guest TSC; clock_tsc_hz() ticks a second, exactly in step with clock_now() */
uint64_t clock_tsc_hz(const struct clock *c);
uint64_t clock_tsc_offset(const struct clock *c);      /* real mode: guest TSC = RDTSC + this */
void clock_tsc_write(struct clock *c, uint64_t value); /* WRMSR 10h */
/* From now on *offset (the caller's, NULL: none) is clock_tsc_offset() at every time: RDTSC is inline, and whatever settles the
 * clock moves the TSC. */
void clock_publish_tsc(struct clock *c, uint64_t *offset);
/* ns <-> ticks of a chip's input clock without drift: ticks = ns * hz / 1e9 in 128 bits. */
static inline uint64_t clock_ns_to_ticks(int64_t ns, uint64_t hz) {
  return (uint64_t)((unsigned __int128)(uint64_t)ns * hz / 1000000000u);
}
static inline int64_t clock_ticks_to_ns(uint64_t ticks, uint64_t hz) {
  return (int64_t)(((unsigned __int128)ticks * 1000000000u + hz - 1) / hz);
}

void clock_timer_init(struct clock_timer *t, const char *name, void (*fire)(void *), void *opaque);
void clock_timer_set(struct clock *c, struct clock_timer *t, int64_t deadline); /* re-arms if armed */
void clock_timer_cancel(struct clock *c, struct clock_timer *t);
int64_t clock_next_deadline(const struct clock *c); /* INT64_MAX: none */
/* The machine is stopped by its user: time, TSC and deadlines stand still from clock_stop() to clock_go(), and the guest is owed
 * nothing for it. Timers can be set meanwhile, and do not fire. Twice the same is once. */
void clock_stop(struct clock *c);
void clock_go(struct clock *c);
/* Before anything else of a poll, vCPU thread, real mode: takes time back that its thread was not given, or gives some of it
 * again (clock.c, "busy hosts"). */
void clock_settle(struct clock *c);
/* A guest that waits: up to `ns` of what it is behind are over at once. Returns how many. */
int64_t clock_catch_up(struct clock *c, int64_t ns);
void clock_slept(struct clock *c, int64_t ns); /* the vCPU's thread has slept so long of its own will */
int64_t clock_behind(const struct clock *c);   /* ns that guest time is behind host time now */
void clock_run(struct clock *c);               /* fires what is due, in deadline order */
/* Counted mode: the vCPU tells how many instructions it has run in all. */
void clock_set_count(struct clock *c, uint64_t instructions);
void clock_skip_to(struct clock *c, int64_t ns); /* counted mode, HLT */
/* The host must wake the vCPU no later than the next deadline: called whenever that deadline changes. */
void clock_on_deadline(struct clock *c, void (*changed)(void *opaque, int64_t deadline), void *opaque);
/* Host wall-clock seconds since the epoch at guest ns 0, for the RTC (-rtc base=). */
int64_t clock_epoch(const struct clock *c);
void clock_set_epoch(struct clock *c, int64_t seconds);
/* The field table of struct clock. Values are to be checked by clock_unfit() (NULL: they make a clock) before they are used. */
struct field;
const struct field *clock_fields(void);
size_t clock_state_size(void);
const char *clock_unfit(const struct clock *c, const struct clock *loaded);
bool clock_counted(const struct clock *c);
/* A saved state was loaded: guest time goes on from ns (the one case in which it may step back); the TSC keeps its value, timers
 * their deadlines. */
void clock_set_now(struct clock *c, int64_t ns);
