/* A guest without a CPU, for the tests of mmu/: page tables built by hand, callbacks counted, and a slow walker written from the
 * manual (SDM vol. 3A, 4.3-4.8), independent of mmu/walk.c. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "../../mmu/mmu.h"

enum { P = 1, W = 2, U = 4, A = 32, D = 64, PS = 128, RWU = 7 };
#define NX (1ull << 63)

struct guest {
  struct mmu *m;
  struct mmu_cpu *cpu;
  struct mmu_mode mode;
  unsigned code_written, fetch_dropped, data_dropped, unshared, before_io;
  uint32_t code_frame;
  uint64_t code_granules;
  uint32_t fetch_pages[64], fetch_spaces[64];
  uint32_t data_pages[64], data_spaces[64];
  /* Where the bytes at an address are and whether stores get there, in the test's own opinion; NULL: not memory. No function:
   * main RAM, as it is at first. */
  uint8_t *(*where)(struct guest *g, uint64_t addr, bool *stores);
};

static inline void guest_code_written(void *opaque, uint32_t frame, uint64_t granules) {
  struct guest *g = opaque;
  g->code_written++;
  g->code_frame = frame;
  g->code_granules = granules;
}
static inline void guest_fetch_dropped(void *opaque, uint32_t space, uint32_t page) {
  struct guest *g = opaque;
  g->fetch_pages[g->fetch_dropped % 64] = page;
  g->fetch_spaces[g->fetch_dropped++ % 64] = space;
}
static inline void guest_data_dropped(void *opaque, uint32_t space, uint32_t page) {
  struct guest *g = opaque;
  g->data_pages[g->data_dropped % 64] = page;
  g->data_spaces[g->data_dropped++ % 64] = space;
}
static inline void guest_unshared(void *opaque) { ((struct guest *)opaque)->unshared++; }
static inline void guest_before_io(void *opaque) { ((struct guest *)opaque)->before_io++; }

static inline void guest_forget_calls(struct guest *g) {
  g->code_written = g->fetch_dropped = g->data_dropped = g->before_io = 0;
}

static inline void guest_make(struct guest *g, unsigned mib, unsigned pool) {
  const char *error = NULL;
  memset(g, 0, sizeof *g);
  g->mode.a20 = true;
  g->mode.wp = true;
  struct mmu_config config = {.ram_size = (uint64_t)mib << 20,
                              .pool = pool,
                              .opaque = g,
                              .code_written = guest_code_written,
                              .fetch_dropped = guest_fetch_dropped,
                              .data_dropped = guest_data_dropped,
                              .unshared = guest_unshared,
                              .before_io = guest_before_io};
  g->m = mmu_create(&config, &error);
  if (!g->m) fail_msg("mmu_create: %s", error);
  g->cpu = mmu_cpu(g->m, 0);
}

static inline void guest_check(struct guest *g) {
  const char *wrong = mmu_check(g->m);
  if (wrong) fail_msg("mmu_check: %s", wrong);
}

/* Guest memory as it is, without traces. */
static inline void *ram(struct guest *g, uint64_t addr) {
  void *p = mmu_ram_pointer(g->m, to_gpa(addr), 8);
  assert_non_null(p);
  return p;
}
static inline uint32_t get32(struct guest *g, uint64_t addr) { return *(uint32_t *)ram(g, addr); }
static inline uint64_t get64(struct guest *g, uint64_t addr) {
  uint64_t v;
  memcpy(&v, ram(g, addr), 8);
  return v;
}
/* Before the MMU knows of a table. */
static inline void set32(struct guest *g, uint64_t addr, uint32_t v) { *(uint32_t *)ram(g, addr) = v; }
static inline void set64(struct guest *g, uint64_t addr, uint64_t v) { *(uint64_t *)ram(g, addr) = v; }
/* Stores of the guest. */
static inline bool put32(struct guest *g, uint64_t addr, uint32_t v) { return mmu_phys_write(g->m, to_gpa(addr), &v, 4); }
static inline bool put64(struct guest *g, uint64_t addr, uint64_t v) { return mmu_phys_write(g->m, to_gpa(addr), &v, 8); }

static inline bool guest_set_mode(struct guest *g, uint32_t cr3) {
  g->mode.cr3 = cr3;
  return mmu_set_mode(g->cpu, &g->mode, true);
}
static inline void use_legacy(struct guest *g, uint32_t cr3) {
  g->mode.paging = g->mode.pse = true;
  g->mode.pae = g->mode.nx = false;
  assert_true(guest_set_mode(g, cr3));
}
static inline void use_pae(struct guest *g, uint32_t cr3, bool nx) {
  g->mode.paging = g->mode.pae = true;
  g->mode.nx = nx;
  assert_true(guest_set_mode(g, cr3));
}

