/* The trace cache: code memory, blocks and their lookup, chaining, invalidation, and the map from host code back to the guest
 * (D4).
 *
 * I3: code memory is one memfd mapped twice, writable here and executable there, or one private mapping whose pages are either
 * (protect.c). It has a part for hot code and one for cold stubs; space in each is given out upwards; a dead block's space comes
 * back when everything is flushed. All but tcache_create/destroy may run while the guest's x87/SSE state is live. One thread uses
 * it (D11). */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "../translator/translator.h"

/* What a block depends on (D4). There is room for the EIP of 64-bit code. */
struct tc_key {
  uint64_t eip, mode;
  uint32_t frame, cs_base, cs_limit;
};

struct tc_block {
  struct tc_key key;
  uint32_t frame2;          /* of its second bytes, + 1: the last ones of a straddling block, or an inlined thunk's; else 0 */
  uint32_t code, code_size; /* code-memory offset and bytes */
  uint32_t cold, cold_size; /* of its cold stubs */
  uint32_t entry;
  uint32_t first_site, first_callout;
  uint32_t next_hash, next_frame, next_frame2, next_page; /* block index + 1 */
  uint32_t incoming;                                      /* sites chained to it: number + 1 */
  uint16_t site_count, guest_size, insns;
  uint16_t second_at, second_size; /* in the page: of the second bytes */
  bool dead;
};

struct tcache;
/* NULL and *error (a literal) without memory. single: one mapping, whose pages are writable or executable; without, that is what
 * becomes of hosts on which two cannot be had or do not show each other's changes. `died` is told of each block that dies before
 * it does; NULL in tests. */
struct tcache *tcache_create(uint64_t code_size, bool single, void (*died)(void *opaque, const struct tc_block *), void *opaque,
                             const char **error);
void tcache_destroy(struct tcache *t);
const struct tr_stubs *tcache_stubs(const struct tcache *t);
/* C address to call or enter (or read) for a code-memory offset, and back (0: not code memory). */
const void *tcache_address(const struct tcache *t, uint32_t offset);
uint32_t tcache_offset(const struct tcache *t, uint64_t address);

/* Where `size` bytes at `offset` can be written, until tcache_close(), which comes before code is entered. */
uint8_t *tcache_writable(struct tcache *t, uint32_t offset, uint32_t size);
void tcache_close(struct tcache *t);

struct tc_block *tcache_find(struct tcache *t, struct tc_key key);
/* The blocks read from a frame, one after the other: behind `previous`, or the first (NULL). NULL: there are no more. */
const struct tc_block *tcache_frame_block(const struct tcache *t, uint32_t frame, const struct tc_block *previous);
/* Prepares a request's output side (code, cold, their offsets, first_site, sites, callouts). False: full, flush first. */
bool tcache_begin(struct tcache *t, struct tr_request *request);
/* Takes what tr_translate() put there. frame2: frame + 1 of a straddling block's second page, or of the inlined thunk; else 0. */
struct tc_block *tcache_commit(struct tcache *t, const struct tr_request *request, const struct tr_result *result,
                               struct tc_key key, uint32_t frame2);
/* Which granules of the frame the block was read from. */
uint64_t tcache_granules(const struct tc_block *b, uint32_t frame);
/* Room for a bounce thunk (TR_THUNK_SIZE bytes); 0: full. */
uint32_t tcache_thunk_space(struct tcache *t);

struct tr_site *tcache_site(struct tcache *t, uint32_t number);
struct tc_block *tcache_site_block(struct tcache *t, const struct tr_site *site);
const struct insn *tcache_callout(struct tcache *t, uint32_t number);
/* Chains a JUMP or PLAIN site to `to`: from now on it goes there without the dispatcher. */
void tcache_chain(struct tcache *t, uint32_t site, struct tc_block *to);
/* An INDIRECT site that compares: from now on it expects `to` (unless it expects another block already), and looks other targets
 * up. NULL: looks all of them up. */
void tcache_expect(struct tcache *t, uint32_t site, struct tc_block *to);
/* The block whose code contains a code-memory offset, or NULL. */
struct tc_block *tcache_block_at(struct tcache *t, uint32_t offset);
/* The SAFEPOINT, FAULT or MIRROR site at exactly that host instruction, or NULL. */
struct tr_site *tcache_site_at(struct tcache *t, uint32_t offset);

/* ---- the ways in which blocks die ---- */
/* Blocks read from these granules of a frame; *left: granules of the blocks that stay. Returns how many died. */
unsigned tcache_kill_granules(struct tcache *t, uint32_t frame, uint64_t granules, uint64_t *left);
/* Only those read from these very bytes; *left may have more then. */
unsigned tcache_kill_bytes(struct tcache *t, uint32_t frame, uint32_t offset, uint32_t size, uint64_t *left);
/* jumps into blocks of that linear page come to the dispatcher again */
void tcache_unchain_page(struct tcache *t, uint32_t page);
void tcache_unchain_all(struct tcache *t);
/* Everything; `frame` is told of every frame that had blocks. */
void tcache_flush(struct tcache *t, void (*frame)(void *opaque, uint32_t frame), void *opaque);

uint32_t tcache_generation(const struct tcache *t); /* flushes so far */
uint32_t tcache_block_count(const struct tcache *t);
struct tc_block *tcache_block(struct tcache *t, uint32_t index);
uint64_t tcache_code_used(const struct tcache *t);
static inline bool tc_straddles(const struct tc_block *b) {
  return (((uint32_t)b->key.eip + b->key.cs_base) & 4095) + b->guest_size > 4096;
}
static inline uint64_t tc_granules(uint32_t offset_in_page, uint32_t size) { /* of bytes within one page */
  unsigned first = offset_in_page >> 6, last = (offset_in_page + size - 1) >> 6;
  return (~0ull >> (63 - (last - first))) << first;
}
