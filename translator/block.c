/* Emitting a planned block: one function a kind, the cold code apart from the hot, and the sites. */
#include "block.h"
#include "../mmu/layout.h"

unsigned block_site(struct block *b, enum tr_site_kind kind) {
  if (b->site_count == TR_MAX_SITES - 1) {
    b->too_many = true;
    return b->site_count;
  }
  struct tr_site *s = &b->rq->sites[b->site_count];
  *s =
    (struct tr_site){.kind = kind, .insn_offset = (uint16_t)b->at, .index = (uint8_t)b->index, .esp_delta = (int16_t)b->pending};
  if (b->index && b->steps[b->index - 1].insn.kind == OP_STI) s->access = TR_ACCESS_SHADOW;
  return b->site_count++;
}

struct cold *block_cold(struct block *b, int kind, uint32_t jump, unsigned site) {
  if (b->cold_count == TR_MAX_SITES - 1) b->too_many = true;
  else b->cold_count++;
  struct cold *k = &b->cold[b->cold_count - 1];
  *k = (struct cold){.kind = kind, .jump = jump, .site = site, .pending = b->pending};
  return k;
}

void block_flush_esp(struct block *b) {
  if (!b->pending) return;
  host_lea(&b->code, H_R15, hm(H_R15, b->pending));
  b->pending = 0;
}

static void emit_exit(struct block *b, unsigned site) {
  struct host_code *c = &b->code;
  host_push_imm(c, b->rq->first_site + site);
  if (host_jmp_back(c, b->exit_jump)) return;
  b->exit_jump = c->at;
  host_patch(c, host_jmp(c), 0 /* the exit stub: see tr_write_stubs */);
}

void block_exit_here(struct block *b, unsigned site) {
  b->rq->sites[site].cold = host_here(&b->code);
  emit_exit(b, site);
}

/* ---- cold code ------------------------------------------------------------------------------------------------- */

static void bind(struct block *b, const struct cold *k) {
  uint32_t here = host_here(&b->code);
  if (k->jump) host_patch(&b->code, k->jump, here);
  if (k->jump2) host_patch(&b->code, k->jump2, here);
}

/* Runs on into the access's stub where the operand lies in two pages. */
static void check_crossing(struct block *b, const struct cold *k) {
  struct host_code *c = &b->code;
  host_patch(c, k->odd, host_here(c));
  host_mov(c, H_R9, H_R8);
  host_alu_imm(c, HOg_AND, H_R9, 4095);
  host_alu_imm(c, HOg_CMP, H_R9, 4096 - k->size);
  host_patch(c, host_jcc(c, CC_BE), k->back);
}

static void cold_refill(struct block *b, const struct cold *k) {
  unsigned given_up = block_site(b, TR_SITE_REFILL);
  struct tr_site *s = &b->rq->sites[given_up];
  s->insn_offset = b->rq->sites[k->site].insn_offset, s->index = b->rq->sites[k->site].index,
  s->esp_delta = b->rq->sites[k->site].esp_delta;
  s->access = b->rq->sites[k->site].access & TR_ACCESS_SHADOW;
  bind(b, k);
  access_cold_refill(b, k, given_up);
}

/* The window's PLAIN stub was recorded right before it, so it is there already. */
static void cold_stack(struct block *b, const struct cold *k) {
  bind(b, k);
  access_cold_stack(b, k, k[-1].start);
}

static void cold_stub(struct block *b, struct cold *k) {
  k->start = host_here(&b->code);
  if (k->kind == COLD_STACK) {
    cold_stack(b, k);
    return;
  }
  struct tr_site *site = &b->rq->sites[k->site];
  if (k->kind == COLD_REFILL) {
    cold_refill(b, k);
    return;
  }
  if (k->odd) check_crossing(b, k);
  bind(b, k);
  uint32_t start = host_here(&b->code);
  access_restore_flags(b, k->saved);
  /* chained to the plain block: ESP and the instruction count are exact from here on */
  if (k->kind == COLD_PLAIN && !block_mode(b, TR_NO_CHAIN)) {
    if (k->pending) host_lea(&b->code, H_R15, hm(H_R15, k->pending));
    if (block_option(b, TR_COUNT)) host_lea64(&b->code, H_R12, hm(H_R12, (int32_t)b->n - site->index));
    if (block_option(b, TR_COUNT)) site->index = b->n;
    site->esp_delta = 0;
    site->host = host_jmp(&b->code);
    host_patch(&b->code, site->host, host_here(&b->code));
  }
  /* a host fault leads there: nothing has been restored */
  site->cold = site->kind == TR_SITE_SAFEPOINT ? start : host_here(&b->code);
  emit_exit(b, k->site);
}

