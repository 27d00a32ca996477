/* The machine, from top to bottom, and its wiring.
 *
 * Owns every chip by value, the ISA interrupt lines (each output of each chip is a source of its own, irq.h), and the CPU's INTR.
 * Each ISA IRQ goes to the 8259s and to the I/O APIC (IRQ 0 to pin 2, as in every PC since the 440FX); the 8259s' INTR goes to
 * LINT0 of the local APIC, to pin 0 of the I/O APIC and, where one of them passes it on as ExtINT or the local APIC is off, to
 * the CPU. The HPET can replace 8254 and RTC on IRQ 0 and 8. INTR is high exactly while pc_ack_interrupt() would return a vector.
 * After pc_reset() the chips are as after power-on; pc_leave_as_bios() makes of that what a kernel finds.
 */
#include "pc.h"
#include "irq.h"
#include "chips/acpi_pm.h"
#include "chips/dma8237.h"
#include "chips/hpet.h"
#include "input/i8042.h"
#include "chips/i8254.h"
#include "chips/i8259.h"
#include "chips/i440fx.h"
#include "chips/ioapic.h"
#include "chips/lapic.h"
#include "chips/mc146818.h"
#include "chips/piix3.h"
#include "chips/piix3_ide.h"
#include "chips/port92.h"
#include "display/vga_state.h"
#include "firmware/bios_rom.h"
#include "firmware/boot_order.h"
#include "firmware/cmos.h"
#include "firmware/fw_cfg.h"
#include "firmware/handover.h"
#include "firmware/tables.h"
#include "storage/drives.h"
#include "storage/fdc.h"
#include <stdio.h>
#include <stdlib.h>

enum { MAX_ADDED = 16, SERIAL_PORTS = 4, PARALLEL_PORTS = 3 };
enum { KEYBOARD_IRQ = 1, FLOPPY_IRQ = 6, RTC_IRQ = 8, AUX_IRQ = 12, FERR_IRQ = 13, IDE_IRQ = 14, FLOPPY_DMA = 2 };
enum { VGA_DEVFN = 2 << 3 };

static const uint16_t serial_base[SERIAL_PORTS] = {0x3f8, 0x2f8, 0x3e8, 0x2e8};
static const uint8_t serial_irq[SERIAL_PORTS] = {4, 3, 4, 3};
static const uint16_t parallel_base[PARALLEL_PORTS] = {0x378, 0x278, 0x3bc};
static const uint8_t parallel_irq[PARALLEL_PORTS] = {7, 7, 7};
/* IRQ 2 is no ISA line: as a line's number here it means the I/O APIC's pin 2, which IRQ 0 is wired to as well. */
enum { IRQ_PIN_2 = 2 };

struct pc {
  struct pc_config config;
  struct io_bus *io;
  struct i8259 pic;
  struct lapic lapic;
  struct ioapic ioapic;
  struct i8254 pit;
  struct hpet hpet;
  struct mc146818 rtc;
  struct i8042 keyboard;
  struct port92 port92;
  struct ferr ferr;
  struct dma8237 dma;
  struct fdc fdc;
  struct pci pci;
  struct bios_rom bios; /* this and fw_cfg: with config.firmware */
  struct fw_cfg fw_cfg;
  struct boot_order boot_order;
  struct i440fx host;
  struct piix3 isa;
  struct piix3_ide ide;
  struct acpi_pm pm;
  struct vga vga;                     /* with config.vga */
  struct irq_fanin irqs;              /* IRQs, and pins of the I/O APIC from 16 on */
  struct irq_line pit_line, rtc_line; /* the sources that the HPET can replace */
  struct added {                      /* by config.devices */
    struct pc *pc;
    void *state;
  } added[MAX_ADDED];
  uint8_t com_ports, lpt_ports; /* bit by port that is taken, at its usual place or not */
  uint8_t pic_intr, intr;
  bool ready; /* every chip is there: INTR may be worked out */
  struct device *devices;
  unsigned count, capacity;
  bool failed;    /* a part could not be made */
  uint8_t booted; /* the firmware was started, and -boot once= has been used */
};

