/* Model-specific registers that a family of CPUs always has and that are registers and nothing else here: a table of rows.
 *
 * Sources: SDM vol. 4, chapter 2 (one table a family); AMD Athlon processor BIOS and kernel developer's notes (K7). What has a
 * CPUID feature, or an effect, is in msr.c. Performance counters can be read and written, because kernels probe them, and stand
 * still: events are not counted. What would turn something on that bt has not (branch traces, clock modulation, machine checks)
 * cannot be set.
 * Obligations of a row: the register is in the family's table without a condition on CPUID, or bt shows that feature; its reset
 * value is what firmware leaves; `writable` has no bit that a guest would wait for. A family's KEPT and COUNTER registers fit
 * into vcpu.model_msrs. */
#include "exec.h"
#include "msr_models.h"

enum family { P5, P6, NETBURST, CORE, CORE2, ATOM, K7, FAMILY_COUNT, NO_FAMILY = FAMILY_COUNT };
#define ON(family) (1u << (family))
#define INTEL_P6 (ON(P6) | ON(CORE) | ON(CORE2) | ON(ATOM)) /* family 6 */
#define INTEL (INTEL_P6 | ON(NETBURST))
#define SPEEDSTEP (ON(CORE) | ON(CORE2) | ON(ATOM)) /* 06_0Eh and later */
#define ARCHITECTED (ON(CORE2) | ON(ATOM))          /* fixed-function counters */

enum kind {
  FIXED,      /* reads as `reset`; WRMSR is #GP(0) */
  KEPT,       /* the bits of `writable` are what was written; the others can only be written as they are */
  IGNORED,    /* reads as `reset`; the bits of `writable` may be written and are forgotten */
  COUNTER,    /* KEPT, but bits beyond `writable` are dropped: it is not wider */
  COUNTER_P6, /* 40 bits of which 32 are written, sign-extended (SDM vol. 3B, performance monitoring of P6) */
  ELSEWHERE,  /* msr.c has it; this row says on which CPUs */
};

#define ALL ~UINT64_C(0)
#define LOW32 UINT64_C(0xffffffff)
#define LOW40 UINT64_C(0xffffffffff)
#define PHYSICAL36 UINT64_C(0xffffff000)

