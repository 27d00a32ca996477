// HPET: registers, one-shot and periodic timers, legacy replacement, levels, stalls.
// link: bt_devices
#include "test_dev_rig.h"
#include "devices/chips/hpet.h"

enum { CONFIG = 0x10, STATUS = 0x20, COUNTER = 0xf0, T0 = 0x100, T1 = 0x120, T2 = 0x140, CMP = 8 };
enum { LEVEL = 1 << 1, ENABLE = 1 << 2, PERIODIC = 1 << 3, SETVAL = 1 << 6, BITS_32 = 1 << 8, PIN_2 = 2 << 9 };
#define MS 1000000

static uint32_t get(struct rig *r, unsigned reg) { return mmio_in(r, HPET_BASE + reg, 4); }
static void put(struct rig *r, unsigned reg, uint32_t v) { mmio_out(r, HPET_BASE + reg, 4, v); }
static uint64_t count_of(struct rig *r) { return get(r, COUNTER) | (uint64_t)get(r, COUNTER + 4) << 32; }

/* Legacy replacement, counting from 0; IRQ 0 and 8 at vectors 30h and 38h, nothing else comes. */
static int setup(void **state) {
  struct rig *r = rig_create(false);
  pic_setup(r, 1 << 0 | 1 << 2 | 1 << 8);
  put(r, CONFIG, 3);
  *state = r;
  return 0;
}

/* Interrupts of a vector while time passes. */
static unsigned taken(struct rig *r, int64_t ns, int vector) {
  int64_t end = clock_now(r->clock) + ns;
  unsigned n = 0;
  while (clock_now(r->clock) < end) {
    int64_t next = clock_next_deadline(r->clock);
    advance(r, next < end ? next - clock_now(r->clock) : end - clock_now(r->clock));
    while (r->intr) {
      assert_int_equal(pc_ack_interrupt(r->pc), vector);
      out8(r, 0xa0, 0x20);
      out8(r, 0x20, 0x20);
      n++;
    }
  }
  return n;
}

static void registers_after_reset(void **state) {
  struct rig *r = rig_create(false);
  assert_int_equal(get(r, 0), 0x8086a201);
  assert_int_equal(get(r, 4), 10000000); /* fs */
  assert_int_equal(get(r, CONFIG), 0);
  assert_int_equal(get(r, STATUS), 0);
  for (unsigned t = T0; t <= T2; t += 0x20) {
    assert_int_equal(get(r, t), 0x30);
    assert_int_equal(get(r, t + 4), 4);
    assert_int_equal(get(r, t + CMP), 0xffffffff);
    assert_int_equal(get(r, t + CMP + 4), 0xffffffff);
    assert_int_equal(get(r, t + 0x10), 0);
  }
  assert_int_equal(get(r, 0x160), 0);
  advance(r, 5 * MS);
  assert_int_equal(count_of(r), 0);
  assert_int_equal(mmio_in(r, HPET_BASE + 2, 2), 0x8086);
  rig_destroy(r);
}

static void only_what_is_writable(void **state) {
  struct rig *r = *state;
  put(r, CONFIG, 0xfffffffc);
  assert_int_equal(get(r, CONFIG), 0);
  put(r, 0, 0);
  put(r, 4, 0);
  assert_int_equal(get(r, 0), 0x8086a201);
  put(r, T2, 0xffffffff);
  assert_int_equal(get(r, T2), 0x3f7e & ~0x80); /* no FSB messages (14, 15), 7 is reserved */
  put(r, T2 + 4, 0);
  assert_int_equal(get(r, T2 + 4), 4);
  put(r, T2, 0);
  mmio_out(r, HPET_BASE + T2, 1, 0xff); /* narrow writes do nothing */
  assert_int_equal(get(r, T2), 0x30);
}

