/* Cases of one instruction: a row of the opcode table, prefixes, a ModRM form, operands, and a state in which most of it does
 * something. */
#include "make.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct single {
  struct maker m;
  const struct opcode_row *row;
  struct encoding e;
  uint32_t taken; /* exit 1: where jumps go */
  bool memory;    /* ModRM names memory */
  struct address address;
  unsigned size; /* of the memory operand */
};

static bool chance(struct single *s, unsigned percent) { return random_chance(&s->m.random, percent); }
static uint32_t below(struct single *s, uint32_t n) { return random_below(&s->m.random, n); }

/* ---- the state that every case starts from --------------------------------------------------------------------- */

void case_start(struct isa_case *c, struct random *random, uint32_t region) {
  memset(c, 0, offsetof(struct isa_case, patches));
  memset((char *)c + offsetof(struct isa_case, flags_compared), 0, sizeof *c - offsetof(struct isa_case, flags_compared));
  c->patch_count = c->pool_used = 0;
  c->region = region;
  c->flags_compared = c->fault_flags = FLAGS_ARITH;
}

void case_set_name(struct isa_case *c, const char *name) { snprintf(c->name, sizeof c->name, "%s", name); }

int case_fx_use(const struct opcode_row *row) {
  switch ((enum fpu_need)row->fpu) {
  case FPU_X87:
  case FPU_WAIT:
  case FPU_MMX: return FX_FOR_X87;
  case FPU_SSE: return FX_FOR_SSE;
  default: return FX_FOR_NONE;
  }
}

void case_set_default_state(struct maker *m, int fx_use) {
  struct random *r = &m->random;
  struct isa_case *c = m->c;
  c->eflags = random_32(r) & FLAGS_ARITH;
  if (random_chance(r, 25)) c->eflags |= FLAG_DF;
  if (random_chance(r, 5)) c->eflags |= FLAG_AC;
  if (random_chance(r, 10)) c->eflags |= FLAG_ID;
  value_fx(r, c->fx, fx_use);
  for (unsigned i = 0; i < 6; i++) c->selector[i] = SEL_DATA;
  c->selector[SEG_CS] = SEL_CODE;
}

/* ---- sizes ----------------------------------------------------------------------------------------------------- */

static unsigned operand_bytes(const struct operand_info *o, bool operand16) {
  static const uint16_t bytes[SZ_COUNT][2] = {
    [SZ_B] = {1, 1},     [SZ_W] = {2, 2},       [SZ_D] = {4, 4},      [SZ_Q] = {8, 8}, [SZ_DQ] = {16, 16},
    [SZ_T] = {10, 10},   [SZ_S] = {6, 6},       [SZ_V] = {4, 2},      [SZ_P] = {6, 4}, [SZ_A] = {8, 4},
    [SZ_ENV] = {28, 14}, [SZ_SAVE] = {108, 94}, [SZ_FX] = {512, 512},
  };
  return bytes[o->width][operand16];
}

static bool is_memory_class(unsigned class) {
  return class == OC_GPR_MEM || class == OC_MEM || class == OC_MMX_MEM || class == OC_XMM_MEM || class == OC_ADDRESS;
}

static unsigned memory_bytes(const struct single *s) {
  for (unsigned i = 0; i < 3; i++) {
    const struct operand_info *o = row_operand(s->row, i);
    if (is_memory_class(o->class)) return operand_bytes(o, s->e.operand16);
  }
  return 4;
}

/* ---- contents of operands -------------------------------------------------------------------------------------- */

static void poke_float(struct single *s, uint32_t linear, unsigned size) {
  uint8_t bytes[16] = {0};
  if (size == 4) value_float32(&s->m.random, bytes);
  else if (size == 8) value_float64(&s->m.random, bytes);
  else if (s->row->opcode == 0xdf && chance(s, 70)) value_bcd80(&s->m.random, bytes);
  else value_float80(&s->m.random, bytes);
  maker_poke(&s->m, linear, bytes, size);
}

