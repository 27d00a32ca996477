// link: bt_mmu
/* mmu/: which pages were written since somebody asked. */
#include <stdio.h>
#include "test_mmu.h"

enum { CR3 = 0x100000, PT = 0x101000, PAGE = 0x200000, LA = 0x08000000, ALL = RWU | A | D, FIRST = PAGE >> 12 };

/* Sixteen pages at LA. */
static void sixteen_pages(struct guest *g) {
  guest_make(g, 4, 0);
  set32(g, CR3 + (LA >> 22) * 4, PT | ALL);
  for (unsigned i = 0; i < 16; i++) set32(g, PT + i * 4, (PAGE + i * 0x1000) | ALL);
  use_legacy(g, CR3);
}

static struct mmu_dirty *watch(struct guest *g, uint64_t from, uint64_t size) {
  struct mmu_dirty *d = mmu_dirty_start(g->m, mmu_ram_area(g->m), from, size);
  assert_non_null(d);
  return d;
}

/* Of at most 64 pages. */
static uint64_t collect(struct guest *g, struct mmu_dirty *d) {
  uint64_t bitmap[1] = {~0ull}, pages = mmu_dirty_collect(g->m, d, bitmap);
  assert_int_equal(pages, __builtin_popcountll(bitmap[0]));
  guest_check(g);
  return bitmap[0];
}

static void a_page_pays_once_a_collection(void **state) {
  struct guest g;
  sixteen_pages(&g);
  for (unsigned i = 0; i < 16; i++) touch(&g, LA + i * 0x1000, MMU_WRITE, false);
  struct mmu_dirty *d = watch(&g, PAGE, 0x8000);
  assert_int_equal(collect(&g, d), 0);
  for (unsigned round = 0; round < 3; round++) {
    for (unsigned i = 0; i < 8; i++) {
      assert_false(entry(&g, false, MMU_WRITE, LA + i * 0x1000));
      assert_true(entry(&g, false, MMU_READ, LA + i * 0x1000)); /* loads cost nothing */
      assert_true(entry(&g, false, MMU_WRITE, LA + (8 + i) * 0x1000));
    }
    struct mmu_result r = touch(&g, LA + 0x3000, MMU_WRITE, false);
    assert_true(r.filled && !r.traces); /* the store goes on inline */
    touch(&g, LA + 0x5000, MMU_READ, false);
    assert_false(entry(&g, false, MMU_WRITE, LA + 0x5000));
    uint64_t dirtied = mmu_get_counters(g.m)->dirtied;
    put32(&g, PAGE + 0x3000, 1);
    touch(&g, LA + 0x3000, MMU_WRITE, false);
    assert_int_equal(mmu_get_counters(g.m)->dirtied, dirtied);
    g.data_dropped = 0;
    assert_int_equal(collect(&g, d), 1 << 3);
    assert_true(g.data_dropped == 1 && g.data_pages[0] == (LA >> 12) + 3); /* the vCPU must not remember it */
    assert_int_equal(collect(&g, d), 0);
  }
  mmu_dirty_stop(g.m, d);
  assert_true(touch(&g, LA + 0x5000, MMU_READ, false).filled && entry(&g, false, MMU_WRITE, LA + 0x5000));
  guest_check(&g);
  mmu_destroy(g.m);
}

