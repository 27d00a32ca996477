// link: bt_mmu
/* mmu/: address spaces, the pool, and the shared kernel half. */
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include "test_mmu.h"

enum { KERNEL = 0xc0000000u, KPT = 0x90000, USER = 0x08000000, ALL = RWU | A | D, SYS = P | W | A | D };

static uint32_t root(unsigned i) { return 0x100000 + i * 0x4000; }
static uint32_t user_pt(unsigned i) { return root(i) + 0x1000; }
static uint32_t user_page(unsigned i) { return root(i) + 0x2000; }

/* Roots that share a kernel page table (KERNEL) and a large page (KERNEL + 4 MiB), each with a user page of its own. */
static void make_roots(struct guest *g, unsigned count, unsigned pool) {
  guest_make(g, 16, pool);
  for (unsigned i = 0; i < 64; i++) set32(g, KPT + i * 4, (0x20000 + i * 0x1000) | SYS);
  for (unsigned i = 0; i < count; i++) {
    set32(g, root(i) + (USER >> 22) * 4, user_pt(i) | ALL);
    set32(g, user_pt(i), user_page(i) | ALL);
    set32(g, root(i) + 768 * 4, KPT | SYS);
    set32(g, root(i) + 769 * 4, 0x800000 | SYS | PS);
  }
}
static uint64_t counted(struct guest *g, unsigned what) {
  const struct mmu_counters *c = mmu_get_counters(g->m);
  const uint64_t values[] = {c->roots_new, c->roots_known, c->roots_recycled, c->unshared, c->walks};
  return values[what];
}
enum { NEW, KNOWN, RECYCLED, UNSHARED, WALKS };

static void known_root_needs_no_refill(void **state) {
  struct guest g;
  make_roots(&g, 2, 0);
  use_legacy(&g, root(0));
  uint64_t *first = mmu_table(g.cpu, true);
  touch(&g, USER, MMU_WRITE, true);
  use_legacy(&g, root(1));
  assert_ptr_not_equal(mmu_table(g.cpu, true), first);
  assert_false(entry(&g, true, MMU_READ, USER));
  touch(&g, USER, MMU_WRITE, true);
  uint64_t walks = counted(&g, WALKS);
  use_legacy(&g, root(0));
  assert_ptr_equal(mmu_table(g.cpu, true), first);
  assert_true(entry(&g, true, MMU_WRITE, USER));
  mmu_flush(g.cpu, true);
  mmu_invlpg(g.cpu, to_gla(USER));
  assert_true(entry(&g, true, MMU_WRITE, USER));
  assert_int_equal(counted(&g, WALKS), walks);
  assert_int_equal(counted(&g, KNOWN), 1);
  guest_check(&g);
  mmu_destroy(g.m);
}

static void mode_bits_make_another_space(void **state) {
  struct guest g;
  make_roots(&g, 1, 0);
  set32(&g, user_pt(0), user_page(0) | P | A | D);
  use_legacy(&g, root(0));
  assert_int_equal(faults(&g, USER, MMU_WRITE, false), 3);
  g.mode.wp = false;
  assert_true(guest_set_mode(&g, root(0)));
  assert_true(touch(&g, USER, MMU_WRITE, false).filled);
  assert_int_equal(faults(&g, USER, MMU_WRITE, true), 5 | 2);
  guest_check(&g);
  g.mode.wp = true;
  assert_true(guest_set_mode(&g, root(0)));
  assert_false(entry(&g, false, MMU_WRITE, USER));
  uint64_t made = counted(&g, NEW);
  assert_true(guest_set_mode(&g, root(0) | 0x18)); /* PWT and PCD change no walk */
  assert_int_equal(counted(&g, NEW), made);
  guest_check(&g);
  mmu_destroy(g.m);
}

static void edits_reach_spaces_that_are_away(void **state) {
  struct guest g;
  make_roots(&g, 2, 0);
  use_legacy(&g, root(0));
  touch(&g, USER, MMU_WRITE, true);
  touch(&g, USER, MMU_FETCH, true);
  uint32_t away = mmu_space(g.cpu);
  use_legacy(&g, root(1));
  assert_int_not_equal(mmu_space(g.cpu), away);
  guest_forget_calls(&g);
  put32(&g, user_pt(0), 0);
  assert_true(g.fetch_dropped == 1 && g.fetch_spaces[0] == away); /* told, and of which space */
  assert_true(g.data_dropped == 2 && g.data_spaces[0] == away && g.data_spaces[1] == away);
  use_legacy(&g, root(0));
  assert_int_equal(faults(&g, USER, MMU_READ, true), 4);
  guest_check(&g);
  mmu_destroy(g.m);
}

