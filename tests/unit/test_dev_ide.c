// IDE channels, their bus master, ATA disks: as drivers use them, and as no driver does. Run only this: build/unit/test_dev_ide
// link: bt_devices
// timeout: 180
#include "ide_rig.h"
#include <stdio.h>

#define BENCH struct bench *b = *state

static uint16_t word(const uint8_t *data, unsigned n) { return (uint16_t)(data[2 * n] | data[2 * n + 1] << 8); }
static uint32_t address_registers(struct bench *b) {
  return in8(b->r, PRIMARY + LOW) | (uint32_t)in8(b->r, PRIMARY + MID) << 8 | (uint32_t)in8(b->r, PRIMARY + HIGH) << 16 |
         (uint32_t)(in8(b->r, PRIMARY + DEVICE) & 15) << 24;
}

/* A command without data. Returns its status. */
static uint8_t run(struct bench *b, uint8_t device, uint8_t count, uint32_t address, uint8_t code) {
  put_command(b, PRIMARY, device, count, address, code);
  serve(&b->disk);
  return acknowledge(b, PRIMARY);
}
static uint8_t set_feature(struct bench *b, uint8_t feature, uint8_t count) {
  out8(b->r, PRIMARY + FEATURE, feature);
  return run(b, 0, count, 0, 0xef);
}
static void identify(struct bench *b, uint8_t data[512]) {
  put_command(b, PRIMARY, 0, 0, 0, 0xec);
  acknowledge(b, PRIMARY);
  take_block(b, PRIMARY, data, 512);
}

/* ---- who is there ---- */

static void identify_tells_size_names_and_geometry(void **state) {
  BENCH;
  uint8_t data[512];
  identify(b, data);
  assert_int_equal(status(b, PRIMARY), READY);
  assert_int_equal(interrupt(b), -1); /* it was before the data */
  assert_int_equal(word(data, 0), 0x40);
  assert_int_equal(word(data, 60) | word(data, 61) << 16, (64 << 20) / 512);
  assert_int_equal(word(data, 100) | word(data, 101) << 16, (64 << 20) / 512);
  assert_int_equal(word(data, 1), 130); /* 131072 / (16 * 63) */
  assert_int_equal(word(data, 3), 16);
  assert_int_equal(word(data, 6), 63);
  assert_memory_equal(data + 54, " AIDKS", 6);
  assert_memory_equal(data + 20, "MQ0000 1", 6); /* QM00001 */
  assert_int_equal(word(data, 49) & 0x300, 0x300);
  assert_int_equal(word(data, 83) & 0x7400, 0x7400);
  assert_int_equal(word(data, 88), 0x203f);
  assert_int_equal(word(data, 59), 0x110);
}

static void absent_units_and_empty_channels(void **state) {
  BENCH;
  out8(b->r, PRIMARY + DEVICE, SLAVE);
  assert_int_equal(in8(b->r, PRIMARY + STATUS), 0);
  assert_int_equal(in8(b->r, PRIMARY + ERROR), 0);
  out8(b->r, PRIMARY + COMMAND, 0xec);
  assert_int_equal(interrupt(b), -1);
  assert_int_equal(in16(b->r, PRIMARY), 0);
  out8(b->r, PRIMARY + LOW, 0x5a); /* goes to both */
  out8(b->r, PRIMARY + DEVICE, 0);
  assert_int_equal(in8(b->r, PRIMARY + LOW), 0x5a);
  assert_int_equal(in8(b->r, PRIMARY + DEVICE), 0xa0);
  struct rig *none = rig_create(false);
  for (unsigned n = 1; n < 8; n++) {
    out8(none, SECONDARY + n, 0xff);
    assert_int_equal(in8(none, SECONDARY + n), 0);
  }
  assert_int_equal(in8(none, SECONDARY + CONTROL), 0);
  rig_destroy(none);
}

static void software_reset_shows_signatures(void **state) {
  BENCH;
  out8(b->r, PRIMARY + CONTROL, 4);
  assert_int_equal(status(b, PRIMARY), BSY);
  out8(b->r, PRIMARY + COMMAND, 0xec);
  out8(b->r, PRIMARY + CONTROL, 0);
  assert_int_equal(status(b, PRIMARY), READY);
  assert_int_equal(in8(b->r, PRIMARY + ERROR), 1);
  assert_int_equal(in8(b->r, PRIMARY + COUNT), 1);
  assert_int_equal(address_registers(b), 1);
  out8(b->r, SECONDARY + CONTROL, 4), out8(b->r, SECONDARY + CONTROL, 0);
  assert_int_equal(in8(b->r, SECONDARY + MID), 0x14);
  assert_int_equal(in8(b->r, SECONDARY + HIGH), 0xeb);
  assert_int_equal(in8(b->r, SECONDARY + STATUS), 0);
  assert_int_equal(interrupt(b), -1);
}

static void diagnostics_are_both_units_and_end_at_unit_0(void **state) {
  BENCH;
  out8(b->r, PRIMARY + DEVICE, SLAVE);
  out8(b->r, PRIMARY + COMMAND, 0x90);
  assert_int_equal(acknowledge(b, PRIMARY), READY);
  assert_int_equal(in8(b->r, PRIMARY + ERROR), 1);
  assert_int_equal(in8(b->r, PRIMARY + DEVICE), 0xa0);
}

static void what_it_does_not_know_is_aborted(void **state) {
  BENCH;
  static const uint8_t codes[] = {0x00, 0x08, 0x06, 0x22, 0x50, 0x60, 0xa0, 0xa1, 0xe4, 0xf1, 0xff};
  for (unsigned i = 0; i < sizeof codes; i++) {
    assert_int_equal(run(b, LBA, 1, 0, codes[i]), DRDY | ERR);
    assert_int_equal(in8(b->r, PRIMARY + ERROR), ABRT);
  }
  assert_int_equal(set_feature(b, 0x44, 0), DRDY | ERR);
}

/* ---- PIO ---- */

static void pio_reads_have_an_interrupt_a_sector(void **state) {
  BENCH;
  uint8_t data[512];
  put_command(b, PRIMARY, LBA, 3, 1000, 0x20);
  assert_int_equal(status(b, PRIMARY) & (BSY | DRQ), BSY); /* the guest runs on */
  assert_int_equal(interrupt(b), -1);
  serve(&b->disk);
  for (unsigned i = 0; i < 3; i++) {
    assert_int_equal(acknowledge(b, PRIMARY), READY | DRQ);
    take_block(b, PRIMARY, data, 512);
    assert_medium(data, (1000 + i) * 512, 512);
  }
  assert_int_equal(interrupt(b), -1);
  assert_int_equal(status(b, PRIMARY), READY);
  assert_int_equal(b->disk.reads, 1); /* all sectors at once */
  assert_int_equal(address_registers(b), 1003);
  assert_int_equal(in8(b->r, PRIMARY + COUNT), 0);
  assert_int_equal(in16(b->r, PRIMARY), 0); /* no more data */
}

