/* The run loop: finds or makes the block at CS:EIP, enters it, and does what its exit asks for. Interrupts, single steps and
 * traps are taken here, at instruction boundaries, and nowhere else (D6). */
#include "bytes.h"
#include "direct.h"
#include "exec.h"
#include "mirror.h"

struct vcpu *monitor_vcpu(struct monitor *m) {
  return m->v;
}
const struct monitor_counters *monitor_get_counters(const struct monitor *m) { return &m->counters; }
/* Between budget() and the end of a block, count_left - insns_left of its instructions are done (at a site: run_settle()). */
uint64_t monitor_insn_count(const struct monitor *m) {
  return monitor_counted(m) ? m->count + (uint64_t)(m->count_left - m->v->s.insns_left) : 0;
}
void run_tell_clock(struct monitor *m) {
  if (monitor_counted(m)) clock_set_count(m->clock, monitor_insn_count(m));
}
void monitor_stop_at(struct monitor *m, uint64_t count) { m->stop_at = count; }
void monitor_exit(struct monitor *m) { m->exit_requested = true; }
void monitor_nmi(struct monitor *m) { m->v->nmi_pending = true; }
void monitor_before_io(struct monitor *m) {
  vcpu_park_fp(m->v);
  run_tell_clock(m);
}
/* What dies in an address space that this CPU is not in, it relies on nowhere: what it remembers of a space goes when it leaves
 * it. */
static bool sees(const struct monitor *m, uint32_t space) {
  return space == MMU_SPACE_SHARED || space == mmu_space(m->v->mmu_cpu);
}
void monitor_data_dropped(struct monitor *m, uint32_t space, uint32_t page) {
  direct_dropped(m->direct, space, page);
  mirrors_dropped(m->mirrors, space, page);
  if (!sees(m, space)) return;
  m->dropped = true;
  if (m->v->s.stack_page >> MMU_PAGE_BITS == page) m->v->s.stack_page = 1ull << 40;
  if (gla_page(dtable_linear(&m->v->gdt, 0)) == page) m->v->s.gdt_host = 0;
  if (gla_page(dtable_linear(&m->v->idt, 0)) == page) m->v->s.ivt_host = 0;
}
void monitor_set_intr(struct monitor *m, bool level) {
  m->intr = level;
  m->v->s.irq_pending = level ? FLAG_IF : 0;
}
void vm_stop(struct vcpu *v, const char *reason) {
  if (v->monitor && !v->monitor->stop_reason) v->monitor->stop_reason = reason;
}

/* ---- derived state dies ---------------------------------------------------------------------------------------- */

void monitor_code_written(struct monitor *m, uint32_t frame, uint64_t granules) {
  bool all_traced = direct_code_changed(m->direct, frame);
  const typeof(m->v->store) *store = &m->v->store;
  uint64_t left;
  m->dropped = true;
  unsigned killed = store->size ? tcache_kill_bytes(m->code.tcache, frame, store->offset, store->size, &left)
                                : tcache_kill_granules(m->code.tcache, frame, granules, &left);
  m->counters.code_kills += killed;
  if (killed && store->size && store->by_insn) selfmod_killed(m, frame, store->offset);
  if (!killed && store->size && !all_traced) return; /* all are still there */
  mmu_untrace_code(m->mmu, frame);
  if (left) mmu_trace_code(m->mmu, frame, left);
}

/* Same-page chains are safe: whoever runs there came through a compare or a lookup. Free chains into a kernel page are not. */
void monitor_fetch_dropped(struct monitor *m, uint32_t space, uint32_t page) {
  direct_dropped(m->direct, space, page);
  if (!sees(m, space)) return;
  m->dropped = true;
  vcpu_forget_returns(m->v);
  if (page >= MMU_KERNEL_HALF >> MMU_PAGE_BITS) tcache_unchain_page(m->code.tcache, page);
}

/* Free chains in the kernel half rely on its being shared. */
void monitor_unshared(struct monitor *m) { tcache_unchain_all(m->code.tcache); }

/* Called while the guest's x87/SSE state is live (a store to code): not in create.c, of which clang makes a store by XMM. */
void run_block_died(void *opaque, const struct tc_block *b) {
  struct monitor *m = opaque;
  struct tr_hash_entry *e = &m->v->s.hash[tr_hash_index((uint32_t)b->key.eip)];
  vcpu_forget_returns(m->v);
  if (e->code == tcache_address(m->code.tcache, b->entry)) *e = (struct tr_hash_entry){0, NULL};
}

