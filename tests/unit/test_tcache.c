// link: bt_tcache
/* The trace cache with blocks made by hand: finding, chaining, dying, looking up, running out of space. A block here is the code
 * that a real one has for a direct jump: JMP rel32 to its exit, PUSH site number, JMP. Run only this: build/unit/test_tcache
 * (CMOCKA_TEST_FILTER=CASE for one case). */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>
#include "tcache/tcache.h"

enum { UNBOUND = 0x7fffffff, MODE = TR_CODE32 | TR_CS_FLAT };

struct deaths {
  unsigned count;
  uint32_t last_eip;
  bool dead_already;
};
static void died(void *opaque, const struct tc_block *b) {
  struct deaths *d = opaque;
  d->count++, d->last_eip = b->key.eip;
  d->dead_already |= b->dead;
}

static bool single; /* which kind of mapping the tests run with */

static struct tcache *make(uint64_t size, struct deaths *d) {
  const char *error;
  struct tcache *t = tcache_create(size, single, d ? died : NULL, d, &error);
  assert_non_null(t);
  return t;
}

static struct tc_key key(uint32_t frame, uint32_t eip) { return (struct tc_key){.eip = eip, .frame = frame, .mode = MODE}; }

/* `jumps` JUMP sites, each: JMP rel32 to its cold exit; guarded ones with an LEA's displacement before it. Then a SAFEPOINT site
 * at the last byte. */
struct shape {
  struct tc_key key;
  uint32_t guest_size, frame2, jumps, guarded, pad;
  bool inlines; /* a thunk of frame2, at `thunk` */
  uint32_t thunk;
};

static void put32(uint8_t *p, uint32_t v) { memcpy(p, &v, 4); }

static struct tc_block *add(struct tcache *t, const struct shape *s) {
  struct tr_request rq = {.eip = s->key.eip};
  if (!tcache_begin(t, &rq)) return NULL;
  uint32_t at = 0, n = 0, cold = 0;
  for (uint32_t i = 0; i < s->jumps; i++, n++) {
    struct tr_site *site = &rq.sites[n];
    *site = (struct tr_site){.kind = TR_SITE_JUMP, .target = s->key.eip + s->guest_size};
    if (s->guarded) put32(rq.code + at, UNBOUND), site->guard = rq.offset + at, at += 4;
    rq.code[at] = 0xe9;
    site->host = rq.offset + at + 1, at += 5;
    site->cold = rq.cold_offset + cold;
    put32(rq.code + at - 4, site->cold - rq.offset - at);
    rq.cold[cold] = 0x68, cold += TR_EXIT_SIZE;
  }
  rq.sites[n++] = (struct tr_site){.kind = TR_SITE_SAFEPOINT, .host = rq.offset + at};
  memset(rq.code + at, 0x90, 1 + s->pad), at += 1 + s->pad;
  struct tr_result r = {
    .code_size = at, .cold_size = cold, .guest_size = s->guest_size, .insns = 1, .site_count = n, .entry = rq.offset};
  if (s->inlines) r.thunk = s->thunk, r.thunk_frame = s->frame2;
  return tcache_commit(t, &rq, &r, s->key, s->frame2);
}
static struct tc_block *add_simple(struct tcache *t, uint32_t frame, uint32_t eip, uint32_t size) {
  return add(t, &(struct shape){.key = key(frame, eip), .guest_size = size, .jumps = 2});
}

/* A block that calls through a register: CMP's displacement, CALL rel32, and in the cold code JMP rel32 to the exit in front of
 * what looks other targets up. */
static struct tc_block *add_caller(struct tcache *t, uint32_t frame, uint32_t eip) {
  struct tr_request rq = {.eip = eip};
  assert_true(tcache_begin(t, &rq));
  rq.sites[0] = (struct tr_site){.kind = TR_SITE_INDIRECT,
                                 .guard = rq.offset,
                                 .host = rq.offset + 5,
                                 .target = rq.cold_offset + 1,
                                 .cold = rq.cold_offset + 5};
  put32(rq.code, UNBOUND), rq.code[4] = 0xe8, put32(rq.code + 5, rq.sites[0].cold - rq.offset - 9);
  rq.cold[0] = 0xe9, put32(rq.cold + 1, 8);
  struct tr_result r = {.code_size = 9, .cold_size = 5 + TR_EXIT_SIZE, .guest_size = 2, .insns = 1, .site_count = 1};
  r.entry = rq.offset;
  return tcache_commit(t, &rq, &r, key(frame, eip), 0);
}

/* Where a JUMP site's JMP goes now, read from the view that is executed. */
static uint32_t destination(struct tcache *t, uint32_t number) {
  const struct tr_site *s = tcache_site(t, number);
  int32_t rel;
  memcpy(&rel, tcache_address(t, s->host), 4);
  return s->host + 4 + (uint32_t)rel;
}
static uint32_t guard(struct tcache *t, uint32_t number) {
  uint32_t v;
  memcpy(&v, tcache_address(t, tcache_site(t, number)->guard), 4);
  return v;
}
static uint32_t cold(struct tcache *t, uint32_t number) { return tcache_site(t, number)->cold; }

