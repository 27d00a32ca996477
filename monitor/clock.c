/* The guest clock (D9): the one source of time, and the list of timers that hang off it.
 *
 * Owns: the conversion host TSC -> guest ns, the guest TSC's offset, the sorted list of armed timers.
 * Real mode: ns = (RDTSC - origin) * scale, a scale that is found once in clock_create() and never changed afterwards, so time
 * cannot step back. The guest's TSC runs at the host TSC's rate, which lets translated code read it as RDTSC + offset. Where the
 * TSC's frequency comes from, best first: CPUID leaf 15h; the kernel's own figure (perf_event's user page); 20 ms against
 * CLOCK_MONOTONIC. The first two are believed only when a 2 ms measurement agrees to 0.2 %: hypervisors get them wrong after a
 * migration.
 * Busy hosts: a deadline that has come while the vCPU's thread was not running is taken by the guest late, and a guest that
 * counts ticks against its TSC or its instructions would find too few. So guest time stands still from the deadline (or the
 * latest moment that the guest has seen) until the thread runs again, by no more than the time that the host kept the CPU from it
 * (wall time less CPU time less sleep). The TSC keeps step. Translated code looks for what was asked for right before it reads
 * it, the monitor before a callout or an access that may ask a device (monitor_polls_first()); and a device that reads the clock
 * all the same, because the thread lost its CPU on the way from there to here, settles it. What was taken back is given again: at
 * once where the guest waits (HLT then ends early), else by a sixteenth of its running time. So guest time is behind by what the
 * guest was owed and has not waited since, never ahead, and true whenever a guest has been idle for a while. A hypervisor that
 * takes the CPU from the host itself shows in no CPU time, and its guests' time runs on.
 * Counted mode: ns = instructions << shift, plus what HLT skipped; nothing depends on the host, the date neither (COUNTED_EPOCH).
 * Assumes an invariant TSC that is synchronised between cores (every x86-64 server and desktop since 2008); on a host where the
 * kernel had to give up its TSC, guest time would be as bad as the TSC is. Callers: the vCPU's thread; others may call
 * clock_peek() in real mode, which reads no mutable state but counters.
 */
#include "clock.h"
#include "../devices/fields.h"
#include <linux/perf_event.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

enum {
  SCALE_BITS = 60, /* of the fixed-point ns per host tick: fine to 1e-18 for hosts above 0.25 GHz */
  MAX_SHIFT = 20,  /* -icount: a millisecond an instruction */
  /* ns: a deadline that passed unseen by more than both is a CPU that was away; the host's own lateness is less than MARGIN */
  LATE = 1000000,
  MARGIN = 200000,
  CATCH_UP = 16,  /* a guest that does not wait is given a sixteenth of its running time on top until it is not behind any more */
  MAX_FIRES = 64, /* timers fired in one clock_run(): a timer that always re-arms itself in the past cannot hold the vCPU */
};
#define NS_PER_S 1000000000ull
#define COUNTED_EPOCH \
  1686355200 /* 2023-06-10 00:00:00 UTC, the day of Debian 12: a counted run must not depend on the host's date */

struct clock {
  bool counted;
  unsigned shift;
  uint64_t tsc_hz;
  uint64_t scale;      /* real: ns << SCALE_BITS per host tick */
  uint64_t origin;     /* real: host TSC at guest ns `base` */
  int64_t base;        /* guest ns at the origin; counted: what HLT skipped and loads set */
  uint64_t tsc_offset; /* real: to the host's TSC; counted: to ticks since ns 0 */
  uint64_t *published; /* NULL or where translated code finds the same (not ours) */
  int64_t seen;        /* real: the latest time that was read through clock_now() */
  int64_t behind;      /* real: taken back and not given again yet, ns */
  int64_t settled;     /* real: guest ns of the last clock_settle() */
  uint64_t stopped;    /* real: host TSC at clock_stop(); 0: it goes */
  /* real: host ns, less what was slept, less CPU time of the vCPU's thread, less what was taken back; 0: not looked at yet */
  int64_t awake;
  uint64_t instructions;
  int64_t epoch;
  struct clock_timer *armed; /* sorted by deadline, equal ones in the order of setting */
  bool running;              /* in clock_run(): the new deadline is told once, at its end */
  int64_t told;              /* deadline that `changed` heard last */
  void (*changed)(void *opaque, int64_t deadline);
  void *opaque;
};

/* ---- the host TSC's frequency ---- */

