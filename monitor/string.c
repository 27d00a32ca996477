/* String instructions: MOVS, CMPS, STOS, LODS, SCAS, INS, OUTS, with and without REP.
 *
 * One element at a time is the reference: segment checks, faults at exactly that iteration, MMIO, traced pages, page crossings.
 * Where both sides are plain RAM of one page each, a *run* does all elements up to the nearer page end with the host's own string
 * instruction, which also gives overlapping copies their exact result. ECX, ESI and EDI are right after each element, so a fault
 * or an interrupt leaves a state that the instruction can be restarted from (SDM vol. 2, REP). EXEC_AGAIN after 64 KiB, or a page
 * when an interrupt waits. */
#include "exec.h"
#include "../mmu/mmu.h"

enum { BUDGET = 64 << 10, BUDGET_IRQ = MMU_PAGE };

struct string_op {
  unsigned size; /* of an element */
  uint32_t mask; /* of ESI, EDI and ECX: address size */
  uint32_t step; /* what DF says, modulo 2^32 */
  unsigned seg;  /* of the source */
  unsigned address_size;
  bool rep, while_equal, while_differing;
  uint16_t port;
};

typedef int element_fn(struct vcpu *v, const struct string_op *op);
/* Does at most `limit` elements; returns how many, 0 where the conditions of a run do not hold. */
typedef uint32_t run_fn(struct vcpu *v, const struct string_op *op, uint32_t limit);

static uint32_t source(const struct vcpu *v, const struct string_op *op) { return v->s.gpr[REG_ESI] & op->mask; }
static uint32_t target(const struct vcpu *v, const struct string_op *op) { return v->s.gpr[REG_EDI] & op->mask; }

static void advance(struct vcpu *v, const struct string_op *op, unsigned reg, uint32_t n) {
  reg_write(v, reg, op->address_size, v->s.gpr[reg] + n * op->step);
}

/* ---- one element ---- */

/* Reading may have effects (MMIO), so the store is ruled out first, though the source's fault is the one that counts. */
static int one_movs(struct vcpu *v, const struct string_op *op) {
  uint32_t value;
  if (seg_probe_write(v, SEG_ES, target(v, op), op->size) != EXEC_NEXT) {
    struct fault fault = v->fault;
    if (seg_probe_read(v, op->seg, source(v, op), op->size) == EXEC_NEXT) v->fault = fault;
    return EXEC_FAULT;
  }
  if (seg_read(v, op->seg, source(v, op), op->size, &value) != EXEC_NEXT ||
      seg_write(v, SEG_ES, target(v, op), op->size, &value) != EXEC_NEXT)
    return EXEC_FAULT;
  advance(v, op, REG_ESI, 1);
  advance(v, op, REG_EDI, 1);
  return EXEC_NEXT;
}

static int one_stos(struct vcpu *v, const struct string_op *op) {
  if (seg_write(v, SEG_ES, target(v, op), op->size, &v->s.gpr[REG_EAX]) != EXEC_NEXT) return EXEC_FAULT;
  advance(v, op, REG_EDI, 1);
  return EXEC_NEXT;
}

static int one_lods(struct vcpu *v, const struct string_op *op) {
  uint32_t value = 0;
  if (seg_read(v, op->seg, source(v, op), op->size, &value) != EXEC_NEXT) return EXEC_FAULT;
  reg_write(v, REG_EAX, op->size, value);
  advance(v, op, REG_ESI, 1);
  return EXEC_NEXT;
}

static int one_cmps(struct vcpu *v, const struct string_op *op) {
  uint32_t a = 0, b = 0;
  if (seg_read(v, op->seg, source(v, op), op->size, &a) != EXEC_NEXT ||
      seg_read(v, SEG_ES, target(v, op), op->size, &b) != EXEC_NEXT)
    return EXEC_FAULT;
  flags_set_arith(v, flags_of_compare(a, b, op->size));
  advance(v, op, REG_ESI, 1);
  advance(v, op, REG_EDI, 1);
  return EXEC_NEXT;
}

static int one_scas(struct vcpu *v, const struct string_op *op) {
  uint32_t b = 0;
  if (seg_read(v, SEG_ES, target(v, op), op->size, &b) != EXEC_NEXT) return EXEC_FAULT;
  flags_set_arith(v, flags_of_compare(v->s.gpr[REG_EAX], b, op->size));
  advance(v, op, REG_EDI, 1);
  return EXEC_NEXT;
}

/* The port is read only when the store cannot fault. */
static int one_ins(struct vcpu *v, const struct string_op *op) {
  if (seg_probe_write(v, SEG_ES, target(v, op), op->size) != EXEC_NEXT) return EXEC_FAULT;
  uint32_t value = io_read(v, op->port, op->size);
  if (seg_write(v, SEG_ES, target(v, op), op->size, &value) != EXEC_NEXT) return EXEC_FAULT;
  advance(v, op, REG_EDI, 1);
  return EXEC_NEXT;
}

