/* What a kernel finds by the CPU's family and not by CPUID: a K7 has four performance counters and their selectors, SYSCFG, HWCR
 * and CLK_CTL; not what Intel's P6 has (AMD Athlon, BIOS and kernel developer's notes). QEMU keeps nothing there and refuses
 * nothing.
 * CPU: athlon
 * REFERENCE: expect */
#include "lib/metal.h"

static void rd(const char *label, uint32_t index) {
  const char *code = CODE("nop\n rdmsr");
  struct context c = context_kernel(code);
  c.ecx = index;
  run(&c);
  print("%s: ", label);
  report_end(&c, code);
  if (c.vector == 0x7f) print(" %X %X", c.edx, c.eax);
  print("\n");
}

static void wr(const char *label, uint32_t index, uint64_t value) {
  const char *code = CODE("nop\n wrmsr");
  struct context c = context_kernel(code);
  c.ecx = index;
  c.eax = (uint32_t)value;
  c.edx = (uint32_t)(value >> 32);
  run(&c);
  report(label, &c, code);
}

void test_main(void) {
  rd("selector", 0xc0010000);                     /* EXPECT: selector: done 00000000 00000000 */
  wr("selector written", 0xc0010003, 0x00530076); /* EXPECT: selector written: done */
  rd("selector read", 0xc0010003);                /* EXPECT: selector read: done 00000000 00530076 */
  wr("counter written", 0xc0010007, 0ull - 1000); /* EXPECT: counter written: done */
  rd("counter read", 0xc0010007);                 /* EXPECT: counter read: done 0000ffff fffffc18 */
  struct context c = context_kernel(CODE("rdpmc"));
  c.ecx = 3;
  run(&c);
  print("rdpmc: %X %X\n", c.edx, c.eax); /* EXPECT: rdpmc: 0000ffff fffffc18 */
  rd("syscfg", 0xc0010010);              /* EXPECT: syscfg: done 00000000 00100000 */
  rd("hwcr", 0xc0010015);                /* EXPECT: hwcr: done 00000000 00000000 */
  rd("clk_ctl", 0xc001001b);             /* EXPECT: clk_ctl: done 00000000 6003d22f */
  rd("efer", 0xc0000080);                /* EXPECT: efer: done 00000000 00000000 */
  wr("efer syscall", 0xc0000080, 1);     /* EXPECT: efer syscall: #GP error=0000 eip=+1 */
  wr("debugctl", 0x1d9, 1);              /* EXPECT: debugctl: #GP error=0000 eip=+1 */
  rd("counter of a p6", 0xc1);           /* EXPECT: counter of a p6: #GP error=0000 eip=+1 */
  rd("status of intel", 0x198);          /* EXPECT: status of intel: #GP error=0000 eip=+1 */
}