static const struct row {
  uint32_t first;
  uint16_t count, families;
  uint8_t kind;
  uint64_t reset, writable;
} rows[] = {
  {0x000, 2, ON(P5) | INTEL | ON(K7), KEPT, 0, 0},           /* P5_MC_ADDR, P5_MC_TYPE */
  {0x00e, 1, ON(P5), KEPT, 0, 0},                            /* TR12 */
  {0x011, 1, ON(P5), KEPT, 0, 0x03ff03ff},                   /* CESR */
  {0x012, 2, ON(P5), COUNTER, 0, LOW40},                     /* CTR0, CTR1 */
  {0x017, 1, INTEL, FIXED, 0, 0},                            /* IA32_PLATFORM_ID */
  {0x02a, 1, INTEL | ON(K7), KEPT, 0, 0},                    /* EBL_CR_POWERON, EBC_HARD_POWERON */
  {0x02b, 2, ON(NETBURST), KEPT, 0, 0},                      /* EBC_SOFT_POWERON, EBC_FREQUENCY_ID */
  {0x033, 1, ON(P6), KEPT, 0, 0},                            /* TEST_CTL */
  {0x040, 8, SPEEDSTEP, FIXED, 0, 0},                        /* LASTBRANCH_n_FROM */
  {0x060, 8, ARCHITECTED, FIXED, 0, 0},                      /* LASTBRANCH_n_TO */
  {0x079, 1, INTEL, IGNORED, 0, ALL},                        /* IA32_BIOS_UPDT_TRIG: no update is ever newer */
  {0x088, 3, ON(P6), KEPT, 0, ALL},                          /* BBL_CR_D0 to D2 */
  {0x08b, 1, INTEL | ON(K7), ELSEWHERE, 0, 0},               /* IA32_BIOS_SIGN_ID */
  {0x0c1, 2, INTEL_P6, COUNTER_P6, 0, LOW40},                /* PERFCTR0, 1 */
  {0x0cd, 1, SPEEDSTEP, FIXED, 1, 0},                        /* FSB_FREQ: 133 MHz */
  {0x0e7, 2, SPEEDSTEP, COUNTER, 0, ALL},                    /* IA32_MPERF, IA32_APERF */
  {0x116, 1, ON(P6), KEPT, 0, ALL},                          /* BBL_CR_ADDR */
  {0x118, 1, ON(P6), KEPT, 0, ALL},                          /* BBL_CR_DECC */
  {0x119, 1, ON(P6), KEPT, 0, 0x7fffffff},                   /* BBL_CR_CTL; bit 21: no serial number, of which there is none */
  {0x11a, 1, ON(P6), IGNORED, 0, ALL},                       /* BBL_CR_TRIG */
  {0x11b, 1, ON(P6), FIXED, 0, 0},                           /* BBL_CR_BUSY: never */
  {0x11e, 1, INTEL_P6, KEPT, 0x101, 0},                      /* BBL_CR_CTL3: L2 cache there and enabled */
  {0x186, 2, INTEL_P6, KEPT, 0, LOW32},                      /* PERFEVTSEL0, 1 */
  {0x198, 1, SPEEDSTEP | ON(NETBURST), ELSEWHERE, 0, 0},     /* IA32_PERF_STATUS */
  {0x199, 1, SPEEDSTEP | ON(NETBURST), KEPT, 0, 0xffff},     /* IA32_PERF_CTL: a wish; PERF_STATUS says what came of it */
  {0x19a, 1, SPEEDSTEP | ON(NETBURST), KEPT, 0, 0},          /* IA32_CLOCK_MODULATION */
  {0x19b, 1, SPEEDSTEP | ON(NETBURST), KEPT, 0, 0x00ffff1f}, /* IA32_THERM_INTERRUPT: it never gets hot */
  {0x19c, 1, SPEEDSTEP | ON(NETBURST), IGNORED, 0, 0xaaa},   /* IA32_THERM_STATUS: its log bits are cleared by writing 0 */
  {0x19d, 1, SPEEDSTEP | ON(NETBURST), KEPT, 0, 0},          /* THERM2_CTL */
  {0x1a0, 1, SPEEDSTEP | ON(NETBURST), ELSEWHERE, 0, 0},     /* IA32_MISC_ENABLE */
  {0x1a1, 1, ON(NETBURST), KEPT, 0, 0},                      /* PLATFORM_BRV */
  {0x1c9, 1, SPEEDSTEP, FIXED, 0, 0},                        /* LASTBRANCH_TOS */
  {0x1d7, 2, ON(NETBURST), FIXED, 0, 0},                     /* LER_FROM_LIP, LER_TO_LIP */
  {0x1d9, 1, INTEL | ON(K7), KEPT, 0, 0},                  /* DEBUGCTL: no last branch records, no traces, no steps of branches */
  {0x1da, 1, ON(NETBURST), FIXED, 0, 0},                   /* LASTBRANCH_TOS */
  {0x1db, 2, ON(P6) | ON(K7), FIXED, 0, 0},                /* LASTBRANCHFROMIP, TOIP */
  {0x1dd, 2, INTEL_P6 | ON(K7), FIXED, 0, 0},              /* LASTINTFROMIP, TOIP */
  {0x1e0, 1, ON(P6), KEPT, 4, 4},                          /* ROB_CR_BKUPTMPDR6: fast strings */
  {0x300, 18, ON(NETBURST), COUNTER, 0, LOW40},            /* BPU_COUNTER0 to IQ_COUNTER5 */
  {0x309, 3, ARCHITECTED, COUNTER, 0, LOW40},              /* IA32_FIXED_CTR0 to 2 */
  {0x360, 18, ON(NETBURST), KEPT, 0, LOW32},               /* BPU_CCCR0 to IQ_CCCR5 */
  {0x38d, 1, ARCHITECTED, KEPT, 0, 0xfff},                 /* IA32_FIXED_CTR_CTRL */
  {0x38e, 1, ARCHITECTED, FIXED, 0, 0},                    /* IA32_PERF_GLOBAL_STATUS */
  {0x38f, 1, ARCHITECTED, KEPT, 3, UINT64_C(0x700000003)}, /* IA32_PERF_GLOBAL_CTRL */
  {0x390, 1, ARCHITECTED, IGNORED, 0, UINT64_C(0xc000000700000003)}, /* IA32_PERF_GLOBAL_OVF_CTRL */
  {0x3a0, 31, ON(NETBURST), KEPT, 0, LOW32},                         /* BSU_ESCR0 to SSU_ESCR0 */
  {0x3c0, 6, ON(NETBURST), KEPT, 0, LOW32},                          /* MS_ESCR0 to TC_ESCR1 */
  {0x3c8, 6, ON(NETBURST), KEPT, 0, LOW32},                          /* IX_ESCR0 to CRU_ESCR3 */
  {0x3e0, 2, ON(NETBURST), KEPT, 0, LOW32},                          /* CRU_ESCR4, 5 */
  {0x3f0, 1, ON(NETBURST), KEPT, 0, LOW32},                          /* TC_PRECISE_EVENT */
  {0x3f1, 2, ON(NETBURST), KEPT, 0, 0},                              /* PEBS_ENABLE, PEBS_MATRIX_VERT: no PEBS */
  {0x680, 16, ON(NETBURST), FIXED, 0, 0},                            /* LASTBRANCH_n_FROM_LIP */
  {0x6c0, 16, ON(NETBURST), FIXED, 0, 0},                            /* LASTBRANCH_n_TO_LIP */
  {0xc0000081, 1, ON(K7), KEPT, 0, ALL},                             /* STAR; SYSCALL is not offered */
  {0xc0010000, 4, ON(K7), KEPT, 0, 0xffdfffff},                      /* PerfEvtSel0 to 3 */
  {0xc0010004, 4, ON(K7), COUNTER, 0, UINT64_C(0xffffffffffff)},     /* PerfCtr0 to 3 */
  /* SYSCFG: MtrrVarDramEn; not the RdMem and WrMem bits of fixed MTRRs (19) */
  {0xc0010010, 1, ON(K7), KEPT, 0x100000, 0x340000},
  {0xc0010015, 1, ON(K7), KEPT, 0, 0},                  /* HWCR */
  {0xc0010016, 4, ON(K7), KEPT, 0, PHYSICAL36 | 0x818}, /* IORRBase0 to IORRMask1 */
  {0xc001001a, 1, ON(K7), KEPT, 0, PHYSICAL36},         /* TOP_MEM: as after reset, no firmware has set it */
  {0xc001001b, 1, ON(K7), KEPT, 0x6003d22f, LOW32},     /* CLK_CTL */
  {0xc001001d, 1, ON(K7), KEPT, 0, PHYSICAL36},         /* TOP_MEM2 */
};
enum { ROW_COUNT = sizeof rows / sizeof rows[0] };

