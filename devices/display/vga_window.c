/* What answers at A0000h-BFFFFh, and where: by the device (vga_memory.c), or by memory wherever that makes no difference but in
 * speed.
 *
 * Chain-4 with all planes open (mode 13h, VBE modes): an alias of video memory. Odd/even with nothing else on the way (text,
 * CGA's four colours): a cell's character and attribute are two planes' bytes and lie 2 bytes apart from the next cell's in the
 * window, 4 in video memory. So the window is memory of its own, s->cells, which holds planes 0 and 1 as long as the registers
 * stay so; they move there and back when that begins and ends, some ten microseconds each. What the layout is follows from the
 * registers alone, so that a saved state needs no more than both memories. Deviations: reads through memory load no latches;
 * planes 0 and 1 are not up to date in BAR 0 in a text mode. */
#include "vga_state.h"
#include <string.h>

enum { WINDOW = 0xa0000 };

/* ---- planes 0 and 1 on their way ---- */

static uint8_t *cell_memory(struct vga *s) { return mmu_frame_pointer(s->mmu, mmu_area_frame(s->cells)); }

/* A page at a time, and only those that differ: what is written counts as changed for a screen. */
static void take_cells(struct vga *s) {
  uint16_t page[MMU_PAGE / 2];
  const uint8_t *cells = cell_memory(s);
  for (uint32_t at = 0; at < VGA_CELLS; at += MMU_PAGE) {
    for (uint32_t i = 0; i < MMU_PAGE / 2; i++) page[i] = (uint16_t)s->dwords[at / 2 + i];
    if (memcmp(page, cells + at, MMU_PAGE)) mmu_area_write(s->mmu, s->cells, at, page, MMU_PAGE);
  }
}

static void give_cells(struct vga *s) {
  uint32_t page[MMU_PAGE / 4];
  const uint16_t *cells = (const uint16_t *)cell_memory(s);
  for (uint32_t dword = 0; dword < VGA_CELL_DWORDS; dword += MMU_PAGE / 4) {
    for (uint32_t i = 0; i < MMU_PAGE / 4; i++) page[i] = (s->dwords[dword + i] & 0xffff0000) | cells[dword + i];
    if (memcmp(page, s->dwords + dword, MMU_PAGE))
      mmu_area_write(s->mmu, s->function.area[VGA_BAR], (uint64_t)dword * 4, page, MMU_PAGE);
  }
}

/* ---- what is shown ---- */

/* An alias is of one part of video memory for life: another bank is another one. NULL: no memory; the device answers then. */
static struct mmu_area *linear_alias(struct vga *s, const struct vga_window *w) {
  uint32_t size = w->bank + w->size > VGA_MEMORY ? 0 : w->size;
  if (s->linear && (s->linear_bank != w->bank || s->linear_size != size)) {
    mmu_remove_area(s->mmu, s->linear);
    s->linear = NULL;
  }
  if (!s->linear && size) {
    s->linear = mmu_add_alias(s->mmu, s->function.area[VGA_BAR], w->bank, size, to_gpa(WINDOW + w->start),
                              MMU_HIDDEN | MMU_LEVEL(MMU_LEVEL_IO));
    s->linear_bank = w->bank, s->linear_size = size;
  }
  return s->linear;
}

static void show(struct vga *s) {
  const struct vga_window *w = &s->window;
  mmu_change_begin(s->mmu);
  for (unsigned i = 0; i < 2; i++)
    mmu_show_area(s->mmu, s->cells_shown[i], w->layout == WINDOW_CELLS && w->start == (i ? VGA_COLOUR_TEXT : VGA_MONO_TEXT));
  if (w->layout == WINDOW_LINEAR && linear_alias(s, w)) {
    mmu_move_area(s->mmu, s->linear, to_gpa(WINDOW + w->start));
    mmu_show_area(s->mmu, s->linear, true);
  } else if (s->linear) {
    mmu_show_area(s->mmu, s->linear, false);
  }
  mmu_change_end(s->mmu);
}

void vga_window_update(struct vga *s) {
  const struct vga_window was = s->window;
  s->window = vga_window_wanted(&s->r);
  if (vga_window_same(&was, &s->window)) return;
  if (was.layout == WINDOW_CELLS && s->window.layout != WINDOW_CELLS) give_cells(s);
  if (was.layout != WINDOW_CELLS && s->window.layout == WINDOW_CELLS) take_cells(s);
  show(s);
}

void vga_window_loaded(struct vga *s) {
  s->window = vga_window_wanted(&s->r);
  show(s);
}

/* ---- life ---- */

bool vga_window_init(struct vga *s) {
  static const struct mmu_io_ops ops = {.read = vga_memory_read, .write = vga_memory_write};
  s->planes = mmu_add_io(s->mmu, to_gpa(WINDOW), VGA_WINDOW, &ops, s);
  if (!s->planes) return false;
  mmu_set_io_plain(s->planes);
  s->cells = mmu_add_memory(s->mmu, to_gpa(0), VGA_CELLS, MMU_HIDDEN);
  for (unsigned i = 0; i < 2 && s->cells; i++)
    s->cells_shown[i] = mmu_add_alias(s->mmu, s->cells, 0, VGA_CELLS, to_gpa(WINDOW + (i ? VGA_COLOUR_TEXT : VGA_MONO_TEXT)),
                                      MMU_HIDDEN | MMU_LEVEL(MMU_LEVEL_IO));
  return s->cells_shown[0] && s->cells_shown[1];
}

void vga_window_destroy(struct vga *s) {
  struct mmu_area *const areas[] = {s->linear, s->cells_shown[0], s->cells_shown[1], s->cells, s->planes};
  mmu_change_begin(s->mmu);
  for (unsigned i = 0; i < sizeof areas / sizeof *areas; i++)
    if (areas[i]) mmu_remove_area(s->mmu, areas[i]);
  mmu_change_end(s->mmu);
}
