// An ATAPI CD drive: packets, sectors, sense data, tray and media. Run only this: build/unit/test_dev_atapi
// link: bt_devices
#include "ide_rig.h"

#define BENCH struct bench *b = *state
enum { NOT_READY = 2, MEDIUM_ERROR = 3, ILLEGAL_REQUEST = 5, UNIT_ATTENTION = 6 };
#define PACKET(...) ((const uint8_t[12]){__VA_ARGS__})

static uint32_t be16(const uint8_t *at) { return (uint32_t)at[0] << 8 | at[1]; }
static uint32_t be32(const uint8_t *at) { return be16(at) << 16 | be16(at + 2); }
static uint8_t reason(struct bench *b) { return in8(b->r, SECONDARY + COUNT) & 3; }

static void send(struct bench *b, const uint8_t packet[12], uint8_t feature, uint16_t limit) {
  out8(b->r, SECONDARY + FEATURE, feature);
  put_command(b, SECONDARY, 0, 0, (uint32_t)limit << 8, 0xa0);
  assert_int_equal(interrupt(b), -1); /* DRQ within 50 us, says IDENTIFY */
  assert_int_equal(reason(b), 1);
  give_block(b, SECONDARY, packet, 12);
  serve(&b->cd);
}

/* Sends it and takes all its data by PIO. Returns how many bytes; *error: the error register. */
static unsigned run(struct bench *b, const uint8_t packet[12], uint16_t limit, uint8_t *to, unsigned room, uint8_t *error) {
  unsigned size = 0;
  send(b, packet, 0, limit);
  for (;;) {
    uint8_t now = acknowledge(b, SECONDARY);
    if (!(now & DRQ)) break;
    unsigned n = in8(b->r, SECONDARY + MID) | (unsigned)in8(b->r, SECONDARY + HIGH) << 8;
    assert_int_equal(reason(b), 2);
    assert_true(n && n <= limit && size + n <= room);
    take_block(b, SECONDARY, to + size, n);
    size += n;
    serve(&b->cd);
  }
  assert_int_equal(reason(b), 3);
  *error = in8(b->r, SECONDARY + ERROR);
  assert_int_equal(in8(b->r, SECONDARY + STATUS) & ERR, *error ? ERR : 0);
  return size;
}

static uint8_t data[70000];
static unsigned ask(struct bench *b, const uint8_t packet[12]) {
  uint8_t error;
  unsigned n = run(b, packet, 0xfffe, data, sizeof data, &error);
  assert_int_equal(error, 0);
  return n;
}

/* The sense key with which a packet ends, its code in *code; 0: well. */
static unsigned key_of(struct bench *b, const uint8_t packet[12], uint8_t *code) {
  uint8_t error;
  run(b, packet, 0xfffe, data, sizeof data, &error);
  assert_int_equal(ask(b, PACKET(0x03, 0, 0, 0, 18)), 18);
  *code = data[12];
  assert_int_equal(data[0], 0x70);
  assert_int_equal(data[2], error >> 4);
  return data[2];
}
static void assert_sense(struct bench *b, const uint8_t packet[12], unsigned key, uint8_t code) {
  uint8_t found;
  assert_int_equal(key_of(b, packet, &found), key);
  assert_int_equal(found, code);
}

/* ---- identity ---- */

static void identify_packet_device(void **state) {
  BENCH;
  put_command(b, SECONDARY, 0, 0, 0, 0xec); /* a disk's */
  assert_int_equal(acknowledge(b, SECONDARY) & ERR, ERR);
  assert_int_equal(in8(b->r, SECONDARY + ERROR), ABRT);
  assert_int_equal(in8(b->r, SECONDARY + MID), 0x14);
  assert_int_equal(in8(b->r, SECONDARY + HIGH), 0xeb);
  put_command(b, SECONDARY, 0, 0, 0, 0xa1);
  acknowledge(b, SECONDARY);
  take_block(b, SECONDARY, data, 512);
  assert_int_equal(interrupt(b), -1);
  assert_int_equal(data[0] | data[1] << 8, 0x85c0);
  assert_memory_equal(data + 54, " ADC", 4);
  assert_memory_equal(data + 20, "MQ0000 3", 6);
  put_command(b, SECONDARY, 0, 0, 0, 0xc8); /* READ DMA */
  assert_int_equal(acknowledge(b, SECONDARY) & ERR, ERR);
}

