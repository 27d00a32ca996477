/* The PIIX3's IDE as a driver finds it: configuration space, command block, signatures, IDENTIFY, PIO and bus-master DMA with
 * tables that fit and do not, errors, and a CD drive that is empty. Interrupts are looked for in the bus master's status. SRST
 * and diagnostics select unit 0 (ATA-7, volume 2, 9.2); QEMU's SRST leaves unit 1 selected, so it is selected anew here. DEVICE
 * RESET puts the result of the diagnostics into the error register (ATA-7, 6.13), which QEMU leaves as it was.
 * EXPECT: device reset: status 0 error 1 count 1 low 1 mid 14 high eb device a0
 * DISK: 8
 * SKIP: --irq-jitter */
#include "lib/metal.h"

enum { PRIMARY = 0x1f0, SECONDARY = 0x170, CONTROL = 0x206 };
enum { DATA, ERROR, COUNT, LOW, MID, HIGH, DEVICE, STATUS, FEATURE = ERROR, COMMAND = STATUS };
enum { ERR = 1, DRQ = 8, BSY = 0x80, LBA = 0x40 };
enum { BUS_MASTER = 0xd000, BM_STATUS = 2, BM_TABLE = 4, START = 1, TO_MEMORY = 8 };

static uint16_t data[16384], out[256];
static struct { uint32_t address, count; } table[4] __attribute__((aligned(64)));

static uint32_t config_read(unsigned offset) {
  outl(0xcf8, 0x80000900 | offset);
  return inl(0xcfc);
}
static void config_write(unsigned offset, uint32_t value) {
  outl(0xcf8, 0x80000900 | offset);
  outl(0xcfc, value);
}

/* Until the drive is not busy; what it takes is the host's affair. */
static uint8_t wait(uint16_t base) {
  while (inb(base + CONTROL) & BSY) {}
  return inb(base + CONTROL);
}
static void registers(const char *what, uint16_t base) {
  uint8_t status = wait(base);
  print("%s: status %x error %x count %x low %x mid %x high %x device %x\n", what, status, inb(base + ERROR), inb(base + COUNT),
        inb(base + LOW), inb(base + MID), inb(base + HIGH), inb(base + DEVICE));
  inb(base + STATUS);
}
static void command(uint16_t base, uint8_t device, uint8_t count, uint32_t address, uint8_t code) {
  outb(base + DEVICE, device | (device & LBA ? address >> 24 & 15 : 0));
  outb(base + COUNT, count);
  outb(base + LOW, (uint8_t)address);
  outb(base + MID, (uint8_t)(address >> 8));
  outb(base + HIGH, (uint8_t)(address >> 16));
  outb(base + COMMAND, code);
}
static void feature(uint8_t number, uint8_t count) {
  outb(PRIMARY + FEATURE, number);
  command(PRIMARY, 0, count, 0, 0xef);
  uint8_t status = wait(PRIMARY);
  print("feature %x %x: status %x error %x\n", number, count, status, inb(PRIMARY + ERROR));
}

static unsigned blocks;
/* All that there is to read, as blocks of `words`. */
static unsigned take(uint16_t base, unsigned words) {
  unsigned n = 0;
  for (blocks = 0; wait(base) & DRQ; blocks++)
    for (unsigned i = 0; i < words; i++) data[n++ % 16384] = inw(base);
  return n;
}

static void configuration(void) {
  config_write(0x20, BUS_MASTER);
  config_write(0x04, 0x0105);
  print("configuration: %X class %X bar %X timing %X line %x\n", config_read(0), config_read(8), config_read(0x20),
        config_read(0x40), config_read(0x3c) & 0xffff);
  config_write(0x20, 0xffffffff);
  print("bar's size: %X\n", config_read(0x20));
  config_write(0x20, BUS_MASTER);
}

static void signatures(void) {
  for (uint16_t base = SECONDARY; base <= PRIMARY; base += PRIMARY - SECONDARY) {
    outb(base + DEVICE, 0); /* of an absent unit QEMU shows no BSY */
    outb(base + CONTROL, 4);
    for (volatile unsigned i = 0; i < 100000; i++) {}
    outb(base + CONTROL, 0);
    wait(base);
    outb(base + DEVICE, 0);
    registers(base == PRIMARY ? "disk after a reset" : "cd after a reset", base);
    outb(base + DEVICE, 0x10);
    print("nobody: status %x error %x\n", inb(base + STATUS), inb(base + ERROR));
    outb(base + DEVICE, 0);
    outb(base + COMMAND, 0x90);
    registers("diagnostics", base);
  }
}

