// Local APIC and I/O APIC.
// link: bt_devices
#include "test_dev_rig.h"

#define LAPIC 0xfee00000ull
#define IOAPIC 0xfec00000ull

static uint32_t get(struct rig *r, unsigned reg) { return mmio_in(r, LAPIC + reg, 4); }
static void put(struct rig *r, unsigned reg, uint32_t v) { mmio_out(r, LAPIC + reg, 4, v); }
static uint32_t io_get(struct rig *r, unsigned reg) {
  mmio_out(r, IOAPIC, 4, reg);
  return mmio_in(r, IOAPIC + 0x10, 4);
}
static void io_put(struct rig *r, unsigned reg, uint32_t v) {
  mmio_out(r, IOAPIC, 4, reg);
  mmio_out(r, IOAPIC + 0x10, 4, v);
}
static void redirect(struct rig *r, unsigned pin, uint32_t low) {
  io_put(r, 0x11 + 2 * pin, 0);
  io_put(r, 0x10 + 2 * pin, low);
}
static void eoi(struct rig *r) { put(r, 0xb0, 0); }

/* As Linux in symmetric I/O mode: enabled, LINT0 masked. */
static int setup(void **state) {
  struct rig *r = rig_create(true);
  out8(r, 0x43, 0x30); /* the PIT is quiet */
  put(r, 0xf0, 0x1ff);
  put(r, 0x350, 0x10700);
  *state = r;
  return 0;
}

static void reset_values(void **state) {
  struct rig *r = rig_create(true);
  pc_reset(r->pc);
  assert_int_equal(get(r, 0x20), 0);
  assert_int_equal(get(r, 0x30), 0x50014);
  assert_int_equal(get(r, 0xf0), 0xff);
  assert_int_equal(get(r, 0xe0), 0xffffffff);
  assert_int_equal(get(r, 0x320), 0x10000);
  assert_int_equal(get(r, 0x350), 0x700);
  assert_int_equal(get(r, 0x360), 0x10000);
  assert_int_equal(pc_apic_base(r->pc), 0xfee00900);
  assert_int_equal(io_get(r, 1), 0x170011);
  assert_int_equal(io_get(r, 0x10), 0x10000);
  rig_destroy(r);
}

static void virtual_wire_after_reset(void **state) {
  struct rig *r = rig_create(true);
  pc_reset(r->pc);
  pic_setup(r, 2);
  pc_keyboard_press(r->pc, PC_KEY_A, true);
  assert_int_equal(pc_ack_interrupt(r->pc), 0x31);
  rig_destroy(r);
}

static void lint0_masked_cuts_the_pic_off(void **state) {
  struct rig *r = *state;
  pic_setup(r, 2);
  pc_keyboard_press(r->pc, PC_KEY_A, true);
  assert_false(r->intr);
  put(r, 0x350, 0x700);
  assert_true(r->intr);
  put(r, 0x350, 0x10700);
  assert_false(r->intr);
  pc_set_apic_base(r->pc, 0xfee00000); /* off: the pin goes to the CPU */
  assert_int_equal(pc_ack_interrupt(r->pc), 0x31);
}

static void lint0_fixed_delivers_its_vector(void **state) {
  struct rig *r = *state;
  pic_setup(r, 2);
  put(r, 0x350, 0x55);
  pc_keyboard_press(r->pc, PC_KEY_A, true);
  assert_int_equal(pc_ack_interrupt(r->pc), 0x55);
}

static void pin_0_extint(void **state) {
  struct rig *r = *state;
  pic_setup(r, 2);
  redirect(r, 0, 0x700);
  pc_keyboard_press(r->pc, PC_KEY_A, true);
  assert_int_equal(pc_ack_interrupt(r->pc), 0x31);
}

static void self_ipi_priorities_and_eoi(void **state) {
  struct rig *r = *state;
  put(r, 0x300, 0x40041);
  put(r, 0x300, 0x40052);
  assert_int_equal(get(r, 0x220) & 2, 2);
  assert_int_equal(pc_ack_interrupt(r->pc), 0x52);
  assert_int_equal(get(r, 0xa0), 0x50);
  assert_false(r->intr);
  put(r, 0x300, 0x4005f); /* same class: waits */
  assert_false(r->intr);
  put(r, 0x300, 0x40061);
  assert_int_equal(pc_ack_interrupt(r->pc), 0x61);
  eoi(r);
  assert_false(r->intr);
  eoi(r);
  assert_int_equal(pc_ack_interrupt(r->pc), 0x5f);
  eoi(r);
  assert_int_equal(pc_ack_interrupt(r->pc), 0x41);
  eoi(r);
  eoi(r); /* nothing in service: no harm */
  assert_int_equal(pc_ack_interrupt(r->pc), -1);
}

