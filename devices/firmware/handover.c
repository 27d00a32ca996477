/* What a BIOS has written to the chips before it starts a kernel, on top of their power-on state: the one place that knows, used
 * for -kernel alone. A machine with a firmware leaves it out. Values: SeaBIOS 1.16.2's, read under QEMU 7.2 at a kernel's entry.
 * What it leaves in memory is bt/boot/firmware.c's and tables.c's.
 */
#include "handover.h"
#include "../chips/acpi_pm.h"
#include "../chips/pci.h"
#include "../map.h"

/* ---- PCI ---- */

enum { HOST_BRIDGE = 0, ISA_BRIDGE = 1 << 3, IDE = 1 << 3 | 1, POWER = 1 << 3 | 3 /* device << 3 | function */ };
static const struct {
  uint8_t devfn, reg;
  uint32_t value;
} config_writes[] = {
  /* clang-format off */
  {HOST_BRIDGE, 0x58, 0x33333000},     /* PAM: C0000h-FFFFFh is RAM, tables and all (SeaBIOS forbids stores to its parts) */
  {HOST_BRIDGE, 0x5c, 0x33333333},
  {ISA_BRIDGE, 0x60, 0x0b0b0a0a},      /* PIRQ A, B: IRQ 10; C, D: IRQ 11 */
  {IDE, 0x40, 0x80008000},             /* both channels are decoded */
  {IDE, 0x20, 0xc041},                 /* bus master: where it is with QEMU's usual cards */
  {IDE, 0x04, PCI_COMMAND_IO | PCI_COMMAND_SERR},
  {POWER, 0x40, ACPI_PM_BASE | 1},     /* where the FADT says */
  {POWER, 0x80, 1},                    /* and decoded */
  {POWER, 0x04, PCI_COMMAND_IO},
  {POWER, 0x3c, ACPI_SCI},
  /* clang-format on */
};

static uint32_t config_read(struct io_bus *io, uint8_t devfn, uint8_t reg) {
  io_bus_write(io, 0xcf8, 4, 0x80000000u | (uint32_t)devfn << 8 | reg);
  return io_bus_read(io, 0xcfc, 4);
}

static void write_pci(struct io_bus *io) {
  for (unsigned i = 0; i < sizeof config_writes / sizeof *config_writes; i++) {
    if (config_read(io, config_writes[i].devfn, 0) == 0xffffffff) continue; /* -no-acpi */
    config_read(io, config_writes[i].devfn, config_writes[i].reg);
    io_bus_write(io, 0xcfc, 4, config_writes[i].value);
  }
  io_bus_write(io, 0xcf8, 4, 0);
}

/* Where SeaBIOS puts the card's regions where there is no other card. */
void handover_place_vga(struct io_bus *io, uint8_t devfn) {
  static const struct {
    uint8_t reg;
    uint32_t value;
  } writes[] = {{0x10, 0xfd000000}, {0x18, 0xfebf0000}, {0x04, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_SERR}};
  for (unsigned i = 0; i < sizeof writes / sizeof *writes; i++) {
    config_read(io, devfn, writes[i].reg);
    io_bus_write(io, 0xcfc, 4, writes[i].value);
  }
  io_bus_write(io, 0xcf8, 4, 0);
}

/* ---- ports ---- */

static const struct {
  uint16_t port;
  uint8_t value;
} port_writes[] = {
  /* clang-format off */
  {0x20, 0x11}, {0x21, 0x08}, {0x21, 0x04}, {0x21, 0x01},   /* 8259s: vectors 08h and 70h */
  {0xa0, 0x11}, {0xa1, 0x70}, {0xa1, 0x02}, {0xa1, 0x01},
  {0x21, 0xb8}, {0xa1, 0x8e},                               /* open are IRQ 0, 1, 2, 6, and 8, 12, 13, 14 */
  {0x4d1, 0x0c},                                            /* PCI's IRQ 10 and 11 are levels */
  {0x43, 0x54}, {0x41, 18},                                 /* PIT channel 1: refresh, 15.1 us */
  {0x43, 0x34}, {0x40, 0}, {0x40, 0},                       /* channel 0: mode 2, 65536: 18.2 Hz */
  {0x70, 0x0b}, {0x71, 0x02},                               /* RTC: 24 hours, BCD, no interrupts */
  {0x64, 0x60}, {0x60, 0x65},                               /* keyboard: interrupts and translation on, aux port off */
  {0x378, 0xaa}, {0x278, 0xaa},                             /* left by the search for parallel ports */
  /* clang-format on */
};

static void write_ports(struct io_bus *io) {
  for (unsigned i = 0; i < sizeof port_writes / sizeof *port_writes; i++)
    io_bus_write(io, port_writes[i].port, 1, port_writes[i].value);
}

/* ---- serial ports ---- */

enum { UART_LCR = 3, EIGHT_BITS = 3, UART_MCR = 4, OUT2 = 8, UART_LSR = 5, LSR_EMPTY = 0x60 };

static void write_serial(struct io_bus *io) {
  static const uint16_t bases[] = {0x3f8, 0x2f8, 0x3e8, 0x2e8};
  for (unsigned i = 0; i < sizeof bases / sizeof *bases; i++) {
    if (io_bus_read(io, bases[i] + UART_LSR, 1) != LSR_EMPTY) continue; /* none there: a UART has sent everything by now */
    io_bus_write(io, bases[i] + UART_LCR, 1, EIGHT_BITS);
    io_bus_write(io, bases[i] + UART_MCR, 1, OUT2);
  }
}

/* ---- local APIC ---- */

/* SVR first: a local APIC that is software-disabled keeps its LVTs masked. */
static const struct {
  uint16_t reg;
  uint32_t value;
} lapic_writes[] = {
  {0x0f0, 0x1ff},  /* SVR: on */
  {0x350, 0x8700}, /* LINT0: ExtINT, the 8259s */
  {0x360, 0x8400}, /* LINT1: NMI */
};
enum { LAPIC_VERSION = 0x030 };

static void write_lapic(struct mmu *mmu) {
  uint32_t version;
  mmu_phys_read(mmu, to_gpa(LAPIC_BASE + LAPIC_VERSION), &version, 4);
  if (version == 0xffffffff) return;
  for (unsigned i = 0; i < sizeof lapic_writes / sizeof *lapic_writes; i++)
    mmu_phys_write(mmu, to_gpa(LAPIC_BASE + lapic_writes[i].reg), &lapic_writes[i].value, 4);
}

void handover_write(struct io_bus *io, struct mmu *mmu) {
  write_pci(io);
  write_ports(io);
  write_serial(io);
  write_lapic(mmu);
}