/* ---- memory ------------------------------------------------------------------------------------------------------- */

/* I3: what /proc/self/maps says of an address. */
static void permissions(const void *at, char out[5]) {
  FILE *f = fopen("/proc/self/maps", "r");
  unsigned long lo, hi;
  char line[512];
  assert_non_null(f);
  strcpy(out, "none");
  while (fgets(line, sizeof line, f))
    if (sscanf(line, "%lx-%lx %4s", &lo, &hi, out) == 3 && (uintptr_t)at >= lo && (uintptr_t)at < hi) break;
    else strcpy(out, "none");
  fclose(f);
}
static void never_writable_and_executable(void **state) {
  struct tcache *t = make(1 << 20, NULL);
  char p[5];
  for (uint32_t at = 0; at < 1 << 20; at += 4096) {
    permissions(tcache_address(t, at), p);
    assert_string_equal(p, "r-xs");
    permissions(tcache_writable(t, at, 1), p);
    assert_string_equal(p, "rw-s");
  }
  uint32_t space = tcache_thunk_space(t);
  memcpy(tcache_writable(t, space, 6), "hello", 6);
  assert_string_equal(tcache_address(t, space), "hello");
  assert_int_equal(tcache_offset(t, (uintptr_t)tcache_address(t, space)), space);
  assert_int_equal(tcache_offset(t, (uintptr_t)tcache_address(t, 0) - 1), 0);
  assert_int_equal(tcache_offset(t, (uintptr_t)tcache_address(t, 0) + (1 << 20)), 0);
  assert_int_equal(tcache_offset(t, (uintptr_t)tcache_writable(t, space, 6)), 0);
  tcache_destroy(t);
}

/* The same with one mapping: what is written to is not executable, and nothing is writable when code is entered. */
static void one_mapping_is_writable_or_executable(void **state) {
  const char *error;
  struct tcache *t = tcache_create(1 << 20, true, NULL, NULL, &error);
  assert_non_null(t);
  char p[5];
  for (uint32_t at = 0; at + 8192 <= 1 << 20; at += 3 * 4096) { /* more runs than are remembered as open */
    uint8_t *w = tcache_writable(t, at + 4090, 12);             /* open runs that are too many become one */
    assert_ptr_equal(w, tcache_address(t, at + 4090));
    memset(w, 0x90, 12);
    for (uint32_t k = 0; k < 2; k++) {
      permissions(tcache_address(t, at + 4096 * k), p);
      assert_string_equal(p, "rw-p");
    }
  }
  tcache_close(t);
  for (uint32_t at = 0; at < 1 << 20; at += 4096) {
    permissions(tcache_address(t, at), p);
    assert_string_equal(p, "r-xp");
  }
  tcache_destroy(t);
}

static void stubs_come_first(void **state) {
  struct tcache *t = make(0, NULL);
  const struct tr_stubs *s = tcache_stubs(t);
  assert_true(s->exit == 0 && s->enter > s->exit && s->enter_jump > s->enter && s->enter_jump < s->size);
  assert_true(tcache_code_used(t) >= s->size);
  assert_null(tcache_block_at(t, s->enter));
  assert_null(tcache_site_at(t, s->enter_jump));
  struct tc_block *b = add_simple(t, 1, 0x1000, 5);
  assert_true(b->code >= s->size);
  tcache_destroy(t);
}

/* ---- finding ------------------------------------------------------------------------------------------------------ */

static void every_part_of_the_key_counts(void **state) {
  struct tcache *t = make(1 << 20, NULL);
  enum { KEYS = 8 };
  const struct tc_key keys[KEYS] = {{0x1000, 5, 0, 0xffffffff, MODE},           {0x1000, 6, 0, 0xffffffff, MODE},
                                    {0x1001, 5, 0, 0xffffffff, MODE},           {0x1000, 5, 0x10, 0xffffffff, MODE},
                                    {0x1000, 5, 0, 0xffffffff, MODE | TR_USER}, {0x1000, 5, 0, 0xffffffff, MODE | TR_PLAIN},
                                    {0x100001000, 5, 0, 0xffffffff, MODE},      {0x1000, 5, 0, 0xffff, MODE}};
  for (unsigned i = 0; i < KEYS; i++) {
    for (unsigned k = i; k < KEYS; k++) assert_null(tcache_find(t, keys[k]));
    add(t, &(struct shape){.key = keys[i], .guest_size = 3, .jumps = i});
  }
  for (unsigned i = 0; i < KEYS; i++) {
    struct tc_block *b = tcache_find(t, keys[i]);
    assert_non_null(b);
    assert_int_equal(b->site_count, i + 1);
  }
  tcache_destroy(t);
}

