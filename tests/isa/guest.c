/* The translator's side: a machine of mmu and monitor with paging on, whose guest is the cases.
 *
 * A case ends by OUT to one of the exit ports, which the TSS's I/O map allows, or in the ring-0 handler of a fault, which is
 * another OUT. Either way machine_io_write() below notes the outcome and puts the next case's state into the vCPU, so that one
 * monitor_run() runs a whole batch. Code is written by DMA, as a device would: the traces must see it. */
#define _GNU_SOURCE
#include "case.h"
#include "monitor/cpuid.h"
#include "monitor/monitor.h"
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Physical layout; all below PHYS_SYSTEM_END is also mapped, for the supervisor alone, at SYSTEM_AT. */
enum {
  PHYS_PDPT = 0xb000,
  PHYS_DIRECTORIES = 0xc000 /* four */,
  PHYS_TABLE_LOW = 0x1000,
  PHYS_TABLE_HIGH = 0x2000,
  PHYS_TABLE_SYSTEM = 0x3000,
  PHYS_GDT = 0x5000,
  PHYS_IDT = 0x6000,
  PHYS_TSS = 0x7000,
  PHYS_HANDLERS = 0x8000,
  PHYS_STACK = 0x9000,
  PHYS_STACK_END = 0xa000,
  PHYS_LDT = 0xa000,
  PHYS_SYSTEM_END = 0x10000,
  PHYS_CODE = 0x10000 /* entry page first */,
  PHYS_DATA = 0x20000,
  RAM_SIZE = 4 << 20,
};
#define SYSTEM_AT 0xe5a00000u /* no value that instructions like to make */
enum {
  SEL_TSS = 0x40,
  SEL_LDT_GDT = 0x50,
  SEL_CODE0 = 0x10,
  GDT_LIMIT = 16 * 8 - 1,
  IDT_LIMIT = 256 * 8 - 1,
  TSS_LIMIT = 0x68 + 32,
  HANDLER_SIZE = 8
};
enum {
  PORT_EXIT = 0xd9 /* no value that cases put into DX */,
  PORT_FAULT = 0x40,
  FILLER = 0xf4,
  OTHER_FILLER = 0xf1,
  STALLED_POLLS = 3
};
enum { PTE_P = 1, PTE_W = 2, PTE_U = 4 };
#define PTE_NX (1ull << 63)

struct machine { /* what the monitor calls */
  struct guest *guest;
};
struct guest {
  struct machine machine;
  struct mmu *mmu;
  struct clock *clock;
  struct monitor *monitor;
  struct vcpu *v;
  struct memory memory;
  const uint8_t *background;
  const struct isa_case *cases, *current;
  struct outcome *out;
  unsigned count, done, polls_at, polls;
  uint32_t written, written_size;
  timer_t watchdog;
  bool has_watchdog;
  bool code_writable;
  bool other_exits;
};

static uint8_t *ram(struct guest *g, uint32_t addr) { return mmu_ram_pointer(g->mmu, to_gpa(addr), 8); }
static void put32(struct guest *g, uint32_t addr, uint32_t value) { memcpy(ram(g, addr), &value, 4); }
static void put64(struct guest *g, uint32_t addr, uint64_t value) { memcpy(ram(g, addr), &value, 8); }
static uint32_t get32(struct guest *g, uint32_t addr) {
  uint32_t value;
  memcpy(&value, ram(g, addr), 4);
  return value;
}

/* ---- the guest's tables ---------------------------------------------------------------------------------------- */

/* PAE, for its NX bit: the host's data pages are not executable either. */
static void map_page(struct guest *g, uint32_t table, uint32_t linear, uint32_t phys, uint64_t rights) {
  put64(g, PHYS_DIRECTORIES + (linear >> 21) * 8, table | PTE_P | PTE_W | PTE_U);
  put64(g, table + (linear >> 12 & 511) * 8, phys | PTE_P | rights);
}

