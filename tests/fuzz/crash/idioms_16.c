/* 16-bit code: real mode with and without large segments, V86 mode, 16-bit protected mode. */
#include "writer.h"

static uint32_t near_chunk(struct generator *g) { return some_chunk(g) & 0xffff; }
/* A vector of real mode's table, or of protected mode's. */
static void software_interrupt(struct generator *g, struct writer *w) { emit8(w, 0xcd), emit8(w, random_below(&g->r, 256)); }

/* From protected mode, of whatever size: in CS, with IDTR and segments as real mode has them, and on with 16-bit code. */
void write_to_real(struct generator *g, struct writer *w) {
  static const uint8_t segments[] = {0xc0, 0xd0, 0xd8, 0xe0, 0xe8}; /* ES, SS, DS, FS, GS */
  mov_mem(w, G_DATA + 0x7ff0, 0x3ff), mov_mem(w, G_DATA + 0x7ff4, 0);
  if (w->sixteen) emit8(w, 0x67);
  emit8(w, 0x0f), emit8(w, 0x01), emit8(w, 0x1d), emit32(w, G_DATA + 0x7ff0); /* LIDT */
  if (random_chance(&g->r, 60))
    mov_reg(w, 0, S_DATA16), emit8(w, 0x8e), emit8(w, 0xd0), emit8(w, 0x8e), emit8(w, 0xd8), emit8(w, 0x8e), emit8(w, 0xc0);
  if (!w->sixteen) { /* JMP S_CODE16:here */
    emit8(w, 0xea), emit32(w, (g->here + w->size + 6 - G_CODE) & 0xffff), emit16(w, S_CODE16);
    w->sixteen = true;
  }
  emit8(w, 0x0f), emit8(w, 0x20), emit8(w, 0xc0), emit8(w, 0x66), emit8(w, 0x25), emit32(w, 0x7ffffffe), mov_to_cr(w, 0);
  emit8(w, 0xea), emit16(w, w->size + 4 + g->here), emit16(w, G_CODE >> 4);
  emit8(w, 0xb8), emit16(w, random_chance(&g->r, 70) ? G_CODE >> 4 : random_32(&g->r));
  for (unsigned i = 0; i < sizeof segments; i++)
    if (random_chance(&g->r, i < 3 ? 85 : 40)) emit8(w, 0x8e), emit8(w, segments[i]);
  mov_reg(w, 4, 0xfff0 - random_below(&g->r, 4));
  emit8(w, 0xe9), emit16(w, some_chunk(g) - (g->here + w->size + 2));
}
static void to_protected(struct generator *g, struct writer *w) {
  if (random_chance(&g->r, 50)) emit8(w, 0x2e);
  emit8(w, 0x66), emit8(w, 0x0f), emit8(w, 0x01), emit8(w, 0x16), emit16(w, G_GDTR);
  emit8(w, 0x0f), emit8(w, 0x20), emit8(w, 0xc0), emit8(w, 0x0c), emit8(w, 1), mov_to_cr(w, 0);
  if (random_chance(&g->r, 60)) emit8(w, 0x66), emit8(w, 0xea), emit32(w, some_chunk(g)), emit16(w, S_CODE);
  else emit8(w, 0xea), emit16(w, near_chunk(g)), emit16(w, random_chance(&g->r, 70) ? S_CODE16 : some_selector(g));
}
/* Segments of 4 GiB in real mode: loaded in protected mode, left for real mode. */
static void unreal(struct generator *g, struct writer *w) {
  emit8(w, 0xfa), emit8(w, 0x31), emit8(w, 0xc0), emit8(w, 0x8e), emit8(w, 0xd8); /* CLI; DS = 0 */
  emit8(w, 0x66), emit8(w, 0x0f), emit8(w, 0x01), emit8(w, 0x16), emit16(w, G_GDTR);
  emit8(w, 0x0f), emit8(w, 0x20), emit8(w, 0xc0), emit8(w, 0x0c), emit8(w, 1), mov_to_cr(w, 0);
  emit8(w, 0xbb), emit16(w, random_chance(&g->r, 80) ? S_DATA : some_selector(g));
  for (unsigned i = 0; i < 6; i++)
    if (i != 1 && random_chance(&g->r, 50)) emit8(w, 0x8e), emit8(w, 0xc3 | i << 3);
  emit8(w, 0x24), emit8(w, 0xfe), mov_to_cr(w, 0);
  if (random_chance(&g->r, 50)) emit8(w, 0xea), emit16(w, near_chunk(g)), emit16(w, G_CODE >> 4);
}
static void load_segment_16(struct generator *g, struct writer *w) {
  static const uint16_t values[] = {0,      G_CODE >> 4, G_CODE >> 4, G_DATA >> 4, 0x40,   0xa000,
                                    0xb800, 0xc000,      0xf000,      0xffff,      0xfff0, 0x9fff};
  emit8(w, 0xb8),
    emit16(w, random_chance(&g->r, 50)   ? RANDOM_OF(&g->r, values)
              : random_chance(&g->r, 50) ? some_selector(g)
                                         : random_32(&g->r)),
    emit8(w, 0x8e);
  emit8(w, 0xc0 | random_below(&g->r, 6) << 3);
}
static void edge_register(struct generator *g, struct writer *w) {
  emit8(w, 0xb8 | random_below(&g->r, 8)), emit16(w, random_chance(&g->r, 50) ? random_32(&g->r) : 0u - random_below(&g->r, 8));
}
static void jump_near(struct generator *g, struct writer *w) {
  if (random_chance(&g->r, 25))
    emit8(w, 0xb8), emit16(w, near_chunk(g)), emit8(w, 0xff), emit8(w, random_chance(&g->r, 50) ? 0xe0 : 0xd0);
  else if (random_chance(&g->r, 20))
    emit8(w, 0x0f), emit8(w, 0x80 | random_below(&g->r, 16)), emit16(w, some_chunk(g) - (g->here + w->size + 2));
  else emit8(w, random_chance(&g->r, 60) ? 0xe9 : 0xe8), emit16(w, some_chunk(g) - (g->here + w->size + 2));
}
static void jump_far_16(struct generator *g, struct writer *w) {
  uint16_t to = random_chance(&g->r, 60) ? G_CODE >> 4 : random_chance(&g->r, 50) ? S_CODE16 : some_selector(g);
  emit8(w, random_chance(&g->r, 50) ? 0xea : 0x9a), emit16(w, random_chance(&g->r, 85) ? near_chunk(g) : random_32(&g->r)),
    emit16(w, to);
}
/* A handler of ours, and a way to it; frames that lead anywhere. */
static void vector(struct generator *g, struct writer *w) {
  unsigned n = random_chance(&g->r, 60) ? random_below(&g->r, 0x21) : random_below(&g->r, 256);
  mov_mem(w, 4 * n, (random_chance(&g->r, 85) ? near_chunk(g) : random_32(&g->r) & 0xffff) | (uint32_t)(G_CODE >> 4) << 16);
  if (random_chance(&g->r, 70)) emit8(w, 0xcd), emit8(w, n);
}
static void frame_16(struct generator *g, struct writer *w) {
  static const uint8_t returns[] = {0xcf, 0xcf, 0xcf, 0xcb, 0xc3};
  if (random_chance(&g->r, 15)) { /* IRETD */
    push_imm(w, random_32(&g->r) & 0x3f7fd7), push_imm(w, G_CODE >> 4), push_imm(w, near_chunk(g)), emit8(w, 0x66),
      emit8(w, 0xcf);
    return;
  }
  emit8(w, 0x68), emit16(w, random_32(&g->r) & (random_chance(&g->r, 85) ? 0x3ed7 : 0xffff));
  emit8(w, 0x68), emit16(w, random_chance(&g->r, 85) ? G_CODE >> 4 : some_selector(g)), emit8(w, 0x68), emit16(w, near_chunk(g)),
    emit8(w, RANDOM_OF(&g->r, returns));
}
/* Strings that wrap at 64 KiB, or would. */
static void string_16(struct generator *g, struct writer *w) {
  static const uint8_t ops[] = {0xa4, 0xa5, 0xaa, 0xab, 0xa6, 0xa7, 0xac, 0xad, 0xae, 0xaf, 0x6c, 0x6d, 0x6e, 0x6f},
                       kinds[] = {0xf3, 0xf3, 0xf2, 0x90}, segments[] = {0x26, 0x2e, 0x36, 0x64, 0x67, 0x66};
  for (unsigned reg = 6; reg < 8; reg++)
    emit8(w, 0xb8 | reg), emit16(w, random_chance(&g->r, 60) ? random_32(&g->r) : 0u - random_below(&g->r, 40));
  emit8(w, 0xb9), emit16(w, random_below(&g->r, random_chance(&g->r, 90) ? 300 : 0x10000)),
    emit8(w, random_chance(&g->r, 25) ? 0xfd : 0xfc);
  if (random_chance(&g->r, 40)) emit8(w, RANDOM_OF(&g->r, segments));
  emit8(w, RANDOM_OF(&g->r, kinds)), emit8(w, RANDOM_OF(&g->r, ops));
}
static void write_code_16(struct generator *g, struct writer *w) {
  uint32_t at =
    (random_chance(&g->r, 50) ? g->here + random_below(&g->r, 80) - 16 : some_chunk(g) + random_below(&g->r, 32)) & 0xffff;
  emit8(w, random_chance(&g->r, 50) ? 0x2e : 0x3e), emit8(w, random_chance(&g->r, 50) ? 0xc6 : 0x80), emit8(w, 0x06),
    emit16(w, at), emit8(w, random_32(&g->r)); /* MOV or ADD */
}
static void flags_16(struct generator *g, struct writer *w) {
  switch (random_below(&g->r, 6)) {
  case 0: emit8(w, 0xfb), emit8(w, 0xf4); break; /* STI; HLT */
  case 1: emit8(w, 0xfa); break;
  case 2: emit8(w, 0x9c), emit8(w, 0x9d); break;
  case 3: emit8(w, 0x68), emit16(w, random_32(&g->r) & 0x7ed7), emit8(w, 0x9d); break;
  case 4: emit8(w, 0x66), emit8(w, 0x9c), emit8(w, 0x66), emit8(w, 0x9d); break;
  default: emit8(w, 0x0f), emit8(w, 0x01), emit8(w, 0xf0 | random_below(&g->r, 8)); break; /* LMSW */
  }
}
static void stack_16(struct generator *g, struct writer *w) {
  static const uint16_t tops[] = {0, 1, 2, 3, 4, 6, 0xffff, 0xfffe, 0x8000, 0x7fff, 0xfff0};
  emit8(w, 0xbc), emit16(w, random_chance(&g->r, 70) ? RANDOM_OF(&g->r, tops) : random_32(&g->r));
  switch (random_below(&g->r, 5)) {
  case 0: emit8(w, 0x60), emit8(w, 0x61); break;
  case 1: emit8(w, 0xc8), emit16(w, random_below(&g->r, 64)), emit8(w, random_below(&g->r, 32)), emit8(w, 0xc9); break;
  case 2: emit8(w, 0x66), emit8(w, 0x60); break;
  case 3: emit8(w, 0x68), emit16(w, random_32(&g->r)), emit8(w, 0x58 | random_below(&g->r, 8)); break;
  default: break;
  }
}
static void far_operand(struct generator *g, struct writer *w) { /* 32-bit addresses, within 64 KiB or not */
  emit8(w, 0x67), emit8(w, random_chance(&g->r, 50) ? 0x8b : 0x01), emit8(w, 0x05 | random_below(&g->r, 8) << 3),
    emit32(w, random_chance(&g->r, 50) ? 0xfff0 + random_below(&g->r, 32) : some_address(g));
}
static void loop_16(struct generator *g, struct writer *w) {
  if (random_chance(&g->r, 60)) emit8(w, 0xb9), emit16(w, 1 + random_below(&g->r, 60));
  emit8(w, 0xe0 + random_below(&g->r, 4)), emit8(w, 0u - random_below(&g->r, 40));
}
static void address_32(struct generator *g, struct writer *w) { mov_reg(w, random_below(&g->r, 8), some_address(g)); }

void write_idiom_16(struct generator *g, struct writer *w) {
  static const struct idiom_row rows[] = {{write_to_real, 4},      {to_protected, 5},    {unreal, 4},      {load_segment_16, 12},
                                          {edge_register, 12},     {jump_near, 12},      {jump_far_16, 6}, {vector, 6},
                                          {software_interrupt, 5}, {frame_16, 6},        {string_16, 8},   {write_code_16, 8},
                                          {flags_16, 6},           {stack_16, 6},        {far_operand, 6}, {loop_16, 6},
                                          {address_32, 6},         {write_chip_idiom, 5}};
  write_one_of(g, w, rows, sizeof rows / sizeof *rows);
}
