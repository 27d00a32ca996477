/* IDE drives in the PC of test_dev_rig.h, on back ends of the test's own: media that are bytes in memory, whose requests are done
 * when serve() says so, and can fail. */
#pragma once
#include "test_dev_rig.h"
#include <errno.h>
#include "devices/backend.h"
#include "devices/storage/drives.h"

enum { PRIMARY = 0x1f0, SECONDARY = 0x170, CONTROL = 0x206, BUS_MASTER = 0xc040, MEDIUM = 1 << 20, DISK_SECTOR = 512 };
enum { DATA, ERROR, COUNT, LOW, MID, HIGH, DEVICE, STATUS, FEATURE = ERROR, COMMAND = STATUS };
enum { ERR = 1, DRQ = 8, DSC = 0x10, DRDY = 0x40, BSY = 0x80, READY = DRDY | DSC };
enum { ABRT = 4, IDNF = 0x10, UNC = 0x40, LBA = 0x40, SLAVE = 0x10 };
enum { BM_COMMAND, BM_STATUS = 2, BM_TABLE = 4, BM_START = 1, BM_READ = 8, BM_ACTIVE = 1, BM_INTERRUPT = 4 };

struct medium {
  struct block_backend backend; /* first */
  uint8_t bytes[MEDIUM];        /* the first of them; those behind are what medium_byte() says */
  struct block_request *waiting[4];
  unsigned waits, reads, writes, flushes, durable, largest;
  bool cached;           /* reads need no waiting for */
  unsigned at_once;      /* those that were done so */
  bool lenient;          /* requests that do not fit are expected, and fail */
  uint64_t bad, bad_end; /* bytes that cannot be read or written */
  int error;
};

static inline uint8_t medium_byte(uint64_t at) { return (uint8_t)((at >> 9) * 37 + at * 5 + (at >> 20) + 1); }

static inline void medium_submit(struct block_backend *b, struct block_request *r) {
  struct medium *m = (struct medium *)b;
  assert_true(m->waits < 4);
  m->waiting[m->waits++] = r;
}

static inline void medium_transfer(struct medium *m, struct block_request *r) {
  uint64_t at = r->at;
  for (unsigned i = 0; i < r->piece_count; i++)
    for (size_t n = 0; n < r->pieces[i].size; n++, at++) {
      if (r->operation == BLOCK_WRITE && at < MEDIUM) m->bytes[at] = r->pieces[i].bytes[n];
      else if (r->operation == BLOCK_READ) r->pieces[i].bytes[n] = at < MEDIUM ? m->bytes[at] : medium_byte(at);
    }
}

static inline bool medium_read_now(struct block_backend *b, uint64_t at, uint64_t size, const struct block_piece *pieces,
                                   unsigned count) {
  struct medium *m = (struct medium *)b;
  struct block_request r = {.operation = BLOCK_READ, .at = at, .size = size, .pieces = pieces, .piece_count = count};
  if (!m->cached || !b->present || at > b->size || size > b->size - at) return false;
  medium_transfer(m, &r);
  m->at_once++;
  return true;
}

static inline void medium_init(struct medium *m, uint64_t size) {
  static const struct block_ops ops = {medium_submit, medium_read_now};
  memset(m, 0, sizeof *m);
  m->backend = (struct block_backend){.ops = &ops, .size = size, .present = size != 0, .write_cache = true};
  for (unsigned i = 0; i < MEDIUM; i++) m->bytes[i] = medium_byte(i);
}

/* What a back end does with a request. Returns its errno. */
static inline int medium_do(struct medium *m, struct block_request *r) {
  m->reads += r->operation == BLOCK_READ;
  m->writes += r->operation == BLOCK_WRITE;
  m->flushes += r->operation == BLOCK_FLUSH;
  m->durable += r->operation == BLOCK_WRITE && r->fua;
  if (r->size > m->largest) m->largest = (unsigned)r->size;
  if (!m->backend.present) return ENOMEDIUM;
  if (r->operation == BLOCK_FLUSH) return m->error;
  bool fits = r->at <= m->backend.size && r->size <= m->backend.size - r->at;
  if (!fits && m->lenient) return EINVAL;
  assert_true(fits);
  if (m->error && r->at < m->bad_end && r->at + r->size > m->bad) return m->error;
  medium_transfer(m, r);
  return 0;
}

/* Does one request; false: there was none. */
static inline bool serve_one(struct medium *m) {
  if (!m->waits) return false;
  struct block_request *r = m->waiting[0];
  memmove(m->waiting, m->waiting + 1, --m->waits * sizeof *m->waiting);
  int error = medium_do(m, r);
  r->done(r, error);
  return true;
}
static inline void serve(struct medium *m) {
  while (serve_one(m)) {}
}

struct bench {
  struct rig *r;
  struct medium disk, cd; /* unit 0 of ide.0, unit 0 of ide.1 */
  struct ide_hd_properties disk_properties;
  struct ide_cd_properties cd_properties;
  struct device_config devices[2];
};

