// Firmware's tables as files and steps, MP table, SMBIOS, and where tables.c puts them; what a BIOS leaves in the chips. Run only
// this: build/unit/test_dev_tables
// link: bt_devices
#include "test_dev_rig.h"
#include "devices/firmware/acpi.h"
#include "devices/firmware/blob.h"
#include "devices/firmware/mp_table.h"
#include "devices/firmware/smbios.h"

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

static const uint32_t somewhere[TABLE_FILES] = {
  [FILE_RSDP] = 0x12340, [FILE_ACPI] = 0x45640, [FILE_MP] = MP_AT, [FILE_SMBIOS_ANCHOR] = 0xe4300, [FILE_SMBIOS] = SMBIOS_AT};

/* ---- MP ---- */

struct placed {
  struct tables t;
  const uint8_t *bytes;
  size_t size;
};
static struct placed mp_table(const struct pc_config *c) {
  struct placed p = {0};
  mp_table_make(&p.t, c);
  tables_place(&p.t, somewhere);
  assert_false(p.t.failed);
  p.bytes = p.t.file[FILE_MP].bytes;
  p.size = p.t.file[FILE_MP].size;
  return p;
}

static void mp_pointer_leads_to_the_table(void **state) {
  struct placed b = mp_table(&config);
  assert_memory_equal(b.bytes, "_MP_", 4);
  assert_int_equal(le(b.bytes + 4, 4), MP_AT + 16);
  assert_int_equal(b.bytes[8], 1);
  assert_int_equal(b.bytes[9], 4);
  assert_int_equal(sum(b.bytes, 16), 0);
  assert_memory_equal(b.bytes + 16, "PCMP", 4);
  assert_int_equal(le(b.bytes + 20, 2), b.size - 16);
  assert_int_equal(sum(b.bytes + 16, b.size - 16), 0);
  assert_int_equal(le(b.bytes + 16 + 36, 4), 0xfee00000);
  tables_free(&b.t);
}

/* Counts each kind of entry and, of ISA interrupts, notes the pin of each IRQ. */
static void walk(const struct placed *b, unsigned kinds[5], int pins[16]) {
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
  struct placed b = mp_table(&config);
  unsigned kinds[5];
  int pins[16];
  walk(&b, kinds, pins);
  assert_int_equal(kinds[0], 1);
  assert_int_equal(kinds[1], 2);
  assert_int_equal(kinds[2], 1);
  assert_int_equal(kinds[3], 12);
  assert_int_equal(kinds[4], 2);
  assert_memory_equal(pins, expected, sizeof pins);
  assert_int_equal(le(b.bytes + 60 + 4, 4), 0x106ca);
  assert_int_equal(le(b.bytes + 60 + 8, 4), 0x0fc9fbff);
  tables_free(&b.t);
}

static void mp_no_sci_without_acpi(void **state) {
  struct pc_config without = config;
  unsigned kinds[5];
  int pins[16];
  without.acpi = false;
  struct placed b = mp_table(&without);
  walk(&b, kinds, pins);
  assert_int_equal(kinds[3], 11);
  tables_free(&b.t);
}

/* ---- SMBIOS ---- */

static void smbios_anchor_sums(void **state) {
  struct tables t = {0};
  smbios_make(&t, &config, 128 << 20);
  tables_place(&t, somewhere);
  assert_false(t.failed);
  const uint8_t *a = t.file[FILE_SMBIOS_ANCHOR].bytes;
  assert_int_equal(t.file[FILE_SMBIOS_ANCHOR].size, 31);
  assert_memory_equal(a, "_SM_", 4);
  assert_int_equal(a[5], 31);
  assert_memory_equal(a + 16, "_DMI_", 5);
  assert_int_equal(sum(a, 31), 0);
  assert_int_equal(sum(a + 16, 15), 0);
  assert_int_equal(le(a + 0x16, 2), t.file[FILE_SMBIOS].size);
  assert_int_equal(le(a + 0x18, 4), SMBIOS_AT);
  tables_free(&t);
}

