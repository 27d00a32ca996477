/* Direct execution: eligibility, mappings, the look at code before it may run, exits, and the choice. FP is parked here. */
#define _GNU_SOURCE
#include "direct.h"
#include "segment.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
  GUEST_PAGES = MMU_KERNEL_HALF >> MMU_PAGE_BITS, /* those that can be a user's and a space's own */
  LOWEST_PAGE = 16,                               /* below vm.mmap_min_addr, as most hosts have it */
  AHEAD = 32,                                     /* pages that are looked at on either side of one that is mapped */
  MAPS_MOST = 20000,                              /* of one sandbox, of the 65,530 that the host allows; each may split another */
  LOOK_EXITS = 64,
  BUSY_NS = 200000000,
  HLT = 0xf4,
  CHANGES_MOST = 8, /* of code, which is not looked at any more then */
};

const char *monitor_user_code(const struct monitor *m, const char **reason) {
  static const char counted[] = "-icount, -singlestep, -d nochain and --irq-jitter look at each instruction";
  *reason = m->options.user == USER_TRANSLATE ? NULL : m->direct ? m->direct->missing : counted;
  return m->options.user == USER_TRANSLATE || *reason ? "translated"
         : m->options.user == USER_DIRECT             ? "on the CPU itself"
                                                      : "on the CPU itself where it computes, else translated";
}

struct direct *direct_create(void) {
  struct direct *d = calloc(1, sizeof *d);
  if (d) d->ram_fd = d->copy_fd = -1, d->cost = 10000;
  return d;
}

static void close_context(struct direct *d, struct direct_context *c) {
  if (c->space) d->spaces[c->space].context = 0;
  sandbox_close(c->sandbox);
  free(c->targets);
  if (c->pages) munmap(c->pages, GUEST_PAGES * sizeof *c->pages);
  *c = (struct direct_context){0};
}

void direct_destroy(struct direct *d) {
  if (!d) return;
  for (unsigned i = 0; i < DIRECT_CONTEXTS; i++) close_context(d, &d->contexts[i]);
  if (d->copy_pages) munmap(d->copy_pages, DIRECT_COPIES * (size_t)MMU_PAGE);
  if (d->copy_fd >= 0) close(d->copy_fd);
  free(d->code);
  free(d->changes);
  free(d->copy_of);
  free(d->seen_of);
  free(d->seen);
  free(d);
}

/* ---- contexts ---------------------------------------------------------------------------------------------------- */

/* Under --user=auto that is told under -d direct only: the guest runs all the same. */
static bool give_up(struct monitor *m, const char *why) {
  m->direct->missing = why;
  if (m->options.user == USER_DIRECT || m->options.log & 1u << LOG_direct)
    machine_log(m->machine, "direct: user code stays translated: %s", why);
  return false;
}

/* The first time: RAM becomes what can be mapped a second time. */
static bool begin(struct monitor *m) {
  struct direct *d = m->direct;
  if (d->begun) return !d->missing;
  d->begun = true;
  const char *wrong = sandbox_probe(&d->cost);
  if (wrong) return give_up(m, wrong);
  if ((wrong = mmu_share_ram(m->mmu, &d->ram_fd))) return give_up(m, wrong);
  uint64_t frames = mmu_ram_size(m->mmu) >> MMU_PAGE_BITS;
  d->frames = (uint32_t)frames;
  d->code = calloc(frames, 1), d->changes = calloc(frames, 1), d->copy_of = calloc(frames, sizeof *d->copy_of);
  d->seen_of = calloc(frames, sizeof *d->seen_of), d->seen = calloc(DIRECT_LOOKED, sizeof *d->seen);
  if (!d->code || !d->changes || !d->copy_of || !d->seen_of || !d->seen ||
      (d->copy_fd = memfd_create("guest-code", MFD_CLOEXEC)) < 0)
    return give_up(m, "no memory");
  uint64_t size = DIRECT_COPIES * (uint64_t)MMU_PAGE;
  void *pages =
    ftruncate(d->copy_fd, (off_t)size) ? MAP_FAILED : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, d->copy_fd, 0);
  if (pages == MAP_FAILED) return give_up(m, "no memory");
  d->copy_pages = pages;
  return true;
}

static void forget_targets(struct direct_context *c) {
  if (c->target_count) memset(c->targets, 0, DIRECT_TARGETS * sizeof *c->targets);
  c->target_count = 0;
}

