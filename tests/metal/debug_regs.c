/* DR0-DR3: execute, write and read/write breakpoints of every length, DR6 bits, DR7.GD, RF, and DR4/DR5 with CR4.DE
 * (SDM vol. 3A, 17.2, 17.3).
 *
 * QEMU has no general detect (17.2.4): MOV DR with DR7.GD set is a #DB fault, DR6.BD is set, GD cleared for the handler.
 * EXPECT: general detect: #DB eip=+1 dr6 2000 ecx 4 eax 0
 * EXPECT: general detect write: #DB eip=+1 dr6 2000 ecx 4 eax 0
 * All breakpoints that match are reported (17.2.3); QEMU reports the first.
 * EXPECT: two match: #DB eip=+4 dr6 5 rf 0 ecx 4 eax 0
 * A trap of any iteration of a REP instruction but the last pushes RF = 1 (17.3.1.1), as Bochs does; QEMU 0.
 * EXPECT: rep stosd: #DB eip=+0 dr6 1 rf 1 ecx 2 eax 0
 * EXPECT: rep lodsd: #DB eip=+0 dr6 1 rf 1 ecx 2 eax 0 */
#include "lib/metal.h"

uint32_t watched[8] __attribute__((aligned(16)));
enum { EXECUTE = 0, WRITE = 1, READ_WRITE = 3 };

static uint32_t dr7_for(unsigned n, unsigned type, unsigned length) {
  unsigned code = length == 4 ? 3u : length - 1;
  return 0x400u | 2u << 2 * n | (type | code << 2) << (16 + 4 * n);
}

static void one(const char *label, const char *code, uint32_t dr7) {
  set_dr6(0xffff0ff0);
  set_dr7(dr7);
  struct context c = context_kernel(code);
  c.ebx = (uint32_t)watched;
  c.esi = c.edi = (uint32_t)watched;
  c.ecx = 4;
  run(&c);
  uint32_t dr6 = get_dr6();
  set_dr7(0x400);
  print("%s: ", label);
  report_end(&c, code);
  if (c.vector == 1) print(" dr6 %x", dr6 & 0xe00f);
  if (c.vector == 1 && !(dr6 & 0x2000)) print(" rf %d", c.eflags >> 16 & 1); /* for BD the manual does not say */
  print(" ecx %x eax %x\n", c.ecx, c.eax);
}

static void execution(void) {
  const char *code = CODE("nop\n inc eax\n 1: inc eax\n nop");
  set_dr0((uint32_t)code + 2);
  one("execute", code, dr7_for(0, EXECUTE, 1));
  one("execute local", code, 0x401);
  one("not enabled", code, 0x400);
  /* RF in the IRET image: this instruction is let through once. */
  set_dr7(dr7_for(0, EXECUTE, 1));
  set_dr6(0xffff0ff0);
  struct context c = context_kernel(code + 2);
  c.eflags |= FL_RF;
  run(&c);
  set_dr7(0x400);
  report("resume flag", &c, code);
  set_dr3((uint32_t)code);
  one("third, first instruction", code, dr7_for(3, EXECUTE, 1));
  const char *loop = CODE("1: inc eax\n dec ecx\n jnz 1b\n nop");
  set_dr1((uint32_t)loop + 4);
  one("after a loop", loop, dr7_for(1, EXECUTE, 1));
}

static void accesses(void) {
  set_dr0((uint32_t)(watched + 1));
  const char *store = CODE("nop\n mov [ebx + 4], eax\n nop"), *load = CODE("nop\n mov eax, [ebx + 4]\n nop"),
             *beside = CODE("mov [ebx], eax\n mov [ebx + 8], eax");
  one("write hit", store, dr7_for(0, WRITE, 4));
  one("write, read", load, dr7_for(0, WRITE, 4));
  one("rw, read", load, dr7_for(0, READ_WRITE, 4));
  one("rw, write", store, dr7_for(0, READ_WRITE, 4));
  one("beside", beside, dr7_for(0, READ_WRITE, 4));
  one("byte of dword", CODE("mov [ebx + 7], al\n nop"), dr7_for(0, WRITE, 4));
  one("dword over byte", CODE("mov [ebx + 2], eax\n nop"), dr7_for(0, WRITE, 1));
  one("dword before byte", CODE("mov [ebx], eax\n nop"), dr7_for(0, WRITE, 1));
  one("word", CODE("mov [ebx + 5], al\n nop"), dr7_for(0, WRITE, 2));
  one("word not", CODE("mov [ebx + 6], al\n nop"), dr7_for(0, WRITE, 2));
  one("rmw", CODE("inc dword ptr [ebx + 4]\n nop"), dr7_for(0, WRITE, 4));
  one("push", CODE("mov edx, esp\n lea esp, [ebx + 8]\n push eax\n mov esp, edx"), dr7_for(0, WRITE, 4));
  one("rep stosd", CODE("rep stosd\n nop"), dr7_for(0, WRITE, 4));
  one("rep lodsd", CODE("rep lodsd\n nop"), dr7_for(0, READ_WRITE, 4));
  set_dr2((uint32_t)(watched + 1));
  one("two match", store, dr7_for(0, WRITE, 4) | dr7_for(2, WRITE, 4));
}

static void registers(void) {
  one("general detect", CODE("nop\n mov eax, dr0\n nop"), 0x2400);
  one("general detect write", CODE("nop\n mov dr1, eax\n nop"), 0x2400);
  try_kernel("dr4 without de", CODE("mov eax, dr4"));
  set_cr4(get_cr4() | CR4_DE);
  try_kernel("dr4 with de", CODE("mov eax, dr4"));
  try_kernel("dr5 with de", CODE("mov dr5, eax"));
  set_cr4(get_cr4() & ~(uint32_t)CR4_DE);
  set_dr7(0x400);
  set_dr0(0x12345678);
  set_dr1(0x23456789);
  set_dr2(0x3456789a);
  set_dr3(0x456789ab);
  print("values: %x %x %x %x\n", get_dr0(), get_dr1(), get_dr2(), get_dr3());
  try_user("user", CODE("mov eax, dr0"));
}

void test_main(void) {
  print("reset: dr7 %x\n", get_dr7());
  execution();
  accesses();
  registers();
}
