/* The CPU's window at A0000h where it is a device: four planes behind the graphics controller's latches, write modes 0 to 3 and
 * read modes 0 and 1, odd/even, chain-4. IBM PS/2 Hardware Interface Technical Reference, "Graphics Controller Registers".
 *
 * Programs that draw in 16 colours or in unchained 256 live here, a store a pixel, so that this is called with the guest's
 * x87/SSE state still in the host's registers: compiled -mgeneral-regs-only and without libc, as monitor/ and mmu/ are (D7). What
 * memory can answer by itself does not come here (vga_window.c). Deviations: chain-4 passes the logic unit by, as in QEMU (its
 * registers are neutral in mode 13h, and memory answers there most of the time); odd/even takes the offset in the plane from the
 * address's upper bits, as QEMU does, where hardware keeps bit 0 clear.
 */
#include "vga_state.h"

enum { AND = 1, OR = 2, XOR = 3 };

/* A bit for each plane, as a byte for each. */
static uint32_t planes(unsigned bits) {
  static const uint32_t masks[16] = {0,          0x000000ff, 0x0000ff00, 0x0000ffff, 0x00ff0000, 0x00ff00ff,
                                     0x00ffff00, 0x00ffffff, 0xff000000, 0xff0000ff, 0xff00ff00, 0xff00ffff,
                                     0xffff0000, 0xffff00ff, 0xffffff00, 0xffffffff};
  return masks[bits & 15];
}
static uint32_t all(uint8_t byte) { return byte * 0x01010101u; }
static uint8_t rotated(const struct vga *s, uint8_t value) {
  unsigned by = s->r.gfx[GFX_ROTATE] & 7;
  return (uint8_t)(value >> by | value << (8 - by));
}

/* Where planes are set to a colour whatever the CPU writes. */
static uint32_t set_reset(const struct vga *s, uint32_t data) {
  uint32_t enabled = planes(s->r.gfx[GFX_ENABLE_SET]);
  return (data & ~enabled) | (planes(s->r.gfx[GFX_SET]) & enabled);
}

static uint32_t logic(const struct vga *s, uint32_t data) {
  switch (s->r.gfx[GFX_ROTATE] >> 3) {
  case AND: return data & s->latch;
  case OR: return data | s->latch;
  case XOR: return data ^ s->latch;
  default: return data;
  }
}

/* What the four planes get, before the map mask. */
static uint32_t written(const struct vga *s, uint8_t value) {
  uint32_t data, mask = all(s->r.gfx[GFX_BIT_MASK]);
  switch (s->r.gfx[GFX_MODE] & MODE_WRITE) {
  case 0: data = set_reset(s, all(rotated(s, value))); break;
  case 1: return s->latch;
  case 2: data = planes(value); break;
  default: data = planes(s->r.gfx[GFX_SET]), mask &= all(rotated(s, value));
  }
  return (logic(s, data) & mask) | (s->latch & ~mask);
}

static void store(struct vga *s, uint32_t dword, uint32_t value, uint32_t mask) {
  uint32_t old = s->dwords[dword], new = (old & ~mask) | (value & mask);
  if (mask) mmu_area_write(s->mmu, s->function.area[VGA_BAR], (uint64_t)dword * 4, &new, 4);
}

static void write_byte(struct vga *s, uint32_t at, uint8_t value) {
  const struct vga_window *w = &s->window;
  unsigned map = s->r.seq[SEQ_MAP_MASK];
  if (at - w->start >= w->size) return;
  at = at - w->start + w->bank;
  if (w->chain_4) {
    if (map >> (at & 3) & 1 && at < VGA_MEMORY) mmu_area_write(s->mmu, s->function.area[VGA_BAR], at, &value, 1);
    return;
  }
  if (w->odd_even) map &= at & 1 ? 0xa : 0x5, at >>= 1;
  if (at < VGA_MEMORY / 4) store(s, at, written(s, value), planes(map));
}

/* Read mode 1: a bit is set where all planes that count have the colour. */
static uint8_t compared(const struct vga *s) {
  uint32_t differs = (s->latch ^ planes(s->r.gfx[GFX_COMPARE])) & planes(s->r.gfx[GFX_DONT_CARE]);
  differs |= differs >> 16;
  return (uint8_t) ~(differs | differs >> 8);
}

static uint8_t read_byte(struct vga *s, uint32_t at) {
  const struct vga_window *w = &s->window;
  unsigned plane = s->r.gfx[GFX_READ_MAP];
  if (at - w->start >= w->size) return 0xff;
  at = at - w->start + w->bank;
  if (w->chain_4) plane = at & 3, at >>= 2;
  else if (w->odd_even) plane = (plane & 2) | (at & 1), at >>= 1;
  if (at >= VGA_MEMORY / 4) return 0xff;
  s->latch = s->dwords[at];
  if (!w->chain_4 && s->r.gfx[GFX_MODE] & MODE_READ_COMPARE) return compared(s);
  return (uint8_t)(s->latch >> 8 * plane);
}

uint32_t vga_memory_read(void *vga, uint64_t offset, unsigned size) {
  uint32_t value = 0;
  for (unsigned i = 0; i < size; i++) value |= (uint32_t)read_byte(vga, (uint32_t)offset + i) << 8 * i;
  return value;
}

void vga_memory_write(void *vga, uint64_t offset, unsigned size, uint32_t value) {
  for (unsigned i = 0; i < size; i++) write_byte(vga, (uint32_t)offset + i, (uint8_t)(value >> 8 * i));
}
