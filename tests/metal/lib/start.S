/* Multiboot entry, the 256 recording stubs, and run(): from C into a context and back. */
#include "selectors.h"

  .section .multiboot, "a"
  .balign 4
#ifdef NO_MULTIBOOT_HEADER
  .long 0, 0, 0
#else
  .long 0x1BADB002, 0, -0x1BADB002
#endif

  .text
  .globl _start
_start:
  mov %eax, entry_eax
  mov %ebx, entry_ebx
  mov $boot_stack_top, %esp
  cld
  push $0
  popf
  .weak at_entry         /* a test's own look at the machine, before the runtime touches it */
  mov $at_entry, %eax
  test %eax, %eax
  jz 1f
  call *%eax
1:
  call runtime_init
  call test_main
  push $0
  call leave

/* ---- exceptions and interrupts ---- */
  .globl stub_table
  .balign 16
stub_table:
  .set vector, 0
  .rept 256
  .balign 16
  .if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17)
  push $0
  .endif
  push $vector
  jmp stub_common
  .set vector, vector + 1
  .endr

stub_common:
  pusha
  push %ds
  push %es
  push %fs
  push %gs
  mov $SEL_KDATA, %eax
  mov %eax, %ds
  mov %eax, %es
  cld
  push %esp
  call trap_enter        /* comes back only when a handler took it */
  add $4, %esp
  pop %gs
  pop %fs
  pop %es
  pop %ds
  popa
  add $8, %esp
  iret

/* #DF's task starts here, with the error code on its stack; the interrupted registers are in tss_main. */
  .globl df_entry
df_entry:
  call trap_double_fault

/* void run(struct context *) */
  .globl run
run:
  mov 4(%esp), %eax
  pusha
  pushf
  mov %esp, run_saved_esp
  mov %eax, run_context
  mov CTX_EFLAGS(%eax), %edx
  test $0x20000, %edx
  jnz run_v86
  testb $3, CTX_CS(%eax)
  jnz run_outer
  cmpl $0, CTX_ESP(%eax)
  je 1f
  mov CTX_SS(%eax), %ss
  mov CTX_ESP(%eax), %esp
1:
  jmp run_same
run_v86:
  push CTX_GS(%eax)
  push CTX_FS(%eax)
  push CTX_DS(%eax)
  push CTX_ES(%eax)
run_outer:
  push CTX_SS(%eax)
  push CTX_ESP(%eax)
run_same:
  push %edx
  push CTX_CS(%eax)
  push CTX_EIP(%eax)
  push CTX_EAX(%eax)
  push CTX_ECX(%eax)
  push CTX_EDX(%eax)
  push CTX_EBX(%eax)
  push $0
  push CTX_EBP(%eax)
  push CTX_ESI(%eax)
  push CTX_EDI(%eax)
  test $0x20000, %edx
  jnz 1f
  mov CTX_GS(%eax), %gs
  mov CTX_FS(%eax), %fs
  mov CTX_ES(%eax), %es
  mov CTX_DS(%eax), %ds
1:
  popa
  .globl run_iret
run_iret:
  iret

/* Back to run()'s caller, whatever stack this is. */
  .globl run_leave
run_leave:
  mov $SEL_KDATA, %eax
  mov %eax, %ds
  mov %eax, %es
  mov %eax, %ss
  mov run_saved_esp, %esp
  xor %eax, %eax
  mov %eax, %fs
  mov %eax, %gs
  popf
  popa
  ret

  .section .bss
  .balign 16
  .space 16384
boot_stack_top:
  .globl entry_stack_top
  .space 16384
entry_stack_top:
  .space 4096
  .globl df_stack_top
df_stack_top:
  .globl run_saved_esp, run_context
  .globl entry_eax, entry_ebx
entry_eax: .long 0
entry_ebx: .long 0
run_saved_esp: .long 0
run_context: .long 0