/* ---- interrupts ---- */

static bool extint(const struct pc *pc) {
  return pc->pic_intr && (!pc->config.apic || lapic_accepts_extint(&pc->lapic) || ioapic_extint(&pc->ioapic));
}

bool pc_interrupt_pending(struct pc *pc) { return (pc->config.apic && lapic_pending(&pc->lapic) >= 0) || extint(pc); }

static void update_intr(void *opaque) {
  struct pc *pc = opaque;
  if (!pc->ready) return;
  bool intr = pc_interrupt_pending(pc);
  if (intr == pc->intr) return;
  pc->intr = intr;
  if (pc->config.cpu_intr) pc->config.cpu_intr(pc->config.opaque, intr);
}

int pc_ack_interrupt(struct pc *pc) {
  int vector = pc->config.apic ? lapic_ack(&pc->lapic) : -1;
  if (vector < 0 && extint(pc)) vector = i8259_ack(&pc->pic);
  update_intr(pc);
  return vector;
}

static void pic_intr(void *opaque, int n, bool level) {
  struct pc *pc = opaque;
  pc->pic_intr = level;
  if (pc->config.apic) {
    ioapic_set_irq(&pc->ioapic, 0, level);
    lapic_set_lint(&pc->lapic, 0, level);
  }
  update_intr(pc);
}

static void isa_line_changed(void *opaque, int line) {
  struct pc *pc = opaque;
  bool high = irq_fanin_high(&pc->irqs, line);
  if (line != IRQ_PIN_2) i8259_set_irq(&pc->pic, (unsigned)line, high);
  if (!pc->config.apic) return;
  if (line == 0 || line == IRQ_PIN_2)
    ioapic_set_irq(&pc->ioapic, IRQ_PIN_2, irq_fanin_high(&pc->irqs, 0) || irq_fanin_high(&pc->irqs, IRQ_PIN_2));
  else ioapic_set_irq(&pc->ioapic, (unsigned)line, high);
}

/* A line for one output of one chip; `irq` is given with each call where the output is a router's. */
static struct irq_line isa_source(struct pc *pc, int irq) { return irq_fanin_source(&pc->irqs, irq); }

static void pirq_line(void *opaque, int pirq, bool level) { piix3_set_pirq(&((struct pc *)opaque)->isa, (unsigned)pirq, level); }

/* The HPET takes IRQ 0 and IRQ 8 over; 8254 and RTC are off them. */
static void legacy_line(void *opaque, int n, bool on) {
  struct pc *pc = opaque;
  i8254_connect(&pc->pit, !on);
  irq_fanin_mute(&pc->pit_line, on);
  irq_fanin_mute(&pc->rtc_line, on);
}

static bool apic_send(void *opaque, uint8_t destination, bool logical, enum apic_mode mode, uint8_t vector, bool level) {
  struct pc *pc = opaque;
  return lapic_matches(&pc->lapic, destination, logical) && lapic_deliver(&pc->lapic, mode, vector, level);
}

static void apic_eoi(void *opaque, uint8_t vector) { ioapic_eoi(&((struct pc *)opaque)->ioapic, vector); }

static void apic_nmi(void *opaque) {
  struct pc *pc = opaque;
  if (pc->config.cpu_nmi) pc->config.cpu_nmi(pc->config.opaque);
}

static void apic_init(void *opaque) {
  struct pc *pc = opaque;
  if (pc->config.cpu_init) pc->config.cpu_init(pc->config.opaque);
}

/* The lines' levels are saved too: a chip that drives its line again after a load then makes no edge. */
static const struct field wiring_fields[] = {IRQ_FANIN_FIELDS(pc, irqs), FIELD(pc, pic_intr), FIELD(pc, intr), FIELD(pc, booted),
                                             FIELD_END};

