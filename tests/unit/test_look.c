// sources: monitor/look.c
// link: bt_translator
/* Looking through code before it may run on the host's CPU (monitor/look.h). Run only this: build/unit/test_look
 * (CMOCKA_TEST_FILTER=CASE for one case). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "monitor/look.h"

static uint8_t page[LOOK_PAGE], next[LOOK_PAGE];
static struct look l;

/* A page of RETs with some code in it, which is entered at its first byte. */
static bool look_at(unsigned offset, const char *code, unsigned size, bool with_next) {
  unsigned room = LOOK_PAGE - offset < size ? LOOK_PAGE - offset : size;
  memset(page, 0xc3, sizeof page), memset(next, 0xc3, sizeof next);
  memcpy(page + offset, code, room);
  memcpy(next, code + room, size - room);
  l = (struct look){.bytes = page, .next = with_next ? next : NULL, .linear = 0x8048000, .features = ~0ull, .sse = true};
  look_from(&l, offset);
  return look_at_page(&l);
}
#define LOOK(offset, code) look_at(offset, code, sizeof code - 1, true)

static void plain_code_is_fit(void **state) {
  assert_true(LOOK(0x100, "\x55\x89\xe5\x0f\xb6\x45\x08\x74\x02\x31\xc0\xcd\x80\x5d\xc3")); /* ... jz +2; int 80h */
  assert_int_equal(l.foreign_count, 0);
  assert_int_equal(l.target_count, 0);
  assert_true(l.seen[0x100 / 64] & 1);
}

static void what_is_foreign_is_told(void **state) {
  static const char *const foreign[] = {
    "\x8e\xe8",     "\x8c\xd8",     "\x1e",         "\x1f", "\x0f\xa8",         "\x0f\x34",     "\x0f\xa2", "\x0f\x01\xe0",
    "\x0f\x02\xc0", "\x0f\x03\xc0", "\x0f\x00\xe0", "\xcb", "\xf3\x0f\xbc\xc0", "\x0f\xc7\xf0", "\x0f\x05", "\xcf"};
  for (unsigned i = 0; i < sizeof foreign / sizeof *foreign; i++) {
    char code[16] = "\x90";
    strcat(code, foreign[i]);
    if (!look_at(0x200, code, (unsigned)strlen(code), true)) fail_msg("%u is not fit", i);
    if (l.foreign_count != 1 || l.foreign[0] != 0x201) fail_msg("%u was not told", i);
  }
  assert_true(LOOK(0, "\x0f\x0b")); /* UD2 faults here as there */
  assert_int_equal(l.foreign_count, 0);
}

static void sse_is_foreign_without_osfxsr(void **state) {
  LOOK(0, "\x0f\x58\xc1\xc3");
  assert_int_equal(l.foreign_count, 0);
  l = (struct look){.bytes = page, .next = next, .features = ~0ull};
  look_from(&l, 0);
  assert_true(look_at_page(&l));
  assert_int_equal(l.foreign_count, 1);
}

static void ways_out_of_the_page_are_told(void **state) {
  assert_true(LOOK(0x10, "\xe8\xff\x1f\x00\x00\x74\x7e\xe9\xe0\xff\xff\xff")); /* call +1fff; jz +7e; jmp -20h */
  assert_int_equal(l.target_count, 2);
  assert_int_equal(l.targets[0] ^ l.targets[1], 0x804a014u ^ 0x8047ffcu);
  assert_true(LOOK(0xffe, "\x90\x90")); /* over the page's end */
  assert_int_equal(l.target_count, 1);
  assert_int_equal(l.targets[0], 0x8049000);
  assert_true(LOOK(0xffd, "\xb8\x01\x00\x00\x00")); /* MOV EAX, 1: its tail is the next page's */
  assert_int_equal(l.targets[0], 0x8049002);
}

/* One that is cut before its opcode: by the next page's bytes, or it does not run. */
static void an_opcode_in_the_next_page(void **state) {
  assert_true(LOOK(0xfff, "\x0f\xa2"));
  assert_int_equal(l.foreign_count, 1);
  assert_true(LOOK(0xfff, "\x0f\xb6\xc0"));
  assert_int_equal(l.foreign_count, 0);
  assert_true(look_at(0xfff, "\x0f\xb6\xc0", 3, false));
  assert_int_equal(l.foreign_count, 1);
  assert_int_equal(l.foreign[0], 0xfff);
}

/* Ways that do not agree: the byte that would be changed is a part of another instruction. */
static void overlapping_instructions_are_unfit(void **state) {
  assert_false(LOOK(0, "\x74\x01\xb8\x8e\xe8\x90\x90\xc3")); /* jz into the immediate, which is MOV GS, EAX */
  assert_true(LOOK(0, "\x74\x01\xb8\x90\x90\x90\x90\xc3"));  /* ... and is NOPs */
}

/* CALL over four bytes, which are read: nothing of them can be changed. Where a block begins there they are code. */
static void data_behind_a_call_is_left_alone(void **state) {
  static const char code[] = "\xe8\x04\x00\x00\x00\x16\x1e\x06\x0e\x58\xc3";
  assert_false(look_at(0x40, code, sizeof code - 1, true));
  l = (struct look){.bytes = page, .next = next, .features = ~0ull, .sse = true};
  look_from(&l, 0x40), look_from(&l, 0x45);
  assert_true(look_at_page(&l));
  assert_int_equal(l.foreign_count, 4);
}

static void what_stands_behind_a_return_counts(void **state) {
  assert_false(LOOK(0, "\xc3\x0f\xa2"));                        /* CPUID */
  assert_true(LOOK(0, "\xc3\x1f\xcb\x8e\xe8\xf3\x0f\xbc\xc0")); /* a table, for all that is known */
  assert_int_equal(l.foreign_count, 0);
  assert_false(l.seen[0] >> 1 & 1);
}

static void too_much_that_is_foreign_is_unfit(void **state) {
  char code[2 * LOOK_FOREIGN + 4];
  for (unsigned i = 0; i < sizeof code; i += 2) memcpy(code + i, "\x8e\xe8", 2);
  assert_false(look_at(0, code, sizeof code, true));
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(plain_code_is_fit),
    cmocka_unit_test(what_is_foreign_is_told),
    cmocka_unit_test(sse_is_foreign_without_osfxsr),
    cmocka_unit_test(ways_out_of_the_page_are_told),
    cmocka_unit_test(an_opcode_in_the_next_page),
    cmocka_unit_test(overlapping_instructions_are_unfit),
    cmocka_unit_test(data_behind_a_call_is_left_alone),
    cmocka_unit_test(what_stands_behind_a_return_counts),
    cmocka_unit_test(too_much_that_is_foreign_is_unfit),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
