/* The guest of tests/terminal: writes to the text screen, shows each scan code that comes, and ends with Esc. */
#include "lib/metal.h"

static volatile uint16_t *const screen = (volatile uint16_t *)0xb8000;
enum { COLUMNS = 80, GREY = 7 << 8, YELLOW_ON_BLUE = 0x1e << 8, ESC = 1 };

static unsigned put(unsigned at, const char *text, unsigned colour) {
  for (; *text; text++) screen[at++] = (uint16_t)(colour | (uint8_t)*text);
  return at;
}

static void put_hex(unsigned at, uint8_t value) {
  static const char digits[] = "0123456789abcdef";
  screen[at] = (uint16_t)(GREY | (uint8_t)digits[value >> 4]);
  screen[at + 1] = (uint16_t)(GREY | (uint8_t)digits[value & 15]);
}

void test_main(void) {
  for (unsigned i = 0; i < 25u * COLUMNS; i++) screen[i] = GREY | ' ';
  put(0, "the first line", GREY);
  put(COLUMNS, "\xc9\xcd\xbb", GREY);
  put(2 * COLUMNS, "coloured", YELLOW_ON_BLUE);
  put(24 * COLUMNS, "the last line", GREY);
  unsigned at = put(4 * COLUMNS, "codes", GREY);
  for (;;) {
    while (!(inb(0x64) & 1)) {}
    uint8_t code = inb(0x60);
    put_hex(++at, code);
    at += 2;
    if (code == (ESC | 0x80)) leave(0);
  }
}
