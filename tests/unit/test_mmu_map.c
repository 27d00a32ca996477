// link: bt_mmu
/* mmu/: the physical map. Areas of memory and windows of devices are added, moved, hidden, shown and removed; what derives from
 * them follows, and nothing else is lost. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
#include "test_mmu.h"

enum { CR3 = 0x100000, PT = 0x101000, LA = 0x08000000, ALL = RWU | A | D };
#define BAR 0xe0000000ull
#define OTHER_BAR 0xd0000000ull

static uint32_t value_at(struct guest *g, uint64_t addr) {
  uint32_t v;
  mmu_phys_read(g->m, to_gpa(addr), &v, 4);
  return v;
}

static struct mmu_area *memory(struct guest *g, uint64_t base, uint64_t size, unsigned flags) {
  struct mmu_area *a = mmu_add_memory(g->m, to_gpa(base), size, flags);
  assert_non_null(a);
  return a;
}

static uint32_t *bytes_of(struct guest *g, const struct mmu_area *a) { return mmu_frame_pointer(g->m, mmu_area_frame(a)); }

/* LA maps physical page `addr`, and LA + 4 KiB a page of RAM. */
static void map_page(struct guest *g, uint64_t addr) {
  set32(g, CR3 + (LA >> 22) * 4, PT | ALL);
  set32(g, PT, (uint32_t)addr | ALL);
  set32(g, PT + 4, 0x200000 | ALL);
  use_legacy(g, CR3);
}

static unsigned alive(struct guest *g, uint32_t la) {
  unsigned bits = 0;
  for (unsigned k = 0; k < 3; k++) bits |= (entry(g, false, (enum mmu_access)k, la) != 0) << k;
  return bits;
}

static void touch_all(struct guest *g, uint32_t la) {
  for (unsigned k = 0; k < 3; k++) touch(g, la, (enum mmu_access)k, false);
}

/* ---- memory ---- */

static void memory_is_zero_and_guarded(void **state) {
  struct guest g;
  int fds[2];
  guest_make(&g, 1, 0);
  struct mmu_area *a = memory(&g, BAR, 0x5000, 0), *b = memory(&g, OTHER_BAR, 100 /* a whole page */, 0);
  assert_int_equal(mmu_area_size(b), 0x1000);
  assert_int_equal(value_at(&g, BAR + 0x4ffc), 0);
  assert_int_equal(value_at(&g, BAR + 0x5000), 0xffffffff);
  put32(&g, BAR + 0x4ffc, 7);
  assert_int_equal(bytes_of(&g, a)[0x4ffc / 4], 7);
  assert_int_equal(pipe(fds), 0);
  for (const struct mmu_area *of = a; of; of = of == a ? b : NULL) {
    const char *start = (const char *)bytes_of(&g, of);
    assert_int_equal(write(fds[1], start, 1), 1);
    assert_int_equal(write(fds[1], start - 1, 1), -1); /* EFAULT */
    assert_int_equal(write(fds[1], start + mmu_area_size(of), 1), -1);
  }
  assert_int_equal(mmu_area_fd(a), -1);
  close(fds[0]), close(fds[1]);
  guest_check(&g);
  mmu_destroy(g.m);
}

static void shared_memory_is_a_file(void **state) {
  struct guest g;
  const char *error;
  guest_make(&g, 1, 0);
  struct mmu_area *a = memory(&g, BAR, 0x4000, MMU_SHARED);
  put32(&g, BAR + 0x3000, 0x1234);
  uint32_t *again = mmap(NULL, 0x4000, PROT_READ | PROT_WRITE, MAP_SHARED, mmu_area_fd(a), 0);
  assert_ptr_not_equal(again, MAP_FAILED);
  assert_int_equal(again[0x3000 / 4], 0x1234);
  again[1] = 5;
  assert_int_equal(value_at(&g, BAR + 4), 5);
  munmap(again, 0x4000);
  mmu_destroy(g.m);
  struct mmu_config config = {.ram_size = 1 << 20, .ram_shared = true};
  struct mmu *m = mmu_create(&config, &error);
  assert_non_null(m);
  uint32_t v = 77;
  mmu_dma_write(m, to_gpa(0x5000), &v, 4);
  v = 0;
  assert_int_equal(pread(mmu_area_fd(mmu_ram_area(m)), &v, 4, 0x5000), 4);
  assert_int_equal(v, 77);
  mmu_destroy(m);
}

