/* Private to tcache/. */
#pragma once
#include "tcache.h"

enum { HASH_HEADS = 1 << 16, FRAMES = 1 << 20, PAGES = 1 << 20, UNBOUND = 0x7fffffff };

enum { CODE_MOST = 1 << 30, HUGE_PAGE = 2 << 20 };

enum { OPEN_RUNS = 8, SPARED = 8 };
struct tc_run {
  uint32_t from, to;
}; /* whole pages of code memory */

struct tcache {
  uint8_t *writable, *executable; /* the same where there is one mapping */
  bool single;
  struct tc_run open[OPEN_RUNS]; /* single: what is writable now, and so not executable */
  unsigned open_count;
  uint32_t size, used, stubs_end;
  uint32_t cold_start, cold_used;            /* hot code lies below cold_start, cold stubs from there to cold_used */
  uint64_t huge[CODE_MOST / HUGE_PAGE / 64]; /* huge pages of it that tcache_use() has seen */
  unsigned huge_pages;                       /* that the host gave */
  struct tr_stubs stubs;
  struct tc_block *blocks;
  struct tr_site *sites;
  struct insn *callouts;
  uint32_t block_count, block_max, site_count, site_max, callout_count, callout_max;
  uint32_t *hash;     /* HASH_HEADS: block index + 1 */
  uint32_t *by_frame; /* FRAMES: blocks read from the frame */
  uint32_t *by_page;  /* PAGES: blocks at the linear page */
  uint32_t generation;
  struct spared {
    uint32_t frame;     /* + 1; 0: none */
    uint64_t bytes[64]; /* a word for each granule, a bit for each byte */
  } spared[SPARED]; /* frames where a store between code was seen to kill nothing, by number: the bytes of their blocks, at least
                     */
  void (*died)(void *opaque, const struct tc_block *);
  void *opaque;
};

/* huge.c: the memory around `offset` comes into use. */
void tcache_use(struct tcache *t, uint32_t offset);
