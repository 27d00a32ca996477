/* A machine of nothing but RAM, a vCPU and a few ports, for tests of the run loop: the real monitor, tcache, translator and mmu,
 * and a mock of what bt/ answers to machine_*(). Everything hangs off struct machine, so two rigs run in two threads.
 *
 * A guest is a blob of 32-bit code, loaded at RIG_CODE and entered there: ring 0, flat segments, no paging, IF clear, a GDT and
 * an IDT whose every gate leads to a stub that tells the rig and returns. What happens is written to rig->log, a text that tests
 * compare:
 *   "V/A "   interrupt V (hex) was taken with EAX = A (guests count their steps in EAX)
 *   "V@E "   exception V at EIP RIG_CODE + E
 *   "=V "    the guest wrote V to RIG_OUT;  "." end */
#pragma once
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "monitor/cpuid.h"
#include "monitor/monitor.h"

enum {
  RIG_RAM = 8 << 20,
  RIG_GDT = 0x1000,
  RIG_IDT = 0x2000,
  RIG_HANDLERS = 0x3000 /* 16 bytes each */,
  RIG_STACK = 0x9000,
  RIG_DIRECTORY = 0xa000,
  RIG_TABLE = 0xb000,
  RIG_DATA = 0x20000,
  RIG_CODE = 0x100000,
  RIG_PAGE = 0x200000 /* frames that RIG_LINEAR maps */,
  RIG_LINEAR = 0x40000000,
  RIG_LOG = 1 << 16
};
#define RIG_MMIO 0xe0000000u
/* Ports. RIG_EXIT: the guest is done. RIG_OUT: a value for the log. RIG_RAISE: INTR with that vector, now. RIG_TIMER: INTR 21h
 * after that many ns; RIG_PERIOD: and every so many. RIG_NMI. RIG_DMA: copies a byte from RIG_DATA to the address. RIG_STOP:
 * vm_stop(). RIG_NOTHING: a callout. */
enum {
  RIG_EXIT = 0xf4,
  RIG_OUT = 0xe9,
  RIG_TOLD = 0xe8,
  RIG_RAISE = 0x80,
  RIG_TIMER = 0x81,
  RIG_PERIOD = 0x82,
  RIG_NMI = 0x83,
  RIG_DMA = 0x84,
  RIG_STOP = 0x85,
  RIG_NOTHING = 0xed
};

/* Blobs. Positions inside one: label - base_NAME + RIG_CODE, written AT(NAME, label). */
#define GUEST(name, pages, code) \
  __asm__(".pushsection .rodata\n .code32\n .intel_syntax noprefix\n .balign 16\n .globl guest_" #name "\n guest_" #name ":\n" \
          ".set base_" #name ", guest_" #name "\n" code "\n .org guest_" #name " + 4096 * " #pages "\n .att_syntax\n .code64\n" \
          " .popsection\n"); \
  extern const uint8_t guest_##name[4096 * pages]
#define AT(name, label) "(offset " #label " - base_" #name " + 0x100000)"
#define TELL " out 0xe9, eax\n"
#define DONE " mov al, 0\n out 0xf4, al\n 9: jmp 9b\n"
#define LOAD(v, guest) rig_load(v, guest_##guest, sizeof guest_##guest)

struct machine {
  struct monitor *monitor;
  struct mmu *mmu;
  struct clock *clock;
  struct clock_timer timer;
  int64_t period;
  int vector;
  bool log_counts;       /* interrupts are logged with the instruction count and EIP */
  bool returns_from[32]; /* exceptions that the stub's IRET goes on after; others end the run */
  uint32_t set_flags;    /* put into the EFLAGS image of such an exception */
  uint32_t watched_eip;  /* interrupts that came exactly here */
  uint64_t watched, interrupts;
  bool quiet;         /* interrupts are counted, not logged */
  bool mmio_raises;   /* a read of RIG_MMIO raises INTR 22h */
  bool ignores_ports; /* writes to ports do nothing: the guest may do anything */
  bool mmio_tells;    /* accesses to RIG_MMIO are logged, and reads differ by address */
  bool done;
  uint64_t tsc, tsc_step; /* step not 0: the monitor reads a TSC that goes on by that with each read */
  uint64_t polls, outs, idles, dozes;
  atomic_bool exit_wanted;
  void (*on_poll)(struct machine *);
  void (*on_doze)(struct machine *, int64_t ns);
  void (*on_out)(struct machine *, uint32_t value); /* RIG_NOTHING */
  void *opaque;
  char log[RIG_LOG];
  size_t log_size;
};
typedef struct machine rig;