static bool empty_context(struct direct_context *c) {
  if (c->maps && !sandbox_unmap(c->sandbox, LOWEST_PAGE, GUEST_PAGES - LOWEST_PAGE)) return false;
  madvise(c->pages, GUEST_PAGES * sizeof *c->pages, MADV_DONTNEED);
  forget_targets(c);
  c->waits = c->code_count = c->code_mapped = c->maps = 0, c->all_stale = false;
  return true;
}

static bool open_context(struct monitor *m, struct direct_context *c) {
  const char *wrong;
  if (!(c->sandbox = sandbox_open(m->direct->ram_fd, m->direct->copy_fd, &wrong))) return give_up(m, wrong);
  m->direct->cpuid_faults = sandbox_hides_cpuid(c->sandbox);
  c->thread = m->tid;
  c->targets = calloc(DIRECT_TARGETS, sizeof *c->targets);
  c->pages =
    mmap(NULL, GUEST_PAGES * sizeof *c->pages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (c->pages != MAP_FAILED && c->targets) return true;
  if (c->pages == MAP_FAILED) c->pages = NULL;
  close_context(m->direct, c);
  return give_up(m, "no memory");
}

/* That of the current address space; another's that was not used for longest where there is none left. */
static struct direct_context *find_context(struct monitor *m) {
  struct direct *d = m->direct;
  uint32_t space = mmu_space(m->v->mmu_cpu);
  struct direct_space *s = &d->spaces[space];
  struct direct_context *c = s->context ? &d->contexts[s->context - 1] : NULL;
  for (unsigned i = 0; i < DIRECT_CONTEXTS; i++)
    if (d->contexts[i].sandbox && d->contexts[i].thread != m->tid) close_context(d, &d->contexts[i]), c = NULL;
  if (!c) {
    c = &d->contexts[0];
    for (unsigned i = 0; i < DIRECT_CONTEXTS; i++)
      if (d->contexts[i].used < c->used) c = &d->contexts[i];
    uint64_t now = clock_host_ns();
    /* taking turns would cost more than it saves */
    bool busy = m->options.user == USER_AUTO && c->sandbox && now - c->used < BUSY_NS;
    if (now < s->not_before || busy) return NULL;
    close_context(d, c); /* what a program has left there is not for another */
    if (!open_context(m, c)) return NULL;
    c->space = space, c->exits = 0, c->ns = 0;
    s->context = (uint8_t)(c - d->contexts + 1);
    m->counters.direct_contexts++;
    c->all_stale = true;
  }
  c->used = clock_host_ns();
  return c;
}

/* Nothing that was found of code is good any more. */
static void forget_code(struct monitor *m) {
  struct direct *d = m->direct;
  for (unsigned i = 0; i < DIRECT_CONTEXTS; i++) d->contexts[i].all_stale = true;
  if (!d->code) return;
  memset(d->code, CODE_UNKNOWN, d->frames);
  memset(d->copy_of, 0, d->frames * sizeof *d->copy_of);
  memset(d->seen_of, 0, d->frames * sizeof *d->seen_of);
  d->copies = d->looked = 0;
}

void direct_forget(struct monitor *m) {
  struct direct *d = m->direct;
  if (!d) return;
  forget_code(m);
  for (unsigned i = 0; i < DIRECT_SPACES; i++) d->spaces[i].promoted = false;
  d->step = false;
}

/* ---- code that may run ------------------------------------------------------------------------------------------- */

static void tell_unfit(struct monitor *m, uint32_t frame, const struct look *l) {
  const uint8_t *b = l->bytes + l->unfit;
  unsigned left = LOOK_PAGE - l->unfit;
  if (m->options.log & 1u << LOG_direct)
    machine_log(m->machine, "direct: code of frame %x stays translated: at %03x: %02x %02x %02x %02x", frame, l->unfit, b[0],
                left > 1 ? b[1] : 0u, left > 2 ? b[2] : 0u, left > 3 ? b[3] : 0u);
}

/* A copy of the page, in which what is foreign is HLT, which faults: that is what runs. Where the host knows protection keys
 * nobody can read it. */
static bool make_copy(struct direct *d, uint32_t frame, const struct look *l) {
  if (!d->copy_of[frame]) {
    if (d->copies == DIRECT_COPIES) return false;
    d->copy_of[frame] = (uint16_t)++d->copies;
  }
  uint8_t *copy = d->copy_pages + (d->copy_of[frame] - 1u) * (uint64_t)MMU_PAGE;
  memcpy(copy, l->bytes, MMU_PAGE);
  for (unsigned i = 0; i < l->foreign_count; i++) copy[l->foreign[i]] = HLT;
  return true;
}

/* In struct direct_context.targets those of a page stand from here on, up to the next free place. */
static uint32_t first_target(uint32_t target) { return ((target >> MMU_PAGE_BITS) * 0x9e3779b1u) % DIRECT_TARGETS; }

/* Ready to look at a page: with the places where blocks begin, and those that other pages of this address space lead to. */
static void prepare_look(struct monitor *m, const struct direct_context *c, struct look *l, uint32_t page, uint32_t frame) {
  const struct tc_block *b = NULL;
  uint32_t next;
  *l = (struct look){.bytes = mmu_frame_pointer(m->mmu, frame),
                     .linear = page << MMU_PAGE_BITS,
                     .features = m->v->features,
                     .cpuid_faults = m->direct->cpuid_faults,
                     .sse = m->direct->sse};
  if (mmu_user_entries(m->v->mmu_cpu, page + 1, &next)) l->next = mmu_frame_pointer(m->mmu, next);
  while ((b = tcache_frame_block(m->code.tcache, frame, b)))
    if (b->key.frame == frame && b->key.mode & TR_USER) look_from(l, (uint32_t)b->key.eip % MMU_PAGE);
  for (uint32_t i = first_target(page << MMU_PAGE_BITS); c->targets[i]; i = (i + 1) % DIRECT_TARGETS)
    if (c->targets[i] >> MMU_PAGE_BITS == page) look_from(l, c->targets[i] % MMU_PAGE);
}

/* What was seen of a frame is kept, so that a new way into it is known for one. */
static uint64_t *seen_of(struct direct *d, uint32_t frame) { return d->seen_of[frame] ? d->seen[d->seen_of[frame] - 1] : NULL; }

static bool keep_seen(struct direct *d, uint32_t frame, const struct look *l) {
  if (!d->seen_of[frame]) {
    if (d->looked == DIRECT_LOOKED) return false;
    d->seen_of[frame] = (uint16_t)++d->looked;
  }
  memcpy(seen_of(d, frame), l->seen, sizeof l->seen);
  return true;
}

/* CODE_ of the frame, whose code is to be executed at `page`, from `entry` on (MMU_PAGE: as the second page of an instruction).
 */
static uint8_t look_at_code(struct monitor *m, struct direct_context *c, uint32_t page, uint32_t frame, uint32_t entry) {
  struct direct *d = m->direct;
  struct look *l = &d->look;
  d->look_context = NULL;
  prepare_look(m, c, l, page, frame);
  look_from(l, entry);
  if (!look_at_page(l)) {
    tell_unfit(m, frame, l);
    return CODE_UNFIT;
  }
  if (!keep_seen(d, frame, l)) return CODE_UNFIT;
  d->look_context = c, d->look_page = page;
  if (!l->foreign_count) return CODE_FIT;
  return make_copy(d, frame, l) ? CODE_COPIED : CODE_UNFIT;
}

/* False: it is not fit. */
static bool judge_code(struct monitor *m, struct direct_context *c, uint32_t page, uint32_t frame, uint32_t entry) {
  struct direct *d = m->direct;
  uint8_t *known = &d->code[frame];
  if (*known <= CODE_AGAIN) {
    m->counters.direct_looks++;
    *known =
      d->changes[frame] > CHANGES_MOST && m->options.user == USER_AUTO ? CODE_UNFIT : look_at_code(m, c, page, frame, entry);
    if (*known == CODE_UNFIT) m->counters.direct_unfit++;
    else mmu_trace_code(m->mmu, frame, ~0ull);
  }
  return *known != CODE_UNFIT;
}

static void add_ways(struct direct *d, struct direct_context *c, const struct look *l) {
  for (unsigned i = 0; i < l->target_count; i++)
    if (d->way_count < DIRECT_WAYS) d->ways[d->way_count++] = l->targets[i];
    else c->all_stale = true;
}

/* A page that runs has a way into it that was not known. It stays as it is if nothing new is foreign there; else it is looked at
 * again. */
static void look_further(struct monitor *m, struct direct_context *c, uint32_t frame, uint32_t target) {
  struct direct *d = m->direct;
  struct look *l = &d->look;
  d->look_context = NULL;
  prepare_look(m, c, l, target >> MMU_PAGE_BITS, frame);
  memcpy(l->seen, seen_of(d, frame), sizeof l->seen);
  l->count = 0;
  look_from(l, target % MMU_PAGE);
  if (!look_for_ways(l) || l->foreign_count || d->code[frame] == CODE_COPIED) {
    direct_look_again(d, frame);
    return;
  }
  memcpy(seen_of(d, frame), l->seen, sizeof l->seen);
  add_ways(d, c, l);
}

/* Direct ways lead to that address. */
static void note_target(struct monitor *m, struct direct_context *c, uint32_t target) {
  struct direct *d = m->direct;
  uint32_t frame, slot = first_target(target);
  if (!target || target >> MMU_PAGE_BITS >= GUEST_PAGES) return;
  for (; c->targets[slot]; slot = (slot + 1) % DIRECT_TARGETS)
    if (c->targets[slot] == target) return;
  if (c->target_count == DIRECT_TARGETS / 2) {
    c->all_stale = true; /* no room */
    return;
  }
  c->target_count++;
  c->targets[slot] = target;
  if (!(mmu_user_entries(m->v->mmu_cpu, target >> MMU_PAGE_BITS, &frame) & 1 << MMU_FETCH)) return;
  if (d->code[frame] != CODE_FIT && d->code[frame] != CODE_COPIED) return;
  const uint64_t *seen = seen_of(d, frame);
  if (!(seen[target % MMU_PAGE / 64] >> target % 64 & 1)) look_further(m, c, frame, target);
}

/* All that is foreign there is HLT in its copy. */
static bool is_copied(const struct direct *d, uint32_t frame, const struct look *l) {
  if (d->code[frame] != CODE_COPIED) return !l->foreign_count;
  const uint8_t *copy = d->copy_pages + (d->copy_of[frame] - 1u) * (uint64_t)MMU_PAGE;
  for (unsigned i = 0; i < l->foreign_count; i++)
    if (copy[l->foreign[i]] != HLT) return false;
  return true;
}

/* Once more from all that was seen, and from what is known in this address space alone. False: there is something new that is
 * foreign. */
static bool look_for_new_ways(struct monitor *m, struct direct_context *c, uint32_t page, uint32_t frame) {
  struct direct *d = m->direct;
  struct look *l = &d->look;
  prepare_look(m, c, l, page, frame);
  const uint64_t *seen = seen_of(d, frame);
  for (unsigned offset = 0; offset < MMU_PAGE; offset++)
    if (seen[offset / 64] >> offset % 64 & 1) look_from(l, offset);
  if (!look_for_ways(l) || !is_copied(d, frame, l)) return false;
  memcpy(seen_of(d, frame), l->seen, sizeof l->seen);
  return true;
}

/* A page of code becomes one of this address space: where it leads to is known from now on. */
static void note_ways(struct monitor *m, struct direct_context *c, uint32_t page, uint32_t frame) {
  struct direct *d = m->direct;
  bool just_looked = d->look_context == c && d->look_page == page;
  if (!just_looked && !look_for_new_ways(m, c, page, frame)) {
    direct_look_again(d, frame);
    return;
  }
  d->look_context = NULL, d->way_count = 0;
  add_ways(d, c, &d->look);
  while (d->way_count) note_target(m, c, d->ways[--d->way_count]);
}

/* ---- mappings ------------------------------------------------------------------------------------------------------ */

/* What is to be mapped at a page now, as in struct direct_context.pages; 0: nothing. */
static uint32_t wanted(struct monitor *m, uint32_t page) {
  uint32_t frame;
  if (page < LOWEST_PAGE || page >= GUEST_PAGES) return 0;
  unsigned entries = mmu_user_entries(m->v->mmu_cpu, page, &frame), protection = 0;
  if (entries & 1 << MMU_READ) protection |= PROT_READ;
  if (entries & 1 << MMU_WRITE) return frame << DIRECT_FRAME_SHIFT | PROT_READ | PROT_WRITE; /* code is traced, so this is none */
  if (entries & 1 << MMU_FETCH && m->direct->code[frame] == CODE_FIT) protection |= PROT_READ | PROT_EXEC;
  if (entries & 1 << MMU_FETCH && m->direct->code[frame] == CODE_COPIED) protection = DIRECT_COPY | PROT_EXEC;
  return protection ? frame << DIRECT_FRAME_SHIFT | protection : 0;
}

static void note_code(struct monitor *m, struct direct_context *c, uint32_t page, uint32_t frame) {
  unsigned i = 0;
  while (i < c->code_count && c->code_pages[i] != page) i++;
  if (i == DIRECT_CODE_PAGES) c->all_stale = true;
  else if (i == c->code_count) c->code_pages[c->code_count++] = page;
  note_ways(m, c, page, frame);
}

static void set_page(struct direct_context *c, uint32_t page, uint32_t what) {
  c->code_mapped += !!(what & PROT_EXEC) - !!(c->pages[page] & PROT_EXEC);
  c->pages[page] = what;
}

/* Maps pages in a row, of frames in a row: `what` is the first one's. */
static bool map_pages(struct monitor *m, struct direct_context *c, uint32_t page, uint32_t count, uint32_t what) {
  uint32_t frame = what >> DIRECT_FRAME_SHIFT & DIRECT_FRAMES,
           place = what & DIRECT_COPY ? m->direct->copy_of[frame] - 1u : frame;
  enum sandbox_file file = what & DIRECT_COPY ? SANDBOX_COPIES : SANDBOX_RAM;
  for (uint32_t i = 0; i < count; i++) {
    set_page(c, page + i, what + (i << DIRECT_FRAME_SHIFT));
    if (what & PROT_EXEC) note_code(m, c, page + i, frame + i);
  }
  m->counters.direct_maps++, c->maps++;
  return sandbox_map(c->sandbox, page, count, file, (uint64_t)place << MMU_PAGE_BITS, what & 7);
}

/* Maps pages that are not, from `page` to `end`, where they may be. */
static bool map_range(struct monitor *m, struct direct_context *c, uint32_t page, uint32_t end) {
  while (page < end) {
    uint32_t count = 1, what = c->pages[page] ? 0 : wanted(m, page);
    while (what && !(what & DIRECT_COPY) && page + count < end && !c->pages[page + count] &&
           wanted(m, page + count) == what + (count << DIRECT_FRAME_SHIFT))
      count++;
    if (what && !map_pages(m, c, page, count, what)) return false;
    page += count;
  }
  return true;
}

/* A page that is mapped, and whose entries have changed. */
static bool look_again(struct monitor *m, struct direct_context *c, uint32_t page) {
  uint32_t old = c->pages[page] & ~(uint32_t)DIRECT_STALE, new = wanted(m, page);
  set_page(c, page, new);
  if (new == old) return true;
  if (new) return map_pages(m, c, page, 1, new);
  m->counters.direct_maps++;
  return sandbox_unmap(c->sandbox, page, 1);
}

static bool bring_up_to_date(struct monitor *m, struct direct_context *c) {
  if (m->direct->looked == DIRECT_LOOKED || m->direct->copies == DIRECT_COPIES) forget_code(m);
  if (c->all_stale || c->maps > MAPS_MOST) return empty_context(c);
  while (c->waits)
    if (!look_again(m, c, c->waiting[--c->waits])) return false;
  /* A program has gone, and another's code may be there soon: what the one led to is no way into the other. */
  if (!c->code_mapped) forget_targets(c);
  return true;
}

/* The page of an exit, and its neighbours. */
static bool map_page(struct monitor *m, struct direct_context *c, uint32_t page) {
  if (c->pages[page]) return look_again(m, c, page);
  uint32_t first = page > LOWEST_PAGE + AHEAD ? page - AHEAD : LOWEST_PAGE;
  return map_range(m, c, first, page + AHEAD < GUEST_PAGES ? page + AHEAD : GUEST_PAGES);
}

/* The page that it faulted at when it came here last: its kernel may have seen to that. */
static bool map_missed(struct monitor *m, struct direct_context *c) {
  uint32_t page = c->missed;
  c->missed = 0;
  return !page || c->pages[page] || map_page(m, c, page);
}

/* The host does not let it have what it needs. */
static void drop_context(struct monitor *m, struct direct_context *c) {
  m->direct->spaces[c->space].not_before = clock_host_ns() + 1000000000u;
  close_context(m->direct, c);
}

/* ---- state --------------------------------------------------------------------------------------------------------- */

static bool selector_for(struct direct_context *c, const struct monitor *m, unsigned seg, uint16_t *selector) {
  const struct tr_segment *s = &m->v->s.seg[seg];
  switch (tr_seg_class(m->mode, seg)) {
  case TR_SEG_FLAT: *selector = SANDBOX_FLAT_DATA; return true;
  case TR_SEG_BASED:
  case TR_SEG_LIMITED: break;
  default: *selector = 0; return !s->usable;
  }
  unsigned i = 0;
  while (i < c->segment_count && (c->segments[i].base != s->base || c->segments[i].limit != s->limit)) i++;
  if (i == c->segment_count) {
    if (c->segment_count < SANDBOX_LDT_ENTRIES) i = c->segment_count;
    else do
        i = c->segment_next++ % SANDBOX_LDT_ENTRIES;
      while (c->segments_chosen >> i & 1);
    if (!sandbox_segment(c->sandbox, i, s->base, s->limit)) return false;
    c->segments[i].base = s->base, c->segments[i].limit = s->limit;
    if (i == c->segment_count) c->segment_count++;
  }
  c->segments_chosen |= 1u << i;
  *selector = sandbox_ldt_selector(i);
  return true;
}

static bool give_state(struct direct_context *c, const struct monitor *m, struct sandbox_state *state) {
  const struct vcpu *v = m->v;
  memcpy(state->gpr, v->s.gpr, sizeof state->gpr);
  state->eip = v->s.eip, state->eflags = v->s.flags | (v->s.sys_flags & FLAG_ID);
  memcpy(state->fp, v->fp.bytes, sizeof state->fp);
  c->segments_chosen = 0;
  return selector_for(c, m, SEG_ES, &state->es) && selector_for(c, m, SEG_DS, &state->ds) &&
         selector_for(c, m, SEG_FS, &state->fs) && selector_for(c, m, SEG_GS, &state->gs);
}

static void take_state(struct monitor *m, const struct sandbox_state *state) {
  enum { THEIRS = FLAGS_ARITH | FLAG_DF | FLAG_TF | FLAG_AC | FLAG_ID | FLAG_NT };
  struct vcpu *v = m->v;
  memcpy(v->s.gpr, state->gpr, sizeof state->gpr);
  v->s.eip = state->eip;
  vcpu_set_eflags(v, (vcpu_eflags(v) & ~(uint32_t)THEIRS) | (state->eflags & THEIRS));
  vcpu_take_fp(v, state->fp, sizeof state->fp);
}

/* ---- exits --------------------------------------------------------------------------------------------------------- */

static int code_byte(struct monitor *m, uint32_t at) {
  struct mmu_result r;
  return mmu_peek(m->v->mmu_cpu, to_gla(at), MMU_FETCH, true, &r) && r.host ? *r.host : -1;
}

/* Where the instruction begins that came back from behind itself. */
static bool rewind_gate(struct monitor *m, unsigned vector, bool call) {
  uint32_t *eip = &m->v->s.eip;
  int before = code_byte(m, *eip - 1), first = code_byte(m, *eip - 2);
  if (call) {
    if (first != 0xcd || before != 0x80) return false;
    *eip -= 2;
  } else *eip -= first == 0xcd && before == (int)vector ? 2 : 1;
  return true;
}

/* A page fault: may the sandbox have the page? It may be that it has to be asked for translated first, or that its code is unfit:
 * then *unfit, and it stays so for as long as it is in that page. */
static bool page_exit(struct monitor *m, struct direct_context *c, const struct sandbox_exit *exit, uint32_t eip, bool *broken,
                      bool *unfit) {
  enum { BY_WRITE = 2, BY_FETCH = 16 };
  uint32_t page = (uint32_t)(exit->address >> MMU_PAGE_BITS), frame;
  if (exit->address >> 32 || page < LOWEST_PAGE || page >= GUEST_PAGES) return false;
  bool fetch = exit->error & BY_FETCH, write = exit->error & BY_WRITE;
  unsigned entries = mmu_user_entries(m->v->mmu_cpu, page, &frame);
  if (fetch && entries & 1 << MMU_FETCH) {
    bool here = page == eip >> MMU_PAGE_BITS, fit = judge_code(m, c, page, frame, here ? eip % MMU_PAGE : MMU_PAGE);
    *unfit = here && !fit; /* else it is the second page of an instruction */
    if (!fit) return false;
  }
  int need = fetch ? PROT_EXEC : write ? PROT_WRITE : PROT_READ;
  if (!(c->pages[page] & DIRECT_STALE) && c->pages[page] & (uint32_t)need) { /* the host has not mapped it */
    *broken = true;
    return false;
  }
  if (!(wanted(m, page) & (uint32_t)need)) return false;
  *broken = !map_page(m, c, page);
  return !*broken && c->pages[page] & (uint32_t)need;
}

/* The selectors that it was entered with, or loads that no look has found: a GS of 33h is the host's 64-bit code segment. They
 * are made good here, before the next access through them, which cannot have been one of the guest's. */
static int repair_segments(struct monitor *m, const struct sandbox_state *given, const struct sandbox_state *state) {
  const uint16_t before[6] = {[SEG_ES] = given->es, [SEG_DS] = given->ds, [SEG_FS] = given->fs, [SEG_GS] = given->gs};
  const uint16_t now[6] = {[SEG_ES] = state->es, [SEG_DS] = state->ds, [SEG_FS] = state->fs, [SEG_GS] = state->gs};
  for (unsigned seg = 0; seg < 6; seg++) {
    if (before[seg] == now[seg]) continue;
    m->counters.direct_repairs++;
    if (segment_load(m->v, seg, now[seg]) == EXEC_FAULT) return EXEC_FAULT;
  }
  return EXEC_NEXT;
}

static void lose(struct monitor *m, struct direct_context *c, const char *why) {
  close_context(m->direct, c);
  vm_stop(m->v, why);
}

/* Does it pay? */
static void look_at_rate(struct monitor *m, struct direct_context *c) {
  struct direct_space *s = &m->direct->spaces[c->space];
  if (c->exits < LOOK_EXITS) return;
  if (m->options.user == USER_AUTO && c->ns / c->exits < 4 * m->direct->cost) {
    s->promoted = false, s->streak = 0;
    if (s->demoted < 8) s->demoted++;
    s->not_before = clock_host_ns() + (20000000ull << s->demoted);
    m->counters.direct_demotions++;
    if (m->options.log & 1u << LOG_direct)
      machine_log(m->machine, "direct: space %u goes back to translated code: %llu ns an exit", c->space,
                  (unsigned long long)(c->ns / c->exits));
  }
  c->exits = 0, c->ns = 0;
}

/* True: it goes on in the sandbox. */
static bool handle_exit(struct monitor *m, struct direct_context *c, const struct sandbox_state *given,
                        struct sandbox_state *state, const struct sandbox_exit *exit) {
  enum { ICEBP = 0xf1 };
  bool broken = false, unfit = false;
  if (exit->left) return lose(m, c, "a program left 32-bit code in its sandbox (--user=translate runs it all the same)"), false;
  bool same = given->es == state->es && given->ds == state->ds && given->fs == state->fs && given->gs == state->gs;
  if (exit->signal == SIGSEGV && exit->vector == VEC_PF && same) {
    m->counters.direct_page_exits++;
    /* these it cannot be entered with */
    bool odd = state->eflags & (FLAG_TF | FLAG_AC | FLAG_NT);
    if (page_exit(m, c, exit, state->eip, &broken, &unfit) && !m->kicked && !odd) return true;
    if (!(exit->address >> 32) && exit->address >> MMU_PAGE_BITS < GUEST_PAGES)
      c->missed = (uint32_t)(exit->address >> MMU_PAGE_BITS);
  }
  take_state(m, state);
  if (repair_segments(m, given, state) == EXEC_FAULT) {
    m->direct->faulted = true;
    return false;
  }
  if (broken) drop_context(m, c);
  c->entries = 0;
  if (exit->signal == SIGUSR1 || broken) return false;
  if (exit->call) {
    m->counters.direct_call_exits++;
    if (!rewind_gate(m, 0x80, true))
      return lose(m, c, "a program executed SYSENTER or SYSCALL in its sandbox (--user=translate runs it all the same)"), false;
  } else if (exit->vector == VEC_DB && (m->v->s.sys_flags & FLAG_TF || code_byte(m, m->v->s.eip - 1) != ICEBP)) {
    m->v->pending_db |= 1u << 14; /* TF is clear behind the POPF that cleared it */
    return false;
  } else if (exit->signal == SIGTRAP || exit->vector == VEC_OF) rewind_gate(m, exit->vector, false);
  m->direct->step = !unfit;
  c->entries = m->user_entries;
  return false;
}

/* It has entered its kernel from its sandbox, by itself. What the ways in and out and the mappings cost may be a thirtieth of the
 * time, and some at once. */
enum { PART = 30, AT_ONCE = 4 };
static bool may_enter_kernel(struct monitor *m) {
  struct direct *d = m->direct;
  return m->options.user == USER_DIRECT || d->spent < (clock_host_ns() - d->sampled) / PART + AT_ONCE * d->cost;
}

/* Of `took` ns in direct_run(), `inside` were in the sandbox, which was left `exits` times. */
static void spend(struct direct *d, uint64_t took, uint64_t inside, unsigned exits) {
  enum { MOST_NS = 3000000 }; /* what was mapped at first is not held against it for long */
  d->spent += took - inside + exits * d->cost;
  if (d->spent > MOST_NS) d->spent = MOST_NS;
}
static void pay_back(struct direct *d, uint64_t passed) { d->spent -= d->spent < passed / PART ? d->spent : passed / PART; }

bool direct_run(struct monitor *m) {
  struct direct *d = m->direct;
  uint32_t frame;
  if (!begin(m)) return false;
  bool sse = m->mode.bits & TR_OSFXSR;
  if (d->sse != sse) forget_code(m);
  d->sse = sse;
  /* in unfit code the way in and out would cost more than it saves */
  if (mmu_user_entries(m->v->mmu_cpu, m->v->s.eip >> MMU_PAGE_BITS, &frame) & 1 << MMU_FETCH && d->code[frame] == CODE_UNFIT)
    return false;
  struct direct_context *c = find_context(m);
  struct sandbox_state state;
  struct sandbox_exit exit;
  if (!c) return false;
  if (c->entries && c->entries != m->user_entries && !may_enter_kernel(m)) {
    d->spaces[c->space].rests = true, c->entries = 0;
    m->counters.direct_rests++;
    return false;
  }
  if (!give_state(c, m, &state)) return false;
  const struct sandbox_state given = state;
  m->counters.direct_entries++;
  uint64_t entered = clock_host_ns(), inside = 0;
  unsigned exits = 0;
  for (bool on = true; on;) {
    if (!bring_up_to_date(m, c) || !map_missed(m, c)) { /* an exit may have made pages stale */
      take_state(m, &state);
      drop_context(m, c);
      return true;
    }
    uint64_t begun = clock_host_ns();
    d->running = c->sandbox;
    bool good = sandbox_run(c->sandbox, &state, &exit, &m->kicked);
    d->running = NULL;
    if (!good) {
      lose(m, c, "a sandbox's process died, or did what it may not");
      return true;
    }
    uint64_t took = clock_host_ns() - begun;
    c->ns += took, m->counters.direct_exits++, m->counters.direct_ns += took;
    inside += took, exits++;
    on = handle_exit(m, c, &given, &state, &exit);
    if (c->sandbox) c->exits += !on || c->warm++ % 16 == 0; /* pages are mapped once, mostly */
  }
  spend(d, clock_host_ns() - entered, inside, exits);
  if (c->sandbox) look_at_rate(m, c);
  return true;
}

/* ---- the choice ---------------------------------------------------------------------------------------------------- */

void direct_sample(struct monitor *m) {
  enum { SAMPLE_NS = 1000000, STREAK = 3, PAYS = 8 };
  struct direct *d = m->direct;
  if (!d || d->missing || m->options.user != USER_AUTO) return;
  uint64_t now = clock_host_ns(), passed = now - d->sampled, entries = m->user_entries - d->entries_then;
  if (passed < SAMPLE_NS) return;
  uint32_t space = mmu_space(m->v->mmu_cpu);
  struct direct_space *s = &d->spaces[space];
  bool computes = m->v->cpl == 3 && space == d->space_then && entries * PAYS * d->cost < passed;
  pay_back(d, passed);
  d->sampled = now, d->entries_then = m->user_entries, d->space_then = space;
  if (computes) s->rests = false;
  if (!computes || s->promoted || now < s->not_before) {
    s->streak = 0;
    return;
  }
  if (++s->streak < STREAK) return;
  s->promoted = true, s->streak = 0;
  m->counters.direct_promotions++;
  if (m->options.log & 1u << LOG_direct) machine_log(m->machine, "direct: space %u computes", space);
}
