/* Host bridge. Intel 82441FX (PMC) data sheet (290549), chapter 3.
 *
 * Owns the configuration space of 00:00.0 and what it says of memory: for each part of C0000h-FFFFFh whether reads and stores go
 * to RAM or to the ROM in its place (PAM), and whether A0000h-BFFFFh is RAM (SMRAM's D_OPEN). At power-on all of it is ROM: the
 * last 128 KiB of the BIOS (bios_rom.c) at E0000h-FFFFFh, as the PIIX3 decodes them (data sheet 290550, 3.1.3: XBCS), and ones
 * where there is none. Without a firmware handover.c opens it. Deviations: where a part is read from ROM and written to RAM, code
 * in it runs from ROM as it should, but its stores are slow; C0000h-DFFFFh is ones where QEMU's PC has zeros. Missing: DRAM row
 * boundaries and timing, which no guest needs, error reporting, SMM and with it the lock and the closing of SMRAM.
 */
#include "i440fx.h"
#include <string.h>

enum { PAM = 0x59, PAM_COUNT = 7, SMRAM = 0x72 };
enum { PAM_FIRST = 0x30, PAM_BOTH = 0x33 /* read and write enable; PAM0 has the upper half alone, for F0000h */ };
enum { SMRAM_BASE = 0x02 /* A0000h */, SMRAM_WRITABLE = 0x78 };

static const struct pci_register registers[] = {
  {PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, PCI_COMMAND_SERR, 0},
  {PCI_STATUS, 2, 0x0280, 0, 0}, /* fast back-to-back, DEVSEL medium */
  {PAM, 1, 0, PAM_FIRST, 0},
  {PAM + 1, 2, 0, PAM_BOTH | PAM_BOTH << 8, 0},
  {PAM + 3, 4, 0, PAM_BOTH | PAM_BOTH << 8 | PAM_BOTH << 16 | PAM_BOTH << 24, 0},
  {SMRAM, 1, SMRAM_BASE, SMRAM_WRITABLE, 0},
};

enum { PAM_READ = 1, PAM_WRITE = 2, SMRAM_ENABLE = 1 << 3, SMRAM_OPEN = 1 << 6 };
enum { SEGMENT = 0x4000, PAM_START = 0xc0000, LAST = I440FX_SEGMENTS - 1, SMRAM_START = 0xa0000, SMRAM_SIZE = 0x20000 };
enum { BIOS_START = 0xe0000, BIOS_TOP = 0x100000 };

static uint64_t segment_base(unsigned n) { return PAM_START + (uint64_t)n * SEGMENT; }
static uint64_t segment_size(unsigned n) { return n == LAST ? 4 * SEGMENT : SEGMENT; }
/* 5Ah's low half is C0000h, its high half C4000h, and so on; F0000h is 59h's high half. */
static unsigned attributes(const struct i440fx *s, unsigned n) {
  return n == LAST ? pci_get(&s->function, PAM, 1) >> 4 : pci_get(&s->function, PAM + 1 + n / 2, 1) >> (n % 2 * 4) & 15;
}

static void show_segment(struct i440fx *s, unsigned n) {
  unsigned pam = attributes(s, n);
  mmu_show_area(s->mmu, s->guarded[n], (pam & (PAM_READ | PAM_WRITE)) == PAM_READ);
  mmu_set_area_stores(s->mmu, s->rom[n], pam & PAM_WRITE ? MMU_STORES_BELOW : MMU_STORES_DROPPED);
  mmu_show_area(s->mmu, s->rom[n], !(pam & PAM_READ));
}

/* As the registers say, however they came to say it. */
static void show(struct i440fx *s) {
  unsigned smram = pci_get(&s->function, SMRAM, 1);
  mmu_change_begin(s->mmu);
  for (unsigned n = 0; n < I440FX_SEGMENTS; n++) show_segment(s, n);
  mmu_show_area(s->mmu, s->smram, smram & SMRAM_ENABLE && smram & SMRAM_OPEN);
  mmu_change_end(s->mmu);
}

