// Saved states of a whole machine: what is refused, that nothing read from a file can crash, that a load goes on where the save
// was - in every state of the CPU that a stop can meet - and that differences are named. Run only this: build/unit/test_snapshot
// link: bt_program
// timeout: 300
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include "bt/snapshot.h"
#include "fixed_entries.h"
#include "snapshot_guests.h"

static char folder[32] = "/tmp/bt-snapshot-XXXXXX"; /* one for all: the guest's memory holds the kernel's name */

struct fixture {
  char path[64];
  struct bt_options o;
  struct machine *m;
};
static void make(struct fixture *f, const uint8_t image[4096]) {
  char error[ERROR_TEXT];
  struct bt_options o = f->o;
  snprintf(f->path, sizeof f->path, "%s/k", folder);
  FILE *k = fopen(f->path, "w");
  assert_int_equal(fwrite(image, 1, 4096, k), 4096);
  fclose(k);
  if (!o.ram_size) o.ram_size = 4 << 20;
  o.kernel = f->path, o.acpi = o.no_reboot = true;
  if (!o.entries) o.entries = &fixed_debug_exit;
  f->o = o;
  f->m = machine_create(&f->o, NULL, error);
  unlink(f->path);
  if (!f->m) fail_msg("%s", error);
}
static void unmake(struct fixture *f) { machine_destroy(f->m); }

static struct state_buffer save(struct machine *m) {
  struct state_buffer b = {0};
  assert_int_equal(machine_save(m, &b), 0);
  return b;
}
static void load(struct machine *m, const struct state_buffer *b) {
  const char *error = machine_load(m, b->bytes, b->size);
  if (error) fail_msg("%s", error);
}
static void assert_same(struct machine *a, struct machine *b) {
  char text[200];
  if (!machine_compare(a, b, text, sizeof text)) fail_msg("%s", text);
}
static void assert_end(struct machine *m, enum end_kind kind, int status) {
  const struct machine_end *end = machine_run(m);
  if (end->kind != kind || end->status != status) fail_msg("ended by %d with status %d: %s", end->kind, end->status, end->reason);
}

/* ---- stopping ---- */

static void stops_at_the_instruction(void **state) {
  struct fixture f = {0};
  make(&f, guest_spin);
  for (uint64_t at = 1; at < 200; at += at < 60 ? 1 : 13) {
    assert_true(machine_run_to(f.m, at));
    assert_int_equal(monitor_insn_count(f.m->monitor), at);
    assert_int_equal(monitor_vcpu(f.m->monitor)->s.gpr[REG_EAX], (0x2badb002 + (at + 1) / 2) & 0xffffffff);
  }
  assert_true(machine_run_to(f.m, 1000001));
  assert_int_equal(monitor_vcpu(f.m->monitor)->s.gpr[REG_EAX], 0x2badb002 + 500001);
  assert_true(machine_run_to(f.m, 5)); /* passed already */
  assert_int_equal(monitor_insn_count(f.m->monitor), 1000001);
  unmake(&f);
}
static void a_stop_changes_nothing(void **state) {
  struct fixture a = {0}, b = {0};
  make(&a, guest_ticks);
  make(&b, guest_ticks);
  for (uint64_t at = 1; machine_run_to(a.m, at); at += 7) {}
  assert_end(b.m, END_DEBUG_EXIT, 15);
  assert_same(a.m, b.m);
  unmake(&a);
  unmake(&b);
}

/* ---- going on ---- */

