// ACPI: PM block, SMI port, and the tables. With an argument the program writes the DSDT there, for `iasl -d` or acpiexec.
// link: bt_devices
#include "test_dev_rig.h"
#include <stdio.h>

enum { PM1_STS = 0x600, PM1_EN = 0x602, PM1_CNT = 0x604, PM_TMR = 0x608, SMI = 0xb2 };

static uint32_t get32(struct rig *r, uint32_t at) {
  uint32_t v;
  assert_true(at + 4 <= sizeof r->mmu.low);
  memcpy(&v, r->mmu.low + at, 4);
  return v;
}

static uint8_t sum(struct rig *r, uint32_t at, uint32_t n) {
  uint8_t s = 0;
  assert_true(at + n <= sizeof r->mmu.low);
  for (uint32_t i = 0; i < n; i++) s = (uint8_t)(s + r->mmu.low[at + i]);
  return s;
}

/* Address of a table found from the RSDP, as a kernel does it; 0: not there. */
static uint32_t find_table(struct rig *r, const char *signature) {
  uint32_t rsdp = (uint32_t)pc_write_tables(r->pc).v, rsdt;
  assert_in_range(rsdp, 0xe0000, 0xfffff);
  assert_int_equal(rsdp % 16, 0);
  assert_memory_equal(r->mmu.low + rsdp, "RSD PTR ", 8);
  assert_int_equal(sum(r, rsdp, 20), 0);
  rsdt = get32(r, rsdp + 16);
  for (uint32_t i = 36; i < get32(r, rsdt + 4); i += 4) {
    uint32_t table = get32(r, rsdt + i);
    assert_int_equal(sum(r, table, get32(r, table + 4)), 0);
    if (!memcmp(r->mmu.low + table, signature, 4)) return table;
  }
  return 0;
}

static void tables_are_found_and_sum_to_zero(void **state) {
  struct rig *r = *state;
  uint32_t fadt = find_table(r, "FACP");
  assert_true(fadt);
  assert_int_equal(get32(r, fadt + 4), 244);
  uint32_t facs = get32(r, fadt + 36), dsdt = get32(r, fadt + 40);
  assert_int_equal(facs % 64, 0);
  assert_memory_equal(r->mmu.low + facs, "FACS", 4);
  assert_int_equal(get32(r, facs + 4), 64);
  assert_memory_equal(r->mmu.low + dsdt, "DSDT", 4);
  assert_int_equal(sum(r, dsdt, get32(r, dsdt + 4)), 0);
  assert_int_equal(get32(r, fadt + 56), PM1_STS);
  assert_int_equal(get32(r, fadt + 64), PM1_CNT);
  assert_int_equal(get32(r, fadt + 76), PM_TMR);
  assert_int_equal(get32(r, fadt + 48), SMI);
  assert_true(find_table(r, "APIC"));
}

static void hpet_table_says_where_it_is(void **state) {
  struct rig *r = *state;
  uint32_t hpet = find_table(r, "HPET");
  assert_true(hpet);
  assert_int_equal(get32(r, hpet + 4), 56);
  assert_int_equal(get32(r, hpet + 36), mmio_in(r, 0xfed00000, 4));
  assert_int_equal(get32(r, hpet + 40), 0);
  assert_int_equal(get32(r, hpet + 44), 0xfed00000);
}

static void madt_only_with_an_apic(void **state) {
  struct rig *r = rig_create(false);
  assert_int_equal(find_table(r, "APIC"), 0);
  rig_destroy(r);
}

static void madt_entries_fill_the_table(void **state) {
  struct rig *r = *state;
  uint32_t madt = find_table(r, "APIC"), end = madt + get32(r, madt + 4), at = madt + 44, kinds = 0;
  while (at < end) {
    kinds |= 1u << r->mmu.low[at];
    assert_true(r->mmu.low[at + 1] >= 2);
    at += r->mmu.low[at + 1];
  }
  assert_int_equal(at, end);
  assert_int_equal(kinds, 0x17);
}

static void sci_needs_acpi_mode(void **state) {
  struct rig *r = *state;
  pic_setup(r, 1 << 9 | 1 << 2);
  out16(r, PM1_EN, 1 << 8);
  pc_power_button(r->pc);
  assert_false(r->intr);
  assert_int_equal(in16(r, PM1_CNT) & 1, 0);
  out8(r, SMI, 0xf1);
  assert_int_equal(in16(r, PM1_CNT) & 1, 1);
  assert_int_equal(pc_ack_interrupt(r->pc), 0x39);
  assert_int_equal(in16(r, PM1_STS) & 1 << 8, 1 << 8);
  out16(r, PM1_STS, 1 << 8);
  assert_int_equal(in16(r, PM1_STS), 0);
  out16(r, PM1_CNT, 0); /* SCI_EN is not the guest's to clear here */
  assert_int_equal(in16(r, PM1_CNT) & 1, 1);
  out8(r, SMI, 0xf0);
  assert_int_equal(in16(r, PM1_CNT) & 1, 0);
}

static void s5_powers_off(void **state) {
  struct rig *r = *state;
  out16(r, PM1_CNT, 1 << 10);
  out16(r, PM1_CNT, 1 << 13 | 1 << 10); /* another state */
  assert_int_equal(r->power_offs, 0);
  out16(r, PM1_CNT, 1 << 13);
  assert_int_equal(r->power_offs, 1);
}

