// The whole PC: wiring, reset, bad input, saved states.
// link: bt_devices
// timeout: 180
#include "test_dev_rig.h"
#include <stdio.h>
#include "devices/chips/acpi_pm.h"

static uint64_t next_random(uint64_t *x) {
  *x ^= *x << 13;
  *x ^= *x >> 7;
  *x ^= *x << 17;
  return *x * 0x2545f4914f6cdd1dull;
}

/* ---- bus ---- */

static uint32_t probe_read(void *dev, uint16_t offset, unsigned size) {
  *(unsigned *)dev = *(unsigned *)dev * 10 + size;
  return 0x10u + offset;
}
static void probe_write(void *dev, uint16_t offset, unsigned size, uint32_t v) {
  *(unsigned *)dev = *(unsigned *)dev * 10 + size;
}

static void bus_unowned_ports_read_as_ones(void **state) {
  struct rig *r = *state;
  assert_int_equal(in8(r, 0x2ff + 0x100 - 0x50), 0xff);
  assert_int_equal(in16(r, 0x300), 0xffff);
  assert_int_equal(in32(r, 0x300), 0xffffffff);
  out32(r, 0x300, 1);
}

static void bus_splits_wide_accesses_and_window_edges(void **state) {
  struct rig *r = *state;
  static const struct io_ops bytes = {probe_read, probe_write, 1}, words = {probe_read, probe_write, 2};
  unsigned calls = 0;
  io_bus_add(r->io, 0x300, 4, &bytes, &calls, "bytes");
  assert_int_equal(in32(r, 0x300), 0x13121110);
  assert_int_equal(calls, 1111);
  calls = 0;
  io_bus_add(r->io, 0x310, 3, &words, &calls, "words");
  assert_int_equal(in16(r, 0x310), 0x10);
  assert_int_equal(calls, 2);
  assert_int_equal(in16(r, 0x312), 0xff12); /* the second byte is nobody's */
  calls = 0;
  out16(r, 0x312, 0);
  assert_int_equal(calls, 1);
  io_bus_add(r->io, 0xfffe, 2, &bytes, &calls, "top");
  assert_int_equal(in32(r, 0xfffe) & 0xffff, 0x1110); /* wraps to port 0: the DMA's */
}

static void bus_removed_window_uncovers_what_it_hid(void **state) {
  struct rig *r = *state;
  static const struct io_ops bytes = {probe_read, probe_write, 1};
  unsigned calls = 0;
  out8(r, 0x21, 0x5a);
  for (int i = 0; i < 1000; i++) {
    io_bus_add(r->io, 0x20, 2, &bytes, &calls, "over");
    assert_int_equal(in8(r, 0x21), 0x11);
    io_bus_remove(r->io, 0x20, 2);
  }
  assert_int_equal(in8(r, 0x21), 0x5a);
}

/* ---- wiring ---- */

static void wiring_isa_irq_reaches_cpu_through_pic(void **state) {
  struct rig *r = *state;
  pic_setup(r, 1 << 1 | 1 << 2);
  assert_false(r->intr);
  pc_keyboard_press(r->pc, PC_KEY_A, true);
  assert_true(r->intr);
  assert_true(pc_interrupt_pending(r->pc));
  assert_int_equal(pc_ack_interrupt(r->pc), 0x31);
  assert_false(r->intr);
  assert_int_equal(pc_ack_interrupt(r->pc), -1);
}

static void wiring_com1_and_com3_share_a_line(void **state) {
  struct rig *r = *state;
  pic_setup(r, 1 << 4);
  for (uint16_t base = 0x3e8; base <= 0x3f8; base += 0x10) {
    out8(r, base + 4, 8);
    out8(r, base + 1, 1);
  }
  rig_receive(r, 0, (const uint8_t *)"a", 1);
  rig_receive(r, 2, (const uint8_t *)"b", 1);
  assert_int_equal(pc_ack_interrupt(r->pc), 0x34);
  assert_int_equal(in8(r, 0x3f8), 'a');
  out8(r, 0x20, 0x0b);
  assert_int_equal(in8(r, 0x20), 1 << 4);
  assert_int_equal(in8(r, 0x3e8), 'b');
}

