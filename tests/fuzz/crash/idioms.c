/* What kernels do and random rows hardly ever hit: mode switches, frames for IRET, page tables, code that writes code. */
#include "writer.h"
#include "../../../translator/insn.h"

uint32_t some_chunk(struct generator *g) { return g->chunks[random_below(&g->r, G_CHUNK_COUNT)]; }

/* ---- paging ---- */

static uint32_t some_cr3(struct generator *g) {
  static const uint32_t roots[] = {G_PD, G_PD, G_PD, G_PD_2, G_PDPT, G_PDPT, G_PDPT + 0x20, G_DATA, G_CODE, G_PT};
  return random_chance(&g->r, 95) ? RANDOM_OF(&g->r, roots) : random_32(&g->r);
}
static uint32_t some_cr0(struct generator *g) {
  uint32_t v = 1;
  static const uint32_t bits[] = {0x80000000, 0x80000000, 0x10000, 0x40000, 0x20, 2, 0x10};
  for (unsigned i = 0; i < sizeof bits / sizeof *bits; i++)
    if (random_chance(&g->r, 60)) v |= bits[i];
  if (random_chance(&g->r, 8)) v |= 8u << random_below(&g->r, 2) >> 1;
  return random_chance(&g->r, 3) ? v ^ 1u << random_below(&g->r, 32) : v;
}
static uint32_t some_cr4(struct generator *g) {
  uint32_t v = 0;
  static const uint32_t bits[] = {0x10, 0x10, 0x80, 0x200, 0x200, 0x400, 8};
  for (unsigned i = 0; i < sizeof bits / sizeof *bits; i++)
    if (random_chance(&g->r, 50)) v |= bits[i];
  if (random_chance(&g->r, 25)) v |= 0x20;
  return random_chance(&g->r, 5) ? v | 1u << random_below(&g->r, 12) : v;
}
/* PG off, CR4, CR3, CR0: PAE wants its own root, else most of these would end at once. */
static void set_paging(struct generator *g, struct writer *w) {
  uint32_t cr4 = some_cr4(g), cr3 = some_cr3(g);
  if (random_chance(&g->r, 90)) cr3 = cr4 & 0x20 ? G_PDPT : random_chance(&g->r, 70) ? G_PD : G_PD_2;
  if (random_chance(&g->r, 70)) mov_reg(w, 0, 1), mov_to_cr(w, 0);
  mov_reg(w, 0, cr4), mov_to_cr(w, 4);
  mov_reg(w, 0, cr3), mov_to_cr(w, 3);
  mov_reg(w, 0, some_cr0(g)), mov_to_cr(w, 0);
}
static void write_cr(struct generator *g, struct writer *w) {
  static const uint8_t which[] = {0, 3, 3, 3, 4, 2};
  unsigned cr = RANDOM_OF(&g->r, which);
  mov_reg(w, 0, cr == 0 ? some_cr0(g) | 0x80000000 : cr == 3 ? some_cr3(g) : cr == 4 ? some_cr4(g) : some_value(g));
  mov_to_cr(w, cr);
}
static uint32_t some_entry(struct generator *g) {
  uint32_t flags = random_below(&g->r, 4096) & (random_chance(&g->r, 80) ? 0x167 : 0xfff);
  uint32_t frame = random_chance(&g->r, 60) ? random_below(&g->r, (uint32_t)(g->ram_size >> 12)) << 12 : some_address(g);
  return (frame & ~4095u) | flags | (random_chance(&g->r, 80) ? 1 : 0);
}
/* One bit of an entry of a page that is in use. */
static void change_entry(struct generator *g, struct writer *w) {
  static const uint32_t tables[] = {G_PT, G_PT, G_PT, G_PAE_PT, G_PD, G_PAE_PD},
                        bits[] = {1, 2, 4, 4, 0x20, 0x40, 0x80, 0x100, 0x200};
  static const uint8_t pages[] = {0, 1, 2, 4, 5, 6, 7, 7, 8, 0xa, 0xb, 0xc, 0xd, 0xe};
  unsigned table = random_below(&g->r, 6),
           page = random_chance(&g->r, 50) ? (G_CODE >> 12) + random_below(&g->r, 16) : RANDOM_OF(&g->r, pages);
  uint32_t entry = table > 3 ? random_below(&g->r, 4) : page, bit = RANDOM_OF(&g->r, bits);
  bool clear = random_chance(&g->r, 60);
  /* AND or XOR [entry], imm32 */
  emit8(w, 0x81), emit8(w, clear ? 0x25 : 0x35), emit32(w, tables[table] + entry * (table == 3 || table == 5 ? 8 : 4)),
    emit32(w, clear ? ~bit : bit);
}
static void write_page_table(struct generator *g, struct writer *w) {
  static const uint32_t tables[] = {G_PD, G_PD, G_PD_2, G_PDPT, G_PAE_PD, G_PT, G_PT, G_PT_2, G_PAE_PT};
  static const uint32_t aliases[] = {0, 0, 0, 0xc0000000};
  uint32_t table = RANDOM_OF(&g->r, tables),
           entry = random_below(&g->r, table == G_PDPT            ? 8
                                       : random_chance(&g->r, 50) ? 1024
                                                                  : 64),
           value = some_entry(g);
  if (random_chance(&g->r, 25)) { /* other code where code runs */
    entry = (G_CODE >> 12) + random_below(&g->r, 16), value = G_CODE + (random_below(&g->r, 16) << 12) + 7;
    if (table == G_PAE_PT) entry *= 2;
  } else if (random_chance(&g->r, 15))
    entry = 0x300 + random_below(&g->r, 4), value = (random_chance(&g->r, 50) ? G_PT : G_PT_2) + 3;
  mov_mem(w, table + 4 * entry + RANDOM_OF(&g->r, aliases), value);
  /* INVLPG */
  if (random_chance(&g->r, 40)) emit8(w, 0x0f), emit8(w, 0x01), emit8(w, 0x3d), emit32(w, entry << (table == G_PT ? 12 : 22));
  if (random_chance(&g->r, 20)) emit8(w, 0x0f), emit8(w, 0x20), emit8(w, 0xd8), mov_to_cr(w, 3);
}

