/* CPUID: the models of -cpu, their parsing, and what the instruction answers (SDM vol. 2, CPUID).
 *
 * The models carry QEMU's names, signatures and brand strings, with those of their features that this CPU really has: no VME,
 * MCE, MCA, 3DNow!, MONITOR, VMX, CX16 or XSAVE. Copied instructions run on the host, so what the host lacks is left out
 * (offered()). "max" looks like an in-order Atom: no guest need mitigate speculation there, and none of it would do any good
 * under a translator. No libc: x_cpuid() calls cpuid_leaf() with the guest's FPU state live. */
#include "bytes.h"
#include "cpuid.h"

#define F(name) ((uint64_t)1 << FEAT_##name)
enum { SIGNATURE_ATOM_10 = 0x106ca, SIGNATURE_N270 = 0x106c2 };

#define I486_FEATURES (F(ALWAYS) | F(CPUID) | F(I486) | F(FPU) | F(PSE))
#define PENTIUM_FEATURES (I486_FEATURES | F(DE) | F(TSC) | F(MSR) | F(CX8) | F(MMX) | F(APIC))
#define PENTIUM2_FEATURES \
  (PENTIUM_FEATURES | F(PAE) | F(SEP) | F(MTRR) | F(PGE) | F(CMOV) | F(PAT) | F(PSE36) | F(FXSR) | F(NOPL))
#define PENTIUM3_FEATURES (PENTIUM2_FEATURES | F(SSE))
/* QEMU's "PPRO_FEATURES", which has more than a Pentium Pro had. */
#define PPRO_FEATURES \
  (F(ALWAYS) | F(CPUID) | F(I486) | F(FPU) | F(DE) | F(PSE) | F(TSC) | F(MSR) | F(CX8) | F(PGE) | F(CMOV) | F(PAT) | F(FXSR) | \
   F(MMX) | F(SSE) | F(SSE2) | F(PAE) | F(SEP) | F(APIC) | F(NOPL))
#define COREDUO_FEATURES (PPRO_FEATURES | F(MTRR) | F(CLFLUSH) | F(SSE3) | F(NX))
#define CORE2_FEATURES (COREDUO_FEATURES | F(PSE36) | F(SSSE3) | F(LAHF))
#define N270_FEATURES (COREDUO_FEATURES | F(SSSE3) | F(MOVBE) | F(LAHF))
#define MAX_FEATURES (N270_FEATURES | F(SSE41) | F(SSE42) | F(POPCNT) | F(RDTSCP))

static const struct cpu_model models[] = {
  {"max", "GenuineIntel", SIGNATURE_ATOM_10, 0x15, 0x80000008, MAX_FEATURES, "bt virtual CPU"},
  {"486", "GenuineIntel", 0x480, 1, 0, I486_FEATURES, ""},
  {"pentium", "GenuineIntel", 0x543, 1, 0, PENTIUM_FEATURES, ""},
  {"pentium2", "GenuineIntel", 0x652, 2, 0, PENTIUM2_FEATURES, ""},
  {"pentium3", "GenuineIntel", 0x673, 3, 0, PENTIUM3_FEATURES, ""},
  {"n270", "GenuineIntel", SIGNATURE_N270, 10, 0x80000008, N270_FEATURES, "Intel(R) Atom(TM) CPU N270   @ 1.60GHz"},
  {"coreduo", "GenuineIntel", 0x6e8, 10, 0x80000008, COREDUO_FEATURES, "Genuine Intel(R) CPU           T2600  @ 2.16GHz"},
  {"core2duo", "GenuineIntel", 0x6fb, 10, 0x80000008, CORE2_FEATURES, "Intel(R) Core(TM)2 Duo CPU     T7700  @ 2.40GHz"},
  {"qemu32", "GenuineIntel", 0x663, 4, 0x80000004, PPRO_FEATURES | F(SSE3), "QEMU Virtual CPU version 2.5+"},
  {"athlon", "AuthenticAMD", 0x623, 1, 0x80000008, PPRO_FEATURES | F(PSE36) | F(MTRR), "QEMU Virtual CPU version 2.5+"},
  {"kvm32", "GenuineIntel", 0xf61, 5, 0x80000008, PPRO_FEATURES | F(MTRR) | F(CLFLUSH) | F(PSE36) | F(SSE3),
   "Common 32-bit KVM processor"},
};
enum { MODEL_COUNT = sizeof models / sizeof models[0] };

static const char *const feature_names[FEAT_COUNT] = {
#define FEATURE_NAME(name, text) text,
  CPU_FEATURES(FEATURE_NAME)
#undef FEATURE_NAME
};

