/* ACPI tables. ACPI 3.0, chapter 5; the subset that Linux, BSD and Windows ask for on a PC of the PIIX4 kind.
 *
 * Owns what is in two files (tables.h): the RSDP, and all tables, 64-byte aligned (FACS must be). Addresses and register blocks
 * come from acpi_pm.h; the PIRQ wiring from pci_pirq(). The same link devices serve PIC and APIC mode, because the router's IRQ n
 * is also the I/O APIC's pin n; the MADT marks those pins level, active high.
 */
#include "acpi.h"
#include "../chips/acpi_pm.h"
#include "aml.h"
#include "../chips/hpet.h"
#include "../map.h"
#include <string.h>

enum { RSDP_SIZE = 20, RSDP_CHECKSUM = 8, RSDP_RSDT = 16, FACS_SIZE = 64, FACS_VERSION = 32, ALIGN = 64 };
enum { FADT_FACS = 36, FADT_DSDT = 40, FADT_X_DSDT = 140, RSDT_ENTRIES = 36 /* offsets of pointers */ };
enum { RESET_PORT = 0xcf9, RESET_VALUE = 6, CENTURY = 0x32, HPET_LENGTH = 0x400, MAX_TABLES = 3 };
enum { FADT_WBINVD = 1 << 0, FADT_PROC_C1 = 1 << 2, FADT_SLP_BUTTON = 1 << 5, FADT_FIX_RTC = 1 << 6, FADT_RESET_REG = 1 << 10 };
enum { BOOT_LEGACY = 1, BOOT_8042 = 2, BOOT_NO_VGA = 4 };
enum { SERIALIZED = 8 }; /* method flag: it creates names */
enum { OP_STORE = 0x70, OP_ARG0 = 0x68, OP_AND = 0x7b, OP_OR = 0x7d, OP_RETURN = 0xa4, OP_NULL = 0 };

/* Appends a complete table; returns its offset. */
static uint32_t append(struct tables *t, struct aml *a) {
  acpi_table_end(a);
  t->failed |= a->overflow;
  return tables_append(t, FILE_ACPI, a->bytes, a->size, ALIGN);
}

static void sum_table(struct tables *t, uint32_t at, const struct aml *a) {
  tables_checksum(t, FILE_ACPI, at, (uint32_t)a->size, at + ACPI_CHECKSUM);
}

/* ---- DSDT: methods of the PIRQ links ---- */

static void links_fields(struct aml *a) {
  static const char *const names[4] = {"PRQ0", "PRQ1", "PRQ2", "PRQ3"};
  aml_bytes(a, "\x5b\x80", 2); /* OperationRegion (PIRQ, PCI_Config, 0x60, 4) */
  aml_path(a, "PIRQ");
  aml_byte(a, 2);
  aml_integer(a, 0x60);
  aml_integer(a, 4);
  size_t field = aml_begin(a, "\x5b\x81", 2);
  aml_path(a, "PIRQ");
  aml_byte(a, 1); /* ByteAcc, NoLock, Preserve */
  for (unsigned i = 0; i < 4; i++) aml_field_unit(a, names[i], 8);
  aml_end(a, field);
}

static void arg0(struct aml *a) { aml_byte(a, OP_ARG0); }
static void resource_buffer(struct aml *a) { aml_path(a, "PRR0"); }

/* Method (_STA): 9 while the router has the link switched off, else 0xB. */
static void link_sta(struct aml *a, const char *reg) {
  size_t method = aml_method(a, "_STA", 0);
  size_t condition = aml_begin(a, "\xa0", 1);
  aml_byte(a, OP_AND);
  aml_path(a, reg);
  aml_integer(a, 0x80);
  aml_byte(a, OP_NULL);
  aml_byte(a, OP_RETURN);
  aml_integer(a, 0x09);
  aml_end(a, condition);
  aml_byte(a, OP_RETURN);
  aml_integer(a, 0x0b);
  aml_end(a, method);
}

/* Method (_CRS): the router's IRQ in an extended interrupt descriptor, whose number is at byte 5. */
static void link_crs(struct aml *a, const char *reg) {
  size_t method = aml_method(a, "_CRS", SERIALIZED);
  size_t template = aml_resources(a, "PRR0");
  aml_res_interrupts(a, (const uint8_t[]){0}, 1);
  aml_end_resources(a, template);
  aml_create_dword_field(a, resource_buffer, 5, "IRQV");
  aml_byte(a, OP_AND);
  aml_path(a, reg);
  aml_integer(a, 0x0f);
  aml_path(a, "IRQV");
  aml_byte(a, OP_RETURN);
  aml_path(a, "PRR0");
  aml_end(a, method);
}