/* ---- one kind each --------------------------------------------------------------------------------------------- */

static struct step *current(struct block *b) { return &b->steps[b->index]; }

/* A site at which the monitor runs the current instruction. */
static unsigned callout_site(struct block *b) {
  unsigned site = block_site(b, TR_SITE_CALLOUT);
  b->rq->sites[site].target = b->result->callout_count;
  b->rq->callouts[b->result->callout_count++] = current(b)->insn;
  return site;
}

/* ESP moves by `change`: folded into the displacements of what follows. */
static void move_esp(struct block *b, int32_t change) {
  b->pending += change;
  if (block_option(b, TR_NO_FOLD) || b->pending > 8192 || b->pending < -8192) block_flush_esp(b);
}

static bool names_esp(const struct insn *insn) { /* as a register operand, not as the base of its address */
  uint8_t regs = insn->regs_read | insn->regs_written;
  if (!(regs >> REG_ESP & 1)) return false;
  if (!(insn->has_ea && insn->base == REG_ESP)) return true;
  if (insn->regs_written >> REG_ESP & 1) return true;
  return insn->modrm_offset && insn->mod != 3 && insn->reg == REG_ESP; /* may be an opcode extension: a flush is only slower */
}

/* ADD/SUB ESP, imm with dead flags, and MOV r, ESP: no need to bring R15 up to date. */
static bool fold_esp(struct block *b, const struct step *s) {
  const struct insn *insn = &s->insn;
  unsigned to = insn->operand_reg[0], from = insn->operand_reg[1], does = insn->row->does;
  if (block_option(b, TR_NO_FOLD) || insn->operand_size != 4 || to == REG_NONE) return false;
  if ((does == DOES_ADD_IMM || does == DOES_SUB_IMM) && to == REG_ESP) {
    if (s->live_after || block_option(b, TR_EXACT_FLAGS) || insn->imm + 4096 > 8192) return false;
    move_esp(b, does == DOES_ADD_IMM ? (int32_t)insn->imm : -(int32_t)insn->imm);
    return true;
  }
  if (does != DOES_MOV || from != REG_ESP || to == REG_ESP || !b->pending) return false;
  host_lea(&b->code, to, hm(H_R15, b->pending));
  return true;
}

/* MOV ESP, r forgets what was pending. */
static bool sets_esp_only(const struct insn *insn) {
  unsigned to = insn->operand_reg[0], from = insn->operand_reg[1];
  return insn->row->does == DOES_MOV && insn->operand_size == 4 && to == REG_ESP && from != REG_NONE && from != REG_ESP;
}

static void emit_copy(struct block *b) {
  struct step *s = current(b);
  const struct insn *insn = &s->insn;
  if (insn->row->does == (block_mode(b, TR_DOWN) ? DOES_STD : DOES_CLD)) return; /* DF is so already */
  if (fold_esp(b, s)) return;
  if (sets_esp_only(insn)) b->pending = 0;
  else if (names_esp(insn)) block_flush_esp(b);
  struct host_mem m;
  if (insn->has_mem) m = access_mem(b);
  unsigned site = TR_MAX_SITES;
  if (copy_may_fault(insn)) {
    site = block_site(b, TR_SITE_FAULT);
    block_cold(b, COLD_EXIT, 0, site);
  }
  uint32_t host_at;
  copy_insn(&b->code, insn, insn->has_mem ? &m : NULL, &host_at);
  if (site != TR_MAX_SITES) b->rq->sites[site].host = host_at;
}

