/* The A20 gate by port 92h: with it off, bit 20 of every physical address is zero - for data, for code that was translated
 * before, and for page tables. */
#include "lib/metal.h"

typedef uint32_t (*function)(void);
static uint32_t at(uint32_t address) { return *(volatile uint32_t *)address; }

/* Copied to below 1 MiB with even megabyte aliasing in mind: the image itself is in an odd megabyte and must not be fetched from
 * while A20 is off. ESI: list of addresses, EDI: where to put what was read, ECX: how many. */
void test_main(void) {
  print("on at start: %d\n", inb(0x92) >> 1 & 1);
  uint8_t *low = (uint8_t *)0x20000;
  uint32_t *list = (uint32_t *)0x21000, *got = (uint32_t *)0x22000;
  *(volatile uint32_t *)0x500010 = 0x50505050; /* odd megabyte 5, even megabyte 4 */
  *(volatile uint32_t *)0x400010 = 0x40404040;
  *(volatile uint32_t *)0x30000 = 0x30303030;
  COPY_CODE(low, "mov ebx, esp\n mov esp, 0x23400\n in al, 0x92\n and al, 0xfd\n out 0x92, al\n 1: lodsd\n mov eax, [eax]\n"
                 " stosd\n loop 1b\n mov dword ptr [0x500020], 0x12345678\n"
                 "in al, 0x92\n or al, 2\n out 0x92, al\n mov esp, ebx");
  list[0] = 0x400010;
  list[1] = 0x500010;
  list[2] = 0x700010;
  list[3] = 0x130000;
  list[4] = 0x30000;
  *(volatile uint32_t *)0x600010 = 0x60606060;
  struct context c = context_kernel(low);
  c.esi = (uint32_t)list;
  c.edi = (uint32_t)got;
  c.ecx = 5;
  run(&c);
  print("off: %s %x %x %x %x %x\n", vector_name(c.vector), got[0], got[1], got[2], got[3], got[4]);
  print("on: %x %x written through 500020: %x %x\n", at(0x400010), at(0x500010), at(0x400020), at(0x500020));
  /* Code: one linear address in an odd megabyte, two functions. */
  memcpy((void *)0x500100, "\xb8\x05\x00\x00\x00\xc3", 6);
  memcpy((void *)0x400100, "\xb8\x04\x00\x00\x00\xc3", 6);
  uint32_t before = ((function)0x500100)();
  COPY_CODE(low, "mov ebx, esp\n mov esp, 0x23400\n in al, 0x92\n and al, 0xfd\n out 0x92, al\n mov edx, 0x500100\n call edx\n"
                 " mov ecx, eax\n in al, 0x92\n or al, 2\n out 0x92, al\n mov esp, ebx");
  c = context_kernel(low);
  run(&c);
  print("code: %x off %x on %x\n", before, c.ecx, ((function)0x500100)());
}
