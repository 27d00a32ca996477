/* Control and debug registers, paging state, and the small system instructions: MOV CRn/DRn, LMSW, SMSW, CLTS, INVLPG, INVD,
 * CLFLUSH, HLT, CPUID, RDTSC(P), RDPMC. MSRs are in msr.c, port I/O in io.c, descriptor tables with the segments.
 *
 * Whoever changes CR0, CR3, CR4, EFER or a20_masked elsewhere (task switches, the machine) sets the new value and calls
 * vcpu_paging_changed(). */
#include "exec.h"
#include "cpuid.h"
#include "msr_models.h"
#include "../mmu/mmu.h"

static int privileged(struct vcpu *v) { return v->cpl == 0 ? EXEC_NEXT : fault_raise_error(v, VEC_GP, 0); }

/* ---- paging ---- */

static bool pae_paging(const struct vcpu *v) { return v->cr0 & CR0_PG && v->cr4 & CR4_PAE; }

static int set_paging(struct vcpu *v, bool load_pdptes) {
  struct mmu_mode mode = {
    .paging = v->cr0 & CR0_PG,
    .pae = v->cr4 & CR4_PAE,
    .pse = v->cr4 & CR4_PSE,
    .wp = v->cr0 & CR0_WP,
    .nx = v->efer & EFER_NXE,
    .a20 = !v->a20_masked,
    .cr3 = v->cr3,
  };
  if (!mmu_set_mode(v->mmu_cpu, &mode, load_pdptes)) return fault_raise_error(v, VEC_GP, 0);
  v->s.table = (uint64_t)(uintptr_t)mmu_table(v->mmu_cpu, v->cpl == 3);
  v->s.gdt_host = v->s.ivt_host = 0;
  vcpu_forget_returns(v);
  v->s.stack_page = (uint64_t)1 << 40; /* no linear page: the cached host pointer belongs to the old table */
  v->mode_dirty = true;
  return EXEC_NEXT;
}

int vcpu_paging_changed(struct vcpu *v) {
  if (set_paging(v, pae_paging(v)) != EXEC_NEXT) return EXEC_FAULT;
  mmu_flush(v->mmu_cpu, false);
  return EXEC_NEXT;
}

void vcpu_paging_loaded(struct vcpu *v) { set_paging(v, false); } /* cannot fail: no PDPTE is read */

/* SDM vol. 3A, 2.5: reserved bits of CR0 are ignored in 32-bit mode, ET is wired to one, impossible combinations are #GP(0). */
static int write_cr0(struct vcpu *v, uint32_t value) {
  uint32_t old = v->cr0;
  value = (value & (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG)) | CR0_ET;
  if ((value & CR0_PG && !(value & CR0_PE)) || (value & CR0_NW && !(value & CR0_CD))) return fault_raise_error(v, VEC_GP, 0);
  uint32_t changed = old ^ value;
  v->cr0 = value;
  if (changed & (CR0_PG | CR0_WP | CR0_CD | CR0_NW)) {
    /* SDM vol. 3A, 4.4.1: these bits (less WP) reload the PDPTEs. */
    if (set_paging(v, pae_paging(v) && changed & (CR0_PG | CR0_CD | CR0_NW)) != EXEC_NEXT) {
      v->cr0 = old;
      return EXEC_FAULT;
    }
    if (changed & CR0_PG) mmu_flush(v->mmu_cpu, true);
  }
  if (changed) v->mode_dirty = true;
  /* real mode's loads, inline, leave alone what tells protected mode's that a descriptor is loaded already */
  for (unsigned seg = 0; (changed & CR0_PE) && seg < 6; seg++) v->s.seg_raw[seg] = 0;
  return EXEC_NEXT;
}

static int write_cr3(struct vcpu *v, uint32_t value) {
  uint32_t old = v->cr3;
  v->cr3 = value;
  if (vcpu_paging_changed(v) == EXEC_NEXT) return EXEC_NEXT;
  v->cr3 = old;
  return EXEC_FAULT;
}

