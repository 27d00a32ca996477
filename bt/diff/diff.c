/* `bt diff`: one guest under bt and under a reference, in step. Here: the command line, and the passes that narrow a divergence
 * down. The reference's run is repeatable (-icount), so a divergence found at long intervals is found again at every block, and
 * then at every instruction. */
#include "diff.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "../../devices/chips/port92.h"
#include "../options/devices.h"
#include "../options/values.h"
#include "report.h"

enum { STATUS_BAD = 1, STATUS_DIVERGED = 2, STATUS_FAILED = 4, MAX_ARGUMENTS = 96, RESERVED = 4 /* behind the pairs */ };

struct diff {
  struct bt_options machine;
  struct ref_options reference;
  struct lockstep_options run;
  const char *arguments[MAX_ARGUMENTS]; /* of the reference's machine */
  unsigned argument_count;
  char ram[24], debug_exit[64];
  const char *qemu, *bochs; /* programs */
  uint8_t *boot_ram;        /* what our loader makes of the kernel */
  bool bisect, from_kernel, memory_every_given;
  FILE *out, *err;
};

/* ---- the command line ---- */

/* Those with a value first, in the order of own_option()'s cases. */
static const struct {
  const char *name, *value, *help;
} options[] = {
  {"from", "ADDRESS|ring3|kernel",
   "where to begin: when the reference first gets to this linear address, to user mode, to the "
   "kernel's entry (default; without a -kernel: the reset vector)"},
  {"max-insns", "N", "stop after N guest instructions, with 0 when all were equal (suffixes K, M, G)"},
  {"every", "insn|block|N", "compare at every instruction, at every block (default), or about every N instructions and bisect"},
  {"memory-every", "N",
   "compare all of RAM and the x87/SSE state about every N instructions (default 20M, with Bochs 50K and "
   "at the end)"},
  {"reference", "qemu|bochs",
   "what is compared with (default qemu). Bochs decides where QEMU is wrong: it checks segment "
   "limits; it is slow"},
  {"qemu", "PROGRAM", "which QEMU (default qemu-system-i386 on the PATH)"},
  {"keep-log", "FILE", "a copy of the reference's log"},
  {"bochs", "PROGRAM", "which Bochs, with its debugger (default bochs on the PATH, Debian's package bochs)"},
  {"fp", "", "x87 and SSE registers at every comparison"},
  {"no-bisect", "", "do not repeat the run to find the exact instruction"},
  {"deviations", "", "list the differences that are explained, and why"},
};
enum { OPTIONS = sizeof options / sizeof options[0] };

bool diff_help_line(unsigned i, struct help_line *line) {
  if (i >= OPTIONS) return false;
  *line = (struct help_line){.dashes = "--",
                             .name = options[i].name,
                             .before = *options[i].value ? "=" : "",
                             .value = options[i].value,
                             .after = "",
                             .help = options[i].help};
  return true;
}

static void help(FILE *out) {
  struct help_line line;
  fputs("bt diff [OPTION...] [bt's options...]: runs the machine under bt and under QEMU (TCG) or Bochs in step, until they "
        "differ\n",
        out);
  for (unsigned i = 0; diff_help_line(i, &line); i++) {
    char left[64];
    help_line_tag(&line, left, sizeof left);
    fprintf(out, "  %-27s %s\n", left, line.help);
  }
  fputs("Status: 0 no unexplained divergence, 2 a divergence, 1 a bad command line, 4 the run could not go on.\n", out);
}

static bool number(const char *text, uint64_t *out) { return value_size(text, 1, out); }

static bool set_from(struct diff *d, const char *value) {
  uint64_t address;
  d->from_kernel = false;
  if (!strcmp(value, "ring3")) d->reference.from = REF_FROM_RING3;
  else if (!strcmp(value, "kernel")) d->from_kernel = true;
  else if (value_number(value, UINT32_MAX, &address))
    d->reference.from = REF_FROM_ADDRESS, d->reference.address = (uint32_t)address;
  else return false;
  return true;
}

static bool set_every(struct diff *d, const char *value) {
  d->reference.one_insn = !strcmp(value, "insn");
  d->run.every = 0;
  return d->reference.one_insn || !strcmp(value, "block") || (number(value, &d->run.every) && d->run.every);
}

/* Behind "--name="; NULL: not this option, or it has no value. */
static const char *option_value(const char *argument, const char *name) {
  size_t length = strlen(name);
  return !strncmp(argument, "--", 2) && !strncmp(argument + 2, name, length) && argument[2 + length] == '='
           ? argument + 3 + length
           : NULL;
}

