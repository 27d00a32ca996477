/* Saved states of the devices. D10: a device is its field table (fields.h).
 *
 * Format, little-endian: "BTDEVICE", u32 version, i64 guest ns, u64 TSC, u32 devices; a device is a name (u8 length, letters) and
 * its table's record (fields.c). Values are whatever the file says: each device's loaded() brings them into range, so no file can
 * crash the machine.
 */
#include "state.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MAGIC "BTDEVICE"
enum { VERSION = 2 };

/* ---- writing ---- */

int state_save(struct pc *pc, struct state_buffer *out) {
  unsigned count;
  const struct device *devices = pc_devices(pc, &count);
  int64_t ns = clock_now(pc_clock(pc));
  uint64_t tsc = clock_tsc(pc_clock(pc));
  state_put(out, MAGIC, 8);
  state_put_u32(out, VERSION);
  state_put(out, &ns, 8);
  state_put(out, &tsc, 8);
  state_put_u32(out, count);
  for (unsigned i = 0; i < count; i++) {
    state_put_name(out, devices[i].name);
    fields_save(out, devices[i].fields, devices[i].state);
  }
  return out->failed ? -ENOMEM : 0;
}

/* ---- reading ---- */

static const char *read_state(struct pc *pc, const uint8_t *bytes, size_t size, bool store) {
  struct state_reader r = {bytes, size, 0};
  unsigned count;
  const struct device *devices = pc_devices(pc, &count);
  const uint8_t *magic = state_take(&r, 8);
  if (!magic || memcmp(magic, MAGIC, 8)) return "not a saved state";
  if (state_get_u32(&r) != VERSION) return r.error ? r.error : "the saved state is of another version";
  int64_t ns;
  uint64_t tsc;
  state_get(&r, &ns, 8);
  state_get(&r, &tsc, 8);
  if (state_get_u32(&r) != count && !r.error) return "the saved state is of a machine with other devices";
  if (ns < 0 || ns > INT64_MAX / 4) return "the saved state's clock is out of range";
  if (store) {
    clock_set_now(pc_clock(pc), ns);
    clock_tsc_write(pc_clock(pc), tsc);
  }
  for (unsigned i = 0; i < count && !r.error; i++) {
    if (!state_get_name(&r, devices[i].name)) state_fail(&r, "the saved state is of a machine with other devices");
    fields_load(&r, devices[i].fields, store ? devices[i].state : 0);
  }
  if (r.left) state_fail(&r, "the saved state has bytes behind its end");
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

bool state_equal(struct pc *a, struct pc *b, char *text, size_t text_size) {
  unsigned count_a, count_b;
  const struct device *in_a = pc_devices(a, &count_a), *in_b = pc_devices(b, &count_b);
  for (unsigned i = 0; i < count_a || i < count_b; i++) {
    if (i >= count_a || i >= count_b || in_a[i].fields != in_b[i].fields) {
      snprintf(text, text_size, "device %u: %s, %s", i, i < count_a ? in_a[i].name : "none", i < count_b ? in_b[i].name : "none");
      return false;
    }
    if (!fields_equal(in_a[i].name, in_a[i].fields, in_a[i].state, in_b[i].state, text, text_size)) return false;
  }
  return true;
}
