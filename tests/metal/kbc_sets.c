/* The keyboard's commands: scan code sets and what is told of them with and without translation, typematic, LEDs, key types of
 * set 3, commands that do not exist, a parameter that does not come.
 *
 * IBM PS/2 Technical Reference, "Keyboards": FBh and FDh set a key's type in set 3 as FCh does, and Resend (FEh) is answered by
 * the byte before; QEMU answers all three by FEh.
 *   EXPECT: one key's type: fa, fa, fa
 *   EXPECT: one key makes: fa, fa, fa
 *   EXPECT: resend: ee, ee
 */
#include "lib/metal.h"

static void command(uint8_t c) { outb(0x64, c); }
/* Answers until there are none. */
static void ask(const char *what, const uint8_t *bytes, unsigned n) {
  print("%s:", what);
  for (unsigned i = 0; i < n; i++) {
    outb(0x60, bytes[i]);
    for (unsigned quiet = 0; quiet < 100000; quiet++) { /* some ms: the host may be busy */
      if (!(inb(0x64) & 1)) continue;
      print(" %x", inb(0x60));
      quiet = 0;
    }
    print(i + 1 < n ? "," : "\n");
  }
}
#define ASK(what, ...) ask(what, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static void each_way(void) {
  ASK("set", 0xf0, 0x00);
  ASK("identify", 0xf2);
  ASK("set 1", 0xf0, 0x01);
  ASK("told", 0xf0, 0x00);
  ASK("set 3", 0xf0, 0x03);
  ASK("told 3", 0xf0, 0x00);
  ASK("set 2", 0xf0, 0x02);
  ASK("echo", 0xee);
}

void test_main(void) {
  while (inb(0x64) & 1) inb(0x60);
  command(0x60);
  outb(0x60, 0x24); /* no translation, no interrupts, no mouse */
  each_way();
  ASK("leds", 0xed, 0x07);
  ASK("rate", 0xf3, 0x20);
  ASK("scanning off", 0xf5);
  ASK("scanning on", 0xf4);
  ASK("one key's type", 0xfb, 0x1c, 0xf4);
  ASK("one key makes and breaks", 0xfc, 0x1c, 0xf4);
  ASK("one key makes", 0xfd, 0x1c, 0xf4);
  ASK("defaults", 0xf6);
  ASK("a command for a parameter", 0xed, 0xf4);
  ASK("resend", 0xee, 0xfe);
  ASK("none such", 0xe5);
  ASK("none such either", 0x12);
  ASK("reset", 0xff);
  command(0x60);
  outb(0x60, 0x64); /* translation */
  each_way();
}
