/* The sequencer's and the graphics controller's registers, which programs that draw into planes write as often as the planes: an
 * OUT to them is done with the guest's x87/SSE state still in the host's registers, as a store to planes is (vga_memory.c),
 * unless the window has to change. Compiled -mgeneral-regs-only and without libc. */
#include "vga_state.h"

enum { SEQ_PORT = 0x3c4, SEQ_DATA = 0x3c5, GFX_PORT = 0x3ce, GFX_DATA = 0x3cf, WRITES_NEUTRAL = 0xff };

/* What of each register there is. */
const uint8_t vga_seq_bits[SEQ_COUNT] = {0x03, 0x3d, 0x0f, 0x3f, 0x0e};
const uint8_t vga_gfx_bits[GFX_COUNT] = {0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff};

/* ---- which window the registers want ---- */

static bool cells_only(const struct vga_registers *r) {
  bool plain = !(r->gfx[GFX_MODE] & (MODE_WRITE | MODE_READ_COMPARE)) && !r->gfx[GFX_ROTATE] &&
               r->gfx[GFX_BIT_MASK] == WRITES_NEUTRAL && !(r->gfx[GFX_ENABLE_SET] & 3);
  return plain && r->seq[SEQ_MAP_MASK] == 3 && !(r->gfx[GFX_READ_MAP] & 2);
}

struct vga_window vga_window_wanted(const struct vga_registers *r) {
  static const struct {
    uint32_t start, size;
  } maps[] = {{0, VGA_WINDOW}, {0, 0x10000}, {VGA_MONO_TEXT, VGA_CELLS}, {VGA_COLOUR_TEXT, VGA_CELLS}};
  unsigned map = r->gfx[GFX_MISC] >> 2 & 3;
  struct vga_window w = {.start = maps[map].start, .size = r->misc & MISC_RAM ? maps[map].size : 0};
  bool vbe = r->vbe[VBE_ENABLE] & VBE_ENABLED, linear = vbe && r->vbe[VBE_BITS] != 4; /* whatever the sequencer says */
  w.chain_4 = vbe ? linear : r->seq[SEQ_MEMORY] & MEMORY_CHAIN_4;
  w.odd_even = !w.chain_4 && r->gfx[GFX_MODE] & MODE_ODD_EVEN;
  w.bank = map == 1 ? (uint32_t)r->vbe[VBE_BANK] << 16 : 0;
  if (w.size && w.chain_4 && (linear || r->seq[SEQ_MAP_MASK] == 15)) w.layout = WINDOW_LINEAR;
  if (w.size && w.odd_even && map >= 2 && cells_only(r)) w.layout = WINDOW_CELLS;
  return w;
}

bool vga_window_same(const struct vga_window *a, const struct vga_window *b) {
  return a->layout == b->layout &&
         (a->layout == WINDOW_PLANES || (a->start == b->start && a->size == b->size && a->bank == b->bank));
}

/* ---- registers ---- */

/* False: it is the window's turn, vga_window_update(). */
static bool window_stays(struct vga *s) {
  const struct vga_window w = vga_window_wanted(&s->r);
  if (!vga_window_same(&s->window, &w)) return false;
  s->window = w;
  return true;
}

bool vga_seq_write(struct vga *s, uint8_t value) {
  if (s->seq_index >= SEQ_COUNT) return true;
  s->r.seq[s->seq_index] = value & vga_seq_bits[s->seq_index];
  return (s->seq_index != SEQ_MAP_MASK && s->seq_index != SEQ_MEMORY) || window_stays(s);
}

/* Rotation, set/reset and bit mask count for the window too, as memory answers only where they do nothing; but they are what
 * programs change between any two stores, so that only a window that could be memory looks at them. */
bool vga_gfx_write(struct vga *s, uint8_t value) {
  if (s->gfx_index >= GFX_COUNT) return true;
  bool where = s->gfx_index == GFX_MODE || s->gfx_index == GFX_MISC;
  s->r.gfx[s->gfx_index] = value & vga_gfx_bits[s->gfx_index];
  return (!where && !s->window.odd_even) || window_stays(s);
}

/* Index and data in one are two bytes to two ports. False: the ordinary way does it, again from the start. */
bool vga_fast_port_write(void *vga, uint16_t port, unsigned size, uint32_t value) {
  struct vga *s = vga;
  bool both = size == 2 && !(port & 1);
  if ((size != 1 && !both) || io_bus_owner(s->io, port) != s) return false;
  uint8_t data = (uint8_t)(both ? value >> 8 : value);
  switch (port) {
  case SEQ_PORT: s->seq_index = value & 7; return !both || vga_seq_write(s, data);
  case SEQ_DATA: return vga_seq_write(s, data);
  case GFX_PORT: s->gfx_index = value & 15; return !both || vga_gfx_write(s, data);
  case GFX_DATA: return vga_gfx_write(s, data);
  default: return false;
  }
}
