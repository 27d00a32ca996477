/* A ring-0 image that sets one mode of the VGA by its registers, draws into it through the window or the linear framebuffer,
 * says "ready: NAME" on COM1 and stops. The word on its command line says which; tests/screens/run compares what QEMU and bt
 * show.
 *
 * Register values are those of IBM's VGA BIOS modes, and Abrash's for mode X (Graphics Programming Black Book, chapter 47). */
#include "lib/metal.h"

typedef void draw_fn(void);
struct registers {
  uint8_t misc, seq[5], crtc[25], gfx[9], attr[21];
};

/* ---- ports ---- */

static void set(uint16_t port, unsigned index, unsigned value) { outw(port, (uint16_t)(value << 8 | index)); }
static void seq(unsigned index, unsigned value) { set(0x3c4, index, value); }
static void gfx(unsigned index, unsigned value) { set(0x3ce, index, value); }
static void crtc(unsigned index, unsigned value) { set(0x3d4, index, value); }
static void attr(uint8_t index, uint8_t value) {
  inb(0x3da);
  outb(0x3c0, index), outb(0x3c0, value), outb(0x3c0, 0x20);
}
static void vbe(uint16_t index, uint16_t value) { outw(0x1ce, index), outw(0x1cf, value); }

/* All 256 colours differ. */
static void load_palette(unsigned mask) {
  outb(0x3c6, 0xff), outb(0x3c8, 0);
  for (unsigned i = 0; i < 256; i++)
    outb(0x3c9, (uint8_t)(i * 5 & mask)), outb(0x3c9, (uint8_t)((i * 11 ^ i >> 3) & mask)),
      outb(0x3c9, (uint8_t)((255 - i) * 7 & mask));
}

static void load(const struct registers *r) {
  outb(0x3c2, r->misc);
  for (unsigned i = 0; i < 5; i++) seq(i, r->seq[i]);
  crtc(0x11, 0);
  for (unsigned i = 0; i < 25; i++) crtc(i, r->crtc[i]);
  for (unsigned i = 0; i < 9; i++) gfx(i, r->gfx[i]);
  for (unsigned i = 0; i < 21; i++) attr((uint8_t)i, r->attr[i]);
  load_palette(0x3f);
}

static volatile uint8_t *const window = (volatile uint8_t *)0xa0000, *const text = (volatile uint8_t *)0xb8000;

/* ---- text ---- */

static const struct registers text_80 = {
  0x67,
  {0x03, 0x00, 0x03, 0x00, 0x02},
  {0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x2d, 0x0e, 0x00,
   0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff},
  {0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0e, 0x00, 0xff},
  {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x0c, 0x00, 0x0f, 0x08, 0x00}};
static const struct registers text_40 = {
  0x67,
  {0x03, 0x08, 0x03, 0x00, 0x02},
  {0x2d, 0x27, 0x28, 0x90, 0x2b, 0xa0, 0xbf, 0x1f, 0x00, 0x4f, 0x2d, 0x0e, 0x00,
   0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x14, 0x1f, 0x96, 0xb9, 0xa3, 0xff},
  {0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0e, 0x00, 0xff},
  {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x0c, 0x00, 0x0f, 0x08, 0x00}};

/* Glyphs that tell which they are, in both fonts: into plane 2, as a BIOS does it. */
static void load_font(uint32_t offset, unsigned salt) {
  seq(2, 4), seq(4, 6), gfx(4, 2), gfx(5, 0), gfx(6, 4);
  for (unsigned c = 0; c < 256; c++)
    for (unsigned line = 0; line < 32; line++)
      window[offset + c * 32 + line] = (uint8_t)(line == 0 ? 0x01 : line == 15 ? 0xff : c * (line | 1) * salt ^ c >> line % 8);
  seq(2, 3), seq(4, 2), gfx(4, 0), gfx(5, 0x10), gfx(6, 0x0e);
}

/* Without blinking, which QEMU does not show. */
static void fill_text(unsigned cells) {
  for (unsigned i = 0; i < cells; i++) text[2 * i] = (uint8_t)i, text[2 * i + 1] = (uint8_t)((i / 3 + i / 256 * 5) & 0x7f);
}