/* As a fork does: a copy of a directory, perhaps with another entry in it, becomes the root. */
static void copy_root(struct generator *g, struct writer *w) {
  uint32_t to = G_ROOTS + (random_below(&g->r, (G_ROOTS_END - G_ROOTS) >> 12) << 12);
  emit8(w, 0xfc),
    mov_reg(w, 6,
            random_chance(&g->r, 70)   ? G_PD
            : random_chance(&g->r, 50) ? G_PD_2
                                       : to ^ 0x1000),
    mov_reg(w, 7, to), mov_reg(w, 1, 1024);
  emit8(w, 0xf3), emit8(w, 0xa5);
  if (random_chance(&g->r, 40))
    mov_mem(w, to + 4 * (random_chance(&g->r, 50) ? 0x300 + random_below(&g->r, 0x100) : random_below(&g->r, 1024)),
            some_entry(g));
  if (random_chance(&g->r, 90)) mov_reg(w, 0, to), mov_to_cr(w, 3);
}
/* Many roots and many pages in few instructions: CR3 goes round the copies. */
static void switch_roots(struct generator *g, struct writer *w) {
  mov_reg(w, 1, 1 + random_below(&g->r, 200)), mov_reg(w, 0, G_ROOTS);
  emit8(w, 0x05), emit32(w, 0x1000);                                                             /* ADD EAX, 1000h */
  emit8(w, 0x25), emit32(w, 0x7ffff), mov_to_cr(w, 3);                                           /* AND EAX; MOV CR3, EAX */
  emit8(w, 0xff), emit8(w, 0x05), emit32(w, some_address(g)), emit8(w, 0xe2), emit8(w, 0u - 21); /* INC [m]; LOOP */
}
/* More roots than are kept, all of which work. */
static void many_roots(struct generator *g, struct writer *w) {
  emit8(w, 0xfc), mov_reg(w, 7, G_ROOTS), mov_reg(w, 3, (G_ROOTS_END - G_ROOTS) >> 12);
  unsigned start = w->size;
  mov_reg(w, 6, random_chance(&g->r, 85) ? G_PD : G_PD_2), mov_reg(w, 1, 1024), emit8(w, 0xf3), emit8(w, 0xa5), emit8(w, 0x4b),
    emit8(w, 0x75), emit8(w, start - (w->size + 1));
  mov_reg(w, 0, G_ROOTS), mov_reg(w, 1, 1 + random_below(&g->r, (G_ROOTS_END - G_ROOTS) >> 12)), mov_reg(w, 3, some_address(g));
  unsigned inner = w->size;
  mov_to_cr(w, 3), emit8(w, 0x05), emit32(w, 0x1000), emit8(w, 0x8a), emit8(w, 0x13), emit8(w, 0xe2),
    emit8(w, inner - (w->size + 1));
}
static uint32_t plain_page(struct generator *g) { return random_below(&g->r, (uint32_t)(g->ram_size >> 12)) << 12; }

