// MP table, SMBIOS and where tables.c puts them; the CRTC's registers. Run only this: build/unit/test_dev_tables
// link: bt_devices
#include "test_dev_rig.h"
#include "devices/firmware/mp_table.h"
#include "devices/firmware/smbios.h"
#include "devices/firmware/tables.h"

enum { MP_AT = 0xf1230, SMBIOS_AT = 0xe4320 };
static const struct pc_config config = {.acpi = true, .apic = true, .cpu_signature = 0x000106ca, .cpu_features = 0x0fc9fbff};

static uint8_t sum(const uint8_t *bytes, size_t n) {
  uint8_t s = 0;
  while (n--) s = (uint8_t)(s + *bytes++);
  return s;
}
static uint32_t le(const uint8_t *bytes, unsigned size) {
  uint32_t v = 0;
  while (size--) v = v << 8 | bytes[size];
  return v;
}

/* ---- MP ---- */

static void mp_pointer_leads_to_the_table(void **state) {
  struct blob b;
  mp_table_build(&b, MP_AT, &config);
  assert_false(b.overflow);
  assert_memory_equal(b.bytes, "_MP_", 4);
  assert_int_equal(le(b.bytes + 4, 4), MP_AT + 16);
  assert_int_equal(b.bytes[8], 1);
  assert_int_equal(b.bytes[9], 4);
  assert_int_equal(sum(b.bytes, 16), 0);
  assert_memory_equal(b.bytes + 16, "PCMP", 4);
  assert_int_equal(le(b.bytes + 20, 2), b.size - 16);
  assert_int_equal(sum(b.bytes + 16, b.size - 16), 0);
  assert_int_equal(le(b.bytes + 16 + 36, 4), 0xfee00000);
}

/* Counts each kind of entry and, of ISA interrupts, notes the pin of each IRQ. */
static void walk(const struct blob *b, unsigned kinds[5], int pins[16]) {
  size_t at = 16 + 44;
  unsigned entries = 0;
  memset(kinds, 0, 5 * sizeof *kinds);
  memset(pins, 0xff, 16 * sizeof *pins);
  for (; at < b->size; entries++) {
    const uint8_t *e = b->bytes + at;
    assert_in_range(e[0], 0, 4);
    kinds[e[0]]++;
    if (e[0] == 3 && e[4] == 1) pins[e[5]] = e[7];
    at += e[0] ? 8 : 20;
  }
  assert_int_equal(at, b->size);
  assert_int_equal(entries, le(b->bytes + 16 + 34, 2));
}

static void mp_entries(void **state) {
  static const int expected[16] = {2, 1, -1, 3, 4, -1, 6, 7, 8, -1, -1, -1, 12, 13, 14, 15};
  struct blob b;
  unsigned kinds[5];
  int pins[16];
  mp_table_build(&b, MP_AT, &config);
  walk(&b, kinds, pins);
  assert_int_equal(kinds[0], 1);
  assert_int_equal(kinds[1], 2);
  assert_int_equal(kinds[2], 1);
  assert_int_equal(kinds[3], 12);
  assert_int_equal(kinds[4], 2);
  assert_memory_equal(pins, expected, sizeof pins);
  assert_int_equal(le(b.bytes + 60 + 4, 4), 0x106ca);
  assert_int_equal(le(b.bytes + 60 + 8, 4), 0x0fc9fbff);
}

static void mp_no_sci_without_acpi(void **state) {
  struct pc_config without = config;
  struct blob b;
  unsigned kinds[5];
  int pins[16];
  without.acpi = false;
  mp_table_build(&b, MP_AT, &without);
  walk(&b, kinds, pins);
  assert_int_equal(kinds[3], 11);
}

/* ---- SMBIOS ---- */

static void smbios_anchor_sums(void **state) {
  struct smbios s;
  smbios_build(&s, SMBIOS_AT, &config, 128 << 20);
  assert_false(s.tables.overflow || s.anchor.overflow);
  const uint8_t *a = s.anchor.bytes;
  assert_int_equal(s.anchor.size, 31);
  assert_memory_equal(a, "_SM_", 4);
  assert_int_equal(a[5], 31);
  assert_memory_equal(a + 16, "_DMI_", 5);
  assert_int_equal(sum(a, 31), 0);
  assert_int_equal(sum(a + 16, 15), 0);
  assert_int_equal(le(a + 0x16, 2), s.tables.size);
  assert_int_equal(le(a + 0x18, 4), SMBIOS_AT);
}