static void read_multiple_has_an_interrupt_a_block(void **state) {
  BENCH;
  uint8_t data[4 * 512];
  assert_int_equal(run(b, 0, 3, 0, 0xc6), DRDY | ERR); /* no power of two */
  assert_int_equal(run(b, 0, 32, 0, 0xc6), DRDY | ERR);
  assert_int_equal(run(b, 0, 4, 0, 0xc6), READY);
  put_command(b, PRIMARY, LBA, 7, 5, 0xc4);
  serve(&b->disk);
  for (unsigned at = 0; at < 7; at += 4) {
    unsigned size = at ? 3 * 512 : 4 * 512;
    acknowledge(b, PRIMARY);
    take_block(b, PRIMARY, data, size);
    assert_medium(data, (5 + at) * 512, size);
  }
  assert_int_equal(status(b, PRIMARY), READY);
  assert_int_equal(run(b, 0, 0, 0, 0xc6), READY); /* off */
  assert_int_equal(run(b, LBA, 1, 0, 0xc4), DRDY | ERR);
}

static void a_read_larger_than_the_buffer_goes_on(void **state) {
  BENCH;
  uint8_t data[512];
  put_command(b, PRIMARY, LBA, 2, 0, 0x10);
  acknowledge(b, PRIMARY);
  put_command(b, PRIMARY, LBA, 0, 0, 0x24); /* 48 bits: 512 sectors */
  for (unsigned i = 0; i < 512; i++) {
    serve(&b->disk);
    acknowledge(b, PRIMARY);
    take_block(b, PRIMARY, data, 512);
    assert_medium(data, (uint64_t)i * 512, 512);
  }
  assert_int_equal(status(b, PRIMARY), READY);
  assert_int_equal(b->disk.reads, 2);
}

static void pio_writes_reach_the_medium_before_they_are_done(void **state) {
  BENCH;
  uint8_t data[2][512];
  for (unsigned i = 0; i < 1024; i++) data[i / 512][i % 512] = (uint8_t)(i * 3);
  put_command(b, PRIMARY, LBA, 2, 9, 0x30);
  assert_int_equal(interrupt(b), -1); /* none before the first block */
  give_block(b, PRIMARY, data[0], 512);
  acknowledge(b, PRIMARY);
  give_block(b, PRIMARY, data[1], 512);
  assert_int_equal(status(b, PRIMARY) & (BSY | DRQ), BSY);
  assert_int_equal(interrupt(b), -1);
  serve(&b->disk);
  assert_int_equal(acknowledge(b, PRIMARY), READY);
  assert_memory_equal(b->disk.bytes + 9 * 512, data, 1024);
  assert_int_equal(b->disk.durable, 0);
}

static void without_a_write_cache_writes_are_durable(void **state) {
  BENCH;
  uint8_t data[512];
  identify(b, data);
  assert_int_equal(word(data, 85) & 0x20, 0x20);
  assert_int_equal(set_feature(b, 0x82, 0), READY);
  assert_int_equal(b->disk.flushes, 1); /* what was in it */
  put_command(b, PRIMARY, LBA, 1, 9, 0x30);
  give_block(b, PRIMARY, data, 512);
  serve(&b->disk);
  assert_int_equal(acknowledge(b, PRIMARY), READY);
  assert_int_equal(b->disk.durable, 1);
  identify(b, data);
  assert_int_equal(word(data, 85) & 0x20, 0);
  assert_int_equal(set_feature(b, 0x02, 0), READY);
  assert_int_equal(run(b, 0, 0, 0, 0xe7), READY);
  assert_int_equal(run(b, 0, 0, 0, 0xea), READY);
  assert_int_equal(b->disk.flushes, 3);
  b->disk.backend.write_cache = false; /* cache=writethrough */
  pc_reset(b->r->pc);
  pic_setup(b->r, 1 << 14 | 1 << 15 | 1 << 2);
  identify(b, data);
  assert_int_equal(word(data, 85) & 0x20, 0);
}

/* ---- addresses ---- */

static void chs_counts_as_the_guest_has_set_it(void **state) {
  BENCH;
  uint8_t data[512];
  out8(b->r, PRIMARY + DEVICE, 7); /* 8 heads, 17 sectors */
  put_command(b, PRIMARY, 7, 17, 0, 0x91);
  assert_int_equal(acknowledge(b, PRIMARY), READY);
  put_command(b, PRIMARY, 5, 1, 17 | 3 << 8, 0x20); /* cylinder 3, head 5, sector 17 */
  serve(&b->disk);
  acknowledge(b, PRIMARY);
  take_block(b, PRIMARY, data, 512);
  assert_medium(data, (uint64_t)((3 * 8 + 5) * 17 + 16) * 512, 512);
  assert_int_equal(in8(b->r, PRIMARY + LOW), 1); /* the next one: head 6, sector 1 */
  assert_int_equal(in8(b->r, PRIMARY + DEVICE), 0xa6);
  identify(b, data);
  assert_int_equal(word(data, 54), (64 << 20) / 512 / (8 * 17));
  assert_int_equal(word(data, 55), 8);
  assert_int_equal(word(data, 56), 17);
  assert_int_equal(word(data, 3), 16);                  /* the factory's */
  assert_int_equal(run(b, 5, 1, 18, 0x20), DRDY | ERR); /* no such sector, no such head */
  assert_int_equal(run(b, 5, 1, 0, 0x20), DRDY | ERR);
  assert_int_equal(run(b, 8, 1, 1, 0x20), DRDY | ERR);
  assert_int_equal(run(b, 0, 0, 0, 0x91), DRDY | ERR);
}

static void forty_eight_bits(void **state) {
  struct bench *b = calloc(1, sizeof *b);
  uint8_t data[512];
  uint64_t sector = 0x123456789;
  bench_make(b, UINT64_C(3) << 40, 0);
  out8(b->r, PRIMARY + COUNT, 0), out8(b->r, PRIMARY + LOW, sector >> 24 & 0xff);
  out8(b->r, PRIMARY + MID, (uint8_t)(sector >> 32)), out8(b->r, PRIMARY + HIGH, 0);
  put_command(b, PRIMARY, LBA, 1, sector & 0xffffff, 0x24);
  serve(&b->disk);
  acknowledge(b, PRIMARY);
  take_block(b, PRIMARY, data, 512);
  assert_medium(data, sector * 512, 512);
  out8(b->r, PRIMARY + CONTROL, 0x80); /* the upper halves */
  assert_int_equal(in8(b->r, PRIMARY + LOW), 0x23);
  assert_int_equal(in8(b->r, PRIMARY + MID), 0x01);
  identify(b, data);
  assert_int_equal(word(data, 60) | (uint32_t)word(data, 61) << 16, 0xfffffff);
  assert_int_equal(word(data, 102), 1);
  assert_int_equal(run(b, LBA, 0, 0, 0xf8), READY);
  assert_int_equal(address_registers(b), 0xfffffff);
  assert_int_equal(run(b, LBA, 0, 0, 0x27), READY);
  assert_int_equal(in8(b->r, PRIMARY + LOW), 0xff);
  rig_destroy(b->r);
  free(b);
}