static void poke_operand(struct single *s, uint32_t linear, unsigned size) {
  uint8_t bytes[16];
  if (s->row->fpu == FPU_X87 && (size == 4 || size == 8 || size == 10) && chance(s, 70)) {
    poke_float(s, linear, size);
    return;
  }
  if (s->row->fpu == FPU_SSE && size == 4 && chance(s, 60)) value_float32(&s->m.random, bytes);
  else if (s->row->fpu == FPU_SSE && size == 8 && chance(s, 60)) value_float64(&s->m.random, bytes);
  else if (s->row->fpu == FPU_SSE && size == 16) value_vector(&s->m.random, bytes);
  else if (size <= 16)
    for (unsigned i = 0; i < size; i += 4) value_store(bytes + i, value_integer(&s->m.random), size - i < 4 ? size - i : 4);
  else return;
  maker_poke(&s->m, linear, bytes, size);
}

/* A selector to load or look at: what the manual lets fail is in as well. */
static uint16_t any_selector(struct single *s, unsigned seg) {
  static const uint16_t odd[] = {0,
                                 0x10,
                                 0x13,
                                 0x18,
                                 0x1b,
                                 0x20,
                                 0x23,
                                 0x28,
                                 0x83,
                                 0xfff8,
                                 0xffff,
                                 SEL_LDT(LDT_ABSENT),
                                 SEL_LDT(LDT_CODE),
                                 SEL_LDT(LDT_COUNT),
                                 SEL_LDT(LDT_FLAT) & ~3};
  return chance(s, 60) ? maker_selector(&s->m, seg) : RANDOM_OF(&s->m.random, odd);
}

static uint16_t code_selector(struct single *s) {
  static const uint16_t odd[] = {
    0, 3, 0x10, 0x13, 0x1b, SEL_DATA, 0x83, SEL_LDT(LDT_FLAT), SEL_LDT(LDT_COUNT), SEL_LDT(LDT_ABSENT), 0x20};
  return chance(s, 60) ? SEL_CODE : chance(s, 40) ? SEL_LDT(LDT_CODE) : RANDOM_OF(&s->m.random, odd);
}

/* EFLAGS images for POPF and IRET. TF stays clear: the trap would come in the exit. */
static uint32_t flags_image(struct single *s) {
  return random_32(&s->m.random) & ~(uint32_t)(FLAG_TF | (chance(s, 90) ? FLAG_NT : 0) | (chance(s, 90) ? FLAG_AC : 0));
}

/* ---- registers with a fixed part to play ----------------------------------------------------------------------- */

static uint32_t segment_base(const struct single *s, unsigned seg) { return descriptor_base(s->m.c->selector[seg]); }

/* ESP for an instruction that pushes or pops `size` bytes; returns the linear address of the lowest of them. */
static uint32_t fix_stack(struct single *s, unsigned size, bool push) {
  uint32_t target = maker_target(&s->m, size);
  if (chance(&*s, 70)) target &= ~3u;
  maker_fix(&s->m, REG_ESP, target - segment_base(s, SEG_SS) + (push ? size : 0));
  return target;
}

static unsigned word(const struct single *s) { return s->e.operand16 ? 2 : 4; }