static inline void bench_make(struct bench *b, uint64_t disk_size, uint64_t cd_size) {
  const char *error = NULL;
  medium_init(&b->disk, disk_size);
  medium_init(&b->cd, cd_size);
  b->disk_properties =
    (struct ide_hd_properties){&b->disk.backend, NULL, NULL, "A DISK", "1.0", 0, ~0u, ~0u, ~0u, ~0u, ~0u, 512, 512};
  b->cd_properties = (struct ide_cd_properties){&b->cd.backend, "ide.1", NULL, "A CD", "1.0", 0, ~0u, ~0u};
  b->devices[0] = (struct device_config){&ide_hd_type, &b->disk_properties};
  b->devices[1] = (struct device_config){&ide_cd_type, &b->cd_properties};
  b->r = rig_create_with(false, b->devices, 2, &error);
  if (!b->r) fail_msg("%s", error);
  out32(b->r, 0xcf8, 0x80000904); /* the bus master may use memory */
  out16(b->r, 0xcfc, 0x0105);
  pic_setup(b->r, 1 << 14 | 1 << 15 | 1 << 2);
}
static inline int bench_setup(void **state) {
  struct bench *b = calloc(1, sizeof *b);
  bench_make(b, 64 << 20, 8 << 20);
  *state = b;
  return 0;
}
static inline int bench_teardown(void **state) {
  struct bench *b = *state;
  rig_destroy(b->r);
  free(b);
  return 0;
}

/* ---- what a driver does ---- */

static inline uint8_t status(struct bench *b, uint16_t base) { return in8(b->r, base + CONTROL); } /* acknowledges nothing */

/* The vector of an interrupt that is waiting, taken and ended; -1: there is none. */
static inline int interrupt(struct bench *b) {
  int vector = pc_ack_interrupt(b->r->pc);
  if (vector < 0) return -1;
  out8(b->r, 0xa0, 0x20);
  out8(b->r, 0x20, 0x20);
  return vector;
}
/* There is one, of that channel; reads the status, so that it goes. */
static inline uint8_t acknowledge(struct bench *b, uint16_t base) {
  assert_int_equal(interrupt(b), base == PRIMARY ? 0x3e : 0x3f);
  return in8(b->r, base + STATUS);
}

static inline void put_command(struct bench *b, uint16_t base, uint8_t device, uint8_t count, uint32_t address, uint8_t code) {
  out8(b->r, base + DEVICE, device | (device & LBA ? address >> 24 & 15 : 0));
  out8(b->r, base + COUNT, count);
  out8(b->r, base + LOW, (uint8_t)address);
  out8(b->r, base + MID, (uint8_t)(address >> 8));
  out8(b->r, base + HIGH, (uint8_t)(address >> 16));
  out8(b->r, base + COMMAND, code);
}
static inline void take_block(struct bench *b, uint16_t base, uint8_t *to, unsigned size) {
  assert_int_equal(status(b, base) & (DRQ | BSY), DRQ);
  for (unsigned i = 0; i < size; i += 2) {
    uint16_t word = in16(b->r, base);
    memcpy(to + i, &word, 2);
  }
}
static inline void give_block(struct bench *b, uint16_t base, const uint8_t *from, unsigned size) {
  assert_int_equal(status(b, base) & (DRQ | BSY), DRQ);
  for (unsigned i = 0; i < size; i += 4) {
    uint32_t word;
    memcpy(&word, from + i, 4);
    out32(b->r, base, word);
  }
}

static inline uint16_t bus_master(uint16_t base) { return base == PRIMARY ? BUS_MASTER : BUS_MASTER + 8; }
/* Descriptor n of the table at `table`. */
static inline void put_descriptor(struct bench *b, uint32_t table, unsigned n, uint32_t address, uint32_t count, bool last) {
  uint32_t words[2] = {address, (count & 0xffff) | (last ? 1u << 31 : 0)};
  memcpy(b->r->mmu.low + table + 8 * n, words, 8);
}
static inline void start_bus_master(struct bench *b, uint16_t base, uint32_t table, bool read) {
  uint16_t ports = bus_master(base);
  out32(b->r, ports + BM_TABLE, table);
  out8(b->r, ports + BM_STATUS, 6);
  out8(b->r, ports + BM_COMMAND, read ? BM_READ : 0);
  out8(b->r, ports + BM_COMMAND, (read ? BM_READ : 0) | BM_START);
}
static inline uint8_t stop_bus_master(struct bench *b, uint16_t base) {
  uint8_t found = in8(b->r, bus_master(base) + BM_STATUS);
  out8(b->r, bus_master(base) + BM_COMMAND, 0);
  return found;
}
static inline void assert_medium(const uint8_t *bytes, uint64_t at, unsigned size) {
  for (unsigned i = 0; i < size; i++)
    if (bytes[i] != medium_byte(at + i)) fail_msg("byte %u: %x, not %x", i, bytes[i], medium_byte(at + i));
}
