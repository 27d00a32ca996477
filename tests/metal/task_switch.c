/* Hardware task switches by JMP, CALL, INT and IRET: what is saved, busy bits, NT, the link, CR0.TS, CR3 and LDT, and the checks
 * (SDM vol. 3A, 7.3). */
#include "lib/metal.h"

#define SEL_T2 SEL_FREE
#define SEL_T3 (SEL_FREE + 8)
#define SEL_GATE (SEL_FREE + 16)
static struct tss t2;
static uint32_t t2_stack[256];
uint32_t seen[12];

static void prepare(const void *code) {
  memset(&t2, 0, sizeof t2);
  t2.eip = (uint32_t)code;
  t2.eflags = 2;
  t2.esp = t2.esp0 = (uint32_t)(t2_stack + 256);
  t2.cs = SEL_KCODE;
  t2.ss = t2.ss0 = t2.ds = t2.es = SEL_KDATA;
  t2.eax = 0xa2;
  t2.ecx = 0xc2;
  t2.edx = 0xd2;
  t2.ebx = 0xb2;
  t2.ebp = 0xb9;
  t2.esi = 0x52;
  t2.edi = 0xd9;
  t2.cr3 = get_cr3();
  t2.iomap = 104;
  gdt_set(SEL_T2, make_segment((uint32_t)&t2, 103, ACC_TSS | ACC_DPL3, 0));
  gdt_set(SEL_GATE, make_gate(SEL_T2, 0, ACC_TASK_GATE | ACC_DPL3, 0));
  gdt_set(SEL_TSS, make_segment((uint32_t)&tss_main, sizeof tss_main - 1, ACC_TSS | ACC_DPL3, 0));
  __asm__ volatile("ltr %w0" : : "r"(SEL_TSS));
  memset(seen, 0, sizeof seen);
  tss_main.link = 0x5555;
}

static unsigned type_of(uint16_t selector) { return gdt[selector >> 3].high >> 8 & 15; }

/* The new task notes what it was given and goes back as it came. */
#define NOTE \
  "mov [seen], eax\n mov [seen + 4], esp\n pushfd\n pop [seen + 8]\n str [seen + 12]\n mov eax, cr0\n" \
  " mov [seen + 16], eax\n mov [seen + 20], edi\n mov eax, 0x99\n"

static void show(const char *label, const struct context *c, const void *base) {
  print("%s: ", label);
  report_end(c, base);
  print(" types main %x t2 %x link %x\n", type_of(SEL_TSS), type_of(SEL_T2), t2.link & 0xffff);
  print("%s inside: eax %x stack used %x eflags %x tr %x ts %d edi %x\n", label, seen[0], (uint32_t)(t2_stack + 256) - seen[1],
        seen[2], seen[3], seen[4] >> 3 & 1, seen[5]);
  print("%s saved t2: eip+%x eflags %x eax %x esp used %x\n", label, t2.eip - (uint32_t)t2_stack > 4096 ? t2.eip & 0xfff : 0,
        t2.eflags, t2.eax, (uint32_t)(t2_stack + 256) - t2.esp);
}

static void switched(const char *label, bool user, const char *caller, const char *task) {
  prepare(task);
  struct context c = user ? context_user(caller) : context_kernel(caller), before;
  c.eax = 0x11;
  c.ecx = 0x12;
  c.edx = 0x13;
  c.ebx = 0x14;
  c.ebp = 0x15;
  c.esi = 0x16;
  c.edi = 0x17;
  c.eflags |= FL_CF | FL_OF;
  before = c;
  run(&c);
  show(label, &c, caller);
  before.esp = c.esp;
  print("%s back:", label);
  report_changes(&before, &c);
  print(" flags %x cs %x ss %x ts %d\n", c.eflags & (FL_CF | FL_OF | FL_NT), c.cs, c.ss, get_cr0() >> 3 & 1);
  print("%s saved main: eip+%x eflags %x eax %x edi %x cs %x\n", label, tss_main.eip - (uint32_t)caller,
        tss_main.eflags & (FL_CF | FL_OF | FL_NT), tss_main.eax, tss_main.edi, tss_main.cs);
  __asm__ volatile("clts");
}

