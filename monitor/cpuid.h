/* CPUID models: QEMU's names with the features that this CPU really has (cpuid.c). Not for translated code's hot paths. */
#pragma once
#include "vcpu.h"
#include "../translator/host_cpu.h"

/* "max" is the default. NULL: no such model. */
const struct cpu_model *cpu_model_find(const char *name);
/* All models, for -cpu help. */
const struct cpu_model *cpu_model_list(unsigned *count);
/* Parses "MODEL[,+feature][,-feature][,feature=on|off]...". `host`: a bit for each enum host_feature (translator/host_cpu.h) that
 * copied instructions may count on. Features that the host lacks are left out silently where the model names them, refused where
 * the text asks for them. False: *error says why (a literal); nothing else is changed. */
bool cpu_model_parse(const char *text, uint32_t host, const struct cpu_model **model, uint64_t *features, const char **error);
/* QEMU's name of a feature. */
const char *cpu_feature_name(enum cpu_feature feature);

struct cpuid_regs {
  uint32_t eax, ebx, ecx, edx;
};
/* What CPUID answers with EAX = leaf, ECX = subleaf. */
struct cpuid_regs cpuid_leaf(const struct cpu_model *model, uint64_t features, uint32_t leaf, uint32_t subleaf);