static void kernel_half_is_shared(void **state) {
  struct guest g;
  make_roots(&g, 2, 0);
  use_legacy(&g, root(0));
  touch(&g, KERNEL + 0x3000, MMU_WRITE, false);
  touch(&g, KERNEL + 0x3000, MMU_FETCH, false);
  touch(&g, KERNEL + 0x412000, MMU_WRITE, false);
  uint64_t walks = counted(&g, WALKS);
  use_legacy(&g, root(1));
  for (unsigned access = 0; access < 3; access++) assert_true(entry(&g, false, (enum mmu_access)access, KERNEL + 0x3000));
  assert_true(entry(&g, false, MMU_WRITE, KERNEL + 0x412000));
  assert_int_equal(counted(&g, WALKS), walks);
  guest_check(&g);
  guest_forget_calls(&g);
  put32(&g, KPT + 3 * 4, 0); /* for all of them at once */
  assert_int_equal(g.fetch_dropped, 1);
  assert_int_equal(g.fetch_spaces[0], MMU_SPACE_SHARED);
  assert_int_equal(g.data_dropped, 2);
  use_legacy(&g, root(0));
  assert_int_equal(faults(&g, KERNEL + 0x3000, MMU_READ, false), 0);
  guest_check(&g);
  mmu_destroy(g.m);
}

static void kernel_half_is_shared_pae(void **state) {
  struct guest g;
  guest_make(&g, 16, 0);
  for (unsigned i = 0; i < 2; i++) { /* two PDPTs, one kernel directory */
    set64(&g, 0x100000 + i * 32 + 24, 0x101000 | P);
    set64(&g, 0x100000 + i * 32, (0x102000 + i * 0x1000) | P);
  }
  set64(&g, 0x101000, KPT | SYS);
  set64(&g, KPT, 0x20000 | SYS | NX);
  use_pae(&g, 0x100000, true);
  touch(&g, KERNEL, MMU_WRITE, false);
  use_pae(&g, 0x100020, true);
  assert_true(entry(&g, false, MMU_WRITE, KERNEL));
  assert_int_equal(faults(&g, KERNEL, MMU_FETCH, false), 17);
  put64(&g, 0x101000, 0); /* the current one drops it at once, the other when it is back */
  assert_false(entry(&g, false, MMU_WRITE, KERNEL));
  use_pae(&g, 0x100000, true);
  assert_int_equal(faults(&g, KERNEL, MMU_READ, false), 0);
  guest_check(&g);
  mmu_destroy(g.m);
}

/* An entry whose A bit is clear does not agree: the first walk must set it. */
static void clear_accessed_bit_does_not_agree(void **state) {
  struct guest g;
  make_roots(&g, 2, 0);
  set32(&g, root(1) + 768 * 4, KPT | P | W);
  use_legacy(&g, root(0));
  touch(&g, KERNEL, MMU_READ, false);
  use_legacy(&g, root(1));
  assert_false(entry(&g, false, MMU_READ, KERNEL));
  touch(&g, KERNEL, MMU_READ, false);
  assert_int_equal(get32(&g, root(1) + 768 * 4), KPT | P | W | A);
  use_legacy(&g, root(0)); /* differs in D only, which means nothing there */
  assert_true(entry(&g, false, MMU_READ, KERNEL));
  guest_check(&g);
  mmu_destroy(g.m);
}

/* D of a large page belongs to the directory entry of each root. */
static void clear_dirty_bit_of_large_page_does_not_agree(void **state) {
  struct guest g;
  make_roots(&g, 3, 0);
  for (unsigned i = 0; i < 3; i++) set32(&g, root(i) + 769 * 4, 0x800000 | P | W | A | PS);
  use_legacy(&g, root(1));
  use_legacy(&g, root(0));
  touch(&g, KERNEL + 0x400000, MMU_READ, false);
  use_legacy(&g, root(1));
  assert_true(entry(&g, false, MMU_READ, KERNEL + 0x400000));
  use_legacy(&g, root(0));
  touch(&g, KERNEL + 0x400000, MMU_WRITE, false);
  for (unsigned i = 1; i < 3; i++) {
    use_legacy(&g, root(i));
    assert_false(entry(&g, false, MMU_WRITE, KERNEL + 0x400000));
    touch(&g, KERNEL + 0x400000, MMU_WRITE, false);
    assert_int_equal(get32(&g, root(i) + 769 * 4), 0x800000 | P | W | A | D | PS);
    guest_check(&g);
  }
  mmu_destroy(g.m);
}

