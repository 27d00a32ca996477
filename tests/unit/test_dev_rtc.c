// MC146818 clock and CMOS memory.
// link: bt_devices
#include "test_dev_rig.h"

static uint8_t cmos(struct rig *r, uint8_t reg) {
  out8(r, 0x70, reg);
  return in8(r, 0x71);
}
static void set_cmos(struct rig *r, uint8_t reg, uint8_t v) {
  out8(r, 0x70, reg);
  out8(r, 0x71, v);
}

/* Days pass here: without the PIT's 18.2 interrupts a second. */
static int setup(void **state) {
  *state = rig_create(false);
  out8(*state, 0x43, 0x30);
  return 0;
}

/* 2024-02-28 23:59:58, a Wednesday, as Linux sets it: SET and divider reset, then the time runs from half a second before the
 * next one. */
static void set_time(struct rig *r) {
  static const uint8_t values[][2] = {{0, 0x58}, {2, 0x59}, {4, 0x23}, {6, 4}, {7, 0x28}, {8, 0x02}, {9, 0x24}, {0x32, 0x20}};
  set_cmos(r, 11, 0x82);
  set_cmos(r, 10, 0x76);
  for (unsigned i = 0; i < sizeof values / sizeof *values; i++) set_cmos(r, values[i][0], values[i][1]);
  set_cmos(r, 11, 0x02);
  set_cmos(r, 10, 0x26);
}

static void time_runs_over_a_leap_day(void **state) {
  struct rig *r = *state;
  set_time(r);
  assert_int_equal(cmos(r, 0), 0x58);
  advance(r, 490000000);
  assert_int_equal(cmos(r, 0), 0x58);
  advance(r, 20000000);
  assert_int_equal(cmos(r, 0), 0x59);
  advance(r, 1000000000);
  assert_int_equal(cmos(r, 0), 0);
  assert_int_equal(cmos(r, 4), 0);
  assert_int_equal(cmos(r, 7), 0x29);
  assert_int_equal(cmos(r, 8), 0x02);
  assert_int_equal(cmos(r, 6), 5);
  advance(r, 86400 * 1000000000ll);
  assert_int_equal(cmos(r, 7), 0x01);
  assert_int_equal(cmos(r, 8), 0x03);
  advance(r, 306 * 86400 * 1000000000ll);
  assert_int_equal(cmos(r, 9), 0x25);
  assert_int_equal(cmos(r, 8), 0x01);
  assert_int_equal(cmos(r, 7), 0x01);
  assert_int_equal(cmos(r, 0x32), 0x20);
}

static void starts_at_the_clocks_epoch(void **state) {
  struct rig *r = *state; /* counted mode: 2023-06-10 */
  assert_int_equal(cmos(r, 9), 0x23);
  assert_int_equal(cmos(r, 8), 0x06);
  assert_int_equal(cmos(r, 7), 0x10);
  assert_int_equal(cmos(r, 6), 7);
  assert_int_equal(cmos(r, 13), 0x80);
}

static void set_freezes_the_registers(void **state) {
  struct rig *r = *state;
  set_time(r);
  set_cmos(r, 11, 0x92);
  assert_int_equal(cmos(r, 11), 0x82); /* SET clears UIE */
  advance(r, 10000000000ll);
  assert_int_equal(cmos(r, 0), 0x58);
  assert_int_equal(cmos(r, 10) & 0x80, 0);
  set_cmos(r, 11, 0x02);
  assert_int_equal(cmos(r, 0), 0x58);
  advance(r, 1000000000);
  assert_int_equal(cmos(r, 0), 0x59);
}

static void binary_and_12_hours(void **state) {
  struct rig *r = *state;
  set_time(r);
  set_cmos(r, 11, 0x06);
  assert_int_equal(cmos(r, 0), 58);
  assert_int_equal(cmos(r, 4), 23);
  set_cmos(r, 11, 0x00);
  assert_int_equal(cmos(r, 4), 0x91); /* 11 p.m. */
  advance(r, 2000000000);
  assert_int_equal(cmos(r, 4), 0x12); /* 12 a.m. */
  set_cmos(r, 4, 0x92);               /* 12 p.m. */
  set_cmos(r, 11, 0x02);
  assert_int_equal(cmos(r, 4), 0x12);
}