static void callouts_are_renumbered(void **state) {
  struct tcache *t = make(1 << 20, NULL);
  for (unsigned i = 0; i < 3; i++) {
    struct tr_request rq = {0};
    assert_true(tcache_begin(t, &rq));
    for (unsigned k = 0; k < 2; k++) {
      rq.sites[k] = (struct tr_site){.kind = TR_SITE_CALLOUT, .target = k};
      rq.callouts[k] = (struct insn){.imm = 10 * i + k};
    }
    struct tr_result r = {.code_size = 20, .guest_size = 2, .insns = 2, .site_count = 2, .callout_count = 2, .entry = rq.offset};
    tcache_commit(t, &rq, &r, key(i, 0), 0);
  }
  for (unsigned i = 0; i < 3; i++)
    for (unsigned k = 0; k < 2; k++) {
      const struct tr_site *s = tcache_site(t, tcache_find(t, key(i, 0))->first_site + k);
      assert_int_equal(tcache_callout(t, s->target)->imm, 10 * i + k);
      assert_ptr_equal(tcache_site_block(t, s), tcache_find(t, key(i, 0)));
    }
  tcache_destroy(t);
}

/* ---- dying -------------------------------------------------------------------------------------------------------- */

static void granules_of_ranges(void **state) {
  for (uint32_t offset = 0; offset < 4096; offset += 7)
    for (uint32_t size = 1; offset + size <= 4096; size += 1 + size / 3) {
      uint64_t expected = 0;
      for (uint32_t i = offset; i < offset + size; i++) expected |= 1ull << i / 64;
      assert_true(tc_granules(offset, size) == expected);
    }
}

static void granules_kill_only_what_they_touch(void **state) {
  struct deaths d = {0};
  struct tcache *t = make(1 << 20, &d);
  uint64_t left;
  add_simple(t, 5, 0x5000, 64);  /* granule 0 */
  add_simple(t, 5, 0x503f, 2);   /* 0 and 1 */
  add_simple(t, 5, 0x5080, 10);  /* 2 */
  add_simple(t, 5, 0x5fff, 1);   /* 63 */
  add_simple(t, 6, 0x6000, 200); /* another frame */
  assert_int_equal(tcache_kill_granules(t, 5, 1ull << 3, &left), 0);
  assert_true(left == (7ull | 1ull << 63));
  assert_int_equal(tcache_kill_granules(t, 5, 2, &left), 1);
  assert_null(tcache_find(t, key(5, 0x503f)));
  assert_non_null(tcache_find(t, key(5, 0x5000)));
  assert_true(left == (5ull | 1ull << 63));
  assert_int_equal(tcache_kill_granules(t, 5, 1ull << 63, &left), 1);
  assert_int_equal(d.last_eip, 0x5fff);
  assert_int_equal(tcache_kill_granules(t, 5, ~0ull, &left), 2);
  assert_true(left == 0);
  assert_int_equal(tcache_kill_granules(t, 5, ~0ull, &left), 0);
  assert_non_null(tcache_find(t, key(6, 0x6000)));
  assert_int_equal(tcache_kill_granules(t, 6, 8, &left), 1);
  assert_int_equal(tcache_kill_granules(t, 0xfffff, ~0ull, &left), 0);
  assert_int_equal(d.count, 5);
  assert_false(d.dead_already);
  add_simple(t, 5, 0x5000, 64); /* and it can be made again */
  assert_non_null(tcache_find(t, key(5, 0x5000)));
  tcache_destroy(t);
}

/* A straddling block dies by either frame, and once. Head at fff8h, 12 bytes: 8 in frame 5, 4 in frame 9. */
static void straddling_blocks_are_in_both_frames(void **state) {
  uint64_t left;
  for (unsigned how = 0; how < 4; how++) {
    struct deaths d = {0};
    struct tcache *t = make(1 << 20, &d);
    struct shape s = {.key = key(5, 0x5ff8), .guest_size = 12, .frame2 = 9 + 1, .jumps = 1};
    add_simple(t, 9, 0x9000, 2), add_simple(t, 5, 0x5f00, 2);
    add(t, &s);
    add_simple(t, 9, 0x9040, 2), add_simple(t, 5, 0x5f40, 2);
    assert_int_equal(tcache_kill_granules(t, 5, 1, &left), 0); /* its tail is not in frame 5's first granule */
    assert_int_equal(tcache_kill_granules(t, 9, 1ull << 63, &left), 0);
    assert_true(left == 3);
    if (how == 0) assert_int_equal(tcache_kill_granules(t, 5, 1ull << 63, &left), 1);
    if (how == 1) assert_int_equal(tcache_kill_granules(t, 9, 1, &left), 2); /* with its neighbour at 9000h */
    if (how == 2) assert_int_equal(tcache_kill_granules(t, 9, ~0ull, &left), 3);
    if (how == 3) assert_int_equal(tcache_kill_granules(t, 5, ~0ull, &left), 3);
    assert_null(tcache_find(t, s.key));
    unsigned before = d.count;
    tcache_kill_granules(t, 5, ~0ull, &left), tcache_kill_granules(t, 9, ~0ull, &left);
    assert_int_equal(d.count, 5);
    assert_true(before >= 1 && left == 0);
    tcache_destroy(t);
  }
}

