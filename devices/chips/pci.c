/* PCI bus 0. PCI Local Bus Specification 2.1 (2.3 for interrupt status and disable): 3.2.2.3.2 (mechanism 1), chapter 6.
 *
 * Owns the configuration address latch, the functions in their slots, and for each of them what the standard says: which bits can
 * be written, BARs and their sizes, the command register, where its regions are decoded, and its INTx on the way to PIRQ A-D.
 * What a PIRQ becomes is the bridge's affair (piix3.c). Only bus 0 exists; what is not there reads as all ones.
 * Where regions are decoded follows from configuration space alone, whatever the guest did to get there, so a loaded machine has
 * them as the saved one had: a BAR that is 0, runs over the end of its space (a size being asked for) or lies on RAM or on the
 * fixed chips is not decoded; nor is one that overlaps an earlier function's, until that has gone. (A real bus has two drivers
 * then.) Memory above 4 GiB is decoded up to 64 GiB, for 64-bit BARs.
 * Deviations: a status register shows no error, since none happens; DEVSEL and parity bits are as the rows say.
 * Missing: bridges to other buses, MSI, latency (nothing takes time). Code runs from an option ROM only where it was copied to.
 */
#include "pci.h"
#include "../map.h"
#include <string.h>

enum { CONFIG_ADDRESS = 0, ENABLE_BIT = 31 };
enum {
  VENDOR = 0x00,
  DEVICE = 0x02,
  REVISION = 0x08,
  CLASS = 0x09,
  CACHE_LINE = 0x0c,
  LATENCY = 0x0d,
  HEADER_TYPE = 0x0e,
  BAR = 0x10,
  SUBSYSTEM_VENDOR = 0x2c,
  SUBSYSTEM = 0x2e,
  ROM_BAR = 0x30,
  CAPABILITIES = 0x34,
  HEADER_END = 0x40
};
enum { STATUS_INTX = 1 << 3, STATUS_CAPABILITIES = 1 << 4, ROM_ENABLE = 1, TYPE_SHOWN = 15 };
#define IO_END 0x10000ull
#define MEMORY_END 0x100000000ull
#define MEMORY_64_END 0x1000000000ull

static const struct field fields[] = {FIELD(pci, address), FIELD_END};

static void put(uint8_t *at, uint32_t value, unsigned size) {
  for (unsigned i = 0; i < size; i++) at[i] = (uint8_t)(value >> 8 * i);
}

uint32_t pci_get(const struct pci_function *f, unsigned offset, unsigned size) {
  uint32_t value = 0;
  for (unsigned i = 0; i < size; i++) value |= (uint32_t)f->config[(offset + i) % PCI_CONFIG] << 8 * i;
  return value;
}

static uint16_t command(const struct pci_function *f) { return (uint16_t)pci_get(f, PCI_COMMAND, 2); }
bool pci_is_master(const struct pci_function *f) { return command(f) & PCI_COMMAND_MASTER; }

/* ---- what configuration space looks like ---- */

static void lay_out(struct pci_function *f, const struct pci_register *r) {
  put(f->initial + r->offset, r->value, r->size);
  put(f->writable + r->offset, r->writable, r->size);
  put(f->clear + r->offset, r->clear, r->size);
}

static unsigned bar_register(unsigned region) { return region == PCI_ROM ? ROM_BAR : BAR + 4 * region; }

/* A BAR's address bits below its size are zero and stay so: that is how a guest asks for the size. */
static void lay_out_bar(struct pci_function *f, unsigned n) {
  const struct pci_region *r = &f->info->region[n];
  uint8_t at = (uint8_t)bar_register(n);
  if (!r->size || r->where) return;
  lay_out(f, &(struct pci_register){at, 4, n == PCI_ROM ? 0 : r->type & TYPE_SHOWN,
                                    ~(r->size - 1) | (n == PCI_ROM ? ROM_ENABLE : 0), 0});
  if (r->type & PCI_MEMORY_64 && !(r->type & PCI_IO) && n < PCI_BARS - 1)
    lay_out(f, &(struct pci_register){(uint8_t)(at + 4), 4, 0, 0xffffffff, 0});
}

/* The command bits that mean something for this function. */
static uint16_t command_bits(const struct pci_info *info) {
  uint16_t bits = PCI_COMMAND_SERR | (info->master ? PCI_COMMAND_MASTER : 0) | (info->pin ? PCI_COMMAND_INTX_OFF : 0);
  if (info->class_code == 0x030000) bits |= PCI_COMMAND_IO | PCI_COMMAND_MEMORY; /* a VGA's own places, which no BAR says */
  for (unsigned n = 0; n < PCI_REGIONS; n++)
    if (info->region[n].size) bits |= info->region[n].type & PCI_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
  return bits;
}