static int one_outs(struct vcpu *v, const struct string_op *op) {
  uint32_t value = 0;
  if (seg_read(v, op->seg, source(v, op), op->size, &value) != EXEC_NEXT) return EXEC_FAULT;
  io_write(v, op->port, op->size, value);
  advance(v, op, REG_ESI, 1);
  return EXEC_NEXT;
}

/* ---- runs ---- */

/* How many elements from linear on lie in its page, in the direction of op? None if the first crosses it. */
static uint32_t elements_in_page(const struct string_op *op, gla linear) {
  uint32_t at = gla_in_page(linear);
  if (at + op->size > MMU_PAGE) return 0;
  return op->step & 1u << 31 ? at / op->size + 1 : (MMU_PAGE - at) / op->size;
}

/* ... and from `offset` on before ESI or EDI wraps around? */
static uint32_t elements_before_wrap(const struct string_op *op, uint32_t offset) {
  if (op->step & 1u << 31) return offset / op->size + 1;
  uint32_t n = (op->mask - offset) / op->size; /* leaves the last element to the reference: it may wrap by itself */
  return n;
}

/* A run of *n elements at seg:offset, *n cut down to what one page and one segment hold: *linear is where it begins, *first its
 * lowest byte. False: no run. */
static bool run_span(struct vcpu *v, const struct string_op *op, unsigned seg, uint32_t offset, bool write, uint32_t *n, gla *at,
                     gla *first) {
  gla linear = *at = segment_linear(&v->s.seg[seg], offset);
  uint32_t most = elements_in_page(op, linear), other = elements_before_wrap(op, offset);
  most = most < other ? most : other;
  *n = *n < most ? *n : most;
  if (*n < 2) return false;
  uint32_t below = op->step & 1u << 31 ? (*n - 1) * op->size : 0;
  /* a fault is for the element that it belongs to: the reference finds it */
  return seg_check(v, seg, offset - below, *n * op->size, write, first) == EXEC_NEXT;
}

static uint8_t *host_pointer(const struct vcpu *v, gla linear, bool write) {
  const char *table = (const char *)mmu_table(v->mmu_cpu, v->cpl == 3) + (write ? MMU_WRITE_ARRAY : MMU_READ_ARRAY);
  uint64_t entry = *(const uint64_t *)(table + gla_page(linear) * 8);
  return entry ? (uint8_t *)(uintptr_t)(entry + linear.v) : NULL;
}

/* The host address of a run; NULL: there is none. */
static uint8_t *run_pointer(struct vcpu *v, const struct string_op *op, unsigned seg, uint32_t offset, bool write, uint32_t *n) {
  gla linear, first;
  return run_span(v, op, seg, offset, write, n, &linear, &first) ? host_pointer(v, linear, write) : NULL;
}

/* A side of a run that is a device's window as near as memory (mmu_plain_at(): the VGA's planes), or memory all the same. */
struct side {
  const struct mmu_plain *window; /* NULL: at `host` */
  uint64_t offset;
  uint8_t *host;
};
static bool run_side(struct vcpu *v, const struct string_op *op, unsigned seg, uint32_t offset, bool write, uint32_t *n,
                     struct side *s) {
  gla linear, first;
  if (!run_span(v, op, seg, offset, write, n, &linear, &first)) return false;
  s->offset = 0;
  s->window = mmu_plain_at(v->mmu_cpu, first, *n * op->size, &s->offset);
  s->offset += gla_distance(first, linear);
  if (!s->window) s->host = host_pointer(v, linear, write);
  return s->window || s->host;
}
static uint32_t element_load(const uint8_t *from, unsigned size) {
  return size == 1 ? *from : size == 2 ? load16(from) : load32(from);
}
static void element_store(uint8_t *to, unsigned size, uint32_t value) {
  if (size == 1) *to = (uint8_t)value;
  else if (size == 2) store16(to, (uint16_t)value);
  else store32(to, value);
}
static void side_step(struct side *s, const struct string_op *op) {
  if (s->window) s->offset += (uint64_t)(int32_t)op->step;
  else s->host += (int32_t)op->step;
}
static uint32_t side_read(struct side *s, const struct string_op *op) {
  uint32_t value;
  if (!s->window) value = element_load(s->host, op->size);
  else value = s->window->ops->read(s->window->opaque, s->offset, op->size);
  side_step(s, op);
  return value;
}
static void side_write(struct side *s, const struct string_op *op, uint32_t value) {
  if (!s->window) element_store(s->host, op->size, value);
  else s->window->ops->write(s->window->opaque, s->offset, op->size, value);
  side_step(s, op);
}