/* Both halves in one frame: two linear pages show the same one. */
static void straddling_onto_its_own_frame(void **state) {
  uint64_t left;
  for (unsigned how = 0; how < 2; how++) {
    struct deaths d = {0};
    struct tcache *t = make(1 << 20, &d);
    add_simple(t, 5, 0x5100, 2);
    add(t, &(struct shape){.key = key(5, 0x5ffc), .guest_size = 8, .frame2 = 5 + 1, .jumps = 1});
    add_simple(t, 5, 0x5200, 2);
    assert_int_equal(tcache_kill_granules(t, 5, how ? 1 : 1ull << 63, &left), 1);
    assert_true(left == (1ull << 4 | 1ull << 8));
    assert_int_equal(tcache_kill_granules(t, 5, ~0ull, &left), 2);
    assert_int_equal(d.count, 3);
    tcache_destroy(t);
  }
}

/* a call: two of them in one expression have an order */
static uint32_t random_next(uint32_t *x) { return (*x = *x * 1664525 + 1013904223) >> 8; }
#define RANDOM(n) (random_next(&x) % (n))
/* Stores of a few bytes, between blocks and into them, against a list: random, in frames that share what is remembered of them,
 * and blocks that straddle into the same or the next, or have a thunk inlined that is there. What stays behind a store that kills
 * may be told too large, never too small. */
enum { LISTED = 64, LISTED_FRAMES = 10 };
static bool listed_has(const struct shape *s, uint32_t frame, uint32_t from, uint32_t to) {
  uint32_t offset = (uint32_t)s->key.eip & 4095;
  for (uint32_t i = 0; i < s->guest_size; i++) {
    uint32_t at = (offset + i) & 4095, in = offset + i < 4096 ? s->key.frame : s->frame2 - 1;
    if (in == frame && at >= from && at < to) return true;
  }
  uint32_t thunk = s->thunk & 4095;
  return s->inlines && s->frame2 == frame + 1 && thunk < to && from < thunk + TR_PC_THUNK_SIZE;
}
static void stores_kill_what_was_read_from_them(void **state) {
  struct tcache *t = make(4 << 20, NULL);
  struct shape list[LISTED] = {0};
  uint32_t x = 20261129, spared = 0, killed_some = 0;
  for (unsigned round = 0; round < 20000; round++) {
    struct shape *s = &list[RANDOM(LISTED)];
    if (!s->guest_size && RANDOM(4) == 0) {
      uint32_t offset = RANDOM(4096), size = 1 + RANDOM(60), frame = RANDOM(LISTED_FRAMES);
      if (RANDOM(4) == 0) offset = 4096 - 1 - RANDOM(59);
      uint32_t second = offset + size > 4096 ? 1 + RANDOM(LISTED_FRAMES) : 0;
      *s = (struct shape){.key = key(frame, (uint32_t)(s - list + 1) << 12 | offset), .guest_size = size, .frame2 = second};
      if (!second && RANDOM(2)) s->inlines = true, s->thunk = RANDOM(4093), s->frame2 = 1 + RANDOM(LISTED_FRAMES);
      if (!add(t, s)) {
        tcache_flush(t, NULL, NULL);
        memset(list, 0, sizeof list);
      }
      continue;
    }
    uint32_t frame = RANDOM(LISTED_FRAMES), size = 1 + RANDOM(8), from = RANDOM(4097 - size);
    uint64_t left, stays = 0;
    unsigned expected = 0;
    if (s->inlines && s->guest_size && RANDOM(8) == 0) frame = s->frame2 - 1, from = s->thunk + RANDOM(4), size = 1;
    else if (s->guest_size && RANDOM(8) == 0) frame = s->key.frame, from = (uint32_t)s->key.eip & 4095, size = 1;
    for (unsigned i = 0; i < LISTED; i++) {
      if (!list[i].guest_size) continue;
      bool hit = listed_has(&list[i], frame, from, from + size);
      expected += hit;
      if (hit) list[i].guest_size = 0;
      for (unsigned g = 0; list[i].guest_size && g < 64; g++)
        stays |= (uint64_t)listed_has(&list[i], frame, 64 * g, 64 * g + 64) << g;
    }
    assert_int_equal(tcache_kill_bytes(t, frame, from, size, &left), expected);
    assert_true((left & stays) == stays);
    spared += !expected, killed_some += expected != 0;
  }
  assert_true(spared > 1000 && killed_some > 200);
  tcache_destroy(t);
}

/* ---- chaining ----------------------------------------------------------------------------------------------------- */

static void chains_lead_to_the_entry(void **state) {
  struct tcache *t = make(1 << 20, NULL);
  struct tc_block *a = add_simple(t, 1, 0x1000, 5),
                  *b = add(t, &(struct shape){.key = key(2, 0x2000), .guest_size = 5, .jumps = 2, .guarded = 1});
  uint32_t s = a->first_site, g = b->first_site;
  assert_int_equal(guard(t, g), UNBOUND);
  tcache_chain(t, s, b), tcache_chain(t, s + 1, a), tcache_chain(t, g, a);
  assert_int_equal(destination(t, s), b->entry);
  assert_int_equal(destination(t, s + 1), a->entry);
  assert_int_equal(destination(t, g), a->entry);
  assert_int_equal(guard(t, g), (uint32_t) - (1 + 1)); /* LEA ECX, [frame entry + this] is zero */
  tcache_unchain_all(t);
  for (uint32_t i = 0; i < 2; i++) {
    assert_int_equal(guard(t, g), UNBOUND);
    assert_int_equal(destination(t, g), cold(t, g));
    assert_int_equal(destination(t, s + i), cold(t, s + i));
  }
  tcache_destroy(t);
}

