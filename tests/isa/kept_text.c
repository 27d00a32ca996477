/* A case as text: what tests/fuzz/isa writes when it has found and made small a divergence, and what kept.c reads for ever after.
 *
 *   code_at 13581080        start, subject, region, eflags, flags, fault_flags, cr2_slack, background: one number each
 *   (hexadecimal) code 8b 03 ...          bytes; may be repeated, as may be what follows
 *   exit 0 13581082         its number and where it is
 *   gpr 0 0 ...             eight, by number; selector: six
 *   fx 20 00 80 ...         offset in the FXSAVE image, bytes; the rest is zero
 *   memory 104 11 22 ...    offset in the data pages, bytes
 *   ignored 104 8           memory that is not compared
 *   allow vector_choice     members of struct isa_case that are true */
#include "case.h"
#include "values.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* X(member) */
#define NUMBERS(X) \
  X(code_at) \
  X(start) \
  X(subject) \
  X(region) \
  X(eflags) \
  X(flags_compared) \
  X(fault_flags) \
  X(cr2_slack)
#define CHOICES(X) \
  X(is_sequence) \
  X(fault_memory_ignored) \
  X(rf_ignored) \
  X(fault_registers_ignored) \
  X(fault_top_ignored) \
  X(vector_choice) \
  X(fault_may_be_missed) \
  X(ac_choice) \
  X(rep_flags_choice) \
  X(frame_choice) \
  X(lock_choice) \
  X(ud_choice) \
  X(may_stray) \
  X(store_may_be_skipped)

/* ---- writing --------------------------------------------------------------------------------------------------- */

static void write_bytes(FILE *f, const uint8_t *bytes, unsigned n) {
  for (unsigned i = 0; i < n; i++) fprintf(f, " %02x", bytes[i]);
  fputc('\n', f);
}

/* Lines of sixteen that are not all zero. */
static void write_fx(FILE *f, const uint8_t *fx) {
  static const uint8_t zero[16];
  for (unsigned i = 0; i < FX_SIZE; i += 16)
    if (memcmp(fx + i, zero, 16)) fprintf(f, "fx %x", i), write_bytes(f, fx + i, 16);
}

static void write_lists(FILE *f, const struct isa_case *c) {
  fprintf(f, "gpr");
  for (unsigned i = 0; i < 8; i++) fprintf(f, " %x", c->gpr[i]);
  fprintf(f, "\ngpr_ignored");
  for (unsigned i = 0; i < 8; i++) fprintf(f, " %x", c->gpr_ignored[i]);
  fprintf(f, "\nselector");
  for (unsigned i = 0; i < 6; i++) fprintf(f, " %x", c->selector[i]);
  fputc('\n', f);
  for (unsigned i = 0; i < MAX_EXITS; i++)
    if (c->exit_at[i]) fprintf(f, "exit %x %x\n", i, c->exit_at[i]);
  for (unsigned i = 0; i < c->patch_count; i++)
    fprintf(f, "memory %x", c->patches[i].offset), write_bytes(f, c->pool + c->patches[i].at, c->patches[i].size);
  for (unsigned i = 0; i < c->ignored_count; i++) fprintf(f, "ignored %x %x\n", c->ignored[i].offset, c->ignored[i].size);
}