static void wiring_ferr_is_latched_until_f0(void **state) {
  struct rig *r = *state;
  pic_setup(r, 1 << 13 | 1 << 2);
  pc_set_ferr(r->pc, true);
  assert_int_equal(pc_ack_interrupt(r->pc), 0x3d);
  out8(r, 0xf0, 0);
  out8(r, 0xa0, 0x20);
  out8(r, 0x20, 0x20);
  assert_false(r->intr);
  pc_set_ferr(r->pc, true); /* still the same error */
  assert_false(r->intr);
  pc_set_ferr(r->pc, false);
  pc_set_ferr(r->pc, true);
  assert_true(r->intr);
}

static void wiring_a20_has_one_gate(void **state) {
  struct rig *r = *state;
  assert_true(r->a20);
  out8(r, 0x92, 0);
  assert_false(r->a20);
  out8(r, 0x64, 0xd0);
  assert_int_equal(in8(r, 0x60) & 2, 0);
  out8(r, 0x64, 0xd1);
  out8(r, 0x60, 0xdf);
  assert_true(r->a20);
  assert_int_equal(in8(r, 0x92) & 2, 2);
  out8(r, 0x64, 0xdd);
  assert_false(r->a20);
}

static void wiring_four_ways_to_reset(void **state) {
  struct rig *r = *state;
  out8(r, 0x64, 0xfe);
  assert_int_equal(r->resets, 1);
  out8(r, 0x92, 3);
  assert_int_equal(r->resets, 2);
  out8(r, 0xcf9, 2);
  out8(r, 0xcf9, 6);
  assert_int_equal(r->resets, 3);
  out8(r, 0x64, 0xd1);
  out8(r, 0x60, 0xfe);
  assert_int_equal(r->resets, 4);
  out8(r, 0x64, 0xff); /* pulses nothing */
  assert_int_equal(r->resets, 4);
}

static void wiring_debug_exit(void **state) {
  struct rig *r = *state;
  out32(r, 0xf4, 0x12345678);
  assert_int_equal(r->exit_value, 0x12345678);
  out8(r, 0xf4, 3);
  assert_int_equal(r->exit_value, 3);
  assert_int_equal(r->exits, 2);
}

static void dma_register_file_can_be_probed(void **state) {
  struct rig *r = *state;
  out8(r, 0x0c, 0);
  out8(r, 0x04, 0x34);
  out8(r, 0x04, 0x12);
  assert_int_equal(in8(r, 0x04), 0x34);
  assert_int_equal(in8(r, 0x04), 0x12);
  out8(r, 0xd8, 0);
  out8(r, 0xc4, 0x78);
  out8(r, 0xc4, 0x56);
  assert_int_equal(in8(r, 0xc4), 0x78);
  assert_int_equal(in8(r, 0xc4), 0x56);
  assert_int_equal(in8(r, 0x08), 0);
  out8(r, 0x87, 0x5a);
  assert_int_equal(in8(r, 0x87), 0x5a);
}

/* ---- pci ---- */

static uint32_t config(struct rig *r, unsigned device, unsigned function, unsigned reg) {
  out32(r, 0xcf8, 0x80000000u | device << 11 | function << 8 | reg);
  return in32(r, 0xcfc);
}

static void pci_ids_as_qemus_pc(void **state) {
  struct rig *r = *state;
  assert_int_equal(config(r, 0, 0, 0), 0x12378086);
  assert_int_equal(config(r, 1, 0, 0), 0x70008086);
  assert_int_equal(config(r, 1, 1, 0), 0x70108086);
  assert_int_equal(config(r, 1, 1, 8) >> 8, 0x010180);
  assert_int_equal(config(r, 1, 3, 0), 0x71138086);
  assert_int_equal(config(r, 2, 0, 0), 0xffffffff);
  assert_int_equal(config(r, 0, 0, 8) >> 16, 0x0600);
  assert_int_equal(config(r, 1, 0, 8) >> 16, 0x0601);
  assert_int_equal(config(r, 1, 3, 8) >> 16, 0x0680);
  assert_int_equal(config(r, 1, 0, 12) >> 16 & 0xff, 0x80);
  out32(r, 0xcf8, 0x80010000); /* bus 1 */
  assert_int_equal(in32(r, 0xcfc), 0xffffffff);
  out32(r, 0xcf8, 0x00000000); /* not enabled */
  assert_int_equal(in32(r, 0xcfc), 0xffffffff);
}

