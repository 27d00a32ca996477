/* Looking inside: -d in_asm, out_asm, exec, cpu, int, and the crash report. Compiled plainly; the FP state is parked whenever it
 * runs, but for report_crash(), which runs in a signal handler of a process that is about to die. */
#define _GNU_SOURCE
#include "capstone_library.h"
#include "private.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

static const char *where(struct monitor *m, gla linear, char *buffer, size_t size) {
  uint32_t offset = 0;
  const char *name = machine_symbol(m->machine, linear, &offset);
  if (name) snprintf(buffer, size, "%s+0x%x", name, offset);
  else buffer[0] = 0;
  return buffer;
}

static void disassemble(struct monitor *m, bool guest, unsigned bits, const uint8_t *bytes, size_t size, uint64_t address,
                        const char *indent) {
  csh handle;
  cs_insn *insns;
  const char *why;
  const struct capstone_library *cs = capstone_library(&why);
  if (!cs) {
    machine_log(m->machine, "%s(%s)", indent, why);
    return;
  }
  if (cs->open(CS_ARCH_X86, bits == 64 ? CS_MODE_64 : bits == 32 ? CS_MODE_32 : CS_MODE_16, &handle)) return;
  cs->option(handle, CS_OPT_SKIPDATA, CS_OPT_ON);
  size_t n = cs->disasm(handle, bytes, size, address, 0, &insns);
  for (size_t i = 0; i < n; i++) {
    char hex[64] = "", symbol[128] = "";
    for (unsigned k = 0; k < insns[i].size; k++) snprintf(hex + 2 * k, sizeof hex - 2 * k, "%02x", insns[i].bytes[k]);
    if (guest) where(m, gla_wrap(insns[i].address), symbol, sizeof symbol);
    machine_log(m->machine, "%s0x%08" PRIx64 ":  %-22s %s %s%s%s", indent, insns[i].address, hex, insns[i].mnemonic,
                insns[i].op_str, symbol[0] ? "    ; " : "", symbol);
  }
  if (n) cs->free(insns, n);
  cs->close(&handle);
}

static void disassemble_block(struct monitor *m, const struct tc_block *b, const char *indent) {
  disassemble(m, false, 64, tcache_address(m->code.tcache, b->code), b->code_size, b->code, indent);
  if (b->cold_size) machine_log(m->machine, "%scold:", indent);
  disassemble(m, false, 64, tcache_address(m->code.tcache, b->cold), b->cold_size, b->cold, indent);
}

static void list_sites(struct monitor *m, const struct tc_block *b) {
  for (unsigned i = 0; i < b->site_count; i++) {
    const struct tr_site *s = tcache_site(m->code.tcache, b->first_site + i);
    machine_log(m->machine, "    site %u %s: host %05x cold %05x guest +%x esp %+d target %08x", b->first_site + i,
                tr_site_name(s->kind), s->host, s->cold, s->insn_offset, s->esp_delta, s->target);
  }
}

void report_block(struct monitor *m, const struct tc_block *b, const struct tr_request *rq) {
  unsigned bits = b->key.mode & TR_CODE32 ? 32 : 16;
  uint32_t eip = (uint32_t)b->key.eip;
  gla linear = gla_add(to_gla(b->key.cs_base), eip);
  if (m->options.log & 1u << LOG_in_asm) {
    machine_log(m->machine, "IN: %04x:%08x frame %05x mode %08" PRIx64 "%s", m->v->s.seg[SEG_CS].selector, eip, b->key.frame,
                b->key.mode, b->key.mode & TR_PLAIN ? " (plain)" : "");
    disassemble(m, true, bits, rq->bytes, b->guest_size, linear.v, "");
  }
  if (m->options.log & 1u << LOG_out_asm) {
    machine_log(m->machine, "OUT: %04x:%08x size %u + %u at code offset %05x", m->v->s.seg[SEG_CS].selector, eip, b->code_size,
                b->cold_size, b->code);
    disassemble_block(m, b, "    ");
    list_sites(m, b);
  }
}

