#define _DEFAULT_SOURCE
#include "machine.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <time.h>
#include "../monitor/cpuid.h"
#include "control/control.h"
#include "host/host_limits.h"
#include "host/output_file.h"

/* ---- loading and resetting ---- */

static void *guest_memory(void *opaque, uint64_t addr, uint64_t size) {
  struct machine *m = opaque;
  return mmu_ram_pointer(m->mmu, to_gpa(addr), size);
}

static struct tr_segment flat_segment(uint16_t selector, uint16_t attr) {
  return (struct tr_segment){.limit = 0xffffffff, .selector = selector, .attr = attr, .usable = 1};
}

/* The CPU as a boot loader hands it over (boot.h): protected mode, flat, no paging, interrupts off. */
static void enter_kernel(struct vcpu *v, const struct boot_cpu *cpu) {
  static const uint8_t data[] = {SEG_ES, SEG_SS, SEG_DS, SEG_FS, SEG_GS};
  memset(v->s.gpr, 0, sizeof v->s.gpr);
  v->s.gpr[REG_EAX] = cpu->eax;
  v->s.gpr[REG_EBX] = cpu->ebx;
  v->s.gpr[REG_ESI] = cpu->esi;
  v->s.gpr[REG_ESP] = cpu->esp;
  v->s.eip = cpu->eip;
  vcpu_set_eflags(v, 2);
  v->cpl = 0;
  v->cr0 = CR0_PE | CR0_ET;
  v->gdt = (struct dtable){cpu->gdt.at, cpu->gdt.limit};
  v->s.seg[SEG_CS] = flat_segment(cpu->gdt.cs, 0xc09b);
  for (unsigned i = 0; i < sizeof data; i++) v->s.seg[data[i]] = flat_segment(cpu->gdt.ds, 0xc093);
  v->mode_dirty = true;
  vcpu_paging_changed(v);
}

/* The kernel as if a boot loader had just loaded it. */
static bool load_kernel(struct machine *m, char error[ERROR_TEXT]) {
  struct boot_memory mem = {guest_memory, m, mmu_ram_size(m->mmu)};
  struct boot_cpu cpu;
  pc_leave_as_bios(m->pc);
  struct boot_platform platform = {
    .rsdp = pc_write_tables(m->pc).v, .day_seconds = pc_day_seconds(m->pc), .vga = m->options->vga};
  for (unsigned i = 0; i < 4; i++) platform.serial[i] = pc_serial_base(m->pc, i);
  for (unsigned i = 0; i < 3; i++) platform.parallel[i] = pc_parallel_base(m->pc, i);
  platform.floppies = pc_floppy_drives(m->pc);
  if (!boot_load(&m->boot, &mem, &platform, &cpu, error)) return false;
  enter_kernel(monitor_vcpu(m->monitor), &cpu);
  return true;
}

bool machine_has_firmware(const struct machine *m) { return !m->options->kernel; }

/* Power-on state: the CPU at its reset vector, in the firmware's ROM; or the kernel. What the RAM held is left there, as on a PC.
 */
static bool reset_machine(struct machine *m, char error[ERROR_TEXT]) {
  m->reset_wanted = m->init_wanted = false;
  monitor_vcpu(m->monitor)->a20_masked = false;
  mmu_reset(m->mmu);
  monitor_reset(m->monitor);
  pc_reset(m->pc);
  return machine_has_firmware(m) || load_kernel(m, error);
}

/* INIT: the CPU goes to the firmware's reset vector, everything else is as it was. */
static void init_cpu(struct machine *m) {
  m->init_wanted = false;
  monitor_init_cpu(m->monitor);
  monitor_set_intr(m->monitor, pc_interrupt_pending(m->pc));
}

/* ---- making and unmaking ---- */

