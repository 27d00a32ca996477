/* Packets: on COM1, by polling; in Bochs by port E9h, which is its standard output, behind what Bochs itself says there; with
 * "memory" on the command line from OUTPUT on, where emulators.py finds them in the file that is QEMU's memory: a byte on its
 * serial port costs 3 us. */
#include "guest.h"

enum { COM1 = 0x3f8, PORT_E9 = 0xe9, BOCHS_SHUTDOWN = 0x8900 }; /* no immediate reaches the exits */
static volatile uint32_t *written;                              /* words at OUTPUT */

static void put_byte(unsigned v) {
  while (!in_bochs && !(inb(COM1 + 5) & 0x20)) {}
  outb(in_bochs ? PORT_E9 : COM1, (uint8_t)v);
}
static void put_word(uint32_t v) {
  if (written && *written < OUTPUT_SIZE / 4) ((volatile uint32_t *)OUTPUT)[(*written)++] = v;
  for (unsigned i = 0; i < 4 && !written; i++) put_byte(v >> 8 * i);
}

void output_start(volatile uint32_t *count) {
  written = count;
  outb(COM1 + 1, 0);
  outb(COM1 + 3, 3);
}

void output_packet(unsigned kind, const uint32_t *words, unsigned count) {
  put_word(kind << 24 | count);
  for (unsigned i = 0; i < count; i++) put_word(words[i]);
}

void output_leave(void) {
  for (const char *c = "Shutdown"; in_bochs && *c; c++) outb(BOCHS_SHUTDOWN, (uint8_t)*c);
  while (!(inb(COM1 + 5) & 0x40)) {}
  __asm__ volatile("outl %0,%1" : : "a"(0), "Nd"((uint16_t)DEBUG_EXIT));
  for (;;) __asm__ volatile("cli; hlt");
}
