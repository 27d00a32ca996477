// Drives and images of the host's files: requests, cache modes, snapshots, errors and what they do, media that change, locks. Run
// only this: build/unit/test_block. Servers (other formats, NBD): test_block_servers.c
// link: bt_program
// timeout: 120
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <linux/loop.h>
#include <linux/magic.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include "bt/host/block_image.h"
#include "bt/host/block_probe.h"
#include "bt/host/page_cache.h"
#include "block_rig.h"

/* What one image does all must do. */
static const char *const kinds[] = {"format=raw",
                                    "format=raw,cache=writethrough",
                                    "format=raw,cache=unsafe",
                                    "format=raw,cache=none",
                                    "format=raw,cache=directsync,aio=native",
                                    "format=raw,snapshot=on",
                                    "snapshot=on,cache=none",
                                    "discard=unmap"};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

/* ---- requests ---- */

static void pieces_of(struct disk *d) {
  enum { PIECES = 150 }; /* more than go into one call */
  static uint8_t out[PIECES][700], in[PIECES * 700];
  struct block_piece pieces[PIECES];
  uint64_t total = 0;
  for (unsigned i = 0; i < PIECES; i++) {
    pieces[i] = (struct block_piece){out[i], (i * 37) % 700}; /* empty ones, too */
    for (unsigned k = 0; k < pieces[i].size; k++) out[i][k] = (uint8_t)((total + k) * 11 >> 2);
    total += pieces[i].size;
  }
  struct block_request r = {
    .operation = BLOCK_WRITE, .fua = true, .at = 512, .size = total, .pieces = pieces, .piece_count = PIECES};
  assert_int_equal(carry_out(d, &r), 0);
  assert_int_equal(simple(d, BLOCK_READ, 512, in, total), 0);
  for (uint64_t i = 0; i < total; i++) assert_int_equal(in[i], (uint8_t)(i * 11 >> 2));
  memset(out, 0, sizeof out);
  r.operation = BLOCK_READ, r.fua = false;
  assert_int_equal(carry_out(d, &r), 0);
  total = 0;
  for (unsigned i = 0; i < PIECES; total += pieces[i++].size)
    for (unsigned k = 0; k < pieces[i].size; k++) assert_int_equal(out[i][k], (uint8_t)((total + k) * 11 >> 2));
  uint32_t words[2];
  assert_int_equal(simple(d, BLOCK_READ, 508, &words[0], 4), 0);
  assert_int_equal(simple(d, BLOCK_READ, SIZE - 4, &words[1], 4), 0);
  assert_true(words[0] == 508 / 4 && words[1] == SIZE / 4 - 1); /* what lies beside it is as it was */
}

static void pieces_are_one_run_of_bytes(void **state) {
  for (unsigned i = 0; i < KINDS; i++) {
    struct disk d;
    uint32_t word;
    open_disk(&d, kinds[i]);
    assert_true(d.b->present && d.b->size == SIZE && !d.b->read_only);
    assert_int_equal(d.b->write_cache, !strstr(kinds[i], "through") && !strstr(kinds[i], "sync"));
    pieces_of(&d);
    int fd = open(d.path, O_RDONLY);
    assert_int_equal(pread(fd, &word, 4, 512), 4);
    assert_int_equal(word == 128, !!strstr(kinds[i], "snapshot")); /* the image itself is as it was, or is not */
    close(fd);
    close_disk(&d);
  }
}

/* Random requests, whole sectors and not, against an array. */
static void requests_do_what_an_array_does(void **state) {
  static uint8_t model[SIZE], buffer[1 << 17];
  for (unsigned kind = 0; kind < KINDS; kind++) {
    struct disk d;
    unsigned seed = 20261129 + kind;
    open_disk(&d, kinds[kind]);
    assert_int_equal(simple(&d, BLOCK_READ, 0, model, SIZE), 0);
    for (unsigned i = 0; i < 200; i++) {
      unsigned grain = rand_r(&seed) % 4 ? 512 : 1;
      uint64_t size = (1 + (unsigned)rand_r(&seed) % (i % 8 ? 9000 : sizeof buffer)) / grain * grain;
      uint64_t at = (unsigned)rand_r(&seed) % (SIZE - size + 1) / grain * grain;
      if (rand_r(&seed) % 2) {
        for (uint64_t k = 0; k < size; k++) buffer[k] = (uint8_t)rand_r(&seed);
        if (!at && size) buffer[0] = 0; /* no other format's mark */
        assert_int_equal(simple(&d, BLOCK_WRITE, at, buffer, size), 0);
        memcpy(model + at, buffer, size);
      } else {
        assert_int_equal(simple(&d, BLOCK_READ, at, buffer, size), 0);
        assert_memory_equal(buffer, model + at, size);
      }
    }
    close_disk(&d);
  }
}

