/* The DMA controllers: the flip-flop, what reads back of addresses and counts, masks, status, page registers, master clear.
 *
 * Masks read at port 0Fh, as in a PIIX3 (data sheet 290550, RWAMB), and each byte of an address is taken as it is written (8237A,
 * "Clear First/Last Flip-Flop"); in QEMU neither.
 *   EXPECT: 0 masks after a master clear: f
 *   EXPECT: 0 masks: 5
 *   EXPECT: 0 masks, one by one: 3
 *   EXPECT: 0 low byte written alone: a277
 *   EXPECT: 1 masks after a master clear: f
 *   EXPECT: 1 masks: 5
 *   EXPECT: 1 masks, one by one: 3
 *   EXPECT: 1 low byte written alone: a277
 */
#include "lib/metal.h"

static uint16_t port(unsigned chip, unsigned reg) { return (uint16_t)(chip ? 0xc0 + 2 * reg : reg); }
static unsigned word(unsigned chip, unsigned reg) {
  outb(port(chip, 12), 0);
  unsigned low = inb(port(chip, reg));
  return inb(port(chip, reg)) << 8 | low;
}

static void chip_registers(unsigned chip) {
  outb(port(chip, 13), 0);
  print("%d masks after a master clear: %x\n", chip, inb(port(chip, 15)) & 15);
  print("%d status after a master clear: %x\n", chip, inb(port(chip, 8)) & 15);
  for (unsigned reg = 0; reg < 8; reg++) {
    outb(port(chip, 12), 0);
    outb(port(chip, reg), (uint8_t)(0x10 + reg));
    outb(port(chip, reg), (uint8_t)(0xa0 + reg));
  }
  for (unsigned reg = 0; reg < 8; reg++) print("%d register %d: %x\n", chip, reg, word(chip, reg));
  outb(port(chip, 12), 0);
  inb(port(chip, 2));
  print("%d flip-flop is one for all: %x\n", chip, inb(port(chip, 4)));
  outb(port(chip, 12), 0);
  outb(port(chip, 2), 0x77);
  outb(port(chip, 13), 0);
  print("%d low byte written alone: %x\n", chip, word(chip, 2));
  outb(port(chip, 15), 0x05);
  print("%d masks: %x\n", chip, inb(port(chip, 15)) & 15);
  outb(port(chip, 10), 0x05);
  outb(port(chip, 10), 0x02);
  outb(port(chip, 10), 0x03);
  print("%d masks, one by one: %x\n", chip, inb(port(chip, 15)) & 15);
  outb(port(chip, 14), 0);
  print("%d masks, cleared: %x\n", chip, inb(port(chip, 15)) & 15);
  outb(port(chip, 13), 0);
}

void test_main(void) {
  chip_registers(0);
  chip_registers(1);
  static const uint16_t pages[] = {0x87, 0x83, 0x81, 0x82, 0x8b, 0x89, 0x8a}; /* of channels 0 to 3 and 5 to 7 */
  for (unsigned i = 0; i < 7; i++) outb(pages[i], (uint8_t)(pages[i] * 3));
  for (unsigned i = 0; i < 7; i++) print("page %x: %x\n", pages[i], inb(pages[i]));
}
