/* What translated code cannot do by itself: accesses whose check failed, instructions that the monitor runs, host faults (D2,
 * D7).
 *
 * Every path here either resumes at the failed check, when an entry was merely filled, or commits the instruction and goes on
 * through the dispatcher. */
#include "bytes.h"
#include "exec.h"
#include "mirror.h"
#include "segment.h"

/* ---- the instruction at EIP ------------------------------------------------------------------------------------ */

/* Up to 15 bytes at linear `from`, fetched as the CPU would; a page is touched only if `need` bytes reach into it. */
static int fetch_bytes(struct monitor *m, gla from, uint8_t *to, unsigned have, unsigned need) {
  struct vcpu *v = m->v;
  while (have < need) {
    struct mmu_result r;
    gla linear = gla_add(from, have);
    unsigned n = MMU_PAGE - gla_in_page(linear);
    if (n > need - have) n = need - have;
    if (!mmu_translate(m->v->mmu_cpu, linear, MMU_FETCH, v->cpl == 3, &r)) {
      fault_raise_page(v, linear, r.error);
      return -1;
    }
    if (r.host) bytes_copy(to + have, r.host, n);
    else
      for (unsigned i = 0; i < n; i++) mmu_phys_read(m->mmu, to_gpa(r.addr.v + i), to + have + i, 1);
    have += n;
  }
  return (int)have;
}

/* Bytes from EIP that may be code: to the page's end first, and beyond only when the instruction is not complete there. */
static int decode_fresh(struct monitor *m, struct slow_insn *e) {
  struct vcpu *v = m->v;
  uint8_t bytes[16];
  gla linear = monitor_linear_eip(m);
  uint32_t limit = v->s.seg[SEG_CS].limit;
  if (v->s.eip > limit) return fault_raise_error(v, VEC_GP, 0);
  unsigned most = limit - v->s.eip < 15 ? limit - v->s.eip + 1 : 15, page = MMU_PAGE - gla_in_page(linear);
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
  if (error != INSN_OK) return fault_raise_error(v, VEC_GP, 0); /* over 15 bytes, or over the segment's limit */
  e->linear = linear, e->code32 = mode.code32, e->thunk = 0, e->valid = true;
  return EXEC_NEXT;
}

/* Are the next n bytes of the instruction within CS.limit? */
static bool within_code(const struct monitor *m, unsigned n) {
  uint32_t limit = m->v->s.seg[SEG_CS].limit, eip = m->v->s.eip;
  return eip <= limit && limit - eip >= n - 1;
}

/* Still what memory holds? Only asked where the whole instruction lies in one page of RAM with a fetch entry. */
static bool still_there(struct monitor *m, const struct slow_insn *e, gla linear) {
  if (!e->valid || e->linear.v != linear.v || e->code32 != !!(m->mode.bits & TR_CODE32)) return false;
  if (gla_in_page(linear) + e->insn.length > MMU_PAGE || !within_code(m, e->insn.length)) return false;
  uint64_t entry = *(const uint64_t *)(uintptr_t)(m->v->s.table + MMU_FETCH_ARRAY + gla_page(linear) * 8);
  if (!entry) return false;
  const uint8_t *p = (const uint8_t *)mmu_frame_pointer(m->mmu, mmu_fetch_frame(entry)) + gla_in_page(linear);
  for (unsigned i = 0; i < e->insn.length; i++)
    if (p[i] != e->insn.bytes[i]) return false;
  return true;
}

static int find_insn(struct monitor *m, struct slow_insn **out) {
  gla linear = monitor_linear_eip(m);
  struct slow_insn *e = *out = &m->slow[(linear.v ^ linear.v >> 9) % SLOW_INSNS];
  if (still_there(m, e, linear)) return EXEC_NEXT;
  e->valid = false;
  return decode_fresh(m, e);
}

/* ---- running a copied instruction outside its block ------------------------------------------------------------ */

