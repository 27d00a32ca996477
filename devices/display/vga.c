/* The standard VGA's ports and the card that they are on. IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem"
 * (registers by their names there); where the card is Bochs' and QEMU's alone, docs/specs/standard-vga of QEMU.
 *
 * Owns the registers of sequencer, graphics controller, CRTC, attribute controller and DAC, and the card's PCI side: BAR 0 video
 * memory, BAR 2 the registers in memory, the ROM. Bits that the manual has not read as zero. The ports answer whatever the card's
 * command register says, as in QEMU: the firmware's text screen comes before PCI.
 * Deviations: the interrupt of the vertical retrace is not wired (nor on most cards); the sense switch reads as a colour monitor;
 * a blank screen (attributes off, or clocking mode bit 5) is black, not the overscan colour, which is not shown at all.
 * Missing: vertical and horizontal timing beyond the status register, text panning by dots, the memory page bit (misc bit 5), the
 * overscan border.
 */
#include "vga_state.h"
#include <string.h>

enum { MONO_CRTC = 0x3b4, MONO_STATUS = 0x3ba, PORTS = 0x3c0, COLOUR_CRTC = 0x3d4, COLOUR_STATUS = 0x3da, VBE_PORTS = 0x1ce };
enum { /* from 3C0h */
       PORT_ATTR,
       PORT_ATTR_DATA,
       PORT_MISC,
       PORT_SEQ = 4,
       PORT_SEQ_DATA,
       PORT_DAC_MASK,
       PORT_DAC_READ,
       PORT_DAC_WRITE,
       PORT_DAC_DATA,
       PORT_FEATURE,
       PORT_MISC_READ = 12,
       PORT_GFX = 14,
       PORT_GFX_DATA,
       PORT_CRTC = 0x14,
       PORT_CRTC_DATA,
       PORT_STATUS = 0x1a
};
enum { SENSE = 0x10 };
enum { DAC_READING = 3, DAC_WRITING = 0 };
enum { PROTECT = 1 << 7, PROTECTED = CRTC_OVERFLOW, LINE_COMPARE_8 = 1 << 4 };

/* What of each register there is. */
static uint8_t attr_bits(unsigned index) {
  static const uint8_t behind[] = {0xef, 0xff, 0x3f, 0x0f, 0x0f};
  return index < ATTR_MODE ? 0x3f : behind[index - ATTR_MODE];
}

/* ---- sequencer, graphics controller ---- */

static uint8_t seq_read(const struct vga *s) { return s->seq_index < SEQ_COUNT ? s->r.seq[s->seq_index] : 0; }
static uint8_t gfx_read(const struct vga *s) { return s->gfx_index < GFX_COUNT ? s->r.gfx[s->gfx_index] : 0; }

/* ---- CRTC ---- */

/* Registers 00h-07h can be locked; of the last one the line compare's bit then stays open. */
static void crtc_write(struct vga *s, uint8_t value) {
  uint8_t *reg = s->r.crtc, open = 0xff;
  if (s->crtc_index >= CRTC_COUNT) return;
  if (reg[CRTC_RETRACE_END] & PROTECT && s->crtc_index <= PROTECTED) open = s->crtc_index == PROTECTED ? LINE_COMPARE_8 : 0;
  reg[s->crtc_index] = (uint8_t)((reg[s->crtc_index] & ~open) | (value & open));
}

static uint8_t crtc_read(const struct vga *s) { return s->crtc_index < CRTC_COUNT ? s->r.crtc[s->crtc_index] : 0; }

/* ---- attribute controller: one port for index and data by turns, until the status register is read ---- */

static void attr_write(struct vga *s, uint8_t value) {
  unsigned index = s->attr_index & 0x1f;
  if (!s->attr_data) s->attr_index = value & 0x3f, s->r.attr_on = value & ATTR_ON;
  else if (index < ATTR_COUNT) s->r.attr[index] = value & attr_bits(index);
  s->attr_data = !s->attr_data;
}

