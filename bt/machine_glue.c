/* What the monitor (vcpu.h, monitor.h), the MMU and the devices (pc.h) ask of the machine. All of it runs in the vCPU thread with
 * the guest's FP state parked, except what its comment gives to another thread. */
#include <stdarg.h>
#include <stdlib.h>
#include "machine.h"

/* ---- ports ---- */

static bool logs(const struct machine *m, enum log_item item) { return m->log_items >> item & 1; }

/* One line of -d io or unimp, at the guest's CS:EIP. */
static void log_access(struct machine *m, const char *what, uint64_t addr, unsigned size, const char *arrow, uint32_t value) {
  const struct vcpu *v = monitor_vcpu(m->monitor);
  machine_log(m, "%04x:%08x %s %#06llx %u %s %#x", v->s.seg[SEG_CS].selector, v->s.eip, what, (unsigned long long)addr, size,
              arrow, value);
}

uint32_t machine_io_read(struct machine *m, uint16_t port, unsigned size) {
  if (m->foreign) return m->foreign->read(m->foreign->opaque, true, port, size);
  uint32_t value = io_bus_read(m->ports, port, size);
  if (m->log_io) log_access(m, "in ", port, size, "->", value);
  if (logs(m, LOG_unimp) && !io_bus_has(m->ports, port)) log_access(m, "unimp in ", port, size, "->", value);
  return value;
}
void machine_io_write(struct machine *m, uint16_t port, unsigned size, uint32_t value) {
  if (m->foreign) {
    m->foreign->write(m->foreign->opaque, true, port, size, value);
    return;
  }
  if (m->log_io) log_access(m, "out", port, size, "<-", value);
  if (logs(m, LOG_unimp) && !io_bus_has(m->ports, port)) log_access(m, "unimp out", port, size, "<-", value);
  io_bus_write(m->ports, port, size, value);
}

/* ---- time, interrupts, state that belongs to the PC ---- */

uint64_t machine_tsc(struct machine *m) { return m->foreign ? m->foreign->tsc(m->foreign->opaque) : clock_tsc(m->clock); }
void machine_set_tsc(struct machine *m, uint64_t value) {
  if (!m->foreign) clock_tsc_write(m->clock, value);
}
uint64_t machine_apic_base(struct machine *m) { return m->foreign ? monitor_vcpu(m->monitor)->apic_base : pc_apic_base(m->pc); }
void machine_set_apic_base(struct machine *m, uint64_t value) {
  if (!m->foreign) pc_set_apic_base(m->pc, value);
}
void machine_set_ferr(struct machine *m, bool level) {
  if (!m->foreign) pc_set_ferr(m->pc, level);
}
int machine_ack_interrupt(struct machine *m) {
  int vector = m->foreign ? -1 : pc_ack_interrupt(m->pc);
  if (vector >= 0) m->interrupts[vector & 0xff]++;
  return vector;
}
void machine_triple_fault(struct machine *m) {
  const struct vcpu *v = monitor_vcpu(m->monitor);
  if (m->foreign) {
    m->foreign->triple_fault(m->foreign->opaque);
    monitor_exit(m->monitor);
    return;
  }
  if (logs(m, LOG_guest_errors)) machine_log(m, "%04x:%08x triple fault", v->s.seg[SEG_CS].selector, v->s.eip);
  machine_request_reset(m);
}

void machine_poll(struct machine *m) {
  if (m->foreign) return;
  if (atomic_load_explicit(&m->quit, memory_order_relaxed)) monitor_exit(m->monitor);
  wakeup_heed(&m->wakeup);
  clock_settle(m->clock);
  clock_run(m->clock);
  post_run(&m->posts);
  wakeup_arm(&m->wakeup);
}

void machine_idle(struct machine *m) {
  if (m->foreign) { /* who is the devices knows what wakes the CPU up */
    monitor_exit(m->monitor);
    return;
  }
  machine_each_chardev(m, chardev_flush);
  if (!atomic_load(&m->quit)) wakeup_sleep(&m->wakeup);
  machine_poll(m);
}

/* ---- logs ---- */

void machine_log(struct machine *m, const char *format, ...) {
  va_list args;
  va_start(args, format);
  vfprintf(m->log, format, args);
  va_end(args);
  fputc('\n', m->log);
}

const char *machine_symbol(struct machine *m, gla linear, uint32_t *offset) {
  return m->symbols ? symbols_find(m->symbols, (uint32_t)linear.v, offset) : NULL;
}

/* ---- callbacks of the devices ---- */

static void cpu_intr(void *opaque, bool level) { monitor_set_intr(((struct machine *)opaque)->monitor, level); }
static void cpu_nmi(void *opaque) { monitor_nmi(((struct machine *)opaque)->monitor); }

static void set_a20(void *opaque, bool on) {
  struct machine *m = opaque;
  struct vcpu *v = monitor_vcpu(m->monitor);
  if (v->a20_masked == !on) return;
  v->a20_masked = !on;
  vcpu_paging_changed(v);
}

void machine_request_reset(struct machine *m) {
  if (m->options->no_reboot) return machine_finish(m, END_RESET, 0);
  m->reset_wanted = true;
  monitor_exit(m->monitor);
}
static void reset(void *opaque) { machine_request_reset(opaque); }
/* A lone INIT goes to the reset vector; without a firmware, what stands there is a reset. */
static void init(void *opaque) {
  struct machine *m = opaque;
  if (!machine_has_firmware(m)) return machine_request_reset(m);
  m->init_wanted = true;
  monitor_exit(m->monitor);
}
static void power_off(void *opaque) { machine_finish(opaque, END_POWER_OFF, 0); }
static void debug_exit(void *opaque, uint32_t value) { machine_finish(opaque, END_DEBUG_EXIT, (int)((value << 1 | 1) & 0xff)); }

