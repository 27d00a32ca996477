/* What the files of the VGA share. Reading order: vga.c (ports, the card), bochs_vbe.c, vga_memory.c (planes at A0000h),
 * vga_window.c (memory there), vga_fast_ports.c, vga_copy.c (what a screen takes), vga_modes.c (what registers mean for a
 * picture), vga_render.c (the copy as pixels), vga_text.c.
 *
 * Video memory is kept as QEMU keeps it, and as a guest that looks at it through BAR 0 sees it: byte 4n + p is byte n of plane p,
 * called dword n here, and the display's address counter counts dwords. With chain-4 on, the CPU's address is the byte's. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "../chips/pci.h"
#include "../backend.h"
#include "vga.h"

enum {
  VGA_MEMORY = 16 << 20,
  VGA_PAGES = VGA_MEMORY / MMU_PAGE,
  VGA_DWORDS = 0x10000, /* of the four planes of 64 KiB that the display's counter reaches outside VBE modes */
  VGA_CELLS = 32 << 10, /* bytes of a text window */
  VGA_CELL_DWORDS = VGA_CELLS / 2,
  VGA_WINDOW = 0x20000, /* all that can answer from A0000h on; text is at B0000h or B8000h */
  VGA_MONO_TEXT = 0x10000,
  VGA_COLOUR_TEXT = 0x18000,
  VGA_ROM = 64 << 10
};

enum { SEQ_RESET, SEQ_CLOCK, SEQ_MAP_MASK, SEQ_FONTS, SEQ_MEMORY, SEQ_COUNT };
enum { CLOCK_8_DOTS = 1, CLOCK_HALF = 8, CLOCK_SCREEN_OFF = 32, MEMORY_CHAIN_4 = 8 };
enum {
  GFX_SET,
  GFX_ENABLE_SET,
  GFX_COMPARE,
  GFX_ROTATE,
  GFX_READ_MAP,
  GFX_MODE,
  GFX_MISC,
  GFX_DONT_CARE,
  GFX_BIT_MASK,
  GFX_COUNT
};
enum { MODE_WRITE = 3, MODE_READ_COMPARE = 8, MODE_ODD_EVEN = 16, MODE_SHIFT = 5 /* its first bit of two */, MISC_GRAPHICS = 1 };
enum {
  CRTC_COLUMNS = 0x01,
  CRTC_TOTAL = 0x06,
  CRTC_OVERFLOW = 0x07,
  CRTC_PRESET = 0x08,
  CRTC_SCAN = 0x09,
  CRTC_CURSOR_START = 0x0a,
  CRTC_CURSOR_END = 0x0b,
  CRTC_START = 0x0c,  /* and 0Dh; high byte first */
  CRTC_CURSOR = 0x0e, /* and 0Fh */
  CRTC_RETRACE = 0x10,
  CRTC_RETRACE_END = 0x11,
  CRTC_DISPLAY_END = 0x12,
  CRTC_OFFSET = 0x13,
  CRTC_UNDERLINE = 0x14,
  CRTC_MODE = 0x17,
  CRTC_LINE_COMPARE = 0x18,
  CRTC_COUNT = 25
};
enum {
  ATTR_MODE = 0x10,
  ATTR_PLANES = 0x12,
  ATTR_PAN = 0x13,
  ATTR_COLOUR = 0x14,
  ATTR_COUNT = 21,
  ATTR_ON = 0x20 /* of its index */
};
enum { ATTR_MONO = 2, ATTR_LINE_GRAPHICS = 4, ATTR_BLINK = 8, ATTR_PAN_TOP_ONLY = 32, ATTR_COLOUR_54 = 128 };
enum { MISC_COLOUR = 1 /* CRTC at 3D4h */, MISC_RAM = 2 };
enum {
  VBE_ID,
  VBE_WIDTH,
  VBE_HEIGHT,
  VBE_BITS,
  VBE_ENABLE,
  VBE_BANK,
  VBE_VIRTUAL_WIDTH,
  VBE_VIRTUAL_HEIGHT,
  VBE_X,
  VBE_Y,
  VBE_COUNT
};
enum { VBE_ENABLED = 1, VBE_GET_CAPS = 2, VBE_8_BIT_DAC = 0x20, VBE_LINEAR = 0x40, VBE_KEEP_MEMORY = 0x80 };

/* All of the registers that a picture depends on, and the memory window. */
struct vga_registers {
  uint8_t misc, attr_on; /* attr_on: ATTR_ON, the display reads memory */
  uint8_t seq[SEQ_COUNT], gfx[GFX_COUNT], crtc[CRTC_COUNT], attr[ATTR_COUNT];
  uint8_t dac_mask, dac[256 * 3];
  uint16_t vbe[VBE_COUNT];
};

/* How the CPU's window is answered. WINDOW_PLANES: by vga_memory_ops, a byte at a time. The others are memory. */
enum vga_layout {
  WINDOW_PLANES,
  WINDOW_LINEAR, /* chain-4 without a map mask: an alias of video memory */
  WINDOW_CELLS   /* odd/even, as text modes have it: memory that holds planes 0 and 1 as long as that is so */
};
struct vga_window {
  enum vga_layout layout;
  uint32_t start, size; /* from A0000h; size 0: nothing answers */
  uint32_t bank;        /* bytes */
  bool chain_4, odd_even;
};

/* What a screen has taken of the card (vga_copy.c). The back end's lock is held around all uses. */
struct vga_copy {
  struct vga_registers r;
  uint8_t *memory;                /* VGA_MEMORY bytes; NULL: no copy was ever taken */
  uint64_t number;                /* of the last copy that was new; 0: none */
  uint64_t registers_at;          /* the number that brought these registers */
  uint64_t page_at[VGA_PAGES];    /* ... and each page of memory */
  uint64_t stale[VGA_PAGES / 64]; /* written, and not copied yet */
};