/* A site that is chained a second time leaves the first target's list, wherever it stands in it. */
static void chained_again_to_another(void **state) {
  for (unsigned moved = 0; moved < 3; moved++) {
    struct deaths d = {0};
    struct tcache *t = make(1 << 20, &d);
    struct tc_block *from[3], *x, *y;
    uint64_t left;
    for (unsigned i = 0; i < 3; i++) from[i] = add_simple(t, 1, 0x1000 + 64 * i, 5);
    x = add_simple(t, 2, 0x2000, 5), y = add_simple(t, 3, 0x3000, 5);
    for (unsigned i = 0; i < 3; i++) tcache_chain(t, from[i]->first_site, x);
    tcache_chain(t, from[moved]->first_site, y);
    tcache_chain(t, from[moved]->first_site, y); /* and once more to where it goes already */
    tcache_kill_granules(t, 2, ~0ull, &left);
    for (unsigned i = 0; i < 3; i++)
      assert_int_equal(destination(t, from[i]->first_site), i == moved ? y->entry : cold(t, from[i]->first_site));
    tcache_kill_granules(t, 3, ~0ull, &left);
    assert_int_equal(destination(t, from[moved]->first_site), cold(t, from[moved]->first_site));
    tcache_destroy(t);
  }
}

static void the_only_chain_moves(void **state) {
  struct tcache *t = make(1 << 20, NULL);
  struct tc_block *a = add_simple(t, 1, 0x1000, 5), *x = add_simple(t, 2, 0x2000, 5), *y = add_simple(t, 3, 0x3000, 5);
  tcache_chain(t, a->first_site, x), tcache_chain(t, a->first_site, y);
  assert_int_equal(x->incoming, 0);
  tcache_unchain_page(t, 2);
  assert_int_equal(destination(t, a->first_site), y->entry);
  tcache_unchain_page(t, 3);
  assert_int_equal(destination(t, a->first_site), cold(t, a->first_site));
  tcache_destroy(t);
}

static void unchaining_a_page_leaves_the_others(void **state) {
  struct tcache *t = make(1 << 20, NULL);
  struct tc_block *a = add_simple(t, 1, 0x1000, 5), *b = add_simple(t, 2, 0xc0002010, 5), *c = add_simple(t, 2, 0xc0003000, 5),
                  *d = add_simple(t, 7, 0xc0002ff0, 5);
  const uint32_t s[] = {a->first_site, a->first_site + 1, b->first_site, c->first_site};
  tcache_chain(t, s[0], b), tcache_chain(t, s[1], c), tcache_chain(t, s[2], d), tcache_chain(t, s[3], d);
  tcache_unchain_page(t, 0xc0002);
  assert_int_equal(destination(t, s[0]), cold(t, s[0]));
  assert_int_equal(destination(t, s[1]), c->entry);
  assert_int_equal(destination(t, s[2]), cold(t, s[2]));
  assert_int_equal(destination(t, s[3]), cold(t, s[3]));
  assert_ptr_equal(tcache_find(t, b->key), b); /* it lives on */
  tcache_chain(t, s[0], b);
  assert_int_equal(destination(t, s[0]), b->entry);
  tcache_destroy(t);
}

/* EIP + CS.base is the page, not EIP; and it wraps. */
static void the_page_is_linear(void **state) {
  struct tcache *t = make(1 << 20, NULL);
  struct tc_block *a = add_simple(t, 1, 0x1000, 5),
                  *b = add(t, &(struct shape){.key = {.eip = 0xfff0, .frame = 4, .cs_base = 0xffff8000u, .mode = MODE},
                                              .guest_size = 3,
                                              .jumps = 1});
  tcache_chain(t, a->first_site, b);
  tcache_unchain_page(t, 0xf), tcache_unchain_page(t, 0xfffff);
  assert_int_equal(destination(t, a->first_site), b->entry);
  tcache_unchain_page(t, (0xfff0u + 0xffff8000u) >> 12);
  assert_int_equal(destination(t, a->first_site), cold(t, a->first_site));
  tcache_destroy(t);
}