static void lay_out_capabilities(struct pci_function *f) {
  const struct pci_info *info = f->info;
  uint8_t link = CAPABILITIES;
  if (info->capability_count) f->initial[PCI_STATUS] |= STATUS_CAPABILITIES;
  for (unsigned i = 0; i < info->capability_count; i++) {
    uint8_t at = info->capabilities[i].at & 0xfc;
    f->initial[link] = at;
    f->initial[at] = info->capabilities[i].id;
    link = at + 1;
  }
}

static void lay_out_function(struct pci_function *f) {
  const struct pci_info *info = f->info;
  const struct pci_register header[] = {
    {VENDOR, 2, info->vendor, 0, 0},
    {DEVICE, 2, info->device, 0, 0},
    {PCI_COMMAND, 2, 0, command_bits(info), 0},
    {REVISION, 1, info->revision, 0, 0},
    {CLASS, 1, info->class_code & 0xff, 0, 0},
    {CLASS + 1, 2, info->class_code >> 8, 0, 0},
    {CACHE_LINE, 1, 0, info->master ? 0xff : 0, 0},
    {LATENCY, 1, 0, info->master ? 0xff : 0, 0},
    {HEADER_TYPE, 1, info->header_type, 0, 0},
    {SUBSYSTEM_VENDOR, 2, info->subsystem_vendor, 0, 0},
    {SUBSYSTEM, 2, info->subsystem, 0, 0},
    {PCI_INTERRUPT_LINE, 1, 0, 0xff, 0},
    {PCI_INTERRUPT_PIN, 1, info->pin, 0, 0},
  };
  for (unsigned i = 0; i < sizeof header / sizeof *header; i++) lay_out(f, &header[i]);
  for (unsigned n = 0; n < PCI_REGIONS; n++) lay_out_bar(f, n);
  for (unsigned i = 0; i < info->register_count; i++) lay_out(f, &info->registers[i]);
  lay_out_capabilities(f);
}

/* ---- regions ---- */

static bool is_io(const struct pci_region *r) { return r->type & PCI_IO; }

/* Where a BAR puts its region; PCI_NOWHERE: it does not. */
static uint64_t bar_base(const struct pci_function *f, unsigned n) {
  const struct pci_region *r = &f->info->region[n];
  uint32_t value = pci_get(f, bar_register(n), 4);
  uint64_t base = value & ~(r->size - 1), end = is_io(r) ? IO_END : MEMORY_END - 1;
  if (!(command(f) & (is_io(r) ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY))) return PCI_NOWHERE;
  if (n == PCI_ROM && !(value & ROM_ENABLE)) return PCI_NOWHERE;
  if (n < PCI_BARS - 1 && !is_io(r) && r->type & PCI_MEMORY_64) {
    base |= (uint64_t)pci_get(f, bar_register(n) + 4, 4) << 32;
    if (base >= MEMORY_END) end = MEMORY_64_END;
  }
  return base && base < end && r->size <= end - base ? base : PCI_NOWHERE;
}

/* The fixed part of the memory map, which the host bridge keeps to itself. */
static bool on_the_board(const struct pci *s, uint64_t base, uint64_t size) {
  return base < mmu_ram_size(s->mmu) || (base < CHIPS_END && base + size > CHIPS_START);
}

static uint64_t wanted_base(const struct pci_function *f, unsigned n) {
  const struct pci_region *r = &f->info->region[n];
  if (!r->size) return PCI_NOWHERE;
  uint64_t base = r->where ? r->where(f->dev) : bar_base(f, n);
  return base != PCI_NOWHERE && !is_io(r) && on_the_board(f->bus, base, r->size) ? PCI_NOWHERE : base;
}

/* Does a region of `f` at `base` overlap one that comes before it, in a slot before or in an earlier BAR? */
static bool taken(const struct pci_function *f, unsigned n, uint64_t base) {
  const struct pci_region *r = &f->info->region[n];
  for (unsigned i = 0; i <= f->devfn; i++) {
    const struct pci_function *other = f->bus->function[i];
    for (unsigned k = 0; other && k < (other == f ? n : PCI_REGIONS); k++) {
      const struct pci_region *o = &other->info->region[k];
      if (other->next[k] != PCI_NOWHERE && is_io(o) == is_io(r) && other->next[k] < base + r->size &&
          base < other->next[k] + o->size)
        return true;
    }
  }
  return false;
}

