/* ref_events [OPTION...] QEMU-ARGUMENT...: runs a guest in QEMU as `bt diff` would and prints the events, or counts them. For
 * debugging the reference and for measuring it.
 *
 *   --from=reset|ring3|ADDRESS   --cpu=BT-MODEL or --qemu-cpu=TEXT   --qemu=PROGRAM   --log=FILE   --blocks=N (end after so many)
 *   --quiet (count only)   --start (print the state at the start)   --pause=N (every N blocks)   --fp   --one-insn   --writes */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "qemu.h"

struct tool {
  struct ref_options options;
  uint64_t limit, pause;
  bool quiet, show_start;
  uint64_t insns, kinds[REF_ERROR + 1];
};

static const char *value_of(const char *argument, const char *name) {
  size_t length = strlen(name);
  return !strncmp(argument, name, length) && argument[length] == '=' ? argument + length + 1 : NULL;
}

static bool parse_from(struct ref_options *o, const char *value) {
  char *end;
  o->from = !strcmp(value, "reset") ? REF_FROM_RESET : !strcmp(value, "ring3") ? REF_FROM_RING3 : REF_FROM_ADDRESS;
  o->address = (uint32_t)strtoul(value, &end, 0);
  return o->from != REF_FROM_ADDRESS || (*value && !*end);
}

static bool parse_option(struct tool *t, const char *a) {
  struct ref_options *o = &t->options;
  const char *v;
  if ((v = value_of(a, "--from"))) return parse_from(o, v);
  if ((v = value_of(a, "--cpu"))) return (o->cpu = ref_qemu_cpu(v));
  if ((v = value_of(a, "--qemu-cpu"))) return (o->cpu = v);
  if ((v = value_of(a, "--qemu"))) return (o->program = v);
  if ((v = value_of(a, "--log"))) return (o->keep_log = v);
  if ((v = value_of(a, "--blocks"))) return (t->limit = strtoull(v, NULL, 0));
  if ((v = value_of(a, "--pause"))) return (t->pause = strtoull(v, NULL, 0));
  bool *const flags[] = {&t->quiet, &t->show_start, &o->fp, &o->one_insn, &o->mmio_writes};
  static const char *const names[] = {"--quiet", "--start", "--fp", "--one-insn", "--writes"};
  for (unsigned n = 0; n < 5; n++)
    if (!strcmp(a, names[n])) return *flags[n] = true;
  return false;
}

static void print_cpu(const struct ref_cpu *c) {
  printf(" eax=%08x ecx=%08x edx=%08x ebx=%08x esp=%08x ebp=%08x esi=%08x edi=%08x %04x:%08x efl=%08x cpl=%d%s%s", c->gpr[0],
         c->gpr[1], c->gpr[2], c->gpr[3], c->gpr[4], c->gpr[5], c->gpr[6], c->gpr[7], c->seg[1].selector, c->eip, c->eflags,
         c->cpl, c->inhibit_irq ? " shadow" : "", c->halted ? " halted" : "");
}

static void print_fx(const struct ref_cpu *c) {
  for (unsigned n = 0; c->has_fp && n < 288; n++) printf("%s%02x", n % 16 ? "" : "\n    ", c->fx[n]);
}

static void print_event(const struct ref_event *e) {
  switch (e->kind) {
  case REF_BLOCK:
    printf("block %08x %u%s", e->insns->insn[0].linear, e->insns->count, e->single ? " single" : "");
    print_cpu(&e->cpu);
    break;
  case REF_EXCEPTION:
  case REF_INTERRUPT:
    printf("%s %02x%s%s%s", e->kind == REF_EXCEPTION ? "exception" : "interrupt", e->vector, e->software ? " software" : "",
           e->failed ? " failed" : "", e->no_cpu ? " (registers unknown)" : "");
    if (e->has_error) printf(" error %04x", e->error);
    if (!e->no_cpu) print_cpu(&e->cpu);
    if (e->vector == 14) printf(" cr2=%08x", e->cpu.cr2);
    break;
  case REF_READ:
  case REF_WRITE:
    printf("%s %s %" PRIx64 " size %u value %" PRIx64 " %s", e->kind == REF_READ ? "read" : "write", e->port ? "port" : "mmio",
           e->address, e->size, e->value, e->device);
    break;
  case REF_STOPPED:
    printf("stopped");
    print_cpu(&e->cpu);
    print_fx(&e->cpu);
    break;
  case REF_END: printf("end: status %d, %s", e->status, e->text); break;
  case REF_ERROR: printf("error: %s", e->text); break;
  }
  printf("\n");
}