static void pm_timer_24_bits_and_its_overflow(void **state) {
  struct rig *r = *state;
  pic_setup(r, 1 << 9 | 1 << 2);
  out8(r, 0x4d1, 2); /* SCI is a level */
  out8(r, SMI, 0xf1);
  uint32_t start = in32(r, PM_TMR);
  advance(r, 1000000000);
  assert_in_range((in32(r, PM_TMR) - start) & 0xffffff, 3579544, 3579546);
  assert_int_equal(in16(r, PM1_STS) & 1, 0);
  out16(r, PM1_EN, 1);
  out8(r, 0x43, 0x30);
  advance(r, 1400000000); /* past 2.34 s */
  assert_true(r->intr);
  assert_int_equal(in16(r, PM1_STS) & 1, 1);
  out16(r, PM1_STS, 1);
  assert_false(r->intr);
  advance(r, 10000000000ll);
  assert_true(in32(r, PM_TMR) <= 0xffffff);
  assert_true(r->intr);
}

static void pm_block_narrow_accesses(void **state) {
  struct rig *r = *state;
  out8(r, PM1_EN + 1, 1);
  assert_int_equal(in16(r, PM1_EN), 1 << 8);
  out8(r, PM1_EN, 0x21);
  assert_int_equal(in32(r, PM1_STS) >> 16, 0x121);
  out32(r, PM1_STS, 0);
  assert_int_equal(in16(r, PM1_EN), 0);
}

static void pm_block_moves_with_its_base(void **state) {
  struct rig *r = *state;
  out32(r, 0xcf8, 0x80000b40);
  out32(r, 0xcfc, 0xb001);
  assert_int_equal(in16(r, PM1_EN), 0xffff);
  assert_int_equal(in16(r, 0xb002), 0);
  out32(r, 0xcf8, 0x80000b80);
  out8(r, 0xcfc, 0);
  assert_int_equal(in16(r, 0xb002), 0xffff);
  pc_reset(r->pc);
  assert_int_equal(in16(r, PM1_EN), 0xffff);
  pc_leave_as_bios(r->pc);
  assert_int_equal(in16(r, PM1_EN), 0);
}

static void gpe_block_keeps_its_enables(void **state) {
  struct rig *r = *state;
  out16(r, 0xafe2, 0x1234);
  assert_int_equal(in32(r, 0xafe0), 0x12340000);
}

/* iasl must read the DSDT without an error and find what is in it. Skipped, and said so, where acpica-tools is missing. */
static void dsdt_disassembles(void **state) {
  struct rig *r = *state;
  char dir[] = "/tmp/bt-dsdt-XXXXXX", command[200], line[400];
  uint32_t fadt = find_table(r, "FACP"), dsdt = get32(r, fadt + 40);
  if (system("command -v iasl >/dev/null 2>&1")) {
    print_message("SKIPPED: iasl is not installed (acpica-tools)\n");
    skip();
  }
  assert_non_null(mkdtemp(dir));
  snprintf(command, sizeof command, "%s/dsdt.aml", dir);
  FILE *f = fopen(command, "wb");
  assert_non_null(f);
  assert_int_equal(fwrite(r->mmu.low + dsdt, 1, get32(r, dsdt + 4), f), get32(r, dsdt + 4));
  fclose(f);
  snprintf(command, sizeof command,
           "cd %s && iasl -d dsdt.aml >log 2>&1 && iasl -oa dsdt.dsl >>log 2>&1; s=$?; cat log "
           "dsdt.dsl; cd /; rm -r %s; exit $s",
           dir, dir);
  FILE *p = popen(command, "r");
  assert_non_null(p);
  static const char *const wanted[] = {"0 Errors", "LNKA",    "LNKD",    "LNKS", "_PRT", "PNP0A03",
                                       "PNP0303",  "PNP0501", "PNP0B00", "_S5",  "CPU0"};
  unsigned found = 0, all = (1u << sizeof wanted / sizeof *wanted) - 1;
  while (fgets(line, sizeof line, p))
    for (unsigned i = 0; i < sizeof wanted / sizeof *wanted; i++)
      if (strstr(line, wanted[i])) found |= 1u << i;
  assert_int_equal(pclose(p), 0);
  assert_int_equal(found, all);
}

static int write_dsdt(const char *path) {
  struct rig *r = rig_create(true);
  uint32_t dsdt = get32(r, find_table(r, "FACP") + 40);
  FILE *f = fopen(path, "wb");
  if (!f) return 1;
  fwrite(r->mmu.low + dsdt, 1, get32(r, dsdt + 4), f);
  fclose(f);
  rig_destroy(r);
  return 0;
}

int main(int argc, char **argv) {
#define RIG(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
#define APIC_RIG(f) cmocka_unit_test_setup_teardown(f, rig_setup_apic, rig_teardown)
  const struct CMUnitTest tests[] = {
    APIC_RIG(tables_are_found_and_sum_to_zero),
    cmocka_unit_test(madt_only_with_an_apic),
    RIG(hpet_table_says_where_it_is),
    APIC_RIG(madt_entries_fill_the_table),
    RIG(sci_needs_acpi_mode),
    RIG(s5_powers_off),
    RIG(pm_timer_24_bits_and_its_overflow),
    RIG(pm_block_narrow_accesses),
    RIG(pm_block_moves_with_its_base),
    RIG(gpe_block_keeps_its_enables),
    APIC_RIG(dsdt_disassembles),
  };
  if (argc > 1) return write_dsdt(argv[1]);
  return cmocka_run_group_tests(tests, 0, 0);
}
