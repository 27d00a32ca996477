/* Lock-step. The reference's events are cut into units: a block (or, for REP, all the blocks of its iterations) with the accesses
 * that it made, and what was delivered after it. Our side owes the unit's instructions; it pays, running its own optimised blocks
 * under -icount, when something happens that must happen at one exact instruction - an exception, an interrupt, a comparison -
 * and is then compared.
 *
 * An exception is compared twice: its vector, error code and the registers at it before our side delivers it, and the state
 * behind its delivery with the handler's first block. Flags that are undefined are made equal at both places, so that they do not
 * go into pushed images. */
#include "lockstep.h"
#include <inttypes.h>
#include <string.h>

enum { MAX_EVENTS = 16 };

struct unit { /* between two blocks of the reference */
  unsigned insns;
  const struct block_info *info;
  struct block_info partial; /* of a block that was cut short */
  /* of one that may have been: or it ran to its end, and jumped to where it would have been cut. NULL: no doubt */
  const struct block_info *whole;
  struct ref_event events[MAX_EVENTS]; /* exceptions and interrupts, in order */
  unsigned count;
  bool in_rep;       /* an interrupt came between two iterations of the last instruction */
  uint32_t rep_left; /* then: ECX */
};

struct under_push {
  bool known;
  gla at;
  uint32_t value;
}; /* what lies where PUSH is about to write */

/* ---- ends ---- */

static void stop_with(struct lockstep *l, enum lockstep_end end, const char *why) {
  l->end = end;
  snprintf(l->why, sizeof l->why, "%s", why);
}

static bool diverge(struct lockstep *l, const char *why) {
  if (l->end == LOCKSTEP_DIVERGED) return false;
  stop_with(l, LOCKSTEP_DIVERGED, why);
  l->good = l->compared_at;
  l->bad = l->counts.insns;
  return false;
}

static bool fail(struct lockstep *l, const char *why) { return stop_with(l, LOCKSTEP_FAILED, why), false; }

/* ---- reading the reference ---- */

static uint32_t linear_eip(const struct ref_cpu *c) { return c->eip + c->seg[SEG_CS].base; }

static struct insn_mode mode_of(const struct lockstep *l, const struct ref_cpu *c) {
  return (struct insn_mode){.code32 = c->seg[SEG_CS].attr & 1 << 14, .features = l->replay.vcpu->features};
}

/* Where in the block an address is; its count of instructions if nowhere. */
static unsigned index_in(const struct ref_insns *insns, uint32_t linear) {
  unsigned i = 0;
  while (i < insns->count && insns->insn[i].linear != linear) i++;
  return i;
}

static bool note_delivery(struct lockstep *l, struct unit *u, const struct ref_event *e) {
  if (u->count == MAX_EVENTS) return fail(l, "more exceptions in a row than can be followed");
  u->events[u->count++] = *e;
  if (e->kind == REF_INTERRUPT) l->counts.interrupts++;
  else if (e->software) l->counts.software++, l->counts.syscalls += e->vector == 0x80;
  else l->counts.exceptions[e->vector & 31]++;
  return true;
}

/* Does the block that is announced only go on with the REP instruction that the unit ends in? Or does the reference stand between
 * two iterations of it? */
static bool goes_on(const struct unit *u, const struct ref_insns *insns, const struct ref_event *e) {
  bool there = e->kind == REF_BLOCK || e->kind == REF_STOPPED;
  return there && u->info->rep && !u->count && linear_eip(&e->cpu) == insns->insn[insns->count - 1].linear;
}

