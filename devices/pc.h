/* The PC: pc.c lists the machine from top to bottom. */
#pragma once
#include "backend.h"
#include "bus.h"
#include "device_type.h"
#include "firmware/firmware.h"
#include "input/keys.h"

struct vga_config;
struct pc_config {
  struct mmu *mmu;
  struct clock *clock;
  void *opaque;                               /* for the callbacks */
  void (*cpu_intr)(void *opaque, bool level); /* INTR pin: 8259 (through LINT0/virtual wire) or local APIC */
  void (*cpu_nmi)(void *opaque);
  void (*cpu_init)(void *opaque); /* INIT: APIC message */
  void (*a20)(void *opaque, bool on);
  void (*reset)(void *opaque);                                           /* port 92h, CF9h, i8042 pulse, triple fault */
  void (*power_off)(void *opaque);                                       /* ACPI S5 */
  void (*debug_exit)(void *opaque, uint32_t value);                      /* isa-debug-exit */
  const uint8_t *(*rom)(void *opaque, const char *name, uint32_t *size); /* for struct device_place's; NULL: no device has one */
  const struct device_config *devices;                                   /* beside those that every PC has; they outlive the pc */
  unsigned device_count;
  const struct vga_config *vga;           /* display/vga.h; NULL: there is no adapter. Outlives pc_create() */
  bool acpi, apic, hpet;                  /* apic: the CPU model has a local APIC */
  const struct firmware_config *firmware; /* NULL: none is run: a kernel is started as if one had been (pc_leave_as_bios()) */
  bool rtc_slew;                          /* the RTC tells each of its periods, late if need be */
  uint32_t cpu_signature, cpu_features;   /* CPUID leaf 1: EAX, EDX; for MP and SMBIOS tables */
  /* pc_create()'s own, for tables: ports of the serial and parallel ports at their usual places; 0: none there */
  uint16_t com[4], lpt[3];
};

struct pc;
/* In its power-on state. NULL: *error is a literal: what is wrong with a device, or no memory. */
struct pc *pc_create(const struct pc_config *config, const char **error);
void pc_destroy(struct pc *pc);
void pc_reset(struct pc *pc); /* the reset line: power-on values; what batteries keep stays */
/* After a reset, where no firmware is run: writes to the chips what a BIOS has written when it starts a kernel. */
void pc_leave_as_bios(struct pc *pc);
struct io_bus *pc_io(struct pc *pc);
/* Ports from `base` on whose writes can be done with the guest's x87/SSE state live (D7); write() false: by the bus after all.
 * False: there are none. */
struct pc_fast_ports {
  uint16_t base, count;
  bool (*write)(void *opaque, uint16_t port, unsigned size, uint32_t value);
  void *opaque;
};
bool pc_has_fast_ports(struct pc *pc, struct pc_fast_ports *out);
/* The vCPU takes an interrupt: acknowledges it at the APIC or the 8259s and returns its vector; -1 if it went away (no INTA
 * result but spurious is returned as the manual says: 8259 spurious IRQ 7 is a vector). */
int pc_ack_interrupt(struct pc *pc);
bool pc_interrupt_pending(struct pc *pc);
uint64_t pc_apic_base(struct pc *pc);
void pc_set_apic_base(struct pc *pc, uint64_t value); /* IA32_APIC_BASE */
void pc_set_ferr(struct pc *pc, bool level);          /* IRQ 13 */
/* A key of the PS/2 keyboard goes down or up (input/keys.h: names, numbers). Down twice is down: the keyboard repeats by itself.
 */
void pc_keyboard_press(struct pc *pc, enum pc_key key, bool down);
unsigned pc_keyboard_room(const struct pc *pc); /* keys that can be pressed and released now without one being lost */
/* The mouse moved (counts; dy up, dz: the wheel, towards the user), and which buttons are down: bit 0 left, 1 right, 2 middle. */
void pc_mouse_move(struct pc *pc, int dx, int dy, int dz, unsigned buttons);
/* ACPI, MP and SMBIOS tables: writes them into F0000h-FFFFFh and returns the RSDP's address; 0: there is none. */
gpa pc_write_tables(struct pc *pc);
uint32_t pc_day_seconds(struct pc *pc);                /* since midnight, by the RTC; after pc_leave_as_bios() */
uint16_t pc_serial_base(struct pc *pc, unsigned port); /* 0: that port is not there */
uint16_t pc_parallel_base(struct pc *pc, unsigned port);
unsigned pc_floppy_drives(struct pc *pc); /* how many */
/* All chips, for save/load/compare/info. */
const struct device *pc_devices(struct pc *pc, unsigned *count);
struct clock *pc_clock(struct pc *pc);
bool pc_busy(struct pc *pc);         /* a chip waits for a back end: struct device's busy() */
void pc_power_button(struct pc *pc); /* ACPI fixed power button: a guest in ACPI mode powers off */
