// 8254 timer and port 61h.
// link: bt_devices
#include "test_dev_rig.h"

enum { HZ = 1193182 };

/* To guest times just behind a PIT tick, so that counts are exact. */
static void to_tick(struct rig *r, uint64_t tick) {
  int64_t at = clock_ticks_to_ns(tick, HZ);
  advance(r, at - clock_now(r->clock));
}
static uint64_t tick(struct rig *r) { return clock_ns_to_ticks(clock_now(r->clock), HZ); }

static void program(struct rig *r, unsigned channel, unsigned mode, uint16_t count) {
  out8(r, 0x43, (uint8_t)(channel << 6 | 0x30 | mode << 1));
  out8(r, 0x40 + (uint16_t)channel, (uint8_t)count);
  out8(r, 0x40 + (uint16_t)channel, (uint8_t)(count >> 8));
}

static uint16_t latched(struct rig *r, unsigned channel) {
  out8(r, 0x43, (uint8_t)(channel << 6));
  uint8_t low = in8(r, 0x40 + (uint16_t)channel);
  return (uint16_t)(low | in8(r, 0x40 + (uint16_t)channel) << 8);
}

static uint8_t status(struct rig *r, unsigned channel) {
  out8(r, 0x43, (uint8_t)(0xe0 | 2 << channel));
  return in8(r, 0x40 + (uint16_t)channel);
}

static unsigned ticks_taken(struct rig *r, int64_t ns) {
  unsigned n = 0;
  int64_t end = clock_now(r->clock) + ns;
  while (clock_now(r->clock) < end) {
    int64_t next = clock_next_deadline(r->clock);
    advance(r, (next < end ? next : end) - clock_now(r->clock));
    if (r->intr && pc_ack_interrupt(r->pc) == 0x30) {
      out8(r, 0x20, 0x20);
      n++;
    }
  }
  return n;
}

static void mode0_counts_down_and_wraps(void **state) {
  struct rig *r = *state;
  out8(r, 0x61, 1);
  to_tick(r, 1000);
  program(r, 2, 0, 100);
  assert_int_equal(in8(r, 0x61) & 0x20, 0);
  to_tick(r, 1001 + 30);
  assert_int_equal(latched(r, 2), 70);
  to_tick(r, 1001 + 99);
  assert_int_equal(in8(r, 0x61) & 0x20, 0);
  to_tick(r, 1001 + 100);
  assert_int_equal(in8(r, 0x61) & 0x20, 0x20);
  to_tick(r, 1001 + 102);
  assert_int_equal(latched(r, 2), 0xfffe);
}

static void mode0_gate_holds_the_count(void **state) {
  struct rig *r = *state;
  out8(r, 0x61, 1);
  to_tick(r, 1000);
  program(r, 2, 0, 1000);
  to_tick(r, 1101);
  out8(r, 0x61, 0);
  uint16_t held = latched(r, 2);
  to_tick(r, 50000);
  assert_int_equal(latched(r, 2), held);
  assert_int_equal(in8(r, 0x61) & 0x20, 0);
  out8(r, 0x61, 1);
  to_tick(r, 50000 + held);
  assert_int_equal(in8(r, 0x61) & 0x20, 0x20);
}

static void mode1_is_started_by_the_gate(void **state) {
  struct rig *r = *state;
  program(r, 2, 1, 50);
  assert_int_equal(in8(r, 0x61) & 0x20, 0x20);
  to_tick(r, 500);
  out8(r, 0x61, 1);
  to_tick(r, 502);
  assert_int_equal(in8(r, 0x61) & 0x20, 0);
  to_tick(r, 530);
  out8(r, 0x61, 0);
  out8(r, 0x61, 1); /* retriggered */
  to_tick(r, 531 + 49);
  assert_int_equal(in8(r, 0x61) & 0x20, 0);
  to_tick(r, 531 + 50);
  assert_int_equal(in8(r, 0x61) & 0x20, 0x20);
}

static void mode2_is_low_for_one_tick(void **state) {
  struct rig *r = *state;
  out8(r, 0x61, 1);
  to_tick(r, 1000);
  program(r, 2, 2, 10);
  unsigned low = 0;
  for (unsigned i = 0; i < 100; i++) {
    to_tick(r, 1001 + i);
    assert_int_equal(latched(r, 2), 10 - i % 10);
    low += !(in8(r, 0x61) & 0x20);
  }
  assert_int_equal(low, 10);
  out8(r, 0x61, 0);
  assert_int_equal(in8(r, 0x61) & 0x20, 0x20);
}

static void mode2_new_count_waits_for_the_period(void **state) {
  struct rig *r = *state;
  out8(r, 0x61, 1);
  to_tick(r, 1000);
  program(r, 2, 2, 100);
  to_tick(r, 1001 + 50);
  out8(r, 0x42, 20);
  out8(r, 0x42, 0);
  assert_int_equal(status(r, 2) & 0x40, 0x40);
  assert_int_equal(latched(r, 2), 50);
  to_tick(r, 1001 + 100);
  assert_int_equal(latched(r, 2), 20);
  assert_int_equal(status(r, 2) & 0x40, 0);
  to_tick(r, 1001 + 125);
  assert_int_equal(latched(r, 2), 15);
}

