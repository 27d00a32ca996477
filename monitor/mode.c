/* The translator's mode of the current vCPU state: the part of a block's key that is not an address (D4). */
#include "mirror.h"
#include "segment.h"

/* Every change between kernel and user comes here: without a branch, and with one look at all the bits of a type. Data is
 * present, writable and not expand-down; code (through CS alone) present and readable. */
static inline enum tr_seg_class class_of(const struct tr_segment *s, bool code) {
  enum { P = 1 << 7, S = 1 << 4, CODE = 1 << 3, DOWN = 1 << 2, MAY = 1 << 1 /* be written, of data; be read, of code */ };
  bool data_fits = (s->attr & (P | S | CODE | DOWN | MAY)) == (P | S | MAY);
  bool code_fits = code & ((s->attr & (P | S | CODE | MAY)) == (P | S | CODE | MAY));
  unsigned whole = s->base ? TR_SEG_BASED : TR_SEG_FLAT;
  unsigned fits = s->limit == 0xffffffff ? whole : TR_SEG_LIMITED;
  return (s->usable != 0) & (data_fits | code_fits) ? fits : TR_SEG_SLOW;
}

/* Real mode and V86: what a segment load there makes, and keeps (TR_SEG_REAL). The limit alone is looked at, but of CS, whose
 * type a load changes (segment_real()). */
static inline enum tr_seg_class class_of_real(const struct tr_segment *s, bool code, uint16_t access) {
  bool expand_down = (s->attr & (ATTR_CODE | ATTR_EXPAND_DOWN)) == ATTR_EXPAND_DOWN;
  if (s->usable && s->limit == 0xffff && !(s->base & 15) && s->base <= TR_SEG_REAL_BASE && !expand_down &&
      (!code || (s->attr & 0xff) == access))
    return TR_SEG_FLAT; /* in the mode's bits: TR_SEG_REAL */
  enum tr_seg_class class = class_of(s, false);
  return class == TR_SEG_FLAT ? TR_SEG_BASED : class;
}

static uint32_t segment_bits(const struct vcpu *v) {
  uint32_t bits = 0;
#pragma GCC unroll 6
  for (unsigned i = 0; i < 6; i++) bits |= (uint32_t)class_of(&v->s.seg[i], i == SEG_CS) << (TR_SEG_SHIFT + 2 * i);
  return bits;
}
static uint32_t segment_bits_real(const struct vcpu *v, uint16_t access) {
  uint32_t bits = 0;
  for (unsigned i = 0; i < 6; i++) bits |= (uint32_t)class_of_real(&v->s.seg[i], i == SEG_CS, access) << (TR_SEG_SHIFT + 2 * i);
  return bits;
}

static bool enabled_breakpoint(const struct vcpu *v, bool code) { /* SDM vol. 3B, 17.2.4 */
  for (unsigned i = 0; i < 4; i++) {
    bool on = v->dr[7] >> 2 * i & 3, exec = (v->dr[7] >> (16 + 4 * i) & 3) == 0;
    if (on && exec == code) return true;
  }
  return false;
}
bool mode_watches_code(const struct vcpu *v) { return (v->dr[7] & 0xff) && enabled_breakpoint(v, true); }
static bool watches_data(const struct vcpu *v) { return (v->dr[7] & 0xff) && enabled_breakpoint(v, false); }

/* Of the control and debug registers and the options. */
static uint32_t system_bits(const struct monitor *m) {
  const struct vcpu *v = m->v;
  uint32_t bits = 0;
  if (vcpu_real_mode(v)) bits |= TR_REAL;
  if (v->cr0 & CR0_EM) bits |= TR_EM;
  if (v->cr0 & CR0_TS) bits |= TR_TS;
  if (v->cr0 & CR0_MP) bits |= TR_MP;
  if (v->cr0 & CR0_AM) bits |= TR_ALIGN;
  if (v->cr4 & CR4_TSD) bits |= TR_TSD;
  if (v->cr4 & CR4_OSFXSR) bits |= TR_OSFXSR;
  if (mode_watches_code(v) || m->options.one_insn) bits |= TR_STEP;
  if (watches_data(v)) bits |= TR_WATCH | TR_STEP;
  if (m->options.no_chain) bits |= TR_NO_CHAIN;
  return bits;
}

/* They seldom change. */
static uint32_t known_system_bits(struct monitor *m) {
  const struct vcpu *v = m->v;
  typeof(m->system) *known = &m->system;
  if (!known->looked || known->cr0 != v->cr0 || known->cr4 != v->cr4 || known->dr7 != v->dr[7] ||
      known->no_chain != m->options.no_chain)
    *known = (typeof(m->system)){v->cr0, v->cr4, v->dr[7], system_bits(m), m->options.no_chain, true};
  return known->bits;
}

