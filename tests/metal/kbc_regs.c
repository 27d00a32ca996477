/* The keyboard controller: self test, command byte, RAM, the output port, keyboard commands and their answers. */
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

void test_main(void) {
  drain();
  command(0xad);
  command(0xa7);
  drain();
  command(0xaa);
  print("self test: %x\n", answer());
  command(0xab);
  print("keyboard interface: %x\n", answer());
  command(0xa9);
  print("mouse interface: %x\n", answer());
  command(0x60);
  data(0x44);
  command(0x20);
  print("command byte: %x\n", answer());
  command(0x60);
  data(0x34);
  command(0x20);
  print("command byte: %x\n", answer());
  command(0xd2);
  data(0x55);
  print("written to output: %x status %x\n", answer(), inb(0x64) & 0x21);
  command(0xd3);
  data(0xaa);
  uint8_t status = inb(0x64);
  print("written as mouse: status %x data %x\n", status & 0x21, answer());
  command(0xae);
  data(0xee);
  print("echo: %x\n", answer());
  data(0xf2);
  print("identify: %x", answer());
  print(" %x", answer());
  print(" %x\n", answer());
  data(0xf5);
  print("disable scanning: %x\n", answer());
  data(0xed);
  print("leds: %x", answer());
  data(2);
  print(" %x\n", answer());
  data(0xf0);
  print("scancode set: %x", answer());
  data(0);
  print(" %x", answer());
  print(" %x\n", answer());
  data(0xff);
  print("reset: %x", answer());
  print(" %x\n", answer());
  data(0xf4);
  print("enable: %x\n", answer());
  print("status: %x\n", inb(0x64) & 0x0f & ~8);
}
