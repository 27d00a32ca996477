/* CMPXCHG8B: both outcomes, the flags, locked and not, aligned or across a cache line and a page (SDM vol. 2). */
#include "lib/metal.h"

static uint8_t area[8192] __attribute__((aligned(4096)));

static void one(const char *label, const char *code, uint32_t offset, uint32_t low, uint32_t high) {
  uint32_t *at = (uint32_t *)(area + offset);
  at[0] = 0x11111111;
  at[1] = 0x22222222;
  struct context c = context_kernel(code);
  c.eax = low;
  c.edx = high;
  c.ebx = 0xb0b0b0b0;
  c.ecx = 0xc0c0c0c0;
  c.edi = (uint32_t)at;
  c.eflags |= FL_CF | FL_OF | FL_SF | FL_AF | FL_PF;
  run(&c);
  print("%s at %x: %s zf %d others %x eax %x edx %x memory %x %x\n", label, offset, vector_name(c.vector), c.eflags >> 6 & 1,
        c.eflags & (FL_ARITH & ~FL_ZF), c.eax, c.edx, at[0], at[1]);
}

void test_main(void) {
  const char *plain = CODE("cmpxchg8b [edi]"), *locked = CODE("lock cmpxchg8b [edi]");
  static const uint32_t offsets[] = {0, 4, 60, 0xffc, 0xff9};
  for (unsigned i = 0; i < sizeof offsets / sizeof *offsets; i++) {
    one("plain equal", plain, offsets[i], 0x11111111, 0x22222222);
    one("plain low differs", plain, offsets[i], 0x11111110, 0x22222222);
    one("plain high differs", plain, offsets[i], 0x11111111, 0x32222222);
    one("locked equal", locked, offsets[i], 0x11111111, 0x22222222);
    one("locked differs", locked, offsets[i], 0, 0);
  }
  /* As a 64-bit counter. */
  struct context c =
    context_kernel(CODE("mov esi, 100000\n 1: mov eax, [edi]\n mov edx, [edi+4]\n 2: mov ebx, eax\n"
                        " mov ecx, edx\n add ebx, 0x10001\n adc ecx, 0\n lock cmpxchg8b [edi]\n jnz 2b\n dec esi\n jnz 1b"));
  memset(area, 0, 16);
  c.edi = (uint32_t)area;
  run(&c);
  print("counter: %x %x\n", ((uint32_t *)area)[1], ((uint32_t *)area)[0]);
}
