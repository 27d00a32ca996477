/* Packets on COM1, by polling. */
#include "guest.h"

enum { COM1 = 0x3f8, DEBUG_EXIT = 0x8e74 };   /* no immediate reaches it */

static void put_byte(unsigned v) {
  while (!(inb(COM1 + 5) & 0x20)) { }
  outb(COM1, (uint8_t)v);
}
static void put_word(uint32_t v) {
  for (unsigned i = 0; i < 4; i++) put_byte(v >> 8 * i);
}

void output_start(void) {
  outb(COM1 + 1, 0);
  outb(COM1 + 3, 3);
}

void output_packet(unsigned kind, const uint32_t *words, unsigned count) {
  put_word(kind << 24 | count);
  for (unsigned i = 0; i < count; i++) put_word(words[i]);
}

void output_leave(void) {
  while (!(inb(COM1 + 5) & 0x40)) { }
  __asm__ volatile("outl %0,%1" : : "a"(0), "Nd"((uint16_t)DEBUG_EXIT));
  for (;;) __asm__ volatile("cli; hlt");
}
