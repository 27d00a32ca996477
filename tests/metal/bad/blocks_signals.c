/* A program that gets into 64-bit code by a jump that no look finds, and returns there from a signal that never was, into a
 * 32-bit loop in which all signals are blocked: the host must not wait for it for ever. (Status 4: the machine stops.)
 * BTARGS: --user=direct
 * ENDS: any */
#include "../lib/metal.h"

void test_main(void) {
  paging_on();
  uint8_t *code = page_alloc(), *frame = page_alloc() + 0x100;
  *(uint32_t *)frame = 6;
  *(uint32_t *)(frame + 168) = (uint32_t)code + 0x40;
  *(uint32_t *)(frame + 176) = 0x202;
  *(uint32_t *)(frame + 184) = 0x23;
  *(uint32_t *)(frame + 188) = 0x2b0000;
  *(uint32_t *)(frame + 296) = *(uint32_t *)(frame + 300) = ~0u;
  memcpy(code + 0x40, "\xeb\xfe", 2);
  memcpy(code, "\x8b\x14\x24\x49\x75\xfa\xff\xe3", 8);       /* mov edx, [esp]; dec ecx; jnz; jmp ebx */
  memcpy(code + 0x10, "\xb8\xea\0\0\0\0\x33\0\x90\xf4", 10); /* at 11: ljmp 33h:20 */
  *(uint32_t *)(code + 0x12) = (uint32_t)code + 0x20;
  memcpy(code + 0x20, "\x0f\x05\xf4", 3);
  struct context c = context_user(code);
  c.ecx = 100000, c.ebx = (uint32_t)code + 0x11, c.eax = 15, c.esp = (uint32_t)frame;
  run(&c);
}
