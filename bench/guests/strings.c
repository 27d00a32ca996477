/* Cycles for a short string operation with its loop, as old compilers and kernels have them inline: length, comparison, copy. */
#include "least.h"

static char from[64] = "a path of 23 characters", to[64] = "a path of 23 characters";

static uint32_t cycles(const char *code) {
  struct context c = context_user(code);
  c.edx = LOOPS, c.ebx = (uint32_t)from, c.ebp = (uint32_t)to;
  return least_cycles(c);
}

void test_main(void) {
  print("repne scasb: %d cycles\n", cycles(CODE("1: mov edi, ebx\n or ecx, -1\n xor eax, eax\n repne scasb\n dec edx\n jnz 1b")));
  print("repe cmpsb: %d cycles\n", cycles(CODE("1: mov edi, ebx\n mov esi, ebp\n mov ecx, 24\n repe cmpsb\n dec edx\n jnz 1b")));
  print("rep movsb: %d cycles\n", cycles(CODE("1: mov edi, ebx\n mov esi, ebp\n mov ecx, 24\n rep movsb\n dec edx\n jnz 1b")));
}
