/* Blocks: finding, adding, chaining, killing. Compiled without the FPU (D7): stores to code kill blocks while guest FP state is
 * live. */
#include "private.h"

const struct tr_stubs *tcache_stubs(const struct tcache *t) { return &t->stubs; }
const void *tcache_address(const struct tcache *t, uint32_t offset) { return t->executable + offset; }
uint32_t tcache_offset(const struct tcache *t, uint64_t address) {
  uint64_t offset = address - (uint64_t)(uintptr_t)t->executable;
  return offset < t->size ? (uint32_t)offset : 0;
}
struct tr_site *tcache_site(struct tcache *t, uint32_t number) {
  return &t->sites[number];
}
struct tc_block *tcache_site_block(struct tcache *t, const struct tr_site *site) {
  return &t->blocks[site->block];
}
const struct insn *tcache_callout(struct tcache *t, uint32_t number) { return &t->callouts[number]; }
struct tc_block *tcache_block(struct tcache *t, uint32_t index) {
  return &t->blocks[index];
}
uint32_t tcache_generation(const struct tcache *t) { return t->generation; }
uint32_t tcache_block_count(const struct tcache *t) { return t->block_count; }
uint64_t tcache_code_used(const struct tcache *t) { return t->used + t->cold_used - t->cold_start; }

static uint32_t *head(struct tcache *t, struct tc_key k) {
  uint32_t eip = (uint32_t)(k.eip ^ k.eip >> 32);
  uint32_t h =
    (eip ^ k.frame * 0x9e3779b1u ^ (uint32_t)(k.mode ^ k.mode >> 32) * 0x85ebca6bu ^ k.cs_base ^ ~k.cs_limit) * 0x9e3779b1u;
  return &t->hash[h >> 16];
}

/* Linear address, and page, of a block's first byte: of 32 bits (the array of pages has no more). */
static uint32_t linear_of(struct tc_key k) { return (uint32_t)k.eip + k.cs_base; }

static bool same_key(struct tc_key a, struct tc_key b) {
  return a.eip == b.eip && a.frame == b.frame && a.mode == b.mode && a.cs_base == b.cs_base && a.cs_limit == b.cs_limit;
}

struct tc_block *tcache_find(struct tcache *t, struct tc_key key) {
  for (uint32_t i = *head(t, key); i; i = t->blocks[i - 1].next_hash)
    if (same_key(t->blocks[i - 1].key, key)) return &t->blocks[i - 1];
  return NULL;
}

bool tcache_begin(struct tcache *t, struct tr_request *rq) {
  if (t->used + TR_MAX_CODE > t->cold_start || t->cold_used + TR_MAX_COLD > t->size || t->block_count == t->block_max ||
      t->site_count + TR_MAX_SITES > t->site_max || t->callout_count + TR_MAX_INSNS > t->callout_max)
    return false;
  tcache_use(t, t->used), tcache_use(t, t->cold_used);
  rq->offset = t->used, rq->code = tcache_writable(t, t->used, TR_MAX_CODE);
  rq->cold_offset = t->cold_used, rq->cold = tcache_writable(t, t->cold_used, TR_MAX_COLD);
  rq->first_site = t->site_count, rq->sites = t->sites + t->site_count, rq->callouts = t->callouts + t->callout_count;
  return true;
}

/* Of its bytes in the page that it begins in. */
static uint32_t first_size(const struct tc_block *b) { return tc_straddles(b) ? b->guest_size - b->second_size : b->guest_size; }

static struct spared *spared_of(struct tcache *t, uint32_t frame) { return &t->spared[frame % SPARED]; }

/* Bits of a granule's bytes in [from, to) of the page. */
static uint64_t bytes_in(unsigned granule, uint32_t from, uint32_t to) {
  uint32_t start = granule * 64, first = from > start ? from - start : 0, end = to < start + 64 ? to - start : 64;
  return (~0ull << first) & (~0ull >> (64 - end));
}

static void spare(struct spared *s, uint32_t from, uint32_t to) {
  for (unsigned g = from / 64; g * 64 < to; g++) s->bytes[g] |= bytes_in(g, from, to);
}

