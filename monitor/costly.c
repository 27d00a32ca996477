/* Sites that prove costly: their blocks are made anew with options that say so (D4, D8). What is known is kept by EIP; two blocks
 * that share a place forget each other. */
#include "mirror.h"

static struct costly *place(struct monitor *m, uint32_t eip) {
  return &m->code.costly[(eip * 0x9e3779b1u) >> (32 - COSTLY_BITS)];
}

uint32_t costly_options(struct monitor *m, uint32_t eip) { return place(m, eip)->eip == eip ? place(m, eip)->options : 0; }

static struct costly *know(struct monitor *m, uint32_t eip) {
  struct costly *entry = place(m, eip);
  if (entry->eip != eip) *entry = (struct costly){.eip = eip};
  return entry;
}

static void forget_block(struct monitor *m, const struct tc_key *key) {
  gla linear = gla_add(to_gla(key->cs_base), (uint32_t)key->eip);
  monitor_code_written(m, key->frame, tc_granules(gla_in_page(linear), 1));
}

/* From now on the block of this key is made with these options, too. */
static void make_anew(struct monitor *m, const struct tc_key *key, uint32_t options) {
  know(m, (uint32_t)key->eip)->options |= options;
  forget_block(m, key);
}

void costly_addends(struct monitor *m, const struct tc_block *b) {
  const struct tc_key key = b->key;
  m->counters.refills++;
  m->v->s.refill_budget = REFILLS;
  make_anew(m, &key, TR_NO_ADDENDS);
}

void costly_division(struct monitor *m, const struct tc_key *key) {
  uint32_t options = m->code.translate_options | costly_options(m, (uint32_t)key->eip);
  if (options & (TR_NO_DIVISORS | TR_CHECK_DIVISORS)) return;
  m->counters.divisors++;
  make_anew(m, key, TR_CHECK_DIVISORS);
}

/* ---- accesses that fault in the mirror ---------------------------------------------------------------------------- */

/* Half of the time went into them: a loop that touches new pages, or stores beside code. */
static bool faults_often(struct monitor *m, struct costly *known) {
  enum { SOME = 32, PART = 2 };
  mirrors_charge(m);
  if (known->faults++ % SOME) return false;
  vcpu_park_fp(m->v);
  uint64_t now = clock_host_ns(), passed = now - known->since;
  bool often = known->faults > 1 && passed < SOME * PART * m->mirrors->fault_ns;
  known->since = now;
  return often && !m->options.eager;
}

/* For a while, and for longer each time. */
static void leave_often(struct monitor *m, const struct tc_key *key, struct costly *known) {
  enum { WHILE_NS = 50000000, MOST = 6 };
  known->left = *key;
  known->until = known->since + ((uint64_t)WHILE_NS << known->times);
  known->times += known->times < MOST;
  if (!m->code.costly_until || known->until < m->code.costly_until) m->code.costly_until = known->until;
}

/* Beside code, or to what else is traced: each such store is a fault of the host, and will be. So is a kernel's to a page that is
 * a page table now and then, and then not. */
static bool stores_often(struct monitor *m, struct costly *known) {
  enum { MANY = 32 };
  return ++known->stores >= MANY && !m->options.eager;
}

static bool changes_rights(const struct monitor *m, const struct tr_site *site) {
  return site->access & ACCESS_W && mirrors_in_kernel(m) && mirrors_may_be_read(m, gla_page(gla_wrap(m->v->s.exit_linear)));
}

bool costly_mirror_fault(struct monitor *m, struct tr_site *site, int *result) {
  const struct tc_key key = tcache_site_block(m->code.tcache, site)->key;
  struct costly *known = know(m, (uint32_t)key.eip);
  uint64_t stores = m->counters.slow_traced;
  if (faults_often(m, known)) {
    run_settle(m, site);
    leave_often(m, &key, known);
    *result = RUN_RETRY;
  } else if (changes_rights(m, site) && stores_often(m, known)) {
    run_settle(m, site);
    *result = RUN_RETRY;
  } else if (slow_mirror(m, site, result)) {
    return true;
  } else if (*result == RUN_UNFIT) {
    *result = RUN_RETRY;
  } else if (m->counters.slow_traced == stores || !stores_often(m, known)) {
    return false;
  }
  m->counters.mirror_leaves++;
  make_anew(m, &key, TR_NO_MIRROR);
  return false;
}

void costly_sample(struct monitor *m) {
  uint64_t now = m->code.costly_until ? clock_host_ns() : 0;
  if (now < m->code.costly_until || !now) return;
  m->code.costly_until = 0;
  for (unsigned i = 0; i < COSTLY; i++) {
    struct costly *c = &m->code.costly[i];
    if (c->until > now && (!m->code.costly_until || c->until < m->code.costly_until)) m->code.costly_until = c->until;
    if (!c->until || now < c->until) continue;
    c->until = 0, c->faults = 0;
    c->options &= ~(uint32_t)TR_NO_MIRROR;
    forget_block(m, &c->left);
  }
}
