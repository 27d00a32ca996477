/* ACPI fixed hardware as the PIIX4 has it: PM1a event and control block, PM timer, GPE block, SMI command port. */
#pragma once
#include "pci.h"

enum {
  ACPI_PM_BASE = 0x600,
  ACPI_GPE_BASE = 0xafe0,
  ACPI_GPE_LENGTH = 4,
  ACPI_SMI_PORT = 0xb2,
  ACPI_ENABLE = 0xf1,
  ACPI_DISABLE = 0xf0,
  ACPI_SCI = 9,
  ACPI_SLP_TYP_S5 = 0
};

struct acpi_pm {
  uint16_t status, enable, control; /* PM1 */
  uint16_t gpe_status, gpe_enable;
  uint8_t smi[2];               /* APMC, APMS */
  uint8_t sci;                  /* as `sci_out` heard it last */
  uint64_t wraps;               /* half periods of the PM timer that TMR_STS has seen */
  struct pci_function function; /* 00:01.3 */
  struct clock_timer timer;
  struct clock *clock;
  struct irq_line sci_out, power_off;
};

struct device acpi_pm_init(struct acpi_pm *s, struct io_bus *io, struct pci *pci, struct clock *clock, struct irq_line sci,
                           struct irq_line power_off);
void acpi_pm_power_button(struct acpi_pm *s);
