/* The CRT controller of a colour VGA, registers only (ports 3D4h, 3D5h). IBM VGA Technical Reference, CRT controller registers
 * 00h-18h.
 *
 * There is no display yet: nothing is shown, and no video memory answers at B8000h. But small kernels keep their cursor's
 * position here and read it back before they print, on whatever console; with ones in it they write far behind the screen. So
 * registers hold what was written (text mode 3 by handover.c). The VGA that comes with the display replaces this file. Missing:
 * all else of a VGA, the monochrome address 3B4h.
 */
#include "crtc.h"

enum { INDEX, DATA };
enum { OVERFLOW_REGISTER = 0x07, LINE_COMPARE_8 = 1 << 4, PROTECT_REGISTER = 0x11, PROTECT = 1 << 7 };

static const struct field fields[] = {FIELD(crtc, index), FIELD_ARRAY(crtc, reg), FIELD_END};

static uint32_t read(void *dev, uint16_t offset, unsigned size) {
  struct crtc *s = dev;
  if (offset == INDEX) return s->index;
  return s->index < CRTC_REGISTERS ? s->reg[s->index] : 0;
}

/* Registers 00h-07h can be locked; of the last one the line compare's bit then stays open. */
static void write_data(struct crtc *s, uint8_t value) {
  if (s->index >= CRTC_REGISTERS) return;
  uint8_t open = 0xff;
  if (s->reg[PROTECT_REGISTER] & PROTECT && s->index <= OVERFLOW_REGISTER)
    open = s->index == OVERFLOW_REGISTER ? LINE_COMPARE_8 : 0;
  s->reg[s->index] = (uint8_t)((s->reg[s->index] & ~open) | (value & open));
}

static void write(void *dev, uint16_t offset, unsigned size, uint32_t value) {
  struct crtc *s = dev;
  if (offset == INDEX) s->index = (uint8_t)value;
  else write_data(s, (uint8_t)value);
}

static void reset(void *state) { *(struct crtc *)state = (struct crtc){0}; }

struct device crtc_init(struct crtc *s, struct io_bus *io) {
  static const struct io_ops ops = {read, write, 1};
  reset(s);
  io_bus_add(io, 0x3d4, 2, &ops, s, "crtc");
  return (struct device){"crtc", s, fields, reset, 0, 0, 0};
}