static void make_page_tables(struct guest *g) {
  for (unsigned i = 0; i < 4; i++) put64(g, PHYS_PDPT + i * 8, (PHYS_DIRECTORIES + i * PAGE) | PTE_P);
  for (unsigned i = 0; i < 1 + CODE_PAGES; i++) map_page(g, PHYS_TABLE_LOW, ENTRY_AT + i * PAGE, PHYS_CODE + i * PAGE, PTE_U);
  for (unsigned i = 0; i < DATA_PAGES; i++) {
    if (DATA_MAP[i] == '-') continue;
    uint64_t rights = PTE_NX | PTE_U | (DATA_MAP[i] == 'w' ? PTE_W : 0);
    map_page(g, PHYS_TABLE_LOW, DATA_LOW + i * PAGE, PHYS_DATA + i * PAGE, rights);
    map_page(g, PHYS_TABLE_HIGH, DATA_HIGH + i * PAGE, PHYS_DATA + i * PAGE, rights);
    g->memory.page[i] = ram(g, PHYS_DATA + i * PAGE);
  }
  for (unsigned i = 0; i < PHYS_SYSTEM_END; i += PAGE) map_page(g, PHYS_TABLE_SYSTEM, SYSTEM_AT + i, i, PTE_W);
}

static uint64_t descriptor(uint32_t base, uint32_t limit, unsigned rights, unsigned flags) {
  return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)rights << 40 | (uint64_t)(limit >> 16 & 15) << 48 |
         (uint64_t)flags << 52 | (uint64_t)(base >> 24) << 56;
}

/* Linux' user selectors (4 to 6) as they are on x86-64, so that LAR and LSL agree; the rest is the supervisor's. */
static void make_descriptors(struct guest *g) {
  put64(g, PHYS_GDT + 2 * 8, descriptor(0, 0xfffff, 0x9b, 0xc));
  put64(g, PHYS_GDT + 3 * 8, descriptor(0, 0xfffff, 0x93, 0xc));
  put64(g, PHYS_GDT + 4 * 8, descriptor(0, 0xfffff, 0xfb, 0xc));
  put64(g, PHYS_GDT + 5 * 8, descriptor(0, 0xfffff, 0xf3, 0xc));
  put64(g, PHYS_GDT + 6 * 8, descriptor(0, 0xfffff, 0xfb, 0xa)); /* 64-bit code: readable as data */
  put64(g, PHYS_GDT + SEL_TSS, descriptor(SYSTEM_AT + PHYS_TSS, TSS_LIMIT, 0x8b, 0));
  put64(g, PHYS_GDT + SEL_LDT_GDT, descriptor(SYSTEM_AT + PHYS_LDT, LDT_COUNT * 8 - 1, 0x82, 0));
  for (unsigned i = 0; i < LDT_COUNT; i++) put64(g, PHYS_LDT + i * 8, descriptor_ldt(i));
}

/* Every vector has a gate, as under Linux; only those of INT3 and INTO may be used from ring 3. */
static void make_interrupts(struct guest *g) {
  for (unsigned i = 0; i < 256; i++) {
    unsigned vector = i < 32 ? i : 31, dpl = i == 3 || i == 4 ? 3 : 0;
    uint32_t handler = SYSTEM_AT + PHYS_HANDLERS + vector * HANDLER_SIZE;
    put64(g, PHYS_IDT + i * 8,
          (handler & 0xffff) | SEL_CODE0 << 16 | (uint64_t)(0x8e | dpl << 5) << 40 | (uint64_t)(handler >> 16) << 48);
  }
  for (unsigned i = 0; i < 32; i++) {
    uint8_t *p = ram(g, PHYS_HANDLERS + i * HANDLER_SIZE);
    p[0] = 0xe6, p[1] = (uint8_t)(PORT_FAULT + i), p[2] = FILLER;
  }
  put32(g, PHYS_TSS + 4, SYSTEM_AT + PHYS_STACK_END);
  put32(g, PHYS_TSS + 8, SEL_CODE0 + 8);
  put32(g, PHYS_TSS + 0x64, 0x68 << 16);
  memset(ram(g, PHYS_TSS + 0x68), 0xff, 33);
  for (unsigned i = 0; i < MAX_EXITS; i++) ram(g, PHYS_TSS + 0x68)[(PORT_EXIT + i) / 8] &= (uint8_t) ~(1 << (PORT_EXIT + i) % 8);
}

static struct tr_segment cache_of(struct guest *g, uint16_t selector) {
  if (!(selector & ~3)) return (struct tr_segment){.selector = selector};
  uint64_t d;
  memcpy(&d, ram(g, (selector & 4 ? PHYS_LDT : PHYS_GDT) + (selector & ~7u)), 8);
  uint32_t limit = (uint32_t)(d & 0xffff) | (uint32_t)(d >> 32 & 0xf0000);
  if (d >> 55 & 1) limit = limit << 12 | 0xfff;
  return (struct tr_segment){.base = (uint32_t)(d >> 16 & 0xffffff) | (uint32_t)(d >> 56) << 24,
                             .limit = limit,
                             .selector = selector,
                             .attr = (uint16_t)(d >> 40 & 0xf0ff),
                             .usable = 1};
}

