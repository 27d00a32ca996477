/* Cycles for a store, a load and a read-modify-write of the VGA's memory, by RDTSC: planes (mode 12h), where a device answers,
 * and text and mode 13h, where memory does. Also an OUT to the graphics controller, and a mode's change of the window. */
#include "lib/metal.h"

enum { CELLS = 4000, ROUNDS = 60, MEASURES = 8 };
static volatile uint8_t *const window = (volatile uint8_t *)0xa0000, *const text = (volatile uint8_t *)0xb8000;
static uint64_t best[MEASURES];

static void set(uint16_t port, unsigned index, unsigned value) { outw(port, (uint16_t)(value << 8 | index)); }

/* By what differs: sequencer 2 and 4, graphics 5, 6. */
static void mode(unsigned map_mask, unsigned memory, unsigned gfx5, unsigned gfx6) {
  set(0x3c4, 2, map_mask), set(0x3c4, 4, memory), set(0x3ce, 5, gfx5), set(0x3ce, 6, gfx6);
}
static void note(unsigned k, uint64_t start) {
  uint64_t time = rdtsc() - start;
  if (time < best[k]) best[k] = time;
}
static void stosw(volatile uint8_t *at, unsigned words) {
  __asm__ volatile("rep stosw" : "+D"(at), "+c"(words) : "a"(0x1234) : "memory");
}

static void measure_planes(void) {
  mode(15, 6, 2, 5);
  uint64_t start = rdtsc();
  for (unsigned i = 0; i < CELLS; i++) window[i] = (uint8_t)i;
  note(0, start), start = rdtsc();
  for (unsigned i = 0; i < CELLS; i++) (void)window[i];
  note(1, start), start = rdtsc();
  for (unsigned i = 0; i < CELLS; i++) window[i] |= 1;
  note(2, start), start = rdtsc();
  stosw(window, CELLS);
  note(3, start), start = rdtsc();
  for (unsigned i = 0; i < CELLS; i++) set(0x3ce, 8, i & 0xff);
  note(4, start);
  set(0x3ce, 8, 0xff);
}

static void measure_memory(void) {
  mode(15, 14, 0x40, 5);
  uint64_t start = rdtsc();
  for (unsigned i = 0; i < CELLS; i++) window[i] = (uint8_t)i;
  note(5, start);
  mode(3, 2, 0x10, 14);
  start = rdtsc();
  for (unsigned i = 0; i < CELLS; i++) text[i] = (uint8_t)i;
  note(6, start), start = rdtsc();
  for (unsigned i = 0; i < CELLS / 10; i++) set(0x3ce, 5, i & 1 ? 0 : 0x10); /* out of the cells and back */
  note(7, start);
}

void test_main(void) {
  static const char *const names[MEASURES] = {"store to planes",        "load from planes",       "OR to planes",
                                              "REP STOSW to planes",    "OUT of 16 bits to 3CEh", "store to mode 13h",
                                              "store to the text page", "change of the window"};
  outb(0x3c2, 0x63);
  set(0x3ce, 8, 0xff), set(0x3ce, 1, 0), set(0x3ce, 3, 0);
  for (unsigned i = 0; i < MEASURES; i++) best[i] = ~0ull;
  for (unsigned round = 0; round < ROUNDS; round++) measure_planes(), measure_memory();
  for (unsigned i = 0; i < MEASURES; i++) print("%s: %d cycles\n", names[i], (uint32_t)best[i] / (i == 7 ? CELLS / 10 : CELLS));
}