static int64_t host_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * (int64_t)NS_PER_S + t.tv_nsec;
}
uint64_t clock_host_ns(void) { return (uint64_t)host_ns(); }

/* A (TSC, ns) pair that belongs together: the tightest of a few tries, so that a preemption between the two reads does not
 * count. */
static uint64_t paired_tsc(int64_t *ns) {
  uint64_t best = UINT64_MAX, tsc = 0;
  for (int i = 0; i < 16; i++) {
    uint64_t before = __rdtsc();
    int64_t now = host_ns();
    uint64_t after = __rdtsc();
    if (after - before >= best) continue;
    best = after - before;
    tsc = before + best / 2;
    *ns = now;
  }
  return tsc;
}

static uint64_t measure_hz(int64_t window_ns) {
  int64_t ns0 = 0, ns1 = 0;
  uint64_t tsc0 = paired_tsc(&ns0);
  while (host_ns() - ns0 < window_ns) _mm_pause();
  uint64_t tsc1 = paired_tsc(&ns1);
  return (uint64_t)((unsigned __int128)(tsc1 - tsc0) * NS_PER_S / (uint64_t)(ns1 - ns0));
}

/* SDM vol. 3B, 19.7.3: TSC = ECX * EBX / EAX when all three are there. (Not <cpuid.h>: monitor/ has a header of that name.) */
static uint64_t cpuid_hz(void) {
  uint32_t a = 0, b, c = 0, d;
  __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  if (a < 0x15) return 0;
  a = 0x15;
  c = 0;
  __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  return a && b && c ? (uint64_t)c * b / a : 0;
}

/* perf's user page holds the kernel's TSC -> ns factors. Refused where perf_event_paranoid forbids it; then we measure. */
static uint64_t kernel_hz(void) {
  struct perf_event_attr attr = {
    .size = sizeof attr, .type = PERF_TYPE_SOFTWARE, .config = PERF_COUNT_SW_DUMMY, .exclude_kernel = 1, .exclude_hv = 1};
  int fd = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
  if (fd < 0) return 0;
  uint64_t hz = 0;
  struct perf_event_mmap_page *page = mmap(0, 4096, PROT_READ, MAP_SHARED, fd, 0);
  if (page != MAP_FAILED) {
    if (page->cap_user_time && page->time_mult && page->time_shift < 64)
      hz = (uint64_t)(((unsigned __int128)NS_PER_S << page->time_shift) / page->time_mult);
    munmap(page, 4096);
  }
  close(fd);
  return hz;
}

static bool believable(uint64_t hz, uint64_t measured) {
  uint64_t off = hz > measured ? hz - measured : measured - hz;
  return hz && off < measured / 500;
}

static uint64_t find_tsc_hz(void) {
  uint64_t rough = measure_hz(2000000), hz = cpuid_hz();
  if (believable(hz, rough)) return hz;
  hz = kernel_hz();
  if (believable(hz, rough)) return hz;
  return measure_hz(20000000);
}

/* Found once a process: tests make machines by the hundred, and each look takes 2 ms. */
static uint64_t host_tsc_hz(void) {
  static _Atomic uint64_t known;
  uint64_t hz = atomic_load(&known);
  if (!hz) atomic_store(&known, hz = find_tsc_hz());
  return hz;
}

/* ---- making one ---- */

struct clock *clock_create(int icount_shift, uint64_t tsc_hz) {
  struct clock *c = calloc(1, sizeof *c);
  if (!c) return 0;
  c->told = INT64_MAX;
  c->counted = icount_shift >= 0;
  if (c->counted) {
    c->shift = icount_shift > MAX_SHIFT ? MAX_SHIFT : (unsigned)icount_shift;
    c->tsc_hz = tsc_hz ? tsc_hz : NS_PER_S;
    c->epoch = COUNTED_EPOCH;
    return c;
  }
  c->tsc_hz = host_tsc_hz();
  c->scale = (uint64_t)(((unsigned __int128)NS_PER_S << SCALE_BITS) / c->tsc_hz);
  c->epoch = time(0);
  c->origin = __rdtsc();
  c->tsc_offset = 0 - c->origin;
  return c;
}

void clock_destroy(struct clock *c) { free(c); }

/* ---- reading it ---- */

/* The host's TSC, or what it was when the clock was stopped. */
static uint64_t host_ticks(const struct clock *c) { return __builtin_expect(c->stopped != 0, 0) ? c->stopped : __rdtsc(); }