static void fix_stack_kind(struct single *s) {
  struct maker *m = &s->m;
  unsigned w = word(s);
  uint32_t at;
  switch ((enum op_kind)s->row->kind) {
  case OP_PUSH_REG:
  case OP_PUSH_IMM:
  case OP_PUSH_MEM:
  case OP_PUSHF:
  case OP_CALL_REL:
  case OP_CALL_IND: fix_stack(s, w, true); break;
  case OP_PUSH_SEG: /* the upper half is written as zero or not at all (SDM vol. 2, PUSH): a slot that lies in one page */
    at = fix_stack(s, w, true);
    maker_fix(m, REG_ESP, m->now[REG_ESP] - (at & 3));
    if (w == 4) maker_ignore(m, (at & ~3u) + 2, 2);
    break;
  case OP_CALL_FAR_IMM:
  case OP_CALL_FAR_MEM: fix_stack(s, 2 * w, true); break;
  case OP_PUSHA: fix_stack(s, 8 * w, true); break;
  case OP_POPA: fix_stack(s, 8 * w, false); break;
  case OP_POP_REG:
  case OP_POP_MEM: fix_stack(s, w, false); break;
  case OP_POPF:
    at = fix_stack(s, w, false);
    maker_poke32(m, at, flags_image(s), w);
    break;
  case OP_POP_SEG: /* two bytes or four are read: a slot in one piece again */
    at = fix_stack(s, w, false) & ~3u;
    maker_fix(m, REG_ESP, at - segment_base(s, SEG_SS));
    maker_poke32(m, at, any_selector(s, s->row->map ? (s->row->opcode == 0xa1 ? SEG_FS : SEG_GS) : s->row->opcode >> 3), w);
    break;
  case OP_RET:
    at = fix_stack(s, w, false);
    maker_poke32(m, at, s->taken, w);
    break;
  case OP_RETF:
  case OP_IRET:
    /* aligned: of the selector's slot two bytes or four are read */
    at = fix_stack(s, s->row->kind == OP_IRET ? 3 * w : 2 * w, false) & ~3u;
    maker_fix(m, REG_ESP, at - segment_base(s, SEG_SS));
    maker_poke32(m, at, s->taken, w), maker_poke32(m, at + w, code_selector(s), w);
    if (s->row->kind == OP_IRET) maker_poke32(m, at + 2 * w, flags_image(s), w);
    break;
  case OP_ENTER:
    fix_stack(s, w, true);
    maker_fix(m, REG_EBP, maker_target(m, 64) + 64 - segment_base(s, SEG_SS));
    break;
  case OP_LEAVE: maker_fix(m, REG_EBP, maker_target(m, w) - segment_base(s, SEG_SS)); break;
  default: break;
  }
}

static uint32_t pointer16(struct single *s, uint32_t offset) {
  return s->e.address16 ? (random_32(&s->m.random) & 0xffff0000) | (offset & 0xffff) : offset;
}

static void fix_strings(struct single *s) {
  struct maker *m = &s->m;
  unsigned size = s->row->opcode & 1 ? word(s) : 1, source_seg = SEG_DS;
  static const uint8_t overrides[6] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65};
  if (chance(s, s->e.address16 ? 60 : 15)) {
    source_seg = chance(s, 60) ? SEG_FS + below(s, 2) : below(s, 6);
    s->e.override = overrides[source_seg];
  }
  uint32_t source = chance(s, 80) ? maker_good_target(m, 64) : maker_target(m, size),
           target = chance(s, 70) ? maker_good_target(m, 64) : maker_target(m, size);
  if (chance(s, 20)) target = source + below(s, 16) - 8;
  maker_fix(m, REG_ESI, pointer16(s, source - segment_base(s, source_seg)));
  maker_fix(m, REG_EDI, pointer16(s, target - segment_base(s, SEG_ES)));
  maker_fix(m, REG_ECX, pointer16(s, chance(s, 10) ? 0 : chance(s, 10) ? below(s, 200) : below(s, 24)));
  if (chance(s, 50)) s->e.rep = chance(s, 50) ? 0xf2 : 0xf3;
  if (s->row->kind == OP_SCAS && chance(s, 50)) { /* something to stop at */
    maker_poke32(m, target + size * below(s, 4), value_integer(&m->random), size);
    maker_fix(m, REG_EAX, random_32(&m->random) & 0x7f);
  }
  if (s->row->kind == OP_CMPS && chance(s, 60)) {
    uint8_t same[48];
    for (unsigned i = 0; i < 12; i++) value_store(same + 4 * i, random_32(&m->random), 4);
    maker_poke(m, source, same, 48), maker_poke(m, target, same, 48);
  }
}

/* Dividends that do not always overflow (SDM vol. 2, DIV, IDIV). */
static void fix_division(struct single *s) {
  struct maker *m = &s->m;
  if (chance(s, 25)) return;
  uint32_t low = value_integer(&m->random);
  bool negative = s->row->reg == 7 && chance(s, 40);
  if (s->row->opcode == 0xf6)
    maker_fix(m, REG_EAX, (low & 0xff) | (negative ? 0xff00 : below(s, 3) << 8) | (random_32(&m->random) & 0xffff0000));
  else maker_fix(m, REG_EAX, low), maker_fix(m, REG_EDX, negative ? ~0u : below(s, 3));
}