/* True: the argument is one of ours; *bad: and no good. */
static bool own_option(struct diff *d, const char *argument, bool *bad) {
  unsigned i = 0;
  const char *value = NULL;
  while (i < OPTIONS && !(value = option_value(argument, options[i].name))) i++;
  switch (i) {
  case 0: *bad = !set_from(d, value); return true;
  case 1: *bad = !number(value, &d->run.max_insns) || !d->run.max_insns; return true;
  case 2: *bad = !set_every(d, value); return true;
  case 3: *bad = !number(value, &d->run.memory_every), d->memory_every_given = true; return true;
  case 4:
    d->reference.emulator = strcmp(value, "bochs") ? REF_QEMU : REF_BOCHS;
    *bad = strcmp(value, "bochs") && strcmp(value, "qemu");
    return true;
  case 5:
    d->qemu = value;
    *bad = !*value;
    return true;
  case 6:
    d->reference.keep_log = value;
    *bad = !*value;
    return true;
  case 7:
    d->bochs = value;
    *bad = !*value;
    return true;
  }
  if (!strcmp(argument, "--fp")) return d->reference.fp = d->run.fp = true;
  if (!strcmp(argument, "--no-bisect")) return d->bisect = false, true;
  return false;
}

static void argument(struct diff *d, const char *name, const char *value) {
  if (!value || d->argument_count + 2 + RESERVED > MAX_ARGUMENTS) return;
  d->arguments[d->argument_count++] = name;
  d->arguments[d->argument_count++] = value;
}

static bool find_debug_exit(const struct bt_options *o, struct debug_exit_properties *out) {
  char error[PROPERTY_ERROR];
  ENTRIES_OF(o->entries, "device", e)
  if (device_entry_type(e) == &debug_exit_type) return device_entry_read(o->entries, e, out, NULL, error);
  return false;
}

/* Every step of Bochs' is one instruction, and its RAM is quickly had. */
static void bochs_options(struct diff *d) {
  struct bt_options *o = &d->machine;
  d->reference.program = d->bochs;
  d->reference.cpu = ref_bochs_cpu(o->cpu ? o->cpu : "n270", &o->cpu);
  d->reference.one_insn = true;
  struct debug_exit_properties exit;
  bool has = find_debug_exit(o, &exit);
  d->reference.boot.exit_port = has ? (uint16_t)exit.iobase : 0;
  d->reference.boot.exit_size = has ? (uint16_t)exit.iosize : 0;
  if (!d->memory_every_given) d->run.memory_every = 50000;
}

/* Its firmware hears of the machine, and reads its disks, by ports, whose answers are in the log: not by DMA, which is not (what
 * a floppy stores our own chips store: board.h). What it writes to disks is lost at its end: the next pass begins as this one. */
static void firmware_arguments(struct diff *d) {
  const struct bt_options *o = &d->machine;
  for (unsigned i = 0; i < o->folder_count; i++) argument(d, "-L", o->folders[i]);
  argument(d, "-bios", o->bios);
  argument(d, "-global", "fw_cfg_io.dma_enabled=off");
  ENTRIES_OF(o->entries, "boot", e) argument(d, e->option, e->text);
  bool disks = false;
  ENTRIES_OF(o->entries, "drive", e)
  if (entry_value(e, "file")) argument(d, e->option, e->text), disks = true;
  if (disks) d->arguments[d->argument_count++] = "-snapshot";
}

/* The same machine for QEMU. */
static void qemu_arguments(struct diff *d) {
  const struct bt_options *o = &d->machine;
  d->reference.program = d->qemu;
  snprintf(d->ram, sizeof d->ram, "%" PRIu64 "M", o->ram_size >> 20);
  argument(d, "-m", d->ram);
  argument(d, "-kernel", o->kernel);
  argument(d, "-initrd", o->initrd);
  argument(d, "-append", o->append);
  if (!o->kernel) firmware_arguments(d);
  struct debug_exit_properties exit;
  if (find_debug_exit(o, &exit)) {
    snprintf(d->debug_exit, sizeof d->debug_exit, "isa-debug-exit,iobase=%#x,iosize=%u", exit.iobase, exit.iosize);
    argument(d, "-device", d->debug_exit);
  }
  d->arguments[d->argument_count++] = "-no-reboot";
  d->reference.arguments = d->arguments;
  d->reference.cpu = ref_qemu_cpu(o->cpu ? o->cpu : "max");
  d->reference.mmio_writes = true;
}