static void checks(void) {
  const char *jump = CODE("nop\n jmp 0x38:0"), *task = CODE(NOTE "iretd");
  prepare(task);
  gdt_set(SEL_T2, make_segment((uint32_t)&t2, 103, ACC_TSS_BUSY, 0));
  try_kernel("busy", jump);
  prepare(task);
  gdt_set(SEL_T2, make_segment((uint32_t)&t2, 103, ACC_TSS & ~ACC_PRESENT, 0));
  try_kernel("absent", jump);
  prepare(task);
  gdt_set(SEL_T2, make_segment((uint32_t)&t2, 102, ACC_TSS, 0));
  try_kernel("limit 102", jump);
  prepare(task);
  gdt_set(SEL_T2, make_segment((uint32_t)&t2, 103, ACC_TSS, 0));
  try_user("dpl 0", jump);
  prepare(task);
  gdt_set(SEL_GATE, make_gate(SEL_T2, 0, ACC_TASK_GATE, 0));
  try_user("gate dpl 0", CODE("nop\n call 0x48:0"));
  prepare(task);
  gdt_set(SEL_GATE, make_gate(SEL_KDATA, 0, ACC_TASK_GATE | ACC_DPL3, 0));
  try_user("gate to data", CODE("nop\n"
                                " call 0x48:0"));
  prepare(task);
  gdt_set(SEL_GATE, make_gate(SEL_T2, 0, (ACC_TASK_GATE | ACC_DPL3) & ~ACC_PRESENT, 0));
  try_user("gate absent", CODE("nop\n call 0x48:0"));
  /* A bad CS, SS or LDT of the new task wants a task gate for #TS (6.15, interrupt 10: no segment register can be relied on) and
   * is not tried. Other bad contents are found in the new task: #TS or #NP with its registers. */
  static const struct {
    const char *label;
    uint32_t offset, value;
  } bad[] = {{"new ds beyond", 84, 0x1010}, {"new es dpl", 72, 0x0b}};
  for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
    prepare(task);
    *(uint32_t *)((uint8_t *)&t2 + bad[i].offset) = bad[i].value;
    struct context c = context_kernel(jump);
    run(&c);
    uint16_t tr;
    __asm__ volatile("str %0" : "=r"(tr));
    print("%s: %s error=%w tr=%x\n", bad[i].label, vector_name(c.vector), c.error, tr);
    __asm__ volatile("clts");
  }
}

void test_main(void) {
  const char *iret = CODE(NOTE "1: iretd\n mov [seen + 24], eax\n inc dword ptr [seen + 28]\n jmp 1b");
  switched("call", false, CODE("nop\n call 0x38:0"), iret);
  switched("call gate", false, CODE("nop\n call 0x48:0x1234"), iret);
  switched("call from ring 3", true, CODE("nop\n call 0x38:0"), iret);
  switched("jmp and jmp", false, CODE("nop\n jmp 0x38:0"), CODE(NOTE "jmp 0x28:0"));
  switched("call twice", false, CODE("nop\n call 0x38:0\n call 0x38:0"), iret);
  print("second round: eax %x count %d\n", seen[6], seen[7]);
  idt[0x50] = make_gate(SEL_T2, 0, ACC_TASK_GATE | ACC_DPL3, 0);
  switched("int", false, CODE("nop\n int 0x50"), iret);
  switched("int from ring 3", true, CODE("nop\n int 0x50"), iret);
  idt[13] = make_gate(SEL_T2, 0, ACC_TASK_GATE, 0);
  prepare(CODE("pop ebx\n mov eax, [0x28 * 0 + tss_main + 32]\n add dword ptr [tss_main + 32], 2\n mov [seen], eax\n"
               " mov [seen + 4], ebx\n iretd"));
  struct context c = context_user(CODE("nop\n mov ss, eax\n nop"));
  c.eax = SEL_KDATA;
  run(&c);
  print("fault through a task gate: %s eip+%x error %x link %x\n", vector_name(c.vector), seen[0] & 15, seen[1],
        t2.link & 0xffff);
  gate_reset(13, 0);
  checks();
}
