/* The floppy disk controller. Intel 82077AA data sheet (290166); INT and DRQ gated as on an AT, registers A and B as on a PS/2.
 *
 * Owns ports 3F0h-3F5h and 3F7h, the phases (command, execution, result), interrupts, the heads' positions, and all commands that
 * move no data. Those that do are fdc_data.c's; drives and media are floppy.c's.
 *
 * Time: nothing turns. Data come as fast as the host has them, and motors need not be on. Commands that have moved their data end
 * at once, as QEMU's do: half of what a BIOS's read of a sector costs would be the guest's sleep otherwise. Seeks, resets, READ
 * ID and commands that fail end SOONEST_NS after the byte that asked for it, so that a driver that clears its flag behind that
 * byte does not lose the interrupt.
 *
 * As QEMU 7.2 where the data sheet leaves it open or drivers got used to it: implied seeks are on until CONFIGURE says otherwise;
 * a reset puts all heads over cylinder 0; VERSION is 90h and PART ID 41h (an 82078 of 44 pins), whose DRIVE SPECIFICATION,
 * OPTION and POWERDOWN MODE are taken and change nothing. DIR shows the selected drive's disk change line whether its motor is on
 * or not. RECALIBRATE reaches cylinder 0 from wherever the head is.
 *
 * Missing: SAVE, RESTORE, FORMAT AND WRITE of the 82078 (invalid); power down; tape drives (TDR keeps its bits).
 */
#include "fdc.h"
#include <string.h>

enum { SRA, SRB, DOR, TDR, MSR_DSR, FIFO, REGISTERS, BASE = 0x3f0, DIR_CCR = 0x3f7 };
enum { DOR_SELECT = 3, DOR_NOT_RESET = 1 << 2, DOR_GATE = 1 << 3, DOR_MOTOR_0 = 1 << 4 };
enum { DSR_RATE = 3, DSR_RESET = 1 << 7 };
enum { MSR_BUSY = 1 << 4, MSR_NON_DMA = 1 << 5, MSR_READ = 1 << 6, MSR_READY = 1 << 7 };
enum {
  SRA_INTERRUPT = 1 << 7,
  SRA_NO_DRIVE_2 = 1 << 6,
  SRA_NOT_TRACK_0 = 1 << 4,
  SRA_HEAD = 1 << 3,
  SRA_NOT_INDEX = 1 << 2,
  SRA_NOT_PROTECTED = 1 << 1
};
enum { SRB_ONES = 3 << 6, SRB_SELECT_0 = 1 << 5, DIR_CHANGED = 1 << 7 };
enum { ST3_TWO_SIDES = 1 << 3, ST3_TRACK_0 = 1 << 4, ST3_READY = 1 << 5, ST3_PROTECTED = 1 << 6 };
enum { DUE_RESET = 1 << 0, DUE_SEEK = 1 << 1, DUE_RESULT = 1 << 2 };
enum { DRIVE_SPECIFICATION = 0x8e, DONE = 1 << 7, NO_RESULT = 1 << 6 };
enum { SOONEST_NS = 20000, OUTERMOST = 0, INNERMOST = 255 };
enum { VERSION = 0x90, PART_ID = 0x41, RATE_AFTER_RESET = FLOPPY_250K };

