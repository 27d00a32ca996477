/* Segment descriptors, selectors and the stacks of far transfers: what segment.c, selector.c, far.c, iret.c, task.c and
 * deliver.c share. Nobody else needs it.
 *
 * A fault is raised by returning segment_fault(); every caller checks everything, probes the memory it is going to write, and
 * only then commits (I1). The commit functions are the void ones: segment_commit(), desc_set_accessed(), vcpu_set_cpl(). */
#pragma once
#include "vcpu.h"

#define TRY(call) \
  do { \
    int try_result = (call); \
    if (try_result != EXEC_NEXT) return try_result; \
  } while (0)

/* A descriptor as it is in memory (SDM vol. 3A, 3.4.5), with where it came from. */
struct descriptor {
  uint32_t low, high;
  gla linear;        /* of its first byte */
  uint16_t selector; /* as given, RPL included */
};

enum { DESC_ACCESSED = 1 << 8, DESC_S = 1 << 12, DESC_P = 1 << 15 }; /* in high */
enum {
  ATTR_ACCESSED = 1,
  ATTR_WRITABLE = 2 /* data */,
  ATTR_READABLE = 2 /* code */,
  ATTR_CONFORMING = 4 /* code */,
  ATTR_EXPAND_DOWN = 4 /* data */,
  ATTR_CODE = 8,
  ATTR_S = 1 << 4,
  ATTR_P = 1 << 7,
  ATTR_BIG = 1 << 14,
  ATTR_G = 1 << 15
};
/* System descriptor types, SDM vol. 3A, table 3-2. */
enum {
  SYS_TSS16 = 1,
  SYS_LDT = 2,
  SYS_TSS16_BUSY = 3,
  SYS_CALL16 = 4,
  SYS_TASK_GATE = 5,
  SYS_INT16 = 6,
  SYS_TRAP16 = 7,
  SYS_TSS32 = 9,
  SYS_TSS32_BUSY = 11,
  SYS_CALL32 = 12,
  SYS_INT32 = 14,
  SYS_TRAP32 = 15,
  SYS_BUSY = 2 /* bit of a TSS type */,
  SYS_32BIT = 8
};

static inline unsigned desc_type(const struct descriptor *d) { return d->high >> 8 & 15; }
static inline unsigned desc_dpl(const struct descriptor *d) { return d->high >> 13 & 3; }
static inline bool desc_present(const struct descriptor *d) { return d->high & DESC_P; }
static inline bool desc_is_system(const struct descriptor *d) { return !(d->high & DESC_S); }
static inline bool desc_is_code(const struct descriptor *d) {
  return (d->high & (DESC_S | ATTR_CODE << 8)) == (DESC_S | ATTR_CODE << 8);
}
static inline bool desc_is_conforming(const struct descriptor *d) /* of what desc_is_code() */
{
  return d->high & ATTR_CONFORMING << 8;
}
static inline bool desc_is_writable_data(const struct descriptor *d) {
  return (d->high & (DESC_S | (ATTR_CODE | ATTR_WRITABLE) << 8)) == (DESC_S | ATTR_WRITABLE << 8);
}
static inline bool desc_is_readable(const struct descriptor *d) /* data or readable code */
{
  return (d->high & DESC_S) && (d->high & (ATTR_CODE | ATTR_READABLE) << 8) != ATTR_CODE << 8;
}
static inline uint32_t desc_limit(const struct descriptor *d) {
  uint32_t limit = (d->low & 0xffff) | (d->high & 0xf0000);
  return d->high & 1u << 23 ? limit << 12 | 0xfff : limit;
}
static inline uint32_t desc_base(const struct descriptor *d) {
  return d->low >> 16 | (d->high & 0xff) << 16 | (d->high & 0xff000000u);
}