static void what_cannot_be_is_an_error(void **state) {
  struct disk d;
  uint8_t bytes[1024];
  struct block_piece piece = {bytes, 1024};
  open_disk(&d, "format=raw");
  assert_int_equal(simple(&d, BLOCK_READ, SIZE - 512, bytes, 1024), EINVAL);
  assert_int_equal(simple(&d, BLOCK_WRITE, UINT64_MAX - 100, bytes, 512), EINVAL);
  assert_int_equal(simple(&d, BLOCK_READ, SIZE, bytes, 0), 0);
  struct block_request lies = {.operation = BLOCK_READ, .size = 512, .pieces = &piece, .piece_count = 1};
  assert_int_equal(carry_out(&d, &lies), EINVAL);
  close_disk(&d);
  open_disk(&d, "readonly=on");
  assert_true(d.b->read_only);
  assert_int_equal(simple(&d, BLOCK_WRITE, 0, bytes, 512), EROFS);
  assert_int_equal(simple(&d, BLOCK_READ, 0, bytes, 512), 0);
  struct block_request flush = {.operation = BLOCK_FLUSH};
  assert_int_equal(carry_out(&d, &flush), 0);
  close_disk(&d);
}

static void a_file_that_is_cut_off_is_no_zeros(void **state) {
  static uint8_t bytes[SIZE];
  struct disk d;
  open_disk(&d, "format=raw");
  assert_int_equal(truncate(d.path, SIZE / 2), 0); /* by somebody else */
  assert_int_equal(simple(&d, BLOCK_READ, SIZE / 2 - 512, bytes, 1024), EIO);
  assert_int_equal(simple(&d, BLOCK_READ, SIZE / 2 - 512, bytes, 512), 0);
  assert_int_equal(simple(&d, BLOCK_READ, SIZE / 2, bytes, SIZE / 2), EIO); /* more than is read at once */
  assert_int_equal(truncate(d.path, SIZE * 2), 0);
  assert_int_equal(d.b->size, SIZE);
  assert_int_equal(simple(&d, BLOCK_READ, SIZE, bytes, 512), EINVAL);
  close_disk(&d);
}

static void half_a_sector_at_the_end_is_a_sector(void **state) {
  for (unsigned snapshot = 0; snapshot < 2; snapshot++) {
    struct disk d = {0};
    uint8_t bytes[512];
    char error[ERROR_TEXT], text[128];
    struct stat st;
    make_file(d.path);
    assert_int_equal(truncate(d.path, 1000), 0);
    snprintf(text, sizeof text, "file=%s,format=raw,snapshot=%s", d.path, snapshot ? "on" : "off");
    assert_true(try_drive(&d, text, error));
    assert_int_equal(d.b->size, 1024);
    memset(bytes, 0xee, 512);
    assert_int_equal(simple(&d, BLOCK_READ, 512, bytes, 512), 0);
    assert_true(bytes[0] == 128 && bytes[487] == 0 && bytes[488] == 0 && bytes[511] == 0);
    memset(bytes, 0x33, 512);
    assert_int_equal(simple(&d, BLOCK_WRITE, 512, bytes, 512), 0);
    memset(bytes, 0, 512);
    assert_int_equal(simple(&d, BLOCK_READ, 512, bytes, 512), 0);
    assert_int_equal(bytes[511], 0x33);
    assert_int_equal(stat(d.path, &st), 0);
    assert_int_equal(st.st_size, snapshot ? 1000 : 1024);
    close_disk(&d);
  }
}

static void discard_makes_a_hole_where_it_may(void **state) {
  for (unsigned may = 0; may < 2; may++) {
    struct disk d;
    struct stat before, after;
    uint32_t words[2];
    open_disk(&d, may ? "format=raw,discard=unmap" : "format=raw");
    struct block_request flush = {.operation = BLOCK_FLUSH}, r = {.operation = BLOCK_DISCARD, .at = 65536, .size = 65536};
    assert_int_equal(carry_out(&d, &flush), 0);
    assert_int_equal(stat(d.path, &before), 0);
    int error = carry_out(&d, &r);
    if (error == ENOTSUP) return close_disk(&d); /* that file system has no holes */
    assert_int_equal(error, 0);
    assert_int_equal(simple(&d, BLOCK_READ, 65536 - 4, words, 8), 0);
    assert_true(words[0] == 65536 / 4 - 1 && words[1] == (may ? 0 : 65536 / 4));
    assert_int_equal(stat(d.path, &after), 0);
    assert_true(after.st_size == SIZE && (after.st_blocks < before.st_blocks) == may);
    close_disk(&d);
  }
}

struct held_thread {
  struct pool_work work;
  atomic_bool go;
};
static void hold(struct pool_work *w) {
  while (!atomic_load(&((struct held_thread *)w)->go)) nap();
}

