// link: bt_mmu
/* Random page-table edits, accesses, mode changes, traces and changes of the physical map over a few roots, with mmu_check() and
 * a slow walker after every step. Run one seed: test_mmu_fuzz SEED [STEPS]; the seed is printed with each failure. */
#include <stdio.h>
#include "test_mmu.h"

/* The frames that play a part. Tables are 0x100..0x10b, of which any may be a directory, a page table or data at any time. */
enum { RAM_MIB = 4, TABLE0 = 0x100, TABLES = 12, DATA0 = 0x200, DATAS = 6, PDPT0 = 0x300, ROOTS = 6, LINEARS = 40 };

/* An area as this test sees it. */
struct model {
  struct mmu_area *area;
  uint64_t base, pages, order;
  unsigned level;
  enum mmu_stores stores;
  bool shown;
  uint8_t *host; /* NULL: a device */
};
enum { MODELS = 6 };

/* Somebody who watches pages: what was in them when they were collected last. */
struct watch {
  struct mmu_dirty *dirty;
  const uint8_t *pages;
  unsigned count;
  uint8_t copy[TABLES + 4][4096];
};
enum { WATCHES = 3 };

struct fuzz {
  struct guest g;
  uint64_t random;
  uint64_t pdpte[4];
  uint32_t linear[LINEARS];
  uint64_t before[LINEARS][2][3];
  struct model models[MODELS];
  struct watch watches[WATCHES];
  unsigned collected;
  uint64_t vram; /* address of a page that is mostly there, outside of RAM */
  unsigned faults, fills, hits;
  unsigned seen[LINEARS]; /* fetch drops told of, by linear page */
};

static uint32_t rnd(struct fuzz *f, uint32_t n) {
  f->random ^= f->random << 13;
  f->random ^= f->random >> 7;
  f->random ^= f->random << 17;
  return (uint32_t)((f->random >> 11) % n);
}

static void fuzz_fetch_dropped(void *opaque, uint32_t space, uint32_t page) {
  struct fuzz *f = opaque;
  if (space != MMU_SPACE_SHARED && space != mmu_space(f->g.cpu)) return; /* as the vCPU: it is not in that one */
  for (unsigned i = 0; i < LINEARS; i++)
    if (f->linear[i] >> 12 == page) f->seen[i]++;
}
static void fuzz_code_written(void *opaque, uint32_t frame, uint64_t granules) { guest_code_written(opaque, frame, granules); }
static void fuzz_data_dropped(void *opaque, uint32_t space, uint32_t page) { guest_data_dropped(opaque, space, page); }

/* ---- the physical map, once more ---- */

static const struct model *model_below(struct fuzz *f, uint64_t addr, const struct model *limit) {
  const struct model *top = NULL;
  for (unsigned i = 0; i < MODELS; i++) {
    const struct model *a = &f->models[i];
    if (!a->shown || addr < a->base || addr >= a->base + a->pages * 4096) continue;
    if (limit && (a->level > limit->level || (a->level == limit->level && a->order >= limit->order))) continue;
    if (!top || a->level > top->level || (a->level == top->level && a->order > top->order)) top = a;
  }
  return top;
}

static uint8_t *fuzz_where(struct guest *g, uint64_t addr, bool *stores) {
  struct fuzz *f = (struct fuzz *)(void *)g;
  const struct model *a = model_below(f, addr, NULL);
  *stores = !a || a->stores == MMU_STORES_KEPT;
  return !a ? mmu_ram_pointer(g->m, to_gpa(addr), 1) : a->host ? a->host + (addr - a->base) : NULL;
}

static uint64_t random_entry(struct fuzz *f) {
  static const uint16_t tables[] = {P | W | U | A, P | W | U | A | D, P | W | A | D, P | W | U, P | U | A};
  if (!rnd(f, 4)) return 0;
  uint32_t frame = rnd(f, 3) ? TABLE0 + rnd(f, TABLES) : DATA0 + rnd(f, DATAS);
  uint64_t flags = rnd(f, 5) ? tables[rnd(f, 5)] : rnd(f, 0x1000);
  if (f->g.mode.pae && !rnd(f, 8)) flags |= NX;
  if (!rnd(f, 60)) flags |= 1ull << (32 + rnd(f, 30));
  if (!rnd(f, 60)) frame = rnd(f, 2) ? 0xa0 : 0xfffff;
  if (!rnd(f, 12)) frame = (uint32_t)(f->vram >> 12) + rnd(f, 4);
  if (!rnd(f, 10)) { /* a large page: reserved bits clear mostly */
    frame &= ~(rnd(f, 8) ? 0x3ffu : 0x1ffu);
    flags |= PS;
  }
  return (uint64_t)frame << 12 | flags;
}

