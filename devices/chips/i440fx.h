/* Intel 440FX: host bridge and memory controller, function 00:00.0 (i440fx.c). */
#pragma once
#include "pci.h"

struct i440fx {
  struct pci_function function;
};

struct device i440fx_init(struct i440fx *s, struct pci *pci);
