/* PCI. PCI Local Bus Specification 2.1, 3.7.4.1 (mechanism 1); Intel 440FX (82441FX) and PIIX3 (82371SB) data sheets.
 *
 * Owns the configuration address latch, bus 0's list of functions and the PIRQ router. Only bus 0 exists; what is not there reads
 * as all ones. A function's configuration space is an array and a mask of writable bits; whoever needs more hangs on `written`.
 * Missing: i440FX PAM and SMRAM registers keep their values but move no memory (there is no BIOS to shadow); PIIX3 decode enables
 * likewise.
 */
#include "pci.h"

enum { CONFIG_ADDRESS = 0, CONFIG_RESET = 1, ENABLE_BIT = 31 };
enum { RESET_CPU = 4, RESET_STORED = 0x0e };
enum { VENDOR = 0, DEVICE = 2, COMMAND = 4, STATUS = 6, REVISION = 8, CLASS = 9, HEADER_TYPE = 14, INT_LINE = 60, INT_PIN = 61 };
enum { MULTIFUNCTION = 0x80 };
enum { HOST_PAM = 0x59, HOST_SMRAM = 0x72, ISA_PIRQ = 0x60, PIRQ_OFF = 0x80 };
enum { ROUTABLE = 0xdef8 }; /* PIIX3 4.2.7: IRQ 3-7, 9-12, 14, 15 */

static const struct field fields[] = {FIELD(pci, address),           FIELD(pci, reset_control),    FIELD(pci, routed),
                                      FIELD_ARRAY(pci, host.config), FIELD_ARRAY(pci, isa.config), FIELD_END};

/* ---- functions ---- */

static void put16(uint8_t *at, uint16_t value) {
  at[0] = value & 0xff;
  at[1] = (uint8_t)(value >> 8);
}

void pci_function_init(struct pci_function *f, uint8_t devfn, uint16_t vendor, uint16_t device, uint32_t class_code,
                       uint8_t revision) {
  *f = (struct pci_function){.devfn = devfn};
  put16(f->config + VENDOR, vendor);
  put16(f->config + DEVICE, device);
  f->config[REVISION] = revision;
  f->config[CLASS] = class_code & 0xff;
  put16(f->config + CLASS + 1, (uint16_t)(class_code >> 8));
  f->writable[INT_LINE] = 0xff;
}

void pci_add(struct pci *s, struct pci_function *f) { s->functions[f->devfn] = f; }

/* ---- interrupt router ---- */

/* IRQ that a PIRQ goes to; 0: none. */
static unsigned routed_irq(const struct pci *s, unsigned pirq) {
  uint8_t reg = s->isa.config[ISA_PIRQ + pirq];
  unsigned irq = reg & 15;
  return reg & PIRQ_OFF || !(ROUTABLE >> irq & 1) ? 0 : irq;
}

static void route(struct pci *s) {
  uint16_t routed = 0;
  for (unsigned i = 0; i < 256; i++) {
    const struct pci_function *f = s->functions[i];
    if (f && f->intx && f->config[INT_PIN])
      routed |= (uint16_t)(1u << routed_irq(s, pci_pirq(f->devfn >> 3, f->config[INT_PIN] - 1u)));
  }
  routed &= ROUTABLE;
  uint16_t changed = routed ^ s->routed;
  s->routed = routed;
  for (int irq = 0; irq < 16; irq++)
    if (changed >> irq & 1 && s->route.set) s->route.set(s->route.opaque, irq, routed >> irq & 1);
}

void pci_set_intx(struct pci *s, struct pci_function *f, bool level) {
  if (f->intx == level) return;
  f->intx = level;
  route(s);
}

static void isa_written(void *dev, unsigned offset, unsigned size) {
  if (offset < ISA_PIRQ + 4 && offset + size > ISA_PIRQ) route(dev);
}

/* ---- configuration accesses ---- */

static struct pci_function *selected(const struct pci *s) {
  if (!(s->address >> ENABLE_BIT) || (s->address >> 16 & 0xff)) return 0;
  return s->functions[s->address >> 8 & 0xff];
}

static uint32_t data_read(void *dev, uint16_t offset, unsigned size) {
  const struct pci *s = dev;
  const struct pci_function *f = selected(s);
  uint32_t value = 0;
  for (unsigned i = 0; i < size; i++)
    value |= (uint32_t)(f ? f->config[(s->address & 0xfc) + ((offset + i) & 3)] : 0xff) << 8 * i;
  return value;
}