static void inquiry_and_its_pages(void **state) {
  BENCH;
  assert_int_equal(ask(b, PACKET(0x12, 0, 0, 0, 96)), 36);
  assert_int_equal(data[0], 5);
  assert_int_equal(data[1], 0x80);
  assert_memory_equal(data + 16, "A CD            1.0 ", 20);
  assert_int_equal(ask(b, PACKET(0x12, 0, 0, 0, 5)), 5);
  assert_int_equal(ask(b, PACKET(0x12, 1, 0x83, 0, 96)), 8 + 7);
  assert_memory_equal(data + 8, "QM00003", 7);
  assert_sense(b, PACKET(0x12, 1, 0x80, 0, 96), ILLEGAL_REQUEST, 0x24);
}

static void what_it_does_not_know_is_refused(void **state) {
  BENCH;
  assert_sense(b, PACKET(0xff), ILLEGAL_REQUEST, 0x20);
  assert_sense(b, PACKET(0x2a), ILLEGAL_REQUEST, 0x20);
  out8(b->r, SECONDARY + FEATURE, 2); /* overlapped */
  put_command(b, SECONDARY, 0, 0, 0, 0xa0);
  assert_int_equal(acknowledge(b, SECONDARY) & (ERR | DRQ), ERR);
  send(b, PACKET(0x12, 0, 0, 0, 36), 0, 0); /* no bytes allowed */
  assert_int_equal(acknowledge(b, SECONDARY) & (ERR | DRQ), ERR);
  send(b, PACKET(0x00), 0, 0);
  assert_int_equal(acknowledge(b, SECONDARY) & (ERR | DRQ), 0);
}

/* ---- sectors ---- */

static void sectors_come_in_blocks_of_what_is_allowed(void **state) {
  BENCH;
  static const uint16_t limits[] = {2048, 0xfffe, 0xffff, 2049, 512, 65534, 3000};
  uint8_t error;
  for (unsigned i = 0; i < sizeof limits / sizeof *limits; i++) {
    unsigned n = run(b, PACKET(0x28, 0, 0, 0, 0, 100, 0, 0, 33), limits[i], data, sizeof data, &error);
    assert_int_equal(error, 0);
    assert_int_equal(n, 33 * 2048);
    assert_medium(data, 100 * 2048, n);
  }
  assert_int_equal(b->cd.reads, sizeof limits / sizeof *limits);
  assert_int_equal(ask(b, PACKET(0xa8, 0, 0, 0, 0, 5, 0, 0, 0, 2)), 2 * 2048);
  assert_medium(data, 5 * 2048, 2 * 2048);
  assert_int_equal(ask(b, PACKET(0x28, 0, 0, 0, 0, 5, 0, 0, 0)), 0);
}

static void sectors_by_dma(void **state) {
  BENCH;
  put_descriptor(b, 0x1000, 0, 0x20000, 0, false); /* 64 KiB */
  put_descriptor(b, 0x1000, 1, 0x30000, 0, false);
  put_descriptor(b, 0x1000, 2, 0x40000, 0x8000, true);
  send(b, PACKET(0x28, 0, 0, 0, 0, 9, 0, 0, 80), 1, 0);
  start_bus_master(b, SECONDARY, 0x1000, true);
  serve(&b->cd);
  assert_int_equal(acknowledge(b, SECONDARY) & (ERR | DRQ | BSY), 0);
  assert_int_equal(reason(b), 3);
  assert_int_equal(stop_bus_master(b, SECONDARY), BM_INTERRUPT);
  assert_medium(b->r->mmu.low + 0x20000, 9 * 2048, 80 * 2048);
  put_descriptor(b, 0x1000, 0, 0x20000, 36, true);
  send(b, PACKET(0x12, 0, 0, 0, 36), 1, 0); /* data that are none of the medium */
  start_bus_master(b, SECONDARY, 0x1000, true);
  assert_int_equal(acknowledge(b, SECONDARY) & ERR, 0);
  assert_memory_equal(b->r->mmu.low + 0x20010, "A CD", 4);
}

static void raw_sectors(void **state) {
  BENCH;
  assert_int_equal(ask(b, PACKET(0xbe, 0, 0, 0, 0, 100, 0, 0, 20, 0xf8)), 20 * 2352);
  for (unsigned i = 0; i < 20; i++) {
    static const uint8_t sync[12] = {0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0};
    const uint8_t *at = data + i * 2352;
    unsigned frame = (250 + i) % 75;
    assert_memory_equal(at, sync, 12);
    assert_int_equal(at[12], 0);
    assert_int_equal(at[13], 3); /* 250 = 3 s 25 */
    assert_int_equal(at[14], frame / 10 * 16 + frame % 10);
    assert_int_equal(at[15], 1);
    assert_medium(at + 16, (100 + i) * 2048, 2048);
  }
  assert_int_equal(ask(b, PACKET(0xbe, 0, 0, 0, 0, 100, 0, 0, 20, 0x10)), 20 * 2048);
  assert_int_equal(ask(b, PACKET(0xbe, 0, 0, 0, 0, 100, 0, 0, 20, 0)), 0);
  assert_sense(b, PACKET(0xbe, 0, 0, 0, 0, 100, 0, 0, 20, 0x50), ILLEGAL_REQUEST, 0x24);
}

