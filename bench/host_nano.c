/* What of bench/guests/nano.c has a counterpart in a program on the bare host: cycles by RDTSC, warm, the least of several
 * rounds, in lines like nano's.
 *
 *   sigsegv   a load from a page that may not be read, a handler that moves RIP behind it and returns: the round trip of a trap
 *             that a user-space monitor would take for each privileged operation, if it did not translate
 *   callret   nano's instructions in nano's loop
 *
 * It is built twice: for 64 bits with the host's library, all of it; and for 32 bits as guest_bench.c is, without a library,
 * `callret` alone, since nano's is 32-bit code. */
#define _GNU_SOURCE
#include <stdint.h>

enum { ROUNDS = 7 };

#ifdef __x86_64__
#define COUNT "%edi"
#define COUNT_IN_REGISTER
#else
#define COUNT "%eax"
#define COUNT_IN_REGISTER __attribute__((regparm(1)))
#endif
typedef void COUNT_IN_REGISTER rounds(uint32_t count);
rounds call_and_return;
__asm__(".text; .balign 16; .globl call_and_return\n"
        "call_and_return: call 2f; dec " COUNT "; jnz call_and_return; jmp 3f\n"
        "2: ret\n"
        "3: ret");

static uint64_t least_of_rounds(rounds *run, unsigned loops) {
  uint64_t best = ~0ull;
  for (unsigned round = 0; round < ROUNDS; round++) {
    uint64_t start = __builtin_ia32_rdtsc();
    run(1u << loops);
    uint64_t took = __builtin_ia32_rdtsc() - start;
    if (took < best) best = took;
  }
  return best;
}
static uint32_t in_tenths(uint64_t cycles, unsigned bits) { return (uint32_t)(10 * cycles >> bits); }

#ifdef __x86_64__
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <ucontext.h>

static void *page;
static volatile uint32_t faults;
static void skip_load(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)info;
  ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2;
  faults++;
}
void load(uint32_t count, const void *from);
__asm__(".text; .balign 16; .globl load; load: mov (%rsi), %eax; dec %edi; jnz load; ret"); /* 8b 06: two bytes */
static void load_from_page(uint32_t count) { load(count, page); }

static void show(const char *label, uint64_t cycles, unsigned bits) {
  uint32_t tenths = in_tenths(cycles, bits);
  printf("%s: %u.%u cycles\n", label, tenths / 10, tenths % 10);
}

int main(void) {
  enum { LOADS = 9, CALLS = 18 };
  struct sigaction action = {.sa_flags = SA_SIGINFO}, before;
  action.sa_sigaction = skip_load;
  page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED || sigaction(SIGSEGV, &action, &before)) return 2;
  uint64_t cycles = least_of_rounds(load_from_page, LOADS);
  if (sigaction(SIGSEGV, &before, NULL) || faults != ROUNDS << LOADS) return 2;
  show("sigsegv", cycles, LOADS);
  show("callret", least_of_rounds(call_and_return, CALLS), CALLS);
  return 0;
}
#else
#include "guest_runtime.h"

void start(void);
void start(void) {
  enum { CALLS = 18 };
  uint32_t tenths = in_tenths(least_of_rounds(call_and_return, CALLS), CALLS);
  put_text("callret: "), put_number(tenths / 10, 1), put('.'), put_number(tenths % 10, 1), put_text(" cycles"), end_line();
  sys(SYS_exit, 0, 0, 0);
}
#endif