/* At `count` points `step` apart: saved, loaded elsewhere, run to the end, compared with a run that nobody touched. */
static void goes_on(const uint8_t *image, uint64_t first, uint64_t step, unsigned count, int status) {
  struct fixture untouched = {0}, a = {0};
  make(&untouched, image);
  assert_end(untouched.m, END_DEBUG_EXIT, status);
  make(&a, image);
  for (unsigned i = 0; i < count && machine_run_to(a.m, first + i * step); i++) {
    struct fixture b = {0};
    make(&b, image);
    struct state_buffer s = save(a.m);
    load(b.m, &s);
    assert_same(a.m, b.m);
    assert_end(b.m, END_DEBUG_EXIT, status);
    assert_same(untouched.m, b.m);
    free(s.bytes);
    unmake(&b);
  }
  unmake(&a);
  unmake(&untouched);
}
static void goes_on_in_hlt_and_shadows(void **state) {
  goes_on(guest_ticks, 40, 1, 100, 15); /* every boundary around STI, HLT, the interrupt and the handler */
  goes_on(guest_ticks, 300, 2477, 60, 15);
}
static void goes_on_with_pdptes_that_memory_lacks(void **state) { goes_on(guest_pae, 1, 1500, 30, 19); }
static void goes_on_with_a20_masked(void **state) { goes_on(guest_a20, 1, 1500, 30, 21); }
/* A machine that has run is as good as a fresh one: its shadow tables and blocks are of another world. */
static void loads_into_a_used_machine(void **state) {
  struct fixture a = {0}, b = {0};
  make(&a, guest_ticks);
  make(&b, guest_pae);
  assert_end(b.m, END_DEBUG_EXIT, 19);
  assert_true(machine_run_to(a.m, 1000));
  struct state_buffer s = save(a.m);
  load(b.m, &s);
  assert_same(a.m, b.m);
  assert_end(a.m, END_DEBUG_EXIT, 15);
  assert_end(b.m, END_DEBUG_EXIT, 15);
  assert_same(a.m, b.m);
  free(s.bytes);
  unmake(&a);
  unmake(&b);
}

/* Nothing loads them into a CPU before ring 0 looks at them: an exception that is not masked must have set ES and B by itself. */
static void x87_words_are_loaded_as_by_fxrstor(void **state) {
  struct fixture a = {0}, b = {0};
  make(&a, guest_ticks);
  make(&b, guest_ticks);
  struct vcpu *v = monitor_vcpu(a.m->monitor);
  assert_false(v->fp_live);
  memcpy(v->fp.bytes, "\x4c\x09\x26\x1c", 4); /* FCW, FSW */
  struct state_buffer s = save(a.m);
  load(b.m, &s);
  assert_memory_equal(monitor_vcpu(b.m->monitor)->fp.bytes, "\x4c\x09\xa6\x9c", 4);
  free(s.bytes);
  unmake(&a);
  unmake(&b);
}

static void *quit_later(void *opaque) {
  struct timespec t = {0, 2 * 1000000L};
  nanosleep(&t, NULL);
  machine_quit(opaque);
  return NULL;
}
/* Real time: the guest's clock goes on from where it was, and so do its timers. */
static void goes_on_in_real_time(void **state) {
  struct fixture a = {.o.monitor.icount_shift = -1}, b = a;
  pthread_t other;
  make(&a, guest_ticks);
  make(&b, guest_ticks);
  pthread_create(&other, NULL, quit_later, a.m);
  machine_run(a.m);
  pthread_join(other, NULL);
  int64_t then = clock_now(a.m->clock);
  struct state_buffer s = save(a.m);
  load(b.m, &s);
  assert_true(clock_now(b.m->clock) >= then && clock_now(b.m->clock) < then + 1000000000);
  if (a.m->end.kind == END_QUIT) assert_end(b.m, END_DEBUG_EXIT, 15);
  free(s.bytes);
  unmake(&a);
  unmake(&b);
}

/* ---- naming differences ---- */