static void fix_ports(struct single *s) { maker_fix(&s->m, REG_EDX, (random_32(&s->m.random) | 0x300) & 0xffff0fff); }

static void fix_registers(struct single *s) {
  struct maker *m = &s->m;
  fix_stack_kind(s);
  switch ((enum op_kind)s->row->kind) {
  case OP_MOVS:
  case OP_CMPS:
  case OP_STOS:
  case OP_LODS:
  case OP_SCAS: fix_strings(s); break;
  case OP_INS:
  case OP_OUTS: fix_strings(s), fix_ports(s); break;
  case OP_IN:
  case OP_OUT: fix_ports(s); break;
  case OP_LOOP:
  case OP_LOOPE:
  case OP_LOOPNE:
  case OP_JCXZ:
    maker_fix(m, REG_ECX, (chance(s, 40) ? 0 : random_32(&m->random)) << (chance(s, 20) ? 16 : 0) | below(s, 3));
    break;
  case OP_XLAT:
    maker_fix(m, REG_EAX, value_integer(&m->random));
    maker_fix(m, REG_EBX, pointer16(s, maker_target(m, 1) - (m->now[REG_EAX] & 0xff) - segment_base(s, SEG_DS)));
    break;
  case OP_MASKMOV:
    maker_fix(m, REG_EDI, pointer16(s, maker_target(m, s->row->fpu == FPU_MMX ? 8 : 16) - segment_base(s, SEG_DS)));
    break;
  case OP_COPY:
    if (s->row->count == COUNT_CL) maker_fix(m, REG_ECX, value_integer(&m->random));
    if (s->row->map == 0 && (s->row->opcode == 0xf6 || s->row->opcode == 0xf7) && s->row->reg >= 6) fix_division(s);
    break;
  default: break;
  }
}

/* ---- ModRM ----------------------------------------------------------------------------------------------------- */

/* The register field: what an operand there may name. */
static unsigned draw_reg_field(struct single *s) {
  if (s->row->reg >= 0) return (unsigned)s->row->reg;
  for (unsigned i = 0; i < 3; i++)
    if (row_operand(s->row, i)->class == OC_SREG && chance(s, 90))
      return s->row->kind == OP_MOV_TO_SEG ? (uint8_t[]){0, 2, 3, 4, 5}[below(s, 5)] : below(s, 6);
  return below(s, 8);
}

static void fix_bit_offset(struct single *s, unsigned reg) {
  if (s->row->kind == OP_BT_MEM && s->m.reg_state[reg] == REG_FREE)
    maker_fix(&s->m, reg, chance(s, 60) ? below(s, 64) : below(s, 32768) - 16384);
}

static void poke_memory_operand(struct single *s) {
  struct maker *m = &s->m;
  uint32_t at = s->address.linear;
  unsigned w = word(s);
  switch ((enum op_kind)s->row->kind) {
  case OP_JMP_IND:
  case OP_CALL_IND: maker_poke32(m, at, s->taken, w); break;
  case OP_JMP_FAR_MEM:
  case OP_CALL_FAR_MEM: maker_poke32(m, at, s->taken, w), maker_poke32(m, at + w, code_selector(s), 2); break;
  case OP_LOAD_FAR: {
    unsigned seg = s->row->map == 0         ? (s->row->opcode == 0xc4 ? SEG_ES : SEG_DS)
                   : s->row->opcode == 0xb2 ? SEG_SS
                   : s->row->opcode == 0xb4 ? SEG_FS
                                            : SEG_GS;
    maker_poke32(m, at + w, any_selector(s, seg), 2);
    break;
  }
  case OP_MOV_TO_SEG: maker_poke32(m, at, any_selector(s, s->e.modrm >> 3 & 7), 2); break;
  case OP_LAR:
  case OP_LSL:
  case OP_VERR:
  case OP_VERW: maker_poke32(m, at, any_selector(s, SEG_DS), 2); break;
  case OP_FXRSTOR: {
    uint8_t image[FX_SIZE];
    value_fx(&m->random, image, 1 + (int)below(s, 2));
    if (chance(s, 15)) image[26] = 0xff; /* reserved bits of MXCSR: #GP */
    maker_poke(m, at, image, FX_SIZE);
    break;
  }
  case OP_FNSTENV:
    if (s->e.operand16) maker_ignore(m, at + 6, 8);
    else maker_ignore(m, at + 12, 16);
    break;
  case OP_FNSAVE:
    if (s->e.operand16) maker_ignore(m, at + 6, 8);
    else maker_ignore(m, at + 12, 16);
    break;
  case OP_FXSAVE: maker_ignore(m, at + 6, 18), maker_ignore(m, at + 28, 4); break; /* MXCSR_MASK: AMD's have a bit more */
  default:
    if (s->row->map == 1 && s->row->opcode == 0xae && s->row->reg == 2 && chance(s, 80))
      maker_poke32(m, at, 0x1f80 | (random_32(&m->random) & (chance(s, 50) ? 0xe07f : 0xffff)), 4);
    else if (chance(s, 70)) poke_operand(s, at, s->size);
  }
}