static uint8_t attr_read(const struct vga *s) {
  unsigned index = s->attr_index & 0x1f;
  return index < ATTR_COUNT ? s->r.attr[index] : 0;
}

/* ---- DAC: three bytes a colour ---- */

static void dac_write(struct vga *s, uint8_t value) {
  s->dac_cache[s->dac_step++] = value;
  if (s->dac_step < 3) return;
  memcpy(s->r.dac + s->dac_write * 3, s->dac_cache, 3);
  s->dac_step = 0, s->dac_write++;
}

static uint8_t dac_read(struct vga *s) {
  uint8_t value = s->r.dac[s->dac_read * 3 + s->dac_step++];
  if (s->dac_step == 3) s->dac_step = 0, s->dac_read++;
  return value;
}

static void dac_address(struct vga *s, unsigned port, uint8_t value) {
  bool reads = port == PORT_DAC_READ;
  *(reads ? &s->dac_read : &s->dac_write) = value;
  s->dac_state = reads ? DAC_READING : DAC_WRITING, s->dac_step = 0;
}

/* ---- the status register: where the beam is, by the guest's clock ---- */

enum { STATUS_NO_DISPLAY = 1, STATUS_RETRACE = 8 };
struct beam {
  int64_t line_ns;
  uint32_t lines, shown, retrace, retrace_lines; /* of a frame */
};

static uint32_t with_overflow(const uint8_t *crtc, uint8_t low, unsigned bit8, unsigned bit9) {
  uint8_t over = crtc[CRTC_OVERFLOW];
  return low | (uint32_t)(over >> bit8 & 1) << 8 | (uint32_t)(over >> bit9 & 1) << 9;
}

/* Registers that make no frame (none were written; a VBE mode, which leaves them alone) are taken as one of 70 Hz. */
static struct beam beam_of(const struct vga_registers *r) {
  static const struct beam usual = {31778, 449, 400, 412, 2};
  const uint8_t *crtc = r->crtc;
  int64_t dots = (crtc[0] + 5) * (r->seq[SEQ_CLOCK] & CLOCK_8_DOTS ? 8 : 9) * (r->seq[SEQ_CLOCK] & CLOCK_HALF ? 2 : 1);
  struct beam b = {.lines = with_overflow(crtc, crtc[CRTC_TOTAL], 0, 5) + 2,
                   .shown = vga_crtc_lines(r),
                   .retrace = with_overflow(crtc, crtc[CRTC_RETRACE], 2, 7)};
  b.line_ns = dots * 1000000 / (r->misc >> 2 & 1 ? 28322 : 25175);
  b.retrace_lines = (crtc[CRTC_RETRACE_END] - b.retrace) & 15;
  bool sane = b.lines >= 100 && b.shown < b.lines && b.retrace < b.lines && b.retrace_lines && dots >= 100;
  return sane && !(r->vbe[VBE_ENABLE] & VBE_ENABLED) ? b : usual;
}

/* In graphics modes programs go by the retrace: games' speed is its. In text modes they wait for it before each cell that they
 * write, for a CGA's snow, and that is a waste of time: there each read shows the other state, as in QEMU (which does so in all
 * modes, so that its games run as fast as they can). */
static uint8_t status_read(struct vga *s) {
  const struct beam b = beam_of(&s->r);
  int64_t now = clock_now(s->clock) % (b.line_ns * b.lines);
  uint32_t line = (uint32_t)(now / b.line_ns);
  int64_t dot = now % b.line_ns;
  bool hidden = line >= b.shown || dot * 5 > b.line_ns * 4; /* a fifth of a line is blank in all of the BIOS's modes */
  s->attr_data = 0;
  s->status ^= STATUS_NO_DISPLAY | STATUS_RETRACE;
  if (!(s->r.gfx[GFX_MISC] & MISC_GRAPHICS) && !(s->r.vbe[VBE_ENABLE] & VBE_ENABLED)) return s->status;
  return (uint8_t)((hidden ? STATUS_NO_DISPLAY : 0) | (line - b.retrace < b.retrace_lines ? STATUS_RETRACE : 0));
}

