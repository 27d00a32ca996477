/* axes.h: one row a switch, and one for each optimisation that can be left out. */
#include "axes.h"
#include "translator/host_cpu.h"

/* X(NAME, initialisers of struct monitor_options) */
#define AXES(X) \
  X(default, .icount_shift = -1) \
  X(exact_flags, .icount_shift = -1, .exact_flags = true) \
  X(eager, .icount_shift = -1, .eager = true) \
  X(one_insn, .icount_shift = -1, .one_insn = true) \
  X(no_chain, .icount_shift = -1, .no_chain = true) \
  X(tiny_cache, .icount_shift = -1, .code_size = 64 << 10) \
  X(flush, .icount_shift = -1, .flush_every = 3) \
  X(icount, .icount_shift = 2) \
  X(no_shrx, .icount_shift = -1, .host_hidden = 1u << HOST_BMI2) \
  X(icount_no_shrx, .icount_shift = 2, .host_hidden = 1u << HOST_BMI2) \
  X(plain, .icount_shift = -1, .without = ~0u) \
  X(direct, .icount_shift = -1, .user = USER_DIRECT)
const struct isa_axis isa_axes[ISA_AXIS_COUNT] = {
#define AXIS_ROW(name, ...) {#name, {__VA_ARGS__}},
  AXES(AXIS_ROW)
#undef AXIS_ROW
#define AXIS_WITHOUT(id, name, help) {"without_" #name, {.icount_shift = -1, .without = TR_NO_##id}},
    OPTIMISATIONS(AXIS_WITHOUT)
#undef AXIS_WITHOUT
};
