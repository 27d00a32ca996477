/* Frames on stacks: what far calls, gates and interrupts push and what returns read. A frame is one access where it lies in one
 * piece, which is always but for a 16-bit stack pointer that wraps, and where it does not fault; then it is one access a word, as
 * the manual's pushes are.
 * Alignment checks (#AC) are not made for frames that are pushed: SDM vol. 3A, 6.15 leaves them to CPL 3, where only far calls
 * push. */
#include "exec.h"
#include "segment.h"

static inline uint32_t stack_mask(const struct tr_segment *s) { return s->attr & ATTR_BIG ? 0xffffffffu : 0xffffu; }

static bool stack_fits(const struct tr_segment *s, uint32_t offset, uint32_t size) {
  uint32_t last = offset + size - 1;
  if (!s->usable) return false;
  if ((s->attr & (ATTR_CODE | ATTR_EXPAND_DOWN)) == ATTR_EXPAND_DOWN)
    return offset > s->limit && last <= stack_mask(s) && last >= offset;
  return s->limit == 0xffffffffu || (last <= s->limit && last >= offset); /* wrapping at 4 GiB: as seg_check() */
}

/* The offsets [esp, esp + size) are in one piece. */
static inline bool in_one_piece(uint32_t esp, uint32_t size, uint32_t mask) { return size - 1 <= mask - esp; }

static inline bool alignment_checked(const struct vcpu *v) {
  return (v->s.sys_flags & FLAG_AC) && v->cpl == 3 && (v->cr0 & CR0_AM);
}

int frame_reserve(struct vcpu *v, struct stack *st, unsigned n, unsigned width) {
  uint32_t mask = stack_mask(st->seg), size = n * width, top = (st->esp - size) & mask;
  bool fits = true;
  st->esp = top;
  if (in_one_piece(top, size, mask)) fits = stack_fits(st->seg, top, size);
  else
    for (unsigned k = 0; k < n; k++) fits &= stack_fits(st->seg, (top + k * width) & mask, width);
  if (!fits) return fault_raise_error(v, VEC_SS, st->error);
  if (st->priv == MEM_CPL && alignment_checked(v) && (segment_linear(st->seg, top).v & (width - 1)))
    return fault_raise_error(v, VEC_AC, 0);
  return EXEC_NEXT;
}

/* Word by word, as the manual pushes them: a #PF names the first that faults, from the top down. */
static int store_words(struct vcpu *v, const struct stack *st, const uint8_t *bytes, unsigned n, unsigned width) {
  uint32_t mask = stack_mask(st->seg);
  for (unsigned k = n; k-- > 0;) TRY(mem_probe_write(v, segment_linear(st->seg, (st->esp + k * width) & mask), width, st->priv));
  for (unsigned k = n; k-- > 0;)
    TRY(mem_write(v, segment_linear(st->seg, (st->esp + k * width) & mask), width, st->priv, bytes + k * width));
  return EXEC_NEXT;
}

int frame_store(struct vcpu *v, const struct stack *st, const uint32_t *words, unsigned n, unsigned width) {
  uint16_t narrow[FRAME_WORDS];
  const void *bytes = words;
  if (width == 2) {
    for (unsigned k = 0; k < n; k++) narrow[k] = (uint16_t)words[k];
    bytes = narrow;
  }
  if (in_one_piece(st->esp, n * width, stack_mask(st->seg)) &&
      mem_write(v, segment_linear(st->seg, st->esp), n * width, st->priv, bytes) == EXEC_NEXT)
    return EXEC_NEXT;
  return store_words(v, st, bytes, n, width);
}

int frame_read(struct vcpu *v, uint32_t depth, uint32_t *words, unsigned n, unsigned width) {
  uint32_t mask = vcpu_stack_mask(v), esp = (v->s.gpr[REG_ESP] + depth) & mask;
  uint8_t *bytes = (uint8_t *)words;
  if (in_one_piece(esp, n * width, mask) && !alignment_checked(v) && !(v->dr[7] & 0xff)) {
    gla linear;
    TRY(seg_check(v, SEG_SS, esp, n * width, false, &linear));
    TRY(mem_read(v, linear, n * width, MEM_CPL, bytes));
  } else {
    for (unsigned k = 0; k < n; k++) TRY(seg_read(v, SEG_SS, (esp + k * width) & mask, width, bytes + k * width));
  }
  if (width == 2)
    for (unsigned k = n; k-- > 0;) /* widened in place, from the top down */
      words[k] = load16(bytes + 2 * k);
  return EXEC_NEXT;
}