/* Directories that disagree for good (a slot per process at the start of the half): contested a few times, then private. */
static void contested_slot_becomes_private(void **state) {
  struct guest g;
  make_roots(&g, 2, 0);
  set32(&g, root(1) + 768 * 4, 0x91000 | SYS);
  set32(&g, 0x91000, 0x60000 | SYS);
  use_legacy(&g, root(0));
  uint64_t before = counted(&g, UNSHARED), told = g.unshared;
  for (unsigned i = 0; i < 20; i++) {
    use_legacy(&g, root(i & 1));
    guest_check(&g);
    if (!entry(&g, false, MMU_FETCH, KERNEL)) assert_true(touch(&g, KERNEL, MMU_FETCH, false).filled);
    assert_int_equal(mmu_fetch_frame(entry(&g, false, MMU_FETCH, KERNEL)), i & 1 ? 0x60 : 0x20);
    if (!entry(&g, false, MMU_READ, KERNEL + 0x400000)) touch(&g, KERNEL + 0x400000, MMU_READ, false);
  }
  assert_int_equal(counted(&g, UNSHARED), before + 1);
  assert_int_equal(g.unshared, told + 1); /* once, when it happened */
  uint64_t walks = counted(&g, WALKS);
  for (unsigned i = 0; i < 10; i++) { /* both keep what they have now */
    guest_forget_calls(&g);
    uint32_t left = mmu_space(g.cpu);
    use_legacy(&g, root(i & 1));
    if (g.fetch_spaces[0] == MMU_SPACE_SHARED) left = MMU_SPACE_SHARED; /* one of the two may see the shared slot */
    assert_true(entry(&g, false, MMU_FETCH, KERNEL));
    assert_true(entry(&g, false, MMU_READ, KERNEL + 0x400000));
    /* left the view: chains must go */
    assert_true(g.fetch_dropped >= 1 && g.fetch_pages[0] == KERNEL >> 12 && g.fetch_spaces[0] == left);
  }
  assert_int_equal(counted(&g, WALKS), walks);
  put32(&g, 0x91000, 0);
  use_legacy(&g, root(0));
  assert_true(entry(&g, false, MMU_FETCH, KERNEL));
  use_legacy(&g, root(1));
  assert_int_equal(faults(&g, KERNEL, MMU_FETCH, false), 0);
  guest_check(&g);
  mmu_destroy(g.m);
}

/* As Linux does it: a new kernel directory entry appears in the current root, then in the others before they run. */
static void kernel_adds_an_entry(void **state) {
  struct guest g;
  make_roots(&g, 2, 0);
  set32(&g, 0x91000, 0x60000 | SYS);
  use_legacy(&g, root(1));
  use_legacy(&g, root(0));
  touch(&g, KERNEL, MMU_READ, false);
  assert_int_equal(faults(&g, KERNEL + 0x800000, MMU_READ, false), 0);
  put32(&g, root(0) + 770 * 4, 0x91000 | SYS);
  touch(&g, KERNEL + 0x800000, MMU_READ, false);
  put32(&g, root(1) + 770 * 4, 0x91000 | SYS);
  guest_check(&g);
  uint64_t walks = counted(&g, WALKS), unshared = counted(&g, UNSHARED);
  use_legacy(&g, root(1));
  assert_true(entry(&g, false, MMU_READ, KERNEL));
  assert_true(entry(&g, false, MMU_READ, KERNEL + 0x800000));
  assert_int_equal(counted(&g, WALKS), walks);
  put32(&g, root(1) + 770 * 4, 0);
  assert_false(entry(&g, false, MMU_READ, KERNEL + 0x800000));
  assert_int_equal(counted(&g, UNSHARED), unshared);
  guest_check(&g);
  mmu_destroy(g.m);
}

/* Directories that disagree everywhere: the half becomes private as a whole, and the host's mappings stay few. */
static void many_private_slots(void **state) {
  struct guest g;
  make_roots(&g, 3, 0);
  for (unsigned k = 0; k < 256; k++)
    for (unsigned i = 0; i < 3; i++) set32(&g, root(i) + (768 + k) * 4, ((k + i) % 4 << 22) | SYS | PS);
  for (unsigned round = 0; round < 9; round++) {
    use_legacy(&g, root(round % 3));
    for (unsigned k = 0; k < 256; k++)
      assert_int_equal(touch(&g, KERNEL + (k << 22), MMU_READ, false).addr.v, (k + round % 3) % 4 << 22);
    guest_check(&g);
  }
  uint64_t walks = counted(&g, WALKS);
  use_legacy(&g, root(0));
  assert_true(entry(&g, false, MMU_READ, KERNEL + (5 << 22)));
  assert_int_equal(counted(&g, WALKS), walks);
  mmu_destroy(g.m);
}

