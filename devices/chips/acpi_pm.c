/* ACPI power management. ACPI 1.0b, 4.7 (fixed hardware); Intel PIIX4 (82371AB) data sheet, chapter 7.
 *
 * Owns SCI and soft-off. The PM timer is the guest clock at 3.579545 MHz, 24 bits; TMR_STS (bit 23 changed) is worked out when
 * somebody looks, and has a host timer only while TMR_EN is on. Starts in legacy mode (SCI_EN = 0) until ACPI_ENABLE goes to port
 * B2h - there is no SMM, so the port is the firmware. SLP_EN with SLP_TYP of S5 ends the machine; no other sleep state is
 * offered, others are ignored. Missing: SMBus, wake-up events, and GPE sources (the block is there, nothing sets its status).
 */
#include "acpi_pm.h"

enum { PM_TIMER_HZ = 3579545, PM_TIMER_MASK = 0xffffff, HALF_PERIOD_BITS = 23 };
enum {
  TMR = 1 << 0,
  GBL = 1 << 5,
  PWRBTN = 1 << 8,
  RTC = 1 << 10,
  WAK = 1 << 15,
  STATUS_BITS = TMR | 1 << 4 | GBL | PWRBTN | RTC | WAK,
  ENABLE_BITS = TMR | GBL | PWRBTN | RTC
};
enum { SCI_EN = 1, CONTROL_BITS = 0x1c02, SLP_TYP = 10, SLP_EN = 1 << 13 };
enum { CONFIG_PMBASE = 0x40, PMBASE_BITS = 0xffc0, CONFIG_DEVACTB = 0x58, CONFIG_PMREGMISC = 0x80, PM_BLOCK = 64 };
/* SMIs by port B2h are on, which tells a firmware that SMM has been set up, as QEMU's does where it has none (smm=off). */
enum { DEVACTB_APMC = 1 << 25 };

static const struct field fields[] = {FIELD(acpi_pm, status),
                                      FIELD(acpi_pm, enable),
                                      FIELD(acpi_pm, control),
                                      FIELD(acpi_pm, gpe_status),
                                      FIELD(acpi_pm, gpe_enable),
                                      FIELD_ARRAY(acpi_pm, smi),
                                      FIELD(acpi_pm, sci),
                                      FIELD(acpi_pm, wraps),
                                      PCI_FIELDS(acpi_pm, function),
                                      FIELD_TIMER(acpi_pm, timer),
                                      FIELD_END};

static uint64_t timer_ticks(const struct acpi_pm *s) { return clock_ns_to_ticks(clock_now(s->clock), PM_TIMER_HZ); }

static void update_sci(struct acpi_pm *s) {
  bool wanted = (s->status & s->enable & ENABLE_BITS) || (s->gpe_status & s->gpe_enable);
  uint8_t sci = wanted && (s->control & SCI_EN);
  if (sci == s->sci) return;
  s->sci = sci;
  irq_set(&s->sci_out, sci);
}

/* Brings TMR_STS up to now, and arms the timer for the next change of bit 23 if that is to interrupt. */
static void settle(struct acpi_pm *s) {
  uint64_t wraps = timer_ticks(s) >> HALF_PERIOD_BITS;
  if (wraps != s->wraps) s->status |= TMR;
  s->wraps = wraps;
  bool wanted = (s->enable & TMR) && !(s->status & TMR);
  clock_timer_set(s->clock, &s->timer, wanted ? clock_ticks_to_ns((wraps + 1) << HALF_PERIOD_BITS, PM_TIMER_HZ) : INT64_MAX);
  update_sci(s);
}

static void fire(void *opaque) { settle(opaque); }

void acpi_pm_power_button(struct acpi_pm *s) {
  s->status |= PWRBTN;
  update_sci(s);
}

/* ---- PM block ---- */

static uint32_t pm_read(void *dev, uint16_t offset, unsigned size) {
  struct acpi_pm *s = dev;
  uint32_t value = 0;
  settle(s);
  switch (offset & ~3) {
  case 0: value = s->status | (uint32_t)s->enable << 16; break;
  case 4: value = s->control; break;
  case 8: value = timer_ticks(s) & PM_TIMER_MASK; break;
  }
  return value >> 8 * (offset & 3);
}

static void write_control(struct acpi_pm *s, uint16_t value) {
  s->control = (value & CONTROL_BITS) | (s->control & SCI_EN); /* SCI_EN is the firmware's */
  if ((value & SLP_EN) && (value >> SLP_TYP & 7) == ACPI_SLP_TYP_S5) irq_set(&s->power_off, true);
}

static void pm_write_byte(struct acpi_pm *s, unsigned offset, uint8_t value) {
  unsigned shift = offset & 1 ? 8 : 0;
  uint16_t bits = (uint16_t)(value << shift), lane = (uint16_t)(0xff << shift);
  switch (offset & ~1u) {
  case 0: s->status &= (uint16_t)~bits; break;
  case 2: s->enable = (s->enable & (uint16_t)~lane) | (bits & ENABLE_BITS); break;
  case 4: write_control(s, (s->control & (uint16_t)~lane) | bits); break;
  }
}

