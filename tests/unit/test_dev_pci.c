// The PCI bus and its bridges, with cards of the test's own. Run only this: build/unit/test_dev_pci
// link: bt_devices
#include "test_dev_rig.h"
#include "devices/chips/i440fx.h"
#include "devices/chips/piix3.h"
#include "devices/map.h"

enum { IO_BAR, MEMORY_BAR, WIDE_BAR /* and 3 */, NO_BAR = 4, CAP_POWER = 0x44, CAP_VENDOR = 0x80 };
enum { PORTS = 32, WINDOW = 0x4000, WIDE = 1 << 20, ROM = 0x1000 };

struct card {
  struct pci_function function;
  unsigned moves, enables, disables, writes;
  uint32_t last;
};

static uint32_t io_read(void *dev, uint16_t offset, unsigned size) { return 0x40u + offset; }
static void io_write(void *dev, uint16_t offset, unsigned size, uint32_t value) { ((struct card *)dev)->last = value; }
static uint32_t memory_read(void *dev, uint64_t offset, unsigned size) { return 0xabc00000u | (uint32_t)offset; }
static void memory_write(void *dev, uint64_t offset, unsigned size, uint32_t value) { ((struct card *)dev)->last = value; }
static void written(void *dev, unsigned offset, unsigned size) { ((struct card *)dev)->writes++; }
static void moved(void *dev, unsigned region, uint64_t from, uint64_t to) {
  struct card *c = dev;
  assert_true(from != to && c->function.base[region] == to);
  if (from == PCI_NOWHERE) c->enables++;
  else if (to == PCI_NOWHERE) c->disables++;
  else c->moves++;
}

static const struct io_ops io_ops = {io_read, io_write, 4};
static const struct mmu_io_ops memory_ops = {memory_read, memory_write};
static const struct pci_register registers[] = {
  {0x48, 4, 0x12345678, 0x0000ff00, 0xff000000},
  {CAP_POWER + 2, 2, 0x0003, 0, 0},
};
static const struct pci_capability capabilities[] = {{9, CAP_VENDOR}, {1, CAP_POWER}};
static const struct pci_info card_info = {
  .name = "card",
  .vendor = 0x1af4,
  .device = 0x10f0,
  .subsystem_vendor = 0x1234,
  .subsystem = 0x5678,
  .class_code = 0x020003,
  .revision = 7,
  .pin = 1,
  .master = true,
  .region = {[IO_BAR] = {.size = PORTS, .type = PCI_IO, .io = &io_ops},
             [MEMORY_BAR] = {.size = WINDOW, .memory = &memory_ops},
             [WIDE_BAR] = {.size = WIDE, .type = PCI_MEMORY_64 | PCI_PREFETCHABLE, .memory = &memory_ops},
             [PCI_ROM] = {.size = ROM}},
  .registers = registers,
  .register_count = 2,
  .capabilities = capabilities,
  .capability_count = 2,
  .written = written,
  .moved = moved,
};

enum { SLOT = 3, CARDS = 6 };
struct board {
  struct rig r; /* its mmu and bus; there is no PC */
  struct pci pci;
  struct i440fx host;
  struct piix3 isa;
  struct card card[CARDS]; /* in slots 3, 4, ... */
  struct device devices[3];
  uint16_t irqs;
  unsigned edges, resets;
};
static const uint8_t rom[] = {0x55, 0xaa, 8, 0xcb};

static void pirq(void *opaque, int n, bool level) { piix3_set_pirq(&((struct board *)opaque)->isa, (unsigned)n, level); }
static void irq(void *opaque, int n, bool level) {
  struct board *b = opaque;
  b->irqs = (uint16_t)(level ? b->irqs | 1 << n : b->irqs & ~(1 << n));
  b->edges++;
}
static void reset_out(void *opaque, int n, bool level) { ((struct board *)opaque)->resets += level; }