bool kept_write(const char *path, const struct isa_case *c, const char *comment) {
  FILE *f = fopen(path, "w");
  if (!f) return false;
  for (const char *line = comment; *line; line += strcspn(line, "\n"), line += *line == '\n')
    fprintf(f, "# %.*s\n", (int)strcspn(line, "\n"), line);
#define WRITE_NUMBER(member) fprintf(f, #member " %x\n", c->member);
  NUMBERS(WRITE_NUMBER)
#undef WRITE_NUMBER
  fprintf(f, "background %llx\ncode", (unsigned long long)c->background);
  write_bytes(f, c->code, c->code_size);
  write_lists(f, c);
  write_fx(f, c->fx);
#define WRITE_CHOICE(member) \
  if (c->member) fprintf(f, "allow " #member "\n");
  CHOICES(WRITE_CHOICE)
#undef WRITE_CHOICE
  return fclose(f) == 0;
}

/* ---- reading --------------------------------------------------------------------------------------------------- */

/* Hexadecimal numbers up to the line's end; how many. */
static unsigned read_numbers(const char *text, uint32_t *to, unsigned most) {
  unsigned n = 0;
  for (char *end; n < most; text = end) {
    unsigned long v = strtoul(text, &end, 16);
    if (end == text) break;
    to[n++] = (uint32_t)v;
  }
  return n;
}

static bool read_list(struct isa_case *c, const char *key, const uint32_t *v, unsigned n) {
  if (!strcmp(key, "code")) {
    if (c->code_size + n > MAX_CODE) return false;
    for (unsigned i = 0; i < n; i++) c->code[c->code_size++] = (uint8_t)v[i];
  } else if (!strcmp(key, "gpr") && n == 8) memcpy(c->gpr, v, sizeof c->gpr);
  else if (!strcmp(key, "gpr_ignored") && n == 8) memcpy(c->gpr_ignored, v, sizeof c->gpr_ignored);
  else if (!strcmp(key, "selector") && n == 6)
    for (unsigned i = 0; i < 6; i++) c->selector[i] = (uint16_t)v[i];
  else if (!strcmp(key, "exit") && n == 2 && v[0] < MAX_EXITS) c->exit_at[v[0]] = v[1];
  else if (!strcmp(key, "fx") && n && v[0] + n - 1 <= FX_SIZE)
    for (unsigned i = 1; i < n; i++) c->fx[v[0] + i - 1] = (uint8_t)v[i];
  else if (!strcmp(key, "ignored") && n == 2 && c->ignored_count < MAX_IGNORED)
    c->ignored[c->ignored_count++] = (struct span){v[0], v[1]};
  else if (!strcmp(key, "memory") && n && c->patch_count < MAX_PATCHES && c->pool_used + n - 1 <= PATCH_POOL) {
    c->patches[c->patch_count++] = (struct patch){(uint16_t)v[0], (uint16_t)(n - 1), (uint16_t)c->pool_used};
    for (unsigned i = 1; i < n; i++) c->pool[c->pool_used++] = (uint8_t)v[i];
  } else return false;
  return true;
}

static bool read_choice(struct isa_case *c, const char *name) {
#define READ_CHOICE(member) \
  if (!strcmp(name, #member)) { \
    c->member = true; \
    return true; \
  }
  CHOICES(READ_CHOICE)
#undef READ_CHOICE
  return false;
}

static bool read_line(struct isa_case *c, char *line) {
  enum { MOST = 1024 };
  uint32_t v[MOST];
  char *rest = line + strcspn(line, " ");
  if (*rest) *rest++ = 0;
  if (!strcmp(line, "allow")) return read_choice(c, rest);
  if (!strcmp(line, "background")) {
    c->background = strtoull(rest, NULL, 16);
    return true;
  }
  unsigned n = read_numbers(rest, v, MOST);
#define READ_NUMBER(member) \
  if (!strcmp(line, #member)) { \
    c->member = v[0]; \
    return n == 1; \
  }
  NUMBERS(READ_NUMBER)
#undef READ_NUMBER
  return read_list(c, line, v, n);
}

/* The sin is the file's name. */
static void set_name(struct isa_case *c, const char *path) {
  const char *slash = strrchr(path, '/');
  case_set_name(c, slash ? slash + 1 : path);
  c->name[strcspn(c->name, ".")] = 0;
}

bool kept_read(const char *path, struct isa_case *c) {
  char line[8192];
  bool good = true;
  FILE *f = fopen(path, "r");
  if (!f) return false;
  memset(c, 0, sizeof *c);
  while (good && fgets(line, sizeof line, f)) {
    line[strcspn(line, "\n")] = 0;
    if (line[0] && line[0] != '#') good = read_line(c, line);
  }
  fclose(f);
  c->is_kept = true;
  set_name(c, path);
  return good && c->code_size;
}
