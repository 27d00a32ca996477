/* Asking the host's CPU: the only file, but for the clock's, that does (SDM vol. 2A, CPUID). Owns nothing; see host_cpu.h. */
#include "host_cpu.h"
#include <asm/hwcap2.h>
#include <cpuid.h>
#include <sys/auxv.h>

static const struct {
  const char *name;
  uint32_t leaf, reg, bit;
  const char *help;
} rows[HOST_FEATURE_COUNT] = {
#define HOST_ROW(id, name, leaf, reg, bit, help) {name, leaf, reg, bit, help},
  HOST_FEATURES(HOST_ROW)
#undef HOST_ROW
};

const char *host_feature_name(enum host_feature feature) { return rows[feature].name; }
const char *host_feature_help(enum host_feature feature) { return rows[feature].help; }

/* CR4.FSGSBASE (SDM vol. 3A, 2.5) is the kernel's to set, and the auxiliary vector says so. */
static bool kernel_allows(unsigned feature) { return feature != HOST_FSGSBASE || getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE; }

uint32_t host_cpu_features(void) {
  uint32_t have = 0;
  for (unsigned i = 0; i < HOST_FEATURE_COUNT; i++) {
    unsigned r[4];
    if (__get_cpuid_count(rows[i].leaf, 0, &r[0], &r[1], &r[2], &r[3]) && (r[rows[i].reg] >> rows[i].bit & 1) && kernel_allows(i))
      have |= 1u << i;
  }
  return have;
}

bool host_cpu_supported(const char **missing) {
  unsigned a, b, c, d;
  bool lahf = __get_cpuid(0x80000001, &a, &b, &c, &d) && (c & 1);
  if (!lahf)
    *missing = "this host's CPU has no LAHF in 64-bit mode (Intel's before 2005, AMD's before revision D of 2004), and "
               "bt needs it";
  return lahf;
}
