/* PCI to ISA bridge. Intel 82371SB (PIIX3) data sheet (290550).
 *
 * Owns the configuration space of 00:01.0, the way of PIRQ A-D to ISA IRQs, and reset control (CF9h). A PIRQ that is not routed
 * goes nowhere; several may be routed to one IRQ, which is high while one of them is. The ELCR, by which that IRQ is a level, is
 * in i8259.c; power management, a function of the PIIX4 here as in QEMU's PC, in acpi_pm.c.
 * Missing: decode enables (XBCS), DMA and APIC controls keep their values and do nothing. The chip's other parts are chips of
 * their own (i8254, i8259, dma8237, port92).
 */
#include "piix3.h"

enum { PIRQ_ROUTE = 0x60, PIRQS = 4, PIRQ_OFF = 0x80 };
enum { ROUTABLE = 0xdef8 }; /* PIIX3 4.2.7: IRQ 3-7, 9-12, 14, 15 */
enum { RESET_PORT = 0xcf9, RESET_CPU = 4, RESET_STORED = 0x0e };
enum { MULTIFUNCTION = 0x80 };

static const struct pci_register registers[] = {
  {PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 0x0108, 0},
  {PCI_STATUS, 2, 0x0200, 0, 0},
  {0x4c, 1, 0x4d, 0xff, 0},     /* ISA recovery times */
  {0x4e, 2, 0x0003, 0xffff, 0}, /* XBCS */
  {PIRQ_ROUTE, 4, 0x80808080, 0x8f8f8f8f, 0},
  {0x69, 1, 0x02, 0xff, 0}, /* top of memory */
  {0x82, 1, 0x00, 0xff, 0}, /* deterministic latency */
};

static const struct field fields[] = {PCI_FIELDS(piix3, function), FIELD(piix3, reset_control), FIELD(piix3, pirq),
                                      FIELD(piix3, routed), FIELD_END};

/* ---- interrupt router ---- */

/* IRQ that a PIRQ goes to; 0: none. */
static unsigned routed_irq(const struct piix3 *s, unsigned pirq) {
  uint8_t reg = s->function.config[PIRQ_ROUTE + pirq];
  unsigned irq = reg & 15;
  return reg & PIRQ_OFF || !(ROUTABLE >> irq & 1) ? 0 : irq;
}

static void route(struct piix3 *s) {
  uint16_t routed = 0;
  for (unsigned pirq = 0; pirq < PIRQS; pirq++)
    if (s->pirq >> pirq & 1) routed |= (uint16_t)(1u << routed_irq(s, pirq));
  routed &= ROUTABLE;
  uint16_t changed = routed ^ s->routed;
  s->routed = routed;
  for (int irq = 0; irq < 16; irq++)
    if (changed >> irq & 1 && s->route.set) s->route.set(s->route.opaque, irq, routed >> irq & 1);
}

void piix3_set_pirq(struct piix3 *s, unsigned pirq, bool level) {
  uint8_t bit = (uint8_t)(1 << (pirq & 3));
  s->pirq = level ? s->pirq | bit : s->pirq & (uint8_t)~bit;
  route(s);
}

static void written(void *dev, unsigned offset, unsigned size) {
  if (offset < PIRQ_ROUTE + PIRQS && offset + size > PIRQ_ROUTE) route(dev);
}

static const struct pci_info info = {
  .name = "piix3",
  .vendor = 0x8086,
  .device = 0x7000,
  .class_code = 0x060100,
  .header_type = MULTIFUNCTION,
  .subsystem_vendor = PCI_QEMU_VENDOR,
  .subsystem = PCI_QEMU_DEVICE,
  .registers = registers,
  .register_count = sizeof registers / sizeof *registers,
  .written = written,
};

/* ---- reset control (PIIX3 4.1.1) ---- */

static uint32_t reset_read(void *dev, uint16_t offset, unsigned size) { return ((struct piix3 *)dev)->reset_control; }

static void reset_write(void *dev, uint16_t offset, unsigned size, uint32_t value) {
  struct piix3 *s = dev;
  bool pulse = value & ~(uint32_t)s->reset_control & RESET_CPU;
  s->reset_control = value & RESET_STORED;
  if (pulse) irq_set(&s->reset_out, true);
}

/* ---- life ---- */

/* The PIRQs' levels are their functions' and stay until those are reset. */
static void reset(void *state) {
  struct piix3 *s = state;
  s->reset_control = 0;
  pci_function_reset(&s->function);
  route(s);
}

static void loaded(void *state) {
  struct piix3 *s = state;
  pci_function_loaded(&s->function);
  s->reset_control &= RESET_STORED;
  s->pirq &= (1 << PIRQS) - 1;
  s->routed &= ROUTABLE;
  for (int irq = 0; irq < 16; irq++)
    if (ROUTABLE >> irq & 1 && s->route.set) s->route.set(s->route.opaque, irq, s->routed >> irq & 1);
  route(s);
}

struct device piix3_init(struct piix3 *s, struct io_bus *io, struct pci *pci, struct irq_line route_out,
                         struct irq_line reset_out) {
  static const struct io_ops reset_ops = {reset_read, reset_write, 1};
  *s = (struct piix3){.route = route_out, .reset_out = reset_out};
  pci_attach(pci, &s->function, pci_devfn(1, 0), &info, s);
  io_bus_add(io, RESET_PORT, 1, &reset_ops, s, "reset-control");
  return (struct device){"piix3", s, fields, reset, loaded, 0, 0};
}