/* ---- one case -------------------------------------------------------------------------------------------------- */

/* OUT in one of two forms, of which no byte is the same. */
static void put_exit(const struct guest *g, uint8_t *at, unsigned number) {
  uint8_t port = (uint8_t)(PORT_EXIT + number), fill = g->other_exits ? OTHER_FILLER : FILLER, *end = at + EXIT_BYTES;
  if (g->other_exits) *at++ = 0x66;
  *at++ = 0xe6, *at++ = port;
  memset(at, fill, (size_t)(end - at));
}

static void put_code(struct guest *g, const struct isa_case *c) {
  uint8_t image[CODE_PAGES * PAGE];
  uint32_t low = c->code_at - CODE_AT, high = low + c->code_size;
  for (unsigned i = 0; i < MAX_EXITS; i++) {
    if (!c->exit_at[i]) continue;
    uint32_t at = c->exit_at[i] - CODE_AT;
    if (at < low) low = at;
    if (at + EXIT_BYTES > high) high = at + EXIT_BYTES;
  }
  if (g->written_size && g->written < low) low = g->written;
  if (g->written + g->written_size > high) high = g->written + g->written_size;
  memset(image + low, FILLER, high - low);
  memcpy(image + (c->code_at - CODE_AT), c->code, c->code_size);
  for (unsigned i = 0; i < MAX_EXITS; i++)
    if (c->exit_at[i]) put_exit(g, image + (c->exit_at[i] - CODE_AT), i);
  mmu_dma_write(g->mmu, to_gpa(PHYS_CODE + PAGE + low), image + low, high - low);
  g->written = low, g->written_size = high - low;
}

/* Whether the same code lies there already (a sequence with another state): its blocks then live on. */
static bool same_code(const struct guest *g, const struct isa_case *a, const struct isa_case *b) {
  return a && !g->code_writable && a->code_at == b->code_at && a->code_size == b->code_size &&
         memcmp(a->code, b->code, a->code_size) == 0 && memcmp(a->exit_at, b->exit_at, sizeof a->exit_at) == 0;
}

static void begin(struct guest *g, const struct isa_case *c) {
  struct vcpu *v = g->v;
  if (!same_code(g, g->current, c)) put_code(g, c);
  memory_apply(&g->memory, c);
  vcpu_park_fp(v);
  memcpy(v->s.gpr, c->gpr, sizeof v->s.gpr);
  memcpy(v->fp.bytes, c->fx, FX_SIZE);
  vcpu_settle_fp(v); /* the host's side is loaded by FXRSTOR */
  v->fp_fip = v->fp_fdp = v->fp_fcs = v->fp_fds = v->fp_fop = 0;
  for (unsigned i = 0; i < 6; i++) v->s.seg[i] = cache_of(g, c->selector[i]);
  v->cpl = 3;
  v->s.eip = c->start;
  vcpu_set_eflags(v, c->eflags | FLAG_IF | 2);
  v->cr2 = 0;
  v->halted = v->inhibit_irq = v->inhibit_db = false;
  v->pending_db = 0;
  v->mode_dirty = true;
  g->current = c;
}

static void note_fault(struct guest *g, struct outcome *out, unsigned vector) {
  static const uint32_t with_error =
    1u << VEC_DF | 1u << VEC_TS | 1u << VEC_NP | 1u << VEC_SS | 1u << VEC_GP | 1u << VEC_PF | 1u << VEC_AC;
  uint32_t frame = g->v->s.gpr[REG_ESP] - SYSTEM_AT;
  if (frame < PHYS_STACK || frame > PHYS_STACK_END - 20) {
    out->end = END_TRIPLE;
    return;
  }
  out->end = END_FAULT, out->vector = (uint8_t)vector;
  if (with_error >> vector & 1) out->error = get32(g, frame), frame += 4;
  out->cr2 = g->v->cr2;
  out->eip = get32(g, frame);
  out->selector[SEG_CS] = (uint16_t)get32(g, frame + 4);
  out->eflags = get32(g, frame + 8);
  out->gpr[REG_ESP] = get32(g, frame + 12);
  out->selector[SEG_SS] = (uint16_t)get32(g, frame + 16);
}

