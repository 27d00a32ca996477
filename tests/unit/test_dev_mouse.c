// PS/2 mouse on the 8042's auxiliary port.
// link: bt_devices
#include "test_dev_rig.h"
#include "devices/input/ps2_mouse.h"

static void command(struct rig *r, uint8_t v) { out8(r, 0x64, v); }
static uint8_t status(struct rig *r) { return in8(r, 0x64); }

/* The mouse's next byte; -1: none within 5 ms; -2: it is the keyboard's. */
static int next(struct rig *r) {
  for (int i = 0; i < 50; i++) {
    if (status(r) & 1) {
      bool aux = status(r) & 0x20;
      int byte = in8(r, 0x60);
      return aux ? byte : -2;
    }
    advance(r, 100000);
  }
  return -1;
}

static void send(struct rig *r, uint8_t v) {
  command(r, 0xd4);
  out8(r, 0x60, v);
}

/* Sends a byte; its answers must be these, and no more. Ends with -1. */
static void answers(struct rig *r, uint8_t byte, const int *expected) {
  send(r, byte);
  for (;; expected++) {
    assert_int_equal(next(r), *expected);
    if (*expected < 0) return;
  }
}
#define ANSWERS(r, byte, ...) answers(r, byte, (const int[]){__VA_ARGS__, -1})

static void packet(struct rig *r, int first, int x, int y) {
  assert_int_equal(next(r), first);
  assert_int_equal(next(r), x & 0xff);
  assert_int_equal(next(r), y & 0xff);
}

static void aux_on(struct rig *r) { command(r, 0xa8); }

static void make_wheel_mouse(struct rig *r) {
  static const uint8_t rates[] = {200, 100, 80};
  for (unsigned i = 0; i < sizeof rates; i++) {
    ANSWERS(r, 0xf3, 0xfa);
    ANSWERS(r, rates[i], 0xfa);
  }
}

static void identification_and_reset(void **state) {
  struct rig *r = *state;
  aux_on(r);
  ANSWERS(r, 0xff, 0xfa, 0xaa, 0x00);
  ANSWERS(r, 0xf2, 0xfa, 0x00);
  make_wheel_mouse(r);
  ANSWERS(r, 0xf2, 0xfa, 0x03);
  ANSWERS(r, 0xf6, 0xfa);
  ANSWERS(r, 0xf2, 0xfa, 0x03); /* defaults keep the wheel */
  ANSWERS(r, 0xff, 0xfa, 0xaa, 0x00);
  ANSWERS(r, 0xf2, 0xfa, 0x00);
}

static void other_rates_make_no_wheel_mouse(void **state) {
  static const uint8_t rates[] = {200, 100, 100, 80, 200, 200, 80};
  struct rig *r = *state;
  aux_on(r);
  for (unsigned i = 0; i < sizeof rates; i++) {
    ANSWERS(r, 0xf3, 0xfa);
    ANSWERS(r, rates[i], 0xfa);
  }
  ANSWERS(r, 0xf2, 0xfa, 0x00);
}

static void settings_are_in_the_status(void **state) {
  struct rig *r = *state;
  aux_on(r);
  ANSWERS(r, 0xe9, 0xfa, 0x00, 2, 100);
  ANSWERS(r, 0xf3, 0xfa);
  ANSWERS(r, 40, 0xfa);
  ANSWERS(r, 0xe8, 0xfa);
  ANSWERS(r, 3, 0xfa);
  ANSWERS(r, 0xe7, 0xfa);
  ANSWERS(r, 0xf4, 0xfa);
  ANSWERS(r, 0xe9, 0xfa, 0x30, 3, 40);
  ANSWERS(r, 0xf0, 0xfa);
  ANSWERS(r, 0xe9, 0xfa, 0x70, 3, 40);
  ANSWERS(r, 0xea, 0xfa);
  ANSWERS(r, 0xe6, 0xfa);
  ANSWERS(r, 0xf5, 0xfa);
  pc_mouse_move(r->pc, 0, 0, 0, MOUSE_LEFT | MOUSE_RIGHT);
  ANSWERS(r, 0xe9, 0xfa, 0x05, 3, 40);
  ANSWERS(r, 0xf6, 0xfa);
  ANSWERS(r, 0xe9, 0xfa, 0x05, 2, 100);
}

