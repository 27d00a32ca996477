/* What the monitor shows of the CPU: its registers, as QEMU 7.2 lays them out, and $names of expressions. */
#include <string.h>
#include "../machine.h"
#include "command.h"

/* ---- registers by name ---- */

static const struct {
  const char *name;
  uint8_t number, bits;
} general[] = {
  {"eax", REG_EAX, 32}, {"ecx", REG_ECX, 32}, {"edx", REG_EDX, 32}, {"ebx", REG_EBX, 32}, {"esp", REG_ESP, 32},
  {"ebp", REG_EBP, 32}, {"esi", REG_ESI, 32}, {"edi", REG_EDI, 32}, {"sp", REG_ESP, 32},  {"fp", REG_EBP, 32},
  {"ax", REG_EAX, 16},  {"cx", REG_ECX, 16},  {"dx", REG_EDX, 16},  {"bx", REG_EBX, 16},  {"bp", REG_EBP, 16},
  {"si", REG_ESI, 16},  {"di", REG_EDI, 16},
};
static const char segment_names[6][3] = {"es", "cs", "ss", "ds", "fs", "gs"};

/* cs, cs.base, cs.limit. */
static bool segment_register(const struct vcpu *v, const char *name, uint64_t *value) {
  for (unsigned i = 0; i < 6; i++) {
    const struct tr_segment *s = &v->s.seg[i];
    if (strncmp(name, segment_names[i], 2)) continue;
    if (!name[2]) return *value = s->selector, true;
    if (!strcmp(name + 2, ".base")) return *value = s->base, true;
    if (!strcmp(name + 2, ".limit")) return *value = s->limit, true;
  }
  return false;
}

bool cpu_register(void *machine, const char *name, uint64_t *value) {
  const struct vcpu *v = monitor_vcpu(((struct machine *)machine)->monitor);
  const struct {
    const char *name;
    uint64_t value;
  } others[] = {{"eip", v->s.eip}, {"pc", v->s.eip}, {"eflags", vcpu_eflags(v)}, {"cr0", v->cr0},   {"cr2", v->cr2},
                {"cr3", v->cr3},   {"cr4", v->cr4},  {"efer", v->efer},          {"dr6", v->dr[6]}, {"dr7", v->dr[7]}};
  for (unsigned i = 0; i < sizeof general / sizeof general[0]; i++)
    if (!strcmp(name, general[i].name)) return *value = v->s.gpr[general[i].number] & 0xffffffffu >> (32 - general[i].bits), true;
  for (unsigned i = 0; i < sizeof others / sizeof others[0]; i++)
    if (!strcmp(name, others[i].name)) return *value = others[i].value, true;
  return segment_register(v, name, value);
}

/* ---- info registers ---- */

/* Bits 32 to 63 of the descriptor, put together again from what the CPU keeps of it. */
static uint32_t descriptor_high(const struct tr_segment *s) {
  uint32_t limit = s->attr >> 15 ? s->limit >> 28 : s->limit >> 16 & 15;
  return (s->base & 0xff000000) | (s->attr & 0xf000u) << 8 | limit << 16 | (s->attr & 0xffu) << 8 | (s->base >> 16 & 0xff);
}

/* In words, as far as there are any: SDM vol. 3A, tables 3-1 and 3-2. */
static void describe_segment(const struct tr_segment *s, struct text *out) {
  static const char *const systems[16] = {"Reserved",   "TSS16-avl",  "LDT",       "TSS16-busy", "CallGate16", "TaskGate",
                                          "IntGate16",  "TrapGate16", "Reserved",  "TSS32-avl",  "Reserved",   "TSS32-busy",
                                          "CallGate32", "Reserved",   "IntGate32", "TrapGate32"};
  unsigned type = s->attr & 15;
  bool big = s->attr >> 14 & 1;
  text_printf(out, " DPL=%d ", s->attr >> 5 & 3);
  if (!(s->attr & 1 << 4)) return text_printf(out, "%s", systems[type]);
  if (type & 8) text_printf(out, "%s [%c%c", big ? "CS32" : "CS16", type & 4 ? 'C' : '-', type & 2 ? 'R' : '-');
  else text_printf(out, "%s [%c%c", big ? "DS  " : "DS16", type & 4 ? 'E' : '-', type & 2 ? 'W' : '-');
  text_printf(out, "%c]", type & 1 ? 'A' : '-');
}

static void show_segment(const struct vcpu *v, const char *name, const struct tr_segment *s, struct text *out) {
  text_printf(out, "%-3s=%04x %08x %08x %08x", name, s->selector, s->base, s->limit, descriptor_high(s));
  if (!vcpu_real_mode(v) && s->attr & 1 << 7) describe_segment(s, out);
  text_printf(out, "\n");
}

