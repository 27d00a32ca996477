/* What must be equal, and how a difference is shown. */
#include "case.h"
#include "monitor/vcpu.h"
#include <capstone/capstone.h>
#include <stdio.h>
#include <string.h>

static const char *const gpr_names[8] = {"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"};
static const char *const seg_names[6] = {"es", "cs", "ss", "ds", "fs", "gs"};
static const char *const end_names[] = {"exit", "fault", "no end", "triple fault", "monitor stopped"};
enum { SYSTEM_FLAGS = FLAG_DF | FLAG_IOPL | FLAG_NT | FLAG_AC | FLAG_ID | FLAG_TF | FLAG_IF | FLAG_VIF | FLAG_VIP | FLAG_VM };

/* FXSAVE image: what is compared. FOP, FIP, FDP and their selectors are each side's own. */
static const struct { const char *name; uint16_t offset, size; } fx_fields[] = {
  {"fcw", 0, 2}, {"fsw", 2, 2}, {"ftw", 4, 1}, {"mxcsr", 24, 4}, {"st0", 32, 10}, {"st1", 48, 10}, {"st2", 64, 10}, {"st3", 80, 10}, {"st4", 96, 10}, {"st5", 112, 10},
  {"st6", 128, 10}, {"st7", 144, 10}, {"xmm0", 160, 16}, {"xmm1", 176, 16}, {"xmm2", 192, 16}, {"xmm3", 208, 16}, {"xmm4", 224, 16}, {"xmm5", 240, 16}, {"xmm6", 256, 16},
  {"xmm7", 272, 16}};
enum { FX_FIELDS = sizeof fx_fields / sizeof *fx_fields };

static bool ignored(const struct isa_case *c, uint32_t offset) {
  for (unsigned i = 0; i < c->ignored_count; i++)
    if (offset - c->ignored[i].offset < c->ignored[i].size) return true;
  return false;
}

static const struct line *find_line(const struct outcome *o, uint32_t offset) {
  for (unsigned i = 0; i < o->line_count; i++)
    if (o->lines[i].offset == offset) return &o->lines[i];
  return NULL;
}

/* A line that the other side has not changed is compared with the background. */
static bool lines_differ(const struct isa_case *c, const struct line *a, const struct outcome *other, const uint8_t *background, uint32_t *where) {
  const struct line *found = find_line(other, a->offset);
  const uint8_t *b = found ? found->bytes : background + a->offset;
  for (unsigned k = 0; k < LINE; k++) {
    *where = a->offset + k;
    if (a->bytes[k] != b[k] && !ignored(c, *where)) return true;
  }
  return false;
}

static bool memory_differs(const struct isa_case *c, const struct outcome *n, const struct outcome *g, const uint8_t *background, uint32_t *where) {
  *where = 0;
  if (n->overflowed != g->overflowed) return true;
  for (unsigned i = 0; i < n->line_count; i++)
    if (lines_differ(c, &n->lines[i], g, background, where)) return true;
  for (unsigned i = 0; i < g->line_count; i++)
    if (!find_line(n, g->lines[i].offset) && lines_differ(c, &g->lines[i], n, background, where)) return true;
  return false;
}

static bool strayed(const struct isa_case *c, const struct outcome *o) { return c->may_stray && o->end == END_FAULT && o->eip - c->code_at >= c->code_size; }