static void uip_warns_before_the_update(void **state) {
  struct rig *r = *state;
  set_time(r);
  advance(r, 500000000 - 3000000);
  assert_int_equal(cmos(r, 10) & 0x80, 0);
  advance(r, 1000000);
  assert_int_equal(cmos(r, 10) & 0x80, 0x80);
  assert_int_equal(cmos(r, 0), 0x58);
  advance(r, 2000000);
  assert_int_equal(cmos(r, 10) & 0x80, 0);
  assert_int_equal(cmos(r, 0), 0x59);
}

static unsigned irqs(struct rig *r, int64_t ns, uint8_t *flags) {
  unsigned n = 0;
  int64_t end = clock_now(r->clock) + ns;
  while (clock_now(r->clock) < end) {
    int64_t next = clock_next_deadline(r->clock);
    advance(r, (next < end ? next : end) - clock_now(r->clock));
    if (r->intr && pc_ack_interrupt(r->pc) == 0x38) {
      *flags = cmos(r, 12);
      out8(r, 0xa0, 0x20);
      out8(r, 0x20, 0x20);
      n++;
    }
  }
  return n;
}

static void periodic_at_1024_hz(void **state) {
  struct rig *r = *state;
  uint8_t flags = 0;
  pic_setup(r, 1 << 8 | 1 << 2);
  cmos(r, 12);
  set_cmos(r, 11, 0x42);
  assert_in_range(irqs(r, 1000000000, &flags), 1023, 1025);
  assert_int_equal(flags & 0xc0, 0xc0);
  set_cmos(r, 11, 0x02);
  assert_int_equal(irqs(r, 1000000000, &flags), 0);
}

static void every_periodic_rate(void **state) {
  struct rig *r = *state;
  uint8_t flags;
  pic_setup(r, 1 << 8 | 1 << 2);
  for (unsigned rate = 1; rate < 16; rate++) {
    unsigned hz = rate < 3 ? 256 >> (rate - 1) : 65536 >> rate;
    set_cmos(r, 10, (uint8_t)(0x20 | rate));
    set_cmos(r, 11, 0x42);
    cmos(r, 12);
    assert_in_range(irqs(r, 1000000000, &flags), hz - 1, hz + 1);
  }
}

static void update_ended_once_a_second(void **state) {
  struct rig *r = *state;
  uint8_t flags = 0;
  pic_setup(r, 1 << 8 | 1 << 2);
  set_time(r);
  cmos(r, 12);
  set_cmos(r, 11, 0x12);
  assert_int_equal(irqs(r, 10000000000ll, &flags), 10);
  assert_int_equal(flags & 0x90, 0x90);
}

static void alarm_and_dont_care(void **state) {
  struct rig *r = *state;
  uint8_t flags = 0;
  pic_setup(r, 1 << 8 | 1 << 2);
  set_time(r);
  set_cmos(r, 1, 0x05);
  set_cmos(r, 3, 0x01);
  set_cmos(r, 5, 0x00);
  cmos(r, 12);
  set_cmos(r, 11, 0x22);
  assert_int_equal(irqs(r, 66000000000ll, &flags), 0);
  assert_int_equal(irqs(r, 2000000000, &flags), 1);
  assert_int_equal(flags & 0xa0, 0xa0);
  assert_int_equal(irqs(r, 86390 * 1000000000ll, &flags), 0);
  set_cmos(r, 5, 0xff);
  set_cmos(r, 3, 0xc0);
  assert_in_range(irqs(r, 600000000000ll, &flags), 10, 10);
}

static void flags_come_without_interrupts_too(void **state) {
  struct rig *r = *state;
  cmos(r, 12);
  advance(r, 1500000000);
  assert_int_equal(cmos(r, 12), 0x50); /* PF, UF; no IRQF */
  assert_int_equal(cmos(r, 12), 0);
}

static void stall_merges_periods(void **state) {
  struct rig *r = *state;
  uint8_t flags;
  pic_setup(r, 1 << 8 | 1 << 2);
  cmos(r, 12);
  set_cmos(r, 11, 0x42);
  stall(r, 1000000000);
  clock_run(r->clock);
  assert_in_range(irqs(r, 1000000, &flags), 1, 2);
}

