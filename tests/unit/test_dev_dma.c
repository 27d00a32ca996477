// The 8237As with a device of the test's own on each channel. Run only this: build/unit/test_dev_dma
// link: bt_devices
#include "test_dev_rig.h"
#include "devices/chips/dma8237.h"

enum { DEMAND = 0x00, SINGLE = 0x40, BLOCK = 0x80, CASCADE = 0xc0, DOWN = 0x20, AGAIN = 0x10, VERIFY = 0, WRITE = 4, READ = 8 };
enum { STATUS = 8, COMMAND = 8, REQUEST, MASK_ONE, MODE, FLIP_FLOP, MASTER_CLEAR, CLEAR_MASK, MASK_ALL };
enum { SET = 4, DISABLE = 4, MEMORY_TO_MEMORY = 1, AREA = 0x300 };

static const uint8_t page_ports[8] = {0x87, 0x83, 0x81, 0x82, 0x8f, 0x8b, 0x89, 0x8a};

struct board {
  struct mmu mmu;
  struct io_bus *io;
  struct dma8237 dma;
  struct device device;
  struct asker { /* a device that moves `left` bytes of `bytes` when it may */
    struct board *board;
    struct isa_dma line;
    bool to_memory, last;
    unsigned left, done, calls;
    uint8_t bytes[0x20000];
  } askers[8];
};

static void acknowledge(void *opaque) {
  struct asker *a = opaque;
  a->calls++;
  unsigned n = a->to_memory ? isa_dma_to_memory(&a->line, a->bytes + a->done, a->left, &a->last)
                            : isa_dma_from_memory(&a->line, a->bytes + a->done, a->left, &a->last);
  a->done += n;
  a->left -= n;
  if (!a->left || a->last) isa_dma_request(&a->line, false);
}

static int setup(void **state) {
  struct board *b = calloc(1, sizeof *b);
  b->io = io_bus_create();
  b->device = dma8237_init(&b->dma, b->io, &b->mmu);
  for (unsigned i = 0; i < 8; i++) {
    b->askers[i].board = b;
    b->askers[i].line = dma8237_channel(&b->dma, i);
    isa_dma_connect(&b->askers[i].line, &(struct isa_dma_user){acknowledge, &b->askers[i]});
  }
  *state = b;
  return 0;
}
static int teardown(void **state) {
  io_bus_destroy(((struct board *)*state)->io);
  free(*state);
  return 0;
}

static uint16_t port(unsigned channel, unsigned reg) { return (uint16_t)(channel < 4 ? reg : 0xc0 + 2 * reg); }
static void poke(struct board *b, unsigned channel, unsigned reg, uint8_t value) {
  io_bus_write(b->io, port(channel, reg), 1, value);
}
static uint8_t peek(struct board *b, unsigned channel, unsigned reg) {
  return (uint8_t)io_bus_read(b->io, port(channel, reg), 1);
}
static void poke_word(struct board *b, unsigned channel, unsigned reg, uint16_t value) {
  poke(b, channel, FLIP_FLOP, 0);
  poke(b, channel, reg, (uint8_t)value);
  poke(b, channel, reg, (uint8_t)(value >> 8));
}
static uint16_t peek_word(struct board *b, unsigned channel, unsigned reg) {
  poke(b, channel, FLIP_FLOP, 0);
  uint8_t low = peek(b, channel, reg);
  return (uint16_t)(peek(b, channel, reg) << 8 | low);
}
static uint16_t address(struct board *b, unsigned channel) { return peek_word(b, channel, 2 * (channel % 4)); }
static uint16_t count(struct board *b, unsigned channel) { return peek_word(b, channel, 2 * (channel % 4) + 1); }

static void program(struct board *b, unsigned channel, uint8_t mode, uint8_t page, uint16_t at, uint16_t units_less_one) {
  poke(b, channel, MASK_ONE, (uint8_t)(SET | channel % 4));
  poke(b, channel, MODE, (uint8_t)(mode | channel % 4));
  poke_word(b, channel, 2 * (channel % 4), at);
  poke_word(b, channel, 2 * (channel % 4) + 1, units_less_one);
  io_bus_write(b->io, page_ports[channel], 1, page);
}
static void unmask(struct board *b, unsigned channel) { poke(b, channel, MASK_ONE, (uint8_t)(channel % 4)); }