static const char *compare_ends(const struct isa_case *c, const struct outcome *n, const struct outcome *g, char *text, size_t size) {
  if (n->end != g->end) { snprintf(text, size, "%s on the host, %s here", end_names[n->end], end_names[g->end]); return text; }
  if (n->end == END_HANG) return NULL;               /* neither ended */
  if (n->end == END_EXIT) {
    if (n->exit == g->exit) return NULL;
    snprintf(text, size, "exit %u on the host, %u here", n->exit, g->exit);
    return text;
  }
  bool page = n->vector == VEC_PF, far_off = n->cr2 - g->cr2 > c->cr2_slack && g->cr2 - n->cr2 > c->cr2_slack;
  if (c->vector_choice && n->vector != VEC_DB) return n->eip == g->eip ? NULL : "eip";
  if (n->vector != g->vector) snprintf(text, size, "vector %u on the host, %u here", n->vector, g->vector);
  else if (n->error != g->error && !(page && c->cr2_slack && n->cr2 != g->cr2)) snprintf(text, size, "error code %x on the host, %x here", n->error, g->error);
  else if (page && far_off) snprintf(text, size, "cr2 %08x on the host, %08x here", n->cr2, g->cr2);
  else if (n->eip != g->eip) snprintf(text, size, "eip %08x on the host, %08x here", n->eip, g->eip);
  else if (n->selector[SEG_CS] != g->selector[SEG_CS]) snprintf(text, size, "cs %x on the host, %x here", n->selector[SEG_CS], g->selector[SEG_CS]);
  else return NULL;
  return text;
}

static uint32_t flags_mask(const struct isa_case *c, const struct outcome *n, bool exact_flags) {
  if (n->end == END_EXIT) return SYSTEM_FLAGS | c->flags_compared;
  return SYSTEM_FLAGS | (c->rf_ignored ? 0 : FLAG_RF) | (exact_flags ? n->eip == c->start ? (uint32_t)FLAGS_ARITH : c->fault_flags : 0);
}

static const char *compare_registers(const struct isa_case *c, const struct outcome *n, const struct outcome *g, bool exact_flags, char *text, size_t size) {
  for (unsigned i = 0; i < 8; i++) {
    if (!((n->gpr[i] ^ g->gpr[i]) & ~c->gpr_ignored[i])) continue;
    snprintf(text, size, "%s %08x on the host, %08x here", gpr_names[i], n->gpr[i], g->gpr[i]);
    return text;
  }
  uint32_t flags = (n->eflags ^ g->eflags) & flags_mask(c, n, exact_flags);
  if (flags) { snprintf(text, size, "eflags %08x on the host, %08x here: differ in %x", n->eflags, g->eflags, flags); return text; }
  for (unsigned i = 0; i < 6; i++)
    if (i != SEG_CS && n->selector[i] != g->selector[i]) { snprintf(text, size, "%s %x on the host, %x here", seg_names[i], n->selector[i], g->selector[i]); return text; }
  return NULL;
}

enum { FX_FSW = 2, FX_FTW = 4, FX_ST = 32, FSW_TOP = 0x38 };

/* The image as it would be with TOP = 0: ST(i) is register TOP + i. */
static void forget_top(const uint8_t *image, uint8_t *to) {
  unsigned top = image[FX_FSW + 1] >> 3 & 7;
  memcpy(to, image, FX_SIZE);
  to[FX_FSW + 1] &= (uint8_t)~FSW_TOP;
  to[FX_FTW] = 0;                                    /* all valid, then */
  for (unsigned i = 0; i < 8; i++) memcpy(to + FX_ST + 16 * ((top + i) & 7), image + FX_ST + 16 * i, 16);
}

static const char *compare_fx(const struct isa_case *c, const struct outcome *n, const struct outcome *g) {
  uint8_t a[FX_SIZE], b[FX_SIZE];
  const uint8_t *host = n->fx, *here = g->fx;
  if (c->fault_top_ignored && n->end == END_FAULT) forget_top(n->fx, a), forget_top(g->fx, b), host = a, here = b;
  for (unsigned i = 0; i < FX_FIELDS; i++)
    if (memcmp(host + fx_fields[i].offset, here + fx_fields[i].offset, fx_fields[i].size)) return fx_fields[i].name;
  return NULL;
}

static bool faulted_first(const struct isa_case *c, const struct outcome *o) { return o->end == END_FAULT && o->eip == c->start && o->vector != VEC_DB; }

/* Only one side faulted, and the manual leaves that open. */
static bool tolerated(const struct isa_case *c, const struct outcome *n, const struct outcome *g) {
  bool host = faulted_first(c, n), here = faulted_first(c, g);
  return (c->store_may_be_skipped && here && !host) || (c->fault_may_be_missed && host && !here);
}