static void century_is_at_37h_too(void **state) {
  struct rig *r = *state;
  set_time(r);
  assert_int_equal(cmos(r, 0x37), 0x20);
  set_cmos(r, 0x37, 0x19);
  assert_int_equal(cmos(r, 0x32), 0x19);
  assert_int_equal(cmos(r, 0x37), 0x19);
}

/* Ticks of 1024 Hz told within `ns` behind a stall. */
static unsigned told_after_a_stall(struct rig *r, int64_t stalled, int64_t ns) {
  uint8_t flags;
  pic_setup(r, 1 << 8 | 1 << 2);
  set_cmos(r, 10, 0x26);
  set_cmos(r, 11, 0x42);
  cmos(r, 12);
  stall(r, stalled);
  clock_run(r->clock);
  return irqs(r, 1000, &flags) + irqs(r, ns, &flags); /* the first one waits already, and there is no deadline */
}

static void slew_tells_each_period_late(void **state) {
  const char *error = NULL;
  struct rig *r = rig_create_slewing(&error);
  assert_non_null(r);
  out8(r, 0x43, 0x30);
  assert_in_range(told_after_a_stall(r, 1000000000, 1000000000), 2040, 2056);
  uint8_t flags;
  assert_in_range(irqs(r, 1000000000, &flags), 1022, 1026);                            /* the debt is paid */
  assert_in_range(told_after_a_stall(r, 3600 * 1000000000ll, 1000000000), 2040, 2060); /* of an hour a second is owed */
  stall(r, 500000000);
  clock_run(r->clock);
  set_cmos(r, 11, 0x02); /* who wants none is owed none */
  set_cmos(r, 11, 0x42);
  cmos(r, 12);
  assert_in_range(irqs(r, 1000000000, &flags), 1022, 1026);
  rig_destroy(r);
}

static void without_slew_missed_periods_are_one(void **state) {
  assert_in_range(told_after_a_stall(*state, 1000000000, 100000000), 100, 106);
}

static void cmos_tells_the_memory_size(void **state) {
  struct rig *r = *state; /* 128 MiB */
  assert_int_equal(cmos(r, 0x15) | cmos(r, 0x16) << 8, 640);
  assert_int_equal(cmos(r, 0x17) | cmos(r, 0x18) << 8, 0xffff);
  assert_int_equal(cmos(r, 0x30) | cmos(r, 0x31) << 8, 0xffff);
  assert_int_equal((cmos(r, 0x34) | cmos(r, 0x35) << 8) * 64, (128 - 16) * 1024);
  unsigned sum = 0;
  for (uint8_t i = 0x10; i < 0x2e; i++) sum += cmos(r, i);
  assert_int_equal(cmos(r, 0x2e) << 8 | cmos(r, 0x2f), sum);
  set_cmos(r, 0x40, 0x77);
  pc_reset(r->pc);
  assert_int_equal(cmos(r, 0x40), 0x77);
}

static void nonsense_dates_do_no_harm(void **state) {
  struct rig *r = *state;
  for (unsigned v = 0; v < 256; v++)
    for (uint8_t reg = 0; reg < 10; reg++) {
      set_cmos(r, reg, (uint8_t)v);
      set_cmos(r, 0x32, (uint8_t)(v * 7));
      cmos(r, reg);
      advance(r, 1000000000);
    }
}

int main(void) {
#define RIG(f) cmocka_unit_test_setup_teardown(f, setup, rig_teardown)
  const struct CMUnitTest tests[] = {
    RIG(time_runs_over_a_leap_day),
    RIG(starts_at_the_clocks_epoch),
    RIG(set_freezes_the_registers),
    RIG(binary_and_12_hours),
    RIG(uip_warns_before_the_update),
    RIG(periodic_at_1024_hz),
    RIG(every_periodic_rate),
    RIG(update_ended_once_a_second),
    RIG(alarm_and_dont_care),
    RIG(flags_come_without_interrupts_too),
    RIG(stall_merges_periods),
    RIG(cmos_tells_the_memory_size),
    RIG(nonsense_dates_do_no_harm),
    RIG(century_is_at_37h_too),
    cmocka_unit_test(slew_tells_each_period_late),
    RIG(without_slew_missed_periods_are_one),
  };
  return cmocka_run_group_tests(tests, 0, 0);
}