/* mmu_share_ram(): the same bytes at the same addresses, now with a descriptor. */
static void ram_becomes_a_memfd_under_a_running_guest(void **state) {
  const char *error;
  struct mmu_config config = {.ram_size = 5 << 20};
  struct mmu *m = mmu_create(&config, &error);
  assert_non_null(m);
  uint8_t *ram = mmu_ram_pointer(m, to_gpa(0x100000), 0x1000), byte = 0;
  int fd = -1, again = -1;
  for (uint32_t at = 0; at < 5 << 20; at += 0x7001) {
    uint32_t value = at * 3 + 1;
    mmu_dma_write(m, to_gpa(at), &value, 4);
  }
  ram[5] = 0x55;
  assert_int_equal(mmu_area_fd(mmu_ram_area(m)), -1);
  assert_null(mmu_share_ram(m, &fd));
  assert_true(fd >= 0);
  assert_int_equal(mmu_area_fd(mmu_ram_area(m)), fd);
  assert_ptr_equal(mmu_ram_pointer(m, to_gpa(0x100000), 0x1000), ram);
  assert_int_equal(ram[5], 0x55);
  for (uint32_t at = 0; at < 5 << 20; at += 0x7001) {
    uint32_t value = 0, there = 0;
    if (at + 4 > 0xa0000 && at < 0xc0000) continue; /* not shown */
    assert_int_equal(pread(fd, &value, 4, at), 4);
    mmu_dma_read(m, to_gpa(at), &there, 4);
    assert_int_equal(there, at * 3 + 1);
    assert_int_equal(value, there);
  }
  ram[6] = 0x66;
  assert_int_equal(pread(fd, &byte, 1, 0x100006), 1);
  assert_int_equal(byte, 0x66);
  assert_null(mmu_share_ram(m, &again));
  assert_int_equal(again, fd);
  assert_null(mmu_check(m));
  mmu_destroy(m);
}

static void room_for_memory_is_bounded(void **state) {
  const char *error;
  struct mmu_config config = {.ram_size = 1 << 20, .more_memory = 1 << 20};
  struct mmu *m = mmu_create(&config, &error);
  struct mmu_area *a[64];
  unsigned n = 0;
  while (n < 64 && (a[n] = mmu_add_memory(m, to_gpa(BAR + n * 0x100000ull), 1 << 20, 0))) n++;
  assert_true(n >= 1 && n < 12); /* the guards' room may hold some more */
  assert_null(mmu_add_memory(m, to_gpa(0), 1ull << 40, 0));
  assert_null(mmu_add_memory(m, to_gpa(0), 0, 0));
  mmu_remove_area(m, a[0]);
  assert_non_null(mmu_add_memory(m, to_gpa(BAR), 1 << 20, 0));
  assert_null(mmu_check(m));
  mmu_destroy(m);
  config.more_memory = 4ull << 30;
  assert_null(mmu_create(&config, &error));
}

/* ---- moving ---- */

static void vram_moves(void **state) {
  struct guest g;
  guest_make(&g, 4, 0);
  struct mmu_area *vram = memory(&g, BAR, 16 << 20, MMU_LEVEL(MMU_LEVEL_IO));
  map_page(&g, BAR);
  touch_all(&g, LA);
  touch_all(&g, LA + 0x1000);
  assert_int_equal(mmu_fetch_frame(entry(&g, false, MMU_FETCH, LA)), mmu_area_frame(vram));
  mmu_trace_code(g.m, mmu_area_frame(vram), 1);
  put32(&g, BAR + 0x40, 99);
  guest_forget_calls(&g);
  mmu_move_area(g.m, vram, to_gpa(OTHER_BAR));
  assert_int_equal(alive(&g, LA), 0);
  assert_int_equal(alive(&g, LA + 0x1000), 7);
  assert_true(g.fetch_dropped == 1 && g.data_dropped == 1 && g.code_written == 0); /* its blocks live on */
  assert_int_equal(value_at(&g, BAR + 0x40), 0xffffffff);
  assert_int_equal(value_at(&g, OTHER_BAR + 0x40), 99);
  assert_int_equal(touch(&g, LA, MMU_WRITE, false).kind, MMU_NOTHING);
  guest_check(&g);
  put32(&g, PT, (uint32_t)OTHER_BAR | ALL);
  assert_true(touch(&g, LA, MMU_FETCH, false).filled);
  assert_false(touch(&g, LA, MMU_WRITE, false).filled); /* still traced */
  put32(&g, OTHER_BAR, 1);
  assert_int_equal(g.code_written, 1);
  mmu_move_area(g.m, vram, to_gpa(1ull << 36)); /* out of all that there is, and back */
  assert_int_equal(value_at(&g, OTHER_BAR + 0x40), 0xffffffff);
  mmu_move_area(g.m, vram, to_gpa((1ull << 36) - 0x1000));
  assert_int_equal(value_at(&g, (1ull << 36) - 0x1000), 1);
  mmu_move_area(g.m, vram, to_gpa(~0ull));
  mmu_move_area(g.m, vram, to_gpa(BAR));
  assert_int_equal(value_at(&g, BAR + 0x40), 99);
  guest_check(&g);
  mmu_destroy(g.m);
}

