/* An IDE channel: command block, control block, selection, resets, INTRQ. ATA-7 (T13/1532D), volumes 1 and 2, chapter 6 of the
 * latter and 9 (protocols); where that leaves it open, QEMU 7.2's behaviour.
 *
 * Owns the registers of both units, whether there is a drive or not, and the channel's interrupt. Invariants: `selected` is 0 or
 * 1; a drive's data register moves bytes exactly while its status has DRQ and its phase is one of PIO's. While BSY or DRQ is set
 * the command block takes nothing but DEVICE RESET to a CD.
 * Deviations, as QEMU has them: one INTRQ for both units, which nIEN keeps from rising (a request is not remembered); a channel
 * without drives reads as zeros, not as an open bus; an absent unit 1 has status 0. SRST is BSY from its rise to its fall.
 * Missing: the DASP/PDIAG handshake (diagnostics always pass), 8-bit access to the data register (reads ones).
 */
#include "ide.h"

enum { CONTROL_NO_IRQ = 2, CONTROL_RESET = 4, CONTROL_PREVIOUS = 0x80 };
enum { NOP = 0x00, DEVICE_RESET = 0x08, EXECUTE_DIAGNOSTIC = 0x90, DIAGNOSTIC_PASSED = 1 };

static struct ide_unit *selected(struct ide_channel *c) { return &c->unit[c->selected & 1]; }
static bool empty(const struct ide_channel *c) { return !c->unit[0].drive && !c->unit[1].drive; }

/* ---- INTRQ ---- */

/* The PIIX3 notes each rise in its bus master status, by whatever command (2.7.2). */
void ide_set_irq(struct ide_channel *c, bool level) {
  enum { DMA_INTERRUPT = 4 };
  if (level && c->control & CONTROL_NO_IRQ) return;
  if (level) c->dma.status |= DMA_INTERRUPT;
  if (c->irq == level) return;
  c->irq = level;
  irq_set(&c->line, level);
}

void ide_end(struct ide_drive *d, uint8_t error) {
  ide_stop(d);
  d->unit->error = error;
  d->unit->status = ATA_DRDY | (error ? ATA_ERR : ATA_DSC);
}

void ide_end_irq(struct ide_drive *d, uint8_t error) {
  ide_end(d, error);
  ide_set_irq(d->channel, true);
}

/* ---- resets ---- */

/* ATA-7, 9.12: by which a host tells disks from CDs, and either from nothing. */
void ide_show_signature(struct ide_unit *u) {
  u->reg[IDE_COUNT] = u->reg[IDE_LOW] = 1;
  u->reg[IDE_MID] = u->drive ? u->drive->kind->mid : 0xff;
  u->reg[IDE_HIGH] = u->drive ? u->drive->kind->high : 0xff;
  u->reg[IDE_DEVICE] = (u->reg[IDE_DEVICE] & ~DEVICE_HEAD) | DEVICE_ONES;
  u->error = DIAGNOSTIC_PASSED;
  u->status = u->drive ? u->drive->kind->status : ATA_DRDY | ATA_DSC;
}

/* SRST keeps it busy. A back end cannot take a request back: until that is done the unit is busy, too. */
void ide_unit_reset(struct ide_channel *c, unsigned number) {
  struct ide_unit *u = &c->unit[number & 1];
  struct ide_drive *d = u->drive;
  u->status = ATA_BSY;
  if (d && d->under_way) d->reset_wanted = true;
  else if (d) ide_stop(d);
  if (c->control & CONTROL_RESET || (d && d->under_way)) return;
  if (d) d->kind->reset(d);
  ide_show_signature(u);
}

static void reset_both(struct ide_channel *c) {
  c->selected = 0;
  for (unsigned i = 0; i < IDE_UNITS; i++) {
    c->unit[i].reg[IDE_DEVICE] = DEVICE_ONES;
    ide_unit_reset(c, i);
  }
}

void ide_channel_reset(struct ide_channel *c) {
  c->control = 0;
  c->dma = (struct ide_dma){0};
  ide_set_irq(c, false);
  for (unsigned i = 0; i < IDE_UNITS; i++)
    for (unsigned n = 0; n < IDE_REGISTERS; n++) c->unit[i].reg[n] = c->unit[i].previous[n] = 0;
  reset_both(c);
}

void ide_channel_loaded(struct ide_channel *c) {
  c->selected &= 1;
  c->irq = c->irq != 0;
  ide_dma_loaded(c);
  irq_set(&c->line, c->irq);
}

/* ---- commands ---- */