/* RAM is taken lazily, so that the host would only find out in the middle of the guest's work: a control group by SIGKILL. */
static bool check_host_memory(const struct bt_options *o, char error[ERROR_TEXT]) {
  enum { BESIDES = 64 << 20 }; /* code cache, shadow tables, libraries: what a Linux guest makes of them */
  struct sysinfo host;
  uint64_t group = host_limits_group_memory("/proc", "/sys/fs/cgroup");
  if (o->ram_size > group)
    return boot_fail(error, "-m: a machine with %llu MiB does not fit in the %llu MiB that this process's control group may have",
                     (unsigned long long)o->ram_size >> 20, (unsigned long long)group >> 20);
  if (group - o->ram_size < BESIDES)
    fprintf(stderr,
            "bt: warning: -m: with %llu MiB of the guest's, the control group's %llu MiB may run out: the host's kernel "
            "would end bt then\n",
            (unsigned long long)o->ram_size >> 20, (unsigned long long)group >> 20);
  if (sysinfo(&host) < 0) return true;
  uint64_t has = ((uint64_t)host.totalram + host.totalswap) * host.mem_unit;
  if (o->ram_size <= has) return true;
  return boot_fail(error, "-m: a machine with %llu MiB does not fit in this host's %llu MiB of memory",
                   (unsigned long long)o->ram_size >> 20, (unsigned long long)has >> 20);
}

static void close_log(struct machine *m) {
  if (!m->log || m->log == stderr) return;
  bool lost = ferror(m->log);
  lost |= fclose(m->log) != 0;
  if (lost) fprintf(stderr, "bt: -D: %.150s: the log is not whole: it could not be written\n", m->log_file);
  free(m->log_file);
}

bool machine_set_log_file(struct machine *m, const char *name) {
  char *copy = strdup(name);
  FILE *file = copy ? output_file_open(name) : NULL;
  if (!file) return free(copy), false;
  setvbuf(file, NULL, _IOLBF, 64 << 10);
  close_log(m);
  m->log = file, m->log_file = copy;
  return true;
}

void machine_set_log(struct machine *m, uint32_t items) {
  m->log_items = items;
  m->log_io = items & 1u << LOG_io;
  monitor_set_log(m->monitor, items);
}

static bool open_log(struct machine *m, char error[ERROR_TEXT]) {
  const struct bt_options *o = m->options;
  m->log = stderr;
  m->log_items = o->monitor.log;
  m->log_io = o->monitor.log & 1u << LOG_io;
  if (!o->log_file || machine_set_log_file(m, o->log_file)) return true;
  return boot_fail(error, "-D: %.150s: %s", o->log_file, output_file_problem(errno));
}

/* Names for logs: --symbols, else the kernel's own. */
static bool read_symbols(struct machine *m, char error[ERROR_TEXT]) {
  if (!m->options->symbols) {
    if (!machine_has_firmware(m) && m->boot.kind != BOOT_LINUX) m->symbols = symbols_from_elf(&m->boot.kernel);
    return true;
  }
  struct image file;
  if (!image_read(&file, m->options->symbols, UINT64_C(1) << 30, error)) return false;
  m->symbols = symbols_from_file(&file);
  image_free(&file);
  return m->symbols
           ? true
           : boot_fail(error, "--symbols: %.150s: neither a System.map nor an ELF file with symbols", m->options->symbols);
}

static bool no_ram(const struct machine *m, const char *why, char error[ERROR_TEXT]) {
  char hint[96];
  return boot_fail(error, "-m: guest RAM of %llu MiB cannot be made: %s%s", (unsigned long long)m->options->ram_size >> 20, why,
                   host_limits_memory_hint(hint));
}

/* The monitor, with as large a code cache as there is address space for, unless the user says how large. NULL: *why, and errno or
 * 0. */
static struct monitor *make_monitor(struct machine *m, const struct cpu_model *model, uint64_t features, const char **why) {
  static const uint64_t sizes[] = {0 /* as usual */, 16 << 20, 4 << 20};
  struct monitor_options options = m->options->monitor;
  struct monitor *made = NULL;
  char hint[96];
  for (unsigned i = 0; !made && i < (m->options->monitor.code_size ? 1 : sizeof sizes / sizeof sizes[0]); i++) {
    if (i) options.code_size = sizes[i];
    errno = 0;
    made = monitor_create(m, m->mmu, m->clock, model, features, &options, why);
    if (!made && errno != ENOMEM) break;
  }
  if (made && options.code_size != m->options->monitor.code_size)
    fprintf(stderr,
            "bt: warning: a code cache of %llu MiB is all that there is memory for%s: translated code is made again "
            "more often\n",
            (unsigned long long)options.code_size >> 20, host_limits_memory_hint(hint));
  return made;
}

