/* The switches of the monitor that must not change what a guest sees. The first is the default: every optimisation on. */
#pragma once
#include "monitor/monitor.h"

struct isa_axis {
  const char *name;
  struct monitor_options options;
};
enum { ISA_AXIS_COUNT = 12 + OPT_COUNT };
extern const struct isa_axis isa_axes[ISA_AXIS_COUNT];