/* A BAR that is put over RAM hides it, and the RAM is as it was when it goes. */
static void bar_over_ram(void **state) {
  struct guest g;
  guest_make(&g, 4, 0);
  struct mmu_area *a = memory(&g, BAR, 0x1000, MMU_LEVEL(MMU_LEVEL_IO));
  map_page(&g, 0x300000);
  put32(&g, 0x300000, 3);
  touch_all(&g, LA);
  touch_all(&g, LA + 0x1000);
  mmu_move_area(g.m, a, to_gpa(0x300000));
  assert_int_equal(alive(&g, LA), 0);
  assert_int_equal(alive(&g, LA + 0x1000), 7);
  assert_int_equal(value_at(&g, 0x300000), 0);
  assert_ptr_equal(touch(&g, LA, MMU_WRITE, false).host, bytes_of(&g, a));
  put32(&g, 0x300000, 4);
  guest_check(&g);
  mmu_show_area(g.m, a, false);
  assert_int_equal(alive(&g, LA), 0);
  assert_int_equal(value_at(&g, 0x300000), 3);
  mmu_show_area(g.m, a, true);
  assert_int_equal(value_at(&g, 0x300000), 4);
  guest_check(&g);
  mmu_destroy(g.m);
}

/* The guest's page table, then its directory, lies in memory that moves. */
static void tables_in_memory_that_moves(void **state) {
  struct guest g;
  guest_make(&g, 4, 0);
  struct mmu_area *a = memory(&g, BAR, 0x2000, 0);
  bytes_of(&g, a)[0] = 0x200000 | ALL;
  map_page(&g, 0x201000);
  put32(&g, CR3 + (LA >> 22) * 4, (uint32_t)BAR | ALL);
  touch_all(&g, LA);
  put32(&g, BAR, 0x202000 | ALL); /* seen there */
  assert_int_equal(alive(&g, LA), 0);
  touch_all(&g, LA);
  guest_check(&g);
  mmu_move_area(g.m, a, to_gpa(OTHER_BAR));
  assert_int_equal(alive(&g, LA), 0);
  assert_int_equal(touch(&g, LA, MMU_READ, false).kind, MMU_NOTHING); /* a table of ones */
  put32(&g, OTHER_BAR, 0x203000 | ALL);
  guest_check(&g);
  put32(&g, OTHER_BAR + 0x1000 + (LA >> 22) * 4, PT | ALL);
  put32(&g, OTHER_BAR + 0x1000 + 768 * 4, PT | ALL);
  use_legacy(&g, (uint32_t)OTHER_BAR + 0x1000);
  touch_all(&g, LA);
  touch_all(&g, 0xc0000000);
  mmu_show_area(g.m, a, false);
  assert_int_equal(alive(&g, LA) | alive(&g, 0xc0000000), 0);
  assert_int_equal(faults(&g, LA, MMU_READ, false), 1 | 8);
  guest_check(&g);
  mmu_show_area(g.m, a, true);
  assert_int_equal(touch(&g, LA, MMU_READ, false).addr.v, 0x201000);
  put32(&g, OTHER_BAR + 0x1000 + (LA >> 22) * 4, 0); /* traced again */
  assert_int_equal(alive(&g, LA), 0);
  guest_check(&g);
  mmu_destroy(g.m);
}

/* A directory that is not the current one comes to lie elsewhere: it may see another kernel half than is shared. */
static void directory_moves_while_away(void **state) {
  struct guest g;
  guest_make(&g, 4, 0);
  struct mmu_area *a = memory(&g, BAR, 0x1000, 0), *b = memory(&g, OTHER_BAR, 0x1000, 0);
  set32(&g, PT, 0x200000 | ALL);
  set32(&g, PT + 0x1000, 0x201000 | ALL);
  set32(&g, CR3 + 768 * 4, PT | ALL);
  bytes_of(&g, a)[768] = PT | ALL;
  bytes_of(&g, b)[768] = (PT + 0x1000) | ALL;
  use_legacy(&g, (uint32_t)BAR);
  use_legacy(&g, CR3);
  touch_all(&g, 0xc0000000);
  use_legacy(&g, (uint32_t)BAR);
  use_legacy(&g, CR3);
  mmu_change_begin(g.m);
  mmu_move_area(g.m, a, to_gpa(OTHER_BAR));
  mmu_move_area(g.m, b, to_gpa(BAR));
  mmu_change_end(g.m);
  assert_int_equal(alive(&g, 0xc0000000), 7);
  use_legacy(&g, (uint32_t)BAR);
  guest_check(&g);
  assert_int_equal(touch(&g, 0xc0000000, MMU_READ, false).addr.v, 0x201000);
  mmu_destroy(g.m);
}