/* The types and what they say of this machine; the anchor's count and largest size are true. */
static void smbios_structures(void **state) {
  static const uint8_t types[] = {0, 1, 3, 4, 16, 17, 19, 32, 127};
  struct smbios s;
  unsigned n = 0, largest = 0;
  smbios_build(&s, SMBIOS_AT, &config, 3072ull << 20);
  for (size_t at = 0; at < s.tables.size; n++) {
    const uint8_t *p = s.tables.bytes + at;
    size_t size = p[1];
    assert_true(n < sizeof types && p[0] == types[n]);
    if (p[0] == 4) assert_int_equal(le(p + 8, 4), 0x106ca);
    if (p[0] == 16) assert_int_equal(le(p + 7, 4), 3072 << 10);
    if (p[0] == 17) assert_int_equal(le(p + 12, 2), 3072);
    if (p[0] == 19) assert_int_equal(le(p + 8, 4), (3072 << 10) - 1);
    while (le(p + size, 2)) size++;
    size += 2;
    largest = size > largest ? (unsigned)size : largest;
    at += size;
    assert_true(at <= s.tables.size);
  }
  assert_int_equal(n, sizeof types);
  assert_int_equal(le(s.anchor.bytes + 0x1c, 2), n);
  assert_int_equal(le(s.anchor.bytes + 8, 2), largest);
}

static void blob_that_is_full(void **state) {
  struct blob b = {0};
  blob_zeros(&b, BLOB_SIZE);
  assert_false(b.overflow);
  blob_put(&b, 1, 1);
  assert_true(b.overflow);
  assert_int_equal(b.size, BLOB_SIZE);
}

/* ---- in memory ---- */

static bool found(struct rig *r, const char *text, unsigned length, unsigned size) {
  for (uint32_t at = 0xf0000; at < 0x100000; at += 16)
    if (!memcmp(r->mmu.low + at, text, length) && !sum(r->mmu.low + at, size)) return true;
  return false;
}

static void tables_are_found(void **state) {
  struct rig *r = *state;
  assert_int_equal(pc_write_tables(r->pc).v, 0xf0000);
  assert_true(found(r, "RSD PTR ", 8, 20));
  assert_true(found(r, "_MP_", 4, 16));
  assert_true(found(r, "_SM_", 4, 31));
}

static void no_mp_table_without_an_apic(void **state) {
  struct rig *r = rig_create(false);
  pc_write_tables(r->pc);
  assert_false(found(r, "_MP_", 4, 16));
  assert_true(found(r, "_SM_", 4, 31));
  rig_destroy(r);
}

/* ---- what a BIOS leaves in the chips ---- */

static void reset_leaves_chips_as_a_bios(void **state) {
  struct rig *r = *state;
  for (unsigned round = 0; round < 2; round++) {
    pc_reset(r->pc);
    assert_int_equal(in8(r, 0x21), 0xb8);
    assert_int_equal(in8(r, 0xa1), 0x8e);
    out8(r, 0x43, 0xe2);
    assert_int_equal(in8(r, 0x40) & 0x3f, 0x34);
    for (unsigned i = 0; i < 4; i++) {
      assert_int_equal(in8(r, (uint16_t)(pc_serial_base(r->pc, i) + 3)), 3);
      assert_int_equal(in8(r, (uint16_t)(pc_serial_base(r->pc, i) + 4)), 8);
    }
    pic_setup(r, 0); /* and a guest does something else */
    out8(r, 0x3fb, 0);
    out8(r, 0x43, 0x30);
  }
}

static void day_seconds_of_the_rtc(void **state) {
  struct rig *r = *state;
  pc_reset(r->pc);
  uint32_t start = pc_day_seconds(r->pc);
  assert_true(start < 86400);
  advance(r, 3600ll * 1000000000);
  assert_int_equal((pc_day_seconds(r->pc) + 86400 - start) % 86400, 3600);
}

static void crtc_reads_back(void **state) {
  struct rig *r = *state;
  out16(r, 0x3d4, 0x120e); /* index and data in one */
  out16(r, 0x3d4, 0x340f);
  assert_int_equal(in8(r, 0x3d4), 0x0f);
  assert_int_equal(in8(r, 0x3d5), 0x34);
  out8(r, 0x3d4, 0x0e);
  assert_int_equal(in8(r, 0x3d5), 0x12);
  out8(r, 0x3d4, 0x00); /* locked by register 11h */
  out8(r, 0x3d5, 0);
  assert_int_equal(in8(r, 0x3d5), 0x5f);
  for (unsigned index = 25; index < 256; index++) {
    out8(r, 0x3d4, (uint8_t)index);
    out8(r, 0x3d5, 0xff);
    assert_int_equal(in8(r, 0x3d5), 0);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(mp_pointer_leads_to_the_table),
    cmocka_unit_test(mp_entries),
    cmocka_unit_test(mp_no_sci_without_acpi),
    cmocka_unit_test(smbios_anchor_sums),
    cmocka_unit_test(smbios_structures),
    cmocka_unit_test(blob_that_is_full),
    cmocka_unit_test_setup_teardown(tables_are_found, rig_setup_apic, rig_teardown),
    cmocka_unit_test(no_mp_table_without_an_apic),
    cmocka_unit_test_setup_teardown(reset_leaves_chips_as_a_bios, rig_setup_apic, rig_teardown),
    cmocka_unit_test_setup_teardown(day_seconds_of_the_rtc, rig_setup, rig_teardown),
    cmocka_unit_test_setup_teardown(crtc_reads_back, rig_setup, rig_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