static inline struct vcpu *rig_vcpu(rig *r) { return monitor_vcpu(r->monitor); }

__attribute__((format(printf, 2, 3))) static inline void rig_log(rig *r, const char *format, ...) {
  va_list a;
  va_start(a, format);
  int n = vsnprintf(r->log + r->log_size, RIG_LOG - r->log_size, format, a);
  va_end(a);
  if (n > 0 && r->log_size + (size_t)n < RIG_LOG) r->log_size += (size_t)n;
}

static inline void rig_raise(rig *r, int vector) {
  r->vector = vector;
  monitor_set_intr(r->monitor, true);
}

static inline void rig_end(rig *r) {
  r->done = true;
  rig_log(r, ".");
  monitor_exit(r->monitor);
}

/* ---- what the monitor asks of a machine ---- */

static inline uint32_t rig_peek(rig *r, uint32_t addr) {
  uint32_t value;
  const void *p = mmu_ram_pointer(r->mmu, to_gpa(addr), 4);
  assert_non_null(p);
  memcpy(&value, p, 4);
  return value;
}
static inline void rig_poke(rig *r, uint32_t addr, uint32_t value) {
  void *p = mmu_ram_pointer(r->mmu, to_gpa(addr), 4);
  assert_non_null(p);
  memcpy(p, &value, 4);
}

/* A stub's OUT: [ESP] is EAX, then the frame. */
static inline void rig_told(rig *r, unsigned vector) {
  static const uint32_t errors = 1u << 8 | 0x1fu << 10 | 1u << 17;
  uint32_t esp = rig_vcpu(r)->s.gpr[REG_ESP], eax = rig_peek(r, esp),
           frame = esp + 4 + (vector < 32 && errors >> vector & 1 ? 4 : 0);
  if (vector < 32 && vector != VEC_NMI) {
    rig_log(r, "%x@%x ", vector, rig_peek(r, frame) - RIG_CODE);
    if (!r->returns_from[vector]) rig_end(r);
    rig_poke(r, frame + 8, rig_peek(r, frame + 8) | r->set_flags);
    return;
  }
  r->interrupts++;
  r->watched += rig_peek(r, frame) == r->watched_eip;
  if (r->quiet) return;
  rig_log(r, "%x/%x ", vector, eax);
  if (r->log_counts) rig_log(r, "%x+%llu ", rig_peek(r, frame), (unsigned long long)monitor_insn_count(r->monitor));
}

