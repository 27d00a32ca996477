/* Bytes of one instruction from its row and the choices made. */
#include "make.h"
#include <string.h>

static unsigned add(uint8_t *to, unsigned at, unsigned byte) {
  to[at] = (uint8_t)byte;
  return at + 1;
}

/* Legacy prefixes in random order (SDM vol. 2, 2.1.1: it has no meaning). */
static unsigned encode_prefixes(struct maker *m, const struct encoding *e, uint8_t *to) {
  uint8_t list[6];
  unsigned n = 0;
  unsigned mandatory = e->row->prefix >= 0x66 ? e->row->prefix : 0;
  if (e->lock) n = add(list, n, 0xf0);
  if (e->override) n = add(list, n, e->override);
  if (e->operand16 || mandatory == 0x66) n = add(list, n, 0x66);
  if (e->address16) n = add(list, n, 0x67);
  if (mandatory > 0x66) n = add(list, n, mandatory);
  else if (e->rep) n = add(list, n, e->rep);
  for (unsigned i = n; i > 1; i--) {
    unsigned k = random_below(&m->random, i);
    uint8_t swap = list[i - 1];
    list[i - 1] = list[k], list[k] = swap;
  }
  memcpy(to, list, n);
  return n;
}

unsigned encode(struct maker *m, const struct encoding *e, uint8_t *to) {
  unsigned n = encode_prefixes(m, e, to);
  if (e->row->map) n = add(to, n, 0x0f);
  if (e->row->map == 2) n = add(to, n, 0x38);
  if (e->row->map == 3) n = add(to, n, 0x3a);
  n = add(to, n, e->row->opcode);
  if (e->has_modrm) n = add(to, n, e->modrm);
  if (e->has_sib) n = add(to, n, e->sib);
  value_store(to + n, e->disp, e->disp_size), n += e->disp_size;
  memcpy(to + n, e->imm, e->imm_size);
  return n + e->imm_size;
}

unsigned encode_imm_size(const struct opcode_row *row, bool operand16, bool address16) {
  unsigned size = 0, whole = operand16 ? 2 : 4;
  for (unsigned i = 0; i < 3; i++) {
    const struct operand_info *o = row_operand(row, i);
    switch (o->class) {
    case OC_IMM:
    case OC_IMM_SIGNED:
    case OC_REL: size += o->width == SZ_B ? 1 : o->width == SZ_W ? 2 : whole; break;
    case OC_PTR: size += whole + 2; break;
    case OC_MOFFS: size += address16 ? 2 : 4; break;
    default: break;
    }
  }
  return size;
}
