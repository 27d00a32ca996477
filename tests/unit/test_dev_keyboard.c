// 8042 and PS/2 keyboard.
// link: bt_devices
#include "test_dev_rig.h"

static void command(struct rig *r, uint8_t v) { out8(r, 0x64, v); }
static uint8_t status(struct rig *r) { return in8(r, 0x64); }
static void key(struct rig *r, const char *codes) { pc_keyboard_key(r->pc, (const uint8_t *)codes, (unsigned)strlen(codes)); }

/* The next byte, or -1 after 50 ms without one. */
static int next(struct rig *r) {
  for (int i = 0; i < 500; i++) {
    if (status(r) & 1) return in8(r, 0x60);
    advance(r, 100000);
  }
  return -1;
}

static void send(struct rig *r, uint8_t v) { out8(r, 0x60, v); }

static void controller_self_tests(void **state) {
  struct rig *r = *state;
  command(r, 0xaa);
  assert_int_equal(next(r), 0x55);
  command(r, 0xab);
  assert_int_equal(next(r), 0);
  command(r, 0xa9);
  assert_int_equal(next(r), 0);
  assert_int_equal(status(r) & 0x1d, 0x1c);
  assert_int_equal(next(r), -1);
}

static void command_byte_reads_back(void **state) {
  struct rig *r = *state;
  command(r, 0x60);
  send(r, 0x47);
  command(r, 0x20);
  assert_int_equal(next(r), 0x47);
  command(r, 0xa7);
  command(r, 0x20);
  assert_int_equal(next(r), 0x67);
  command(r, 0xa8);
  command(r, 0x20);
  assert_int_equal(next(r), 0x47);
  command(r, 0x65);
  send(r, 0x99);
  command(r, 0x25);
  assert_int_equal(next(r), 0x99);
}

static void keys_are_translated_to_set_1(void **state) {
  struct rig *r = *state;
  key(r, "\x1c");
  key(r, "\xf0\x1c");
  key(r, "\xe0\x75");
  key(r, "\xe0\xf0\x75");
  static const int expected[] = {0x1e, 0x9e, 0xe0, 0x48, 0xe0, 0xc8, -1};
  for (unsigned i = 0; i < sizeof expected / sizeof *expected; i++) assert_int_equal(next(r), expected[i]);
  command(r, 0x60);
  send(r, 0x05);
  key(r, "\xf0\x1c");
  assert_int_equal(next(r), 0xf0);
  assert_int_equal(next(r), 0x1c);
}

static void port_60_keeps_its_byte_for_a_second_read(void **state) {
  struct rig *r = *state;
  key(r, "\x1c");
  key(r, "\x32");
  assert_int_equal(in8(r, 0x60), 0x1e);
  assert_int_equal(in8(r, 0x60), 0x1e);
  assert_int_equal(next(r), 0x30);
}

static void each_byte_is_an_edge(void **state) {
  struct rig *r = *state;
  pic_setup(r, 2);
  key(r, "\x1c");
  key(r, "\x32");
  key(r, "\x21");
  for (unsigned i = 0; i < 3; i++) {
    advance(r, 1000000);
    assert_int_equal(pc_ack_interrupt(r->pc), 0x31);
    in8(r, 0x60);
    out8(r, 0x20, 0x20);
  }
  advance(r, 1000000);
  assert_false(r->intr);
}