static void beyond_the_end_is_aborted(void **state) {
  BENCH;
  uint32_t end = (64 << 20) / 512;
  assert_int_equal(run(b, LBA, 1, end, 0x20), DRDY | ERR);
  assert_int_equal(run(b, LBA, 2, end - 1, 0x20), DRDY | ERR);
  assert_int_equal(run(b, LBA, 2, end - 1, 0xca), DRDY | ERR);
  assert_int_equal(in8(b->r, PRIMARY + ERROR), ABRT);
  assert_int_equal(run(b, LBA, 1, end, 0x70), DRDY | ERR); /* SEEK */
  assert_int_equal(run(b, LBA, 1, end - 1, 0x70), READY);
  assert_int_equal(run(b, LBA, 1, end - 1, 0x40), READY); /* VERIFY */
  assert_int_equal(b->disk.reads, 1);
}

/* ---- DMA ---- */

static void dma_reads_into_pieces(void **state) {
  BENCH;
  put_descriptor(b, 0x1000, 0, 0x20000, 0x400, false);
  put_descriptor(b, 0x1000, 1, 0x30002, 0x2, false);
  put_descriptor(b, 0x1000, 2, 0x40000, 0x3fe, true);
  put_command(b, PRIMARY, LBA, 4, 77, 0xc8);
  assert_int_equal(b->disk.waits, 0); /* it waits for the bus master */
  start_bus_master(b, PRIMARY, 0x1000, true);
  assert_int_equal(in8(b->r, BUS_MASTER + BM_STATUS), BM_ACTIVE);
  serve(&b->disk);
  assert_int_equal(acknowledge(b, PRIMARY), READY);
  assert_int_equal(stop_bus_master(b, PRIMARY), BM_INTERRUPT);
  const uint8_t *low = b->r->mmu.low;
  assert_medium(low + 0x20000, 77 * 512, 0x400);
  assert_medium(low + 0x30002, 77 * 512 + 0x400, 2);
  assert_medium(low + 0x40000, 77 * 512 + 0x402, 0x3fe);
  assert_int_equal(low[0x30004], 0);
}

/* READ or WRITE DMA EXT of 1024 sectors from or to 64 KiB, in pieces of 64 KiB but for the last, which is at `last`. */
static void begin_large(struct bench *b, uint32_t sector, uint32_t last, bool read) {
  for (unsigned i = 0; i < 8; i++) put_descriptor(b, 0x1000, i, i == 7 ? last : 0x10000 + 0x10000 * i, 0, i == 7);
  put_command(b, PRIMARY, LBA, 4, sector, 0x10); /* the count's upper half; RECALIBRATE does nothing */
  acknowledge(b, PRIMARY);
  out8(b->r, PRIMARY + LOW, 0), out8(b->r, PRIMARY + MID, 0), out8(b->r, PRIMARY + HIGH, 0);
  put_command(b, PRIMARY, LBA, 0, sector, read ? 0x25 : 0x35);
  start_bus_master(b, PRIMARY, 0x1000, read);
}
static void begin_large_read(struct bench *b, uint32_t sector, uint32_t last) { begin_large(b, sector, last, true); }

/* Two parts of 256 KiB, between which the guest runs; the end of each is told later, as of any request. */
static void dma_reads_straight_to_memory_what_needs_no_waiting(void **state) {
  BENCH;
  b->disk.cached = true;
  begin_large_read(b, 3, 0x80000);
  assert_medium(b->r->mmu.low + 0x10000, 3 * 512, 0x40000);
  assert_int_equal(b->disk.at_once, 1);
  assert_int_equal(b->r->mmu.low[0x50000], 0);
  assert_int_equal(interrupt(b), -1);
  assert_true(serve_one(&b->disk));
  assert_int_equal(interrupt(b), -1);
  serve(&b->disk);
  assert_int_equal(acknowledge(b, PRIMARY), READY);
  assert_int_equal(stop_bus_master(b, PRIMARY), BM_INTERRUPT);
  assert_medium(b->r->mmu.low + 0x10000, 3 * 512, 0x80000);
  assert_int_equal(b->disk.at_once, 2);
  assert_int_equal(b->disk.largest, 0);
  assert_int_equal(address_registers(b) & 0xffffff, 3 + 1024);
}

/* The host has the first half only; the second part's last piece is no plain memory. */
static void a_read_that_cannot_go_straight_goes_through_the_buffer(void **state) {
  BENCH;
  b->disk.cached = true;
  begin_large_read(b, 3, 0xc0000);
  b->disk.cached = false;
  serve(&b->disk);
  assert_int_equal(acknowledge(b, PRIMARY), READY);
  assert_medium(b->r->mmu.low + 0x10000, 3 * 512, 0x70000);
  assert_medium(b->r->mmu.low + 0xc0000, 3 * 512 + 0x70000, 0x10000);
  b->disk.cached = true;
  begin_large_read(b, 1027, 0xc0000);
  serve(&b->disk);
  assert_int_equal(acknowledge(b, PRIMARY), READY);
  assert_medium(b->r->mmu.low + 0x10000, 1027 * 512, 0x70000);
  assert_medium(b->r->mmu.low + 0xc0000, 1027 * 512 + 0x70000, 0x10000);
  assert_int_equal(b->disk.at_once, 2);
}

/* Reset, and a table that is too short, while its end is still to be told. */
static void a_read_that_is_there_can_be_given_up(void **state) {
  BENCH;
  b->disk.cached = true;
  begin_large_read(b, 3, 0x80000);
  out8(b->r, PRIMARY + CONTROL, 4), out8(b->r, PRIMARY + CONTROL, 0);
  serve(&b->disk);
  assert_int_equal(status(b, PRIMARY), READY);
  assert_int_equal(b->disk.at_once, 1);
  stop_bus_master(b, PRIMARY);
  put_descriptor(b, 0x1000, 0, 0x20000, 0x200, true);
  put_command(b, PRIMARY, LBA, 2, 5, 0xc8);
  start_bus_master(b, PRIMARY, 0x1000, true);
  serve(&b->disk);
  assert_int_equal(status(b, PRIMARY), READY);
  assert_int_equal(in8(b->r, BUS_MASTER + BM_STATUS) & BM_ACTIVE, 0);
  assert_medium(b->r->mmu.low + 0x20000, 5 * 512, 512);
}

