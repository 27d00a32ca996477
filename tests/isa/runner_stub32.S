/* The way into a case and back, 32-bit mode. All registers are the case's, so struct runner_control is named by its address. */
#include "runner_layout.h"
#define CONTROL(offset) runner_control+(offset)
  .text
/* void runner_enter(struct runner_control *) */
  .globl runner_enter
runner_enter:
  push %ebx
  push %ebp
  push %esi
  push %edi
  mov %esp, CONTROL(RC_HOST_SP)
  fxrstor CONTROL(RC_FX)
  mov CONTROL(RC_GPR+0), %eax
  mov CONTROL(RC_GPR+4), %ecx
  mov CONTROL(RC_GPR+8), %edx
  mov CONTROL(RC_GPR+12), %ebx
  mov CONTROL(RC_GPR+20), %ebp
  mov CONTROL(RC_GPR+24), %esi
  mov CONTROL(RC_GPR+28), %edi
  pushl %ss
  pushl %ss
  popl %fs            /* null in a new process */
  popl %gs
  pushl CONTROL(RC_EFLAGS)
  popfl
  mov CONTROL(RC_GPR+16), %esp
  jmp *CONTROL(RC_START)

/* const uint8_t runner_leaves[]: entries of 16 bytes, one an exit. */
  .balign 16
  .globl runner_leaves
runner_leaves:
  /* Cases may leave DS and ES null; SS is flat always, since this process has no other descriptor that it can be loaded with. */
  .irp number, 0, 1, 2, 3, 4, 5
  .balign 16
  movl $\number, %ss:CONTROL(RC_EXIT)
  jmp leave
  .endr
leave:
  mov %eax, %ss:CONTROL(RC_GPR+0)
  mov %ecx, %ss:CONTROL(RC_GPR+4)
  mov %edx, %ss:CONTROL(RC_GPR+8)
  mov %ebx, %ss:CONTROL(RC_GPR+12)
  mov %esp, %ss:CONTROL(RC_GPR+16)
  mov %ebp, %ss:CONTROL(RC_GPR+20)
  mov %esi, %ss:CONTROL(RC_GPR+24)
  mov %edi, %ss:CONTROL(RC_GPR+28)
  mov %ss:CONTROL(RC_HOST_SP), %esp
  mov %es, %ss:CONTROL(RC_SELECTOR+0)
  mov %cs, %ss:CONTROL(RC_SELECTOR+2)
  mov %ss, %ss:CONTROL(RC_SELECTOR+4)
  mov %ds, %ss:CONTROL(RC_SELECTOR+6)
  mov %fs, %ss:CONTROL(RC_SELECTOR+8)
  mov %gs, %ss:CONTROL(RC_SELECTOR+10)
  pushl %ss
  pushl %ss
  popl %ds
  popl %es
  pushfl
  popl CONTROL(RC_EFLAGS)
  push $2
  popfl
  fxsave CONTROL(RC_FX)
resume:
  fninit
  ldmxcsr CONTROL(RC_MXCSR)
  pop %edi
  pop %esi
  pop %ebp
  pop %ebx
  ret

/* Signal handler: never returns to the kernel. The next case's signal finds the alternate stack free, as the stack pointer is elsewhere.
 * XMM registers are still the case's: an emulator may have left them out of the frame. */
  .globl runner_signal
runner_signal:
  push $2
  popfl
  fxsave CONTROL(RC_FX)
  mov 4(%esp), %eax
  mov 8(%esp), %edx
  mov 12(%esp), %ecx
  and $-16, %esp
  sub $4, %esp
  push %ecx
  push %edx
  push %eax
  call runner_caught
  mov CONTROL(RC_HOST_SP), %esp
  jmp resume

  .globl _start
_start:
  xor %ebp, %ebp
  mov $runner_stack_end, %esp
  call runner_main
  ud2
  .bss
  .balign 16
  .skip 64 << 10
runner_stack_end:
  .section .note.GNU-stack,"",@progbits