static void untrace(void *opaque, uint32_t frame) {
  struct monitor *m = opaque;
  direct_code_changed(m->direct, frame);
  mmu_untrace_code(m->mmu, frame);
}

void run_flush(struct monitor *m) {
  m->counters.flushes++;
  m->code.blocks_since_flush = 0;
  vcpu_forget_returns(m->v);
  tcache_flush(m->code.tcache, untrace, m);
  bytes_fill(m->v->s.hash, 0, TR_HASH_ENTRIES * sizeof(struct tr_hash_entry));
}

static void reset_by(struct monitor *m, void (*reset)(struct vcpu *v)) {
  struct vcpu *v = m->v;
  if (v->fp_live) vcpu_park_fp(v);
  run_flush(m);
  direct_forget(m);
  mirrors_forget(m);
  reset(v);
  vcpu_paging_changed(v);
  v->mode_dirty = true;
  v->s.stack_page = 1ull << 40;
  v->halted = false;
  monitor_set_intr(m, false);
  rest_forget(m);
}

void monitor_set_plain_ports(struct monitor *m, const struct plain_ports *ports) {
  m->v->plain_ports = ports ? *ports : (struct plain_ports){0};
}

void monitor_reset(struct monitor *m) { reset_by(m, vcpu_reset); }
void monitor_init_cpu(struct monitor *m) { reset_by(m, vcpu_init); }

/* ---- translating ----------------------------------------------------------------------------------------------- */

/* Fetch entry of a linear page, as it is. */
static const uint64_t *fetch_slot(const struct monitor *m, gla linear) {
  return (const uint64_t *)(uintptr_t)(m->v->s.table + MMU_FETCH_ARRAY) + gla_page(linear);
}

/* The same, made if need be; 0 with *result set: fault, or no RAM there. */
static uint64_t fetch_entry(struct monitor *m, gla linear, int *result) {
  const uint64_t *entry = fetch_slot(m, linear);
  struct mmu_result r;
  *result = EXEC_NEXT;
  if (*entry) return *entry;
  if (!mmu_translate(m->v->mmu_cpu, linear, MMU_FETCH, m->v->cpl == 3, &r)) {
    *result = fault_raise_page(m->v, linear, r.error);
    return 0;
  }
  return *entry;
}

/* tr_request.code_at */
static const uint8_t *code_at(void *opaque, uint32_t linear, uint32_t size, uint32_t *frame) {
  struct monitor *m = opaque;
  uint32_t offset = linear % MMU_PAGE;
  uint64_t entry = *fetch_slot(m, to_gla(linear));
  if (!entry || offset + size > MMU_PAGE) return NULL;
  *frame = mmu_fetch_frame(entry);
  const uint8_t *page = mmu_frame_pointer(m->mmu, *frame);
  return page && selfmod_next(m, *frame, offset) >= size ? page + offset : NULL;
}

static void trace_block(struct monitor *m, const struct tc_block *b) {
  mmu_trace_code(m->mmu, b->key.frame, tcache_granules(b, b->key.frame));
  if (b->frame2) mmu_trace_code(m->mmu, b->frame2 - 1, tcache_granules(b, b->frame2 - 1));
}

struct source {
  uint8_t bytes[32];
  uint32_t frame, frame2;
}; /* frame2: + 1, straddling */

/* The bytes of an instruction that straddles two pages, put together. */
static int straddle(struct monitor *m, struct tr_request *rq, struct source *src, gla linear, const uint8_t *page) {
  int result;
  uint32_t left = MMU_PAGE - gla_in_page(linear);
  uint64_t entry = fetch_entry(m, gla_add(linear, left), &result);
  if (!entry) return result == EXEC_NEXT ? EXEC_AGAIN : result;
  src->frame2 = mmu_fetch_frame(entry) + 1;
  const uint8_t *second = mmu_frame_pointer(m->mmu, src->frame2 - 1);
  if (!second) return EXEC_AGAIN;
  bytes_copy(src->bytes, page, left);
  bytes_copy(src->bytes + left, second, 15);
  rq->bytes = src->bytes, rq->available = left + 15, rq->frame2 = src->frame2 - 1;
  return EXEC_NEXT;
}

static void translate_timed(struct monitor *m, const struct tr_request *request, struct tr_result *result) {
  vcpu_park_fp(m->v);
  uint64_t begun = clock_host_ns();
  tr_translate(request, result);
  m->counters.translate_ns += clock_host_ns() - begun;
}

