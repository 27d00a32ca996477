// link: bt_mmu
/* mmu/: RAM, the physical map, walks, permissions, accessed and dirty bits, large pages. Run one: CMOCKA_TEST_FILTER=name (cmocka
 * 2) or edit main(). */
#include <stdio.h>
#include <sys/mman.h>
#include "test_mmu.h"

enum { CR3 = 0x100000, PT = 0x101000, PDPT = 0x110000, PD = 0x111000, PT_PAE = 0x112000, PAGE = 0x200000, LA = 0x08000000 };

/* One page at LA. */
static void legacy_page(struct guest *g, uint32_t pde_flags, uint32_t pte_flags) {
  set32(g, CR3 + (LA >> 22) * 4, PT | pde_flags);
  set32(g, PT, PAGE | pte_flags);
}
static void pae_page(struct guest *g, uint64_t pde_flags, uint64_t pte_flags) {
  set64(g, PDPT, PD | P);
  set64(g, PD + (LA >> 21) * 8, PT_PAE | pde_flags);
  set64(g, PT_PAE, PAGE | pte_flags);
}

/* ---- physical ---- */

static void create_refuses_bad_sizes(void **state) {
  const char *error;
  const uint64_t sizes[] = {0, 4096, (1 << 20) + 4096, (3ull << 30) + (1 << 20)};
  for (unsigned i = 0; i < 4; i++) {
    struct mmu_config config = {.ram_size = sizes[i]};
    error = NULL;
    assert_null(mmu_create(&config, &error));
    assert_non_null(error);
  }
  struct mmu_config config = {.ram_size = 3ull << 30};
  struct mmu *m = mmu_create(&config, &error); /* lazily allocated */
  assert_non_null(m);
  assert_true(mmu_ram_size(m) == 3ull << 30);
  mmu_destroy(m);
  mmu_destroy(NULL);
}

static void ram_pointer_is_one_run(void **state) {
  struct guest g;
  guest_make(&g, 2, 0);
  assert_non_null(mmu_ram_pointer(g.m, to_gpa(0), 0xa0000));
  assert_null(mmu_ram_pointer(g.m, to_gpa(0), 0xa0001));
  assert_null(mmu_ram_pointer(g.m, to_gpa(0xa0000), 1));
  assert_null(mmu_ram_pointer(g.m, to_gpa(0xbffff), 2));
  assert_non_null(mmu_ram_pointer(g.m, to_gpa(0xc0000), 0x140000));
  assert_null(mmu_ram_pointer(g.m, to_gpa(0xc0000), 0x140001));
  assert_null(mmu_ram_pointer(g.m, to_gpa(~0ull), 2));
  assert_null(mmu_ram_pointer(g.m, to_gpa(0x1000), ~0ull));
  mmu_destroy(g.m);
}

/* Tables and accesses at the host's huge pages: the guest's large pages are the host's. */
static void ram_is_aligned_to_huge_pages(void **state) {
  struct guest g;
  guest_make(&g, 3, 0);
  assert_int_equal((uintptr_t)mmu_ram_pointer(g.m, to_gpa(0), 1) % (2 << 20), 0);
  put32(&g, (3 << 20) - 4, 0xfeedface);
  assert_int_equal(*(uint32_t *)mmu_ram_pointer(g.m, to_gpa((3 << 20) - 4), 4), 0xfeedface);
  mmu_destroy(g.m);
}

struct io_log {
  uint64_t offset[8];
  unsigned size[8];
  uint32_t value[8];
  unsigned n;
};
static uint32_t log_read(void *opaque, uint64_t offset, unsigned size) {
  struct io_log *l = opaque;
  l->offset[l->n % 8] = offset;
  l->size[l->n++ % 8] = size;
  return 0x44332211;
}
static void log_write(void *opaque, uint64_t offset, unsigned size, uint32_t value) {
  struct io_log *l = opaque;
  l->offset[l->n % 8] = offset;
  l->value[l->n % 8] = value;
  l->size[l->n++ % 8] = size;
}
static const struct mmu_io_ops log_ops = {log_read, log_write};

