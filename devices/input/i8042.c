/* 8042 keyboard controller. IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device Controller".
 *
 * Owns the output buffer and the way of the keyboard's and the mouse's bytes into it, one at a time. The keyboard's are
 * translated from set 2 to set 1 when the command byte says so, and come never sooner than WIRE_NS after the byte before was read
 * - interrupt handlers of the DOS age read port 60h twice and expect the same byte. The mouse's (port bit AUX) come as soon as
 *   the buffer is free and no key is ready. Answers of
 * the controller itself are there at once and overwrite what was not read. The input buffer is always empty.
 */
#include "i8042.h"

enum { STATUS_FULL = 1, STATUS_SYSTEM = 4, STATUS_COMMAND = 8, STATUS_UNLOCKED = 0x10, STATUS_AUX = 0x20 };
enum { BYTE_IRQ1 = 1, BYTE_IRQ12 = 2, BYTE_SYSTEM = 4, BYTE_KEYBOARD_OFF = 0x10, BYTE_AUX_OFF = 0x20, BYTE_TRANSLATE = 0x40 };
enum {
  READ_RAM = 0x20,
  WRITE_RAM = 0x60,
  RAM_MASK = 0x1f,
  PASSWORD_TEST = 0xa4,
  AUX_DISABLE = 0xa7,
  AUX_ENABLE = 0xa8,
  AUX_TEST = 0xa9,
  SELF_TEST = 0xaa,
  KEYBOARD_TEST = 0xab,
  KEYBOARD_DISABLE = 0xad,
  KEYBOARD_ENABLE = 0xae,
  READ_INPUT = 0xc0,
  READ_OUTPUT = 0xd0,
  WRITE_OUTPUT = 0xd1,
  WRITE_KEYBOARD_BUFFER = 0xd2,
  WRITE_AUX_BUFFER = 0xd3,
  WRITE_AUX = 0xd4,
  A20_OFF = 0xdd,
  A20_ON = 0xdf,
  READ_TEST = 0xe0,
  PULSE = 0xf0
};
enum { OUTPUT_NO_RESET = 1, OUTPUT_A20 = 2, OUTPUT_IRQ1 = 0x10, OUTPUT_IRQ12 = 0x20, OUTPUT_ONES = 0xcc };
enum { WIRE_NS = 300000, BREAK = 0xf0 };

static const struct field fields[] = {FIELD(i8042, command_byte),
                                      FIELD_ARRAY(i8042, ram),
                                      FIELD(i8042, pending),
                                      FIELD(i8042, data),
                                      FIELD(i8042, full),
                                      FIELD(i8042, from_aux),
                                      FIELD(i8042, last_was_command),
                                      FIELD(i8042, translating_break),
                                      FIELD(i8042, a20),
                                      FIELD(i8042, irq1),
                                      FIELD(i8042, irq12),
                                      FIELD(i8042, next_byte_at),
                                      PS2_KEYBOARD_FIELDS(i8042, keyboard),
                                      PS2_MOUSE_FIELDS(i8042, mouse),
                                      FIELD_TIMER(i8042, timer),
                                      FIELD_END};

/* ---- output buffer ---- */

static void update_irqs(struct i8042 *s) {
  uint8_t irq1 = s->full && !s->from_aux && (s->command_byte & BYTE_IRQ1);
  uint8_t irq12 = s->full && s->from_aux && (s->command_byte & BYTE_IRQ12);
  if (irq1 != s->irq1) {
    s->irq1 = irq1;
    irq_set(&s->irq1_out, irq1);
  }
  if (irq12 != s->irq12) {
    s->irq12 = irq12;
    irq_set(&s->irq12_out, irq12);
  }
}

static void output(struct i8042 *s, uint8_t byte, bool from_aux) {
  s->full = 0;
  update_irqs(s); /* a new byte is a new edge even if the last one was never read */
  s->data = byte;
  s->full = 1;
  s->from_aux = from_aux;
  update_irqs(s);
}

/* One byte off the keyboard's wire; false when the translator kept it. */
static bool translate(struct i8042 *s, uint8_t *byte) {
  if (!(s->command_byte & BYTE_TRANSLATE)) return true;
  if (*byte == BREAK) {
    s->translating_break = 1;
    return false;
  }
  *byte = pc_key_set2_to_set1(*byte) | (s->translating_break ? 0x80 : 0);
  s->translating_break = 0;
  return true;
}

