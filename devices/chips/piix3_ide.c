/* IDE controller of the PIIX3, function 00:01.1. Intel 82371SB data sheet (290550), 2.2 and 2.7.
 *
 * Owns the function's configuration space and two channels (devices/storage/ide.h) at the legacy ports and IRQ 14 and 15; BAR 4
 * is the bus master's ports. Deviations: the channels are decoded whatever IDETIM and the command register say, as in QEMU, so
 * that a kernel that nobody has configured it for finds its disk; timings keep their values and are none.
 */
#include "piix3_ide.h"

enum { IDE_TIMING = 0x40, SLAVE_TIMING = 0x44, BUS_MASTER_BAR = 4, BUS_MASTER_PORTS = 16 };
static const uint16_t command_ports[IDE_CHANNELS] = {0x1f0, 0x170}, control_ports[IDE_CHANNELS] = {0x3f6, 0x376};

static const struct field fields[] = {PCI_FIELDS(piix3_ide, function), IDE_CHANNEL_FIELDS(piix3_ide, channel[0]),
                                      IDE_CHANNEL_FIELDS(piix3_ide, channel[1]), FIELD_END};

static const struct pci_register registers[] = {
  {PCI_STATUS, 2, 0x0280, 0, 0},
  {IDE_TIMING, 4, 0, 0xffffffff, 0}, /* both channels' */
  {SLAVE_TIMING, 1, 0, 0xff, 0},
};
static const struct pci_info info = {
  .name = "piix3-ide",
  .vendor = 0x8086,
  .device = 0x7010,
  .class_code = 0x010180,
  .master = true,
  .region = {[BUS_MASTER_BAR] = {.size = BUS_MASTER_PORTS, .type = PCI_IO, .io = &ide_dma_ops}},
  .registers = registers,
  .register_count = sizeof registers / sizeof *registers,
};

static void reset(void *state) {
  struct piix3_ide *s = state;
  pci_function_reset(&s->function);
  for (unsigned i = 0; i < IDE_CHANNELS; i++) ide_channel_reset(&s->channel[i]);
}

static void loaded(void *state) {
  struct piix3_ide *s = state;
  pci_function_loaded(&s->function);
  for (unsigned i = 0; i < IDE_CHANNELS; i++) ide_channel_loaded(&s->channel[i]);
}

struct device piix3_ide_init(struct piix3_ide *s, struct io_bus *io, struct mmu *mmu, struct pci *pci, struct irq_line irq14,
                             struct irq_line irq15) {
  *s = (struct piix3_ide){0};
  for (unsigned i = 0; i < IDE_CHANNELS; i++) {
    struct ide_channel *c = &s->channel[i];
    *c = (struct ide_channel){.line = i ? irq15 : irq14, .mmu = mmu, .function = &s->function};
    io_bus_add(io, command_ports[i], IDE_REGISTERS, &ide_command_ops, c, "ide");
    io_bus_add(io, control_ports[i], 1, &ide_control_ops, c, "ide-control");
    ide_channel_reset(c);
  }
  pci_attach(pci, &s->function, pci_devfn(1, 1), &info, s->channel); /* its regions are the channels' */
  return (struct device){"piix3-ide", s, fields, reset, loaded, 0, 0};
}