static void draw_text_80(void) {
  load(&text_80);
  load_font(0, 37);
  fill_text(80 * 25);
}
static void draw_text_40(void) {
  load(&text_40);
  load_font(0, 37);
  fill_text(40 * 25);
}
static void draw_text_8_dots(void) {
  draw_text_80();
  seq(1, 1);
}
static void draw_text_50_rows(void) {
  load(&text_80);
  load_font(0, 37);
  crtc(9, 0x47);
  fill_text(80 * 50);
}
static void draw_text_scrolled(void) {
  draw_text_80();
  fill_text(80 * 60);
  crtc(0x0c, 80 * 7 >> 8), crtc(0x0d, (80 * 7 + 3) & 0xff), crtc(0x13, 0x30);
}
static void draw_text_two_fonts(void) {
  draw_text_80();
  load_font(0x4000, 101), load_font(0x6000, 59);
  seq(3, 0x24); /* attributes without bit 3: at 0; with it: the second, with bit 5: at 6000h */
}
static void draw_text_palette(void) {
  draw_text_80();
  attr(0x14, 0x05), attr(0x10, 0x84);
}

/* ---- 16 colours ---- */

static const struct registers mode_12 = {
  0xe3,
  {0x03, 0x01, 0x0f, 0x00, 0x06},
  {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0x00, 0x40, 0x00, 0x00, 0x00,
   0x00, 0x00, 0x00, 0xea, 0x8c, 0xdf, 0x28, 0x00, 0xe7, 0x04, 0xe3, 0xff},
  {0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x05, 0x0f, 0xff},
  {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x01, 0x00, 0x0f, 0x00, 0x00}};
static const struct registers mode_10 = {
  0xa3,
  {0x03, 0x01, 0x0f, 0x00, 0x06},
  {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0x00, 0x40, 0x00, 0x00, 0x00,
   0x00, 0x00, 0x00, 0x83, 0x85, 0x5d, 0x28, 0x0f, 0x63, 0xba, 0xe3, 0xff},
  {0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x05, 0x0f, 0xff},
  {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x01, 0x00, 0x0f, 0x00, 0x00}};
static const struct registers mode_0d = {
  0x63,
  {0x03, 0x09, 0x0f, 0x00, 0x06},
  {0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0x00, 0xc0, 0x00, 0x00, 0x00,
   0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x14, 0x00, 0x96, 0xb9, 0xe3, 0xff},
  {0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x05, 0x0f, 0xff},
  {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x01, 0x00, 0x0f, 0x00, 0x00}};

/* Bytes of each plane by itself: the map mask. */
static void fill_planes(unsigned bytes) {
  for (unsigned plane = 0; plane < 4; plane++) {
    seq(2, 1 << plane);
    for (unsigned i = 0; i < bytes; i++) window[i] = (uint8_t)((i * (plane * 2 + 3)) ^ i >> (plane + 4));
  }
  seq(2, 15);
}

static void draw_mode_12(void) {
  load(&mode_12);
  fill_planes(80 * 480);
}
static void draw_mode_10(void) {
  load(&mode_10);
  fill_planes(80 * 350);
}
static void draw_mode_0d(void) {
  load(&mode_0d);
  fill_planes(40 * 200);
}

/* Pixels, lines, boxes and copies as programs draw them: write modes 0 to 3, logic, rotation, set/reset, latches. */
static void draw_write_modes(void) {
  load(&mode_12);
  fill_planes(80 * 480);
  gfx(5, 2);
  for (unsigned i = 0; i < 640; i++) { /* write mode 2: a pixel a store */
    gfx(8, 0x80 >> (i & 7));
    volatile uint8_t *at = window + (i * 3 / 4) * 80 + i / 8;
    (void)*at;
    *at = (uint8_t)(i >> 3);
  }
  gfx(5, 0), gfx(8, 0xff);
  for (unsigned function = 0; function < 4; function++)
    for (unsigned y = 0; y < 60; y++)
      for (unsigned x = 0; x < 16; x++) {
        gfx(3, function << 3 | (x & 7)), gfx(0, y & 15), gfx(1, x & 15), gfx(8, 0xff >> (y & 7));
        volatile uint8_t *at = window + (y + function * 70) * 80 + 10 + x;
        (void)*at;
        *at = (uint8_t)(x * 17 + y);
      }
  gfx(3, 3), gfx(1, 0), gfx(8, 0x7e), gfx(0, 0x0a), gfx(5, 3);
  for (unsigned i = 0; i < 80 * 40; i++) { /* write mode 3: text in graphics */
    (void)window[80 * 300 + i];
    window[80 * 300 + i] = (uint8_t)(i * 7);
  }
  gfx(3, 0), gfx(8, 0xff), gfx(5, 1);
  for (unsigned i = 0; i < 80 * 100; i++) window[80 * 380 + i] = window[80 * 20 + i]; /* write mode 1 */
  gfx(5, 8), gfx(2, 5), gfx(7, 13); /* read mode 1: where is colour 5, plane 1 aside? */
  for (unsigned i = 0; i < 80 * 20; i++) {
    uint8_t found = window[80 * 100 + i];
    gfx(5, 0);
    window[80 * 340 + i] = found;
    gfx(5, 8);
  }
  gfx(5, 0);
}