/* The unit of l->current; what comes behind it is in l->next. */
static bool collect(struct lockstep *l, struct unit *u) {
  u->count = 0, u->in_rep = false;
  u->info = block_info(&l->infos, l->current.insns, mode_of(l, &l->current.cpu));
  if (!u->info) return fail(l, "not enough memory");
  const struct ref_insns *insns = u->info->insns;
  u->insns = insns->count;
  for (;;) {
    struct ref_event *e = &l->next;
    ref_next(l->ref, e);
    if (e->kind == REF_READ || e->kind == REF_WRITE) {
      if (replay_expect(&l->replay, e) < 0) return fail(l, "not enough memory");
      if (e->kind == REF_READ) l->counts.reads++;
      else l->counts.writes++;
    } else if (e->kind == REF_EXCEPTION || e->kind == REF_INTERRUPT) {
      if (!note_delivery(l, u, e)) return false;
    } else if (!goes_on(u, insns, e)) break;
    else if (e->kind == REF_STOPPED) {
      l->pausing = false; /* no place to compare: asked again at the next unit */
      ref_resume(l->ref);
    }
  }
  if (l->next.kind == REF_ERROR) return fail(l, l->next.text);
  return true;
}

/* A block that the reference gave up at one of its instructions, to make one of its own of that: after MMIO, after a store into
 * its own code. Where a loop has just jumped there, and the reference's time slice had room for one instruction only, it looks
 * the same: settle_doubt(). */
static void cut_short(struct lockstep *l, struct unit *u) {
  u->whole = NULL;
  if (u->count || l->next.kind != REF_BLOCK || !l->next.single) return;
  unsigned index = index_in(u->info->insns, linear_eip(&l->next.cpu));
  if (index == u->info->insns->count) return;
  if (u->info->branches) u->whole = u->info;
  u->partial = *u->info;
  block_info_flags(&u->partial, u->info->insns, index, mode_of(l, &l->current.cpu));
  u->partial.reads_tsc = u->partial.rep = u->partial.shows_msr = false;
  u->insns = index, u->info = &u->partial;
}

/* The same for a block that an exception ended: what its instructions before that left of the flags. */
static void cut_at_exception(struct lockstep *l, struct unit *u) {
  if (!u->count || u->events[0].kind != REF_EXCEPTION) return;
  unsigned index = index_in(u->info->insns, linear_eip(&u->events[0].cpu));
  if (index == u->info->insns->count) return;
  u->partial = *u->info;
  block_info_flags(&u->partial, u->info->insns, index, mode_of(l, &l->current.cpu));
  u->partial.reads_tsc = false;
  u->info = &u->partial;
}

/* Real mode: the reference does not say where its interrupt came. What follows has the counter and ZF of then. */
static bool rep_goes_on(const struct block_info *info, const struct ref_cpu *after) {
  uint32_t left = after->gpr[REG_ECX];
  bool zero = after->eflags & FLAG_ZF;
  return (info->rep_wide ? left : (uint16_t)left) && (!info->rep_while || zero == (info->rep_while == 0xf3));
}

static void find_rep_interrupt(struct lockstep *l, struct unit *u) {
  const struct ref_event *e = &u->events[0], *known = e;
  if (!u->info->rep || !u->count || e->kind != REF_INTERRUPT) return;
  if (known->no_cpu) known = u->count > 1 ? e + 1 : &l->next;
  if (known->no_cpu || (known == &l->next && known->kind != REF_BLOCK && known->kind != REF_STOPPED)) return;
  if (e->no_cpu ? !rep_goes_on(u->info, &known->cpu)
                : linear_eip(&e->cpu) != u->info->insns->insn[u->info->insns->count - 1].linear)
    return;
  u->in_rep = true;
  u->rep_left = known->cpu.gpr[REG_ECX];
}

/* ---- our side ---- */

/* Is the segment of a selector not accessed yet? Then its descriptor is noted. */
static void note_unmarked(struct lockstep *l, uint16_t selector, uint32_t *high) {
  enum { LDT = 4, ACCESSED = 0x100, NO_SYSTEM = 0x1000, PRESENT = 0x8000 };
  struct vcpu *v = l->replay.vcpu;
  gla at = gla_add(to_gla(selector & LDT ? v->ldt.base : v->gdt.base), (selector & 0xfff8u) + 4);
  if (mem_read(v, at, 4, MEM_SYSTEM, high) != EXEC_NEXT) *high = 0;
  if ((*high & (ACCESSED | NO_SYSTEM | PRESENT)) == (NO_SYSTEM | PRESENT)) l->unmarked[l->unmarked_count++] = at;
}

