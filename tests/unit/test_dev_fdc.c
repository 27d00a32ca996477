// The floppy controller in a PC: commands by DMA and without, every format of media, errors, media that change, saved states.
// Run only this: build/unit/test_dev_fdc
// link: bt_devices
// timeout: 120
#include "test_dev_rig.h"
#include <errno.h>
#include <stdio.h>
#include "devices/storage/fdc.h"

enum { SRA = 0x3f0, SRB, DOR, TDR, MSR, FIFO, DIR = 0x3f7, CCR = 0x3f7 };
enum { RQM = 0x80, DIO = 0x40, NDM = 0x20, BUSY = 0x10 };
enum { ON = 0x1c, RESET = 0x18 /* of DOR: drive 0, its motor, gate open */ };
enum { READ = 0xe6, READ_ONE = 0x66, WRITE = 0xc5, WRITE_ONE = 0x45, BUFFER = 0x20000, SECTOR = 512 };
enum { MILLISECOND = 1000000 };
enum { TO_MEMORY = 0x46, FROM_MEMORY = 0x4a /* DMA modes of channel 2 */ };

/* ---- disks ---- */

struct disk {
  struct block_backend backend;
  uint8_t *bytes;
  struct block_request *waiting;
  unsigned requests;
  uint64_t bad; /* this sector fails, from 1; 0: none */
};

static void submit(struct block_backend *b, struct block_request *r) {
  struct disk *d = (struct disk *)b;
  assert_null(d->waiting);
  d->waiting = r;
  d->requests++;
}

static int carry_out(struct disk *d, const struct block_request *r) {
  uint64_t at = r->at, bad = (d->bad - 1) * SECTOR;
  if (!d->backend.present) return ENOMEDIUM;
  if (r->at > d->backend.size || r->size > d->backend.size - r->at) return EINVAL;
  if (r->operation == BLOCK_WRITE && d->backend.read_only) return EROFS;
  if (d->bad && bad >= r->at && bad < r->at + r->size) return EIO;
  for (unsigned i = 0; i < r->piece_count; at += r->pieces[i++].size) {
    if (r->operation == BLOCK_READ) memcpy(r->pieces[i].bytes, d->bytes + at, r->pieces[i].size);
    else memcpy(d->bytes + at, r->pieces[i].bytes, r->pieces[i].size);
  }
  return 0;
}

static bool serve(struct disk *d) {
  struct block_request *r = d->waiting;
  d->waiting = NULL;
  if (r) r->done(r, carry_out(d, r));
  return r;
}

static uint8_t filler(uint64_t i) { return (uint8_t)(i / SECTOR * 13 + i % SECTOR * 3 + 1); }

static void insert(struct disk *d, uint64_t size) {
  static const struct block_ops ops = {.submit = submit};
  free(d->bytes);
  d->backend.ops = &ops, d->backend.present = size, d->backend.size = size;
  d->bytes = malloc(size + 1);
  for (uint64_t i = 0; i < size; i++) d->bytes[i] = filler(i);
  if (d->backend.front.medium) d->backend.front.medium(d->backend.front.opaque, size);
}

/* ---- a PC with drives ---- */

struct bench {
  struct disk disk[2];
  struct rig *rig;
  uint8_t result[16];
  unsigned results;
};

static struct bench *bench_create(uint64_t size, const char *type, bool second) {
  struct bench *b = calloc(1, sizeof *b);
  insert(&b->disk[0], size);
  if (second) insert(&b->disk[1], 368640);
  struct floppy_properties a = {&b->disk[0].backend, UINT32_MAX, UINT32_MAX, type},
                           other = {&b->disk[1].backend, 1, UINT32_MAX, "auto"};
  const struct device_config devices[] = {{&floppy_type, &a}, {&floppy_type, &other}};
  const char *error = NULL;
  b->rig = rig_create_with(false, devices, second ? 2 : 1, &error);
  if (!b->rig) fail_msg("%s", error);
  pic_setup(b->rig, 1 << 6);
  return b;
}
static void bench_destroy(struct bench *b) {
  rig_destroy(b->rig);
  for (unsigned i = 0; i < 2; i++) free(b->disk[i].bytes);
  free(b);
}

/* Guest time and the host's disks go on until nothing happens any more. */
static void settle(struct bench *b) {
  do advance(b->rig, MILLISECOND);
  while (serve(&b->disk[0]) | serve(&b->disk[1]));
}

static uint8_t msr(struct bench *b) { return in8(b->rig, MSR); }
static bool interrupted(struct bench *b) {
  bool is = pc_ack_interrupt(b->rig->pc) == 0x36;
  out8(b->rig, 0x20, 0x20);
  return is;
}

static void send(struct bench *b, const uint8_t *bytes, unsigned n) {
  for (unsigned i = 0; i < n; i++) {
    assert_int_equal(msr(b) & (RQM | DIO), RQM);
    out8(b->rig, FIFO, bytes[i]);
  }
}
#define SEND(b, ...) \
  do { \
    const uint8_t bytes_[] = {__VA_ARGS__}; \
    send(b, bytes_, sizeof bytes_); \
  } while (0)

static unsigned get_result(struct bench *b) {
  for (b->results = 0; (msr(b) & (RQM | DIO | BUSY)) == (RQM | DIO | BUSY) && b->results < 16; b->results++)
    b->result[b->results] = in8(b->rig, FIFO);
  assert_int_equal(msr(b) & 0xf0, RQM); /* drives may be seeking */
  return b->results;
}

static void check_result(struct bench *b, const uint8_t *expected, unsigned n) {
  assert_int_equal(get_result(b), n);
  assert_memory_equal(b->result, expected, n);
}
#define RESULT(b, ...) \
  do { \
    const uint8_t bytes_[] = {__VA_ARGS__}; \
    check_result(b, bytes_, sizeof bytes_); \
  } while (0)

static void sense(struct bench *b, uint8_t st0, uint8_t cylinder) {
  SEND(b, 0x08);
  RESULT(b, st0, cylinder);
}

static void set_dma(struct bench *b, uint8_t mode, unsigned bytes) {
  struct rig *r = b->rig;
  out8(r, 0x0a, 6);
  out8(r, 0x0c, 0);
  out8(r, 0x0b, mode);
  out8(r, 0x04, 0), out8(r, 0x04, 0);
  out8(r, 0x81, BUFFER >> 16);
  out8(r, 0x05, (uint8_t)(bytes - 1)), out8(r, 0x05, (uint8_t)((bytes - 1) >> 8));
  out8(r, 0x0a, 2);
}

/* As a BIOS does it. */
static void start(struct bench *b, uint8_t rate) {
  out8(b->rig, DOR, RESET);
  out8(b->rig, DOR, ON);
  settle(b);
  assert_true(interrupted(b));
  for (uint8_t unit = 0; unit < 4; unit++) sense(b, 0xc0 | unit, 0);
  out8(b->rig, CCR, rate);
  SEND(b, 0x03, 0xaf, 0x02);
}

