/* Call gates: to the same and to an inner level, with parameters copied, through conforming code, and every check
 * (SDM vol. 3A, 5.8.3-5.8.6).
 *
 * A call to conforming code stays at its level: RPL of CS becomes CPL (SDM vol. 2, CALL, "SAME-PRIVILEGE"); QEMU loads RPL 0.
 * EXPECT: conforming target: done cs 43
 * An absent inner stack is #SS(its selector) ("MORE-PRIVILEGE"); QEMU raises #TS.
 * EXPECT: stack segment absent: #SS error=0060 eip=+1 */
#include "lib/metal.h"

uint32_t gate_stack[8], gate_ss, gate_cs;
#define GATE (SEL_FREE | 3)

static void set_gate(uint16_t selector, const void *to, unsigned access, unsigned words) {
  gdt_set(GATE, make_gate(selector, (uint32_t)to, access, words));
}

static void show(const char *label, struct context c) {
  memset(gate_stack, 0, sizeof gate_stack);
  gate_cs = gate_ss = 0;
  uint32_t esp = c.esp, code = c.eip;
  run(&c);
  print("%s: ", label);
  report_end(&c, (void *)code);
  print(" cs %x ss %x stack", gate_cs, gate_ss);
  for (unsigned i = 0; i < (esp ? 6u : 4u); i++) {
    uint32_t v = gate_stack[i];
    if (v - code < 64) print(" +%x", v - code);
    else if (v - (uint32_t)user_stack < sizeof user_stack) print(" u-%x", esp - v);
    else print(" %x", v);
  }
  if (esp) print(" esp-%x", esp - c.esp);
  print("\n");
}

#define LOOK \
  "push eax\n push ecx\n push esi\n push edi\n push ds\n push es\n mov eax, 0x10\n mov ds, eax\n mov es, eax\n" \
  " mov [gate_cs], cs\n mov [gate_ss], ss\n" \
  "lea esi, [esp + 24]\n mov edi, offset gate_stack\n mov ecx, 6\n cld\n rep movsd\n pop es\n pop ds\n pop edi\n pop esi\n" \
  " pop ecx\n pop eax\n"

void test_main(void) {
  const char *target = CODE(LOOK "retf"), *target8 = CODE(LOOK "retf 8");
  const char *caller = CODE("push 0x111\n push 0x222\n call 0x3b:0\n nop");
  set_gate(SEL_KCODE, target, ACC_CALL | ACC_DPL3, 0);
  show("ring 3, no parameters", context_user(caller));
  set_gate(SEL_KCODE, target8, ACC_CALL | ACC_DPL3, 2);
  show("ring 3, two parameters", context_user(caller));
  set_gate(SEL_KCODE, target, ACC_CALL | ACC_DPL3, 0);
  struct context kernel = context_kernel(caller);
  show("ring 0, same level", kernel);
  gdt_set(SEL_FREE + 8, make_segment(0, 0xfffff, ACC_CODE_CONFORMING, DESC_G | DESC_32));
  const char *conforming = CODE("mov eax, cs\n retf");
  set_gate(SEL_FREE + 8, conforming, ACC_CALL | ACC_DPL3, 0);
  struct context c = context_user(caller);
  run(&c);
  print("conforming target: %s cs %x\n", vector_name(c.vector), c.eax);
  try_user("return to conforming code", CODE("push 0x43\n push offset 1f\n retf\n 1: mov eax, cs\n cmp eax, 0x43\n je 2f\n ud2\n"
                                             " 2: nop"));
  set_gate(SEL_UCODE, CODE("mov eax, cs\n retf"), ACC_CALL | ACC_DPL3, 0);
  c = context_user(caller);
  run(&c);
  print("same level from ring 3: %s cs %x\n", vector_name(c.vector), c.eax);
  c = context_user(CODE("jmp 0x3b:0"));
  set_gate(SEL_UCODE, CODE("mov eax, 0x77"), ACC_CALL | ACC_DPL3, 0);
  run(&c);
  print("jmp through gate: %s eax %x\n", vector_name(c.vector), c.eax);
  /* checks */
  const char *plain = CODE("nop\n call 0x3b:0");
  set_gate(SEL_KCODE, target, ACC_CALL | ACC_DPL3, 0);
  try_user("jmp to inner", CODE("jmp 0x3b:0"));
  set_gate(SEL_KCODE, target, ACC_CALL, 0);
  try_user("gate dpl 0", plain);
  set_gate(SEL_KCODE, target, (ACC_CALL | ACC_DPL3) & ~ACC_PRESENT, 0);
  try_user("gate absent", plain);
  set_gate(0, target, ACC_CALL | ACC_DPL3, 0);
  try_user("gate to null", plain);
  set_gate(SEL_KDATA, target, ACC_CALL | ACC_DPL3, 0);
  try_user("gate to data", plain);
  set_gate(0x1008, target, ACC_CALL | ACC_DPL3, 0);
  try_user("gate beyond gdt", plain);
  set_gate(SEL_UCODE, target, ACC_CALL | ACC_DPL3, 0);
  try_kernel("gate outward", CODE("nop\n call 0x38:0"));
  gdt_set(SEL_FREE + 16, make_segment(0, 0xfffff, ACC_CODE & ~ACC_PRESENT, DESC_G | DESC_32));
  set_gate(SEL_FREE + 16, target, ACC_CALL | ACC_DPL3, 0);
  try_user("gate to absent code", plain);
  /* The inner stack comes from the TSS. A bad one is #TS with its selector, at the old level; INT 7Fh and faults to ring 0 use it
   * too, so the target is a ring 1 segment. */
  gdt_set(SEL_FREE + 24, make_segment(0, 0xfffff, ACC_CODE | 1 << 5, DESC_G | DESC_32));
  gdt_set(SEL_FREE + 32, make_segment(0, 0xfffff, ACC_DATA | 1 << 5, DESC_G | DESC_32));
  static uint32_t ring1_stack[64];
  uint16_t code1 = (SEL_FREE + 24) | 1, data1 = (SEL_FREE + 32) | 1;
  set_gate(code1, CODE("mov eax, cs\n mov ebx, ss\n mov ecx, esp"), ACC_CALL | ACC_DPL3, 0);
  tss_main.ss1 = data1;
  tss_main.esp1 = (uint32_t)(ring1_stack + 64);
  c = context_user(plain);
  run(&c);
  print("ring 1: %s cs %x ss %x used %x\n", vector_name(c.vector), c.eax, c.ebx, (uint32_t)(ring1_stack + 64) - c.ecx);
  static const uint16_t bad[] = {0, 0x59, SEL_KDATA, SEL_UDATA, 0x1011};
  for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
    tss_main.ss1 = bad[i];
    print("stack selector %x ", bad[i]);
    try_user("in tss", plain);
  }
  gdt_set(SEL_FREE + 40, make_segment(0, 0xfffff, (ACC_DATA | 1 << 5) & ~ACC_PRESENT, DESC_G | DESC_32));
  tss_main.ss1 = (SEL_FREE + 40) | 1;
  try_user("stack segment absent", plain);
}