/* Where RDPMC finds its counters: ECX from 0 on, and from 40000000h on the fixed ones. */
enum { FIXED_COUNTERS = 0x40000000, FIXED_COUNTER_MSR = 0x309 };
static const struct {
  uint32_t first;
  uint8_t count, fixed;
} counters[FAMILY_COUNT] = {
  [P5] = {0x12, 2, 0},    [P6] = {0xc1, 2, 0},   [NETBURST] = {0x300, 18, 0}, [CORE] = {0xc1, 2, 0},
  [CORE2] = {0xc1, 2, 3}, [ATOM] = {0xc1, 2, 3}, [K7] = {0xc0010004, 4, 0},
};

static enum family family_of(const struct cpu_model *model) {
  unsigned family = model->signature >> 8 & 15, number = (model->signature >> 4 & 15) | (model->signature >> 12 & 0xf0);
  if (cpu_model_is_amd(model)) return family == 6 ? K7 : NO_FAMILY;
  if (family != 6) return family == 5 ? P5 : family == 15 ? NETBURST : NO_FAMILY;
  return number == 0x1c ? ATOM : number == 0x0f ? CORE2 : number >= 0x0d ? CORE : P6;
}

static bool stored(const struct row *r) { return r->kind == KEPT || r->kind == COUNTER || r->kind == COUNTER_P6; }