static void draw_memory(struct single *s) {
  unsigned field = s->e.modrm >> 3 & 7;
  s->size = memory_bytes(s);
  fix_bit_offset(s, field);
  s->address = maker_address(&s->m, maker_target(&s->m, s->size ? s->size : 4), s->size ? s->size : 4);
  const struct address *a = &s->address;
  s->e.modrm = a->modrm | (uint8_t)(field << 3);
  s->e.sib = a->sib, s->e.has_sib = a->has_sib;
  s->e.disp = a->disp, s->e.disp_size = a->disp_size;
  s->e.address16 = a->small;
  s->e.override = a->override;
  poke_memory_operand(s);
}

static void draw_register(struct single *s) {
  unsigned rm = s->row->rm >= 0 ? (unsigned)s->row->rm : below(s, 8);
  enum op_kind kind = s->row->kind;
  bool jump = kind == OP_JMP_IND || kind == OP_CALL_IND;
  if (jump && rm == REG_ESP) rm = REG_EAX; /* the stack is not executable on the host */
  s->e.modrm = (uint8_t)(0xc0 | (s->e.modrm & 0x38) | rm);
  if (jump) maker_fix(&s->m, rm, s->taken);
  bool selector = kind == OP_LAR || kind == OP_LSL || kind == OP_VERR || kind == OP_VERW || kind == OP_MOV_TO_SEG;
  if (selector && s->m.reg_state[rm] == REG_FREE)
    maker_fix(&s->m, rm,
              (random_32(&s->m.random) & 0xffff0000) | any_selector(s, kind == OP_MOV_TO_SEG ? s->e.modrm >> 3 & 7 : SEG_DS));
}

static void draw_modrm(struct single *s) {
  if (!s->row->modrm) return;
  s->e.has_modrm = true;
  s->e.modrm = (uint8_t)(draw_reg_field(s) << 3);
  s->memory = s->row->mod3 == 0 || (s->row->mod3 < 0 && chance(s, 65));
  bool system = s->row->kind == OP_MOV_FROM_CR || s->row->kind == OP_MOV_TO_CR || s->row->kind == OP_MOV_FROM_DR ||
                s->row->kind == OP_MOV_TO_DR;
  if (system) s->memory = false; /* ModRM.mod is ignored */
  if (s->memory) draw_memory(s);
  else draw_register(s);
}

/* ---- the rest of the bytes ------------------------------------------------------------------------------------- */

static void draw_prefixes(struct single *s) {
  unsigned form = s->row->size_form;
  bool free66 =
    s->row->prefix == PREFIX_ANY || s->row->prefix == PREFIX_NO_REP || (s->row->prefix >= 0xf2 && form == SIZE_EFFECTIVE);
  if (free66) s->e.operand16 = chance(s, form == SIZE_EFFECTIVE ? 25 : 3);
  bool no_modrm_address = s->row->kind == OP_XLAT || s->row->kind == OP_MASKMOV || s->row->kind == OP_MOV_MOFFS ||
                          s->row->kind == OP_LOOP || s->row->kind == OP_LOOPE || s->row->kind == OP_LOOPNE ||
                          s->row->kind == OP_JCXZ || (s->row->kind >= OP_MOVS && s->row->kind <= OP_OUTS);
  if (no_modrm_address) s->e.address16 = chance(s, 15);
}

