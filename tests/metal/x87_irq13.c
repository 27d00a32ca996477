/* CR0.NE = 0: an unmasked x87 error drives FERR# to IRQ 13, vector 2Dh; a write to port F0h lets the FPU go on
 * (SDM vol. 3A, 2.5, CR0.NE; vol. 1, appendix D). QEMU 7.2 aborts here.
 * REFERENCE: expect
 * EXPECT: external error: done irq 13 1 sw 4
 * EXPECT: no error, no interrupt: done irq 13 1 */
#include "lib/metal.h"

static unsigned irq13;
static uint16_t status;

static void error_line(struct frame *f) {
  irq13++;
  outb(0xf0, 0);
  __asm__ volatile("fnstsw %0\n fnclex" : "=a"(status));
  irq_eoi(13);
}

void test_main(void) {
  set_cr0(get_cr0() & ~(uint32_t)CR0_NE);
  handlers[VEC_IRQ0 + 13] = error_line;
  irq_mask((uint16_t) ~(1 << 13 | 1 << 2));
  struct context c = context_kernel(CODE("fninit\n push 0x37b\n fldcw [esp]\n pop eax\n fld1\n fldz\n fdivp\n fwait\n nop\n"
                                         " nop\n nop\n fninit"));
  c.eflags |= FL_IF;
  run(&c);
  print("external error: %s irq 13 %d sw %x\n", vector_name(c.vector), irq13, status & 0x3f);
  c = context_kernel(CODE("fninit\n fld1\n fldz\n fdivp\n fwait\n fninit\n nop"));
  c.eflags |= FL_IF;
  run(&c);
  print("no error, no interrupt: %s irq 13 %d\n", vector_name(c.vector), irq13);
}