static struct asker *ask(struct board *b, unsigned channel, bool to_memory, unsigned bytes) {
  struct asker *a = &b->askers[channel];
  a->to_memory = to_memory, a->left = bytes, a->done = a->calls = 0, a->last = false;
  for (unsigned i = 0; i < sizeof a->bytes; i++) a->bytes[i] = (uint8_t)(to_memory ? i * 7 + channel + 1 : 0x55);
  isa_dma_request(&a->line, true);
  return a;
}

/* ---- moving ---- */

static void bytes_go_to_memory_and_are_counted(void **state) {
  struct board *b = *state;
  for (unsigned channel = 0; channel < 4; channel++) {
    program(b, channel, SINGLE | WRITE, 0x03, 0x1000, AREA - 1);
    unmask(b, channel);
    struct asker *a = ask(b, channel, true, 0x100);
    assert_int_equal(a->done, 0x100);
    assert_false(a->last);
    assert_memory_equal(b->mmu.low + 0x31000, a->bytes, 0x100);
    assert_int_equal(address(b, channel), 0x1100);
    assert_int_equal(count(b, channel), AREA - 0x100 - 1);
  }
}

static void bytes_come_from_memory(void **state) {
  struct board *b = *state;
  for (unsigned i = 0; i < AREA; i++) b->mmu.low[0x52000 + i] = (uint8_t)(i * 3);
  program(b, 2, DEMAND | READ, 0x05, 0x2000, AREA - 1);
  unmask(b, 2);
  struct asker *a = ask(b, 2, false, AREA);
  assert_memory_equal(a->bytes, b->mmu.low + 0x52000, AREA);
}

static void words_have_word_addresses_and_no_bit_0_of_the_page(void **state) {
  struct board *b = *state;
  for (unsigned channel = 5; channel < 8; channel++) {
    program(b, channel, SINGLE | WRITE, 0x05, 0x8123, 0x1ff);
    unmask(b, channel);
    struct asker *a = ask(b, channel, true, 0x101); /* half a word is none */
    assert_int_equal(a->done, 0x100);
    assert_memory_equal(b->mmu.low + 0x40000 + 2 * 0x8123, a->bytes, 0x100);
    assert_int_equal(address(b, channel), 0x8123 + 0x80);
    assert_int_equal(count(b, channel), 0x1ff - 0x80);
    isa_dma_request(&a->line, false);
  }
}

static void addresses_wrap_within_the_page(void **state) {
  struct board *b = *state;
  program(b, 1, BLOCK | WRITE, 0x02, 0xfff0, 0x1f);
  unmask(b, 1);
  struct asker *a = ask(b, 1, true, 0x20);
  assert_memory_equal(b->mmu.low + 0x2fff0, a->bytes, 0x10);
  assert_memory_equal(b->mmu.low + 0x20000, a->bytes + 0x10, 0x10);
  assert_int_equal(b->mmu.low[0x30000], 0);
  program(b, 5, BLOCK | WRITE, 0x04, 0xfff8, 0xf);
  unmask(b, 5);
  a = ask(b, 5, true, 0x20);
  assert_memory_equal(b->mmu.low + 0x5fff0, a->bytes, 0x10);
  assert_memory_equal(b->mmu.low + 0x40000, a->bytes + 0x10, 0x10);
  assert_int_equal(b->mmu.low[0x60000], 0);
}

