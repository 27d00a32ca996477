/* The translator: guest bytes and a mode in, host code and its sites out (DESIGN.md D1, D2, D4, D6, D7). Pure: it touches
 * neither guest memory nor a machine and keeps nothing between calls.
 *
 * A block is a run of guest instructions of one page, with a thunk of any page that it calls, or one instruction that straddles
 * two. Every place where host code can be left, or can fault, is a `site`: together the sites are the block's host-to-guest
 * position map. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "../mmu/layout.h"
#include "insn.h"
#include "optimisations.h"
#include "state.h"

/* How a segment's accesses are checked. */
enum tr_seg_class {
  TR_SEG_SLOW,    /* every access goes to the monitor: null, expand-down, read-only, odd types */
  TR_SEG_FLAT,    /* base 0, limit 4 GiB - 1, readable and writable */
  TR_SEG_BASED,   /* limit 4 GiB - 1, any base */
  TR_SEG_LIMITED, /* expand-up, readable and writable: base and limit inline */
  /* real mode and V86: limit FFFFh, base a multiple of 16 up to FFFF0h. It has TR_SEG_FLAT's bits in the mode, because real mode
   * knows no flat segment: its segment loads move the base and change no mode */
  TR_SEG_REAL,
};

/* What the translation of given bytes depends on: part of a block's key (D4). */
struct tr_mode {
  uint64_t bits; /* TR_* below, and a tr_seg_class for each segment from TR_SEG_SHIFT on */
};
enum { TR_SEG_REAL_BASE = 0xffff0 /* at most, of TR_SEG_REAL */ };
#define TR_DOWN (1u << 31)     /* EFLAGS.DF: strings go down */
#define TR_MIRROR (1ull << 32) /* accesses are made at GS + linear address: the host's GS has the base of a mirror (D8) */
enum {
  TR_USER = 1 << 0,
  TR_CODE32 = 1 << 1,
  TR_STACK32 = 1 << 2,
  TR_IOPL_OK = 1 << 3, /* CLI, STI, IN, OUT and full POPF allowed (CPL <= IOPL) */
  TR_TSD = 1 << 4,     /* RDTSC is privileged here */
  TR_EM = 1 << 5,
  TR_TS = 1 << 6,
  TR_MP = 1 << 7,
  TR_OSFXSR = 1 << 8,
  TR_ALIGN = 1 << 9,  /* #AC armed */
  TR_STEP = 1 << 10,  /* EFLAGS.TF, code breakpoints, -singlestep or a counted step: one instruction, then the dispatcher */
  TR_WATCH = 1 << 11, /* data breakpoints armed: every memory operand goes to the monitor */
  TR_V86 = 1 << 12,
  TR_REAL = 1 << 13,
  TR_CS_FLAT = 1 << 14, /* CS.base 0, limit 4 GiB - 1 */
  TR_PLAIN = 1 << 15,   /* no windows, no hoisting, no thunk of another page: entered where one of those failed */
  TR_NO_CHAIN = 1 << 16,
  TR_SEG_SHIFT = 17,   /* two bits a segment, ES first */
  TR_IN_NMI = 1 << 29, /* NMIs are blocked until an IRET */
  TR_NO_FP = 1 << 30,  /* the guest's x87/SSE state is not in the host's registers: what uses it is the monitor's */
};
static inline enum tr_seg_class tr_seg_class(struct tr_mode m, unsigned seg) {
  enum tr_seg_class class = m.bits >> (TR_SEG_SHIFT + 2 * seg) & 3;
  return class == TR_SEG_FLAT && (m.bits & (TR_REAL | TR_V86)) ? TR_SEG_REAL : class;
}

/* Whether a jump from linear `here` may go to linear `target` without comparing the page's mapping: inside one page, and between
 * pages of the shared kernel half in supervisor mode. */
static inline bool tr_chains_freely(struct tr_mode m, uint32_t here, uint32_t target) {
  if (here >> 12 == target >> 12) return true;
  return !(m.bits & TR_USER) && here >= MMU_KERNEL_HALF && target >= MMU_KERNEL_HALF;
}