/* A card whose ROM is missing works all the same, for systems with a driver of their own. */
static const uint8_t *rom(void *opaque, const char *name, uint32_t *size) {
  struct machine *m = opaque;
  const struct image *image;
  char error[ERROR_TEXT];
  if (!machine_has_firmware(m)) return NULL;
  if (!roms_of_card(&m->roms, name, &image, error)) {
    fprintf(stderr, "bt: warning: %s: the guest finds a card without it\n", error);
    return NULL;
  }
  *size = (uint32_t)image->size;
  return image->bytes;
}

struct pc_config machine_pc_config(struct machine *m) {
  const struct bt_options *o = m->options;
  return (struct pc_config){
    .mmu = m->mmu,
    .clock = m->clock,
    .opaque = m,
    .cpu_intr = cpu_intr,
    .cpu_nmi = cpu_nmi,
    .cpu_init = init,
    .a20 = set_a20,
    .reset = reset,
    .power_off = power_off,
    .debug_exit = debug_exit,
    .rom = rom,
    .devices = m->devices,
    .device_count = m->device_count,
    .acpi = o->acpi,
    .hpet = o->hpet,
    .rtc_slew = o->rtc_slew,
    .firmware = machine_has_firmware(m) ? &m->roms.config : NULL,
  };
}

/* ---- callbacks of the MMU: the monitor is made after it ---- */

static void code_written(void *opaque, uint32_t frame, uint64_t granules) {
  struct machine *m = opaque;
  if (m->monitor) monitor_code_written(m->monitor, frame, granules);
}
static void fetch_dropped(void *opaque, uint32_t space, uint32_t page) {
  struct machine *m = opaque;
  if (m->monitor) monitor_fetch_dropped(m->monitor, space, page);
}
static void data_dropped(void *opaque, uint32_t space, uint32_t page) {
  struct machine *m = opaque;
  if (m->monitor) monitor_data_dropped(m->monitor, space, page);
}
static void unshared(void *opaque) {
  struct machine *m = opaque;
  if (m->monitor) monitor_unshared(m->monitor);
}
static void log_mmio(void *opaque, gpa addr, unsigned size, uint32_t value, bool write) {
  struct machine *m = opaque;
  if (m->log_io && m->monitor) log_access(m, write ? "mmio write" : "mmio read", addr.v, size, write ? "<-" : "->", value);
}
static void before_io(void *opaque) {
  struct machine *m = opaque;
  if (m->monitor) monitor_before_io(m->monitor);
}
struct mmu_config machine_mmu_config(struct machine *m) {
  return (struct mmu_config){.ram_size = m->options->ram_size,
                             .more_memory = (32 << 20) + m->roms.bios.size, /* cards' as usual, and the ROM */
                             .opaque = m,
                             .code_written = code_written,
                             .fetch_dropped = fetch_dropped,
                             .data_dropped = data_dropped,
                             .unshared = unshared,
                             .before_io = before_io,
                             .log_io = m->log_io ? log_mmio : NULL};
}

/* ---- a machine without devices: the video window and all above RAM are somebody else's ---- */

enum { VIDEO = 0xa0000, VIDEO_SIZE = 0x20000 };

static uint32_t foreign_video_read(void *opaque, uint64_t offset, unsigned size) {
  const struct machine_foreign *r = ((struct machine *)opaque)->foreign;
  return r->read(r->opaque, false, VIDEO + offset, size);
}
static void foreign_video_write(void *opaque, uint64_t offset, unsigned size, uint32_t value) {
  const struct machine_foreign *r = ((struct machine *)opaque)->foreign;
  r->write(r->opaque, false, VIDEO + offset, size, value);
}
static uint32_t foreign_high_read(void *opaque, uint64_t offset, unsigned size) {
  const struct machine *m = opaque;
  return m->foreign->read(m->foreign->opaque, false, m->options->ram_size + offset, size);
}
static void foreign_high_write(void *opaque, uint64_t offset, unsigned size, uint32_t value) {
  const struct machine *m = opaque;
  m->foreign->write(m->foreign->opaque, false, m->options->ram_size + offset, size, value);
}
void machine_add_foreign_io(struct machine *m) {
  static const struct mmu_io_ops video = {foreign_video_read, foreign_video_write},
                                 high = {foreign_high_read, foreign_high_write};
  uint64_t top = m->options->ram_size;
  mmu_add_io(m->mmu, to_gpa(VIDEO), VIDEO_SIZE, &video, m);
  mmu_add_io(m->mmu, to_gpa(top), (UINT64_C(1) << 36) - top, &high, m);
}

/* ---- callbacks of the back ends ---- */

void machine_kick(void *opaque) {
  struct machine *m = opaque;
  if (!wakeup_kick(&m->wakeup)) monitor_kick_from_code(m->monitor);
}

/* The loop's thread. */
static void console_quit(void *opaque) {
  fputs("\r\nbt: terminated\r\n", stderr);
  machine_quit(opaque);
}

/* A line without an end is handed on when the guest goes idle, and after some milliseconds; under -icount at once, as no timer
 * may tick there. */
static void line_held(void *opaque) {
  enum { PATIENCE = 4000000 /* ns */ };
  struct machine *m = opaque;
  if (m->options->monitor.icount_shift >= 0) machine_each_chardev(m, chardev_flush);
  else if (m->chardev_flush.deadline == INT64_MAX) clock_timer_set(m->clock, &m->chardev_flush, clock_now(m->clock) + PATIENCE);
}

struct chardev_host machine_chardev_host(struct machine *m) {
  return (struct chardev_host){
    .loop = m->loop, .posts = &m->posts, .escape = m->options->escape, .opaque = m, .quit = console_quit, .held = line_held};
}
