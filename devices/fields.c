/* The engine of field tables.
 *
 * Owns the format of a table's record, little-endian: u32 fields, then for each its name (u8 length, letters), u16 size of an
 * element, u32 elements, and the bytes. Names make a state of another version fail with words, and readable by a tool. A reader
 * stops at the first error and never reads beyond its bytes, whatever is in them; values are whatever they say, and whoever loads
 * brings them into range.
 */
#include "fields.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t field_bytes(const struct field *f) { return (size_t)f->size * f->count; }

static uint32_t field_count(const struct field *fields) {
  uint32_t n = 0;
  while (fields[n].name) n++;
  return n;
}

/* ---- writing ---- */

void state_put(struct state_buffer *b, const void *bytes, size_t n) {
  if (b->failed) return;
  if (n > b->capacity - b->size) {
    size_t capacity = 2 * b->capacity + n + 4096;
    uint8_t *more = realloc(b->bytes, capacity);
    if (!more) {
      b->failed = true;
      return;
    }
    b->bytes = more;
    b->capacity = capacity;
  }
  memcpy(b->bytes + b->size, bytes, n);
  b->size += n;
}

void state_put_u32(struct state_buffer *b, uint32_t value) { state_put(b, &value, 4); }

void state_put_name(struct state_buffer *b, const char *name) {
  uint8_t n = (uint8_t)strlen(name);
  state_put(b, &n, 1);
  state_put(b, name, n);
}

void fields_save(struct state_buffer *b, const struct field *fields, const void *state) {
  state_put_u32(b, field_count(fields));
  for (const struct field *f = fields; f->name; f++) {
    state_put_name(b, f->name);
    state_put(b, &f->size, 2);
    state_put_u32(b, f->count);
    state_put(b, (const char *)state + f->offset, field_bytes(f));
  }
}

/* ---- reading ---- */

void state_fail(struct state_reader *r, const char *error) {
  if (!r->error) r->error = error;
}

const uint8_t *state_take(struct state_reader *r, size_t n) {
  if (n > r->left) state_fail(r, "the saved state is truncated");
  if (r->error) return 0;
  const uint8_t *at = r->at;
  r->at += n;
  r->left -= n;
  return at;
}

void state_get(struct state_reader *r, void *to, size_t n) {
  const uint8_t *at = state_take(r, n);
  if (at) memcpy(to, at, n);
  else memset(to, 0, n);
}

uint32_t state_get_u32(struct state_reader *r) {
  uint32_t v;
  state_get(r, &v, 4);
  return v;
}

bool state_get_name(struct state_reader *r, const char *name) {
  uint8_t n;
  state_get(r, &n, 1);
  const uint8_t *letters = state_take(r, n);
  return letters && n == strlen(name) && !memcmp(letters, name, n);
}

void fields_load(struct state_reader *r, const struct field *fields, void *state) {
  if (state_get_u32(r) != field_count(fields)) state_fail(r, "the saved state is of another version: a part has other fields");
  for (const struct field *f = fields; f->name && !r->error; f++) {
    uint16_t size;
    bool same = state_get_name(r, f->name);
    state_get(r, &size, 2);
    same &= state_get_u32(r) == f->count && size == f->size;
    if (!same) state_fail(r, "the saved state is of another version: a field has another name or size");
    const uint8_t *bytes = state_take(r, field_bytes(f));
    if (bytes && state) memcpy((char *)state + f->offset, bytes, field_bytes(f));
  }
}

/* ---- comparing ---- */

static uint64_t first_bytes(const char *element, size_t size) {
  uint64_t v = 0;
  memcpy(&v, element, size < 8 ? size : 8);
  return v;
}

bool fields_equal(const char *owner, const struct field *fields, const void *a, const void *b, char *text, size_t text_size) {
  for (const struct field *f = fields; f->name; f++)
    for (unsigned i = 0; i < f->count; i++) {
      size_t at = f->offset + (size_t)i * f->size;
      const char *x = (const char *)a + at, *y = (const char *)b + at;
      if (!memcmp(x, y, f->size)) continue;
      snprintf(text, text_size, "%s.%s[%u]: %llx, %llx", owner, f->name, i, (unsigned long long)first_bytes(x, f->size),
               (unsigned long long)first_bytes(y, f->size));
      return false;
    }
  return true;
}