/* A bit whose feature CPUID does not show is reserved: #GP(0). */
static uint32_t cr4_allowed(const struct vcpu *v) {
  static const struct {
    uint32_t bits;
    uint8_t feature;
  } rows[] = {
    {CR4_TSD, FEAT_TSC}, {CR4_DE, FEAT_DE},   {CR4_PSE, FEAT_PSE},     {CR4_PAE, FEAT_PAE},
    {CR4_PGE, FEAT_PGE}, {CR4_PCE, FEAT_MMX}, {CR4_OSFXSR, FEAT_FXSR}, {CR4_OSXMMEXCPT, FEAT_SSE},
  };
  uint32_t allowed = 0;
  for (unsigned n = 0; n < sizeof rows / sizeof rows[0]; n++)
    if (v->features >> rows[n].feature & 1) allowed |= rows[n].bits;
  return allowed;
}

static int write_cr4(struct vcpu *v, uint32_t value) {
  uint32_t old = v->cr4, changed = old ^ value;
  if (value & ~cr4_allowed(v)) return fault_raise_error(v, VEC_GP, 0);
  v->cr4 = value;
  if (changed & (CR4_PSE | CR4_PAE | CR4_PGE)) {
    if (set_paging(v, pae_paging(v)) != EXEC_NEXT) {
      v->cr4 = old;
      return EXEC_FAULT;
    }
    mmu_flush(v->mmu_cpu, true);
  }
  if (changed) v->mode_dirty = true;
  return EXEC_NEXT;
}

int x_mov_to_cr(struct vcpu *v, const struct insn *i) {
  uint32_t value = v->s.gpr[i->rm];
  int result;
  if (i->reg != 0 && i->reg != 2 && i->reg != 3 && i->reg != 4) return fault_raise(v, VEC_UD);
  if (privileged(v) != EXEC_NEXT) return EXEC_FAULT;
  switch (i->reg) {
  case 0: result = write_cr0(v, value); break;
  case 2:
    v->cr2 = value;
    result = EXEC_NEXT;
    break;
  case 3: result = write_cr3(v, value); break;
  default: result = write_cr4(v, value); break;
  }
  return result == EXEC_NEXT ? exec_done(v, i) : result;
}

int x_mov_from_cr(struct vcpu *v, const struct insn *i) {
  const uint32_t *const registers[8] = {[0] = &v->cr0, [2] = &v->cr2, [3] = &v->cr3, [4] = &v->cr4};
  if (i->reg > 4 || !registers[i->reg]) return fault_raise(v, VEC_UD);
  if (privileged(v) != EXEC_NEXT) return EXEC_FAULT;
  v->s.gpr[i->rm] = *registers[i->reg];
  return exec_done(v, i);
}

int x_clts(struct vcpu *v, const struct insn *i) {
  if (privileged(v) != EXEC_NEXT || write_cr0(v, v->cr0 & ~CR0_TS) != EXEC_NEXT) return EXEC_FAULT;
  return exec_done(v, i);
}

/* LMSW can set PE but not clear it (SDM vol. 2, LMSW). */
int x_lmsw(struct vcpu *v, const struct insn *i) {
  uint32_t word = 0;
  if (privileged(v) != EXEC_NEXT) return EXEC_FAULT;
  if (!i->has_mem) word = reg_read(v, i->rm, 2);
  else if (seg_read(v, i->seg, insn_offset(v, i), 2, &word) != EXEC_NEXT) return EXEC_FAULT;
  uint32_t low = CR0_MP | CR0_EM | CR0_TS;
  if (write_cr0(v, (v->cr0 & ~low) | (word & (low | CR0_PE))) != EXEC_NEXT) return EXEC_FAULT;
  return exec_done(v, i);
}