struct vga {
  struct pci_function function;
  struct vga_registers r;
  uint8_t seq_index, gfx_index, crtc_index, attr_index, feature;
  uint8_t attr_data; /* the next write to 3C0h is a register's value */
  uint8_t status;    /* what the last read of the status register showed, had it been in a text mode */
  uint8_t dac_state, dac_read, dac_write, dac_step, dac_cache[3];
  uint16_t vbe_index;
  uint32_t latch;
  struct mmu *mmu;
  struct io_bus *io;
  struct clock *clock;
  struct vga_window window;        /* follows from the registers */
  const uint32_t *dwords;          /* video memory, to be read */
  struct mmu_area *planes;         /* WINDOW_PLANES: the device, below the others */
  struct mmu_area *cells;          /* WINDOW_CELLS' memory */
  struct mmu_area *cells_shown[2]; /* it at B0000h and at B8000h */
  struct mmu_area *linear;         /* WINDOW_LINEAR's alias, made where the bank says; NULL: none as yet */
  uint32_t linear_bank, linear_size;
  uint8_t edid[128];
  struct display_backend *screen;
  struct mmu_dirty *dirty, *cells_dirty; /* since the first copy */
  struct vga_copy *copy;                 /* NULL: none was taken */
  const uint8_t *rom;                    /* its copy in function.area[PCI_ROM]; NULL: none */
  uint32_t rom_size;
};
enum { VGA_BAR = 0, VGA_REGISTERS_BAR = 2 };

/* vga.c, for the card's registers in memory: byte `offset` from port 3C0h. */
uint8_t vga_port_read(struct vga *s, unsigned offset);
void vga_port_write(struct vga *s, unsigned offset, uint8_t value);

/* bochs_vbe.c. `index` may be any number. */
uint16_t vbe_read(const struct vga *s, unsigned index);
void vbe_write(struct vga *s, unsigned index, uint16_t value);
uint32_t vbe_registers_read(void *opaque, uint64_t offset, unsigned size); /* BAR 2 */
void vbe_registers_write(void *opaque, uint64_t offset, unsigned size, uint32_t value);
void vbe_loaded(struct vga *s); /* registers of a file: in range */
void vbe_make_edid(uint8_t edid[128]);

/* vga_memory.c, which is compiled without x87/SSE and libc (D7): `vga` may be accessed while the guest's FP state is live. */
uint32_t vga_memory_read(void *vga, uint64_t offset, unsigned size);
void vga_memory_write(void *vga, uint64_t offset, unsigned size, uint32_t value);

/* vga_fast_ports.c, which is compiled so, too. */
extern const uint8_t vga_seq_bits[SEQ_COUNT], vga_gfx_bits[GFX_COUNT];
struct vga_window vga_window_wanted(const struct vga_registers *r);
bool vga_window_same(const struct vga_window *a, const struct vga_window *b); /* of what is shown */
bool vga_seq_write(struct vga *s, uint8_t value);                             /* false: vga_window_update() is due */
bool vga_gfx_write(struct vga *s, uint8_t value);
/* An OUT to 3C4h, 3C5h, 3CEh or 3CFh; false: to be done through the bus. */
bool vga_fast_port_write(void *vga, uint16_t port, unsigned size, uint32_t value);

/* vga_window.c */
bool vga_window_init(struct vga *s);   /* false: no memory */
void vga_window_update(struct vga *s); /* after a change of registers: answers as they say */
void vga_window_loaded(struct vga *s); /* the same where memory holds already what it should in this layout */
void vga_window_destroy(struct vga *s);

/* vga_copy.c */
void vga_copy_take(void *vga); /* vCPU thread */
void vga_copy_free(struct vga *s);

/* vga_text.c, vga_render.c: pure functions of the copy; display_front's cells() and pixels(). */
uint64_t vga_render_cells(const struct vga_copy *copy, uint64_t since, struct display_text *text);
uint64_t vga_render_pixels(const struct vga_copy *copy, uint64_t since, struct display_pixels *pixels);

/* ---- what registers mean (vga_modes.c), also of a copy ---- */

/* A mode of the VBE registers; `on` false: the VGA's registers say what there is. */
struct vbe_mode {
  bool on;
  uint32_t width, height;
  unsigned bits;       /* 4, 8, 15, 16, 24, 32 */
  uint32_t line_bytes; /* from a line to the next */
  uint32_t start;      /* byte of the first pixel's; x_bits more pixels to the left are skipped */
};
struct vbe_mode vbe_mode(const struct vga_registers *r);

struct vga_mode {
  enum { VGA_BLANK, VGA_TEXT, VGA_16_COLOURS, VGA_CGA, VGA_256_COLOURS } kind;
  uint32_t width, height;           /* dots, as shown */
  unsigned cell_width, cell_height; /* text */
  unsigned repeat;                  /* times that a pixel is shown side by side */
  uint32_t start, line_dwords;      /* dwords */
  uint32_t compare;                 /* the last line before the split */
  unsigned pan;                     /* pixels */
  bool pan_top_only;
};
struct vga_mode vga_mode(const struct vga_registers *r);
/* The address of line y's first dword, and which line of the cell (or which CGA bank) it shows. */
uint32_t vga_line(const struct vga_registers *r, const struct vga_mode *m, uint32_t y, unsigned *scan);
/* The 16 colours of the attribute controller, and the 256 of the DAC, as xRGB. */
void vga_palette_16(const struct vga_registers *r, uint32_t palette[16]);
void vga_palette_256(const struct vga_registers *r, uint32_t palette[256]);
uint32_t vga_crtc_lines(const struct vga_registers *r); /* of the picture: the vertical display end */