int64_t clock_peek(const struct clock *c) {
  if (c->counted) return c->base + (int64_t)(c->instructions << c->shift);
  uint64_t ticks = host_ticks(c) - c->origin;
  if ((int64_t)ticks < 0) /* another core's TSC may be some ticks behind the one that made the clock */
    ticks = 0;
  return c->base + (int64_t)((unsigned __int128)ticks * c->scale >> SCALE_BITS);
}

/* What the guest knows of: the next deadline, when it comes, or the latest time that it has seen. */
static int64_t known(const struct clock *c) {
  int64_t due = clock_next_deadline(c);
  return due > c->seen ? due : c->seen;
}

/* Was the CPU away? */
static bool is_late(const struct clock *c, int64_t now) {
  int64_t from = known(c);
  return from < now && now - from > LATE + MARGIN;
}

int64_t clock_now(struct clock *c) {
  int64_t now = clock_peek(c);
  if (!c->counted && is_late(c, now)) {
    clock_settle(c);
    now = clock_peek(c);
  }
  if (now > c->seen) c->seen = now;
  return now;
}

uint64_t clock_tsc(struct clock *c) {
  if (c->counted) return clock_ns_to_ticks(clock_now(c), c->tsc_hz) + c->tsc_offset;
  clock_now(c);
  return host_ticks(c) + c->tsc_offset;
}

uint64_t clock_tsc_hz(const struct clock *c) { return c->tsc_hz; }
uint64_t clock_tsc_offset(const struct clock *c) { return c->tsc_offset; }
static void move_tsc(struct clock *c, uint64_t ticks) {
  c->tsc_offset += ticks;
  if (c->published) *c->published = c->tsc_offset;
}
void clock_tsc_write(struct clock *c, uint64_t value) { move_tsc(c, value - clock_tsc(c)); }
void clock_publish_tsc(struct clock *c, uint64_t *offset) {
  c->published = offset;
  move_tsc(c, 0);
}
int64_t clock_epoch(const struct clock *c) { return c->epoch; }
void clock_set_epoch(struct clock *c, int64_t seconds) { c->epoch = seconds; }

/* ---- busy hosts ---- */

static int64_t thread_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return t.tv_sec * (int64_t)NS_PER_S + t.tv_nsec;
}

/* Guest time and TSC by `ns`, in step. */
static void shift(struct clock *c, int64_t ns) {
  uint64_t ticks = clock_ns_to_ticks(ns < 0 ? -ns : ns, c->tsc_hz);
  if (ns < 0) ticks = 0 - ticks;
  c->origin -= ticks;
  move_tsc(c, ticks);
  c->behind -= ns;
}

/* How long the thread has not run since it was looked at first, less what was slept and what was taken back. */
static int64_t missed(struct clock *c) {
  int64_t away = host_ns() - thread_ns();
  if (!c->awake) c->awake = away;
  if (away < c->awake) /* another thread runs the vCPU now */
    c->awake = away;
  return away - c->awake;
}

void clock_settle(struct clock *c) {
  if (c->counted || c->stopped) return;
  int64_t now = clock_peek(c);
  if (!c->awake) missed(c);
  if (is_late(c, now)) {
    int64_t away = missed(c), late = now - known(c) - MARGIN;
    if (late > away) late = away;
    if (late > 0) {
      c->awake += late;
      shift(c, -late);
    }
  } else if (c->behind && now > c->settled) {
    clock_catch_up(c, (now - c->settled) / CATCH_UP);
  }
  c->settled = clock_peek(c);
}

int64_t clock_catch_up(struct clock *c, int64_t ns) {
  if (c->counted || c->stopped || ns <= 0) return 0;
  int64_t given = ns < c->behind ? ns : c->behind;
  shift(c, given);
  if (given) c->seen = clock_peek(c); /* what is given is no time that the CPU was away */
  return given;
}

void clock_slept(struct clock *c, int64_t ns) { c->awake += c->awake ? ns : 0; }
int64_t clock_behind(const struct clock *c) { return c->behind; }

/* ---- timers ---- */

static void tell(struct clock *c) {
  int64_t deadline = clock_next_deadline(c);
  if (c->running || deadline == c->told) return;
  c->told = deadline;
  if (c->changed) c->changed(c->opaque, deadline);
}

static void unlink_timer(struct clock *c, struct clock_timer *t) {
  for (struct clock_timer **at = &c->armed; *at; at = &(*at)->next)
    if (*at == t) {
      *at = t->next;
      break;
    }
  t->next = 0;
}

