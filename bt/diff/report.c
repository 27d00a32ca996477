#include "report.h"
#include <inttypes.h>
#include <string.h>
#include "monitor/capstone_library.h"

void report_run(const struct lockstep *l, double seconds, FILE *out) {
  const struct lockstep_counts *c = &l->counts;
  uint64_t exceptions = 0;
  for (unsigned i = 0; i < 32; i++) exceptions += c->exceptions[i];
  fprintf(out, "followed       %14" PRIu64 " instructions in %" PRIu64 " blocks, %.0f blocks/s\n", c->insns, c->blocks,
          seconds > 0 ? (double)c->blocks / seconds : 0);
  fprintf(out, "compared       %14" PRIu64 " states of the CPU, memory and FP state %" PRIu64 " times\n", c->compares,
          c->ram_compares);
  fprintf(out, "interrupts     %14" PRIu64 "\nexceptions     %14" PRIu64 "  page faults %" PRIu64, c->interrupts, exceptions,
          c->exceptions[VEC_PF]);
  for (unsigned i = 0; i < 32; i++)
    if (c->exceptions[i] && i != VEC_PF) fprintf(out, ", vector %02x %" PRIu64, i, c->exceptions[i]);
  fprintf(out, "\nsystem calls   %14" PRIu64 "  (INT 80h, SYSENTER); software interrupts %" PRIu64 "\n", c->syscalls,
          c->software);
  fprintf(out, "device reads   %14" PRIu64 "  writes %" PRIu64 "\n", c->reads, c->writes);
  fprintf(out, "explained differences:\n");
  deviations_print(&l->deviations, false, out);
}

static void disassemble(FILE *out, bool code32, const struct ref_insns *insns) {
  csh handle;
  const char *why;
  const struct capstone_library *cs = capstone_library(&why);
  if (!cs) {
    fprintf(out, "    (%s)\n", why);
    return;
  }
  if (cs->open(CS_ARCH_X86, code32 ? CS_MODE_32 : CS_MODE_16, &handle)) return;
  for (unsigned i = 0; i < insns->count; i++) {
    const struct ref_insn *n = &insns->insn[i];
    cs_insn *text;
    size_t count = cs->disasm(handle, n->bytes, n->length, n->linear, 1, &text);
    fprintf(out, "    %08x  ", n->linear);
    for (unsigned k = 0; k < 11; k++) fprintf(out, k < n->length ? "%02x" : "  ", n->bytes[k]);
    fprintf(out, " %s %s\n", count ? text->mnemonic : "?", count ? text->op_str : "");
    if (count) cs->free(text, count);
  }
  cs->close(&handle);
}

static void print_gprs(FILE *out, const char *who, const uint32_t *g, uint32_t eip, uint32_t eflags, unsigned cpl) {
  fprintf(out, "  %-9s EAX=%08x EBX=%08x ECX=%08x EDX=%08x ESI=%08x EDI=%08x EBP=%08x ESP=%08x EIP=%08x EFL=%08x CPL=%u\n", who,
          g[REG_EAX], g[REG_EBX], g[REG_ECX], g[REG_EDX], g[REG_ESI], g[REG_EDI], g[REG_EBP], g[REG_ESP], eip, eflags, cpl);
}

void report_divergence(struct lockstep *l, FILE *out) {
  struct vcpu *v = l->replay.vcpu;
  const struct ref_cpu *b = &l->before.cpu, *theirs = &l->next.cpu;
  const char *symbol;
  uint32_t offset = 0;
  fprintf(out, "DIVERGED after instruction %" PRIu64 " and by %" PRIu64 ": %s\n", l->good, l->bad, l->why);
  fwrite(l->differences.text, 1, l->differences.used, out);
  fprintf(out, "before (equal on both sides):\n");
  print_gprs(out, "both", b->gpr, b->eip, b->eflags, b->cpl);
  fprintf(out, "after:\n");
  print_gprs(out, "bt", v->s.gpr, v->s.eip, vcpu_eflags(v), v->cpl);
  print_gprs(out, "reference", theirs->gpr, theirs->eip, theirs->eflags, theirs->cpl);
  symbol = machine_symbol(l->replay.machine, gla_add(to_gla(b->seg[SEG_CS].base), b->eip), &offset);
  fprintf(out, "the reference ran, from %04x:%08x%s%s:\n", b->seg[SEG_CS].selector, b->eip, symbol ? " " : "",
          symbol ? symbol : "");
  if (l->before.insns) disassemble(out, b->seg[SEG_CS].attr & 1 << 14, l->before.insns);
  fprintf(out, "bt's last blocks, newest first, with the host code that it made of them:\n");
  fflush(out);
  monitor_report_recent(l->replay.machine->monitor, 3);
}