static void wiring_reset(void *state) { update_intr(state); }

/* Last of all: the CPU's pin is not part of the devices' state, so it is told in any case. */
static void wiring_loaded(void *state) {
  struct pc *pc = state;
  irq_fanin_loaded(&pc->irqs);
  pc->booted = pc->booted != 0;
  pc->intr = pc_interrupt_pending(pc);
  if (pc->config.cpu_intr) pc->config.cpu_intr(pc->config.opaque, pc->intr);
}

/* ---- A20, reset, power, debug exit ---- */

static void a20_line(void *opaque, int n, bool level) {
  struct pc *pc = opaque;
  i8042_set_a20(&pc->keyboard, level);
  port92_set_a20(&pc->port92, level);
  if (pc->config.a20) pc->config.a20(pc->config.opaque, level);
}

static void reset_line(void *opaque, int n, bool level) {
  struct pc *pc = opaque;
  if (level && pc->config.reset) pc->config.reset(pc->config.opaque);
}

static void power_line(void *opaque, int n, bool level) {
  struct pc *pc = opaque;
  if (level && pc->config.power_off) pc->config.power_off(pc->config.opaque);
}

static void debug_exit(void *opaque, uint32_t value) {
  struct pc *pc = ((struct added *)opaque)->pc;
  if (pc->config.debug_exit) pc->config.debug_exit(pc->config.opaque, value);
}

/* ---- devices that are asked for ---- */

/* Each output is a source of its own: COM1 and COM3 share IRQ 4. */
static struct irq_line isa_irq(void *opaque, unsigned irq) { return isa_source(((struct added *)opaque)->pc, (int)irq); }

/* Ports of one kind: where BIOSes look for them, which are taken, and what the tables say of those that are at their place. */
struct usual {
  unsigned count;
  const uint16_t *base;
  const uint8_t *irq;
  uint8_t *taken;
  uint16_t *told;
};

static int take_port(const struct usual *u, uint32_t wanted, uint32_t *base, uint32_t *irq) {
  unsigned port = wanted;
  if (wanted == UINT32_MAX) port = (unsigned)__builtin_ctz(~(unsigned)*u->taken);
  if (port >= u->count || *u->taken >> port & 1) return -1;
  *u->taken |= (uint8_t)(1 << port);
  if (*base == UINT32_MAX) *base = u->base[port];
  if (*irq == UINT32_MAX) *irq = u->irq[port];
  if (*base == u->base[port] && *irq == u->irq[port]) u->told[port] = u->base[port];
  return (int)port;
}

static int com_port(void *opaque, uint32_t wanted, uint32_t *base, uint32_t *irq) {
  struct pc *pc = ((struct added *)opaque)->pc;
  const struct usual usual = {SERIAL_PORTS, serial_base, serial_irq, &pc->com_ports, pc->config.com};
  return take_port(&usual, wanted, base, irq);
}

static int lpt_port(void *opaque, uint32_t wanted, uint32_t *base, uint32_t *irq) {
  struct pc *pc = ((struct added *)opaque)->pc;
  const struct usual usual = {PARALLEL_PORTS, parallel_base, parallel_irq, &pc->lpt_ports, pc->config.lpt};
  return take_port(&usual, wanted, base, irq);
}

static const char *floppy(void *opaque, uint32_t *unit, unsigned type, struct block_backend *backend) {
  return fdc_attach(&((struct added *)opaque)->pc->fdc, unit, (enum floppy_type)type, backend);
}

static const char *boot_path(void *opaque, uint32_t bootindex, const char *path) {
  return boot_order_add(&((struct added *)opaque)->pc->boot_order, bootindex, path);
}

static const uint8_t *rom(void *opaque, const char *name, uint32_t *size) {
  const struct pc_config *c = &((struct added *)opaque)->pc->config;
  return c->rom ? c->rom(c->opaque, name, size) : NULL;
}

