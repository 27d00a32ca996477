/* The way into a case and back, 64-bit mode. R15 holds struct runner_control all the while: no case has a REX prefix, so R8-R15 are ours.
 * IRETQ goes in, as it loads flags (TF too), stack and instruction pointer at once. Upper halves of the registers start as zero. */
#include "runner_layout.h"
  .text
/* void runner_enter(struct runner_control *) */
  .globl runner_enter
runner_enter:
  push %rbx
  push %rbp
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rdi, %r15
  mov %rsp, RC_HOST_SP(%r15)
  fxrstor RC_FX(%r15)
  lea RC_FRAME(%r15), %rsp
  mov RC_GPR+0(%r15), %eax
  mov RC_GPR+4(%r15), %ecx
  mov RC_GPR+8(%r15), %edx
  mov RC_GPR+12(%r15), %ebx
  mov RC_GPR+20(%r15), %ebp
  mov RC_GPR+24(%r15), %esi
  mov RC_GPR+28(%r15), %edi
  iretq

/* const uint8_t runner_leaves[]: entries of 16 bytes, one an exit. */
  .balign 16
  .globl runner_leaves
runner_leaves:
  .irp number, 0, 1, 2, 3, 4, 5
  .balign 16
  movl $\number, RC_EXIT(%r15)
  jmp leave
  .endr
leave:
  mov %eax, RC_GPR+0(%r15)
  mov %ecx, RC_GPR+4(%r15)
  mov %edx, RC_GPR+8(%r15)
  mov %ebx, RC_GPR+12(%r15)
  mov %esp, RC_GPR+16(%r15)
  mov %ebp, RC_GPR+20(%r15)
  mov %esi, RC_GPR+24(%r15)
  mov %edi, RC_GPR+28(%r15)
  mov RC_HOST_SP(%r15), %rsp
  pushfq
  pop %rax
  mov %eax, RC_EFLAGS(%r15)
  push $2
  popfq
  fxsave RC_FX(%r15)
resume:
  fninit
  ldmxcsr RC_MXCSR(%r15)
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbp
  pop %rbx
  ret

/* Signal handler: never returns to the kernel. The next case's signal finds the alternate stack free, as the stack pointer is elsewhere. */
  .globl runner_signal
runner_signal:
  push $2
  popfq
  and $-16, %rsp
  call runner_caught
  lea runner_control(%rip), %r15
  mov RC_HOST_SP(%r15), %rsp
  jmp resume

  .globl _start
_start:
  xor %ebp, %ebp
  lea runner_stack_end(%rip), %rsp
  call runner_main
  ud2
  .bss
  .balign 16
  .skip 64 << 10
runner_stack_end:
  .section .note.GNU-stack,"",@progbits