int x_smsw(struct vcpu *v, const struct insn *i) {
  if (!i->has_mem) reg_write(v, i->rm, i->operand_size, v->cr0);
  else if (seg_write(v, i->seg, insn_offset(v, i), 2, &v->cr0) != EXEC_NEXT) return EXEC_FAULT;
  return exec_done(v, i);
}

/* ---- debug registers (SDM vol. 3B, 17.2) ---- */

enum {
  DR6_BD = 1 << 13,
  DR6_ONES = 0xffff0ff0,
  DR6_WRITABLE = 0xe00f,
  DR7_GD = 1 << 13,
  DR7_ONES = 1 << 10,
  DR7_WRITABLE = 0xffff23ff
};

/* The number of the register meant, or EXEC_FAULT's fault raised and -1. #UD comes before #GP, #GP before #DB. */
static int debug_register(struct vcpu *v, unsigned n) {
  if ((n == 4 || n == 5) && v->cr4 & CR4_DE) {
    fault_raise(v, VEC_UD);
    return -1;
  }
  if (privileged(v) != EXEC_NEXT) return -1;
  if (v->dr[7] & DR7_GD) {
    fault_raise(v, VEC_DB);
    v->fault.dr6 = DR6_BD;
    return -1;
  }
  return n == 4 || n == 5 ? (int)n + 2 : (int)n;
}

int x_mov_from_dr(struct vcpu *v, const struct insn *i) {
  int n = debug_register(v, i->reg);
  if (n < 0) return EXEC_FAULT;
  uint32_t value = v->dr[n];
  v->s.gpr[i->rm] = n == 6 ? value | DR6_ONES : n == 7 ? value | DR7_ONES : value;
  return exec_done(v, i);
}

int x_mov_to_dr(struct vcpu *v, const struct insn *i) {
  int n = debug_register(v, i->reg);
  if (n < 0) return EXEC_FAULT;
  uint32_t value = v->s.gpr[i->rm];
  if (n == 6) value = (value & DR6_WRITABLE) | DR6_ONES;
  else if (n == 7) value = (value & DR7_WRITABLE) | DR7_ONES;
  v->dr[n] = value;
  v->mode_dirty = true;
  return exec_done(v, i);
}

/* ---- the rest ---- */

/* No segment check: only the address counts (SDM vol. 2, INVLPG). */
int x_invlpg(struct vcpu *v, const struct insn *i) {
  if (privileged(v) != EXEC_NEXT) return EXEC_FAULT;
  mmu_invlpg(v->mmu_cpu, segment_linear(&v->s.seg[i->seg], insn_offset(v, i)));
  v->s.stack_page = (uint64_t)1 << 40;
  return exec_done(v, i);
}

/* Caches are coherent here: nothing to write back. */
int x_invd(struct vcpu *v, const struct insn *i) { return privileged(v) == EXEC_NEXT ? exec_done(v, i) : EXEC_FAULT; }

/* Checked as a byte load. (The manual also lets an execute-only segment pass; here that is #GP.) */
int x_clflush(struct vcpu *v, const struct insn *i) {
  return seg_probe_read(v, i->seg, insn_offset(v, i), 1) == EXEC_NEXT ? exec_done(v, i) : EXEC_FAULT;
}

int x_hlt(struct vcpu *v, const struct insn *i) {
  if (privileged(v) != EXEC_NEXT) return EXEC_FAULT;
  exec_done(v, i);
  v->halted = true;
  return EXEC_HALT;
}

/* One of real mode or V86 is a BIOS that is asked for a key, again and again (--poll-sleep). */
int x_pause(struct vcpu *v, const struct insn *i) {
  exec_done(v, i);
  return v->tells_pauses && !vcpu_protected(v) ? EXEC_PAUSE : EXEC_NEXT;
}

/* An APIC that IA32_APIC_BASE has disabled is not shown (SDM vol. 3A, 10.4.3). v->apic_base is what WRMSR wrote last, 0: nothing
 * yet. */
enum { CRYSTAL_HZ = 1000000000 }; /* the local APIC timer's clock (devices/chips/lapic.c) */