static void tpr_holds_back(void **state) {
  struct rig *r = *state;
  put(r, 0x80, 0x50);
  put(r, 0x300, 0x4005a);
  assert_false(r->intr);
  put(r, 0x80, 0x4f);
  assert_true(r->intr);
  put(r, 0x80, 0x5f);
  assert_false(r->intr);
  assert_int_equal(pc_ack_interrupt(r->pc), -1);
}

static void ipi_destinations(void **state) {
  struct rig *r = *state;
  put(r, 0x310, 1u << 24);
  put(r, 0x300, 0x41);
  assert_false(r->intr);  /* nobody has id 1 */
  put(r, 0x300, 0xc0041); /* all but self */
  assert_false(r->intr);
  put(r, 0x310, 0xffu << 24);
  put(r, 0x300, 0x41);
  assert_int_equal(pc_ack_interrupt(r->pc), 0x41);
  eoi(r);
  put(r, 0xd0, 4u << 24);
  put(r, 0x310, 6u << 24);
  put(r, 0x300, 0x842); /* logical, flat */
  assert_int_equal(pc_ack_interrupt(r->pc), 0x42);
  eoi(r);
  put(r, 0xe0, 0);
  put(r, 0xd0, 0x21u << 24);
  put(r, 0x310, 0x23u << 24);
  put(r, 0x300, 0x843); /* cluster */
  assert_int_equal(pc_ack_interrupt(r->pc), 0x43);
  eoi(r);
  put(r, 0x310, 0x31u << 24);
  put(r, 0x300, 0x844);
  assert_false(r->intr);
  assert_int_equal(get(r, 0x300) & 1 << 12, 0);
}

static void nmi_and_init(void **state) {
  struct rig *r = *state;
  put(r, 0x300, 0x80400);
  assert_int_equal(r->nmis, 1);
  put(r, 0x300, 0x88500); /* INIT de-assert: nothing */
  put(r, 0x300, 0x80600); /* start-up: not waiting */
  assert_int_equal(r->inits, 0);
  put(r, 0x300, 0x8c500);
  assert_int_equal(r->inits, 1);
  assert_int_equal(get(r, 0xf0), 0xff);
}

static void errors_are_latched_by_a_write(void **state) {
  struct rig *r = *state;
  put(r, 0x370, 0xfe);
  put(r, 0x300, 0x40005); /* vector 5 */
  assert_int_equal(get(r, 0x280), 0);
  put(r, 0x280, 0);
  assert_int_equal(get(r, 0x280), 0x20);
  assert_int_equal(pc_ack_interrupt(r->pc), 0xfe);
  eoi(r);
  put(r, 0x280, 0);
  assert_int_equal(get(r, 0x280), 0);
  get(r, 0x3f0); /* no such register */
  put(r, 0x280, 0);
  assert_int_equal(get(r, 0x280), 0x80);
  put(r, 0x370, 3); /* an illegal vector for the error itself: no recursion */
  put(r, 0x300, 0x40005);
}

static void software_disable_masks_everything(void **state) {
  struct rig *r = *state;
  put(r, 0x320, 0x41);
  put(r, 0xf0, 0xff);
  assert_int_equal(get(r, 0x320), 0x10041);
  put(r, 0x320, 0x41);
  assert_int_equal(get(r, 0x320), 0x10041);
  put(r, 0x300, 0x40050);
  assert_false(r->intr);
}

static unsigned count_vector(struct rig *r, int64_t ns, int vector) {
  unsigned n = 0;
  int64_t end = clock_now(r->clock) + ns;
  while (clock_now(r->clock) < end) {
    int64_t next = clock_next_deadline(r->clock);
    advance(r, (next < end ? next : end) - clock_now(r->clock));
    if (r->intr && pc_ack_interrupt(r->pc) == vector) {
      n++;
      eoi(r);
    }
  }
  return n;
}

static void timer_one_shot_and_count(void **state) {
  struct rig *r = *state;
  put(r, 0x3e0, 3); /* by 16 */
  put(r, 0x320, 0xec);
  put(r, 0x380, 62500); /* 1 ms */
  advance(r, 400000);
  assert_int_equal(get(r, 0x390), 37500);
  assert_false(r->intr);
  assert_int_equal(count_vector(r, 5000000, 0xec), 1);
  assert_int_equal(get(r, 0x390), 0);
  put(r, 0x380, 62500);
  put(r, 0x380, 0); /* stopped */
  assert_int_equal(count_vector(r, 5000000, 0xec), 0);
}

