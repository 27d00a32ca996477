/* `info pci`, `info mtree`, `info qtree`: what the machine is made of and where it answers. */
#include "../../devices/chips/pci.h"
#include "../../devices/map.h"
#include <string.h>
#include "../machine.h"
#include "command.h"

static const struct pci *pci_of(struct machine *m) {
  unsigned count;
  const struct device *devices = pc_devices(m->pc, &count);
  for (unsigned i = 0; i < count; i++)
    if (!strcmp(devices[i].name, "pci")) return devices[i].state;
  return NULL;
}

/* ---- info pci, as QEMU's ---- */

/* PCI Code and ID Assignment; QEMU's words for those that it has words for. */
static const struct {
  uint16_t class_code; /* base class, subclass */
  const char *name;
} classes[] = {{0x0100, "SCSI controller"}, {0x0101, "IDE controller"},     {0x0102, "Floppy controller"},
               {0x0106, "SATA controller"}, {0x0108, "NVME controller"},    {0x0200, "Ethernet controller"},
               {0x0300, "VGA controller"},  {0x0380, "Display controller"}, {0x0401, "Audio controller"},
               {0x0600, "Host bridge"},     {0x0601, "ISA bridge"},         {0x0604, "PCI bridge"},
               {0x0680, "Bridge"},          {0x0c03, "USB controller"},     {0x0c05, "SMBus"}};

static void show_class(struct text *out, uint32_t class_code) {
  for (unsigned i = 0; i < sizeof classes / sizeof classes[0]; i++)
    if (classes[i].class_code == class_code >> 8) return text_printf(out, "    %s", classes[i].name);
  text_printf(out, "    Class %04x", class_code >> 8);
}

static void show_region(struct text *out, const struct pci_function *f, unsigned i) {
  const struct pci_region *r = &f->info->region[i];
  unsigned long long base = f->base[i], end = base + r->size - 1;
  if (!r->size || r->where) return;
  text_printf(out, "      BAR%u: ", i);
  if (i != PCI_ROM && r->type & PCI_IO) return text_printf(out, "I/O at 0x%04llx [0x%04llx].\n", base, end);
  text_printf(out, "%d bit%s memory at 0x%08llx [0x%08llx].\n", r->type & PCI_MEMORY_64 ? 64 : 32,
              r->type & PCI_PREFETCHABLE ? " prefetchable" : "", base, end);
}

static void show_function(struct text *out, const struct pci_function *f) {
  text_printf(out, "  Bus  0, device %3u, function %u:\n", f->devfn >> 3, f->devfn & 7);
  show_class(out, f->info->class_code);
  text_printf(out, ": PCI device %04x:%04x\n", pci_get(f, 0, 2), pci_get(f, 2, 2));
  if (pci_get(f, 0x2c, 2)) text_printf(out, "      PCI subsystem %04x:%04x\n", pci_get(f, 0x2c, 2), pci_get(f, 0x2e, 2));
  unsigned pin = pci_get(f, PCI_INTERRUPT_PIN, 1);
  if (pin) text_printf(out, "      IRQ %u, pin %c\n", pci_get(f, PCI_INTERRUPT_LINE, 1), 'A' + pin - 1);
  for (unsigned i = 0; i < PCI_REGIONS; i++) show_region(out, f, i);
  text_printf(out, "      id \"\"\n");
}

static void info_pci(struct command_call *call) {
  const struct pci *pci = pci_of(call->machine);
  for (unsigned i = 0; pci && i < 256; i++)
    if (pci->function[i]) show_function(call->out, pci->function[i]);
}

/* ---- info mtree ---- */

