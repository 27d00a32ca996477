/* How a case and its two outcomes are shown. */
#include "compare.h"
#include <capstone/capstone.h>
#include <stdio.h>
#include <string.h>

static void print_code(const struct isa_case *c) {
  csh handle;
  cs_insn *list = NULL;
  printf("  code at %08x, EIP %08x:", c->code_at, c->start);
  for (unsigned i = 0; i < c->code_size; i++) printf(" %02x", c->code[i]);
  printf("\n");
  if (cs_open(CS_ARCH_X86, CS_MODE_32, &handle) != CS_ERR_OK) return;
  cs_option(handle, CS_OPT_SKIPDATA, CS_OPT_ON);
  size_t n = cs_disasm(handle, c->code, c->code_size, c->code_at, 0, &list);
  for (size_t i = 0; i < n; i++) printf("    %08x  %s %s\n", (uint32_t)list[i].address, list[i].mnemonic, list[i].op_str);
  if (list) cs_free(list, n);
  cs_close(&handle);
  for (unsigned i = 0; i < MAX_EXITS; i++)
    if (c->exit_at[i]) printf("    %08x  exit %u\n", c->exit_at[i], i);
}

static void print_line(const char *name, const uint32_t *gpr, uint32_t eflags, const uint16_t *selector) {
  printf("  %-7s", name);
  for (unsigned i = 0; i < 8; i++) printf(" %s=%08x", compare_gpr_names[i], gpr[i]);
  printf(" eflags=%08x", eflags);
  for (unsigned i = 0; i < 6; i++) printf(" %s=%x", compare_seg_names[i], selector[i]);
  printf("\n");
}

static void print_end(const char *name, const struct outcome *o) {
  printf("  %-7s", name);
  if (o->end == END_FAULT) printf(" vector %u, error code %x, cr2 %08x, eip %08x\n", o->vector, o->error, o->cr2, o->eip);
  else if (o->end == END_EXIT) printf(" exit %u\n", o->exit);
  else printf(" %s\n", compare_end_names[o->end]);
}

static void print_bytes(const uint8_t *p, unsigned n) {
  for (unsigned i = n; i-- > 0;) printf("%02x", p[i]);
}

static void print_fx(const struct isa_case *c, const struct outcome *n, const struct outcome *g) {
  for (unsigned i = 0; i < FX_FIELDS; i++) {
    unsigned at = compare_fx_fields[i].offset, size = compare_fx_fields[i].size;
    bool differs = memcmp(n->fx + at, g->fx + at, size) != 0;
    if (!differs && memcmp(n->fx + at, c->fx + at, size) == 0 && i > 3) continue;
    printf("  %-7s before ", compare_fx_fields[i].name);
    print_bytes(c->fx + at, size), printf("  host "), print_bytes(n->fx + at, size), printf("  here "),
      print_bytes(g->fx + at, size);
    printf("%s\n", differs ? "  <--" : "");
  }
}

static void print_memory(const struct isa_case *c, const char *name, const struct outcome *o) {
  for (unsigned i = 0; i < o->line_count; i++) {
    printf("  %-7s %08x:", name, c->region + o->lines[i].offset);
    for (unsigned k = 0; k < LINE; k++) printf("%s%02x", k % 4 ? "" : " ", o->lines[i].bytes[k]);
    printf("\n");
  }
}

void outcome_report(const struct isa_case *c, const struct outcome *n, const struct outcome *g) {
  print_code(c);
  print_line("before", c->gpr, c->eflags, c->selector);
  print_line("host", n->gpr, n->eflags, n->selector);
  print_line("here", g->gpr, g->eflags, g->selector);
  print_end("host", n);
  print_end("here", g);
  print_fx(c, n, g);
  for (unsigned i = 0; i < c->patch_count; i++) {
    printf("  before  %08x:", c->region + c->patches[i].offset);
    for (unsigned k = 0; k < c->patches[i].size && k < 64; k++) printf("%s%02x", k % 4 ? "" : " ", c->pool[c->patches[i].at + k]);
    printf("\n");
  }
  print_memory(c, "host", n);
  print_memory(c, "here", g);
}