static void draw_lock(struct single *s) {
  bool allowed = s->row->lock && s->memory, cut = s->m.c->code_at > CODE_END - 16;
  /* #UD or the fetch fault: which is first is the CPU's choice */
  s->e.lock = chance(s, allowed ? 25 : 1) && s->row->kind != OP_UD && (allowed || !cut);
}

static void draw_moffs(struct single *s) {
  uint32_t size = row_operand(s->row, 0)->width == SZ_B || row_operand(s->row, 1)->width == SZ_B ? 1 : word(s),
           at = maker_target(&s->m, size);
  if (chance(s, 70)) poke_operand(s, at, size);
  value_store(s->e.imm, at - segment_base(s, SEG_DS), 4);
}

static void draw_immediates(struct single *s) {
  unsigned w = word(s);
  s->e.imm_size = encode_imm_size(s->row, s->e.operand16, s->e.address16);
  for (unsigned i = 0; i < 8; i += 4) value_store(s->e.imm + i, value_integer(&s->m.random), 4);
  switch ((enum op_kind)s->row->kind) {
  case OP_MOV_MOFFS: draw_moffs(s); break;
  case OP_CALL_FAR_IMM:
  case OP_JMP_FAR_IMM: value_store(s->e.imm, s->taken, w), value_store(s->e.imm + w, code_selector(s), 2); break;
  case OP_INT: s->e.imm[0] = (uint8_t)(chance(s, 30) ? 3 + below(s, 2) : s->e.imm[0] == 0x80 ? 0x81 : s->e.imm[0]); break;
  case OP_IN:
  case OP_OUT: s->e.imm[0] |= 0xe0; break;
  case OP_ENTER:
    value_store(s->e.imm, chance(s, 80) ? below(s, 256) : random_32(&s->m.random), 2),
      s->e.imm[2] = (uint8_t)(chance(s, 50) ? 0 : below(s, 5));
    break;
  case OP_RET:
  case OP_RETF: value_store(s->e.imm, below(s, 64), 2); break;
  default:
    if (s->row->count == COUNT_IMM && chance(s, 80)) s->e.imm[s->e.imm_size - 1] &= 31;
  }
}

static bool is_relative(const struct opcode_row *row) { return row_operand(row, 0)->class == OC_REL; }

/* Where the code lies: somewhere in the first page, across the two, or with its end on the absent page. */
static void place(struct single *s) {
  struct isa_case *c = s->m.c;
  unsigned kind = below(s, 100);
  if (kind < 84) c->code_at = CODE_AT + 0x80 + below(s, PAGE - 0x200);
  else if (kind < 97 || is_relative(s->row) || s->row->kind == OP_UD) c->code_at = CODE_AT + PAGE - 1 - below(s, 10);
  else c->code_at = CODE_END - 1 - below(s, 8);
  c->start = c->code_at;
  c->subject = c->start;
  s->taken = c->code_at + (chance(s, 50) && c->code_at + 0x80 < CODE_END ? 0x40 : (unsigned)-0x40);
  c->exit_at[1] = s->taken;
}

static void finish_code(struct single *s) {
  struct isa_case *c = s->m.c;
  unsigned length = encode(&s->m, &s->e, c->code);
  if (is_relative(s->row)) value_store(c->code + length - s->e.imm_size, s->taken - (c->start + length), s->e.imm_size);
  uint32_t end = c->start + length;
  c->code_size = end > CODE_END ? CODE_END - c->start : length;
  if (end + EXIT_BYTES <= CODE_END) c->exit_at[0] = end;
}

