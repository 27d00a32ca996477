// 8259A pair.
// link: bt_devices
#include "test_dev_rig.h"
#include "devices/chips/i8259.h"

struct board {
  struct io_bus *io;
  struct i8259 pic;
  bool intr;
};
static void intr(void *o, int n, bool level) { ((struct board *)o)->intr = level; }
static void out(struct board *b, uint16_t port, uint8_t v) { io_bus_write(b->io, port, 1, v); }
static uint8_t in(struct board *b, uint16_t port) { return (uint8_t)io_bus_read(b->io, port, 1); }

static void setup_chips(struct board *b, uint8_t icw4) {
  out(b, 0x20, 0x11);
  out(b, 0x21, 0x30);
  out(b, 0x21, 4);
  out(b, 0x21, icw4);
  out(b, 0xa0, 0x11);
  out(b, 0xa1, 0x38);
  out(b, 0xa1, 2);
  out(b, 0xa1, icw4 & 3);
}

static int setup(void **state) {
  struct board *b = calloc(1, sizeof *b);
  b->io = io_bus_create();
  i8259_init(&b->pic, b->io, (struct irq_line){intr, b, 0});
  out(b, 0x4d0, 0);
  out(b, 0x4d1, 0);
  setup_chips(b, 1);
  *state = b;
  return 0;
}

static int teardown(void **state) {
  struct board *b = *state;
  io_bus_destroy(b->io);
  free(b);
  return 0;
}

/* A request that lasts: a low pulse, as every chip of ours that is edge-triggered makes. */
static void pulse(struct board *b, unsigned irq) {
  i8259_set_irq(&b->pic, irq, false);
  i8259_set_irq(&b->pic, irq, true);
}

/* One that does not. */
static void glitch(struct board *b, unsigned irq) {
  i8259_set_irq(&b->pic, irq, false);
  i8259_set_irq(&b->pic, irq, true);
  i8259_set_irq(&b->pic, irq, false);
}

static uint8_t read_irr(struct board *b, uint16_t port) {
  out(b, port, 0x0a);
  return in(b, port);
}
static uint8_t read_isr(struct board *b, uint16_t port) {
  out(b, port, 0x0b);
  return in(b, port);
}

static void fixed_priority_and_nesting(void **state) {
  struct board *b = *state;
  pulse(b, 3);
  pulse(b, 1);
  assert_int_equal(i8259_ack(&b->pic), 0x31);
  assert_false(b->intr); /* 3 waits behind 1 */
  pulse(b, 0);
  assert_true(b->intr); /* 0 nests */
  assert_int_equal(i8259_ack(&b->pic), 0x30);
  out(b, 0x20, 0x20);
  assert_false(b->intr);
  out(b, 0x20, 0x20);
  assert_int_equal(i8259_ack(&b->pic), 0x33);
}

static void spurious_irq7_is_not_in_service(void **state) {
  struct board *b = *state;
  assert_int_equal(i8259_ack(&b->pic), 0x37);
  out(b, 0x20, 0x0b);
  assert_int_equal(in(b, 0x20), 0);
}

static void withdrawn_edge_is_a_spurious_irq7(void **state) {
  struct board *b = *state;
  i8259_set_irq(&b->pic, 3, true);
  assert_int_equal(read_irr(b, 0x20), 8);
  i8259_set_irq(&b->pic, 3, false);
  assert_int_equal(read_irr(b, 0x20), 0);
  assert_true(b->intr); /* INT stays until it is acknowledged */
  assert_int_equal(i8259_ack(&b->pic), 0x37);
  assert_int_equal(read_isr(b, 0x20), 0);
  assert_false(b->intr);
}

static void withdrawn_edge_of_the_slave_is_a_spurious_irq15(void **state) {
  struct board *b = *state;
  glitch(b, 8);
  assert_int_equal(read_irr(b, 0xa0), 0);
  assert_int_equal(i8259_ack(&b->pic), 0x3f);
  assert_int_equal(read_isr(b, 0xa0), 0);
  assert_int_equal(read_isr(b, 0x20), 4); /* the master served its IR2, and wants an EOI */
  out(b, 0x20, 0x20);
  assert_false(b->intr);
}