static void bus_master_that_starts_before_the_command(void **state) {
  BENCH;
  put_descriptor(b, 0x1000, 0, 0x20000, 0, true); /* 64 KiB */
  start_bus_master(b, PRIMARY, 0x1000, true);
  put_command(b, PRIMARY, LBA, 128, 77, 0xc8);
  serve(&b->disk);
  assert_int_equal(acknowledge(b, PRIMARY), READY);
  assert_int_equal(stop_bus_master(b, PRIMARY), BM_INTERRUPT);
  assert_medium(b->r->mmu.low + 0x20000, 77 * 512, 0x10000);
  assert_int_equal(address_registers(b), 77 + 128);
}

static void dma_writes_from_pieces(void **state) {
  BENCH;
  for (unsigned i = 0; i < 0x400; i++) b->r->mmu.low[0x20000 + i] = (uint8_t)(i * 7);
  put_descriptor(b, 0x1000, 0, 0x20000, 0x100, false);
  put_descriptor(b, 0x1000, 1, 0x20100, 0x300, true);
  put_command(b, PRIMARY, LBA, 2, 5, 0xca);
  start_bus_master(b, PRIMARY, 0x1000, false);
  serve(&b->disk);
  assert_int_equal(acknowledge(b, PRIMARY), READY);
  assert_int_equal(stop_bus_master(b, PRIMARY), BM_INTERRUPT);
  assert_memory_equal(b->disk.bytes + 5 * 512, b->r->mmu.low + 0x20000, 0x400);
}

static void begin_large_write(struct bench *b, uint32_t sector) {
  for (unsigned i = 0; i < 0x80000; i++) b->r->mmu.low[0x10000 + i] = (uint8_t)(i * 11 + (i >> 9));
  begin_large(b, sector, 0x80000, false);
}

static void a_large_write_is_one_request_from_the_guests_memory(void **state) {
  BENCH;
  begin_large_write(b, 3);
  assert_int_equal(b->disk.waiting[0]->piece_count, 1);
  assert_ptr_equal(b->disk.waiting[0]->pieces[0].bytes, b->r->mmu.low + 0x10000);
  serve(&b->disk);
  assert_int_equal(acknowledge(b, PRIMARY), READY);
  assert_int_equal(stop_bus_master(b, PRIMARY), BM_INTERRUPT);
  assert_int_equal(b->disk.writes, 1);
  assert_memory_equal(b->disk.bytes + 3 * 512, b->r->mmu.low + 0x10000, 0x80000);
}

static void a_bad_sector_of_a_large_write_is_named(void **state) {
  BENCH;
  b->disk.error = ENOSPC, b->disk.bad = (3 + 700) * 512, b->disk.bad_end = b->disk.bad + 1;
  begin_large_write(b, 3);
  serve(&b->disk);
  assert_int_equal(acknowledge(b, PRIMARY), DRDY | ERR);
  assert_int_equal(address_registers(b) & 0xffffff, 3 + 700);
  assert_memory_equal(b->disk.bytes + 3 * 512, b->r->mmu.low + 0x10000, 700 * 512);
  assert_int_equal(b->disk.bytes[703 * 512], medium_byte(703 * 512));
  assert_int_equal(b->disk.writes, 1 + 701);
}

/* ROM and windows may lie over what is between 640 KiB and 1 MiB: it is copied as the bus sees it. So is what has too many
 * pieces. */
static void what_is_not_plain_memory_is_copied(void **state) {
  BENCH;
  for (unsigned i = 0; i < 0x400; i++) b->r->mmu.low[0xc0000 + i] = (uint8_t)(i * 7);
  put_descriptor(b, 0x1000, 0, 0x20000, 0x100, false);
  put_descriptor(b, 0x1000, 1, 0xc0000, 0x300, true);
  put_command(b, PRIMARY, LBA, 2, 5, 0xca);
  start_bus_master(b, PRIMARY, 0x1000, false);
  assert_int_equal(b->disk.waiting[0]->piece_count, 1);
  serve(&b->disk);
  assert_int_equal(acknowledge(b, PRIMARY), READY);
  assert_memory_equal(b->disk.bytes + 5 * 512 + 0x100, b->r->mmu.low + 0xc0000, 0x300);
  for (unsigned i = 0; i < 1024; i++) put_descriptor(b, 0x4000, i, 0x20000 + 4 * i, 2, i == 1023);
  put_command(b, PRIMARY, LBA, 4, 5, 0xca);
  start_bus_master(b, PRIMARY, 0x4000, false);
  assert_int_equal(b->disk.waiting[0]->piece_count, 1);
  serve(&b->disk);
  assert_int_equal(acknowledge(b, PRIMARY), READY);
  for (unsigned i = 0; i < 2048; i++) assert_int_equal(b->disk.bytes[5 * 512 + i], b->r->mmu.low[0x20000 + i / 2 * 4 + i % 2]);
}

/* Data sheet 2.7.2: what status says of tables that are longer and shorter than the command. */
static void tables_that_do_not_fit(void **state) {
  BENCH;
  put_descriptor(b, 0x1000, 0, 0x20000, 0x1000, true);
  put_command(b, PRIMARY, LBA, 2, 5, 0xc8);
  start_bus_master(b, PRIMARY, 0x1000, true);
  serve(&b->disk);
  assert_int_equal(acknowledge(b, PRIMARY), READY);
  assert_int_equal(stop_bus_master(b, PRIMARY), BM_INTERRUPT | BM_ACTIVE);
  for (unsigned write = 0; write < 2; write++) {
    put_descriptor(b, 0x1000, 0, 0x20000, 0x200, true);
    put_command(b, PRIMARY, LBA, 2, 5, write ? 0xca : 0xc8);
    start_bus_master(b, PRIMARY, 0x1000, !write);
    serve(&b->disk);
    assert_int_equal(interrupt(b), -1);
    assert_int_equal(stop_bus_master(b, PRIMARY), 0);
    assert_int_equal(status(b, PRIMARY), READY);
  }
  assert_int_equal(b->disk.writes, 0);
}

static void a_table_without_an_end_ends(void **state) {
  BENCH;
  for (unsigned i = 0; i < 0x10000 / 8; i++) put_descriptor(b, 0x10000, i, 0x80000, 2, false);
  put_descriptor(b, 0x20000, 0, 0x80000, 2, false); /* would be the next */
  put_command(b, PRIMARY, LBA, 33, 5, 0xc8);        /* 16.5 KiB: more than 64 KiB of descriptors of two bytes */
  start_bus_master(b, PRIMARY, 0x10000, true);
  serve(&b->disk);
  assert_int_equal(stop_bus_master(b, PRIMARY), 0);
  assert_int_equal(status(b, PRIMARY), READY);
}

