/* Idioms that change or ask for the state of the CPU and its tables: control registers, pages, descriptors, ports, flags, and
 * random rows. */
#include "generator.h"
#include "../../../translator/opcodes.h"

static void access_play(struct generator *g, uint32_t at) {
  switch (random_below(&g->r, 7)) {
  case 0: EMIT(g, 0x8b), operand_at(g, random_below(&g->r, 4), at); break;
  case 1: EMIT(g, 0x89), operand_at(g, random_below(&g->r, 4), at); break;
  case 2: EMIT(g, 0xff), operand_at(g, 0, at); break; /* INC */
  case 3: EMIT(g, 0x87), operand_at(g, 2, at); break; /* XCHG */
  case 4: EMIT(g, 0xff), operand_at(g, 6, at); break; /* PUSH */
  case 5: EMIT(g, 0x8f), operand_at(g, 0, at); break; /* POP */
  default: EMIT(g, 0xf0, 0x83), operand_at(g, 0, at), EMIT(g, (uint8_t)random_below(&g->r, 128)); break;
  }
}

/* ---- flags, control, debug and model-specific registers ---- */

void write_flags(struct generator *g) {
  uint32_t v = 2 | (random_32(&g->r) & 0x8d5) | random_below(&g->r, 4) << 12;
  if (random_chance(&g->r, 60)) v |= random_32(&g->r) & 0x3f4600;
  switch (random_below(&g->r, 5)) {
  case 0: EMIT(g, 0xfa), wide(g), EMIT(g, 0x9c), wide(g), EMIT(g, 0x58); break;
  case 1: EMIT(g, 0xfb, 0x40), wide(g), EMIT(g, 0x9c), wide(g), EMIT(g, 0x59); break;
  case 2: push_imm(g, v), EMIT(g, 0x9d), wide(g), EMIT(g, 0x9c), wide(g), EMIT(g, 0x5a); break;
  default: push_imm(g, v), wide(g), EMIT(g, 0x9d), wide(g), EMIT(g, 0x9c), wide(g), EMIT(g, 0x5b); break;
  }
}
static uint32_t some_cr(struct generator *g, unsigned cr) {
  static const uint32_t roots[] = {A_PD, A_PD, A_PD2, A_PD | 0x18};
  if (cr == 0)
    return (g->p->cr0 ^ (random_chance(&g->r, 40) ? 0x10000 : 0) ^ (random_chance(&g->r, 25) ? 8 : 0) ^
            (random_chance(&g->r, 15) ? 6 : 0) ^ (random_chance(&g->r, 10) ? 0x80000000 : 0)) |
           0x11 | (random_chance(&g->r, 20) ? 0x40000 : 0);
  if (cr == 3) return g->p->cr4 & 0x20 ? A_PDPT : RANDOM_OF(&g->r, roots);
  if (cr == 4) return g->p->cr4 ^ (random_32(&g->r) & 0x28c) ^ (random_chance(&g->r, 6) ? 0x10 : 0);
  return some_value(g);
}
void write_control_registers(struct generator *g) {
  static const uint8_t crs[] = {0, 0, 3, 3, 4, 2};
  unsigned cr = RANDOM_OF(&g->r, crs);
  switch (random_below(&g->r, 8)) {
  case 0: EMIT(g, 0x0f, 0x20, (uint8_t)(0xc1 | cr << 3)); break;
  case 1: EMIT(g, 0x0f, 0x01, 0xe2); break;                                       /* SMSW EDX */
  case 2: mov_ax(g, (some_cr(g, 0) & 0xe) | 1), EMIT(g, 0x0f, 0x01, 0xf0); break; /* LMSW AX */
  case 3: EMIT(g, 0x0f, 0x06); break;                                             /* CLTS */
  case 4: EMIT(g, 0x0f, 0x01), operand_at(g, 4, some_arena_address(g)); break;    /* SMSW m16 */
  default:
    mov_reg(g, 0, some_cr(g, cr)), EMIT(g, 0x0f, 0x22, (uint8_t)(0xc0 | cr << 3)), EMIT(g, 0x0f, 0x20, (uint8_t)(0xc1 | cr << 3));
    break;
  }
}
void write_model_specific(struct generator *g) {
  static const uint32_t msrs[] = {0x174, 0x175, 0x176, 0xc0000080, 0x174};
  uint32_t msr = RANDOM_OF(&g->r, msrs);
  mov_reg(g, 1, msr);
  if (random_chance(&g->r, 40)) {
    EMIT(g, 0x0f, 0x32);
    return;
  }
  mov_reg(g, 0,
          msr == 0xc0000080 ? random_below(&g->r, 2) << 11
          : msr == 0x174    ? random_below(&g->r, 0x60)
                            : some_value(g)),
    wide(g), EMIT(g, 0x31, 0xd2, 0x0f, 0x30, 0x0f, 0x32);
}
void write_debug_registers(struct generator *g) {
  static const uint32_t controls[] = {1, 2, 0x10001, 0x30001, 0xd0001, 0xf0003, 0x400, 0x700};
  unsigned dr = random_below(&g->r, 2);
  if (random_chance(&g->r, 20)) {
    EMIT(g, 0x0f, 0x21, (uint8_t)(0xc0 | random_below(&g->r, 8) << 3));
    return;
  }
  mov_reg(g, 0, random_chance(&g->r, 50) ? next_slot(g) : A_DATA + 4 * random_below(&g->r, 16)),
    EMIT(g, 0x0f, 0x23, (uint8_t)(0xc0 | dr << 3));
  if (random_chance(&g->r, 40)) return;
  uint32_t control = dr ? 0 : RANDOM_OF(&g->r, controls);
  /* QEMU often dies of a code breakpoint in code that is not flat */
  if (is_16(g) && control < 3 && random_chance(&g->r, 95)) control = 0x10001;
  mov_reg(g, 0, control), EMIT(g, 0x0f, 0x23, 0xf8);
}

