/* Looks at a round of a guest's loop (round.h). Owns struct round: registers at its PAUSE, and every granule of eight bytes that
 * it touches, by host address, so that aliases are one. Host addresses are good until the physical map changes, which ends it. */
#include "round.h"
#include "exec.h"
#include "../mmu/mmu.h"

enum {
  STEPS = 32768, /* instructions of a look, */
  PAUSES = 8,    /* its PAUSEs, */
  GRANULES = 4096,
  FULL = 3072, /* the granules of memory that it may touch, */
  SEEDS = 8    /* and those of them with inputs that may change */
};

/* All of the CPU that such a round may depend on or change. No padding: compared as bytes. */
struct registers {
  uint32_t gpr[8], eip, flags, if_flag, sys_flags, cpl, nmi_blocked, a20_masked, cr0, cr2, cr3, cr4, efer, dr[8];
  struct dtable gdt, idt;
  struct tr_segment seg[6], ldt, tr;
};

/* Bits are bytes, the lowest first. */
struct granule {
  uint64_t at;             /* host address / 8; 0: free */
  uint64_t value;          /* of its inputs at the beginning */
  uint8_t inputs, written; /* read before it was written; written */
  uint8_t seed, taint;     /* tainted at the beginning; now */
};

/* Eight bytes of guest memory, and what those that the mask has were at the beginning. */
struct input {
  const uint8_t *host;
  uint64_t mask, value;
};

struct round {
  struct registers registers;
  uint64_t map_changes; /* when it began */
  bool failed, reads_time, taints;
  unsigned steps, pauses;
  struct {                 /* the instruction that runs */
    uint8_t loads, stores; /* a plain move, and nothing else: registers that get the memory operand, that go to it */
    bool tainted;          /* what it reads */
    uint8_t written;       /* registers */
  } insn;
  uint8_t tainted; /* registers */
  unsigned seed_count, granule_count, input_count;
  struct {
    uint64_t at;
    uint8_t bits;
  } seeds[SEEDS];
  struct granule granules[GRANULES];
  struct input inputs[FULL];
};

size_t round_size(void) { return sizeof(struct round); }
unsigned round_pauses(const struct round *r) { return r->pauses; }
bool round_reads_time(const struct round *r) { return r->reads_time; }

/* ---- the CPU ---- */

static void take_registers(struct registers *r, const struct vcpu *v) {
  for (unsigned i = 0; i < 8; i++) r->gpr[i] = v->s.gpr[i], r->dr[i] = v->dr[i];
  r->eip = v->s.eip, r->flags = v->s.flags, r->if_flag = v->s.if_flag, r->sys_flags = v->s.sys_flags;
  r->cpl = v->cpl, r->nmi_blocked = v->nmi_blocked, r->a20_masked = v->a20_masked;
  r->cr0 = v->cr0, r->cr2 = v->cr2, r->cr3 = v->cr3, r->cr4 = v->cr4, r->efer = (uint32_t)v->efer;
  r->gdt = v->gdt, r->idt = v->idt;
  for (unsigned i = 0; i < 6; i++) r->seg[i] = v->s.seg[i];
  r->ldt = v->ldt, r->tr = v->tr;
}

static bool registers_agree(const struct round *r, const struct vcpu *v) {
  struct registers now;
  if (r->registers.eip != v->s.eip || r->registers.gpr[REG_ESP] != v->s.gpr[REG_ESP]) return false;
  take_registers(&now, v);
  return bytes_equal(&now, &r->registers, sizeof now);
}

/* ---- memory ---- */

static struct granule *find_granule(struct round *r, uint64_t at) {
  for (unsigned i = (unsigned)(at * 0x9e3779b97f4a7c15u >> 52);; i = (i + 1) % GRANULES) {
    struct granule *g = &r->granules[i];
    if (g->at == at) return g;
    if (g->at) continue;
    g->at = at;
    r->failed |= ++r->granule_count >= FULL;
    return g;
  }
}

static const uint8_t *granule_host(const struct granule *g) { return (const uint8_t *)(uintptr_t)(g->at * 8); }

/* Whole bytes. */
static uint64_t mask_of(uint8_t bits) {
  uint64_t mask = 0;
  for (unsigned i = 0; i < 8; i++)
    if (bits >> i & 1) mask |= 0xffull << (8 * i);
  return mask;
}

