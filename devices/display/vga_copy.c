/* What a screen takes of the card: registers, and those pages of video memory that the picture can lie in and that have been
 * written since. In the vCPU thread, with the back end's lock held; whoever draws uses the copy alone.
 *
 * Nothing is watched before the first copy, and between two copies a page costs its first store (mmu_dirty_start()). Video memory
 * that is not seen is not copied, but remembered as stale. Outside VBE modes all of the four planes is what can be seen. */
#include "vga_state.h"
#include <stdlib.h>
#include <string.h>

enum { PLANE_PAGES = VGA_DWORDS * 4 / MMU_PAGE, CELL_PAGES = VGA_CELLS / MMU_PAGE, CELL_DWORDS_A_PAGE = MMU_PAGE / 2 };

static bool begin(struct vga *s) {
  if (s->copy) return true;
  struct vga_copy *copy = calloc(1, sizeof *copy);
  if (copy) copy->memory = calloc(1, VGA_MEMORY);
  s->dirty = copy && copy->memory ? mmu_dirty_start(s->mmu, s->function.area[VGA_BAR], 0, VGA_MEMORY) : NULL;
  s->cells_dirty = s->dirty ? mmu_dirty_start(s->mmu, s->cells, 0, VGA_CELLS) : NULL;
  if (!s->cells_dirty) {
    if (s->dirty) mmu_dirty_stop(s->mmu, s->dirty);
    if (copy) free(copy->memory);
    free(copy);
    return false;
  }
  memset(copy->stale, 0xff, sizeof copy->stale);
  s->copy = copy;
  return true;
}

/* Pages [first, end) that can be seen. */
static void seen_pages(const struct vga_registers *r, uint32_t *first, uint32_t *end) {
  const struct vbe_mode m = vbe_mode(r);
  *first = 0, *end = PLANE_PAGES;
  if (!m.on) return;
  uint64_t last = m.start + (uint64_t)m.line_bytes * m.height;
  *first = m.start / MMU_PAGE;
  *end = last >= VGA_MEMORY ? VGA_PAGES : (uint32_t)(last / MMU_PAGE + 1);
}

static void collect(struct vga *s) {
  uint64_t written[VGA_PAGES / 64];
  if (!mmu_dirty_collect(s->mmu, s->dirty, written)) return;
  for (unsigned i = 0; i < VGA_PAGES / 64; i++) s->copy->stale[i] |= written[i];
}

/* True: some page of planes that cells lie in was copied. */
static bool copy_pages(struct vga *s, uint32_t first, uint32_t end) {
  struct vga_copy *c = s->copy;
  bool cells = false;
  for (uint32_t page = first; page < end; page++) {
    if (!(c->stale[page / 64] >> (page % 64) & 1)) continue;
    c->stale[page / 64] &= ~(1ull << (page % 64));
    memcpy(c->memory + page * MMU_PAGE, (const uint8_t *)s->dwords + page * MMU_PAGE, MMU_PAGE);
    c->page_at[page] = c->number + 1;
    cells |= page < VGA_CELL_DWORDS * 4 / MMU_PAGE;
  }
  return cells;
}

/* A page of cells is two pages of planes 0 and 1. */
static void spread_cells(struct vga *s, unsigned cell_page) {
  struct vga_copy *c = s->copy;
  const uint8_t *from = (const uint8_t *)mmu_frame_pointer(s->mmu, mmu_area_frame(s->cells)) + cell_page * MMU_PAGE;
  uint8_t *to = c->memory + cell_page * 2 * MMU_PAGE;
  for (uint32_t i = 0; i < CELL_DWORDS_A_PAGE; i++) memcpy(to + 4 * i, from + 2 * i, 2);
  c->page_at[cell_page * 2] = c->page_at[cell_page * 2 + 1] = c->number + 1;
}

static void copy_cells(struct vga *s, bool all) {
  uint64_t written = 0;
  mmu_dirty_collect(s->mmu, s->cells_dirty, &written);
  if (s->window.layout != WINDOW_CELLS) return;
  if (all) written = (1 << CELL_PAGES) - 1;
  for (unsigned page = 0; page < CELL_PAGES; page++)
    if (written >> page & 1) spread_cells(s, page);
}

static bool any_changed(const struct vga_copy *c, uint32_t first, uint32_t end) {
  for (uint32_t page = first; page < end; page++)
    if (c->page_at[page] > c->number) return true;
  return false;
}

void vga_copy_take(void *vga) {
  struct vga *s = vga;
  uint32_t first, end;
  if (!begin(s)) return;
  struct vga_copy *c = s->copy;
  bool registers = !c->number || memcmp(&c->r, &s->r, sizeof s->r);
  seen_pages(&s->r, &first, &end);
  collect(s);
  bool planes = copy_pages(s, first, end);
  copy_cells(s, planes || registers);
  if (registers) c->r = s->r, c->registers_at = c->number + 1;
  if (registers || any_changed(c, first, end)) c->number++;
}

void vga_copy_free(struct vga *s) {
  if (!s->copy) return;
  mmu_dirty_stop(s->mmu, s->dirty);
  mmu_dirty_stop(s->mmu, s->cells_dirty);
  free(s->copy->memory);
  free(s->copy);
  s->copy = NULL;
}
