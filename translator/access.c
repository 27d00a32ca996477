/* Memory accesses: effective addresses, the inline lookup in the flat shadow table, and windows (D2).
 *
 * One access, flags dead: LEA R8D; TEST alignment; R9 = table[R8 >> 12]; TEST R9; op [R9 + R8]. Where flags are live the check
 * stands between LAHF/SETO and ADD/SAHF (PUSHFQ/POPFQ were measured at six times the cost). */
#include "block.h"
#include "../mmu/layout.h"

enum saved_flags access_save_flags(struct block *b) {
  struct host_code *c = &b->code;
  bool r11 = !b->busy[1][b->index] && !b->steps[b->index].uses_r11;
  if (r11) host_mov64(c, H_R11, H_RAX);
  else host_store64(c, HM_STATE(scratch[1]), H_RAX);
  host_save_flags(c);
  return r11 ? SAVED_R11 : SAVED_MEMORY;
}

void access_restore_flags(struct block *b, enum saved_flags saved) {
  struct host_code *c = &b->code;
  if (saved == SAVED_NONE) return;
  host_restore_flags(c);
  if (saved == SAVED_R11) host_mov64(c, H_RAX, H_R11);
  else host_load64(c, H_RAX, HM_STATE(scratch[1]));
}

static int32_t esp_pending(const struct block *b, unsigned base) { return base == REG_ESP ? b->pending : 0; }

/* The whole of ESP as a base: not as what a 16-bit stack pointer and a pending change make of its low half. */
void access_flush_base(struct block *b) {
  if (b->stack16 && block_step(b)->insn.base == REG_ESP) block_flush_esp(b);
}

/* The ModRM operand's offset as a host operand, ESP's pending change in it. */
static struct host_mem offset_operand(const struct block *b) {
  const struct insn *insn = &b->steps[b->index].insn;
  int32_t disp = (int32_t)((uint32_t)insn->disp + (uint32_t)esp_pending(b, insn->base));
  return hm_index(insn->base == REG_NONE ? H_NONE : host_reg(insn->base),
                  insn->index == REG_NONE ? H_NONE : host_reg(insn->index), insn->scale, disp);
}

void access_effective_address(struct block *b, unsigned dst) {
  const struct insn *insn = &b->steps[b->index].insn;
  struct host_code *c = &b->code;
  if (insn->kind == OP_XLAT) { /* eBX + AL */
    host_op_reg(c, HO_MOVZXb, dst, H_RAX);
    host_lea(c, dst, hm_index(H_RBX, dst, 0, 0));
  } else if (insn->base == REG_NONE && insn->index == REG_NONE) {
    host_mov_imm(c, dst, (uint32_t)insn->disp);
  } else {
    struct host_mem m = offset_operand(b);
    if (m.index == H_NONE && m.disp == 0) host_mov(c, dst, m.base);
    else host_lea(c, dst, m);
  }
  if (insn->address_size == 2) host_movzx16(c, dst, dst);
}

#define SEGMENT_MEMBER(seg, member) \
  hm(H_R13, (int32_t)(offsetof(struct tr_state, seg) + (seg) * sizeof(struct tr_segment) + offsetof(struct tr_segment, member)))
struct host_mem access_segment_base(unsigned seg) {
  return SEGMENT_MEMBER(seg, base);
}
struct host_mem access_segment_limit(unsigned seg) {
  return SEGMENT_MEMBER(seg, limit);
}
struct host_mem access_segment_selector(unsigned seg) {
  return SEGMENT_MEMBER(seg, selector);
}

/* dst += base of a segment that has one; no flags, clobbers R9. */
static void add_segment_base(struct block *b, unsigned seg, unsigned dst) {
  host_load(&b->code, H_R9, access_segment_base(seg));
  host_lea(&b->code, dst, hm_index(dst, H_R9, 0, 0));
}

