/* Returns that go elsewhere than their calls came from, or find something else there: where translated code uses the host's CALL
 * and RET, none of these addresses may be believed. Each is done often, so that everything is chained. */
#include "lib/metal.h"

#define A TEST_LINEAR
enum { STACK = 256 << 10 };
static uint8_t stacks[2][STACK] __attribute__((aligned(4096)));
static volatile uint32_t *pte_a;
static uint32_t frames[3];

static struct context on_stack(const void *code) {
  struct context c = context_user(code);
  c.esp = (uint32_t)stacks[0] + STACK;
  return c;
}

static void show(const char *label, struct context c) {
  run(&c);
  print("%s: %s eax=%X\n", label, vector_name(c.vector), c.eax);
}

/* Deeper than the host's stack is, twice over, and back up. */
static void recursion(void) {
  struct context c = on_stack(CODE("mov edx, 3\n"
                                   "4: mov ecx, 40000\n call 3f\n dec edx\n jnz 4b\n int 0x7f\n"
                                   "3: dec ecx\n jz 5f\n call 3b\n lea eax, [eax+eax*2+1]\n 5: ret"));
  show("deep", c);
}

/* Five calls are left by a move of ESP; their callers' callers return. */
static void left_by_esp(void) {
  show("left by esp", on_stack(CODE("mov ecx, 1000\n"
                                    "1: call 2f\n inc eax\n loop 1b\n int 0x7f\n"
                                    "2: mov ebx, esp\n call 3f\n ud2\n"
                                    "3: call 4f\n ud2\n"
                                    "4: call 5f\n ud2\n"
                                    "5: mov esp, ebx\n add eax, 2\n ret")));
}

/* CALL and POP to learn EIP, to the next instruction and beyond it. */
static void popped(void) {
  show("popped", on_stack(CODE("mov ecx, 1000\n"
                               "1: call 2f\n inc eax\n loop 1b\n int 0x7f\n"
                               "2: call 3f\n 3: pop ebx\n call 4f\n ud2\n 4: pop ebx\n call 5f\n add eax, 2\n ret\n"
                               "5: inc eax\n ret")));
}

static void changed_address(void) {
  show("changed address", on_stack(CODE("mov ecx, 1000\n"
                                        "1: call 2f\n add eax, 7\n inc eax\n loop 1b\n int 0x7f\n"
                                        "2: call 3f\n inc eax\n ret\n"
                                        "3: test cl, 1\n jz 4f\n add dword ptr [esp], 1\n 4: ret\n")));
}

/* Two stacks that call and return in turn, at different depths. */
static void coroutines(void) {
  struct context c = on_stack(CODE("mov ecx, 500\n"
                                   "xchg esp, esi\n push offset 6f\n xchg esp, esi\n"
                                   "1: call 2f\n add eax, eax\n loop 1b\n int 0x7f\n"
                                   "2: call 3f\n inc eax\n ret\n"
                                   "3: xchg esp, esi\n ret\n"
                                   "6: call 7f\n xor eax, 0x55\n call 3b\n jmp 6b\n"
                                   "7: call 8f\n add eax, 3\n ret\n"
                                   "8: call 3b\n add eax, 5\n ret"));
  c.esi = (uint32_t)stacks[1] + STACK;
  show("coroutines", c);
}

/* RET n, RET of 16 bits (to the same address: EIP is cut, so the stack's word is), and returns that push first. */
static void forms(void) {
  show("forms", on_stack(CODE("mov ecx, 300\n"
                              "1: push ecx\n push 5\n call 2f\n inc eax\n push offset 3f\n ret\n ud2\n"
                              "3: loop 1b\n int 0x7f\n"
                              "2: add eax, [esp+4]\n call 4f\n ret 8\n"
                              "4: pop edx\n push edx\n ret")));
}

/* RET as a jump: to what was pushed, or written over a call's address, right before it; in the midst of calls. */
static void jumps(void) {
  show("jumps by ret", on_stack(CODE("mov ecx, 2000\n"
                                     "1: call 2f\n loop 1b\n int 0x7f\n"
                                     "2: call 3f\n rol eax, 3\n call 6f\n inc eax\n ret\n"
                                     "3: mov ebx, offset 5f\n test cl, 3\n jnz 4f\n mov ebx, offset 6f\n"
                                     "4: call 7f\n 8: pause\n jmp 8b\n 7: mov [esp], ebx\n ret\n"
                                     "5: call 6f\n adc eax, 5\n push offset 6f\n push dword ptr [esp]\n ret 4\n"
                                     "6: add eax, ecx\n push offset 9f\n ret\n ud2\n 9: xor eax, 0x11\n ret")));
}

/* The caller's page is another one when its callee returns. */
static void remap_a(unsigned i) {
  *pte_a = frames[i] | 7;
  invlpg(A);
}
static unsigned round_of_a;
static void remap_next(void) { remap_a(++round_of_a % 3); }
static void touch_nothing(void) {}

