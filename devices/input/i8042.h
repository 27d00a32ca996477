/* Keyboard controller (ports 60h, 64h) and the PS/2 keyboard and mouse behind it. */
#pragma once
#include "../bus.h"
#include "ps2_keyboard.h"
#include "ps2_mouse.h"

struct i8042 {
  uint8_t command_byte;         /* RAM byte 0 */
  uint8_t ram[31];              /* RAM bytes 1-31 */
  uint8_t pending;              /* command whose data byte comes next through port 60h; 0: none (the byte is for the keyboard) */
  uint8_t data, full, from_aux; /* output buffer */
  uint8_t last_was_command;     /* status bit 3 */
  uint8_t translating_break;    /* F0h has come: the next code is a release */
  uint8_t a20, irq1, irq12;
  int64_t next_byte_at; /* the keyboard's wire is busy until then */
  struct ps2_keyboard keyboard;
  struct ps2_mouse mouse;
  struct clock_timer timer;
  struct clock_timer repeat; /* at keyboard.repeat_at */
  struct clock *clock;
  struct irq_line irq1_out, irq12_out, a20_out, reset_out;
};

struct device i8042_init(struct i8042 *s, struct io_bus *io, struct clock *clock, struct irq_line irq1, struct irq_line irq12,
                         struct irq_line a20, struct irq_line reset);
void i8042_set_a20(struct i8042 *s, bool on); /* the gate was moved by port 92h */
void i8042_press(struct i8042 *s, enum pc_key key, bool down);
unsigned i8042_key_room(const struct i8042 *s); /* keys that can be pressed and released now without a loss */
void i8042_mouse(struct i8042 *s, int dx, int dy, int dz, unsigned buttons);
