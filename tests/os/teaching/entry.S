/* Multiboot entry, one stub for each vector, and the switch between kernel stacks. */
  .section .multiboot, "a"
  .balign 4
  .long 0x1BADB002, 0, -0x1BADB002

  .text
  .globl _start
_start:
  mov $stack_top, %esp
  push %ebx
  push %eax
  call kernel_main

  .globl trap_stubs
  .balign 16
trap_stubs:
  .set vector, 0
  .rept 256
  .balign 16
  .if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17)
  push $0
  .endif
  push $vector
  jmp trap_common
  .set vector, vector + 1
  .endr

trap_common:
  pusha
  push %ds
  push %es
  mov $0x10, %eax
  mov %eax, %ds
  mov %eax, %es
  cld
  push %esp
  call trap
  add $4, %esp
  .globl trap_return
trap_return:
  pop %es
  pop %ds
  popa
  add $8, %esp
  iret

/* void switch_context(uint32_t *save, uint32_t to): the callee-saved registers go to the old stack, and come from the new one. */
  .globl switch_context
switch_context:
  mov 4(%esp), %eax
  mov 8(%esp), %edx
  push %ebp
  push %ebx
  push %esi
  push %edi
  mov %esp, (%eax)
  mov %edx, %esp
  pop %edi
  pop %esi
  pop %ebx
  pop %ebp
  ret

  .section .rodata
  .globl user_image, user_image_end
user_image:
  .incbin USER_IMAGE
user_image_end:

  .bss
  .balign 16
  .space 16384
stack_top:
