/* The LDT: loads through TI, its limit, a null LDTR, and descriptors that change under a loaded register
 * (SDM vol. 3A, 2.4.2, 3.4.3, 3.5.1). */
#include "lib/metal.h"

static struct descriptor ldt[8];
uint32_t ldt_data[4];

static void use(unsigned limit) {
  gdt_set(SEL_FREE, make_segment((uint32_t)ldt, limit, ACC_LDT, 0));
  __asm__ volatile("lldt %w0" : : "r"(SEL_FREE) : "memory");
}

void test_main(void) {
  const char *load = CODE("mov eax, 0x0f\n mov fs, eax\n mov eax, fs:[4]");
  ldt_data[0] = 0x100;
  ldt_data[1] = 0x101;
  ldt_data[2] = 0x102;
  ldt_data[3] = 0x103;
  ldt[1] = make_segment((uint32_t)ldt_data, 0xfffff, ACC_DATA | ACC_DPL3, DESC_G | DESC_32);
  ldt[2] = make_segment(0, 0xfffff, ACC_CODE | ACC_DPL3, DESC_G | DESC_32);
  try_user("no ldt", load);
  use(63);
  struct context c = try_user("ldt", load);
  print("value: %x fs %x\n", c.eax, c.fs);
  uint16_t selector;
  __asm__ volatile("sldt %0" : "=r"(selector));
  print("sldt: %x\n", selector);
  c = context_user(CODE("mov eax, cs\n mov ebx, [ldt_data]"));
  c.cs = 0x17;
  run(&c);
  print("code in ldt: %s cs %x eax %x ebx %x\n", vector_name(c.vector), c.cs, c.eax, c.ebx);
  /* The register keeps what it loaded (3.4.3); the next load sees the change. */
  c = context_user(CODE("mov eax, 0x0f\n mov gs, eax\n add dword ptr [ecx], 0x40000\n mov eax, gs:[0]\n mov ebx, 0x0f\n"
                        " mov gs, ebx\n mov ebx, gs:[0]"));
  c.ecx = (uint32_t)&ldt[1];
  run(&c);
  print("descriptor edited: %s eax %x ebx %x\n", vector_name(c.vector), c.eax, c.ebx);
  use(15);
  try_user("within limit 15", load);
  try_user("beyond limit 15", CODE("mov eax, 0x17\n mov fs, eax"));
  use(14);
  try_user("limit 14", load);
  gdt_set(SEL_FREE, make_segment((uint32_t)ldt, 63, ACC_LDT & ~ACC_PRESENT, 0));
  try_kernel("lldt absent", CODE("mov eax, 0x38\n lldt ax"));
  try_kernel("lldt with ti", CODE("mov eax, 0x3c\n lldt ax"));
  gdt_set(SEL_FREE, make_segment((uint32_t)ldt, 63, ACC_LDT, 0));
  use(63);
  __asm__ volatile("lldt %w0" : : "r"(0));
  try_user("null ldtr", load);
  /* Many loads of alternating descriptors: a cache of descriptors must notice each edit. */
  use(63);
  uint32_t sum = 0;
  for (uint32_t i = 0; i < 500; i++) {
    unsigned n = 1 + i % 3;
    if (i % 5 == 0) ldt[n] = make_segment((uint32_t)&ldt_data[i / 5 % 4], 0xfffff, ACC_DATA | ACC_DPL3, DESC_G | DESC_32);
    if (!ldt[n].high) ldt[n] = make_segment((uint32_t)ldt_data, 15, ACC_DATA | ACC_DPL3, DESC_32);
    if (n == 2) ldt[2] = make_segment((uint32_t)ldt_data, 15, ACC_DATA | ACC_DPL3, DESC_32);
    uint32_t v;
    __asm__ volatile("mov %w1,%%fs\n mov %%fs:0,%0\n mov %w2,%%fs" : "=&r"(v) : "r"(n << 3 | 7), "r"(0) : "memory");
    sum = sum * 3 + v;
  }
  print("many loads: %X\n", sum);
}
