// The monitor's pure parts: the line that is typed, expressions, arguments. Run only this: build/unit/test_control_parse
// sources: bt/control/text.c bt/control/editor.c bt/control/expression.c bt/control/arguments.c
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <stdio.h>
#include "bt/control/command.h"
#include "bt/control/editor.h"
#include "bt/control/expression.h"

/* ---- a terminal of one line, to see what the editor shows ---- */

struct screen {
  char line[256];
  unsigned length, at;
};
static void show(struct screen *s, const struct text *out) {
  for (const char *c = text_string(out); *c; c++) {
    unsigned n = 0;
    if (*c == '\n') *s = (struct screen){0};
    else if (*c != '\033') {
      s->line[s->at++] = *c;
      if (s->at > s->length) s->length = s->at;
    } else {
      for (c += 2; *c >= '0' && *c <= '9'; c++) n = n * 10 + (unsigned)(*c - '0');
      if (*c == 'D') s->at -= n;
      else if (*c == 'C') s->at += n;
      else if (*c == 'K') s->length = s->at;
      else fail_msg("an escape that no terminal is told: %c", *c);
    }
    s->line[s->length] = 0;
  }
}
static void type(struct editor *e, struct screen *s, const char *keys) {
  struct text out = {0};
  for (; *keys; keys++)
    if (editor_feed(e, (uint8_t)*keys, &out)) editor_next(e, &out);
  show(s, &out);
  text_free(&out);
}
#define UP "\033[A"
#define DOWN "\033[B"
#define RIGHT "\033[C"
#define LEFT "\033[D"

static void line_is_edited_as_it_is_shown(void **state) {
  static const struct {
    const char *keys, *line;
    unsigned cursor;
  } rows[] = {
    {"abc", "abc", 3},
    {"abc\b", "ab", 2},
    {"abc\x7f\x7f\x7f\x7f", "", 0},
    {"abc" LEFT LEFT "x", "axbc", 2},
    {"abc\x01x", "xabc", 1},
    {"abc\x01\x05x", "abcx", 4},
    {"abc\033[Hx\033[Fy", "xabcy", 5},
    {"abc\033OHx\033OFy", "xabcy", 5},
    {"abc\033[1~x\033[4~y", "xabcy", 5},
    {"abc" LEFT "\033[3~", "ab", 2},
    {"abc" LEFT LEFT "\x04", "ac", 1},
    {"one two  \x17", "one ", 4},
    {"one two" LEFT "\x17", "one o", 4},
    {"one two\x15x", "x", 1},
    {"one two" LEFT LEFT "\x0b", "one t", 5},
    {"abc" RIGHT RIGHT, "abc", 3},
    {"abc\x03", "", 0},
    {"a\033zb", "ab", 2},
    {"a\033[5;9Rb", "ab", 2},
    {"a\033[1;2;3;4;5;6;7Ab", "ab", 2},
  };
  for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct editor e;
    struct screen s = {0};
    char expected[64];
    editor_init(&e, true, "> ");
    struct text out = {0};
    editor_show(&e, &out);
    show(&s, &out), text_free(&out);
    type(&e, &s, rows[i].keys);
    snprintf(expected, sizeof expected, "> %s", rows[i].line);
    if (strcmp(e.line, rows[i].line) || e.cursor != rows[i].cursor || strcmp(s.line, expected) || s.at != e.cursor + 2)
      fail_msg("row %u: '%s' at %u, shown '%s' at %u", i, e.line, e.cursor, s.line, s.at);
    editor_free(&e);
  }
}

static void history_goes_back_and_forth(void **state) {
  struct editor e;
  struct screen s = {0};
  editor_init(&e, true, "> ");
  type(&e, &s, "one\rtwo\ntwo\r\n\n");
  assert_int_equal(e.history_count, 2); /* empty lines and repeated ones are not kept, CR LF is one end */
  type(&e, &s, UP);
  assert_string_equal(e.line, "two");
  type(&e, &s, UP UP UP);
  assert_string_equal(e.line, "one");
  assert_string_equal(s.line, "> one");
  type(&e, &s, DOWN);
  assert_string_equal(e.line, "two");
  type(&e, &s, DOWN DOWN);
  assert_string_equal(e.line, "");
  for (int i = 0; i < 200; i++) {
    char line[16];
    snprintf(line, sizeof line, "%d\n", i);
    type(&e, &s, line);
  }
  assert_int_equal(e.history_count, EDITOR_HISTORY);
  type(&e, &s, UP);
  assert_string_equal(e.line, "199");
  editor_free(&e);
}

