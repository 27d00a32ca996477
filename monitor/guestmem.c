/* Guest memory from C: mem_* by linear address, seg_* through a segment (SDM vol. 3A, 5.3 and 5.5), and where a memory operand
 * is.
 *
 * Fast path: the shadow table of the access's privilege. Slow path: one mmu_translate() a page. What does not cross a page is one
 * access; what does is translated completely before the first byte moves (I1). A device in the first page may change the map, so
 * that the host address of the second is not believed then. */
#include "exec.h"
#include "../mmu/mmu.h"

static bool priv_is_user(const struct vcpu *v, enum mem_priv priv) {
  return priv == MEM_USER || (priv == MEM_CPL && v->cpl == 3);
}

/* NULL: ask the mmu. */
static inline uint8_t *host_pointer(struct vcpu *v, gla linear, unsigned size, bool user, unsigned array) {
  if (gla_in_page(linear) + size > MMU_PAGE) return NULL;
  const char *table = (const char *)mmu_table(v->mmu_cpu, user);
  uint64_t entry = *(const uint64_t *)(table + array + gla_page(linear) * 8);
  return entry ? (uint8_t *)(uintptr_t)(entry + linear.v) : NULL;
}

/* An access of at most 512 bytes lies in one page or in two. */
struct piece {
  gla linear;
  unsigned size;
  struct mmu_result where;
};

static unsigned split(struct piece pieces[2], gla linear, unsigned size) {
  unsigned first = MMU_PAGE - gla_in_page(linear);
  pieces[0].linear = linear;
  pieces[0].size = size < first ? size : first;
  pieces[1].linear = gla_add(linear, first);
  pieces[1].size = size - pieces[0].size;
  return pieces[1].size ? 2 : 1;
}

/* Raises what the access would and changes nothing, not even an A or D bit. */
static int probe(struct vcpu *v, gla linear, unsigned size, bool user, enum mmu_access access) {
  struct piece pieces[2];
  unsigned n = split(pieces, linear, size);
  for (unsigned k = 0; k < n; k++)
    if (!mmu_peek(v->mmu_cpu, pieces[k].linear, access, user, &pieces[k].where))
      return fault_raise_page(v, pieces[k].linear, pieces[k].where.error);
  return EXEC_NEXT;
}

/* Both pages, first the faults of both, then the walks that set A and D. */
static int translate(struct vcpu *v, struct piece *pieces, unsigned n, bool user, enum mmu_access access) {
  if (n == 2 && probe(v, pieces[0].linear, pieces[0].size + pieces[1].size, user, access) != EXEC_NEXT) return EXEC_FAULT;
  for (unsigned k = 0; k < n; k++)
    if (!mmu_translate(v->mmu_cpu, pieces[k].linear, access, user, &pieces[k].where))
      return fault_raise_page(v, pieces[k].linear, pieces[k].where.error);
  return EXEC_NEXT;
}

static int read_slow(struct vcpu *v, gla linear, unsigned size, bool user, uint8_t *out) {
  struct piece pieces[2];
  unsigned n = split(pieces, linear, size);
  if (translate(v, pieces, n, user, MMU_READ) != EXEC_NEXT) return EXEC_FAULT;
  for (unsigned k = 0; k < n; out += pieces[k++].size) {
    const struct mmu_result *r = &pieces[k].where;
    if (v->accessed) v->accessed(v, pieces[0].where.host ? r->host : NULL, pieces[k].size, false);
    if (r->host && pieces[0].where.host) bytes_copy(out, r->host, pieces[k].size);
    else mmu_phys_read(v->mmu, r->addr, out, pieces[k].size);
  }
  return EXEC_NEXT;
}