static void recycling_beyond_the_pool(void **state) {
  struct guest g;
  make_roots(&g, 40, 8);
  for (unsigned i = 0; i < 120; i++) {
    use_legacy(&g, root(i % 40));
    assert_false(entry(&g, true, MMU_READ, USER));
    assert_int_equal(touch(&g, USER, MMU_WRITE, true).addr.v, user_page(i % 40));
    touch(&g, KERNEL, MMU_READ, false);
    touch(&g, USER, MMU_FETCH, true);
    guest_check(&g);
  }
  assert_true(counted(&g, RECYCLED) >= 112);
  assert_int_equal(g.fetch_dropped, counted(&g, RECYCLED) - 1); /* one each, but for the one of the reset state */
  put32(&g, root(0), 0);                                        /* long forgotten: no trace */
  assert_int_equal(mmu_get_counters(g.m)->pt_writes, 0);
  mmu_destroy(g.m);
}

/* A process is gone and its directory becomes data. */
static void reused_directory_is_forgotten(void **state) {
  struct guest g;
  make_roots(&g, 2, 0);
  use_legacy(&g, root(0));
  touch(&g, USER, MMU_READ, true);
  use_legacy(&g, root(1));
  for (unsigned i = 0; i < 1024; i++) put32(&g, root(0) + i * 4, i << 12);
  assert_true(mmu_get_counters(g.m)->pt_writes < 100);
  guest_check(&g);
  uint64_t made = counted(&g, NEW);
  set32(&g, root(0) + (USER >> 22) * 4, user_pt(1) | ALL);
  use_legacy(&g, root(0));
  assert_int_equal(counted(&g, NEW), made + 1);
  assert_int_equal(touch(&g, USER, MMU_READ, true).addr.v, user_page(1));
  for (unsigned i = 0; i < 1024; i++) /* the current one is never forgotten */
    put32(&g, root(0) + i * 4, 0);
  assert_int_equal(faults(&g, USER, MMU_READ, true), 4);
  guest_check(&g);
  mmu_destroy(g.m);
}

static void paging_off_and_on_again(void **state) {
  struct guest g;
  make_roots(&g, 1, 0);
  use_legacy(&g, root(0));
  touch(&g, USER, MMU_WRITE, true);
  touch(&g, KERNEL, MMU_FETCH, false);
  for (unsigned i = 0; i < 3; i++) {
    guest_forget_calls(&g);
    g.mode.paging = false;
    assert_true(guest_set_mode(&g, root(0)));
    assert_true(g.fetch_dropped == 1 && g.fetch_spaces[0] == MMU_SPACE_SHARED);
    assert_false(entry(&g, false, MMU_FETCH, KERNEL));
    assert_int_equal(touch(&g, 0x1234, MMU_READ, false).addr.v, 0x1234);
    guest_check(&g);
    use_legacy(&g, root(0));
    assert_true(entry(&g, true, MMU_WRITE, USER));
    assert_true(entry(&g, false, MMU_FETCH, KERNEL));
    guest_check(&g);
  }
  mmu_destroy(g.m);
}

/* CR0.WP off and on: the shared half is of one mode; whoever loses that too often keeps its own. */
static void modes_contend_for_the_shared_half(void **state) {
  struct guest g;
  make_roots(&g, 2, 0);
  for (unsigned i = 0; i < 60; i++) {
    g.mode.wp = i & 1;
    use_legacy(&g, root(i / 2 % 2));
    touch(&g, KERNEL + 0x5000, MMU_WRITE, false);
    guest_check(&g);
  }
  uint64_t walks = counted(&g, WALKS);
  for (unsigned i = 0; i < 4; i++) {
    g.mode.wp = i & 1;
    use_legacy(&g, root(i / 2 % 2));
    assert_true(entry(&g, false, MMU_WRITE, KERNEL + 0x5000));
  }
  assert_int_equal(counted(&g, WALKS), walks);
  mmu_destroy(g.m);
}

