/* Registers of a family of CPUs that are nothing but registers here (msr_models.c); msr.c asks for those that it has not
 * itself. */
#pragma once
#include "vcpu.h"

enum msr_model { MSR_MODEL_NONE, MSR_MODEL_ROW, MSR_MODEL_ELSEWHERE /* the family has it, and its value is msr.c's */ };
enum msr_model msr_model_find(const struct vcpu *v, uint32_t msr);
/* Of a MSR_MODEL_ROW. A write returns false for #GP(0). */
uint64_t msr_model_read(const struct vcpu *v, uint32_t msr);
bool msr_model_write(struct vcpu *v, uint32_t msr, uint64_t value);
void msr_model_reset(struct vcpu *v);
/* RDPMC: false for a counter that this CPU has not. */
bool msr_model_counter(const struct vcpu *v, uint32_t index, uint64_t *value);
/* How many of vcpu.model_msrs a model needs (a test compares it with MODEL_MSRS). */
unsigned msr_model_slots(const struct cpu_model *model);