static uint32_t random_table_entry(struct fuzz *f) {
  static const uint16_t indices[] = {0, 1, 2, 3, 256, 511, 768, 769, 1023};
  uint32_t frame = TABLE0 + rnd(f, TABLES);
  unsigned width = f->g.mode.pae ? 8 : 4, index = indices[rnd(f, 9)];
  return frame << 12 | (index * width & 0xfff);
}

static void store_random(struct fuzz *f) {
  uint8_t bytes[256];
  uint32_t at = random_table_entry(f);
  uint64_t value = random_entry(f);
  unsigned size = rnd(f, 6) ? (f->g.mode.pae && rnd(f, 3) ? 8 : 4) : 1u << rnd(f, 4);
  if ((at & 0xfff) + size > 4096) /* nobody hands over a store that crosses a page */
    size = 4;
  switch (rnd(f, 8)) {
  case 0: { /* LOCK something, in place */
    bool stores;
    uint8_t *host = fuzz_where(&f->g, at, &stores);
    mmu_traced_store_begin(f->g.cpu, to_gpa(at), size);
    if (host && stores) memcpy(host, &value, size);
    mmu_traced_store_end(f->g.cpu, to_gpa(at), size);
    break;
  }
  case 1:
    if (!rnd(f, 4)) {
      for (unsigned i = 0; i < sizeof bytes; i++) bytes[i] = rnd(f, 3) ? 0 : (uint8_t)rnd(f, 256);
      mmu_dma_write(f->g.m, to_gpa(at & ~0x7fu), bytes, 1 + rnd(f, sizeof bytes));
      break;
    } /* fall through */
  default: mmu_phys_write(f->g.m, to_gpa(at), &value, size);
  }
}

/* As a kernel edits: one bit of an entry. */
static void change_bit(struct fuzz *f) {
  static const uint64_t bits[] = {P, W, U, A, D, PS, 0x200, NX, 0x1000};
  uint32_t at = random_table_entry(f);
  uint64_t value = slow_entry(&f->g, at, f->g.mode.pae ? 8 : 4) ^ bits[rnd(f, 9)];
  mmu_phys_write(f->g.m, to_gpa(at), &value, f->g.mode.pae ? 8 : 4);
}

/* As a kernel makes a new directory: entries of another, here with A clear at times. */
static void copy_entries(struct fuzz *f) {
  uint32_t from = (TABLE0 + rnd(f, TABLES)) << 12, to = (TABLE0 + rnd(f, TABLES)) << 12;
  unsigned width = f->g.mode.pae ? 8 : 4, first = rnd(f, 2) ? 768 : 0;
  for (unsigned i = first; i < first + 4; i++) {
    uint64_t value = slow_entry(&f->g, from + (i * width & 0xfff), width);
    if (!rnd(f, 8)) value &= ~(uint64_t)(rnd(f, 2) ? A : D);
    mmu_phys_write(f->g.m, to_gpa(to + (i * width & 0xfff)), &value, width);
  }
}

/* A table that is written often and not walked loses its trace, and a directory its root. */
static void hammer(struct fuzz *f) {
  uint32_t at = random_table_entry(f);
  for (unsigned i = 0; i < 80; i++)
    mmu_phys_write(f->g.m, to_gpa((at & ~0xfffu) | i * 8), &(uint64_t){random_entry(f)}, f->g.mode.pae ? 8 : 4);
}

static void switch_root(struct fuzz *f) {
  struct mmu_mode mode = f->g.mode;
  if (!rnd(f, 12)) mode.wp = rnd(f, 3) != 0;
  if (!rnd(f, 60)) mode.paging = rnd(f, 4) != 0;
  if (!rnd(f, 60)) mode.a20 = rnd(f, 4) != 0;
  if (!rnd(f, 60)) mode.pse = rnd(f, 4) != 0;
  if (!rnd(f, 60)) mode.nx = rnd(f, 2) != 0;
  mode.cr3 = (mode.pae ? PDPT0 : TABLE0) << 12;
  mode.cr3 += rnd(f, ROOTS) * (mode.pae ? 32 : 4096);
  bool load = rnd(f, 4) != 0, bad = false;
  uint64_t pdpte[4];
  for (unsigned i = 0; i < 4; i++) {
    pdpte[i] = slow_entry(&f->g, (mode.cr3 & ~0x1fu & (mode.a20 ? ~0u : ~(1u << 20))) + i * 8, 8);
    bad |= (pdpte[i] & P) && (pdpte[i] & 0xfffffff0000001e6ull);
  }
  bool loads = mode.paging && mode.pae && load;
  assert_int_equal(mmu_set_mode(f->g.cpu, &mode, load), !(loads && bad));
  if (loads && bad) return;
  f->g.mode = mode;
  if (loads) memcpy(f->pdpte, pdpte, sizeof pdpte);
}

