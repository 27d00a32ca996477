/* The Bochs VBE extensions ("dispi" registers, ports 1CEh and 1CFh): modes of any size with 4 to 32 bits a pixel in a linear
 * framebuffer. Bochs' vbe_display_api.txt; version B0C5 as QEMU has it. Also the card's second window (BAR 2): QEMU's
 * docs/specs/standard-vga.
 *
 * Owns what a mode may be: sizes that do not fit are made to fit when a mode is on, as in QEMU, so that no register ever leads
 * behind video memory. Switching a mode on writes the VGA's own registers too, for guests that read them.
 * Missing: registers of big-endian framebuffers (they read as little-endian and stay so), DDC by EDID behind I2C.
 */
#include "vga_state.h"
#include <string.h>

enum { ID_OLDEST = 0xb0c0, ID = 0xb0c5, WIDTH_MAX = 16000, HEIGHT_MAX = 12000, BITS_MAX = 32, VBE_MEMORY_64K = 10 };
enum {
  EDID_END = 0x100,
  PORTS = 0x400,
  PORTS_END = 0x420,
  VBE = 0x500,
  VBE_END = 0x516,
  EXTENSION = 0x600,
  EXTENSION_END = 0x608
};
enum { LITTLE_ENDIAN_PIXELS = 0x1e1e1e1e };

static uint32_t clamp(uint32_t value, uint32_t low, uint32_t high) { return value < low ? low : value > high ? high : value; }

/* Bits that a pixel takes in memory. */
static unsigned stored_bits(unsigned bits) { return bits == 15 ? 16 : bits; }

static void fit_bits(struct vga_registers *r) {
  static const uint8_t known[] = {4, 8, 15, 16, 24, 32};
  if (!memchr(known, r->vbe[VBE_BITS], sizeof known) || r->vbe[VBE_BITS] > BITS_MAX) r->vbe[VBE_BITS] = 8;
}

/* As much of the picture as there is memory for. */
static void fit_size(struct vga_registers *r) {
  uint16_t *v = r->vbe;
  v[VBE_WIDTH] = (uint16_t)clamp(v[VBE_WIDTH] & ~7u, 8, WIDTH_MAX);
  v[VBE_VIRTUAL_WIDTH] = (uint16_t)clamp(v[VBE_VIRTUAL_WIDTH] & ~7u, v[VBE_WIDTH], WIDTH_MAX);
  uint32_t line = v[VBE_VIRTUAL_WIDTH] * stored_bits(v[VBE_BITS]) / 8, lines = VGA_MEMORY / line;
  v[VBE_HEIGHT] = (uint16_t)clamp(v[VBE_HEIGHT], 1, lines < HEIGHT_MAX ? lines : HEIGHT_MAX);
  v[VBE_VIRTUAL_HEIGHT] = (uint16_t)clamp(lines, 1, UINT16_MAX);
}

/* An offset from where the picture would not end within memory is none. */
static void fit_offsets(struct vga_registers *r) {
  uint16_t *v = r->vbe;
  uint64_t bits = stored_bits(v[VBE_BITS]), line = v[VBE_VIRTUAL_WIDTH] * bits / 8, size = line * v[VBE_HEIGHT];
  if (v[VBE_X] * bits / 8 + v[VBE_Y] * line + size > VGA_MEMORY) v[VBE_Y] = 0;
  if (v[VBE_X] * bits / 8 + size > VGA_MEMORY) v[VBE_X] = 0;
}

static void fit(struct vga_registers *r) {
  if (!(r->vbe[VBE_ENABLE] & VBE_ENABLED)) return;
  fit_bits(r), fit_size(r), fit_offsets(r);
}