static void link_srs(struct aml *a, const char *reg) {
  size_t method = aml_method(a, "_SRS", 1);
  aml_create_dword_field(a, arg0, 5, "IRQV");
  aml_byte(a, OP_STORE);
  aml_path(a, "IRQV");
  aml_path(a, reg);
  aml_end(a, method);
}

static void link_dis(struct aml *a, const char *reg) {
  size_t method = aml_method(a, "_DIS", 0);
  aml_byte(a, OP_OR);
  aml_path(a, reg);
  aml_integer(a, 0x80);
  aml_path(a, reg);
  aml_end(a, method);
}

static void link_device(struct aml *a, unsigned n) {
  static const uint8_t possible[] = {5, 10, 11};
  static const char *const names[4] = {"LNKA", "LNKB", "LNKC", "LNKD"};
  static const char *const regs[4] = {"\\_SB.PCI0.ISA.PRQ0", "\\_SB.PCI0.ISA.PRQ1", "\\_SB.PCI0.ISA.PRQ2", "\\_SB.PCI0.ISA.PRQ3"};
  size_t device = aml_device(a, names[n]);
  aml_name_eisa(a, "_HID", "PNP0C0F");
  aml_name_integer(a, "_UID", n + 1);
  size_t template = aml_resources(a, "_PRS");
  aml_res_interrupts(a, possible, sizeof possible);
  aml_end_resources(a, template);
  link_sta(a, regs[n]);
  link_crs(a, regs[n]);
  link_srs(a, regs[n]);
  link_dis(a, regs[n]);
  aml_end(a, device);
}

/* The SCI's pseudo link: 00:01.3's INTA is fixed to IRQ 9. */
static void sci_link(struct aml *a) {
  static const uint8_t irq[] = {ACPI_SCI};
  size_t device = aml_device(a, "LNKS");
  aml_name_eisa(a, "_HID", "PNP0C0F");
  aml_name_integer(a, "_UID", 5);
  aml_name_integer(a, "_STA", 0x0b);
  static const char *const names[2] = {"_PRS", "_CRS"};
  for (unsigned i = 0; i < 2; i++) {
    size_t template = aml_resources(a, names[i]);
    aml_res_interrupts(a, irq, 1);
    aml_end_resources(a, template);
  }
  aml_end(a, aml_method(a, "_SRS", 1));
  aml_end(a, aml_method(a, "_DIS", 0));
  aml_end(a, device);
}

/* ---- DSDT: PCI root and ISA devices ---- */

static void routing_table(struct aml *a) {
  static const char *const links[4] = {"LNKA", "LNKB", "LNKC", "LNKD"};
  size_t table = aml_name_package(a, "_PRT", 31 * 4);
  for (unsigned device = 1; device < 32; device++)
    for (unsigned pin = 0; pin < 4; pin++) {
      size_t row = aml_package(a, 4);
      aml_integer(a, device << 16 | 0xffff);
      aml_integer(a, pin);
      aml_path(a, device == 1 && pin == 0 ? "LNKS" : links[pci_pirq(device, pin)]);
      aml_integer(a, 0);
      aml_end(a, row);
    }
  aml_end(a, table);
}

/* An ISA device with one port range (length 0: none), a second one, and an IRQ (0: none). */
struct isa_device {
  const char *name, *id;
  uint16_t io, io2;
  uint8_t length, length2, irq;
};

static void isa_device(struct aml *a, const struct isa_device *d, uint32_t uid) {
  size_t device = aml_device(a, d->name);
  aml_name_eisa(a, "_HID", d->id);
  if (uid) aml_name_integer(a, "_UID", uid);
  aml_name_integer(a, "_STA", 0x0f);
  size_t template = aml_resources(a, "_CRS");
  if (d->length) aml_res_io(a, d->io, d->length);
  if (d->length2) aml_res_io(a, d->io2, d->length2);
  if (d->irq) aml_res_irq(a, d->irq);
  aml_end_resources(a, template);
  aml_end(a, device);
}