uint32_t machine_io_read(struct machine *r, uint16_t port, unsigned size) { return 0xffffffff; }
void machine_io_write(struct machine *r, uint16_t port, unsigned size, uint32_t value) {
  r->outs++;
  if (r->ignores_ports) return;
  switch (port) {
  case RIG_EXIT: rig_end(r); break;
  case RIG_OUT: rig_log(r, "=%x ", value); break;
  case RIG_TOLD: rig_told(r, value & 0xff); break;
  case RIG_RAISE: rig_raise(r, (int)(value & 0xff)); break;
  case RIG_TIMER: clock_timer_set(r->clock, &r->timer, clock_now(r->clock) + value); break;
  case RIG_PERIOD: r->period = value; break;
  case RIG_NMI: monitor_nmi(r->monitor); break;
  case RIG_DMA: mmu_dma_write(r->mmu, to_gpa(value), mmu_ram_pointer(r->mmu, to_gpa(RIG_DATA), 1), 1); break;
  case RIG_STOP: vm_stop(rig_vcpu(r), "the guest asked for it"); break;
  case RIG_NOTHING:
    if (r->on_out) r->on_out(r, value);
    break;
  default: fail_msg("port %x", port);
  }
}
void machine_triple_fault(struct machine *r) {
  rig_log(r, "triple fault ");
  rig_end(r);
}
uint64_t machine_tsc(struct machine *r) { return r->tsc_step ? r->tsc += r->tsc_step : clock_tsc(r->clock); }
void machine_set_tsc(struct machine *r, uint64_t value) { clock_tsc_write(r->clock, value); }
uint64_t machine_apic_base(struct machine *r) { return 0xfee00900; }
void machine_set_apic_base(struct machine *r, uint64_t value) {}
void machine_set_ferr(struct machine *r, bool level) {}
void machine_poll(struct machine *r) {
  bool wanted = atomic_load(&r->exit_wanted); /* what comes after this look needs another poll */
  r->polls++;
  clock_run(r->clock);
  if (r->on_poll) r->on_poll(r);
  if (wanted) monitor_exit(r->monitor);
}
int machine_ack_interrupt(struct machine *r) {
  int vector = r->vector;
  r->vector = -1;
  monitor_set_intr(r->monitor, false);
  return vector;
}
/* Nobody will wake it: the guest is at its end. */
void machine_idle(struct machine *r) {
  r->idles++;
  if (clock_counted(r->clock) && clock_next_deadline(r->clock) != INT64_MAX) {
    clock_skip_to(r->clock, clock_next_deadline(r->clock));
    clock_run(r->clock);
  } else if (r->on_poll) {
    usleep(10);
    machine_poll(r);
  } else {
    rig_log(r, "halted ");
    rig_end(r);
  }
}
void machine_doze(struct machine *r, int64_t ns) {
  r->dozes++;
  if (r->on_doze) r->on_doze(r, ns);
}
void machine_log(struct machine *r, const char *format, ...) {}
const char *machine_symbol(struct machine *r, gla linear, uint32_t *offset) { return NULL; }

/* ---- making one ---- */

static inline void rig_code_written(void *o, uint32_t frame, uint64_t granules) {
  monitor_code_written(((rig *)o)->monitor, frame, granules);
}
static inline void rig_fetch_dropped(void *o, uint32_t space, uint32_t page) {
  monitor_fetch_dropped(((rig *)o)->monitor, space, page);
}
static inline void rig_data_dropped(void *o, uint32_t space, uint32_t page) {
  monitor_data_dropped(((rig *)o)->monitor, space, page);
}
static inline void rig_unshared(void *o) { monitor_unshared(((rig *)o)->monitor); }
static inline void rig_before_io(void *o) { monitor_before_io(((rig *)o)->monitor); }

static inline uint32_t rig_mmio_read(void *o, uint64_t offset, unsigned size) {
  rig *r = o;
  if (r->mmio_raises) rig_raise(r, 0x22);
  if (r->mmio_tells) rig_log(r, "r%u@%x ", size, (unsigned)offset);
  if (r->mmio_tells) return 0x44332211 + (uint32_t)offset;
  return 0x10; /* a data selector, for MOV SS */
}
static inline void rig_mmio_write(void *o, uint64_t offset, unsigned size, uint32_t value) {
  rig *r = o;
  if (r->mmio_raises) rig_raise(r, 0x22);
  if (r->mmio_tells) rig_log(r, "w%u@%x=%x ", size, (unsigned)offset, size == 4 ? value : value & ((1u << 8 * size) - 1));
}

static inline void rig_timer(void *o) {
  rig *r = o;
  rig_raise(r, 0x21);
  if (r->period) clock_timer_set(r->clock, &r->timer, clock_now(r->clock) + r->period);
}