/* Jumps to `slow` unless offset R8 .. R8 + size - 1 lies in the segment's limit (SDM vol. 3A, 5.3). Clobbers R9 and flags. */
static void check_limit(struct block *b, unsigned seg, unsigned size, struct cold *slow) {
  struct host_code *c = &b->code;
  if (tr_seg_class(b->rq->mode, seg) == TR_SEG_REAL) {
    host_alu_imm(c, HOg_CMP, H_R8, (int32_t)(0x10000 - size));
    slow->jump = host_jcc(c, CC_A);
    return;
  }
  host_mov(c, H_R9, H_R8);
  host_alu_imm(c, HOg_ADD, H_R9, (int32_t)size - 1);
  slow->jump = host_jcc(c, CC_C);
  host_alu_mem(c, HOg_CMP, H_R9, access_segment_limit(seg));
  slow->jump2 = host_jcc(c, CC_A);
}

static bool power_of_two(unsigned n) { return (n & (n - 1)) == 0; }

/* R12's low five bits are 12 wherever it is the safepoint pointer, so it serves as SHRX's count. */
static bool shifts_by_r12(const struct block *b) { return !block_option(b, TR_COUNT | TR_NO_SHRX); }

/* dst = src >> 12. Flags are free. */
void access_page_number(struct block *b, unsigned dst, unsigned src) {
  struct host_code *c = &b->code;
  if (shifts_by_r12(b)) {
    host_shrx(c, dst, src, H_R12);
    return;
  }
  if (dst != src) host_mov(c, dst, src);
  host_shift_imm(c, HOg_SHR, dst, 12);
}

/* The same with flags kept; dst is another register than src, and R11 is free. */
void access_page_number_keeping_flags(struct block *b, unsigned dst, unsigned src) {
  struct host_code *c = &b->code;
  if (!block_option(b, TR_NO_SHRX)) {
    if (!shifts_by_r12(b)) host_mov_imm(c, dst, 12);
    host_shrx(c, dst, src, shifts_by_r12(b) ? H_R12 : dst);
    return;
  }
  host_mov64(c, H_R11, H_RAX);
  host_save_flags(c);
  access_page_number(b, dst, src);
  access_restore_flags(b, SAVED_R11);
}

struct host_mem access_shadow_entry(unsigned page, bool write) {
  return hm_index(H_R14, page, 3, write ? MMU_WRITE_ARRAY : MMU_READ_ARRAY);
}

struct host_mem access_fetch_frame(uint32_t page) {
  return hm(H_R14, (int32_t)(MMU_FETCH_ARRAY + page * 8 + 4));
}

/* The entry is compared with the addend of last time; a difference refills the register out of line. */
static void compare_addend(struct block *b, unsigned addend, bool write, unsigned site, enum saved_flags saved) {
  struct host_code *c = &b->code;
  host_alu_mem(c, HO_64 | HOg_CMP, addend, access_shadow_entry(H_R9, write));
  struct cold *refill = block_cold(b, COLD_REFILL, host_jcc(c, CC_NZ), site);
  refill->saved = saved, refill->addend = (uint8_t)addend, refill->write = write, refill->back = host_here(c);
}

/* From the linear address in R8: alignment, entry, zero test. Leaves R9, or `a->addend` if there is one. Flags are free. */
static void check_page(struct block *b, const struct access *a, unsigned site, enum saved_flags saved) {
  struct host_code *c = &b->code;
  struct cold *slow = block_cold(b, COLD_ACCESS, 0, site);
  unsigned size = a->size, addend = a->addend;
  bool write = a->access & ACCESS_W;
  slow->saved = saved;
  if (size > 1 && power_of_two(size) && size <= 128 && !a->frame) {
    unsigned segment = tr_access_segment(b->rq->sites[site].access);
    if (segment) slow->seg = (uint8_t)(segment - 1);
    host_test_imm8(c, H_R8, size - 1);
    uint32_t jump = host_jcc(c, CC_NZ);
    if (block_mode(b, TR_ALIGN)) slow->jump2 = jump;
    else slow->odd = jump, slow->size = (uint16_t)size, slow->back = host_here(c);
  } else if (size > 1) {
    if (block_mode(b, TR_ALIGN)) { /* ten bytes: SDM vol. 3A, table 6-7 */
      host_test_imm8(c, H_R8, 7);
      block_cold(b, COLD_ACCESS, host_jcc(c, CC_NZ), site)->saved = saved;
    }
    host_mov(c, H_R9, H_R8);
    host_alu_imm(c, HOg_AND, H_R9, MMU_PAGE_MASK);
    host_alu_imm(c, HOg_CMP, H_R9, (int32_t)(4096 - size));
    slow->jump2 = host_jcc(c, CC_A);
  }
  access_page_number(b, H_R9, H_R8);
  if (addend != H_NONE) {
    compare_addend(b, addend, write, site, saved);
    return;
  }
  host_load64(c, H_R9, access_shadow_entry(H_R9, write));
  host_test64(c, H_R9);
  slow->jump = host_jcc(c, CC_Z);
}

