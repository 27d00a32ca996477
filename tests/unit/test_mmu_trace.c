// link: bt_mmu
/* mmu/: traces, and that edits of page tables drop exactly what they must. */
#include <stdio.h>
#include "test_mmu.h"

enum { CR3 = 0x100000, PT = 0x101000, PT2 = 0x102000, PAGE = 0x200000, LA = 0x08000000, PDE = CR3 + (LA >> 22) * 4 };
enum { ALL = RWU | A | D };

/* Sixteen pages at LA, all entries filled. */
static void fill_all(struct guest *g) {
  for (unsigned i = 0; i < 16; i++)
    for (unsigned k = 0; k < 6; k++) touch(g, LA + i * 0x1000, (enum mmu_access)(k % 3), k >= 3);
}
static void sixteen_pages(struct guest *g) {
  guest_make(g, 4, 0);
  set32(g, PDE, PT | ALL);
  for (unsigned i = 0; i < 16; i++) set32(g, PT + i * 4, (PAGE + i * 0x1000) | ALL);
  use_legacy(g, CR3);
  fill_all(g);
  guest_forget_calls(g);
}
/* Which of the six entries of page `i` live: bit access + 3 * user. */
static unsigned alive(struct guest *g, unsigned i) {
  unsigned bits = 0;
  for (unsigned k = 0; k < 6; k++) bits |= (entry(g, k >= 3, (enum mmu_access)(k % 3), LA + i * 0x1000) != 0) << k;
  return bits;
}
enum { READS = 1 | 8, WRITES = 2 | 16, FETCHES = 4 | 32, SYSTEM = 7, EVERY = 63 };

static void others_live(struct guest *g, unsigned but) {
  for (unsigned i = 0; i < 16; i++)
    if (i != but) assert_int_equal(alive(g, i), EVERY);
}

static void pte_edits_drop_exactly(void **state) {
  static const struct {
    uint32_t changed;
    unsigned stay, fetches, data;
  } rows[] = {
    {P, 0, 2, 4},       /* unmapped */
    {0x40000, 0, 2, 4}, /* another frame */
    {A, 0, 2, 4},       /* A cleared: the next access sets it again */
    {W, READS | FETCHES, 0, 2},
    {D, READS | FETCHES, 0, 2},
    {U, SYSTEM, 1, 2},
    {0xe00, EVERY, 0, 0}, /* AVL */
    {256, EVERY, 0, 0},   /* G */
    {8, EVERY, 0, 0},     /* PWT */
    {0, EVERY, 0, 0},
  };
  for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct guest g;
    sixteen_pages(&g);
    bool dropped = put32(&g, PT + 3 * 4, ((PAGE + 0x3000) | ALL) ^ rows[i].changed);
    assert_int_equal(alive(&g, 3), rows[i].stay);
    assert_int_equal(dropped, rows[i].stay != EVERY);
    assert_int_equal(g.fetch_dropped, rows[i].fetches);
    assert_int_equal(g.data_dropped, rows[i].data);
    assert_int_equal(mmu_get_counters(g.m)->pt_drops, rows[i].fetches + rows[i].data);
    if (g.fetch_dropped) assert_true(g.fetch_pages[0] == (LA >> 12) + 3 && g.fetch_spaces[0] == mmu_space(g.cpu));
    others_live(&g, 3);
    guest_check(&g);
    mmu_destroy(g.m);
  }
}

static void pte_gains_drop_nothing(void **state) {
  struct guest g;
  sixteen_pages(&g);
  put32(&g, PT, PAGE | P | A);
  touch(&g, LA, MMU_READ, false);
  guest_forget_calls(&g);
  assert_false(put32(&g, PT, PAGE | ALL));
  assert_int_equal(g.data_dropped, 0);
  assert_true(entry(&g, false, MMU_READ, LA));
  guest_check(&g);
  mmu_destroy(g.m);
}

