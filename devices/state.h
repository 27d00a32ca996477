/* Saved states of the devices: everything derives from the field tables (fields.h). */
#pragma once
#include <stddef.h>
#include "pc.h"

/* Appends the clock's time and every device. 0 or -ENOMEM. */
int state_save(struct pc *pc, struct state_buffer *out);
/* Checks everything first and loads only what is right in full: on an error (its text is returned, a literal; NULL: loaded) the
 * machine is as before. A state loads into a machine of the same configuration only. */
const char *state_load(struct pc *pc, const uint8_t *bytes, size_t size);
/* What state_load() would say; nothing is changed. */
const char *state_check(struct pc *pc, const uint8_t *bytes, size_t size);
/* True when all fields are equal; else `text` names the first one that differs, with both values. */
bool state_equal(struct pc *a, struct pc *b, char *text, size_t text_size);