static void bad_bytes_are_refused(void **state) {
  struct rig *r = *state;
  aux_on(r);
  ANSWERS(r, 0xe1, 0xfe); /* a TrackPoint's command */
  ANSWERS(r, 0x00, 0xfe);
  ANSWERS(r, 0xf3, 0xfa);
  ANSWERS(r, 81, 0xfe);
  ANSWERS(r, 0xe8, 0xfa);
  ANSWERS(r, 4, 0xfe);
  ANSWERS(r, 0xe9, 0xfa, 0x00, 2, 100);
  ANSWERS(r, 0xf3, 0xfa);
  ANSWERS(r, 0xf4, 0xfa); /* a command where a parameter was due */
  ANSWERS(r, 0xe9, 0xfa, 0x20, 2, 100);
  ANSWERS(r, 0xfe, 100); /* Resend */
}

static void movement_is_streamed_when_enabled(void **state) {
  struct rig *r = *state;
  aux_on(r);
  pc_mouse_move(r->pc, 5, 5, 0, 0);
  assert_int_equal(next(r), -1); /* off after power-up, and what moved then is not told later */
  ANSWERS(r, 0xf4, 0xfa);
  pc_mouse_move(r->pc, 3, -2, 0, 0);
  packet(r, 0x28, 3, -2);
  pc_mouse_move(r->pc, -7, 9, 1, MOUSE_MIDDLE); /* the wheel is not for a standard mouse */
  packet(r, 0x1c, -7, 9);
  pc_mouse_move(r->pc, 0, 0, 0, 0);
  packet(r, 0x08, 0, 0);
  pc_mouse_move(r->pc, 0, 0, 0, 0);
  assert_int_equal(next(r), -1);
}

static void wheel_packets(void **state) {
  struct rig *r = *state;
  aux_on(r);
  make_wheel_mouse(r);
  ANSWERS(r, 0xf4, 0xfa);
  pc_mouse_move(r->pc, 1, 2, -1, MOUSE_RIGHT);
  packet(r, 0x0a, 1, 2);
  assert_int_equal(next(r), 0xff);
  pc_mouse_move(r->pc, 0, 0, 10, MOUSE_RIGHT); /* more than four bits of it */
  packet(r, 0x0a, 0, 0);
  assert_int_equal(next(r), 7);
  packet(r, 0x0a, 0, 0);
  assert_int_equal(next(r), 3);
  assert_int_equal(next(r), -1);
}

static void movement_adds_up_while_packets_wait(void **state) {
  struct rig *r = *state;
  aux_on(r);
  ANSWERS(r, 0xf4, 0xfa);
  for (int i = 0; i < 100; i++) pc_mouse_move(r->pc, 1, -1, 0, 0);
  packet(r, 0x28, 1, -1);
  packet(r, 0x28, 99, -99);
  assert_int_equal(next(r), -1);
}

static void overflow_is_flagged(void **state) {
  struct rig *r = *state;
  aux_on(r);
  ANSWERS(r, 0xf4, 0xfa);
  pc_mouse_move(r->pc, 300, -300, 0, 0);
  packet(r, 0x08 | 0x40 | 0x80 | 0x20, 255, -256);
  pc_mouse_move(r->pc, 255, -256, 0, 0);
  packet(r, 0x28, 255, -256);
  for (int i = 0; i < 20; i++) pc_mouse_move(r->pc, INT32_MAX, INT32_MIN, INT32_MIN, 0);
  packet(r, 0xe8, 255, -256);
  packet(r, 0xe8, 255, -256);
  assert_int_equal(next(r), -1);
}