static const struct cpuid_answer *find_answer(const struct vcpu *v, uint32_t leaf, uint32_t subleaf) {
  const struct cpuid_answer *same_leaf = NULL, *highest = NULL;
  bool subleaves = false;
  for (unsigned n = 0; n < v->cpuid_count; n++) {
    const struct cpuid_answer *a = &v->cpuid_answers[n];
    if (a->leaf == leaf && a->subleaf == subleaf) return a;
    if (a->leaf == leaf && !same_leaf) same_leaf = a;
    subleaves |= a->leaf == leaf && a->subleaf;
    if (a->leaf < 0x40000000 && (!highest || a->leaf > highest->leaf)) highest = a;
  }
  return !same_leaf ? highest : subleaves ? NULL : same_leaf; /* behind the last subleaf: zeros */
}

static int answer_cpuid(struct vcpu *v, const struct insn *i) {
  static const struct cpuid_answer none;
  const struct cpuid_answer *a = find_answer(v, v->s.gpr[REG_EAX], v->s.gpr[REG_ECX]);
  if (!a) a = &none;
  v->s.gpr[REG_EAX] = a->eax;
  v->s.gpr[REG_EBX] = a->ebx;
  v->s.gpr[REG_ECX] = a->ecx;
  v->s.gpr[REG_EDX] = a->edx;
  return exec_done(v, i);
}

int x_cpuid(struct vcpu *v, const struct insn *i) {
  if (v->cpuid_answers) return answer_cpuid(v, i);
  uint64_t features = v->features;
  if (v->apic_base && !(v->apic_base & 1 << 11)) features &= ~((uint64_t)1 << FEAT_APIC);
  struct cpuid_regs r = cpuid_leaf(v->model, features, v->s.gpr[REG_EAX], v->s.gpr[REG_ECX]);
  /* TSC over core crystal clock: a kernel that knows need not calibrate, which goes wrong where the host takes the CPU away. */
  if (v->s.gpr[REG_EAX] == 0x15 && v->model->max_leaf >= 0x15 && v->tsc_ratio[1])
    r = (struct cpuid_regs){v->tsc_ratio[1], v->tsc_ratio[0], CRYSTAL_HZ, 0};
  v->s.gpr[REG_EAX] = r.eax;
  v->s.gpr[REG_EBX] = r.ebx;
  v->s.gpr[REG_ECX] = r.ecx;
  v->s.gpr[REG_EDX] = r.edx;
  return exec_done(v, i);
}

static int read_tsc(struct vcpu *v) {
  if (v->cr4 & CR4_TSD && v->cpl != 0) return fault_raise_error(v, VEC_GP, 0);
  vcpu_park_fp(v);
  uint64_t tsc = machine_tsc(v->machine);
  v->s.gpr[REG_EAX] = (uint32_t)tsc;
  v->s.gpr[REG_EDX] = (uint32_t)(tsc >> 32);
  return EXEC_NEXT;
}

int x_rdtsc(struct vcpu *v, const struct insn *i) { return read_tsc(v) == EXEC_NEXT ? exec_done(v, i) : EXEC_FAULT; }

int x_rdtscp(struct vcpu *v, const struct insn *i) {
  if (read_tsc(v) != EXEC_NEXT) return EXEC_FAULT;
  v->s.gpr[REG_ECX] = (uint32_t)v->s.tsc_aux;
  return exec_done(v, i);
}

/* The counters hold what was written to them and stand still (msr_models.c). */
int x_rdpmc(struct vcpu *v, const struct insn *i) {
  uint64_t value = 0;
  if ((v->cpl != 0 && !(v->cr4 & CR4_PCE)) || !msr_model_counter(v, v->s.gpr[REG_ECX], &value))
    return fault_raise_error(v, VEC_GP, 0);
  v->s.gpr[REG_EAX] = (uint32_t)value;
  v->s.gpr[REG_EDX] = (uint32_t)(value >> 32);
  return exec_done(v, i);
}
