/* Instructions on the VGA's planes, whose loads fill latches and whose stores use them: moves of all sizes, read-modify-write,
 * exchanges, strings up and down, across a page, from RAM and back. What is in the planes afterwards is what QEMU has. */
#include "lib/metal.h"

static volatile uint8_t *const window = (volatile uint8_t *)0xa0000;
static uint8_t ram[0x3000];

static void set(uint16_t port, unsigned index, unsigned value) { outw(port, (uint16_t)(value << 8 | index)); }
static void gfx(unsigned index, unsigned value) { set(0x3ce, index, value); }
static void seq(unsigned index, unsigned value) { set(0x3c4, index, value); }

/* Of the first 16 KiB of each plane. */
static void show(const char *what) {
  gfx(5, 0);
  for (unsigned plane = 0; plane < 4; plane++) {
    uint32_t sum = 0;
    gfx(4, plane);
    for (unsigned i = 0; i < 0x4000; i++) sum = (sum << 5 | sum >> 27) ^ window[i] ^ i;
    print("%s %d: %X\n", what, plane, sum);
  }
  gfx(4, 0);
}

static void begin(void) {
  outb(0x3c2, 0x63);
  seq(4, 6), gfx(6, 5), gfx(0, 0), gfx(1, 0), gfx(3, 0), gfx(5, 0), gfx(7, 15), gfx(8, 0xff);
  for (unsigned plane = 0; plane < 4; plane++) {
    seq(2, 1 << plane);
    for (unsigned i = 0; i < 0x4000; i++) window[i] = (uint8_t)(i * (2 * plane + 3) + (i >> 6));
  }
  seq(2, 15);
  for (unsigned i = 0; i < sizeof ram; i++) ram[i] = (uint8_t)(i * 13 + (i >> 8));
}

/* Each on a place of its own; the odd ones are not aligned, and the last crosses a page. Those are of no use where latches count:
 * QEMU reads the aligned words around them, and hardware the bytes. */
static void operate(bool unaligned) {
  static const uint16_t places[] = {0x100, 0x203, 0x32e, 0x481, 0x5fc, 0x7ff, 0xfa4, 0xffe};
  for (unsigned i = 0; i < sizeof places / sizeof *places; i++) {
    if (places[i] % 4 && !unaligned) continue;
    volatile uint8_t *at = window + places[i];
    uint32_t eax = 0x1234a55a + i, carry = 0;
    __asm__ volatile("orb %b0, (%2); andb $0x3c, 4(%2); xorw %w0, 8(%2); addl %k0, 12(%2); incb 20(%2); decw 22(%2);"
                     "notl 24(%2); negb 30(%2); shlw $3, 32(%2); rorb $1, 36(%2); xchgb %b0, 40(%2); xchgl %k0, 44(%2);"
                     "btsl $5, 52(%2); cmpw %w0, 56(%2); sbb %k1, %k1; testb $0x10, 60(%2); adcl $7, 64(%2); movb $0x77, 70(%2);"
                     "movw %w0, 72(%2); movl %k0, 76(%2); sete 82(%2); movzbl 84(%2), %k0; addw 86(%2), %w0; cmpxchgb %b1, 90(%2)"
                     : "+a"(eax), "+q"(carry)
                     : "r"(at)
                     : "memory", "cc");
    print("registers %d: %X %X\n", i, eax, carry);
  }
}

static void strings(bool down) {
  volatile uint8_t *from = window + 0x1100, *to = window + (down ? 0x2f00 : 0x2100);
  if (down) __asm__ volatile("std");
  gfx(5, 1); /* latches to latches */
  __asm__ volatile("rep movsb" : "+S"(from), "+D"(to) : "c"(600) : "memory");
  __asm__ volatile("cld");
  gfx(5, 0);
  print("movs: %x %x\n", (uint32_t)from, (uint32_t)to);
  uint8_t *source = ram + (down ? 0x1800 : 0x801);
  if (down) __asm__ volatile("std");
  to = window + 0x1801;
  __asm__ volatile("rep movsw" : "+S"(source), "+D"(to) : "c"(700) : "memory");
  __asm__ volatile("rep stosl" : "+D"(to) : "c"(100), "a"(0x89abcdef) : "memory");
  __asm__ volatile("stosb" : "+D"(to) : "a"(0x42) : "memory");
  uint8_t *back = ram + 0x2000;
  from = window + 0x1400;
  __asm__ volatile("rep movsl" : "+S"(from), "+D"(back) : "c"(200) : "memory");
  __asm__ volatile("cld");
  uint32_t sum = 0;
  for (unsigned i = 0; i < sizeof ram; i++) sum = sum * 31 + ram[i];
  print("ram: %X\n", sum);
}

static void scan(void) {
  uint32_t left = 300, found = 300;
  volatile uint8_t *at = window + 0x500;
  uint8_t *against = ram + 0x100;
  for (unsigned i = 0; i < 200; i++) ram[0x100 + i] = window[0x500 + i];
  __asm__ volatile("repe cmpsb" : "+D"(at), "+S"(against), "+c"(left) : : "memory", "cc");
  at = window + 0x500;
  __asm__ volatile("repne scasb" : "+D"(at), "+c"(found) : "a"(window[0x5a0]) : "memory", "cc");
  print("cmps: %d\nscas: %d\n", left, found);
}

void test_main(void) {
  begin();
  operate(true);
  show("operated");
  gfx(8, 0x3c), gfx(3, 0x1a), gfx(1, 5), gfx(0, 6);
  operate(false);
  show("masked");
  begin();
  gfx(5, 8), gfx(2, 3), gfx(7, 7); /* loads compare colours */
  operate(false);
  show("compared");
  begin();
  seq(2, 5);
  strings(false);
  show("up");
  seq(2, 15);
  strings(true);
  show("down");
  scan();
}
