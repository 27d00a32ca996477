// 8042 and PS/2 keyboard.
// link: bt_devices
#include "test_dev_rig.h"

static void command(struct rig *r, uint8_t v) { out8(r, 0x64, v); }
static uint8_t status(struct rig *r) { return in8(r, 0x64); }
static void press(struct rig *r, enum pc_key key) { pc_keyboard_press(r->pc, key, true); }
static void release(struct rig *r, enum pc_key key) { pc_keyboard_press(r->pc, key, false); }
static void stroke(struct rig *r, enum pc_key key) { press(r, key), release(r, key); }

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
  stroke(r, PC_KEY_A);
  stroke(r, PC_KEY_UP);
  static const int expected[] = {0x1e, 0x9e, 0xe0, 0x48, 0xe0, 0xc8, -1};
  for (unsigned i = 0; i < sizeof expected / sizeof *expected; i++) assert_int_equal(next(r), expected[i]);
  command(r, 0x60);
  send(r, 0x05);
  stroke(r, PC_KEY_A);
  assert_int_equal(next(r), 0x1c);
  assert_int_equal(next(r), 0xf0);
  assert_int_equal(next(r), 0x1c);
}

static void port_60_keeps_its_byte_for_a_second_read(void **state) {
  struct rig *r = *state;
  press(r, PC_KEY_A);
  press(r, PC_KEY_B);
  assert_int_equal(in8(r, 0x60), 0x1e);
  assert_int_equal(in8(r, 0x60), 0x1e);
  assert_int_equal(next(r), 0x30);
}

static void each_byte_is_an_edge(void **state) {
  struct rig *r = *state;
  pic_setup(r, 2);
  press(r, PC_KEY_A);
  press(r, PC_KEY_B);
  press(r, PC_KEY_C);
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
  send(r, 4);
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
  stroke(r, PC_KEY_A);
  assert_int_equal(next(r), -1);
  send(r, 0xf4);
  assert_int_equal(next(r), 0xfa);
  press(r, PC_KEY_A);
  assert_int_equal(next(r), 0x1e);
  command(r, 0xad);
  release(r, PC_KEY_A);
  assert_int_equal(next(r), -1);
  command(r, 0xae);
  assert_int_equal(next(r), 0x9e);
}

/* ---- scan code sets ---- */

/* Bytes of one event, and then none more. */
static void expect(struct rig *r, const char *bytes, unsigned n) {
  for (unsigned i = 0; i < n; i++) {
    int byte = next(r);
    if (byte != (uint8_t)bytes[i]) fail_msg("byte %u is %x, not %x", i, byte, (uint8_t)bytes[i]);
  }
  assert_int_equal(next(r), -1);
}
#define EXPECT(r, bytes) expect(r, bytes, sizeof bytes - 1)

static void use_set(struct rig *r, uint8_t set) {
  command(r, 0x60);
  send(r, 0x04); /* no translation, no interrupts */
  send(r, 0xf0);
  EXPECT(r, "\xfa");
  send(r, set);
  EXPECT(r, "\xfa");
  send(r, 0xf0);
  send(r, 0);
  assert_int_equal(next(r), 0xfa);
  assert_int_equal(next(r), 0xfa);
  assert_int_equal(next(r), set);
}

static void each_set_is_told_and_used(void **state) {
  struct rig *r = *state;
  static const struct {
    enum pc_key key;
    uint8_t set;
    const char *down, *up;
  } rows[] = {
    {PC_KEY_A, 1, "\x1e", "\x9e"},
    {PC_KEY_A, 2, "\x1c", "\xf0\x1c"},
    {PC_KEY_F7, 1, "\x41", "\xc1"},
    {PC_KEY_F7, 2, "\x83", "\xf0\x83"},
    {PC_KEY_F7, 3, "\x37", ""},
    {PC_KEY_F12, 1, "\x58", "\xd8"},
    {PC_KEY_UP, 1, "\xe0\x48", "\xe0\xc8"},
    {PC_KEY_UP, 2, "\xe0\x75", "\xe0\xf0\x75"},
    {PC_KEY_UP, 3, "\x63", ""},
    {PC_KEY_CTRL_R, 2, "\xe0\x14", "\xe0\xf0\x14"},
    {PC_KEY_CTRL, 3, "\x11", "\xf0\x11"},
    {PC_KEY_KP_ENTER, 1, "\xe0\x1c", "\xe0\x9c"},
    {PC_KEY_PRINT, 1, "\xe0\x2a\xe0\x37", "\xe0\xb7\xe0\xaa"},
    {PC_KEY_PRINT, 2, "\xe0\x12\xe0\x7c", "\xe0\xf0\x7c\xe0\xf0\x12"},
    {PC_KEY_PAUSE, 1, "\xe1\x1d\x45\xe1\x9d\xc5", ""},
    {PC_KEY_PAUSE, 2, "\xe1\x14\x77\xe1\xf0\x14\xf0\x77", ""},
    {PC_KEY_PAUSE, 3, "\x62", ""},
    {PC_KEY_POWER, 2, "\xe0\x37", "\xe0\xf0\x37"},
    {PC_KEY_POWER, 3, "", ""},
  };
  for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    use_set(r, rows[i].set);
    press(r, rows[i].key);
    expect(r, rows[i].down, (unsigned)strlen(rows[i].down));
    release(r, rows[i].key);
    expect(r, rows[i].up, (unsigned)strlen(rows[i].up));
  }
}