static struct bench *started(uint64_t size, uint8_t rate) {
  struct bench *b = bench_create(size, "auto", false);
  start(b, rate);
  return b;
}
static struct bench *of_1440k(void) { return started(1474560, 0); }

static void seek(struct bench *b, uint8_t unit, uint8_t cylinder) {
  SEND(b, 0x0f, unit, cylinder);
  settle(b);
  assert_true(interrupted(b));
  sense(b, 0x20 | unit, cylinder);
}

/* Sectors from C, H, R on by DMA; the transfer ends by terminal count. */
static void transfer(struct bench *b, uint8_t opcode, uint8_t c, uint8_t h, uint8_t r, uint8_t eot, unsigned bytes) {
  bool writes = (opcode & 0x1f) == 0x05;
  set_dma(b, writes ? FROM_MEMORY : TO_MEMORY, bytes);
  SEND(b, opcode, (uint8_t)(h << 2), c, h, r, 2, eot, 0x1b, 0xff);
  settle(b);
  assert_true(interrupted(b));
}

static bool buffer_is(struct bench *b, uint64_t lba, unsigned bytes) {
  for (unsigned i = 0; i < bytes; i++)
    if (b->rig->mmu.low[BUFFER + i] != filler(lba * SECTOR + i)) return false;
  return true;
}

/* ---- reset and short commands ---- */

static void a_reset_is_sensed_four_times(void **state) {
  struct bench *b = bench_create(1474560, "auto", false);
  out8(b->rig, DOR, RESET);
  assert_int_equal(msr(b), 0);
  out8(b->rig, DOR, ON);
  assert_int_equal(msr(b), RQM);
  assert_false(interrupted(b)); /* no controller is that fast */
  settle(b);
  assert_true(interrupted(b));
  for (uint8_t unit = 0; unit < 4; unit++) sense(b, 0xc0 | unit, 0);
  SEND(b, 0x08);
  RESULT(b, 0x80);
  out8(b->rig, MSR, 0x80); /* by DSR, which comes out of it by itself */
  settle(b);
  assert_true(interrupted(b));
  sense(b, 0xc0, 0);
  bench_destroy(b);
}

static void dor_gates_the_interrupt(void **state) {
  struct bench *b = of_1440k();
  out8(b->rig, DOR, 0x14);
  SEND(b, 0x0f, 0, 5);
  settle(b);
  assert_false(interrupted(b));
  out8(b->rig, DOR, ON);
  assert_true(interrupted(b));
  sense(b, 0x20, 5);
  bench_destroy(b);
}

static void short_commands(void **state) {
  struct bench *b = of_1440k();
  SEND(b, 0x10);
  RESULT(b, 0x90);
  SEND(b, 0x18);
  RESULT(b, 0x41);
  SEND(b, 0x04, 0x04);
  RESULT(b, 0x3c); /* head 1, ready, two sides, at cylinder 0 */
  SEND(b, 0x04, 0x01);
  RESULT(b, 0x29); /* no such drive: no track 0 */
  b->disk[0].backend.read_only = true;
  SEND(b, 0x04, 0x00);
  RESULT(b, 0x78);
  SEND(b, 0x8e, 0, 0xc0); /* DRIVE SPECIFICATION of Linux: no result */
  assert_int_equal(msr(b), RQM);
  for (unsigned opcode = 0; opcode < 256; opcode++) {
    static const uint8_t invalid[] = {0x00, 0x01, 0x0b, 0x1e, 0x2e, 0x4e, 0x5f, 0xff};
    if (!memchr(invalid, (int)opcode, sizeof invalid)) continue;
    SEND(b, (uint8_t)opcode);
    RESULT(b, 0x80);
  }
  bench_destroy(b);
}

static void configure_lock_and_dump(void **state) {
  struct bench *b = of_1440k();
  SEND(b, 0x13, 0, 0x57, 0x12);
  SEND(b, 0x12, 0x85); /* perpendicular: drive 0, WGATE */
  seek(b, 0, 7);
  SEND(b, 0x0e);
  RESULT(b, 7, 0, 0, 0, 0xaf, 0x02, 0, 0x05, 0x57, 0x12);
  SEND(b, 0x94);
  RESULT(b, 0x10);
  out8(b->rig, MSR, 0x80);
  settle(b);
  for (uint8_t unit = 0; unit < 4; unit++) sense(b, 0xc0 | unit, 0);
  SEND(b, 0x0e); /* locked: FIFO and threshold stay; polling, implied seeks are as ever, WGATE is gone */
  RESULT(b, 0, 0, 0, 0, 0xaf, 0x02, 0, 0x84, 0x47, 0x12);
  SEND(b, 0x14);
  RESULT(b, 0);
  out8(b->rig, MSR, 0x80);
  settle(b);
  for (uint8_t unit = 0; unit < 4; unit++) sense(b, 0xc0 | unit, 0);
  SEND(b, 0x0e);
  RESULT(b, 0, 0, 0, 0, 0xaf, 0x02, 0, 0x04, 0x60, 0);
  bench_destroy(b);
}

static void registers_a_and_b(void **state) {
  struct bench *b = of_1440k();
  assert_int_equal(in8(b->rig, SRA), 0x46); /* no second drive, at cylinder 0, not protected */
  out8(b->rig, DOR, 0x3d);
  assert_int_equal(in8(b->rig, SRA), 0x56); /* drive 1 is not there */
  assert_int_equal(in8(b->rig, SRB), 0xe3);
  assert_int_equal(in8(b->rig, DOR), 0x3d);
  out8(b->rig, DOR, ON);
  SEND(b, 0x0f, 0, 1);
  settle(b);
  assert_int_equal(in8(b->rig, SRA), 0xd6);
  out8(b->rig, TDR, 0xff);
  assert_int_equal(in8(b->rig, TDR), 3);
  bench_destroy(b);
}

/* ---- heads ---- */

static void seeks_end_by_an_interrupt_each(void **state) {
  struct bench *b = bench_create(1474560, "auto", true);
  start(b, 0);
  seek(b, 0, 40);
  SEND(b, 0x0f, 0, 10);
  assert_int_equal(msr(b), RQM | 1);
  SEND(b, 0x0f, 1, 20);
  assert_int_equal(msr(b), RQM | 3);
  SEND(b, 0x08);
  RESULT(b, 0x80); /* not there yet */
  settle(b);
  assert_int_equal(msr(b), RQM);
  assert_true(interrupted(b));
  sense(b, 0x20, 10);
  assert_true(interrupted(b));
  sense(b, 0x21, 20);
  assert_false(interrupted(b));
  SEND(b, 0x07, 1);
  settle(b);
  sense(b, 0x21, 0);
  bench_destroy(b);
}