static void emit_lea(struct block *b) {
  const struct insn *insn = &current(b)->insn;
  struct host_code *c = &b->code;
  bool to_esp = insn->reg == REG_ESP;
  if (to_esp && insn->base == REG_ESP && insn->index == REG_NONE && insn->operand_size == 4 && insn->address_size == 4 &&
      insn->disp > -4096 && insn->disp < 4096) {
    move_esp(b, insn->disp);
    return;
  }
  if (to_esp && insn->operand_size == 2) block_flush_esp(b);
  access_effective_address(b, H_R8);
  host_op_reg(c, HO_MOVto | copy_size(insn), H_R8, host_reg(insn->reg));
  if (to_esp) b->pending = 0;
}

static void emit_incdec(struct block *b) {
  const struct insn *insn = &current(b)->insn;
  unsigned reg = insn->operand_reg[0];
  if (reg == REG_ESP) block_flush_esp(b);
  host_op_reg(&b->code, HO_GROUP5 | copy_size(insn), insn->row->does == DOES_DEC ? HOg_DEC : HOg_INC, host_reg(reg));
}

static void emit_moffs(struct block *b) {
  const struct insn *insn = &current(b)->insn;
  struct host_mem m = access_mem(b);
  bool store = insn->access & ACCESS_W;
  unsigned op = insn->operand_size == 1 ? store ? HO_MOVtob : HO_MOVb : store ? HO_MOVto : HO_MOV;
  host_op_mem(&b->code, op | copy_size(insn), H_RAX, m);
}

static void emit_nop(struct block *b) { (void)b; }

static void emit_xlat(struct block *b) { host_op_mem(&b->code, HO_MOVb, H_RAX, access_mem(b)); }

static void emit_bt_mem(struct block *b) {
  const struct insn *insn = &current(b)->insn;
  struct host_code *c = &b->code;
  if (insn->reg == REG_ESP) block_flush_esp(b);
  struct host_mem m = access_bit(b);
  host_op_mem(c, copy_opcode(insn), H_R9, m);
}

static void emit_push_reg(struct block *b) {
  unsigned reg = current(b)->insn.operand_reg[0], from = host_reg(reg);
  if (reg == REG_ESP) host_lea(&b->code, from = H_R11, hm(H_R15, b->pending));
  host_store(&b->code, access_stack(b, -4), from);
  move_esp(b, -4);
}

static void emit_push_imm(struct block *b) {
  host_store_imm(&b->code, access_stack(b, -4), current(b)->insn.imm);
  move_esp(b, -4);
}

static void emit_push_mem(struct block *b) {
  host_load(&b->code, H_R11, access_mem(b));
  host_store(&b->code, access_stack(b, -4), H_R11);
  move_esp(b, -4);
}

static struct host_mem selector(unsigned seg) {
  return hm(H_R13,
            (int32_t)(offsetof(struct tr_state, seg) + seg * sizeof(struct tr_segment) + offsetof(struct tr_segment, selector)));
}

static void emit_push_seg(struct block *b) {
  host_load16(&b->code, H_R11, selector(current(b)->insn.sreg));
  host_store(&b->code, access_stack(b, -4), H_R11);
  move_esp(b, -4);
}

static void emit_pop_reg(struct block *b) {
  unsigned reg = current(b)->insn.operand_reg[0];
  host_load(&b->code, host_reg(reg), access_stack(b, 0));
  if (reg == REG_ESP) b->pending = 0;
  else move_esp(b, 4);
}

static void emit_leave(struct block *b) {
  struct host_mem m = access_stack(b, 0);
  host_lea(&b->code, H_R15, hm(H_RBP, 4));
  host_load(&b->code, H_RBP, m);
  b->pending = 0;
}

static void emit_mov_from_seg(struct block *b) {
  const struct insn *insn = &current(b)->insn;
  host_load16(&b->code, H_R8, selector(insn->sreg));
  if (insn->rm == REG_ESP) block_flush_esp(b);
  host_op_reg(&b->code, HO_MOVto | copy_size(insn), H_R8, host_reg(insn->rm));
}