static void more_raw_sectors_than_the_buffer_has(void **state) {
  BENCH;
  uint8_t error;
  uint8_t *large = malloc(200 * 2352);
  assert_int_equal(run(b, PACKET(0xbe, 0, 0, 0, 0, 0, 0, 0, 200, 0xf8), 2352, large, 200 * 2352, &error), 200 * 2352);
  for (unsigned i = 0; i < 200; i++) assert_medium(large + i * 2352 + 16, i * 2048, 2048);
  free(large);
}

static void beyond_the_end_and_bad_sectors(void **state) {
  BENCH;
  uint32_t sectors = (8 << 20) / 2048; /* 1000h */
  assert_int_equal(ask(b, PACKET(0x25)), 8);
  assert_int_equal(be32(data), sectors - 1);
  assert_int_equal(be32(data + 4), 2048);
  assert_sense(b, PACKET(0x28, 0, 0, 0, 0x10, 0, 0, 0, 1), ILLEGAL_REQUEST, 0x21);
  assert_sense(b, PACKET(0x28, 0, 0, 0, 0x0f, 0xff, 0, 0, 2), ILLEGAL_REQUEST, 0x21);
  assert_sense(b, PACKET(0x2b, 0, 0, 0, 0x10, 0), ILLEGAL_REQUEST, 0x21);
  assert_int_equal(ask(b, PACKET(0x2b, 0, 0, 0, 0x0f, 0xff)), 0);
  b->cd.error = EIO, b->cd.bad = 12 * 2048, b->cd.bad_end = 12 * 2048 + 1;
  assert_sense(b, PACKET(0x28, 0, 0, 0, 0, 10, 0, 0, 5), MEDIUM_ERROR, 0x11);
  uint8_t error;
  assert_int_equal(run(b, PACKET(0x28, 0, 0, 0, 0, 10, 0, 0, 5), 2048, data, sizeof data, &error), 2 * 2048);
  assert_int_equal(error, MEDIUM_ERROR << 4);
}

/* ---- what it tells of disc and drive ---- */

static void table_of_contents(void **state) {
  BENCH;
  assert_int_equal(ask(b, PACKET(0x43, 0, 0, 0, 0, 0, 0, 0, 100)), 20);
  assert_int_equal(be16(data), 18);
  assert_int_equal(data[6], 1);
  assert_int_equal(be32(data + 8), 0);
  assert_int_equal(data[14], 0xaa);
  assert_int_equal(be32(data + 16), 4096);
  assert_int_equal(ask(b, PACKET(0x43, 2, 0, 0, 0, 0, 0xaa, 0, 100)), 12); /* minutes: (4096 + 150) / 75 = 56 s 46 */
  assert_int_equal(be32(data + 8), 56 << 8 | 46);
  assert_int_equal(ask(b, PACKET(0x43, 0, 0, 0, 0, 0, 0, 0, 100, 0x40)), 12);
  assert_int_equal(ask(b, PACKET(0x43, 0, 2, 0, 0, 0, 0, 0, 100)), 4 + 4 * 11);
  assert_int_equal(data[4 + 2 * 11 + 3], 0xa2);
  assert_int_equal(data[4 + 2 * 11 + 9], 56);
  assert_sense(b, PACKET(0x43, 0, 0, 0, 0, 0, 2, 0, 100), ILLEGAL_REQUEST, 0x24);
  assert_sense(b, PACKET(0x43, 0, 5, 0, 0, 0, 0, 0, 100), ILLEGAL_REQUEST, 0x24);
}

