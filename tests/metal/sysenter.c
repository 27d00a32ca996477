/* SYSENTER and SYSEXIT (SDM vol. 2; vol. 3A, 5.8.7): selectors and stacks from the MSRs, IF and VM cleared, checks.
 *
 * Bits 15:2 of IA32_SYSENTER_CS all zero is #GP(0); QEMU compares all 16 bits.
 * EXPECT: cs msr null but rpl: #GP error=0000 eip=+8 cs=1b ss=23 eax=0 esp=1 eflags=200 */
#include "lib/metal.h"

uint32_t sys_flags, sys_esp, sys_cs, sys_ss, sys_count;
static uint32_t stack[256];

static void set_msrs(uint32_t cs, uint32_t esp, const void *eip) {
  write_msr(0x174, cs);
  write_msr(0x175, esp);
  write_msr(0x176, (uint32_t)eip);
}

static void show(const char *label, struct context c, const char *base) {
  run(&c);
  print("%s: ", label);
  report_end(&c, base);
  print(" cs=%x ss=%x eax=%x esp=%d eflags=%x\n", c.cs, c.ss, c.eax, c.esp == context_user(0).esp, c.eflags & (FL_IF | FL_IOPL3));
}

void test_main(void) {
  const char *entry = CODE("pushfd\n pop dword ptr [sys_flags]\n mov [sys_esp], esp\n mov [sys_cs], cs\n mov [sys_ss], ss\n"
                           " inc dword ptr [sys_count]\n"
                           "lea eax, [eax * 2 + 1]\n sysexit");
  const char *user = CODE("nop\n mov ecx, esp\n mov edx, offset 1f\n sysenter\n nop\n 1: nop\n int 0x7f");
  set_msrs(SEL_KCODE, (uint32_t)(stack + 256), entry);
  struct context c = context_user(user);
  c.eax = 0x10;
  c.eflags |= FL_IF | FL_IOPL3 | FL_CF;
  show("round trip", c, user);
  print("inside: flags %x esp+%x cs %x ss %x\n", sys_flags & (FL_IF | FL_IOPL3 | FL_CF), sys_esp - (uint32_t)stack, sys_cs,
        sys_ss);
  const char *loop = CODE("mov ebp, 2000\n 2: mov ecx, esp\n mov edx, offset 1f\n sysenter\n 1: dec ebp\n jnz 2b");
  sys_count = 0;
  show("many", context_user(loop), loop);
  print("count: %d\n", sys_count);
  set_msrs(3, (uint32_t)(stack + 256), entry);
  show("cs msr null but rpl", context_user(user), user);
  set_msrs(0, (uint32_t)(stack + 256), entry);
  show("cs msr null", context_user(user), user);
  try_kernel("sysexit with null cs msr", CODE("sysexit"));
  set_msrs(SEL_KCODE, (uint32_t)(stack + 256), entry);
  try_user("sysexit in ring 3", CODE("sysexit"));
  const char *ring0 = CODE("mov ecx, esp\n mov edx, offset 1f\n sysenter\n 1: mov eax, cs");
  show("sysenter from ring 0", context_kernel(ring0), ring0);
  print("msrs: %x %d %d\n", (uint32_t)read_msr(0x174), (uint32_t)read_msr(0x175) == (uint32_t)(stack + 256),
        (uint32_t)read_msr(0x176) == (uint32_t)entry);
}