/* The selector in R9 is the one that is loaded, and its descriptor in the GDT is still what it was then: nothing to do. All else
 * is the monitor's (D7). Clobbers R8, R11, flags. */
static void same_segment(struct block *b, unsigned seg, enum saved_flags saved) {
  struct host_code *c = &b->code;
  struct cold *other = block_cold(b, COLD_EXIT, 0, callout_site(b)), *changed = block_cold(b, COLD_EXIT, 0, other->site);
  other->saved = changed->saved = saved;
  host_load16(c, H_R8, selector(seg));
  host_alu(c, HOg_CMP, H_R9, H_R8);
  other->jump = host_jcc(c, CC_NZ);
  host_load64(c, H_R8, HM_STATE(gdt_host));
  host_test64(c, H_R8);
  other->jump2 = host_jcc(c, CC_Z);
  host_alu_imm(c, HOg_AND, H_R9, 0xfff8);
  host_load64(c, H_R8, hm_index(H_R8, H_R9, 0, 0));
  host_alu_mem(c, HO_64 | HOg_CMP, H_R8, hm(H_R13, (int32_t)(offsetof(struct tr_state, seg_raw) + 8 * seg)));
  changed->jump = host_jcc(c, CC_NZ);
}

static void emit_mov_to_seg(struct block *b) {
  const struct insn *insn = &current(b)->insn;
  if (insn->rm == REG_ESP) block_flush_esp(b);
  host_movzx16(&b->code, H_R9, host_reg(insn->rm));
  enum saved_flags saved = current(b)->live_before ? access_save_flags(b) : SAVED_NONE;
  same_segment(b, insn->sreg, saved);
  access_restore_flags(b, saved);
}

static void emit_pop_seg(struct block *b) {
  host_load16(&b->code, H_R9, access_stack(b, 0));
  enum saved_flags saved = current(b)->live_before ? access_save_flags(b) : SAVED_NONE;
  same_segment(b, current(b)->insn.sreg, saved);
  access_restore_flags(b, saved);
  move_esp(b, 4);
}

static void emit_cli(struct block *b) { host_store_imm(&b->code, HM_STATE(if_flag), 0); }

/* SDM vol. 2, PUSHF: VM and RF are cleared in the image. */
static void emit_pushf(struct block *b) {
  struct host_code *c = &b->code;
  bool window = current(b)->acc[ACC_STACK].window != NO_WINDOW;
  struct host_mem m = access_stack(b, -4);
  if (!window) host_lea64(c, H_R8, m), m = hm(H_R8, 0);
  host_mov64(c, H_R11, H_RAX);
  host_op(c, HO_PUSHF); /* on the code stack */
  host_save_flags(c);
  host_pop(c, H_R9);
  host_alu_imm(c, HOg_AND, H_R9, FLAGS_ARITH | FLAG_DF);
  host_alu_mem(c, HOg_OR, H_R9, HM_STATE(if_flag));
  host_alu_mem(c, HOg_OR, H_R9, HM_STATE(sys_flags));
  host_alu_imm(c, HOg_AND, H_R9, ~(FLAG_RF | FLAG_VM));
  host_store(c, m, H_R9);
  host_restore_flags(c);
  host_mov64(c, H_RAX, H_R11);
  move_esp(b, -4);
}

/* POPF that changes no system flag but IF; any other goes to the monitor (SDM vol. 2, POPF). */
static void emit_popf(struct block *b) {
  struct host_code *c = &b->code;
  enum { SYSTEM = FLAG_TF | FLAG_IOPL | FLAG_NT | FLAG_AC | FLAG_ID };
  host_load(c, H_R9, access_stack(b, 0));
  struct cold *slow = block_cold(b, COLD_EXIT, 0, callout_site(b));
  host_load(c, H_R8, HM_STATE(sys_flags));
  host_alu(c, HOg_XOR, H_R8, H_R9);
  host_test_imm(c, H_R8, SYSTEM);
  slow->jump = host_jcc(c, CC_NZ);
  host_test_imm(c, H_R9, FLAG_DF);
  slow->jump2 = host_jcc(c, CC_NZ);
  host_op(c, HO_CLD);
  host_mov(c, H_R8, H_R9);
  host_alu_imm(c, HOg_AND, H_R8, FLAG_IF);
  host_store(c, HM_STATE(if_flag), H_R8);
  host_alu_mem(c, HOg_AND, H_R8, HM_STATE(irq_pending));
  host_mov64(c, H_R11, H_RAX);
  host_mov(c, H_RAX, H_R9);
  host_flags_from_image(c, H_R9);
  host_mov64(c, H_RAX, H_R11);
  move_esp(b, 4);
  branch_irq_check(b);
}

