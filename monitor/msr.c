/* Model-specific registers: those that do something, or that CPUID shows. What a family of CPUs has besides is in msr_models.c.
 * Anything else is #GP(0), and so is every bit that we would not honour, so that a guest never believes that it has turned
 * something on (SDM vol. 4). */
#include "exec.h"
#include "msr_models.h"

enum msr {
  MSR_TSC = 0x10,
  MSR_APIC_BASE = 0x1b,
  MSR_BIOS_SIGN_ID = 0x8b,
  MSR_MTRRCAP = 0xfe,
  MSR_SYSENTER_CS = 0x174,
  MSR_SYSENTER_ESP = 0x175,
  MSR_SYSENTER_EIP = 0x176,
  MSR_PERF_STATUS = 0x198,
  MSR_MISC_ENABLE = 0x1a0,
  MSR_MTRR_VARIABLE = 0x200,
  MSR_PAT = 0x277,
  MSR_MTRR_DEF_TYPE = 0x2ff,
  MSR_EFER = 0xc0000080,
  MSR_TSC_AUX = 0xc0000103,
};

/* v->mtrr[]: the default type, eight base/mask pairs, the eleven fixed-range registers. */
enum { MTRR_DEF_TYPE, MTRR_VARIABLE, MTRR_FIXED = MTRR_VARIABLE + 16, MTRR_COUNT = MTRR_FIXED + 11 };
_Static_assert(MTRR_COUNT <= 32, "vcpu.mtrr holds them all");

enum { MTRRCAP_VALUE = 8 /* variable ranges */ | 1 << 8 /* fixed ranges */ | 1 << 10 /* write combining */ };
/* Fast strings on; branch trace store and PEBS unavailable. */
enum { MISC_ENABLE_FAST_STRINGS = 1, MISC_ENABLE_RESET = MISC_ENABLE_FAST_STRINGS | 1 << 11 | 1 << 12 };
/* The high half. Linux turns PSE off on early Atoms whose microcode is older than 20Eh (erratum AAE44). */
#define UCODE_REVISION ((uint64_t)0x219 << 32)
/* Bus ratio 3 now, 4 at most: what QEMU answers, so that both machines of `bt diff` agree. */
#define PERF_STATUS_VALUE ((uint64_t)4 << 40 | 1000)
#define PAT_RESET UINT64_C(0x0007040600070406)
#define PHYSICAL_MASK ((UINT64_C(1) << 36) - 1)

static bool has(const struct vcpu *v, enum cpu_feature feature) { return v->features >> feature & 1; }

void vcpu_reset_msrs(struct vcpu *v) {
  v->efer = 0;
  v->sysenter_cs = v->sysenter_esp = v->sysenter_eip = 0;
  v->apic_base = 0; /* nothing written: the machine's APIC knows its own */
  v->pat = PAT_RESET;
  for (unsigned n = 0; n < MTRR_COUNT; n++) v->mtrr[n] = 0;
  v->misc_enable = MISC_ENABLE_RESET;
  v->ucode_rev = UCODE_REVISION;
  v->s.tsc_aux = 0;
  msr_model_reset(v);
}

/* ---- MTRRs (SDM vol. 3A, 11.11) and PAT (11.12): kept, as all memory is write-back here ---- */

int vcpu_mtrr_index(uint32_t msr) {
  static const uint16_t fixed[11] = {0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f};
  if (msr == MSR_MTRR_DEF_TYPE) return MTRR_DEF_TYPE;
  if (msr >= MSR_MTRR_VARIABLE && msr < MSR_MTRR_VARIABLE + 16) return MTRR_VARIABLE + (int)(msr - MSR_MTRR_VARIABLE);
  for (int n = 0; n < 11; n++)
    if (fixed[n] == msr) return MTRR_FIXED + n;
  return -1;
}

static bool memory_type_valid(unsigned type, bool pat) {
  return type == 0 || type == 1 || (type >= 4 && type <= 6) || (pat && type == 7);
}

static bool types_valid(uint64_t value, bool pat) {
  for (unsigned n = 0; n < 64; n += 8)
    if (!memory_type_valid(value >> n & 0xff, pat)) return false;
  return true;
}

static bool mtrr_write(struct vcpu *v, int index, uint64_t value) {
  bool valid;
  if (index == MTRR_DEF_TYPE) valid = !(value & ~UINT64_C(0xcff)) && memory_type_valid(value & 0xff, false);
  else if (index >= MTRR_FIXED) valid = types_valid(value, false);
  else if ((index - MTRR_VARIABLE) & 1) valid = !(value & ~PHYSICAL_MASK) && !(value & 0x7ff);
  else valid = !(value & ~PHYSICAL_MASK) && !(value & 0xf00) && memory_type_valid(value & 0xff, false);
  if (valid) v->mtrr[index] = value;
  return valid;
}

/* ---- the rest ---- */

static bool apic_base_write(struct vcpu *v, uint64_t value) {
  if (value & ~(PHYSICAL_MASK & ~UINT64_C(0x6ff))) /* BSP (bit 8), enable (bit 11) and the address; no x2APIC */
    return false;
  vcpu_park_fp(v);
  machine_set_apic_base(v->machine, value);
  v->apic_base = value;
  v->mode_dirty = true;
  return true;
}

static bool efer_write(struct vcpu *v, uint64_t value) {
  if (value & ~(uint64_t)(has(v, FEAT_NX) ? EFER_NXE : 0)) return false;
  uint64_t old = v->efer;
  v->efer = value;
  if (value != old && vcpu_paging_changed(v) != EXEC_NEXT) {
    v->efer = old;
    return false;
  }
  return true;
}

