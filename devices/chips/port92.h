/* System control port A (92h), FERR (F0h) and other one-register corners of the PC. */
#pragma once
#include "../bus.h"
#include "../device_type.h"

struct port92 {
  uint8_t value; /* bit 1: A20, bit 0: fast reset */
  struct irq_line a20_out, reset_out;
};
struct device port92_init(struct port92 *s, struct io_bus *io, struct irq_line a20, struct irq_line reset);
void port92_set_a20(struct port92 *s, bool on); /* the gate was moved by the keyboard controller */

/* The x87's error output on its way to IRQ 13: latched until the handler writes port F0h. */
struct ferr {
  uint8_t level, irq;
  struct irq_line out;
};
struct device ferr_init(struct ferr *s, struct io_bus *io, struct irq_line out);
void ferr_set(struct ferr *s, bool level);

/* isa-debug-exit */
struct debug_exit_properties {
  uint32_t iobase, iosize;
};
extern const struct device_type debug_exit_type;
