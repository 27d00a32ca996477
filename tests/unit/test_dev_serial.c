// 16550A UART.
// link: bt_devices
#include "test_dev_rig.h"

enum { COM1 = 0x3f8, DATA = COM1, IER, IIR, LCR, MCR, LSR, MSR, SCR };

static void send(struct rig *r, const char *text) { rig_receive(r, 0, (const uint8_t *)text, (unsigned)strlen(text)); }

static void transmits_at_once(void **state) {
  struct rig *r = *state;
  out8(r, LCR, 3);
  for (const char *p = "hello"; *p; p++) {
    assert_int_equal(in8(r, LSR) & 0x60, 0x60);
    out8(r, DATA, (uint8_t)*p);
  }
  assert_int_equal(r->output_size, 5);
  assert_memory_equal(r->output, "hello", 5);
}

/* What SeaBIOS boots finds the chip as after power-on; a system that wants five bits says so. */
static void eight_bits_until_lcr_is_written(void **state) {
  struct rig *r = *state;
  pc_reset(r->pc);
  assert_int_equal(in8(r, LCR), 0);
  out8(r, DATA, 's');
  out8(r, LCR, 0);
  out8(r, DATA, 's');
  assert_int_equal(r->output_size, 2);
  assert_memory_equal(r->output, "s\x13", 2);
}

static void dlab_hides_the_data_register(void **state) {
  struct rig *r = *state;
  out8(r, LCR, 0x83);
  out8(r, DATA, 1);
  out8(r, IER, 2);
  assert_int_equal(in8(r, DATA), 1);
  assert_int_equal(in8(r, IER), 2);
  out8(r, LCR, 3);
  assert_int_equal(in8(r, IER), 0);
  assert_int_equal(r->output_size, 0);
}

static void looks_like_a_16550a_to_linux(void **state) {
  struct rig *r = *state;
  out8(r, IER, 0);
  assert_int_equal(in8(r, IER), 0);
  out8(r, IER, 0xff);
  assert_int_equal(in8(r, IER), 0x0f);
  out8(r, IER, 0);
  out8(r, MCR, 0x1a);
  assert_int_equal(in8(r, MSR) & 0xf0, 0x90);
  out8(r, MCR, 0);
  out8(r, IIR, 1);
  assert_int_equal(in8(r, IIR) >> 6, 3);
  out8(r, IIR, 0x21);
  assert_int_equal(in8(r, IIR) & 0x20, 0);
  out8(r, SCR, 0xa5);
  assert_int_equal(in8(r, SCR), 0xa5);
  assert_int_equal(in8(r, MSR) & 0xf0, 0xb0);
}

static void without_fifo_there_is_room_for_one(void **state) {
  struct rig *r = *state;
  assert_int_equal(rig_room(r, 0), 1);
  send(r, "a");
  assert_int_equal(rig_room(r, 0), 0);
  send(r, "b");
  assert_int_equal(in8(r, LSR) & 3, 3);
  assert_int_equal(in8(r, LSR) & 3, 1); /* OE is cleared by reading */
  assert_int_equal(in8(r, DATA), 'b');
  assert_int_equal(in8(r, LSR) & 1, 0);
}

/* Ctrl-A b: a byte of zeros with LSR's break bit, which reading clears; in loopback the line is cut off. */
static void a_break_is_received(void **state) {
  struct rig *r = *state;
  const struct char_front *front = &r->ports[0].backend.front;
  front->event(front->opaque, CHAR_FOCUSED);
  assert_int_equal(in8(r, LSR) & 0x11, 0);
  front->event(front->opaque, CHAR_BREAK);
  assert_int_equal(in8(r, LSR) & 0x11, 0x11);
  assert_int_equal(in8(r, LSR) & 0x11, 0x01);
  assert_int_equal(in8(r, DATA), 0);
  out8(r, MCR, 0x10);
  front->event(front->opaque, CHAR_BREAK);
  assert_int_equal(in8(r, LSR) & 0x11, 0);
}

static void fifo_overrun_keeps_the_first_16(void **state) {
  struct rig *r = *state;
  out8(r, IIR, 1);
  assert_int_equal(rig_room(r, 0), 16);
  send(r, "0123456789abcdefXY");
  assert_int_equal(rig_room(r, 0), 0);
  assert_int_equal(in8(r, LSR) & 2, 2);
  for (unsigned i = 0; i < 16; i++) assert_int_equal(in8(r, DATA), "0123456789abcdef"[i]);
  assert_int_equal(in8(r, LSR) & 1, 0);
}

