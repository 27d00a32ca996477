/* MP table: Intel MultiProcessor Specification 1.4, chapter 4. Kernels without ACPI (xv6, old BSDs, Linux with acpi=off) find the
 * APICs by it.
 *
 * Its entries are those that SeaBIOS makes on QEMU's PC: one processor, PCI bus 0 and ISA bus 1, one I/O APIC, IRQ 0 on pin 2,
 * every other ISA IRQ on the pin of its number but those that the PIRQs may take, which are PCI's; LINT0 is the 8259s' INTR,
 * LINT1 NMI.
 */
#include "mp_table.h"
#include "blob.h"
#include "../chips/acpi_pm.h"
#include "../map.h"

enum { POINTER_SIZE = 16, REVISION = 4, APIC_VERSION = 0x14, IOAPIC_VERSION = 0x11 /* SeaBIOS's: what an 82093AA has */ };
enum { IOAPIC_ID = 0 };
enum entry_type { ENTRY_PROCESSOR, ENTRY_BUS, ENTRY_IOAPIC, ENTRY_IO_INTERRUPT, ENTRY_LOCAL_INTERRUPT };
enum interrupt_type { TYPE_INT, TYPE_NMI, TYPE_SMI, TYPE_EXTINT };
enum { BUS_PCI, BUS_ISA };
enum { CPU_ENABLED = 1, CPU_BSP = 2, FLAG_ACTIVE_HIGH = 1, ALL_APICS = 0xff };
enum { PIRQ_IRQS = 1 << 5 | 1 << 9 | 1 << 10 | 1 << 11, CASCADE = 1 << 2 };
enum { POINTER_TABLE = 4, POINTER_CHECKSUM = 10 };                  /* offsets in the floating pointer */
enum { HEADER_LENGTH = 4, HEADER_CHECKSUM = 7, HEADER_COUNT = 34 }; /* offsets in the configuration table */

static void put_processor(struct blob *b, const struct pc_config *config) {
  blob_put(b, ENTRY_PROCESSOR, 1);
  blob_put(b, 0, 1); /* APIC id */
  blob_put(b, APIC_VERSION, 1);
  blob_put(b, CPU_ENABLED | CPU_BSP, 1);
  blob_put(b, config->cpu_signature, 4);
  blob_put(b, config->cpu_features, 4);
  blob_zeros(b, 8);
}

static void put_bus(struct blob *b, unsigned id, const char *name) {
  blob_put(b, ENTRY_BUS, 1);
  blob_put(b, id, 1);
  blob_text(b, name, 6, ' ');
}

static void put_ioapic(struct blob *b) {
  blob_put(b, ENTRY_IOAPIC, 1);
  blob_put(b, IOAPIC_ID, 1);
  blob_put(b, IOAPIC_VERSION, 1);
  blob_put(b, 1, 1); /* usable */
  blob_put(b, IOAPIC_BASE, 4);
}

/* 4.3.4, 4.3.5: both kinds have one layout. `source`: an ISA IRQ, or a PCI device << 2 | pin. */
static void put_interrupt(struct blob *b, enum entry_type entry, enum interrupt_type type, unsigned flags, unsigned bus,
                          unsigned source, unsigned apic, unsigned pin) {
  blob_put(b, entry, 1);
  blob_put(b, type, 1);
  blob_put(b, flags, 2);
  blob_put(b, bus, 1);
  blob_put(b, source, 1);
  blob_put(b, apic, 1);
  blob_put(b, pin, 1);
}

static unsigned put_interrupts(struct blob *b, const struct pc_config *config) {
  unsigned count = 0;
  if (config->acpi) { /* 00:01.3, the only function with an interrupt pin */
    put_interrupt(b, ENTRY_IO_INTERRUPT, TYPE_INT, FLAG_ACTIVE_HIGH, BUS_PCI, 1 << 2, IOAPIC_ID, ACPI_SCI);
    count++;
  }
  for (unsigned irq = 0; irq < 16; irq++) {
    if ((PIRQ_IRQS | CASCADE) >> irq & 1) continue;
    put_interrupt(b, ENTRY_IO_INTERRUPT, TYPE_INT, 0, BUS_ISA, irq, IOAPIC_ID, irq ? irq : 2);
    count++;
  }
  put_interrupt(b, ENTRY_LOCAL_INTERRUPT, TYPE_EXTINT, 0, BUS_ISA, 0, 0, 0);
  put_interrupt(b, ENTRY_LOCAL_INTERRUPT, TYPE_NMI, 0, BUS_ISA, 0, ALL_APICS, 1);
  return count + 2;
}

static void put_pointer(struct blob *b) {
  blob_text(b, "_MP_", 4, 0);
  blob_put(b, 0, 4); /* the table's address */
  blob_put(b, POINTER_SIZE / 16, 1);
  blob_put(b, REVISION, 1);
  blob_zeros(b, 6); /* checksum; feature 1: 0, a table is there; feature 2: no IMCR */
}

static void put_header(struct blob *b) {
  blob_text(b, "PCMP", 4, 0);
  blob_put(b, 0, 2); /* length, later */
  blob_put(b, REVISION, 1);
  blob_put(b, 0, 1);
  blob_text(b, "BT", 8, ' ');
  blob_text(b, "PC", 12, ' ');
  blob_zeros(b, 6);  /* no OEM table */
  blob_put(b, 0, 2); /* entries, later */
  blob_put(b, LAPIC_BASE, 4);
  blob_zeros(b, 4); /* no extended table */
}

void mp_table_make(struct tables *t, const struct pc_config *config) {
  struct blob b = {0};
  put_pointer(&b);
  put_header(&b);
  put_processor(&b, config);
  put_bus(&b, BUS_PCI, "PCI");
  put_bus(&b, BUS_ISA, "ISA");
  put_ioapic(&b);
  unsigned count = 4 + put_interrupts(&b, config);
  uint8_t *table = b.bytes + POINTER_SIZE;
  uint32_t length = (uint32_t)b.size - POINTER_SIZE;
  table[HEADER_LENGTH] = (uint8_t)length;
  table[HEADER_LENGTH + 1] = (uint8_t)(length >> 8);
  table[HEADER_COUNT] = (uint8_t)count;
  t->failed |= b.overflow;
  uint32_t at = tables_append(t, FILE_MP, b.bytes, b.size, POINTER_SIZE);
  tables_pointer(t, FILE_MP, at + POINTER_TABLE, 4, FILE_MP, at + POINTER_SIZE);
  tables_checksum(t, FILE_MP, at, POINTER_SIZE, at + POINTER_CHECKSUM);
  tables_checksum(t, FILE_MP, at + POINTER_SIZE, length, at + POINTER_SIZE + HEADER_CHECKSUM);
}