static const struct field fields[] = {FIELD(fdc, dor),
                                      FIELD(fdc, tdr),
                                      FIELD(fdc, dsr),
                                      FIELD(fdc, config),
                                      FIELD(fdc, pretrk),
                                      FIELD(fdc, perpendicular),
                                      FIELD(fdc, lock),
                                      FIELD_ARRAY(fdc, specify),
                                      FIELD(fdc, eot_or_sc),
                                      FIELD(fdc, phase),
                                      FIELD_ARRAY(fdc, fifo),
                                      FIELD(fdc, at),
                                      FIELD(fdc, size),
                                      FIELD(fdc, interrupt),
                                      FIELD(fdc, dreq),
                                      FIELD(fdc, asked),
                                      FIELD(fdc, due),
                                      FIELD(fdc, senses),
                                      FIELD(fdc, seeking),
                                      FIELD(fdc, sought),
                                      FIELD_ARRAY(fdc, target),
                                      FIELD_ARRAY(fdc, pcn),
                                      FIELD_ARRAY(fdc, seek_st0),
                                      FIELD(fdc, began),
                                      FIELD_TIMER(fdc, timer),
                                      FIELD(fdc, transfer.kind),
                                      FIELD(fdc, transfer.stage),
                                      FIELD(fdc, transfer.unit),
                                      FIELD(fdc, transfer.head),
                                      FIELD(fdc, transfer.opcode),
                                      FIELD(fdc, transfer.c),
                                      FIELD(fdc, transfer.h),
                                      FIELD(fdc, transfer.r),
                                      FIELD(fdc, transfer.n),
                                      FIELD(fdc, transfer.eot),
                                      FIELD(fdc, transfer.physical),
                                      FIELD(fdc, transfer.step),
                                      FIELD(fdc, transfer.left),
                                      FIELD(fdc, transfer.at),
                                      FIELD(fdc, transfer.size),
                                      FIELD(fdc, transfer.last),
                                      FIELD(fdc, transfer.unequal),
                                      FIELD(fdc, transfer.unmet),
                                      FIELD(fdc, transfer.st0),
                                      FIELD(fdc, transfer.st1),
                                      FIELD(fdc, transfer.st2),
                                      FIELD_ARRAY(fdc, transfer.sector),
                                      FIELD(fdc, transfer.lba),
                                      FIELD(fdc, drive[0].changed),
                                      FIELD(fdc, drive[0].next_sector),
                                      FIELD(fdc, drive[1].changed),
                                      FIELD(fdc, drive[1].next_sector),
                                      FIELD_END};

/* ---- lines, time ---- */

struct floppy_drive *fdc_drive(struct fdc *s, unsigned unit) {
  return unit < FDC_DRIVES && s->drive[unit].attached ? &s->drive[unit] : NULL;
}

void fdc_update_lines(struct fdc *s) {
  bool open = s->dor & DOR_GATE, dreq = s->dreq && open;
  irq_set(&s->irq, s->interrupt && open);
  if (dreq == s->asked) return;
  s->asked = dreq;
  isa_dma_request(&s->dma, dreq);
}

void fdc_set_interrupt(struct fdc *s, bool level) {
  s->interrupt = level;
  fdc_update_lines(s);
}

static void come_later(struct fdc *s, uint8_t due, int64_t when) {
  s->due |= due;
  if (when < s->timer.deadline) clock_timer_set(s->clock, &s->timer, when);
}

void fdc_end_seeks(struct fdc *s) {
  for (unsigned unit = 0; unit < FDC_UNITS; unit++)
    if (s->seeking >> unit & 1) fdc_step_to(s, unit, s->target[unit]);
  s->sought |= s->seeking;
  s->seeking = 0;
}

static void fire(void *opaque) {
  struct fdc *s = opaque;
  uint8_t due = s->due;
  s->due = 0;
  if (due & DUE_RESET) s->senses = FDC_UNITS;
  if (due & DUE_SEEK) fdc_end_seeks(s);
  if (due & DUE_RESULT) s->phase = FDC_RESULT;
  fdc_set_interrupt(s, true);
}

void fdc_step_to(struct fdc *s, unsigned unit, uint8_t to) {
  struct floppy_drive *d = fdc_drive(s, unit);
  if (d && s->pcn[unit] != to) floppy_stepped(d);
  s->pcn[unit] = to;
}

/* ---- phases ---- */

static void command_phase(struct fdc *s) {
  s->phase = FDC_COMMAND;
  s->at = s->size = 0;
}

static void result(struct fdc *s, unsigned n) {
  s->phase = FDC_RESULT;
  s->at = 0;
  s->size = (uint8_t)n;
}

void fdc_result_interrupt(struct fdc *s, unsigned n, bool at_once) {
  result(s, n);
  s->phase = FDC_EXECUTION;
  int64_t now = clock_now(s->clock), when = at_once ? now : s->began + SOONEST_NS;
  s->due |= DUE_RESULT;
  if (when > now) come_later(s, DUE_RESULT, when);
  else clock_timer_cancel(s->clock, &s->timer), fire(s);
}

