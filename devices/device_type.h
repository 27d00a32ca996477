/* A kind of device that a machine may have any number of (-device NAME). What every PC has is listed in pc.c instead.
 *
 * To add one: a `const struct device_type` in the device's file, declared in its header, and its place in device_types.c
 * (docs/hacking.md, "Add a device"). */
#pragma once
#include <stdbool.h>
#include "bus.h"
#include "property.h"

struct pci;
struct ide_channel;
struct block_backend;

/* Where a device is put: what it may connect to. Lives as long as the machine. */
struct device_place {
  struct io_bus *io;
  struct mmu *mmu;
  struct clock *clock;
  struct pci *pci;
  struct ide_channel *ide; /* two: the PIIX3's, ide.0 and ide.1 */
  void *opaque;            /* for the callbacks */
  /* An ISA interrupt line that is this device's own source: its level does not clear another's. */
  struct irq_line (*isa_irq)(void *opaque, unsigned irq);
  /* Makes it serial port `wanted` of 0 to 3 (UINT32_MAX: the first that is free), and fills in *base and *irq where they are
   * UINT32_MAX. Ports with the usual two are in the firmware's tables. The port's number; -1: there is that one already. */
  int (*com_port)(void *opaque, uint32_t wanted, uint32_t *base, uint32_t *irq);
  int (*lpt_port)(void *opaque, uint32_t wanted, uint32_t *base, uint32_t *irq); /* the same for parallel ports, 0 to 2 */
  void (*debug_exit)(void *opaque, uint32_t value);
  /* A drive for the floppy controller: unit 0 or 1 (UINT32_MAX: the first that is free, which is filled in), of an enum
   * floppy_type (storage/floppy.h), with that back end (NULL: it stays empty). NULL, or what is wrong, a literal. */
  const char *(*floppy)(void *opaque, uint32_t *unit, unsigned type, struct block_backend *backend);
  /* For bootindex= (UINT32_MAX: none): the device is tried in that order by a firmware, which knows it by this OpenFirmware path,
   * as QEMU writes it ("/pci@i0cf8/ethernet@3/ethernet-phy@0"). NULL, or what is wrong, a literal. */
  const char *(*boot_path)(void *opaque, uint32_t bootindex, const char *path);
  /* The image of a card's ROM by its file's name (romfile=); it lives as long as the machine. NULL: there is none, or no firmware
   * that would run it. */
  const uint8_t *(*rom)(void *opaque, const char *name, uint32_t *size);
};

struct device_type {
  const char *name, *help;
  const struct property *properties;  /* to PROPERTY_END */
  size_t properties_size, state_size; /* of the structs that make() gets */
  bool single;                        /* a machine has one at most */
  /* What is wrong with properties that are each within their bounds: a literal; NULL: nothing. Pure. May be NULL */
  const char *(*check)(const void *properties);
  /* `state` is zeros and is freed behind destroy(); properties live as long. NULL: *out is made; else what is wrong, a literal.
   */
  const char *(*make)(void *state, const void *properties, const struct device_place *place, struct device *out);
};
/* One device of a machine. */
struct device_config {
  const struct device_type *type;
  const void *properties;
};
/* NULL: there is none of that name. */
const struct device_type *device_type_find(const char *name);
const struct device_type *device_type_at(unsigned i); /* NULL: there are no more */