/* Delivery sets the accessed bit of the segments that it loads; QEMU's does not: gate_accessed. Before it: which will be set? */
static void note_gate(struct lockstep *l, uint8_t vector) {
  enum { GATES = 1 << 6 | 1 << 7 | 1 << 14 | 1 << 15, CONFORMING = 0x400, TSS_32BIT = 8 };
  struct vcpu *v = l->replay.vcpu;
  struct fault fault = v->fault; /* about to be delivered; a read that fails raises its own */
  uint64_t gate = 0;
  uint32_t code, stack, selector = 0;
  l->unmarked_count = 0;
  if (l->deviations.reference != REF_QEMU || !(v->cr0 & 1) || vector * 8u + 7 > v->idt.limit) return;
  if (mem_read(v, dtable_linear(&v->idt, vector * 8u), 8, MEM_SYSTEM, &gate) == EXEC_NEXT && GATES >> (gate >> 40 & 31) & 1) {
    note_unmarked(l, (uint16_t)(gate >> 16), &code);
    unsigned level = code >> 13 & 3;
    gla at = segment_linear(&v->tr, v->tr.attr & TSS_32BIT ? 8 + 8 * level : 4 + 4 * level); /* SSn, figures 7-2 and 7-10 */
    bool inner = !(code & CONFORMING) && level < v->cpl;
    if (inner && mem_read(v, at, 2, MEM_SYSTEM, &selector) == EXEC_NEXT) note_unmarked(l, (uint16_t)selector, &stack);
  }
  v->fault = fault;
}
static void clear_marked(struct lockstep *l) {
  enum { ACCESSED = 0x100 };
  uint32_t high = 0;
  for (unsigned i = 0; i < l->unmarked_count; i++) {
    if (mem_read(l->replay.vcpu, l->unmarked[i], 4, MEM_SYSTEM, &high) != EXEC_NEXT || !(high & ACCESSED)) continue;
    high &= ~(uint32_t)ACCESSED;
    if (mem_write(l->replay.vcpu, l->unmarked[i], 4, MEM_SYSTEM, &high) == EXEC_NEXT)
      deviations_explain(&l->deviations, DEV_gate_accessed);
  }
  l->unmarked_count = 0;
}

/* The monitor calls this before it delivers. Returns true: monitor_run() comes back right after. */
static bool on_exception(void *opaque, const struct fault *f) {
  struct lockstep *l = opaque;
  char why[200];
  const struct ref_event *e = l->expected;
  struct vcpu *v = l->replay.vcpu;
  if (!e && f->software && vcpu_real_mode(v)) return l->counts.software++, l->untold = true;
  l->raised = true;
  note_gate(l, f->vector);
  if (!e) {
    snprintf(why, sizeof why, "bt raises vector %02x (error %x, CR2 %08x) where the reference raises none", f->vector,
             f->has_error ? f->error : 0, (uint32_t)f->cr2.v);
    diverge(l, why);
  } else if (f->vector != e->vector || f->software != e->software || (e->has_error && f->error != e->error) ||
             (f->vector == VEC_PF && f->cr2.v != e->cpu.cr2)) {
    snprintf(why, sizeof why, "bt raises vector %02x (error %x, CR2 %08x), the reference %02x (error %x, CR2 %08x)", f->vector,
             f->has_error ? f->error : 0, (uint32_t)f->cr2.v, e->vector, e->error, e->cpu.cr2);
    diverge(l, why);
  } else {
    struct ref_cpu at = e->cpu;
    at.cr2 = v->cr2; /* loaded by delivery here, before it there */
    at.dr[6] = v->dr[6];
    if (f->software) at.eip += f->length; /* the reference tells of the instruction, not of what it pushes */
    if (e->no_cpu) return true;
    l->counts.compares++;
    if (!compare_cpu(v, &at, l->undefined, l->undefined_by, &l->deviations, &l->differences))
      diverge(l, "the registers differ at an exception that both raise");
  }
  return true;
}