/* By DOR, DSR, or the machine's reset line: what software resets leave alone (rate, SPECIFY) stays. */
static void soft_reset(struct fdc *s) {
  fdc_data_abort(s);
  clock_timer_cancel(s->clock, &s->timer);
  s->due = s->senses = s->seeking = s->sought = s->dreq = 0;
  for (unsigned unit = 0; unit < FDC_UNITS; unit++) fdc_step_to(s, unit, OUTERMOST);
  s->config = s->lock ? CONFIG_EIS | (s->config & (CONFIG_NO_FIFO | CONFIG_THRESHOLD)) : CONFIG_EIS | CONFIG_NO_FIFO;
  if (!s->lock) s->pretrk = 0;
  s->perpendicular &= 0x3c; /* which drives are so, but not how it is written now */
  command_phase(s);
  fdc_set_interrupt(s, false);
}

static void out_of_reset(struct fdc *s) { come_later(s, DUE_RESET, clock_now(s->clock) + SOONEST_NS); }

/* ---- commands without data ---- */

static void invalid(struct fdc *s) {
  s->fifo[0] = ST0_INVALID;
  result(s, 1);
}

/* OPTION, which says how tape drives are read. */
static void option(struct fdc *s) { command_phase(s); }

/* Precompensation and rate table of each drive: media have one rate here. Four bytes of result, unless the last byte wants none.
 */
static void drive_specification(struct fdc *s) {
  bool silent = s->fifo[s->at - 1] & NO_RESULT;
  memset(s->fifo, 0, FDC_UNITS);
  if (silent) command_phase(s);
  else result(s, FDC_UNITS);
}

static void specify(struct fdc *s) {
  memcpy(s->specify, s->fifo + 1, 2);
  command_phase(s);
}

static void sense_drive(struct fdc *s) {
  unsigned unit = s->fifo[1] & 3;
  const struct floppy_drive *d = fdc_drive(s, unit);
  s->fifo[0] = (uint8_t)(ST3_READY | ST3_TWO_SIDES | (s->fifo[1] & 7));
  if (d && !s->pcn[unit]) s->fifo[0] |= ST3_TRACK_0;
  if (d && floppy_is_protected(d)) s->fifo[0] |= ST3_PROTECTED;
  result(s, 1);
}

static void seek_to(struct fdc *s, unsigned target, uint8_t st0) {
  unsigned unit = s->fifo[1] & 3;
  if (s->seeking >> unit & 1) fdc_end_seeks(s);
  s->target[unit] = (uint8_t)target;
  s->seek_st0[unit] = st0 | (uint8_t)unit;
  s->seeking |= (uint8_t)(1 << unit);
  s->sought &= (uint8_t) ~(1 << unit);
  command_phase(s);
  come_later(s, DUE_SEEK, s->began + SOONEST_NS);
}

/* Where no drive says that it is at cylinder 0, the controller gives up. */
static void recalibrate(struct fdc *s) {
  bool there = fdc_drive(s, s->fifo[1] & 3);
  seek_to(s, OUTERMOST, there ? ST0_SEEK_END : ST0_SEEK_END | ST0_CHECK | ST0_ABNORMAL);
}

static void seek(struct fdc *s) { seek_to(s, s->fifo[2], ST0_SEEK_END); }

static void relative_seek(struct fdc *s) {
  unsigned at = s->pcn[s->fifo[1] & 3], steps = s->fifo[2];
  bool inward = s->fifo[0] & 0x40;
  if (inward) at = at + steps > INNERMOST ? INNERMOST : at + steps;
  else at = at < steps ? OUTERMOST : at - steps;
  seek_to(s, at, ST0_SEEK_END);
}

/* Resets first, a unit each; then seeks. INT is raised anew for the next seek. */
static void sense_interrupt(struct fdc *s) {
  unsigned unit = FDC_UNITS - s->senses;
  if (!s->senses && !s->sought) {
    invalid(s);
    return;
  }
  if (s->senses) {
    s->senses--;
    s->fifo[0] = (uint8_t)(ST0_POLLING | unit);
  } else {
    unit = (unsigned)__builtin_ctz(s->sought);
    s->sought &= (uint8_t)(s->sought - 1);
    s->fifo[0] = s->seek_st0[unit];
  }
  s->fifo[1] = s->pcn[unit];
  result(s, 2);
  fdc_set_interrupt(s, false);
  if (s->sought) fdc_set_interrupt(s, true);
}