static void compare(struct fuzz *f, uint32_t la, enum mmu_access access, bool user, const struct slow *want, bool ok,
                    const struct mmu_result *r) {
  assert_int_equal(ok, !want->fault);
  if (want->fault) {
    assert_int_equal(r->error, want->error);
    assert_false(r->filled);
    f->faults++;
    return;
  }
  assert_int_equal(r->addr.v, want->addr);
  if (r->filled) assert_int_not_equal(entry(&f->g, user, access, la), 0);
  f->fills += r->filled;
}

/* One access, the marks that it must leave, and its retry as translated code would make it. */
static void access_random(struct fuzz *f) {
  uint32_t la = f->linear[rnd(f, LINEARS)] | rnd(f, 4096);
  enum mmu_access access = (enum mmu_access)rnd(f, 3);
  bool user = rnd(f, 2);
  struct mmu_result r;
  struct slow want = slow_walk(&f->g, f->pdpte, la, access, user);
  uint64_t found = entry(&f->g, user, access, la);
  bool stores;
  const uint8_t *host = want.fault ? NULL : fuzz_where(&f->g, want.addr, &stores);
  for (unsigned i = 0; found && i < 2; i++) /* what an access through the entry would mark is marked */
    assert_true(!want.at[i] || (slow_entry(&f->g, want.at[i], want.width) & want.set[i]) == want.set[i]);
  if (found && access != MMU_FETCH) {
    assert_false(want.fault);
    assert_ptr_equal((uint8_t *)(found + la), host);
    assert_true(access != MMU_WRITE || stores);
    f->hits++;
    if (access == MMU_WRITE && !(la & 7) && rnd(f, 2))
      *(uint64_t *)(found + la) = random_entry(f); /* data, or a table that nobody walks */
    return;
  }
  if (found) {
    assert_false(want.fault);
    assert_ptr_equal((uint8_t *)mmu_frame_pointer(f->g.m, mmu_fetch_frame(found)) + want.addr % 4096, host);
    f->hits++;
    return;
  }
  bool peeked = mmu_peek(f->g.cpu, to_gla(la), access, user, &r);
  compare(f, la, access, user, &want, peeked, &r);
  bool ok = mmu_translate(f->g.cpu, to_gla(la), access, user, &r);
  compare(f, la, access, user, &want, ok, &r);
  for (unsigned i = 0; !want.fault && i < 2; i++) {
    struct mmu_result back;
    if (want.at[i] && fuzz_where(&f->g, want.at[i], &stores) && stores && mmu_peek(f->g.cpu, to_gla(la), access, user, &back))
      assert_int_equal(slow_entry(&f->g, want.at[i], want.width) & want.set[i], want.set[i]);
  }
}

/* What differs from the copy must be told as written. */
static void collect(struct fuzz *f, struct watch *w) {
  uint64_t bitmap[1], pages = mmu_dirty_collect(f->g.m, w->dirty, bitmap);
  for (unsigned i = 0; i < w->count; i++) {
    bool told = bitmap[0] >> i & 1;
    if (!told) assert_memory_equal(w->copy[i], w->pages + i * 4096, 4096);
    memcpy(w->copy[i], w->pages + i * 4096, 4096);
    pages -= told;
    f->collected += told;
  }
  assert_int_equal(pages, 0);
}