static void print_and_pause_with_others_held(void **state) {
  struct rig *r = *state;
  use_set(r, 2);
  press(r, PC_KEY_ALT);
  EXPECT(r, "\x11");
  stroke(r, PC_KEY_PRINT);
  EXPECT(r, "\x84\xf0\x84"); /* SysRq */
  release(r, PC_KEY_ALT);
  press(r, PC_KEY_CTRL_R);
  EXPECT(r, "\xf0\x11\xe0\x14");
  stroke(r, PC_KEY_PAUSE);
  EXPECT(r, "\xe0\x7e\xe0\xf0\x7e"); /* Break */
  stroke(r, PC_KEY_PRINT);
  EXPECT(r, "\xe0\x7c\xe0\xf0\x7c");
}

static void key_types_of_set_3(void **state) {
  struct rig *r = *state;
  use_set(r, 3);
  send(r, 0xf8); /* all make and break */
  EXPECT(r, "\xfa");
  stroke(r, PC_KEY_A);
  EXPECT(r, "\x1c\xf0\x1c");
  send(r, 0xfd); /* make alone: Z and X */
  EXPECT(r, "\xfa");
  send(r, 0x1a);
  EXPECT(r, "\xfa");
  send(r, 0x22);
  EXPECT(r, "\xfa");
  stroke(r, PC_KEY_Z);
  stroke(r, PC_KEY_X);
  stroke(r, PC_KEY_C);
  EXPECT(r, "\x1a\x22\x21\xf0\x21");
  send(r, 0xf6);
  EXPECT(r, "\xfa");
  send(r, 0xf0);
  EXPECT(r, "\xfa");
  send(r, 3);
  EXPECT(r, "\xfa");
  stroke(r, PC_KEY_A);
  stroke(r, PC_KEY_SHIFT);
  EXPECT(r, "\x1c\x12\xf0\x12"); /* defaults */
}

static void keys_have_qemus_names_and_numbers(void **state) {
  assert_int_equal(pc_key_by_name("ctrl"), PC_KEY_CTRL);
  assert_int_equal(pc_key_by_name("menu"), PC_KEY_COMPOSE);
  assert_int_equal(pc_key_by_name("Ctrl"), -1);
  assert_int_equal(pc_key_by_number(0x1c), PC_KEY_RET);
  assert_int_equal(pc_key_by_number(0x9c), PC_KEY_KP_ENTER);
  assert_int_equal(pc_key_by_number(0xd3), PC_KEY_DELETE);
  assert_int_equal(pc_key_by_number(0), -1);
  assert_int_equal(pc_key_by_number(0x1c | 0x100), -1);
  for (unsigned i = 0; i < PC_KEY_COUNT; i++) { /* no two of a name, a number */
    assert_int_equal(pc_key_by_name(pc_key_name((enum pc_key)i)), i);
    uint8_t bytes[KEY_BYTES];
    unsigned n = pc_key_bytes((enum pc_key)i, 1, true, KEY_WITH_CTRL, bytes);
    if (n <= 2) assert_int_equal(pc_key_by_number(bytes[n - 1] | (n == 2 ? 0x80u : 0)), i);
  }
}

/* ---- repeat ---- */

/* Bytes that come in so many ms. */
static unsigned bytes_in(struct rig *r, unsigned ms) {
  unsigned n = 0;
  for (unsigned i = 0; i < ms * 10; i++) {
    advance(r, 100000);
    if (status(r) & 1) n++, in8(r, 0x60);
  }
  return n;
}

