/* A random instruction of a random row of the opcode table. */
#include "case.h"
#include "../../../translator/opcodes.h"

static unsigned immediate_size(const struct operand_info *o, unsigned operand, unsigned address) {
  switch (o->class) {
  case OC_IMM:
  case OC_IMM_SIGNED:
  case OC_REL: return o->width == SZ_B ? 1 : o->width == SZ_W ? 2 : operand;
  case OC_PTR: return operand + 2;
  case OC_MOFFS: return address;
  default: return 0;
  }
}

static void put_size(struct writer *w, uint32_t v, unsigned size) {
  for (unsigned i = 0; i < size; i++) emit8(w, i < 4 ? v >> 8 * i : 0);
}

static void put_modrm(struct generator *g, struct writer *w, const struct opcode_row *row, unsigned address) {
  struct random *r = &g->r;
  unsigned mod = row->mod3 == 1 || (row->mod3 < 0 && random_chance(r, 40)) ? 3 : random_below(r, 3);
  unsigned reg = row->reg >= 0 ? (unsigned)row->reg : random_below(r, 8),
           rm = row->rm >= 0 ? (unsigned)row->rm : random_below(r, 8);
  bool absolute = mod != 3 && random_chance(r, 40);
  if (absolute) mod = 0, rm = address == 4 ? 5 : 6;
  emit8(w, mod << 6 | reg << 3 | rm);
  if (mod == 3) return;
  if (address == 4 && rm == 4) {
    unsigned sib = random_below(r, 256);
    emit8(w, sib);
    if (mod == 0 && (sib & 7) == 5) emit32(w, some_address(g));
  }
  if (mod == 1) emit8(w, random_32(r));
  else if (mod == 2 || (mod == 0 && rm == (address == 4 ? 5u : 6u))) put_size(w, some_address(g), address);
}

static void put_immediates(struct generator *g, struct writer *w, const struct opcode_row *row, unsigned operand,
                           unsigned address) {
  for (unsigned i = 0; i < 4; i++) {
    const struct operand_info *o = row_operand(row, i);
    unsigned size = immediate_size(o, operand, address);
    if (!size) continue;
    if (o->class == OC_REL && size > 1) put_size(w, some_address(g) - (g->here + w->size + size), size);
    else if (o->class == OC_PTR) put_size(w, some_address(g), operand), emit16(w, some_selector(g));
    else if (o->class == OC_REL) emit8(w, random_below(&g->r, 64) - 24);
    else put_size(w, o->class == OC_MOFFS ? some_address(g) : some_value(g), size);
  }
}

void write_row(struct generator *g, struct writer *w, bool code32) {
  static const uint8_t segments[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65};
  struct random *r = &g->r;
  unsigned count;
  const struct opcode_row *rows = insn_rows(&count), *row;
  bool special = random_chance(r, 40); /* most rows are SSE's */
  do row = &rows[random_below(r, count)];
  while (row->map > 3 || (special && (row->kind == OP_COPY || row->kind == OP_UD)));
  bool o16 = random_chance(r, 12), a16 = random_chance(r, 6);
  bool string = row->kind >= OP_MOVS && row->kind <= OP_OUTS;
  /* MOV ECX: else REP takes all of a case's time */
  if (string && code32 && random_chance(r, 95)) emit8(w, 0xb9), emit32(w, random_below(r, 700));
  if (random_chance(r, 8)) emit8(w, RANDOM_OF(r, segments));
  if (random_chance(r, row->lock ? 25 : 2)) emit8(w, 0xf0);
  if (a16) emit8(w, 0x67);
  if (o16 || row->prefix == 0x66) emit8(w, 0x66);
  if (row->prefix > 0x66) emit8(w, row->prefix);
  else if (random_chance(r, string ? 50 : 2)) emit8(w, random_chance(r, 50) ? 0xf2 : 0xf3);
  if (row->map) emit8(w, 0x0f);
  if (row->map == 2) emit8(w, 0x38);
  if (row->map == 3) emit8(w, 0x3a);
  emit8(w, row->opcode);
  unsigned operand = code32 != (o16 || row->prefix == 0x66) ? 4 : 2, address = code32 != a16 ? 4 : 2;
  if (row->modrm) put_modrm(g, w, row, address);
  put_immediates(g, w, row, operand, address);
}