/* ---- ports ---- */

uint8_t vga_port_read(struct vga *s, unsigned offset) {
  switch (offset) {
  case PORT_ATTR: return s->attr_data ? 0 : s->attr_index;
  case PORT_ATTR_DATA: return attr_read(s);
  case PORT_MISC: return SENSE;
  case PORT_SEQ: return s->seq_index;
  case PORT_SEQ_DATA: return seq_read(s);
  case PORT_DAC_MASK: return s->r.dac_mask;
  case PORT_DAC_READ: return s->dac_state;
  case PORT_DAC_WRITE: return s->dac_write;
  case PORT_DAC_DATA: return dac_read(s);
  case PORT_FEATURE: return s->feature;
  case PORT_MISC_READ: return s->r.misc;
  case PORT_GFX: return s->gfx_index;
  case PORT_GFX_DATA: return gfx_read(s);
  case PORT_CRTC: return s->crtc_index;
  case PORT_CRTC_DATA: return crtc_read(s);
  case PORT_STATUS: return status_read(s);
  default: return 0;
  }
}

void vga_port_write(struct vga *s, unsigned offset, uint8_t value) {
  switch (offset) {
  case PORT_ATTR: attr_write(s, value); break;
  case PORT_MISC: s->r.misc = value & 0xef, vga_window_update(s); break;
  case PORT_SEQ: s->seq_index = value & 7; break;
  case PORT_SEQ_DATA:
    if (!vga_seq_write(s, value)) vga_window_update(s);
    break;
  case PORT_DAC_MASK: s->r.dac_mask = value; break;
  case PORT_DAC_READ:
  case PORT_DAC_WRITE: dac_address(s, offset, value); break;
  case PORT_DAC_DATA: dac_write(s, value); break;
  case PORT_GFX: s->gfx_index = value & 15; break;
  case PORT_GFX_DATA:
    if (!vga_gfx_write(s, value)) vga_window_update(s);
    break;
  case PORT_CRTC: s->crtc_index = value; break;
  case PORT_CRTC_DATA: crtc_write(s, value); break;
  case PORT_STATUS: s->feature = value & 0x10; break;
  }
}

static uint32_t read(void *dev, uint16_t offset, unsigned size) { return vga_port_read(dev, offset); }
static void write(void *dev, uint16_t offset, unsigned size, uint32_t value) { vga_port_write(dev, offset, (uint8_t)value); }

/* CRTC and status are at 3Bxh or at 3Dxh, as miscellaneous output bit 0 says. */
static bool colour(const struct vga *s) { return s->r.misc & MISC_COLOUR; }
static uint32_t crtc_port_read(void *dev, uint16_t offset, bool there) {
  return there ? vga_port_read(dev, PORT_CRTC + offset) : 0xff;
}
static uint32_t colour_read(void *dev, uint16_t offset, unsigned size) { return crtc_port_read(dev, offset, colour(dev)); }
static uint32_t mono_read(void *dev, uint16_t offset, unsigned size) { return crtc_port_read(dev, offset, !colour(dev)); }
static void colour_write(void *dev, uint16_t offset, unsigned size, uint32_t value) {
  if (colour(dev)) vga_port_write(dev, PORT_CRTC + offset, (uint8_t)value);
}
static void mono_write(void *dev, uint16_t offset, unsigned size, uint32_t value) {
  if (!colour(dev)) vga_port_write(dev, PORT_CRTC + offset, (uint8_t)value);
}
static uint32_t colour_status_read(void *dev, uint16_t offset, unsigned size) { return colour(dev) ? status_read(dev) : 0xff; }
static uint32_t mono_status_read(void *dev, uint16_t offset, unsigned size) { return colour(dev) ? 0xff : status_read(dev); }
static void colour_status_write(void *dev, uint16_t offset, unsigned size, uint32_t value) {
  if (colour(dev)) vga_port_write(dev, PORT_STATUS, (uint8_t)value);
}
static void mono_status_write(void *dev, uint16_t offset, unsigned size, uint32_t value) {
  if (!colour(dev)) vga_port_write(dev, PORT_STATUS, (uint8_t)value);
}