static unsigned access_site(struct block *b, const struct access *a) {
  unsigned site = block_site(b, TR_SITE_ACCESS);
  struct tr_site *s = &b->rq->sites[site];
  s->access |= a->access;
  s->size = (uint8_t)a->size;
  s->host = host_here(&b->code);
  return site;
}

static struct host_mem window_operand(const struct block *b, const struct access *a) {
  const struct window *w = &b->windows[a->window];
  return hm(w->reg, a->offset - w->lo);
}

/* One byte with live flags: nothing to align, so JRCXZ does for TEST and JZ and no flag needs keeping (where R12 is SHRX's
 * count). */
static void check_byte(struct block *b, bool write, unsigned site) {
  struct host_code *c = &b->code;
  access_page_number(b, H_R9, H_R8);
  host_load64(c, H_R9, access_shadow_entry(H_R9, write));
  host_xchg64(c, H_RCX, H_R9); /* XCHG */
  uint8_t *miss = host_jrcxz8(c);
  host_xchg64(c, H_RCX, H_R9);
  uint8_t *hit = host_jmp8(c);
  host_bind8(c, miss);
  host_xchg64(c, H_RCX, H_R9);
  block_cold(b, COLD_ACCESS, host_jmp(c), site);
  host_bind8(c, hit);
}

/* The check of [reg], flat, for string instructions: leaves what to add to it in R9. */
void access_at_register(struct block *b, unsigned reg, unsigned size, unsigned access) {
  struct access a = {.access = (uint8_t)access, .size = (uint16_t)size, .addend = H_NONE};
  unsigned site = access_site(b, &a);
  host_mov(&b->code, H_R8, reg);
  enum saved_flags saved = b->steps[b->index].live_before ? access_save_flags(b) : SAVED_NONE;
  check_page(b, &a, site, saved);
  access_restore_flags(b, saved);
}

/* Must offset R8 be compared with the segment's limit before its base is added? In real mode a byte at a 16-bit offset is always
 * inside; a larger operand leaves the segment only where it is not aligned, and that is looked at out of line (check_crossing).
 */
static bool limit_first(enum tr_seg_class class, const struct access *a, bool narrow) {
  if (class != TR_SEG_REAL) return class == TR_SEG_LIMITED;
  return !narrow || !power_of_two(a->size) || a->size > 16 || a->frame;
}

/* The check of seg:R8, `narrow` if that is an offset of 16 bits. Leaves the linear address in R8 and what to add to it in R9, or
 * in a->addend. */
static void check_address(struct block *b, unsigned seg, bool narrow, const struct access *a, unsigned site) {
  enum tr_seg_class class = tr_seg_class(b->rq->mode, seg);
  bool live = b->steps[b->index].live_before, limited = limit_first(class, a, narrow);
  if (class == TR_SEG_REAL && !limited && a->size > 1) b->rq->sites[site].access |= (uint8_t)(TR_ACCESS_SEGMENT * (1 + seg));
  if (class != TR_SEG_FLAT && !limited) add_segment_base(b, seg, H_R8);
  if (a->size == 1 && live && a->addend == H_NONE && !limited && shifts_by_r12(b)) {
    check_byte(b, a->access & ACCESS_W, site);
    return;
  }
  enum saved_flags saved = live ? access_save_flags(b) : SAVED_NONE;
  if (limited) {
    struct cold *out = block_cold(b, COLD_ACCESS, 0, site);
    b->rq->sites[site].access |= TR_ACCESS_LIMITED;
    out->saved = saved;
    check_limit(b, seg, a->size, out);
    add_segment_base(b, seg, H_R8);
  }
  check_page(b, a, site, saved);
  access_restore_flags(b, saved);
}