/* True: a byte of the keyboard's is in the output buffer. Sets the timer where one waits for the wire. */
static bool pump_keyboard(struct i8042 *s) {
  if ((s->command_byte & BYTE_KEYBOARD_OFF) || !ps2_keyboard_has_byte(&s->keyboard)) return false;
  if (clock_now(s->clock) < s->next_byte_at) {
    clock_timer_set(s->clock, &s->timer, s->next_byte_at);
    return false;
  }
  while (ps2_keyboard_has_byte(&s->keyboard)) {
    uint8_t byte = ps2_keyboard_take(&s->keyboard);
    if (translate(s, &byte)) {
      output(s, byte, false);
      return true;
    }
  }
  return false;
}

/* Moves what is waiting into the output buffer if that is empty. */
static void pump(struct i8042 *s) {
  clock_timer_cancel(s->clock, &s->timer);
  if (s->full || pump_keyboard(s)) return;
  if (!(s->command_byte & BYTE_AUX_OFF) && ps2_mouse_has_byte(&s->mouse)) output(s, ps2_mouse_take(&s->mouse), true);
}

static void fire(void *opaque) { pump(opaque); }

/* After whatever may have begun or ended a repeat. */
static void time_repeat(struct i8042 *s) { clock_timer_set(s->clock, &s->repeat, s->keyboard.repeat_at); }

static void repeat(void *opaque) {
  struct i8042 *s = opaque;
  ps2_keyboard_repeat(&s->keyboard, clock_now(s->clock));
  time_repeat(s);
  pump(s);
}

void i8042_press(struct i8042 *s, enum pc_key key, bool down) {
  ps2_keyboard_press(&s->keyboard, key, down, clock_now(s->clock));
  time_repeat(s);
  pump(s);
}

unsigned i8042_key_room(const struct i8042 *s) { return ps2_keyboard_room(&s->keyboard); }

void i8042_mouse(struct i8042 *s, int dx, int dy, int dz, unsigned buttons) {
  ps2_mouse_move(&s->mouse, dx, dy, dz, buttons);
  pump(s);
}

/* ---- output port ---- */

static void set_a20(struct i8042 *s, bool on) {
  s->a20 = on;
  irq_set(&s->a20_out, on);
}

void i8042_set_a20(struct i8042 *s, bool on) { s->a20 = on; }

static void write_output_port(struct i8042 *s, uint8_t value) {
  set_a20(s, value & OUTPUT_A20);
  if (!(value & OUTPUT_NO_RESET)) irq_set(&s->reset_out, true);
}

static uint8_t read_output_port(const struct i8042 *s) {
  return (uint8_t)(OUTPUT_ONES | OUTPUT_NO_RESET | (s->a20 ? OUTPUT_A20 : 0) | (s->full && !s->from_aux ? OUTPUT_IRQ1 : 0) |
                   (s->full && s->from_aux ? OUTPUT_IRQ12 : 0));
}

/* ---- commands ---- */

static void set_command_byte(struct i8042 *s, uint8_t value) {
  s->command_byte = value & 0x7f;
  update_irqs(s);
  pump(s);
}

/* Port 60h after a command that wants a byte. */
static void data_for(struct i8042 *s, uint8_t command, uint8_t value) {
  switch (command) {
  case WRITE_RAM: set_command_byte(s, value); break;
  case WRITE_RAM + 1 ... WRITE_RAM + RAM_MASK: s->ram[command - WRITE_RAM - 1] = value; break;
  case WRITE_OUTPUT: write_output_port(s, value); break;
  case WRITE_KEYBOARD_BUFFER: output(s, value, false); break;
  case WRITE_AUX_BUFFER: output(s, value, true); break;
  case WRITE_AUX:
    ps2_mouse_command(&s->mouse, value);
    pump(s);
    break;
  }
}

static void command(struct i8042 *s, uint8_t value) {
  switch (value) {
  case READ_RAM: output(s, s->command_byte, false); break;
  case READ_RAM + 1 ... READ_RAM + RAM_MASK: output(s, s->ram[value - READ_RAM - 1], false); break;
  case WRITE_RAM ... WRITE_RAM + RAM_MASK:
  case WRITE_OUTPUT ... WRITE_AUX: s->pending = value; break;
  case PASSWORD_TEST: output(s, 0xf1, false); break; /* none installed */
  case AUX_DISABLE: set_command_byte(s, s->command_byte | BYTE_AUX_OFF); break;
  case AUX_ENABLE: set_command_byte(s, s->command_byte & (uint8_t)~BYTE_AUX_OFF); break;
  case AUX_TEST:
  case KEYBOARD_TEST: output(s, 0, false); break;
  case SELF_TEST:
    s->command_byte |= BYTE_SYSTEM;
    output(s, 0x55, false);
    break;
  case KEYBOARD_DISABLE: set_command_byte(s, s->command_byte | BYTE_KEYBOARD_OFF); break;
  case KEYBOARD_ENABLE: set_command_byte(s, s->command_byte & (uint8_t)~BYTE_KEYBOARD_OFF); break;
  case READ_INPUT: output(s, 0x80, false); break; /* keyboard not locked */
  case READ_OUTPUT: output(s, read_output_port(s), false); break;
  case A20_OFF: set_a20(s, false); break;
  case A20_ON: set_a20(s, true); break;
  case READ_TEST: output(s, 0, false); break;
  case PULSE ... 0xff:
    if (!(value & OUTPUT_NO_RESET)) irq_set(&s->reset_out, true);
    break;
  }
}