static void count_block(struct monitor *m, const struct tr_result *r) {
  struct monitor_counters *c = &m->counters;
  c->translations++, c->translated_insns += r->insns, c->translated_bytes += r->guest_size;
  c->thunks += r->thunk_frame != 0;
  c->hot_bytes += r->code_size, c->cold_bytes += r->cold_size;
}

/* Makes the block for `key`. NULL with *result: EXEC_FAULT, or EXEC_AGAIN where only slow_step() can go on. */
static struct tc_block *translate(struct monitor *m, struct tc_key key, gla linear, int *result) {
  struct vcpu *v = m->v;
  uint32_t offset = gla_in_page(linear), limit_left = key.cs_limit - (uint32_t)key.eip;
  struct source src = {.frame = key.frame};
  const uint8_t *page = mmu_frame_pointer(m->mmu, key.frame);
  *result = EXEC_AGAIN;
  if (!page) return NULL;
  page += offset;
  struct tr_request rq = {.bytes = page,
                          .available = MMU_PAGE - offset,
                          .page_left = MMU_PAGE - offset,
                          .eip = (uint32_t)key.eip,
                          .cs_base = key.cs_base,
                          .cs_limit = key.cs_limit,
                          .mode = {key.mode},
                          .features = v->features,
                          .options = m->code.translate_options,
                          .max_insns = TR_MAX_INSNS,
                          .unstable = selfmod_next(m, key.frame, offset),
                          .code_at = code_at,
                          .opaque = m};
  if (limit_left < rq.page_left - 1) rq.page_left = rq.available = limit_left + 1;
  if (m->options.flush_every && m->code.blocks_since_flush >= m->options.flush_every) run_flush(m);
  if (!tcache_begin(m->code.tcache, &rq)) {
    run_flush(m);
    tcache_begin(m->code.tcache, &rq);
  }
  rq.options |= costly_options(m, rq.eip);
  struct tr_result r;
  translate_timed(m, &rq, &r);
  bool goes_on = limit_left >= MMU_PAGE - offset || key.cs_limit == 0xffffffff; /* beyond the page; 4 GiB wrap around */
  if (r.too_short && rq.page_left == MMU_PAGE - offset && goes_on) {
    if ((*result = straddle(m, &rq, &src, linear, page)) != EXEC_NEXT) return NULL;
    *result = EXEC_AGAIN;
    translate_timed(m, &rq, &r);
  }
  if (r.unstable) {
    selfmod_add(m, key.frame, offset, offset + rq.unstable);
    return NULL;
  }
  if (!r.insns) {
    *result = fault_raise_error(v, VEC_GP, 0);
    return NULL;
  }
  struct tc_block *b = tcache_commit(m->code.tcache, &rq, &r, key, r.straddles ? src.frame2 : r.thunk_frame);
  trace_block(m, b);
  m->code.blocks_since_flush++;
  count_block(m, &r);
  if (m->options.log & (1u << LOG_in_asm | 1u << LOG_out_asm)) report_block(m, b, &rq);
  *result = EXEC_NEXT;
  return b;
}

/* ---- finding --------------------------------------------------------------------------------------------------- */

static bool hashable(const struct monitor *m, uint64_t mode) {
  return !(mode & (TR_STEP | TR_PLAIN)) && !(m->code.translate_options & TR_NO_HASH);
}