/* push eax; mov al, vector; out RIG_TOLD, al; pop eax; [add esp, 4]; iret */
static inline void rig_write_gates(rig *r) {
  static const uint32_t errors = 1u << 8 | 0x1fu << 10 | 1u << 17;
  uint8_t *ram = mmu_ram_pointer(r->mmu, to_gpa(0), 0x10000);
  static const uint64_t gdt[] = {0, 0x00cf9b000000ffff, 0x00cf93000000ffff};
  memcpy(ram + RIG_GDT, gdt, sizeof gdt);
  for (unsigned v = 0; v < 256; v++) {
    uint32_t at = RIG_HANDLERS + 16 * v, gate[2] = {0x80000u | (at & 0xffff), (at & 0xffff0000u) | 0x8e00};
    uint8_t stub[16] = {0x50, 0xb0, (uint8_t)v, 0xe6, RIG_TOLD, 0x58, 0x83, 0xc4, 0x04, 0xcf};
    if (v >= 32 || !(errors >> v & 1)) stub[6] = 0xcf;
    memcpy(ram + at, stub, 16);
    memcpy(ram + RIG_IDT + 8 * v, gate, 8);
  }
}

static inline void rig_set_cpu(rig *r) {
  struct vcpu *v = rig_vcpu(r);
  for (unsigned i = 0; i < 6; i++)
    v->s.seg[i] = (struct tr_segment){0, 0xffffffff, i == SEG_CS ? 8 : 16, i == SEG_CS ? 0xc09b : 0xc093, 1};
  v->gdt = (struct dtable){RIG_GDT, 23}, v->idt = (struct dtable){RIG_IDT, 0x7ff};
  v->cr0 = CR0_PE | CR0_ET | CR0_NE, v->cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT, v->cpl = 0;
  vcpu_set_eflags(v, 2);
  memset(v->s.gpr, 0, sizeof v->s.gpr);
  v->s.gpr[REG_ESP] = RIG_STACK, v->s.eip = RIG_CODE;
  vcpu_paging_changed(v);
  v->mode_dirty = true;
}

static inline void rig_load(rig *r, const uint8_t *code, size_t size) {
  memcpy(mmu_ram_pointer(r->mmu, to_gpa(RIG_CODE), size), code, size);
}

/* Identity for the first 4 MiB and RIG_MMIO, and four pages at RIG_LINEAR: frames 0, 1, 2, 0 of RIG_PAGE. */
static inline void rig_page(rig *r) {
  static const uint8_t frames[] = {0, 1, 2, 0};
  struct vcpu *v = rig_vcpu(r);
  rig_poke(r, RIG_DIRECTORY, 0x83);
  rig_poke(r, RIG_DIRECTORY + (RIG_MMIO >> 20), RIG_MMIO | 0x83);
  rig_poke(r, RIG_DIRECTORY + (RIG_LINEAR >> 20), RIG_TABLE | 3);
  for (unsigned i = 0; i < sizeof frames; i++) rig_poke(r, RIG_TABLE + 4 * i, (RIG_PAGE + (uint32_t)frames[i] * 4096) | 3);
  v->cr3 = RIG_DIRECTORY, v->cr4 |= CR4_PSE, v->cr0 |= CR0_PG | CR0_WP;
  vcpu_paging_changed(v);
  v->mode_dirty = true;
}

static inline rig *rig_create(const struct monitor_options *options) {
  static const struct mmu_io_ops io = {rig_mmio_read, rig_mmio_write};
  const struct cpu_model *model;
  const char *error = "";
  uint64_t features;
  rig *r = calloc(1, sizeof *r);
  assert_non_null(r);
  struct mmu_config config = {.ram_size = RIG_RAM,
                              .opaque = r,
                              .code_written = rig_code_written,
                              .fetch_dropped = rig_fetch_dropped,
                              .data_dropped = rig_data_dropped,
                              .unshared = rig_unshared,
                              .before_io = rig_before_io};
  assert_true(cpu_model_parse("max", host_cpu_features() & ~options->host_hidden, &model, &features, &error));
  r->vector = -1;
  r->mmu = mmu_create(&config, &error);
  assert_non_null(r->mmu);
  r->clock = clock_create(options->icount_shift, 0);
  assert_non_null(r->clock);
  clock_timer_init(&r->timer, "rig", rig_timer, r);
  r->monitor = monitor_create(r, r->mmu, r->clock, model, features, options, &error);
  assert_non_null(r->monitor);
  mmu_add_io(r->mmu, to_gpa(RIG_MMIO), 4096, &io, r);
  rig_write_gates(r);
  rig_set_cpu(r);
  return r;
}