/* Not all file systems can be asked without waiting: overlayfs and FUSE cannot, and all that is read there is read by threads. */
static bool reads_at_once(void) {
  char path[64];
  uint8_t byte;
  const struct iovec to = {&byte, 1};
  struct statfs s;
  make_file(path);
  int fd = open(path, O_RDONLY);
  bool known = preadv2(fd, &to, 1, 0, RWF_NOWAIT) >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS);
  known |= fstatfs(fd, &s) == 0 && s.f_type == TMPFS_MAGIC;
  close(fd), unlink(path);
  return known;
}

/* Writes that end in the page cache, and reads from it, take no thread's turn; those that are to be on the medium do. */
static void what_the_page_cache_takes_needs_no_thread(void **state) {
  static const char *const at_once[] = {"format=raw", "format=raw,cache=unsafe", "format=raw,snapshot=on"};
  static const char *const by_threads[] = {"format=raw,cache=writethrough", "format=raw,cache=none"};
  static uint8_t bytes[8192], back[8192];
  if (!reads_at_once()) skip();
  for (unsigned i = 0; i < 3; i++) {
    struct disk d;
    struct held_thread held[4] = {0};
    open_disk(&d, at_once[i]);
    for (unsigned k = 0; k < 4; k++) held[k].work.function = hold, pool_add(d.pool, &held[k].work);
    for (unsigned k = 0; k < sizeof bytes; k++) bytes[k] = (uint8_t)(k * 7 >> 1);
    assert_int_equal(simple(&d, BLOCK_WRITE, 4096, bytes, sizeof bytes), 0);
    assert_int_equal(block_drive_info(d.drive).count.bytes_written, sizeof bytes);
    assert_int_equal(simple(&d, BLOCK_READ, 4096, back, sizeof back), 0);
    assert_memory_equal(bytes, back, sizeof back);
    for (unsigned k = 0; k < 4; k++) atomic_store(&held[k].go, true);
    close_disk(&d);
  }
  for (unsigned i = 0; i < 2; i++) {
    struct disk d;
    struct held_thread held[4] = {0};
    struct block_piece piece = {bytes, 4096};
    open_disk(&d, by_threads[i]);
    for (unsigned k = 0; k < 4; k++) held[k].work.function = hold, pool_add(d.pool, &held[k].work);
    struct block_request r = {
      .operation = BLOCK_WRITE, .size = 4096, .pieces = &piece, .piece_count = 1, .done = note_done, .opaque = &d};
    bytes[0] = 0;
    block_submit(d.b, &r);
    for (unsigned k = 0; k < 20; k++) nap(), post_run(&d.posts);
    assert_int_equal(d.done, 0);
    for (unsigned k = 0; k < 4; k++) atomic_store(&held[k].go, true);
    wait_done(&d, 1);
    assert_int_equal(d.error, 0);
    close_disk(&d);
  }
}

/* Is this page in the host's page cache? To read it, without waiting, may fetch it for the next who asks. */
static bool is_there(int fd, off_t at) {
  unsigned char resident = 1;
  void *page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, at);
  assert_true(page != MAP_FAILED && mincore(page, 4096, &resident) == 0);
  munmap(page, 4096);
  return resident & 1;
}

/* The vCPU waits for no medium: not for a page of which a part is written and which is not there, and not again where the host
 * holds writers back. */
static void writes_at_once_do_not_wait(void **state) {
  char path[64];
  static uint8_t bytes[8192];
  const struct iovec page = {bytes, 4096}, part = {bytes, 512};
  struct page_cache c;
  if (!reads_at_once()) skip();
  make_file(path);
  int fd = open(path, O_RDWR);
  page_cache_init(&c, fd);
  assert_true(page_cache_write(&c, 8192, 4096, &page, 1));
  assert_true(page_cache_write(&c, 512, 512, &part, 1)); /* what make_file() wrote is there */
  page_cache_took(&c, 1000000);
  assert_true(page_cache_write(&c, 8192, 4096, &page, 1));
  page_cache_took(&c, 200000000);
  if (c.refuses_writes) assert_false(page_cache_write(&c, 8192, 4096, &page, 1));
  assert_true(page_cache_read(&c, 8192, 4096, &page, 1));
  c.not_before = 0;
  fdatasync(fd);
  posix_fadvise(fd, 0, SIZE, POSIX_FADV_DONTNEED);
  if (!is_there(fd, 4096)) assert_false(page_cache_write(&c, 4096 + 512, 512, &part, 1));
  assert_true(page_cache_write(&c, 4096, 4096, &page, 1));
  c.is_local = false;
  if (c.refuses_writes) assert_false(page_cache_write(&c, 4096, 4096, &page, 1));
  close(fd), unlink(path);
}

/* A block device's file is in /dev, whose file system is in memory; what is behind it is not. */
static int loop_device(int file) {
  char path[32];
  int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), number = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE);
  if (control >= 0) close(control);
  if (number < 0) return -1;
  snprintf(path, sizeof path, "/dev/loop%d", number);
  const struct loop_config config = {.fd = (uint32_t)file, .info.lo_flags = LO_FLAGS_AUTOCLEAR};
  int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0 || ioctl(fd, LOOP_CONFIGURE, &config) == 0) return fd;
  close(fd);
  return -1;
}