/* The block at CS:EIP in a mode. NULL with *result as translate(). */
static struct tc_block *find_block(struct monitor *m, uint64_t mode, int *result) {
  struct vcpu *v = m->v;
  gla linear = monitor_linear_eip(m);
  if (v->s.eip > v->s.seg[SEG_CS].limit) {
    *result = fault_raise_error(v, VEC_GP, 0);
    return NULL;
  }
  uint64_t entry = fetch_entry(m, linear, result);
  if (!entry) {
    if (*result == EXEC_NEXT) *result = EXEC_AGAIN;
    return NULL;
  }
  struct tc_key key = {.eip = v->s.eip,
                       .frame = mmu_fetch_frame(entry),
                       .cs_base = v->s.seg[SEG_CS].base,
                       .cs_limit = v->s.seg[SEG_CS].limit,
                       .mode = mode};
  if (m->selfmod.active && selfmod_run(m, key.frame, gla_in_page(linear))) {
    *result = EXEC_AGAIN;
    return NULL;
  }
  struct tc_block *b = tcache_find(m->code.tcache, key);
  m->counters.lookups++;
  if (b && tc_straddles(b)) { /* still the same second page? */
    uint64_t second = fetch_entry(m, gla_add(to_gla(linear.v | MMU_PAGE_MASK), 1), result);
    if (!second) {
      if (*result == EXEC_NEXT) *result = EXEC_AGAIN;
      return NULL;
    }
    if (mmu_fetch_frame(second) + 1 != b->frame2) {
      monitor_code_written(m, key.frame, tc_granules(gla_in_page(linear), 1));
      b = NULL;
    }
  }
  if (!b) b = translate(m, key, linear, result);
  /* An instruction of two pages that reaches beyond the limit: its own bytes are checked. */
  if (b && !(mode & TR_CS_FLAT) && b->guest_size - 1u > v->s.seg[SEG_CS].limit - v->s.eip) {
    *result = EXEC_AGAIN;
    return NULL;
  }
  if (b && hashable(m, mode)) {
    entry = fetch_entry(m, linear, result);
    struct tr_hash_entry *e = &v->s.hash[tr_hash_index(v->s.eip)];
    *e = (struct tr_hash_entry){-(entry + v->s.eip + v->s.mode_key + v->s.cs_key), tcache_address(m->code.tcache, b->entry)};
  }
  return b;
}

/* The dispatcher's own probe of the indirect-branch hash. */
static const void *probe_hash(struct monitor *m) {
  struct vcpu *v = m->v;
  if (!hashable(m, m->mode.bits)) return NULL;
  uint64_t entry = ((const uint64_t *)(uintptr_t)(v->s.table + MMU_FETCH_ARRAY))[gla_page(monitor_linear_eip(m))];
  const struct tr_hash_entry *e = &v->s.hash[tr_hash_index(v->s.eip)];
  return entry && e->negated_key + entry + v->s.eip + v->s.mode_key + v->s.cs_key == 0 ? e->code : NULL;
}

/* ---- entering -------------------------------------------------------------------------------------------------- */

void run_load_fp(struct monitor *m) {
  enum { SELDOM = 256 };
  if (m->v->fp_live) return;
  m->counters.fp_parks++;
  vcpu_unpark_fp(m->v);
  if (m->fp_used && ++m->fp_loads == SELDOM) m->fp_used = false, m->v->mode_dirty = true;
}

/* Kernels and programs of 16-bit code ask chips all the time and seldom use x87: saving and loading its state was 58 to 71 % of a
 * loop of port reads. So it is loaded when something uses it (slow.c), and taken for unused again after some loads. */
void run_enter(struct monitor *m, const void *code) {
  struct vcpu *v = m->v;
  if (!v->fp_live && !(m->mode.bits & TR_NO_FP)) run_load_fp(m);
  if (monitor_counted(m)) v->s.safepoint = (uint64_t)v->s.insns_left;
  tcache_close(m->code.tcache);
  m->code.enter(&v->s, code);
}

void run_settle(struct monitor *m, const struct tr_site *site) {
  struct vcpu *v = m->v;
  const struct tc_block *b = tcache_site_block(m->code.tcache, site);
  v->s.eip = (uint32_t)b->key.eip + site->insn_offset;
  uint32_t esp = v->s.gpr[REG_ESP] + (uint32_t)(int32_t)site->esp_delta;
  v->s.gpr[REG_ESP] = b->key.mode & TR_STACK32 ? esp : (v->s.gpr[REG_ESP] & 0xffff0000) | (esp & 0xffff);
  v->s.insns_left += b->insns - site->index;
}

/* Chains the jump at `number` to the block at its target, if that block exists or can be made now. */
static void chain(struct monitor *m, uint32_t number, uint64_t mode) {
  int result;
  uint32_t generation = tcache_generation(m->code.tcache);
  struct tc_block *from = tcache_site_block(m->code.tcache, tcache_site(m->code.tcache, number));
  struct tc_block *to = find_block(m, mode, &result);
  if (!to || generation != tcache_generation(m->code.tcache) || from->dead) return;
  tcache_chain(m->code.tcache, number, to);
  m->counters.chains++;
}

/* A call through a register or memory had its first target, or one that was not in the hash. */
static void expect_target(struct monitor *m, uint32_t number) {
  int result;
  uint32_t generation = tcache_generation(m->code.tcache);
  struct tc_block *from = tcache_site_block(m->code.tcache, tcache_site(m->code.tcache, number));
  struct tc_block *to = find_block(m, m->mode.bits, &result);
  if (!to || generation != tcache_generation(m->code.tcache) || from->dead) return;
  bool freely = tr_chains_freely(m->mode, (uint32_t)from->key.eip, (uint32_t)to->key.eip); /* of a flat CS: uses_host_stack() */
  tcache_expect(m->code.tcache, number, freely ? to : NULL);
}

