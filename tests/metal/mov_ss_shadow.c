/* MOV SS and POP SS hold off interrupts and single-step traps for one instruction, so that ESP can follow
 * (SDM vol. 3A, 6.8.3). LSS does not; QEMU treats it alike.
 * SKIP: --irq-jitter
 * EXPECT: tf does not skip after lss: #DB eip=+3 */
#include "lib/metal.h"

static void make_pending(void) {
  irq_mask(0xfffe);
  outb(0x43, 0x30);
  outb(0x40, 100);
  outb(0x40, 0);
  outb(0x20, 0x0a);
  while (!(inb(0x20) & 1)) {}
}

static void one(const char *label, const char *code, uint32_t first, uint32_t second) {
  make_pending();
  struct context c = context_kernel(code);
  run(&c);
  irq_mask(0xffff);
  if (c.vector == VEC_IRQ0) irq_eoi(0);
  /* Of two inhibiting instructions in a row only the first is guaranteed to inhibit (SDM vol. 2, STI, footnote): both are
   * right. */
  uint32_t at = c.eip - (uint32_t)code;
  print("%s: %s %s\n", label, vector_name(c.vector), at == first || at == second ? "in time" : "WRONG");
}

static void stepped(const char *label, const char *code) {
  struct context c = context_user(code);
  c.eflags |= FL_TF;
  run(&c);
  report(label, &c, code);
}

void test_main(void) {
  one("sti then mov ss", CODE("mov eax, ss\n sti\n mov ss, eax\n mov esp, esp\n nop\n nop"), 5, 7);
  one("sti then pop ss", CODE("push ss\n sti\n pop ss\n nop\n nop\n nop"), 3, 4);
  stepped("tf mov ss", CODE("mov eax, ss"));
  stepped("tf at mov ss", CODE("mov ss, eax"));
  struct context c = context_user(CODE("mov ss, eax\n nop\n nop\n nop"));
  c.eax = SEL_UDATA;
  c.eflags |= FL_TF;
  uint32_t base = c.eip;
  run(&c);
  report("tf skips the instruction after mov ss", &c, (void *)base);
  c = context_user(CODE("pop ss\n nop\n nop\n nop"));
  c.esp -= 4;
  *(uint32_t *)c.esp = SEL_UDATA;
  c.eflags |= FL_TF;
  base = c.eip;
  run(&c);
  report("tf skips the instruction after pop ss", &c, (void *)base);
  c = context_user(CODE("lss esp, [eax]\n nop\n nop"));
  static uint32_t far_pointer[2];
  far_pointer[0] = c.esp;
  far_pointer[1] = SEL_UDATA;
  c.eax = (uint32_t)far_pointer;
  c.eflags |= FL_TF;
  base = c.eip;
  run(&c);
  report("tf does not skip after lss", &c, (void *)base);
}