/* ---- pages ---- */

void write_play_access(struct generator *g) {
  static const uint8_t strings[] = {0xa4, 0xa5, 0xaa, 0xab, 0xac, 0xad};
  uint32_t at = some_play_address(g);
  if (random_chance(&g->r, 70)) {
    access_play(g, at);
    return;
  }
  /* a string over its own code or its own table: what comes of its second half nobody says */
  if ((at >> 12 & 0xf) - 10 < 3) at -= 0x3000;
  mov_reg(g, 6, some_play_address(g)), mov_reg(g, 7, at), mov_reg(g, 1, random_below(&g->r, 12));
  EMIT(g, random_chance(&g->r, 20) ? 0xfd : 0xfc, 0xf3, RANDOM_OF(&g->r, strings), 0xfc);
}
static uint32_t some_entry(struct generator *g) {
  uint32_t flags = random_below(&g->r, 0x200) & 0x167;
  if (random_chance(&g->r, 75)) flags |= 1;
  return (A_DATA + 0x1000 * random_below(&g->r, 2)) | flags;
}
void write_edit_page_table(struct generator *g) {
  uint32_t page = random_below(&g->r, 16),
           at = PLAY + 0x1000 * page + (page == 14 ? S_FREE : 0) + 4 * random_below(&g->r, page == 14 ? 16 : 64);
  bool pae = g->p->cr4 & 0x20;
  uint32_t entry = pae ? A_PAE_PT2 + 8 * page : A_PT2 + 4 * page;
  if (random_chance(&g->r, 8)) entry = pae ? A_PAE_PD + 32 : (random_chance(&g->r, 50) ? A_PD : A_PD2) + 4, at = PLAY;
  uint32_t value = (entry & 0xf000) == (A_PT2 & 0xf000) || entry >= A_PAE_PT2
                     ? some_entry(g)
                     : (pae ? A_PAE_PT2 : A_PT2) | (random_below(&g->r, 8) & 7) | (random_chance(&g->r, 80) ? 1 : 0);
  if (random_chance(&g->r, 40)) access_play(g, at);
  mov_mem(g, entry, value);
  if (random_chance(&g->r, 60)) EMIT(g, 0x0f, 0x01), operand_at(g, 7, at);
  else EMIT(g, 0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8);
  if (g->used + 8 <= SLOT_SIZE) access_play(g, at);
}
void write_self_modifying(struct generator *g) {
  uint32_t to = slot_address(g->slot + 1) + random_below(&g->r, 8);
  static const uint8_t bytes[] = {0x90, 0x40, 0xcc, 0x41, 0xf8, 0xf9};
  if (random_chance(&g->r, 30)) to = slot_address(g->slot) + g->used + 7 + random_below(&g->r, 4);
  if (random_chance(&g->r, 30)) to += PLAY + 0xa000 - A_CODE;
  EMIT(g, 0xc6), operand_at(g, 0, to), EMIT(g, RANDOM_OF(&g->r, bytes), 0x42, 0x43);
}
void write_odd_stack(struct generator *g) {
  static const uint8_t ops[] = {0x50, 0x58, 0x9c, 0x60, 0x61, 0x1e, 0xc8};
  /* the GDT and PLAY's own table are no stack for long */
  uint32_t page = random_below(&g->r, 16), at = PLAY + 0x1000 * (page == 14 || page == 11 ? 13 : page) + random_below(&g->r, 24);
  if (random_chance(&g->r, 30)) at = some_arena_address(g);
  uint8_t op = RANDOM_OF(&g->r, ops);
  mov_reg(g, 4, at), EMIT(g, op);
  if (op == 0xc8) EMIT(g, (uint8_t)random_below(&g->r, 64), 0, (uint8_t)random_below(&g->r, 4));
  g->next_mode = -1;
}
void write_stack_frames(struct generator *g) {
  switch (random_below(&g->r, 6)) {
  case 0: EMIT(g, 0x60, 0x40, 0x61); break;
  case 1: EMIT(g, 0x66, 0x60, 0x66, 0x61); break;
  case 2: EMIT(g, 0xc8, (uint8_t)random_below(&g->r, 64), 0, (uint8_t)random_below(&g->r, 2), 0xc9); break;
  case 3:
    wide(g), EMIT(g, 0xff), operand_at(g, 6, some_arena_address(g)), wide(g), EMIT(g, 0x8f),
      operand_at(g, 0, some_arena_address(g));
    break;
  case 4: /* of 32 bits, a processor may write but half: Bochs does */
    for (unsigned i = 0, half = !is_16(g) && random_chance(&g->r, 90); i < 6; i++) {
      if (half) EMIT(g, 0x66);
      EMIT(g, (uint8_t[]){0x0e, 0x16, 0x06, 0x58, 0x59, 0x5a}[i]);
    }
    break;
  default: EMIT(g, 0x54, 0x66, 0x50, 0x58, 0x66, 0x59); break;
  }
}

