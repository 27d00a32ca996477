/* Between vga_render.c and vga_text.c. */
#pragma once
#include "vga_state.h"

/* What is the same for all lines of a picture. */
struct vga_draw {
  struct vbe_mode vbe;
  struct vga_mode mode;
  uint32_t palette[256];
  struct display_cursor cursor;
  unsigned how; /* enum display_how */
};
struct display_geometry vga_geometry(const struct vga_copy *copy); /* zeros: no copy was taken */
struct display_geometry vga_text_geometry(const struct vga_registers *r);
struct display_cursor vga_cursor(const struct vga_registers *r, const struct vga_mode *m, unsigned columns, unsigned rows);
void vga_text_row(const struct vga_copy *c, const struct vga_mode *m, unsigned row, unsigned columns, struct display_cell *cells);
void vga_draw_text_line(const struct vga_copy *c, const struct vga_draw *d, uint32_t y, uint32_t *to); /* to: mode.width pixels */
uint32_t vga_pixel_line(const struct vga_registers *r, const struct vga_mode *m, uint32_t y);          /* vga_modes.c */