static void note_read(struct round *r, struct granule *g, uint8_t bits) {
  r->insn.tainted |= g->taint & bits;
  bits &= (uint8_t) ~(g->inputs | g->written);
  if (!bits) return;
  uint64_t mask = mask_of(bits);
  g->inputs |= bits;
  g->value = (g->value & ~mask) | (load64(granule_host(g)) & mask);
}

static void note_write(const struct round *r, struct granule *g, uint8_t bits) {
  g->written |= bits;
  if (r->insn.tainted) g->taint |= bits;
  else g->taint &= (uint8_t)~bits;
}

static void accessed(struct vcpu *v, const uint8_t *host, unsigned size, bool write) {
  struct round *r = v->accessed_opaque;
  r->failed |= !host; /* a device, whose state nobody knows; a task switch */
  for (unsigned part; size && !r->failed; host += part, size -= part) {
    unsigned first = (uintptr_t)host % 8;
    part = size < 8 - first ? size : 8 - first;
    struct granule *g = find_granule(r, (uintptr_t)host / 8);
    uint8_t bits = (uint8_t)(((1u << part) - 1) << first);
    if (write) note_write(r, g, bits);
    else note_read(r, g, bits);
  }
}

/* ---- taints ---- */

static uint8_t bit_of(unsigned reg) { return reg == REG_NONE ? 0 : (uint8_t)(1u << reg); }

/* Instructions that move four bytes and do nothing else. */
static void find_move(struct round *r, const struct insn *i) {
  r->insn.loads = r->insn.stores = 0;
  if (i->operand_size != 4) return;
  if (i->kind == OP_POP_REG) r->insn.loads = bit_of(i->operand_reg[0]);
  else if (i->kind == OP_PUSH_REG) r->insn.stores = bit_of(i->operand_reg[0]);
  else if (i->kind == OP_COPY && i->row->does == DOES_MOV && i->mem_size == 4 && i->has_mem) {
    if (i->access == ACCESS_R) r->insn.loads = bit_of(i->operand_reg[0]);
    else r->insn.stores = bit_of(i->operand_reg[1]);
  }
}

/* XOR of a register with itself reads nothing. */
static uint8_t registers_read(const struct insn *i) {
  bool clears = i->row->does == DOES_XOR && !i->has_mem && i->operand_size == 4 && i->operand_reg[0] == i->operand_reg[1];
  return clears ? 0 : i->regs_read;
}

/* What the instruction that ran has done to the registers. */
static void finish_insn(struct round *r) {
  r->tainted &= (uint8_t)~r->insn.written;
  if (r->insn.tainted) r->tainted |= r->insn.loads;
  if (r->insn.tainted && !r->insn.loads && !r->insn.stores) r->failed = true; /* it has made something of it */
  r->failed |= r->tainted >> REG_ESP & 1;
}

static void begin_insn(struct round *r, const struct insn *i) {
  find_move(r, i);
  uint8_t address = i->has_mem ? bit_of(i->base) | bit_of(i->index) : 0, read = registers_read(i);
  r->insn.tainted = r->tainted & r->insn.stores;
  r->insn.written = i->regs_written;
  r->failed |= r->tainted & ((read & ~r->insn.stores) | address);
}

/* The words that changed, with what lies in the same four bytes: the next time it may be another of these that changes. */
static uint8_t whole_words(uint8_t bits) { return (uint8_t)((bits & 0x0f ? 0x0f : 0) | (bits & 0xf0 ? 0xf0 : 0)); }

static uint8_t changed_inputs(const struct granule *g) {
  if (!g->inputs) return 0;
  uint64_t differs = (load64(granule_host(g)) ^ g->value) & mask_of(g->inputs & (uint8_t)~g->seed);
  uint8_t bits = 0;
  for (unsigned i = 0; i < 8; i++)
    if (differs >> (8 * i) & 0xff) bits |= (uint8_t)(1u << i);
  return bits;
}

/* ---- a round ---- */

static void start(struct round *r, struct vcpu *v) {
  bytes_fill(r->granules, 0, sizeof r->granules);
  r->granule_count = r->pauses = 0;
  r->insn = (typeof(r->insn)){0};
  r->tainted = 0;
  for (unsigned i = 0; i < r->seed_count; i++) {
    struct granule *g = find_granule(r, r->seeds[i].at);
    g->seed |= r->seeds[i].bits;
    g->taint = g->seed;
  }
  take_registers(&r->registers, v);
}

void round_begin(struct round *r, struct vcpu *v, bool taints) {
  r->failed = r->reads_time = false;
  r->taints = taints;
  r->steps = 0;
  if (!taints) r->seed_count = 0;
  r->map_changes = mmu_get_counters(v->mmu)->map_changes;
  start(r, v);
  v->accessed = accessed;
  v->accessed_opaque = r;
}

