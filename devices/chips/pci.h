/* PCI bus 0 and what a function on it is (pci.c). A device says what it is in a constant struct pci_info, attaches with a struct
 * pci_function of its own, and answers in the regions that the guest's BARs place. */
#pragma once
#include "../bus.h"

enum { PCI_BARS = 6, PCI_ROM = PCI_BARS, PCI_REGIONS, PCI_CONFIG = 256 };
enum { PCI_COMMAND = 0x04, PCI_STATUS = 0x06, PCI_INTERRUPT_LINE = 0x3c, PCI_INTERRUPT_PIN = 0x3d };
enum {
  PCI_COMMAND_IO = 1,
  PCI_COMMAND_MEMORY = 2,
  PCI_COMMAND_MASTER = 4,
  PCI_COMMAND_SERR = 1 << 8,
  PCI_COMMAND_INTX_OFF = 1 << 10
};
enum { PCI_QEMU_VENDOR = 0x1af4, PCI_QEMU_DEVICE = 0x1100 }; /* subsystem of all that QEMU's PC has on its bus */
#define PCI_NOWHERE UINT64_MAX                               /* not decoded */

/* What a BAR's low bits show. 64-bit memory takes the next BAR's register too, which must be left empty. */
enum pci_region_type {
  PCI_MEMORY = 0,
  PCI_IO = 1,
  PCI_MEMORY_64 = 4,
  PCI_PREFETCHABLE = 8, /* with either memory */
  PCI_REAL = 16 /* with memory, not shown: the region is memory of its own (video RAM), pci_function.area[] from attach on */
};

/* A range of ports or memory, placed by BAR 0 to 5 or by the ROM's (PCI_ROM). */
struct pci_region {
  /* a power of two; ports: 4 to 256, memory: at least 16, PCI_REAL: at least 4 KiB, the ROM: at least 2 KiB; 0: there is none */
  uint32_t size;
  uint8_t type;
  const struct io_ops *io;         /* who answers; both NULL: the device maps it itself when `moved` tells it to */
  const struct mmu_io_ops *memory; /* offsets are from the region's start */
  uint64_t (*where)(void *dev);    /* not a BAR of the standard's: its place by other registers; NULL: a BAR */
};

/* A register of configuration space that is not zero and read-only: 1, 2 or 4 bytes, little-endian. A row overrides what the
 * header would say of its bytes. */
struct pci_register {
  uint8_t offset, size;
  uint32_t value;    /* at power-on */
  uint32_t writable; /* bits that are as they were written */
  uint32_t clear;    /* bits that writing a 1 clears */
};

struct pci_capability {
  uint8_t id, at; /* at: from 40h on, a multiple of 4; rows of registers[] say what is behind its two bytes */
};

/* What a function is. All is of the device's type and constant, or lives as long as the function. */
struct pci_info {
  const char *name;
  uint16_t vendor, device, subsystem_vendor, subsystem;
  uint32_t class_code; /* base class, subclass, programming interface */
  uint8_t revision, header_type;
  uint8_t pin; /* 1: INTA ... 4: INTD; 0: pci_set_intx() is never called */
  bool master; /* it reads and writes memory by itself: PCI_COMMAND_MASTER can be set */
  struct pci_region region[PCI_REGIONS];
  const struct pci_register *registers;
  unsigned register_count;
  const struct pci_capability *capabilities; /* in the order of the list */
  unsigned capability_count;
  /* Bytes of configuration space were written, and hold their new values. NULL: nobody cares. */
  void (*written)(void *dev, unsigned offset, unsigned size);
  /* A region was moved: where it was and where it is decoded now. `from` PCI_NOWHERE: enabled, `to` PCI_NOWHERE: disabled. */
  void (*moved)(void *dev, unsigned region, uint64_t from, uint64_t to);
};

struct pci;
struct pci_function {
  const struct pci_info *info;
  void *dev;
  struct pci *bus;
  uint8_t devfn; /* device << 3 | function */
  uint8_t intx;  /* level of its INTx pin, as pci_set_intx() said */
  bool asserted; /* what of it the bus sees: the command register can hold it back */
  uint8_t config[PCI_CONFIG], initial[PCI_CONFIG], writable[PCI_CONFIG], clear[PCI_CONFIG];
  uint64_t base[PCI_REGIONS];         /* where each region is decoded now */
  uint64_t next[PCI_REGIONS];         /* where it is about to be (pci.c) */
  struct mmu_area *area[PCI_REGIONS]; /* of PCI_REAL, the bus's; its contents are whole as long as the function is attached */
  const uint8_t *rom;                 /* what the ROM holds, where its region has no `memory`; reads behind it are ones */
  uint32_t rom_size;
};
/* What of a function is saved: rows of its device's field table. */
#define PCI_FIELDS(type, member) FIELD_ARRAY(type, member.config), FIELD(type, member.intx)

struct pci {
  uint32_t address; /* CF8h */
  struct pci_function *function[256];
  unsigned asserting[4]; /* functions that pull PIRQ A to D up */
  struct io_bus *io;
  struct mmu *mmu;
  struct irq_line pirq; /* called with n = 0 (A) to 3 (D) */
};

struct device pci_init(struct pci *s, struct io_bus *io, struct mmu *mmu, struct irq_line pirq);
/* Puts a function, zeroed by its owner, into its slot, in its power-on state. It stays for as long as the bus. False: the slot is
 * taken, or the host has no memory for its regions. */
bool pci_attach(struct pci *s, struct pci_function *f, uint8_t devfn, const struct pci_info *info, void *dev);
/* Takes it out: for an owner whose memory goes before the bus does. */
void pci_detach(struct pci_function *f);
/* Function 0 of the first device of which there is nothing, from 2 on (QEMU's order too); PCI_NO_SLOT: the bus is full. */
enum { PCI_NO_SLOT = -1 };
int pci_free_devfn(const struct pci *s);
void pci_function_reset(struct pci_function *f);  /* for its device's reset(): power-on values, INTx low */
void pci_function_loaded(struct pci_function *f); /* for its device's loaded(): what is read-only is so, regions are where BARs
                                                     say */
void pci_set_intx(struct pci_function *f, bool level);
bool pci_is_master(const struct pci_function *f); /* the guest lets it use memory; a device asks before each transfer */
uint32_t pci_get(const struct pci_function *f, unsigned offset, unsigned size); /* of its configuration space; size 1, 2, 4 */

static inline uint8_t pci_devfn(unsigned device, unsigned function) { return (uint8_t)(device << 3 | function); }
/* PIRQ (0: A) behind an INTx pin (0: INTA) of a device: the wiring that _PRT describes. */
static inline unsigned pci_pirq(unsigned device, unsigned pin) { return (device - 1 + pin) & 3; }