static void io_in_aligned_pieces(void **state) {
  struct guest g;
  struct io_log log = {0};
  uint8_t bytes[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  guest_make(&g, 1, 0);
  mmu_add_io(g.m, to_gpa(0xfed00000), 0x1000, &log_ops, &log);
  mmu_phys_write(g.m, to_gpa(0xfed00003), bytes, 8); /* 1 at 3, 4 at 4, 2 at 8, 1 at 10 */
  assert_int_equal(log.n, 4);
  assert_int_equal(log.size[0], 1);
  assert_int_equal(log.size[1], 4);
  assert_int_equal(log.value[1], 0x05040302);
  assert_int_equal(log.size[2], 2);
  assert_int_equal(log.offset[3], 10);
  assert_int_equal(log.value[3], 8);
  assert_int_equal(g.before_io, 4);
  mmu_phys_read(g.m, to_gpa(0xfed00010), bytes, 4);
  assert_int_equal(bytes[3], 0x44);
  mmu_phys_read(g.m, to_gpa(0xfed01000), bytes, 4); /* beyond the window */
  assert_int_equal(bytes[0], 0xff);
  mmu_remove_io(g.m, to_gpa(0xfed00000));
  mmu_phys_read(g.m, to_gpa(0xfed00010), bytes, 4);
  assert_int_equal(bytes[3], 0xff);
  assert_int_equal(log.n, 5);
  assert_int_equal(mmu_get_counters(g.m)->io_writes, 4);
  mmu_destroy(g.m);
}

/* Nobody hands over an access that crosses a page; if one did, it must not leave RAM. */
static void crossing_stays_inside(void **state) {
  struct guest g;
  uint8_t bytes[16] = {1, 2, 3, 4, 5, 6, 7, 8};
  guest_make(&g, 1, 0);
  mmu_trace_code(g.m, 0x51, 1);
  assert_true(mmu_phys_write(g.m, to_gpa(0x50ffc), bytes, 8));
  assert_int_equal(g.code_frame, 0x51);
  mmu_phys_write(g.m, to_gpa(0xffffc), bytes, 16); /* beyond the end of RAM */
  mmu_phys_read(g.m, to_gpa(0xffffc), bytes, 16);
  assert_int_equal(bytes[3], 4);
  assert_int_equal(bytes[4], 0xff);
  mmu_destroy(g.m);
}

static void holes_read_as_ones(void **state) {
  struct guest g;
  struct mmu_result r;
  uint8_t bytes[8192];
  guest_make(&g, 1, 0);
  put32(&g, 0x9fffc, 0);
  mmu_dma_read(g.m, to_gpa(0x9fffc), bytes, 8);
  assert_int_equal(bytes[3], 0);
  assert_int_equal(bytes[4], 0xff);
  memset(bytes, 0, sizeof bytes);
  mmu_dma_write(g.m, to_gpa(0x9f800), bytes, sizeof bytes);
  mmu_phys_write(g.m, to_gpa(0xfffffff0), bytes, 4);
  mmu_phys_read(g.m, to_gpa(0xfffffff0), bytes, 4);
  assert_int_equal(bytes[0], 0xff);
  r = touch(&g, 0xa0000, MMU_READ, false);
  assert_int_equal(r.kind, MMU_NOTHING);
  assert_false(r.filled);
  assert_null(r.host);
  mmu_destroy(g.m);
}

/* The RAM there, as PAM has it: it takes no stores. */
static struct mmu_area *read_only(struct guest *g, uint64_t base, uint64_t size) {
  unsigned flags = MMU_READ_ONLY | MMU_LEVEL(MMU_LEVEL_ROM);
  struct mmu_area *a = mmu_add_alias(g->m, mmu_ram_area(g->m), base, size, to_gpa(base), flags);
  assert_non_null(a);
  return a;
}

static void rom_drops_writes(void **state) {
  struct guest g;
  struct mmu_result r;
  uint32_t v;
  guest_make(&g, 1, 0);
  touch(&g, 0xf0000, MMU_WRITE, false);
  assert_true(entry(&g, false, MMU_WRITE, 0xf0000));
  put32(&g, 0xf0000, 1);
  struct mmu_area *rom = read_only(&g, 0xf0000, 0x10000);
  assert_false(entry(&g, false, MMU_WRITE, 0xf0000));
  put32(&g, 0xf0000, 2);
  v = 3;
  mmu_dma_write(g.m, to_gpa(0xf0000), &v, 4);
  assert_int_equal(get32(&g, 0xf0000), 1);
  r = touch(&g, 0xf0010, MMU_WRITE, false);
  assert_int_equal(r.kind, MMU_ROM);
  assert_false(r.filled);
  assert_true(touch(&g, 0xf0010, MMU_FETCH, false).filled);
  guest_check(&g);
  mmu_remove_area(g.m, rom);
  assert_true(touch(&g, 0xf0010, MMU_WRITE, false).filled);
  guest_check(&g);
  mmu_destroy(g.m);
}

static void io_over_ram_and_gone(void **state) {
  struct guest g;
  struct io_log log = {0};
  guest_make(&g, 1, 0);
  touch(&g, 0x8000, MMU_READ, false);
  touch(&g, 0x8000, MMU_FETCH, false);
  touch(&g, 0xa0000, MMU_READ, false);
  mmu_add_io(g.m, to_gpa(0x8000), 0x1000, &log_ops, &log);
  assert_false(entry(&g, false, MMU_READ, 0x8000));
  assert_false(entry(&g, false, MMU_FETCH, 0x8000));
  assert_int_equal(g.fetch_dropped, 1);
  assert_int_equal(touch(&g, 0x8000, MMU_READ, false).kind, MMU_IO);
  mmu_add_io(g.m, to_gpa(0xa0000), 0x20000, &log_ops, &log);
  assert_int_equal(touch(&g, 0xa0000, MMU_READ, false).kind, MMU_IO);
  mmu_remove_io(g.m, to_gpa(0x8000));
  assert_int_equal(touch(&g, 0x8000, MMU_READ, false).kind, MMU_RAM);
  guest_check(&g);
  mmu_destroy(g.m);
}

/* ---- walks ---- */

static void paging_off_is_identity(void **state) {
  struct guest g;
  guest_make(&g, 2, 0);
  struct mmu_result r = touch(&g, 0x12345, MMU_WRITE, true);
  assert_int_equal(r.addr.v, 0x12345);
  assert_true(r.filled);
  assert_ptr_equal(r.host, ram(&g, 0x12345 & ~7) + 5);
  assert_true(entry(&g, true, MMU_READ, 0x12345)); /* a store's page is readable */
  assert_false(entry(&g, false, MMU_READ, 0x12345));
  assert_int_equal(mmu_fetch_frame((touch(&g, 0x12000, MMU_FETCH, false), entry(&g, false, MMU_FETCH, 0x12000))), 0x12);
  guest_check(&g);
  mmu_destroy(g.m);
}

static void a20_masks_bit_20(void **state) {
  struct guest g;
  guest_make(&g, 4, 0);
  g.mode.a20 = false;
  assert_true(guest_set_mode(&g, 0));
  assert_int_equal(touch(&g, 0x100010, MMU_READ, false).addr.v, 0x10);
  assert_int_equal(touch(&g, 0x300010, MMU_READ, false).addr.v, 0x200010);
  g.mode.a20 = true;
  assert_true(guest_set_mode(&g, 0));
  assert_false(entry(&g, false, MMU_READ, 0x100010));
  assert_int_equal(touch(&g, 0x100010, MMU_READ, false).addr.v, 0x100010);
  /* walks too: directory at 100000 is read at 0, its table 101000 at 1000 */
  g.mode.a20 = false;
  set32(&g, 0 + (LA >> 22) * 4, PT | RWU);
  set32(&g, 0x1000, 0x300000 | RWU);
  use_legacy(&g, CR3);
  assert_int_equal(touch(&g, LA, MMU_READ, false).addr.v, 0x200000);
  assert_int_equal(get32(&g, 0x1000), 0x300000 | RWU | A);
  guest_check(&g);
  mmu_destroy(g.m);
}

/* Every access with every combination of permissions, against the slow walker, for one mode. */
static void matrix(struct guest *g, bool pae, bool wp, bool nx) {
  const uint64_t pdpte[4] = {PD | P};
  unsigned fault_count = 0, fine_count = 0;
  for (unsigned bits = 0; bits < 64 * 3; bits++) {
    uint64_t pde = (bits & 1 ? W : 0) | (bits & 2 ? U : 0) | (bits >> 6 != 1 ? P : 0) | (pae && bits & 16 ? NX : 0);
    uint64_t pte = (bits & 4 ? W : 0) | (bits & 8 ? U : 0) | (bits >> 6 != 2 ? P : 0) | (pae && bits & 32 ? NX : 0);
    mmu_reset(g->m);
    g->mode.wp = wp;
    if (pae) {
      pae_page(g, pde, pte);
      use_pae(g, PDPT, nx);
    } else {
      legacy_page(g, (uint32_t)pde, (uint32_t)pte);
      use_legacy(g, CR3);
    }
    for (unsigned k = 0; k < 6; k++) {
      struct mmu_result r;
      uint32_t la = LA + 0x123;
      enum mmu_access access = (enum mmu_access)(k % 3);
      struct slow want = slow_walk(g, pdpte, la, access, k >= 3);
      assert_int_equal(mmu_peek(g->cpu, to_gla(la), access, k >= 3, &r), !want.fault);
      bool ok = mmu_translate(g->cpu, to_gla(la), access, k >= 3, &r);
      assert_int_equal(ok, !want.fault);
      if (ok) assert_int_equal(r.addr.v, want.addr);
      else assert_int_equal(r.error, want.error);
      ok ? fine_count++ : fault_count++;
    }
    guest_check(g);
  }
  assert_true(fine_count > 30 && fault_count > 300);
}

static void permission_matrix(void **state) {
  struct guest g;
  guest_make(&g, 4, 0);
  for (unsigned wp = 0; wp < 2; wp++) {
    matrix(&g, false, wp, false);
    matrix(&g, true, wp, false);
    matrix(&g, true, wp, true);
  }
  mmu_destroy(g.m);
}

/* The error codes written out, so that the slow walker is not the only witness. */
static void error_codes(void **state) {
  struct guest g;
  guest_make(&g, 4, 0);
  legacy_page(&g, P | U, P | W);
  use_legacy(&g, CR3);
  assert_int_equal(faults(&g, LA, MMU_READ, true), 1 | 4);
  assert_int_equal(faults(&g, LA, MMU_WRITE, false), 1 | 2); /* PDE read-only, WP */
  assert_int_equal(faults(&g, LA, MMU_WRITE, true), 1 | 2 | 4);
  assert_int_equal(faults(&g, LA + 0x1000, MMU_READ, false), 0);
  assert_int_equal(faults(&g, LA + 0x1000, MMU_WRITE, true), 2 | 4);
  assert_int_equal(faults(&g, LA + 0x1000, MMU_FETCH, true), 4); /* no I/D without NXE */
  pae_page(&g, P | W | U, P | W | U | NX);
  use_pae(&g, PDPT, true);
  assert_int_equal(faults(&g, LA, MMU_FETCH, true), 1 | 4 | 16);
  assert_int_equal(faults(&g, LA, MMU_FETCH, false), 1 | 16);
  assert_int_equal(faults(&g, LA + 0x1000, MMU_FETCH, false), 16);
  touch(&g, LA, MMU_WRITE, true);
  use_pae(&g, PDPT, false); /* NX is a reserved bit now */
  assert_int_equal(faults(&g, LA, MMU_READ, true), 1 | 4 | 8);
  assert_int_equal(faults(&g, LA, MMU_FETCH, false), 1 | 8);
  assert_int_equal(faults(&g, 0x40000000, MMU_WRITE, false), 2); /* absent PDPTE */
  assert_int_equal(mmu_get_counters(g.m)->faults, 12);
  mmu_destroy(g.m);
}

static void accessed_and_dirty(void **state) {
  struct guest g;
  struct mmu_result r;
  guest_make(&g, 4, 0);
  legacy_page(&g, P | W, P | W | U);
  use_legacy(&g, CR3);
  faults(&g, LA, MMU_READ, true); /* a fault marks nothing */
  assert_true(mmu_peek(g.cpu, to_gla(LA), MMU_WRITE, false, &r));
  assert_int_equal(get32(&g, CR3 + (LA >> 22) * 4), PT | P | W);
  assert_int_equal(get32(&g, PT), PAGE | RWU);
  touch(&g, LA, MMU_READ, false);
  assert_int_equal(get32(&g, CR3 + (LA >> 22) * 4), PT | P | W | A);
  assert_int_equal(get32(&g, PT), PAGE | RWU | A);
  assert_true(entry(&g, false, MMU_READ, LA));
  assert_false(entry(&g, false, MMU_WRITE, LA)); /* D must be set by the store's own walk */
  assert_true(touch(&g, LA, MMU_WRITE, false).filled);
  assert_int_equal(get32(&g, PT), PAGE | RWU | A | D);
  assert_int_equal(get32(&g, CR3 + (LA >> 22) * 4), PT | P | W | A);
  mmu_drop(g.cpu, to_gla(LA));
  assert_false(entry(&g, false, MMU_READ, LA));
  touch(&g, LA, MMU_READ, false); /* dirty already: a load fills both */
  assert_true(entry(&g, false, MMU_WRITE, LA));
  guest_check(&g);
  mmu_destroy(g.m);
}

static void large_pages(void **state) {
  struct guest g;
  guest_make(&g, 16, 0);
  set32(&g, CR3 + (LA >> 22) * 4, 0x400000 | RWU | PS);
  use_legacy(&g, CR3);
  assert_int_equal(touch(&g, LA + 0x234567, MMU_READ, true).addr.v, 0x634567);
  assert_int_equal(get32(&g, CR3 + (LA >> 22) * 4), 0x400000 | RWU | PS | A);
  assert_false(entry(&g, true, MMU_READ, LA)); /* 4 KiB at a time */
  touch(&g, LA + 0x1000, MMU_WRITE, true);
  assert_int_equal(get32(&g, CR3 + (LA >> 22) * 4), 0x400000 | RWU | PS | A | D);
  guest_check(&g);
  put32(&g, CR3 + (LA >> 22) * 4, 0x400000 | RWU | PS | A | D | 1 << 21); /* reserved */
  assert_false(entry(&g, true, MMU_READ, LA + 0x234567));
  assert_int_equal(faults(&g, LA, MMU_READ, false), 1 | 8);
  put32(&g, CR3 + (LA >> 22) * 4, 0x400000 | RWU | PS | 3 << 13); /* PSE-36: beyond RAM */
  assert_int_equal(touch(&g, LA + 5, MMU_READ, false).addr.v, 0x300400005ull);
  g.mode.pse = false; /* the same bits are a page table now */
  set32(&g, 0x406000, 0x300000 | RWU);
  put32(&g, CR3 + (LA >> 22) * 4, 0x406000 | RWU | PS);
  assert_true(guest_set_mode(&g, CR3));
  assert_int_equal(touch(&g, LA, MMU_READ, false).addr.v, 0x300000);
  guest_check(&g);
  mmu_destroy(g.m);
}

static void large_pages_pae(void **state) {
  struct guest g;
  guest_make(&g, 16, 0);
  pae_page(&g, 0, 0);
  set64(&g, PD + (LA >> 21) * 8, 0x600000 | P | U | PS); /* PAE needs no CR4.PSE */
  set64(&g, PD + (LA >> 21) * 8 + 8, 0x600000 | P | U | PS | 1 << 13);
  use_pae(&g, PDPT, true);
  assert_int_equal(touch(&g, LA + 0x1ff004, MMU_READ, true).addr.v, 0x7ff004);
  assert_int_equal(faults(&g, LA + 4, MMU_WRITE, true), 7);
  assert_int_equal(faults(&g, LA + 0x200000, MMU_READ, true), 1 | 4 | 8);
  guest_check(&g);
  mmu_destroy(g.m);
}

static void pdptes_are_registers(void **state) {
  struct guest g;
  guest_make(&g, 4, 0);
  pae_page(&g, RWU, RWU);
  use_pae(&g, PDPT, false);
  touch(&g, LA, MMU_READ, true);
  put64(&g, PDPT, 0); /* not seen before the next load */
  assert_true(entry(&g, true, MMU_READ, LA));
  assert_true(mmu_set_mode(g.cpu, &g.mode, false));
  assert_true(entry(&g, true, MMU_READ, LA));
  assert_true(mmu_set_mode(g.cpu, &g.mode, true));
  assert_int_equal(faults(&g, LA, MMU_READ, true), 4);
  const uint64_t reserved[] = {2, 4, 0x20, 0x100, 1ull << 36, NX};
  for (unsigned i = 0; i < 6; i++) {
    put64(&g, PDPT + 8, PD | P | reserved[i]);
    assert_false(mmu_set_mode(g.cpu, &g.mode, true)); /* and nothing is changed */
    put64(&g, PDPT + 8, PD | reserved[i]);            /* not present: ignored */
    assert_true(mmu_set_mode(g.cpu, &g.mode, true));
  }
  g.mode.cr3 = 0xfffff000; /* not memory: all ones */
  assert_false(mmu_set_mode(g.cpu, &g.mode, true));
  guest_check(&g);
  mmu_destroy(g.m);
}

static void tables_outside_of_memory(void **state) {
  struct guest g;
  guest_make(&g, 4, 0);
  use_legacy(&g, 0xfffff000); /* every entry all ones: a 4 MiB page with reserved bits set */
  assert_int_equal(faults(&g, LA, MMU_WRITE, true), 1 | 2 | 4 | 8);
  g.mode.pse = false; /* ... or a table that is not there either */
  assert_true(guest_set_mode(&g, 0xfffff000));
  struct mmu_result r = touch(&g, LA, MMU_WRITE, true);
  assert_int_equal(r.kind, MMU_NOTHING);
  set32(&g, CR3, 0xa0000 | RWU); /* a page table in the hole */
  set32(&g, CR3 + 4, 0xffc00000 | RWU | PS);
  use_legacy(&g, CR3);
  assert_false(touch(&g, 0x1000, MMU_READ, true).filled);
  assert_int_equal(touch(&g, 0x400000, MMU_READ, true).addr.v, 0xffc00000);
  guest_check(&g);
  mmu_destroy(g.m);
}

/* D cannot be stored in ROM: the access happens, but no entry may say that it was marked. */
static void tables_in_rom(void **state) {
  struct guest g;
  guest_make(&g, 4, 0);
  set32(&g, CR3 + (LA >> 22) * 4, 0xf0000 | RWU);
  set32(&g, 0xf0000, PAGE | RWU);
  set32(&g, 0xf0004, PAGE | RWU | A);
  read_only(&g, 0xf0000, 0x1000);
  use_legacy(&g, CR3);
  assert_false(touch(&g, LA, MMU_READ, true).filled);
  assert_true(touch(&g, LA + 0x1000, MMU_READ, true).filled);
  assert_false(touch(&g, LA + 0x1000, MMU_WRITE, true).filled);
  assert_int_equal(get32(&g, 0xf0000), PAGE | RWU);
  guest_check(&g);
  mmu_destroy(g.m);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(create_refuses_bad_sizes),
    cmocka_unit_test(ram_pointer_is_one_run),
    cmocka_unit_test(ram_is_aligned_to_huge_pages),
    cmocka_unit_test(io_in_aligned_pieces),
    cmocka_unit_test(crossing_stays_inside),
    cmocka_unit_test(holes_read_as_ones),
    cmocka_unit_test(rom_drops_writes),
    cmocka_unit_test(io_over_ram_and_gone),
    cmocka_unit_test(paging_off_is_identity),
    cmocka_unit_test(a20_masks_bit_20),
    cmocka_unit_test(permission_matrix),
    cmocka_unit_test(error_codes),
    cmocka_unit_test(accessed_and_dirty),
    cmocka_unit_test(large_pages),
    cmocka_unit_test(large_pages_pae),
    cmocka_unit_test(pdptes_are_registers),
    cmocka_unit_test(tables_outside_of_memory),
    cmocka_unit_test(tables_in_rom),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