static void configure(struct fdc *s) {
  s->config = s->fifo[2] & (CONFIG_EIS | CONFIG_NO_FIFO | CONFIG_POLL_OFF | CONFIG_THRESHOLD);
  s->pretrk = s->fifo[3];
  command_phase(s);
}

static void dump_registers(struct fdc *s) {
  memcpy(s->fifo, s->pcn, FDC_UNITS);
  memcpy(s->fifo + 4, s->specify, 2);
  s->fifo[6] = s->eot_or_sc;
  s->fifo[7] = (uint8_t)(s->lock << 7 | s->perpendicular);
  s->fifo[8] = s->config;
  s->fifo[9] = s->pretrk;
  result(s, 10);
}

static void perpendicular_mode(struct fdc *s) {
  uint8_t value = s->fifo[1];
  s->perpendicular = (value & 0x80 ? value & 0x3c : s->perpendicular & 0x3c) | (value & 3); /* OW: the drives' bits count */
  command_phase(s);
}

static void lock(struct fdc *s) {
  s->lock = s->fifo[0] >> 7;
  s->fifo[0] = (uint8_t)(s->lock << 4);
  result(s, 1);
}

static void one_byte(struct fdc *s, uint8_t value) {
  s->fifo[0] = value;
  result(s, 1);
}
static void version(struct fdc *s) { one_byte(s, VERSION); }
static void part_id(struct fdc *s) { one_byte(s, PART_ID); }
static void power_down_mode(struct fdc *s) { one_byte(s, s->fifo[1]); }

/* The rows end with the one whose mask is 0. */
static const struct command {
  uint8_t mask, opcode, size; /* bits of the first byte that count; bytes of the command */
  void (*run)(struct fdc *s);
} commands[] = {
  /* clang-format off */
  {0x1f, 0x06, 9, fdc_read},
  {0x1f, 0x0c, 9, fdc_read_deleted},
  {0x1f, 0x02, 9, fdc_read_track},
  {0x3f, 0x05, 9, fdc_write},
  {0x3f, 0x09, 9, fdc_write},          /* deleted data: the image cannot keep the mark */
  {0x1f, 0x16, 9, fdc_verify},
  {0x1f, 0x11, 9, fdc_scan},           /* equal */
  {0x1f, 0x19, 9, fdc_scan},           /* low or equal */
  {0x1f, 0x1d, 9, fdc_scan},           /* high or equal */
  {0xbf, 0x0d, 6, fdc_format},
  {0xbf, 0x0a, 2, fdc_read_id},
  {0xff, 0x07, 2, recalibrate},
  {0xff, 0x08, 1, sense_interrupt},
  {0xff, 0x03, 3, specify},
  {0xff, 0x04, 2, sense_drive},
  {0xff, 0x0f, 3, seek},
  {0xbf, 0x8f, 3, relative_seek},
  {0xff, 0x13, 4, configure},
  {0xff, 0x0e, 1, dump_registers},
  {0xff, 0x12, 2, perpendicular_mode},
  {0x7f, 0x14, 1, lock},
  {0xff, 0x10, 1, version},
  {0xff, 0x18, 1, part_id},
  {0xff, 0x17, 2, power_down_mode},    /* from here on the 82078's */
  {0xff, 0x33, 2, option},
  {0xff, DRIVE_SPECIFICATION, 7, drive_specification}, /* or fewer: the last says that it is */
  {0, 0, 1, invalid},
  /* clang-format on */
};
static const struct command *command_of(uint8_t opcode) {
  const struct command *c = commands;
  while ((opcode & c->mask) != c->opcode) c++;
  return c;
}

static void command_byte(struct fdc *s, uint8_t value) {
  s->fifo[s->at++] = value;
  const struct command *c = command_of(s->fifo[0]);
  bool done = s->at == c->size || (s->fifo[0] == DRIVE_SPECIFICATION && s->at > 1 && value & DONE);
  if (!done) return;
  s->began = clock_now(s->clock);
  c->run(s);
}