/* A dead block's own jumps may still be chained: their target's death must turn them, and nothing must follow the dead. */
static void death_turns_jumps_to_their_exits(void **state) {
  struct tcache *t = make(1 << 20, NULL);
  struct tc_block *a = add(t, &(struct shape){.key = key(1, 0x1000), .guest_size = 5, .jumps = 2, .guarded = 1}),
                  *b = add_simple(t, 2, 0x2000, 5);
  uint64_t left;
  tcache_chain(t, a->first_site, b), tcache_chain(t, a->first_site + 1, a), tcache_chain(t, b->first_site, b);
  tcache_kill_granules(t, 1, ~0ull, &left);
  assert_true(a->dead && !b->dead);
  assert_int_equal(destination(t, a->first_site), b->entry); /* who runs there leaves by it, which is as good as the dispatcher */
  assert_int_equal(destination(t, a->first_site + 1), cold(t, a->first_site + 1));
  tcache_kill_granules(t, 2, ~0ull, &left);
  assert_int_equal(destination(t, a->first_site), cold(t, a->first_site));
  assert_int_equal(guard(t, a->first_site), UNBOUND);
  assert_int_equal(destination(t, b->first_site), cold(t, b->first_site));
  tcache_destroy(t);
}

/* Chains, kills and unchains at random against a model that only knows which site should lead where. */
enum { MODEL_BLOCKS = 200, MODEL_FRAMES = 8 };
/* The first target that can be chained to stays the one that is compared with, also when its code is made anew. */
static void a_call_expects_its_first_target(void **state) {
  struct tcache *t = make(1 << 20, NULL);
  struct tc_block *caller = add_caller(t, 5, 0x5100), *other_caller = add_caller(t, 5, 0x5180);
  struct tc_block *first = add_simple(t, 5, 0x5000, 10), *second = add_simple(t, 5, 0x5040, 10);
  uint32_t n = caller->first_site, left, looked_up;
  uint64_t granules;
  tcache_expect(t, n, first);
  assert_int_equal(destination(t, n), first->entry);
  assert_int_equal(guard(t, n), (uint32_t)-0x5000);
  memcpy(&looked_up, tcache_address(t, tcache_site(t, n)->target), 4);
  assert_int_equal(looked_up, 0);
  tcache_expect(t, n, second);
  assert_int_equal(destination(t, n), first->entry);
  left = tcache_kill_granules(t, 5, tc_granules(0, 1), &granules);
  assert_int_equal(left, 1);
  assert_int_equal(destination(t, n), cold(t, n));
  assert_int_equal(guard(t, n), (uint32_t)-0x5000);
  first = add_simple(t, 5, 0x5000, 10);
  tcache_expect(t, n, first);
  assert_int_equal(destination(t, n), first->entry);
  /* one that cannot be chained to is looked up, and no other is expected meanwhile */
  n = other_caller->first_site;
  tcache_expect(t, n, NULL);
  assert_int_equal(destination(t, n), cold(t, n));
  memcpy(&looked_up, tcache_address(t, tcache_site(t, n)->target), 4);
  assert_int_equal(looked_up, 0);
  tcache_destroy(t);
}

static void chaining_at_random(void **state) {
  uint32_t x = 12345;
  for (unsigned round = 0; round < 20; round++) {
    struct tcache *t = make(4 << 20, NULL);
    struct tc_block *b[MODEL_BLOCKS];
    int leads[MODEL_BLOCKS][2];
    for (unsigned i = 0; i < MODEL_BLOCKS; i++) {
      b[i] =
        add(t, &(struct shape){
                 .key = key(RANDOM(MODEL_FRAMES), i * 0x100), .guest_size = 64, .jumps = 2, .guarded = i & 1, .pad = RANDOM(40)});
      leads[i][0] = leads[i][1] = -1;
    }
    for (unsigned step = 0; step < 2000; step++) {
      unsigned i = RANDOM(MODEL_BLOCKS), k = RANDOM(MODEL_BLOCKS), s = RANDOM(2), what = RANDOM(100);
      uint64_t left;
      if (what < 90 && !b[k]->dead) tcache_chain(t, b[i]->first_site + s, b[k]), leads[i][s] = (int)k;
      else if (what < 95) {
        tcache_unchain_page(t, k * 0x100 >> 12);
        for (unsigned n = 0; n < 2 * MODEL_BLOCKS; n++)
          if (leads[n / 2][n & 1] >= 0 && leads[n / 2][n & 1] >> 4 == (int)k >> 4) leads[n / 2][n & 1] = -1;
      } else if (what == 99) {
        uint64_t granules = 1ull << RANDOM(64);
        uint32_t frame = RANDOM(MODEL_FRAMES);
        tcache_kill_granules(t, frame, granules, &left);
        for (unsigned n = 0; n < MODEL_BLOCKS; n++)
          assert_int_equal(b[n]->dead,
                           b[n]->dead || (b[n]->key.frame == frame && (tc_granules(n * 0x100 & 4095, 64) & granules)));
        for (unsigned n = 0; n < 2 * MODEL_BLOCKS; n++)
          if (leads[n / 2][n & 1] >= 0 && b[leads[n / 2][n & 1]]->dead) leads[n / 2][n & 1] = -1;
      }
    }
    for (unsigned n = 0; n < 2 * MODEL_BLOCKS; n++) {
      uint32_t site = b[n / 2]->first_site + (n & 1);
      int to = leads[n / 2][n & 1];
      assert_int_equal(destination(t, site), to < 0 ? cold(t, site) : b[to]->entry);
      if (tcache_site(t, site)->guard)
        assert_int_equal(guard(t, site), to < 0 ? (uint32_t)UNBOUND : (uint32_t) - (b[to]->key.frame + 1));
    }
    tcache_destroy(t);
  }
}

