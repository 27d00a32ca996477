/* Cycles of one operation of a kernel's, by RDTSC, warm, the least of several rounds. The first seven are those of Adams and
 * Agesen (A Comparison of Software and Hardware Techniques for x86 Virtualization, 2006, 6.3), each in a loop of DEC and JNZ:
 *
 *   syscall   SYSENTER from ring 3 and SYSEXIT
 *   in        IN from port 80h, the paper's: on a PC a register of the chipset (a page register of the DMA controller)
 *   crwrite   MOV to CR0 that sets or clears TS. The paper's is CR8, which 32-bit code has not: that register is `tprwrite`
 *   callret   CALL and RET
 *   pgfault   #PF of a load in ring 3 from an absent page, a handler that skips it, IRET
 *   divzero   #DE of DIV in ring 3, likewise
 *   ptemod    a store to an entry of the current page tables, and no more; `pteuse`: INVLPG and a load through it, too
 *
 * Beyond the paper: MOV to CR3 of what it holds (`cr3write`), a store to the local APIC's TPR, CLI with STI, OUT to port 80h, a
 * switch of stack and address space that touches a page that is private there, and a self IPI, from before the store to ICR to
 * the handler's RDTSC. */
#include "lib/metal.h"

enum { ROUNDS = 7, APIC = (int)0xfee00000u, TPR = 0x80, SVR = 0xf0, ICR = 0x300, VECTOR = 0x70 };
enum { SWITCHES = 10, IPIS = 10 }; /* powers of two */
#define ABSENT (TEST_LINEAR + 0x10000)

static void show(const char *label, uint64_t cycles, unsigned bits) {
  uint32_t tenths = (uint32_t)(10 * cycles >> bits);
  print("%s: %d.%d cycles\n", label, tenths / 10, tenths % 10);
}

/* 1 << `loops` rounds of the loop in EBP; each does 1 << `each` operations. */
static void measure(const char *label, struct context given, unsigned loops, unsigned each) {
  uint64_t best = ~0ull;
  for (unsigned round = 0; round < ROUNDS; round++) {
    struct context c = given;
    c.ebp = 1u << loops;
    uint64_t start = rdtsc();
    run(&c);
    uint64_t took = rdtsc() - start;
    if (c.vector != VEC_DONE) panic(label);
    if (took < best) best = took;
  }
  show(label, best, loops + each);
}

static void in_ring_3(void) {
  static uint32_t stack[256];
  write_msr(0x174, SEL_KCODE);
  write_msr(0x175, (uint32_t)(stack + 256));
  write_msr(0x176, (uint32_t)CODE("sysexit"));
  measure("syscall", context_user(CODE("mov ecx, esp\n mov edx, offset 1f\n 2: sysenter\n 1: dec ebp\n jnz 2b")), 14, 0);
  idt[14] = make_gate(SEL_KCODE, (uint32_t)CODE("add esp, 4\n add dword ptr [esp], 2\n iretd"), ACC_INT, 0);
  idt[0] = make_gate(SEL_KCODE, (uint32_t)CODE("add dword ptr [esp], 2\n iretd"), ACC_INT, 0);
  struct context fault = context_user(CODE("1: mov eax, [ebx]\n dec ebp\n jnz 1b"));
  fault.ebx = ABSENT;
  (void)pte_of(get_cr3(), ABSENT);
  measure("pgfault", fault, 12, 0);
  measure("divzero", context_user(CODE("xor ecx, ecx\n 1: div ecx\n dec ebp\n jnz 1b")), 12, 0);
  gate_reset(14, 0), gate_reset(0, 0);
}

static void in_ring_0(void) {
  measure("in", context_kernel(CODE("1: in al, 0x80\n dec ebp\n jnz 1b")), 14, 0);
  measure("out", context_kernel(CODE("1: out 0x80, al\n dec ebp\n jnz 1b")), 14, 0);
  measure("crwrite",
          context_kernel(CODE("mov eax, cr0\n mov ecx, eax\n xor ecx, 8\n 1: mov cr0, ecx\n mov cr0, eax\n dec ebp\n jnz 1b")),
          13, 1);
  measure("cr3write", context_kernel(CODE("mov eax, cr3\n 1: mov cr3, eax\n dec ebp\n jnz 1b")), 13, 0);
  measure("tprwrite", context_kernel(CODE("1: mov dword ptr [0xfee00080], 0\n dec ebp\n jnz 1b")), 14, 0);
  measure("callret", context_kernel(CODE("1: call 2f\n dec ebp\n jnz 1b\n jmp 3f\n 2: ret\n 3:")), 18, 0);
  measure("clisti", context_kernel(CODE("1: cli\n sti\n dec ebp\n jnz 1b\n cli")), 16, 0);
}

