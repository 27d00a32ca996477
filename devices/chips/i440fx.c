/* Host bridge. Intel 82441FX (PMC) data sheet (290549), chapter 3.
 *
 * Owns the configuration space of 00:00.0: the attributes of the memory at C0000h-FFFFFh (PAM), and SMRAM's.
 * Missing until memory areas can be hidden and shown (mmu/): PAM and SMRAM keep what is written and move no memory, which is RAM
 * to read and to write all the time. Then -kernel's handover.c must also open what a BIOS has shadowed, since 0,
 * the value at power-on, means ROM. Missing for good: DRAM row boundaries and timing, which no guest needs, error reporting, and
 * the lock of SMRAM (there is no SMM).
 */
#include "i440fx.h"

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

static const struct field fields[] = {PCI_FIELDS(i440fx, function), FIELD_END};

static const struct pci_info info = {
  .name = "i440fx",
  .vendor = 0x8086,
  .device = 0x1237,
  .class_code = 0x060000,
  .revision = 2,
  .registers = registers,
  .register_count = sizeof registers / sizeof *registers,
  /* JOIN(mmu areas): `written`, and likewise after a reset and a load: for each PAM nibble and for SMRAM that changed, hide or
   * show the RAM of its 16 or 64 KiB, for reads and for writes. */
};

static void reset(void *state) { pci_function_reset(&((struct i440fx *)state)->function); }
static void loaded(void *state) { pci_function_loaded(&((struct i440fx *)state)->function); }

struct device i440fx_init(struct i440fx *s, struct pci *pci) {
  *s = (struct i440fx){0};
  pci_attach(pci, &s->function, pci_devfn(0, 0), &info, s);
  return (struct device){"i440fx", s, fields, reset, loaded, 0};
}