/* The block's bytes in a frame that is remembered. */
static void spare_block(struct spared *s, const struct tc_block *b) {
  uint32_t offset = linear_of(b->key) & 4095;
  if (s->frame == b->key.frame + 1) spare(s, offset, offset + first_size(b));
  if (s->frame == b->frame2) spare(s, b->second_at, b->second_at + b->second_size);
}

struct tc_block *tcache_commit(struct tcache *t, const struct tr_request *rq, const struct tr_result *r, struct tc_key key,
                               uint32_t frame2) {
  uint32_t index = t->block_count++;
  struct tc_block *b = &t->blocks[index];
  uint32_t page = linear_of(key) >> 12, end = (linear_of(key) & 4095) + r->guest_size;
  *b = (struct tc_block){.key = key,
                         .frame2 = frame2,
                         .code = rq->offset,
                         .code_size = r->code_size,
                         .cold = rq->cold_offset,
                         .cold_size = r->cold_size,
                         .entry = r->entry,
                         .first_site = rq->first_site,
                         .first_callout = t->callout_count,
                         .site_count = (uint16_t)r->site_count,
                         .guest_size = (uint16_t)r->guest_size,
                         .insns = (uint16_t)r->insns};
  if (r->thunk_frame) b->second_at = r->thunk & 4095, b->second_size = TR_PC_THUNK_SIZE;
  else if (frame2 && end > 4096) b->second_size = (uint16_t)(end - 4096);
  for (unsigned i = 0; i < r->site_count; i++) {
    struct tr_site *s = &t->sites[rq->first_site + i];
    s->block = index, s->next_in = 0;
    if (s->kind == TR_SITE_CALLOUT) s->target += t->callout_count;
  }
  t->used = (rq->offset + r->code_size + 15) & ~15u;
  t->cold_used = rq->cold_offset + r->cold_size;
  t->site_count += r->site_count, t->callout_count += r->callout_count;
  uint32_t *h = head(t, key);
  b->next_hash = *h, *h = index + 1;
  b->next_frame = t->by_frame[key.frame], t->by_frame[key.frame] = index + 1;
  if (frame2) b->next_frame2 = t->by_frame[frame2 - 1], t->by_frame[frame2 - 1] = index + 1;
  b->next_page = t->by_page[page], t->by_page[page] = index + 1;
  spare_block(spared_of(t, key.frame), b);
  if (frame2) spare_block(spared_of(t, frame2 - 1), b);
  return b;
}

uint32_t tcache_thunk_space(struct tcache *t) {
  if (t->used + TR_THUNK_SIZE > t->cold_start) return 0;
  uint32_t at = t->used;
  t->used += TR_THUNK_SIZE;
  return at;
}

/* ---- chaining -------------------------------------------------------------------------------------------------- */

static void patch32(struct tcache *t, uint32_t at, uint32_t value) { __builtin_memcpy(tcache_writable(t, at, 4), &value, 4); }
static void point(struct tcache *t, uint32_t rel32, uint32_t target) { patch32(t, rel32, target - (rel32 + 4)); }

/* Takes a chained site out of the list of the block that it leads to. */
static void unlink_incoming(struct tcache *t, uint32_t number) {
  struct tr_site *s = &t->sites[number];
  int32_t rel;
  __builtin_memcpy(&rel, t->executable + s->host, 4);
  struct tc_block *old = tcache_block_at(t, s->host + 4 + (uint32_t)rel);
  for (uint32_t *p = old ? &old->incoming : NULL; p && *p && *p != UINT32_MAX; p = &t->sites[*p - 1].next_in)
    if (*p == number + 1) {
      *p = s->next_in;
      break;
    }
  if (old && old->incoming == UINT32_MAX) old->incoming = 0;
  s->next_in = 0;
}

/* What the site compares with before it goes to the block: the frame of its page, or its EIP. */
static uint32_t guard_of(const struct tr_site *s, const struct tc_block *to) {
  return s->kind == TR_SITE_INDIRECT ? -(uint32_t)to->key.eip : -(to->key.frame + 1);
}

void tcache_chain(struct tcache *t, uint32_t number, struct tc_block *to) {
  struct tr_site *s = &t->sites[number];
  if (s->next_in) unlink_incoming(t, number);
  if (s->guard) patch32(t, s->guard, UNBOUND);
  point(t, s->host, to->entry);
  if (s->guard) patch32(t, s->guard, guard_of(s, to));
  s->next_in = to->incoming ? to->incoming : UINT32_MAX; /* UINT32_MAX: last in the list */
  to->incoming = number + 1;
}