static void watch_random(struct fuzz *f) {
  unsigned which = rnd(f, WATCHES);
  struct watch *w = &f->watches[which];
  static const unsigned first[WATCHES] = {TABLE0, TABLE0 + 5, 0}, counts[WATCHES] = {TABLES, TABLES - 2, 4};
  if (w->dirty && rnd(f, 4)) {
    collect(f, w);
  } else if (w->dirty) {
    mmu_dirty_stop(f->g.m, w->dirty);
    w->dirty = NULL;
  } else { /* tables, the same or others, or the VRAM */
    const struct mmu_area *area = which == 2 ? f->models[1].area : mmu_ram_area(f->g.m);
    w->count = counts[which];
    w->pages = (const uint8_t *)mmu_frame_pointer(f->g.m, mmu_area_frame(area)) + first[which] * 4096;
    w->dirty = mmu_dirty_start(f->g.m, area, (uint64_t)first[which] << 12, w->count * 4096);
    assert_non_null(w->dirty);
    memcpy(w->copy, w->pages, w->count * 4096);
  }
}

static void trace_random(struct fuzz *f) {
  uint32_t frame = rnd(f, 2) ? TABLE0 + rnd(f, TABLES) : DATA0 + rnd(f, DATAS);
  switch (rnd(f, 4)) {
  case 0: mmu_trace_code(f->g.m, frame, 1ull << rnd(f, 64)); break;
  case 1: mmu_untrace_code(f->g.m, frame); break;
  case 2: watch_random(f); break;
  case 3: mmu_drop(f->g.cpu, to_gla(f->linear[rnd(f, LINEARS)])); break;
  }
}

static uint32_t io_read(void *opaque, uint64_t offset, unsigned size) { return 0; }
static void io_write(void *opaque, uint64_t offset, unsigned size, uint32_t value) {}
static const struct mmu_io_ops io_ops = {io_read, io_write};

/* Over RAM: tables, data, or both; or outside of it. */
static uint64_t random_base(struct fuzz *f) {
  const uint64_t bases[] = {(TABLE0 + rnd(f, TABLES)) << 12, (DATA0 + rnd(f, DATAS)) << 12, f->vram, 0xffffd000, 0xa0000};
  return bases[rnd(f, 5)];
}

/* One area changes; now and then all is forgotten. */
static void map_random(struct fuzz *f) {
  struct model *a = &f->models[rnd(f, MODELS)];
  switch (rnd(f, 7)) {
  case 0:
    mmu_reset(f->g.m);
    mmu_set_mode(f->g.cpu, &f->g.mode, false);
    memset(f->pdpte, 0, sizeof f->pdpte);
    break;
  case 1: mmu_move_area(f->g.m, a->area, to_gpa(a->base = random_base(f))); break;
  case 2: mmu_set_area_stores(f->g.m, a->area, a->stores = (enum mmu_stores)rnd(f, 3)); break;
  case 3: mmu_set_area_level(f->g.m, a->area, a->level = rnd(f, 3) + 1); break;
  default: mmu_show_area(f->g.m, a->area, a->shown = !a->shown);
  }
}

/* A device, memory, two parts of that, and two of main RAM. */
static void make_areas(struct fuzz *f) {
  f->vram = 0xe0000000;
  for (unsigned i = 0; i < MODELS; i++) {
    struct model *a = &f->models[i];
    struct mmu_area *of = i > 3 ? mmu_ram_area(f->g.m) : f->models[1].area;
    *a = (struct model){.base = f->vram, .pages = i == 1 ? 4 : 1 + i % 2, .order = i, .level = 1, .shown = i == 1};
    uint64_t size = a->pages * 4096, offset = i > 3 ? (uint64_t)(i == 4 ? TABLE0 + 3 : DATA0 + 1) << 12 : 4096;
    if (i == 0) a->area = mmu_add_io(f->g.m, to_gpa(a->base), size, &io_ops, NULL);
    else if (i == 1) a->area = mmu_add_memory(f->g.m, to_gpa(a->base), size, 0);
    else a->area = mmu_add_alias(f->g.m, of, offset, size, to_gpa(a->base), 0);
    assert_non_null(a->area);
    mmu_set_area_level(f->g.m, a->area, 1);
    mmu_show_area(f->g.m, a->area, a->shown);
    if (i) a->host = mmu_frame_pointer(f->g.m, mmu_area_frame(a->area));
  }
  f->g.where = fuzz_where;
}

static void snapshot(struct fuzz *f) {
  for (unsigned i = 0; i < LINEARS; i++) {
    f->seen[i] = 0;
    for (unsigned k = 0; k < 6; k++) f->before[i][k / 3][k % 3] = entry(&f->g, k / 3, (enum mmu_access)(k % 3), f->linear[i]);
  }
}

/* Fetch entries that left the current view must have been told of: always those of the kernel half, the others where no switch
 * was. */
