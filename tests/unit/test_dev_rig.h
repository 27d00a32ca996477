/* A PC on a test bench: the real chips, a counted clock that only advance() moves, and a mock of the mmu that keeps MMIO windows
 * and 1 MiB of RAM. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "devices/chips/port92.h"
#include "devices/chips/uart16550.h"
#include "devices/pc.h"
#include "devices/state.h"

enum { RIG_WINDOWS = 32, RIG_OUTPUT = 4096, RIG_DEVICES = 5 };

struct rig_window {
  uint64_t base, size;
  const struct mmu_io_ops *ops;
  void *opaque;
};
struct mmu {
  uint64_t ram_size;
  uint8_t low[1 << 20];
  struct rig_window windows[RIG_WINDOWS];
};
struct rig {
  struct mmu mmu;
  struct clock *clock;
  struct pc *pc;
  struct io_bus *io;
  bool intr, a20;
  unsigned intr_rises, resets, power_offs, nmis, inits, exits;
  uint32_t exit_value;
  uint8_t output[RIG_OUTPUT];
  unsigned output_size;
  struct rig_port { /* what is at the other end of a serial port */
    struct char_backend backend;
    struct rig *rig;
    unsigned accepts; /* char_accept() so far */
  } ports[4];
  struct uart16550_properties serial[4];
  struct device_config devices[RIG_DEVICES];
};

struct mmu_area *mmu_add_io(struct mmu *m, gpa base, uint64_t size, const struct mmu_io_ops *ops, void *opaque) {
  for (unsigned i = 0; i < RIG_WINDOWS; i++)
    if (!m->windows[i].ops) {
      m->windows[i] = (struct rig_window){base.v, size, ops, opaque};
      return (struct mmu_area *)&m->windows[i];
    }
  fail_msg("no room for another MMIO window");
  return NULL;
}

void mmu_remove_io(struct mmu *m, gpa base) {
  for (unsigned i = 0; i < RIG_WINDOWS; i++)
    if (m->windows[i].ops && m->windows[i].base == base.v) m->windows[i].ops = 0;
}

uint64_t mmu_ram_size(const struct mmu *m) { return m->ram_size; }

/* Memory that chips show and hide is nothing that these tests look at (test_dev_memory.c does): all areas are one. */
static uint8_t rig_area[64 << 10];
struct mmu_area *mmu_ram_area(struct mmu *m) {
  return (struct mmu_area *)rig_area;
}
struct mmu_area *mmu_add_memory(struct mmu *m, gpa base, uint64_t size, unsigned flags) {
  return mmu_ram_area(m);
}
struct mmu_area *mmu_add_alias(struct mmu *m, struct mmu_area *of, uint64_t at, uint64_t size, gpa base, unsigned flags) {
  return of;
}
void mmu_remove_area(struct mmu *m, struct mmu_area *area) {}
void mmu_move_area(struct mmu *m, struct mmu_area *area, gpa base) {}
void mmu_show_area(struct mmu *m, struct mmu_area *area, bool shown) {}
void mmu_set_area_stores(struct mmu *m, struct mmu_area *area, enum mmu_stores stores) {}
void mmu_change_begin(struct mmu *m) {}
void mmu_change_end(struct mmu *m) {}
uint64_t mmu_area_size(const struct mmu_area *area) { return sizeof rig_area; }
/* Of the VGA, which these PCs have not (test_dev_vga.c has one). */
void mmu_set_io_plain(struct mmu_area *window) {}
void mmu_area_write(struct mmu *m, const struct mmu_area *area, uint64_t offset, const void *from, uint64_t size) {}
struct mmu_dirty *mmu_dirty_start(struct mmu *m, const struct mmu_area *area, uint64_t offset, uint64_t size) {
  return NULL;
}
uint64_t mmu_dirty_collect(struct mmu *m, struct mmu_dirty *dirty, uint64_t *bitmap) { return 0; }
void mmu_dirty_stop(struct mmu *m, struct mmu_dirty *dirty) {}
uint32_t mmu_area_frame(const struct mmu_area *area) { return 0; }
void *mmu_frame_pointer(struct mmu *m, uint32_t frame) { return rig_area; }