static void floppy_controller(struct aml *a) {
  size_t device = aml_device(a, "FDC0");
  aml_name_eisa(a, "_HID", "PNP0700");
  aml_name_integer(a, "_STA", 0x0f);
  size_t template = aml_resources(a, "_CRS");
  aml_res_io(a, 0x3f2, 4);
  aml_res_io(a, 0x3f7, 1);
  aml_res_irq(a, 6);
  aml_res_dma(a, 2);
  aml_end_resources(a, template);
  aml_end(a, device);
}

static void isa_bus(struct aml *a, const struct pc_config *config) {
  static const struct isa_device always[] =
    {
      {"KBD", "PNP0303", 0x60, 0x64, 1, 1, 1},
      {"MOU", "PNP0F13", 0, 0, 0, 0, 12},
      {"RTC", "PNP0B00", 0x70, 0, 2, 0, 8},
    },
                                 serial[4] = {
                                   {"COM1", "PNP0501", 0x3f8, 0, 8, 0, 4},
                                   {"COM2", "PNP0501", 0x2f8, 0, 8, 0, 3},
                                   {"COM3", "PNP0501", 0x3e8, 0, 8, 0, 4},
                                   {"COM4", "PNP0501", 0x2e8, 0, 8, 0, 3},
                                 };
  static const struct isa_device parallel[3] = {
    {"LPT1", "PNP0400", 0x378, 0, 8, 0, 7},
    {"LPT2", "PNP0400", 0x278, 0, 8, 0, 7},
    {"LPT3", "PNP0400", 0x3bc, 0, 4, 0, 7},
  };
  size_t bridge = aml_device(a, "ISA");
  aml_name_integer(a, "_ADR", 0x00010000);
  links_fields(a);
  for (unsigned i = 0; i < sizeof always / sizeof *always; i++) isa_device(a, &always[i], 0);
  floppy_controller(a);
  for (unsigned i = 0; i < 4; i++)
    if (config->com[i]) isa_device(a, &serial[i], i + 1);
  for (unsigned i = 0; i < 3; i++)
    if (config->lpt[i]) isa_device(a, &parallel[i], i + 1);
  aml_end(a, bridge);
}

/* Ports but CF8h-CFFh, and memory from the end of RAM to the I/O APIC, go to PCI. */
static void pci_root(struct aml *a, const struct pc_config *config) {
  uint64_t ram = mmu_ram_size(config->mmu), first = ram < 0xc0000000 ? 0xc0000000 : ram;
  size_t root = aml_device(a, "PCI0");
  aml_name_eisa(a, "_HID", "PNP0A03");
  aml_name_integer(a, "_UID", 0);
  aml_name_integer(a, "_BBN", 0);
  size_t template = aml_resources(a, "_CRS");
  aml_res_bus(a, 0, 0xff);
  aml_res_io(a, 0xcf8, 8);
  aml_res_io_window(a, 0x0000, 0x0cf7);
  aml_res_io_window(a, 0x0d00, 0xffff);
  aml_res_memory_window(a, 0x000a0000, 0x000bffff);
  if (first < IOAPIC_BASE) aml_res_memory_window(a, (uint32_t)first, IOAPIC_BASE - 1);
  aml_end_resources(a, template);
  routing_table(a);
  isa_bus(a, config);
  aml_end(a, root);
}

static void sleep_state(struct aml *a) {
  size_t package = aml_name_package(a, "\\_S5", 4);
  aml_integer(a, ACPI_SLP_TYP_S5);
  aml_integer(a, ACPI_SLP_TYP_S5);
  aml_integer(a, 0);
  aml_integer(a, 0);
  aml_end(a, package);
}

static void processor(struct aml *a) {
  size_t scope = aml_scope(a, "\\_PR");
  size_t cpu = aml_begin(a, "\x5b\x83", 2);
  aml_path(a, "CPU0");
  aml_byte(a, 0);  /* ACPI processor id, as in the MADT */
  aml_dword(a, 0); /* no P_BLK */
  aml_byte(a, 0);
  aml_end(a, cpu);
  aml_end(a, scope);
}

/* Its registers; that they are there is the HPET table's word, too. */
static void hpet_device(struct aml *a) {
  size_t device = aml_device(a, "HPET");
  aml_name_eisa(a, "_HID", "PNP0103");
  aml_name_integer(a, "_UID", 0);
  aml_name_integer(a, "_STA", 0x0f);
  size_t template = aml_resources(a, "_CRS");
  aml_res_memory_fixed(a, HPET_BASE, HPET_LENGTH);
  aml_end_resources(a, template);
  aml_end(a, device);
}