static uint32_t privilege_bits(const struct vcpu *v) {
  uint32_t bits = 0;
  bool v86 = vcpu_v86(v);
  if (v->cpl == 3) bits |= TR_USER;
  if (v86 ? vcpu_iopl(v) == 3 : v->cpl <= vcpu_iopl(v)) bits |= TR_IOPL_OK;
  if (v86) bits |= TR_V86;
  if (v->s.sys_flags & FLAG_TF) bits |= TR_STEP;
  if (v->nmi_blocked) bits |= TR_IN_NMI;
  return bits;
}

void mode_update(struct monitor *m) {
  struct vcpu *v = m->v;
  const struct tr_segment *cs = &v->s.seg[SEG_CS];
  uint64_t bits = privilege_bits(v) | known_system_bits(m);
  if (v->cpl == 0) bits &= ~(uint64_t)TR_TSD;
  if (v->cpl != 3 || !(v->s.sys_flags & FLAG_AC)) bits &= ~(uint64_t)TR_ALIGN;
  if (cs->attr & 1 << 14) bits |= TR_CODE32;
  if (!m->fp_used && (v->cpl == 0 || !(bits & TR_CODE32))) bits |= TR_NO_FP;
  if (v->s.seg[SEG_SS].attr & 1 << 14) bits |= TR_STACK32;
  if (cs->base == 0 && cs->limit == 0xffffffff) bits |= TR_CS_FLAT;
  bits |= bits & (TR_REAL | TR_V86) ? segment_bits_real(v, bits & TR_V86 ? 0xf3 : 0x93) : segment_bits(v);
  if (v->s.flags & FLAG_DF) bits |= TR_DOWN;
  if (mirrors_fit(m, bits) && mirrors_current(m)) bits |= TR_MIRROR;
  uint64_t table = (uint64_t)(uintptr_t)mmu_table(m->v->mmu_cpu, v->cpl == 3);
  m->user_entries += bits & ~m->mode.bits & TR_USER;
  if (bits != m->mode.bits || table != v->s.table) vcpu_forget_returns(v);
  m->mode.bits = bits;
  v->s.mode_key = mode_key(m, bits);
  v->s.cs_key = tr_seg_class(m->mode, SEG_CS) == TR_SEG_REAL ? __builtin_bswap32(cs->base >> 4) : 0;
  if (table != v->s.table) v->s.stack_page = 1ull << 40, m->counters.tables++;
  v->s.table = table;
  v->mode_dirty = false;
}

static bool same_id(struct mode_id a, struct mode_id b) {
  return a.bits == b.bits && a.cs_base == b.cs_base && a.cs_limit == b.cs_limit;
}

/* A small number for each mode, in the bits of a hash key above the frame number. When they run out the hash is emptied and they
 * start again. */
static uint64_t find_mode_key(struct monitor *m, struct mode_id id) {
  for (unsigned i = m->code.mode_count; i-- > 1;)
    if (same_id(m->code.mode_ids[i], id)) return (uint64_t)i << 53;
  if (m->code.mode_count == sizeof m->code.mode_ids / sizeof m->code.mode_ids[0]) {
    for (unsigned i = 0; i < TR_HASH_ENTRIES; i++) m->v->s.hash[i].negated_key = 0;
    for (unsigned i = 0; i < sizeof m->code.mode_cache / sizeof m->code.mode_cache[0]; i++) m->code.mode_cache[i].key = 0;
    m->code.mode_count = 0;
  }
  /* with number 0, a jump to EIP 0 in a page without fetch entry would find an empty hash entry */
  if (m->code.mode_count == 0) m->code.mode_count = 1;
  m->code.mode_ids[m->code.mode_count] = id;
  return (uint64_t)m->code.mode_count++ << 53;
}

static uint64_t id_key(struct monitor *m, struct mode_id id) {
  typeof(m->code.mode_cache[0]) *cached =
    &m->code.mode_cache[((uint32_t)(id.bits ^ id.bits >> 32) ^ id.cs_base) * 0x9e3779b1u >> 28];
  if (same_id(cached->id, id) && cached->key) return cached->key - 1;
  uint64_t key = find_mode_key(m, id);
  cached->id = id, cached->key = key + 1;
  return key;
}

/* A flat CS is told by its mode. That of a TR_SEG_REAL stands beside the EIP in the key's low half: cs_key, which far transfers
 * change inline. Any other CS is a part of what the number stands for. */
uint64_t mode_key(struct monitor *m, uint64_t bits) {
  const struct tr_segment *cs = &m->v->s.seg[SEG_CS];
  struct mode_id id = {.bits = bits};
  if (!(bits & TR_CS_FLAT) && tr_seg_class((struct tr_mode){bits}, SEG_CS) != TR_SEG_REAL)
    id.cs_base = cs->base, id.cs_limit = cs->limit;
  return id_key(m, id);
}