void access_in_segment(struct block *b, unsigned seg, unsigned reg, unsigned size, unsigned access) {
  struct access a = {.access = (uint8_t)access, .size = (uint16_t)size, .addend = H_NONE};
  bool narrow = b->steps[b->index].insn.address_size == 2;
  unsigned site = access_site(b, &a);
  if (narrow) host_movzx16(&b->code, H_R8, reg);
  else host_mov(&b->code, H_R8, reg);
  check_address(b, seg, narrow, &a, site);
}

/* ---- accesses in the mirror (D8) ---------------------------------------------------------------------------------- */

/* Kinds of which one host instruction makes the access, before anything but scratch registers has changed. */
static bool by_one_instruction(const struct insn *insn) {
  switch (insn->kind) {
  case OP_COPY:
  case OP_MOV_MOFFS:
  case OP_PUSH_REG:
  case OP_PUSH_IMM:
  case OP_PUSH_MEM:
  case OP_PUSH_SEG:
  case OP_POP_REG:
  case OP_LEAVE:
  case OP_MOV_FROM_SEG:
  case OP_JMP_IND:
  case OP_CALL_REL:
  case OP_CALL_IND:
  case OP_CALL_PC:
  case OP_RET: return true;
  default: return false;
  }
}

bool access_mirrored(const struct block *b, const struct step *s, unsigned which) {
  const struct insn *insn = &s->insn;
  const struct access *a = &s->acc[which];
  if (!block_mode(b, TR_MIRROR) || block_option(b, TR_NO_MIRROR) || !a->present || a->size > 16 || !by_one_instruction(insn))
    return false;
  if (which == ACC_STACK) return !b->stack16 && tr_seg_class(b->rq->mode, SEG_SS) == TR_SEG_FLAT;
  if (insn->row->does == DOES_DIVIDE && block_option(b, TR_CHECK_DIVISORS)) return false; /* the divisor is loaded twice */
  enum tr_seg_class class = tr_seg_class(b->rq->mode, insn->seg);
  if (insn->address_size != 4 || (class != TR_SEG_FLAT && class != TR_SEG_BASED)) return false;
  return !copy_borrows(insn, class == TR_SEG_BASED);
}

/* The instruction that accesses `m` is to be written next; `retry` is where its address was begun. */
static struct host_mem mirrored(struct block *b, const struct access *a, struct host_mem m, uint32_t retry) {
  unsigned site = block_site(b, TR_SITE_MIRROR);
  struct tr_site *s = &b->rq->sites[site];
  s->access |= a->access, s->size = (uint8_t)a->size, s->host = host_here(&b->code), s->target = retry;
  m.mirrored = true;
  block_cold(b, COLD_MIRROR, 0, site)->at = m;
  return m;
}

static struct host_mem mirrored_mem(struct block *b, const struct access *a) {
  const struct insn *insn = &b->steps[b->index].insn;
  uint32_t retry = host_here(&b->code);
  if (tr_seg_class(b->rq->mode, insn->seg) == TR_SEG_FLAT) return mirrored(b, a, offset_operand(b), retry);
  access_effective_address(b, H_R8);
  add_segment_base(b, insn->seg, H_R8);
  return mirrored(b, a, hm(H_R8, 0), retry);
}