/* A signal of the host at `site`. A division compares its divisor from now on; one whose quotient is too large goes on to signal.
 */
static int host_fault(struct monitor *m, struct tr_site *site) {
  const struct tc_key key = tcache_site_block(m->code.tcache, site)->key;
  int result = slow_host_fault(m, site);
  if (result == EXEC_FAULT && m->v->fault.vector == VEC_DE) costly_division(m, &key);
  return result;
}

/* -icount: an instruction that the monitor ran counts when it is done. */
static int counted(struct monitor *m, int result) {
  if (result == EXEC_NEXT || result == EXEC_HALT || result == EXEC_PAUSE) m->v->s.insns_left--;
  return result;
}

/* Nothing was done, and an interrupt may come first; but not behind an STI (SDM vol. 2, STI). */
static int retry(struct monitor *m, bool shadowed) {
  m->v->inhibit_irq |= shadowed;
  return RUN_RETRY;
}

/* After an exit: brings the state to an instruction boundary. */
static int handle_exit(struct monitor *m, uint32_t *plain) {
  struct vcpu *v = m->v;
  for (;;) {
    uint32_t number = (uint32_t)v->s.site;
    if (number == TR_UNDERFLOW) {
      v->s.eip = (uint32_t)v->s.exit_linear;
      m->counters.hash_misses++;
      return EXEC_NEXT;
    }
    struct tr_site *site = tcache_site(m->code.tcache, number);
    int result = EXEC_NEXT;
    bool shadowed = site->access & TR_ACCESS_SHADOW;
    switch ((enum tr_site_kind)site->kind) {
    case TR_SITE_ACCESS:
      if (slow_access(m, site, &result)) continue;
      return result == RUN_RETRY ? retry(m, shadowed) : counted(m, result);
    case TR_SITE_JUMP:
      run_settle(m, site);
      v->s.eip = site->target;
      if (!v->mode_dirty && !m->kicked) chain(m, number, m->mode.bits);
      return EXEC_NEXT;
    case TR_SITE_PLAIN:
      run_settle(m, site);
      m->counters.window_misses++;
      *plain = TR_PLAIN;
      if (site->host && !m->kicked && !shadowed) chain(m, number, m->mode.bits | TR_PLAIN);
      return retry(m, shadowed);
    case TR_SITE_CALLOUT: {
      const struct insn *insn = tcache_callout(m->code.tcache, site->target);
      run_settle(m, site);
      if (monitor_polls_first(m)) return retry(m, shadowed);
      return counted(m, slow_callout(m, insn));
    }
    case TR_SITE_INDIRECT:
      run_settle(m, site);
      v->s.eip = (uint32_t)v->s.exit_linear;
      m->counters.hash_misses++;
      if (site->host && !v->mode_dirty && !m->kicked) expect_target(m, number);
      return EXEC_NEXT;
    case TR_SITE_END:
      run_settle(m, site);
      v->s.eip = site->target;
      return EXEC_NEXT;
    case TR_SITE_FAULT: return host_fault(m, site);
    case TR_SITE_MIRROR:
      if (m->host_signal != SIGSEGV || !mirrors_hit(m, m->host_address)) return host_fault(m, site);
      if (costly_mirror_fault(m, site, &result)) continue;
      return result == RUN_RETRY ? retry(m, shadowed) : counted(m, result);
    case TR_SITE_DIVIDE: run_settle(m, site); return fault_raise(v, VEC_DE);
    case TR_SITE_REFILL:
      run_settle(m, site);
      costly_addends(m, tcache_site_block(m->code.tcache, site));
      return retry(m, shadowed);
    case TR_SITE_STRADDLE: /* looks its second page up, and makes it anew if it is another */
      run_settle(m, site);
      return find_block(m, tcache_site_block(m->code.tcache, site)->key.mode, &result) ? RUN_RETRY
             : result == EXEC_AGAIN                                                    ? counted(m, slow_step(m))
                                                                                       : result;
    case TR_SITE_SAFEPOINT: /* a kick in the midst of a poll leaves the poison alone: only another poll takes it away */
      m->counters.safepoints++;
      m->kicked = 1;
      run_settle(m, site);
      return retry(m, shadowed);
    case TR_SITE_IRQ:
    case TR_SITE_COUNT:
    case TR_SITE_KINDS: run_settle(m, site); return RUN_RETRY;
    }
  }
}