static void finish(struct guest *g, enum end_kind end, unsigned number) {
  struct outcome *out = &g->out[g->done];
  struct vcpu *v = g->v;
  vcpu_park_fp(v);
  memcpy(out->gpr, v->s.gpr, sizeof out->gpr);
  for (unsigned i = 0; i < 6; i++) out->selector[i] = v->s.seg[i].selector;
  out->eflags = vcpu_eflags(v);
  out->error = out->cr2 = out->eip = 0;
  out->vector = 0;
  out->end = (uint8_t)end, out->exit = end == END_EXIT ? (uint8_t)number : 0;
  if (end == END_FAULT) note_fault(g, out, number);
  memcpy(out->fx, v->fp.bytes, FX_SIZE);
  memory_collect(&g->memory, g->background, out);
  if (++g->done == g->count) {
    monitor_exit(g->monitor);
    return;
  }
  begin(g, &g->cases[g->done]);
}

static void kick(int number, siginfo_t *info, void *context) {
  struct guest *g = info->si_value.sival_ptr;
  if (g && g->monitor) monitor_kick(g->monitor);
}

static void start_watchdog(struct guest *g) {
  struct sigaction action = {.sa_sigaction = kick, .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK};
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM, .sigev_value.sival_ptr = g};
  sigemptyset(&action.sa_mask);
  sigaddset(&action.sa_mask, SIGUSR1); /* the kick's own handler is to see the translated code, not this one (monitor_kick) */
  sigaction(SIGALRM, &action, NULL);
  g->has_watchdog = timer_create(CLOCK_MONOTONIC, &event, &g->watchdog) == 0;
}
static void set_watchdog(struct guest *g, bool on) { /* off while the host CPU has its turn */
  struct itimerspec every = {.it_value.tv_sec = on, .it_interval.tv_sec = on};
  if (g->has_watchdog) timer_settime(g->watchdog, 0, &every, NULL);
}

void guest_other_exits(struct guest *g, bool other) { g->other_exits = other; }

void guest_run(struct guest *g, const struct isa_case *cases, unsigned count, struct outcome *out) {
  g->cases = cases, g->count = count, g->out = out, g->done = 0, g->current = NULL;
  begin(g, cases);
  set_watchdog(g, true);
  const char *reason = monitor_run(g->monitor);
  set_watchdog(g, false);
  if (!reason) return;
  fprintf(stderr, "isa: the monitor stopped: %s\n", reason);
  for (unsigned i = g->done; i < count; i++) memset(&out[i], 0, sizeof out[i]), out[i].end = END_STOPPED;
}

/* ---- what the monitor asks of its machine ---------------------------------------------------------------------- */

uint32_t machine_io_read(struct machine *m, uint16_t port, unsigned size) { return 0xffffffff; }
void machine_io_write(struct machine *m, uint16_t port, unsigned size, uint32_t value) {
  struct guest *g = m->guest;
  if (port >= PORT_EXIT && port < PORT_EXIT + MAX_EXITS) finish(g, END_EXIT, port - PORT_EXIT);
  else if (port >= PORT_FAULT && port < PORT_FAULT + 32) finish(g, END_FAULT, port - PORT_FAULT);
}
void machine_triple_fault(struct machine *m) { finish(m->guest, END_TRIPLE, 0); }
uint64_t machine_tsc(struct machine *m) { return clock_tsc(m->guest->clock); }
void machine_set_tsc(struct machine *m, uint64_t value) { clock_tsc_write(m->guest->clock, value); }
uint64_t machine_apic_base(struct machine *m) { return 0xfee00900; }
void machine_set_apic_base(struct machine *m, uint64_t value) {}
void machine_set_ferr(struct machine *m, bool level) {}
int machine_ack_interrupt(struct machine *m) { return -1; }
void machine_idle(struct machine *m) { finish(m->guest, END_HANG, 0); }
void machine_doze(struct machine *m, int64_t ns) {}
const char *machine_symbol(struct machine *m, gla linear, uint32_t *offset) { return NULL; }
void machine_log(struct machine *m, const char *format, ...) {
  va_list list;
  va_start(list, format);
  vfprintf(stderr, format, list);
  va_end(list);
}

