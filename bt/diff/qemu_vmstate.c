/* QEMU's migration stream (migration/savevm.c, vmstate.c): sections of big-endian data, and at the end a JSON text that names
 * each field and its size.
 *
 * A device's section: 04h, section number (4 bytes), length and name, instance (4), version (4), the fields; then for each
 * subsection 05h, length and name, version (4), its fields. All that is read is checked against the size. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "qemu_vmstate.h"

enum { SECTION_FULL = 4, SUBSECTION = 5, MAX_STREAM = 1 << 30 };

static json_object *member(json_object *object, const char *key) {
  json_object *value;
  return json_object_object_get_ex(object, key, &value) ? value : NULL;
}

static const char *name_of(json_object *object, const char *key) {
  json_object *value = member(object, key);
  return json_object_is_type(value, json_type_string) ? json_object_get_string(value) : "";
}

static uint64_t big_endian(const uint8_t *p, size_t size) {
  uint64_t value = 0;
  for (size_t n = 0; n < size; n++) value = value << 8 | p[n];
  return value;
}

/* ---- opening ---- */

static bool read_all(struct vmstate *s, int fd) {
  off_t size = lseek(fd, 0, SEEK_END);
  if (size <= 0 || size > MAX_STREAM || !(s->data = malloc((size_t)size))) return false;
  s->size = (size_t)size;
  return pread(fd, s->data, s->size, 0) == size;
}

bool vmstate_open(struct vmstate *s, int fd) {
  static const char start[] = "{\"page_size\"";
  *s = (struct vmstate){NULL, 0, NULL};
  const uint8_t *text = NULL;
  if (read_all(s, fd))
    for (const uint8_t *p = s->data; (p = memmem(p, s->size - (size_t)(p - s->data), start, sizeof start - 1)); p++) text = p;
  struct json_tokener *parser = text ? json_tokener_new() : NULL;
  json_object *all = parser ? json_tokener_parse_ex(parser, (const char *)text, (int)(s->size - (size_t)(text - s->data))) : NULL;
  s->devices = json_object_get(member(all, "devices"));
  json_object_put(all);
  if (parser) json_tokener_free(parser);
  if (json_object_is_type(s->devices, json_type_array)) return true;
  vmstate_close(s);
  return false;
}

void vmstate_close(struct vmstate *s) {
  json_object_put(s->devices);
  free(s->data);
  *s = (struct vmstate){NULL, 0, NULL};
}

/* ---- finding ---- */

static json_object *find_device(const struct vmstate *s, const char *device) {
  for (size_t n = 0; n < json_object_array_length(s->devices); n++) {
    json_object *entry = json_object_array_get_idx(s->devices, n);
    if (!strcmp(name_of(entry, "name"), device) && json_object_get_int(member(entry, "instance_id")) == 0) return entry;
  }
  return NULL;
}

/* Where the fields of the device's section begin; 0: nowhere. */
static size_t section_data(const struct vmstate *s, const char *device, json_object *entry) {
  uint8_t header[256 + 9];
  size_t length = strlen(device), size = length + 9;
  uint32_t version = (uint32_t)json_object_get_int(member(entry, "version"));
  if (length > 255) return 0;
  header[0] = (uint8_t)length;
  memcpy(header + 1, device, length);
  memset(header + 1 + length, 0, 4);
  for (unsigned n = 0; n < 4; n++) header[size - 4 + n] = (uint8_t)(version >> (24 - 8 * n));
  for (const uint8_t *p = s->data; (p = memmem(p, s->size - (size_t)(p - s->data), header, size)); p++)
    if (p - s->data >= 5 && p[-5] == SECTION_FULL) return (size_t)(p - s->data) + size;
  return 0;
}

static size_t field_size(json_object *field) {
  json_object *elements = member(field, "array_len");
  int64_t size = json_object_get_int64(member(field, "size")), count = elements ? json_object_get_int64(elements) : 1;
  return size < 0 || count < 0 || size > MAX_STREAM || count > MAX_STREAM / (size + 1) ? MAX_STREAM : (size_t)(size * count);
}

/* Size of the integers that the field is made of. */
static size_t unit_size(json_object *field) {
  json_object *parts = member(member(field, "struct"), "fields");
  json_object *first = json_object_is_type(parts, json_type_array) ? json_object_array_get_idx(parts, 0) : NULL;
  return (size_t)json_object_get_int64(member(first ? first : field, "size"));
}

/* Looks for the field in a list; *at moves to it, or behind the list. */
static json_object *find_field(json_object *fields, const char *name, size_t *at) {
  size_t count = json_object_is_type(fields, json_type_array) ? json_object_array_length(fields) : 0;
  for (size_t n = 0; n < count; n++) {
    json_object *field = json_object_array_get_idx(fields, n);
    if (!strcmp(name_of(field, "name"), name)) return field;
    *at += field_size(field);
  }
  return NULL;
}

static json_object *find_in_subsections(const struct vmstate *s, json_object *list, const char *name, size_t *at) {
  size_t count = json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;
  for (size_t n = 0; n < count; n++) {
    json_object *entry = json_object_array_get_idx(list, n);
    const char *vmsd = name_of(entry, "vmsd_name");
    size_t length = strlen(vmsd);
    if (*at > s->size || s->size - *at < length + 6 || s->data[*at] != SUBSECTION || s->data[*at + 1] != length ||
        memcmp(s->data + *at + 2, vmsd, length))
      return NULL;
    *at += length + 6;
    json_object *field = find_field(member(entry, "fields"), name, at);
    if (field) return field;
  }
  return NULL;
}

bool vmstate_field(const struct vmstate *s, const char *device, const char *name, unsigned index, uint64_t *value) {
  json_object *entry = find_device(s, device);
  size_t at = entry ? section_data(s, device, entry) : 0;
  if (!at) return false;
  json_object *field = find_field(member(entry, "fields"), name, &at);
  if (!field) field = find_in_subsections(s, member(entry, "subsections"), name, &at);
  size_t unit = field ? unit_size(field) : 0;
  if (!unit || unit > 8 || (index + 1) * unit > field_size(field) || at > s->size || s->size - at < (index + 1) * unit)
    return false;
  *value = big_endian(s->data + at + index * unit, unit);
  return true;
}