static int host_fault_vector(struct monitor *m, const struct insn *insn) {
  struct vcpu *v = m->v;
  if (m->host_signal == SIGILL) return fault_raise(v, VEC_UD);
  if (m->host_signal == SIGSEGV) return fault_raise_error(v, VEC_GP, 0);
  if (m->host_signal == SIGBUS) {
    vm_stop(v, "the host ran out of memory for guest RAM");
    return EXEC_STOP;
  }
  if (insn->row->fpu == FPU_NONE) return fault_raise(v, VEC_DE);
  /* Conversions between XMM and MMX registers can raise either: an x87 exception that is pending, or one of their own. */
  if (insn->row->fpu == FPU_SSE && m->host_vector != VEC_MF) return fault_raise(v, v->cr4 & CR4_OSXMMEXCPT ? VEC_XM : VEC_UD);
  if (v->cr0 & CR0_NE) return fault_raise(v, VEC_MF);
  vcpu_park_fp(v); /* FERR# to IRQ 13; the instruction waits for the interrupt (SDM vol. 1, 8.7.2) */
  machine_set_ferr(m->machine, true);
  v->halted = true;
  return RUN_RETRY;
}

/* Runs e's instruction once with its memory operand at `host`. EXEC_FAULT: the host faulted, v->fault is filled. */
static int run_thunk(struct monitor *m, struct slow_insn *e, void *host) {
  struct vcpu *v = m->v;
  if (!e->thunk || e->generation != tcache_generation(m->code.tcache)) {
    vcpu_park_fp(v); /* the translator is plain C */
    bool has_room = e->room && e->generation == tcache_generation(m->code.tcache);
    uint32_t fault, at = has_room ? e->room : tcache_thunk_space(m->code.tcache);
    if (!at) { /* the guest's state is settled: no block is needed any more */
      run_flush(m);
      at = tcache_thunk_space(m->code.tcache);
    }
    e->thunk_exit = at +
                    tr_write_thunk(&e->insn, tcache_writable(m->code.tcache, at, TR_THUNK_SIZE), at, tcache_stubs(m->code.tcache),
                                   NO_SITE, &fault) -
                    TR_EXIT_SIZE;
    e->thunk = e->room = at, e->thunk_fault = (uint16_t)(fault - at), e->generation = tcache_generation(m->code.tcache);
  }
  m->counters.bounces++;
  m->thunk_fault = e->thunk + e->thunk_fault, m->thunk_exit = e->thunk_exit;
  m->thunk_faulted = false;
  v->s.scratch[0] = (uint64_t)(uintptr_t)host;
  if (e->insn.row->fpu != FPU_NONE) run_load_fp(m);
  run_enter(m, tcache_address(m->code.tcache, e->thunk));
  m->thunk_fault = 0;
  if (m->thunk_faulted) return host_fault_vector(m, &e->insn);
  return EXEC_NEXT;
}

/* x87 exceptions that FCW does not mask, and of those the ones that wait to be reported. */
static unsigned unmasked_exceptions(struct vcpu *v) {
  vcpu_park_fp(v);
  return ~v->fp.bytes[0] & 0x3f;
}
static bool exception_pending(struct vcpu *v) { return unmasked_exceptions(v) & v->fp.bytes[2]; }

/* AMD's misaligned exception mask (APM vol. 1, 4.3.2), which a host that has it lets guests set (README, quirks): then only moves
 * that are named aligned are so, MOVAPS, MOVAPD, MOVDQA and MOVNT*. */
static bool may_be_misaligned(struct vcpu *v, const struct insn *insn) {
  enum { MXCSR = 24, MM = 1 << 17 };
  if (insn->row->aligned) return false;
  vcpu_park_fp(v);
  return load32(v->fp.bytes + MXCSR) & MM;
}

/* What comes before any fault of the memory operand's address, as on Intel's CPUs (Sapphire Rapids): #MF of an earlier x87
 * instruction, then #GP for an SSE operand that is not aligned. */
static int faults_before_operand(struct monitor *m, const struct insn *insn, gla linear) {
  struct vcpu *v = m->v;
  if (insn->row->fpu == FPU_NONE) return EXEC_NEXT;
  if (insn_waits(insn) && (v->cr0 & CR0_NE) && exception_pending(v)) return fault_raise(v, VEC_MF);
  if (insn_requires_alignment(insn) && (linear.v & 15) && !may_be_misaligned(v, insn)) return fault_raise_error(v, VEC_GP, 0);
  return EXEC_NEXT;
}