static void a_block_device_is_not_in_memory(void **state) {
  char path[64];
  static uint8_t bytes[4096];
  const struct iovec page = {bytes, 4096}, part = {bytes, 512};
  struct page_cache c;
  make_file(path);
  int file = open(path, O_RDWR | O_CLOEXEC), fd = loop_device(file);
  close(file), unlink(path);
  if (fd < 0) skip(); /* nobody but root may have one */
  page_cache_init(&c, fd);
  assert_true(c.is_local);
  assert_false(c.in_memory);
  assert_true(page_cache_write(&c, 4096, 4096, &page, 1));
  assert_true(page_cache_write(&c, 4096 + 512, 512, &part, 1));
  assert_int_equal(fdatasync(fd), 0);
  posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  if (!is_there(fd, 8192)) assert_false(page_cache_write(&c, 8192 + 512, 512, &part, 1));
  close(fd);
}

/* All at once, each with its own place: every one is done, once, with its own bytes. */
static void many_requests_at_once(void **state) {
  enum { MANY = 400 };
  static struct block_request r[MANY];
  static struct block_piece piece[MANY];
  static uint32_t words[MANY][128];
  for (unsigned kind = 0; kind < KINDS; kind++) {
    struct disk d;
    open_disk(&d, kinds[kind]);
    for (unsigned i = 0; i < MANY; i++) {
      piece[i] = (struct block_piece){(uint8_t *)words[i], sizeof words[i]};
      r[i] = (struct block_request){.operation = i % 2 ? BLOCK_WRITE : BLOCK_READ,
                                    .at = i * 512,
                                    .size = 512,
                                    .pieces = &piece[i],
                                    .piece_count = 1,
                                    .done = note_done,
                                    .opaque = &d};
      if (i % 2) memset(words[i], (int)i, sizeof words[i]);
      block_submit(d.b, &r[i]);
    }
    for (int i = 0; i < 50000 && d.done < MANY; i++) {
      if (atomic_exchange(&d.kicks, 0)) post_run(&d.posts);
      else nap();
    }
    assert_int_equal(d.done, MANY);
    for (unsigned i = 0; i < MANY; i++) {
      uint32_t there[128];
      if (i % 2) assert_int_equal(simple(&d, BLOCK_READ, i * 512, there, 512), 0);
      if (i % 2) assert_memory_equal(there, words[i], 512);
      else assert_int_equal(words[i][5], i * 128 + 5);
    }
    struct block_drive_info info = block_drive_info(d.drive);
    assert_true(info.count.reads == MANY && info.count.writes == MANY / 2 && info.count.bytes_written == MANY / 2 * 512);
    close_disk(&d);
  }
}

/* The machine ends with requests under way: they are carried out, nobody is told. */
static void the_end_waits_for_writes(void **state) {
  static struct block_request r[32];
  static uint8_t bytes[512];
  struct block_piece piece = {bytes, 512};
  struct disk d;
  memset(bytes, 0xa5, sizeof bytes);
  open_disk(&d, "format=raw");
  for (unsigned i = 0; i < 32; i++) {
    r[i] = (struct block_request){
      .operation = BLOCK_WRITE, .at = i * 4096, .size = 512, .pieces = &piece, .piece_count = 1, .done = note_done, .opaque = &d};
    block_submit(d.b, &r[i]);
  }
  pool_destroy(d.pool);
  d.pool = NULL;
  int fd = open(d.path, O_RDONLY);
  for (unsigned i = 0; i < 32; i++) {
    uint8_t seen = 0;
    assert_int_equal(pread(fd, &seen, 1, i * 4096 + 511), 1);
    assert_int_equal(seen, 0xa5);
  }
  assert_int_equal(d.done, 0);
  close(fd);
  close_disk(&d);
}

/* ---- formats ---- */

/* The guest decides what is in block 0, the next one who guesses would believe it. */
static void a_guest_cannot_make_a_qcow2_of_a_guessed_raw_image(void **state) {
  uint8_t sector[1024] = "QFI\xfb\0\0\0\3";
  const struct {
    const char *text;
    int error;
  } rows[] = {{"snapshot=off", EPERM}, {"format=raw", 0}, {"snapshot=on", 0}};
  for (unsigned i = 0; i < 3; i++) {
    struct disk d;
    struct block_piece split[] = {{sector, 3}, {sector + 3, 0}, {sector + 3, 1021}};
    struct block_request r = {.operation = BLOCK_WRITE, .size = 1024, .pieces = split, .piece_count = 3};
    open_disk(&d, rows[i].text);
    assert_string_equal(block_drive_info(d.drive).format, "raw");
    assert_int_equal(carry_out(&d, &r), rows[i].error);
    assert_int_equal(simple(&d, BLOCK_WRITE, 512, sector, 512), 0); /* elsewhere it means nothing */
    assert_int_equal(simple(&d, BLOCK_WRITE, 0, sector + 8, 512), 0);
    close_disk(&d);
  }
}

