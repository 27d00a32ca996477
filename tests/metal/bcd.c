/* DAA, DAS, AAA, AAS for every AL and incoming CF and AF; AAM and AAD for every base: results and defined flags. */
#include "lib/metal.h"

static uint32_t sum;

static void fold(uint32_t eax, uint32_t flags, uint32_t defined) {
  sum = (sum ^ (eax & 0xffff) ^ (flags & defined) << 16) * 16777619;
}

#define ADJUST(name, defined) \
  do { \
    sum = 0; \
    for (uint32_t ax = 0; ax < 0x400; ax++) \
      for (uint32_t in = 0; in < 4; in++) { \
        uint32_t eax = ax * 0x41 & 0xffff, flags = 2 | (in & 1 ? FL_CF : 0) | (in & 2 ? FL_AF : 0); \
        __asm__ volatile("push %1\n popf\n " name "\n pushf\n pop %1" : "+a"(eax), "+r"(flags) : : "cc"); \
        fold(eax, flags, defined); \
      } \
    print("%s: %X\n", name, sum); \
  } while (0)

void test_main(void) {
  ADJUST("daa", FL_CF | FL_AF | FL_ZF | FL_SF | FL_PF);
  ADJUST("das", FL_CF | FL_AF | FL_ZF | FL_SF | FL_PF);
  ADJUST("aaa", FL_CF | FL_AF);
  ADJUST("aas", FL_CF | FL_AF);
  uint8_t *code = page_alloc();
  for (unsigned which = 0; which < 2; which++) {
    sum = 0;
    for (unsigned base = 1; base < 256; base++) {
      code[0] = which ? 0xd5 : 0xd4;
      code[1] = (uint8_t)base;
      code[2] = 0xc3;
      for (uint32_t ax = 0; ax < 65536; ax += 257 * 3 + 1) {
        uint32_t eax = ax, flags;
        __asm__ volatile("call *%2\n pushf\n pop %1" : "+a"(eax), "=&r"(flags) : "r"(code) : "cc", "memory");
        fold(eax, flags, FL_ZF | FL_SF | FL_PF);
      }
    }
    print("%s: %X\n", which ? "aad" : "aam", sum);
  }
  /* SALC and the flag transfers. */
  struct context c = context_kernel(CODE("stc\n .byte 0xd6\n mov ebx, eax\n clc\n .byte 0xd6"));
  run(&c);
  print("salc: %x %x\n", c.ebx, c.eax);
  c = context_kernel(CODE("mov ah, 0xff\n sahf\n lahf\n pushfd\n pop ebx"));
  run(&c);
  print("sahf: %x %x\n", c.eax, c.ebx & 0xff);
}