static void build_dsdt(struct aml *a, const struct pc_config *config) {
  acpi_table_begin(a, "DSDT", 1);
  sleep_state(a);
  processor(a);
  size_t scope = aml_scope(a, "\\_SB");
  pci_root(a, config);
  for (unsigned n = 0; n < 4; n++) link_device(a, n);
  sci_link(a);
  if (config->hpet) hpet_device(a);
  aml_end(a, scope);
}

/* ---- FADT, MADT, HPET ---- */

static void gas_io(struct aml *a, uint16_t port, uint8_t bits) {
  aml_byte(a, port != 0); /* system I/O; all zero when there is no such block */
  aml_byte(a, bits);
  aml_byte(a, 0);
  aml_byte(a, 0);
  aml_qword(a, port);
}

static void fadt_fixed_blocks(struct aml *a) {
  /* PM1a_EVT_BLK, PM1b_EVT_BLK, PM1a_CNT_BLK, PM1b_CNT_BLK, PM2_CNT_BLK, PM_TMR_BLK, GPE0_BLK, GPE1_BLK */
  aml_dword(a, ACPI_PM_BASE);
  aml_dword(a, 0);
  aml_dword(a, ACPI_PM_BASE + 4);
  aml_dword(a, 0);
  aml_dword(a, 0);
  aml_dword(a, ACPI_PM_BASE + 8);
  aml_dword(a, ACPI_GPE_BASE);
  aml_dword(a, 0);
  aml_bytes(a, "\x04\x02\x00\x04\x04\x00\x00\x00", 8); /* their lengths, GPE1_BASE, CST_CNT */
}

/* Pointers are zero here: see append_fadt(). */
static void build_fadt(struct aml *a, bool vga) {
  acpi_table_begin(a, "FACP", 3);
  aml_dword(a, 0); /* FIRMWARE_CTRL */
  aml_dword(a, 0); /* DSDT */
  aml_byte(a, 0);
  aml_byte(a, 1); /* preferred profile: desktop */
  aml_word(a, ACPI_SCI);
  aml_dword(a, ACPI_SMI_PORT);
  aml_byte(a, ACPI_ENABLE);
  aml_byte(a, ACPI_DISABLE);
  aml_word(a, 0); /* no S4BIOS, no P-state control */
  fadt_fixed_blocks(a);
  aml_word(a, 0xfff); /* C2 and C3 latency: not supported */
  aml_word(a, 0xfff);
  aml_dword(a, 0); /* FLUSH_SIZE, FLUSH_STRIDE: WBINVD works */
  aml_word(a, 0);  /* DUTY_OFFSET, DUTY_WIDTH */
  aml_byte(a, 0);  /* DAY_ALRM, MON_ALRM: none */
  aml_byte(a, 0);
  aml_byte(a, CENTURY);
  aml_word(a, (uint16_t)(BOOT_LEGACY | BOOT_8042 | (vga ? 0 : BOOT_NO_VGA)));
  aml_byte(a, 0);
  aml_dword(a, FADT_WBINVD | FADT_PROC_C1 | FADT_SLP_BUTTON | FADT_FIX_RTC | FADT_RESET_REG);
  gas_io(a, RESET_PORT, 8);
  aml_byte(a, RESET_VALUE);
  aml_bytes(a, "\0\0\0", 3);
  aml_qword(a, 0); /* X_FIRMWARE_CTRL: the 32-bit one counts */
  aml_qword(a, 0); /* X_DSDT */
  gas_io(a, ACPI_PM_BASE, 32);
  gas_io(a, 0, 0);
  gas_io(a, ACPI_PM_BASE + 4, 16);
  gas_io(a, 0, 0);
  gas_io(a, 0, 0);
  gas_io(a, ACPI_PM_BASE + 8, 32);
  gas_io(a, ACPI_GPE_BASE, 32);
  gas_io(a, 0, 0);
}

static void source_override(struct aml *a, uint8_t irq, uint8_t pin, uint16_t flags) {
  aml_bytes(a, "\x02\x0a\x00", 3); /* type, length, bus ISA */
  aml_byte(a, irq);
  aml_dword(a, pin);
  aml_word(a, flags);
}