/* The types and what they say of this machine; the anchor's count and largest size are true. */
static void smbios_structures(void **state) {
  static const uint8_t types[] = {0, 1, 3, 4, 16, 17, 19, 32, 127};
  struct tables t = {0};
  unsigned n = 0, largest = 0;
  smbios_make(&t, &config, 3072ull << 20);
  for (size_t at = 0; at < t.file[FILE_SMBIOS].size; n++) {
    const uint8_t *p = t.file[FILE_SMBIOS].bytes + at;
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
    assert_true(at <= t.file[FILE_SMBIOS].size);
  }
  assert_int_equal(n, sizeof types);
  assert_int_equal(le(t.file[FILE_SMBIOS_ANCHOR].bytes + 0x1c, 2), n);
  assert_int_equal(le(t.file[FILE_SMBIOS_ANCHOR].bytes + 8, 2), largest);
  tables_free(&t);
}

static void blob_that_is_full(void **state) {
  struct blob b = {0};
  blob_zeros(&b, BLOB_SIZE);
  assert_false(b.overflow);
  blob_put(&b, 1, 1);
  assert_true(b.overflow);
  assert_int_equal(b.size, BLOB_SIZE);
}

/* ---- files and steps ---- */

static struct tables make_all(struct rig *r) {
  struct pc_config c = config;
  struct tables t;
  c.mmu = &r->mmu;
  c.hpet = true;
  tables_make(&t, &c);
  assert_false(t.failed);
  return t;
}

/* Is this byte a pointer's or a sum's? */
static bool is_fixed_up(const struct tables *t, unsigned file, uint32_t at) {
  for (unsigned i = 0; i < t->steps; i++) {
    const struct table_step *s = &t->step[i];
    uint32_t size = s->kind == STEP_POINTER ? s->size : s->kind == STEP_CHECKSUM ? 1 : 0;
    if (s->file == file && at - s->offset < size) return true;
  }
  return false;
}

static void files_know_no_address(void **state) {
  static const uint32_t elsewhere[TABLE_FILES] = {0x7f0000, 0x7e1240, 0x7d2350, 0x7c3460, 0x7b4570};
  struct tables a = make_all(*state), b = make_all(*state);
  unsigned differ = 0;
  tables_place(&a, somewhere);
  tables_place(&b, elsewhere);
  for (unsigned file = 0; file < TABLE_FILES; file++) {
    assert_int_equal(a.file[file].size, b.file[file].size);
    for (uint32_t at = 0; at < a.file[file].size; at++)
      if (a.file[file].bytes[at] != b.file[file].bytes[at]) {
        assert_true(is_fixed_up(&a, file, at));
        differ++;
      }
  }
  assert_true(differ > 20);
  tables_free(&a);
  tables_free(&b);
}

/* Where a kernel would find the tables of FILE_ACPI, wherever they are. */
static const uint8_t *acpi_at(const struct tables *t, uint32_t address) {
  assert_true(address >= somewhere[FILE_ACPI] && address - somewhere[FILE_ACPI] < t->file[FILE_ACPI].size);
  return t->file[FILE_ACPI].bytes + (address - somewhere[FILE_ACPI]);
}

static void acpi_tables_are_linked_where_they_are_placed(void **state) {
  static const char *const names[] = {"FACP", "APIC", "HPET"};
  struct tables t = make_all(*state);
  tables_place(&t, somewhere);
  const uint8_t *rsdp = t.file[FILE_RSDP].bytes, *rsdt = acpi_at(&t, le(rsdp + 16, 4));
  assert_int_equal(sum(rsdp, 20), 0);
  assert_int_equal(sum(rsdt, le(rsdt + 4, 4)), 0);
  assert_int_equal(le(rsdt + 4, 4), 36 + 4 * 3);
  for (unsigned i = 0; i < 3; i++) {
    const uint8_t *table = acpi_at(&t, le(rsdt + 36 + 4 * i, 4));
    assert_memory_equal(table, names[i], 4);
    assert_int_equal(sum(table, le(table + 4, 4)), 0);
  }
  const uint8_t *fadt = acpi_at(&t, le(rsdt + 36, 4));
  assert_memory_equal(acpi_at(&t, le(fadt + 36, 4)), "FACS", 4);
  assert_memory_equal(acpi_at(&t, le(fadt + 40, 4)), "DSDT", 4);
  assert_int_equal(le(fadt + 140, 4), le(fadt + 40, 4));
  assert_int_equal(le(fadt + 144, 4), 0);
  tables_free(&t);
}

