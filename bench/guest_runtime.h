/* What the benchmark programs that run in a Linux guest (guest_*.c) have in place of a library: int 80h and the vDSO's own entry,
 * what a compiler expects, the time, and lines `NAME VALUE UNIT`. Each program is one file that includes this and has a start().
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- the kernel's interface (i386 numbers) ---- */
enum {
  SYS_exit = 1,
  SYS_fork = 2,
  SYS_read = 3,
  SYS_write = 4,
  SYS_execve = 11,
  SYS_pipe = 42,
  SYS_getppid = 64,
  SYS_waitpid = 7,
  SYS_munmap = 91,
  SYS_mprotect = 125,
  SYS_rt_sigaction = 174,
  SYS_mmap2 = 192,
  SYS_madvise = 219,
  SYS_clock_gettime = 265
};
enum {
  PROT_NONE = 0,
  PROT_READ = 1,
  PROT_WRITE = 2,
  MAP_PRIVATE_ANONYMOUS = 0x22,
  MADV_DONTNEED = 4,
  MADV_NOHUGEPAGE = 15,
  AT_SYSINFO = 32
};
/* words of ucontext before EIP's register slot */
enum { SIGFPE = 8, SA_SIGINFO = 4, SA_NODEFER = 0x40000000, GREG_EIP = 5 + 14 };

static uint32_t vdso_entry; /* __kernel_vsyscall: the fast way into the kernel, whatever this CPU's is; 0: there is none */
static inline int32_t sys(uint32_t number, uint32_t a, uint32_t b, uint32_t c) {
  int32_t result;
  if (vdso_entry) __asm__ volatile("call *%5" : "=a"(result) : "0"(number), "b"(a), "c"(b), "d"(c), "m"(vdso_entry) : "memory");
  else __asm__ volatile("int $0x80" : "=a"(result) : "0"(number), "b"(a), "c"(b), "d"(c) : "memory");
  return result;
}
static inline int32_t sys_int80(uint32_t number, uint32_t a, uint32_t b, uint32_t c) {
  int32_t result;
  __asm__ volatile("int $0x80" : "=a"(result) : "0"(number), "b"(a), "c"(b), "d"(c) : "memory");
  return result;
}
static inline void *map(uint32_t bytes) {
  register uint32_t result __asm__("eax") = SYS_mmap2;
  __asm__ volatile("push %%ebp; xor %%ebp, %%ebp; int $0x80; pop %%ebp"
                   : "+r"(result)
                   : "b"(0), "c"(bytes), "d"(PROT_READ | PROT_WRITE), "S"(MAP_PRIVATE_ANONYMOUS), "D"(-1)
                   : "memory");
  return (void *)result;
}

/* ---- what a compiler expects, and little more ---- */
void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int byte, size_t n);
void *memcpy(void *to, const void *from, size_t n) {
  void *start = to;
  __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
  return start;
}
void *memset(void *to, int byte, size_t n) {
  void *start = to;
  __asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(byte) : "memory");
  return start;
}
static inline bool same(const char *a, const char *b) {
  while (*a && *a == *b) a++, b++;
  return *a == *b;
}

static inline double now(void) {
  int32_t t[2] = {0, 0};
  sys(SYS_clock_gettime, 1 /* monotonic */, (uint32_t)t, 0);
  return t[0] + t[1] * 1e-9;
}

static char line[128];
static unsigned used;
static void put(char c) { line[used++] = c; }
static void put_text(const char *text) {
  while (*text) put(*text++);
}
static void put_number(uint32_t n, unsigned digits) {
  char text[10];
  unsigned have = 0;
  do text[have++] = '0' + n % 10;
  while ((n /= 10) || have < digits);
  while (have) put(text[--have]);
}
static inline void put_hex(uint32_t n) {
  for (int shift = 28; shift >= 0; shift -= 4) put("0123456789abcdef"[n >> shift & 15]);
}
static void end_line(void) {
  put('\n');
  sys(SYS_write, 1, (uint32_t)line, used);
  used = 0;
}
static inline void put_decimal(double value) {
  uint32_t whole = (uint32_t)(int32_t)value;
  put_number(whole, 1), put('.'), put_number((uint32_t)(int32_t)((value - whole) * 1e6), 6);
}

/* ---- the beginning: start() is the program's ---- */
__asm__(
  ".text; .globl _start; _start: xor %ebp, %ebp; mov %esp, %eax; and $-16, %esp; sub $12, %esp; push %eax; call start; hlt");

/* How many *argv has. The vDSO is found on the way. */
static inline int arguments(uint32_t *stack, char ***argv) {
  int argc = (int)stack[0];
  *argv = (char **)(stack + 1);
  uint32_t *auxiliary = stack + 1 + argc + 1;
  while (*auxiliary++) {} /* the environment */
  for (; auxiliary[0]; auxiliary += 2)
    if (auxiliary[0] == AT_SYSINFO) vdso_entry = auxiliary[1];
  return argc;
}