struct host_mem access_mem(struct block *b) {
  struct step *s = &b->steps[b->index];
  const struct access *a = &s->acc[ACC_MEM];
  if (access_mirrored(b, s, ACC_MEM)) return mirrored_mem(b, a);
  if (a->window != NO_WINDOW) return window_operand(b, a);
  access_flush_base(b);
  unsigned site = access_site(b, a);
  access_effective_address(b, H_R8);
  check_address(b, s->insn.seg, s->insn.address_size == 2, a, site);
  return hm_index(a->addend == H_NONE ? H_R9 : a->addend, H_R8, 0, 0);
}

/* R9 = the register operand, which is EAX's saved copy where flags took its place. */
static void bit_offset(struct block *b, enum saved_flags saved) {
  const struct insn *insn = &b->steps[b->index].insn;
  if (insn->reg != REG_EAX || saved == SAVED_NONE) host_mov(&b->code, H_R9, host_reg(insn->reg));
  else if (saved == SAVED_R11) host_mov(&b->code, H_R9, H_R11);
  else host_load(&b->code, H_R9, HM_STATE(scratch[1]));
}

/* BT and its like with a register: the bit offset is signed and moves the address by whole operands (SDM vol. 2A, 3.1.1.9, figure
 * 3-2). Leaves the rest of it, which the host's instruction may take as it is, in R9 and the operand's host address in R8. */
struct host_mem access_bit(struct block *b) {
  struct step *s = &b->steps[b->index];
  const struct insn *insn = &s->insn;
  const struct access *a = &s->acc[ACC_MEM];
  struct host_code *c = &b->code;
  bool word = insn->operand_size == 2;
  access_flush_base(b);
  unsigned site = access_site(b, a);
  access_effective_address(b, H_R8);
  if (tr_seg_class(b->rq->mode, insn->seg) == TR_SEG_BASED) add_segment_base(b, insn->seg, H_R8);
  enum saved_flags saved = s->live_before ? access_save_flags(b) : SAVED_NONE;
  bit_offset(b, saved);
  if (word) host_op_reg(c, HO_MOVSXw, H_R9, H_R9); /* MOVSX */
  host_shift_imm(c, HOg_SAR, H_R9, word ? 4 : 5);
  host_lea(c, H_R8, hm_index(H_R8, H_R9, word ? 1 : 2, 0));
  check_page(b, a, site, saved);
  host_lea64(c, H_R8, hm_index(H_R8, H_R9, 0, 0));
  bit_offset(b, saved);
  host_alu_imm(c, HOg_AND, H_R9, word ? 15 : 31);
  access_restore_flags(b, saved);
  return hm(H_R8, 0);
}

struct host_mem access_stack(struct block *b, int32_t stack_offset) {
  struct step *s = &b->steps[b->index];
  const struct access *a = &s->acc[ACC_STACK];
  bool leave = s->insn.kind == OP_LEAVE;
  if (access_mirrored(b, s, ACC_STACK))
    return mirrored(b, a, leave ? hm(H_RBP, 0) : hm(H_R15, b->pending + stack_offset), host_here(&b->code));
  if (a->window != NO_WINDOW) return window_operand(b, a);
  unsigned site = access_site(b, a);
  if (leave) host_mov(&b->code, H_R8, H_RBP);
  else host_lea(&b->code, H_R8, hm(H_R15, b->pending + stack_offset));
  if (b->stack16) host_movzx16(&b->code, H_R8, H_R8);
  check_address(b, SEG_SS, b->stack16, a, site);
  return hm_index(H_R9, H_R8, 0, 0);
}

/* ---- windows --------------------------------------------------------------------------------------------------- */

/* A register that holds `version` before the current step, and what to add to it for key + 0. */
static unsigned holder(const struct block *b, unsigned version, bool narrow, bool index, int32_t *k) {
  const struct step *s = &b->steps[b->index];
  *k = 0;
  if (version == 0) return H_NONE;
  for (unsigned r = 0; r < 8; r++) {
    const struct value *v = narrow ? &s->low[r] : &s->before[r];
    if (v->version != version || (r == REG_ESP && !plan_esp_holds(b, narrow, index))) continue;
    *k = (int32_t)((uint32_t)esp_pending(b, r) - (uint32_t)v->k);
    return host_reg(r);
  }
  return H_NONE;
}