static void pages_and_features(void **state) {
  BENCH;
  assert_int_equal(ask(b, PACKET(0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 255)), 30);
  assert_int_equal(be16(data), 28);
  assert_int_equal(data[8], 0x2a);
  assert_int_equal(data[14] & 2, 0);
  assert_int_equal(ask(b, PACKET(0x1e, 0, 0, 0, 1)), 0);
  ask(b, PACKET(0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 255));
  assert_int_equal(data[14] & 2, 2); /* locked */
  assert_int_equal(ask(b, PACKET(0x5a, 0, 0x01, 0, 0, 0, 0, 0, 255)), 16);
  assert_int_equal(ask(b, PACKET(0x5a, 0, 0x3f, 0, 0, 0, 0, 0, 255)), 8 + 8 + 16 + 22);
  assert_int_equal(ask(b, PACKET(0x5a, 0, 0x6a, 0, 0, 0, 0, 0, 255)), 30);
  assert_int_equal(data[10], 0); /* nothing can be changed */
  assert_sense(b, PACKET(0x5a, 0, 0x05, 0, 0, 0, 0, 0, 255), ILLEGAL_REQUEST, 0x24);
  assert_sense(b, PACKET(0x5a, 0, 0xea, 0, 0, 0, 0, 0, 255), ILLEGAL_REQUEST, 0x39);
  assert_int_equal(ask(b, PACKET(0x46, 0, 0, 0, 0, 0, 0, 0, 255)), 8 + 12 + 12 + 8);
  assert_int_equal(be32(data), 8 + 12 + 12 + 8 - 4);
  assert_int_equal(be16(data + 6), 8); /* a CD */
  assert_int_equal(ask(b, PACKET(0x46, 2, 0, 3, 0, 0, 0, 0, 255)), 8 + 8);
  assert_int_equal(ask(b, PACKET(0x46, 2, 0, 9, 0, 0, 0, 0, 255)), 8);
  assert_int_equal(ask(b, PACKET(0x51, 0, 0, 0, 0, 0, 0, 0, 255)), 34);
  assert_int_equal(ask(b, PACKET(0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8)), 8);
  assert_sense(b, PACKET(0xad, 0, 0, 0, 0, 0, 0, 0, 8), ILLEGAL_REQUEST, 0x24); /* no DVD */
}

static void a_large_medium_is_a_dvd(void **state) {
  struct bench *b = calloc(1, sizeof *b);
  bench_make(b, 1 << 20, UINT64_C(4) << 30);
  ask(b, PACKET(0x46, 0, 0, 0, 0, 0, 0, 0, 255));
  assert_int_equal(be16(data + 6), 0x10);
  assert_int_equal(ask(b, PACKET(0xad, 0, 0, 0, 0, 0, 0, 0, 0x10, 0)), 2052);
  assert_int_equal(be32(data + 12), 0x30000 + (1 << 21) - 1);
  assert_int_equal(ask(b, PACKET(0xad, 0, 0, 0, 0, 0, 0, 0xff, 0x10, 0)), 20);
  assert_int_equal(ask(b, PACKET(0x28, 0, 0, 0x1f, 0xff, 0xff, 0, 0, 1)), 2048);
  assert_medium(data, UINT64_C(0x1fffff) * 2048, 2048);
  rig_destroy(b->r);
  free(b);
}

/* ---- tray and media ---- */

static void change_medium(struct bench *b, uint64_t size) {
  struct block_backend *e = &b->cd.backend;
  e->present = size != 0, e->size = size, e->tray_open = !size;
  e->front.medium(e->front.opaque, size != 0);
}

static void a_change_is_told_twice(void **state) {
  BENCH;
  change_medium(b, 0);
  assert_sense(b, PACKET(0x00), NOT_READY, 0x3a);
  assert_sense(b, PACKET(0x00), NOT_READY, 0x3a);
  assert_sense(b, PACKET(0x28, 0, 0, 0, 0, 0, 0, 0, 1), NOT_READY, 0x3a);
  change_medium(b, 4 << 20);
  ask(b, PACKET(0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8));
  assert_int_equal(data[4], 2); /* new medium */
  assert_int_equal(data[5], 2); /* present */
  ask(b, PACKET(0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8));
  assert_int_equal(data[4], 0);
  assert_int_equal(ask(b, PACKET(0x12, 0, 0, 0, 36)), 36); /* does not take it away */
  assert_sense(b, PACKET(0x00), NOT_READY, 0x3a);
  assert_sense(b, PACKET(0x00), UNIT_ATTENTION, 0x28);
  assert_int_equal(ask(b, PACKET(0x25)), 8);
  assert_int_equal(be32(data), (4 << 20) / 2048 - 1);
}

static void the_guest_opens_and_closes_the_tray(void **state) {
  BENCH;
  assert_int_equal(ask(b, PACKET(0x1b, 0, 0, 0, 2)), 0);
  assert_true(b->cd.backend.tray_open);
  assert_sense(b, PACKET(0x00), NOT_READY, 0x3a);
  ask(b, PACKET(0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8));
  assert_int_equal(data[5], 1);
  assert_int_equal(ask(b, PACKET(0x1b, 0, 0, 0, 3)), 0);
  assert_false(b->cd.backend.tray_open);
  assert_sense(b, PACKET(0x00), UNIT_ATTENTION, 0x28);
  assert_int_equal(ask(b, PACKET(0x00)), 0);
}