static void host_commands_of_the_keyboard(void **state) {
  struct rig *r = *state;
  command(r, 0x60);
  send(r, 0x04); /* no translation */
  send(r, 0xff);
  assert_int_equal(next(r), 0xfa);
  assert_int_equal(next(r), 0xaa);
  send(r, 0xf2);
  assert_int_equal(next(r), 0xfa);
  assert_int_equal(next(r), 0xab);
  assert_int_equal(next(r), 0x83);
  send(r, 0xed);
  assert_int_equal(next(r), 0xfa);
  send(r, 7);
  assert_int_equal(next(r), 0xfa);
  send(r, 0xee);
  assert_int_equal(next(r), 0xee);
  send(r, 0xf0);
  assert_int_equal(next(r), 0xfa);
  send(r, 0);
  assert_int_equal(next(r), 0xfa);
  assert_int_equal(next(r), 2);
  send(r, 0xf3);
  assert_int_equal(next(r), 0xfa);
  send(r, 0x2b);
  assert_int_equal(next(r), 0xfa);
  send(r, 0xf0);
  assert_int_equal(next(r), 0xfa);
  send(r, 3);
  assert_int_equal(next(r), 0xfe);
  send(r, 0xfe);
  assert_int_equal(next(r), 0xfe);
  send(r, 0xf6);
  assert_int_equal(next(r), 0xfa);
  send(r, 0x01);
  assert_int_equal(next(r), 0xfe);
  /* a command where a parameter was due */
  send(r, 0xed);
  assert_int_equal(next(r), 0xfa);
  send(r, 0xf4);
  assert_int_equal(next(r), 0xfa);
  assert_int_equal(next(r), -1);
}

static void disabled_keyboard_is_silent(void **state) {
  struct rig *r = *state;
  send(r, 0xf5);
  assert_int_equal(next(r), 0xfa);
  key(r, "\x1c");
  assert_int_equal(next(r), -1);
  send(r, 0xf4);
  assert_int_equal(next(r), 0xfa);
  key(r, "\x1c");
  assert_int_equal(next(r), 0x1e);
  command(r, 0xad);
  key(r, "\x1c");
  assert_int_equal(next(r), -1);
  command(r, 0xae);
  assert_int_equal(next(r), 0x1e);
}

static void set_1_in_the_keyboard(void **state) {
  struct rig *r = *state;
  command(r, 0x60);
  send(r, 0x04);
  send(r, 0xf0);
  next(r);
  send(r, 1);
  next(r);
  key(r, "\xe0\xf0\x75");
  assert_int_equal(next(r), 0xe0);
  assert_int_equal(next(r), 0xc8);
}

static void queue_overflow_drops_whole_keys(void **state) {
  struct rig *r = *state;
  command(r, 0x60);
  send(r, 0x04);
  for (int i = 0; i < 1000; i++) key(r, "\xe0\xf0\x75");
  int n = 0, byte;
  while ((byte = next(r)) >= 0) assert_int_equal(byte, "\xe0\xf0\x75"[n++ % 3] & 0xff);
  assert_int_equal(n % 3, 0);
  assert_in_range(n, 16, 128);
}

static void reply_overflow(void **state) {
  struct rig *r = *state;
  command(r, 0xad);
  for (int i = 0; i < 1000; i++) send(r, 0xf2);
  for (int i = 0; i < 20; i++) next(r);
  assert_int_equal(next(r), -1);
}

static void aux_buffer_can_be_written(void **state) {
  struct rig *r = *state;
  pic_setup(r, 1 << 12 | 1 << 2);
  command(r, 0x60);
  send(r, 0x47);
  command(r, 0xd3);
  send(r, 0x5a);
  assert_int_equal(pc_ack_interrupt(r->pc), 0x3c);
  assert_int_equal(status(r) & 0x21, 0x21);
  assert_int_equal(next(r), 0x5a);
  assert_int_equal(status(r) & 0x21, 0);
}

static void output_buffer_can_be_written(void **state) {
  struct rig *r = *state;
  command(r, 0xd2);
  send(r, 0x77);
  assert_int_equal(status(r) & 0x21, 1);
  assert_int_equal(next(r), 0x77);
}

int main(void) {
#define RIG(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
  const struct CMUnitTest tests[] = {
    RIG(controller_self_tests),
    RIG(command_byte_reads_back),
    RIG(keys_are_translated_to_set_1),
    RIG(port_60_keeps_its_byte_for_a_second_read),
    RIG(each_byte_is_an_edge),
    RIG(host_commands_of_the_keyboard),
    RIG(disabled_keyboard_is_silent),
    RIG(set_1_in_the_keyboard),
    RIG(queue_overflow_drops_whole_keys),
    RIG(reply_overflow),
    RIG(aux_buffer_can_be_written),
    RIG(output_buffer_can_be_written),
  };
  return cmocka_run_group_tests(tests, 0, 0);
}