static void pm_write(void *dev, uint16_t offset, unsigned size, uint32_t value) {
  struct acpi_pm *s = dev;
  settle(s);
  for (unsigned i = 0; i < size; i++) pm_write_byte(s, offset + i, (uint8_t)(value >> 8 * i));
  settle(s);
}

/* ---- GPE block and SMI command port ---- */

static uint32_t gpe_read(void *dev, uint16_t offset, unsigned size) {
  const struct acpi_pm *s = dev;
  return (s->gpe_status | (uint32_t)s->gpe_enable << 16) >> 8 * offset & 0xff;
}

static void gpe_write(void *dev, uint16_t offset, unsigned size, uint32_t value) {
  struct acpi_pm *s = dev;
  unsigned shift = offset & 1 ? 8 : 0;
  uint16_t bits = (uint16_t)((value & 0xff) << shift);
  if (offset < 2) s->gpe_status &= (uint16_t)~bits;
  else s->gpe_enable = (s->gpe_enable & (uint16_t) ~(0xff << shift)) | bits;
  update_sci(s);
}

static uint32_t smi_read(void *dev, uint16_t offset, unsigned size) { return ((struct acpi_pm *)dev)->smi[offset & 1]; }

static void smi_write(void *dev, uint16_t offset, unsigned size, uint32_t value) {
  struct acpi_pm *s = dev;
  s->smi[offset & 1] = (uint8_t)value;
  if (offset) return;
  if (value == ACPI_ENABLE) s->control |= SCI_EN;
  else if (value == ACPI_DISABLE) s->control &= (uint16_t)~SCI_EN;
  update_sci(s);
}

/* ---- configuration space ---- */

/* The PM block is no BAR: its base and its enable are registers of the PIIX4's own. */
static uint64_t pm_block(void *dev) {
  const struct pci_function *f = &((struct acpi_pm *)dev)->function;
  uint64_t base = pci_get(f, CONFIG_PMBASE, 2) & PMBASE_BITS;
  return base && pci_get(f, CONFIG_PMREGMISC, 1) & 1 ? base : PCI_NOWHERE;
}

static const struct pci_register registers[] = {
  {PCI_COMMAND, 2, 0, PCI_COMMAND_IO, 0}, /* the SMBus' ports; the PM block's are decoded all the same */
  {PCI_STATUS, 2, 0x0200, 0, 0},
  {PCI_INTERRUPT_PIN, 1, 1, 0, 0}, /* shown, but it is the SCI, which is on IRQ 9 and on no PIRQ */
  {CONFIG_PMBASE, 2, 0x0001, PMBASE_BITS, 0},
  {CONFIG_DEVACTB, 4, DEVACTB_APMC, 0xffffffff, 0},
  {CONFIG_DEVACTB + 4, 4, 0, 0xffffffff, 0},
  {CONFIG_PMREGMISC, 1, 0, 1, 0},
};
static const struct io_ops pm_ops = {pm_read, pm_write, 4};
static const struct pci_info info = {
  .name = "acpi-pm",
  .vendor = 0x8086,
  .device = 0x7113,
  .class_code = 0x068000,
  .revision = 3,
  .subsystem_vendor = PCI_QEMU_VENDOR,
  .subsystem = PCI_QEMU_DEVICE,
  .region = {{.size = PM_BLOCK, .type = PCI_IO, .io = &pm_ops, .where = pm_block}},
  .registers = registers,
  .register_count = sizeof registers / sizeof *registers,
};

/* ---- life ---- */

static void reset(void *state) {
  struct acpi_pm *s = state;
  pci_function_reset(&s->function);
  s->status = s->enable = s->control = s->gpe_status = s->gpe_enable = 0;
  s->smi[0] = s->smi[1] = 0;
  s->wraps = timer_ticks(s) >> HALF_PERIOD_BITS;
  settle(s);
}

static void loaded(void *state) {
  struct acpi_pm *s = state;
  s->status &= STATUS_BITS;
  s->enable &= ENABLE_BITS;
  s->control &= CONTROL_BITS | SCI_EN;
  s->sci = s->sci != 0;
  pci_function_loaded(&s->function);
  irq_set(&s->sci_out, s->sci);
  clock_timer_set(s->clock, &s->timer, s->timer.deadline);
}

static void destroy(void *state) {
  struct acpi_pm *s = state;
  clock_timer_cancel(s->clock, &s->timer);
}

struct device acpi_pm_init(struct acpi_pm *s, struct io_bus *io, struct pci *pci, struct clock *clock, struct irq_line sci,
                           struct irq_line power_off) {
  static const struct io_ops gpe_ops = {gpe_read, gpe_write, 1}, smi_ops = {smi_read, smi_write, 1};
  *s = (struct acpi_pm){.clock = clock, .sci_out = sci, .power_off = power_off};
  clock_timer_init(&s->timer, "acpi-pm", fire, s);
  pci_attach(pci, &s->function, pci_devfn(1, 3), &info, s);
  reset(s);
  io_bus_add(io, ACPI_GPE_BASE, ACPI_GPE_LENGTH, &gpe_ops, s, "gpe");
  io_bus_add(io, ACPI_SMI_PORT, 2, &smi_ops, s, "smi");
  return (struct device){"acpi-pm", s, fields, reset, loaded, destroy, 0};
}