static void trigger_level_then_timeout(void **state) {
  struct rig *r = *state;
  pic_setup(r, 1 << 4);
  out8(r, LCR, 0x83);
  out8(r, DATA, 12);
  out8(r, IER, 0);
  out8(r, LCR, 3); /* 9600 8N1: four characters are 4.2 ms */
  out8(r, MCR, 8);
  out8(r, IER, 1);
  out8(r, IIR, 0x81); /* 8 bytes */
  send(r, "1234567");
  assert_int_equal(in8(r, IIR), 0xc1);
  advance(r, 4000000);
  assert_int_equal(in8(r, IIR), 0xc1);
  advance(r, 400000);
  assert_int_equal(in8(r, IIR), 0xcc);
  assert_int_equal(pc_ack_interrupt(r->pc), 0x34);
  assert_int_equal(in8(r, DATA), '1');
  assert_int_equal(in8(r, IIR), 0xc1); /* reading restarts the timeout */
  send(r, "89");
  assert_int_equal(in8(r, IIR), 0xc4);
  in8(r, DATA);
  assert_int_equal(in8(r, IIR), 0xc1);
}

static void thre_interrupt_semantics(void **state) {
  struct rig *r = *state;
  pic_setup(r, 1 << 4);
  out8(r, MCR, 8);
  out8(r, IER, 2);
  assert_int_equal(pc_ack_interrupt(r->pc), 0x34);
  assert_int_equal(in8(r, IIR), 2);
  assert_int_equal(in8(r, IIR), 1); /* reading IIR took it back */
  out8(r, 0x20, 0x20);
  out8(r, DATA, 'x');
  assert_true(r->intr);
  assert_int_equal(in8(r, IIR), 2);
  out8(r, IER, 2); /* no change: nothing new */
  assert_int_equal(in8(r, IIR), 1);
  out8(r, IER, 0);
  out8(r, IER, 2); /* Linux's test for lost THRE interrupts */
  assert_int_equal(in8(r, IIR), 2);
}

static void priority_of_causes(void **state) {
  struct rig *r = *state;
  out8(r, MCR, 0x10);
  out8(r, MCR, 0x00); /* modem lines fall and rise: deltas */
  out8(r, IER, 0x0f);
  send(r, "a");
  send(r, "b");
  assert_int_equal(in8(r, IIR), 6);
  in8(r, LSR);
  assert_int_equal(in8(r, IIR), 4);
  in8(r, DATA);
  assert_int_equal(in8(r, IIR), 2);
  assert_int_equal(in8(r, IIR), 0);
  in8(r, MSR);
  assert_int_equal(in8(r, IIR), 1);
}

static void out2_gates_the_line(void **state) {
  struct rig *r = *state;
  pic_setup(r, 1 << 4);
  out8(r, MCR, 0);
  out8(r, IER, 2);
  assert_false(r->intr);
  out8(r, MCR, 8);
  assert_true(r->intr);
}

static void loopback_data_and_modem(void **state) {
  struct rig *r = *state;
  in8(r, MSR);
  out8(r, LCR, 3);
  out8(r, MCR, 0x10);
  assert_int_equal(in8(r, MSR), 0x0b); /* DCTS, DDSR, DDCD: the real lines went away */
  out8(r, MCR, 0x14);
  assert_int_equal(in8(r, MSR), 0x40); /* RI rose: no TERI */
  out8(r, MCR, 0x10);
  assert_int_equal(in8(r, MSR), 0x04); /* and fell */
  out8(r, DATA, 0x5a);
  assert_int_equal(r->output_size, 0);
  assert_int_equal(in8(r, DATA), 0x5a);
  assert_int_equal(rig_room(r, 0), 0);
  send(r, "z");
  assert_int_equal(in8(r, LSR) & 1, 0);
}

static void fifo_reset_empties_it(void **state) {
  struct rig *r = *state;
  out8(r, IIR, 1);
  send(r, "abc");
  out8(r, IIR, 3);
  assert_int_equal(in8(r, LSR) & 1, 0);
  send(r, "abc");
  out8(r, IIR, 0); /* switching the FIFOs empties them too */
  assert_int_equal(in8(r, LSR) & 1, 0);
  assert_int_equal(rig_room(r, 0), 1);
}