/* A bit of CR0 or CR4 that changes a walk's meaning, back and forth. */
static void toggle(struct generator *g, struct writer *w) {
  static const uint32_t bits[] = {0x10000, 0x80, 0x10, 0x80000000};
  unsigned which = random_below(&g->r, 4), cr = which == 0 || which == 3 ? 0 : 4;
  uint32_t at = random_chance(&g->r, 50) ? 0xc0000000 + plain_page(g) : some_address(g);
  mov_reg(w, 1, 2 + random_below(&g->r, 40));
  unsigned start = w->size;
  emit8(w, 0x0f), emit8(w, 0x20), emit8(w, 0xc0 | cr << 3), emit8(w, 0x35), emit32(w, bits[which]), mov_to_cr(w, cr);
  emit8(w, 0xff), emit8(w, random_chance(&g->r, 50) ? 0x05 : 0x0d), emit32(w, at), emit8(w, 0xe2),
    emit8(w, start - (w->size + 1));
}
/* Two roots that disagree about some of the kernel half, in turns. */
static void contest(struct generator *g, struct writer *w) {
  uint32_t other = G_ROOTS + (random_below(&g->r, (G_ROOTS_END - G_ROOTS) >> 12) << 12),
           entries = random_chance(&g->r, 60) ? 1 + random_below(&g->r, 6) : 1 + random_below(&g->r, 64);
  emit8(w, 0xfc), mov_reg(w, 6, G_PD), mov_reg(w, 7, other), mov_reg(w, 1, 1024), emit8(w, 0xf3), emit8(w, 0xa5);
  mov_reg(w, 1, entries);
  /* AND BYTE [other + ECX * 4 + ...], ~2; LOOP */
  emit8(w, 0x80), emit8(w, 0x24), emit8(w, 0x8d), emit32(w, other + 0xc04), emit8(w, 0xfd), emit8(w, 0xe2), emit8(w, 0u - 10);
  mov_reg(w, 5, 1 + random_below(&g->r, 10));
  unsigned start = w->size;
  mov_reg(w, 3, 0xc0800000 + random_below(&g->r, 0x3000)), mov_reg(w, 1, entries);
  unsigned inner = w->size;
  mov_reg(w, 0, other), mov_to_cr(w, 3), emit8(w, 0x8a), emit8(w, 0x13); /* MOV DL, [EBX] */
  /* MOV AL, [EBX] or INC BYTE [EBX] */
  mov_reg(w, 0, G_PD), mov_to_cr(w, 3), emit8(w, random_chance(&g->r, 50) ? 0x8a : 0xfe), emit8(w, 0x03);
  emit8(w, 0x81), emit8(w, 0xc3), emit32(w, 0x400000), emit8(w, 0xe2), emit8(w, inner - (w->size + 1));
  emit8(w, 0x4d), emit8(w, 0x75), emit8(w, start - (w->size + 1));
}
/* A loop onto itself whose accesses stride. */
static void stride(struct generator *g, struct writer *w) {
  static const uint32_t steps[] = {1, 4, 64, 4096, 4096, 8192, 0x10000, 0x200000, 0x400000, 0x3fffff};
  static const uint8_t ops[] = {0x8b, 0x89, 0x01, 0x03, 0x39, 0x87, 0x8a, 0x88, 0x30};
  uint32_t step = RANDOM_OF(&g->r, steps);
  mov_reg(w, 1, 1 + random_below(&g->r, random_chance(&g->r, 80) ? 100 : 5000)), mov_reg(w, 3, some_address(g)),
    mov_reg(w, 6, some_address(g));
  unsigned start = w->size, n = 1 + random_below(&g->r, 4);
  for (unsigned i = 0; i < n; i++) {
    emit8(w, RANDOM_OF(&g->r, ops)), emit8(w, 0x40 | random_below(&g->r, 8) << 3 |
                                                (random_chance(&g->r, 60)   ? 3
                                                 : random_chance(&g->r, 50) ? 6
                                                                            : 1));
    emit8(w, random_chance(&g->r, 70) ? random_below(&g->r, 64) : random_32(&g->r));
  }
  emit8(w, 0x81), emit8(w, 0xc3), emit32(w, random_chance(&g->r, 80) ? step : 0u - step); /* ADD EBX, step */
  emit8(w, 0x49), emit8(w, 0x75), emit8(w, start - (w->size + 1));
}

