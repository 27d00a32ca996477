// Chips that move memory, on the real mmu: the host bridge's PAM and SMRAM, PCI functions with memory of their own.
// Run only this: build/unit/test_dev_memory
// link: bt_devices bt_mmu
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "devices/chips/i440fx.h"
#include "devices/chips/pci.h"
#include "mmu/mmu.h"

enum { RAM_MIB = 8, VRAM = 1 << 20, VRAM_BAR = 0, SLOT = 2, COMMAND = 4 };

static const struct pci_info card_info = {
  .name = "card",
  .vendor = 0x1234,
  .device = 0x1111,
  .class_code = 0x030000,
  .region = {[VRAM_BAR] = {.size = VRAM, .type = PCI_PREFETCHABLE | PCI_REAL}},
};

struct board {
  struct mmu *mmu;
  struct io_bus *io;
  struct pci pci;
  struct i440fx host;
  struct pci_function card;
  struct device devices[2];
};

static int setup(void **state) {
  struct board *b = calloc(1, sizeof *b);
  const char *error;
  b->mmu = mmu_create(&(struct mmu_config){.ram_size = RAM_MIB << 20}, &error);
  assert_non_null(b->mmu);
  b->io = io_bus_create();
  b->devices[0] = pci_init(&b->pci, b->io, b->mmu, (struct irq_line){0});
  b->devices[1] = i440fx_init(&b->host, &b->pci, b->mmu, NULL);
  assert_non_null(b->devices[1].name);
  assert_true(pci_attach(&b->pci, &b->card, pci_devfn(SLOT, 0), &card_info, b));
  *state = b;
  return 0;
}

static int teardown(void **state) {
  struct board *b = *state;
  for (unsigned i = 2; i-- > 0;) b->devices[i].destroy(b->devices[i].state);
  assert_null(mmu_check(b->mmu));
  io_bus_destroy(b->io);
  mmu_destroy(b->mmu);
  free(b);
  return 0;
}

static void config(struct board *b, unsigned slot, unsigned reg, unsigned size, uint32_t value) {
  io_bus_write(b->io, 0xcf8, 4, 0x80000000u | slot << 11 | (reg & 0xfc));
  io_bus_write(b->io, (uint16_t)(0xcfc + (reg & 3)), size, value);
}
static uint32_t get(struct board *b, uint64_t addr) {
  uint32_t value;
  mmu_phys_read(b->mmu, to_gpa(addr), &value, 4);
  return value;
}
static void put(struct board *b, uint64_t addr, uint32_t value) { mmu_phys_write(b->mmu, to_gpa(addr), &value, 4); }
static uint32_t ram(struct board *b, uint64_t addr) {
  uint32_t value;
  memcpy(&value, (uint8_t *)mmu_frame_pointer(b->mmu, mmu_area_frame(mmu_ram_area(b->mmu))) + addr, 4);
  return value;
}

/* The register and the half of it for each of the thirteen parts. */
static const struct part {
  uint32_t base, size, reg, shift;
} parts[] = {
  {0xc0000, 0x4000, 0x5a, 0},  {0xc4000, 0x4000, 0x5a, 4}, {0xc8000, 0x4000, 0x5b, 0}, {0xcc000, 0x4000, 0x5b, 4},
  {0xd0000, 0x4000, 0x5c, 0},  {0xd4000, 0x4000, 0x5c, 4}, {0xd8000, 0x4000, 0x5d, 0}, {0xdc000, 0x4000, 0x5d, 4},
  {0xe0000, 0x4000, 0x5e, 0},  {0xe4000, 0x4000, 0x5e, 4}, {0xe8000, 0x4000, 0x5f, 0}, {0xec000, 0x4000, 0x5f, 4},
  {0xf0000, 0x10000, 0x59, 4},
};
enum { PARTS = sizeof parts / sizeof *parts, READ = 1, WRITE = 2 };