/* A mask of zero may fault or not (SDM vol. 2, MASKMOVDQU). */
static void fill_mask(struct single *s) {
  unsigned reg = s->e.modrm & 7;
  if (s->row->kind != OP_MASKMOV) return;
  s->m.c->fx[(s->row->fpu == FPU_MMX ? 32 : 160) + 16 * reg + below(s, 8)] |= 0x80;
}

/* Registers that nothing depends on; ESP points at a stack even so. */
static void fill_registers(struct single *s) {
  for (unsigned r = 0; r < 8; r++)
    if (s->m.reg_state[r] == REG_FREE)
      s->m.c->gpr[r] =
        r == REG_ESP && chance(s, 70) ? s->m.c->region + (STACK_PAGE + 1) * PAGE + 4 * below(s, 64) : value_integer(&s->m.random);
  bool compare = s->row->map == 1 && (s->row->opcode == 0xb0 || s->row->opcode == 0xb1) && s->memory;
  if (compare && chance(s, 50)) maker_poke32(&s->m, s->address.linear, s->m.c->gpr[REG_EAX], s->row->opcode & 1 ? word(s) : 1);
  if (s->row->map == 1 && s->row->opcode == 0xc7 && s->memory && chance(s, 50))
    maker_poke32(&s->m, s->address.linear, s->m.c->gpr[REG_EAX], 4),
      maker_poke32(&s->m, s->address.linear + 4, s->m.c->gpr[REG_EDX], 4);
}

/* ---- what may be compared -------------------------------------------------------------------------------------- */

static void draw_system_flags(struct single *s) {
  enum op_kind kind = s->row->kind;
  struct isa_case *c = s->m.c;
  bool gate = kind == OP_INT || kind == OP_INT3 || kind == OP_INTO || kind == OP_INT1,
       shadow = kind == OP_MOV_TO_SEG || kind == OP_POP_SEG || kind == OP_LOAD_FAR;
  bool flags = kind == OP_POPF || kind == OP_IRET;
  if (!gate && !shadow && !flags && chance(s, 2)) c->eflags |= FLAG_TF;
  if (kind != OP_IRET && chance(s, 2)) c->eflags |= FLAG_NT;
}

/* A count in CL is known here, so that more is defined than the decoder can say (SDM vol. 2, SAL/SAR/SHL/SHR). */
static uint16_t undefined_flags(const struct single *s, const struct insn *insn) {
  unsigned count = s->m.c->gpr[REG_ECX] & 31;
  if (s->row->count != COUNT_CL) return insn->flags_undefined;
  return count == 0 ? 0 : count == 1 ? insn->flags_undefined & (uint16_t)~FLAG_OF : insn->flags_undefined;
}

static void check_decoding(struct single *s) {
  struct isa_case *c = s->m.c;
  struct insn insn;
  struct insn_mode mode = {.code32 = true, .features = guest_features()};
  uint8_t bytes[16];
  unsigned length = encode(&s->m, &s->e, bytes); /* prefixes may come in another order: the same instruction */
  enum insn_error error = insn_decode(&insn, bytes, length, mode);
  bool undefined = s->row->kind == OP_UD || s->e.lock;
  if (error != INSN_OK || (!undefined && insn.row != s->row && insn.kind != OP_UD)) {
    fprintf(stderr, "isa: case %u: made of row %s, decoded as %s\n", c->number, s->row->mnemonic,
            error ? "an error" : insn.row->mnemonic);
    abort(); /* the generator's own bug: no guest has a part in it */
  }
  c->flags_compared &= ~(uint32_t)undefined_flags(s, &insn);
  c->fault_flags = c->flags_compared;
}