/* ---- transfers ---- */

static uint32_t some_eflags(struct generator *g) {
  uint32_t v = 2 | (random_chance(&g->r, 50) ? 0x200 : 0) | (random_chance(&g->r, 30) ? 0x3000 : 0);
  if (random_chance(&g->r, 20)) v |= 0x100;
  if (random_chance(&g->r, 10)) v |= 0x40000;
  if (random_chance(&g->r, 5)) v |= 0x4000;
  if (random_chance(&g->r, 5)) v |= random_32(&g->r) & 0x3f7fd5;
  return v;
}
static void popf(struct generator *g, struct writer *w) { push_imm(w, some_eflags(g)), emit8(w, 0x9d); }
static void load_tr(struct generator *g, struct writer *w) {
  static const uint8_t tasks[] = {S_TSS, S_TSS, S_TSS_2, S_TSS_16, S_TSS_BUSY, S_DATA};
  emit8(w, 0x66), emit8(w, 0xb8), emit16(w, RANDOM_OF(&g->r, tasks));
  emit8(w, 0x0f), emit8(w, 0x00), emit8(w, 0xd8);
}
static void load_ldt(struct generator *g, struct writer *w) {
  emit8(w, 0x66), emit8(w, 0xb8), emit16(w, random_chance(&g->r, 80) ? S_LDT : some_selector(g));
  emit8(w, 0x0f), emit8(w, 0x00), emit8(w, 0xd0);
}
static void to_user(struct generator *g, struct writer *w) {
  if (random_chance(&g->r, 60)) load_tr(g, w);
  push_imm(w, random_chance(&g->r, 90) ? S_USER_DATA : some_selector(g));
  push_imm(w, random_chance(&g->r, 90) ? G_USER_STACK : some_address(g));
  push_imm(w, some_eflags(g));
  push_imm(w, random_chance(&g->r, 90) ? S_USER_CODE : some_selector(g));
  push_imm(w, random_chance(&g->r, 90) ? some_chunk(g) : some_address(g));
  emit8(w, 0xcf);
}
void write_to_v86(struct generator *g, struct writer *w) {
  if (random_chance(&g->r, 60)) load_tr(g, w);
  for (unsigned i = 0; i < 4; i++) push_imm(w, random_chance(&g->r, 50) ? G_CODE >> 4 : random_below(&g->r, 0x10000));
  push_imm(w, random_chance(&g->r, 80) ? G_CODE >> 4 : 0), push_imm(w, random_chance(&g->r, 80) ? 0xfff0 : some_value(g));
  push_imm(w, some_eflags(g) | FLAG_VM | (random_chance(&g->r, 60) ? 0x3000 : 0)); /* IOPL 3: it does not end at once */
  push_imm(w, G_CODE >> 4), push_imm(w, random_chance(&g->r, 90) ? some_chunk(g) & 0xffff : some_value(g));
  emit8(w, 0xcf);
}
/* 16-bit protected mode. */
void write_to_16(struct generator *g, struct writer *w) {
  static const uint8_t segments[] = {0xc0, 0xd0, 0xd8};
  mov_reg(w, 0, random_chance(&g->r, 85) ? S_DATA16 : some_selector(g)), mov_reg(w, 4, 0xfff0);
  for (unsigned i = 0; i < sizeof segments; i++)
    if (random_chance(&g->r, 80)) emit8(w, 0x8e), emit8(w, segments[i]);
  emit8(w, 0xea), emit32(w, some_chunk(g) & 0xffff), emit16(w, S_CODE16);
}
static void iret_frame(struct generator *g, struct writer *w) {
  push_imm(w, some_eflags(g)), push_imm(w, some_selector(g)),
    push_imm(w, random_chance(&g->r, 80) ? some_chunk(g) : some_address(g));
  emit8(w, random_chance(&g->r, 80) ? 0xcf : 0xcb);
}
static void jump_far(struct generator *g, struct writer *w) {
  uint16_t selector = some_selector(g);
  bool sixteen = (selector & ~7u) == S_CODE16 || (selector & ~7u) == S_BASED_CODE;
  uint32_t to = random_chance(&g->r, 85) ? some_chunk(g) : some_address(g);
  emit8(w, random_chance(&g->r, 50) ? 0xea : 0x9a), emit32(w, sixteen ? to & 0xffff : to), emit16(w, selector);
}
static void jump_chunk(struct generator *g, struct writer *w) {
  uint32_t to = random_chance(&g->r, 85) ? some_chunk(g) : some_address(g);
  if (random_chance(&g->r, 30)) {
    mov_reg(w, 1, to), emit8(w, 0xff), emit8(w, random_chance(&g->r, 50) ? 0xe1 : 0xd1);
    return;
  }
  emit8(w, random_chance(&g->r, 60) ? 0xe9 : 0xe8), emit32(w, to - (g->here + w->size + 4));
}
static void loop_back(struct generator *g, struct writer *w) {
  if (random_chance(&g->r, 50)) emit8(w, 0x49), emit8(w, 0x75);
  else emit8(w, 0xe2); /* DEC ECX; JNZ or LOOP */
  emit8(w, 0u - random_below(&g->r, 60));
}
static void load_stack(struct generator *g, struct writer *w) {
  if (random_chance(&g->r, 30)) mov_reg(w, 0, some_selector(g)), emit8(w, 0x8e), emit8(w, 0xd0);
  mov_reg(w, 4, random_chance(&g->r, 50) ? G_STACK - random_below(&g->r, 64) : some_address(g));
}
static void load_segment(struct generator *g, struct writer *w) {
  mov_reg(w, 0, some_selector(g)), emit8(w, 0x8e), emit8(w, 0xc0 | random_below(&g->r, 6) << 3);
}
/* LGDT, LIDT from memory that may be anything; or good ones again */
static void load_table(struct generator *g, struct writer *w) {
  bool idt = random_chance(&g->r, 50);
  emit8(w, 0x0f), emit8(w, 0x01), emit8(w, idt ? 0x1d : 0x15);
  emit32(w, random_chance(&g->r, 60) ? (idt ? G_IDTR : G_GDTR) : some_address(g));
}
static void ask_selector(struct generator *g, struct writer *w) { /* LAR, LSL, VERR, VERW, ARPL, MOV Sw */
  static const uint8_t ops[] = {0x02, 0x03};
  mov_reg(w, 0, some_selector(g));
  switch (random_below(&g->r, 4)) {
  case 0: emit8(w, 0x0f), emit8(w, 0x00), emit8(w, 0xe0 | random_below(&g->r, 2) << 3); break;
  case 1: emit8(w, 0x63), emit8(w, 0xc1); break;
  case 2: emit8(w, 0x8c), emit8(w, 0xc0 | random_below(&g->r, 64)); break;
  default: emit8(w, 0x0f), emit8(w, RANDOM_OF(&g->r, ops)), emit8(w, 0xc8); break;
  }
}
/* To ring 3 and back through a gate at once. */
static void user_and_back(struct generator *g, struct writer *w) {
  static const uint16_t gates[] = {S_CALL_PARAMS, S_CALL_PARAMS, S_CALL_16, S_TASK};
  emit8(w, 0x66), emit8(w, 0xb8), emit16(w, S_TSS), emit8(w, 0x0f), emit8(w, 0x00), emit8(w, 0xd8);
  push_imm(w, S_USER_DATA), push_imm(w, G_USER_STACK - random_below(&g->r, 8)), push_imm(w, some_eflags(g) & ~0x4100u),
    push_imm(w, S_USER_CODE);
  push_imm(w, g->here + w->size + 6), emit8(w, 0xcf);
  emit8(w, 0x9a), emit32(w, random_32(&g->r)), emit16(w, RANDOM_OF(&g->r, gates));
}
/* From whatever ring through a gate that may be used from there. */
static void call_gate(struct generator *g, struct writer *w) {
  static const uint16_t gates[] = {S_CALL_PARAMS, S_CALL_16, S_TASK, S_CALL, S_TSS, S_TSS_2, S_TSS_16};
  emit8(w, random_chance(&g->r, 80) ? 0x9a : 0xea), emit32(w, random_32(&g->r)), emit16(w, RANDOM_OF(&g->r, gates));
}
static void software_interrupt(struct generator *g, struct writer *w) { emit8(w, 0xcd), emit8(w, random_below(&g->r, 256)); }

