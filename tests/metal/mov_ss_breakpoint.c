/* Breakpoints and MOV SS or POP SS: one on the instruction behind is suppressed as if RF were 1, and one on the operand of MOV SS
 * is reported behind the next instruction, INT n too: then at the handler's first instruction (SDM vol. 3A, 6.8.3). LSS and STI
 * suppress nothing. Bochs agrees, but loses the last. AMD's CPUs deliver the first kind (mov_ss_breakpoint_amd). QEMU does on
 * every model, and reports the second kind at once.
 * EXPECT: behind mov ss: #BP eip=+4
 * EXPECT: behind pop ss: #BP eip=+3
 * EXPECT: operand: #DB eip=+3 dr6 2
 * EXPECT: operand and int: #DB in the handler of int, dr6 2 */
#include "lib/metal.h"

static uint32_t far_pointer[2];

static struct context run_with(const char *code, uint32_t dr7) {
  struct context c = context_kernel(code);
  c.eax = SEL_KDATA;
  c.ebx = (uint32_t)(far_pointer + 1);
  c.ecx = (uint32_t)far_pointer;
  far_pointer[0] = (uint32_t)user_stack + 4096;
  far_pointer[1] = SEL_KDATA;
  set_dr6(0xffff0ff0);
  set_dr7(dr7);
  run(&c);
  set_dr7(0x400);
  return c;
}

static void behind(const char *label, const char *code, unsigned at) {
  set_dr0((uint32_t)code + at);
  struct context c = run_with(code, 0x402);
  report(label, &c, code);
}

__attribute__((unused)) static void operand(void) {
  const char *code = CODE("mov ss, [ebx]\n nop\n nop\n int3");
  set_dr1((uint32_t)(far_pointer + 1));
  struct context c = run_with(code, 0x00f00408); /* DR1: four bytes, read or written */
  print("operand: ");
  report_end(&c, code);
  print(" dr6 %x\n", get_dr6() & 0xf);
  c = run_with(CODE("mov ss, [ebx]\n int 0x7f"), 0x00f00408);
  print("operand and int: %s %s, dr6 %x\n", vector_name(c.vector),
        c.eip == (uint32_t)stub_table + 16 * 0x7f ? "in the handler of int" : "elsewhere", get_dr6() & 0xf);
}

void test_main(void) {
  behind("behind mov ss", CODE("mov ss, eax\n nop\n int3"), 2);
  behind("behind pop ss", CODE("push ss\n pop ss\n int3"), 2);
  behind("two behind mov ss", CODE("mov ss, eax\n nop\n int3"), 3);
  behind("behind lss", CODE("lss esp, [ecx]\n int3"), 3);
  behind("behind sti", CODE("sti\n nop\n cli\n int3"), 1);
  behind("behind mov ds", CODE("mov ds, eax\n int3"), 2);
#ifndef CODE_BREAKPOINTS_ONLY
  operand();
#endif
}
