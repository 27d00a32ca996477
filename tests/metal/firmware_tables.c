/* The tables that a BIOS leaves: MP (as xv6 looks for it), RSDP, SMBIOS. What is compared with QEMU's is what both machines have;
 * PCI devices that only one has are left out, and so are names. */
#include "lib/metal.h"

static uint8_t byte_at(uint32_t at) { return *(volatile uint8_t *)at; }
static uint16_t word_at(uint32_t at) { return *(volatile uint16_t *)at; }
static uint32_t long_at(uint32_t at) { return *(volatile uint32_t *)at; }

static uint8_t sum(uint32_t at, uint32_t size) {
  uint8_t s = 0;
  while (size--) s = (uint8_t)(s + byte_at(at++));
  return s;
}

/* An anchor at a multiple of 16 whose first `size` bytes add up to zero; 0: none. */
static uint32_t find(const char *text, unsigned length, uint32_t size, uint32_t from, uint32_t to) {
  for (uint32_t at = from; at < to; at += 16)
    if (!memcmp((void *)at, text, length) && !sum(at, size)) return at;
  return 0;
}

static void show_interrupt(uint32_t at) {
  unsigned bus = byte_at(at + 4), source = byte_at(at + 5);
  if (byte_at(at) == 3 && bus == 0 && source != 1 << 2) return; /* another PCI device than 00:01 */
  print("%s: type %d flags %x bus %d source %x apic %x pin %d\n", byte_at(at) == 3 ? "interrupt" : "local", byte_at(at + 1),
        word_at(at + 2), bus, source, byte_at(at + 6), byte_at(at + 7));
}

static void show_entry(uint32_t at) {
  uint32_t id[4];
  switch (byte_at(at)) {
  case 0:
    cpuid(1, 0, id);
    print("processor: apic %d version %x flags %x signature %s features %s\n", byte_at(at + 1), byte_at(at + 2), byte_at(at + 3),
          long_at(at + 4) == id[0] ? "as CPUID" : "other", long_at(at + 8) == id[3] ? "as CPUID" : "other");
    break;
  case 1:
    print("bus: %d %c%c%c%c%c%c.\n", byte_at(at + 1), byte_at(at + 2), byte_at(at + 3), byte_at(at + 4), byte_at(at + 5),
          byte_at(at + 6), byte_at(at + 7));
    break;
  case 2:
    print("ioapic: id %d version %x flags %x at %X\n", byte_at(at + 1), byte_at(at + 2), byte_at(at + 3), long_at(at + 4));
    break;
  default: show_interrupt(at);
  }
}

static void show_mp(void) {
  uint32_t ebda = (uint32_t)word_at(0x40e) << 4, kib = word_at(0x413), at = find("_MP_", 4, 16, ebda, ebda + 1024);
  if (!at) at = find("_MP_", 4, 16, (kib - 1) * 1024, kib * 1024);
  if (!at) at = find("_MP_", 4, 16, 0xf0000, 0x100000);
  print("mp: %s\n", at >= 0xf0000 ? "in F0000h" : at ? "low" : "none");
  if (!at) return;
  uint32_t table = long_at(at + 4), entries = word_at(table + 34), end = table + word_at(table + 4);
  print("pointer: length %d revision %d features %x %x\n", byte_at(at + 8), byte_at(at + 9), byte_at(at + 11), byte_at(at + 12));
  print("table: %s sum %x revision %d lapic %X\n", memcmp((void *)table, "PCMP", 4) ? "bad" : "PCMP", sum(table, end - table),
        byte_at(table + 6), long_at(table + 36));
  uint32_t p = table + 44;
  for (unsigned i = 0; i < entries && p < end; i++) {
    show_entry(p);
    p += byte_at(p) ? 8 : 20;
  }
  print("entries: %s\n", p == end ? "fill the table" : "do not fill the table");
}

static void show_rsdp(void) {
  uint32_t at = find("RSD PTR ", 8, 20, 0xe0000, 0x100000);
  print("rsdp: %s\n", at ? "found" : "none");
}

static void show_structure(uint32_t at) {
  uint32_t id[4];
  print("smbios: type %d length %d handle %x\n", byte_at(at), byte_at(at + 1), word_at(at + 2));
  cpuid(1, 0, id);
  if (byte_at(at) == 4) print("smbios cpu: %s, %d core\n", long_at(at + 8) == id[0] ? "as CPUID" : "other", byte_at(at + 0x23));
  if (byte_at(at) == 17) print("smbios memory: %d MiB\n", word_at(at + 12));
  if (byte_at(at) == 19) print("smbios range: %X-%X KiB\n", long_at(at + 4), long_at(at + 8));
}

static void show_smbios(void) {
  uint32_t anchor = find("_SM_", 4, 31, 0xf0000, 0x100000);
  print("smbios: %s\n", anchor ? "found" : "none");
  if (!anchor) return;
  print("smbios anchor: length %x version %d.%d legacy %s sum %x\n", byte_at(anchor + 5), byte_at(anchor + 6),
        byte_at(anchor + 7), memcmp((void *)(anchor + 16), "_DMI_", 5) ? "bad" : "_DMI_", sum(anchor + 16, 15));
  uint32_t at = long_at(anchor + 0x18), end = at + word_at(anchor + 0x16), count = 0;
  while (at < end) {
    show_structure(at);
    at += byte_at(at + 1);
    while (word_at(at)) at++;
    at += 2;
    count++;
  }
  print("smbios end: %s count %s\n", at == end ? "exact" : "wrong", count == word_at(anchor + 0x1c) ? "exact" : "wrong");
}

void test_main(void) {
  show_mp();
  show_rsdp();
  show_smbios();
}