static void a_key_that_is_held_repeats_at_its_rate(void **state) {
  struct rig *r = *state;
  press(r, PC_KEY_A);
  assert_int_equal(bytes_in(r, 490), 1);
  assert_in_range(bytes_in(r, 1000), 10, 12); /* 10.9 a second after half a second */
  press(r, PC_KEY_A);                         /* a window system's own repeat */
  assert_in_range(bytes_in(r, 1000), 10, 12);
  release(r, PC_KEY_A);
  assert_int_equal(next(r), 0x9e);
  assert_int_equal(bytes_in(r, 1000), 0);
  send(r, 0xf3);
  assert_int_equal(next(r), 0xfa);
  send(r, 0x00); /* 30 a second after a quarter */
  assert_int_equal(next(r), 0xfa);
  press(r, PC_KEY_A);
  assert_int_equal(bytes_in(r, 245), 1);
  assert_in_range(bytes_in(r, 1000), 29, 31);
  press(r, PC_KEY_B); /* the last one repeats */
  assert_int_equal(next(r), 0x30);
  advance(r, 300000000);
  assert_int_equal(next(r), 0x30);
  release(r, PC_KEY_A);
  next(r);
  assert_in_range(bytes_in(r, 1000), 29, 31);
  send(r, 0xf5); /* scanning off */
  assert_int_equal(next(r), 0xfa);
  assert_int_equal(bytes_in(r, 1000), 0);
}

static void a_guest_that_does_not_read_is_not_flooded(void **state) {
  struct rig *r = *state;
  press(r, PC_KEY_A);
  advance(r, 10000000000);
  release(r, PC_KEY_A);
  assert_in_range(bytes_in(r, 400), 2, 4);
}

static void make_only_keys_of_set_3_do_not_repeat(void **state) {
  struct rig *r = *state;
  use_set(r, 3);
  press(r, PC_KEY_F1);
  assert_int_equal(bytes_in(r, 2000), 1);
  press(r, PC_KEY_A);
  assert_in_range(bytes_in(r, 2000), 16, 18);
}

/* ---- too much ---- */

static void queue_overflow_drops_whole_keys(void **state) {
  struct rig *r = *state;
  command(r, 0x60);
  send(r, 0x04);
  for (int i = 0; i < 1000; i++) press(r, PC_KEY_UP), release(r, PC_KEY_UP);
  int n = 0, byte;
  while ((byte = next(r)) >= 0) assert_int_equal(byte, "\xe0\x75\xe0\xf0\x75"[n++ % 5] & 0xff);
  assert_int_equal(n % 5, 0);
  assert_in_range(n, 16, 128);
}

static void a_full_queue_has_room_for_releases(void **state) {
  struct rig *r = *state;
  bool down[256] = {false};
  for (unsigned i = 0; i < PC_KEY_COUNT; i++)
    if (i != PC_KEY_PRINT && i != PC_KEY_PAUSE) press(r, (enum pc_key)i);
  for (unsigned i = PC_KEY_ESC; i < PC_KEY_ESC + 8; i++) release(r, (enum pc_key)i);
  for (int byte; (byte = next(r)) >= 0;) down[byte & 0x7f] = !(byte & 0x80);
  for (unsigned code = 1; code < 9; code++) assert_false(down[code]); /* set 1 counts from Esc on */
  assert_true(down[0x10]);
}

static void room_is_told_and_holds(void **state) {
  struct rig *r = *state;
  command(r, 0x60);
  send(r, 0x04);
  unsigned room = pc_keyboard_room(r->pc);
  assert_in_range(room, 2, 8);
  for (unsigned i = 0; i < room; i++) stroke(r, PC_KEY_PRINT); /* the longest */
  unsigned n = 0;
  while (next(r) >= 0) n++;
  assert_int_equal(n, 10 * room);
  send(r, 0xf5);
  next(r);
  assert_int_equal(pc_keyboard_room(r->pc), 0);
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
    RIG(each_set_is_told_and_used),
    RIG(print_and_pause_with_others_held),
    RIG(key_types_of_set_3),
    RIG(keys_have_qemus_names_and_numbers),
    RIG(a_key_that_is_held_repeats_at_its_rate),
    RIG(a_guest_that_does_not_read_is_not_flooded),
    RIG(make_only_keys_of_set_3_do_not_repeat),
    RIG(queue_overflow_drops_whole_keys),
    RIG(a_full_queue_has_room_for_releases),
    RIG(room_is_told_and_holds),
    RIG(reply_overflow),
    RIG(aux_buffer_can_be_written),
    RIG(output_buffer_can_be_written),
  };
  return cmocka_run_group_tests(tests, 0, 0);
}
