/* The RTC: status registers, BCD and binary, RAM cells, periodic interrupt and its acknowledgement.
 *   ICOUNT: 6 */
#include "lib/metal.h"

static uint8_t get(uint8_t index) {
  outb(0x70, index);
  return inb(0x71);
}
static void set(uint8_t index, uint8_t value) {
  outb(0x70, index);
  outb(0x71, value);
}

static unsigned fired;
static uint8_t reason;
static void periodic(struct frame *f) {
  fired++;
  reason |= get(0x0c);
  irq_eoi(8);
}

static bool plausible_bcd(uint8_t v, uint8_t most) { return (v & 15) < 10 && v >> 4 < 10 && (v >> 4) * 10 + (v & 15) <= most; }

void test_main(void) {
  print("status a: %x\n", get(0x0a) & 0x7f);
  print("status b: %x\n", get(0x0b));
  print("status d: %x\n", get(0x0d));
  while (get(0x0a) & 0x80) {}
  print("time: %d %d %d\n", plausible_bcd(get(0), 59), plausible_bcd(get(2), 59), plausible_bcd(get(4), 23));
  print("date: %d %d %d %d\n", plausible_bcd(get(6), 7), plausible_bcd(get(7), 31), plausible_bcd(get(8), 12),
        plausible_bcd(get(9), 99));
  /* Set the clock and read it back, stopped, in BCD and in binary. */
  uint8_t b = get(0x0b);
  set(0x0b, b | 0x80);
  static const uint8_t time[][2] = {{0, 0x58}, {2, 0x59}, {4, 0x23}, {6, 7}, {7, 0x28}, {8, 0x02}, {9, 0x24}, {0x32, 0x20}};
  for (unsigned i = 0; i < 8; i++) set(time[i][0], time[i][1]);
  print("set:");
  for (unsigned i = 0; i < 7; i++) print(" %x", get(time[i][0]));
  print(" century %x\n", get(0x37));
  set(0x0b, b & 0x7f);
  print("running: hour %x day %x\n", get(4), get(7));
  set(0x0b, 0x80 | 6); /* binary, 24 hours */
  static const uint8_t binary[][2] = {{0, 10}, {2, 30}, {4, 21}, {6, 7}, {7, 15}, {8, 6}, {9, 24}, {0x32, 20}};
  for (unsigned i = 0; i < 8; i++) set(binary[i][0], binary[i][1]);
  set(0x0b, 6);
  print("binary: %d %d %d %d\n", get(4), get(2), get(7), get(9));
  set(0x0b, 4); /* 12 hours */
  print("twelve hours: %x\n", get(4));
  set(0x0b, 2);
  /* CMOS RAM. */
  for (uint8_t i = 0x40; i < 0x48; i++) set(i, (uint8_t)(i * 3));
  print("ram:");
  for (uint8_t i = 0x40; i < 0x48; i++) print(" %x", get(i));
  print("\n");
  /* Periodic interrupt, 1024 Hz, through the second 8259. */
  handlers[VEC_IRQ0 + 8] = periodic;
  set(0x0a, 0x26);
  get(0x0c);
  set(0x0b, 0x42);
  irq_mask((uint16_t) ~(1 << 8 | 1 << 2));
  for (unsigned i = 0; i < 20; i++) __asm__ volatile("sti\n hlt\n cli");
  set(0x0b, 2);
  irq_mask(0xffff);
  print("periodic: %s reason %x\n", fired >= 20 ? "20 times" : "too seldom", reason & 0xc0);
  get(0x0c);
  uint8_t c = 0xff;
  for (unsigned i = 0; i < 10 && c; i++) c = get(0x0c) & 0xf0; /* on a busy host the next period may end between two readings */
  print("status c after reading: %x\n", c);
  /* Alarm at every second, and update ended: both within a second or so, without interrupts. */
  for (uint8_t i = 1; i < 6; i += 2) set(i, 0xff);
  get(0x0c);
  uint8_t seen = 0;
  for (unsigned start = get(0), seconds = 0; seconds < 2;) {
    seen |= get(0x0c) & 0x30;
    unsigned now = get(0);
    if (!(get(0x0a) & 0x80) && now != start) start = now, seconds++;
  }
  print("alarm and update: %x\n", seen);
  /* While SET holds the clock nothing of that happens, and UIE goes. */
  set(0x0b, 0x92);
  print("set clears uie: %x\n", get(0x0b));
  print("uip: %x\n", get(0x0a) & 0x80);
  set(0x0b, 2);
}