/* Those of msr_models.c. A reference that ignores what it does not know ignores these. */
static bool is_model_row(const struct vcpu *v, uint32_t msr) {
  return !v->unknown_msrs && msr_model_find(v, msr) == MSR_MODEL_ROW;
}

/* Which registers of this file's this CPU has: by feature, or by its family. K7 has an EFER whether it has NX or not. */
static bool msr_exists(const struct vcpu *v, uint32_t msr) {
  switch (msr) {
  case MSR_TSC: return has(v, FEAT_TSC);
  case MSR_APIC_BASE: return has(v, FEAT_APIC);
  case MSR_BIOS_SIGN_ID:
  case MSR_PERF_STATUS:
  case MSR_MISC_ENABLE: return msr_model_find(v, msr) == MSR_MODEL_ELSEWHERE;
  case MSR_SYSENTER_CS:
  case MSR_SYSENTER_ESP:
  case MSR_SYSENTER_EIP: return has(v, FEAT_SEP);
  case MSR_PAT: return has(v, FEAT_PAT);
  case MSR_EFER: return has(v, FEAT_NX) || (cpu_model_is_amd(v->model) && has(v, FEAT_MSR));
  case MSR_TSC_AUX: return has(v, FEAT_RDTSCP);
  case MSR_MTRRCAP: return has(v, FEAT_MTRR);
  default: return has(v, FEAT_MTRR) && vcpu_mtrr_index(msr) >= 0;
  }
}

static uint64_t msr_read(struct vcpu *v, uint32_t msr) {
  switch (msr) {
  case MSR_TSC: vcpu_park_fp(v); return machine_tsc(v->machine);
  case MSR_APIC_BASE: vcpu_park_fp(v); return machine_apic_base(v->machine);
  case MSR_BIOS_SIGN_ID: return v->ucode_rev;
  case MSR_SYSENTER_CS: return v->sysenter_cs;
  case MSR_SYSENTER_ESP: return v->sysenter_esp;
  case MSR_SYSENTER_EIP: return v->sysenter_eip;
  case MSR_MISC_ENABLE: return v->misc_enable;
  case MSR_PAT: return v->pat;
  case MSR_EFER: return v->efer;
  case MSR_TSC_AUX: return v->s.tsc_aux;
  case MSR_MTRRCAP: return MTRRCAP_VALUE;
  case MSR_PERF_STATUS: return PERF_STATUS_VALUE;
  default: return v->mtrr[vcpu_mtrr_index(msr)];
  }
}

/* False: #GP(0). */
static bool msr_write(struct vcpu *v, uint32_t msr, uint64_t value) {
  switch (msr) {
  case MSR_TSC:
    vcpu_park_fp(v);
    machine_set_tsc(v->machine, value);
    return true;
  case MSR_APIC_BASE: return apic_base_write(v, value);
  case MSR_BIOS_SIGN_ID: return true; /* "write 0, CPUID, read": the revision stays */
  case MSR_SYSENTER_CS: v->sysenter_cs = (uint32_t)value; return true;
  case MSR_SYSENTER_ESP: v->sysenter_esp = (uint32_t)value; return true;
  case MSR_SYSENTER_EIP: v->sysenter_eip = (uint32_t)value; return true;
  case MSR_MISC_ENABLE:
    if ((value ^ v->misc_enable) & ~(uint64_t)MISC_ENABLE_FAST_STRINGS) return false;
    v->misc_enable = value;
    return true;
  case MSR_PAT:
    if (!types_valid(value, true)) return false;
    v->pat = value;
    return true;
  case MSR_EFER: return efer_write(v, value);
  case MSR_TSC_AUX:
    if (value >> 32) return false;
    v->s.tsc_aux = value;
    return true;
  case MSR_PERF_STATUS:
  case MSR_MTRRCAP: return false;
  default: return mtrr_write(v, vcpu_mtrr_index(msr), value);
  }
}

/* What is left to say of a register that does not exist, or of a value that cannot be honoured. */
static int refuse(struct vcpu *v, const struct insn *i) {
  if (v->cpl == 0 && v->unknown_msrs) return exec_done(v, i);
  return fault_raise_error(v, VEC_GP, 0);
}

int x_rdmsr(struct vcpu *v, const struct insn *i) {
  uint32_t msr = v->s.gpr[REG_ECX];
  uint64_t value = 0;
  if (v->cpl == 0 && msr_exists(v, msr)) value = msr_read(v, msr);
  else if (v->cpl == 0 && is_model_row(v, msr)) value = msr_model_read(v, msr);
  else if (v->cpl != 0 || !v->unknown_msrs) return fault_raise_error(v, VEC_GP, 0);
  v->s.gpr[REG_EAX] = (uint32_t)value;
  v->s.gpr[REG_EDX] = (uint32_t)(value >> 32);
  return exec_done(v, i);
}

int x_wrmsr(struct vcpu *v, const struct insn *i) {
  uint32_t msr = v->s.gpr[REG_ECX];
  uint64_t value = (uint64_t)v->s.gpr[REG_EDX] << 32 | v->s.gpr[REG_EAX];
  bool done = false;
  if (v->cpl == 0 && msr_exists(v, msr)) done = msr_write(v, msr, value);
  else if (v->cpl == 0 && is_model_row(v, msr)) done = msr_model_write(v, msr, value);
  if (!done) return refuse(v, i);
  return exec_done(v, i);
}