static void relative_seeks_stop_at_the_ends(void **state) {
  struct bench *b = of_1440k();
  static const struct {
    uint8_t opcode, steps, to;
  } rows[] = {{0xcf, 30, 30}, {0x8f, 10, 20}, {0x8f, 21, 0}, {0xcf, 255, 255}, {0xcf, 1, 255}};
  for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
    SEND(b, rows[i].opcode, 0, rows[i].steps);
    settle(b);
    assert_true(interrupted(b));
    sense(b, 0x20, rows[i].to);
  }
  bench_destroy(b);
}

static void recalibrating_a_drive_that_is_not_there_fails(void **state) {
  struct bench *b = of_1440k();
  for (uint8_t unit = 1; unit < 4; unit++) {
    SEND(b, 0x07, unit);
    settle(b);
    assert_true(interrupted(b));
    sense(b, 0x70 | unit, 0);
  }
  bench_destroy(b);
}

static void disk_change_is_cleared_by_a_step(void **state) {
  struct bench *b = of_1440k();
  assert_int_equal(in8(b->rig, DIR), 0x80);
  seek(b, 0, 0); /* no step */
  assert_int_equal(in8(b->rig, DIR), 0x80);
  seek(b, 0, 1);
  assert_int_equal(in8(b->rig, DIR), 0);
  insert(&b->disk[0], 0);
  assert_int_equal(in8(b->rig, DIR), 0x80);
  seek(b, 0, 2);
  assert_int_equal(in8(b->rig, DIR), 0x80);
  insert(&b->disk[0], 737280);
  seek(b, 0, 1);
  assert_int_equal(in8(b->rig, DIR), 0);
  out8(b->rig, DOR, ON | 1);
  assert_int_equal(in8(b->rig, DIR), 0); /* no drive pulls the line */
  bench_destroy(b);
}

/* ---- media ---- */

static const struct medium {
  uint32_t size;
  uint8_t sectors, cylinders, heads, rate, type;
} media[] = {
  {163840, 8, 40, 1, 2, FLOPPY_1200K},   {184320, 9, 40, 1, 1, FLOPPY_1200K},   {327680, 8, 40, 2, 2, FLOPPY_1200K},
  {368640, 9, 40, 2, 1, FLOPPY_1200K},   {737280, 9, 80, 2, 2, FLOPPY_1440K},   {1228800, 15, 80, 2, 0, FLOPPY_1200K},
  {1474560, 18, 80, 2, 0, FLOPPY_1440K}, {1720320, 21, 80, 2, 0, FLOPPY_1440K}, {2949120, 36, 80, 2, 3, FLOPPY_2880K},
};
enum { MEDIA = sizeof media / sizeof *media };

static void every_format_is_read_to_its_last_sector_at_its_rate(void **state) {
  for (unsigned i = 0; i < MEDIA; i++) {
    const struct medium *m = &media[i];
    uint8_t c = m->cylinders - 1, h = m->heads - 1;
    struct bench *b = started(m->size, m->rate);
    transfer(b, READ_ONE, 0, 0, 1, m->sectors, SECTOR);
    RESULT(b, 0, 0, 0, 0, 0, 2, 2);
    assert_true(buffer_is(b, 0, SECTOR));
    transfer(b, READ_ONE, c, h, m->sectors, m->sectors, SECTOR);
    RESULT(b, 0x20 | h << 2, 0, 0, c + 1, h, 1, 2);
    assert_true(buffer_is(b, m->size / SECTOR - 1, SECTOR));
    for (uint8_t rate = 0; rate < 4; rate++) {
      out8(b->rig, CCR, rate);
      transfer(b, READ_ONE, 0, 0, 1, m->sectors, SECTOR);
      get_result(b);
      assert_int_equal(b->result[0] & 0xc0, rate == m->rate ? 0 : 0x40);
      assert_int_equal(b->result[1], rate == m->rate ? 0 : 0x01);
    }
    bench_destroy(b);
  }
}

static void drives_are_of_the_type_that_was_said_or_the_mediums(void **state) {
  for (unsigned i = 0; i <= MEDIA; i++) {
    struct fdc fdc = {0};
    struct disk d = {0};
    uint32_t first = UINT32_MAX, second = UINT32_MAX, third = UINT32_MAX, again = 0;
    insert(&d, i < MEDIA ? media[i].size : 0);
    assert_null(fdc_attach(&fdc, &first, FLOPPY_AUTO, &d.backend));
    assert_int_equal(first, 0);
    assert_int_equal(fdc_drive_type(&fdc, 0), i < MEDIA ? media[i].type : FLOPPY_2880K);
    assert_int_equal(fdc_drive_type(&fdc, 1), FLOPPY_NONE);
    assert_non_null(fdc_attach(&fdc, &again, FLOPPY_AUTO, NULL));
    assert_null(fdc_attach(&fdc, &second, FLOPPY_720K, NULL));
    assert_int_equal(fdc_drive_type(&fdc, 1), FLOPPY_720K);
    assert_non_null(fdc_attach(&fdc, &third, FLOPPY_AUTO, NULL));
    free(d.bytes);
  }
}

static void the_firmware_finds_the_drives_in_cmos(void **state) {
  struct bench *b = bench_create(1474560, "auto", true);
  out8(b->rig, 0x70, 0x10);
  assert_int_equal(in8(b->rig, 0x71), FLOPPY_1440K << 4 | FLOPPY_1200K);
  out8(b->rig, 0x70, 0x14);
  assert_int_equal(in8(b->rig, 0x71) & 0xc1, 0x41);
  assert_int_equal(pc_floppy_drives(b->rig->pc), 2);
  bench_destroy(b);
}

static void a_drive_reads_no_more_than_it_can(void **state) {
  struct bench *b = bench_create(2949120, "144", false);
  start(b, 3);
  transfer(b, READ_ONE, 0, 0, 1, 36, SECTOR);
  RESULT(b, 0x40, 1, 0, 0, 0, 1, 2);
  insert(&b->disk[0], 737280);
  out8(b->rig, CCR, 2);
  transfer(b, READ_ONE, 0, 0, 1, 9, SECTOR);
  RESULT(b, 0, 0, 0, 0, 0, 2, 2);
  bench_destroy(b);
}

/* A boot sector and nothing more is a floppy of 1.44M that ends early. */
static void a_short_image_has_the_sectors_that_it_has(void **state) {
  struct bench *b = started(1024, 0);
  transfer(b, READ_ONE, 0, 0, 1, 18, 1024);
  RESULT(b, 0, 0, 0, 0, 0, 3, 2);
  assert_true(buffer_is(b, 0, 1024));
  transfer(b, READ_ONE, 0, 0, 2, 18, 1024);
  RESULT(b, 0x40, 0x04, 0, 0, 0, 3, 2);
  bench_destroy(b);
}