static void several_changes_are_one(void **state) {
  struct guest g;
  guest_make(&g, 1, 0);
  struct mmu_area *a = memory(&g, BAR, 0x1000, 0), *b = memory(&g, OTHER_BAR, 0x1000, 0);
  put32(&g, BAR, 1), put32(&g, OTHER_BAR, 2);
  uint64_t changes = mmu_get_counters(g.m)->map_changes;
  mmu_change_begin(g.m);
  mmu_move_area(g.m, a, to_gpa(OTHER_BAR));
  mmu_change_begin(g.m);
  mmu_move_area(g.m, b, to_gpa(BAR));
  mmu_change_end(g.m);
  mmu_change_end(g.m);
  assert_int_equal(mmu_get_counters(g.m)->map_changes, changes + 1);
  assert_int_equal(value_at(&g, BAR), 2);
  assert_int_equal(value_at(&g, OTHER_BAR), 1);
  mmu_move_area(g.m, a, to_gpa(OTHER_BAR)); /* where it is */
  mmu_show_area(g.m, a, true);
  mmu_change_begin(g.m);
  mmu_change_end(g.m);
  assert_int_equal(mmu_get_counters(g.m)->map_changes, changes + 1);
  guest_check(&g);
  mmu_destroy(g.m);
}

/* ---- aliases ---- */

struct io_log {
  struct guest *g;
  struct mmu_area *window;
  uint64_t to, offset;
  unsigned reads, writes;
};
static uint32_t log_read(void *opaque, uint64_t offset, unsigned size) {
  struct io_log *l = opaque;
  l->offset = offset;
  l->reads++;
  return 0x5aa55aa5;
}
static void log_write(void *opaque, uint64_t offset, unsigned size, uint32_t value) {
  struct io_log *l = opaque;
  l->offset = offset;
  l->writes++;
  if (l->to) mmu_move_area(l->g->m, l->window, to_gpa(l->to));
  l->to = 0;
}
static const struct mmu_io_ops log_ops = {log_read, log_write};

/* A0000h is a part of the VRAM, or registers, by turns. */
static void vga_window(void **state) {
  struct guest g;
  struct io_log log = {0};
  guest_make(&g, 1, 0);
  struct mmu_area *vram = memory(&g, BAR, 1 << 20, 0), *io = mmu_add_io(g.m, to_gpa(0xa0000), 0x20000, &log_ops, &log);
  struct mmu_area *window = mmu_add_alias(g.m, vram, 0x10000, 0x10000, to_gpa(0xa0000), MMU_HIDDEN);
  assert_int_equal(touch(&g, 0xa0000, MMU_READ, false).kind, MMU_IO);
  for (unsigned i = 0; i < 3; i++) {
    mmu_change_begin(g.m);
    mmu_show_area(g.m, io, false);
    mmu_show_area(g.m, window, true);
    mmu_change_end(g.m);
    touch_all(&g, 0xa1000);
    assert_int_equal(mmu_fetch_frame(entry(&g, false, MMU_FETCH, 0xa1000)), mmu_area_frame(vram) + 0x11);
    assert_int_equal(value_at(&g, 0xb0000), 0xffffffff);
    *(uint32_t *)touch(&g, 0xa1000, MMU_WRITE, false).host = 17 + i;
    assert_int_equal(value_at(&g, BAR + 0x11000), 17 + i);
    guest_check(&g);
    mmu_change_begin(g.m);
    mmu_show_area(g.m, io, true);
    mmu_show_area(g.m, window, false);
    mmu_change_end(g.m);
    assert_int_equal(alive(&g, 0xa1000), 0);
    assert_int_equal(value_at(&g, 0xa1000), 0x5aa55aa5);
    guest_check(&g);
  }
  mmu_destroy(g.m);
}

/* Frames are shared: a trace set through one place sees stores through the other. */
static void traces_work_through_aliases(void **state) {
  struct guest g;
  guest_make(&g, 4, 0);
  struct mmu_area *vram = memory(&g, BAR, 0x10000, 0);
  assert_non_null(mmu_add_alias(g.m, vram, 0x2000, 0x1000, to_gpa(0x300000), MMU_LEVEL(1)));
  map_page(&g, 0x300000);
  touch_all(&g, LA);
  mmu_trace_code(g.m, mmu_fetch_frame(entry(&g, false, MMU_FETCH, LA)), 2);
  assert_int_equal(alive(&g, LA), 5);
  assert_true(put32(&g, BAR + 0x2040, 1));
  assert_true(g.code_written == 1 && g.code_frame == mmu_area_frame(vram) + 2 && g.code_granules == 2);
  put32(&g, CR3 + (LA >> 22) * 4 + 4, 0x300000 | ALL); /* a page table by one address */
  put32(&g, BAR + 0x2004, 0x202000 | ALL);
  touch_all(&g, LA + 0x401000);
  put32(&g, BAR + 0x2004, 0x203000 | ALL); /* written by the other */
  assert_int_equal(alive(&g, LA + 0x401000), 0);
  assert_int_equal(touch(&g, LA + 0x401000, MMU_READ, false).addr.v, 0x203000);
  guest_check(&g);
  mmu_destroy(g.m);
}