#define TR_SITES(X) \
  X(ACCESS, "a check failed; `retry` runs it again") \
  X(PLAIN, "a window's or hoisted check failed, or an inlined thunk's page is another: go on in the plain block from here") \
  X(CALLOUT, "the monitor runs this instruction") \
  X(JUMP, "direct jump not chained yet: to `target`") \
  X(INDIRECT, "indirect jump not in the hash: target in exit_linear") \
  X(SAFEPOINT, "something was asked for") \
  X(IRQ, "IF was set while an interrupt waits") \
  X(COUNT, "the instruction count ran out before this block") \
  X(STRADDLE, "the second page of this block's instruction is mapped elsewhere now") \
  X(FAULT, "the host may fault at this instruction") \
  X(MIRROR, "the host may fault at this instruction: its memory may be missing in the mirror, too") \
  X(DIVIDE, "this division's divisor is 0") \
  X(END, "the block's end was reached without a jump (page end, one instruction a block)") \
  X(REFILL, "an addend kept in a register changes too often: make the block without")
enum tr_site_kind {
#define TR_SITE_ENUM(name, help) TR_SITE_##name,
  TR_SITES(TR_SITE_ENUM) TR_SITE_KINDS
};
#undef TR_SITE_ENUM

struct tr_site {
  /* code-memory offset: ACCESS: where to retry; JUMP, INDIRECT (or 0): the rel32 to patch; SAFEPOINT, FAULT, MIRROR: the host
   * instruction */
  uint32_t host;
  /* code-memory offset of the exit's PUSH (JUMP: what the rel32 points to while unchained; SAFEPOINT: of what is restored before
   * it) */
  uint32_t cold;
  /* JUMP, END: EIP to go on at; MIRROR: code-memory offset of where to retry; INDIRECT with `host`: code-memory offset of a rel32
   * that becomes 0 when the target is known that the site is chained to (or that none will be) */
  uint32_t target;
  /* code-memory offset of an imm32: JUMP: to compare with the target page's fetch entry, or 0: chains freely; INDIRECT: to
   * compare with the target */
  uint32_t guard;
  uint32_t next_in;     /* tcache: next site chained to the same block, + 1 */
  uint16_t insn_offset; /* guest bytes from the block's start to the instruction that the state belongs to */
  int16_t esp_delta;    /* to add to R15 to get guest ESP here (folding) */
  uint8_t kind;         /* enum tr_site_kind */
  uint8_t access;       /* ACCESS_R or ACCESS_W/RW, and TR_ACCESS_LIMITED, TR_ACCESS_SEGMENT; TR_ACCESS_SHADOW */
  uint8_t size;         /* of the access (0: 256 and more) */
  uint8_t index;        /* instructions of the block done here */
  uint32_t block;       /* tcache: block index */
};

enum {
  TR_ACCESS_LIMITED = 4 /* exit_linear may still lack the segment's base */,
  TR_ACCESS_SHADOW = 8 /* the instruction follows an STI or a load of SS */,
  TR_ACCESS_SEGMENT = 16 /* times 1 + SEG_*: it may reach beyond the limit of that segment, a TR_SEG_REAL */
};
static inline unsigned tr_access_segment(unsigned access) { return access / TR_ACCESS_SEGMENT; } /* 1 + SEG_*, or 0 */
enum {
  TR_EXIT_SIZE = 10 /* PUSH imm32; JMP rel32 */,
  TR_THUNK_SIZE = 128 /* at most */,
  TR_SAFEPOINT_SIZE = 4 /* MOV R9D, [R12] */,
  TR_PC_THUNK_SIZE = 4 /* of guest code: MOV REG, [ESP]; RET */
};
/* What tr_stubs.underflow leaves by, a number of no site: the target is in exit_linear, and nothing is to be settled. */
#define TR_UNDERFLOW 0xfffffffeu
enum { TR_MAX_INSNS = 48, TR_MAX_SITES = 320, TR_MAX_CODE = 8 << 10, TR_MAX_COLD = 8 << 10 };