static void marks_of_formats(void **state) {
  static const struct {
    const char *format, *name;
    unsigned at;
    const char *mark;
    unsigned size;
  } rows[] = {
    {"qcow2", "x", 0, "QFI\xfb\0\0\0\3", 8},
    {"qcow", "x", 0, "QFI\xfb\0\0\0\1", 8},
    {"raw", "x", 0, "QFI\xfb\0\0\0\7", 8},
    {"vmdk", "x", 0, "KDMV", 4},
    {"vmdk", "x", 0, "# Disk DescriptorFile\n", 22},
    {"raw", "x", 0, "# Disk DescriptorFiles", 22},
    {"vdi", "x", 64, "\x7f\x10\xda\xbe", 4},
    {"raw", "x", 63, "\x7f\x10\xda\xbe", 4},
    {"vpc", "x.vhd", 0, "conectix", 8},
    {"vhdx", "x", 0, "vhdxfile", 8},
    {"luks", "x", 0, "LUKS\xba\xbe", 6},
    {"dmg", "x.dmg", 0, "x", 1},
    {"raw", ".dmg", 0, "x", 1},
    {"raw", "disk.qcow2", 510, "\x55\xaa", 2},
  };
  for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    uint8_t bytes[BLOCK_PROBE] = {0};
    memcpy(bytes + rows[i].at, rows[i].mark, rows[i].size);
    assert_string_equal(block_probe(bytes, sizeof bytes, rows[i].name), rows[i].format);
    for (size_t n = 0; n < 100; n++) block_probe(bytes, n, rows[i].name); /* truncated */
  }
}

/* ---- errors of the host ---- */

/* A disk that is full: the process's files may have no more than `bytes`. */
static void limit_files(rlim_t bytes) {
  struct rlimit limit;
  getrlimit(RLIMIT_FSIZE, &limit);
  limit.rlim_cur = bytes;
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* An image that grows as it is written, beyond what there is room for at first. */
static void a_full_disk_stops_the_machine_and_is_tried_again(void **state) {
  struct disk d;
  uint8_t bytes[512] = {7}, there[512];
  struct block_piece piece = {bytes, 512};
  open_disk(&d, "format=raw,snapshot=on"); /* what is written there is new */
  struct block_request r = {
    .operation = BLOCK_WRITE, .at = SIZE - 512, .size = 512, .pieces = &piece, .piece_count = 1, .done = note_done, .opaque = &d};
  limit_files(4096);
  block_submit(d.b, &r);
  for (int i = 0; i < 5000 && !d.stops; i++) nap(), post_run(&d.posts);
  assert_true(d.stops == 1 && d.done == 0 && block_drive_waits(d.drive));
  assert_non_null(strstr(d.reason, "writing into TMPDIR")); /* it is not the image that is full */
  char error[ERROR_TEXT];
  assert_false(block_drive_eject(d.drive, true, error));
  block_drive_resume(d.drive); /* still full */
  for (int i = 0; i < 5000 && d.stops < 2; i++) nap(), post_run(&d.posts);
  assert_true(d.stops == 2 && d.done == 0);
  limit_files(RLIM_INFINITY);
  block_drive_resume(d.drive);
  wait_done(&d, 1);
  assert_int_equal(d.error, 0);
  assert_false(block_drive_waits(d.drive));
  assert_int_equal(simple(&d, BLOCK_READ, SIZE - 512, there, 512), 0);
  assert_memory_equal(there, bytes, 512);
  close_disk(&d);
}

static void a_machine_can_end_while_a_request_waits(void **state) {
  struct disk d;
  uint8_t bytes[512] = {7};
  struct block_piece piece = {bytes, 512};
  open_disk(&d, "format=raw,werror=stop");
  struct block_request r = {
    .operation = BLOCK_WRITE, .at = SIZE - 512, .size = 512, .pieces = &piece, .piece_count = 1, .done = note_done, .opaque = &d};
  limit_files(4096);
  block_submit(d.b, &r);
  for (int i = 0; i < 5000 && !d.stops; i++) nap(), post_run(&d.posts);
  limit_files(RLIM_INFINITY);
  assert_int_equal(d.stops, 1);
  close_disk(&d);
}

static void policies_decide_what_the_guest_hears(void **state) {
  static uint8_t bytes[512];
  static const struct {
    const char *text;
    bool write;
    int error;
    unsigned stops;
  } rows[] = {
    {"rerror=report", false, EIO, 0},  {"rerror=ignore", false, 0, 0}, {"rerror=stop", false, -1, 1},
    {"werror=report", true, EFBIG, 0}, {"werror=ignore", true, 0, 0},  {"werror=stop", true, -1, 1},
    {"werror=enospc", true, -1, 1},
  };
  for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct disk d;
    char text[64];
    struct block_piece piece = {bytes, 512};
    snprintf(text, sizeof text, "format=raw,%s", rows[i].text);
    open_disk(&d, text);
    struct block_request r = {.operation = rows[i].write ? BLOCK_WRITE : BLOCK_READ,
                              .at = SIZE - 512,
                              .size = 512,
                              .pieces = &piece,
                              .piece_count = 1,
                              .done = note_done,
                              .opaque = &d};
    assert_int_equal(truncate(d.path, 512), 0);
    limit_files(4096);
    block_submit(d.b, &r);
    for (int k = 0; k < 5000 && !d.stops && !d.done; k++) nap(), post_run(&d.posts);
    limit_files(RLIM_INFINITY);
    assert_int_equal(d.done ? d.error : -1, rows[i].error);
    assert_int_equal(d.stops, rows[i].stops);
    uint8_t beyond[512];
    if (!d.stops) assert_int_equal(simple(&d, BLOCK_READ, SIZE, beyond, 512), EINVAL); /* the guest's own, whatever the policy */
    close_disk(&d);
  }
}

