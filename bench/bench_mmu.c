// link: bt_mmu
/* What mmu/ costs, in TSC cycles: a store to a traced page table, a walk that fills, a switch of address space. The best of
 * several rounds, so that a busy machine matters little. No VM. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <x86intrin.h>
#include "../mmu/mmu.h"

enum {
  RAM_MIB = 64,
  P = 1,
  W = 2,
  U = 4,
  A = 32,
  D = 64,
  RWU = 7,
  AD = 96,
  ROUNDS = 9,
  PAGES = 512,
  KEPT = 1000 /* a page table entry that is walked between stores */
};

struct bench {
  struct mmu *m;
  struct mmu_cpu *cpu;
  struct mmu_mode mode;
};

static uint32_t *table(struct bench *b, uint32_t addr) { return mmu_ram_pointer(b->m, to_gpa(addr), 4096); }

static uint32_t root_of(unsigned i) { return 0x100000 + i * 0x4000; }
static uint32_t pt_of(unsigned i) { return root_of(i) + 0x1000; }
static void use_root(struct bench *b, unsigned i) {
  b->mode.cr3 = root_of(i);
  mmu_set_mode(b->cpu, &b->mode, true);
}

/* Root i: its own page table at 0x08000000, a common one at 0xc0000000. */
static void make_roots(struct bench *b, unsigned count) {
  for (unsigned i = 0; i < 1024; i++) table(b, 0x90000)[i] = i << 12 | P | W | A | D;
  for (unsigned i = 0; i < count; i++) {
    table(b, root_of(i))[32] = pt_of(i) | RWU | AD;
    table(b, root_of(i))[768] = 0x90000 | P | W | AD;
    table(b, pt_of(i))[KEPT] = 0x1200000 | RWU | AD;
    for (unsigned k = 0; k < PAGES; k++) table(b, pt_of(i))[k] = (0x1000000 + (k << 12)) | RWU | AD;
  }
}

static void touch(struct bench *b, uint32_t la, enum mmu_access access, bool user) {
  struct mmu_result r;
  mmu_translate(b->cpu, to_gla(la), access, user, &r);
}

static void put(struct bench *b, uint32_t addr, uint32_t value) { mmu_phys_write(b->m, to_gpa(addr), &value, 4); }

static uint64_t now(void) {
  unsigned aux;
  uint64_t t = __rdtscp(&aux);
  _mm_lfence();
  return t;
}

static void fill_pages(struct bench *b, enum mmu_access access) {
  for (unsigned k = 0; k < PAGES; k++) touch(b, 0x08000000 + (k << 12), access, true);
}

/* Keeps the page table's trace. */
static void walk_between(struct bench *b) { touch(b, 0x08000000 + (KEPT << 12), MMU_READ, true); }

static void drop_pages(struct bench *b) {
  for (unsigned k = 0; k < PAGES; k++) mmu_drop(b->cpu, to_gla(0x08000000 + (k << 12)));
}

/* ---- the rows: each returns cycles for PAGES operations; what is not measured happens outside of the two now() ---- */

static uint64_t fill_read(struct bench *b) {
  drop_pages(b);
  uint64_t t = now();
  fill_pages(b, MMU_READ);
  return now() - t;
}
static uint64_t fill_write(struct bench *b) {
  drop_pages(b);
  uint64_t t = now();
  fill_pages(b, MMU_WRITE);
  return now() - t;
}
static uint64_t fill_fetch(struct bench *b) {
  drop_pages(b);
  uint64_t t = now();
  fill_pages(b, MMU_FETCH);
  return now() - t;
}
static uint64_t fault_walk(struct bench *b) {
  uint64_t t = now();
  for (unsigned k = 0; k < PAGES; k++) touch(b, 0x0a000000 + (k << 12), MMU_READ, true);
  return now() - t;
}

