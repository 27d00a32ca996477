/* CPUID and what it promises agree: an advertised feature works, one that is not raises #UD; the answers are stable; the
 * leaves' limits hold. The raw feature words are printed only for this model's shared part. */
#include "lib/metal.h"

/* What copied instructions need the host's CPU for, a host may not have (or --host hides it). */
/* VARIES: sse3 advertised */
/* VARIES: ssse3 advertised */
/* VARIES: movbe advertised */
static void probe(const char *name, bool advertised, const char *code) {
  struct context c = context_kernel(code);
  run(&c);
  bool works = c.vector == VEC_DONE;
  print("%s advertised: %d works %d\n", name, advertised, works);
  print("%s: %s\n", name, advertised == works ? "agree" : "DISAGREE");
}

void test_main(void) {
  uint32_t id[4], r[4], e[4], again[4];
  cpuid(0, 0, id);
  print("vendor: %X %X %X\n", id[1], id[3], id[2]);
  cpuid(1, 0, r);
  print("signature: %X\n", r[0]);
  for (unsigned i = 0; i < 50; i++) {
    cpuid(1, 0, again);
    if (again[0] != r[0] || again[2] != r[2] || again[3] != r[3]) print("changed\n");
  }
  cpuid(0x80000000, 0, e);
  print("extended: %d\n", e[0] >= 0x80000001);
  uint32_t extended = e[0];
  cpuid(0x80000001, 0, e);
  set_cr4(get_cr4() | CR4_OSFXSR | CR4_OSXMM);
  probe("tsc", r[3] >> 4 & 1, CODE("rdtsc"));
  probe("msr", r[3] >> 5 & 1, CODE("mov ecx, 0x10\n rdmsr"));
  probe("cx8", r[3] >> 8 & 1, CODE("cmpxchg8b [esp]"));
  probe("sep", r[3] >> 11 & 1, CODE("mov ecx, 0x174\n rdmsr"));
  probe("cmov", r[3] >> 15 & 1, CODE("cmovz eax, ebx"));
  probe("clflush", r[3] >> 19 & 1, CODE("clflush [esp]"));
  probe("mmx", r[3] >> 23 & 1, CODE("pxor mm0, mm0\n emms"));
  probe("fxsr", r[3] >> 24 & 1, CODE("mov eax, esp\n and esp, 0xfffffff0\n sub esp, 512\n fxsave [esp]\n mov esp, eax"));
  probe("sse", r[3] >> 25 & 1, CODE("xorps xmm0, xmm0"));
  probe("sse2", r[3] >> 26 & 1, CODE("pxor xmm0, xmm0"));
  probe("sse3", r[2] & 1, CODE("haddps xmm0, xmm0"));
  probe("ssse3", r[2] >> 9 & 1, CODE("pabsb xmm0, xmm0"));
  probe("sse4.1", r[2] >> 19 & 1, CODE("pminsb xmm0, xmm0"));
  probe("sse4.2", r[2] >> 20 & 1, CODE("pcmpgtq xmm0, xmm0"));
  probe("movbe", r[2] >> 22 & 1, CODE("movbe eax, [esp]"));
  probe("popcnt", r[2] >> 23 & 1, CODE("mov eax, 1\n popcnt eax, eax"));
  probe("rdtscp", e[3] >> 27 & 1, CODE("rdtscp"));
  probe("nx", e[3] >> 20 & 1, CODE("mov ecx, 0xc0000080\n rdmsr\n or eax, 0x800\n wrmsr"));
  probe("avx", 0, CODE(".byte 0xc5, 0xf8, 0x57, 0xc0"));
  probe("xsave", r[2] >> 26 & 1, CODE("xor ecx, ecx\n xgetbv"));
  probe("rdrand", r[2] >> 30 & 1, CODE("rdrand eax"));
  /* Leaves beyond the last basic one give the last one's data on Intel (SDM vol. 2, CPUID); all that is asked here is no
   * fault. */
  try_kernel("leaf beyond", CODE("mov eax, 0x7fffffff\n cpuid"));
  if (extended >= 0x80000004) {
    char brand[49] = {0};
    for (unsigned i = 0; i < 3; i++) {
      cpuid(0x80000002 + i, 0, again);
      memcpy(brand + 16 * i, again, 16);
    }
    print("brand: %s\n", brand);
  }
  /* EFLAGS.ID toggles. */
  struct context c = context_kernel(CODE("pushfd\n xor dword ptr [esp], 0x200000\n popfd\n pushfd\n pop eax"));
  run(&c);
  print("id flag: %d\n", c.eax >> 21 & 1);
}