static void assert_named(struct machine *a, struct machine *b, const char *start) {
  char text[200] = "";
  assert_false(machine_compare(a, b, text, sizeof text));
  if (strncmp(text, start, strlen(start))) fail_msg("\"%s\" does not begin with \"%s\"", text, start);
}
static void differences_are_named(void **state) {
  struct fixture a = {0}, b = {0};
  char text[200];
  make(&a, guest_spin);
  make(&b, guest_spin);
  assert_same(a.m, b.m);
  struct vcpu *v = monitor_vcpu(b.m->monitor);
  uint8_t *ram = mmu_ram_pointer(b.m->mmu, to_gpa(0x234567), 1);
  *ram ^= 1;
  assert_named(a.m, b.m, "RAM at 00234567: 00, 01");
  io_bus_write(pc_io(b.m->pc), 0x21, 1, 0x5a);
  assert_named(a.m, b.m, "i8259.");
  v->s.seg[SEG_FS].limit ^= 1;
  assert_named(a.m, b.m, "cpu.fs.limit[0]: ");
  v->s.gpr[REG_EDX] = 0x1234;
  assert_named(a.m, b.m, "cpu.s.gpr[2]: 0, 1234");
  io_bus_write(pc_io(b.m->pc), 0x21, 1, io_bus_read(pc_io(a.m->pc), 0x21, 1));
  v->s.gpr[REG_EDX] = 0, v->s.seg[SEG_FS].limit ^= 1, *ram = 0;
  assert_true(machine_compare(a.m, b.m, text, sizeof text));
  unmake(&a);
  unmake(&b);
}

/* ---- refusing ---- */

static void assert_refused(struct machine *m, struct machine *twin, const uint8_t *bytes, size_t size, const char *says) {
  const char *error = machine_load(m, bytes, size);
  if (!error) fail_msg("was not refused: %s", says);
  if (!strstr(error, says)) fail_msg("\"%s\" does not say \"%s\"", error, says);
  assert_null(strchr(error, '\n'));
  assert_same(m, twin);
}
static void other_machines_are_refused(void **state) {
  struct fixture a = {0}, ram = {.o.ram_size = 8 << 20}, shift = {.o.monitor.icount_shift = 1},
                 real = {.o.monitor.icount_shift = -1};
  struct fixture port = {.o.entries = &fixed_serial};
  struct {
    struct fixture *f;
    const char *says;
  } rows[] = {{&ram, "RAM"}, {&shift, "-icount"}, {&real, "-icount"}, {&port, "devices"}};
  make(&a, guest_spin);
  machine_run_to(a.m, 10000);
  struct state_buffer s = save(a.m);
  for (unsigned i = 0; i < 4; i++) {
    make(rows[i].f, guest_spin);
    const char *error = machine_load(rows[i].f->m, s.bytes, s.size);
    if (!error || !strstr(error, rows[i].says)) fail_msg("%s: %s", rows[i].says, error);
    unmake(rows[i].f);
  }
  free(s.bytes);
  unmake(&a);
}
static void the_truncated_and_the_damaged_are_refused(void **state) {
  struct fixture a = {0}, b = {0}, twin = {0};
  make(&a, guest_ticks);
  make(&b, guest_ticks);
  make(&twin, guest_ticks);
  machine_run_to(a.m, 20000);
  struct state_buffer s = save(a.m);
  size_t devices_end = s.size;
  while (memcmp(s.bytes + --devices_end, "ram\0\0\0\0\0", 8)) {}
  for (size_t n = 0; n < devices_end + 64; n += n < 200 ? 1 : 17) { /* as it would be cut, and with its checksum put right */
    uint8_t *cut = malloc(n + 1);
    memcpy(cut, s.bytes, n);
    assert_refused(b.m, twin.m, cut, n, n < 8 ? "not a saved state" : n < 16 ? "truncated" : "damaged");
    snapshot_seal(cut, n);
    assert_refused(b.m, twin.m, cut, n, n < 8 ? "not a saved state" : "saved state");
    free(cut);
  }
  for (size_t at = 0; at < s.size; at += s.size / 97) {
    s.bytes[at] ^= 0x10;
    assert_refused(b.m, twin.m, s.bytes, s.size, at < 8 ? "not a saved state" : "damaged");
    s.bytes[at] ^= 0x10;
  }
  load(b.m, &s);
  free(s.bytes);
  unmake(&a);
  unmake(&b);
  unmake(&twin);
}

/* ---- whatever a file says ---- */

static uint64_t next_random(uint64_t *x) { return *x ^= *x << 13, *x ^= *x >> 7, *x ^= *x << 17, *x * 0x2545f4914f6cdd1d; }