static void withdrawn_edge_gives_way_to_a_request(void **state) {
  struct board *b = *state;
  glitch(b, 3);
  pulse(b, 5);
  assert_int_equal(i8259_ack(&b->pic), 0x35);
  out(b, 0x20, 0x20);
  assert_false(b->intr); /* one acknowledge, not two */
  glitch(b, 3);
  pulse(b, 3); /* the same again, and it lasts */
  assert_int_equal(i8259_ack(&b->pic), 0x33);
}

static void withdrawn_edge_that_held_nothing_high_is_nothing(void **state) {
  struct board *b = *state;
  out(b, 0x21, 0x08);
  glitch(b, 3); /* masked */
  assert_false(b->intr);
  out(b, 0x21, 0);
  assert_false(b->intr);
  pulse(b, 1);
  assert_int_equal(i8259_ack(&b->pic), 0x31);
  glitch(b, 3); /* held back by what is in service */
  out(b, 0x20, 0x20);
  assert_false(b->intr);
  glitch(b, 3);
  assert_true(b->intr);
  out(b, 0x21, 0x08); /* masked after the fact; initialised: both forget it */
  assert_false(b->intr);
  out(b, 0x21, 0);
  assert_false(b->intr);
  glitch(b, 3);
  setup_chips(b, 1);
  assert_false(b->intr);
  glitch(b, 3);
  out(b, 0x20, 0x0c); /* a poll is an acknowledge */
  assert_int_equal(in(b, 0x20) & 0x80, 0);
  assert_false(b->intr);
}

static void level_request_that_goes_away(void **state) {
  struct board *b = *state;
  out(b, 0x4d0, 0x20);
  i8259_set_irq(&b->pic, 5, true);
  assert_true(b->intr);
  i8259_set_irq(&b->pic, 5, false);
  assert_false(b->intr);
  i8259_set_irq(&b->pic, 5, true);
  assert_int_equal(i8259_ack(&b->pic), 0x35);
  out(b, 0x20, 0x65); /* specific EOI: still high, so again */
  assert_true(b->intr);
}

static void edge_needs_a_new_rise(void **state) {
  struct board *b = *state;
  i8259_set_irq(&b->pic, 4, true);
  assert_int_equal(i8259_ack(&b->pic), 0x34);
  out(b, 0x20, 0x20);
  assert_false(b->intr);
  i8259_set_irq(&b->pic, 4, true);
  assert_false(b->intr);
  i8259_set_irq(&b->pic, 4, false);
  i8259_set_irq(&b->pic, 4, true);
  assert_true(b->intr);
}

static void cascade_vector_and_two_eois(void **state) {
  struct board *b = *state;
  pulse(b, 12);
  pulse(b, 8);
  assert_int_equal(i8259_ack(&b->pic), 0x38);
  assert_false(b->intr);
  out(b, 0xa0, 0x20);
  assert_false(b->intr); /* the master still serves IR2 */
  out(b, 0x20, 0x20);
  assert_int_equal(i8259_ack(&b->pic), 0x3c);
}

static void cascade_edge_is_not_lost_when_slave_stays_busy(void **state) {
  struct board *b = *state;
  pulse(b, 14);
  pulse(b, 9);
  assert_int_equal(i8259_ack(&b->pic), 0x39);
  out(b, 0xa0, 0x20);
  out(b, 0x20, 0x20);
  assert_true(b->intr);
  assert_int_equal(i8259_ack(&b->pic), 0x3e);
}

static void special_fully_nested_lets_the_slave_nest(void **state) {
  struct board *b = *state;
  setup_chips(b, 0x11);
  pulse(b, 12);
  assert_int_equal(i8259_ack(&b->pic), 0x3c);
  pulse(b, 8);
  assert_true(b->intr);
  assert_int_equal(i8259_ack(&b->pic), 0x38);
}

static void mask_holds_back_and_keeps_the_edge(void **state) {
  struct board *b = *state;
  out(b, 0x21, 0x08);
  pulse(b, 3);
  assert_false(b->intr);
  out(b, 0x20, 0x0a);
  assert_int_equal(in(b, 0x20), 8);
  out(b, 0x21, 0);
  assert_int_equal(i8259_ack(&b->pic), 0x33);
}

static void special_mask_mode_lets_lower_ones_in(void **state) {
  struct board *b = *state;
  pulse(b, 1);
  assert_int_equal(i8259_ack(&b->pic), 0x31);
  pulse(b, 6);
  assert_false(b->intr);
  out(b, 0x21, 0x02);
  out(b, 0x20, 0x68);
  assert_true(b->intr);
  assert_int_equal(i8259_ack(&b->pic), 0x36);
  out(b, 0x20, 0x20); /* non-specific EOI leaves the masked one alone */
  out(b, 0x20, 0x0b);
  assert_int_equal(in(b, 0x20), 0x02);
  out(b, 0x20, 0x48);
  pulse(b, 6);
  assert_false(b->intr);
}

