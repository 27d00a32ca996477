/* Intel PIIX3: IDE controller, function 00:01.1 (piix3_ide.c). */
#pragma once
#include "../storage/ide.h"
#include "pci.h"

struct piix3_ide {
  struct pci_function function;
  struct ide_channel channel[IDE_CHANNELS];
};

struct device piix3_ide_init(struct piix3_ide *s, struct io_bus *io, struct mmu *mmu, struct pci *pci, struct irq_line irq14,
                             struct irq_line irq15);