static void without_bus_mastering_nothing_is_touched(void **state) {
  BENCH;
  out32(b->r, 0xcf8, 0x80000904);
  out16(b->r, 0xcfc, 0x0101);
  put_descriptor(b, 0x1000, 0, 0x20000, 0x200, true);
  put_command(b, PRIMARY, LBA, 1, 5, 0xc8);
  start_bus_master(b, PRIMARY, 0x1000, true);
  serve(&b->disk);
  assert_int_equal(stop_bus_master(b, PRIMARY), 0);
  for (unsigned i = 0; i < 512; i++) assert_int_equal(b->r->mmu.low[0x20000 + i], 0);
}

static void a_bus_master_that_is_stopped_moves_nothing_more(void **state) {
  BENCH;
  put_descriptor(b, 0x1000, 0, 0x20000, 0x200, true);
  put_command(b, PRIMARY, LBA, 1, 5, 0xc8);
  start_bus_master(b, PRIMARY, 0x1000, true);
  stop_bus_master(b, PRIMARY);
  serve(&b->disk);
  assert_int_equal(interrupt(b), -1);
  for (unsigned i = 0; i < 512; i++) assert_int_equal(b->r->mmu.low[0x20000 + i], 0);
  start_bus_master(b, PRIMARY, 0x1000, true);
  assert_int_equal(acknowledge(b, PRIMARY), READY);
  assert_medium(b->r->mmu.low + 0x20000, 5 * 512, 512);
}

static void started_twice_while_the_back_end_works(void **state) {
  BENCH;
  put_descriptor(b, 0x1000, 0, 0x20000, 0x200, true);
  put_command(b, PRIMARY, LBA, 1, 5, 0xc8);
  for (unsigned i = 0; i < 3; i++) start_bus_master(b, PRIMARY, 0x1000, true), stop_bus_master(b, PRIMARY);
  start_bus_master(b, PRIMARY, 0x1000, true);
  assert_int_equal(b->disk.waits, 1);
  serve(&b->disk);
  assert_int_equal(acknowledge(b, PRIMARY), READY);
}

/* ---- errors ---- */

static void a_bad_sector_is_named_and_those_before_it_arrive(void **state) {
  BENCH;
  uint8_t data[512];
  b->disk.error = EIO, b->disk.bad = 1002 * 512, b->disk.bad_end = 1003 * 512;
  put_command(b, PRIMARY, LBA, 8, 1000, 0x20);
  for (unsigned i = 0; i < 2; i++) {
    serve(&b->disk);
    assert_int_equal(acknowledge(b, PRIMARY), READY | DRQ);
    take_block(b, PRIMARY, data, 512);
    assert_medium(data, (1000 + i) * 512, 512);
  }
  serve(&b->disk);
  assert_int_equal(acknowledge(b, PRIMARY), DRDY | ERR);
  assert_int_equal(in8(b->r, PRIMARY + ERROR), UNC);
  assert_int_equal(address_registers(b), 1002);
  assert_int_equal(in8(b->r, PRIMARY + COUNT), 6);
  assert_int_equal(run(b, LBA, 8, 1000, 0x40), DRDY | ERR); /* VERIFY finds it too */
  assert_int_equal(address_registers(b), 1002);
}

static void a_bad_sector_by_dma(void **state) {
  BENCH;
  b->disk.error = EIO, b->disk.bad = 1002 * 512, b->disk.bad_end = 1003 * 512;
  for (unsigned write = 0; write < 2; write++) {
    put_descriptor(b, 0x1000, 0, 0x20000, 8 * 512, true);
    put_command(b, PRIMARY, LBA, 8, 1000, write ? 0xca : 0xc8);
    start_bus_master(b, PRIMARY, 0x1000, !write);
    serve(&b->disk);
    assert_int_equal(acknowledge(b, PRIMARY), DRDY | ERR);
    assert_int_equal(in8(b->r, PRIMARY + ERROR), write ? ABRT : UNC);
    assert_int_equal(address_registers(b), 1002);
    assert_int_equal(stop_bus_master(b, PRIMARY), BM_INTERRUPT);
  }
  assert_medium(b->r->mmu.low + 0x20000, 1000 * 512, 1024);
}

static void a_flush_that_fails_is_an_error(void **state) {
  BENCH;
  b->disk.error = EIO;
  assert_int_equal(run(b, 0, 0, 0, 0xe7), DRDY | ERR);
  assert_int_equal(in8(b->r, PRIMARY + ERROR), ABRT);
}

/* ---- interrupts and resets ---- */

static bool requested(struct bench *b) {
  out8(b->r, 0xa0, 0x0a); /* OCW3: read IRR */
  return in8(b->r, 0xa0) & 1 << 6;
}

static void no_interrupt_while_nien(void **state) {
  BENCH;
  out8(b->r, PRIMARY + CONTROL, 2);
  put_command(b, PRIMARY, LBA, 1, 0, 0x40);
  serve(&b->disk);
  assert_int_equal(interrupt(b), -1);
  assert_int_equal(status(b, PRIMARY), READY);
  out8(b->r, PRIMARY + CONTROL, 0);
  assert_int_equal(interrupt(b), -1);
}

static void status_acknowledges_and_its_alternate_does_not(void **state) {
  BENCH;
  out8(b->r, PRIMARY + COMMAND, 0xe5);
  assert_int_equal(status(b, PRIMARY), READY);
  assert_true(requested(b));
  in8(b->r, PRIMARY + STATUS);
  assert_false(requested(b));
  assert_int_equal(in8(b->r, PRIMARY + COUNT), 0xff);
  assert_int_equal(in8(b->r, BUS_MASTER + BM_STATUS) & BM_INTERRUPT, BM_INTERRUPT);
  out8(b->r, BUS_MASTER + BM_STATUS, BM_INTERRUPT);
  assert_int_equal(in8(b->r, BUS_MASTER + BM_STATUS), 0);
}

static void reset_in_the_middle_of_a_request(void **state) {
  BENCH;
  put_descriptor(b, 0x1000, 0, 0x20000, 0x200, true);
  for (unsigned how = 0; how < 3; how++) {
    put_command(b, PRIMARY, LBA, 1, 5, how ? 0xc8 : 0x20);
    if (how) start_bus_master(b, PRIMARY, 0x1000, true);
    if (how < 2) out8(b->r, PRIMARY + CONTROL, 4), out8(b->r, PRIMARY + CONTROL, 0);
    else pc_reset(b->r->pc);
    assert_int_equal(status(b, PRIMARY), BSY);
    out8(b->r, PRIMARY + COMMAND, 0xec); /* not now */
    assert_true(pc_busy(b->r->pc));
    serve(&b->disk);
    assert_false(pc_busy(b->r->pc));
    assert_int_equal(status(b, PRIMARY), READY);
    assert_int_equal(in8(b->r, PRIMARY + ERROR), 1);
    assert_false(requested(b));
    for (unsigned i = 0; i < 512; i++) assert_int_equal(b->r->mmu.low[0x20000 + i], 0);
  }
}