/* An interrupt that waits already goes by way of the monitor, which knows STI's shadow. Any later one finds it in the site at
 * which the block is left (TR_ACCESS_SHADOW); an STI that ends its block is the monitor's (plan.c). */
static void emit_sti(struct block *b) {
  struct host_code *c = &b->code;
  struct cold *waits = block_cold(b, COLD_EXIT, 0, callout_site(b));
  host_mov64(c, H_R8, H_RCX);
  host_load(c, H_RCX, HM_STATE(irq_pending));
  uint8_t *none = host_jrcxz8(c);
  host_mov64(c, H_RCX, H_R8);
  waits->jump = host_jmp(c);
  host_bind8(c, none);
  host_mov64(c, H_RCX, H_R8);
  host_store_imm(c, HM_STATE(if_flag), FLAG_IF);
}

/* EDX:EAX = host TSC + offset (D9). Time is not read while something is asked for: a CPU that was away from its guest may have
 * time to take back first (clock.c). So the safepoint stands right before RDTSC, where signals.c finds it. R11 is the guest's EAX
 * there, R8 its flags. */
static void emit_rdtsc(struct block *b) {
  struct host_code *c = &b->code;
  host_mov64(c, H_R11, H_RAX);
  host_save_flags(c);
  host_mov(c, H_R8, H_RAX);
  bool aux = current(b)->insn.kind == OP_RDTSCP;
  if (aux) host_op(c, HO_LFENCE); /* it waits for what came before */
  branch_safepoint(b, SAVED_R11);
  host_op(c, HO_RDTSC);
  host_shift_imm(c, HO_64 | HOg_SHL, H_RDX, 32);
  host_alu(c, HO_64 | HOg_OR, H_RAX, H_RDX);
  host_alu_mem(c, HO_64 | HOg_ADD, H_RAX, HM_STATE(tsc_offset));
  host_mov64(c, H_RDX, H_RAX);
  host_shift_imm(c, HO_64 | HOg_SHR, H_RDX, 32);
  host_mov(c, H_R9, H_RAX);
  host_mov(c, H_RAX, H_R8);
  host_restore_flags(c);
  host_mov(c, H_RAX, H_R9);
  if (aux) host_load(c, H_RCX, HM_STATE(tsc_aux));
}

/* The host's own instruction on host pointers, so that DF needs no look: ESI and EDI become pointers, move as DF says, and become
 * offsets again (x + ~a + 1 = x - a, without flags). */
static void to_offset(struct host_code *c, unsigned reg, unsigned addend) {
  host_not64(c, addend);
  host_lea(c, reg, hm_index(reg, addend, 0, 1));
}

/* Leaves the addend of [reg .. reg + R11D), if that lies in one page with an entry, in `addend`. */
static void rep_side(struct block *b, unsigned reg, unsigned addend, bool write, struct cold *slow) {
  struct host_code *c = &b->code;
  host_mov(c, addend, reg);
  host_alu_imm(c, HOg_AND, addend, MMU_PAGE_MASK);
  host_lea(c, addend, hm_index(addend, H_R11, 0, 0));
  host_alu_imm(c, HOg_CMP, addend, 4096);
  slow->jump = host_jcc(c, CC_A);
  access_page_number(b, addend, reg);
  host_load64(c, addend, hm_index(H_R14, addend, 3, write ? MMU_WRITE_ARRAY : MMU_READ_ARRAY));
  host_test64(c, addend);
  slow->jump2 = host_jcc(c, CC_Z);
}

