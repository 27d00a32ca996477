// The card of docs/hacking.md in a whole machine: BARs, memory of its own, what was written to it, its interrupt, a back end
// whose threads complete requests, -device and -drive, a saved state in the middle of a request. Run only this:
// build/unit/test_example_card
// sources: tests/unit/example_card.c
// link: bt_program
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>
#include "bt/machine.h"
#include "bt/options/devices.h"
#include "bt/snapshot.h"
#include "example_card.h"

/* In place of devices/device_types.c: the only device that can be asked for. */
const struct device_type *device_type_at(unsigned i) { return i ? NULL : &example_card_type; }
const struct device_type *device_type_find(const char *name) {
  return strcmp(name, example_card_type.name) ? NULL : &example_card_type;
}

enum { BLOCKS = 8, PORTS = 0xc000, MEMORY = 0xe0000000, IRQ = 11 };

struct fixture {
  char kernel[32], disk[32];
  struct bt_options o;
  struct machine *m;
  unsigned slot;
};

static uint8_t filler(unsigned block, unsigned i) { return (uint8_t)(block * 31 + i * 7 + 1); }

static void make_files(struct fixture *f) {
  uint32_t image[1024] = {0x1badb002, 0x10000, -(0x1badb002u + 0x10000), 0x100000, 0x100000, 0x101000, 0x102000,
                          0x100020,   0xfeeb};
  strcpy(f->kernel, "/tmp/bt-card-XXXXXX"), strcpy(f->disk, "/tmp/bt-card-XXXXXX");
  int kernel = mkstemp(f->kernel), disk = mkstemp(f->disk);
  assert_int_equal(write(kernel, image, sizeof image), sizeof image); /* a loop onto itself */
  for (unsigned block = 0; block < BLOCKS; block++) {
    uint8_t bytes[MMU_PAGE];
    for (unsigned i = 0; i < MMU_PAGE; i++) bytes[i] = filler(block, i);
    assert_int_equal(write(disk, bytes, MMU_PAGE), MMU_PAGE);
  }
  close(kernel), close(disk);
}

static struct machine *try_machine(struct fixture *f, const char *drive, const char *device, char error[ERROR_TEXT]) {
  char file[128];
  const char *problem;
  snprintf(file, sizeof file, "file=%s,%s", f->disk, drive);
  assert_true(entry_add(&f->o.entries, "drive", "-drive", file, file, &problem));
  assert_true(entry_add(&f->o.entries, "device", "-device", device, device, &problem));
  f->o.ram_size = 16 << 20, f->o.kernel = f->kernel, f->o.acpi = f->o.hpet = true, f->o.monitor.icount_shift = 0;
  return machine_create(&f->o, NULL, error);
}

static uint32_t config(struct machine *m, unsigned slot, unsigned reg) {
  io_bus_write(m->ports, 0xcf8, 4, 0x80000000u | slot << 11 | reg);
  return io_bus_read(m->ports, 0xcfc, 4);
}
static void set_config(struct machine *m, unsigned slot, unsigned reg, uint32_t value) {
  config(m, slot, reg);
  io_bus_write(m->ports, 0xcfc, 4, value);
}

/* As a BIOS and a driver do it. */
static void enable(struct fixture *f) {
  const uint32_t id = (uint32_t)CARD_DEVICE << 16 | CARD_VENDOR;
  for (f->slot = 0; f->slot < 32 && config(f->m, f->slot, 0) != id; f->slot++) {}
  assert_in_range(f->slot, 2, 31);
  set_config(f->m, f->slot, 0x10, PORTS), set_config(f->m, f->slot, 0x14, MEMORY);
  set_config(f->m, f->slot, 4, 3);
}

static void make(struct fixture *f, const char *drive) {
  char error[ERROR_TEXT];
  *f = (struct fixture){0};
  make_files(f);
  f->m = try_machine(f, drive, "example-card,drive=d,revision=7", error);
  if (!f->m) fail_msg("%s", error);
  enable(f);
}
static void unmake(struct fixture *f) {
  if (f->m) machine_destroy(f->m);
  entry_free_all(&f->o.entries);
  unlink(f->kernel), unlink(f->disk);
}