static struct board *make(void) {
  struct board *b = calloc(1, sizeof *b);
  b->r.mmu.ram_size = 128 << 20;
  b->r.io = io_bus_create();
  b->devices[0] = pci_init(&b->pci, b->r.io, &b->r.mmu, (struct irq_line){pirq, b, 0});
  b->devices[1] = i440fx_init(&b->host, &b->pci, &b->r.mmu, NULL);
  b->devices[2] = piix3_init(&b->isa, b->r.io, &b->pci, (struct irq_line){irq, b, 0}, (struct irq_line){reset_out, b, 0});
  for (unsigned i = 0; i < CARDS; i++) {
    b->card[i].function.rom = rom;
    b->card[i].function.rom_size = sizeof rom;
    assert_true(pci_attach(&b->pci, &b->card[i].function, pci_devfn(SLOT + i, 0), &card_info, &b->card[i]));
  }
  return b;
}
static void unmake(struct board *b) {
  b->devices[0].destroy(b->devices[0].state);
  for (unsigned i = 0; i < RIG_WINDOWS; i++) assert_null(b->r.mmu.windows[i].ops); /* nothing is left behind */
  io_bus_destroy(b->r.io);
  free(b);
}
static int setup(void **state) {
  *state = make();
  return 0;
}
static int teardown(void **state) {
  unmake(*state);
  return 0;
}

static void choose(struct board *b, unsigned slot, unsigned reg) { out32(&b->r, 0xcf8, 0x80000000u | slot << 11 | (reg & 0xfc)); }
static uint32_t get(struct board *b, unsigned slot, unsigned reg) {
  choose(b, slot, reg);
  return in32(&b->r, 0xcfc);
}
static void set(struct board *b, unsigned slot, unsigned reg, uint32_t value) {
  choose(b, slot, reg);
  out32(&b->r, 0xcfc, value);
}
static void set_command(struct board *b, unsigned slot, uint16_t value) {
  choose(b, slot, 4);
  out16(&b->r, 0xcfc, value);
}
static uint32_t bar(unsigned n) { return 0x10 + 4 * n; }

/* ---- configuration space ---- */

static void header_says_what_it_is(void **state) {
  struct board *b = *state;
  assert_int_equal(get(b, SLOT, 0x00), 0x10f01af4);
  assert_int_equal(get(b, SLOT, 0x04), 0x00100000); /* a list of capabilities */
  assert_int_equal(get(b, SLOT, 0x08), 0x02000307);
  assert_int_equal(get(b, SLOT, 0x2c), 0x56781234);
  assert_int_equal(get(b, SLOT, 0x3c), 0x00000100);
  assert_int_equal(get(b, SLOT + CARDS, 0), 0xffffffff);
}

static void only_what_is_writable_can_be_written(void **state) {
  struct board *b = *state;
  for (unsigned reg = 0; reg < 256; reg += 4) set(b, SLOT, reg, 0xffffffff);
  assert_int_equal(get(b, SLOT, 0x00), 0x10f01af4);
  assert_int_equal(get(b, SLOT, 0x04), 0x00100507);
  assert_int_equal(get(b, SLOT, 0x0c), 0x0000ffff);
  assert_int_equal(get(b, SLOT, bar(NO_BAR)), 0);
  assert_int_equal(get(b, SLOT, bar(5)), 0);
  assert_int_equal(get(b, SLOT, 0x34), CAP_VENDOR);
  assert_int_equal(get(b, SLOT, 0x3c), 0x000001ff);
  assert_int_equal(get(b, SLOT, 0x48), 0x0034ff78); /* ones cleared the top byte */
  choose(b, SLOT, 0x48);
  out8(&b->r, 0xcfd, 0xa5);
  assert_int_equal(in32(&b->r, 0xcfc), 0x0034a578);
  assert_true(b->card[0].writes > 64);
  pci_function_reset(&b->card[0].function);
  assert_int_equal(get(b, SLOT, 0x48), 0x12345678);
}

static void capabilities_are_a_list(void **state) {
  struct board *b = *state;
  assert_int_equal(get(b, SLOT, 0x34) & 0xff, CAP_VENDOR);
  assert_int_equal(get(b, SLOT, CAP_VENDOR) & 0xffff, CAP_POWER << 8 | 9);
  assert_int_equal(get(b, SLOT, CAP_POWER), 0x00030001); /* the last one */
}

static void a_slot_has_one_function(void **state) {
  struct board *b = *state;
  struct card other = {0};
  assert_false(pci_attach(&b->pci, &other.function, pci_devfn(SLOT, 0), &card_info, &other));
  assert_false(pci_attach(&b->pci, &other.function, pci_devfn(0, 0), &card_info, &other));
  assert_int_equal(get(b, 0, 0), 0x12378086);
}

/* ---- regions ---- */