/* Where CPUID shows a feature. Those without a row are not shown anywhere. */
enum where { EDX_1, ECX_1, EDX_80000001, ECX_80000001, WHERE_COUNT };
static const struct {
  uint8_t feature, where, bit;
} feature_bits[] = {
  {FEAT_FPU, EDX_1, 0},         {FEAT_VME, EDX_1, 1},     {FEAT_DE, EDX_1, 2},         {FEAT_PSE, EDX_1, 3},
  {FEAT_TSC, EDX_1, 4},         {FEAT_MSR, EDX_1, 5},     {FEAT_PAE, EDX_1, 6},        {FEAT_CX8, EDX_1, 8},
  {FEAT_APIC, EDX_1, 9},        {FEAT_SEP, EDX_1, 11},    {FEAT_MTRR, EDX_1, 12},      {FEAT_PGE, EDX_1, 13},
  {FEAT_CMOV, EDX_1, 15},       {FEAT_PAT, EDX_1, 16},    {FEAT_PSE36, EDX_1, 17},     {FEAT_CLFLUSH, EDX_1, 19},
  {FEAT_MMX, EDX_1, 23},        {FEAT_FXSR, EDX_1, 24},   {FEAT_SSE, EDX_1, 25},       {FEAT_SSE2, EDX_1, 26},
  {FEAT_SSE3, ECX_1, 0},        {FEAT_SSSE3, ECX_1, 9},   {FEAT_SSE41, ECX_1, 19},     {FEAT_SSE42, ECX_1, 20},
  {FEAT_MOVBE, ECX_1, 22},      {FEAT_POPCNT, ECX_1, 23}, {FEAT_NX, EDX_80000001, 20}, {FEAT_RDTSCP, EDX_80000001, 27},
  {FEAT_LAHF, ECX_80000001, 0},
};

/* ---- lookup and parsing ---- */

struct slice {
  const char *text;
  size_t length;
};

/* '_', '-' and '.' are one character, as in QEMU's aliases (sse4_1, sse4-1, sse4.1). */
static char canonical(char c) { return c == '_' || c == '.' ? '-' : c; }

static bool slice_is(struct slice s, const char *name) {
  size_t n = 0;
  while (n < s.length && name[n] && canonical(s.text[n]) == canonical(name[n])) n++;
  return n == s.length && !name[n];
}

static struct slice slice_until(const char *text, char end) {
  struct slice s = {text, 0};
  while (text[s.length] && text[s.length] != end) s.length++;
  return s;
}

static const struct cpu_model *find(struct slice name) {
  for (unsigned n = 0; n < MODEL_COUNT; n++)
    if (slice_is(name, models[n].name)) return &models[n];
  return NULL;
}

const struct cpu_model *cpu_model_find(const char *name) { return find(slice_until(name, 0)); }

const struct cpu_model *cpu_model_list(unsigned *count) {
  *count = MODEL_COUNT;
  return models;
}

const char *cpu_feature_name(enum cpu_feature feature) { return feature < FEAT_COUNT ? feature_names[feature] : ""; }

/* What copied instructions can count on. x86-64 itself promises the rest; RDTSCP and NX are ours. */
static uint64_t offered(uint32_t host) {
  static const struct {
    uint8_t guest, host;
  } copied[] = {
    {FEAT_SSE3, HOST_SSE3},   {FEAT_SSSE3, HOST_SSSE3}, {FEAT_SSE41, HOST_SSE41},
    {FEAT_SSE42, HOST_SSE42}, {FEAT_MOVBE, HOST_MOVBE}, {FEAT_POPCNT, HOST_POPCNT},
  };
  uint64_t have = ~F(VME);
  for (unsigned n = 0; n < sizeof copied / sizeof copied[0]; n++)
    if (!(host >> copied[n].host & 1)) have &= ~((uint64_t)1 << copied[n].guest);
  return have;
}

/* FEAT_ALWAYS (0) when there is none of that name. What no option may change has no name for it. */
static enum cpu_feature find_feature(struct slice name) {
  if (slice_is(name, "pni")) return FEAT_SSE3;
  for (unsigned n = 1; n < FEAT_COUNT; n++)
    if (n != FEAT_CPUID && n != FEAT_I486 && slice_is(name, feature_names[n])) return n;
  return FEAT_ALWAYS;
}

/* One "+feature", "-feature" or "feature=on|off". */
static bool apply_feature(struct slice item, uint64_t can_have, uint64_t *features, const char **error) {
  bool on = true;
  struct slice name = item;
  if (item.length && (item.text[0] == '+' || item.text[0] == '-')) {
    on = item.text[0] == '+';
    name = (struct slice){item.text + 1, item.length - 1};
  } else {
    name.length = 0;
    while (name.length < item.length && item.text[name.length] != '=') name.length++;
    struct slice value = {item.text + name.length, item.length - name.length};
    on = slice_is(value, "=on");
    if (!on && !slice_is(value, "=off")) {
      *error = "a CPU feature is written +feature, -feature, feature=on or feature=off";
      return false;
    }
  }
  enum cpu_feature feature = find_feature(name);
  if (feature == FEAT_ALWAYS) {
    *error = "unknown CPU feature";
    return false;
  }
  if (on && !(can_have >> feature & 1)) {
    *error = "this CPU feature is not available: bt does not offer it, or the host's CPU lacks it";
    return false;
  }
  *features = on ? *features | (uint64_t)1 << feature : *features & ~((uint64_t)1 << feature);
  return true;
}