/* Words alone: the index at 1CEh, the data at 1CFh and, for buses that cannot do that, at 1D0h. */
static uint32_t vbe_port_read(void *dev, uint16_t offset, unsigned size) {
  const struct vga *s = dev;
  return size != 2 ? 0xff : offset ? vbe_read(s, s->vbe_index) : s->vbe_index;
}
static void vbe_port_write(void *dev, uint16_t offset, unsigned size, uint32_t value) {
  struct vga *s = dev;
  if (size != 2) return;
  if (offset) vbe_write(s, s->vbe_index, (uint16_t)value);
  else s->vbe_index = (uint16_t)value;
}

static void add_ports(struct vga *s, struct io_bus *io) {
  static const struct io_ops vga = {read, write, 1}, vbe = {vbe_port_read, vbe_port_write, 2};
  static const struct io_ops crtcs[] = {{mono_read, mono_write, 1}, {colour_read, colour_write, 1}};
  static const struct io_ops statuses[] = {{mono_status_read, mono_status_write, 1},
                                           {colour_status_read, colour_status_write, 1}};
  io_bus_add(io, MONO_CRTC, 2, &crtcs[0], s, "vga");
  io_bus_add(io, MONO_STATUS, 1, &statuses[0], s, "vga");
  io_bus_add(io, PORTS, 16, &vga, s, "vga");
  io_bus_add(io, COLOUR_CRTC, 2, &crtcs[1], s, "vga");
  io_bus_add(io, COLOUR_STATUS, 1, &statuses[1], s, "vga");
  io_bus_add(io, VBE_PORTS, 4, &vbe, s, "vbe");
}

/* ---- the card ---- */

static const struct field fields[] = {PCI_FIELDS(vga, function),
                                      FIELD(vga, r.misc),
                                      FIELD(vga, r.attr_on),
                                      FIELD_ARRAY(vga, r.seq),
                                      FIELD_ARRAY(vga, r.gfx),
                                      FIELD_ARRAY(vga, r.crtc),
                                      FIELD_ARRAY(vga, r.attr),
                                      FIELD(vga, r.dac_mask),
                                      FIELD_ARRAY(vga, r.dac),
                                      FIELD_ARRAY(vga, r.vbe),
                                      FIELD(vga, seq_index),
                                      FIELD(vga, gfx_index),
                                      FIELD(vga, crtc_index),
                                      FIELD(vga, attr_index),
                                      FIELD(vga, feature),
                                      FIELD(vga, attr_data),
                                      FIELD(vga, status),
                                      FIELD(vga, dac_state),
                                      FIELD(vga, dac_read),
                                      FIELD(vga, dac_write),
                                      FIELD(vga, dac_step),
                                      FIELD_ARRAY(vga, dac_cache),
                                      FIELD(vga, vbe_index),
                                      FIELD(vga, latch),
                                      FIELD_END};

static const struct mmu_io_ops registers_ops = {.read = vbe_registers_read, .write = vbe_registers_write};
static const struct pci_info info = {
  .name = "vga",
  .vendor = 0x1234,
  .device = 0x1111,
  .subsystem_vendor = 0x1af4, /* QEMU's, as the rest of its machine has them */
  .subsystem = 0x1100,
  .class_code = 0x030000,
  .revision = 2,
  .region = {[VGA_BAR] = {.size = VGA_MEMORY, .type = PCI_PREFETCHABLE | PCI_REAL},
             [VGA_REGISTERS_BAR] = {.size = MMU_PAGE, .memory = &registers_ops},
             [PCI_ROM] = {.size = VGA_ROM, .type = PCI_REAL}},
};
static const struct pci_info info_without_rom = {
  .name = "vga",
  .vendor = 0x1234,
  .device = 0x1111,
  .subsystem_vendor = 0x1af4,
  .subsystem = 0x1100,
  .class_code = 0x030000,
  .revision = 2,
  .region = {[VGA_BAR] = {.size = VGA_MEMORY, .type = PCI_PREFETCHABLE | PCI_REAL},
             [VGA_REGISTERS_BAR] = {.size = MMU_PAGE, .memory = &registers_ops}},
};