/* Behind the first MiB is nothing. */
void mmu_dma_write(struct mmu *m, gpa addr, const void *from, uint64_t size) {
  uint64_t room = addr.v < sizeof m->low ? sizeof m->low - addr.v : 0;
  if (room) memcpy(m->low + addr.v, from, size < room ? size : room);
}
uint8_t *mmu_dma_claim(struct mmu *m, gpa addr, uint64_t size) {
  bool plain = addr.v + size <= 0xa0000 || addr.v >= 0x100000;
  return plain && addr.v <= sizeof m->low && size <= sizeof m->low - addr.v ? m->low + addr.v : NULL;
}
void *mmu_ram_pointer(struct mmu *m, gpa addr, uint64_t size) {
  return addr.v <= sizeof m->low && size <= sizeof m->low - addr.v ? m->low + addr.v : NULL;
}
void mmu_dma_read(struct mmu *m, gpa addr, void *to, uint64_t size) {
  uint64_t room = addr.v < sizeof m->low ? sizeof m->low - addr.v : 0;
  memset(to, 0xff, size);
  if (room) memcpy(to, m->low + addr.v, size < room ? size : room);
}

/* By physical address, as the CPU does it: windows alone. */
void mmu_phys_read(struct mmu *m, gpa addr, void *to, unsigned size) {
  uint32_t value = 0xffffffff;
  for (unsigned i = 0; i < RIG_WINDOWS; i++) {
    const struct rig_window *w = &m->windows[i];
    if (w->ops && addr.v - w->base < w->size) value = w->ops->read(w->opaque, addr.v - w->base, size);
  }
  memcpy(to, &value, size);
}
bool mmu_phys_write(struct mmu *m, gpa addr, const void *from, unsigned size) {
  uint32_t value = 0;
  memcpy(&value, from, size);
  for (unsigned i = 0; i < RIG_WINDOWS; i++) {
    const struct rig_window *w = &m->windows[i];
    if (w->ops && addr.v - w->base < w->size) w->ops->write(w->opaque, addr.v - w->base, size, value);
  }
  return false;
}

static inline void rig_intr(void *opaque, bool level) {
  struct rig *r = opaque;
  r->intr_rises += level && !r->intr;
  r->intr = level;
}
static inline void rig_a20(void *opaque, bool level) { ((struct rig *)opaque)->a20 = level; }
static inline void rig_reset(void *opaque) { ((struct rig *)opaque)->resets++; }
static inline void rig_power_off(void *opaque) { ((struct rig *)opaque)->power_offs++; }
static inline void rig_nmi(void *opaque) { ((struct rig *)opaque)->nmis++; }
static inline void rig_init(void *opaque) { ((struct rig *)opaque)->inits++; }
static inline void rig_exit(void *opaque, uint32_t value) {
  struct rig *r = opaque;
  r->exits++;
  r->exit_value = value;
}
static inline void rig_output(struct char_backend *b, const uint8_t *bytes, unsigned n) {
  struct rig *r = ((struct rig_port *)b)->rig;
  for (unsigned i = 0; i < n; i++) r->output[r->output_size++ % RIG_OUTPUT] = bytes[i];
}
static inline void rig_accept(struct char_backend *b) { ((struct rig_port *)b)->accepts++; }
/* A port that is not there has no room, and swallows. */
static inline unsigned rig_room(struct rig *r, unsigned port) {
  const struct char_front *f = &r->ports[port & 3].backend.front;
  return port < 4 && f->can_receive ? f->can_receive(f->opaque) : 0;
}
static inline void rig_receive(struct rig *r, unsigned port, const uint8_t *bytes, unsigned n) {
  const struct char_front *f = &r->ports[port & 3].backend.front;
  if (port < 4 && f->receive) f->receive(f->opaque, bytes, n);
}