static gla stack_top(const struct vcpu *v) { return segment_linear(&v->s.seg[SEG_SS], v->s.gpr[REG_ESP] & vcpu_stack_mask(v)); }

/* QEMU 7.2 pushes RF clear for all faults and Bochs for the one of DR7.GD; the manual has it set. */
static void clear_pushed_rf(struct lockstep *l, const struct ref_event *e) {
  struct vcpu *v = l->replay.vcpu;
  enum deviation why = l->deviations.reference == REF_QEMU ? DEV_resume_flag : DEV_resume_flag_gd;
  if (why == DEV_resume_flag_gd && e->vector != VEC_DB) return;
  uint32_t image = 0;
  gla at = gla_add(stack_top(v), e->has_error ? 12 : 8);
  if (e->software || mem_read(v, at, 4, MEM_SYSTEM, &image) != EXEC_NEXT || ((image ^ e->cpu.eflags) & ~(uint32_t)FLAG_RF) ||
      !(image & ~e->cpu.eflags & FLAG_RF))
    return;
  image &= ~(uint32_t)FLAG_RF;
  if (mem_write(v, at, 4, MEM_SYSTEM, &image) == EXEC_NEXT) deviations_explain(&l->deviations, why);
}

/* Bochs leaves the upper half of the doubleword as it was where PUSH writes a selector. Every unit of it is one instruction, so
 * ours has not run yet. */
static void read_under_push(struct lockstep *l, const struct unit *u, struct under_push *p) {
  struct vcpu *v = l->replay.vcpu;
  p->at = segment_linear(&v->s.seg[SEG_SS], (v->s.gpr[REG_ESP] - 4) & vcpu_stack_mask(v));
  p->known = l->deviations.reference == REF_BOCHS && u->info->last_kind == OP_PUSH_SEG && !u->count &&
             mem_read(v, p->at, 4, MEM_SYSTEM, &p->value) == EXEC_NEXT;
}

static void restore_under_push(struct lockstep *l, const struct under_push *p) {
  struct vcpu *v = l->replay.vcpu;
  uint32_t value = 0;
  bool wide = p->known && stack_top(v).v == p->at.v; /* else 16-bit operands */
  if (!wide || p->value < 0x10000 || mem_read(v, p->at, 4, MEM_SYSTEM, &value) != EXEC_NEXT) return;
  value = (value & 0xffff) | (p->value & 0xffff0000);
  if (mem_write(v, p->at, 4, MEM_SYSTEM, &value) == EXEC_NEXT) deviations_explain(&l->deviations, DEV_selector_push);
}

/* The instruction of the unit at an address. */
static bool insn_at(const struct lockstep *l, const struct unit *u, uint32_t linear, struct insn *insn) {
  const struct ref_insns *insns = u->info->insns;
  unsigned i = index_in(insns, linear);
  return i < insns->count &&
         insn_decode(insn, insns->insn[i].bytes, insns->insn[i].length, mode_of(l, &l->current.cpu)) == INSN_OK;
}

/* An operand that is read and written, on a page that may only be read: accessed_early. */
static void mark_accessed(struct lockstep *l, const struct unit *u, const struct ref_event *e) {
  enum { PRESENT_WRITE = 3 };
  struct insn insn;
  uint8_t byte;
  if (e->vector != VEC_PF || (e->error & PRESENT_WRITE) != PRESENT_WRITE || !insn_at(l, u, linear_eip(&e->cpu), &insn) ||
      insn.access != ACCESS_RW)
    return;
  if (deviations_explain(&l->deviations, DEV_accessed_early))
    (void)mem_read(l->replay.vcpu, to_gla(e->cpu.cr2), 1, MEM_SYSTEM, &byte);
}