/* A loader can do the steps in their order: a file is allocated before anything is added to or from it, and once. */
static void steps_are_in_order(void **state) {
  struct tables t = make_all(*state);
  bool allocated[TABLE_FILES] = {0};
  for (unsigned i = 0; i < t.steps; i++) {
    const struct table_step *s = &t.step[i];
    if (s->kind == STEP_ALLOCATE) {
      assert_false(allocated[s->file]);
      assert_int_equal(somewhere[s->file] % s->size, 0);
      allocated[s->file] = true;
    } else assert_true(allocated[s->file] && (s->kind != STEP_POINTER || allocated[s->target]));
  }
  for (unsigned file = 0; file < TABLE_FILES; file++) assert_true(allocated[file]);
  tables_free(&t);
}

static void what_does_not_fit_is_noticed(void **state) {
  struct tables t = {0};
  assert_int_equal(tables_append(&t, FILE_MP, "abc", 3, 16), 0);
  assert_int_equal(tables_append(&t, FILE_MP, "def", 3, 16), 16);
  tables_pointer(&t, FILE_MP, 0, 4, FILE_MP, 16);
  assert_false(t.failed);
  tables_pointer(&t, FILE_MP, 16, 4, FILE_MP, 0); /* one byte too far */
  assert_true(t.failed);
  tables_free(&t);
  tables_append(&t, FILE_MP, "abcd", 4, 16);
  for (unsigned i = 1; i < TABLE_STEPS; i++) tables_checksum(&t, FILE_MP, 0, 4, 3);
  assert_false(t.failed);
  tables_checksum(&t, FILE_MP, 0, 4, 3);
  assert_true(t.failed);
  tables_place(&t, somewhere);
  tables_free(&t);
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

static uint32_t config_of(struct rig *r, unsigned devfn, unsigned reg) {
  out32(r, 0xcf8, 0x80000000u | devfn << 8 | reg);
  return in32(r, 0xcfc);
}

static void a_bios_leaves_chips_to_kernels(void **state) {
  struct rig *r = *state;
  for (unsigned round = 0; round < 2; round++) {
    pc_reset(r->pc);
    pc_leave_as_bios(r->pc);
    assert_int_equal(in32(r, 0xcf8), 0);
    assert_int_equal(in8(r, 0x21), 0xb8);
    assert_int_equal(in8(r, 0xa1), 0x8e);
    assert_int_equal(in8(r, 0x4d1), 0x0c);
    out8(r, 0x43, 0xe2);
    assert_int_equal(in8(r, 0x40) & 0x3f, 0x34);
    out8(r, 0x43, 0xe4);
    assert_int_equal(in8(r, 0x41) & 0x3f, 0x14);
    for (unsigned i = 0; i < 4; i++) {
      assert_int_equal(in8(r, (uint16_t)(pc_serial_base(r->pc, i) + 3)), 3);
      assert_int_equal(in8(r, (uint16_t)(pc_serial_base(r->pc, i) + 4)), 8);
    }
    assert_int_equal(in8(r, 0x64), 0x14);
    out8(r, 0x64, 0x20);
    assert_int_equal(in8(r, 0x60), 0x65);
    assert_int_equal(mmio_in(r, 0xfee000f0, 4), 0x1ff);
    assert_int_equal(mmio_in(r, 0xfee00350, 4), 0x8700);
    assert_int_equal(mmio_in(r, 0xfee00360, 4), 0x8400);
    assert_int_equal(config_of(r, 0x08, 0x60), 0x0b0b0a0a);
    assert_int_equal(config_of(r, 0x0b, 0x04), 0x02000001);
    assert_int_equal(config_of(r, 0x0b, 0x3c), 0x00000109);
    assert_int_equal(config_of(r, 0x0b, 0x40), 0x00000601);
    assert_int_equal(in16(r, 0x602), 0);
    pic_setup(r, 0); /* and a guest does something else */
    out8(r, 0x3fb, 0);
    out8(r, 0x43, 0x30);
    config_of(r, 0x0b, 0x40);
    out32(r, 0xcfc, 0);
    mmio_out(r, 0xfee00350, 4, 0x10000);
  }
}

/* What a firmware that is run finds instead, as QEMU's machine has it. */
static void a_reset_gives_power_on_values(void **state) {
  struct rig *r = *state;
  for (unsigned round = 0; round < 2; round++) {
    pc_reset(r->pc);
    assert_int_equal(in8(r, 0x21), 0);
    assert_int_equal(in8(r, 0x4d0) | in8(r, 0x4d1), 0);
    out8(r, 0x43, 0xee);
    for (unsigned i = 0; i < 3; i++) assert_int_equal(in8(r, (uint16_t)(0x40 + i)) & 0x3f, 0x36);
    for (unsigned i = 0; i < 4; i++) {
      assert_int_equal(in8(r, (uint16_t)(pc_serial_base(r->pc, i) + 3)), 0);
      assert_int_equal(in8(r, (uint16_t)(pc_serial_base(r->pc, i) + 4)), 0);
    }
    assert_int_equal(in8(r, 0x64), 0x18);
    assert_int_equal(mmio_in(r, 0xfee000f0, 4), 0xff);
    assert_int_equal(mmio_in(r, 0xfee00360, 4), 0x10000);
    assert_int_equal(config_of(r, 0x08, 0x60), 0x80808080);
    assert_int_equal(config_of(r, 0x0b, 0x04), 0x02000000);
    assert_int_equal(config_of(r, 0x0b, 0x3c), 0x00000100);
    assert_int_equal(config_of(r, 0x0b, 0x40), 0x00000001);
    assert_int_equal(in16(r, 0x602), 0xffff);
    pc_leave_as_bios(r->pc);
  }
}

static uint32_t zero_read(void *dev, uint16_t offset, unsigned size) { return 0; }
static void count_write(void *dev, uint16_t offset, unsigned size, uint32_t value) { ++*(unsigned *)dev; }

/* Where COM1 would be is something else, as -device isa-debug-exit,iobase=0x3f8 puts it there; and there is no local APIC. */
static void a_bios_looks_before_it_writes(void **state) {
  static const struct io_ops ops = {zero_read, count_write, 4};
  struct rig *r = rig_create(false);
  unsigned writes = 0;
  io_bus_add(r->io, 0x3f8, 8, &ops, &writes, "other");
  pc_reset(r->pc);
  pc_leave_as_bios(r->pc);
  assert_int_equal(writes, 0);
  assert_int_equal(in8(r, 0x2fb), 3);
  rig_destroy(r);
}

static void day_seconds_of_the_rtc(void **state) {
  struct rig *r = *state;
  pc_reset(r->pc);
  uint32_t start = pc_day_seconds(r->pc);
  assert_true(start < 86400);
  advance(r, 3600ll * 1000000000);
  assert_int_equal((pc_day_seconds(r->pc) + 86400 - start) % 86400, 3600);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(mp_pointer_leads_to_the_table),
    cmocka_unit_test(mp_entries),
    cmocka_unit_test(mp_no_sci_without_acpi),
    cmocka_unit_test(smbios_anchor_sums),
    cmocka_unit_test(smbios_structures),
    cmocka_unit_test(blob_that_is_full),
    cmocka_unit_test_setup_teardown(files_know_no_address, rig_setup, rig_teardown),
    cmocka_unit_test_setup_teardown(acpi_tables_are_linked_where_they_are_placed, rig_setup, rig_teardown),
    cmocka_unit_test_setup_teardown(steps_are_in_order, rig_setup, rig_teardown),
    cmocka_unit_test(what_does_not_fit_is_noticed),
    cmocka_unit_test_setup_teardown(tables_are_found, rig_setup_apic, rig_teardown),
    cmocka_unit_test(no_mp_table_without_an_apic),
    cmocka_unit_test_setup_teardown(a_bios_leaves_chips_to_kernels, rig_setup_apic, rig_teardown),
    cmocka_unit_test_setup_teardown(a_reset_gives_power_on_values, rig_setup_apic, rig_teardown),
    cmocka_unit_test(a_bios_looks_before_it_writes),
    cmocka_unit_test_setup_teardown(day_seconds_of_the_rtc, rig_setup, rig_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