/* The host's instruction `insn` (movs, stos, cmps, scas) in the element size and direction of op, DF clear afterwards as C wants
 * it. */
#define HOST_STRING(op, rep, insn, after, ...) \
  do { \
    bool down = (op)->step & 1u << 31; \
    if ((op)->size == 1 && !down) __asm__ volatile(rep " " insn "b; " after:__VA_ARGS__ : "memory", "cc"); \
    else if ((op)->size == 2 && !down) __asm__ volatile(rep " " insn "w; " after:__VA_ARGS__ : "memory", "cc"); \
    else if (!down) __asm__ volatile(rep " " insn "l; " after:__VA_ARGS__ : "memory", "cc"); \
    else if ((op)->size == 1) __asm__ volatile("std; " rep " " insn "b; cld; " after:__VA_ARGS__ : "memory", "cc"); \
    else if ((op)->size == 2) __asm__ volatile("std; " rep " " insn "w; cld; " after:__VA_ARGS__ : "memory", "cc"); \
    else __asm__ volatile("std; " rep " " insn "l; cld; " after:__VA_ARGS__ : "memory", "cc"); \
  } while (0)

/* Element by element, since a store to a plane uses what the last load left in the latches. */
static uint32_t run_movs_in_window(struct vcpu *v, const struct string_op *op, uint32_t limit) {
  struct side from, to;
  uint32_t n = limit;
  if (!run_side(v, op, op->seg, source(v, op), false, &n, &from) || !run_side(v, op, SEG_ES, target(v, op), true, &n, &to))
    return 0;
  for (uint32_t i = 0; i < n; i++) side_write(&to, op, side_read(&from, op));
  advance(v, op, REG_ESI, n);
  advance(v, op, REG_EDI, n);
  return n;
}

static uint32_t run_stos_in_window(struct vcpu *v, const struct string_op *op, uint32_t limit) {
  struct side to;
  uint32_t n = limit;
  if (!run_side(v, op, SEG_ES, target(v, op), true, &n, &to)) return 0;
  for (uint32_t i = 0; i < n; i++) side_write(&to, op, v->s.gpr[REG_EAX]);
  advance(v, op, REG_EDI, n);
  return n;
}

static uint32_t run_movs(struct vcpu *v, const struct string_op *op, uint32_t limit) {
  uint32_t n = limit;
  uint8_t *from = run_pointer(v, op, op->seg, source(v, op), false, &n);
  uint8_t *to = from ? run_pointer(v, op, SEG_ES, target(v, op), true, &n) : NULL;
  if (!to) return run_movs_in_window(v, op, limit);
  uint64_t count = n;
  HOST_STRING(op, "rep", "movs", "", "+D"(to), "+S"(from), "+c"(count) :);
  advance(v, op, REG_ESI, n);
  advance(v, op, REG_EDI, n);
  return n;
}

static uint32_t run_stos(struct vcpu *v, const struct string_op *op, uint32_t limit) {
  uint32_t n = limit;
  uint8_t *to = run_pointer(v, op, SEG_ES, target(v, op), true, &n);
  if (!to) return run_stos_in_window(v, op, limit);
  uint64_t count = n;
  HOST_STRING(op, "rep", "stos", "", "+D"(to), "+c"(count) : "a"(v->s.gpr[REG_EAX]));
  advance(v, op, REG_EDI, n);
  return n;
}

/* The flags of a run's last comparison, by LAHF and SETO: PUSHF would write into the red zone. */
static void take_flags(struct vcpu *v, uint64_t rax, uint8_t overflow) {
  flags_set_arith(v, (rax >> 8 & (FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF)) | (overflow ? FLAG_OF : 0));
}

static uint32_t run_cmps(struct vcpu *v, const struct string_op *op, uint32_t limit) {
  uint32_t n = limit;
  const uint8_t *a = run_pointer(v, op, op->seg, source(v, op), false, &n);
  const uint8_t *b = a ? run_pointer(v, op, SEG_ES, target(v, op), false, &n) : NULL;
  if (!b) return 0;
  uint64_t count = n, rax = 0;
  uint8_t overflow;
  if (op->while_equal)
    HOST_STRING(op, "repe", "cmps", "lahf; seto %b4", "+S"(a), "+D"(b), "+c"(count), "+a"(rax), "=&q"(overflow) :);
  else HOST_STRING(op, "repne", "cmps", "lahf; seto %b4", "+S"(a), "+D"(b), "+c"(count), "+a"(rax), "=&q"(overflow) :);
  take_flags(v, rax, overflow);
  n -= (uint32_t)count;
  advance(v, op, REG_ESI, n);
  advance(v, op, REG_EDI, n);
  return n;
}

