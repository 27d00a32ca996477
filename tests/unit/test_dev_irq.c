// Interrupt lines with several sources. Run only this: build/unit/test_dev_irq
// link: bt_devices
#include "test_dev_rig.h"
#include "devices/irq.h"

struct board {
  struct irq_fanin fanin;
  bool level[IRQ_LINES];
  unsigned changes;
};
static void changed(void *opaque, int line) {
  struct board *b = opaque;
  b->level[line] = irq_fanin_high(&b->fanin, line);
  b->changes++;
}
static int setup(void **state) {
  struct board *b = calloc(1, sizeof *b);
  irq_fanin_init(&b->fanin, changed, b);
  *state = b;
  return 0;
}
static int teardown(void **state) {
  free(*state);
  return 0;
}

static void a_chip_must_not_clear_anothers_level(void **state) {
  struct board *b = *state;
  struct irq_line first = irq_fanin_source(&b->fanin, 5), second = irq_fanin_source(&b->fanin, 5);
  irq_set(&first, true);
  irq_set(&second, true);
  irq_set(&first, false);
  assert_true(b->level[5]);
  irq_set(&first, false); /* once more is no less */
  assert_true(b->level[5]);
  irq_set(&second, false);
  assert_false(b->level[5]);
}

static void a_router_drives_several_lines(void **state) {
  struct board *b = *state;
  struct irq_line router = irq_fanin_source(&b->fanin, 0), chip = irq_fanin_source(&b->fanin, 10);
  router.set(router.opaque, 10, true);
  router.set(router.opaque, 11, true);
  irq_set(&chip, true);
  router.set(router.opaque, 10, false);
  assert_true(b->level[10] && b->level[11]);
  irq_set(&chip, false);
  assert_false(b->level[10]);
  router.set(router.opaque, -1, true); /* no such line: no harm */
  router.set(router.opaque, IRQ_LINES, true);
  assert_int_equal(b->fanin.high, 1 << 11);
}

static void what_is_muted_comes_back_as_it_is(void **state) {
  struct board *b = *state;
  struct irq_line pit = irq_fanin_source(&b->fanin, 0), hpet = irq_fanin_source(&b->fanin, 0);
  irq_set(&pit, true);
  irq_fanin_mute(&pit, true);
  assert_false(b->level[0]);
  irq_set(&hpet, true);
  irq_set(&pit, false);
  assert_true(b->level[0]);
  irq_set(&pit, true);
  irq_set(&hpet, false);
  assert_false(b->level[0]);
  irq_fanin_mute(&pit, false);
  assert_true(b->level[0]);
}

static void more_sources_than_there_are_is_noticed(void **state) {
  struct board *b = *state;
  for (unsigned i = 0; i < IRQ_SOURCES; i++) assert_non_null(irq_fanin_source(&b->fanin, 3).set);
  assert_false(b->fanin.full);
  struct irq_line none = irq_fanin_source(&b->fanin, 3);
  assert_true(b->fanin.full);
  irq_set(&none, true);
  assert_int_equal(b->changes, 0);
}

static void a_load_tells_nobody(void **state) {
  struct board *b = *state;
  struct irq_line first = irq_fanin_source(&b->fanin, 7);
  b->fanin.lines[0] = 1 << 7;
  b->fanin.muted[0] = 0;
  irq_fanin_loaded(&b->fanin);
  assert_true(irq_fanin_high(&b->fanin, 7));
  assert_int_equal(b->changes, 0);
  irq_set(&first, false);
  assert_false(b->level[7]);
}

int main(void) {
#define BOARD(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
  const struct CMUnitTest tests[] = {
    BOARD(a_chip_must_not_clear_anothers_level),   BOARD(a_router_drives_several_lines), BOARD(what_is_muted_comes_back_as_it_is),
    BOARD(more_sources_than_there_are_is_noticed), BOARD(a_load_tells_nobody),
  };
  return cmocka_run_group_tests(tests, 0, 0);
}