static void sizes_are_asked_for(void **state) {
  struct board *b = *state;
  set_command(b, SLOT, 3); /* even while it decodes */
  for (unsigned i = 0; i < 5; i++) set(b, SLOT, bar(i), 0xffffffff);
  set(b, SLOT, 0x30, 0xfffff801);
  assert_int_equal(get(b, SLOT, bar(IO_BAR)), ~(uint32_t)(PORTS - 1) | 1);
  assert_int_equal(get(b, SLOT, bar(MEMORY_BAR)), ~(uint32_t)(WINDOW - 1));
  assert_int_equal(get(b, SLOT, bar(WIDE_BAR)), ~(uint32_t)(WIDE - 1) | 12);
  assert_int_equal(get(b, SLOT, bar(WIDE_BAR + 1)), 0xffffffff);
  assert_int_equal(get(b, SLOT, 0x30), ~(uint32_t)(ROM - 1) | 1);
  assert_int_equal(b->card[0].enables, 0); /* and nothing was decoded at the end of the world */
}

static void commands_enable_regions(void **state) {
  struct board *b = *state;
  set(b, SLOT, bar(IO_BAR), 0xc000);
  set(b, SLOT, bar(MEMORY_BAR), 0xe0000000);
  assert_int_equal(in8(&b->r, 0xc001), 0xff);
  set_command(b, SLOT, 1);
  assert_int_equal(in8(&b->r, 0xc001), 0x41);
  assert_int_equal(mmio_in(&b->r, 0xe0000010, 4), 0xffffffff);
  set_command(b, SLOT, 2);
  assert_int_equal(in8(&b->r, 0xc001), 0xff);
  assert_int_equal(mmio_in(&b->r, 0xe0000010, 4), 0xabc00010);
  mmio_out(&b->r, 0xe0000010, 4, 77);
  assert_int_equal(b->card[0].last, 77);
  assert_int_equal(mmio_in(&b->r, 0xe0000000 + WINDOW, 4), 0xffffffff);
  assert_int_equal(b->card[0].enables, 2);
  assert_int_equal(b->card[0].disables, 1);
  set(b, SLOT, bar(MEMORY_BAR), 0xf0000000);
  assert_int_equal(mmio_in(&b->r, 0xe0000010, 4), 0xffffffff);
  assert_int_equal(mmio_in(&b->r, 0xf0000010, 4), 0xabc00010);
  assert_int_equal(b->card[0].moves, 1);
  pci_function_reset(&b->card[0].function);
  assert_int_equal(mmio_in(&b->r, 0xf0000010, 4), 0xffffffff);
  assert_int_equal(b->card[0].disables, 2);
}

static void memory_above_4_gib(void **state) {
  struct board *b = *state;
  set_command(b, SLOT, 2);
  set(b, SLOT, bar(WIDE_BAR + 1), 3);
  assert_int_equal(mmio_in(&b->r, 0x300000004ull, 4), 0xabc00004);
  set(b, SLOT, bar(WIDE_BAR + 1), 0x10); /* beyond 36 bits */
  assert_int_equal(mmio_in(&b->r, 0x1000000004ull, 4), 0xffffffff);
}

static void what_is_not_free_is_not_decoded(void **state) {
  static const uint32_t bases[] = {0, 0x100000, (128 << 20) - WINDOW, 0xffffc000, IOAPIC_BASE, HPET_BASE, LAPIC_BASE, 0xfee04000};
  struct board *b = *state;
  set_command(b, SLOT, 3);
  for (unsigned i = 0; i < sizeof bases / sizeof *bases; i++) {
    set(b, SLOT, bar(MEMORY_BAR), bases[i]);
    assert_true(b->card[0].function.base[MEMORY_BAR] == PCI_NOWHERE);
  }
  set(b, SLOT, bar(MEMORY_BAR), 128 << 20); /* right behind RAM */
  assert_int_equal(mmio_in(&b->r, 128 << 20, 4), 0xabc00000);
  set(b, SLOT, bar(IO_BAR), 0x1c000); /* 16 bits are all that there is */
  assert_true(b->card[0].function.base[IO_BAR] == PCI_NOWHERE);
  set(b, SLOT, bar(IO_BAR), 0xffe0);
  assert_int_equal(in8(&b->r, 0xffff), 0x5f);
}