static void each_watcher_has_its_own_bits(void **state) {
  struct guest g;
  sixteen_pages(&g);
  struct mmu_dirty *screen = watch(&g, PAGE, 0x4000), *saving = watch(&g, PAGE + 0x2000, 0x4000), *all = watch(&g, 0, 4 << 20);
  uint64_t bitmap[16];
  put32(&g, PAGE + 0x2000, 1);
  assert_int_equal(collect(&g, screen), 4);
  put32(&g, PAGE + 0x3000, 1);
  assert_int_equal(collect(&g, screen), 8);
  put32(&g, PAGE + 0x5000, 1);
  assert_int_equal(collect(&g, saving), 1 | 2 | 8);
  assert_int_equal(collect(&g, screen), 0);
  assert_int_equal(mmu_dirty_collect(g.m, all, bitmap), 3);
  assert_int_equal(bitmap[FIRST / 64], 0x2c);
  touch(&g, LA + 0x2000, MMU_WRITE, false);
  mmu_dirty_stop(g.m, screen);
  assert_int_equal(collect(&g, saving), 1);
  mmu_dirty_stop(g.m, saving); /* still awaited by the third */
  assert_false(entry(&g, false, MMU_WRITE, LA + 0x4000));
  touch(&g, LA + 0x4000, MMU_READ, false);
  assert_false(entry(&g, false, MMU_WRITE, LA + 0x4000));
  assert_int_equal(mmu_dirty_collect(g.m, all, bitmap), 1);
  guest_check(&g);
  mmu_destroy(g.m); /* frees the third */
}

/* Whoever stores. */
static void all_stores_are_seen(void **state) {
  struct guest g;
  uint8_t bytes[0x2000] = {0};
  sixteen_pages(&g);
  struct mmu_dirty *d = watch(&g, PAGE, 0x10000), *tables = watch(&g, CR3, 0x2000);
  mmu_dma_write(g.m, to_gpa(PAGE + 0x800), bytes, sizeof bytes);
  assert_int_equal(collect(&g, d), 7);
  mmu_dma_claim(g.m, to_gpa(PAGE + 0x2800), sizeof bytes);
  assert_int_equal(collect(&g, d), 7 << 2);
  mmu_phys_write(g.m, to_gpa(PAGE + 0x4000), bytes, 1);
  assert_int_equal(collect(&g, d), 1 << 4);
  mmu_traced_store_begin(g.cpu, to_gpa(PAGE + 0x5000), 4);
  mmu_traced_store_end(g.cpu, to_gpa(PAGE + 0x5000), 4);
  assert_int_equal(collect(&g, d), 1 << 5);
  mmu_dma_read(g.m, to_gpa(PAGE), bytes, sizeof bytes);
  mmu_phys_read(g.m, to_gpa(PAGE), bytes, 8);
  struct mmu_result r;
  assert_true(mmu_peek(g.cpu, to_gla(LA), MMU_WRITE, true, &r));
  assert_int_equal(collect(&g, d), 0);
  assert_int_equal(collect(&g, tables), 0);
  put32(&g, PT + 7 * 4, (PAGE + 0x7000) | RWU);
  put32(&g, CR3, 1);
  assert_int_equal(collect(&g, tables), 3);
  touch(&g, LA + 0x7000, MMU_READ, true); /* marks it accessed */
  assert_int_equal(collect(&g, tables), 2);
  touch(&g, LA + 0x7000, MMU_READ, true);
  assert_int_equal(collect(&g, tables), 0);
  touch(&g, LA + 0x7000, MMU_WRITE, true); /* and dirty */
  assert_int_equal(collect(&g, tables), 2);
  assert_int_equal(collect(&g, d), 1 << 7);
  mmu_destroy(g.m);
}

/* The other traces go on as they were. */
static void beside_code_and_page_tables(void **state) {
  struct guest g;
  sixteen_pages(&g);
  touch(&g, LA, MMU_WRITE, false);
  mmu_trace_code(g.m, FIRST, 1);
  struct mmu_dirty *d = watch(&g, PAGE, 0x1000), *tables = watch(&g, PT, 0x1000);
  assert_false(touch(&g, LA, MMU_WRITE, false).filled);
  assert_true(put32(&g, PAGE, 1));
  assert_int_equal(g.code_written, 1);
  assert_int_equal(collect(&g, d), 1);
  assert_true(put32(&g, PAGE + 4, 1));
  assert_int_equal(g.code_written, 2);
  touch(&g, LA + 0x1000, MMU_READ, false);
  put32(&g, PT + 4, 0);
  assert_false(entry(&g, false, MMU_READ, LA + 0x1000));
  assert_int_equal(collect(&g, tables), 1);
  mmu_dirty_stop(g.m, d);
  mmu_dirty_stop(g.m, tables);
  assert_true(put32(&g, PAGE + 8, 1));
  assert_int_equal(g.code_written, 3);
  guest_check(&g);
  mmu_destroy(g.m);
}