static void clicks_are_not_lost_in_a_sum(void **state) {
  struct rig *r = *state;
  aux_on(r);
  ANSWERS(r, 0xf4, 0xfa);
  for (int i = 0; i < 3; i++) {
    pc_mouse_move(r->pc, 2, 0, 0, 0);
    pc_mouse_move(r->pc, 0, 0, 0, MOUSE_LEFT);
    pc_mouse_move(r->pc, 0, 0, 0, 0);
  }
  unsigned presses = 0, moved = 0, down = 0;
  for (int first; (first = next(r)) >= 0;) {
    presses += (first & 1) && !down;
    down = first & 1;
    moved += (unsigned)next(r);
    assert_int_equal(next(r), 0);
  }
  assert_int_equal(presses, 3);
  assert_int_equal(moved, 6);
  assert_int_equal(down, 0);
}

static void full_queue_keeps_whole_packets(void **state) {
  struct rig *r = *state;
  aux_on(r);
  ANSWERS(r, 0xf4, 0xfa);
  for (unsigned i = 0; i < 1001; i++) pc_mouse_move(r->pc, 1, 0, 0, ~i & 1);
  int n = 0, moved = 0, first, last = -1;
  for (; (first = next(r)) >= 0; n++, last = first) {
    assert_int_equal(first & ~0x41, 8); /* the last one overflows */
    moved += next(r);
    assert_int_equal(next(r), 0);
  }
  assert_in_range(n, 20, 23);
  assert_int_equal(last & 1, 1);     /* the state at the end is told even so */
  assert_int_equal(moved, 21 + 255); /* ... and the rest of the way up to an overflow */
}

static void remote_mode(void **state) {
  struct rig *r = *state;
  aux_on(r);
  ANSWERS(r, 0xf4, 0xfa);
  ANSWERS(r, 0xf0, 0xfa);
  pc_mouse_move(r->pc, 4, 4, 0, MOUSE_LEFT);
  pc_mouse_move(r->pc, 1, 1, 0, MOUSE_LEFT);
  assert_int_equal(next(r), -1);
  ANSWERS(r, 0xeb, 0xfa, 0x09, 5, 5);
  ANSWERS(r, 0xeb, 0xfa, 0x09, 0, 0);
  ANSWERS(r, 0xea, 0xfa);
  pc_mouse_move(r->pc, 1, 1, 0, 0);
  packet(r, 0x08, 1, 1);
}

static void wrap_mode_echoes(void **state) {
  struct rig *r = *state;
  aux_on(r);
  ANSWERS(r, 0xee, 0xfa);
  ANSWERS(r, 0xf2, 0xf2);
  ANSWERS(r, 0xee, 0xee);
  ANSWERS(r, 0x55, 0x55);
  ANSWERS(r, 0xec, 0xfa);
  ANSWERS(r, 0xf2, 0xfa, 0x00);
  ANSWERS(r, 0xee, 0xfa);
  ANSWERS(r, 0xff, 0xfa, 0xaa, 0x00);
  ANSWERS(r, 0xf2, 0xfa, 0x00);
}

static void scaling_2_to_1(void **state) {
  static const int in[] = {1, 2, 3, 4, 5, 6, 100, -3, -6}, out[] = {1, 1, 3, 6, 9, 12, 200, -3, -12};
  struct rig *r = *state;
  aux_on(r);
  ANSWERS(r, 0xe7, 0xfa);
  ANSWERS(r, 0xf4, 0xfa);
  for (unsigned i = 0; i < sizeof in / sizeof *in; i++) {
    pc_mouse_move(r->pc, in[i], 0, 0, 0);
    packet(r, 8 | (in[i] < 0 ? 0x10 : 0), out[i], 0);
  }
}

static void each_byte_is_an_irq_12(void **state) {
  struct rig *r = *state;
  pic_setup(r, 1 << 12 | 1 << 2);
  aux_on(r);
  command(r, 0x60);
  out8(r, 0x60, 0x47);
  send(r, 0xff);
  for (unsigned i = 0; i < 3; i++) {
    assert_int_equal(pc_ack_interrupt(r->pc), 0x3c);
    in8(r, 0x60);
    out8(r, 0xa0, 0x20);
    out8(r, 0x20, 0x20);
  }
  advance(r, 1000000);
  assert_false(r->intr);
}