static void draw_panned(void) {
  load(&mode_12);
  fill_planes(80 * 480);
  attr(0x13, 5);
}
static void draw_split(void) {
  load(&mode_12);
  fill_planes(0x10000);
  crtc(0x18, 200), crtc(7, 0x2e), crtc(9, 0x00);
  crtc(0x0c, 0x20), crtc(0x0d, 0x11);
}

/* ---- CGA's ---- */

static const struct registers mode_4 = {
  0x63,
  {0x03, 0x09, 0x03, 0x00, 0x02},
  {0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0x00, 0xc1, 0x00, 0x00, 0x00,
   0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x14, 0x00, 0x96, 0xb9, 0xa2, 0xff},
  {0x00, 0x00, 0x00, 0x00, 0x00, 0x30, 0x0f, 0x00, 0xff},
  {0x00, 0x13, 0x15, 0x17, 0x02, 0x04, 0x06, 0x07, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x01, 0x00, 0x03, 0x00, 0x00}};
static const struct registers mode_6 = {
  0x63,
  {0x03, 0x01, 0x01, 0x00, 0x06},
  {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0x00, 0xc1, 0x00, 0x00, 0x00,
   0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x00, 0x96, 0xb9, 0xc2, 0xff},
  {0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0d, 0x00, 0xff},
  {0x00, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x01, 0x00, 0x01, 0x00, 0x00}};

/* Even lines are in the first 8 KiB, odd ones in the second. */
static void fill_cga(void) {
  for (unsigned y = 0; y < 200; y++)
    for (unsigned x = 0; x < 80; x++) text[(y & 1) * 0x2000 + y / 2 * 80 + x] = (uint8_t)(x * y + (x ^ y >> 1));
}
static void draw_mode_4(void) {
  load(&mode_4);
  fill_cga();
}
static void draw_mode_6(void) {
  load(&mode_6);
  fill_cga();
}

/* ---- 256 colours ---- */

static const struct registers mode_13 = {
  0x63,
  {0x03, 0x01, 0x0f, 0x00, 0x0e},
  {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0x00, 0x41, 0x00, 0x00, 0x00,
   0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x40, 0x96, 0xb9, 0xa3, 0xff},
  {0x00, 0x00, 0x00, 0x00, 0x00, 0x40, 0x05, 0x0f, 0xff},
  {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x41, 0x00, 0x0f, 0x00, 0x00}};

static void draw_mode_13(void) {
  load(&mode_13);
  for (unsigned i = 0; i < 64000; i++) window[i] = (uint8_t)(i + i / 320 * 3);
}

/* 320x240, a plane for each pixel of four, three pages. */
static void set_mode_x(void) {
  static const uint8_t changes[][2] = {{0x06, 0x0d}, {0x07, 0x3e}, {0x09, 0x41}, {0x10, 0xea}, {0x11, 0xac},
                                       {0x12, 0xdf}, {0x14, 0x00}, {0x15, 0xe7}, {0x16, 0x06}, {0x17, 0xe3}};
  load(&mode_13);
  seq(4, 6), outb(0x3c2, 0xe3), crtc(0x11, 0);
  for (unsigned i = 0; i < sizeof changes / sizeof *changes; i++) crtc(changes[i][0], changes[i][1]);
}
static void draw_mode_x(void) {
  set_mode_x();
  for (unsigned plane = 0; plane < 4; plane++) {
    seq(2, 1 << plane);
    for (unsigned i = 0; i < 80 * 240; i++) window[i] = (uint8_t)(i * 4 + plane + i / 80);
  }
}
static void draw_mode_x_page(void) {
  draw_mode_x();
  seq(2, 15), gfx(5, 0x41);
  for (unsigned i = 0; i < 80 * 240; i++) window[80 * 240 + i] = window[80 * 239 - i / 80 * 80 + i % 80]; /* upside down */
  gfx(5, 0x40), seq(2, 5);
  for (unsigned i = 0; i < 80 * 100; i++) window[80 * 280 + i] = (uint8_t)(i >> 4);
  crtc(0x0c, 80 * 240 >> 8), crtc(0x0d, (uint8_t)(80 * 240));
}
static void draw_mode_13_planes(void) {
  draw_mode_13();
  seq(2, 6); /* chain-4 with a map mask */
  for (unsigned i = 10000; i < 40000; i++) window[i] = (uint8_t)(i >> 6);
}

/* ---- VBE ---- */

