/* When a guest that polls its BIOS may sleep, and for how long (rest.h). Owns struct rest. */
#include "rest.h"
#include "exec.h"
#include "private.h"
#include "round.h"

enum {
  SOON = 1000000,             /* ns between two PAUSEs of a row */
  ENOUGH = 32,                /* PAUSEs of a row before anything is done */
  AGAIN = 8,                  /* ... and behind a proof that was worth it */
  WORTH = 4,                  /* a proof that gained so many times its price is followed by the next at once; */
  PATIENCE = 8,               /* else so many times the price pass without one, then twice as long each time; */
  PATIENCE_DISTURBED = 64,    /* behind one that a poll ended, always so many times; */
  PATIENCE_MOST = 1000000000, /* ns, and no more */
  SLEEP = 50000000,           /* ns: where only interrupts and devices can change anything; where the TSC is read, the least of */
  SLEEP_PART = 8,             /* this part of the time waited so far, and of */
  SLEEP_ROUNDS = 128,         /* so many times what the last round took, which is to take 1 % of a core, */
  SLEEP_SHORT = 4000000,      /* but no less than this */
  SLEEP_LONG = 12000000,      /* and no more; */
  SLEEP_LEAST = 250000        /* and below that it does not pay */
};

/* Interrupts can be taken behind this PAUSE, and none waits. */
static bool interruptible(const struct monitor *m) { return m->v->s.if_flag && !m->intr && !m->v->nmi_pending; }

/* ---- looking at a round ---- */

static bool may_look(const struct monitor *m) {
  const struct vcpu *v = m->v;
  bool stepped = (v->s.sys_flags & FLAG_TF) || (v->dr[7] & 0xff) || m->options.irq_jitter || m->options.one_insn;
  bool told = m->on_exception || m->options.no_chain; /* bt diff; -d exec */
  return interruptible(m) && !stepped && !told;
}

static void look_begin(struct monitor *m, int64_t now) {
  struct rest *r = m->rest;
  m->counters.looks++;
  r->since = now;
  r->what = REST_LOOKS;
  round_begin(r->round, m->v, !r->no_taints);
}

static void look_end(struct monitor *m, int64_t now) {
  struct rest *r = m->rest;
  round_end(m->v);
  r->price = now - r->since;
  r->what = REST_NONE;
  r->count = 0;
}

static void be_patient(struct rest *r, int64_t now) {
  int64_t least = PATIENCE * r->price;
  r->patience = 2 * r->patience > least ? 2 * r->patience : least;
  if (r->patience > PATIENCE_MOST) r->patience = PATIENCE_MOST;
  r->not_before = now + r->patience;
}

static void look_failed(struct monitor *m) {
  int64_t now = clock_peek(m->clock);
  look_end(m, now);
  be_patient(m->rest, now);
  m->rest->no_taints = !m->rest->no_taints;
}

void rest_disturbed(struct monitor *m) {
  if (!m->v->accessed) return;
  int64_t now = clock_peek(m->clock);
  look_end(m, now);
  m->rest->not_before = now + PATIENCE_DISTURBED * m->rest->price;
}

void rest_forget(struct monitor *m) {
  struct rest *r = m->rest;
  if (!r) return;
  round_end(m->v);
  r->what = REST_NONE;
  r->count = 0;
  r->not_before = r->patience = 0;
}

void rest_insn(struct monitor *m, const struct insn *insn) { round_insn(m->rest->round, m->v, insn); }

/* What faults has not done what its row says. */
int rest_step(struct monitor *m) {
  int result = RUN_RETRY;
  bool failed = round_has_failed(m->rest->round, m->v);
  if (!failed) {
    result = slow_step(m);
    failed = round_has_failed(m->rest->round, m->v) || (result == EXEC_FAULT && !m->v->fault.software);
  }
  if (failed) look_failed(m);
  return result;
}

/* ---- sleeping ---- */

static void doze(struct monitor *m, int64_t ns) {
  if (!interruptible(m)) return;
  m->counters.dozes++;
  vcpu_park_fp(m->v);
  machine_doze(m->machine, ns);
}

/* How long it may sleep at a PAUSE that is as at the proof; 0: not at all. */
static int64_t time_to_sleep(const struct rest *r, int64_t now) {
  if (!round_reads_time(r->round)) return SLEEP;
  int64_t part = (now - r->since) / SLEEP_PART, rounds = SLEEP_ROUNDS * (now - r->woke);
  int64_t most = rounds < SLEEP_SHORT ? SLEEP_SHORT : rounds < SLEEP_LONG ? rounds : SLEEP_LONG;
  if (part < SLEEP_LEAST) return 0;
  return part < most ? part : most;
}

static void sleep_proven(struct monitor *m, int64_t now) {
  struct rest *r = m->rest;
  int64_t ns = time_to_sleep(r, now);
  r->misses = 0;
  if (ns) doze(m, ns);
  r->woke = clock_peek(m->clock);
  r->slept += r->woke - now;
}

/* At a PAUSE of a round that is looked at: is it over? */
static void look_at_pause(struct monitor *m, int64_t now) {
  struct rest *r = m->rest;
  switch (round_at_pause(r->round, m->v)) {
  case ROUND_GOES_ON: break;
  case ROUND_FAILED: look_failed(m); break;
  case ROUND_REPEATS:
    m->counters.proofs++;
    look_end(m, now);
    r->what = REST_PROVEN;
    r->slept = 0;
    sleep_proven(m, now);
  }
}

/* At a PAUSE behind a proof: does it still hold? An OUT of a loop that looks at the time is no state, and yet something that it
 * does. */
static void compare_with_proof(struct monitor *m, int64_t now, bool quiet) {
  struct rest *r = m->rest;
  if (quiet && round_is_as_before(r->round, m->v)) {
    sleep_proven(m, now);
    return;
  }
  if (!round_map_changed(r->round, m->v) && ++r->misses < round_pauses(r->round)) return;
  r->what = REST_NONE;
  r->count = 0;
  if (r->slept >= WORTH * r->price) {
    r->count = ENOUGH - AGAIN;
    r->patience = 0;
    return;
  }
  be_patient(r, now);
  if (round_suggest_taints(r->round, m->v)) r->no_taints = false, r->not_before = now;
}

void rest_polled(struct monitor *m) {
  struct rest *r = m->rest;
  int64_t now = clock_peek(m->clock);
  bool quiet = m->v->outs == r->outs;
  r->count = quiet && now - r->last < SOON ? r->count + 1 : 0;
  if (r->what == REST_LOOKS) look_at_pause(m, now);
  else if (r->what == REST_PROVEN) compare_with_proof(m, now, quiet);
  else if (r->count > ENOUGH && m->options.poll_sleep != POLL_SLEEP_AUTO) doze(m, m->options.poll_sleep);
  else if (r->count > ENOUGH && now >= r->not_before && may_look(m)) look_begin(m, now);
  r->last = clock_peek(m->clock);
  r->outs = m->v->outs;
}