static void bios_with_an_alias(void **state) {
  struct guest g;
  guest_make(&g, 2, 0);
  struct mmu_area *bios = memory(&g, 0xfffc0000, 0x40000, MMU_READ_ONLY);
  struct mmu_area *low = mmu_add_alias(g.m, bios, 0x20000, 0x20000, to_gpa(0xe0000), MMU_READ_ONLY | MMU_LEVEL(MMU_LEVEL_ROM));
  bytes_of(&g, bios)[0x3fff0 / 4] = 0xea;
  assert_int_equal(value_at(&g, 0xfffffff0), 0xea);
  assert_int_equal(value_at(&g, 0xffff0), 0xea);
  put32(&g, 0xffff0, 1);
  put32(&g, 0xfffffff0, 1);
  mmu_dma_write(g.m, to_gpa(0xffff0), &(uint32_t){2}, 4);
  assert_int_equal(value_at(&g, 0xffff0), 0xea);
  struct mmu_result r = touch(&g, 0xfffffff0, MMU_WRITE, false);
  assert_true(r.kind == MMU_ROM && !r.filled && r.host);
  touch_all(&g, 0xfffff000);
  touch_all(&g, 0xff000);
  assert_int_equal(alive(&g, 0xfffff000), 5);
  assert_true(entry(&g, false, MMU_FETCH, 0xff000) == entry(&g, false, MMU_FETCH, 0xfffff000)); /* one frame: one translation */
  guest_check(&g);
  mmu_remove_area(g.m, bios); /* takes what the alias shows with it */
  assert_int_equal(alive(&g, 0xff000) | alive(&g, 0xfffff000), 0);
  assert_int_equal(value_at(&g, 0xffff0), 0);
  mmu_show_area(g.m, low, true);
  assert_int_equal(value_at(&g, 0xffff0), 0);
  guest_check(&g);
  mmu_remove_area(g.m, low);
  mmu_destroy(g.m);
}

static void aliases_of_what_is_not_there(void **state) {
  struct guest g;
  struct io_log log = {0};
  guest_make(&g, 1, 0);
  struct mmu_area *a = memory(&g, BAR, 0x4000, 0), *io = mmu_add_io(g.m, to_gpa(OTHER_BAR), 0x1000, &log_ops, &log);
  assert_null(mmu_add_alias(g.m, a, 0x1000, 0x4000, to_gpa(0), 0));
  assert_null(mmu_add_alias(g.m, a, 0x5000, 0x1000, to_gpa(0), 0));
  assert_null(mmu_add_alias(g.m, a, 0x100, 0x1000, to_gpa(0), 0));
  assert_null(mmu_add_alias(g.m, a, 0, 0x800, to_gpa(0), 0));
  assert_null(mmu_add_alias(g.m, a, ~0xfffull, 0x2000, to_gpa(0), 0));
  assert_null(mmu_add_alias(g.m, io, 0, 0x1000, to_gpa(0), 0));
  assert_non_null(mmu_add_alias(g.m, a, 0x3000, 0x1000, to_gpa(OTHER_BAR + 0x1000), 0));
  assert_int_equal(value_at(&g, OTHER_BAR + 0x1000), 0);
  guest_check(&g);
  mmu_destroy(g.m);
}

/* Code that was read from an area dies with it, and its frames come again zeroed and without traces. */
static void removed_memory_takes_its_code_along(void **state) {
  struct guest g;
  guest_make(&g, 1, 0);
  struct mmu_area *a = memory(&g, BAR, 0x3000, 0);
  uint32_t frame = mmu_area_frame(a);
  put32(&g, BAR + 0x1000, 1);
  mmu_trace_code(g.m, frame + 1, 1);
  mmu_remove_area(g.m, a);
  assert_true(g.code_written == 1 && g.code_frame == frame + 1 && g.code_granules == ~0ull);
  assert_int_equal(value_at(&g, BAR + 0x1000), 0xffffffff);
  a = memory(&g, BAR, 0x3000, 0);
  assert_int_equal(mmu_area_frame(a), frame);
  assert_int_equal(value_at(&g, BAR + 0x1000), 0);
  put32(&g, BAR + 0x1000, 1);
  assert_int_equal(g.code_written, 1);
  guest_check(&g);
  mmu_destroy(g.m);
}

static void reset_keeps_areas(void **state) {
  struct guest g;
  guest_make(&g, 1, 0);
  struct mmu_area *a = memory(&g, BAR, 0x1000, 0);
  put32(&g, BAR, 5);
  mmu_trace_code(g.m, mmu_area_frame(a), 1);
  mmu_reset(g.m);
  put32(&g, BAR + 4, 6);
  assert_int_equal(g.code_written, 0);
  assert_int_equal(value_at(&g, BAR), 5);
  guest_check(&g);
  mmu_destroy(g.m);
}