/* What translated code would find. */
static inline uint64_t entry(struct guest *g, bool user, enum mmu_access access, uint32_t la) {
  return mmu_table(g->cpu, user)[access * (1u << 20) + (la >> 12)];
}
static inline struct mmu_result touch(struct guest *g, uint32_t la, enum mmu_access access, bool user) {
  struct mmu_result r;
  memset(&r, 0x5a, sizeof r);
  if (!mmu_translate(g->cpu, to_gla(la), access, user, &r)) fail_msg("page fault at %08x, error %x", la, r.error);
  return r;
}
/* The error code of the fault that the access must raise. */
static inline uint32_t faults(struct guest *g, uint32_t la, enum mmu_access access, bool user) {
  struct mmu_result r;
  memset(&r, 0x5a, sizeof r);
  assert_false(mmu_translate(g->cpu, to_gla(la), access, user, &r));
  assert_int_equal(entry(g, user, access, la), 0);
  return r.error;
}

/* ---- the slow walker ---- */

struct slow {
  bool fault;
  uint32_t error;
  uint64_t addr;
  uint64_t at[2], set[2]; /* entries that the access marks, and with which bits; at 0: none */
  unsigned width;
};

static inline uint64_t slow_entry(struct guest *g, uint64_t addr, unsigned width) {
  uint64_t v = ~0ull;
  bool stores;
  void *p = g->where ? g->where(g, addr, &stores) : mmu_ram_pointer(g->m, to_gpa(addr), width);
  if (p) memcpy(&v, p, width);
  return width == 4 ? (uint32_t)v : v;
}

static inline struct slow slow_walk(struct guest *g, const uint64_t pdpte[4], uint32_t la, enum mmu_access access, bool user) {
  const struct mmu_mode *mode = &g->mode;
  uint64_t a20 = mode->a20 ? ~0ull : ~(1ull << 20);
  struct slow r = {.width = mode->pae ? 8 : 4};
  if (!mode->paging) {
    r.addr = la & a20;
    return r;
  }
  uint64_t table = mode->pae ? pdpte[la >> 30] & 0xffffff000ull : mode->cr3 & 0xfffff000u;
  bool present = !mode->pae || (pdpte[la >> 30] & 1), reserved = false, can_user = true, can_write = true, no_exec = false;
  bool nx_works = mode->pae && mode->nx;
  for (int level = 1; present && level >= 0; level--) {
    unsigned shift = mode->pae ? 12 + 9 * level : 12 + 10 * level;
    unsigned index = la >> shift & (mode->pae ? 511 : 1023);
    uint64_t addr = (table & a20) + index * r.width, e = slow_entry(g, addr, r.width);
    if (!(e & P)) {
      present = false;
      break;
    }
    bool large = level == 1 && (e & PS) && (mode->pae || mode->pse);
    if (mode->pae && ((e & 0x7ffffff000000000ull) || (!nx_works && (e & NX)) || (large && (e & 0x1fe000)))) reserved = true;
    if (!mode->pae && large && (e & 0x3e0000)) reserved = true;
    if (reserved) break;
    can_user &= (e & U) != 0;
    can_write &= (e & W) != 0;
    no_exec |= mode->pae && (e & NX);
    bool leaf = level == 0 || large;
    r.at[level] = addr;
    r.set[level] = A | (leaf && access == MMU_WRITE ? D : 0);
    if (large) {
      if (mode->pae) r.addr = (e & 0xfffe00000ull) | (la & 0x1fffff);
      else r.addr = (e & 0xffc00000u) | (e >> 13 & 15) << 32 | (la & 0x3fffff);
      break;
    }
    table = mode->pae ? e & 0xffffff000ull : e & 0xfffff000u;
    if (leaf) r.addr = table | (la & 0xfff);
  }
  bool denied =
    (user && !can_user) || (access == MMU_WRITE && !can_write && (user || mode->wp)) || (access == MMU_FETCH && no_exec);
  r.addr &= a20;
  r.fault = !present || reserved || denied;
  r.error = (present ? 1 : 0) | (access == MMU_WRITE ? 2 : 0) | (user ? 4 : 0) | (reserved ? 8 : 0) |
            (access == MMU_FETCH && nx_works ? 16 : 0);
  return r;
}