static uint32_t framebuffer(void) {
  outl(0xcf8, 0x80001010);
  return inl(0xcfc) & ~15u;
}
static void set_vbe(unsigned width, unsigned height, unsigned bits, unsigned more) {
  load(&text_80);
  vbe(4, 0), vbe(1, (uint16_t)width), vbe(2, (uint16_t)height), vbe(3, (uint16_t)bits), vbe(4, (uint16_t)(1 | more));
}
static void fill_linear(unsigned bytes) {
  volatile uint32_t *at = (volatile uint32_t *)framebuffer();
  for (unsigned i = 0; i < bytes / 4; i++) at[i] = i * 0x01030507u ^ i << 13;
}
static void draw_vbe_8(void) { set_vbe(640, 480, 8, 0x40), fill_linear(640 * 480); }
static void draw_vbe_15(void) { set_vbe(640, 480, 15, 0x40), fill_linear(640 * 480 * 2); }
static void draw_vbe_16(void) { set_vbe(640, 480, 16, 0x40), fill_linear(640 * 480 * 2); }
static void draw_vbe_24(void) { set_vbe(640, 480, 24, 0x40), fill_linear(640 * 480 * 3); }
static void draw_vbe_32(void) { set_vbe(640, 480, 32, 0x40), fill_linear(640 * 480 * 4); }
static void draw_vbe_large(void) { set_vbe(1920, 1080, 32, 0x40), fill_linear(1920 * 1080 * 4); }
static void draw_vbe_dac_8(void) {
  set_vbe(320, 200, 8, 0x60);
  load_palette(0xff);
  fill_linear(320 * 200);
}
static void draw_vbe_banks(void) {
  set_vbe(800, 600, 16, 0);
  for (unsigned i = 0; i < 800 * 600; i++) {
    if (i % 0x8000 == 0) vbe(5, (uint16_t)(i / 0x8000));
    ((volatile uint16_t *)window)[i % 0x8000] = (uint16_t)(i * 3 + i / 800);
  }
}
static void draw_vbe_virtual(void) {
  set_vbe(640, 400, 8, 0x40);
  vbe(6, 1000);
  fill_linear(1000 * 700);
  vbe(8, 124), vbe(9, 77); /* QEMU counts by 4 pixels */
}
static void draw_vbe_4(void) {
  set_vbe(800, 600, 4, 0);
  gfx(5, 0); /* no odd/even any more */
  fill_planes(100 * 600);
}
static void draw_vbe_and_back(void) {
  draw_vbe_32();
  vbe(4, 0);
  draw_text_80();
}

static void draw_nothing(void) {
  draw_text_80();
  inb(0x3da);
  outb(0x3c0, 0); /* the palette is the CPU's: no picture */
}

/* ---- which ---- */

static const struct {
  const char *name;
  draw_fn *draw;
} modes[] = {{"text_80", draw_text_80},
             {"text_40", draw_text_40},
             {"text_8_dots", draw_text_8_dots},
             {"text_50_rows", draw_text_50_rows},
             {"text_scrolled", draw_text_scrolled},
             {"text_two_fonts", draw_text_two_fonts},
             {"text_palette", draw_text_palette},
             {"mode_12", draw_mode_12},
             {"mode_10", draw_mode_10},
             {"mode_0d", draw_mode_0d},
             {"write_modes", draw_write_modes},
             {"panned", draw_panned},
             {"split", draw_split},
             {"mode_4", draw_mode_4},
             {"mode_6", draw_mode_6},
             {"mode_13", draw_mode_13},
             {"mode_13_planes", draw_mode_13_planes},
             {"mode_x", draw_mode_x},
             {"mode_x_page", draw_mode_x_page},
             {"vbe_8", draw_vbe_8},
             {"vbe_15", draw_vbe_15},
             {"vbe_16", draw_vbe_16},
             {"vbe_24", draw_vbe_24},
             {"vbe_32", draw_vbe_32},
             {"vbe_large", draw_vbe_large},
             {"vbe_dac_8", draw_vbe_dac_8},
             {"vbe_banks", draw_vbe_banks},
             {"vbe_virtual", draw_vbe_virtual},
             {"vbe_4", draw_vbe_4},
             {"vbe_and_back", draw_vbe_and_back},
             {"nothing", draw_nothing}};

/* The last word of the Multiboot command line; both loaders put the kernel's name in front. */
static bool asked_for(const char *name) {
  const char *line = *(const char **)(entry_ebx + 16), *word = line;
  for (; *line; line++)
    if (*line == ' ') word = line + 1;
  while (*name && *name == *word) name++, word++;
  return !*name && !*word;
}

/* Without isa-debug-exit (QEMU, whose screen is looked at then) the image stays. */
void test_main(void) {
  for (unsigned i = 0; i < sizeof modes / sizeof *modes; i++) {
    if (!asked_for(modes[i].name)) continue;
    modes[i].draw();
    print("ready: %s\n", modes[i].name);
    outb(0xf4, 1);
    for (;;) __asm__ volatile("cli; hlt");
  }
  panic("no such mode");
}