/* ---- files that are no disks, and others' ---- */

static void expect_refusal(const char *text, const char *says) {
  struct disk d = {0};
  char error[ERROR_TEXT] = "";
  if (try_drive(&d, text, error) || !strstr(error, says)) fail_msg("%s: '%s', not '%s'", text, error, says);
  assert_null(strchr(error, '\n'));
  close_drive(&d);
}

static void files_that_are_no_disks(void **state) {
  char text[128], path[64];
  expect_refusal("file=/tmp", "/tmp: Is a directory");
  expect_refusal("file=/tmp,readonly=on", "/tmp: neither a file");
  expect_refusal("file=/nonexistent/disk", "/nonexistent/disk: No such file");
  expect_refusal("file=/dev/null", "/dev/null: neither a file");
  expect_refusal("file=fat:/nonexistent", "No such file");
  expect_refusal("file=fat:/dev/null", "no folder");
  expect_refusal("file=fat:rw:/tmp", "writes into no folder");
  make_file(path);
  assert_int_equal(truncate(path, 1000), 0);
  snprintf(text, sizeof text, "file=%s,format=raw,cache=none", path);
  expect_refusal(text, "multiple of");
  unlink(path);
}

static void an_empty_file_is_a_disk_of_no_bytes(void **state) {
  struct disk d = {0};
  char error[ERROR_TEXT], text[128];
  uint8_t bytes[512];
  make_file(d.path);
  assert_int_equal(truncate(d.path, 0), 0);
  snprintf(text, sizeof text, "file=%s", d.path);
  assert_true(try_drive(&d, text, error));
  assert_true(d.b->present && d.b->size == 0);
  assert_int_equal(simple(&d, BLOCK_READ, 0, bytes, 512), EINVAL);
  close_disk(&d);
}

static void writers_are_alone_and_readers_are_not(void **state) {
  static const struct {
    const char *first, *second, *says;
  } rows[] = {
    {"format=raw", "format=raw", "Failed to get \"write\" lock"},
    {"format=raw", "readonly=on", "Failed to get shared \"write\" lock"},
    {"readonly=on", "format=raw", "Failed to get \"write\" lock"},
    {"readonly=on", "readonly=on", NULL},
    {"snapshot=on", "snapshot=on", NULL}, /* nobody writes */
    {"snapshot=on", "format=raw", "Is another process using the image?"},
    {"format=raw", "format=raw,file.locking=off", NULL},
  };
  for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct disk first, second = {0};
    char text[128], error[ERROR_TEXT] = "";
    open_disk(&first, rows[i].first);
    snprintf(text, sizeof text, "file=%s,%s", first.path, rows[i].second);
    bool opened = try_drive(&second, text, error);
    if (opened != !rows[i].says || (!opened && !strstr(error, rows[i].says))) fail_msg("row %u: %s", i, error);
    close_drive(&second);
    close_drive(&first);
    second = (struct disk){0};
    if (!try_drive(&second, text, error)) fail_msg("row %u: %s", i, error); /* the lock went with it */
    close_drive(&second);
    unlink(first.path);
  }
}

/* ---- media ---- */

struct front {
  unsigned loaded, taken, wanted;
};
static void note_medium(void *opaque, bool loaded) {
  ++*(loaded ? &((struct front *)opaque)->loaded : &((struct front *)opaque)->taken);
}
static void note_wanted(void *opaque) { ((struct front *)opaque)->wanted++; }