static void a_locked_tray_stays_closed(void **state) {
  BENCH;
  struct block_backend *e = &b->cd.backend;
  ask(b, PACKET(0x1e, 0, 0, 0, 1));
  assert_true(e->locked);
  assert_sense(b, PACKET(0x1b, 0, 0, 0, 2), NOT_READY, 0x53);
  assert_false(e->tray_open);
  e->front.eject_wanted(e->front.opaque);
  ask(b, PACKET(0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8));
  assert_int_equal(data[4], 1); /* the button */
  ask(b, PACKET(0x1e, 0, 0, 0, 0));
  assert_false(e->locked);
  ask(b, PACKET(0x1b, 0, 0, 0, 2));
  assert_true(e->tray_open);
  assert_sense(b, PACKET(0x4a, 0, 0, 0, 0x10, 0, 0, 0, 8), ILLEGAL_REQUEST, 0x24); /* not polled */
}

static void a_drive_that_is_empty_or_has_nothing_behind_it(void **state) {
  struct bench *b = calloc(1, sizeof *b);
  const char *error = NULL;
  bench_make(b, 1 << 20, 0);
  assert_sense(b, PACKET(0x00), NOT_READY, 0x3a);
  assert_sense(b, PACKET(0x43, 0, 0, 0, 0, 0, 0, 0, 100), NOT_READY, 0x3a);
  rig_destroy(b->r);
  b->cd_properties.drive = NULL;
  b->r = rig_create_with(false, b->devices, 2, &error);
  pic_setup(b->r, 1 << 14 | 1 << 15 | 1 << 2);
  assert_sense(b, PACKET(0x28, 0, 0, 0, 0, 0, 0, 0, 1), NOT_READY, 0x3a);
  assert_int_equal(ask(b, PACKET(0x1b, 0, 0, 0, 2)), 0);
  rig_destroy(b->r);
  free(b);
}

static void device_reset_ends_a_packet(void **state) {
  BENCH;
  send(b, PACKET(0x28, 0, 0, 0, 0, 0, 0, 0, 2), 0, 2048);
  acknowledge(b, SECONDARY);
  out8(b->r, SECONDARY + COMMAND, 0x08);
  assert_int_equal(status(b, SECONDARY), 0);
  assert_int_equal(in8(b->r, SECONDARY + MID), 0x14);
  assert_int_equal(in16(b->r, SECONDARY), 0);
  assert_int_equal(ask(b, PACKET(0x28, 0, 0, 0, 0, 0, 0, 0, 2)), 4096);
}

static void saved_in_the_middle_of_raw_sectors(void **state) {
  BENCH;
  struct bench *copy = NULL;
  struct state_buffer saved = {0};
  bench_setup((void **)&copy);
  send(b, PACKET(0xbe, 0, 0, 0, 0, 100, 0, 0, 100, 0xf8), 0, 2352);
  for (unsigned i = 0; i < 1001; i++) in16(b->r, SECONDARY);
  assert_int_equal(state_save(b->r->pc, &saved), 0);
  assert_null(state_load(copy->r->pc, saved.bytes, saved.size));
  for (unsigned i = 1001; i < 100 * 2352 / 2; i++) {
    assert_int_equal(in16(b->r, SECONDARY), in16(copy->r, SECONDARY));
    serve(&b->cd), serve(&copy->cd);
  }
  assert_int_equal(status(copy, SECONDARY), READY);
  assert_true(copy->cd.reads > 0);
  free(saved.bytes);
  bench_teardown((void **)&copy);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, bench_setup, bench_teardown)
  const struct CMUnitTest tests[] = {
    TEST(identify_packet_device),
    TEST(inquiry_and_its_pages),
    TEST(what_it_does_not_know_is_refused),
    TEST(sectors_come_in_blocks_of_what_is_allowed),
    TEST(sectors_by_dma),
    TEST(raw_sectors),
    TEST(more_raw_sectors_than_the_buffer_has),
    TEST(beyond_the_end_and_bad_sectors),
    TEST(table_of_contents),
    TEST(pages_and_features),
    cmocka_unit_test(a_large_medium_is_a_dvd),
    TEST(a_change_is_told_twice),
    TEST(the_guest_opens_and_closes_the_tray),
    TEST(a_locked_tray_stays_closed),
    cmocka_unit_test(a_drive_that_is_empty_or_has_nothing_behind_it),
    TEST(device_reset_ends_a_packet),
    TEST(saved_in_the_middle_of_raw_sectors),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