static void nx_drops_fetches(void **state) {
  struct guest g;
  guest_make(&g, 4, 0);
  set64(&g, 0x110000, 0x111000 | P);
  set64(&g, 0x111000 + (LA >> 21) * 8, PT | ALL);
  set64(&g, PT, PAGE | ALL);
  use_pae(&g, 0x110000, true);
  for (unsigned k = 0; k < 6; k++) touch(&g, LA, (enum mmu_access)(k % 3), k >= 3);
  put32(&g, PT + 4, 0x80000000); /* the high half alone */
  assert_int_equal(alive(&g, 0), READS | WRITES);
  put32(&g, PT + 4, 1 << 4); /* a reserved bit (36) */
  assert_int_equal(alive(&g, 0), 0);
  assert_int_equal(faults(&g, LA, MMU_READ, false), 9);
  guest_check(&g);
  mmu_destroy(g.m);
}

static void pde_edits(void **state) {
  struct guest g;
  sixteen_pages(&g);
  put32(&g, PDE, PT | (ALL & ~D)); /* D means nothing there */
  others_live(&g, 99);
  put32(&g, PDE, PT | (ALL & ~W));
  for (unsigned i = 0; i < 16; i++) assert_int_equal(alive(&g, i), READS | FETCHES);
  put32(&g, PDE, PT | P | A | W);
  for (unsigned i = 0; i < 16; i++) assert_int_equal(alive(&g, i), 5);
  guest_check(&g);
  guest_forget_calls(&g);
  assert_true(put32(&g, PDE, 0));
  assert_int_equal(g.fetch_dropped, 16);
  assert_int_equal(g.data_dropped, 16);
  for (unsigned i = 0; i < 16; i++) assert_int_equal(alive(&g, i), 0);
  uint64_t before = mmu_get_counters(g.m)->pt_writes;
  put32(&g, PT, 0); /* no table of ours any more */
  assert_int_equal(mmu_get_counters(g.m)->pt_writes, before);
  put32(&g, PDE, PT2 | ALL);
  assert_int_equal(faults(&g, LA, MMU_READ, false), 0);
  guest_check(&g);
  mmu_destroy(g.m);
}

/* A directory entry without PAE covers two slots; entries in the second must die too. */
static void pde_edit_reaches_both_halves(void **state) {
  struct guest g;
  sixteen_pages(&g);
  put32(&g, PT + 1023 * 4, PAGE | ALL);
  touch(&g, LA + 0x3ff000, MMU_READ, true);
  put32(&g, PDE, 0);
  assert_false(entry(&g, true, MMU_READ, LA + 0x3ff000));
  guest_check(&g);
  mmu_destroy(g.m);
}

static void page_table_is_traced(void **state) {
  struct guest g;
  struct mmu_result r;
  sixteen_pages(&g);
  put32(&g, PT + 5 * 4, PT | ALL); /* the table maps itself, and its directory */
  put32(&g, PT + 6 * 4, CR3 | ALL);
  r = touch(&g, LA + 0x5000, MMU_WRITE, false);
  assert_int_equal(r.traces, MMU_TRACE_PAGE_TABLE);
  assert_false(r.filled);
  assert_true(entry(&g, false, MMU_READ, LA + 0x5000));
  assert_false(touch(&g, LA + 0x6000, MMU_WRITE, false).filled);
  guest_check(&g);
  mmu_destroy(g.m);
}

/* A frame that has write entries and becomes a page table loses them. */
static void becoming_a_table_drops_writes(void **state) {
  struct guest g;
  sixteen_pages(&g);
  assert_true(entry(&g, true, MMU_WRITE, LA + 0x2000));
  put32(&g, PDE + 4, (PAGE + 0x2000) | ALL);
  assert_true(entry(&g, true, MMU_WRITE, LA + 0x2000));
  faults(&g, LA + 0x400000, MMU_READ, true); /* a walk that derives nothing needs no trace */
  put32(&g, PAGE + 0x2000, 0x300000 | ALL);
  touch(&g, LA + 0x400000, MMU_READ, true);
  assert_int_equal(alive(&g, 2), READS | FETCHES);
  guest_check(&g);
  mmu_destroy(g.m);
}