/* ---- the machine ---- */

static struct irq_line wire(struct pc *pc, void (*set)(void *, int, bool), int n) { return (struct irq_line){set, pc, n}; }

/* A device without a name could not be made; without memory for it here it is undone at once. Either way there is no machine. */
static void add(struct pc *pc, struct device device) {
  if (!device.name) {
    pc->failed = true;
    return;
  }
  if (pc->count == pc->capacity) {
    unsigned capacity = pc->capacity ? 2 * pc->capacity : 32;
    struct device *more = realloc(pc->devices, capacity * sizeof *more);
    if (!more) {
      if (device.destroy) device.destroy(device.state);
      pc->failed = true;
      return;
    }
    pc->devices = more;
    pc->capacity = capacity;
  }
  pc->devices[pc->count++] = device;
}

/* NULL, or what is wrong. */
static const char *add_configured(struct pc *pc, unsigned number) {
  const struct device_config *c = &pc->config.devices[number];
  struct device device = {0};
  if (number >= MAX_ADDED) return "too many devices";
  struct added *a = &pc->added[number];
  *a = (struct added){pc, calloc(1, c->type->state_size)};
  if (!a->state) return "not enough memory";
  const struct device_place place = {
    .io = pc->io,
    .mmu = pc->config.mmu,
    .clock = pc->config.clock,
    .pci = &pc->pci,
    .ide = pc->ide.channel,
    .opaque = a,
    .isa_irq = isa_irq,
    .com_port = com_port,
    .lpt_port = lpt_port,
    .debug_exit = debug_exit,
    .floppy = floppy,
    .boot_path = boot_path,
    .rom = rom,
  };
  const char *error = c->type->make(a->state, c->properties, &place, &device);
  if (!error) add(pc, device);
  return error;
}

/* Where a BIOS looks for the geometry of IDE disks. */
static void tell_disks(struct pc *pc) {
  struct cmos_disk disks[IDE_CHANNELS * IDE_UNITS] = {0};
  for (unsigned i = 0; i < IDE_CHANNELS * IDE_UNITS; i++) {
    struct ide_geometry g;
    if (!ide_disk_geometry(pc->ide.channel, i, &g)) continue;
    disks[i] =
      (struct cmos_disk){(uint16_t)g.cylinders, (uint8_t)g.heads, (uint8_t)g.sectors, (enum cmos_translation)g.translation};
  }
  cmos_set_disks(pc->rtc.cmos, disks);
}

/* What the machine's firmware hears of it, when all that is in it is known. NULL, or what is wrong. */
static const char *add_firmware(struct pc *pc) {
  const struct pc_config *c = &pc->config;
  char order[BOOT_PLACES * BOOT_PATH + 1];
  const char *error = NULL;
  for (unsigned i = 0; i < c->firmware->file_count && !error; i++) {
    const struct firmware_file *f = &c->firmware->files[i];
    char path[BOOT_PATH];
    snprintf(path, sizeof path, "/rom@%s", f->name);
    error = boot_order_add(&pc->boot_order, f->bootindex, path);
  }
  boot_order_text(&pc->boot_order, order);
  add(pc, fw_cfg_init(&pc->fw_cfg, pc->io, c->mmu));
  if (!fw_cfg_fill(&pc->fw_cfg, c, order)) pc->failed = true;
  return error;
}