static void words(void *opaque, const char *line, struct text *out) {
  static const char *const all[] = {"stop", "system_powerdown", "system_reset", "x"};
  for (unsigned i = 0; i < 4; i++)
    if (!strncmp(all[i], line, strlen(line))) text_put(out, all[i], strlen(all[i]) + 1);
}
static void tab_completes(void **state) {
  struct editor e;
  struct screen s = {0};
  editor_init(&e, true, "> ");
  e.complete = words;
  type(&e, &s, "st\t");
  assert_string_equal(e.line, "stop ");
  type(&e, &s, "\x15sy\t");
  assert_string_equal(e.line, "system_");
  type(&e, &s, "\t"); /* two are left: they are listed, and the line is shown anew */
  assert_string_equal(e.line, "system_");
  assert_string_equal(s.line, "> system_");
  type(&e, &s, "r\t");
  assert_string_equal(e.line, "system_reset ");
  type(&e, &s, "\x15zz\t");
  assert_string_equal(e.line, "zz");
  editor_free(&e);
}

static void without_echo_nothing_is_shown(void **state) {
  struct editor e;
  struct text out = {0};
  editor_init(&e, false, "> ");
  for (const char *c = "info\tstatus\x01\033[A"; *c; c++) assert_false(editor_feed(&e, (uint8_t)*c, &out));
  assert_int_equal(out.size, 0);
  assert_string_equal(e.line, "info status[A");
  assert_true(editor_feed(&e, '\n', &out));
  assert_int_equal(out.size, 0);
  text_free(&out), editor_free(&e);
}

static void a_line_that_is_too_long_is_told(void **state) {
  struct editor e;
  struct text out = {0};
  editor_init(&e, false, "> ");
  for (int i = 0; i < 3 * EDITOR_LINE; i++) assert_false(editor_feed(&e, 'x', &out));
  assert_true(editor_feed(&e, '\n', &out));
  assert_true(e.too_long);
  editor_next(&e, &out);
  assert_false(e.too_long);
  assert_int_equal(e.history_count, 0);
  text_free(&out), editor_free(&e);
}

/* ---- expressions ---- */

static bool reg(void *opaque, const char *name, uint64_t *value) {
  *value = !strcmp(name, "eax") ? 0x1000 : 0x23;
  return !strcmp(name, "eax") || !strcmp(name, "cs.base");
}
static const struct expression_world world = {reg, NULL};

static void expressions_as_qemu(void **state) {
  static const struct {
    const char *text;
    int64_t value;
  } rows[] = {{"0x10", 16},
              {"10", 10},
              {"010", 8},
              {"'A'", 65},
              {"1+2*3", 7},
              {"(1+2)*3", 9},
              {"-1", -1},
              {"~0", -1},
              {"+ 5", 5},
              {"7%4", 3},
              {"-7/2", -3},
              {"1 + 2 & 3", 3},
              {"4+3&1", 5},
              {"6|1*8", 14},
              {"5^1", 4},
              {"$eax+4", 0x1004},
              {"$eax-4", 0xffc},
              {"$cs.base", 0x23},
              {"0xffffffffffffffff", -1},
              {"9223372036854775807+1", INT64_MIN},
              {"(0-9223372036854775807-1)/-1", INT64_MIN},
              {"(0-9223372036854775807-1)%-1", 0},
              {" ( ( 1 ) ) ", 1}};
  for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    const char *at = rows[i].text, *error;
    int64_t value;
    if (!expression_read(&at, &world, &value, &error)) fail_msg("%s: %s", rows[i].text, error);
    if (value != rows[i].value || *at) fail_msg("%s: %lld, '%s' left", rows[i].text, (long long)value, at);
  }
}

static void expressions_that_are_none(void **state) {
  static const struct {
    const char *text, *error;
  } rows[] = {{"", "unexpected end"},          {"1+", "unexpected end"},
              {"(1", "')' expected"},          {"1/0", "division by zero"},
              {"1%(1-1)", "division by zero"}, {"$foo", "unknown register"},
              {"$", "unknown register"},       {"'", "character"},
              {"'a", "terminating"},           {"99999999999999999999", "too large"},
              {"*", "invalid char"},           {"/x", "invalid char"}};
  char deep[2001];
  const char *at = "16 /tmp/x", *error;
  int64_t value;
  assert_true(expression_read(&at, &world, &value, &error));
  assert_string_equal(at, "/tmp/x");
  for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    at = rows[i].text;
    if (expression_read(&at, &world, &value, &error)) fail_msg("%s is no expression", rows[i].text);
    if (!strstr(error, rows[i].error)) fail_msg("%s: %s", rows[i].text, error);
  }
  memset(deep, '(', 2000), deep[2000] = 0, at = deep;
  assert_false(expression_read(&at, &world, &value, &error));
  memset(deep, '-', 2000), at = deep;
  assert_false(expression_read(&at, &world, &value, &error));
}

/* ---- arguments ---- */

static const struct command dump = COMMAND("x", NULL, "", "", NULL, ARGUMENT(FORMAT, "fmt"), ARGUMENT(NUMBER, "addr"));
static const struct command save = COMMAND("save", NULL, "", "", NULL, ARGUMENT_MAYBE(FLAG, "f"), ARGUMENT(NUMBER, "val"),
                                           ARGUMENT(WORD, "file"), ARGUMENT_MAYBE(REST, "rest"));