static void prefill_after_a_fault(void **state) {
  struct guest g;
  sixteen_pages(&g);
  put32(&g, PT, 0);
  assert_int_equal(faults(&g, LA + 8, MMU_WRITE, true), 6);
  uint64_t walks = mmu_get_counters(g.m)->walks;
  put32(&g, PT, (PAGE + 0x20000) | ALL);
  assert_true(entry(&g, true, MMU_WRITE, LA) && entry(&g, true, MMU_READ, LA));
  assert_false(entry(&g, true, MMU_FETCH, LA));
  assert_int_equal(mmu_get_counters(g.m)->walks, walks);
  put32(&g, PT, 0);
  faults(&g, LA, MMU_FETCH, true);
  put32(&g, PT, (PAGE + 0x20000) | (ALL & ~D));
  assert_int_equal(alive(&g, 0), 32);
  put32(&g, PT, 0); /* copy on write: present, then replaced */
  put32(&g, PT, PAGE | P | U | A);
  faults(&g, LA, MMU_WRITE, true);
  put32(&g, PT, (PAGE + 0x1000) | ALL);
  assert_true(entry(&g, true, MMU_WRITE, LA));
  put32(&g, PT, 0); /* never by setting A or D */
  faults(&g, LA, MMU_WRITE, true);
  put32(&g, PT, PAGE | RWU);
  assert_int_equal(alive(&g, 0), 0);
  put32(&g, PT, PAGE | RWU | A);
  assert_int_equal(get32(&g, PT), PAGE | RWU | A);
  assert_false(entry(&g, true, MMU_WRITE, LA));
  guest_check(&g);
  mmu_destroy(g.m);
}

static void two_linear_one_frame(void **state) {
  struct guest g;
  sixteen_pages(&g);
  for (unsigned i = 1; i < 16; i++) put32(&g, PT + i * 4, PAGE | ALL);
  fill_all(&g);
  guest_check(&g);
  guest_forget_calls(&g);
  mmu_trace_code(g.m, PAGE >> 12, 1); /* more aliases than a frame holds inline */
  for (unsigned i = 0; i < 16; i++) assert_int_equal(alive(&g, i), READS | FETCHES);
  assert_int_equal(g.data_dropped, 32);
  assert_int_equal(touch(&g, LA, MMU_WRITE, true).traces, MMU_TRACE_CODE);
  assert_false(entry(&g, true, MMU_WRITE, LA));
  mmu_untrace_code(g.m, PAGE >> 12);
  assert_true(touch(&g, LA, MMU_WRITE, true).filled);
  guest_check(&g);
  mmu_destroy(g.m);
}

/* More write entries to one frame than are kept: bounded, and still every live one is known. */
static void a_thousand_aliases(void **state) {
  struct guest g;
  sixteen_pages(&g);
  for (unsigned i = 0; i < 1024; i++) put32(&g, PT + i * 4, PAGE | ALL);
  for (unsigned round = 0; round < 3; round++)
    for (unsigned i = 0; i < 1024; i++) assert_true(touch(&g, LA + i * 0x1000, MMU_WRITE, i & 1).filled);
  guest_check(&g);
  mmu_trace_code(g.m, PAGE >> 12, 1);
  for (unsigned i = 0; i < 1024; i++) assert_int_equal(alive(&g, i) & WRITES, 0);
  guest_check(&g);
  mmu_destroy(g.m);
}

static void code_trace_by_granules(void **state) {
  struct guest g;
  uint8_t bytes[4096] = {0};
  sixteen_pages(&g);
  mmu_trace_code(g.m, (PAGE + 0x1000) >> 12, 1ull << 2 | 1ull << 63);
  assert_int_equal(alive(&g, 1), READS | FETCHES);
  assert_int_equal(g.data_dropped, 2);
  assert_false(put32(&g, PAGE + 0x1000 + 127 - 3, 1)); /* ends just below granule 2 */
  assert_int_equal(g.code_written, 0);
  assert_true(mmu_phys_write(g.m, to_gpa(PAGE + 0x1000 + 126), bytes, 4));
  assert_int_equal(g.code_written, 1);
  assert_int_equal(g.code_frame, (PAGE + 0x1000) >> 12);
  assert_true(g.code_granules == 1 << 2);
  assert_false(put32(&g, PAGE + 0x1000 + 192, 1));
  assert_true(put32(&g, PAGE + 0x1ffc, 1));
  assert_true(g.code_granules == 1ull << 63);
  mmu_dma_write(g.m, to_gpa(PAGE + 0xf00), bytes, 4096); /* from the page before */
  assert_int_equal(g.code_written, 3);
  assert_true(g.code_granules == 1 << 2);
  assert_false(mmu_traced_store_begin(g.cpu, to_gpa(PAGE + 0x1000), 8));
  assert_true(mmu_traced_store_begin(g.cpu, to_gpa(PAGE + 0x1080), 1));
  assert_int_equal(g.code_written, 4);
  const struct mmu_counters *c = mmu_get_counters(g.m);
  assert_int_equal(c->code_stores, 7);
  assert_int_equal(c->code_kills, 4);
  mmu_untrace_code(g.m, (PAGE + 0x1000) >> 12);
  assert_false(put32(&g, PAGE + 0x1080, 1));
  assert_true(touch(&g, LA + 0x1000, MMU_WRITE, true).filled);
  guest_check(&g);
  mmu_destroy(g.m);
}