/* The watchdog kicks the vCPU now and then: a case that several kicks find running does not end. */
void machine_poll(struct machine *m) {
  struct guest *g = m->guest;
  if (g->polls_at != g->done) g->polls_at = g->done, g->polls = 0;
  if (++g->polls < STALLED_POLLS) return;
  g->polls = 0;
  finish(g, END_HANG, 0);
}
/* ---- making it ------------------------------------------------------------------------------------------------- */

static void code_written(void *opaque, uint32_t frame, uint64_t granules) {
  monitor_code_written(((struct guest *)opaque)->monitor, frame, granules);
}
static void fetch_dropped(void *opaque, uint32_t space, uint32_t page) {
  monitor_fetch_dropped(((struct guest *)opaque)->monitor, space, page);
}
static void data_dropped(void *opaque, uint32_t space, uint32_t page) {
  monitor_data_dropped(((struct guest *)opaque)->monitor, space, page);
}
static void unshared(void *opaque) { monitor_unshared(((struct guest *)opaque)->monitor); }
static void before_io(void *opaque) { monitor_before_io(((struct guest *)opaque)->monitor); }

static void make_vcpu(struct guest *g) {
  struct vcpu *v = g->v;
  v->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_PG;
  v->cr3 = PHYS_PDPT;
  v->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT;
  v->efer = EFER_NXE;
  v->gdt.base = SYSTEM_AT + PHYS_GDT, v->gdt.limit = GDT_LIMIT;
  v->idt.base = SYSTEM_AT + PHYS_IDT, v->idt.limit = IDT_LIMIT;
  v->ldt = cache_of(g, SEL_LDT_GDT);
  v->tr = cache_of(g, SEL_TSS);
  vcpu_paging_changed(v);
}

uint64_t guest_features(void) {
  static uint64_t features; /* asked for with every instruction that is made */
  const struct cpu_model *model;
  const char *error;
  if (!features) cpu_model_parse("max", host_cpu_features(), &model, &features, &error);
  return features;
}

uint64_t guest_direct_exits(const struct guest *g) { return monitor_get_counters(g->monitor)->direct_exits; }
uint64_t guest_mirror_faults(const struct guest *g) { return monitor_get_counters(g->monitor)->mirror_faults; }

void guest_destroy(struct guest *g) {
  if (!g) return;
  if (g->has_watchdog) timer_delete(g->watchdog);
  monitor_destroy(g->monitor);
  if (g->clock) clock_destroy(g->clock);
  if (g->mmu) mmu_destroy(g->mmu);
  free(g);
}

struct guest *guest_create(const struct monitor_options *options, const char **error) {
  const struct cpu_model *model;
  uint64_t features;
  struct guest *g = calloc(1, sizeof *g);
  *error = "no memory";
  if (!g) return NULL;
  g->machine.guest = g;
  struct mmu_config config = {.ram_size = RAM_SIZE,
                              .opaque = g,
                              .code_written = code_written,
                              .fetch_dropped = fetch_dropped,
                              .data_dropped = data_dropped,
                              .unshared = unshared,
                              .before_io = before_io};
  g->mmu = mmu_create(&config, error);
  g->clock = g->mmu ? clock_create(options->icount_shift, 0) : NULL;
  if (g->clock && cpu_model_parse("max", host_cpu_features() & ~options->host_hidden, &model, &features, error))
    g->monitor = monitor_create(&g->machine, g->mmu, g->clock, model, features, options, error);
  if (!g->monitor) {
    guest_destroy(g);
    return NULL;
  }
  g->v = monitor_vcpu(g->monitor);
  make_page_tables(g);
  make_descriptors(g);
  make_interrupts(g);
  make_vcpu(g);
  memset(ram(g, PHYS_CODE), 0, PAGE);
  memset(ram(g, PHYS_CODE + PAGE), FILLER, CODE_PAGES * PAGE);
  start_watchdog(g);
  return g;
}

void guest_allow_code_writes(struct guest *g) {
  for (unsigned i = 1; i < 1 + CODE_PAGES; i++)
    map_page(g, PHYS_TABLE_LOW, ENTRY_AT + i * PAGE, PHYS_CODE + i * PAGE, PTE_U | PTE_W);
  g->code_writable = true;
}

bool guest_owns(uint32_t linear) { return linear - SYSTEM_AT < PHYS_SYSTEM_END; }
void guest_forget_ldt(struct guest *g) { g->v->ldt = (struct tr_segment){0}; }

void guest_set_background(struct guest *g, const uint8_t *background) {
  g->background = background;
  memory_fill(&g->memory, background);
}