static uint32_t rom_read(void *opaque, uint64_t offset, unsigned size) {
  const struct pci_function *f = opaque;
  uint32_t value = 0;
  for (unsigned i = 0; i < size; i++) value |= (uint32_t)(offset + i < f->rom_size ? f->rom[offset + i] : 0xff) << 8 * i;
  return value;
}
static void rom_write(void *opaque, uint64_t offset, unsigned size, uint32_t value) {}

static void map_memory(struct pci_function *f, unsigned n, uint64_t base, bool map) {
  static const struct mmu_io_ops rom_ops = {rom_read, rom_write};
  const struct pci_region *r = &f->info->region[n];
  bool rom = n == PCI_ROM && !r->memory && f->rom;
  if (f->area[n]) {
    mmu_change_begin(f->bus->mmu);
    if (map) mmu_move_area(f->bus->mmu, f->area[n], to_gpa(base));
    mmu_show_area(f->bus->mmu, f->area[n], map);
    mmu_change_end(f->bus->mmu);
    return;
  }
  if (!r->memory && !rom) return;
  if (map) mmu_add_io(f->bus->mmu, to_gpa(base), r->size, rom ? &rom_ops : r->memory, rom ? (void *)f : f->dev);
  else mmu_remove_io(f->bus->mmu, to_gpa(base));
}

static void map_region(struct pci_function *f, unsigned n, uint64_t base, bool map) {
  const struct pci_region *r = &f->info->region[n];
  if (!is_io(r)) map_memory(f, n, base, map);
  else if (r->io && map) io_bus_add(f->bus->io, (uint16_t)base, (uint16_t)r->size, r->io, f->dev, f->info->name);
  else if (r->io) io_bus_remove(f->bus->io, (uint16_t)base, (uint16_t)r->size);
}

static void move_region(struct pci_function *f, unsigned n) {
  uint64_t from = f->base[n], to = f->next[n];
  f->base[n] = to;
  if (to != PCI_NOWHERE) map_region(f, n, to, true);
  if (f->info->moved) f->info->moved(f->dev, n, from, to);
}

static void plan_regions(struct pci_function *f) {
  for (unsigned n = 0; n < PCI_REGIONS; n++) {
    uint64_t base = wanted_base(f, n);
    f->next[n] = base != PCI_NOWHERE && taken(f, n, base) ? PCI_NOWHERE : base;
  }
}

/* All that goes away goes before anything comes: two regions may swap their places. */
static void remap(struct pci *s) {
  for (unsigned i = 0; i < 256; i++) {
    struct pci_function *f = s->function[i];
    if (!f) continue;
    plan_regions(f);
    for (unsigned n = 0; n < PCI_REGIONS; n++)
      if (f->base[n] != PCI_NOWHERE && f->base[n] != f->next[n]) map_region(f, n, f->base[n], false);
  }
  for (unsigned i = 0; i < 256; i++)
    for (unsigned n = 0; n < PCI_REGIONS && s->function[i]; n++)
      if (s->function[i]->base[n] != s->function[i]->next[n]) move_region(s->function[i], n);
}

/* ---- interrupts ---- */

/* Any number of functions may pull one PIRQ up; it falls with the last of them. */
static void drive_intx(struct pci_function *f) {
  struct pci *s = f->bus;
  bool asserted = f->intx && f->info->pin && !(command(f) & PCI_COMMAND_INTX_OFF);
  if (f->info->pin) f->config[PCI_STATUS] = (uint8_t)((f->config[PCI_STATUS] & ~STATUS_INTX) | (f->intx ? STATUS_INTX : 0));
  if (asserted == f->asserted) return;
  f->asserted = asserted;
  unsigned pirq = pci_pirq(f->devfn >> 3, f->info->pin - 1u);
  unsigned before = s->asserting[pirq];
  s->asserting[pirq] = asserted ? before + 1 : before - 1;
  if ((before != 0) != (s->asserting[pirq] != 0) && s->pirq.set) s->pirq.set(s->pirq.opaque, (int)pirq, asserted);
}

void pci_set_intx(struct pci_function *f, bool level) {
  if (f->intx == level) return;
  f->intx = level;
  drive_intx(f);
}

/* ---- functions ---- */

void pci_function_reset(struct pci_function *f) {
  memcpy(f->config, f->initial, PCI_CONFIG);
  f->intx = 0;
  drive_intx(f);
  remap(f->bus);
}

/* Of the status register and of what lies behind the header a device may change more than a guest can write. */
void pci_function_loaded(struct pci_function *f) {
  for (unsigned i = 0; i < HEADER_END; i++) {
    uint8_t kept = i == PCI_STATUS || i == PCI_STATUS + 1 ? 0xff : f->writable[i] | f->clear[i];
    f->config[i] = (f->config[i] & kept) | (f->initial[i] & (uint8_t)~kept);
  }
  f->intx = f->intx != 0;
  drive_intx(f);
  remap(f->bus);
}