/* Gates (SDM vol. 3A, figure 5-8 and 6-2). */
static inline uint16_t gate_selector(const struct descriptor *d) { return (uint16_t)(d->low >> 16); }
static inline bool gate_is_32bit(const struct descriptor *d) { return d->high & SYS_32BIT << 8; }
static inline uint32_t gate_offset(const struct descriptor *d) {
  return (d->low & 0xffff) | (gate_is_32bit(d) ? d->high & 0xffff0000u : 0);
}

static inline bool selector_is_null(uint16_t selector) { return !(selector & 0xfffc); }
static inline unsigned selector_rpl(uint16_t selector) { return selector & 3; }

/* A fault whose error code names a selector; ext is 0 or 1 (SDM vol. 3A, 6.13). */
static inline int segment_fault(struct vcpu *v, enum vector vector, uint16_t selector, uint32_t ext) {
  return fault_raise_error(v, vector, (selector & 0xfffcu) | ext);
}

/* ---- segment.c ---- */
/* Reads a descriptor; vector(selector, ext) when it lies outside of its table. The selector must not be null. */
int desc_read(struct vcpu *v, uint16_t selector, enum vector vector, uint32_t ext, struct descriptor *d);
/* As above, but tells "outside" by *found and raises nothing for it (LAR, VERR...). */
int desc_lookup(struct vcpu *v, uint16_t selector, struct descriptor *d, bool *found);
/* The cache that loading `selector` with this descriptor makes. */
struct tr_segment desc_segment(const struct descriptor *d, uint16_t selector);
struct tr_segment segment_null(uint16_t selector);
struct tr_segment segment_v86(uint16_t selector);
/* What real mode and V86 make of a load into register `seg`: the base moves, and in real mode only the base. */
struct tr_segment segment_real(const struct vcpu *v, unsigned seg, uint16_t selector);
/* All checks of loading `selector` as a stack segment for privilege `cpl` (SS and SP of MOV, gates, returns, tasks). */
int segment_check_stack(struct vcpu *v, uint16_t selector, unsigned cpl, enum vector vector, uint32_t ext, struct descriptor *d);
/* The same for DS, ES, FS, GS; the selector must not be null. */
int segment_check_data(struct vcpu *v, uint16_t selector, unsigned cpl, enum vector vector, uint32_t ext, struct descriptor *d);
/* Loads a data segment register as MOV does. */
int segment_load(struct vcpu *v, unsigned seg, uint16_t selector);
/* The accessed bit: probe with the other checks, set with the commit. Both cost nothing where it is set already. */
int desc_probe_accessed_slow(struct vcpu *v, const struct descriptor *d);
void desc_set_accessed_slow(struct vcpu *v, const struct descriptor *d);
static inline int desc_probe_accessed(struct vcpu *v, const struct descriptor *d) {
  return d->high & DESC_ACCESSED ? EXEC_NEXT : desc_probe_accessed_slow(v, d);
}
static inline void desc_set_accessed(struct vcpu *v, const struct descriptor *d) {
  if (!(d->high & DESC_ACCESSED)) desc_set_accessed_slow(v, d);
}

/* Commits. What a block's key depends on (D4) is base, limit and those attributes that mode.c looks at: a kernel's DS in the
 * place of a user's, which differs by its DPL alone, costs no new key. */
enum { ATTR_KEY = 0xf /* type */ | ATTR_S | ATTR_P | ATTR_BIG };
static inline void segment_commit(struct vcpu *v, unsigned seg, struct tr_segment value) {
  struct tr_segment *s = &v->s.seg[seg];
  v->mode_dirty |=
    s->base != value.base || s->limit != value.limit || ((s->attr ^ value.attr) & ATTR_KEY) || s->usable != value.usable;
  *s = value;
  v->s.seg_raw[seg] = 0;
}
/* Of DPL 3. */
static inline bool raw_is_users(uint64_t raw) { return (raw >> 45 & 3) == 3; }
static inline void vcpu_set_cpl(struct vcpu *v, unsigned cpl) {
  if (v->cpl == cpl) return;
  for (unsigned seg = 0; v->cpl == 0 && seg < 6; seg++) /* what only CPL 0 may load again */
    if (!raw_is_users(v->s.seg_raw[seg])) v->s.seg_raw[seg] = 0;
  v->mode_dirty = true;
  v->cpl = (uint8_t)cpl;
}
/* A 16-bit stack pointer leaves the upper half of ESP alone. */
static inline void vcpu_set_sp(struct vcpu *v, uint32_t esp) {
  uint32_t mask = vcpu_stack_mask(v);
  v->s.gpr[REG_ESP] = (v->s.gpr[REG_ESP] & ~mask) | (esp & mask);
}