static void page_tables(void) {
  uint32_t frames = (uint32_t)page_alloc_run(2);
  map(TEST_LINEAR, frames, 7);
  struct context c = context_kernel(CODE("1: mov [ebx], eax\n mov [ebx], ecx\n dec ebp\n jnz 1b"));
  c.ebx = (uint32_t)pte_of(get_cr3(), TEST_LINEAR), c.edi = TEST_LINEAR, c.eax = frames | 0x67, c.ecx = (frames + 4096) | 0x67;
  measure("ptemod", c, 13, 1);
  c.eip = (uint32_t)CODE("1: mov [ebx], eax\n invlpg [edi]\n mov edx, [edi]\n mov [ebx], ecx\n invlpg [edi]\n mov edx, [edi]\n"
                         " dec ebp\n jnz 1b");
  measure("pteuse", c, 13, 1);
}

/* ---- two address spaces, each with a stack and a page of its own at one address ---- */
void switch_to(uint32_t *stopped_at, uint32_t stack, uint32_t cr3);
__asm__(".text; .globl switch_to; switch_to: mov 4(%esp), %eax; mov 8(%esp), %edx; mov 12(%esp), %ecx\n"
        "push %ebx; push %esi; push %edi; push %ebp; mov %esp, (%eax)\n"
        "mov %ecx, %cr3; mov %edx, %esp; pop %ebp; pop %edi; pop %esi; pop %ebx; ret");
static uint32_t roots[2], stacks[2];
static void touch(void) { ++*(volatile uint32_t *)TEST_LINEAR; }
static void second(void) {
  for (;;) touch(), switch_to(&stacks[1], stacks[0], roots[0]);
}

static void switches(void) {
  static uint32_t stack[1024];
  for (unsigned i = 0; i < 2; i++) {
    roots[i] = i ? paging_create() : get_cr3();
    *pte_of(roots[i], TEST_LINEAR) = (uint32_t)page_alloc() | 7;
  }
  invlpg(TEST_LINEAR);
  stack[1022] = (uint32_t)second; /* where the first switch returns to, past four registers */
  stacks[1] = (uint32_t)(stack + 1018);
  uint64_t best = ~0ull;
  for (unsigned round = 0; round < ROUNDS; round++) {
    uint64_t start = rdtsc();
    for (unsigned i = 0; i < 1u << SWITCHES; i++) touch(), switch_to(&stacks[0], stacks[1], roots[1]);
    uint64_t took = rdtsc() - start;
    if (took < best) best = took;
  }
  show("switch", best, SWITCHES + 1);
}

/* ---- the local APIC ---- */
static void set(uint32_t reg, uint32_t value) { *(volatile uint32_t *)((uint32_t)APIC + reg) = value; }
volatile uint32_t ipi_count, ipi_at;

static uint32_t one_ipi(void) {
  uint32_t before = ipi_count, start = (uint32_t)rdtsc();
  set(ICR, 0x00040000 | VECTOR); /* to itself */
  for (unsigned i = 0; ipi_count == before; i++) {
    if (i == 100000000) panic("the IPI did not come");
    __asm__ volatile("pause");
  }
  return ipi_at - start;
}

static void ipis(void) {
  const char *handler = CODE("push eax\n push edx\n rdtsc\n mov [ipi_at], eax\n inc dword ptr [ipi_count]\n"
                             "mov dword ptr [0xfee000b0], 0\n pop edx\n pop eax\n iretd");
  uint64_t best = ~0ull;
  idt[VECTOR] = make_gate(SEL_KCODE, (uint32_t)handler, ACC_INT, 0);
  __asm__ volatile("sti");
  for (unsigned round = 0; round < ROUNDS; round++) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < 1u << IPIS; i++) sum += one_ipi();
    if (sum < best) best = sum;
  }
  __asm__ volatile("cli");
  show("ipi", best, IPIS);
}

void test_main(void) {
  irq_mask(0xffff);
  paging_on();
  map((uint32_t)APIC, (uint32_t)APIC, PG_P | PG_W | PG_PCD);
  set(SVR, 0x1ff), set(TPR, 0);
  in_ring_3();
  in_ring_0();
  page_tables();
  switches();
  ipis();
}