/* ---- boundaries ------------------------------------------------------------------------------------------------ */

static void poll(struct monitor *m) {
  vcpu_park_fp(m->v);
  m->v->s.refill_budget = REFILLS;
  m->v->s.safepoint = m->readable; /* in this order: a kick between the two costs a needless safepoint, never a lost one */
  m->kicked = 0;
  run_tell_clock(m);
  rest_disturbed(m);
  direct_sample(m);
  mirrors_sample(m);
  costly_sample(m);
  machine_poll(m->machine);
}

static uint64_t next_random(struct monitor *m) { /* xorshift64 */
  uint64_t x = m->jitter_state;
  x ^= x << 13, x ^= x >> 7, x ^= x << 17;
  return m->jitter_state = x;
}

/* --irq-jitter: lets a random number of instructions pass before an interrupt that could be taken is. */
static bool jitter_waits(struct monitor *m) {
  if (!m->options.irq_jitter) return false;
  if (m->jitter_delay == 0) {
    m->jitter_delay = 1 + next_random(m) % 64;
    return true;
  }
  return --m->jitter_delay != 0;
}

static void take_interrupt(struct monitor *m) {
  struct vcpu *v = m->v;
  if (v->nmi_pending && !v->nmi_blocked) {
    v->nmi_pending = false, v->halted = false;
    if (m->mid_rep) v->s.sys_flags |= FLAG_RF; /* SDM vol. 3B, 17.3.1.1: the REP instruction was begun */
    deliver_nmi(v);
    return;
  }
  if (!m->intr || !v->s.if_flag) return;
  if (!v->halted && jitter_waits(m)) return;
  v->halted = false;
  vcpu_park_fp(v);
  run_tell_clock(m);
  int vector = machine_ack_interrupt(m->machine);
  if (vector < 0) return;
  m->counters.interrupts++;
  if (m->mid_rep) v->s.sys_flags |= FLAG_RF; /* here too */
  if (m->options.log & 1u << LOG_int) report_fault(m, "interrupt", vector);
  deliver_interrupt(v, (uint8_t)vector);
}

static void halt(struct monitor *m) {
  struct vcpu *v = m->v;
  m->counters.halts++;
  while (v->halted && !m->exit_requested && !m->stop_reason) {
    if ((m->intr && v->s.if_flag) || (v->nmi_pending && !v->nmi_blocked)) return;
    vcpu_park_fp(v);
    run_tell_clock(m);
    machine_idle(m->machine);
    if (m->kicked) poll(m);
  }
}

void monitor_on_exception(struct monitor *m, bool (*exception)(void *opaque, const struct fault *fault), void *opaque) {
  m->on_exception = exception, m->on_exception_opaque = opaque;
  m->v->s.ivt_host = 0; /* INT n is told of */
}

bool monitor_interrupt(struct monitor *m, uint8_t vector) {
  struct vcpu *v = m->v;
  if (v->inhibit_irq || (vector == VEC_NMI ? v->nmi_blocked : !v->s.if_flag)) return false;
  v->halted = false;
  m->counters.interrupts++;
  if (m->mid_rep) v->s.sys_flags |= FLAG_RF;
  if (vector == VEC_NMI) deliver_nmi(v);
  else deliver_interrupt(v, vector);
  return true;
}

static void deliver(struct monitor *m) {
  m->counters.faults++;
  if (m->on_exception) {
    vcpu_park_fp(m->v);
    if (m->on_exception(m->on_exception_opaque, &m->v->fault)) m->exit_requested = true;
  }
  if (m->options.log & 1u << LOG_int) {
    vcpu_park_fp(m->v);
    report_fault(m, "exception", m->v->fault.vector);
  }
  deliver_fault(m->v);
  if ((m->mode.bits & TR_REAL) && !m->on_exception && !(m->options.log & 1u << LOG_int)) slow_remember_vectors(m);
}

static void raise_trap(struct monitor *m) { /* #DB traps, SDM vol. 3B, 17.3.1 */
  struct vcpu *v = m->v;
  v->fault = (struct fault){.vector = VEC_DB, .trap = true, .dr6 = v->pending_db};
  v->pending_db = 0;
  deliver(m);
}