/* ---- registers ---- */

static uint8_t read_sra(struct fdc *s) {
  unsigned unit = s->dor & DOR_SELECT;
  const struct floppy_drive *d = fdc_drive(s, unit);
  uint8_t value = SRA_NOT_INDEX | (s->interrupt ? SRA_INTERRUPT : 0) | (s->transfer.head ? SRA_HEAD : 0);
  if (!fdc_drive(s, 1)) value |= SRA_NO_DRIVE_2;
  if (!d || s->pcn[unit]) value |= SRA_NOT_TRACK_0;
  if (!d || !floppy_is_protected(d)) value |= SRA_NOT_PROTECTED;
  return value;
}

static uint8_t read_srb(const struct fdc *s) {
  return (uint8_t)(SRB_ONES | (s->dor & 1 ? SRB_SELECT_0 : 0) | (s->dor / DOR_MOTOR_0 & 3));
}

static uint8_t read_msr(const struct fdc *s) {
  if (!(s->dor & DOR_NOT_RESET)) return 0;
  switch (s->phase) {
  case FDC_COMMAND: return MSR_READY | (s->at ? MSR_BUSY : 0) | s->seeking;
  case FDC_RESULT: return MSR_READY | MSR_READ | MSR_BUSY | s->seeking;
  default: break;
  }
  uint8_t value = MSR_BUSY | s->seeking;
  if (!fdc_uses_dma(s) && !(s->due & DUE_RESULT)) value |= MSR_NON_DMA;
  if (fdc_data_ready(s)) value |= fdc_data_is_read(s) ? MSR_READY | MSR_READ : MSR_READY;
  return value;
}

static uint8_t read_fifo(struct fdc *s) {
  if (s->phase == FDC_EXECUTION && fdc_data_ready(s) && fdc_data_is_read(s)) return fdc_data_read(s);
  if (s->phase != FDC_RESULT) return 0;
  uint8_t value = s->fifo[s->at++];
  if (s->at == 1 && s->size == FDC_DATA_RESULT) fdc_set_interrupt(s, false);
  if (s->at >= s->size) command_phase(s);
  return value;
}

/* The port's other bits are the hard disk's, and read as zeros here. */
static uint32_t read_dir(void *dev, uint16_t offset, unsigned size) {
  struct fdc *s = dev;
  const struct floppy_drive *d = fdc_drive(s, s->dor & DOR_SELECT);
  return d && d->changed ? DIR_CHANGED : 0;
}

static void write_ccr(void *dev, uint16_t offset, unsigned size, uint32_t value) {
  struct fdc *s = dev;
  s->dsr = (s->dsr & (uint8_t)~DSR_RATE) | (value & DSR_RATE);
}

static uint32_t read(void *dev, uint16_t offset, unsigned size) {
  struct fdc *s = dev;
  switch (offset) {
  case SRA: return read_sra(s);
  case SRB: return read_srb(s);
  case DOR: return s->dor;
  case TDR: return s->tdr;
  case MSR_DSR: return read_msr(s);
  default: return read_fifo(s);
  }
}

static void write_dor(struct fdc *s, uint8_t value) {
  uint8_t before = s->dor;
  s->dor = value;
  if (before & ~value & DOR_NOT_RESET) soft_reset(s);
  if (~before & value & DOR_NOT_RESET) out_of_reset(s);
  fdc_update_lines(s);
}

static void write_dsr(struct fdc *s, uint8_t value) {
  s->dsr = value & (uint8_t)~DSR_RESET;
  if (!(value & DSR_RESET)) return;
  soft_reset(s);
  if (s->dor & DOR_NOT_RESET) out_of_reset(s);
}

static void write_fifo(struct fdc *s, uint8_t value) {
  if (!(s->dor & DOR_NOT_RESET)) return;
  if (s->phase == FDC_COMMAND) command_byte(s, value);
  else if (s->phase == FDC_EXECUTION && fdc_data_ready(s) && !fdc_data_is_read(s)) fdc_data_write(s, value);
}