static int write_slow(struct vcpu *v, gla linear, unsigned size, bool user, const uint8_t *data) {
  struct piece pieces[2];
  unsigned n = split(pieces, linear, size);
  if (translate(v, pieces, n, user, MMU_WRITE) != EXEC_NEXT) return EXEC_FAULT;
  for (unsigned k = 0; k < n; data += pieces[k++].size) {
    const struct mmu_result *r = &pieces[k].where;
    if (v->accessed) v->accessed(v, r->kind == MMU_RAM && pieces[0].where.host ? r->host : NULL, pieces[k].size, true);
    if (r->kind == MMU_RAM && !r->traces && pieces[0].where.host) bytes_copy(r->host, data, pieces[k].size);
    else {
      v->store.offset = (uint16_t)(r->addr.v % MMU_PAGE), v->store.size = (uint16_t)pieces[k].size, v->store.by_insn = false;
      if (mmu_phys_write(v->mmu, r->addr, data, pieces[k].size)) v->dropped = true;
      v->store.size = 0;
    }
  }
  return EXEC_NEXT;
}

int mem_read(struct vcpu *v, gla linear, unsigned size, enum mem_priv priv, void *out) {
  bool user = priv_is_user(v, priv);
  const uint8_t *host = host_pointer(v, linear, size, user, MMU_READ_ARRAY);
  if (!host) return read_slow(v, linear, size, user, out);
  if (__builtin_expect(v->accessed != NULL, 0)) v->accessed(v, host, size, false);
  bytes_copy(out, host, size);
  return EXEC_NEXT;
}

int mem_write(struct vcpu *v, gla linear, unsigned size, enum mem_priv priv, const void *data) {
  bool user = priv_is_user(v, priv);
  uint8_t *host = host_pointer(v, linear, size, user, MMU_WRITE_ARRAY);
  if (!host) return write_slow(v, linear, size, user, data);
  if (__builtin_expect(v->accessed != NULL, 0)) v->accessed(v, host, size, true);
  bytes_copy(host, data, size);
  return EXEC_NEXT;
}

int mem_probe_write(struct vcpu *v, gla linear, unsigned size, enum mem_priv priv) {
  bool user = priv_is_user(v, priv);
  if (host_pointer(v, linear, size, user, MMU_WRITE_ARRAY)) return EXEC_NEXT;
  return probe(v, linear, size, user, MMU_WRITE);
}

int mem_probe_read(struct vcpu *v, gla linear, unsigned size, enum mem_priv priv) {
  bool user = priv_is_user(v, priv);
  if (host_pointer(v, linear, size, user, MMU_READ_ARRAY)) return EXEC_NEXT;
  return probe(v, linear, size, user, MMU_READ);
}

/* ---- segments ---- */

enum { TYPE_CODE = 8, TYPE_EXPAND_DOWN = 4, TYPE_RW = 2, ATTR_B = 1 << 14 };

static int segment_fault(struct vcpu *v, unsigned seg) { return fault_raise_error(v, seg == SEG_SS ? VEC_SS : VEC_GP, 0); }

/* SDM vol. 3A, 5.3. An access that wraps around the end of a 4 GiB segment is allowed, as on every CPU since the P6 (and in
 * translated code). */
static bool within_limit(const struct tr_segment *s, uint32_t offset, unsigned size) {
  uint32_t last = offset + size - 1;
  if ((s->attr & (TYPE_CODE | TYPE_EXPAND_DOWN)) == TYPE_EXPAND_DOWN) {
    uint32_t top = s->attr & ATTR_B ? 0xffffffffu : 0xffffu;
    return offset > s->limit && last <= top && last >= offset;
  }
  return s->limit == 0xffffffffu || (last <= s->limit && last >= offset);
}

/* SDM vol. 3A, 5.5: only protected mode looks at the type; in real and V86 mode a cached one may be anything. */
static bool type_allows(const struct vcpu *v, const struct tr_segment *s, bool write) {
  if (!vcpu_protected(v)) return true;
  if (!s->usable) return false;
  if (write) return (s->attr & (TYPE_CODE | TYPE_RW)) == TYPE_RW;
  return !(s->attr & TYPE_CODE) || s->attr & TYPE_RW;
}

int seg_check(struct vcpu *v, unsigned seg, uint32_t offset, unsigned size, bool write, gla *linear) {
  const struct tr_segment *s = &v->s.seg[seg];
  if (__builtin_expect(!type_allows(v, s, write) || !within_limit(s, offset, size), 0)) return segment_fault(v, seg);
  *linear = segment_linear(s, offset);
  return EXEC_NEXT;
}