/* A code breakpoint at EIP is a fault, unless RF says that it has been seen. Behind MOV SS and POP SS CPUs of Intel's go on as if
 * RF were 1 (SDM vol. 3A, 6.8.3; Bochs does, QEMU does not); AMD's deliver it. */
static bool code_breakpoint(struct monitor *m, bool behind_ss) {
  struct vcpu *v = m->v;
  uint32_t hit = 0;
  if ((v->s.sys_flags & FLAG_RF) || (behind_ss && !cpu_model_is_amd(v->model))) return false;
  for (unsigned i = 0; i < 4; i++)
    if ((v->dr[7] >> 2 * i & 3) && (v->dr[7] >> (16 + 4 * i) & 3) == 0 && v->dr[i] == monitor_linear_eip(m).v) hit |= 1u << i;
  if (!hit) return false;
  v->fault = (struct fault){.vector = VEC_DB, .dr6 = hit};
  deliver(m);
  return true;
}

/* ---- the loop -------------------------------------------------------------------------------------------------- */

/* -icount: what is due at this very instruction happens now, so that an interrupt is taken here whatever the blocks around look
 * like. */
static void run_due(struct monitor *m) {
  run_tell_clock(m);
  if (!m->kicked && clock_next_deadline(m->clock) > clock_now(m->clock)) return;
  poll(m);
}

/* Gives the next block its share of instructions. */
static void budget(struct monitor *m) {
  enum { SLICE = 1 << 20 };
  run_tell_clock(m);
  int64_t deadline = clock_next_deadline(m->clock), now = clock_now(m->clock);
  int64_t left = SLICE, step = 1ll << m->options.icount_shift;
  if (deadline != INT64_MAX && (deadline - now + step - 1) / step < left) left = (deadline - now + step - 1) / step;
  if (m->stop_at - m->count < (uint64_t)left) left = (int64_t)(m->stop_at - m->count);
  m->count_left = m->v->s.insns_left = left > 0 ? left : 1;
}
/* A block that does not fit into what is left of the budget is run one instruction at a time. */
static bool exceeds_budget(const struct monitor *m, const struct tc_block *b) {
  return monitor_counted(m) && b->insns > m->v->s.insns_left;
}

static void end_budget(struct monitor *m) {
  m->count = monitor_insn_count(m);
  m->count_left = m->v->s.insns_left;
}

static int run_block(struct monitor *m, uint64_t mode, uint32_t *plain) {
  bool tight = monitor_counted(m) && m->v->s.insns_left < TR_MAX_INSNS;
  const void *code = *plain || tight || (mode & TR_STEP) ? NULL : probe_hash(m);
  if (!code) {
    int result;
    struct tc_block *b = find_block(m, mode | *plain, &result);
    if (b && exceeds_budget(m, b)) *plain = 0, b = find_block(m, mode | TR_STEP, &result);
    if (!b) {
      *plain = 0;
      return result == EXEC_AGAIN ? counted(m, slow_step(m)) : result;
    }
    code = tcache_address(m->code.tcache, b->entry);
    if (mode & TR_MIRROR && mirrors_unsettled(m)) return RUN_RETRY; /* its code is traced now, or a page table */
  }
  *plain = 0;
  m->counters.dispatches++;
  run_enter(m, code);
  return handle_exit(m, plain);
}

static void log_exec(struct monitor *m) {
  vcpu_park_fp(m->v);
  report_exec(m, m->v->s.eip);
}

static void paranoia(struct monitor *m) {
  if (++m->blocks_since_check < m->options.paranoid) return;
  m->blocks_since_check = 0;
  vcpu_park_fp(m->v);
  const char *wrong = mmu_check(m->mmu);
  if (!wrong) wrong = mirrors_check(m);
  if (wrong) vm_stop(m->v, wrong);
}

static void after_instruction(struct monitor *m, int result, bool stepped) {
  struct vcpu *v = m->v;
  switch (result) {
  case EXEC_PAUSE: rest_polled(m); /* fall through */
  case EXEC_NEXT:
  case EXEC_AGAIN:                          /* AGAIN: an iteration of a REP instruction is a step too */
    if (stepped) v->pending_db |= 1u << 14; /* DR6.BS */
    if (v->pending_db && !v->inhibit_db) {
      if (result == EXEC_AGAIN) v->s.sys_flags |= FLAG_RF; /* 17.3.1.1: a trap of any iteration but the last */
      raise_trap(m);
    }
    break;
  case EXEC_FAULT: {
    bool software = v->fault.software;
    deliver(m);
    /* what MOV SS held back is due behind the next instruction, and INT n is one: in its handler */
    if (software && v->pending_db) raise_trap(m);
    break;
  }
  case EXEC_HALT:
    v->halted = true;
    if (stepped) {
      v->pending_db |= 1u << 14;
      v->halted = false;
      raise_trap(m);
    }
    break;
  default: break;
  }
}

