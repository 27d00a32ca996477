/* Single values out of a QEMU migration stream, by the description in JSON that its end holds. */
#pragma once
#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vmstate {
  uint8_t *data;
  size_t size;
  json_object *devices;
};
bool vmstate_open(struct vmstate *state, int fd); /* false: nothing to close */
void vmstate_close(struct vmstate *state);
/* Field `field` of the device's first instance or of one of its subsections; `index` counts its integers (elements of an array,
 * members of a structure in it). False: there is no such field. */
bool vmstate_field(const struct vmstate *state, const char *device, const char *field, unsigned index, uint64_t *value);
