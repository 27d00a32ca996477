/* Saved states of a whole machine. Everything but RAM derives from field tables (devices/fields.h): the vCPU's and the run loop's
 * in monitor/fields.c, the clock's, the PDPTE registers, the machine's own, and those of the devices through devices/state.c.
 *
 * Layout, in the host's byte order (which is the guest's):
 *   8 bytes  "BTSTATE2"
 *   8 bytes  checksum of all that follows
 *   records  16 bytes name, padded with zeros; 8 bytes size; that many bytes
 * The records are those of parts[] in that order, then "devices", then "ram". A part's holds its field table's record
 * (devices/fields.c), "devices" what devices/state.c writes, "ram" the size of RAM, then (frame number, page) for each page that
 * is not all zero, ascending: RAM's frames, then those of devices that have memory of their own. Derived state is never saved:
 * shadow tables, traces, translated code. A load drops it and it is derived anew. Missing: states are read and written by tests
 * alone, there is no command for them yet; input queued on the host's side is not saved; timers that are due at the same
 * nanosecond are armed in the order of the devices after a load, not in the order in which the guest set them. */
#define _GNU_SOURCE
#include "snapshot.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAGIC "BTSTATE2"
enum { HEADER = 16, NAME = 16 };

/* One field table and what it describes. */
struct part {
  const char *name;
  void *state;
  const struct field *fields;
};
enum { PART_CPU, PART_MONITOR, PART_CLOCK, PART_PDPTES, PART_MACHINE, PART_COUNT };

static const struct field pdpte_fields[] = {{"pdpte", 0, 8, 4}, FIELD_END};
static const struct field machine_fields[] = {FIELD(machine, reset_wanted), FIELD(machine, init_wanted), FIELD_END};

static void list_parts(struct machine *m, struct part parts[PART_COUNT]) {
  parts[PART_CPU] = (struct part){"cpu", monitor_vcpu(m->monitor), vcpu_fields()};
  parts[PART_MONITOR] = (struct part){"monitor", monitor_state(m->monitor), monitor_fields()};
  parts[PART_CLOCK] = (struct part){"clock", m->clock, clock_fields()};
  parts[PART_PDPTES] = (struct part){"pdptes", mmu_pdptes(mmu_cpu(m->mmu, 0)), pdpte_fields};
  parts[PART_MACHINE] = (struct part){"machine", m, machine_fields};
}

/* ---- RAM and the memory of devices, by frame ---- */

static uint8_t *page_at(struct machine *m, uint32_t page) { return mmu_frame_pointer(m->mmu, page); }
/* The first page from `page` on; MMU_NO_FRAME at the end. */
static uint32_t next_page(struct machine *m, uint32_t page) { return mmu_next_frame(m->mmu, page); }
static bool page_is_zero(const uint8_t *page) { return !page[0] && !memcmp(page, page + 1, MMU_PAGE - 1); }
/* a store would take the host's memory */
static void clear_page(uint8_t *page) {
  if (!page_is_zero(page)) memset(page, 0, MMU_PAGE);
}

/* ---- checksums ---- */

static uint64_t mix(uint64_t h, uint64_t v) {
  h = (h ^ v) * 0x9e3779b97f4a7c15;
  return h ^ h >> 29;
}
static uint64_t hash_bytes(uint64_t h, const void *bytes, size_t n) {
  const uint8_t *p = bytes;
  uint64_t v;
  for (; n >= 8; n -= 8, p += 8) {
    memcpy(&v, p, 8);
    h = mix(h, v);
  }
  v = 0;
  memcpy(&v, p, n);
  return mix(h, v ^ n << 56);
}
void snapshot_seal(uint8_t *bytes, size_t size) {
  if (size < HEADER) return;
  uint64_t sum = hash_bytes(0, bytes + HEADER, size - HEADER);
  memcpy(bytes + 8, &sum, 8);
}

/* ---- writing ---- */

/* Returns where the record's bytes begin, for end_record(). */
static size_t begin_record(struct state_buffer *b, const char *name) {
  char padded[NAME] = {0};
  uint64_t size = 0;
  memcpy(padded, name, strnlen(name, NAME));
  state_put(b, padded, NAME);
  state_put(b, &size, 8);
  return b->size;
}
static void end_record(struct state_buffer *b, size_t start) {
  uint64_t size = b->size - start;
  if (!b->failed) memcpy(b->bytes + start - 8, &size, 8);
}

static void save_part(struct state_buffer *b, const struct part *p) {
  size_t start = begin_record(b, p->name);
  fields_save(b, p->fields, p->state);
  end_record(b, start);
}