/* Two drivers of one address: the first slot's wins, and the other comes when that goes, whoever was there before. */
static void overlapping_bars_have_one_owner(void **state) {
  struct board *b = *state;
  set(b, SLOT + 1, bar(MEMORY_BAR), 0xe0000000);
  set_command(b, SLOT + 1, 2);
  assert_true(b->card[1].function.base[MEMORY_BAR] == 0xe0000000);
  set(b, SLOT, bar(WIDE_BAR), 0xe0000000);
  set_command(b, SLOT, 2);
  assert_true(b->card[0].function.base[WIDE_BAR] == 0xe0000000);
  assert_true(b->card[1].function.base[MEMORY_BAR] == PCI_NOWHERE);
  mmio_out(&b->r, 0xe0000000, 4, 5);
  assert_int_equal(b->card[0].last, 5);
  set(b, SLOT, bar(WIDE_BAR), 0xe1000000);
  mmio_out(&b->r, 0xe0000000, 4, 6);
  assert_int_equal(b->card[1].last, 6);
}

static void two_cards_swap_places(void **state) {
  struct board *b = *state;
  set_command(b, SLOT, 2), set_command(b, SLOT + 1, 2);
  set(b, SLOT, bar(MEMORY_BAR), 0xe0000000);
  set(b, SLOT + 1, bar(MEMORY_BAR), 0xe0100000);
  set(b, SLOT, bar(MEMORY_BAR), 0xe0100000);
  set(b, SLOT + 1, bar(MEMORY_BAR), 0xe0000000);
  mmio_out(&b->r, 0xe0000000, 4, 1);
  mmio_out(&b->r, 0xe0100000, 4, 2);
  assert_int_equal(b->card[1].last, 1);
  assert_int_equal(b->card[0].last, 2);
}

static void rom_is_read(void **state) {
  struct board *b = *state;
  set_command(b, SLOT, 2);
  set(b, SLOT, 0x30, 0xe0000000);
  assert_int_equal(mmio_in(&b->r, 0xe0000000, 4), 0xffffffff);
  set(b, SLOT, 0x30, 0xe0000001);
  assert_int_equal(mmio_in(&b->r, 0xe0000000, 4), 0xcb08aa55);
  mmio_out(&b->r, 0xe0000000, 4, 0);
  assert_int_equal(mmio_in(&b->r, 0xe0000001, 1) & 0xff, 0xaa);
  assert_int_equal(mmio_in(&b->r, 0xe0000000 + ROM - 4, 4), 0xffffffff);
  set_command(b, SLOT, 0);
  assert_int_equal(mmio_in(&b->r, 0xe0000000, 2), 0xffffffff);
}

static void master_is_asked_before_dma(void **state) {
  struct board *b = *state;
  assert_false(pci_is_master(&b->card[0].function));
  set_command(b, SLOT, 4);
  assert_true(pci_is_master(&b->card[0].function));
}

/* ---- interrupts ---- */

/* PIRQ n goes to IRQ 3 + n. */
static void route_all(struct board *b) { set(b, 1, 0x60, 0x06050403); }

static void slots_and_pins_to_pirqs(void **state) {
  struct board *b = *state;
  route_all(b);
  for (unsigned i = 0; i < CARDS; i++) {
    pci_set_intx(&b->card[i].function, true);
    assert_int_equal(b->irqs, 1 << (3 + (SLOT + i - 1) % 4));
    pci_set_intx(&b->card[i].function, false);
    assert_int_equal(b->irqs, 0);
  }
  for (unsigned pin = 0; pin < 4; pin++) assert_int_equal(pci_pirq(2, pin), (1 + pin) % 4);
}

/* Slots 3 and 7 share PIRQ C, slots 3 and 4 an IRQ when their PIRQs are routed to one. */
static void shared_levels_fall_with_the_last(void **state) {
  struct board *b = *state;
  route_all(b);
  pci_set_intx(&b->card[0].function, true);
  pci_set_intx(&b->card[4].function, true);
  pci_set_intx(&b->card[0].function, true);
  pci_set_intx(&b->card[0].function, false);
  assert_int_equal(b->irqs, 1 << 5);
  pci_set_intx(&b->card[4].function, false);
  assert_int_equal(b->irqs, 0);
  set(b, 1, 0x60, 0x0b0b0b0b);
  pci_set_intx(&b->card[0].function, true);
  pci_set_intx(&b->card[1].function, true);
  pci_set_intx(&b->card[0].function, false);
  assert_int_equal(b->irqs, 1 << 11);
  set(b, 1, 0x60, 0x0a0a0a0a); /* the level moves with the route */
  assert_int_equal(b->irqs, 1 << 10);
  set(b, 1, 0x60, 0x80808080);
  assert_int_equal(b->irqs, 0);
  set(b, 1, 0x60, 0x00000000); /* IRQ 0 is not to be had */
  assert_int_equal(b->irqs, 0);
}

