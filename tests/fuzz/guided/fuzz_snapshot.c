/* machine_load(): a good state is changed as the input says (states.h). It is refused, with one line and a machine that is as it
 * was; or the machine is fit, saves as it was loaded, and runs on without harm. */
#include "same_again.h"
#include "states.h"

enum { RUN_INSNS = 2000, PAGES_MOST = 8 };

static void change_field(const struct state_base *b, uint8_t *bytes, struct input *in) {
  uint16_t hash = (uint16_t)input_number(in, 2);
  unsigned element = (unsigned)input_number(in, 1);
  size_t n = 1 + input_number(in, 1) % 16;
  const uint8_t *value = input_take(in, n, &n);
  for (unsigned i = 0; i < b->field_count; i++) {
    const struct state_field *f = &b->fields[i];
    size_t all = (size_t)f->size * f->count, at = (size_t)f->size * (element % (f->count ? f->count : 1));
    if (f->hash == hash && all) memcpy(bytes + f->offset + at, value, n < all - at ? n : all - at);
  }
}

/* The changed state, in a block of exactly its size. */
static uint8_t *make_state(const struct state_base *b, struct input *in, size_t *size) {
  uint8_t *bytes = malloc(b->saved.size + PAGES_MOST * (4 + MMU_PAGE));
  size_t cut = 0, pages = 0;
  bool sealed = true;
  if (!bytes) abort();
  memcpy(bytes, b->saved.bytes, *size = b->saved.size);
  while (in->left) {
    unsigned kind = (unsigned)input_number(in, 1) % CHANGE_KINDS;
    if (kind == CHANGE_FIELD) change_field(b, bytes, in);
    if (kind == CHANGE_BYTE) {
      size_t at = input_number(in, 2) % (b->ram + 8);
      bytes[at] = (uint8_t)input_number(in, 1);
    }
    if (kind == CHANGE_CUT) cut = input_number(in, 2);
    if (kind == CHANGE_PAGE && pages < PAGES_MOST) {
      uint32_t page = (uint32_t)input_number(in, 4);
      memcpy(bytes + *size, &page, 4);
      memset(bytes + *size + 4, (int)input_number(in, 1), MMU_PAGE);
      *size += 4 + MMU_PAGE, pages++;
      uint64_t record = *size - b->ram;
      memcpy(bytes + b->ram - 8, &record, 8);
    }
    if (kind == CHANGE_UNSEAL) sealed = false;
  }
  *size -= cut < *size ? cut : *size;
  bytes = realloc(bytes, *size ? *size : 1);
  if (sealed) snapshot_seal(bytes, *size);
  return bytes;
}

static void check_fit(struct machine *m) {
  const char *wrong = mmu_check(m->mmu);
  if (!wrong) wrong = vcpu_unfit(monitor_vcpu(m->monitor));
  REQUIRE(!wrong, "%s", wrong);
}

static void end_of_time(void *opaque) { machine_finish(opaque, END_QUIT, 0); }

static void run_on(struct machine *m) {
  struct clock_timer end;
  clock_timer_init(&end, "end", end_of_time, m);
  clock_timer_set(m->clock, &end, clock_now(m->clock) + RUN_INSNS);
  machine_run_to(m, monitor_insn_count(m->monitor) + RUN_INSNS);
  clock_timer_cancel(m->clock, &end);
  REQUIRE(m->end.kind != END_STOPPED, "the machine had to stop: %s", m->end.reason);
  check_fit(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct input in = {data, size};
  struct state_base *b = state_base((unsigned)input_number(&in, 1));
  size_t state_size;
  char text[200];
  uint8_t *bytes = make_state(b, &in, &state_size);
  const char *error = machine_load(b->machine, bytes, state_size);
  free(bytes);
  if (error) {
    require_one_line(error);
    REQUIRE(machine_compare(b->machine, b->twin, text, sizeof text), "refused (%s), but changed: %s", error, text);
    return 0;
  }
  check_fit(b->machine);
  require_same_again(b->machine); /* what was taken is what is saved, once the first load has put it in order */
  run_on(b->machine);
  error = machine_load(b->machine, b->saved.bytes, b->saved.size);
  REQUIRE(!error, "the good state is refused: %s", error);
  return 0;
}