static void timer_every_divider(void **state) {
  struct rig *r = *state;
  static const uint8_t config[8] = {0xb, 0, 1, 2, 3, 8, 9, 0xa};
  for (unsigned i = 0; i < 8; i++) {
    put(r, 0x3e0, config[i]);
    put(r, 0x380, 1000000);
    advance(r, 128000);
    assert_int_equal(get(r, 0x390), 1000000 - (128000 >> i));
  }
}

static void timer_periodic_and_masked(void **state) {
  struct rig *r = *state;
  put(r, 0x3e0, 0xb);
  put(r, 0x320, 0x200ec);
  put(r, 0x380, 4000000);
  assert_int_equal(count_vector(r, 1000000000, 0xec), 250);
  put(r, 0x320, 0x300ec);
  assert_int_equal(count_vector(r, 1000000000, 0xec), 0);
  put(r, 0x320, 0x200ec);
  assert_in_range(count_vector(r, 1000000000, 0xec), 249, 250);
}

static void timer_expired_stays_at_0_in_another_mode(void **state) {
  struct rig *r = *state;
  put(r, 0x3e0, 0xb);
  put(r, 0x320, 0x000ec);
  put(r, 0x380, 1000);
  assert_int_equal(count_vector(r, 5000, 0xec), 1);
  put(r, 0x320, 0x200ec); /* periodic: not before the count is written */
  assert_int_equal(get(r, 0x390), 0);
  assert_int_equal(count_vector(r, 100000, 0xec), 0);
  put(r, 0x3e0, 0);
  assert_int_equal(get(r, 0x390), 0);
  put(r, 0x320, 0x000ec); /* there and back is no way out */
  put(r, 0x320, 0x200ec);
  assert_int_equal(get(r, 0x390), 0);
  assert_int_equal(count_vector(r, 100000, 0xec), 0);
  put(r, 0x380, 500000); /* 1 ms, divided by 2 */
  assert_int_equal(count_vector(r, 10500000, 0xec), 10);
}

static void timer_goes_on_in_another_mode(void **state) {
  struct rig *r = *state;
  put(r, 0x3e0, 0xb);
  put(r, 0x320, 0x200ec);
  put(r, 0x380, 1000000);
  assert_int_equal(count_vector(r, 5300000, 0xec), 5);
  put(r, 0x320, 0x000ec); /* one-shot: this period ends, and no other begins */
  assert_int_equal(get(r, 0x390), 700000);
  assert_int_equal(count_vector(r, 600000, 0xec), 0);
  assert_int_equal(count_vector(r, 5000000, 0xec), 1);
  assert_int_equal(get(r, 0x390), 0);
  put(r, 0x380, 1000000);
  advance(r, 400000);
  put(r, 0x320, 0x200ec); /* periodic from where it is */
  assert_int_equal(get(r, 0x390), 600000);
  assert_int_equal(count_vector(r, 5000000, 0xec), 5);
}

static void timer_counts_while_masked(void **state) {
  struct rig *r = *state;
  put(r, 0x3e0, 0xb);
  put(r, 0x320, 0x100ec);
  put(r, 0x380, 1000000);
  advance(r, 400000);
  assert_int_equal(get(r, 0x390), 600000);
  put(r, 0x320, 0x000ec); /* unmasked before the end: it comes */
  assert_int_equal(count_vector(r, 700000, 0xec), 1);
  put(r, 0x320, 0x100ec);
  put(r, 0x380, 1000000);
  advance(r, 1400000);
  assert_int_equal(get(r, 0x390), 0);
  put(r, 0x320, 0x000ec); /* behind it: an interrupt that was masked is not made up for */
  assert_int_equal(count_vector(r, 5000000, 0xec), 0);
}

static void timer_after_a_stall_is_on_its_grid(void **state) {
  struct rig *r = *state;
  put(r, 0x3e0, 0xb);
  put(r, 0x320, 0x200ec);
  put(r, 0x380, 4000000);
  stall(r, 103000000);
  clock_run(r->clock);
  assert_int_equal(pc_ack_interrupt(r->pc), 0xec);
  eoi(r);
  assert_int_equal(count_vector(r, 900000, 0xec), 0);
  assert_int_equal(count_vector(r, 200000, 0xec), 1);
}

static void timer_absurd_period_is_limited(void **state) {
  struct rig *r = *state;
  put(r, 0x3e0, 0xb);
  put(r, 0x320, 0x200ec);
  put(r, 0x380, 1);
  assert_in_range(count_vector(r, 10000000, 0xec), 500, 1001);
}

static void ioapic_edge(void **state) {
  struct rig *r = *state;
  redirect(r, 1, 0x31);
  pc_keyboard_press(r->pc, PC_KEY_A, true);
  assert_int_equal(pc_ack_interrupt(r->pc), 0x31);
  eoi(r);
  assert_false(r->intr); /* still high: an edge is one interrupt */
}

