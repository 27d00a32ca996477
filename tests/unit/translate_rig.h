/* One call of tr_translate() with its inputs and outputs fenced in: unreadable pages lie right behind the guest's bytes, the
 * code, the sites and the callouts, so that one byte too many is a crash. And the host code as Zydis sees it. For test_expect.c
 * and translate_check.h. */
#pragma once
#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <Zydis/Zydis.h>
#include "translator/host.h"
#include "translator/translator.h"

enum { RIG_OFFSET = 0x12340, RIG_FIRST_SITE = 7000, RIG_EIP = 0x401000 };
enum { RIG_COLD = 3 * TR_MAX_CODE }; /* the cold stubs' offset from the hot code; host offsets below count from the hot code on */
#define RIG_FLAT_SEGMENTS (0x555u << TR_SEG_SHIFT) /* TR_SEG_FLAT six times */
#define RIG_FLAT (TR_CODE32 | TR_STACK32 | TR_CS_FLAT | TR_IOPL_OK | TR_OSFXSR | RIG_FLAT_SEGMENTS)

struct fence {
  uint8_t *at;
  size_t size;
}; /* `size` bytes that end at an unreadable page */
static inline struct fence fence_make(size_t size) {
  size_t pages = (size + 4095) & ~(size_t)4095;
  uint8_t *p = mmap(NULL, pages + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED || mprotect(p + pages, 4096, PROT_NONE) != 0) abort();
  return (struct fence){p + pages - size, size};
}

struct translation {
  struct fence bytes, code, cold, sites, callouts;
  struct tr_request rq;
  struct tr_result r;
};

static inline void translation_make(struct translation *t) {
  *t = (struct translation){.bytes = fence_make(4096),
                            .sites = fence_make(TR_MAX_SITES * sizeof(struct tr_site)),
                            .callouts = fence_make(TR_MAX_INSNS * sizeof(struct insn))};
  t->cold = fence_make(RIG_COLD + TR_MAX_COLD); /* one view for both, with a hole that nothing may be written to */
  t->code = (struct fence){t->cold.at, TR_MAX_CODE};
  t->rq = (struct tr_request){.eip = RIG_EIP,
                              .mode = {RIG_FLAT},
                              .features = ~0ull,
                              .max_insns = TR_MAX_INSNS,
                              .code = t->code.at,
                              .offset = RIG_OFFSET,
                              .cold = t->cold.at + RIG_COLD,
                              .cold_offset = RIG_OFFSET + RIG_COLD,
                              .first_site = RIG_FIRST_SITE,
                              .cs_limit = 0xffffffff,
                              .unstable = UINT32_MAX,
                              .sites = (void *)t->sites.at,
                              .callouts = (void *)t->callouts.at};
}
static inline void translation_free(struct translation *t) {
  const struct fence f[] = {t->bytes, t->cold, t->sites, t->callouts};
  for (unsigned i = 0; i < 4; i++) {
    size_t pages = (f[i].size + 4095) & ~(size_t)4095;
    munmap(f[i].at + f[i].size - pages, pages + 4096);
  }
}

/* The last `n` bytes before the fence are the block's; page_left as given (0: n). */
static inline void translation_run(struct translation *t, const uint8_t *bytes, unsigned n, uint32_t page_left) {
  uint8_t *at = t->bytes.at + t->bytes.size - n;
  memcpy(at, bytes, n);
  t->rq.bytes = at, t->rq.available = n, t->rq.page_left = page_left ? page_left : n;
  memset(&t->r, 0xee, sizeof t->r);
  tr_translate(&t->rq, &t->r);
}

/* ---- host code ---------------------------------------------------------------------------------------------------- */

struct host_insn {
  uint32_t at; /* offset in the block's code */
  ZydisDecodedInstruction i;
  ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
  uint32_t target; /* of a relative branch: offset in the block's code */
  bool branch;
};
enum { HOST_MAX = TR_MAX_CODE + TR_MAX_COLD };
struct host_text {
  struct host_insn insn[HOST_MAX];
  unsigned count;
};

static inline bool host_decode_part(const struct translation *t, struct host_text *text, uint32_t *at, uint32_t end) {
  ZydisDecoder d;
  ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
  while (*at < end) {
    struct host_insn *h = &text->insn[text->count++];
    h->at = *at, h->branch = false, h->target = 0;
    if (text->count == HOST_MAX || !ZYAN_SUCCESS(ZydisDecoderDecodeFull(&d, t->rq.code + *at, end - *at, &h->i, h->op)))
      return false;
    *at += h->i.length;
    if (h->i.operand_count && h->op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE && h->op[0].imm.is_relative)
      h->branch = true, h->target = *at + (uint32_t)h->op[0].imm.value.s;
  }
  return *at == end;
}

/* Decodes all of it, the hot code and then the cold stubs. False with *at: what does not decode. */
static inline bool host_decode(const struct translation *t, struct host_text *text, uint32_t *at) {
  text->count = 0;
  *at = 0;
  if (!host_decode_part(t, text, at, t->r.code_size)) return false;
  *at = RIG_COLD;
  return host_decode_part(t, text, at, RIG_COLD + t->r.cold_size);
}

/* Blocks are left by PUSH number; JMP exit stub, which lies at code-memory offset 0. */
static inline bool host_is_exit(const struct host_insn *h) {
  return h->i.mnemonic == ZYDIS_MNEMONIC_JMP && h->branch && h->target == (uint32_t)-RIG_OFFSET;
}

static inline struct host_insn *host_at(struct host_text *text, uint32_t at) {
  unsigned lo = 0, hi = text->count;
  while (lo < hi) {
    unsigned mid = lo + (hi - lo) / 2;
    if (text->insn[mid].at == at) return &text->insn[mid];
    if (text->insn[mid].at < at) lo = mid + 1;
    else hi = mid;
  }
  return NULL;
}
