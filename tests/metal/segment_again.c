/* A segment register is loaded with the selector that it holds already: nothing happens where its descriptor is what it was, but
 * in ring 0 alone may that be a kernel's own. SYSEXIT leaves FS as the kernel had it, so that a program can ask for the same: #GP
 * (SDM vol. 2, MOV; vol. 3A, 5.5). */
#include "lib/metal.h"

enum { SEL = 0x30 };
static uint32_t words[2][4] = {{0x11, 0x22, 0x33, 0x44}, {0x55, 0x66, 0x77, 0x88}};
static uint32_t stack[256];

static void descriptor(unsigned which, unsigned dpl) {
  gdt_set(SEL, make_segment((uint32_t)words[which], 15, ACC_DATA | dpl, DESC_32));
}

static void show(const char *label, const void *code) {
  struct context c = context_kernel(code);
  c.eax = SEL, c.ecx = 200;
  run(&c);
  print("%s: ", label);
  report_end(&c, code);
  print(" ebx=%x edx=%x fs=%x\n", c.ebx, c.edx, c.fs);
}

static void from_user(const char *label, const void *user) {
  /* The kernel's part comes in by SYSENTER with FS loaded, again and again. */
  const char *entry = CODE("mov eax, 0x30\n mov ebp, 50\n 1: mov fs, eax\n add ebx, fs:[4]\n dec ebp\n jnz 1b\n sysexit");
  write_msr(0x174, SEL_KCODE);
  write_msr(0x175, (uint32_t)(stack + 256));
  write_msr(0x176, (uint32_t)entry);
  struct context c = context_user(user);
  run(&c);
  print("%s: ", label);
  report_end(&c, user);
  print(" ebx=%x fs=%x\n", c.ebx, c.fs);
}

void test_main(void) {
  const char *loads = CODE("1: mov fs, eax\n add ebx, fs:[4]\n push fs\n pop fs\n add edx, fs:[8]\n loop 1b");
  const char *changes =
    CODE("sgdt [esp - 8]\n mov esi, [esp - 6]\n"
         "1: mov fs, eax\n add ebx, fs:[4]\n xor byte ptr [esi + 0x32], 16\n mov fs, eax\n add edx, fs:[8]\n loop 1b");
  const char *program = CODE("mov ecx, esp\n mov edx, offset 2f\n sysenter\n 2: mov eax, 0x30\n mov fs, eax\n add ebx, fs:[0]");
  const char *pops = CODE("mov ecx, esp\n mov edx, offset 2f\n sysenter\n 2: push fs\n pop fs\n add ebx, fs:[0]");
  descriptor(0, 0);
  show("ring 0", loads);
  show("its base changes in memory", changes);
  descriptor(0, 0);
  for (unsigned i = 0; i < 3; i++) {
    from_user("a program loads what the kernel left", program);
    from_user("a program pops it", pops);
    show("ring 0, again", loads);
  }
  descriptor(1, ACC_DPL3);
  for (unsigned i = 0; i < 3; i++) from_user("a program may load it", program);
  descriptor(1, 0);
  from_user("and not any more", program);
  gdt_set(SEL, (struct descriptor){0});
  show("it is gone", loads);
}