/* Where the manual or the CPUs leave a choice. */
static void allow_choices(struct single *s) {
  struct isa_case *c = s->m.c;
  switch ((enum op_kind)s->row->kind) {
  case OP_RETF:
  case OP_IRET:
  case OP_CALL_FAR_IMM:
  case OP_CALL_FAR_MEM: c->cr2_slack = 12, c->fault_memory_ignored = true; break;
  case OP_PUSHA: c->cr2_slack = 32, c->fault_memory_ignored = true; break;
  case OP_POPA: c->cr2_slack = 32, c->fault_registers_ignored = true; break;
  case OP_ENTER: c->fault_memory_ignored = true; break;
  case OP_FNSTENV:
  case OP_FLDENV:
  case OP_FNSAVE:
  case OP_FRSTOR: c->cr2_slack = 108, c->fault_memory_ignored = true; break;
  /* #AC or #GP */
  case OP_FXSAVE:
  case OP_FXRSTOR: c->cr2_slack = 512, c->fault_memory_ignored = true, c->eflags &= ~(uint32_t)FLAG_AC; break;
  case OP_MASKMOV: c->cr2_slack = 16, c->fault_may_be_missed = true, c->eflags &= ~(uint32_t)FLAG_AC; break;
  case OP_BOUND:
    c->vector_choice = true;
    break; /* either operand may be read first */
  /* LOCK MOV CR0 is CR8 on AMD's CPUs: #GP, not #UD */
  case OP_MOV_FROM_CR:
  case OP_MOV_TO_CR: c->vector_choice = s->e.lock; break;
  case OP_LAR: c->gpr_ignored[s->e.modrm >> 3 & 7] = 0xf0000; break; /* the limit's place: SDM vol. 2, LAR, "x" */
  default: break;
  }
  c->rep_flags_choice = s->e.rep && (s->row->kind == OP_CMPS || s->row->kind == OP_SCAS);
  c->ac_choice = c->eflags & FLAG_AC && case_has_ac_choice(s->row);
  c->frame_choice = s->row->kind == OP_RETF || s->row->kind == OP_IRET;
  c->lock_choice = s->e.lock && s->row->map == 1 && s->row->opcode == 0 && (s->e.modrm >> 3 & 7) == 5;
  c->ud_choice = s->row->map == 1 && s->row->opcode == 0x0d && !s->memory;
  /* set between two iterations by Intel's CPUs (SDM vol. 3B, 17.3.1.1), and here; not by AMD's */
  c->rf_ignored = s->e.rep && c->eflags & FLAG_TF;
  /* ten bytes are two stores */
  if (s->row->access == ACCESS_W && row_operand(s->row, 0)->width == SZ_T) c->fault_memory_ignored = true;
  c->fault_top_ignored = s->row->fpu == FPU_MMX;
  c->store_may_be_skipped = s->row->fpu == FPU_X87 && s->row->access == ACCESS_W && (c->fx[0] & 0x3f) != 0x3f;
}

/* A 16-byte operand in memory that may be unaligned. */
bool case_has_ac_choice(const struct opcode_row *row) {
  for (unsigned i = 0; i < 3; i++) {
    const struct operand_info *o = row_operand(row, i);
    if (o->width == SZ_DQ && !o->detail && (o->class == OC_MEM || o->class == OC_XMM_MEM)) return true;
  }
  return false;
}

static void choose_selectors(struct single *s) {
  struct isa_case *c = s->m.c;
  for (unsigned i = 0; i < 6; i++)
    if (i != SEG_CS) c->selector[i] = maker_selector(&s->m, i);
  if (chance(s, 5)) c->selector[SEG_CS] = SEL_LDT(LDT_CODE);
}

void single_make(struct isa_case *c, uint64_t seed, uint32_t number, const struct opcode_row *row, bool flat) {
  struct single s = {.m = {.random = random_start(seed, number), .c = c}, .row = row, .e = {.row = row}};
  uint32_t region = DATA_LOW;
#ifndef __SANITIZE_ADDRESS__
  if (chance(&s, 15)) region = DATA_HIGH;
#endif
  case_start(c, &s.m.random, region);
  s.m.flat = flat, s.m.wide_only = flat;
  c->number = number;
  case_set_name(c, row->mnemonic);
  case_set_default_state(&s.m, case_fx_use(row));
  if (!flat) choose_selectors(&s);
  draw_system_flags(&s);
  place(&s);
  draw_prefixes(&s);
  fix_registers(&s);
  draw_modrm(&s);
  draw_lock(&s);
  draw_immediates(&s);
  fill_registers(&s);
  fill_mask(&s);
  finish_code(&s);
  check_decoding(&s);
  allow_choices(&s);
}