static uint32_t in(struct fixture *f, unsigned reg) { return io_bus_read(f->m->ports, (uint16_t)(PORTS + reg), 4); }
static void out(struct fixture *f, unsigned reg, uint32_t value) { io_bus_write(f->m->ports, (uint16_t)(PORTS + reg), 4, value); }
static uint8_t peek(struct fixture *f, uint64_t at) {
  uint8_t byte;
  mmu_phys_read(f->m->mmu, to_gpa(MEMORY + at), &byte, 1);
  return byte;
}
static void poke(struct fixture *f, uint64_t at, uint8_t byte) { mmu_phys_write(f->m->mmu, to_gpa(MEMORY + at), &byte, 1); }

/* Is the interrupt requested? PIRQs are levels at IRQ 10 or 11. */
static bool requested(struct fixture *f) {
  io_bus_write(f->m->ports, 0xa0, 1, 0x0a); /* OCW3: read IRR */
  return io_bus_read(f->m->ports, 0xa0, 1) & (1 << 2 | 1 << 3);
}

static void start(struct fixture *f, uint32_t command, uint32_t block, uint32_t page) {
  out(f, CARD_BLOCK, block), out(f, CARD_PAGE, page), out(f, CARD_COMMAND, command);
}

static void a_block_arrives_in_its_memory_with_an_interrupt(void **state) {
  struct fixture f;
  make(&f, "if=none,id=d,readonly=on");
  assert_int_equal(peek(&f, 0), 7); /* the property */
  in(&f, CARD_ACK);
  start(&f, CARD_READ, 3, 2);
  assert_int_equal(in(&f, CARD_COMMAND), CARD_BUSY); /* done by a thread; told to the vCPU's when that looks */
  assert_false(requested(&f));
  assert_true(machine_quiesce(f.m));
  assert_int_equal(in(&f, CARD_COMMAND), CARD_DONE);
  assert_true(requested(&f));
  for (unsigned i = 0; i < MMU_PAGE; i++) assert_int_equal(peek(&f, 2 * MMU_PAGE + i), filler(3, i));
  assert_int_equal(in(&f, CARD_ACK), 1 << 2); /* the page that the request wrote */
  out(&f, CARD_ACK, 0);
  assert_false(requested(&f));
  unmake(&f);
}

static void what_the_guest_writes_is_told_and_reaches_the_disk(void **state) {
  struct fixture f;
  make(&f, "if=none,id=d");
  in(&f, CARD_ACK);
  poke(&f, 5 * MMU_PAGE + 9, 0xab), poke(&f, 15 * MMU_PAGE, 1);
  assert_int_equal(in(&f, CARD_ACK), 1 << 5 | 1 << 15);
  assert_int_equal(in(&f, CARD_ACK), 0);
  start(&f, CARD_WRITE, 1, 5);
  assert_true(machine_quiesce(f.m));
  FILE *disk = fopen(f.disk, "r");
  assert_int_equal(fseek(disk, MMU_PAGE + 9, SEEK_SET), 0);
  assert_int_equal(fgetc(disk), 0xab);
  fclose(disk);
  unmake(&f);
}

static void a_block_beyond_the_end_is_an_error_for_the_guest(void **state) {
  struct fixture f;
  make(&f, "if=none,id=d,readonly=on");
  const struct { uint32_t command, block; } bad[] = {{CARD_READ, BLOCKS}, {CARD_READ, 0xffffffff}, {CARD_WRITE, 0}};
  for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
    start(&f, bad[i].command, bad[i].block, 0);
    assert_true(machine_quiesce(f.m));
    assert_int_equal(in(&f, CARD_COMMAND), CARD_DONE | CARD_ERROR);
  }
  unmake(&f);
}