/* Names and serial numbers too. */
static void identify(void) {
  static const uint8_t words[] = {0,  1,  2,  3,  4,  5,  6,  10, 12, 20, 21, 22,  23,  27,  28,  47,  48,  49, 50, 51,
                                  52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63,  64,  65,  66,  67,  68,  75, 76, 80,
                                  81, 82, 83, 84, 85, 86, 87, 88, 89, 90, 93, 100, 101, 102, 103, 106, 128, 217};
  command(PRIMARY, 0, 0, 0, 0xec);
  take(PRIMARY, 256);
  for (unsigned i = 0; i < sizeof words; i++) print("disk word %d: %w\n", words[i], data[words[i]]);
  command(SECONDARY, 0, 0, 0, 0xec);
  registers("identify device of a cd", SECONDARY);
  command(SECONDARY, 0, 0, 0, 0xa1);
  take(SECONDARY, 256);
  for (unsigned i = 0; i < 100; i++)
    if (data[i]) print("cd word %d: %w\n", i, data[i]);
}

static void reading(void) {
  command(PRIMARY, LBA, 3, 1000, 0x20);
  unsigned n = take(PRIMARY, 256);
  print("read: %d words in %d, %X %X\n", n, blocks, *(uint32_t *)data, *(uint32_t *)(data + 766));
  registers("after a read", PRIMARY);
  command(PRIMARY, 0, 4, 0, 0xc6);
  registers("multiple 4", PRIMARY);
  command(PRIMARY, LBA, 7, 5, 0xc4);
  for (blocks = n = 0; wait(PRIMARY) & DRQ; blocks++)
    for (unsigned i = 0; i < (blocks ? 3u : 4u) * 256; i++) data[n++] = inw(PRIMARY);
  print("read multiple: %d words in %d, %X\n", n, blocks, *(uint32_t *)(data + n - 2));
  command(PRIMARY, 0, 3, 0, 0xc6);
  registers("multiple 3", PRIMARY);
  command(PRIMARY, 3, 1, 7 | 2 << 8, 0x20); /* cylinder 2, head 3, sector 7 */
  take(PRIMARY, 256);
  print("chs: %X\n", *(uint32_t *)data);
  registers("after chs", PRIMARY);
  command(PRIMARY, 7, 17, 0, 0x91);
  registers("8 heads, 17 sectors", PRIMARY);
  command(PRIMARY, 3, 1, 7 | 2 << 8, 0x20);
  take(PRIMARY, 256);
  print("chs: %X\n", *(uint32_t *)data);
  outb(PRIMARY + COUNT, 0), outb(PRIMARY + LOW, 0), outb(PRIMARY + MID, 0), outb(PRIMARY + HIGH, 0);
  command(PRIMARY, LBA, 2, 0x3ffe, 0x24);
  take(PRIMARY, 256);
  print("48 bits: %X\n", *(uint32_t *)data);
  command(PRIMARY, LBA, 1, 0x4000, 0x20);
  registers("beyond the end", PRIMARY);
}

static void writing(void) {
  for (unsigned i = 0; i < 256; i++) out[i] = (uint16_t)(i * 0x101);
  command(PRIMARY, LBA, 2, 50, 0x30);
  for (unsigned k = 0; k < 2; k++) {
    wait(PRIMARY);
    for (unsigned i = 0; i < 256; i++) outw(PRIMARY, out[i]);
  }
  registers("after a write", PRIMARY);
  command(PRIMARY, LBA, 1, 51, 0x20);
  take(PRIMARY, 256);
  print("written: %x %x\n", data[1], data[255]);
  command(PRIMARY, 0, 0, 0, 0xe7);
  registers("flush", PRIMARY);
}

static void settings(void) {
  feature(3, 0x22), feature(3, 0x45), feature(3, 0x0b), feature(0x82, 0), feature(0x02, 0), feature(0xaa, 0), feature(0x99, 0);
  static const uint8_t codes[] = {0x00, 0x10, 0x70, 0x40, 0xe0, 0xe1, 0xe3, 0xe5, 0xf8, 0x27, 0x08, 0xa0, 0xa1, 0xf1, 0x50, 0xff};
  for (unsigned i = 0; i < sizeof codes; i++) {
    command(PRIMARY, LBA, 1, 5, codes[i]);
    print("command %x: ", codes[i]);
    registers("", PRIMARY);
  }
  outb(PRIMARY + FEATURE, 0xd0);
  command(PRIMARY, 0, 1, 0xc24f00, 0xb0);
  take(PRIMARY, 256);
  print("smart: %x %x %x %x\n", data[0], data[1], data[2], data[181]);
  outb(PRIMARY + FEATURE, 0xda);
  command(PRIMARY, 0, 1, 0xc24f00, 0xb0);
  registers("smart status", PRIMARY);
}