/* ---- memory ---- */

static void string_op(struct generator *g, struct writer *w) {
  static const uint8_t ops[] = {0xa4, 0xa5, 0xaa, 0xab, 0xa6, 0xa7, 0xac, 0xad, 0xae, 0xaf, 0x6c, 0x6d, 0x6e, 0x6f};
  static const uint8_t kinds[] = {0xf3, 0xf3, 0xf3, 0xf2, 0x90};
  emit8(w, random_chance(&g->r, 25) ? 0xfd : 0xfc);
  mov_reg(w, 6, some_address(g)), mov_reg(w, 7, some_address(g));
  mov_reg(w, 1, random_chance(&g->r, 90) ? random_below(&g->r, 600) : random_below(&g->r, 1 << random_below(&g->r, 20)));
  if (random_chance(&g->r, 20)) mov_reg(w, 2, random_below(&g->r, 0x10000));
  if (random_chance(&g->r, 10)) emit8(w, 0x66);
  if (random_chance(&g->r, 5)) emit8(w, 0x67);
  emit8(w, RANDOM_OF(&g->r, kinds)), emit8(w, RANDOM_OF(&g->r, ops));
}
static void write_code(struct generator *g, struct writer *w) { /* SMC: near what runs, or the next instruction */
  uint32_t at = random_chance(&g->r, 50) ? g->here + random_below(&g->r, 80) - 16 : some_chunk(g) + random_below(&g->r, 32);
  if (random_chance(&g->r, 20)) at += 0xc0000000;
  if (random_chance(&g->r, 50)) emit8(w, 0xc6), emit8(w, 0x05), emit32(w, at), emit8(w, random_32(&g->r));
  else mov_mem(w, at, random_chance(&g->r, 50) ? 0x90909090 : random_32(&g->r));
}
static void move_address(struct generator *g, struct writer *w) { mov_reg(w, random_below(&g->r, 8), some_address(g)); }
static void locked(struct generator *g, struct writer *w) {
  uint32_t at = some_address(g);
  emit8(w, 0xf0), emit8(w, 0xff), emit8(w, 0x05), emit32(w, at);
}