static void window_address(struct block *b, const struct window *w) {
  struct host_code *c = &b->code;
  int32_t base_k, index_k;
  bool narrow = w->key.narrow;
  unsigned base = holder(b, w->key.base, narrow, false, &base_k), index = holder(b, w->key.index, narrow, true, &index_k);
  int32_t disp = (int32_t)((uint32_t)w->lo + (uint32_t)base_k + ((uint32_t)index_k << w->key.scale));
  if (base == H_NONE && index == H_NONE) host_mov_imm(c, w->reg, narrow ? (uint16_t)disp : (uint32_t)disp);
  else if (narrow && index == H_NONE && (int16_t)disp == 0) host_movzx16(c, w->reg, base);
  else {
    host_lea(c, w->reg, hm_index(base, index, w->key.scale, narrow ? (int16_t)disp : disp));
    if (narrow) host_movzx16(c, w->reg, w->reg);
  }
}

/* The window's offset in w->reg becomes a linear address. It must not wrap around at 64 KiB, where each access does so by itself,
 * nor leave the segment. Flags are free. */
static void window_segment(struct block *b, const struct window *w, unsigned span, struct cold *fail) {
  struct host_code *c = &b->code;
  if (!w->key.segment && !w->key.narrow) return;
  unsigned seg = key_segment(w->key.segment);
  enum tr_seg_class class = w->key.segment ? tr_seg_class(b->rq->mode, seg) : TR_SEG_FLAT;
  if ((w->key.narrow && span > 1) || class == TR_SEG_REAL) {
    host_alu_imm(c, HOg_CMP, w->reg, (int32_t)(0x10000 - span));
    fail->jump3 = host_jcc(c, CC_A);
  }
  if (class == TR_SEG_LIMITED) {
    host_lea(c, H_R9, hm(w->reg, (int32_t)span - 1));
    host_alu_mem(c, HOg_CMP, H_R9, access_segment_limit(seg));
    fail->jump4 = host_jcc(c, CC_A);
  }
  if (class != TR_SEG_FLAT) add_segment_base(b, seg, w->reg);
}

/* Windows on the stack compare with the one stack page that the vCPU remembers; off it they look the page up out of line and
 * remember that. */
static bool on_stack(const struct block *b, const struct window *w) {
  const struct step *s = &b->steps[b->index];
  if (w->key.segment && key_segment(w->key.segment) != SEG_SS) return false;
  return w->key.base && !w->key.index && (w->key.narrow ? s->low : s->before)[REG_ESP].version == w->key.base &&
         !block_option(b, TR_NO_STACK_PAGE);
}

static void stack_window_check(struct block *b, const struct window *w, unsigned span, struct cold *fail,
                               enum saved_flags saved) {
  struct host_code *c = &b->code;
  host_alu_mem(c, HO_64 | HOg_SUB, w->reg, HM_STATE(stack_page));
  host_alu_imm(c, HO_64 | HOg_CMP, w->reg, (int32_t)(4096 - span));
  struct cold *other = block_cold(b, COLD_STACK, host_jcc(c, CC_A), fail->site);
  host_alu_mem(c, HO_64 | HOg_ADD, w->reg, HM_STATE(stack_host));
  other->saved = saved, other->addend = w->reg, other->write = w->write, other->size = (uint16_t)span, other->back = host_here(c),
  other->jump2 = 0;
}