static inline void rig_destroy(rig *r) {
  monitor_destroy(r->monitor);
  mmu_destroy(r->mmu);
  clock_destroy(r->clock);
  free(r);
}

/* As new, in the same process: much cheaper than a new one. */
static inline void rig_reset(rig *r) {
  monitor_stop_at(r->monitor, UINT64_MAX);
  clock_timer_cancel(r->clock, &r->timer);
  mmu_reset(r->mmu);
  monitor_reset(r->monitor);
  rig_set_cpu(r);
  r->vector = -1, r->period = 0, r->done = false, r->log_size = 0, r->log[0] = 0;
}

/* ---- axes: switches that must not change what a guest does ---- */

struct rig_axis {
  const char *name;
  struct monitor_options options;
};
#define RIG_ALL TR_NO_OPTIMISATIONS
static const struct rig_axis rig_axes[] = {
  {"default", {.icount_shift = -1}},
  {"one instruction", {.icount_shift = -1, .one_insn = true}},
  {"no chaining", {.icount_shift = -1, .no_chain = true}},
  {"exact flags", {.icount_shift = -1, .exact_flags = true}},
  {"flush every block", {.icount_shift = -1, .flush_every = 1}},
  {"flush every 3", {.icount_shift = -1, .flush_every = 3}},
  {"tiny cache", {.icount_shift = -1, .code_size = 1}},
  {"paranoid", {.icount_shift = -1, .paranoid = 3}},
  {"without all", {.icount_shift = -1, .without = RIG_ALL}},
  {"without windows", {.icount_shift = -1, .without = TR_NO_WINDOWS}},
  {"without hoist", {.icount_shift = -1, .without = TR_NO_HOIST}},
  {"without fold", {.icount_shift = -1, .without = TR_NO_FOLD}},
  {"without liveness", {.icount_shift = -1, .without = TR_NO_LIVENESS}},
  {"without loops", {.icount_shift = -1, .without = TR_NO_LOOPS}},
  {"without addends", {.icount_shift = -1, .without = TR_NO_ADDENDS}},
  {"without fallthrough", {.icount_shift = -1, .without = TR_NO_FALLTHROUGH}},
  {"without stackpage", {.icount_shift = -1, .without = TR_NO_STACK_PAGE}},
  {"without strings", {.icount_shift = -1, .without = TR_NO_STRINGS}},
  {"without returns", {.icount_shift = -1, .without = TR_NO_RETURNS}},
  {"without targets", {.icount_shift = -1, .without = TR_NO_TARGETS}},
  {"without thunks", {.icount_shift = -1, .without = TR_NO_THUNKS}},
  {"without divisors", {.icount_shift = -1, .without = TR_NO_DIVISORS}},
  {"eager", {.icount_shift = -1, .eager = true}},
  {"without hash", {.icount_shift = -1, .without = TR_NO_HASH}},
  {"counted", {.icount_shift = 2}},
  {"counted, one instruction", {.icount_shift = 2, .one_insn = true}},
  {"counted, no chaining", {.icount_shift = 2, .no_chain = true}},
  {"counted, exact flags", {.icount_shift = 2, .exact_flags = true}},
  {"counted, flush every block", {.icount_shift = 2, .flush_every = 1}},
  {"counted, tiny cache", {.icount_shift = 2, .code_size = 1}},
  {"counted, without all", {.icount_shift = 2, .without = RIG_ALL}},
  {"counted, without windows", {.icount_shift = 2, .without = TR_NO_WINDOWS}},
  {"counted, without fold", {.icount_shift = 2, .without = TR_NO_FOLD}},
  {"counted, without strings", {.icount_shift = 2, .without = TR_NO_STRINGS}},
  {"counted, without hash", {.icount_shift = 2, .without = TR_NO_HASH}},
};
enum { RIG_AXES = sizeof rig_axes / sizeof rig_axes[0] };