static void decremented_addresses_go_down_and_wrap(void **state) {
  struct board *b = *state;
  program(b, 3, SINGLE | DOWN | WRITE, 0x01, 0x0001, 3);
  unmask(b, 3);
  struct asker *a = ask(b, 3, true, 4);
  assert_true(a->last);
  assert_int_equal(b->mmu.low[0x10001], a->bytes[0]);
  assert_int_equal(b->mmu.low[0x10000], a->bytes[1]);
  assert_int_equal(b->mmu.low[0x1ffff], a->bytes[2]);
  assert_int_equal(b->mmu.low[0x1fffe], a->bytes[3]);
  assert_int_equal(address(b, 3), 0xfffd);
}

static void verify_counts_and_moves_nothing(void **state) {
  struct board *b = *state;
  program(b, 2, SINGLE | VERIFY, 0x01, 0, 0x0f);
  unmask(b, 2);
  struct asker *a = ask(b, 2, true, 0x10);
  assert_true(a->last);
  assert_int_equal(a->done, 0x10);
  for (unsigned i = 0; i < 0x10; i++) assert_int_equal(b->mmu.low[0x10000 + i], 0);
  unmask(b, 2);
  poke_word(b, 2, 5, 0x0f);
  a = ask(b, 2, false, 4);
  assert_int_equal(a->bytes[3], 0xff); /* nobody drives the bus */
  assert_int_equal(a->bytes[4], 0x55);
}

static void the_other_direction_and_a_cascade_move_nothing(void **state) {
  struct board *b = *state;
  program(b, 2, SINGLE | READ, 0, 0, 0xff);
  unmask(b, 2);
  assert_int_equal(ask(b, 2, true, 8)->done, 0);
  program(b, 2, SINGLE | WRITE, 0, 0, 0xff);
  unmask(b, 2);
  assert_int_equal(b->askers[2].done, 8); /* it still asked */
  program(b, 3, CASCADE, 0, 0, 0xff);
  unmask(b, 3);
  struct asker *a = ask(b, 3, true, 8);
  assert_int_equal(a->calls, 0);
  assert_int_equal(count(b, 3), 0xff);
}

/* ---- terminal count ---- */

static void terminal_count_is_told_once_and_masks(void **state) {
  struct board *b = *state;
  program(b, 2, SINGLE | WRITE, 0x01, 0x0000, 7);
  unmask(b, 2);
  struct asker *a = ask(b, 2, true, 20);
  assert_true(a->last);
  assert_int_equal(a->done, 8);
  assert_int_equal(count(b, 2), 0xffff);
  assert_int_equal(address(b, 2), 8);
  assert_int_equal(peek(b, 2, STATUS), 1 << 2);
  assert_int_equal(peek(b, 2, STATUS), 0);
  assert_int_equal(peek(b, 2, MASK_ALL) & 0x0f, 0x0f);
  assert_int_equal(ask(b, 2, true, 1)->done, 0);
  assert_int_equal(peek(b, 2, STATUS), 1 << 6); /* it asks */
}

static void auto_initialised_channels_begin_anew(void **state) {
  struct board *b = *state;
  program(b, 5, SINGLE | AGAIN | WRITE, 0x02, 0x0100, 3);
  unmask(b, 5);
  for (unsigned round = 0; round < 3; round++) {
    struct asker *a = ask(b, 5, true, 100);
    assert_true(a->last);
    assert_int_equal(a->done, 8);
    assert_int_equal(address(b, 5), 0x0100);
    assert_int_equal(count(b, 5), 3);
    assert_int_equal(peek(b, 5, STATUS), 1 << 1);
  }
  assert_memory_equal(b->mmu.low + 0x20200, b->askers[5].bytes, 8);
}

static void a_count_of_ffff_is_64k(void **state) {
  struct board *b = *state;
  program(b, 1, SINGLE | WRITE, 0x04, 0x8000, 0xffff);
  unmask(b, 1);
  struct asker *a = ask(b, 1, true, 0x20000);
  assert_true(a->last);
  assert_int_equal(a->done, 0x10000);
  assert_memory_equal(b->mmu.low + 0x48000, a->bytes, 0x8000);
  assert_memory_equal(b->mmu.low + 0x40000, a->bytes + 0x8000, 0x8000);
}

/* ---- who may run ---- */