/* With these devices in place of four serial ports and isa-debug-exit. NULL, and *error: they cannot be. */
static inline struct rig *rig_create_as(bool apic, bool slew, const struct device_config *devices, unsigned count,
                                        const char **error) {
  static const struct char_ops port_ops = {.write = rig_output, .accept = rig_accept};
  static const struct debug_exit_properties debug_exit = {0xf4, 4};
  struct rig *r = calloc(1, sizeof *r);
  r->mmu.ram_size = 128 << 20;
  r->clock = clock_create(0, 0);
  struct pc_config c = {.mmu = &r->mmu,
                        .clock = r->clock,
                        .opaque = r,
                        .cpu_intr = rig_intr,
                        .cpu_nmi = rig_nmi,
                        .cpu_init = rig_init,
                        .a20 = rig_a20,
                        .reset = rig_reset,
                        .power_off = rig_power_off,
                        .debug_exit = rig_exit,
                        .devices = devices ? devices : r->devices,
                        .device_count = devices ? count : RIG_DEVICES,
                        .acpi = true,
                        .apic = apic,
                        .hpet = true,
                        .rtc_slew = slew};
  for (uint32_t i = 0; i < 4; i++) {
    r->ports[i] = (struct rig_port){{&port_ops, {0}}, r, 0};
    r->serial[i] = (struct uart16550_properties){i, UINT32_MAX, UINT32_MAX, &r->ports[i].backend};
    r->devices[i] = (struct device_config){&uart16550_type, &r->serial[i]};
  }
  r->devices[4] = (struct device_config){&debug_exit_type, &debug_exit};
  r->pc = pc_create(&c, error);
  if (r->pc) {
    r->io = pc_io(r->pc);
    pc_leave_as_bios(r->pc); /* what most tests begin with */
    return r;
  }
  clock_destroy(r->clock);
  free(r);
  return NULL;
}
static inline struct rig *rig_create_with(bool apic, const struct device_config *devices, unsigned count, const char **error) {
  return rig_create_as(apic, false, devices, count, error);
}
static inline struct rig *rig_create_slewing(const char **error) { return rig_create_as(false, true, NULL, 0, error); }
static inline struct rig *rig_create(bool apic) {
  const char *error = NULL;
  struct rig *r = rig_create_with(apic, NULL, 0, &error);
  if (!r) fail_msg("%s", error);
  return r;
}

static inline void rig_destroy(struct rig *r) {
  pc_destroy(r->pc);
  clock_destroy(r->clock);
  free(r);
}

static inline int rig_setup(void **state) {
  *state = rig_create(false);
  return 0;
}
static inline int rig_setup_apic(void **state) {
  *state = rig_create(true);
  return 0;
}
static inline int rig_teardown(void **state) {
  rig_destroy(*state);
  return 0;
}

static inline uint8_t in8(struct rig *r, uint16_t port) { return (uint8_t)io_bus_read(r->io, port, 1); }
static inline uint16_t in16(struct rig *r, uint16_t port) { return (uint16_t)io_bus_read(r->io, port, 2); }
static inline uint32_t in32(struct rig *r, uint16_t port) { return io_bus_read(r->io, port, 4); }
static inline void out8(struct rig *r, uint16_t port, uint8_t v) { io_bus_write(r->io, port, 1, v); }
static inline void out16(struct rig *r, uint16_t port, uint16_t v) { io_bus_write(r->io, port, 2, v); }
static inline void out32(struct rig *r, uint16_t port, uint32_t v) { io_bus_write(r->io, port, 4, v); }

static inline struct rig_window *rig_window(struct rig *r, uint64_t addr) {
  for (unsigned i = 0; i < RIG_WINDOWS; i++)
    if (r->mmu.windows[i].ops && addr - r->mmu.windows[i].base < r->mmu.windows[i].size) return &r->mmu.windows[i];
  return 0;
}
static inline uint32_t mmio_in(struct rig *r, uint64_t addr, unsigned size) {
  struct rig_window *w = rig_window(r, addr);
  return w ? w->ops->read(w->opaque, addr - w->base, size) : 0xffffffff;
}
static inline void mmio_out(struct rig *r, uint64_t addr, unsigned size, uint32_t v) {
  struct rig_window *w = rig_window(r, addr);
  if (w) w->ops->write(w->opaque, addr - w->base, size, v);
}

/* Lets guest time pass, timers firing at their deadlines. */
static inline void advance(struct rig *r, int64_t ns) {
  int64_t target = clock_now(r->clock) + ns;
  while (clock_next_deadline(r->clock) <= target) {
    clock_skip_to(r->clock, clock_next_deadline(r->clock));
    clock_run(r->clock);
  }
  clock_skip_to(r->clock, target);
}
/* Lets it pass while the host was away: nothing fires before the end. */
static inline void stall(struct rig *r, int64_t ns) { clock_skip_to(r->clock, clock_now(r->clock) + ns); }

/* Both 8259s as Linux sets them up: vectors 30h and 38h, everything masked but `unmasked`. */
static inline void pic_setup(struct rig *r, uint16_t unmasked) {
  out8(r, 0x20, 0x11);
  out8(r, 0x21, 0x30);
  out8(r, 0x21, 4);
  out8(r, 0x21, 1);
  out8(r, 0xa0, 0x11);
  out8(r, 0xa1, 0x38);
  out8(r, 0xa1, 2);
  out8(r, 0xa1, 1);
  out8(r, 0x21, (uint8_t)~unmasked);
  out8(r, 0xa1, (uint8_t)(~unmasked >> 8));
}