/* To both units, whichever is selected; the answer is unit 0's (ATA-7, 9.4). */
static void diagnose(struct ide_channel *c) {
  reset_both(c);
  ide_set_irq(c, true);
}

static void device_reset(struct ide_channel *c) {
  unsigned number = c->selected;
  uint8_t device = c->unit[number].reg[IDE_DEVICE];
  ide_unit_reset(c, number);
  c->unit[number].reg[IDE_DEVICE] = device & (DEVICE_ONES | DEVICE_1);
}

static void execute(struct ide_channel *c, uint8_t command) {
  struct ide_unit *u = selected(c);
  struct ide_drive *d = u->drive;
  bool packet_drive = d && d->kind->mid;
  ide_set_irq(c, false);
  if (command == EXECUTE_DIAGNOSTIC && !empty(c) && !(u->status & (ATA_BSY | ATA_DRQ))) return diagnose(c);
  if (!d) return;
  if (command == DEVICE_RESET && packet_drive) return device_reset(c);
  if (u->status & (ATA_BSY | ATA_DRQ)) return;
  u->status = ATA_BSY | ATA_DRDY;
  u->error = 0;
  d->kind->command(d, command);
}

/* ---- command block ---- */

static uint8_t status_of(struct ide_channel *c) {
  struct ide_unit *u = selected(c);
  return empty(c) || (!u->drive && c->selected) ? 0 : u->status;
}

static uint8_t read_byte(struct ide_channel *c, unsigned n) {
  struct ide_unit *u = selected(c);
  const uint8_t *reg = c->control & CONTROL_PREVIOUS ? u->previous : u->reg;
  if (n == IDE_DATA) return 0xff;
  if (empty(c)) return 0;
  switch (n) {
  case IDE_FEATURE: return !u->drive && c->selected ? 0 : c->control & CONTROL_PREVIOUS ? reg[n] : u->error;
  case IDE_DEVICE: return u->reg[n];
  case IDE_COMMAND: ide_set_irq(c, false); return status_of(c);
  default: return reg[n];
  }
}

static uint32_t command_read(void *dev, uint16_t offset, unsigned size) {
  struct ide_channel *c = dev;
  uint32_t value = 0;
  if (offset == IDE_DATA && size > 1) {
    struct ide_drive *d = selected(c)->drive;
    return d ? ide_data_read(d, size) : 0;
  }
  for (unsigned i = 0; i < size; i++) value |= (uint32_t)read_byte(c, offset + i) << 8 * i;
  return value;
}

static void write_byte(struct ide_channel *c, unsigned n, uint8_t value) {
  if (n == IDE_DATA) return;
  if (n != IDE_COMMAND && selected(c)->status & (ATA_BSY | ATA_DRQ)) return;
  c->control &= (uint8_t)~CONTROL_PREVIOUS; /* ATA-7, 6.20: any write to the command block ends it */
  if (n == IDE_COMMAND) return execute(c, value);
  for (unsigned i = 0; i < IDE_UNITS; i++) {
    struct ide_unit *u = &c->unit[i];
    u->previous[n] = u->reg[n];
    u->reg[n] = n == IDE_DEVICE ? value | DEVICE_ONES : value;
  }
  if (n == IDE_DEVICE) c->selected = (value & DEVICE_1) != 0;
}

static void command_write(void *dev, uint16_t offset, unsigned size, uint32_t value) {
  struct ide_channel *c = dev;
  struct ide_drive *d = selected(c)->drive;
  if (offset == IDE_DATA && size > 1) {
    if (d) ide_data_write(d, size, value);
    return;
  }
  for (unsigned i = 0; i < size; i++) write_byte(c, offset + i, (uint8_t)(value >> 8 * i));
}

const struct io_ops ide_command_ops = {command_read, command_write, 4};

/* ---- control block: alternate status, device control ---- */

static uint32_t control_read(void *dev, uint16_t offset, unsigned size) { return status_of(dev); }

static void control_write(void *dev, uint16_t offset, unsigned size, uint32_t value) {
  struct ide_channel *c = dev;
  uint8_t before = c->control;
  c->control = (uint8_t)value;
  if (value & CONTROL_NO_IRQ) ide_set_irq(c, false);
  for (unsigned i = 0; i < IDE_UNITS && value & ~(uint32_t)before & CONTROL_RESET; i++) ide_unit_reset(c, i);
  if (before & ~value & CONTROL_RESET) reset_both(c);
}

const struct io_ops ide_control_ops = {control_read, control_write, 1};
