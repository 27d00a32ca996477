/* ARGS: -device floppy
 * The floppy controller and its first drive, which is empty: resets, sense interrupt, seeks, registers that read back, what an
 * empty drive says.
 *
 * TDR keeps its tape select bits, as the 82077AA's data sheet has it (2.1.5).
 *   EXPECT: tdr: 1
 */
#include "lib/metal.h"

enum { SRA = 0x3f0, SRB, DOR, TDR, MSR, FIFO, DIR = 0x3f7, CCR = 0x3f7, PIC = 0x20, IRQ = 1 << 6 };

/* Is IRQ 6 requested, after a while? It is an edge: looking does not take it away. */
static bool requested(void) {
  for (unsigned i = 0; i < 200000; i++) {
    outb(PIC, 0x0a);
    if (inb(PIC) & IRQ) return true;
  }
  return false;
}
static void out(uint8_t value) {
  for (unsigned i = 0; i < 200000 && (inb(MSR) & 0xc0) != 0x80; i++) {}
  outb(FIFO, value);
}
static void show_result(const char *label) {
  print("%s:", label);
  for (unsigned i = 0; i < 200000 && (inb(MSR) & 0xd0) != 0xd0; i++) {}
  for (unsigned i = 0; i < 16 && (inb(MSR) & 0xd0) == 0xd0; i++) print(" %x", inb(FIFO));
  print(" then msr %x\n", inb(MSR));
}
static void sense(const char *label) {
  out(0x08);
  show_result(label);
}

static void resets(void) {
  outb(DOR, 0x08);
  outb(DOR, 0x0c);
  print("dor: %x\n", inb(DOR));
  print("reset: irq %d", requested());
  print(" msr %x\n", inb(MSR));
  for (unsigned i = 0; i < 5; i++) sense("reset sensed");
  outb(MSR, 0x82);
  print("reset by dsr: irq %d\n", requested());
  for (unsigned i = 0; i < 5; i++) sense("dsr reset sensed");
}

static void registers(void) {
  out(0x10);
  show_result("version");
  out(0x18);
  show_result("part id");
  out(0x04), out(0x04);
  show_result("sense drive, head 1");
  out(0x03), out(0xaf), out(0x02);
  out(0x13), out(0), out(0x57), out(0x12);
  out(0x94);
  show_result("lock");
  out(0x14);
  show_result("unlock");
  out(0x1e);
  show_result("invalid");
  print("tdr: %x\n", (outb(TDR, 1), inb(TDR) & 3));
}

static void seeks(void) {
  outb(DOR, 0x1c);
  out(0x07), out(0);
  print("recalibrate: irq %d\n", requested());
  sense("recalibrated");
  out(0x0f), out(0), out(12);
  print("seek: irq %d\n", requested());
  sense("sought");
  print("empty drive's change line: %x\n", inb(DIR) & 0x80);
  out(0xcf), out(0), out(5);
  print("seek in: irq %d\n", requested());
  sense("sought in");
  out(0x8f), out(0), out(7);
  print("seek out: irq %d\n", requested());
  sense("sought out");
  sense("nothing to sense");
}

void test_main(void) {
  resets();
  registers();
  seeks();
}