/* breakpoint_after_ss: our side stands behind MOV SS or POP SS, where the reference raises a debug exception: without its shadow,
 * a code breakpoint is delivered here, too. Data breakpoints that wait for the shadow's end are no matter of this row. */
static bool lift_shadow(struct lockstep *l, const struct ref_event *expected) {
  struct vcpu *v = l->replay.vcpu;
  if (l->deviations.reference != REF_QEMU || expected->vector != VEC_DB || expected->software) return false;
  if (!v->inhibit_db || v->pending_db || cpu_model_is_amd(v->model)) return false;
  v->inhibit_db = false;
  return true;
}

static bool run_to(struct lockstep *l, uint64_t count) {
  struct monitor *m = l->replay.machine->monitor;
  monitor_stop_at(m, count);
  const char *stopped = monitor_run(m);
  if (stopped) return diverge(l, stopped);
  return l->end != LOCKSTEP_DIVERGED;
}

/* INT n in real mode is no event of the reference's, but an instruction like others, and no exception is one of ours. */
static bool run_owed(struct lockstep *l, uint64_t *target) {
  do {
    l->untold = false;
    if (!run_to(l, *target)) return false;
    *target -= l->untold;
  } while (l->untold && monitor_insn_count(l->replay.machine->monitor) < *target);
  return true;
}

/* Runs what is owed; with an exception expected, until it. */
static bool pay(struct lockstep *l, const struct ref_event *expected) {
  struct monitor *m = l->replay.machine->monitor;
  uint64_t target = monitor_insn_count(m) + l->owed;
  l->expected = expected;
  l->raised = false;
  if (l->owed && !run_owed(l, &target)) return false;
  bool lifted = expected && !l->raised && lift_shadow(l, expected);
  if (expected && !l->raised && !run_to(l, target + 1)) return false; /* raised by fetching what comes next */
  if (lifted && l->raised) deviations_explain(&l->deviations, DEV_breakpoint_after_ss);
  l->owed = 0;
  if (expected && !l->raised)
    return diverge(l, l->replay.tripled ? "bt shuts down (triple fault)" : "the reference raises an exception that bt does not");
  if (!expected && !l->raised && monitor_insn_count(m) != target)
    return diverge(l, l->replay.tripled ? "bt shuts down (triple fault)" : "bt stands still where the reference goes on");
  return true;
}

/* As many iterations as the reference has done. */
static bool pay_rep(struct lockstep *l, const struct unit *u) {
  struct vcpu *v = l->replay.vcpu;
  l->owed--;
  if (!pay(l, NULL)) return false;
  uint32_t eip = v->s.eip, left = u->rep_left, *ecx = &v->s.gpr[REG_ECX];
  *ecx -= u->info->rep_wide ? left : left & 0xffff;
  l->owed = 1;
  if (!pay(l, NULL)) return false;
  v->s.eip = eip;
  *ecx = left;
  return true;
}

/* The value is known for this unit only: our side has to be there. */
static bool pay_before_msr(struct lockstep *l, const struct unit *u) {
  unsigned insns = u->insns;
  l->owed -= insns;
  bool paid = pay(l, NULL);
  l->owed = insns;
  return paid;
}

/* A20 is not the CPU's: it is changed by a port, and the reference tells. */
static void follow_a20(struct vcpu *v, const struct ref_cpu *ref) {
  if (v->a20_masked == !ref->a20) return;
  v->a20_masked = !ref->a20;
  vcpu_paging_changed(v);
}

static bool compare(struct lockstep *l, const struct ref_cpu *ref) {
  struct differences *out = &l->differences;
  if (l->next.kind == REF_BLOCK && l->next.no_cpu && ref == &l->next.cpu) return true; /* compared at the block behind it */
  l->counts.compares++;
  if (!replay_settled(&l->replay)) return diverge(l, l->replay.problem);
  if (!compare_cpu(l->replay.vcpu, ref, l->undefined, l->undefined_by, &l->deviations, out))
    return diverge(l, "the registers differ");
  if (ref->has_fp && !compare_fp(l->replay.vcpu, ref, &l->deviations, out)) return diverge(l, "the x87 or SSE registers differ");
  if (l->replay.vcpu->halted != ref->halted && l->next.kind == REF_STOPPED)
    return diverge(l, "one side is halted, the other is not");
  follow_a20(l->replay.vcpu, ref);
  l->undefined = 0;
  l->compared_at = l->counts.insns;
  return true;
}