/* ---- from host code back ------------------------------------------------------------------------------------------ */

static void every_offset_finds_its_block(void **state) {
  struct tcache *t = make(1 << 20, NULL);
  uint32_t x = 7, first = (uint32_t)tcache_code_used(t), thunks = 0;
  for (unsigned i = 0; i < 300; i++) {
    assert_non_null(add(t, &(struct shape){.key = key(i & 15, i * 8), .guest_size = 4, .jumps = RANDOM(4), .pad = RANDOM(50)}));
    if (i % 10 == 3) thunks += tcache_thunk_space(t) != 0;
  }
  assert_int_equal(thunks, 30);
  for (uint32_t at = 0, next = 0; at < tcache_block(t, 0)->cold; at++) {
    struct tc_block *expected = NULL;
    while (next < tcache_block_count(t) && tcache_block(t, next)->code + tcache_block(t, next)->code_size <= at) next++;
    if (at >= first && next < tcache_block_count(t) && tcache_block(t, next)->code <= at) expected = tcache_block(t, next);
    assert_ptr_equal(tcache_block_at(t, at), expected);
    struct tr_site *site = tcache_site_at(t, at),
                   *last = expected ? tcache_site(t, expected->first_site + expected->site_count - 1) : NULL;
    assert_ptr_equal(site, last && last->host == at ? last : NULL); /* the SAFEPOINT, and no JUMP */
  }
  uint32_t end = 0;
  for (uint32_t i = 0; i < tcache_block_count(t); i++) {
    struct tc_block *b = tcache_block(t, i);
    for (uint32_t at = 0; at < b->cold_size; at++) {
      assert_ptr_equal(tcache_block_at(t, b->cold + at), b);
      assert_null(tcache_site_at(t, b->cold + at));
    }
    end = b->cold + b->cold_size;
  }
  for (uint32_t at = end; at < 1 << 20; at++) assert_null(tcache_block_at(t, at));
  tcache_destroy(t);
}

/* ---- flushing ----------------------------------------------------------------------------------------------------- */

struct told {
  uint8_t times[64];
};
static void tell(void *opaque, uint32_t frame) { ((struct told *)opaque)->times[frame]++; }

static void a_flush_tells_each_frame_once(void **state) {
  struct deaths d = {0};
  struct tcache *t = make(1 << 20, &d);
  uint64_t left, used = tcache_code_used(t);
  for (unsigned round = 0; round < 3; round++) {
    struct told told = {0};
    d.count = 0;
    add_simple(t, 3, 0x3000, 5), add_simple(t, 3, 0x3100, 5), add_simple(t, 4, 0x4000, 5);
    add(t, &(struct shape){.key = key(5, 0x5ffe), .guest_size = 4, .frame2 = 6 + 1, .jumps = 1});
    add(t, &(struct shape){.key = key(3, 0x3ffe), .guest_size = 4, .frame2 = 3 + 1, .jumps = 1});
    add_simple(t, 7, 0x7000, 5);
    tcache_kill_granules(t, 7, ~0ull, &left);
    tcache_chain(t, tcache_find(t, key(3, 0x3000))->first_site, tcache_find(t, key(4, 0x4000)));
    tcache_flush(t, tell, &told);
    for (unsigned f = 0; f < 64; f++) assert_int_equal(told.times[f], f >= 3 && f <= 6);
    assert_int_equal(d.count, 6);
    assert_int_equal(tcache_generation(t), round + 1);
    assert_int_equal(tcache_block_count(t), 0);
    assert_true(tcache_code_used(t) == used);
    assert_null(tcache_find(t, key(3, 0x3000)));
    assert_null(tcache_block_at(t, (uint32_t)used));
    assert_int_equal(tcache_kill_granules(t, 3, ~0ull, &left), 0);
  }
  tcache_flush(t, NULL, NULL);
  tcache_destroy(t);
}

/* Blocks of the largest kind until nothing fits: always a refusal, never an overrun; then a flush, and again. */
static void a_full_cache_refuses(void **state) {
  static const uint64_t sizes[] = {0, 64 << 10, 100000, 1 << 20};
  for (unsigned s = 0; s < sizeof sizes / sizeof *sizes; s++)
    for (unsigned kind = 0; kind < 2; kind++) {
      struct tcache *t = make(sizes[s], NULL);
      uint32_t size = (uint32_t)((sizes[s] < 64 << 10 ? 64 << 10 : sizes[s] + 4095) & ~4095ull);
      unsigned made[3] = {0};
      for (unsigned round = 0; round < 3; round++) {
        while (
          add(t, &(struct shape){
                   .key = key(1, made[round]), .guest_size = 1, .jumps = kind ? 300 : 1, .pad = kind ? 0 : TR_MAX_CODE - 100})) {
          made[round]++;
          assert_true(tcache_code_used(t) <= size);
        }
        assert_true(made[round] > 0 && made[round] == made[0]);
        while (tcache_thunk_space(t)) assert_true(tcache_code_used(t) <= size);
        assert_null(add_simple(t, 1, 0, 1));
        tcache_flush(t, NULL, NULL);
      }
      tcache_destroy(t);
    }
}

