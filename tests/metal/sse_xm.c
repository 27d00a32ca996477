/* #XM and MXCSR: each exception unmasked in turn raises it before the destination changes; masked ones set sticky flags; DAZ and
 * FTZ; MOVAPS alignment (SDM vol. 1, 11.5). QEMU 7.2 raises no #XM: the fault lines are the manual's. */
#include "lib/metal.h"

uint32_t sse_operands[6][4]
  __attribute__((aligned(16))) = {{0x3f800000}, {0}, {0x7f800001}, {0x7f7fffff}, {0x00000001}, {0x3dcccccd}};

static void one(const char *label, const char *code, uint32_t mxcsr) {
  struct context c = context_kernel(code);
  __asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
  run(&c);
  uint32_t after, xmm0;
  __asm__ volatile("stmxcsr %0" : "=m"(after));
  __asm__ volatile("movd %%xmm0,%0" : "=r"(xmm0));
  mxcsr = 0x1f80;
  __asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
  print("%s: ", label);
  report_end(&c, code);
  print(" flags %x xmm0 %x\n", after & 0x3f, xmm0);
}

void test_main(void) {
  set_cr4(get_cr4() | CR4_OSFXSR | CR4_OSXMM);
  const char *divide = CODE("movss xmm0, [sse_operands]\n divss xmm0, [sse_operands + 16]\n"),
             *invalid = CODE("movss xmm0, [sse_operands]\n addss xmm0, [sse_operands + 32]");
  const char *overflow = CODE("movss xmm0, [sse_operands + 48]\n addss xmm0, xmm0"),
             *denormal = CODE("movss xmm0, [sse_operands]\n addss xmm0, [sse_operands + 64]");
  const char *underflow = CODE("movss xmm0, [sse_operands + 64]\n mulss xmm0, [sse_operands + 80]");
  /* QEMU 7.2 never sets DE (11.5.2.2). */
  one("divide masked", divide, 0x1f80);
  one("invalid masked", invalid, 0x1f80);
  one("overflow masked", overflow, 0x1f80);
  one("denormal masked", denormal, 0x1f80);   /* EXPECT: denormal masked: done flags 22 xmm0 3f800000 */
  one("underflow masked", underflow, 0x1f80); /* EXPECT: underflow masked: done flags 32 xmm0 0 */
  one("daz", denormal, 0x1fc0);
  one("ftz", underflow, 0x9f80);     /* EXPECT: ftz: done flags 32 xmm0 0 */
  one("divide", divide, 0x1d80);     /* EXPECT: divide: #XM eip=+8 flags 4 xmm0 3f800000 */
  one("invalid", invalid, 0x1f00);   /* EXPECT: invalid: #XM eip=+8 flags 1 xmm0 3f800000 */
  one("overflow", overflow, 0x1b80); /* EXPECT: overflow: #XM eip=+8 flags 8 xmm0 7f7fffff */
  one("denormal", denormal, 0x1e80); /* EXPECT: denormal: #XM eip=+8 flags 2 xmm0 3f800000 */
  set_cr4(get_cr4() & ~(uint32_t)CR4_OSXMM);
  one("divide without osxmmexcpt", divide, 0x1d80); /* EXPECT: divide without osxmmexcpt: #UD eip=+8 flags 4 xmm0 3f800000 */
  set_cr4(get_cr4() | CR4_OSXMM);
  try_kernel("movaps load", CODE("mov eax, offset sse_operands + 4\n movaps xmm0, [eax]"));
  try_kernel("movups load", CODE("mov eax, offset sse_operands + 4\n movups xmm0, [eax]"));
  try_kernel("addps operand", CODE("mov eax, offset sse_operands + 8\n addps xmm0, [eax]"));
  try_kernel("movntps", CODE("mov eax, offset sse_operands + 4\n movntps [eax], xmm0"));
  try_kernel("movlps", CODE("mov eax, offset sse_operands + 4\n movlps xmm0, [eax]"));
  set_cr0(get_cr0() | CR0_TS);
  try_kernel("sse ts", CODE("xorps xmm0, xmm0"));
  try_kernel("prefetch ts", CODE("prefetcht0 [esp]"));
  try_kernel("mmx ts", CODE("pxor mm0, mm0"));
  set_cr0(get_cr0() & ~(uint32_t)CR0_TS);
  set_cr0(get_cr0() | CR0_EM);
  try_kernel("sse em", CODE("xorps xmm0, xmm0"));
  try_kernel("mmx em", CODE("pxor mm0, mm0"));
  set_cr0(get_cr0() & ~(uint32_t)CR0_EM);
}