/* What the VGA's registers have to say in such a mode: the window is 64 KiB at A0000h, lines and columns are the mode's. */
static void write_vga_registers(struct vga_registers *r) {
  uint32_t last = r->vbe[VBE_HEIGHT] - 1u;
  bool planar = r->vbe[VBE_BITS] == 4;
  r->gfx[GFX_MISC] = (uint8_t)((r->gfx[GFX_MISC] & ~0x0c) | 4 | MISC_GRAPHICS);
  r->crtc[CRTC_MODE] |= 3;
  r->crtc[CRTC_OFFSET] = (uint8_t)(r->vbe[VBE_VIRTUAL_WIDTH] * (planar ? 1 : stored_bits(r->vbe[VBE_BITS])) / (planar ? 16 : 64));
  r->crtc[CRTC_COLUMNS] = (uint8_t)(r->vbe[VBE_WIDTH] / 8 - 1);
  r->crtc[CRTC_DISPLAY_END] = (uint8_t)last;
  r->crtc[CRTC_OVERFLOW] = (uint8_t)((r->crtc[CRTC_OVERFLOW] & ~0x42) | (last >> 7 & 2) | (last >> 3 & 0x40) | 0x10);
  r->crtc[CRTC_LINE_COMPARE] = 0xff;
  r->crtc[CRTC_SCAN] = (uint8_t)((r->crtc[CRTC_SCAN] & ~0x9f) | 0x40);
  r->gfx[GFX_MODE] = (uint8_t)((r->gfx[GFX_MODE] & ~0x60) | (planar ? 0 : 2 << MODE_SHIFT));
}

/* What is seen of the new mode's memory. */
static void clear_picture(struct vga *s) {
  static const uint8_t zeros[MMU_PAGE];
  const struct vbe_mode m = vbe_mode(&s->r);
  for (uint64_t at = 0, size = (uint64_t)m.line_bytes * m.height; at < size; at += sizeof zeros) {
    uint64_t part = size - at < sizeof zeros ? size - at : sizeof zeros;
    if (memcmp((const uint8_t *)s->dwords + at, zeros, part)) mmu_area_write(s->mmu, s->function.area[VGA_BAR], at, zeros, part);
  }
}

static void enable(struct vga *s, uint16_t value) {
  uint16_t *v = s->r.vbe;
  bool begins = value & VBE_ENABLED && !(v[VBE_ENABLE] & VBE_ENABLED);
  v[VBE_ENABLE] = value;
  if (begins) {
    v[VBE_VIRTUAL_WIDTH] = v[VBE_X] = v[VBE_Y] = 0;
    fit(&s->r);
    write_vga_registers(&s->r);
  } else if (!(value & VBE_ENABLED)) {
    v[VBE_BANK] = 0;
  }
  vga_window_update(s);
  if (begins && !(value & VBE_KEEP_MEMORY)) clear_picture(s);
}

/* Sizes in the middle of a mode take effect only as far as they fit into it. */
static void set_size(struct vga *s, unsigned index, uint16_t value) {
  bool on = s->r.vbe[VBE_ENABLE] & VBE_ENABLED;
  s->r.vbe[index] = value;
  if (!on) return;
  fit(&s->r);
  write_vga_registers(&s->r);
  vga_window_update(s);
}

void vbe_write(struct vga *s, unsigned index, uint16_t value) {
  switch (index) {
  case VBE_ID:
    if (value >= ID_OLDEST && value <= ID) s->r.vbe[VBE_ID] = value;
    break;
  case VBE_ENABLE: enable(s, value); break;
  case VBE_BANK:
    s->r.vbe[VBE_BANK] = value % (VGA_MEMORY >> 16);
    vga_window_update(s);
    break;
  case VBE_WIDTH:
  case VBE_HEIGHT:
  case VBE_BITS:
  case VBE_VIRTUAL_WIDTH:
  case VBE_X:
  case VBE_Y: set_size(s, index, value); break;
  }
}

uint16_t vbe_read(const struct vga *s, unsigned index) {
  const uint16_t *v = s->r.vbe;
  if (index == VBE_MEMORY_64K) return VGA_MEMORY >> 16;
  if (index >= VBE_COUNT) return 0;
  if (v[VBE_ENABLE] & VBE_GET_CAPS && index >= VBE_WIDTH && index <= VBE_BITS)
    return index == VBE_WIDTH ? WIDTH_MAX : index == VBE_HEIGHT ? HEIGHT_MAX : BITS_MAX;
  return v[index];
}

void vbe_loaded(struct vga *s) {
  s->r.vbe[VBE_BANK] %= VGA_MEMORY >> 16;
  fit(&s->r);
}

/* ---- BAR 2 ---- */