static void pci_mechanism_1_probe_and_narrow_accesses(void **state) {
  struct rig *r = *state;
  out8(r, 0xcfb, 1); /* Linux's probe: a byte write beside CF8h must not disturb it */
  out32(r, 0xcf8, 0x80000000);
  assert_int_equal(in32(r, 0xcf8), 0x80000000);
  assert_int_equal(in16(r, 0xcfe), 0x1237);
  assert_int_equal(in8(r, 0xcfd), 0x80);
  out8(r, 0xcf9, 2);
  assert_int_equal(in32(r, 0xcf8), 0x80000000);
  config(r, 1, 0, 0x60);
  out8(r, 0xcfd, 0x05);
  assert_int_equal(in8(r, 0xcfd), 0x05);
  out32(r, 0xcfc, 0xffffffff);
  assert_int_equal(in32(r, 0xcfc), 0x8f8f8f8f);
  config(r, 0, 0, 0);
  out32(r, 0xcfc, 0);
  assert_int_equal(in32(r, 0xcfc), 0x12378086);
}

/* ---- reset, fuzz, saved states ---- */

/* Configuration space: mostly of functions that are there, any register, any size and offset. */
static void random_config_access(struct rig *r, uint64_t x, uint64_t y, bool write) {
  static const uint8_t there[] = {0x00, 0x08, 0x09, 0x0b};
  uint32_t devfn = x & 0x300 ? there[(x >> 10) % sizeof there] : x >> 10 & 0xff;
  unsigned size = 1u << (x >> 18) % 3;
  out32(r, 0xcf8, (x & 0xf000 ? 0x80000000u : (uint32_t)(x >> 32)) | devfn << 8 | (x >> 20 & 0xfc));
  uint16_t port = (uint16_t)(0xcfc + (x >> 28 & 3));
  if (write) io_bus_write(r->io, port, size, (uint32_t)y);
  else io_bus_read(r->io, port, size);
}

static void reset_gives_the_state_of_creation(void **state) {
  struct rig *r = *state, *fresh = rig_create(true);
  uint64_t seed = 7;
  char text[200] = "";
  for (int i = 0; i < 20000; i++) {
    uint16_t port = (uint16_t)(next_random(&seed) % 0x400);
    if (port - 0x70u < 2 || port - 0x80u < 16 || port < 0x20 || port - 0xc0u < 32)
      continue; /* RTC, DMA addresses: not cleared by a reset */
    out8(r, port, (uint8_t)next_random(&seed));
  }
  for (int i = 0; i < 20000; i++) random_config_access(r, next_random(&seed), next_random(&seed), true);
  pc_reset(r->pc);
  pc_reset(fresh->pc);
  assert_true(r->a20);
  unsigned count, other;
  const struct device *a = pc_devices(r->pc, &count), *b = pc_devices(fresh->pc, &other);
  assert_int_equal(count, other);
  for (unsigned i = 0; i < count; i++)
    for (const struct field *f = a[i].fields; f->name; f++)
      if (memcmp((char *)a[i].state + f->offset, (char *)b[i].state + f->offset, (size_t)f->size * f->count)) {
        snprintf(text, sizeof text, "%s.%s", a[i].name, f->name);
        /* the 8259's lines are the devices'; serial RBR keeps its last bytes, the keyboard's ring its old ones */
        if (!strstr(text, "lines") && !strstr(text, "fifo") && !strstr(text, "i8042.ram")) fail_msg("%s survives a reset", text);
      }
  rig_destroy(fresh);
}