struct tr_request {
  const uint8_t *bytes; /* at the block's first instruction */
  /* readable bytes: to the end of the page; more (up to 15) only when page_left is short of one instruction */
  uint32_t available;
  uint32_t page_left; /* bytes to the end of the page, or to CS.limit */
  uint32_t eip, cs_base, cs_limit;
  struct tr_mode mode;
  uint64_t features;  /* of the guest's CPU model */
  unsigned options;   /* of optimisations.h */
  unsigned max_insns; /* 1..TR_MAX_INSNS */
  uint32_t unstable;  /* bytes to one that keeps being written: the block ends before the instruction that it is in */
  uint32_t frame2;    /* straddling instruction: frame number of its second page */
  /* `size` bytes of code at a linear address, and their frame: of a page that has a fetch entry already (nothing is walked), and
   * that are not known to keep being written. NULL: of no such. Not there: no thunk is inlined. */
  const uint8_t *(*code_at)(void *opaque, uint32_t linear, uint32_t size, uint32_t *frame);
  void *opaque;
  uint8_t *code;   /* writable view of the code memory at `offset`: room for TR_MAX_CODE bytes */
  uint32_t offset; /* code-memory offset where the block's code goes */
  /* the same for its cold stubs, which lie apart so that hot code is dense: room for TR_MAX_COLD bytes; in the same view as
   * `code` */
  uint8_t *cold;
  uint32_t cold_offset;
  uint32_t first_site;   /* number of its first site */
  struct tr_site *sites; /* room for TR_MAX_SITES */
  struct insn *callouts; /* room for TR_MAX_INSNS */
};
struct tr_result {
  uint32_t code_size, cold_size, guest_size, insns, site_count, callout_count;
  uint32_t entry; /* code-memory offset to enter at */
  /* EIP of the function that was inlined, and its frame + 1 (0: none was): the block was read from its bytes, too */
  uint32_t thunk, thunk_frame;
  bool straddles;
  bool too_short; /* the first instruction needs bytes beyond `available`; nothing was translated */
  bool unstable;  /* the first instruction has that byte in it; nothing was translated */
  uint8_t fault;  /* with no instruction: 13 for one that is longer than 15 bytes */
};
/* Translates a block. */
void tr_translate(const struct tr_request *request, struct tr_result *result);

/* Code offsets of the stubs, which lie at the start of the code memory. */
struct tr_stubs {
  uint32_t exit, enter, size;
  uint32_t enter_jump; /* from here on R12 is the safepoint pointer and not the C caller's; else only from `underflow` on */
  /* Where a host RET at the bottom of code_stack leads to: looks R8 up as an indirect jump does, behind a safepoint; or, with
   * -icount, without one. Behind all other stubs. */
  uint32_t underflow, underflow_counted;
  uint32_t underflow_safepoint, underflow_exit; /* the host instruction, and where a fault there leads */
};
/* Writes the stubs at the start of the code memory.
 * enter: void (*)(struct tr_state *, const void *code) in the C ABI: loads the guest's registers and jumps to code; returns when
 * translated code leaves through `exit` (PUSH site number, JMP exit), state stored. */
void tr_write_stubs(uint8_t *code, struct tr_stubs *stubs);
/* Writes a thunk that runs a COPY instruction with its memory operand at [state->scratch[0]] and leaves through site `site`.
 * Returns its size, at most TR_THUNK_SIZE bytes; its last TR_EXIT_SIZE bytes are the exit. `code` is the writable view of
 * code-memory offset `offset`. */
uint32_t tr_write_thunk(const struct insn *insn, uint8_t *code, uint32_t offset, const struct tr_stubs *stubs, uint32_t site,
                        uint32_t *fault_offset);

const char *tr_site_name(enum tr_site_kind kind);