/* ---- PAM: parts of RAM under a BIOS, each piece by itself ---- */

enum { PIECE = 0x4000, F0000 = 0xf0000 };
struct pam {
  struct guest g;
  struct mmu_area *bios, *rom, *shadow; /* of the piece at F0000h */
};

static void pam_make(struct pam *p) {
  guest_make(&p->g, 2, 0);
  p->bios = memory(&p->g, 0xfffc0000, 0x40000, MMU_READ_ONLY);
  p->rom = mmu_add_alias(p->g.m, p->bios, 0x30000, PIECE, to_gpa(F0000), MMU_READ_ONLY | MMU_LEVEL(MMU_LEVEL_ROM));
  p->shadow = mmu_add_alias(p->g.m, mmu_ram_area(p->g.m), F0000, PIECE, to_gpa(F0000),
                            MMU_READ_ONLY | MMU_HIDDEN | MMU_LEVEL(MMU_LEVEL_ROM + 1));
  bytes_of(&p->g, p->bios)[0x30000 / 4] = 0xb105;
  *(uint32_t *)mmu_ram_pointer(p->g.m, to_gpa(F0000), 4) = 0x4a4;
}

static void pam_set(struct pam *p, bool reads_ram, bool stores_to_ram) {
  mmu_change_begin(p->g.m);
  mmu_show_area(p->g.m, p->rom, !reads_ram);
  mmu_show_area(p->g.m, p->shadow, reads_ram && !stores_to_ram);
  mmu_set_area_stores(p->g.m, p->rom, stores_to_ram ? MMU_STORES_BELOW : MMU_STORES_DROPPED);
  mmu_change_end(p->g.m);
}

static void pam_reads_and_stores_by_themselves(void **state) {
  struct pam p;
  pam_make(&p);
  uint32_t *under = mmu_ram_pointer(p.g.m, to_gpa(F0000), 4);
  for (unsigned round = 0; round < 32; round++) { /* from each of the four to each, entries and all */
    bool reads = round & 1, stores = round & 2;
    pam_set(&p, round & 4, round & 8);
    touch_all(&p.g, F0000);
    pam_set(&p, reads, stores);
    guest_check(&p.g);
    *under = 0x4a4;
    assert_int_equal(value_at(&p.g, F0000), reads ? 0x4a4 : 0xb105);
    put32(&p.g, F0000, round);
    assert_int_equal(*under, stores ? round : 0x4a4);
    assert_int_equal(value_at(&p.g, F0000), !reads ? 0xb105 : stores ? round : 0x4a4);
    mmu_dma_write(p.g.m, to_gpa(F0000), &(uint32_t){100 + round}, 4);
    assert_int_equal(*under, stores ? 100 + round : 0x4a4);
    touch_all(&p.g, F0000);
    touch_all(&p.g, F0000 + PIECE); /* the next piece is RAM throughout */
    assert_int_equal(alive(&p.g, F0000), reads && stores ? 7 : 5);
    assert_int_equal(alive(&p.g, F0000 + PIECE), 7);
    assert_int_equal(touch(&p.g, F0000, MMU_WRITE, false).kind, reads && stores ? MMU_RAM : MMU_ROM);
    guest_check(&p.g);
  }
  mmu_destroy(p.g.m);
}

/* The BIOS copies itself by reading and writing one address; code that was translated from the RAM below dies. */
static void shadowing_kills_code_below(void **state) {
  struct pam p;
  pam_make(&p);
  pam_set(&p, false, true);
  mmu_trace_code(p.g.m, F0000 >> 12, 1);
  put32(&p.g, F0000, value_at(&p.g, F0000));
  assert_true(p.g.code_written == 1 && p.g.code_frame == F0000 >> 12);
  pam_set(&p, true, false);
  assert_int_equal(value_at(&p.g, F0000), 0xb105);
  assert_false(mmu_traced_store_begin(p.g.cpu, to_gpa(F0000), 4)); /* it would go nowhere */
  assert_false(mmu_traced_store_end(p.g.cpu, to_gpa(F0000), 4));
  guest_check(&p.g);
  mmu_destroy(p.g.m);
}