static void a_request_waits_for_its_channel(void **state) {
  struct board *b = *state;
  static const struct {
    uint8_t reg, before, value;
  } ways[] = {{MASK_ONE, 0x0f, 2}, {CLEAR_MASK, 0x0f, 0}, {MASK_ALL, 0x0f, 0x0b}, {COMMAND, 0, 0}};
  for (unsigned i = 0; i < sizeof ways / sizeof *ways; i++) {
    program(b, 2, SINGLE | WRITE, 0x01, 0, 0xff);
    poke(b, 2, COMMAND, ways[i].reg == COMMAND ? DISABLE : 0);
    poke(b, 2, MASK_ALL, ways[i].before);
    struct asker *a = ask(b, 2, true, 8);
    assert_int_equal(a->calls, 0);
    assert_int_equal(peek(b, 2, STATUS), 1 << 6);
    poke(b, 2, ways[i].reg, ways[i].value);
    assert_int_equal(a->calls, 1);
    assert_int_equal(a->done, 8);
    assert_int_equal(peek(b, 2, STATUS), 0);
  }
}

static void what_is_masked_in_the_middle_goes_on_where_it_was(void **state) {
  struct board *b = *state;
  program(b, 2, SINGLE | WRITE, 0x01, 0, 0xff);
  unmask(b, 2);
  struct asker *a = ask(b, 2, true, 8);
  poke(b, 2, MASK_ONE, SET | 2);
  a->left = 8;
  isa_dma_request(&a->line, true);
  assert_int_equal(a->done, 8);
  unmask(b, 2);
  assert_int_equal(a->done, 16);
  assert_memory_equal(b->mmu.low + 0x10000, a->bytes, 16);
}

static void master_clear_masks_all(void **state) {
  struct board *b = *state;
  program(b, 2, SINGLE | WRITE, 0x01, 0x1234, 0);
  unmask(b, 2);
  ask(b, 2, true, 1);
  poke(b, 2, MASTER_CLEAR, 0);
  assert_int_equal(peek(b, 2, STATUS), 0);
  assert_int_equal(peek(b, 2, MASK_ALL) & 0x0f, 0x0f);
  poke(b, 2, 4, 0x78); /* the flip-flop is at the low byte */
  assert_int_equal(address(b, 2) & 0xff, 0x78);
}

/* ---- requests by software ---- */

static void software_can_run_a_block(void **state) {
  struct board *b = *state;
  program(b, 2, BLOCK | VERIFY, 0x01, 0x10, 0x7ff);
  poke(b, 2, REQUEST, SET | 2);
  assert_int_equal(peek(b, 2, STATUS), 1 << 2);
  assert_int_equal(count(b, 2), 0xffff);
  assert_int_equal(address(b, 2), 0x810);
  program(b, 5, BLOCK | WRITE, 0x02, 0x10, 0x7ff);
  poke(b, 5, REQUEST, SET | 1);
  assert_int_equal(b->mmu.low[0x2001f], 0);
  assert_int_equal(b->mmu.low[0x20020], 0xff);
  assert_int_equal(b->mmu.low[0x2101f], 0xff);
  assert_int_equal(b->mmu.low[0x21020], 0);
}

static void software_requests_of_other_modes_wait(void **state) {
  struct board *b = *state;
  program(b, 2, SINGLE | WRITE, 0x01, 0, 7);
  poke(b, 2, REQUEST, SET | 2);
  assert_int_equal(peek(b, 2, STATUS), 1 << 6);
  poke(b, 2, REQUEST, 2);
  assert_int_equal(peek(b, 2, STATUS), 0);
  assert_int_equal(count(b, 2), 7);
}

static void memory_to_memory_is_refused(void **state) {
  struct board *b = *state;
  program(b, 0, BLOCK | READ, 0x01, 0, 7);
  program(b, 1, BLOCK | WRITE, 0x02, 0, 7);
  poke(b, 0, COMMAND, MEMORY_TO_MEMORY);
  poke(b, 0, REQUEST, SET | 0);
  assert_int_equal(count(b, 0), 7);
  assert_int_equal(count(b, 1), 7);
}

