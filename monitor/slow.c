/* What translated code cannot do by itself: accesses whose check failed, instructions that the monitor runs, host faults (D2, D7).
 *
 * Every path here either resumes at the failed check, when an entry was merely filled, or commits the instruction and goes on through the dispatcher. */
#include "bytes.h"
#include "exec.h"
#include "private.h"

/* ---- the instruction at EIP ------------------------------------------------------------------------------------ */

/* Up to 15 bytes at linear `from`, fetched as the CPU would; a page is touched only if `need` bytes reach into it. */
static int fetch_bytes(struct monitor *m, uint32_t from, uint8_t *to, unsigned have, unsigned need) {
  struct vcpu *v = m->v;
  while (have < need) {
    struct mmu_result r;
    uint32_t linear = from + have;
    unsigned n = MMU_PAGE - (linear & MMU_PAGE_MASK);
    if (n > need - have) n = need - have;
    if (!mmu_translate(m->mmu, to_gla(linear), MMU_FETCH, v->cpl == 3, &r)) {
      fault_raise_error(v, VEC_PF, r.error);
      v->fault.cr2 = linear;
      return -1;
    }
    if (r.host) bytes_copy(to + have, r.host, n);
    else for (unsigned i = 0; i < n; i++) mmu_phys_read(m->mmu, to_gpa(r.addr.v + i), to + have + i, 1);
    have += n;
  }
  return (int)have;
}

/* Bytes from EIP that may be code: to the page's end first, and beyond only when the instruction is not complete there. */
static int decode_fresh(struct monitor *m, struct slow_insn *e) {
  struct vcpu *v = m->v;
  uint8_t bytes[16];
  uint32_t linear = monitor_linear_eip(m), limit = v->s.seg[SEG_CS].limit;
  if (v->s.eip > limit) return fault_raise_error(v, VEC_GP, 0);
  unsigned most = limit - v->s.eip < 15 ? limit - v->s.eip + 1 : 15, page = MMU_PAGE - (linear & MMU_PAGE_MASK);
  int have = fetch_bytes(m, linear, bytes, 0, page < most ? page : most);
  if (have < 0) return EXEC_FAULT;
  vcpu_park_fp(v);
  struct insn_mode mode = {.code32 = m->mode.bits & TR_CODE32, .features = v->features};
  enum insn_error error = insn_decode(&e->insn, bytes, (unsigned)have, mode);
  if (error == INSN_TOO_SHORT && (unsigned)have < most) {
    have = fetch_bytes(m, linear, bytes, (unsigned)have, most);
    if (have < 0) return EXEC_FAULT;
    vcpu_park_fp(v);
    error = insn_decode(&e->insn, bytes, (unsigned)have, mode);
  }
  if (error != INSN_OK) return fault_raise_error(v, VEC_GP, 0);   /* over 15 bytes, or over the segment's limit */
  e->linear = linear, e->code32 = mode.code32, e->thunk = 0, e->valid = true;
  return EXEC_NEXT;
}

/* Still what memory holds? Only asked where the whole instruction lies in one page of RAM with a fetch entry. */
static bool still_there(struct monitor *m, const struct slow_insn *e, uint32_t linear) {
  if (!e->valid || e->linear != linear || e->code32 != !!(m->mode.bits & TR_CODE32)) return false;
  if ((linear & MMU_PAGE_MASK) + e->insn.length > MMU_PAGE || m->v->s.seg[SEG_CS].limit != 0xffffffff) return false;
  uint64_t entry = *(const uint64_t *)(uintptr_t)(m->v->s.table + MMU_FETCH_ARRAY + (uint64_t)(linear >> 12) * 8);
  if (!entry) return false;
  const uint8_t *p = mmu_ram_pointer(m->mmu, to_gpa((uint64_t)mmu_fetch_frame(entry) << 12 | (linear & MMU_PAGE_MASK)), e->insn.length);
  if (!p) return false;
  for (unsigned i = 0; i < e->insn.length; i++)
    if (p[i] != e->insn.bytes[i]) return false;
  return true;
}