static void mode3_halves_of_even_and_odd_counts(void **state) {
  struct rig *r = *state;
  out8(r, 0x61, 1);
  for (uint16_t count = 10; count < 12; count++) {
    uint64_t start = tick(r) + 100;
    to_tick(r, start);
    program(r, 2, 3, count);
    unsigned high = 0;
    for (unsigned i = 0; i < count; i++) {
      to_tick(r, start + 1 + i);
      high += (in8(r, 0x61) & 0x20) != 0;
      assert_int_equal(latched(r, 2) & 1, 0);
    }
    assert_int_equal(high, (count + 1) / 2);
  }
}

static void mode4_strobes_once(void **state) {
  struct rig *r = *state;
  out8(r, 0x61, 1);
  to_tick(r, 1000);
  program(r, 2, 4, 10);
  unsigned low = 0;
  for (unsigned i = 0; i < 100; i++) {
    to_tick(r, 1001 + i);
    low += !(in8(r, 0x61) & 0x20);
  }
  assert_int_equal(low, 1);
}

static void mode5_strobes_after_the_gate(void **state) {
  struct rig *r = *state;
  program(r, 2, 5, 10);
  to_tick(r, 1000);
  assert_int_equal(in8(r, 0x61) & 0x20, 0x20);
  out8(r, 0x61, 1);
  to_tick(r, 1011);
  assert_int_equal(in8(r, 0x61) & 0x20, 0);
  to_tick(r, 1012);
  assert_int_equal(in8(r, 0x61) & 0x20, 0x20);
}

static void bcd_counts_in_decimal(void **state) {
  struct rig *r = *state;
  out8(r, 0x61, 1);
  to_tick(r, 1000);
  out8(r, 0x43, 0xb1);
  out8(r, 0x42, 0x00);
  out8(r, 0x42, 0x10);
  to_tick(r, 1002);
  assert_int_equal(latched(r, 2), 0x0999);
}

static void readback_latches_status_then_count(void **state) {
  struct rig *r = *state;
  out8(r, 0x61, 1);
  to_tick(r, 1000);
  program(r, 2, 2, 1000);
  to_tick(r, 1001 + 10);
  out8(r, 0x43, 0xc0 | 8);
  to_tick(r, 1001 + 500);
  out8(r, 0x43, 0xc0 | 8); /* ignored: the first is unread */
  assert_int_equal(in8(r, 0x42), 0x80 | 0x30 | 4);
  assert_int_equal(in8(r, 0x42), 990 & 0xff);
  assert_int_equal(in8(r, 0x42), 990 >> 8);
  assert_int_equal(in8(r, 0x42), 500 & 0xff); /* live again */
}

static void status_shows_the_control_word_as_written(void **state) {
  struct rig *r = *state;
  for (uint8_t word = 0x90; word < 0xc0; word++) { /* channel 2, every access, mode and BCD bit */
    out8(r, 0x43, word);
    assert_int_equal(status(r, 2) & 0x3f, word & 0x3f);
  }
}

static void control_word_stops_counting(void **state) {
  struct rig *r = *state;
  out8(r, 0x61, 1);
  out8(r, 0x43, 0xb0);
  assert_int_equal(status(r, 2) & 0xc0, 0x40);
  to_tick(r, 100000);
  assert_int_equal(in8(r, 0x61) & 0x20, 0);
}

static void irq0_at_100_hz(void **state) {
  struct rig *r = *state;
  pic_setup(r, 1);
  program(r, 0, 2, HZ / 100);
  unsigned n = ticks_taken(r, 10000000000ll);
  assert_in_range(n, 999, 1001);
}

static void irq0_mode3_and_bios_rate(void **state) {
  struct rig *r = *state;
  pic_setup(r, 1);
  program(r, 0, 3, 0);
  assert_in_range(ticks_taken(r, 10000000000ll), 181, 183);
}

static void irq0_one_shot_fires_once(void **state) {
  struct rig *r = *state;
  pic_setup(r, 1);
  program(r, 0, 0, 1000);
  assert_false(r->intr);
  assert_int_equal(ticks_taken(r, 1000000000), 1);
  program(r, 0, 4, 1000);
  assert_int_equal(ticks_taken(r, 1000000000), 1);
}

static void irq0_due_before_a_write_is_not_lost(void **state) {
  struct rig *r = *state;
  pic_setup(r, 1);
  program(r, 0, 4, 1000);
  stall(r, 5000000);
  program(r, 0, 4, 1000);
  assert_true(r->intr);
}