/* The instruction on a buffer: reads only what it reads, commits after it ran (D2: bounce). An x87 store that meets an unmasked
 * exception stores nothing: what is there is then read first. */
static int bounce(struct monitor *m, struct slow_insn *e) {
  struct vcpu *v = m->v;
  const struct insn *insn = &e->insn;
  uint8_t buffer[64 + 512 + 64];
  gla linear;
  uint32_t offset = insn_offset(v, insn), size = insn->mem_size;
  int r = fpu_check(v, insn->row->fpu);
  if (r != EXEC_NEXT) return r;
  uint8_t *at;
  bool write = insn->access & ACCESS_W, read = insn->access & ACCESS_R;
  if ((r = faults_before_operand(m, insn, segment_linear(&v->s.seg[insn->seg], offset))) != EXEC_NEXT) return r;
  if ((r = seg_check(v, insn->seg, offset, size, write, &linear)) != EXEC_NEXT) return r;
  at = (uint8_t *)(((uintptr_t)buffer + 63) & ~(uintptr_t)63) + (linear.v & 15);
  if (write && (r = seg_probe_write(v, insn->seg, offset, size)) != EXEC_NEXT) return r;
  read |= insn->row->fpu == FPU_X87 && unmasked_exceptions(v);
  if (read && (r = seg_read(v, insn->seg, offset, size, at)) != EXEC_NEXT) return r;
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
    if (insn->row->does == DOES_MOV_IMM) reg_write(v, insn_opcode(insn) & 7, insn->operand_size, insn->imm);
    else if (insn->has_mem) r = bounce(m, e);
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
  if (r != EXEC_NEXT) return r;
  if (m->v->accessed) rest_insn(m, &e->insn);
  return run_insn(m, e);
}

/* After a segment load: what its descriptor was, so that loading the same again need not come here (emit_mov_to_seg). */
static void remember_descriptor(struct vcpu *v, unsigned seg) {
  uint32_t selector = v->s.seg[seg].selector, offset = selector & 0xfff8;
  gla table = dtable_linear(&v->gdt, 0);
  if (!vcpu_protected(v) || (selector & 4) || !offset || gla_in_page(table) + offset + 8 > MMU_PAGE) return;
  uint64_t entry = mmu_table(v->mmu_cpu, false)[gla_page(table)];
  if (!entry) return;
  v->s.gdt_host = entry + table.v;
  uint64_t raw = load64((const void *)(uintptr_t)(v->s.gdt_host + offset));
  if (v->cpl == 0 || raw_is_users(raw)) v->s.seg_raw[seg] = raw;
}

void slow_remember_vectors(struct monitor *m) {
  struct vcpu *v = m->v;
  gla table = dtable_linear(&v->idt, 0);
  if (!vcpu_real_mode(v) || v->idt.limit < 0x3ff || gla_in_page(table) + 0x400 > MMU_PAGE) return;
  uint64_t entry = mmu_table(v->mmu_cpu, false)[gla_page(table)];
  if (entry) v->s.ivt_host = entry + table.v;
}

static int callout(struct monitor *m, const struct insn *insn) {
  m->counters.callouts++;
  m->counters.callout_kind[insn->kind]++;
  /* FXSAVE and its like are the monitor's in any mode */
  if ((m->mode.bits & TR_NO_FP) && insn->row->fpu != FPU_NONE && insn->kind == OP_COPY)
    m->fp_used = m->v->mode_dirty = true, m->fp_loads = 0;
  if (insn->kind == OP_COPY || insn->kind == OP_LEA || insn->kind == OP_NOP) return slow_step(m);
  run_tell_clock(m);
  int result = exec_insn(m->v, insn);
  if ((m->options.log & 1u << LOG_mmu) && insn->kind == OP_MOV_TO_CR) report_mmu(m, "CR0, CR3", m->v->cr0, m->v->cr3);
  if (result == EXEC_NEXT && insn->kind == OP_MOV_TO_SEG) remember_descriptor(m->v, insn->sreg);
  if (result == EXEC_NEXT && insn->kind == OP_POP_SEG) remember_descriptor(m->v, insn->sreg);
  return result;
}