/* Of the smallest blocks the table of blocks is full before the code is. */
static void small_blocks_fill_a_table(void **state) {
  struct tcache *t = make(1 << 20, NULL);
  unsigned n = 0;
  while (add(t, &(struct shape){.key = key(n & 0xff, n), .guest_size = 1, .jumps = 1})) n++;
  assert_true(tcache_code_used(t) + TR_MAX_CODE < 1 << 20 && n == tcache_block_count(t) && n >= (1 << 20) / 64);
  for (unsigned i = 0; i < n; i += 97) assert_non_null(tcache_find(t, key(i & 0xff, i)));
  tcache_destroy(t);
}

/* KiB of this process's mappings of a memfd that are in huge pages. */
static unsigned huge_kib(const char *name) {
  char line[256];
  unsigned kib = 0, n;
  bool inside = false;
  FILE *f = fopen("/proc/self/smaps", "r");
  assert_non_null(f);
  while (fgets(line, sizeof line, f)) {
    if (strchr(line, '-') && strchr(line, '-') < strchr(line, ' ')) inside = strstr(line, name) != NULL;
    if (inside && sscanf(line, "ShmemPmdMapped: %u", &n) == 1) kib += n;
  }
  fclose(f);
  return kib;
}

/* Does the host collect a memfd's pages on request (Linux 6.1), and have one? */
static bool host_collects(void) {
  enum { HUGE = 2 << 20, COLLAPSE = 25 };
  int fd = memfd_create("probe", 0);
  uint8_t *p = mmap(NULL, 2 * HUGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  bool can = fd >= 0 && ftruncate(fd, 2 * HUGE) == 0 && p != MAP_FAILED;
  if (can) {
    uint8_t *at = (uint8_t *)(((uintptr_t)p + HUGE - 1) & ~(uintptr_t)(HUGE - 1));
    can = !((uintptr_t)p % HUGE);
    if (!can) munmap(p, 2 * HUGE), p = mmap(at, HUGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
    can = p != MAP_FAILED && (p[0] = 1) && madvise(p, HUGE, COLLAPSE) == 0;
  }
  if (p != MAP_FAILED) munmap(p, HUGE);
  close(fd);
  return can;
}

static void code_in_use_is_in_huge_pages(void **state) {
  unsigned least = single ? 0 : 2 * 2048; /* hot and cold code */
  if (!single && !host_collects()) skip();
  struct tcache *t = make(32 << 20, NULL);
  assert_int_equal(huge_kib("bt-code"), 0);
  add(t, &(struct shape){.key = key(1, 0x1000), .guest_size = 16, .jumps = 1});
  assert_true(huge_kib("bt-code") >= least);
  tcache_destroy(t);
  assert_int_equal(huge_kib("bt-code"), 0);
  t = make(64 << 10, NULL); /* smaller than one */
  add(t, &(struct shape){.key = key(1, 0x1000), .guest_size = 16, .jumps = 1});
  assert_int_equal(huge_kib("bt-code"), 0);
  tcache_destroy(t);
}

int main(void) {
  const char *filter = getenv("CMOCKA_TEST_FILTER");
  if (filter) cmocka_set_test_filter(filter);
  const struct CMUnitTest mappings[] = {
    cmocka_unit_test(never_writable_and_executable),
    cmocka_unit_test(one_mapping_is_writable_or_executable),
  };
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(stubs_come_first),
    cmocka_unit_test(every_part_of_the_key_counts),
    cmocka_unit_test(callouts_are_renumbered),
    cmocka_unit_test(granules_of_ranges),
    cmocka_unit_test(stores_kill_what_was_read_from_them),
    cmocka_unit_test(granules_kill_only_what_they_touch),
    cmocka_unit_test(straddling_blocks_are_in_both_frames),
    cmocka_unit_test(straddling_onto_its_own_frame),
    cmocka_unit_test(chains_lead_to_the_entry),
    cmocka_unit_test(chained_again_to_another),
    cmocka_unit_test(the_only_chain_moves),
    cmocka_unit_test(unchaining_a_page_leaves_the_others),
    cmocka_unit_test(the_page_is_linear),
    cmocka_unit_test(death_turns_jumps_to_their_exits),
    cmocka_unit_test(a_call_expects_its_first_target),
    cmocka_unit_test(chaining_at_random),
    cmocka_unit_test(every_offset_finds_its_block),
    cmocka_unit_test(a_flush_tells_each_frame_once),
    cmocka_unit_test(code_in_use_is_in_huge_pages),
    cmocka_unit_test(a_full_cache_refuses),
    cmocka_unit_test(small_blocks_fill_a_table),
  };
  int failed = cmocka_run_group_tests(mappings, NULL, NULL) + cmocka_run_group_tests_name("two mappings", tests, NULL, NULL);
  single = true;
  return failed + cmocka_run_group_tests_name("one mapping", tests, NULL, NULL);
}
