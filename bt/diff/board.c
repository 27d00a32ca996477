/* The chips of our side's machine in `bt diff` that change memory, for a guest that starts in its firmware: the BIOS's ROM, and
 * the host bridge, which shows it below 1 MiB and takes it away (PAM); the floppy controller with its drives and the DMA
 * controllers, by which it stores. What they answer is the reference's, as of all devices: they hear what the guest writes and
 * reads, and do at once what the reference's do a little later, before they tell the guest of it. So what their guest finds in
 * its memory is the image's, by our own chips, and a wrong byte is a divergence.
 *
 * Missing: BARs, behind which a card would have memory; bus masters.
 */
#include "board.h"
#include "../../monitor/clock.h"
#include "../boot/boot.h"
#include "../host/loop.h"

enum { FLOPPY_DMA = 2 };

static const struct {
  uint16_t first, last;
  bool reads; /* it is changed by a read, too */
} heard[] = {
  {0x00, 0x0f, true},    /* 8237A, channels 0 to 3: the status */
  {0x80, 0x8f, false},   /* page registers */
  {0xc0, 0xdf, true},    /* channels 4 to 7 */
  {0x3f0, 0x3f5, true},  /* floppy controller: its FIFO */
  {0x3f7, 0x3f7, false}, /* and its rate */
  {0xcf8, 0xcff, false}, /* PCI's configuration */
};

static bool hears(uint16_t port, bool reads) {
  for (unsigned i = 0; i < sizeof heard / sizeof *heard; i++)
    if (port >= heard[i].first && port <= heard[i].last) return !reads || heard[i].reads;
  return false;
}

static bool keep(struct board *b, struct device device) {
  if (device.name) b->devices[b->count++] = device;
  return device.name;
}

static bool make_chips(struct board *b, struct mmu *mmu) {
  static const struct irq_line nowhere = {0};
  b->io = io_bus_create();
  b->clock = clock_create(0, 0);
  return b->io && b->clock && keep(b, pci_init(&b->pci, b->io, mmu, nowhere)) &&
         keep(b, bios_rom_init(&b->bios, mmu, &b->roms.config)) && keep(b, i440fx_init(&b->host, &b->pci, mmu, b->bios.area)) &&
         keep(b, dma8237_init(&b->dma, b->io, mmu)) &&
         keep(b, fdc_init(&b->fdc, b->io, b->clock, nowhere, dma8237_channel(&b->dma, FLOPPY_DMA)));
}

/* -fda, and -drive if=floppy. */
static bool add_floppy(struct board *b, const struct option_entry *e, char error[ERROR_TEXT]) {
  struct drive_option option;
  char why[PROPERTY_ERROR];
  if (!drive_option_read(e, true, &option, why)) return boot_fail(error, "%s: %.200s", e->option, why);
  if (option.interface != DRIVE_FLOPPY) return true;
  struct board_drive *drive = option.file ? board_drive_open(&option, b->loop, error) : NULL;
  if (option.file && !drive) return false;
  uint32_t unit = option.unit;
  const char *refused = fdc_attach(&b->fdc, &unit, FLOPPY_AUTO, drive ? &drive->backend : NULL);
  if (!refused) return b->floppies[unit] = drive, true;
  board_drive_close(drive);
  return boot_fail(error, "%s: %s", e->option, refused);
}

bool board_open(struct board *b, const struct bt_options *options, struct mmu *mmu, char error[ERROR_TEXT]) {
  *b = (struct board){0};
  if (!roms_read(&b->roms, options, error)) return false;
  if (!(b->loop = loop_create()) || !make_chips(b, mmu)) return boot_fail(error, "not enough memory");
  mmu_set_area_level(mmu, b->bios.area, MMU_LEVEL_IO + 1); /* over the window of what the reference answers */
  ENTRIES_OF(options->entries, "drive", e) if (!add_floppy(b, e, error)) return false;
  return true;
}

void board_close(struct board *b) {
  while (b->count) {
    const struct device *d = &b->devices[--b->count];
    if (d->destroy) d->destroy(d->state);
  }
  for (unsigned unit = 0; unit < FDC_DRIVES; unit++) board_drive_close(b->floppies[unit]);
  loop_destroy(b->loop);
  if (b->clock) clock_destroy(b->clock);
  if (b->io) io_bus_destroy(b->io);
  roms_free(&b->roms);
}

/* Time goes on, and requests are carried out, until nobody waits for either. */
static void settle(struct board *b) {
  bool more;
  do {
    more = clock_next_deadline(b->clock) != INT64_MAX;
    if (more) clock_skip_to(b->clock, clock_next_deadline(b->clock)), clock_run(b->clock);
    for (unsigned unit = 0; unit < FDC_DRIVES; unit++) more |= board_drive_serve(b->floppies[unit]);
  } while (more);
}

void board_read(struct board *b, uint16_t port, unsigned size) {
  if (!hears(port, true)) return;
  (void)io_bus_read(b->io, port, size);
  settle(b);
}

void board_write(struct board *b, uint16_t port, unsigned size, uint32_t value) {
  if (!hears(port, false)) return;
  io_bus_write(b->io, port, size, value);
  settle(b);
}