/* Does a run of callouts go on with the instruction at p? Told by its opcode, so that nothing else is decoded. */
static bool run_goes_on(const uint8_t *p) {
  unsigned kind = p[0] == 0x0f ? op_kind_of_opcode[1][p[1]] : op_kind_of_opcode[0][p[0]];
  return kind_has(kind, KIND_IN_RUN | KIND_ENDS_RUN);
}

/* Nothing that the run loop would look at between two instructions is there. */
static bool run_may_go_on(struct monitor *m) {
  const struct vcpu *v = m->v;
  return !m->kicked && !(m->intr && v->s.if_flag) && !v->nmi_pending && !v->inhibit_irq && !v->inhibit_db && !v->pending_db &&
         !m->jitter_delay && !m->options.log && !(m->mode.bits & TR_STEP) && !(v->s.sys_flags & (FLAG_TF | FLAG_RF)) &&
         !monitor_counted(m) && !v->accessed;
}

/* The instruction at EIP if a run goes on with it: in a page of RAM with a fetch entry, within CS.limit. */
static struct slow_insn *next_of_run(struct monitor *m) {
  struct vcpu *v = m->v;
  struct slow_insn *e;
  gla linear = monitor_linear_eip(m);
  uint32_t offset = gla_in_page(linear);
  if (offset > MMU_PAGE - 16 || !within_code(m, 16)) return NULL;
  uint64_t entry = *(const uint64_t *)(uintptr_t)(v->s.table + MMU_FETCH_ARRAY + gla_page(linear) * 8);
  const uint8_t *page = entry ? mmu_frame_pointer(m->mmu, mmu_fetch_frame(entry)) : NULL;
  return page && run_goes_on(page + offset) && find_insn(m, &e) == EXEC_NEXT ? e : NULL;
}

/* Kernels enter and leave by runs of such instructions (POP DS, POP ES, POPA, IRET): the next one is then done at once, as the
 * way through the dispatcher and a block of one instruction costs 70 cycles. */
int slow_callout(struct monitor *m, const struct insn *insn) {
  enum { LONGEST = 16 };
  unsigned kind = insn->kind;
  int result = callout(m, insn);
  for (unsigned n = 1; n < LONGEST && result == EXEC_NEXT && kind_has(kind, KIND_IN_RUN) && run_may_go_on(m); n++) {
    struct slow_insn *e = next_of_run(m);
    if (!e) break;
    kind = e->insn.kind;
    result = callout(m, &e->insn);
  }
  return result;
}

/* ---- a check failed -------------------------------------------------------------------------------------------- */

static int page_fault(struct monitor *m, gla linear, uint32_t error) {
  struct vcpu *v = m->v;
  struct slow_insn *e;
  int r = find_insn(m, &e);
  if (r == EXEC_NEXT) r = faults_before_operand(m, &e->insn, linear);
  if (r != EXEC_NEXT) return r;
  m->counters.slow_fault++;
  fault_raise_page(v, linear, error);
  if (m->options.log & 1u << LOG_mmu) report_mmu(m, "page fault at", (uint32_t)linear.v, error);
  return EXEC_FAULT;
}

/* MOV of a register or an immediate to memory (what nearly every store to a page table is), or of memory to a register. */
static bool is_plain_move(const struct insn *insn, unsigned size, unsigned access) {
  return insn->row->does == DOES_MOV && insn->access == access && insn->mem_size == size && size <= 4;
}

static unsigned moved_register(const struct insn *insn) { return insn->modrm_offset ? insn->reg : REG_EAX; }

static uint32_t stored_value(const struct vcpu *v, const struct insn *insn) {
  return insn->imm_size ? insn->imm : reg_read(v, moved_register(insn), insn->operand_size);
}

static void about_to_store(struct vcpu *v, gpa at, unsigned size) {
  v->store.offset = (uint16_t)(at.v % MMU_PAGE), v->store.size = (uint16_t)size, v->store.by_insn = true;
}

/* A store to RAM that is merely traced: what derives from it dies, the instruction runs in place, so that LOCK stays atomic. A
 * plain one is done here, which saves the way into translated code and back (100 cycles of 250). */
