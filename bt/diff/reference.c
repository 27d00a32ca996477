/* Which emulator is meant: every call goes to the one that opened. */
#include "reference_ops.h"

struct reference *ref_open(const struct ref_options *options, struct ref_start *start, char *error, size_t error_size) {
  const struct reference_ops *ops = options->emulator == REF_BOCHS ? &reference_bochs : &reference_qemu;
  return ops->open(options, start, error, error_size);
}

void ref_next(struct reference *r, struct ref_event *event) { r->ops->next(r, event); }
void ref_pause(struct reference *r) { r->ops->pause(r); }
void ref_resume(struct reference *r) { r->ops->resume(r); }
const uint8_t *ref_ram(const struct reference *r) { return r->ops->ram(r); }
const char *ref_version(const struct reference *r) { return r->ops->version(r); }

void ref_close(struct reference *r) {
  if (r) r->ops->close(r);
}
