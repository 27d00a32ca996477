/* Cases as text: what --dump and --minimise write and tests/fuzz/kept holds. One line an axis ("icount 3"), one a patch ("at
 * 10000 90 90"); # begins a comment. What is not named is 0, RAM 4 MiB, -cpu max. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "case.h"

/* X(member, printf format) */
#define NUMBERS(X) \
  X(ram_mib) \
  X(icount) \
  X(limit) \
  X(nmi) \
  X(code_size) \
  X(flush_every) \
  X(paranoid) \
  X(jitter) \
  X(one_insn) \
  X(no_chain) \
  X(exact_flags) \
  X(no_reboot) \
  X(acpi) \
  X(without) \
  X(log) \
  X(storm) \
  X(save) \
  X(parts) \
  X(stops) \
  X(host)

void case_print(const struct fuzz_case *c, FILE *out) {
#define PRINT(member) \
  if (c->member) fprintf(out, #member " %lld\n", (long long)c->member);
  NUMBERS(PRINT)
#undef PRINT
  fprintf(out, "cpu %s\n", c->cpu);
  for (unsigned i = 0; i < c->count; i++) {
    fprintf(out, "at %" PRIx32, c->patches[i].at);
    for (unsigned k = 0; k < c->patches[i].size; k++) fprintf(out, " %02x", c->patches[i].bytes[k]);
    fputc('\n', out);
  }
}

static bool read_patch(struct fuzz_case *c, char *text) {
  uint8_t bytes[PATCH_SIZE];
  unsigned n = 0;
  char *end;
  unsigned long at = strtoul(text, &end, 16);
  if (end == text || at > 0xffffffff) return false;
  for (text = end; n < sizeof bytes; text = end) {
    unsigned long v = strtoul(text, &end, 16);
    if (end == text) break;
    if (v > 255) return false;
    bytes[n++] = (uint8_t)v;
  }
  if (text[strspn(text, " \t\n")]) return false;
  case_add(c, (uint32_t)at, bytes, n);
  return true;
}

static bool read_line(struct fuzz_case *c, char *line) {
  char word[32];
  int used = 0;
  line[strcspn(line, "#\n")] = 0;
  if (sscanf(line, "%31s %n", word, &used) != 1) return true;
  char *value = line + used;
  if (!strcmp(word, "at")) return read_patch(c, value);
  if (!strcmp(word, "cpu")) return sscanf(value, "%63s", c->cpu) == 1;
#define READ(member) \
  if (!strcmp(word, #member)) { \
    c->member = (typeof(c->member))strtoll(value, NULL, 0); \
    return true; \
  }
  NUMBERS(READ)
#undef READ
  return false;
}

bool case_read(struct fuzz_case *c, FILE *in) {
  char line[1024];
  *c = (struct fuzz_case){.ram_mib = 4, .cpu = "max"};
  while (fgets(line, sizeof line, in))
    if (!read_line(c, line)) {
      fprintf(stderr, "not a line of a case: %s\n", line);
      return false;
    }
  return c->ram_mib >= 2 && c->ram_mib <= 64;
}