static void counter_is_10_ns_and_stands_when_disabled(void **state) {
  struct rig *r = *state;
  advance(r, 12345670);
  assert_int_equal(count_of(r), 1234567);
  put(r, COUNTER, 5); /* not while it runs */
  assert_int_equal(count_of(r), 1234567);
  put(r, CONFIG, 0);
  advance(r, MS);
  assert_int_equal(count_of(r), 1234567);
  put(r, COUNTER, 0xffffffff);
  put(r, COUNTER + 4, 0x12);
  put(r, CONFIG, 1);
  advance(r, 20);
  assert_true(count_of(r) == 0x1300000001ull);
}

static void one_shot_fires_once_at_its_time(void **state) {
  struct rig *r = *state;
  put(r, T0, ENABLE);
  put(r, T0 + CMP, 100000);
  put(r, T0 + CMP + 4, 0);
  assert_int_equal(taken(r, MS - 10, 0x30), 0);
  assert_int_equal(taken(r, 10, 0x30), 1);
  assert_int_equal(taken(r, 100ll * MS, 0x30), 0);
  put(r, T0, 0);
  put(r, T0 + CMP, (uint32_t)count_of(r) + 1000);
  assert_int_equal(taken(r, 100ll * MS, 0x30), 0); /* disabled */
}

static void one_shot_32_bits_comes_round(void **state) {
  struct rig *r = *state;
  put(r, CONFIG, 2);
  put(r, COUNTER, 0xfffffff0);
  put(r, CONFIG, 3);
  put(r, T0, ENABLE | BITS_32);
  put(r, T0 + CMP, 0x10); /* behind the wrap */
  assert_int_equal(get(r, T0 + CMP + 4), 0);
  assert_int_equal(taken(r, 310, 0x30), 0);
  assert_int_equal(taken(r, 10, 0x30), 1);
  assert_int_equal(taken(r, 42949672950, 0x30), 0);
  assert_int_equal(taken(r, 10, 0x30), 1);
}

static void comparator_written_late_matches_at_once(void **state) {
  struct rig *r = *state;
  advance(r, 10ll * MS);
  put(r, T0, ENABLE | BITS_32);
  assert_int_equal(taken(r, 10ll * MS, 0x30), 0); /* FFFFFFFFh of the reset is far ahead */
  put(r, T0 + CMP, (uint32_t)count_of(r) - 1000);
  assert_int_equal(taken(r, 20000, 0x30), 1);
  put(r, T0, ENABLE);
  put(r, T0 + CMP, 5);
  put(r, T0 + CMP + 4, 0);
  assert_in_range(taken(r, 20000, 0x30), 0, 1);
  advance(r, 1000ll * MS);
  while (r->intr) pc_ack_interrupt(r->pc), out8(r, 0x20, 0x20);
  put(r, T0 + CMP, 5); /* a second ago: never again, with 64 bits */
  assert_int_equal(taken(r, 100000ll * MS, 0x30), 0);
}

/* As Linux starts its tick: the comparator with VAL_SET, then the period. */
static void start_periodic(struct rig *r, unsigned timer, uint32_t flags, uint32_t first, uint32_t period) {
  put(r, timer, ENABLE | PERIODIC | SETVAL | BITS_32 | flags);
  put(r, timer + CMP, (uint32_t)count_of(r) + first);
  assert_int_equal(get(r, timer) & SETVAL, 0);
  put(r, timer + CMP, period);
}

static void periodic_250_hz(void **state) {
  struct rig *r = *state;
  start_periodic(r, T0, 0, 100000, 400000);
  assert_int_equal(taken(r, MS - 10, 0x30), 0);
  assert_int_equal(taken(r, 10, 0x30), 1);
  assert_int_equal(get(r, T0 + CMP), 500000);
  assert_int_equal(taken(r, 1000ll * MS, 0x30), 250);
  assert_int_equal(get(r, T0 + CMP), 100000 + 251 * 400000);
  assert_int_equal(taken(r, 60000ll * MS, 0x30), 15000); /* past the wrap of its 32 bits */
  put(r, T0, 0);
  assert_int_equal(taken(r, 1000ll * MS, 0x30), 0);
}

