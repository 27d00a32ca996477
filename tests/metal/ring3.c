/* Into ring 3 and out again: IRET's checks and what it changes, system calls by INT, what POPF and IRET cannot change there
 * (SDM vol. 2, IRET; vol. 3A, 5.8, 6.12).
 *
 * QEMU raises #NP for an absent SS and lets IRET in ring 3 set VM; the manual's IRET raises #SS(selector), and looks at VM in
 * ring 0 only.
 * EXPECT: ss absent: #SS error=0048 eip=+0
 * EXPECT: iret to vm: done */
#include "lib/metal.h"

extern const char run_iret[];

static void iret_with(const char *label, struct context c) {
  run(&c);
  report(label, &c, run_iret);
}

static void show_segments(const char *label, struct context c) {
  run(&c);
  print("%s: %s cs=%w ss=%w ds=%w es=%w fs=%w gs=%w\n", label, vector_name(c.vector), c.cs, c.ss, c.ds, c.es, c.fs, c.gs);
}

static void returns(void) {
  const char *nothing = CODE("nop");
  struct context user = context_user(nothing), c;
  show_segments("plain", user);
  c = user;
  c.ds = SEL_KDATA;
  c.fs = SEL_KDATA;
  c.gs = SEL_UDATA;
  show_segments("ring 0 data segments become null", c);
  gdt_set(SEL_FREE, make_segment(0, 0xfffff, ACC_CODE_CONFORMING, DESC_G | DESC_32));
  gdt_set(SEL_FREE + 8, make_segment(0, 0xfffff, (ACC_CODE | ACC_DPL3) & ~ACC_PRESENT, DESC_G | DESC_32));
  gdt_set(SEL_FREE + 16, make_segment(0, 0xfffff, (ACC_DATA | ACC_DPL3) & ~ACC_PRESENT, DESC_G | DESC_32));
  gdt_set(SEL_FREE + 24, make_segment(0, 0xfffff, ACC_DATA_RO | ACC_DPL3, DESC_G | DESC_32));
  c = user;
  c.es = SEL_FREE;
  show_segments("conforming code stays", c);
  c = user;
  c.cs = SEL_FREE | 3;
  show_segments("conforming cs", c);
  c = user;
  c.cs = SEL_KCODE | 3;
  iret_with("cs dpl 0 rpl 3", c);
  c = user;
  c.cs = 0x13;
  iret_with("cs data", c);
  c = user;
  c.cs = 0x103b;
  iret_with("cs beyond", c);
  c = user;
  c.cs = 3;
  iret_with("cs null", c);
  c = user;
  c.cs = (SEL_FREE + 8) | 3;
  iret_with("cs absent", c);
  c = user;
  c.ss = 0;
  iret_with("ss null", c);
  c = user;
  c.ss = 0x20;
  iret_with("ss rpl 0", c);
  c = user;
  c.ss = SEL_KDATA | 3;
  iret_with("ss dpl 0", c);
  c = user;
  c.ss = (SEL_FREE + 16) | 3;
  iret_with("ss absent", c);
  c = user;
  c.ss = (SEL_FREE + 24) | 3;
  iret_with("ss read-only", c);
  c = user;
  c.ss = SEL_UCODE;
  iret_with("ss code", c);
  c = user;
  c.ss = 0x1023;
  iret_with("ss beyond", c);
}

static void flags(void) {
  struct context c = context_user(CODE("pushfd\n pop eax"));
  c.eflags |= FL_IOPL3 | FL_AC | FL_ID | FL_OF;
  run(&c);
  print("flags loaded: %x image %x\n", c.eax, c.eflags);
  c = context_user(CODE("push 0x243ed7\n popfd\n pushfd\n pop eax\n push 2\n popfd"));
  run(&c);
  print("popf iopl 0: %x\n", c.eax);
  c = context_user(CODE("push 0x243ed7\n popfd\n pushfd\n pop eax\n push 2\n popfd"));
  c.eflags |= FL_IOPL3;
  run(&c);
  print("popf iopl 3: %x\n", c.eax);
  c = context_user(CODE("pushfd\n or dword ptr [esp], 0x3200\n push cs\n push offset 1f\n iretd\n 1: pushfd\n pop eax"));
  run(&c);
  print("iret same level: %s %x\n", vector_name(c.vector), c.eax & ~0x8d5u);
  const char *inward = CODE("pushfd\n push 8\n push offset 1f\n iretd\n 1: nop");
  try_user("iret inward", inward);
  try_user("retf inward", CODE("push 8\n push offset 1f\n retf\n 1: nop"));
  try_user("jmp ring 0", CODE("jmp 0x08:0x100000"));
  try_user("iret to vm", CODE("pushfd\n or dword ptr [esp], 0x20000\n push cs\n push offset 1f\n iretd\n 1: pushfd\n pop eax"));
}

static unsigned calls;
static void system_call(struct frame *f) {
  calls++;
  f->eax = f->eax * 3 + f->ebx;
}

static void syscalls(void) {
  handlers[0x80] = system_call;
  gate_reset(0x80, 3);
  struct context c = context_user(CODE("mov ecx, 1000\n 1: mov ebx, ecx\n int 0x80\n dec ecx\n jnz 1b"));
  run(&c);
  print("syscalls: %d eax=%X esp same %d\n", calls, c.eax, c.esp == context_user(0).esp);
  struct context before = context_user(CODE("int 0x80"));
  before.ecx = 1;
  before.edx = 2;
  before.ebx = 3;
  before.esi = 4;
  before.edi = 5;
  before.ebp = 6;
  c = before;
  run(&c);
  print("registers kept:");
  report_changes(&before, &c);
  print("\n");
  try_user("int 81", CODE("int 0x81"));
  try_user("stack in kernel data is usable", CODE("mov eax, [0x100000]"));
}

/* The stack that TSS.ESP0 names is where the frame goes. */
static void entry_stack(void) {
  static uint32_t stack[64];
  uint32_t old = tss_main.esp0;
  tss_main.esp0 = (uint32_t)(stack + 64);
  struct context c = context_user(CODE("nop\n int3"));
  c.eax = 0x1234;
  run(&c);
  tss_main.esp0 = old;
  print("entry stack: ss %x esp+%x eflags %x cs %x eip+%x\n", stack[63], stack[62] - (uint32_t)user_stack, stack[61] & 0x3202,
        stack[60], stack[59] & 15);
}

void test_main(void) {
  returns();
  flags();
  syscalls();
  entry_stack();
}