int pci_free_devfn(const struct pci *s) {
  for (unsigned device = 2; device < 32; device++) {
    bool there = false;
    for (unsigned n = 0; n < 8; n++) there |= s->function[pci_devfn(device, n)] != 0;
    if (!there) return pci_devfn(device, 0);
  }
  return PCI_NO_SLOT;
}

static void remove_areas(struct pci *s, struct pci_function *f) {
  for (unsigned n = 0; n < PCI_REGIONS; n++)
    if (f->area[n]) {
      mmu_remove_area(s->mmu, f->area[n]);
      f->area[n] = 0;
    }
}

static bool add_areas(struct pci *s, struct pci_function *f, const struct pci_info *info) {
  for (unsigned n = 0; n < PCI_REGIONS; n++) {
    if (!(info->region[n].type & PCI_REAL)) continue;
    f->area[n] = mmu_add_memory(s->mmu, to_gpa(0), info->region[n].size, MMU_HIDDEN | MMU_LEVEL(MMU_LEVEL_IO));
    if (!f->area[n]) return remove_areas(s, f), false;
  }
  return true;
}

bool pci_attach(struct pci *s, struct pci_function *f, uint8_t devfn, const struct pci_info *info, void *dev) {
  if (s->function[devfn] || !add_areas(s, f, info)) return false;
  f->info = info;
  f->dev = dev;
  f->bus = s;
  f->devfn = devfn;
  for (unsigned n = 0; n < PCI_REGIONS; n++) f->base[n] = PCI_NOWHERE;
  s->function[devfn] = f;
  lay_out_function(f);
  pci_function_reset(f);
  return true;
}

/* ---- configuration accesses ---- */

static struct pci_function *selected(const struct pci *s) {
  if (!(s->address >> ENABLE_BIT) || (s->address >> 16 & 0xff)) return 0;
  return s->function[s->address >> 8 & 0xff];
}

static uint32_t data_read(void *dev, uint16_t offset, unsigned size) {
  const struct pci *s = dev;
  const struct pci_function *f = selected(s);
  return f ? pci_get(f, (s->address & 0xfc) + offset, size) : 0xffffffff;
}

static void data_write(void *dev, uint16_t offset, unsigned size, uint32_t value) {
  struct pci *s = dev;
  struct pci_function *f = selected(s);
  if (!f) return;
  unsigned first = (s->address & 0xfc) + offset;
  for (unsigned i = first; i < first + size; i++, value >>= 8) {
    uint8_t mask = f->writable[i];
    f->config[i] = (uint8_t)((f->config[i] & ~mask & ~(value & f->clear[i])) | (value & mask));
  }
  if (f->info->written) f->info->written(f->dev, first, size);
  drive_intx(f);
  remap(s);
}

/* CF8h is a register of 32 bits and of nothing else. (The byte at CF9h is the PIIX3's.) */
static uint32_t address_read(void *dev, uint16_t offset, unsigned size) {
  const struct pci *s = dev;
  return offset == CONFIG_ADDRESS && size == 4 ? s->address : 0xffffffff;
}

static void address_write(void *dev, uint16_t offset, unsigned size, uint32_t value) {
  struct pci *s = dev;
  if (offset == CONFIG_ADDRESS && size == 4) s->address = value & 0x80fffffc;
}

/* ---- life ---- */

static void reset(void *state) { ((struct pci *)state)->address = 0; }
static void loaded(void *state) { ((struct pci *)state)->address &= 0x80fffffc; }

void pci_detach(struct pci_function *f) {
  for (unsigned n = 0; n < PCI_REGIONS; n++)
    if (f->base[n] != PCI_NOWHERE) map_region(f, n, f->base[n], false);
  remove_areas(f->bus, f);
  f->bus->function[f->devfn] = NULL;
}

/* The functions' owners are gone, or about to go; the memory of those that are here is still there. */
static void destroy(void *state) {
  struct pci *s = state;
  for (unsigned i = 0; i < 256; i++)
    if (s->function[i]) pci_detach(s->function[i]);
}

struct device pci_init(struct pci *s, struct io_bus *io, struct mmu *mmu, struct irq_line pirq) {
  static const struct io_ops address_ops = {address_read, address_write, 4}, data_ops = {data_read, data_write, 4};
  *s = (struct pci){.io = io, .mmu = mmu, .pirq = pirq};
  io_bus_add(io, 0xcf8, 4, &address_ops, s, "pci-address");
  io_bus_add(io, 0xcfc, 4, &data_ops, s, "pci-data");
  return (struct device){"pci", s, fields, reset, loaded, destroy, 0};
}