static void write(void *dev, uint16_t offset, unsigned size, uint32_t value) {
  struct fdc *s = dev;
  switch (offset) {
  case DOR: write_dor(s, (uint8_t)value); break;
  case TDR: s->tdr = value & 3; break;
  case MSR_DSR: write_dsr(s, (uint8_t)value); break;
  case FIFO: write_fifo(s, (uint8_t)value); break;
  }
}

/* ---- life ---- */

static void reset(void *state) {
  struct fdc *s = state;
  s->lock = 0;
  soft_reset(s);
  s->dor = s->tdr = s->perpendicular = s->eot_or_sc = 0;
  s->dsr = RATE_AFTER_RESET;
  s->began = 0;
  memset(s->specify, 0, sizeof s->specify);
  memset(s->fifo, 0, sizeof s->fifo);
  memset(s->target, 0, sizeof s->target);
  memset(s->seek_st0, 0, sizeof s->seek_st0);
  for (unsigned unit = 0; unit < FDC_DRIVES; unit++) s->drive[unit].next_sector = 1;
  fdc_update_lines(s);
}

static void loaded(void *state) {
  struct fdc *s = state;
  s->phase %= FDC_PHASES;
  s->at %= FDC_FIFO, s->size = s->size > FDC_FIFO ? FDC_FIFO : s->size;
  if (s->phase == FDC_COMMAND && s->at >= command_of(s->fifo[0])->size) s->at = 0;
  s->lock &= 1, s->tdr &= 3, s->perpendicular &= 0x3f;
  s->due &= DUE_RESET | DUE_SEEK | DUE_RESULT;
  s->senses = s->senses > FDC_UNITS ? FDC_UNITS : s->senses;
  s->seeking &= 0x0f, s->sought &= 0x0f;
  s->interrupt = s->interrupt != 0, s->asked = s->asked != 0, s->dreq = s->dreq != 0;
  for (unsigned unit = 0; unit < FDC_DRIVES; unit++) s->drive[unit].changed = s->drive[unit].changed != 0;
  fdc_data_loaded(s);
  clock_timer_set(s->clock, &s->timer, s->timer.deadline);
  irq_set(&s->irq, s->interrupt && s->dor & DOR_GATE);
}

static void destroy(void *state) {
  struct fdc *s = state;
  clock_timer_cancel(s->clock, &s->timer);
  isa_dma_connect(&s->dma, NULL);
  for (unsigned unit = 0; unit < FDC_DRIVES; unit++) block_connect(s->drive[unit].backend, NULL);
}

static bool busy(void *state) { return ((struct fdc *)state)->waiting; }

struct device fdc_init(struct fdc *s, struct io_bus *io, struct clock *clock, struct irq_line irq, struct isa_dma dma) {
  static const struct io_ops ops = {read, write, 1}, rate = {read_dir, write_ccr, 1};
  *s = (struct fdc){.clock = clock, .irq = irq, .dma = dma};
  clock_timer_init(&s->timer, "fdc", fire, s);
  fdc_data_init(s);
  reset(s);
  io_bus_add(io, BASE, REGISTERS, &ops, s, "fdc");
  io_bus_add(io, DIR_CCR, 1, &rate, s, "fdc-rate"); /* the port between is a hard disk's */
  return (struct device){"fdc", s, fields, reset, loaded, destroy, busy};
}

/* ---- drives ---- */

static void medium_changed(void *opaque, bool loaded) { floppy_changed(opaque); }

const char *fdc_attach(struct fdc *s, uint32_t *unit, enum floppy_type type, struct block_backend *backend) {
  if (*unit == UINT32_MAX) *unit = s->drive[0].attached ? 1 : 0;
  if (*unit >= FDC_DRIVES || s->drive[*unit].attached) return "there are two floppy drives, unit 0 and unit 1, each once";
  struct floppy_drive *d = &s->drive[*unit];
  floppy_attach(d, type, backend);
  block_connect(backend, &(struct block_front){.opaque = d, .medium = medium_changed});
  return NULL;
}

enum floppy_type fdc_drive_type(const struct fdc *s, unsigned unit) { return s->drive[unit].type; }