/* ---- the rest of the CPU ---- */

static void write_msr(struct generator *g, struct writer *w) {
  static const uint32_t msrs[] = {0x10,       0x1b,       0x1b,  0x174, 0x175, 0x176, 0x1a0, 0x1d9, 0x200, 0x201,
                                  0x20f,      0x250,      0x26f, 0x277, 0x277, 0x2ff, 0xfe,  0x79,  0x8b,  0xc0000080,
                                  0xc0000080, 0xc0000103, 0x17,  0x2a,  0xc2,  0x187, 0x199, 0x19c, 0x30b, 0x390};
  mov_reg(w, 1, random_chance(&g->r, 95) ? RANDOM_OF(&g->r, msrs) : random_32(&g->r));
  mov_reg(w, 0, random_chance(&g->r, 40) ? 0x800u << random_below(&g->r, 2) : some_value(g)),
    mov_reg(w, 2, random_chance(&g->r, 70) ? 0 : random_32(&g->r));
  emit8(w, 0x0f), emit8(w, random_chance(&g->r, 75) ? 0x30 : 0x32);
}
static void enter_by_sysenter(struct generator *g, struct writer *w) {
  for (uint32_t msr = 0x174; msr < 0x177; msr++)
    mov_reg(w, 1, msr),
      mov_reg(w, 0,
              msr == 0x174   ? S_CODE
              : msr == 0x175 ? G_STACK
                             : some_chunk(g)),
      emit8(w, 0x31), emit8(w, 0xd2), emit8(w, 0x0f), emit8(w, 0x30);
  emit8(w, 0x0f), emit8(w, random_chance(&g->r, 50) ? 0x34 : 0x35);
}
static void debug_registers(struct generator *g, struct writer *w) {
  unsigned dr = random_below(&g->r, 4);
  mov_reg(w, 0, random_chance(&g->r, 60) ? some_chunk(g) : some_address(g)), emit8(w, 0x0f), emit8(w, 0x23),
    emit8(w, 0xc0 | dr << 3);
  mov_reg(w, 0,
          (random_chance(&g->r, 85) ? random_32(&g->r) & 0xffff0000 : random_32(&g->r)) |
            (random_chance(&g->r, 70) ? 3u << 2 * dr : 0));
  emit8(w, 0x0f), emit8(w, 0x23), emit8(w, 0xf8);
}
static void float_state(struct generator *g, struct writer *w) {
  static const uint8_t fninit[] = {0xdb, 0xe3};
  uint32_t at = some_address(g) & ~15u;
  switch (random_below(&g->r, 8)) {
  case 0: emit8(w, fninit[0]), emit8(w, fninit[1]); break;
  case 1: emit8(w, 0xd9), emit8(w, 0x2d), emit32(w, at); break;                 /* FLDCW */
  case 2: emit8(w, 0x0f), emit8(w, 0xae), emit8(w, 0x15), emit32(w, at); break; /* LDMXCSR */
  case 3: emit8(w, 0x0f), emit8(w, 0xae), emit8(w, 0x0d), emit32(w, at); break; /* FXRSTOR */
  case 4: emit8(w, 0x0f), emit8(w, 0xae), emit8(w, 0x05), emit32(w, at); break; /* FXSAVE */
  case 5: emit8(w, 0xdd), emit8(w, 0x25), emit32(w, at); break;                 /* FRSTOR */
  case 6: emit8(w, 0xd9), emit8(w, 0x25), emit32(w, at); break;                 /* FLDENV */
  default:
    mov_mem(w, G_DATA, random_32(&g->r) & 0xffff), emit8(w, 0xd9), emit8(w, 0x2d), emit32(w, G_DATA), emit8(w, 0xd9),
      emit8(w, 0xee), emit8(w, 0xdc), emit8(w, 0xf0);
    break;
  }
}