/* Reads or writes `sectors` by DMA with a table of so many bytes. */
static void dma(const char *what, uint8_t code, unsigned sectors, unsigned bytes) {
  table[0].address = (uint32_t)data, table[0].count = 0x200;
  table[1].address = (uint32_t)data + 0x200, table[1].count = (bytes - 0x200) | 0x80000000;
  if (bytes == 0x200) table[0].count |= 0x80000000;
  outl(BUS_MASTER + BM_TABLE, (uint32_t)table);
  outb(BUS_MASTER + BM_STATUS, 6);
  command(PRIMARY, LBA, (uint8_t)sectors, 100, code);
  uint8_t before = inb(PRIMARY + CONTROL);
  outb(BUS_MASTER, code == 0xc8 ? TO_MEMORY : 0);
  outb(BUS_MASTER, START | (code == 0xc8 ? TO_MEMORY : 0));
  while (!(inb(BUS_MASTER + BM_STATUS) & 4) && inb(BUS_MASTER + BM_STATUS) & 1) {}
  uint8_t bm = inb(BUS_MASTER + BM_STATUS);
  outb(BUS_MASTER, 0);
  print("%s: before %x bus master %x then %x, %X %X\n", what, before, bm, inb(BUS_MASTER + BM_STATUS), *(uint32_t *)data,
        *(uint32_t *)(data + 256));
  registers(what, PRIMARY);
}

static void bus_master(void) {
  outl(BUS_MASTER + BM_TABLE, 0xffffffff);
  outb(BUS_MASTER + BM_STATUS, 0xff);
  print("bus master: %x %x %x %x %X\n", inb(BUS_MASTER), inb(BUS_MASTER + 1), inb(BUS_MASTER + BM_STATUS), inb(BUS_MASTER + 3),
        inl(BUS_MASTER + BM_TABLE));
  outb(BUS_MASTER + BM_STATUS, 0);
  print("bus master: %x\n", inb(BUS_MASTER + BM_STATUS));
  dma("dma read", 0xc8, 2, 0x400);
  dma("dma read, longer table", 0xc8, 2, 0x800);
  dma("dma read, shorter table", 0xc8, 2, 0x200);
  dma("dma write", 0xca, 2, 0x400);
  dma("dma read of nothing", 0xc8, 0, 0x200);
}

static void packet(const char *what, uint8_t code, uint8_t byte1, uint8_t byte4, uint16_t limit) {
  outb(SECONDARY + FEATURE, 0);
  command(SECONDARY, 0, 0, (uint32_t)limit << 8, 0xa0);
  print("%s: status %x reason %x\n", what, wait(SECONDARY), inb(SECONDARY + COUNT));
  outw(SECONDARY, code | byte1 << 8), outw(SECONDARY, 0), outw(SECONDARY, byte4);
  for (unsigned i = 0; i < 3; i++) outw(SECONDARY, i ? 0 : 0);
  unsigned n = 0, count = 0;
  while (wait(SECONDARY) & DRQ) {
    unsigned words = (inb(SECONDARY + MID) | inb(SECONDARY + HIGH) << 8) / 2;
    for (unsigned i = 0; i < words; i++) data[n++] = inw(SECONDARY);
    count++;
  }
  print("%s: %d words in %d\n", what, n, count);
  registers(what, SECONDARY);
}

static void cd(void) {
  packet("test unit ready", 0x00, 0, 0, 0);
  packet("request sense", 0x03, 0, 18, 0xfffe);
  print("sense: %x %x %x\n", data[1] & 15, data[6], data[0] & 0x7f);
  packet("request sense again", 0x03, 0, 18, 0xfffe);
  packet("inquiry", 0x12, 0, 36, 0xfffe);
  for (unsigned i = 0; i < 18; i++) print("inquiry %d: %w\n", i, data[i]);
  packet("inquiry in pieces", 0x12, 0, 36, 10);
  packet("unknown", 0xfe, 0, 0, 0xfffe);
  packet("request sense of that", 0x03, 0, 18, 0xfffe);
  print("sense: %x %x\n", data[1] & 15, data[6]);
  packet("capacity", 0x25, 0, 0, 0xfffe);
  packet("lock", 0x1e, 0, 1, 0);
  packet("eject", 0x1b, 0, 2, 0);
  packet("request sense of that", 0x03, 0, 18, 0xfffe);
  print("sense: %x %x\n", data[1] & 15, data[6]);
  outb(SECONDARY + COMMAND, 0x08);
  registers("device reset", SECONDARY);
}

void test_main(void) {
  configuration();
  signatures();
  identify();
  reading();
  writing();
  settings();
  bus_master();
  cd();
}