static struct cold *rep_slow(struct block *b, unsigned site, enum saved_flags saved) {
  struct cold *slow = block_cold(b, COLD_EXIT, 0, site);
  slow->saved = saved;
  return slow;
}

/* REP MOVS/STOS with DF clear: the host's own, when each side is one mapped page; the monitor otherwise. */
static void emit_rep(struct block *b) {
  struct host_code *c = &b->code;
  const struct insn *insn = &current(b)->insn;
  unsigned size = insn->operand_size, log = size == 4 ? 2 : size - 1, site = callout_site(b);
  bool movs = insn->kind == OP_MOVS;
  enum saved_flags saved = current(b)->live_before ? access_save_flags(b) : SAVED_NONE;
  struct cold *slow = rep_slow(b, site, saved);
  host_alu_imm(c, HOg_CMP, H_RCX, (int32_t)(4096 / size));
  slow->jump = host_jcc(c, CC_A);
  host_lea(c, H_R11, hm_index(H_NONE, H_RCX, log, 0));
  if (movs) rep_side(b, H_RSI, H_R8, false, rep_slow(b, site, saved));
  rep_side(b, H_RDI, H_R9, true, rep_slow(b, site, saved));
  access_restore_flags(b, saved);
  if (movs) host_lea64(c, H_RSI, hm_index(H_RSI, H_R8, 0, 0));
  host_lea64(c, H_RDI, hm_index(H_RDI, H_R9, 0, 0));
  host_op(c, HO_REP | copy_opcode(insn));
  if (movs) to_offset(c, H_RSI, H_R8);
  to_offset(c, H_RDI, H_R9);
}

static void emit_string(struct block *b) {
  struct host_code *c = &b->code;
  const struct insn *insn = &current(b)->insn;
  if (insn->rep) {
    emit_rep(b);
    return;
  }
  unsigned size = insn->operand_size;
  bool two = insn->kind == OP_MOVS || insn->kind == OP_CMPS, source = two || insn->kind == OP_LODS;
  bool store = insn->kind == OP_MOVS || insn->kind == OP_STOS;
  if (source) access_at_register(b, H_RSI, size, ACCESS_R);
  if (two) host_mov64(c, H_R11, H_R9);
  if (insn->kind != OP_LODS) access_at_register(b, H_RDI, size, store ? ACCESS_W : ACCESS_R);
  unsigned from = two ? H_R11 : H_R9;
  if (source) host_lea64(c, H_RSI, hm_index(H_RSI, from, 0, 0));
  if (insn->kind != OP_LODS) host_lea64(c, H_RDI, hm_index(H_RDI, H_R9, 0, 0));
  host_op(c, copy_opcode(insn));
  if (source) to_offset(c, H_RSI, from);
  if (insn->kind != OP_LODS) to_offset(c, H_RDI, H_R9);
}

static void emit_callout(struct block *b) {
  unsigned site = callout_site(b);
  block_exit_here(b, site);
  b->pending = 0;
}

static uint32_t branch_target(const struct block *b) {
  const struct insn *insn = &b->steps[b->index].insn;
  return b->rq->eip + b->at + insn->length + (uint32_t)insn->rel;
}
static bool backward(const struct block *b) { return branch_target(b) <= b->rq->eip + b->at; }

/* The host fuses a compare with the conditional jump behind it: the safepoint goes before both. */
static bool compare_before(const struct block *b) {
  const struct insn *insn = b->index ? &b->steps[b->index - 1].insn : NULL;
  return insn && (insn->kind == OP_COPY || insn->kind == OP_INCDEC_REG) && !insn->has_mem && (insn->flags_written & FLAG_ZF);
}

static bool early_safepoint(struct block *b) {
  if (b->index + 2 != b->n || b->steps[b->n - 1].insn.kind != OP_JCC || b->steps[b->n - 1].callout) return false;
  b->index++, b->at += b->steps[b->index - 1].insn.length;
  bool early = backward(b) && compare_before(b);
  b->index--, b->at -= b->steps[b->index].insn.length;
  return early;
}