static void idle(struct generator *g, struct writer *w) {
  if (random_chance(&g->r, 80)) emit8(w, 0xfb);
  emit8(w, 0xf4);
}

void write_one_of(struct generator *g, struct writer *w, const struct idiom_row *rows, unsigned count) {
  unsigned sum = 0, i = 0;
  for (unsigned k = 0; k < count; k++) sum += rows[k].weight;
  for (unsigned pick = random_below(&g->r, sum); pick >= rows[i].weight; i++) pick -= rows[i].weight;
  rows[i].write(g, w);
}

void write_idiom(struct generator *g, struct writer *w) {
  static const struct idiom_row rows[] = {
    {set_paging, 10},
    {write_cr, 4},
    {write_page_table, 12},
    {change_entry, 8},
    {popf, 5},
    {load_tr, 3},
    {load_ldt, 3},
    {to_user, 5},
    {write_to_v86, 3},
    {iret_frame, 3},
    {jump_far, 5},
    {jump_chunk, 8},
    {loop_back, 6},
    {load_stack, 6},
    {load_segment, 7},
    {load_table, 2},
    {software_interrupt, 4},
    {string_op, 12},
    {write_code, 12},
    {move_address, 25},
    {locked, 3},
    {write_msr, 5},
    {enter_by_sysenter, 2},
    {debug_registers, 3},
    {float_state, 6},
    {idle, 2},
    {copy_root, 4},
    {switch_roots, 2},
    {stride, 8},
    {contest, 3},
    {many_roots, 2},
    {toggle, 4},
    {write_chip_idiom, 36},
    {ask_selector, 3},
    {call_gate, 4},
    {user_and_back, 4},
  };
  write_one_of(g, w, rows, sizeof rows / sizeof *rows);
}