/* Whatever makes room tells the back end, which may have more. */
static void room_is_told_to_the_back_end(void **state) {
  struct rig *r = *state;
  struct rig_port *port = &r->ports[0];
  out8(r, IIR, 1);
  send(r, "0123456789abcdef");
  unsigned before = port->accepts, others = r->ports[1].accepts;
  in8(r, DATA);
  assert_int_equal(port->accepts, before + 1);
  out8(r, IIR, 3); /* FIFO cleared */
  assert_int_equal(port->accepts, before + 2);
  out8(r, MCR, 0x10);
  assert_int_equal(rig_room(r, 0), 0);
  out8(r, MCR, 0);
  assert_true(rig_room(r, 0) && port->accepts > before + 2);
  assert_int_equal(r->ports[1].accepts, others);
}

/* ---- as devices that are asked for ---- */

static const struct uart16550_properties automatic = {UINT32_MAX, UINT32_MAX, UINT32_MAX, NULL};

static void a_port_is_where_it_was_asked_for(void **state) {
  const struct uart16550_properties elsewhere = {UINT32_MAX, 0x2000, 10, NULL};
  const struct device_config devices[] = {{&uart16550_type, &elsewhere}, {&uart16550_type, &automatic}};
  const char *error;
  struct rig *r = rig_create_with(false, devices, 2, &error);
  assert_non_null(r);
  pc_reset(r->pc);
  out8(r, 0x2007, 0x5a);
  assert_int_equal(in8(r, 0x2007), 0x5a);
  assert_int_equal(in8(r, COM1 + 7), 0xff); /* the first of the four is the other one */
  out8(r, 0x2ff, 0xa5);
  assert_int_equal(in8(r, 0x2ff), 0xa5);
  assert_int_equal(pc_serial_base(r->pc, 0), 0); /* the tables tell of usual places only */
  assert_int_equal(pc_serial_base(r->pc, 1), 0x2f8);
  pic_setup(r, 1 << 10 | 1 << 3 | 1 << 2);
  out8(r, 0x2004, 8);
  out8(r, 0x2001, 2); /* THR is empty: at once */
  assert_int_equal(pc_ack_interrupt(r->pc), 0x38 + 2);
  rig_destroy(r);
}

static void five_ports_or_one_twice_are_refused(void **state) {
  const struct uart16550_properties second = {1, UINT32_MAX, UINT32_MAX, NULL};
  const struct device_config five[] = {{&uart16550_type, &automatic},
                                       {&uart16550_type, &automatic},
                                       {&uart16550_type, &automatic},
                                       {&uart16550_type, &automatic},
                                       {&uart16550_type, &automatic}},
                             twice[] = {{&uart16550_type, &second}, {&uart16550_type, &automatic}, {&uart16550_type, &second}};
  const char *error;
  assert_null(rig_create_with(false, five, 5, &error));
  assert_string_equal(error, "there are four serial ports");
  assert_null(rig_create_with(false, twice, 3, &error));
  assert_string_equal(error, "there is a serial port of that index already");
  struct rig *r = rig_create_with(false, five, 4, &error);
  assert_non_null(r);
  for (unsigned i = 0; i < 4; i++) assert_true(pc_serial_base(r->pc, i));
  rig_destroy(r);
}

static void more_devices_than_there_is_room_for(void **state) {
  static const struct debug_exit_properties exit = {0xf4, 4};
  struct device_config many[40];
  const char *error;
  for (unsigned i = 0; i < 40; i++) many[i] = (struct device_config){&debug_exit_type, &exit};
  assert_null(rig_create_with(false, many, 40, &error));
  assert_string_equal(error, "too many devices");
}

static void absent_port_swallows(void **state) {
  struct rig *r = *state;
  rig_receive(r, 7, (const uint8_t *)"x", 1);
  assert_int_equal(rig_room(r, 7), 0);
}

int main(void) {
#define RIG(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
  const struct CMUnitTest tests[] = {
    RIG(transmits_at_once),
    RIG(eight_bits_until_lcr_is_written),
    RIG(dlab_hides_the_data_register),
    RIG(looks_like_a_16550a_to_linux),
    RIG(without_fifo_there_is_room_for_one),
    RIG(fifo_overrun_keeps_the_first_16),
    RIG(a_break_is_received),
    RIG(trigger_level_then_timeout),
    RIG(thre_interrupt_semantics),
    RIG(priority_of_causes),
    RIG(out2_gates_the_line),
    RIG(loopback_data_and_modem),
    RIG(fifo_reset_empties_it),
    RIG(room_is_told_to_the_back_end),
    cmocka_unit_test(a_port_is_where_it_was_asked_for),
    cmocka_unit_test(five_ports_or_one_twice_are_refused),
    cmocka_unit_test(more_devices_than_there_is_room_for),
    RIG(absent_port_swallows),
  };
  return cmocka_run_group_tests(tests, 0, 0);
}