static void check_told(struct fuzz *f, bool switched) {
  for (unsigned i = 0; i < LINEARS; i++)
    for (unsigned user = 0; user < 2; user++) {
      uint64_t before = f->before[i][user][2];
      if (before && before != entry(&f->g, user, MMU_FETCH, f->linear[i]) && (!switched || f->linear[i] >= 0xc0000000u))
        assert_int_not_equal(f->seen[i], 0);
    }
}

static void step(struct fuzz *f) {
  uint32_t what = rnd(f, 100);
  snapshot(f);
  if (what < 55) access_random(f);
  else if (what < 72) store_random(f);
  else if (what < 81) change_bit(f);
  else if (what < 84) copy_entries(f);
  else if (what < 94) switch_root(f);
  else if (what < 97) trace_random(f);
  else if (rnd(f, 4)) map_random(f);
  else hammer(f);
  check_told(f, what >= 84 && what < 94);
  guest_check(&f->g);
}

static void make_tables(struct fuzz *f) {
  for (unsigned i = 0; i < ROOTS * 4; i++) /* PDPTEs: mostly good */
    set64(&f->g, (PDPT0 << 12) + i * 8, (uint64_t)(TABLE0 + rnd(f, TABLES)) << 12 | (rnd(f, 8) ? P : 0) | (rnd(f, 30) ? 0 : 2));
  for (unsigned i = 0; i < 400; i++) set64(&f->g, random_table_entry(f) & ~7u, random_entry(f));
}

static void pick_linears(struct fuzz *f) {
  static const uint32_t slots[] = {0, 0x200000, 0x400000, 0x40000000, 0xc0000000, 0xc0200000, 0xc0400000, 0xffc00000, 0xffe00000};
  for (unsigned i = 0; i < LINEARS; i++) f->linear[i] = slots[rnd(f, 9)] + (rnd(f, 2) ? rnd(f, 4) : 511 - 255 * rnd(f, 2)) * 4096;
}

static unsigned the_seed = 1, the_steps = 6000;

static void run(bool pae, unsigned seed, unsigned steps, unsigned pool) {
  struct fuzz *f = calloc(1, sizeof *f);
  const char *error;
  struct mmu_config config = {.ram_size = RAM_MIB << 20,
                              .pool = pool,
                              .opaque = f,
                              .code_written = fuzz_code_written,
                              .fetch_dropped = fuzz_fetch_dropped,
                              .data_dropped = fuzz_data_dropped};
  f->random = 0x9e3779b97f4a7c15ull * (seed + 1);
  f->g.m = mmu_create(&config, &error);
  assert_non_null(f->g.m);
  f->g.cpu = mmu_cpu(f->g.m, 0);
  f->g.mode = (struct mmu_mode){
    .paging = true, .pae = pae, .pse = true, .wp = true, .nx = pae, .a20 = true, .cr3 = (pae ? PDPT0 : TABLE0) << 12};
  pick_linears(f);
  make_tables(f);
  make_areas(f);
  while (pae && !mmu_set_mode(f->g.cpu, &f->g.mode, true)) f->g.mode.cr3 += 32;
  if (pae)
    for (unsigned i = 0; i < 4; i++) f->pdpte[i] = get64(&f->g, f->g.mode.cr3 + i * 8);
  else mmu_set_mode(f->g.cpu, &f->g.mode, true);
  for (unsigned i = 0; i < steps; i++) step(f);
  assert_true(f->faults && f->fills && f->hits && f->collected);
  mmu_destroy(f->g.m);
  free(f);
}

static void fuzz_legacy(void **state) { run(false, the_seed, the_steps, 16); }
static void fuzz_pae(void **state) { run(true, the_seed, the_steps, 16); }
static void fuzz_legacy_tiny_pool(void **state) { run(false, the_seed + 1000, the_steps, 2); }
static void fuzz_pae_tiny_pool(void **state) { run(true, the_seed + 1000, the_steps, 3); }

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(fuzz_legacy), cmocka_unit_test(fuzz_pae),
                                     cmocka_unit_test(fuzz_legacy_tiny_pool), cmocka_unit_test(fuzz_pae_tiny_pool)};
  if (argc > 1) the_seed = (unsigned)strtoul(argv[1], NULL, 0);
  if (argc > 2) the_steps = (unsigned)strtoul(argv[2], NULL, 0);
  printf("seed %u, %u steps\n", the_seed, the_steps);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