/* Reads them; what was complained of, or "". */
static const char *read_arguments(const struct command *c, const char *text, struct command_call *call) {
  static struct memory_format format;
  static char words[512];
  static struct text out;
  text_clear(&out);
  if (!call->format) format = (struct memory_format){1, 4, 'x'}, call->format = &format;
  call->words = words, call->out = &out;
  bool good = arguments_read(c, text, &world, call);
  assert_int_equal(good, !out.size);
  return text_string(&out);
}

static void formats_are_remembered(void **state) {
  struct command_call call = {0};
  assert_string_equal(read_arguments(&dump, "/4xb 0x10", &call), "");
  assert_int_equal(call.argument[0].format.count, 4);
  assert_int_equal(call.argument[0].format.size, 1);
  assert_int_equal(call.argument[1].number, 16);
  assert_string_equal(read_arguments(&dump, " 0x20", &call), "");
  assert_int_equal(call.argument[0].format.count, 1);
  assert_int_equal(call.argument[0].format.size, 1);
  assert_int_equal(call.argument[0].format.letter, 'x');
  assert_string_equal(read_arguments(&dump, "/wd 1", &call), ""); /* either order */
  assert_int_equal(call.argument[0].format.size, 4);
  assert_int_equal(call.argument[0].format.letter, 'd');
  assert_string_equal(read_arguments(&dump, "/99999999999999999999x 1", &call), "");
  assert_int_equal(call.argument[0].format.count, 1 << 20);
  assert_non_null(strstr(read_arguments(&dump, "/s 0", &call), "invalid char in format: 's'"));
  assert_non_null(strstr(read_arguments(&dump, "/x", &call), "unexpected end of expression"));
  assert_non_null(strstr(read_arguments(&dump, "1 2", &call), "extraneous characters"));
}

static void words_quotes_and_flags(void **state) {
  struct command_call call = {0};
  assert_string_equal(read_arguments(&save, " -f 1+1 name", &call), "");
  assert_true(call.argument[0].flag);
  assert_int_equal(call.argument[1].number, 2);
  assert_string_equal(call.argument[2].word, "name");
  assert_false(call.given[3]);
  call = (struct command_call){0};
  assert_string_equal(read_arguments(&save, " 1 \"a b\\\"\\n\" and the rest", &call), "");
  assert_false(call.argument[0].flag);
  assert_string_equal(call.argument[2].word, "a b\"\n");
  assert_string_equal(call.argument[3].word, "and the rest");
  assert_non_null(strstr(read_arguments(&save, " 1 \"a", &call), "unterminated string"));
  assert_non_null(strstr(read_arguments(&save, " 1 \"\\", &call), "unsupported escape"));
  assert_non_null(strstr(read_arguments(&save, " 1", &call), "string expected"));
  assert_non_null(strstr(read_arguments(&save, "", &call), "Try \"help save\""));
}

/* Random lines: nothing but an answer (the sanitizers look). */
static void random_lines(void **state) {
  static const char alphabet[] = "0123456789abcdefx$'\"\\()+-*/%&|^~ \t.,-/fxi";
  struct editor e;
  struct text out = {0};
  editor_init(&e, true, "> ");
  e.complete = words;
  srand(5);
  for (int round = 0; round < 100000; round++) {
    char line[64];
    unsigned n = (unsigned)rand() % 60;
    for (unsigned i = 0; i < n; i++) line[i] = alphabet[(unsigned)rand() % (sizeof alphabet - 1)];
    line[n] = 0;
    struct command_call call = {0};
    read_arguments(rand() & 1 ? &dump : &save, line, &call);
    for (unsigned i = 0; i < n; i++)
      if (editor_feed(&e, (uint8_t)(rand() % 4 ? line[i] : rand()), &out)) editor_next(&e, &out);
    assert_true(e.cursor <= e.length && e.length <= EDITOR_LINE && !e.line[e.length]);
    text_clear(&out);
  }
  text_free(&out), editor_free(&e);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(line_is_edited_as_it_is_shown),
                                     cmocka_unit_test(history_goes_back_and_forth),
                                     cmocka_unit_test(tab_completes),
                                     cmocka_unit_test(without_echo_nothing_is_shown),
                                     cmocka_unit_test(a_line_that_is_too_long_is_told),
                                     cmocka_unit_test(expressions_as_qemu),
                                     cmocka_unit_test(expressions_that_are_none),
                                     cmocka_unit_test(formats_are_remembered),
                                     cmocka_unit_test(words_quotes_and_flags),
                                     cmocka_unit_test(random_lines)};
  cmocka_set_test_filter(getenv("CMOCKA_TEST_FILTER"));
  return cmocka_run_group_tests(tests, NULL, NULL);
}
