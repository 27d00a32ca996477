/* The PS/2 mouse behind the keyboard controller: identification, reset, status, scaling, one packet on request. */
#include "lib/metal.h"

static void wait_in(void) {
  while (inb(0x64) & 2) {}
}
static void command(uint8_t c) {
  wait_in();
  outb(0x64, c);
}
static void data(uint8_t d) {
  wait_in();
  outb(0x60, d);
}
static int answer(void) {
  for (unsigned i = 0; i < 100000; i++)
    if (inb(0x64) & 1) return inb(0x60);
  return -1;
}
static void drain(void) {
  while (inb(0x64) & 1) inb(0x60);
}

/* A byte to the mouse, and its answers as the mouse's (status bit 5). */
static void mouse(const char *label, uint8_t byte, unsigned answers) {
  command(0xd4);
  data(byte);
  print("%s:", label);
  for (unsigned i = 0; i < answers; i++) {
    while (i == 0 && !(inb(0x64) & 1)) {}
    bool aux = inb(0x64) & 0x20;
    print(" %x%s", answer(), aux ? "" : "(keyboard)");
  }
  print("\n");
}

void test_main(void) {
  command(0xad);
  command(0xa8);
  drain();
  mouse("reset", 0xff, 3);
  mouse("identify", 0xf2, 2);
  mouse("set rate", 0xf3, 1);
  mouse("rate 40", 40, 1);
  mouse("resolution", 0xe8, 1);
  mouse("resolution 2", 2, 1);
  mouse("scaling 2:1", 0xe7, 1);
  mouse("status", 0xe9, 4);
  mouse("read data", 0xeb, 4);
  mouse("remote mode", 0xf0, 1);
  mouse("defaults", 0xf6, 1);
  mouse("status after defaults", 0xe9, 4);
}