static void reset(void *state) {
  struct vga *s = state;
  pci_function_reset(&s->function);
  s->r = (struct vga_registers){.dac_mask = 0xff, .vbe[VBE_ID] = 0xb0c5};
  s->seq_index = s->gfx_index = s->crtc_index = s->attr_index = s->feature = s->attr_data = s->status = 0;
  s->dac_state = s->dac_read = s->dac_write = s->dac_step = 0;
  memset(s->dac_cache, 0, sizeof s->dac_cache);
  s->vbe_index = 0, s->latch = 0;
  vga_window_update(s);
}

static void loaded(void *state) {
  struct vga *s = state;
  for (unsigned i = 0; i < SEQ_COUNT; i++) s->r.seq[i] &= vga_seq_bits[i];
  for (unsigned i = 0; i < GFX_COUNT; i++) s->r.gfx[i] &= vga_gfx_bits[i];
  for (unsigned i = 0; i < ATTR_COUNT; i++) s->r.attr[i] &= attr_bits(i);
  s->r.misc &= 0xef, s->r.attr_on &= ATTR_ON, s->seq_index &= 7, s->gfx_index &= 15, s->attr_index &= 0x3f, s->feature &= 0x10;
  s->attr_data = s->attr_data != 0, s->dac_step %= 3, s->dac_state &= 3;
  vbe_loaded(s);
  pci_function_loaded(&s->function);
  vga_window_loaded(s);
}

static void destroy(void *state) {
  struct vga *s = state;
  display_connect(s->screen, NULL);
  vga_copy_free(s);
  vga_window_destroy(s);
  pci_detach(&s->function);
}

static uint64_t cells(void *opaque, uint64_t since, struct display_text *text) {
  const struct vga *s = opaque;
  return s->copy ? vga_render_cells(s->copy, since, text) : since;
}
static uint64_t pixels(void *opaque, uint64_t since, struct display_pixels *p) {
  const struct vga *s = opaque;
  return s->copy ? vga_render_pixels(s->copy, since, p) : since;
}

/* The ROM is memory, so that a BIOS copies it at speed; a guest's stores to it go nowhere. */
static void fill_rom(struct vga *s, const struct vga_config *config) {
  struct mmu_area *area = s->function.area[PCI_ROM];
  if (!area) return;
  s->rom = mmu_frame_pointer(s->mmu, mmu_area_frame(area));
  s->rom_size = config->rom_size < VGA_ROM ? config->rom_size : VGA_ROM;
  mmu_area_write(s->mmu, area, 0, config->rom, s->rom_size);
  mmu_set_area_stores(s->mmu, area, MMU_STORES_DROPPED);
}

struct device vga_init(struct vga *s, const struct vga_config *config, uint8_t devfn, struct pci *pci, struct io_bus *io,
                       struct mmu *mmu, struct clock *clock) {
  *s = (struct vga){.mmu = mmu, .io = io, .clock = clock, .screen = config->screen};
  if (!pci_attach(pci, &s->function, devfn, config->rom ? &info : &info_without_rom, s)) return (struct device){0};
  s->dwords = mmu_frame_pointer(mmu, mmu_area_frame(s->function.area[VGA_BAR]));
  vbe_make_edid(s->edid);
  fill_rom(s, config);
  if (!vga_window_init(s)) return destroy(s), (struct device){0};
  reset(s);
  add_ports(s, io);
  const struct display_front front = {.opaque = s, .copy = vga_copy_take, .cells = cells, .pixels = pixels};
  display_connect(s->screen, &front);
  return (struct device){"vga", s, fields, reset, loaded, destroy, 0};
}