static void save_ram(struct state_buffer *b, struct machine *m) {
  size_t start = begin_record(b, "ram");
  uint64_t size = mmu_ram_size(m->mmu);
  state_put(b, &size, 8);
  for (uint32_t page = next_page(m, 0); page != MMU_NO_FRAME; page = next_page(m, page + 1)) {
    const uint8_t *at = page_at(m, page);
    if (page_is_zero(at)) continue;
    state_put(b, &page, 4);
    state_put(b, at, MMU_PAGE);
  }
  end_record(b, start);
}

int machine_save(struct machine *m, struct state_buffer *out) {
  struct part parts[PART_COUNT];
  size_t first = out->size;
  vcpu_park_fp(monitor_vcpu(m->monitor));
  if (!machine_quiesce(m)) return -EBUSY;
  list_parts(m, parts);
  state_put(out, MAGIC "\0\0\0\0\0\0\0", HEADER);
  for (unsigned i = 0; i < PART_COUNT; i++) save_part(out, &parts[i]);
  size_t start = begin_record(out, "devices");
  if (state_save(m->pc, out) < 0) out->failed = true;
  end_record(out, start);
  save_ram(out, m);
  if (out->failed) return -ENOMEM;
  snapshot_seal(out->bytes + first, out->size - first);
  return 0;
}

/* ---- reading: everything is looked at before anything is changed ---- */

/* The bytes of the next record, which must have this name. */
static struct state_reader take_record(struct state_reader *r, const char *name) {
  char padded[NAME] = {0};
  uint64_t size = 0;
  memcpy(padded, name, strnlen(name, NAME));
  const uint8_t *found = state_take(r, NAME), *length = state_take(r, 8);
  if (length) memcpy(&size, length, 8);
  if (found && length && memcmp(found, padded, NAME)) r->error = "the saved state lacks a record, or has them in another order";
  const uint8_t *bytes = state_take(r, size);
  return (struct state_reader){bytes, bytes ? (size_t)size : 0, r->error};
}

/* One part's values into `state`, which is laid out as p->state is; NULL: they are only looked at. */
static void read_part(struct state_reader *all, const struct part *p, void *state) {
  struct state_reader r = take_record(all, p->name);
  fields_load(&r, p->fields, state);
  if (r.left) state_fail(&r, "the saved state is of another version: a part has more fields");
  if (!all->error) all->error = r.error;
}

/* What the file says, not yet believed. */
struct loaded {
  struct vcpu cpu;
  struct machine machine;
  uint64_t pdptes[4];
  struct clock *clock;
};

static bool is_bool(const bool *b) { return *(const unsigned char *)b <= 1; }

static const char *unfit(struct machine *m, const struct loaded *l) {
  const char *why = vcpu_unfit(&l->cpu);
  if (!why) why = clock_unfit(m->clock, l->clock);
  for (unsigned i = 0; i < 4 && !why; i++)
    if (l->pdptes[i] & ~UINT64_C(0xffffff001)) why = "the saved state's PDPTEs have reserved bits set";
  if (!why && !(is_bool(&l->machine.reset_wanted) && is_bool(&l->machine.init_wanted)))
    why = "the saved state's machine has a flag that is neither 0 nor 1";
  return why;
}

static void check_parts(struct machine *m, struct state_reader *r) {
  struct part parts[PART_COUNT];
  struct loaded l = {.cpu.cpl = 0};
  l.clock = calloc(1, clock_state_size());
  void *const to[PART_COUNT] = {
    [PART_CPU] = &l.cpu, [PART_CLOCK] = l.clock, [PART_PDPTES] = l.pdptes, [PART_MACHINE] = &l.machine};
  list_parts(m, parts);
  for (unsigned i = 0; i < PART_COUNT; i++) read_part(r, &parts[i], to[i]);
  if (!l.clock) r->error = "not enough memory to load the saved state";
  if (!r->error) r->error = unfit(m, &l);
  free(l.clock);
}

static void check_ram(struct machine *m, struct state_reader r, const char **error) {
  uint64_t size = 0, next = 0;
  const uint8_t *bytes = state_take(&r, 8);
  if (bytes) memcpy(&size, bytes, 8);
  if (bytes && size != mmu_ram_size(m->mmu)) r.error = "the saved state is of a machine with another size of RAM";
  while (!r.error && r.left) {
    uint32_t page = 0;
    const uint8_t *number = state_take(&r, 4);
    if (number) memcpy(&page, number, 4);
    if (number && (page < next || page == MMU_NO_FRAME || next_page(m, page) != page))
      r.error = "the saved state has a page that is out of place";
    next = (uint64_t)page + 1;
    state_take(&r, MMU_PAGE);
  }
  if (!*error) *error = r.error;
}