static uint32_t run_scas(struct vcpu *v, const struct string_op *op, uint32_t limit) {
  uint32_t n = limit;
  const uint8_t *b = run_pointer(v, op, SEG_ES, target(v, op), false, &n);
  if (!b) return 0;
  uint64_t count = n, rax = v->s.gpr[REG_EAX];
  uint8_t overflow;
  if (op->while_equal) HOST_STRING(op, "repe", "scas", "lahf; seto %b3", "+D"(b), "+c"(count), "+a"(rax), "=&q"(overflow) :);
  else HOST_STRING(op, "repne", "scas", "lahf; seto %b3", "+D"(b), "+c"(count), "+a"(rax), "=&q"(overflow) :);
  take_flags(v, rax, overflow);
  n -= (uint32_t)count;
  advance(v, op, REG_EDI, n);
  return n;
}

/* ---- the loop ---- */

/* Runs look neither at data breakpoints nor at alignment, and tell nobody; a single step is one element. */
static bool runs_allowed(const struct vcpu *v) {
  return !(v->dr[7] & 0xff) && !v->accessed && !(v->s.sys_flags & FLAG_TF) &&
         !(v->s.sys_flags & FLAG_AC && v->cr0 & CR0_AM && v->cpl == 3);
}

static bool terminated(const struct vcpu *v, const struct string_op *op) {
  bool equal = v->s.flags & FLAG_ZF;
  return op->while_equal ? !equal : op->while_differing && equal;
}

/* Not done yet: CMPS and SCAS show the flags of before the instruction then, which do not matter to the rest (SDM vol. 2,
 * REP). */
static int suspend(struct vcpu *v, uint32_t flags, int result) {
  v->s.flags = flags;
  return result;
}

static int repeat(struct vcpu *v, const struct insn *i, const struct string_op *op, element_fn *one, run_fn *run) {
  uint32_t flags = v->s.flags, count = v->s.gpr[REG_ECX] & op->mask, budget = (v->s.irq_pending ? BUDGET_IRQ : BUDGET) / op->size;
  if (!runs_allowed(v)) run = NULL;
  while (count) {
    uint32_t most = count < budget ? count : budget, n = run && most > 1 ? run(v, op, most) : 0;
    if (!n) {
      if (one(v, op) != EXEC_NEXT) return suspend(v, flags, EXEC_FAULT);
      n = 1;
    }
    count -= n;
    budget -= n;
    reg_write(v, REG_ECX, op->address_size, count);
    if (terminated(v, op)) break;
    if (count && (!budget || v->pending_db || v->s.sys_flags & FLAG_TF)) return suspend(v, flags, EXEC_AGAIN);
  }
  return exec_done(v, i);
}

static int string(struct vcpu *v, const struct insn *i, bool compares, element_fn *one, run_fn *run) {
  unsigned size = i->bytes[i->opcode_offset] & 1 ? i->operand_size : 1;
  struct string_op op = {
    .size = size,
    .mask = size_mask(i->address_size),
    .step = v->s.flags & FLAG_DF ? -size : size,
    .seg = i->seg,
    .address_size = i->address_size,
    .rep = i->rep,
    .while_equal = compares && i->rep == 0xf3,
    .while_differing = compares && i->rep == 0xf2,
    .port = (uint16_t)v->s.gpr[REG_EDX],
  };
  if (op.rep) return repeat(v, i, &op, one, run);
  return one(v, &op) == EXEC_NEXT ? exec_done(v, i) : EXEC_FAULT;
}

int x_movs(struct vcpu *v, const struct insn *i) { return string(v, i, false, one_movs, run_movs); }
int x_stos(struct vcpu *v, const struct insn *i) { return string(v, i, false, one_stos, run_stos); }
int x_lods(struct vcpu *v, const struct insn *i) { return string(v, i, false, one_lods, NULL); }
int x_cmps(struct vcpu *v, const struct insn *i) { return string(v, i, true, one_cmps, run_cmps); }
int x_scas(struct vcpu *v, const struct insn *i) { return string(v, i, true, one_scas, run_scas); }

/* The permission is checked once: even a REP with a count of zero is refused (SDM vol. 2, INS: before the loop). 32 bits is the
 * widest port. */
static int string_io(struct vcpu *v, const struct insn *i, element_fn *one) {
  unsigned size = i->bytes[i->opcode_offset] & 1 ? i->operand_size : 1;
  if (io_check(v, (uint16_t)v->s.gpr[REG_EDX], size) != EXEC_NEXT) return EXEC_FAULT;
  return string(v, i, false, one, NULL);
}

int x_ins(struct vcpu *v, const struct insn *i) { return string_io(v, i, one_ins); }
int x_outs(struct vcpu *v, const struct insn *i) { return string_io(v, i, one_outs); }