/* The row of a register, NULL where this family has it not; *slot: where its value is, if it is stored. */
static const struct row *find(enum family family, uint32_t msr, unsigned *slot) {
  unsigned at = 0;
  if (family == NO_FAMILY) return NULL;
  for (unsigned n = 0; n < ROW_COUNT; n++) {
    const struct row *r = &rows[n];
    if (!(r->families & ON(family))) continue;
    if (msr - r->first < r->count) {
      *slot = at + (msr - r->first);
      return r;
    }
    at += stored(r) ? r->count : 0;
  }
  return NULL;
}

void msr_model_reset(struct vcpu *v) {
  enum family family = family_of(v->model);
  unsigned at = 0;
  for (unsigned n = 0; n < ROW_COUNT && family != NO_FAMILY; n++)
    for (unsigned i = 0; (rows[n].families & ON(family)) && stored(&rows[n]) && i < rows[n].count && at < MODEL_MSRS; i++)
      v->model_msrs[at++] = rows[n].reset;
  while (at < MODEL_MSRS) v->model_msrs[at++] = 0;
}

enum msr_model msr_model_find(const struct vcpu *v, uint32_t msr) {
  unsigned slot;
  const struct row *r = find(family_of(v->model), msr, &slot);
  return !r ? MSR_MODEL_NONE : r->kind == ELSEWHERE ? MSR_MODEL_ELSEWHERE : MSR_MODEL_ROW;
}

uint64_t msr_model_read(const struct vcpu *v, uint32_t msr) {
  unsigned slot = 0;
  const struct row *r = find(family_of(v->model), msr, &slot);
  return !r ? 0 : stored(r) ? v->model_msrs[slot] : r->reset;
}

bool msr_model_write(struct vcpu *v, uint32_t msr, uint64_t value) {
  unsigned slot = 0;
  const struct row *r = find(family_of(v->model), msr, &slot);
  if (!r || r->kind == FIXED) return false;
  if (r->kind == COUNTER_P6) value = (uint64_t)(int64_t)(int32_t)value;
  if (r->kind == COUNTER || r->kind == COUNTER_P6) value &= r->writable;
  else if ((value ^ r->reset) & ~r->writable) return false;
  if (stored(r)) v->model_msrs[slot] = value;
  return true;
}

bool msr_model_counter(const struct vcpu *v, uint32_t index, uint64_t *value) {
  enum family family = family_of(v->model);
  if (family == NO_FAMILY) return false;
  if (index < counters[family].count) *value = msr_model_read(v, counters[family].first + index);
  else if (index - FIXED_COUNTERS < counters[family].fixed)
    *value = msr_model_read(v, FIXED_COUNTER_MSR + (index - FIXED_COUNTERS));
  else return false;
  return true;
}

unsigned msr_model_slots(const struct cpu_model *model) {
  unsigned count = 0;
  for (unsigned n = 0; n < ROW_COUNT; n++)
    if (family_of(model) != NO_FAMILY && rows[n].families & ON(family_of(model)) && stored(&rows[n])) count += rows[n].count;
  return count;
}
