/* PCI configuration space, mechanism 1: only what every "pc" machine has - the 440FX, the PIIX3 and its power management - and
 * the rules of the mechanism itself. */
#include "lib/metal.h"

static uint32_t get(unsigned device, unsigned function, unsigned offset) {
  outl(0xcf8, 0x80000000 | device << 11 | function << 8 | offset);
  return inl(0xcfc);
}

static void one(const char *label, unsigned device, unsigned function) {
  print("%s: id %X class %x header %x\n", label, get(device, function, 0), get(device, function, 8) >> 16,
        get(device, function, 0x0c) >> 16 & 0xff);
}

void test_main(void) {
  one("00:00.0", 0, 0);
  one("00:01.0", 1, 0);
  print("00:01.3: id %X class %x\n", get(1, 3, 0), get(1, 3, 8) >> 16);
  print("none: %X %X\n", get(31, 0, 0), get(30, 7, 0));
  outl(0xcf8, 0x00000000);
  print("disabled: %X\n", inl(0xcfc));
  outl(0xcf8, 0x80000000);
  print("bytes: %x %x %x %x words %x %x\n", inb(0xcfc), inb(0xcfd), inb(0xcfe), inb(0xcff), inw(0xcfc), inw(0xcfe));
  outl(0xcf8, 0x80000004);
  print("address reads back: %X\n", inl(0xcf8));
  outb(0xcf8, 0x55); /* byte writes do not touch the address register */
  print("after byte write: %X\n", inl(0xcf8));
}