void round_end(struct vcpu *v) { v->accessed = NULL; }

/* Where the CPU fetches it: memory of any kind. */
static void note_code(struct round *r, struct vcpu *v, const struct insn *insn) {
  struct mmu_result where;
  gla linear = segment_linear(&v->s.seg[SEG_CS], v->s.eip);
  for (unsigned done = 0, part; done < insn->length && !r->failed; done += part) {
    gla at = gla_add(linear, done);
    part = MMU_PAGE - gla_in_page(at);
    if (part > insn->length - done) part = insn->length - done;
    bool there = mmu_peek(v->mmu_cpu, at, MMU_FETCH, v->cpl == 3, &where);
    accessed(v, there ? where.host : NULL, part, false);
  }
}

void round_insn(struct round *r, struct vcpu *v, const struct insn *insn) {
  finish_insn(r);
  r->insn = (typeof(r->insn)){0};
  note_code(r, v, insn);
  r->failed |= r->insn.tainted || ++r->steps > STEPS || insn->row->fpu != FPU_NONE;
  begin_insn(r, insn);
  switch ((enum op_kind)insn->kind) {
  case OP_RDTSC:
  case OP_RDTSCP: r->reads_time = true; break;
  case OP_RDMSR:
  case OP_WRMSR:
  case OP_RDPMC:
  case OP_HLT: r->failed = true; break;
  default: break;
  }
}

/* Paging: what walks read is not seen here. */
bool round_has_failed(const struct round *r, const struct vcpu *v) {
  return r->failed || (v->cr0 & CR0_PG) || round_map_changed(r, v);
}

/* Changed inputs become taints at the beginning of the next round. False: there are none, or too many. */
static bool add_seeds(struct round *r) {
  unsigned before = r->seed_count;
  for (unsigned i = 0; i < GRANULES; i++) {
    const struct granule *g = &r->granules[i];
    uint8_t bits = whole_words(changed_inputs(g));
    if (!bits) continue;
    if (r->seed_count == SEEDS) return false;
    r->seeds[r->seed_count].at = g->at;
    r->seeds[r->seed_count++].bits = bits;
  }
  return r->seed_count != before;
}

static bool inputs_agree(const struct round *r) {
  for (unsigned i = 0; i < GRANULES; i++)
    if (changed_inputs(&r->granules[i])) return false;
  return true;
}

/* In anything that the next round will look at. */
static bool taints_left(const struct round *r) {
  for (unsigned i = 0; i < GRANULES; i++)
    if (r->granules[i].taint & r->granules[i].inputs) return true;
  return r->tainted;
}

static void collect_inputs(struct round *r) {
  r->input_count = 0;
  for (unsigned i = 0; i < GRANULES; i++) {
    const struct granule *g = &r->granules[i];
    uint64_t mask = mask_of(g->inputs & (uint8_t)~g->seed);
    if (mask) r->inputs[r->input_count++] = (struct input){granule_host(g), mask, g->value & mask};
  }
}

enum round_result round_at_pause(struct round *r, struct vcpu *v) {
  finish_insn(r);
  r->insn = (typeof(r->insn)){0};
  r->pauses++;
  if (round_has_failed(r, v)) return ROUND_FAILED;
  bool again = registers_agree(r, v);
  if (again && inputs_agree(r)) {
    if (taints_left(r)) return ROUND_FAILED;
    collect_inputs(r);
    return ROUND_REPEATS;
  }
  if (r->pauses >= PAUSES) return ROUND_FAILED;
  if (!again || !r->taints) return ROUND_GOES_ON;
  if (!add_seeds(r)) return ROUND_FAILED;
  start(r, v);
  return ROUND_GOES_ON;
}

bool round_suggest_taints(struct round *r, const struct vcpu *v) {
  if (!r->reads_time || round_map_changed(r, v) || !registers_agree(r, v)) return false;
  return add_seeds(r);
}

bool round_map_changed(const struct round *r, const struct vcpu *v) {
  return r->map_changes != mmu_get_counters(v->mmu)->map_changes;
}

bool round_is_as_before(const struct round *r, const struct vcpu *v) {
  if (round_map_changed(r, v) || !registers_agree(r, v)) return false;
  for (unsigned i = 0; i < r->input_count; i++)
    if ((load64(r->inputs[i].host) & r->inputs[i].mask) != r->inputs[i].value) return false;
  return true;
}
