/* Intel PIIX3: PCI to ISA bridge, function 00:01.0, with its interrupt router and reset control (piix3.c). */
#pragma once
#include "pci.h"

struct piix3 {
  struct pci_function function;
  uint8_t reset_control; /* CF9h */
  uint8_t pirq;          /* levels of PIRQ A (bit 0) to D */
  uint16_t routed;       /* ISA IRQs that the router drives high, as `route` heard it last */
  struct irq_line route; /* called with n = ISA IRQ */
  struct irq_line reset_out;
};

struct device piix3_init(struct piix3 *s, struct io_bus *io, struct pci *pci, struct irq_line route, struct irq_line reset);
void piix3_set_pirq(struct piix3 *s, unsigned pirq, bool level); /* 0: A ... 3: D */