static void reset_that_is_held_while_a_request_ends(void **state) {
  BENCH;
  put_command(b, PRIMARY, LBA, 1, 5, 0x20);
  out8(b->r, PRIMARY + CONTROL, 4);
  serve(&b->disk);
  assert_int_equal(status(b, PRIMARY), BSY);
  out8(b->r, PRIMARY + CONTROL, 0);
  assert_int_equal(status(b, PRIMARY), READY);
}

static void a_busy_drive_takes_no_registers(void **state) {
  BENCH;
  uint8_t data[512];
  put_command(b, PRIMARY, LBA, 1, 5, 0x20);
  out8(b->r, PRIMARY + LOW, 0x77);
  out8(b->r, PRIMARY + COMMAND, 0xec);
  serve(&b->disk);
  out8(b->r, PRIMARY + DEVICE, SLAVE);
  acknowledge(b, PRIMARY);
  take_block(b, PRIMARY, data, 512);
  assert_medium(data, 5 * 512, 512);
}

/* ---- settings ---- */

static void transfer_modes_show_in_identify(void **state) {
  BENCH;
  static const struct {
    uint8_t mode;
    uint16_t words[3];
  } rows[] = {
    {0x22, {0x007, 0x407, 0x03f}}, {0x11, {0x207, 0x007, 0x03f}}, {0x42, {0x007, 0x007, 0x43f}}, {0x0c, {0x007, 0x007, 0x03f}}};
  uint8_t data[512];
  for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
    assert_int_equal(set_feature(b, 3, rows[i].mode), READY);
    identify(b, data);
    assert_int_equal(word(data, 62), rows[i].words[0]);
    assert_int_equal(word(data, 63), rows[i].words[1]);
    assert_int_equal(word(data, 88), rows[i].words[2]);
  }
  assert_int_equal(set_feature(b, 3, 0x47), DRDY | ERR);
  assert_int_equal(set_feature(b, 3, 0x80), DRDY | ERR);
}

static void smart_is_well(void **state) {
  BENCH;
  uint8_t data[512], sum = 0;
  for (unsigned i = 0; i < 2; i++) {
    out8(b->r, PRIMARY + FEATURE, i ? 0xd1 : 0xd0);
    put_command(b, PRIMARY, 0, 1, 0xc24f00, 0xb0);
    acknowledge(b, PRIMARY);
    take_block(b, PRIMARY, data, 512);
    sum = 0;
    for (unsigned n = 0; n < 512; n++) sum += data[n];
    assert_int_equal(sum, 0);
    assert_int_equal(data[2], 1);
  }
  out8(b->r, PRIMARY + FEATURE, 0xda);
  assert_int_equal(run(b, 0, 0, 0xc24f00, 0xb0), READY);
  assert_int_equal(address_registers(b), 0xc24f00); /* no threshold is exceeded */
  assert_int_equal(run(b, 0, 0, 0, 0xb0), DRDY | ERR);
  out8(b->r, PRIMARY + FEATURE, 0xd9);
  assert_int_equal(run(b, 0, 0, 0xc24f00, 0xb0), READY);
  out8(b->r, PRIMARY + FEATURE, 0xda);
  assert_int_equal(run(b, 0, 0, 0xc24f00, 0xb0), DRDY | ERR);
}

/* ---- saved states ---- */

static void saved_between_two_words_of_a_sector(void **state) {
  BENCH;
  struct bench *copy = NULL;
  struct state_buffer saved = {0};
  char text[200];
  bench_setup((void **)&copy);
  put_command(b, PRIMARY, LBA, 3, 1000, 0x20);
  serve(&b->disk);
  acknowledge(b, PRIMARY);
  for (unsigned i = 0; i < 100; i++) in16(b->r, PRIMARY);
  assert_int_equal(state_save(b->r->pc, &saved), 0);
  assert_null(state_load(copy->r->pc, saved.bytes, saved.size));
  if (!state_equal(b->r->pc, copy->r->pc, text, sizeof text)) fail_msg("%s", text);
  for (unsigned i = 100; i < 3 * 256; i++) {
    uint16_t x = in16(b->r, PRIMARY), y = in16(copy->r, PRIMARY);
    assert_int_equal(x, y);
    assert_int_equal(y & 0xff, medium_byte(1000 * 512 + 2 * i));
  }
  if (!state_equal(b->r->pc, copy->r->pc, text, sizeof text)) fail_msg("%s", text);
  free(saved.bytes);
  bench_teardown((void **)&copy);
}

/* ---- what no driver does ---- */

static uint64_t next_random(uint64_t *x) {
  *x ^= *x << 13;
  *x ^= *x >> 7;
  *x ^= *x << 17;
  return *x * 0x2545f4914f6cdd1dull;
}

/* A command that there is, with anything behind it; now and then what closes the tray. */
static void random_packet(struct bench *b, uint16_t base, uint64_t x, uint64_t y) {
  static const uint8_t codes[] = {0x28, 0xa8, 0xbe, 0x43, 0x5a, 0x46, 0x4a, 0x1b, 0xad, 0x12};
  bool close = x & 8;
  out8(b->r, base + FEATURE, x >> 4 & 1);
  out8(b->r, base + HIGH, (uint8_t)y);
  out8(b->r, base + COMMAND, 0xa0);
  io_bus_write(b->r->io, base, 4, close ? 0x1b : (uint32_t)(y & (x & 2 ? 0xffffff00 : 0)) | codes[(y >> 32) % sizeof codes]);
  io_bus_write(b->r->io, base, 4, close ? 3 : (uint32_t)(x >> 32) & (x & 4 ? ~0u : 0x0f00));
  io_bus_write(b->r->io, base, 4, close ? 0 : (uint32_t)(y >> 16) & (x & 4 ? ~0u : 0xf81f0f));
}

/* What gets channel, function and machine out of anything. */
static void random_reset(struct bench *b, uint16_t base, uint64_t x, uint64_t y) {
  out8(b->r, base + CONTROL, x & 0x100 ? 4 : (uint8_t)y);
  out8(b->r, base + CONTROL, 0);
  if (!(x & 0xff0000)) pc_reset(b->r->pc);
  out32(b->r, 0xcf8, 0x80000904), out16(b->r, 0xcfc, 0x0105);
  out32(b->r, 0xcf8, 0x80000920), out32(b->r, 0xcfc, BUS_MASTER);
}