static bool make_vcpu(struct machine *m, char error[ERROR_TEXT]) {
  const struct monitor_options *o = &m->options->monitor;
  const struct cpu_model *model = NULL;
  uint64_t features = 0;
  uint32_t host = host_cpu_features(), missing = o->host_wanted & ~host;
  const char *why = NULL;
  if (missing)
    return boot_fail(error, "--host: this host's CPU has no %s (--host=native uses what there is)",
                     host_feature_name((enum host_feature)__builtin_ctz(missing)));
  if (!cpu_model_parse(m->options->cpu ? m->options->cpu : "max", host & ~o->host_hidden, &model, &features, &why))
    return boot_fail(error, "-cpu: %s ('help' lists what there is)", why);
  char hint[96];
  m->monitor = make_monitor(m, model, features, &why);
  if (m->monitor) return true;
  return boot_fail(error, "the virtual CPU cannot be made: %s%s%s%s", why, errno ? ": " : "", errno ? strerror(errno) : "",
                   host_limits_memory_hint(hint));
}

static bool make_cpu(struct machine *m, char error[ERROR_TEXT]) {
  const char *why = NULL;
  if (!make_vcpu(m, error) || !machine_list_devices(m, error)) return false;
  struct pc_config config = machine_pc_config(m);
  const struct vcpu *v = monitor_vcpu(m->monitor);
  struct cpuid_regs version = cpuid_leaf(v->model, v->features, 1, 0);
  config.apic = v->features >> FEAT_APIC & 1;
  config.cpu_signature = version.eax, config.cpu_features = version.edx;
  struct vga_config vga;
  machine_vga_config(m, &vga);
  config.vga = m->options->vga ? &vga : NULL;
  m->pc = pc_create(&config, &why);
  if (!m->pc) return boot_fail(error, "the devices cannot be made: %s", why);
  m->ports = pc_io(m->pc);
  struct pc_fast_ports fast;
  const uint32_t logs = 1u << LOG_io | 1u << LOG_unimp;
  if (!(m->options->monitor.log & logs) && pc_has_fast_ports(m->pc, &fast))
    monitor_set_plain_ports(m->monitor, &(struct plain_ports){fast.base, fast.count, fast.write, fast.opaque});
  return true;
}

static void signalled(void *opaque, short events) {
  const struct machine_host *host = opaque;
  host->signalled(host->opaque);
}

static bool make_loop(struct machine *m, const struct machine_host *host, char error[ERROR_TEXT]) {
  post_queue_init(&m->posts, machine_kick, m);
  m->can_post = true;
  m->screen = screen_create(&m->posts);
  if (!m->screen) return boot_fail(error, "not enough memory");
  m->loop = loop_create();
  if (!m->loop) return boot_fail(error, errno == ENOMEM ? "not enough memory" : "eventfd: %s", strerror(errno));
  if (!host || host->signal_fd < 0) return true;
  m->host = *host;
  m->signal_watch = (struct loop_watch){.fd = host->signal_fd, .events = POLLIN, .ready = signalled, .opaque = &m->host};
  return loop_add(m->loop, &m->signal_watch) ? true : boot_fail(error, "not enough memory");
}

/* -rtc base=. What the local time is, is for the host to know. */
static void set_epoch(struct machine *m) {
  const struct bt_options *o = m->options;
  time_t now = (time_t)clock_epoch(m->clock);
  struct tm local;
  if (o->rtc_base == RTC_DATE) clock_set_epoch(m->clock, o->rtc_date);
  if (o->rtc_base == RTC_LOCAL_TIME && localtime_r(&now, &local)) clock_set_epoch(m->clock, now + local.tm_gmtoff);
}

static bool read_what_is_booted(struct machine *m, char error[ERROR_TEXT]) {
  const struct bt_options *o = m->options;
  m->roms.options = o; /* cards have ROMs under -kernel, too */
  if (machine_has_firmware(m)) return roms_read(&m->roms, o, error);
  return boot_files_read(&m->boot, o->kernel, o->initrd, o->append, o->ram_size, error);
}