/* Windows have no names in the map: those at fixed places, and those of PCI functions, are known by where they are. */
static void show_name(struct text *out, struct machine *m, const struct mmu_map_range *r) {
  static const struct {
    uint64_t base;
    const char *name;
  } fixed[] = {{IOAPIC_BASE, "ioapic"}, {HPET_BASE, "hpet"}, {LAPIC_BASE, "lapic"}};
  const struct pci *pci = pci_of(m);
  if (r->area == mmu_ram_area(m->mmu)) return text_printf(out, "ram");
  for (unsigned i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
    if (r->start >= fixed[i].base && r->start < fixed[i].base + 0x1000) return text_printf(out, "%s", fixed[i].name);
  for (unsigned n = 0; pci && n < 256; n++)
    for (unsigned i = 0; pci->function[n] && i < PCI_REGIONS; i++) {
      const struct pci_function *f = pci->function[n];
      if (f->info->region[i].size && r->start - f->base[i] < f->info->region[i].size)
        return text_printf(out, "%s BAR%u", f->info->name, i);
    }
  text_printf(out, r->kind == MMU_IO ? "registers" : "memory");
}

static void show_memory(struct command_call *call) {
  static const char *const kinds[] = {[MMU_RAM] = "ram", [MMU_ROM] = "rom", [MMU_IO] = "i/o", [MMU_NOTHING] = "nothing"};
  struct mmu_map_range r;
  text_printf(call->out, "memory\n");
  for (unsigned i = 0; mmu_map_range(call->machine->mmu, i, &r); i++) {
    text_printf(call->out, "  %016llx-%016llx (prio %u, %s): ", (unsigned long long)r.start, (unsigned long long)r.end - 1,
                r.level, kinds[r.kind]);
    show_name(call->out, call->machine, &r);
    if (r.kind != MMU_IO && r.offset) text_printf(call->out, " @%016llx", (unsigned long long)r.offset);
    text_put(call->out, "\n", 1);
  }
}

static void show_ports(struct command_call *call) {
  text_printf(call->out, "I/O\n");
  for (uint32_t port = 0, end; port < 0x10000; port = end) {
    const char *name = io_bus_name(call->machine->ports, (uint16_t)port, &end);
    if (name) text_printf(call->out, "  %04x-%04x: %s\n", port, end - 1, name);
  }
}

static void info_mtree(struct command_call *call) { show_memory(call), show_ports(call); }

/* ---- info qtree ---- */

static void show_property(struct text *out, const struct property *row, const void *values) {
  const void *at = (const uint8_t *)values + row->offset;
  uint64_t number = 0;
  const char *text;
  text_printf(out, "    %s = ", row->name);
  switch (row->type) {
  case PROPERTY_BOOL: text_printf(out, *(const bool *)at ? "true" : "false"); break;
  case PROPERTY_NUMBER:
  case PROPERTY_SIZE:
    memcpy(&number, at, row->size);
    if (number == UINT64_MAX >> (64 - 8 * row->size)) text_printf(out, "(default)");
    else text_printf(out, "%llu (%#llx)", (unsigned long long)number, (unsigned long long)number);
    break;
  case PROPERTY_TEXT:
    memcpy(&text, at, sizeof text);
    text_printf(out, "\"%s\"", text ? text : "");
    break;
  default: /* a back end, or none */ memcpy(&text, at, sizeof text); text_printf(out, text ? "(connected)" : "\"\"");
  }
  text_put(out, "\n", 1);
}

/* What every PC has, then what was asked for, with its properties. */
static void info_qtree(struct command_call *call) {
  const struct machine *m = call->machine;
  unsigned count;
  const struct device *devices = pc_devices(m->pc, &count);
  for (unsigned i = 0; i < count; i++) text_printf(call->out, "  chip: %s\n", devices[i].name);
  for (unsigned i = 0; i < m->device_count; i++) {
    const struct device_config *c = &m->devices[i];
    text_printf(call->out, "  dev: %s\n", c->type->name);
    for (const struct property *row = c->type->properties; row->name; row++) show_property(call->out, row, c->properties);
  }
}

const struct command map_infos[] = {COMMAND("pci", NULL, "", "show PCI devices", info_pci),
                                    COMMAND("mtree", NULL, "", "show what answers at which address and port", info_mtree),
                                    COMMAND("qtree", NULL, "", "show the chips, and devices with their properties", info_qtree),
                                    COMMANDS_END};