static void registers(struct monitor *m) {
  const struct vcpu *v = m->v;
  const uint32_t *g = v->s.gpr;
  machine_log(m->machine,
              "EAX=%08x EBX=%08x ECX=%08x EDX=%08x\nESI=%08x EDI=%08x EBP=%08x ESP=%08x\n"
              "EIP=%08x EFL=%08x CPL=%u HLT=%u",
              g[REG_EAX], g[REG_EBX], g[REG_ECX], g[REG_EDX], g[REG_ESI], g[REG_EDI], g[REG_EBP], g[REG_ESP], v->s.eip,
              vcpu_eflags(v), v->cpl, v->halted);
}

static void system_registers(struct monitor *m) {
  static const char names[6][3] = {"ES", "CS", "SS", "DS", "FS", "GS"};
  const struct vcpu *v = m->v;
  for (unsigned i = 0; i < 6; i++)
    machine_log(m->machine, "%s =%04x %08x %08x %04x", names[i], v->s.seg[i].selector, v->s.seg[i].base, v->s.seg[i].limit,
                v->s.seg[i].attr);
  machine_log(m->machine, "LDT=%04x %08x %08x\nTR =%04x %08x %08x\nGDT=     %08x %08x\nIDT=     %08x %08x", v->ldt.selector,
              v->ldt.base, v->ldt.limit, v->tr.selector, v->tr.base, v->tr.limit, v->gdt.base, v->gdt.limit, v->idt.base,
              v->idt.limit);
  machine_log(m->machine, "CR0=%08x CR2=%08x CR3=%08x CR4=%08x EFER=%" PRIx64 " DR6=%08x DR7=%08x", v->cr0, v->cr2, v->cr3,
              v->cr4, v->efer, v->dr[6], v->dr[7]);
}

void report_exec(struct monitor *m, uint32_t eip) {
  char symbol[128];
  machine_log(m->machine, "Trace %04x:%08x %s", m->v->s.seg[SEG_CS].selector, eip,
              where(m, segment_linear(&m->v->s.seg[SEG_CS], eip), symbol, sizeof symbol));
  if (m->options.log & 1u << LOG_cpu) registers(m);
}

void report_fault(struct monitor *m, const char *what, int vector) {
  const struct vcpu *v = m->v;
  const struct fault *f = &v->fault;
  bool exception = what[0] == 'e';
  machine_log(m->machine, "%04x:%08x %s %02x e=%04x cr2=%08x cpl=%u sp=%04x:%08x eax=%08x", v->s.seg[SEG_CS].selector, v->s.eip,
              what, (unsigned)vector, exception && f->has_error ? f->error : 0,
              exception && vector == VEC_PF ? (uint32_t)f->cr2.v : 0, v->cpl, v->s.seg[SEG_SS].selector, v->s.gpr[REG_ESP],
              v->s.gpr[REG_EAX]);
}

void report_mmu(struct monitor *m, const char *what, uint32_t a, uint32_t b) {
  vcpu_park_fp(m->v);
  machine_log(m->machine, "%04x:%08x mmu: %s %08x %08x", m->v->s.seg[SEG_CS].selector, m->v->s.eip, what, a, b);
}

/* Guest bytes at a linear address as they are now; returns how many. */
static unsigned peek(struct monitor *m, gla linear, uint8_t *to, unsigned size) {
  unsigned n = 0;
  for (; n < size; n++) {
    struct mmu_result r;
    if (!mmu_peek(m->v->mmu_cpu, gla_add(linear, n), MMU_READ, false, &r) || !r.host) break;
    to[n] = *r.host;
  }
  return n;
}