static int find_insn(struct monitor *m, struct slow_insn **out) {
  uint32_t linear = monitor_linear_eip(m);
  struct slow_insn *e = *out = &m->slow[(linear ^ linear >> 9) % SLOW_INSNS];
  if (still_there(m, e, linear)) return EXEC_NEXT;
  e->valid = false;
  return decode_fresh(m, e);
}

/* ---- running a copied instruction outside its block ------------------------------------------------------------ */

static int host_fault_vector(struct monitor *m, const struct insn *insn) {
  struct vcpu *v = m->v;
  if (m->host_signal == SIGILL) return fault_raise(v, VEC_UD);
  if (m->host_signal == SIGSEGV) return fault_raise_error(v, VEC_GP, 0);
  if (m->host_signal == SIGBUS) { vm_stop(v, "the host ran out of memory for guest RAM"); return EXEC_STOP; }
  if (insn->row->fpu == FPU_NONE) return fault_raise(v, VEC_DE);
  if (insn->row->fpu == FPU_SSE) return fault_raise(v, v->cr4 & CR4_OSXMMEXCPT ? VEC_XM : VEC_UD);
  if (v->cr0 & CR0_NE) return fault_raise(v, VEC_MF);
  vcpu_park_fp(v);                                     /* FERR# to IRQ 13; the instruction waits for the interrupt (SDM vol. 1, 8.7.2) */
  machine_set_ferr(m->machine, true);
  v->halted = true;
  return RUN_RETRY;
}

/* Runs e's instruction once with its memory operand at `host`. EXEC_FAULT: the host faulted, v->fault is filled. */
static int run_thunk(struct monitor *m, struct slow_insn *e, void *host) {
  struct vcpu *v = m->v;
  if (!e->thunk || e->generation != tcache_generation(m->tcache)) {
    uint32_t at = tcache_thunk_space(m->tcache);
    if (!at) {                                         /* the guest's state is settled: no block is needed any more */
      run_flush(m);
      at = tcache_thunk_space(m->tcache);
    }
    e->thunk_exit = at + tr_write_thunk(&e->insn, tcache_writable(m->tcache, at), at, tcache_stubs(m->tcache), NO_SITE, &e->thunk_fault) - 9;   /* CALL; dd */
    e->thunk = at, e->generation = tcache_generation(m->tcache);
  }
  m->counters.bounces++;
  m->thunk_fault = e->thunk_fault, m->thunk_exit = e->thunk_exit;
  m->thunk_faulted = false;
  v->s.scratch[0] = (uint64_t)(uintptr_t)host;
  run_enter(m, tcache_address(m->tcache, e->thunk));
  m->thunk_fault = 0;
  if (m->thunk_faulted) return host_fault_vector(m, &e->insn);
  return EXEC_NEXT;
}

/* The instruction on a buffer: reads only what it reads, commits after it ran (D2: bounce). */
static int bounce(struct monitor *m, struct slow_insn *e) {
  struct vcpu *v = m->v;
  const struct insn *insn = &e->insn;
  uint8_t buffer[64 + 512 + 64];
  uint32_t offset = insn_offset(v, insn), linear, size = insn->mem_size;
  int r = fpu_check(v, insn->row->fpu);
  if (r != EXEC_NEXT) return r;
  uint8_t *at;
  bool write = insn->access & ACCESS_W;
  if ((r = seg_check(v, insn->seg, offset, size, write, &linear)) != EXEC_NEXT) return r;
  at = (uint8_t *)(((uintptr_t)buffer + 63) & ~(uintptr_t)63) + (linear & 15);
  if (insn_requires_alignment(insn) && (linear & 15)) return fault_raise_error(v, VEC_GP, 0);
  if (write && (r = seg_probe_write(v, insn->seg, offset, size)) != EXEC_NEXT) return r;
  if ((insn->access & ACCESS_R) && (r = seg_read(v, insn->seg, offset, size, at)) != EXEC_NEXT) return r;
  if ((r = run_thunk(m, e, at)) != EXEC_NEXT) return r;
  if (write && (r = seg_write(v, insn->seg, offset, size, at)) != EXEC_NEXT) return r;
  return EXEC_NEXT;
}

static void next_eip(struct vcpu *v, const struct insn *insn) { v->s.eip = exec_next_eip(v, insn); }

