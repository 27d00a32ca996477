// link: bt_translator
// sources: tests/expect/snippets.S
/* Guest code and what must become of it (tests/expect): the host instructions of the hot path, one by one. Worse code shows here
 * without a clock; better code, too - then look at the difference and write it down:
 *   build/unit/test_expect --write >tests/expect/expected.txt
 * Run only this: build/unit/test_expect; show one row: build/unit/test_expect NAME. */
#include <setjmp.h>
#include <stdarg.h>
#include "translate_rig.h"
#include <cmocka.h>

/* the last has no name */
extern const struct expect_row {
  const char *name;
  const uint8_t *start, *end;
  uint64_t variant;
} expect_rows[];

/* In the order of snippets.S. */
#define GS_BASED ((uint32_t)(TR_SEG_FLAT ^ TR_SEG_BASED) << (TR_SEG_SHIFT + 2 * SEG_GS))
#define DS_LIMITED ((uint32_t)(TR_SEG_FLAT ^ TR_SEG_LIMITED) << (TR_SEG_SHIFT + 2 * SEG_DS))
static const struct variant {
  const char *name;
  uint32_t mode;
  unsigned options;
} variants[] = {
  {"", RIG_FLAT, TR_REAL_TSC},
  {"user", (RIG_FLAT & ~TR_IOPL_OK) | TR_USER, TR_REAL_TSC},
  {"based GS", RIG_FLAT ^ GS_BASED, TR_REAL_TSC},
  {"limited DS", RIG_FLAT ^ DS_LIMITED, TR_REAL_TSC},
  {"counted", RIG_FLAT, TR_COUNT},
  {"exact flags", RIG_FLAT, TR_REAL_TSC | TR_EXACT_FLAGS},
  {"without all", RIG_FLAT,
   TR_REAL_TSC | TR_NO_WINDOWS | TR_NO_HOIST | TR_NO_FOLD | TR_NO_LIVENESS | TR_NO_STRINGS | TR_NO_HASH | TR_NO_LOOPS |
     TR_NO_ADDENDS | TR_NO_STACK_PAGE | TR_NO_FALLTHROUGH},
  {"stepped", RIG_FLAT | TR_STEP, TR_REAL_TSC},
  {"DF set", RIG_FLAT | TR_DOWN, TR_REAL_TSC},
};

/* MOV EBX, [ESP]; RET in the blocks' page and in another one. */
static const uint8_t *thunk_at(void *opaque, uint32_t linear, uint32_t size, uint32_t *frame) {
  static const uint8_t thunk[] = {0x8b, 0x1c, 0x24, 0xc3};
  *frame = linear >> 12;
  return linear == RIG_EIP + 0x90 || linear == RIG_EIP + 0x3000 ? thunk : NULL;
}

enum { TEXT = 1 << 16 };
struct text {
  char s[TEXT];
  size_t size;
};
__attribute__((format(printf, 2, 3))) static void put(struct text *t, const char *format, ...) {
  va_list a;
  va_start(a, format);
  int n = vsnprintf(t->s + t->size, TEXT - t->size, format, a);
  va_end(a);
  assert_true(n >= 0 && t->size + (size_t)n < TEXT);
  t->size += (size_t)n;
}

