/* Cycles for a system call and back from ring 3: by INT 80h through an assembly handler, by SYSENTER, and by INT through the
 * runtime's recording stub (a full register frame). */
#include "least.h"

static void framed(struct frame *f) { f->eax++; }

static uint32_t cycles(const char *code) {
  struct context c = context_user(code);
  c.ebp = LOOPS;
  return least_cycles(c);
}

void test_main(void) {
  static uint32_t stack[256];
  paging_on();
  idt[0x80] = make_gate(SEL_KCODE, (uint32_t)CODE("inc eax\n iretd"), ACC_TRAP | ACC_DPL3, 0);
  handlers[0x81] = framed;
  gate_reset(0x81, 3);
  write_msr(0x174, SEL_KCODE);
  write_msr(0x175, (uint32_t)(stack + 256));
  write_msr(0x176, (uint32_t)CODE("inc eax\n sti\n sysexit"));
  print("int 80: %d cycles\n", cycles(CODE("1: int 0x80\n dec ebp\n jnz 1b")));
  print("int with a frame: %d cycles\n", cycles(CODE("1: int 0x81\n dec ebp\n jnz 1b")));
  irq_mask(0xffff);
  print("sysenter: %d cycles\n", cycles(CODE("2: mov ecx, esp\n mov edx, offset 1f\n sysenter\n 1: dec ebp\n jnz 2b")));
}