const char *outcome_compare(const struct isa_case *c, const struct outcome *n, const struct outcome *g, const uint8_t *background, bool exact_flags, char *text, size_t size) {
  if ((strayed(c, n) && strayed(c, g)) || tolerated(c, n, g)) return NULL;
  const char *differ = compare_ends(c, n, g, text, size);
  if (differ || n->end != g->end || n->end == END_HANG || n->vector != g->vector) return differ;
  bool fault = n->end == END_FAULT;
  if (!(c->fault_registers_ignored && fault)) differ = compare_registers(c, n, g, exact_flags, text, size);
  if (!differ) differ = compare_fx(c, n, g);
  if (differ) return differ;
  uint32_t where;
  if (!(c->fault_memory_ignored && fault) && memory_differs(c, n, g, background, &where)) { snprintf(text, size, "memory at %08x", c->region + where); return text; }
  return NULL;
}

/* ---- sabotage -------------------------------------------------------------------------------------------------- */

bool outcome_damage(const struct isa_case *c, const struct outcome *n, struct outcome *out, uint64_t random) {
  if (strayed(c, n) || c->store_may_be_skipped || c->fault_may_be_missed || n->end == END_HANG) return false;
  unsigned which = random % 8, bit = random >> 8 & 31;
  bool tolerant = c->vector_choice || c->may_stray || c->fault_registers_ignored || c->fault_top_ignored || c->gpr_ignored[random >> 16 & 7];
  if (tolerant) which = 5;
  switch (which) {
  case 0: case 1: out->gpr[random >> 16 & 7] ^= 1u << bit; break;
  case 2: out->eflags ^= FLAG_DF; break;
  case 3: { unsigned f = (random >> 16) % FX_FIELDS; out->fx[fx_fields[f].offset + (random >> 32) % fx_fields[f].size] ^= 1 << (bit & 7); break; }
  case 4: out->selector[SEG_FS] ^= 8; break;
  case 5: if (out->end == END_FAULT) out->eip ^= 1u << bit, out->vector = 0xff; else out->exit ^= 1; break;
  case 6: if (out->end == END_FAULT) out->eip ^= 1u << bit; else out->end = END_FAULT; break;
  default:   /* a byte of memory where nothing is ignored; a line of its own if none was changed */
    if (c->ignored_count || c->fault_memory_ignored || !out->line_count) out->gpr[0] ^= 1;
    else out->lines[(random >> 16) % out->line_count].bytes[random >> 32 & 63] ^= 1 << (bit & 7);
  }
  return true;
}

/* ---- reports --------------------------------------------------------------------------------------------------- */

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
  for (unsigned i = 0; i < 8; i++) printf(" %s=%08x", gpr_names[i], gpr[i]);
  printf(" eflags=%08x", eflags);
  for (unsigned i = 0; i < 6; i++) printf(" %s=%x", seg_names[i], selector[i]);
  printf("\n");
}

static void print_end(const char *name, const struct outcome *o) {
  printf("  %-7s", name);
  if (o->end == END_FAULT) printf(" vector %u, error code %x, cr2 %08x, eip %08x\n", o->vector, o->error, o->cr2, o->eip);
  else if (o->end == END_EXIT) printf(" exit %u\n", o->exit);
  else printf(" %s\n", end_names[o->end]);
}

static void print_bytes(const uint8_t *p, unsigned n) {
  for (unsigned i = n; i-- > 0;) printf("%02x", p[i]);
}

static void print_fx(const struct isa_case *c, const struct outcome *n, const struct outcome *g) {
  for (unsigned i = 0; i < FX_FIELDS; i++) {
    unsigned at = fx_fields[i].offset, size = fx_fields[i].size;
    bool differs = memcmp(n->fx + at, g->fx + at, size) != 0;
    if (!differs && memcmp(n->fx + at, c->fx + at, size) == 0 && i > 3) continue;
    printf("  %-7s before ", fx_fields[i].name);
    print_bytes(c->fx + at, size), printf("  host "), print_bytes(n->fx + at, size), printf("  here "), print_bytes(g->fx + at, size);
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