/* ---- the rest ---- */

static void page_registers_are_each_channels_own(void **state) {
  struct board *b = *state;
  for (unsigned channel = 0; channel < 8; channel++) {
    if (channel == 4) continue;
    memset(b->mmu.low, 0, sizeof b->mmu.low);
    program(b, channel, SINGLE | WRITE, 0x0e, 0, 1);
    unmask(b, channel);
    struct asker *a = ask(b, channel, true, 2);
    assert_memory_equal(b->mmu.low + 0xe0000, a->bytes, 2);
    io_bus_write(b->io, page_ports[channel], 1, 0);
  }
}

static void saved_in_the_middle_it_goes_on(void **state) {
  struct board *b = *state;
  struct state_buffer saved = {0};
  program(b, 6, SINGLE | AGAIN | WRITE, 0x03, 0x40, 0x1f);
  unmask(b, 6);
  ask(b, 6, true, 0x20);
  poke(b, 6, MASK_ONE, SET | 2);
  b->askers[6].left = 0x20;
  isa_dma_request(&b->askers[6].line, true);
  fields_save(&saved, b->device.fields, b->device.state);
  b->device.reset(b->device.state);
  struct state_reader reader = {saved.bytes, saved.size, NULL};
  fields_load(&reader, b->device.fields, b->device.state);
  assert_null(reader.error);
  b->device.loaded(b->device.state);
  assert_int_equal(address(b, 6), 0x50);
  unmask(b, 6);
  assert_int_equal(b->askers[6].done, 0x40);
  assert_true(b->askers[6].last);
  assert_memory_equal(b->mmu.low + 0x20080, b->askers[6].bytes, 0x40);
  free(saved.bytes);
}

static void random_accesses_do_no_harm(void **state) {
  struct board *b = *state;
  uint64_t x = 88172645463325252ull;
  unsigned moved = 0;
  for (unsigned i = 0; i < 300000; i++) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    unsigned channel = x >> 40 & 7;
    if (i % 500 == 0) b->device.reset(b->device.state);
    switch (x >> 60) {
    case 0: b->askers[channel].left = x >> 20 & 0x1ff, b->askers[channel].done = 0; break;
    case 1:
    case 2: isa_dma_request(&b->askers[channel].line, x >> 30 & 1); break;
    case 3: io_bus_write(b->io, (uint16_t)(0x80 | (x >> 32 & 15)), 1, (uint8_t)(x >> 8)); break;
    case 4: peek(b, channel, x >> 32 & 15); break;
    case 5: unmask(b, channel); break;
    default: poke(b, channel, x >> 32 & 15, (uint8_t)(x >> 8));
    }
    b->askers[channel].to_memory = x >> 31 & 1;
    moved += b->askers[channel].done;
  }
  assert_true(moved > 1000000); /* it is not that nothing ever ran */
}

int main(void) {
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
  const struct CMUnitTest tests[] = {
    CASE(bytes_go_to_memory_and_are_counted),
    CASE(bytes_come_from_memory),
    CASE(words_have_word_addresses_and_no_bit_0_of_the_page),
    CASE(addresses_wrap_within_the_page),
    CASE(decremented_addresses_go_down_and_wrap),
    CASE(verify_counts_and_moves_nothing),
    CASE(the_other_direction_and_a_cascade_move_nothing),
    CASE(terminal_count_is_told_once_and_masks),
    CASE(auto_initialised_channels_begin_anew),
    CASE(a_count_of_ffff_is_64k),
    CASE(a_request_waits_for_its_channel),
    CASE(what_is_masked_in_the_middle_goes_on_where_it_was),
    CASE(master_clear_masks_all),
    CASE(software_can_run_a_block),
    CASE(software_requests_of_other_modes_wait),
    CASE(memory_to_memory_is_refused),
    CASE(page_registers_are_each_channels_own),
    CASE(saved_in_the_middle_it_goes_on),
    CASE(random_accesses_do_no_harm),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