/* ---- descriptors and tables ---- */

void write_system_selectors(struct generator *g) {
  static const uint8_t forms[] = {0xd8, 0xd0, 0xc9, 0xc1}; /* LTR AX, LLDT AX, STR CX, SLDT CX */
  static const uint16_t selectors[] = {S_TSS, S_TSS2, S_TSS3, S_TSS16, S_LDT, S_LDT, 0, S_KDATA};
  unsigned form = RANDOM_OF(&g->r, forms);
  uint16_t selector = random_chance(&g->r, 85) ? RANDOM_OF(&g->r, selectors) : some_selector(g);
  if (form == 0xd8 && selector < 4) selector = S_TSS2; /* QEMU loads a null TR and aborts later */
  if (form >= 0xd0) mov_ax(g, selector);
  EMIT(g, 0x0f, 0x00, (uint8_t)form);
}
void write_edit_descriptor(struct generator *g) {
  uint32_t d[2], number = random_below(&g->r, S_FREE_COUNT), selector = S_FREE + 8 * number;
  some_descriptor(g, d);
  patch(g, A_GDT + selector, d[0]);
  mov_mem(g, A_GDT + selector + 4, d[1]);
  mov_ax(g, selector | (random_chance(&g->r, 60) ? 0 : random_below(&g->r, 4)));
  EMIT(g, 0x8e, (uint8_t)(0xc0 | (random_chance(&g->r, 85) ? 4 + random_below(&g->r, 2) : 2) << 3));
}
void write_edit_task(struct generator *g) {
  static const uint8_t fields[] = {4, 4, 8, 12, 16, 100};
  uint32_t field = RANDOM_OF(&g->r, fields), at = A_TSS + field,
           value = field == 4 || field == 12 ? A_TRAP_TOP - 4 * random_below(&g->r, 16) : some_data_selector(g);
  if (field == 100) value = (random_chance(&g->r, 60) ? 0x68 : random_below(&g->r, 0x200)) << 16;
  mov_mem(g, at, value);
}
/* An image for LGDT or LIDT. */
static uint32_t good_table(struct generator *g, bool idt) {
  uint32_t at = A_POINTERS + 0x40 * g->slot, base = idt ? A_IDT : A_GDT;
  patch(g, at, (idt ? 0x7ff : 0x1ff) | base << 16), patch(g, at + 4, base >> 16);
  return at;
}
void write_table_registers(struct generator *g) {
  static const uint8_t limits[] = {0x37, 0xff};
  uint32_t at = A_POINTERS + 0x40 * g->slot;
  bool idt = random_chance(&g->r, 50);
  if (random_chance(&g->r, 40)) {
    EMIT(g, 0x0f, 0x01), operand_at(g, random_below(&g->r, 2), A_DATA + 4 * random_below(&g->r, 64));
    return;
  }
  uint32_t limit = idt                        ? (random_chance(&g->r, 50) ? 0x7ff : 0x1ff | random_below(&g->r, 2) << 9)
                   : random_chance(&g->r, 50) ? 0x1ff
                                              : 0x100 | RANDOM_OF(&g->r, limits);
  bool narrow = is_16(g) && random_chance(&g->r, 50); /* a base of 24 bits */
  patch(g, at, limit | (idt ? A_IDT : A_GDT) << 16), patch(g, at + 4, (idt ? A_IDT : A_GDT) >> 16 | (narrow ? 0xbb00 : 0));
  if (!narrow) wide(g);
  EMIT(g, 0x0f, 0x01), operand_at(g, idt ? 3 : 2, at);
}
void write_ask_selector(struct generator *g) {
  mov_ax(g, some_selector(g));
  switch (random_below(&g->r, 4)) {
  case 0: EMIT(g, 0x0f, 0x00, (uint8_t)(0xe0 | random_below(&g->r, 2) << 3)); break;
  case 1:
    EMIT(g, 0xb9), random_chance(&g->r, 50) ? EMIT(g, 3, 0) : EMIT(g, 0, 0);
    if (!is_16(g)) EMIT(g, 0, 0);
    EMIT(g, 0x63, 0xc8);
    break;
  /* LAR: four bits are undefined */
  case 2: wide(g), EMIT(g, 0x0f, 2, 0xc8, 0x0f, 0x94, 0xc0), wide(g), EMIT(g, 0x81, 0xe1), emit32(g, 0xfff0ffff); break;
  default: wide(g), EMIT(g, 0x0f, 3, 0xc8); break;
  }
}