static void intx_is_held_back_and_shown(void **state) {
  struct board *b = *state;
  route_all(b);
  set_command(b, SLOT, 1 << 10);
  pci_set_intx(&b->card[0].function, true);
  assert_int_equal(b->irqs, 0);
  assert_int_equal(get(b, SLOT, 4) >> 16 & 8, 8);
  set_command(b, SLOT, 0);
  assert_int_equal(b->irqs, 1 << 5);
  set_command(b, SLOT, 1 << 10);
  assert_int_equal(b->irqs, 0);
  set_command(b, SLOT, 0);
  pci_function_reset(&b->card[0].function);
  assert_int_equal(b->irqs, 0);
  assert_int_equal(get(b, SLOT, 4) >> 16 & 8, 0);
}

/* ---- the bridges ---- */

static void host_bridge_keeps_the_chips_bits(void **state) {
  struct board *b = *state;
  set(b, 0, 0x58, 0xffffffff), set(b, 0, 0x5c, 0xffffffff), set(b, 0, 0x70, 0xffffffff), set(b, 0, 4, 0xffffffff);
  assert_int_equal(get(b, 0, 0x58), 0x33333000);
  assert_int_equal(get(b, 0, 0x5c), 0x33333333);
  assert_int_equal(get(b, 0, 0x70), 0x007a0000);
  assert_int_equal(get(b, 0, 4), 0x02800106);
  b->devices[1].reset(b->devices[1].state);
  assert_int_equal(get(b, 0, 0x58), 0);
  assert_int_equal(get(b, 0, 0x70), 0x00020000);
}

static void reset_control_is_a_byte_beside_the_address(void **state) {
  struct board *b = *state;
  choose(b, 0, 0);
  out8(&b->r, 0xcf9, 2);
  assert_int_equal(b->resets, 0);
  out8(&b->r, 0xcf9, 6);
  out8(&b->r, 0xcf9, 6); /* no edge */
  assert_int_equal(b->resets, 1);
  assert_int_equal(in8(&b->r, 0xcf9), 6);
  assert_int_equal(in32(&b->r, 0xcf8), 0x80000000);
}

/* ---- random ---- */

static uint64_t next_random(uint64_t *x) {
  *x ^= *x << 13;
  *x ^= *x >> 7;
  *x ^= *x << 17;
  return *x * 0x2545f4914f6cdd1dull;
}

static void random_step(struct board *b, uint64_t *seed) {
  static const uint32_t values[] = {0, 0xffffffff, 0xc000, 0xc020, 0xe0000000, 0xe0004000, 0xe0100001, 0xe0000001, 3, 7, 0x407};
  static const uint8_t regs[] = {4, 4, 0x10, 0x14, 0x18, 0x1c, 0x30, 0x60};
  uint64_t x = next_random(seed);
  unsigned size = 1u << (x & 3) % 3;
  choose(b, x & 4 ? SLOT + (x >> 8) % CARDS : (x >> 8) % 10, x & 8 ? regs[x >> 16 & 7] : (unsigned)(x >> 16 & 0xff));
  uint16_t port = (uint16_t)(0xcfc + ((x >> 24 & 3) & ~(size - 1)));
  uint32_t value = x & 16 ? values[(x >> 32) % (sizeof values / sizeof *values)] : (uint32_t)(x >> 32);
  if ((x >> 5 & 7) == 0) pci_set_intx(&b->card[x >> 8 & 3].function, x >> 9 & 1);
  else if (x & 32) io_bus_read(b->r.io, port, size);
  else io_bus_write(b->r.io, port, size, value);
}

