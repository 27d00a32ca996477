/* What the host's CPU can do (D12). The baseline is x86-64 as of 2003 with LAHF in 64-bit mode; whatever more is used stands in
 * HOST_FEATURES, is asked for once, and can be hidden (--host), so that a machine with everything tests what one without does.
 * The guest's CPUID follows the same word, since copied instructions run on the host. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* X(NAME, "name", CPUID leaf, register of the answer 0 EAX .. 3 EDX, bit, "what for") */
#define HOST_FEATURES(X) \
  X(SSE3, "sse3", 1, 2, 0, "the guest's SSE3") \
  X(SSSE3, "ssse3", 1, 2, 9, "the guest's SSSE3") \
  X(SSE41, "sse4.1", 1, 2, 19, "the guest's SSE4.1") \
  X(SSE42, "sse4.2", 1, 2, 20, "the guest's SSE4.2") \
  X(MOVBE, "movbe", 1, 2, 22, "the guest's MOVBE") \
  X(POPCNT, "popcnt", 1, 2, 23, "the guest's POPCNT") \
  X(FSGSBASE, "fsgsbase", 7, 1, 0, "WRGSBASE, where the kernel allows it (Linux 5.9): kernels with paging get a mirror, too") \
  X(BMI2, "bmi2", 7, 1, 8, "SHRX, which shifts and leaves flags alone: shorter checks of accesses and indirect jumps")
enum host_feature {
#define HOST_ENUM(name, ...) HOST_##name,
  HOST_FEATURES(HOST_ENUM) HOST_FEATURE_COUNT
};
#undef HOST_ENUM
enum { HOST_ALL = (1 << HOST_FEATURE_COUNT) - 1 };

/* The CPU's name of the feature, as /proc/cpuinfo or -cpu has it; and what bt uses it for. */
const char *host_feature_name(enum host_feature feature);
const char *host_feature_help(enum host_feature feature);
/* A bit for each enum host_feature that this host has. */
uint32_t host_cpu_features(void);
/* Whether the host has the baseline; else false and *missing: a literal. */
bool host_cpu_supported(const char **missing);
