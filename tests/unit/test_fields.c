// The engine of field tables. Run only this: build/unit/test_fields
// link: bt_devices
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "devices/fields.h"

struct thing {
  uint8_t byte;
  uint32_t words[3];
  int64_t time;
  uint8_t blob[20];
  unsigned not_saved;
};
static const struct field fields[] = {FIELD(thing, byte), FIELD_ARRAY(thing, words), FIELD(thing, time), FIELD_ARRAY(thing, blob),
                                      FIELD_END};
static const struct thing example = {.byte = 7, .words = {1, 2, 0x89abcdef}, .time = -5, .blob = "hello", .not_saved = 3};

static struct state_buffer save(const struct thing *t) {
  struct state_buffer b = {0};
  fields_save(&b, fields, t);
  assert_false(b.failed);
  return b;
}
static const char *load(const uint8_t *bytes, size_t size, const struct field *f, struct thing *to) {
  struct state_reader r = {bytes, size, 0};
  fields_load(&r, f, to);
  return r.error;
}

static void what_was_saved_is_loaded(void **state) {
  struct state_buffer b = save(&example);
  struct thing t = {.not_saved = 99};
  char text[100] = "";
  assert_null(load(b.bytes, b.size, fields, &t));
  assert_true(fields_equal("thing", fields, &t, &example, text, sizeof text));
  assert_string_equal(text, "");
  assert_int_equal(t.not_saved, 99);
  assert_null(load(b.bytes, b.size, fields, NULL));
  free(b.bytes);
}

static void a_record_ends_where_it_ends(void **state) {
  struct state_buffer b = save(&example);
  state_put_u32(&b, 0x12345678);
  struct state_reader r = {b.bytes, b.size, 0};
  fields_load(&r, fields, NULL);
  assert_int_equal(r.left, 4);
  assert_int_equal(state_get_u32(&r), 0x12345678);
  assert_int_equal(state_get_u32(&r), 0); /* and nothing behind it */
  assert_string_equal(r.error, "the saved state is truncated");
  free(b.bytes);
}

static void truncated_everywhere(void **state) {
  struct state_buffer b = save(&example);
  for (size_t n = 0; n < b.size; n++) {
    uint8_t *exact = malloc(n ? n : 1); /* so that the sanitizer sees a read behind it */
    struct thing t;
    memcpy(exact, b.bytes, n);
    assert_non_null(load(exact, n, fields, &t));
    free(exact);
  }
  free(b.bytes);
}

/* Each row differs from fields[] in one thing. */
static void tables_of_another_version(void **state) {
  static const struct field fewer[] = {FIELD(thing, byte), FIELD_END}, none[] = {FIELD_END},
                            renamed[] = {FIELD(thing, byte),
                                         FIELD_ARRAY(thing, words),
                                         {"tim", offsetof(struct thing, time), 8, 1},
                                         FIELD_ARRAY(thing, blob),
                                         FIELD_END},
                            wider[] = {FIELD(thing, byte),
                                       {"words", offsetof(struct thing, words), 2, 3},
                                       FIELD(thing, time),
                                       FIELD_ARRAY(thing, blob),
                                       FIELD_END},
                            longer[] = {FIELD(thing, byte),
                                        {"words", offsetof(struct thing, words), 4, 2},
                                        FIELD(thing, time),
                                        FIELD_ARRAY(thing, blob),
                                        FIELD_END};
  static const struct field *const tables[] = {fewer, none, renamed, wider, longer};
  struct state_buffer b = save(&example);
  for (unsigned i = 0; i < sizeof tables / sizeof *tables; i++) {
    struct thing t;
    const char *error = load(b.bytes, b.size, tables[i], &t);
    assert_non_null(error);
    assert_non_null(strstr(error, "another version"));
  }
  free(b.bytes);
}

static void any_byte_changed_stays_within(void **state) {
  struct state_buffer b = save(&example);
  unsigned taken = 0;
  for (size_t at = 0; at < b.size; at++)
    for (unsigned bit = 0; bit < 8; bit++) {
      struct thing t = {.not_saved = 42};
      b.bytes[at] ^= (uint8_t)(1 << bit);
      taken += !load(b.bytes, b.size, fields, &t);
      assert_int_equal(t.not_saved, 42);
      b.bytes[at] ^= (uint8_t)(1 << bit);
    }
  assert_int_equal(taken, 8 * (1 + 12 + 8 + 20)); /* values, and nothing else, may be anything */
  free(b.bytes);
}

static void the_first_difference_is_named(void **state) {
  struct thing t = example;
  char text[100];
  t.words[2] = 5;
  t.blob[1] = 0;
  assert_false(fields_equal("thing", fields, &t, &example, text, sizeof text));
  assert_string_equal(text, "thing.words[2]: 5, 89abcdef");
  t.words[2] = example.words[2];
  assert_false(fields_equal("thing", fields, &t, &example, text, sizeof text));
  assert_string_equal(text, "thing.blob[1]: 0, 65");
}

/* An element of more than eight bytes is compared to its end. */
static void long_elements(void **state) {
  static const struct field whole[] = {{"blob", offsetof(struct thing, blob), 20, 1}, FIELD_END};
  struct thing t = example;
  char text[100];
  t.blob[19] = 1;
  assert_false(fields_equal("thing", whole, &t, &example, text, sizeof text));
  assert_non_null(strstr(text, "thing.blob[0]"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_was_saved_is_loaded),
    cmocka_unit_test(a_record_ends_where_it_ends),
    cmocka_unit_test(truncated_everywhere),
    cmocka_unit_test(tables_of_another_version),
    cmocka_unit_test(any_byte_changed_stays_within),
    cmocka_unit_test(the_first_difference_is_named),
    cmocka_unit_test(long_elements),
  };
  return cmocka_run_group_tests(tests, 0, 0);
}