static void emit_jump(struct block *b) {
  if (backward(b)) branch_safepoint(b, SAVED_NONE);
  branch_jump(b, branch_target(b));
}

static void emit_jcc(struct block *b) {
  if (backward(b) && !compare_before(b)) branch_safepoint(b, SAVED_NONE);
  branch_conditional(b, insn_condition(&current(b)->insn), branch_target(b));
}

/* LOOP and JeCXZ have no rel32 form and LOOP is slow: LEA and JRCXZ, which touch no flag. */
static void emit_loop(struct block *b) {
  struct host_code *c = &b->code;
  bool loop = current(b)->insn.kind == OP_LOOP;
  uint32_t target = branch_target(b), next = b->rq->eip + b->at + current(b)->insn.length;
  branch_safepoint(b, SAVED_NONE);
  block_flush_esp(b);
  if (loop) host_lea(c, H_RCX, hm(H_RCX, -1));
  uint8_t *zero = host_jrcxz8(c);
  uint32_t not_zero = host_jmp(c);
  host_bind8(c, zero);
  branch_jump(b, loop ? next : target);
  if (loop && b->self_loop) {
    host_patch(c, not_zero, b->loop_entry);
    return;
  }
  host_patch(c, not_zero, host_here(c));
  branch_jump(b, loop ? target : next);
}

static void emit_call_rel(struct block *b) {
  uint32_t target = branch_target(b);
  if (backward(b)) branch_safepoint(b, SAVED_NONE);
  host_store_imm(&b->code, access_stack(b, -4), b->rq->eip + b->at + current(b)->insn.length);
  move_esp(b, -4);
  branch_jump(b, target);
}

static void load_target(struct block *b, unsigned to) {
  const struct insn *insn = &current(b)->insn;
  if (insn->has_mem) {
    host_load(&b->code, to, access_mem(b));
    return;
  }
  if (insn->rm == REG_ESP) block_flush_esp(b);
  host_mov(&b->code, to, host_reg(insn->rm));
}

static void emit_jmp_ind(struct block *b) {
  branch_safepoint(b, SAVED_NONE);
  load_target(b, H_R8);
  branch_indirect(b);
}

static void emit_call_ind(struct block *b) {
  branch_safepoint(b, SAVED_NONE);
  load_target(b, H_R11);
  host_store_imm(&b->code, access_stack(b, -4), b->rq->eip + b->at + current(b)->insn.length);
  move_esp(b, -4);
  host_mov(&b->code, H_R8, H_R11);
  branch_indirect(b);
}

static void emit_ret(struct block *b) {
  branch_safepoint(b, SAVED_NONE);
  host_load(&b->code, H_R8, access_stack(b, 0));
  move_esp(b, 4 + (int32_t)(current(b)->insn.imm & 0xffff));
  branch_indirect(b);
}

typedef void emitter(struct block *b);
static emitter *const emitters[OP_KIND_COUNT] = {
#define EMIT_INLINE(kind, run, emit, ...) [OP_##kind] = emit_##emit,
#define EMIT_CALLOUT(kind, ...) [OP_##kind] = emit_callout,
  OP_KINDS(EMIT_INLINE, EMIT_CALLOUT)
#undef EMIT_INLINE
#undef EMIT_CALLOUT
};

static void emit_step(struct block *b) {
  const struct step *s = current(b);
  emitter *emit = s->callout ? emit_callout : emitters[s->insn.kind];
  emit(b);
}

/* -icount: R12 -= instructions; below zero the block is not begun. The sign is taken from memory so that no flag is touched. */
static void count_prologue(struct block *b) {
  struct host_code *c = &b->code;
  unsigned site = block_site(b, TR_SITE_COUNT);
  host_lea64(c, H_R12, hm(H_R12, -(int32_t)b->n));
  host_store64(c, HM_STATE(insns_left), H_R12);
  host_mov64(c, H_R8, H_RCX);
  struct host_mem high = HM_STATE(insns_left);
  high.disp += 4;
  host_load(c, H_RCX, high);
  uint8_t *enough = host_jrcxz8(c);
  host_mov64(c, H_RCX, H_R8);
  block_cold(b, COLD_EXIT, host_jmp(c), site);
  host_bind8(c, enough);
  host_mov64(c, H_RCX, H_R8);
}