void clock_timer_init(struct clock_timer *t, const char *name, void (*fire)(void *), void *opaque) {
  *t = (struct clock_timer){.deadline = INT64_MAX, .fire = fire, .opaque = opaque, .name = name};
}

void clock_timer_set(struct clock *c, struct clock_timer *t, int64_t deadline) {
  unlink_timer(c, t);
  t->deadline = deadline;
  if (deadline != INT64_MAX) {
    struct clock_timer **at = &c->armed;
    while (*at && (*at)->deadline <= deadline) at = &(*at)->next;
    t->next = *at;
    *at = t;
  }
  tell(c);
}

void clock_timer_cancel(struct clock *c, struct clock_timer *t) { clock_timer_set(c, t, INT64_MAX); }

int64_t clock_next_deadline(const struct clock *c) { return c->armed ? c->armed->deadline : INT64_MAX; }

void clock_run(struct clock *c) {
  int64_t now = clock_now(c);
  if (c->stopped || c->running || clock_next_deadline(c) > now) return;
  c->running = true;
  for (int i = 0; i < MAX_FIRES && clock_next_deadline(c) <= now; i++) {
    struct clock_timer *t = c->armed;
    c->armed = t->next;
    t->next = 0;
    t->deadline = INT64_MAX;
    t->fire(t->opaque);
  }
  c->running = false;
  c->told = INT64_MAX; /* the host's timer has gone off: tell even a deadline that it heard before */
  tell(c);
}

void clock_on_deadline(struct clock *c, void (*changed)(void *opaque, int64_t deadline), void *opaque) {
  c->changed = changed;
  c->opaque = opaque;
  c->told = INT64_MAX;
  tell(c);
}

/* ---- moving it ---- */

void clock_stop(struct clock *c) {
  if (c->counted || c->stopped) return; /* instructions alone move a counted one */
  clock_settle(c);
  c->stopped = __rdtsc();
}

/* By how long it has stood, origin and TSC move; to clock_settle() that time is sleep. */
void clock_go(struct clock *c) {
  if (!c->stopped) return;
  uint64_t ticks = __rdtsc() - c->stopped;
  c->stopped = 0;
  c->origin += ticks;
  move_tsc(c, 0 - ticks);
  c->awake = 0;
  c->told = INT64_MAX;
}

void clock_set_count(struct clock *c, uint64_t instructions) {
  if (instructions > c->instructions) c->instructions = instructions;
}

void clock_skip_to(struct clock *c, int64_t ns) {
  int64_t now = clock_now(c);
  if (c->counted && ns > now && ns < INT64_MAX / 2) c->base += ns - now;
}

void clock_set_now(struct clock *c, int64_t ns) {
  if (!c->counted) { /* the guest's TSC does not hang off the origin */
    c->origin = __rdtsc();
    c->base = c->seen = c->settled = ns;
    c->behind = 0;
    return;
  }
  uint64_t tsc = clock_tsc(c);
  c->base = ns - (int64_t)(c->instructions << c->shift);
  clock_tsc_write(c, tsc);
}

/* ---- saved states ---- */

/* In real mode base and offset mean nothing elsewhere: clock_set_now() and clock_tsc_write() follow a load. */
static const struct field fields[] = {
  FIELD(clock, counted), FIELD(clock, shift),      FIELD(clock, tsc_hz), FIELD(clock, instructions),
  FIELD(clock, base),    FIELD(clock, tsc_offset), FIELD(clock, epoch),  FIELD_END};
const struct field *clock_fields(void) { return fields; }
size_t clock_state_size(void) { return sizeof(struct clock); }
bool clock_counted(const struct clock *c) { return c->counted; }

const char *clock_unfit(const struct clock *c, const struct clock *loaded) {
  uint8_t counted;
  memcpy(&counted, &loaded->counted, 1); /* a file's bool may be neither */
  if (counted != c->counted || (counted && loaded->shift != c->shift)) return "the saved state was made under another -icount";
  if (counted && loaded->tsc_hz != c->tsc_hz) return "the saved state's TSC has another rate";
  if (loaded->instructions > (uint64_t)INT64_MAX / 8 >> c->shift || loaded->base < -(INT64_MAX / 8) ||
      loaded->base > INT64_MAX / 8)
    return "the saved state's clock is out of range";
  return 0;
}
