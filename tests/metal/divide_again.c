/* Divisions that have faulted are made anew and compare their divisor with 0 from then on: each of these runs over and over, with
 * divisors that are 0 and others, and quotients that are too large. The fault must find every register as it was, and every flag,
 * but for those that a check of memory before may have changed: a division leaves none defined, so they are taken for dead (D2).
 */
#include "lib/metal.h"

uint32_t zeros[8] __attribute__((aligned(64)));

static void show(const char *label, unsigned round, bool flags, const struct context *before, const struct context *after,
                 const void *code) {
  print("%s %d: %s eip=+%x eax=%X edx=%X esp %s", label, round, vector_name(after->vector), after->eip - (uint32_t)code,
        after->eax, after->edx, after->esp == before->esp ? "same" : "moved");
  if (after->vector == 0 && flags)
    print(" ecx=%X flags=%X", after->ecx, after->eflags & 0x8c5); /* else undefined, and AF behind SHL */
  print("\n");
}

/* EBX is the divisor, and EDX:EAX what is divided; ECX points to memory that holds the divisor. */
static void divide(const char *label, const void *code, bool user, bool flags) {
  static const struct {
    uint32_t eax, edx, divisor;
  } rounds[] = {{100, 0, 0}, {100, 0, 0}, {7, 1, 0}, {100, 0, 7}, {0x1234567, 0, 0}, {0xffffffff, 0xffff, 3},
                {100, 0, 0}, {9, 0, 3}};
  for (unsigned i = 0; i < sizeof rounds / sizeof rounds[0]; i++) {
    struct context c = user ? context_user(code) : context_kernel(code), before;
    c.eax = rounds[i].eax, c.edx = rounds[i].edx, c.ebx = rounds[i].divisor, c.ecx = (uint32_t)zeros;
    zeros[0] = zeros[2] = rounds[i].divisor;
    before = c;
    run(&c);
    show(label, i, flags, &before, &c, code);
  }
}

static void both(const char *label, const void *code, bool flags) {
  divide(label, code, false, flags);
  divide(label, code, true, flags);
}

void test_main(void) {
  both("div ebx", CODE("stc\n div ebx"), true);
  both("idiv ebx", CODE("mov esi, 0x7fffffff\n add esi, 1\n idiv ebx"), true);
  both("div bx", CODE("cmp eax, eax\n div bx"), true);
  both("idiv bx", CODE("test eax, eax\n idiv bx"), true);
  both("div bl", CODE("std\n cld\n sub esi, 1\n div bl"), true);
  both("div bh", CODE("shl ebx, 8\n div bh"), true);
  both("idiv bh", CODE("shl ebx, 8\n idiv bh"), true);
  both("div cl", CODE("mov ecx, ebx\n stc\n div cl"), true);
  both("div ch", CODE("mov ecx, ebx\n shl ecx, 8\n stc\n div ch"), true);
  both("div ecx", CODE("mov ecx, ebx\n stc\n div ecx\n inc ecx"), true);
  both("div edi behind a push", CODE("mov edi, ebx\n push eax\n stc\n div edi\n pop edi"), false);
  both("div [ecx]", CODE("stc\n div dword ptr [ecx]"), false);
  both("idiv [ecx + edi * 4]", CODE("mov edi, 2\n stc\n idiv dword ptr [ecx + edi * 4]"), false);
  both("div word [ecx]", CODE("div word ptr [ecx]"), false);
  both("idiv byte [ecx + 8]", CODE("stc\n idiv byte ptr [ecx + 8]"), false);
  both("div [esp]", CODE("push ebx\n push eax\n div dword ptr [esp + 4]\n pop edi\n pop edi"), false);
  divide("div esp", CODE("mov esp, ebx\n stc\n div esp\n mov esp, offset zeros + 32"), true, true);
  divide("div sp", CODE("mov ebp, esp\n mov esp, 0x7fff0000\n add esp, ebx\n stc\n div sp\n mov esp, ebp"), true, true);
  both("aam", CODE("test ebx, ebx\n jz 1f\n aam 10\n jmp 2f\n 1: aam 0\n 2:"), true);
}
