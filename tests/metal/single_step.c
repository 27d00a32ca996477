/* TF: a #DB after every instruction (SDM vol. 3A, 17.3.1.4) - each iteration of a REP, taken jumps, POPF that sets and clears TF,
 * INT (the handler is not stepped), faults in between, DR6.BS. The addresses seen are printed.
 *
 * STI's shadow holds off interrupts, not debug exceptions (SDM vol. 2, STI); QEMU holds off both.
 * EXPECT: cli sti: done dr6 4000 tf 1 ecx 3 steps +1 +2 +3 +6 +9 +a */
#include "lib/metal.h"

static uint32_t base, seen[80], dr6_seen;
static unsigned count;

static void step(struct frame *f) {
  if (count < 80) seen[count++] = f->eip - base;
  dr6_seen |= get_dr6();
  set_dr6(0xffff0ff0);
}

static void trace(const char *label, const char *code, bool user, uint32_t flags) {
  struct context c = user ? context_user(code) : context_kernel(code);
  c.eflags |= flags;
  c.ecx = 3;
  c.esi = c.edi = (uint32_t)user_stack;
  base = (uint32_t)code;
  count = 0;
  dr6_seen = 0;
  handlers[1] = step;
  run(&c);
  handlers[1] = NULL;
  print("%s: ", label);
  report_end(&c, code);
  print(" dr6 %x tf %d ecx %x steps", dr6_seen & 0xe00f, c.eflags >> 8 & 1, c.ecx);
  for (unsigned i = 0; i < count; i++) print(" +%x", seen[i]);
  print("\n");
}

static void nothing(struct frame *f) { f->eax += 0x100; }

void test_main(void) {
  set_dr6(0xffff0ff0);
  handlers[0x50] = nothing;
  gate_reset(0x50, 3);
  for (unsigned user = 0; user < 2; user++) {
    print(user ? "user " : "kernel ");
    trace("plain", CODE("nop\n inc eax\n add eax, 5\n mov ebx, eax"), user, FL_TF);
    trace("loop", CODE("1: inc eax\n dec ecx\n jnz 1b\n nop"), user, FL_TF);
    trace("rep movsb", CODE("nop\n rep movsb\n nop"), user, FL_TF);
    trace("rep zero", CODE("xor ecx, ecx\n rep movsb\n nop"), user, FL_TF);
    trace("repne scasb", CODE("mov al, 0x77\n repne scasb\n nop"), user, FL_TF);
    trace("call ret", CODE("call 1f\n jmp 2f\n 1: ret\n 2: nop"), user, FL_TF);
    trace("set by popf", CODE("pushfd\n or dword ptr [esp], 0x100\n popfd\n nop\n nop"), user, 0);
    trace("cleared by popf", CODE("pushfd\n and dword ptr [esp], 0xfffffeff\n popfd\n nop\n nop"), user, FL_TF);
    trace("pushf shows tf", CODE("pushfd\n pop eax\n test eax, 0x100\n jz 1f\n nop\n 1: nop"), user, FL_TF);
    trace("int", CODE("nop\n int 0x50\n nop\n nop"), user, FL_TF);
    trace("fault", CODE("nop\n ud2"), user, FL_TF);
    trace("mov ss", CODE("mov eax, ss\n mov ss, eax\n nop\n nop"), user, FL_TF);
    trace("iret sets", CODE("pushfd\n or dword ptr [esp], 0x100\n push cs\n push offset 1f\n iretd\n nop\n 1: nop\n nop"), user,
          0);
    trace("iret clears", CODE("pushfd\n and dword ptr [esp], 0xfffffeff\n push cs\n push offset 1f\n iretd\n nop\n 1: nop\n nop"),
          user, FL_TF);
    trace("cpuid and rdtsc", CODE("push ecx\n xor eax, eax\n cpuid\n rdtsc\n pop ecx"), user, FL_TF);
    trace("push seg", CODE("push ds\n pop es\n push es\n pop ds"), user, FL_TF);
  }
  trace("cli sti", CODE("cli\n sti\n cli\n mov eax, cr0\n mov cr0, eax\n nop"), false, FL_TF);
}