static void rotation(void **state) {
  struct board *b = *state;
  pulse(b, 2 + 1);
  i8259_ack(&b->pic);
  out(b, 0x20, 0xa0); /* rotate on non-specific EOI: 3 is lowest now, 4 highest */
  pulse(b, 3);
  pulse(b, 0);
  pulse(b, 4);
  assert_int_equal(i8259_ack(&b->pic), 0x34);
  out(b, 0x20, 0x20);
  assert_int_equal(i8259_ack(&b->pic), 0x30);
  out(b, 0x20, 0xe0); /* rotate on specific EOI of 0: the order is 1 .. 7, 0 */
  pulse(b, 0);
  assert_int_equal(i8259_ack(&b->pic), 0x33);
  out(b, 0x20, 0x20);
  out(b, 0x20, 0xc7); /* set priority: as after ICW1 */
  pulse(b, 1);
  assert_int_equal(i8259_ack(&b->pic), 0x30);
}

static void auto_eoi_and_its_rotation(void **state) {
  struct board *b = *state;
  setup_chips(b, 3);
  pulse(b, 1);
  assert_int_equal(i8259_ack(&b->pic), 0x31);
  out(b, 0x20, 0x0b);
  assert_int_equal(in(b, 0x20), 0);
  out(b, 0x20, 0x80);
  pulse(b, 1);
  i8259_ack(&b->pic);
  pulse(b, 1);
  pulse(b, 5);
  assert_int_equal(i8259_ack(&b->pic), 0x35);
  out(b, 0x20, 0x00);
}

static void poll_acknowledges(void **state) {
  struct board *b = *state;
  out(b, 0x20, 0x0c);
  assert_int_equal(in(b, 0x20) & 0x80, 0);
  pulse(b, 3);
  out(b, 0x20, 0x0c);
  assert_int_equal(in(b, 0x20), 0x83);
  assert_false(b->intr);
  out(b, 0x20, 0x0b);
  assert_int_equal(in(b, 0x20), 8);
}

static void init_forgets_edges_and_needs_all_its_words(void **state) {
  struct board *b = *state;
  pulse(b, 3);
  out(b, 0x20, 0x11);
  assert_false(b->intr);
  pulse(b, 4);
  assert_false(b->intr); /* not ready yet */
  out(b, 0x21, 0x50);
  out(b, 0x21, 4);
  out(b, 0x21, 1);
  assert_true(b->intr);
  assert_int_equal(i8259_ack(&b->pic), 0x54);
  assert_int_equal(in(b, 0x21), 0);
}

static void elcr_keeps_only_what_can_be_level(void **state) {
  struct board *b = *state;
  out(b, 0x4d0, 0xff);
  out(b, 0x4d1, 0xff);
  assert_int_equal(in(b, 0x4d0), 0xf8);
  assert_int_equal(in(b, 0x4d1), 0xde);
}

int main(void) {
#define BOARD(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
  const struct CMUnitTest tests[] = {
    BOARD(fixed_priority_and_nesting),
    BOARD(spurious_irq7_is_not_in_service),
    BOARD(withdrawn_edge_is_a_spurious_irq7),
    BOARD(withdrawn_edge_of_the_slave_is_a_spurious_irq15),
    BOARD(withdrawn_edge_gives_way_to_a_request),
    BOARD(withdrawn_edge_that_held_nothing_high_is_nothing),
    BOARD(level_request_that_goes_away),
    BOARD(edge_needs_a_new_rise),
    BOARD(cascade_vector_and_two_eois),
    BOARD(cascade_edge_is_not_lost_when_slave_stays_busy),
    BOARD(special_fully_nested_lets_the_slave_nest),
    BOARD(mask_holds_back_and_keeps_the_edge),
    BOARD(special_mask_mode_lets_lower_ones_in),
    BOARD(rotation),
    BOARD(auto_eoi_and_its_rotation),
    BOARD(poll_acknowledges),
    BOARD(init_forgets_edges_and_needs_all_its_words),
    BOARD(elcr_keeps_only_what_can_be_level),
  };
  return cmocka_run_group_tests(tests, 0, 0);
}