static int run_lea(struct vcpu *v, const struct insn *insn) {
  reg_write(v, insn->reg, insn->operand_size, insn_offset(v, insn));
  return EXEC_NEXT;
}

static int run_insn(struct monitor *m, struct slow_insn *e) {
  struct vcpu *v = m->v;
  const struct insn *insn = &e->insn;
  int r = EXEC_NEXT;
  switch ((enum op_kind)insn->kind) {
  case OP_COPY:
    if (insn->has_mem) r = bounce(m, e);
    else if ((r = fpu_check(v, insn->row->fpu)) == EXEC_NEXT) r = run_thunk(m, e, NULL);
    break;
  case OP_LEA: r = run_lea(v, insn); break;
  case OP_NOP: break;
  default: return slow_callout(m, insn);
  }
  if (r == EXEC_NEXT) next_eip(v, insn);
  return r;
}

int slow_step(struct monitor *m) {
  struct slow_insn *e;
  int r = find_insn(m, &e);
  return r == EXEC_NEXT ? run_insn(m, e) : r;
}

int slow_callout(struct monitor *m, const struct insn *insn) {
  m->counters.callouts++;
  m->counters.callout_kind[insn->kind]++;
  if (insn->kind == OP_COPY || insn->kind == OP_LEA || insn->kind == OP_NOP) return slow_step(m);
  run_tell_clock(m);
  return exec_insn(m->v, insn);
}

/* ---- a check failed -------------------------------------------------------------------------------------------- */

static int page_fault(struct monitor *m, uint32_t linear, uint32_t error) {
  struct vcpu *v = m->v;
  m->counters.slow_fault++;
  fault_raise_error(v, VEC_PF, error);
  v->fault.cr2 = linear;
  return EXEC_FAULT;
}

/* A store to RAM that is merely traced: what derives from it dies, the instruction runs in place, so that LOCK stays atomic. */
static int in_place(struct monitor *m, const struct mmu_result *r, unsigned size) {
  struct slow_insn *e;
  int result = find_insn(m, &e);
  if (result != EXEC_NEXT) return result;
  if (e->insn.kind != OP_COPY || insn_requires_alignment(&e->insn)) return run_insn(m, e);
  mmu_traced_store_begin(m->mmu, r->addr, size);
  result = run_thunk(m, e, r->host);
  mmu_traced_store_end(m->mmu, r->addr, size);
  if (result == EXEC_NEXT) next_eip(m->v, &e->insn);
  return result;
}

bool slow_access(struct monitor *m, struct tr_site *site, int *result) {
  struct vcpu *v = m->v;
  uint32_t linear = (uint32_t)v->s.exit_linear;
  unsigned size = site->size ? site->size : 256;
  bool write = site->access & ACCESS_W, one_page = (linear & MMU_PAGE_MASK) + size <= MMU_PAGE;
  struct mmu_result r;
  m->dropped = false;
  if (!one_page || (m->mode.bits & TR_ALIGN) || (site->access & TR_ACCESS_LIMITED)) {
    run_settle(m, site);
    m->counters.slow_cross++;
    *result = slow_step(m);
    return false;
  }
  if (!mmu_translate(m->mmu, to_gla(linear), write ? MMU_WRITE : MMU_READ, v->cpl == 3, &r)) {
    run_settle(m, site);
    *result = page_fault(m, linear, r.error);
    return false;
  }
  if (r.filled) {
    m->counters.slow_fill++;
    if (m->dropped) {   /* a window of this block may be gone (the walk traced a page table): through the dispatcher */
      run_settle(m, site);
      *result = RUN_RETRY;
      return false;
    }
    run_enter(m, tcache_address(m->tcache, site->host));
    return true;
  }
  run_settle(m, site);
  if (r.kind == MMU_RAM && write) {
    m->counters.slow_traced++;
    *result = in_place(m, &r, size);
  } else {
    m->counters.slow_io++;
    *result = slow_step(m);
  }
  return false;
}

int slow_host_fault(struct monitor *m, struct tr_site *site) {
  struct slow_insn *e;
  run_settle(m, site);
  int r = find_insn(m, &e);
  return r == EXEC_NEXT ? host_fault_vector(m, &e->insn) : r;
}