/* ---- the rest ---- */

void write_ports(struct generator *g) {
  switch (random_below(&g->r, 5)) {
  case 0: EMIT(g, 0xe4, 0xa1); break; /* 21h is another in Bochs: guest/watchdog.c */
  case 1: EMIT(g, 0xe6, 0x80); break;
  case 2: mov_reg(g, 2, 0x80), EMIT(g, 0xee); break;
  case 3: mov_reg(g, 2, 0xa1), EMIT(g, 0xec); break;
  default:
    if (!is_16(g)) mov_reg(g, 6, A_DATA);
    else mov_reg(g, 6, A_DATA - ARENA);
    mov_reg(g, 2, 0x80), EMIT(g, 0xfc, 0x6e);
    break;
  }
}
void write_privileged(struct generator *g) {
  bool idt = random_chance(&g->r, 50);
  switch (random_below(&g->r, 9)) {
  case 0: /* HLT, but not in ring 0: it would be the end */
    if (g->mode != MODE_V86) EMIT(g, 0x8c, 0xc9, 0x80, 0xe1, 3, 0x74, 1, 0xf4);
    else EMIT(g, 0xfa);
    break;
  case 1: EMIT(g, 0x0f, 0x06); break;
  case 2: EMIT(g, 0x0f, 0x09); break;
  case 3: EMIT(g, 0x0f, 0x08); break;
  case 4: EMIT(g, 0x0f, 0x01), operand_at(g, 7, A_DATA); break;
  case 5: EMIT(g, 0x0f, 0x01), operand_at(g, idt ? 3 : 2, good_table(g, idt)); break;
  case 6: EMIT(g, 0x0f, 0x22, 0xd8); break;
  case 7: EMIT(g, 0x0f, 0x30); break;
  default: EMIT(g, 0x0f, 0x00, 0xd8); break;
  }
}
void write_exceptions(struct generator *g) {
  switch (random_below(&g->r, 7)) {
  case 0: EMIT(g, 0xcc); break;
  case 1: EMIT(g, 0xb0, 0x7f, 0xfe, 0xc0, 0xce); break; /* INTO */
  case 2: EMIT(g, 0x0f, 0x0b); break;
  case 3: EMIT(g, 0x31, 0xc9, 0xf7, 0xf1); break; /* DIV by 0 */
  case 4: wide(g), EMIT(g, 0x62), operand_at(g, 0, A_DATA + 8 * random_below(&g->r, 16)); break;
  case 5: EMIT(g, 0x9b, 0xd9, 0xd0); break; /* WAIT; FNOP: CR0.TS, EM, MP */
  default: EMIT(g, 0xce); break;
  }
}
void write_arithmetic(struct generator *g) {
  mov_reg(g, 0, some_value(g)), wide(g), EMIT(g, 0x01, (uint8_t)(0xc0 | random_below(&g->r, 3)));
  wide(g), EMIT(g, 0x39, (uint8_t)(0xc0 | random_below(&g->r, 64)));
  EMIT(g, (uint8_t)(0x70 | random_below(&g->r, 16)), 1, 0x43, 0x0f, (uint8_t)(0x90 | random_below(&g->r, 16)), 0xc1);
}