/* Offsets of struct tr_state by name, so that a new member changes no line. */
static const struct {
  const char *name;
  size_t offset, size;
} members[] = {
#define MEMBER(m) \
  { #m, offsetof(struct tr_state, m), sizeof((struct tr_state *)0)->m }
  MEMBER(flags),         MEMBER(if_flag),    MEMBER(sys_flags), MEMBER(irq_pending), MEMBER(site),
  MEMBER(refill_budget), MEMBER(tsc_aux),    MEMBER(mode_key),  MEMBER(tsc_offset),  MEMBER(insns_left),
  MEMBER(stack_page),    MEMBER(stack_host), MEMBER(scratch),   MEMBER(windows),     MEMBER(exit_linear),
  MEMBER(seg),           MEMBER(seg_raw),    MEMBER(gdt_host),  MEMBER(ivt_host),    MEMBER(cs_key),
};
static void put_state(struct text *t, uint32_t offset) {
  for (unsigned i = 0; i < sizeof members / sizeof *members; i++) {
    if (offset < members[i].offset || offset >= members[i].offset + members[i].size) continue;
    put(t, "[state.%s", members[i].name);
    if (offset > members[i].offset) put(t, "+0x%zx", offset - members[i].offset);
    put(t, "]");
    return;
  }
  put(t, "[r13+0x%x]", offset);
}

/* One host instruction; branches lead to a line of the hot path, to "cold" or out. */
static void put_insn(struct text *t, const struct translation *tr, const struct host_text *h, const struct host_insn *i) {
  static const char state[] = "[r13+0x";
  ZydisFormatter f;
  char line[160], *at;
  ZydisFormatterInit(&f, ZYDIS_FORMATTER_STYLE_INTEL);
  ZydisFormatterSetProperty(&f, ZYDIS_FORMATTER_PROP_FORCE_SIZE, ZYAN_FALSE);
  ZydisFormatterSetProperty(&f, ZYDIS_FORMATTER_PROP_HEX_UPPERCASE, ZYAN_FALSE);
  ZydisFormatterSetProperty(&f, ZYDIS_FORMATTER_PROP_ADDR_PADDING_ABSOLUTE, ZYDIS_PADDING_DISABLED);
  ZydisFormatterSetProperty(&f, ZYDIS_FORMATTER_PROP_DISP_PADDING, ZYDIS_PADDING_DISABLED);
  ZydisFormatterSetProperty(&f, ZYDIS_FORMATTER_PROP_IMM_PADDING, ZYDIS_PADDING_DISABLED);
  assert_true(
    ZYAN_SUCCESS(ZydisFormatterFormatInstruction(&f, &i->i, i->op, i->i.operand_count_visible, line, sizeof line, 0, NULL)));
  put(t, "  ");
  if (i->branch) {
    *strchr(line, ' ') = 0;
    if (host_is_exit(i)) put(t, "%s exit", line);
    else if (i->target >= RIG_COLD) put(t, "%s cold", line);
    else
      for (unsigned n = 0; n < h->count; n++)
        if (h->insn[n].at == i->target) put(t, "%s #%u", line, n);
  } else if ((at = strstr(line, state))) {
    put(t, "%.*s", (int)(at - line), line);
    put_state(t, (uint32_t)strtoul(at + sizeof state - 1, &at, 16));
    put(t, "%s", at + 1);
  } else if (i->i.mnemonic == ZYDIS_MNEMONIC_PUSH && i->op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
    put(t, "push %s", tr_site_name(tr->rq.sites[i->op[0].imm.value.u - RIG_FIRST_SITE].kind));
  } else put(t, "%s", line);
  put(t, "\n");
}

static void put_row(struct text *t, struct translation *tr, const struct expect_row *row) {
  static struct host_text h;
  const struct variant *v = &variants[row->variant];
  unsigned size = (unsigned)(row->end - row->start), hot = 0;
  uint32_t at;
  tr->rq.mode.bits = v->mode, tr->rq.options = v->options, tr->rq.code_at = thunk_at;
  translation_run(tr, row->start, size, 0);
  assert_true(tr->r.guest_size == size || (v->mode & TR_STEP));
  assert_true(host_decode(tr, &h, &at));
  while (hot < h.count && h.insn[hot].at < RIG_COLD) hot++;
  put(t, "%s%s%s%s: %u guest, %u hot, %u cold\n", row->name, *v->name ? " (" : "", v->name, *v->name ? ")" : "", tr->r.insns, hot,
      h.count - hot);
  for (unsigned i = 0; i < hot; i++) put_insn(t, tr, &h, &h.insn[i]);
}

static char *read_expected(void) {
  FILE *f = fopen("tests/expect/expected.txt", "r");
  char *all = calloc(1, TEXT * 4);
  assert_non_null(all);
  if (!f) fail_msg("tests/expect/expected.txt: not found; run this from the top of the tree");
  assert_true(fread(all, 1, TEXT * 4 - 1, f) > 0);
  fclose(f);
  return all;
}

static void as_expected(void **state) {
  struct translation tr;
  char *all = read_expected(), *next = all;
  unsigned wrong = 0;
  translation_make(&tr);
  for (const struct expect_row *row = expect_rows; row->name; row++) {
    struct text *t = calloc(1, sizeof *t);
    assert_non_null(t);
    put_row(t, &tr, row);
    size_t expected = strlen(next);
    for (char *line = strchr(next, '\n'); line; line = strchr(line + 1, '\n'))
      if (line[1] != ' ') {
        expected = (size_t)(line + 1 - next);
        break;
      }
    if (expected != t->size || memcmp(next, t->s, t->size))
      fprintf(stderr, "expected %.*snow      %s\n", (int)expected, next, t->s), wrong++;
    next += expected;
    free(t);
  }
  assert_int_equal(*next, 0);
  translation_free(&tr);
  free(all);
  if (wrong) fail_msg("%u rows are translated otherwise than expected", wrong);
}

static int show(const char *name) {
  static struct text t;
  struct translation tr;
  translation_make(&tr);
  for (const struct expect_row *row = expect_rows; row->name; row++)
    if (!name || !strcmp(row->name, name)) t.size = 0, put_row(&t, &tr, row), fputs(t.s, stdout);
  translation_free(&tr);
  return 0;
}

int main(int argc, char **argv) {
  if (argc > 1) return show(strcmp(argv[1], "--write") ? argv[1] : NULL);
  const struct CMUnitTest tests[] = {cmocka_unit_test(as_expected)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