void report_stop(struct monitor *m, const char *reason) {
  uint8_t bytes[32];
  char symbol[128];
  machine_log(m->machine, "bt: the machine stopped: %s", reason);
  registers(m);
  system_registers(m);
  machine_log(m->machine, "last blocks, newest first:");
  for (unsigned i = 0; i < 8 && i < m->recent_at; i++) {
    typeof(m->recent[0]) *r = &m->recent[(m->recent_at - 1 - i) % RECENT];
    machine_log(m->machine, "  %08x mode %08" PRIx64 " %s", r->eip, r->mode,
                where(m, gla_add(to_gla(r->cs_base), r->eip), symbol, sizeof symbol));
  }
  machine_log(m->machine, "guest code at EIP:");
  disassemble(m, true, m->mode.bits & TR_CODE32 ? 32 : 16, bytes, peek(m, monitor_linear_eip(m), bytes, sizeof bytes),
              monitor_linear_eip(m).v, "  ");
  struct tr_site *site = (uint32_t)m->v->s.site < 1u << 31 && tcache_block_count(m->code.tcache)
                           ? tcache_site(m->code.tcache, (uint32_t)m->v->s.site)
                           : NULL;
  const struct tc_block *b = site ? tcache_site_block(m->code.tcache, site) : NULL;
  if (!b || b->code_size > 2048) return;
  machine_log(m->machine, "host code that was left last:");
  disassemble_block(m, b, "  ");
}

static void report_recent(struct monitor *m, unsigned back) {
  typeof(m->recent[0]) *r = &m->recent[(m->recent_at - 1 - back) % RECENT];
  char symbol[128];
  struct mmu_result at;
  gla linear = gla_add(to_gla(r->cs_base), r->eip);
  machine_log(m->machine, "  %08x mode %08" PRIx64 " %s", r->eip, r->mode, where(m, linear, symbol, sizeof symbol));
  if (!mmu_peek(m->v->mmu_cpu, linear, MMU_FETCH, false, &at)) return;
  const struct tc_block *b = NULL;
  /* as it was asked for, in single steps, or with every access checked by itself */
  for (unsigned kind = 0; !b && kind < 4; kind++)
    b = tcache_find(m->code.tcache, (struct tc_key){.eip = r->eip,
                                                    .frame = (uint32_t)(at.addr.v >> MMU_PAGE_BITS),
                                                    .cs_base = r->cs_base,
                                                    .mode = r->mode | (kind & 1 ? TR_STEP : 0) | (kind & 2 ? TR_PLAIN : 0)});
  if (!b) return;
  uint8_t bytes[512];
  disassemble(m, true, r->mode & TR_CODE32 ? 32 : 16, bytes,
              peek(m, linear, bytes, b->guest_size < sizeof bytes ? b->guest_size : sizeof bytes), linear.v, "    ");
  disassemble_block(m, b, "        ");
}

void monitor_report_recent(struct monitor *m, unsigned blocks) {
  vcpu_park_fp(m->v);
  for (unsigned i = 0; i < blocks && i < m->recent_at && i < RECENT; i++) report_recent(m, i);
}

void report_crash(struct monitor *m, int number, siginfo_t *info, void *context) {
  const ucontext_t *uc = context;
  const greg_t *g = uc->uc_mcontext.gregs;
  uint32_t at = m ? tcache_offset(m->code.tcache, (uint64_t)g[REG_RIP]) : 0;
  dprintf(STDERR_FILENO, "bt: internal error: signal %d (code %d) at host %llx, code offset %x, address %p\n", number,
          info->si_code, (unsigned long long)g[REG_RIP], at, info->si_addr);
  struct tc_block *b = at ? tcache_block_at(m->code.tcache, at) : NULL;
  if (b)
    dprintf(STDERR_FILENO, "bt: in the block at guest %08" PRIx64 " (%u instructions, mode %08" PRIx64 "), host %s+%x\n",
            b->key.eip, b->insns, b->key.mode, at < b->cold ? "" : "cold ", at < b->cold ? at - b->code : at - b->cold);
  dprintf(STDERR_FILENO, "bt: r8=%llx r9=%llx r10=%llx r11=%llx r12=%llx r13=%llx r14=%llx r15=%llx rsp=%llx\n",
          (unsigned long long)g[REG_R8], (unsigned long long)g[REG_R9], (unsigned long long)g[REG_R10],
          (unsigned long long)g[REG_R11], (unsigned long long)g[REG_R12], (unsigned long long)g[REG_R13],
          (unsigned long long)g[REG_R14], (unsigned long long)g[REG_R15], (unsigned long long)g[REG_RSP]);
  if (b) {
    m->v->s.eip = (uint32_t)b->key.eip;
    disassemble_block(m, b, "  ");
  }
}