/* Whatever was written: no two windows overlap, and each that is decoded answers for its card. */
static void assert_consistent(struct board *b) {
  for (unsigned i = 0; i < RIG_WINDOWS; i++)
    for (unsigned k = 0; k < RIG_WINDOWS; k++) {
      const struct rig_window *v = &b->r.mmu.windows[i], *w = &b->r.mmu.windows[k];
      if (v->ops && w->ops && i != k) assert_true(v->base + v->size <= w->base || w->base + w->size <= v->base);
    }
  for (unsigned i = 0; i < CARDS; i++) {
    const struct pci_function *f = &b->card[i].function;
    for (unsigned n = 0; n < PCI_REGIONS; n++)
      if (f->base[n] != PCI_NOWHERE && n != IO_BAR) assert_non_null(rig_window(&b->r, f->base[n] + card_info.region[n].size - 1));
    if (f->base[IO_BAR] != PCI_NOWHERE) assert_int_equal(io_bus_read(b->r.io, (uint16_t)f->base[IO_BAR], 1), 0x40);
  }
}

static void random_writes_and_the_same_map_elsewhere(void **state) {
  struct board *b = *state, *copy = make();
  uint64_t seed = 0x9e3779b97f4a7c15;
  for (unsigned round = 0; round < 3000; round++) {
    for (unsigned i = 0; i < 40; i++) random_step(b, &seed);
    assert_consistent(b);
    for (unsigned i = 0; i < CARDS; i++) {
      struct pci_function *to = &copy->card[i].function, *from = &b->card[i].function;
      memcpy(to->config, from->config, sizeof to->config);
      to->intx = from->intx;
    }
    for (unsigned i = 0; i < CARDS; i++) pci_function_loaded(&copy->card[i].function);
    assert_consistent(copy);
    for (unsigned i = 0; i < CARDS; i++) {
      assert_memory_equal(copy->card[i].function.base, b->card[i].function.base, sizeof b->card[i].function.base);
      assert_memory_equal(copy->card[i].function.config, b->card[i].function.config, PCI_CONFIG);
    }
    assert_int_equal(copy->isa.pirq, b->isa.pirq);
  }
  unmake(copy);
}

/* A card whose memory goes before the bus does (the VGA's) leaves its slot: nothing of it is decoded, or looked at, any more. */
static void a_card_that_has_left_is_not_there(void **state) {
  struct board *b = *state;
  struct card *gone = &b->card[1];
  assert_int_equal(get(b, SLOT + 1, 0), 0x10f01af4);
  pci_detach(&gone->function);
  memset(gone, 0xdb, sizeof *gone);
  assert_int_equal(get(b, SLOT + 1, 0), 0xffffffff);
  assert_int_equal(get(b, SLOT + 2, 0), 0x10f01af4);
}

static void random_values_of_a_file_do_no_harm(void **state) {
  struct board *b = *state;
  uint64_t seed = 77;
  for (unsigned round = 0; round < 2000; round++) {
    for (unsigned i = 0; i < CARDS; i++) {
      struct pci_function *f = &b->card[i].function;
      for (unsigned k = 0; k < PCI_CONFIG; k++) f->config[k] = (uint8_t)next_random(&seed);
      f->intx = (uint8_t)next_random(&seed);
    }
    for (unsigned i = 0; i < CARDS; i++) pci_function_loaded(&b->card[i].function);
    assert_consistent(b);
    assert_int_equal(get(b, SLOT, 0), 0x10f01af4); /* what is read-only is as it was */
    assert_int_equal(get(b, SLOT, bar(NO_BAR)), 0);
    for (unsigned i = 0; i < 20; i++) random_step(b, &seed);
  }
}

int main(void) {
#define BOARD(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
  const struct CMUnitTest tests[] = {
    BOARD(header_says_what_it_is),
    BOARD(only_what_is_writable_can_be_written),
    BOARD(capabilities_are_a_list),
    BOARD(a_slot_has_one_function),
    BOARD(sizes_are_asked_for),
    BOARD(commands_enable_regions),
    BOARD(memory_above_4_gib),
    BOARD(what_is_not_free_is_not_decoded),
    BOARD(overlapping_bars_have_one_owner),
    BOARD(two_cards_swap_places),
    BOARD(rom_is_read),
    BOARD(master_is_asked_before_dma),
    BOARD(slots_and_pins_to_pirqs),
    BOARD(shared_levels_fall_with_the_last),
    BOARD(intx_is_held_back_and_shown),
    BOARD(host_bridge_keeps_the_chips_bits),
    BOARD(reset_control_is_a_byte_beside_the_address),
    BOARD(random_writes_and_the_same_map_elsewhere),
    BOARD(a_card_that_has_left_is_not_there),
    BOARD(random_values_of_a_file_do_no_harm),
  };
  return cmocka_run_group_tests(tests, 0, 0);
}