/* Real mode: what INT n and interrupts push is in no event. Behind them is what the reference pushed, but for IF and TF:
 * undefined flags are made equal before they get into memory. */
static void settle_flags(struct lockstep *l, const struct ref_cpu *after) {
  if (!after->cr0) return; /* it is not known either */
  struct vcpu *v = l->replay.vcpu;
  uint32_t difference = (vcpu_eflags(v) ^ after->eflags) & l->undefined & FLAGS_ARITH;
  if (difference) deviations_count_flags(&l->deviations, l->undefined_by, difference);
  v->s.flags ^= difference;
  l->undefined = 0;
}

/* What was delivered after the unit's instructions. */
static bool deliver(struct lockstep *l, struct unit *u) {
  for (unsigned i = 0; i < u->count; i++) {
    const struct ref_event *e = &u->events[i], *last = i ? &u->events[i - 1] : NULL;
    if (e->kind == REF_INTERRUPT) {
      if (!(u->in_rep && i == 0 ? pay_rep(l, u) : pay(l, NULL))) return false;
      if (!e->no_cpu && !compare(l, &e->cpu)) return false;
      if (e->no_cpu) settle_flags(l, i + 1 < u->count ? &u->events[i + 1].cpu : &l->next.cpu);
      note_gate(l, e->vector);
      if (!monitor_interrupt(l->replay.machine->monitor, e->vector))
        return diverge(l, "the reference takes an interrupt where bt's CPU would not");
      clear_marked(l);
    } else if (!last || !last->failed) { /* else a fault of the delivery before: part of that */
      if (!pay(l, e)) return false;
      clear_pushed_rf(l, e);
      clear_marked(l);
      mark_accessed(l, u, e);
    }
  }
  return true;
}

/* ---- comparisons of memory ---- */

static bool compare_stopped(struct lockstep *l) {
  l->counts.ram_compares++;
  if (!compare_ram(l->replay.machine, ref_ram(l->ref), &l->deviations, &l->differences)) return diverge(l, "memory differs");
  l->ram_at = l->counts.insns;
  l->pausing = false;
  if (l->options.max_insns && l->counts.insns >= l->options.max_insns) return stop_with(l, LOCKSTEP_DONE, ""), false;
  ref_resume(l->ref);
  ref_next(l->ref, &l->next);
  if (l->next.kind == REF_ERROR) return fail(l, l->next.text);
  return true;
}

static void ask_for_memory(struct lockstep *l) {
  bool done = l->options.max_insns && l->counts.insns >= l->options.max_insns;
  if (l->pausing || !(done || (l->options.memory_every && l->counts.insns - l->ram_at >= l->options.memory_every))) return;
  l->pausing = true;
  ref_pause(l->ref);
}

/* ---- the run ---- */

/* Is the unit's last instruction one of them? Then our side goes up to it first. */
static bool settle_before_int(struct lockstep *l, const struct unit *u) {
  bool pushes = u->info->last_kind == OP_INT || u->info->last_kind == OP_INT3 || u->info->last_kind == OP_INTO;
  bool real = !(l->current.cpu.cr0 & CR0_PE), told = u->count || l->next.kind != REF_BLOCK || l->next.no_cpu;
  if (!pushes || !real || told || u->info == &u->partial || !l->undefined) return true;
  l->owed--;
  if (!pay(l, NULL)) return false;
  settle_flags(l, &l->next.cpu);
  l->owed++;
  return true;
}

static bool due(const struct lockstep *l) {
  return !l->options.every || l->counts.insns >= l->options.fine_from || l->counts.insns - l->compared_at >= l->options.every;
}