static void pam_chooses_reads_and_stores_by_part(void **state) {
  struct board *b = *state;
  for (unsigned n = 0; n < PARTS; n++)
    for (unsigned mode = 0; mode < 4; mode++) {
      const struct part *p = &parts[n];
      uint32_t last = p->base + p->size - 4, before = ram(b, last), mark = 0x1000u * n + mode + 1;
      config(b, 0, p->reg, 1, mode << p->shift);
      assert_int_equal(get(b, last), mode & READ ? before : 0xffffffff);
      put(b, last, mark);
      assert_int_equal(ram(b, last), mode & WRITE ? mark : before);
      assert_int_equal(get(b, last), mode & READ ? ram(b, last) : 0xffffffff);
      if (n + 1 < PARTS) assert_int_equal(get(b, last + 4), 0xffffffff); /* the next part is closed as at power-on */
      config(b, 0, p->reg, 1, 0);
    }
}

static void smram_lies_over_the_vga_window_when_open(void **state) {
  struct board *b = *state;
  assert_int_equal(get(b, 0xa0000), 0xffffffff);
  config(b, 0, 0x72, 1, 0x4a);
  put(b, 0xa0000, 0x5a5a1234), put(b, 0xbfffc, 7);
  assert_int_equal(get(b, 0xa0000), 0x5a5a1234);
  config(b, 0, 0x72, 1, 0x0a);
  assert_int_equal(get(b, 0xa0000), 0xffffffff);
  assert_int_equal(ram(b, 0xbfffc), 7);
}

static void a_reset_and_a_load_bring_back_what_the_registers_say(void **state) {
  struct board *b = *state;
  config(b, 0, 0x59, 1, 0x30);
  put(b, 0xffff0, 0x600dcafe);
  uint8_t saved[PCI_CONFIG];
  memcpy(saved, b->host.function.config, sizeof saved);
  b->devices[1].reset(b->devices[1].state);
  assert_int_equal(get(b, 0xffff0), 0xffffffff);
  memcpy(b->host.function.config, saved, sizeof saved);
  b->devices[1].loaded(b->devices[1].state);
  assert_int_equal(get(b, 0xffff0), 0x600dcafe);
}

static void a_bar_of_real_memory_moves_with_what_it_holds(void **state) {
  struct board *b = *state;
  const uint32_t first = 0xe0000000, second = 0xe8000000;
  assert_int_equal(pci_get(&b->card, 0x10, 4), 8); /* prefetchable memory, and nothing else of the type shows */
  config(b, SLOT, 0x10, 4, first);
  assert_int_equal(get(b, first), 0xffffffff); /* not decoded yet */
  config(b, SLOT, COMMAND, 2, PCI_COMMAND_MEMORY);
  put(b, first + VRAM - 4, 0x1234abcd);
  assert_int_equal(get(b, first + VRAM - 4), 0x1234abcd);
  struct mmu_dirty *dirty = mmu_dirty_start(b->mmu, b->card.area[VRAM_BAR], 0, VRAM);
  config(b, SLOT, 0x10, 4, second);
  assert_int_equal(get(b, first + VRAM - 4), 0xffffffff);
  assert_int_equal(get(b, second + VRAM - 4), 0x1234abcd);
  put(b, second + 0x5000, 1);
  uint64_t bitmap[VRAM / MMU_PAGE / 64];
  assert_int_equal(mmu_dirty_collect(b->mmu, dirty, bitmap), 1);
  assert_int_equal(bitmap[0], 1 << 5);
  config(b, SLOT, COMMAND, 2, 0);
  assert_int_equal(get(b, second + 0x5000), 0xffffffff);
  mmu_dirty_stop(b->mmu, dirty);
}

static void a_bar_on_ram_is_not_decoded(void **state) {
  struct board *b = *state;
  config(b, SLOT, COMMAND, 2, PCI_COMMAND_MEMORY);
  put(b, 0x200000, 99);
  config(b, SLOT, 0x10, 4, 0x200000);
  assert_int_equal(get(b, 0x200000), 99);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(pam_chooses_reads_and_stores_by_part, setup, teardown),
    cmocka_unit_test_setup_teardown(smram_lies_over_the_vga_window_when_open, setup, teardown),
    cmocka_unit_test_setup_teardown(a_reset_and_a_load_bring_back_what_the_registers_say, setup, teardown),
    cmocka_unit_test_setup_teardown(a_bar_of_real_memory_moves_with_what_it_holds, setup, teardown),
    cmocka_unit_test_setup_teardown(a_bar_on_ram_is_not_decoded, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