/* Ports of both channels and of the bus master, tables that are anything, requests that end at any time and in any way. */
static void random_step(struct bench *b, uint64_t *seed) {
  static const uint8_t codes[] = {0x20, 0x24, 0x25, 0x29, 0x30, 0x34, 0x35, 0x39, 0x40, 0xa0, 0xa0, 0xc4,
                                  0xc5, 0xc8, 0xca, 0x91, 0xec, 0xa1, 0xef, 0xb0, 0xe7, 0xc6, 0x08, 0x90};
  uint64_t x = next_random(seed), y = next_random(seed);
  uint16_t base = x & 1 ? PRIMARY : SECONDARY;
  unsigned size = 1u << (x >> 8) % 3;
  switch (x >> 56 & 15) {
  case 0 ... 1: io_bus_write(b->r->io, base + (x >> 16 & 7), size, (uint32_t)y); break;
  case 2 ... 3: out8(b->r, base + (x >> 16 & 3) + LOW, (uint8_t)(y & (x & 2 ? 0xff : 1))); break; /* more often what there is */
  case 4: out8(b->r, base + COMMAND, codes[y % sizeof codes]); break;
  case 5:
    for (unsigned i = 0; i < (x >> 20 & 511); i++) io_bus_write(b->r->io, base, size, (uint32_t)y);
    break;
  case 6 ... 7:
    for (unsigned i = 0; i < (x >> 20 & 511); i++) io_bus_read(b->r->io, base, size);
    break;
  case 8: io_bus_read(b->r->io, base + (x >> 16 & 7), size); break;
  case 9: io_bus_write(b->r->io, BUS_MASTER + (x >> 16 & 15), size, (uint32_t)y & (x & 2 ? 0xfffff : ~0u)); break;
  case 10: out8(b->r, bus_master(base), x >> 16 & 9); break;
  case 11: put_descriptor(b, y & 0xffff8, 0, (uint32_t)(y >> 32) & (x & 2 ? 0xfffff : ~0u), (uint32_t)x >> 12, x & 4); break;
  case 12: serve_one(x & 2 ? &b->disk : &b->cd); break;
  case 13: random_packet(b, base, x, y); break;
  case 14: b->disk.error = b->cd.error = x & 0x700 ? 0 : EIO, b->disk.bad_end = b->cd.bad_end = y & 0x7ffffff; break;
  default: random_reset(b, base, x, y); break;
  }
}

static uint64_t number_of(const char *name, uint64_t usual) {
  const char *text = getenv(name);
  return text ? strtoull(text, NULL, 0) : usual;
}

/* It is the same again when it is saved once more: with no command so far, and with a block of no sectors. */
static void a_state_is_the_same_when_it_was_loaded(void **state) {
  struct bench *b = *state;
  for (unsigned i = 0; i < 2; i++) {
    struct state_buffer first = {0}, second = {0};
    assert_int_equal(state_save(b->r->pc, &first), 0);
    assert_null(state_load(b->r->pc, first.bytes, first.size));
    assert_int_equal(state_save(b->r->pc, &second), 0);
    assert_int_equal(first.size, second.size);
    assert_memory_equal(first.bytes, second.bytes, first.size);
    free(first.bytes), free(second.bytes);
    put_command(b, PRIMARY, 0, 0, 0, 0xc6); /* SET MULTIPLE: none */
    assert_int_equal(acknowledge(b, PRIMARY) & ERR, 0);
    put_command(b, PRIMARY, LBA, 1, 0, 0xc4);
    assert_int_equal(acknowledge(b, PRIMARY) & ERR, ERR);
  }
}

/* More of them: BT_TEST_SEED=N BT_TEST_CASES=N. */
static void random_accesses_do_no_harm(void **state) {
  BENCH;
  uint64_t seed = number_of("BT_TEST_SEED", 0x1234567), cases = number_of("BT_TEST_CASES", 400000);
  for (uint64_t i = 0; i < cases; i++) {
    b->disk.cached = b->cd.cached = i & 4096;
    random_step(b, &seed);
  }
  assert_true(b->disk.at_once && b->disk.reads > 500 && b->disk.writes > 100 && b->cd.reads > 100);
  serve(&b->disk), serve(&b->cd);
  out8(b->r, PRIMARY + CONTROL, 4), out8(b->r, PRIMARY + CONTROL, 0);
  serve(&b->disk);
  assert_int_equal(status(b, PRIMARY), READY); /* still alive */
}

/* Every byte of a drive's state random: loads, and does no harm afterwards. */
static void random_states_do_no_harm(void **state) {
  BENCH;
  uint64_t seed = 99;
  unsigned count;
  for (unsigned round = 0; round < 200; round++) {
    struct state_buffer saved = {0};
    const struct device *d = pc_devices(b->r->pc, &count);
    serve(&b->disk), serve(&b->cd);
    for (unsigned i = 0; i < count; i++)
      for (const struct field *f = d[i].fields; f->name && !strncmp(d[i].name, "ide-", 4); f++)
        for (size_t n = 0; next_random(&seed) & 1 && f->count < 32 && n < (size_t)f->size * f->count; n++)
          ((uint8_t *)d[i].state)[f->offset + n] = (uint8_t)next_random(&seed);
    assert_int_equal(state_save(b->r->pc, &saved), 0);
    assert_null(state_load(b->r->pc, saved.bytes, saved.size));
    free(saved.bytes);
    b->disk.lenient = b->cd.lenient = true;
    for (unsigned i = 0; i < 2000; i++) random_step(b, &seed);
  }
}

/* ---- making ---- */

static const char *try(struct medium *m, struct ide_hd_properties *p, unsigned count) {
  struct device_config devices[5];
  const char *error = NULL;
  p->drive = m ? &m->backend : NULL;
  for (unsigned i = 0; i < count; i++) devices[i] = (struct device_config){&ide_hd_type, p};
  struct rig *r = rig_create_with(false, devices, count, &error);
  if (r) rig_destroy(r);
  return r ? NULL : error;
}

static void what_cannot_be_is_said(void **state) {
  struct medium *m = calloc(1, sizeof *m);
  const struct ide_hd_properties plain = {NULL, NULL, NULL, "A", "1", 0, ~0u, ~0u, ~0u, ~0u, ~0u, 512, 512};
  struct ide_hd_properties p = plain;
  medium_init(m, 1 << 20);
  assert_null(try(m, &p, 4));
  assert_non_null(strstr(try(m, &p, 5), "two units"));
  assert_non_null(strstr(try(NULL, &p, 1), "drive="));
  p.bus = "ide.1", p.unit = 1;
  assert_null(try(m, &p, 1));
  assert_non_null(strstr(try(m, &p, 2), "there already"));
  p.bus = "ide.2";
  assert_non_null(strstr(ide_hd_type.check(&p), "ide.0 or ide.1"));
  p = plain, m->backend.read_only = true;
  assert_non_null(strstr(try(m, &p, 1), "read-only"));
  m->backend.read_only = false, m->backend.size = 511;
  assert_non_null(strstr(try(m, &p, 1), "no sector"));
  p.serial = "123456789012345678901";
  assert_non_null(strstr(ide_hd_type.check(&p), "20 letters"));
  p = plain, p.cylinders = 5;
  assert_non_null(strstr(ide_hd_type.check(&p), "together"));
  free(m);
}

