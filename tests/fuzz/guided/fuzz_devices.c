/* Registers of every chip, as a guest's ring 0 reaches them, without a CPU in between: a machine with everything attached
 * (tests/fuzz/crash/parts.c), byte 0 says which. The rest are steps: 1 byte what, and of how many bytes (log2, in bits 4 and 5),
 * then
 *   STEP_OUT, STEP_IN        2 port, OUT: the value
 *   STEP_OUT_MANY, _IN_MANY  2 port, 2 how often; values count up from one byte
 *   STEP_STORE, STEP_LOAD    4 physical address, STORE: the value
 *   STEP_MEMORY              4 address, 1 length, the bytes, into RAM as it is now
 *   STEP_TIME                2 microseconds
 *   STEP_USER                1 which: keys, mouse, media, a look at the screen, the machine saved and loaded, reset
 * What the machine was before is loaded again for each input. */
#include "same_again.h"
#include "bt/control/command.h"
#include "bt/control/control.h"
#include "tests/fuzz/crash/case.h"

enum { STEP_OUT, STEP_IN, STEP_OUT_MANY, STEP_IN_MANY, STEP_STORE, STEP_LOAD, STEP_MEMORY, STEP_TIME, STEP_USER, STEPS };
enum { STEPS_MOST = 400, MANY_MOST = 4096 };

struct subject {
  struct parts parts;
  struct bt_options options;
  struct machine *machine;
  struct state_buffer saved;
};

/* The VGA's 16 MiB take most of the time: it has a machine of its own. */
static struct subject *subject(unsigned number) {
  static const unsigned parts[] = {PART_ALL & ~(PART_FIRMWARE | PART_VGA), PART_ALL & ~PART_VGA, PART_VGA | PART_CARD,
                                   PART_VGA | PART_FIRMWARE};
  static struct subject subjects[4];
  struct subject *s = &subjects[number];
  const struct fuzz_case c = {.parts = parts[number]};
  char error[ERROR_TEXT];
  if (s->machine) return s;
  REQUIRE(parts_make(&s->parts, &c, &s->options), "a command line");
  s->options.ram_size = 2 << 20, s->options.acpi = true, s->options.monitor.icount_shift = 0;
  s->machine = machine_create(&s->options, NULL, error);
  REQUIRE(s->machine, "%s", error);
  s->machine->controls = controls_create(s->machine);
  REQUIRE(machine_save(s->machine, &s->saved) == 0, "not saved");
  return s;
}

static void pass(struct machine *m, int64_t ns) {
  int64_t target = clock_now(m->clock) + ns;
  for (unsigned i = 0; i < 10000 && clock_next_deadline(m->clock) <= target; i++) {
    clock_skip_to(m->clock, clock_next_deadline(m->clock));
    clock_run(m->clock);
    if (pc_interrupt_pending(m->pc)) pc_ack_interrupt(m->pc);
  }
  clock_skip_to(m->clock, target);
}

/* What the back ends have done by now is told; all of it, so that an input does the same each time. */
static void settle(struct machine *m) { REQUIRE(machine_quiesce(m), "a device has waited for its back end for 10 s"); }

static void command(struct subject *s, const char *line) {
  struct text out = {0};
  struct memory_format format = {1, 4, 'x'};
  char words[256];
  struct command_call call = {
    .machine = s->machine, .controls = s->machine->controls, .format = &format, .words = words, .out = &out};
  command_run(line, &call);
  text_free(&out);
}

static void user(struct subject *s, unsigned what) {
  static const char *const lines[] = {"sendkey a",   "mouse_move 5 -3 1", "mouse_button 3", "eject cd",
                                      "eject -f cd", "eject a",           "eject -f b",     "screendump /dev/null",
                                      "info pci",    "info mtree",        "info lapic",     "info pic",
                                      "info qtree",  "system_powerdown",  "info block",     "xp /20xb 0xa0000"};
  static const char *const drives[] = {"cd", "a", "b", "empty"};
  char line[96];
  unsigned n = what >> 4;
  switch (what & 15) {
  case 0: require_same_again(s->machine); break;
  case 1: pc_reset(s->machine->pc); break;
  case 2:
    snprintf(line, sizeof line, "change %s -f /proc/self/fd/%d raw read-only", drives[n & 3],
             s->parts.files[(n >> 2) % s->parts.file_count]);
    command(s, line);
    break;
  case 3: pc_keyboard_press(s->machine->pc, (enum pc_key)(1 + n), n & 1); break;
  default: command(s, lines[what % (sizeof lines / sizeof *lines)]); break;
  }
}

static void many(struct machine *m, bool in, uint16_t port, unsigned size, unsigned count, uint32_t value) {
  for (unsigned i = 0; i < count && i < MANY_MOST; i++)
    if (in) io_bus_read(pc_io(m->pc), port, size);
    else io_bus_write(pc_io(m->pc), port, size, value + i);
}

static void step(struct subject *s, struct input *in) {
  struct machine *m = s->machine;
  unsigned what = (unsigned)input_number(in, 1), size = 1u << (what >> 4 & 3) % 3;
  uint8_t bytes[64] = {0};
  size_t n = size;
  switch (what % 16 % STEPS) {
  case STEP_OUT: {
    uint16_t port = (uint16_t)input_number(in, 2);
    io_bus_write(pc_io(m->pc), port, size, (uint32_t)input_number(in, size));
    break;
  }
  case STEP_IN: io_bus_read(pc_io(m->pc), (uint16_t)input_number(in, 2), size); break;
  case STEP_OUT_MANY:
  case STEP_IN_MANY: {
    uint16_t port = (uint16_t)input_number(in, 2), count = (uint16_t)input_number(in, 2);
    many(m, what % 16 % STEPS == STEP_IN_MANY, port, size, count, (uint32_t)input_number(in, 1));
    break;
  }
  case STEP_STORE: {
    gpa at = to_gpa(input_number(in, 4));
    const uint8_t *value = input_take(in, size, &n);
    memcpy(bytes, value, n);
    mmu_phys_write(m->mmu, at, bytes, size);
    break;
  }
  case STEP_LOAD: mmu_phys_read(m->mmu, to_gpa(input_number(in, 4)), bytes, size); break;
  case STEP_MEMORY: {
    gpa at = to_gpa(input_number(in, 4));
    const uint8_t *value = input_take(in, input_number(in, 1) % 64, &n);
    memcpy(bytes, value, n);
    mmu_dma_write(m->mmu, at, bytes, n);
    break;
  }
  case STEP_TIME: pass(m, (int64_t)input_number(in, 2) * 1000); break;
  default: settle(m), user(s, (unsigned)input_number(in, 1)); break;
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct input in = {data, size};
  struct subject *s = subject(input_number(&in, 1) & 3);
  const char *wrong = machine_load(s->machine, s->saved.bytes, s->saved.size);
  REQUIRE(!wrong, "the good state is refused: %s", wrong);
  for (unsigned i = 0; in.left && i < STEPS_MOST; i++) step(s, &in), settle(s->machine);
  REQUIRE(!(wrong = mmu_check(s->machine->mmu)), "%s", wrong);
  if (size % 8 == 0) require_same_again(s->machine);
  return 0;
}
