/* The CRT controller of a colour VGA, registers only (ports 3D4h, 3D5h). IBM VGA Technical Reference, CRT controller registers
 * 00h-18h.
 *
 * There is no display yet: nothing is shown, and no video memory answers at B8000h. But small kernels keep their cursor's
 * position here and read it back before they print, on whatever console; with ones in it they write far behind the screen. So
 * registers hold what was written, and begin with what a VGA BIOS leaves in text mode 3. The VGA that comes with the display
 * replaces this file. Missing: all else of a VGA, the monochrome address 3B4h.
 */
#include "crtc.h"
#include <string.h>

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

static void reset(void *state) {
  static const uint8_t mode3[CRTC_REGISTERS] = {0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00,
                                                0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff};
  struct crtc *s = state;
  s->index = 0;
  memcpy(s->reg, mode3, sizeof mode3);
}

struct device crtc_init(struct crtc *s, struct io_bus *io) {
  static const struct io_ops ops = {read, write, 1};
  *s = (struct crtc){0};
  reset(s);
  io_bus_add(io, 0x3d4, 2, &ops, s, "crtc");
  return (struct device){"crtc", s, fields, reset, 0, 0, 0};
}