/* By its partitions, if there is a first sector; what its user says counts more. */
static void geometry_of_the_partitions(void **state) {
  struct bench *b = calloc(1, sizeof *b);
  uint8_t data[512], mbr[512] = {[510] = 0x55, 0xaa};
  mbr[446 + 5] = 3, mbr[446 + 6] = 17, mbr[446 + 12] = 1;
  for (unsigned said = 0; said < 2; said++) {
    const char *error = NULL;
    bench_make(b, 20 << 20, 0);
    rig_destroy(b->r);
    b->disk.backend.first_sector = mbr;
    if (said) b->disk.backend.geometry = (struct block_geometry){40, 16, 63};
    b->r = rig_create_with(false, b->devices, 2, &error);
    pic_setup(b->r, 1 << 14 | 1 << 15 | 1 << 2);
    identify(b, data);
    assert_int_equal(word(data, 1), said ? 40 : 40960 / (4 * 17));
    assert_int_equal(word(data, 3), said ? 16 : 4);
    assert_int_equal(word(data, 6), said ? 63 : 17);
    rig_destroy(b->r);
  }
  free(b);
}

/* What the BIOS reads: QEMU's numbers for the same disks. */
static void translation_reaches_cmos(void **state) {
  struct bench *b = calloc(1, sizeof *b);
  uint8_t mbr[512] = {[510] = 0x55, 0xaa};
  mbr[446 + 5] = 254, mbr[446 + 6] = 63, mbr[446 + 12] = 1;
  for (unsigned large = 0; large < 2; large++) {
    const char *error = NULL;
    bench_make(b, 900 << 20, 0);
    rig_destroy(b->r);
    b->disk.backend.first_sector = large ? mbr : NULL;
    b->r = rig_create_with(false, b->devices, 2, &error);
    out8(b->r, 0x70, 0x39);
    assert_int_equal(in8(b->r, 0x71), large ? IDE_TRANSLATION_LARGE : IDE_TRANSLATION_LBA);
    out8(b->r, 0x70, 0x1b);
    assert_int_equal(in8(b->r, 0x71), 1828 & 0xff);
    out8(b->r, 0x70, 0x12);
    assert_int_equal(in8(b->r, 0x71), 0xf0);
    rig_destroy(b->r);
  }
  free(b);
}

/* As QEMU 7.2 guesses: `info qtree` shows cyls, heads and secs of each. */
static void geometry_is_guessed_as_in_qemu(void **state) {
  static const struct {
    uint64_t sectors;
    struct ide_geometry g;
  } rows[] = {
    {1, {2, 16, 63, IDE_TRANSLATION_NONE}},
    {20480, {20, 16, 63, IDE_TRANSLATION_NONE}},
    {1032192, {1024, 16, 63, IDE_TRANSLATION_NONE}},
    {1033200, {1025, 16, 63, IDE_TRANSLATION_LBA}},
    {UINT64_C(1) << 32, {16383, 16, 63, IDE_TRANSLATION_LBA}},
  };
  for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct ide_geometry g = ide_guess_geometry(rows[i].sectors, NULL);
    assert_memory_equal(&g, &rows[i].g, sizeof g);
  }
  uint8_t mbr[512] = {[510] = 0x55, 0xaa};
  mbr[446 + 5] = 3, mbr[446 + 6] = 17 | 0xc0, mbr[446 + 12] = 1; /* ends at head 3, sector 17 */
  struct ide_geometry g = ide_guess_geometry(40000, mbr);
  assert_int_equal(g.cylinders, 40000 / 68);
  assert_int_equal(g.heads, 4);
  assert_int_equal(g.sectors, 17);
  mbr[446 + 5] = 254, mbr[446 + 6] = 63; /* a BIOS's, translated */
  g = ide_guess_geometry(2000000, mbr);
  assert_int_equal(g.heads, 16);
  assert_int_equal(g.translation, IDE_TRANSLATION_LARGE);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, bench_setup, bench_teardown)
  const struct CMUnitTest tests[] = {
    TEST(identify_tells_size_names_and_geometry),
    TEST(absent_units_and_empty_channels),
    TEST(software_reset_shows_signatures),
    TEST(diagnostics_are_both_units_and_end_at_unit_0),
    TEST(what_it_does_not_know_is_aborted),
    TEST(pio_reads_have_an_interrupt_a_sector),
    TEST(read_multiple_has_an_interrupt_a_block),
    TEST(a_read_larger_than_the_buffer_goes_on),
    TEST(pio_writes_reach_the_medium_before_they_are_done),
    TEST(without_a_write_cache_writes_are_durable),
    TEST(chs_counts_as_the_guest_has_set_it),
    cmocka_unit_test(forty_eight_bits),
    TEST(beyond_the_end_is_aborted),
    TEST(dma_reads_into_pieces),
    TEST(dma_reads_straight_to_memory_what_needs_no_waiting),
    TEST(a_read_that_cannot_go_straight_goes_through_the_buffer),
    TEST(a_read_that_is_there_can_be_given_up),
    TEST(bus_master_that_starts_before_the_command),
    TEST(dma_writes_from_pieces),
    TEST(a_large_write_is_one_request_from_the_guests_memory),
    TEST(a_bad_sector_of_a_large_write_is_named),
    TEST(what_is_not_plain_memory_is_copied),
    TEST(tables_that_do_not_fit),
    TEST(a_table_without_an_end_ends),
    TEST(without_bus_mastering_nothing_is_touched),
    TEST(a_bus_master_that_is_stopped_moves_nothing_more),
    TEST(started_twice_while_the_back_end_works),
    TEST(a_bad_sector_is_named_and_those_before_it_arrive),
    TEST(a_bad_sector_by_dma),
    TEST(a_flush_that_fails_is_an_error),
    TEST(no_interrupt_while_nien),
    TEST(status_acknowledges_and_its_alternate_does_not),
    TEST(reset_in_the_middle_of_a_request),
    TEST(reset_that_is_held_while_a_request_ends),
    TEST(a_busy_drive_takes_no_registers),
    TEST(transfer_modes_show_in_identify),
    TEST(smart_is_well),
    TEST(saved_between_two_words_of_a_sector),
    TEST(a_state_is_the_same_when_it_was_loaded),
    TEST(random_accesses_do_no_harm),
    TEST(random_states_do_no_harm),
    cmocka_unit_test(what_cannot_be_is_said),
    cmocka_unit_test(geometry_is_guessed_as_in_qemu),
    cmocka_unit_test(geometry_of_the_partitions),
    cmocka_unit_test(translation_reaches_cmos),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