/* Another page than the remembered one: R10 or R11 holds linear - stack_page. */
void access_cold_stack(struct block *b, const struct cold *k, uint32_t fail) {
  struct host_code *c = &b->code;
  unsigned reg = k->addend;
  host_alu_mem(c, HO_64 | HOg_ADD, reg, HM_STATE(stack_page));
  host_mov(c, H_R9, reg);
  host_alu_imm(c, HOg_AND, H_R9, MMU_PAGE_MASK);
  host_alu_imm(c, HOg_CMP, H_R9, 4096 - k->size);
  host_patch(c, host_jcc(c, CC_A), fail);
  access_page_number(b, H_R8, reg);
  host_load64(c, H_R9, access_shadow_entry(H_R8, true));
  host_test64(c, H_R9);
  uint8_t *not_writable = host_jcc8(c, CC_Z);
  host_shift_imm(c, HO_64 | HOg_SHL, H_R8, 12);
  host_store64(c, HM_STATE(stack_page), H_R8);
  host_alu(c, HO_64 | HOg_ADD, reg, H_R9);
  host_alu(c, HO_64 | HOg_ADD, H_R9, H_R8);
  host_store64(c, HM_STATE(stack_host), H_R9);
  host_patch(c, host_jmp(c), k->back);
  host_bind8(c, not_writable);
  if (k->write) {
    host_patch(c, host_jmp(c), fail);
    return;
  }
  host_load64(c, H_R9, access_shadow_entry(H_R8, false));
  host_test64(c, H_R9);
  host_patch(c, host_jcc(c, CC_Z), fail);
  host_alu(c, HO_64 | HOg_ADD, reg, H_R9);
  host_patch(c, host_jmp(c), k->back);
}

static void page_window_check(struct block *b, const struct window *w, unsigned span, struct cold *fail) {
  struct host_code *c = &b->code;
  if (span > 1) {
    host_mov(c, H_R9, w->reg);
    host_alu_imm(c, HOg_AND, H_R9, MMU_PAGE_MASK);
    host_alu_imm(c, HOg_CMP, H_R9, (int32_t)(4096 - span));
    fail->jump2 = host_jcc(c, CC_A);
  }
  access_page_number(b, H_R8, w->reg);
  host_load64(c, H_R8, access_shadow_entry(H_R8, w->write));
  host_test64(c, H_R8);
  fail->jump = host_jcc(c, CC_Z);
  host_alu(c, HO_64 | HOg_ADD, w->reg, H_R8);
}

static void window_check(struct block *b, const struct window *w) {
  unsigned site = block_site(b, TR_SITE_PLAIN), span = (unsigned)(w->hi - w->lo);
  window_address(b, w);
  enum saved_flags saved = w->flags_live ? access_save_flags(b) : SAVED_NONE;
  struct cold *fail = block_cold(b, COLD_PLAIN, 0, site);
  fail->saved = saved;
  window_segment(b, w, span, fail);
  if (on_stack(b, w)) stack_window_check(b, w, span, fail, saved);
  else page_window_check(b, w, span, fail);
  access_restore_flags(b, saved);
}

/* Before a self-loop: no addend yet (entries are multiples of a page). */
void access_forget_addends(struct block *b) {
  for (unsigned i = 0; i < b->n; i++)
    if (b->steps[i].acc[ACC_MEM].present && b->steps[i].acc[ACC_MEM].addend != H_NONE)
      host_mov_imm(&b->code, b->steps[i].acc[ACC_MEM].addend, 1);
}

/* Out of line: the entry at page R9 into the addend's register; too many of these and the block is made without. */
void access_cold_refill(struct block *b, const struct cold *k, unsigned given_up) {
  struct host_code *c = &b->code;
  host_load64(c, k->addend, access_shadow_entry(H_R9, k->write));
  host_test64(c, k->addend);
  uint8_t *slow = host_jcc8(c, CC_Z);
  host_op_mem(c, HO_GROUP5, HOg_DEC, HM_STATE(refill_budget)); /* DEC */
  uint8_t *often = host_jcc8(c, CC_S);
  host_patch(c, host_jmp(c), k->back);
  host_bind8(c, often);
  access_restore_flags(b, k->saved);
  block_exit_here(b, given_up);
  host_bind8(c, slow);
  access_restore_flags(b, k->saved);
  block_exit_here(b, k->site);
}

void access_window_checks(struct block *b, bool invariant) {
  for (unsigned i = 0; i < b->window_count; i++)
    if (b->windows[i].reg != H_NONE && b->windows[i].check == b->index && b->windows[i].invariant == invariant)
      window_check(b, &b->windows[i]);
}