static uint16_t interesting_port(uint64_t x) {
  static const uint16_t bases[] = {0x00,  0x20,  0x40,  0x60,  0x70,  0x80,  0x90,   0xa0,  0xb0,  0xc0,  0xf0,  0x2e8, 0x2f8,
                                   0x378, 0x3e8, 0x3f8, 0x4d0, 0x600, 0xcf8, 0xafe0, 0x1f0, 0x170, 0x370, 0x3f0, 0xc040};
  return x & 0x300 ? (uint16_t)(bases[x % (sizeof bases / sizeof *bases)] + (x >> 10 & 15)) : (uint16_t)(x >> 16);
}

static void fuzz_step(struct rig *r, uint64_t *seed) {
  uint64_t x = next_random(seed), y = next_random(seed);
  unsigned size = 1u << (x >> 40) % 3;
  uint64_t mmio = (x & 1 << 20 ? 0xfee00000 : 0xfec00000) + (x & 1 << 21 ? (y >> 32 & 0xff) * 16 : y >> 32 & 0x1f);
  if ((x >> 22 & 3) == 0) mmio = 0xfed00000 + (y >> 32 & (x & 1 << 24 ? 0x1ff : 0xf0));
  switch (x >> 56 & 15) {
  case 0 ... 3: io_bus_write(r->io, interesting_port(x), size, (uint32_t)y); break;
  case 4: random_config_access(r, x, y, x >> 60); break;
  case 5 ... 7: io_bus_read(r->io, interesting_port(x), size); break;
  case 8 ... 10: mmio_out(r, mmio & ~(uint64_t)(size - 1), size, y & 4 ? (uint32_t)y & 0x3ff : (uint32_t)y); break;
  case 11: mmio_in(r, mmio & ~(uint64_t)(size - 1), size); break;
  case 12:
    stall(r, (int64_t)(y >> (34 + (x & 15))));
    clock_run(r->clock);
    break;
  case 13: pc_ack_interrupt(r->pc); break;
  case 14:
    pc_keyboard_press(r->pc, (enum pc_key)(y % PC_KEY_COUNT), x & 1);
    rig_receive(r, x & 7, (const uint8_t *)&y, x >> 3 & 7);
    break;
  default:
    if (!(y & 0xff)) pc_set_apic_base(r->pc, y >> 20);
    pc_set_ferr(r->pc, y & 1);
    rig_room(r, x & 3);
    pc_power_button(r->pc);
  }
  assert_int_equal(r->intr, pc_interrupt_pending(r->pc));
}

static void fuzz_a_million_accesses(void **state) {
  struct rig *r = *state;
  uint64_t seed = 0x123456789abcdefull;
  for (int i = 0; i < 1000000; i++) fuzz_step(r, &seed);
}

static void fuzz_without_apic(void **state) {
  struct rig *r = *state;
  uint64_t seed = 99;
  for (int i = 0; i < 200000; i++) fuzz_step(r, &seed);
}

static void state_round_trip_and_same_future(void **state) {
  struct rig *r = *state, *copy = rig_create(true);
  uint64_t seed = 42;
  char text[200];
  for (int round = 0; round < 50; round++) {
    struct state_buffer b = {0};
    for (int i = 0; i < 500; i++) fuzz_step(r, &seed);
    assert_int_equal(state_save(r->pc, &b), 0);
    assert_null(state_load(copy->pc, b.bytes, b.size));
    free(b.bytes);
    if (!state_equal(r->pc, copy->pc, text, sizeof text)) fail_msg("after the load: %s", text);
    assert_int_equal(clock_now(r->clock), clock_now(copy->clock));
    uint64_t again = seed;
    for (int i = 0; i < 500; i++) {
      fuzz_step(r, &seed);
      fuzz_step(copy, &again);
      assert_int_equal(r->intr, copy->intr);
    }
    if (!state_equal(r->pc, copy->pc, text, sizeof text)) fail_msg("in the future, round %d: %s", round, text);
  }
  rig_destroy(copy);
}

static void state_difference_is_named(void **state) {
  struct rig *r = *state, *other = rig_create(true);
  char text[200];
  assert_true(state_equal(r->pc, other->pc, text, sizeof text));
  out8(r, 0x3ff, 0x5a);
  assert_false(state_equal(r->pc, other->pc, text, sizeof text));
  assert_string_equal(text, "com1.scr[0]: 5a, 0");
  rig_destroy(other);
}

