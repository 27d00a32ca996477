/* Many blocks, jumped among in random order, some rewritten: thousands of translations, chains and kills. */
#include "lib/metal.h"

enum { BLOCKS = 20000, SPACING = 48 };

typedef uint32_t (*function)(void);

static uint32_t random_state = 1;
static uint32_t next_random(void) { return random_state = random_state * 1664525 + 1013904223; }

static uint8_t *arena;
static uint8_t *block_at(uint32_t i) { return arena + i * SPACING; }

/* rol eax,1; add eax, value; jmp target (or ret); the jump is direct, or indirect through ECX */
static void emit(uint32_t i, uint32_t value, int32_t target) {
  uint8_t *p = block_at(i);
  memcpy(p, "\xd1\xc0\x05", 3);
  memcpy(p + 3, &value, 4);
  if (target < 0) {
    p[7] = 0xc3;
    return;
  }
  if (i % 3 == 0) {
    uint32_t address = (uint32_t)block_at((uint32_t)target);
    p[7] = 0xb9;
    memcpy(p + 8, &address, 4);
    memcpy(p + 12, "\xff\xe1", 2);
  } else {
    uint32_t rel = (uint32_t)(block_at((uint32_t)target) - (p + 12));
    p[7] = 0xe9;
    memcpy(p + 8, &rel, 4);
  }
}

void test_main(void) {
  arena = page_alloc_run(BLOCKS * SPACING / 4096 + 1);
  uint32_t *order = page_alloc_run(BLOCKS * 4 / 4096 + 1), *value = page_alloc_run(BLOCKS * 4 / 4096 + 1);
  for (uint32_t i = 0; i < BLOCKS; i++) order[i] = i;
  for (uint32_t i = BLOCKS - 1; i > 0; i--) {
    uint32_t j = next_random() % (i + 1), t = order[i];
    order[i] = order[j];
    order[j] = t;
  }
  for (uint32_t i = 0; i < BLOCKS; i++)
    emit(order[i], value[order[i]] = next_random(), i + 1 < BLOCKS ? (int32_t)order[i + 1] : -1);
  uint8_t entry[] = {0x31, 0xc0, 0xe9, 0, 0, 0, 0}; /* xor eax,eax; jmp first */
  uint8_t *start = page_alloc();
  uint32_t rel = (uint32_t)(block_at(order[0]) - (start + 7));
  memcpy(start, entry, sizeof entry);
  memcpy(start + 3, &rel, 4);
  for (unsigned round = 0; round < 8; round++) {
    uint32_t want = 0, got = ((function)start)();
    for (uint32_t i = 0; i < BLOCKS; i++) want = (want << 1 | want >> 31) + value[order[i]];
    print("round %d: %X %s\n", round, got, got == want ? "right" : "WRONG");
    for (unsigned n = 0; n < 200; n++) {
      uint32_t i = next_random() % BLOCKS;
      value[i] = next_random();
      memcpy(block_at(i) + 3, &value[i], 4);
    }
  }
}