/* Somebody else is about to write there: what derives from it is gone before; page tables he does not get. */
static void claimed_for_dma(void **state) {
  struct guest g;
  sixteen_pages(&g);
  mmu_trace_code(g.m, (PAGE + 0x1000) >> 12, 1ull << 2 | 1ull << 63);
  assert_ptr_equal(mmu_dma_claim(g.m, to_gpa(PAGE + 0xf00), 0x180), mmu_ram_pointer(g.m, to_gpa(PAGE + 0xf00), 1));
  assert_int_equal(g.code_written, 0); /* up to granule 2 */
  assert_non_null(mmu_dma_claim(g.m, to_gpa(PAGE + 0xf00), 0x181));
  assert_int_equal(g.code_written, 1);
  assert_true(g.code_granules == 1 << 2);
  assert_non_null(mmu_dma_claim(g.m, to_gpa(PAGE), 0x10000));
  assert_int_equal(g.code_written, 2);
  assert_null(mmu_dma_claim(g.m, to_gpa(PT), 4));
  assert_null(mmu_dma_claim(g.m, to_gpa(PT - 0x1000), 0x1001));
  assert_null(mmu_dma_claim(g.m, to_gpa(mmu_ram_size(g.m) - 0x1000), 0x1001));
  assert_null(mmu_dma_claim(g.m, to_gpa(0x9f000), 0x1001)); /* the video window */
  assert_null(mmu_dma_claim(g.m, to_gpa(UINT64_MAX - 0xfff), 0x2000));
  assert_null(mmu_dma_claim(g.m, to_gpa(PAGE), 0));
  guest_check(&g);
  mmu_destroy(g.m);
}

/* LOCK BTR on an entry, run in place (fork's write protection). */
static void store_in_place(void **state) {
  struct guest g;
  sixteen_pages(&g);
  bool dropped = mmu_traced_store_begin(g.cpu, to_gpa(PT + 4), 4);
  __atomic_fetch_and((uint32_t *)mmu_ram_pointer(g.m, to_gpa(PT + 4), 4), ~(uint32_t)W, __ATOMIC_SEQ_CST);
  dropped |= mmu_traced_store_end(g.cpu, to_gpa(PT + 4), 4);
  assert_true(dropped);
  assert_int_equal(alive(&g, 1), READS | FETCHES);
  others_live(&g, 1);
  guest_check(&g);
  mmu_destroy(g.m);
}

/* A disk reads into a frame that is still a page table. */
static void dma_into_a_page_table(void **state) {
  struct guest g;
  uint8_t zeros[4096] = {0};
  sixteen_pages(&g);
  mmu_dma_write(g.m, to_gpa(PT + 2 * 4 + 1), zeros, 15); /* pieces of entries 2..5 */
  assert_int_equal(alive(&g, 1), EVERY);
  for (unsigned i = 2; i < 6; i++) assert_int_equal(alive(&g, i), 0);
  assert_int_equal(alive(&g, 6), EVERY);
  guest_check(&g);
  mmu_dma_write(g.m, to_gpa(PT), zeros, 4096);
  for (unsigned i = 0; i < 16; i++) assert_int_equal(alive(&g, i), 0);
  guest_check(&g);
  mmu_destroy(g.m);
}