static void data_write(void *dev, uint16_t offset, unsigned size, uint32_t value) {
  struct pci *s = dev;
  struct pci_function *f = selected(s);
  if (!f) return;
  unsigned first = (s->address & 0xfc) + (offset & 3);
  for (unsigned i = 0; i < size; i++) {
    uint8_t mask = f->writable[(first + i) & 0xff];
    uint8_t *at = &f->config[(first + i) & 0xff];
    *at = (*at & (uint8_t)~mask) | ((uint8_t)(value >> 8 * i) & mask);
  }
  if (f->written) f->written(f->dev, first, size);
}

/* CF8h is a register of 32 bits and of nothing else; the byte at CF9h is reset control (PIIX3 4.1.1). */
static uint32_t address_read(void *dev, uint16_t offset, unsigned size) {
  const struct pci *s = dev;
  if (offset == CONFIG_ADDRESS && size == 4) return s->address;
  return offset == CONFIG_RESET && size == 1 ? s->reset_control : 0xffffffff;
}

static void address_write(void *dev, uint16_t offset, unsigned size, uint32_t value) {
  struct pci *s = dev;
  if (offset == CONFIG_ADDRESS && size == 4) s->address = value & 0x80fffffc;
  if (offset != CONFIG_RESET || size != 1) return;
  bool pulse = value & ~(uint32_t)s->reset_control & RESET_CPU;
  s->reset_control = value & RESET_STORED;
  if (pulse) irq_set(&s->reset_out, true);
}

/* ---- life ---- */

static void host_init(struct pci_function *f) {
  pci_function_init(f, pci_devfn(0, 0), 0x8086, 0x1237, 0x060000, 2);
  put16(f->config + COMMAND, 0x0006);
  put16(f->config + STATUS, 0x0280);
  f->writable[COMMAND + 1] = 1;
  for (unsigned i = HOST_PAM; i < HOST_PAM + 7; i++) f->writable[i] = i == HOST_PAM ? 0xf0 : 0xff;
  f->writable[HOST_SMRAM] = 0x78;
  f->config[HOST_SMRAM] = 2;
}

/* PIRQs as PC firmware routes them: A, B to IRQ 10, C, D to IRQ 11. */
static void isa_init(struct pci *s) {
  struct pci_function *f = &s->isa;
  pci_function_init(f, pci_devfn(1, 0), 0x8086, 0x7000, 0x060100, 0);
  put16(f->config + COMMAND, 0x0007);
  put16(f->config + STATUS, 0x0200);
  f->config[HEADER_TYPE] = MULTIFUNCTION;
  f->writable[COMMAND] = 0x08;
  f->writable[COMMAND + 1] = 0x01;
  for (unsigned i = 0; i < 4; i++) {
    f->config[ISA_PIRQ + i] = i < 2 ? 10 : 11;
    f->writable[ISA_PIRQ + i] = 0x8f;
  }
  f->writable[0x4c] = f->writable[0x4e] = f->writable[0x4f] = f->writable[0x69] = f->writable[0x82] = 0xff;
  f->config[0x4c] = 0x4d;
  f->config[0x4e] = 0x03;
  f->config[0x69] = 0x02;
  f->written = isa_written;
  f->dev = s;
}

static void reset(void *state) {
  struct pci *s = state;
  s->address = 0;
  s->reset_control = 0;
  host_init(&s->host);
  isa_init(s);
  route(s);
}

static void loaded(void *state) {
  struct pci *s = state;
  s->address &= 0x80fffffc;
  s->routed &= ROUTABLE;
  for (int irq = 0; irq < 16; irq++)
    if (ROUTABLE >> irq & 1 && s->route.set) s->route.set(s->route.opaque, irq, s->routed >> irq & 1);
  route(s);
}

struct device pci_init(struct pci *s, struct io_bus *io, struct irq_line route_out, struct irq_line reset_out) {
  static const struct io_ops address_ops = {address_read, address_write, 4}, data_ops = {data_read, data_write, 4};
  *s = (struct pci){.route = route_out, .reset_out = reset_out};
  reset(s);
  pci_add(s, &s->host);
  pci_add(s, &s->isa);
  io_bus_add(io, 0xcf8, 4, &address_ops, s, "pci-address");
  io_bus_add(io, 0xcfc, 4, &data_ops, s, "pci-data");
  return (struct device){"pci", s, fields, reset, loaded, 0, 0};
}