static void an_empty_drive_has_no_address_marks(void **state) {
  struct bench *b = started(0, 0);
  transfer(b, READ, 0, 0, 1, 18, SECTOR);
  RESULT(b, 0x40, 1, 0, 0, 0, 1, 2);
  SEND(b, 0x4a, 0);
  settle(b);
  RESULT(b, 0x40, 1, 0, 0, 0, 0, 0);
  insert(&b->disk[0], 1474560);
  transfer(b, READ, 0, 0, 1, 18, SECTOR);
  RESULT(b, 0, 0, 0, 0, 0, 2, 2);
  bench_destroy(b);
}

static void a_medium_that_is_changed_is_read_anew(void **state) {
  struct bench *b = of_1440k();
  transfer(b, READ, 3, 0, 1, 18, SECTOR);
  get_result(b);
  insert(&b->disk[0], 1474560);
  b->disk[0].bytes[3 * 36 * SECTOR] = 0xee;
  transfer(b, READ, 3, 0, 1, 18, SECTOR);
  assert_int_equal(b->rig->mmu.low[BUFFER], 0xee);
  bench_destroy(b);
}

/* Drives of 1.2M step twice for each cylinder of a 360K disk, where their driver tells them to. */
static void drives_of_80_cylinders_may_step_twice(void **state) {
  struct bench *b = started(368640, 1);
  SEND(b, 0x13, 0, 0x10, 0); /* no implied seeks */
  seek(b, 0, 20);
  transfer(b, READ_ONE, 10, 0, 1, 9, SECTOR);
  assert_true(buffer_is(b, 10 * 18, SECTOR));
  get_result(b);
  transfer(b, READ_ONE, 20, 0, 1, 9, SECTOR);
  assert_true(buffer_is(b, 20 * 18, SECTOR));
  get_result(b);
  transfer(b, READ_ONE, 11, 0, 1, 9, SECTOR);
  RESULT(b, 0x40, 0x04, 0x10, 11, 0, 1, 2);
  bench_destroy(b);
}

/* ---- reading ---- */

static void what_the_result_says_of_the_next_sector(void **state) {
  static const struct {
    uint8_t opcode, h, r, eot;
    unsigned sectors;
    uint8_t c2, h2, r2;
  } rows[] = {
    /* table 5-6: 5 of 18 sectors, all of them; side 0, side 1; without and with MT */
    {READ_ONE, 0, 1, 18, 5, 6, 0, 6},  {READ_ONE, 0, 1, 18, 18, 7, 0, 1}, {READ_ONE, 1, 1, 18, 5, 6, 1, 6},
    {READ_ONE, 1, 1, 18, 18, 7, 1, 1}, {READ, 0, 1, 18, 5, 6, 0, 6},      {READ, 0, 1, 18, 18, 6, 1, 1},
    {READ, 1, 1, 18, 5, 6, 1, 6},      {READ, 1, 1, 18, 18, 7, 0, 1},     {READ, 0, 1, 18, 36, 7, 0, 1},
    {READ, 0, 17, 18, 4, 6, 1, 3},     {READ_ONE, 0, 3, 9, 7, 7, 0, 1},
  };
  struct bench *b = of_1440k();
  seek(b, 0, 6);
  for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
    transfer(b, rows[i].opcode, 6, rows[i].h, rows[i].r, rows[i].eot, rows[i].sectors * SECTOR);
    get_result(b);
    assert_int_equal(b->result[0] & 0xf8, 0);
    assert_int_equal(b->result[1] | b->result[2], 0);
    assert_memory_equal(b->result + 3, ((uint8_t[]){rows[i].c2, rows[i].h2, rows[i].r2, 2}), 4);
    assert_true(buffer_is(b, 6 * 36 + rows[i].h * 18 + rows[i].r - 1, rows[i].sectors * SECTOR));
  }
  bench_destroy(b);
}

static void the_end_of_the_cylinder_without_terminal_count_is_one(void **state) {
  struct bench *b = of_1440k();
  transfer(b, READ, 2, 0, 17, 18, 60 * SECTOR);
  RESULT(b, 0x64, 0x80, 0, 3, 0, 1, 2);
  assert_true(buffer_is(b, 2 * 36 + 16, 20 * SECTOR));
  bench_destroy(b);
}

static void terminal_count_in_the_middle_of_a_sector(void **state) {
  struct bench *b = of_1440k();
  transfer(b, READ, 0, 0, 3, 18, SECTOR + 100);
  RESULT(b, 0, 0, 0, 0, 0, 5, 2);
  assert_true(buffer_is(b, 2, SECTOR + 100));
  assert_int_equal(b->rig->mmu.low[BUFFER + SECTOR + 100], 0);
  bench_destroy(b);
}

static void what_is_not_on_the_track_is_not_found(void **state) {
  static const struct {
    uint8_t drive_head, c, h, r, n, st0, st1, st2;
  } rows[] = {
    {0, 1, 0, 19, 2, 0x60, 0x04, 0}, /* R */
    {0, 1, 0, 0, 2, 0x60, 0x04, 0},  /* */
    {0, 1, 1, 1, 2, 0x60, 0x04, 0},  /* H is not the head's */
    {0, 1, 0, 1, 3, 0x60, 0x04, 0},  /* N */
    {0, 80, 0, 1, 2, 0x60, 0x01, 0}, /* beyond the last cylinder */
    {1, 1, 0, 1, 2, 0x41, 0x01, 0},  /* no such drive */
    {3, 1, 0, 1, 2, 0x43, 0x01, 0},
  };
  for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct bench *b = of_1440k();
    set_dma(b, TO_MEMORY, SECTOR);
    SEND(b, READ_ONE, rows[i].drive_head, rows[i].c, rows[i].h, rows[i].r, rows[i].n, 18, 0x1b, 0xff);
    settle(b);
    assert_true(interrupted(b));
    RESULT(b, rows[i].st0, rows[i].st1, rows[i].st2, rows[i].c, rows[i].h, rows[i].r, rows[i].n);
    bench_destroy(b);
  }
}

static void without_implied_seeks_the_head_must_be_there(void **state) {
  struct bench *b = of_1440k();
  SEND(b, 0x13, 0, 0x10, 0);
  transfer(b, READ, 1, 0, 1, 18, SECTOR);
  RESULT(b, 0x40, 0x04, 0x10, 1, 0, 1, 2);
  seek(b, 0, 1);
  transfer(b, READ, 1, 0, 1, 18, SECTOR);
  RESULT(b, 0, 0, 0, 1, 0, 2, 2);
  bench_destroy(b);
}

static void fm_finds_nothing(void **state) {
  struct bench *b = of_1440k();
  transfer(b, 0x06, 0, 0, 1, 18, SECTOR);
  RESULT(b, 0x40, 1, 0, 0, 0, 1, 2);
  bench_destroy(b);
}