/* 0, or the exit status with *done. */
static int parse(struct diff *d, int argc, char **argv, bool *done) {
  char **rest = calloc((size_t)argc + 2, sizeof *rest);
  int count = 1, status = 0;
  if (!rest) return *done = true, STATUS_FAILED;
  rest[0] = (char *)"bt";
  for (int i = 1; i < argc && !*done; i++) {
    bool bad = false;
    if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-help") || !strcmp(argv[i], "-h")) help(d->out), *done = true;
    else if (!strcmp(argv[i], "--deviations")) deviations_print(&(struct deviations){0}, true, d->out), *done = true;
    else if (own_option(d, argv[i], &bad)) {
      if (bad) fprintf(d->err, "bt: diff: no good: %.120s (bt diff --help)\n", argv[i]), status = STATUS_BAD, *done = true;
    } else rest[count++] = argv[i];
  }
  if (!*done) {
    int parsed = options_parse(&d->machine, count, rest, d->err);
    if (parsed != OPTIONS_OK) *done = true, status = parsed == OPTIONS_DONE ? 0 : STATUS_BAD;
  }
  free(rest);
  return status;
}

/* ---- where to start ---- */

struct scratch {
  uint8_t *bytes;
  uint64_t size;
};

static void *scratch_at(void *opaque, uint64_t address, uint64_t size) {
  struct scratch *s = opaque;
  return address <= s->size && size <= s->size - address ? s->bytes + address : NULL;
}

/* The kernel's first instruction is where our own loader would begin: what the reference's firmware does before that is not
 * followed. A reference that cannot load kernels begins with what our loader made. */
static bool load_kernel(struct diff *d, char error[ERROR_TEXT]) {
  const struct bt_options *o = &d->machine;
  struct scratch ram = {calloc(1, o->ram_size), o->ram_size};
  struct boot_memory memory = {scratch_at, &ram, o->ram_size};
  struct boot_files files = {0};
  struct boot_cpu cpu = {0};
  const struct boot_platform platform = {.serial = {0x3f8}};
  bool good = ram.bytes ? boot_files_read(&files, o->kernel, o->initrd, o->append, o->ram_size, error) &&
                            boot_load(&files, &memory, &platform, &cpu, error)
                        : boot_fail(error, "not enough memory");
  boot_files_free(&files);
  d->boot_ram = ram.bytes;
  d->reference.boot.ram = ram.bytes;
  d->reference.boot.eip = cpu.eip, d->reference.boot.eax = cpu.eax, d->reference.boot.ebx = cpu.ebx,
  d->reference.boot.esi = cpu.esi, d->reference.boot.esp = cpu.esp;
  if (d->from_kernel) d->reference.address = cpu.eip;
  return good;
}

/* ---- passes ---- */

struct pass {
  bool one_insn;
  uint64_t every, fine_from;
};

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* l->end says how it went. The caller frees with close_pass(). */
static void run_pass(struct diff *d, struct lockstep *l, const struct pass *pass) {
  char error[ERROR_TEXT] = "";
  struct ref_start *start = calloc(1, sizeof *start);
  struct ref_options reference = d->reference;
  l->options = d->run;
  l->deviations.reference = d->reference.emulator;
  l->options.every = pass->every, l->options.fine_from = pass->fine_from;
  reference.one_insn = pass->one_insn;
  l->end = LOCKSTEP_FAILED;
  if (start) l->ref = ref_open(&reference, start, error, sizeof error);
  if (l->ref && replay_open(&l->replay, &d->machine, start, ref_ram(l->ref), error)) {
    double begin = now();
    fprintf(d->out, "%s from %04x:%08x%s\n", ref_version(l->ref), start->cpu.seg[SEG_CS].selector, start->cpu.eip,
            pass->one_insn ? ", one instruction at a time" : "");
    fflush(d->out);
    lockstep_run(l, &start->cpu);
    report_run(l, now() - begin, d->out);
  } else snprintf(l->why, sizeof l->why, "%s", error);
  free(start);
}

static void close_pass(struct lockstep *l) {
  ref_close(l->ref);
  replay_close(&l->replay);
  lockstep_free(l);
  free(l);
}

/* Ever closer to the first difference; the last pass that still sees it is the one to report. Returns it, or NULL when there is
 * no memory. */