static void build_madt(struct aml *a) {
  static const uint8_t level_irqs[] = {5, ACPI_SCI, 10, 11};
  acpi_table_begin(a, "APIC", 1);
  aml_dword(a, LAPIC_BASE);
  aml_dword(a, 1);                                     /* PCAT_COMPAT: there are 8259s to be masked */
  aml_bytes(a, "\x00\x08\x00\x00\x01\x00\x00\x00", 8); /* local APIC: processor 0, APIC id 0, enabled */
  aml_bytes(a, "\x01\x0c\x00\x00", 4);                 /* I/O APIC: id 0 */
  aml_dword(a, IOAPIC_BASE);
  aml_dword(a, 0); /* first GSI */
  source_override(a, 0, 2, 0);
  for (unsigned i = 0; i < sizeof level_irqs; i++)
    source_override(a, level_irqs[i], level_irqs[i], 0x000d); /* active high, level */
  aml_bytes(a, "\x04\x06\xff\x00\x00\x01", 6);                /* NMI: all processors, LINT1 */
}

/* IA-PC HPET specification 1.0a, 3.2.4. */
static void build_hpet(struct aml *a) {
  acpi_table_begin(a, "HPET", 1);
  aml_dword(a, HPET_BLOCK_ID);
  aml_dword(a, 0); /* the address: memory */
  aml_qword(a, HPET_BASE);
  aml_byte(a, 0); /* number of this block */
  aml_word(a, 0); /* shortest period that loses no tick: none is lost */
  aml_byte(a, 0); /* no page protection */
}

/* ---- all of them ---- */

static uint32_t append_facs(struct tables *t) {
  uint8_t facs[FACS_SIZE] = "FACS\x40";
  facs[FACS_VERSION] = 1;
  return tables_append(t, FILE_ACPI, facs, sizeof facs, ALIGN);
}

static uint32_t append_fadt(struct tables *t, struct aml *a, uint32_t facs, uint32_t dsdt, bool vga) {
  build_fadt(a, vga);
  uint32_t at = append(t, a);
  tables_pointer(t, FILE_ACPI, at + FADT_FACS, 4, FILE_ACPI, facs);
  tables_pointer(t, FILE_ACPI, at + FADT_DSDT, 4, FILE_ACPI, dsdt);
  tables_pointer(t, FILE_ACPI, at + FADT_X_DSDT, 8, FILE_ACPI, dsdt);
  sum_table(t, at, a);
  return at;
}

/* A table without pointers, which `build` has made. */
static uint32_t append_plain(struct tables *t, struct aml *a) {
  uint32_t at = append(t, a);
  sum_table(t, at, a);
  return at;
}

static uint32_t append_rsdt(struct tables *t, struct aml *a, const uint32_t *tables, unsigned count) {
  acpi_table_begin(a, "RSDT", 1);
  for (unsigned i = 0; i < count; i++) aml_dword(a, 0);
  uint32_t at = append(t, a);
  for (unsigned i = 0; i < count; i++) tables_pointer(t, FILE_ACPI, at + RSDT_ENTRIES + 4 * i, 4, FILE_ACPI, tables[i]);
  sum_table(t, at, a);
  return at;
}

static void append_rsdp(struct tables *t, uint32_t rsdt) {
  static const uint8_t rsdp[RSDP_SIZE] = "RSD PTR \0BT    ";
  tables_append(t, FILE_RSDP, rsdp, sizeof rsdp, 16);
  tables_pointer(t, FILE_RSDP, RSDP_RSDT, 4, FILE_ACPI, rsdt);
  tables_checksum(t, FILE_RSDP, 0, sizeof rsdp, RSDP_CHECKSUM);
}

void acpi_make(struct tables *t, const struct pc_config *config) {
  struct aml a;
  uint32_t facs = append_facs(t), tables[MAX_TABLES];
  unsigned count = 0;
  build_dsdt(&a, config);
  uint32_t dsdt = append_plain(t, &a);
  tables[count++] = append_fadt(t, &a, facs, dsdt, config->vga);
  if (config->apic) {
    build_madt(&a);
    tables[count++] = append_plain(t, &a);
  }
  if (config->hpet) {
    build_hpet(&a);
    tables[count++] = append_plain(t, &a);
  }
  append_rsdp(t, append_rsdt(t, &a, tables, count));
}