static uint32_t register_read(struct vga *s, uint64_t offset) {
  if (offset < sizeof s->edid) return s->edid[offset];
  if (offset >= PORTS && offset < PORTS_END) return vga_port_read(s, (unsigned)(offset - PORTS));
  if (offset >= VBE && offset < VBE_END) return vbe_read(s, (unsigned)(offset - VBE) / 2) >> (offset & 1 ? 8 : 0) & 0xff;
  if (offset >= EXTENSION && offset < EXTENSION_END) return offset < EXTENSION + 4 ? (offset == EXTENSION ? 8 : 0) : 0x1e;
  return offset < EDID_END ? 0 : 0xff;
}

uint32_t vbe_registers_read(void *opaque, uint64_t offset, unsigned size) {
  uint32_t value = 0;
  for (unsigned i = 0; i < size; i++) value |= (register_read(opaque, offset + i) & 0xff) << 8 * i;
  return value;
}

/* VBE registers are words; the VGA's bytes. */
void vbe_registers_write(void *opaque, uint64_t offset, unsigned size, uint32_t value) {
  if (offset >= VBE && offset < VBE_END) {
    if (size >= 2) vbe_write(opaque, (unsigned)(offset - VBE) / 2, (uint16_t)value);
    return;
  }
  for (unsigned i = 0; i < size; i++)
    if (offset + i >= PORTS && offset + i < PORTS_END)
      vga_port_write(opaque, (unsigned)(offset + i - PORTS), (uint8_t)(value >> 8 * i));
}

/* ---- EDID (VESA E-EDID 1.4, 128 bytes): a monitor that prefers 1024x768 and takes up to 1920x1200 ---- */

static void put_timing(uint8_t *to, unsigned clock_10khz, unsigned width, unsigned h_blank, unsigned height, unsigned v_blank) {
  const uint8_t timing[18] = {(uint8_t)clock_10khz,
                              (uint8_t)(clock_10khz >> 8),
                              (uint8_t)width,
                              (uint8_t)h_blank,
                              (uint8_t)(width >> 8 << 4 | h_blank >> 8),
                              (uint8_t)height,
                              (uint8_t)v_blank,
                              (uint8_t)(height >> 8 << 4 | v_blank >> 8),
                              24, /* front porches and syncs: dots, dots, lines */
                              136,
                              3 << 4 | 6,
                              0,
                              0x04, /* 260 mm x 195 mm */
                              0xc3,
                              0x10,
                              0,
                              0,
                              0x18};
  memcpy(to, timing, sizeof timing);
}

void vbe_make_edid(uint8_t edid[128]) {
  static const uint8_t head[54] = {
    0,    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0,                /* header */
    0x0a, 0x98, 1,    0,    1,    0,    0,    0,    1,    32,   /* maker BTX; 2022 */
    1,    4,    0xa5, 26,   20,   120,  0x06,                   /* 1.4, digital, 26 cm x 20 cm, gamma 2.2, sRGB, preferred */
    0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54, /* colours of sRGB */
    0x21, 0x08, 0,                                              /* 640x480, 800x600, 1024x768 at 60 Hz */
    0xd1, 0xc0, 0x81, 0x80, 0x95, 0,    0xa9, 0x40, 0xb3, 0,    /* 1920x1080, 1280x1024, 1440x900, 1600x1200, 1680x1050 */
    0xd1, 0,    1,    1,    1,    1};                           /* 1920x1200 */
  static const uint8_t name[18] = {0, 0, 0, 0xfc, 0, 'b', 't', ' ', 's', 'c', 'r', 'e', 'e', 'n', '\n', ' ', ' ', ' '};
  static const uint8_t range[18] = {0, 0, 0, 0xfd, 0, 50, 125, 30, 160, 255, 0x0a, ' ', ' ', ' ', ' ', ' ', ' ', ' '};
  static const uint8_t nothing[18] = {0, 0, 0, 0x10};
  uint8_t sum = 0;
  memcpy(edid, head, sizeof head);
  put_timing(edid + 54, 6500, 1024, 320, 768, 38);
  memcpy(edid + 72, range, sizeof range), memcpy(edid + 90, name, sizeof name), memcpy(edid + 108, nothing, sizeof nothing);
  edid[126] = 0;
  for (unsigned i = 0; i < 127; i++) sum = (uint8_t)(sum + edid[i]);
  edid[127] = (uint8_t)-sum;
}