static void media_come_and_go(void **state) {
  struct disk d;
  struct front front = {0};
  char other[64], error[ERROR_TEXT];
  uint32_t word;
  open_disk(&d, "media=cdrom");
  make_file(other);
  assert_int_equal(truncate(other, 4096), 0);
  block_connect(d.b, &(struct block_front){.opaque = &front, .medium = note_medium, .eject_wanted = note_wanted});
  assert_true(d.b->is_cdrom && d.b->read_only && d.b->present);
  d.b->locked = true;
  assert_false(block_drive_eject(d.drive, false, error));
  assert_non_null(strstr(error, "locked"));
  assert_true(front.wanted == 1 && front.taken == 0 && d.b->present);
  assert_false(block_drive_change(d.drive, other, NULL, false, false, error));
  assert_true(d.b->present && d.b->size == SIZE);
  d.b->locked = false;
  assert_true(block_drive_eject(d.drive, false, error));
  assert_true(front.taken == 1 && !d.b->present && !d.b->size && d.b->tray_open);
  assert_null(block_drive_info(d.drive).file);
  assert_int_equal(simple(&d, BLOCK_READ, 0, &word, 4), ENOMEDIUM);
  assert_true(block_drive_eject(d.drive, false, error)); /* it is empty */
  assert_false(block_drive_change(d.drive, "/nonexistent/cd", NULL, false, false, error));
  assert_true(block_drive_change(d.drive, other, "raw", false, false, error));
  assert_true(front.loaded == 1 && d.b->present && d.b->size == 4096 && d.b->read_only && !d.b->tray_open);
  assert_string_equal(block_drive_info(d.drive).file, other);
  assert_int_equal(simple(&d, BLOCK_READ, 4, &word, 4), 0);
  assert_int_equal(word, 1);
  assert_true(block_drive_change(d.drive, d.path, NULL, false, false, error)); /* in one go */
  assert_true(front.loaded == 2 && front.taken == 2 && d.b->size == SIZE);
  close_disk(&d);
  unlink(other);
}

static void a_hard_disk_stays_where_it_is(void **state) {
  struct disk d;
  char error[ERROR_TEXT];
  struct front front = {0};
  open_disk(&d, "format=raw");
  block_connect(d.b, &(struct block_front){.opaque = &front});
  assert_false(block_drive_eject(d.drive, true, error));
  assert_false(block_drive_change(d.drive, "/dev/null", NULL, false, true, error));
  assert_true(d.b->present);
  close_disk(&d);
}

static void an_empty_drive_has_no_medium(void **state) {
  struct disk d = {0};
  char error[ERROR_TEXT];
  uint8_t bytes[512];
  struct block_request flush = {.operation = BLOCK_FLUSH};
  assert_true(try_drive(&d, "media=cdrom", error));
  assert_true(!d.b->present && d.b->size == 0);
  assert_int_equal(simple(&d, BLOCK_READ, 0, bytes, 512), ENOMEDIUM);
  assert_int_equal(carry_out(&d, &flush), ENOMEDIUM);
  close_drive(&d);
}

/* R3: what is under way ends before, with its own bytes, and what the front end submits on being told of that, too. */
struct chain {
  struct disk *d;
  struct block_request r;
  struct block_piece piece;
  unsigned left, good;
  uint8_t bytes[4096];
};
static void next_of_chain(struct block_request *r, int error) {
  struct chain *c = r->opaque;
  c->good += !error;
  if (!error && c->left) c->left--, r->at += 4096, block_submit(c->d->b, r);
}
static void a_medium_leaves_when_requests_have_ended(void **state) {
  struct disk d;
  static struct chain chains[8];
  struct front front = {0};
  char error[ERROR_TEXT];
  open_disk(&d, "format=raw");
  block_connect(d.b, &(struct block_front){.opaque = &front, .medium = note_medium});
  for (unsigned i = 0; i < 8; i++) {
    struct chain *c = &chains[i];
    *c = (struct chain){.d = &d, .piece = {c->bytes, 4096}, .left = i};
    memset(c->bytes, 0x80 + (int)i, 4096);
    c->r = (struct block_request){.operation = i % 2 ? BLOCK_WRITE : BLOCK_READ,
                                  .at = i * 65536,
                                  .size = 4096,
                                  .pieces = &c->piece,
                                  .piece_count = 1,
                                  .done = next_of_chain,
                                  .opaque = c};
    block_submit(d.b, &c->r);
  }
  assert_true(block_drive_eject(d.drive, false, error));
  for (unsigned i = 0; i < 8; i++) assert_true(chains[i].good == i + 1 && !chains[i].left);
  post_run(&d.posts); /* nobody is told twice */
  for (unsigned i = 0; i < 8; i++) assert_int_equal(chains[i].good, i + 1);
  assert_int_equal(front.taken, 1);
  close_disk(&d);
}