static void periodic_new_period_keeps_the_comparator(void **state) {
  struct rig *r = *state;
  start_periodic(r, T0, 0, 100000, 400000);
  put(r, T0 + CMP, 200000); /* no VAL_SET */
  assert_int_equal(get(r, T0 + CMP), 100000);
  assert_int_equal(taken(r, MS, 0x30), 1);
  assert_int_equal(taken(r, 1000ll * MS, 0x30), 500);
}

static void periodic_64_bits(void **state) {
  struct rig *r = *state;
  put(r, T0, ENABLE | PERIODIC | SETVAL);
  put(r, T0 + CMP, 100000);
  put(r, T0, ENABLE | PERIODIC | SETVAL);
  put(r, T0 + CMP + 4, 0);
  assert_int_equal(taken(r, 10ll * MS, 0x30), 10);
}

static void stall_is_caught_up_for_a_second(void **state) {
  struct rig *r = *state;
  start_periodic(r, T0, 0, 400000, 400000);
  stall(r, 40ll * MS); /* ten ticks */
  clock_run(r->clock);
  assert_int_equal(pc_ack_interrupt(r->pc), 0x30);
  out8(r, 0x20, 0x20);
  assert_false(r->intr); /* not all at once */
  assert_in_range(taken(r, 20ll * MS, 0x30), 14, 15);
  stall(r, 60000ll * MS);
  clock_run(r->clock);
  assert_in_range(taken(r, 100ll * MS, 0x30), 25, 27);
}

static void absurd_period_is_limited(void **state) {
  struct rig *r = *state;
  start_periodic(r, T0, 0, 1, 1);
  assert_in_range(taken(r, 10ll * MS, 0x30), 500, 1001);
}

static void legacy_replaces_pit_and_rtc(void **state) {
  struct rig *r = *state;
  out8(r, 0x43, 0x34);
  out8(r, 0x40, 0xa9);
  out8(r, 0x40, 4); /* 1 kHz */
  out8(r, 0x70, 0x0a);
  out8(r, 0x71, 0x26);
  out8(r, 0x70, 0x0b);
  out8(r, 0x71, 0x42); /* 1024 Hz */
  assert_int_equal(taken(r, 1000ll * MS, 0x30), 0);
  start_periodic(r, T1, 0, 100000, 100000);
  assert_int_equal(taken(r, 100ll * MS, 0x38), 100);
  put(r, T1, 0);
  put(r, CONFIG, 1); /* back on their lines: OUT0 and the RTC's are high */
  assert_int_equal(pc_ack_interrupt(r->pc), 0x30);
  out8(r, 0x20, 0x20);
  assert_int_equal(pc_ack_interrupt(r->pc), 0x38);
  out8(r, 0xa0, 0x20);
  out8(r, 0x20, 0x20);
  assert_in_range(taken(r, 100ll * MS, 0x30), 99, 101);
}

static void pit_that_is_off_its_line_wakes_nobody(void **state) {
  struct rig *r = *state;
  assert_true(clock_next_deadline(r->clock) == INT64_MAX);
  put(r, CONFIG, 1);
  assert_true(clock_next_deadline(r->clock) < INT64_MAX); /* 18.2 Hz */
}

static void level_lasts_until_its_status_is_cleared(void **state) {
  struct rig *r = *state;
  out8(r, 0x4d1, 0);
  put(r, T1, ENABLE | LEVEL);
  put(r, T1 + CMP, 1000);
  put(r, T1 + CMP + 4, 0);
  advance(r, 10000);
  assert_int_equal(get(r, STATUS), 2);
  assert_int_equal(pc_ack_interrupt(r->pc), 0x38);
  put(r, STATUS, 1); /* another's bit */
  assert_int_equal(get(r, STATUS), 2);
  put(r, STATUS, 2);
  assert_int_equal(get(r, STATUS), 0);
  put(r, T2, LEVEL); /* not enabled: the status bit only (2.3.8) */
  put(r, T2 + CMP, 5000);
  put(r, T2 + CMP + 4, 0);
  advance(r, MS);
  assert_int_equal(get(r, STATUS), 4);
  put(r, CONFIG, 2); /* and off with everything */
  assert_int_equal(get(r, STATUS), 0);
}