static void a_cylinder_is_one_request(void **state) {
  struct bench *b = of_1440k();
  transfer(b, READ, 9, 0, 1, 18, 36 * SECTOR);
  get_result(b);
  assert_true(buffer_is(b, 9 * 36, 36 * SECTOR));
  for (uint8_t r = 1; r <= 18; r++) {
    transfer(b, READ, 9, 1, r, 18, SECTOR);
    assert_true(buffer_is(b, 9 * 36 + 17 + r, SECTOR));
    get_result(b);
  }
  assert_int_equal(b->disk[0].requests, 1);
  bench_destroy(b);
}

static void ids_pass_one_by_one(void **state) {
  struct bench *b = of_1440k();
  seek(b, 0, 12);
  for (unsigned i = 0; i < 20; i++) {
    SEND(b, 0x4a, 0x04);
    settle(b);
    assert_true(interrupted(b));
    RESULT(b, 0x04, 0, 0, 12, 1, i % 18 + 1, 2);
  }
  out8(b->rig, CCR, 2);
  SEND(b, 0x4a, 0);
  settle(b);
  RESULT(b, 0x40, 1, 0, 0, 0, 0, 0);
  bench_destroy(b);
}

static void a_track_is_read_from_its_first_sector(void **state) {
  struct bench *b = of_1440k();
  transfer(b, 0x42, 1, 0, 5, 18, 18 * SECTOR);
  get_result(b);
  assert_int_equal(b->result[0] & 0xc0, 0);
  assert_int_equal(b->result[1], 0);
  assert_true(buffer_is(b, 36, 18 * SECTOR));
  SEND(b, 0x13, 0, 0x10, 0);
  transfer(b, 0x42, 7, 0, 1, 2, SECTOR); /* the head is over another: its sectors come, and the name does not agree */
  assert_true(buffer_is(b, 36, SECTOR));
  get_result(b);
  assert_int_equal(b->result[1], 0x04);
  bench_destroy(b);
}

static void deleted_data_are_nowhere(void **state) {
  struct bench *b = of_1440k();
  transfer(b, 0x4c, 0, 0, 4, 18, 3 * SECTOR);
  RESULT(b, 0, 0, 0x40, 0, 0, 4, 2); /* one sector was read, and that it was another kind is said */
  assert_true(buffer_is(b, 3, SECTOR));
  assert_int_equal(b->rig->mmu.low[BUFFER + SECTOR], 0);
  transfer(b, 0x6c, 0, 0, 4, 18, 3 * SECTOR);
  RESULT(b, 0, 0, 0x40, 1, 0, 1, 2);
  bench_destroy(b);
}

