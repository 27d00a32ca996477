/* MSRs: those that do not exist and reserved bits raise #GP(0) and change nothing; those that do hold what was written
 * (SDM vol. 2, RDMSR, WRMSR). QEMU ignores unknown MSRs, so this is written from the manual.
 * REFERENCE: expect */
#include "lib/metal.h"

static void rd(const char *label, uint32_t index) {
  const char *code = CODE("nop\n rdmsr");
  struct context c = context_kernel(code);
  c.ecx = index;
  c.eax = c.edx = 0x77777777;
  run(&c);
  print("%s: ", label);
  report_end(&c, code);
  if (c.vector != VEC_DONE) print(" eax=%x edx=%x", c.eax, c.edx);
  print("\n");
}

static void wr(const char *label, uint32_t index, uint32_t low, uint32_t high) {
  const char *code = CODE("nop\n wrmsr");
  struct context c = context_kernel(code);
  c.ecx = index;
  c.eax = low;
  c.edx = high;
  run(&c);
  report(label, &c, code);
}

void test_main(void) {
  rd("read unknown", 0x12345);            /* EXPECT: read unknown: #GP error=0000 eip=+1 eax=77777777 edx=77777777 */
  wr("write unknown", 0x12345, 0, 0);     /* EXPECT: write unknown: #GP error=0000 eip=+1 */
  rd("read ffffffff", 0xffffffff);        /* EXPECT: read ffffffff: #GP error=0000 eip=+1 eax=77777777 edx=77777777 */
  rd("read kvm clock", 0x4b564d01);       /* EXPECT: read kvm clock: #GP error=0000 eip=+1 eax=77777777 edx=77777777 */
  rd("read hyper-v", 0x40000000);         /* EXPECT: read hyper-v: #GP error=0000 eip=+1 eax=77777777 edx=77777777 */
  rd("read tsc", 0x10);                   /* EXPECT: read tsc: done */
  rd("read apic base", 0x1b);             /* EXPECT: read apic base: done */
  rd("read sysenter cs", 0x174);          /* EXPECT: read sysenter cs: done */
  rd("read pat", 0x277);                  /* EXPECT: read pat: done */
  wr("pat reserved type", 0x277, 2, 0);   /* EXPECT: pat reserved type: #GP error=0000 eip=+1 */
  wr("efer reserved", 0xc0000080, 2, 0);  /* EXPECT: efer reserved: #GP error=0000 eip=+1 */
  wr("efer high", 0xc0000080, 0, 1);      /* EXPECT: efer high: #GP error=0000 eip=+1 */
  wr("efer nxe", 0xc0000080, 0x800, 0);   /* EXPECT: efer nxe: done */
  wr("efer off", 0xc0000080, 0, 0);       /* EXPECT: efer off: done */
  wr("mtrr type", 0x2ff, 2, 0);           /* EXPECT: mtrr type: #GP error=0000 eip=+1 */
  rd("perf status", 0x198);               /* EXPECT: perf status: done */
  wr("perf status written", 0x198, 0, 0); /* EXPECT: perf status written: #GP error=0000 eip=+1 */
  rd("counter", 0xc2);                    /* EXPECT: counter: done */
  wr("counter written", 0xc2, 0xabcd, 0); /* EXPECT: counter written: done */
  print("counter kept: %x\n", (uint32_t)read_msr(0xc2)); /* EXPECT: counter kept: abcd */
  wr("branch records", 0x1d9, 1, 0);                     /* EXPECT: branch records: #GP error=0000 eip=+1 */
  wr("clock modulation", 0x19a, 0x18, 0);                /* EXPECT: clock modulation: #GP error=0000 eip=+1 */
  rd("machine checks", 0x179); /* EXPECT: machine checks: #GP error=0000 eip=+1 eax=77777777 edx=77777777 */
  write_msr(0x174, 0x1234);
  write_msr(0x175, 0x89abcdef);
  write_msr(0x176, 0xfedcba98);
  print("sysenter: %x %x %x\n", (uint32_t)read_msr(0x174), (uint32_t)read_msr(0x175),
        (uint32_t)read_msr(0x176)); /* EXPECT: sysenter: 1234 89abcdef fedcba98 */
  uint64_t before = read_msr(0x10);
  write_msr(0x10, before + 0x100000000000);
  print("tsc written: %d\n",
        read_msr(0x10) >= before + 0x100000000000 && read_msr(0x10) < before + 0x110000000000); /* EXPECT: tsc written: 1 */
  print("pat: %X %X\n", (uint32_t)(read_msr(0x277) >> 32), (uint32_t)read_msr(0x277)); /* EXPECT: pat: 00070406 00070406 */
  try_user("user", CODE("mov ecx, 0x174\n rdmsr"));                                    /* EXPECT: user: #GP error=0000 eip=+5 */
}