static int in_place(struct monitor *m, const struct mmu_result *r, unsigned size) {
  struct slow_insn *e;
  int result = find_insn(m, &e);
  if (result != EXEC_NEXT) return result;
  if (e->insn.kind != OP_COPY || insn_requires_alignment(&e->insn)) return run_insn(m, e);
  if (is_plain_move(&e->insn, size, ACCESS_W)) {
    uint32_t value = stored_value(m->v, &e->insn);
    about_to_store(m->v, r->addr, size);
    mmu_phys_write(m->mmu, r->addr, &value, size);
    m->v->store.size = 0;
    next_eip(m->v, &e->insn);
    return EXEC_NEXT;
  }
  about_to_store(m->v, r->addr, size);
  mmu_traced_store_begin(m->v->mmu_cpu, r->addr, size);
  m->v->store.size = 0;
  result = run_thunk(m, e, r->host);
  mmu_traced_store_end(m->v->mmu_cpu, r->addr, size);
  if (result == EXEC_NEXT) next_eip(m->v, &e->insn);
  return result;
}

/* A MOV of a device's register, as nearly every access to one is (an interrupt's EOI): done here, since a bounce costs as much as
 * the rest of the interrupt. */
static int in_device(struct monitor *m, const struct mmu_result *r, unsigned size, bool write) {
  struct vcpu *v = m->v;
  struct slow_insn *e;
  int result = find_insn(m, &e);
  if (result != EXEC_NEXT) return result;
  uint32_t value = 0;
  if (write && is_plain_move(&e->insn, size, ACCESS_W)) {
    value = stored_value(v, &e->insn);
    mmu_phys_write(m->mmu, r->addr, &value, size);
  } else if (!write && is_plain_move(&e->insn, size, ACCESS_R)) {
    mmu_phys_read(m->mmu, r->addr, &value, size);
    reg_write(v, moved_register(&e->insn), size, value);
  } else {
    return run_insn(m, e);
  }
  next_eip(v, &e->insn);
  return EXEC_NEXT;
}

/* In a device's window that is as near as memory (mmu_plain_at(): the VGA's planes): MOVs are done here, other instructions on a
 * copy of their operand, of which nothing but the page is in question. */
static int in_window(struct monitor *m, const struct mmu_plain *p, uint64_t offset, unsigned size) {
  struct vcpu *v = m->v;
  struct slow_insn *e;
  uint32_t value = 0;
  int result = find_insn(m, &e);
  if (result != EXEC_NEXT) return result;
  const struct insn *insn = &e->insn;
  if (is_plain_move(insn, size, ACCESS_W)) {
    p->ops->write(p->opaque, offset, size, stored_value(v, insn));
  } else if (is_plain_move(insn, size, ACCESS_R)) {
    reg_write(v, moved_register(insn), size, p->ops->read(p->opaque, offset, size));
  } else if (insn->kind == OP_COPY && insn->row->fpu == FPU_NONE && insn->mem_size == size) {
    if (insn->access & ACCESS_R) value = p->ops->read(p->opaque, offset, size);
    if ((result = run_thunk(m, e, &value)) != EXEC_NEXT) return result;
    if (insn->access & ACCESS_W) p->ops->write(p->opaque, offset, size, value);
  } else {
    return run_insn(m, e);
  }
  next_eip(v, insn);
  return EXEC_NEXT;
}

/* An access of real mode that reaches beyond FFFFh: the monitor raises its fault. */
static bool beyond_segment(const struct monitor *m, const struct tr_site *site, gla linear) {
  unsigned segment = tr_access_segment(site->access);
  return segment && (uint32_t)linear.v - m->v->s.seg[segment - 1].base > 0x10000u - site->size;
}

