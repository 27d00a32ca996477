/* Code that is generated anew at one place again and again, by a generator that itself runs in between: no stale block. */
#include "lib/metal.h"

typedef uint32_t (*function)(uint32_t);

/* eax = argument; then `n` operations chosen by seed; returns what they compute. */
static uint32_t generate(uint8_t *at, uint32_t seed, unsigned n, uint32_t value) {
  memcpy(at, "\x8b\x44\x24\x04", 4);
  at += 4;
  for (unsigned i = 0; i < n; i++) {
    seed = seed * 1103515245 + 12345;
    uint32_t operand = seed >> 3;
    static const uint8_t opcodes[] = {0x05, 0x2d, 0x35}; /* ADD, SUB, XOR EAX, imm32 */
    unsigned which = (seed >> 16) % 3;
    *at++ = opcodes[which];
    memcpy(at, &operand, 4);
    at += 4;
    value = which == 0 ? value + operand : which == 1 ? value - operand : value ^ operand;
  }
  *at = 0xc3;
  return value;
}

void test_main(void) {
  uint8_t *page = page_alloc_run(2);
  unsigned wrong = 0;
  uint32_t sum = 0;
  for (uint32_t i = 0; i < 2000; i++) {
    uint8_t *at = page + (i % 7 == 0 ? 4096 - 20 : (i % 5) * 300);
    uint32_t want = generate(at, i * 77, 1 + i % 40, i);
    for (unsigned again = 0; again < 3; again++)
      if (((function)at)(i) != want) wrong++;
    sum = sum * 31 + want;
  }
  print("jit: wrong=%d sum=%X\n", wrong, sum);
}