void tcache_expect(struct tcache *t, uint32_t number, struct tc_block *to) {
  struct tr_site *s = &t->sites[number];
  patch32(t, s->target, 0);
  if (to && !s->next_in) tcache_chain(t, number, to);
}

static void unchain_incoming(struct tcache *t, struct tc_block *b) {
  for (uint32_t n = b->incoming; n && n != UINT32_MAX;) {
    struct tr_site *s = &t->sites[n - 1];
    n = s->next_in;
    s->next_in = 0;
    /* an indirect site goes on to expect that target, which the exit finds anew */
    if (s->guard && s->kind != TR_SITE_INDIRECT) patch32(t, s->guard, UNBOUND);
    point(t, s->host, s->cold);
  }
  b->incoming = 0;
}

void tcache_unchain_page(struct tcache *t, uint32_t page) {
  for (uint32_t i = t->by_page[page]; i; i = t->blocks[i - 1].next_page) unchain_incoming(t, &t->blocks[i - 1]);
}

void tcache_unchain_all(struct tcache *t) {
  for (uint32_t i = 0; i < t->block_count; i++) unchain_incoming(t, &t->blocks[i]);
}

/* ---- dying ----------------------------------------------------------------------------------------------------- */

static void unlink_hash(struct tcache *t, uint32_t index) {
  for (uint32_t *p = head(t, t->blocks[index].key); *p; p = &t->blocks[*p - 1].next_hash)
    if (*p == index + 1) {
      *p = t->blocks[index].next_hash;
      return;
    }
}

static void unlink_page(struct tcache *t, uint32_t index) {
  const struct tc_block *b = &t->blocks[index];
  for (uint32_t *p = &t->by_page[linear_of(b->key) >> 12]; *p; p = &t->blocks[*p - 1].next_page)
    if (*p == index + 1) {
      *p = b->next_page;
      return;
    }
}

static void kill(struct tcache *t, uint32_t index) {
  struct tc_block *b = &t->blocks[index];
  if (b->dead) return;
  if (t->died) t->died(t->opaque, b);
  b->dead = true;
  unlink_hash(t, index);
  unlink_page(t, index);
  unchain_incoming(t, b);
}

/* Which granules of `frame` a block was read from: with its first bytes, its second ones, or both. */
uint64_t tcache_granules(const struct tc_block *b, uint32_t frame) {
  uint64_t g = 0;
  if (b->key.frame == frame) g |= tc_granules(linear_of(b->key) & 4095, first_size(b));
  if (b->frame2 == frame + 1) g |= tc_granules(b->second_at, b->second_size);
  return g;
}

/* Was the block read from these bytes of the frame? As tcache_granules(). */
static bool read_from(const struct tc_block *b, uint32_t frame, uint32_t from, uint32_t size) {
  uint32_t offset = linear_of(b->key) & 4095, second = b->second_at;
  if (b->key.frame == frame && from < offset + first_size(b) && offset < from + size) return true;
  return b->frame2 == frame + 1 && from < second + b->second_size && second < from + size;
}

const struct tc_block *tcache_frame_block(const struct tcache *t, uint32_t frame, const struct tc_block *previous) {
  uint32_t i = !previous ? t->by_frame[frame] : previous->key.frame == frame ? previous->next_frame : previous->next_frame2;
  while (i && t->blocks[i - 1].dead)
    i = t->blocks[i - 1].key.frame == frame ? t->blocks[i - 1].next_frame : t->blocks[i - 1].next_frame2;
  return i ? &t->blocks[i - 1] : NULL;
}

/* `size`: of the bytes at `from`, or 0: all of these granules. */
static unsigned kill_read_from(struct tcache *t, uint32_t frame, uint64_t granules, uint32_t from, uint32_t size,
                               uint64_t *left) {
  unsigned killed = 0;
  uint64_t stay = 0;
  for (uint32_t *p = &t->by_frame[frame]; *p;) {
    struct tc_block *b = &t->blocks[*p - 1];
    uint32_t *next = b->key.frame == frame ? &b->next_frame : &b->next_frame2;
    uint64_t g = tcache_granules(b, frame);
    if (!b->dead && (size ? read_from(b, frame, from, size) : (g & granules) != 0)) {
      kill(t, *p - 1);
      killed++;
    }
    if (b->dead) {
      *p = *next;
      continue;
    }
    stay |= g;
    p = next;
  }
  *left = stay;
  return killed;
}

