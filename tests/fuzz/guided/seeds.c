/* Writes first inputs for the targets of this folder that follow from bt itself: an instruction for each row of the opcode table,
 * the snippets of tests/expect, one change for each field of a saved state; and what -help prints, for make-seeds.
 *
 *   guided_seeds FOLDER      FOLDER/TARGET must be there */
#include "states.h"
#include <unistd.h>
#include "bt/options/options.h"
#include "tests/unit/translate_rig.h"

extern const struct expect_row {
  const char *name;
  const uint8_t *start, *end;
  uint64_t variant;
} expect_rows[]; /* snippets.S */

static const char *folder;
static void write_seed(const char *target, const char *name, const void *bytes, size_t size) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s/%s", folder, target, name);
  FILE *f = fopen(path, "wb");
  if (!f || fwrite(bytes, 1, size, f) != size || fclose(f)) exit((perror(path), 1));
}

/* ---- instructions ---- */

/* fuzz_decode.c and fuzz_translate.c say what stands before the instruction. */
static void write_code(const char *name, const uint8_t *code, size_t n, uint32_t mode, unsigned options) {
  uint8_t seed[600] = {mode & TR_CODE32 ? 1 : 0};
  memcpy(seed + 1, code, n < 15 ? n : 15);
  write_seed("decode", name, seed, 1 + (n < 15 ? n : 15));
  memset(seed, 0, 19);
  memcpy(seed, &mode, 4), memcpy(seed + 4, &options, 2);
  seed[14] = 0x04;
  memcpy(seed + 19, code, n);
  write_seed("translate", name, seed, 19 + n);
}

static unsigned encode(const struct opcode_row *r, unsigned modrm, uint8_t out[32]) {
  unsigned n = 0;
  if (r->prefix > 2) out[n++] = r->prefix;
  if (r->map) out[n++] = 0x0f;
  if (r->map > 1) out[n++] = r->map == 2 ? 0x38 : 0x3a;
  out[n++] = r->opcode;
  if (!r->modrm) return n;
  if (r->reg >= 0) modrm = (modrm & ~0x38u) | (unsigned)r->reg << 3;
  if (r->mod3 == 1) modrm |= 0xc0;
  if (r->mod3 == 0) modrm &= 0x7f;
  if (r->rm >= 0) modrm = (modrm & ~7u) | (unsigned)r->rm;
  out[n++] = (uint8_t)modrm;
  return n;
}

/* Each with a memory operand of another form, and with registers; four bytes of 11h to 44h as displacement and immediate. */
static void write_rows(void) {
  static const uint8_t forms[] = {0x03, 0x44, 0x85, 0xc1};
  unsigned count;
  const struct opcode_row *rows = insn_rows(&count);
  for (unsigned i = 1; i < count; i++)
    for (unsigned k = 0; k < (rows[i].modrm ? 2u : 1u); k++) {
      uint8_t code[32];
      char name[64];
      unsigned n = encode(&rows[i], k ? 0xc1 : forms[i % 3], code);
      memcpy(code + n, "\x11\x22\x33\x44\x05\x06\x07\x08", 8);
      snprintf(name, sizeof name, "row-%u-%u", i, k);
      write_code(name, code, n + 8, i % 4 ? RIG_FLAT : RIG_FLAT & ~(TR_CODE32 | TR_STACK32), TR_REAL_TSC);
    }
}

static void write_snippets(void) {
  for (const struct expect_row *row = expect_rows; row->name; row++) {
    char name[128];
    snprintf(name, sizeof name, "%s-%u", row->name, (unsigned)row->variant);
    write_code(name, row->start, (size_t)(row->end - row->start), RIG_FLAT,
               row->variant == 4   ? TR_COUNT
               : row->variant == 5 ? TR_EXACT_FLAGS
                                   : TR_REAL_TSC);
  }
}

/* ---- saved states ---- */

static void write_state(const char *name, unsigned guest, const uint8_t *change, size_t n) {
  uint8_t seed[64] = {(uint8_t)guest};
  memcpy(seed + 1, change, n);
  write_seed("snapshot", name, seed, 1 + n);
}

/* Each field with the value that it has, and with its lowest bit turned. */
static void write_fields(void) {
  const struct state_base *b = state_base(0);
  for (unsigned i = 0; i < b->field_count; i++) {
    const struct state_field *f = &b->fields[i];
    size_t n = f->size > 16 ? 16 : f->size;
    uint8_t change[32] = {CHANGE_FIELD, (uint8_t)f->hash, (uint8_t)(f->hash >> 8), 0, (uint8_t)(n - 1)};
    char name[64];
    if (!n || !f->count) continue;
    for (unsigned turned = 0; turned < 2; turned++) {
      memcpy(change + 5, b->saved.bytes + f->offset, n);
      change[5] ^= (uint8_t)turned;
      snprintf(name, sizeof name, "field-%u-%u", i, turned);
      write_state(name, i % STATE_GUESTS, change, 5 + n);
    }
  }
  write_state("page", 0, (const uint8_t[]){CHANGE_PAGE, 0xff, 3, 0, 0, 0xf4}, 6);
  write_state("cut", 1, (const uint8_t[]){CHANGE_CUT, 3, 0}, 3);
  write_state("byte", 2, (const uint8_t[]){CHANGE_BYTE, 17, 0, 'x'}, 4);
  write_state("unsealed", 2, (const uint8_t[]){CHANGE_UNSEAL}, 1);
}

int main(int argc, char **argv) {
  if (argc != 2) return fprintf(stderr, "usage: guided_seeds FOLDER\n"), 1;
  folder = argv[1];
  write_rows();
  write_snippets();
  write_fields();
  options_print_help(stdout);
  return 0;
}