static bool make_parts(struct machine *m, const struct machine_host *host, char error[ERROR_TEXT]) {
  const struct bt_options *o = m->options;
  const char *why = NULL;
  if (!check_host_memory(o, error) || !open_log(m, error)) return false;
  if (!read_what_is_booted(m, error) || !read_symbols(m, error)) return false;
  m->clock = clock_create(o->monitor.icount_shift, 0);
  if (!m->clock) return boot_fail(error, "the guest clock cannot be made");
  set_epoch(m);
  struct mmu_config mmu = machine_mmu_config(m);
  m->mmu = mmu_create(&mmu, &why);
  if (!m->mmu) return no_ram(m, why, error);
  wakeup_init(&m->wakeup, m->clock, o->monitor.icount_shift >= 0);
  return make_loop(m, host, error) && machine_make_backends(m, error) && make_cpu(m, error) && machine_make_controls(m, error) &&
         reset_machine(m, error);
}

struct machine *machine_create_foreign(const struct bt_options *options, const struct machine_foreign *foreign,
                                       char error[ERROR_TEXT]) {
  struct machine *m = calloc(1, sizeof *m);
  const char *why = NULL;
  if (!m) return boot_fail(error, "not enough memory"), NULL;
  m->options = options, m->foreign = foreign;
  struct mmu_config mmu = machine_mmu_config(m);
  if (!check_host_memory(options, error) || !open_log(m, error)) return machine_destroy(m), NULL;
  m->clock = clock_create(0, 0);
  if (m->clock) m->mmu = mmu_create(&mmu, &why);
  if (!m->mmu) return no_ram(m, why ? why : "no clock", error), machine_destroy(m), NULL;
  if (!make_vcpu(m, error)) return machine_destroy(m), NULL;
  machine_add_foreign_io(m);
  mmu_reset(m->mmu);
  monitor_reset(m->monitor);
  return m;
}

static void flush_chardevs(void *opaque) { machine_each_chardev(opaque, chardev_flush); }

static void deadline_changed(void *opaque, int64_t deadline) {
  (void)deadline;
  wakeup_arm(&((struct machine *)opaque)->wakeup);
}

struct machine *machine_create(const struct bt_options *options, const struct machine_host *host, char error[ERROR_TEXT]) {
  struct machine *m = calloc(1, sizeof *m);
  if (!m) return boot_fail(error, "not enough memory"), NULL;
  m->options = options;
  clock_timer_init(&m->chardev_flush, "serial line", flush_chardevs, m);
  if (!make_parts(m, host, error)) return machine_destroy(m), NULL;
  if (options->stopped) machine_pause(m, PAUSE_PRELAUNCH);
  if (options->no_reboot) boot_files_free(&m->boot); /* never needed again */
  clock_on_deadline(m->clock, deadline_changed, m);
  return m;
}

void machine_destroy(struct machine *m) {
  if (!m) return;
  if (m->clock) clock_on_deadline(m->clock, NULL, NULL);
  bool stopped = !m->loop || loop_stop(m->loop); /* first: its thread calls into the rest */
  machine_settle_drives(m);
  pool_destroy(m->pool);
  if (stopped && m->can_post) post_queue_destroy(&m->posts); /* before the devices, whose requests hold posts */
  wakeup_detach(&m->wakeup);
  controls_destroy(m->controls);
  if (m->pc) pc_destroy(m->pc);
  machine_free_devices(m);
  if (m->monitor) monitor_destroy(m->monitor);
  if (m->mmu) mmu_destroy(m->mmu);
  if (m->clock) clock_destroy(m->clock);
  symbols_free(m->symbols);
  boot_files_free(&m->boot);
  roms_free(&m->roms);
  close_log(m);
  if (!stopped) return; /* stuck in a write to a terminal that nobody reads: it keeps what it uses */
  machine_free_backends(m);
  loop_destroy(m->loop);
  free(m);
}

/* ---- running ---- */

void machine_finish(struct machine *m, enum end_kind kind, int status) {
  if (m->end.kind == END_NONE) m->end = (struct machine_end){.kind = kind, .status = status};
  monitor_exit(m->monitor);
}

