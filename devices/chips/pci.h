/* PCI bus 0: configuration mechanism 1, the i440FX host bridge, the PIIX3 ISA bridge with its interrupt router, and reset control
 * CF9h. */
#pragma once
#include "../bus.h"

/* One function on bus 0. The bits of writable[] can be written; `written` then hears of it. */
struct pci_function {
  uint8_t devfn; /* device << 3 | function */
  uint8_t intx;  /* level of its INTx pin */
  uint8_t config[256], writable[256];
  void (*written)(void *dev, unsigned offset, unsigned size);
  void *dev;
};

struct pci {
  uint32_t address;      /* CF8h */
  uint8_t reset_control; /* CF9h */
  uint16_t routed;       /* ISA IRQs that the router drives high */
  struct pci_function host, isa;
  struct pci_function *functions[256];
  struct irq_line route; /* called with n = ISA IRQ */
  struct irq_line reset_out;
};

struct device pci_init(struct pci *s, struct io_bus *io, struct irq_line route, struct irq_line reset);
void pci_function_init(struct pci_function *f, uint8_t devfn, uint16_t vendor, uint16_t device, uint32_t class_code,
                       uint8_t revision);
void pci_add(struct pci *s, struct pci_function *f);
void pci_set_intx(struct pci *s, struct pci_function *f, bool level);
static inline uint8_t pci_devfn(unsigned device, unsigned function) { return (uint8_t)(device << 3 | function); }
/* PIRQ (0: A) behind an INTx pin (0: INTA) of a device: the wiring that _PRT describes. */
static inline unsigned pci_pirq(unsigned device, unsigned pin) { return (device - 1 + pin) & 3; }