/* An accessed bit that would have to be stored in a ROM, or below it, is not kept: no entry may say so. */
static void tables_under_pam(void **state) {
  struct pam p;
  pam_make(&p);
  bytes_of(&p.g, p.bios)[0x30000 / 4] = 0x180000 | RWU;
  bytes_of(&p.g, p.bios)[0x30004 / 4] = 0x180000 | RWU | A;
  set32(&p.g, CR3 + (LA >> 22) * 4, F0000 | ALL);
  for (unsigned stores = 0; stores < 2; stores++) {
    pam_set(&p, false, stores);
    use_legacy(&p.g, CR3);
    assert_false(touch(&p.g, LA, MMU_READ, false).filled);
    assert_true(touch(&p.g, LA + 0x1000, MMU_READ, false).filled);
    assert_false(touch(&p.g, LA + 0x1000, MMU_WRITE, false).filled);
    assert_int_equal(value_at(&p.g, F0000), 0x180000 | RWU);
    guest_check(&p.g);
  }
  pam_set(&p, true, true); /* the table is another one now */
  assert_int_equal(alive(&p.g, LA + 0x1000), 0);
  guest_check(&p.g);
  mmu_destroy(p.g.m);
}

/* ---- windows ---- */

static void hundreds_of_windows(void **state) {
  enum { N = 300 };
  struct guest g;
  static struct io_log logs[N];
  static struct mmu_area *windows[N];
  guest_make(&g, 1, 0);
  memset(logs, 0, sizeof logs);
  for (unsigned i = 0; i < N; i++) {
    windows[i] = mmu_add_io(g.m, to_gpa(BAR + i * 0x40), 0x20, &log_ops, &logs[i]);
    assert_non_null(windows[i]);
  }
  for (unsigned i = 0; i < N; i++) {
    assert_int_equal(value_at(&g, BAR + i * 0x40 + 8), 0x5aa55aa5);
    assert_true(logs[i].reads == 1 && logs[i].offset == 8);
    assert_int_equal(value_at(&g, BAR + i * 0x40 + 0x20), 0xffffffff);
  }
  for (unsigned i = 0; i < N; i += 2) mmu_remove_area(g.m, windows[i]);
  for (unsigned i = 0; i < N; i++) assert_int_equal(value_at(&g, BAR + i * 0x40), i & 1 ? 0x5aa55aa5 : 0xffffffff);
  guest_check(&g);
  mmu_destroy(g.m);
}

static void windows_overlap_and_move(void **state) {
  struct guest g;
  struct io_log a = {0}, b = {0};
  guest_make(&g, 1, 0);
  struct mmu_area *big = mmu_add_io(g.m, to_gpa(BAR), 0x3000, &log_ops, &a);
  struct mmu_area *small = mmu_add_io(g.m, to_gpa(BAR + 0x1000), 0x1000, &log_ops, &b);
  value_at(&g, BAR + 0x1010);
  assert_true(b.reads == 1 && b.offset == 0x10 && a.reads == 0); /* the newer one */
  mmu_set_area_level(g.m, big, MMU_LEVEL_IO + 1);
  value_at(&g, BAR + 0x1010);
  assert_true(a.reads == 1 && a.offset == 0x1010 && b.reads == 1);
  mmu_move_area(g.m, big, to_gpa(OTHER_BAR));
  value_at(&g, BAR + 0x1010);
  value_at(&g, OTHER_BAR + 0x2000);
  assert_true(a.reads == 2 && a.offset == 0x2000 && b.reads == 2);
  assert_int_equal(mmu_area_base(big).v, OTHER_BAR);
  mmu_remove_io(g.m, mmu_area_base(small));
  assert_int_equal(value_at(&g, BAR + 0x1010), 0xffffffff);
  mmu_remove_io(g.m, to_gpa(BAR)); /* nothing there */
  guest_check(&g);
  mmu_destroy(g.m);
}

/* By the store that is just being done, whose rest goes to where the window is then. */
static void device_moves_its_own_window(void **state) {
  struct guest g;
  struct io_log log = {.g = &g, .to = 0x8000};
  guest_make(&g, 1, 0);
  log.window = mmu_add_io(g.m, to_gpa(BAR), 0x1000, &log_ops, &log);
  touch_all(&g, 0x8000);
  assert_true(mmu_phys_write(g.m, to_gpa(BAR + 8), &(uint64_t){1}, 8)); /* dropped */
  assert_int_equal(log.writes, 1);
  assert_int_equal(alive(&g, 0x8000), 0);
  put32(&g, 0x8004, 1);
  assert_true(log.writes == 2 && log.offset == 4);
  guest_check(&g);
  mmu_destroy(g.m);
}