static void state_truncated_is_refused_untouched(void **state) {
  struct rig *r = *state, *before = rig_create(true);
  struct state_buffer b = {0};
  char text[200];
  out8(r, 0x3ff, 0x5a);
  assert_int_equal(state_save(r->pc, &b), 0);
  out8(r, 0x3ff, 0);
  for (size_t n = 0; n < b.size; n++) {
    uint8_t *exact = malloc(n ? n : 1); /* so that the sanitizer sees a read behind it */
    memcpy(exact, b.bytes, n);
    assert_non_null(state_load(r->pc, exact, n));
    free(exact);
  }
  assert_true(state_equal(r->pc, before->pc, text, sizeof text));
  assert_null(state_load(r->pc, b.bytes, b.size));
  assert_int_equal(in8(r, 0x3ff), 0x5a);
  free(b.bytes);
  rig_destroy(before);
}

static void state_of_another_machine_is_refused(void **state) {
  struct rig *r = *state, *other = rig_create(false);
  struct state_buffer b = {0};
  assert_int_equal(state_save(other->pc, &b), 0);
  assert_non_null(state_load(r->pc, b.bytes, b.size));
  free(b.bytes);
  rig_destroy(other);
}

/* Every value byte random: loads, and then nothing may crash or hang. */
static void state_random_values_do_no_harm(void **state) {
  struct rig *r = *state;
  uint64_t seed = 5;
  for (int round = 0; round < 300; round++) {
    struct state_buffer b = {0};
    unsigned count;
    const struct device *d = pc_devices(r->pc, &count);
    assert_int_equal(state_save(r->pc, &b), 0);
    for (int i = 0; i < 2000; i++) b.bytes[20 + next_random(&seed) % (b.size - 20)] ^= (uint8_t)next_random(&seed);
    state_load(r->pc, b.bytes, b.size); /* mostly refused */
    free(b.bytes);
    for (unsigned i = 0; i < count; i++)
      for (const struct field *f = d[i].fields; f->name; f++)
        if (next_random(&seed) & 1)
          for (size_t n = 0; n < (size_t)f->size * f->count; n++)
            ((uint8_t *)d[i].state)[f->offset + n] = (uint8_t)next_random(&seed);
    b = (struct state_buffer){0};
    assert_int_equal(state_save(r->pc, &b), 0);
    assert_null(state_load(r->pc, b.bytes, b.size));
    free(b.bytes);
    for (int i = 0; i < 300; i++) fuzz_step(r, &seed);
  }
}

int main(void) {
#define RIG(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
#define APIC_RIG(f) cmocka_unit_test_setup_teardown(f, rig_setup_apic, rig_teardown)
  const struct CMUnitTest tests[] = {
    RIG(bus_unowned_ports_read_as_ones),
    RIG(bus_splits_wide_accesses_and_window_edges),
    RIG(bus_removed_window_uncovers_what_it_hid),
    RIG(wiring_isa_irq_reaches_cpu_through_pic),
    RIG(wiring_com1_and_com3_share_a_line),
    RIG(wiring_ferr_is_latched_until_f0),
    RIG(wiring_a20_has_one_gate),
    RIG(wiring_four_ways_to_reset),
    RIG(wiring_debug_exit),
    RIG(dma_register_file_can_be_probed),
    RIG(pci_ids_as_qemus_pc),
    RIG(pci_mechanism_1_probe_and_narrow_accesses),
    APIC_RIG(reset_gives_the_state_of_creation),
    APIC_RIG(fuzz_a_million_accesses),
    RIG(fuzz_without_apic),
    APIC_RIG(state_round_trip_and_same_future),
    APIC_RIG(state_difference_is_named),
    APIC_RIG(state_truncated_is_refused_untouched),
    APIC_RIG(state_of_another_machine_is_refused),
    APIC_RIG(state_random_values_do_no_harm),
  };
  return cmocka_run_group_tests(tests, 0, 0);
}