/* The order is that of saving and resetting: interrupt controllers before those who pull their lines, the wiring last. */
static const char *assemble(struct pc *pc) {
  const char *error = NULL;
  struct pc_config *c = &pc->config;
  struct irq_line a20 = wire(pc, a20_line, 0), reset = wire(pc, reset_line, 0);
  irq_fanin_init(&pc->irqs, isa_line_changed, pc);
  pc->pit_line = isa_source(pc, 0);
  pc->rtc_line = isa_source(pc, RTC_IRQ);
  if (c->apic) {
    add(pc, lapic_init(&pc->lapic, c->mmu, c->clock, (struct lapic_wires){pc, update_intr, apic_nmi, apic_init, apic_eoi}));
    add(pc, ioapic_init(&pc->ioapic, c->mmu, (struct ioapic_wires){pc, apic_send, update_intr}));
  }
  add(pc, i8259_init(&pc->pic, pc->io, wire(pc, pic_intr, 0)));
  add(pc, i8254_init(&pc->pit, pc->io, c->clock, pc->pit_line));
  add(pc, mc146818_init(&pc->rtc, pc->io, c->clock, mmu_ram_size(c->mmu), c->rtc_slew, pc->rtc_line));
  if (c->hpet) add(pc, hpet_init(&pc->hpet, c->mmu, c->clock, isa_source(pc, 0), wire(pc, legacy_line, 0)));
  add(pc, i8042_init(&pc->keyboard, pc->io, c->clock, isa_source(pc, KEYBOARD_IRQ), isa_source(pc, AUX_IRQ), a20, reset));
  add(pc, port92_init(&pc->port92, pc->io, a20, reset));
  add(pc, ferr_init(&pc->ferr, pc->io, isa_source(pc, FERR_IRQ)));
  add(pc, dma8237_init(&pc->dma, pc->io, c->mmu));
  add(pc, fdc_init(&pc->fdc, pc->io, c->clock, isa_source(pc, FLOPPY_IRQ), dma8237_channel(&pc->dma, FLOPPY_DMA)));
  add(pc, pci_init(&pc->pci, pc->io, c->mmu, wire(pc, pirq_line, 0)));
  if (c->firmware) add(pc, bios_rom_init(&pc->bios, c->mmu, c->firmware));
  add(pc, i440fx_init(&pc->host, &pc->pci, c->mmu, pc->bios.area));
  add(pc, piix3_init(&pc->isa, pc->io, &pc->pci, isa_source(pc, 0), reset));
  add(pc, piix3_ide_init(&pc->ide, pc->io, c->mmu, &pc->pci, isa_source(pc, IDE_IRQ), isa_source(pc, IDE_IRQ + 1)));
  if (c->acpi) add(pc, acpi_pm_init(&pc->pm, pc->io, &pc->pci, c->clock, isa_source(pc, ACPI_SCI), wire(pc, power_line, 0)));
  if (c->vga) add(pc, vga_init(&pc->vga, c->vga, VGA_DEVFN, &pc->pci, pc->io, c->mmu, c->clock));
  for (unsigned i = 0; i < c->device_count && !error; i++) error = add_configured(pc, i);
  tell_disks(pc);
  cmos_set_floppies(pc->rtc.cmos, (enum cmos_floppy)fdc_drive_type(&pc->fdc, 0), (enum cmos_floppy)fdc_drive_type(&pc->fdc, 1));
  if (c->firmware && !error) error = add_firmware(pc);
  add(pc, (struct device){"wiring", pc, wiring_fields, wiring_reset, wiring_loaded, 0, 0});
  return error;
}

struct pc *pc_create(const struct pc_config *config, const char **error) {
  struct pc *pc = calloc(1, sizeof *pc);
  *error = "not enough memory";
  if (!pc) return NULL;
  pc->config = *config;
  pc->io = io_bus_create();
  if (pc->io) *error = assemble(pc);
  if (!*error && pc->failed) *error = "not enough memory";
  if (!*error && pc->irqs.full) *error = "they have more interrupt outputs than there is room for";
  if (*error) return pc_destroy(pc), NULL;
  pc->ready = true;
  update_intr(pc);
  return pc;
}

void pc_destroy(struct pc *pc) {
  if (!pc) return;
  for (unsigned i = pc->count; i-- > 0;)
    if (pc->devices[i].destroy) pc->devices[i].destroy(pc->devices[i].state);
  for (unsigned i = 0; i < MAX_ADDED; i++) free(pc->added[i].state);
  io_bus_destroy(pc->io);
  free(pc->devices);
  free(pc);
}

