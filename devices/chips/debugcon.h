/* isa-debugcon (debugcon.c). */
#pragma once
#include "../backend.h"
#include "../device_type.h"

struct debugcon_properties {
  uint32_t iobase, readback;
  struct char_backend *chardev;
};
extern const struct device_type debugcon_type;
