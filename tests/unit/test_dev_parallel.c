// Parallel port and its printer.
// link: bt_devices
#include "test_dev_rig.h"
#include "devices/chips/parallel.h"

enum { LPT1 = 0x378, DATA = LPT1, STATUS, CONTROL };
enum { IDLE = 0xd8, STROBE = 1, RUN = 0x0c /* selected, not in reset */, IRQ = 0x10, INPUT = 0x20 };

static struct parallel_properties usual = {UINT32_MAX, UINT32_MAX, UINT32_MAX, NULL};

static struct rig *with_ports(unsigned count, const struct parallel_properties *properties, const char **error) {
  struct device_config devices[4];
  for (unsigned i = 0; i < count; i++) devices[i] = (struct device_config){&parallel_type, &properties[i]};
  return rig_create_with(false, devices, count, error);
}

static struct rig_port paper;
static int setup(void **state) {
  static const struct char_ops ops = {.write = rig_output, .accept = rig_accept};
  static struct parallel_properties properties;
  const char *error = NULL;
  properties = usual;
  paper = (struct rig_port){{&ops, {0}}, NULL, 0};
  properties.chardev = &paper.backend;
  struct rig *r = *state = with_ports(1, &properties, &error);
  paper.rig = r;
  return error != NULL;
}

static void print(struct rig *r, uint8_t byte) {
  out8(r, DATA, byte);
  out8(r, CONTROL, RUN | STROBE);
  out8(r, CONTROL, RUN);
}

static void registers_after_a_reset(void **state) {
  struct rig *r = *state;
  pc_reset(r->pc); /* without what a BIOS has written */
  assert_int_equal(in8(r, DATA), 0xff);
  assert_int_equal(in8(r, STATUS), IDLE | 1);
  assert_int_equal(in8(r, CONTROL), RUN);
  assert_int_equal(in8(r, LPT1 + 3), 0xff);
  out8(r, CONTROL, 0); /* the printer is reset */
  assert_int_equal(in8(r, CONTROL), 0xc0);
  assert_int_equal(in8(r, STATUS), IDLE);
  out8(r, DATA, 0xaa); /* how a BIOS looks for ports */
  assert_int_equal(in8(r, DATA), 0xaa);
  pc_reset(r->pc);
  assert_int_equal(in8(r, DATA), 0xff);
  assert_int_equal(in8(r, STATUS), IDLE | 1);
}

static void a_byte_goes_when_the_strobe_falls(void **state) {
  struct rig *r = *state;
  out8(r, CONTROL, RUN);
  out8(r, DATA, 'h');
  assert_int_equal(r->output_size, 0);
  out8(r, CONTROL, RUN | STROBE);
  assert_int_equal(r->output_size, 1);
  out8(r, CONTROL, RUN | STROBE); /* still down */
  assert_int_equal(r->output_size, 1);
  out8(r, CONTROL, RUN);
  print(r, 'i');
  assert_int_equal(r->output_size, 2);
  assert_memory_equal(r->output, "hi", 2);
}

static void busy_and_ack_are_seen_by_who_polls(void **state) {
  struct rig *r = *state;
  out8(r, CONTROL, 0);
  out8(r, CONTROL, RUN);
  out8(r, DATA, 'x');
  out8(r, CONTROL, RUN | STROBE);
  assert_int_equal(in8(r, STATUS), IDLE & 0x7f); /* busy for as long as the strobe is down */
  assert_int_equal(in8(r, STATUS), IDLE & 0x7f);
  out8(r, CONTROL, RUN);
  assert_int_equal(in8(r, STATUS), IDLE & 0x7f);
  assert_int_equal(in8(r, STATUS), IDLE & 0x3f); /* ACK */
  assert_int_equal(in8(r, STATUS), IDLE);
}

static void who_is_not_selected_or_in_reset_prints_nothing(void **state) {
  struct rig *r = *state;
  out8(r, CONTROL, 4 | STROBE); /* not selected */
  out8(r, CONTROL, 4);
  out8(r, CONTROL, 8 | STROBE); /* in reset */
  out8(r, CONTROL, 8);
  assert_int_equal(r->output_size, 0);
  assert_int_equal(in8(r, STATUS), IDLE);
}