/* -boot once= is what the first start finds in CMOS; what the guest makes of its order is left alone where nothing is said. */
static void set_boot_order(struct pc *pc) {
  const struct firmware_config *f = pc->config.firmware;
  bool first = !pc->booted;
  pc->booted = 1;
  if (f && (first || f->boot_once))
    cmos_set_boot(pc->rtc.cmos, first && f->boot_once ? f->boot_once : f->boot_order, f->floppy_unchecked);
}

void pc_reset(struct pc *pc) {
  set_boot_order(pc);
  for (unsigned i = 0; i < pc->count; i++) pc->devices[i].reset(pc->devices[i].state);
}

void pc_leave_as_bios(struct pc *pc) {
  handover_write(pc->io, pc->config.mmu);
  if (!pc->config.vga) return;
  handover_place_vga(pc->io, VGA_DEVFN);
  vga_leave_as_bios(&pc->vga);
}

/* ---- what the rest of bt sees ---- */

bool pc_has_fast_ports(struct pc *pc, struct pc_fast_ports *out) {
  if (!pc->config.vga) return false;
  *out = (struct pc_fast_ports){0x3c4, 0x3d0 - 0x3c4, vga_fast_port_write, &pc->vga};
  return true;
}

struct io_bus *pc_io(struct pc *pc) {
  return pc->io;
}
struct clock *pc_clock(struct pc *pc) {
  return pc->config.clock;
}
uint64_t pc_apic_base(struct pc *pc) { return pc->config.apic ? pc->lapic.base : 0; }

void pc_set_apic_base(struct pc *pc, uint64_t value) {
  if (pc->config.apic) lapic_set_base(&pc->lapic, value);
}

void pc_set_ferr(struct pc *pc, bool level) { ferr_set(&pc->ferr, level); }

void pc_keyboard_press(struct pc *pc, enum pc_key key, bool down) { i8042_press(&pc->keyboard, key, down); }
unsigned pc_keyboard_room(const struct pc *pc) { return i8042_key_room(&pc->keyboard); }
void pc_mouse_move(struct pc *pc, int dx, int dy, int dz, unsigned buttons) { i8042_mouse(&pc->keyboard, dx, dy, dz, buttons); }

void pc_power_button(struct pc *pc) {
  if (pc->config.acpi) acpi_pm_power_button(&pc->pm);
}

gpa pc_write_tables(struct pc *pc) { return tables_write(pc->config.mmu, &pc->config); }

static unsigned cmos_bcd(struct pc *pc, uint8_t index) {
  io_bus_write(pc->io, 0x70, 1, index);
  uint32_t value = io_bus_read(pc->io, 0x71, 1);
  return (value >> 4 & 15) * 10 + (value & 15);
}

uint32_t pc_day_seconds(struct pc *pc) {
  unsigned hour = cmos_bcd(pc, 4), minute = cmos_bcd(pc, 2), second = cmos_bcd(pc, 0);
  return hour * 3600 + minute * 60 + second;
}

uint16_t pc_serial_base(struct pc *pc, unsigned port) { return port < SERIAL_PORTS ? pc->config.com[port] : 0; }
unsigned pc_floppy_drives(struct pc *pc) {
  return (fdc_drive_type(&pc->fdc, 0) != FLOPPY_NONE) + (fdc_drive_type(&pc->fdc, 1) != FLOPPY_NONE);
}
uint16_t pc_parallel_base(struct pc *pc, unsigned port) { return port < PARALLEL_PORTS ? pc->config.lpt[port] : 0; }

const struct device *pc_devices(struct pc *pc, unsigned *count) {
  *count = pc->count;
  return pc->devices;
}

bool pc_busy(struct pc *pc) {
  for (unsigned i = 0; i < pc->count; i++)
    if (pc->devices[i].busy && pc->devices[i].busy(pc->devices[i].state)) return true;
  return false;
}