static void print_start(const struct ref_start *s, const struct reference *r) {
  uint64_t sum = 0;
  printf("%s\nstart", ref_version(r));
  print_cpu(&s->cpu);
  print_fx(&s->cpu);
  for (unsigned n = 0; n < s->cpuid_count; n++)
    printf("\ncpuid %08x.%x: %08x %08x %08x %08x", s->cpuid[n].leaf, s->cpuid[n].subleaf, s->cpuid[n].eax, s->cpuid[n].ebx,
           s->cpuid[n].ecx, s->cpuid[n].edx);
  for (unsigned n = 0; n < s->msr_count; n++) printf("\nmsr %08x: %016" PRIx64, s->msrs[n].number, s->msrs[n].value);
  for (unsigned n = 0; n < sizeof s->upper; n++) sum = sum * 31 + s->upper[n];
  printf("\nA0000-FFFFF: hash %016" PRIx64 ", at the reset vector %02x\n", sum, s->upper[0x5fff0]);
}

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void follow(struct tool *t, struct reference *r) {
  struct ref_event event;
  do {
    ref_next(r, &event);
    t->kinds[event.kind]++;
    if (!t->quiet || event.kind >= REF_END) print_event(&event);
    if (event.kind == REF_STOPPED) ref_resume(r);
    if (event.kind != REF_BLOCK) continue;
    t->insns += event.insns->count;
    if (t->pause && t->kinds[REF_BLOCK] % t->pause == 0) ref_pause(r);
  } while (event.kind < REF_END && (!t->limit || t->kinds[REF_BLOCK] < t->limit));
}

int main(int argc, char **argv) {
  static struct ref_start start;
  struct tool t = {.options = {.program = "qemu-system-i386", .cpu = ref_qemu_cpu("n270"), .ram_size = 128 << 20}};
  char error[400];
  int n = 1;
  for (; n < argc && !strncmp(argv[n], "--", 2); n++)
    if (!parse_option(&t, argv[n])) return fprintf(stderr, "ref_events: what is %s?\n", argv[n]), 2;
  t.options.arguments = (const char *const *)argv + n;
  for (int m = n; m + 1 < argc; m++)
    if (!strcmp(argv[m], "-m")) t.options.ram_size = strtoull(argv[m + 1], NULL, 0) << 20;
  double begin = seconds();
  struct reference *r = ref_open(&t.options, &start, error, sizeof error);
  if (!r) return fprintf(stderr, "ref_events: %s\n", error), 1;
  if (t.show_start) print_start(&start, r);
  double middle = seconds();
  follow(&t, r);
  double end = seconds();
  ref_close(r);
  fprintf(stderr, "to the start %.2f s; %" PRIu64 " blocks (%" PRIu64 " instructions listed) in %.2f s: %.0f a second; ",
          middle - begin, t.kinds[REF_BLOCK], t.insns, end - middle, (double)t.kinds[REF_BLOCK] / (end - middle));
  fprintf(stderr, "%" PRIu64 " exceptions, %" PRIu64 " interrupts, %" PRIu64 " reads, %" PRIu64 " writes, %" PRIu64 " pauses\n",
          t.kinds[REF_EXCEPTION], t.kinds[REF_INTERRUPT], t.kinds[REF_READ], t.kinds[REF_WRITE], t.kinds[REF_STOPPED]);
  return t.kinds[REF_ERROR] != 0;
}
