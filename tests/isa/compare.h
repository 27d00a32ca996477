/* Names and fields that comparing and reporting share. */
#pragma once
#include "case.h"

struct fx_field {
  const char *name;
  uint16_t offset, size;
};
enum { FX_FIELDS = 20 };
extern const struct fx_field compare_fx_fields[FX_FIELDS]; /* of an FXSAVE image: what is compared */
extern const char *const compare_gpr_names[8], *const compare_seg_names[6], *const compare_end_names[5];