/* SDM vol. 3A, table 6-7. 512 bytes (FXSAVE) have a rule of their own, and 16 are an SSE operand that may be unaligned (MOVUPS):
 * never #AC. */
static uint32_t alignment_mask(unsigned size) {
  switch (size) {
  case 2:
  case 14:
  case 94: return 1;
  case 4:
  case 6:
  case 28:
  case 108:
  case 32: return 3;
  case 8:
  case 10: return 7;
  default: return 0;
  }
}

static inline int alignment_check(struct vcpu *v, gla linear, unsigned size) {
  if (!(v->s.sys_flags & FLAG_AC) || !(v->cr0 & CR0_AM) || v->cpl != 3 || !(linear.v & alignment_mask(size))) return EXEC_NEXT;
  return fault_raise_error(v, VEC_AC, 0);
}

bool db_armed(const struct vcpu *v) {
  uint32_t dr7 = v->dr[7];
  for (unsigned n = 0; dr7 & 0xff && n < 4; n++)
    if (dr7 >> 2 * n & 3 && dr7 >> (16 + 4 * n) & 3) return true;
  return false;
}

/* SDM vol. 3B, 17.2.5: RW 01 watches writes, 11 reads and writes; LEN 10 is eight bytes only in 64-bit CPUs, here undefined. */
static void data_breakpoints(struct vcpu *v, gla linear, unsigned size, bool write) {
  for (unsigned n = 0; n < 4; n++) {
    uint32_t control = v->dr[7] >> (16 + 4 * n), length = (control >> 2 & 3) + 1;
    bool watches = (control & 3) == 3 || ((control & 3) == 1 && write);
    gla start = to_gla(v->dr[n] & ~(length - 1));
    if (v->dr[7] >> 2 * n & 3 && watches && length != 3 &&
        (gla_distance(start, linear) < length || gla_distance(linear, start) < size))
      v->pending_db |= 1u << n;
  }
}

static inline int seg_linear(struct vcpu *v, unsigned seg, uint32_t offset, unsigned size, bool write, gla *linear) {
  if (seg_check(v, seg, offset, size, write, linear) != EXEC_NEXT) return EXEC_FAULT;
  return alignment_check(v, *linear, size);
}

int seg_read(struct vcpu *v, unsigned seg, uint32_t offset, unsigned size, void *out) {
  gla linear;
  if (seg_linear(v, seg, offset, size, false, &linear) != EXEC_NEXT || mem_read(v, linear, size, MEM_CPL, out) != EXEC_NEXT)
    return EXEC_FAULT;
  if (v->dr[7] & 0xff) data_breakpoints(v, linear, size, false);
  return EXEC_NEXT;
}

int seg_write(struct vcpu *v, unsigned seg, uint32_t offset, unsigned size, const void *data) {
  gla linear;
  if (seg_linear(v, seg, offset, size, true, &linear) != EXEC_NEXT || mem_write(v, linear, size, MEM_CPL, data) != EXEC_NEXT)
    return EXEC_FAULT;
  if (v->dr[7] & 0xff) data_breakpoints(v, linear, size, true);
  return EXEC_NEXT;
}

int seg_probe_write(struct vcpu *v, unsigned seg, uint32_t offset, unsigned size) {
  gla linear;
  if (seg_linear(v, seg, offset, size, true, &linear) != EXEC_NEXT) return EXEC_FAULT;
  return mem_probe_write(v, linear, size, MEM_CPL);
}

int seg_probe_read(struct vcpu *v, unsigned seg, uint32_t offset, unsigned size) {
  gla linear;
  if (seg_linear(v, seg, offset, size, false, &linear) != EXEC_NEXT) return EXEC_FAULT;
  return mem_probe_read(v, linear, size, MEM_CPL);
}

uint32_t insn_offset(const struct vcpu *v, const struct insn *insn) {
  uint32_t offset = (uint32_t)insn->disp;
  if (insn->base != REG_NONE) offset += v->s.gpr[insn->base];
  if (insn->index != REG_NONE) offset += v->s.gpr[insn->index] << insn->scale;
  return insn->address_size == 2 ? offset & 0xffff : offset;
}