/* The same from within a post, as a command of the machine monitor is: the queue that runs it loses what it has counted. */
static void eject_now(void *argument) {
  char error[ERROR_TEXT];
  struct disk *d = argument;
  assert_true(block_drive_eject(d->drive, false, error));
}
static void a_medium_leaves_from_within_a_post(void **state) {
  struct disk d;
  static struct block_request r[16];
  static uint8_t bytes[512];
  struct block_piece piece = {bytes, 512};
  open_disk(&d, "format=raw");
  assert_true(post_call(&d.posts, eject_now, &d));
  for (unsigned i = 0; i < 16; i++) {
    r[i] = (struct block_request){
      .operation = BLOCK_READ, .size = 512, .pieces = &piece, .piece_count = 1, .done = note_done, .opaque = &d};
    block_submit(d.b, &r[i]);
  }
  for (int i = 0; i < 100; i++) nap(), post_run(&d.posts);
  assert_true(d.done == 16 && !d.b->present);
  close_disk(&d);
}

/* ---- kill -9 ---- */

/* A process that writes and flushes, and tells how far it has got; what it told of is there when it is gone. */
static void write_until_killed(const char *path, const char *how, int tell) {
  struct disk d = {0};
  char text[160], error[ERROR_TEXT];
  snprintf(text, sizeof text, "file=%s,%s", path, how);
  if (!try_drive(&d, text, error)) _exit(1);
  for (uint32_t i = 1;; i++) {
    uint32_t sector[128];
    struct block_request flush = {.operation = BLOCK_FLUSH};
    for (unsigned k = 0; k < 128; k++) sector[k] = i * 1000 + k;
    if (simple(&d, BLOCK_WRITE, i % 2000 * 512, sector, 512)) _exit(1);
    if (d.b->write_cache && i % 3 == 0 && carry_out(&d, &flush)) _exit(1);
    if ((!d.b->write_cache || i % 3 == 0) && write(tell, &i, sizeof i) != sizeof i) _exit(1);
  }
}
static void what_was_flushed_survives_kill_9(void **state) {
  static const char *const how[] = {"format=raw", "format=raw,cache=writethrough", "format=raw,cache=none",
                                    "format=raw,cache=directsync"};
  for (unsigned round = 0; round < 8; round++) {
    int tell[2];
    char path[64];
    uint32_t last = 0, told;
    make_file(path);
    assert_int_equal(pipe(tell), 0);
    pid_t pid = fork();
    if (!pid) close(tell[0]), write_until_killed(path, how[round % 4], tell[1]);
    close(tell[1]);
    while (last < 4 + 11 * round && read(tell[0], &told, sizeof told) == sizeof told) last = told;
    kill(pid, SIGKILL);
    while (read(tell[0], &told, sizeof told) == sizeof told) last = told;
    waitpid(pid, NULL, 0);
    assert_true(last >= 4 + 11 * round);
    int fd = open(path, O_RDONLY);
    for (uint32_t i = last > 1999 ? last - 1999 : 1; i <= last; i++) {
      uint32_t sector[128];
      assert_int_equal(pread(fd, sector, 512, i % 2000 * 512), 512);
      uint32_t there = sector[0] / 1000; /* one that was written again, but not told of yet, is newer */
      assert_true(there == i || there == i + 2000);
      for (unsigned k = 0; k < 128; k++) assert_int_equal(sector[k], there * 1000 + k);
    }
    close(fd), close(tell[0]);
    unlink(path);
  }
}

int main(void) {
  signal(SIGXFSZ, SIG_IGN); /* as main() of bt */
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(pieces_are_one_run_of_bytes),
    cmocka_unit_test(requests_do_what_an_array_does),
    cmocka_unit_test(what_cannot_be_is_an_error),
    cmocka_unit_test(a_file_that_is_cut_off_is_no_zeros),
    cmocka_unit_test(half_a_sector_at_the_end_is_a_sector),
    cmocka_unit_test(discard_makes_a_hole_where_it_may),
    cmocka_unit_test(what_the_page_cache_takes_needs_no_thread),
    cmocka_unit_test(writes_at_once_do_not_wait),
    cmocka_unit_test(a_block_device_is_not_in_memory),
    cmocka_unit_test(many_requests_at_once),
    cmocka_unit_test(the_end_waits_for_writes),
    cmocka_unit_test(a_guest_cannot_make_a_qcow2_of_a_guessed_raw_image),
    cmocka_unit_test(marks_of_formats),
    cmocka_unit_test(a_full_disk_stops_the_machine_and_is_tried_again),
    cmocka_unit_test(a_machine_can_end_while_a_request_waits),
    cmocka_unit_test(policies_decide_what_the_guest_hears),
    cmocka_unit_test(files_that_are_no_disks),
    cmocka_unit_test(an_empty_file_is_a_disk_of_no_bytes),
    cmocka_unit_test(writers_are_alone_and_readers_are_not),
    cmocka_unit_test(media_come_and_go),
    cmocka_unit_test(a_hard_disk_stays_where_it_is),
    cmocka_unit_test(an_empty_drive_has_no_medium),
    cmocka_unit_test(a_medium_leaves_when_requests_have_ended),
    cmocka_unit_test(a_medium_leaves_from_within_a_post),
    cmocka_unit_test(what_was_flushed_survives_kill_9),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
