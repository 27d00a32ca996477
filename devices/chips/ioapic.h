/* 82093AA I/O APIC. */
#pragma once
#include "lapic.h"

enum { IOAPIC_PINS = 24 };

struct ioapic_wires {
  void *opaque;
  /* Sends an interrupt message; false when nobody took it. */
  bool (*send)(void *opaque, uint8_t destination, bool logical, enum apic_mode mode, uint8_t vector, bool level);
  void (*changed)(void *opaque); /* what ioapic_extint() says may have changed */
};

struct ioapic {
  uint8_t id, index;
  uint32_t lines;              /* levels of the pins */
  uint32_t edges;              /* edges that no local APIC has taken yet */
  uint64_t entry[IOAPIC_PINS]; /* redirection table */
  struct mmu *mmu;
  struct ioapic_wires wires;
};

struct device ioapic_init(struct ioapic *s, struct mmu *mmu, struct ioapic_wires wires);
void ioapic_set_irq(struct ioapic *s, unsigned pin, bool level);
void ioapic_eoi(struct ioapic *s, uint8_t vector);
bool ioapic_extint(const struct ioapic *s); /* pin 0 (the 8259's INTR) is high and passed on as ExtINT */