static void written(void *dev, unsigned offset, unsigned size) {
  if (offset <= SMRAM && offset + size > PAM) show(dev);
}

/* What a segment shows that PAM keeps from RAM: its part of the BIOS; where that has none, ones, of which there are 64 KiB. */
static struct mmu_area *add_rom(struct i440fx *s, unsigned n, struct mmu_area *bios) {
  const uint64_t from_top = BIOS_TOP - segment_base(n), size = bios ? mmu_area_size(bios) : 0;
  bool shown = segment_base(n) >= BIOS_START && from_top <= size;
  return mmu_add_alias(s->mmu, shown ? bios : s->socket, shown ? size - from_top : 0, segment_size(n), to_gpa(segment_base(n)),
                       MMU_HIDDEN | MMU_READ_ONLY | MMU_LEVEL(MMU_LEVEL_ROM));
}

/* RAM lies below. */
static bool add_areas(struct i440fx *s, struct mmu_area *bios) {
  struct mmu *m = s->mmu;
  struct mmu_area *ram = mmu_ram_area(m);
  s->socket = mmu_add_memory(m, to_gpa(0), segment_size(LAST), MMU_HIDDEN | MMU_READ_ONLY);
  if (!s->socket) return false;
  memset(mmu_frame_pointer(m, mmu_area_frame(s->socket)), 0xff, segment_size(LAST));
  bool all = true;
  for (unsigned n = 0; n < I440FX_SEGMENTS; n++) {
    gpa base = to_gpa(segment_base(n));
    s->rom[n] = add_rom(s, n, bios);
    s->guarded[n] =
      mmu_add_alias(m, ram, base.v, segment_size(n), base, MMU_HIDDEN | MMU_READ_ONLY | MMU_LEVEL(MMU_LEVEL_ROM + 1));
    all &= s->rom[n] && s->guarded[n];
  }
  s->smram = mmu_add_alias(m, ram, SMRAM_START, SMRAM_SIZE, to_gpa(SMRAM_START), MMU_HIDDEN | MMU_LEVEL(MMU_LEVEL_IO + 1));
  return all && s->smram;
}

static void remove_area(struct i440fx *s, struct mmu_area *area) {
  if (area) mmu_remove_area(s->mmu, area);
}

static void destroy(void *state) {
  struct i440fx *s = state;
  mmu_change_begin(s->mmu);
  for (unsigned n = 0; n < I440FX_SEGMENTS; n++) remove_area(s, s->rom[n]), remove_area(s, s->guarded[n]);
  remove_area(s, s->smram);
  remove_area(s, s->socket);
  mmu_change_end(s->mmu);
}

static const struct field fields[] = {PCI_FIELDS(i440fx, function), FIELD_END};

static const struct pci_info info = {
  .name = "i440fx",
  .vendor = 0x8086,
  .device = 0x1237,
  .class_code = 0x060000,
  .revision = 2,
  .subsystem_vendor = PCI_QEMU_VENDOR, /* by which SeaBIOS knows on what it runs */
  .subsystem = PCI_QEMU_DEVICE,
  .registers = registers,
  .register_count = sizeof registers / sizeof *registers,
  .written = written,
};

static void reset(void *state) {
  pci_function_reset(&((struct i440fx *)state)->function);
  show(state);
}
static void loaded(void *state) {
  pci_function_loaded(&((struct i440fx *)state)->function);
  show(state);
}

struct device i440fx_init(struct i440fx *s, struct pci *pci, struct mmu *mmu, struct mmu_area *bios) {
  *s = (struct i440fx){.mmu = mmu};
  if (!add_areas(s, bios)) return destroy(s), (struct device){0};
  pci_attach(pci, &s->function, pci_devfn(0, 0), &info, s);
  show(s);
  return (struct device){"i440fx", s, fields, reset, loaded, destroy, 0};
}
