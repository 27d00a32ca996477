/* Ring 3 as operating systems have it, interrupts on and SSE enabled, and computing: what --user=direct and --user=auto run on
 * the CPU itself (D8). Most other images have interrupts off in ring 3, and stay translated. Between stretches of computing
 * come what leads out of it: system calls, pages that are absent, faults, code that is written, segments with a base, and
 * instructions that must show the guest's machine and not the host's.
 *
 * QEMU looks at no limits.
 * EXPECT: base and limit: #GP error=0000 eip=+11 eax=000007d0 edx=00000fa0 */
#include "lib/metal.h"

enum { PAGES = 64 };
static unsigned faults;
static volatile unsigned ticks;

static struct context user(const void *code) {
  struct context c = context_user(code);
  c.eflags |= FL_IF;
  return c;
}

static void show(const char *label, struct context c) {
  uint32_t start = c.eip;
  run(&c);
  print("%s: ", label);
  report_end(&c, (const void *)start);
  print(" eax=%X edx=%X\n", c.eax, c.edx);
}

static void tick(struct frame *f) {
  ticks++;
  irq_eoi(0);
}

static void map_one(struct frame *f) {
  faults++;
  map(get_cr2() & ~0xfffu, (uint32_t)page_alloc(), PG_P | PG_W | PG_U);
}

/* --user=auto looks once a tick, and wants to have seen three times in a row that user code runs. */
static void computes(void) {
  struct context c = user(CODE("1: mov ecx, 20000\n mov eax, 5\n 2: imul eax, eax, 1664525\n add eax, 1013904223\n dec ecx\n"
                               " jnz 2b\n cmp eax, edx\n je 3f\n inc edi\n 3: cmp dword ptr [ebx], 12\n jb 1b"));
  c.edx = 5;
  for (unsigned i = 0; i < 20000; i++) c.edx = c.edx * 1664525 + 1013904223;
  c.ebx = (uint32_t)&ticks;
  outb(0x43, 0x34); /* channel 0, mode 2, 20 ms */
  outb(0x40, 23864 & 0xff);
  outb(0x40, 23864 >> 8);
  handlers[VEC_IRQ0] = tick;
  irq_mask(0xfffe);
  run(&c);
  irq_mask(0xffff);
  print("computes for twelve ticks: %s, %d wrong\n", vector_name(c.vector), c.edi);
}

static void leaves_between(void) {
  struct context c = user(CODE("1: mov [ebx], ebx\n add ebx, 4\n dec ecx\n jnz 1b\n mov ebx, 0x40000000\n mov ecx, esi\n"
                               " 2: add eax, [ebx]\n rol eax, 3\n add ebx, 4\n dec ecx\n jnz 2b"));
  c.ebx = TEST_LINEAR, c.ecx = c.esi = PAGES * 1024;
  handlers[14] = map_one;
  show("pages come when they are asked for", c);
  handlers[14] = NULL;
  print("faults: %d\n", faults);
  const char *handler = CODE("add edx, eax\n iretd");
  idt[0x80] = make_gate(SEL_KCODE, (uint32_t)handler, ACC_TRAP | ACC_DPL3, 0);
  c = user(CODE("1: mov eax, 1000\n 2: dec eax\n jnz 2b\n mov eax, ecx\n int 0x80\n dec ecx\n jnz 1b"));
  c.ecx = 500;
  show("system calls", c);
  c = user(CODE("1: call 2f\n add edx, eax\n inc dword ptr [2f + 1]\n dec ecx\n jnz 1b\n jmp 3f\n 2: mov eax, 1\n ret\n 3:"));
  c.ecx = 100;
  show("code that is written", c);
}

static void faults_come(void) {
  struct context c = user(CODE("mov eax, 7\n xor ecx, ecx\n div ecx"));
  show("divide", c);
  show("hlt", user(CODE("nop\n hlt")));
  show("port", user(CODE("mov edx, 0x80\n in al, dx")));
  show("read-only", user(CODE("mov eax, 0x40000000\n add dword ptr [eax], 1")));
  show("ud2", user(CODE("inc eax\n ud2")));
  show("int3", user(CODE("inc eax\n int3")));
  show("into", user(CODE("mov eax, 0x7fffffff\n inc eax\n into")));
  show("bound", user(CODE("mov eax, 5\n push 3\n push 1\n bound eax, [esp]")));
}

static void segments(void) {
  static uint32_t words[4] = {1, 2, 3, 4};
  gdt_set(SEL_FREE, make_segment((uint32_t)words, 15, ACC_DATA | ACC_DPL3, DESC_32));
  struct context c = user(CODE("1: add eax, gs:[4]\n add edx, gs:[12]\n dec ecx\n jnz 1b\n mov ebx, gs:[13]"));
  c.gs = SEL_FREE | 3, c.ecx = 1000;
  show("base and limit", c);
  show("selectors", user(CODE("mov ecx, 50000\n 1: dec ecx\n jnz 1b\n mov eax, cs\n mov edx, ss")));
  c = user(CODE("mov eax, [esp]\n push ebp\n pop gs\n mov edx, gs:[8]\n mov eax, gs"));
  c.ebp = SEL_FREE | 3;
  show("a segment is loaded", c);
}

static void guest_and_not_host(void) {
  static uint8_t place[8];
  uint32_t here[4];
  struct context c = user(CODE("sgdt [ebx]\n mov eax, [ebx + 2]\n sldt dx\n movzx edx, dx"));
  c.ebx = (uint32_t)place;
  run(&c);
  print("gdt: %s\n", c.eax == (uint32_t)gdt ? "the guest's" : "ANOTHER");
  c = user(CODE("cpuid"));
  c.eax = 1;
  run(&c);
  cpuid(1, 0, here);
  print("cpuid: %s\n", c.eax == here[0] && c.edx == here[3] ? "the guest's" : "ANOTHER");
  c = user(CODE("rdtsc\n mov ebx, eax\n mov ecx, 1000\n 1: dec ecx\n jnz 1b\n rdtsc\n sub eax, ebx"));
  run(&c);
  print("tsc: %s %s\n", vector_name(c.vector), c.eax ? "goes on" : "STANDS");
  show("flags", user(CODE("mov edx, 0x3202\n push edx\n popfd\n pushfd\n pop eax")));
}

static void floats(void) {
  struct context c = user(CODE("fninit\n fldpi\n fld1\n 1: fadd st(0), st(0)\n fdiv st(1), st(0)\n dec ecx\n jnz 1b\n"
                               " sub esp, 8\n fistp qword ptr [esp]\n mov eax, [esp]\n fstp dword ptr [esp]\n mov edx, [esp]"));
  c.ecx = 10;
  show("x87", c);
  c = user(CODE("mov eax, 3\n movd xmm0, eax\n pxor xmm1, xmm1\n 1: paddd xmm1, xmm0\n pmuludq xmm0, xmm1\n dec ecx\n jnz 1b\n"
                " movd eax, xmm1\n movd edx, xmm0"));
  c.ecx = 1000;
  show("sse", c);
}

void test_main(void) {
  irq_mask(0xffff);
  set_cr4(get_cr4() | CR4_OSFXSR | CR4_OSXMM);
  paging_on();
  map(TEST_LINEAR + PAGES * 4096, (uint32_t)page_alloc(), PG_P | PG_U);
  computes();
  leaves_between();
  map(TEST_LINEAR, (uint32_t)page_alloc(), PG_P | PG_U);
  faults_come();
  segments();
  guest_and_not_host();
  floats();
}