static void show_integers(const struct vcpu *v, struct text *out) {
  static const char letters[] = "DOSZAPC";
  static const uint8_t bits[] = {10, 11, 7, 6, 4, 2, 0};
  const uint32_t *g = v->s.gpr;
  uint32_t flags = vcpu_eflags(v);
  char shown[] = "-------";
  for (unsigned i = 0; i < sizeof bits; i++)
    if (flags >> bits[i] & 1) shown[i] = letters[i];
  text_printf(out, "EAX=%08x EBX=%08x ECX=%08x EDX=%08x\nESI=%08x EDI=%08x EBP=%08x ESP=%08x\n", g[REG_EAX], g[REG_EBX],
              g[REG_ECX], g[REG_EDX], g[REG_ESI], g[REG_EDI], g[REG_EBP], g[REG_ESP]);
  text_printf(out, "EIP=%08x EFL=%08x [%s] CPL=%u II=%u A20=%u SMM=0 HLT=%u\n", v->s.eip, flags, shown, v->cpl, v->inhibit_irq,
              !v->a20_masked, v->halted);
}

static void show_system(const struct vcpu *v, struct text *out) {
  text_printf(out, "GDT=     %08x %08x\nIDT=     %08x %08x\n", v->gdt.base, v->gdt.limit, v->idt.base, v->idt.limit);
  text_printf(out, "CR0=%08x CR2=%08x CR3=%08x CR4=%08x\n", v->cr0, v->cr2, v->cr3, v->cr4);
  for (unsigned i = 0; i < 4; i++) text_printf(out, "DR%u=%08x ", i, v->dr[i]);
  text_printf(out, "\nDR6=%08x DR7=%08x\nEFER=%016llx\n", v->dr[6], v->dr[7], (unsigned long long)v->efer);
}

/* Of the FXSAVE image (SDM vol. 1, table 10-2), which has ST(0) first; shown are the registers by number. */
static void show_fpu(const struct vcpu *v, struct text *out) {
  enum { AT_MXCSR = 24, AT_ST = 32, AT_XMM = 160 };
  const uint8_t *image = v->fp.bytes;
  uint16_t control, status, exponent;
  uint32_t mxcsr;
  uint64_t low, high;
  memcpy(&control, image, 2), memcpy(&status, image + 2, 2), memcpy(&mxcsr, image + AT_MXCSR, 4);
  unsigned top = status >> 11 & 7;
  text_printf(out, "FCW=%04x FSW=%04x [ST=%u] FTW=%02x MXCSR=%08x\n", control, status, top, image[4], mxcsr);
  for (unsigned i = 0; i < 8; i++) {
    const uint8_t *st = image + AT_ST + 16 * ((i - top) & 7);
    memcpy(&low, st, 8), memcpy(&exponent, st + 8, 2);
    text_printf(out, "FPR%u=%016llx %04x%c", i, (unsigned long long)low, exponent, i & 1 ? '\n' : ' ');
  }
  for (unsigned i = 0; i < 8; i++) {
    memcpy(&low, image + AT_XMM + 16 * i, 8), memcpy(&high, image + AT_XMM + 16 * i + 8, 8);
    text_printf(out, "XMM%02u=%016llx %016llx%c", i, (unsigned long long)high, (unsigned long long)low, i & 1 ? '\n' : ' ');
  }
}

static void info_registers(struct command_call *call) {
  static const char names[6][3] = {"ES", "CS", "SS", "DS", "FS", "GS"};
  const struct vcpu *v = monitor_vcpu(call->machine->monitor);
  text_printf(call->out, "\nCPU#0\n");
  show_integers(v, call->out);
  for (unsigned i = 0; i < 6; i++) show_segment(v, names[i], &v->s.seg[i], call->out);
  show_segment(v, "LDT", &v->ldt, call->out);
  show_segment(v, "TR", &v->tr, call->out);
  show_system(v, call->out);
  show_fpu(v, call->out);
}

static void info_cpus(struct command_call *call) {
  const struct vcpu *v = monitor_vcpu(call->machine->monitor);
  text_printf(call->out, "* CPU #0: %s%s\n", v->model->name, v->halted ? " (halted)" : "");
}

const struct command cpu_infos[] = {
  COMMAND("registers", NULL, "[-a]", "show the CPU's registers", info_registers, ARGUMENT_MAYBE(FLAG, "a")),
  COMMAND("cpus", NULL, "", "show the CPUs", info_cpus), COMMANDS_END};