/* ---- frames on stacks (frame.c) ---- */
/* Where a frame is pushed: the current stack, or one that is about to become it. */
struct stack {
  const struct tr_segment *seg;
  uint32_t esp; /* frame_reserve() moves it down */
  enum mem_priv priv;
  uint32_t error; /* error code of #SS */
};
enum { FRAME_WORDS = 40 }; /* the longest: a call gate's 31 parameters and 4 words */
static inline struct stack stack_current(const struct vcpu *v, uint32_t ext) {
  return (struct stack){&v->s.seg[SEG_SS], v->s.gpr[REG_ESP], MEM_CPL, ext};
}
/* Room for n words of `width` (2 or 4) bytes, as far as the segment goes: #SS. */
int frame_reserve(struct vcpu *v, struct stack *st, unsigned n, unsigned width);
/* Writes them, lowest address first. The only fault that is left is a page's, and it changes nothing. */
int frame_store(struct vcpu *v, const struct stack *st, const uint32_t *words, unsigned n, unsigned width);
/* Reads n words of the current stack, `depth` bytes above its top. */
int frame_read(struct vcpu *v, uint32_t depth, uint32_t *words, unsigned n, unsigned width);

/* ---- far.c, iret.c ---- */
/* The stack that the TSS holds for an inner privilege level (SDM vol. 3A, 5.8.5): #TS, #SS. */
struct inner_stack {
  struct descriptor ss;
  struct tr_segment seg;
  uint32_t esp;
};
int task_inner_stack(struct vcpu *v, unsigned dpl, uint32_t ext, struct inner_stack *out);
/* Loads CS and EIP for real mode and V86. */
int far_real(struct vcpu *v, uint16_t selector, uint32_t offset);
/* RETF and IRET in protected mode, to code of the same or an outer level. */
struct return_frame {
  uint32_t eip, esp; /* esp is filled in by return_check() */
  uint16_t cs, ss;
  bool outer;
  struct descriptor code, stack;
};
/* All checks of a return to r->cs:r->eip. What the instruction pops itself ends `depth` bytes above the stack's top, where for an
 * outer level ESP and SS follow; `release` (RETF n) is then taken off the outer stack too. */
int return_check(struct vcpu *v, struct return_frame *r, uint32_t depth, unsigned width, uint32_t release);
/* CS, EIP, ESP; SS, CPL and data segments that the outer level may not use. */
void return_commit(struct vcpu *v, const struct return_frame *r);

/* ---- task.c (SDM vol. 3A, chapter 7) ---- */
/* TASK_CALL serves interrupts through task gates too. */
enum task_cause { TASK_JMP, TASK_CALL, TASK_IRET };
/* Reads and checks the TSS descriptor that a task gate or the current TSS's link names: vector(selector, ext), #NP. */
int task_check_tss(struct vcpu *v, uint16_t selector, bool busy, enum vector vector, uint32_t ext, struct descriptor *tss);
/* Switches. saved_eip and saved_eflags go into the old task's TSS. A fault that is found before the switch changes nothing; one
 * found after it (SDM vol. 3A, 7.3, step 12 on) is the new task's: v->s.eip is already its first instruction. */
int task_switch(struct vcpu *v, const struct descriptor *tss, enum task_cause cause, uint32_t ext, uint32_t saved_eip,
                uint32_t saved_eflags);
/* The last check of a switch: #GP(ext) in the new task. */
int task_check_eip(struct vcpu *v, uint32_t ext);
