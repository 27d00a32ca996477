/* The way into 32-bit code and back. R15 holds struct native_control all the while: R8-R15 survive compatibility mode (SDM vol. 1, 3.4.1.1).
 * IRETQ goes in: it loads EFLAGS, SS and ESP at once, and it serializes, so that code written through another mapping is seen. */
#include "native_layout.h"
#define ARCH_SET_FS 0x1002
#define SYS_ARCH_PRCTL 158

  .text
/* void native_enter(struct native_control *) */
  .globl native_enter
  .type native_enter, @function
native_enter:
  push %rbx
  push %rbp
  push %r12
  push %r13
  push %r14
  push %r15
  sub $8, %rsp
  mov %rdi, %r15
  mov %rsp, NC_HOST_RSP(%r15)
  fxrstor NC_FX(%r15)
  movl $1, NC_ACTIVE(%r15)
  mov NC_SELECTORS+0(%r15), %es
  mov NC_SELECTORS+6(%r15), %ds
  mov NC_SELECTORS+8(%r15), %fs
  mov NC_SELECTORS+10(%r15), %gs
  lea NC_FRAME(%r15), %rsp
  mov NC_GPR+0(%r15), %eax
  mov NC_GPR+4(%r15), %ecx
  mov NC_GPR+8(%r15), %edx
  mov NC_GPR+12(%r15), %ebx
  mov NC_GPR+20(%r15), %ebp
  mov NC_GPR+24(%r15), %esi
  mov NC_GPR+28(%r15), %edi
  iretq

/* An exit's far jump came through its entry (native.c), which set the exit's number. */
  .globl native_leave
native_leave:
  mov %eax, NC_GPR+0(%r15)
  mov %ecx, NC_GPR+4(%r15)
  mov %edx, NC_GPR+8(%r15)
  mov %ebx, NC_GPR+12(%r15)
  mov %esp, NC_GPR+16(%r15)
  mov %ebp, NC_GPR+20(%r15)
  mov %esi, NC_GPR+24(%r15)
  mov %edi, NC_GPR+28(%r15)
  mov %ss, NC_SELECTORS+4(%r15)
  mov $0x2b, %eax
  mov %eax, %ss
  mov NC_HOST_RSP(%r15), %rsp
  pushfq
  pop %rax
  mov %eax, NC_EFLAGS(%r15)
  push $2
  popfq
  fxsave NC_FX(%r15)
  call store_selectors
/* Also where the signal handler goes on, with R15 and RSP set. */
  .globl native_resume
native_resume:
  movl $0, NC_ACTIVE(%r15)
  fninit
  ldmxcsr NC_MXCSR(%r15)
  add $8, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbp
  pop %rbx
  ret

/* Notes DS ES FS GS and puts the C ABI's back, thread pointer included. */
store_selectors:
  mov %es, NC_SELECTORS+0(%r15)
  mov %ds, NC_SELECTORS+6(%r15)
  mov %fs, NC_SELECTORS+8(%r15)
  mov %gs, NC_SELECTORS+10(%r15)
  xor %eax, %eax
  mov %eax, %es
  mov %eax, %ds
  mov %eax, %fs
  mov %eax, %gs
  mov $ARCH_SET_FS, %edi
  mov NC_FS_BASE(%r15), %rsi
  mov $SYS_ARCH_PRCTL, %eax
  syscall
  ret

/* Signal handler. The kernel leaves DS ES FS GS, the thread pointer, NT and AC as the 32-bit code had them. */
  .globl native_signal
  .type native_signal, @function
native_signal:
  push $2
  popfq
  mov native_current(%rip), %r15
  test %r15, %r15
  jz 1f
  cmpl $0, NC_ACTIVE(%r15)
  je 1f
  mov %rdi, %r12
  mov %rsi, %r13
  mov %rdx, %r14
  call store_selectors
  mov %r12, %rdi
  mov %r13, %rsi
  mov %r14, %rdx
1:
  jmp native_caught
  .section .note.GNU-stack,"",@progbits