static bool run_directly(struct monitor *m) {
  vcpu_park_fp(m->v);
  if (!direct_run(m)) return false;
  if (m->direct->faulted) m->direct->faulted = false, deliver(m);
  if (m->v->pending_db) raise_trap(m); /* a single step in there */
  return true;
}

static void open_mirror(struct monitor *m) {
  vcpu_park_fp(m->v);
  mirrors_open(m);
  if (m->v->mode_dirty) mode_update(m);
}

static void settle_mirror(struct monitor *m) {
  vcpu_park_fp(m->v);
  mirrors_settle(m);
  if (m->v->mode_dirty) mode_update(m);
}

static void one_round(struct monitor *m, uint32_t *plain) {
  struct vcpu *v = m->v;
  if (monitor_counted(m)) {
    if (m->count >= m->stop_at) {
      m->stop_at = UINT64_MAX, m->exit_requested = true;
      return;
    }
    run_due(m);
  } else if (m->kicked) poll(m);
  if (v->halted) halt(m);
  bool shadow = v->inhibit_irq;
  if (!shadow && ((m->intr && v->s.if_flag) || v->nmi_pending)) {
    take_interrupt(m);
    *plain = 0;
  }
  if (v->halted || m->exit_requested || m->stop_reason) return;
  if (v->mode_dirty || !(v->s.flags & FLAG_DF) != !(m->mode.bits & TR_DOWN)) {
    mode_update(m);
    *plain = 0;
  }
  if (!(m->mode.bits & TR_MIRROR) && m->mirrors && mirrors_fit(m, m->mode.bits) && mirrors_due(m)) open_mirror(m);
  if (m->mode.bits & TR_MIRROR) {
    mirrors_load_gs(m);
    if (mirrors_unsettled(m)) settle_mirror(m);
  }
  uint64_t mode = m->mode.bits;
  if (shadow || m->jitter_delay) mode |= TR_STEP;
  if (mode & TR_USER && direct_wanted(m) && !(mode & TR_STEP)) {
    if (m->direct->step) mode = (mode | TR_STEP) & ~TR_MIRROR, m->direct->step = false;
    else if (run_directly(m)) {
      *plain = 0;
      return;
    }
  }
  bool shadow_db = v->inhibit_db;
  v->inhibit_irq = v->inhibit_db = false;
  bool tf = v->s.sys_flags & FLAG_TF;
  if (mode & TR_STEP) {
    *plain = 0;
    if (mode_watches_code(v) && code_breakpoint(m, shadow_db)) return;
  }
  bool rf = v->s.sys_flags & FLAG_RF;
  if (monitor_counted(m)) budget(m);
  if (m->options.paranoid) paranoia(m);
  m->recent[m->recent_at++ % RECENT] = (typeof(m->recent[0])){v->s.eip, v->s.seg[SEG_CS].base, mode};
  if (m->options.log & 1u << LOG_exec) log_exec(m);
  int result = __builtin_expect(!v->accessed, 1) ? run_block(m, mode, plain) : rest_step(m);
  if (monitor_counted(m)) end_budget(m);
  /* its instruction is still to come */
  if (result == RUN_RETRY && !v->halted) v->inhibit_irq |= shadow, v->inhibit_db = shadow_db;
  if (rf && (result == EXEC_NEXT || result == EXEC_PAUSE)) v->s.sys_flags &= ~FLAG_RF;
  if (result != RUN_RETRY) m->polled = false;
  m->mid_rep = result == EXEC_AGAIN;
  after_instruction(m, result, tf);
}

const char *monitor_run(struct monitor *m) {
  uint32_t plain = 0;
  const char *failed = m->holds_signals ? NULL : signals_install(m);
  if (failed) return failed;
  m->exit_requested = false;
  m->running = true;
  mirrors_in_gs = NULL; /* whoever had this thread may have used GS */
  while (!m->exit_requested && !m->stop_reason) one_round(m, &plain);
  m->running = false;
  vcpu_park_fp(m->v);
  run_tell_clock(m);
  if (!m->holds_signals) signals_restore(m);
  if (m->stop_reason) report_stop(m, m->stop_reason);
  return m->stop_reason;
}