/* With separate tables for user and kernel, the store that maps a faulting page comes under another root. */
static void prefill_for_the_root_that_faulted(void **state) {
  struct guest g;
  make_roots(&g, 2, 0);
  set32(&g, root(1) + (USER >> 22) * 4, user_pt(0) | ALL); /* both walk one user table */
  use_legacy(&g, root(1));
  touch(&g, USER, MMU_READ, true);
  use_legacy(&g, root(0));
  touch(&g, USER, MMU_READ, true);
  assert_int_equal(faults(&g, USER + 0x1000, MMU_WRITE, true), 6);
  use_legacy(&g, root(1));
  put32(&g, user_pt(0) + 4, 0x300000 | ALL);
  guest_check(&g);
  use_legacy(&g, root(0));
  assert_true(entry(&g, true, MMU_WRITE, USER + 0x1000));
  mmu_destroy(g.m);
}

/* Tables are host memory: a guest that touches everything under every root must not take all of it. */
static void tables_keep_to_their_budget(void **state) {
  struct guest g;
  make_roots(&g, 16, 16);
  for (unsigned i = 0; i < 16; i++) {
    for (unsigned k = 0; k < 768; k++) set32(&g, root(i) + k * 4, 0x400000 | ALL | PS);
    use_legacy(&g, root(i));
    for (unsigned k = 0; k < 1536; k++) touch(&g, k << 21, MMU_WRITE, true), touch(&g, k << 21, MMU_FETCH, true);
  }
  unsigned known = 0;
  for (unsigned i = 0; i < 16; i++) {
    uint64_t made = counted(&g, NEW);
    use_legacy(&g, root(i));
    known += counted(&g, NEW) == made;
  }
  assert_true(known > 0 && known < 8);
  guest_check(&g);
  mmu_destroy(g.m);
}

static void two_machines_in_one_process(void **state) {
  struct guest a, b;
  make_roots(&a, 1, 0);
  make_roots(&b, 1, 0);
  set32(&b, user_pt(0), (user_page(0) + 0x1000) | ALL);
  use_legacy(&a, root(0));
  use_legacy(&b, root(0));
  assert_int_equal(touch(&a, USER, MMU_READ, true).addr.v + 0x1000, touch(&b, USER, MMU_READ, true).addr.v);
  mmu_destroy(a.m);
  guest_check(&b);
  mmu_destroy(b.m);
}

/* The same where no memfd can have a size: ulimit -f 0, as for a process that may write no files. */
static int limit_files(rlim_t size) {
  struct rlimit limit;
  getrlimit(RLIMIT_FSIZE, &limit);
  limit.rlim_cur = size;
  return setrlimit(RLIMIT_FSIZE, &limit);
}
static int forbid_files(void **state) { return signal(SIGXFSZ, SIG_IGN) == SIG_ERR ? -1 : limit_files(0); }
static int allow_files(void **state) { return limit_files(RLIM_INFINITY); }

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(known_root_needs_no_refill),
    cmocka_unit_test(mode_bits_make_another_space),
    cmocka_unit_test(edits_reach_spaces_that_are_away),
    cmocka_unit_test(kernel_half_is_shared),
    cmocka_unit_test(kernel_half_is_shared_pae),
    cmocka_unit_test(clear_accessed_bit_does_not_agree),
    cmocka_unit_test(clear_dirty_bit_of_large_page_does_not_agree),
    cmocka_unit_test(contested_slot_becomes_private),
    cmocka_unit_test(kernel_adds_an_entry),
    cmocka_unit_test(many_private_slots),
    cmocka_unit_test(recycling_beyond_the_pool),
    cmocka_unit_test(reused_directory_is_forgotten),
    cmocka_unit_test(paging_off_and_on_again),
    cmocka_unit_test(modes_contend_for_the_shared_half),
    cmocka_unit_test(prefill_for_the_root_that_faulted),
    cmocka_unit_test(tables_keep_to_their_budget),
    cmocka_unit_test(two_machines_in_one_process),
  };
  const struct CMUnitTest without_memfd[] = {
    cmocka_unit_test(kernel_half_is_shared),
    cmocka_unit_test(kernel_half_is_shared_pae),
    cmocka_unit_test(contested_slot_becomes_private),
    cmocka_unit_test(many_private_slots),
    cmocka_unit_test(recycling_beyond_the_pool),
    cmocka_unit_test(paging_off_and_on_again),
    cmocka_unit_test(modes_contend_for_the_shared_half),
    cmocka_unit_test(two_machines_in_one_process),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  return failed + cmocka_run_group_tests(without_memfd, forbid_files, allow_files);
}