/* What the checks leave for loading: a reader that stands at the first part, and the records behind the parts. */
struct checked {
  struct state_reader parts, devices, ram;
};

static const char *check(struct machine *m, const uint8_t *bytes, size_t size, struct checked *out) {
  struct state_reader r = {bytes, size, NULL};
  uint64_t sum;
  const uint8_t *magic = state_take(&r, 8), *has = state_take(&r, 8);
  if (!magic || memcmp(magic, MAGIC, 8)) return "not a saved state";
  if (!has) return r.error;
  memcpy(&sum, has, 8);
  if (sum != hash_bytes(0, r.at, r.left)) return "the saved state is damaged or truncated";
  out->parts = r;
  check_parts(m, &r);
  out->devices = take_record(&r, "devices");
  out->ram = take_record(&r, "ram");
  if (!r.error && r.left) r.error = "the saved state has bytes behind its end";
  if (!r.error) r.error = state_check(m->pc, out->devices.at, out->devices.left);
  if (!r.error) check_ram(m, out->ram, &r.error);
  return r.error;
}

/* ---- loading ---- */

/* Pages that the record does not have are zero. */
static void load_ram(struct machine *m, struct state_reader r) {
  uint32_t page = next_page(m, 0);
  state_take(&r, 8);
  while (r.left) {
    uint32_t number;
    memcpy(&number, state_take(&r, 4), 4);
    for (; page < number; page = next_page(m, page + 1)) clear_page(page_at(m, page));
    memcpy(page_at(m, number), state_take(&r, MMU_PAGE), MMU_PAGE);
    page = next_page(m, number + 1);
  }
  for (; page != MMU_NO_FRAME; page = next_page(m, page + 1)) clear_page(page_at(m, page));
}

/* The devices come last: they look at the clock and drive the CPU's pins. */
const char *machine_load(struct machine *m, const uint8_t *bytes, size_t size) {
  struct part parts[PART_COUNT];
  struct checked c;
  const char *error = check(m, bytes, size, &c);
  if (error) return error;
  if (!machine_quiesce(m)) return "a device waits for its back end: nothing can be loaded before that is done";
  mmu_reset(m->mmu);
  monitor_reset(m->monitor);
  load_ram(m, c.ram);
  list_parts(m, parts);
  for (unsigned i = 0; i < PART_COUNT; i++) read_part(&c.parts, &parts[i], parts[i].state);
  uint64_t pdptes[4];
  memcpy(pdptes, mmu_pdptes(mmu_cpu(m->mmu, 0)), sizeof pdptes);
  error = state_load(m->pc, c.devices.at, c.devices.left);
  memcpy(mmu_pdptes(mmu_cpu(m->mmu, 0)), pdptes, sizeof pdptes); /* a chip that drove A20 had them read from RAM */
  monitor_loaded(m->monitor);
  m->end = (struct machine_end){.kind = END_NONE};
  return error;
}

/* ---- comparing ---- */

static bool pages_equal(struct machine *a, struct machine *b, uint32_t page, char *text, size_t text_size) {
  const uint8_t *x = page_at(a, page), *y = page_at(b, page);
  unsigned at = 0;
  if (!memcmp(x, y, MMU_PAGE)) return true;
  while (x[at] == y[at]) at++;
  snprintf(text, text_size, "RAM at %08llx: %02x, %02x", (unsigned long long)page << MMU_PAGE_BITS | at, x[at], y[at]);
  return false;
}

static bool ram_equal(struct machine *a, struct machine *b, char *text, size_t text_size) {
  if (mmu_ram_size(a->mmu) != mmu_ram_size(b->mmu)) return snprintf(text, text_size, "RAM of two sizes"), false;
  for (uint32_t page = next_page(a, 0); page != MMU_NO_FRAME; page = next_page(a, page + 1))
    if (!pages_equal(a, b, page, text, text_size)) return false;
  return true;
}

/* In real time no two clocks agree, and the timers of the devices with them: what a test compares is under -icount. */
bool machine_compare(struct machine *a, struct machine *b, char *text, size_t text_size) {
  struct part in_a[PART_COUNT], in_b[PART_COUNT];
  vcpu_park_fp(monitor_vcpu(a->monitor));
  vcpu_park_fp(monitor_vcpu(b->monitor));
  list_parts(a, in_a);
  list_parts(b, in_b);
  for (unsigned i = 0; i < PART_COUNT; i++)
    if (!fields_equal(in_a[i].name, in_a[i].fields, in_a[i].state, in_b[i].state, text, text_size)) return false;
  return state_equal(a->pc, b->pc, text, text_size) && ram_equal(a, b, text, text_size);
}