static void closed_port_holds_bytes_back(void **state) {
  struct rig *r = *state;
  send(r, 0xf2);
  assert_int_equal(next(r), -1); /* the port is off after reset */
  aux_on(r);
  assert_int_equal(next(r), 0xfa);
  command(r, 0xa7);
  assert_int_equal(next(r), 0x00); /* was in the output buffer already */
  send(r, 0xeb);
  assert_int_equal(next(r), -1);
  aux_on(r);
  assert_int_equal(next(r), 0xfa);
}

static void keys_come_through_a_stream_of_movement(void **state) {
  struct rig *r = *state;
  aux_on(r);
  ANSWERS(r, 0xf4, 0xfa);
  pc_keyboard_press(r->pc, PC_KEY_A, true);
  pc_keyboard_press(r->pc, PC_KEY_B, true);
  unsigned keys = 0;
  for (unsigned i = 0; i < 30; i++) {
    pc_mouse_move(r->pc, 1, 0, 0, 0);
    advance(r, 50000);
    keys += next(r) == -2;
  }
  assert_int_equal(keys, 2);
}

static void saved_state_goes_on(void **state) {
  struct rig *r = *state;
  aux_on(r);
  make_wheel_mouse(r);
  ANSWERS(r, 0xf4, 0xfa);
  pc_mouse_move(r->pc, 1, 1, 1, MOUSE_LEFT);
  pc_mouse_move(r->pc, 2, 2, 2, MOUSE_LEFT);
  struct rig *other = rig_create(false);
  struct state_buffer image = {0};
  assert_int_equal(state_save(r->pc, &image), 0);
  assert_null(state_load(other->pc, image.bytes, image.size));
  packet(other, 0x09, 1, 1);
  assert_int_equal(next(other), 1);
  packet(other, 0x09, 2, 2);
  assert_int_equal(next(other), 2);
  free(image.bytes);
  rig_destroy(other);
}

static void junk_from_a_file_is_harmless(void **state) {
  struct ps2_mouse m;
  for (unsigned fill = 0; fill < 256; fill++) {
    memset(&m, (int)fill, sizeof m);
    ps2_mouse_loaded(&m);
    for (unsigned i = 0; i < 300; i++) {
      ps2_mouse_move(&m, (int)(i * fill) - 100, 100, 1, i);
      if (i % 3 == 0) ps2_mouse_command(&m, (uint8_t)(i * 7 + fill));
      if (ps2_mouse_has_byte(&m)) ps2_mouse_take(&m);
      assert_in_range(m.queue_count, 0, MOUSE_QUEUE);
      assert_in_range(m.reply_count, 0, MOUSE_REPLIES);
    }
  }
}

int main(void) {
#define RIG(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
  const struct CMUnitTest tests[] = {
    RIG(identification_and_reset),
    RIG(other_rates_make_no_wheel_mouse),
    RIG(settings_are_in_the_status),
    RIG(bad_bytes_are_refused),
    RIG(movement_is_streamed_when_enabled),
    RIG(wheel_packets),
    RIG(movement_adds_up_while_packets_wait),
    RIG(overflow_is_flagged),
    RIG(clicks_are_not_lost_in_a_sum),
    RIG(full_queue_keeps_whole_packets),
    RIG(remote_mode),
    RIG(wrap_mode_echoes),
    RIG(scaling_2_to_1),
    RIG(each_byte_is_an_irq_12),
    RIG(closed_port_holds_bytes_back),
    RIG(keys_come_through_a_stream_of_movement),
    RIG(saved_state_goes_on),
    cmocka_unit_test(junk_from_a_file_is_harmless),
  };
  return cmocka_run_group_tests(tests, 0, 0);
}
