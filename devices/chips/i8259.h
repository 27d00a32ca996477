/* The two 8259A interrupt controllers of a PC, cascaded through IR2, and the PIIX's ELCR. */
#pragma once
#include "../bus.h"

struct i8259_chip {
  uint8_t lines; /* IR inputs as they are now */
  uint8_t irr, isr, imr;
  uint8_t withdrawn; /* edge requests that fell while they held INT high: INT stays high, for a spurious IR7 */
  uint8_t elcr;      /* 1: level triggered */
  uint8_t icw1, icw2, icw3, icw4;
  uint8_t step;   /* ICW that the next write to the odd port is (2, 3, 4); 0: initialised */
  uint8_t lowest; /* level of lowest priority, 7 after ICW1 */
  uint8_t read_isr, poll, special_mask, rotate_on_aeoi;
};
struct i8259 {
  struct i8259_chip chip[2];
  uint8_t intr; /* INT output of the master, as `out` heard it last */
  struct irq_line out;
};

struct device i8259_init(struct i8259 *s, struct io_bus *io, struct irq_line out);
void i8259_set_irq(struct i8259 *s, unsigned irq, bool level);
/* INTA: the vector; a spurious IR7's when no request is left. */
uint8_t i8259_ack(struct i8259 *s);
