/* The runner's whole view of Linux: system calls, signal frames and the seccomp filter, for both modes (runner.c). Kernel ABI,
 * written out because a freestanding 32-bit program has no headers for it on most machines. */
#pragma once
#include <stdint.h>

#ifdef __x86_64__
enum {
  SYS_mmap_ = 9,
  SYS_munmap_ = 11,
  SYS_rt_sigaction_ = 13,
  SYS_sigaltstack_ = 131,
  SYS_prctl_ = 157,
  SYS_futex_ = 202,
  SYS_exit_group_ = 231
};
#define SECCOMP_ARCH 0xc000003eu
static inline long system_call(long number, long a, long b, long c, long d, long e, long f) {
  long result;
  register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}
enum { MMAP_OFFSET_SHIFT = 0 };
/* mcontext of a signal frame */
struct frame_context {
  uint64_t flags, link, stack[3];
  uint64_t r8_to_15[8], edi, esi, ebp, ebx, edx, eax, ecx, esp, eip, eflags;
  uint16_t cs, gs, fs, ss;
  uint64_t err, trapno, oldmask, cr2;
  const uint8_t *fpstate;
};
#else
enum {
  SYS_mmap_ = 192,
  SYS_munmap_ = 91,
  SYS_rt_sigaction_ = 174,
  SYS_sigaltstack_ = 186,
  SYS_prctl_ = 172,
  SYS_futex_ = 240,
  SYS_exit_group_ = 252
};
#define SECCOMP_ARCH 0x40000003u
static inline long system_call(long number, long a, long b, long c, long d, long e, long f) {
  long result;
  /* f may be named by ESP: it goes first */
  __asm__ volatile("pushl %[f]\n\tpush %%ebp\n\tmov 4(%%esp), %%ebp\n\tint $0x80\n\tpop %%ebp\n\tadd $4, %%esp"
                   : "=a"(result)
                   : "a"(number), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e), [f] "m"(f)
                   : "memory");
  return result;
}
enum { MMAP_OFFSET_SHIFT = 12 };
struct frame_context {
  uint32_t flags, link, stack[3];
  uint32_t gs, fs, es, ds, edi, esi, ebp, esp, ebx, edx, ecx, eax, trapno, err, eip, cs, eflags, esp_at_signal, ss;
  const uint8_t *fpstate;
  uint32_t oldmask, cr2;
};
#endif

struct kernel_sigaction {
  void (*handler)(void);
  unsigned long flags;
  void (*restorer)(void);
  uint64_t mask;
};
struct kernel_stack {
  void *sp;
  int flags;
  unsigned long size;
};
enum { SA_SIGINFO_ = 4, SA_RESTORER_ = 0x04000000, SA_ONSTACK_ = 0x08000000, SA_NODEFER_ = 0x40000000 };
enum {
  PROT_READ_ = 1,
  PROT_WRITE_ = 2,
  PROT_EXEC_ = 4,
  MAP_SHARED_ = 1,
  MAP_PRIVATE_ = 2,
  MAP_FIXED_ = 0x10,
  MAP_ANONYMOUS_ = 0x20,
  MAP_POPULATE_ = 0x8000
};
enum {
  FUTEX_WAIT_ = 0,
  FUTEX_WAKE_ = 1,
  PR_SET_PDEATHSIG_ = 1,
  SIGKILL_ = 9,
  PR_SET_NO_NEW_PRIVS_ = 38,
  PR_SET_SECCOMP_ = 22,
  SECCOMP_MODE_FILTER_ = 2
};

struct filter_step {
  uint16_t code;
  uint8_t if_true, if_false;
  uint32_t value;
};
struct filter_program {
  uint16_t length;
  const struct filter_step *steps;
};
enum { BPF_LOAD = 0x20, BPF_IF_EQUAL = 0x15, BPF_RETURN = 0x06 };
#define SECCOMP_ALLOW 0x7fff0000u
#define SECCOMP_KILL 0x80000000u
