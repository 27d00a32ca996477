#include "states.h"
#include <sys/mman.h>
#include <unistd.h>
#include "tests/unit/fixed_entries.h"
#include "tests/unit/snapshot_guests.h"

static const uint8_t *const images[STATE_GUESTS] = {guest_ticks, guest_pae, guest_a20};
enum { STOPPED_AT = 15000, RAM_SIZE = 4 << 20 };

static struct machine *make(struct state_base *b, const uint8_t image[4096], unsigned guest) {
  char path[32], error[ERROR_TEXT];
  int fd = memfd_create("kernel", MFD_CLOEXEC);
  if (fd < 0 || write(fd, image, 4096) != 4096) abort();
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  b->options = (struct bt_options){.ram_size = RAM_SIZE,
                                   .kernel = path,
                                   .acpi = true,
                                   .hpet = true,
                                   .entries = &fixed_debug_exit,
                                   .nodefaults = true,
                                   .no_reboot = true};
  struct machine *m = machine_create(&b->options, NULL, error);
  close(fd);
  REQUIRE(m, "%s", error);
  REQUIRE(machine_run_to(m, STOPPED_AT + 777 * guest), "the guest ended");
  return m;
}

static uint16_t hash_name(const char *part, size_t part_length, const char *field, size_t length) {
  uint32_t h = 2166136261u;
  for (size_t i = 0; i < part_length; i++) h = (h ^ (uint8_t)part[i]) * 16777619;
  for (size_t i = 0; i < length; i++) h = (h ^ (uint8_t)field[i]) * 16777619;
  return (uint16_t)(h ^ h >> 16);
}

static uint64_t number(const uint8_t *p, unsigned bytes) {
  uint64_t v = 0;
  memcpy(&v, p, bytes);
  return v;
}

/* A field table's record (devices/fields.c): u32 fields, each a name, u16 size, u32 count, bytes. Returns its end. */
static const uint8_t *list_fields(struct state_base *b, const char *part, size_t part_length, const uint8_t *at) {
  uint32_t fields = (uint32_t)number(at, 4);
  for (at += 4; fields; fields--) {
    unsigned length = *at++;
    const char *name = (const char *)at;
    uint32_t size = (uint32_t)number(at + length, 2), count = (uint32_t)number(at + length + 2, 4);
    at += length + 2 + 4;
    REQUIRE(b->field_count < STATE_FIELDS, "more fields than there is room for");
    b->fields[b->field_count++] =
      (struct state_field){hash_name(part, part_length, name, length), (uint32_t)(at - b->saved.bytes), size, count};
    at += (size_t)size * count;
  }
  return at;
}

/* devices/state.c: magic, version, time, TSC, then devices: a name, its table's record. */
static void list_devices(struct state_base *b, const uint8_t *at, const uint8_t *end) {
  for (at += 8 + 4 + 8 + 8 + 4; at < end;) {
    unsigned length = *at;
    const char *name = (const char *)at + 1;
    at += 1 + length;
    at = list_fields(b, name, length, at);
  }
}

/* bt/snapshot.c: records of 16 bytes name, 8 bytes size. */
static void list_records(struct state_base *b) {
  const uint8_t *end = b->saved.bytes + b->saved.size;
  for (const uint8_t *at = b->saved.bytes + 16; at < end;) {
    const char *name = (const char *)at;
    const uint8_t *bytes = at + 24, *next = bytes + number(at + 16, 8);
    if (!strncmp(name, "ram", 16)) b->ram = (size_t)(bytes - b->saved.bytes);
    else if (!strncmp(name, "devices", 16)) list_devices(b, bytes, next);
    else list_fields(b, name, strnlen(name, 16), bytes);
    at = next;
  }
  REQUIRE(b->ram && b->field_count > 50, "a state of another format: %u fields", b->field_count);
}

struct state_base *state_base(unsigned guest) {
  static struct state_base bases[STATE_GUESTS];
  struct state_base *b = &bases[guest % STATE_GUESTS];
  if (b->machine) return b;
  b->machine = make(b, images[guest % STATE_GUESTS], guest % STATE_GUESTS);
  b->twin = make(b, images[guest % STATE_GUESTS], guest % STATE_GUESTS);
  REQUIRE(machine_save(b->machine, &b->saved) == 0, "not saved");
  list_records(b);
  return b;
}