/* A kernel maps the page that faulted: its entry is filled by the store to the page table, but not for a store that nobody would
 * see. */
static void prefill_does_not_hide_a_store(void **state) {
  struct guest g;
  sixteen_pages(&g);
  put32(&g, PT, 0);
  touch(&g, LA + 0x1000, MMU_READ, true);
  struct mmu_dirty *d = watch(&g, PAGE, 0x1000);
  assert_int_equal(faults(&g, LA, MMU_WRITE, true), 6);
  put32(&g, PT, PAGE | ALL);
  assert_true(entry(&g, true, MMU_READ, LA));
  assert_false(entry(&g, true, MMU_WRITE, LA));
  touch(&g, LA, MMU_WRITE, true);
  assert_int_equal(collect(&g, d), 1);
  mmu_destroy(g.m);
}

/* VRAM is watched wherever its BAR is, and through the VGA window. */
static void areas_are_watched_wherever_they_are(void **state) {
  struct guest g;
  guest_make(&g, 1, 0);
  struct mmu_area *vram = mmu_add_memory(g.m, to_gpa(0xe0000000), 0x10000, 0);
  struct mmu_area *window = mmu_add_alias(g.m, vram, 0x8000, 0x4000, to_gpa(0xa0000), 0);
  struct mmu_dirty *d = mmu_dirty_start(g.m, vram, 0, 0x10000), *part = mmu_dirty_start(g.m, window, 0x1000, 0x1000);
  put32(&g, 0xe0000000, 1);
  put32(&g, 0xa1000, 1);
  assert_int_equal(collect(&g, d), 1 | 1 << 9);
  assert_int_equal(collect(&g, part), 1);
  mmu_move_area(g.m, vram, to_gpa(0xd0000000));
  touch(&g, 0xd0009000, MMU_WRITE, false);
  assert_int_equal(collect(&g, part), 1);
  assert_int_equal(collect(&g, d), 1 << 9);
  mmu_remove_area(g.m, vram);
  assert_int_equal(collect(&g, d), 0);
  struct mmu_area *next = mmu_add_memory(g.m, to_gpa(0xe0000000), 0x10000, 0); /* the same frames, and not watched */
  put32(&g, 0xe0000000, 1);
  assert_int_equal(collect(&g, d), 0);
  assert_int_equal(collect(&g, part), 0);
  assert_null(mmu_dirty_start(g.m, window, 0, 0x1000)); /* of what is gone */
  mmu_dirty_stop(g.m, d);
  mmu_dirty_stop(g.m, part);
  assert_null(mmu_dirty_start(g.m, next, 0x8000, 0x8001));
  assert_null(mmu_dirty_start(g.m, next, 0x10000, 1));
  assert_null(mmu_dirty_start(g.m, next, 0, 0));
  d = mmu_dirty_start(g.m, next, 0xffff, 1);
  put32(&g, 0xe000f000, 1);
  assert_int_equal(collect(&g, d), 1);
  mmu_destroy(g.m);
}

/* RAM is another one then. */
static void reset_writes_everything(void **state) {
  struct guest g;
  sixteen_pages(&g);
  struct mmu_dirty *d = watch(&g, PAGE, 0x5000);
  mmu_reset(g.m);
  assert_int_equal(collect(&g, d), 31);
  put32(&g, PAGE, 1);
  assert_int_equal(collect(&g, d), 1);
  mmu_destroy(g.m);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_page_pays_once_a_collection), cmocka_unit_test(each_watcher_has_its_own_bits),
    cmocka_unit_test(all_stores_are_seen),           cmocka_unit_test(beside_code_and_page_tables),
    cmocka_unit_test(prefill_does_not_hide_a_store), cmocka_unit_test(areas_are_watched_wherever_they_are),
    cmocka_unit_test(reset_writes_everything),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
