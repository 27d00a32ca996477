/* POPF, CLI and STI against IOPL in ring 3: POPF never faults there, it leaves IF and IOPL alone; a guest that believes it has
 * disabled interrupts has not (SDM vol. 2, POPF, table 4-15). */
#include "lib/metal.h"

static uint32_t flags_after(const char *code, uint32_t eflags, bool user) {
  struct context c = user ? context_user(code) : context_kernel(code);
  c.eflags |= eflags;
  run(&c);
  print(" %s", vector_name(c.vector));
  return (c.vector == VEC_DONE ? c.eax : c.eflags) & (FL_IF | FL_IOPL3);
}

void test_main(void) {
  irq_mask(0xffff);
  const char *clear = CODE("push 2\n popfd\n pushfd\n pop eax\n cld"), *set = CODE("push 0x3202\n popfd\n pushfd\n pop eax");
  const char *words = CODE("push 0x3202\n popfw\n add esp, 2\n pushfd\n pop eax");
  const char *cli = CODE("cli\n pushfd\n pop eax"), *sti = CODE("sti\n pushfd\n pop eax");
  for (unsigned user = 0; user < 2; user++)
    for (unsigned iopl = 0; iopl < 4; iopl++)
      for (unsigned on = 0; on < 2; on++) {
        uint32_t flags = iopl << 12 | (on ? FL_IF : 0);
        print("%s iopl %d if %d:", user ? "user" : "kernel", iopl, on);
        print(" popf 0 ->%x", flags_after(clear, flags, user));
        print(" popf 3202 ->%x", flags_after(set, flags, user));
        print(" popfw 3202 ->%x", flags_after(words, flags, user));
        print(" cli ->%x", flags_after(cli, flags, user));
        print(" sti ->%x\n", flags_after(sti, flags, user));
      }
  /* Many rounds in one block, as a translator would like to inline it. */
  struct context c = context_user(CODE("mov ecx, 1000\n 1: pushfd\n and dword ptr [esp], 0xfffffdff\n popfd\n pushfd\n pop eax\n"
                                       " and eax, 0x200\n add ebx, eax\n dec ecx\n jnz 1b"));
  c.eflags |= FL_IF;
  run(&c);
  print("still enabled: %s %x\n", vector_name(c.vector), c.ebx);
  c = context_kernel(CODE("mov ecx, 1000\n 1: pushfd\n pop edx\n cli\n pushfd\n pop eax\n and eax, 0x200\n add ebx, eax\n"
                          " push edx\n popfd\n pushfd\n pop eax\n and eax, 0x200\n add esi, eax\n dec ecx\n jnz 1b"));
  c.eflags |= FL_IF;
  run(&c);
  print("save and restore: %s cleared %x restored %x\n", vector_name(c.vector), c.ebx, c.esi);
}