static void remapped(void) {
  for (unsigned i = 0; i < 3; i++) {
    frames[i] = (uint32_t)page_alloc();
    COPY_CODE((void *)frames[i], "call eax\n mov eax, 0x11223344\n ret");
    *(uint32_t *)(frames[i] + 3) = 0x1000 * (i + 1);
  }
  uint32_t sum = 0;
  remap_a(0);
  for (unsigned i = 0; i < 600; i++) {
    uint32_t value, callee = (uint32_t)(i % 5 ? remap_next : touch_nothing);
    __asm__ volatile("call *%1" : "=a"(value) : "r"(A), "a"(callee) : "ecx", "edx", "memory");
    sum = sum * 3 + value;
  }
  print("remapped: %X\n", sum);
}

static void in_other_spaces(void) {
  uint32_t home = get_cr3(), sum = 0, away[3];
  for (unsigned i = 0; i < 3; i++) {
    away[i] = paging_create();
    *pte_of(away[i], A) = frames[i] | 7;
  }
  for (unsigned i = 0; i < 300; i++) {
    uint32_t value, callee = (uint32_t)CODE("mov eax, cr3\n mov cr3, esi\n ret");
    set_cr3(away[i % 3]);
    __asm__ volatile("call *%1" : "=a"(value) : "r"(A), "a"(callee), "S"(away[i / 7 % 3]) : "ecx", "edx", "memory");
    sum = sum * 3 + value;
  }
  set_cr3(home);
  print("in other spaces: %X\n", sum);
}

/* The callee writes what its caller runs next; at its own address and at another one of the page. */
static void patched(void) {
  uint32_t sum = 0;
  remap_a(0);
  for (unsigned i = 0; i < 400; i++) {
    uint32_t value, callee = (uint32_t)CODE("mov [edi], esi\n ret"), at = i % 2 ? A + 3 : frames[0] + 3;
    __asm__ volatile("call *%1" : "=a"(value) : "r"(A), "a"(callee), "S"(i % 3 ? 0x1000 : i), "D"(at) : "ecx", "edx", "memory");
    sum = sum * 3 + value;
  }
  print("patched: %X\n", sum);
}

/* Ring 3 returns to the address behind a call of ring 0 that is still under way, in a page that is ring 0's. */
static struct context outcome;
static void to_ring3(void) { run(&outcome); }

static void to_ring0s_address(void) {
  COPY_CODE((void *)frames[0], "call eax\n ret");
  *pte_a = frames[0] | 3;
  invlpg(A);
  for (unsigned i = 0; i < 20; i++) {
    outcome = on_stack(i < 19 ? CODE("call 1f\n int 0x7f\n 1: inc eax\n ret") : CODE("push 0x40000002\n ret"));
    __asm__ volatile("call *%1" : : "a"(to_ring3), "r"(A) : "ecx", "edx", "memory");
  }
  print("to ring 0's address: ");
  report_end(&outcome, (const void *)A);
  print("\n");
  *pte_a = frames[0] | 7;
  invlpg(A);
}

/* A RET whose stack is not there: before it, and once it is there. */
static uint32_t faults;
static void give_stack(struct frame *f) {
  (void)f;
  faults++;
  *pte_of(get_cr3(), A + 0x3000) = frames[1] | 7;
}

static void fault_at_ret(void) {
  uint32_t sum = 0;
  *(uint32_t *)(frames[1] + 0xffc) = (uint32_t)CODE("mov esp, ebp\n add eax, 0x100\n ret");
  handlers[14] = give_stack;
  for (unsigned i = 0; i < 50; i++) {
    *pte_of(get_cr3(), A + 0x3000) = 0;
    invlpg(A + 0x3000);
    struct context c =
      on_stack(CODE("call 1f\n int 0x7f\n 1: call 2f\n ret\n 2: mov ebp, esp\n mov esp, 0x40003ffc\n inc eax\n ret"));
    run(&c);
    sum = sum * 3 + c.eax + c.vector;
  }
  handlers[14] = NULL;
  print("fault at ret: %d faults, %X\n", faults, sum);
}

/* TF is set in the callee. */
static uint32_t steps;
static void count_step(struct frame *f) {
  steps++;
  if (steps % 7 == 6) f->eflags &= ~(uint32_t)FL_TF;
}

static void stepped(void) {
  handlers[1] = count_step;
  struct context c = on_stack(CODE("mov ecx, 100\n"
                                   "1: call 2f\n inc eax\n loop 1b\n int 0x7f\n"
                                   "2: call 3f\n inc eax\n ret\n"
                                   "3: pushfd\n or dword ptr [esp], 0x100\n popfd\n ret"));
  run(&c);
  handlers[1] = NULL;
  print("stepped: %d steps, eax=%x\n", steps, c.eax);
}

void test_main(void) {
  paging_on();
  pte_a = pte_of(get_cr3(), A);
  recursion();
  left_by_esp();
  popped();
  changed_address();
  coroutines();
  forms();
  jumps();
  map(A, (uint32_t)page_alloc(), 7);
  remapped();
  in_other_spaces();
  patched();
  to_ring0s_address();
  fault_at_ret();
  stepped();
}