/* An instruction that straddles two pages was translated from both: its block runs only while the second is mapped as it was. */
static void straddle_prologue(struct block *b) {
  struct host_code *c = &b->code;
  uint32_t page2 = ((b->rq->eip + b->rq->cs_base) >> 12) + 1;
  unsigned site = block_site(b, TR_SITE_STRADDLE);
  host_mov64(c, H_R8, H_RCX);
  host_load(c, H_RCX, hm(H_R14, (int32_t)(16 << 20) + (int32_t)((page2 & 0xfffff) * 8 + 4)));
  host_lea(c, H_RCX, hm(H_RCX, -(int32_t)(b->rq->frame2 + 1)));
  uint8_t *same = host_jrcxz8(c);
  host_mov64(c, H_RCX, H_R8);
  block_cold(b, COLD_EXIT, host_jmp(c), site);
  host_bind8(c, same);
  host_mov64(c, H_RCX, H_R8);
}

static void emit(struct block *b) {
  if (block_option(b, TR_COUNT)) count_prologue(b);
  if (b->result->straddles) straddle_prologue(b);
  for (b->index = 0; b->index < b->n; b->index++) {
    if (b->index == 0) {
      access_window_checks(b, true);
      access_forget_addends(b);
      b->loop_entry = host_here(&b->code);
    }
    access_window_checks(b, false);
    if (early_safepoint(b)) branch_safepoint(b, SAVED_NONE);
    emit_step(b);
    b->at += b->steps[b->index].insn.length;
  }
  b->index--;
  if (!b->steps[b->index].callout && !kind_has(b->steps[b->index].insn.kind, KIND_JUMPS)) {
    b->at -= b->steps[b->index].insn.length;
    branch_jump(b, b->rq->eip + b->at + b->steps[b->index].insn.length);
    b->at += b->steps[b->index].insn.length;
  }
  b->result->code_size = (uint32_t)(b->code.at - b->code.start);
  if (b->code.overflow) return;
  b->code =
    (struct host_code){.start = b->rq->cold, .at = b->rq->cold, .end = b->rq->cold + TR_MAX_COLD, .offset = b->rq->cold_offset};
  b->exit_jump = NULL;
  for (unsigned i = 0; i < b->cold_count; i++) cold_stub(b, &b->cold[i]);
  b->result->cold_size = (uint32_t)(b->code.at - b->code.start);
}

static void start(struct block *b, const struct tr_request *rq, struct tr_result *result) {
  memset(b, 0, offsetof(struct block, steps));
  b->n = b->window_count = b->cold_count = b->site_count = b->index = 0;
  b->too_many = b->self_loop = false;
  b->pending = 0, b->at = 0, b->exit_jump = NULL;
  memset(b->busy, 0, sizeof b->busy);
  memset(result, 0, sizeof *result);
  b->rq = rq, b->result = result;
  b->code = (struct host_code){.start = rq->code, .at = rq->code, .end = rq->code + TR_MAX_CODE, .offset = rq->offset};
}

void tr_translate(const struct tr_request *request, struct tr_result *result) {
  struct tr_request rq = *request;
  struct block b;
  for (;;) {
    start(&b, &rq, result);
    plan_block(&b);
    if (!b.n) return;
    emit(&b);
    if (!b.too_many && !b.code.overflow) break;
    rq.max_insns = b.n / 2; /* one instruction always fits: TR_MAX_CODE, TR_MAX_COLD and TR_MAX_SITES are sized for it */
  }
  result->guest_size = b.at, result->insns = b.n, result->site_count = b.site_count;
  result->entry = rq.offset;
}

const char *tr_site_name(enum tr_site_kind kind) {
  static const char *const names[] = {
#define SITE_NAME(name, help) #name,
    TR_SITES(SITE_NAME)
#undef SITE_NAME
  };
  return kind < TR_SITE_KINDS ? names[kind] : "?";
}
