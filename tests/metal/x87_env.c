/* x87 environment formats: FNSTENV, FNSAVE, FRSTOR, FLDENV in 32- and 16-bit protected mode; tags; the pointers to the last
 * instruction and operand; stack
 * faults; #MF (SDM vol. 1, 8.1.8-8.1.10, 8.5.1.1, 8.7).
 *
 * QEMU keeps FIP, FCS, FDP, FDS and FOP as 0, and the pointers differ between processors (deprecated FCS/FDS), so they are
 * printed with labels of their own.
 * VARIES: pointers
 * VARIES: opcode
 *
 * QEMU knows no stack faults (8.5.1.1: IE, SF, C1 for overflow, the indefinite as result) and raises #MF at WAIT only.
 * EXPECT: overflow: sw 3a41 tw 8000
 * EXPECT: underflow: sw 41 tw fffe
 * EXPECT: mf at fld1: #MF eip=+14 */
#include "lib/metal.h"

static uint32_t image[64] __attribute__((aligned(16)));
uint32_t fp_numbers[4] = {0x40490fdb, 0x3f800000, 0x7f800001, 0};

static void show(const char *label, unsigned words) {
  print("%s: cw %x sw %x tw %x regs", label, image[0] & 0xffff, image[1] & 0xffff, image[2] & 0xffff);
  for (unsigned i = 7; i < words; i++) print(" %x", image[i]);
  print("\n");
}

static struct context with_image(const char *code) {
  struct context c = context_kernel(code);
  c.ebx = (uint32_t)image;
  run(&c);
  return c;
}

void test_main(void) {
  with_image(CODE("fninit\n fldpi\n fld1\n fldz\n fnstenv [ebx]"));
  show("after loads", 7);
  with_image(CODE("fninit\n fld1\n fld dword ptr [fp_numbers]\n fnsave [ebx]"));
  show("fnsave", 27);
  with_image(CODE("fnstenv [ebx]"));
  show("after fnsave", 7);
  with_image(CODE("fninit\n fld dword ptr [fp_numbers]\n fnstenv [ebx]"));
  print("pointers: eip %x cs %x operand %x ds %x\n", image[3], image[4] & 0xffff, image[5], image[6] & 0xffff);
  print("opcode: %x\n", image[4] >> 16);
  print("not a host address: %d\n", image[3] < 0x1000000 && image[5] < 0x1000000);
  with_image(CODE("fninit\n fldpi\n fld1\n fldl2t\n fnsave [ebx]\n frstor [ebx]\n fnstenv [ebx]"));
  show("frstor", 7);
  struct context c = with_image(CODE(
    "fninit\n fldpi\n fnstenv [ebx]\n mov word ptr [ebx], 0x27f\n"
    " mov word ptr [ebx+4], 0x1800\n mov word ptr [ebx+8], 0xffff\n fldenv [ebx]\n fnstcw [ebx+64]\n fnstsw ax\n fnstenv [ebx]"));
  print("fldenv: sw %x\n", c.eax & 0xffff);
  show("fldenv env", 7);
  /* The 16-bit formats. */
  memset(image, 0xee, sizeof image);
  with_image(CODE("fninit\n fldpi\n .byte 0x66\n fnstenv [ebx]"));
  const uint16_t *w = (const uint16_t *)image;
  print("16-bit environment: cw %x sw %x tw %x next %x\n", w[0], w[1], w[2], w[7]);
  memset(image, 0xee, sizeof image);
  with_image(CODE("fninit\n fldpi\n .byte 0x66\n fnsave [ebx]"));
  print("16-bit save: cw %x sw %x tw %x st0 %x %x %x %x %x next %x\n", w[0], w[1], w[2], w[7], w[8], w[9], w[10], w[11], w[47]);
  /* Special values and tags. */
  with_image(CODE("fninit\n fldz\n fld1\n fld dword ptr [fp_numbers + 8]\n fld1\n fchs\n ffree st(0)\n fnstenv [ebx]"));
  show("tags", 7);
  /* Stack overflow and underflow. */
  with_image(CODE("fninit\n fld1\n fld1\n fld1\n fld1\n fld1\n fld1\n fld1\n fld1\n fld1\n fnstenv [ebx]"));
  print("overflow: sw %x tw %x\n", image[1] & 0xffff, image[2] & 0xffff);
  with_image(CODE("fninit\n fadd st(0), st(1)\n fnstenv [ebx]"));
  print("underflow: sw %x tw %x\n", image[1] & 0xffff, image[2] & 0xffff);
  /* #MF comes at the next waiting instruction; non-waiting ones pass. */
  const char *divide = CODE("fninit\n push 0x37b\n fldcw [esp]\n pop eax\n fld1\n fldz\n fdivp\n fnstsw ax\n nop\n fld1\n nop");
  try_kernel("mf at fld1", divide);
  __asm__ volatile("fnclex");
}