static void stop(struct machine *m, const char *reason) {
  m->end = (struct machine_end){.kind = END_STOPPED, .status = 4};
  snprintf(m->end.reason, sizeof m->end.reason, "%s", reason);
}

/* What the host does not give, found when the machine is about to run. */
static void lack(struct machine *m, const char *what) {
  m->end = (struct machine_end){.kind = END_UNABLE, .status = 1};
  snprintf(m->end.reason, sizeof m->end.reason, "%s: %s", what, strerror(errno));
}

/* False: the machine has ended. */
static bool reset_again(struct machine *m) {
  char error[ERROR_TEXT];
  if (m->options->no_reboot) return machine_finish(m, END_RESET, 0), false; /* a loaded state's: the kernel is gone */
  if (!reset_machine(m, error)) return stop(m, error), false;
  return true;
}

/* Runs of the monitor and resets between them, until something ends the machine or `count` is reached. */
static void run_until(struct machine *m, uint64_t count) {
  while (m->end.kind == END_NONE && !atomic_load(&m->quit) && monitor_insn_count(m->monitor) < count) {
    if (m->pause != PAUSE_NONE) {
      machine_wait(m);
      machine_stay(m);
      if (m->reset_wanted && !reset_again(m)) return;
      continue;
    }
    wakeup_arm(&m->wakeup);
    /* the timer may have gone off before the monitor listens: it looks once by itself */
    if (m->wakeup.has_timer) monitor_kick(m->monitor);
    machine_each_chardev(m, chardev_offer); /* devices that were reset, or loaded, have room */
    monitor_stop_at(m->monitor, count);
    const char *reason = monitor_run(m->monitor);
    machine_stay(m);
    if (m->end.kind != END_NONE) return;
    if (reason) return stop(m, reason);
    if (m->reset_wanted && !reset_again(m)) return;
    if (m->init_wanted) init_cpu(m);
  }
  if (m->end.kind == END_NONE && atomic_load(&m->quit)) m->end = (struct machine_end){.kind = END_QUIT};
}

static void no_kick(int number) { (void)number; }

bool machine_run_to(struct machine *m, uint64_t count) {
  /* A deadline may pass while no monitor has SIGUSR1: it must not end the process then. Left so, since another machine may run
   * on. */
  struct sigaction mine = {.sa_handler = no_kick, .sa_flags = SA_RESTART}, now;
  if (sigaction(SIGUSR1, NULL, &now) == 0 && now.sa_handler == SIG_DFL) sigaction(SIGUSR1, &mine, NULL);
  /* before its thread: a client that comes from now on is greeted when that is told */
  if (m->controls && !loop_started(m->loop)) controls_start(m->controls);
  if (!wakeup_attach(&m->wakeup)) lack(m, "the host has no timer for the machine");
  else if (!loop_started(m->loop) && !loop_start(m->loop)) lack(m, "the host has no thread for the machine");
  else run_until(m, count);
  machine_each_chardev(m, chardev_flush);
  machine_each_chardev(m, chardev_drain);
  wakeup_detach(&m->wakeup);
  return m->end.kind == END_NONE;
}

const struct machine_end *machine_run(struct machine *m) {
  machine_run_to(m, UINT64_MAX);
  return &m->end;
}

void machine_quit(struct machine *m) {
  atomic_store(&m->quit, true);
  machine_each_chardev(m, chardev_cancel);
  machine_kick(m);
}

/* ---- other threads' work ---- */

bool machine_post(struct machine *m, void (*function)(void *argument), void *argument) {
  return post_call(&m->posts, function, argument);
}

bool machine_quiesce(struct machine *m) {
  const int64_t patience = 10 * INT64_C(1000000000), end = loop_now() + patience;
  if (!m->loop) return true; /* its devices are somebody else's */
  if (!loop_quiesce(m->loop, patience)) return false;
  for (;;) {
    post_run(&m->posts);
    if (post_waits(&m->posts)) continue;
    if (!pc_busy(m->pc)) return true;
    int64_t left = end - loop_now();
    if (left <= 0) return false;
    wakeup_wait(&m->wakeup, left);
  }
}
