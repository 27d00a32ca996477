/* Saved states. D10: a device is its field table.
 *
 * Format, little-endian: "BTDEVICE", u32 version, i64 guest ns, u64 TSC, u32 devices; a device is a name, u32 fields; a field is
 * a name, u16 element size, u32 elements, the bytes; a name is u8 length and its letters. Names make a state of another version
 * fail with words, and readable by a tool. Values are whatever the file says: each device's loaded() brings them into range, so
 * no file can crash the machine.
 */
#include "state.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC "BTDEVICE"
enum { VERSION = 1 };

/* ---- writing ---- */

static void put(struct state_buffer *b, const void *bytes, size_t n) {
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

static void put_u32(struct state_buffer *b, uint32_t v) { put(b, &v, 4); }

static void put_name(struct state_buffer *b, const char *name) {
  uint8_t n = (uint8_t)strlen(name);
  put(b, &n, 1);
  put(b, name, n);
}

static uint32_t field_count(const struct device *d) {
  uint32_t n = 0;
  while (d->fields[n].name) n++;
  return n;
}

static void save_device(struct state_buffer *b, const struct device *d) {
  put_name(b, d->name);
  put_u32(b, field_count(d));
  for (const struct field *f = d->fields; f->name; f++) {
    put_name(b, f->name);
    put(b, &f->size, 2);
    put_u32(b, f->count);
    put(b, (const char *)d->state + f->offset, (size_t)f->size * f->count);
  }
}

int state_save(struct pc *pc, struct state_buffer *out) {
  unsigned count;
  const struct device *devices = pc_devices(pc, &count);
  int64_t ns = clock_now(pc_clock(pc));
  uint64_t tsc = clock_tsc(pc_clock(pc));
  put(out, MAGIC, 8);
  put_u32(out, VERSION);
  put(out, &ns, 8);
  put(out, &tsc, 8);
  put_u32(out, count);
  for (unsigned i = 0; i < count; i++) save_device(out, &devices[i]);
  return out->failed ? -ENOMEM : 0;
}

/* ---- reading ---- */

struct reader {
  const uint8_t *at;
  size_t left;
  const char *error;
};

static const uint8_t *take(struct reader *r, size_t n) {
  if (!r->error && n > r->left) r->error = "the saved state is truncated";
  if (r->error) return 0;
  const uint8_t *at = r->at;
  r->at += n;
  r->left -= n;
  return at;
}

static void get(struct reader *r, void *to, size_t n) {
  const uint8_t *at = take(r, n);
  if (at) memcpy(to, at, n);
  else memset(to, 0, n);
}

static uint32_t get_u32(struct reader *r) {
  uint32_t v;
  get(r, &v, 4);
  return v;
}

static bool get_name(struct reader *r, const char *expected) {
  uint8_t n;
  get(r, &n, 1);
  const uint8_t *name = take(r, n);
  return name && n == strlen(expected) && !memcmp(name, expected, n);
}

/* One device's record; stores it only when `store`. */
static void read_device(struct reader *r, const struct device *d, bool store) {
  if (!get_name(r, d->name) && !r->error) r->error = "the saved state is of a machine with other devices";
  if (get_u32(r) != field_count(d) && !r->error) r->error = "the saved state is of another version: a device has other fields";
  for (const struct field *f = d->fields; f->name && !r->error; f++) {
    uint16_t size;
    bool same = get_name(r, f->name);
    get(r, &size, 2);
    same &= get_u32(r) == f->count && size == f->size;
    if (!same && !r->error) r->error = "the saved state is of another version: a field has another name or size";
    const uint8_t *bytes = r->error ? 0 : take(r, (size_t)f->size * f->count);
    if (bytes && store) memcpy((char *)d->state + f->offset, bytes, (size_t)f->size * f->count);
  }
}

static const char *read_state(struct pc *pc, const uint8_t *bytes, size_t size, bool store) {
  struct reader r = {bytes, size, 0};
  unsigned count;
  const struct device *devices = pc_devices(pc, &count);
  const uint8_t *magic = take(&r, 8);
  if (!magic || memcmp(magic, MAGIC, 8)) return "not a saved state";
  if (get_u32(&r) != VERSION) return r.error ? r.error : "the saved state is of another version";
  int64_t ns;
  uint64_t tsc;
  get(&r, &ns, 8);
  get(&r, &tsc, 8);
  if (get_u32(&r) != count && !r.error) return "the saved state is of a machine with other devices";
  if (ns < 0 || ns > INT64_MAX / 4) return "the saved state's clock is out of range";
  if (store) {
    clock_set_now(pc_clock(pc), ns);
    clock_tsc_write(pc_clock(pc), tsc);
  }
  for (unsigned i = 0; i < count && !r.error; i++) read_device(&r, &devices[i], store);
  if (!r.error && r.left) return "the saved state has bytes behind its end";
  return r.error;
}

const char *state_check(struct pc *pc, const uint8_t *bytes, size_t size) { return read_state(pc, bytes, size, false); }

const char *state_load(struct pc *pc, const uint8_t *bytes, size_t size) {
  const char *error = state_check(pc, bytes, size);
  if (error) return error;
  unsigned count;
  const struct device *devices = pc_devices(pc, &count);
  read_state(pc, bytes, size, true);
  for (unsigned i = 0; i < count; i++)
    if (devices[i].loaded) devices[i].loaded(devices[i].state);
  return 0;
}

/* ---- comparing ---- */

static uint64_t element(const struct device *d, const struct field *f, unsigned i) {
  uint64_t v = 0;
  memcpy(&v, (const char *)d->state + f->offset + (size_t)i * f->size, f->size < 8 ? f->size : 8);
  return v;
}

static bool fields_equal(const struct device *a, const struct device *b, char *text, size_t text_size) {
  for (const struct field *f = a->fields; f->name; f++)
    for (unsigned i = 0; i < f->count; i++) {
      uint64_t x = element(a, f, i), y = element(b, f, i);
      if (x == y) continue;
      snprintf(text, text_size, "%s.%s[%u]: %llx, %llx", a->name, f->name, i, (unsigned long long)x, (unsigned long long)y);
      return false;
    }
  return true;
}

bool state_equal(struct pc *a, struct pc *b, char *text, size_t text_size) {
  unsigned count_a, count_b;
  const struct device *in_a = pc_devices(a, &count_a), *in_b = pc_devices(b, &count_b);
  for (unsigned i = 0; i < count_a || i < count_b; i++) {
    if (i >= count_a || i >= count_b || in_a[i].fields != in_b[i].fields) {
      snprintf(text, text_size, "device %u: %s, %s", i, i < count_a ? in_a[i].name : "none", i < count_b ? in_b[i].name : "none");
      return false;
    }
    if (!fields_equal(&in_a[i], &in_b[i], text, text_size)) return false;
  }
  return true;
}