static void saved_and_loaded_in_the_middle_of_a_request(void **state) {
  struct fixture f, g;
  struct state_buffer saved = {0};
  char text[200];
  make(&f, "if=none,id=d,readonly=on"), make(&g, "if=none,id=d,readonly=on");
  poke(&f, 0x1234, 0x77);
  start(&f, CARD_READ, 6, 4);
  assert_int_equal(in(&f, CARD_COMMAND), CARD_BUSY);
  assert_int_equal(machine_save(f.m, &saved), 0);
  start(&g, CARD_READ, 1, 1); /* what it was at ends before, and is of no account */
  assert_null(machine_load(g.m, saved.bytes, saved.size));
  if (!machine_compare(f.m, g.m, text, sizeof text)) fail_msg("%s", text);
  assert_int_equal(in(&g, CARD_COMMAND), CARD_DONE);
  assert_true(requested(&g));
  assert_int_equal(peek(&g, 0x1234), 0x77);
  for (unsigned i = 0; i < MMU_PAGE; i++) assert_int_equal(peek(&g, 4 * MMU_PAGE + i), filler(6, i));
  assert_int_equal(peek(&g, MMU_PAGE), peek(&f, MMU_PAGE));
  free(saved.bytes);
  unmake(&f), unmake(&g);
}

static void a_machine_ends_in_the_middle_of_a_request(void **state) {
  struct fixture f;
  make(&f, "if=none,id=d,readonly=on");
  start(&f, CARD_READ, 0, 0);
  unmake(&f);
}

static void limit_files(rlim_t bytes) {
  struct rlimit limit;
  getrlimit(RLIMIT_FSIZE, &limit);
  limit.rlim_cur = bytes;
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* D16: the front end notices nothing of a disk that is full and has room later, but that it takes long. */
static void a_full_disk_stops_the_machine_until_it_goes_on(void **state) {
  struct fixture f;
  make(&f, "if=none,id=d,snapshot=on");
  poke(&f, 5 * MMU_PAGE + 9, 0xab);
  limit_files(4096);
  start(&f, CARD_WRITE, 7, 5);
  for (unsigned i = 0; i < 10000 && f.m->pause == PAUSE_NONE; i++) usleep(500), post_run(&f.m->posts);
  assert_int_equal(f.m->pause, PAUSE_IO_ERROR);
  assert_int_equal(in(&f, CARD_COMMAND), CARD_BUSY);
  limit_files(RLIM_INFINITY);
  assert_true(machine_continue(f.m));
  assert_true(machine_quiesce(f.m));
  assert_int_equal(in(&f, CARD_COMMAND), CARD_DONE);
  assert_int_equal(f.m->pause, PAUSE_NONE);
  unmake(&f);
}

static void what_is_wrong_is_said(void **state) {
  const struct {
    const char *drive, *device, *says;
  } rows[] = {
    {"if=none,id=d", "example-card", "needs a drive"},
    {"if=none,id=d", "example-card,drive=e", "e"},
    {"if=none,id=d", "example-card,drive=d,revision=10", "9"},
    {"if=none,id=d", "example-card,drive=d,colour=red", "no property 'colour'"},
    {"if=virtio,id=d", "example-card,drive=d", "ide, floppy or none"},
    {"if=none,id=d,format=papyrus", "example-card,drive=d", "no such format"},
    {"if=none", "example-card,drive=d", "id="},
    {"if=none,id=d,file=/nothing/there", "example-card,drive=d", "No such file"},
  };
  for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct fixture f = {0};
    char error[ERROR_TEXT] = "";
    make_files(&f);
    f.m = try_machine(&f, rows[i].drive, rows[i].device, error);
    if (f.m || !strstr(error, rows[i].says)) fail_msg("row %u: %s", i, error);
    unmake(&f);
  }
}

int main(void) {
  signal(SIGXFSZ, SIG_IGN); /* as main() of bt */
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_block_arrives_in_its_memory_with_an_interrupt),
    cmocka_unit_test(what_the_guest_writes_is_told_and_reaches_the_disk),
    cmocka_unit_test(a_block_beyond_the_end_is_an_error_for_the_guest),
    cmocka_unit_test(saved_and_loaded_in_the_middle_of_a_request),
    cmocka_unit_test(a_machine_ends_in_the_middle_of_a_request),
    cmocka_unit_test(a_full_disk_stops_the_machine_until_it_goes_on),
    cmocka_unit_test(what_is_wrong_is_said),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