/* Ends guests that a mutation left in HLT for ever. */
struct ender {
  pthread_mutex_t lock;
  struct machine *m;
  atomic_bool stop;
};
static void *end_soon(void *opaque) {
  struct ender *e = opaque;
  struct timespec t = {0, 20 * 1000000L};
  while (!atomic_load(&e->stop)) {
    nanosleep(&t, NULL);
    pthread_mutex_lock(&e->lock);
    if (e->m) machine_quit(e->m);
    pthread_mutex_unlock(&e->lock);
  }
  return NULL;
}
static void watch(struct ender *e, struct machine *m) {
  pthread_mutex_lock(&e->lock);
  e->m = m;
  pthread_mutex_unlock(&e->lock);
}

/* Some bytes before RAM are changed, the checksum is put right: refused, or it runs - into whatever. */
static void fuzz_one(struct ender *e, const struct state_buffer *s, size_t fields_end, const uint8_t *image, uint64_t seed,
                     unsigned *taken) {
  struct fixture b = {0};
  uint64_t random = seed;
  uint8_t *bytes = malloc(s->size);
  memcpy(bytes, s->bytes, s->size);
  for (unsigned n = 1 + next_random(&random) % 6; n; n--) {
    size_t at = 16 + next_random(&random) % (fields_end - 16);
    bytes[at] = next_random(&random) & 1 ? (uint8_t)next_random(&random) : (uint8_t)(bytes[at] ^ 1u << next_random(&random) % 8);
  }
  snapshot_seal(bytes, s->size);
  make(&b, image);
  if (!machine_load(b.m, bytes, s->size)) {
    ++*taken;
    watch(e, b.m);
    machine_run_to(b.m, monitor_insn_count(b.m->monitor) + 20000);
    watch(e, NULL);
    struct state_buffer again = save(b.m);
    free(again.bytes);
  }
  free(bytes);
  unmake(&b);
}
static void mutated_states_run_or_are_refused(void **state) {
  const uint8_t *const images[] = {guest_ticks, guest_pae, guest_a20};
  struct ender e = {.lock = PTHREAD_MUTEX_INITIALIZER};
  pthread_t thread;
  unsigned taken = 0, rounds = getenv("BT_FUZZ_ROUNDS") ? (unsigned)atoi(getenv("BT_FUZZ_ROUNDS")) : 400;
  pthread_create(&thread, NULL, end_soon, &e);
  for (unsigned i = 0; i < 3; i++) {
    struct fixture a = {0};
    make(&a, images[i]);
    machine_run_to(a.m, 15000 + 777 * i);
    struct state_buffer s = save(a.m);
    size_t end = s.size;
    while (memcmp(s.bytes + --end, "ram\0\0\0\0\0", 8)) {}
    for (unsigned round = 0; round < rounds / 3; round++)
      fuzz_one(&e, &s, end, images[i], 0x9e3779b97f4a7c15 * (i * 100000 + round + 1), &taken);
    free(s.bytes);
    unmake(&a);
  }
  atomic_store(&e.stop, true);
  pthread_join(thread, NULL);
  assert_true(taken > rounds / 20); /* else it tries nothing */
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(stops_at_the_instruction),
    cmocka_unit_test(a_stop_changes_nothing),
    cmocka_unit_test(goes_on_in_hlt_and_shadows),
    cmocka_unit_test(goes_on_with_pdptes_that_memory_lacks),
    cmocka_unit_test(goes_on_with_a20_masked),
    cmocka_unit_test(loads_into_a_used_machine),
    cmocka_unit_test(x87_words_are_loaded_as_by_fxrstor),
    cmocka_unit_test(goes_on_in_real_time),
    cmocka_unit_test(differences_are_named),
    cmocka_unit_test(other_machines_are_refused),
    cmocka_unit_test(the_truncated_and_the_damaged_are_refused),
    cmocka_unit_test(mutated_states_run_or_are_refused),
  };
  if (!mkdtemp(folder)) return 1;
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  rmdir(folder);
  return failed;
}