bool slow_access(struct monitor *m, struct tr_site *site, int *result) {
  struct vcpu *v = m->v;
  gla linear = gla_wrap(v->s.exit_linear);
  unsigned size = site->size ? site->size : 256;
  bool write = site->access & ACCESS_W, one_page = gla_in_page(linear) + size <= MMU_PAGE;
  struct mmu_result r;
  m->dropped = false;
  if (!one_page || (m->mode.bits & TR_ALIGN) || (site->access & TR_ACCESS_LIMITED) || beyond_segment(m, site, linear)) {
    run_settle(m, site);
    m->counters.slow_cross++;
    *result = monitor_polls_first(m) ? RUN_RETRY : slow_step(m); /* whether it ends in a device is not known yet */
    return false;
  }
  uint64_t offset;
  const struct mmu_plain *window = size <= 4 ? mmu_plain_at(v->mmu_cpu, linear, size, &offset) : NULL;
  if (window) {
    run_settle(m, site);
    m->counters.slow_io++;
    *result = in_window(m, window, offset, size);
    return false;
  }
  if (!mmu_translate(m->v->mmu_cpu, linear, write ? MMU_WRITE : MMU_READ, v->cpl == 3, &r)) {
    run_settle(m, site);
    *result = page_fault(m, linear, r.error);
    return false;
  }
  if (r.filled) {
    m->counters.slow_fill++;
    if (m->dropped) { /* a window of this block may be gone (the walk traced a page table): through the dispatcher */
      run_settle(m, site);
      *result = RUN_RETRY;
      return false;
    }
    run_enter(m, tcache_address(m->code.tcache, site->host));
    return true;
  }
  run_settle(m, site);
  if (r.kind == MMU_RAM && write) {
    m->counters.slow_traced++;
    *result = in_place(m, &r, size);
  } else if (monitor_polls_first(m)) {
    *result = RUN_RETRY;
  } else {
    m->counters.slow_io++;
    *result = in_device(m, &r, size, write);
  }
  return false;
}

/* Has the page the entry that an access wants, so that it may be in the mirror? */
static bool mirrored_page(const struct monitor *m, uint32_t page, bool write) {
  uint32_t frame;
  unsigned entry = write ? MMU_WRITE : MMU_READ;
  return mirrors_covers(m, page) && mmu_entries(m->v->mmu_cpu, m->v->cpl == 3, page, &frame) >> entry & 1;
}

/* An access that lies in two pages is done here; the next one may find both. */
static int across_pages(struct monitor *m, gla linear, bool write) {
  if (monitor_polls_first(m)) return RUN_RETRY;
  uint32_t page = gla_page(linear);
  int result = slow_step(m);
  m->counters.slow_cross++;
  vcpu_park_fp(m->v);
  mirrors_want(m, page, write);
  mirrors_want(m, page + 1, write);
  return result;
}

bool slow_mirror(struct monitor *m, struct tr_site *site, int *result) {
  struct vcpu *v = m->v;
  gla linear = gla_wrap(v->s.exit_linear);
  uint32_t page = gla_page(linear);
  bool write = site->access & ACCESS_W;
  struct mmu_result r = {.kind = MMU_RAM};
  m->dropped = false;
  if (gla_in_page(linear) + site->size > MMU_PAGE) {
    run_settle(m, site);
    *result = across_pages(m, linear, write);
    return false;
  }
  bool known = mirrored_page(m, page, write);
  if (!known && !mmu_translate(v->mmu_cpu, linear, write ? MMU_WRITE : MMU_READ, v->cpl == 3, &r)) {
    run_settle(m, site);
    mirrors_await(m, page, write);
    *result = page_fault(m, linear, r.error);
    return false;
  }
  vcpu_park_fp(v);
  bool fits = mirrored_page(m, page, write), mapped = fits && mirrors_current(m) && mirrors_map(m, page, write);
  if (mapped && !m->dropped) {
    run_enter(m, tcache_address(m->code.tcache, site->target));
    return true;
  }
  run_settle(m, site);
  if (fits) *result = RUN_RETRY;
  else if (r.filled || r.kind != MMU_RAM || !write || !mirrors_covers(m, page)) *result = RUN_UNFIT;
  else {
    m->counters.slow_traced++;
    *result = in_place(m, &r, site->size);
  }
  return false;
}

int slow_host_fault(struct monitor *m, struct tr_site *site) {
  struct slow_insn *e;
  run_settle(m, site);
  int r = find_insn(m, &e);
  return r == EXEC_NEXT ? host_fault_vector(m, &e->insn) : r;
}