static void interrupt_with_the_end_of_the_strobe(void **state) {
  struct rig *r = *state;
  pic_setup(r, 1 << 7);
  print(r, 'a');
  assert_false(r->intr);
  out8(r, CONTROL, RUN | IRQ);
  assert_false(r->intr);
  out8(r, CONTROL, RUN | IRQ);
  assert_int_equal(pc_ack_interrupt(r->pc), 0x37); /* as QEMU's: any write of a high strobe while it is on */
  in8(r, STATUS);
  out8(r, 0x20, 0x20);
  out8(r, CONTROL, RUN | IRQ | STROBE);
  assert_false(r->intr);
  out8(r, CONTROL, RUN | IRQ);
  assert_int_equal(pc_ack_interrupt(r->pc), 0x37);
  in8(r, STATUS);
  out8(r, 0x20, 0x20);
  assert_false(r->intr);
}

static void turned_round_the_lines_are_ones(void **state) {
  struct rig *r = *state;
  out8(r, DATA, 0x55);
  out8(r, CONTROL, RUN | INPUT);
  assert_int_equal(in8(r, DATA), 0xff);
  out8(r, CONTROL, RUN);
  assert_int_equal(in8(r, DATA), 0x55);
}

static void three_ports_and_no_more(void **state) {
  struct parallel_properties four[4] = {usual, usual, usual, usual};
  const char *error = NULL;
  struct rig *r = with_ports(3, four, &error);
  assert_non_null(r);
  static const uint16_t bases[] = {0x378, 0x278, 0x3bc};
  for (unsigned i = 0; i < 3; i++) {
    out8(r, bases[i], 0x5a);
    assert_int_equal(in8(r, bases[i]), 0x5a);
    assert_int_equal(pc_parallel_base(r->pc, i), bases[i]);
  }
  rig_destroy(r);
  assert_null(with_ports(4, four, &error));
  assert_string_equal(error, "there are three parallel ports");
  four[0].index = four[1].index = 1;
  assert_null(with_ports(2, four, &error));
  assert_string_equal(error, "there is a parallel port of that index already");
  four[0].iobase = 0x1000;
  r = with_ports(1, four, &error);
  assert_int_equal(pc_parallel_base(r->pc, 1), 0); /* not where tables may say it is */
  out8(r, 0x1000, 1);
  assert_int_equal(in8(r, 0x1000), 1);
  rig_destroy(r);
}

static void random_accesses_and_saved_states(void **state) {
  struct rig *r = *state;
  struct parallel_properties p = usual;
  const char *error = NULL;
  struct rig *copy = with_ports(1, &p, &error);
  uint32_t x = 12345;
  char text[200];
  for (unsigned i = 0; i < 200000; i++) {
    x = x * 1664525 + 1013904223;
    uint16_t port = LPT1 + (x >> 28 & 3);
    if (x & 1 << 20) io_bus_write(r->io, port, 1u << (x >> 26 & 1), x >> 8 & 0xffff);
    else io_bus_read(r->io, port, 1u << (x >> 26 & 1));
    if (i % 1000) continue;
    struct state_buffer b = {0};
    assert_int_equal(state_save(r->pc, &b), 0);
    assert_null(state_load(copy->pc, b.bytes, b.size));
    free(b.bytes);
    if (!state_equal(r->pc, copy->pc, text, sizeof text)) fail_msg("%s", text);
    assert_int_equal(in8(copy, CONTROL), in8(r, CONTROL));
  }
  rig_destroy(copy);
}

int main(void) {
#define RIG(f) cmocka_unit_test_setup_teardown(f, setup, rig_teardown)
  const struct CMUnitTest tests[] = {
    RIG(registers_after_a_reset),
    RIG(a_byte_goes_when_the_strobe_falls),
    RIG(busy_and_ack_are_seen_by_who_polls),
    RIG(who_is_not_selected_or_in_reset_prints_nothing),
    RIG(interrupt_with_the_end_of_the_strobe),
    RIG(turned_round_the_lines_are_ones),
    cmocka_unit_test(three_ports_and_no_more),
    RIG(random_accesses_and_saved_states),
  };
  return cmocka_run_group_tests(tests, 0, 0);
}
