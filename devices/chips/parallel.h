/* A parallel port with a printer on it. */
#pragma once
#include "../backend.h"
#include "../bus.h"
#include "../device_type.h"

/* isa-parallel */
struct parallel_properties {
  uint32_t index, iobase, irq; /* UINT32_MAX: the next, and as usual for it */
  struct char_backend *chardev;
};
extern const struct device_type parallel_type;

struct parallel {
  uint8_t data, status, control; /* status as it is read: Busy is inverted */
  uint8_t irq;                   /* as `out` heard it last */
  struct irq_line out;
  struct char_backend *backend; /* NULL: what is printed vanishes */
};