static void ioapic_masked_edge_waits_while_high(void **state) {
  struct rig *r = *state;
  pc_keyboard_press(r->pc, PC_KEY_A, true);
  redirect(r, 1, 0x31);
  assert_true(r->intr);
}

static void ioapic_irq_0_is_pin_2(void **state) {
  struct rig *r = *state;
  out8(r, 0x21, 0xff); /* pin 0, the 8259s, is quiet */
  redirect(r, 2, 0x30);
  redirect(r, 0, 0x99);
  out8(r, 0x43, 0x34);
  out8(r, 0x40, 0);
  out8(r, 0x40, 0x10);
  advance(r, 5000000);
  assert_int_equal(pc_ack_interrupt(r->pc), 0x30);
}

static void ioapic_level_remote_irr_and_eoi(void **state) {
  struct rig *r = *state;
  redirect(r, 9, 0x8059);
  out8(r, 0xb2, 0xf1);
  out16(r, 0x602, 1 << 8);
  pc_power_button(r->pc);
  assert_int_equal(io_get(r, 0x10 + 18) & 1 << 14, 1 << 14);
  assert_int_equal(pc_ack_interrupt(r->pc), 0x59);
  assert_int_equal(get(r, 0x1a0) & 1 << 25, 1 << 25);
  eoi(r);
  assert_true(r->intr); /* SCI is still high */
  assert_int_equal(pc_ack_interrupt(r->pc), 0x59);
  out16(r, 0x600, 1 << 8);
  eoi(r);
  assert_false(r->intr);
  assert_int_equal(io_get(r, 0x10 + 18) & 1 << 14, 0);
}

static void ioapic_remote_irr_cleared_by_edge_mode(void **state) {
  struct rig *r = *state;
  redirect(r, 9, 0x8059);
  out8(r, 0xb2, 0xf1);
  out16(r, 0x602, 1 << 8);
  pc_power_button(r->pc);
  redirect(r, 9, 0x10059);
  redirect(r, 9, 0x18059);
  assert_int_equal(io_get(r, 0x10 + 18), 0x18059);
}

static void base_moves_and_disappears(void **state) {
  struct rig *r = *state;
  pc_set_apic_base(r->pc, 0xd0000800);
  assert_int_equal(mmio_in(r, 0xd0000030, 4), 0x50014);
  assert_int_equal(get(r, 0x30), 0xffffffff);
  pc_set_apic_base(r->pc, 0x00001800); /* over RAM: not mapped */
  assert_null(rig_window(r, 0x1030));
  pc_set_apic_base(r->pc, 0xfec00800); /* over the I/O APIC */
  assert_int_equal(io_get(r, 1), 0x170011);
  pc_set_apic_base(r->pc, 0xffffff800ull);
  pc_reset(r->pc);
  assert_int_equal(get(r, 0x30), 0x50014);
}

static void narrow_accesses(void **state) {
  struct rig *r = *state;
  assert_int_equal(mmio_in(r, LAPIC + 0x32, 1) & 0xff, 5);
  mmio_out(r, LAPIC + 0x80, 1, 0x50);
  assert_int_equal(get(r, 0x80), 0);
  assert_int_equal(mmio_in(r, LAPIC + 0x34, 4), 0);
}

int main(void) {
#define APIC(f) cmocka_unit_test_setup_teardown(f, setup, rig_teardown)
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(reset_values),
    cmocka_unit_test(virtual_wire_after_reset),
    APIC(lint0_masked_cuts_the_pic_off),
    APIC(lint0_fixed_delivers_its_vector),
    APIC(pin_0_extint),
    APIC(self_ipi_priorities_and_eoi),
    APIC(tpr_holds_back),
    APIC(ipi_destinations),
    APIC(nmi_and_init),
    APIC(errors_are_latched_by_a_write),
    APIC(software_disable_masks_everything),
    APIC(timer_one_shot_and_count),
    APIC(timer_every_divider),
    APIC(timer_periodic_and_masked),
    APIC(timer_expired_stays_at_0_in_another_mode),
    APIC(timer_goes_on_in_another_mode),
    APIC(timer_counts_while_masked),
    APIC(timer_after_a_stall_is_on_its_grid),
    APIC(timer_absurd_period_is_limited),
    APIC(ioapic_edge),
    APIC(ioapic_masked_edge_waits_while_high),
    APIC(ioapic_irq_0_is_pin_2),
    APIC(ioapic_level_remote_irr_and_eoi),
    APIC(ioapic_remote_irr_cleared_by_edge_mode),
    APIC(base_moves_and_disappears),
    APIC(narrow_accesses),
  };
  return cmocka_run_group_tests(tests, 0, 0);
}