/* PTE stores in runs of 32 with a walk between, so that the table keeps its trace. */
static uint64_t store_ptes(struct bench *b, uint32_t flags, uint32_t toggle, bool filled) {
  uint64_t cycles = 0;
  for (unsigned k = 0; k < PAGES; k++) put(b, pt_of(0) + k * 4, (0x1000000 + (k << 12)) | RWU | AD), walk_between(b);
  drop_pages(b);
  if (filled) fill_pages(b, MMU_WRITE);
  for (unsigned k = 0; k < PAGES; k += 32) {
    walk_between(b);
    uint64_t t = now();
    for (unsigned i = k; i < k + 32; i++) put(b, pt_of(0) + i * 4, ((0x1000000 + (i << 12)) | flags) ^ toggle);
    cycles += now() - t;
  }
  return cycles;
}
static uint64_t store_unused(struct bench *b) { return store_ptes(b, RWU | AD, A, false); }
static uint64_t store_clear(struct bench *b) { return store_ptes(b, 0, 0, true); }
static uint64_t store_protect(struct bench *b) { return store_ptes(b, RWU | AD, W, true); }

/* Demand paging: the fault, the kernel's store, and then no walk: only the store is timed. */
static uint64_t store_map(struct bench *b) {
  uint64_t cycles = 0;
  for (unsigned k = 0; k < PAGES; k++) put(b, pt_of(0) + k * 4, 0), walk_between(b);
  for (unsigned k = 1; k < PAGES; k++) {
    touch(b, 0x08000000 + (k << 12), MMU_WRITE, true);
    uint64_t t = now();
    put(b, pt_of(0) + k * 4, (0x1000000 + (k << 12)) | RWU | AD);
    cycles += now() - t;
  }
  return cycles;
}

static uint64_t switch_known(struct bench *b) {
  uint64_t t = now();
  for (unsigned k = 0; k < PAGES; k++) use_root(b, k & 7);
  uint64_t cycles = now() - t;
  use_root(b, 0);
  return cycles;
}

/* Roots beyond the pool, each with 16 entries to clear. */
static uint64_t switch_recycled(struct bench *b) {
  uint64_t cycles = 0;
  for (unsigned k = 0; k < PAGES; k++) {
    uint64_t t = now();
    use_root(b, 8 + k % 100);
    cycles += now() - t;
    for (unsigned i = 0; i < 8; i++) touch(b, 0x08000000 + (i << 12), MMU_WRITE, true);
  }
  use_root(b, 0);
  return cycles;
}

static uint64_t now_itself(struct bench *b) {
  uint64_t cycles = 0;
  for (unsigned k = 0; k < PAGES; k++) {
    uint64_t t = now();
    cycles += now() - t;
  }
  return cycles;
}

static void row(struct bench *b, const char *name, uint64_t (*run)(struct bench *)) {
  uint64_t best = ~0ull;
  for (unsigned i = 0; i < ROUNDS; i++) {
    uint64_t cycles = run(b);
    if (cycles < best) best = cycles;
  }
  printf("%-66s %6.0f\n", name, (double)best / PAGES);
}

int main(void) {
  const char *error;
  struct mmu_config config = {.ram_size = RAM_MIB << 20};
  struct bench b = {.mode = {.paging = true, .pse = true, .wp = true, .a20 = true}};
  b.m = mmu_create(&config, &error);
  if (!b.m) {
    fprintf(stderr, "bench_mmu: %s\n", error);
    return 1;
  }
  b.cpu = mmu_cpu(b.m, 0);
  memset(table(&b, 0x100000), 0, 0x4000 * 110);
  make_roots(&b, 108);
  use_root(&b, 0);
  printf("%-66s %6s\n", "", "cycles");
  row(&b, "walk that fills a read (and write) entry", fill_read);
  row(&b, "walk that fills a write entry", fill_write);
  row(&b, "walk that fills a fetch entry", fill_fetch);
  row(&b, "walk that ends in a page fault", fault_walk);
  row(&b, "PTE store: nothing derived (old entry unused)", store_unused);
  row(&b, "PTE store: unmaps a page with read and write entries", store_clear);
  row(&b, "PTE store: write-protects a page with read and write entries", store_protect);
  row(&b, "PTE store: maps the page that faulted (fills), with timing", store_map);
  row(&b, "MOV CR3 to a known address space", switch_known);
  row(&b, "MOV CR3 to a new one, recycling one with 16 entries, with timing", switch_recycled);
  row(&b, "(the timing itself)", now_itself);
  mmu_destroy(b.m);
  return 0;
}