static void pin_2_of_the_ioapic(void **state) {
  struct rig *r = rig_create(true);
  out8(r, 0x43, 0x30);
  mmio_out(r, 0xfee000f0, 4, 0x1ff);
  mmio_out(r, 0xfee00350, 4, 0x10700);
  mmio_out(r, 0xfec00000, 4, 0x14);
  mmio_out(r, 0xfec00010, 4, 0x55); /* pin 2: vector 55h, edge */
  put(r, CONFIG, 1);
  put(r, T2, ENABLE | PIN_2);
  put(r, T2 + CMP, 1000);
  put(r, T2 + CMP + 4, 0);
  advance(r, 20000);
  assert_int_equal(pc_ack_interrupt(r->pc), 0x55);
  rig_destroy(r);
}

static void the_apic_cannot_be_moved_onto_it(void **state) {
  struct rig *r = rig_create(true);
  pc_set_apic_base(r->pc, HPET_BASE | 0x900);
  assert_int_equal(get(r, 0), 0x8086a201);
  rig_destroy(r);
}

static void reset_takes_everything_back(void **state) {
  struct rig *r = *state;
  start_periodic(r, T0, 0, 400000, 400000);
  stall(r, 40ll * MS);
  pc_reset(r->pc);
  assert_int_equal(get(r, CONFIG), 0);
  assert_int_equal(get(r, T0), 0x30);
  assert_int_equal(count_of(r), 0);
  pic_setup(r, 1 << 0);
  assert_in_range(taken(r, 1000ll * MS, 0x30), 18, 19); /* the 8254's again */
}

static void saved_in_the_middle(void **state) {
  struct rig *a = *state, *b = rig_create(false);
  struct state_buffer buffer = {0};
  char text[200];
  start_periodic(a, T0, 0, 100000, 400000);
  assert_int_equal(taken(a, 10ll * MS, 0x30), 3);
  assert_int_equal(state_save(a->pc, &buffer), 0);
  assert_null(state_load(b->pc, buffer.bytes, buffer.size));
  assert_int_equal(count_of(b), 1000000);
  if (!state_equal(a->pc, b->pc, text, sizeof text)) fail_msg("%s", text);
  assert_int_equal(taken(a, 100ll * MS, 0x30), taken(b, 100ll * MS, 0x30));
  free(buffer.bytes);
  rig_destroy(b);
}

int main(void) {
#define HPET(f) cmocka_unit_test_setup_teardown(f, setup, rig_teardown)
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(registers_after_reset),
    HPET(only_what_is_writable),
    HPET(counter_is_10_ns_and_stands_when_disabled),
    HPET(one_shot_fires_once_at_its_time),
    HPET(one_shot_32_bits_comes_round),
    HPET(comparator_written_late_matches_at_once),
    HPET(periodic_250_hz),
    HPET(periodic_new_period_keeps_the_comparator),
    HPET(periodic_64_bits),
    HPET(stall_is_caught_up_for_a_second),
    HPET(absurd_period_is_limited),
    HPET(legacy_replaces_pit_and_rtc),
    HPET(pit_that_is_off_its_line_wakes_nobody),
    HPET(level_lasts_until_its_status_is_cleared),
    cmocka_unit_test(pin_2_of_the_ioapic),
    cmocka_unit_test(the_apic_cannot_be_moved_onto_it),
    HPET(reset_takes_everything_back),
    HPET(saved_in_the_middle),
  };
  return cmocka_run_group_tests(tests, 0, 0);
}