static void note_flags(struct lockstep *l, const struct block_info *info) {
  l->undefined = (uint16_t)((l->undefined & ~info->defined) | info->undefined);
  if (info->undefined) l->undefined_by = info->undefined_by;
}

static void owe(struct lockstep *l, const struct unit *u) {
  l->owed += u->insns;
  l->counts.insns += u->insns;
  l->counts.blocks++;
  l->counts.syscalls += u->info->last_kind == OP_SYSENTER;
  note_flags(l, u->info);
}

/* If the state behind the part is not the reference's, the whole block ran. */
static bool settle_doubt(struct lockstep *l, const struct unit *u) {
  struct vcpu *v = l->replay.vcpu;
  struct deviations unseen = l->deviations;
  struct differences differences;
  if (!pay(l, NULL)) return false;
  uint32_t flags = v->s.flags;
  if (compare_cpu(v, &l->next.cpu, l->undefined, l->undefined_by, &unseen, &differences)) return true;
  v->s.flags = flags;
  unsigned rest = u->whole->insns->count - u->insns;
  l->owed += rest, l->counts.insns += rest;
  note_flags(l, u->whole);
  return true;
}

/* What RDTSC, or RDMSR of the time-stamp counter, read stands in EDX:EAX behind the unit. */
static bool expect_time(struct lockstep *l, const struct unit *u) {
  const struct ref_cpu *after = u->count ? &u->events[0].cpu : &l->next.cpu;
  uint64_t value = (uint64_t)after->gpr[REG_EDX] << 32 | after->gpr[REG_EAX];
  if (l->next.kind == REF_END) return true;
  if (u->info->reads_tsc) return replay_expect_tsc(&l->replay, value) == 0 || fail(l, "not enough memory");
  if (!u->info->shows_msr) return true;
  if (!pay_before_msr(l, u)) return false;
  replay_show_msr(&l->replay, value);
  return true;
}

static bool one_unit(struct lockstep *l) {
  struct unit u;
  if (!collect(l, &u)) return false;
  cut_short(l, &u);
  find_rep_interrupt(l, &u);
  cut_at_exception(l, &u);
  owe(l, &u);
  if (!expect_time(l, &u) || (u.whole && !settle_doubt(l, &u))) return false;
  ask_for_memory(l);
  if (l->next.kind == REF_END) return stop_with(l, LOCKSTEP_GUEST_END, l->next.text), false;
  if (!settle_before_int(l, &u)) return false;
  if (u.count && !deliver(l, &u)) return false;
  if (!u.count && !due(l) && l->next.kind != REF_STOPPED) return true;
  struct under_push under;
  read_under_push(l, &u, &under);
  if (!pay(l, NULL)) return false;
  restore_under_push(l, &under);
  if (!compare(l, &l->next.cpu)) return false;
  return l->next.kind != REF_STOPPED || compare_stopped(l);
}

/* The first unit is of no instructions: what is delivered before the first block (its page may not be there) belongs to it. */
static void follow(struct lockstep *l, const struct ref_cpu *start) {
  static const struct ref_insns nothing;
  l->replay.check_writes = true;
  l->options.fine_from = l->options.fine_from ? l->options.fine_from : UINT64_MAX;
  l->before = l->current = (struct ref_event){.kind = REF_BLOCK, .cpu = *start, .insns = &nothing};
  while (one_unit(l)) {
    if (l->next.kind != REF_BLOCK) {
      fail(l, "the reference's events are out of order");
      return;
    }
    l->before = l->current = l->next;
  }
}

void lockstep_run(struct lockstep *l, const struct ref_cpu *start) {
  struct monitor *m = l->replay.machine->monitor;
  const char *failed = monitor_hold_signals(m, true);
  if (failed) {
    fail(l, failed);
    return;
  }
  monitor_on_exception(m, on_exception, l);
  follow(l, start);
  monitor_hold_signals(m, false);
}

void lockstep_free(struct lockstep *l) { block_infos_free(&l->infos); }
