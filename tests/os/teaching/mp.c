/* The MP table (MultiProcessor Specification 1.4, chapter 4), looked for where it says: first KiB of the EBDA, last KiB of base
 * memory, F0000h-FFFFFh. */
#include "kernel.h"

struct pointer {
  char signature[4];
  uint32_t table;
  uint8_t length, revision, checksum, type, imcr, reserved[3];
};
struct table {
  char signature[4];
  uint16_t length;
  uint8_t revision, checksum;
  char product[20];
  uint32_t oem_table;
  uint16_t oem_length, entries;
  uint32_t lapic;
  uint16_t extended_length;
  uint8_t extended_checksum, reserved;
};
struct entry {
  uint8_t type, id, version, flags;
  union {
    uint32_t address;
    struct {
      uint8_t bus, irq, apic, pin;
    } interrupt;
  } u;
};
enum { PROCESSOR, BUS, IOAPIC, IO_INTERRUPT, LOCAL_INTERRUPT, PROCESSOR_SIZE = 20, ENTRY_SIZE = 8 };

static uint8_t sum(const void *bytes, size_t n) {
  uint8_t s = 0;
  for (size_t i = 0; i < n; i++) s = (uint8_t)(s + ((const uint8_t *)bytes)[i]);
  return s;
}

static const struct pointer *search(uint32_t from, uint32_t size) {
  for (uint32_t at = from; at < from + size; at += sizeof(struct pointer))
    if (!memcmp((void *)at, "_MP_", 4) && !sum((void *)at, sizeof(struct pointer))) return (void *)at;
  return NULL;
}

static const struct pointer *find_pointer(void) {
  volatile uint8_t *bda = (uint8_t *)0x400;
  uint32_t ebda = (uint32_t)(bda[0x0f] << 8 | bda[0x0e]) << 4, base = (uint32_t)(bda[0x14] << 8 | bda[0x13]) << 10;
  const struct pointer *p = search(ebda ? ebda : base - 1024, 1024);
  return p ? p : search(0xf0000, 0x10000);
}

static void read_entry(const struct entry *e, unsigned *isa_bus, struct mp_config *out) {
  switch (e->type) {
  case PROCESSOR: out->cpus++; break;
  case BUS:
    if (!memcmp(&e->version, "ISA", 3)) *isa_bus = e->id;
    break;
  case IOAPIC: out->ioapic_id = e->id, out->ioapic = e->u.address; break;
  case IO_INTERRUPT:
    if (e->u.interrupt.bus == *isa_bus && e->u.interrupt.irq < 16) out->pin[e->u.interrupt.irq] = e->u.interrupt.pin;
    break;
  default: break;
  }
}

void mp_find(struct mp_config *out) {
  const struct pointer *p = find_pointer();
  if (!p || !p->table || p->type) panic("no MP table");
  const struct table *t = (void *)p->table;
  if (memcmp(t->signature, "PCMP", 4) || sum(t, t->length)) panic("the MP table is damaged");
  unsigned isa_bus = 256;
  *out = (struct mp_config){.lapic = t->lapic};
  const uint8_t *at = (const uint8_t *)(t + 1), *end = (const uint8_t *)t + t->length;
  for (; at < end; at += *at == PROCESSOR ? PROCESSOR_SIZE : ENTRY_SIZE) read_entry((const void *)at, &isa_bus, out);
  if (!out->cpus || !out->ioapic) panic("the MP table has no processor or no I/O APIC");
}