unsigned tcache_kill_granules(struct tcache *t, uint32_t frame, uint64_t granules, uint64_t *left) {
  return kill_read_from(t, frame, granules, 0, 0, left);
}

/* Code that is patched is stored to between its instructions, too, again and again (GRUB's way into real mode: twelve times a
 * call, a quarter of its time): there a frame's blocks are not looked through each time. */
static bool spares(const struct spared *s, uint32_t frame, uint32_t from, uint32_t to) {
  if (s->frame != frame + 1 || from >= to) return false;
  for (unsigned g = from / 64; g * 64 < to; g++)
    if (s->bytes[g] & bytes_in(g, from, to)) return false;
  return true;
}

static void remember(struct tcache *t, struct spared *s, uint32_t frame) {
  s->frame = frame + 1;
  for (unsigned g = 0; g < 64; g++) s->bytes[g] = 0;
  for (uint32_t i = t->by_frame[frame]; i;) {
    const struct tc_block *b = &t->blocks[i - 1];
    spare_block(s, b);
    i = b->key.frame == frame ? b->next_frame : b->next_frame2;
  }
}

unsigned tcache_kill_bytes(struct tcache *t, uint32_t frame, uint32_t offset, uint32_t size, uint64_t *left) {
  struct spared *s = spared_of(t, frame);
  uint32_t end = offset + size < 4096 ? offset + size : 4096;
  if (!spares(s, frame, offset, end)) {
    unsigned killed = kill_read_from(t, frame, 0, offset, size, left);
    if (!killed) remember(t, s, frame);
    return killed;
  }
  *left = 0;
  for (unsigned g = 0; g < 64; g++) *left |= (uint64_t)(s->bytes[g] != 0) << g;
  return 0;
}

void tcache_flush(struct tcache *t, void (*frame)(void *, uint32_t), void *opaque) {
  for (uint32_t i = 0; i < t->block_count; i++) {
    struct tc_block *b = &t->blocks[i];
    if (t->died && !b->dead) t->died(t->opaque, b);
    if (t->by_frame[b->key.frame]) {
      t->by_frame[b->key.frame] = 0;
      if (frame) frame(opaque, b->key.frame);
    }
    if (b->frame2 && t->by_frame[b->frame2 - 1]) {
      t->by_frame[b->frame2 - 1] = 0;
      if (frame) frame(opaque, b->frame2 - 1);
    }
    t->by_page[linear_of(b->key) >> 12] = 0;
    *head(t, b->key) = 0;
  }
  for (unsigned i = 0; i < SPARED; i++) t->spared[i].frame = 0;
  t->block_count = t->site_count = t->callout_count = 0;
  t->used = t->stubs_end, t->cold_used = t->cold_start;
  t->generation++;
}

/* ---- host code back to the guest ------------------------------------------------------------------------------- */

struct tc_block *tcache_block_at(struct tcache *t, uint32_t offset) {
  bool cold = offset >= t->cold_start;
  uint32_t lo = 0, hi = t->block_count; /* blocks are in the order of their code, and of their cold stubs */
  while (lo < hi) {
    uint32_t mid = lo + (hi - lo) / 2;
    if ((cold ? t->blocks[mid].cold : t->blocks[mid].code) <= offset) lo = mid + 1;
    else hi = mid;
  }
  if (lo == 0) return NULL;
  struct tc_block *b = &t->blocks[lo - 1];
  return offset < (cold ? b->cold + b->cold_size : b->code + b->code_size) ? b : NULL;
}

struct tr_site *tcache_site_at(struct tcache *t, uint32_t offset) {
  struct tc_block *b = tcache_block_at(t, offset);
  if (!b) return NULL;
  for (unsigned i = 0; i < b->site_count; i++) {
    struct tr_site *s = &t->sites[b->first_site + i];
    bool faults = s->kind == TR_SITE_SAFEPOINT || s->kind == TR_SITE_FAULT || s->kind == TR_SITE_MIRROR;
    if (faults && s->host == offset) return s;
  }
  return NULL;
}