static struct lockstep *narrow(struct diff *d, struct lockstep *found, const struct pass *first) {
  struct pass pass = *first;
  for (unsigned round = 0; round < 4; round++) {
    bool fine = !pass.every || pass.fine_from;
    if (fine && pass.one_insn) return found;
    pass = fine ? (struct pass){true, 1000, 0} : (struct pass){pass.one_insn, pass.every, found->good ? found->good : 1};
    fprintf(d->out, "a difference after instruction %" PRIu64 ", by %" PRIu64 " (%s): running again to find it\n", found->good,
            found->bad, found->why);
    struct lockstep *again = calloc(1, sizeof *again);
    if (!again) return found;
    run_pass(d, again, &pass);
    if (again->end != LOCKSTEP_DIVERGED) {
      fprintf(d->out, "that run did not meet it (%s)\n", again->why[0] ? again->why : "no divergence");
      close_pass(again);
      if (pass.one_insn) return found;
      pass = (struct pass){true, 1000, 0};
      continue;
    }
    close_pass(found);
    found = again;
  }
  return found;
}

static int conclude(struct diff *d, struct lockstep *l) {
  if (l->end == LOCKSTEP_DONE || l->end == LOCKSTEP_GUEST_END) {
    fprintf(d->out, "no unexplained divergence%s%s\n", l->end == LOCKSTEP_GUEST_END ? " to the guest's end: " : "",
            l->end == LOCKSTEP_GUEST_END ? l->why : "");
    return 0;
  }
  if (l->end == LOCKSTEP_FAILED) {
    fprintf(d->err, "bt: diff: %s\n", l->why);
    return l->ref ? STATUS_FAILED : STATUS_BAD;
  }
  report_divergence(l, d->out);
  return STATUS_DIVERGED;
}

static struct lockstep *run_all(struct diff *d) {
  struct lockstep *l = calloc(1, sizeof *l);
  if (!l) return NULL;
  const struct pass first = {d->reference.one_insn, d->run.every, 0};
  run_pass(d, l, &first);
  if (l->end == LOCKSTEP_DIVERGED && d->bisect) l = narrow(d, l, &first);
  return l;
}

static void say_how_to_repeat(const struct diff *d, int argc, char **argv) {
  fputs("to repeat: bt", d->out);
  for (int i = 0; i < argc; i++) fprintf(d->out, " '%s'", argv[i]);
  fputc('\n', d->out);
}

static int follow(struct diff *d, int argc, char **argv) {
  char error[ERROR_TEXT];
  bool bochs = d->reference.emulator == REF_BOCHS;
  d->reference.icount_shift = d->machine.monitor.icount_shift > 0 ? (unsigned)d->machine.monitor.icount_shift : 0;
  d->machine.monitor.icount_shift = 0;
  d->machine.monitor.exact_flags = true;
  d->reference.ram_size = d->machine.ram_size;
  if (!d->machine.kernel && bochs)
    return fprintf(d->err, "bt: diff: Bochs cannot be followed from a firmware: give a -kernel\n"), STATUS_BAD;
  if (!d->machine.kernel && d->from_kernel) d->from_kernel = false, d->reference.from = REF_FROM_RESET;
  if (!d->machine.kernel && d->reference.from != REF_FROM_RESET)
    return fprintf(d->err, "bt: diff: --from: without a -kernel a guest is followed from its reset vector on\n"), STATUS_BAD;
  if (bochs) bochs_options(d);
  else qemu_arguments(d);
  if (!d->reference.cpu)
    return fprintf(d->err, "bt: diff: -cpu: no model of %s is known to fit %.80s\n", bochs ? "Bochs'" : "QEMU's",
                   d->machine.cpu ? d->machine.cpu : "max"),
           STATUS_BAD;
  if ((d->from_kernel || bochs) && !load_kernel(d, error)) return fprintf(d->err, "bt: %s\n", error), STATUS_BAD;
  struct lockstep *l = run_all(d);
  if (!l) return fputs("bt: diff: not enough memory\n", d->err), STATUS_FAILED;
  int status = conclude(d, l);
  if (status == STATUS_DIVERGED) say_how_to_repeat(d, argc, argv);
  close_pass(l);
  return status;
}

int diff_main(int argc, char **argv, FILE *out, FILE *err) {
  struct diff d = {.out = out,
                   .err = err,
                   .bisect = true,
                   .from_kernel = true,
                   .reference.from = REF_FROM_ADDRESS,
                   .run.memory_every = 20000000,
                   .qemu = "qemu-system-i386",
                   .bochs = "bochs"};
  bool done = false;
  int status = parse(&d, argc, argv, &done);
  if (!done) status = follow(&d, argc, argv);
  free(d.boot_ram);
  options_free(&d.machine);
  return status;
}