static void table_reused_as_data_loses_its_trace(void **state) {
  struct guest g;
  sixteen_pages(&g);
  put32(&g, PT + 100 * 4, PT | ALL); /* so that the guest can store to it */
  for (unsigned i = 0; i < 63; i++) put32(&g, PT + 0x800, i);
  assert_false(touch(&g, LA + 100 * 0x1000, MMU_WRITE, true).filled); /* a walk: counted from 0 again */
  for (unsigned i = 0; i < 64; i++) put32(&g, PT + 0x800, i);
  assert_int_equal(alive(&g, 0), EVERY);
  assert_int_equal(mmu_get_counters(g.m)->pt_untraced, 0);
  assert_true(put32(&g, PT + 0x800, 1));
  assert_int_equal(mmu_get_counters(g.m)->pt_untraced, 1);
  assert_int_equal(alive(&g, 0), 0);
  uint64_t writes = mmu_get_counters(g.m)->pt_writes;
  assert_false(put32(&g, PT + 0x800, 2));
  assert_int_equal(mmu_get_counters(g.m)->pt_writes, writes);
  put32(&g, PT, (PAGE + 0x5000) | ALL); /* unseen, and right when it is walked again */
  assert_int_equal(touch(&g, LA, MMU_READ, true).addr.v, PAGE + 0x5000);
  put32(&g, PT, 0);
  assert_false(entry(&g, true, MMU_READ, LA));
  guest_check(&g);
  mmu_destroy(g.m);
}

static void one_table_in_many_slots(void **state) {
  struct guest g;
  sixteen_pages(&g);
  for (unsigned i = 0; i < 512; i++) {
    put32(&g, CR3 + i * 4, PT | ALL);
    touch(&g, (i << 22) + 0x3000, MMU_READ, true);
  }
  guest_check(&g);
  put32(&g, PT + 3 * 4, 0);
  for (unsigned i = 0; i < 512; i++) assert_false(entry(&g, true, MMU_READ, (i << 22) + 0x3000));
  guest_check(&g);
  mmu_destroy(g.m);
}

/* The directory is a page table of itself, as Windows and hobby kernels have it. */
static void directory_maps_itself(void **state) {
  struct guest g;
  sixteen_pages(&g);
  put32(&g, CR3 + 1023 * 4, CR3 | P | W | A);
  struct mmu_result r = touch(&g, 0xfffff000 + (LA >> 22) * 4, MMU_WRITE, false);
  assert_int_equal(r.addr.v, PDE);
  assert_false(r.filled);
  assert_int_equal(touch(&g, 0xffc00000 + (LA >> 12) * 4, MMU_READ, false).addr.v, PT);
  put32(&g, PDE, PT2 | ALL);
  assert_false(entry(&g, false, MMU_READ, 0xffc00000 + (LA >> 12) * 4));
  assert_int_equal(alive(&g, 0), 0);
  put32(&g, CR3 + 1023 * 4, 0);
  assert_int_equal(faults(&g, 0xfffff000, MMU_READ, false), 0);
  guest_check(&g);
  mmu_destroy(g.m);
}

static void reset_forgets(void **state) {
  struct guest g;
  sixteen_pages(&g);
  mmu_trace_code(g.m, 0x250, 1);
  put32(&g, 0x250000, 7);
  guest_forget_calls(&g);
  mmu_reset(g.m);
  assert_int_equal(g.fetch_dropped, 32);
  assert_int_equal(touch(&g, LA & 0xfffff, MMU_READ, false).addr.v, LA & 0xfffff); /* paging is off */
  put32(&g, 0x250000, 8);
  assert_int_equal(g.code_written, 0);
  assert_int_equal(get32(&g, PT), PAGE | ALL);
  guest_check(&g);
  use_legacy(&g, CR3);
  assert_int_equal(alive(&g, 0), 0);
  mmu_destroy(g.m);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(pte_edits_drop_exactly),
    cmocka_unit_test(pte_gains_drop_nothing),
    cmocka_unit_test(nx_drops_fetches),
    cmocka_unit_test(pde_edits),
    cmocka_unit_test(pde_edit_reaches_both_halves),
    cmocka_unit_test(page_table_is_traced),
    cmocka_unit_test(becoming_a_table_drops_writes),
    cmocka_unit_test(prefill_after_a_fault),
    cmocka_unit_test(two_linear_one_frame),
    cmocka_unit_test(a_thousand_aliases),
    cmocka_unit_test(code_trace_by_granules),
    cmocka_unit_test(claimed_for_dma),
    cmocka_unit_test(store_in_place),
    cmocka_unit_test(dma_into_a_page_table),
    cmocka_unit_test(table_reused_as_data_loses_its_trace),
    cmocka_unit_test(one_table_in_many_slots),
    cmocka_unit_test(directory_maps_itself),
    cmocka_unit_test(reset_forgets),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
