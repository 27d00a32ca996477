/* What a kernel finds when it is entered, and relies on: segments, chips and BIOS data area as SeaBIOS and QEMU's Multiboot
 * loader leave them.
 *
 * COM1's LCR: QEMU ignores its word length and leaves it at 0; of a chip that honours it, as the data sheet says, a kernel that
 * only writes to THR wants 8 bits.
 *   EXPECT: uart: lcr 3 ier 0 mcr 8
 *
 * Late in the evening (from 21:50 on) SeaBIOS gets the ticks since midnight wrong, so it is afternoon here.
 *   ARGS: -rtc base=2006-06-17T16:01:21
 */
#include "lib/metal.h"

enum { LAPIC = (int)0xfee00000, IOAPIC = (int)0xfec00000, CRTC = 0x3d4 };

static struct {
  uint16_t selector[6], gdt_limit;
  uint32_t cr0, svr, lvt[2], pin0;
  uint8_t imr[2], pit, lcr, ier, mcr, rtc_a, rtc_b, elcr[2];
  bool a20;
} found;

static uint32_t mmio(int address) { return *(volatile uint32_t *)(uint32_t)address; }
static uint8_t cmos(uint8_t index) {
  outb(0x70, index);
  return inb(0x71);
}

void at_entry(void) {
  struct {
    uint16_t limit;
    uint32_t base;
  } __attribute__((packed)) gdtr;
  __asm__ volatile("mov %%cs,%0\n mov %%ds,%1\n mov %%es,%2\n mov %%ss,%3\n mov %%fs,%4\n mov %%gs,%5"
                   : "=r"(found.selector[0]), "=r"(found.selector[1]), "=r"(found.selector[2]), "=r"(found.selector[3]),
                     "=r"(found.selector[4]), "=m"(found.selector[5]));
  __asm__ volatile("sgdt %0" : "=m"(gdtr));
  found.gdt_limit = gdtr.limit;
  found.cr0 = get_cr0();
  found.imr[0] = inb(0x21), found.imr[1] = inb(0xa1);
  found.elcr[0] = inb(0x4d0), found.elcr[1] = inb(0x4d1);
  outb(0x43, 0xe2); /* read-back: channel 0's status */
  found.pit = inb(0x40);
  found.lcr = inb(0x3fb), found.ier = inb(0x3f9), found.mcr = inb(0x3fc);
  found.rtc_a = cmos(0x0a) & 0x7f, found.rtc_b = cmos(0x0b);
  found.svr = mmio(LAPIC + 0xf0), found.lvt[0] = mmio(LAPIC + 0x350), found.lvt[1] = mmio(LAPIC + 0x360);
  *(volatile uint32_t *)(uint32_t)IOAPIC = 0x10;
  found.pin0 = mmio(IOAPIC + 0x10);
  volatile uint32_t *low = (uint32_t *)0x70000, *high = (uint32_t *)0x170000;
  *low = 1, *high = 2;
  found.a20 = *low == 1;
  __asm__ volatile("mov %0,%%es\n mov %1,%%fs" : : "r"(0x10), "r"(0x10)); /* the GDT is there to be used */
}

static void show_chips(void) {
  print("selectors: cs %x ds %x es %x ss %x fs %x gs %x\n", found.selector[0], found.selector[1], found.selector[2],
        found.selector[3], found.selector[4], found.selector[5]);
  print("gdt: limit %x\n", found.gdt_limit);
  print("cr0: %x\n", found.cr0);
  print("a20: %d\n", found.a20);
  print("pic: masks %x %x elcr %x %x\n", found.imr[0], found.imr[1], found.elcr[0], found.elcr[1]);
  print("pit: status %x\n", found.pit & 0x3f);
  print("uart: lcr %x ier %x mcr %x\n", found.lcr, found.ier, found.mcr);
  print("rtc: a %x b %x\n", found.rtc_a, found.rtc_b);
  print("lapic: svr %x lint0 %x lint1 %x\n", found.svr, found.lvt[0], found.lvt[1]);
  print("ioapic: pin 0 %x\n", found.pin0);
}

static uint8_t byte_at(uint32_t at) { return *(volatile uint8_t *)at; }
static uint16_t word_at(uint32_t at) { return *(volatile uint16_t *)at; }
static uint32_t long_at(uint32_t at) { return *(volatile uint32_t *)at; }

static unsigned bcd(uint8_t v) { return (v >> 4) * 10 + (v & 15); }

/* Of QEMU's PC with floppy and parallel port: only what both have is compared. */
static void show_bios_data(void) {
  print("com1: %x\n", word_at(0x400));
  print("ebda: segment %x size %x\n", word_at(0x40e), byte_at(0x9fc00));
  print("equipment: serial %d video %x mouse %d fpu %d floppies %x\n", word_at(0x410) >> 9 & 7, word_at(0x410) >> 4 & 3,
        word_at(0x410) >> 2 & 1, word_at(0x410) >> 1 & 1, word_at(0x410) & 0xc1);
  print("memory: %d KiB\n", word_at(0x413));
  print("keyboard: flags %x head %x tail %x buffer %x-%x type %x\n", word_at(0x417), word_at(0x41a), word_at(0x41c),
        word_at(0x480), word_at(0x482), byte_at(0x496));
  print("video: mode %x columns %d page %x cursor %x crtc %x rows %d height %d\n", byte_at(0x449), word_at(0x44a), word_at(0x44c),
        word_at(0x460), word_at(0x463), byte_at(0x484) + 1, word_at(0x485));
  print("disks: %d\n", byte_at(0x475));
  uint32_t day = bcd(cmos(4)) * 3600 + bcd(cmos(2)) * 60 + bcd(cmos(0)), ticks = long_at(0x46c) * 2500 / 45516;
  /* 18.2064 a second, where it is 18.20651: some tenths of a second too many */
  print("ticks: %s\n", day + 2 - ticks < 62 ? "as the clock" : "not as the clock");
}

static void show_crtc(void) {
  outb(CRTC, 0x0e);
  outb(CRTC + 1, 0x05);
  outb(CRTC, 0x0f);
  outb(CRTC + 1, 0xa3);
  uint8_t low = inb(CRTC + 1);
  outb(CRTC, 0x0e);
  print("crtc: cursor %x index %x\n", inb(CRTC + 1) << 8 | low, inb(CRTC));
  outb(CRTC, 0x01);
  print("crtc columns: %d\n", inb(CRTC + 1) + 1);
}

static void show_multiboot(void) {
  uint32_t flags = long_at(entry_ebx);
  print("magic: %X\n", entry_eax);
  print("information: %s\n", entry_ebx < 0x9fc00 ? "in low memory" : "elsewhere");
  print("flags: %x\n", flags & 0x247);
  print("lower: %d\n", long_at(entry_ebx + 4));
  print("upper: %d MiB or less\n", (long_at(entry_ebx + 8) + 1023) >> 10);
  print("map: first %x size %x\n", long_at(long_at(entry_ebx + 48) + 4), long_at(long_at(entry_ebx + 48) + 12));
}

void test_main(void) {
  show_chips();
  show_bios_data();
  show_crtc();
  show_multiboot();
}