/* Rows that the monitor runs or that are no instruction; not those that end time, leave the comparable state, or that other
 * idioms do. */
static bool row_wanted(const struct opcode_row *row) {
  static const uint8_t unwanted[] = {OP_COPY, OP_HLT, OP_CPUID, OP_RDTSC, OP_RDTSCP, OP_RDPMC, OP_TODO, OP_WRMSR, OP_RDMSR, OP_IN,
                                     OP_OUT, OP_INS, OP_OUTS, OP_FXSAVE, OP_FXRSTOR, OP_LAR, OP_FNSTENV, OP_FLDENV, OP_FNSAVE,
                                     OP_FRSTOR, OP_LGDT, OP_LIDT, OP_MOV_TO_CR, OP_MOV_TO_DR, OP_MOV_FROM_DR, OP_LMSW, OP_INT,
                                     OP_INT1, OP_BT_MEM, OP_BCD, OP_MASKMOV, OP_FPU_MODE, OP_LTR, OP_LLDT, OP_INVD, OP_CLFLUSH,
                                     OP_LOOP, OP_LOOPE, OP_LOOPNE, OP_JCC, OP_JMP_REL, OP_CALL_REL, OP_JCXZ,
                                     /* those have idioms with somewhere to go to */
                                     OP_JMP_IND, OP_CALL_IND, OP_JMP_FAR_MEM, OP_CALL_FAR_MEM, OP_RET, OP_RETF, OP_IRET};
  for (unsigned i = 0; i < sizeof unwanted; i++)
    if (row->kind == unwanted[i]) return false;
  if (row->kind == OP_NOP && row->map && row->opcode != 0x1f) return false; /* hints: QEMU has #UD for some register forms */
  /* QEMU ignores ModRM.reg */
  if (row->kind == OP_UD && !row->map && (row->opcode == 0x8f || row->opcode == 0xc6 || row->opcode == 0xc7)) return false;
  if (row->kind == OP_UD && (row->opcode & 0xf8) == 0xd8) return false; /* #NM first, or #UD: nobody says */
  return row->map < 2;
}
static void put_modrm(struct generator *g, const struct opcode_row *row) {
  unsigned reg = row->reg >= 0 ? (unsigned)row->reg : random_below(&g->r, 8);
  if (row->mod3 == 1 || (row->mod3 < 0 && random_chance(&g->r, 50)))
    EMIT(g, (uint8_t)(0xc0 | reg << 3 | (row->rm >= 0 ? (unsigned)row->rm : random_below(&g->r, 4))));
  else operand_at(g, reg, some_arena_address(g));
}
void write_opcode_row(struct generator *g) {
  unsigned count;
  const struct opcode_row *rows = insn_rows(&count), *row;
  do row = &rows[random_below(&g->r, count)];
  while (!row_wanted(row));
  mov_reg(g, 6, is_16(g) ? A_DATA - ARENA : A_DATA), mov_reg(g, 7, (is_16(g) ? A_DATA - ARENA : A_DATA) + 0x400);
  bool narrow = random_chance(&g->r, 20);
  if (narrow) EMIT(g, 0x66);
  if (row->prefix >= 0x66) EMIT(g, row->prefix);
  if (row->map) EMIT(g, 0x0f);
  EMIT(g, row->opcode);
  if (row->modrm) put_modrm(g, row);
  for (unsigned i = 0; i < 4; i++) {
    const struct operand_info *o = row_operand(row, i);
    if (o->class == OC_MOFFS) {
      if (is_16(g)) emit16(g, A_DATA - ARENA);
      else emit32(g, A_DATA);
    } else if (o->class == OC_PTR) {
      if (is_16(g) == narrow) emit32(g, next_slot(g));
      else emit16(g, next_slot(g));
      emit16(g, some_code_selector(g));
    } else if (o->class == OC_IMM || o->class == OC_IMM_SIGNED) {
      unsigned size = o->width == SZ_B ? 1 : o->width == SZ_W || is_16(g) != narrow ? 2 : 4;
      /* a stack in tables is no stack for long */
      for (unsigned k = 0; k < size; k++) EMIT(g, (uint8_t)random_below(&g->r, !k ? 256 : row->kind == OP_ENTER ? 1 : 128));
    }
  }
  g->next_mode = -1;
}