bool cpu_model_parse(const char *text, uint32_t host, const struct cpu_model **model, uint64_t *features, const char **error) {
  struct slice item = slice_until(text, ',');
  const struct cpu_model *found = find(item);
  if (!found) {
    *error = "unknown CPU model";
    return false;
  }
  uint64_t can_have = offered(host), set = found->features & can_have;
  for (text += item.length; *text == ','; text += item.length) {
    item = slice_until(++text, ',');
    if (!apply_feature(item, can_have, &set, error)) return false;
  }
  *model = found;
  *features = set;
  return true;
}

/* ---- the instruction ---- */

static uint32_t feature_word(uint64_t features, enum where where) {
  uint32_t word = 0;
  for (unsigned n = 0; n < sizeof feature_bits / sizeof feature_bits[0]; n++)
    if (feature_bits[n].where == where && features >> feature_bits[n].feature & 1) word |= 1u << feature_bits[n].bit;
  return word;
}

/* Leaf 4: 32 KiB + 32 KiB of L1, 2 MiB of L2, one thread and one core. Leaf 2 says the same by its descriptors 2Ch, 30h, 7Dh. */
static struct cpuid_regs cache_leaf(uint32_t subleaf) {
  enum { DATA = 1, CODE = 2, UNIFIED = 3, SELF_INITIALIZING = 1 << 8, WAYS_8 = 7 << 22, LINE_64 = 63 };
  switch (subleaf) {
  case 0: return (struct cpuid_regs){DATA | 1 << 5 | SELF_INITIALIZING, WAYS_8 | LINE_64, 63, 1};
  case 1: return (struct cpuid_regs){CODE | 1 << 5 | SELF_INITIALIZING, WAYS_8 | LINE_64, 63, 1};
  case 2: return (struct cpuid_regs){UNIFIED | 2 << 5 | SELF_INITIALIZING, WAYS_8 | LINE_64, 4095, 1};
  default: return (struct cpuid_regs){0, 0, 0, 0};
  }
}

/* 16 bytes of the brand string, padded with zeros. */
static struct cpuid_regs brand_leaf(const struct cpu_model *model, unsigned part) {
  uint8_t text[48];
  size_t n = 0;
  bytes_fill(text, 0, sizeof text);
  for (; n < sizeof text && model->brand[n]; n++) text[n] = (uint8_t)model->brand[n];
  const uint8_t *p = text + 16 * part;
  return (struct cpuid_regs){load32(p), load32(p + 4), load32(p + 8), load32(p + 12)};
}

static struct cpuid_regs extended_leaf(const struct cpu_model *model, uint64_t features, uint32_t leaf) {
  struct cpuid_regs r = {0, 0, 0, 0};
  bool amd = cpu_model_is_amd(model);
  switch (leaf) {
  case 0x80000000:
    r.eax = model->max_extended;
    if (amd)
      r = (struct cpuid_regs){model->max_extended, load32(model->vendor), load32(model->vendor + 8), load32(model->vendor + 4)};
    break;
  case 0x80000001:
    r.ecx = feature_word(features, ECX_80000001);
    r.edx = feature_word(features, EDX_80000001);
    if (amd) { /* AMD repeats the bits of leaf 1 that it shares */
      r.eax = model->signature;
      r.edx |= feature_word(features, EDX_1) & 0x0183f3ff;
    }
    break;
  case 0x80000002:
  case 0x80000003:
  case 0x80000004: return brand_leaf(model, leaf - 0x80000002);
  case 0x80000006: r.ecx = 2048 << 16 | 6 << 12 /* 8 ways */ | 64; break;
  case 0x80000007: r.edx = features & F(TSC) ? 1 << 8 : 0; break; /* the guest clock is invariant (D9) */
  case 0x80000008: r.eax = 32 << 8 | (features & F(PAE) ? 36 : 32); break;
  }
  return r;
}

/* A leaf beyond the last answers as the last basic one (Intel), or zeros (AMD). */
struct cpuid_regs cpuid_leaf(const struct cpu_model *model, uint64_t features, uint32_t leaf, uint32_t subleaf) {
  if (leaf >= 0x80000000 && leaf <= model->max_extended) return extended_leaf(model, features, leaf);
  if (leaf > model->max_leaf) {
    if (cpu_model_is_amd(model)) return (struct cpuid_regs){0, 0, 0, 0};
    leaf = model->max_leaf;
  }
  switch (leaf) {
  case 0:
    return (struct cpuid_regs){model->max_leaf, load32(model->vendor), load32(model->vendor + 8), load32(model->vendor + 4)};
  case 1:
    return (struct cpuid_regs){model->signature, features & F(CLFLUSH) ? 64 / 8 << 8 : 0, feature_word(features, ECX_1),
                               feature_word(features, EDX_1)};
  case 2: return (struct cpuid_regs){1, 0, 0, 0x002c307d};
  case 4: return cache_leaf(subleaf);
  default: return (struct cpuid_regs){0, 0, 0, 0}; /* serial number, MONITOR, power, performance counters: none */
  }
}
