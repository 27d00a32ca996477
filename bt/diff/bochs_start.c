/* From a fresh Bochs process to the start: the ROM's first part runs, RAM is laid in, the ROM's second part enters the kernel.
 * Both sides begin at the state that Bochs then tells, so nothing depends on how exactly it got there. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bochs.h"

enum { HIGH = 0x100000, LOW_END = 0xa0000, UPPER = 0xa0000, VGA_ROM = 2048, RUN_TIME = 120000 /* ms */ };

/* Every basic leaf is there. rfb's thread talks while Bochs starts, and may have cut a line in two. */
static bool is_whole(const struct ref_start *start) {
  uint32_t next = 0;
  for (unsigned n = 0; n < start->cpuid_count && start->cpuid[n].leaf == next; n++) next++;
  return start->cpuid_count && next == start->cpuid[0].eax + 1;
}

/* What it said while it started: where its RAM is, and what CPUID answers. */
static bool read_greeting(struct bochs *b, struct ref_start *start) {
  struct bochs_line line;
  struct line text;
  const char *at = b->text;
  start->cpuid_count = 0;
  while (text_line(&at, b->text + b->used, &text)) {
    bochs_text_line(text, &line);
    if (line.word == BOCHS_RAM) b->vector = line.value;
    else if (line.word == BOCHS_CPUID && start->cpuid_count < sizeof start->cpuid / sizeof start->cpuid[0])
      start->cpuid[start->cpuid_count++] = line.cpuid;
    else if (line.word == BOCHS_PANIC)
      return bochs_fail(b, "Bochs says: %.*s", (int)(line.text.length < 200 ? line.text.length : 200), line.text.text);
  }
  return (b->vector && is_whole(start)) || bochs_fail(b, "what Bochs says at its start is not understood");
}

static bool registers(struct bochs *b, struct ref_cpu *cpu, unsigned wanted) {
  return (bochs_text_registers(b->text, b->used, cpu) & wanted) == wanted ||
         bochs_fail(b, "what Bochs' debugger prints is not understood");
}

/* Runs to an address of its ROM or its guest, where it stands before anything else is done. `number`: of the breakpoint. */
static bool run_to(struct bochs *b, uint32_t linear, unsigned number) {
  char commands[80];
  struct ref_cpu cpu = {.eip = 0};
  snprintf(commands, sizeof commands, "lb 0x%x\nc\nd %u\nr\nsreg\n", linear, number);
  if (!bochs_ask(b, commands, RUN_TIME))
    return b->late ? bochs_fail(b, "the guest did not come to %08x in %d s", linear, RUN_TIME / 1000) : false;
  if (!registers(b, &cpu, BOCHS_GENERAL | BOCHS_SEGMENTS)) return false;
  return cpu.eip + cpu.seg[1].base == linear || bochs_fail(b, "Bochs stopped at %08x instead of %08x", cpu.eip, linear);
}

static bool check_markers(struct bochs *b) {
  for (uint64_t at = 0; at < b->ram_size; at += BOCHS_BLOCK) {
    uint32_t marker;
    memcpy(&marker, b->ram + at, sizeof marker);
    if ((at < LOW_END || at >= HIGH) && marker != bochs_rom_marker((uint32_t)at))
      return bochs_fail(b, "the RAM of Bochs' guest does not lie as it does in Bochs 2.7 (at %08llx)", (unsigned long long)at);
  }
  return true;
}

static bool lay_in(struct bochs *b, const struct ref_options *o) {
  return bochs_read_ram(b) && check_markers(b) && bochs_write_ram(b, o->boot.ram);
}

static bool capture(struct bochs *b, struct ref_start *start) {
  enum { ALL = BOCHS_GENERAL | BOCHS_SYSTEM | BOCHS_FPU };
  struct ref_cpu *cpu = &start->cpu;
  memset(cpu, 0, sizeof *cpu);
  start->msr_count = 0;
  if (!bochs_ask(b, "r\nsreg\ncreg\ndreg\nfp\nsse\n", BOCHS_ANSWER_TIME) || !registers(b, cpu, ALL)) return false;
  cpu->a20 = cpu->has_fp = true;
  if (!bochs_ask(b, "show \"cpu0.MSR\"\n", BOCHS_ANSWER_TIME)) return false;
  bochs_text_msrs(b->text, b->used, start);
  return bochs_read_ram(b);
}

static bool go(struct bochs *b, const struct ref_options *o, uint32_t ready, struct ref_start *start) {
  char steps[20];
  snprintf(steps, sizeof steps, "s %u\n", (unsigned)BOCHS_ROM_STEPS);
  return run_to(b, ready, 1) && lay_in(b, o) && bochs_ask(b, steps, BOCHS_ANSWER_TIME) &&
         (o->address == o->boot.eip || run_to(b, o->address, 2)) && capture(b, start);
}

static bool launch(struct bochs *b, const struct ref_options *o, const uint8_t *rom, struct ref_start *start) {
  for (unsigned tries = 3; tries--; bochs_shut(b)) {
    if (!bochs_launch(b, o, rom)) return false;
    if (read_greeting(b, start)) return true;
  }
  return false;
}

bool bochs_start(struct bochs *b, const struct ref_options *o, struct ref_start *start) {
  uint8_t *rom = malloc(BOCHS_ROM);
  if (!rom) return bochs_fail(b, "not enough memory");
  uint32_t ready = bochs_rom_make(rom, &o->boot, o->ram_size);
  memset(start->upper, 0xff, sizeof start->upper);
  memset(start->upper + 0xc0000 - UPPER, 0, VGA_ROM);
  memcpy(start->upper + BOCHS_ROM_AT - UPPER, rom, BOCHS_ROM);
  bool fine =
    launch(b, o, rom, start) && go(b, o, ready, start) && bochs_ask(b, "set u off\ntrace on\ntrace-mem on\n", BOCHS_ANSWER_TIME);
  free(rom);
  return fine;
}
