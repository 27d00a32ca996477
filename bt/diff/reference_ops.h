/* What an emulator must do to be a reference: reference.c calls it through this table. */
#pragma once
#include "reference.h"

struct reference_ops {
  struct reference *(*open)(const struct ref_options *options, struct ref_start *start, char *error, size_t error_size);
  void (*next)(struct reference *r, struct ref_event *event);
  void (*pause)(struct reference *r);
  void (*resume)(struct reference *r);
  const uint8_t *(*ram)(const struct reference *r);
  const char *(*version)(const struct reference *r);
  void (*close)(struct reference *r);
};

struct reference {
  const struct reference_ops *ops;
}; /* the first member of each emulator's own */

extern const struct reference_ops reference_qemu, reference_bochs;