static void stall_is_caught_up(void **state) {
  struct rig *r = *state;
  pic_setup(r, 1);
  program(r, 0, 2, HZ / 100);
  ticks_taken(r, 100000000);
  stall(r, 300000000);
  clock_run(r->clock);
  assert_in_range(ticks_taken(r, 700000000), 98, 101);
}

static void long_stall_is_not_caught_up(void **state) {
  struct rig *r = *state;
  pic_setup(r, 1);
  program(r, 0, 2, HZ / 100);
  stall(r, 60000000000ll);
  clock_run(r->clock);
  assert_in_range(ticks_taken(r, 1000000000), 99, 103);
}

static void absurd_rate_is_limited(void **state) {
  struct rig *r = *state;
  pic_setup(r, 1);
  program(r, 0, 2, 2);
  assert_in_range(ticks_taken(r, 10000000), 500, 1001);
}

static void refresh_toggles_every_15_us(void **state) {
  struct rig *r = *state;
  unsigned changes = 0;
  uint8_t last = in8(r, 0x61) & 0x10;
  for (int i = 0; i < 100000; i++) {
    advance(r, 1000);
    changes += (in8(r, 0x61) & 0x10) != last;
    last = in8(r, 0x61) & 0x10;
  }
  assert_in_range(changes, 6600, 6660);
}

/* What Linux does: PIT channel 2, the PM timer, the local APIC timer and the TSC over the same 50 ms must agree to 0.1 %. */
static void calibration_sources_agree(void **state) {
  struct rig *r = *state;
  out8(r, 0x61, 1);
  program(r, 2, 0, 0xffff);
  mmio_out(r, 0xfee000f0, 4, 0x1ff);
  mmio_out(r, 0xfee003e0, 4, 0xb);
  mmio_out(r, 0xfee00380, 4, 0xffffffff);
  uint32_t pm = in32(r, 0x608);
  uint64_t tsc = clock_tsc(r->clock);
  advance(r, 50000000);
  double ns = (double)(clock_tsc(r->clock) - tsc) * 1e9 / (double)clock_tsc_hz(r->clock);
  double pit = (0xffff - latched(r, 2)) * 1e9 / HZ, pmt = ((in32(r, 0x608) - pm) & 0xffffff) * 1e9 / 3579545,
         apic = 0xffffffffu - mmio_in(r, 0xfee00390, 4);
  assert_true(pit > ns * 0.999 && pit < ns * 1.001);
  assert_true(pmt > ns * 0.999 && pmt < ns * 1.001);
  assert_true(apic > ns * 0.999 && apic < ns * 1.001);
}

/* Guest time stands still at a deadline when the CPU is away: a kernel that waits for OUT2 in a loop, and reads another clock
 * before and behind, must not see more of that (Linux then leaves the PM timer alone). */
static void the_end_of_a_polled_one_shot_is_a_deadline(void **state) {
  struct rig *r = *state;
  program(r, 0, 2, 0); /* the next rise of channel 0 is 55 ms away */
  out8(r, 0x61, 1);
  program(r, 2, 0, 11932);
  int64_t end = clock_ticks_to_ns(tick(r) + 1 + 11932, HZ);
  assert_true(clock_next_deadline(r->clock) == end);
  out8(r, 0x61, 0); /* the gate holds the count */
  assert_true(clock_next_deadline(r->clock) > end);
  out8(r, 0x61, 1);
  assert_true(clock_next_deadline(r->clock) > end - 2000 && clock_next_deadline(r->clock) < end + 2000);
  advance(r, 11000000);
  assert_true(in8(r, 0x61) & 0x20);
  program(r, 2, 3, 1000); /* a tone has none */
  assert_true(clock_next_deadline(r->clock) > clock_now(r->clock) + 2000000);
}

int main(void) {
#define RIG(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
  const struct CMUnitTest tests[] = {
    RIG(mode0_counts_down_and_wraps),
    RIG(mode0_gate_holds_the_count),
    RIG(mode1_is_started_by_the_gate),
    RIG(mode2_is_low_for_one_tick),
    RIG(mode2_new_count_waits_for_the_period),
    RIG(mode3_halves_of_even_and_odd_counts),
    RIG(mode4_strobes_once),
    RIG(mode5_strobes_after_the_gate),
    RIG(bcd_counts_in_decimal),
    RIG(readback_latches_status_then_count),
    RIG(status_shows_the_control_word_as_written),
    RIG(control_word_stops_counting),
    RIG(irq0_at_100_hz),
    RIG(irq0_mode3_and_bios_rate),
    RIG(irq0_one_shot_fires_once),
    RIG(irq0_due_before_a_write_is_not_lost),
    RIG(stall_is_caught_up),
    RIG(long_stall_is_not_caught_up),
    RIG(absurd_rate_is_limited),
    RIG(refresh_toggles_every_15_us),
    RIG(the_end_of_a_polled_one_shot_is_a_deadline),
    cmocka_unit_test_setup_teardown(calibration_sources_agree, rig_setup_apic, rig_teardown),
  };
  return cmocka_run_group_tests(tests, 0, 0);
}