/* Registers that do not fill their page: beside them is RAM, without entries, and with its traces. */
static void window_in_a_page_of_ram(void **state) {
  struct guest g;
  struct io_log log = {0};
  guest_make(&g, 1, 0);
  touch_all(&g, 0x8000);
  mmu_trace_code(g.m, 8, 1);
  struct mmu_area *io = mmu_add_io(g.m, to_gpa(0x8100), 0x10, &log_ops, &log);
  assert_int_equal(alive(&g, 0x8000), 0);
  assert_int_equal(touch(&g, 0x8000, MMU_WRITE, false).kind, MMU_IO);
  put32(&g, 0x8004, 3);
  assert_int_equal(g.code_written, 1);
  assert_int_equal(value_at(&g, 0x8004), 3);
  uint64_t both[4] = {1, 2, 3, 4};
  mmu_phys_write(g.m, to_gpa(0x80f8), both, 32);
  assert_int_equal(log.writes, 4);
  mmu_phys_read(g.m, to_gpa(0x80f8), both, 32);
  assert_true(both[0] == 1 && both[1] == 0x5aa55aa55aa55aa5 && both[3] == 4);
  uint8_t bytes[0x20];
  mmu_dma_read(g.m, to_gpa(0x80f8), bytes, sizeof bytes); /* devices do not talk to devices */
  assert_true(bytes[0] == 1 && bytes[8] == 0xff && bytes[0x18] == 4);
  guest_check(&g);
  mmu_remove_area(g.m, io);
  assert_true(touch(&g, 0x8000, MMU_READ, false).filled);
  guest_check(&g);
  mmu_destroy(g.m);
}

/* Registers below a ROM whose stores go there cut its page in two, though all of it is read as before: no entries. */
static void window_below_a_page_of_rom(void **state) {
  struct guest g;
  struct io_log log = {0};
  guest_make(&g, 1, 0);
  struct mmu_area *rom = memory(&g, 0x8000, 0x3000, MMU_LEVEL(MMU_LEVEL_ROM));
  struct mmu_area *io = mmu_add_io(g.m, to_gpa(0x9100), 0x10, &log_ops, &log);
  mmu_set_area_level(g.m, io, MMU_LEVEL_RAM + 1);
  for (unsigned round = 0; round < 4; round++) {
    mmu_show_area(g.m, io, round & 1);
    mmu_set_area_stores(g.m, rom, MMU_STORES_BELOW);
    for (unsigned page = 8; page < 11; page++) touch(&g, page << 12, MMU_READ, false), touch(&g, page << 12, MMU_FETCH, false);
    guest_check(&g);
    mmu_show_area(g.m, io, !(round & 1));
    guest_check(&g);
    assert_int_not_equal(alive(&g, 0x8000), 0);
    assert_int_not_equal(alive(&g, 0xa000), 0);
    assert_int_equal(alive(&g, 0x9000), 0);
  }
  put32(&g, 0x9100, 1);
  assert_int_equal(log.writes, 0);
  mmu_show_area(g.m, io, true);
  put32(&g, 0x9100, 1);
  assert_int_equal(log.writes, 1);
  mmu_destroy(g.m);
}

static void dma_crosses_areas(void **state) {
  struct guest g;
  uint8_t bytes[0x4000];
  guest_make(&g, 1, 0);
  struct mmu_area *a = memory(&g, BAR, 0x1000, 0), *b = memory(&g, BAR + 0x2000, 0x1000, MMU_READ_ONLY);
  memset(bytes, 7, sizeof bytes);
  mmu_dma_write(g.m, to_gpa(BAR - 0x800), bytes, sizeof bytes);
  assert_int_equal(bytes_of(&g, a)[0x3ff], 0x07070707);
  assert_int_equal(bytes_of(&g, b)[0], 0);
  bytes_of(&g, b)[0] = 9;
  mmu_dma_read(g.m, to_gpa(BAR - 0x800), bytes, sizeof bytes);
  assert_true(bytes[0] == 0xff && bytes[0x800] == 7 && bytes[0x1800] == 0xff && bytes[0x2800] == 9 && bytes[0x3800] == 0xff);
  mmu_destroy(g.m);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(memory_is_zero_and_guarded),
    cmocka_unit_test(shared_memory_is_a_file),
    cmocka_unit_test(ram_becomes_a_memfd_under_a_running_guest),
    cmocka_unit_test(room_for_memory_is_bounded),
    cmocka_unit_test(vram_moves),
    cmocka_unit_test(bar_over_ram),
    cmocka_unit_test(tables_in_memory_that_moves),
    cmocka_unit_test(directory_moves_while_away),
    cmocka_unit_test(several_changes_are_one),
    cmocka_unit_test(vga_window),
    cmocka_unit_test(traces_work_through_aliases),
    cmocka_unit_test(bios_with_an_alias),
    cmocka_unit_test(aliases_of_what_is_not_there),
    cmocka_unit_test(removed_memory_takes_its_code_along),
    cmocka_unit_test(reset_keeps_areas),
    cmocka_unit_test(pam_reads_and_stores_by_themselves),
    cmocka_unit_test(shadowing_kills_code_below),
    cmocka_unit_test(tables_under_pam),
    cmocka_unit_test(hundreds_of_windows),
    cmocka_unit_test(windows_overlap_and_move),
    cmocka_unit_test(device_moves_its_own_window),
    cmocka_unit_test(window_in_a_page_of_ram),
    cmocka_unit_test(window_below_a_page_of_rom),
    cmocka_unit_test(dma_crosses_areas),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