static void verify_ends_by_count_or_cylinder(void **state) {
  struct bench *b = of_1440k();
  SEND(b, 0x76, 0x80, 0, 0, 1, 2, 18, 0x1b, 5);
  settle(b);
  assert_true(interrupted(b));
  RESULT(b, 0, 0, 0, 0, 0, 6, 2);
  SEND(b, 0x76, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
  settle(b);
  RESULT(b, 0, 0, 0, 1, 0, 1, 2);
  SEND(b, 0x76, 0x80, 0, 0, 15, 2, 18, 0x1b, 5); /* more than there are */
  settle(b);
  RESULT(b, 0x40, 0x80, 0, 1, 0, 1, 2);
  b->disk[0].bad = 3;
  insert(&b->disk[0], 1474560);
  SEND(b, 0x76, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
  settle(b);
  RESULT(b, 0x40, 0x20, 0x20, 0, 0, 3, 2);
  bench_destroy(b);
}

static void scans_compare(void **state) {
  static const struct {
    uint8_t opcode, st2, r;
    int add;
  } rows[] = {{0x51, 0x08, 2, 0},  {0x51, 0x04, 1, 1},  {0x59, 0x08, 2, 0}, {0x59, 0x00, 2, 1},
              {0x59, 0x04, 1, -1}, {0x5d, 0x00, 2, -1}, {0x5d, 0x04, 1, 1}};
  struct bench *b = of_1440k();
  for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
    memset(b->disk[0].bytes, 0x40, 8 * SECTOR);
    insert(&b->disk[0], 1474560), memset(b->disk[0].bytes, 0x40, 2 * SECTOR);
    memset(b->rig->mmu.low + BUFFER, 0x40 + rows[i].add, 2 * SECTOR);
    b->rig->mmu.low[BUFFER + 7] = 0xff; /* agrees with everything */
    set_dma(b, FROM_MEMORY, 4 * SECTOR);
    SEND(b, rows[i].opcode, 0, 0, 0, 2, 2, 2, 0x1b, 1);
    settle(b);
    assert_true(interrupted(b));
    get_result(b);
    assert_int_equal(b->result[0], 0);
    assert_int_equal(b->result[2], rows[i].st2);
    assert_int_equal(b->result[5], rows[i].r);
  }
  bench_destroy(b);
}

/* ---- writing ---- */

static void what_is_written_is_on_the_disk(void **state) {
  struct bench *b = of_1440k();
  for (unsigned i = 0; i < 40 * SECTOR; i++) b->rig->mmu.low[BUFFER + i] = (uint8_t)(i * 11);
  transfer(b, WRITE, 5, 0, 10, 18, 20 * SECTOR);
  RESULT(b, 0x24, 0, 0, 5, 1, 12, 2);
  assert_memory_equal(b->disk[0].bytes + (5 * 36 + 9) * SECTOR, b->rig->mmu.low + BUFFER, 20 * SECTOR);
  assert_int_equal(b->disk[0].bytes[(5 * 36 + 9) * SECTOR - 1], filler((5 * 36 + 9) * SECTOR - 1));
  assert_int_equal(b->disk[0].bytes[(5 * 36 + 29) * SECTOR], filler((5 * 36 + 29) * SECTOR));
  assert_int_equal(b->disk[0].requests, 1);
  memset(b->rig->mmu.low + BUFFER, 0, SECTOR);
  transfer(b, READ, 5, 0, 10, 18, SECTOR);
  get_result(b);
  assert_int_equal(b->rig->mmu.low[BUFFER + 3], 33);
  bench_destroy(b);
}

static void a_sector_that_is_cut_off_ends_with_zeros(void **state) {
  struct bench *b = of_1440k();
  memset(b->rig->mmu.low + BUFFER, 0x99, SECTOR);
  transfer(b, WRITE, 0, 0, 2, 18, 10);
  RESULT(b, 0, 0, 0, 0, 0, 3, 2);
  assert_int_equal(b->disk[0].bytes[SECTOR + 9], 0x99);
  for (unsigned i = 10; i < SECTOR; i++) assert_int_equal(b->disk[0].bytes[SECTOR + i], 0);
  bench_destroy(b);
}

static void a_protected_disk_is_not_written(void **state) {
  struct bench *b = of_1440k();
  b->disk[0].backend.read_only = true;
  transfer(b, WRITE, 0, 0, 2, 18, SECTOR);
  RESULT(b, 0x40, 0x02, 0, 0, 0, 2, 2);
  SEND(b, 0x4d, 0, 2, 18, 0x54, 0xf6);
  settle(b);
  get_result(b);
  assert_int_equal(b->result[1], 0x02);
  assert_int_equal(b->disk[0].requests, 0);
  bench_destroy(b);
}

static void format_fills_what_its_ids_name(void **state) {
  struct bench *b = of_1440k();
  seek(b, 0, 4);
  for (uint8_t i = 0; i < 18; i++) {
    uint8_t id[4] = {4, 1, (uint8_t)(i * 5 % 18 + 1), 2}; /* interleaved */
    memcpy(b->rig->mmu.low + BUFFER + 4 * i, id, 4);
  }
  set_dma(b, FROM_MEMORY, 18 * 4);
  SEND(b, 0x4d, 0x04, 2, 18, 0x54, 0xf6);
  settle(b);
  assert_true(interrupted(b));
  get_result(b);
  assert_int_equal(b->result[0], 0x04);
  assert_int_equal(b->result[1], 0);
  uint8_t *track = b->disk[0].bytes + (4 * 36 + 18) * SECTOR;
  for (unsigned i = 0; i < 18 * SECTOR; i++) assert_int_equal(track[i], 0xf6);
  assert_int_equal(track[-1], filler((4 * 36 + 18) * SECTOR - 1));
  assert_int_equal(track[18 * SECTOR], filler((4 * 36 + 36) * SECTOR));
  bench_destroy(b);
}

static void what_an_image_cannot_hold_is_not_formatted(void **state) {
  static const uint8_t ids[][4] = {{0, 0, 19, 2}, {0, 0, 1, 3}, {1, 0, 1, 2}, {0, 1, 1, 2}};
  for (unsigned i = 0; i < sizeof ids / sizeof *ids; i++) {
    struct bench *b = of_1440k();
    memcpy(b->rig->mmu.low + BUFFER, ids[i], 4);
    set_dma(b, FROM_MEMORY, 4);
    SEND(b, 0x4d, 0, 2, 1, 0x54, 0xf6);
    settle(b);
    get_result(b);
    assert_int_equal(b->result[0], 0x40);
    assert_int_equal(b->result[1], 0x04);
    assert_int_equal(b->disk[0].requests, 0);
    bench_destroy(b);
  }
}

/* ---- errors of the host ---- */

static void a_bad_sector_is_named_and_those_before_it_arrive(void **state) {
  struct bench *b = of_1440k();
  b->disk[0].bad = 1 + 36 + 20;
  transfer(b, READ, 1, 0, 1, 18, 36 * SECTOR);
  RESULT(b, 0x64, 0x20, 0x20, 1, 1, 3, 2);
  assert_true(buffer_is(b, 36, 20 * SECTOR));
  assert_int_equal(b->rig->mmu.low[BUFFER + 20 * SECTOR], 0);
  b->disk[0].bad = 0;
  transfer(b, READ, 1, 0, 1, 18, 36 * SECTOR);
  get_result(b);
  assert_int_equal(b->result[0] & 0xc0, 0);
  bench_destroy(b);
}

static void a_sector_that_cannot_be_written_is_named(void **state) {
  struct bench *b = of_1440k();
  b->disk[0].bad = 1 + 36 + 20;
  memset(b->rig->mmu.low + BUFFER, 0x77, 36 * SECTOR);
  transfer(b, WRITE, 1, 0, 1, 18, 36 * SECTOR);
  RESULT(b, 0x64, 0x20, 0x20, 2, 1, 3, 2);
  for (unsigned i = 0; i < 20 * SECTOR; i++) assert_int_equal(b->disk[0].bytes[36 * SECTOR + i], 0x77);
  transfer(b, READ, 1, 1, 3, 18, SECTOR); /* and what was to be there is not taken for what is */
  get_result(b);
  assert_int_equal(b->result[1], 0x20);
  bench_destroy(b);
}

/* ---- without DMA ---- */

static void pio(struct bench *b) { SEND(b, 0x03, 0xaf, 0x03); }

static void bytes_are_read_by_the_cpu(void **state) {
  static const uint8_t configs[] = {0x20 /* no FIFO */, 0x00, 0x0f, 0x07};
  for (unsigned i = 0; i < sizeof configs; i++) {
    struct bench *b = of_1440k();
    SEND(b, 0x13, 0, configs[i], 0);
    pio(b);
    SEND(b, READ_ONE, 0, 0, 0, 17, 2, 18, 0x1b, 0xff);
    assert_int_equal(msr(b) & (RQM | BUSY | NDM), BUSY | NDM);
    settle(b);
    for (unsigned at = 0, taken = 0; at < 2 * SECTOR; taken++) {
      /* as many for each interrupt as a driver that knows the threshold takes */
      unsigned burst = configs[i] & 0x20 ? 1 : 16 - (configs[i] & 15);
      assert_true(interrupted(b));
      for (unsigned n = 0; n < burst && at % SECTOR + n < SECTOR; n++) {
        assert_int_equal(msr(b), RQM | DIO | NDM | BUSY);
        b->rig->mmu.low[BUFFER + at + n] = in8(b->rig, FIFO);
      }
      at += burst > SECTOR - at % SECTOR ? SECTOR - at % SECTOR : burst;
      settle(b);
    }
    assert_true(buffer_is(b, 16, 2 * SECTOR));
    assert_true(interrupted(b));
    RESULT(b, 0x40, 0x80, 0, 1, 0, 1, 2); /* nobody says terminal count */
    bench_destroy(b);
  }
}

static void bytes_are_written_by_the_cpu(void **state) {
  struct bench *b = of_1440k();
  pio(b);
  SEND(b, WRITE_ONE, 0, 0, 0, 17, 2, 18, 0x1b, 0xff);
  for (unsigned i = 0; i < 2 * SECTOR; i++) {
    if (i == SECTOR) assert_int_equal(msr(b) & RQM, 0); /* the first is on its way */
    if (i == SECTOR) settle(b);
    assert_int_equal(msr(b), RQM | NDM | BUSY);
    out8(b->rig, FIFO, (uint8_t)(i * 9));
  }
  settle(b);
  RESULT(b, 0x40, 0x80, 0, 1, 0, 1, 2);
  for (unsigned i = 0; i < 2 * SECTOR; i++) assert_int_equal(b->disk[0].bytes[16 * SECTOR + i], (uint8_t)(i * 9));
  bench_destroy(b);
}

/* ---- in the middle ---- */

static void a_masked_channel_holds_the_transfer(void **state) {
  struct bench *b = of_1440k();
  set_dma(b, TO_MEMORY, 3 * SECTOR);
  out8(b->rig, 0x0a, 6);
  SEND(b, READ, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
  settle(b);
  assert_int_equal(msr(b), BUSY);
  assert_int_equal(in8(b->rig, 0x08), 1 << 6);
  assert_false(interrupted(b));
  out8(b->rig, 0x0a, 2);
  settle(b);
  assert_true(interrupted(b));
  RESULT(b, 0, 0, 0, 0, 0, 4, 2);
  assert_true(buffer_is(b, 0, 3 * SECTOR));
  bench_destroy(b);
}

/* The channel's count runs out of one page of memory, and the guest gives it the next: auto-init is off, so it masks itself. */
static void what_was_taken_from_the_guest_reaches_the_disk_though_it_is_reset(void **state) {
  struct bench *b = of_1440k();
  memset(b->rig->mmu.low + BUFFER, 0x31, 4 * SECTOR);
  pio(b);
  SEND(b, WRITE_ONE, 0, 0, 0, 5, 2, 18, 0x1b, 0xff);
  for (unsigned i = 0; i < SECTOR; i++) out8(b->rig, FIFO, 0x31);
  out8(b->rig, DOR, RESET);
  out8(b->rig, DOR, ON);
  settle(b);
  assert_true(interrupted(b));
  for (uint8_t unit = 0; unit < 4; unit++) sense(b, 0xc0 | unit, 0);
  for (unsigned i = 0; i < SECTOR; i++) assert_int_equal(b->disk[0].bytes[4 * SECTOR + i], 0x31);
  bench_destroy(b);
}

static void a_reset_forgets_a_read_and_the_next_waits_for_it(void **state) {
  struct bench *b = of_1440k();
  set_dma(b, TO_MEMORY, SECTOR);
  SEND(b, READ, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
  assert_non_null(b->disk[0].waiting);
  out8(b->rig, DOR, RESET);
  out8(b->rig, DOR, ON);
  advance(b->rig, MILLISECOND);
  for (uint8_t unit = 0; unit < 4; unit++) sense(b, 0xc0 | unit, 0);
  set_dma(b, TO_MEMORY, SECTOR);
  SEND(b, READ, 0, 7, 0, 1, 2, 18, 0x1b, 0xff);
  settle(b);
  RESULT(b, 0x20, 0, 0, 7, 0, 2, 2);
  assert_true(buffer_is(b, 7 * 36, SECTOR));
  bench_destroy(b);
}

static void move_state(struct bench *from, struct bench *to) {
  struct state_buffer saved = {0};
  char text[200];
  assert_false(pc_busy(from->rig->pc));
  assert_int_equal(state_save(from->rig->pc, &saved), 0);
  assert_null(state_load(to->rig->pc, saved.bytes, saved.size));
  memcpy(to->rig->mmu.low, from->rig->mmu.low, sizeof to->rig->mmu.low);
  memcpy(to->disk[0].bytes, from->disk[0].bytes, from->disk[0].backend.size);
  if (!state_equal(from->rig->pc, to->rig->pc, text, sizeof text)) fail_msg("%s", text);
  free(saved.bytes);
}

static void saved_in_the_middle_of_a_read(void **state) {
  for (unsigned dma = 0; dma < 2; dma++) {
    struct bench *b = of_1440k(), *c = of_1440k();
    if (!dma) pio(b);
    set_dma(b, TO_MEMORY, SECTOR + 10);
    if (dma) out8(b->rig, 0x0a, 6);
    SEND(b, READ_ONE, 0, 2, 0, 17, 2, 18, 0x1b, 0xff);
    assert_true(pc_busy(b->rig->pc));
    settle(b);
    for (unsigned i = 0; !dma && i < 300; i++) b->rig->mmu.low[BUFFER + i] = in8(b->rig, FIFO);
    move_state(b, c);
    if (dma) out8(c->rig, 0x0a, 2);
    for (unsigned i = 300; !dma && i < 2 * SECTOR; i++) {
      if (i == SECTOR) settle(c);
      assert_int_equal(msr(c) & RQM, RQM);
      c->rig->mmu.low[BUFFER + i] = in8(c->rig, FIFO);
    }
    settle(c);
    assert_true(buffer_is(c, 2 * 36 + 16, dma ? SECTOR + 10 : 2 * SECTOR));
    if (dma) RESULT(c, 0x20, 0, 0, 3, 0, 1, 2);
    else RESULT(c, 0x60, 0x80, 0, 3, 0, 1, 2);
    bench_destroy(b), bench_destroy(c);
  }
}

static void saved_in_the_middle_of_a_write(void **state) {
  struct bench *b = of_1440k(), *c = of_1440k();
  memset(b->rig->mmu.low + BUFFER, 0x61, 4 * SECTOR);
  set_dma(b, FROM_MEMORY, 4 * SECTOR);
  out8(b->rig, 0x0a, 6);
  SEND(b, WRITE_ONE, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
  settle(b);
  move_state(b, c);
  out8(c->rig, 0x0a, 2);
  settle(c);
  RESULT(c, 0, 0, 0, 0, 0, 5, 2);
  for (unsigned i = 0; i < 4 * SECTOR; i++) assert_int_equal(c->disk[0].bytes[i], 0x61);
  bench_destroy(b), bench_destroy(c);
}

static void saved_between_a_seek_and_its_interrupt(void **state) {
  struct bench *b = of_1440k(), *c = of_1440k();
  SEND(b, 0x0f, 0, 33);
  move_state(b, c);
  settle(c);
  assert_true(interrupted(c));
  sense(c, 0x20, 33);
  bench_destroy(b), bench_destroy(c);
}

/* ---- anything ---- */

static uint64_t next_random(uint64_t *x) {
  *x ^= *x << 13, *x ^= *x >> 7, *x ^= *x << 17;
  return *x * 0x2545f4914f6cdd1dull;
}

static void drain(struct bench *b) {
  for (unsigned i = 0; i < 16 && (msr(b) & 0xd0) == 0xd0; i++) in8(b->rig, FIFO);
}

static void random_command(struct bench *b, uint64_t *seed) {
  static const uint8_t opcodes[] = {0xe6, 0x66, 0xc5, 0x45, 0x4c, 0x6c, 0x42, 0x76, 0xf6, 0x51, 0x59, 0x5d, 0x4d,
                                    0x4a, 0x07, 0x08, 0x03, 0x04, 0x0f, 0x8f, 0xcf, 0x13, 0x0e, 0x12, 0x94, 0x14},
                       sizes[] = {9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 6, 2, 2, 1, 3, 2, 3, 3, 3, 4, 1, 2, 1, 1};
  uint64_t x = next_random(seed);
  unsigned n = x % sizeof opcodes, size = x >> 48 & 15 ? sizes[n] : x >> 52 & 15;
  bool from_memory = (opcodes[n] & 0x10) || opcodes[n] == 0x4d || (opcodes[n] & 0x3f) == 0x05;
  if (x >> 56 & 3) {
    settle(b);
    drain(b);
  }
  if (x >> 32 & 7) set_dma(b, from_memory ? FROM_MEMORY : TO_MEMORY, 1 + (x >> 36) % 20000);
  out8(b->rig, FIFO, opcodes[n]);
  for (unsigned i = 0; i + 1 < size; i++) {
    uint64_t y = next_random(seed);
    uint8_t tame[] = {y & 5, y % 82, y & 1, 1 + y % 19, 2, 1 + y % 20, 0x1b, 0xff};
    out8(b->rig, FIFO, y >> 32 & 31 ? tame[i % 8] : (uint8_t)(y >> 40));
  }
}

static void recover(struct bench *b) {
  out8(b->rig, DOR, RESET), out8(b->rig, DOR, ON);
  settle(b);
  interrupted(b);
  for (uint8_t unit = 0; unit < 4; unit++) {
    SEND(b, 0x08);
    get_result(b);
  }
  out8(b->rig, CCR, 0);
  SEND(b, 0x03, 0xaf, 0x02);
}

static void random_step(struct bench *b, uint64_t *seed) {
  uint64_t x = next_random(seed), y = next_random(seed);
  switch (x >> 58 & 31) {
  case 0 ... 7: random_command(b, seed); break;
  case 8: out8(b->rig, DOR, y & 7 ? ON | (y >> 8 & 1) : (uint8_t)(y >> 8)); break;
  case 9: out8(b->rig, (uint16_t)(SRA + (y & 7)), (uint8_t)(y >> 8)); break;
  case 10 ... 12: in8(b->rig, (uint16_t)(SRA + (y & 7))); break;
  case 13 ... 17: drain(b); break;
  case 18: recover(b); break;
  case 19: out8(b->rig, (uint16_t)(y & 15), (uint8_t)(y >> 8)); break;
  case 20: out8(b->rig, CCR, 0); break;
  case 21: b->disk[y & 1].bad = y & 2 ? 1 + (y >> 8) % 720 : 0; break;
  case 22:
    if (!(y & 3) && !b->disk[y >> 3 & 1].waiting) insert(&b->disk[y >> 3 & 1], y & 0x30 ? media[(y >> 8) % MEDIA].size : 0);
    break;
  case 23:
    for (unsigned i = 0; i < 600; i++) y & 1 ? in8(b->rig, FIFO) : out8(b->rig, FIFO, (uint8_t)i);
    break;
  case 24:
    if (!(y & 15)) pc_reset(b->rig->pc), pic_setup(b->rig, 1 << 6);
    break;
  case 25 ... 28: serve(&b->disk[y & 1]); break;
  default: settle(b); interrupted(b);
  }
}

/* At the end it still works, whatever has been done to it. */
static void random_accesses_do_no_harm(void **state) {
  uint64_t seed = 0x123456789abcdefull;
  unsigned requests = 0;
  for (unsigned round = 0; round < 40; round++) {
    struct bench *b = bench_create(1474560, "auto", true);
    start(b, 0);
    for (unsigned i = 0; i < 5000; i++) random_step(b, &seed);
    settle(b);
    requests += b->disk[0].requests + b->disk[1].requests;
    b->disk[0].bad = 0;
    insert(&b->disk[0], 1474560);
    out8(b->rig, 0x0d, 0);
    recover(b);
    set_dma(b, TO_MEMORY, SECTOR);
    SEND(b, READ, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    settle(b);
    assert_true(buffer_is(b, 0, SECTOR));
    bench_destroy(b);
  }
  assert_in_range(requests, 1000, UINT32_MAX);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_reset_is_sensed_four_times),
    cmocka_unit_test(dor_gates_the_interrupt),
    cmocka_unit_test(short_commands),
    cmocka_unit_test(configure_lock_and_dump),
    cmocka_unit_test(registers_a_and_b),
    cmocka_unit_test(seeks_end_by_an_interrupt_each),
    cmocka_unit_test(relative_seeks_stop_at_the_ends),
    cmocka_unit_test(recalibrating_a_drive_that_is_not_there_fails),
    cmocka_unit_test(disk_change_is_cleared_by_a_step),
    cmocka_unit_test(every_format_is_read_to_its_last_sector_at_its_rate),
    cmocka_unit_test(drives_are_of_the_type_that_was_said_or_the_mediums),
    cmocka_unit_test(the_firmware_finds_the_drives_in_cmos),
    cmocka_unit_test(a_drive_reads_no_more_than_it_can),
    cmocka_unit_test(a_short_image_has_the_sectors_that_it_has),
    cmocka_unit_test(an_empty_drive_has_no_address_marks),
    cmocka_unit_test(a_medium_that_is_changed_is_read_anew),
    cmocka_unit_test(drives_of_80_cylinders_may_step_twice),
    cmocka_unit_test(what_the_result_says_of_the_next_sector),
    cmocka_unit_test(the_end_of_the_cylinder_without_terminal_count_is_one),
    cmocka_unit_test(terminal_count_in_the_middle_of_a_sector),
    cmocka_unit_test(what_is_not_on_the_track_is_not_found),
    cmocka_unit_test(without_implied_seeks_the_head_must_be_there),
    cmocka_unit_test(fm_finds_nothing),
    cmocka_unit_test(a_cylinder_is_one_request),
    cmocka_unit_test(ids_pass_one_by_one),
    cmocka_unit_test(a_track_is_read_from_its_first_sector),
    cmocka_unit_test(deleted_data_are_nowhere),
    cmocka_unit_test(verify_ends_by_count_or_cylinder),
    cmocka_unit_test(scans_compare),
    cmocka_unit_test(what_is_written_is_on_the_disk),
    cmocka_unit_test(a_sector_that_is_cut_off_ends_with_zeros),
    cmocka_unit_test(a_protected_disk_is_not_written),
    cmocka_unit_test(format_fills_what_its_ids_name),
    cmocka_unit_test(what_an_image_cannot_hold_is_not_formatted),
    cmocka_unit_test(a_bad_sector_is_named_and_those_before_it_arrive),
    cmocka_unit_test(a_sector_that_cannot_be_written_is_named),
    cmocka_unit_test(bytes_are_read_by_the_cpu),
    cmocka_unit_test(bytes_are_written_by_the_cpu),
    cmocka_unit_test(a_masked_channel_holds_the_transfer),
    cmocka_unit_test(what_was_taken_from_the_guest_reaches_the_disk_though_it_is_reset),
    cmocka_unit_test(a_reset_forgets_a_read_and_the_next_waits_for_it),
    cmocka_unit_test(saved_in_the_middle_of_a_read),
    cmocka_unit_test(saved_in_the_middle_of_a_write),
    cmocka_unit_test(saved_between_a_seek_and_its_interrupt),
    cmocka_unit_test(random_accesses_do_no_harm),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