/* ---- ports: a window of one at 60h and one at 64h ---- */

static uint32_t read_data(void *dev, uint16_t offset, unsigned size) {
  struct i8042 *s = dev;
  uint8_t byte = s->data;
  if (!s->full) return byte;
  if (!s->from_aux) /* else a mouse that moves on and on would hold the keyboard up for ever */
    s->next_byte_at = clock_now(s->clock) + WIRE_NS;
  s->full = s->from_aux = 0;
  update_irqs(s);
  pump(s);
  return byte;
}

static uint32_t read_status(void *dev, uint16_t offset, unsigned size) {
  const struct i8042 *s = dev;
  return (s->full ? STATUS_FULL : 0) | (s->command_byte & BYTE_SYSTEM ? STATUS_SYSTEM : 0) |
         (s->last_was_command ? STATUS_COMMAND : 0) | STATUS_UNLOCKED | (s->full && s->from_aux ? STATUS_AUX : 0);
}

static void write_data(void *dev, uint16_t offset, unsigned size, uint32_t value) {
  struct i8042 *s = dev;
  uint8_t pending = s->pending;
  s->last_was_command = 0;
  s->pending = 0;
  if (pending) {
    data_for(s, pending, (uint8_t)value);
    return;
  }
  s->command_byte &= (uint8_t)~BYTE_KEYBOARD_OFF; /* talking to the keyboard enables its interface */
  ps2_keyboard_command(&s->keyboard, (uint8_t)value);
  time_repeat(s);
  pump(s);
}

static void write_command(void *dev, uint16_t offset, unsigned size, uint32_t value) {
  struct i8042 *s = dev;
  s->last_was_command = 1;
  s->pending = 0;
  command(s, (uint8_t)value);
}

/* ---- life ---- */

/* As QEMU's after power-on: both interrupts on, no translation, the self-test still to come, and A20 open (the CPU's first fetch
 * is at FFFFFFF0h). */
static void reset(void *state) {
  struct i8042 *s = state;
  s->command_byte = BYTE_IRQ1 | BYTE_IRQ12;
  s->pending = s->data = s->full = s->from_aux = s->translating_break = 0;
  s->last_was_command = 1;
  s->next_byte_at = 0;
  ps2_keyboard_power_on(&s->keyboard);
  ps2_mouse_power_on(&s->mouse);
  set_a20(s, true);
  time_repeat(s);
  update_irqs(s);
  pump(s);
}

static void loaded(void *state) {
  struct i8042 *s = state;
  ps2_keyboard_loaded(&s->keyboard);
  ps2_mouse_loaded(&s->mouse);
  if (s->next_byte_at > clock_now(s->clock) + WIRE_NS) s->next_byte_at = 0;
  s->irq1 = s->irq1 != 0;
  s->irq12 = s->irq12 != 0;
  irq_set(&s->irq1_out, s->irq1);
  irq_set(&s->irq12_out, s->irq12);
  irq_set(&s->a20_out, s->a20 != 0);
  clock_timer_set(s->clock, &s->timer, s->timer.deadline);
  time_repeat(s);
}

static void destroy(void *state) {
  struct i8042 *s = state;
  clock_timer_cancel(s->clock, &s->timer);
  clock_timer_cancel(s->clock, &s->repeat);
}

struct device i8042_init(struct i8042 *s, struct io_bus *io, struct clock *clock, struct irq_line irq1, struct irq_line irq12,
                         struct irq_line a20, struct irq_line reset_out) {
  static const struct io_ops data_ops = {read_data, write_data, 1}, command_ops = {read_status, write_command, 1};
  *s = (struct i8042){.clock = clock, .irq1_out = irq1, .irq12_out = irq12, .a20_out = a20, .reset_out = reset_out};
  clock_timer_init(&s->timer, "keyboard", fire, s);
  clock_timer_init(&s->repeat, "keyboard repeat", repeat, s);
  reset(s);
  io_bus_add(io, 0x60, 1, &data_ops, s, "i8042-data");
  io_bus_add(io, 0x64, 1, &command_ops, s, "i8042-command");
  return (struct device){"i8042", s, fields, reset, loaded, destroy, 0};
}
